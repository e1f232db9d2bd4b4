"""Features made by hand lead raw pixels with few digits, and still do with all: the expert is not gone from them.

Lecture: L2, 15. Deep Learning
Slide: Model view: neural network
Says: "Data is all you need and expert is gone"
Doubt: From how many examples on? The slide says none. The same net reads both here: pixels as they are, and what an
    expert on handwriting would take from them: in which directions the strokes run in each part of the image. An expert
    is also in what the slide would use instead: a convolution knows that neighbours belong together.
Kind: chance
"""

from dataclasses import dataclass

import numpy as np
import torch

from lab import console
from lab.lectures import Finding, Outcome, check, doubt, report, setting
from lab.plots import BLUE, GREY, ORANGE, VERMILION, canvas, label
from lab.stats import bootstrap

SIZES = (20, 50, 100, 200, 400, 800, 1400)
"""Digits to train on; the other 397 are the test."""


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(10, 2, 50, quick=4)
    """Splits of the digits, each with its own start of the nets."""
    steps: int = setting(300, 1, 10000, quick=40)
    """Full-batch Adam steps, rate 0.003."""
    directions: int = setting(8, 1, 32)
    """Directions into which the expert sorts the strokes. One tells only how much of an edge there is in each part."""


def by_hand(images: np.ndarray, directions: int) -> np.ndarray:
    """Histograms of oriented gradients (Dalal and Triggs, 2005): images (n, 8, 8) -> (n, 9 * directions).

    Nine overlapping parts of 4 x 4 pixels; in each, how much edge runs in each direction; all of length 1.
    """
    down, across = np.gradient(np.pad(images, ((0, 0), (1, 1), (1, 1))), axis=(1, 2))
    down, across = down[:, 1:-1, 1:-1], across[:, 1:-1, 1:-1]  # (n, 8, 8)
    size, turn = np.hypot(down, across), (np.arctan2(down, across) / (2 * np.pi) % 1) * directions
    lower = np.floor(turn).astype(int)
    share = turn - lower  # each edge is split between the two directions nearest to it
    bins = np.zeros((*size.shape, directions))
    for place, weight in ((lower % directions, 1 - share), ((lower + 1) % directions, share)):
        bins += np.eye(directions)[place] * (weight * size)[..., None]
    parts = [bins[:, row : row + 4, column : column + 4].sum((1, 2)) for row in (0, 2, 4) for column in (0, 2, 4)]
    whole = np.concatenate(parts, 1)
    return whole / np.linalg.norm(whole, axis=1, keepdims=True)


def nets(x: torch.Tensor, y: torch.Tensor, test: torch.Tensor, steps: int) -> np.ndarray:
    """Digits that nets f-128-10 see in test (seed, image, f), trained side by side on x (seed, n, f), y (seed, n)."""
    draws, inputs = [torch.Generator().manual_seed(seed) for seed in range(len(x))], x.shape[2]
    w1 = torch.stack([torch.randn(inputs, 128, generator=draw) for draw in draws]) * (2 / inputs) ** 0.5
    w2 = torch.stack([torch.randn(128, 10, generator=draw) for draw in draws]) * (2 / 128) ** 0.5
    weights = [w1, torch.zeros(len(x), 1, 128), w2, torch.zeros(len(x), 1, 10)]
    optimiser = torch.optim.Adam([each.requires_grad_() for each in weights], 0.003)

    def logits(z: torch.Tensor) -> torch.Tensor:
        return torch.baddbmm(weights[3], torch.relu(torch.baddbmm(weights[1], z, weights[0])), weights[2])

    for _ in range(steps):
        # a mean over images, a sum over nets: no net's gradient depends on another
        loss = torch.nn.functional.cross_entropy(logits(x).transpose(1, 2), y, reduction="sum") / x.shape[1]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        return logits(test).argmax(-1).numpy()


def standard(x: np.ndarray, train: np.ndarray) -> np.ndarray:
    """x (n, f) less each feature's mean on the rows `train`, in standard deviations of all numbers there."""
    return (x - x[train].mean(0)) / x[train].std()


def measure(settings: Settings) -> Outcome:
    from sklearn.datasets import load_digits

    pixels, y = load_digits(return_X_y=True)
    seen = {"pixels": pixels, "by hand": by_hand(pixels.reshape(-1, 8, 8), settings.directions)}
    orders = [np.random.default_rng(seed).permutation(len(y)) for seed in range(settings.seeds)]
    truth = torch.tensor(np.stack([y[order] for order in orders]))
    right = {name: np.zeros((len(SIZES), settings.seeds)) for name in seen}
    with console.bar("expert", 2 * len(SIZES), "sizes") as advance:
        for name, x in seen.items():
            for row, n in enumerate(SIZES):
                scaled = np.stack([standard(x, order[:n])[order] for order in orders])
                images = torch.tensor(scaled, dtype=torch.float32)  # (seed, 1797, f), training first
                told = nets(images[:, :n], truth[:, :n], images[:, 1400:], settings.steps)
                right[name][row] = 100 * (told == truth[:, 1400:].numpy()).mean(1)
                advance()
    lead = right["by hand"] - right["pixels"]  # (size, seed), points
    gone = [n for n, row in zip(SIZES, lead, strict=True) if bootstrap(row, np.mean)[1] < 0]
    certain = [n for n, row in zip(SIZES, lead, strict=True) if bootstrap(row, np.mean)[0] > 0]
    findings = [
        doubt(check(f"lead of the hand at n = {SIZES[0]}, points", lead[0].mean(), "> 0", bootstrap(lead[0], np.mean),
                    lead[0])),
        check(f"lead of pixels at n = {SIZES[-1]}, points", -lead[-1].mean(), ">= 0", bootstrap(-lead[-1], np.mean),
              -lead[-1]),
        report("n*: smallest n at which pixels lead for certain (nan: none)", min(gone, default=np.nan)),
        report("largest n at which the hand leads for certain (nan: none)", max(certain, default=np.nan)),
        *(report(f"lead of the hand at n = {n}, points", row.mean(), bootstrap(row, np.mean), row)
          for n, row in zip(SIZES[1:], lead[1:], strict=True)),
        *(report(f"{name}: right at n = {n}, %", right[name][row].mean(), bootstrap(right[name][row], np.mean))
          for name in right for row, n in ((0, SIZES[0]), (-1, SIZES[-1]))),
    ]  # fmt: skip
    budget = (
        f"{settings.seeds} splits of digits at {len(SIZES)} sizes, two nets f-128-10 each (64 pixels, "
        f"{seen['by hand'].shape[1]} features), {settings.steps} full-batch Adam steps; 397 test digits"
    )
    return Outcome(findings, picture(right, lead, findings), budget)


def picture(right: dict[str, np.ndarray], lead: np.ndarray, findings: list[Finding]):
    """Left: test digits right against n. Right: the lead of the features made by hand."""
    figure, axes = canvas(1, 2, width=13, height=5.4)
    left, panel = axes[0]
    for name, colour in (("by hand", ORANGE), ("pixels", BLUE)):
        band = np.array([bootstrap(row, np.mean) for row in right[name]])
        left.fill_between(SIZES, band[:, 0], band[:, 1], color=colour, alpha=0.25, linewidth=0)
        left.plot(
            SIZES,
            right[name].mean(1),
            "o-",
            color=colour,
            linewidth=3,
            markersize=8,
            label={"by hand": "features by hand", "pixels": "raw pixels"}[name],
        )
    label(left, "", "training digits (band: 95 % over splits)", "test digits right, %")
    left.legend(fontsize=15, loc="lower right")
    panel.axhline(0, color=GREY, linewidth=1.5)
    panel.plot(SIZES, lead, ".", color=GREY, markersize=8)
    panel.plot(SIZES, lead.mean(1), "o-", color=VERMILION, linewidth=3.5)
    label(panel, "", "training digits (dots: splits)", "lead of the hand, points")
    for each in (left, panel):
        each.set_xscale("log")
        each.set_xticks(SIZES, [str(n) for n in SIZES])
        each.minorticks_off()
    left.set_title("The same net on both", loc="left", fontsize=16)
    first, last = lead[0].mean(), lead[-1].mean()
    panel.set_title(f"{first:+.1f} points at {SIZES[0]}, {last:+.1f} at {SIZES[-1]}", loc="left", fontsize=16)
    gone = {True: "The expert is gone at", False: "The expert is not gone at", None: "Nobody leads for certain at"}
    figure.suptitle(f"{gone[findings[1].holds]} {SIZES[-1]} digits", fontsize=18, fontweight="bold", x=0.01, ha="left")
    return figure
