"""A task whose every transition is known by hand, and small settings for it."""

from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from agents.config import preset

LENGTH, LIMIT, REWARD = 7, 5, 10.0


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
