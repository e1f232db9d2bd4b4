"""How an agent explores: epsilon-greedy, with epsilon falling over time and differing between environments."""

import torch


def linear_epsilon(step: int, start: float, end: float, steps: int) -> float:
    """Epsilon at an agent step: from `start`, linearly over `steps`, then `end`."""
    return end + (start - end) * max(0.0, 1.0 - step / steps)


def spread(num_envs: int, alpha: float) -> torch.Tensor:
    """Exponents e_i = 1 + alpha i / (n - 1) of the environments' own epsilons, epsilon^{e_i}; (num_envs,).

    Ape-X (Horgan et al., 2018, ICLR) has alpha 7; 0 is the same epsilon for all.
    """
    return 1 + alpha * torch.arange(num_envs) / max(1, num_envs - 1)


def epsilon_greedy(values: torch.Tensor, epsilon: float | torch.Tensor, random: torch.Generator | None) -> torch.Tensor:
    """With probability epsilon a uniformly random action, else the best; each environment has a coin of its own.

    values (n, actions), epsilon one number or (n,) -> (n,) int64
    """
    n, actions = values.shape
    explore = torch.rand(n, generator=random, device=values.device) < epsilon
    anything = torch.randint(actions, (n,), generator=random, device=values.device)
    return torch.where(explore, anything, values.argmax(dim=1))
