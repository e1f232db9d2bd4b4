"""Intervals for experiments in which chance plays a part: 95 %, and the same on every run."""

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
    """Percentile-bootstrap 95 % interval of `statistic` over seeds: values (seeds,).

    statistic: reduces the last axis, as np.mean and np.median do. One value has no spread to tell: (-inf, inf).
    """
    array = np.asarray(values, float)
    if len(array) < 2:
        return -np.inf, np.inf
    picks = np.random.default_rng(0).integers(len(array), size=(draws, len(array)))
    low, high = np.quantile(statistic(array[picks], axis=-1), [0.025, 0.975])
    return float(low), float(high)
