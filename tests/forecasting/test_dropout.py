import pytest
import torch

from forecasting.networks.dropout import Dropout


@pytest.mark.parametrize("p", [0.0, 0.25, 0.5, 0.3])
def test_it_drops_its_share_and_keeps_the_mean(p):
    torch.manual_seed(0)
    x = torch.full((1001, 37), 2.0, requires_grad=True)  # not a multiple of eight elements
    dropped = Dropout(p)(x)
    share = (dropped == 0).float().mean().item()
    assert share == pytest.approx(round(256 * p) / 256, abs=0.01)
    assert dropped.mean().item() == pytest.approx(2.0, abs=0.03)
    kept = dropped[dropped != 0]
    assert torch.allclose(kept, torch.full_like(kept, 2 * 256 / (256 - round(256 * p))))
    dropped.sum().backward()
    assert torch.equal(x.grad != 0, dropped != 0)


def test_in_use_it_does_nothing_and_a_seed_gives_the_same_mask():
    layer, x = Dropout(0.5), torch.rand(9, 9)
    assert torch.equal(layer.eval()(x), x)
    layer.train()
    masks = []
    for _ in range(2):
        torch.manual_seed(1)
        masks.append(layer(x))
    assert torch.equal(*masks) and not torch.equal(masks[0], layer(x))


def test_everything_can_be_dropped():
    assert Dropout(1.0)(torch.ones(20)).sum() == 0
