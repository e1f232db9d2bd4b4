"""TD targets as pure functions."""

import torch


def td_target(
    reward: torch.Tensor, terminal: torch.Tensor, next_values: torch.Tensor, gamma: float | torch.Tensor
) -> torch.Tensor:
    """y_j = r_j where the episode ends at j + 1, else r_j + gamma max_a' Q^(phi_{j+1}, a').

    Algorithm 1, line "Set y_j" (Mnih et al., 2015). A time limit is no end: the caller leaves terminal False there
    (Pardo et al., 2018, "Time limits in reinforcement learning").

    reward (B,), terminal (B,) bool, next_values (B, actions) of the target network, gamma one number or (B,) -> (B,)
    """
    return reward + gamma * next_values.max(dim=1).values * ~terminal


def double_td_target(
    reward: torch.Tensor, terminal: torch.Tensor, next_values: torch.Tensor, online_next_values: torch.Tensor,
    gamma: float | torch.Tensor,
) -> torch.Tensor:  # fmt: skip
    """As td_target, but a' is the best by the online network: r_j + gamma Q^(phi_{j+1}, argmax_a' Q(phi_{j+1}, a')).

    Double DQN (van Hasselt, Guez and Silver, 2016, AAAI, equation 4). online_next_values (B, actions) -> (B,)
    """
    best = online_next_values.argmax(dim=1, keepdim=True)
    return td_target(reward, terminal, next_values.gather(1, best), gamma)
