"""A T-maze: a cue at the start says where the reward is, and at the end of a corridor the agent must still know it.

After Bakker, "Reinforcement learning with long short-term memory" (2001).
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

CUES, CORRIDOR, JUNCTION = (0, 1), 2, 3  # places in the observation
UP, DOWN, ON = 0, 1, 2
BUMP = -0.1  # for a step against a wall; else nothing in the corridor would tell an agent without memory to go on


class TMaze(gymnasium.Env[np.ndarray, np.int64]):
    """`corridor` steps lead from the cue to the junction, where the way up or down is chosen; the cue says which.

    Observation: one-hot, (4,) float32: cue for up, cue for down, corridor, junction. All steps of the corridor look
    alike, and the cue is in sight at the start only. Actions: 0 up, 1 down, 2 on; a wall stops the agent.
    Reward: 1 for the right side at the junction, 0 for the wrong one, and either ends the episode; -.1 for a step
    against a wall. After 3 * (corridor + 1) steps it is truncated. A stack of k observations still shows the cue at the
    junction if corridor < k. Best play returns 1; without memory the best is .5.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 (Gymnasium's own way)

    def __init__(self, corridor: int = 8, render_mode: str | None = None):
        """corridor: steps from the cue to the junction, at least 1."""
        if corridor < 1:
            raise ValueError(f"TMaze needs a corridor of at least 1 step, not {corridor}")
        self.corridor, self.render_mode = corridor, render_mode
        self.observation_space = spaces.Box(0.0, 1.0, (4,), np.float32)
        self.action_space = spaces.Discrete(3)
        self._at = self._steps = self._cue = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self._at = self._steps = 0
        self._cue = int(self.np_random.integers(2))
        return self._seen(), {}

    def step(self, action: np.int64):
        self._steps += 1
        at_junction = self._at == self.corridor
        over = bool(at_junction and action != ON)
        reward = float(int(action) == self._cue) if over else BUMP if at_junction or action != ON else 0.0
        if action == ON:
            self._at = min(self._at + 1, self.corridor)
        return self._seen(), reward, over, not over and self._steps == 3 * (self.corridor + 1), {}

    def _seen(self) -> np.ndarray:
        seen = np.zeros(4, np.float32)
        seen[self._cue if self._at == 0 else JUNCTION if self._at == self.corridor else CORRIDOR] = 1.0
        return seen
