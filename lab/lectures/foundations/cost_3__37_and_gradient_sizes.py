"""A cost of 3.37 is that of an untrained net; gradients rank weights rightly up to changes of the weights' own size.

Lecture: L2, 15. Deep Learning
Slide: Cost function; Another Way to Think About The Gradient
Says: "Lots of training data: 3.37. One number" "Changing a weight that has a larger magnitude in the negative gradient
    vector has a bigger effect on the cost."
Doubt: The slide does not say what 3.37 is the cost of: it is what a net costs whose weights are drawn at random. The
    gradient is the effect of an infinitesimal change; the slide leaves open how far it can be trusted for one that is
    not: beyond the size of the weights themselves the ranking frays.
Kind: chance
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.stats import spearmanr
from sklearn.datasets import load_digits

from lab.lectures import Finding, Outcome, check, doubt, report, setting
from lab.plots import BLACK, BLUE, GREY, VERMILION, canvas, label
from lab.stats import bootstrap

SIZES = (784, 16, 16, 10)
STEPS = (1e-4, 1e-3, 1e-2, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""By how much a weight is changed; the weights themselves are of size 1."""
SMALL, LARGE = 1e-3, 10.0

Layers = list[tuple[np.ndarray, np.ndarray]]
"""(weights (below, above), bias (above,)) of each layer."""


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(10, 2, 100, quick=4)
    """Nets whose weights are changed one by one."""
    nets: int = setting(100, 2, 1000, quick=30)
    """Untrained nets whose cost is taken."""
    weights: int = setting(300, 10, 5000, quick=100)
    """Weights changed in each net, drawn among all whose gradient is not 0."""
    spread: float = setting(1.0, 0.001, 10.0)
    """Standard deviation of the weights and biases drawn."""


def digits() -> tuple[np.ndarray, np.ndarray]:
    """1797 digits of 8 x 8 enlarged to 28 x 28, pixels repeated, with a margin: (n, 784) in 0..1; one-hot (n, 10)."""
    x, y = load_digits(return_X_y=True)
    large = np.pad((x.reshape(-1, 8, 8) / 16).repeat(3, 1).repeat(3, 2), ((0, 0), (2, 2), (2, 2)))
    return large.reshape(len(x), 784), np.eye(10)[y]


def draw(seed: int, spread: float) -> Layers:
    random = np.random.default_rng(seed)
    return [(spread * random.normal(size=pair), spread * random.normal(size=pair[1])) for pair in pairwise(SIZES)]


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(z / 2))  # does not overflow


def forward(layers: Layers, a: np.ndarray) -> list[np.ndarray]:
    """Activations of every layer, (image, unit) each, the input `a` first."""
    held = [a]
    for w, b in layers:
        held.append(sigmoid(held[-1] @ w + b))
    return held


def cost(output: np.ndarray, wanted: np.ndarray) -> float:
    """The slide's: squares summed over the ten outputs, averaged over the images."""
    return float(((output - wanted) ** 2).sum(-1).mean())


def gradient(layers: Layers, x: np.ndarray, wanted: np.ndarray) -> list[np.ndarray]:
    """Derivative of the cost by the weights of every layer (biases left out), by the chain rule."""
    held = forward(layers, x)
    back, parts = 2 * (held[-1] - wanted) / len(x), []
    for (w, _), below, a in zip(layers[::-1], held[-2::-1], held[:0:-1], strict=True):
        back = back * a * (1 - a)
        parts.append(below.T @ back)
        back = back @ w.T
    return parts[::-1]


def effects(
    layers: Layers, x: np.ndarray, wanted: np.ndarray, picks: list[tuple[int, int, int]], step: float
) -> np.ndarray:
    """|change of the cost| when one weight (layer, below, above) grows by `step`, for each of the picks."""
    held = forward(layers, x)
    before, changes = cost(held[-1], wanted), []
    for number, below, above in picks:
        w, b = layers[number]
        a = held[number + 1].copy()  # only one unit of that layer changes
        a[:, above] = sigmoid(held[number] @ w[:, above] + b[above] + step * held[number][:, below])
        changes.append(abs(cost(forward(layers[number + 1 :], a)[-1], wanted) - before))
    return np.array(changes)


def measure(settings: Settings) -> Outcome:
    x, wanted = digits()
    costs = np.array([cost(forward(draw(seed, settings.spread), x)[-1], wanted) for seed in range(settings.nets)])
    some = np.random.default_rng(0).permutation(len(x))[:200]
    ranks = np.zeros((settings.seeds, len(STEPS)))
    for seed in range(settings.seeds):
        layers, random = draw(seed, settings.spread), np.random.default_rng(1000 + seed)
        slopes = gradient(layers, x[some], wanted[some])
        places = [(layer, *place) for layer, part in enumerate(slopes) for place in np.argwhere(part != 0).tolist()]
        picks = [places[i] for i in random.permutation(len(places))[: settings.weights]]
        sizes = np.abs([slopes[layer][below, above] for layer, below, above in picks])
        moved = [effects(layers, x[some], wanted[some], picks, step) for step in STEPS]
        ranks[seed] = [spearmanr(sizes, change).statistic for change in moved]
        if seed == 0:
            shown = sizes, moved[STEPS.index(SMALL)] / SMALL, moved[STEPS.index(LARGE)] / LARGE
    small, large = ranks[:, STEPS.index(SMALL)], ranks[:, STEPS.index(LARGE)]
    findings = [
        check("untrained nets: lowest cost", costs.min(), "<= 3.37"),
        check("untrained nets: highest cost", costs.max(), ">= 3.37"),
        check(f"rank correlation of |gradient| and |effect|, change of {SMALL:g}", float(np.median(small)), "> 0.95",
              bootstrap(small), small),
        doubt(check(f"rank correlation of |gradient| and |effect|, change of {LARGE:g}", float(np.median(large)),
                    "<= 0.95", bootstrap(large), large)),
        report("untrained nets: mean cost", costs.mean(), bootstrap(costs, np.mean), costs),
        report("untrained nets: share with a cost below 3.37", float((costs < 3.37).mean())),
        *(report(f"rank correlation, change of {step:g}", float(np.median(row)), bootstrap(row), row)
          for step, row in zip(STEPS, ranks.T, strict=True) if step not in (SMALL, LARGE)),
    ]  # fmt: skip
    budget = (
        f"{settings.nets} untrained nets 784-16-16-10 on {len(x)} digits; {settings.weights} weights of each of "
        f"{settings.seeds} nets changed one by one, by {len(STEPS)} amounts, on {len(some)} digits"
    )
    return Outcome(findings, picture(costs, shown, ranks, findings), budget)


def picture(costs: np.ndarray, shown, ranks: np.ndarray, findings: list[Finding]):
    """Costs of untrained nets; effects against gradients; how the agreement of the two falls."""
    figure, axes = canvas(1, 3, width=15, height=5)
    left, middle, right = axes[0]
    left.hist(costs, bins=15, color=GREY)
    left.axvline(3.37, color=VERMILION, linewidth=4, label="the slide's 3.37")
    label(left, "", "cost", "untrained nets")
    inside = "is" if findings[0].holds and findings[1].holds else "is not"
    left.set_title(f"3.37 {inside} the cost of an untrained net", loc="left", fontsize=15, fontweight="bold")
    sizes, small, large = shown
    kept = (small > 0) & (large > 0)
    middle.plot(sizes[kept], large[kept], "o", color=VERMILION, alpha=0.6, label=f"a change of {LARGE:g}")
    middle.plot(sizes[kept], small[kept], "o", color=BLUE, alpha=0.7, label=f"a change of {SMALL:g}")
    ends = [sizes[kept].min(), sizes[kept].max()]
    middle.plot(ends, ends, color=BLACK, linewidth=1.5)
    middle.set(xscale="log", yscale="log")
    label(middle, "", "|gradient|", "|change of cost| per unit of change")
    middle.set_title("One net, a dot a weight", loc="left", fontsize=15, fontweight="bold")
    right.plot(STEPS, ranks.T, color=GREY, linewidth=1)
    right.plot(STEPS, np.median(ranks, 0), "o-", color=BLUE, linewidth=3.5, label="median net")
    right.axhline(0.95, color=BLACK, linestyle="--", linewidth=1.5, label="0.95")
    right.set(xscale="log")
    right.set_xticks([1e-4, 1e-2, 1, 30], ["0.0001", "0.01", "1", "30"])
    right.minorticks_off()
    label(right, "", "change of the weight (weights are about 1)", "rank correlation")
    lost = findings[3].measured
    right.set_title(f"Change of {LARGE:g}: agreement {lost:.2f}", loc="left", fontsize=15, fontweight="bold")
    return figure
