"""Environments: Atari with DQN's semantics, small pixel and memory tasks; `make` gives all of them one face."""

import gymnasium

from envs.vector import bare, is_atari, make

__all__ = ["bare", "is_atari", "make"]

gymnasium.register("lab/Catch-v0", "envs.catch:Catch")
gymnasium.register("lab/DiagonalCatch-v0", "envs.catch:Catch", kwargs={"diagonal": True})
gymnasium.register("lab/Chain-v0", "envs.chain:Chain")
gymnasium.register("lab/DeceptiveChain-v0", "envs.chain:Chain", kwargs={"length": 6, "lure": 0.1})
gymnasium.register("lab/TMaze-v0", "envs.tmaze:TMaze")
