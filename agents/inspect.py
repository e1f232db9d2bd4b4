"""What a trained agent learned: its value over time, a map of its last hidden layer, and where it looks.

The lecture's pictures of DQN: V along an episode (Mnih et al., 2013, figure 3), t-SNE of the last hidden layer (Mnih et
al., 2015, figure 4), and saliency (agents.saliency). How to read each stands in the run's note, HOW_TO_READ.
"""

import tempfile
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from scipy.signal import find_peaks
from scipy.spatial import cKDTree

from agents import gauges, saliency
from agents.config import DQNConfig
from agents.dqn import DQN
from agents.evaluate import MAX_FILM
from agents.played import Play, action_names, following, play, values
from lab import plots_agents
from lab.console import bar, messages
from lab.run import Run

METRICS = (
    "inspect/return_mean", "inspect/value_mean", "inspect/value_bias", "inspect/value_correlation",
    "inspect/map_agreement",
)  # fmt: skip
MOMENTS = 6  # peaks and troughs of V that are shown
MAP_PICTURES = 8
FEATURES = 10  # of a vector, those that move V most
THUMB = 70  # pixels of a picture's longer side in the projector

HOW_TO_READ = """\
**Timeline**: V(s) = max Q(s, a) is the discounted return the agent expects; the grey line is what followed. A value \
that rises before the reward comes foresees it; one that lies above the grey line is overestimated. \
**Map**: t-SNE of the last hidden layer; near points look alike to the agent, far ones need not differ much. \
**Saliency**: the gradient shows which pixels V would follow if they changed a little, occlusion how much V changes \
where a spot is blurred away; where they differ, occlusion is the one to believe. \
**Film**: the bars are Q(s, a), orange the action taken."""


@torch.no_grad()
def hidden(agent: DQN, states: np.ndarray, batch: int = 128) -> np.ndarray:
    """The last hidden layer's output for states (n, stack, *frame): (n, units) float32."""
    found: list[np.ndarray] = []
    hook = agent.q.trunk.register_forward_hook(
        lambda _, __, output: found.append(output.float().flatten(start_dim=1).cpu().numpy())
    )
    try:
        for start in range(0, len(states), batch):
            values(agent, states[start : start + batch])
    finally:
        hook.remove()
    return np.concatenate(found)


def moments(value: np.ndarray, most: int = MOMENTS) -> list[int]:
    """Steps of the most prominent peaks and troughs of a curve (n,), half of each, in order.

    No two lie nearer to each other than n / (2 most) steps. The ends of the curve count as peaks and troughs too.
    """
    found = []
    for sign in (1, -1):
        curve = sign * value
        walled = np.pad(curve, 1, constant_values=curve.min() - 1)
        places, about = find_peaks(walled, prominence=1e-9)
        order = np.argsort(-about["prominences"], kind="stable")
        found += [(rank, int(places[i]) - 1, sign) for rank, i in enumerate(order)]
    apart = max(1, len(value) // (2 * most))
    chosen: dict[int, int] = {}
    for _, at, sign in sorted(found, key=lambda one: one[0]):  # the first peak, the first trough, the second peak, ...
        near = any(abs(at - other) < apart for other in chosen)
        if not near and list(chosen.values()).count(sign) < most // 2:
            chosen[at] = sign
    return sorted(chosen)


def spread_out(points: np.ndarray, most: int) -> list[int]:
    """`most` of the points (n, 2), each as far as can be from those before it (Gonzalez, 1985)."""
    chosen = [int(np.linalg.norm(points - points.mean(axis=0), axis=1).argmax())]
    nearest = np.full(len(points), np.inf)
    while len(chosen) < min(most, len(points)):
        nearest = np.minimum(nearest, np.linalg.norm(points - points[chosen[-1]], axis=1))
        chosen.append(int(nearest.argmax()))
    return chosen


def agreement(points: np.ndarray, value: np.ndarray, step: np.ndarray, apart: int = 10, neighbours: int = 5) -> float:
    """How well a state's neighbours on the map foretell its value: R^2 of the mean of the nearest, at most 1.

    points (n, 2), value and step of play (n,). States of up to `apart` steps before or after are no neighbours: near in
    time, they are near on any map.
    """
    among = min(len(points), 2 * apart + 1 + neighbours)  # so many that enough are left
    _, near = cKDTree(points).query(points, k=among)
    far = np.abs(step[near] - step[:, None]) > apart
    errors = []
    for own, row, allowed in zip(value, near, far, strict=True):
        if len(others := row[allowed][:neighbours]):
            errors.append(own - value[others].mean())
    spread = float(np.var(value))
    return 1 - float(np.mean(np.square(errors))) / spread if errors and spread else float("nan")


def look(agent: DQN, config: DQNConfig, episodes: int, states: int, seed: int) -> Play:
    """The play to inspect, by the agent in float32. Raises InputError where it cannot be pictured."""
    agent.bfloat16 = False  # its eight bits would show as noise in differences of values
    return play(agent, config, episodes, states, seed)


def inspect(
    agent: DQN, config: DQNConfig, run: Run, everything: Play, episodes: int, states: int, seed: int
) -> tuple[dict[str, float], int]:
    """Write what the play of `look` shows to `run`; the metrics, and how many steps the timeline has."""
    returns = following(everything, config.gamma, config.clip_rewards)
    shown = everything.of(slice(min(np.count_nonzero(everything.episode < episodes), MAX_FILM + episodes)))
    expected = returns[: len(shown.q)][shown.taken]
    steps = shown.of(shown.taken)
    names = action_names(config, shown.q.shape[1])

    run.text("note", HOW_TO_READ)
    run.table("values", _table(steps, names))
    for step, (value, came) in enumerate(zip(steps.value, expected, strict=True)):
        run.scalars({"inspect/value": value, "inspect/following": came}, step)
    bias = float(np.mean(steps.value - expected))
    together = _correlation(steps.value, expected)
    at = moments(steps.value)
    run.figure("inspect/timeline", _timeline(config, steps, expected, at, names, together))
    _saliency(agent, config, run, steps.of(np.array(at)), at, steps)
    agrees = _map(agent, config, run, everything, states, seed)
    if shown.pictures is not None:
        _film(run, shown, shown.pictures, names)
    ended = [shown.reward[shown.episode == episode].sum() for episode in np.unique(steps.episode)]
    found = float(np.mean(ended)), float(np.mean(steps.value)), bias, together, agrees
    return dict(zip(METRICS, found, strict=True)), len(steps.q)


# --- inside ---------------------------------------------------------------------------------------------------------


def _table(steps: Play, names: Sequence[str]) -> pd.DataFrame:
    what = {
        "step": np.arange(len(steps.q)), "episode": steps.episode, "action": [names[a] for a in steps.action],
        "reward": steps.reward, "value": steps.value,
    }  # fmt: skip
    return pd.DataFrame({**what, **{f"Q {name}": steps.q[:, index] for index, name in enumerate(names)}})


def _correlation(left: np.ndarray, right: np.ndarray) -> float:
    return float(np.corrcoef(left, right)[0, 1]) if np.ptp(left) and np.ptp(right) else float("nan")


def _game(config: DQNConfig) -> str:
    return config.env.removeprefix("ALE/")


def _timeline(
    config: DQNConfig, steps: Play, expected: np.ndarray, at: list[int], names: Sequence[str], together: float
) -> Figure:
    means = float(steps.value.mean()), float(expected.mean())
    expects, follows = (plots_agents.number(mean, max(map(abs, means))) for mean in means)
    found = f"on average V expects {expects}, and {follows} follows"
    found += "" if np.isnan(together) else f" (correlation {together:.2f})"
    borders = (np.flatnonzero(np.diff(steps.episode)) + 1).tolist()
    unit = "discounted return" + ("\nof clipped rewards" if config.clip_rewards else "")
    pictures = None if steps.pictures is None else steps.pictures[at]
    return plots_agents.value_timeline(
        steps.value, expected, steps.reward, steps.q, names, at, pictures, f"{_game(config)}: {found}", unit, borders
    )


def _saliency(agent: DQN, config: DQNConfig, run: Run, chosen: Play, at: list[int], steps: Play) -> None:
    told = [plots_agents.number(value, np.ptp(steps.value)) for value in chosen.value]
    headings = [f"{letter}  V = {value}" for letter, value in zip(plots_agents.LETTERS, told, strict=False)]
    slopes = saliency.gradient(agent, chosen.states)
    if slopes.ndim == 2:
        effects = slopes * steps.states[:, -1].std(axis=0)  # (moments, features)
        first = np.argsort(-effects.mean(axis=0))
        title = f"{_game(config)}: feature {first[0]} moves V most"
        most = np.sort(first[:FEATURES])
        features = [f"feature {index}" for index in most]
        run.figure("inspect/saliency", plots_agents.feature_saliency(effects[:, most], features, headings, title))
        return
    with bar("occlude", len(chosen.states), "states") as advance:
        hidden_away = saliency.occlusion(agent, chosen.states, advance)
    shares = [saliency.concentration(found) for found in (hidden_away, slopes)]
    title = (
        f"{_game(config)}: half of occlusion's effect on V lies on {100 * shares[0]:.2g} % of the picture "
        f"(the gradient's: {100 * shares[1]:.2g} %)"
    )
    maps = {"gradient": slopes, "occlusion": hidden_away}
    frames = (255 * saliency.scaled(agent, chosen.states[:, -1]).cpu().numpy().clip(0, 1)).astype(np.uint8)
    run.figure("inspect/saliency", plots_agents.saliency(frames, maps, headings, title, chosen.pictures))


def _map(agent: DQN, config: DQNConfig, run: Run, everything: Play, states: int, seed: int) -> float:
    """The map of `states` of the steps, evenly spaced, each different one once; how well neighbours agree about V."""
    from sklearn.manifold import TSNE

    steps = np.flatnonzero(everything.taken)
    some = steps[np.unique(np.linspace(0, len(steps) - 1, states).round().astype(int))]
    at = np.array(sorted({everything.states[i].tobytes(): i for i in some[::-1]}.values()))  # the first of those alike
    seen = everything.of(at)
    vectors = hidden(agent, seen.states)
    labels = {
        "value": [f"{value:.4g}" for value in seen.value], "best action": seen.q.argmax(axis=1).tolist(),
        "episode": seen.episode.tolist(), "reward": seen.reward.tolist(),
    }  # fmt: skip
    small = None
    if seen.pictures is not None:
        every = -(-max(seen.pictures.shape[1:3]) // THUMB)
        small = seen.pictures[:, ::every, ::every]
    run.embedding("inspect/last_hidden_layer", vectors, labels, small)
    if len(np.unique(vectors, axis=0)) < 4:
        messages.print("the last hidden layer knows fewer than 4 different states: no map of it", soft_wrap=True)
        return float("nan")
    with bar(f"t-SNE of {len(vectors):,} states", 1, "maps") as advance:
        perplexity = min(30.0, (len(vectors) - 1) / 3)
        points = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(vectors)
        advance()
    agrees = agreement(points, seen.value, at)
    chosen = spread_out(points, MAP_PICTURES)
    found = "too few states to compare neighbours"
    if not np.isnan(agrees):
        found = f"neighbours on the map explain {100 * max(agrees, 0):.0f} % of the variance of V"
    pictures = None if seen.pictures is None else seen.pictures[chosen]
    colours = f"V(s), discounted return; {len(points):,} different states, t-SNE of {vectors.shape[1]} units"
    run.figure(
        "inspect/map",
        plots_agents.value_map(points, seen.value, chosen, pictures, f"{_game(config)}: {found}", colours),
    )
    return agrees


def _film(run: Run, shown: Play, pictures: np.ndarray, names: Sequence[str]) -> None:
    size = (len(shown.q), gauges.HEIGHT, gauges.WIDTH, 3)
    # in a file: 3,000 frames would be 2 GB of memory
    with tempfile.TemporaryFile(dir=run.path) as file, bar("film", size[0], "frames") as advance:
        frames = np.memmap(file, np.uint8, "w+", shape=size)
        drawn = gauges.frames(pictures, shown.q, shown.action, shown.reward, names)
        for index, frame in enumerate(drawn):
            frames[index] = frame
            advance()
        run.video("inspect/play", frames, fps=15 if len(frames) > 150 else 4)
