"""Q-networks: a state in, one action value per action out."""

from math import prod

import torch
from torch import nn


class NatureCNN(nn.Module):
    """The network of Mnih et al. (2015): 1,687,206 parameters for 6 actions.

    (batch, 4, 84, 84) in [0, 1] -> (batch, actions)
    """

    def __init__(self, stack: int, actions: int):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(stack, 32, 8, stride=4), nn.ReLU(),  # (batch, 32, 20, 20)
            nn.Conv2d(32, 64, 4, stride=2), nn.ReLU(),  # (batch, 64, 9, 9)
            nn.Conv2d(64, 64, 3, stride=1), nn.ReLU(),  # (batch, 64, 7, 7)
            nn.Flatten(),
            nn.Linear(64 * 7 * 7, 512), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(512, actions)

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        return self.head(self.trunk(state))


class SmallCNN(nn.Module):
    """For images of some ten pixels: (batch, stack, height, width) in [0, 1] -> (batch, actions)."""

    def __init__(self, shape: tuple[int, int, int], actions: int):
        super().__init__()
        stack, height, width = shape
        self.trunk = nn.Sequential(
            nn.Conv2d(stack, 16, 3, padding=1), nn.ReLU(),
            nn.Conv2d(16, 16, 3, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * -(-height // 2) * -(-width // 2), 128), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Linear(128, actions)

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        return self.head(self.trunk(state))


class MLP(nn.Module):
    """For vectors: (batch, stack, features) -> (batch, actions)."""

    def __init__(self, features: int, actions: int, width: int = 128):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Flatten(), nn.Linear(features, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
        )
        self.head = nn.Linear(width, actions)

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        return self.head(self.trunk(state))


def q_network(shape: tuple[int, ...], actions: int) -> nn.Module:
    """The network for states of `shape` (stack, *frame). Raises ValueError for frames that are neither."""
    if len(shape) == 3 and shape[1:] == (84, 84):
        return NatureCNN(shape[0], actions)
    if len(shape) == 3 and max(shape[1:]) <= 32:
        return SmallCNN(shape, actions)
    if len(shape) == 2:
        return MLP(prod(shape), actions)
    raise ValueError(f"no Q-network for frames of shape {shape[1:]}; known: (84, 84), up to (32, 32), and vectors")
