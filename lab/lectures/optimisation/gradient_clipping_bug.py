"""The slide's gradient clipping forgets a square root: the larger a gradient, the smaller what is left of it.

Lecture: L2, 15. Deep Learning
Slide: Gradient Vanishing (Vanilla RNN Gradient Flow); the list ReLU, Gradient clipping
Says: "Gradient clipping: Scale gradient if its norm is too big: grad_norm = np.sum(grad * grad); if grad_norm >
    threshold: grad *= (threshold / grad_norm)". Earlier: "Gradient clipping (gradient exploding) ∇C = η ∇C / |∇C|₂"
Doubt: np.sum(grad * grad) is the squared norm. The condition then bites at the root of the threshold, and a gradient of
    norm g leaves with norm threshold / g, not threshold. The earlier formula is another law again: it has no condition
    and blows a tiny gradient up to η. Both keep the direction.
Kind: exact
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lab.lectures import Outcome, check, report, setting
from lab.plots import BLACK, GREEN, GREY, ORANGE, VERMILION, canvas, label


@dataclass(frozen=True)
class Settings:
    threshold: float = setting(5.0, 1.1, 1000)
    """The largest norm wanted; also the η of the earlier formula. The claim's figures are those of 5."""
    missing_root: bool = setting(True)
    """The slide's code as printed; false mends it with np.sqrt."""


def slide(grad: np.ndarray, threshold: float, missing_root: bool = True) -> np.ndarray:
    """The slide's three lines, on a copy; with the square root if it is not to be missing."""
    grad = grad.copy()
    grad_norm = np.sum(grad * grad) if missing_root else np.sqrt(np.sum(grad * grad))
    if grad_norm > threshold:
        grad *= threshold / grad_norm
    return grad


def formula(grad: np.ndarray, eta: float) -> np.ndarray:
    """The formula of the earlier slide."""
    return eta * grad / np.linalg.norm(grad)


def clip(grad: np.ndarray, threshold: float) -> np.ndarray:
    """What is meant (Pascanu et al., 2013): the norm is at most the threshold."""
    return grad * min(1.0, threshold / np.linalg.norm(grad))


def size(grad: np.ndarray) -> float:
    return round(float(np.linalg.norm(grad)), 12)  # 5.000000000000001 is 5


def measure(settings: Settings) -> Outcome:
    most = settings.threshold
    unit = np.array([0.6, 0.8])
    at, above, tiny = unit * most, 10 * unit * most, unit * most / 1000
    low = 0.25  # a threshold below 1: there the square is smaller than the norm, and too large a gradient passes
    passing = unit * 0.4

    def code(grad: np.ndarray, threshold: float = most) -> np.ndarray:
        return slide(grad, threshold, settings.missing_root)

    findings = [
        check(f"code: norm left of {named(at)}, threshold {most:g}", size(code(at)), f"== {most:g}"),
        check(f"code: norm left of {named(above)}, threshold {most:g}", size(code(above)), f"== {most:g}"),
        check("code: what is left of the tenfold gradient over what is left of the single one",
              size(code(above)) / size(code(at)), ">= 1"),
        check(f"code: norm left of {named(passing)}, threshold {low:g}", size(code(passing, low)), f"<= {low:g}"),
        check(f"formula: norm left of {named(tiny)}, η = {most:g}", size(formula(tiny, most)), f"== {size(tiny):g}"),
        report(f"clipping as meant: norm left of {named(above)}", size(clip(above, most))),
        report("smallest cosine between a gradient and what is left of it",
               min(size(unit * (unit @ code(grad))) / size(code(grad)) for grad in (at, above, tiny))),
    ]  # fmt: skip
    return Outcome(findings, picture(most, code), "3 rules on 4 gradients of two components, no training")


def named(grad: np.ndarray) -> str:
    return "[" + ", ".join(f"{part:g}" for part in grad.round(6)) + "]"


def picture(most: float, code: Callable[[np.ndarray], np.ndarray]):
    """Norm after clipping against norm before: three laws, and the slide's two worked gradients."""
    figure, axes = canvas(width=10, height=5.6)
    panel = axes[0, 0]
    before = np.geomspace(most / 500, most * 40, 600)
    laws: list[tuple[str, Callable[[np.ndarray], np.ndarray], str, str]] = [
        ("as meant: min(g, threshold)", lambda grad: clip(grad, most), GREEN, "-"),
        ("earlier slide's formula: always η", lambda grad: formula(grad, most), ORANGE, "--"),
        ("slide's code", code, VERMILION, "-"),
    ]
    for name, law, colour, line in laws:
        after = [size(law(np.array([0.6, 0.8]) * norm)) for norm in before]
        panel.plot(before, after, color=colour, linewidth=4, linestyle=line, label=name)
    for norm in (most, 10 * most):
        left = size(code(np.array([0.6, 0.8]) * norm))
        panel.plot(norm, left, "o", color=BLACK, markersize=11, zorder=5)
        panel.annotate(f"{norm:g} → {left:g}", (norm, left), (-14, -4), textcoords="offset points", ha="right",
                       va="center", fontsize=16, fontweight="bold")  # fmt: skip
    panel.axvline(most, color=GREY, linewidth=1, zorder=0)
    panel.text(most * 0.94, before[0] * 1.3, f"threshold {most:g}", color=GREY, fontsize=14, ha="right")
    panel.set(xscale="log", yscale="log", ylim=(before[0], most * 2), xlim=(before[0], before[-1]))
    wrong = size(code(np.array([6.0, 8.0]) * most)) < most
    title = "Without the square root, the largest gradients are crushed" if wrong else "The slide's code, mended, clips"
    label(panel, "", "norm of the gradient before", "norm after")
    panel.set_title(title, loc="left", fontsize=18, fontweight="bold")
    panel.legend(loc="upper left", bbox_to_anchor=(0, 0.87), fontsize=14)
    return figure
