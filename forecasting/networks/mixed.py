"""Mixing across channels, before an architecture that treats each channel alone (after TSMixer, Chen et al., 2023)."""

from torch import Tensor, nn

from forecasting.networks.dropout import Dropout
from forecasting.networks.norm import zero_head


class Mixed(nn.Module):
    """At every step each channel is given what a small network makes of all channels at that step; at first nothing.

    core: (batch, lookback, channels) -> (batch, horizon, channels).
    """

    def __init__(self, core: nn.Module, channels: int, width: int = 32, dropout: float = 0.3):
        super().__init__()
        self.core = core
        self.mix = nn.Sequential(
            nn.Linear(channels, width), nn.GELU(), Dropout(dropout), zero_head(width, channels)
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """(batch, lookback, channels) -> (batch, horizon, channels)."""
        return self.core(x + self.mix(x))
