"""More parameters always fit training data better; test error peaks where they match the data in number, then falls.

Lecture: L2, 15. Deep Learning; L4, Machine learning lecture
Slide: Overfitting and Underfitting (L2); Deep Learning (L4)
Says: "The balance between data (knowns or constraints) and parameters (unknowns)" (L2). "More parameters = more
    accurate on training data" (L4)
Doubt: The balance is told as if more unknowns than knowns were worst. Worst is as many as there are: beyond p = n the
    least-norm solution gets better again (double descent, Belkin et al., 2019), and may pass the best one before it.
Kind: chance
"""

from dataclasses import dataclass

import numpy as np

from lab import console
from lab.lectures import Outcome, check, doubt, report, setting
from lab.plots import BLUE, DARK_GREY, LIGHT_GREY, VERMILION, canvas, label
from lab.stats import bootstrap

PARAMETERS = np.array([5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120, 150, 200, 300, 500, 1000, 2000])
INPUTS = 10


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(20, 2, 200, quick=6)
    """Draws of data, of the target and of the random features."""
    examples: int = setting(100, 20, 500)
    """Training examples n."""
    noise: float = setting(0.3, 0.0, 3.0)
    """Standard deviation of the noise on the training labels; the signal's is 1."""


def errors(settings: Settings, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean squared error on training data and on 1000 noiseless test points, by number of parameters, (p,) each.

    p random ReLU features, always the first p of one draw, fitted by least squares; beyond n the least-norm solution.
    """
    random = np.random.default_rng(seed)
    x = random.normal(size=(settings.examples + 1000, INPUTS))
    target = x @ random.normal(size=INPUTS) / INPUTS**0.5
    target = np.tanh(2 * target) + 0.5 * x[:, 0] * x[:, 1]
    target = (target - target.mean()) / target.std()
    features = np.maximum(x @ random.normal(size=(INPUTS, PARAMETERS[-1])) / INPUTS**0.5, 0)
    n = settings.examples
    y = target[:n] + settings.noise * random.normal(size=n)
    train, test = [], []
    for p in PARAMETERS:
        weights = np.linalg.lstsq(features[:n, :p], y, rcond=None)[0]
        train.append(((features[:n, :p] @ weights - y) ** 2).mean())
        test.append(((features[n:, :p] @ weights - target[n:]) ** 2).mean())
    return np.array(train), np.array(test)


def measure(settings: Settings) -> Outcome:
    train, test = [], []
    with console.bar("random features", settings.seeds, "draws") as advance:
        for seed in range(settings.seeds):
            fitted, unseen = errors(settings, seed)
            train.append(fitted)
            test.append(unseen)
            advance()
    few = settings.examples > PARAMETERS
    middle = np.median(test, axis=0)  # at p = n a few draws are huge
    best = int(middle[few].argmin())
    log = np.log10(test)  # (seed, p)
    at = int(np.abs(PARAMETERS - settings.examples).argmin())
    rise, fall, start = log[:, at] - log[:, best], log[:, at] - log[:, -1], log[:, 0] - log[:, best]
    beyond = log[:, -1] - log[:, best]
    peak = PARAMETERS[int(middle.argmax())]
    findings = [
        check("largest rise of the training error from one p to the next", float(np.diff(train, axis=1).max()),
              "<= 1e-9"),
        check(f"test error at p = {PARAMETERS[0]} over its best below n, log10", float(np.median(start)), "> 0",
              bootstrap(start), start),
        check("test error at p = n over its best below n, log10", float(np.median(rise)), "> 0", bootstrap(rise), rise),
        doubt(check("p of the largest test error, over n", peak / settings.examples, "in 0.8 .. 1.25")),
        check(f"test error at p = {PARAMETERS[-1]} over that at p = n, log10", float(np.median(-fall)), ">= 0",
              bootstrap(-fall), -fall),
        check(f"test error at p = {PARAMETERS[-1]} over the best below n, log10", float(np.median(beyond)), "> 0",
              bootstrap(beyond), beyond),
        report("p of the least test error below n", PARAMETERS[best]),
        report("least test error below n", middle[best]),
        report("test error at p = n", middle[at]),
        report(f"test error at p = {PARAMETERS[-1]}", middle[-1]),
    ]  # fmt: skip
    budget = (
        f"{settings.seeds} draws, {len(PARAMETERS)} least-squares fits each on {settings.examples} examples; medians "
        "over draws, errors in variances of the signal"
    )
    return Outcome(findings, picture(np.array(train), np.array(test), settings.examples, best), budget)


def picture(train: np.ndarray, test: np.ndarray, n: int, best: int):
    """Training and test error against the number of parameters, medians of the draws."""
    figure, axes = canvas(width=11, height=5.4)
    panel = axes[0, 0]
    middle = np.median(test, axis=0)
    low, high = np.array([bootstrap(errors) for errors in np.log10(test).T]).T
    panel.axvspan(PARAMETERS[0], n, color=LIGHT_GREY, alpha=0.3, linewidth=0)
    panel.fill_between(PARAMETERS, 10**low, 10**high, color=VERMILION, alpha=0.2, linewidth=0)
    panel.plot(PARAMETERS, middle, "o-", color=VERMILION, linewidth=3.5, label="test (median of draws; band 95 %)")
    panel.plot(PARAMETERS, np.maximum(np.median(train, axis=0), 1e-3), "s-", color=BLUE, linewidth=3, label="training")
    panel.axhline(middle[best], color=DARK_GREY, linestyle=":", linewidth=1.5)
    panel.text(PARAMETERS[0] * 1.05, middle.max() * 0.5, "fewer unknowns\nthan data", fontsize=15, color=DARK_GREY)
    panel.text(n * 1.6, middle.max() * 0.5, "more unknowns\nthan data", fontsize=15, color=DARK_GREY)
    panel.set(xscale="log", yscale="log", ylim=(2e-3, middle.max() * 2), xlim=(PARAMETERS[0], PARAMETERS[-1]))
    ticks = [5, 10, 20, 50, 100, 200, 500, 1000, 2000]
    panel.set_xticks(ticks, [str(p) for p in ticks])
    panel.minorticks_off()
    peak = PARAMETERS[int(middle.argmax())]
    better = "are better than" if middle[-1] < middle[best] else "are no better than"
    title = f"Worst at {peak} parameters for {n} examples; {PARAMETERS[-1]} {better} the best below {n}"
    label(panel, title, "parameters p", "mean squared error, variances of the signal")
    panel.legend(loc="lower left", fontsize=14)
    return figure
