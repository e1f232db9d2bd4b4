"""Do intervals hold what they promise? Their coverage on the held-out end of real series, for every way to make them.

Origins follow one another by one horizon; every model is fitted once, before the first, and shown the newer rows at the
later ones, as in `forecasting.benchmark`. Nothing is chosen here, so the held-out end is a test set.
"""

import time
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from forecasting.datasets import load, season
from forecasting.forecaster import NetworkForecaster
from forecasting.intervals import winkler
from forecasting.models import MODELS, Setting, check_models
from lab import console, plots_forecast
from lab.errors import InputError
from lab.run import Run
from lab.stats import bootstrap

NOMINAL = (0.5, 0.8, 0.9, 0.95)
SCORED = 0.9  # the nominal coverage whose width and interval score are reported
DEFAULT_SERIES = (
    "sf-traffic",
    "nyc-taxi",
    "isp-traffic",
    "website-visits",
    "etth1",
    "wikipedia-peyton-manning",
    "airline",
)
DEFAULT_MODELS = ("seasonal-naive", "linear", "cnn", "lstm", "transformer")
HORIZONS = {7: 14, 12: 12}  # steps ahead by season; else one season


def check(names: Sequence[str], models: Sequence[str], origins: int, rows: int) -> list[pd.Series]:
    """The series; InputError where one is too short to be measured."""
    check_models(models)
    for name in models:
        if MODELS[name].refit:
            raise InputError(f"model {name!r} is fitted anew at every origin, which is not measured here; leave it out")
    if rows < 1:
        raise InputError(f"rows {rows} are none; give how many of the newest to take")
    if origins < 2:
        raise InputError(f"origins {origins} tell no spread; give 2 or more")
    found = []
    for name in names:
        series = load(name, fill="interpolate").iloc[-rows:]
        series.attrs["name"] = name
        horizon, held_out = _horizon(series), _origins(series, origins)
        if held_out < 2:
            raise InputError(
                f"series {name!r} has {len(series)} rows, too few to hold out {horizon} twice; leave it out"
            )
        if _scale(series, held_out) == 0:
            raise InputError(f"series {name!r} repeats itself exactly before the rows held out; leave it out")
        found.append(series)
    return found


def measure(
    series: Sequence[pd.Series], models: Sequence[str], origins: int, run: Run, seed: int = 0, device: str = "auto",
    max_epochs: int = 30,
) -> pd.DataFrame:  # fmt: skip
    """One row for each series, model, way to make intervals and nominal coverage.

    Columns: series, model, intervals, nominal, coverage with its 95 % interval over origins (low, high),
    width and score (mean width and interval score of Gneiting and Raftery 2007, over the mean absolute change within a
    season before the first origin, as MASE scales), mase, horizon, origins, rows, seconds. Writes coverage.csv and the
    figure forecast/coverage to `run`.
    """
    rows = []
    with console.bar("intervals", len(series) * len(models), "models") as advance:
        for each in series:
            for name in models:
                for setting_rows in _measured(each, name, origins, seed, device, max_epochs):
                    rows += setting_rows
                advance(note=f"{each.attrs['name']} {name}")
                table = pd.DataFrame(rows)
                run.table("coverage", table)  # what there is so far
    run.figure("forecast/coverage", plots_forecast.coverage(table))
    return table


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Means over series: coverage at each nominal one, and width and interval score at SCORED."""
    group = table.groupby(["model", "intervals"], sort=False)
    wide = table.pivot_table("coverage", ["model", "intervals"], "nominal", sort=False)
    wide.columns = [f"{nominal:.0%}" for nominal in wide.columns]
    scored = table[table["nominal"] == SCORED].groupby(["model", "intervals"], sort=False)[["width", "score"]].mean()
    return wide.join(scored).join(group["mase"].mean()).reset_index()


def _horizon(series: pd.Series) -> int:
    cycle = season(series)
    return HORIZONS.get(cycle, max(cycle, 12))


def _origins(series: pd.Series, wanted: int) -> int:
    """As many as wanted, of at most half the series."""
    return min(wanted, len(series) // 2 // _horizon(series))


def _scale(series: pd.Series, held_out: int) -> float:
    """Mean absolute change within a season before the first origin."""
    past, cycle = series.to_numpy()[: len(series) - held_out * _horizon(series)], season(series)
    return float(np.abs(past[cycle:] - past[:-cycle]).mean())


def _measured(
    series: pd.Series, name: str, origins: int, seed: int, device: str, max_epochs: int
) -> Iterator[list[dict[str, object]]]:
    """Rows for each way in which the model makes intervals."""
    horizon, held_out, cycle = _horizon(series), _origins(series, origins), season(series)
    start = len(series) - held_out * horizon
    scale = _scale(series, held_out)
    # Conformal and dropout intervals belong to one and the same network; quantile heads need one of their own.
    for trained, ways in (("conformal", ("conformal", "dropout")), ("quantile", ("quantile",))):
        began = time.monotonic()
        setting = Setting(cycle, None, max_epochs, seed, device, trained)
        forecaster = MODELS[name].make(setting)
        network = isinstance(forecaster, NetworkForecaster)
        if not network and trained != "conformal":
            return
        forecaster.fit(series.iloc[:start], fh=range(1, horizon + 1))
        bounds: dict[str, list[np.ndarray]] = {way: [] for way in (ways if network else ways[:1])}
        points, truth = [], []
        for origin in range(start, len(series), horizon):
            for way, made in bounds.items():
                if network:
                    forecaster.intervals = way  # read when intervals are made; the network is the same
                values = forecaster.predict_interval(coverage=NOMINAL).to_numpy()
                made.append(values.reshape(horizon, len(NOMINAL), 2))
            points.append(forecaster.predict().to_numpy())
            truth.append(series.to_numpy()[origin : origin + horizon])
            forecaster.update(series.iloc[origin : origin + horizon], update_params=False)
        seconds = time.monotonic() - began
        mase = float(np.abs(np.stack(points) - np.stack(truth)).mean() / scale)
        for way, made in bounds.items():
            yield _rows(np.stack(made), np.stack(truth), scale, {
                "series": series.attrs["name"], "model": name, "intervals": way, "mase": mase, "horizon": horizon,
                "origins": held_out, "rows": len(series), "seconds": round(seconds, 2),
            })  # fmt: skip


def _rows(bounds: np.ndarray, truth: np.ndarray, scale: float, what: dict[str, object]) -> list[dict[str, object]]:
    """bounds (origins, horizon, nominal, 2), truth (origins, horizon)."""
    rows = []
    for number, nominal in enumerate(NOMINAL):
        low, high = bounds[:, :, number, 0], bounds[:, :, number, 1]
        inside = ((low <= truth) & (truth <= high)).mean(axis=1)  # of each origin
        least, most = np.clip(bootstrap(inside, np.mean), 0, 1).tolist()
        rows.append({
            "series": what["series"], "model": what["model"], "intervals": what["intervals"], "nominal": nominal,
            "coverage": float(inside.mean()), "low": least, "high": most,
            "width": float((high - low).mean()) / scale, "score": winkler(truth, low, high, nominal) / scale, **what,
        })  # fmt: skip
    return rows
