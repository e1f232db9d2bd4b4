"""A net's test error falls as a power of the number of examples, and stops at the noise: the law has an end.

Lecture: L2, 15. Deep Learning
Slide: Model view: neural network
Says: "Large searching space and fitting capacity -> Scaling law -> Data-driven -> Fit everything"
Doubt: The slide names the law and no law: which quantity falls, by which power, how far. Test error cannot fall below
    the noise in the targets, so the straight line of a log-log plot bends there; a power law fitted before it foretells
    too small an error beyond. More units without more examples follow no law for long either.
Kind: chance
"""

from dataclasses import dataclass

import numpy as np
import torch

from lab import console
from lab.lectures import Finding, Outcome, check, doubt, report, setting
from lab.plots import BLACK, BLUE, GREY, LIGHT_GREY, ORANGE, canvas, label
from lab.stats import bootstrap

WIDTHS = (1, 2, 4, 8, 16, 32, 64)
TESTED = 2000
SHARE = 0.2
"""Of the examples, held out to choose the step at which training stops."""


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(12, 2, 50, quick=3)
    """Teachers, each with its own examples and start of the net."""
    most: int = setting(8192, 256, 65536, quick=1024)
    """Examples of the largest data set; the smallest has 32, each twice the one before."""
    steps: int = setting(2000, 10, 50000, quick=200)
    """Adam steps on at most 256 examples each, rate 0.01, falling to 0 along a cosine."""
    units: int = setting(64, 1, 512, quick=32)
    """Hidden units of the net 4-units-1, ReLU."""
    noise: float = setting(0.1, 0.0, 1.0)
    """Standard deviation of the noise in the targets, which have standard deviation 1 without it."""


def teacher(seed: int, n: int, noise: float) -> tuple[torch.Tensor, torch.Tensor]:
    """n points of a cube (n, 4) and what a random tanh net 4-16-1 says of them, with noise (n,)."""
    draw = torch.Generator().manual_seed(seed)
    w, b, out = (torch.randn(*size, generator=draw) for size in ((4, 16), (16,), (16,)))

    def true(x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x @ w + b) @ out

    x, many = torch.rand(n, 4, generator=draw) * 2 - 1, true(torch.rand(20000, 4, generator=draw) * 2 - 1)
    return x, (true(x) - many.mean()) / many.std() + noise * torch.randn(n, generator=draw)


def students(x: torch.Tensor, y: torch.Tensor, units: int, settings: Settings) -> np.ndarray:
    """Mean squared error on the last TESTED of x (seed, n, 4), y (seed, n), of nets trained side by side: (seed,).

    Of the steps looked at, each net's is told at which it erred least on the held-out share of its examples.
    """
    draws = [torch.Generator().manual_seed(seed) for seed in range(len(x))]
    w = torch.stack([torch.randn(4, units, generator=each) for each in draws]) * 0.5**0.5
    b = torch.stack([torch.rand(1, units, generator=each) * 2 - 1 for each in draws])
    out = torch.stack([torch.randn(units, 1, generator=each) for each in draws]) * units**-0.5
    parts = [part.requires_grad_() for part in (w, b, out, torch.zeros(len(x), 1))]
    optimiser = torch.optim.Adam(parts, 0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)

    def errors(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        w, b, out, level = parts
        return ((torch.bmm(torch.relu(torch.baddbmm(b, x, w)), out)[..., 0] + level - y) ** 2).mean(1)

    n = x.shape[1] - TESTED
    fitted = n - int(SHARE * n)
    best, told = torch.full((len(x),), torch.inf), torch.full((len(x),), torch.nan)
    batch = torch.Generator().manual_seed(0)
    for step in range(settings.steps):
        rows = torch.randint(fitted, (256,), generator=batch) if fitted > 256 else torch.arange(fitted)
        loss = errors(x[:, rows], y[:, rows]).sum()  # a sum over nets: none depends on another
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 30 == 29 or step == settings.steps - 1:
            with torch.no_grad():
                held, test = errors(x[:, fitted:n], y[:, fitted:n]), errors(x[:, n:], y[:, n:])
            told = torch.where(held < best, test, told)
            best = torch.minimum(held, best)
    return told.numpy()


def law(sizes: np.ndarray, error: np.ndarray) -> tuple[float, float, float]:
    """Power, factor and R² of the straight line through log error (n,) against log size (n,)."""
    if len(sizes) < 3:
        return np.nan, np.nan, np.nan
    power, factor = np.polyfit(np.log(sizes), np.log(error), 1)
    r = np.corrcoef(np.log(sizes), np.log(error))[0, 1]
    return float(power), float(np.exp(factor)), float(r**2)


def measure(settings: Settings) -> Outcome:
    sizes = 2 ** np.arange(5, int(np.log2(settings.most)) + 1)
    drawn = [teacher(seed, settings.most + TESTED, settings.noise) for seed in range(settings.seeds)]
    x, y = (torch.stack(part) for part in zip(*drawn, strict=True))
    by_data, by_units = [], []
    with console.bar("scaling", len(sizes) + len(WIDTHS), "sizes") as advance:
        for n in sizes:
            rows = torch.cat([torch.arange(n), torch.arange(settings.most, settings.most + TESTED)])
            by_data.append(students(x[:, rows], y[:, rows], settings.units, settings))
            advance()
        for units in WIDTHS:
            by_units.append(students(x, y, units, settings))
            advance()
    error, capacity = np.array(by_data), np.array(by_units)  # (size, seed)
    floor = settings.noise**2
    # the law is asked for above twice the noise only, one seed at a time
    laws = np.array([law(sizes[each > 2 * floor], each[each > 2 * floor]) for each in error.T])  # (seed, 3)
    foretold = laws[:, 1] * sizes[-1] ** laws[:, 0]
    beyond = error[-1] / foretold
    findings = [
        check("examples: R² of the power law above twice the noise", float(np.median(laws[:, 2])), "> 0.95",
              bootstrap(laws[:, 2]), laws[:, 2]),
        check("examples: power", float(np.median(laws[:, 0])), "< 0", bootstrap(laws[:, 0]), laws[:, 0]),
        doubt(check(f"error at {sizes[-1]} examples over what the law foretells", float(np.median(beyond)), "> 1.1",
                    bootstrap(beyond), beyond)),
        report("noise, as a mean squared error", floor),
        report("units: error of 64 over that of 16", float(np.median(capacity[-1] / capacity[-3])),
               bootstrap(capacity[-1] / capacity[-3]), capacity[-1] / capacity[-3]),
        *(report(f"mean squared error, {n} examples", float(np.median(row)), bootstrap(row), row)
          for n, row in zip(sizes, error, strict=True)),
        *(report(f"mean squared error, {units} units, {sizes[-1]} examples", float(np.median(row)), bootstrap(row),
                 row) for units, row in zip(WIDTHS, capacity, strict=True)),
    ]  # fmt: skip
    budget = (
        f"{settings.seeds} teachers; nets 4-{settings.units}-1 on {sizes[0]} to {sizes[-1]} examples, and nets of "
        f"{WIDTHS[0]} to {WIDTHS[-1]} units on {sizes[-1]}; {settings.steps} Adam steps each; {TESTED} test points"
    )
    return Outcome(findings, picture(sizes, error, capacity, laws, findings, floor), budget)


def picture(sizes, error, capacity, laws: np.ndarray, findings: list[Finding], floor: float):
    """Left: test error against examples, with the law. Right: against hidden units."""
    figure, axes = canvas(1, 2, width=13, height=5.5, sharey=True)
    left, right = axes[0]
    power, factor = np.nanmedian(laws[:, 0]), np.exp(np.nanmedian(np.log(laws[:, 1])))
    for panel, x, values, colour in ((left, sizes, error, BLUE), (right, WIDTHS, capacity, ORANGE)):
        panel.plot(x, values, color=colour, linewidth=1, alpha=0.35)
        panel.plot(x, np.median(values, 1), "o-", color=colour, linewidth=3.5, label="median of teachers")
        panel.set(xscale="log", yscale="log")
        panel.set_xticks(x[::2], [str(tick) for tick in x[::2]])
        panel.minorticks_off()
        if floor:
            panel.axhspan(floor / 3, floor, color=LIGHT_GREY, alpha=0.6, linewidth=0)
            panel.text(x[0], floor * 0.9, "noise", fontsize=14, color=BLACK, va="top")
    left.plot(sizes, factor * sizes**power, "--", color=GREY, linewidth=2.5, label=f"n to the {power:.2f}")
    label(left, "", "examples (thin: each teacher)", "mean squared error on noisy test points")
    found = {True: "A power law", None: "About a power law", False: "No power law"}[findings[0].holds]
    bent = " until the noise" if findings[2].holds else ""
    left.set_title(f"{found} (R² {findings[0].measured:.2f}){bent}", loc="left", fontsize=15, fontweight="bold")
    label(right, "", f"hidden units, {sizes[-1]} examples", "")
    right.set_title(f"From 16 units to 64: times {findings[4].measured:.2f}", loc="left", fontsize=15,
                    fontweight="bold")  # fmt: skip
    return figure
