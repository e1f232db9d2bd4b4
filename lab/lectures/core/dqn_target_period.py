"""How often to copy Q into the target network: too seldom learns nothing in time; too often overestimates, or not?

Lecture: L4, Machine learning lecture
Slide: DQN Overview; DQN Algorithm
Says: "Delayed (periodic) update of target Q̂"; "Every C steps reset Q̂ = Q"
Doubt: No C is given and none compared. The claim tested is that both ends are bad, and that the overestimation of
    max_a Q falls as C grows. A period above the number of updates never copies: then Q̂ is the random first network.
Kind: chance
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from lab.console import bar
from lab.lectures import Outcome, check, report, setting
from lab.lectures.core import _agents
from lab.plots import BLUE, GREY, LIGHT_GREY, VERMILION, canvas, label
from lab.stats import bootstrap

PERIODS = (1, 10, 100, 1000, 10_000)


@dataclass(frozen=True)
class Settings:
    env: str = setting(_agents.CARTPOLE, choices=(_agents.CARTPOLE, _agents.CATCH))
    """The task."""
    seeds: int = setting(8, 2, 50, quick=2)
    """Trainings for each C."""
    steps: int = setting(6000, 600, 1_000_000, quick=800)
    """Agent steps of each training, one update in four."""
    games: int = setting(10, 1, 1000, quick=4)
    """Games of each learned policy, without exploration."""


def train(env: str, period: int, steps: int, seed: int, number: int) -> tuple[float, float]:
    """The learned policy's mean return, and by how much its max_a Q exceeds what it then earns, mean over states."""
    config = _agents.settings(env, steps, seed, target_every=period)
    games = _agents.games(_agents.learn(config).agent, config, number)
    return float(games.returns.mean()), float((games.value - games.earned).mean())


def measure(settings: Settings) -> Outcome:
    results = np.empty((2, settings.seeds, len(PERIODS)))  # returns and overestimations
    with bar("target periods", settings.seeds * len(PERIODS), "trainings") as advance:
        for seed in range(settings.seeds):
            for at, period in enumerate(PERIODS):
                results[:, seed, at] = train(settings.env, period, settings.steps, seed, settings.games)
                advance()
    returns, over = results
    middle = returns[:, 2]
    often, seldom = middle - returns[:, 0], middle - returns[:, -1]
    ranks = np.array([_spearman(over[seed]) for seed in range(settings.seeds)])
    copied = np.array([_spearman(over[seed, :3]) for seed in range(settings.seeds)])
    findings = [
        check("what C = 100 returns more than C = 1", often.mean(), "> 0", bootstrap(often, np.mean), often),
        check("what C = 100 returns more than C = 10,000", seldom.mean(), "> 0", bootstrap(seldom, np.mean), seldom),
        check("rank correlation of overestimation with C", ranks.mean(), "< 0", bootstrap(ranks, np.mean), ranks),
        report("the same, of C up to 100 only", copied.mean(), bootstrap(copied, np.mean), copied),
        *(report(f"return, C = {period:,}", values.mean(), bootstrap(values, np.mean), values)
          for period, values in zip(PERIODS, returns.T, strict=True)),
        *(report(f"overestimation, C = {period:,}", values.mean(), bootstrap(values, np.mean), values)
          for period, values in zip(PERIODS, over.T, strict=True)),
    ]  # fmt: skip
    config = _agents.settings(settings.env, settings.steps, 0)
    updates = (settings.steps - config.learning_starts) // config.train_every
    budget = (
        f"{settings.seeds} trainings for each of {len(PERIODS)} C on {settings.env}, {settings.steps:,} agent steps "
        f"and {updates:,} updates each; {settings.games} games of each policy"
    )
    return Outcome(findings, picture(returns, over, updates, settings.env), budget)


def _spearman(values: np.ndarray) -> float:
    """Rank correlation with C; 0 where all values are alike."""
    return float(spearmanr(PERIODS[: len(values)], values).statistic) if np.ptp(values) else 0.0


def picture(returns: np.ndarray, over: np.ndarray, updates: int, env: str):
    """Left: return against C. Right: overestimation against C. A dot a seed, a line through the means."""
    figure, axes = canvas(1, 2, width=12.5, height=5.2)
    most, high = PERIODS[int(returns.mean(axis=0).argmax())], float(over[:, 0].mean())
    titles = (
        f"Return is highest at C = {most:,}",
        f"At C = 1, Q is {abs(high):,.0f} too {'high' if high > 0 else 'low'}",
    )
    names = ("return of the learned policy", "max Q less what followed, discounted")
    for panel, values, title, name, colour in zip(
        axes[0], (returns, over), titles, names, (BLUE, VERMILION), strict=True
    ):
        panel.axvspan(updates, PERIODS[-1] * 2, color=LIGHT_GREY, alpha=0.5, linewidth=0, label="never copied")
        panel.plot(PERIODS, values.mean(axis=0), "o-", color=colour, linewidth=3, markersize=9, label="mean")
        panel.plot(PERIODS, values.T, "o", color=GREY, markersize=4, zorder=3)
        panel.plot([], [], "o", color=GREY, markersize=4, label="one training")
        panel.set(xscale="log", xlim=(0.6, PERIODS[-1] * 2))
        label(panel, title, "C, updates between two copies", name)
        panel.set_title(title, loc="left", fontsize=16, fontweight="bold")
        panel.tick_params(labelsize=13)
    axes[0, 1].axhline(0, color=GREY, linewidth=1)
    axes[0, 1].set_yscale("symlog", linthresh=1)
    axes[0, 1].legend_.remove()
    figure.text(0.995, 0.005, env, ha="right", fontsize=11, color=GREY)
    return figure
