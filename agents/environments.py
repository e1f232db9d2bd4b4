"""The environments of a config, with what cannot be played said in one line."""

from typing import Any

import gymnasium
import torch
from gymnasium.vector import VectorEnv

import envs
from agents.config import DQNConfig
from agents.networks import QNetwork
from lab.errors import InputError, unknown

FRAME_TYPES = ("uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")


def make_envs(config: DQNConfig, num_envs: int, **options: Any) -> VectorEnv:
    """The config's environments. Raises InputError, with near matches, for an id that cannot be made or played."""
    try:
        made = envs.make(config.env, num_envs, protocol=config.protocol, stack=config.stack, **options)
    except gymnasium.error.UnregisteredEnv:
        hint = "(MODULE:ID imports your own first)"
        raise unknown("environment", envs.bare(config.env), gymnasium.registry, hint) from None
    except Exception as error:  # an environment is anybody's code
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise InputError(f"environment {config.env} cannot be used: {reason}") from error
    return made


def check_playable(config: DQNConfig) -> None:
    """Raises InputError if the config's environment has frames for which there is no network."""
    made = make_envs(config, 1)
    space = made.single_observation_space
    made.close()
    try:
        if space.dtype.name not in FRAME_TYPES:
            raise ValueError(f"frames of type {space.dtype} are not among {', '.join(FRAME_TYPES)}")
        with torch.device("meta"):
            QNetwork(space.shape, 1)
    except ValueError as error:
        raise InputError(f"environment {config.env} cannot be learned: {error}") from None
    _check_memory(config, space)


def _check_memory(config: DQNConfig, space: gymnasium.spaces.Box) -> None:
    """A replay that does not fit is said before training, not by the system that ends it."""
    from lab.device import memory_available

    frame = space.dtype.itemsize
    for side in space.shape[1:]:
        frame *= side
    needed, there = config.replay_capacity * (frame + 8), memory_available()
    if needed > there and not config.memory_map:
        raise InputError(
            f"replay_capacity={config.replay_capacity:,} takes {needed / 2**30:,.1f} GiB, and {there / 2**30:.1f} GiB "
            f"are free; give at most {there // (frame + 8):,}, or --memory-map to keep the frames on disk"
        )
