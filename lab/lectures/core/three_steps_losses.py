"""The three steps: MAE asks for the median and MSE for the mean, starts end in many minima, and the loss sets the pace.

Lecture: L2, 15. Deep Learning
Slide: Solution: Three Steps
Says: "Design a function with unknown parameters. Define loss function L: Mean Absolute Error, Mean Squared Error,
    cross entropy. Solve an optimization problem: global minimum and local minimum"
Doubt: The slide lists the losses as if they could be exchanged. They ask for different answers (median, mean), and
    behind a sigmoid the squared error has no gradient where the unit is sure and wrong. Which minimum is reached
    is decided by the start; the slide does not say how many there are.
Kind: chance
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from sklearn.datasets import load_digits

from forecasting.traffic import web_traffic
from lab import console
from lab.lectures import Finding, Outcome, check, doubt, report, setting
from lab.plots import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILION, canvas, label
from lab.stats import bootstrap

RATES = (0.3, 1.0, 2.0, 3.0, 5.0, 8.0)
"""Learning rates of plain gradient descent; each loss has the one that validates best."""
SIZES = (64, 16, 16, 10)
"""The lecture's net of sigmoids, on digits of 8 x 8 pixels."""


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(5, 1, 30, quick=2)
    """Random samples, traffic series, splits and first weights."""
    weeks: int = setting(16, 4, 100)
    """Of daily views, in which a cycle of unknown length is looked for."""
    starts: int = setting(60, 1, 1000, quick=30)
    """Cycle lengths from which gradient descent begins."""
    steps: int = setting(300, 1, 10000, quick=30)
    """Full-batch steps of each loss on 1,000 digits."""


def best_constant(loss: Callable[[np.ndarray], np.ndarray], y: np.ndarray) -> float:
    """The one number c that minimises the mean of loss(c - y): y (n,). No derivative is used."""
    bounds = (float(y.min()), float(y.max()))
    found = minimize_scalar(lambda c: loss(c - y).mean(), bounds=bounds, method="bounded", options={"xatol": 1e-9})
    return float(found.x)


def cycle_loss(cycles: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """1 - R² of y (n,) on the best sine with so many cycles in the whole series: (starts,) -> (starts,).

    Height, phase and mean are solved for exactly, so that one unknown is left, and its loss can be drawn.
    """
    angle = 2 * torch.pi * cycles[:, None] * torch.arange(len(y), dtype=y.dtype) / len(y)
    basis = torch.stack([torch.ones_like(angle), torch.cos(angle), torch.sin(angle)], 2)  # (starts, n, 3)
    gram, moment = basis.mT @ basis, basis.mT @ y[:, None]
    return 1 - ((torch.linalg.solve(gram, moment) * moment).sum((1, 2)) - len(y) * y.mean() ** 2) / (
        ((y - y.mean()) ** 2).sum()
    )


def descend(y: torch.Tensor, starts: int, steps: int = 400, rate: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Cycles (starts,) where descent from evenly spread beginnings ends, and the loss there."""
    cycles = torch.linspace(2, len(y) / 2 - 1, starts, dtype=y.dtype)
    for _ in range(steps):
        cycles.requires_grad_()
        (gradient,) = torch.autograd.grad(cycle_loss(cycles, y).sum(), cycles)
        cycles = (cycles - (rate * gradient).clamp(-0.05, 0.05)).detach()  # never a step across a whole lobe
    return cycles.numpy(), cycle_loss(cycles, y).numpy()


def minima(cycles: np.ndarray, y: torch.Tensor) -> np.ndarray:
    """The different ones of the ends (starts,) that are minima: a tenth of a cycle away the loss is higher."""
    at = torch.tensor(cycles)
    inside = cycle_loss(at, y)
    kept = (cycle_loss(at - 0.1, y) > inside) & (cycle_loss(at + 0.1, y) > inside)
    return np.unique(cycles[kept.numpy()].round(1))


def squared(z: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (torch.sigmoid(z) - target) ** 2


def cross_entropy(z: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.binary_cross_entropy_with_logits(z, target.expand_as(z), reduction="none")


def classify(loss: Callable[..., torch.Tensor], seed: int, steps: int) -> np.ndarray:
    """Share of digits right, (part, step + 1), part 0 for validation and 1 for test, at the rate that validates best.

    1,000 digits to train on, 300 to choose the rate by, 497 to test on. All rates are trained side by side.
    """
    data = load_digits()
    random = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(data.data), generator=random)
    x = torch.tensor(data.data / 16, dtype=torch.float32)[order]
    y = torch.tensor(data.target)[order]
    target = torch.nn.functional.one_hot(y, 10).float()
    rates = torch.tensor(RATES)[:, None, None]
    weights = [torch.randn(1, a + 1, b, generator=random) / a**0.5 for a, b in pairwise(SIZES)]
    weights = [w.expand(len(RATES), -1, -1).clone().requires_grad_() for w in weights]  # every rate has the same start

    def forward(rows: slice) -> torch.Tensor:
        h = x[rows].expand(len(RATES), -1, -1)
        for layer, w in enumerate(weights):
            h = torch.sigmoid(h) if layer else h
            h = torch.baddbmm(w[:, :1], h, w[:, 1:])  # row 0 holds the biases
        return h  # (rate, row, class), before the last sigmoid

    right = []
    for _ in range(steps + 1):
        with torch.no_grad():
            hit = (forward(slice(1000, None)).argmax(2) == y[1000:]).float()
        right.append(torch.stack([hit[:, :300].mean(1), hit[:, 300:].mean(1)]))  # (part, rate)
        value = loss(forward(slice(0, 1000)), target[:1000]).sum(2).mean(1).sum()
        with torch.no_grad():
            for w, gradient in zip(weights, torch.autograd.grad(value, weights), strict=True):
                w -= rates * gradient
    curves = torch.stack(right, 2)  # (part, rate, step)
    return curves[:, curves[0, :, -1].argmax()].numpy()


def daily_views(seed: int, weeks: int) -> torch.Tensor:
    """Generated views a day, (7 weeks,), relative to their mean."""
    views = web_traffic(7 * weeks, seed).to_numpy().reshape(-1, 24).sum(1)
    return torch.tensor(views / views.mean())


def measure(settings: Settings) -> Outcome:
    seeds = range(settings.seeds)
    samples = [np.random.default_rng(seed).lognormal(size=101) for seed in seeds]  # skewed; odd, so one median
    off_median = [abs(best_constant(np.abs, y) - float(np.median(y))) for y in samples]
    off_mean = [abs(best_constant(np.square, y) - float(y.mean())) for y in samples]
    series = [daily_views(seed, settings.weeks) for seed in seeds]
    ends = [descend(y, settings.starts) for y in series]
    reached = [len(minima(end, y)) for (end, _), y in zip(ends, series, strict=True)]
    best = [float(end[loss.argmin()]) for end, loss in ends]
    lucky = [float((np.abs(end - top) < 0.1).mean()) for (end, _), top in zip(ends, best, strict=True)]
    curves: dict[str, np.ndarray] = {}
    with console.bar("losses", 2 * settings.seeds, "nets") as advance:
        for name, loss in (("cross entropy", cross_entropy), ("squared error", squared)):
            each = []
            for seed in seeds:
                each.append(classify(loss, seed, settings.steps)[1])
                advance()
            curves[name] = np.stack(each)  # (seed, step)
    gain = curves["cross entropy"][:, -1] - curves["squared error"][:, -1]
    sure = torch.tensor([-10.0], requires_grad=True)  # sigmoid 4.5e-5 where 1 is right
    pull = [torch.autograd.grad(loss(sure, torch.ones(1)).sum(), sure)[0].item() for loss in (cross_entropy, squared)]
    findings = [
        doubt(check("argmin of MAE against the median, largest distance", max(off_median), "< 1e-3",
                    values=off_median)),
        doubt(check("argmin of MSE against the mean, largest distance", max(off_mean), "< 1e-3", values=off_mean)),
        check("different minima that the starts reach, fewest of any series", min(reached), ">= 2", values=reached),
        doubt(check("accuracy after equal steps, cross entropy less squared error", float(np.median(gain)), "> 0",
                    bootstrap(gain), gain.tolist())),
        report("share of starts that end in the lowest minimum", float(np.median(lucky)), bootstrap(lucky), lucky),
        report("period of the lowest minimum, days", float(np.median(7 * settings.weeks / np.array(best)))),
        *(report(f"accuracy by {name}", float(np.median(each[:, -1])), bootstrap(each[:, -1]), each[:, -1].tolist())
          for name, each in curves.items()),
        report("gradient on a unit that is sure and wrong, cross entropy over squared error", pull[0] / pull[1]),
    ]  # fmt: skip
    budget = (
        f"{settings.seeds} seeds of: 101 log-normal values; {settings.weeks} weeks of daily views, {settings.starts} "
        f"starts, 400 descent steps each; a 64-16-16-10 net of sigmoids, {settings.steps} full-batch steps on 1,000 "
        f"digits for each of {len(RATES)} rates, chosen on 300 digits, accuracy on 497 others"
    )
    return Outcome(findings, picture(samples[0], series[0], ends[0], curves, findings), budget)


def picture(sample, y, ends, curves: dict[str, np.ndarray], findings: list[Finding]):
    """The two losses of a constant; the loss of a cycle's length and where descent ends; accuracy by step."""
    figure, axes = canvas(1, 3, width=15, height=5.2)
    left, middle, right = axes[0]
    c = np.linspace(0, 4, 400)[:, None]
    for name, loss, centre, colour in (
        ("MAE", np.abs, np.median(sample), BLUE), ("MSE", np.square, sample.mean(), ORANGE),
    ):  # fmt: skip
        values = loss(c - sample).mean(1)
        left.plot(c, values / values.min(), color=colour, linewidth=3, label=name)
        left.plot(centre, 1, "o", color=colour, markersize=11)
        side, align = (-0.05, "right") if name == "MAE" else (0.05, "left")
        left.text(centre + side, 0.985, f"{'median' if name == 'MAE' else 'mean'} {centre:.2f}", ha=align, va="top",
                  color=colour, fontsize=14)  # fmt: skip
    left.set(ylim=(0.94, 1.5), xlim=(0, 4))
    agree = findings[0].holds and findings[1].holds
    title = "The two losses want two numbers" if agree else "Not at the median or the mean"
    label(left, title, "constant guess c", "loss / its least")
    left.legend(loc="upper right")
    grid = torch.linspace(1.5, len(y) / 2 - 0.5, 1500, dtype=y.dtype)
    middle.plot(len(y) / grid, cycle_loss(grid, y), color=GREY, linewidth=1.5, label="loss")
    end, loss = ends
    lowest = np.abs(end - end[loss.argmin()]) < 0.1
    middle.plot(len(y) / end[~lowest], loss[~lowest], "o", color=VERMILION, markersize=8, label="a start ends here")
    middle.plot(
        len(y) / end[lowest],
        loss[lowest],
        "*",
        color=GREEN,
        markersize=19,
        label=f"the lowest: {lowest.sum()} of {len(end)}",
    )
    middle.set(xscale="log", ylim=(None, 1.12), xlim=(2, 60))
    middle.set_xticks([2, 3.5, 7, 14, 28, 56], ["2", "3.5", "7", "14", "28", "56"])
    middle.minorticks_off()
    count = len(minima(end, y))
    label(middle, f"{len(end)} starts, {count} minima: {lowest.mean():.0%} find the week", "length of the cycle, days",
          "squared error / variance")  # fmt: skip
    middle.legend(loc="lower right")
    for (name, each), colour in zip(curves.items(), (GREEN, VERMILION), strict=True):
        right.plot(each.T, color=colour, linewidth=1, alpha=0.4)
        right.plot(np.median(each, 0), color=colour, linewidth=3, label=f"{name}: {np.median(each[:, -1]):.1%}")
    right.axhline(0.1, color=BLACK, linestyle=":", linewidth=1)
    right.set(ylim=(0, 1), xlim=(0, each.shape[1] - 1))
    found = {True: "Cross entropy is ahead", False: "Cross entropy is not ahead", None: "No loss is surely ahead"}
    label(right, f"{found[findings[3].holds]} after {each.shape[1] - 1} steps", "gradient step",
          "digits right, test set")  # fmt: skip
    right.legend(loc="upper left")
    for panel in (left, middle, right):
        panel.title.set_fontsize(15)
    return figure
