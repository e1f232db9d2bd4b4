"""Intervals and summaries where chance plays a part: 95 %, and the same on every run."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np

FEW_FOR_MEAN, FEW = 20, 5


def proportion(successes: int, trials: int) -> tuple[float, float]:
    """Exact (Clopper and Pearson, 1934) 95 % interval of a success rate."""
    from scipy.stats import binomtest

    interval = binomtest(successes, trials).proportion_ci(confidence_level=0.95, method="exact")
    return float(interval.low), float(interval.high)


def bootstrap(
    values: Sequence[float] | np.ndarray, statistic: Callable[..., np.ndarray] = np.median, draws: int = 2000
) -> tuple[float, float]:
    """95 % interval of `statistic` over seeds or episodes, values (n,): percentile bootstrap, of few values Student's.

    statistic: reduces the last axis, as np.mean and np.median do. One value has no spread to tell: (-inf, inf).
    Few values (less than 20 for a mean, 5 for another statistic) have the half width of Student's (1908) interval of
    their mean, which holds for 2 as well; the bootstrap's is too narrow for them.
    """
    array = np.asarray(values, float)
    if len(array) < 2:
        return -np.inf, np.inf
    if len(array) < (FEW_FOR_MEAN if statistic is np.mean else FEW):
        middle, half = float(statistic(array, axis=-1)), float(_students(array))
        return middle - half, middle + half
    picks = np.random.default_rng(0).integers(len(array), size=(draws, len(array)))
    low, high = np.quantile(statistic(array[picks], axis=-1), [0.025, 0.975])
    return float(low), float(high)


def _students(values: np.ndarray) -> np.ndarray:
    """Half the width of Student's 95 % interval of the mean over the first axis, of values (n, ...): (...)."""
    from scipy.stats import t

    return t.ppf(0.975, len(values) - 1) * values.std(axis=0, ddof=1) / len(values) ** 0.5


def iqm(values: np.ndarray, axis: int = -1) -> np.ndarray:
    """Interquartile mean: the mean of the middle half (Agarwal et al., 2021, "Statistical precipice").

    As there, a quarter of the values, rounded down, is left out at either end.
    """
    ordered = np.sort(np.asarray(values, float), axis=axis)
    count = ordered.shape[axis]
    return np.take(ordered, range(count // 4, count - count // 4), axis=axis).mean(axis=axis)


def human_normalised(score: float, random: float, human: float) -> float:
    """100 (score - random) / (human - random): 0 is random play, 100 a human tester (Mnih et al., 2015), in percent."""
    return 100 * (score - random) / (human - random)


# --- over the seeds of several tasks (Agarwal et al., 2021) -----------------------------------------------------------
# Scores come as one array (runs,) per task, not all of one length perhaps: a matrix (runs, tasks) is given as its .T.

Tasks = Sequence[np.ndarray | Sequence[float]] | np.ndarray


class Estimate(NamedTuple):
    """A figure with its 95 % interval; (-inf, inf) where a task with one run has no spread to tell."""

    value: float
    low: float
    high: float


# each reduces a list of (..., runs) arrays, one per task, to (...)
AGGREGATES: dict[str, Callable[[list[np.ndarray]], np.ndarray]] = {
    "mean": lambda tasks: np.mean([task.mean(axis=-1) for task in tasks], axis=0),
    "median": lambda tasks: np.median([task.mean(axis=-1) for task in tasks], axis=0),
    "iqm": lambda tasks: iqm(np.concatenate(tasks, axis=-1)),
}


def aggregate(scores: Tasks, by: Literal["mean", "median", "iqm"] = "iqm", draws: int = 2000) -> Estimate:
    """One figure for several tasks, with the stratified bootstrap's percentile interval.

    by: mean or median of the tasks' means, or the IQM of all runs of all tasks together (there a task of more runs
    weighs more). Stratified: each draw takes runs anew within every task, never tasks, so the interval speaks of other
    seeds on the same tasks.
    """
    tasks, reduce = _tasks(scores), AGGREGATES[by]
    random = np.random.default_rng(0)
    drawn = reduce([task[random.integers(len(task), size=(draws, len(task)))] for task in tasks])  # (draws,)
    return _estimate(reduce(tasks), drawn, tasks)


def probability_of_improvement(ours: Tasks, theirs: Tasks, draws: int = 2000) -> Estimate:
    """How probably a run of ours scores higher than one of theirs on the same task, averaged over the tasks.

    A task's share is Mann and Whitney's (1947) U over the number of pairs: a tie counts one half. The interval is the
    stratified bootstrap's, over the runs of both. ours[i] and theirs[i] are of the same task.
    """
    x, y = _tasks(ours), _tasks(theirs)
    random = np.random.default_rng(0)
    shares, drawn = [], []
    for a, b in zip(x, y, strict=True):
        wins = (a[:, None] > b) + 0.5 * (a[:, None] == b)  # (runs of ours, runs of theirs)
        shares.append(wins.mean())
        drawn.append(((_weights(len(a), draws, random) @ wins) * _weights(len(b), draws, random)).sum(axis=1))
    return _estimate(np.mean(shares), np.mean(drawn, axis=0), [*x, *y])


def chance(ours: Tasks, theirs: Tasks, draws: int = 20_000) -> float:
    """How probably chance alone sets two groups so far apart: the two-sided p of a permutation test.

    The runs of a task, ours[i] and theirs[i], are shared out anew between the two groups, never over tasks; what counts
    is how far the probability of improvement, averaged over the tasks, lies from one half. Of one task that is Mann and
    Whitney's (1947) test. All ways to share out are tried if there are at most `draws` of them, else so many drawn.
    Three runs against three cannot come below 2 / 20, four against four below 2 / 70.
    """
    from scipy.stats import rankdata

    pairs = list(zip(_tasks(ours), _tasks(theirs), strict=True))
    exact = math.prod(math.comb(len(a) + len(b), len(a)) for a, b in pairs) <= draws
    random = np.random.default_rng(0)
    found, drawn = 0.0, np.zeros(1)
    for a, b in pairs:
        ranks = rankdata([*a, *b])
        ranks = (ranks - ranks.mean()) / (len(a) * len(b))  # the sum of ours is the task's share of wins, less one half
        found += ranks[: len(a)].sum()
        if exact:
            shares = ranks[list(itertools.combinations(range(len(ranks)), len(a)))].sum(axis=1)
            drawn = np.add.outer(drawn, shares).ravel()
        else:
            drawn = drawn + random.permuted(np.tile(ranks, (draws, 1)), axis=1)[:, : len(a)].sum(axis=1)
    as_far = np.abs(drawn) >= abs(found) - 1e-9
    return float(as_far.mean() if exact else (as_far.sum() + 1) / (draws + 1))  # what was found is one of the ways


def band(curves: np.ndarray, draws: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval of the mean curve, point by point, curves (runs, points) -> two (points,), as `bootstrap` has it.

    Of fewer than 20 runs Student's, else the percentile bootstrap's; of one (-inf, inf).
    """
    runs, points = curves.shape
    if runs < 2:
        return np.full(points, -np.inf), np.full(points, np.inf)
    if runs < FEW_FOR_MEAN:
        mean, half = curves.mean(axis=0), _students(curves)
        return mean - half, mean + half
    low, high = np.quantile(_weights(runs, draws, np.random.default_rng(0)) @ curves, [0.025, 0.975], axis=0)
    return low, high


def _weights(runs: int, draws: int, random: np.random.Generator) -> np.ndarray:
    """Bootstrap draws as the weight of each run in the mean, (draws, runs): a product in place of many copies."""
    return random.multinomial(runs, np.full(runs, 1 / runs), size=draws) / runs


def _tasks(scores: Tasks) -> list[np.ndarray]:
    tasks = [np.asarray(task, float) for task in scores]
    if not tasks or any(task.ndim != 1 or not len(task) for task in tasks):
        raise ValueError(f"scores must be one array of runs per task, not of shapes {[task.shape for task in tasks]}")
    return tasks


def _estimate(value: np.ndarray, drawn: np.ndarray, tasks: list[np.ndarray]) -> Estimate:
    if min(map(len, tasks)) < 2:
        return Estimate(float(value), -np.inf, np.inf)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(float(value), float(low), float(high))
