"""The sigmoid of the slide has the wrong sign before b; ReLU in cases and ReLU as a maximum are one function.

Lecture: L1, Deep learning review
Slide: Revisiting activation functions; ReLU activation
Says: "Probability(Y = 1) = Sigmoid Activation(mx + b) = 1/(1 + e^(-mx+b))"; "ReLU(x) = x if x > 0, 0 if x ≤ 0
    = max(0, x)"
Doubt: The sigmoid of mx + b is 1/(1 + e^-(mx+b)): the brackets are missing, and what stands there is the sigmoid of
    mx - b. A later slide of the same lecture (the issue with dense networks) has them. Fitted to data the slide's
    formula finds -b for b and gives the same probabilities, so only who puts in known weights will notice.
Kind: exact
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer

from lab.lectures import Finding, Outcome, check, report, setting
from lab.plots import BLACK, BLUE, GREY, VERMILION, canvas, label


@dataclass(frozen=True)
class Settings:
    m: float = setting(1.0, -20, 20)
    """Slope, in the worked example."""
    x: float = setting(2.0, -20, 20)
    """Input."""
    b: float = setting(1.0, -20, 20)
    """Bias. At 0 the slide is right."""


def slide(x, m: float, b: float):
    """The formula as the slide has it."""
    return 1 / (1 + np.exp(-m * x + b))


def sigmoid(x, m: float, b: float):
    """The sigmoid of mx + b."""
    return 1 / (1 + np.exp(-(m * x + b)))


def relu_cases(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0)


def fit(formula: Callable, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """(m, b) of the greatest likelihood for y (n,) of 0 and 1, by a simplex search that needs no derivative."""
    from scipy.optimize import minimize

    def cost(weights: np.ndarray) -> float:
        p = np.clip(formula(x, *weights), 1e-12, 1 - 1e-12)
        return -float(np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)))

    found = minimize(cost, (0.0, 0.0), method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-14, "maxiter": 2000})
    return float(found.x[0]), float(found.x[1])


def measure(settings: Settings) -> Outcome:
    m, x, b = settings.m, settings.x, settings.b
    right, wrong = float(sigmoid(x, m, b)), float(slide(x, m, b))
    oracle = torch.sigmoid(torch.tensor(m * x + b, dtype=torch.float64)).item()

    numbers = np.concatenate([np.linspace(-10, 10, 2001), [0.0, -0.0, 1e300, -1e300, 5e-324, -5e-324, np.inf, -np.inf]])
    cases, maximum = relu_cases(numbers), np.maximum(0, numbers)
    by_torch = torch.relu(torch.tensor(numbers)).numpy()

    size, benign = load_breast_cancer(return_X_y=True)
    size = (size[:, 0] - size[:, 0].mean()) / size[:, 0].std()  # mean radius of the cell nuclei, standardised
    fits = {name: fit(formula, size, benign) for name, formula in (("slide", slide), ("sigmoid", sigmoid))}
    apart = np.abs(slide(size, *fits["slide"]) - sigmoid(size, *fits["sigmoid"])).max()
    at = f"m={m:g}, x={x:g}, b={b:g}"
    findings: list[Finding] = [
        check(f"sigmoid of mx + b at {at}", right, f"== {oracle!r} +- 1e-12"),
        check(f"the slide's formula at {at}, which should be the same", wrong, f"== {oracle!r} +- 1e-12"),
        check("numbers at which ReLU in cases is not the maximum", float((cases != maximum).sum()), "== 0"),
        check("numbers at which ReLU in cases is not torch's", float((cases != by_torch).sum()), "== 0"),
        report("the slide's formula against the sigmoid of mx - b, difference", abs(wrong - float(sigmoid(x, m, -b)))),
        report("fitted b by the slide's formula", fits["slide"][1]),
        report("fitted b by the sigmoid", fits["sigmoid"][1]),
        report("largest difference of the fitted probabilities", float(apart)),
    ]
    budget = (
        f"one node; ReLU at {len(numbers):,} numbers; two fits of one feature of {len(size)} tumours (breast cancer)"
    )
    return Outcome(findings, picture(settings, right, wrong), budget)


def picture(settings: Settings, right: float, wrong: float):
    """Both curves with the worked example; ReLU."""
    figure, axes = canvas(1, 2, width=13, height=5.4, width_ratios=[1.7, 1])
    panel, other = axes[0]
    m, x, b = settings.m, settings.x, settings.b
    reach = max(6.0, 1.3 * abs(x))
    xs = np.linspace(-reach, reach, 601)
    panel.plot(xs, sigmoid(xs, m, b), color=BLUE, linewidth=4, label="sigmoid of mx + b")
    panel.plot(xs, slide(xs, m, b), color=VERMILION, linewidth=4, linestyle="--", label="the slide's formula")
    panel.axvline(x, color=GREY, linewidth=1.5)
    for value, colour, place in ((right, BLUE, (-86, 4)), (wrong, VERMILION, (14, -20))):
        panel.plot(x, value, "o", color=colour, markersize=13, markeredgecolor=BLACK, zorder=4)
        panel.annotate(
            f"{value:.4f}", (x, value), place, textcoords="offset points", fontsize=18, color=colour,
            fontweight="bold",
        )  # fmt: skip
    alike = abs(right - wrong) < 1e-12
    title = f"m = {m:g}, x = {x:g}, b = {b:g}: the slide has {wrong:.3f}, the sigmoid {right:.3f}"
    label(panel, "", "x", "probability of Y = 1")
    panel.set_title("Without b the slide is right" if alike else title, loc="left", fontsize=16, fontweight="bold")
    panel.legend(fontsize=14, loc="upper left", frameon=False)
    xs = np.linspace(-3, 3, 301)
    other.plot(xs, np.maximum(0, xs), color=BLUE, linewidth=8, alpha=0.4, label="max(0, x)")
    other.plot(xs, relu_cases(xs), color=BLACK, linewidth=2, label="in cases")
    label(other, "", "x", "ReLU(x)")
    same = bool((relu_cases(xs) == np.maximum(0, xs)).all())
    found = "ReLU: both forms are one" if same else "ReLU: the forms differ"
    other.set_title(found, loc="left", fontsize=16, fontweight="bold")
    other.legend(fontsize=14, loc="upper left", frameon=False)
    return figure
