"""Figures of what a forecasting network looks at, one function each, returning a matplotlib Figure."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from lab.plots import BLUE, GREY, canvas, label

SHOWN = 8  # filters


def attention(maps: np.ndarray, patch: int) -> Figure:
    """Attention of each layer, mean over heads: maps (layers, patches, patches); patch: steps in one."""
    layers, count, _ = maps.shape
    figure, axes = canvas(1, layers, width=1.5 + 4.3 * layers, height=5.2, sharey=True)
    back = int(count - 1 - maps[-1, -1].argmax())  # patches before the last, where the last one looks most
    seen = "itself" if back == 0 else f"the one {back * patch} steps before"
    for layer, panel in enumerate(axes[0]):
        shown = panel.imshow(maps[layer], cmap="viridis", vmin=0, vmax=maps.max(), origin="lower", aspect="auto")
        label(panel, "", "patch looked at, steps before the end", "patch that looks" if layer == 0 else "")
        panel.set_title(f"layer {layer + 1}", loc="left", fontsize=12)
        every = max(1, -(-count // 5))
        places = np.arange(count - 1, -1, -every)
        panel.set_xticks(places, [f"{(count - 1 - place) * patch}" for place in places])
        panel.set_yticks(places, [f"{(count - 1 - place) * patch}" for place in places])
    figure.colorbar(shown, ax=axes[0].tolist(), label="share of attention")
    title = f"Transformer: the last patch looks most at {seen}"
    figure.suptitle(title, fontsize=14, fontweight="bold", x=0.02, ha="left")
    return figure


def filters(weights: np.ndarray) -> Figure:
    """First filters of a CNN over the steps of a patch: weights (filters, patch), the strongest first."""
    count = min(SHOWN, len(weights))
    figure, axes = canvas(2, -(-count // 2), width=11.0, height=4.6, sharex=True, sharey=True)
    steps = np.arange(weights.shape[1])
    for place, panel in enumerate(axes.flat):
        if place >= count:
            panel.set_visible(False)
            continue
        panel.axhline(0, color=GREY, linewidth=0.8)
        panel.fill_between(steps, weights[place], color=BLUE, alpha=0.2, linewidth=0)
        panel.plot(steps, weights[place], color=BLUE)
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    figure.supxlabel("step of a patch", fontsize=12)
    figure.supylabel("weight", fontsize=12)
    figure.suptitle(
        f"CNN: what the {count} strongest of {len(weights)} filters look for in a patch",
        fontsize=14, fontweight="bold", x=0.02, ha="left",
    )  # fmt: skip
    return figure
