"""The LSTM over segments: its decoding step, worked out in two shares, is that of nn.LSTM."""

import pytest
import torch

from forecasting.networks.lstm import LSTM


@pytest.mark.parametrize("horizon", [5, 24, 50])
def test_decoding_is_one_step_of_the_lstm_for_each_segment(horizon):
    torch.manual_seed(0)
    network = LSTM(lookback=48, horizon=horizon, patch=12, width=16).double()
    segments = len(network.positions)
    assert segments == -(-horizon // 12)
    hidden, cell = torch.randn(2, 7, 16, dtype=torch.double)  # 7 rows
    parameters = tuple(network.cell.parameters()), network.positions

    queries = network.positions.repeat(7, 1).unsqueeze(1)  # (7 * segments, 1, 16)
    state = hidden.repeat_interleave(segments, 0)[None], cell.repeat_interleave(segments, 0)[None]
    expected = network.cell(queries, state)[0].view(7, segments, 16)
    decoded = network._decoded(hidden, cell)

    torch.testing.assert_close(decoded, expected)
    weights = torch.randn_like(decoded)
    for ours, theirs in zip(
        torch.autograd.grad((weights * decoded).sum(), (*parameters[0], parameters[1])),
        torch.autograd.grad((weights * expected).sum(), (*parameters[0], parameters[1])),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)
