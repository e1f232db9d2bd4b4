"""How good an anomaly score is. Pure functions on arrays; no point adjustment anywhere.

Positions count samples from 0, intervals are [start, end).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

Interval = tuple[int, int]

_THRESHOLDS = 250  # points of each precision-recall curve, as in the implementation of Paparrizos et al.


def ucr_hit(position: int, anomaly: Interval) -> bool:
    """The rule of the UCR Anomaly Archive: is the one answer, `position`, near enough to the one anomaly?

    Within max(length of the anomaly, 100) samples of it on either side (Wu and Keogh 2021, "Current Time Series Anomaly
    Detection Benchmarks are Flawed"; the archive's own documentation).
    """
    start, end = anomaly
    slack = max(end - start, 100)
    return start - slack <= position < end + slack


def flags(intervals: Sequence[Interval], length: int) -> np.ndarray:
    """`intervals` as booleans, (length,)."""
    labelled = np.zeros(length, bool)
    for start, end in intervals:
        labelled[start:end] = True
    return labelled


def runs(flags: np.ndarray, gap: int = 0) -> list[Interval]:
    """The intervals [start, end) in which `flags` (n,) hold; those at most `gap` samples apart are one."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], np.asarray(flags, bool).astype(np.int8), [0]])))
    merged: list[Interval] = []
    for start, end in edges.reshape(-1, 2).tolist():
        if merged and start - merged[-1][1] <= gap:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged


def widened(labels: np.ndarray, buffer: int) -> np.ndarray:
    """Labels (n,) bool with a slope of buffer // 2 samples on either side of each anomaly: (n,) in 0 .. 1.

    A sample d away from the anomaly counts sqrt(1 - d / buffer) (Paparrizos et al. 2022, section 4.1); where slopes
    meet they add up, to at most 1.
    """
    soft = labels.astype(float)
    if buffer <= 1:
        return soft
    slope = buffer // 2
    for start, end in runs(labels):
        after = np.arange(end, min(end - 1 + slope, len(soft)))
        before = np.arange(max(start - slope, 0), start)
        soft[after] += np.sqrt(1 - (after - (end - 1)) / buffer)
        soft[before] += np.sqrt(1 - (start - before) / buffer)
    return soft.clip(max=1)


def range_pr_auc(labels: np.ndarray, scores: np.ndarray, buffer: int) -> float:
    """Area under the range-based precision-recall curve at one buffer width; see `vus_pr`. labels, scores: (n,)."""
    return _area(np.asarray(labels, bool), _curve(np.asarray(scores, float)), buffer)


def vus_pr(labels: np.ndarray, scores: np.ndarray, most: int) -> float:
    """Volume under the precision-recall surface over buffers of 0 .. `most` samples, in 0 .. 1.

    labels: (n,) bool with at least one True and one False; scores: (n,) finite, higher is stranger; most: usually a
    period. At each buffer b the labels get slopes (`widened`), and at each of 250 thresholds, spread evenly over the
    ranks of the scores,

        recall = min(TP / P, 1) x share of anomalies (with their slopes) that hold a flagged sample
        precision = TP / flagged,  TP = sum of the soft labels over the flagged,  P = (sum labels + sum soft) / 2

    The volume is the mean of the areas, each by the trapezoidal rule from recall 0, precision 1
    (Paparrizos et al. 2022, "Volume Under the Surface", PVLDB 15(11), equations 6 to 9). Constant scores give 0.
    Raises ValueError for labels of one kind only or scores that are not finite.
    """
    labels, scores = np.asarray(labels, bool), np.asarray(scores, float)
    if labels.all() or not labels.any():
        raise ValueError("VUS-PR needs labels of both kinds")
    if not np.isfinite(scores).all():
        raise ValueError("VUS-PR needs finite scores")
    if scores.max() == scores.min():
        return 0.0
    curve = _curve(scores)
    return float(np.mean([_area(labels, curve, buffer) for buffer in range(most + 1)]))


class _Curve(NamedTuple):
    """What the thresholds of a score are and what they flag, whatever the labels."""

    thresholds: np.ndarray
    """(250,), falling."""
    flagged: np.ndarray
    """(250,) samples at or above each."""
    first: np.ndarray
    """(n,) the first threshold, from the highest, that flags each sample."""


def _curve(scores: np.ndarray) -> _Curve:
    rising = np.sort(scores)
    thresholds = rising[::-1][np.linspace(0, len(scores) - 1, _THRESHOLDS, dtype=int)]
    flagged = len(scores) - np.searchsorted(rising, thresholds, side="left")
    first = _THRESHOLDS - np.searchsorted(thresholds[::-1], scores, side="right")
    return _Curve(thresholds, flagged, first)


def _area(labels: np.ndarray, curve: _Curve, buffer: int) -> float:
    soft = widened(labels, buffer)
    near = np.flatnonzero(soft)  # all that counts as a true positive lies here: a small part of the series
    total = (labels.sum() + soft.sum()) / 2
    hits = np.bincount(curve.first[near], soft[near], _THRESHOLDS)[:_THRESHOLDS].cumsum()
    found = np.zeros(_THRESHOLDS)
    events = runs(soft > 0)
    for start, end in events:
        found[curve.first[start:end].min() :] += 1
    recall = np.concatenate([[0], np.minimum(hits / total, 1) * found / len(events)])
    precision = np.concatenate([[1], hits / curve.flagged])
    return float((np.diff(recall) * (precision[1:] + precision[:-1]) / 2).sum())
