"""Figures of what a forecasting network looks at, one function each, returning a matplotlib Figure."""

import textwrap

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from lab.plots import BLACK, BLUE, COLOURS, GREY, LIGHT_GREY, ORANGE, VERMILION, canvas, label

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


def attribution(
    steps: np.ndarray, window: np.ndarray, usual: np.ndarray, shapley: np.ndarray, gradients: np.ndarray,
    grad_cam: np.ndarray | None, strongest: tuple[int, int], fan: np.ndarray | None, title: str, unit: str,
) -> Figure:  # fmt: skip
    """The past and the usual past, (lookback,) each, over what each step adds to the forecast.

    steps: before the forecast, negative. strongest: [start, end) of the stretch that counts most; fan: the same stretch
    as it would normally be, (K, end - start). grad_cam, on a scale of its own, as shading of the lower panel.
    """
    figure, axes = canvas(2, 1, width=12.0, height=7.0, sharex=True)
    top, bottom = axes[:, 0]
    start, end = strongest
    for panel in (top, bottom):
        panel.axvspan(steps[start] - 0.5, steps[end - 1] + 0.5, color=LIGHT_GREY, alpha=0.4, linewidth=0)
    top.plot(steps, usual, color=GREY, linestyle="--", linewidth=1.4, label="usual past")
    if fan is not None:
        top.plot(steps[start:end], fan.T, color=COLOURS["counterfactual"], linewidth=0.8, alpha=0.5)
        top.plot(
            steps[start:end], np.median(fan, 0), color=COLOURS["counterfactual"], linewidth=2.4,
            label="what would be normal there",
        )  # fmt: skip
    top.plot(steps, window, color=BLACK, linewidth=1.6, label="this past")
    bottom.axhline(0, color=GREY, linewidth=0.8)
    bottom.bar(steps, shapley, width=1.0, color=BLUE, alpha=0.55, label="Shapley values, spread over their stretch")
    bottom.plot(steps, gradients, color=VERMILION, linewidth=1.2, label="integrated gradients")
    if grad_cam is not None and np.abs(grad_cam).max() > 0:
        size = np.abs(np.concatenate([shapley, gradients])).max()
        scaled = grad_cam / np.abs(grad_cam).max() * size
        bottom.step(steps, scaled, where="mid", color=ORANGE, linewidth=1.4, label="Grad-CAM (own scale)")
    label(top, "", "", unit)
    label(bottom, "", "steps before the forecast", f"added to the mean forecast\n({unit} a step)")
    for panel in (top, bottom):
        panel.legend(loc="upper left", frameon=False, fontsize=11, ncols=3)
        panel.margins(y=0.22)
    figure.suptitle("\n".join(textwrap.wrap(title, 92)), fontsize=13, fontweight="bold", x=0.02, ha="left")
    return figure


def held_out(truth: np.ndarray, ahead: np.ndarray, horizon: int) -> Figure:
    """Forecasts (origins, horizon) of the end of truth (n,), one horizon after the other."""
    figure, axes = canvas(width=11.0, height=4.4)
    panel = axes[0, 0]
    steps = np.arange(-len(truth), 0)
    shown = min(len(truth), (len(ahead) + 2) * horizon + 2)
    panel.plot(steps[-shown:], truth[-shown:], color=BLACK, linewidth=1.3, label="truth")
    for number, path in enumerate(ahead):
        at = np.arange(horizon) - horizon * (len(ahead) - number)
        panel.plot(at, path, color=BLUE, linewidth=2.0, label="forecast" if number == 0 else None)
        panel.axvline(at[0] - 0.5, color=GREY, linewidth=0.8, linestyle=":")
    error = np.abs(ahead.reshape(-1) - truth[-ahead.size :]).mean()
    label(panel, f"Not trained on: the last {len(ahead)} horizons, off by {error:.3g} on average", "step", "series")
    return figure
