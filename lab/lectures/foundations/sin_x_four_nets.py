"""Four small tanh nets learn sin(x): one hidden layer suffices, and none of them knows what comes beyond its data.

Lecture: L4, Machine learning lecture
Slide: Function Approximation; Example: y = sin(x)
Says: "Does a single hidden layer suffice? – Yes, with enough neurons." "Out-of-range inputs illustrate the limitation
    of DL." Models [2,tanh:1,linear], [20,tanh:3,tanh:1,linear], [20,tanh:5,tanh:1,linear],
    [30,tanh:1,linear].
Doubt: The range of x was in figures that are lost. Two tanh units draw one period of a sine and no more, so the first
    model's good fit depends on that range. Out of range fails for want of a periodic unit, not for depth.
Kind: chance
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from lab import console
from lab.lectures import Finding, Outcome, check, doubt, report, setting
from lab.plots import BLACK, BLUE, LIGHT_GREY, VERMILION, canvas
from lab.stats import bootstrap

MODELS = {"[2]": (2,), "[20, 3]": (20, 3), "[20, 5]": (20, 5), "[30]": (30,)}
"""Units of the tanh layers; a linear unit follows."""


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(5, 1, 30, quick=3)
    """Random starts of each model."""
    iterations: int = setting(300, 1, 5000, quick=150)
    """Iterations of L-BFGS, full batch."""
    points: int = setting(200, 10, 2000)
    """Training points, evenly spaced over the range."""


def network(sizes: tuple[int, ...], seed: int) -> nn.Sequential:
    """1-sizes-1 with tanh between, in float64, its weights drawn from `seed`."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for wide_in, wide_out in zip((1, *sizes), sizes, strict=False):
        layers += [nn.Linear(wide_in, wide_out), nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], 1)).double()


def fit(net: nn.Module, x: torch.Tensor, iterations: int) -> float:
    """Fit sin(x) on x (points, 1) by least squares; returns the mean squared error."""
    optimiser = torch.optim.LBFGS(
        net.parameters(), max_iter=iterations, history_size=20, tolerance_grad=1e-10, tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def loss():
        optimiser.zero_grad()
        error = nn.functional.mse_loss(net(x), torch.sin(x))
        error.backward()
        return error

    optimiser.step(loss)
    return error_on(net, x)


def error_on(net: nn.Module, x: torch.Tensor) -> float:
    with torch.no_grad():
        return nn.functional.mse_loss(net(x), torch.sin(x)).item()


def span(periods: float, points: int) -> torch.Tensor:
    """Points over so many periods of the sine, centred on 0: (points, 1)."""
    return torch.linspace(-torch.pi * periods, torch.pi * periods, points, dtype=torch.float64)[:, None]


def measure(settings: Settings) -> Outcome:
    two, one = span(2, settings.points), span(1, settings.points)
    wide = span(4, 4 * settings.points)
    beyond = wide[wide[:, 0].abs() > 2 * torch.pi]
    inside: dict[str, list[float]] = {name: [] for name in [*MODELS, "one period"]}
    ratio: dict[str, list[float]] = {name: [] for name in MODELS}
    best: dict[str, nn.Sequential] = {}
    with console.bar("sin(x)", 5 * settings.seeds, "nets") as advance:
        for name, sizes in MODELS.items():
            for seed in range(settings.seeds):
                net = network(sizes, seed)
                inside[name].append(fit(net, two, settings.iterations))
                ratio[name].append(error_on(net, beyond) / inside[name][-1])
                if inside[name][-1] == min(inside[name]):
                    best[name] = net
                advance()
        for seed in range(settings.seeds):
            inside["one period"].append(fit(network(MODELS["[2]"], seed), one, settings.iterations))
            advance()

    error = {name: float(np.median(values)) for name, values in inside.items()}
    deep = min(("[20, 3]", "[20, 5]"), key=error.__getitem__)
    shallow = np.array(inside["[30]"]) / error[deep]
    findings = [
        check(f"error of [30] over that of {deep}, the better of two layers", float(np.median(shallow)), "<= 10",
              bootstrap(shallow), shallow.tolist()),
        *(
            check(f"{name}: error out of range over error in range", float(np.median(ratio[name])), "> 1000",
                  bootstrap(ratio[name]), ratio[name])
            for name in ("[20, 3]", "[20, 5]", "[30]")
        ),
        doubt(check("[2] on one period, error of the best start", min(inside["one period"]), "< 0.001",
                    values=inside["one period"])),
        doubt(check("[2] on two periods, error of the best start", min(inside["[2]"]), "> 0.01", values=inside["[2]"])),
        *(report(f"{name}: error in range", error[name], bootstrap(inside[name]), inside[name]) for name in inside),
    ]  # fmt: skip
    budget = (
        f"{settings.seeds} starts of 5 fits, up to {settings.iterations} L-BFGS iterations on {settings.points} points "
        "over two periods (out of range: one more on either side); mean squared errors, medians over starts"
    )
    return Outcome(findings, picture(best, wide, {name: min(inside[name]) for name in MODELS}, findings), budget)


def picture(nets: dict[str, nn.Sequential], x: torch.Tensor, error: dict[str, float], findings: list[Finding]):
    """As on the slides: the fit above, the last hidden layer's outputs below; out of range shaded."""
    figure, axes = canvas(2, 4, width=14, height=6.6, sharex=True, sharey="row")
    t = (x[:, 0] / torch.pi).numpy()
    for (name, net), (top, bottom) in zip(nets.items(), axes.T, strict=True):
        with torch.no_grad():
            hidden = net[:-1](x).numpy()
            output = net(x)[:, 0].numpy()
        top.plot(t, np.sin(t * np.pi), color=BLACK, linewidth=1.5, label="sin(x)")
        top.plot(t, output, color=BLUE, linewidth=3, label="net")
        bottom.plot(t, hidden, linewidth=1.6, alpha=0.85)
        for panel in (top, bottom):
            panel.axvspan(-4, -2, color=LIGHT_GREY, alpha=0.55, linewidth=0)
            panel.axvspan(2, 4, color=LIGHT_GREY, alpha=0.55, linewidth=0)
        top.set_title(
            f"{name}: best MSE {error[name]:.0e}",
            loc="left",
            fontsize=16,
            color=VERMILION if error[name] > 0.01 else BLACK,
        )
        bottom.set_xlabel("x / π", fontsize=13)
    axes[0, 0].set(xlim=(-4, 4), ylim=(-2.4, 2.4))
    axes[0, 0].legend(loc="upper left", fontsize=12, ncols=2)
    axes[0, 0].set_ylabel("output", fontsize=13)
    axes[1, 0].set_ylabel("last hidden layer", fontsize=13)
    axes[1, 0].set(xticks=[-4, -2, 0, 2, 4], ylim=(-1.1, 1.1))
    shallow, *beyond = (finding.holds for finding in findings[:4])
    learns = (
        "One hidden layer of 30 is within 10x of two layers" if shallow else "[30] is not shown to match two layers"
    )
    lost = "beyond the data (grey) all are lost" if all(beyond) else "the edge of the data (grey) does not show"
    title = f"{learns}; {lost}"
    figure.suptitle(title, fontsize=18, fontweight="bold", x=0.01, ha="left")
    return figure
