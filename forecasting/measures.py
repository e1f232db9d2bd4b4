"""Errors of point forecasts; those of intervals are in `forecasting.intervals`."""

import numpy as np


def mae(truth: np.ndarray, forecast: np.ndarray) -> float:
    """Mean absolute error, in the series' unit."""
    return float(np.abs(truth - forecast).mean())


def smape(truth: np.ndarray, forecast: np.ndarray) -> float:
    """Symmetric mean absolute percentage error, in percent, 0 to 200 (M4's); 0 where both are 0."""
    size = np.abs(truth) + np.abs(forecast)
    return float(200 * np.divide(np.abs(truth - forecast), size, out=np.zeros(len(size)), where=size > 0).mean())


def mase(truth: np.ndarray, forecast: np.ndarray, history: np.ndarray, cycle: int) -> float:
    """Mean absolute error over that of the seasonal naive within `history` (Hyndman and Koehler 2006, equation 10).

    NaN where `history` repeats itself exactly, and so gives no scale.
    """
    scale = float(np.abs(history[cycle:] - history[:-cycle]).mean())
    return mae(truth, forecast) / scale if scale > 0 else float("nan")
