"""The DQN experiments on small tasks and single parts: exact rows pinned, and a broken part changes every verdict."""

import numpy as np
import pytest
import torch

from lab.errors import InputError
from lab.lectures import Verdict, judge, load
from lab.lectures.core import _agents
from tests.lectures.test_experiments import failed, run
from tests.lectures.test_foundations_slides import of


def learner_that_never_learns(monkeypatch):
    monkeypatch.setattr(
        "agents.dqn.DQN.update", lambda self, batch: (torch.tensor(0.0), torch.zeros(len(batch.action)))
    )


def test_a_variant_is_registered_once_with_its_arguments():
    import gymnasium

    name = _agents.variant("lab/Chain-v0", length=3)
    assert name == _agents.variant("lab/Chain-v0", length=3) == "lab/Chain-length3-v0"
    assert gymnasium.make(name).unwrapped.length == 3


def test_a_curve_begins_when_there_are_episodes_enough():
    config = _agents.settings(_agents.CATCH, 100, 0)
    episodes = np.column_stack([np.arange(5, 105, 5), np.arange(20)])  # returns 0, 1, 2, ... at steps 5, 10, 15, ...
    training = type("", (), {"config": config})()
    at, curve = _agents.Learned(training, episodes).curve(points=4, last=10)
    assert at.tolist() == [25, 50, 75, 100]
    assert np.isnan(curve[0]) and curve[1:].tolist() == [4.5, 9.5, 14.5]


def test_a_trained_agent_that_is_not_there_is_one_line():
    with pytest.raises(InputError, match=r"no trained agent in .*chess"):
        _agents.trained("chess")


def test_epsilon_greedy_is_found_out_where_random_actions_are_always_others(monkeypatch):
    module = load("dqn-epsilon-greedy")

    def others(values, epsilon, random):
        explore = torch.rand(len(values), generator=random) < epsilon
        return torch.where(explore, (values.argmax(1) + 1) % values.shape[1], values.argmax(1))

    monkeypatch.setattr(module, "train", lambda epsilon, steps, seed: (np.zeros(40), epsilon))
    _, outcome = run("dqn-epsilon-greedy", quick=True)
    assert judge(outcome.findings) is Verdict.HOLDS and outcome.findings[4].measured == pytest.approx(0.625, abs=0.01)
    monkeypatch.setattr(module, "epsilon_greedy", others)
    _, outcome = run("dqn-epsilon-greedy", quick=True)
    assert failed(outcome) == [f"share of greedy actions of 4, ε = {epsilon:g}" for epsilon in module.EPSILONS[1:]]


def test_the_chain_tells_nothing_where_nobody_explores(monkeypatch):
    monkeypatch.setattr("agents.dqn.linear_epsilon", lambda *_: 0.0)
    _, outcome = run("dqn-epsilon-greedy", seeds=2, steps=600)
    gain = of(outcome, "chain: what annealed")
    assert gain.holds is not True and gain.values == (0, 0)


def test_preprocess_stack():
    measured, outcome = run("dqn-preprocess-stack", quick=True)
    assert list(measured.values())[:6] == pytest.approx([1, 1, 1_687_206, 7.056, 56.448, 8], abs=1e-12)
    assert judge(outcome.findings) is Verdict.HOLDS


def test_a_memory_that_forgets_the_stack_is_found_out(monkeypatch):
    from agents.replay import Replay

    whole = Replay._states
    monkeypatch.setattr(Replay, "_states", lambda self, at, env: whole(self, at, env).roll(1, dims=1))
    _, outcome = run("dqn-preprocess-stack", steps=20)
    assert failed(outcome) == ["share of transitions that a memory of single frames gives back whole"]
    _, outcome = run("dqn-preprocess-stack", steps=20, transitions=1000)
    assert len(failed(outcome)) == 3


def test_the_state_shown_is_one_in_which_something_moves():
    states = np.zeros((3, 4, 84, 84), np.uint8)
    states[1, :, 40, 40] = 255
    assert load("dqn-preprocess-stack").moving(states) == 1
