import copy
import threading
from dataclasses import replace

import pytest
import torch

from agents.algorithm import Training
from agents.dqn import DQN
from agents.helper import Helper
from agents.replay import Batch

from .conftest import ATARI, CPU, assert_equal, finished, weights


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
