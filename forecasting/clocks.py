"""Series as the clocks of a place show them: what models see of a series that people make.

People get up by the clock, so after a change of clocks their days begin an hour earlier or later in UTC. A series in
UTC with a zone is therefore put on a grid of the times that clocks there show: the hour that comes twice in autumn is
the mean of both, the one skipped in spring lies between its neighbours. Forecasts go back to UTC, one for each step
there.
"""

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

AHEAD = 800  # days after a series in which changes of clocks are looked for: saved models go on for as long
_DAYS = re.compile(r"\d*(D|B|W-[A-Z]{3})")  # frequencies of days, business days and weeks


@dataclass(frozen=True)
class Clocks:
    """Between a series in UTC and what its models see. Without a zone both are the same."""

    zone: str | None = None
    skipped: int = 0
    """Steps that the clocks skip at most, when they change."""

    @classmethod
    def of(cls, series: pd.Series) -> "Clocks":
        """Those of attrs["zone"]; none where a change of clocks there is no whole number of the series' steps."""
        zone, index = series.attrs.get("zone"), series.index
        if zone is None or not isinstance(index, pd.DatetimeIndex):
            return cls()
        days = pd.date_range(index[0], index[-1] + pd.Timedelta(days=AHEAD), freq="D")
        offsets, step = shown(days, zone) - days, step_of(index)
        if ((offsets - offsets[0]) % step).any():
            return cls()
        return cls(zone, int((offsets.max() - offsets.min()) // step))

    def seen(self, known: Any, extra: int = 0) -> Any:
        """A series or table in UTC as the clocks show it; `extra`: further rows, which repeat the last one."""
        if self.zone is None:
            return known
        there = shown(known.index, self.zone)
        frame = known.to_frame() if isinstance(known, pd.Series) else known
        numeric = {column: pd.api.types.is_numeric_dtype(frame[column]) for column in frame}
        merged = frame.set_axis(there).groupby(level=0)
        merged = merged.agg({column: "mean" if number else "last" for column, number in numeric.items()})
        grid = pd.date_range(merged.index[0], merged.index[-1], freq=known.index.freq or step_of(known.index))
        whole = merged.reindex(grid)
        for column, number in numeric.items():
            whole[column] = whole[column].interpolate() if number else whole[column].ffill()
        if extra:
            whole = whole.reindex(extended(grid, extra)).ffill()
        return whole[known.name] if isinstance(known, pd.Series) else whole

    def joined(self, end: float, at: pd.Timestamp, series: pd.Series) -> pd.Series:
        """`series` as the clocks show it, from right behind the value `end` at the time `at`: where it begins after
        times that the clocks skipped, these come first, on the line between the two.
        """
        if self.zone is None or series.index[0] <= at:
            return series
        between = pd.date_range(at, series.index[0], freq=step_of(series.index))[1:-1]
        there = between.tz_localize(self.zone, nonexistent="NaT", ambiguous=np.ones(len(between), bool))
        if between.empty or there.notna().any():
            return series
        line = np.linspace(end, series.iloc[0], len(between) + 2)[1:-1]
        whole = pd.concat([pd.Series(line, between), series])
        return whole.asfreq(series.index.freq or step_of(series.index)).rename(series.name)

    def steps(self, index: pd.DatetimeIndex, ahead: pd.DatetimeIndex) -> np.ndarray:
        """Which step ahead on the clocks each time of `ahead` is, for a series in UTC that ends with `index`.

        At least 1: where the hour that comes twice was seen once, the other one is the step after.
        """
        if self.zone is None:
            return np.arange(1, len(ahead) + 1)
        there = shown(ahead, self.zone)
        last = shown(index, self.zone).max()  # at the end of the hour that comes twice the clock has been here before
        return np.maximum(1, np.asarray((there - last) // step_of(index)))


def step_of(index: pd.DatetimeIndex) -> pd.Timedelta:
    """Of a regular index; one of a single time needs its frequency."""
    return pd.Timedelta(index.freq) if index.freq is not None else index[1] - index[0]


def shown(index: pd.DatetimeIndex, zone: str) -> pd.DatetimeIndex:
    """Times in UTC as the clocks of `zone` show them, without the offset."""
    return index.tz_localize("UTC").tz_convert(zone).tz_localize(None)


def spoken(index: pd.Index, steps: int) -> str:
    """So many steps of a regular index in words: 24 hours, 96 steps of 15 minutes, 12 months; 5 steps without times."""
    many = f"{steps} step{'s' * (steps > 1)}"
    offset = getattr(index, "freq", None)
    if offset is None:
        return many
    names = {"min": "minute", "s": "second", "h": "hour", "D": "day", "B": "business day", "W": "week", "M": "month",
             "Q": "quarter", "Y": "year"}  # fmt: skip
    name = names.get(index.freqstr.lstrip("0123456789").split("-")[0])
    if name is None:
        return many
    return f"{steps} {name}{'s' * (steps > 1)}" if offset.n == 1 else f"{many} of {offset.n} {name}s"


def stamps(index: pd.Index, attrs: Mapping[Hashable, Any]) -> list[str]:
    """Times as text, all with fractions of a second or none, as the file of a series with such attrs has them: days as
    days.

    UTC is shown on the clocks of attrs["zone"], with the offset; a month, quarter or year whose attrs["day"] is "start"
    or "end" as that day.
    """
    zone, day = attrs.get("zone"), attrs.get("day")
    if day and isinstance(index, pd.PeriodIndex):
        return [f"{stamp:%Y-%m-%d}" for stamp in index.to_timestamp(how=day)]
    if zone and isinstance(index, pd.DatetimeIndex):
        index = index.tz_localize("UTC").tz_convert(zone)
    days = isinstance(index, pd.DatetimeIndex) and _DAYS.fullmatch(index.freqstr or "")
    if days and (index == index.normalize()).all():
        return [f"{stamp:%Y-%m-%d}" for stamp in index]
    if isinstance(index, pd.DatetimeIndex) and index.microsecond.any():
        return [stamp.isoformat(" ", "microseconds") for stamp in index]
    return [str(stamp) for stamp in index]


def extended(index: pd.Index, steps: int) -> pd.Index:
    """`index` with so many further steps."""
    if isinstance(index, pd.PeriodIndex):
        return pd.period_range(index[0], periods=len(index) + steps, freq=index.freq)
    if isinstance(index, pd.DatetimeIndex):
        return pd.date_range(index[0], periods=len(index) + steps, freq=index.freq or pd.infer_freq(index))
    return pd.RangeIndex(int(index[0]), int(index[0]) + len(index) + steps)
