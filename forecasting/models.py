"""The models that `lab forecast` compares: how each is made, and whether it is fitted anew at every origin."""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from forecasting.forecaster import (
    CNNForecaster,
    LSTMForecaster,
    RidgeForecaster,
    SeasonalNaiveForecaster,
    TransformerForecaster,
)  # fmt: skip
from lab.errors import InputError, unknown


@dataclass(frozen=True)
class Setting:
    """What a model is made from."""

    season: int
    lookback: int | None
    """None: each forecaster's own choice."""
    max_epochs: int
    seed: int
    device: str
    intervals: str = "conformal"
    positive: bool = True
    """Whether every value is above 0, as multiplicative seasons need."""
    callback: Callable[[int, dict[str, float]], None] | None = None


@dataclass(frozen=True)
class Model:
    """How to make a forecaster, and how it is used."""

    make: Callable[[Setting], Any]
    refit: bool = False
    """Whether it is fitted anew at every origin."""
    needs: str | None = None
    """What it needs installed, ..."""
    extra: str = "stats"
    """... and the extra of this package that installs it."""
    rows: int | None = None
    """The newest rows that it is fitted to, where more would take too long."""
    seeded: bool = False
    """Whether another seed gives another forecast."""


def _network(kind: type) -> Model:
    def make(setting: Setting) -> Any:
        return kind(
            lookback=setting.lookback, max_epochs=setting.max_epochs, random_state=setting.seed, device=setting.device,
            intervals=setting.intervals, callback=setting.callback,
        )  # fmt: skip

    return Model(make, seeded=True)


def _naive(seasons: int) -> Model:
    return Model(lambda setting: SeasonalNaiveForecaster(lookback=seasons * setting.season))


def _theta(setting: Setting) -> Any:
    from sktime.forecasting.theta import ThetaForecaster

    return ThetaForecaster(
        sp=setting.season, deseasonalize=setting.season > 1,
        deseasonalize_model="multiplicative" if setting.positive else "additive",
    )  # fmt: skip


def _ets(setting: Setting) -> Any:
    from sktime.forecasting.ets import AutoETS

    seasonal = "add" if setting.season > 1 else None
    return AutoETS(auto=False, trend="add", damped_trend=True, seasonal=seasonal, sp=setting.season)


def _autoarima(setting: Setting) -> Any:
    from forecasting.nixtla import AutoARIMA

    return AutoARIMA(setting)


def _neural(kind: str) -> Model:
    def make(setting: Setting) -> Any:
        from forecasting.nixtla import NeuralPeer

        return NeuralPeer(kind, setting)

    return Model(make, needs="neuralforecast", extra="nixtla", seeded=True)


MODELS: dict[str, Model] = {
    "seasonal-naive": _naive(1),
    "weekly-naive": _naive(7),  # of series that have a day as their season
    "linear": Model(lambda setting: RidgeForecaster(lookback=setting.lookback)),
    "cnn": _network(CNNForecaster),
    "lstm": _network(LSTMForecaster),
    "transformer": _network(TransformerForecaster),
    "theta": Model(_theta, refit=True, needs="statsmodels"),
    "ets": Model(_ets, refit=True, needs="statsmodels", rows=1_000),
    "autoarima": Model(_autoarima, refit=True, needs="statsforecast", extra="nixtla", rows=1_000),
    "nhits": _neural("NHITS"),
    "patchtst": _neural("PatchTST"),
}

DEFAULT = ("seasonal-naive", "linear", "cnn", "lstm", "transformer")


def check_models(names: Sequence[str]) -> None:
    """Raise InputError for a name that is no model, or one whose library is not installed."""
    if not names:
        raise InputError(f"no model to compare; name some of {', '.join(MODELS)}")
    for name in names:
        if name not in MODELS:
            raise unknown("model", name, MODELS)
        if not is_installed(name):
            raise InputError(
                f"model {name!r} needs {MODELS[name].needs}; pip install 'rl-timeseries-lab[{MODELS[name].extra}]'"
            )


def is_installed(name: str) -> bool:
    """Whether the library that a model needs is there."""
    needs = MODELS[name].needs
    return needs is None or importlib.util.find_spec(needs) is not None
