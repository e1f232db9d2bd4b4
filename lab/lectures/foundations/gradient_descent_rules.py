"""Three rules of gradient descent: the bound on the rate, smaller steps on shallower slopes, and which way is down.

Lecture: L2 and L4, 15. Deep Learning; Machine learning lecture
Slide: the slides on the slope and the ball; The gradient gives the uphill direction; Intro to Neural Networks
Says: L2: "As the slope gets shallower, take smaller steps to avoid overshooting the minimum."; "The gradient gives the
    uphill direction, so the negative of the gradient gives the downhill direction." L4: "w_ij ← w_ij - eta ∂E/∂w_ij".
Doubt: No slide says how large eta may be: on a quadratic the rule converges if and only if eta < 2/lambda_max. Downhill
    is steepest for a step of no length: a longer step has a better direction, and the minimum lies elsewhere again.
Kind: exact
"""

from dataclasses import dataclass

import numpy as np

from lab.lectures import Outcome, check, doubt, report, setting
from lab.plots import BLACK, BLUE, GREEN, GREY, VERMILION, canvas, label

MINIMA = np.array([[3, 2], [-2.805118, 3.131312], [-3.779310, -3.283186], [3.584428, -1.848126]])
"""Of Himmelblau's function."""
ANGLES = np.deg2rad(np.arange(360))


@dataclass(frozen=True)
class Settings:
    quadratics: int = setting(20, 1, 500, quick=8)
    """Random quadratics, of 2 to 10 dimensions, curvatures 1 to 10."""
    steps: int = setting(1000, 500, 20000)
    """Steps of each descent."""
    points: int = setting(500, 1, 20000)
    """Random places at which 360 directions are tried."""


def descend(hessian: np.ndarray, start: np.ndarray, rate: float, steps: int, fixed: bool = False) -> np.ndarray:
    """The path (steps + 1, n) of w ← w - rate * gradient on w'Hw/2; fixed: every step of length `rate`."""
    path = [start]
    for _ in range(steps):
        gradient = hessian @ path[-1]
        path.append(path[-1] - rate * (gradient / np.linalg.norm(gradient) if fixed else gradient))
    return np.array(path)


def largest_rate(hessian: np.ndarray, start: np.ndarray, steps: int) -> float:
    """By bisection: the largest rate at which the descent is nearer the minimum at its end than half-way."""
    low, high = 0.0, 10.0
    for _ in range(25):
        rate = (low + high) / 2
        with np.errstate(over="ignore", invalid="ignore"):
            distance = np.linalg.norm(descend(hessian, start, rate, steps), axis=1)
        # a fast descent is at 0 itself before half-way: the squares in its norm fall below what a float can hold
        converges = distance[-1] < distance[steps // 2] or distance[-1] == 0
        low, high = (rate, high) if converges else (low, rate)
    return low


def quadratic(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A random Hessian (n, n) with curvatures from 1 to 10, and a start (n,)."""
    random = np.random.default_rng(seed)
    n = int(random.integers(2, 11))
    axes, _ = np.linalg.qr(random.normal(size=(n, n)))
    return axes @ np.diag(random.uniform(1, 10, n)) @ axes.T, random.normal(size=n)


def hills(w: np.ndarray) -> np.ndarray:
    """Himmelblau's function of places (..., 2): four valleys."""
    x, y = w[..., 0], w[..., 1]
    return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


def slope(w: np.ndarray) -> np.ndarray:
    """Its gradient, (..., 2)."""
    x, y = w[..., 0], w[..., 1]
    a, b = x**2 + y - 11, x + y**2 - 7
    return np.stack([4 * x * a + 2 * b, 2 * a + 4 * y * b], -1)


def best_direction(w: np.ndarray, length: float) -> np.ndarray:
    """Of 360 steps of this length from places (n, 2), the one that ends lowest: unit vectors (n, 2)."""
    ways = np.stack([np.cos(ANGLES), np.sin(ANGLES)], -1)  # (360, 2)
    return ways[hills(w[:, None] + length * ways).argmin(1)]


def between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angles in degrees between the vectors of a and b, (n, 2) each."""
    cross = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return np.rad2deg(np.arctan2(np.abs(cross), (a * b).sum(1)))


def measure(settings: Settings) -> Outcome:
    ratios = []
    for seed in range(settings.quadratics):
        hessian, start = quadratic(seed)
        bound = 2 / np.linalg.eigvalsh(hessian).max()
        ratios.append(largest_rate(hessian, start, settings.steps) / bound)

    hessian, start = quadratic(0)
    unit = 0.1
    fixed = descend(hessian, start, unit, settings.steps, fixed=True)
    free = descend(hessian, start, unit, settings.steps)
    late = np.diff(fixed[-51:], axis=0) / unit  # the last steps' directions
    turns = float(np.mean((late[1:] * late[:-1]).sum(1) < 0))
    distance = {name: np.linalg.norm(path, axis=1) / unit for name, path in (("fixed", fixed), ("free", free))}

    random = np.random.default_rng(0)
    places = random.uniform(-5, 5, (settings.points, 2))
    down = -slope(places)
    off = {length: between(best_direction(places, length), down) for length in (1e-6, 0.1, 1.0)}
    gaps = MINIMA[None] - places[:, None]  # (place, minimum, 2)
    nearest = gaps[np.arange(len(places)), np.linalg.norm(gaps, axis=2).argmin(1)]
    findings = [
        doubt(check("largest rate that converges over 2/lambda_max, lowest", min(ratios), "== 1 +- 0.005",
                    values=ratios)),
        doubt(check("largest rate that converges over 2/lambda_max, highest", max(ratios), "== 1 +- 0.005")),
        check("steps of one length: share of the last 50 that turn back", turns, "> 0.5"),
        check("steps of one length: farthest of the last 50 from the minimum, in steps",
              float(distance["fixed"][-50:].max()), ">= 0.5"),
        check("steps as the slope: distance at the end, in the same unit", float(distance["free"][-1]), "< 1e-6"),
        check("best of 360 directions, step 1e-6: largest angle from -gradient, degrees", float(off[1e-6].max()),
              "<= 0.51"),
        *(report(f"best of 360 directions, step {length:g}: median angle from -gradient, degrees",
                 float(np.median(off[length]))) for length in (0.1, 1.0)),
        report("nearest minimum: median angle from -gradient, degrees", float(np.median(between(nearest, down)))),
    ]  # fmt: skip
    budget = (
        f"{settings.quadratics} quadratics of 2 to 10 dimensions, 25 descents of {settings.steps} steps each; two more "
        f"in steps of {unit:g}; 360 directions at {settings.points} places of Himmelblau's function"
    )
    return Outcome(findings, picture(distance, min(ratios), max(ratios), off), budget)


def picture(distance: dict[str, np.ndarray], low: float, high: float, off: dict[float, np.ndarray]):
    """The distance to the minimum below and above the bound; for steps of one length; the angles."""
    figure, axes = canvas(1, 3, width=14.5, height=5.2)
    panel = axes[0, 0]
    hessian, start = quadratic(1)
    bound = 2 / np.linalg.eigvalsh(hessian).max()
    for share, colour in ((0.5, GREEN), (0.98, BLUE), (1.02, VERMILION)):
        path = np.linalg.norm(descend(hessian, start, share * bound, 100), axis=1)
        panel.plot(path, color=colour, linewidth=3.5, label=f"eta = {share:g} × 2/λmax")
    panel.set_yscale("log")
    panel.set_ylim(1e-4, 1e4)
    label(panel, x="step", y="distance from the minimum")
    panel.legend(fontsize=13, loc="upper left", frameon=False)
    exact = abs(low - 1) < 0.005 and abs(high - 1) < 0.005
    title = "The bound is 2/λmax" if exact else f"The bound is {low:.2f} to {high:.2f} × 2/λmax"
    panel.set_title(title, loc="left", fontsize=15)
    panel = axes[0, 1]
    for name, text, colour in (("fixed", "steps of one length", VERMILION), ("free", "steps as the slope", BLUE)):
        panel.plot(distance[name][:60], color=colour, linewidth=3, label=text)
    panel.axhline(0.5, color=GREY, linestyle="--", linewidth=1.5)
    panel.text(59, 0.46, "half a step", fontsize=12, ha="right", va="top")
    panel.set_yscale("log")
    panel.set_ylim(1e-3, None)
    label(panel, x="step", y="distance from the minimum (fixed steps)")
    panel.legend(fontsize=13, loc="upper right", frameon=False)
    farthest = float(distance["fixed"][-50:].max())
    panel.set_title(f"Equal steps end {farthest:.2g} of a step off", loc="left", fontsize=15)
    panel = axes[0, 2]
    for (length, angles), colour in zip(off.items(), (BLUE, GREEN, VERMILION), strict=True):
        panel.plot(np.sort(angles), np.linspace(0, 100, len(angles)), color=colour, linewidth=3.5, label=f"{length:g}")
    panel.set_xlim(-3, 183)
    label(panel, x="angle of the best direction from -gradient (°)", y="share of places (%)")
    panel.legend(title="length of step", fontsize=13, title_fontsize=13, loc="lower right", frameon=False)
    tiny, *_, large = (float(np.median(angles)) for angles in off.values())
    panel.set_title(f"-gradient is {tiny:.1f}° off for tiny steps", loc="left", fontsize=15)
    found = {
        "too long a step diverges": exact, "an equal step overshoots": farthest >= 0.5,
        f"the best large step lies {large:.0f}° off": large > tiny,
    }  # fmt: skip
    title = ", ".join(name for name, so in found.items() if so) or "none of the three shows here"
    figure.suptitle(title[0].upper() + title[1:], fontsize=18, fontweight="bold", color=BLACK, x=0.01, ha="left")
    return figure
