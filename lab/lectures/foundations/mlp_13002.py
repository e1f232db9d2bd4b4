"""A net of 784-16-16-10 sigmoid units has 13,002 parameters and reads digits; the slide's own list has one too many.

Lecture: L2, 15. Deep Learning
Slide: Cost function; the list beside the negative gradient
Says: "13,002 weights and biases" "for this network we want the activations to be values between 0 and 1" "Understand
    MLP, understand everything"
Doubt: The list of what should change runs from w_0 to w_13,002: 13,003 numbers. Activations lie between 0 and 1 in real
    arithmetic only; in the float32 that programs use, a sigmoid rounds to exactly 1 above about 17. The images of the
    slide are 28 x 28; here 8 x 8 digits are enlarged to that size.
Kind: chance
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from sklearn.datasets import load_digits

from lab import console
from lab.lectures import Outcome, check, control, doubt, report, setting
from lab.plots import BLUE, DARK_GREY, GREY, VERMILION, canvas, label
from lab.stats import bootstrap


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(5, 1, 50, quick=3)
    """Random starts of the net."""
    hidden: int = setting(16, 1, 512)
    """Units of each of the two hidden layers; the slide has 16."""
    steps: int = setting(3000, 1, 50000, quick=500)
    """Steps of plain stochastic gradient descent, on 20 random images each, on L2's squared cost."""
    rate: float = setting(3.0, 1e-4, 100.0)
    """Learning rate; of 0.3, 1 and 3, and of Adam's 0.0003 and 0.001, the best on 200 held-out training images."""


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """1797 handwritten digits, enlarged from 8 x 8 to 28 x 28: images (n, 784) in 0..1, shuffled, and labels (n,)."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    images = torch.tensor(x[order] / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    large = torch.nn.functional.interpolate(images, size=(28, 28), mode="bilinear", align_corners=False)
    return large.reshape(-1, 784).clamp(0, 1), torch.tensor(y[order])


def parameters(sizes: tuple[int, ...]) -> int:
    """Weights and biases of a net of layers of these sizes."""
    return sum(below * above + above for below, above in pairwise(sizes))


def network(sizes: tuple[int, ...], seed: int) -> torch.nn.Sequential:
    """Linear layers with a sigmoid after each, the last one too."""
    torch.manual_seed(seed)
    layers: list[torch.nn.Module] = []
    for below, above in pairwise(sizes):
        layers += [torch.nn.Linear(below, above), torch.nn.Sigmoid()]
    return torch.nn.Sequential(*layers)


def activations(net: torch.nn.Sequential, x: torch.Tensor) -> list[torch.Tensor]:
    """What the units of every layer hold, (image, unit) each, the input first."""
    held = [x]
    for linear, bend in zip(net[::2], net[1::2], strict=True):
        held.append(bend(linear(held[-1])))
    return held


def train(net: torch.nn.Sequential, x: torch.Tensor, y: torch.Tensor, settings: Settings, seed: int) -> list[float]:
    """Descent on the squared distance to the one-hot label, summed over the ten outputs; returns that cost."""
    optimiser = torch.optim.SGD(net.parameters(), settings.rate)
    random, wanted, costs = torch.Generator().manual_seed(seed), torch.nn.functional.one_hot(y, 10).float(), []
    for _ in range(settings.steps):
        rows = torch.randint(len(x), (20,), generator=random)
        cost = ((net(x[rows]) - wanted[rows]) ** 2).sum(1).mean()
        optimiser.zero_grad()
        cost.backward()
        optimiser.step()
        costs.append(cost.item())
    return costs


def measure(settings: Settings) -> Outcome:
    x, y = digits()
    sizes = (784, settings.hidden, settings.hidden, 10)
    right, low, high, costs = [], 1.0, 0.0, []
    with console.bar("13,002 parameters", settings.seeds, "nets") as advance:
        for seed in range(settings.seeds):
            net = network(sizes, seed)
            counted = sum(parameter.numel() for parameter in net.parameters())
            costs.append(train(net, x[500:], y[500:], settings, seed))
            with torch.no_grad():
                right.append(100 * (net(x[:500]).argmax(1) == y[:500]).float().mean().item())
                held = activations(net.double(), x[:500].double())[1:]
            low, high = min(low, *(a.min().item() for a in held)), max(high, *(a.max().item() for a in held))
            advance()
    listed = len(range(13_002 + 1))  # w_0, w_1, ..., w_13,002
    findings = [
        check("weights and biases by the formula", parameters(sizes), "== 13,002"),
        check("weights and biases of the net in torch", counted, "== 13,002"),
        check("entries of the slide's list w_0 .. w_13,002", listed, "== 13,002"),
        control(check("test digits right, %", float(np.mean(right)), ">= 90", bootstrap(right, np.mean), right)),
        check("smallest activation, float64", low, ">= 0"),
        check("largest activation, float64", high, "<= 1"),
        doubt(check("largest activation, float64, distance to 1", 1 - high, "== 0")),
        report("share of the parameters that lie in the first layer", (784 * sizes[1] + sizes[1]) / parameters(sizes)),
    ]
    budget = (
        f"{settings.seeds} nets {'-'.join(map(str, sizes))}, {settings.steps} steps on 20 of 1297 digits each, rate "
        f"{settings.rate:g}; 500 test digits; means over nets"
    )
    return Outcome(findings, picture(sizes, right, costs), budget, {"cost": costs[0]})


def picture(sizes: tuple[int, ...], right: list[float], costs: list[list[float]]):
    """Left: the parameters layer by layer. Right: the cost of every start over its training."""
    figure, axes = canvas(1, 2, width=13, height=5.2)
    left, panel = axes[0]
    names = [f"{below} × {above} + {above}" for below, above in pairwise(sizes)]
    counts = [parameters(pair) for pair in pairwise(sizes)]
    left.barh(names, counts, color=[BLUE, GREY, GREY])
    for row, count in enumerate(counts):
        left.text(count + 150, row, f"{count:,}", va="center", fontsize=17, fontweight="bold")
    left.invert_yaxis()
    left.set(xlim=(0, 1.2 * max(counts)))
    left.tick_params(axis="y", labelsize=15)
    label(left, "", "weights and biases, layer by layer")
    left.set_title(f"{'-'.join(map(str, sizes))}: {sum(counts):,} parameters", loc="left", fontsize=17,
                   fontweight="bold")  # fmt: skip
    for path in costs:
        smooth = np.convolve(path, np.ones(20) / 20, "valid") if len(path) >= 20 else np.array(path)
        panel.plot(np.arange(len(smooth)) + 1, smooth, color=VERMILION, alpha=0.7, linewidth=2)
    panel.set(xscale="log", yscale="log")
    panel.axhline(0.9, color=DARK_GREY, linestyle="--", linewidth=1.5)
    # at the end, where the curves are far below
    panel.text(0.98, 0.92, "ten outputs of 0.1", fontsize=13, color=DARK_GREY, va="bottom", ha="right",
               transform=panel.get_yaxis_transform())  # fmt: skip
    label(panel, "", "step (a line a start; mean of 20 steps)", "cost")
    panel.set_title(f"It reads {np.mean(right):.1f} % of the test digits", loc="left", fontsize=17, fontweight="bold")
    return figure
