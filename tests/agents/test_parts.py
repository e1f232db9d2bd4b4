import numpy as np
import pytest
import torch
from scipy.stats import binom

from agents.exploration import epsilon_greedy, linear_epsilon
from agents.networks import NatureCNN, q_network
from agents.targets import double_td_target, td_target


def test_target_of_the_lecture_by_hand():
    reward = torch.tensor([1.0, 1.0])
    terminal = torch.tensor([False, True])
    next_values = torch.tensor([[0.5, 2.0], [0.5, 2.0]])
    assert td_target(reward, terminal, next_values, 0.99).tolist() == pytest.approx([2.98, 1.0])


def test_double_target_values_what_the_online_network_prefers():
    next_values, online = torch.tensor([[5.0, 2.0]]), torch.tensor([[0.0, 1.0]])
    y = double_td_target(torch.tensor([1.0]), torch.tensor([False]), next_values, online, 0.99)
    assert y.tolist() == pytest.approx([2.98])


def test_nature_network_has_the_published_size():
    assert sum(weights.numel() for weights in NatureCNN(4, 6).parameters()) == 1_687_206


@pytest.mark.parametrize("shape", [(4, 84, 84), (1, 10, 10), (3, 9, 11), (1, 4), (2, 4)])
def test_a_network_for_every_kind_of_frame(shape):
    assert q_network(shape, 5)(torch.zeros(2, *shape)).shape == (2, 5)


def test_frames_without_a_network_are_named():
    with pytest.raises(ValueError, match=r"\(64, 64\)"):
        q_network((4, 64, 64), 3)


def test_epsilon_greedy_takes_the_greedy_action_as_often_as_it_should():
    epsilon, actions, draws = 0.3, 4, 20_000
    chosen = epsilon_greedy(np.full(draws, 2), actions, epsilon, np.random.default_rng(0))
    share = 1 - epsilon + epsilon / actions
    low, high = binom.interval(0.999, draws, share)
    assert low <= (chosen == 2).sum() <= high


def test_every_environment_throws_its_own_coin():
    chosen = epsilon_greedy(np.zeros(10_000, int), 2, 0.5, np.random.default_rng(1))
    assert 0.2 < chosen.mean() < 0.3


def test_epsilon_falls_linearly_and_stays():
    assert [linear_epsilon(step, 1.0, 0.1, 100) for step in (0, 50, 100, 1000)] == pytest.approx([1, 0.55, 0.1, 0.1])
