"""The environments of a config, with wrong ids said in one line."""

from typing import Any

import gymnasium
from gymnasium.vector import VectorEnv

import envs
from agents.config import DQNConfig
from lab.errors import InputError, unknown


def make_envs(config: DQNConfig, num_envs: int, **options: Any) -> VectorEnv:
    """The config's environments. Raises InputError, with near matches, for an id that cannot be made or played."""
    try:
        return envs.make(config.env, num_envs, protocol=config.protocol, stack=config.stack, **options)
    except gymnasium.error.UnregisteredEnv:
        name = config.env.rpartition(":")[2]
        raise unknown("environment", name, gymnasium.registry, "(MODULE:ID imports your own first)") from None
    except (gymnasium.error.Error, ValueError, ImportError) as error:
        raise InputError(f"environment {config.env} cannot be used: {str(error).splitlines()[0]}") from None
