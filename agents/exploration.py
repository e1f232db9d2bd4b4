"""How an agent explores: epsilon-greedy, with epsilon falling over time."""

import numpy as np


def linear_epsilon(step: int, start: float, end: float, steps: int) -> float:
    """Epsilon at an agent step: from `start`, linearly over `steps`, then `end`."""
    return end + (start - end) * max(0.0, 1.0 - step / steps)


def epsilon_greedy(greedy: np.ndarray, actions: int, epsilon: float, random: np.random.Generator) -> np.ndarray:
    """With probability epsilon a uniformly random action, each environment with a coin of its own; (n,) -> (n,)."""
    explore = random.random(len(greedy)) < epsilon
    return np.where(explore, random.integers(actions, size=len(greedy)), greedy)
