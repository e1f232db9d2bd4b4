"""Deep Q-learning with experience replay: the lecture's Algorithm 1 (Mnih et al., 2015), readable top to bottom.

`DQN` is the agent (Q, the target network Q^ and the gradient step), `Training` the algorithm's two loops, `train` what
is reported about them. Where this differs from the algorithm as printed: several environments are stepped side by side,
an update follows every `train_every` agent steps, epsilon is annealed, the error is clipped (Huber), and a time limit,
on which Algorithm 1 is silent, bootstraps.
"""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import nn
from torch.nn import functional

from agents.config import DQNConfig
from agents.environments import make_envs
from agents.evaluate import evaluate
from agents.exploration import epsilon_greedy, linear_epsilon
from agents.networks import q_network
from agents.replay import Batch, Replay
from agents.targets import td_target
from lab import checkpoint, device, plots, record
from lab.board import RECORD
from lab.console import bar, messages
from lab.errors import InputError
from lab.interrupt import stop_wanted
from lab.run import Run

METRICS = ("eval/return_mean", "eval/return_std", "train/return_last_100")


class DQN:
    """The action-value network Q, its target Q^, and the step that moves Q towards the targets."""

    def __init__(self, shape: tuple[int, ...], actions: int, config: DQNConfig, where: torch.device):
        """shape: of a state, (stack, *frame); actions: their number. Initialise Q with random weights and Q^ = Q."""
        self.config, self.actions, self.device = config, actions, where
        torch.manual_seed(config.seed)
        self.q = q_network(shape, actions).to(where)
        self.target = q_network(shape, actions).to(where)
        self.sync()
        self.optimizer = torch.optim.Adam(self.q.parameters(), lr=config.learning_rate, eps=1.5e-4, fused=True)
        self.bfloat16 = device.bfloat16(config.precision, where)

    def values(self, network: nn.Module, state: torch.Tensor) -> torch.Tensor:
        """Action values (n, actions) of states (n, stack, *frame): pixels taken to [0, 1], other frames as they are."""
        scaled = state.float() / 255 if state.dtype == torch.uint8 else state.float()
        if scaled.ndim == 4:  # images: channels last is the order in which convolutions are fast
            scaled = scaled.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            return network(scaled).float()

    @torch.no_grad()
    def act(self, state: np.ndarray, epsilon: float, random: np.random.Generator) -> np.ndarray:
        """a_t for states (n, stack, *frame): random with probability epsilon, else argmax_a Q(phi(s_t), a)."""
        values = self.values(self.q, torch.as_tensor(state, device=self.device))
        return epsilon_greedy(values.argmax(dim=1).cpu().numpy(), self.actions, epsilon, random)

    def update(self, batch: Batch) -> torch.Tensor:
        """One gradient step on (y_j - Q(phi_j, a_j))^2 with respect to Q's weights only; returns the loss."""
        with torch.no_grad():
            next_values = self.values(self.target, batch.next_state)
            y = td_target(batch.reward, batch.terminal, next_values, self.config.gamma)
        q = self.values(self.q, batch.state).gather(1, batch.action[:, None]).squeeze(1)
        loss = functional.huber_loss(q, y) if self.config.loss == "huber" else functional.mse_loss(q, y)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def sync(self) -> None:
        """Reset Q^ = Q."""
        self.target.load_state_dict(self.q.state_dict())

    def _parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        return {"q": self.q, "target": self.target, "optimizer": self.optimizer}

    def state_dict(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, part in self._parts().items():
            part.load_state_dict(state[name])


class Tick(NamedTuple):
    """What one vector step brought."""

    epsilon: float
    loss: torch.Tensor | None
    """Loss of the newest update, left on its device."""
    episodes: list[tuple[int, float, int]]
    """(agent step, return, length) of each episode that ended: raw rewards, length in agent steps."""


class Training:
    """Algorithm 1 and all that changes while it runs; `state_dict` holds every bit of it."""

    def __init__(self, config: DQNConfig, where: torch.device):
        self.config = config
        self.envs = make_envs(config, config.num_envs)
        shape = self.envs.single_observation_space.shape
        frame_type = torch.from_numpy(np.empty(0, self.envs.single_observation_space.dtype)).dtype
        self.replay = Replay(
            config.replay_capacity, config.num_envs, shape[1:], frame_type,
            stack=shape[0], seed=config.seed, device=where,
        )  # fmt: skip
        self.agent = DQN(shape, int(self.envs.single_action_space.n), config, where)
        self.random = np.random.default_rng(config.seed)
        self.step = 0  # agent steps taken, over all environments
        self.updates = 0
        self.state, _ = self.envs.reset(seed=config.seed)
        self.ended = np.zeros(config.num_envs, bool)  # environments whose next step only resets them
        self.episode_return = np.zeros(config.num_envs)
        self.episode_length = np.zeros(config.num_envs, int)

    def __iter__(self) -> Iterator[Tick]:
        """Algorithm 1, one vector step at a time, until `total_steps`."""
        config = self.config
        loss = None
        while self.step < config.total_steps:
            # With probability epsilon select a random action a_t, otherwise argmax_a Q(phi(s_t), a)
            epsilon = linear_epsilon(self.step, config.epsilon_start, config.epsilon_end, config.epsilon_steps)
            action = self.agent.act(self.state, epsilon, self.random)
            # Execute a_t in the emulator and observe the reward r_t and the image x_{t+1}
            next_state, reward, terminated, truncated, info = self.envs.step(action)
            # Store the transition (phi_t, a_t, r_t, phi_{t+1}) in D
            live = ~self.ended
            learned = np.sign(reward) if config.clip_rewards else reward
            self.replay.add(self.state[:, -1], action, learned, terminated | info["life_lost"], live)
            self.state, self.ended = next_state, terminated | truncated
            self.step += int(live.sum())
            # Sample a minibatch of transitions from D and perform a gradient step; every C steps reset Q^ = Q
            while self.updates < (self.step - config.learning_starts) // config.train_every:
                loss = self.agent.update(self.replay.sample(config.batch_size))
                self.updates += 1
                if self.updates % config.target_every == 0:
                    self.agent.sync()
            yield Tick(epsilon, loss, self._count(reward, live))

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
        exact = hasattr(self.envs, "snapshot")
        return {
            "agent": self.agent.state_dict(),
            "replay": self.replay.state_dict(),
            "random": self.random.bit_generator.state,
            "step": self.step,
            "updates": self.updates,
            "envs": self.envs.snapshot() if exact else None,
            "ended": self.ended,
            "episode_return": self.episode_return,
            "episode_length": self.episode_length,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.agent.load_state_dict(state["agent"])
        self.replay.load_state_dict(state["replay"])
        self.random.bit_generator.state = state["random"]
        self.step, self.updates = state["step"], state["updates"]
        if state["envs"] is None:  # the emulator cannot be put back: new games, and no transition into them
            self.replay.cut()
            self.state, _ = self.envs.reset(seed=self.config.seed + self.step)
            return
        self.state = self.envs.restore(state["envs"])
        self.ended = state["ended"]
        self.episode_return, self.episode_length = state["episode_return"], state["episode_length"]


def check(config: DQNConfig) -> None:
    """Raises InputError for a setting that cannot work."""
    positive = (
        "total_steps", "num_envs", "stack", "replay_capacity", "batch_size", "learning_rate", "train_every",
        "target_every", "epsilon_steps", "eval_episodes", "log_every", "checkpoint_every",
    )  # fmt: skip
    for name in positive:
        if getattr(config, name) <= 0:
            raise InputError(f"{name} must be above 0, not {getattr(config, name)}")
    for name in ("gamma", "epsilon_start", "epsilon_end"):
        if not 0 <= getattr(config, name) <= 1:
            raise InputError(f"{name} must lie in [0, 1], not {getattr(config, name)}")
    if config.learning_starts < 2 * config.num_envs:
        raise InputError(f"learning_starts={config.learning_starts} is too few for {config.num_envs} environments; "
                         f"give at least {2 * config.num_envs}")  # fmt: skip
    if config.replay_capacity < config.num_envs * (config.stack + 2):
        raise InputError(f"replay_capacity={config.replay_capacity} is too small for {config.num_envs} environments")


def train(config: DQNConfig, run: Run) -> dict[str, float] | None:
    """Train by `config`, reporting to `run` and resuming what it restored; returns the metrics that it finished with.

    None when Ctrl-C stopped it, after a checkpoint.
    """
    check(config)
    training = Training(config, device.choose(config.device))
    recent: list[float] = []  # returns of the last 100 episodes
    if run.restored:
        _, saved = run.restored
        training.load_state_dict(saved["training"])
        recent = saved["recent"]

    began, first_step = time.perf_counter(), training.step
    with bar(config.env, config.total_steps, "steps", start=first_step) as advance, stop_wanted() as stopping:
        before = training.step
        for tick in training:
            step = training.step
            for at, episode_return, length in tick.episodes:
                run.scalars({"train/episode_return": episode_return, "train/episode_length": length}, at)
                recent = [*recent[-99:], episode_return]
            if step // config.log_every > before // config.log_every:
                run.scalars(_curves(training, tick, recent), step)
                run.scalar("time/steps_per_second", (step - first_step) / (time.perf_counter() - began), step)
            if step // config.checkpoint_every > before // config.checkpoint_every or stopping():
                _save(run, training, recent)
            if stopping():
                messages.print(f"stopped at agent step {step:,}; the same command with --resume goes on from there")
                return None
            advance(step - before, note=f"return {np.mean(recent):.2f}" if recent else "")
            before = step
    _save(run, training, recent)

    scores = evaluate(training.agent, config, config.eval_episodes)
    run.table("evaluation", scores)
    returns = scores["return"].to_numpy()
    metrics = {
        "eval/return_mean": returns.mean(),
        "eval/return_std": returns.std(),
        "train/return_last_100": np.mean(recent) if recent else np.nan,
        "time/steps_per_second": (training.step - first_step) / (time.perf_counter() - began),
    }
    run.figure("train/learning_curve", _figure(run, config, metrics["eval/return_mean"]))
    run.finish(metrics, steps=training.step, updates=training.updates, episodes=config.eval_episodes)
    return metrics


def _save(run: Run, training: Training, recent: list[float]) -> None:
    """A checkpoint to resume from, and beside it, small and by itself, the policy to evaluate and watch."""
    run.checkpoint(training.step, {"training": training.state_dict(), "recent": recent})
    checkpoint.save(run.path / "policy", training.step, {"q": training.agent.q.state_dict()}, keep=1)


def _figure(run: Run, config: DQNConfig, score: float) -> Figure:
    """The learning curve, with the target network's syncs where they are few enough to be seen."""
    points = [e for e in record.read(run.path / RECORD) if e.get("tag") == "train/return_last_100"]
    last = config.learning_starts + config.train_every * config.target_every * 100
    period = config.train_every * config.target_every
    syncs = range(config.learning_starts + period, config.total_steps, period) if config.total_steps < last else ()
    title = f"DQN on {config.env}: return {score:.3g} after {config.total_steps:,} agent steps"
    steps, values = [e["step"] for e in points], [e["value"] for e in points]
    return plots.learning_curve(steps, values, title, "return, mean of the last 100 episodes", list(syncs))


def _curves(training: Training, tick: Tick, recent: list[float]) -> dict[str, float]:
    values = {"train/epsilon": tick.epsilon, "train/updates": training.updates}
    if tick.loss is not None:
        values["train/loss"] = float(tick.loss)
    if recent:
        values["train/return_last_100"] = float(np.mean(recent))
    return values
