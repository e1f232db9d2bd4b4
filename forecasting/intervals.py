"""Prediction intervals: conformal ones from errors on held-out windows, quantile heads, and their scores.

Everything here is in standard deviations of the training series; `forecasting.base` takes it back to the series' unit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import norm
from torch import Tensor

LEVELS = (0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975)
"""The quantiles that a network with quantile heads learns; others are interpolated between them."""
FLOOR = 0.1  # added to a window's spread: a window that happens to be flat promises no exact forecast
ENOUGH = 39  # errors a step that resolve the 2.5 % and 97.5 % quantiles: (39 + 1) * 0.025 = 1
SIGNED = 10  # held-out stretches, each a horizon long, that it takes to tell errors above from errors below
TRUST = 10.0  # a phase's own error counts against the overall one as its number of errors against this
WINDOWS = 1000  # held-out windows that errors are taken from, at most
KEPT = 4_000_000  # errors kept, at most


@dataclass(frozen=True)
class Conformal:
    """Offsets from a forecast to its quantiles: what errors on held-out windows had for quantiles.

    Split conformal prediction (Lei et al. 2018, section 2.2) with signed errors, separately for every step ahead.
    Errors are taken relative to a spread (their section 5.2, locally weighted): that of the window forecast from times
    that of the season's phase forecast for, so that a quiet night has a narrower interval than a busy day. Neighbouring
    windows overlap, so errors are not exchangeable, and coverage is measured rather than guaranteed.
    """

    scores: np.ndarray
    """(horizon, channels, errors), each row sorted."""
    profile: np.ndarray
    """(season,) mean size of errors at each phase, relative to the overall mean."""

    @classmethod
    def fit(
        cls, errors: np.ndarray, windows: np.ndarray, phases: np.ndarray, cycle: int, stretches: float
    ) -> "Conformal":
        """errors (n, horizon, channels) of truth minus forecast from windows (n, lookback, channels); phases (n,): of
        the first step forecast, in steps since any fixed start; cycle: steps a season; stretches: how many horizons
        long the time is that the errors come from.

        Windows that overlap say much the same, so those within one stretch count as one: with fewer than SIGNED
        stretches every error counts with either sign, which makes intervals symmetric. Where there are fewer than
        ENOUGH errors a step, those of neighbouring steps are taken in as well.
        """
        horizon = errors.shape[1]
        relative = errors / spread(windows)[:, None]
        at = (phases[:, None] + np.arange(horizon)) % cycle  # (n, horizon)
        size = np.abs(relative).mean(axis=2)
        overall = float(size.mean())
        counts = np.bincount(at.ravel(), minlength=cycle)
        sums = np.bincount(at.ravel(), size.ravel(), minlength=cycle)
        profile = (sums + TRUST * overall) / (counts + TRUST) / overall if overall > 0 else np.ones(cycle)
        relative = relative / profile[at][:, :, None]
        if stretches < SIGNED:
            relative = np.concatenate([relative, -relative])
        width = min(horizon, 2 * (-(-ENOUGH // len(relative)) // 2) + 1)
        starts = np.clip(np.arange(horizon) - width // 2, 0, horizon - width)
        pooled = [
            relative[:, start : start + width].transpose(2, 0, 1).reshape(errors.shape[2], -1) for start in starts
        ]
        return cls(np.sort(np.stack(pooled), axis=2), profile)

    def offsets(self, alpha: Sequence[float], window: np.ndarray, phase: int) -> np.ndarray:
        """(alphas, horizon, channels) to add to the forecast from `window` (lookback, channels), whose first step has
        that `phase`.

        The quantile of n errors is the finite-sample one, rank (n + 1) alpha, rounded outwards; beyond the largest
        error there is nothing to go by, so the largest stands for what is beyond it.
        """
        horizon, _, count = self.scores.shape
        at = (phase + np.arange(horizon)) % len(self.profile)
        scale = spread(window[None])[0] * self.profile[at][:, None]  # (horizon, channels)
        ranks = np.asarray(alpha) * (count + 1)
        ranks = np.where(np.asarray(alpha) < 0.5, np.floor(ranks + 1e-9), np.ceil(ranks - 1e-9)).astype(int)
        return np.moveaxis(self.scores[:, :, np.clip(ranks, 1, count) - 1], 2, 0) * scale


def spread(windows: np.ndarray) -> np.ndarray:
    """How large errors from each of windows (n, lookback, channels) are expected to be: (n, channels)."""
    return windows.std(axis=1) + FLOOR


# --- quantile heads -------------------------------------------------------------------------------------------------
# A network with Q quantile heads is one whose horizon is Q times as long: (batch, Q * horizon, channels), all steps of
# the first level first. So every architecture has them, and none needs to know.


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
