"""Two ways to fail: a T-maze needs memory, a sparse chain only exploration; Montezuma's revenge is more like the chain.

Lecture: L4, Machine learning lecture
Slide: DQN: Summary
Says: "Limitations: cannot do complex planning requiring long term memory, e.g., Montezuma's revenge game."
Doubt: True of memory: beyond its four frames DQN is blind. But Montezuma's revenge is chiefly a matter of exploration:
    random play never scores, so there is nothing to remember yet. A chain on which everything is in sight, and which
    needs no memory at all, defeats DQN as well once it is long.
Kind: chance
"""

from dataclasses import dataclass

import numpy as np

from agents.config import preset
from agents.environments import make_envs
from lab.console import bar
from lab.lectures import Finding, Outcome, check, doubt, report, setting
from lab.lectures.core import _agents, _recurrent
from lab.plots import BLUE, GREY, LIGHT_GREY, ORANGE, VERMILION, canvas, label
from lab.stats import bootstrap, proportion

CORRIDORS = (2, 6, 10)  # steps from the cue to the junction; a stack of 4 sees over 3
CHAINS = (4, 8, 16, 32)  # states
STACK = 4
GAMES = 200  # of each learned policy
MONTEZUMA = "ALE/MontezumaRevenge-v5"


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(3, 2, 50, quick=2)
    """Trainings of each agent on each corridor, and of DQN on each chain."""
    maze_steps: int = setting(4000, 400, 1_000_000, quick=400)
    """Agent steps of a training on a T-maze."""
    chain_steps: int = setting(4000, 400, 1_000_000, quick=400)
    """Agent steps of a training on a chain."""
    random_steps: int = setting(20_000, 80, 10_000_000, quick=800)
    """Agent steps of random play of Montezuma's revenge."""


def maze(corridor: int, steps: int, seed: int, recurrent: bool) -> float:
    """The share of mazes solved, by DQN with four frames or with an LSTM."""
    env = _agents.variant("lab/TMaze-v0", corridor=corridor)
    common = {"gamma": 0.9, "epsilon_steps": steps * 2 // 3}
    if recurrent:
        config = _agents.settings(env, steps, seed, train_every=8, learning_rate=5e-3, **common)
        returns = _recurrent.returns(_recurrent.learn(config)[0], config, GAMES)
    else:
        config = _agents.settings(env, steps, seed, stack=STACK, **common)
        returns = _agents.games(_agents.learn(config).agent, config, GAMES).returns
    return float((returns > 0).mean())  # the right side, after fewer than ten walls


def chain(length: int, steps: int, seed: int) -> float:
    """1 if the policy learned by DQN reaches the end of the chain, else 0: neither knows chance."""
    config = _agents.settings(_agents.variant("lab/Chain-v0", length=length), steps, seed, epsilon_steps=steps // 2)
    return float(_agents.games(_agents.learn(config).agent, config, 1).returns[0] > 0)


def montezuma(steps: int) -> float:
    """What random play of 8 games side by side scored in `steps` agent steps."""
    games, random = make_envs(preset(MONTEZUMA), 8), np.random.default_rng(0)
    games.reset(seed=0)
    total = 0.0
    for _ in range(steps // 8):
        total += games.step(random.integers(games.single_action_space.n, size=8))[1].sum()
    games.close()
    return total


def measure(settings: Settings) -> Outcome:
    seeds = range(settings.seeds)
    stacked, recurrent, chains = (np.empty((settings.seeds, len(places))) for places in (CORRIDORS, CORRIDORS, CHAINS))
    with bar("memory and exploration", settings.seeds * (2 * len(CORRIDORS) + len(CHAINS)), "trainings") as advance:
        for seed in seeds:
            for at, corridor in enumerate(CORRIDORS):
                stacked[seed, at] = maze(corridor, settings.maze_steps, seed, recurrent=False)
                recurrent[seed, at] = maze(corridor, settings.maze_steps, seed, recurrent=True)
                advance(2)
            for at, length in enumerate(CHAINS):
                chains[seed, at] = chain(length, settings.chain_steps, seed)
                advance()
    findings: list[Finding] = []
    for corridor, of_stack, of_lstm in zip(CORRIDORS, stacked.T, recurrent.T, strict=True):
        more, hidden = of_lstm - of_stack, corridor > STACK
        name = f"T-maze, {corridor} steps"
        findings += [
            (check(f"{name}: solved by DQN with 4 frames", of_stack.mean(), "in 0.4 .. 0.6",
                   bootstrap(of_stack, np.mean), of_stack) if hidden else
             report(f"{name}: solved by DQN with 4 frames", of_stack.mean(), bootstrap(of_stack, np.mean), of_stack)),
            report(f"{name}: solved by DQN with an LSTM", of_lstm.mean(), bootstrap(of_lstm, np.mean), of_lstm),
            *([check(f"{name}: what the LSTM solves more", more.mean(), "> 0", bootstrap(more, np.mean), more)]
              if hidden else []),
        ]  # fmt: skip
    for length, solved in zip(CHAINS, chains.T, strict=True):
        interval = proportion(int(solved.sum()), settings.seeds)
        findings.append(
            report(f"chain, {length} states: share of DQNs that reach the end", solved.mean(), interval, solved)
        )
    fewer = chains[:, 0] - chains[:, -1]
    scored = montezuma(settings.random_steps)
    findings += [
        doubt(check(f"chain: share of DQNs that {CHAINS[-1]} states cost", fewer.mean(), "> 0",
                    bootstrap(fewer, np.mean), fewer)),
        doubt(check(f"chain, {CHAINS[-1]} states: any DQN that reaches the end", chains[:, -1].max(), "== 0")),
        doubt(check(f"Montezuma's revenge: score of {settings.random_steps:,} random steps", scored, "== 0")),
    ]  # fmt: skip
    budget = (
        f"{settings.seeds} seeds: DQN with 4 frames and with an LSTM on {len(CORRIDORS)} T-mazes, "
        f"{settings.maze_steps:,} agent steps each, {GAMES} games of each policy; DQN on {len(CHAINS)} chains, "
        f"{settings.chain_steps:,} agent steps each"
    )
    return Outcome(findings, picture(stacked, recurrent, chains, scored, settings.random_steps), budget)


def picture(stacked: np.ndarray, recurrent: np.ndarray, chains: np.ndarray, scored: float, steps: int):
    """Left: T-mazes solved against the corridor. Right: chains solved against their length."""
    figure, axes = canvas(1, 2, width=13, height=5.2, sharey=True)
    left, right = axes[0]
    left.axvspan(CORRIDORS[0] - 1, STACK - 0.5, color=LIGHT_GREY, alpha=0.4, linewidth=0)
    left.text(CORRIDORS[0] - 0.9, 0.03, "four frames\nstill show the cue", fontsize=12, color=GREY)
    left.axhline(0.5, color=GREY, linewidth=1.5, linestyle="--")
    for values, colour, name in ((recurrent, ORANGE, "LSTM"), (stacked, BLUE, "4 frames")):
        left.plot(CORRIDORS, values.mean(axis=0), "o-", color=colour, linewidth=3, markersize=10, label=f"DQN, {name}")
        left.plot(CORRIDORS, values.T, "o", color=colour, markersize=5, alpha=0.5)
    blind = recurrent[:, -1].mean() > stacked[:, -1].mean()
    first = "Memory: four frames guess, an LSTM knows" if blind else "Memory: the LSTM knows no more"
    label(left, first, "steps from the cue to the junction", "share solved")
    left.legend(loc="center right", bbox_to_anchor=(1.0, 0.72), fontsize=14)
    right.plot(CHAINS, chains.mean(axis=0), "o-", color=VERMILION, linewidth=3, markersize=10)
    right.set(xscale="log", xticks=CHAINS, xticklabels=[f"{length}" for length in CHAINS], ylim=(-0.04, 1.08))
    right.minorticks_off()
    second = (
        "Exploration: all in sight, yet unsolved" if not chains[:, -1].any() else "Exploration: long chains are solved"
    )
    label(right, second, "states in the chain")
    right.text(CHAINS[0], 0.05, f"{steps:,} random steps of\nMontezuma's revenge: score {scored:g}", fontsize=14)
    for panel, title in ((left, first), (right, second)):
        panel.set_title(title, loc="left", fontsize=16, fontweight="bold")
        panel.tick_params(labelsize=13)
    return figure
