"""DQN without its memory, without its target network and without both: what each is worth on two small tasks.

Lecture: L4, Machine learning lecture
Slide: DQN Overview
Says: "Experience replay (collect and replay state, action, reward, and resulting state < s_t, a_t, r_t, s_t+1 >)";
    "Delayed (periodic) update of target Q̂"
Doubt: The slide names both and measures neither. Mnih et al. (2015) took them away on five Atari games after 10 million
    frames; on small tasks each may cost more than it brings. Here a network without memory learns from the newest
    minibatch, one without target has Q̂ = Q at every update; nothing else differs, the number of updates included.
Kind: chance
"""

from dataclasses import dataclass

import numpy as np
import torch

from agents.algorithm import Training
from agents.replay import Replay
from lab.console import bar
from lab.lectures import Outcome, check, report, setting
from lab.lectures.core import _agents
from lab.plots import BLUE, GREEN, ORANGE, VERMILION, canvas, label
from lab.stats import band, bootstrap

CATCH = _agents.variant(_agents.CATCH, size=7)
TASKS = {"Catch": (CATCH, 1.0), "CartPole": (_agents.CARTPOLE, 100.0)}
"""Environment, and the largest |Q| that any policy can have: reward 1 once; 1 a step without end, so 1/(1 - γ)."""
ARMS = {"full": (True, True), "no replay": (False, True), "no target": (True, False), "neither": (False, False)}
GAMES = 10  # of each learned policy
COLOURS = dict(zip(ARMS, (BLUE, ORANGE, GREEN, VERMILION), strict=True))


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(10, 2, 50, quick=2)
    """Trainings of each arm on each task."""
    catch_steps: int = setting(2500, 300, 1_000_000, quick=400)
    """Agent steps on Catch (7 x 7 pixels), one update in four."""
    cartpole_steps: int = setting(4000, 600, 1_000_000, quick=600)
    """Agent steps on CartPole, one update in four."""


class Newest(Replay):
    """No memory: the minibatch is always what came last."""

    def _draw(self, batch_size: int) -> tuple[torch.Tensor, torch.Tensor]:
        oldest, end = self.whole()
        rows = torch.arange(max(oldest, end - 2 * batch_size), end) % self.rows
        slot = (rows[:, None] * self.num_envs + torch.arange(self.num_envs)).flatten()  # oldest first
        slot = slot[self.live[slot]][-batch_size:]
        return slot, torch.ones(len(slot))


def newest(training: Training) -> Newest:
    usual = training.replay
    shape, config = usual.frames.shape[1:], training.config
    return Newest(config.replay_capacity, usual.num_envs, shape, usual.frames.dtype, stack=usual.stack, seed=0)


def train(task: str, arm: str, steps: int, seed: int) -> tuple[np.ndarray, float, float]:
    """The learning curve, the learned policy's return and the largest |Q| of any state met while learning."""
    replay, target = ARMS[arm]
    config = _agents.settings(TASKS[task][0], steps, seed, **({} if target else {"target_every": 1}))
    largest = 0.0

    def watch(training: Training) -> None:
        nonlocal largest
        if training.updates % 20 == 0:
            agent = training.agent
            with torch.no_grad():
                largest = max(largest, float(agent.values(agent.q, torch.from_numpy(training.state)).abs().max()))

    learned = _agents.learn(config, None if replay else newest, watch)
    return learned.curve()[1], float(_agents.games(learned.agent, config, GAMES).returns.mean()), largest


def measure(settings: Settings) -> Outcome:
    steps = {"Catch": settings.catch_steps, "CartPole": settings.cartpole_steps}
    curves: dict[tuple[str, str], np.ndarray] = {}
    findings = []
    with bar("ablation", len(TASKS) * len(ARMS) * settings.seeds, "trainings") as advance:
        for task in TASKS:
            means, largest = {}, {}
            for arm in ARMS:
                runs = []
                for seed in range(settings.seeds):
                    runs.append(train(task, arm, steps[task], seed))
                    advance()
                curves[task, arm] = np.array([curve for curve, _, _ in runs])
                means[arm] = np.nanmean(curves[task, arm], axis=1)
                largest[arm] = np.array([most for _, _, most in runs]) / TASKS[task][1]
                finals = [final for _, final, _ in runs]
                name = f"{task}, {arm}: return of the learned policy"
                findings.append(report(name, float(np.mean(finals)), bootstrap(finals, np.mean), finals))
            for arm in list(ARMS)[1:]:
                gain = means["full"] - means[arm]
                name = f"{task}: what full DQN returns more than {arm}, mean of the training"
                findings.append(check(name, gain.mean(), "> 0", bootstrap(gain, np.mean), gain))
            name = "largest |Q| over the largest that can be true"
            both, full = largest["neither"], largest["full"]
            findings += [
                check(f"{task}, neither: {name}", both.mean(), "> 1", bootstrap(both, np.mean), both),
                report(f"{task}, full: {name}", full.mean(), bootstrap(full, np.mean), full),
            ]
    budget = f"{len(ARMS)} arms, {settings.seeds} seeds each: " + ", ".join(
        f"{steps[task]:,} agent steps on {task}" for task in TASKS
    )
    return Outcome(findings, picture(curves, steps), budget)


def picture(curves: dict[tuple[str, str], np.ndarray], steps: dict[str, int]):
    """Learning curves of the four arms, a panel for each task."""
    figure, axes = canvas(1, 2, width=13, height=5.6)
    for panel, task in zip(axes[0], TASKS, strict=True):
        means = {}
        for arm, colour in COLOURS.items():
            runs = curves[task, arm]
            known = np.isfinite(runs).all(axis=0)
            at = np.linspace(0, steps[task], runs.shape[1] + 1)[1:][known]
            low, high = band(runs[:, known])
            panel.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
            panel.plot(at, runs[:, known].mean(axis=0), color=colour, linewidth=3, label=arm)
            means[arm] = np.nanmean(runs, axis=1)
        best = max(means, key=lambda arm: means[arm].mean())
        leads = [bootstrap(means[best] - values, np.mean)[0] for arm, values in means.items() if arm != best]
        title = f"{task}: {'full DQN' if best == 'full' else best} learns most"
        if min(leads) <= 0:
            title += ", not for certain"
        label(
            panel,
            title,
            f"agent steps (band: 95 % of the mean of {len(runs)} seeds)",
            "return while learning, last 20 episodes" if task == "Catch" else "",
        )
        panel.set_title(title, loc="left", fontsize=17, fontweight="bold")
        panel.tick_params(labelsize=13)
        panel.legend(loc="upper left", fontsize=14)
    return figure
