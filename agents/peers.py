"""Stable-Baselines3's agents with our environments, our Run and our evaluation, so that curves and scores compare.

`agents.adapter` turns our environments into what Stable-Baselines3 steps, `build` a config into its model, `train` is
the run, and `Player` gives the model the face that agents.evaluate plays by. Networks are those of `lab train dqn` for
the same frames (its actor-critics on vectors keep their own). Policies are saved by lab.checkpoint, never as
Stable-Baselines3's zip, which runs code when it is loaded; there is nothing to resume from.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import stable_baselines3 as sb3
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv
from torch import nn
from torch.nn import functional

from agents import config as ours
from agents.adapter import Adapter
from agents.config import DQNConfig
from agents.environments import check_playable, first_seed, make_envs, playing
from agents.evaluate import evaluate
from agents.exploration import epsilon_greedy
from agents.finite import diverged, finite
from agents.peer_config import PeerConfig, SB3A2CConfig, SB3DQNConfig, SB3PPOConfig
from lab import checkpoint, device, plots, record
from lab.board import RECORD
from lab.console import bar, messages
from lab.digits import short
from lab.errors import InputError
from lab.interrupt import stop_wanted
from lab.jsonfile import read_json
from lab.run import CONFIG, Run

CONFIGS: dict[str, type[PeerConfig]] = {"sb3-dqn": SB3DQNConfig, "sb3-a2c": SB3A2CConfig, "sb3-ppo": SB3PPOConfig}
LOSSES = ("loss", "policy_loss", "policy_gradient_loss", "value_loss", "entropy_loss")  # each peer has some


def settings(config: PeerConfig) -> dict[str, Any]:
    """The config as a run keeps it: with the algorithm's name."""
    return {"algorithm": next(name for name, kind in CONFIGS.items() if kind is type(config)), **asdict(config)}


def played(config: PeerConfig) -> DQNConfig:
    """The config's environment and protocol, as agents.environments and agents.evaluate take them."""
    return replace(
        ours.preset(config.env), protocol=config.protocol, seed=config.seed, stack=config.stack, replay_capacity=1
    )


class SmallCNN(BaseFeaturesExtractor):
    """The layers of our network for images of some ten pixels, for which Stable-Baselines3 has none.

    (batch, stack, height, width) -> (batch, 128)
    """

    def __init__(self, observation_space: spaces.Box):
        super().__init__(observation_space, 128)
        stack, height, width = observation_space.shape
        self.layers = nn.Sequential(
            nn.Conv2d(stack, 16, 3, padding=1), nn.ReLU(),
            nn.Conv2d(16, 16, 3, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * -(-height // 2) * -(-width // 2), 128), nn.ReLU(),
        )  # fmt: skip

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        return self.layers(state)


def build(config: PeerConfig, games: VecEnv, where: torch.device) -> BaseAlgorithm:
    """The Stable-Baselines3 model that `config` describes, on its environments."""
    model = _model(config, games, where)
    games.seed(first_seed(config.seed))  # the model gave them the seed as it is
    return model


def _model(config: PeerConfig, games: VecEnv, where: torch.device) -> BaseAlgorithm:
    policy: dict[str, Any] = {"normalize_images": games.observation_space.dtype == np.uint8}
    if images := len(games.observation_space.shape) == 3:
        policy["net_arch"] = []
        if max(games.observation_space.shape[1:]) <= 32:
            policy["features_extractor_class"] = SmallCNN
    common: dict[str, Any] = {
        "policy": "CnnPolicy" if images else "MlpPolicy", "env": games, "gamma": config.gamma, "seed": config.seed,
        "device": where, "policy_kwargs": policy,
    }  # fmt: skip
    match config:
        case SB3DQNConfig():
            # It counts a step of all environments as one: `steps` such steps to every `updates` updates.
            shared = math.gcd(config.num_envs, config.train_every)
            steps, updates = config.train_every // shared, config.num_envs // shared
            if not images:
                policy["net_arch"] = [128, 128]
            return sb3.DQN(
                **common, learning_rate=_schedule(config.learning_rate, config.anneal, config.anneal_share),
                n_steps=config.n_step, buffer_size=config.replay_capacity,
                learning_starts=config.learning_starts, batch_size=config.batch_size, train_freq=steps,
                gradient_steps=updates, target_update_interval=config.target_every * config.train_every,
                exploration_fraction=config.epsilon_steps / config.total_steps,
                exploration_initial_eps=config.epsilon_start, exploration_final_eps=config.epsilon_end,
            )  # fmt: skip
        case SB3A2CConfig():
            if config.tf_rmsprop:
                policy |= {"optimizer_class": RMSpropTFLike, "optimizer_kwargs": {"eps": 1e-5}}
            return sb3.A2C(
                **common, learning_rate=_schedule(config.learning_rate, config.anneal), n_steps=config.rollout,
                gae_lambda=config.gae_lambda, ent_coef=config.entropy, vf_coef=config.value,
            )  # fmt: skip
        case SB3PPOConfig():
            return sb3.PPO(
                **common, learning_rate=_schedule(config.learning_rate, config.anneal), n_steps=config.rollout,
                batch_size=config.batch_size, n_epochs=config.epochs, gae_lambda=config.gae_lambda,
                clip_range=_schedule(config.clip_range, config.anneal), ent_coef=config.entropy, vf_coef=config.value,
            )  # fmt: skip
    raise TypeError(f"no peer has settings of type {type(config).__name__}")


def _schedule(value: float, anneal: bool, share: float = 1.0) -> float | Callable[[float], float]:
    """The value, or what it is by the share of training that is left: annealed, it falls to 0 over the last `share`."""
    return (lambda left: value * min(1.0, left / share)) if anneal else value


class Player:
    """A Stable-Baselines3 model as agents.evaluate plays by it: its best action, or by epsilon a random one."""

    def __init__(self, model: BaseAlgorithm):
        self.model = model

    def act(self, state: np.ndarray, epsilon: float = 0.0, random: torch.Generator | None = None) -> np.ndarray:
        """Actions (n,) in states (n, stack, *frame)."""
        best, _ = self.model.policy.predict(state, deterministic=True)
        values = functional.one_hot(torch.from_numpy(best), int(self.model.action_space.n))
        return epsilon_greedy(values, epsilon, random).numpy()


class Reporter(BaseCallback):
    """What a training tells its run after each step of the environments; stops it when asked to."""

    def __init__(self, config: PeerConfig, run: Run, games: Adapter, advance: Any, stopping: Any):
        super().__init__()
        self.config, self.run, self.games, self.advance, self.stopping = config, run, games, advance, stopping
        self.recent: list[float] = []  # returns of the last 100 episodes
        self.updates = 0  # gradient steps
        self.began = time.perf_counter()

    def _on_training_start(self) -> None:
        self.model.policy.optimizer.register_step_post_hook(self._count)
        self.began = time.perf_counter()

    def _count(self, *_: Any) -> None:
        self.updates += 1

    def steps_per_second(self) -> float:
        return self.games.step_count / (time.perf_counter() - self.began)

    def _on_step(self) -> bool:
        step, every = self.games.step_count, self.config.log_every
        for at, episode_return, length in self.games.episodes:
            self.run.scalars({"train/episode_return": episode_return, "train/episode_length": length}, at)
            self.recent = [*self.recent[-99:], episode_return]
        if step // every > (step - self.games.num_envs) // every:
            curves = self._curves()
            self.run.scalars({**curves, "time/steps_per_second": self.steps_per_second()}, step)
            self.check_finite(curves)
        self.advance(self.games.num_envs, note=f"return {np.mean(self.recent):.2f}" if self.recent else "")
        return not self.stopping()

    def check_finite(self, curves: dict[str, float] | None = None) -> None:
        """Raises InputError if a loss among the curves, or a weight, is not finite."""
        lost = [tag for tag, value in (curves or {}).items() if "loss" in tag and not math.isfinite(value)]
        if lost:
            raise diverged(self.games.step_count, f"{lost[0]} is {(curves or {})[lost[0]]}")
        if not finite(self.model.policy.state_dict().values()):
            raise diverged(self.games.step_count, "weights are not finite")

    def _curves(self) -> dict[str, float]:
        known = self.model.logger.name_to_value
        values = {f"train/{loss}": known[f"train/{loss}"] for loss in LOSSES if f"train/{loss}" in known}
        values["train/updates"] = self.updates
        values["train/value"] = self._value()
        if isinstance(self.model, sb3.DQN):
            values["train/epsilon"] = self.model.exploration_rate
        if self.recent:
            values["train/return_last_100"] = float(np.mean(self.recent))
        return values

    @torch.no_grad()
    def _value(self) -> float:
        """Mean value of the environments' present states: max_a Q of DQN, V of an actor-critic."""
        state = obs_as_tensor(self.locals["new_obs"], self.model.device)
        if isinstance(self.model, sb3.DQN):
            return float(self.model.q_net(state).amax(dim=1).mean())
        return float(self.model.policy.predict_values(state).mean())


def check(config: PeerConfig) -> None:
    """Raises InputError for a setting that cannot work, or an environment that cannot be played."""
    positive = (
        "total_steps", "num_envs", "stack", "replay_capacity", "batch_size", "learning_rate", "learning_starts",
        "train_every", "target_every", "epsilon_steps", "n_step", "anneal_share", "rollout", "epochs", "clip_range",
        "eval_episodes", "log_every",
    )  # fmt: skip
    between = ("gamma", "epsilon_start", "epsilon_end", "anneal_share", "gae_lambda")
    for name, value in asdict(config).items():
        if name in positive and not 0 < value < math.inf:
            raise InputError(f"{name} must be above 0, not {value}")
        if name in between and not 0 <= value <= 1:
            raise InputError(f"{name} must lie in [0, 1], not {value}")
        if name in ("entropy", "value") and not 0 <= value < math.inf:
            raise InputError(f"{name} must be at least 0, not {value}")
    for name, most in (("seed", 2**30), ("threads", 1024), ("stack", 255), ("num_envs", 4096), ("learning_rate", 1e30)):
        if not 0 <= getattr(config, name) <= most:
            raise InputError(f"{name} must lie in 0 .. {most}, not {getattr(config, name)}")
    device.choose(config.device)
    check_playable(played(config))
    games = make_envs(played(config), 1)
    space = games.single_observation_space
    games.close()
    if len(space.shape) == 3 and space.shape[0] > min(space.shape[1:]):
        raise InputError(f"stack={config.stack} is more than the sides of a frame, {space.shape[1:]}; give fewer")
    state = space.dtype.itemsize * math.prod(space.shape)  # bytes
    if isinstance(config, SB3DQNConfig) and not config.anneal and config.anneal_share != SB3DQNConfig.anneal_share:
        raise InputError(f"anneal_share={config.anneal_share} has no effect without --anneal; leave it out")
    if isinstance(config, SB3DQNConfig):
        _check_memory("replay_capacity", config.replay_capacity, 2 * state)
    if isinstance(config, SB3A2CConfig | SB3PPOConfig):  # a rollout, and its copy in another order
        _check_memory("rollout", config.rollout, 2 * config.num_envs * (state + 32))
    if isinstance(config, SB3PPOConfig) and config.batch_size < 2:
        raise InputError("batch_size must be at least 2, as PPO divides by the minibatch's deviation; it is 1")
    if isinstance(config, SB3PPOConfig) and config.rollout * config.num_envs % config.batch_size:
        raise InputError(
            f"batch_size={config.batch_size} does not divide the {config.rollout * config.num_envs} transitions of a "
            f"rollout ({config.rollout} steps of {config.num_envs} environments); give one that does"
        )


def _check_memory(name: str, value: int, each: int) -> None:
    """What does not fit is said before training, not by its end. each: bytes per unit of the setting."""
    needed, there = value * each, device.memory_available()
    if needed > there:
        raise InputError(
            f"{name}={value:,} takes {needed / 2**30:,.1f} GiB, and {there / 2**30:.1f} GiB are free; "
            f"give at most {there // each:,}"
        )


def train(config: PeerConfig, run: Run) -> dict[str, float] | None:
    """Train by `config`, reporting to `run` as agents.train does; returns the metrics that it finished with.

    None when Ctrl-C stopped it, after saving the policy.
    """
    check(config)
    with device.threads(config.threads), playing(played(config)):
        return _train(config, run)


def _train(config: PeerConfig, run: Run) -> dict[str, float] | None:
    games = Adapter(make_envs(played(config), config.num_envs), config.clip_rewards, config.env)
    model = build(config, games, device.choose(config.device))
    model.set_logger(Logger(folder=None, output_formats=[]))  # its own would write to a folder of its own
    with bar(config.env, config.total_steps, "steps") as advance, stop_wanted() as stopping:
        reporter = Reporter(config, run, games, advance, stopping)
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # its statistics of what diverged, which is said below
                model.learn(config.total_steps, callback=reporter, log_interval=None)
        except ValueError as error:
            if "Expected parameter logits" not in str(error):
                raise
            # torch's distribution refuses what the policy says of the actions
            raise diverged(games.step_count, "the policy's numbers are not finite") from error
        reporter.check_finite()
        stopped = stopping()
    steps_per_second = reporter.steps_per_second()
    games.close()
    checkpoint.save(run.path / "policy", games.step_count, {"policy": model.policy.state_dict()})
    if stopped:
        messages.print(
            f"stopped at agent step {games.step_count:,}; the policy is kept, but a peer's training cannot be resumed",
            soft_wrap=True,
        )
        return None
    player: Any = Player(model)
    scores = evaluate(player, played(config), config.eval_episodes)
    run.table("evaluation", scores)
    returns = scores["return"].to_numpy()
    metrics = {
        "eval/return_mean": returns.mean(),
        "eval/return_std": returns.std(),
        "train/return_last_100": np.mean(reporter.recent) if reporter.recent else np.nan,
        "time/steps_per_second": steps_per_second,
    }
    points = [e for e in record.read(run.path / RECORD) if e.get("tag") == "train/return_last_100"]
    score = short(returns.mean(), 3)
    title = f"{type(model).__name__} of SB3 on {config.env}: return {score} after {games.step_count:,} steps"
    run.figure(
        "train/learning_curve",
        plots.learning_curve(
            [e["step"] for e in points], [e["value"] for e in points], title, "return, mean of the last 100 episodes"
        ),
    )
    run.finish(metrics, steps=games.step_count, updates=reporter.updates, episodes=config.eval_episodes)
    return metrics


def load(run: str | Path) -> tuple[Player, PeerConfig, int]:
    """The trained peer of the run in folder `run`, its config, and the agent step it was saved at.

    Raises InputError if there is none.
    """
    run = Path(run)
    values = read_json(run / CONFIG)
    algorithm = str(values.pop("algorithm", ""))
    kind = CONFIGS.get(algorithm)
    found = checkpoint.load_newest(run / "policy")
    if kind is None or found is None:
        raise InputError(f"{run} is no run of lab train {' | '.join(CONFIGS)} with an intact policy")
    try:
        config = kind(**values)
    except TypeError:
        raise InputError(f"{run} is no run of lab train {algorithm}: {CONFIG} has other settings") from None
    weights = found[1].get("policy", {})
    if not finite(weights.values()):
        raise InputError(
            f"the policy of {run} at agent step {found[0]:,} has weights that are not finite; train it anew"
        )
    games = Adapter(make_envs(played(config), config.num_envs))
    nothing_kept = replace(config, replay_capacity=1) if isinstance(config, SB3DQNConfig) else config
    model = build(nothing_kept, games, torch.device("cpu"))
    games.close()
    try:
        model.policy.load_state_dict(weights)
    except RuntimeError:
        raise InputError(
            f"the policy of {run} does not fit {config.env} as {CONFIG} describes it; train it anew"
        ) from None
    return Player(model), config, found[0]
