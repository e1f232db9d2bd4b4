"""What would have been normal: the flagged part of a series drawn anew, K times, given its surroundings.

Nothing outside the interval changes, not by one bit. Sampling goes through the detector's own masked model (see
`masked.sample`). How good the result is, `counterfactual_measures` says; plain guesses are in `plain`, the smallest
change that does is in `smallest_change`.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from forecasting.anomaly.base import one_column
from forecasting.anomaly.detectors import MaskedDetector
from lab.errors import InputError

TRIES = 3  # draws for each counterfactual that is kept


@dataclass(frozen=True)
class Explanation:
    """K counterfactuals of the samples [start, end) of a series, and how good they are."""

    start: int
    end: int
    values: np.ndarray
    """The series as given, (n,)."""
    paths: np.ndarray
    """The interval redrawn, (K, end - start), in the series' unit."""
    peaks: np.ndarray
    """Highest score within the interval with each path in place, (K,), normal spreads."""
    peak: float
    """The same with the series as it is."""
    threshold: float
    accepted: float
    """Share of all draws that are normal, kept or not."""

    @property
    def median(self) -> np.ndarray:
        """The middle of the fan at each sample, (end - start,)."""
        return np.median(self.paths, axis=0)

    def whole(self) -> np.ndarray:
        """The series with each path in place, (K, n)."""
        series = np.repeat(self.values[None], len(self.paths), axis=0)
        series[:, self.start : self.end] = self.paths
        return series


def explain(
    detector: MaskedDetector,
    series: pd.Series | np.ndarray,
    interval: tuple[int, int],
    k: int = 20,
    random_state: int = 0,
    tries: int = TRIES,
) -> Explanation:
    """Redraw the samples [start, end) of `series` (n,) `k` times, given the rest and a fitted detector.

    Draws that are not normal, as they score above the threshold or do not join (steeper at either edge than any two
    steps of the training part), are drawn again, `tries` times k at most: what is kept follows p(interval |
    surroundings, normal), by rejection. If too few pass, others fill up the k, those that join first and of them the
    lowest scores; with `tries` 1 nothing is rejected. The values inside the interval have no influence on the result.
    The same `random_state` gives the same paths.
    Raises InputError for an interval that is empty, outside the series or leaves no surroundings, for k < 1, for
    missing values and for a detector of another kind.
    """
    from forecasting.anomaly.masked import sample

    check_kind(detector)
    values = one_column(series)
    start, end = interval
    check(len(values), start, end, k, detector.period_)
    factor = detector.factor_
    first, last = start // factor, -(-end // factor)  # every model step that the interval touches is redrawn
    steps = detector._steps(values)
    steepest = np.abs(np.diff(detector.train_)).max() * detector.scale_ / factor  # a sample
    paths, peaks, joined = np.empty((0, end - start)), np.empty(0), np.empty(0, bool)
    for attempt in range(tries):
        seed = int(np.random.SeedSequence([random_state, attempt]).generate_state(1)[0])
        drawn = sample(detector.network_, steps, first, last, k, seed).astype(float)  # float32 is no unit to shift in
        drawn = drawn * detector.scale_ + detector.mean_
        if factor > 1:
            drawn = np.stack([native(values, path, first, start, end, factor) for path in drawn])
        found = [detector.peak(np.concatenate([values[:start], path, values[end:]]), start, end) for path in drawn]
        paths, peaks = np.concatenate([paths, drawn]), np.concatenate([peaks, found])
        joined = np.concatenate([joined, jumps(values, drawn, start) <= steepest])
        passes = joined & (peaks <= detector.threshold_)
        if passes.sum() >= k:
            break
    kept = np.lexsort((np.where(passes, 0.0, peaks), ~joined, ~passes))[:k]
    return Explanation(
        start, end, values, paths[kept], peaks[kept], detector.peak(values, start, end), detector.threshold_,
        float(passes.mean()),
    )  # fmt: skip


def jumps(values: np.ndarray, paths: np.ndarray, start: int) -> np.ndarray:
    """The larger of the jumps into and out of each path (k, m) in place of values[start : start + m], (k,)."""
    end = start + paths.shape[1]
    before = np.abs(paths[:, 0] - values[start - 1]) if start > 0 else np.zeros(len(paths))
    after = np.abs(values[end] - paths[:, -1]) if end < len(values) else np.zeros(len(paths))
    return np.maximum(before, after)


def check_kind(detector: object) -> None:
    """Raises InputError for a detector that is no generative one, NotFittedError for one that is not fitted."""
    if not isinstance(detector, MaskedDetector):
        raise InputError(f"{type(detector).__name__} is no model to draw from; take a MaskedDetector")
    detector.check_is_fitted()


def check(length: int, start: int, end: int, k: int, period: int) -> None:
    """Raises InputError unless [start, end) can be redrawn k times in a series of `length` samples."""
    if k < 1:
        raise InputError(f"{k} samples were asked for; give at least 1")
    if not 0 <= start < end <= length:
        raise InputError(
            f"the interval from {start} to {end} is not inside the series of {length} samples; "
            f"give 0 <= start < end <= {length}"
        )
    if length - (end - start) < period:
        raise InputError(
            f"the interval from {start} to {end} leaves {length - (end - start)} samples around it, "
            f"less than one period ({period}); give a shorter one"
        )


def native(values: np.ndarray, path: np.ndarray, first: int, start: int, end: int, factor: int) -> np.ndarray:
    """Model steps at native resolution: a smooth curve with the block means `path`, joined to what lies around.

    values: the series (n,); path: means of the blocks first, first + 1, ... of `factor` samples; gives (end - start,).
    The curve is a monotone cubic through the block centres, shifted until its block means are those of `path` (five
    rounds; a spline through the means alone would flatten every spike). Within one block of either edge it is
    bent to meet the sample outside, so that no jump shows; what is finer than a block is not made up.
    """
    from scipy.interpolate import PchipInterpolator

    from forecasting.anomaly.detectors import blocks

    low, high = max(0, first - 3), min(-(-len(values) // factor), first + len(path) + 3)
    target = blocks(values[low * factor : high * factor], factor)
    target[first - low : first - low + len(path)] = path
    # centres and samples count from the first block; the last block of a series may be shorter
    size = min(high * factor, len(values)) - low * factor
    at = np.arange(size)
    centres = blocks(at.astype(float), factor)
    if len(centres) < 2:
        return np.full(end - start, target[0])
    knots = target.copy()
    for _ in range(5):
        curve = PchipInterpolator(centres, knots, extrapolate=False)(at.clip(centres[0], centres[-1]))
        knots += target - blocks(curve, factor)
    inside = np.arange(start, end) - low * factor
    joined = curve[inside]
    away = np.arange(end - start)
    if start > 0:
        joined = joined + (values[start - 1] - curve[max(inside[0] - 1, 0)]) * np.clip(
            1 - (away + 1) / (factor + 1), 0, 1
        )
    if end < len(values):
        joined = joined + (values[end] - curve[min(inside[-1] + 1, size - 1)]) * np.clip(
            1 - (away[::-1] + 1) / (factor + 1), 0, 1
        )
    return joined
