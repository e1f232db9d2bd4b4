"""A Transformer on patches: embed, add position, two pre-norm layers, one linear head (after PatchTST, ICLR 2023)."""

import torch
from torch import Tensor, nn

from forecasting.networks.dropout import Dropout
from forecasting.networks.norm import fold, patches, unfold, zero_head


class Transformer(nn.Module):
    """lookback, horizon, patch: in steps; width: size of a token; heads divides it."""

    def __init__(
        self, lookback: int, horizon: int, patch: int, width: int = 32, depth: int = 2, heads: int = 4,
        dropout: float = 0.2,
    ):  # fmt: skip
        super().__init__()
        self.patch = patch
        count = -(-lookback // patch)
        self.embed = nn.Linear(patch, width)
        self.positions = nn.Parameter(0.02 * torch.randn(count, width))
        layer = nn.TransformerEncoderLayer(
            width,
            heads,
            dim_feedforward=2 * width,
            dropout=dropout,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        # Nothing is dropped out of the attention itself, as in PatchTST: that would leave torch's fused attention.
        layer.self_attn.dropout = 0.0
        layer.dropout, layer.dropout1, layer.dropout2 = (Dropout(dropout) for _ in range(3))
        # nested tensors serve padded sentences; pre-norm layers cannot use them and would warn
        self.layers = nn.TransformerEncoder(layer, depth, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Sequential(nn.Flatten(), Dropout(dropout), zero_head(width * count, horizon))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, lookback, channels) -> (batch, horizon, channels)."""
        channels = x.shape[2]
        x = patches(fold(x), self.patch)  # (batch * channels, patches, patch)
        x = self.layers(self.embed(x) + self.positions)  # (batch * channels, patches, width)
        return unfold(self.head(x), channels)
