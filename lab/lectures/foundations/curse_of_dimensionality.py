"""A learner that knows only closeness needs some times as many examples for each dimension, unless data lie on a sheet.

Lecture: L4, Machine learning lecture
Slide: Deep Learning
Says: "High-dimensional input need exponentially many inputs (curse of dimensionality)."
Doubt: It is the dimension of what the data fill that counts, not the number of inputs: points on a curved sheet of two
    dimensions cost the same in 64 inputs as in 8. And it is a curse of learners that go by closeness alone: one that
    knows the target to be a sum of functions of one input each needs a few more examples a dimension, not times.
Kind: chance
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from lab import console
from lab.lectures import Finding, Outcome, check, doubt, report, setting
from lab.plots import BLACK, BLUE, GREEN, GREY, VERMILION, canvas, label
from lab.stats import bootstrap

SHEETS = (8, 16, 32, 64)
"""Inputs that the sheet is bent into."""


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(8, 2, 50, quick=4)
    """Draws of the examples."""
    dimensions: int = setting(8, 2, 8, quick=4)
    """The most dimensions of a cube that is filled evenly."""
    goal: float = setting(0.5, 0.1, 0.95)
    """Root mean square error to be reached, in standard deviations of the target."""
    most: int = setting(131072, 1024, 1000000, quick=16384)
    """Examples after which the search for n is given up."""
    sheet: bool = setting(True)
    """Bend a sheet into many inputs; if not, fill a cube of 3 dimensions instead of 8 inputs, 4 instead of 16, ..."""


def waves(x: np.ndarray) -> np.ndarray:
    """The target in a cube, as steep in any number of dimensions: x (n, d) -> (n,), of standard deviation sqrt(1/2)."""
    return np.sin(2 * np.pi * x).sum(1) / x.shape[1] ** 0.5


def bend(u: np.ndarray, inputs: int, seed: int) -> np.ndarray:
    """Points u (n, 2) of a square on a curved sheet in so many inputs (n, inputs), of the same size in any number."""
    random = np.random.default_rng(seed)
    turns = np.array([[1, 0], [0, 1], [1, 1], [1, -1]])[np.arange(inputs) % 4]
    return np.cos(np.pi * u @ turns.T + random.uniform(0, 2 * np.pi, inputs)) / inputs**0.5


def nearest(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    """What the nearest example says: x (n, d), y (n,), at (m, d) -> (m,)."""
    return y[KDTree(x).query(at)[1]]


def additive(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Least squares on the sine and cosine of each input: a learner that knows the target's form."""

    def features(z: np.ndarray) -> np.ndarray:
        return np.hstack([np.sin(2 * np.pi * z), np.cos(2 * np.pi * z), np.ones((len(z), 1))])

    return features(at) @ np.linalg.lstsq(features(x), y, rcond=1e-6)[0]


def needed(x: np.ndarray, y: np.ndarray, learner, goal: float, held: int = 500) -> float:
    """Examples from which the learner errs by no more than `goal` on the last `held` of x (n, d).

    n is doubled from 2, and interpolated on a log scale between the last that is too few and the first that is enough;
    where none is enough it is told as twice as many as there were.
    """
    at, truth, x, y = x[-held:], y[-held:], x[:-held], y[:-held]
    before, n = (np.inf, 1), 2
    while n <= len(x):
        error = float(np.sqrt(((learner(x[:n], y[:n], at) - truth) ** 2).mean()) / y.std())
        if error <= goal:
            if not np.isfinite(before[0]):
                return float(n)
            share = np.log(before[0] / goal) / np.log(before[0] / error)
            return float(before[1] * (n / before[1]) ** share)
        before, n = (error, n), 2 * n
    return 2.0 * len(x)


def measure(settings: Settings) -> Outcome:
    cubes = range(1, settings.dimensions + 1)
    filled, known = np.zeros((2, len(cubes), settings.seeds))
    sheets = np.zeros((len(SHEETS), settings.seeds))
    with console.bar("dimensions", len(cubes) + len(SHEETS), "sizes") as advance:
        for row, d in enumerate(cubes):
            for seed in range(settings.seeds):
                x = np.random.default_rng(seed).uniform(size=(settings.most + 500, d))
                filled[row, seed] = needed(x, waves(x), nearest, settings.goal)
                known[row, seed] = needed(x[:2000], waves(x[:2000]), additive, settings.goal)
            advance()
        for row, inputs in enumerate(SHEETS):
            for seed in range(settings.seeds):
                random = np.random.default_rng(seed)
                if settings.sheet:
                    u = random.uniform(size=(min(settings.most, 16384) + 500, 2))
                    x, y = bend(u, inputs, seed), waves(u)
                else:
                    x = random.uniform(size=(settings.most + 500, int(np.log2(inputs))))
                    y = waves(x)
                sheets[row, seed] = needed(x, y, nearest, settings.goal)
            advance()
    logs = np.log(filled)  # (dimension, seed)
    straight = np.array([_r2(np.array(cubes), each) for each in logs.T])
    slopes = np.exp(_slope(np.array(cubes), logs))
    flat, more = sheets[-1] / sheets[0], (known[-1] - known[0]) / (len(cubes) - 1)
    findings = [
        check("filled cube: R² of a straight line through log n against d", float(np.median(straight)), "> 0.95",
              bootstrap(straight), straight),
        check("filled cube: n for one dimension more, times", float(np.median(slopes)), "> 2", bootstrap(slopes),
              slopes),
        doubt(check(f"sheet of 2 dimensions: n in {SHEETS[-1]} inputs over n in {SHEETS[0]}", float(np.median(flat)),
                    "< 2", bootstrap(flat), flat)),
        report("learner that knows the form: further examples a dimension", float(np.median(more)), bootstrap(more),
               more),
        *(report(f"n needed in a cube of {d}", float(np.median(row)), bootstrap(row), row)
          for d, row in zip(cubes, filled, strict=True)),
        *(report(f"n needed on a sheet in {inputs} inputs", float(np.median(row)), bootstrap(row), row)
          for inputs, row in zip(SHEETS, sheets, strict=True)),
        report(f"n needed by the learner that knows the form, {cubes[-1]} dimensions", float(np.median(known[-1]))),
    ]  # fmt: skip
    budget = (
        f"{settings.seeds} draws in cubes of 1 to {cubes[-1]} dimensions and on a sheet in {SHEETS[0]} to {SHEETS[-1]} "
        f"inputs, at most {settings.most:,} examples; 500 points to answer for; error {settings.goal:g} standard "
        "deviations; medians over draws"
    )
    return Outcome(findings, picture(filled, known, sheets, findings), budget)


def _slope(d: np.ndarray, logs: np.ndarray) -> np.ndarray:
    """Slope of each column of logs (d, seed)."""
    return ((d - d.mean()) @ (logs - logs.mean(0))) / ((d - d.mean()) ** 2).sum()


def _r2(d: np.ndarray, log: np.ndarray) -> float:
    return float(np.corrcoef(d, log)[0, 1] ** 2)


def picture(filled: np.ndarray, known: np.ndarray, sheets: np.ndarray, findings: list[Finding]):
    """Left: n against the dimension of a filled cube. Right: n against the number of inputs of a sheet."""
    figure, axes = canvas(1, 2, width=13, height=5.4, sharey=True)
    left, right = axes[0]
    cubes = np.arange(1, len(filled) + 1)
    for values, colour, name in ((filled, VERMILION, "nearest neighbour"), (known, GREEN, "knows it is a sum")):
        left.plot(cubes, values, "o", color=colour, alpha=0.35, markersize=6)
        left.plot(cubes, np.median(values, 1), color=colour, linewidth=3.5, label=name)
    left.set(yscale="log", xticks=cubes)
    label(left, "", "dimensions filled evenly (dots: draws)", "examples needed")
    left.legend(fontsize=14, loc="upper left")
    left.set_title(f"A cube: times {findings[1].measured:.1f} for each dimension", loc="left", fontsize=16,
                   fontweight="bold")  # fmt: skip
    right.plot(SHEETS, sheets, "o", color=BLUE, alpha=0.5, markersize=6)
    right.plot(SHEETS, np.median(sheets, 1), color=BLUE, linewidth=3.5)
    right.axhline(np.median(filled[1]), color=GREY, linestyle="--", linewidth=2)
    right.text(SHEETS[-1], np.median(filled[1]) * 2.2, "dashed: a cube of 2", ha="right", fontsize=14, color=BLACK)
    right.set(xscale="log")
    right.set_xticks(SHEETS, [str(inputs) for inputs in SHEETS])
    right.minorticks_off()
    label(right, "", "inputs that a sheet of 2 dimensions is bent into", "")
    times = findings[2].measured
    right.set_title(f"A sheet: times {times:.1f} from {SHEETS[0]} to {SHEETS[-1]} inputs", loc="left", fontsize=16,
                    fontweight="bold")  # fmt: skip
    return figure
