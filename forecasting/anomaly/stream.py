"""Scores for a series that is still being written: each sample as it comes, with a fitted detector, without refit.

The score of a sample is the detector's, of the window that ends with it, given what came before: what comes later is
not known yet. Where a step is several samples, it is that of the last whole step: the mean of a part of one is noisier
than what the detector knows, and would give false alarms. Such scores are on a scale of their own (the masked
detector's are plain nats, without its likes), so the threshold is taken anew, by the same quantile, from samples of the
training part that were held out.
"""

import copy
from pathlib import Path
from typing import Any

import numpy as np

from forecasting.anomaly.base import ScoreDetector, one_column, tail_quantile
from lab import checkpoint
from lab.errors import InputError

JUDGED = 500  # held-out steps, at most, that the threshold is taken from


def check(detector: ScoreDetector) -> None:
    """Raises InputError for a detector that cannot score a sample without what comes later."""
    if not detector._streams:
        raise InputError(
            f"{type(detector).__name__} judges a series as a whole, not as it comes; take another detector"
        )


def _threshold(detector: ScoreDetector) -> float:
    """The detector's quantile of scores of held-out samples, by what it had learned before it saw them."""
    known, cut = detector.train_, detector._cut()
    if detector._refit:  # it has learned them since
        detector = copy.deepcopy(detector)
        detector._learn(known[:cut])
    first = max(cut, detector.window_)
    if type(detector)._latest is ScoreDetector._latest:  # windows it knows by heart say nothing: they begin at `cut`
        first = max(min(cut + detector.window_, len(known) - detector.window_), first)
    ends = np.unique(np.linspace(first + 1, len(known), JUDGED).astype(int))
    return tail_quantile(detector._latest(known, ends), detector.quantile)


def _of(detector: ScoreDetector) -> str:
    """What the steps of a stream depend on."""
    name, mean, scale = type(detector).__name__, detector.mean_, detector.scale_
    return (
        f"a {name} with steps of {detector.factor_}, windows of {detector.window_}, mean {mean:.9g}, scale {scale:.9g}"
    )


class Stream:
    """Takes in samples and gives each its score; begins where the detector's training part ended.

    Raises InputError for a detector that judges a series as a whole (the ensemble, the matrix profile).
    Attributes: threshold_ (scores above it are anomalies), samples (taken in so far).
    """

    def __init__(self, detector: ScoreDetector):
        check(detector)
        detector.check_is_fitted()
        self.detector = detector
        self.memory = detector._memory()
        self.samples = 0
        self._steps = detector.train_[-self.memory :]
        self._sum, self._count = 0.0, 0  # of the step that is not complete yet
        self._score: float | None = None  # of the last that is
        self.threshold_ = _threshold(detector)

    def update(self, values: Any) -> np.ndarray:
        """A score for each of the samples (m,), none among them too, oldest first; (m,).

        Raises InputError for several columns and for what is not finite.
        """
        if np.size(values) == 0:  # nothing new
            return np.empty(0)
        return np.array([self._next(float(value)) for value in one_column(values)])

    def _next(self, value: float) -> float:
        detector = self.detector
        self._sum += value
        self._count += 1
        self.samples += 1
        steps = self._steps
        if whole := self._count == detector.factor_:
            step = (self._sum / self._count - detector.mean_) / detector.scale_
            steps = np.append(steps, step)
            self._steps, self._sum, self._count = steps[-self.memory :], 0.0, 0
        if whole or self._score is None:
            self._score = float(detector._latest(steps, np.array([len(steps)]))[0])
        return self._score

    def save(self, folder: str | Path) -> None:
        """Write the state to `folder`: safetensors and JSON, nothing that runs when it is read. Not the detector."""
        state = {
            "steps": self._steps, "sum": self._sum, "count": self._count, "samples": self.samples,
            "score": self._score, "threshold": self.threshold_, "memory": self.memory, "of": _of(self.detector),
        }  # fmt: skip
        checkpoint.save(Path(folder), self.samples, state, keep=1)

    @classmethod
    def load(cls, folder: str | Path, detector: ScoreDetector) -> "Stream":
        """The stream as it was saved, on the detector it was made with.

        Raises InputError for a folder without one, for a damaged one, and for another detector.
        """
        newest = max(Path(folder).glob("step-*"), default=None)
        if newest is None:
            raise InputError(f"{folder} holds no saved stream; save one there first")
        try:
            state = checkpoint.load(newest)
        except checkpoint.CorruptCheckpoint as error:
            raise InputError(f"the saved stream is damaged: {error}; begin a new one") from error
        if (of := state.get("of", _of(detector))) != _of(detector):  # older ones do not say
            raise InputError(f"{folder} holds the stream of {of}, not of {_of(detector)}; give its detector")
        stream = cls.__new__(cls)
        stream.detector, stream.memory = detector, state["memory"]
        stream._steps, stream._sum, stream._count = state["steps"], state["sum"], state["count"]
        stream._score = state.get("score")
        stream.samples, stream.threshold_ = state["samples"], state["threshold"]
        return stream
