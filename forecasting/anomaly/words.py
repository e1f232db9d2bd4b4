"""One plain sentence about an anomaly, and the numbers it is built from."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from lab.digits import short

FLAT = 0.25  # of the usual movement: less is standing still
PEAK = 0.75  # spreads of the training part: what stands out so far from both ends of an interval is a peak
MISSING = 0.45  # of a peak's usual height: less than that is none
FEW = 1 / 3  # of an interval: what is off in fewer samples is a spike or a dip, not a level


@dataclass(frozen=True)
class Numbers:
    """What was there against what is usual, the median of the draws, in the series' unit."""

    mean: float
    usual_mean: float
    percent: float | None
    """The mean's difference from the usual one; None where either course is not above zero throughout."""
    off: float
    """Mean distance from the usual course."""
    outside: float
    """Share of the samples outside everything that was drawn."""
    most: int
    """Position in the interval where it is off most."""
    most_value: float
    most_usual: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def numbers(values: np.ndarray, paths: np.ndarray) -> Numbers:
    """values: what was there, (width,); paths: what would be normal, (K, width)."""
    usual = np.median(paths, axis=0)
    mean, usual_mean = float(values.mean()), float(usual.mean())
    most = int(np.abs(values - usual).argmax())
    return Numbers(
        mean, usual_mean, 100 * (mean / usual_mean - 1) if min(usual.min(), values.min()) > 0 else None,
        float(np.abs(values - usual).mean()),
        float(np.mean((values < paths.min(axis=0)) | (values > paths.max(axis=0)))),
        most, float(values[most]), float(usual[most]),
    )  # fmt: skip


def sentence(index: pd.Index, start: int, values: np.ndarray, paths: np.ndarray, scale: float, unit: str) -> str:
    """What is strange about `values` (width,), which begin at `start` of a series with `index`.

    paths: what would be normal, (K, width); scale: the spread of the training part; unit: the series' name.
    """
    found, usual = numbers(values, paths), np.median(paths, axis=0)
    parts = [part for part in (_level(found, paths, unit), _shape(index, start, values, usual, found, scale)) if part]
    if not parts:
        there, should = amounts(found.most_value, found.most_usual)
        where = f"{_when(index, start + found.most, start, len(values))} ({there} instead of {should})"
        parts = [f"{unit} off the usual course by {amount(found.off)} on average, most {where}"]
    zone = getattr(index, "tz", None)
    clocks = f" ({zone})" if zone and not _coarse(_stamps(index)) else ""
    return f"{span(index, start, start + len(values))}{clocks}: {'; '.join(parts)}."


def _level(found: Numbers, paths: np.ndarray, unit: str) -> str:
    """That the mean is off, where it is further off than the draws are among themselves."""
    means = paths.mean(axis=1)
    if abs(found.mean - found.usual_mean) <= 3 * means.std() or found.outside <= FEW:
        return ""
    sign = "above" if found.mean > found.usual_mean else "below"
    there, should = amounts(found.mean, found.usual_mean)
    averages = f"{there} instead of {should} on average"
    if found.percent is not None and abs(found.percent) >= 1:
        return f"{unit} {abs(found.percent):.0f} % {sign} what is usual ({averages})"
    return f"{unit} {amount(abs(found.mean - found.usual_mean))} {sign} what is usual ({averages})"


def _shape(index: pd.Index, start: int, values: np.ndarray, usual: np.ndarray, found: Numbers, scale: float) -> str:
    """What of the course is missing, or there though it should not be; empty where neither is plain."""
    moved, should = np.ptp(values), np.ptp(usual)
    if should > PEAK * scale and moved < FLAT * should:
        near, low, high = amounts(float(np.median(values)), float(usual.min()), float(usual.max()))
        return f"stays near {near} where {low} to {high} is usual"
    for sign, what in ((1, "peak"), (-1, "low")):
        top = int((sign * usual).argmax())
        height, left = (  # above both ends: a peak on another level is no missing one
            (sign * course).max() - max(sign * course[0], sign * course[-1]) for course in (usual, values)
        )
        lower = sign * usual[top] - (sign * values).max() > height / 2
        if height > PEAK * scale and lower and left < MISSING * height:
            part = _part_of_day(index, start + top)
            where = f"{amount(float(usual[top]))} {_when(index, start + top, start, len(values))}"
            return f"the usual {part}{what} ({where}) is missing"
    off = np.abs(values - usual) > 0.5 * abs(found.most_value - found.most_usual)
    if off.mean() <= FEW and abs(found.most_value - found.most_usual) > PEAK * scale:
        what = "spike" if found.most_value > found.most_usual else "dip"
        there, should = amounts(found.most_value, found.most_usual)
        return f"a {what} to {there} {_when(index, start + found.most, start, len(values))}, where {should} is usual"
    return ""


def amount(value: float) -> str:
    """A number in a sentence."""
    return short(value, 3)


def amounts(*values: float) -> list[str]:
    """Several to be told apart: as `amount`, with two digits of the distance between the lowest and highest."""
    apart = max(values) - min(values)
    digits = 1 - math.floor(math.log10(apart)) if apart > 0 else 0
    plain = [amount(value) for value in values]
    if digits <= 0 or (max(map(abs, values)) < 100 and len(set(plain)) == len(plain)):
        return plain
    return [f"{value:,.{digits}f}" for value in values]


def _stamps(index: pd.Index) -> pd.DatetimeIndex | None:
    if isinstance(index, pd.PeriodIndex):
        return index.to_timestamp()
    return index if isinstance(index, pd.DatetimeIndex) else None


def _coarse(stamps: pd.DatetimeIndex) -> bool:
    """Whether the index has no times of day."""
    return bool((stamps == stamps.normalize()).all())


def stamp(index: pd.Index, at: int) -> str:
    """A time as a table shows it."""
    return f"{index[at]:.6g}" if isinstance(index[at], float) else str(index[at])


def _day(index: pd.Index, at: int) -> str:
    """The day of sample `at`; of months, quarters and years just that."""
    if isinstance(index, pd.PeriodIndex) and not index.freqstr.startswith("D"):
        return f"{index[at].to_timestamp():%B %Y}" if index.freqstr.startswith("M") else str(index[at])
    return f"{index[at]:%-d %B %Y}" if isinstance(index, pd.DatetimeIndex) else f"{index[at].to_timestamp():%-d %B %Y}"


def _clock(stamps: pd.DatetimeIndex, at: int) -> str:
    """The time of day, as fine as the steps of the index need it."""
    step = stamps[1] - stamps[0] if len(stamps) > 1 else pd.Timedelta("1h")
    if step % pd.Timedelta("1min") == pd.Timedelta(0):
        return f"{stamps[at]:%H:%M}"
    second = f"{stamps[at]:%H:%M:%S}"
    return second if step % pd.Timedelta("1s") == pd.Timedelta(0) else f"{second}.{stamps[at].microsecond // 1000:03}"


def _moment(index: pd.Index, at: int, start: int | None = None, width: int = 1) -> str:
    """When sample `at` is; of an interval of `width` from `start` over several days, the day too."""
    stamps = _stamps(index)
    if stamps is None:
        return stamp(index, at)
    if _coarse(stamps):
        return _day(index, at)
    several = start is not None and stamps[start].date() != stamps[start + width - 1].date()
    return f"{_clock(stamps, at)} on {stamps[at]:%-d %B}" if several else _clock(stamps, at)


def _when(index: pd.Index, at: int, start: int, width: int) -> str:
    """`_moment` with what goes before it: at 09:00, on 2 May 2024, in May 2024."""
    stamps = _stamps(index)
    if stamps is None or not _coarse(stamps):
        return f"at {_moment(index, at, start, width)}"
    return f"{_before(index)} {_moment(index, at, start, width)}"


def _before(index: pd.Index) -> str:
    """What goes before a day, or a month, quarter or year."""
    return "in" if isinstance(index, pd.PeriodIndex) and not index.freqstr.startswith("D") else "on"


def span(index: pd.Index, start: int, end: int) -> str:
    """The time from sample `start` to the one before `end`, in words."""
    stamps = _stamps(index)
    if stamps is None:
        unit = f" {index.name}" if index.name else ""
        prefix = "" if index.name else "samples "
        if end - start == 1:
            return f"At {prefix.replace('samples', 'sample')}{_moment(index, start)}{unit}"
        return f"Between {prefix}{_moment(index, start)} and {_moment(index, end - 1)}{unit}"
    first, last = stamps[start], stamps[end - 1]
    if _coarse(stamps):
        one = f"{_before(index).capitalize()} {_day(index, start)}"
        return f"From {_day(index, start)} to {_day(index, end - 1)}" if end - start > 1 else one
    if first.date() == last.date():
        if end - start == 1:
            return f"At {_clock(stamps, start)} on {first:%-d %B %Y}"
        return f"Between {_clock(stamps, start)} and {_clock(stamps, end - 1)} on {first:%-d %B %Y}"
    day = f"{first:%-d %B}" if first.year == last.year else f"{first:%-d %B %Y}"
    return f"Between {_clock(stamps, start)} on {day} and {_clock(stamps, end - 1)} on {last:%-d %B %Y}"


def _part_of_day(index: pd.Index, at: int) -> str:
    stamps = _stamps(index)
    if stamps is None or _coarse(stamps):
        return ""
    hour = stamps[at].hour
    parts = ((5, "night "), (11, "morning "), (14, "midday "), (18, "afternoon "), (23, "evening "), (24, "night "))
    return next(word for until, word in parts if hour < until)
