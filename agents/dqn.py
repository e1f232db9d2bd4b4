"""Deep Q-learning with experience replay: the lecture's Algorithm 1 (Mnih et al., 2015), readable top to bottom.

`DQN` is the agent (Q, the target network Q^ and the gradient step), `Training` the algorithm's loop; agents.train
reports about it. Where this differs from the algorithm as printed: several environments are stepped side by side, an
update follows every `train_every` agent steps, epsilon is annealed, the error is clipped (Huber), and a time limit, on
which Algorithm 1 is silent, bootstraps.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from agents.config import DQNConfig
from agents.environments import make_envs
from agents.exploration import epsilon_greedy, linear_epsilon
from agents.networks import q_network
from agents.replay import Batch, Replay
from agents.targets import double_td_target, td_target
from lab import device


class DQN:
    """The action-value network Q, its target Q^, and the step that moves Q towards the targets."""

    def __init__(self, shape: tuple[int, ...], actions: int, config: DQNConfig, where: torch.device):
        """shape: of a state, (stack, *frame); actions: their number. Initialise Q with random weights and Q^ = Q."""
        self.config, self.actions, self.device = config, actions, where
        torch.manual_seed(config.seed)
        self.q = q_network(shape, actions).to(where)
        self.target = q_network(shape, actions).to(where)
        self.sync()
        self.optimizer = torch.optim.Adam(self.q.parameters(), lr=config.learning_rate, eps=1.5e-4, fused=True)
        self.bfloat16 = device.bfloat16(config.precision, where)

    def values(self, network: nn.Module, state: torch.Tensor) -> torch.Tensor:
        """Action values (n, actions) of states (n, stack, *frame): pixels taken to [0, 1], other frames as they are."""
        scaled = state.float() / 255 if state.dtype == torch.uint8 else state.float()
        if scaled.ndim == 4:  # images: channels last is the order in which convolutions are fast
            scaled = scaled.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            return network(scaled).float()

    @torch.no_grad()
    def act(self, state: np.ndarray, epsilon: float, random: np.random.Generator) -> np.ndarray:
        """a_t for states (n, stack, *frame): random with probability epsilon, else argmax_a Q(phi(s_t), a)."""
        values = self.values(self.q, torch.as_tensor(state, device=self.device))
        return epsilon_greedy(values.argmax(dim=1).cpu().numpy(), self.actions, epsilon, random)

    def update(self, batch: Batch) -> torch.Tensor:
        """One gradient step on (y_j - Q(phi_j, a_j))^2 with respect to Q's weights only; returns the loss."""
        with torch.no_grad():
            next_values = self.values(self.target, batch.next_state)
            if self.config.double:
                best = self.values(self.q, batch.next_state)
                y = double_td_target(batch.reward, batch.terminal, next_values, best, batch.discount)
            else:
                y = td_target(batch.reward, batch.terminal, next_values, batch.discount)
        q = self.values(self.q, batch.state).gather(1, batch.action[:, None]).squeeze(1)
        loss = functional.huber_loss(q, y) if self.config.loss == "huber" else functional.mse_loss(q, y)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def sync(self) -> None:
        """Reset Q^ = Q."""
        self.target.load_state_dict(self.q.state_dict())

    def _parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        return {"q": self.q, "target": self.target, "optimizer": self.optimizer}

    def state_dict(self) -> dict[str, Any]:
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, part in self._parts().items():
            part.load_state_dict(state[name])


class Tick(NamedTuple):
    """What one vector step brought."""

    epsilon: float
    episodes: list[tuple[int, float, int]]
    """(agent step, return, length) of each episode that ended: raw rewards, length in agent steps."""


class Training:
    """Algorithm 1 and all that changes while it runs; `state_dict` holds every bit of it."""

    def __init__(self, config: DQNConfig, where: torch.device):
        self.config = config
        self.envs = make_envs(config, config.num_envs)
        shape = self.envs.single_observation_space.shape
        frame_type = torch.from_numpy(np.empty(0, self.envs.single_observation_space.dtype)).dtype
        self.replay = Replay(
            config.replay_capacity, config.num_envs, shape[1:], frame_type,
            stack=shape[0], seed=config.seed, gamma=config.gamma, n_step=config.n_step, device=where,
        )  # fmt: skip
        self.agent = DQN(shape, int(self.envs.single_action_space.n), config, where)
        self.random = np.random.default_rng(config.seed)
        self.step = 0  # agent steps taken, over all environments
        self.updates = 0
        self.loss = torch.tensor(torch.nan)  # of the newest update, left on its device
        self.state, _ = self.envs.reset(seed=config.seed)
        self.ended = np.zeros(config.num_envs, bool)  # environments whose next step only resets them
        self.episode_return = np.zeros(config.num_envs)
        self.episode_length = np.zeros(config.num_envs, int)

    def __iter__(self) -> Iterator[Tick]:
        """Algorithm 1, one vector step at a time, until `total_steps`."""
        config = self.config
        while self.step < config.total_steps:
            # With probability epsilon select a random action a_t, otherwise argmax_a Q(phi(s_t), a)
            epsilon = linear_epsilon(self.step, config.epsilon_start, config.epsilon_end, config.epsilon_steps)
            action = self.agent.act(self.state, epsilon, self.random)
            # Execute a_t in the emulator and observe the reward r_t and the image x_{t+1}
            next_state, reward, terminated, truncated, info = self.envs.step(action)
            # Store the transition (phi_t, a_t, r_t, phi_{t+1}) in D
            live = ~self.ended
            learned = np.sign(reward) if config.clip_rewards else reward
            self.replay.add(self.state[:, -1], action, learned, terminated | info["life_lost"], live)
            self.state, self.ended = next_state, terminated | truncated
            self.step += int(live.sum())
            # Sample a minibatch of transitions from D and perform a gradient step; every C steps reset Q^ = Q
            while self.updates < (self.step - config.learning_starts) // config.train_every:
                self.loss = self.agent.update(self.replay.sample(config.batch_size))
                self.updates += 1
                if self.updates % config.target_every == 0:
                    self.agent.sync()
            yield Tick(epsilon, self._count(reward, live))

    def _count(self, reward: np.ndarray, live: np.ndarray) -> list[tuple[int, float, int]]:
        """Add raw rewards up; the episodes that this vector step ended, each at an agent step of its own."""
        self.episode_return += reward
        self.episode_length += live
        at = self.step - int(live.sum()) + np.cumsum(live)
        over = np.flatnonzero(self.ended)
        episodes = [(int(at[i]), float(self.episode_return[i]), int(self.episode_length[i])) for i in over]
        self.episode_return[over] = 0
        self.episode_length[over] = 0
        return episodes

    def state_dict(self) -> dict[str, Any]:
        exact = hasattr(self.envs, "snapshot")
        return {
            "agent": self.agent.state_dict(),
            "replay": self.replay.state_dict(),
            "random": self.random.bit_generator.state,
            "step": self.step,
            "updates": self.updates,
            "loss": self.loss,
            "envs": self.envs.snapshot() if exact else None,
            "ended": self.ended,
            "episode_return": self.episode_return,
            "episode_length": self.episode_length,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.agent.load_state_dict(state["agent"])
        self.replay.load_state_dict(state["replay"])
        self.random.bit_generator.state = state["random"]
        self.step, self.updates, self.loss = state["step"], state["updates"], state["loss"]
        if state["envs"] is None:  # the emulator cannot be put back: new games, and no transition into them
            self.replay.cut()
            self.state, _ = self.envs.reset(seed=self.config.seed + self.step)
            return
        self.state = self.envs.restore(state["envs"])
        self.ended = state["ended"]
        self.episode_return, self.episode_length = state["episode_return"], state["episode_length"]
