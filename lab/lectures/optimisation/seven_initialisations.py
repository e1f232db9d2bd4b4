"""Seven ways to draw first weights, and the two variances as the slide prints them: ten layers tell them apart.

Lecture: L2, 15. Deep Learning
Slide: the list of weight initialisations (Zero to Constant)
Says: "Zero Initialization: ... leads to symmetry in the gradients, resulting in all the neurons learning the same
    feature." "Xavier Initialization: ... normal distribution with mean 0 and variance of sqrt(1/n) ... used for the
    sigmoid activation function." "He Initialization: ... variance of sqrt(2/n) ... used for the ReLU activation
    function." "Orthogonal Initialization: ... preserves the gradient norm during backpropagation."
Doubt: sqrt(1/n) and sqrt(2/n) are standard deviations; the variances are 1/n and 2/n. Zero weights give ReLU and tanh
    nets no gradient at all, so they learn no feature, the same or other. Xavier was derived for units of slope 1, which
    a sigmoid (slope 1/4) is not. Orthogonal weights keep the norm of a linear net only.
Kind: chance
"""

from dataclasses import dataclass

import numpy as np
import torch

from lab import console
from lab.lectures import Outcome, check, report, setting
from lab.plots import BLACK, BLUE, GREEN, GREY, LIGHT_GREY, ORANGE, PURPLE, SKY, VERMILION, canvas, label
from lab.stats import bootstrap

SCHEMES = {
    "zero": GREY, "random": PURPLE, "Xavier as printed": ORANGE, "Xavier, var 1/n": GREEN, "He as printed": VERMILION,
    "He, var 2/n": BLUE, "orthogonal": BLACK, "uniform": SKY, "constant": LIGHT_GREY,
}  # fmt: skip
ACTIVATIONS = {"linear": lambda x: x, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "ReLU": torch.relu}
SCALE = 0.05
"""Of random (standard deviation), uniform (bound) and constant, where the slide gives none: the defaults of Keras."""


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(3, 1, 20, quick=2)
    """Random draws of weights, inputs and output gradients."""
    layers: int = setting(10, 2, 50)
    """Hidden layers, all of one width."""
    width: int = setting(256, 16, 2048, quick=64)
    """Units per layer in the judged figures; 64 and 1024 are reported beside it unless quick."""
    batch: int = setting(64, 2, 1024, quick=32)
    """Random inputs, of variance 1 in each component."""
    widths: bool = setting(True, quick=False)
    """Measure widths of 64 and 1024 as well."""


def draw(scheme: str, n: int, random: torch.Generator) -> torch.Tensor:
    """A weight matrix (n, n)."""
    normal = torch.randn(n, n, generator=random)
    match scheme:
        case "zero":
            return torch.zeros(n, n)
        case "random":
            return normal * SCALE
        case "Xavier as printed":
            return normal * (1 / n) ** 0.25  # variance sqrt(1/n)
        case "Xavier, var 1/n":
            return normal * (1 / n) ** 0.5
        case "He as printed":
            return normal * (2 / n) ** 0.25
        case "He, var 2/n":
            return normal * (2 / n) ** 0.5
        case "orthogonal":
            return torch.linalg.qr(normal)[0]
        case "uniform":
            return (torch.rand(n, n, generator=random) * 2 - 1) * SCALE
    return torch.full((n, n), SCALE)


def passes(weights: list[torch.Tensor], activation: str, x: torch.Tensor, g: torch.Tensor) -> tuple[np.ndarray, float]:
    """Root mean square of the outputs of every layer, (layers,), and the norm of the gradient that arrives at the
    inputs x (batch, n) over that of g, which enters at the last layer's outputs.
    """
    h, sizes = x.clone().requires_grad_(), []
    inputs = h
    for w in weights:
        h = ACTIVATIONS[activation](h @ w)
        sizes.append(h.detach().square().mean().sqrt().item())
    (arrived,) = torch.autograd.grad(h, inputs, g)
    return np.array(sizes), (arrived.norm() / g.norm()).item()


def survey(settings: Settings, n: int) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
    """(scheme, activation) -> sizes (seeds, layers) and gradient ratios (seeds,) at width n."""
    found: dict[tuple[str, str], tuple[list, list]] = {(s, a): ([], []) for s in SCHEMES for a in ACTIVATIONS}
    for seed in range(settings.seeds):
        random = torch.Generator().manual_seed(seed)
        x, g = (torch.randn(settings.batch, n, generator=random) for _ in range(2))
        for scheme in SCHEMES:
            weights = [draw(scheme, n, random) for _ in range(settings.layers)]
            for activation in ACTIVATIONS:
                sizes, ratio = passes(weights, activation, x, g)
                found[scheme, activation][0].append(sizes)
                found[scheme, activation][1].append(ratio)
    return {key: (np.array(sizes), np.array(ratios)) for key, (sizes, ratios) in found.items()}


def zero_training(activation: str, steps: int = 200) -> tuple[float, float]:
    """(largest hidden weight, largest difference between two hidden units) after descent from a zero 2-8-8-1 net."""
    sizes = ((2, 8), (8, 8), (8, 1))
    weights = [torch.zeros(a, b, requires_grad=True) for a, b in sizes]
    biases = [torch.zeros(b, requires_grad=True) for _, b in sizes]
    x = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    y = x[:, :1] + 1
    optimiser = torch.optim.SGD([*weights, *biases], lr=0.3)
    for _ in range(steps):
        h = x
        for w, b in zip(weights[:-1], biases[:-1], strict=True):
            h = ACTIVATIONS[activation](h @ w + b)
        optimiser.zero_grad()
        (h @ weights[-1] + biases[-1] - y).square().mean().backward()
        optimiser.step()
    first = weights[0].detach()
    largest = max(w.detach().abs().max().item() for w in weights)
    return largest, (first - first[:, :1]).abs().max().item()


def measure(settings: Settings) -> Outcome:
    widths = sorted({settings.width, *((64, 1024) if settings.widths else ())})
    with console.bar("initialisations", len(widths), "widths") as advance:
        surveys = {}
        for n in widths:
            surveys[n] = survey(settings, n)
            advance()
    found = surveys[settings.width]

    def size(scheme: str, activation: str, condition: str):
        """Root mean square after the last layer, median over seeds."""
        last = found[scheme, activation][0][:, -1]
        return check(f"{scheme}, {activation}: size after the last layer", float(np.median(last)), condition,
                     bootstrap(last), last.tolist())  # fmt: skip

    def ratio(scheme: str, activation: str, condition: str):
        each = found[scheme, activation][1]
        return check(f"{scheme}, {activation}: gradient at the input over output", float(np.median(each)), condition,
                     bootstrap(each), each.tolist())  # fmt: skip

    zero = {activation: zero_training(activation) for activation in ("sigmoid", "tanh", "ReLU")}
    findings = [
        check("zero, sigmoid: largest weight after 200 steps", zero["sigmoid"][0], "> 0"),
        check("zero, sigmoid: largest difference between two units", zero["sigmoid"][1], "== 0"),
        check("zero, tanh: largest weight after 200 steps", zero["tanh"][0], "> 0"),
        check("zero, ReLU: largest weight after 200 steps", zero["ReLU"][0], "> 0"),
        ratio("Xavier as printed", "sigmoid", "in 0.1 .. 10"),
        ratio("Xavier, var 1/n", "sigmoid", "in 0.1 .. 10"),
        size("He as printed", "ReLU", "in 0.1 .. 10"),
        size("He, var 2/n", "ReLU", "in 0.1 .. 10"),
        *(ratio("orthogonal", activation, "in 0.9 .. 1.1") for activation in ACTIVATIONS),
        report("Xavier, var 1/n, tanh: gradient at the input over output",
               float(np.median(found["Xavier, var 1/n", "tanh"][1]))),
        *(report(f"width {n}: {scheme}, ReLU: last size", float(np.median(surveys[n][scheme, "ReLU"][0][:, -1])))
          for n in widths for scheme in ("He as printed", "He, var 2/n")),
        *(report(f"width {n}: Xavier as printed, sigmoid: gradient ratio",
                 float(np.median(surveys[n]["Xavier as printed", "sigmoid"][1]))) for n in widths),
        *(report(f"{scheme}, ReLU: gradient at the input over output", float(np.median(found[scheme, "ReLU"][1])))
          for scheme in ("random", "uniform", "constant")),
    ]  # fmt: skip
    nets = len(widths) * settings.seeds * len(SCHEMES) * len(ACTIVATIONS)
    budget = (
        f"{nets} nets of {settings.layers} layers, widths {', '.join(map(str, widths))}, {settings.seeds} draws each, "
        f"{settings.batch} inputs, one pass forward and back; 3 nets trained from zero, 200 steps"
    )
    return Outcome(findings, picture(found, settings), budget)


def picture(found: dict[tuple[str, str], tuple[np.ndarray, np.ndarray]], settings: Settings):
    """Left: size of the outputs layer by layer with ReLU. Right: gradient ratio of every scheme and activation."""
    figure, axes = canvas(1, 2, width=14, height=6.2, width_ratios=[1.1, 1])
    left, right = axes[0]
    depth = np.arange(1, settings.layers + 1)
    for scheme in ("He as printed", "He, var 2/n", "orthogonal", "Xavier, var 1/n", "random", "uniform"):
        middle = np.median(found[scheme, "ReLU"][0], axis=0)
        left.plot(depth, middle, color=SCHEMES[scheme], linewidth=3.5, label=f"{scheme}: {middle[-1]:.2g}")
    left.axhspan(0.1, 10, color=LIGHT_GREY, alpha=0.4, linewidth=0)
    left.set(yscale="log", xlim=(1, settings.layers))
    label(left, "", f"layer (ReLU, {settings.width} units each)", "size (root mean square) of its outputs")
    last = np.median(found["He as printed", "ReLU"][0][:, -1])
    title = f"He as printed {'explodes' if last > 10 else 'is fine'}; with variance 2/n it holds"
    left.set_title(title, loc="left", fontsize=16, fontweight="bold")
    left.legend(fontsize=13, loc="upper left")
    right.grid(False)
    ratios = np.array([[np.median(found[s, a][1]) for a in ACTIVATIONS] for s in SCHEMES])
    logs = np.log10(np.maximum(ratios, 1e-12))
    right.imshow(np.clip(logs, -6, 6), cmap="PuOr", vmin=-8, vmax=8, aspect="auto")
    for row, column in np.ndindex(*ratios.shape):
        value = ratios[row, column]
        right.text(column, row, f"{value:.2g}" if value else "0", ha="center", va="center", fontsize=14,
                   color="white" if abs(logs[row, column]) > 4 else BLACK,
                   fontweight="bold" if 0.1 <= value <= 10 else "normal")  # fmt: skip
    right.set_xticks(range(len(ACTIVATIONS)), list(ACTIVATIONS), fontsize=14)
    right.set_yticks(range(len(SCHEMES)), list(SCHEMES), fontsize=14)
    title = "Gradient left (bold: 0.1 to 10)"
    right.set_title(title, loc="left", fontsize=16, fontweight="bold")
    return figure
