"""A residual block's derivative is 1 + dH/da, so gradients reach the first of 64 layers; it bounds them from one side.

Lecture: L2, 15. Deep Learning
Slide: ResNets @ ILSVRC & COCO 2015 Competitions
Says: "a^(L) = a^(L-2) + H(x); ∂a^(L)/∂a^(L-2) = 1 + ∂H(x)/∂a^(L-2)"
Doubt: The 1 is an identity matrix and x is a^(L-2). The nets that won applied a ReLU after the addition: the derivative
    then is that of the ReLU times the sum, and 1 + ... is wrong for every unit that is off. A plain net's gradient
    vanishes by its initialisation, not by its depth alone: drawn after He it does not. And what adds 1 at every block
    can grow without bound.
Kind: chance
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch

from lab.lectures import Outcome, check, doubt, report, setting
from lab.plots import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILION, canvas, label
from lab.stats import bootstrap

DEPTHS = (4, 8, 16, 32, 64)
KINDS = {
    "plain": VERMILION, "residual": BLUE, "residual, ReLU after": GREEN,
    "plain, He": ORANGE, "residual, He": GREY,
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(20, 1, 200, quick=4)
    """Random nets of each kind and depth."""
    width: int = setting(64, 4, 512, quick=32)
    """Units per layer."""
    batch: int = setting(32, 1, 512)
    """Random inputs."""
    skip: bool = setting(True)
    """The addition of a^(L-2); without it a residual net is a plain one."""


def draw(width: int, layers: int, he: bool, random: torch.Generator) -> list[torch.Tensor]:
    """Weight matrices in float64: variance 1/(3n), as torch.nn.Linear draws them, or He's 2/n."""
    spread = (2 / width if he else 1 / (3 * width)) ** 0.5
    return [torch.randn(width, width, generator=random, dtype=torch.float64) * spread for _ in range(layers)]


def block(a: torch.Tensor, pair: tuple[torch.Tensor, torch.Tensor], skip: bool, after: bool = False) -> torch.Tensor:
    """Two layers, H(a) = W2 relu(W1 a), with or without a added; a plain block and `after` end in a ReLU."""
    h = torch.relu(a @ pair[0]) @ pair[1]
    total = a + h if skip else h
    return torch.relu(total) if after or not skip else total


def ratio(kind: str, depth: int, settings: Settings, seed: int) -> float:
    """Norm of the gradient at the inputs over that at the outputs of a net of `depth` layers."""
    random = torch.Generator().manual_seed(seed)
    weights = draw(settings.width, depth, "He" in kind, random)
    inputs, g = (torch.randn(settings.batch, settings.width, generator=random, dtype=torch.float64) for _ in range(2))
    a = inputs.requires_grad_()
    for pair in zip(weights[::2], weights[1::2], strict=True):
        a = block(a, pair, settings.skip and "residual" in kind, "after" in kind)
    (arrived,) = torch.autograd.grad(a, inputs, g)
    return (arrived.norm() / g.norm()).item()


def identity(settings: Settings, seed: int, after: bool) -> float:
    """Largest entry of ∂a_L/∂a_(L-2) - (1 + ∂H/∂a_(L-2)), both Jacobians by autograd."""
    random = torch.Generator().manual_seed(seed)
    first, second = draw(settings.width, 2, True, random)
    a = torch.randn(settings.width, generator=random, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian
    whole = jacobian(lambda a: block(a, (first, second), settings.skip, after), a)
    inner = jacobian(lambda a: torch.relu(a @ first) @ second, a)
    return (whole - torch.eye(len(a), dtype=torch.float64) - inner).abs().max().item()


def measure(settings: Settings) -> Outcome:
    seeds = range(settings.seeds)
    ratios = {(k, d): np.array([ratio(k, d, settings, seed) for seed in seeds]) for k in KINDS for d in DEPTHS}
    last = DEPTHS[-1]
    apart, apart_after = ([identity(settings, seed, after) for seed in seeds] for after in (False, True))
    falls = [max(ratios["plain", b][i] / ratios["plain", a][i] for a, b in pairwise(DEPTHS)) for i in seeds]

    def at_last(kind: str, condition: str):
        values = ratios[kind, last]
        return check(f"{kind}: gradient at layer 1 over layer {last}", float(np.median(values)), condition,
                     bootstrap(values), values.tolist())  # fmt: skip

    findings = [
        check("da_L/da_(L-2) against 1 + dH/da, largest difference", max(apart), "<= 1e-6", values=apart),
        doubt(check("the same with a ReLU after the addition, as in the nets that won", min(apart_after), "> 1e-6",
                    values=apart_after)),
        check("plain: ratio at twice the depth over ratio, largest of all", max(falls), "< 1", values=falls),
        at_last("plain", "< 1e-6"),
        at_last("residual", "> 0.01"),
        at_last("residual, ReLU after", "> 0.01"),
        *(report(f"{kind}: gradient at layer 1 over layer {last}", float(np.median(ratios[kind, last])),
                 bootstrap(ratios[kind, last]), ratios[kind, last].tolist()) for kind in ("plain, He", "residual, He")),
    ]  # fmt: skip
    budget = (
        f"{len(KINDS) * len(DEPTHS) * settings.seeds} nets of {DEPTHS[0]} to {last} layers of {settings.width}, one "
        f"pass forward and back on {settings.batch} inputs; {2 * settings.seeds} Jacobians; float64, no training"
    )
    return Outcome(findings, picture(ratios), budget)


def picture(ratios: dict[tuple[str, int], np.ndarray]):
    """How much of the gradient arrives, against depth."""
    figure, axes = canvas(width=10.5, height=5.8)
    panel = axes[0, 0]
    for kind, colour in KINDS.items():
        each = np.array([ratios[kind, depth] for depth in DEPTHS])  # (depth, seed)
        middle = np.median(each, axis=1)
        panel.fill_between(DEPTHS, each.min(1), each.max(1), color=colour, alpha=0.18, linewidth=0)
        panel.plot(DEPTHS, middle, "o-", color=colour, linewidth=3.5, markersize=8, label=f"{kind}: {middle[-1]:.1g}")
    panel.axhline(1, color=BLACK, linewidth=1, zorder=0)
    panel.set(xscale="log", yscale="log")
    panel.set_xticks(DEPTHS, [str(depth) for depth in DEPTHS])
    panel.minorticks_off()
    label(panel, "", "depth, layers (band: range over nets)", "gradient at the first layer / at the last")
    plain, residual = (np.median(ratios[kind, DEPTHS[-1]]) for kind in ("plain", "residual"))
    better = "the skip carries the gradient through" if residual > 0.01 > plain else "no gain from the skip"
    title = f"{DEPTHS[-1]} layers: {better}"
    panel.set_title(title, loc="left", fontsize=17, fontweight="bold")
    panel.legend(loc="lower left", fontsize=14, title=f"left of it after {DEPTHS[-1]} layers", title_fontsize=13)
    return figure
