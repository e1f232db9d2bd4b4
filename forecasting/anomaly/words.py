"""One plain sentence about an anomaly, and the numbers it is built from."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

FLAT = 0.25  # of the usual movement: less is standing still
PEAK = 0.75  # spreads of the training part: what stands out so far from both ends of an interval is a peak
FEW = 1 / 3  # of an interval: what is off in fewer samples is a spike or a dip, not a level


@dataclass(frozen=True)
class Numbers:
    """What was there against what is usual, the median of the draws, in the series' unit."""

    mean: float
    usual_mean: float
    percent: float | None
    """The mean's difference from the usual one; None where what is usual is not above zero throughout."""
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
        mean, usual_mean, 100 * (mean / usual_mean - 1) if usual.min() > 0 else None,
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
    where = f"{_moment(index, start + found.most)} ({amount(found.most_value)} instead of {amount(found.most_usual)})"
    if not parts:
        parts = [f"{unit} off the usual course by {amount(found.off)} on average, most at {where}"]
    return f"{span(index, start, start + len(values))}: {'; '.join(parts)}."


def _level(found: Numbers, paths: np.ndarray, unit: str) -> str:
    """That the mean is off, where it is further off than the draws are among themselves."""
    means = paths.mean(axis=1)
    if abs(found.mean - found.usual_mean) <= 3 * means.std() or found.outside <= FEW:
        return ""
    sign = "above" if found.mean > found.usual_mean else "below"
    averages = f"{amount(found.mean)} instead of {amount(found.usual_mean)} on average"
    if found.percent is not None and abs(found.percent) >= 1:
        return f"{unit} {abs(found.percent):.0f} % {sign} what is usual ({averages})"
    return f"{unit} {amount(abs(found.mean - found.usual_mean))} {sign} what is usual ({averages})"


def _shape(index: pd.Index, start: int, values: np.ndarray, usual: np.ndarray, found: Numbers, scale: float) -> str:
    """What of the course is missing, or there though it should not be; empty where neither is plain."""
    moved, should = np.ptp(values), np.ptp(usual)
    if should > PEAK * scale and moved < FLAT * should:
        low, high = amount(float(usual.min())), amount(float(usual.max()))
        return f"stays near {amount(float(np.median(values)))} where {low} to {high} is usual"
    for sign, what in ((1, "peak"), (-1, "low")):
        top = int((sign * usual).argmax())
        height = sign * usual[top] - max(sign * usual[0], sign * usual[-1])
        if height > PEAK * scale and sign * usual[top] - (sign * values).max() > height / 2:
            part = _part_of_day(index, start + top)
            where = f"{amount(float(usual[top]))} at {_moment(index, start + top)}"
            return f"the usual {part}{what} ({where}) is missing"
    off = np.abs(values - usual) > 0.5 * abs(found.most_value - found.most_usual)
    if off.mean() <= FEW and abs(found.most_value - found.most_usual) > PEAK * scale:
        what = "spike" if found.most_value > found.most_usual else "dip"
        where = f"{_moment(index, start + found.most)}, where {amount(found.most_usual)} is usual"
        return f"a {what} to {amount(found.most_value)} at {where}"
    return ""


def amount(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


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


def _moment(index: pd.Index, at: int) -> str:
    stamps = _stamps(index)
    if stamps is None:
        return stamp(index, at)
    return f"{stamps[at]:%-d %B %Y}" if _coarse(stamps) else f"{stamps[at]:%H:%M}"


def span(index: pd.Index, start: int, end: int) -> str:
    """The time from sample `start` to the one before `end`, in words."""
    stamps = _stamps(index)
    if stamps is None:
        unit = f" {index.name}" if index.name else ""
        prefix = "" if index.name else "samples "
        return f"Between {prefix}{_moment(index, start)} and {_moment(index, end - 1)}{unit}"
    first, last = stamps[start], stamps[end - 1]
    if _coarse(stamps):
        return f"From {first:%-d %B %Y} to {last:%-d %B %Y}" if end - start > 1 else f"On {first:%-d %B %Y}"
    if first.date() == last.date():
        return f"Between {first:%H:%M} and {last:%H:%M} on {first:%-d %B %Y}"
    return f"Between {first:%H:%M} on {first:%-d %B} and {last:%H:%M} on {last:%-d %B %Y}"


def _part_of_day(index: pd.Index, at: int) -> str:
    stamps = _stamps(index)
    if stamps is None or _coarse(stamps):
        return ""
    hour = stamps[at].hour
    parts = ((5, "night "), (11, "morning "), (14, "midday "), (18, "afternoon "), (23, "evening "), (24, "night "))
    return next(word for until, word in parts if hour < until)
