"""Atari through ALE's C++ vector environment, with the semantics that DQN needs.

What ALE 0.12 does by itself and what it is told here: rewards are clipped (raw ones are asked for; the learner clips);
`episodic_life` restarts the game at every lost life (`life_loss_info` is used, and a lost life told from the end of a
game); the FIRE button is pressed at each start (not here: the agent learns it). Under NEXT_STEP autoreset the step
after an end only resets: its action is ignored and it must never be learned from (`Replay.add` takes `live`).
"""

from dataclasses import dataclass
from typing import Any

import ale_py
import gymnasium
import numpy as np
from ale_py.vector_env import AtariVectorEnv
from gymnasium.vector import AutoresetMode

FRAME_SKIP = 4
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
        num_threads: int = 0,
    ):  # fmt: skip
        """env_id: such as ALE/Pong-v5; colour: whole RGB screens (210, 160, 3) instead, for films; num_threads: 0, all.

        Raises gymnasium.error.Error for an unknown game.
        """
        rules = PROTOCOLS[protocol]
        self.life_loss = rules.life_loss
        super().__init__(
            game=gymnasium.spec(env_id).kwargs["game"],
            num_envs=num_envs,
            num_threads=num_threads,
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

    def step(self, actions: np.ndarray):
        self.send(actions)
        return self.recv()

    def recv(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        observation, reward, terminated, truncated, info = super().recv()
        # With life_loss_info ALE terminates at every lost life; games without lives always count 0 of them.
        game_over = terminated & (info["lives"] == 0)
        info["life_lost"] = terminated & ~game_over & self.life_loss
        return observation, reward, game_over, truncated, info


gymnasium.register_envs(ale_py)
