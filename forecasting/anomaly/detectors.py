"""The masked generative detector, and (in the files beside) its peers, all behind `base.ScoreDetector`."""

from typing import TYPE_CHECKING

import numpy as np

from forecasting.anomaly import period as periods
from forecasting.anomaly.base import ScoreDetector, blocks, one_column, tail_quantile
from forecasting.anomaly.metrics import runs
from lab.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MaskedDetector", "blocks", "runs", "tail_quantile"]


class MaskedDetector(ScoreDetector):
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
    contamination : float, optional (default=None)
        See forecasting.anomaly.base.ScoreDetector.
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

    _tags = {"capability:random_state": True, "property:randomness": "derandomized"}  # noqa: RUF012 - sktime's convention
    _partial = True

    unit = "score\n(nats a step)"

    def __init__(
        self,
        period=None,
        window=None,
        quantile=0.9999,
        contamination=None,
        max_epochs=20,
        random_state=0,
        device="auto",
        progress=False,
    ):
        self.period = period
        self.window = window
        self.quantile = quantile
        self.contamination = contamination
        self.max_epochs = max_epochs
        self.random_state = random_state
        self.device = device
        self.progress = progress
        super().__init__()

    def _window(self, steps: int) -> int:
        return max(4, round((self.window or self.period_) / self.factor_))

    def _learn(self, steps: np.ndarray) -> None:
        from contextlib import nullcontext

        from forecasting.anomaly import masked
        from lab import console
        from lab.device import choose

        beat = round(self.period_ / self.factor_)  # steps
        cycle = periods.cycle(self.train_, beat)
        self.cycle_ = self.period_ if cycle == beat else cycle * self.factor_
        self.widths_ = sorted({max(2, self.window_ // 4), self.window_})
        # one week ago is as noisy as now; the mean of three is less so
        echoes = {beat, cycle, *(many * cycle for many in (2, 3) if many * cycle <= len(steps) // 2)}
        shape = masked.Shape(round(1.5 * self.window_), max(beat, 32), tuple(sorted(echoes)))
        shown = console.bar("masked model", self.max_epochs, "epochs") if self.progress else nullcontext(_silent)
        # the held-out end of the training part, which the threshold comes from, also says which epoch is best
        held_out = self.train_[len(steps) :]
        with shown as advance:
            self.network_, self.history_ = masked.train(
                steps, held_out, shape, self.max_epochs, self.random_state, choose(self.device), advance
            )

    def check(self, length: int) -> None:
        """Raises InputError unless the settings make sense for a training part of `length` samples."""
        super().check(length)
        for name, value, least in (("window", self.window, 2), ("max_epochs", self.max_epochs, 1)):
            if value is not None and value < least:
                raise InputError(f"{name} is {value}; give at least {least}")
        if self.window is not None and 2 * self.window > length:
            raise InputError(
                f"window {self.window} does not fit twice into the training part of {length} samples; give less"
            )

    def step_scores(self, series: "Tensor", first: int, last: int) -> "Tensor":
        """Scores of the model steps [first, last) of a standardised series (1, n); gradients flow back to it."""
        return sum(self._width_scores(series, first, last, width) for width in self.widths_) / len(self.widths_)

    def scores_by_width(self, X) -> dict[int, np.ndarray]:
        """What windows of each width say, {samples: (n,)}; the score of a sample is their mean."""
        import torch

        from lab.device import threads

        values = one_column(X)
        series = torch.as_tensor(self._steps(values), dtype=torch.float32)[None]
        with threads(1), torch.no_grad():
            found = {width: self._width_scores(series, 0, series.shape[1], width).numpy() for width in self.widths_}
        return {width * self.factor_: np.repeat(scores, self.factor_)[: len(values)] for width, scores in found.items()}

    def _width_scores(self, series: "Tensor", first: int, last: int, width: int) -> "Tensor":
        """Mean -log p a step, over the windows of `width` steps that hold each of the steps [first, last).

        Windows stand at fixed places whatever part is asked for, so that a part has the scores that the whole would.
        """
        import torch

        from forecasting.anomaly.masked import surprises

        length, stride = series.shape[1], max(1, width // 4)
        starts = torch.arange(-(width // stride) * stride + stride, length, stride)
        starts = starts[(starts + width > first) & (starts < last) & (starts + width > 0)]
        windows = surprises(self.network_, series, starts, width).double()
        at = starts[:, None] + torch.arange(width)  # (windows, width): the steps of each
        inside = (at >= 0) & (at < length)
        total = torch.zeros(length, dtype=torch.float64).index_add(
            0, at[inside], windows[:, None].expand_as(at)[inside]
        )
        return (total / torch.bincount(at[inside], minlength=length).clamp(min=1))[first:last]

    def _score_steps(self, steps: np.ndarray, first: int = 0, last: int | None = None) -> np.ndarray:
        """Scores of the model steps [first, last) of steps (n,)."""
        import torch

        from lab.device import threads

        # one thread: gains nothing from two, and gives the same numbers on any machine
        with threads(1), torch.no_grad():
            series = torch.as_tensor(steps, dtype=torch.float32)[None]
            return self.step_scores(series, first, len(steps) if last is None else last).numpy()

    def _normal_scores(self, cut: int) -> np.ndarray:
        return self._score(self.train_)[cut:]  # they want their surroundings

    def _score(self, steps: np.ndarray) -> np.ndarray:
        return self._score_steps(steps)

    def _memory(self) -> int:
        shape = self.network_.shape
        return max(shape.lags) + shape.window + shape.context

    def _latest(self, steps: np.ndarray, ends: np.ndarray) -> np.ndarray:
        import torch

        from forecasting.anomaly.masked import latest
        from lab.device import threads

        with threads(1), torch.no_grad():
            series, last = torch.as_tensor(steps, dtype=torch.float32)[None], torch.as_tensor(ends)
            return latest(self.network_, series, last, self.widths_).mean(1).double().numpy()

    def peak(self, values: np.ndarray, start: int, end: int) -> float:
        """The highest score within [start, end) of `values` (n,); nats a step."""
        first, last = start // self.factor_, -(-end // self.factor_)
        return float(self._score_steps(self._steps(values), first, last).max())

    @classmethod
    def get_test_params(cls, parameter_set="default"):
        """Settings for sktime's tests: seconds, not quality."""
        return [
            {"max_epochs": 1, "device": "cpu"},
            {"period": 8, "window": 6, "quantile": 0.9, "max_epochs": 1, "device": "cpu"},
        ]


def _silent(n: int = 1, note: str = "") -> None:
    """A progress bar that is not there."""
