"""Adam as printed lacks its bias corrections: with them it is torch's Adam, without them it starts too fast.

Lecture: L2, 15. Deep Learning
Slide: Adam(Adaptive Moment Estimation)
Says: "Combine SGDM and RMSProp: θ_(t+1) = θ_t − η / (√v̂_t + ε) m̂_t; m_t = β₁ m_(t−1) + (1 − β₁) g_t; v_t = β₂ v_(t−1)
    + (1 − β₂) g_t²"
Doubt: The slide never says what the hats are: m̂ = m / (1 − β₁^t) and v̂ = v / (1 − β₂^t). Left out, the first step is
    3.16 η and the twelfth 6.6 η; after 2000 steps of a constant gradient they are still 7 % too long.
Kind: exact
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lab.lectures import Outcome, check, doubt, report, setting
from lab.plots import BLUE, DARK_GREY, VERMILION, canvas, label

EPSILON = 1e-8


@dataclass(frozen=True)
class Settings:
    rate: float = setting(0.001, 1e-8, 1.0)
    """Learning rate η."""
    beta1: float = setting(0.9, 0.0, 0.999)
    """Decay of the mean gradient m."""
    beta2: float = setting(0.999, 0.0, 0.99999)
    """Decay of the mean squared gradient v."""
    steps: int = setting(2000, 2, 100_000, quick=1000)
    """Steps of each run."""


def adam(gradients: np.ndarray, settings: Settings, corrected: bool) -> np.ndarray:
    """θ after each step, from 0: gradients (step, parameter) -> (step, parameter). The slide's lines, in its order."""
    theta, m, v = (np.zeros(gradients.shape[1]) for _ in range(3))
    path = []
    for t, g in enumerate(gradients, 1):
        m = settings.beta1 * m + (1 - settings.beta1) * g
        v = settings.beta2 * v + (1 - settings.beta2) * g**2
        m_hat, v_hat = (m / (1 - settings.beta1**t), v / (1 - settings.beta2**t)) if corrected else (m, v)
        theta = theta - settings.rate / (np.sqrt(v_hat) + EPSILON) * m_hat
        path.append(theta)
    return np.array(path)


def by_torch(optimiser: type[torch.optim.Optimizer], gradients: np.ndarray, **options: Any) -> np.ndarray:
    """The same path as torch's optimiser makes it of the same gradients."""
    theta = torch.zeros(gradients.shape[1], dtype=torch.float64, requires_grad=True)
    steps, path = optimiser([theta], **options), []
    for g in gradients:
        theta.grad = torch.from_numpy(g)
        steps.step()
        path.append(theta.detach().numpy().copy())
    return np.array(path)


def measure(settings: Settings) -> Outcome:
    # gradients of very different sizes, from 1e-4 to 1e3, with a drift, so that m does not average out
    sizes = 10.0 ** np.arange(-4, 4)
    gradients = (1 + np.random.default_rng(0).normal(size=(settings.steps, 8))) * sizes
    betas, eta = (settings.beta1, settings.beta2), settings.rate
    torch_path = by_torch(torch.optim.Adam, gradients, lr=eta, betas=betas, eps=EPSILON)
    apart = {fix: np.abs(adam(gradients, settings, fix) - torch_path).max(1) / eta for fix in (True, False)}

    constant = np.ones((settings.steps, 1))
    step = {fix: -np.diff(adam(constant, settings, fix)[:, 0], prepend=0) / eta for fix in (True, False)}
    first = adam(sizes[None], settings, True)[0] / eta

    no_mean = Settings(eta, 0.0, settings.beta2, settings.steps)
    rms = by_torch(torch.optim.RMSprop, gradients, lr=eta, alpha=settings.beta2, eps=EPSILON)
    rms_apart = np.abs(adam(gradients, no_mean, False) - rms).max() / eta
    sgdm = by_torch(torch.optim.SGD, gradients, lr=1 - settings.beta1, momentum=settings.beta1)
    mean = _means(gradients, settings.beta1)
    sgdm_apart = np.abs((np.diff(-sgdm, axis=0, prepend=0) - mean) / sizes).max()

    findings = [
        check("with corrections, largest distance from torch's Adam, in η", apart[True].max(), "<= 1e-7"),
        check("first step with corrections, in η", step[True][0], "== 1 +- 1e-6"),
        doubt(check("first step without corrections, in η", step[False][0], "== 3.1623 +- 0.0001")),
        check("first step with corrections, largest gap to η over gradients 1e-4 to 1e3", np.abs(-first - 1).max(),
              "<= 0.0002"),
        check("β1 = 0, uncorrected: largest distance from torch's RMSProp, in η", rms_apart, "<= 1e-7"),
        check("m against the velocity of torch's SGDM at η = 1 - β1, relative", sgdm_apart, "<= 1e-7"),
        report("without corrections, largest distance from torch's Adam, in η", apart[False].max()),
        report("without corrections, longest step, in η", step[False].max()),
        report(f"without corrections, step {settings.steps}, in η", step[False][-1]),
    ]  # fmt: skip
    budget = f"8 parameters and 1, {settings.steps} steps of given gradients, twice here and by torch, in float64"
    return Outcome(findings, picture(step, apart), budget, {"step-uncorrected": step[False][:1000].tolist()})


def _means(gradients: np.ndarray, beta: float) -> np.ndarray:
    """m_t of the slide, (step, parameter)."""
    m, path = np.zeros(gradients.shape[1]), []
    for g in gradients:
        m = beta * m + (1 - beta) * g
        path.append(m)
    return np.array(path)


def picture(step: dict[bool, np.ndarray], apart: dict[bool, np.ndarray]):
    """Left: the length of each step under a constant gradient. Right: how far the path is from torch's."""
    figure, axes = canvas(1, 2, width=12, height=5.2)
    left, right = axes[0]
    names = {True: "with bias corrections", False: "as printed, m for m̂ and v for v̂"}
    times = np.arange(1, len(step[True]) + 1)
    for fix, colour in ((False, VERMILION), (True, BLUE)):
        left.plot(times, step[fix], color=colour, linewidth=3.5, label=names[fix])
        right.plot(times, np.maximum(apart[fix], 1e-17), color=colour, linewidth=3, label=names[fix])
    left.plot([1], step[False][:1], "o", color=VERMILION, markersize=10)
    left.annotate(f"first step {step[False][0]:.2f} η", (1, step[False][0]), (1.6, step[False][0] - 0.75), fontsize=15)
    left.set(xscale="log", ylim=(0, max(2.0, step[False].max() * 1.25)))
    label(left, f"Uncorrected, a step grows to {step[False].max():.1f} η", "step t, constant gradient", "length, in η")
    left.legend(loc="upper right", fontsize=13)
    right.axhline(1e-7, color=DARK_GREY, linestyle="--", linewidth=1.5)
    right.text(1.1, 2e-7, "1e-7", fontsize=13, color=DARK_GREY)
    right.set(xscale="log", yscale="log")
    same = "Corrected, it is torch's Adam" if apart[True].max() <= 1e-7 else "Not torch's Adam"
    label(right, same, "step t, random gradients", "largest distance from torch, in η")
    right.set_title(same, loc="left", fontsize=14)
    right.get_legend().remove()
    return figure
