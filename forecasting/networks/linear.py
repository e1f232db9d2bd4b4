"""The linear forecasts that networks are held against (Zeng et al., "Are Transformers Effective ...?", AAAI 2023)."""

from torch import Tensor, nn
from torch.nn import functional

from forecasting.networks.fast import Linear
from forecasting.networks.norm import fold, unfold


class DLinear(nn.Module):
    """The window's moving average and what is left of it, each through a linear layer of its own."""

    def __init__(self, lookback: int, horizon: int, patch: int = 25, dropout: float = 0.0):
        """patch: width of the moving average, in steps, odd. It has nothing to drop out."""
        super().__init__()
        self.width = patch
        self.trend, self.rest = (Linear(lookback, horizon) for _ in range(2))
        for layer in (self.trend, self.rest):
            nn.init.constant_(layer.weight, 1 / lookback)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, lookback, channels) -> (batch, horizon, channels)."""
        rows, half = fold(x), self.width // 2
        padded = functional.pad(rows.unsqueeze(1), (half, half), mode="replicate")
        trend = functional.avg_pool1d(padded, self.width, stride=1).squeeze(1)  # (batch * channels, lookback)
        return unfold(self.trend(trend) + self.rest(rows - trend), x.shape[2])


class NLinear(nn.Module):
    """One linear layer on the window minus its last value, which is added again."""

    def __init__(self, lookback: int, horizon: int, patch: int = 1, dropout: float = 0.0):
        super().__init__()
        self.layer = Linear(lookback, horizon)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, lookback, channels) -> (batch, horizon, channels)."""
        rows = fold(x)
        last = rows[:, -1:]
        return unfold(self.layer(rows - last) + last, x.shape[2])
