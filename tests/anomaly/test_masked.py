"""The density against scipy, the masks against what they promise: nothing hidden is ever seen."""

import numpy as np
import torch
from scipy import integrate, stats
from torch.nn import functional

from forecasting.anomaly import masked
from forecasting.anomaly.recall import Recall
from lab import device

SHAPE = masked.Shape(window=6, context=8, reaches=(5, 8), stretches=2)
CHANNELS = 10  # value and flag of the crop, value and distance of four stretches
STEPS = torch.randn(60, generator=torch.Generator().manual_seed(1))


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
    mixture = torch.tensor([[[0.0, -1.0, -2.0], [0.0, 2.0, -1.0], [-2.5, 50.0, 0.0]]]).repeat(4000, 1, 1)
    drawn = masked.draw(mixture, torch.Generator().manual_seed(0)).numpy()
    assert abs(drawn.mean() - 0.5) < 0.1
    # the component of weight 0.04 is left out, and the outermost 2 % of the others
    edge = stats.logistic.ppf(0.98) + 1e-4
    assert drawn.min() > -1 - edge * np.exp(-2) and drawn.max() < 2 + edge * np.exp(-1)


def test_nothing_hidden_is_seen():
    network, inside = masked.MaskedNetwork(SHAPE, STEPS), masked.Masks.of(1, 30, 36, 0, 60)
    series = torch.randn(1, 60, generator=torch.Generator().manual_seed(0))
    other = series.clone()
    other[0, 30:36] += 5
    seen, target, hidden = look(network, series, inside)
    seen_other, target_other, _ = look(network, other, inside)
    assert torch.equal(seen, seen_other)
    assert not torch.equal(target[hidden], target_other[hidden])
    assert hidden.sum() == 6


def not_at_zero():
    """A network whose head does not start at zero, so that what it sees shows in what it says."""
    torch.manual_seed(0)
    network = masked.MaskedNetwork(SHAPE, STEPS).eval()
    torch.nn.init.normal_(network.head.weight)
    return network


def look(network, series, masks, own=False):
    return masked.look(series, masks, network, network.recall.nearest(series, masks, own))


def test_in_the_training_part_nothing_hidden_is_recalled():
    network, inside = masked.MaskedNetwork(SHAPE, STEPS), masked.Masks.of(1, 30, 36, 0, 60)
    hidden = STEPS[30:36]
    own, _, _ = look(network, STEPS[None], inside, own=True)
    at = slice(SHAPE.context, SHAPE.context + 6)
    assert not any(torch.allclose(own[0, channel, at].diff(), hidden.diff(), atol=1e-4) for channel in range(2, 6))
    found, _, _ = look(network, STEPS[None], inside)  # unless one forgets to say that it is the training part
    assert any(torch.allclose(found[0, channel, at].diff(), hidden.diff(), atol=1e-4) for channel in range(2, 6))


def test_what_is_recalled_is_what_comparing_every_place_finds():
    """Runs of every kind: amid the series, near its ends, with one side out of sight, in their own training part."""
    random = torch.Generator().manual_seed(2)
    values, series = torch.randn(90, generator=random), torch.randn(70, generator=random)
    recall = Recall(values, (5, 8), 6, 2)
    for own, of in ((False, series), (True, values)):
        masks = masked.training_masks(len(of), SHAPE, 40, random)
        found = recall.nearest(of[None], masks, own)
        for row, (first, last, lo, hi) in enumerate(zip(*(each.tolist() for each in masks), strict=True)):
            for number, reach in enumerate((5, 8)):
                steps = [*range(max(lo, first - reach), first), *range(last, min(hi, last + reach))]
                steps = [step for step in steps if step - first < recall.longest + reach]
                if not steps:
                    continue
                around = of[steps] - of[steps].mean()
                best = [np.inf, np.inf]
                for place in range(recall.candidates):
                    there = values[[min(max(0, place + step - first), 89) for step in steps]]
                    if not (own and abs(place - first) < max(reach, last - first)):
                        distance = float((around - (there - there.mean())).square().mean().sqrt())
                        piece = 0 if place < -(-recall.candidates // 2) else 1
                        best[piece] = min(best[piece], distance)
                np.testing.assert_allclose(found.distances[row, 2 * number :][:2], sorted(best), atol=1e-3)


def test_what_is_recalled_lies_at_the_level_of_the_run():
    network = masked.MaskedNetwork(SHAPE, STEPS)
    series, inside = STEPS[None] + 7, masked.Masks.of(1, 30, 36, 0, 60)
    sights, target, hidden = look(network, series, inside)
    around = torch.cat([series[0, 22:30], series[0, 36:44]])
    assert torch.allclose(sights[0, 2], series[0, 22:44] - around.median(), atol=1e-4)  # the same stretch, 7 lower
    assert sights[0, 2 + 4, 0] < 1e-3 < sights[0, 2 + 5, 0]  # distances follow
    above = series[0, 30:36] - around.median() - sights[0, 2:6, 8:14].mean(0)
    assert torch.allclose(target[hidden], above, atol=1e-4)


def test_an_anomaly_beside_a_run_does_not_shift_what_is_expected_of_it():
    network, inside = masked.MaskedNetwork(SHAPE, STEPS), masked.Masks.of(1, 30, 36, 0, 60)
    series = STEPS[None].clone()
    series[0, 40:43] -= 2
    clean, found = (network.recall.nearest(each, inside) for each in (STEPS[None], series))
    assert clean.places[0, 0] == found.places[0, 0] == found.places[0, 2] == 30  # the stretch itself, for both reaches
    assert found.shifts[0, 0] == found.shifts[0, 2] == 0  # where it lies: the mean would be .2 and .375 off
    calm, wide = 0.1 * torch.randn(400, generator=torch.Generator().manual_seed(0)), masked.Shape(6, 64, (5,), 1)
    recall, inside, off = Recall(calm, (5,), 6, 1), masked.Masks.of(1, 200, 206, 0, 400), calm[None].clone()
    off[0, 230:240] -= 50
    (before, *_), (after, *_) = (
        masked._surroundings(each, inside, wide, recall, recall.nearest(each, inside)) for each in (calm[None], off)
    )
    assert torch.allclose(after[0, 0, :64], before[0, 0, :64], atol=0.05)  # what is seen before the run, mean: 4 off


def test_what_is_recalled_is_bent_to_meet_the_edges_of_the_run():
    series, flat = torch.arange(60.0)[None], masked.MaskedNetwork(SHAPE, torch.zeros(60))
    flat.persistence = 1.0
    runs = masked.Masks(*(torch.tensor(each) for each in ([30, 0, 54, 30], [34, 3, 60, 40], [0] * 4, [60, 60, 60, 40])))
    _, target, hidden = look(flat, series, runs)
    assert torch.allclose(target[0][hidden[0]], torch.zeros(4), atol=5e-3)  # from 29 to 34 in a straight line
    assert torch.allclose(target[1][hidden[1]], torch.tensor([-3.0, -2, -1]), atol=5e-3)  # nothing before: as after
    assert torch.allclose(target[2][hidden[2]], torch.arange(1.0, 7), atol=5e-3)  # the end: as before
    assert torch.allclose(target[3][hidden[3]], torch.arange(1.0, 11), atol=5e-3)  # what comes after is not seen


def test_the_bridge_is_that_of_an_autoregressive_process():
    """Against the conditional mean of a Gaussian with covariance r^|i - j|."""
    r, width = 0.8, 5
    places = np.arange(width + 2)
    covariance = r ** np.abs(places[:, None] - places)
    weights = covariance[1:-1][:, [0, -1]] @ np.linalg.inv(covariance[np.ix_([0, -1], [0, -1])])
    gap = torch.zeros(1, 1, 22)
    gap[0, 0, 7], gap[0, 0, 13] = 2.0, -1.0  # the steps beside a run of 5 that begins at 8
    visible = torch.ones(1, 22, dtype=torch.bool)
    found = masked.bend(gap, visible, masked.Masks.of(1, 30, 35, 0, 60), 8, r)
    assert np.allclose(found[0, 0, 8:13], weights @ [2.0, -1.0], atol=1e-5)
    visible[0, 13:] = False
    found = masked.bend(gap, visible, masked.Masks.of(1, 30, 35, 0, 35), 8, r)
    assert np.allclose(found[0, 0, 8:13], 2 * r ** np.arange(1, 6), atol=1e-5)


def test_persistence_is_the_correlation_of_neighbouring_gaps():
    noise = torch.randn(400, generator=torch.Generator().manual_seed(2))
    assert masked.MaskedNetwork(SHAPE, noise).persistence < 0.2
    assert masked.MaskedNetwork(SHAPE, noise.cumsum(0)).persistence > 0.7


def test_a_surprise_is_the_blurred_density_of_each_step_of_the_run():
    network = masked.MaskedNetwork(SHAPE, torch.zeros(60)).eval()
    series = torch.zeros(1, 60)  # the head starts at zero: components at -1 .. 1 around what is recalled, scale 1 / e
    series[0, 32], series[0, 50] = 0.4, 90.0
    runs = masked.Masks(*(torch.tensor(each) for each in ([30, 50], [33, 51], [0, 0], [60, 60])))
    with torch.no_grad():
        found = masked.surprises(network, series, runs, 3)
    scale = np.hypot(np.exp(-1), 0.17)
    density = [np.mean(stats.logistic.pdf(x, np.linspace(-1, 1, 5), scale)) for x in (0, 0, 0.4)]
    assert np.allclose(found[0], -np.log(np.array(density) + 0.01), atol=1e-5)
    assert np.allclose(found[1], [-np.log(0.01), 0, 0], atol=1e-5)  # a stray one; beyond the run there is nothing


def test_a_run_alone_is_as_among_all():
    network = not_at_zero()
    sights = torch.randn(3, CHANNELS, SHAPE.crop)
    with torch.no_grad():
        whole = network(sights)
        for first, last in ((0, 1), (3, 9), (SHAPE.context, SHAPE.context + SHAPE.window), (20, SHAPE.crop)):
            assert torch.allclose(network(sights, first, last), whole[:, first:last], atol=1e-5)


def test_a_block_is_a_dilated_convolution():
    network = not_at_zero()
    sights = torch.randn(3, CHANNELS, SHAPE.crop)
    with torch.no_grad():
        x = functional.pad(sights, (network.reach, network.reach))
        x = functional.conv1d(x, network.first.weight[..., None], network.first.bias)
        for far, around, mix in zip((8, 4, 2, 1), network.around, network.mix, strict=True):
            kernel = around.weight.view(64, 3, 32).transpose(1, 2)  # (out, in, 3)
            value, gate = functional.conv1d(x, kernel, around.bias, dilation=far).chunk(2, 1)
            gated = value.tanh() * gate.sigmoid()
            x = x[..., far:-far] + functional.conv1d(gated, mix.weight[..., None], mix.bias)
        made = functional.conv1d(x, network.head.weight[..., None], network.head.bias)
        assert torch.allclose(network(sights), made.view(3, 3, 5, -1).permute(0, 3, 2, 1), atol=1e-4)


def test_the_loss_is_the_mean_over_masks_whatever_goes_together():
    network = not_at_zero()
    masks = masked.training_masks(60, SHAPE, 24, torch.Generator().manual_seed(0))
    with torch.no_grad():
        each = []
        for row in range(24):
            sights, target, hidden = look(network, STEPS[None], masked.Masks(*(part[row : row + 1] for part in masks)))
            each.append(-masked.log_density(network(sights), target)[hidden].mean())
        assert torch.isclose(masked.loss(network, STEPS[None], masks), torch.stack(each).mean(), atol=1e-5)


def test_the_epoch_that_is_best_on_what_is_held_out_is_kept(monkeypatch):
    """And only in what it is trained on may a run not recall itself."""
    checks, seen, real = iter([3.0, 1.0, 2.0]), [], masked.loss

    def loss(network, series, masks, noise=None, own=False):
        if own:
            return real(network, series, masks, noise, own)
        assert series.shape == (1, 30)
        seen.append({name: each.clone() for name, each in network.state_dict().items()})
        return torch.tensor(next(checks))

    monkeypatch.setattr(masked, "loss", loss)
    network, history = masked.train(STEPS.numpy(), STEPS[:30].numpy(), SHAPE, 3, 0, torch.device("cpu"))
    assert [checked for _, checked in history] == [3, 1, 2]
    kept = network.state_dict()
    assert all(torch.equal(kept[name], each) for name, each in seen[1].items())
    assert not torch.equal(kept["head.bias"], seen[2]["head.bias"])


def test_a_draw_is_gone_over_again_piece_by_piece(monkeypatch):
    """From left to right with all the rest hidden; then in pieces of 4, and again in pieces that lie elsewhere."""
    network, drawn = masked.MaskedNetwork(masked.Shape(16, 8, (5, 8), 2), STEPS).eval(), []
    monkeypatch.setattr(
        masked, "_draw_step", lambda *given: drawn.append((int(given[2].first[0]), int(given[2].last[0])))
    )
    masked.sample(network, STEPS.numpy(), 20, 28, 2, 0)
    assert drawn[:8] == [(step, 28) for step in range(20, 28)]
    pieces = ((20, 24), (24, 28)), ((20, 22), (22, 26), (26, 28))
    assert drawn[8:] == [(step, end) for sweep in pieces for begin, end in sweep for step in range(begin, end)]


def test_training_masks_stay_inside_the_series():
    drawn = masked.training_masks(30, SHAPE, 2000, torch.Generator().manual_seed(0))
    assert (drawn.first >= 0).all() and (drawn.last <= 30).all() and (drawn.last > drawn.first).all()
    assert (drawn.last - drawn.first).max() > SHAPE.window  # the open-ended ones
    assert (drawn.lo == drawn.first).any() and (drawn.hi == drawn.last).any()


def test_the_network_reaches_its_whole_context():
    network = not_at_zero()
    sights = torch.randn(1, CHANNELS, SHAPE.crop, requires_grad=True)
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
