"""Series with known anomalies, and any other series, as one kind of `Case`."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from forecasting.datasets import Entry
from lab.errors import unknown

ECG_RATE = 360  # samples a second of the MIT-BIH arrhythmia database
NAMED = {
    "mitdb": Entry(
        "20.8 s of an ECG with one early beat (MIT-BIH; from sktime); for lab detect and explain", "1/360 s", "ODC-By",
    ),
    "web-traffic-anomaly": Entry(
        "Page views an hour, twelve weeks with one outage, generated; for lab detect and explain", "1 h", "MIT",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A series to find anomalies in; positions count samples from 0, intervals are [start, end)."""

    name: str
    series: pd.Series
    train_end: int | None = None
    """The part before it holds no known anomaly."""
    labels: list[tuple[int, int]] = field(default_factory=list)
    clean: np.ndarray | None = None
    """The series as it would have been without the anomaly, (n,), where that is known."""


def load(
    name_or_path: str, target: str | None = None, time: str | None = None, fill: str = "none", *,
    time_format: str | None = None, timezone: str | None = None, seed: int = 0,
) -> Case:  # fmt: skip
    """A named series or a CSV. Beside `mitdb` and `web-traffic-anomaly`, all that forecasting.datasets.load knows.

    A CSV needs no times here: without, its rows are counted from 0. time_format, timezone: as `csvfile.read_csv`; times
    that it brings to UTC are given on the clocks of their zone, so that they are told as people there read them.
    Raises InputError for an unknown name or a file that cannot be used.
    """
    from pathlib import Path

    from forecasting import csvfile, datasets

    if name_or_path in NAMED:
        case = mitdb() if name_or_path == "mitdb" else web_traffic_anomaly(seed)
        if target not in (None, case.series.name):
            raise unknown("column", str(target), [str(case.series.name)], f"(of {name_or_path})")
        return case
    path = Path(name_or_path)
    a_name = not path.suffix and "/" not in name_or_path and not path.is_file()
    if a_name and name_or_path not in datasets.SERIES:
        raise unknown("series", name_or_path, [*NAMED, *datasets.SERIES], "(a path to a CSV file works too)")
    series = None
    if time is None and time_format is None and timezone is None and datasets.is_file(name_or_path):
        series = csvfile.read_steps(name_or_path, target, fill)
    if series is None:
        series = datasets.load(name_or_path, target, time, fill, time_format=time_format, timezone=timezone)
        if zone := series.attrs.get("zone"):
            series.index = pd.DatetimeIndex(series.index).tz_localize("UTC").tz_convert(zone)
    return Case(Path(name_or_path).name.split(".")[0], series)


def mitdb() -> Case:
    """20.8 s of one ECG lead with one early beat, from sktime's own files (MIT-BIH arrhythmia database, 360 Hz).

    Its CSV has 7,500 rows of `data` (millivolt) and `label` (1 within 6936 .. 7287, around one beat that
    comes too soon). sktime names neither the record nor the lead. The first 15 s are taken as normal.
    """
    from importlib.resources import files

    table = pd.read_csv(str(files("sktime").joinpath("datasets/data/mitdb/mitdb.csv")))
    index = pd.Index(np.arange(len(table)) / ECG_RATE, name="seconds")
    series = pd.Series(table["data"].to_numpy(float), index=index, name="millivolt")
    marked = np.flatnonzero(table["label"].to_numpy())
    return Case("mitdb", series, 15 * ECG_RATE, [(int(marked[0]), int(marked[-1]) + 1)])


def web_traffic_anomaly(
    seed: int = 0, days: int = 84, kind: str = "outage", start: int | None = None, width: int = 12
) -> Case:
    """Generated hourly web traffic, without bursts, with one anomaly in the last quarter; the clean course is known.

    days: length, of which the first three quarters are for training. kind: see `inject`. start, width: hours; left out,
    the anomaly begins on a Wednesday at 08:00.
    """
    from forecasting.datasets import web_traffic

    series = web_traffic(days, seed, bursts=0.0)
    clean = series.to_numpy(float)
    if start is None:  # a Wednesday in the last quarter of the series, from 08:00
        start = 24 * (7 * ((days * 7 // 8) // 7) + 2) + 8
    spoiled = inject(clean, start, start + width, kind)
    return Case(
        "web-traffic-anomaly",
        pd.Series(spoiled, series.index, name="views"),
        24 * (days * 3 // 4),
        [(start, start + width)],
        clean,
    )


def inject(clean: np.ndarray, start: int, end: int, kind: str) -> np.ndarray:
    """A copy of `clean` (n,) with one anomaly in [start, end).

    kind: "outage" (45 % of the normal), "surge" (170 %), "spike" (rising to three times the normal in the middle, and
    back), "dip" (falling to a fifth), "shift" (a level higher by a standard deviation of the series), "stuck" (the
    first value held), "reversed" (in time), "frequency" (the same course twice, at double speed).
    """
    part = clean[start:end]
    tent = 1 - np.abs(np.linspace(-1, 1, end - start + 2))[1:-1]  # 0 outside the interval, 1 in its middle
    kinds = {
        "outage": 0.45 * part, "surge": 1.7 * part, "spike": (1 + 2 * tent) * part, "dip": (1 - 0.8 * tent) * part,
        "shift": part + clean.std(), "stuck": np.full_like(part, part[0]), "reversed": part[::-1],
        "frequency": part[2 * np.arange(len(part)) % len(part)],
    }  # fmt: skip
    if kind not in kinds:
        raise unknown("anomaly", kind, kinds)
    spoiled = clean.copy()
    spoiled[start:end] = kinds[kind]
    return spoiled
