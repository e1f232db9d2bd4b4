"""What the network's numbers for an action mean: its value (`Expected`), or the distribution of its return.

Each class says how many numbers ("atoms") an action has, what value they stand for, and how far they are from a target.
"""

from typing import Protocol

import torch
from torch.nn import functional

from agents.config import DQNConfig
from agents.targets import categorical_projection, quantile_huber_loss, td_target


class Distribution(Protocol):
    """B transitions, A actions, N atoms."""

    atoms: int

    def values(self, output: torch.Tensor) -> torch.Tensor:
        """Expected returns of the network's output; (B, A, N) -> (B, A)."""

    def losses(
        self, chosen: torch.Tensor, following: torch.Tensor, reward: torch.Tensor, terminal: torch.Tensor,
        gamma: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        """Loss and size of the error of each transition, both (B,).

        chosen (B, N): Q's numbers of the action taken; following (B, N): the target network's of a'; others (B,).
        """


class Expected:
    """One number, the expected return, as in DQN (Mnih et al., 2015)."""

    atoms = 1

    def __init__(self, loss: str):
        """loss: "huber" or "squared"."""
        self.loss = functional.huber_loss if loss == "huber" else functional.mse_loss

    def values(self, output: torch.Tensor) -> torch.Tensor:
        return output.squeeze(2)

    def losses(self, chosen, following, reward, terminal, gamma):
        value, y = chosen[:, 0], td_target(reward, terminal, following[:, 0], gamma)
        return self.loss(value, y, reduction="none"), (y - value).detach().abs()


class Categorical:
    """Probabilities of evenly spaced returns, as logits: C51 (Bellemare, Dabney and Munos, 2017, ICML)."""

    def __init__(self, atoms: int, v_max: float, device: torch.device):
        self.atoms = atoms
        self.support = torch.linspace(-v_max, v_max, atoms, device=device)

    def values(self, output: torch.Tensor) -> torch.Tensor:
        # not their matrix product, which autocast would compute in bfloat16
        return (functional.softmax(output, dim=2) * self.support).sum(dim=2)

    def losses(self, chosen, following, reward, terminal, gamma):
        position = td_target(reward[:, None], terminal[:, None], self.support, gamma[:, None])  # (B, N)
        target = categorical_projection(position, functional.softmax(following, dim=1), self.support)
        loss = -(target * functional.log_softmax(chosen, dim=1)).sum(dim=1)
        # Rainbow's priority (Hessel et al., 2018) is the KL divergence, which is 0 for what was foreseen
        entropy = -torch.special.xlogy(target, target).sum(dim=1)
        return loss, (loss.detach() - entropy).clamp(min=0)


class Quantile:
    """Returns at evenly spaced probabilities: QR-DQN (Dabney et al., 2018, AAAI)."""

    def __init__(self, atoms: int):
        self.atoms = atoms

    def values(self, output: torch.Tensor) -> torch.Tensor:
        return output.mean(dim=2)

    def losses(self, chosen, following, reward, terminal, gamma):
        loss = quantile_huber_loss(chosen, td_target(reward[:, None], terminal[:, None], following, gamma[:, None]))
        return loss, loss.detach()


def distribution(config: DQNConfig, device: torch.device) -> Distribution:
    """The one that a config asks for."""
    if config.distribution == "categorical":
        return Categorical(config.atoms or 51, config.v_max, device)
    return Quantile(config.atoms or 200) if config.distribution == "quantile" else Expected(config.loss)
