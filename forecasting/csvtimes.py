"""The times of a CSV: read, brought to UTC where clocks change, checked, and put on a regular grid."""

import re
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from forecasting.clocks import shown
from forecasting.csvtable import Table, is_number
from lab.errors import InputError

# (days between stamps, the calendar's own period): such stamps are unevenly spaced, so the series gets periods
CALENDAR = ((28, 31, "M"), (90, 92, "Q"), (365, 366, "Y"))
_OFFSET = re.compile(r"\s*(Z|[+-]\d\d?(:?\d\d)?)$")
_SHORT = re.compile(r"\d{4}(-?\d\d)?")  # a year, or a year and a month
UNIX = {"unix": "s", "unix-ms": "ms"}  # --time-format: the unit of numbers that count from 1970 in UTC
RUN = 3  # rows in a row with another step that make another frequency; one or two may be missing rows
LARGEST = 20  # times the rows that a file may grow to when its gaps are filled; more means a stamp is wrong


def read_times(
    table: Table, column: str, time_format: str | None, timezone: str | None = None
) -> tuple[pd.DatetimeIndex, str | None]:
    """The times, without a zone, and the zone to show them in if they are UTC."""
    place = table.columns.index(column)
    texts = [cells[place].strip() for cells in table.rows]
    form = time_format or "ISO8601"
    offsets = _with_offset(table, column, texts, time_format)
    numbers = next(
        (row for row, text in enumerate(texts) if form == "ISO8601" and is_number(text) and len(text) != 4), None
    )
    try:
        if form in UNIX:
            counts = pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce")
            stamps = pd.to_datetime(counts, unit=UNIX[form], errors="coerce", utc=True)
        else:
            stamps = pd.to_datetime(pd.Series(texts, dtype=object), format=form, errors="coerce", utc=offsets)
    except (ValueError, re.error) as error:
        raise InputError(
            f"{table.path}: --time-format {form!r} cannot be used ({error}); write it as strptime's, %d/%m/%Y %H:%M"
        ) from None
    bad = np.flatnonzero(stamps.isna().to_numpy())
    wrong = min([int(row) for row in bad[:1]] + ([] if numbers is None else [numbers]), default=None)
    if wrong is not None:
        # from 1970; the days that spreadsheets count are fewer
        counted = is_number(texts[wrong]) and abs(float(texts[wrong])) > 1e8
        such = "unix, or unix-ms for milliseconds" if counted else "such as %d/%m/%Y"
        raise InputError(
            f"{table.at(wrong, column)}: {texts[wrong][:40]!r} is not a time; write it as 2024-01-31 23:00, "
            f"or describe it with --time-format ({such})"
        )
    if timezone is not None:
        check_zone(timezone)
    if offsets:
        utc = pd.DatetimeIndex(stamps.dt.tz_localize(None))
        days = _days(shown(utc, timezone) if timezone else utc if form in UNIX else _without_offset(texts, form))
        return (utc, timezone or "UTC") if days is None else (days, None)
    local = pd.DatetimeIndex(stamps)
    if timezone is None or len(local) < 2 or pd.Series(local).diff().mode().iloc[0] >= pd.Timedelta(days=1):
        return local, None
    return _to_utc(table, column, local, timezone), timezone


def _with_offset(table: Table, column: str, texts: list[str], time_format: str | None) -> bool:
    """Whether the times carry an offset. Raises InputError where only some do."""
    if time_format is not None:
        return "%z" in time_format or time_format in UNIX
    has = [(":" in text or "T" in text) and _OFFSET.search(text) is not None for text in texts]
    if any(has) and not all(has):
        row = has.index(not has[0])
        raise InputError(
            f"{table.at(row, column)}: {texts[row]!r} has {'an' if has[row] else 'no'} offset from UTC, and the times "
            f"before it {'have none' if has[row] else 'have one'}; write all of them the same way"
        )
    return any(has)


def _without_offset(texts: list[str], form: str) -> pd.DatetimeIndex:
    """Times with an offset as the clocks there showed them; NaT where that cannot be told."""
    clocks = pd.Series([_OFFSET.sub("", text) for text in texts], dtype=object)
    return pd.DatetimeIndex(pd.to_datetime(clocks, format=form.replace("%z", "").strip(), errors="coerce"))


def _days(clocks: pd.DatetimeIndex) -> pd.DatetimeIndex | None:
    """`clocks`, if they are whole days apart: midnights of a place, for example, however far these are in UTC."""
    steps = pd.Series(clocks).diff().iloc[1:]
    if clocks.hasnans or steps.empty or (steps % pd.Timedelta(days=1)).any() or steps.mode().iloc[0].days < 1:
        return None
    return clocks


def check_zone(timezone: str) -> None:
    try:
        ZoneInfo(timezone)
    except (KeyError, ValueError, OSError):
        raise InputError(
            f"unknown --timezone {timezone!r}; name one such as Europe/Berlin or America/New_York"
        ) from None


def _to_utc(table: Table, column: str, local: pd.DatetimeIndex, timezone: str) -> pd.DatetimeIndex:
    """Times on the clocks of `timezone` as UTC; of an hour that comes twice, the one a step from its neighbour."""
    first, second = (
        local.tz_localize(timezone, ambiguous=np.full(len(local), summer), nonexistent="NaT").tz_convert("UTC")
        for summer in (True, False)
    )
    absent = np.flatnonzero(first.isna())
    if absent.size:
        row = int(absent[0])
        raise InputError(f"{table.at(row, column)}: clocks in {timezone} skip {local[row]}; mend it or the --timezone")
    step = pd.Series(local).diff().mode().iloc[0]
    found, unsure = list(first), np.flatnonzero(first != second)
    told = np.setdiff1d(np.arange(len(found)), unsure)[:1]  # before any that is sure: backwards from there, or the end
    start = int(told[0]) if told.size else len(found)
    for row in unsure[unsure < start][::-1]:
        after = found[row + 1] if row + 1 < len(found) else second[row] + step
        found[row] = min(first[row], second[row], key=lambda stamp: abs(after - step - stamp))
    for row in unsure[unsure > start]:
        found[row] = min(first[row], second[row], key=lambda stamp: abs(found[row - 1] + step - stamp))
    return pd.DatetimeIndex(found).tz_localize(None)


def said(stamp: pd.Timestamp, zone: str | None) -> str:
    """A time as the file has it: one in UTC on the clocks of its zone."""
    return str(stamp if zone is None else stamp.tz_localize("UTC").tz_convert(zone))


def check_order(table: Table, column: str, stamps: pd.DatetimeIndex, zone: str | None = None) -> None:
    steps = np.diff(stamps.to_numpy())
    if (steps <= np.timedelta64(0)).any() and (name := _key(table, column, stamps)) is not None:
        raise InputError(
            f"{table.path} holds several series, told apart by column {name!r}; keep the rows of one of them, or give "
            "each a column of its own"
        )
    if (backward := np.flatnonzero(steps < np.timedelta64(0))).size:
        row = int(backward[0]) + 1
        raise InputError(
            f"{table.at(row, column)}: {said(stamps[row], zone)} comes after {said(stamps[row - 1], zone)}; sort the "
            f"rows by time{clock_hint(stamps, row, zone)}"
        )
    if (again := np.flatnonzero(steps == np.timedelta64(0))).size:
        row = int(again[0]) + 1
        raise InputError(
            f"{table.at(row, column)}: {said(stamps[row], zone)} is there twice; keep one of the two rows"
            f"{clock_hint(stamps, row, zone)}"
        )


def _key(table: Table, column: str, stamps: pd.DatetimeIndex) -> str | None:
    """The column of names or whole numbers that tells apart the series of a file with one below or beside the other."""
    if len(stamps) < 1.5 * stamps.nunique():
        return None
    for place, name in enumerate(table.columns):
        cells = pd.Series([cells[place] for cells in table.rows])
        if name != column and not cells.map(lambda cell: is_number(cell) and "." in cell).any():
            steps = stamps.to_series(index=cells.index).groupby(cells).diff().dropna()
            if len(steps) >= len(cells) // 2 and (steps > pd.Timedelta(0)).all():
                return name
    return None


def clock_hint(stamps: pd.DatetimeIndex, row: int, zone: str | None) -> str:
    """What else may be the cause in a month in which clocks change, for times within the day without a zone."""
    within = len(stamps) > 1 and pd.Series(stamps).diff().mode().iloc[0] < pd.Timedelta(days=1)
    maybe = zone is None and within and stamps[row].month in (3, 4, 10, 11)
    return ", or give --timezone if clocks changed there" if maybe else ""


def check_mixed(table: Table, column: str, stamps: pd.DatetimeIndex, zone: str | None = None) -> None:
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
        f"{table.at(row, column)}: from {said(stamps[row], zone)} on the times are {after} apart, before it {before}; "
        "bring the file to one frequency, or name with --fill how to fill the finer one"
    )


def regular(
    table: Table, column: str, stamps: pd.DatetimeIndex, zone: str | None = None, frequency: str | None = None
) -> pd.DatetimeIndex | pd.PeriodIndex:
    """The regular times from first to last.

    frequency: pandas' name of it, where it is known. Without it the commonest step is the frequency; days without a
    weekend among them, over more than a week, are business days.
    """
    if len(stamps) < 3 and frequency is None:
        raise InputError(f"{table.path} has {len(stamps)} rows; a frequency needs at least 3, a forecast many more")
    steps = pd.Series(stamps).diff().iloc[1:]
    step = pd.Timedelta(0) if steps.empty else steps.mode().iloc[0]
    whole = step == pd.Timedelta(days=step.days)
    for low, high, code in CALENDAR:
        like = whole and low <= step.days <= high and ((steps != step).any() or stamps.day.nunique() == 1)
        periods = stamps.to_period(code)
        if periods.freqstr == frequency or (frequency is None and like and periods.is_unique):
            return pd.period_range(periods[0], periods[-1], freq=code)
    day = pd.Timedelta(days=1)
    worked = not (steps % day).any() and (stamps.dayofweek < 5).all()
    if worked and (frequency == "B" or (frequency is None and step == day and steps.sum() > 8 * day)):
        return pd.date_range(stamps[0], stamps[-1], freq="B")
    if frequency is not None and len(stamps) < 3:
        return pd.date_range(stamps[0], stamps[-1], freq=frequency)
    grid_size = (stamps[-1] - stamps[0]) // step + 1
    if grid_size > LARGEST * len(stamps):
        row = int(steps.to_numpy().argmax()) + 1
        raise InputError(
            f"{table.at(row, column)}: {said(stamps[row], zone)} is far from {said(stamps[row - 1], zone)} "
            f"for a step of {_words(step)}; mend that time"
        )
    off = np.flatnonzero((stamps - stamps[0]) % step != pd.Timedelta(0))
    if off.size:
        row = int(off[0])
        even = zone is not None and pd.Series(shown(stamps, zone)).diff().iloc[1:].nunique() == 1
        remedy = (
            "leave --timezone out, since on the clocks there the steps are even" if even
            else "mend that time, or resample the file to even steps"
        )  # fmt: skip
        raise InputError(
            f"{table.at(row, column)}: {said(stamps[row], zone)} is not on the {_words(step)} grid from "
            f"{said(stamps[0], zone)}; {remedy}"
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
