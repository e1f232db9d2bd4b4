"""Every figure of the lab, one function each, returning a matplotlib Figure.

One palette, safe for colour blindness (Okabe and Ito, 2008); a family keeps its colour everywhere. Titles say what was
found, axes carry units. Figures are made without a display: `Figure` objects, never pyplot's global state.
"""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, YELLOW, PURPLE = "#56B4E9", "#F0E442", "#CC79A7"
BLACK, DARK_GREY, GREY, LIGHT_GREY = "#000000", "#666666", "#999999", "#CCCCCC"

COLOURS = {
    "cnn": BLUE, "lstm": ORANGE, "transformer": GREEN, "linear": DARK_GREY, "seasonal-naive": GREY, "naive": LIGHT_GREY,
    "truth": BLACK, "anomaly": VERMILION, "counterfactual": SKY,
}  # fmt: skip

_STYLE = {
    "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 14, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.labelsize": 12, "xtick.labelsize": 11, "ytick.labelsize": 11,
    "legend.fontsize": 11, "legend.frameon": False, "lines.linewidth": 1.8, "savefig.dpi": 120,
    "axes.prop_cycle": mpl.cycler(color=[BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, BLACK]),
}  # fmt: skip


def canvas(rows: int = 1, columns: int = 1, width: float = 9.0, height: float = 4.5, **options) -> tuple[Figure, np.ndarray]:
    """An empty figure of `rows` x `columns` axes in the house style; width and height in inches, of the whole figure."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, axes


def label(axes: Axes, title: str = "", x: str = "", y: str = "") -> None:
    """Title (what was found) and axis names (with units) of one panel."""
    axes.set_title(title, loc="left", fontsize=14 if axes.figure.axes[0] is axes else 12)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if axes.get_legend_handles_labels()[0]:
        axes.legend()


def learning_curve(
    steps: Sequence[float], values: Sequence[float], title: str, y: str, marks: Sequence[float] = ()
) -> Figure:
    """A quantity against agent steps, with a light tick at each of `marks` (target-network syncs, say)."""
    figure, axes = canvas()
    panel = axes[0, 0]
    for mark in marks:
        panel.axvline(mark, color=LIGHT_GREY, linewidth=0.6, zorder=0)
    panel.plot(steps, values, color=BLUE)
    label(panel, title, "agent steps", y)
    return figure


def bars(values: Mapping[str, float], title: str, x: str) -> Figure:
    """Named values as horizontal bars, in the family's colours."""
    figure, axes = canvas(height=0.9 + 0.5 * len(values))
    panel = axes[0, 0]
    names = list(values)[::-1]
    panel.barh(names, [values[name] for name in names], color=[COLOURS.get(name, SKY) for name in names])
    for name in names:
        panel.text(values[name], name, f" {values[name]:.3g}", va="center", fontsize=11)
    label(panel, title, x)
    return figure
