"""Forecasting new rows with the models that an earlier `lab forecast` fitted and saved: nothing is trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from forecasting import clocks, page, saved
from forecasting.base import DirectForecaster
from forecasting.benchmark import MODEL_FOLDER, SERIES_FILE
from lab.errors import InputError, unknown
from lab.jsonfile import read_json
from lab.run import CONFIG, Run


@dataclass(frozen=True)
class Source:
    """An earlier run."""

    path: Path
    settings: dict[str, Any]
    """The options of its command."""
    series: dict[str, Any]
    """Of what its models were fitted to: name, frequency, zone, horizon, interval, known; order: best model first."""


def open_run(path: Path) -> Source:
    """Raises InputError where `path` is no run of lab forecast."""
    file = path / MODEL_FOLDER / SERIES_FILE
    if not file.exists():
        raise InputError(
            f"{path} is no run of lab forecast with saved models; name the folder that its last line named"
        )
    return Source(path, read_json(path / CONFIG), read_json(file))


def forecast(
    source: Source, series: pd.Series, known: pd.DataFrame | None, models: Sequence[str] = (),
    nominal: float | None = None, device: str = "auto",
) -> page.View:  # fmt: skip
    """What follows `series`, by the models asked for (all when none is), the best first.

    nominal: share that the intervals are to cover; None takes that of the run. Raises InputError for a series of
    another frequency or too short, a model that was not saved, and columns known ahead that end too early.
    """
    frequency, before = getattr(series.index, "freqstr", None), source.series["frequency"]
    place = series.attrs.get("file", f"series {series.name!r}")
    if frequency != before:
        raise InputError(f"{place} has a step of {frequency}, the models of {source.path} one of {before}")
    found = saved.load(source.path / MODEL_FOLDER, device)
    for name in models:
        if name not in found:
            raise unknown("saved model", name, found, f"(of {source.path}; statistical ones are not saved)")
    nominal = source.series["interval"] if nominal is None else nominal
    horizon, parts = source.series["horizon"], []
    clock, ahead = _clock(source, series, place), clocks.extended(series.index, horizon)[len(series) :]
    steps = clock.steps(series.index, ahead) - 1
    for name in source.series["order"]:
        if name not in found or (models and name not in models):
            continue
        X = None if known is None else clock.seen(known, horizon + clock.skipped)
        past = found[name].history_
        seen = clock.joined(past.iloc[-1, 0], past.index[-1], clock.seen(series))
        forecaster = _moved(found[name], seen, X, place)
        bounds = forecaster.predict_interval(X=X, coverage=nominal).to_numpy()[steps]
        parts.append(pd.DataFrame({
            "model": name, "origin": clocks.stamps(series.index[-1:], series.attrs)[0],
            "time": clocks.stamps(ahead, series.attrs), "forecast": forecaster.predict(X=X).to_numpy()[steps],
            "lower": bounds[:, 0], "upper": bounds[:, 1], "truth": np.nan,
            "row": np.arange(len(series), len(series) + horizon),
        }))  # fmt: skip
    note = f"The models of {source.path}, as they were fitted there; its page has their errors."
    rows = pd.concat(parts, ignore_index=True)
    return page.View(series, rows, None, horizon, 0, nominal, max(2 * horizon, 48), note)


def write(run: Run, view: page.View) -> pd.DataFrame:
    """forecast.csv (time, model, forecast, lower, upper: what is returned), the figure and the page."""
    table = view.forecasts[["time", "model", "forecast", "lower", "upper"]]
    run.table("forecast", table)
    run.figure("forecast/ahead", page.ahead(view))
    page.write(run.path / "forecast.html", view)
    return table


def _clock(source: Source, series: pd.Series, place: str) -> clocks.Clocks:
    """What the models were fitted to saw. Raises InputError for a series that cannot be seen like that."""
    fitted, zone, now = clocks.Clocks(**source.series.get("clock", {})), source.series["zone"], series.attrs.get("zone")
    if (now is None) != (zone is None):
        has = "no offset" if now is None else "an offset or a --timezone"
        raise InputError(f"{place}: the times have {has}, unlike those that the models of {source.path} were fitted to")
    if fitted.skipped and now != fitted.zone:
        raise InputError(
            f"{place}: the models of {source.path} see the clocks of {fitted.zone}; give --timezone {fitted.zone}"
        )
    return fitted


def _moved(forecaster: DirectForecaster, series: pd.Series, known: pd.DataFrame | None, place: str) -> DirectForecaster:
    """The forecaster at the end of `series`: updated, if that goes on where it stood, else with those rows alone."""
    past = forecaster.history_
    if series.index[-1] >= past.index[-1] and series.index[0] <= clocks.extended(past.index, 1)[-1]:
        rows = series[series.index >= past.index[0]].rename(past.columns[0])
        return forecaster.update(rows, X=known, update_params=False)
    if len(series) < forecaster.lookback_:
        raise InputError(
            f"{place}: {len(series)} rows are fewer than the {forecaster.lookback_} that the model looks back, and do "
            f"not follow the rows it was fitted to (which end at {past.index[-1]}); give more rows"
        )
    names = (*forecaster.fitted, "network_", "losses_")
    learned = {name: getattr(forecaster, name) for name in names if hasattr(forecaster, name)}
    learned["first_"] = forecaster.first_ + _steps(past.index, series.index[0])
    steps = [int(step) for step in forecaster.fh.to_relative(forecaster.cutoff)]
    X = None if forecaster.effect_ is None else known
    return forecaster.clone().restore(learned, series.rename(past.columns[0]), X, steps)


def _steps(index: pd.Index, to: Any) -> int:
    """Steps from the start of `index` to the time `to`, which may lie before it."""
    if isinstance(index, pd.PeriodIndex):
        return int(to.ordinal - index[0].ordinal)
    if index.freqstr == "B":
        return int(np.busday_count(index[0].date(), to.date()))
    return round((to - index[0]) / (index[1] - index[0]))
