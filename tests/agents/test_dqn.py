import copy
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from torch.nn import functional

from agents.algorithm import Tick, Training
from agents.config import preset
from agents.dqn import DQN
from agents.environments import STRIDE, check_playable, first_seed
from agents.evaluate import evaluate, film, summarise
from agents.helper import Helper
from agents.replay import Batch
from agents.train import _curves, train
from agents.trunk import tiles
from lab import checkpoint, record
from lab.cli import main
from lab.errors import InputError, Notice
from lab.run import Run

from .conftest import LENGTH, LIMIT, REWARD

CPU = torch.device("cpu")


def finished(training):
    for _ in training:
        pass
    return training


def weights(network):
    return torch.cat([values.flatten() for values in network.state_dict().values()])


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


def test_scores_are_measured_without_noise(small, tmp_path, monkeypatch):
    noted = []

    def noting(agent, *given):
        noted.append(any(layer.any() for layer in agent.q.buffers()))
        return evaluate(agent, *given)

    monkeypatch.setattr("agents.train.evaluate", noting)
    config = small("test/Line-v0", noisy=True, total_steps=120)
    with Run.open(tmp_path, "run", config) as run:
        train(config, run)
    assert noted == [False]


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


ATARI = {"network": "nips", "batch_size": 8, "num_envs": 3, "total_steps": 300, "learning_starts": 60, "threads": 1}


def alone_or_beside(config, beside, monkeypatch):
    """Trained with or without the second thread, whatever this machine has."""
    monkeypatch.setattr("agents.algorithm.device.cores", lambda: torch.get_num_threads() + beside)
    training = Training(config, CPU)
    assert (training.ahead.helper is not None) == beside
    return training


@pytest.mark.parametrize("switch", [{}, {"train_every": 2, "target_every": 3}, {"train_every": 8, "double": True},
    {"train_every": 2, "target_every": 3, "double": True},
    {"munchausen": True}, {"distribution": "quantile", "atoms": 5},
    {"distribution": "categorical", "atoms": 5, "double": True, "precision": "bfloat16"}, {"max_gradient_norm": 0.01},
    {"precision": "float32"}, {"precision": "bfloat16"},
    {"priority_alpha": 0.5, "train_every": 1, "replay_capacity": 99},
    {"priority_alpha": 0.5, "train_every": 2, "target_every": 3, "double": True, "n_step": 3}], ids=str)  # fmt: skip
def test_a_second_thread_changes_no_bit(small, monkeypatch, switch):
    """Also where the target network is copied between two minibatches that were made ready together, and where the
    hidden layer's weights are moved before the convolutions' gradients are there."""
    config = small("ALE/Breakout-v5", **{**ATARI, "target_every": 7, "train_every": 4, **switch})
    left, right = (finished(alone_or_beside(config, beside, monkeypatch)) for beside in (False, True))
    assert left.updates == right.updates > 10
    assert left.agent.trunk.helper is None and right.agent.trunk.helper is not None
    assert_equal(left.state_dict(), right.state_dict())


@pytest.mark.parametrize("priority_alpha", [0, 0.5])
@pytest.mark.parametrize("train_every", [4, 1])  # one minibatch a vector step, or three
def test_with_a_second_thread_it_resumes_in_every_bit(small, monkeypatch, train_every, priority_alpha):
    config = small("ALE/Breakout-v5", **ATARI, train_every=train_every, priority_alpha=priority_alpha)
    training = alone_or_beside(config, True, monkeypatch)
    saved = [copy.deepcopy(training.state_dict()) for _ in training if training.step in (180, 189)]
    for state in saved:
        restored = alone_or_beside(config, True, monkeypatch)
        next(tick for tick in restored if restored.updates)  # with minibatches of its own ahead, to be forgotten
        restored.load_state_dict(state)
        assert_equal(finished(restored).state_dict(), training.state_dict())
    assert len(saved) == 2


def test_what_fails_in_the_second_thread_is_raised(small, monkeypatch):
    training = alone_or_beside(small("ALE/Breakout-v5", **ATARI), True, monkeypatch)

    def broken(*_):
        raise RuntimeError("the memory is gone")

    monkeypatch.setattr(training.replay, "add", broken)
    with pytest.raises(RuntimeError, match="the memory is gone"):
        finished(training)


def test_gradients_are_clipped_by_the_norm_of_all_of_them(small):
    """Also of the one that is never whole: against torch's clip_grad_norm_."""
    config = small("ALE/Breakout-v5", **ATARI, precision="float32", max_gradient_norm=0.01)
    found, plain, free = (DQN((4, 84, 84), 4, replace(config, max_gradient_norm=most), CPU) for most in (0.01, 0, 0))
    states, ones = torch.randint(0, 256, (2, 8, 4, 84, 84), dtype=torch.uint8), torch.ones(8)
    batch = Batch(states[0], ones.long(), 9 * ones, states[1], ones < 0, 0.99 * ones, ones, ones.long())
    for agent in (found, free):
        agent.update(agent.study(batch))
    losses, _ = plain._losses(*plain.study(batch)[:-1])
    plain.trunk.adam = None  # its gradient is whole now
    optimizer = torch.optim.Adam(plain.q.parameters(), config.learning_rate, eps=1.5e-4)
    losses.mean().backward()
    assert torch.nn.utils.clip_grad_norm_(plain.q.parameters(), 0.01) > 0.02
    optimizer.step()
    torch.testing.assert_close(weights(found.q), weights(plain.q), rtol=1e-4, atol=1e-7)
    assert not torch.allclose(weights(free.q), weights(plain.q), rtol=1e-4, atol=1e-7)


def test_what_a_busy_helper_has_not_done_is_done_by_the_one_who_copies_the_weights(small):
    config = small("ALE/Breakout-v5", **ATARI)
    helped, alone = (DQN((4, 84, 84), 4, config, CPU) for _ in range(2))
    helper, free = Helper(), threading.Event()
    helper.submit(free.wait, 10)
    helped.share(helper)
    states, ones = torch.randint(0, 256, (2, 8, 4, 84, 84), dtype=torch.uint8), torch.ones(8)
    batch = Batch(states[0], ones.long(), ones, states[1], ones < 0, 0.99 * ones, ones, ones.long())
    for agent in (helped, alone):
        agent.update(agent.study(batch))
        agent.sync()
    free.set()
    assert torch.equal(weights(helped.target), weights(alone.target))


def test_what_fails_in_moving_the_hidden_layer_is_raised(small, monkeypatch):
    training = alone_or_beside(small("ALE/Breakout-v5", **ATARI), True, monkeypatch)

    def broken(*_):
        raise RuntimeError("no step")

    monkeypatch.setattr("agents.optimizers._move", broken)
    with pytest.raises(RuntimeError, match="no step"):
        finished(training)


def test_an_older_versions_checkpoint_is_refused_in_one_line(small):
    training = Training(small("lab/Catch-v0"), CPU)
    saved = training.state_dict()
    del saved["agent"]["hidden_optimizer"]
    with pytest.raises(InputError, match=r"older version's, without hidden_optimizer; give another --name"):
        training.load_state_dict(saved)


def test_a_checkpoint_from_a_gpu_is_refused_in_one_line(small):
    training = Training(small("lab/Catch-v0"), CPU)
    saved = copy.deepcopy(training.state_dict())
    before = copy.deepcopy(saved)
    saved["agent"]["random"] = torch.zeros(16, dtype=torch.uint8)  # as long as a CUDA generator's
    saved["agent"]["q"] = {name: value + 1 for name, value in saved["agent"]["q"].items()}
    with pytest.raises(InputError, match="from a GPU, and this is a CPU; go on there, or give another --name"):
        training.load_state_dict(saved)
    assert_equal(training.agent.state_dict(), before["agent"])


def test_a_replay_that_a_gpu_has_no_room_for_is_refused_in_one_line(small, monkeypatch):
    monkeypatch.setattr("lab.device.choose", lambda name: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda where: (10_800, 10**12))
    config = small("lab/Catch-v0", replay_capacity=100)
    check_playable(config)
    with pytest.raises(InputError, match=r"0\.0 GiB are free on the GPU; give at most 100$"):
        check_playable(replace(config, replay_capacity=101))


def test_a_replay_that_kept_its_frames_otherwise_is_refused_in_one_line(small):
    training = Training(small("lab/Catch-v0"), CPU)
    next(iter(training))
    saved = training.state_dict()
    saved["replay"]["frames"].tensor = saved["replay"]["frames"].tensor[:, :, :5]
    with pytest.raises(InputError, match=r"older version's, with rows of 10 x 5 rather than 10 x 10; give another"):
        training.load_state_dict(saved)


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


class Killed(Exception):
    pass


def comparable(path):
    """All a run recorded but the time it took."""
    curves = [entry for entry in record.read(path / "metrics.jsonl") if entry["kind"] == "scalar"]
    return [(e["tag"], e["step"], e["value"]) for e in curves if not e["tag"].startswith("time/")]


@pytest.mark.parametrize(
    ("env_id", "killed_after"), [("lab/Catch-v0", 230), ("CartPole-v1", 160), ("CartPole-v1", 333)]
)
def test_a_resumed_run_equals_an_uninterrupted_one_in_every_bit(small, tmp_path, monkeypatch, env_id, killed_after):
    config = small(env_id)
    with Run.open(tmp_path, "whole", config) as run:
        whole = train(config, run)
        whole_path = run.path

    def kill(*_):
        raise Killed

    with pytest.raises(Killed), Run.open(tmp_path, "cut", config) as run:
        log = run.scalar
        monkeypatch.setattr(
            run, "scalar", lambda tag, value, step: kill() if step > killed_after else log(tag, value, step)
        )
        train(config, run)
    with Run.open(tmp_path, "cut", config, resume=True) as run:
        assert run.restored[0] > 0
        resumed = train(config, run)
        cut_path = run.path
    _, left = checkpoint.load_newest(whole_path / "checkpoints")
    _, right = checkpoint.load_newest(cut_path / "checkpoints")
    assert_equal(left["state"], right["state"])
    assert comparable(whole_path) == comparable(cut_path)
    assert {k: v for k, v in whole.items() if "time" not in k} == {k: v for k, v in resumed.items() if "time" not in k}


def assert_equal(left, right, at=""):
    if isinstance(left, dict):
        assert left.keys() == right.keys(), at
        for key in left:
            assert_equal(left[key], right[key], f"{at}/{key}")
    elif isinstance(left, tuple | list):
        assert_equal(dict(enumerate(left)), dict(enumerate(right)), at)
    elif isinstance(left, checkpoint.Pieces):
        assert_equal(list(left), list(right), at)
    elif isinstance(left, torch.Tensor | np.ndarray):
        assert left.dtype == right.dtype and (left == right).all(), at
    else:
        assert left == right, at


def test_restored_at_any_moment_of_an_episode_it_goes_on_the_same(small):
    """Also right at an end, where the next step only resets."""
    config = small("lab/Catch-v0", total_steps=150)
    training = Training(config, CPU)
    saved = [copy.deepcopy(training.state_dict()) for _ in training if 60 <= training.step <= 100]
    assert any(state["ended"].any() for state in saved)
    for state in saved:
        restored = Training(config, CPU)
        restored.load_state_dict(copy.deepcopy(state))
        assert_equal(restored.state_dict(), state)  # nothing is forgotten that the next update would hide
        assert_equal(finished(restored).state_dict(), training.state_dict())


def command(folder, words):
    """A `lab` command as a process of its own does it; forked from one that has imported everything, to be quick."""
    os.chdir(folder)
    sys.exit(main(words))


@pytest.mark.slow
def test_killed_twenty_times_a_run_ends_with_the_weights_of_an_unbroken_one(tmp_path):
    """`kill -9` after ever other times, in whatever it was doing, and --resume."""
    words = ["train", "dqn", "--env", "lab/Catch-v0", "--total-steps", "5000", "--checkpoint-every", "100",
             "--eval-episodes", "5", "--runs", "runs", "--resume", "--json", "--name"]  # fmt: skip
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["agents.train", "tests.agents.test_dqn"])
    policies = tmp_path / "runs" / "cut" / "policy"
    random, kills, before, code = np.random.default_rng(0), 0, -1, None
    while code is None or code == -signal.SIGKILL:
        process = processes.Process(target=command, args=(tmp_path, [*words, "cut"]))
        process.start()
        while kills < 20 and process.is_alive():  # killed only once it got further than the last time
            time.sleep(0.005)
            if (steps := checkpoint.steps(policies)) and int(steps[-1].name[5:]) > before:
                before = int(steps[-1].name[5:])
                time.sleep(random.uniform(0, 0.2))
                process.kill()
                kills += 1
                break
        process.join()
        code = process.exitcode
    assert code == 0 and kills == 20, "it was done before it could be killed twenty times"
    whole = processes.Process(target=command, args=(tmp_path, [*words, "whole"]))
    whole.start()
    whole.join()
    left, right = (checkpoint.load_newest(tmp_path / "runs" / name / "policy") for name in ("whole", "cut"))
    assert_equal(left, right)
    assert comparable(tmp_path / "runs" / "cut") == comparable(tmp_path / "runs" / "whole")


@pytest.mark.slow
def test_ctrl_c_leaves_a_checkpoint_and_says_so(tmp_path):
    command = [
        sys.executable,
        "-m",
        "lab.cli",
        "train",
        "dqn",
        "--env",
        "lab/Catch-v0",
        "--checkpoint-every",
        "1000000",
    ]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    path = tmp_path / "results" / "runs" / "dqn-lab-catch-v0"
    deadline = time.monotonic() + 60
    while (
        time.monotonic() < deadline and "time/steps" not in (path / "metrics.jsonl").read_text()
        if path.exists()
        else True
    ):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped at agent step" in messages and "Traceback" not in messages
    assert checkpoint.load_newest(path / "checkpoints") is not None


def test_atari_resumes_in_every_bit(small):
    config = small("ALE/Breakout-v5", total_steps=300, num_envs=2, network="nips", threads=1)
    training = Training(config, CPU)
    saved = [copy.deepcopy(training.state_dict()) for _ in training if training.step == 180]
    restored = Training(config, CPU)
    restored.load_state_dict(saved[0])
    assert_equal(finished(restored).state_dict(), training.state_dict())


def test_sticky_atari_resumes_with_new_games_and_no_transition_into_them(small):
    config = small("ALE/Breakout-v5", protocol="sticky", total_steps=200, num_envs=2, learning_starts=60, threads=1)
    first = Training(config, CPU)
    for _ in first:
        if first.step >= 120:
            break
    second = Training(config, CPU)
    with pytest.warns(Notice, match="sticky actions .* new games begin"):
        second.load_state_dict(first.state_dict())
    assert second.step == first.step and torch.equal(weights(second.agent.q), weights(first.agent.q))
    assert not second.replay.live[second.replay.row(second.replay.count - 1)].any()
    finished(second)
    assert second.updates == (200 - 60) // config.train_every


class Drifting(gymnasium.Env):
    """Its chance is its own; refuses: a step after the end, which comes by chance too, is an error."""

    def __init__(self, refuses: bool = False):
        self.observation_space, self.action_space = gymnasium.spaces.Box(-9, 9, (2,)), gymnasium.spaces.Discrete(2)
        self.random, self.over, self.refuses = np.random.default_rng(), True, refuses

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.over = False
        return self.random.normal(size=2).clip(-9, 9).astype(np.float32), {}

    def step(self, action):
        if self.over and self.refuses:
            raise RuntimeError("the episode\nis over")
        self.over = self.random.random() < (0.3 if self.refuses else 0.02)
        return self.random.normal(size=2).clip(-9, 9).astype(np.float32), 1.0, self.over, False, {}


gymnasium.register("test/Drifting-v0", Drifting)
gymnasium.register("test/Refusing-v0", Drifting, kwargs={"refuses": True})


@pytest.mark.parametrize(("env", "why"), [
    ("test/Drifting-v0", "led elsewhere"), ("test/Refusing-v0", "failed: the episode is over"),
])  # fmt: skip
def test_what_cannot_be_played_again_resumes_with_new_games_and_no_transition_into_them(small, monkeypatch, env, why):
    config = small(env, num_envs=40, learning_starts=300, total_steps=1000)
    first = Training(config, CPU)
    for _ in first:
        if first.step >= 500:
            break
    saved, second = first.state_dict(), Training(config, CPU)
    seeds, begun, reset = [], [first_seed(config.seed) + i for i in range(40)], second.envs.reset
    monkeypatch.setattr(second.envs, "reset", lambda *, seed=None: (seeds.append(seed), reset(seed=seed))[1])
    with pytest.warns(Notice, match=f"{env} cannot be put back .*{why}.*: new games begin"):
        second.load_state_dict(saved)
    assert not second.replay.live[second.replay.row(second.replay.count - 1)].any()
    assert not second.ended.any() and not second.episode_length.any()
    assert seeds[-1] not in (None, *begun)  # and these are others than the run began with
    finished(second)


def test_a_checkpoint_from_before_its_observations_were_kept_is_resumed(small):
    config = small("lab/Catch-v0", total_steps=200)
    training = Training(config, CPU)
    (saved,) = [copy.deepcopy(training.state_dict()) for _ in training if training.step == 120]
    del saved["envs"]["seen"]
    restored = Training(config, CPU)
    restored.load_state_dict(saved)
    assert_equal(finished(restored).state_dict(), training.state_dict())


def test_evaluation_plays_whole_episodes_with_raw_rewards(small):
    config = small("test/Line-v0", clip_rewards=True)
    agent = Training(config, CPU).agent
    scores = evaluate(agent, config, 11)
    assert scores["return"].tolist() == [LENGTH * REWARD] * 11 and scores["length"].tolist() == [LENGTH] * 11


@pytest.mark.parametrize(("env", "protocol", "epsilon"), [
    ("ALE/Pong-v5", "classic", 0.05), ("ALE/Pong-v5", "sticky", 0.01), ("lab/Catch-v0", "classic", 0.0),
])  # fmt: skip
def test_scores_are_measured_at_the_protocols_epsilon_and_not_at_that_of_training(monkeypatch, env, protocol, epsilon):
    class Noting:
        def act(self, state, epsilon, random):
            given.add(epsilon)
            return np.zeros(len(state), int)

    given = set()
    monkeypatch.setattr("agents.evaluate.LONGEST", 5)
    config = replace(preset(env), protocol=protocol, epsilon_start=0.7, epsilon_end=0.3)
    with pytest.warns(Notice, match="2 of 2 episodes had not ended after 5 agent steps"):
        evaluate(Noting(), config, 2)
    assert given == {epsilon}


class Uneven(gymnasium.Env):
    """Episodes of 2 steps where the first seed was even, of 9 where it was odd."""

    observation_space, action_space = gymnasium.spaces.Box(0, 1, (2,)), gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.length = 9 if seed % 2 else 2
        self.steps = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.zeros(2, np.float32), 1.0, self.steps == self.length, False, {}


gymnasium.register("test/Uneven-v0", Uneven)


def test_short_episodes_are_not_preferred(small):
    """Each of the 8 environments plays 2 episodes, however long the others take."""
    config = small("test/Uneven-v0")
    scores = evaluate(DQN((1, 2), 2, config, CPU), config, 16)
    assert sorted(scores["length"]) == [2] * 8 + [9] * 8 and (scores["return"] == scores["length"]).all()


def test_an_episode_without_end_counts_as_it_stands(small, monkeypatch):
    monkeypatch.setattr("agents.evaluate.LONGEST", 30)
    config = small("test/EndlessLine-v0")
    agent = Training(config, CPU).agent
    with pytest.warns(Notice, match="test/EndlessLine-v0: 11 of 11 episodes had not ended after 30 agent steps"):
        scores = evaluate(agent, config, 11)
    assert scores["return"].tolist() == [30 * REWARD] * 11 and scores["length"].tolist() == [30] * 11


@pytest.mark.slow
def test_a_film_has_a_picture_for_every_step(small):
    for env_id, size in [("lab/Catch-v0", (160, 160, 3)), ("ALE/Pong-v5", (210, 160, 3))]:
        config = small(env_id)
        agent = Training(config, CPU).agent
        frames, score = film(agent, config)
        assert frames.shape[1:] == size and frames.dtype == np.uint8
        assert len(frames) == 10 if "Catch" in env_id else len(frames) > 500
        assert abs(score) in (1, *range(15, 22)) and len(np.unique(frames[:, ::8], axis=0)) > 5


def test_an_environment_without_pictures_is_named(small):
    config = small("test/Line-v0")
    with pytest.raises(InputError, match="test/Line-v0 draws no pictures"):
        film(Training(config, CPU).agent, config)


class Drawing(gymnasium.Env):
    """Draws pictures one after the other, the last one again and again."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    observation_space, action_space = gymnasium.spaces.Box(0, 1, (2,)), gymnasium.spaces.Discrete(2)

    def __init__(self, pictures=(), render_mode=None):
        self.pictures, self.render_mode = list(pictures), render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.zeros(2, np.float32), 0.0, self.steps == 5, False, {}

    def render(self):
        return self.pictures.pop(0) if len(self.pictures) > 1 else self.pictures[0]


GOOD = np.zeros((20, 30, 3), np.uint8)


@pytest.mark.parametrize(("pictures", "what"), [
    ([None], "render\\(\\) gives None"), ([GOOD / 255], "float64"), ([GOOD[..., 0]], r"gives \(20, 30\) uint8"),
    ([GOOD[..., [0, 0, 0, 0]]], r"\(20, 30, 4\)"), ([GOOD[:1, :1]], "at least 2 x 2 pixels"),
    ([GOOD, GOOD, GOOD[1:]], "of several sizes"),
])  # fmt: skip
def test_pictures_that_make_no_film_are_refused(small, pictures, what):
    gymnasium.register("test/Drawing-v0", Drawing, kwargs={"pictures": pictures}, disable_env_checker=True)
    try:
        config = small("test/Drawing-v0")
        with pytest.raises(InputError, match=f"test/Drawing-v0 draws .*{what}"):
            film(DQN((1, 2), 2, config, CPU), config)
    finally:
        gymnasium.registry.pop("test/Drawing-v0")


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
