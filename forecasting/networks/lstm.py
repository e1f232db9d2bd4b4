"""An LSTM over segments, all horizon segments decoded at once (after SegRNN, Lin et al. 2023)."""

import torch
from torch import Tensor, nn

from forecasting.networks.dropout import Dropout
from forecasting.networks.norm import fold, patches, unfold, zero_head


class LSTM(nn.Module):
    """lookback, horizon, patch (the segment): in steps; width: size of the state.

    Reading segments makes the recurrence lookback / patch steps long, not lookback. Each segment of the horizon is then
    one step from the final state, told by a learned embedding which segment it is: no error is fed back.
    """

    def __init__(self, lookback: int, horizon: int, patch: int, width: int = 128, dropout: float = 0.3):
        super().__init__()
        self.patch, self.horizon = patch, horizon
        segments = -(-horizon // patch)
        self.embed = nn.Sequential(nn.Linear(patch, width), nn.GELU())
        self.cell = nn.LSTM(width, width, batch_first=True)
        self.positions = nn.Parameter(0.02 * torch.randn(segments, width))
        self.head = nn.Sequential(Dropout(dropout), zero_head(width, patch))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, lookback, channels) -> (batch, horizon, channels)."""
        channels, segments = x.shape[2], len(self.positions)
        x = self.embed(patches(fold(x), self.patch))  # (rows, lookback / patch, width), rows = batch * channels
        _, (hidden, cell) = self.cell(x)  # each (1, rows, width)
        queries = self.positions.repeat(hidden.shape[1], 1).unsqueeze(1)  # (rows * segments, 1, width)
        state = hidden.repeat_interleave(segments, dim=1), cell.repeat_interleave(segments, dim=1)
        y = self.head(self.cell(queries, state)[0])  # (rows * segments, 1, patch)
        return unfold(y.reshape(-1, segments * self.patch)[:, : self.horizon], channels)
