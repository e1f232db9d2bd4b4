"""The settings of a DQN run: a dataclass is the config, the command line and the saved manifest."""

import json
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from lab.errors import InputError, unknown


@dataclass
class PlayConfig:
    """What every agent's settings have, ours and the peers'."""

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
    gamma: float = 0.99
    """Discount factor per agent step."""
    learning_rate: float = 1e-4
    """The optimiser's step size (Nature: 2.5e-4)."""
    clip_rewards: bool = True
    """Learn from the sign of the reward; reported returns are never clipped."""
    eval_episodes: int = 10
    """Whole episodes played at the end, on environments of their own."""
    log_every: int = 1_000
    """Agent steps between two points of the training curves."""
    device: str = "auto"
    """auto, cpu or cuda."""
    threads: int = 0
    """CPU threads torch works with; 0: half the cores (emulator and minibatches have the others). One is best for
    small networks."""


@dataclass
class DQNConfig(PlayConfig):
    """Settings of DQN. Defaults follow Mnih et al. (2015), Nature 518, extended data table 1, unless said otherwise."""

    network: Literal["nature", "nips"] = "nature"
    """For Atari: Mnih et al. (2015), or the smaller one of Mnih et al. (2013), a third of the work."""
    centred: bool = False
    """Take from each state of pixels its mean: inputs about zero train faster (LeCun et al., 1998, section 4.3)."""
    dueling: bool = False
    """Dueling streams for value and advantages (Wang et al., 2016)."""
    noisy: bool = False
    """Noisy hidden and output layers, which explore by themselves (Fortunato et al., 2018); set both epsilons to 0."""
    distribution: Literal["expected", "categorical", "quantile"] = "expected"
    """What is learned of the return: its mean, C51's atoms (Bellemare et al., 2017), QR-DQN's (Dabney et al., 2018)."""
    atoms: int = 0
    """Numbers that describe a distribution; 0: 51 for categorical, 200 for quantile."""
    v_max: float = 10.0
    """The categorical support reaches from -v_max to v_max."""
    munchausen: bool = False
    """Munchausen DQN: the scaled log-policy is a part of the reward (Vieillard et al., 2020)."""
    replay_capacity: int = 100_000
    """Transitions remembered (Nature: 1,000,000, which needs 7.06 GB for Atari frames)."""
    memory_map: bool = False
    """Keep the frames of the replay in a file in the run's folder, mapped into memory: for replays larger than that."""
    priority_alpha: float = 0.0
    """Prioritised replay (Schaul et al., 2016): how much errors count; 0: uniform replay (0.5 in Rainbow)."""
    priority_beta: float = 0.4
    """Importance weights' exponent at first; it rises to 1 by the end of training."""
    batch_size: int = 32
    """Transitions in a minibatch."""
    n_step: int = 1
    """Steps of reward before bootstrapping (Sutton, 1988; 3 in Rainbow, Hessel et al., 2018)."""
    double: bool = False
    """Double DQN (van Hasselt et al., 2016): the online network chooses the action that the target network values."""
    optimizer: Literal["adam", "rmsprop"] = "adam"
    """Adam (epsilon 1.5e-4, as in Rainbow), or Nature's centred RMSProp (decay .95, epsilon .01 for gradients summed
    over the minibatch)."""
    anneal: bool = False
    """Let the step size fall linearly to 0 by the end of training."""
    anneal_share: float = 1.0
    """Share of training, the last of it, over which it does so when annealed."""
    max_gradient_norm: float = 0.0
    """Gradients longer than this are shortened to it; 0: never (10 in Wang et al., 2016)."""
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
    epsilon_spread: float = 0.0
    """Environment i of n explores with epsilon^(1 + this i / (n - 1)) (Ape-X, Horgan et al., 2018: 7); 0: all alike."""
    loss: Literal["huber", "squared"] = "huber"
    """Huber (Nature clips the error to [-1, 1]) or the squared error of the lecture's Algorithm 1."""
    checkpoint_every: int = 100_000
    """Agent steps between two checkpoints."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the networks; auto: bfloat16 where the device is faster at it (weights stay float32)."""


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
        batch_size=128, replay_capacity=60_000, epsilon_end=0.04, epsilon_steps=8_000, eval_episodes=20, n_step=3,
        anneal=True, v_max=100.0,
    ),
}  # fmt: skip


def preset(env: str = "", name: str = "") -> DQNConfig:
    """The default settings for an environment: those of PRESETS, Atari's, or those of a small task.

    name: of a file whose settings take their place (see `settings_in`). env: left empty, what that file says, or Pong.
    """
    given = settings_in(name) if name else {}
    env = env or given.get("env", DQNConfig.env)
    known = env.rpartition(":")[2]  # "module:Id-v0" imports the module first, as in Gymnasium
    found = PRESETS.get(known, DQNConfig() if known.startswith("ALE/") else replace(_SMALL, total_steps=100_000))
    return replace(found, **given | {"env": env})


def settings_in(name: str) -> dict[str, Any]:
    """The settings in a preset: in a file of agents/presets, by its name, or in one of your own, by its path: a .toml,
    or the config.json of a run. Raises InputError for a file that cannot be read or holds what is no setting."""
    files = {file.stem: file for file in Path(__file__).with_name("presets").glob("*.toml")}
    path = files.get(name, Path(name))
    read = {".toml": tomllib.loads, ".json": json.loads}.get(path.suffix)
    if not read:
        raise unknown("preset", name, files, "(or give the path of a .toml, or of a run's config.json)")
    try:
        given = dict(read(path.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"preset {path} cannot be read: {reason}; name another file or mend this one") from None
    kinds = get_type_hints(DQNConfig)
    for field, value in given.items():
        if field not in kinds:
            raise unknown("setting", field, kinds, f"(in {path})")
        given[field] = _typed(f"{path}: {field}", kinds[field], value)
    return given


def _typed(what: str, kind: Any, value: Any) -> Any:
    """`value` as a setting of this kind, a whole number also for one that need not be whole."""
    if options := get_args(kind):
        if value not in options:
            raise InputError(f"{what} must be {' or '.join(options)}, not {value!r}")
    elif kind is float and type(value) is int:
        return float(value)
    elif type(value) is not kind:
        named = {bool: "true or false", int: "a whole number, such as 1_000_000", float: "a number", str: "text"}[kind]
        raise InputError(f"{what} must be {named}, not {value!r}")
    return value
