"""A weight multiplied by itself a thousand times explodes above 1 and vanishes below it, and so does its gradient.

Lecture: L2, 15. Deep Learning
Slide: Gradient Vanishing and Exploding
Says: "w = 1: y^1000 = 1; w = 1.01: y^1000 ≈ 20000; w = 0.99: y^1000 ≈ 0; w = 0.01: y^1000 ≈ 0"
Doubt: The slide leaves open whether step 1000 has 1000 factors or 999, and shows the value, not the gradient that its
    title names. d(w^999)/dw is 999 times w^998: at w = 1, where the value keeps still, it is already 999, and at
    w = 0.99 it is .044, a thousand times the value: small, but not 0.
Kind: exact
"""

import math
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import torch

from lab.lectures import Outcome, check, control, doubt, report, setting
from lab.plots import BLUE, DARK_GREY, GREEN, LIGHT_GREY, VERMILION, canvas, label

WEIGHTS = (1.01, 1.0, 0.99, 0.01)
COLOURS = dict(zip(WEIGHTS, (VERMILION, DARK_GREY, BLUE, GREEN), strict=True))
FLOAT32_MIN = 1.4e-45


@dataclass(frozen=True)
class Settings:
    steps: int = setting(1000, 3, 20000)
    """Time steps of the recurrent chain y_t = w y_(t-1), y_0 = 1. The claim's figures are those of 1000."""


def chain(w: float, steps: int) -> tuple[float, float]:
    """(y, dy/dw) after `steps` steps of y_t = w y_(t-1), the derivative by back-propagation through time."""
    weight = torch.tensor(w, dtype=torch.float64, requires_grad=True)
    y = torch.ones((), dtype=torch.float64)
    for _ in range(steps):
        y = weight * y
    (gradient,) = torch.autograd.grad(y, weight)
    return y.item(), gradient.item()


def measure(settings: Settings) -> Outcome:
    n = settings.steps
    last = {w: chain(w, n) for w in WEIGHTS}
    before = {w: chain(w, n - 1) for w in WEIGHTS}
    gradient = {w: before[w][1] for w in WEIGHTS}
    apart = max(_relative(gradient[w], (n - 1) * w ** (n - 2)) for w in WEIGHTS)
    findings = [
        check(f"1^{n}", last[1.0][0], "== 1"),
        check(f"1.01^{n} to one figure (the slide's 20000)", float(f"{last[1.01][0]:.0e}"), "== 20000"),
        check(f"1.01^{n}", last[1.01][0], "== 20,959.2 +- 0.05"),
        doubt(check(f"1.01^{n - 1} (if the first step has no factor)", before[1.01][0], "== 20,751.6 +- 0.1")),
        check(f"0.99^{n}", last[0.99][0], "== 4.317e-5 +- 5e-9"),
        check(f"0.01^{n} in float64", last[0.01][0], "== 0"),
        check(f"log10 of 0.01^{n}, exact", float((Decimal("0.01") ** n).log10()), "== -2000 +- 1e-9"),
        doubt(check(f"d(w^{n - 1})/dw at w = 1", gradient[1.0], "== 999")),
        doubt(check(f"d(w^{n - 1})/dw at w = 1.01", gradient[1.01], "== 2.05e7 +- 5e4")),
        doubt(check(f"d(w^{n - 1})/dw at w = 0.99", gradient[0.99], "== 0.044 +- 0.0005")),
        doubt(check(f"d(w^{n - 1})/dw at w = 0.01", gradient[0.01], "== 0")),
        control(check("back-propagation against (n-1) w^(n-2), relative difference", apart, "<= 1e-9")),
        report("step at which 0.01^t is below float32", math.ceil(math.log(FLOAT32_MIN) / math.log(0.01))),
    ]
    return Outcome(findings, picture(n), f"8 chains of {n} float64 multiplications, back-propagated")


def _relative(a: float, b: float) -> float:
    return abs(a - b) / abs(b) if b else abs(a - b)


def picture(n: int):
    """|w^t| and its derivative on a log axis; in logarithms, since 0.01^1000 is below what a float can hold."""
    figure, axes = canvas(1, 2, width=12, height=5.4, sharex=True, sharey=True)
    titles = (
        f"After {n} steps: 20,959 or nothing" if n == 1000 else f"After {n} steps",
        "The gradient grows even at w = 1",
    )
    # where a curve's label stands: a share of n, a power of ten, and the end of the text that is there
    places = (
        {
            1.01: (0.62, 4.2, "right"),
            1.0: (0.98, 0.5, "right"),
            0.99: (0.62, -5.0, "right"),
            0.01: (0.03, -9.0, "left"),
        },
        {
            1.01: (0.62, 6.6, "right"),
            1.0: (0.98, 3.5, "right"),
            0.99: (0.98, -3.0, "right"),
            0.01: (0.03, -9.0, "left"),
        },
    )
    for order, panel in enumerate(axes[0]):
        times = np.arange(1, n + 1 - order)
        for w in WEIGHTS:
            logs = order * np.log10(times) + (times - order) * np.log10(w)
            panel.plot(times, logs, color=COLOURS[w], linewidth=3.5)
            share, height, end = places[order][w]
            name = f"w = {w:g}: {_scientific(float(logs[-1]))}"
            panel.text(share * n, height, name, color=COLOURS[w], fontsize=16, fontweight="bold", ha=end)
        panel.set(ylim=(-12, 10), xlim=(0, n * 1.02))
        panel.set_yticks([-10, -5, 0, 5, 10], ["1e-10", "1e-5", "1", "1e5", "1e10"])
        panel.axhline(0, color=LIGHT_GREY, linewidth=1, zorder=0)
        label(panel, titles[order], "factors t", "|w^t|" if order == 0 else "|d(w^t) / dw|")
    return figure


def _scientific(log10: float) -> str:
    if -4 < log10 < 6:
        return f"{10**log10:,.3g}" if log10 < 3 else f"{10**log10:,.0f}"
    power = math.floor(log10 + 0.02)  # 9.99 is 10
    return f"{10 ** (log10 - power):.1f}e{power}"
