"""Each of the thousand terms of back-propagation through time: together they are the gradient, the youngest carry it.

Lecture: L0, Deep Learning in Wilderness; L2, 15. Deep Learning; L4, Machine learning lecture
Slide: Limitations of RNN (1); Vanilla RNN Gradient Flow; RNN Training: Backprop in Time
Says: L0: "∂E₁₀₀₀/∂W = ∂E₁₀₀₀/∂ŷ ∂ŷ/∂s₁₀₀₀ ∂s₁₀₀₀/∂W + ∂E₁₀₀₀/∂ŷ ∂ŷ/∂s₁₀₀₀ ∂s₁₀₀₀/∂s₉₉₉ ∂s₉₉₉/∂W + ..." L2: "∂L_T/∂W =
    ∂L_T/∂h_T (∏ ∂h_t/∂h_t-1) ∂h₁/∂W". L4: "Again, cannot remember too far into the past."
Doubt: L0's sum is right if each ∂s_k/∂W is the immediate derivative, with s_k-1 held; the slide does not say so. L2
    keeps one of the T terms, the one of the first step: where gradients vanish that is the smallest of all.
Kind: chance
"""

from dataclasses import dataclass

import numpy as np
import torch

from lab.lectures import Outcome, check, report, setting
from lab.plots import BLUE, GREY, LIGHT_GREY, VERMILION, canvas, label
from lab.stats import bootstrap


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(10, 1, 100, quick=3)
    """Random nets with random inputs."""
    steps: int = setting(1000, 100, 3000, quick=300)
    """Time steps T; the loss is at the last one."""
    hidden: int = setting(16, 2, 128)
    """Hidden units; inputs have two components."""
    radius: float = setting(0.95, 0.01, 3.0)
    """Spectral radius of the recurrent matrix."""


def draw(settings: Settings, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """W = (W_hh W_xh) as on L2's slide, (hidden, hidden + 2); the readout (hidden,); the inputs (steps, 2)."""
    random, n = np.random.default_rng(seed), settings.hidden
    recurrent = random.normal(size=(n, n))
    recurrent *= settings.radius / np.abs(np.linalg.eigvals(recurrent)).max()
    weights = np.hstack([recurrent, random.normal(size=(n, 2)) / np.sqrt(2)])
    return (
        torch.tensor(weights),
        torch.tensor(random.normal(size=n) / np.sqrt(n)),
        torch.tensor(random.normal(size=(settings.steps, 2)) * 0.3),
    )


def by_autograd(weights: torch.Tensor, readout: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """dE/dW of E = (readout . s_T - 1)^2 / 2 with s_t = tanh(W (s_t-1, x_t)), s_0 = 0."""
    weights = weights.clone().requires_grad_()
    state = torch.zeros_like(readout)
    for x in inputs:
        state = torch.tanh(weights @ torch.cat([state, x]))
    (gradient,) = torch.autograd.grad((readout @ state - 1) ** 2 / 2, weights)
    return gradient


def terms(weights: torch.Tensor, readout: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
    """L0's terms, written out: (T, hidden, hidden + 2); term k is the one that ends in ∂s_k/∂W with s_k-1 held."""
    n, states = len(readout), [torch.zeros_like(readout)]
    for x in inputs:
        states.append(torch.tanh(weights @ torch.cat([states[-1], x])))
    result = torch.zeros(len(inputs), *weights.shape, dtype=weights.dtype)
    row = (readout @ states[-1] - 1) * readout  # ∂E/∂ŷ ∂ŷ/∂s_T
    for k in range(len(inputs), 0, -1):
        slope = row * (1 - states[k] ** 2)  # through the tanh of step k
        result[k - 1] = torch.outer(slope, torch.cat([states[k - 1], inputs[k - 1]]))
        row = slope @ weights[:, :n]  # times ∂s_k/∂s_k-1
    return result


def measure(settings: Settings) -> Outcome:
    summed, single, slopes, ratio, reach, norms = [], [], [], [], [], []
    for seed in range(settings.seeds):
        net = draw(settings, seed)
        whole, each = by_autograd(*net), terms(*net)
        scale = whole.norm()
        summed.append(((each.sum(0) - whole).norm() / scale).item())
        single.append(((each[0] - whole).norm() / scale).item())
        size = each.flatten(1).norm(dim=1).numpy()[::-1] / scale.item()  # by age: [0] is the last step's
        norms.append(size)
        log = np.log10(np.maximum(size, 1e-300))
        slopes.append(float(np.polyfit(np.arange(len(log)), log, 1)[0]))
        ratio.append(float(size[-1] / size[0]))
        rest = (each.flip(0).cumsum(0) - whole).flatten(1).norm(dim=1) / scale  # with only the youngest 1, 2, ... terms
        reach.append(int((rest > 1e-3).sum()) + 1)
    findings = [
        check("L0: sum of all terms against autograd, largest relative difference", max(summed), "<= 1e-8",
              values=summed),
        check("L2: its one product against autograd, smallest relative difference", min(single), "<= 1e-8",
              values=single),
        check("L4: decades a term loses with each step of age", -float(np.median(slopes)), "> 0",
              _flip(bootstrap(slopes)), [-slope for slope in slopes]),
        check("L4: oldest term over youngest", float(np.median(ratio)), "< 1e-6", bootstrap(ratio), ratio),
        report("youngest terms that give the gradient to 0.1 %", float(np.median(reach)), bootstrap(reach), reach),
    ]  # fmt: skip
    budget = f"{settings.seeds} tanh RNNs of {settings.hidden} units, {settings.steps} steps, forward and back, float64"
    return Outcome(findings, picture(np.array(norms), float(np.median(reach)), max(summed)), budget)


def _flip(interval: tuple[float, float]) -> tuple[float, float]:
    return -interval[1], -interval[0]


def picture(norms: np.ndarray, reach: float, apart: float):
    """The size of every term against its age, norms (seed, age) as shares of the whole gradient."""
    figure, axes = canvas(width=10.5, height=5.4)
    panel = axes[0, 0]
    ages, shown = np.arange(norms.shape[1]), np.maximum(norms, 1e-300)
    for size in shown:
        panel.plot(ages, size, color=LIGHT_GREY, linewidth=1)
    panel.plot(ages, np.median(shown, axis=0), color=BLUE, linewidth=3.5, label="median over nets (grey: each net)")
    panel.axvspan(0, reach, color=BLUE, alpha=0.15, linewidth=0)
    panel.plot(ages[-1], np.median(shown[:, -1]), "o", color=VERMILION, markersize=14, clip_on=False, zorder=5,
               label=f"the only term L2 keeps: {np.median(shown[:, -1]):.0e}")  # fmt: skip
    panel.axhline(2.2e-16, color=GREY, linestyle=":", linewidth=2)
    panel.text(
        ages[-1] * 0.99, 2e-17, "below this, lost in float64 rounding", color=GREY, fontsize=13, va="top", ha="right"
    )
    lowest = max(np.median(shown[:, -1]) / 1e4, 1e-200)
    panel.set(yscale="log", xlim=(0, ages[-1] * 1.02), ylim=(lowest, max(10, shown.max() * 10)))
    title = f"The youngest {reach:.0f} of {len(ages)} terms are 99.9 % of the gradient"
    label(panel, "", "age of the term, steps before the last", "norm of the term / norm of the gradient")
    panel.set_title(title, loc="left", fontsize=17, fontweight="bold")
    panel.legend(loc="lower left", bbox_to_anchor=(0.03, 0), fontsize=14)
    panel.text(0.05, 0.22, f"sum of all terms = autograd to {apart:.0e}", transform=panel.transAxes,
               fontsize=14)  # fmt: skip
    return figure
