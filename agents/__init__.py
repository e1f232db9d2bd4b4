"""Reinforcement learning: DQN with replay buffer and target network, and what it needs."""

import lab  # noqa: F401  (before torch: it says how threads wait)
