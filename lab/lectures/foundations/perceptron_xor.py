"""Fourteen of the sixteen Boolean functions of two inputs need one line; XOR and its negation need a hidden layer.

Lecture: L4, Machine learning lecture
Slide: Limitation of Perceptrons; Example: XOR
Says: "Only functions where the -1 points and 1 points are clearly separable can be represented by perceptrons."
Doubt: The slide counts nothing and shows one solution. That a 2-2-1 net can represent XOR does not say that training
    finds it: the share of random starts that do is reported, with its interval.
Kind: chance
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from matplotlib.patches import Rectangle

from lab.lectures import Outcome, check, report, setting
from lab.plots import BLACK, BLUE, LIGHT_GREY, ORANGE, VERMILION, canvas
from lab.stats import proportion

POINTS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], float)  # (point, input)
FUNCTIONS = [np.array(bits) for bits in product((-1, 1), repeat=4)]  # L4's outputs: -1 and 1
XOR = np.array([-1, 1, 1, -1])
# in the order of FUNCTIONS: outputs at 00, 01, 10, 11 from all -1 to all 1
NAMES = (
    "never", "AND", "a > b", "a", "b > a", "b", "XOR", "OR",
    "NOR", "XNOR", "not b", "a ≥ b", "not a", "b ≥ a", "NAND", "always",
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(50, 1, 1000, quick=20)
    """Random starts of the multilayer net."""
    hidden: int = setting(2, 1, 16)
    """Hidden units."""
    steps: int = setting(1000, 1, 20000, quick=500)
    """Full-batch Adam steps."""
    rate: float = setting(0.1, 1e-5, 1.0)
    """Adam's learning rate."""


def line(outputs: np.ndarray) -> np.ndarray | None:
    """(W0, W1, t) of a perceptron, W0 I0 + W1 I1 - t > 0, that gives `outputs` (4,) of -1 and 1; None if there is none.

    A linear programme decides it: some weights with outputs * (W.I - t) >= 1 at all four points.
    """
    from scipy.optimize import linprog

    rows = -outputs[:, None] * np.column_stack([POINTS, -np.ones(4)])
    found = linprog(np.zeros(3), A_ub=rows, b_ub=-np.ones(4), bounds=[(None, None)] * 3)
    return found.x if found.success else None


def learn(outputs: np.ndarray, sweeps: int = 100) -> bool:
    """Whether Rosenblatt's rule, from zero weights, gets all four points right within so many sweeps."""
    inputs, weights = np.column_stack([POINTS, -np.ones(4)]), np.zeros(3)
    for _ in range(sweeps):
        mistakes = 0
        for x, y in zip(inputs, outputs, strict=True):
            if y * (1 if weights @ x > 0 else -1) < 0:
                weights += y * x
                mistakes += 1
        if not mistakes:
            return True
    return False


class Nets(torch.nn.Module):
    """`seeds` independent nets 2-hidden-1, sigmoid units, trained side by side; the output is a logit."""

    def __init__(self, seeds: int, hidden: int):
        super().__init__()
        draws = [torch.Generator().manual_seed(seed) for seed in range(seeds)]
        self.w1 = torch.nn.Parameter(torch.stack([torch.randn(2, hidden, generator=draw) for draw in draws]))
        self.b1 = torch.nn.Parameter(torch.stack([torch.randn(1, hidden, generator=draw) for draw in draws]))
        self.w2 = torch.nn.Parameter(torch.stack([torch.randn(hidden, 1, generator=draw) for draw in draws]))
        self.b2 = torch.nn.Parameter(torch.zeros(seeds, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (point, 2)
        h = torch.sigmoid(x @ self.w1 + self.b1)  # (seed, point, hidden)
        return (h @ self.w2 + self.b2).squeeze(-1)  # (seed, point)


def train(settings: Settings) -> tuple[Nets, np.ndarray]:
    """The nets trained on XOR, and which of the points each gets right: (seed, point)."""
    nets = Nets(settings.seeds, settings.hidden)
    x = torch.tensor(POINTS, dtype=torch.float32)
    y = torch.tensor(XOR > 0, dtype=torch.float32).expand(settings.seeds, 4)
    optimiser = torch.optim.Adam(nets.parameters(), settings.rate)
    for _ in range(settings.steps):
        # a sum over nets: no net's gradient depends on another
        loss = torch.nn.functional.binary_cross_entropy_with_logits(nets(x), y, reduction="sum") / 4
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        return nets, ((nets(x) > 0) == (y > 0)).numpy()


def measure(settings: Settings) -> Outcome:
    lines = [line(outputs) for outputs in FUNCTIONS]
    separable = [outputs for outputs, found in zip(FUNCTIONS, lines, strict=True) if found is not None]
    learnt = [outputs for outputs in FUNCTIONS if learn(outputs)]
    best = max(float((outputs == XOR).mean()) for outputs in separable)
    nets, right = train(settings)
    accuracy = right.mean(1)
    solved = int((accuracy == 1).sum())
    name = f"2-{settings.hidden}-1 net"
    findings = [
        check("separable functions of 16, by linear programme", len(separable), "== 14"),
        check("functions of 16 that the perceptron rule learns", len(learnt), "== 14"),
        check("XOR, best share right of any one unit", best, "<= 0.75"),
        check(f"XOR, best share right of a {name}", accuracy.max(), "== 1"),
        report(f"XOR, share of starts that train a {name} to all four", solved / settings.seeds,
               proportion(solved, settings.seeds), accuracy.tolist()),
    ]  # fmt: skip
    budget = f"16 linear programmes; {settings.seeds} {name}s, {settings.steps} Adam steps on all 4 points each"
    return Outcome(findings, picture(lines, nets, int(accuracy.argmax()), solved), budget)


def picture(lines: list[np.ndarray | None], nets: Nets, shown: int, solved: int):
    """Left: a tile per function with its line. Right: what a trained net makes of the plane for XOR."""
    figure, axes = canvas(1, 2, width=13, height=6.4)
    left, right = axes[0]
    separable = sum(found is not None for found in lines)
    for tile, (outputs, found) in enumerate(zip(FUNCTIONS, lines, strict=True)):
        x0, y0 = (tile % 4) * 1.5, -(tile // 4) * 1.75
        grid = np.linspace(-0.2, 1.2, 141)
        if found is None:
            left.add_patch(Rectangle((x0 - 0.2, y0 - 0.2), 1.4, 1.4, fc="white", ec=VERMILION, lw=4))
            left.text(
                x0 + 0.5, y0 + 0.5, "no line", ha="center", va="center", color=VERMILION, fontsize=15, fontweight="bold"
            )
        else:
            above = found[0] * grid[None, :] + found[1] * grid[:, None] - found[2] > 0
            extent = (x0 - 0.2, x0 + 1.2, y0 - 0.2, y0 + 1.2)
            left.imshow(np.where(above[..., None], _rgb(ORANGE), _rgb(BLUE)), extent=extent, origin="lower", alpha=0.35)
        for (a, b), y in zip(POINTS, outputs, strict=True):
            left.plot(x0 + a, y0 + b, "o", color=ORANGE if y > 0 else BLUE, markersize=11, markeredgecolor=BLACK)
        left.text(x0 + 0.5, y0 + 1.26, NAMES[tile], ha="center", fontsize=13)
    left.set(xlim=(-0.3, 5.8), ylim=(-5.55, 1.6), aspect="equal")
    left.axis("off")
    left.set_anchor("N")
    right.set_anchor("N")
    left.set_title(f"One line separates {separable} of 16", loc="left", fontsize=17, fontweight="bold")

    grid = np.linspace(-0.5, 1.5, 201)
    plane = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2)
    with torch.no_grad():
        x = torch.tensor(plane, dtype=torch.float32)
        output = torch.sigmoid(nets(x)[shown]).numpy().reshape(201, 201)
        w, b = nets.w1[shown].numpy(), nets.b1[shown, 0].numpy()
    shades = np.where(output[..., None] > 0.5, _rgb(ORANGE), _rgb(BLUE))
    right.imshow(shades, extent=(-0.5, 1.5, -0.5, 1.5), origin="lower", alpha=0.35)
    for unit in range(w.shape[1]):
        right.contour(grid, grid, (plane @ w[:, unit] + b[unit]).reshape(201, 201), [0], colors=BLACK, linestyles="--")
    for (x1, x2), y in zip(POINTS, XOR, strict=True):
        right.plot(x1, x2, "o", color=ORANGE if y > 0 else BLUE, markersize=22, markeredgecolor=BLACK)
    right.set(xticks=[0, 1], yticks=[0, 1])
    right.set_xlabel("a      (dashed: the hidden units' own lines)", fontsize=14)
    right.set_ylabel("b", fontsize=14)
    right.tick_params(labelsize=14)
    seeds, hidden = nets.w1.shape[0], w.shape[1]
    title = f"XOR, {hidden} hidden: {solved} of {seeds} starts find it"
    right.set_title(title, loc="left", fontsize=17, fontweight="bold", color=BLACK if solved else VERMILION)
    right.grid(color=LIGHT_GREY, linewidth=0.5)
    return figure


def _rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
