"""Do the hidden units of a digit net stand for loops and lines, as hoped? No: the layer knows them, no unit does.

Lecture: L2, 15. Deep Learning
Slide: Why Use Layers?; We hope ... but
Says: "In a perfect world, we might hope that each neuron in the second-to-last layer corresponds to one of these
    subcomponents." "we piece together various components like loops and lines" "We hope ... but"
Doubt: The slide breaks off after "but" and measures nothing. A unit may follow a loop only because it follows the
    digits that have one: random groups of digits, as many as there are subcomponents, are the comparison. Tested is
    the hope: where it fails, the slide's "but" is right.
Kind: chance
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from lab import console
from lab.lectures import Outcome, check, control, report, setting
from lab.plots import BLACK, BLUE, GREY, VERMILION, canvas
from lab.stats import bootstrap

PARTS = {
    "upper loop": "89", "lower loop": "68", "big loop": "0", "any loop": "0689", "two loops": "8",
    "line on the right": "1479", "line on top": "57", "line at the bottom": "2", "bar in the middle": "4",
    "slanted line": "27", "open bow on the right": "35", "bow below": "359",
}  # fmt: skip
"""Subcomponents, as the lecture's pictures cut digits up, and the digits that have them."""
UNITS = 16
"""Of each of the two hidden layers, as in the lecture's 784-16-16-10 net."""


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(10, 1, 50, quick=3)
    """Random starts of the net."""
    steps: int = setting(1500, 1, 50000, quick=250)
    """Full-batch Adam steps, rate 0.01."""
    taught: bool = setting(False)
    """Also teach the second hidden layer the subcomponents themselves: then the hope should hold."""


def digits() -> tuple[torch.Tensor, np.ndarray, torch.Tensor, np.ndarray]:
    """Images (n, 64) in 0..1 and labels (n,): 1297 to train, 500 to test."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(y))
    x, y = torch.tensor(x[order] / 16, dtype=torch.float32), y[order]
    return x[500:], y[500:], x[:500], y[:500]


def members(groups: list[str], y: np.ndarray) -> np.ndarray:
    """Which images are digits of which group: (n, group), 0 or 1."""
    return np.stack([np.isin(y, [int(digit) for digit in group]) for group in groups], -1).astype(float)


class Nets(torch.nn.Module):
    """`seeds` independent nets 64-16-16-10, sigmoid units, side by side."""

    def __init__(self, seeds: int):
        super().__init__()
        sizes = (64, UNITS, UNITS, 10)
        draws = [torch.Generator().manual_seed(seed) for seed in range(seeds)]
        self.w, self.b = torch.nn.ParameterList(), torch.nn.ParameterList()
        for wide_in, wide_out in pairwise(sizes):
            w = torch.stack([torch.randn(wide_in, wide_out, generator=draw) for draw in draws])
            self.w.append(w / wide_in**0.5)
            self.b.append(torch.zeros(seeds, 1, wide_out))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (seed, image, digit) and the second hidden layer (seed, image, unit) of images (image, 64)."""
        h = x.expand(len(self.w[0]), -1, -1)
        for layer in range(2):
            h = torch.sigmoid(torch.baddbmm(self.b[layer], h, self.w[layer]))
        return torch.baddbmm(self.b[2], h, self.w[2]), h


def train(settings: Settings, x: torch.Tensor, y: np.ndarray) -> Nets:
    nets = Nets(settings.seeds)
    optimiser = torch.optim.Adam(nets.parameters(), 0.01)
    labels = torch.tensor(y).expand(settings.seeds, -1)
    parts = torch.tensor(members(list(PARTS.values()), y), dtype=torch.float32).expand(settings.seeds, -1, -1)
    with console.bar("digits", settings.steps, "steps") as advance:
        for _ in range(settings.steps):
            logits, h = nets(x)
            loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels) * settings.seeds
            if settings.taught:
                lesson = torch.nn.functional.binary_cross_entropy(h[..., : len(PARTS)], parts)
                loss = loss + 10 * settings.seeds * lesson
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            advance()
    return nets


def correlations(h: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """|r| between units h (image, unit) and groups (image, group): (unit, group)."""
    h, groups = (each - each.mean(0) for each in (h, groups))
    spread = np.outer(np.linalg.norm(h, axis=0), np.linalg.norm(groups, axis=0))
    return np.abs(h.T @ groups) / np.maximum(spread, 1e-9)


def probed(h: np.ndarray, groups: np.ndarray, test: np.ndarray, truth: np.ndarray) -> float:
    """Mean |r| of a linear readout of the whole layer, fitted on training images, with the groups of test images."""
    one, also = (np.column_stack([each, np.ones(len(each))]) for each in (h, test))
    readout = also @ np.linalg.lstsq(one, groups, rcond=None)[0]
    return float(np.diag(correlations(readout, truth)).mean())


def measure(settings: Settings) -> Outcome:
    x, y, test, truth = digits()
    nets = train(settings, x, y)
    with torch.no_grad():
        learnt, (logits, hidden) = nets(x)[1].numpy(), nets(test)
    hidden, right = hidden.numpy(), (logits.argmax(-1).numpy() == truth).mean(1)
    parts, known = members(list(PARTS.values()), truth), members(list(PARTS.values()), y)
    r = np.array([correlations(h, parts) for h in hidden])  # (seed, unit, part)
    share = (r.max(-1) > 0.8).mean(1)
    random = np.random.default_rng(0)
    chance = []
    for h in hidden:
        # groups of the same sizes, of digits drawn at random
        drawn = [
            members(["".join(map(str, random.permutation(10)[: len(group)])) for group in PARTS.values()], truth)
            for _ in range(20)
        ]
        chance.append(np.mean([correlations(h, each).max(-1).mean() for each in drawn]))
    best = r.max(-1).mean(1)
    whole = np.array([probed(h, known, also, parts) for h, also in zip(learnt, hidden, strict=True)])
    findings = [
        control(check("digits right on test images, %", 100 * right.mean(), ">= 90", bootstrap(100 * right, np.mean),
                      100 * right)),
        check("share of units with |r| > 0.8 to any subcomponent", share.mean(), ">= 0.5", bootstrap(share, np.mean),
              share),
        check("a unit's best |r| to a subcomponent, less that to random groups of digits", (best - chance).mean(),
              "> 0.1", bootstrap(best - chance, np.mean), best - chance),
        report("a unit's best |r| to a subcomponent", best.mean(), bootstrap(best, np.mean), best),
        report("a linear readout of the whole layer: |r| to a subcomponent", whole.mean(), bootstrap(whole, np.mean),
               whole.tolist()),
    ]  # fmt: skip
    budget = (
        f"{settings.seeds} nets 64-16-16-10, {settings.steps} full-batch Adam steps on 1297 digits of 8 x 8; 500 test "
        f"digits; {len(PARTS)} subcomponents, 20 draws of as many random groups; means over nets"
    )
    return Outcome(findings, picture(r, share, whole, best), budget)


def picture(r: np.ndarray, share: np.ndarray, whole: np.ndarray, best: np.ndarray):
    """Left: every unit of the first net against every subcomponent. Right: the best match of all units."""
    figure, axes = canvas(1, 2, width=13.5, height=6, width_ratios=[1.4, 1])
    left, right = axes[0]
    order = np.argsort(-r[0].max(-1))
    shown = left.imshow(r[0][order].T, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    left.set_yticks(range(len(PARTS)), [f"{name} ({digits})" for name, digits in PARTS.items()], fontsize=12)
    left.set_xticks(range(0, UNITS, 5), [f"{unit + 1}" for unit in range(0, UNITS, 5)])
    left.set_xlabel("hidden units of one net, best match first", fontsize=13)
    for unit, part in zip(*np.nonzero(r[0][order] > 0.8), strict=True):
        left.text(unit, part, "✓", ha="center", va="center", color="white", fontsize=15)
    figure.colorbar(shown, ax=left, label="|correlation| on test images; ✓ above 0.8")
    right.hist(r.max(-1).ravel(), bins=np.linspace(0, 1, 26), color=BLUE)
    right.axvline(0.8, color=VERMILION, linewidth=3, label="what was hoped for")
    right.axvline(best.mean(), color=GREY, linewidth=3, linestyle="--", label=f"mean unit: {best.mean():.2f}")
    right.axvline(
        whole.mean(), color=BLACK, linewidth=3, linestyle=":", label=f"readout of the layer: {whole.mean():.2f}"
    )
    right.set_xlabel("a unit's best |correlation|", fontsize=13)
    right.set_ylabel(f"units of {len(r)} nets", fontsize=13)
    right.legend(loc="upper left", fontsize=12)
    right.set(xlim=(0, 1), ylim=(0, 1.5 * right.get_ylim()[1]))
    figure.suptitle(
        f"{100 * share.mean():.0f} % of the units stand for a loop or a line; half was the hope", fontsize=18,
        fontweight="bold", x=0.01, ha="left",
    )  # fmt: skip
    return figure
