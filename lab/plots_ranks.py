"""Figures of contenders over tasks, one function each, returning a matplotlib Figure."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from lab.plots import BLACK, COLOURS, DARK_GREY, canvas, label
from lab.ranks import groups
from lab.stats import Estimate


def critical_difference_diagram(ranks: Mapping[str, float], difference: float, tasks: int) -> Figure:
    """Mean ranks on a line, 1 the best at the left; bars join those that `difference` cannot tell apart."""
    names = sorted(ranks, key=lambda name: ranks[name])
    values = np.array([ranks[name] for name in names])
    worse = [name for name in names if ranks[name] - values[0] > difference]
    figure, axes = canvas(width=9.0, height=1.9 + 0.42 * len(names))
    panel = axes[0, 0]
    for row, name in enumerate(names):
        colour = COLOURS.get(name, DARK_GREY)
        panel.plot([ranks[name]] * 2, [-0.6, row], color=colour, linewidth=1.2)
        panel.plot(ranks[name], row, "o", color=colour, markersize=9)
        white = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}  # other names' lines pass behind
        panel.annotate(
            f"{name}  {ranks[name]:.2f}", (ranks[name], row), (10, 0), textcoords="offset points", va="center",
            fontsize=12, bbox=white,
        )  # fmt: skip
    bars = groups(values, difference)
    for place, (first, last) in enumerate(bars):
        height = -0.9 - 0.35 * place
        panel.plot([values[first], values[last]], [height] * 2, color=BLACK, linewidth=5, solid_capstyle="butt")
    panel.set_ylim(len(names) - 0.4, -1.3 - 0.35 * len(bars))
    panel.set_xlim(0.8, len(names) + 0.9)
    panel.set_yticks([])
    panel.spines["left"].set_visible(False)
    title = f"{names[0]} leads, but no difference is real"
    if worse:
        title = f"{names[0]} leads; the difference to {' and '.join(worse[-2:])} is real"
    label(panel, title, f"mean rank over {tasks} series; bars join what a difference of {difference:.2f} cannot tell")
    return figure


def win_matrix(names: Sequence[str], shares: Sequence[Sequence[Estimate]]) -> Figure:
    """How often the row's contender beats the column's, in percent, with the 95 % interval under it."""
    values = np.array([[each.value for each in row] for row in shares])
    order = np.argsort(-(values.sum(axis=1) - 0.5))
    figure, axes = canvas(width=2.6 + 1.05 * len(names), height=1.7 + 0.72 * len(names))
    panel = axes[0, 0]
    shown = values[np.ix_(order, order)]
    panel.imshow(np.where(np.eye(len(names), dtype=bool), np.nan, shown), cmap="PuOr", vmin=0, vmax=1, aspect="auto")
    for row, one in enumerate(order):
        for column, other in enumerate(order):
            if one == other:
                continue
            each = shares[one][other]
            text = f"{100 * each.value:.0f}"
            if np.isfinite(each.low):
                text += f"\n{100 * each.low:.0f} to {100 * each.high:.0f}"
            dark = abs(each.value - 0.5) > 0.3
            panel.text(column, row, text, ha="center", va="center", fontsize=10, color="white" if dark else "black")
    ticks = [names[place] for place in order]
    panel.set_xticks(range(len(names)), ticks, rotation=30, ha="right")
    panel.set_yticks(range(len(names)), ticks)
    panel.tick_params(length=0)
    label(panel, f"{ticks[0]} wins most often", "percent of forecasts in which the row has less error than the column")
    return figure
