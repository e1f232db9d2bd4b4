"""A CNN that reads the patches and an LSTM that remembers them: the two families in one network."""

from torch import Tensor, nn

from forecasting.networks.cnn import Block
from forecasting.networks.lstm import LSTM


class CNNLSTM(LSTM):
    """As LSTM, with one convolutional block between the segments' embedding and the recurrence."""

    def __init__(
        self, lookback: int, horizon: int, patch: int, width: int = 128, dropout: float = 0.3, kernel: int = 7
    ):
        super().__init__(lookback, horizon, patch, width, dropout)
        self.embed = nn.Sequential(self.embed, _Transposed(Block(width, kernel, dropout)))


class _Transposed(nn.Module):
    """A block for (batch, width, patches) on (batch, patches, width)."""

    def __init__(self, block: nn.Module):
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x.transpose(1, 2)).transpose(1, 2)
