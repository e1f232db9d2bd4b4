"""A training part that is not all normal: noticing it, and cutting out what is strange.

Both go by how far each window of the training part is from its nearest other windows in the training part itself.
"""

import numpy as np

from forecasting.anomaly.base import FINE, blocks, spread
from forecasting.anomaly.joins import nearest, regularised

_REFERENCES = 4_000  # windows that each is compared with; bounds the time
CLEAR = 2.0  # contrast from which one stretch stands out


def self_scores(values: np.ndarray, period: int) -> np.ndarray:
    """Distance of each sample's windows to their nearest neighbour elsewhere in `values` (n,); (n,).

    Windows of a period, at 64 to 127 steps, regularised (see joins); those that overlap a window are no neighbours.
    """
    factor, width = _width(period, len(values))
    steps = blocks(values, factor)
    steps = (steps - steps.mean()) / (steps.std() or 1.0)
    windows = regularised(steps, width)
    stride = max(1, len(windows) // _REFERENCES)
    own = np.arange(0, len(windows), stride)
    distances = nearest(windows, windows[own], exclude=(np.arange(len(windows)), own, width))
    return np.repeat(spread(distances, width, 1, len(steps)), factor)[: len(values)]


def _width(period: int, samples: int) -> tuple[int, int]:
    """Samples a step, and steps a window."""
    factor = max(1, period // FINE)
    return factor, max(2, min(round(period / factor), samples // factor // 5))


def contrast(scores: np.ndarray, period: int) -> float:
    """(peak - median) / (second peak - median) of scores (n,); the second is at least two periods from the first."""
    top, middle = int(scores.argmax()), float(np.median(scores))
    others = np.concatenate([scores[: max(0, top - 2 * period)], scores[top + 2 * period + 1 :]])
    second = float(others.max()) if len(others) else middle
    return (float(scores[top]) - middle) / max(second - middle, 1e-12)


def suspect(values: np.ndarray, period: int) -> int | None:
    """The sample around which the training part `values` (n,) is clearly unlike all the rest of it, or None.

    Clearly: with a contrast of at least 2, and a tenth of a window's own size away from anything else. With fewer than
    20 periods nothing is said: windows then lack neighbours for no fault of theirs.
    """
    if len(values) < 20 * period:
        return None
    scores = self_scores(values, period)
    clear = contrast(scores, period) >= CLEAR and scores.max() >= 0.1 * np.sqrt(_width(period, len(values))[1])
    return int(scores.argmax()) if clear else None


def purge(values: np.ndarray, period: int, share: float) -> np.ndarray:
    """`values` (n,) without its strangest stretches, in all at most `share` of it.

    A stretch is a whole number of periods around the strangest sample, so that what comes after goes on in phase.
    Nothing is cut where less than one period may go.
    """
    scores = self_scores(values, period)
    keep = np.ones(len(values), bool)
    left = int(share * len(values) + 1e-9) // period
    while left > 0:
        at = int(np.where(keep, scores, -np.inf).argmax())
        if not np.isfinite(scores[at]) or not keep[at]:  # nothing is left that a whole period may be cut around
            break
        start = min(max(at - period // 2, 0), len(values) - period)
        if not keep[start : start + period].all():
            scores[at] = -np.inf  # its stretch is in part gone: what is left of it would lose the phase
            continue
        keep[start : start + period] = False
        left -= 1
    return values[keep]
