"""What the DQN experiments share: small tasks, settings by which they are learned in seconds, training and scores."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch

import envs  # noqa: F401  (registers the environments)
from agents import evaluate
from agents.algorithm import Training
from agents.config import DQNConfig, preset
from agents.dqn import DQN
from agents.environments import make_envs
from agents.replay import Replay
from lab.errors import InputError

TRAINED = Path(__file__).parents[3] / "results" / "atari"  # in a checkout: policies that took their time
CATCH, CARTPOLE = "lab/Catch-v0", "CartPole-v1"
# An update is dearer than a step, so steps are taken eight at a time and every fourth is followed by an update.
_QUICK: dict[str, Any] = {
    "num_envs": 8, "train_every": 4, "learning_starts": 200, "learning_rate": 2e-3, "target_every": 50,
    "epsilon_steps": 2000, "epsilon_end": 0.05, "stack": 1, "gamma": 0.99, "n_step": 1, "anneal": False,
}  # fmt: skip
_OF = {CARTPOLE: {"batch_size": 64, "learning_rate": 1e-3, "learning_starts": 500, "epsilon_steps": 3000}}


def variant(env_id: str, **options: Any) -> str:
    """The id of an environment of ours with other arguments, registered if new: lab/Chain-length16-v0, say."""
    name = env_id.removesuffix("-v0") + "".join(f"-{key}{value}" for key, value in options.items()) + "-v0"
    if name not in gymnasium.registry:
        spec = gymnasium.spec(env_id)
        gymnasium.register(name, spec.entry_point, kwargs={**spec.kwargs, **options})
    return name


def settings(env: str, steps: int, seed: int, **changes: Any) -> DQNConfig:
    """Settings of a run of `steps` agent steps on a small task."""
    return replace(preset(env), **{"total_steps": steps, "seed": seed, **_QUICK, **_OF.get(env, {}), **changes})


@dataclass(frozen=True)
class Learned:
    """A finished training."""

    training: Training
    episodes: np.ndarray
    """(episodes, 2): the agent step at which each ended, and its return."""

    @property
    def agent(self) -> DQN:
        return self.training.agent

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        return curve(self.episodes, self.training.config.total_steps)


def curve(episodes: np.ndarray, steps: int, points: int = 40, last: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Agent steps (points,), and the mean return of the `last` episodes ended by each (points,).

    episodes: (n, 2), the agent step at which each ended, and its return. NaN before there are so many: the short ones
    end first.
    """
    at = np.linspace(0, steps, points + 1)[1:]
    ended = np.searchsorted(episodes[:, 0], at, side="right")
    return at, np.array([episodes[n - last : n, 1].mean() if n >= last else np.nan for n in ended])


def learn(
    config: DQNConfig, replay: Callable[[Training], Replay] | None = None,
    watch: Callable[[Training], None] | None = None,
) -> Learned:  # fmt: skip
    """Train by Algorithm 1 (agents.algorithm) on the CPU.

    replay: makes another memory in place of the usual one; watch: is called after every vector step.
    """
    training = Training(config, torch.device("cpu"))
    if replay:
        training.replay = replay(training)
    episodes: list[tuple[int, float]] = []
    for tick in training:
        episodes += [(step, total) for step, total, _ in tick.episodes]
        if watch:
            watch(training)
    training.envs.close()
    return Learned(training, np.array(episodes, float).reshape(-1, 2))


@dataclass(frozen=True)
class Games:
    """Games of a learned policy, without exploration."""

    returns: np.ndarray
    """(games,)"""
    value: np.ndarray
    """(states,) max_a Q(s, a) of every state that a step was taken from, game after game."""
    earned: np.ndarray
    """(states,) the discounted return that followed; where time ran out, max_a Q of the last state is its rest."""


def games(agent: DQN, config: DQNConfig, number: int, seed: int = 1_000_000) -> Games:
    """Play `number` whole games side by side, with seeds that no training has."""
    made = make_envs(config, number)
    state, _ = made.reset(seed=seed)
    values, rewards, on = [], [], np.ones(number, bool)
    last, length = np.zeros(number), np.zeros(number, int)
    while on.any():
        with torch.no_grad():
            q = agent.values(agent.q, torch.from_numpy(state)).numpy()
        state, reward, terminated, truncated, _ = made.step(q.argmax(axis=1))
        values.append(q.max(axis=1))
        rewards.append(np.where(on, reward, 0.0))
        length += on
        out = on & truncated & ~terminated
        if out.any():
            with torch.no_grad():
                last[out] = agent.values(agent.q, torch.from_numpy(state)).numpy().max(axis=1)[out]
        on = on & ~(terminated | truncated)
    made.close()
    value, reward = np.stack(values), np.stack(rewards)  # (steps, games)
    earned = np.zeros_like(reward)
    for t in reversed(range(len(reward))):
        following = earned[t + 1] if t + 1 < len(reward) else np.zeros(number)
        earned[t] = reward[t] + config.gamma * np.where(length == t + 1, last, following)
    seen = np.arange(len(reward))[:, None] < length
    return Games(reward.sum(axis=0), value.T[seen.T], earned.T[seen.T])


def trained(name: str = "pong") -> tuple[DQN, DQNConfig, int]:
    """A trained Atari agent of results/atari, its settings and the agent step it was saved at.

    Raises InputError where there is none, as outside a checkout.
    """
    if not (TRAINED / name).exists():
        raise InputError(f"there is no trained agent in {TRAINED / name}; it comes with a checkout of the project")
    return evaluate.load(TRAINED / name)
