"""What the last hidden layer puts side by side is worth the same: is that learned, or are the pixels alike anyway?

Lecture: L4, Machine learning lecture
Slide: DQN Hidden Layer Representation (t-SNE map)
Says: "Similar perception, similar reward clustered."
Doubt: The colour of the map is the value V the agent predicts, which is a sum of what is mapped; the reward is what
    then came, and it is what decides here. And successive states lie near each other on any map, because they look
    alike. So the pixels themselves and an untrained net are mapped too; V is told besides, also without neighbours in
    time.
Kind: chance
"""

from dataclasses import dataclass, replace

import numpy as np

from agents.dqn import DQN
from agents.inspect import agreement, hidden, spread_out
from agents.played import following, play
from lab.console import bar
from lab.lectures import Outcome, check, report, setting
from lab.lectures.core import _agents
from lab.plots import BLACK, DARK_GREY, canvas
from lab.stats import bootstrap

NEIGHBOURS = 10
APART = 10  # agent steps: nearer in time are no neighbours, where that is asked
MAPS = {"trained": "trained net", "untrained": "untrained net", "pixels": "pixels"}


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(5, 2, 20, quick=2)
    """Starts of t-SNE and, for the control, of an untrained net."""
    states: int = setting(1200, 100, 10_000, quick=100)
    """States of the trained agent's play of Pong."""


def tsne(vectors: np.ndarray, seed: int) -> np.ndarray:
    """A map (n, 2) of vectors (n, features), of their 50 first principal components if they have more."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    flat = vectors.reshape(len(vectors), -1).astype(np.float32)
    if flat.shape[1] > 50:
        flat = PCA(50, svd_solver="randomized", random_state=seed).fit_transform(flat)
    return TSNE(perplexity=30, init="pca", random_state=seed).fit_transform(flat)


def measure(settings: Settings) -> Outcome:
    agent, config, step = _agents.trained()
    agent.bfloat16 = False  # its eight bits would show as noise
    seen = play(agent, config, 0, settings.states, seed=0)
    at = np.flatnonzero(seen.taken)[: settings.states]
    came = following(seen, config.gamma, config.clip_rewards)[at]
    states, value = seen.states[at], seen.value[at]
    shape = states.shape[1:]
    maps: dict[str, np.ndarray] = {}
    reward, plain, strict = ({name: np.empty(settings.seeds) for name in MAPS} for _ in range(3))
    with bar("t-SNE", len(MAPS) * settings.seeds, "maps") as advance:
        for seed in range(settings.seeds):
            fresh = DQN(shape, agent.actions, replace(config, seed=1000 + seed, precision="float32"), agent.device)
            vectors = {"trained": hidden(agent, states), "untrained": hidden(fresh, states), "pixels": states}
            for name, each in vectors.items():
                points = tsne(each, seed)
                plain[name][seed] = agreement(points, value, at, apart=0, neighbours=NEIGHBOURS)
                strict[name][seed] = agreement(points, value, at, apart=APART, neighbours=NEIGHBOURS)
                reward[name][seed] = agreement(points, came, at, apart=0, neighbours=NEIGHBOURS)
                maps.setdefault(name, points)  # the first seed's are shown
                advance()
    findings = []
    for name in ("untrained", "pixels"):
        more = reward["trained"] - reward[name]
        told = f"R² of the discounted reward from {NEIGHBOURS} neighbours: trained net over {MAPS[name]}"
        findings.append(check(told, more.mean(), "> 0", bootstrap(more, np.mean), more))
    for told, values in (("discounted reward", reward), ("V", plain), (f"V, none within {APART} steps", strict)):
        findings += [
            report(f"R² of {told}: {what}", values[name].mean(), bootstrap(values[name], np.mean), values[name])
            for name, what in MAPS.items()
        ]
    budget = (
        f"{len(at):,} successive states of Pong by the policy of {step:,} agent steps ({4 * step:,} frames); "
        f"{len(MAPS) * settings.seeds} t-SNE maps"
    )
    assert seen.pictures is not None  # Atari draws
    first = {name: each[0] for name, each in plain.items()}
    return Outcome(findings, picture(maps, value, first, seen.pictures[at]), budget)


def picture(maps: dict[str, np.ndarray], value: np.ndarray, found: dict[str, float], pictures: np.ndarray):
    """The three maps, coloured by V; beneath them the screens of some states of the trained net's map."""
    figure, axes = canvas(2, 6, width=14, height=7.6, height_ratios=[2.6, 1])
    chosen = sorted(spread_out(maps["trained"], 6), key=lambda one: value[one])
    low, high = np.percentile(value, (1, 99))  # one odd state must not take the colours from all others
    grid, panels = axes[0, 0].get_gridspec(), []
    for slot in axes[0]:
        slot.remove()
    for column, (name, points) in enumerate(maps.items()):
        panel = figure.add_subplot(grid[0, 2 * column : 2 * column + 2])
        dots = panel.scatter(
            points[:, 0], points[:, 1], c=value, s=16, cmap="viridis", linewidths=0, vmin=low, vmax=high
        )
        panel.set(xticks=[], yticks=[])
        panel.set_title(f"{MAPS[name]}: R² {found[name]:.2f}", loc="left", fontsize=17, fontweight="bold")
        panel.spines[:].set(visible=True, color=DARK_GREY)
        panel.margins(0.05)
        panels.append(panel)
    colours = figure.colorbar(dots, ax=panels, location="bottom", shrink=0.4, aspect=40, pad=0.02, extend="both")
    colours.set_label("V(s) = max Q(s, a), the discounted return that the agent expects", fontsize=13)
    for letter, one, slot in zip("abcdef", chosen, axes[1], strict=False):
        panels[0].annotate(letter, maps["trained"][one], fontsize=15, fontweight="bold", color=BLACK, ha="center",
                           va="center", bbox={"facecolor": "white", "alpha": 0.8, "pad": 2})  # fmt: skip
        slot.set(xticks=[], yticks=[])
        slot.set_title(f"{letter}: V = {value[one]:.2f}", loc="center", fontsize=13)
        slot.imshow(pictures[one], aspect="auto")
    return figure
