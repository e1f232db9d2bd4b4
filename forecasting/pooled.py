"""Many series as one to pretrain on: each standardised by itself, all behind one another, no window across two."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from forecasting import training
from forecasting.base import default_lookback, standardiser, too_short
from forecasting.datasets import season
from forecasting.intervals import most_windows

PAIRS = 20_000  # windows that the linear skip is fitted to, at most


@dataclass(frozen=True)
class Pool:
    """What `pool` makes of a panel."""

    values: np.ndarray
    """(time, 1), the series behind one another, each standardised."""
    starts: tuple[Tensor, Tensor]
    """First steps of the windows to train on, and of those to validate on: the end of each series, if long enough."""
    lookback: int
    season: int

    def linear(self, horizon: int) -> np.ndarray:
        """Ridge weights (horizon, lookback) from the windows to train on, with the strength that validates best."""
        x, y = training.pairs(self._windows(self.starts[0], horizon, PAIRS), self.lookback)
        size = max(float((x * x).mean()) * len(x), 1e-8)
        candidates = [training.ridge(x, y, strength * size) for strength in training.STRENGTHS]
        if not len(self.starts[1]):
            return training.ridge(x, y, 0.1 * size)
        x, y = training.pairs(self._windows(self.starts[1], horizon, PAIRS), self.lookback)
        return min(candidates, key=lambda weights: float(np.abs(y - x @ weights.T).mean()))

    def held_out(self, horizon: int) -> tuple[np.ndarray, np.ndarray]:
        """Windows (n, lookback, 1) and what follows them (n, horizon, 1), of those to validate on, if there are any."""
        rows = self._windows(self.starts[1] if len(self.starts[1]) else self.starts[0], horizon, most_windows(horizon))
        return np.ascontiguousarray(rows[:, : self.lookback]), rows[:, self.lookback :]

    def _windows(self, starts: Tensor, horizon: int, most: int) -> np.ndarray:
        """(n, lookback + horizon, 1): at most so many, evenly chosen."""
        view = training.windows(torch.from_numpy(self.values), self.lookback, horizon)
        chosen = np.unique(np.linspace(0, len(starts) - 1, min(most, len(starts))).astype(int))
        return view[starts[torch.from_numpy(chosen)]].numpy()


def pool(panel: pd.DataFrame, horizon: int, lookback: int | None, share: float) -> Pool:
    """The series of `panel` (rows: levels of names, then time; columns: further series) that hold a window.

    lookback None takes what suits a series of median length. Raises InputError if every series is too short.
    """
    groups = [group.droplevel(list(range(panel.index.nlevels - 1))) for _, group in
              panel.groupby(level=list(range(panel.index.nlevels - 1)), sort=False)]  # fmt: skip
    cycle = season(groups[0])
    rows = int(np.median([len(group) for group in groups]))
    lookback = lookback or default_lookback(rows, horizon, cycle)
    longest = max(len(group) for group in groups)
    if longest < lookback + horizon:
        raise too_short(longest, lookback, horizon)
    series, begin, train, validate = [], 0, [], []
    for group in groups:
        count = len(group) - lookback - horizon + 1
        if count < 1:
            continue
        last, first = training.split(count, horizon, share)
        values = group.to_numpy(np.float64)
        mean, deviation = standardiser(values)
        for column in ((values - mean) / deviation).T:
            series.append(column)
            train.append(begin + np.arange(last))
            validate.append(begin + np.arange(first, count))
            begin += len(column)
    starts = torch.from_numpy(np.concatenate(train)), torch.from_numpy(np.concatenate(validate))
    return Pool(np.concatenate(series)[:, None], starts, lookback, cycle)
