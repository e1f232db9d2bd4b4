"""Every figure of the lab, one function each, returning a matplotlib Figure.

One palette, safe for colour blindness (Okabe and Ito, 2008); a family keeps its colour everywhere. Titles say what was
found, axes carry units. Figures are made without a display: `Figure` objects, never pyplot's global state.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import cycler
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter

if TYPE_CHECKING:
    import pandas as pd

BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
SKY, YELLOW, PURPLE = "#56B4E9", "#F0E442", "#CC79A7"
BLACK, DARK_GREY, GREY, LIGHT_GREY = "#000000", "#666666", "#999999", "#CCCCCC"

COLOURS = {
    "cnn": BLUE, "lstm": ORANGE, "transformer": GREEN, "linear": DARK_GREY, "seasonal-naive": GREY, "naive": LIGHT_GREY,
    "truth": BLACK, "anomaly": VERMILION, "counterfactual": SKY,
}  # fmt: skip

STYLE = {
    "axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 14, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.labelsize": 12, "xtick.labelsize": 11, "ytick.labelsize": 11,
    "legend.fontsize": 11, "legend.frameon": False, "lines.linewidth": 1.8, "savefig.dpi": 120,
    "axes.prop_cycle": cycler.cycler(color=[BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, BLACK]),
}  # fmt: skip


def canvas(
    rows: int = 1, columns: int = 1, width: float = 9.0, height: float = 4.5, **options
) -> tuple[Figure, np.ndarray]:
    """An empty figure of `rows` x `columns` axes in the house style; width and height of the whole, in inches."""
    with mpl.rc_context(STYLE):
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
    steps: Sequence[float], values: Sequence[float], title: str, y: str, marks: Sequence[float] = (), marked: str = ""
) -> Figure:
    """A quantity against agent steps, with a light line at each of `marks`, of which the axis says what is `marked`."""
    figure, axes = canvas()
    panel = axes[0, 0]
    for mark in marks:
        panel.axvline(mark, color=LIGHT_GREY, linewidth=0.6, zorder=0)
    panel.plot(steps, values, color=BLUE)
    panel.xaxis.set_major_formatter(EngFormatter(sep=""))
    label(panel, title, "agent steps" + f" (grey lines: {marked})" * bool(len(marks)), y)
    return figure


class Band(NamedTuple):
    """The runs of one group on one task: their mean curve with its 95 % interval, and what each ended with."""

    steps: np.ndarray
    """(points,) or minutes; none where the runs have no stretch in common."""
    mean: np.ndarray
    low: np.ndarray
    """(points,), -inf for a single run."""
    high: np.ndarray
    finals: np.ndarray
    """(runs,) last values."""
    final: tuple[float, float, float]
    """Their mean and its interval."""


def seed_curves(
    panels: Mapping[str, Mapping[str, Band]], title: str, x: str, y: str, note: str, levels: Sequence[float] = ()
) -> Figure:
    """Groups of runs, each as its mean over seeds with a band: panels[task][group]; note: what the band is.

    levels: values with a light line across.

    One task has its curves and, beside them on the same axis, every run's last value; several tasks have a panel each.
    Where runs have no curve, of one point each say, last values alone are drawn.
    """
    names = list(dict.fromkeys(name for bands in panels.values() for name in bands))
    colours = [BLUE, ORANGE, GREEN, VERMILION, SKY, PURPLE, BLACK]
    styles = {name: (colours[i % 7], ("-", "--", ":", "-.")[i // 7 % 4]) for i, name in enumerate(names)}
    curved = any(len(band.steps) for bands in panels.values() for band in bands.values())
    alone, columns = len(panels) == 1, 3 if len(panels) == 3 else math.ceil(math.sqrt(len(panels)))
    if alone and curved:
        figure, axes = canvas(1, 2, width=11.0, height=5.4, sharey=True, width_ratios=[3.2, 1])
        _ends(axes[0, 1], next(iter(panels.values())), styles)
        axes[0, 1].spines["left"].set_visible(False)
        axes[0, 1].tick_params(left=False)
        label(axes[0, 1], x="end of each run")
    else:
        rows = -(-len(panels) // columns)
        figure, axes = canvas(rows, columns, width=max(9.0, 4.0 * columns), height=2.4 + 2.8 * rows)
        for panel in axes.flat[len(panels) :]:
            panel.set_axis_off()
    title = textwrap.fill(title, int(9.5 * figure.get_figwidth()))
    for number, (panel, (task, bands)) in enumerate(zip(axes.flat, panels.items(), strict=False)):
        if curved:
            _bands(panel, bands, styles)
        else:
            _ends(panel, bands, styles)
        for level in levels:
            panel.axhline(level, color=LIGHT_GREY, linewidth=0.8, linestyle="--", zorder=0)
        lowest = number + columns >= len(panels)  # no panel below it
        label(panel, title, x if lowest and curved else "", y if alone else "")
        if not alone:
            panel.set_title(task, loc="left", fontsize=12)
    if not alone:
        figure.suptitle(title, x=0.01, ha="left", fontsize=14)
        figure.supylabel(y, fontsize=12)
    handles = [
        Line2D([], [], color=colour, linestyle=line if curved else "none", marker="" if curved else "D", linewidth=2.2)
        for colour, line in styles.values()
    ]
    ncols = min(3, len(names))
    room = int((figure.get_figwidth() / ncols - 0.8) / 0.095)  # letters beside the handle, of 11 points
    shown = [textwrap.fill(name, room) for name in names]
    figure.legend(
        handles, shown, loc="outside lower center", ncols=ncols, frameon=False, fontsize=11, title=note,
        title_fontsize=10,
    )  # fmt: skip
    return figure


def _bands(panel: Axes, bands: Mapping[str, Band], styles: Mapping[str, tuple[str, str]]) -> None:
    """Mean curves, each over its band."""
    for name, band in bands.items():
        colour, line = styles[name]
        if np.isfinite(band.low).all():
            panel.fill_between(band.steps, band.low, band.high, color=colour, alpha=0.18, linewidth=0)
        panel.plot(band.steps, band.mean, color=colour, linestyle=line, linewidth=2.2)
    if max((band.steps[-1] for band in bands.values() if len(band.steps)), default=0) >= 1000:
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
    panel.margins(x=0.01)


def _ends(panel: Axes, bands: Mapping[str, Band], styles: Mapping[str, tuple[str, str]]) -> None:
    """The last value of every run as a dot, and beside the dots their mean with its interval."""
    for place, (name, band) in enumerate(bands.items()):
        colour, _ = styles[name]
        mean, low, high = band.final
        panel.plot(np.full(len(band.finals), place - 0.1), band.finals, "o", color=colour, alpha=0.5, markersize=6)
        panel.plot([place + 0.1], [mean], "D", color=colour, markersize=7)
        if np.isfinite(low):
            panel.vlines(place + 0.1, low, high, color=colour, linewidth=2.5)
    panel.set_xticks([])
    panel.set_xlim(-0.8, len(bands) - 0.2)


def throughput(rates: Mapping[str, Sequence[float]], limits: Mapping[str, float], title: str, x: str) -> Figure:
    """Rates of each contender over rounds: the median a bar, each round a dot, a tick at its limit.

    Ours are those whose name begins so. limits: of those that have one.
    """
    figure, axes = canvas(width=10.0, height=1.6 + 0.7 * len(rates))
    panel = axes[0, 0]
    for row, (name, values) in enumerate(rates.items()):
        middle = float(np.median(values))
        panel.barh(row, middle, height=0.5, color=BLUE if name.startswith("our") else GREY)
        panel.plot(values, [row] * len(values), "o", color=BLACK, markersize=6, markeredgecolor="white")
        panel.text(max(values), row, f"  {middle:,.0f}", va="center", fontsize=12, fontweight="bold")
        if (limit := limits.get(name)) is None:
            continue
        panel.vlines(limit, row - 0.25, row + 0.25, color=VERMILION, linewidth=2.5)
        panel.annotate(
            f"limit {limit:,.0f}", (limit, row - 0.25), (0, 2), textcoords="offset points", ha="center", va="bottom",
            fontsize=11, color=VERMILION,
        )  # fmt: skip
    panel.set_yticks(range(len(rates)), list(rates))
    panel.set_ylim(len(rates) - 0.5, -0.6)
    panel.set_xlim(left=0)
    panel.margins(x=0.08)
    label(panel, title, f"{x}; dots: single rounds")
    return figure


def forecast_comparison(
    history: "pd.Series", truth: "pd.Series", forecasts: Mapping[str, Sequence[float]], scores: Mapping[str, float],
    unit: str, origins: int,
) -> Figure:  # fmt: skip
    """The last held-out horizon with every model's forecast of it, and beside it each model's MASE over all origins.

    history: what came before, `truth`: what then came, both on times; forecasts: model -> values on truth's times;
    scores: model -> MASE, best first; unit: of the values; origins: how many the scores are means over.
    """
    figure, axes = canvas(1, 2, width=12.5, height=5.0, width_ratios=[2.5, 1])
    panel, ranking = axes[0]
    panel.plot(history.index, history.to_numpy(), color=BLACK, linewidth=1.3)
    panel.plot(truth.index, truth.to_numpy(), color=BLACK, linewidth=3.0, zorder=2)
    panel.axvspan(truth.index[0], truth.index[-1], color=LIGHT_GREY, alpha=0.25, linewidth=0)
    # the better, the nearer to the eye; the simple models dashed, so that five lines stay apart in black and white too
    colours = {name: COLOURS.get(name, LIGHT_GREY if "naive" in name else PURPLE) for name in scores}
    for depth, name in enumerate(reversed(list(scores))):
        plain = name not in ("cnn", "lstm", "transformer")
        panel.plot(
            truth.index, forecasts[name], color=colours[name], zorder=3 + depth,
            linestyle="--" if plain else "-", linewidth=1.6 if plain else 2.2,
        )  # fmt: skip
    best, others = next(iter(scores)), list(scores)
    if "naive" in best:
        found = f"Nothing beats {best}: MASE {scores[best]:.2f}"
    else:
        naive = next((name for name in others if "naive" in name), others[-1])
        found = f"{_spoken(best)} is closest: MASE {scores[best]:.2f}" + (
            f", {naive} {scores[naive]:.2f}" if naive != best else ""
        )
    label(panel, f"{found} (mean of {origins} {'origin' if origins == 1 else 'origins'})", y=unit)
    panel.margins(x=0.01)
    place = panel.get_xaxis_transform()  # time across, share of the height upwards
    panel.annotate(" held out", (truth.index[0], 1), xycoords=place, va="top", fontsize=11, color=DARK_GREY)
    _short_dates(panel)
    names = others[::-1]
    ranking.barh(names, [scores[name] for name in names], color=[colours[name] for name in names])
    for name in names:
        ranking.text(scores[name], name, f" {scores[name]:.2f}", va="center", fontsize=11)
    ranking.axvline(1.0, color=BLACK, linewidth=0.8, linestyle=":")
    ranking.margins(x=0.18)
    ranking.set_xlim(left=0)
    label(ranking, x="MASE (less is better)")
    return figure


def forecast_ahead(
    history: "pd.Series", index: "pd.Index", forecasts: Mapping[str, Sequence[float]], bounds: np.ndarray,
    nominal: float, unit: str, covered: float | None,
) -> Figure:  # fmt: skip
    """What follows a series: each model's forecast, and the best one's interval.

    history: the end of the series; forecasts: model -> values on `index`, best first; bounds (steps, 2) of the first,
    NaN without; nominal: share that they are to cover; covered: the share they did cover before the end, if measured.
    """
    figure, axes = canvas(width=12.5, height=5.0)
    panel = axes[0, 0]
    last = history.index[-1:]
    panel.plot(history.index, history.to_numpy(), color=BLACK, linewidth=1.6, label=unit)
    joined = last.append(index)
    for depth, (name, values) in enumerate(reversed(list(forecasts.items()))):
        chosen = depth == len(forecasts) - 1
        panel.plot(
            joined, [history.iloc[-1], *values], color=COLOURS.get(name, LIGHT_GREY if "naive" in name else PURPLE),
            linestyle="-" if chosen else "--", linewidth=2.6 if chosen else 1.2, label=name, zorder=3 + depth,
        )  # fmt: skip
    best, colour = next(iter(forecasts)), COLOURS.get(next(iter(forecasts)), PURPLE)
    title = f"The next {len(index)} steps by {best}"
    if np.isfinite(bounds).all():
        panel.fill_between(index, bounds[:, 0], bounds[:, 1], color=colour, alpha=0.2, linewidth=0,
                           label=f"{nominal:.0%} interval")  # fmt: skip
        title += f", with {nominal:.0%} intervals"
        title += f" (which held {covered:.0%} of the held-out values)" if covered is not None else ""
    label(panel, title, y=unit)
    panel.get_legend().remove()
    handles, names = panel.get_legend_handles_labels()
    panel.margins(x=0.01)
    figure.legend(
        handles[:1] + handles[:0:-1], names[:1] + names[:0:-1], loc="outside lower center", ncols=7, frameon=False,
        fontsize=11,
    )  # fmt: skip
    _short_dates(panel)
    return figure


def _short_dates(panel: Axes) -> None:
    """Short tick labels where the axis is one of times."""
    if isinstance(panel.xaxis.get_major_locator(), AutoDateLocator):
        panel.xaxis.set_major_locator(locator := AutoDateLocator())
        panel.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def _spoken(model: str) -> str:
    return model.upper() if len(model) <= 4 else model.capitalize()


# --- anomalies ------------------------------------------------------------------------------------------------------


def anomaly_scores(
    time: np.ndarray, values: np.ndarray, scores: np.ndarray, threshold: float, found: Sequence[tuple[int, int]],
    train_end: int, title: str, x: str, y: str, labelled: Sequence[tuple[int, int]] = (), score: str = "score",
) -> Figure:  # fmt: skip
    """A series (n,) above its anomaly scores (n,): what was found in vermilion, the training part shaded.

    found, labelled: intervals [start, end) of positions, found ones strongest first. time: (n,) numbers or datetimes.
    """
    figure, axes = canvas(2, height=5.4, sharex=True, gridspec_kw={"height_ratios": [3, 2]})
    top, bottom = axes[:, 0]
    top.plot(time, values, color=COLOURS["truth"], linewidth=0.9)
    bottom.plot(time, scores, color=DARK_GREY, linewidth=1.1)
    bottom.axhline(threshold, color=COLOURS["anomaly"], linestyle="--", linewidth=1.3, label="threshold")
    for panel, tag in ((top, "training part"), (bottom, None)):
        panel.axvspan(time[0], time[train_end - 1], color=LIGHT_GREY, alpha=0.35, linewidth=0, label=tag)
    for number, (start, end) in enumerate(found):
        top.plot(time[start:end], values[start:end], color=COLOURS["anomaly"], label="found" if number == 0 else None)
        bottom.axvspan(time[start], time[end - 1], color=COLOURS["anomaly"], alpha=0.25, linewidth=0)
    for number, (start, end) in enumerate(labelled):
        top.plot(
            [time[start], time[end - 1]], [1.02, 1.02], color=PURPLE, linewidth=5, solid_capstyle="butt", clip_on=False,
            transform=top.get_xaxis_transform(), label="labelled" if number == 0 else None,
        )  # fmt: skip
    label(top, title, "", y)
    label(bottom, "", x, score)
    _legend_below(figure, top, bottom)
    return figure


def counterfactual_fan(
    time: np.ndarray, values: np.ndarray, start: int, end: int, paths: np.ndarray, title: str, x: str, y: str,
    margin: int, clean: np.ndarray | None = None,
) -> Figure:  # fmt: skip
    """What would have been normal in [start, end): each path (K, end - start), their median, and what was there.

    margin: samples shown on either side. The paths are drawn from the sample before to the one after the interval, so
    that a jump would show. clean: (n,) the true normal, where it is known.
    """
    figure, axes = canvas()
    panel = axes[0, 0]
    low, high = max(0, start - margin), min(len(values), end + margin)
    left, right = max(start - 1, low), min(end + 1, high)  # one sample further than the interval on either side
    around = (np.repeat(values[left:start][None], len(paths), 0), np.repeat(values[end:right][None], len(paths), 0))
    whole = np.concatenate([around[0], paths, around[1]], axis=1)
    panel.axvspan(time[start], time[end - 1], color=LIGHT_GREY, alpha=0.35, linewidth=0)
    for number, path in enumerate(whole):
        tag = f"{len(paths)} draws of what would be normal" if number == 0 else None
        panel.plot(time[left:right], path, color=COLOURS["counterfactual"], linewidth=0.9, alpha=0.55, label=tag)
    panel.plot(time[left:right], np.median(whole, axis=0), color=BLUE, linewidth=2.2, label="their median")
    panel.plot(time[left:right], values[left:right], color=COLOURS["anomaly"], linewidth=2.2, label="what was there")
    for part, tag in ((slice(low, start), "surroundings"), (slice(end, high), None)):
        panel.plot(time[part], values[part], color=COLOURS["truth"], linewidth=1.4, label=tag)
    if clean is not None:
        true = clean[left:right]
        panel.plot(time[left:right], true, color=COLOURS["truth"], linestyle=":", linewidth=2.0, label="true normal")
    label(panel, title, x, y)
    _legend_below(figure, panel)
    return figure


def _legend_below(figure: Figure, *panels: Axes) -> None:
    """One legend for all panels, under the figure, where it hides nothing; times with short tick labels."""
    handles, names = [], []
    for panel in panels:
        found = panel.get_legend_handles_labels()
        handles += found[0]
        names += found[1]
        if legend := panel.get_legend():
            legend.remove()
        if isinstance(panel.xaxis.get_major_locator(), AutoDateLocator):
            panel.xaxis.set_major_locator(locator := AutoDateLocator())
            panel.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False, fontsize=11)
