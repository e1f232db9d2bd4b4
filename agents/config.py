"""The settings of a DQN run: one dataclass is the config, the command line and the saved manifest."""

from dataclasses import dataclass, replace
from typing import Literal


@dataclass
class DQNConfig:
    """Settings of DQN. Defaults follow Mnih et al. (2015), Nature 518, extended data table 1, unless said otherwise."""

    env: str = "ALE/Pong-v5"
    """Gymnasium id: ALE/Pong-v5 or another Atari game, lab/Catch-v0, CartPole-v1, or any with discrete actions."""
    protocol: Literal["classic", "sticky"] = "classic"
    """Atari rules: classic (Nature) or sticky (Machado et al., 2018)."""
    seed: int = 0
    """Seed of networks, environments, exploration and replay."""
    total_steps: int = 1_000_000
    """Agent steps to train for, over all environments together (Atari frames = 4 x steps)."""
    num_envs: int = 8
    """Environments stepped side by side (Nature: 1)."""
    stack: int = 4
    """Newest frames that make up a state; Atari always has 4."""
    replay_capacity: int = 100_000
    """Transitions remembered (Nature: 1,000,000, which needs 7.06 GB for Atari frames)."""
    batch_size: int = 32
    """Transitions in a minibatch."""
    gamma: float = 0.99
    """Discount factor per agent step."""
    n_step: int = 1
    """Steps of reward before bootstrapping (Sutton, 1988; 3 in Rainbow, Hessel et al., 2018)."""
    double: bool = False
    """Double DQN (van Hasselt et al., 2016): the online network chooses the action that the target network values."""
    learning_rate: float = 1e-4
    """Adam's step size (Nature: RMSProp, 2.5e-4)."""
    learning_starts: int = 10_000
    """Agent steps before the first update (Nature: 50,000, of random play)."""
    train_every: int = 4
    """Agent steps per update."""
    target_every: int = 2_500
    """Updates between two copies of the network into the target network: the lecture's C (Nature: 10,000)."""
    epsilon_start: float = 1.0
    """Share of random actions at first."""
    epsilon_end: float = 0.01
    """Share of random actions once annealed (Nature: 0.1)."""
    epsilon_steps: int = 100_000
    """Agent steps over which epsilon falls linearly (Nature: 1,000,000)."""
    clip_rewards: bool = True
    """Learn from the sign of the reward; reported returns are never clipped."""
    loss: Literal["huber", "squared"] = "huber"
    """Huber (Nature clips the error to [-1, 1]) or the squared error of the lecture's Algorithm 1."""
    eval_episodes: int = 10
    """Whole episodes played at the end, on environments of their own."""
    log_every: int = 1_000
    """Agent steps between two points of the training curves."""
    checkpoint_every: int = 100_000
    """Agent steps between two checkpoints."""
    device: str = "auto"
    """auto, cpu or cuda."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the networks; auto: bfloat16 where the device has instructions for it (weights stay float32)."""
    threads: int = 0
    """CPU threads torch works with; 0: half the cores (the emulator has the others). One is best for small networks."""


_SMALL = DQNConfig(
    num_envs=4,
    stack=1,
    clip_rewards=False,
    replay_capacity=20_000,
    log_every=500,
    checkpoint_every=10_000,
    precision="float32",
    threads=1,
)
PRESETS = {
    "lab/Catch-v0": replace(
        _SMALL, total_steps=20_000, learning_rate=1e-3, learning_starts=500, train_every=2, target_every=100,
        epsilon_end=0.02, epsilon_steps=5_000, eval_episodes=100,
    ),
    "CartPole-v1": replace(
        _SMALL, total_steps=80_000, learning_rate=1e-3, learning_starts=1_000, train_every=2, target_every=300,
        batch_size=128, replay_capacity=60_000, epsilon_end=0.04, epsilon_steps=8_000, eval_episodes=20,
    ),
}  # fmt: skip


def preset(env: str) -> DQNConfig:
    """The default settings for an environment: those of PRESETS, Atari's, or those of a small task."""
    known = env.rpartition(":")[2]  # "module:Id-v0" imports the module first, as in Gymnasium
    found = PRESETS.get(known, DQNConfig() if known.startswith("ALE/") else replace(_SMALL, total_steps=100_000))
    return replace(found, env=env)
