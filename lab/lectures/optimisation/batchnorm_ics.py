"""Batch normalisation speeds training up, and still does when the shift that it is said to remove is put back in.

Lecture: L2, 15. Deep Learning
Slide: Internal Covariate Shift
Says: "Internal Covariate Shift: Slow Convergence; Gradient Vanishing"
Doubt: That batch normalisation helps is one claim; that it helps because it removes a shift of the layers' inputs is
    another. Santurkar et al. (2018) shift and scale every unit at random after the normalisation, anew at each step:
    if the shift were the cause, such a net would have to be slow again. Each net has a rate of its own, chosen by other
    starts on training images held out; steps are counted on test images.
Kind: chance
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from sklearn.datasets import load_digits

from lab import console
from lab.lectures import Finding, Outcome, check, report, setting
from lab.plots import BLACK, BLUE, GREY, ORANGE, VERMILION, canvas, label
from lab.stats import bootstrap

NETS = {"plain": VERMILION, "BN": BLUE, "BN + shift": ORANGE}
RATES = (0.1, 0.3, 1.0, 3.0)
TRAIN, HELD = 1000, 1200
"""Images below TRAIN are trained on, those from there to HELD choose the rates, the 597 others are the test."""
CHOOSERS, FIRST = 3, 100
"""Starts 0, 1, 2 choose the rates; those that are judged are numbered from 100."""
GOAL = 0.9


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(7, 1, 50, quick=3)
    """Random starts and orders of the images."""
    steps: int = setting(1500, 10, 20000, quick=150)
    """The most steps a net is given to reach 90 %."""
    hidden: int = setting(3, 1, 20)
    """Sigmoid layers of 64 units."""
    batch: int = setting(60, 8, 1000)
    """Images per step."""
    shift: float = setting(1.0, 0, 20)
    """The injected shift: each unit is moved by up to so many of its standard deviations, at each step anew."""


def draw(settings: Settings, seed: int) -> list[torch.Tensor]:
    """Weights (in, out) of variance 1/in, then the bias (or BN's shift) and BN's scale of every hidden layer."""
    random = torch.Generator().manual_seed(seed)
    weights = [torch.randn(a, b, generator=random) / a**0.5 for a, b in pairwise([64, *[64] * settings.hidden, 10])]
    return [p.requires_grad_() for p in [*weights, torch.zeros(settings.hidden, 64), torch.ones(settings.hidden, 64)]]


def forward(
    kind: str, parameters: list[torch.Tensor], x: torch.Tensor, rows: int, noise: torch.Tensor | None = None
) -> list[torch.Tensor]:
    """What every layer hands on: the hidden sums before their sigmoid, (images, 64) each, and the logits.

    rows: the first so many images give the batch statistics. noise: (hidden, 2, 64) of shifts and log scales.
    """
    *weights, bias, scale = parameters
    sums, h = [], x
    for number, w in enumerate(weights[:-1]):
        z = h @ w
        if kind != "plain":
            z = (z - z[:rows].mean(0)) / (z[:rows].var(0, unbiased=False) + 1e-5).sqrt() * scale[number]
        z = z + bias[number]
        if noise is not None:
            z = z * noise[number, 1].exp() + noise[number, 0]
        sums.append(z)
        h = torch.sigmoid(z)
    return [*sums, h @ weights[-1]]


@dataclass(frozen=True)
class Run:
    """One training, up to the goal."""

    steps: float
    """To 90 % of the images looked at; twice the allowance if they were not reached."""
    accuracy: list[float]
    """On these images, every 5 steps."""
    drift: float
    """Median change, from one step to the next, of the mean of a hidden unit's sum, in its standard deviations."""


def train(kind: str, settings: Settings, rate: float, seed: int, x: torch.Tensor, y: torch.Tensor, look: slice) -> Run:
    """Plain stochastic gradient descent; the goal is tested without noise, on statistics of the training images.

    look: the images on which it is tested.
    """
    seen_by_all = torch.cat([x[:TRAIN], x[look]])  # the first give the statistics
    parameters, random = draw(settings, seed), torch.Generator().manual_seed(seed + 1000)
    means, accuracy, every, step = [], [], 5, 0
    while step < settings.steps:
        rows = torch.randint(TRAIN, (settings.batch,), generator=random)
        noise = None
        if kind == "BN + shift":
            noise = settings.shift * (2 * torch.rand(settings.hidden, 2, 64, generator=random) - 1)
            noise[:, 1] *= 0.5  # scales from e^-0.5 to e^0.5 at a shift of 1
        logits = forward(kind, parameters, x[rows], settings.batch, noise)[-1]
        loss = torch.nn.functional.cross_entropy(logits, y[rows])
        gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                if gradient is not None:  # a plain net has no use for BN's scale
                    parameter -= rate * gradient
            step += 1
            if step <= 50:  # how far the same images' sums move, with the noise of that step
                seen = torch.stack(forward(kind, parameters, x[:200], 200, noise)[:-1])  # (hidden, image, unit)
                means.append((seen.mean(1), seen.std(1)))
            if step % every == 0:
                right = forward(kind, parameters, seen_by_all, TRAIN)[-1][TRAIN:].argmax(1) == y[look]
                accuracy.append(right.float().mean().item())
                if accuracy[-1] >= GOAL:
                    break
    moves = [((b - a).abs() / (spread + 1e-12)).median().item() for (a, spread), (b, _) in pairwise(means)]
    reached = bool(accuracy) and accuracy[-1] >= GOAL
    return Run(step if reached else 2 * settings.steps, accuracy, float(np.median(moves)))


def arriving(kind: str, settings: Settings, seed: int, x: torch.Tensor, y: torch.Tensor) -> float:
    """Gradient of the loss at the first hidden layer's sums over that at the last one's, before training."""
    *sums, logits = forward(kind, draw(settings, seed), x[:TRAIN], TRAIN)
    loss = torch.nn.functional.cross_entropy(logits, y[:TRAIN])
    first, last = torch.autograd.grad(loss, [sums[0], sums[-1]])
    return (first.norm() / last.norm()).item()


def measure(settings: Settings) -> Outcome:
    data = load_digits()
    x = torch.tensor((data.data - data.data.mean()) / data.data.std(), dtype=torch.float32)
    y = torch.tensor(data.target)
    tried: dict[tuple[str, float], list[Run]] = {}
    shown: dict[str, list[Run]] = {}
    best: dict[str, float] = {}
    seeds = range(FIRST, FIRST + settings.seeds)
    with console.bar("batch normalisation", len(NETS) * (len(RATES) * CHOOSERS + settings.seeds), "nets") as advance:
        for kind in NETS:
            for rate in RATES:
                tried[kind, rate] = []
                for seed in range(CHOOSERS):
                    tried[kind, rate].append(train(kind, settings, rate, seed, x, y, slice(TRAIN, HELD)))
                    advance()
            best[kind] = min(RATES, key=lambda rate: float(np.median([run.steps for run in tried[kind, rate]])))
            shown[kind] = []
            for seed in seeds:
                shown[kind].append(train(kind, settings, best[kind], seed, x, y, slice(HELD, None)))
                advance()
    steps = {key: np.array([run.steps for run in each]) for key, each in tried.items()}
    fastest = {kind: np.array([run.steps for run in each]) for kind, each in shown.items()}
    flow = {kind: np.array([arriving(kind, settings, seed, x, y) for seed in seeds]) for kind in ("plain", "BN")}

    def over(name: str, ratio: np.ndarray, condition: str) -> Finding:
        return check(name, float(np.median(ratio)), condition, bootstrap(ratio), ratio.tolist())

    findings = [
        over("steps to 90 %, BN over plain", fastest["BN"] / fastest["plain"], "< 1"),
        over("steps to 90 %, BN with shift put back over plain (the shift being the cause)",
             fastest["BN + shift"] / fastest["plain"], ">= 1"),
        over("gradient at the first layer over the last, BN over plain", flow["BN"] / flow["plain"], "> 1"),
        *(report(f"{kind}: steps to 90 % at its best rate of {best[kind]:g}", float(np.median(fastest[kind])),
                 bootstrap(fastest[kind]), fastest[kind].tolist()) for kind in NETS),
        *(report(f"{kind}: drift of a unit's mean per step, standard deviations",
                 float(np.median([run.drift for run in shown[kind]]))) for kind in NETS),
    ]  # fmt: skip
    total = sum(5 * len(run.accuracy) for each in (*tried.values(), *shown.values()) for run in each)
    budget = (
        f"3 nets of {settings.hidden} sigmoid layers of 64, up to {settings.steps} steps of {settings.batch} digits: "
        f"{len(RATES)} rates with {CHOOSERS} starts each, looked at on {HELD - TRAIN} held-out digits, then "
        f"{settings.seeds} starts at the best rate, looked at on {len(x) - HELD} test digits; {total:,} steps in all"
    )
    return Outcome(findings, picture(shown, steps, findings, 2 * settings.steps), budget)


def picture(
    shown: dict[str, list[Run]], steps: dict[tuple[str, float], np.ndarray], findings: list[Finding], limit: float
):
    """Left: accuracy on the way to 90 %, each net at its best rate. Right: steps needed at every rate."""
    figure, axes = canvas(1, 2, width=13, height=5.6)
    left, right = axes[0]
    for kind, each in shown.items():
        drift = np.median([run.drift for run in each])
        for number, run in enumerate(each):
            times = 5 * np.arange(1, len(run.accuracy) + 1)
            name = f"{kind} (drift per step {drift:.2g} sd)"
            left.plot(times, 100 * np.array(run.accuracy), color=NETS[kind], linewidth=2, alpha=0.75,
                      label=None if number else name)  # fmt: skip
    left.axhline(100 * GOAL, color=BLACK, linewidth=1, linestyle="--")
    left.set(xscale="log", ylim=(-40, 102), yticks=range(0, 101, 20))
    label(left, "", "steps, each net at its best rate (a line a start)", "test images right, %")
    left.legend(fontsize=13, loc="lower left")
    faster, shifted = findings[0].measured, findings[1].measured
    title = f"BN needs {faster:.2f} of the steps; with shift {shifted:.2f}"
    left.set_title(title, loc="left", fontsize=16, fontweight="bold")
    for kind, colour in NETS.items():
        middle = [np.median(steps[kind, rate]) for rate in RATES]
        right.plot(RATES, middle, "o-", color=colour, linewidth=3.5, markersize=9, label=kind)
        for rate in RATES:
            right.plot([rate] * len(steps[kind, rate]), steps[kind, rate], ".", color=colour, alpha=0.5)
    right.set(xscale="log", yscale="log")
    right.set_xticks(RATES, [f"{rate:g}" for rate in RATES])
    right.minorticks_off()
    label(right, "", "learning rate", "steps to 90 % of held-out images (dots: starts)")
    caused = "is not the cause" if findings[1].holds is False else "may be the cause"
    right.set_title(f"The covariate shift {caused}", loc="left", fontsize=16, fontweight="bold")
    if max(map(np.max, steps.values())) == limit:
        right.axhline(limit, color=GREY, linewidth=1)
        right.text(RATES[-1], limit * 0.95, "not reached", color=GREY, fontsize=13, ha="right", va="top")
    return figure
