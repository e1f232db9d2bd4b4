"""Intervals and summaries where chance plays a part: 95 %, and the same on every run."""

from collections.abc import Callable, Sequence

import numpy as np


def proportion(successes: int, trials: int) -> tuple[float, float]:
    """Exact (Clopper and Pearson, 1934) 95 % interval of a success rate."""
    from scipy.stats import binomtest

    interval = binomtest(successes, trials).proportion_ci(confidence_level=0.95, method="exact")
    return float(interval.low), float(interval.high)


def bootstrap(
    values: Sequence[float] | np.ndarray, statistic: Callable[..., np.ndarray] = np.median, draws: int = 2000
) -> tuple[float, float]:
    """Percentile-bootstrap 95 % interval of `statistic` over seeds or episodes: values (n,).

    statistic: reduces the last axis, as np.mean and np.median do. One value has no spread to tell: (-inf, inf).
    """
    array = np.asarray(values, float)
    if len(array) < 2:
        return -np.inf, np.inf
    picks = np.random.default_rng(0).integers(len(array), size=(draws, len(array)))
    low, high = np.quantile(statistic(array[picks], axis=-1), [0.025, 0.975])
    return float(low), float(high)


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
