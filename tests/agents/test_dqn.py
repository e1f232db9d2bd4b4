import copy
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from torch.nn import functional

from agents.algorithm import Tick, Training
from agents.dqn import DQN
from agents.environments import STRIDE, first_seed
from agents.evaluate import evaluate, summarise
from agents.replay import Batch
from agents.train import _curves, train
from agents.trunk import tiles
from lab import record
from lab.errors import InputError
from lab.run import Run

from .conftest import CPU, LENGTH, LIMIT, REWARD, assert_equal, finished, weights


def test_only_the_chosen_action_gets_gradient(small):
    agent = DQN((1, 8), 3, small("test/Line-v0"), CPU)
    states, ones = torch.rand(2, 4, 1, 8), torch.ones(4)
    batch = Batch(states[0], ones.long(), ones, states[1], ones < 0, 0.99 * ones, ones, ones.long())
    agent.update(agent.study(batch))
    gradient = agent.q.head.out.weight.grad
    assert gradient[1].any() and not gradient[0].any() and not gradient[2].any()
    assert all(values.grad is None for values in agent.target.parameters())


class Table(torch.nn.Module):
    """Values of states 0 and 1, one-hot, as they are written down: (states, actions)."""

    def __init__(self, *rows):
        super().__init__()
        self.rows = torch.tensor(rows, dtype=torch.float32)

    def forward(self, state):
        return (state.flatten(1) @ self.rows)[:, :, None]


@pytest.mark.parametrize(("double", "following"), [(False, 30.0), (True, 10.0)])
def test_what_is_bootstrapped_is_the_target_networks(small, double, following):
    """Of its best action in the next state, 0, or of Q's best there, 2, with double DQN; by a discount for each."""
    agent = DQN((1, 2), 3, small("test/Line-v0", double=double), CPU)
    agent.q = Table([1.0, 5.0, 2.0], [3.0, 0.0, 4.0])
    agent.target = Table([50.0, 60.0, 70.0], [30.0, 20.0, 10.0])
    state, following_state = torch.eye(2)[:, None, None].expand(2, 3, 1, 2)
    ones, terminal = torch.ones(3), torch.tensor([False, False, True])
    batch = Batch(state, torch.zeros(3).long(), ones, following_state, terminal, torch.tensor([0.5, 0.25, 0.5]), ones,
                  ones.long())  # fmt: skip
    _, errors = agent._losses(*agent.study(batch)[:-1])
    assert errors.tolist() == [0.5 * following, 0.25 * following, 0.0]  # reward and Q(s, a) are both 1


def test_munchausens_target_is_the_target_networks(small):
    """pi(s) = (3/4, 1/4) and pi(s') = (1/2, 1/2) at temperature .03: 1 + .9 * .03 log(3/4) + .5 (2 + .03 log 2)."""
    agent = DQN((1, 2), 2, small("test/Line-v0", munchausen=True), CPU)
    agent.q, agent.target = Table([0.0, 0.0], [7.0, 1.0]), Table([0.03 * np.log(3), 0.0], [2.0, 2.0])
    state, following_state, one = torch.eye(2)[:1, None], torch.eye(2)[1:, None], torch.ones(1)
    batch = Batch(state, torch.zeros(1).long(), one, following_state, one < 0, 0.5 * one, one, one.long())
    _, errors = agent._losses(*agent.study(batch)[:-1])
    assert errors.item() == pytest.approx(2 + 0.9 * 0.03 * np.log(3 / 4) + 0.5 * 0.03 * np.log(2), abs=1e-6)


def test_noise_is_drawn_anew_for_every_step_and_for_both_networks_of_an_update(small):
    agent = DQN((1, 8), 3, small("test/Line-v0", noisy=True), CPU)
    states, ones = torch.rand(2, 4, 1, 8), torch.ones(4)
    batch = Batch(states[0], ones.long(), ones, states[1], ones < 0, 0.99 * ones, ones, ones.long())

    def noise():
        return [network.head.out.noise_in.clone() for network in (agent.q, agent.target)]

    def changed(work):
        before = noise()
        work()
        return [not torch.equal(left, right) for left, right in zip(before, noise(), strict=True)]

    agent.explore(states[0], torch.zeros(4))
    for _ in range(2):
        assert changed(lambda: agent.explore(states[0], torch.zeros(4))) == [True, False]
        assert changed(lambda: agent.study(batch)) == [False, True]
        assert changed(partial(agent.update, agent.study(batch))) == [True, False]


def test_target_changes_at_syncs_and_only_there(small):
    config = small("lab/Catch-v0")
    training = Training(config, CPU)
    before, synced = weights(training.agent.target), 0
    for _ in training:
        now = weights(training.agent.target)
        if training.updates // config.target_every > synced:
            synced = training.updates // config.target_every
            if training.updates % config.target_every == 0:
                assert torch.equal(now, weights(training.agent.q))
            assert not torch.equal(now, before)
        else:
            assert torch.equal(now, before)
        before = now
    assert synced == (config.total_steps - config.learning_starts) // config.train_every // config.target_every > 3


def test_a_time_limit_bootstraps_and_an_end_does_not(small):
    for env_id, last, is_end in [("test/Line-v0", LENGTH, True), ("test/LimitedLine-v0", LIMIT, False)]:
        batch = finished(Training(small(env_id), CPU)).replay.sample(2000)
        at, next_at = batch.state[:, 0].argmax(1), batch.next_state[:, 0].argmax(1)
        assert (next_at == at + 1).all()  # never into the next episode
        assert set(next_at.tolist()) == set(range(1, last + 1))
        assert (batch.terminal == (is_end & (next_at == last))).all()


def test_a_lost_life_ends_the_bootstrap_and_not_the_episode(small):
    """As classic Atari has it: here one is lost at 3 of 7."""
    training = Training(small("test/Line-v0"), CPU)
    recv = training.envs.recv

    def lost():
        state, reward, terminated, truncated, info = recv()
        return state, reward, terminated, truncated, {**info, "life_lost": state[:, 0, 3] == 1}

    training.envs.recv = lost
    ends = [episode for tick in training for episode in tick.episodes]
    assert ends and {(total, length) for _, total, length in ends} == {(LENGTH * REWARD, LENGTH)}
    batch = training.replay.sample(2000)
    next_at = batch.next_state[:, 0].argmax(1)
    assert (next_at == batch.state[:, 0].argmax(1) + 1).all()
    assert (batch.terminal == ((next_at == 3) | (next_at == LENGTH))).all()


@pytest.mark.parametrize(("env", "stack"), [("lab/Catch-v0", 3), ("ALE/Breakout-v5", 4)])
def test_the_memory_holds_the_states_that_were_acted_in(small, env, stack):
    training = Training(small(env, stack=stack, total_steps=90, learning_starts=90, threads=1), CPU)
    before = torch.from_numpy(training.state.copy())
    for _ in training:
        newest = torch.arange(len(training.replay.live))[training.replay.row(training.replay.count - 1)]
        kept = training.replay.gather(newest, torch.ones(3)).state
        assert torch.equal(kept, tiles(before.flatten(0, 1)).unflatten(0, (3, 4)) if "ALE" in env else before)
        before = torch.from_numpy(training.state.copy())


def test_every_agent_step_counts_once_and_ends_lie_at_steps_of_their_own(small):
    """Three episodes of 9 steps side by side; the step that only resets is none."""
    training = Training(small("lab/Catch-v0", total_steps=54, learning_starts=54), CPU)
    ends = [(at, length) for tick in training for at, _, length in tick.episodes]
    assert training.step == 54 and ends == [(at, 9) for at in (25, 26, 27, 52, 53, 54)]


def test_epsilon_falls_with_the_agent_steps_and_each_environment_has_its_own(small):
    training = Training(small("lab/Catch-v0", epsilon_end=0.1, epsilon_spread=7.0), CPU)
    explore, given, before = training._explore, [], 0
    training._explore = lambda state, epsilon: (given.append(epsilon), explore(state, epsilon))[1]
    for tick in training:
        assert tick.epsilon == pytest.approx(max(0.1, 1 - 0.9 * before / 200))
        assert given[-1].tolist() == pytest.approx([tick.epsilon, tick.epsilon**4.5, tick.epsilon**8])
        before = training.step
    assert tick.epsilon == pytest.approx(0.1)


@pytest.mark.parametrize("n", [1, 3, 10])
def test_returns_over_n_steps_stop_where_the_episode_does(small, n):
    for env_id, last, is_end in [("test/Line-v0", LENGTH, True), ("test/LimitedLine-v0", LIMIT, False)]:
        config = small(env_id, n_step=n, gamma=0.5, clip_rewards=False)
        batch = finished(Training(config, CPU)).replay.sample(2000)
        at, next_at = batch.state[:, 0].argmax(1), batch.next_state[:, 0].argmax(1)
        taken = torch.clamp(last - at, max=n)
        assert set(at.tolist()) == set(range(last)) and (next_at == at + taken).all()
        assert torch.allclose(batch.reward, REWARD * 2 * (1 - 0.5**taken))  # 10 + 5 + 2.5 + ...
        assert torch.allclose(batch.discount, 0.5**taken)
        assert (batch.terminal == (is_end & (next_at == last))).all()


SWITCHES = [
    {"double": True}, {"dueling": True}, {"noisy": True}, {"distribution": "categorical"}, {"distribution": "quantile"},
    {"munchausen": True}, {"priority_alpha": 0.5}, {"n_step": 3}, {"max_gradient_norm": 0.01}, {"loss": "squared"},
    {"optimizer": "rmsprop"}, {"epsilon_spread": 7.0}, {"anneal": True},
]  # fmt: skip


@pytest.mark.parametrize("switch", [*SWITCHES, {"double": True, "dueling": True, "noisy": True, "n_step": 3,
    "distribution": "categorical", "priority_alpha": 0.5}], ids=str)  # fmt: skip
def test_every_switch_changes_what_is_learned_and_resumes_in_every_bit(small, switch):
    config = small("lab/Catch-v0", total_steps=200, **switch)
    plain, training = (
        finished(Training(replace(config, **{name: getattr(small("lab/Catch-v0"), name) for name in switch}), CPU)),
        Training(config, CPU),
    )
    saved = [copy.deepcopy(training.state_dict()) for _ in training if training.step == 120]
    left, right = weights(plain.agent.q), weights(training.agent.q)
    assert left.shape != right.shape or not torch.equal(left, right)
    restored = Training(config, CPU)
    restored.load_state_dict(saved[0])
    assert_equal(finished(restored).state_dict(), training.state_dict())


@pytest.mark.parametrize("kind", [{}, {"distribution": "categorical"}, {"distribution": "quantile", "atoms": 11},
    {"munchausen": True}, {"dueling": True, "double": True}], ids=str)  # fmt: skip
def test_every_kind_of_learning_finds_the_value_of_a_known_process(small, kind):
    """State 0 gives reward 1 and leads to state 1, which gives 2 and ends: by action values 1 + .5 * 2 and 2."""
    config = small("test/Line-v0", gamma=0.5, learning_rate=3e-3, target_every=50, **kind)
    agent = DQN((1, 2), 2, config, CPU)
    state = torch.eye(2)[torch.tensor([0, 0, 1, 1]), None]  # (4, 1, 2)
    action, slot = torch.tensor([0, 1, 0, 1]), torch.arange(4)
    reward, terminal = torch.tensor([1.0, 1.0, 2.0, 2.0]), torch.tensor([False, False, True, True])
    following = torch.eye(2)[torch.ones(4, dtype=int), None]
    batch = Batch(state, action, reward, following, terminal, torch.full((4,), 0.5), torch.ones(4), slot)
    for update in range(1500):
        agent.update(agent.study(batch))
        if update % config.target_every == 0:
            agent.sync()
    values = agent.values(agent.q, state[[0, 2]]).detach()
    if kind.get("munchausen"):  # both actions alike: a bonus of .9 * .03 log .5, and .03 log 2 for the entropy at s'
        bonus = 0.03 * torch.log(torch.tensor(2.0)).item()
        expected = [1 - 0.9 * bonus + 0.5 * (2 - 0.9 * bonus + bonus), 2 - 0.9 * bonus]
    else:
        expected = [2.0, 2.0]
    assert values.max(dim=1).values.tolist() == pytest.approx(expected, abs=0.05)


def test_the_step_size_falls_to_nought(small):
    config = small("lab/Catch-v0", total_steps=200, anneal=True, learning_rate=1e-3)
    training = Training(config, CPU)
    seen = dict((training.step, training.agent.step_size) for _ in training)  # noqa: C402
    half = min(seen, key=lambda step: abs(step - 100))
    assert seen[half] == pytest.approx(1e-3 * (1 - half / 200)) and seen[max(seen)] == 0
    assert {group["lr"] for part in training.agent.optimizers for group in part.param_groups} == {0}  # of all weights
    start = {step: size for step, size in seen.items() if step < config.learning_starts}
    assert set(start.values()) == {1e-3}


def test_the_step_size_may_fall_late(small):
    config = small("lab/Catch-v0", total_steps=200, anneal=True, anneal_share=0.2, learning_rate=1e-3)
    training = Training(config, CPU)
    seen = dict((training.step, training.agent.step_size) for _ in training)  # noqa: C402
    assert {size for step, size in seen.items() if step <= 160} == {1e-3}
    late = {step: size for step, size in seen.items() if 160 < step <= 200}
    assert late and late == {step: pytest.approx(1e-3 * (200 - step) / 40) for step in late}


def test_centred_states_have_no_mean(small):
    agent = DQN((4, 84, 84), 3, small("ALE/Pong-v5", centred=True, precision="float32"), CPU)
    states = torch.randint(0, 256, (2, 4, 84, 84), dtype=torch.uint8)
    states[1] //= 4  # darker
    prepared = agent.prepare(states.clone())
    assert prepared.mean(dim=(1, 2, 3)).tolist() == pytest.approx([0.0, 0.0], abs=1e-4)
    plain = DQN((4, 84, 84), 3, small("ALE/Pong-v5", precision="float32"), CPU).prepare(states) / 255
    torch.testing.assert_close(prepared - prepared[:, :1, :1, :1], plain - plain[:, :1, :1, :1])
    features = torch.rand(2, 1, 5)
    assert torch.equal(agent.prepare(features), features)  # no pixels


def test_values_are_finer_than_bfloat16(small):
    """Only the trunk computes with eight bits: neighbouring actions differ by less than those can tell."""
    agent = DQN((4, 84, 84), 6, small("ALE/Pong-v5", precision="bfloat16"), CPU)
    agent.bfloat16 = True  # also where the processor is slow at it
    states = torch.randint(0, 256, (4, 4, 84, 84), dtype=torch.uint8)
    with torch.no_grad():
        values = agent.output(agent.q, agent.prepare(states))
        with torch.autocast("cpu", torch.bfloat16):
            hidden = agent.q.trunk(agent.prepare(states))
        torch.testing.assert_close(values, agent.q.head(hidden.float()))
    assert hidden.dtype == torch.bfloat16 and (values.bfloat16().float() != values).any()


@pytest.mark.parametrize("distribution", ["expected", "categorical", "quantile"])
def test_double_dqn_asks_for_values_finer_than_bfloat16(small, distribution):
    """Within a gradient step too, where all of what Q says is asked under one autocast."""
    config = small("lab/Catch-v0", precision="bfloat16", double=True, distribution=distribution)
    agent = DQN((4, 10, 10), 6, config, CPU)
    agent.bfloat16 = True  # also where the processor is slow at it
    states = agent.prepare(torch.randint(0, 256, (8, 4, 10, 10), dtype=torch.uint8))
    with agent._autocast():
        within = agent._online(states)
    assert within.dtype == torch.float32 and torch.equal(within, agent._online(states))


def test_a_batch_is_learned_from_by_its_weights(small):
    """A transition of weight 0 changes nothing."""
    first, second = (DQN((1, 8), 3, small("test/Line-v0"), CPU) for _ in range(2))
    states, ones = torch.rand(2, 4, 1, 8), torch.ones(4)
    weight = torch.tensor([1.0, 1.0, 1.0, 0.0])
    for agent, reward in ((first, ones), (second, torch.tensor([1.0, 1.0, 1.0, 50.0]))):
        batch = Batch(states[0], ones.long(), reward, states[1], ones < 0, 0.99 * ones, weight, ones.long())
        agent.update(agent.study(batch))
    assert torch.equal(weights(first.q), weights(second.q))


def test_the_loss_is_the_mean_over_the_minibatch_of_what_the_weights_leave(small):
    agent = DQN((1, 8), 3, small("test/Line-v0"), CPU)
    states, ones, weight = torch.rand(2, 4, 1, 8), torch.ones(4), torch.tensor([1.0, 0.5, 0.25, 0.0])
    batch = Batch(states[0], ones.long(), ones, states[1], ones < 0, 0.99 * ones, weight, ones.long())
    losses, _ = agent._losses(*agent.study(batch)[:-1])
    loss, _ = agent.update(agent.study(batch))
    assert loss.item() == pytest.approx((weight @ losses).item() / 4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU: compares CUDA graphs with plain calls")
@pytest.mark.parametrize("env", ["lab/Catch-v0", "ALE/Breakout-v5"])
@pytest.mark.parametrize("switch", [{}, {"double": True, "n_step": 3, "priority_alpha": 0.5},
    {"anneal": True, "anneal_share": 0.5, "max_gradient_norm": 10.0}, {"noisy": True, "dueling": True},
    {"optimizer": "rmsprop", "anneal": True}, {"munchausen": True}, {"distribution": "quantile"},
    {"distribution": "categorical", "double": True, "priority_alpha": 0.5}], ids=str)  # fmt: skip
def test_captured_learning_equals_plain_learning_over_1000_updates(small, env, switch, monkeypatch):
    """From the same data, since play is random to the end."""
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    where = torch.device("cuda")
    config = small(env, total_steps=2_100, learning_starts=100, train_every=2, epsilon_end=1.0, **switch)
    captured = finished(Training(config, where))
    monkeypatch.setattr(
        "agents.algorithm.Captured",
        lambda function, *_: lambda *inputs: function(*(value.to(where) for value in inputs)),
    )
    plain = finished(Training(config, where))
    assert captured.updates == plain.updates >= 1000
    assert torch.allclose(weights(captured.agent.q), weights(plain.agent.q), rtol=1e-3, atol=1e-5)


def test_clipped_rewards_are_learned_from_and_never_reported(small, tmp_path):
    config = small("test/Line-v0", clip_rewards=True)
    with Run.open(tmp_path, "run", config) as run:
        metrics = train(config, run)
        entries = record.read(run.path / "metrics.jsonl")
    assert metrics["eval/return_mean"] == LENGTH * REWARD
    returns = [entry["value"] for entry in entries if entry.get("tag") == "train/episode_return"]
    lengths = [entry["value"] for entry in entries if entry.get("tag") == "train/episode_length"]
    assert set(returns) == {LENGTH * REWARD} and set(lengths) == {LENGTH}
    assert set(finished(Training(config, CPU)).replay.sample(100).reward.tolist()) == {1.0}


def test_the_mean_return_that_is_logged_is_that_of_the_last_100_episodes(small, tmp_path):
    config = small("lab/Catch-v0", total_steps=1200, learning_starts=1200, epsilon_end=1.0, log_every=100)
    with Run.open(tmp_path, "run", config) as run:
        metrics = train(config, run)
        entries = [entry for entry in record.read(run.path / "metrics.jsonl") if entry["kind"] == "scalar"]
    ends = [(entry["step"], entry["value"]) for entry in entries if entry["tag"] == "train/episode_return"]
    means = {entry["step"]: entry["value"] for entry in entries if entry["tag"] == "train/return_last_100"}
    expected = {step: np.mean([value for at, value in ends if at <= step][-100:]) for step in means}
    assert [step for step, _ in ends[:6]] == [25, 26, 27, 52, 53, 54]  # where each of them ended
    assert len(ends) > 120 and len(means) > 10 and means == pytest.approx(expected)
    assert metrics["train/return_last_100"] == pytest.approx(np.mean([value for _, value in ends][-100:]))


def test_no_step_stands_twice_in_a_curve(small, tmp_path):
    config = small("lab/Catch-v0")  # all its episodes end together
    with Run.open(tmp_path, "run", config) as run:
        train(config, run)
        entries = [entry for entry in record.read(run.path / "metrics.jsonl") if entry["kind"] == "scalar"]
    points = [(entry["tag"], entry["step"]) for entry in entries]
    assert len(points) == len(set(points))


@pytest.mark.parametrize("centred", [False, True])
def test_dormant_units_of_ataris_network_are_those_of_its_plain_layers(small, centred):
    agent = DQN((4, 84, 84), 6, small("lab/Catch-v0", centred=centred, precision="float32"), CPU)
    state = torch.randint(0, 256, (3, 4, 84, 84), dtype=torch.uint8)
    x, shares = state / 255, []
    if centred:
        x -= x.mean((1, 2, 3), keepdim=True)
    for number in (0, 2, 4):
        layer = agent.q.trunk[number]
        with torch.no_grad():
            layer.bias -= torch.linspace(0, 1, len(layer.bias))  # more of them the smaller the states are
            x = functional.conv2d(x, layer.weight, layer.bias, layer.stride).relu()
        shares.append(float((x.amax((0, 2, 3)) == 0).float().mean()))
    assert agent.dormant(state)[:3] == shares
    assert 0 < shares[0] < 1


@pytest.mark.parametrize(("step_size", "silent"), [(0.3, True), (1e-4, False)])
def test_a_network_that_has_fallen_silent_is_named_once(small, tmp_path, capfd, step_size, silent):
    config = small("lab/Catch-v0", learning_rate=step_size, train_every=3, num_envs=8)
    with Run.open(tmp_path, "run", config) as run:
        train(config, run)
        entries = record.read(run.path / "metrics.jsonl")
    last = [entry["value"] for entry in entries if entry.get("tag") == "train/dormant_units"][-1]
    assert (last == 1) == silent
    assert capfd.readouterr().err.count("a whole layer of Q is 0") == silent


@pytest.mark.parametrize(("v_max", "beyond"), [(2.0, True), (200.0, False)])
def test_values_at_the_end_of_the_categories_are_named_once(small, tmp_path, capfd, v_max, beyond):
    config = small("CartPole-v1", distribution="categorical", v_max=v_max, learning_rate=0.01, target_every=5)
    with Run.open(tmp_path, "run", config) as run:
        train(config, run)
    assert capfd.readouterr().err.count(f"the end of its categories, v_max={v_max}") == beyond


@pytest.mark.parametrize(("env", "changes", "what"), [
    ("test/OddRewards-v0", {}, "environment test/OddRewards-v0 gives rewards that are not finite"),
    ("test/OddObservations-v0", {}, "environment test/OddObservations-v0 gives observations that are not finite"),
    ("test/InfiniteRewards-v0", {"priority_alpha": 0.5}, "test/InfiniteRewards-v0 gives rewards"),
    ("test/Line-v0", {"learning_rate": 1e30}, "smaller --learning-rate"),
])  # fmt: skip
def test_a_run_too_short_for_its_curves_does_not_end_with_weights_that_are_not_finite(
    small, tmp_path, env, changes, what
):
    config = small(env, clip_rewards=False, log_every=10_000, checkpoint_every=10_000, **changes)
    with Run.open(tmp_path, "run", config) as run, pytest.raises(InputError, match=what):
        train(config, run)
    assert not (run.path / "result.json").exists() and not (run.path / "policy").exists()


def test_a_run_that_learns_nothing_does_not_end_with_a_score_that_is_no_number(small, tmp_path):
    config = small("test/OddRewards-v0", total_steps=40, learning_starts=50)
    with Run.open(tmp_path, "run", config) as run, pytest.raises(InputError, match="gives rewards that are not finite"):
        train(config, run)
    assert not (run.path / "result.json").exists()


@pytest.mark.parametrize("error", [float("inf"), float("nan")])
def test_an_error_that_is_not_finite_ends_prioritised_training(small, tmp_path, monkeypatch, error):
    """The loss and the weights stay finite: nothing but the priorities tells."""
    update, done = DQN.update, []

    def spoilt(agent, studied):
        loss, errors = update(agent, studied)
        done.append(loss)
        return loss, errors if len(done) != 5 else errors * error

    monkeypatch.setattr(DQN, "update", spoilt)
    config = small("lab/Catch-v0", priority_alpha=0.5)
    with Run.open(tmp_path, "run", config) as run, pytest.raises(InputError, match="a priority is not finite"):
        train(config, run)
    assert all(loss.isfinite() for loss in done) and len(done) < 50  # ended at the next point of the curves


@pytest.mark.slow
def test_catch_is_learned(lab_command):
    done = lab_command("train", "dqn", "--env", "lab/Catch-v0", "--json")
    assert json.loads(done.stdout)["metrics"]["eval/return_mean"] >= 0.9


def test_the_value_that_is_logged_is_that_of_the_best_actions_now(small):
    training = finished(Training(small("lab/Catch-v0"), CPU))
    rows = training.agent.values(training.agent.q, torch.from_numpy(training.state)).tolist()
    assert _curves(training, Tick(0.1, []), [])["train/value"] == pytest.approx(np.mean([max(row) for row in rows]))


def test_seeds_draw_other_minibatches_and_explore_otherwise(small):
    first, second = (Training(small("lab/Catch-v0", seed=seed), CPU) for seed in (0, 1))
    for left, right in ((first.replay.random, second.replay.random), (first.agent.random, second.agent.random)):
        assert not torch.equal(left.get_state(), right.get_state())


def starts(config):
    """The first states of a training's games."""
    return {state.tobytes() for state in Training(config, CPU).state}


def test_neighbouring_seeds_share_no_game(small, monkeypatch):
    config = small("CartPole-v1", num_envs=8)
    assert first_seed(0) == 0 and first_seed(2**30, 4_000_000) + STRIDE <= 2**31
    assert starts(config) == starts(config) and not starts(config) & starts(replace(config, seed=1))
    agent, played = Training(config, CPU).agent, []
    reset = gymnasium.vector.SyncVectorEnv.reset

    def noted(games, *, seed=None, options=None):
        state, info = reset(games, seed=seed, options=options)
        played.append({each.tobytes() for each in state})
        return state, info

    monkeypatch.setattr(gymnasium.vector.SyncVectorEnv, "reset", noted)
    for seed, games in ((0, 0), (1, 0), (0, 1)):  # of training, of lab evaluate
        evaluate(agent, replace(config, seed=seed), 8, seed=first_seed(games, 3_000_000))
    assert len(played) == 3 and len(played[0]) == 8 and not played[0] & (played[1] | played[2])


def test_same_seed_same_policy(small):
    config = small("lab/Catch-v0")
    first, second, other = (
        weights(finished(Training(c, CPU)).agent.q) for c in (config, config, replace(config, seed=1))
    )
    assert torch.equal(first, second) and not torch.equal(first, other)


def test_every_logged_metric_is_explained(small, tmp_path):
    page = Path(__file__).parents[2].joinpath("docs", "dqn.md").read_text()
    config = small("lab/Catch-v0", epsilon_spread=1.0)
    with Run.open(tmp_path, "run", config) as run:
        metrics = train(config, run)
        tags = {entry["tag"] for entry in record.read(run.path / "metrics.jsonl") if entry["kind"] == "scalar"}
    for tag in tags | metrics.keys() | summarise(np.ones(3), "ALE/Pong-v5").keys():
        assert f"`{tag}`" in page, tag
