"""Superhuman on over half of the games? Trained policies by the human-normalised score; only games attempted count.

Lecture: L4, Machine learning lecture
Slide: DQN Results
Says: "Superhuman performance on over half of the games."
Doubt: The paper's own criterion is lower: at least 75 % of a human tester's score, on 29 of 49 games, after 200 million
    frames of each. Scores compare only under one protocol (here the classic one; with sticky actions they are others)
    and one table of human scores (DM-57; by the paper's own Pong is easier). A share of few games says little: see
    its interval.
Kind: chance
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import envs
from agents import evaluate
from agents.config import preset
from agents.environments import make_envs
from agents.scores import of_game
from lab.console import bar
from lab.errors import InputError
from lab.lectures import Finding, Outcome, check, report, setting
from lab.lectures.core import _agents
from lab.plots import BLACK, BLUE, GREY, LIGHT_GREY, ORANGE, canvas, label
from lab.stats import bootstrap, human_normalised, proportion

ROMS = ("Pong", "Breakout", "MsPacman", "SpaceInvaders", "Seaquest", "Boxing", "Qbert", "MontezumaRevenge")
FRAMES = 4  # of an agent step
MOST = 5000  # agent steps of random play; a game that goes on counts as far as it came


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(5, 2, 100, quick=2)
    """Games of each policy, and random games of each ROM, each with a seed of its own."""
    roms: int = setting(8, 1, len(ROMS), quick=2)
    """ROMs on which random play is measured."""
    play: bool = setting(True, quick=False)
    """Whether trained policies play anew; else the games recorded when they were trained count."""
    runs: str = setting("")
    """Folder whose folders are runs of lab train dqn; empty: results/atari of the project."""


@dataclass(frozen=True)
class Policy:
    """A trained policy and what it scored."""

    game: str
    frames: int
    """That it was trained for."""
    returns: np.ndarray

    def percent(self, returns: np.ndarray) -> np.ndarray:
        """Human-normalised scores, of DM-57."""
        random, human = of_game(f"ALE/{self.game}-v5") or (np.nan, np.nan)
        return np.array([human_normalised(score, random, human) for score in returns])


def random_returns(game: str, number: int) -> np.ndarray:
    """Returns (number,) of random play, one whole game in each of so many environments (at most MOST steps)."""
    games, random = make_envs(preset(f"ALE/{game}-v5"), number), np.random.default_rng(0)
    games.reset(seed=0)
    total, on = np.zeros(number), np.ones(number, bool)
    for _ in range(MOST):
        _, reward, terminated, truncated, _ = games.step(random.integers(games.single_action_space.n, size=number))
        total += np.where(on, reward, 0.0)
        on &= ~(terminated | truncated)
        if not on.any():
            break
    games.close()
    return total


def policies(folder: Path, games: int, play: bool) -> list[Policy]:
    """The trained policies in `folder`: of each game of DM-57 the one with most frames, if played by the classic rules.

    Raises InputError if there is none.
    """
    found: dict[str, Policy] = {}
    for path in sorted(each.parent for each in folder.glob("*/policy")):
        agent, config, step = evaluate.load(path)
        name, recorded = envs.bare(config.env), path / "evaluation.csv"
        if not of_game(name) or config.protocol != "classic":
            continue
        game = name.removeprefix("ALE/").removesuffix("-v5")
        if game in found and found[game].frames >= FRAMES * step:
            continue
        scores = evaluate.evaluate(agent, config, games) if play or not recorded.exists() else pd.read_csv(recorded)
        found[game] = Policy(game, FRAMES * step, scores["return"].to_numpy(float))
    if not found:
        raise InputError(f"{folder} holds no policy trained on Atari by the classic rules; lab train dqn makes one")
    return list(found.values())


def measure(settings: Settings) -> Outcome:
    played: dict[str, np.ndarray] = {}
    with bar("Atari", settings.roms + 1, "games") as advance:
        trained = policies(Path(settings.runs) if settings.runs else _agents.TRAINED, settings.seeds, settings.play)
        advance()
        for game in ROMS[: settings.roms]:
            played[game] = random_returns(game, settings.seeds)
            advance()
    scores = {policy.game: float(policy.percent(policy.returns).mean()) for policy in trained}
    above = {bound: sum(score > bound for score in scores.values()) for bound in (100, 75)}
    number, findings = len(trained), list[Finding]()
    over = [score > 100 for score in scores.values()]
    findings += [
        check("share of games attempted with more than 100 % of a human's score", above[100] / number, "> 0.5",
              proportion(above[100], number), over),
        report("share of games attempted with more than 75 %, the paper's criterion", above[75] / number,
               proportion(above[75], number)),
        report("games attempted", number),
    ]  # fmt: skip
    for policy in trained:
        percent = policy.percent(policy.returns)
        million = f"{policy.frames / 1e6:.1f} million frames"
        findings.append(report(f"{policy.game} after {million}: % of a human's score", percent.mean(),
                               bootstrap(percent, np.mean), percent))  # fmt: skip
    for game, returns in played.items():
        findings.append(report(f"{game}: score of random play", returns.mean(), bootstrap(returns, np.mean), returns))
    budget = (
        f"{number} of 49 games attempted ({', '.join(f'{each.game}: {each.frames:,} frames' for each in trained)}), "
        f"{', '.join(str(len(each.returns)) for each in trained)} games of each policy; {settings.seeds} random games "
        f"of each of {len(played)} ROMs"
    )
    return Outcome(findings, picture(scores, trained, played), budget)


def picture(scores: dict[str, float], trained: list[Policy], played: dict[str, np.ndarray]):
    """Human-normalised scores, sorted: trained policies, and random play where nothing was trained."""
    figure, axes = canvas(width=11, height=1.8 + 0.5 * len(scores.keys() | played))
    panel = axes[0, 0]
    frames = {policy.game: policy.frames for policy in trained}
    rows = dict(scores)
    for game, returns in played.items():
        rows.setdefault(game, float(Policy(game, 0, returns).percent(returns).mean()))
    for place, (game, score) in enumerate(sorted(rows.items(), key=lambda row: row[1])):
        panel.barh(place, score, color=BLUE if game in frames else LIGHT_GREY, height=0.7)
        what = f"{score:.0f} %, {frames[game] / 1e6:.1f} million frames" if game in frames else f"random: {score:.1f} %"
        panel.text(max(score, 0) + 2, place, what, va="center", fontsize=13, color=BLACK if game in frames else GREY)
    panel.set_yticks(range(len(rows)), sorted(rows, key=lambda game: rows[game]), fontsize=13)
    for bound, name in ((75, "75: the paper's line "), (100, " 100: human")):
        panel.axvline(bound, color=ORANGE, linewidth=2, linestyle="--")
        panel.text(bound, len(rows) - 0.45, name, color=ORANGE, fontsize=13, va="bottom",
                   ha="left" if bound == 100 else "right")  # fmt: skip
    panel.set_ylim(-0.6, len(rows) + 0.1)
    panel.set_xlim(1.1 * min(-5, *rows.values()), max(190, max(rows.values()) * 1.6))
    above = sum(score > 100 for score in scores.values())
    title = f"Above human on {above} of {len(scores)} game{'s' * (len(scores) > 1)} attempted; the paper tried 49"
    label(panel, title, "human-normalised score, % (DM-57: 0 is random play, 100 a human tester)")
    panel.set_title(title, loc="left", fontsize=17, fontweight="bold")
    return figure
