"""Nearest-neighbour detectors: how far is each window from the nearest window that is normal?"""

import warnings
from typing import Any

import numpy as np

from forecasting.anomaly.base import ScoreDetector, spread
from lab.errors import InputError

FLOOR = 0.2  # standard deviations of the training part, added to each window's own
NEARER = 0.05  # share by which stretched references must bring normal windows nearer to be kept
_AT_ONCE = 2_000  # windows compared at once: bounds the memory


def regularised(steps: np.ndarray, width: int, floor: float = FLOOR) -> np.ndarray:
    """Every window of steps (n,) as (x - mean) / (standard deviation + floor), (n - width + 1, width) float32.

    Plain z-normalisation makes the noise of a flat window as large as a heart beat, which is what most false alarms of
    the matrix profile are; with the floor a flat window stays small, and its amplitude counts for something.
    """
    windows = np.lib.stride_tricks.sliding_window_view(steps, width)
    mean, deviation = windows.mean(1, keepdims=True), windows.std(1, keepdims=True)
    return ((windows - mean) / (deviation + floor)).astype(np.float32)


def nearest(
    queries: np.ndarray, references: np.ndarray, exclude: tuple[np.ndarray, np.ndarray, int] | None = None
) -> np.ndarray:
    """Euclidean distance of each row of `queries` (m, d) to the nearest row of `references` (k, d); (m,).

    exclude: positions of the queries (m,) and of the references (k,), and the distance below which two of them are no
    neighbours.
    """
    lengths = (references**2).sum(1)
    found = np.empty(len(queries))
    for start in range(0, len(queries), _AT_ONCE):
        part = queries[start : start + _AT_ONCE]
        squared = lengths - 2 * (part @ references.T)  # (part, k), up to the length of the query
        if exclude is not None:
            mine, theirs, apart = exclude
            squared[np.abs(mine[start : start + _AT_ONCE, None] - theirs) < apart] = np.inf
        found[start : start + len(part)] = squared.min(1) + (part**2).sum(1)
    return np.sqrt(found.clip(min=0))


def _played(steps: np.ndarray, tempo: float) -> np.ndarray:
    """Steps (n,) at another pace, (about n / tempo,)."""
    if tempo == 1:
        return steps
    return np.interp(np.linspace(0, len(steps) - 1, round(len(steps) / tempo)), np.arange(len(steps)), steps)


class JoinDetector(ScoreDetector):
    """Distance of each window to the nearest window of the training part, with regularised normalisation.

    A train/test similarity join (as the "AB-join" of Yeh et al. 2016, "Matrix Profile I"), computed as matrix products.

    No two strides of a walk take the same time. There a window is compared with the training part played faster and
    slower too ("uniform scaling", Keogh 2003). Whether the series is such a one is asked of the training part: the
    stretched references stay where they bring its held-out end nearer by a twentieth in the mean. Where a clock sets
    the pace they would only hide an hour too many or too few.

    Parameters
    ----------
    period, quantile, contamination
        See `forecasting.anomaly.base.ScoreDetector`.
    floor : float
        Added to each window's standard deviation, in standard deviations of the training part; 0 is plain
        z-normalisation.
    references : int
        Training windows of each tempo to compare with at most, evenly spread; bounds the time.
    stretch : float
        How much faster and slower, as a share; 0 for never.

    Attributes
    ----------
    tempos_ : tuple of float, the paces at which the training part is compared with.

    Examples
    --------
    >>> import numpy as np
    >>> from forecasting.anomaly.joins import JoinDetector
    >>> wave = np.sin(np.arange(400) / 4)
    >>> wave[350:360] = 3
    >>> found = JoinDetector().fit(wave[:300]).predict_segments(wave)["ilocs"]
    >>> bool(320 < found[0].mid < 390)
    True
    """

    _refit = True

    def __init__(
        self,
        period: int | None = None,
        quantile: float = 0.9999,
        contamination: float | None = None,
        floor: float = FLOOR,
        references: int = 16_000,
        stretch: float = 0.1,
    ):
        self.period = period
        self.quantile = quantile
        self.contamination = contamination
        self.floor = floor
        self.references = references
        self.stretch = stretch
        super().__init__()

    def check(self, length: int) -> None:
        if not 0 <= self.stretch < 1:
            raise InputError(f"stretch is {self.stretch}; give a share from 0 to below 1, such as 0.1")
        super().check(length)

    def _fit(self, X: Any, y: Any = None) -> "JoinDetector":
        self.tempos_: tuple[float, ...] = (1.0,)
        super()._fit(X, y)
        return self

    def _normal_scores(self, cut: int) -> np.ndarray:
        plain = super()._normal_scores(cut)
        if not self.stretch:
            return plain
        self.tempos_ = (1.0, 1 - self.stretch, 1 + self.stretch)
        self._learn(self.train_[:cut])
        stretched = super()._normal_scores(cut)
        if stretched.mean() < (1 - NEARER) * plain.mean():
            return stretched
        self.tempos_ = (1.0,)
        return plain

    def _learn(self, steps: np.ndarray) -> None:
        parts = []
        for tempo in self.tempos_:
            windows = regularised(_played(steps, tempo), self.window_, self.floor)
            parts.append(windows[:: -(-len(windows) // self.references)])
        self.references_ = np.concatenate(parts)

    def _score(self, steps: np.ndarray) -> np.ndarray:
        distances = nearest(regularised(steps, self.window_, self.floor), self.references_)
        return spread(distances, self.window_, 1, len(steps))

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        return [
            {},
            {"period": 6, "quantile": 0.9, "contamination": 0.1, "floor": 0.0, "references": 10, "stretch": 0.0},
        ]


class MatrixProfileDetector(ScoreDetector):
    """Distance of each window to its nearest neighbour in the series itself, z-normalised, at native resolution.

    The matrix profile (Yeh et al. 2016), from stumpy. What `fit` sees sets the period and the threshold only: `predict`
    wants the whole series, which is where the neighbours are looked for. A window without a neighbour like it is a
    discord.

    Parameters
    ----------
    period, quantile, contamination
        See `forecasting.anomaly.base.ScoreDetector`.

    Examples
    --------
    >>> import numpy as np
    >>> from forecasting.anomaly.joins import MatrixProfileDetector
    >>> wave = np.sin(np.arange(400) / 4)
    >>> wave[350:360] = 3
    >>> found = MatrixProfileDetector().fit(wave[:300]).predict_segments(wave)["ilocs"]
    >>> bool(320 < found[0].mid < 390)
    True
    """

    _native = True
    _streams = False  # neighbours are looked for in the whole series
    _tags = {"python_dependencies": "stumpy"}  # noqa: RUF012 - sktime's convention

    def __init__(self, period: int | None = None, quantile: float = 0.9999, contamination: float | None = None):
        self.period = period
        self.quantile = quantile
        self.contamination = contamination
        super().__init__()

    def check(self, length: int) -> None:
        from importlib.util import find_spec

        if find_spec("stumpy") is None:
            raise InputError("the matrix profile needs stumpy; install it with pip install 'rl-timeseries-lab[peers]'")
        super().check(length)

    def _window(self, steps: int) -> int:
        return max(3, super()._window(steps))  # stumpy's least

    def _learn(self, steps: np.ndarray) -> None:
        pass

    def _normal_scores(self, cut: int) -> np.ndarray:
        return self._score(self.train_)[cut:]  # its neighbours are looked for in the whole

    def _score(self, steps: np.ndarray) -> np.ndarray:
        import stumpy

        with warnings.catch_warnings():  # of a series with few windows, which the next line sees to
            warnings.filterwarnings("ignore", "The window size", UserWarning)
            profile = stumpy.stump(steps, self.window_)[:, 0].astype(float)
        # infinite where so few windows are there that none counts as a neighbour: then as unlike as can be
        return spread(np.where(np.isfinite(profile), profile, 2 * np.sqrt(self.window_)), self.window_, 1, len(steps))

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        return [{}, {"period": 6, "quantile": 0.9, "contamination": 0.1}]
