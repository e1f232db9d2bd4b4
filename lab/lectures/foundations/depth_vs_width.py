"""Depth can write a triangle wave in few weights, but training seldom finds it; on a sine depth gains nothing.

Lecture: L3, KDDM2; also L1 ("Neural nets with many layers!") and L2 ("Why Use Layers?")
Slide: What is deep?
Says: "1 hidden layer -> can approximate any function. Why would we want more?" "Represent Feature Hierarchy. Can be
    faster to train. Potentially less connections"
Doubt: "Potentially" hides the condition: a function that is itself composed. There two units a layer write down what
    one layer needs a unit per kink for. That a deep net can represent it does not say that training finds it:
    beside the best start stands the middle one. Nets, rate and steps were settled on starts below 100; those that are
    told are numbered from 100.
Kind: chance
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from lab import console
from lab.lectures import Finding, Outcome, check, doubt, report, setting
from lab.plots import BLACK, BLUE, ORANGE, VERMILION, canvas, label
from lab.stats import bootstrap

WIDE, DEEP = (200,), (16, 16, 16)
"""Hidden units of the trained nets: 601 and 593 weights."""
FIRST = 100
"""Number of the first start: none of those told has chosen a setting."""


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(20, 1, 50, quick=3)
    """Random starts of each net."""
    folds: int = setting(4, 1, 8)
    """How often the tent map is applied: 2^(folds - 1) teeth, 2^folds straight pieces."""
    steps: int = setting(5000, 1, 50000, quick=150)
    """Full-batch Adam steps on 256 points."""
    rate: float = setting(0.003, 1e-5, 1.0)
    """Adam's learning rate at the start; it falls to 0 along a cosine."""


def tent(x: torch.Tensor, folds: int) -> torch.Tensor:
    """The tent map 0..1 -> 0..1, applied `folds` times."""
    for _ in range(folds):
        x = 1 - (2 * x - 1).abs()
    return x


def composed(x: torch.Tensor, folds: int) -> torch.Tensor:
    """The same by a ReLU net of two units a layer, with weights written down: tent = 2 relu(x) - 4 relu(x - 1/2)."""
    for _ in range(folds):
        x = 2 * torch.relu(x) - 4 * torch.relu(x - 0.5)
    return x


def weights(sizes: tuple[int, ...]) -> int:
    """Weights and biases of the net 1-sizes-1."""
    return sum((wide_in + 1) * wide_out for wide_in, wide_out in pairwise((1, *sizes, 1)))


class Nets(torch.nn.Module):
    """`seeds` independent ReLU nets 1-sizes-1, trained side by side."""

    def __init__(self, seeds: int, sizes: tuple[int, ...]):
        super().__init__()
        self.w, self.b = torch.nn.ParameterList(), torch.nn.ParameterList()
        draws = [torch.Generator().manual_seed(seed) for seed in range(FIRST, FIRST + seeds)]
        for wide_in, wide_out in zip((1, *sizes), (*sizes, 1), strict=True):
            w = torch.stack([torch.randn(wide_in, wide_out, generator=draw) for draw in draws])
            b = torch.stack([torch.rand(1, wide_out, generator=draw) * 2 - 1 for draw in draws])
            self.w.append(w * (2 / wide_in) ** 0.5)
            self.b.append(b if wide_in == 1 else 0 * b)  # kinks spread over the range of x, -1 to 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # (point, 1)
        for layer, (w, b) in enumerate(zip(self.w, self.b, strict=True)):
            x = torch.baddbmm(b, x if layer else x.expand(len(w), -1, -1), w)  # (seed, point, unit)
            x = torch.relu(x) if layer < len(self.w) - 1 else x
        return x[..., 0]


def train(sizes: tuple[int, ...], x: torch.Tensor, y: torch.Tensor, settings: Settings, advance) -> torch.Tensor:
    """What the nets make of x (point,), from -1 to 1, after training: (seed, point)."""
    nets = Nets(settings.seeds, sizes)
    optimiser = torch.optim.Adam(nets.parameters(), settings.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    for _ in range(settings.steps):
        loss = ((nets(x[:, None]) - y) ** 2).mean(1).sum()  # a sum over nets: none depends on another
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    advance()
    with torch.no_grad():
        return nets(x[:, None])


def measure(settings: Settings) -> Outcome:
    x = torch.linspace(-1, 1, 256)
    targets = {"triangle wave": tent((x + 1) / 2, settings.folds), "sine": (torch.sin(torch.pi * x) + 1) / 2}
    fits, error = {}, {}
    with console.bar("depth", 4, "fits") as advance:
        for name, y in targets.items():
            for kind, sizes in (("wide", WIDE), ("deep", DEEP)):
                fits[name, kind] = train(sizes, x, y, settings, advance)
                error[name, kind] = ((fits[name, kind] - y) ** 2).mean(1).numpy()
    exact = torch.linspace(0, 1, 4097, dtype=torch.float64)
    written = (composed(exact, settings.folds) - tent(exact, settings.folds)).abs().max().item()
    gain = {name: error[name, "wide"] / error[name, "deep"] for name in targets}
    one_layer, many = weights((2**settings.folds,)), weights((2,) * settings.folds)
    found = (error["triangle wave", "deep"] < 1e-4).mean()
    findings = [
        check(f"a net of 2 units in each of {settings.folds} layers, largest error", written, "<= 1e-12"),
        check("weights of one layer with a unit a piece over those of that net, 8 folds",
              weights((2**8,)) / weights((2,) * 8), ">= 10"),
        check("trained, triangle wave: error of wide over deep", float(np.median(gain["triangle wave"])), ">= 10",
              bootstrap(gain["triangle wave"]), gain["triangle wave"].tolist()),
        check("trained, triangle wave: error of the best wide start over the best deep",
              error["triangle wave", "wide"].min() / error["triangle wave", "deep"].min(), ">= 10"),
        doubt(check("trained, sine: error of wide over deep", float(np.median(gain["sine"])), "<= 1",
                    bootstrap(gain["sine"]), gain["sine"].tolist())),
        check("weights of the trained deep net over the wide", weights(DEEP) / weights(WIDE), "< 1"),
        report(f"weights of one layer with a unit a piece, {settings.folds} folds", one_layer),
        report(f"weights of 2 units a layer, {settings.folds} folds", many),
        *(report(f"{name}: error of {kind}", float(np.median(values)), bootstrap(values), values.tolist())
          for (name, kind), values in error.items()),
        report("share of deep starts with an error below 1e-4 on the triangle wave", float(found)),
    ]  # fmt: skip
    budget = (
        f"{settings.seeds} starts of 4 fits, {settings.steps} full-batch Adam steps on 256 points each; "
        f"{weights(WIDE)} weights wide, {weights(DEEP)} deep; mean squared errors on the points themselves, medians "
        "over starts"
    )
    return Outcome(findings, picture(x, targets, fits, error, findings), budget)


def picture(x, targets, fits, error, findings: list[Finding]):
    """Median fits to both targets, and every start's error."""
    figure, axes = canvas(1, 3, width=14.5, height=5.2, width_ratios=[1.3, 1.3, 1])
    colours = {"wide": BLUE, "deep": ORANGE}
    names = {"wide": f"1 layer, {weights(WIDE)} weights", "deep": f"{len(DEEP)} layers, {weights(DEEP)} weights"}
    for panel, (name, y), gain in zip(axes[0, :2], targets.items(), (findings[2], findings[4]), strict=True):
        panel.plot(x, y, color=BLACK, linewidth=1.5, label=name)
        for kind, colour in colours.items():
            middle = np.argsort(error[name, kind])[len(error[name, kind]) // 2]
            panel.plot(x, fits[name, kind][middle], color=colour, linewidth=2.5, alpha=0.9, label=names[kind])
        panel.set(ylim=(-0.15, 1.6), xticks=[-1, 0, 1])
        label(panel, f"{name.capitalize()}: error of wide is {gain.measured:.2g} x deep", "x", "output")
        panel.legend(loc="upper left")
    panel = axes[0, 2]
    for place, (_, kind) in enumerate(error):
        values = list(error.values())[place]
        spread = place + np.linspace(-0.15, 0.15, len(values))
        panel.plot(spread, values, "o", color=colours[kind], markersize=8, alpha=0.7)
        panel.hlines(np.median(values), place - 0.3, place + 0.3, color=VERMILION, linewidth=3)
    panel.set_yscale("log")
    panel.set_xticks(range(4), ["wave\nwide", "wave\ndeep", "sine\nwide", "sine\ndeep"])
    label(panel, "Each start; red: median", "", "mean squared error")
    return figure
