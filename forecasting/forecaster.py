"""The network forecasters, as sktime estimators: CNN, LSTM and Transformer over one base (see `forecasting.base`)."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from sklearn.utils import check_random_state
from sktime.forecasting.base import ForecastingHorizon
from torch import Tensor, nn

from forecasting import training
from forecasting.base import DirectForecaster, default_lookback, default_patch
from forecasting.intervals import LEVELS, WINDOWS, Conformal, Heads, interpolate, pinball_loss
from forecasting.linear import RidgeForecaster, SeasonalNaiveForecaster
from forecasting.networks.cnn import CNN
from forecasting.networks.lstm import LSTM
from forecasting.networks.mixed import Mixed
from forecasting.networks.norm import Anchored, Reversible
from forecasting.networks.transformer import Transformer
from forecasting.pooled import pool
from lab.device import choose, threads
from lab.errors import InputError, unknown

__all__ = [
    "CNNForecaster", "DirectForecaster", "LSTMForecaster", "NetworkForecaster", "RidgeForecaster",
    "SeasonalNaiveForecaster", "TransformerForecaster", "default_lookback", "default_patch",
]  # fmt: skip

INTERVALS = ("conformal", "quantile", "dropout")
FINE_TUNING = 0.1  # learning rate of `fit` after `pretrain`, relative to that of pretraining
FEW = 20  # with fewer held-out windows of its own, a pretrained forecaster's intervals come from the panel's errors


class NetworkForecaster(DirectForecaster):
    """The base of the networks; a subclass says only which network. Not to be used itself.

    `pretrain` trains on a panel of series, each standardised by itself; `fit` on one series then goes on from those
    weights, and needs no more rows than the lookback.

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
    reversible : bool
        Reversible instance normalisation: each window is seen in its own units, and the forecast goes back to those of
        the series. Without it the level of a window tells too, which a lookback shorter than the season needs: of an
        hour of traffic, the level says whether it is night (`forecasting.networks.norm`).
    mix : bool
        Let the channels of a multivariate series see each other (`forecasting.networks.mixed`); a series of one channel
        is not changed by it. Not for `pretrain`, which takes every column for a series of its own.
    options : dict or None
        Further arguments of the architecture.
    intervals : "conformal", "quantile" or "dropout"
        Where intervals come from: errors on the windows held out for validation; one output per quantile, trained with
        the pinball loss (`forecasting.intervals.LEVELS`); or the spread of `passes` forecasts with dropout left on
        (Gal and Ghahramani 2016), which is the model's doubt alone, without the noise of the series.
    passes : int
        Forecasts with dropout.
    fine_tune : bool
        Whether `fit` after `pretrain` trains further where the series has held-out windows to stop by, with a tenth of
        the learning rate. If not, or without such windows, the weights stay as pretrained.
    max_epochs, steps_per_epoch, patience, batch, learning_rate, averaging, weight_decay, validation
        See `forecasting.training.Plan`. Early stopping watches the last `validation` share of the training windows.
        The running mean of the weights that `averaging` keeps is not led astray by one epoch that happens to validate
        well; on rows before the tests of nine series it and a patience of 10 (it was 6) had 1 % less error.
        steps_per_epoch None draws a quarter of the training windows an epoch, in 40 to 160 steps.
    random_state : int, numpy RandomState or None
        Of the first weights, the dropout and the order of windows. The same gives the same numbers on the same device.
    device : "auto", "cpu", "cuda", ...
    callback : function of (epoch, {"train_loss": ..., "validation_loss": ...}) or None
        Called after every epoch; losses are mean absolute errors in standard deviations of the training series (with
        quantile heads: mean pinball losses, doubled). To pickle the forecaster, give one that pickles.

    Attributes
    ----------
    network_ : the fitted module; losses_ : list with one dict an epoch; lookback_, patch_, horizon_ : int, in steps.
    """

    _tags: ClassVar[dict[str, Any]] = {
        "capability:random_state": True,
        "capability:pretrain": True,
        "pretrain:fitted_params": [
            "pretrained_network_", "pretrained_lookback_", "pretrained_horizon_", "pretrained_patch_",
            "pretrained_errors_",
        ],
        "property:randomness": "derandomized",
    }  # fmt: skip
    fitted: ClassVar[tuple[str, ...]] = (*DirectForecaster.fitted, "patch_", "seed_")
    network: ClassVar[Callable[..., nn.Module]]

    def __init__(
        self,
        lookback: int | None = None,
        patch: int | None = None,
        width: int | None = None,
        dropout: float = 0.1,
        skip: bool = False,
        reversible: bool = True,
        mix: bool = False,
        options: dict[str, Any] | None = None,
        intervals: str = "conformal",
        passes: int = 100,
        fine_tune: bool = True,
        max_epochs: int = 30,
        steps_per_epoch: int | None = None,
        patience: int = 10,
        batch: int = 32,
        learning_rate: float = 2e-3,
        averaging: float = 0.9,
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
        self.reversible = reversible
        self.mix = mix
        self.options = options
        self.intervals = intervals
        self.passes = passes
        self.fine_tune = fine_tune
        self.max_epochs = max_epochs
        self.steps_per_epoch = steps_per_epoch
        self.patience = patience
        self.batch = batch
        self.learning_rate = learning_rate
        self.averaging = averaging
        self.weight_decay = weight_decay
        self.validation = validation
        self.random_state = random_state
        self.device = device
        self.callback = callback
        self._ready()

    # --- training ---------------------------------------------------------------------------------------------------

    def _train(self, values: np.ndarray, cycle: int) -> int:
        self.seed_ = int(check_random_state(self.random_state).randint(2**31 - 1))
        count = max(0, len(values) - self.lookback_ - self.horizon_ + 1)
        last, first = training.split(count, self.horizon_, self.validation) if count else (0, 0)
        pretrained = getattr(self, "pretrained_network_", None)
        if pretrained is None:
            self.patch_ = min(self.patch or default_patch(self.lookback_, cycle), self.lookback_)
            linear = None
            if self.skip:
                linear, _, _ = training.fit_linear(values, self.lookback_, self.horizon_, self.validation)
            self.network_ = self._seeded(self.build, linear, values.shape[1])
            self._begin(self.network_, values, np.arange(last))
        else:
            self._check_alone(values.shape[1])
            self.patch_ = self.pretrained_patch_
            self.network_ = copy.deepcopy(pretrained)
        self.losses_ = []
        if pretrained is None or (self.fine_tune and first < count):
            rate = self.learning_rate * (1.0 if pretrained is None else FINE_TUNING)
            starts = torch.arange(last), torch.arange(first, count)
            self.losses_ = self._seeded(self._run, self.network_, values, starts, rate)
        return first

    def build(self, linear: np.ndarray | None = None, channels: int = 1) -> Reversible:
        """The network as it is before training, on its device; linear: weights (horizon, lookback) of the skip."""
        options = {"dropout": self.dropout, **(self.options or {})}
        if self.width is not None:
            options["width"] = self.width
        heads = len(LEVELS) if self._checked() == "quantile" else 1
        core = type(self).network(self.lookback_, self.horizon_ * heads, self.patch_, **options)
        if self.mix and channels > 1:
            core = Mixed(core, channels, dropout=self.dropout)
        if heads > 1:
            core = Heads(core, self.horizon_ * heads)
        skip = None if linear is None else torch.from_numpy(linear).float().repeat(heads, 1)
        return (Reversible if self.reversible else Anchored)(core, skip).to(choose(self.device))

    @torch.no_grad()
    def _begin(self, network: Reversible, values: np.ndarray, starts: np.ndarray) -> None:
        """Let quantile heads start at the quantiles of what the untrained network misses, from windows at `starts`."""
        if not isinstance(network.core, Heads):
            return
        chosen = starts[np.unique(np.linspace(0, len(starts) - 1, min(WINDOWS, len(starts))).astype(int))]
        view = training.windows(torch.from_numpy(values).float(), self.lookback_, self.horizon_)
        rows = view[torch.from_numpy(chosen)].to(choose(self.device))
        network.eval()
        missed = rows[:, self.lookback_ :] - network(rows[:, : self.lookback_])[:, : self.horizon_]
        network.core.begin(missed / network.scaled(rows[:, : self.lookback_])[2])

    def _run(
        self, network: nn.Module, values: np.ndarray, starts: tuple[Tensor, Tensor], rate: float
    ) -> list[dict[str, float]]:
        quarter = len(starts[0]) * values.shape[1] // (4 * self.batch)  # of all windows, in steps
        plan = training.Plan(
            max_epochs=self.max_epochs, steps_per_epoch=self.steps_per_epoch or min(160, max(40, quarter)),
            patience=self.patience, batch=self.batch, learning_rate=rate, averaging=self.averaging,
            weight_decay=self.weight_decay, validation=self.validation, joint=self.mix,
        )  # fmt: skip
        measure = pinball_loss if self.intervals == "quantile" else training.absolute
        return training.fit(
            network, torch.from_numpy(values).float().to(choose(self.device)), self.lookback_, self.horizon_, plan,
            torch.Generator().manual_seed(self.seed_), self.callback, measure, starts,
        )  # fmt: skip

    def _seeded(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call it with torch's global generators seeded, which weights and dropout draw from; the caller's are left
        as they were."""
        device = choose(self.device)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), threads(1):
            torch.manual_seed(self.seed_)
            return function(*arguments)

    def _checked(self) -> str:
        if self.intervals not in INTERVALS:
            raise unknown("kind of intervals", str(self.intervals), INTERVALS)
        if self.intervals == "dropout" and not self.dropout > 0:
            raise InputError(f"intervals by dropout need dropout, which is {self.dropout}; give .1 or so")
        return self.intervals

    # --- pretraining ------------------------------------------------------------------------------------------------

    def _pretrain(
        self, y: pd.DataFrame, X: pd.DataFrame | None = None, fh: ForecastingHorizon | None = None
    ) -> "NetworkForecaster":
        """Train on a panel (levels of the index but the last name a series; every column is a series of its own).

        Called again, it goes on with the network that is there. sktime refuses X before it comes here: an exogenous
        column acts on one series, and belongs to `fit`.
        """
        self._check_alone(y.shape[1])
        if fh is not None and not fh.is_relative:
            raise InputError("pretrain needs a relative horizon (steps ahead, such as [1, 2, 3])")
        known = getattr(self, "pretrained_horizon_", None)
        horizon = known if fh is None else int(max(fh.to_numpy()))
        if horizon is None:
            raise InputError("pretrain needs fh, the steps ahead that the network is to forecast")
        if known is not None and horizon != known:
            raise InputError(f"the network was pretrained for {known} steps, not {horizon}; take a new forecaster")
        series = pool(y, horizon, getattr(self, "pretrained_lookback_", None) or self.lookback, self.validation)
        self.lookback_, self.horizon_ = series.lookback, horizon
        self.seed_ = int(check_random_state(self.random_state).randint(2**31 - 1))
        if known is None:
            patch = min(self.patch or default_patch(series.lookback, series.season), series.lookback)
            self.patch_ = patch
            linear = series.linear(horizon) if self.skip else None
            self.pretrained_network_ = self._seeded(self.build, linear)
            self._begin(self.pretrained_network_, series.values, series.starts[0].numpy())
            self.pretrained_lookback_, self.pretrained_horizon_ = series.lookback, horizon
            self.pretrained_patch_ = patch
        self.network_ = self.pretrained_network_
        self._seeded(self._run, self.network_, series.values, series.starts, self.learning_rate)
        windows, truth = series.held_out(horizon)
        self.pretrained_errors_ = windows, truth - self._backcast(windows)
        for name in ("lookback_", "horizon_", "patch_", "seed_", "network_"):  # those are of `fit`
            self.__dict__.pop(name, None)
        return self

    def _check_alone(self, channels: int) -> None:
        if self.mix and channels > 1:
            raise InputError("pretraining takes every column for a series of its own; give mix=False")

    def _lookback(self, rows: int, cycle: int) -> int:
        if not hasattr(self, "pretrained_network_"):
            return super()._lookback(rows, cycle)
        if self.horizon_ > self.pretrained_horizon_:
            raise InputError(
                f"the network was pretrained for {self.pretrained_horizon_} steps and cannot forecast {self.horizon_}"
            )
        self.horizon_ = self.pretrained_horizon_
        if rows < self.pretrained_lookback_:
            raise InputError(
                f"{rows} rows are fewer than the {self.pretrained_lookback_} that the pretrained network looks back"
            )
        return self.pretrained_lookback_

    def _calibrate(self, values: np.ndarray, first: int) -> Conformal | None:
        if self.intervals != "conformal":
            return None
        own = len(values) - self.lookback_ - self.horizon_ + 1 - first
        if own >= FEW or not hasattr(self, "pretrained_errors_"):
            return super()._calibrate(values, first)
        windows, errors = (np.repeat(each, values.shape[1], axis=2) for each in self.pretrained_errors_)
        return Conformal.fit(errors, windows, np.zeros(len(windows), int), 1, len(windows))

    # --- forecasting ------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _outputs(self, windows: np.ndarray, batch: int = 256) -> np.ndarray:
        """(n, lookback, channels) -> (n, heads * horizon, channels)."""
        device = next(self.network_.parameters()).device
        parts = torch.from_numpy(windows).float().split(batch)
        return torch.cat([self.network_(part.to(device)).cpu() for part in parts]).double().numpy()

    def _backcast(self, windows: np.ndarray) -> np.ndarray:
        """(n, lookback, channels) -> (n, horizon, channels): with quantile heads the median."""
        middle = LEVELS.index(0.5) * self.horizon_ if self.intervals == "quantile" else 0
        with threads(1):
            return self._outputs(windows)[:, middle : middle + self.horizon_]

    def _quantiles(self, window: np.ndarray, alpha: Sequence[float]) -> np.ndarray:
        if self.intervals == "quantile":
            heads = self._outputs(window[None])[0]
            return interpolate(heads.reshape(len(LEVELS), self.horizon_, -1), alpha)
        if self.intervals == "dropout":
            with _dropout(self.network_):
                draws = self._seeded(self._outputs, np.repeat(window[None], self.passes, axis=0))
            return np.quantile(draws, alpha, axis=0)
        return super()._quantiles(window, alpha)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        tiny = {"width": 4, "max_epochs": 1, "steps_per_epoch": 1, "batch": 4, "random_state": 0, "device": "cpu"}
        return [
            {**tiny, "lookback": 3},
            {**tiny, "patch": 2, "intervals": "quantile", "reversible": False},
            {**tiny, "lookback": 4, "intervals": "dropout", "passes": 5, "skip": True},
        ]


@contextmanager
def _dropout(network: nn.Module) -> Iterator[None]:
    """Dropout as in training, all else as in use: batch normalisation keeps its averages."""
    network.train()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
    try:
        yield
    finally:
        network.eval()


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
