"""The rolling-origin comparison of forecasters on one series: a table, every forecast, and a figure of them.

Origins follow one another by one horizon and end with the series; each model sees only what lies before an origin.
Networks and the linear model are fitted once, before the first origin, and only shown the newer rows at the later ones;
the statistical models, which are cheap and made for it, are fitted anew at every origin.
"""

import importlib.util
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from forecasting.datasets import season
from forecasting.forecaster import (
    CNNForecaster,
    LSTMForecaster,
    RidgeForecaster,
    SeasonalNaiveForecaster,
    TransformerForecaster,
    default_lookback,
)  # fmt: skip
from lab import console, plots
from lab.errors import InputError, unknown
from lab.run import Run

# --- models ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """What a model is made from."""

    season: int
    lookback: int
    max_epochs: int
    seed: int
    device: str
    callback: Callable[[int, dict[str, float]], None] | None = None


@dataclass(frozen=True)
class Model:
    """How to make a forecaster; whether it is fitted anew at every origin; what it needs installed."""

    make: Callable[[Setting], Any]
    refit: bool = False
    needs: str | None = None


def _network(kind: type) -> Model:
    def make(setting: Setting) -> Any:
        return kind(
            lookback=setting.lookback, max_epochs=setting.max_epochs, random_state=setting.seed, device=setting.device,
            callback=setting.callback,
        )  # fmt: skip

    return Model(make)


def _naive(seasons: int) -> Model:
    return Model(lambda setting: SeasonalNaiveForecaster(lookback=seasons * setting.season))


def _theta(setting: Setting) -> Any:
    from sktime.forecasting.theta import ThetaForecaster

    return ThetaForecaster(sp=setting.season, deseasonalize=setting.season > 1)


def _ets(setting: Setting) -> Any:
    from sktime.forecasting.exp_smoothing import ExponentialSmoothing

    seasonal = "add" if setting.season > 1 else None
    return ExponentialSmoothing(trend="add", damped_trend=True, seasonal=seasonal, sp=setting.season)


MODELS: dict[str, Model] = {
    "seasonal-naive": _naive(1),
    "weekly-naive": _naive(7),  # of series that have a day as their season
    "linear": Model(lambda setting: RidgeForecaster(lookback=setting.lookback)),
    "cnn": _network(CNNForecaster),
    "lstm": _network(LSTMForecaster),
    "transformer": _network(TransformerForecaster),
    "theta": Model(_theta, refit=True, needs="statsmodels"),
    "ets": Model(_ets, refit=True, needs="statsmodels"),
}

DEFAULT = ("seasonal-naive", "linear", "cnn", "lstm", "transformer")


def check_models(names: Sequence[str]) -> None:
    """Raise InputError for a name that is no model, or one whose library is not installed."""
    if not names:
        raise InputError(f"no model to compare; name some of {', '.join(MODELS)}")
    for name in names:
        if name not in MODELS:
            raise unknown("model", name, MODELS)
        needs = MODELS[name].needs
        if needs and importlib.util.find_spec(needs) is None:
            raise InputError(f"model {name!r} needs {needs}; pip install rl-timeseries-lab[stats]")


# --- measures -------------------------------------------------------------------------------------------------------


def mae(truth: np.ndarray, forecast: np.ndarray) -> float:
    """Mean absolute error, in the series' unit."""
    return float(np.abs(truth - forecast).mean())


def smape(truth: np.ndarray, forecast: np.ndarray) -> float:
    """Symmetric mean absolute percentage error, in percent, 0 to 200 (M4's); 0 where both are 0."""
    size = np.abs(truth) + np.abs(forecast)
    return float(200 * np.divide(np.abs(truth - forecast), size, out=np.zeros(len(size)), where=size > 0).mean())


def mase(truth: np.ndarray, forecast: np.ndarray, history: np.ndarray, cycle: int) -> float:
    """Mean absolute error over that of the seasonal naive within `history` (Hyndman and Koehler 2006, equation 10).

    NaN where `history` repeats itself exactly, and so gives no scale.
    """
    scale = float(np.abs(history[cycle:] - history[:-cycle]).mean())
    return mae(truth, forecast) / scale if scale > 0 else float("nan")


# --- comparison -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settled:
    """A comparison that can be made, with everything chosen that was left open."""

    models: tuple[str, ...]
    season: int
    origins: int
    """Horizons held out at the end, one after the other."""
    start: int
    """Rows before the first of them: all that the first fit sees."""
    lookback: int


def settle(
    series: pd.Series, horizon: int, models: Sequence[str] | None = None, lookback: int | None = None,
    max_epochs: int = 30, origins: int | None = None,
) -> Settled:  # fmt: skip
    """Check what `compare` is asked for and choose what is left open; `compare` documents the arguments."""
    if horizon < 1:
        raise InputError(f"horizon {horizon} makes no forecast; give 1 step or more")
    if lookback is not None and lookback < 1:
        raise InputError(f"lookback {lookback} sees nothing; give 1 step or more")
    if max_epochs < 1:
        raise InputError(f"max-epochs {max_epochs} trains nothing; give 1 or more")
    if origins is not None and origins < 1:
        raise InputError(f"origins {origins} holds nothing out; give 1 or more")
    held_out = origins or int(np.clip(len(series) // 4 // horizon, 1, 7))
    start = len(series) - held_out * horizon  # rows that the first fit sees
    names = _names(series, models, start, horizon)
    cycle = _usable_season(series, start, horizon)
    _check_spread(series)
    lookback = lookback or max(1, default_lookback(start, horizon, cycle))
    _check_length(series, start, lookback, horizon, held_out)
    return Settled(names, cycle, held_out, start, lookback)


def compare(
    series: pd.Series, horizon: int, run: Run, models: Sequence[str] | None = None, lookback: int | None = None,
    max_epochs: int = 30, seed: int = 0, device: str = "auto", origins: int | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Compare forecasters on the end of `series`, and forecast what follows it.

    horizon, lookback: in steps; lookback None chooses from season and length. models: names out of MODELS, to which
    seasonal-naive is always added; None compares DEFAULT, with weekly-naive where the season is a day. origins: how
    many horizons at the end are held out, one after the other; None takes up to seven, of at most a quarter of the
    series.

    Returns one row a model, best first: model, MASE, sMAPE (percent), MAE (the series' unit), means over origins;
    seconds (fitting and forecasting), epochs and weights (0 for models without). Writes to `run`: leaderboard.csv
    (that table), forecast.csv (model, origin, time, forecast, truth; the last origin is the end of the series, where
    truth is empty), the figure forecast/comparison and a scalar an epoch under forecast/MODEL/.
    Raises InputError for a series too short, an unknown model, a setting that makes no sense, and a model that fails.
    """
    settled = settle(series, horizon, models, lookback, max_epochs, origins)
    cycle, held_out, start = settled.season, settled.origins, settled.start
    rows, forecasts = [], []
    with console.bar("forecast", len(settled.models) * (held_out + 1), "forecasts") as advance:
        for name in settled.models:
            began = time.monotonic()
            setting = Setting(cycle, settled.lookback, max_epochs, seed, device, _reporter(run, name))
            with _blamed(name, series):
                rolled = _roll(MODELS[name], setting, series, horizon, start)
                for origin, (made, forecaster) in enumerate(rolled):  # noqa: B007
                    forecasts.append(_rows(name, start + origin * horizon, made, series))
                    advance(note=name)
            rows.append(
                _score(name, forecasts[-held_out - 1 : -1], series, cycle, time.monotonic() - began, forecaster)
            )
    table = pd.DataFrame(rows).sort_values(["MASE", "MAE"], ignore_index=True)
    if table["MASE"].isna().any():  # of all models, then: the scale is the series' own
        warnings.warn(
            f"series {series.name!r} repeats itself exactly before an origin, so MASE has no scale and is nan; "
            "models are ranked by MAE", stacklevel=2,
        )  # fmt: skip
    made = pd.concat(forecasts, ignore_index=True)
    run.table("leaderboard", table)
    run.table("forecast", made.drop(columns="row"))
    run.figure("forecast/comparison", _figure(series, made, table, cycle, horizon, held_out))
    return table


def _figure(
    series: pd.Series, made: pd.DataFrame, table: pd.DataFrame, cycle: int, horizon: int, held_out: int
) -> Figure:
    shown = series.to_timestamp() if isinstance(series.index, pd.PeriodIndex) else series
    last = made[made["row"].ge(len(series) - horizon) & made["truth"].notna()]
    forecasts = {str(name): rows["forecast"].to_numpy() for name, rows in last.groupby("model")}
    scores = dict(zip(table["model"], table["MASE"], strict=True))
    before = max(horizon, 2 * cycle if cycle > 1 else 3 * horizon)
    history = shown.iloc[-horizon - before : len(shown) - horizon + 1]  # one step more: the lines meet
    return plots.forecast_comparison(history, shown.iloc[-horizon:], forecasts, scores, str(series.name), held_out)


def _names(series: pd.Series, models: Sequence[str] | None, start: int, horizon: int) -> tuple[str, ...]:
    """The models to compare, seasonal-naive always among them; `models` None: DEFAULT, and weekly-naive if it fits."""
    daily, needed = _season_is_a_day(series), 7 * season(series) + horizon
    if models is None:
        weekly = daily and start >= needed and len(series) >= 28 * season(series)
        return (DEFAULT[0], "weekly-naive", *DEFAULT[1:]) if weekly else DEFAULT
    check_models(models)
    names = tuple(dict.fromkeys((DEFAULT[0], *models)))
    if "weekly-naive" in names and not daily:
        raise InputError(
            f"model 'weekly-naive' needs a series with several values a day; {series.name!r} has not; leave it out"
        )
    if "weekly-naive" in names and start < needed:
        raise InputError(
            f"model 'weekly-naive' needs {needed} rows before the first origin, {series.name!r} has {start}; "
            "leave it out, or give fewer --origins"
        )
    return names


def _season_is_a_day(series: pd.Series) -> bool:
    index = series.index
    return isinstance(index, pd.DatetimeIndex) and season(series) * (index[1] - index[0]) == pd.Timedelta(days=1)


def _usable_season(series: pd.Series, start: int, horizon: int) -> int:
    """The season, or 1 where the `start` rows of the first fit hold fewer than three, or not one and a horizon."""
    cycle = season(series)
    return cycle if start >= max(3 * cycle, cycle + horizon) else 1


def _check_spread(series: pd.Series) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        spread = series.to_numpy(np.float64).std()
    if not np.isfinite(spread):
        raise InputError(
            f"series {series.name!r} has missing values, or some too large to square; fill them, or take a larger unit"
        )


def _check_length(series: pd.Series, start: int, lookback: int, horizon: int, held_out: int) -> None:
    needed = lookback + horizon
    if start < needed:
        place = series.attrs.get("file", f"series {series.name!r}")
        last = f" (the last is row {len(series) + 1})" if "file" in series.attrs else ""
        raise InputError(
            f"{place}, column {series.name!r}: {len(series)} rows{last} are fewer than lookback {lookback} + horizon "
            f"{horizon} + {held_out * horizon} held out = {needed + held_out * horizon}; "
            "give more rows, or a smaller --horizon or --lookback"
        )


def _roll(
    model: Model, setting: Setting, series: pd.Series, horizon: int, start: int
) -> Iterator[tuple[pd.Series, Any]]:
    """(forecast, forecaster) at `start`, and a horizon later, and so on; the last is at the end of the series."""
    steps = list(range(1, horizon + 1))
    with _quiet():
        forecaster = model.make(setting)
        for origin in range(start, len(series) + 1, horizon):
            if origin == start:
                forecaster.fit(series.iloc[:origin], fh=steps)
            elif model.refit:
                forecaster = model.make(setting).fit(series.iloc[:origin], fh=steps)
            else:
                forecaster.update(series.iloc[origin - horizon : origin], update_params=False)
            yield forecaster.predict(), forecaster


@contextmanager
def _blamed(name: str, series: pd.Series) -> Iterator[None]:
    """What goes wrong inside becomes an InputError that names the model; the cause stays chained to it."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"model {name!r} fails on series {series.name!r} ({reason}); leave it out") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the announcements of sktime's own forecasters (of a default to change) and of statsmodels (convergence).

    Filters alone do not do it: sktime sets some of its own at run time, which come before ours. So all are caught, and
    the others said afterwards.
    """
    known = ("The default of config ``remember_data``", "Optimization failed to converge")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        if not str(warning.message).startswith(known):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _reporter(run: Run, name: str) -> Callable[[int, dict[str, float]], None]:
    return lambda epoch, losses: run.scalars(
        {f"forecast/{name}/{tag}": loss for tag, loss in losses.items()}, epoch + 1
    )


def _rows(name: str, origin: int, made: pd.Series, series: pd.Series) -> pd.DataFrame:
    """A forecast in long form; `row` counts from the start of the series, truth is NaN beyond its end."""
    truth = np.full(len(made), np.nan)
    known = series.to_numpy()[origin : origin + len(made)]
    truth[: len(known)] = known
    return pd.DataFrame({
        "model": name, "origin": str(series.index[origin - 1]), "time": made.index.astype(str),
        "forecast": made.to_numpy(), "truth": truth, "row": np.arange(origin, origin + len(made)),
    })  # fmt: skip


def _score(
    name: str, forecasts: Sequence[pd.DataFrame], series: pd.Series, cycle: int, seconds: float, forecaster: Any
) -> dict[str, Any]:
    values = series.to_numpy()
    pairs = [
        (frame["truth"].to_numpy(), frame["forecast"].to_numpy(), values[: frame["row"].iloc[0]]) for frame in forecasts
    ]
    network: torch.nn.Module | None = getattr(forecaster, "network_", None)
    return {
        "model": name,
        "MASE": float(np.mean([mase(truth, made, history, cycle) for truth, made, history in pairs])),
        "sMAPE": float(np.mean([smape(truth, made) for truth, made, _ in pairs])),
        "MAE": float(np.mean([mae(truth, made) for truth, made, _ in pairs])),
        "seconds": round(seconds, 2),
        "epochs": len(getattr(forecaster, "losses_", ())),
        "weights": sum(p.numel() for p in network.parameters()) if network is not None else 0,
        "origins": len(forecasts),
    }
