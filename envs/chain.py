"""A chain: only N right steps in a row reach the reward. Everything is in sight; the difficulty is to get there at all.

After the chain of Strens ("A Bayesian framework for reinforcement learning", 2000) and the deep sea of bsuite (Osband
et al., 2020), from which it has that the step onwards is another action in each state. A wrong step ends the episode
and does not lead back to the start: else it would cost a delay only, which a discount of .99 hardly feels.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Chain(gymnasium.Env[np.ndarray, np.int64]):
    """`length` states in a row, from the first to the last; from the last, one more step onwards is the goal.

    Observation: the state, one-hot, (length,) float32. Actions: 0 and 1, one of which leads onwards and the other out;
    `onward` says which, drawn once and the same for all chains of that length, so that no habit ("always 1") reaches
    the goal.
    Reward: 1 at the goal, `lure` for stepping out, else 0; either ends the episode. The best play takes `length` steps
    and returns 1; random play reaches the goal in 2^-length of the episodes.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (Gymnasium's own way)

    def __init__(self, length: int = 8, lure: float = 0.0, render_mode: str | None = None):
        """length: at least 1; lure: what stepping out earns: above 0 the chain is deceptive, as what is near pays."""
        if length < 1:
            raise ValueError(f"Chain needs a length of at least 1, not {length}")
        self.length, self.lure, self.render_mode = length, lure, render_mode
        self.onward = np.random.default_rng(0).integers(2, size=length)  # (length,)
        self.observation_space = spaces.Box(0.0, 1.0, (length,), np.float32)
        self.action_space = spaces.Discrete(2)
        self._at = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self._at = 0
        return self._seen(), {}

    def step(self, action: np.int64):
        onward = int(action) == self.onward[self._at]
        goal = bool(onward and self._at == self.length - 1)
        self._at += bool(onward and not goal)
        reward = 1.0 if goal else 0.0 if onward else self.lure
        return self._seen(), reward, goal or not onward, False, {}

    def _seen(self) -> np.ndarray:
        seen = np.zeros(self.length, np.float32)
        seen[self._at] = 1.0
        return seen
