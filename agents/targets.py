"""What Q is moved towards, as pure functions. B transitions, A actions, N atoms of a distribution."""

import torch
from torch.nn import functional


def td_target(
    reward: torch.Tensor, terminal: torch.Tensor, next_value: torch.Tensor, gamma: float | torch.Tensor
) -> torch.Tensor:
    """y_j = r_j where the episode ends at j + 1, else r_j + gamma Q^(phi_{j+1}, a').

    Algorithm 1, line "Set y_j" (Mnih et al., 2015), for the action a' that `greedy` chose. A time limit is no end: the
    caller leaves terminal False there (Pardo et al., 2018, "Time limits in reinforcement learning").

    reward (B,), terminal (B,) bool, next_value (B,), gamma one number or (B,) -> (B,); all may have a last dimension N.
    """
    return reward + gamma * next_value * ~terminal


def greedy(next_values: torch.Tensor, online_next_values: torch.Tensor | None = None) -> torch.Tensor:
    """The action a' whose value is bootstrapped from: argmax_a' Q^(phi_{j+1}, a'); (B, A) -> (B,).

    Double DQN (van Hasselt, Guez and Silver, 2016, AAAI, equation 4): given the online network's values, their argmax.
    """
    return (next_values if online_next_values is None else online_next_values).argmax(dim=1)


def munchausen_bonus(
    values: torch.Tensor, action: torch.Tensor, *, alpha: float = 0.9, temperature: float = 0.03, lowest: float = -1.0
) -> torch.Tensor:
    """alpha [tau log pi(a|s)]_lowest^0, added to the reward; pi = softmax(Q^(s, .) / tau).

    Munchausen DQN (Vieillard, Pietquin and Geist, 2020, NeurIPS, equation 4). values (B, A), action (B,) -> (B,)
    """
    log_policy = temperature * functional.log_softmax(values / temperature, dim=1)
    return alpha * log_policy.gather(1, action[:, None]).squeeze(1).clamp(lowest, 0.0)


def soft_value(next_values: torch.Tensor, temperature: float = 0.03) -> torch.Tensor:
    """sum_a' pi(a'|s') (Q^(s', a') - tau log pi(a'|s')) = tau log sum_a' exp(Q^(s', a') / tau): what Munchausen DQN
    bootstraps from instead of the maximum; (B, A) -> (B,)
    """
    return temperature * torch.logsumexp(next_values / temperature, dim=1)


def categorical_projection(position: torch.Tensor, probability: torch.Tensor, support: torch.Tensor) -> torch.Tensor:
    """Probabilities moved onto the support: each is shared by the two atoms beside it, the nearer one gets more.

    C51 (Bellemare, Dabney and Munos, 2017, ICML, equation 7). position (B, N): where each atom came to lie, probability
    (B, N), support (N,) evenly spaced -> (B, N)
    """
    low, high = support[0], support[-1]
    step = (high - low) / (len(support) - 1)
    # In units of the support's spacing, a hat function of width 1 around each atom: (B, N from, N to)
    distance = (position.clamp(low, high)[:, :, None] - support) / step
    return (probability[:, :, None] * (1 - distance.abs()).clamp(min=0)).sum(dim=1)


def quantile_huber_loss(quantiles: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """QR-DQN (Dabney et al., 2018, AAAI, equation 10, kappa = 1): each quantile against each target; -> (B,)

    quantiles (B, N): estimated at (2 i + 1) / 2N; targets (B, M): quantiles of the target distribution.
    """
    number = quantiles.shape[1]
    share = (torch.arange(number, device=quantiles.device) + 0.5) / number  # tau^_i, (N,)
    error = targets[:, None, :] - quantiles[:, :, None]  # (B, N, M)
    huber = functional.huber_loss(error, torch.zeros_like(error), reduction="none")
    return ((share[:, None] - (error < 0).float()).abs() * huber).mean(dim=2).sum(dim=1)
