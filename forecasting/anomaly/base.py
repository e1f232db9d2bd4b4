"""What all anomaly detectors share: checks, the period, the resolution, the threshold, answers in sktime's form."""

import math
import warnings
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sktime.detection.base import BaseDetector

from forecasting.anomaly import period as periods
from forecasting.anomaly.metrics import runs
from lab.errors import InputError, Notice

SHORTEST = 20  # samples to learn from; few enough for the series in sktime's own checks
FINE = 64  # steps that a period should have at least: 64 to 127 after downsampling
HELD_OUT = 0.2  # share of the training part, its end, that only the threshold is taken from


def blocks(values: np.ndarray, factor: int) -> np.ndarray:
    """Means of consecutive blocks of `factor` samples; the last block may be shorter. (n,) -> (ceil(n / factor),)"""
    if factor == 1:
        return values
    starts = np.arange(0, len(values), factor)
    return np.add.reduceat(values, starts) / np.diff(np.append(starts, len(values)))


def tail_quantile(scores: np.ndarray, quantile: float, tail: float = 0.95) -> float:
    """The `quantile` of which `scores` (n,) are a sample, looked for beyond the largest of them if need be.

    Peaks over threshold with an exponential tail (Siffer et al. 2017, SPOT, shape 0): above u, the `tail` quantile, the
    excess has mean m, so quantile q lies at u + m log((1 - tail) / (1 - q)). Within the tail, the sample's own.
    """
    if quantile <= tail:
        return float(np.quantile(scores, quantile))
    start = float(np.quantile(scores, tail))
    excess = scores[scores > start] - start
    return start + (float(excess.mean()) if len(excess) else 0.0) * float(np.log((1 - tail) / (1 - quantile)))


def spread(window_scores: np.ndarray, width: int, stride: int, length: int) -> np.ndarray:
    """Scores of windows as scores of samples: the mean over all windows that hold the sample.

    window_scores (windows,) of the windows [i * stride, i * stride + width); gives (length,). Near the ends, where
    fewer windows reach, the missing ones count as the median one: a mean of few is high by chance more often.
    """
    at = np.arange(length)
    full = at // stride - (at - width) // stride  # windows that would hold each sample, if the series had no ends
    usual = float(np.median(window_scores))
    starts = np.arange(len(window_scores)) * stride
    change = np.zeros(max(length, int(starts[-1]) + width) + 1)
    np.add.at(change, starts, window_scores - usual)
    np.add.at(change, starts + width, usual - window_scores)
    return usual + change.cumsum()[:length] / full


def one_column(X: Any) -> np.ndarray:
    """The one column of X as floats, (n,). Raises InputError for several columns and for what is no number."""
    try:
        values = np.asarray(X, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputError(f"the series is not all numbers ({error}); leave out what is none") from None
    if values.ndim == 2 and values.shape[1] != 1:
        names = f" ({', '.join(map(str, X.columns))})" if hasattr(X, "columns") else ""
        raise InputError(f"the series has {values.shape[1]} columns{names}; this detector takes one, choose it first")
    values = values.reshape(-1)
    if len(values) == 0:
        raise InputError("the series is empty; give at least one sample")
    if not np.isfinite(values).all():
        at = int(np.flatnonzero(~np.isfinite(values))[0])
        raise InputError(f"the series has a missing or infinite value at position {at}; fill it first")
    return values


class ScoreDetector(BaseDetector):
    """A detector that gives every sample a score and flags those above a threshold. Not to be used itself.

    A subclass sets `_learn` (from normal steps) and `_score` (of any steps); both see the series standardised, at the
    resolution `factor_`. The threshold is the `quantile` of the scores of the last fifth of the training part, which
    is not learned from until the threshold stands.

    Parameters, of every detector
    -----------------------------
    period : int, optional
        Samples in one repetition; None estimates it (see forecasting.anomaly.period).
    quantile : float
        The threshold is this quantile of the normal scores: at 0.9999 one normal sample in 10,000 is flagged, to the
        extent that the end of the training part is like the rest.
    contamination : float, optional
        Share of the training part that may itself be abnormal; the strangest stretches, up to that share, are cut out
        before learning, each in whole periods. None takes the training part as it is and warns where it seems to
        hold an anomaly; 0 takes it as it is and says nothing.

    Attributes, of every fitted detector
    ------------------------------------
    period_ : int, samples; factor_ : int, samples a step; window_ : int, steps; threshold_ : float;
    normal_scores_ : of the held-out steps.
    """

    _tags: ClassVar[dict[str, Any]] = {
        "task": "anomaly_detection",
        "learning_type": "unsupervised",
        "capability:multivariate": False,
        "capability:missing_values": False,
        "fit_is_empty": False,
    }
    _native: ClassVar[bool] = False  # whether every sample is a step, however long the period
    _shortest_window: ClassVar[int] = 4  # steps
    _partial: ClassVar[bool] = False  # whether windows may reach over the ends of a series, however short
    _least_threshold: ClassVar[float] = -np.inf  # where scores have a unit in which less is no event
    _refit: ClassVar[bool] = False  # whether to learn from all of the training part once the threshold stands
    _apart: ClassVar[float] = 0.25  # windows: flags closer than that are looked at together
    _streams: ClassVar[bool] = True  # whether a sample has a score that does not depend on what comes later

    period: int | None
    quantile: float
    contamination: float | None

    def _fit(self, X: Any, y: Any = None) -> "ScoreDetector":
        values = one_column(X)
        self.check(len(values))
        self.__dict__.pop("stream_", None)  # of another fit
        if values.max() - values.min() <= 1e-12 * float(np.abs(values).max()):
            raise InputError(
                f"the training part is flat (every value is {values[0]:.6g}); there is nothing to learn from it"
            )
        self.period_ = self._period_of(values)
        values = self._normal_part(values)
        self.factor_ = 1 if self._native else max(1, self.period_ // FINE)
        self.mean_ = float(values.mean())
        self.scale_ = self._spread(values)
        if not self.scale_ > 0:
            raise InputError("the training part's values are too small to square; give them in a smaller unit")
        self.train_ = self._steps(values)
        self.window_ = self._window(len(self.train_))
        cut = self._cut()
        self._learn(self.train_[:cut])
        self.normal_scores_ = self._normal_scores(cut)
        self.threshold_ = max(tail_quantile(self.normal_scores_, self.quantile), self._least_threshold)
        if self._refit:
            self._learn(self.train_)
        return self

    def _spread(self, values: np.ndarray) -> float:
        """Their standard deviation without the outermost 0.1 %, as one stray value may be there.

        No more than that, or a spike a beat would not count.
        """
        low, high = np.quantile(values, [0.001, 0.999])
        return float(np.clip(values, low, high).std()) or float(values.std())

    def _cut(self) -> int:
        """Where the part of `train_` begins that only the threshold is taken from."""
        return int((1 - HELD_OUT) * len(self.train_))

    def _period_of(self, values: np.ndarray) -> int:
        return int(self.period or periods.estimate(values) or max(8, min(32, len(values) // 8)))

    def _window(self, steps: int) -> int:
        """Steps in a window: one period, but at least `_shortest_window`; a fifth of the training part at most."""
        wanted = max(round(self.period_ / self.factor_), self._shortest_window)
        return max(2, min(wanted, steps // 5))

    def _normal_part(self, values: np.ndarray) -> np.ndarray:
        """The training part without what is strange in it, if that was asked for; warns if it was not."""
        from forecasting.anomaly import contamination

        if self.contamination == 0 or len(values) < 5 * self.period_:
            return values
        if self.contamination is None:
            if (at := contamination.suspect(values, self.period_)) is not None:
                share = f"{math.ceil(1000 * self.period_ / len(values)) / 1000:g}"  # that one period goes
                warnings.warn(
                    f"the training part seems to hold an anomaly near sample {at}; leave it out, or give "
                    f"contamination={share} (of lab detect and lab explain: --contamination {share})",
                    Notice,
                    stacklevel=4,
                )
            return values
        return contamination.purge(values, self.period_, self.contamination)

    def check(self, length: int) -> None:
        """Raises InputError unless the settings make sense for a training part of `length` samples."""
        if length < SHORTEST:
            raise InputError(
                f"the training part has {length} samples; at least {SHORTEST} are needed, better 10 periods"
            )
        if self.period is not None and self.period < 2:
            raise InputError(f"period is {self.period}; give at least 2")
        if self.period is not None and 2 * self.period > length:
            raise InputError(
                f"period {self.period} does not fit twice into the training part of {length} samples; give less"
            )
        if not 0.5 <= self.quantile < 1:
            raise InputError(f"quantile is {self.quantile}; give one from 0.5 to below 1, such as 0.9999")
        if self.contamination is not None and not 0 <= self.contamination <= 0.2:
            raise InputError(f"contamination is {self.contamination}; give a share from 0 to 0.2")

    def _normal_scores(self, cut: int) -> np.ndarray:
        """Scores of the steps of the training part from `cut` on, which are not learned from yet."""
        return self._score(self.train_[max(0, cut - self.window_) :])[-(len(self.train_) - cut) :]

    def _learn(self, steps: np.ndarray) -> None:
        """Learn what is normal from steps (m,); may be called twice."""
        raise NotImplementedError

    def _score(self, steps: np.ndarray) -> np.ndarray:
        """How strange each step is, (m,) -> (m,); m is at least `window_`."""
        raise NotImplementedError

    def _steps(self, values: np.ndarray) -> np.ndarray:
        """Standardised steps of native samples, (n,) -> (ceil(n / factor),)."""
        return (blocks(values, self.factor_) - self.mean_) / self.scale_

    def _scores(self, X: Any) -> np.ndarray:
        """Score of every native sample, (n,)."""
        values = one_column(X)
        steps = self._steps(values)
        if len(steps) < self.window_ and not self._partial:
            raise InputError(
                f"the series has {len(values)} samples, less than one window of {self.window_ * self.factor_}; "
                "give a longer one"
            )
        return np.repeat(self._score(steps), self.factor_)[: len(values)]

    # --- one sample after the other ---------------------------------------------------------------------------------

    def _memory(self) -> int:
        """Steps before the newest that its score depends on."""
        return 2 * self.window_

    def _latest(self, steps: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """The score of step end - 1 of `steps` (m,), given no later one, for each of `ends` (rows,); (rows,)."""
        reach = self._memory() + 1
        return np.array([self._last_score(steps[max(0, end - reach) : end]) for end in ends])

    def _last_score(self, steps: np.ndarray) -> float:
        """The score of the last of some steps (m,) from anywhere."""
        return float(self._score(steps)[-1])

    def update(self, X: Any, y: Any = None) -> "ScoreDetector":
        """Take in new samples without learning anew: `latest_scores_` has a score for each, (m,); see `stream`.

        X: a Series, a frame of one column or an array. sktime's own would keep all data that there ever was.
        """
        from forecasting.anomaly.stream import Stream

        self.check_is_fitted()
        if not hasattr(self, "stream_"):
            self.stream_ = Stream(self)
        self.latest_scores_ = self.stream_.update(X)
        return self

    # --- answers in sktime's form -----------------------------------------------------------------------------------

    def _transform_scores(self, X: Any) -> pd.DataFrame:
        return pd.DataFrame({"scores": self._scores(X)}, index=getattr(X, "index", None))

    def _predict(self, X: Any) -> pd.DataFrame:
        return pd.DataFrame({"ilocs": np.flatnonzero(self._scores(X) > self.threshold_).astype("int64")})

    def _predict_scores(self, X: Any) -> pd.DataFrame:
        scores = self._scores(X)
        return pd.DataFrame({"scores": scores[scores > self.threshold_]})

    def predict_segments(self, X: Any) -> pd.DataFrame:
        """Anomalies as intervals, strongest first: `ilocs` (left-closed), and the `peak` score of each."""
        self.check_is_fitted()
        found = self.intervals(self._scores(self._check_X(X)))
        ilocs = pd.IntervalIndex.from_arrays(found["start"], found["end"], closed="left", dtype="interval[int64, left]")
        return pd.DataFrame({"ilocs": ilocs, "peak": found["peak"]})

    def intervals(self, scores: np.ndarray, first: int = 0) -> pd.DataFrame:
        """Flagged samples as intervals [start, end) with their peak score, highest first.

        scores: (n,) as from transform_scores; first: positions before it are not looked at (the training part).
        Flags closer than `_apart` are one anomaly. Of each, the part is reported in which its cause seems
        to lie (`_extents`); a quarter of a window at least.
        """
        gap = self.factor_ * self.window_ // 4
        scores = np.where(np.arange(len(scores)) >= first, scores, -np.inf)
        rows = []
        for start, end in runs(scores > self.threshold_, int(self._apart * self.factor_ * self.window_)):
            for low, high, peak in self._extents(scores, start, end, gap):
                short = max(0, gap - (high - low))  # a score tells no finer than that where its cause lies
                low, high = max(first, low - short // 2), min(len(scores), high + (short + 1) // 2)
                rows.append((low, high, peak))
        table = pd.DataFrame(rows, columns=["start", "end", "peak"])
        table = table.sort_values("peak", ascending=False, kind="stable").drop_duplicates(["start", "end"])
        return table.reset_index(drop=True)

    def _extents(self, scores: np.ndarray, start: int, end: int, gap: int) -> list[tuple[int, int, float]]:
        """Of a flagged run [start, end): where the causes seem to lie, and the peak score of each."""
        return [(*self._extent(scores, start, end, gap), float(scores[start:end].max()))]

    def _extent(self, scores: np.ndarray, start: int, end: int, gap: int) -> tuple[int, int]:
        """The part of the flagged run [start, end) around its peak that is above half the height from the threshold to
        the peak: a window's score reaches beyond its cause.
        """
        top = start + int(scores[start:end].argmax())
        core = runs(scores[start:end] > (self.threshold_ + scores[top]) / 2, gap)
        return next((start + low, start + high) for low, high in core if start + low <= top < start + high)
