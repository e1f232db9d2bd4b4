"""Numbers for people."""

import math


def short(value: float, digits: int = 4) -> str:
    """So many significant digits; what has more before the point is whole, and from 10,000 on they stand in threes.

    13,240 and not 1.32e+04. From 10^12 on it is written with an exponent all the same.
    """
    if 10**digits - 0.5 <= abs(value) < 1e12:
        return f"{value:,.0f}"
    return f"{value:,.{digits}g}" if abs(value) >= 1e4 else f"{value:.{digits}g}"


def told(value: float | None, digits: int = 4) -> str:
    """As `short`, but a whole number with all of its digits; "–" for none."""
    if value is None or math.isnan(value):
        return "–"
    if value == round(value, 0) and abs(value) < 1e15:
        return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.0f}"
    return short(value, digits)
