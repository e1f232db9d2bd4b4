"""The settings of Stable-Baselines3's agents: one dataclass each, which is config, command line and saved manifest.

Where a field is called as in `DQNConfig`, it means the same and has the same default for an environment, unless PRESETS
says otherwise.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Self

from agents import config as ours


@dataclass
class PeerConfig(ours.PlayConfig):
    """What the settings of all peers have."""

    @classmethod
    def preset(cls, env: str) -> Self:
        """The default settings for an environment."""
        atari, small = PRESETS[cls]
        return replace(cls.like(ours.preset(env)), **(atari if env.rpartition(":")[2].startswith("ALE/") else small))

    @classmethod
    def like(cls, config: ours.DQNConfig) -> Self:
        """Our settings as far as the peer has them."""
        return cls(**{field.name: getattr(config, field.name) for field in fields(cls) if hasattr(config, field.name)})


@dataclass
class SB3DQNConfig(PeerConfig):
    """Settings of Stable-Baselines3's DQN: those of `lab train dqn` as far as it has them."""

    replay_capacity: int = 100_000
    """Transitions remembered; both states of each are stored, 5.6 GB for 100,000 of Atari."""
    batch_size: int = 32
    """Transitions in a minibatch."""
    learning_starts: int = 10_000
    """Agent steps, of random play, before the first update."""
    train_every: int = 4
    """Agent steps per update."""
    target_every: int = 2_500
    """Updates between two copies of the network into the target network."""
    epsilon_start: float = 1.0
    """Share of random actions at first."""
    epsilon_end: float = 0.01
    """Share of random actions once annealed."""
    epsilon_steps: int = 100_000
    """Agent steps over which epsilon falls linearly."""
    n_step: int = 1
    """Steps of reward before bootstrapping."""
    anneal: bool = False
    """Let the step size fall linearly to 0."""
    anneal_share: float = 1.0
    """Share of training, the last of it, over which it does so when annealed."""


@dataclass
class SB3A2CConfig(PeerConfig):
    """Settings of Stable-Baselines3's A2C (Mnih et al., 2016, stepping together)."""

    rollout: int = 5
    """Steps of each environment between two updates."""
    gae_lambda: float = 1.0
    """Lambda of the generalised advantage estimate (Schulman et al., 2016); 1: returns over `rollout` steps."""
    entropy: float = 0.01
    """Weight of the entropy bonus."""
    value: float = 0.25
    """Weight of the value function's loss."""
    tf_rmsprop: bool = False
    """RMSProp with epsilon inside the root, as in TensorFlow: steadier on Atari, too slow for small gradients."""
    anneal: bool = False
    """Let the step size fall linearly to 0."""


@dataclass
class SB3PPOConfig(PeerConfig):
    """Settings of Stable-Baselines3's PPO (Schulman et al., 2017)."""

    rollout: int = 128
    """Steps of each environment between two rounds of updates."""
    batch_size: int = 256
    """Transitions in a minibatch."""
    epochs: int = 4
    """Times that each transition is learned from."""
    gae_lambda: float = 0.95
    """Lambda of the generalised advantage estimate (Schulman et al., 2016)."""
    clip_range: float = 0.1
    """The policy's ratio is clipped to 1 +- this."""
    entropy: float = 0.01
    """Weight of the entropy bonus."""
    value: float = 0.5
    """Weight of the value function's loss."""
    anneal: bool = True
    """Let the step size and the clip range fall linearly to 0."""


# For Atari, then for small tasks. Atari: RL Baselines3 Zoo, hyperparams/a2c.yml and ppo.yml (with 10,000,000 agent
# steps). Small tasks: with these, seed 0 catches every ball of Catch and balances CartPole for all 500 steps.
PRESETS: dict[type[PeerConfig], tuple[dict[str, Any], dict[str, Any]]] = {
    SB3DQNConfig: ({}, {}),
    SB3A2CConfig: (
        {"num_envs": 16, "learning_rate": 7e-4, "tf_rmsprop": True},
        {"num_envs": 8, "total_steps": 100_000, "learning_rate": 4e-3, "rollout": 8, "gae_lambda": 0.95, "value": 0.5,
         "anneal": True},
    ),
    SB3PPOConfig: (
        {"learning_rate": 2.5e-4, "batch_size": 256},
        {"num_envs": 8, "learning_rate": 1e-3, "rollout": 32, "batch_size": 64, "epochs": 10, "clip_range": 0.2},
    ),
}  # fmt: skip
