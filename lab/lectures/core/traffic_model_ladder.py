"""Four models of tomorrow's views: seven lags help, week or no week; sigmoids fit the year better and the next worse.

Lecture: L2, 15. Deep Learning
Slide: Fit Everything?; The universal approximation brought by nonlinearity
Says: "y = b + w x₁; y = b + Σ cᵢ sigmoid(bᵢ + wᵢ x₁); y = b + Σ wⱼ xⱼ; y = b + Σ cᵢ sigmoid(bᵢ + Σ wᵢⱼ xⱼ)". "We can
    have good approximation with sufficient pieces."
Doubt: Sufficient pieces approximate the year that is known; nothing is said of the next one. More lags help with a
    week, but without one too: they average the noise of a single day. The strongest rival has no weights at all: the
    same weekday of last week.
Kind: chance
"""

from dataclasses import dataclass

import numpy as np
import torch

from forecasting.traffic import web_traffic_parts
from lab import console
from lab.lectures import Finding, Outcome, check, doubt, report, setting
from lab.plots import BLACK, BLUE, DARK_GREY, GREY, ORANGE, canvas, label
from lab.stats import bootstrap

LAGS = (1, 7, 28, 56)
"""Days that a model looks back."""
PIECES = (10, 100)
"""Sigmoids, the slide's "pieces"."""
YEAR = 365
KINDS = ("weekly", "aperiodic", "walk")


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(5, 1, 30, quick=2)
    """Two years of generated views each, and first weights."""
    steps: int = setting(800, 1, 20000, quick=100)
    """Full-batch Adam steps of a model with sigmoids."""
    rate: float = setting(0.01, 1e-5, 1.0)
    """Adam's learning rate at the start; it falls to 0 along a cosine."""


def views(seed: int, kind: str) -> np.ndarray:
    """Generated views a day for 56 days and two years, (786,).

    kind: "weekly"; "aperiodic", the same traffic if neither weekday nor hour mattered; "walk", where each day's change
    is new and the last day therefore says all there is to say.
    """
    parts = web_traffic_parts(days=LAGS[-1] + 2 * YEAR, seed=seed)
    weekly = parts["views"].to_numpy()
    flat = (
        1000 * parts[["trend", "yearly", "holiday", "noise"]].prod(axis=1).to_numpy() * (1 + parts["burst"].to_numpy())
    )
    daily = (weekly if kind == "weekly" else flat).reshape(-1, 24).sum(1)
    if kind == "walk":
        return daily.mean() * np.exp(np.random.default_rng(seed).normal(0, 0.01, len(daily)).cumsum())
    return daily


def rows(series: np.ndarray, lags: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (730, lags), newest day last, and the day after each, (730,): the first 365 rows are the year to fit."""
    stretches = np.lib.stride_tricks.sliding_window_view(series[LAGS[-1] - lags :], lags + 1)
    return stretches[:, :-1], stretches[:, -1]


def scaled(series: np.ndarray, lags: int) -> tuple[torch.Tensor, torch.Tensor, float]:
    """`rows` less the mean and over the spread of the year to fit, and that spread in views."""
    x, y = rows(series, lags)
    centre, spread = y[:YEAR].mean(), y[:YEAR].std()
    return torch.tensor((x - centre) / spread), torch.tensor((y - centre) / spread), float(spread)


def linear(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """y = b + sum w_j x_j by least squares on the first year: what it says of all rows, (730,)."""
    with_bias = torch.cat([torch.ones_like(x[:, :1]), x], 1)
    weights = torch.linalg.lstsq(with_bias[:YEAR], y[:YEAR, None]).solution
    return (with_bias @ weights)[:, 0]


def sigmoids(x: torch.Tensor, y: torch.Tensor, pieces: int, settings: Settings) -> torch.Tensor:
    """y = b + sum c_i sigmoid(b_i + sum w_ij x_j), fitted to squared error by Adam; all seeds side by side.

    x (seed, 730, lags), y (seed, 730) -> (seed, 730).
    """
    draws = [torch.Generator().manual_seed(seed) for seed in range(len(x))]
    x, y = x.float(), y.float()

    def normal(*shape: int) -> torch.Tensor:
        return torch.stack([torch.randn(*shape, generator=draw) for draw in draws])

    w = (2 * normal(x.shape[2], pieces) / x.shape[2] ** 0.5).requires_grad_()
    bends = normal(1, pieces).requires_grad_()  # b_i: where each piece bends
    c = (normal(pieces, 1) / pieces**0.5).requires_grad_()
    b = torch.zeros(len(x), 1, 1, requires_grad=True)
    optimiser = torch.optim.Adam([w, bends, c, b], settings.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)

    def model(inputs: torch.Tensor) -> torch.Tensor:
        return torch.baddbmm(b, torch.sigmoid(torch.baddbmm(bends, inputs, w)), c)[..., 0]

    for _ in range(settings.steps):
        loss = ((model(x[:, :YEAR]) - y[:, :YEAR]) ** 2).mean(1).sum()  # a sum over seeds: none depends on another
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        return model(x).double()


def measure(settings: Settings) -> Outcome:
    series = {kind: [views(seed, kind) for seed in range(settings.seeds)] for kind in KINDS}
    error: dict[tuple[str, str, int], np.ndarray] = {}  # kind, model, lags -> (seed, 2): first and next year, views
    squares: dict[tuple[str, int], np.ndarray] = {}  # model, lags -> (seed,) squared error on the first year, weekly
    said: dict[tuple[str, int], np.ndarray] = {}  # model, lags -> (730,) views, first weekly series

    def keep(kind: str, name: str, lags: int, fit: torch.Tensor, y: torch.Tensor, spread: np.ndarray) -> None:
        off = fit - y
        error[kind, name, lags] = off.abs().reshape(len(y), 2, YEAR).mean(2).numpy() * spread[:, None]
        if kind == "weekly":
            squares[name, lags] = (off[:, :YEAR] ** 2).mean(1).numpy()
            said[name, lags] = truth + off[0].numpy() * spread[0]

    truth = rows(series["weekly"][0], 1)[1]
    with console.bar("traffic ladder", len(LAGS) * (len(KINDS) + len(PIECES)), "fits") as advance:
        for kind, lags in ((kind, lags) for kind in KINDS for lags in LAGS):
            each = [scaled(one, lags) for one in series[kind]]
            x, y = torch.stack([one[0] for one in each]), torch.stack([one[1] for one in each])
            spread = np.array([one[2] for one in each])
            keep(kind, "linear", lags, torch.stack([linear(a, b) for a, b in zip(x, y, strict=True)]), y, spread)
            advance()
            for pieces in PIECES if kind == "weekly" else ():
                keep(kind, f"{pieces} sigmoids", lags, sigmoids(x, y, pieces, settings), y, spread)
                advance()
    last_week = [float(np.abs(one[-YEAR:] - one[-YEAR - 7 : -7]).mean()) for one in series["weekly"]]
    cut = {kind: 1 - error[kind, "linear", 7][:, 1] / error[kind, "linear", 1][:, 1] for kind in KINDS}
    nets = [(f"{pieces} sigmoids", lags) for pieces in PIECES for lags in LAGS]
    fitted = {net: squares[net] / squares["linear", net[1]] for net in nets}
    later = {net: error["weekly", *net][:, 1] / error["weekly", "linear", net[1]][:, 1] for net in nets}
    worst = max(nets, key=lambda net: np.median(fitted[net]))

    def told(name: str, values, condition: str = "") -> Finding:
        middle, interval = float(np.median(values)), bootstrap(values)
        return check(name, middle, condition, interval, values) if condition else report(name, middle, interval, values)

    findings = [
        told("weekly traffic, linear: what 7 lags cut from the next year's MAE of 1 lag", cut["weekly"], ">= 0.15"),
        doubt(told("aperiodic traffic, linear: what 7 lags cut from it", cut["aperiodic"], "> 0")),
        told("random walk, linear: what 7 lags cut from it", cut["walk"]),
        told(f"sigmoids over linear, squared error on the year fitted: worst net, {worst[0]}, {worst[1]} lags",
             fitted[worst], "< 1"),
        told("sigmoids over linear, MAE of the next year: best of the 8 nets",
             later[min(nets, key=lambda net: np.median(later[net]))]),
        told("sigmoids over linear, MAE of the next year: worst of the 8 nets",
             later[max(nets, key=lambda net: np.median(later[net]))]),
        report("share of the 8 nets that forecast the next year worse than linear",
               float(np.mean([np.median(later[net]) > 1 for net in nets]))),
        told("MAE of the next year, the same weekday of last week, views a day", last_week),
        *(told(f"MAE of the next year, {name}, {lags} lags, views a day", error["weekly", name, lags][:, 1]) for name in
          ("linear", *(f"{pieces} sigmoids" for pieces in PIECES)) for lags in LAGS),
    ]  # fmt: skip
    budget = (
        f"{settings.seeds} generated series of 56 + 730 days of views; a year to fit, the next to test; 4 linear fits "
        f"in closed form, 8 with sigmoids ({settings.steps} full-batch Adam steps); squared error is minimised"
    )
    return Outcome(findings, picture(error, float(np.median(last_week)), truth, said, findings), budget)


def picture(error, last_week: float, truth: np.ndarray, said: dict[tuple[str, int], np.ndarray], findings):
    """MAE by lags, of the year fitted and of the next; and five weeks of the next year with three models' forecasts."""
    figure, axes = canvas(1, 2, width=14, height=5.6, width_ratios=[1, 1.25])
    left, right = axes[0]
    colours = {"linear": DARK_GREY, "10 sigmoids": BLUE, "100 sigmoids": ORANGE}
    places = np.arange(len(LAGS))
    for name, colour in colours.items():
        for year, line in ((0, ":"), (1, "-")):
            values = np.array([error["weekly", name, lags][:, year] for lags in LAGS]) / 1000  # (lags, seed)
            left.plot(places, np.median(values, 1), line, color=colour, linewidth=3, label=name if year else None)
            left.plot(places, values, "o", color=colour, markersize=4, alpha=0.5 * year)
    left.axhline(last_week / 1000, color=BLACK, linewidth=1.2, linestyle="--")
    left.text(2.52, last_week / 1000, "same day of last week", ha="center", va="bottom", fontsize=11)
    left.plot([], [], ":", color=GREY, linewidth=3, label="on the year fitted")
    left.set_xticks(places, map(str, LAGS))
    left.set_ylim(bottom=0)
    worse = next(each for each in findings if each.name.startswith("share")).measured * len(LAGS) * len(PIECES)
    title = f"7 lags cut the error by {findings[0].measured:.0%}; sigmoids are worse in {worse:.0f} of 8"
    label(left, title, "lags, days",
          "mean absolute error, thousand views a day")  # fmt: skip
    left.legend(loc="lower left")
    shown = slice(YEAR + 150, YEAR + 185)
    days = np.arange(35)
    right.plot(days, truth[shown] / 1000, color=BLACK, linewidth=3, label="what came")
    for name, key, colour in (
        ("linear, 1 lag", ("linear", 1), GREY), ("linear, 7 lags", ("linear", 7), DARK_GREY),
        ("100 sigmoids, 56 lags", ("100 sigmoids", 56), ORANGE),
    ):  # fmt: skip
        right.plot(days, said[key][shown] / 1000, color=colour, linewidth=2, label=name,
                   linestyle="--" if key[1] == 1 else "-")  # fmt: skip
    right.set_xticks(range(0, 36, 7))
    right.margins(y=0.25)
    label(right, "One day ahead, five weeks of the next year", "days", "thousand views a day")
    right.legend(loc="upper center", ncols=2)
    return figure
