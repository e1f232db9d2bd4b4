"""What the networks work out by hand, to be faster, is what torch's own layers say."""

import pytest
import torch

from forecasting.families import FAMILIES
from forecasting.networks import fast
from forecasting.networks.linear import DLinear, NLinear
from forecasting.networks.lstm import LSTM
from forecasting.networks.norm import Reversible
from forecasting.networks.transformer import Attention, Transformer
from lab import device


@pytest.mark.parametrize("horizon", [5, 24, 50])
def test_decoding_is_one_step_of_the_lstm_for_each_segment(horizon):
    torch.manual_seed(0)
    network = LSTM(lookback=48, horizon=horizon, patch=12, width=16).double()
    segments = len(network.positions)
    assert segments == -(-horizon // 12)
    hidden, cell = torch.randn(2, 7, 16, dtype=torch.double)  # 7 rows
    parameters = (*network.cell.parameters(), network.positions)

    queries = network.positions.repeat(7, 1).unsqueeze(1)  # (7 * segments, 1, 16)
    state = hidden.repeat_interleave(segments, 0)[None], cell.repeat_interleave(segments, 0)[None]
    expected = network.cell(queries, state)[0].view(7, segments, 16)
    decoded = network._decoded(hidden, cell)

    torch.testing.assert_close(decoded, expected)
    weights = torch.randn_like(decoded)
    for ours, theirs in zip(
        torch.autograd.grad((weights * decoded).sum(), parameters),
        torch.autograd.grad((weights * expected).sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_a_recurrence_trained_in_bfloat16_learns_what_one_in_float32_does():
    torch.manual_seed(0)
    plain, half = LSTM(48, 24, 12, width=64, dropout=0.0), LSTM(48, 24, 12, width=64, dropout=0.0, half=True)
    torch.nn.init.normal_(plain.head[-1].weight)
    half.load_state_dict(plain.state_dict())
    x, weights = torch.randn(9, 48, 2), torch.randn(9, 24, 2)
    expected, found = (
        torch.autograd.grad((weights * each(x)).sum(), list(each.parameters())) for each in (plain, half)
    )
    for one, other in zip(expected, found, strict=True):
        assert one.dtype == other.dtype == torch.float32
        assert (one - other).norm() < 0.02 * one.norm()
    same = all(map(torch.equal, expected, found))
    assert same != device.bfloat16("auto", torch.device("cpu"))
    assert torch.equal(plain.eval()(x), half.eval()(x))


def test_windows_are_seen_in_units_of_their_spread():
    x = 1e4 + 3 * torch.randn(5, 48, 2).cumsum(1)
    z, last, scale = Reversible(torch.nn.Identity()).scaled(x)
    torch.testing.assert_close(
        scale, x.double().std(dim=1, keepdim=True, correction=0).float() + 1e-3, rtol=1e-3, atol=0
    )
    torch.testing.assert_close(z * scale + last, x)


def test_attention_is_that_of_torch():
    torch.manual_seed(0)
    ours = Attention(16, 4).double()
    theirs = torch.nn.MultiheadAttention(16, 4, batch_first=True).double()
    torch.nn.init.normal_(ours.in_proj_bias)
    theirs.load_state_dict(ours.state_dict())
    tokens, weights = torch.randn(2, 5, 9, 16, dtype=torch.double)  # 5 sequences of 9 tokens
    found = []
    for layer in (ours, theirs):
        x = tokens.clone().requires_grad_()
        answer, _ = layer(x, x, x, need_weights=False)
        found.append((answer, *torch.autograd.grad((weights * answer).sum(), (x, *layer.parameters()))))
    for own, other in zip(*found, strict=True):
        torch.testing.assert_close(own, other)
    for options in ({"need_weights": True}, {"need_weights": False, "attn_mask": torch.ones(9, 9).triu(1).bool()}):
        own, other = (layer(tokens, tokens, tokens, **options) for layer in (ours, theirs))
        torch.testing.assert_close(own[0], other[0])
        assert (own[1] is None) == (other[1] is None) == (not options["need_weights"])


def test_a_transformer_forecasts_as_it_learned():
    """Without gradients torch would take a path of its own through a layer; both must say the same."""
    torch.manual_seed(0)
    network = Transformer(48, 24, 12, width=16).double().eval()
    torch.nn.init.normal_(network.head[-1].weight)
    x = torch.randn(3, 48, 2, dtype=torch.double)
    with torch.no_grad():
        without = network(x)
    torch.testing.assert_close(network(x), without)


@pytest.mark.parametrize("shape", [(800, 64), (20, 40, 64), (2, 10, 40, 64), (3, 64)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_a_fast_product_is_that_of_torch(monkeypatch, shape, bias):
    torch.manual_seed(0)
    made = []
    product = fast._product
    monkeypatch.setattr(fast, "_product", lambda *given: made.append(given[0].shape) or product(*given))
    ours, x, weights = fast.Linear(64, 48, bias=bias), torch.randn(shape), torch.randn(*shape[:-1], 48)
    theirs = torch.nn.Linear(64, 48, bias=bias)
    theirs.load_state_dict(ours.state_dict())
    found = []
    for layer in (ours, theirs):
        own = x.clone().requires_grad_()
        y = layer(own)
        found.append((y, *torch.autograd.grad((weights * y).sum(), (own, *layer.parameters()))))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    large = x.numel() * 48 >= fast._SMALL
    assert len(made) == (3 if large and fast._available() else 0)
    assert ours(x.double().float()).dtype == torch.float32
    assert ours.double()(x.double()).dtype == torch.float64  # left to torch


def test_frozen_weights_get_no_gradient_through_a_fast_product():
    layer = fast.Linear(64, 48).requires_grad_(False)
    x = torch.randn(800, 64, requires_grad=True)
    layer(x).sum().backward()
    assert layer.weight.grad is None
    torch.testing.assert_close(x.grad, layer.weight.sum(0).expand(800, 64))


def test_the_linear_ones_by_hand():
    """The last moving average of 1, 2, 3, 7 is (3 + 7 + 7) / 3 = 17 / 3, which leaves 4 / 3; the last value is 7."""
    x = torch.tensor([1.0, 2.0, 3.0, 7.0])[None, :, None]
    dlinear, nlinear = DLinear(4, 1, patch=3), NLinear(4, 1)
    with torch.no_grad():
        for layer in (dlinear.trend, dlinear.rest, nlinear.layer):
            layer.bias.zero_()
            layer.weight.zero_()
        dlinear.trend.weight[0, 3], dlinear.rest.weight[0, 3], nlinear.layer.weight[0, 1] = 1.0, 10.0, 1.0
    assert dlinear(x).item() == pytest.approx(17 / 3 + 40 / 3)
    assert nlinear(x).item() == pytest.approx(7 + (2 - 7))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_weight_has_a_part_in_the_forecast(name):
    torch.manual_seed(0)
    family = FAMILIES[name]
    network = family.network(96, 24, family.patch(96), dropout=family.dropout).eval()
    for weights in network.parameters():
        if not weights.any():  # a last layer that starts at zero
            torch.nn.init.normal_(weights)
    network(torch.randn(3, 96, 2)).square().sum().backward()
    assert [name for name, own in network.named_parameters() if own.grad is None or not own.grad.any()] == []
