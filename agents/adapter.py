"""Our environments as what Stable-Baselines3 steps, so that its agents play the games that ours do."""

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from stable_baselines3.common.vec_env import VecEnv

from agents.finite import gives_none


class Adapter(VecEnv):
    """Our environments as Stable-Baselines3 steps them; rewards to learn from, `episodes` with raw returns.

    It wants a game that is over to be reset in the same step: the state returned is the new game's first, and the old
    game's last lies in info["terminal_observation"]. Ours have NEXT_STEP autoreset, whose reset step would be stored as
    a transition from one game into the next; so ended games are reset here, by mask, and no such step ever happens. A
    lost life that ends the bootstrap is `done` too, but the game, its stack of frames and its episode go on.
    """

    def __init__(self, games: VectorEnv, clip_rewards: bool = True, name: str = ""):
        """name: of the environment, where it is to be named in an error."""
        self.games, self.clip_rewards, self.name = games, clip_rewards, name
        self.step_count = 0  # agent steps taken
        # (agent step, return, length) of each episode that the newest step ended: raw rewards, whole games
        self.episodes: list[tuple[int, float, int]] = []
        space = games.single_observation_space
        if space.dtype == np.uint8:  # pixels are divided by 255 whatever range the environment states, as ours are
            space = spaces.Box(0, 255, space.shape, np.uint8)
        super().__init__(games.num_envs, space, games.single_action_space)
        self._forget()

    def _forget(self) -> None:
        self._return, self._length = np.zeros(self.num_envs), np.zeros(self.num_envs, int)

    def reset(self) -> np.ndarray:
        state, _ = self.games.reset(seed=self._seeds[0])  # the others' seeds follow by one, here as there
        self._reset_seeds()
        self._forget()
        return state

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        state, reward, terminated, truncated, info = self.games.step(self._actions)
        over, terminal = terminated | truncated, terminated | info["life_lost"]
        done = over | terminal
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for i in np.flatnonzero(done):
            infos[i] = {"terminal_observation": state[i].copy(), "TimeLimit.truncated": not terminal[i]}
        self._count(reward, over)
        learned = np.sign(reward) if self.clip_rewards else reward
        for name, numbers in (("rewards", learned), ("observations", state)):
            if numbers.dtype.kind == "f" and not np.isfinite(numbers).all():
                raise gives_none(self.name, name)
        if over.any():
            state, _ = self.games.reset(options={"reset_mask": over})
        return state, learned.astype(np.float32), done, infos

    def _count(self, reward: np.ndarray, over: np.ndarray) -> None:
        self._return += reward
        self._length += 1
        ended = np.flatnonzero(over)
        self.episodes = [(self.step_count + 1 + int(i), float(self._return[i]), int(self._length[i])) for i in ended]
        self._return[ended], self._length[ended] = 0, 0
        self.step_count += self.num_envs

    def close(self) -> None:
        self.games.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self.games, attr_name)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError("the environments inside are one object")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        raise NotImplementedError("the environments inside are one object")

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False] * self.num_envs
