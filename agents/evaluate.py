"""Playing with a trained policy: scores by the protocol, and films."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from gymnasium.vector import VectorEnv

import envs
from agents import scores
from agents.config import DQNConfig
from agents.dqn import DQN
from agents.environments import first_seed, make_envs
from agents.finite import gives_none
from envs.atari import PROTOCOLS
from lab import checkpoint, device, stats
from lab.console import bar
from lab.errors import InputError, Notice
from lab.jsonfile import read_json
from lab.run import CONFIG

LONGEST = 27_000  # agent steps of an episode that is scored: Atari's limit of 108,000 frames
MAX_FILM = 3_000  # agent steps of a film: 200 s of Atari at 15 steps a second


def summarise(returns: np.ndarray, env_id: str) -> dict[str, float]:
    """Mean with its 95 % interval over episodes, median, IQM; for known Atari games human-normalised too."""
    low, high = stats.bootstrap(returns, np.mean)
    summary = {
        "eval/return_mean": returns.mean(), "eval/return_mean_low": low, "eval/return_mean_high": high,
        "eval/return_median": np.median(returns), "eval/return_iqm": stats.iqm(returns),
        "eval/return_min": returns.min(), "eval/return_max": returns.max(),
    }  # fmt: skip
    if known := scores.of_game(env_id):
        summary["eval/human_normalised_percent"] = stats.human_normalised(returns.mean(), *known)
    return {name: float(value) for name, value in summary.items()}


def evaluation_epsilon(config: DQNConfig) -> float:
    """The protocol's share of random actions for Atari, none elsewhere."""
    return PROTOCOLS[config.protocol].evaluation_epsilon if envs.is_atari(config.env) else 0.0


def evaluate(agent: DQN, config: DQNConfig, episodes: int, seed: int = 1_000_000) -> pd.DataFrame:
    """Play whole episodes on environments of their own, with raw rewards; one row an episode: return, length.

    seed: of the games and of random actions; another training seed plays other games by it (see first_seed).
    Each environment plays its share and its first episodes count, so that short ones are not preferred. An episode that
    has not ended after LONGEST agent steps counts as it stands, which a Notice says, and a new one begins. Raises
    InputError where rewards are not finite.
    """
    num_envs = min(episodes, 8)
    quota = np.full(num_envs, episodes // num_envs) + (np.arange(num_envs) < episodes % num_envs)
    games = make_envs(config, num_envs)
    random = torch.Generator().manual_seed(seed)
    epsilon = evaluation_epsilon(config)
    state, _ = games.reset(seed=first_seed(config.seed, seed))
    ended = np.zeros(num_envs, bool)
    total, length = np.zeros(num_envs), np.zeros(num_envs, int)
    rows: list[tuple[float, int]] = []
    cut = 0  # episodes
    with bar(f"evaluate {config.env}", episodes, "episodes") as advance:
        while quota.any():
            state, reward, terminated, truncated, _ = games.step(agent.act(state, epsilon, random))
            total += reward  # 0 where the step only reset the environment
            length += ~ended
            ended = terminated | truncated
            endless = ~ended & (length >= LONGEST)
            for i in np.flatnonzero(ended | endless):
                if quota[i]:
                    rows.append((float(total[i]), int(length[i])))
                    quota[i] -= 1
                    cut += endless[i]
                    advance()
                total[i], length[i] = 0.0, 0
            if endless.any():
                state, _ = games.reset(options={"reset_mask": endless})
    games.close()
    if cut:
        warnings.warn(
            f"{config.env}: {cut} of {episodes} episodes had not ended after {LONGEST:,} agent steps, and count as "
            "they stood; give the environment a time limit (max_episode_steps)", Notice, stacklevel=2,
        )  # fmt: skip
    played = pd.DataFrame(rows, columns=["return", "length"])
    if not np.isfinite(played["return"]).all():
        raise gives_none(config.env, "rewards")
    return played


def film(agent: DQN, config: DQNConfig, seed: int = 2_000_000) -> tuple[np.ndarray, float]:
    """Play one episode (at most MAX_FILM agent steps); its pictures (time, height, width, 3) uint8 and its return."""
    game, picture = filmed(config, seed)
    random = torch.Generator().manual_seed(seed)
    epsilon = evaluation_epsilon(config)
    state, _ = game.reset(seed=seed)
    frames, total, over = [picture(None)], 0.0, False
    while not over and len(frames) < MAX_FILM:
        action = agent.act(state, epsilon, random)
        state, reward, terminated, truncated, _ = game.step(action)
        frames.append(picture(action))
        total += float(reward[0])
        over = bool(terminated[0] or truncated[0])
    game.close()
    return np.stack(frames), total


Camera = Callable[[np.ndarray | None], np.ndarray]


def filmed(config: DQNConfig, seed: int) -> tuple[VectorEnv, Camera]:
    """One environment, to be reset with `seed`, and the camera on it: call it with None after the reset, then with
    the action of each step, for a picture (height, width, 3) uint8. Raises InputError if it draws none.
    """
    return _filmed_atari(config, seed) if envs.is_atari(config.env) else _filmed(config)


def _filmed_atari(config: DQNConfig, seed: int) -> tuple[VectorEnv, Camera]:
    """The agent's game, and a twin in colour given the same seed and actions: the emulator is deterministic."""
    game, twin = make_envs(config, 1), make_envs(config, 1, colour=True)

    def picture(action: np.ndarray | None) -> np.ndarray:
        screens = twin.reset(seed=seed)[0] if action is None else twin.step(action)[0]  # (1, 4, 210, 160, 3)
        return screens[0, -1].copy()

    return game, picture


def _filmed(config: DQNConfig) -> tuple[VectorEnv, Camera]:
    modes = make_envs(config, 1).metadata.get("render_modes", ())
    if "rgb_array" not in modes:
        raise InputError(f"environment {config.env} draws no pictures: its render_modes {modes} lack rgb_array")
    game = make_envs(config, 1, render_mode="rgb_array")
    game.reset()
    shape = _drawn(game, config.env).shape

    def picture(_: np.ndarray | None) -> np.ndarray:
        taken = _drawn(game, config.env)
        if taken.shape != shape:
            raise InputError(
                f"environment {config.env} draws pictures of several sizes, {shape} and {taken.shape}; a film needs one"
            )
        return taken

    return game, picture


def _drawn(game: VectorEnv, env: str) -> np.ndarray:
    """The picture (height, width, 3) uint8 that the environment draws now. Raises InputError if it is none."""
    try:
        picture = np.asarray(game.render()[0])
    except Exception as error:  # an environment is anybody's code
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"environment {env} draws no pictures: {reason}") from error
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or min(picture.shape) < 2:
        what = "None" if picture.dtype == object else f"{picture.shape} {picture.dtype}"
        raise InputError(
            f"environment {env} draws no pictures that can be filmed: render() gives {what}; let it give arrays "
            "(height, width, 3) uint8 of at least 2 x 2 pixels"
        )
    return picture


def load(run: str | Path, kind: type[DQN] = DQN) -> tuple[DQN, DQNConfig, int]:
    """The trained agent of the run in folder `run`, its config, and the agent step it was saved at.

    kind: that which it was trained with. Raises InputError if there is none. A damaged policy is passed over by name
    for the one before it, and at last for that of the newest checkpoint.
    """
    run = Path(run)
    if not (run / CONFIG).exists():
        raise InputError(f"{run} is not the folder of a run; lab list shows those there are")
    values = read_json(run / CONFIG)
    if not str(values.get("algorithm")).startswith("sb3-"):
        values.pop("algorithm", None)  # what a run of one's own calls itself
    try:
        config = DQNConfig(**values)
    except TypeError:
        raise InputError(f"{run} is no run of lab train dqn: {CONFIG} has other settings") from None
    if found := checkpoint.load_newest(run / "policy"):
        step, weights = found[0], found[1]["q"]
    elif found := checkpoint.load_newest(run / "checkpoints"):
        step, weights = found[0], found[1]["state"]["training"]["agent"]["q"]
    else:
        raise InputError(f"run {run} has no intact policy; train it anew with lab train dqn")
    if not all(value.isfinite().all() for value in weights.values()):
        raise InputError(f"the policy of {run} at agent step {step:,} has weights that are not finite; train it anew")
    games = make_envs(config, 1)
    where = device.choose(
        "auto" if config.device.startswith("cuda") and not torch.cuda.is_available() else config.device
    )
    agent = kind(games.single_observation_space.shape, int(games.single_action_space.n), config, where)
    games.close()
    try:
        agent.q.load_state_dict(weights)
    except RuntimeError:
        raise InputError(
            f"the policy of {run} does not fit {config.env} as {CONFIG} describes it; train it anew, or load it as the "
            "class that it was trained as"
        ) from None
    return agent, config, step
