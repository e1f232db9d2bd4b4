"""A Jacobian below 1 makes gradients vanish; one above 1 need not make them explode: the eigenvalues decide.

Lecture: L0, Deep Learning in Wilderness; L2, 15. Deep Learning
Slide: Limitations of RNN (1); Vanilla RNN Gradient Flow
Says: L0: "Vanishing gradient ‖∂s_i/∂s_i-1‖₂ < 1. Exploding gradient ‖∂s_i/∂s_i-1‖₂ > 1". L2: "Largest singular
    value > 1: Exploding gradients. Largest singular value < 1: Vanishing gradients"
Doubt: ‖AB‖ ≤ ‖A‖‖B‖ bounds a product from above only: below 1 is sufficient for vanishing, above 1 is merely necessary
    for exploding. In a linear RNN the spectral radius decides; tanh saturates and shrinks what would explode. And L0's
    factors below 1 must stay away from 1: the product of 1 - 1/(i+1)² over all i is one half.
Kind: chance
"""

from dataclasses import dataclass

import numpy as np

from lab.lectures import Outcome, check, report, setting
from lab.plots import BLACK, BLUE, GREEN, GREY, LIGHT_GREY, ORANGE, VERMILION, canvas, label
from lab.stats import proportion

RADII = (0.3, 0.5, 0.7, 0.9, 1.1, 1.3)
"""Spectral radii of the matrices drawn; their largest singular values are about twice that."""


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(20, 1, 500, quick=5)
    """Random matrices for each spectral radius."""
    hidden: int = setting(32, 2, 256)
    """Hidden units."""
    steps: int = setting(200, 20, 2000, quick=150)
    """Time steps over which the Jacobian is multiplied up."""
    symmetric: bool = setting(False)
    """Draw symmetric matrices, where the largest singular value is the spectral radius and the slide is right."""


def matrix(settings: Settings, radius: float, seed: int) -> np.ndarray:
    """A Gaussian recurrent matrix (hidden, hidden) scaled to a spectral radius."""
    draw = np.random.default_rng(seed).normal(size=(settings.hidden, settings.hidden))
    if settings.symmetric:
        draw = draw + draw.T
    return draw * radius / np.abs(np.linalg.eigvals(draw)).max()


def norms(w: np.ndarray, steps: int, saturating: bool, seed: int) -> np.ndarray:
    """‖∂s_t/∂s_0‖₂ for t = 1 .. steps, (steps,), of s_t = W s_t-1 + x_t or its tanh, with inputs of variance 1."""
    random, state, product = np.random.default_rng(seed + 1_000_000), np.zeros(len(w)), np.eye(len(w))
    result = np.empty(steps)
    for t in range(steps):
        if saturating:
            state = np.tanh(w @ state + random.normal(size=len(w)))
            product = (1 - state**2)[:, None] * (w @ product)
        else:
            product = w @ product  # a linear step's Jacobian is W, whatever the input
        result[t] = np.linalg.norm(product, 2)
    return result


def measure(settings: Settings) -> Outcome:
    sigma, rho, linear, tanh = [], [], [], []
    for radius in RADII:
        for seed in range(settings.seeds):
            w = matrix(settings, radius, seed)
            sigma.append(float(np.linalg.norm(w, 2)))
            rho.append(radius)
            linear.append(norms(w, settings.steps, False, seed))
            tanh.append(norms(w, settings.steps, True, seed))
    s, r, ends = np.array(sigma), np.array(rho), np.array(linear)[:, -1]
    saturated = np.array(tanh)[:, -1]
    small, large = s < 1, s > 1
    near = r == 0.9
    between = large & (r < 1)

    def share(name: str, which: np.ndarray, condition: str = "== 1"):
        """The share of nets of which something is true; exact, since the claim is about every net."""
        return check(name, float(which.mean()) if len(which) else float("nan"), condition, values=which.tolist())

    findings = [
        share("largest singular value < 1: share of linear nets that vanish, below 1e-3", ends[small] < 1e-3),
        share("largest singular value > 1: share of linear nets that explode, above 1e3", ends[large] > 1e3),
        share("largest singular value > 1: share of tanh nets that explode, above 1e3", saturated[large] > 1e3),
        report("linear nets of largest singular value > 1 that vanish, below 1", float((ends[large] < 1).mean()),
               proportion(int((ends[large] < 1).sum()), int(large.sum()))),
        report("spectral radius > 1: share of linear nets that grow", float((ends[r > 1] > 1).mean())),
        report("spectral radius < 1: share of linear nets that shrink", float((ends[r < 1] < 1).mean())),
        report("spectral radius 0.9: median largest singular value", float(np.median(s[near]))),
        report("spectral radius 0.9: median of the last Jacobian", float(np.median(ends[near])), values=ends[near]),
        report(f"product of 1 - 1/(i+1)², i = 1 .. {settings.steps}",
               float(np.prod(1 - 1 / np.arange(2, settings.steps + 2.0) ** 2))),
    ]  # fmt: skip
    budget = f"{len(s)} matrices of {settings.hidden} x {settings.hidden}, {settings.steps} steps each, linear and tanh"
    return Outcome(findings, picture(s, r, np.array(linear), np.array(tanh), between), budget)


def picture(s: np.ndarray, r: np.ndarray, linear: np.ndarray, tanh: np.ndarray, between: np.ndarray):
    """Left: ‖J‖ against t for three radii. Right: where each net ends, against its largest singular value."""
    figure, axes = canvas(1, 2, width=13, height=5.6)
    left, right = axes[0]
    colours = dict(zip(RADII, (GREY, GREEN, GREEN, BLUE, ORANGE, VERMILION), strict=True))
    times = np.arange(1, linear.shape[1] + 1)
    for radius in (0.3, 0.9, 1.3):
        of = r == radius
        middle = np.median(linear[of], axis=0)
        name = f"ρ = {radius:g}, σ = {np.median(s[of]):.2f}"
        left.plot(times, middle, color=colours[radius], linewidth=4, label=name)
        left.plot(times, np.median(tanh[of], axis=0), color=colours[radius], linewidth=2.5, linestyle=":")
    left.plot([], [], color=BLACK, linestyle=":", linewidth=2.5, label="dotted: with tanh")
    left.set(yscale="log", ylim=(1e-12, 1e20), xlim=(0, times[-1]))
    fooled = f"σ = {np.median(s[r == 0.9]):.2f} > 1, yet the gradient vanishes"
    title = fooled if between[r == 0.9].any() else "σ = ρ: the slide's rule"
    label(left, "", "time steps t", "‖∂s_t / ∂s_0‖₂")
    left.set_title(title, loc="left", fontsize=16, fontweight="bold")
    right.axvspan(1, s.max() * 1.05, color=LIGHT_GREY, alpha=0.5, linewidth=0)
    shrinks = np.where(r < 1, BLUE, VERMILION).tolist()
    for data, mark, name in ((linear, "o", "linear"), (tanh, "x", "with tanh")):
        rate = data[:, -1] ** (1 / len(times))
        right.scatter(s, rate, c=shrinks, marker=mark, s=45, alpha=0.75)
        right.scatter([], [], color=BLACK, marker=mark, s=60, label=name)
    right.scatter([], [], color=BLUE, marker="s", s=60, label="spectral radius ρ < 1")
    right.scatter([], [], color=VERMILION, marker="s", s=60, label="ρ > 1")
    right.text(s.max() * 1.03, 1.52, "here the slides say: explodes", fontsize=14, ha="right")
    right.set(ylim=(0, 1.65), xlim=(min(s.min() * 0.9, 0.9), s.max() * 1.05))
    label(right, "", "largest singular value σ of W", "growth of the gradient per step")
    title = f"{between.sum()} of {(s > 1).sum()} linear nets with σ > 1 shrink" if between.any() else "σ decides"
    right.set_title(title, loc="left", fontsize=16, fontweight="bold")
    for panel in (left, right):
        panel.axhline(1, color=BLACK, linewidth=1, zorder=0)
        panel.xaxis.label.set_fontsize(14)
        panel.yaxis.label.set_fontsize(14)
    left.legend(fontsize=13, loc="upper left")
    right.legend(fontsize=12, loc="upper left", bbox_to_anchor=(0, 0.95))
    return figure
