"""DQN with an LSTM in place of the stack of frames (Hausknecht and Stone, 2015, "Deep recurrent Q-learning").

Algorithm 1 with whole episodes in the memory: an update replays some of them from their start, through the LSTM.
"""

from collections import deque
from typing import NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from agents.config import DQNConfig
from agents.environments import make_envs
from agents.exploration import epsilon_greedy, linear_epsilon
from agents.targets import greedy, td_target

HIDDEN = 32
MEMORY = 500  # episodes
BATCH = 32  # episodes
Memory = tuple[torch.Tensor, torch.Tensor]  # the LSTM's two states, each (1, batch, HIDDEN)


class RecurrentQ(nn.Module):
    """Observations (batch, time, features) -> action values (batch, time, actions)."""

    def __init__(self, features: int, actions: int):
        super().__init__()
        self.lstm = nn.LSTM(features, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, actions)

    def forward(self, seen: torch.Tensor, memory: Memory | None = None) -> tuple[torch.Tensor, Memory]:
        out, memory = self.lstm(seen, memory)
        return self.head(out), memory


class Episode(NamedTuple):
    seen: np.ndarray  # (time + 1, features): the last observation stands in it too
    action: np.ndarray  # (time,)
    reward: np.ndarray  # (time,)
    terminal: bool  # an end, not a time limit
    env: int  # which environment it was played in


class Player:
    """Steps all environments with one network, and remembers in its LSTM what each has seen since its start."""

    def __init__(self, q: RecurrentQ, config: DQNConfig, number: int, seed: int):
        self.q, self.envs = q, make_envs(config, number)
        self.random = torch.Generator().manual_seed(seed)
        self.state = self.envs.reset(seed=seed)[0][:, -1]  # (number, features)
        self.memory = (torch.zeros(1, number, HIDDEN), torch.zeros(1, number, HIDDEN))
        self.ended = np.zeros(number, bool)  # their next step only resets them
        self.parts: list[list[tuple[np.ndarray, int, float]]] = [[] for _ in range(number)]

    @torch.no_grad()
    def step(self, epsilon: float) -> list[Episode]:
        """One step everywhere; the episodes that it ended."""
        q, self.memory = self.q(torch.from_numpy(self.state)[:, None], self.memory)
        action = epsilon_greedy(q[:, 0], epsilon, self.random).numpy()
        state, reward, terminated, truncated, _ = self.envs.step(action)
        episodes = []
        for i in np.flatnonzero(~self.ended):
            self.parts[i].append((self.state[i].copy(), int(action[i]), float(reward[i])))
            if terminated[i] or truncated[i]:
                seen, actions, rewards = zip(*self.parts[i], strict=True)
                whole = np.stack([*seen, state[i, -1]])
                earned = np.array(rewards, np.float32)
                episodes.append(Episode(whole, np.array(actions), earned, bool(terminated[i]), int(i)))
                self.parts[i] = []
        for part in self.memory:
            part[:, self.ended] = 0  # what stands in `state` now is the first observation of a new episode
        self.state, self.ended = state[:, -1].copy(), terminated | truncated
        return episodes


def learn(config: DQNConfig) -> tuple[RecurrentQ, int]:
    """Train by `config`, an update after every `train_every` agent steps; the network, and how many updates it had."""
    torch.manual_seed(config.seed)
    probe = make_envs(config, 1)
    shape, actions = probe.single_observation_space.shape, int(probe.single_action_space.n)
    probe.close()
    q, target = RecurrentQ(shape[-1], actions), RecurrentQ(shape[-1], actions)
    target.load_state_dict(q.state_dict())
    optimizer = torch.optim.Adam(q.parameters(), config.learning_rate)
    player, memory = Player(q, config, config.num_envs, config.seed), deque[Episode](maxlen=MEMORY)
    draw = np.random.default_rng(config.seed)
    step = updates = 0
    while step < config.total_steps:
        step += int((~player.ended).sum())
        epsilon = linear_epsilon(step, config.epsilon_start, config.epsilon_end, config.epsilon_steps)
        memory.extend(player.step(epsilon))
        while memory and updates < (step - config.learning_starts) // config.train_every:
            loss = _loss(q, target, [memory[i] for i in draw.integers(len(memory), size=BATCH)], config.gamma)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            updates += 1
            if updates % config.target_every == 0:
                target.load_state_dict(q.state_dict())
    player.envs.close()
    return q, updates


def _loss(q: RecurrentQ, target: RecurrentQ, episodes: list[Episode], gamma: float) -> torch.Tensor:
    """Huber loss of all steps of these episodes, the shorter ones padded."""
    longest = max(len(episode.action) for episode in episodes)
    seen = np.zeros((len(episodes), longest + 1, episodes[0].seen.shape[1]), np.float32)
    action, reward = (np.zeros((len(episodes), longest), kind) for kind in (np.int64, np.float32))
    terminal, real = (np.zeros((len(episodes), longest), bool) for _ in range(2))
    for i, episode in enumerate(episodes):
        steps = len(episode.action)
        seen[i, : steps + 1], action[i, :steps], reward[i, :steps] = episode.seen, episode.action, episode.reward
        terminal[i, steps - 1], real[i, :steps] = episode.terminal, True
    states, kept = torch.from_numpy(seen), torch.from_numpy(real)
    chosen = q(states[:, :-1])[0].gather(2, torch.from_numpy(action)[..., None])[..., 0][kept]  # (steps,)
    with torch.no_grad():
        following = target(states)[0][:, 1:][kept]  # (steps, actions)
    best = following[torch.arange(len(following)), greedy(following)]
    y = td_target(torch.from_numpy(reward)[kept], torch.from_numpy(terminal)[kept], best, gamma)
    return functional.huber_loss(chosen, y)


def returns(q: RecurrentQ, config: DQNConfig, number: int, seed: int = 1_000_000) -> np.ndarray:
    """Returns (number,) of one game in each of so many environments, without exploration."""
    player = Player(q, config, number, seed)
    first: dict[int, float] = {}
    while len(first) < number:
        for episode in player.step(0.0):
            first.setdefault(episode.env, float(episode.reward.sum()))
    player.envs.close()
    return np.array([first[env] for env in range(number)])
