"""Traffic flow of one lane, five minutes ahead, in the split that has published errors.

Trained on the first file, judged on every five minutes of the second one but its first hour, each forecast from the
true values before (Caltrans PeMS; the split and the errors of LSTM, GRU and stacked autoencoders are those of
xiaochus/TrafficFlowPrediction, from the last hour alone). Lookbacks of an hour, as published, and of a day.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from forecasting import models as forecasters
from lab import console
from lab.device import threads
from lab.errors import InputError, unknown
from lab.run import Run

FILES = ("pems_lane1_flow_train.csv", "pems_lane1_flow_test.csv")
COLUMN = "Lane 1 Flow (Veh/5 Minutes)"
HOUR, DAY = 12, 288  # rows
MODELS = ("cnn", "lstm", "transformer", "linear")
EPOCHS = 30
TRAINING = {"max_epochs": EPOCHS, "steps_per_epoch": 100, "batch": 128}
PUBLISHED = (
    ("SAE", 7.06, "xiaochus/TrafficFlowPrediction"), ("GRU", 7.20, "the same"), ("LSTM", 7.21, "the same"),
)  # fmt: skip
"""Name, mean absolute error in vehicles per 5 minutes, source."""


def load(folder: Path | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Flow of the two files, vehicles per 5 minutes, (n,) each. Raises InputError for a folder without them."""
    if folder is None:
        if "LAB_DATA" not in os.environ:
            raise InputError(
                "PeMS lane flow: name the folder of its two files with --data, or one with traffic/ by LAB_DATA"
            )
        folder = Path(os.environ["LAB_DATA"]) / "traffic"
    found = []
    for name in FILES:
        if not (folder / name).is_file():
            raise InputError(f"{folder / name} is missing; name the folder of the two files with --data")
        found.append(pd.read_csv(folder / name)[COLUMN].to_numpy(float))
    return found[0], found[1]


def check(names: Sequence[str]) -> list[str]:
    """The models of these names; all if none. Raises InputError for others."""
    for name in names:
        if name not in MODELS:
            raise unknown("model", name, MODELS, "(of the pems protocol)")
    return list(dict.fromkeys(names)) or list(MODELS)


def forecast(name: str, lookback: int, train: np.ndarray, test: np.ndarray, seed: int, device: str) -> np.ndarray:
    """One step ahead for the rows of `test` (n,) from HOUR on, (n - HOUR,), by a model fitted to `train`."""
    setting = forecasters.Setting(DAY, lookback, EPOCHS, seed, device)
    forecaster = forecasters.MODELS[name].make(setting)
    if name != "linear":
        # an hour does not show where in the day it lies, unless its level may tell; a day does
        forecaster.set_params(patch=max(1, lookback // 12), reversible=lookback >= DAY, **TRAINING)
    with threads(1):
        forecaster.fit(pd.Series(train), fh=[1])
        values = (np.concatenate([train, test]) - forecaster.mean_[0]) / forecaster.scale_[0]
        ends = len(train) + np.arange(HOUR, len(test))
        windows = np.lib.stride_tricks.sliding_window_view(values, lookback)[ends - lookback]
        ahead = forecaster._backcast(np.ascontiguousarray(windows)[:, :, None])[:, 0, 0]
    return ahead * forecaster.scale_[0] + forecaster.mean_[0]


def measure(
    train: np.ndarray, test: np.ndarray, names: Sequence[str], seeds: int, device: str, run: Run
) -> pd.DataFrame:
    """One row for each model, lookback and seed: mae and rmse in vehicles per 5 minutes; also written as pems.csv."""
    truth = test[HOUR:]
    rows = [_row("last value", 1, 0, truth, test[HOUR - 1 : -1], 0.0)]
    todo = [(name, lookback, seed) for seed in range(seeds) for name in names for lookback in (HOUR, DAY)
            if name != "linear" or seed == 0]  # fmt: skip
    with console.bar("PeMS lane flow", len(todo), "models") as advance:
        for name, lookback, seed in todo:
            began = time.perf_counter()
            ahead = forecast(name, lookback, train, test, seed, device)
            rows.append(_row(name, lookback, seed, truth, ahead, time.perf_counter() - began))
            run.scalars({f"forecast/mae/{name}-{lookback}": rows[-1]["mae"]}, seed)
            advance(1, f"{name}, lookback {lookback}, seed {seed}")
    table = pd.DataFrame(rows)
    run.table("pems", table)
    return table


def _row(model: str, lookback: int, seed: int, truth: np.ndarray, ahead: np.ndarray, seconds: float) -> dict:
    error = ahead - truth
    return {
        "model": model, "lookback": lookback, "seed": seed, "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt((error**2).mean())), "seconds": seconds,
    }  # fmt: skip


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """One row for each model and lookback, least error first: means over seeds."""
    groups = table.groupby(["model", "lookback"])
    means = groups[["mae", "rmse", "seconds"]].mean()
    means.insert(1, "mae, seed deviation", groups["mae"].std())
    return means.sort_values("mae").reset_index()
