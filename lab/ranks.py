"""Several contenders on several tasks: mean ranks, the difference that counts, who beats whom how often."""

import numpy as np

from lab.stats import Estimate


def mean_ranks(errors: np.ndarray) -> np.ndarray:
    """Mean rank of each contender over tasks, 1 the best: errors (tasks, contenders), less is better; ties share."""
    from scipy.stats import rankdata

    return rankdata(errors, axis=1).mean(axis=0)


def critical_difference(contenders: int, tasks: int, level: float = 0.05) -> float:
    """Mean ranks further apart than this differ (Nemenyi's test; Demsar, 2006, JMLR 7, section 3.2.2).

    q sqrt(k (k + 1) / (6 N)), q the studentised range's upper quantile for k groups over sqrt(2).
    """
    from scipy.stats import studentized_range

    quantile = studentized_range.ppf(1 - level, contenders, np.inf) / np.sqrt(2)
    return float(quantile * np.sqrt(contenders * (contenders + 1) / (6 * tasks)))


def groups(ranks: np.ndarray, difference: float) -> list[tuple[int, int]]:
    """Stretches of sorted contenders that `difference` cannot tell apart: (first, last) places, the longest only."""
    ordered = np.sort(ranks)
    found: list[tuple[int, int]] = []
    for first, rank in enumerate(ordered):
        last = int(np.flatnonzero(ordered <= rank + difference)[-1])
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found


def wins(errors: list[np.ndarray], draws: int = 2000) -> list[list[Estimate]]:
    """How often the row's contender has less error than the column's, with 95 % intervals.

    errors: one array (trials, contenders) a task, where tasks may have any number of trials. A task counts once,
    however many trials it has; a tie counts one half. The interval is a bootstrap over tasks: trials of one task are
    not independent. One task has no spread to tell: (-inf, inf).
    """
    shares = np.stack([
        ((task[:, :, None] < task[:, None, :]) + 0.5 * (task[:, :, None] == task[:, None, :])).mean(axis=0)
        for task in errors
    ])  # (tasks, contenders, contenders)  # fmt: skip
    means = shares.mean(axis=0)
    if len(errors) < 2:
        return [[Estimate(float(mean), -np.inf, np.inf) for mean in row] for row in means]
    picks = np.random.default_rng(0).integers(len(shares), size=(draws, len(shares)))
    low, high = np.quantile(shares[picks].mean(axis=1), [0.025, 0.975], axis=0)
    return [
        [Estimate(float(means[i, j]), float(low[i, j]), float(high[i, j])) for j in range(len(means))]
        for i in range(len(means))
    ]
