"""Nets from different starts agree on almost every digit and share no weight; a convolution needs a fifth of them.

Lecture: L2, 15. Deep Learning
Slide: The Problem of MLP
Says: "Numerous Parameters; Poor Explanation due to Large Scale Minimum; Large Scale Minimum due to Large Scale
    Parameters" "Poor Flexibility"
Doubt: Read here as: there are many minima as good as each other. A part of them is a matter of names: the hidden units
    of one net can be put in any order. Whether two nets are more alike than they look is seen only after their units
    are matched. "Numerous" depends on what is needed: compared are nets that read as many digits.
Kind: chance
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import combinations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.datasets import load_digits

from lab import console
from lab.lectures import Outcome, check, doubt, report, setting
from lab.plots import BLUE, DARK_GREY, GREY, ORANGE, VERMILION, canvas, label
from lab.stats import bootstrap

WIDTHS = (2, 4, 8, 16, 32, 64, 128)
BATCH = 50


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(6, 2, 20, quick=3)
    """Random starts of each net; every pair of them is compared."""
    steps: int = setting(600, 1, 20000, quick=60)
    """Adam steps on 50 images each, rate 0.002, for every net alike."""
    hidden: int = setting(64, 2, 128)
    """Hidden units of the nets whose weights are compared."""


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """1797 digits, enlarged from 8 x 8 to 28 x 28: images (n, 784) in 0..1, shuffled, and labels (n,)."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    images = torch.tensor(x[order] / 16, dtype=torch.float32).reshape(-1, 1, 8, 8)
    large = torch.nn.functional.interpolate(images, size=(28, 28), mode="bilinear", align_corners=False)
    return large.reshape(-1, 784), torch.tensor(y[order])


def mlp(hidden: int) -> torch.nn.Sequential:
    return torch.nn.Sequential(torch.nn.Linear(784, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 10))


def cnn() -> torch.nn.Sequential:
    return torch.nn.Sequential(
        torch.nn.Unflatten(1, (1, 28, 28)), torch.nn.Conv2d(1, 8, 5, 2), torch.nn.ReLU(), torch.nn.Conv2d(8, 16, 3, 2),
        torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(16 * 5 * 5, 10),
    )  # fmt: skip


def count(net: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def train(make, seed: int, x: torch.Tensor, y: torch.Tensor, steps: int) -> torch.nn.Sequential:
    """A net made and trained from `seed`; the rate falls to 0 along a cosine."""
    torch.manual_seed(seed)
    net, random = make(), torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(net.parameters(), 0.002)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for _ in range(steps):
        rows = torch.randint(len(x), (BATCH,), generator=random)
        loss = torch.nn.functional.cross_entropy(net(x[rows]), y[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return net


def units(net: torch.nn.Sequential) -> np.ndarray:
    """The weights into and out of every hidden unit, (unit, 784 + 1 + 10)."""
    first, last = net[0], net[2]
    return torch.cat([first.weight, first.bias[:, None], last.weight.T], 1).detach().numpy()


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))


def permuted(net: torch.nn.Sequential, order: np.ndarray) -> torch.nn.Sequential:
    """The same net with its hidden units in another order."""
    other = mlp(len(order))
    other[0].weight.data, other[0].bias.data = net[0].weight.data[order], net[0].bias.data[order]
    other[2].weight.data, other[2].bias.data = net[2].weight.data[:, order], net[2].bias.data
    return other


def measure(settings: Settings) -> Outcome:
    x, y = digits()
    x, y, test, truth = x[500:], y[500:], x[:500], y[:500].numpy()
    seeds = range(settings.seeds)
    makers: dict[int | str, Callable[[], torch.nn.Sequential]] = {
        width: partial(mlp, width) for width in sorted({*WIDTHS, settings.hidden})
    }
    makers["CNN"] = cnn
    nets: dict[int | str, list[torch.nn.Sequential]] = {}
    with console.bar("minima", len(makers) * settings.seeds, "nets") as advance:
        for name, make in makers.items():
            nets[name] = []
            for seed in seeds:
                nets[name].append(train(make, seed, x, y, settings.steps))
                advance()
    with torch.no_grad():
        told = {name: np.stack([net(test).argmax(1).numpy() for net in each]) for name, each in nets.items()}
    right = {name: 100 * (answers == truth).mean(1) for name, answers in told.items()}

    ours, answers = nets[settings.hidden], told[settings.hidden]
    pairs = list(combinations(seeds, 2))
    agree = [100 * float((answers[i] == answers[j]).mean()) for i, j in pairs]
    weights = [units(net) for net in ours]
    plain = [cosine(weights[i], weights[j]) for i, j in pairs]
    matched = []
    for i, j in pairs:
        rows, columns = linear_sum_assignment(-(weights[i] @ weights[j].T))
        matched.append(cosine(weights[i][rows], weights[j][columns]))
    order = np.random.default_rng(0).permutation(settings.hidden)
    with torch.no_grad():
        one = ours[0].double()
        moved = (one(test.double()) - permuted(one, order)(test.double())).abs().max().item()
        other = cosine(units(one), units(one)[order])
    goal = right["CNN"].mean()
    enough = [width for width in WIDTHS if right[width].mean() >= goal]
    least = count(mlp(min(enough))) if enough else np.inf
    findings = [
        check("same predictions of two nets on test digits, %", float(np.mean(agree)), "> 95",
              bootstrap(agree, np.mean), agree),
        check("cosine of the weights of two nets", float(np.mean(plain)), "in -0.1 .. 0.1", bootstrap(plain, np.mean),
              plain),
        doubt(check("hidden units in another order: largest change of an output, float64", moved, "<= 1e-10")),
        check("parameters of the smallest MLP as good as the CNN over the CNN's (infinite: none)", least / count(cnn()),
              ">= 5"),
        report("cosine of a net's weights with its own, units in another order", other),
        report("cosine of two nets' weights after their units are matched", float(np.mean(matched)),
               bootstrap(matched, np.mean), matched),
        report("CNN: parameters", count(cnn())),
        report("CNN: test digits right, %", goal, bootstrap(right["CNN"], np.mean), right["CNN"]),
        *(report(f"MLP of {width} units ({count(mlp(width)):,} parameters): test digits right, %", right[width].mean(),
                 bootstrap(right[width], np.mean), right[width]) for width in WIDTHS),
    ]  # fmt: skip
    budget = (
        f"{settings.seeds} starts of MLPs of {len(makers) - 1} widths and a CNN, {settings.steps} Adam steps on "
        f"{BATCH} of 1297 digits of 28 x 28; 500 test digits; {len(pairs)} pairs of nets"
    )
    return Outcome(findings, picture(agree, plain, matched, right, settings), budget)


def picture(agree, plain, matched, right: dict[int | str, np.ndarray], settings: Settings):
    """Left: how alike two nets are in their answers and weights. Right: digits right against parameters."""
    figure, axes = canvas(1, 2, width=13, height=5.4, width_ratios=[1, 1.25])
    left, panel = axes[0]
    rows = ("answers alike", "weights, as they lie", "weights, units matched")
    for row, (values, colour) in enumerate(
        zip((np.array(agree) / 100, plain, matched), (BLUE, VERMILION, ORANGE), strict=True)
    ):
        left.barh(row, np.mean(values), color=colour, height=0.6)
        left.plot(values, np.linspace(row - 0.2, row + 0.2, len(values)), ".", color=DARK_GREY)
        left.text(max(*values, 0) + 0.03, row, f"{np.mean(values):.2f}", va="center", fontsize=16)
    left.set_yticks(range(3), rows, fontsize=15)
    left.invert_yaxis()
    left.set(xlim=(min(0, *plain) - 0.02, 1.2))
    label(left, "", "share, and cosine (dots: pairs of nets)")
    left.set_title(f"Two nets of {settings.hidden} hidden units", loc="left", fontsize=16)
    sizes = [count(mlp(width)) for width in WIDTHS]
    panel.plot(sizes, [right[width].mean() for width in WIDTHS], "o-", color=GREY, linewidth=3, label="MLP")
    for width, size in zip(WIDTHS, sizes, strict=True):
        panel.plot([size] * len(right[width]), right[width], ".", color=GREY)
    panel.axhline(right["CNN"].mean(), color=BLUE, linestyle="--", linewidth=1.5)
    panel.plot(count(cnn()), right["CNN"].mean(), "s", color=BLUE, markersize=13, label="CNN")
    panel.set(xscale="log")
    label(panel, "", "parameters (dots: starts)", "test digits right, %")
    panel.legend(fontsize=15, loc="lower right")
    panel.set_title(f"CNN: {right['CNN'].mean():.1f} % with {count(cnn()):,}", loc="left", fontsize=16)
    figure.suptitle(
        f"Two nets give the same answer to {np.mean(agree):.0f} % of the digits; the cosine of their weights is "
        f"{np.mean(plain):.2f}", fontsize=17, fontweight="bold", x=0.01, ha="left",
    )  # fmt: skip
    return figure
