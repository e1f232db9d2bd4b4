"""Prediction intervals: conformal ones from errors on held-out windows, quantile heads, and their scores.

Everything here is in standard deviations of the training series; `forecasting.base` takes it back to the series' unit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy.stats import norm
from torch import Tensor, nn

LEVELS = (0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975)
"""The quantiles that a network with quantile heads learns; others are interpolated between them."""
FLOOR = 0.1  # added to a window's spread: a window that happens to be flat promises no exact forecast
ENOUGH = 39  # errors a step that resolve the 2.5 % and 97.5 % quantiles: (39 + 1) * 0.025 = 1
SIGNED = 10  # held-out stretches, each a horizon long, that it takes to tell errors above from errors below
TRUST = 10.0  # a phase's own error counts against the overall one as its number of errors against this
WINDOWS = 1000  # held-out windows that errors are taken from, at most
KEPT = 4_000_000  # errors kept, at most, but for those of FEWEST windows
FEWEST = 100


@dataclass(frozen=True)
class Conformal:
    """Offsets from a forecast to its quantiles: what errors on held-out windows had for quantiles.

    Split conformal prediction (Lei et al. 2018, section 2.2) with signed errors, separately for every step ahead.
    Errors are taken relative to a spread (their section 5.2, locally weighted): that of the window forecast from times
    that of the season's phase forecast for, so that a quiet night has a narrower interval than a busy day. Windows that
    `update` brings are held-out ones too: their errors join, and the oldest go. Neighbouring windows overlap, so errors
    are not exchangeable, and coverage is measured rather than guaranteed.
    """

    errors: np.ndarray
    """(n, horizon, channels) truth minus forecast, relative to the window's spread; the newest last."""
    phases: np.ndarray
    """(n,) of the first step forecast, below `cycle`."""
    cycle: int
    """Steps a season."""
    stretches: float
    """How many horizons long the time is that the errors come from."""

    @classmethod
    def fit(
        cls, errors: np.ndarray, windows: np.ndarray, phases: np.ndarray, cycle: int, stretches: float
    ) -> "Conformal":
        """errors (n, horizon, channels) of forecasts from windows (n, lookback, channels); phases (n,): in steps since
        any fixed start."""
        return cls(errors / spread(windows)[:, None], phases % cycle, cycle, stretches)

    def extended(self, errors: np.ndarray, windows: np.ndarray, phases: np.ndarray) -> "Conformal":
        """With errors on newer windows, as `fit` has them, one for each step of time."""
        newer = Conformal.fit(errors, windows, phases, self.cycle, len(errors) / errors.shape[1])
        count = max(len(self.errors), most_windows(errors.shape[1] * errors.shape[2]))
        joined = (
            np.concatenate([self.errors, newer.errors])[-count:],
            np.concatenate([self.phases, newer.phases])[-count:],
        )
        return Conformal(*joined, self.cycle, self.stretches + newer.stretches)

    @cached_property
    def profile(self) -> np.ndarray:
        """(season,) mean size of errors at each phase, relative to the overall mean."""
        size = np.abs(self.errors).mean(axis=2)  # (n, horizon)
        overall, at = float(size.mean()), self._at(self.phases[:, None])
        counts = np.bincount(at.ravel(), minlength=self.cycle)
        sums = np.bincount(at.ravel(), size.ravel(), minlength=self.cycle)
        return (sums + TRUST * overall) / (counts + TRUST) / overall if overall > 0 else np.ones(self.cycle)

    @cached_property
    def scores(self) -> np.ndarray:
        """(horizon, channels, errors) relative to both spreads, each row sorted.

        Windows that overlap say much the same, so those within one stretch count as one: with fewer than SIGNED
        stretches every error counts with either sign, which makes intervals symmetric. Where there are fewer than
        ENOUGH errors a step, those of neighbouring steps are taken in as well.
        """
        relative = self.errors / self.profile[self._at(self.phases[:, None])][:, :, None]
        if self.stretches < SIGNED:
            relative = np.concatenate([relative, -relative])
        _, horizon, channels = relative.shape
        width = min(horizon, 2 * (-(-ENOUGH // len(relative)) // 2) + 1)
        starts = np.clip(np.arange(horizon) - width // 2, 0, horizon - width)
        pooled = [
            relative[:, start : start + width].transpose(2, 0, 1) for start in starts
        ]  # (channels, n, width) each
        return np.sort(np.stack(pooled).reshape(horizon, channels, -1), axis=2)

    def offsets(self, alpha: Sequence[float], window: np.ndarray, phase: int) -> np.ndarray:
        """(alphas, horizon, channels) to add to the forecast from `window` (lookback, channels), whose first step has
        that `phase`.

        The quantile of n errors is the finite-sample one, rank (n + 1) alpha, rounded outwards; beyond the largest
        error there is nothing to go by, so the largest stands for what is beyond it.
        """
        count = self.scores.shape[2]
        scale = spread(window[None])[0] * self.profile[self._at(np.array([phase]))][:, None]  # (horizon, channels)
        ranks = np.asarray(alpha) * (count + 1)
        ranks = np.where(np.asarray(alpha) < 0.5, np.floor(ranks + 1e-9), np.ceil(ranks - 1e-9)).astype(int)
        return np.moveaxis(self.scores[:, :, np.clip(ranks, 1, count) - 1], 2, 0) * scale

    def _at(self, first: np.ndarray) -> np.ndarray:
        """Phases of all steps of the horizon, from those of the first step: (..., 1) -> (..., horizon)."""
        return (first + np.arange(self.errors.shape[1])) % self.cycle


def most_windows(size: int) -> int:
    """How many windows to keep errors of, where each has `size` errors."""
    return max(FEWEST, min(WINDOWS, KEPT // size))


def spread(windows: np.ndarray) -> np.ndarray:
    """How large errors from each of windows (n, lookback, channels) are expected to be: (n, channels)."""
    return windows.std(axis=1) + FLOOR


# --- quantile heads -------------------------------------------------------------------------------------------------
# A network with Q quantile heads is one whose horizon is Q times as long: (batch, Q * horizon, channels), all steps of
# the first level first. So every architecture has them, and none needs to know.


class Heads(nn.Module):
    """`core`, whose outputs are quantiles, from a start that is learned on: an untrained core alone would have all of
    them at one value, and where training does not help that would be kept, as a promise of certainty."""

    def __init__(self, core: nn.Module, outputs: int):
        super().__init__()
        self.core = core
        self.start = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, lookback, channels) -> (batch, levels * horizon, channels)."""
        return self.core(x) + self.start[:, None]

    @torch.no_grad()
    def begin(self, errors: Tensor) -> None:
        """Start at the quantiles of `errors` (windows, horizon, channels) of the untrained core."""
        rows = errors.transpose(1, 2).flatten(0, 1)  # (windows * channels, horizon)
        levels = torch.tensor(LEVELS, dtype=rows.dtype, device=rows.device)
        self.start.copy_(rows.quantile(levels, dim=0).flatten())


def pinball_loss(forecast: Tensor, truth: Tensor) -> Tensor:
    """Mean pinball loss over LEVELS (Koenker and Bassett 1978), doubled: at the median it is the absolute error.

    forecast (batch, levels * horizon, channels), truth (batch, horizon, channels).
    """
    levels = torch.tensor(LEVELS, dtype=forecast.dtype, device=forecast.device)[:, None, None]
    error = truth.unsqueeze(1) - forecast.unflatten(1, (len(LEVELS), -1))  # (batch, levels, horizon, channels)
    return 2 * torch.maximum(levels * error, (levels - 1) * error).mean()


def interpolate(quantiles: np.ndarray, alpha: Sequence[float]) -> np.ndarray:
    """Quantiles at LEVELS (levels, ...) -> at alpha (alphas, ...).

    Sorted first, so that none cross; linear in the normal deviate, beyond the outer levels too, as a Gaussian's are.
    """
    known, wanted = norm.ppf(LEVELS), norm.ppf(alpha)
    ordered = np.sort(quantiles, axis=0)
    right = np.clip(np.searchsorted(known, wanted), 1, len(known) - 1)
    share = (wanted - known[right - 1]) / (known[right] - known[right - 1])
    share = share.reshape(-1, *[1] * (quantiles.ndim - 1))
    return ordered[right - 1] + share * (ordered[right] - ordered[right - 1])


# --- scores ---------------------------------------------------------------------------------------------------------


def coverage(truth: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """Share of `truth` that lies within [low, high], all of one shape."""
    return float(((low <= truth) & (truth <= high)).mean())


def winkler(truth: np.ndarray, low: np.ndarray, high: np.ndarray, nominal: float) -> float:
    """Mean interval score (Gneiting and Raftery 2007, equation 43): the width, plus 2 / (1 - nominal) times the
    distance to what lies outside. In the series' unit; less is better."""
    outside = np.maximum(low - truth, 0) + np.maximum(truth - high, 0)
    return float((high - low + 2 / (1 - nominal) * outside).mean())


def pinball(truth: np.ndarray, quantile: np.ndarray, alpha: float) -> float:
    """Mean pinball loss of forecasts of the `alpha` quantile, in the series' unit."""
    error = truth - quantile
    return float(np.maximum(alpha * error, (alpha - 1) * error).mean())
