"""What would have been normal: the flagged part of a series drawn anew, K times, given its surroundings.

Nothing outside the interval changes, not by one bit. Sampling goes through the detector's own masked model (see
`masked.sample`), the measures below are pure functions.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from forecasting.anomaly.detectors import MaskedDetector
from lab.errors import InputError


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
    """Highest score within the interval with each path in place, (K,), nats a step."""
    peak: float
    """The same with the series as it is."""
    threshold: float

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
) -> Explanation:
    """Redraw the samples [start, end) of `series` (n,) `k` times, given the rest and a fitted detector.

    The values inside the interval have no influence on the result. The same `random_state` gives the same paths.
    Raises InputError for an interval that is empty, outside the series or leaves no surroundings, and for k < 1.
    """
    from forecasting.anomaly.masked import sample

    detector.check_is_fitted()
    values = np.asarray(series, dtype=float).reshape(-1)
    start, end = interval
    check(len(values), start, end, k, detector.period_)
    factor = detector.factor_
    first, last = start // factor, -(-end // factor)  # every model step that the interval touches is redrawn
    steps = detector._steps(values)
    drawn = sample(detector.network_, steps, first, last, k, random_state) * detector.scale_ + detector.mean_
    paths = drawn if factor == 1 else np.stack([native(values, path, first, start, end, factor) for path in drawn])
    peaks = [detector.peak(np.concatenate([values[:start], path, values[end:]]), start, end) for path in paths]
    return Explanation(
        start, end, values, paths, np.array(peaks), detector.peak(values, start, end), detector.threshold_
    )


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


# --- measures of a counterfactual -----------------------------------------------------------------------------------


def validity(peaks: np.ndarray, threshold: float) -> float:
    """The share of counterfactuals that the detector calls normal: mean of [peak <= threshold].

    Mothilal, Sharma and Tan (2020), DiCE, section 3.4: the share of examples that reach the wanted class.
    """
    return float(np.mean(np.asarray(peaks) <= threshold))


def proximity(paths: np.ndarray, original: np.ndarray, scale: float) -> float:
    """How far the paths (K, width) are from the original (width,): mean |path - original| / scale; smaller is nearer.

    The scaled L1 distance of Wachter, Mittelstadt and Russell (2017), equation 4, a mean over samples and paths;
    `scale` is the spread of the training part (theirs: the median absolute deviation, 0 for a series of spikes).
    """
    return float(np.mean(np.abs(paths - original)) / scale)


def diversity(paths: np.ndarray, scale: float) -> float:
    """How far the paths (K, width) are from one another: mean |a - b| / scale over all pairs; 0 for one path.

    Mothilal, Sharma and Tan (2020), section 3.4: the mean distance between pairs.
    """
    if len(paths) < 2:
        return 0.0
    a, b = np.triu_indices(len(paths), 1)
    return float(np.mean(np.abs(paths[a] - paths[b])) / scale)


def coverage(paths: np.ndarray, truth: np.ndarray, level: float = 0.8) -> float:
    """The share of true samples (width,) within the central `level` band of the paths (K, width); ideally `level`."""
    low, high = np.quantile(paths, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return float(np.mean((truth >= low) & (truth <= high)))


def rmse(path: np.ndarray, truth: np.ndarray) -> float:
    """Root mean squared error, in the series' unit."""
    return float(np.sqrt(np.mean((np.asarray(path) - truth) ** 2)))


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
