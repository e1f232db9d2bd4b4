"""Figures of the anomaly bench beyond those of `lab.plots`, one function each, returning a matplotlib Figure."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from lab.plots import BLACK, BLUE, DARK_GREY, GREY, LIGHT_GREY, canvas, label


def hits_against_time(points: Mapping[str, tuple[float, int]], count: int, title: str) -> Figure:
    """Detectors as dots: median CPU seconds a series (logarithmic) against hits out of `count` series.

    points: name -> (seconds, hits). Those that nothing quicker beats are blue and joined.
    """
    figure, axes = canvas(width=10.0, height=5.8)
    panel = axes[0, 0]
    quick = sorted(points, key=lambda name: (points[name][0], -points[name][1]))
    front = [
        name for place, name in enumerate(quick) if all(points[other][1] < points[name][1] for other in quick[:place])
    ]
    seconds = np.array([points[name][0] for name in points])
    panel.set_xscale("log")
    right = seconds.max() * 2
    panel.set_xlim(seconds.min() / 2, right)
    lowest = min(hits for _, hits in points.values())
    bottom = max(0.0, lowest - 0.1 * count)
    panel.set_ylim(bottom, count + 0.04 * count)
    panel.step(
        [points[name][0] for name in front], [points[name][1] for name in front], where="post", color=BLUE, alpha=0.4
    )
    for name, (time, hits) in points.items():
        panel.plot(time, hits, "o", markersize=9, color=BLUE if name in front else GREY, markeredgecolor="white")
    line = (count + 0.04 * count - bottom) / 22  # the height of a name, in hits
    order = sorted(points, key=lambda each: (-points[each][1], points[each][0]))
    heights: list[float] = []  # of a column of names at the right: from the top, then pushed up from the bottom
    for name in order:
        heights.append(min(float(points[name][1]), heights[-1] - line if heights else np.inf))
    for place in range(len(order)):
        heights[-1 - place] = max(heights[-1 - place], bottom + place * line)
    for name, height in zip(order, heights, strict=True):
        time, hits = points[name]
        panel.plot([time, right], [hits, height], color=LIGHT_GREY, linewidth=0.8, zorder=0)
        panel.text(
            right, height, f"  {hits}  {name}", va="center", fontsize=12, clip_on=False,
            fontweight="bold" if name in front else "normal", color=BLUE if name in front else DARK_GREY,
        )  # fmt: skip
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    label(panel, title, "CPU seconds a series, to fit and to score (median)", f"hits, of {count} series")
    return figure


def reconstructions(seen: np.ndarray, made: np.ndarray) -> Figure:
    """Windows (count, width) above one another's reconstruction, from the best to the worst."""
    figure, axes = canvas(1, len(seen), width=12.0, height=3.8, sharey=True)
    for place, panel in enumerate(axes[0]):
        error = float(np.sqrt(np.mean((seen[place] - made[place]) ** 2)))
        names = ("window", "reconstruction") if place == 0 else (None, None)
        panel.plot(seen[place], color=BLACK, linewidth=1.4, label=names[0])
        panel.plot(made[place], color=BLUE, linewidth=1.8, label=names[1])
        label(panel, f"error {error:.2g}", "step", "standardised" if place == 0 else "")
    figure.suptitle(
        "From the best reconstructed window to the worst", fontsize=14, fontweight="bold", x=0.02, ha="left"
    )
    return figure
