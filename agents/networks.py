"""Q-networks: a state in, for each action its value or the distribution of its return out.

Every network is a `trunk`, whose output is the last hidden layer, and a `head` on it. Dueling, noisy and distributional
networks differ in the head, and noisy ones in the hidden layer.
"""

from collections.abc import Callable
from math import prod

import torch
from torch import nn
from torch.nn import functional

from agents.trunk import BlockConv2d, Trunk

Layer = Callable[[int, int], nn.Module]


class NoisyLinear(nn.Linear):
    """Noisy networks (Fortunato et al., 2018, ICLR, equation 9), factorised: weight + sigma * f(e_out) f(e_in)^T.

    Without noise, as after `no_noise`, it is nn.Linear; `sample_noise` draws e anew.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs)
        sigma = 0.5 * inputs**-0.5
        self.weight_sigma = nn.Parameter(torch.full((outputs, inputs), sigma))
        self.bias_sigma = nn.Parameter(torch.full((outputs,), sigma))
        self.noise_in: torch.Tensor
        self.noise_out: torch.Tensor
        self.register_buffer("noise_in", torch.zeros(inputs), persistent=False)
        self.register_buffer("noise_out", torch.zeros(outputs), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight + self.weight_sigma * torch.outer(self.noise_out, self.noise_in)
        return functional.linear(x, weight, self.bias + self.bias_sigma * self.noise_out)


def sample_noise(network: nn.Module, random: torch.Generator) -> None:
    """Draw new noise for every noisy layer: f(e) = sign(e) sqrt(|e|), e standard normal."""
    for layer in network.modules():
        if isinstance(layer, NoisyLinear):
            for noise in (layer.noise_in, layer.noise_out):
                noise.normal_(generator=random)
                noise.copy_(noise.sign() * noise.abs().sqrt())


def no_noise(network: nn.Module) -> None:
    """Let every noisy layer compute with its mean weights."""
    for layer in network.modules():
        if isinstance(layer, NoisyLinear):
            layer.noise_in.zero_()
            layer.noise_out.zero_()


def dormant(trunk: nn.Sequential, x: torch.Tensor) -> list[float]:
    """Share of units that are 0 on all of x (n, ...), for each ReLU of `trunk`; a filter is one unit.

    Sokar et al. (2023, ICML, definition 3.1), with the threshold at 0. Where a share is 1 nothing passes.
    """
    shares = []
    for layer in trunk:
        x = layer(x)
        if isinstance(layer, nn.ReLU):
            shares.append(float((x == 0).transpose(0, 1).flatten(1).all(dim=1).float().mean()))
    return shares


def nature_trunk(stack: int, linear: Layer, streams: int) -> Trunk:
    """Mnih et al. (2015): (batch, stack, 84, 84) in [0, 1] -> (batch, streams * 512)."""
    return Trunk(
        BlockConv2d(stack, 32, 8), nn.ReLU(),  # (batch, 32, 20, 20)
        nn.Conv2d(32, 64, 4, stride=2), nn.ReLU(),  # (batch, 64, 9, 9)
        nn.Conv2d(64, 64, 3, stride=1), nn.ReLU(),  # (batch, 64, 7, 7)
        nn.Flatten(),
        linear(64 * 7 * 7, streams * 512), nn.ReLU(),
    )  # fmt: skip


def nips_trunk(stack: int, linear: Layer, streams: int) -> Trunk:
    """Mnih et al. (2013), a third of the Nature network's work: (batch, stack, 84, 84) -> (batch, streams * 256)."""
    return Trunk(
        BlockConv2d(stack, 16, 8), nn.ReLU(),  # (batch, 16, 20, 20)
        nn.Conv2d(16, 32, 4, stride=2), nn.ReLU(),  # (batch, 32, 9, 9)
        nn.Flatten(),
        linear(32 * 9 * 9, streams * 256), nn.ReLU(),
    )  # fmt: skip


def small_trunk(shape: tuple[int, int, int], linear: Layer, streams: int) -> nn.Sequential:
    """For images of some ten pixels: (batch, stack, height, width) in [0, 1] -> (batch, streams * 128)."""
    stack, height, width = shape
    return nn.Sequential(
        nn.Conv2d(stack, 16, 3, padding=1), nn.ReLU(),
        nn.Conv2d(16, 16, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(),
        linear(16 * -(-height // 2) * -(-width // 2), streams * 128), nn.ReLU(),
    )  # fmt: skip


def vector_trunk(features: int, linear: Layer, streams: int) -> nn.Sequential:
    """For vectors: (batch, stack, features) -> (batch, streams * 128)."""
    return nn.Sequential(nn.Flatten(), nn.Linear(features, 128), nn.ReLU(), linear(128, streams * 128), nn.ReLU())


class Head(nn.Module):
    """One linear layer: (batch, hidden) -> (batch, actions, atoms)."""

    def __init__(self, hidden: int, actions: int, atoms: int, linear: Layer):
        super().__init__()
        self.shape = (actions, atoms)
        self.out = linear(hidden, actions * atoms)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.out(hidden).unflatten(1, self.shape)


class DuelingHead(nn.Module):
    """Dueling networks (Wang et al., 2016, ICML, equation 9): Q = V + A - mean_a A, for each atom.

    The hidden layer's first half is the value's stream, its second half the advantages':
    (batch, 2 * hidden) -> (batch, actions, atoms)
    """

    def __init__(self, hidden: int, actions: int, atoms: int, linear: Layer):
        super().__init__()
        self.value = Head(hidden, 1, atoms, linear)
        self.advantage = Head(hidden, actions, atoms, linear)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        value, advantage = hidden.chunk(2, dim=1)
        advantages = self.advantage(advantage)
        return self.value(value) + advantages - advantages.mean(dim=1, keepdim=True)


class QNetwork(nn.Module):
    """States (batch, stack, *frame), pixels in [0, 1], -> (batch, actions, atoms)."""

    def __init__(
        self, shape: tuple[int, ...], actions: int, *, network: str = "nature", atoms: int = 1, dueling: bool = False,
        noisy: bool = False,
    ):  # fmt: skip
        """shape: of a state, (stack, *frame); network: "nature" or "nips", for frames of 84 x 84; atoms: numbers that
        describe the return of an action (see agents.distributions).

        Raises ValueError for frames that there is no network for.
        """
        super().__init__()
        linear, streams = NoisyLinear if noisy else nn.Linear, 1 + dueling
        if len(shape) == 3 and shape[1:] == (84, 84):
            self.trunk = {"nature": nature_trunk, "nips": nips_trunk}[network](shape[0], linear, streams)
        elif len(shape) == 3 and max(shape[1:]) <= 32:
            self.trunk = small_trunk(shape, linear, streams)
        elif len(shape) == 2:
            self.trunk = vector_trunk(prod(shape), linear, streams)
        else:
            raise ValueError(f"no Q-network for frames of shape {shape[1:]}; known: (84, 84), up to (32, 32), vectors")
        hidden = self.trunk[-2].bias.numel() // streams
        self.head = (DuelingHead if dueling else Head)(hidden, actions, atoms, linear)

    def forward(self, state: torch.Tensor) -> torch.Tensor:
        hidden = self.trunk(state)
        # In float32 always: bfloat16 has steps of .01 about a value of 2, and actions differ by less.
        with torch.autocast(hidden.device.type, enabled=False):
            return self.head(hidden.float())
