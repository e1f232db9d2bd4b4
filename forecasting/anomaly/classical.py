"""Detectors in closed form or nearly so: rolling z-score, sub-sequence PCA and k-means, interpolation."""

from typing import Any

import numpy as np

from forecasting.anomaly.base import ScoreDetector, spread
from forecasting.anomaly.joins import FLOOR, nearest, regularised

_LEARNED = 8_000  # windows to learn from, evenly spread: more change nothing and cost time


def _thinned(windows: np.ndarray) -> np.ndarray:
    return windows[:: -(-len(windows) // _LEARNED)]


class RollingZScoreDetector(ScoreDetector):
    """How many standard deviations each sample lies from the mean of the period before it.

    Parameters
    ----------
    period, quantile, contamination
        See `forecasting.anomaly.base.ScoreDetector`.

    Examples
    --------
    >>> import numpy as np
    >>> from forecasting.anomaly.classical import RollingZScoreDetector
    >>> wave = np.sin(np.arange(400) / 4)
    >>> wave[350:360] = 3
    >>> found = RollingZScoreDetector().fit(wave[:300]).predict_segments(wave)["ilocs"]
    >>> bool(320 < found[0].mid < 390)
    True
    """

    _native = True

    def __init__(self, period: int | None = None, quantile: float = 0.9999, contamination: float | None = None):
        self.period = period
        self.quantile = quantile
        self.contamination = contamination
        super().__init__()

    def _learn(self, steps: np.ndarray) -> None:
        pass  # mean and spread of the training part, which the base has taken, are all it knows

    def _score(self, steps: np.ndarray) -> np.ndarray:
        width = self.window_
        padded = np.concatenate([np.zeros(width), steps[:-1]])  # before the series: the training part's mean
        mean = _means(padded, width)  # (n,) of what ends before each sample
        variance = _means(padded**2, width) - mean**2
        return np.abs(steps - mean) / (np.sqrt(variance.clip(min=0)) + FLOOR)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        return [{}, {"period": 6, "quantile": 0.9, "contamination": 0.1}]


class PCADetector(ScoreDetector):
    """What the principal components of normal windows leave unexplained (Shyu et al. 2003, on sub-sequences).

    Parameters
    ----------
    period, quantile, contamination
        See `forecasting.anomaly.base.ScoreDetector`.
    explained : float
        Share of the variance of the training windows that the kept components explain.

    Examples
    --------
    >>> import numpy as np
    >>> from forecasting.anomaly.classical import PCADetector
    >>> wave = np.sin(np.arange(400) / 4)
    >>> wave[350:360] = 3
    >>> found = PCADetector().fit(wave[:300]).predict_segments(wave)["ilocs"]
    >>> bool(320 < found[0].mid < 390)
    True
    """

    def __init__(
        self,
        period: int | None = None,
        quantile: float = 0.9999,
        contamination: float | None = None,
        explained: float = 0.9,
    ):
        self.period = period
        self.quantile = quantile
        self.contamination = contamination
        self.explained = explained
        super().__init__()

    def _learn(self, steps: np.ndarray) -> None:
        windows = _thinned(regularised(steps, self.window_)).astype(float)
        self.centre_ = windows.mean(0)
        variance, directions = np.linalg.eigh(np.cov(windows - self.centre_, rowvar=False))
        share = variance[::-1].cumsum() / max(variance.sum(), 1e-12)
        kept = min(int((share < self.explained).sum()) + 1, self.window_ - 1)
        self.components_ = directions[:, ::-1][:, :kept]  # (window, kept)

    def _score(self, steps: np.ndarray) -> np.ndarray:
        windows = regularised(steps, self.window_) - self.centre_
        rest = (windows**2).sum(1) - ((windows @ self.components_) ** 2).sum(1)
        return spread(np.sqrt(rest.clip(min=0)), self.window_, 1, len(steps))

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        return [{}, {"period": 6, "quantile": 0.9, "contamination": 0.1, "explained": 0.5}]


class KMeansDetector(ScoreDetector):
    """Distance of each window to the nearest of the centres that normal windows cluster around.

    Parameters
    ----------
    period, quantile, contamination
        See `forecasting.anomaly.base.ScoreDetector`.
    clusters : int
    random_state : int
        Of the first centres.

    Examples
    --------
    >>> import numpy as np
    >>> from forecasting.anomaly.classical import KMeansDetector
    >>> wave = np.sin(np.arange(400) / 4)
    >>> wave[350:360] = 3
    >>> found = KMeansDetector().fit(wave[:300]).predict_segments(wave)["ilocs"]
    >>> bool(320 < found[0].mid < 390)
    True
    """

    _tags = {"capability:random_state": True, "property:randomness": "derandomized"}  # noqa: RUF012 - sktime's convention

    def __init__(
        self,
        period: int | None = None,
        quantile: float = 0.9999,
        contamination: float | None = None,
        clusters: int = 100,
        random_state: int = 0,
    ):
        self.period = period
        self.quantile = quantile
        self.contamination = contamination
        self.clusters = clusters
        self.random_state = random_state
        super().__init__()

    def _learn(self, steps: np.ndarray) -> None:
        from sklearn.cluster import MiniBatchKMeans

        windows = _thinned(regularised(steps, self.window_))
        # a quarter of the windows at most: with as many centres as windows every window is its own
        count = max(1, min(self.clusters, len(windows) // 4))
        model = MiniBatchKMeans(count, n_init=1, random_state=self.random_state, batch_size=1024)
        self.centres_ = model.fit(windows).cluster_centers_.astype(np.float32)  # (clusters, window)

    def _score(self, steps: np.ndarray) -> np.ndarray:
        return spread(nearest(regularised(steps, self.window_), self.centres_), self.window_, 1, len(steps))

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        return [{}, {"period": 6, "quantile": 0.9, "contamination": 0.1, "clusters": 3, "random_state": 1}]


class InterpolationDetector(ScoreDetector):
    """How badly each sample is guessed from its neighbours on both sides, by ridge regression at native resolution.

    The one detector here that sees what is finer than a period's 64th: high-frequency noise, a single stray sample.

    Parameters
    ----------
    period, quantile, contamination
        See `forecasting.anomaly.base.ScoreDetector`.
    neighbours : int
        Samples on each side.

    Examples
    --------
    >>> import numpy as np
    >>> from forecasting.anomaly.classical import InterpolationDetector
    >>> wave = np.sin(np.arange(400) / 4)
    >>> wave[350:360] = 3
    >>> found = InterpolationDetector().fit(wave[:300]).predict_segments(wave)["ilocs"]
    >>> bool(320 < found[0].mid < 390)
    True
    """

    _native = True

    def __init__(
        self,
        period: int | None = None,
        quantile: float = 0.9999,
        contamination: float | None = None,
        neighbours: int = 12,
    ):
        self.period = period
        self.quantile = quantile
        self.contamination = contamination
        self.neighbours = neighbours
        super().__init__()

    def _around(self, steps: np.ndarray) -> np.ndarray:
        """The neighbours of each step that has all of them, (m - 2 * side, 2 * side)."""
        windows = np.lib.stride_tricks.sliding_window_view(steps, 2 * self.side_ + 1)
        return np.delete(windows, self.side_, axis=1)

    def _learn(self, steps: np.ndarray) -> None:
        from forecasting.training import ridge

        self.side_ = max(1, min(self.neighbours, (self.window_ - 1) // 2))
        inputs = self._around(steps)
        targets = steps[self.side_ : -self.side_, None]
        # next to no penalty: thousands of samples for two dozen weights
        self.weights_ = ridge(inputs, targets, 1e-6 * len(steps))[0]  # (2 * side,)

    def _score(self, steps: np.ndarray) -> np.ndarray:
        inside = (steps[self.side_ : -self.side_] - self._around(steps) @ self.weights_) ** 2
        residual = np.pad(inside, self.side_, mode="edge")  # at the ends, as beside them
        width = max(1, self.window_ // 4)
        return np.sqrt(spread(_means(residual, width), width, 1, len(steps)).clip(min=0))

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        return [{}, {"period": 6, "quantile": 0.9, "contamination": 0.1, "neighbours": 2}]


def _means(values: np.ndarray, width: int) -> np.ndarray:
    """Means of all windows, (n,) -> (n - width + 1,)."""
    total = np.concatenate([[0.0], values.cumsum()])
    return (total[width:] - total[:-width]) / width
