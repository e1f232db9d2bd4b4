"""Hidden units that the Playground's data sets take: one for two heaps, a few for ring and quadrants, many for spirals.

Lecture: L4, Machine learning lecture; L1, Deep learning review
Slide: Decision Boundary Demo with Tensorflow Playground; Motivating Deep Learning: Tensorflow Demo (L4); DEMO (L1)
Says: "Perceptrons (step function activation) can only represent linearly separable functions." "Multiple decision
    regions." "Demo to explore why deep nnet is powerful and how it is limited."
Doubt: The slides name no numbers. What is measured is the smallest layer of which at least one start in `seeds` gets
    there: what training finds, not what a layer could represent. A layer of the page has at most 8 units.
Kind: chance
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from lab import console
from lab.lectures import Outcome, check, report, setting
from lab.plots import BLUE, GREY, ORANGE, canvas, label
from lab.stats import bootstrap

GROUPS = (1, 2, 3, 4, 6, 8), (16, 32)
"""Widths trained side by side, each group as wide as its widest."""
WIDTHS = sum(GROUPS, ())
PAGE = 8
"""The most units a layer can have on the page."""


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(10, 2, 100, quick=3)
    """Random starts of each net, each with its own points."""
    steps: int = setting(1000, 1, 50000, quick=100)
    """Full-batch Adam steps, rate 0.03, falling to 0 along a cosine."""
    points: int = setting(250, 20, 2000)
    """Training points of each data set, and as many to test on, as on the page at 50 %."""
    goal: float = setting(95.0, 50, 100)
    """Test points right, in per cent, that count as solved."""


def gauss(n: int, random: np.random.Generator) -> np.ndarray:
    """Two heaps around (2, 2) and (-2, -2): points (2n, 2), the first n of one class; so for all four."""
    return np.concatenate([random.normal(2, 0.5**0.5, (n, 2)), random.normal(-2, 0.5**0.5, (n, 2))])


def circle(n: int, random: np.random.Generator) -> np.ndarray:
    """A disc of radius 2.5 in a ring from 3.5 to 5."""
    radius = np.concatenate([random.uniform(0, 2.5, n), random.uniform(3.5, 5, n)])
    angle = random.uniform(0, 2 * np.pi, 2 * n)
    return radius[:, None] * np.stack([np.sin(angle), np.cos(angle)], 1)


def xor(n: int, random: np.random.Generator) -> np.ndarray:
    """Quadrants of a square from -5 to 5, with a gap of 0.6 between them; the class is the sign of x y."""
    size = random.uniform(0, 5, (2 * n, 2)) + 0.3
    sign = random.choice([-1, 1], 2 * n)
    return size * np.stack([sign, sign * np.repeat([1, -1], n)], 1)


def spiral(n: int, random: np.random.Generator) -> np.ndarray:
    """Two arms of 1.75 turns, out to radius 5; without noise, so their places along the arm are drawn."""
    share = random.uniform(size=2 * n)
    angle = 1.75 * share * 2 * np.pi + np.repeat([0, np.pi], n)
    return (5 * share)[:, None] * np.stack([np.sin(angle), np.cos(angle)], 1)


SETS: dict[str, Callable[[int, np.random.Generator], np.ndarray]] = {
    "gauss": gauss, "xor": xor, "circle": circle, "spiral": spiral,
}  # fmt: skip


class Nets(torch.nn.Module):
    """One net 2-k-1 with tanh for each of `widths`, `seeds` starts of each, all side by side."""

    def __init__(self, widths: tuple[int, ...], seeds: int):
        super().__init__()
        units = torch.arange(max(widths))
        used = [units < width for width in widths for _ in range(seeds)]
        self.register_buffer("mask", torch.stack(used).float()[:, None])  # (net, 1, unit)
        draws = [torch.Generator().manual_seed(seed) for _ in widths for seed in range(seeds)]
        most = len(units)
        self.w = torch.nn.Parameter(torch.stack([torch.randn(2, most, generator=each) for each in draws]) * 0.5)
        self.b = torch.nn.Parameter(torch.stack([torch.randn(1, most, generator=each) for each in draws]))
        self.out = torch.nn.Parameter(torch.stack([torch.randn(most, 1, generator=each) for each in draws]) * 0.5)
        self.level = torch.nn.Parameter(torch.zeros(len(draws), 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (net, point, 2) -> logits (net, point)
        h = torch.tanh(torch.baddbmm(self.b, x, self.w)) * self.mask  # (net, point, unit)
        return torch.bmm(h, self.out)[..., 0] + self.level


@dataclass(frozen=True)
class Solved:
    """What the nets of all widths made of one data set."""

    right: np.ndarray
    """Per cent of the test points right, (width, seed)."""
    nets: list[Nets]
    """One for each group of widths."""
    points: torch.Tensor
    """Training points of every seed, (seed, point, 2); the first half of one class."""

    def plane(self, width: int, seed: int, at: torch.Tensor) -> torch.Tensor:
        """What one net says of the points at (point, 2): probabilities of the first class (point,)."""
        group = next(number for number, widths in enumerate(GROUPS) if width in widths)
        net = GROUPS[group].index(width) * len(self.points) + seed
        with torch.no_grad():
            return self.nets[group](at.expand(len(self.nets[group].w), -1, -1))[net].sigmoid()


def solve(name: str, settings: Settings) -> Solved:
    """Train all nets on one data set."""
    each = settings.points // 2
    drawn = [np.random.default_rng(seed) for seed in range(settings.seeds)]
    x, test = (torch.tensor(np.stack([SETS[name](each, random) for random in drawn]), dtype=torch.float32)
               for _ in range(2))  # fmt: skip
    y = torch.tensor(np.repeat([1.0, 0.0], each), dtype=torch.float32)
    right, trained = [], []
    for widths in GROUPS:
        nets, tiled = Nets(widths, settings.seeds), x.repeat(len(widths), 1, 1)
        optimiser = torch.optim.Adam(nets.parameters(), 0.03)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
        for _ in range(settings.steps):
            # a mean over points, a sum over nets: none depends on another
            loss = torch.nn.functional.binary_cross_entropy_with_logits(nets(tiled), y.expand(len(tiled), -1))
            optimiser.zero_grad()
            (loss * len(tiled)).backward()
            optimiser.step()
            schedule.step()
        with torch.no_grad():
            found = ((nets(test.repeat(len(widths), 1, 1)) > 0) == (y > 0.5)).float().mean(1)
        right.append(100 * found.reshape(len(widths), settings.seeds).numpy())
        trained.append(nets)
    return Solved(np.concatenate(right), trained, x)


def smallest(right: np.ndarray, goal: float) -> float:
    """The least width of which one start passes the goal; infinite if none does. right: (width, seed)."""
    enough = (right > goal).any(1)
    return float(WIDTHS[int(enough.argmax())]) if enough.any() else np.inf


def measure(settings: Settings) -> Outcome:
    solved = {}
    with console.bar("playground", len(SETS), "data sets") as advance:
        for name in SETS:
            solved[name] = solve(name, settings)
            advance()
    right = {name: found.right for name, found in solved.items()}
    least = {name: smallest(values, settings.goal) for name, values in right.items()}
    one = right["xor"][0]
    findings = [
        check("gauss: smallest layer", least["gauss"], "== 1"),
        check("xor: smallest layer", least["xor"], ">= 2"),
        check("circle: smallest layer", least["circle"], ">= 3"),
        check("spiral: smallest layer (the page has up to 8)", least["spiral"], f"> {PAGE}"),
        check("sets other than gauss solved by some layer", sum(np.isfinite(least[n]) for n in ("xor", "circle")),
              "== 2"),
        report("xor: points right with one unit, %", float(np.median(one)), bootstrap(one), one),
        *(report(f"{name}: points right with {PAGE} units, %", float(np.median(values[WIDTHS.index(PAGE)])),
                 bootstrap(values[WIDTHS.index(PAGE)]), values[WIDTHS.index(PAGE)]) for name, values in right.items()),
        *(report(f"{name}: share of starts that get there with the smallest layer",
                 float((values[WIDTHS.index(int(least[name]))] > settings.goal).mean()))
          for name, values in right.items() if np.isfinite(least[name])),
    ]  # fmt: skip
    budget = (
        f"4 data sets, one hidden layer of {', '.join(map(str, WIDTHS))} tanh units, {settings.seeds} starts each, "
        f"{settings.steps} full-batch Adam steps on {settings.points} points; as many test points"
    )
    return Outcome(findings, picture(solved, least, settings), budget)


def picture(solved: dict[str, Solved], least: dict[str, float], settings: Settings):
    """Above: what the best start of the smallest layer makes of the plane. Below: points right against the width."""
    figure, axes = canvas(2, 4, width=14, height=6.8, height_ratios=[1.15, 1])
    grid = np.linspace(-6, 6, 121)
    plane = torch.tensor(np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2), dtype=torch.float32)
    for column, (name, found) in enumerate(solved.items()):
        top, bottom = axes[:, column]
        right, x = found.right, found.points
        row = WIDTHS.index(int(least[name])) if np.isfinite(least[name]) else len(WIDTHS) - 1
        seed = int(right[row].argmax())
        shown = found.plane(WIDTHS[row], seed, plane).reshape(121, 121)
        top.contourf(grid, grid, shown, levels=[0, 0.5, 1], colors=[ORANGE, BLUE], alpha=0.25)
        half = x.shape[1] // 2
        for points, colour in ((x[seed, :half], BLUE), (x[seed, half:], ORANGE)):
            top.plot(points[:, 0], points[:, 1], ".", color=colour, markersize=5)
        top.set(xlim=(-6, 6), ylim=(-6, 6), xticks=[], yticks=[], aspect="equal")
        units = f"{WIDTHS[row]} unit{'s' if WIDTHS[row] > 1 else ''}"
        units = units if np.isfinite(least[name]) else f"more than {WIDTHS[row]}"
        top.set_title(f"{name}: {units}", loc="left", fontsize=17, fontweight="bold")
        bottom.plot(WIDTHS, right, ".", color=GREY, markersize=8)
        bottom.plot(WIDTHS, right.max(1), color=BLUE, linewidth=3, label="best start")
        bottom.axhline(settings.goal, color=GREY, linestyle="--", linewidth=1.5)
        bottom.axvline(PAGE, color=GREY, linestyle=":", linewidth=1.5)
        bottom.set(xscale="log", ylim=(35, 103))
        bottom.set_xticks([1, 2, 4, 8, 16, 32], ["1", "2", "4", "8", "16", "32"])
        bottom.minorticks_off()
        label(bottom, "", "hidden units (dotted: most on the page)" if column == 0 else "hidden units",
              "test points right, %" if column == 0 else "")  # fmt: skip
        if column == 0:
            bottom.legend(loc="lower right")
        elif bottom.get_legend():
            bottom.get_legend().remove()
    figure.suptitle(
        f"Smallest layer with a start above {settings.goal:g} %", fontsize=18, fontweight="bold", x=0.01, ha="left"
    )
    return figure
