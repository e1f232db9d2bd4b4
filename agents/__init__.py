"""Reinforcement learning: DQN with replay buffer and target network, and what it needs."""
