"""The forecasters without a network: the last season again, and ridge regression in closed form."""

from typing import Any, ClassVar

import numpy as np

from forecasting import training
from forecasting.base import DirectForecaster


class SeasonalNaiveForecaster(DirectForecaster):
    """The last season again and again: what every forecast is measured against. It looks at no exogenous column.

    Parameters
    ----------
    lookback : int or None
        Steps that are repeated; None takes the season of the series' frequency.

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from forecasting.forecaster import SeasonalNaiveForecaster
    >>> forecaster = SeasonalNaiveForecaster()
    >>> forecaster.fit(load_airline(), fh=[1, 2, 3]).predict().tolist()
    [417.0, 391.0, 419.0]
    """

    _tags: ClassVar[dict[str, Any]] = {"capability:exogenous": False}

    def __init__(self, lookback: int | None = None):
        self.lookback = lookback
        self._ready()

    def _lookback(self, rows: int, cycle: int) -> int:
        return self.lookback or min(cycle, rows)

    def _train(self, values: np.ndarray, cycle: int) -> int:
        return 0  # the window that `predict` sees is all it knows, so that it has seen none of the windows

    def _backcast(self, windows: np.ndarray) -> np.ndarray:
        return windows[:, np.arange(self.horizon_) % windows.shape[1]]

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        return [{}, {"lookback": 3}]


class RidgeForecaster(DirectForecaster):
    """Ridge regression of the next steps on the window minus its last value, in closed form.

    Its intervals come from the errors of the regression on the windows before the held-out ones.

    Parameters
    ----------
    lookback : int or None
        Steps a forecast looks back; None chooses from the season and the number of rows.
    validation : float
        Share of the windows, the last ones, on which the strength is chosen; the weights then come from all of them.

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from forecasting.forecaster import RidgeForecaster
    >>> forecaster = RidgeForecaster()
    >>> forecaster.fit(load_airline(), fh=[1, 2, 3]).predict().shape
    (3,)
    """

    fitted: ClassVar[tuple[str, ...]] = (*DirectForecaster.fitted, "weights_", "early_weights_", "strength_")

    def __init__(self, lookback: int | None = None, validation: float = 0.2):
        self.lookback = lookback
        self.validation = validation
        self._ready()

    def _train(self, values: np.ndarray, cycle: int) -> int:
        self.early_weights_, self.weights_, self.strength_ = training.fit_linear(
            values, self.lookback_, self.horizon_, self.validation
        )
        count = len(values) - self.lookback_ - self.horizon_ + 1
        return training.split(count, self.horizon_, self.validation)[1]

    def _forecast(self, window: np.ndarray) -> np.ndarray:
        return apply_weights(self.weights_, window[None])[0]

    def _backcast(self, windows: np.ndarray) -> np.ndarray:
        return apply_weights(self.early_weights_, windows)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        return [{"lookback": 3}, {"validation": 0.0}]


def apply_weights(weights: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """weights (horizon, lookback), windows (n, lookback, channels) -> (n, horizon, channels)."""
    last = windows[:, -1:]
    return np.einsum("hl,nlc->nhc", weights, windows - last, optimize=True) + last
