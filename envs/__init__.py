"""Environments: Atari with DQN's semantics, small pixel and memory tasks; `make` gives all of them one face."""

import gymnasium

from envs.vector import bare, is_atari, make

__all__ = ["bare", "is_atari", "make"]

gymnasium.register("lab/Catch-v0", "envs.catch:Catch")
