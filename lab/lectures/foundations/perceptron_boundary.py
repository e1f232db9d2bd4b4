"""The perceptron's boundary: two lectures write one rule, the line turns round where W1 < 0, a sigmoid makes a ramp.

Lecture: L1 and L4, Deep learning review; Machine learning lecture
Slide: The perceptron; Decision Boundary; Generalizing to n-Dimensions
Says: L1: "y(X) = 1 if sum m_i x_i + b > 0, 0 otherwise". L4: "W0 × I0 + W1 × I1 - t > 0, then output is 1", else -1;
    "we get (if W1 > 0) I1 > -W0/W1 × I0 + t/W1"; "For n-D input space, the decision boundary becomes a (n-1)-D
    hyperplane"; "If activation function is sigmoid, decision is a smooth ramp."
Doubt: The slide leaves out W1 < 0, where "above the line" is the side of -1, and W1 = 0, where there is no such line.
    How smooth the ramp is depends on the weights: its slope at the boundary is |W|/4, so a large |W| is a step again.
Kind: exact
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import torch

from lab.lectures import Outcome, check, doubt, setting
from lab.plots import BLACK, BLUE, GREEN, ORANGE, VERMILION, canvas, label

# whole weights and points on quarters: every product, sum and quotient below is exact in float64, ties included
WEIGHTS = [(w0, w1, t) for w0, w1, t in product(range(-4, 5), (-4, -2, -1, 1, 2, 4), range(-4, 5))]
GRID = np.array(list(product(np.arange(-4, 4.25, 0.25), repeat=2)))  # (point, input)
STEEPNESS = (1.25, 5.0, 40.0)
"""|W| of the ramps that are drawn and measured."""


@dataclass(frozen=True)
class Settings:
    dimensions: int = setting(10, 2, 50)
    """Boundaries are sounded in 2 to so many input dimensions."""


def lecture1(x: np.ndarray, m: np.ndarray, b: float) -> np.ndarray:
    """1 or 0 at points x (point, input)."""
    return np.where(x @ m + b > 0, 1, 0)


def lecture4(x: np.ndarray, w: np.ndarray, t: float) -> np.ndarray:
    """1 or -1 at points x (point, input)."""
    return np.where(x @ w - t > 0, 1, -1)


def shares() -> tuple[float, float, float, int]:
    """Over all WEIGHTS and the GRID: share of points where the lectures agree with b = -t; share where I1 above the
    line gives 1, for W1 > 0 and for W1 < 0 (points on the line, which are off for both, left out); points on a line.
    """
    agree: list[float] = []
    above: dict[bool, list[float]] = {True: [], False: []}
    ties = 0
    for w0, w1, t in WEIGHTS:
        w = np.array([w0, w1])
        ours, theirs = lecture1(GRID, w, -t), lecture4(GRID, w, t)
        agree.append(float(np.mean((ours == 1) == (theirs == 1))))
        height = GRID[:, 1] - (-w0 / w1 * GRID[:, 0] + t / w1)
        ties += int((height == 0).sum())
        off = height != 0
        above[w1 > 0].append(float(np.mean((height > 0)[off] == (theirs == 1)[off])))
    return float(np.mean(agree)), float(np.mean(above[True])), float(np.mean(above[False])), ties


def boundary(n: int) -> np.ndarray:
    """3 n points (point, n) on the boundary of a random perceptron, found from its outputs alone, by bisection."""
    random = np.random.default_rng(n)
    w, t = random.normal(size=n), random.normal()
    on, off = np.empty((0, n)), np.empty((0, n))
    while min(len(on), len(off)) < 3 * n:
        x = random.normal(size=(20 * n, n)) * 3
        y = lecture4(x, w, t)
        on, off = np.vstack([on, x[y == 1]]), np.vstack([off, x[y == -1]])
    on, off = on[: 3 * n], off[: 3 * n]
    for _ in range(60):
        middle = (on + off) / 2
        high = (lecture4(middle, w, t) == 1)[:, None]
        on, off = np.where(high, middle, on), np.where(high, off, middle)
    return on


def dimension(points: np.ndarray) -> int:
    """Of the flat that points (point, n) lie in: the singular values above rounding."""
    values = np.linalg.svd(points - points.mean(0), compute_uv=False)
    return int((values > 1e-9 * values[0]).sum())


def slope(steepness: float) -> float:
    """How fast sigmoid(W.I - t) rises across its boundary, for |W| = steepness, per unit of input; by autograd."""
    w = steepness * torch.tensor([0.6, 0.8], dtype=torch.float64)
    t = torch.tensor(1.0, dtype=torch.float64)
    x = (t * w / (w @ w)).requires_grad_()  # the boundary's point nearest the origin
    torch.sigmoid(w @ x - t).backward()
    assert x.grad is not None
    return float(x.grad @ w / w.norm())


def measure(settings: Settings) -> Outcome:
    agree, above, below, ties = shares()
    sizes = range(2, settings.dimensions + 1)
    lost = [n - dimension(boundary(n)) for n in sizes]
    slopes = [slope(steepness) for steepness in STEEPNESS]
    findings = [
        check("L1 with b = -t against L4, share of points alike", agree, "== 1"),
        check("positive W1: share of points where above the line is 1", above, "== 1"),
        doubt(check("negative W1: share of points where above the line is 1", below, "== 0")),
        check("dimensions the boundary lacks, fewest", min(lost), "== 1"),
        check("dimensions the boundary lacks, most", max(lost), "== 1"),
        *(
            doubt(check(f"slope of the ramp, |W| = {steepness:g}", value, f"== {steepness / 4:g} +- 1e-9"))
            for steepness, value in zip(STEEPNESS, slopes, strict=True)
        ),
    ]
    budget = (
        f"{len(WEIGHTS)} perceptrons on {len(GRID)} points each, {ties:,} of them on a line; boundaries in 2 to "
        f"{settings.dimensions} dimensions by 60 bisections; 3 sigmoids; no training"
    )
    turned = above == 1 and below == 0
    return Outcome(findings, picture(turned), budget)


def picture(turned: bool):
    """The same line with W and with -W, and the ramps across it."""
    figure, axes = canvas(1, 3, width=14, height=5.2, width_ratios=[1, 1, 1.25])
    for panel, (w0, w1, t) in zip(axes[0], ((1, 2, 1), (-1, -2, -1)), strict=False):
        grid = np.linspace(-4, 4, 161)
        plane = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2)
        output = lecture4(plane, np.array([w0, w1]), t).reshape(161, 161)
        panel.contourf(grid, grid, output, levels=[-2, 0, 2], colors=[BLUE, ORANGE], alpha=0.45)
        panel.plot(grid, -w0 / w1 * grid + t / w1, color=BLACK, linewidth=3)
        for height, side in ((2.6, 1), (-2.6, -1)):
            value = "1" if side * w1 > 0 else "-1"
            panel.text(0, height, value, fontsize=34, ha="center", va="center", fontweight="bold")
        panel.set(aspect="equal", ylim=(-4, 4))
        label(panel, f"W = ({w0}, {w1}), t = {t}", "I0", "I1")
        panel.set_title(f"W = ({w0}, {w1}), t = {t}", loc="left", fontsize=15, color=BLACK if w1 > 0 else VERMILION)
    panel = axes[0, 2]
    distance = np.linspace(-2, 2, 801)
    for steepness, colour in zip(STEEPNESS, (GREEN, BLUE, VERMILION), strict=True):
        name = f"|W| = {steepness:g}: slope {steepness / 4:g}"
        panel.plot(distance, 1 / (1 + np.exp(-steepness * distance)), color=colour, linewidth=3.5, label=name)
    label(panel, "The sigmoid's ramp is as steep as |W|/4", "distance from the boundary (units of input)", "output")
    panel.set_title("The sigmoid's slope is |W|/4", loc="left", fontsize=15)
    panel.legend(fontsize=12, loc="upper left")
    panel.set_ylim(-0.03, 1.4)
    panel.set_yticks([0, 0.5, 1])
    found = "where W1 < 0, it is -1 that lies above" if turned else "but the sides are not as stated"
    figure.suptitle(f"One line, two sides: {found}", fontsize=18, fontweight="bold", x=0.01, ha="left")
    return figure
