"""The table of what vanishing and exploding gradients do, cell by cell: seldom are it the weights that vanish.

Lecture: L2, 15. Deep Learning
Slide: Issues During Training (Gradient Vanishing, Gradient Exploding)
Says: Vanishing: "The weights are almost 0"; "The weights near the output layer update quickly, while the weights in the
    input layer hardly update."; "Converges very slowly"; "Stop learning". Exploding: "Weights with NaN value"; "Weights
    increase explosively"; "Instable performance"; "Performs poorly on the training set"
Doubt: It is the gradients that are almost 0; the weights stay where they were drawn. "Converges very slowly" and "Stop
    learning" exclude each other, and the first line of the right column ends what the second describes. The slide names
    no net: here 10 sigmoid layers, and 10 ReLU layers drawn too wide, against 10 ReLU layers drawn after He.
    Rate, steps and how much too wide were settled on starts below 100; those that are told are numbered from 100.
Kind: chance
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from sklearn.datasets import load_digits

from lab import console
from lab.lectures import Finding, Outcome, check, report, setting
from lab.plots import BLACK, BLUE, GREEN, GREY, LIGHT_GREY, VERMILION, canvas, label
from lab.stats import bootstrap

FIRST = 100
"""Number of the first start: none of those told has chosen a setting."""
HEALTHY, VANISHING, EXPLODING = "healthy", "vanishing", "exploding"
COLOURS = {HEALTHY: GREEN, VANISHING: BLUE, EXPLODING: VERMILION}


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(10, 1, 50, quick=3)
    """Random starts of each net."""
    steps: int = setting(300, 10, 10000, quick=60)
    """Steps of gradient descent on all images at once."""
    images: int = setting(600, 50, 1797)
    """Handwritten digits to train on."""
    depth: int = setting(10, 2, 40)
    """Hidden layers."""
    width: int = setting(32, 4, 256)
    """Units of each."""
    rate: float = setting(0.1, 1e-5, 10.0)
    """Learning rate, the same for all three nets."""
    gain: float = setting(2.0, 0.1, 10.0)
    """How much wider than He's the exploding net is drawn: its gradients grow about so much per layer."""


@dataclass(frozen=True)
class Run:
    """What one training left behind."""

    loss: np.ndarray
    """(steps + 1,) cross entropy on the training images; NaN from the step on at which it is not finite."""
    accuracy: float
    """On the training images at the end; 0 if the outputs are not finite."""
    shrunk: float
    """Median |weight| at the end over that at the start, without output layer."""
    grown: float
    """Largest |weight| that was finite over the largest at the start."""
    uneven: float
    """Relative change of the last hidden layer's weights over that of the first one's, in the first step."""
    broken: bool
    """Whether any weight is NaN or infinite."""


def draw(kind: str, settings: Settings, seed: int) -> list[torch.Tensor]:
    """Weight matrices (in, out) of a net 64 - width x depth - 10; without biases."""
    random = torch.Generator().manual_seed(seed)
    sizes = [64, *[settings.width] * settings.depth, 10]
    spread = {HEALTHY: 2**0.5, VANISHING: 1.0, EXPLODING: settings.gain * 2**0.5}[kind]  # over the root of the fan-in
    return [torch.randn(a, b, generator=random).mul_(spread / a**0.5).requires_grad_() for a, b in pairwise(sizes)]


def train(kind: str, settings: Settings, seed: int, x: torch.Tensor, y: torch.Tensor) -> Run:
    """Plain gradient descent on images x (n, 64) of digits y (n,)."""
    weights = draw(kind, settings, seed)
    before = [w.detach().clone() for w in weights]
    bend = torch.sigmoid if kind == VANISHING else torch.relu
    losses, uneven, largest = [], float("nan"), max(w.abs().max().item() for w in before)

    def forward() -> torch.Tensor:
        h = x
        for w in weights[:-1]:
            h = bend(h @ w)
        return h @ weights[-1]  # logits (n, 10)

    for step in range(settings.steps):
        loss = torch.nn.functional.cross_entropy(forward(), y)
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for w, g in zip(weights, gradients, strict=True):
                w -= settings.rate * g
            if step == 0:
                moved = [(g.norm() / w.norm()).item() for w, g in zip(before, gradients, strict=True)]
                uneven = moved[-2] / moved[0] if moved[0] else float("inf")
            peak = max(w.abs().max().item() for w in weights)
            if not np.isfinite(peak):
                break
            largest = max(largest, peak)
    with torch.no_grad():
        logits = forward()
        losses.append(torch.nn.functional.cross_entropy(logits, y).item())
        broken = not all(torch.isfinite(w).all() for w in weights)
        accuracy = (logits.argmax(1) == y).float().mean().item() if torch.isfinite(logits).all() else 0.0
        middle = [torch.cat([w.abs().flatten() for w in ws[:-1]]).median().item() for ws in (weights, before)]
    curve = np.full(settings.steps + 1, np.nan)
    curve[: len(losses)] = np.where(np.isfinite(losses), losses, np.nan)
    start = max(w.abs().max().item() for w in before)
    return Run(curve, accuracy, middle[0] / middle[1], largest / start, uneven, broken)


def measure(settings: Settings) -> Outcome:
    data = load_digits()
    x = torch.tensor((data.data - data.data.mean()) / data.data.std(), dtype=torch.float32)
    y = torch.tensor(data.target)
    x, y = x[: settings.images], y[: settings.images]
    runs: dict[str, list[Run]] = {kind: [] for kind in COLOURS}
    with console.bar("vanish, explode", 3 * settings.seeds, "nets") as advance:
        for kind, seed in ((kind, seed) for kind in COLOURS for seed in range(settings.seeds)):
            runs[kind].append(train(kind, settings, FIRST + seed, x, y))
            advance()

    def cell(name: str, values: list[float], condition: str) -> Finding:
        """The median over seeds with its interval."""
        return check(name, float(np.median(values)), condition, bootstrap(values), values)

    healthy, vanished, exploded = (runs[kind] for kind in COLOURS)
    normal = float(np.median([run.loss[0] - run.loss[-1] for run in healthy]))
    half = settings.steps // 2
    bounces = [float(np.nanmax(run.loss) / run.loss[0]) for run in exploded]
    findings = [
        cell("V1 weights almost 0: median |w|, end over start", [run.shrunk for run in vanished], "< 0.1"),
        cell("V2 last hidden layer's relative update over first's", [run.uneven for run in vanished], "> 100"),
        cell("V3 slow: fall of the loss over the healthy net's",
             [float(run.loss[0] - run.loss[-1]) / normal for run in vanished], "< 0.1"),
        cell("V4 stops: fall of the loss in the second half over the healthy net's whole",
             [float(run.loss[half] - run.loss[-1]) / normal for run in vanished], "< 0.01"),
        check("E1 share of nets with NaN or infinite weights", float(np.mean([run.broken for run in exploded])), "== 1",
              values=[run.broken for run in exploded]),
        cell("E2 weights explode: largest |w| over start's", [run.grown for run in exploded], "> 1000"),
        cell("E3 unstable: highest loss over first", bounces, "> 10"),
        cell("E4 poor on the training set: accuracy", [run.accuracy for run in exploded], "< 0.5"),
        report("healthy: accuracy on the training set", float(np.median([run.accuracy for run in healthy]))),
        report("vanishing: accuracy on the training set", float(np.median([run.accuracy for run in vanished]))),
    ]  # fmt: skip
    budget = (
        f"3 nets of {settings.depth} hidden layers of {settings.width}, {settings.seeds} starts each, {settings.steps} "
        f"full-batch steps on {len(x)} digits at rate {settings.rate:g}"
    )
    return Outcome(findings, picture(runs, findings), budget)


def picture(runs: dict[str, list[Run]], findings: list[Finding]):
    """Left: the eight cells with their verdicts. Right: the training loss of the three nets."""
    figure, axes = canvas(1, 2, width=14, height=5.8, width_ratios=[1.45, 1])
    table, panel = axes[0]
    table.axis("off")
    table.set(xlim=(0, 2), ylim=(-4.1, 0.75))
    says = (
        ("the weights are almost 0", "|w| {:.2f} of start"),
        ("input layer hardly updates", "output : input = {:.0e}"),
        ("converges very slowly", "{:.0%} of a healthy fall"),
        ("stops learning", "late fall {:.1%}"),
        ("weights with NaN", "in {:.0%} of nets; else ReLUs die"),
        ("weights explode", "|w| × {:.3g}"),
        ("unstable", "loss × {:.3g}"),
        ("poor on the training set", "accuracy {:.0%}"),
    )
    for column, (title, colour) in enumerate((("Vanishing", BLUE), ("Exploding", VERMILION))):
        table.text(column + 0.03, 0.25, title, fontsize=19, fontweight="bold", color=colour)
    for number, ((claim, found), finding) in enumerate(zip(says, findings, strict=False)):
        x, y = number // 4, -(number % 4) - 0.4
        mark, colour = {True: ("holds", GREEN), False: ("fails", VERMILION), None: ("open", GREY)}[finding.holds]
        table.text(x + 0.03, y + 0.17, claim, fontsize=15, va="center")
        table.text(
            x + 0.03,
            y - 0.21,
            found.format(round(finding.measured, 6) + 0.0),
            fontsize=14,
            va="center",
            color="#666666",
        )
        table.text(x + 0.94, y, mark, fontsize=16, va="center", ha="right", color=colour, fontweight="bold")
        table.plot([x + 0.02, x + 0.95], [y - 0.47] * 2, color=LIGHT_GREY, linewidth=1)
    answers = [finding.holds for finding in findings[:8]]
    table.set_title(f"{answers.count(True)} of 8 cells hold", loc="left", fontsize=18, fontweight="bold", color=BLACK)
    for kind, each in runs.items():
        for number, run in enumerate(each):
            panel.plot(run.loss, color=COLOURS[kind], linewidth=1.8, alpha=0.6, label=None if number else kind)
            if run.broken:
                last = np.flatnonzero(np.isfinite(run.loss))[-1]
                panel.plot(last, run.loss[last], "X", color=COLOURS[kind], markersize=11, zorder=5)
    panel.plot([], [], "X", color=VERMILION, markersize=11, linestyle="none", label="last before NaN")
    panel.set(xscale="symlog", yscale="log", xlim=(-0.1, None))
    label(panel, "", "gradient step", "training loss, nats")
    panel.set_title("What training sees", loc="left", fontsize=18)
    panel.legend(fontsize=13, loc="upper right")
    return figure
