"""Ten sigmoids divide a gradient by a million; ReLU passes it on, if it is drawn after He and its units are alive.

Lecture: L2, 15. Deep Learning
Slide: the list of remedies (ReLU, Gradient clipping)
Says: "Gradient Vanishing"; among the remedies: "ReLU"
Doubt: The slide gives the word and no reason. The reason: a sigmoid's slope is at most 1/4, so ten of them are at most
    9.5e-7, while a ReLU's is 0 or 1. But the weights count as much: drawn as torch.nn.Linear does, ten ReLU layers lose
    a gradient too. And a ReLU's slope of 0 has a price: a unit that is off for every input learns nothing until the
    layers before it move.
Kind: chance
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from sklearn.datasets import load_digits

from lab import console
from lab.lectures import Outcome, check, doubt, report, setting
from lab.plots import BLACK, BLUE, GREEN, GREY, LIGHT_GREY, SKY, VERMILION, canvas, label
from lab.stats import bootstrap

NETS = {"sigmoid, Xavier": VERMILION, "ReLU, He": BLUE, "ReLU, torch's default": SKY}
SPREADS = {"sigmoid, Xavier": 1.0, "ReLU, He": 2**0.5, "ReLU, torch's default": 3**-0.5}
"""Standard deviation of the weights times the root of the fan-in."""


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(10, 1, 100, quick=3)
    """Random starts of each net."""
    depth: int = setting(10, 2, 50)
    """Hidden layers. The bound of 9.5e-7 is that of 10."""
    width: int = setting(64, 4, 512, quick=32)
    """Units of each."""
    steps: int = setting(100, 1, 5000, quick=20)
    """Steps of gradient descent on 600 digits, after which dead units are counted."""
    rate: float = setting(0.05, 1e-6, 10.0)
    """Learning rate; ten times as much is tried beside it."""


def start(name: str, settings: Settings, seed: int) -> list[torch.Tensor]:
    """Weights (in, out) of a net 64 - width x depth - 10, without biases."""
    random, spread = torch.Generator().manual_seed(seed), SPREADS[name]
    sizes = [64, *[settings.width] * settings.depth, 10]
    return [torch.randn(a, b, generator=random).mul_(spread / a**0.5).requires_grad_() for a, b in pairwise(sizes)]


def layers(name: str, weights: list[torch.Tensor], x: torch.Tensor) -> list[torch.Tensor]:
    """Outputs of every layer (batch, units), the logits last."""
    outputs = [x]
    for w in weights[:-1]:
        total = outputs[-1] @ w
        outputs.append(torch.relu(total) if "ReLU" in name else torch.sigmoid(total))
    return [*outputs[1:], outputs[-1] @ weights[-1]]


def arriving(name: str, weights: list[torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    """Norm of the loss's gradient at the inputs and each hidden layer's outputs over the last one's, (depth + 1,)."""
    inputs = x.clone().requires_grad_()
    *hidden, logits = layers(name, weights, inputs)
    loss = torch.nn.functional.cross_entropy(logits, y)
    norms = [gradient.norm().item() for gradient in torch.autograd.grad(loss, [inputs, *hidden])]
    return np.array(norms) / norms[-1]


def dead(weights: list[torch.Tensor], x: torch.Tensor) -> float:
    """Share of the hidden ReLU units that are off for every input."""
    with torch.no_grad():
        off = [(output <= 0).all(dim=0) for output in layers("ReLU", weights, x)[:-1]]
    return torch.cat(off).float().mean().item()


def train(weights: list[torch.Tensor], x: torch.Tensor, y: torch.Tensor, steps: int, rate: float) -> None:
    optimiser = torch.optim.SGD(weights, lr=rate)
    for _ in range(steps):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(layers("ReLU", weights, x)[-1], y).backward()
        optimiser.step()


def measure(settings: Settings) -> Outcome:
    data = load_digits()
    x = torch.tensor((data.data[:600] - data.data.mean()) / data.data.std(), dtype=torch.float32)
    y = torch.tensor(data.target[:600])
    seeds = range(settings.seeds)
    curves = {name: np.array([arriving(name, start(name, settings, s), x, y) for s in seeds]) for name in NETS}
    shares: dict[str, list[float]] = {"at the start": [], "after training": [], "after training, rate x 10": []}
    with console.bar("dead units", settings.seeds, "nets") as advance:
        for seed in seeds:
            weights = start("ReLU, He", settings, seed)
            shares["at the start"].append(dead(weights, x))
            for when, rate in zip(list(shares)[1:], (settings.rate, 10 * settings.rate), strict=True):
                weights = start("ReLU, He", settings, seed)
                train(weights, x, y, settings.steps, rate)
                shares[when].append(dead(weights, x))
            advance()
    z = torch.linspace(-10, 10, 2001, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(torch.sigmoid(z).sum(), z)
    bound = slope.max().item() ** settings.depth

    def ratio(name: str, condition: str):
        values = curves[name][:, 0]
        return check(f"{name}: gradient at the inputs over layer {settings.depth}", float(np.median(values)), condition,
                     bootstrap(values), values.tolist())  # fmt: skip

    findings = [
        check(f"largest product of {settings.depth} slopes of a sigmoid", bound, "== 9.5e-7 +- 5e-9"),
        ratio("sigmoid, Xavier", "< 1e-5"),
        ratio("ReLU, He", "in 0.1 .. 10"),
        doubt(ratio("ReLU, torch's default", "< 0.1")),
        *(report(f"dead ReLU units {when}", float(np.median(share)), bootstrap(share), share)
          for when, share in shares.items()),
    ]  # fmt: skip
    budget = (
        f"3 nets of {settings.depth} hidden layers of {settings.width}, {settings.seeds} starts each, one pass on 600 "
        f"digits; {2 * settings.seeds} trained {settings.steps} full-batch steps at rates {settings.rate:g} and "
        f"{10 * settings.rate:g}"
    )
    return Outcome(findings, picture(curves, shares, bound), budget)


def picture(curves: dict[str, np.ndarray], shares: dict[str, list[float]], bound: float):
    """Left: the gradient on its way back through the layers. Right: the share of dead units."""
    figure, axes = canvas(1, 2, width=13, height=5.4, width_ratios=[1.7, 1])
    left, right = axes[0]
    for name, each in curves.items():
        depth = np.arange(each.shape[1])
        middle = np.median(each, axis=0)
        left.fill_between(depth, each.min(0), each.max(0), color=NETS[name], alpha=0.2, linewidth=0)
        left.plot(depth, middle, "o-", color=NETS[name], linewidth=3.5, label=f"{name}: {middle[0]:.1g}")
    power = bound ** ((depth[-1] - depth) / depth[-1])
    left.plot(depth, power, color=GREY, linestyle="--", linewidth=2, label="¼ per layer: a sigmoid's largest slope")
    left.axhspan(0.1, 10, color=LIGHT_GREY, alpha=0.35, linewidth=0)
    left.set(yscale="log", xlim=(depth[-1] + 0.2, -0.2))
    label(
        left, "", "layer, from the last back to the inputs, 0 (band: range over nets)", "gradient / that of last layer"
    )
    alive = 0.1 < np.median(curves["ReLU, He"][:, 0]) < 10
    title = "ReLU passes the gradient on, if drawn after He" if alive else "Not even ReLU drawn after He passes it on"
    left.set_title(title, loc="left", fontsize=16, fontweight="bold")
    left.legend(loc="lower left", fontsize=13)
    for place, share in enumerate(shares.values()):
        colour = (GREEN, BLUE, VERMILION)[place]
        right.bar(place, 100 * np.median(share), color=colour, alpha=0.8, width=0.6)
        right.plot([place] * len(share), 100 * np.array(share), "o", color=BLACK, alpha=0.5, markersize=6)
    right.set_xticks(range(3), ["start", "trained", "trained,\nrate × 10"], fontsize=13)
    right.set_ylim(bottom=0)
    label(right, "", "", "ReLU units off for all images, %")
    start, trained = (100 * np.median(share) for share in list(shares.values())[:2])
    right.set_title(f"Dead: {start:.0f} % at first, {trained:.0f} % later", loc="left", fontsize=16, fontweight="bold")
    return figure
