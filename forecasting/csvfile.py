"""A user's CSV as a regular series. Everything that can be wrong with it is found here, once, and said in one line."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from forecasting.csvtable import (
    MISSING,
    Table,
    decimal_commas,
    has_times,
    is_number,
    looks_like_time,
    numbers,
    read_table,
    target_column,
    time_column,
)
from forecasting.csvtimes import check_mixed, check_order, clock_hint, day_of, read_times, regular, said
from lab.errors import InputError, unknown

FILLS = ("none", "ffill", "interpolate", "zero")


def read_csv(
    path: str | Path, target: str | None = None, time: str | None = None, fill: str = "none", *,
    time_format: str | None = None, timezone: str | None = None, name: str | None = None, tidy: str | None = None,
    since: str | None = None, ahead: bool = False, frequency: str | None = None,
) -> pd.Series:  # fmt: skip
    """The column `target` of a CSV (plain or gzip) as a float64 series on a regular time index with its frequency.

    Cells are parted by commas, semicolons or tabs; with the latter two, decimals may have a comma (1234,5).

    target: may be left out where there is only one column beside the time. time: may be left out where a column is
    called time, date, ... or the first one holds times. time_format: strptime's, for times that are not ISO 8601;
        "unix" or "unix-ms" for (milli)seconds since 1970 in UTC.
    timezone: whose clock the times are read from, such as Europe/Berlin, where they carry no offset and clocks change.
    fill: what to do about gaps and missing values: "none" (refuse), "ffill", "interpolate" (linear) or "zero".
    tidy: a frequency, for published files known to be untidy: rows are sorted, times snapped to that grid, and rows
        that fall together averaged. A user's own file is never changed so.
    since: with tidy, the time before which rows are left out.
    ahead: whether the last rows may lack a value, since they are there for what is known ahead (see `read_known`); they
        are cut off.
    frequency: pandas' name of the one that the file has, for rows too few to tell.

    Times with an offset or a timezone become UTC, so that a change of clocks neither leaves a gap nor shifts anything
    (with `timezone`, or "UTC", as attrs["zone"]); with a step of a day or more they are days and stay as they are.
    Monthly, quarterly and yearly stamps give a PeriodIndex (with "start" or "end" as attrs["day"], if all are the first
    or the last days), others a DatetimeIndex.
    Raises InputError, naming file, row (the file's line, header = 1) and column, for anything that cannot be used.
    """
    if fill not in FILLS:
        raise unknown("fill", fill, FILLS)
    table = read_table(Path(path))
    time = time_column(table, time)
    target = target_column(table, target, time)
    values = numbers(table, target)
    if ahead and np.isnan(values[-1]):
        end = int(np.flatnonzero(~np.isnan(values))[-1]) + 1
        table = replace(table, rows=table.rows[:end], lines=table.lines[:end])
        values = values[:end]
    stamps, zone = read_times(table, time, time_format, timezone)
    day = None
    if tidy:
        series = pd.Series(values, pd.DatetimeIndex(stamps).round(tidy)).groupby(level=0).mean()[since:]
        rows = np.arange(len(series))  # lines no longer match rows
        grid = pd.date_range(series.index[0], series.index[-1], freq=tidy)
        result, stamps = series, pd.DatetimeIndex(series.index)
    else:
        check_order(table, time, stamps, zone)
        if fill == "none":
            check_mixed(table, time, stamps, zone)
        grid = regular(table, time, stamps, zone, frequency)
        rows = np.arange(len(stamps))
        if isinstance(grid, pd.PeriodIndex):
            day = day_of(
                [cells[table.columns.index(time)] for cells in table.rows], stamps, stamps.to_period(grid.freq)
            )
            stamps = stamps.to_period(grid.freq)
        result = pd.Series(values, stamps)
    if fill == "none":
        _refuse_holes(table, time, target, result, grid, rows if not tidy else None, zone)
    result = _filled(result.reindex(grid), fill, table.path, target).rename(name or target)
    result.index.name = time
    result.attrs["file"] = str(path)
    if zone:
        result.attrs["zone"] = zone
    if day:
        result.attrs["day"] = day
    return result


def read_steps(path: str | Path, target: str | None = None, fill: str = "none") -> pd.Series | None:
    """The column `target` of a CSV without times as a float64 series over its rows, from 0; None if it may have some.

    For what needs an order and no clock. target, fill: as `read_csv`. Raises InputError for a file without a header or
    with a column that cannot be used.
    """
    if fill not in FILLS:
        raise unknown("fill", fill, FILLS)
    table = read_table(Path(path))
    if has_times(table) or any(looks_like_time(cell) for cell in table.rows[0]):
        return None
    if all(map(is_number, table.columns)):
        raise InputError(f"{table.path} row 1 has numbers where it should name the columns; put a header line above it")
    target = target_column(table, target, "")
    series = pd.Series(numbers(table, target), name=target)
    empty = np.flatnonzero(series.isna())
    if fill == "none" and empty.size:
        raise InputError(f"{table.at(int(empty[0]), target)}: no value; give --fill ffill, interpolate or zero")
    return _filled(series, fill, table.path, target)


def read_known(
    path: str | Path, columns: Sequence[str], series: pd.Series, time: str | None = None, fill: str = "none", *,
    time_format: str | None = None, timezone: str | None = None,
) -> pd.DataFrame:  # fmt: skip
    """What is known ahead: `columns` of the CSV that `series` was read from, for its rows and for all that come after.

    A column is one of numbers (float64) where most of its cells are, else one of words. fill: as `read_csv`; in a
    column of words every filling repeats the word before. Raises InputError for a cell that is missing, for one among
    numbers that is none or not finite, and for a column that is not there.
    """
    table = read_table(Path(path))
    time = time_column(table, time)
    for column in columns:
        if column not in table.columns:
            raise unknown("column", column, [name for name in table.columns if name != time], f"({path} row 1)")
        if column in (time, series.name):
            raise InputError(f"{path}: column {column!r} is the time or the target, so it cannot be known ahead")
    stamps, zone = read_times(table, time, time_format, timezone)
    frequency = getattr(series.index, "freqstr", None)
    if frequency == "B":  # weekends that are known are of no use
        kept = np.flatnonzero(stamps.dayofweek < 5)
        table = replace(table, rows=[table.rows[row] for row in kept], lines=[table.lines[row] for row in kept])
        stamps = stamps[kept]
    check_order(table, time, stamps, zone)
    grid = regular(table, time, stamps, zone, frequency)
    index = stamps.to_period(grid.freq) if isinstance(grid, pd.PeriodIndex) else stamps
    frame = pd.DataFrame(index=grid)
    for column in columns:
        place = table.columns.index(column)
        cells = pd.Series([cells[place] for cells in table.rows], index, dtype=object)
        cells[cells.str.lower().isin(MISSING - {"none"})] = None  # None is what some files call a day without holiday
        numeric = cells.dropna().map(is_number).mean() > 0.5 or decimal_commas(table, column)
        words = not numeric  # one word among numbers is a slip, and refused as one
        known = cells.astype(str).where(cells.notna()) if words else pd.Series(numbers(table, column), index)
        if fill == "none" and len(empty := np.flatnonzero(known.isna().to_numpy())):
            raise InputError(
                f"{table.at(int(empty[0]), column)}: no value, though known ahead; fill it, or give --fill"
            )
        known = known.reindex(grid)
        if fill == "none" and known.isna().any():
            absent = said(known.index[known.isna()][0], zone)
            raise InputError(f"{path}, column {time!r}: no row for {absent}; add it, or give --fill")
        frame[column] = known.ffill().bfill() if words else _filled(known, fill, Path(path), column)
    return frame


# --- holes ----------------------------------------------------------------------------------------------------------


def _refuse_holes(
    table: Table, time: str, target: str, series: pd.Series, grid: pd.Index, rows: np.ndarray | None, zone: str | None
) -> None:
    """Raise InputError at the first missing value or time of `series`, whose rows are the table's unless None."""
    remedy = "mend the file, or give --fill ffill, interpolate or zero"
    empty = np.flatnonzero(series.isna().to_numpy())
    if empty.size:
        place = table.at(int(empty[0]), target) if rows is not None else f"{table.path}, column {target!r}"
        more = f" (and {empty.size - 1} more)" if empty.size > 1 else ""
        last = len(table.columns) > 2 and empty[0] == len(series) - len(empty)
        known = ", or name what is known of these last rows with --known" if last else ""
        raise InputError(f"{place}: no value at {said(series.index[empty[0]], zone)}{more}; {remedy}{known}")
    absent = grid.difference(series.index)
    if len(absent):
        row = int(series.index.searchsorted(absent[0]))
        place = table.at(row, time) if rows is not None else f"{table.path}, column {time!r}"
        more = f" (and {len(absent) - 1} more)" if len(absent) > 1 else ""
        hint = clock_hint(series.index, row, zone) if isinstance(series.index, pd.DatetimeIndex) else ""
        raise InputError(f"{place}: the time {said(absent[0], zone)} before it is missing{more}; {remedy}{hint}")


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
