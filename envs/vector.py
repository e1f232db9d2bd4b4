"""One way to make any environment: `make` returns Gymnasium vector environments that look alike to an agent.

Observations are (num_envs, stack, *frame), the newest frame last, zero-padded at the start of an episode; autoreset is
NEXT_STEP throughout; info["life_lost"] is there for every environment.
"""

import hashlib
import importlib
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import FlattenObservation, FrameStackObservation

from envs.atari import Atari, Snapshot

MOST_ACTIONS = 256  # the replay keeps an action in a byte


def bare(env_id: str) -> str:
    """The id without the module that Gymnasium is told to import first: mine of "mygame:mine"."""
    return env_id.rpartition(":")[2]


def is_atari(env_id: str) -> bool:
    """Whether `env_id` (module prefix or not) is an Atari game in the form that is played here."""
    return bare(env_id).startswith("ALE/") and "-ram" not in env_id


def make(env_id: str, num_envs: int = 1, *, protocol: str = "classic", stack: int = 1, **options: Any) -> VectorEnv:
    """`num_envs` copies of the environment `env_id` for an agent; `protocol` counts for Atari (stack 4) only.

    As with gymnasium.make, "module:Id-v0" imports the module that registers the id first.
    Observations of numbers, Dicts and Tuples are flattened to a vector. Raises gymnasium.error.Error for an unknown id,
    ValueError if its actions are not discrete or its observations no arrays.
    """
    if ":" in env_id:
        importlib.import_module(env_id.rpartition(":")[0])
    env_id = bare(env_id)
    if is_atari(env_id):
        gymnasium.spec(env_id)  # an unknown id is said before the emulator is asked
        return Atari(env_id, num_envs, protocol, **options)
    if "ale_py" in str(gymnasium.spec(env_id).entry_point):
        game = gymnasium.spec(env_id).kwargs["game"].title().replace("_", "")
        raise ValueError(f"{env_id} is an old name; use ALE/{game}-v5 with a protocol")
    probe = gymnasium.make(env_id)
    probe.close()
    if not isinstance(probe.action_space, spaces.Discrete):
        raise ValueError(f"{env_id} has actions {probe.action_space}; the agents need a Discrete action space")
    if probe.action_space.start != 0 or probe.action_space.n > MOST_ACTIONS:
        raise ValueError(
            f"{env_id} has actions {probe.action_space}; the agents need 0, 1, ... up to {MOST_ACTIONS} of them"
        )
    if not isinstance(probe.observation_space, spaces.Box) and not _flattens(probe.observation_space):
        raise ValueError(
            f"{env_id} has observations {probe.observation_space}; the agents need a Box (arrays), or what Gymnasium "
            "flattens to a vector: numbers and vectors, in a Dict or Tuple or alone"
        )
    return Replayable(env_id, num_envs, stack, **options)


def _flattens(space: gymnasium.Space) -> bool:
    """Whether observations are numbers, which become one-hot, and vectors; pictures would lose their shape."""
    if isinstance(space, spaces.Dict | spaces.Tuple):
        return all(map(_flattens, space.values() if isinstance(space, spaces.Dict) else space))
    if isinstance(space, spaces.Box):
        return len(space.shape) <= 1
    return isinstance(space, spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary)


class Elsewhere(Exception):
    """Environments cannot be put back where a snapshot was taken; the message says why."""


class Broken(Exception):
    """An environment's own code failed while it was played; the cause is what it raised."""


class _Tape(gymnasium.Wrapper):
    """Notes how the running episode came about: the random state it began with and the actions since."""

    def __init__(self, env: gymnasium.Env):
        super().__init__(env)
        self.origin: Snapshot = {}
        self.actions: list[int] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        random_state = None if seed is not None else self.env.unwrapped.np_random.bit_generator.state
        self.origin, self.actions = {"seed": seed, "random_state": random_state}, []
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any):
        self.actions.append(int(action))
        return self.env.step(action)

    def replay(self, origin: Snapshot, actions: list[int]) -> np.ndarray:
        """Bring about the episode again; returns its newest observation."""
        if origin["seed"] is None:
            self.env.unwrapped.np_random.bit_generator.state = origin["random_state"]
        observation, _ = self.reset(seed=origin["seed"])
        for action in actions:
            observation, *_ = self.step(action)
        self.origin = origin
        return observation


class Replayable(SyncVectorEnv):
    """Environments in this process that can be put back, bit for bit, where a snapshot was taken.

    They are put back by repeating the running episode, which is exact where an environment's only source of chance is
    Gymnasium's own `np_random`. A snapshot knows its observations by their hash, so that `restore` notices where not.
    """

    def __init__(self, env_id: str, num_envs: int, stack: int, **options: Any):
        def one() -> gymnasium.Env:
            env = gymnasium.make(env_id, **options)
            if not isinstance(env.observation_space, spaces.Box):
                env = FlattenObservation(env)
            return _Tape(FrameStackObservation(env, stack, padding_type="zero"))

        super().__init__([one] * num_envs, autoreset_mode=AutoresetMode.NEXT_STEP)

    def reset(self, **options: Any):
        try:
            return super().reset(**options)
        except Exception as error:  # an environment is anybody's code
            raise Broken(str(error)) from error

    def step(self, actions: np.ndarray):
        try:
            observation, reward, terminated, truncated, info = super().step(actions)
        except Exception as error:  # an environment is anybody's code
            raise Broken(str(error)) from error
        info["life_lost"] = np.zeros(self.num_envs, bool)
        return observation, reward, terminated, truncated, info

    def send(self, actions: np.ndarray) -> None:
        """Step by these actions when `recv` asks for the outcome, as ALE's environments do in the background."""
        self._sent = actions

    def recv(self):
        """What `step` returns for the actions sent."""
        return self.step(self._sent)

    def snapshot(self) -> Snapshot:
        """What `restore` needs; JSON types only."""
        tapes = [{"origin": env.origin, "actions": list(env.actions)} for env in self.envs]
        return {"tapes": tapes, "ended": self._autoreset_envs.tolist(), "seen": self._seen()}

    def _seen(self) -> str:
        """The hash of the present observations."""
        return hashlib.sha256(np.stack(self._env_obs).tobytes()).hexdigest()

    def restore(self, snapshot: Snapshot) -> np.ndarray:
        """Go back to where `snapshot` was taken; returns the observations there.

        Raises Elsewhere where that is not where the same seeds and actions lead (older snapshots cannot tell).
        """
        self.reset()
        try:
            self._env_obs = [env.replay(**tape) for env, tape in zip(self.envs, snapshot["tapes"], strict=True)]
        except Exception as error:  # an environment is anybody's code
            raise Elsewhere(f"playing its episodes again failed: {str(error) or type(error).__name__}") from error
        if snapshot.get("seen", self._seen()) != self._seen():
            raise Elsewhere("the same seeds and actions led elsewhere: its chance or state lies outside np_random")
        self._autoreset_envs = np.array(snapshot["ended"])
        return np.stack(self._env_obs)
