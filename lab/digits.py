"""Numbers for people."""


def short(value: float, digits: int = 4) -> str:
    """So many significant digits; what has more before the point is whole, in threes: 13,240 and not 1.32e+04.

    From 10^12 on it is written with an exponent all the same.
    """
    return f"{value:,.0f}" if 10**digits - 0.5 <= abs(value) < 1e12 else f"{value:.{digits}g}"
