"""M4's 414 hourly series, one pooled model for all of them (Makridakis, Spiliotis and Assimakopoulos 2020).

Each series gives its last 48 hours as the test. A model is trained on windows of all series together, the logarithm of
each standardised by itself, since half of what is measured is relative; a family is the mean of two members, lookbacks
of a week and of three. Errors are M4's: sMAPE, MASE and OWA, the mean of both over those of Naive 2.
"""

import gzip
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from forecasting import models as forecasters
from forecasting.base import standardiser
from forecasting.linear import apply_weights
from forecasting.measures import mase, smape
from forecasting.pooled import pool
from lab import console
from lab.device import threads
from lab.errors import InputError, unknown
from lab.run import Run

SEASON, HORIZON = 24, 48  # hours
LOOKBACKS = (168, 504)
FAMILIES = ("cnn", "lstm", "transformer", "linear")
EPOCHS = 60
VALIDATION = 0.2  # share of each series' windows
TRAINING = {
    "max_epochs": EPOCHS, "steps_per_epoch": 100, "batch": 128, "dropout": 0.2, "skip": True, "validation": VALIDATION
}  # fmt: skip
PUBLISHED = (
    ("best submission", 0.410, "M4, Makridakis et al. 2020, hourly series"),
    ("Smyl (winner over all)", 0.440, "the same"),
    ("Naive 2", 1.0, "the same: sMAPE 18.383, MASE 2.395"),
)  # fmt: skip
"""Name, OWA on the hourly series, source."""


@dataclass(frozen=True)
class Panel:
    """Names, histories (n_i,) each, and what followed, (series, 48)."""

    names: list[str]
    train: list[np.ndarray]
    test: np.ndarray


def load(folder: Path | None = None) -> Panel:
    """Hourly-train.csv and Hourly-test.csv (or .gz) of `folder`, or of LAB_DATA/m4_hourly.

    Raises InputError for a folder without them, a series too short to look back, and a value without a logarithm.
    """
    if folder is None:
        if "LAB_DATA" not in os.environ:
            raise InputError("M4's hourly series: name their folder with --data, or one with m4_hourly/ by LAB_DATA")
        folder = Path(os.environ["LAB_DATA"]) / "m4_hourly"
    train, test = _table(folder, "Hourly-train.csv"), _table(folder, "Hourly-test.csv")
    histories = [row[np.isfinite(row)] for row in train.to_numpy(float)]
    for name, history in zip(train.index, histories, strict=True):
        if len(history) < max(LOOKBACKS):
            hours = max(LOOKBACKS)
            raise InputError(f"{folder}: series {name} has {len(history)} hours; a forecast looks back {hours}")
        if history.min() <= 0:
            raise InputError(f"{folder}: series {name} has the value {history.min():g}; M4's values are all above 0")
    return Panel([str(name) for name in train.index], histories, test.loc[train.index].to_numpy(float)[:, :HORIZON])


def _table(folder: Path, name: str) -> pd.DataFrame:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
                return pd.read_csv(file, index_col=0)
    raise InputError(f"{folder / name} is missing; fetch M4's hourly files, or name their folder with --data")


def is_seasonal(values: np.ndarray, season: int = SEASON) -> bool:
    """M4's test: the autocorrelation at `season` is beyond its 90 % limit, which grows with those before it."""
    centred = values - values.mean()
    sums = np.array([centred[lag:] @ centred[: len(values) - lag] for lag in range(season + 1)])
    correlation = sums[1:] / sums[0]
    limit = 1.645 * np.sqrt((1 + 2 * (correlation[:-1] ** 2).sum()) / len(values))
    return bool(abs(correlation[-1]) > limit)


def indices(values: np.ndarray, season: int = SEASON) -> np.ndarray:
    """Seasonal indices (season,) of values[0 ...] by classical multiplicative decomposition; their mean is 1."""
    half = season // 2
    kernel = np.r_[0.5, np.ones(season - 1), 0.5] / season  # the centred moving average of an even season
    trend = np.convolve(values, kernel, "valid")
    ratio = values[half : half + len(trend)] / trend
    places = (np.arange(len(trend)) + half) % season
    found = np.bincount(places, ratio, season) / np.bincount(places, minlength=season)
    return found / found.mean()


def naive2(values: np.ndarray, horizon: int = HORIZON, season: int = SEASON) -> np.ndarray:
    """M4's yardstick: the last value, seasonally adjusted where the series is seasonal, (horizon,)."""
    factors = indices(values, season) if is_seasonal(values, season) else np.ones(season)
    ahead = (len(values) + np.arange(horizon)) % season
    return values[-1] / factors[(len(values) - 1) % season] * factors[ahead]


def score(panel: Panel, forecasts: np.ndarray) -> tuple[float, float]:
    """Mean sMAPE (percent) and MASE of forecasts (series, horizon)."""
    rows = list(zip(panel.test, forecasts, panel.train, strict=True))
    return (
        float(np.mean([smape(truth, forecast) for truth, forecast, _ in rows])),
        float(np.mean([mase(truth, forecast, history, SEASON) for truth, forecast, history in rows])),
    )


def pooled(panel: Panel, kind: str, lookback: int, seed: int, device: str) -> np.ndarray:
    """Forecasts (series, horizon) of one model trained on all series."""
    histories = [np.log(history) for history in panel.train]
    index = pd.MultiIndex.from_tuples(
        [(name, hour) for name, history in zip(panel.names, histories, strict=True) for hour in range(len(history))],
        names=["series", "hour"],
    )
    frame = pd.DataFrame({"value": np.concatenate(histories)}, index=index)
    means, spreads = (part[:, 0] for part in np.stack([standardiser(each[:, None]) for each in histories], axis=1))
    recent = np.stack([history[-lookback:] for history in histories])
    windows = ((recent - means[:, None]) / spreads[:, None])[:, :, None]  # (series, lookback, 1)
    with threads(1):
        if kind == "linear":
            weights = pool(frame, HORIZON, lookback, VALIDATION).linear(HORIZON)
            ahead = apply_weights(weights, windows)[:, :, 0]
        else:
            setting = forecasters.Setting(SEASON, lookback, EPOCHS, seed, device)
            forecaster = forecasters.MODELS[kind].make(setting).set_params(patch=SEASON, **TRAINING)
            forecaster.pretrain(frame, fh=np.arange(1, HORIZON + 1))
            forecaster.network_ = forecaster.pretrained_network_.eval()
            forecaster.lookback_, forecaster.horizon_ = lookback, HORIZON
            ahead = forecaster._backcast(windows)[:, :, 0]
    return np.exp(ahead * spreads[:, None] + means[:, None])


def check(names: Sequence[str]) -> list[str]:
    """The families of these names; all if none. Raises InputError for others."""
    for name in names:
        if name not in FAMILIES:
            raise unknown("model", name, FAMILIES, "(of the m4 protocol)")
    return list(dict.fromkeys(names)) or list(FAMILIES)


def measure(panel: Panel, names: Sequence[str], seeds: int, device: str, run: Run) -> pd.DataFrame:
    """One row for each model and seed: smape, mase, owa, seconds; also written to `run` as m4.csv."""
    base = np.stack([naive2(history) for history in panel.train])
    repeat = np.stack([np.tile(history[-SEASON:], 2) for history in panel.train])
    yardstick = score(panel, base)
    rows = [
        _row("naive 2", 0, score(panel, base), yardstick, 0.0),
        _row("seasonal-naive", 0, score(panel, repeat), yardstick, 0.0),
    ]
    networks = [name for name in names if name != "linear"]
    count = (seeds * len(networks) + ("linear" in names)) * len(LOOKBACKS)
    with console.bar("M4 hourly", count, "models") as advance:
        for seed in range(seeds):
            found, took = {}, 0.0
            for name in networks if seed else names:  # the linear model has no seed
                began = time.perf_counter()
                members = []
                for lookback in LOOKBACKS:
                    members.append(pooled(panel, name, lookback, seed, device))
                    advance(1, f"{name}, lookback {lookback}, seed {seed}")
                found[name] = np.mean(members, axis=0)
                seconds = time.perf_counter() - began
                took += seconds * (name in networks)
                rows.append(_row(name, seed, score(panel, found[name]), yardstick, seconds))
                run.scalars({f"forecast/owa/{name}": rows[-1]["owa"]}, seed)
            if len(networks) > 1:
                mean = np.mean([found[name] for name in networks], axis=0)
                rows.append(_row("combined", seed, score(panel, mean), yardstick, took))
    table = pd.DataFrame(rows)
    run.table("m4", table)
    return table


def _row(
    model: str, seed: int, errors: tuple[float, float], yardstick: tuple[float, float], seconds: float
) -> dict[str, Any]:
    owa = (errors[0] / yardstick[0] + errors[1] / yardstick[1]) / 2
    return {"model": model, "seed": seed, "smape": errors[0], "mase": errors[1], "owa": owa, "seconds": seconds}


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """One row a model, least OWA first: means over seeds, and the OWA's standard deviation."""
    groups = table.groupby("model")
    means = groups[["smape", "mase", "owa", "seconds"]].mean()
    means.insert(3, "owa, seed deviation", groups["owa"].std())
    return means.sort_values("owa").reset_index()
