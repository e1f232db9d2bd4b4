"""What a fitted network looks at: the attention of a Transformer, the filters of a CNN."""

from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from forecasting.networks.cnn import CNN
from forecasting.networks.norm import Reversible, fold, patches
from forecasting.networks.transformer import Transformer
from lab import plots_networks

HORIZONS = 3  # that `held_out` shows


@torch.no_grad()
def attention(network: Reversible, window: Tensor) -> np.ndarray:
    """Attention weights of a Transformer on a window (lookback, channels), standardised, of its first channel.

    Returns (layers, heads, patches, patches): row i says how patch i is made up of patches j; rows add up to 1.
    """
    core = network.core
    if not isinstance(core, Transformer):
        raise TypeError(f"{type(core).__name__} has no attention")
    scaled, _, _ = network.scaled(window[None, :, :1])
    tokens = core.embed(patches(fold(scaled), core.patch)) + core.positions  # (1, patches, width)
    maps = []
    for layer in core.layers.layers:
        normed = layer.norm1(tokens)
        _, weights = layer.self_attn(normed, normed, normed, need_weights=True, average_attn_weights=False)
        maps.append(weights[0])
        tokens = layer(tokens)
    return torch.stack(maps).cpu().numpy()


def filters(network: Reversible) -> np.ndarray:
    """A CNN's first filters, (width, patch): what each feature looks for in a patch, the strongest first."""
    core = network.core
    if not isinstance(core, CNN):
        raise TypeError(f"{type(core).__name__} has no filters")
    weights = core.stem.weight.detach().cpu().numpy()
    return weights[np.argsort(-np.linalg.norm(weights, axis=1))]


def figures(forecaster: Any) -> dict[str, Figure]:
    """Figures by tag for a fitted forecaster, on the last window that it saw; none without attention or filters."""
    network: nn.Module | None = getattr(forecaster, "network_", None)
    if not isinstance(network, Reversible):
        return {}
    return {"held_out": held_out(forecaster), **_inner(forecaster, network)}


def held_out(forecaster: Any) -> Figure:
    """Forecasts of the last HORIZONS horizons, which were not trained on, each from what came before, and the truth."""
    values, lookback, horizon = forecaster.history_.to_numpy(np.float64), forecaster.lookback_, forecaster.horizon_
    count = max(1, min(HORIZONS, (len(values) - lookback) // horizon))
    starts = len(values) - lookback - horizon * np.arange(count, 0, -1)
    rest = forecaster._values(len(values))  # without the effect of what is known ahead, which is added again
    effect = (values - forecaster.mean_) / forecaster.scale_ - rest
    windows = np.stack([rest[start : start + lookback] for start in starts])
    ahead = forecaster._backcast(windows)
    ahead = ahead + np.stack([effect[start + lookback :][:horizon] for start in starts])
    ahead = ahead * forecaster.scale_ + forecaster.mean_
    truth = values[starts[0] :, 0]
    return plots_networks.held_out(truth, ahead[:, :, 0], horizon)


def _inner(forecaster: Any, network: Reversible) -> dict[str, Figure]:
    if isinstance(network.core, Transformer):
        scaled = torch.from_numpy(forecaster._values(forecaster.lookback_))
        maps = attention(network, scaled.float().to(next(network.parameters()).device))
        return {"attention": plots_networks.attention(maps.mean(axis=1), network.core.patch)}
    if isinstance(network.core, CNN):
        return {"filters": plots_networks.filters(filters(network))}
    return {}
