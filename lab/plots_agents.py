"""The figures of a trained agent: its value over time, a map of what it sees, and where it looks."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch

from lab.plots import BLACK, BLUE, DARK_GREY, GREEN, GREY, LIGHT_GREY, STYLE, VERMILION, canvas, label

MOST_BARS = 6  # of many actions the best ones are shown
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def value_timeline(
    value: np.ndarray, following: np.ndarray, reward: np.ndarray, q: np.ndarray, names: Sequence[str],
    moments: Sequence[int], pictures: np.ndarray | None, title: str, y: str, borders: Sequence[int] = (),
) -> Figure:  # fmt: skip
    """V along an episode, and beneath it the pictures and action values at some moments (Mnih et al., 2013, figure 3).

    value, following, reward: (n,), V(s_t), the return that followed s_t, and the reward of step t; q: (n, actions) and
    the actions' names; moments: (k,) steps; pictures: (k, height, width[, 3]) uint8; borders: where episodes begin.
    """
    drawn = pictures is not None
    figure, axes = canvas(
        3 if drawn else 2, max(4, len(moments)), width=13, height=7.6 if drawn else 5.4,
        gridspec_kw={"height_ratios": [2.6, 2.0, 1.2] if drawn else [2.6, 1.2], "wspace": 0.12},
    )  # fmt: skip
    top = _joined(figure, axes[0])
    for border in borders:
        top.axvline(border - 0.5, color=LIGHT_GREY, linewidth=1.0, zorder=0)
    steps = np.insert(np.arange(len(value), dtype=float), borders, np.nan)  # no line from one episode into the next
    for curve, colour, what in (
        (following, GREY, "return that followed"),
        (value, BLUE, "V(s), what the agent expected"),
    ):
        top.plot(steps, np.insert(curve.astype(float), borders, np.nan), color=colour, linewidth=1.5, label=what)
    _rewards(top, reward)
    for letter, at in zip(LETTERS, moments, strict=False):
        top.plot(at, value[at], "o", color=BLACK, markersize=6, zorder=5)
        top.annotate(
            letter, (at, value[at]), (0, 7), textcoords="offset points", ha="center", fontsize=12, fontweight="bold",
            zorder=6, bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8},
        )  # fmt: skip
    top.margins(x=0.01, y=0.12)
    label(top, "", "", y)
    top.set_title(title, loc="left", fontsize=14, pad=12)
    top.set_xlabel("agent steps", loc="left")
    top.legend(loc="upper right", bbox_to_anchor=(1.0, -0.1), ncols=4, frameon=False, fontsize=11)
    best = np.sort(q[list(moments)], axis=1)[:, -MOST_BARS:]
    low, high = min(0.0, float(best.min())), max(0.0, float(best.max()))
    for column, at in enumerate(moments):
        heading, rows = f"{LETTERS[column]}  step {at:,}", axes[1:, column]
        if pictures is not None:
            _picture(rows[0], pictures[column])
            rows[0].set_title(heading, loc="center", fontsize=12)
        else:
            rows[-1].set_title(heading, loc="left", fontsize=12)
        _bars(rows[-1], q[at], names, low, high)
    for panel in axes[1:, len(moments) :].flat:
        panel.axis("off")
    axes[-1, 0].set_ylabel(f"Q, best {MOST_BARS} of {len(names)}" if len(names) > MOST_BARS else "Q(s, a)")
    return figure


def _joined(figure: Figure, panels: np.ndarray) -> Axes:
    """One panel in place of these, which lie side by side."""
    cells = [panel.get_subplotspec() for panel in panels.flat]
    for panel in panels.flat:
        panel.remove()
    grid = cells[0].get_gridspec()
    rows = slice(cells[0].rowspan.start, cells[-1].rowspan.stop)
    with mpl.rc_context(STYLE):
        return figure.add_subplot(grid[rows, cells[0].colspan.start : cells[-1].colspan.stop])


def too_many(reward: np.ndarray) -> bool:
    """Whether rewards come so often that marking each says nothing."""
    return bool(np.count_nonzero(reward) > len(reward) / 4)


def _rewards(panel: Axes, reward: np.ndarray) -> None:
    """Marks above the curve where rewards came, unless they come all the time."""
    if too_many(reward):
        return
    place = panel.get_xaxis_transform()  # steps across, share of the height upwards
    for sign, marker, colour, what in ((1, "^", GREEN, "reward"), (-1, "v", VERMILION, "loss")):
        at = np.flatnonzero(reward * sign > 0)
        if len(at):
            panel.plot(
                at, np.full(len(at), 1.0), marker, color=colour, markersize=7, transform=place, clip_on=False,
                label=f"{what} ({len(at)})", zorder=4,
            )  # fmt: skip


def _picture(panel: Axes, picture: np.ndarray) -> None:
    few = max(picture.shape[:2]) < 100
    panel.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest" if few else "antialiased")
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_visible(True)
    panel.spines[:].set_color(LIGHT_GREY)


def _bars(panel: Axes, q: np.ndarray, names: Sequence[str], low: float, high: float) -> None:
    """Action values as bars, the best one blue, in the order of the actions; only the best few of many."""
    shown = np.sort(np.argsort(q)[::-1][:MOST_BARS])[::-1]  # from below
    places, many = range(len(shown)), len(names) > MOST_BARS  # then names are long: DOWNLEFTFIRE
    across = panel.get_yaxis_transform()  # share of the width across, actions upwards
    panel.barh(places, q[shown], color=[BLUE if action == q.argmax() else LIGHT_GREY for action in shown])
    for place, action in enumerate(shown):
        told = number(q[action], high - low)
        panel.text(1.0, place, told, va="center", ha="right", fontsize=9 if many else 10, transform=across)
    panel.set_yticks(places, [names[action] for action in shown], fontsize=8 if many else 10)
    room = 0.5 if many else 0.4  # share of the width that the numbers need
    panel.set_xlim(low, high + room / (1 - room) * (high - low or 1.0))
    panel.axvline(0, color=DARK_GREY, linewidth=0.8)
    panel.tick_params(axis="y", length=0)
    panel.set_xticks([])
    panel.spines[:].set_visible(False)


def number(value: float, spread: float) -> str:
    """`value` with as many decimals as tell values apart that differ by up to `spread`: three digits of it."""
    return f"{value:.{int(np.clip(2 - np.floor(np.log10(spread or 1.0)), 0, 5))}f}"


def value_map(
    points: np.ndarray, value: np.ndarray, chosen: Sequence[int], pictures: np.ndarray | None, title: str, colours: str
) -> Figure:
    """States as points (n, 2) coloured by V (n,), and the pictures of some of them (Mnih et al., 2015, figure 4).

    chosen: (k,) of the points, pictures: (k, height, width[, 3]) uint8 of them, set left and right of the map;
    colours: what the colour says.
    """
    if pictures is None:
        figure, axes = canvas(width=8.5, height=6.5)
        panel = axes[0, 0]
    else:
        rows = -(-len(chosen) // 2)
        figure, axes = canvas(rows, 3, width=13, height=7.2, width_ratios=[1, 4.6, 1])
        panel = _joined(figure, axes[:, 1])
    low, high = np.percentile(value, (1, 99))  # one odd state must not take the colours from all others
    size = float(np.clip(16_000 / len(points), 16, 60))
    dots = panel.scatter(*points.T, c=value, s=size, cmap="viridis", linewidths=0, vmin=low, vmax=high)
    panel.set(xticks=[], yticks=[])
    panel.spines[:].set_visible(False)
    panel.margins(0.04)
    bar = figure.colorbar(dots, ax=panel, location="bottom", shrink=0.6, aspect=40, pad=0.02, extend="both")
    bar.set_label(colours, fontsize=12)
    bar.outline.set_visible(False)
    figure.suptitle(title, x=0.01, ha="left", fontsize=14)
    if pictures is None:
        return figure
    order = np.argsort(points[list(chosen), 0])  # the left half of them goes to the left
    sides = order[: len(axes)], order[len(axes) :]
    for column, side in zip((0, 2), sides, strict=True):
        downwards = sorted(side, key=lambda index: -points[chosen[index], 1])
        for slot, index in zip(axes[:, column], [*downwards, None, None], strict=False):
            if index is None:
                slot.axis("off")
                continue
            _picture(slot, pictures[index])
            point = points[chosen[index]]
            slot.set_title(f"V = {number(value[chosen[index]], np.ptp(value))}", loc="center", fontsize=12)
            slot.spines[:].set_color(BLACK)
            panel.plot(*point, "o", markersize=9, markerfacecolor="none", markeredgecolor=BLACK, markeredgewidth=1.4)
            edge = (1 if column == 0 else 0, 0.5)
            line = ConnectionPatch(edge, tuple(point), slot.transAxes, panel.transData, color=DARK_GREY, shrinkB=5)
            figure.add_artist(line)
    return figure


def saliency(
    frames: np.ndarray, maps: Mapping[str, np.ndarray], headings: Sequence[str], title: str,
    pictures: np.ndarray | None = None,
) -> Figure:  # fmt: skip
    """Where the agent looks: its frames (k, height, width) uint8 under each of its maps, name -> (k, height, width).

    pictures: (k, height, width[, 3]) uint8, the game as a person sees it, in a row above. Each map is scaled by its
    own largest value: red is the most in this picture, not more than in another.
    """
    rows = len(maps) + (pictures is not None)
    figure, axes = canvas(rows, len(frames), width=13, height=0.6 + 2.35 * rows)
    for column, heading in enumerate(headings):
        axes[0, column].set_title(heading, loc="center", fontsize=12)
    if pictures is not None:
        for panel, picture in zip(axes[0], pictures, strict=True):
            _picture(panel, picture)
        axes[0, 0].set_ylabel("the game", fontsize=12)
    for row, (name, found) in zip(axes[-len(maps) :], maps.items(), strict=True):
        for panel, frame, heat in zip(row, frames, found, strict=True):
            _picture(panel, _overlay(frame, heat))
        row[0].set_ylabel(name, fontsize=12)
    figure.suptitle(title, x=0.01, ha="left", fontsize=14)
    return figure


def _overlay(frame: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A grey frame, dimmed, with `heat` over it as more or less opaque vermilion: (height, width, 3) uint8."""
    opacity = (heat / max(float(heat.max()), 1e-12))[..., None].clip(0, 1)
    grey = 0.7 * frame[..., None].astype(float) + 25
    return (grey * (1 - opacity) + 255 * np.array(to_rgb(VERMILION)) * opacity).astype(np.uint8)


def feature_saliency(effects: np.ndarray, features: Sequence[str], headings: Sequence[str], title: str) -> Figure:
    """What moves V at some moments, for states that are vectors: effects (k, features), a bar each."""
    figure, axes = canvas(1, len(effects), width=13, height=3.6, sharey=True, sharex=True)
    for panel, effect, heading in zip(axes[0], effects, headings, strict=True):
        panel.barh(features, effect, color=[VERMILION if value == effect.max() else LIGHT_GREY for value in effect])
        panel.set_title(heading, loc="center", fontsize=12)
        panel.tick_params(axis="y", length=0)
    axes[0, 0].invert_yaxis()
    figure.supxlabel("|dV/ds|, for one standard deviation of the feature", fontsize=12)
    figure.suptitle(title, x=0.01, ha="left", fontsize=14)
    return figure
