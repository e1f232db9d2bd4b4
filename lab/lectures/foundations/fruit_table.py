"""Four fruits, two columns: weight alone and texture alone both tell them apart, and part ways on a fruit not listed.

Lecture: L2, 15. Deep Learning
Slide: Data view: Learning Paradigm
Says: "Weight Texture Label: 150g Bumpy Orange; 170g Bumpy Orange; 140g Smooth Apple; 130g Smooth Apple"
Doubt: The table cannot say which column makes an orange: the two rules agree on all of it and contradict each other on
    a smooth fruit of 150 g. Nor does the slide say that grams beside a 0 or 1 are a bad start for a perceptron.
Kind: exact
"""

from dataclasses import dataclass
from itertools import permutations

import numpy as np

from lab.lectures import Outcome, check, doubt, report, setting
from lab.plots import BLACK, BLUE, ORANGE, VERMILION, canvas, label

FRUITS = np.array([[150, 1], [170, 1], [140, 0], [130, 0]], float)  # (fruit, grams and bumpy)
ORANGES = np.array([1, 1, -1, -1])
UNKNOWN = np.array([150.0, 0.0])
"""150 g and smooth: not in the table."""
ORDERS = list(permutations(range(4)))


@dataclass(frozen=True)
class Settings:
    grams: float = setting(145.0, 0, 1000)
    """The weight rule: an orange is heavier than this. Half-way between the heaviest apple and the lightest orange."""
    sweeps: int = setting(10_000, 1, 1_000_000)
    """Passes over the table after which a perceptron is given up."""


def learn(inputs: np.ndarray, order: tuple[int, ...], sweeps: int) -> tuple[np.ndarray, int]:
    """Rosenblatt's rule from zero weights, the fruits in this order until all are right: (weights (3,), updates).

    inputs: (fruit, 2); the third weight is the bias.
    """
    rows, weights, updates = np.column_stack([inputs, np.ones(len(inputs))]), np.zeros(3), 0
    for _ in range(sweeps):
        before = updates
        for fruit in order:
            if ORANGES[fruit] * (weights @ rows[fruit]) <= 0:
                weights = weights + ORANGES[fruit] * rows[fruit]
                updates += 1
        if updates == before:
            break
    return weights, updates


def scale(fruits: np.ndarray) -> np.ndarray:
    """Both columns with the table's mean 0 and standard deviation 1."""
    return (fruits - FRUITS.mean(0)) / FRUITS.std(0)


def measure(settings: Settings) -> Outcome:
    by_weight = np.where(FRUITS[:, 0] > settings.grams, 1, -1)
    by_texture = np.where(FRUITS[:, 1] > 0, 1, -1)
    unknown = {"weight": 1 if UNKNOWN[0] > settings.grams else -1, "texture": 1 if UNKNOWN[1] > 0 else -1}
    updates: dict[str, list[float]] = {}
    oranges: dict[str, list[float]] = {}
    for name, inputs, new in (("grams", FRUITS, UNKNOWN), ("scaled", scale(FRUITS), scale(UNKNOWN))):
        learnt = [learn(inputs, order, settings.sweeps) for order in ORDERS]
        updates[name] = [float(count) for _, count in learnt]
        oranges[name] = [float(weights[:2] @ new + weights[2] > 0) for weights, _ in learnt]
    findings = [
        check(f"fruits right by weight, above {settings.grams:g} g", int((by_weight == ORANGES).sum()), "== 4"),
        check("fruits right by texture, bumpy", int((by_texture == ORANGES).sum()), "== 4"),
        doubt(check("150 g and smooth: answer by weight times answer by texture (1 orange, -1 apple)",
                    unknown["weight"] * unknown["texture"], "== -1")),
        doubt(check("perceptron on grams, fewest updates, over the most on scaled columns",
                    min(updates["grams"]) / max(updates["scaled"]), "> 1")),
        report("perceptron on grams, most updates", max(updates["grams"])),
        *(report(f"perceptron on {name}, median updates of 24 orders", float(np.median(counts)), values=counts)
          for name, counts in updates.items()),
        *(report(f"perceptron on {name}, share of orders that call 150 g and smooth an orange",
                 float(np.mean(votes)), values=votes) for name, votes in oranges.items()),
    ]  # fmt: skip
    budget = "two rules on four fruits; a perceptron in all 24 orders of the fruits, on grams and on scaled columns"
    return Outcome(findings, picture(settings.grams, updates, unknown), budget)


def picture(grams: float, updates: dict[str, list[float]], unknown: dict[str, int]):
    """The table as points with both rules, and the updates that a perceptron needs."""
    figure, axes = canvas(1, 2, width=13, height=5.4, width_ratios=[1.5, 1])
    panel, counts = axes[0]
    for (weight, bumpy), orange in zip(FRUITS, ORANGES, strict=True):
        panel.plot(
            weight,
            bumpy,
            "o",
            color=ORANGE if orange > 0 else BLUE,
            markersize=26,
            markeredgecolor=BLACK,
            clip_on=False,
        )
        panel.annotate(
            "orange" if orange > 0 else "apple", (weight, bumpy), (0, 20), textcoords="offset points", ha="center",
            fontsize=14,
        )  # fmt: skip
    panel.plot(*UNKNOWN, "o", color="white", markersize=30, markeredgecolor=VERMILION, markeredgewidth=3)
    panel.annotate("?", UNKNOWN, ha="center", va="center", fontsize=22, fontweight="bold", color=VERMILION)
    panel.axvline(grams, color=BLACK, linewidth=3)
    panel.axhline(0.5, color=BLACK, linewidth=3, linestyle="--")
    panel.text(grams + 0.7, 1.32, f"by weight: above {grams:g} g", fontsize=14, va="top")
    panel.text(178, 0.53, "by texture: bumpy", fontsize=14, ha="right", va="bottom")
    panel.set(xlim=(124, 178), ylim=(-0.35, 1.35))
    panel.set_yticks([0, 1], ["smooth", "bumpy"], fontsize=14)
    label(panel, x="weight (g)")
    told = {1: "an orange", -1: "an apple"}
    if unknown["weight"] == unknown["texture"]:
        title = f"Both rules call 150 g and smooth {told[unknown['weight']]}"
    else:
        title = f"150 g, smooth: {told[unknown['weight']]} by weight, {told[unknown['texture']]} by texture"
    panel.set_title(title, loc="left", fontsize=16, fontweight="bold")
    places = ["grams", "scaled"]
    for place, name in enumerate(places):
        jitter = np.linspace(-0.2, 0.2, len(ORDERS))
        counts.plot(place + jitter, updates[name], "o", color=(VERMILION, BLUE)[place], markersize=8, alpha=0.7)
        middle = float(np.median(updates[name]))
        counts.text(place + 0.28, middle, f"median\n{middle:,.0f}", fontsize=15, fontweight="bold", va="center")
    counts.set_yscale("log")
    counts.set_xlim(-0.4, 1.7)
    counts.set_xticks([0, 1], ["in grams", "scaled"], fontsize=14)
    label(counts, y="updates until all four are right")
    counts.set_title(
        f"Grams cost {min(updates['grams']):,.0f} to {max(updates['grams']):,.0f} updates",
        loc="left",
        fontsize=16,
        fontweight="bold",
    )
    return figure
