"""The LTSF protocol (long-term series forecasting; Zhou et al., AAAI 2021; Nie et al., ICLR 2023): data and errors.

Every column of a file is a channel. The series is cut in time into a part to train on, one to validate on and one to
test on, and standardised by mean and deviation of the first alone. A forecast of `horizon` steps is made from every
position of the test part, with the lookback reaching back into the part before; the error is the mean over all
positions, steps and channels, on the standardised scale. No window is dropped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from forecasting import datasets, training
from forecasting.csvtable import numbers, read_table, time_column
from lab.data import locate
from lab.errors import InputError

HORIZONS = (96, 192, 336, 720)
ETT = {"ETTh1": "etth1", "ETTh2": "etth2", "ETTm1": "ettm1"}
_FEW = 64  # windows at a time
_MONTH = 30 * 24  # hours; ETT's borders are 12, 4 and 4 such months
Share = tuple[float, float, float]


@dataclass(frozen=True)
class Series:
    """A file ready to be learned: `values` (time, channels) standardised by rows [0, borders[0])."""

    name: str
    values: Tensor
    borders: tuple[int, int, int]
    """Ends of the training, validation and test part, in rows."""
    season: int
    """Steps in one season, for the seasonal naive."""

    @property
    def fingerprint(self) -> str:
        """Of values and borders: files of one name differ in it."""
        return sha256(self.values.numpy().tobytes() + repr(self.borders).encode()).hexdigest()[:16]


class Windows(NamedTuple):
    """All windows (windows, lookback + horizon, channels) of a series as a view, and which of them belong to a part."""

    view: Tensor
    training: Tensor
    validation: Tensor
    test: Tensor


def load(name_or_path: str, shares: Share = (0.7, 0.1, 0.2)) -> Series:
    """ETTh1, ETTh2 or ETTm1 with their published borders, or a CSV with a time column, cut by `shares`.

    Raises InputError for an unknown name, a file that cannot be used and shares that leave a part empty.
    """
    if name_or_path in ETT:
        entry = datasets.entry(ETT[name_or_path])
        assert entry.file is not None
        path = locate(entry.file)
        months = _MONTH * (4 if name_or_path == "ETTm1" else 1)
        borders = (12 * months, 16 * months, 20 * months)
    elif datasets.is_file(name_or_path):
        path, borders = Path(name_or_path), None
    else:
        raise InputError(f"no data {name_or_path!r}; give {', '.join(ETT)} or the path of a CSV with a time column")
    table = read_table(path)
    time = time_column(table, None)
    channels = [column for column in table.columns if column != time]
    if not channels:
        raise InputError(f"{path}: there is no column beside {time!r}; a series needs one")
    values = np.column_stack([numbers(table, column) for column in channels])  # (time, channels)
    holes = np.argwhere(~np.isfinite(values))
    if len(holes):
        row, column = holes[0]
        raise InputError(
            f"{path} row {table.lines[row]}, column {channels[column]!r}: a value is missing; fill it first"
        )
    season = datasets.season(datasets.load(str(path), channels[0], time))
    borders = borders or _borders(len(values), shares, path)
    mean, deviation = values[: borders[0]].mean(axis=0), values[: borders[0]].std(axis=0)
    scaled = (values - mean) / np.where(deviation > 1e-12 * np.abs(mean), deviation, 1.0)
    name = name_or_path if name_or_path in ETT else path.name.split(".")[0]
    return Series(name, torch.from_numpy(scaled[: borders[2]]).float(), borders, season)


def _borders(rows: int, shares: Share, path: Path) -> tuple[int, int, int]:
    """Train and test take their shares of the rows, rounded down, and validation what lies between."""
    if len(shares) != 3 or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise InputError(f"borders {shares} are no three shares above 0 that add up to 1; give 0.7,0.1,0.2 for example")
    first, last = int(rows * shares[0]), rows - int(rows * shares[2])
    if first < 2 or last <= first or last >= rows:
        raise InputError(f"{path}: {rows} rows leave a part of {shares} empty; give more rows")
    return first, last, rows


def windows(series: Series, lookback: int, horizon: int) -> Windows:
    """The windows of each part: a forecast lies wholly in its part, its lookback may reach into the one before.

    Raises InputError if a part holds none.
    """
    view = training.windows(series.values, lookback, horizon)
    first, second, end = series.borders
    parts = Windows(
        view,
        torch.arange(0, first - lookback - horizon + 1),
        torch.arange(max(0, first - lookback), second - lookback - horizon + 1),
        torch.arange(max(0, second - lookback), end - lookback - horizon + 1),
    ) if min(first - lookback, second - first, end - second) >= horizon else None  # fmt: skip
    if parts is None:
        most = min(second - first, end - second)
        remedy = (
            f"the longest horizon is {most}" if most < horizon
            else f"give a longer file, or a lookback and a horizon of at most {first} together"
        )  # fmt: skip
        raise InputError(
            f"{series.name}: parts of {first}, {second - first} and {end - second} rows hold no window of lookback "
            f"{lookback} + horizon {horizon}; {remedy}"
        )
    return parts


def predict(forecast: training.Forecast, windows: Windows, chosen: Tensor, lookback: int, batch: int = _FEW) -> Tensor:
    """Forecasts (len(chosen), horizon, channels) of the `chosen` windows, the last incomplete batch among them.

    Few windows at a time stay in a processor's cache: 64 of seven channels take half as long as 512.
    """
    with torch.no_grad():
        return torch.cat([forecast(windows.view[part][:, :lookback]) for part in chosen.split(batch)])


def errors(forecasts: Sequence[Tensor], truth: Tensor) -> tuple[float, float]:
    """Mean squared and mean absolute error of the mean of `forecasts`, over windows, steps and channels.

    forecasts, truth: (windows, horizon, channels) each. The mean is taken a few windows at a time: in one piece it
    would be fetched from memory over and over.
    """
    squared = absolute = 0.0
    for real, *guesses in zip(truth.split(_FEW), *(forecast.split(_FEW) for forecast in forecasts), strict=True):
        difference = sum(guesses) / len(guesses) - real
        squared += difference.square().sum().item()
        absolute += difference.abs().sum().item()
    return squared / truth.numel(), absolute / truth.numel()
