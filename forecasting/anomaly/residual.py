"""Detection by forecast: what a forecaster that knows the normal course did not expect."""

import copy
from typing import Any

import numpy as np
import pandas as pd

from forecasting.anomaly.base import ScoreDetector, spread

_AT_ONCE = 512  # windows forecast at once: bounds the memory


class ForecastResidualDetector(ScoreDetector):
    """Mean absolute error of a forecast of the next steps, over all forecasts that reach a sample.

    Parameters
    ----------
    period, quantile, contamination
        See `forecasting.anomaly.base.ScoreDetector`.
    forecaster : sktime forecaster, optional
        Fitted to the training part, never again; None takes `RidgeForecaster` with a lookback of two windows. Those of
        `forecasting.forecaster` forecast from every step; others from every `horizon`-th, being moved on by `update`.
    horizon : int, optional
        Steps ahead; None takes a quarter of a window.

    Examples
    --------
    >>> import numpy as np
    >>> from forecasting.anomaly.residual import ForecastResidualDetector
    >>> wave = np.sin(np.arange(400) / 4)
    >>> wave[350:360] = 3
    >>> found = ForecastResidualDetector().fit(wave[:300]).predict_segments(wave)["ilocs"]
    >>> bool(320 < found[0].mid < 390)
    True
    """

    def __init__(
        self,
        period: int | None = None,
        quantile: float = 0.9999,
        contamination: float | None = None,
        forecaster: Any = None,
        horizon: int | None = None,
    ):
        self.period = period
        self.quantile = quantile
        self.contamination = contamination
        self.forecaster = forecaster
        self.horizon = horizon
        super().__init__()

    def _learn(self, steps: np.ndarray) -> None:
        from forecasting.forecaster import DirectForecaster, RidgeForecaster

        self.horizon_ = self.horizon or max(1, self.window_ // 4)
        default = RidgeForecaster(lookback=2 * self.window_)
        self.forecaster_ = default if self.forecaster is None else self.forecaster.clone()
        self.forecaster_.fit(pd.Series(steps), fh=np.arange(1, self.horizon_ + 1))
        self.direct_ = isinstance(self.forecaster_, DirectForecaster)
        self.learned_ = len(steps)

    def _normal_scores(self, cut: int) -> np.ndarray:
        return self._score(self.train_[cut:])  # right behind what was learned, where the first forecast starts from

    def _score(self, steps: np.ndarray) -> np.ndarray:
        errors = self._direct(steps, self.train_[: self.learned_]) if self.direct_ else self._moving(steps)
        return spread(errors, self.horizon_, 1 if self.direct_ else self.horizon_, len(steps))

    def _memory(self) -> int:
        if not self.direct_:
            return super()._memory()
        return max(super()._memory(), self.horizon_) + self.forecaster_.lookback_

    def _last_score(self, steps: np.ndarray) -> float:
        """Of a stream, forecasts start from its own past, however long ago the training part ended."""
        lookback = self.forecaster_.lookback_ if self.direct_ else 0
        if not lookback or len(steps) < lookback + self.horizon_:
            return super()._last_score(steps)
        past, recent = steps[:lookback], steps[lookback:]
        return float(spread(self._direct(recent, past), self.horizon_, 1, len(recent))[-1])

    def _direct(self, steps: np.ndarray, past: np.ndarray) -> np.ndarray:
        """Error of the forecast from before each step, (m - horizon + 1,); `past` (at least lookback,) lies before."""
        forecaster, horizon = self.forecaster_, self.horizon_
        lookback = forecaster.lookback_
        known = np.concatenate([past[-lookback:], steps])
        windows = np.lib.stride_tricks.sliding_window_view((known - forecaster.mean_) / forecaster.scale_, lookback)
        future = np.lib.stride_tricks.sliding_window_view(steps, horizon)  # (starts, horizon)
        errors = np.empty(len(future))
        for start in range(0, len(future), _AT_ONCE):
            rows = slice(start, min(start + _AT_ONCE, len(future)))
            # channels share the weights and do not see each other: each window goes in as a channel of its own
            forecast = forecaster._forecast(np.ascontiguousarray(windows[rows].T))  # (horizon, rows)
            errors[rows] = np.abs(forecast.T * forecaster.scale_ + forecaster.mean_ - future[rows]).mean(1)
        return errors

    def _moving(self, steps: np.ndarray) -> np.ndarray:
        """Error of the forecast of each block of `horizon` steps, (m // horizon,), with any sktime forecaster."""
        forecaster = copy.deepcopy(self.forecaster_)  # scoring leaves no trace in the detector
        lead = self._lead(steps)
        if len(lead):
            forecaster.update(pd.Series(lead, index=self.learned_ + np.arange(len(lead))), update_params=False)
        series = pd.Series(steps, index=self.learned_ + len(lead) + np.arange(len(steps)))
        errors = []
        for start in range(0, len(steps) - self.horizon_ + 1, self.horizon_):
            block = series.iloc[start : start + self.horizon_]
            forecast = np.asarray(forecaster.predict(), float).reshape(-1)
            errors.append(float(np.abs(forecast - block.to_numpy()).mean()))
            forecaster.update(block, update_params=False)
        return np.array(errors)

    def _lead(self, steps: np.ndarray) -> np.ndarray:
        """What is forecast between the end of the training part and the place in the cycle where `steps` begin.

        A forecaster that counts the cycle by its index would be out of phase for good, were a series that begins
        elsewhere taken to follow on. The place is where the first window lies nearest to the forecast, by the median.
        Empty for a forecaster that can only forecast as many steps as it was fitted for.
        """
        if self.forecaster_.get_tag("requires-fh-in-fit"):
            return np.empty(0)
        ahead = np.arange(1, 2 * self.window_)
        forecast = np.asarray(copy.deepcopy(self.forecaster_).predict(fh=ahead), float).reshape(-1)
        places = np.lib.stride_tricks.sliding_window_view(forecast, self.window_)  # (window, window)
        return forecast[: int(np.median(np.abs(places - steps[: self.window_]), axis=1).argmin())]

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        from forecasting.forecaster import SeasonalNaiveForecaster

        naive = SeasonalNaiveForecaster(lookback=4)
        return [{}, {"period": 6, "quantile": 0.9, "contamination": 0.1, "forecaster": naive, "horizon": 2}]
