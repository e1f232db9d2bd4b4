"""Figures of prediction intervals."""

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from lab.plots import COLOURS, DARK_GREY, LIGHT_GREY, canvas

if TYPE_CHECKING:
    import pandas as pd

SAID = {"conformal": "Conformal, from held-out errors", "quantile": "Quantile heads", "dropout": "Monte Carlo dropout"}


def coverage(table: "pd.DataFrame") -> Figure:
    """Measured against nominal coverage, a panel for each way to make intervals; a line is a model's mean over series.

    table: columns series, model, intervals, nominal and coverage; each series' own coverage is a faint dot.
    """
    ways = [way for way in SAID if way in set(table["intervals"])]
    figure, axes = canvas(1, len(ways), width=1.2 + 4.0 * len(ways), height=5.0, sharex=True, sharey=True)
    nominal = sorted(table["nominal"].unique())
    for panel, way in zip(axes[0], ways, strict=True):
        part = table[table["intervals"] == way]
        panel.plot([0, 1], [0, 1], color=LIGHT_GREY, linewidth=6, solid_capstyle="butt", zorder=0)
        for name, rows in part.groupby("model", sort=False):
            colour = COLOURS.get(str(name), DARK_GREY)
            panel.plot(rows["nominal"], rows["coverage"], "o", color=colour, markersize=4, alpha=0.3, linestyle="none")
            means = rows.groupby("nominal")["coverage"].mean()
            panel.plot(means.index, means, color=colour, marker="o", label=str(name))
        gap = (part["coverage"] - part["nominal"]).mean()
        panel.set_title(f"{SAID[way]}:\n{_points(gap)}", loc="left", fontsize=13)
        panel.set_xticks(nominal, [f"{100 * value:.0f}" for value in nominal])
        panel.set_yticks([0, 0.2, 0.4, 0.6, 0.8, 1], ["0", "20", "40", "60", "80", "100"])
        panel.set_xlim(min(nominal) - 0.05, 1.0)
        panel.set_ylim(0, 1.02)
    axes[0, 0].set_ylabel("held-out values inside (%)")
    axes[0, len(ways) // 2].set_xlabel("promised (%)")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False, fontsize=11)
    return figure


def _points(gap: float) -> str:
    points = round(abs(100 * gap))
    if points == 0:
        return "as promised"
    return f"{points} point{'' if points == 1 else 's'} too {'many' if gap > 0 else 'few'} inside"
