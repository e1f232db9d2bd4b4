"""Plain guesses of what would have been normal in [start, end) of a series (n,), each (end - start,).

Peers of the counterfactuals: none of them knows the detector. Where one copies another stretch, it is moved, by a
straight line from edge to edge, so that it goes on from what lies on either side (`joined`).
"""

import numpy as np


def linear(values: np.ndarray, start: int, end: int) -> np.ndarray:
    """The straight line between the samples on either side of [start, end); level at an end of the series."""
    known = np.r_[0:start, end : len(values)]
    return np.interp(np.arange(start, end), known, values[known])


def last_season(values: np.ndarray, start: int, end: int, season: int) -> np.ndarray:
    """The season before: values[t - m season] with the smallest m that leads before the interval.

    Where that is before the series, the season after it: values[t + m season].
    """
    at = np.arange(start, end)
    before = at - season * ((at - start) // season + 1)
    after = at + season * ((end - 1 - at) // season + 1)
    return values[np.where(before >= 0, before, np.minimum(after, len(values) - 1))]


def nearest_normal(values: np.ndarray, start: int, end: int, normal: np.ndarray, context: int) -> np.ndarray:
    """What lies inside the normal window whose surroundings are most like those of [start, end), joined at the edges.

    normal: (m,), normal data; context: samples looked at on either side, fewer where the series ends or where normal
    data is short. Nearest by Euclidean distance, the surroundings less their mean.
    """
    width = end - start
    left = min(context, start, max(0, (len(normal) - width) // 2))
    right = min(context, len(values) - end, max(0, len(normal) - width - left))
    windows = np.lib.stride_tricks.sliding_window_view(normal, left + width + right)
    around = np.r_[0:left, left + width : left + width + right]
    here = np.concatenate([values[start - left : start], values[end : end + right]])
    there = windows[:, around]
    apart = ((there - there.mean(1, keepdims=True) - (here - here.mean())) ** 2).sum(1)
    best = windows[apart.argmin()]
    return joined(best[left : left + width], best[left - 1 : left], best[left + width :][:1], values, start, end)


def joined(
    path: np.ndarray, before: np.ndarray, after: np.ndarray, values: np.ndarray, start: int, end: int
) -> np.ndarray:
    """`path` (width,), copied from elsewhere, moved by a straight line so that it goes on from the samples around it.

    before, after: the samples on either side of where it was copied from, (1,) each or (0,) where there is none.
    """
    gaps = {}  # place along the path -> how far it lies off there
    if start > 0 and len(before):
        gaps[0] = float(values[start - 1] - before[0])
    if end < len(values) and len(after):
        gaps[len(path) + 1] = float(values[end] - after[0])
    return path + np.interp(np.arange(1, len(path) + 1), list(gaps), list(gaps.values())) if gaps else path
