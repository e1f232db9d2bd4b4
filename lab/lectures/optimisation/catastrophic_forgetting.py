"""A net that learns the digits 5 to 9 after 0 to 4 forgets the first; kept examples help, and not to the full.

Lecture: L4, Machine learning lecture
Slide: Limitations of Deep Learning; Overcoming Limitations of DL
Says: "Catastrophic forgetting." "Catastrophic forgetting: Various approaches, not perfect yet."
Doubt: How catastrophic depends on the question. The net has ten outputs and is not told which half a digit is from:
    then it gives every digit a new name. Asked only to choose among the old names, it knows many of them still. Elastic
    weight consolidation (EWC, Kirkpatrick et al., 2017) was made for that easier question.
Kind: chance
"""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_digits

from lab import console
from lab.lectures import Finding, Outcome, check, report, setting
from lab.plots import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILION, canvas, label
from lab.stats import bootstrap

STRENGTHS = (1e1, 1e2, 1e3, 1e4, 1e5, 1e6)
"""Of EWC's pull; the one with the best mean over all digits on validation images is taken."""
COLOURS = {"naive": VERMILION, "EWC": ORANGE, "replay": BLUE, "all at once": GREEN}


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(10, 2, 50, quick=4)
    """Splits of the digits, each with its own start of the net."""
    steps: int = setting(300, 10, 10000, quick=60)
    """Adam steps on 100 images for each half of the digits, rate 0.003."""
    kept: int = setting(50, 1, 400)
    """Images of the first half that replay keeps."""
    first: int = setting(5, 1, 9)
    """Digits below this are learnt first, the others afterwards."""


class Nets:
    """Nets 64-128-10 with ReLU, one a seed, side by side; what they hold can be copied and pulled back to."""

    def __init__(self, seeds: int):
        draws = [torch.Generator().manual_seed(seed) for seed in range(seeds)]
        w1 = torch.stack([torch.randn(64, 128, generator=draw) for draw in draws]) * (2 / 64) ** 0.5
        w2 = torch.stack([torch.randn(128, 10, generator=draw) for draw in draws]) * (2 / 128) ** 0.5
        self.parts = [w1, torch.zeros(seeds, 1, 128), w2, torch.zeros(seeds, 1, 10)]

    def copy(self) -> "Nets":
        other = Nets.__new__(Nets)
        other.parts = [part.detach().clone() for part in self.parts]
        return other

    def __call__(self, x: torch.Tensor) -> torch.Tensor:  # (seed, image, 64) -> logits (seed, image, 10)
        w1, b1, w2, b2 = self.parts
        return torch.baddbmm(b2, torch.relu(torch.baddbmm(b1, x, w1)), w2)

    def fisher(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Mean squared derivative of log p(y), y drawn from the nets themselves, by each weight: as the parts."""
        w1, b1, w2, _ = self.parts
        h = torch.relu(torch.baddbmm(b1, x, w1))
        p = self(x).softmax(-1)
        drawn = torch.multinomial(p.flatten(0, 1), 1, generator=torch.Generator().manual_seed(0)).reshape(p.shape[:2])
        top = torch.nn.functional.one_hot(drawn, 10) - p  # d log p / d logits, (seed, image, 10)
        below = top @ w2.transpose(1, 2) * (h > 0)
        n = x.shape[1]
        # the square of an outer product is the outer product of the squares
        return [(x**2).transpose(1, 2) @ below**2 / n, (below**2).mean(1, True),
                (h**2).transpose(1, 2) @ top**2 / n, (top**2).mean(1, True)]  # fmt: skip


Data = tuple[torch.Tensor, torch.Tensor]
"""Images (seed, n, 64) and labels (seed, n)."""


def train(nets: Nets, data: Data, steps: int, kept: Data | None = None, pull=None, look=None) -> None:
    """Adam on 100 images a step; with `kept`, half of them from there; `pull` is added to the loss."""
    for part in nets.parts:
        part.requires_grad_()
    optimiser, random = torch.optim.Adam(nets.parts, 0.003), torch.Generator().manual_seed(0)
    for step in range(steps):
        taken = []
        for x, y in [data] if kept is None else [data, kept]:
            rows = torch.randint(x.shape[1], (100 if kept is None else 50,), generator=random)
            taken.append((x[:, rows], y[:, rows]))
        x, y = (torch.cat(parts, 1) for parts in zip(*taken, strict=True))
        # a mean over images, a sum over nets: none depends on another
        loss = torch.nn.functional.cross_entropy(nets(x).transpose(1, 2), y, reduction="sum") / x.shape[1]
        if pull is not None:
            loss = loss + pull(nets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if look is not None and step % 10 == 9:
            look(nets)
    nets.parts = [part.detach() for part in nets.parts]


def right(nets: Nets, data: Data, among: slice = slice(0, 10)) -> np.ndarray:
    """Per cent right of each net; `among`: the only digits that may be answered."""
    x, y = data
    with torch.no_grad():
        told = nets(x)[..., among].argmax(-1) + among.start
    return 100 * (told == y).float().mean(1).numpy()


def split(settings: Settings) -> dict[str, tuple[Data, Data]]:
    """Training, validation and test images of the first and of the other digits; as many for every seed."""
    x, y = load_digits(return_X_y=True)
    parts: dict[str, tuple[Data, Data]] = {}
    orders = [np.random.default_rng(seed).permutation(len(y)) for seed in range(settings.seeds)]
    for name, rows in (("train", slice(0, 1100)), ("held", slice(1100, 1300)), ("test", slice(1300, None))):
        halves = []
        for old in (True, False):
            chosen = [order[rows][(y[order[rows]] < settings.first) == old] for order in orders]
            least = min(map(len, chosen))
            picks = np.stack([each[:least] for each in chosen])
            halves.append((torch.tensor(x[picks] / 16, dtype=torch.float32), torch.tensor(y[picks])))
        parts[name] = (halves[0], halves[1])
    return parts


def measure(settings: Settings) -> Outcome:
    data = split(settings)
    (old, new), held, test = data["train"], data["held"], data["test"]
    curves: dict[str, list[np.ndarray]] = {name: [] for name in ("naive", "EWC", "replay")}
    start, together = Nets(settings.seeds), Nets(settings.seeds)
    both = tuple(torch.cat(parts, 1) for parts in zip(old, new, strict=True))
    with console.bar("forgetting", 4 + len(STRENGTHS), "trainings") as advance:
        train(start, old, settings.steps)
        before, weights, fisher = right(start, test[0]), start.copy().parts, start.fisher(old[0])
        advance()
        ended = {"all at once": together}
        train(together, (both[0], both[1]), 2 * settings.steps)
        advance()
        for name in ("naive", "replay"):
            kept = (old[0][:, : settings.kept], old[1][:, : settings.kept]) if name == "replay" else None
            ended[name] = start.copy()
            train(
                ended[name],
                new,
                settings.steps,
                kept,
                None,
                lambda n, name=name: curves[name].append(right(n, test[0])),
            )
            advance()
        tried = []
        for strength in STRENGTHS:
            paths: list[np.ndarray] = []

            def pull(nets: Nets, strength: float = strength) -> torch.Tensor:
                ways = zip(nets.parts, weights, fisher, strict=True)
                return strength / 2 * torch.stack([(f * (now - was) ** 2).sum() for now, was, f in ways]).sum()

            nets = start.copy()
            train(nets, new, settings.steps, None, pull, lambda n, paths=paths: paths.append(right(n, test[0])))
            tried.append((np.mean([right(nets, half).mean() for half in held]), strength, nets, paths))
            advance()
    _, strength, ended["EWC"], curves["EWC"] = max(tried, key=lambda each: each[0])
    after = {name: [right(nets, half) for half in test] for name, nets in ended.items()}  # old, new: (seed,)
    mean = {name: (a + b) / 2 for name, (a, b) in after.items()}
    drop = before - after["naive"][0]
    # of a drop of at least a point: a share of nothing is no number
    back = {name: (after[name][0] - after["naive"][0]) / np.maximum(drop, 1) for name in ("replay", "EWC")}
    easier = before - right(ended["naive"], test[0], slice(0, settings.first))

    def told(name: str, values: np.ndarray, condition: str = "") -> Finding:
        middle, interval = float(values.mean()), bootstrap(values, np.mean)
        return check(name, middle, condition, interval, values) if condition else report(name, middle, interval, values)

    findings = [
        told("naive: drop on the first digits, points", drop, "> 50"),
        told(f"replay of {settings.kept} images: share of the drop won back", back["replay"], "> 0.5"),
        told("not perfect: all at once over the better of replay and EWC, all digits, points",
             mean["all at once"] - np.maximum(mean["replay"], mean["EWC"]), "> 0"),
        told(f"EWC of strength {strength:g}: share of the drop won back", back["EWC"]),
        told("naive, asked to choose among the first digits only: drop, points", easier),
        *(told(f"{name}: all digits right, %", mean[name]) for name in COLOURS),
        *(told(f"{name}: new digits right, %", after[name][1]) for name in COLOURS),
    ]  # fmt: skip
    budget = (
        f"{settings.seeds} splits, nets 64-128-10, {settings.steps} Adam steps on 100 digits for each half; EWC at "
        f"{len(STRENGTHS)} strengths, chosen on 200 held-out images; about 500 test digits; means over splits"
    )
    return Outcome(findings, picture(curves, before, after, findings, settings), budget)


def picture(curves, before: np.ndarray, after, findings: list[Finding], settings: Settings):
    """Left: the first digits while the others are learnt. Right: old against new digits at the end."""
    figure, axes = canvas(1, 2, width=13, height=5.5)
    left, panel = axes[0]
    for name, path in curves.items():
        values = np.vstack([before, *path])  # (look, seed)
        at = 10 * np.arange(len(values))
        left.plot(at, values, color=COLOURS[name], linewidth=1, alpha=0.25)
        left.plot(at, values.mean(1), color=COLOURS[name], linewidth=3.5, label=name)
    left.set(ylim=(-3, 103))
    label(left, "", "steps on the other digits (thin: each split)", f"test digits 0 to {settings.first - 1} right, %")
    left.legend(fontsize=14, loc="best")
    left.set_title("While the others are learnt", loc="left", fontsize=16)
    for name, (old, new) in after.items():
        panel.plot(new, old, "o", color=COLOURS[name], alpha=0.3, markersize=7)
        panel.plot(new.mean(), old.mean(), "s", color=COLOURS[name], markersize=14, markeredgecolor=BLACK, label=name)
    panel.plot([0, 103], [0, 103], color=GREY, linewidth=1, label="both alike")
    panel.set(xlim=(min(60, *(new.min() for _, new in after.values())) - 3, 103), ylim=(-5, 103))
    label(panel, "", "new digits right, %", "first digits right, %")
    panel.legend(fontsize=14, loc="center left")
    panel.set_title("At the end (squares: means)", loc="left", fontsize=16)
    drop, back = findings[0].measured, findings[1].measured
    figure.suptitle(f"Naive training forgets {drop:.0f} points; replay wins {back:.0%} of them back", fontsize=18,
                    fontweight="bold", x=0.01, ha="left")  # fmt: skip
    return figure
