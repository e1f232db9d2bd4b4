"""The density against scipy, the masks against what they promise: nothing hidden is ever seen."""

import numpy as np
import torch
from scipy import integrate, stats

from forecasting.anomaly import masked
from lab import device

SHAPE = masked.Shape(window=6, context=8, lags=(4, 10))


def masks(first: int, last: int, length: int, past: bool = True, future: bool = True) -> masked.Masks:
    return masked.Masks(
        *(torch.tensor([v]) for v in (first, last, 0, length)), torch.tensor([past]), torch.tensor([future])
    )


def test_density_is_scipys_mixture_of_logistics():
    mixture = torch.tensor([[[0.3, -1.0, 0.2], [-0.5, 2.0, -1.0]]])
    weight = torch.softmax(mixture[0, :, 0], 0).numpy()
    want = sum(
        w * stats.logistic.pdf(0.7, m, np.exp(s)) for w, (_, m, s) in zip(weight, mixture[0].tolist(), strict=True)
    )
    assert np.isclose(masked.log_density(mixture, torch.tensor([0.7])).exp().item(), want, rtol=1e-5)


def test_density_integrates_to_one_even_where_the_scale_is_clamped():
    mixture = torch.tensor([[0.0, 0.5, -9.0]])
    total, _ = integrate.quad(lambda v: masked.log_density(mixture, torch.tensor(v)).exp().item(), -2, 3, points=[0.5])
    assert np.isclose(total, 1, atol=1e-3)


def test_draws_follow_the_mixture():
    mixture = torch.tensor([[[0.0, -1.0, -2.0], [0.0, 2.0, -1.0], [-9.0, 50.0, 0.0]]]).repeat(4000, 1, 1)
    drawn = masked.draw(mixture, torch.Generator().manual_seed(0)).numpy()
    assert abs(drawn.mean() - 0.5) < 0.1
    assert drawn.max() < 10  # the component of weight 0.0001 is left out


def test_nothing_hidden_is_seen():
    series = torch.randn(1, 60, generator=torch.Generator().manual_seed(0))
    other = series.clone()
    other[0, 30:36] += 5
    for past, future in ((True, True), (True, False), (False, True)):
        seen, target, hidden = masked.look(series, masks(30, 36, 60, past, future), SHAPE)
        seen_other, target_other, _ = masked.look(other, masks(30, 36, 60, past, future), SHAPE)
        assert torch.equal(seen, seen_other)
        assert not torch.equal(target[hidden], target_other[hidden])
    assert hidden.sum() == 6


def test_echoes_are_those_of_the_lag_and_can_be_left_out():
    series = torch.arange(60.0)[None]
    sights, _, _ = masked.look(series, masks(30, 36, 60), SHAPE)
    at = torch.arange(22, 44)
    centre = series[0, at[(at < 30) | (at >= 36)]].mean()
    # channels: value, flag, then for lag 4 the past's and the future's value and flag
    assert torch.allclose(sights[0, 2, 10], series[0, 22 + 10 - 4] - centre)
    assert torch.allclose(sights[0, 4, 10], series[0, 22 + 10 + 4] - centre)
    without, _, _ = masked.look(series, masks(30, 36, 60, past=False), SHAPE)
    assert without[0, [2, 3, 6, 7]].abs().sum() == 0
    assert without[0, [4, 5, 8, 9]].abs().sum() > 0


def test_a_step_or_a_run_alone_is_as_among_all():
    torch.manual_seed(0)
    network = masked.MaskedNetwork(SHAPE).eval()
    torch.nn.init.normal_(network.head.weight)
    sights = torch.randn(3, 10, SHAPE.crop)
    with torch.no_grad():
        whole = network(sights)
        for step in (0, 3, SHAPE.context, SHAPE.crop - 1):  # also where the crop ends within reach
            assert torch.allclose(network.at(sights, step), whole[:, step], atol=1e-5)
        for first, last in ((0, 1), (3, 9), (SHAPE.context, SHAPE.context + SHAPE.window), (20, SHAPE.crop)):
            assert torch.allclose(network(sights, first, last), whole[:, first:last], atol=1e-5)


def test_training_masks_stay_inside_the_series():
    drawn = masked.training_masks(30, SHAPE, 2000, torch.Generator().manual_seed(0))
    assert (drawn.first >= 0).all() and (drawn.last <= 30).all() and (drawn.last > drawn.first).all()
    assert (drawn.last - drawn.first).max() > SHAPE.window  # the open-ended ones
    assert (drawn.lo == drawn.first).any() and (drawn.hi == drawn.last).any()


def test_the_network_reaches_its_whole_context():
    torch.manual_seed(0)
    network = masked.MaskedNetwork(SHAPE).eval()
    torch.nn.init.normal_(network.head.weight)
    sights = torch.randn(1, 10, SHAPE.crop, requires_grad=True)
    middle = SHAPE.crop // 2
    network(sights)[0, middle].sum().backward()
    assert sights.grad is not None
    reached = sights.grad.abs().sum((0, 1)).nonzero().flatten()
    assert reached.min() <= middle - SHAPE.context and reached.max() >= min(middle + SHAPE.context, SHAPE.crop - 1)


def test_threads_are_given_back():
    before = torch.get_num_threads()
    with device.threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before
