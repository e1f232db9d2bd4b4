"""The lecture's versions: an LSTM and a Transformer encoder that read one step at a time, as they are in textbooks.

Kept to show what segments, patches and instance normalisation change; nothing else uses them.
"""

import torch
from torch import Tensor, nn

from forecasting.networks.norm import fold, unfold


class PlainLSTM(nn.Module):
    """An LSTM over single steps (Hochreiter and Schmidhuber, 1997), one linear layer from its last state."""

    def __init__(self, lookback: int, horizon: int, patch: int = 1, width: int = 64, dropout: float = 0.1):
        super().__init__()
        self.cell = nn.LSTM(1, width, batch_first=True)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, horizon))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, lookback, channels) -> (batch, horizon, channels)."""
        _, (hidden, _) = self.cell(fold(x).unsqueeze(2))  # (1, batch * channels, width)
        return unfold(self.head(hidden[0]), x.shape[2])


class PlainTransformer(nn.Module):
    """A Transformer encoder over single steps (Vaswani et al., 2017), one linear layer from its last token."""

    def __init__(self, lookback: int, horizon: int, patch: int = 1, width: int = 32, dropout: float = 0.1):
        super().__init__()
        self.embed = nn.Linear(1, width)
        self.positions = nn.Parameter(0.02 * torch.randn(lookback, width))
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, dropout, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(width, horizon)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, lookback, channels) -> (batch, horizon, channels)."""
        tokens = self.layers(self.embed(fold(x).unsqueeze(2)) + self.positions)  # (batch * channels, lookback, width)
        return unfold(self.head(tokens[:, -1]), x.shape[2])
