"""The greedy action is taken with probability 1 - ε + ε/|A|, and without any ε a deceptive chain is not solved.

Lecture: L4, Machine learning lecture
Slide: DQN Overview; DQN Algorithm
Says: "ε-greedy policy based on the learned Q(s,a)"; "With probability ε select a random action a_t, otherwise select
    a_t = argmax_a Q(φ(s_t), a; θ)"
Doubt: A random action may be the greedy one, so ε is not the share of other actions: that is ε (1 - 1/|A|). And the
    slide gives no schedule, which matters more than the rule: with ε = 0 only the chance of the first weights explores.
Kind: chance
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import binom

from agents.exploration import epsilon_greedy
from lab.console import bar
from lab.lectures import Outcome, check, report, setting
from lab.lectures.core import _agents
from lab.plots import BLACK, BLUE, GREEN, GREY, VERMILION, canvas, label
from lab.stats import band, bootstrap

CHAIN = "lab/DeceptiveChain-v0"  # 6 states, 1 at the goal, .1 for stepping out
EPSILONS = (0.0, 0.05, 0.1, 0.25, 0.5, 1.0)


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(10, 2, 100, quick=4)
    """Trainings on the chain, each with ε = 0 and with ε annealed from 1."""
    steps: int = setting(2000, 600, 100000, quick=1500)
    """Agent steps of each training."""
    draws: int = setting(50_000, 100, 10_000_000)
    """Actions chosen for each ε."""
    actions: int = setting(4, 2, 18)
    """|A|, for the shares."""


def share_greedy(epsilon: float, actions: int, draws: int) -> float:
    """In what share of `draws` times the rule takes the best of `actions` actions."""
    values = torch.zeros(draws, actions)
    values[:, 1] = 1.0
    chosen = epsilon_greedy(values, epsilon, torch.Generator().manual_seed(round(1000 * epsilon)))
    return float((chosen == 1).float().mean())


def train(epsilon: float, steps: int, seed: int) -> tuple[np.ndarray, float]:
    """The training curve on the chain, ε falling from `epsilon` to a twentieth of it, and the policy's return then."""
    config = _agents.settings(
        CHAIN, steps, seed, epsilon_start=epsilon, epsilon_end=epsilon / 20, epsilon_steps=steps // 2
    )
    learned = _agents.learn(config)
    return learned.curve()[1], _agents.games(learned.agent, config, 1).returns[
        0
    ]  # chain and policy know no chance: one game


def usual(probability: float, draws: int) -> tuple[float, float]:
    """Between which shares 95 % of all samples of `draws` lie, if an action is taken with this probability."""
    low, high = binom.ppf([0.025, 0.975], draws, probability) / draws
    return float(low), float(high)


def measure(settings: Settings) -> Outcome:
    actions, findings, shares = settings.actions, [], []
    for epsilon in EPSILONS:
        low, high = usual(1 - epsilon + epsilon / actions, settings.draws)
        shares.append(share_greedy(epsilon, actions, settings.draws))
        name = f"share of greedy actions of {actions}, ε = {epsilon:g}"
        findings.append(check(name, shares[-1], f"in {low:.6g} .. {high:.6g}"))
    curves: dict[float, list[np.ndarray]] = {0.0: [], 1.0: []}
    finals: dict[float, list[float]] = {0.0: [], 1.0: []}
    with bar("chain", 2 * settings.seeds, "trainings") as advance:
        for epsilon in curves:
            for seed in range(settings.seeds):
                curve, final = train(epsilon, settings.steps, seed)
                curves[epsilon].append(curve)
                finals[epsilon].append(final)
                advance()
    gain = np.subtract(finals[1.0], finals[0.0])
    findings += [
        check("chain: what annealed ε returns more than ε = 0", gain.mean(), "> 0", bootstrap(gain, np.mean), gain),
        *(report(f"chain: return of the policy learned with {name}", float(np.mean(finals[epsilon])),
                 bootstrap(finals[epsilon], np.mean), finals[epsilon])
          for epsilon, name in ((0.0, "ε = 0"), (1.0, "ε annealed from 1"))),
    ]  # fmt: skip
    budget = (
        f"{settings.draws:,} draws for each of {len(EPSILONS)} ε; {2 * settings.seeds} trainings of {settings.steps:,} "
        f"agent steps on a deceptive chain of 6 states"
    )
    return Outcome(findings, picture(shares, actions, settings.steps, curves, finals), budget)


def picture(
    shares: list[float], actions: int, steps: int, curves: dict[float, list[np.ndarray]],
    finals: dict[float, list[float]],
):  # fmt: skip
    """Left: the share of greedy actions against ε. Right: learning on the chain with and without exploration."""
    figure, axes = canvas(1, 2, width=12, height=5)
    left, right = axes[0]
    epsilon = np.linspace(0, 1, 2)
    left.plot(epsilon, 1 - epsilon + epsilon / actions, color=BLUE, linewidth=3, label=f"1 − ε + ε/{actions}")
    left.plot(epsilon, 1 - epsilon, "--", color=GREY, label="1 − ε: were random actions others")
    left.plot(EPSILONS, shares, "o", color=BLACK, markersize=10, label="measured")
    worst = max(abs(share - 1 + e - e / actions) for share, e in zip(shares, EPSILONS, strict=True))
    label(left, f"1 − ε + ε/|A| is right to {worst:.1g}", "ε", "share of greedy actions")
    for start, colour, name in ((0.0, VERMILION, "ε = 0"), (1.0, GREEN, "ε annealed from 1 to .05")):
        runs = np.array(curves[start])
        known = np.isfinite(runs).all(axis=0)
        at = np.linspace(0, steps, runs.shape[1] + 1)[1:][known]
        low, high = band(runs[:, known])
        right.fill_between(at, low, high, color=colour, alpha=0.2, linewidth=0)
        right.plot(at, runs[:, known].mean(axis=0), color=colour, linewidth=3, label=name)
    solved = [sum(final >= 1 for final in finals[start]) for start in (0.0, 1.0)]
    title = f"Goal found in {solved[0]} of {len(finals[0.0])} without ε, in {solved[1]} of {len(finals[1.0])} with it"
    label(right, title, f"agent steps (band: 95 % of the mean of {len(curves[0.0])} seeds)", "return while learning")
    right.set_title(title, loc="left", fontsize=14)
    for level, name, at, end in ((1.0, "goal", 0.01, "left"), (0.1, "lure", 0.99, "right")):  # where no curve is
        right.axhline(level, color=GREY, linewidth=1, linestyle=":")
        right.text(at * steps, level + 0.01, name, color=GREY, va="bottom", ha=end, fontsize=12)
    right.set_xlim(0, steps)
    right.set_ylim(-0.03, 1.25)
    right.legend(loc="upper right")
    return figure
