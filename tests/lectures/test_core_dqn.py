"""The DQN experiments on small tasks and single parts: exact rows pinned, and a broken part changes every verdict."""

import gymnasium
import numpy as np
import pytest
import torch

from lab.errors import InputError
from lab.lectures import Verdict, judge, load
from lab.lectures.core import _agents
from tests.lectures.test_experiments import failed, run
from tests.lectures.test_foundations_slides import of

pytestmark = pytest.mark.slow  # each experiment runs for seconds


def learner_that_never_learns(monkeypatch):
    monkeypatch.setattr(
        "agents.dqn.DQN.update", lambda self, batch: (torch.tensor(0.0), torch.zeros(len(batch.action)))
    )


def test_a_variant_is_registered_once_with_its_arguments():
    name = _agents.variant("lab/Chain-v0", length=3)
    assert name == _agents.variant("lab/Chain-v0", length=3) == "lab/Chain-length3-v0"
    assert gymnasium.make(name).unwrapped.length == 3


def test_a_curve_begins_when_there_are_episodes_enough():
    episodes = np.column_stack([np.arange(5, 105, 5), np.arange(20)])  # returns 0, 1, 2, ... at steps 5, 10, 15, ...
    at, curve = _agents.curve(episodes, 100, points=4, last=10)
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
    monkeypatch.setattr("agents.algorithm.linear_epsilon", lambda *_: 0.0)
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


def test_every_line_of_algorithm_1_does_what_it_says():
    module = load("dqn-algorithm1")
    found = module.parts(module.Settings(), module.algorithm1(64, 25))
    assert [finding.measured for finding in found[:2]] == [2.98, 1] and all(finding.holds for finding in found)


@pytest.mark.parametrize(
    ("where", "wrong", "finding"),
    [
        ("agents.dqn.DQN.sync", lambda self: None, "largest difference of Q̂ and Q after a copy"),
        ("agents.replay.Replay.__len__", lambda self: self.count, "largest |D|"),
        ("agents.replay.Replay.row", lambda self, number: slice(low := min(number, 63), low + 1), "D: newest of 160"),
    ],
)
def test_a_line_left_out_is_found_out(monkeypatch, where, wrong, finding):
    module = load("dqn-algorithm1")
    monkeypatch.setattr(where, wrong)
    trace = module.algorithm1(64, 25)
    assert any(finding in each.name and not each.holds for each in module.parts(module.Settings(), trace))


def test_targets_draws_and_gradients_that_are_wrong_are_found_out(monkeypatch):
    from agents.replay import Replay

    module = load("dqn-algorithm1")
    trace = module.algorithm1(64, 25)
    trace.elsewhere.append(1e-9)
    draw = Replay._draw
    monkeypatch.setattr(Replay, "_draw", lambda self, size: tuple(each.clamp(max=50) for each in draw(self, size)))
    monkeypatch.setattr(module, "td_target", lambda reward, terminal, value, gamma: reward + gamma * value)
    names = {finding.name for finding in module.parts(module.Settings(), trace) if not finding.holds}
    assert names == {
        "y for r = 1 where the episode ends", "D: p of the χ² test that draws are uniform",
        "largest gradient at an output not chosen",
    }  # fmt: skip


@pytest.mark.parametrize(("ours", "verdict"), [(1.0, Verdict.HOLDS), (0.5, Verdict.NOT_REACHED)])
def test_algorithm_1_must_learn_catch_and_as_well_as_sb3(monkeypatch, ours, verdict):
    module = load("dqn-algorithm1")
    monkeypatch.setattr(module, "ours", lambda config, games: (np.full(40, ours), ours * (1 if games == 100 else 200)))
    monkeypatch.setattr(module, "sb3", lambda config, games: (np.full(40, 1.0), 1.0 if games == 100 else 200.0))
    _, outcome = run("dqn-algorithm1")
    assert judge(outcome.findings) is verdict
    if ours < 1:
        assert failed(outcome)[0] == "Catch: share of 8 seeds that return at least .9" and len(failed(outcome)) == 3


def test_a_ratio_of_seeds():
    ratio = load("dqn-algorithm1").ratio
    assert ratio(np.array([2.0, 2.0]), np.array([4.0, 4.0])) == (0.5, (0.5, 0.5))
    over, (low, high) = ratio(np.array([1.0, 3.0]), np.array([2.0, 2.0]))
    assert (over, low, high) == (1, 0.5, 1.5)


@pytest.mark.parametrize(
    ("result", "verdict"),
    [
        (lambda period, seed: (100 - abs(np.log10(period) - 2) * 10 + seed, -np.log10(period)), Verdict.HOLDS),
        (lambda period, seed: (np.log10(period) + seed, np.log10(period)), Verdict.MIXED),
        (lambda period, seed: (abs(np.log10(period) - 2), 1.0), Verdict.FAILS),
    ],
)
def test_the_target_period_is_judged_by_an_inverted_u_and_by_overestimation(monkeypatch, result, verdict):
    module = load("dqn-target-period")
    monkeypatch.setattr(module, "train", lambda env, period, steps, seed, games: result(period, seed))
    _, outcome = run("dqn-target-period")
    assert judge(outcome.findings) is verdict


def test_a_period_longer_than_the_training_never_copies():
    from agents.dqn import DQN

    config = _agents.settings(_agents.CARTPOLE, 700, 0, target_every=10_000)
    agent = _agents.learn(config).agent
    first = DQN((1, 4), 2, config, torch.device("cpu"))
    pairs = list(zip(agent.target.parameters(), first.q.parameters(), strict=True))
    assert all(torch.equal(kept, begun) for kept, begun in pairs)
    assert not all(torch.equal(now, kept) for now, kept in zip(agent.q.parameters(), first.q.parameters(), strict=True))


class Clock(gymnasium.Env):
    """Reward 1 a step; time is up after four."""

    observation_space, action_space = gymnasium.spaces.Box(0, 1, (2,), np.float32), gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.zeros(2, np.float32), 1.0, False, self.steps == 4, {}


gymnasium.register("test/Clock-v0", Clock)


def test_overestimation_is_value_less_what_followed_by_hand():
    class Says3:
        q = None

        def values(self, q, state):
            return torch.tensor([[1.0, 3.0]]).expand(len(state), 2)

    games = _agents.games(Says3(), _agents.settings("test/Clock-v0", 1000, 0, gamma=0.9), 2)
    earned = [1 + 0.9 * 3]  # time is up: the last value is the rest
    for _ in range(3):
        earned.insert(0, 1 + 0.9 * earned[0])
    assert games.returns.tolist() == [4, 4]
    assert games.earned == pytest.approx(2 * earned) and (games.value == 3).all()
    ended = _agents.games(Says3(), _agents.settings(_agents.variant("lab/Chain-v0", length=1), 1000, 0), 1)
    assert ended.earned.tolist() == ended.returns.tolist()  # a real end has no rest
