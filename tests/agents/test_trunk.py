import pytest
import torch
from torch import nn

from agents import trunk
from agents.helper import Helper
from agents.networks import nature_trunk, nips_trunk
from agents.optimizers import QuickAdam, RowsAdam
from agents.trunk import BlockConv2d, Trunk, blocks, tiles


@pytest.fixture
def helper():
    return Helper()


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def states(number=5, seed=0):
    return torch.randint(0, 256, (number, 4, 84, 84), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


def made(kind=nature_trunk, streams=1):
    torch.manual_seed(0)
    return kind(4, nn.Linear, streams)


def plain(like):
    """The same layers as torch has them, on pixels."""
    layers = [layer if not isinstance(layer, BlockConv2d) else nn.Conv2d(4, len(layer.bias), 8, 4) for layer in like]
    other = nn.Sequential(*layers)
    other[0].load_state_dict(like[0].state_dict())
    return other


def gradients(network, x, towards, half=False):
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        y = network(x)
    (y.float() * towards).sum().backward()
    return y.detach(), [weight.grad.clone() for weight in network.parameters()]


def apart(found, expected):
    return float((found.float() - expected.float()).norm() / expected.float().norm())


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_a_convolution_over_blocks_is_the_strided_one(kind):
    """Against torch's own: value and gradient, from states, their tiles and their blocks."""
    layer = BlockConv2d(4, 5, 8)
    strided = nn.Conv2d(4, 5, 8, stride=4)
    strided.load_state_dict(layer.state_dict())
    seen = states(3).to(kind)
    expected = strided(seen.float())
    for given in (seen, tiles(seen.flatten(0, 1)).unflatten(0, (3, 4))):
        layer.zero_grad()
        found = layer(blocks(given).float())
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-2)
        found.sum().backward()
        strided.zero_grad()
        strided(seen.float()).sum().backward()
        torch.testing.assert_close(layer.weight.grad, strided.weight.grad, rtol=1e-4, atol=1.0)
    assert torch.equal(layer.over_pixels(layer.over_blocks()), layer.weight)


def test_blocks_hold_the_pixels_of_four_by_four():
    state = torch.arange(2 * 3 * 8 * 12).remainder(256).to(torch.uint8).view(2, 3, 8, 12)
    for given in (state, state.float()):
        found = blocks(given)
        assert found.shape == (2, 48, 2, 3)
        assert (found[1, 16 + 4 * 2 + 3, 1, 2] == state[1, 1, 4 + 2, 8 + 3]).all()
        assert found.is_contiguous(memory_format=torch.channels_last)
    assert tiles(state[0])[1, 1, 2, 4 * 2 + 3] == state[0, 1, 4 + 2, 8 + 3]


@pytest.mark.parametrize("streams", [1, 2])
@pytest.mark.parametrize("kind", [nature_trunk, nips_trunk])
def test_by_hand_it_is_what_torch_says_in_every_weight(kind, streams):
    """In float32, from uint8 as from [0, 1]; in bfloat16 about as near to that as torch is with the same arithmetic,
    but for single units that round to the other side of nought."""
    network, seen = made(kind, streams), states(32)
    towards = random(32, network.hidden.out_features)
    expected, right = gradients(plain(network), seen / 255, towards)
    assert expected.gt(0).float().mean() > 0.2
    for given in (seen, blocks(seen), seen / 255):
        found, by_hand = gradients(network, given, towards)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(by_hand, right, rtol=1e-3, atol=1e-4)
    rounded, at_most = gradients(plain(network), seen / 255, towards, half=True)
    found, by_hand = gradients(network, seen, towards, half=True)
    assert found.dtype == torch.bfloat16 and 0 < apart(found, expected) < 1.5 * apart(rounded, expected)
    for mine, theirs, exact in zip(by_hand, at_most, right, strict=True):
        assert mine.dtype == torch.float32 and mine.stride() == exact.stride()
        assert apart(mine, exact) < 2.5 * apart(theirs, exact) and apart(theirs, exact) < 0.2


@pytest.mark.parametrize("half", [False, True])
def test_without_onednn_it_is_the_same(monkeypatch, half):
    """Also where that is there, but not for bfloat16, as on processors without AVX-512."""
    towards = random(5, 512)
    expected, _ = gradients(made(), states(), towards, half)
    called = []
    usual = trunk._conv_relu
    monkeypatch.setattr(trunk, "_conv_relu", lambda *given: called.append(0) or usual(*given))
    gradients(made(), states(), towards, half)
    by_onednn = 3 if trunk._conv_bfloat16 or not half else 0
    assert len(called) == by_onednn
    monkeypatch.setattr(*(trunk, "_conv_bfloat16", False) if half else (trunk, "_conv_relu", None))
    found, _ = gradients(made(), states(), towards, half)
    assert len(called) == by_onednn and apart(found, expected) < (0.01 if half else 1e-5)


def test_what_a_picture_does_to_it_can_still_be_asked():
    """The gradient to the pixels, for saliency: torch's way, which nothing by hand takes."""
    network, seen = made(), (states(2) / 255).requires_grad_()
    network(seen).sum().backward()
    other = seen.detach().clone().requires_grad_()
    plain(network)(other).sum().backward()
    torch.testing.assert_close(seen.grad, other.grad, rtol=1e-4, atol=1e-5)


def test_shared_gradients_are_the_same_in_every_bit(helper):
    network, towards = made(), random(5, 512)
    _, expected = gradients(network, states(), towards, half=True)
    network.helper = helper
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        y = network(states())
    (y.float() * towards).sum().backward()
    assert len(network.shared) == 2  # that of the first convolution, which comes last, is not
    network.finish()
    assert all(torch.equal(a.grad, b) for a, b in zip(network.parameters(), expected, strict=True))
    assert all(a.grad.stride() == a.stride() for a in network.parameters())


def test_weights_made_ready_are_the_newest():
    network, seen = made(), states(2)
    before = network(seen)
    assert torch.equal(network(seen), before)
    other = Trunk(*made())
    with torch.no_grad():
        for weight in other.parameters():
            weight.mul_(1.1)
    network.load_state_dict(other.state_dict())
    loaded = network(seen).detach()
    torch.testing.assert_close(loaded, plain(network)(seen / 255).detach(), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(loaded, before)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01, fused=True)  # whose steps no tensor counts
    network(seen).sum().backward()
    optimizer.step()
    network.changed()
    torch.testing.assert_close(network(seen), plain(network)(seen / 255), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(network(seen), loaded)


def test_quick_adam_is_torchs_in_every_bit_and_their_states_are_one_anothers():
    mine, theirs = ([nn.Parameter(random(7, 3)), nn.Parameter(random(5, seed=1))] for _ in range(2))
    quick = QuickAdam(mine, lr=0.1, eps=1e-4)
    usual = torch.optim.Adam(theirs, lr=0.1, eps=1e-4, fused=True)
    for number in range(4):
        for a, b in zip(mine, theirs, strict=True):
            a.grad = b.grad = random(*a.shape, seed=number)
        quick.step()
        usual.step()
        if number == 1:
            first, second = quick.state_dict(), usual.state_dict()
            quick.load_state_dict(second)
            usual.load_state_dict(first)
    assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shared", [False, True])
def test_a_matrix_moved_by_rows_is_where_adam_would_have_it(helper, shared, kind):
    mine, theirs = (nn.Parameter(random(130, 40)) for _ in range(2))  # two blocks of rows and a rest
    rows, usual = RowsAdam(mine, lr=0.1, eps=1e-4), torch.optim.Adam([theirs], lr=0.1, eps=1e-4, fused=True)
    rows.helper = helper if shared else None
    copy = rows.copy(kind)
    for number in range(3):
        left, right = random(6, 130, seed=number).to(kind), random(6, 40, seed=9 + number).to(kind)
        theirs.grad = (left.t() @ right).float()
        usual.step()
        rows.param_groups[0]["lr"] = 0.1
        rows.product = left, right
        rows.step()
        rows.param_groups[0]["lr"] = 5.0  # only for what comes later
        rows.finish()
    torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)
    assert rows.copy(kind) is copy and torch.equal(copy, mine.detach().to(kind))
    with torch.no_grad():
        mine.mul_(2)  # as when a checkpoint is loaded
    assert torch.equal(rows.copy(kind), mine.detach().to(kind))


def test_a_products_norm_needs_no_product():
    rows = RowsAdam(nn.Parameter(random(130, 40)), lr=0.1, eps=1e-4)
    left, right = random(6, 130), random(6, 40, seed=1)
    rows.product = left, right
    assert float(rows.norm()) == pytest.approx(float((left.t() @ right).norm()), rel=1e-5)
    rows.scale(torch.tensor(0.25))
    assert float(rows.norm()) == pytest.approx(float((left.t() @ right).norm()) / 4, rel=1e-5)
    rows.zero_grad()
    with pytest.raises(ValueError, match="no gradient yet"):
        rows.step()


def test_what_fails_in_a_shared_step_is_raised(helper, monkeypatch):
    def broken(*_):
        raise RuntimeError("no step")

    monkeypatch.setattr("agents.optimizers._move", broken)
    rows = RowsAdam(nn.Parameter(random(130, 40)), lr=0.1, eps=1e-4)
    rows.helper = helper
    rows.product = random(6, 130), random(6, 40)
    rows.step()
    with pytest.raises(RuntimeError, match="no step"):
        rows.finish()
