"""Replay memory: each frame stored once, as it came; states are stacked again when sampled.

A million Atari transitions take 7.06 GB (84 x 84 bytes each), where storing both stacks of every transition would take
56 GB. The memory is a ring of rows, one row per vector step, with one column per environment.
"""

import os
import tempfile
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from lab.checkpoint import Pieces

PIECE = 10_000  # transitions that a checkpoint keeps in a file; Atari: 71 MB


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
    weight: torch.Tensor  # (B,) float32: of each one's loss; 0 where it is no transition
    slot: torch.Tensor  # (B,) int64: where it lies in the memory


class Replay:
    """Uniform replay over `num_envs` streams of frames.

    The row after the end of an episode holds its final frame and an action that the environment ignored (NEXT_STEP
    autoreset): it is stored with live=False, serves as the last transition's next state and is never learned from.
    Row r of environment e is slot r * num_envs + e of every array. No shape depends on what is sampled and nothing is
    read back to the host, so that sampling can be part of a CUDA graph.
    """

    def __init__(
        self, capacity: int, num_envs: int, frame: tuple[int, ...], dtype: torch.dtype, *, stack: int, seed: int,
        gamma: float = 0.99, n_step: int = 1, device: torch.device | str = "cpu", folder: Path | None = None,
    ):  # fmt: skip
        """capacity: transitions over all environments; frame, dtype: of one frame; stack: frames that make a state.

        n_step: steps of reward before bootstrapping (Sutton, 1988), each discounted by gamma.
        folder: keep the frames in a file there, mapped into memory and gone with the process, instead of in memory.
        """
        self.rows, self.num_envs = capacity // num_envs, num_envs
        self.stack, self.n_step = stack, n_step
        self.count = 0  # rows ever added; the newest lies in row (count - 1) % rows
        if self.rows < stack + n_step + 1:
            raise ValueError(f"a replay of {capacity} over {num_envs} environments cannot hold a stack of {stack}")
        self.device = torch.device(device)
        self.gamma_powers = gamma ** torch.arange(n_step + 1, dtype=torch.float32, device=device)
        slots = self.rows * num_envs
        shape = (slots + 1, *frame)
        if folder:
            self.frames = _mapped(folder, shape, dtype)
        else:
            self.frames = torch.empty(shape, dtype=dtype, device=device)  # pages are taken as they are filled
        self.frames[slots] = 0  # stands for every frame of before an episode began
        self.actions = torch.zeros(slots, dtype=torch.uint8, device=device)
        self.rewards = torch.zeros(slots, dtype=torch.float32, device=device)
        self.terminal = torch.zeros(slots, dtype=torch.bool, device=device)
        self.live = torch.zeros(slots, dtype=torch.bool, device=device)
        self.age = torch.zeros(slots, dtype=torch.uint8, device=device)  # frames since the start, at most stack - 1
        self._next_age = torch.zeros(num_envs, dtype=torch.uint8, device=device)
        self._whole = torch.zeros(2, dtype=torch.int64, device=device)  # first whole transition, and how many there are
        self._any_live = False
        self.random = torch.Generator(device).manual_seed(seed)
        self._files: dict[int, tuple[int, str, str]] = {}  # pieces of the frames in the newest checkpoint

    def __len__(self) -> int:
        """Transitions (live or not) now in memory."""
        return min(self.count, self.rows) * self.num_envs

    def row(self, number: int) -> slice:
        """The slots of the row that was, or will be, the `number`-th added."""
        first = number % self.rows * self.num_envs
        return slice(first, first + self.num_envs)

    def add(
        self, frame: np.ndarray, action: np.ndarray, reward: np.ndarray, terminal: np.ndarray, live: np.ndarray
    ) -> None:
        """One vector step: the newest frame seen, what was done, and what came of it; each (num_envs, ...).

        terminal: a real end (game over, lost life), not a time limit, from which the next state must bootstrap.
        live: False where this step only reset the environment.
        """
        row = self.row(self.count)
        self.frames[row] = torch.as_tensor(frame, device=self.device)
        self.actions[row] = torch.as_tensor(action, device=self.device)
        self.rewards[row] = torch.as_tensor(reward, device=self.device)
        self.terminal[row] = torch.as_tensor(terminal, device=self.device)
        self.live[row] = alive = torch.as_tensor(live, device=self.device)
        self.age[row] = self._next_age
        self._next_age.copy_(torch.where(alive, (self._next_age + 1).clamp(max=self.stack - 1), 0))
        self.count += 1
        self._any_live |= bool(np.any(live))
        self._note_whole()

    def _note_whole(self) -> None:
        oldest, end = self.whole()
        self._whole[0], self._whole[1] = oldest * self.num_envs, max(0, end - oldest) * self.num_envs

    def whole(self) -> tuple[int, int]:
        """The rows [oldest, end) whose states still have all their frames, and whose state n steps on has come."""
        return max(0, self.count - self.rows + self.stack - 1), self.count - self.n_step

    def cut(self) -> None:
        """The streams break off here: the next row added begins new episodes (environments made anew on resume)."""
        if self.count:
            self.live[self.row(self.count - 1)] = False
        self._next_age.zero_()

    def sample(self, batch_size: int) -> Batch:
        """A uniform minibatch of live transitions. Raises ValueError while there is none."""
        oldest, end = self.whole()
        if end <= oldest or not self._any_live:
            raise ValueError("the replay holds no whole transition yet")
        return self.gather(*self._draw(batch_size))

    def drawing(self) -> tuple[torch.Tensor, ...]:
        """What a draw moves on; see `draw_again`."""
        return (self.random.get_state(),)

    def draw_again(self, drawing: tuple[torch.Tensor, ...]) -> None:
        """Be as before the draw that followed `drawing`, so that it comes again."""
        self.random.set_state(drawing[0])

    def _draw(self, batch_size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Slots (B,) and their weights: twice as many as are wanted are drawn, and the live among them come first."""
        uniform = torch.rand(2 * batch_size, generator=self.random, dtype=torch.float64, device=self.device)
        slot = (self._whole[0] + (uniform * self._whole[1]).long()) % len(self.live)
        first = torch.argsort(~self.live[slot], stable=True)[:batch_size]
        slot = slot[first]
        return slot, self.live[slot].float()

    def gather(self, slot: torch.Tensor, weight: torch.Tensor) -> Batch:
        """The transitions in the slots (B,)."""
        at, env = slot // self.num_envs, slot % self.num_envs
        steps = torch.arange(self.n_step, device=self.device)
        slots = (at[:, None] + steps) % self.rows * self.num_envs + env[:, None]  # (B, n)
        # A step counts while the episode goes on: no end just before it, and it is no reset.
        goes_on = self.live[slots[:, 1:]] & ~self.terminal[slots[:, :-1]]  # (B, n - 1)
        counts = torch.cat([torch.ones_like(slots[:, :1]), goes_on.cumprod(dim=1)], dim=1)  # (B, n)
        taken = counts.sum(dim=1)  # m, (B,)
        last = slots.gather(1, taken[:, None] - 1).squeeze(1)
        return Batch(
            self._states(at, env),
            self.actions[slot].long(),
            (self.rewards[slots] * self.gamma_powers[:-1] * counts).sum(dim=1),
            self._states(at + taken, env),
            self.terminal[last],
            self.gamma_powers[taken],
            weight,
            slot,
        )

    def _states(self, at: torch.Tensor, env: torch.Tensor) -> torch.Tensor:
        """The states at rows `at`: their newest frames, (B, stack, *frame), padded as the environment pads."""
        back = torch.arange(self.stack - 1, -1, -1, device=self.device)
        slots = (at[:, None] - back) % self.rows * self.num_envs + env[:, None]  # (B, stack)
        age = self.age[slots[:, -1:]]
        slots = torch.where(back > age, len(self.live), slots)  # of an earlier episode: the empty frame instead
        return self.frames.index_select(0, slots.flatten()).unflatten(0, slots.shape)

    _ARRAYS = ("actions", "rewards", "terminal", "live", "age")

    def _pieces(self) -> Pieces:
        """The frames as a checkpoint keeps them; the version of a piece is the newest row in it."""
        size = max(1, PIECE // self.num_envs)  # rows
        newest = self.count - 1
        versions = []
        for first in range(0, len(self) // self.num_envs, size):
            rows = np.arange(first, min(first + size, self.rows))
            versions.append(int((newest - (newest - rows) % self.rows).max()))
        return Pieces(self.frames[: len(self)], size * self.num_envs, versions, self._files)

    def state_dict(self) -> dict[str, Any]:
        arrays = {name: getattr(self, name)[: len(self)] for name in self._ARRAYS}
        return {
            **arrays,
            "frames": self._pieces(),
            "next_age": self._next_age,
            "count": self.count,
            "random": self.random.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name in self._ARRAYS:
            getattr(self, name)[: len(state[name])] = state[name]
        state["frames"].into(self.frames)
        self._files = dict(state["frames"].files)
        self._next_age.copy_(state["next_age"])
        self.count = state["count"]
        self._any_live = bool(self.live.any())
        self._note_whole()
        self.random.set_state(state["random"])


def _mapped(folder: Path, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """A tensor whose pages lie in a nameless file in `folder`: the system keeps in memory what is used and fits.

    Raises OSError if the disk has not the room, now and not when it is written to.
    """
    with tempfile.NamedTemporaryFile(dir=folder, prefix="replay-") as file:
        os.posix_fallocate(file.fileno(), 0, prod(shape) * dtype.itemsize)
        return torch.from_file(file.name, shared=True, size=prod(shape), dtype=dtype).view(shape)
