"""What is known ahead (calendar, holidays, weather, prices) as an additive effect on a series.

The series is taken as an effect of the known columns plus a rest, and the rest is what a forecaster forecasts: a
regression with forecast errors. The effect is taken off the window before it enters the forecaster and put back at the
steps forecast, so that yesterday's holiday no more misleads than tomorrow's is missed. It works with every forecaster
and needs the known columns at the steps forecast only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from forecasting import training
from lab.errors import InputError, unknown

RARE = 0.02  # a level with a smaller share of the rows is pooled with the other rare ones
HARMONICS = 2  # of the season, by which the effect of a switch may vary within it
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # ridge penalties tried, in units of the mean squared feature
ROUNDS, STEPS, ROWS = 2, 24, 4000  # of the alternation; steps ahead and windows that the effect is fitted on, at most


@dataclass(frozen=True)
class Effect:
    """A column of numbers acts along a line with three kinks, one of two values or of words as switches whose effect
    varies with the phase of the season (a holiday changes the morning, not the night)."""

    columns: list[dict[str, Any]]
    """How each column is turned into features: name, kind and what that needs (see `_learn`)."""
    cycle: int
    weights: np.ndarray
    """(features, channels), in standard deviations of the series."""

    def __call__(self, known: pd.DataFrame, positions: np.ndarray) -> np.ndarray:
        """The effect (time, channels) of rows of `known`, which lie `positions` (time,) steps after a fixed start."""
        return self.features(known, positions) @ self.weights

    def features(self, known: pd.DataFrame, positions: np.ndarray) -> np.ndarray:
        """(time, features). Raises InputError where a column is missing."""
        parts = []
        for column in self.columns:
            name = column["name"]
            if name not in known.columns:
                raise unknown("exogenous column", str(name), map(str, known.columns), "(it was there at fit)")
            parts.append(_encode(known[name], column, positions, self.cycle))
        return np.concatenate(parts, axis=1)

    @classmethod
    def fit(
        cls, known: pd.DataFrame, values: np.ndarray, lookback: int, horizon: int, cycle: int, share: float
    ) -> "Effect | None":
        """The effect of `known` (time, columns) on `values` (time, channels), standardised; None if there is none.

        Alternates between a linear forecaster of the rest and, given that, the least-squares effect: the forecast
        errors of the series against the errors that the same forecaster makes on the features (Cochrane and Orcutt
        1949, with a direct forecaster in place of their autoregression). A penalty is chosen on the last `share` of the
        windows, no effect at all among the choices.
        """
        columns = [column for name in known.columns if (column := _learn(known[name], name)) is not None]
        if not columns:
            return None
        effect = cls(columns, cycle, np.zeros((0, 0)))
        features = effect.features(known, np.arange(len(known)))
        weights = np.zeros((features.shape[1], values.shape[1]))
        for _ in range(ROUNDS):
            forecaster, _, _ = training.fit_linear(values - features @ weights, lookback, horizon, share)
            errors = _errors(np.concatenate([features, values], axis=1), forecaster, lookback, horizon, share)
            weights = _weights(*errors, features.shape[1])
        return cls(columns, cycle, weights) if weights.any() else None


def _learn(column: pd.Series, name: Any) -> dict[str, Any] | None:
    """How to encode a column; None for one that never changes."""
    if not pd.api.types.is_numeric_dtype(column):
        shares = column.astype(str).value_counts(normalize=True)
        base, others = shares.index[0], shares.iloc[1:]
        return None if others.empty else {
            "name": name, "kind": "levels", "base": base, "levels": list(others[others >= RARE].index),
            "rare": bool((others < RARE).any()),
        }  # fmt: skip
    numbers = column.to_numpy(np.float64)
    distinct = np.unique(numbers)
    if len(distinct) < 2:
        return None
    if len(distinct) == 2:
        return {"name": name, "kind": "switch", "low": float(distinct[0]), "high": float(distinct[1])}
    scaled = (numbers - numbers.mean()) / numbers.std()
    knots = np.unique(np.quantile(scaled, [0.25, 0.5, 0.75]))
    return {
        "name": name, "kind": "number", "mean": float(numbers.mean()), "deviation": float(numbers.std()),
        "knots": [float(knot) for knot in knots if scaled.min() < knot < scaled.max()],
    }  # fmt: skip


def _encode(column: pd.Series, how: dict[str, Any], positions: np.ndarray, cycle: int) -> np.ndarray:
    """(time, features) of one column."""
    if how["kind"] == "number":
        if not pd.api.types.is_numeric_dtype(column):
            raise InputError(f"exogenous column {how['name']!r} held numbers at fit, now it holds text; give numbers")
        scaled = (column.to_numpy(np.float64) - how["mean"]) / how["deviation"]
        return np.stack([scaled, *(np.maximum(scaled - knot, 0.0) for knot in how["knots"])], axis=1)
    if how["kind"] == "switch":
        switches = [(column.to_numpy(np.float64) - how["low"]) / (how["high"] - how["low"])]
    else:
        text = column.astype(str).to_numpy()
        switches = [(text == level).astype(float) for level in how["levels"]]
        if how["rare"]:
            switches.append((~np.isin(text, [how["base"], *how["levels"]])).astype(float))
    turns = 2 * np.pi * np.outer(positions, np.arange(1, HARMONICS + 1)) / cycle  # (time, harmonics)
    within = np.concatenate([np.ones((len(positions), 1)), np.cos(turns), np.sin(turns)], axis=1)
    if cycle < 2 * (HARMONICS + 1):
        within = within[:, :1]
    return np.concatenate([switch[:, None] * within for switch in switches], axis=1)


def _errors(
    series: np.ndarray, forecaster: np.ndarray, lookback: int, horizon: int, share: float
) -> tuple[np.ndarray, np.ndarray]:
    """Errors of the linear `forecaster` (horizon, lookback) on every column of `series` (time, columns).

    Returns those of windows to train on and to validate on, each (windows * steps, columns).
    """
    view = training.windows(torch.from_numpy(series), lookback, horizon).numpy()  # (windows, steps, columns)
    last, first = training.split(len(view), horizon, share)
    steps = np.unique(np.linspace(0, horizon - 1, min(horizon, STEPS)).astype(int))

    def of(begin: int, end: int) -> np.ndarray:
        chosen = np.unique(np.linspace(begin, end - 1, min(end - begin, ROWS)).astype(int))
        rows = view[chosen]
        rows = rows - rows[:, lookback - 1 : lookback]
        made = np.einsum("nlc,hl->nhc", rows[:, :lookback], forecaster[steps], optimize=True)
        return (rows[:, lookback + steps] - made).reshape(-1, series.shape[1])

    return of(0, last), of(first, len(view)) if first < len(view) else np.empty((0, series.shape[1]))


def _weights(fitted: np.ndarray, held_out: np.ndarray, count: int) -> np.ndarray:
    """Ridge regression of the last columns on the first `count`, with the penalty that validates best, or zeros."""
    x, y = fitted[:, :count], fitted[:, count:]
    size = max(float((x * x).mean()) * len(x), 1e-8)
    candidates = [training.ridge(x, y, strength * size).T for strength in STRENGTHS]
    if not len(held_out):
        return candidates[len(candidates) // 2]
    candidates.append(np.zeros_like(candidates[0]))

    def error(weights: np.ndarray) -> float:
        return float(np.abs(held_out[:, count:] - held_out[:, :count] @ weights).mean())

    return min(candidates, key=error)


def calendar(index: pd.DatetimeIndex | pd.PeriodIndex, holidays: Sequence[Any] = ()) -> pd.DataFrame:
    """Columns that are known for any time: the weekday (as a word) and whether the day is one of `holidays` (dates).

    A period of several days has the weekday of its first, and is a holiday where one of them is.

    For `X` of a forecaster, or to add to it; the phase of the season itself needs no column.
    """
    times = index.to_timestamp() if isinstance(index, pd.PeriodIndex) else index
    last = index.to_timestamp(how="end") if isinstance(index, pd.PeriodIndex) else index
    days = np.sort(np.array([pd.Timestamp(day).tz_localize(None).normalize() for day in holidays], "datetime64[ns]"))
    first, last = (each.tz_localize(None).normalize().to_numpy("datetime64[ns]") for each in (times, last))
    frame = pd.DataFrame({"weekday": times.day_name()}, index=index)
    frame["holiday"] = (np.searchsorted(days, first) < np.searchsorted(days, last, side="right")).astype(float)
    return frame
