"""An LSTM over segments, all horizon segments decoded at once (after SegRNN, Lin et al. 2023)."""

from functools import cache

import torch
from torch import Tensor, nn

from forecasting.networks.dropout import Dropout
from forecasting.networks.fast import Linear, linear
from forecasting.networks.norm import fold, patches, unfold, zero_head
from lab import device

_has_bfloat16 = cache(device.bfloat16)


class LSTM(nn.Module):
    """lookback, horizon, patch (the segment): in steps; width: size of the state.

    half: train the recurrence, which is most of the work, in bfloat16 on processors that are faster at it; the
        weights and the forecasts stay float32.

    Reading segments makes the recurrence lookback / patch steps long, not lookback. Each segment of the horizon is then
    one step from the final state, told by a learned embedding which segment it is: no error is fed back.
    """

    def __init__(
        self, lookback: int, horizon: int, patch: int, width: int = 128, dropout: float = 0.3, half: bool = False
    ):
        super().__init__()
        self.patch, self.horizon, self.half = patch, horizon, half
        segments = -(-horizon // patch)
        self.embed = nn.Sequential(Linear(patch, width), nn.GELU())
        self.cell = nn.LSTM(width, width, batch_first=True)
        self.positions = nn.Parameter(0.02 * torch.randn(segments, width))
        self.head = nn.Sequential(Dropout(dropout), zero_head(width, patch))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, lookback, channels) -> (batch, horizon, channels)."""
        channels = x.shape[2]
        x = self.embed(patches(fold(x), self.patch))  # (rows, lookback / patch, width), rows = batch * channels
        hidden, cell = self._read(x)
        y = self.head(self._decoded(hidden, cell))  # (rows, segments, patch)
        return unfold(y.flatten(1)[:, : self.horizon], channels)

    def _read(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The state, hidden and cell (rows, width), after x (rows, steps, width)."""
        half = self.half and self.training and x.device.type == "cpu" and _has_bfloat16("auto", x.device)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            _, (hidden, cell) = self.cell(x)  # each (1, rows, width)
        return hidden[0].to(x.dtype), cell[0].to(x.dtype)

    def _decoded(self, hidden: Tensor, cell: Tensor) -> Tensor:
        """One step from the state hidden, cell (rows, width) for each segment's embedding: (rows, segments, width).

        The gates add up what the embedding says and what the state says. The one is the same for all rows, the other
        for all segments, so each is worked out once: by nn.LSTM that would be rows x segments products with both.
        """
        lstm = self.cell
        told = linear(self.positions, lstm.weight_ih_l0, lstm.bias_ih_l0 + lstm.bias_hh_l0)  # (segments, 4 * width)
        gates = linear(hidden, lstm.weight_hh_l0).unsqueeze(1) + told
        enter, keep, new, show = gates.chunk(4, dim=2)
        cell = keep.sigmoid() * cell.unsqueeze(1) + enter.sigmoid() * new.tanh()
        return show.sigmoid() * cell.tanh()
