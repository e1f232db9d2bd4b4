import itertools
from dataclasses import replace
from math import log, pi, sqrt

import pytest
import torch
from scipy.stats import binom

from agents.config import preset
from agents.distributions import Categorical, Expected, distribution
from agents.exploration import epsilon_greedy, linear_epsilon, spread
from agents.networks import NoisyLinear, QNetwork, dormant, no_noise, sample_noise
from agents.optimizers import optimizer
from agents.targets import (
    categorical_projection,
    greedy,
    munchausen_bonus,
    quantile_huber_loss,
    soft_value,
    td_target,
)


def test_target_of_the_lecture_by_hand():
    reward = torch.tensor([1.0, 1.0])
    terminal = torch.tensor([False, True])
    next_values = torch.tensor([[0.5, 2.0], [0.5, 2.0]])
    best = next_values.gather(1, greedy(next_values)[:, None]).squeeze(1)
    assert td_target(reward, terminal, best, 0.99).tolist() == pytest.approx([2.98, 1.0])


def test_double_dqn_values_what_the_online_network_prefers():
    next_values, online = torch.tensor([[5.0, 2.0]]), torch.tensor([[0.0, 1.0]])
    assert greedy(next_values).tolist() == [0] and greedy(next_values, online).tolist() == [1]


def test_munchausen_target_by_hand():
    """Two actions, tau 1: pi(s) = (3/4, 1/4), pi(s') = (1/2, 1/2), so y = 1 + .9 log(3/4) + .5 (2 + log 2)."""
    values, action = torch.tensor([[log(3), 0.0]]), torch.tensor([0])
    assert munchausen_bonus(values, action, temperature=1.0).item() == pytest.approx(0.9 * log(3 / 4))
    assert munchausen_bonus(values, action, temperature=1.0, lowest=-0.1).item() == pytest.approx(0.9 * -0.1)
    assert soft_value(torch.tensor([[2.0, 2.0]]), temperature=1.0).item() == pytest.approx(2 + log(2))


def test_soft_value_is_the_papers_sum_and_the_maximum_for_small_temperatures():
    values = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    policy = (values / 0.7).softmax(dim=1)
    assert torch.allclose(soft_value(values, 0.7), (policy * (values - 0.7 * policy.log())).sum(dim=1), atol=1e-6)
    assert torch.allclose(soft_value(values, 1e-4), values.max(dim=1).values, atol=1e-3)


@pytest.mark.parametrize("scale", [1e-4, 1e-2, 1.0])
def test_the_papers_rmsprop_of_summed_gradients_by_hand(scale):
    """Mnih et al. (2015): g and g2 are means of the gradient G summed over the minibatch and of its square."""
    config = replace(preset("ALE/Pong-v5", "nature"), batch_size=8)
    weights = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
    rule = optimizer(config, [weights], torch.device("cpu"))
    each = scale * torch.randn(5, 8, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    w, g, g2 = (torch.zeros(3, dtype=torch.float64) for _ in range(3))
    for gradients in each:  # (8, 3): of the transitions of a minibatch
        weights.grad = gradients.mean(dim=0)
        rule.step()
        summed = gradients.sum(dim=0)
        g, g2 = 0.95 * g + 0.05 * summed, 0.95 * g2 + 0.05 * summed**2
        w = w - 2.5e-4 * summed / (g2 - g**2 + 0.01).sqrt()
        assert weights.tolist() == pytest.approx(w.tolist(), rel=1e-9)


@pytest.mark.parametrize(("name", "losses"), [("huber", [1.5, 0.125]), ("squared", [4.0, 0.25])])
def test_the_loss_of_a_value_by_hand(name, losses):
    """Targets 1 + .5 * 4 and, at an end, 1; values 1 and 1.5. Huber: |error| - 1/2 beyond 1, else its square / 2."""
    chosen, following = torch.tensor([[1.0], [1.5]]), torch.tensor([[4.0], [4.0]])
    reward, terminal = torch.ones(2), torch.tensor([False, True])
    found, errors = Expected(name).losses(chosen, following, reward, terminal, torch.tensor([0.5, 0.5]))
    assert found.tolist() == losses and errors.tolist() == [2.0, 0.5]


def test_the_distributions_that_settings_ask_for():
    """C51's support reaches from -v_max to v_max; the papers' numbers of atoms are the usual ones."""
    usual, where = preset("CartPole-v1"), torch.device("cpu")
    c51 = distribution(replace(usual, distribution="categorical", v_max=5.0), where)
    assert c51.atoms == 51 and c51.support[[0, 25, 50]].tolist() == pytest.approx([-5, 0, 5], abs=1e-6)
    assert distribution(replace(usual, distribution="quantile"), where).atoms == 200
    assert distribution(replace(usual, distribution="quantile", atoms=11), where).atoms == 11


def test_the_priority_of_c51_is_0_for_what_was_foreseen():
    """Reward 0 and gamma 1: the target is what the target network predicts. Else it is the divergence, by hand."""
    rule = Categorical(2, 1.0, torch.device("cpu"))
    even, uneven = torch.zeros(1, 2), torch.tensor([[log(3), 0.0]])  # (1/2, 1/2) and (3/4, 1/4)
    still = torch.zeros(1), torch.zeros(1, dtype=torch.bool), torch.ones(1)
    for logits in (even, uneven, torch.tensor([[50.0, -50.0]])):
        assert rule.losses(logits, logits, *still)[1].item() == pytest.approx(0, abs=1e-6)
    loss, error = rule.losses(even, uneven, *still)
    assert loss.item() == pytest.approx(log(2))
    assert error.item() == pytest.approx(3 / 4 * log(3 / 2) + 1 / 4 * log(1 / 2))


def test_categorical_projection_by_hand():
    support = torch.tensor([0.0, 1.0, 2.0])
    position = torch.tensor([[0.25, 1.0, 5.0], [-3.0, 0.0, 2.0]])  # beyond the ends: onto them
    projected = categorical_projection(position, torch.tensor([[0.4, 0.5, 0.1], [0.2, 0.3, 0.5]]), support)
    assert projected[0].tolist() == pytest.approx([0.3, 0.6, 0.1])
    assert projected[1].tolist() == pytest.approx([0.5, 0.0, 0.5])


def test_categorical_projection_keeps_the_mean_of_what_lies_within():
    support, random = torch.linspace(-10, 10, 51), torch.Generator().manual_seed(0)
    position = torch.rand(64, 51, generator=random) * 20 - 10
    probability = torch.rand(64, 51, generator=random).softmax(dim=1)
    projected = categorical_projection(position, probability, support)
    assert torch.allclose(projected.sum(dim=1), torch.ones(64))
    assert torch.allclose(projected @ support, (probability * position).sum(dim=1), atol=1e-4)


def test_quantile_loss_by_hand():
    """One target at 1: below it, by 3, tau^ .25 costs .25 * 2.5; above it, by .5, tau^ .75 costs .25 * .125."""
    loss = quantile_huber_loss(torch.tensor([[-2.0, 1.5]]), torch.tensor([[1.0]]))
    assert loss.item() == pytest.approx(0.25 * 2.5 + 0.25 * 0.125)


def test_quantile_loss_is_least_at_the_quantiles():
    targets = torch.randn(1, 4001, generator=torch.Generator().manual_seed(0)) * 30  # wide: Huber counts absolutely
    best = targets.quantile(torch.tensor([0.1, 0.3, 0.5, 0.7, 0.9]), dim=1).T
    least = quantile_huber_loss(best, targets)
    for k in range(5):
        for change in (-3.0, 3.0):
            assert quantile_huber_loss(best + change * torch.eye(5)[k], targets) > least


def test_nature_network_has_the_published_size():
    assert sum(weights.numel() for weights in QNetwork((4, 84, 84), 6).parameters()) == 1_687_206


@pytest.mark.parametrize("shape", [(4, 84, 84), (1, 10, 10), (3, 9, 11), (1, 4), (2, 4)])
def test_a_network_for_every_kind_of_frame(shape):
    for dueling, noisy in itertools.product((False, True), repeat=2):
        network = QNetwork(shape, 5, network="nips", atoms=7, dueling=dueling, noisy=noisy)
        assert network(torch.zeros(2, *shape)).shape == (2, 5, 7)


def test_dormant_units_by_hand():
    """Two filters of which one answers, in one place; then four units of which the states wake the first and second."""
    filters, linear = torch.nn.Conv2d(1, 2, 1), torch.nn.Linear(8, 4)
    with torch.no_grad():
        filters.weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
        filters.bias.copy_(torch.tensor([-2.0, 0.0]))
        linear.weight.zero_()
        linear.weight[0, 0], linear.weight[1, 3], linear.weight[2, 1] = 1, 1, 1
        linear.bias.copy_(torch.tensor([0.0, 0.0, 0.0, -1.0]))
    trunk = torch.nn.Sequential(filters, torch.nn.ReLU(), torch.nn.Flatten(), linear, torch.nn.ReLU())
    states = torch.zeros(2, 1, 2, 2)
    states[0, 0, 0, 0], states[1, 0, 1, 1] = 3, 5
    assert dormant(trunk, states) == [0.5, 0.5]
    assert dormant(trunk, states[:1]) == [0.5, 0.75]
    assert dormant(trunk, states / 3) == [1.0, 1.0]


@pytest.mark.parametrize("atoms", [1, 5])
def test_dueling_value_is_the_mean_over_actions_and_advantages_differ_only_by_action(atoms):
    """Equation 9, for each atom by itself: mean_a Q = V, whose stream is the hidden layer's first half."""
    network = QNetwork((1, 4), 3, dueling=True, atoms=atoms)
    hidden = network.trunk(torch.rand(6, 1, 4))  # (6, 256)
    q = network.head(hidden)  # (6, 3, atoms)
    assert torch.allclose(q.mean(dim=1), network.head.value(hidden[:, :128])[:, 0], atol=1e-6)
    advantages = network.head.advantage(hidden[:, 128:])
    assert torch.allclose(q[:, 0] - q[:, 1], advantages[:, 0] - advantages[:, 1], atol=1e-6)


@torch.no_grad()
def test_noisy_layers_compute_equation_9_and_fall_silent():
    layer, x = NoisyLinear(3, 2), torch.rand(5, 3)
    silent = layer(x)
    sample_noise(layer, torch.Generator().manual_seed(0))
    e_in, e_out = layer.noise_in, layer.noise_out
    weight = torch.tensor([[layer.weight[i, j] + layer.weight_sigma[i, j] * e_out[i] * e_in[j] for j in range(3)]
                           for i in range(2)])  # fmt: skip
    assert torch.allclose(layer(x), x @ weight.T + layer.bias + layer.bias_sigma * e_out)
    assert not torch.allclose(layer(x), silent)
    no_noise(layer)
    assert torch.equal(layer(x), silent) and torch.equal(
        silent, torch.nn.functional.linear(x, layer.weight, layer.bias)
    )


def test_noise_begins_as_large_as_in_the_paper():
    """Fortunato et al. (2018), section 3.2: sigma_0 / sqrt(inputs) with sigma_0 = .5."""
    layer = NoisyLinear(16, 2)
    assert layer.weight_sigma.unique().tolist() == layer.bias_sigma.unique().tolist() == [0.125]


def test_noise_has_the_factorised_distribution():
    """f(e) = sign(e) sqrt(|e|): mean 0, and mean square E|e| = sqrt(2 / pi)."""
    layer = NoisyLinear(200_000, 1)
    sample_noise(layer, torch.Generator().manual_seed(0))
    assert abs(layer.noise_in.mean()) < 0.01
    assert layer.noise_in.square().mean().item() == pytest.approx(sqrt(2 / pi), abs=0.01)


def test_frames_without_a_network_are_named():
    with pytest.raises(ValueError, match=r"\(64, 64\)"):
        QNetwork((4, 64, 64), 3)


def test_epsilon_greedy_takes_the_greedy_action_as_often_as_it_should():
    epsilon, actions, draws = 0.3, 4, 20_000
    values = torch.eye(actions)[2].expand(draws, actions)
    chosen = epsilon_greedy(values, epsilon, torch.Generator().manual_seed(0))
    share = 1 - epsilon + epsilon / actions
    low, high = binom.interval(0.999, draws, share)
    assert low <= (chosen == 2).sum() <= high


def test_every_environment_throws_its_own_coin_by_its_own_epsilon():
    values = torch.tensor([1.0, 0.0]).expand(20_000, 2)
    epsilon = torch.tensor([0.0, 0.5]).repeat(10_000)
    chosen = epsilon_greedy(values, epsilon, torch.Generator().manual_seed(1)).reshape(-1, 2).double()
    assert chosen[:, 0].sum() == 0 and 0.23 < chosen[:, 1].mean() < 0.27


def test_epsilons_spread_as_in_ape_x():
    epsilon = 0.4 ** spread(8, 7.0)
    assert epsilon[0] == pytest.approx(0.4) and epsilon[-1] == pytest.approx(0.4**8)
    assert (0.4 ** spread(8, 0.0) == 0.4 ** spread(1, 7.0)).all()


def test_epsilon_falls_linearly_and_stays():
    assert [linear_epsilon(step, 1.0, 0.1, 100) for step in (0, 50, 100, 1000)] == pytest.approx([1, 0.55, 0.1, 0.1])
