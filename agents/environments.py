"""The environments of a config, with what cannot be played said in one line."""

import shutil
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import VectorEnv

import envs
from agents.config import DQNConfig
from agents.finite import gives_none
from agents.networks import QNetwork
from envs.vector import Broken
from lab.errors import InputError, unknown

STRIDE = 4096  # more than environments are ever stepped side by side
FRAME_TYPES = ("uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")


def first_seed(seed: int, base: int = 0) -> int:
    """What to reset environments with so that those of another seed play other games: base, for seed 0.

    Gymnasium's and ALE's vector environments give environment i this plus i; with seeds next to each other all of
    their games but one would be the same. ALE wants less than 2^31: seeds that lie 524,287 apart come together again.
    """
    return (base + seed * STRIDE) % (2**31 - STRIDE)


def make_envs(config: DQNConfig, num_envs: int, **options: Any) -> VectorEnv:
    """The config's environments. Raises InputError, with near matches, for an id that cannot be made or played."""
    if not config.env:
        raise InputError("no environment is named; give one with --env, such as ALE/Pong-v5")
    try:
        made = envs.make(config.env, num_envs, protocol=config.protocol, stack=config.stack, **options)
    except Exception as error:  # an environment is anybody's code
        if isinstance(error, gymnasium.error.UnregisteredEnv) or str(error).startswith("No registered env"):
            hint = "(MODULE:ID imports your own first)"
            raise unknown("environment", envs.bare(config.env), gymnasium.registry, hint) from None
        reason = (str(error).splitlines() or [""])[0] or type(error).__name__
        if isinstance(error, ModuleNotFoundError) and error.name == config.env.partition(":")[0]:
            reason += "; put PYTHONPATH=FOLDER before the command if it lies in FOLDER"
        raise InputError(f"environment {config.env} cannot be used: {reason}") from error
    return made


@contextmanager
def playing(config: DQNConfig, then: str = "") -> Iterator[None]:
    """Inside, what the environment's own code raises is said in one line, an InputError; then: what may be done."""
    try:
        yield
    except Broken as broken:
        error = broken.__cause__ or broken
        reason = (str(error).splitlines() or [""])[0].rstrip(". ")
        said = f"{type(error).__name__}{': ' if reason else ''}{reason}{_place(error)}"
        raise InputError(f"environment {config.env} failed at play: {said}; mend it{then}") from error


def _place(error: BaseException) -> str:
    """The last line of a person's own code that led to an error: not ours, and no library's."""
    libraries = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]
    libraries += [Path(__file__).parent, Path(envs.__file__).parent]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not any(Path(frame.filename).is_relative_to(folder) for folder in libraries):
            return f" ({Path(frame.filename).name}, line {frame.lineno})"
    return ""


def has_pixels(config: DQNConfig) -> bool:
    """Whether the environment's frames are uint8."""
    made = make_envs(config, 1)
    made.close()
    return made.single_observation_space.dtype == "uint8"


def check_playable(config: DQNConfig, folder: Path = Path()) -> None:
    """Raises InputError if the config's environment has frames for which there is no network or a stack that it does
    not take, or fails in its first step, or if its replay would not fit: into memory, or onto the disk of `folder`.
    """
    if envs.is_atari(config.env) and config.stack != 4:
        raise InputError(f"Atari's states are 4 frames, in either protocol; leave stack={config.stack} out")
    made = make_envs(config, 1)
    space = made.single_observation_space
    try:
        if space.dtype.name not in FRAME_TYPES:
            raise ValueError(f"frames of type {space.dtype} are not among {', '.join(FRAME_TYPES)}")
        if not prod(space.shape):
            raise ValueError(f"its observations, of shape {space.shape[1:]}, hold nothing")
        with torch.device("meta"):
            QNetwork(space.shape, 1)
    except ValueError as error:
        raise InputError(f"environment {config.env} cannot be learned: {error}") from None
    if not envs.is_atari(config.env):
        with playing(config, " (gymnasium.utils.env_checker.check_env says more)"):
            made.reset(seed=first_seed(config.seed))
            _, reward, *_ = made.step(np.zeros(1, int))
        if not np.isfinite(reward).all():
            raise gives_none(config.env, "rewards")
    made.close()
    _check_memory(config, space, folder)


def _check_memory(config: DQNConfig, space: gymnasium.spaces.Box, folder: Path) -> None:
    """A replay that does not fit is said before training, not by the system that ends it."""
    from lab import device

    per, instead = space.dtype.itemsize * prod(space.shape[1:]), ""  # bytes of a transition: its frame
    where = device.choose(config.device)
    if config.memory_map:
        while not folder.exists():  # it will be made
            folder = folder.parent
        there, place = shutil.disk_usage(folder).free, f"free on the disk of {folder}"
    elif where.type == "cuda":
        per, there, place = per + 8, device.memory_available(where), "free on the GPU"
    else:
        per, there, place = per + 8, device.memory_available(where), "free"
        instead = ", or --memory-map to keep the frames on disk"
    if config.replay_capacity * per > there:
        raise InputError(
            f"replay_capacity={config.replay_capacity:,} takes {config.replay_capacity * per / 2**30:,.1f} GiB, and "
            f"{there / 2**30:.1f} GiB are {place}; give at most {there // per:,}{instead}"
        )
