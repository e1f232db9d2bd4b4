"""Without a nonlinearity a net of any depth is one matrix and learns least squares; a ReLU is what bends the boundary.

Lecture: L1 and L3, Deep learning review; KDDM2
Slide: But wait...; What is deep?
Says: L1: "Aren't all neural networks just linear functions? Can't we just use linear or logistic regression?" L3: "If
    f(x) = x -> Linear Regression".
Doubt: L3's arrow holds only if no layer is narrower than the output: through a waist of one unit a linear net with two
    outputs has rank one, and misses least squares. ReLU's ten points on the moons
    are those of little noise (0.1); three more are told.
Kind: chance
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from sklearn.datasets import load_diabetes, make_moons
from torch import nn

from lab import console
from lab.lectures import Outcome, check, report, setting
from lab.plots import BLACK, BLUE, DARK_GREY, ORANGE, VERMILION, canvas, label
from lab.stats import bootstrap

NOISES = (0.1, 0.2, 0.3, 0.4)


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(5, 1, 50, quick=3)
    """Starts, and draws of the moons."""
    steps: int = setting(400, 1, 5000, quick=200)
    """Full-batch Adam steps on the moons."""
    iterations: int = setting(500, 1, 5000, quick=300)
    """Iterations of L-BFGS on the diabetes data."""


def network(sizes: tuple[int, ...], seed: int, between: type[nn.Module] = nn.Identity) -> nn.Sequential:
    """Linear layers of these sizes, with `between` between them; float64."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for wide_in, wide_out in pairwise(sizes):
        layers += [nn.Linear(wide_in, wide_out), between()]
    return nn.Sequential(*layers[:-1]).double()


def collapse(net: nn.Sequential) -> tuple[torch.Tensor, torch.Tensor]:
    """The one matrix (out, in) and bias (out,) that the net's linear layers multiply to."""
    first, *others = (layer for layer in net if isinstance(layer, nn.Linear))
    matrix, bias = first.weight.detach(), first.bias.detach()
    for layer in others:
        matrix, bias = layer.weight.detach() @ matrix, layer.weight.detach() @ bias + layer.bias.detach()
    return matrix, bias


def largest_difference(net: nn.Sequential, x: torch.Tensor) -> float:
    """Between the net and its product matrix, relative to the largest output."""
    matrix, bias = collapse(net)
    with torch.no_grad():
        output = net(x)
    return float((output - (x @ matrix.T + bias)).abs().max() / output.abs().max())


def diabetes() -> tuple[torch.Tensor, torch.Tensor]:
    """442 patients: ten features, and two targets, the disease's progress and the cholesterol (a feature taken out).

    All standardised: (442, 9) and (442, 2).
    """
    x, y = load_diabetes(return_X_y=True, scaled=False)
    columns = np.column_stack([np.delete(x, 4, axis=1), y, x[:, 4]])
    columns = torch.tensor((columns - columns.mean(0)) / columns.std(0))
    return columns[:, :9], columns[:, 9:]


def fit(net: nn.Sequential, x: torch.Tensor, y: torch.Tensor, iterations: int) -> float:
    """Least squares by L-BFGS; returns the mean squared error."""
    optimiser = torch.optim.LBFGS(
        net.parameters(), max_iter=iterations, history_size=20, tolerance_grad=1e-12, tolerance_change=1e-16,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def loss():
        optimiser.zero_grad()
        error = nn.functional.mse_loss(net(x), y)
        error.backward()
        return error

    optimiser.step(loss)
    return nn.functional.mse_loss(net(x), y).item()


def moons(noise: float, seed: int, between: type[nn.Module], steps: int) -> tuple[nn.Sequential, float]:
    """A 2-16-16-1 net trained on 500 points of the moons, and its accuracy in percent on 2,000 others."""
    points, labels = make_moons(2500, noise=noise, random_state=seed)
    x, y = torch.tensor(points), torch.tensor(labels, dtype=torch.float64)[:, None]
    net = network((2, 16, 16, 1), seed, between)
    optimiser = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(steps):
        optimiser.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(net(x[:500]), y[:500]).backward()
        optimiser.step()
    with torch.no_grad():
        return net, 100 * ((net(x[500:]) > 0) == (y[500:] > 0)).double().mean().item()


def measure(settings: Settings) -> Outcome:
    x, y = diabetes()
    apart = [largest_difference(network((9, 64, 32, 64, 2), seed), x) for seed in range(settings.seeds)]
    exact = torch.linalg.lstsq(x, y).solution.T  # (2, 9)
    least = nn.functional.mse_loss(x @ exact.T, y).item()
    wide = [network((9, 8, 8, 2), seed) for seed in range(settings.seeds)]
    waist = [network((9, 8, 1, 2), seed) for seed in range(settings.seeds)]
    errors = [[fit(net, x, y, settings.iterations) for net in nets] for nets in (wide, waist)]
    off = [float((collapse(net)[0] - exact).norm() / exact.norm()) for net in wide]
    gains: dict[float, list[float]] = {}
    accuracy: dict[str, list[float]] = {"linear": [], "ReLU": []}
    shown: list[tuple[nn.Sequential, nn.Sequential]] = []
    with console.bar("moons", len(NOISES) * settings.seeds, "pairs of nets") as advance:
        for noise in NOISES:
            gains[noise] = []
            for seed in range(settings.seeds):
                straight, low = moons(noise, seed, nn.Identity, settings.steps)
                bent, high = moons(noise, seed, nn.ReLU, settings.steps)
                gains[noise].append(high - low)
                if noise == NOISES[0]:
                    accuracy["linear"].append(low)
                    accuracy["ReLU"].append(high)
                    shown.append((straight, bent))
                advance()
    gain = {noise: float(np.median(values)) for noise, values in gains.items()}
    findings = [
        check("four-layer linear net against its product matrix, relative", max(apart), "<= 1e-6", values=apart),
        check("9-8-8-2 linear net: coefficients against least squares, relative", float(np.median(off)), "< 0.001",
              bootstrap(off), off),
        check("moons, noise 0.1: what ReLU gains, points", gain[0.1], ">= 10", bootstrap(gains[0.1]), gains[0.1]),
        *(report(f"moons, noise {noise:g}: what ReLU gains, points", gain[noise], bootstrap(gains[noise]),
                 gains[noise]) for noise in NOISES[1:]),
        *(report(f"moons, noise 0.1: accuracy of the {name} net, %", float(np.median(values)), bootstrap(values),
                 values) for name, values in accuracy.items()),
        report("9-8-1-2 linear net: best error over that of least squares", min(errors[1]) / least,
               values=[error / least for error in errors[1]]),
    ]  # fmt: skip
    budget = (
        f"{settings.seeds} seeds; two fits each of the diabetes data, up to {settings.iterations} L-BFGS iterations; "
        f"{len(NOISES)} x 2 nets 2-16-16-1 each, {settings.steps} Adam steps on 500 moons, tested on 2,000; medians"
    )
    return Outcome(findings, picture(shown[0], accuracy, gains), budget)


def picture(nets: tuple[nn.Sequential, nn.Sequential], accuracy: dict[str, list[float]], gains: dict):
    """The two boundaries on the moons of the first seed, and the gain over noise."""
    figure, axes = canvas(1, 3, width=14.5, height=5.2, width_ratios=[1.2, 1.2, 1])
    points, labels = make_moons(2500, noise=NOISES[0], random_state=0)
    across, up = np.linspace(-1.6, 2.6, 211), np.linspace(-1.2, 1.7, 146)
    plane = torch.tensor(np.stack(np.meshgrid(across, up), -1).reshape(-1, 2))
    for panel, net, name in zip(axes[0], nets, ("linear", "ReLU"), strict=False):
        with torch.no_grad():
            logit = net(plane).numpy().reshape(146, 211)
        panel.contourf(across, up, logit, levels=[-1e9, 0, 1e9], colors=[BLUE, ORANGE], alpha=0.3)
        panel.contour(across, up, logit, levels=[0], colors=BLACK, linewidths=3)
        for value, colour in ((0, BLUE), (1, ORANGE)):
            panel.plot(*points[:500][labels[:500] == value].T, "o", color=colour, markersize=4)
        label(panel, x="x1", y="x2")
        what = "Three linear layers" if name == "linear" else "The same with ReLU"
        panel.set_title(f"{what}: {np.median(accuracy[name]):.1f} %", loc="left", fontsize=15)
    panel = axes[0, 2]
    for noise, values in gains.items():
        panel.plot([noise] * len(values), values, "o", color=DARK_GREY, markersize=8, alpha=0.6)
        panel.plot(noise, np.median(values), "D", color=VERMILION, markersize=11)
    panel.axhline(10, color=BLACK, linestyle="--", linewidth=1.5)
    panel.text(0.42, 10.2, "10 points", ha="right", va="bottom", fontsize=12)
    panel.set_ylim(bottom=0)
    label(panel, x="noise of the moons (standard deviation)", y="gain of ReLU (percentage points)")
    middle = [float(np.median(values)) for values in gains.values()]
    falling = middle == sorted(middle, reverse=True)
    panel.set_title("The gain shrinks with noise" if falling else "Gain over noise", loc="left", fontsize=15)
    title = f"Linear layers stay a line; ReLU brings {np.median(gains[NOISES[0]]):.0f} points on clean moons"
    figure.suptitle(title, fontsize=18, fontweight="bold", x=0.01, ha="left")
    return figure
