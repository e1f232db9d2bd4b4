"""The forecasters, as sktime estimators: CNN, LSTM and Transformer over one base, and the closed-form linear one.

All are direct (every step of the horizon at once, nothing fed back) and channel independent (all columns of a
multivariate series train the same weights).
"""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from sklearn.utils import check_random_state
from sktime.forecasting.base import BaseForecaster, ForecastingHorizon
from torch import nn

from forecasting import training
from forecasting.datasets import season
from forecasting.networks.cnn import CNN
from forecasting.networks.lstm import LSTM
from forecasting.networks.norm import Reversible
from forecasting.networks.transformer import Transformer
from lab.device import choose, threads
from lab.errors import InputError

LONGEST = 720  # steps an automatic lookback may reach back: beyond, trials on hourly data gained nothing


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


class DirectForecaster(BaseForecaster):
    """What the forecasters share: windows, scaling, history, and answers in sktime's form. Not to be used itself."""

    # The last rows are kept here (`history_`), so sktime need not remember them; its default of doing so is to change.
    _config: ClassVar[dict[str, Any]] = {"remember_data": False}
    _tags: ClassVar[dict[str, Any]] = {
        "capability:multivariate": True,
        "capability:exogenous": False,
        "capability:insample": False,
        "capability:missing_values": False,
        "capability:update": True,
        "requires-fh-in-fit": True,
        "y_inner_mtype": "pd.DataFrame",
        "python_dependencies": "torch",
    }

    lookback: int | None

    def _ready(self) -> None:
        """End of every __init__."""
        super().__init__()
        self._y = self._X = (
            None  # sktime makes these only when it remembers, yet reads them if that is switched on later
        )

    def _fit(self, y: pd.DataFrame, X: Any, fh: ForecastingHorizon) -> "DirectForecaster":
        steps = fh.to_relative(self.cutoff).to_numpy().astype(int)
        if steps.min() < 1:
            raise NotImplementedError(
                f"{type(self).__name__} forecasts only steps after the series ends, not {steps.min()}"
            )
        self.horizon_ = int(steps.max())
        self.history_ = y
        cycle = season(y)
        self.lookback_ = self._lookback(len(y), cycle)
        values = y.to_numpy(np.float64)  # (time, channels)
        self.mean_ = values.mean(axis=0)
        deviation = values.std(axis=0)
        self.scale_ = np.where(deviation > 1e-12 * np.abs(self.mean_), deviation, 1.0)  # a constant channel
        self._train((values - self.mean_) / self.scale_, cycle)
        return self

    def _lookback(self, rows: int, cycle: int) -> int:
        """Steps to look back on a series of `rows`. Raises InputError if not one window fits into them."""
        lookback = self.lookback or default_lookback(rows, self.horizon_, cycle)
        if rows < lookback + self.horizon_:
            raise InputError(
                f"{rows} rows are fewer than lookback {lookback} + horizon {self.horizon_}; "
                "give more rows, a shorter lookback or a shorter horizon"
            )
        return lookback

    def _train(self, values: np.ndarray, cycle: int) -> None:
        """Fit to `values` (time, channels), standardised."""
        raise NotImplementedError

    def _forecast(self, window: np.ndarray) -> np.ndarray:
        """(lookback, channels) -> (horizon, channels), both standardised."""
        raise NotImplementedError

    def _predict(self, fh: ForecastingHorizon, X: Any) -> pd.DataFrame:
        window = self.history_.to_numpy(np.float64)[-self.lookback_ :]
        forecast = self._forecast((window - self.mean_) / self.scale_) * self.scale_ + self.mean_
        steps = fh.to_relative(self.cutoff).to_numpy().astype(int)
        index = fh.to_absolute_index(self.cutoff)
        return pd.DataFrame(forecast[steps - 1], index=index, columns=self.history_.columns)

    def _update(self, y: pd.DataFrame, X: Any = None, update_params: bool = True) -> "DirectForecaster":
        """Move on to the rows of `y`; with update_params, fit anew to everything seen."""
        history = pd.concat([self.history_, y])
        self.history_ = history[~history.index.duplicated(keep="last")].sort_index()
        return self._fit(self.history_, X, self.fh) if update_params else self


class SeasonalNaiveForecaster(DirectForecaster):
    """The last season again and again: what every forecast is measured against.

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

    def __init__(self, lookback: int | None = None):
        self.lookback = lookback
        self._ready()

    def _lookback(self, rows: int, cycle: int) -> int:
        return self.lookback or min(cycle, rows)

    def _train(self, values: np.ndarray, cycle: int) -> None:
        pass  # the window that `predict` sees is all it knows

    def _forecast(self, window: np.ndarray) -> np.ndarray:
        return window[np.arange(self.horizon_) % len(window)]

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        return [{}, {"lookback": 3}]


class RidgeForecaster(DirectForecaster):
    """Ridge regression of the next steps on the window minus its last value, in closed form.

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

    def __init__(self, lookback: int | None = None, validation: float = 0.2):
        self.lookback = lookback
        self.validation = validation
        self._ready()

    def _train(self, values: np.ndarray, cycle: int) -> None:
        _, self.weights_, self.strength_ = training.fit_linear(values, self.lookback_, self.horizon_, self.validation)

    def _forecast(self, window: np.ndarray) -> np.ndarray:
        return self.weights_ @ (window - window[-1]) + window[-1]  # (horizon, lookback) @ (lookback, channels)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        return [{"lookback": 3}, {"validation": 0.0}]


class NetworkForecaster(DirectForecaster):
    """The base of the three networks; a subclass says only which network. Not to be used itself.

    Parameters
    ----------
    lookback : int or None
        Steps a forecast looks back; None chooses from the season and the number of rows.
    patch : int or None
        Steps that enter the network together; None takes a season where two fit into the lookback.
    width : int or None
        Features a patch; None takes the architecture's own default.
    dropout : float
    skip : bool
        Start from the closed-form linear forecast (frozen, fitted before validation) and learn what it misses.
    max_epochs, steps_per_epoch, patience, batch, learning_rate, weight_decay, validation
        See `forecasting.training.Plan`. Early stopping watches the last `validation` share of the training windows.
    random_state : int, numpy RandomState or None
        Of the first weights, the dropout and the order of windows. The same gives the same numbers on the same device.
    device : "auto", "cpu", "cuda", ...
    callback : function of (epoch, {"train_loss": ..., "validation_loss": ...}) or None
        Called after every epoch; losses are mean absolute errors in standard deviations of the training series.

    Attributes
    ----------
    network_ : the fitted module; losses_ : list with one dict an epoch; lookback_, patch_, horizon_ : int, in steps.
    """

    _tags: ClassVar[dict[str, Any]] = {"capability:random_state": True, "property:randomness": "derandomized"}
    network: ClassVar[Callable[..., nn.Module]]

    def __init__(
        self,
        lookback: int | None = None,
        patch: int | None = None,
        width: int | None = None,
        dropout: float = 0.3,
        skip: bool = False,
        max_epochs: int = 30,
        steps_per_epoch: int = 40,
        patience: int = 6,
        batch: int = 32,
        learning_rate: float = 2e-3,
        weight_decay: float = 1e-2,
        validation: float = 0.2,
        random_state: Any = None,
        device: str = "auto",
        callback: training.Report | None = None,
    ):
        self.lookback = lookback
        self.patch = patch
        self.width = width
        self.dropout = dropout
        self.skip = skip
        self.max_epochs = max_epochs
        self.steps_per_epoch = steps_per_epoch
        self.patience = patience
        self.batch = batch
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.validation = validation
        self.random_state = random_state
        self.device = device
        self.callback = callback
        self._ready()

    def _train(self, values: np.ndarray, cycle: int) -> None:
        device = choose(self.device)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        skip = None
        if self.skip:
            weights, _, _ = training.fit_linear(values, self.lookback_, self.horizon_, self.validation)
            skip = torch.from_numpy(weights).float()
        self.patch_ = min(self.patch or default_patch(self.lookback_, cycle), self.lookback_)
        plan = training.Plan(
            self.max_epochs, self.steps_per_epoch, self.patience, self.batch, self.learning_rate, self.weight_decay,
            self.validation,
        )  # fmt: skip
        # Weights and dropout draw from torch's global generators: seed them, and leave the caller's stream untouched.
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), threads(1):
            torch.manual_seed(seed)
            settings = (
                {"dropout": self.dropout} if self.width is None else {"dropout": self.dropout, "width": self.width}
            )
            core = type(self).network(self.lookback_, self.horizon_, self.patch_, **settings)
            self.network_ = Reversible(core, skip).to(device)
            series = torch.from_numpy(values).float().to(device)
            generator = torch.Generator().manual_seed(seed)
            self.losses_ = training.fit(
                self.network_, series, self.lookback_, self.horizon_, plan, generator, self.callback
            )

    def _forecast(self, window: np.ndarray) -> np.ndarray:
        device = next(self.network_.parameters()).device
        with torch.no_grad():
            return self.network_(torch.from_numpy(window).float().to(device)[None])[0].cpu().double().numpy()

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        tiny = {"width": 4, "max_epochs": 1, "steps_per_epoch": 1, "batch": 4, "random_state": 0, "device": "cpu"}
        return [{**tiny, "lookback": 3}, {**tiny, "patch": 2, "skip": False}]


class CNNForecaster(NetworkForecaster):
    """A 1D CNN on patches; parameters as `NetworkForecaster`.

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from forecasting.forecaster import CNNForecaster
    >>> forecaster = CNNForecaster(max_epochs=1, random_state=0)
    >>> forecaster.fit(load_airline(), fh=[1, 2, 3]).predict().shape
    (3,)
    """

    network = CNN


class LSTMForecaster(NetworkForecaster):
    """An LSTM over segments; parameters as `NetworkForecaster`.

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from forecasting.forecaster import LSTMForecaster
    >>> forecaster = LSTMForecaster(max_epochs=1, random_state=0)
    >>> forecaster.fit(load_airline(), fh=[1, 2, 3]).predict().shape
    (3,)
    """

    network = LSTM


class TransformerForecaster(NetworkForecaster):
    """A Transformer on patches; parameters as `NetworkForecaster`.

    Examples
    --------
    >>> from sktime.datasets import load_airline
    >>> from forecasting.forecaster import TransformerForecaster
    >>> forecaster = TransformerForecaster(max_epochs=1, random_state=0)
    >>> forecaster.fit(load_airline(), fh=[1, 2, 3]).predict().shape
    (3,)
    """

    network = Transformer
