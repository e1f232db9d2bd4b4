"""Forecasting new rows with the models that an earlier `lab forecast` fitted and saved: nothing is trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from forecasting import page, saved
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
    """Of the series that its models were fitted to: name, frequency, zone, horizon, interval, known, best."""


def open_run(path: Path) -> Source:
    """Raises InputError where `path` is no run of lab forecast."""
    file = path / MODEL_FOLDER / SERIES_FILE
    if not file.exists():
        raise InputError(
            f"{path} is no run of lab forecast with saved models; name the folder that its last line named"
        )
    return Source(path, read_json(path / CONFIG), read_json(file))


def check(
    source: Source, series: pd.Series, known: pd.DataFrame | None, models: Sequence[str] = (), device: str = "auto"
) -> dict[str, DirectForecaster]:
    """The forecasters asked for, best first, each moved on to the end of `series`; InputError where that cannot be."""
    frequency, saved_frequency = getattr(series.index, "freqstr", None), source.series["frequency"]
    place = series.attrs.get("file", f"series {series.name!r}")
    if frequency != saved_frequency:
        raise InputError(f"{place} has a step of {frequency}, the models of {source.path} one of {saved_frequency}")
    found = saved.load(source.path / MODEL_FOLDER, device)
    best = source.series["best"]
    names = list(models) or [best, *(name for name in found if name != best)]
    for name in names:
        if name not in found and not (name == best and not models):
            raise unknown("saved model", name, found, f"(of {source.path}; statistical ones are not saved)")
    return {name: _moved(found[name], series, known, place) for name in names if name in found}


def _moved(forecaster: DirectForecaster, series: pd.Series, known: pd.DataFrame | None, place: str) -> DirectForecaster:
    """The forecaster with `series` as what it saw last, behind those rows it was saved with that come right before."""
    past = forecaster.history_
    before = past.index < series.index[0]
    if before.all() and series.index[0] != page.extended(past.index, 1)[-1]:
        before[:] = False  # rows are missing between them
    rows = int(before.sum()) + len(series)
    if rows < forecaster.lookback_:
        raise InputError(
            f"{place}: {len(series)} rows are fewer than the {forecaster.lookback_} that the model looks back, and do "
            f"not follow the rows it was fitted to (which end at {past.index[-1]}); give more rows"
        )
    values = np.append(past[before].to_numpy()[:, 0], series.to_numpy())
    start = int(np.flatnonzero(before)[0]) if before.any() else 0
    index = page.extended(past.index, rows)[start : start + rows] if before.any() else series.index
    X = None
    if forecaster.effect_ is not None and known is not None:
        X = pd.concat([forecaster.known_[before], known])
    names = (*forecaster.fitted, "network_", "losses_")
    learned = {name: getattr(forecaster, name) for name in names if hasattr(forecaster, name)}
    learned["first_"] = forecaster.first_ + _steps(past.index, index[0])
    steps = [int(step) for step in forecaster.fh.to_relative(forecaster.cutoff)]
    return forecaster.clone().restore(learned, pd.Series(values, index, name=past.columns[0]), X, steps)


def _steps(index: pd.Index, to: Any) -> int:
    """Steps from the start of `index` to the time `to`, which may lie before it."""
    if isinstance(index, pd.PeriodIndex):
        return int(to.ordinal - index[0].ordinal)
    return round((to - index[0]) / (index[1] - index[0]))


def forecast(
    source: Source, series: pd.Series, known: pd.DataFrame | None, run: Run, models: Sequence[str] = (),
    device: str = "auto",
) -> pd.DataFrame:  # fmt: skip
    """Forecast what follows `series`; returns (and writes to `run` as forecast.csv, figure and page) time, model,
    forecast, lower, upper, the best model first."""
    horizon, nominal = source.series["horizon"], source.series["interval"]
    zone = series.attrs.get("zone")
    parts = []
    for name, forecaster in check(source, series, known, models, device).items():
        made = forecaster.predict(X=known)
        bounds = forecaster.predict_interval(X=known, coverage=nominal).to_numpy()
        parts.append(pd.DataFrame({
            "model": name, "origin": page.stamps(series.index[-1:], zone)[0], "time": page.stamps(made.index, zone),
            "forecast": made.to_numpy(), "lower": bounds[:, 0], "upper": bounds[:, 1], "truth": np.nan,
            "row": np.arange(len(series), len(series) + len(made)),
        }))  # fmt: skip
    rows = pd.concat(parts, ignore_index=True)
    note = f"The models of {source.path}, as they were fitted there; its page has their errors."
    view = page.View(series, rows, None, horizon, 0, nominal, max(2 * horizon, 48), note)
    table = rows[["time", "model", "forecast", "lower", "upper"]]
    run.table("forecast", table)
    run.figure("forecast/ahead", page.ahead(view))
    page.write(run.path / "forecast.html", view)
    return table
