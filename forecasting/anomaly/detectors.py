"""Anomaly detectors behind sktime's BaseDetector."""

import numpy as np
import pandas as pd
from sktime.detection.base import BaseDetector

from forecasting.anomaly import period as periods
from lab.errors import InputError

SHORTEST = 20  # samples to learn from; few enough for the series in sktime's own checks
_FINE = 64  # model steps that a period should have at least: 64 to 127 after downsampling


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


def runs(flags: np.ndarray, gap: int = 0) -> list[tuple[int, int]]:
    """The intervals [start, end) in which `flags` (n,) hold; those at most `gap` samples apart are one."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    merged: list[tuple[int, int]] = []
    for start, end in edges.reshape(-1, 2).tolist():
        if merged and start - merged[-1][1] <= gap:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged


class MaskedDetector(BaseDetector):
    """Scores windows by how unlikely they are, given what lies around them, under a masked model of normal data.

    `fit` takes a series without anomalies (or hardly any), learns p(window | surroundings) on its first 80 % and sets
    the threshold on the rest. The score of a sample is the mean, over all windows that cover it, of the window's mean
    -log p in nats a step; windows have two widths, `window` and a quarter of it, so that both the short and the
    long stand out. Scores need surroundings: give `predict` the whole series rather than the part after training.

    Parameters
    ----------
    period : int, optional (default=None)
        Samples in one repetition; None estimates it (see forecasting.anomaly.period). Above 127 samples the
        model works on block means, at 64 to 127 steps a period.
    window : int, optional (default=None)
        Samples in the widest window; None takes one period.
    quantile : float (default=0.9999)
        The threshold is this quantile of the normal scores: at 0.9999 one normal sample in 10,000 is flagged, to
        the extent that the held-out part of the training data is like the rest.
    max_epochs : int (default=20)
        Epochs of 25 updates with 24 windows each; the epoch best on the held-out part is kept.
    random_state : int (default=0)
        Seed of the first weights, the masks and the noise. The same seed gives the same numbers on the same machine.
    device : str (default="auto")
        "auto", "cpu" or "cuda".
    progress : bool (default=False)
        Show a progress bar while fitting.

    Attributes
    ----------
    period_, cycle_ : int
        Samples of one period and of the multiple of it that repeats best (the week above the day).
    factor_ : int
        Samples a model step.
    threshold_ : float
        Scores above it are anomalies; nats a step.
    network_, history_
        The model and its (training, held-out) loss for every epoch.

    Examples
    --------
    >>> import numpy as np
    >>> from forecasting.anomaly.detectors import MaskedDetector
    >>> wave = np.sin(np.arange(400) / 4)
    >>> wave[350:360] = 0
    >>> detector = MaskedDetector(max_epochs=2, device="cpu").fit(wave[:300])
    >>> len(detector.transform_scores(wave))
    400
    """

    _tags = {  # noqa: RUF012 - sktime's convention
        "task": "anomaly_detection",
        "learning_type": "unsupervised",
        "capability:multivariate": False,
        "capability:missing_values": False,
        "fit_is_empty": False,
        "capability:random_state": True,
        "property:randomness": "derandomized",
    }

    def __init__(
        self,
        period=None,
        window=None,
        quantile=0.9999,
        max_epochs=20,
        random_state=0,
        device="auto",
        progress=False,
    ):
        self.period = period
        self.window = window
        self.quantile = quantile
        self.max_epochs = max_epochs
        self.random_state = random_state
        self.device = device
        self.progress = progress
        super().__init__()

    def _fit(self, X, y=None):
        from contextlib import nullcontext

        from forecasting.anomaly import masked
        from lab import console
        from lab.device import choose

        values = _values(X)
        self.check(len(values))
        self.period_ = int(self.period or periods.estimate(values) or max(8, min(32, len(values) // 8)))
        self.cycle_ = periods.cycle(values, self.period_)
        self.factor_ = max(1, self.period_ // _FINE)
        # spread without the outermost 0.1 %: the training part may hold a stray value, but a spike a beat is normal
        low, high = np.quantile(values, [0.001, 0.999])
        self.mean_ = float(values.mean())
        self.scale_ = float(np.clip(values, low, high).std()) or 1.0
        steps = self._steps(values)
        width = max(4, round((self.window or self.period_) / self.factor_))
        context = max(round(self.period_ / self.factor_), 32)
        lags = sorted({round(self.period_ / self.factor_), round(self.cycle_ / self.factor_)})
        self.widths_ = sorted({max(2, width // 4), width})
        shape = masked.Shape(round(1.5 * width), context, tuple(lags))
        cut = int(0.8 * len(steps))
        shown = console.bar("masked model", self.max_epochs, "epochs") if self.progress else nullcontext(_silent)
        with shown as advance:
            self.network_, self.history_ = masked.train(
                steps[:cut], steps[cut:], shape, self.max_epochs, self.random_state, choose(self.device), advance
            )
        # of held-out scores only: the model knows the rest too well, and what is odd there must not raise the threshold
        self.threshold_ = tail_quantile(self._score_steps(steps)[cut:], self.quantile)
        return self

    def check(self, length: int) -> None:
        """Raises InputError unless the settings make sense for a training part of `length` samples."""
        if length < SHORTEST:
            raise InputError(
                f"the training part has {length} samples; at least {SHORTEST} are needed, better 10 periods"
            )
        for name, value, least in (
            ("period", self.period, 2),
            ("window", self.window, 2),
            ("max_epochs", self.max_epochs, 1),
        ):
            if value is not None and value < least:
                raise InputError(f"{name} is {value}; give at least {least}")
        if self.period is not None and 2 * self.period > length:
            raise InputError(
                f"period {self.period} does not fit twice into the training part of {length} samples; give less"
            )
        if self.window is not None and 2 * self.window > length:
            raise InputError(
                f"window {self.window} does not fit twice into the training part of {length} samples; give less"
            )
        if not 0.5 <= self.quantile < 1:
            raise InputError(f"quantile is {self.quantile}; give one from 0.5 to below 1, such as 0.9999")

    def _steps(self, values: np.ndarray) -> np.ndarray:
        """Standardised model steps of native samples, (n,) -> (ceil(n / factor),)."""
        return (blocks(values, self.factor_) - self.mean_) / self.scale_

    def _score_steps(self, steps: np.ndarray, first: int = 0, last: int | None = None) -> np.ndarray:
        """Scores of model steps (n,); only [first, last) is computed, the rest is NaN.

        Windows stand at fixed places whatever part is asked for, so that a part has the scores that the whole would.
        """
        from forecasting.anomaly.masked import surprise

        last = len(steps) if last is None else last
        score = np.zeros(len(steps))
        for width in self.widths_:
            stride = max(1, width // 4)
            starts = np.arange(-(width // stride) * stride + stride, len(steps), stride)
            starts = starts[(starts + width > first) & (starts < last) & (starts + width > 0)]
            total, count = np.zeros(len(steps)), np.zeros(len(steps))
            for start, value in zip(starts, surprise(self.network_, steps, starts, width), strict=True):
                inside = slice(max(start, 0), start + width)
                total[inside] += value
                count[inside] += 1
            score += total / np.maximum(count, 1) / len(self.widths_)
        score[:first] = score[last:] = np.nan
        return score

    def _scores(self, X) -> np.ndarray:
        """Score of every native sample, (n,)."""
        values = _values(X)
        return np.repeat(self._score_steps(self._steps(values)), self.factor_)[: len(values)]

    def peak(self, values: np.ndarray, start: int, end: int) -> float:
        """The highest score within [start, end) of `values` (n,); nats a step."""
        first, last = start // self.factor_, -(-end // self.factor_)
        return float(np.nanmax(self._score_steps(self._steps(values), first, last)))

    def _transform_scores(self, X):
        return pd.DataFrame({"scores": self._scores(X)}, index=getattr(X, "index", None))

    def _predict(self, X):
        return pd.DataFrame({"ilocs": np.flatnonzero(self._scores(X) > self.threshold_).astype("int64")})

    def _predict_scores(self, X):
        scores = self._scores(X)
        return pd.DataFrame({"scores": scores[scores > self.threshold_]})

    def intervals(self, scores: np.ndarray, first: int = 0) -> pd.DataFrame:
        """Flagged samples as intervals [start, end) with their peak score, highest first.

        scores: (n,) as from transform_scores; first: positions before it are not looked at (the training part).
        Flags closer than a quarter of a window are one anomaly. Of each, the part around the peak is reported that is
        above half the height from the threshold to the peak: a window's score reaches beyond its cause.
        """
        gap = self.factor_ * self.widths_[-1] // 4
        rows = []
        for start, end in runs((scores > self.threshold_) & (np.arange(len(scores)) >= first), gap):
            top = start + int(scores[start:end].argmax())
            core = runs(scores[start:end] > (self.threshold_ + scores[top]) / 2, gap)
            low, high = next((a, b) for a, b in core if start + a <= top < start + b)
            rows.append((start + low, start + high, float(scores[top])))
        table = pd.DataFrame(rows, columns=["start", "end", "peak"])
        return table.sort_values("peak", ascending=False, kind="stable", ignore_index=True)

    @classmethod
    def get_test_params(cls, parameter_set="default"):
        """Settings for sktime's tests: seconds, not quality."""
        return [
            {"max_epochs": 1, "device": "cpu"},
            {"period": 8, "window": 6, "quantile": 0.9, "max_epochs": 1, "device": "cpu"},
        ]


def _silent(n: int = 1, note: str = "") -> None:
    """A progress bar that is not there."""


def _values(X) -> np.ndarray:
    """The one column of X as floats, (n,). Raises InputError for several columns and for what is no number."""
    values = np.asarray(X, dtype=float)
    if values.ndim == 2 and values.shape[1] != 1:
        raise InputError(f"the series has {values.shape[1]} columns; this detector takes one, choose it first")
    values = values.reshape(-1)
    if not np.isfinite(values).all():
        at = int(np.flatnonzero(~np.isfinite(values))[0])
        raise InputError(f"the series has a missing or infinite value at position {at}; fill it first")
    return values
