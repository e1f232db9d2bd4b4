"""Which past hours made the forecast high? Shapley values, integrated gradients and Grad-CAM of a forecasting network.

All three explain one number, the mean of a forecast over its horizon, against the forecast from the usual past: the
mean of the windows before that begin at the same time of the season (of the week, where that repeats better). The
attributions of Shapley values (Shapley 1953; sampled over orders, Strumbelj and Kononenko 2014) and of integrated
gradients (Sundararajan et al. 2017) add up to the difference of the two forecasts; those of Grad-CAM (Selvaraju et al.
2017) do not, they only say where to look. The methods are captum's; what is explained is said here, and the check by a
counterfactual is in `attributing`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from forecasting.anomaly import period
from forecasting.forecaster import NetworkForecaster
from forecasting.intervals import LEVELS
from forecasting.networks.cnn import CNN
from lab.device import threads
from lab.errors import InputError

GROUPS = 28  # stretches of the past that Shapley values are told for: few enough to sample well
ORDERS = 50  # in which the stretches are put in
POINTS = 64  # on the way from the usual past to this one


@dataclass(frozen=True)
class Attribution:
    """Of a forecast from one window; all in the series' unit."""

    window: np.ndarray
    """The past, (lookback,)."""
    usual: np.ndarray
    """The usual past, (lookback,)."""
    forecast: float
    """Mean over the horizon."""
    usual_forecast: float
    """The same, from the usual past."""
    shapley: np.ndarray
    """(lookback,): each stretch's value, spread evenly over its steps."""
    gradients: np.ndarray
    """Integrated gradients, (lookback,)."""
    grad_cam: np.ndarray | None
    """(lookback,); None for a network without convolutions."""
    stretches: np.ndarray
    """The stretch that each step belongs to, (lookback,)."""

    def additivity(self) -> dict[str, float]:
        """How far the attributions are from adding up, as a share of the difference of the two forecasts."""
        difference = self.forecast - self.usual_forecast
        size = max(abs(difference), 1e-9)
        return {
            "shapley": abs(self.shapley.sum() - difference) / size,
            "gradients": abs(self.gradients.sum() - difference) / size,
        }

    def strongest(self) -> tuple[int, int]:
        """The stretch [start, end) of the past with the largest Shapley value, either way."""
        sums = np.bincount(self.stretches, self.shapley)
        inside = np.flatnonzero(self.stretches == np.abs(sums).argmax())
        return int(inside[0]), int(inside[-1]) + 1


class Mean(nn.Module):
    """(batch, lookback) of a series' values -> (batch,) mean forecast, in the series' unit."""

    def __init__(self, forecaster: NetworkForecaster):
        super().__init__()
        self.network = forecaster.network_
        self.mean, self.scale = float(forecaster.mean_[0]), float(forecaster.scale_[0])
        middle = LEVELS.index(0.5) * forecaster.horizon_ if forecaster.intervals == "quantile" else 0
        self.steps = slice(middle, middle + forecaster.horizon_)

    def forward(self, past: Tensor) -> Tensor:
        scaled = ((past - self.mean) / self.scale).unsqueeze(-1)
        return self.network(scaled)[:, self.steps, 0].mean(dim=1) * self.scale + self.mean


def usual_past(values: np.ndarray, lookback: int, season: int) -> np.ndarray:
    """The mean of the windows of `lookback` values that end whole seasons before the end of `values` (n,); (lookback,).

    Raises InputError where there is none.
    """
    ends = np.arange(len(values) - season, lookback - 1, -season)
    if not len(ends):
        raise InputError(
            f"{len(values)} values hold no window of {lookback} a season of {season} earlier; give a shorter lookback"
        )
    return np.mean([values[end - lookback : end] for end in ends], axis=0)


@threads(1)
def attribute(forecaster: NetworkForecaster, values: np.ndarray, groups: int = GROUPS, seed: int = 0) -> Attribution:
    """Attribute the mean forecast from the end of `values` (n,) to the steps of the past that it was made from.

    forecaster: fitted to a series without exogenous columns; of several columns the first is explained.
    Raises InputError for too short a series, and TypeError for a forecaster that is no network.
    """
    from captum.attr import IntegratedGradients, LayerGradCam, ShapleyValueSampling

    if not isinstance(forecaster, NetworkForecaster):
        raise TypeError(f"{type(forecaster).__name__} is no network; give a CNN, LSTM or Transformer forecaster")
    lookback = forecaster.lookback_
    usual = usual_past(values, lookback, period.cycle(values, forecaster.season_) if forecaster.season_ > 1 else 1)
    target = Mean(forecaster).eval()
    device = next(target.parameters()).device
    past = torch.tensor(values[None, -lookback:], dtype=torch.float32, device=device)
    base = torch.tensor(usual[None], dtype=torch.float32, device=device)
    stretches = np.arange(lookback) * min(groups, lookback) // lookback
    mask = torch.from_numpy(stretches)[None].to(device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # captum draws its orders from the global generator
        shapley = ShapleyValueSampling(target).attribute(
            past, baselines=base, feature_mask=mask, n_samples=ORDERS, perturbations_per_eval=16
        )
    gradients = IntegratedGradients(target).attribute(past, baselines=base, n_steps=POINTS)
    core: Any = target.network.core
    cam = None
    if isinstance(core, CNN):
        found = LayerGradCam(target, core.blocks[-1]).attribute(past)  # (1, 1, patches)
        cam = _numbers(found).repeat(core.patch)[-lookback:]  # the first patch may be filled up
    with torch.no_grad():
        forecast, usual_forecast = (float(target(each)[0]) for each in (past, base))
    sizes = np.bincount(stretches)
    return Attribution(
        values[-lookback:], usual, forecast, usual_forecast, _numbers(shapley) / sizes[stretches], _numbers(gradients),
        cam, stretches,
    )  # fmt: skip


def _numbers(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().cpu().numpy().reshape(-1)


@threads(1)
@torch.no_grad()
def forecasts(forecaster: NetworkForecaster, pasts: np.ndarray) -> np.ndarray:
    """The mean forecast from each of `pasts` (rows, lookback); (rows,)."""
    target = Mean(forecaster).eval()
    device = next(target.parameters()).device
    return _numbers(target(torch.tensor(pasts, dtype=torch.float32, device=device)))
