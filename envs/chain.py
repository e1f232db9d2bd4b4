"""A chain: only N right steps in a row reach the reward. Everything is in sight; the difficulty is to get there at all.

After the chain of Strens ("A Bayesian framework for reinforcement learning", 2000), and the deep sea of bsuite (Osband
et al., 2020), from which it has that the step onwards is another action in each state.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Chain(gymnasium.Env[np.ndarray, np.int64]):
    """`length` states in a row, from the first to the last; from the last, one more step onwards is the goal.

    Observation: the state, one-hot, (length,) float32. Actions: 0 and 1, one of which leads onwards and the other back
    to the start; `onward` says which, drawn once and the same for all chains of that length, so that no habit ("always
    1") reaches the goal.
    Reward: 1 at the goal, where the episode ends, and `lure` for each step back. After 4 * length steps it is
    truncated. The best play takes `length` steps and returns 1; random play reaches the goal in a share of about
    1.5 length / 2^length of the episodes.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (Gymnasium's own way)

    def __init__(self, length: int = 8, lure: float = 0.0, render_mode: str | None = None):
        """length: at least 1; lure: what a step back earns: above 0 the chain is deceptive, as what is near pays."""
        if length < 1:
            raise ValueError(f"Chain needs a length of at least 1, not {length}")
        self.length, self.lure, self.render_mode = length, lure, render_mode
        self.onward = np.random.default_rng(0).integers(2, size=length)  # (length,)
        self.observation_space = spaces.Box(0.0, 1.0, (length,), np.float32)
        self.action_space = spaces.Discrete(2)
        self._at = self._steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self._at = self._steps = 0
        return self._seen(), {}

    def step(self, action: np.int64):
        self._steps += 1
        onward = int(action) == self.onward[self._at]
        goal = bool(onward and self._at == self.length - 1)
        reward = 1.0 if goal else 0.0 if onward else self.lure
        if not goal:
            self._at = self._at + 1 if onward else 0
        return self._seen(), reward, goal, not goal and self._steps == 4 * self.length, {}

    def _seen(self) -> np.ndarray:
        seen = np.zeros(self.length, np.float32)
        seen[self._at] = 1.0
        return seen
