"""One node, worked by hand: the weighted sum is -23, and what leaves the node depends on its activation.

Lecture: L1, Deep learning review
Slide: What is the value of the right-most node?
Says: "8 × -4 + 3 × -1 + 6 × 2 = -23"
Doubt: -23 is the weighted sum, the node's value only if it has no activation and no bias. With the perceptron of the
    slide before it the value is 0, with ReLU 0, with a sigmoid 1e-10.
Kind: exact
"""

from dataclasses import dataclass

import torch

from lab.lectures import Outcome, check, doubt, setting
from lab.plots import BLUE, GREEN, GREY, ORANGE, VERMILION, canvas

INPUTS = (8.0, 3.0, 6.0)
WEIGHTS = (-4.0, -1.0, 2.0)


@dataclass(frozen=True)
class Settings:
    bias: float = setting(0.0, -1000, 1000)
    """Added to the weighted sum; the slide has none."""


def measure(settings: Settings) -> Outcome:
    x, w = torch.tensor(INPUTS, dtype=torch.float64), torch.tensor(WEIGHTS, dtype=torch.float64)
    total = w @ x + settings.bias
    values = {
        "sum": total.item(),
        "ReLU": torch.relu(total).item(),
        "perceptron": float(total > 0),  # L1: 1 if the sum is above 0, else 0
        "sigmoid": torch.sigmoid(total).item(),
    }
    bias = f" {settings.bias:+g}" if settings.bias else ""
    findings = [
        check(f"weighted sum{bias}", values["sum"], "== -23"),
        doubt(check("after ReLU", values["ReLU"], "== 0")),
        doubt(check("after the perceptron's step", values["perceptron"], "== 0")),
        doubt(check("after a sigmoid", values["sigmoid"], "== 1.026188e-10 +- 1e-16")),
    ]
    return Outcome(findings, picture(values), "one node, three products, no training")


def picture(values: dict[str, float]):
    """The node as a graph, and what four activations make of its sum."""
    figure, axes = canvas(width=10.5, height=4.6)
    panel = axes[0, 0]
    panel.set(xlim=(-0.5, 10.6), ylim=(-0.7, 4.3))
    panel.axis("off")
    node = (4.2, 1.8)
    for (x, w), y in zip(zip(INPUTS, WEIGHTS, strict=True), (3.6, 1.8, 0.0), strict=True):
        panel.annotate("", node, (0, y), arrowprops={"arrowstyle": "-", "color": GREY, "lw": 1 + abs(w)})
        panel.text(0, y, f"{x:g}", ha="center", va="center", fontsize=20, bbox=_bubble(BLUE), color="white")
        panel.text(
            1.9, y + (node[1] - y) * 0.45, f"× {w:g}", ha="center", va="center", fontsize=17, fontweight="bold",
            color=ORANGE if w > 0 else VERMILION, bbox={"fc": "white", "ec": "none", "pad": 2},
        )  # fmt: skip
    total = values["sum"]
    panel.text(*node, f"{total:g}", ha="center", va="center", fontsize=26, bbox=_bubble(VERMILION), color="white")
    leaves = [
        ("no activation", total),
        ("ReLU", values["ReLU"]),
        ("perceptron", values["perceptron"]),
        ("sigmoid", values["sigmoid"]),
    ]
    for (name, value), y in zip(leaves, (3.6, 2.4, 1.2, 0.0), strict=True):
        panel.annotate("", (6.1, y), (4.95, 1.8), arrowprops={"arrowstyle": "->", "color": GREY, "lw": 2})
        panel.text(6.25, y, name, va="center", fontsize=16)
        shown = f"{value:.3g}".replace("e-10", " × 10⁻¹⁰")
        panel.text(
            8.5, y, shown, va="center", fontsize=18, color=VERMILION if value == total else GREEN, fontweight="bold"
        )
    passed = "ReLU passes it on" if total >= 0 else "only without an activation is that the node's value"
    title = f"The sum is {total:g}; {passed}"
    panel.set_title(title, loc="left", fontsize=16, fontweight="bold")
    return figure


def _bubble(colour: str) -> dict:
    return {"boxstyle": "circle,pad=0.35", "fc": colour, "ec": "none"}
