"""V over a game: it rises before a point is won and falls with a miss. How well does it foresee what follows?

Lecture: L4, Machine learning lecture
Slide: DQN Operation
Says: "Value vs. game state; Game state vs. action value."
Doubt: The slide shows one stretch of one game that was picked. Here whole games that training never saw, and a rank
    correlation over all of their states. V falls when the ball can no longer be reached, before the point is lost;
    with the point it comes back, as a new ball is served. So both moments are measured.
Kind: chance
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from agents.inspect import moments
from agents.played import Play, action_names, following, play
from lab import plots_agents
from lab.console import bar
from lab.lectures import Finding, Outcome, check, report, setting
from lab.lectures.core import _agents
from lab.stats import bootstrap

BEFORE = 20  # agent steps; in Pong about as long as the ball takes from one side to the other
SHOWN = 240  # agent steps in the picture


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(8, 2, 50, quick=2)
    """Games of Pong, each with a seed that training never had."""
    steps: int = setting(0, 0, 3000, quick=200)
    """Agent steps of each game that are looked at; 0: the whole game."""


def changes(game: Play, sign: int, after: int) -> np.ndarray:
    """V `after` steps after each reward of that sign, less V BEFORE steps before it; (events,).

    after: 0, the state in which the step was taken that brought the reward; 1, the one that it led to. Events with
    another reward so shortly before are left out.
    """
    at = np.flatnonzero(sign * game.reward > 0)
    alone = [t for t in at if t >= BEFORE and t + after < len(game.q) and not game.reward[t - BEFORE : t].any()]
    return np.array([game.value[t + after] - game.value[t - BEFORE] for t in alone], float)


def measure(settings: Settings) -> Outcome:
    agent, config, step = _agents.trained()
    agent.bfloat16 = False  # its eight bits would show as noise
    games: list[Play] = []
    with bar("Pong", settings.seeds, "games") as advance:
        for seed in range(settings.seeds):
            games.append(play(agent, config, 0 if settings.steps else 1, settings.steps or 1, seed=5_000_000 + seed))
            advance()
    ranks, told = [], []
    for game in games:
        came = following(game, config.gamma, config.clip_rewards)[game.taken]
        ranks.append(float(spearmanr(game.value[game.taken], came).statistic))
        told.append(float(np.mean(game.value[game.taken] - came)))
    findings = [
        check("rank correlation of V and the discounted return that followed", float(np.mean(ranks)), "> 0.5",
              bootstrap(ranks, np.mean), ranks),
        _event(games, "V just before a point won, less V 20 steps earlier", 1, 0, "> 0"),
        _event(games, "V after a point lost, less V 20 steps before it", -1, 1, "< 0"),
        _event(games, "V just before a point lost (the ball is past), less V 20 steps earlier", -1, 0, "< 0"),
        _event(games, "V after a point won, less V 20 steps before it", 1, 1, ""),
        report("V less what followed, mean over a game", float(np.mean(told)), bootstrap(told, np.mean), told),
        report("points won", float(sum((game.reward > 0).sum() for game in games))),
        report("points lost", float(sum((game.reward < 0).sum() for game in games))),
    ]  # fmt: skip
    steps = sum(int(game.taken.sum()) for game in games)
    budget = f"{len(games)} games of Pong, {steps:,} agent steps, by the policy of {step:,} agent steps"
    names = action_names(config, agent.actions)
    return Outcome(findings, picture(games, config.gamma, config.clip_rewards, names, ranks), budget)


def _event(games: list[Play], name: str, sign: int, after: int, condition: str) -> Finding:
    found = np.concatenate([changes(game, sign, after) for game in games])
    if not len(found):
        return (
            check(f"{name} (there was none)", 0.0, condition, (-np.inf, np.inf)) if condition else report(name, np.nan)
        )
    interval = bootstrap(found, np.mean)
    if not condition:
        return report(name, found.mean(), interval, found)
    return check(name, found.mean(), condition, interval, found)


def picture(games: list[Play], gamma: float, clip: bool, names: list[str], ranks: list[float]):
    """V along a stretch of a game around a point lost, if there is one, with frames and Q at its peaks and troughs."""
    lost = [(number, int(t)) for number, game in enumerate(games) for t in np.flatnonzero(game.reward < 0)]
    number, t = next(((n, t) for n, t in lost if t >= SHOWN // 2), lost[0] if lost else (0, SHOWN // 2))
    game = games[number]
    came = following(game, gamma, clip)
    taken = np.flatnonzero(game.taken)
    start = int(np.clip(t - SHOWN // 2, 0, max(0, len(taken) - SHOWN)))
    part = slice(start, min(start + SHOWN, int(taken[-1]) + 1))
    stretch = game.of(part)
    at = moments(stretch.value)
    pictures = None if stretch.pictures is None else stretch.pictures[at]
    title = f"V follows the game: rank correlation {np.mean(ranks):.2f} with what came ({len(games)} games of Pong)"
    unit = "discounted return" + (" of clipped rewards" if clip else "")
    return plots_agents.value_timeline(
        stretch.value, came[part], stretch.reward, stretch.q, names, at, pictures, title, unit
    )
