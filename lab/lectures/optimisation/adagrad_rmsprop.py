"""Under a constant gradient AdaGrad's steps shrink as 1/√t and RMSProp's do not; where ε stands matters near zero.

Lecture: L2, 15. Deep Learning
Slide: AdaGrad; RMSProp
Says: "θ_(t+1,i) = θ_(t,i) − η / √(G_(t,i) + ε) · g_(t,i); G_t = Σ_τ (g_τ)²; E[g²]_t = 0.9 E[g²]_(t−1) + 0.1 g_t²;
    θ_(t+1) = θ_t − η / √(E[g²]_t + ε) g_t"
Doubt: Programs put ε outside the root. At gradients of 1 nobody sees it; at gradients of 1e-5, with ε = 1e-8, the
    slide's RMSProp takes a tenth of torch's step. RMSProp's average starts at 0, so its first step is 3.16 η: the
    slide is silent.
Kind: exact
"""

from dataclasses import dataclass

import numpy as np
import torch

from lab.lectures import Outcome, check, doubt, report, setting
from lab.plots import BLACK, BLUE, ORANGE, VERMILION, canvas, label

SIZES = 10.0 ** np.arange(-8, 2.01, 0.25)


@dataclass(frozen=True)
class Settings:
    rate: float = setting(0.01, 1e-6, 1.0)
    """Learning rate η."""
    decay: float = setting(0.9, 0.0, 0.999)
    """RMSProp's share of the old average; the slide has 0.9."""
    steps: int = setting(1000, 200, 20_000)
    """Steps of each run."""
    epsilon: float = setting(1e-8, 1e-16, 1e-2)
    """ε, which keeps the root from 0."""


def run(rule: str, gradients: np.ndarray, settings: Settings, inside: bool = True) -> np.ndarray:
    """Steps taken, (step, parameter), of AdaGrad or RMSProp; ε inside the root as on the slide, or outside it."""
    total, steps = np.zeros(gradients.shape[1]), []
    for g in gradients:
        total = total + g**2 if rule == "AdaGrad" else settings.decay * total + (1 - settings.decay) * g**2
        root = np.sqrt(total + settings.epsilon) if inside else np.sqrt(total) + settings.epsilon
        steps.append(settings.rate / root * g)
    return np.array(steps)


def by_torch(rule: str, gradients: np.ndarray, settings: Settings) -> np.ndarray:
    """The same steps by torch, (step, parameter)."""
    theta = torch.zeros(gradients.shape[1], dtype=torch.float64, requires_grad=True)
    optimiser: torch.optim.Optimizer = (
        torch.optim.Adagrad([theta], lr=settings.rate, eps=settings.epsilon)
        if rule == "AdaGrad"
        else torch.optim.RMSprop([theta], lr=settings.rate, alpha=settings.decay, eps=settings.epsilon)
    )
    path = [np.zeros(gradients.shape[1])]
    for g in gradients:
        theta.grad = torch.from_numpy(g)
        optimiser.step()
        path.append(theta.detach().numpy().copy())
    return -np.diff(np.array(path), axis=0)


def measure(settings: Settings) -> Outcome:
    eta, t = settings.rate, np.arange(1, settings.steps + 1)
    constant = np.ones((settings.steps, 1))
    step = {rule: run(rule, constant, settings)[:, 0] / eta for rule in ("AdaGrad", "RMSProp")}
    random = np.random.default_rng(0).normal(size=(settings.steps, 4))
    random += np.copysign(0.1, random)  # none near zero, where ε matters
    outside = {rule: _apart(run(rule, random, settings, inside=False), by_torch(rule, random, settings))
               for rule in step}  # fmt: skip
    inside = {rule: _apart(run(rule, random, settings), by_torch(rule, random, settings)) for rule in step}
    tiny = {rule: torch_over_slide(rule, np.array([1e-5]), settings)[0] for rule in step}
    findings = [
        check("AdaGrad, g = 1: largest gap of step · √t / η to 1", np.abs(step["AdaGrad"] * np.sqrt(t) - 1).max(),
              "<= 1e-6"),
        check("RMSProp, g = 1: last step, in η", step["RMSProp"][-1], "== 1 +- 1e-6"),
        *(doubt(check(f"{rule}, ε outside the root: relative difference from torch", outside[rule], "<= 1e-7"))
          for rule in step),
        *(check(f"{rule} as printed, gradients near 1: relative difference from torch", inside[rule], "<= 1e-5")
          for rule in step),
        report("AdaGrad, g = 1: last step, in η", step["AdaGrad"][-1]),
        report("AdaGrad, g = 1: way gone over 2 √t, in η", step["AdaGrad"].sum() / (2 * np.sqrt(settings.steps))),
        report("RMSProp, g = 1: first step, in η", step["RMSProp"][0]),
        *(report(f"{rule}, gradients of 1e-5: torch's step over the slide's after 100 steps", tiny[rule])
          for rule in step),
    ]  # fmt: skip
    budget = f"{settings.steps} steps of given gradients on 1 and 4 parameters in float64, here and by torch"
    return Outcome(findings, picture(step, settings), budget, {rule: step[rule].tolist() for rule in step})


def _apart(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float((np.abs(ours - theirs) / np.abs(theirs)).max())


def torch_over_slide(rule: str, sizes: np.ndarray, settings: Settings, steps: int = 100) -> np.ndarray:
    """ε outside the root over ε inside it: ratio of the last of `steps` steps at gradients of `sizes` (parameter,)."""
    gradients = np.tile(sizes, (steps, 1))
    return run(rule, gradients, settings, inside=False)[-1] / run(rule, gradients, settings)[-1]


def picture(step: dict[str, np.ndarray], settings: Settings):
    """Left: the steps' lengths. Right: how much shorter they are for ε inside the root, by the gradient's size."""
    figure, axes = canvas(1, 2, width=12, height=5.2)
    left, right = axes[0]
    times = np.arange(1, settings.steps + 1)
    colours = {"AdaGrad": ORANGE, "RMSProp": BLUE}
    for rule, colour in colours.items():
        left.plot(times, step[rule], color=colour, linewidth=3.5, label=rule)
        right.plot(SIZES, torch_over_slide(rule, SIZES, settings), color=colour, linewidth=3.5, label=rule)
    left.plot(times, times**-0.5, color=BLACK, linestyle="--", linewidth=1.5, label="1/√t")
    left.set(xscale="log", yscale="log")
    fade = f"AdaGrad's step fades to {step['AdaGrad'][-1]:.2g} η, RMSProp's to {step['RMSProp'][-1]:.2g} η"
    label(left, fade, "step t, constant gradient 1", "length of the step, in η")
    left.legend(fontsize=14)
    right.axvline(1e-5, color=VERMILION, linestyle=":", linewidth=2)
    ratio = torch_over_slide("RMSProp", np.array([1e-5]), settings)[0]
    right.text(2e-5, ratio * 2, f"RMSProp at 1e-5: {ratio:.0f} times", fontsize=15, color=VERMILION)
    right.set(xscale="log", yscale="log")
    label(right, "", f"size of the gradient (ε = {settings.epsilon:g})", "torch's step over the slide's")
    right.set_title("ε under the root shortens small steps", loc="left", fontsize=14)
    right.get_legend().remove()
    return figure
