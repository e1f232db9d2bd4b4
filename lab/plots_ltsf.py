"""Figures of the long-horizon forecasting benchmark, one function each, returning a matplotlib Figure."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from lab.plots import BLACK, COLOURS, DARK_GREY, GREY, LIGHT_GREY, PURPLE, canvas, label

if TYPE_CHECKING:
    import pandas as pd

_COLOURS = COLOURS | {"ridge": DARK_GREY, "dlinear": GREY, "nlinear": GREY, "combined": BLACK, "cnn-lstm": PURPLE}
_CLIP = 20.0  # percent; stronger colours than this say nothing more


def against_ridge(rows: "pd.DataFrame", models: Sequence[str]) -> Figure:
    """Mean squared error of each model on each task, in percent above or below the ridge's; means over seeds.

    rows: dataset, horizon, model, seed, mse. models: those to show, in this order, where they are in `rows`.
    """
    errors = rows.pivot_table(index="model", columns=["dataset", "horizon"], values="mse")
    shown = [model for model in models if model in errors.index and model != "ridge"]
    change = 100 * (errors.loc[shown] / errors.loc["ridge"] - 1)
    order = change.mean(axis=1).sort_values().index
    change = change.loc[order]
    figure, axes = canvas(width=max(8.5, 2.4 + 0.8 * change.shape[1]), height=1.8 + 0.5 * len(change))
    panel = axes[0, 0]
    panel.imshow(change.to_numpy().clip(-_CLIP, _CLIP), cmap="PuOr_r", vmin=-_CLIP, vmax=_CLIP, aspect="auto")
    for (row, column), value in np.ndenumerate(change.to_numpy()):
        dark = abs(value) > 0.6 * _CLIP
        panel.text(
            column, row, f"{value:+.1f}" if abs(value) < 99.5 else f"{value:+.0f}", ha="center", va="center",
            fontsize=11, color="white" if dark else "black",
        )  # fmt: skip
    panel.set_yticks(range(len(change)), list(change.index))
    panel.set_xticks(range(change.shape[1]), [f"{name}\n{horizon}" for name, horizon in change.columns])
    panel.tick_params(length=0)
    for side in panel.spines.values():
        side.set_visible(False)
    best = order[0]
    wins = int((change.loc[best] < 0).sum())
    title = f"{best} beats the closed-form ridge on {wins} of {change.shape[1]} tasks"
    label(panel, title, "mean squared error against the ridge's, in percent")
    return figure


def forecasts(past: Sequence[float], truth: Sequence[float], made: Mapping[str, Sequence[float]], title: str) -> Figure:
    """What each model forecasts of one window, least mean squared error first in the legend; standardised scale."""
    figure, axes = canvas(width=11.0, height=4.8)
    panel = axes[0, 0]
    panel.plot(range(-len(past) + 1, 1), past, color=DARK_GREY, linewidth=1.0)
    panel.plot(range(1, len(truth) + 1), truth, color=BLACK, linewidth=1.4, label="truth")
    errors = {name: float(np.square(np.subtract(each, truth)).mean()) for name, each in made.items()}
    for name in sorted(errors, key=errors.__getitem__):
        style = {"color": _COLOURS.get(name, GREY), "linewidth": 1.6, "alpha": 0.85}
        panel.plot(range(1, len(truth) + 1), made[name], **style, label=f"{name}  {errors[name]:.3f}")
    panel.axvline(0.5, color=GREY, linewidth=0.8, linestyle=":")
    panel.margins(x=0.01)
    label(panel, title, "steps after the window", "last channel, standardised")
    panel.get_legend().remove()
    figure.legend(loc="outside right center", frameon=False, fontsize=11, title="mean squared error", alignment="left")
    return figure


def means(table: "pd.DataFrame", models: Sequence[str], published: Sequence[tuple[str, float, str]]) -> Figure:
    """Mean squared error of each model over all tasks, beside published ones: one dot a model, least at the top.

    table: model, mse. Models of more than 1.3 times the ridge's error are left out, and said to be.
    """
    ours = {name: mse for name, mse in zip(table["model"], table["mse"], strict=True) if name in models}
    floor = ours["ridge"]
    lines = [(mse, name, True) for name, mse in ours.items()] + [(mse, name, False) for name, mse, _ in published]
    shown = sorted(line for line in lines if line[0] <= 1.3 * floor)
    left_out = [f"{name} {mse:.2f}" for mse, name, _ in sorted(lines) if mse > 1.3 * floor]
    figure, axes = canvas(width=10.0, height=1.8 + 0.36 * len(shown))
    panel = axes[0, 0]
    panel.axvline(floor, color=LIGHT_GREY, zorder=0)
    for row, (mse, name, own) in enumerate(shown):
        colour = _COLOURS.get(name, DARK_GREY) if own else GREY
        panel.plot(
            mse,
            row,
            "o" if own else "D",
            markersize=10 if own else 7,
            color=colour,
            fillstyle="full" if own else "none",
        )
        panel.annotate(
            f"{name}  {mse:.4f}", (mse, row), (9, 0), textcoords="offset points", va="center", fontsize=12,
            fontweight="bold" if own else "normal", color="black" if own else DARK_GREY,
        )  # fmt: skip
    panel.set_yticks([])
    panel.spines["left"].set_visible(False)
    panel.set_ylim(len(shown) - 0.4, -0.6)
    low, high = shown[0][0], shown[-1][0]
    width = (high - low) or max(high, 1e-9)  # all alike: one is as good as the other
    panel.set_xlim(low - 0.05 * width, high + 0.35 * width)
    note = "dots: ours; diamonds: published" if published else "one dot a model"
    note += f"; not shown: {', '.join(left_out)}" if left_out else ""
    mse, best = min((mse, name) for mse, name, own in lines if own)
    better = [name for error, name, own in sorted(lines) if not own and error < mse]
    title = f"{best} has the least error of ours, {mse:.4f}" if published else f"{best} has the least error"
    if published:
        title += f"; less is published for {', '.join(better)}" if better else ", and none published has less"
    label(panel, title, f"mean squared error, mean over tasks (line: ridge)\n{note}")
    return figure
