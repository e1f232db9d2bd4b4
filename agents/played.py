"""Play to look back upon: every state a trained agent saw, what it thought of it, what it did and what came of it."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from PIL import Image

import envs
from agents.config import DQNConfig
from agents.dqn import DQN
from agents.environments import make_envs
from agents.evaluate import MAX_FILM, Camera, evaluation_epsilon, filmed
from lab.console import bar, messages
from lab.errors import InputError

TALLEST = 240  # pixels; larger pictures are shrunk when they are taken


@dataclass(frozen=True)
class Play:
    """Play step by step. The last state of an episode stands in it too, with action -1: nothing was done there."""

    states: np.ndarray
    """(n, stack, *frame)"""
    pictures: np.ndarray | None
    """(n, height, width, 3) uint8, as a person sees the game; None where there is nothing to see."""
    q: np.ndarray
    """(n, actions)"""
    action: np.ndarray
    """(n,) int; may be random, by the protocol."""
    reward: np.ndarray
    """(n,) raw, of the step taken here."""
    terminal: np.ndarray
    """(n,) bool: that step ended the game, or a life where the protocol ends the bootstrap there."""
    episode: np.ndarray
    """(n,) int, from 0."""

    @property
    def value(self) -> np.ndarray:
        """V(s) = max_a Q(s, a), (n,)."""
        return self.q.max(axis=1)

    @property
    def taken(self) -> np.ndarray:
        """Where a step was taken, (n,) bool."""
        return self.action >= 0

    def of(self, rows: np.ndarray | slice) -> "Play":
        """Only these rows: positions, a mask, or a slice, which copies nothing."""
        return replace(self, **{name: kept[rows] for name, kept in vars(self).items() if kept is not None})


def play(agent: DQN, config: DQNConfig, episodes: int, states: int, seed: int) -> Play:
    """Play `episodes` episodes (at most MAX_FILM steps), and on until at least `states` states were seen."""
    game, camera = _open(config, seed)
    random, epsilon = np.random.default_rng(seed), evaluation_epsilon(config)
    rows: list[tuple] = []
    state, _ = game.reset(seed=seed)
    picture = camera(None) if camera else None
    episode, steps, over = 0, 0, False
    with bar(f"play {config.env}", states, "steps") as advance:
        while (episode < episodes and steps < MAX_FILM) or steps < states:
            q = values(agent, state)[0]
            if over:  # the last state of the episode: the next step only resets, whatever the action
                rows.append((state[0].copy(), picture, q, -1, 0.0, False, episode))
                episode += 1
            action = np.array([random.integers(len(q)) if random.random() < epsilon else q.argmax()])
            before, pictured = state[0].copy(), picture
            state, reward, terminated, truncated, info = game.step(action)
            picture = camera(action) if camera else None
            if not over:
                ends = bool(terminated[0] or info["life_lost"][0])
                rows.append((before, pictured, q, int(action[0]), float(reward[0]), ends, episode))
                steps += 1
                advance(steps <= states, note=f"step {steps:,}")
            over = not over and bool(terminated[0] or truncated[0])
    game.close()
    rows.append((state[0].copy(), picture, values(agent, state)[0], -1, 0.0, False, episode))
    seen, pictures, *rest = zip(*rows, strict=True)
    frames = np.stack(seen)
    drawn = np.stack(pictures) if camera else None
    if drawn is None and _is_picture(frames):
        drawn = np.repeat(frames[:, -1, ..., None], 3, axis=-1)
    return Play(frames, drawn, *map(np.array, rest))


@torch.no_grad()
def values(agent: DQN, states: np.ndarray) -> np.ndarray:
    """Q of states (n, stack, *frame): (n, actions)."""
    return agent.values(agent.q, torch.as_tensor(states, device=agent.device)).cpu().numpy()


def following(play: Play, gamma: float, clip: bool) -> np.ndarray:
    """The discounted return that followed each state, (n,), of rewards as they were learned from.

    Where the end is not in it (a time limit, or play that was stopped), V of the last state stands for the rest.
    """
    reward = np.sign(play.reward) if clip else play.reward
    taken, value = play.taken, play.value
    returns = np.zeros(len(reward))
    for t in reversed(range(len(reward))):
        if not taken[t]:
            returns[t] = value[t]
        else:
            returns[t] = reward[t] + (0.0 if play.terminal[t] else gamma * returns[t + 1])
    return returns


def action_names(config: DQNConfig, actions: int) -> list[str]:
    """What ALE calls the actions; elsewhere their numbers."""
    if not envs.is_atari(config.env):
        return [str(action) for action in range(actions)]
    games = make_envs(config, 1)
    names = [action.name for action in games.ale.get_action_set()]
    games.close()
    return names


def _open(config: DQNConfig, seed: int) -> tuple[VectorEnv, Camera | None]:
    """The game and the camera on it; none, and a word about it, where the environment draws no pictures."""
    try:
        game, camera = filmed(config, seed)
    except InputError as error:
        game = make_envs(config, 1)  # what is wrong with the environment itself is said here
        instead = _is_picture(game.observation_space.sample())
        then = "what the agent sees is shown instead" if instead else "no film, and the figures come without them"
        messages.print(f"{error}; {then}", soft_wrap=True)
        return game, None
    return game, lambda action: _reduced(camera(action))


def _is_picture(states: np.ndarray) -> bool:
    """Whether states (n, stack, *frame) are grey pictures."""
    return states.dtype == np.uint8 and states.ndim == 4


def _reduced(picture: np.ndarray) -> np.ndarray:
    shrink = -(-max(picture.shape[:2]) // TALLEST)
    return np.asarray(Image.fromarray(picture).reduce(shrink)) if shrink > 1 else picture
