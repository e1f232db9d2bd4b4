"""Catch: a ball falls through a small pixel image and a paddle must be under it. The smallest game seen as pixels.

After the Catch of bsuite (Osband et al., 2020) and of Mnih et al., "Recurrent Models of Visual Attention" (2014).
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Catch(gymnasium.Env[np.ndarray, np.int64]):
    """One ball falls one row a step from a random column of the top row; the paddle moves left, stays or moves right.

    A diagonal ball also moves one column a step, and at a wall stays for a step and comes back. In every row it is as
    likely to be in any column on its way left as on its way right: one picture does not tell which.

    Observation: (size, size) uint8, 255 at the ball and the paddle, 0 elsewhere. Actions: 0 left, 1 stay, 2 right.
    Reward: +1 when the ball arrives on the paddle, -1 when it misses, 0 before; an episode is size - 1 steps long.
    Every ball can be caught: perfect play returns 1, random play about -0.8 (10 x 10 pixels). info["velocity"] of a
    diagonal ball is -1 on its way left and 1 on its way right.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 (Gymnasium's own way)

    def __init__(self, size: int = 10, diagonal: bool = False, render_mode: str | None = None):
        """size: height and width in pixels, at least 3; diagonal: the ball does not fall straight down."""
        if size < 3:
            raise ValueError(f"Catch needs a size of at least 3 pixels, not {size}")
        self.size, self.diagonal = size, diagonal
        self.render_mode = render_mode
        self.observation_space = spaces.Box(0, 255, (size, size), np.uint8)
        self.action_space = spaces.Discrete(3)
        self._row = self._column = self._paddle = self._phase = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        super().reset(seed=seed)
        self._row = 0
        self._paddle = self.size // 2
        if self.diagonal:
            self._phase = int(self.np_random.integers(2 * self.size))
            self._place()
        else:
            self._column = int(self.np_random.integers(self.size))
        return self._pixels(), self._info()

    def step(self, action: np.int64):
        self._paddle = min(max(self._paddle + int(action) - 1, 0), self.size - 1)
        self._row += 1
        if self.diagonal:
            self._phase = (self._phase + 1) % (2 * self.size)
            self._place()
        landed = self._row == self.size - 1
        reward = (1.0 if self._column == self._paddle else -1.0) if landed else 0.0
        return self._pixels(), reward, landed, False, self._info()

    def _place(self) -> None:
        """Where a ball is that goes round: size steps to the right, size steps back."""
        self._column = self._phase if self._phase < self.size else 2 * self.size - 1 - self._phase

    def _info(self) -> dict[str, Any]:
        return {"velocity": 1 if self._phase < self.size else -1} if self.diagonal else {}

    def render(self) -> np.ndarray:
        """(16 size, 16 size, 3) uint8: the ball orange, the paddle blue."""
        picture = np.full((self.size, self.size, 3), 24, np.uint8)
        picture[self._row, self._column] = (230, 159, 0)
        picture[-1, self._paddle] = (0, 114, 178)
        return picture.repeat(16, axis=0).repeat(16, axis=1)

    def _pixels(self) -> np.ndarray:
        pixels = np.zeros((self.size, self.size), np.uint8)
        pixels[self._row, self._column] = 255
        pixels[-1, self._paddle] = 255
        return pixels
