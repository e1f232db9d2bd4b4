"""The rolling-origin comparison of forecasters on one series, and the forecast of what follows it.

Origins follow one another by one horizon and end with the series; each model sees only what lies before an origin.
Networks and the linear model are fitted once, before the first origin, and only shown the newer rows at the later ones,
so that what is saved is what was measured; the statistical models, which are cheap and made for it, are fitted anew at
every origin.
"""

import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from forecasting import clocks, insight, page, saved
from forecasting.base import DirectForecaster, default_lookback
from forecasting.datasets import season
from forecasting.intervals import coverage
from forecasting.measures import mae, mase, smape
from forecasting.models import DEFAULT, MODELS, Model, Setting, check_models
from lab import console
from lab.errors import InputError
from lab.jsonfile import write_json
from lab.run import Run

__all__ = ["DEFAULT", "MODELS", "Settled", "check_models", "compare", "mae", "mase", "settle", "smape"]

MODEL_FOLDER, SERIES_FILE = "models", "series.json"
SHOWN = (1, 4, 16)  # epochs after which a network's forecasts are drawn


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
    max_epochs: int = 30, origins: int | None = None, known: pd.DataFrame | None = None, nominal: float = 0.9,
) -> Settled:  # fmt: skip
    """Check what `compare` is asked for and choose what is left open; `compare` documents the arguments."""
    if horizon < 1:
        raise InputError(f"horizon {horizon} makes no forecast; give 1 step or more")
    if lookback is not None and lookback < 1:
        raise InputError(f"lookback {lookback} sees nothing; give 1 step or more")
    if max_epochs < 1:
        raise InputError(f"max-epochs {max_epochs} trains nothing; give 1 or more")
    if origins is not None and origins < 1:
        raise InputError(f"backtest {origins} holds nothing out; give 1 or more")
    if not 0 < nominal < 1:
        raise InputError(f"coverage {nominal} is no share of the values; give one between 0 and 1, such as 0.9")
    held_out = origins or int(np.clip(len(series) // 4 // horizon, 1, 7))
    start = len(series) - held_out * horizon  # rows that the first fit sees
    names = _names(series, models, start, horizon)
    cycle = _usable_season(series, start, horizon)
    _check_spread(series)
    _check_known(series, known, horizon)
    spare = 2 * clocks.Clocks.of(series).skipped  # on the clocks a horizon may be longer, and the rows before it fewer
    lookback = lookback or max(1, default_lookback(start - spare, horizon, cycle))
    _check_length(series, start, lookback, horizon, held_out, spare)
    return Settled(names, cycle, held_out, start, lookback)


def compare(
    series: pd.Series, horizon: int, run: Run, models: Sequence[str] | None = None, lookback: int | None = None,
    max_epochs: int = 30, seed: int = 0, device: str = "auto", origins: int | None = None,
    known: pd.DataFrame | None = None, intervals: str = "conformal", nominal: float = 0.9,
) -> pd.DataFrame:  # fmt: skip
    """Compare forecasters on the end of `series`, and forecast what follows it, with intervals.

    horizon, lookback: in steps; lookback None chooses from season and length. models: names out of MODELS, to which
    seasonal-naive is always added; None compares DEFAULT, with weekly-naive where the season is a day. origins: how
    many horizons at the end are held out, one after the other; None takes up to seven, of at most a quarter of the
    series. known: columns known ahead, on the times of the series and of the horizon after it. intervals: of the
    networks, see `NetworkForecaster`. nominal: share of the values that the intervals are to cover.

    Returns one row a model, the naive ones first, then best first: model, MASE, sMAPE (percent), MAE (the series'
    unit), means over origins; better (origins at which its MAE is below that of the best naive model); coverage (share
    of the held-out values within the intervals), seconds (fitting and forecasting), epochs and parameters (0 for models
    without). Writes to `run`: leaderboard.csv (that table),
    forecast.csv (time, model, forecast, lower, upper after the end of the series), backtest.csv (the same before it,
    with origin and truth), both as figures and as the page forecast.html, the fitted models, what they look at as
    figures, and under forecast/MODEL/ scalars an epoch, and figures of the validation part after some. Raises
    InputError for a series too short, an unknown model, a setting that makes no sense, and a model that fails.
    """
    settled = settle(series, horizon, models, lookback, max_epochs, origins, known, nominal)
    held_out, start = settled.origins, settled.start
    rows, made, fitted = [], [], {}
    with console.bar("forecast", len(settled.models) * (held_out + 1), "forecasts") as advance:
        for name in settled.models:
            began = time.monotonic()
            watch = _Watch(run, name)
            setting = Setting(
                settled.season, settled.lookback, max_epochs, seed, device, intervals,
                bool((series > 0).all()), watch,
            )  # fmt: skip
            forecasts = []
            with _blamed(name, series):
                with _quiet():
                    watch.forecaster = MODELS[name].make(setting)
                rolled = _roll(MODELS[name], setting, watch.forecaster, series, known, horizon, start, nominal)
                for origin, (points, bounds, forecaster) in enumerate(rolled):
                    forecasts.append(_rows(name, start + origin * horizon, points, bounds, series))
                    fitted[name] = forecaster
                    advance(note=name)
            seconds = time.monotonic() - began
            rows.append(_score(name, forecasts[:-1], series, settled.season, seconds, fitted[name]))
            made += forecasts
    table = _ranked(pd.DataFrame(rows))
    if table["MASE"].isna().any():  # of all models, then: the scale is the series' own
        warnings.warn(
            f"series {series.name!r} repeats itself exactly before an origin, so MASE has no scale and is nan; "
            "models are ranked by MAE", stacklevel=2,
        )  # fmt: skip
    forecasts = pd.concat(made, ignore_index=True)
    table.insert(table.columns.get_loc("coverage"), "better", _better(table, forecasts[forecasts["row"] < len(series)]))
    write(run, series, table, forecasts, settled, horizon, nominal)
    for name, forecaster in fitted.items():
        for tag, figure in insight.figures(forecaster).items():
            run.figure(f"forecast/{name}/{tag}", figure)
    saved.save(run.path / MODEL_FOLDER, {n: f for n, f in fitted.items() if isinstance(f, DirectForecaster)})
    write_json(run.path / MODEL_FOLDER / SERIES_FILE, {
        "name": str(series.name), "horizon": horizon, "interval": nominal, "order": page.order(table),
        "zone": series.attrs.get("zone"), "clock": asdict(clocks.Clocks.of(series)),
        "known": [] if known is None else list(known.columns),
        "frequency": getattr(series.index, "freqstr", None),
    })  # fmt: skip
    return table


def write(
    run: Run, series: pd.Series, table: pd.DataFrame, forecasts: pd.DataFrame, settled: Settled, horizon: int,
    nominal: float,
) -> None:  # fmt: skip
    """Tables, figures and page of a comparison."""
    run.table("leaderboard", table)
    ahead = forecasts["row"] >= len(series)
    order = {name: place for place, name in enumerate(page.order(table))}
    future = forecasts[ahead].sort_values(["model", "row"], key=lambda c: c.map(order) if c.name == "model" else c)
    run.table("forecast", future[["time", "model", "forecast", "lower", "upper"]])
    run.table("backtest", forecasts[~ahead].drop(columns="row"))
    context = max(horizon, 2 * settled.season if settled.season > 1 else 3 * horizon)
    view = page.View(series, forecasts, table, horizon, settled.origins, nominal, context)
    run.figure("forecast/comparison", page.comparison(view))
    run.figure("forecast/ahead", page.ahead(view))
    page.write(run.path / "forecast.html", view)


def is_naive(model: str) -> bool:
    """Whether a model belongs to the floor that the others must beat."""
    return "naive" in model


def best(table: pd.DataFrame) -> pd.Series:
    """The row of the best model, naive or not."""
    return table.sort_values(["MASE", "MAE"]).iloc[0]


def beats_naive(table: pd.DataFrame) -> bool:
    """Whether any model does better than the best naive one; also where there is none but naive ones."""
    return bool(table["model"].map(is_naive).all() or not is_naive(best(table)["model"]))


def _better(table: pd.DataFrame, held_out: pd.DataFrame) -> list[int]:
    """At how many origins each model of the ranked `table` is closer than its first one, the best naive."""
    errors = (held_out["truth"] - held_out["forecast"]).abs()
    mean = errors.groupby([held_out["origin"], held_out["model"]]).mean().unstack()
    return [int((mean[name] < mean[table["model"].iloc[0]]).sum()) for name in table["model"]]


def _ranked(table: pd.DataFrame) -> pd.DataFrame:
    """The naive floor first, then best first."""
    floor = table["model"].map(is_naive)
    ranked = [part.sort_values(["MASE", "MAE"]) for part in (table[floor], table[~floor])]
    return pd.concat(ranked, ignore_index=True)


# --- what is asked for ----------------------------------------------------------------------------------------------


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
            "leave it out, or give a smaller --backtest"
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


def _check_known(series: pd.Series, known: pd.DataFrame | None, horizon: int) -> None:
    if known is None:
        return
    after = int((known.index > series.index[-1]).sum())
    if after < horizon:
        raise InputError(
            f"{_place(series)}: to forecast {horizon} steps, {', '.join(map(repr, known.columns))} must be known for "
            f"{horizon} rows after the last value, and {after} are there; add rows with {series.name!r} left empty, "
            f"or give --horizon {after}" + (" or less" if after > 1 else "")
        )


def _place(series: pd.Series) -> str:
    return series.attrs.get("file", f"series {series.name!r}")


def _check_length(series: pd.Series, start: int, lookback: int, horizon: int, held_out: int, spare: int) -> None:
    needed, rows = lookback + horizon + spare, len(series)
    if start >= needed:
        return
    last = f" (the last is row {rows + 1})" if "file" in series.attrs else ""
    longest = rows - 2 * horizon - spare  # one origin leaves so many rows before it
    if longest > 0:
        works = f"--backtest 1 --lookback {min(lookback, longest)}"
    elif rows - spare >= 3:
        works = f"--backtest 1 --lookback 1 --horizon {(rows - spare - 1) // 2}"
    else:
        works = ""
    clock = f" + {spare} for a change of clocks" if spare else ""
    raise InputError(
        f"{_place(series)}, column {series.name!r}: {rows} rows{last} are fewer than lookback {lookback} + horizon "
        f"{horizon} + {held_out * horizon} held out{clock} = {needed + held_out * horizon}; give more rows"
        + (f", or {works}, which these are enough for" if works else "")
    )


# --- forecasting ----------------------------------------------------------------------------------------------------


def _roll(
    model: Model, setting: Setting, forecaster: Any, series: pd.Series, known: pd.DataFrame | None, horizon: int,
    start: int, nominal: float,
) -> Iterator[tuple[pd.Series, np.ndarray, Any]]:  # fmt: skip
    """(forecast, its lower and upper bounds (horizon, 2), forecaster) at `start`, and a horizon later, and so on; the
    last is at the end of the series. Bounds are NaN where a model has none. `forecaster` is the one fitted first."""
    clock, index = clocks.Clocks.of(series), clocks.extended(series.index, horizon)
    origins = range(start, len(series) + 1, horizon)
    asked = [clock.steps(index[:origin], index[origin : origin + horizon]) for origin in origins]
    most = horizon + clock.skipped  # an hour skipped makes the last one a step further
    X = None if known is None else clock.seen(known, most)
    if model.refit and getattr(series.index, "freqstr", None) == "B":  # business days, which statsmodels does not know
        series, X = series.reset_index(drop=True), None if X is None else X.reset_index(drop=True)
    with _quiet():
        for origin, steps in zip(origins, asked, strict=True):
            seen = series.iloc[max(0, origin - (model.rows or origin)) : origin]
            if origin == start:
                forecaster.fit(clock.seen(seen), X=X, fh=list(range(1, most + 1)))
            elif model.refit:
                forecaster = model.make(setting).fit(clock.seen(seen), X=X, fh=list(range(1, most + 1)))
            else:
                before = int(clock.zone is not None)  # a row seen already: one that is skipped lies between two
                newer = series.iloc[origin - horizon - before : origin]
                forecaster.update(clock.seen(newer), X=X, update_params=False)
            bounds = np.full((horizon, 2), np.nan)
            if forecaster.get_tag("capability:pred_int"):
                bounds = forecaster.predict_interval(X=X, coverage=nominal).to_numpy()[steps - 1]
            made = forecaster.predict(X=X).iloc[steps - 1]
            yield made.set_axis(index[origin : origin + horizon]), bounds, forecaster


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
    known = (
        "The default of config ``remember_data``", "Optimization failed to converge",
        "Maximum Likelihood optimization failed to converge",
    )  # fmt: skip
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        if not str(warning.message).startswith(known):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


class _Watch:
    """Reports to the run what the training of a network says, and at some epochs what the network forecasts."""

    def __init__(self, run: Run, name: str):
        self.forecaster: Any = None
        self._run, self._tag = run, f"forecast/{name}"

    def __call__(self, epoch: int, losses: dict[str, float]) -> None:
        done = epoch + 1
        self._run.scalars({f"{self._tag}/{name}": loss for name, loss in losses.items()}, done)
        if done in SHOWN:
            self._run.figure(f"{self._tag}/validation", insight.held_out(self.forecaster), done)


def _rows(name: str, origin: int, made: pd.Series, bounds: np.ndarray, series: pd.Series) -> pd.DataFrame:
    """A forecast in long form; `row` counts from the start of the series, truth is NaN beyond its end."""
    truth = np.full(len(made), np.nan)
    known = series.to_numpy()[origin : origin + len(made)]
    truth[: len(known)] = known
    return pd.DataFrame({
        "model": name, "origin": clocks.stamps(series.index[origin - 1 : origin], series.attrs)[0],
        "time": clocks.stamps(made.index, series.attrs), "forecast": made.to_numpy(), "lower": bounds[:, 0],
        "upper": bounds[:, 1], "truth": truth, "row": np.arange(origin, origin + len(made)),
    })  # fmt: skip


def _score(
    name: str, forecasts: Sequence[pd.DataFrame], series: pd.Series, cycle: int, seconds: float, forecaster: Any
) -> dict[str, Any]:
    values = series.to_numpy()
    pairs = [
        (frame["truth"].to_numpy(), frame["forecast"].to_numpy(), values[: frame["row"].iloc[0]]) for frame in forecasts
    ]
    held = pd.concat(forecasts)
    covered = coverage(held["truth"].to_numpy(), held["lower"].to_numpy(), held["upper"].to_numpy())
    return {
        "model": name,
        "MASE": float(np.mean([mase(truth, made, history, cycle) for truth, made, history in pairs])),
        "sMAPE": float(np.mean([smape(truth, made) for truth, made, _ in pairs])),
        "MAE": float(np.mean([mae(truth, made) for truth, made, _ in pairs])),
        "coverage": float("nan") if held["lower"].isna().all() else covered,
        "seconds": round(seconds, 2),
        "epochs": len(getattr(forecaster, "losses_", ())),
        "parameters": _parameters(forecaster),
        "origins": len(forecasts),
    }


def _parameters(forecaster: Any) -> int:
    """Fitted numbers of a network or of the linear model; 0 for models without."""
    network: torch.nn.Module | None = getattr(forecaster, "network_", None)
    if network is not None:
        return sum(parameter.numel() for parameter in network.parameters())
    return int(getattr(forecaster, "weights_", np.empty(0)).size)
