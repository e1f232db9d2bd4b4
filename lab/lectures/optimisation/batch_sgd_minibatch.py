"""A mini-batch's gradient is right on average and its variance falls as 1/n, but not in slices of sorted data.

Lecture: L2, 15. Deep Learning
Slide: Batch gradient descent; Stochastic gradient descent; Mini-batch gradient descent
Says: "W = W − η · ∇_W C(W); W = W − η · ∇_W C(W; x^(i); y^(i)); W = W − η · ∇_W C(W; x^(i:i+n); y^(i:i+n))"
Doubt: x^(i:i+n) is a slice, and no slide says that the data must be shuffled. Slices of data sorted by class are still
    right on average, but their variance falls only as n^-0.6, at n = 128 to seven times that of 1/n. Drawn without
    replacement the variance falls faster than 1/n: at n = N it is 0.
Kind: chance
"""

from dataclasses import dataclass

import numpy as np

from lab.lectures import Outcome, check, doubt, report, setting
from lab.plots import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILION, canvas, label
from lab.stats import bootstrap

SIZES = np.array([1, 2, 4, 8, 16, 32, 64, 128])


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(10, 2, 100, quick=5)
    """Random weights W at which the gradients are compared."""
    draws: int = setting(2000, 100, 100_000, quick=500)
    """Mini-batches of each size at each W."""


def gradients(seed: int) -> np.ndarray:
    """The cross-entropy gradient of each example, (example, weight), at random weights; examples sorted by class.

    Logistic regression on scikit-learn's breast cancer data: 569 examples, 30 standardised features and a bias.
    """
    from sklearn.datasets import load_breast_cancer

    x, y = load_breast_cancer(return_X_y=True)
    order = np.argsort(y, kind="stable")
    x, y = (x[order] - x.mean(0)) / x.std(0), y[order]
    design = np.column_stack([x, np.ones(len(x))])
    w = np.random.default_rng(seed).normal(size=design.shape[1]) * 0.1
    return (1 / (1 + np.exp(-design @ w)) - y)[:, None] * design


def variances(each: np.ndarray, how: str, draws: int, seed: int) -> np.ndarray:
    """Mean squared distance of a mini-batch's gradient from the full one, by batch size, (size,).

    how: "with" or "without" replacement, or "sorted": slices i:i+n of the data as they lie, around the end.
    """
    random, full, found = np.random.default_rng(seed), each.mean(0), []
    for n in SIZES:
        if how == "with":
            picks = random.integers(len(each), size=(draws, n))
        elif how == "without":
            picks = random.random((draws, len(each))).argpartition(n, axis=1)[:, :n]
        else:
            picks = (random.integers(len(each), size=(draws, 1)) + np.arange(n)) % len(each)
        means = np.array([each[some].mean(0) for some in picks])
        found.append(((means - full) ** 2).sum(1).mean())
    return np.array(found)


def slope(values: np.ndarray) -> float:
    """Exponent of the batch size, least squares in logarithms."""
    return float(np.polyfit(np.log(SIZES), np.log(values), 1)[0])


def unbiased(each: np.ndarray, draws: int, seed: int) -> float:
    """Distance of the mean of `draws` mini-batch gradients of 8 from the full gradient, over what chance allows.

    1 is expected of an unbiased estimate: the squared distance is divided by its expectation.
    """
    picks = np.random.default_rng(1000 + seed).integers(len(each), size=(draws, 8))
    mean = each[picks].mean(1).mean(0)
    return float(((mean - each.mean(0)) ** 2).sum() / (each.var(0).sum() / 8 / draws))


def measure(settings: Settings) -> Outcome:
    ways = ("with", "without", "sorted")
    spread: dict[str, list[np.ndarray]] = {way: [] for way in ways}
    apart, bias = [], []
    for seed in range(settings.seeds):
        each = gradients(seed)
        for way in ways:
            spread[way].append(variances(each, way, settings.draws, seed))
        epoch = np.random.default_rng(seed).permutation(560).reshape(-1, 8)  # 70 whole batches of the first 560
        parts = np.array([each[some].mean(0) for some in epoch])
        apart.append(np.abs(parts.mean(0) - each[:560].mean(0)).max())
        bias.append(unbiased(each, settings.draws, seed))
    slopes = {way: np.array([slope(values) for values in spread[way]]) for way in ways}
    bound, sliced = (np.mean([each[-1] / each[0] * SIZES[-1] for each in spread[way]]) for way in ways[1:])
    findings = [
        check("mean of an epoch's mini-batches against the full gradient, largest gap", max(apart), "<= 1e-12"),
        # 4 standard deviations even if one direction had all the variance: chi-square with one degree, over its mean
        check("squared error of the mean of random mini-batches over chance's", float(np.mean(bias)), "in 0 .. 4",
              bootstrap(bias, np.mean), bias),
        check("exponent of n in the variance, drawn with replacement", slopes["with"].mean(), "== -1 +- 0.05",
              bootstrap(slopes["with"], np.mean), slopes["with"]),
        doubt(check("exponent of n in the variance, slices of sorted data", slopes["sorted"].mean(), "> -0.95",
                    bootstrap(slopes["sorted"], np.mean), slopes["sorted"])),
        report("exponent of n in the variance, drawn without replacement", slopes["without"].mean(),
               bootstrap(slopes["without"], np.mean), slopes["without"]),
        report("n = 128 without replacement: variance times n over that of n = 1", bound),
        report("n = 128, slices of sorted data: variance times n over that of n = 1", sliced),
        report("without replacement by theory, (N - n) / (N - 1)", (569 - 128) / 568),
    ]  # fmt: skip
    budget = (
        f"{settings.seeds} random weights of a logistic regression on 569 examples; {len(SIZES)} batch sizes of "
        f"{settings.draws} mini-batches, drawn 3 ways"
    )
    mean = {way: np.mean(spread[way], axis=0) for way in ways}
    return Outcome(findings, picture(mean, {way: float(slopes[way].mean()) for way in ways}), budget)


def descend(x: np.ndarray, y: np.ndarray, n: int, steps: int) -> np.ndarray:
    """The path of (w, b) on the squared error with mini-batches of n, (steps + 1, 2)."""
    random, w, path = np.random.default_rng(1), np.array([-1.2, -1.0]), []
    for _ in range(steps + 1):
        path.append(w)
        some = random.choice(len(x), n, replace=False)
        miss = w[0] * x[some] + w[1] - y[some]
        w = w - 0.08 * 2 * np.array([(miss * x[some]).mean(), miss.mean()])
    return np.array(path)


def picture(mean: dict[str, np.ndarray], exponent: dict[str, float]):
    """Left: three descents of a line's two weights over the contours of its cost. Right: variance against n."""
    figure, axes = canvas(1, 2, width=12, height=5.4)
    left, right = axes[0]
    random = np.random.default_rng(0)
    x = random.normal(0.4, 1, 256)
    y = 1.5 * x + 0.8 + random.normal(size=256)
    w, b = np.meshgrid(np.linspace(-1.6, 2.6, 120), np.linspace(-1.5, 1.9, 120))
    cost = ((w[..., None] * x + b[..., None] - y) ** 2).mean(-1)
    left.contour(w, b, np.log(cost), levels=14, colors=GREY, linewidths=0.6)
    for n, colour, name in ((1, ORANGE, "stochastic, n = 1"), (16, GREEN, "mini-batch, n = 16"), (256, BLUE, "batch")):
        path = descend(x, y, n, 60)
        left.plot(*path.T, "o-", color=colour, markersize=3.5, linewidth=1.6, label=name)
    left.plot(1.5, 0.8, "*", color=BLACK, markersize=15, zorder=5)
    label(left, "60 steps each: the smaller, the noisier", "weight", "bias")
    left.legend(loc="lower right", fontsize=12, frameon=True)
    names = {"with": "with replacement", "without": "without replacement", "sorted": "slices of sorted data"}
    for (way, values), colour in zip(mean.items(), (BLUE, GREEN, VERMILION), strict=True):
        right.plot(SIZES, values / values[0], "o-", color=colour, linewidth=3.5, markersize=9,
                   label=f"{names[way]}: n^{exponent[way]:.2f}")  # fmt: skip
    right.plot(SIZES, 1 / SIZES, color=BLACK, linestyle="--", linewidth=1.5, label="1/n")
    right.set(xscale="log", yscale="log")
    right.set_xticks(SIZES, [str(n) for n in SIZES])
    right.minorticks_off()
    label(right, "", "examples in a mini-batch, n", "variance of its gradient, over that of n = 1")
    right.set_title(f"Shuffled n^{exponent['with']:.2f}, sorted n^{exponent['sorted']:.2f}", loc="left", fontsize=14)
    right.legend(fontsize=13)
    return figure
