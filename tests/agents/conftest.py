"""A task whose every transition is known by hand, small settings, and what tests of training share."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.config import preset
from lab import checkpoint

LENGTH, LIMIT, REWARD = 7, 5, 10.0
CPU = torch.device("cpu")
ATARI = {"network": "nips", "batch_size": 8, "num_envs": 3, "total_steps": 300, "learning_starts": 60, "threads": 1}


class Line(gymnasium.Env):
    """Walk along 0, 1, 2, ...: reward 10 a step, over at 7; on "truncated" lines time is up at 5.

    gives: what it gives at 3, "reward" or "observation", is `number`; endless: it stays at 6 for ever.
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(self, truncated: bool = False, gives: str = "", number: float = np.nan, endless: bool = False):
        self.truncated, self.gives, self.number, self.endless = truncated, gives, number, endless
        self.observation_space = spaces.Box(0, 1, (8,), np.float32)
        self.action_space = spaces.Discrete(2)

    def _seen(self):
        seen = np.eye(8, dtype=np.float32)[self.at]
        return seen * np.float32(self.number) if self.gives == "observation" and self.at == 3 else seen

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = 0
        return self._seen(), {}

    def step(self, action):
        self.at = min(self.at + 1, LENGTH - 1) if self.endless else self.at + 1
        reward = self.number if self.gives == "reward" and self.at == 3 else REWARD
        return self._seen(), reward, self.at == LENGTH, self.truncated and self.at == LIMIT, {}


gymnasium.register("test/Line-v0", Line)
gymnasium.register("test/LimitedLine-v0", Line, kwargs={"truncated": True})
gymnasium.register("test/EndlessLine-v0", Line, kwargs={"endless": True})
gymnasium.register("test/OddRewards-v0", Line, kwargs={"gives": "reward"})
gymnasium.register("test/InfiniteRewards-v0", Line, kwargs={"gives": "reward", "number": np.inf})
gymnasium.register("test/OddObservations-v0", Line, kwargs={"gives": "observation"})


@pytest.fixture
def small():
    """Settings of a run of some seconds on `env`."""

    def settings(env, **changes):
        values = {
            "total_steps": 400, "learning_starts": 50, "num_envs": 3, "batch_size": 8, "eval_episodes": 3,
            "epsilon_steps": 200, "log_every": 50, "checkpoint_every": 100, "target_every": 20, "replay_capacity": 600,
        }  # fmt: skip
        return replace(preset(env), **values | changes)

    return settings


def finished(training):
    for _ in training:
        pass
    return training


def weights(network):
    return torch.cat([values.flatten() for values in network.state_dict().values()])


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
