"""How long one repetition of a series is, in samples. Pure functions on arrays."""

import numpy as np

HIGHEST = 1000  # samples: longer periods need the user's word (--period)


def moving_average(values: np.ndarray, width: int) -> np.ndarray:
    """The mean of the `width` samples around each sample, fewer at the ends. (n,) -> (n,)"""
    total = np.concatenate([[0.0], np.cumsum(values)])
    centre = np.arange(len(values))
    first, last = np.maximum(centre - width // 2, 0), np.minimum(centre + width - width // 2, len(values))
    return (total[last] - total[first]) / (last - first)


def autocorrelation(values: np.ndarray, lags: int) -> np.ndarray:
    """The unbiased autocorrelation at lags 0 .. lags. (n,) -> (lags + 1,); zeros for a constant series.

    Unbiased: each sum is divided by its own number of terms, so that far lags are not shrunk towards zero.
    """
    centred = values - values.mean()
    size = 1 << (2 * len(values) - 1).bit_length()  # room enough that the circular correlation does not wrap around
    spectrum = np.fft.rfft(centred, size)
    sums = np.fft.irfft(spectrum * spectrum.conj(), size)[: lags + 1]
    covariance = sums / (len(values) - np.arange(lags + 1))
    if covariance[0] <= 1e-24 * float(np.abs(values).max()) ** 2:  # constant up to rounding
        return np.zeros(lags + 1)
    return covariance / covariance[0]


def estimate(values: np.ndarray) -> int | None:
    """The period of `values` (n,) in samples, or None where none shows.

    The first of the high peaks of the autocorrelation up to min(1000, n / 4), after a moving average of 1,000 samples
    is taken off: smallest lag with prominence of at least 0.05 and 0.8 of the highest peak. So a daily period
    wins over the weekly one above it; `cycle` finds that. Where none shows, it is looked for again without the straight
    line through all, which at the ends a moving average leaves something of.
    """
    if len(values) < 12:
        return None
    at = np.arange(len(values))
    return _estimate(values) or _estimate(values - np.polyval(np.polyfit(at, values, 1), at))


def _estimate(values: np.ndarray) -> int | None:
    from scipy.signal import find_peaks

    lags = min(HIGHEST, len(values) // 4)
    correlation = autocorrelation(values - moving_average(values, HIGHEST), lags)
    peaks, _ = find_peaks(correlation, prominence=0.05, height=0.1)
    if len(peaks) == 0:
        return None
    return int(peaks[correlation[peaks] >= 0.8 * correlation[peaks].max()][0])


def cycle(values: np.ndarray, period: int, most: int = 8) -> int:
    """The multiple of `period`, up to `most` periods, at which `values` (n,) repeat best: the week above the day.

    The period itself unless a multiple has a clearly (0.05) higher autocorrelation and fits in three times.
    """
    multiples = period * np.arange(1, most + 1)
    multiples = multiples[multiples <= len(values) // 3]
    if len(multiples) < 2:
        return period
    correlation = autocorrelation(values - moving_average(values, 2 * most * period), int(multiples[-1]))[multiples]
    best = int(correlation.argmax())
    return int(multiples[best]) if correlation[best] > correlation[0] + 0.05 else period
