"""Atari through ALE's C++ vector environment, with the semantics that DQN needs.

What ALE 0.12 does by itself and what it is told here: rewards are clipped (raw ones are asked for; the learner clips);
`episodic_life` restarts the game at every lost life (`life_loss_info` is used, and a lost life told from the end of a
game); the FIRE button is pressed at each start (not here: the agent learns it). Under NEXT_STEP autoreset the step
after an end only resets: its action is ignored and it must never be learned from (`Replay.add` takes `live`).

The emulator's state cannot be read through ALE's vector environment. Without sticky actions it can be brought about
again: chance enters only in the number of no-ops drawn at each reset, so the same seed, as many resets and the actions
of the running game lead to the same screen (`snapshot`, `restore`).
"""

from dataclasses import dataclass
from typing import Any

import ale_py
import gymnasium
import numpy as np
from ale_py.vector_env import AtariVectorEnv
from gymnasium.vector import AutoresetMode

FRAME_SKIP = 4
Snapshot = dict[str, Any]
MAX_FRAMES = 108_000  # 30 minutes of play at 60 Hz; then the game is truncated


@dataclass(frozen=True)
class Protocol:
    """How a game is played and scored. Two protocols are never mixed in one table."""

    sticky: float
    """Probability that the emulator repeats the last action instead of the one given."""
    all_actions: bool
    """All 18 actions, or the game's minimal set."""
    noop_max: int
    """Up to this many no-op actions at the start of a game."""
    life_loss: bool
    """A lost life ends the bootstrap (not the game)."""
    evaluation_epsilon: float
    """Share of random actions when evaluated."""


PROTOCOLS = {
    # Mnih et al. (2015), Nature 518: "NoFrameskip-v4" in Gym's names.
    "classic": Protocol(sticky=0.0, all_actions=False, noop_max=30, life_loss=True, evaluation_epsilon=0.05),
    # Machado et al. (2018), JAIR 61, section 5: Gymnasium's v5.
    "sticky": Protocol(sticky=0.25, all_actions=True, noop_max=0, life_loss=False, evaluation_epsilon=0.01),
}


class Atari(AtariVectorEnv):
    """`num_envs` games of one ROM; observations (num_envs, 4, 84, 84) uint8, the newest frame last.

    step returns raw rewards, `terminated` only where a game is over, `truncated` at the time limit, and
    info["life_lost"], True where a life was lost, the game goes on and the protocol ends the bootstrap there.
    """

    def __init__(
        self, env_id: str, num_envs: int, protocol: str, *, colour: bool = False, max_frames: int = MAX_FRAMES,
        num_threads: int = 0, core: int = -1,
    ):  # fmt: skip
        """env_id: such as ALE/Pong-v5; colour: whole RGB screens (210, 160, 3) instead, for films; num_threads: 0, all;
        core: the first of the CPU cores that its threads stay on, -1: any.

        Raises gymnasium.error.Error for an unknown game.
        """
        rules = PROTOCOLS[protocol]
        self.life_loss = rules.life_loss
        self.exact = rules.sticky == 0
        self._seeds = np.zeros(num_envs, int)  # that each game was last seeded with
        self._resets = np.zeros(num_envs, int)  # by itself since then: each drew a number of no-ops
        self._actions: list[list[int]] = [[] for _ in range(num_envs)]  # of the running games
        self._ended = np.zeros(num_envs, bool)
        self._sent = np.zeros(num_envs, int)
        super().__init__(
            game=gymnasium.spec(env_id).kwargs["game"],
            num_envs=num_envs,
            num_threads=num_threads,
            thread_affinity_offset=core,
            max_num_frames_per_episode=max_frames,
            repeat_action_probability=rules.sticky,
            full_action_space=rules.all_actions,
            autoreset_mode=AutoresetMode.NEXT_STEP,
            frameskip=FRAME_SKIP,
            noop_max=rules.noop_max,
            use_fire_reset=False,
            reward_clipping=False,
            episodic_life=False,
            life_loss_info=True,
            grayscale=not colour,
            img_height=210 if colour else 84,
            img_width=160 if colour else 84,
        )

    def reset(self, *, seed: int | np.ndarray | None = None, options: dict[str, Any] | None = None):
        """As ALE's; some games only (options["reset_mask"]) and without a seed, they go on with their own chance."""
        chosen = np.ones(self.num_envs, bool) if options is None else options["reset_mask"]
        if seed is None and options is None:
            seed = int(np.random.default_rng().integers(2**30))
        if seed is None:
            self._resets[chosen] += 1
        else:
            self._seeds[chosen] = seed + np.arange(chosen.sum()) if np.isscalar(seed) else seed
            self._resets[chosen] = 0
        self._ended[chosen] = False
        for i in np.flatnonzero(chosen):
            self._actions[i] = []
        return super().reset(seed=seed, options=options)

    def step(self, actions: np.ndarray):
        self.send(actions)
        return self.recv()

    def send(self, actions: np.ndarray) -> None:
        """Let the emulator work on a step whose outcome `recv` waits for."""
        self._sent = np.array(actions)
        super().send(self._sent)

    def recv(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        observation, reward, terminated, truncated, info = super().recv()
        # With life_loss_info ALE terminates at every lost life; games without lives always count 0 of them.
        game_over = terminated & (info["lives"] == 0)
        info["life_lost"] = terminated & ~game_over & self.life_loss
        self._resets += self._ended
        for actions, action, ended in zip(self._actions, self._sent.tolist(), self._ended, strict=True):
            actions.clear() if ended else actions.append(action)
        self._ended = game_over | truncated
        return observation, reward, game_over, truncated, info

    def snapshot(self) -> Snapshot | None:
        """What `restore` needs; None where actions are sticky, whose chance cannot be brought about again."""
        if not self.exact:
            return None
        return {
            "seeds": self._seeds.tolist(), "resets": self._resets.tolist(), "ended": self._ended.tolist(),
            "actions": [list(actions) for actions in self._actions],
        }  # fmt: skip

    def restore(self, snapshot: Snapshot) -> np.ndarray:
        """Go back to where `snapshot` was taken, by playing the running games again; returns the observations there.

        All games are stepped together, so those that ran for less time start later.
        """
        seeds, resets, games = np.array(snapshot["seeds"]), np.array(snapshot["resets"]), snapshot["actions"]
        longest = max(map(len, games))
        starts = np.array([longest - len(actions) for actions in games])
        super().reset()
        for time in range(longest + 1):
            if (due := starts == time).any():
                observation, _ = super().reset(seed=seeds[due], options={"reset_mask": due})
                for number in range(resets[due].max()):
                    observation, _ = super().reset(options={"reset_mask": due & (resets > number)})
            if time < longest:
                actions = [
                    game[time - start] if time >= start else 0 for game, start in zip(games, starts, strict=True)
                ]
                super().send(np.array(actions))
                observation = super().recv()[0]
        self._seeds, self._resets = seeds, resets
        self._actions, self._ended = [list(actions) for actions in games], np.array(snapshot["ended"])
        return observation


gymnasium.register_envs(ale_py)
