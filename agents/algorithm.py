"""Deep Q-learning with experience replay: the lecture's Algorithm 1 (Mnih et al., 2015), readable top to bottom.

`Training` is the algorithm's loop around the agent of agents.dqn; agents.train reports about it. Where this differs
from the algorithm as printed: several environments are stepped side by side, an update follows every `train_every`
agent steps and is computed while the emulator works, epsilon is annealed, the error is clipped (Huber), and a time
limit, on which Algorithm 1 is silent, bootstraps.
"""

import os
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from agents.ahead import Ahead
from agents.capture import Captured
from agents.config import DQNConfig
from agents.dqn import DQN, Studied
from agents.environments import first_seed, make_envs
from agents.exploration import linear_epsilon, spread
from agents.helper import Helper, breathe
from agents.prioritised import PrioritisedReplay
from agents.replay import Replay
from agents.trunk import tiles
from envs import is_atari
from envs.vector import Elsewhere
from lab import device
from lab.errors import Notice


def _replay(
    config: DQNConfig, shape: tuple[int, ...], frame_type: torch.dtype, where: torch.device, folder: Path | None
) -> Replay:
    size = (config.replay_capacity, config.num_envs, shape[1:], frame_type)
    options = {
        "stack": shape[0], "seed": config.seed, "gamma": config.gamma, "n_step": config.n_step, "device": where,
        "folder": folder if config.memory_map else None,
    }  # fmt: skip
    if not config.priority_alpha:
        return Replay(*size, **options)
    updates = max(1, (config.total_steps - config.learning_starts) // config.train_every)
    return PrioritisedReplay(
        *size, **options, alpha=config.priority_alpha, beta=config.priority_beta, anneal=updates
    )  # fmt: skip


def has_second_thread(config: DQNConfig, where: torch.device, threads: int) -> bool:
    """Whether minibatches are made ready beside the gradient steps, with torch at `threads`.

    On a CPU with a core to spare, for work that is worth it, and where nothing about a minibatch follows from Q's last
    step (noise does).
    """
    spare = where.type == "cpu" and threads < device.cores()
    return spare and is_atari(config.env) and not config.noisy


def _emulator_threads() -> dict[str, int]:
    """How the emulator keeps out of the learner's way where a single core is left for all else: one thread, on the
    last core. Of its own accord it has a thread a core, which break in on the learner's."""
    if device.cores() - torch.get_num_threads() > 1 or not hasattr(os, "sched_getaffinity"):
        return {}
    return {"num_threads": 1, "core": max(os.sched_getaffinity(0))}


class Tick(NamedTuple):
    """What one vector step brought."""

    epsilon: float
    episodes: list[tuple[int, float, int]]
    """(agent step, return, length) of each episode that ended: raw rewards, length in agent steps."""


class Outcome(NamedTuple):
    """What the environments answered."""

    state: np.ndarray
    reward: np.ndarray
    ended: np.ndarray


class Training:
    """Algorithm 1 and all that changes while it runs; `state_dict` holds every bit of it."""

    def __init__(self, config: DQNConfig, where: torch.device, folder: Path | None = None, kind: type[DQN] = DQN):
        """folder: where a memory-mapped replay lies; kind: of the agent, DQN or a class of your own over it."""
        self.config = config
        beside = has_second_thread(config, where, torch.get_num_threads())
        self.envs = make_envs(config, config.num_envs, **_emulator_threads() if beside else {})
        shape = self.envs.single_observation_space.shape
        frame_type = torch.from_numpy(np.empty(0, self.envs.single_observation_space.dtype)).dtype
        self.agent = kind(shape, int(self.envs.single_action_space.n), config, where)
        self.tiled = self.agent.trunk is not None and frame_type == torch.uint8  # how the replay keeps its frames
        kept = tiles(torch.empty(shape)).shape if self.tiled else shape
        self.replay = _replay(config, tuple(kept), frame_type, where, folder)
        self.spread = spread(config.num_envs, config.epsilon_spread)
        self._explore, self._learn = self.agent.explore, self._update
        # (slots, errors) of the newest vector step's minibatches, for their priorities
        self.errors: list[tuple[torch.Tensor, torch.Tensor]] = []
        if where.type == "cuda":
            generators = (self.agent.random, self.replay.random)
            self._explore, self._learn = (Captured(f, where, generators) for f in (self._explore, self._learn))
        helper = Helper() if beside else None
        self.ahead: Ahead[Studied, Outcome] = Ahead(self._study, self.replay, helper)
        if helper and self.agent.trunk:
            self.agent.share(helper)
        self.step = 0  # agent steps taken, over all environments
        self.updates = 0
        self.loss = torch.tensor(torch.nan)  # of the newest update, left on its device
        self.state, _ = self.envs.reset(seed=first_seed(config.seed))
        self.ended = np.zeros(config.num_envs, bool)  # environments whose next step only resets them
        self.episode_return = np.zeros(config.num_envs)
        self.episode_length = np.zeros(config.num_envs, int)

    def __iter__(self) -> Iterator[Tick]:
        """Algorithm 1, one vector step at a time, until `total_steps`."""
        config = self.config
        while self.step < config.total_steps:
            if soon := self.ahead.soon():  # Q is asked about it while it also chooses the actions
                self.agent.foresee(soon)
            # With probability epsilon select a random action a_t, otherwise argmax_a Q(phi(s_t), a)
            epsilon = linear_epsilon(self.step, config.epsilon_start, config.epsilon_end, config.epsilon_steps)
            action = self._explore(torch.from_numpy(self.state), epsilon**self.spread).numpy(force=True)
            # Execute a_t in the emulator ...
            self.envs.send(action)
            live = ~self.ended
            self.step += int(live.sum())
            due = self._due(self.step, self.updates)
            # ... observe the reward r_t and the image x_{t+1}; store the transition (phi_t, a_t, r_t, phi_{t+1}) in D
            observe = partial(self._observe, action, live, self.errors)
            self.errors = []
            self.ahead.begin(due, observe, partial(self._after, self.step, self.updates + due))
            # and while it works, sample minibatches of transitions from D and perform gradient steps
            for _ in range(due):
                if config.anneal:
                    left = max(0.0, 1 - self.step / config.total_steps)
                    self.agent.step_size = config.learning_rate * min(1.0, left / config.anneal_share)
                self.loss = self._learn()
                self.updates += 1
                if self.updates % config.target_every == 0:  # every C steps reset Q^ = Q
                    self.ahead.alone(self.agent.sync)
            self.state, reward, self.ended = self.ahead.finish()
            self.agent.settle()
            yield Tick(epsilon, self._count(reward, live))

    def _due(self, step: int, done: int) -> int:
        """Updates that are due after `step` agent steps when so many are done."""
        return max(0, (step - self.config.learning_starts) // self.config.train_every - done)

    def _observe(
        self, action: np.ndarray, live: np.ndarray, errors: list[tuple[torch.Tensor, torch.Tensor]]
    ) -> Outcome:
        """Wait for what came of the actions, and remember it, and the errors of the vector step before."""
        next_state, reward, terminated, truncated, info = self.envs.recv()
        for slot, error in errors:
            assert isinstance(self.replay, PrioritisedReplay)
            self.replay.prioritise(slot, error)
        learned = np.sign(reward) if self.config.clip_rewards else reward
        newest = torch.from_numpy(self.state[:, -1])
        self.replay.add(tiles(newest) if self.tiled else newest, action, learned, terminated | info["life_lost"], live)
        return Outcome(next_state, reward, terminated | truncated)

    def _after(self, step: int, done: int, outcome: Outcome) -> int:
        """Updates that are due in the vector step after `outcome`: to agent step `step`, when so many are done."""
        return self._due(step + int((~outcome.ended).sum()), done)

    def _study(self) -> Studied:
        batch = self.replay.sample(self.config.batch_size)
        breathe()
        return self.agent.study(batch)

    def _update(self) -> torch.Tensor:
        """Perform a gradient step on a minibatch; returns the loss."""
        studied = self.ahead.take()
        loss, error = self.agent.update(studied)
        if isinstance(self.replay, PrioritisedReplay):
            if error.is_cuda:  # in one graph with the draw
                self.replay.prioritise(studied.batch.slot, error)
            else:
                self.errors.append((studied.batch.slot, error))
        return loss

    def _count(self, reward: np.ndarray, live: np.ndarray) -> list[tuple[int, float, int]]:
        """Add raw rewards up; the episodes that this vector step ended, each at an agent step of its own."""
        self.episode_return += reward
        self.episode_length += live
        at = self.step - int(live.sum()) + np.cumsum(live)
        over = np.flatnonzero(self.ended)
        episodes = [(int(at[i]), float(self.episode_return[i]), int(self.episode_length[i])) for i in over]
        self.episode_return[over] = 0
        self.episode_length[over] = 0
        return episodes

    def state_dict(self) -> dict[str, Any]:
        self.ahead.drop()
        return {
            "agent": self.agent.state_dict(),
            "replay": self.replay.state_dict(),
            "step": self.step,
            "updates": self.updates,
            "loss": self.loss,
            "errors": self.errors,
            "envs": self.envs.snapshot(),
            "ended": self.ended,
            "episode_return": self.episode_return,
            "episode_length": self.episode_length,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.ahead.drop()
        self.agent.load_state_dict(state["agent"])
        self.replay.load_state_dict(state["replay"])
        self.step, self.updates, self.loss = state["step"], state["updates"], state["loss"]
        self.errors = state.get("errors", [])  # older checkpoints have none: their replay knew them at once
        try:
            if state["envs"] is None:
                raise Elsewhere("sticky actions are chance that cannot be brought about again")
            self.state = self.envs.restore(state["envs"])
        except Elsewhere as reason:  # new games, and no transition into them
            warnings.warn(
                f"{self.config.env} cannot be put back where it was ({' '.join(str(reason).split())}): new games begin",
                Notice, stacklevel=2,
            )  # fmt: skip
            self.replay.cut()
            self.state, _ = self.envs.reset(seed=first_seed(self.config.seed + self.step))
            return
        self.ended = state["ended"]
        self.episode_return, self.episode_length = state["episode_return"], state["episode_length"]
