"""The times of a CSV: read, brought to UTC where clocks change, checked, and put on a regular grid."""

import re

import numpy as np
import pandas as pd

from forecasting.csvtable import Table, is_number
from lab.errors import InputError

# (days between stamps, the calendar's own period): such stamps are unevenly spaced, so the series gets periods
CALENDAR = ((28, 31, "M"), (90, 92, "Q"), (365, 366, "Y"))
_OFFSET = re.compile(r"\s*(Z|[+-]\d\d:?\d\d)$")
_SHORT = re.compile(r"\d{4}(-?\d\d)?")  # a year, or a year and a month
RUN = 3  # rows in a row with another step that make another frequency; one or two may be missing rows
LARGEST = 20  # times the rows that a file may grow to when its gaps are filled; more means a stamp is wrong


def read_times(
    table: Table, column: str, time_format: str | None, timezone: str | None = None
) -> tuple[pd.DatetimeIndex, str | None]:
    """The times, without a zone, and the zone to show them in if they are UTC."""
    place = table.columns.index(column)
    texts = [cells[place] for cells in table.rows]
    form = time_format or "ISO8601"
    offsets = any(text.endswith("Z") or "+" in text for text in texts) or any(
        text[-6:-5] == "-" and ":" in text for text in texts
    )
    numbers = next(
        (row for row, text in enumerate(texts) if form == "ISO8601" and is_number(text) and len(text) != 4), None
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
    if timezone is not None:
        check_zone(timezone)
    if offsets:
        days = _days(texts, form)
        return (pd.DatetimeIndex(stamps.dt.tz_localize(None)), timezone or "UTC") if days is None else (days, None)
    local = pd.DatetimeIndex(stamps)
    if timezone is None or len(local) < 2 or pd.Series(local).diff().mode().iloc[0] >= pd.Timedelta(days=1):
        return local, None
    return _to_utc(table, column, local, timezone), timezone


def _days(texts: list[str], form: str) -> pd.DatetimeIndex | None:
    """Times with an offset as the clocks there showed them, if these are whole days apart: midnights, for example."""
    clocks = pd.to_datetime(
        pd.Series([_OFFSET.sub("", text) for text in texts], dtype=object), format=form, errors="coerce"
    )
    steps = clocks.diff().iloc[1:]
    if clocks.isna().any() or steps.empty or (steps % pd.Timedelta(days=1)).any() or steps.mode().iloc[0].days < 1:
        return None
    return pd.DatetimeIndex(clocks)


def check_zone(timezone: str) -> None:
    try:
        pd.Timestamp(0).tz_localize(timezone)
    except (KeyError, ValueError, OSError):
        raise InputError(
            f"unknown --timezone {timezone!r}; name one such as Europe/Berlin or America/New_York"
        ) from None


def _to_utc(table: Table, column: str, local: pd.DatetimeIndex, timezone: str) -> pd.DatetimeIndex:
    """Times on the clocks of `timezone` as UTC; an hour that is there twice is first the one before clocks go back."""
    try:
        aware = local.tz_localize(timezone, ambiguous="infer", nonexistent="NaT")
    except ValueError:  # the hour that comes twice is there once only, or not in order: take it for the first
        aware = local.tz_localize(timezone, ambiguous=np.ones(len(local), bool), nonexistent="NaT")
    absent = np.flatnonzero(aware.isna())
    if absent.size:
        row = int(absent[0])
        raise InputError(f"{table.at(row, column)}: clocks in {timezone} skip {local[row]}; mend it or the --timezone")
    return aware.tz_convert("UTC").tz_localize(None)


def check_order(table: Table, column: str, stamps: pd.DatetimeIndex) -> None:
    steps = np.diff(stamps.to_numpy())
    if (backward := np.flatnonzero(steps < np.timedelta64(0))).size:
        row = int(backward[0]) + 1
        hint = clock_hint(stamps, row)
        raise InputError(
            f"{table.at(row, column)}: {stamps[row]} comes after {stamps[row - 1]}; sort the rows by time{hint}"
        )
    if (again := np.flatnonzero(steps == np.timedelta64(0))).size:
        row = int(again[0]) + 1
        hint = clock_hint(stamps, row)
        raise InputError(f"{table.at(row, column)}: {stamps[row]} is there twice; keep one of the two rows{hint}")


def clock_hint(stamps: pd.DatetimeIndex, row: int) -> str:
    """What else may be the cause in a month in which clocks change, for times within the day."""
    within = len(stamps) > 1 and pd.Series(stamps).diff().mode().iloc[0] < pd.Timedelta(days=1)
    return ", or give --timezone if clocks changed there" if within and stamps[row].month in (3, 4, 10, 11) else ""


def check_mixed(table: Table, column: str, stamps: pd.DatetimeIndex) -> None:
    """Raise InputError at the row from which the times have another step, and keep it for at least RUN rows."""
    steps = np.diff(stamps.to_numpy())
    changes = np.flatnonzero(np.concatenate([[True], steps[1:] != steps[:-1]]))
    lengths = np.diff(np.append(changes, len(steps)))
    runs = changes[lengths >= RUN]  # where such stretches begin
    other = runs[steps[runs] != steps[runs[0]]] if len(runs) else runs
    if not other.size or (pd.Timedelta(steps.min()).days >= 28 and pd.Timedelta(steps.max()).days <= 366):
        return
    row = int(other[0]) + 1
    before, after = (_words(pd.Timedelta(steps[start])) for start in (runs[0], other[0]))
    raise InputError(
        f"{table.at(row, column)}: from {stamps[row]} on the times are {after} apart, before it {before}; "
        "bring the file to one frequency, or name with --fill how to fill the finer one"
    )


def regular(table: Table, column: str, stamps: pd.DatetimeIndex) -> pd.DatetimeIndex | pd.PeriodIndex:
    """The regular times from first to last. The commonest step is the frequency; days without a weekend among them are
    business days."""
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
    day = pd.Timedelta(days=1)
    if step == day and not (steps % day).any() and steps.sum() > 8 * day and (stamps.dayofweek < 5).all():
        return pd.date_range(stamps[0], stamps[-1], freq="B")
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


def day_of(texts: list[str], stamps: pd.DatetimeIndex, periods: pd.PeriodIndex) -> str | None:
    """Which day of its period each of `stamps` is: "start", "end", or None for others and where none was written."""
    if any(_SHORT.fullmatch(text.strip()) for text in texts):
        return None
    for day in ("start", "end"):
        if (periods.to_timestamp(how=day).normalize() == stamps).all():
            return day
    return None


def _words(step: pd.Timedelta) -> str:
    return str(step).replace("0 days ", "").replace(" 00:00:00", "")
