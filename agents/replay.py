"""Replay memory: each frame stored once, as it came; states are stacked again when sampled.

A million Atari transitions take 7.06 GB (84 x 84 bytes each), where storing both stacks of every transition would take
56 GB. The memory is a ring of rows, one row per vector step, with one column per environment.
"""

from typing import Any, NamedTuple

import numpy as np
import torch


class Batch(NamedTuple):
    """Transitions (phi_j, a_j, r_j, phi_{j+1}) as Algorithm 1 samples them; B of them.

    Over n steps: r_j + gamma r_{j+1} + ... over the m <= n steps to phi_{j+m}, fewer where the episode ends before.
    """

    state: torch.Tensor  # (B, stack, *frame), in the frames' own type
    action: torch.Tensor  # (B,) int64
    reward: torch.Tensor  # (B,) float32
    next_state: torch.Tensor  # (B, stack, *frame)
    terminal: torch.Tensor  # (B,) bool: nothing to bootstrap from
    discount: torch.Tensor  # (B,) float32: gamma^m, of what is bootstrapped


class Replay:
    """Uniform replay over `num_envs` streams of frames.

    The row after the end of an episode holds its final frame and an action that the environment ignored (NEXT_STEP
    autoreset): it is stored with live=False, serves as the last transition's next state and is never sampled itself.
    """

    def __init__(
        self, capacity: int, num_envs: int, frame: tuple[int, ...], dtype: torch.dtype, *, stack: int, seed: int,
        gamma: float = 0.99, n_step: int = 1, device: torch.device | str = "cpu",
    ):  # fmt: skip
        """capacity: transitions over all environments; frame, dtype: of one frame; stack: frames that make a state.

        n_step: steps of reward before bootstrapping (Sutton, 1988), each discounted by gamma.
        """
        self.rows = capacity // num_envs
        self.stack = stack
        self.count = 0  # rows ever added; the newest lies at (count - 1) % rows
        if self.rows < stack + n_step + 1:
            raise ValueError(f"a replay of {capacity} over {num_envs} environments cannot hold a stack of {stack}")
        self.gamma_powers = gamma ** torch.arange(n_step + 1, dtype=torch.float32, device=device)
        shape = (self.rows, num_envs)
        self.frames = torch.empty((*shape, *frame), dtype=dtype, device=device)  # pages are taken as they are filled
        self.actions = torch.zeros(shape, dtype=torch.uint8, device=device)
        self.rewards = torch.zeros(shape, dtype=torch.float32, device=device)
        self.terminal = torch.zeros(shape, dtype=torch.bool, device=device)
        self.live = torch.zeros(shape, dtype=torch.bool, device=device)
        self.age = torch.zeros(shape, dtype=torch.uint8, device=device)  # frames since the start, at most stack - 1
        self._next_age = torch.zeros(num_envs, dtype=torch.uint8, device=device)
        self._random = torch.Generator(device).manual_seed(seed)

    def __len__(self) -> int:
        """Transitions (live or not) now in memory."""
        return min(self.count, self.rows) * self.actions.shape[1]

    def add(
        self, frame: np.ndarray, action: np.ndarray, reward: np.ndarray, terminal: np.ndarray, live: np.ndarray
    ) -> None:
        """One vector step: the newest frame seen, what was done, and what came of it; each (num_envs, ...).

        terminal: a real end (game over, lost life), not a time limit, from which the next state must bootstrap.
        live: False where this step only reset the environment.
        """
        row = self.count % self.rows
        device = self.frames.device
        self.frames[row] = torch.as_tensor(frame, device=device)
        self.actions[row] = torch.as_tensor(action, device=device)
        self.rewards[row] = torch.as_tensor(reward, device=device)
        self.terminal[row] = torch.as_tensor(terminal, device=device)
        self.live[row] = alive = torch.as_tensor(live, device=device)
        self.age[row] = self._next_age
        self._next_age = torch.where(alive, (self._next_age + 1).clamp(max=self.stack - 1), 0).to(torch.uint8)
        self.count += 1

    def cut(self) -> None:
        """The streams break off here: the next row added begins new episodes (environments made anew on resume)."""
        if self.count:
            self.live[(self.count - 1) % self.rows] = False
        self._next_age.zero_()

    def sample(self, batch_size: int) -> Batch:
        """A uniform minibatch of live transitions. Raises ValueError while there is none."""
        oldest = max(0, self.count - self.rows + self.stack - 1)  # rows before it have lost frames of their stack
        newest = self.count - len(self.gamma_powers)  # the state n steps later has not come yet for the rows after it
        if newest < oldest:
            raise ValueError("the replay holds no whole transition yet")
        device, envs = self.frames.device, self.actions.shape[1]
        chosen = torch.empty(0, dtype=torch.long, device=device)
        while len(chosen) < batch_size:  # reset rows are few: draw again in their place
            index = torch.randint(
                oldest * envs, (newest + 1) * envs, (batch_size,), generator=self._random, device=device
            )
            alive = self.live[(index // envs) % self.rows, index % envs]
            if not alive.any() and not self._any_live():
                raise ValueError("the replay holds no whole transition yet")
            chosen = torch.cat([chosen, index[alive]])
        index = chosen[:batch_size]
        return self._gather(index // envs, index % envs)

    def _any_live(self) -> bool:
        held = torch.arange(max(0, self.count - self.rows), self.count - 1, device=self.frames.device) % self.rows
        return bool(self.live[held].any())

    def _gather(self, at: torch.Tensor, env: torch.Tensor) -> Batch:
        """The transitions at absolute rows `at` of environments `env`, both (B,)."""
        steps = torch.arange(len(self.gamma_powers) - 1, device=at.device)
        rows = (at[:, None] + steps) % self.rows  # (B, n)
        envs = env[:, None]
        # A step counts while the episode goes on: no end just before it, and it is no reset.
        goes_on = self.live[rows[:, 1:], envs] & ~self.terminal[rows[:, :-1], envs]  # (B, n - 1)
        counts = torch.cat([torch.ones_like(envs, dtype=torch.bool), goes_on.cumprod(dim=1).bool()], dim=1)  # (B, n)
        reward = (self.rewards[rows, envs] * self.gamma_powers[:-1] * counts).sum(dim=1)
        taken = counts.sum(dim=1)  # m, (B,)
        last = (at + taken - 1) % self.rows
        return Batch(
            self._stacks(at, env),
            self.actions[at % self.rows, env].long(),
            reward,
            self._stacks(at + taken, env),
            self.terminal[last, env],
            self.gamma_powers[taken],
        )

    def _stacks(self, at: torch.Tensor, env: torch.Tensor) -> torch.Tensor:
        """The states at absolute rows `at`: their newest frames, (B, stack, *frame), padded as the environment pads."""
        back = torch.arange(self.stack - 1, -1, -1, device=at.device)
        frames = self.frames[(at[:, None] - back) % self.rows, env[:, None]]  # (B, stack, *frame)
        frames[back > self.age[at % self.rows, env][:, None]] = 0  # frames of an earlier episode
        return frames

    _ARRAYS = ("frames", "actions", "rewards", "terminal", "live", "age")

    def state_dict(self) -> dict[str, Any]:
        filled = min(self.count, self.rows)
        arrays = {name: getattr(self, name)[:filled] for name in self._ARRAYS}
        return {**arrays, "next_age": self._next_age, "count": self.count, "random": self._random.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in self._ARRAYS:
            getattr(self, name)[: len(state[name])] = state[name]
        self._next_age = state["next_age"].to(self.frames.device)
        self.count = state["count"]
        self._random.set_state(state["random"])
