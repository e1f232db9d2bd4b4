"""TD targets as pure functions."""

import torch


def td_target(reward: torch.Tensor, terminal: torch.Tensor, next_values: torch.Tensor, gamma: float) -> torch.Tensor:
    """y_j = r_j where the episode ends at j + 1, else r_j + gamma max_a' Q^(phi_{j+1}, a').

    Algorithm 1, line "Set y_j" (Mnih et al., 2015). A time limit is no end: the caller leaves terminal False there
    (Pardo et al., 2018, "Time limits in reinforcement learning").

    reward (B,), terminal (B,) bool, next_values (B, actions) of the target network -> (B,)
    """
    return reward + gamma * next_values.max(dim=1).values * ~terminal
