"""The chain rule of three lectures, written out in NumPy, against autograd and finite differences; misprints fail it.

Lecture: L1, L2 and L4, Deep learning review; 15. Deep Learning; Machine learning lecture
Slide: Backpropagation; Chain Rule; Gradient Vanishing and Exploding; Intro to Neural Network: Backpropagation
Says: L2: "∂C0/∂w(L-1) = ∂z(L-1)/∂w(L-1) ∂a(L-1)/∂z(L-1) ∂z(L)/∂a(L-1) ∂a(L)/∂z(L) ∂C0/∂a(L)", "C0 = (a(L) - y)²".
    L4: "delta_k = (T_k - a_k) sigma'(net_k)", "delta_j = [sum_k w_kj delta_k] sigma'(net_j)", "w_ji ← w_ji + eta
    delta_j a_i".
Doubt: L2, or its transcript, also has "∂z(L)/∂a(L) = a(L-1)", where the derivative to w is meant, and on vanishing
    gradients ends the same product in ∂C0/∂z(L), which counts sigma' twice. L2's squares give twice L4's step, whose
    error must be half of them; L4 does not say so. L1's chain of single letters names no net: no number can test it.
Kind: exact
"""

from dataclasses import dataclass

import numpy as np
import torch

from lab.lectures import Outcome, check, doubt, report, setting
from lab.plots import BLACK, BLUE, GREEN, VERMILION, canvas, label

Layers = list[tuple[np.ndarray, np.ndarray]]
"""(weights (out, in), bias (out,)) of each layer."""


@dataclass(frozen=True)
class Settings:
    hidden: int = setting(5, 1, 50)
    """Units in each of two hidden layers; all layers have as many, so that every misprint can be multiplied out."""
    step: float = setting(1e-5, 1e-12, 0.1)
    """Of the central differences."""


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def network(width: int) -> tuple[Layers, np.ndarray, np.ndarray]:
    """A sigmoid net width-width-width-width with an input (width,) and a target (width,)."""
    random = np.random.default_rng(0)
    layers = [(random.normal(size=(width, width)), random.normal(size=width)) for _ in range(3)]
    return layers, random.normal(size=width), random.uniform(size=width)


def forward(layers: Layers, x: np.ndarray) -> list[np.ndarray]:
    """The activations a of every layer, the input first."""
    activations = [x]
    for w, b in layers:
        activations.append(sigmoid(w @ activations[-1] + b))
    return activations


def cost(layers: Layers, x: np.ndarray, y: np.ndarray) -> float:
    """L2's C0, summed over the outputs."""
    return float(((forward(layers, x)[-1] - y) ** 2).sum())


def lecture2(layers: Layers, x: np.ndarray, y: np.ndarray, misprint: str = "") -> np.ndarray:
    """The gradient of C0 by L2's chain rule, all weights and biases in one vector.

    misprint: "dz/da" takes ∂z(L)/∂a(L-1) for a(L-1), not w(L); "dC/dz" ends the product in ∂C0/∂z(L), not ∂C0/∂a(L).
    """
    activations = forward(layers, x)
    dc_da = 2 * (activations[-1] - y)
    if misprint == "dC/dz":
        dc_da = dc_da * activations[-1] * (1 - activations[-1])
    gradient: list[np.ndarray] = []
    for (w, _), below, a in zip(reversed(layers), activations[-2::-1], activations[:0:-1], strict=True):
        dc_dz = dc_da * a * (1 - a)  # sigma'(z) = a (1 - a)
        gradient = [np.outer(dc_dz, below).ravel(), dc_dz, *gradient]
        dc_da = below * dc_dz if misprint == "dz/da" else w.T @ dc_dz
    return np.concatenate(gradient)


def lecture4(layers: Layers, x: np.ndarray, target: np.ndarray) -> np.ndarray:
    """What L4 adds to the weights for eta = 1: delta_j a_i, and delta_j for the bias."""
    *hidden, output = forward(layers, x)
    delta = (target - output) * output * (1 - output)
    steps = [np.outer(delta, hidden[-1]).ravel(), delta]
    for (w, _), below, a in zip(layers[:0:-1], hidden[-2::-1], hidden[:0:-1], strict=True):
        delta = (w.T @ delta) * a * (1 - a)
        steps = [np.outer(delta, below).ravel(), delta, *steps]
    return np.concatenate(steps)


def autograd(layers: Layers, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The oracle: torch's gradient of C0, in the same order."""
    tensors = [torch.tensor(part, requires_grad=True) for layer in layers for part in layer]
    a = torch.tensor(x)
    for w, b in zip(tensors[::2], tensors[1::2], strict=True):
        a = torch.sigmoid(w @ a + b)
    parts = torch.autograd.grad(((a - torch.tensor(y)) ** 2).sum(), tensors)
    return np.concatenate([part.numpy().ravel() for part in parts])


def differences(layers: Layers, x: np.ndarray, y: np.ndarray, step: float) -> np.ndarray:
    """Central differences of C0, a parameter at a time."""
    slopes = []
    for part in (part for layer in layers for part in layer):
        for place in np.ndindex(part.shape):
            kept = part[place]
            part[place] = kept + step
            above = cost(layers, x, y)
            part[place] = kept - step
            slopes.append((above - cost(layers, x, y)) / (2 * step))
            part[place] = kept
    return np.array(slopes)


def apart(gradient: np.ndarray, oracle: np.ndarray) -> float:
    """Relative error of the whole vector."""
    return float(np.linalg.norm(gradient - oracle) / np.linalg.norm(oracle))


def measure(settings: Settings) -> Outcome:
    layers, x, y = network(settings.hidden)
    oracle, ours, theirs = autograd(layers, x, y), lecture2(layers, x, y), lecture4(layers, x, y)
    numeric = differences(layers, x, y, settings.step)
    wrong = {name: lecture2(layers, x, y, name) for name in ("dz/da", "dC/dz")}
    findings = [
        check("L2's chain rule against autograd, relative error", apart(ours, oracle), "< 1e-6"),
        check("L2's chain rule against central differences, relative error", apart(ours, numeric), "< 1e-6"),
        check("L4's deltas against half of autograd's descent, relative error", apart(theirs, -oracle / 2), "< 1e-6"),
        doubt(check("L2's gradient over L4's step, length", float(np.linalg.norm(ours) / np.linalg.norm(theirs)),
                    "== 2 +- 1e-9")),
        doubt(check("L2 with dz/da taken as a, relative error", apart(wrong["dz/da"], oracle), ">= 1e-6")),
        check("L2 ending in dC/dz, relative error", apart(wrong["dC/dz"], oracle), "< 1e-6"),
        report("cosine of the gradient with dz/da as a", _cosine(wrong["dz/da"], oracle)),
        report("cosine of the gradient ending in dC/dz", _cosine(wrong["dC/dz"], oracle)),
    ]  # fmt: skip
    budget = f"one sigmoid net of 3 layers and {len(oracle)} parameters, one sample; {2 * len(oracle)} forward passes"
    compared = {
        "L2, chain rule": (ours, BLUE),
        "L4, deltas × -2": (-2 * theirs, GREEN),
        "L2, ∂z/∂a printed as a": (wrong["dz/da"], VERMILION),
        "L2, ending in ∂C/∂z": (wrong["dC/dz"], VERMILION),
    }
    return Outcome(findings, picture(compared, oracle), budget)


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def picture(compared: dict[str, tuple[np.ndarray, str]], oracle: np.ndarray):
    """Each gradient against autograd's, a dot per parameter: right ones lie on the diagonal."""
    figure, axes = canvas(1, 4, width=14, height=4.7, sharex=True, sharey=True)
    right = 0
    for panel, (name, (gradient, colour)) in zip(axes[0], compared.items(), strict=True):
        error = apart(gradient, oracle)
        right += error < 1e-6
        panel.axline((0, 0), slope=1, color=BLACK, linewidth=1, zorder=0)
        panel.plot(oracle, gradient, "o", color=colour, markersize=7, alpha=0.7)
        label(panel, x="autograd's derivative", y="" if right > 1 or error >= 1e-6 else "derivative by the formula")
        panel.set_title(f"{name}\noff by {error:.0e}" if error < 1e-6 else f"{name}\noff by {100 * error:.0f} %",
                        loc="left", fontsize=14, color=BLACK if error < 1e-6 else VERMILION)  # fmt: skip
    found = f"{right} of 4 formulas are the gradient"
    if right == 2:
        found = "Two lectures have the gradient; two misprints do not"
    figure.suptitle(found, fontsize=18, fontweight="bold", x=0.01, ha="left")
    return figure
