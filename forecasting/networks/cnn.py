"""A 1D CNN on patches: a patch stem, depthwise and pointwise blocks, one linear head (after ModernTCN, ICLR 2024)."""

from torch import Tensor, nn

from forecasting.networks.dropout import Dropout
from forecasting.networks.fast import Linear
from forecasting.networks.norm import fold, patches, unfold, zero_head


class Block(nn.Module):
    """Mix along time within each feature (depthwise), then across features at each patch (pointwise)."""

    def __init__(self, width: int, kernel: int, dropout: float):
        super().__init__()
        self.mix = nn.Sequential(
            nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width),
            nn.BatchNorm1d(width),
            nn.Conv1d(width, 2 * width, 1),
            nn.GELU(),
            Dropout(dropout),
            nn.Conv1d(2 * width, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mix(x)  # (batch, width, patches)


class CNN(nn.Module):
    """lookback, horizon, patch: in steps; kernel: in patches, odd; width: features a patch."""

    def __init__(
        self, lookback: int, horizon: int, patch: int, width: int = 32, depth: int = 2, kernel: int = 7,
        dropout: float = 0.3,
    ):  # fmt: skip
        super().__init__()
        self.patch = patch
        count = -(-lookback // patch)
        self.stem = Linear(patch, width)  # a convolution whose stride is its kernel
        self.blocks = nn.Sequential(*(Block(width, kernel, dropout) for _ in range(depth)))
        self.head = nn.Sequential(nn.Flatten(), Dropout(dropout), zero_head(width * count, horizon))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, lookback, channels) -> (batch, horizon, channels)."""
        channels = x.shape[2]
        x = patches(fold(x), self.patch)  # (batch * channels, patches, patch)
        x = self.stem(x).transpose(1, 2)  # (batch * channels, width, patches)
        return unfold(self.head(self.blocks(x)), channels)
