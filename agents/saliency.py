"""Where an agent looks: how its value V(s) = max_a Q(s, a) depends on each place of what it sees.

Two answers to different questions. The gradient says which pixels would change V if they changed a little: quick, but
scattered, and strong also where nothing ever changes. Occlusion blurs a spot away and says what V loses by it: what the
agent goes by in this very picture, and the one to believe where the two differ. Neither says what the agent would do:
a place may matter to V and not to the choice between actions.
"""

from collections.abc import Callable

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch.nn import functional

from agents.dqn import DQN

# Of a picture's shorter side, after Greydanus et al. (2018), whose pictures have 80 pixels a side: a spot of sigma 5
# every 5 pixels, blurred with sigma 3.
SPOT, BLUR, SPACING = 5 / 80, 3 / 80, 1 / 20
BATCH = 64


def gradient(agent: DQN, states: np.ndarray) -> np.ndarray:
    """|dV/ds| (Simonyan et al., 2014, as in Wang et al., 2016) of states (n, stack, *frame): (n, *frame), float32.

    Of the frames of a stack the largest counts at each place. Pictures are smoothed with a sigma of 1/42 of their
    shorter side (2 pixels of 84), which takes the speckle away.
    """
    x = scaled(agent, states).requires_grad_()
    (slope,) = torch.autograd.grad(agent.values(agent.q, x).amax(dim=1).sum(), x)
    largest = slope.abs().amax(dim=1).cpu().numpy()  # (n, *frame)
    if largest.ndim < 3:  # vectors: neighbours in them have nothing to do with each other
        return largest
    sigma = min(largest.shape[1:]) / 42
    return gaussian_filter(largest, (0, sigma, sigma))


@torch.no_grad()
def occlusion(agent: DQN, states: np.ndarray, advance: Callable[[], object] = lambda: None) -> np.ndarray:
    """What V loses where a soft spot is blurred away (Greydanus et al., 2018, equations 1 to 3): (n, height, width).

    states: pictures (n, stack, height, width); all frames of a stack are blurred at the same place. The change is
    (V(s) - V(s'))^2 / 2 on a grid of spots, drawn out to every pixel. `advance` is called after each state.
    """
    x = scaled(agent, states)
    height, width = x.shape[2:]
    side = min(height, width)
    # a picture of ten pixels is blurred by at least one, or its dots would stay
    sigma = max(1.0, BLUR * side)
    blurred = torch.from_numpy(gaussian_filter(x.cpu().numpy(), (0, 0, sigma, sigma))).to(x)
    spacing = max(1, round(SPACING * side))
    rows, columns = (np.arange(spacing // 2, length, spacing) for length in (height, width))
    masks = torch.from_numpy(_spots(rows, columns, height, width, SPOT * side)).to(x)[:, None]  # (spots, 1, h, w)
    maps = []
    for seen, without in zip(x, blurred, strict=True):
        value = agent.values(agent.q, seen[None]).max()
        hidden = [seen + mask * (without - seen) for mask in masks.split(BATCH)]  # each (batch, stack, h, w)
        values = torch.cat([agent.values(agent.q, part).amax(dim=1) for part in hidden])
        change = (value - values).square().reshape(1, 1, len(rows), len(columns)) / 2
        maps.append(functional.interpolate(change, (height, width), mode="bilinear")[0, 0].cpu().numpy())
        advance()
    return np.stack(maps)


def scaled(agent: DQN, states: np.ndarray) -> torch.Tensor:
    """States as the network takes them, on its device: pixels in [0, 1], others as they are, all float32."""
    x = torch.as_tensor(states, device=agent.device)
    return x.float() / 255 if x.dtype == torch.uint8 else x.float()


def concentration(maps: np.ndarray) -> float:
    """The share of a picture's area that holds half of what its map (n, height, width) adds up to; the mean over n."""
    shares = []
    for weights in maps.reshape(len(maps), -1):
        heaped = np.cumsum(np.sort(weights)[::-1])
        shares.append((np.searchsorted(heaped, heaped[-1] / 2) + 1) / len(weights))
    return float(np.mean(shares))


def _spots(rows: np.ndarray, columns: np.ndarray, height: int, width: int, sigma: float) -> np.ndarray:
    """A Gaussian of height 1 about each (row, column) of the grid: (rows x columns, height, width), float32."""
    down = np.exp(-((np.arange(height) - rows[:, None]) ** 2) / (2 * sigma**2))  # (rows, height)
    across = np.exp(-((np.arange(width) - columns[:, None]) ** 2) / (2 * sigma**2))
    grid = down[:, None, :, None] * across[None, :, None, :]  # (rows, columns, height, width)
    return grid.reshape(-1, height, width).astype(np.float32)
