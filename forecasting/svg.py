"""Parts of the charts that pages draw as SVG: paths, ticks and numbers. Places are percent of an axis, or 0 to 1000."""

import html
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num, num2date
from matplotlib.ticker import MaxNLocator

from lab.digits import told


def line(across: np.ndarray, values: np.ndarray, low: float, high: float) -> str:
    """An SVG path through `values` at `across` (0 to 1), NaN left out; the box of 1000 by 1000 is `low` to `high`."""
    kept = np.isfinite(values)
    pairs = zip(1000 * across[kept], 1000 - 1000 * (values[kept] - low) / (high - low), strict=True)
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in pairs)
    return "M" + path if path else ""


def number(value: float, apart: float = 0.0) -> str:
    """In a table; with two digits of `apart`, from what it is to be told apart."""
    if 0 < apart < abs(value) / 1000:
        return f"{value:,.{max(0, 1 - math.floor(math.log10(apart)))}f}"
    return f"{value:,.4g}" if abs(value) < 9999.5 else told(value)


def short(values: Sequence[float] | pd.Series | np.ndarray) -> list[float | None]:
    """Rounded to six digits, or to five of the values' range where they lie far from zero."""
    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    apart = float(np.ptp(known)) if len(known) else 0.0
    digits = max(6, 5 + math.ceil(math.log10(float(np.abs(known).max()) / apart))) if apart > 0 else 6
    return [float(f"{value:.{min(digits, 17)}g}") if np.isfinite(value) else None for value in values]


def x_ticks(index: pd.Index) -> list[dict[str, Any]]:
    """Where and what along the axis, in percent; matplotlib finds round dates."""
    if not isinstance(index, pd.DatetimeIndex):
        places = [tick for tick in MaxNLocator(6).tick_values(index[0], index[-1]) if index[0] <= tick <= index[-1]]
        return [{"at": percent(tick, index[0], index[-1]), "text": told(tick, 6)} for tick in places]
    start, end = date2num(index[0]), date2num(index[-1])
    locator = AutoDateLocator(minticks=3, maxticks=7)  # with 4, no interval suits 80 hours
    ticks = [tick for tick in locator.tick_values(num2date(start), num2date(end)) if start <= tick <= end]
    formatter = ConciseDateFormatter(locator)
    texts = formatter.format_ticks(ticks)
    if texts and formatter.get_offset():  # the month or year that all have in common
        texts[0] = f"{formatter.get_offset()} · {texts[0]}"
    return [{"at": percent(tick, start, end), "text": html.unescape(text)}
            for tick, text in zip(ticks, texts, strict=True)]  # fmt: skip


def y_ticks(low: float, high: float) -> list[dict[str, Any]]:
    ticks = MaxNLocator(5).tick_values(low, high)
    places = [tick for tick in ticks if low <= tick <= high]
    step, most = float(ticks[1] - ticks[0]), max(abs(low), abs(high))
    if 1e-3 <= most < 1e12:
        form = f",.{max(0, -math.floor(math.log10(step) + 1e-9))}f"
    else:
        form = f".{min(15, 1 + math.ceil(math.log10(most / step)))}g"
    return [{"at": percent(tick, low, high), "text": format(tick, form)} for tick in places]


def percent(value: float, low: float, high: float) -> float:
    return round(100 * float((value - low) / (high - low or 1.0)), 3)
