"""A sum of K sigmoids, written down, follows smooth curves to about 1/K²; training is ahead at 16, behind at 128.

Lecture: L2, 15. Deep Learning; L3, KDDM2
Slide: Fit Everything? The universal approximation brought by nonlinearity (L2); What is deep? (L3)
Says: "We can have good approximation with sufficient pieces." "y = b + Σ_i c_i sigmoid(b_i + w_i x_1)" (L2); "1 hidden
    layer -> can approximate any function" (L3)
Doubt: That such a sum exists is one thing, that descent finds it another: neither slide says how many pieces are
    sufficient, nor that training gets there. Any continuous function on a closed interval, not any function.
Kind: chance
"""

from dataclasses import dataclass

import numpy as np
import torch

from lab import console
from lab.lectures import Finding, Outcome, check, doubt, report, setting
from lab.plots import BLACK, BLUE, DARK_GREY, GREY, ORANGE, canvas, label
from lab.stats import bootstrap

SIZES = (64, 128, 256, 512, 1024)
"""K of the sums written down."""
TRAINED = (16, 32, 64, 128)
"""K of the sums trained."""
BEYOND = 5
"""Pieces on either side of 0..1, without which the sum would sag at the ends."""


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(8, 1, 50, quick=4)
    """Curves to follow, each with its own start of the trained sum."""
    width: float = setting(0.5, 0.01, 5.0)
    """How far a sigmoid reaches, in pieces. Much less, and the sum is a staircase; much more, and it blurs."""
    steps: int = setting(3000, 1, 50000, quick=200)
    """Full-batch Adam steps of the trained sums on 256 points; rate 0.01, falling to 0 along a cosine."""


Curve = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Amplitudes, frequencies and phases of a sum of three sines."""


def draw(seed: int) -> Curve:
    random = np.random.default_rng(seed)
    return random.normal(size=3), 2 * np.pi * random.uniform(0.3, 2, 3), random.uniform(0, 2 * np.pi, 3)


def value(curve: Curve, x: np.ndarray) -> np.ndarray:
    """The curve on 0..1; beyond, its tangent at the end goes on: the sum may ask for no more than the interval."""
    a, w, phase = curve
    inside = np.clip(x, 0, 1)[:, None]
    slope = (a * w * np.cos(w * inside + phase)).sum(1)
    return (a * np.sin(w * inside + phase)).sum(1) + slope * (x - inside[:, 0])


def written(curve: Curve, pieces: int, x: np.ndarray, width: float) -> np.ndarray:
    """b + Σ c_i sigmoid(b_i + w_i x) with as many sigmoids as `pieces`, one for the rise from each knot to the next."""
    inside = pieces - 2 * BEYOND
    knots = np.arange(-BEYOND, inside + BEYOND + 1) / inside
    level = value(curve, knots)
    middles, w = (knots[1:] + knots[:-1]) / 2, inside / width
    z = np.clip(w * (x[:, None] - middles), -700, 700)
    return level[0] + (1 / (1 + np.exp(-z))) @ np.diff(level)


def trained(curves: list[Curve], pieces: int, x: np.ndarray, steps: int) -> np.ndarray:
    """The same sums with all of b, c_i, b_i, w_i learnt, a sum per curve side by side: (curve, point)."""
    draws = [torch.Generator().manual_seed(seed) for seed in range(len(curves))]
    w = torch.stack([torch.randn(pieces, 1, generator=each) for each in draws]) * 20
    middles = torch.stack([torch.rand(pieces, 1, generator=each) for each in draws])
    c = torch.stack([torch.randn(pieces, 1, generator=each) for each in draws]) / pieces**0.5
    parts = [part.requires_grad_() for part in (w, -w * middles, c, torch.zeros(len(curves), 1))]  # spread over 0..1
    points = torch.tensor(x, dtype=torch.float32)
    target = torch.tensor(np.stack([value(curve, x) for curve in curves]), dtype=torch.float32)
    optimiser = torch.optim.Adam(parts, 0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)

    def output() -> torch.Tensor:
        w, b, c, level = parts
        return (c * torch.sigmoid(w * points + b)).sum(1) + level  # (curve, point)

    for _ in range(steps):
        loss = ((output() - target) ** 2).mean(1).sum()  # a sum over curves: none depends on another
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        return output().numpy()


def measure(settings: Settings) -> Outcome:
    curves = [draw(seed) for seed in range(settings.seeds)]
    x, points = np.linspace(0, 1, 4001), np.linspace(0, 1, 256)
    scale = np.array([value(curve, x).std() for curve in curves])

    def apart(sums: np.ndarray, at: np.ndarray) -> np.ndarray:
        """The largest error in standard deviations of the curve, (curve,)."""
        return np.abs(sums - np.stack([value(curve, at) for curve in curves])).max(1) / scale

    def by_hand(pieces: int, at: np.ndarray) -> np.ndarray:
        return np.stack([written(curve, pieces, at, settings.width) for curve in curves])

    hand = np.array([apart(by_hand(pieces, x), x) for pieces in SIZES])  # (K, curve)
    same = np.array([apart(by_hand(pieces, points), points) for pieces in TRAINED])
    fits = []
    with console.bar("sums of sigmoids", len(TRAINED), "sizes") as advance:
        for pieces in TRAINED:
            fits.append(trained(curves, pieces, points, settings.steps))
            advance()
    learnt = np.array([apart(fit, points) for fit in fits])
    slopes = np.polyfit(np.log(SIZES), np.log(hand), 1)[0]
    behind = learnt[-1] / same[-1]
    findings = [
        check("written down: slope of log largest error in log K", float(np.median(slopes)), "in -2.3 .. -1.7",
              bootstrap(slopes), slopes),
        check(f"written down: largest error at K = {SIZES[-1]}, standard deviations", float(np.median(hand[-1])),
              "< 0.01", bootstrap(hand[-1]), hand[-1]),
        doubt(check(f"trained over written down: largest error at K = {TRAINED[-1]}", float(np.median(behind)), "> 1",
                    bootstrap(behind), behind)),
        *(report(f"trained: largest error at K = {pieces}, standard deviations", float(np.median(row)), bootstrap(row),
                 row) for pieces, row in zip(TRAINED, learnt, strict=True)),
        *(report(f"written down: largest error at K = {pieces}, standard deviations", float(np.median(row)),
                 bootstrap(row), row) for pieces, row in zip(TRAINED, same, strict=True)),
    ]  # fmt: skip
    budget = (
        f"{settings.seeds} curves of three sines; sums of {SIZES[0]} to {SIZES[-1]} sigmoids written down, of "
        f"{TRAINED[0]} to {TRAINED[-1]} trained by {settings.steps} full-batch Adam steps on 256 points; medians"
    )
    shown = (points, value(curves[0], points), by_hand(TRAINED[0], points)[0], fits[0][0])
    return Outcome(findings, picture(shown, hand, same, learnt, findings), budget)


def picture(shown, hand: np.ndarray, same: np.ndarray, learnt: np.ndarray, findings: list[Finding]):
    """Left: one curve and both sums of 16 sigmoids. Right: largest error against K."""
    figure, axes = canvas(1, 2, width=13, height=5.5)
    left, right = axes[0]
    x, truth, by_hand, fit = shown
    left.plot(x, truth, color=BLACK, linewidth=2, label="the curve")
    left.plot(x, by_hand, color=BLUE, linewidth=3, linestyle="--", label="written down")
    left.plot(x, fit, color=ORANGE, linewidth=3, linestyle=":", label="trained")
    label(left, "", "x", "y")
    left.set_title(f"One curve, {TRAINED[0]} sigmoids", loc="left", fontsize=15)
    sizes = (*TRAINED, *SIZES[2:])
    both = np.vstack([same, hand[2:]])
    right.plot(sizes, both, color=BLUE, linewidth=1, alpha=0.3)
    right.plot(sizes, np.median(both, 1), "o-", color=BLUE, linewidth=3.5, label="written down")
    right.plot(TRAINED, learnt, color=ORANGE, linewidth=1, alpha=0.3)
    right.plot(TRAINED, np.median(learnt, 1), "s-", color=ORANGE, linewidth=3.5, label="trained")
    square = np.median(hand[-1]) * (SIZES[-1] / np.array(SIZES)) ** 2.0
    right.plot(SIZES, square, "--", color=DARK_GREY, linewidth=2, label="1/K²")
    right.set(xscale="log", yscale="log")
    right.set_xticks(sizes, [str(size) for size in sizes])
    right.minorticks_off()
    right.grid(color=GREY, alpha=0.2)
    label(right, "", "sigmoids K (thin: each curve)", "largest error, standard deviations")
    slope, behind = findings[0].measured, findings[2].measured
    figure.suptitle(
        f"Written down, the error falls as K to the {slope:.1f}; trained, at {TRAINED[-1]} it is {behind:.2g} times as "
        "large", fontsize=17, fontweight="bold", x=0.01, ha="left",
    )  # fmt: skip
    return figure
