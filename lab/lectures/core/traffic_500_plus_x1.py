"""Tomorrow's views from today's: the slide's guess y = 500 + 1 x1 is off by 400 and 2100, and a fitted line beats it.

Lecture: L2, 15. Deep Learning
Slide: Example: Internet Traffic Prediction; Solution: Three Steps
Says: "ŷ = 500 + 1x₁; e₁ = |y − ŷ| = 400; e₂ = |y − ŷ| = 2100; L = (1/N) Σ eₙ"
Doubt: The views behind the two errors were in a figure that is lost: x = 4800, y = 4900 and x = 4900, y = 7500 are
    inferred, and give both errors. A line through two points has no error at all and foretells nothing (-119,900 +
    26 x1); and on raw views gradient descent never finds it, because x1 is far from 0: condition number 2e11.
Kind: exact
"""

from dataclasses import dataclass

import numpy as np

from lab.lectures import Outcome, check, report, setting
from lab.plots import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILION, canvas, label

X = np.array([4800.0, 4900.0])
"""Views today."""
Y = np.array([4900.0, 7500.0])
"""Views tomorrow."""


@dataclass(frozen=True)
class Settings:
    w: float = setting(1.0, -100, 100)
    """Weight of the guess: views tomorrow per view today."""
    b: float = setting(500.0, -1e6, 1e6)
    """Bias of the guess, in views."""
    steps: int = setting(60, 1, 10000)
    """Steps of gradient descent on the mean squared error."""
    rate: float = setting(0.1, 1e-6, 2.0)
    """Learning rate in centred and scaled views, where the largest stable one is 1."""


def errors(w: float, b: float) -> np.ndarray:
    """|y - (b + w x)| of both days, in views."""
    return np.abs(Y - (b + w * X))


def descend(w: float, b: float, steps: int, rate: float, centred: bool) -> np.ndarray:
    """The path of (w, b) under gradient descent on the mean squared error, (steps + 1, 2).

    centred: on (x - mean) / std; else on raw views, with the rate given as a share of the largest stable one there too.
    """
    mean, scale = (X.mean(), X.std()) if centred else (0.0, 1.0)
    z = (X - mean) / scale
    hessian = 2 * np.array([[(z * z).mean(), z.mean()], [z.mean(), 1.0]])
    step = rate * 2 / np.linalg.eigvalsh(hessian)[-1]
    slope, level = w * scale, b + w * mean
    path = [(w, b)]
    for _ in range(steps):
        miss = level + slope * z - Y
        slope, level = slope - step * 2 * (miss * z).mean(), level - step * 2 * miss.mean()
        path.append((slope / scale, level - slope / scale * mean))
    return np.array(path)


def measure(settings: Settings) -> Outcome:
    e = errors(settings.w, settings.b)
    path = descend(settings.w, settings.b, settings.steps, settings.rate, centred=True)
    raw = descend(settings.w, settings.b, settings.steps, 0.5, centred=False)
    fitted, stuck = errors(*path[-1]), errors(*raw[-1])
    findings = [
        check("e1, views", e[0], "== 400"),
        check("e2, views", e[1], "== 2100"),
        check("L of the guess as mean absolute error, views", e.mean(), "== 1250"),
        check("L of the guess as mean squared error, views²", (e**2).mean(), "== 2,285,000"),
        check("mean absolute error of the fitted line, views", fitted.mean(), "< 1250"),
        check("mean squared error of the fitted line, views²", (fitted**2).mean(), "< 2,285,000"),
        report("fitted w", path[-1, 0]),
        report("fitted b, views", path[-1, 1]),
        report("mean absolute error after as many steps on raw views", stuck.mean()),
        report("mean squared error after as many steps on raw views", (stuck**2).mean()),
    ]
    losses = {"loss": [(errors(*point) ** 2).mean() for point in path]}
    budget = f"2 days of views, {settings.steps} full-batch gradient steps, twice"
    return Outcome(findings, picture(path, raw, e), budget, losses)


def picture(path: np.ndarray, raw: np.ndarray, e: np.ndarray):
    """Left: L(w, b) with the two descents. Right: the two days, the guess with its errors, the fitted line."""
    figure, axes = canvas(1, 2, width=12, height=5.4)
    left, right = axes[0]
    w = np.linspace(-14, 42, 300)
    b = np.linspace(-200_000, 80_000, 300)
    loss = ((Y - (b[:, None, None] + w[None, :, None] * X)) ** 2).mean(-1)  # (b, w)
    levels = np.arange(4, 11.1, 0.5)
    shades = left.contourf(w, b / 1000, np.log10(loss), levels=levels, cmap="Greys_r", extend="both")
    figure.colorbar(shades, ax=left, label="log10 of the mean squared error, views²")
    left.plot(
        path[:, 0], path[:, 1] / 1000, "o-", color=ORANGE, markersize=6, linewidth=3, label="descent, centred views"
    )
    left.plot(raw[:, 0], raw[:, 1] / 1000, "s", color=VERMILION, markersize=11, label="descent, raw views: stuck")
    left.plot(path[-1, 0], path[-1, 1] / 1000, "*", color=GREEN, markersize=22, markeredgecolor="white")
    left.set(xlim=(w[0], w[-1]), ylim=(b[0] / 1000, b[-1] / 1000))
    arrived = (errors(*path[-1]) ** 2).mean() < (errors(*path[0]) ** 2).mean()
    label(
        left,
        f"L(w, b) is a ravine{': only centred views get down' if arrived else ''}",
        "weight w",
        "bias b, thousand views",
    )
    left.legend(loc="lower left", frameon=True)
    x = np.array([4735.0, 4975.0])
    right.plot(
        x, path[0, 1] + path[0, 0] * x, color=BLUE, linewidth=3, label=f"guess {path[0, 1]:,.0f} + {path[0, 0]:g} x"
    )
    fit = path[-1, 1] + path[-1, 0] * x
    right.plot(x, fit, color=GREEN, linewidth=3, label=f"fitted {path[-1, 1]:,.0f} + {path[-1, 0]:.3g} x")
    for day, (views, tomorrow) in enumerate(zip(X, Y, strict=True)):
        guess = path[0, 1] + path[0, 0] * views
        right.plot([views, views], [tomorrow, guess], color=VERMILION, linewidth=3, linestyle="--")
        side, align = ((-5, "right"), (5, "left"))[day]
        text = {"s": f"e{day + 1} = {e[day]:,.0f}", "fontsize": 16, "color": VERMILION, "fontweight": "bold"}
        right.text(views + side, (tomorrow + guess) / 2, ha=align, va="center", **text)
    right.plot(X, Y, "o", color=BLACK, markersize=11, label="the two days", zorder=5)
    right.axhline(0, color=GREY, linewidth=0.5)
    right.set(xlim=x, ylim=(4200, 8200), xticks=[4750, 4800, 4850, 4900, 4950])
    label(right, f"The guess is off by {e[0]:,.0f} and {e[1]:,.0f} views", "views today", "views tomorrow")
    right.legend(loc="upper left")
    return figure
