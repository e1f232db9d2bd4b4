"""What all forecasters share: windows, scaling, exogenous effects, intervals, and answers in sktime's form."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from sktime.forecasting.base import BaseForecaster, ForecastingHorizon

from forecasting import training
from forecasting.datasets import season
from forecasting.exogenous import Effect
from forecasting.intervals import Conformal, most_windows
from lab.errors import InputError

LONGEST = 720  # steps an automatic lookback may reach back: beyond, trials on hourly data gained nothing
PROBABILITIES = tuple((np.arange(99) + 0.5) / 99)  # of the equally likely values that stand for a distribution


def default_lookback(rows: int, horizon: int, cycle: int) -> int:
    """Steps that a forecast looks back, when nobody says: seven seasons (a week of hours), else two, else what fits.

    A third of the rows at most, so that two thirds are left to begin windows in.
    """
    wanted = 7 * cycle if 7 * cycle <= LONGEST else 2 * cycle
    if cycle == 12:
        wanted = 24  # months: two years; seven make too few windows of any monthly series
    elif cycle == 1:
        wanted = 24
    return max(1, min(wanted, LONGEST, rows // 3, rows - horizon))


def default_patch(lookback: int, cycle: int) -> int:
    """Steps a patch: a season where at least two fit (a day of hours), else a sixth of the lookback."""
    return cycle if 4 <= cycle <= lookback // 2 and cycle <= 48 else max(1, lookback // 6)


def too_short(rows: int, lookback: int, horizon: int) -> InputError:
    """The error for a series shorter than one window; it names the settings nearest to those that would work."""
    if rows > horizon:
        remedy = f", or a lookback of {rows - horizon} or less"
    elif rows > 1:
        remedy = f", or lookback 1 and a horizon of {rows - 1} or less"
    else:
        remedy = ""
    return InputError(
        f"{rows} rows are fewer than lookback {lookback} + horizon {horizon}; give {lookback + horizon} rows{remedy}"
    )


def standardiser(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (channels,) of values (time, channels); 1 for a channel that does not change."""
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    return mean, np.where(deviation > 1e-12 * np.abs(mean), deviation, 1.0)


class DirectForecaster(BaseForecaster):
    """What the forecasters share. Not to be used itself; a subclass says `_train` and `_forecast`.

    All are direct (every step of the horizon at once, nothing fed back) and, unless a network is told to mix, channel
    independent (all columns of a multivariate series have the same weights). `update(update_params=False)` moves on to
    newer rows with the weights as they are; only intervals take note of the errors on them. Exogenous columns act as
    `forecasting.exogenous.Effect`; those of the steps forecast must be known. Intervals come from errors on held-out
    windows (`forecasting.intervals.Conformal`) unless a subclass knows better.
    """

    # The last rows are kept here (`history_`), so sktime need not remember them; its default of doing so is to change.
    _config: ClassVar[dict[str, Any]] = {"remember_data": False}
    _tags: ClassVar[dict[str, Any]] = {
        "capability:multivariate": True,
        "capability:exogenous": True,
        "capability:insample": False,
        "capability:missing_values": False,
        "capability:pred_int": True,
        "capability:pred_int:insample": False,
        "capability:update": True,
        "requires-fh-in-fit": True,
        "y_inner_mtype": "pd.DataFrame",
        "X_inner_mtype": "pd.DataFrame",
        "python_dependencies": "torch",
    }

    lookback: int | None
    validation: float = 0.2
    known_: Any  # exogenous columns of the rows of history_, or None
    fitted: ClassVar[tuple[str, ...]] = ("horizon_", "lookback_", "season_", "mean_", "scale_", "effect_", "conformal_")
    """What `_fit` learns, beside the history; see `forecasting.saved`."""

    def _ready(self) -> None:
        """End of every __init__."""
        super().__init__()
        self._y = self._X = (
            None  # sktime makes these only when it remembers, yet reads them if that is switched on later
        )

    # --- fitting ----------------------------------------------------------------------------------------------------

    def _fit(self, y: pd.DataFrame, X: pd.DataFrame | None, fh: ForecastingHorizon) -> "DirectForecaster":
        steps = fh.to_relative(self.cutoff).to_numpy().astype(int)
        if steps.min() < 1:
            raise NotImplementedError(
                f"{type(self).__name__} forecasts only steps after the series ends, not {steps.min()}"
            )
        for name in ("lookback", "max_epochs"):
            if (given := getattr(self, name, None)) is not None and given < 1:
                raise InputError(f"{name} is {given}; give at least 1")
        _check_regular(y.index)
        self.horizon_ = int(steps.max())
        self.history_ = y
        self.known_ = None if X is None else X.loc[y.index]
        self.first_ = 0  # steps from where the series that was fitted began to the first row of history_
        if (learned := self.__dict__.pop("_DirectForecaster__learned", None)) is not None:
            for name, value in learned.items():
                setattr(self, name, value)
            return self
        self.season_ = season(y)
        self.lookback_ = self._lookback(len(y), self.season_)
        values = y.to_numpy(np.float64)  # (time, channels)
        self.mean_, self.scale_ = standardiser(values)
        values = (values - self.mean_) / self.scale_
        self.effect_ = None
        if self.known_ is not None and len(y) >= self.lookback_ + self.horizon_:
            self.effect_ = Effect.fit(self.known_, values, self.lookback_, self.horizon_, self.season_, self.validation)
            if self.effect_ is not None:
                values = values - self.effect_(self.known_, np.arange(len(y)))
        first = self._train(values, self.season_)
        self.conformal_ = self._calibrate(values, first)
        return self

    def restore(
        self, learned: dict[str, Any], y: pd.DataFrame | pd.Series, X: pd.DataFrame | None, fh: Sequence[int]
    ) -> "DirectForecaster":
        """Fitted with what an earlier `fit` has `learned`, on the last rows `y` of what it saw: nothing is trained."""
        self.__learned = learned  # two underscores in the name let it outlive the reset with which sktime's fit begins
        return self.fit(y, X=X, fh=fh)

    def _lookback(self, rows: int, cycle: int) -> int:
        """Steps to look back on a series of `rows`. Raises InputError if not one window fits into them."""
        lookback = self.lookback or default_lookback(rows, self.horizon_, cycle)
        if rows < lookback + self.horizon_:
            raise too_short(rows, lookback, self.horizon_)
        return lookback

    def _train(self, values: np.ndarray, cycle: int) -> int:
        """Fit to `values` (time, channels), standardised.

        Returns the first of the last windows, those that `_backcast` has not seen; the number of all where none was
        held out.
        """
        raise NotImplementedError

    def _forecast(self, window: np.ndarray) -> np.ndarray:
        """(lookback, channels) -> (horizon, channels), both standardised."""
        return self._backcast(window[None])[0]

    def _backcast(self, windows: np.ndarray) -> np.ndarray:
        """(n, lookback, channels) -> (n, horizon, channels), by weights that have not seen the held-out windows."""
        raise NotImplementedError

    def _calibrate(self, values: np.ndarray, first: int) -> Conformal | None:
        """Conformal offsets from the windows of `values` (time, channels) from number `first` on; all if that is none.

        Where the series is too short for one whole window, shorter horizons are looked at, and the last step's errors
        stand for those after it; None where there is not even one error.
        """
        horizon = min(self.horizon_, len(values) - self.lookback_)
        if horizon < 1:
            return None
        count = len(values) - self.lookback_ - horizon + 1
        first = first if first < count else 0  # errors of the fit itself are too small, but all there is
        most = most_windows(self.horizon_ * values.shape[1])
        chosen = np.unique(np.linspace(first, count - 1, min(most, count - first)).astype(int))
        errors, windows = self._errors(values, chosen, horizon)
        stretches = (count - first) / self.horizon_
        return Conformal.fit(errors, windows, chosen + self.lookback_, self.season_, stretches)

    def _errors(self, values: np.ndarray, chosen: np.ndarray, horizon: int) -> tuple[np.ndarray, np.ndarray]:
        """Errors (n, horizon_, channels) on the `chosen` windows, and those windows (n, lookback, channels)."""
        view = training.windows(torch.from_numpy(values), self.lookback_, horizon).numpy()[chosen]
        windows = np.ascontiguousarray(view[:, : self.lookback_])
        errors = view[:, self.lookback_ :] - self._backcast(windows)[:, :horizon]
        missing = np.repeat(errors[:, -1:], self.horizon_ - horizon, axis=1)
        return np.concatenate([errors, missing], axis=1), windows

    def _update(self, y: pd.DataFrame, X: pd.DataFrame | None = None, update_params: bool = True) -> "DirectForecaster":
        """Move on to the rows of `y`; with update_params, fit anew to everything seen.

        Where `y` ends before the last row seen, the rows after it are forgotten: forecasts follow the newest of `y`.
        """
        try:
            return self._moved_on(y, X, update_params)
        except InputError:
            self._set_cutoff_from_y(self.history_)  # sktime has moved it already
            raise

    def _moved_on(self, y: pd.DataFrame, X: pd.DataFrame | None, update_params: bool) -> "DirectForecaster":
        columns = self.history_.columns
        if y.shape[1] == 1 and len(columns) == 1:
            y = y.set_axis(columns, axis=1)  # a series is the same whatever it is called
        elif set(y.columns) != set(columns):
            raise InputError(f"update has columns {list(y.columns)}, fit had {list(columns)}; give the same")
        before = len(self.history_)
        self.history_, self.known_ = self._joined(y[columns], X, update_params)
        if update_params:
            return self._fit(self.history_, self.known_, self.fh)
        if self.conformal_ is None:
            self.conformal_ = self._calibrate(self._values(len(self.history_)), 0)
        else:
            self._take_note(len(self.history_) - before)
        return self

    def _joined(
        self, y: pd.DataFrame, X: pd.DataFrame | None, update_params: bool
    ) -> tuple[pd.DataFrame, pd.DataFrame | None]:
        """The history up to the last row of `y`, and what is known of it. Raises InputError where they do not fit."""
        history, known = _appended(self.history_, y), self.known_
        if known is not None:
            if X is None:
                raise InputError("update needs X with the rows of y: the forecaster was fitted with exogenous columns")
            known = _appended(known, X.loc[y.index])
        _check_regular(history.index)
        if update_params and self.first_ != 0:
            raise InputError(
                "a saved forecaster holds only its last rows and cannot be fitted anew to them; give "
                "update_params=False, or fit it to all rows"
            )
        if len(history) < self.lookback_:
            raise InputError(
                f"update ends at {history.index[-1]}, and the forecaster holds {len(history)} rows up to there, fewer "
                f"than its lookback {self.lookback_}; give more rows"
            )
        return history, known

    def _take_note(self, rows: int) -> None:
        """Let the errors on windows that end in the last `rows` rows join those that intervals are made from."""
        assert self.conformal_ is not None
        rows = min(len(self.history_), rows + self.lookback_ + self.horizon_ - 1)
        count = rows - self.lookback_ - self.horizon_ + 1
        if count < 1:
            return
        chosen = np.arange(count)[-most_windows(self.horizon_ * self.history_.shape[1]) :]
        errors, windows = self._errors(self._values(rows), chosen, self.horizon_)
        phases = self.first_ + len(self.history_) - rows + chosen + self.lookback_
        self.conformal_ = self.conformal_.extended(errors, windows, phases)

    # --- forecasting ------------------------------------------------------------------------------------------------

    def _values(self, rows: int) -> np.ndarray:
        """The last rows of the series, (rows, channels), standardised, without exogenous effects."""
        values = (self.history_.to_numpy(np.float64)[-rows:] - self.mean_) / self.scale_
        if self.effect_ is None:
            return values
        end = self.first_ + len(self.history_)
        return values - self.effect_(self.known_.iloc[-len(values) :], np.arange(end - len(values), end))

    def _ahead(self, fh: ForecastingHorizon, X: pd.DataFrame | None) -> tuple[np.ndarray, pd.Index, np.ndarray | float]:
        """Steps (n,), their index, and the effect (n, channels) of what is known about them."""
        steps = fh.to_relative(self.cutoff).to_numpy().astype(int)
        index = fh.to_absolute_index(self.cutoff)
        if self.effect_ is None:
            return steps, index, 0.0
        if X is None:
            raise InputError("predict needs X at the steps forecast: the forecaster was fitted with exogenous columns")
        absent = index[~index.isin(X.index)]
        if len(absent):
            raise InputError(f"X has no row for {absent[0]}, which is forecast; give it for all {len(index)} steps")
        return steps, index, self.effect_(X.loc[index], self.first_ + len(self.history_) + steps - 1)

    def _predict(self, fh: ForecastingHorizon, X: pd.DataFrame | None) -> pd.DataFrame:
        steps, index, effect = self._ahead(fh, X)
        forecast = (self._forecast(self._values(self.lookback_))[steps - 1] + effect) * self.scale_ + self.mean_
        return pd.DataFrame(forecast, index=index, columns=self.history_.columns)

    def _predict_quantiles(
        self, fh: ForecastingHorizon, X: pd.DataFrame | None, alpha: Sequence[float]
    ) -> pd.DataFrame:
        steps, index, effect = self._ahead(fh, X)
        quantiles = self._quantiles(self._values(self.lookback_), alpha)[:, steps - 1]  # (alphas, steps, channels)
        quantiles = (quantiles + effect) * self.scale_ + self.mean_
        columns = self._get_columns(method="predict_quantiles", alpha=alpha)  # every channel with every alpha
        return pd.DataFrame(quantiles.transpose(1, 2, 0).reshape(len(steps), -1), index=index, columns=columns)

    def _quantiles(self, window: np.ndarray, alpha: Sequence[float]) -> np.ndarray:
        """(lookback, channels) -> (alphas, horizon, channels), both standardised."""
        forecast = self._forecast(window)
        if self.conformal_ is None:  # nothing is known of errors: only the median is not infinitely far away
            beyond = np.sign(np.asarray(alpha) - 0.5)[:, None, None] * np.inf
            return np.where(np.isnan(beyond), 0.0, beyond) + forecast
        return forecast + self.conformal_.offsets(alpha, window, self.first_ + len(self.history_))

    def _predict_proba(self, fh: ForecastingHorizon, X: pd.DataFrame | None, marginal: bool = True) -> Any:
        """With skpro, 99 equally likely values a step: the quantiles. Without, a Gaussian of the same quartiles."""
        try:
            from skpro.distributions.empirical import Empirical
        except ImportError:
            return super()._predict_proba(fh=fh, X=X, marginal=marginal)
        quantiles = self._predict_quantiles(fh, X, PROBABILITIES)
        names = self._get_columns()
        values = quantiles.to_numpy().reshape(len(quantiles), len(names), -1)  # (steps, channels, alphas)
        index = pd.MultiIndex.from_product([range(len(PROBABILITIES)), quantiles.index])
        samples = pd.DataFrame(values.transpose(2, 0, 1).reshape(-1, len(names)), index=index, columns=names)
        return Empirical(spl=samples, time_indep=False, index=quantiles.index, columns=pd.Index(names))


def _appended(history: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """`history` with `rows` after it, up to the last of them; where both have a time, the newer word counts."""
    joined = pd.concat([history, rows])
    return joined[~joined.index.duplicated(keep="last")].sort_index().loc[: rows.index[-1]]


def _check_regular(index: pd.Index) -> None:
    """Raise InputError, naming the first offending row, for times that do not follow one another by one frequency."""
    if isinstance(index, pd.PeriodIndex) and not index.is_full:
        row = int(np.flatnonzero(np.diff(index.asi8) != 1)[0]) + 1
        raise InputError(f"row {row} of the series, {index[row]}, does not follow {index[row - 1]}; fill the gap")
    if pd.api.types.is_integer_dtype(index) and (np.diff(index) != 1).any():
        row = int(np.flatnonzero(np.diff(index) != 1)[0]) + 1
        raise InputError(
            f"row {row} of the series has number {index[row]} after {index[row - 1]}; number rows by steps of 1"
        )
    if not isinstance(index, pd.DatetimeIndex) or index.freq is not None or len(index) < 3 or pd.infer_freq(index):
        return
    steps = index[1:] - index[:-1]
    usual = pd.Series(steps).mode().iloc[0]
    row = int(np.flatnonzero(steps != usual)[0]) + 1
    raise InputError(
        f"row {row} of the series, {index[row]}, comes {index[row] - index[row - 1]} after the one before, where "
        f"{usual} is usual; resample it to one frequency"
    )
