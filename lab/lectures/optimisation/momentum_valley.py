"""Momentum crosses a narrow valley about seven times faster; it leaves a local minimum because its steps are longer.

Lecture: L2, 15. Deep Learning
Slide: Momentum; SGDM, Advantage
Says: "SGD has the problem of slow convergence in 'valley'-shaped spaces. SGDM speeds up SGD by modifying the direction.
    V_t ← β V_(t−1) − η ∂L/∂W; W ← W + V_t." "faster convergence; chance of escaping the local minimum"
Doubt: With momentum β a steady gradient moves η / (1 − β) a step, ten times η at β = .9. Whatever plain SGD at ten
    times the rate does as well is owed to the longer step, not to momentum; in a round bowl momentum is slower. The
    ten times of theory (691 against 69 iterations at κ = 100) count the asymptotic rate alone: at the best β the
    distance goes as t ρ^t. Rate and noise of the noisy descent were settled on other starts and another noise than
    those that are told; how the answer changes with both is told too.
Kind: chance
"""

from dataclasses import dataclass, replace

import numpy as np

from lab.lectures import Outcome, check, control, doubt, report, setting
from lab.plots import BLACK, BLUE, GREY, ORANGE, VERMILION, canvas, label
from lab.stats import bootstrap, proportion

GRID = [(rate, noise) for rate in (0.005, 0.01, 0.02) for noise in (0.5, 1.0, 2.0)]
"""Rates and noises at which momentum is held against the longer plain step besides; at larger rates that diverges."""


@dataclass(frozen=True)
class Settings:
    condition: float = setting(100.0, 2, 1e4)
    """κ of the valley: its steepest curvature over its flattest."""
    seeds: int = setting(500, 10, 10_000, quick=200)
    """Starts in the basin of the local minimum."""
    steps: int = setting(2000, 10, 20_000, quick=1000)
    """Noisy steps from each start."""
    rate: float = setting(0.02, 1e-4, 0.2)
    """η of the noisy steps; the longer one is η / (1 - β)."""
    beta: float = setting(0.9, 0.0, 0.95)
    """Momentum of the noisy steps."""
    noise: float = setting(1.0, 0.0, 10)
    """Standard deviation of the gradient's noise."""


def valley(condition: float, rate: float, beta: float, tolerance: float = 1e-6, most: int = 100_000) -> np.ndarray:
    """The path in the valley w·diag(1, κ)·w / 2 from (1, 1) until `tolerance` of its length is left: (t, 2)."""
    curvature = np.array([1.0, condition])
    w, velocity = np.ones(2), np.zeros(2)
    path = [w]
    while np.linalg.norm(w) > tolerance * 2**0.5 and len(path) <= most:
        velocity = beta * velocity - rate * curvature * w
        w = w + velocity
        path.append(w)
    return np.array(path)


def slope(x: np.ndarray) -> np.ndarray:
    """Gradient of x⁴/4 - x²/2 + x/5: a local minimum at .88, a pass at .21, the global minimum at -1.09."""
    return x**3 - x + 0.2


def escapes(settings: Settings, rate: float, beta: float) -> np.ndarray:
    """Whether each start ends left of the pass, (seed,); every rule has the same starts and the same noise."""
    random = np.random.default_rng(100)  # 0 to 99 chose the settings
    x, velocity = random.uniform(0.5, 1.5, settings.seeds), np.zeros(settings.seeds)
    for _ in range(settings.steps):
        velocity = beta * velocity - rate * (slope(x) + settings.noise * random.normal(size=settings.seeds))
        x = x + velocity
    return x < 0.21


def measure(settings: Settings) -> Outcome:
    kappa, root = settings.condition, settings.condition**0.5
    # the best rates there are for a known spectrum 1 .. κ (Polyak, 1964)
    best_rate, best_beta = 4 / (root + 1) ** 2, ((root - 1) / (root + 1)) ** 2
    paths = {
        "plain": valley(kappa, 2 / (kappa + 1), 0.0),
        "momentum": valley(kappa, best_rate, best_beta),
        "momentum, plain's rate": valley(kappa, 2 / (kappa + 1), settings.beta),
    }
    count = {name: len(path) - 1 for name, path in paths.items()}
    foretold = {
        "plain": np.log(1e6) / np.log((kappa + 1) / (kappa - 1)),
        "momentum": -2 * np.log(1e6) / np.log(best_beta),
    }
    bowl = len(valley(1.0, 0.5, 0.0)) - 1, len(valley(1.0, 0.5, settings.beta)) - 1

    long = settings.rate / (1 - settings.beta)
    left = {
        "plain": escapes(settings, settings.rate, 0.0),
        "momentum": escapes(settings, settings.rate, settings.beta),
        "plain, longer": escapes(settings, long, 0.0),
    }
    elsewhere = [
        float(np.mean(escapes(other, rate, settings.beta)) - np.mean(escapes(other, rate / (1 - settings.beta), 0.0)))
        for rate, noise in GRID
        for other in [replace(settings, noise=noise)]
    ]
    gain = {name: left["momentum"].astype(float) - left[name] for name in ("plain", "plain, longer")}
    findings = [
        control(check(f"κ = {kappa:g}: iterations of plain descent over those foretold",
                      count["plain"] / foretold["plain"], "== 1 +- 0.02")),
        doubt(check(f"κ = {kappa:g}: iterations with momentum over those foretold",
                    count["momentum"] / foretold["momentum"], "> 1.1")),
        check("iterations, plain over momentum", count["plain"] / count["momentum"], "> 1"),
        check("share that escapes, momentum less plain, same η", gain["plain"].mean(), "> 0",
              bootstrap(gain["plain"], np.mean)),
        doubt(check(f"share that escapes, momentum less plain at η / (1 - β) = {long:.2g}",
                    gain["plain, longer"].mean(), "<= 0", bootstrap(gain["plain, longer"], np.mean))),
        report("iterations, plain descent", count["plain"]),
        report("iterations, plain descent, foretold", foretold["plain"]),
        report("iterations, momentum", count["momentum"]),
        report("iterations, momentum, foretold by its asymptotic rate", foretold["momentum"]),
        report(f"iterations, momentum {settings.beta:g} at plain descent's rate", count["momentum, plain's rate"]),
        report("round bowl, half the best rate: iterations, plain", bowl[0]),
        report(f"round bowl, half the best rate: iterations, momentum {settings.beta:g}", bowl[1]),
        *(report(f"share that escapes, {name}", moved.mean(), proportion(int(moved.sum()), len(moved)),
                 moved if name == "momentum" else ()) for name, moved in left.items()),
        report(f"share that escapes, momentum less longer plain: lowest at {len(GRID)} rates and noises",
               min(elsewhere), values=elsewhere),
        report(f"share that escapes, momentum less longer plain: highest at {len(GRID)} rates and noises",
               max(elsewhere)),
    ]  # fmt: skip
    budget = (
        f"valley: until a millionth of the start is left; local minimum: {settings.seeds} starts, {settings.steps} "
        f"steps each by 3 rules, η = {settings.rate:g}, noise {settings.noise:g}; 2 rules at {len(GRID)} others"
    )
    return Outcome(findings, picture(paths, left, kappa, long), budget)


def picture(paths: dict[str, np.ndarray], left: dict[str, np.ndarray], condition: float, long: float):
    """The two paths over the valley's contours, the distance left at each iteration, the shares that escape."""
    figure, axes = canvas(1, 3, width=14.5, height=5.2, width_ratios=[1, 1.1, 0.9])
    contour, distance, escape = axes[0]
    drawn = 60
    x, y = np.meshgrid(np.linspace(-0.5, 1.15, 200), np.linspace(-4.2, 4.2, 200))
    contour.contour(x, y, np.log10(x**2 + condition * y**2), levels=12, colors=GREY, linewidths=0.7)
    for name, colour in (("plain", VERMILION), ("momentum", BLUE)):
        path = paths[name]
        contour.plot(*path[:drawn].T, "o-", color=colour, markersize=4, linewidth=1.5, label=name)
        distance.plot(np.linalg.norm(path, axis=1) / 2**0.5, color=colour, linewidth=3.5)
        steps = len(path) - 1
        side = "right" if name == "plain" else "left"
        distance.text(
            steps,
            2e-6 if name == "momentum" else 2e-4,
            f" {name} \n {steps} ",
            color=colour,
            fontsize=15,
            fontweight="bold",
            ha=side,
        )
    contour.plot(0, 0, "*", color=BLACK, markersize=16)
    label(contour, f"The first {drawn} steps", "along the valley", "across the valley")
    contour.legend(loc="lower left", fontsize=12, frameon=True)
    distance.set(yscale="log")
    ratio = (len(paths["plain"]) - 1) / (len(paths["momentum"]) - 1)
    label(distance, "", "iteration", "distance, share of the start")
    distance.set_title(f"{ratio:.1f} times fewer iterations", loc="left", fontsize=14)
    names = ("plain", "momentum", f"plain,\nη = {long:.2g}")
    for place, (moved, colour) in enumerate(zip(left.values(), (VERMILION, BLUE, ORANGE), strict=True)):
        share = moved.mean()
        low, high = proportion(int(moved.sum()), len(moved))
        escape.bar(place, share, color=colour, width=0.65)
        escape.vlines(place, low, high, color=BLACK, linewidth=2)
        escape.text(place, high + 0.02, f"{share:.0%}", ha="center", fontsize=15, fontweight="bold")
    escape.set_xticks(range(3), names, fontsize=13)
    escape.set(ylim=(0, 1.1))
    owed = bootstrap(left["momentum"].astype(float) - left["plain, longer"], np.mean)[0] > 0
    label(escape, "", "", "share that leaves the local minimum (95 %)")
    escape.set_title("Momentum escapes more" if owed else "Plain long steps escape as well", loc="left", fontsize=14)
    return figure
