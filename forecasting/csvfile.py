"""A user's CSV as a regular series. Everything that can be wrong with it is found here, once, and said in one line."""

import contextlib
import csv
import gzip
import io
import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from lab.errors import InputError, unknown

FILLS = ("none", "ffill", "interpolate", "zero")
MISSING = {"", "nan", "na", "n/a", "null", "none", "-"}
TIME_NAMES = {"time", "timestamp", "date", "datetime", "ds", "ts", "day", "month", "hour", "week"}
# (days between stamps, the calendar's own period): such stamps are unevenly spaced, so the series gets periods
CALENDAR = ((28, 31, "M"), (90, 92, "Q"), (365, 366, "Y"))
HUGE = 1e150  # the squares of larger values, and so their standard deviation, are beyond float64
LARGEST = 20  # times the rows that a file may grow to when its gaps are filled; more means a stamp is wrong


@dataclass
class Table:
    """The text of a CSV: column names, rows of cells, and the line of the file each row ends on (the header is 1)."""

    path: Path
    columns: list[str]
    rows: list[list[str]]
    lines: list[int]

    def at(self, row: int, column: str) -> str:
        return f"{self.path} row {self.lines[row]}, column {column!r}"


def read_csv(
    path: str | Path, target: str | None = None, time: str | None = None, fill: str = "none", *,
    time_format: str | None = None, name: str | None = None, tidy: str | None = None,
) -> pd.Series:  # fmt: skip
    """The column `target` of a CSV (plain or gzip) as a float64 series on a regular time index with its frequency.

    target: may be left out where there is only one column beside the time. time: may be left out where a column is
    called time, date, ... or the first one holds times. time_format: strptime's, for times that are not ISO 8601.
    fill: what to do about gaps and missing values: "none" (refuse), "ffill", "interpolate" (linear) or "zero".
    tidy: a frequency, for published files known to be untidy: rows are sorted, times snapped to that grid, and rows
        that fall together averaged. A user's own file is never changed so.

    Times with an offset become UTC. Monthly, quarterly and yearly stamps give a PeriodIndex, others a DatetimeIndex.
    Raises InputError, naming file, row (the file's line, header = 1) and column, for anything that cannot be used.
    """
    if fill not in FILLS:
        raise unknown("fill", fill, FILLS)
    table = _table(Path(path))
    time = _time_column(table, time)
    target = _target_column(table, target, time)
    values = _numbers(table, target)
    stamps = _stamps(table, time, time_format)
    if tidy:
        series = pd.Series(values, pd.DatetimeIndex(stamps).round(tidy)).groupby(level=0).mean()
        rows = np.arange(len(series))  # lines no longer match rows
        grid = pd.date_range(series.index[0], series.index[-1], freq=tidy)
        result, stamps = series, pd.DatetimeIndex(series.index)
    else:
        _check_order(table, time, stamps)
        grid = _grid(table, time, stamps)
        rows = np.arange(len(stamps))
        if isinstance(grid, pd.PeriodIndex):
            stamps = stamps.to_period(grid.freq)
        result = pd.Series(values, stamps)
    if fill == "none":
        _refuse_holes(table, time, target, result, grid, rows if not tidy else None)
    result = _filled(result.reindex(grid), fill, table.path, target).rename(name or target)
    result.index.name = time
    result.attrs["file"] = str(path)
    return result


# --- reading --------------------------------------------------------------------------------------------------------


def _table(path: Path) -> Table:
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a CSV file")
    if not path.exists():
        raise InputError(f"{path} does not exist; check the path (lab data list shows the named series)")
    try:
        with _open(path) as stream:
            text = stream.read()
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text in UTF-8; save it as a CSV in UTF-8") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path} is a damaged gzip file ({error}); pack or fetch it again") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); check its permissions") from None
    if not text.strip():
        raise InputError(f"{path} is empty; it needs a header line, a column of times and a column of numbers")
    header = text.lstrip().split("\n", 1)[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    columns: list[str] = []
    rows, lines = [], []
    try:
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue  # a blank line
            if not columns:
                columns = [cell.strip() for cell in row]
                continue
            if len(row) != len(columns):
                raise InputError(
                    f"{path} row {reader.line_num} has {len(row)} columns, the header {len(columns)}; mend that row"
                )
            rows.append([cell.strip() for cell in row])
            lines.append(reader.line_num)
    except csv.Error as error:
        raise InputError(f"{path} row {reader.line_num} is not CSV ({error}); mend that row") from None
    if not rows:
        raise InputError(f"{path} has a header but no rows; add rows below it")
    repeated = next((name for name in columns if columns.count(name) > 1), None)
    if repeated is not None:
        raise InputError(f"{path} row 1 names column {repeated!r} twice; give every column its own name")
    return Table(path, columns, rows, lines)


@contextlib.contextmanager
def _open(path: Path) -> Iterator[io.TextIOBase]:
    with (
        gzip.open(path, "rt", encoding="utf-8-sig", newline="")
        if path.suffix == ".gz"
        else path.open(encoding="utf-8-sig", newline="") as stream
    ):
        yield stream


def _time_column(table: Table, time: str | None) -> str:
    if time is not None:
        if time not in table.columns:
            raise unknown("time column", time, table.columns, f"({table.path} row 1)")
        return time
    named = [column for column in table.columns if column.lower() in TIME_NAMES]
    if named:
        return named[0]
    first = table.rows[0][0]
    if not _is_number(first) and not pd.isna(pd.to_datetime(first, errors="coerce", format="ISO8601")):
        return table.columns[0]
    raise InputError(f"{table.path} row 1 names no column of times; say which with --time: {', '.join(table.columns)}")


def _target_column(table: Table, target: str | None, time: str) -> str:
    others = [column for column in table.columns if column != time]
    if target is None:
        if len(others) == 1:
            return others[0]
        if not others:
            raise InputError(f"{table.path} has no column beside the times in {time!r}; add a column of numbers")
        raise InputError(
            f"{table.path} has {len(others)} columns to forecast; name one with --target: {', '.join(others)}"
        )
    if target == time:
        raise InputError(
            f"{table.path}: column {target!r} holds the times; name another with --target: {', '.join(others)}"
        )
    if target not in table.columns:
        raise unknown("column", target, others, f"({table.path} row 1)")
    return target


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # Python reads 1_000, no spreadsheet does


def _numbers(table: Table, column: str) -> np.ndarray:
    """The column as float64, NaN where it is empty."""
    place = table.columns.index(column)
    values = np.empty(len(table.rows))
    for row, cells in enumerate(table.rows):
        text = cells[place]
        if text.lower() in MISSING:
            values[row] = np.nan
            continue
        if not _is_number(text):
            hint = (
                "write decimals with a point and no thousands marks"
                if any(c.isdigit() for c in text)
                else ("write a number, or leave the cell empty and give --fill")
            )
            raise InputError(f"{table.at(row, column)}: {text[:40]!r} is not a number; {hint}")
        values[row] = float(text)
        if math.isinf(values[row]):
            raise InputError(
                f"{table.at(row, column)}: {text!r} is not finite; write a number, or leave it empty and give --fill"
            )
        if abs(values[row]) > HUGE:
            raise InputError(f"{table.at(row, column)}: {text!r} is too large to square; give it in a larger unit")
    if np.isnan(values).all():
        raise InputError(f"{table.at(0, column)}: the column holds no number at all; name another with --target")
    return values


# --- times ----------------------------------------------------------------------------------------------------------


def _stamps(table: Table, column: str, time_format: str | None) -> pd.DatetimeIndex:
    place = table.columns.index(column)
    texts = [cells[place] for cells in table.rows]
    form = time_format or "ISO8601"
    offsets = any(text.endswith("Z") or "+" in text for text in texts) or any(
        text[-6:-5] == "-" and ":" in text for text in texts
    )
    numbers = next(
        (row for row, text in enumerate(texts) if form == "ISO8601" and _is_number(text) and len(text) != 4), None
    )
    try:
        stamps = pd.to_datetime(pd.Series(texts, dtype=object), format=form, errors="coerce", utc=offsets)
    except (ValueError, re.error) as error:
        raise InputError(
            f"{table.path}: --time-format {form!r} cannot be used ({error}); write it as strptime's, %d/%m/%Y %H:%M"
        ) from None
    bad = np.flatnonzero(stamps.isna().to_numpy())
    wrong = min([int(row) for row in bad[:1]] + ([] if numbers is None else [numbers]), default=None)
    if wrong is not None:
        raise InputError(
            f"{table.at(wrong, column)}: {texts[wrong][:40]!r} is not a time; write it as 2024-01-31 23:00, "
            "or describe it with --time-format (such as %d/%m/%Y)"
        )
    return pd.DatetimeIndex(stamps.dt.tz_localize(None) if offsets else stamps)


def _check_order(table: Table, column: str, stamps: pd.DatetimeIndex) -> None:
    steps = np.diff(stamps.to_numpy())
    if (backward := np.flatnonzero(steps < np.timedelta64(0))).size:
        row = int(backward[0]) + 1
        raise InputError(f"{table.at(row, column)}: {stamps[row]} comes after {stamps[row - 1]}; sort the rows by time")
    if (again := np.flatnonzero(steps == np.timedelta64(0))).size:
        row = int(again[0]) + 1
        raise InputError(f"{table.at(row, column)}: {stamps[row]} is there twice; keep one of the two rows")


def _grid(table: Table, column: str, stamps: pd.DatetimeIndex) -> pd.DatetimeIndex | pd.PeriodIndex:
    """The regular times from first to last. The commonest step is the frequency."""
    if len(stamps) < 3:
        raise InputError(f"{table.path} has {len(stamps)} rows; a frequency needs at least 3, a forecast many more")
    steps = pd.Series(stamps).diff().iloc[1:]
    step = steps.mode().iloc[0]
    if (steps != step).any():
        for low, high, code in CALENDAR:
            if low <= step.days <= high and step == pd.Timedelta(days=step.days):
                periods = stamps.to_period(code)
                if periods.is_unique:
                    return pd.period_range(periods[0], periods[-1], freq=code)
    grid_size = (stamps[-1] - stamps[0]) // step + 1
    if grid_size > LARGEST * len(stamps):
        row = int(steps.to_numpy().argmax()) + 1
        raise InputError(
            f"{table.at(row, column)}: {stamps[row]} is far from {stamps[row - 1]} "
            f"for a step of {_words(step)}; mend that time"
        )
    off = np.flatnonzero((stamps - stamps[0]) % step != pd.Timedelta(0))
    if off.size:
        row = int(off[0])
        raise InputError(
            f"{table.at(row, column)}: {stamps[row]} is not on the {_words(step)} grid from {stamps[0]}; "
            "mend that time, or resample the file to even steps"
        )
    named = {1: "D", 7: stamps[0].strftime("W-%a").upper()}  # "24h" and "168h" would hide that these are days and weeks
    return pd.date_range(stamps[0], stamps[-1], freq=named.get(step.days, step) if not step.seconds else step)


def _words(step: pd.Timedelta) -> str:
    return str(step).replace("0 days ", "").replace(" 00:00:00", "")


# --- holes ----------------------------------------------------------------------------------------------------------


def _refuse_holes(
    table: Table, time: str, target: str, series: pd.Series, grid: pd.Index, rows: np.ndarray | None
) -> None:
    """Raise InputError at the first missing value or time of `series`, whose rows are the table's unless None."""
    remedy = "mend the file, or give --fill ffill, interpolate or zero"
    empty = np.flatnonzero(series.isna().to_numpy())
    if empty.size:
        place = table.at(int(empty[0]), target) if rows is not None else f"{table.path}, column {target!r}"
        more = f" (and {empty.size - 1} more)" if empty.size > 1 else ""
        raise InputError(f"{place}: no value at {series.index[empty[0]]}{more}; {remedy}")
    absent = grid.difference(series.index)
    if len(absent):
        row = int(series.index.searchsorted(absent[0]))
        place = table.at(row, time) if rows is not None else f"{table.path}, column {time!r}"
        more = f" (and {len(absent) - 1} more)" if len(absent) > 1 else ""
        raise InputError(f"{place}: the time {absent[0]} before it is missing{more}; {remedy}")


def _filled(series: pd.Series, fill: str, path: Path, target: str) -> pd.Series:
    if fill == "zero":
        return series.fillna(0.0)
    if fill == "ffill":
        series = series.ffill()
    elif fill == "interpolate":
        series = series.interpolate("linear", limit_area="inside")
    holes = np.flatnonzero(series.isna().to_numpy())
    if holes.size:  # before the first value, or after the last when interpolating
        raise InputError(
            f"{path}, column {target!r}: nothing to fill {series.index[holes[0]]} from with --fill {fill}; "
            "cut such rows off"
        )
    return series
