"""Reversible instance normalisation around any architecture, and the linear skip that it may start from."""

import torch
from torch import Tensor, nn

from forecasting.networks.fast import Linear, linear


class Reversible(nn.Module):
    """`core` sees each window in its own units: minus its last value, over its own spread; the output goes back.

    So a forecast follows the level and the size of the window it starts from, whatever those were in training. The last
    value, not the mean, is taken off because level shifts and trends make the mean stale (as NLinear and SegRNN do; the
    scale and its return are those of Kim et al., ICLR 2022, without their learned affine map).

    skip: (horizon, lookback) weights of a linear forecast of the window minus its last value, or None. With it, `core`
        learns only what the linear forecast misses. It is frozen: trained along, it soon overfits.
    """

    def __init__(self, core: nn.Module, skip: Tensor | None = None, epsilon: float = 1e-3):
        super().__init__()
        self.core = core
        self.epsilon = epsilon  # series come standardised, so this is a thousandth of the series' own spread
        self.register_buffer("skip", skip)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, lookback, channels) -> (batch, horizon, channels)."""
        z, last, scale = self.scaled(x)
        y = self.core(z)  # (batch, horizon, channels)
        if self.skip is not None:
            y = y + unfold(linear(fold(z), self.skip), z.shape[2])  # linear, so it may work on scaled windows
        return y * scale + last

    def scaled(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What `core` sees of x (batch, lookback, channels); the last values and the spreads (batch, 1, channels)."""
        last = x[:, -1:]
        z = x - last
        variance = (
            (z - z.mean(dim=1, keepdim=True)).square().mean(dim=1, keepdim=True)
        )  # Tensor.std is ten times slower
        scale = variance.sqrt() + self.epsilon
        return z / scale, last, scale


class Anchored(Reversible):
    """`core` sees each window in the series' own units, and forecasts the change from its last value.

    So the level tells: where the window is shorter than the season, it is the level that says what time it is.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(batch, lookback, channels) -> (batch, horizon, channels)."""
        last = x[:, -1:]
        y = self.core(x)
        if self.skip is not None:
            y = y + unfold(linear(fold(x - last), self.skip), x.shape[2])
        return y + last

    def scaled(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `Reversible.scaled`: nothing is taken off, and the unit is 1."""
        return x, x[:, -1:], torch.ones_like(x[:, -1:])


def fold(x: Tensor) -> Tensor:
    """(batch, lookback, channels) -> (batch * channels, lookback): every channel goes through the same weights."""
    return x.transpose(1, 2).flatten(0, 1)


def unfold(y: Tensor, channels: int) -> Tensor:
    """(batch * channels, horizon) -> (batch, horizon, channels)."""
    return y.unflatten(0, (-1, channels)).transpose(1, 2)


def patches(x: Tensor, size: int) -> Tensor:
    """(batch, lookback) -> (batch, ceil(lookback / size), size); the first value fills up the first patch."""
    missing = -x.shape[1] % size
    if missing:  # at the old end: the patch next to the forecast stays whole
        x = torch.cat([x[:, :1].expand(-1, missing), x], dim=1)
    return x.unflatten(1, (-1, size))


def zero_head(inputs: int, outputs: int) -> Linear:
    """A last layer that starts at zero: an untrained network forecasts the last value (or its linear skip)."""
    head = Linear(inputs, outputs)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head
