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


WIDEST = 4  # windows: what is flagged without end is not one anomaly
LEAST = 0.05  # nats: a spread of the normal surprise is taken to be this much wider than it is


class MaskedDetector(ScoreDetector):
    """Scores samples by how unlikely they are, given what lies around them, under a masked model of normal data.

    `fit` takes a series without anomalies (or hardly any), learns p(run of steps | surroundings) on its first 80 % and
    sets the threshold on the rest. To score, runs of two widths are hidden, each in turn: 3 steps, which tells what is
    off beside its neighbours, and a quarter of a window, which tells what is off as a whole. Each gives every step a
    surprise, its -log p in nats (`masked.surprises`), averaged over half a window or a whole one, nearer steps counting
    for more. What counts is how far that is above what is usual (the median on the held-out 20 %), and above what the
    likes of the window around, in the training part, surprised by (`likes`): what is rare but was seen before is no
    anomaly. In units of what is normal for each width (the spread on the held-out part), the greater is the score.
    Scores need surroundings: give `predict` the whole series rather than the part after training.

    Parameters
    ----------
    period : int, optional (default=None)
        Samples in one repetition; None estimates it (see forecasting.anomaly.period). Above 127 samples the
        model works on block means, at 64 to 127 steps a period.
    window : int, optional (default=None)
        Samples in a window; None takes one period.
    quantile : float (default=0.9999)
        The threshold is this quantile of the normal scores, but never less than 3 normal spreads: at 0.9999 one normal
        sample in 10,000 is flagged, to the extent that the held-out part of the training data is like the rest.
    contamination : float, optional (default=None)
        See forecasting.anomaly.base.ScoreDetector.
    max_epochs : int (default=30)
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
        Scores above it are anomalies; spreads of the normal surprise.
    network_, history_
        The model and its (training, held-out) loss for every epoch.
    known_ : (2, steps)
        What the newest steps that were learned from surprise by, themselves left out of what is recalled; nats.

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
    _apart = 1.0  # its `_extents` tells anomalies from echoes
    _least_threshold = 3.0

    unit = "score\n(normal spreads)"

    def __init__(
        self,
        period=None,
        window=None,
        quantile=0.9999,
        contamination=None,
        max_epochs=30,
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

    def _spread(self, values: np.ndarray) -> float:
        """About the mean of a period around, as the model sees no level: a trend would make all else look small."""
        from scipy.ndimage import uniform_filter1d

        level = uniform_filter1d(values, min(self.period_, len(values)), mode="nearest")
        return super()._spread(values - level) or super()._spread(values)

    def _learn(self, steps: np.ndarray) -> None:
        from contextlib import nullcontext

        import torch

        from forecasting.anomaly import masked
        from lab import console
        from lab.device import choose, threads

        beat = round(self.period_ / self.factor_)  # steps
        cycle = periods.cycle(self.train_, beat)
        self.cycle_ = self.period_ if cycle == beat else cycle * self.factor_
        self.widths_ = [3, max(4, self.window_ // 4)]
        context = max(beat, 32)
        # a day's surroundings do not tell which day of the week it is
        shape = masked.Shape(round(1.5 * self.window_), context, tuple(sorted({context, max(context, cycle)})))
        shown = console.bar("masked model", self.max_epochs, "epochs") if self.progress else nullcontext(_silent)
        # the held-out end of the training part, which the threshold comes from, also says which epoch is best
        held_out = self.train_[len(steps) :]
        with shown as advance:
            self.network_, self.history_ = masked.train(
                steps, held_out, shape, self.max_epochs, self.random_state, choose(self.device), advance
            )
        series = torch.as_tensor(steps, dtype=torch.float32)[None]
        first = self.network_.recall.forgotten
        with threads(1), torch.no_grad():
            known = [self._smooth(series, first, len(steps), width, own=True) for width in self.widths_]
        self.known_ = torch.stack(known).numpy()
        self._remember()

    def _remember(self) -> None:
        """Makes ready to look up the likes of a window, with what they surprised by, `known_`."""
        import torch

        from forecasting.anomaly.likes import Likes

        steps = self.train_[self.network_.recall.forgotten : self._cut()]
        known = torch.as_tensor(self.known_)
        self.likes_ = Likes(torch.as_tensor(steps, dtype=torch.float32), known, self.window_)

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
        import torch

        return torch.stack(self._width_scores(series, first, last)).amax(0)

    def scores_by_width(self, X) -> dict[int, np.ndarray]:
        """What hidden runs of each width say, {samples: (n,)}; the score of a sample is the greater."""
        import torch

        from lab.device import threads

        values = one_column(X)
        series = torch.as_tensor(self._steps(values), dtype=torch.float32)[None]
        with threads(1), torch.no_grad():
            found = self._width_scores(series, 0, series.shape[1])
        return {
            width * self.factor_: np.repeat(scores.numpy(), self.factor_)[: len(values)]
            for width, scores in zip(self.widths_, found, strict=True)
        }

    def _width_scores(self, series: "Tensor", first: int, last: int) -> "list[Tensor]":
        """The scores of the steps [first, last) by each width."""
        likes = self.likes_.surprise(series[0].detach(), first, last)
        scores = []
        for width, known, (usual, spread) in zip(self.widths_, likes, self.normal_, strict=True):
            scores.append((self._smooth(series, first, last, width, usual) - known.clamp(min=usual)) / spread)
        return scores

    def _smooth(
        self, series: "Tensor", first: int, last: int, width: int, usual: float | None = None, own: bool = False
    ) -> "Tensor":
        """The mean surprise around each of the steps [first, last), runs of `width` hidden; weights are a triangle.

        It is half a window wide for short runs and a window for long ones, which tell no better where it is.
        Where it reaches over an end of the series, the steps that are missing count as `usual` ones; None takes the
        median of those that are there. own: the series is what was learned from.
        """
        from torch.nn import functional

        half = max(1, self.window_ // (4 if width <= 3 else 2))  # twice the mean over so many is a triangle
        low, high, length = first - (half - 1), last + (half - 1), series.shape[1]  # the steps that count
        known = self._surprises(series, max(0, low), min(high, length), width, own)
        missing = float(known.median()) if usual is None else usual
        all_of_them = functional.pad(known, (max(0, -low), max(0, high - length)), value=missing)
        return all_of_them.unfold(0, half, 1).mean(1).unfold(0, half, 1).mean(1)

    def _surprises(self, series: "Tensor", first: int, last: int, width: int, own: bool = False) -> "Tensor":
        """The surprise of each of the steps [first, last) when runs of `width` steps are hidden.

        Runs stand at fixed places whatever part is asked for, so that a part has the surprises that the whole would.
        Wide ones overlap by half, and the mean of two counts: a step near the edge of a run is easier to tell.
        """
        import torch

        from forecasting.anomaly.masked import Masks, surprises

        length, stride = series.shape[1], width if width <= 3 else width // 2
        starts = torch.arange(first // stride * stride - (width - stride), last, stride)
        starts = starts[starts + width > first]
        masks = Masks(
            starts.clamp(min=0),
            (starts + width).clamp(max=length),
            torch.zeros_like(starts),
            torch.full_like(starts, length),
        )
        found = surprises(self.network_, series, masks, width, own).double()
        at = masks.first[:, None] + torch.arange(width)
        inside = at < masks.last[:, None]
        total = torch.zeros(length, dtype=torch.float64).index_add(0, at[inside], found[inside])
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
        import torch

        from lab.device import threads

        series, end = torch.as_tensor(self.train_, dtype=torch.float32)[None], len(self.train_)
        with threads(1), torch.no_grad():
            likes = self.likes_.surprise(series[0], cut, end)
            self.normal_, scores = [], []
            for width, known in zip(self.widths_, likes, strict=True):
                smooth = self._smooth(series, cut, end, width)
                usual = float(smooth.median())
                excess = smooth - known.clamp(min=usual)
                self.normal_.append((usual, float(excess.std(correction=0)) + LEAST))
                scores.append(excess / self.normal_[-1][1])
        return torch.stack(scores).amax(0).numpy()

    def _score(self, steps: np.ndarray) -> np.ndarray:
        return self._score_steps(steps)

    def _extents(self, scores: np.ndarray, start: int, end: int, gap: int) -> list[tuple[int, int, float]]:
        """Around a peak, out to where the score is half-way down to what is usual: an average over what lies around,
        as a score is, is half as high where its cause ends. Hills as high as that which are less than a window apart
        are one anomaly. Lower ones nearer than that are echoes, as what is strange makes its surroundings so.
        """
        window = self.window_ * self.factor_
        usual = float(np.median(self.normal_scores_))
        found: list[tuple[int, int, float]] = []
        parts = [(start, end)]
        while parts:
            low, high = parts.pop()
            top = low + int(scores[low:high].argmax())
            if scores[top] <= self.threshold_:
                continue
            above = scores > (usual + scores[top]) / 2
            hill, joined = (next((a, b) for a, b in runs(above, apart) if a <= top < b) for apart in (gap, window))
            begin, last = joined if scores[slice(*joined)].max() == scores[top] else hill
            on_its_own = scores[begin:last].max() == scores[top]  # and not on the shoulder of a higher one
            if on_its_own and all(max(a - top, top - b + 1) >= window for a, b, _ in found):
                wide = last - begin > WIDEST * window
                found.append((*(self._extent(scores, low, high, gap) if wide else (begin, last)), float(scores[top])))
            if low < begin:  # what is left on either side begins where the score is lowest near by
                cut = max(low, begin - window)
                parts.append((low, cut + int(scores[cut:begin].argmin())))
            if last < high:
                parts.append((last + int(scores[last : min(high, last + window)].argmin()), high))
            parts = [part for part in parts if part[0] < part[1]]
        return found

    def _memory(self) -> int:
        shape = self.network_.shape
        return max(shape.reaches) + shape.window

    def _latest(self, steps: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Mean surprise over hidden runs that end with each of `ends`: of 3 steps and of a quarter window; nats."""
        import torch

        from forecasting.anomaly.masked import Masks, surprises
        from lab.device import threads

        widths = torch.tensor([3, max(4, self.window_ // 4)])
        with threads(1), torch.no_grad():
            series = torch.as_tensor(steps, dtype=torch.float32)[None]
            last = torch.as_tensor(ends).repeat_interleave(len(widths))
            first = (last - widths.repeat(len(ends))).clamp(min=0)
            found = surprises(
                self.network_, series, Masks(first, last, torch.zeros_like(first), last), int(max(widths))
            )
            means = found.double().sum(1) / (last - first)
        return means.view(len(ends), len(widths)).mean(1).numpy()

    def peak(self, values: np.ndarray, start: int, end: int) -> float:
        """The highest score within [start, end) of `values` (n,); normal spreads."""
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
