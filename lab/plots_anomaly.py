"""Figures of the anomaly bench beyond those of `lab.plots`, one function each, returning a matplotlib Figure."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from lab.plots import BLUE, DARK_GREY, GREY, canvas, label


def hits_against_time(points: Mapping[str, tuple[float, int]], count: int, title: str) -> Figure:
    """Detectors as dots: median seconds a series (logarithmic) against hits out of `count` series.

    points: name -> (seconds, hits). The best that can be had for the time are joined by a line.
    """
    figure, axes = canvas(width=10.0, height=5.6)
    panel = axes[0, 0]
    order = sorted(points, key=lambda name: (points[name][0], -points[name][1]))
    front: list[str] = []
    for name in order:
        if not front or points[name][1] > points[front[-1]][1]:
            front.append(name)
    panel.step([points[n][0] for n in front], [points[n][1] for n in front], where="post", color=BLUE, alpha=0.4)
    panel.set_xscale("log")
    for name in sorted(points, key=lambda n: -points[n][1]):
        seconds, hits = points[name]
        ours = name in front
        panel.plot(seconds, hits, "o", markersize=9, color=BLUE if ours else GREY, markeredgecolor="white")
    panel.set_ylim(0, count + 2)
    panel.axhline(count, color=DARK_GREY, linewidth=0.8, linestyle=":")
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    label(panel, title, "seconds a series, fit and score (median)", f"hits, of {count} series")
    return figure
