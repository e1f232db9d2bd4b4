"""Algorithm 1 line by line: each does what it says, the whole learns Catch and CartPole, and as well as another's DQN.

Lecture: L4, Machine learning lecture
Slide: DQN Algorithm
Says: "Algorithm 1: deep Q-learning with experience replay"; "y_j = r_j if episode terminates at step j+1, r_j + γ
    max_a' Q̂(φ_j+1, a'; θ⁻) otherwise"; "Perform a gradient descent step on (y_j - Q(φ_j, a_j; θ))²"; "Every C steps
    reset Q̂ = Q"
Doubt: As printed it does not learn Atari: the schedule of ε, clipped rewards and errors, the skipped frames and the
    four steps to an update are left out. And "terminates" is silent on time limits: there the rest must be
    bootstrapped.
Kind: chance
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import chisquare

from agents.adapter import Adapter
from agents.config import DQNConfig
from agents.dqn import DQN
from agents.environments import make_envs
from agents.evaluate import evaluate
from agents.replay import Replay
from agents.targets import td_target
from lab.console import bar
from lab.lectures import Finding, Outcome, check, control, report, setting
from lab.lectures.core import _agents
from lab.plots import BLUE, GREY, LIGHT_GREY, ORANGE, canvas, label
from lab.stats import band, bootstrap

TASKS = {"Catch": _agents.CATCH, "CartPole": _agents.CARTPOLE}
GAMES = {"Catch": 100, "CartPole": 20}  # of each learned policy
SIDES = {"ours": BLUE, "SB3": ORANGE}


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(8, 2, 50, quick=2)
    """Trainings on each task, here and by Stable-Baselines3."""
    catch_steps: int = setting(9000, 400, 1_000_000, quick=400)
    """Agent steps on Catch, one update in four."""
    cartpole_steps: int = setting(8000, 600, 1_000_000, quick=600)
    """Agent steps on CartPole, one update in four."""
    capacity: int = setting(64, 16, 10_000)
    """N of the traced run."""
    period: int = setting(25, 2, 1000)
    """C of the traced run, in updates."""


@dataclass
class Trace:
    """What the traced run did, step by step."""

    stored: list[int]
    """|D|"""
    apart: list[float]
    """Largest difference between a weight of Q and of Q̂ after the step."""
    moved: list[float]
    """Largest difference between Q̂ after the step and before it."""
    elsewhere: list[float]
    """Largest gradient at the output of an action that was not chosen."""
    chosen: list[float]
    """Smallest gradient at the output of the action chosen; 0 would be no learning."""


def algorithm1(capacity: int, period: int, steps: int = 200) -> Trace:
    """The slide, line by line, on Catch; one environment, an update a step. Returns what happened."""
    config = _agents.settings(_agents.CATCH, steps, 0, num_envs=1, batch_size=8)
    envs = make_envs(config, 1)
    trace, random = Trace([], [], [], [], []), torch.Generator().manual_seed(0)
    # Initialize replay memory D to capacity N, Q with random weights θ, Q̂ with weights θ⁻ = θ
    memory = Replay(capacity, 1, (10, 10), torch.uint8, stack=1, seed=0)
    agent = DQN((1, 10, 10), 3, config, torch.device("cpu"))
    gradient: list[torch.Tensor] = []
    agent.q.head.register_full_backward_hook(lambda _, __, outputs: gradient.append(outputs[0][..., 0].clone()))
    # Initialize sequence s1 = {x1} and preprocessed sequence φ1 = φ(s1)
    state, _ = envs.reset(seed=0)
    live = np.array([True])
    for t in range(steps):
        # With probability ε select a random action a_t, otherwise select a_t = argmax_a Q(φ(s_t), a; θ)
        action = agent.act(state, 0.2, random)
        # Execute action a_t in emulator and observe reward r_t and image x_t+1
        following, reward, terminated, truncated, _ = envs.step(action)
        # Store transition (φ_t, a_t, r_t, φ_t+1) in D
        memory.add(state[:, -1], action, reward, terminated, live)
        state, live = following, ~(terminated | truncated)
        before = [weights.clone() for weights in agent.target.parameters()]
        if t >= 10:
            # Sample random minibatch of transitions (φ_j, a_j, r_j, φ_j+1) from D
            batch = memory.sample(config.batch_size)
            # Set y_j; perform a gradient descent step on (y_j - Q(φ_j, a_j; θ))²
            agent.update(agent.study(batch))
            each = torch.arange(len(batch.action))
            trace.chosen.append(float(gradient[-1][each, batch.action].abs().min()))
            gradient[-1][each, batch.action] = 0
            trace.elsewhere.append(float(gradient[-1].abs().max()))
        # Every C steps reset Q̂ = Q
        if (t + 1) % period == 0:
            agent.sync()
        trace.stored.append(len(memory))
        trace.apart.append(_apart(agent.q.parameters(), agent.target.parameters()))
        trace.moved.append(_apart(agent.target.parameters(), before))
    envs.close()
    return trace


def _apart(left: Any, right: Any) -> float:
    return max(float((a - b).detach().abs().max()) for a, b in zip(left, right, strict=True))


def memory_of(capacity: int, added: int) -> Replay:
    """A memory to which numbered transitions were added: the reward is the number."""
    memory = Replay(capacity, 1, (1,), torch.float32, stack=1, seed=0)
    for number in range(added):
        memory.add(np.zeros((1, 1)), np.zeros(1), np.array([float(number)]), np.array([False]), np.array([True]))
    return memory


def ours(config: DQNConfig, games: int) -> tuple[np.ndarray, float]:
    """The training curve and the learned policy's return."""
    learned = _agents.learn(config)
    return learned.curve()[1], float(evaluate(learned.agent, config, games)["return"].mean())


def sb3(config: DQNConfig, games: int) -> tuple[np.ndarray, float]:
    """The same of Stable-Baselines3's DQN, with the same settings, environments and budget."""
    from stable_baselines3.common.callbacks import BaseCallback

    from agents import peers
    from agents.peer_config import SB3DQNConfig

    class Episodes(BaseCallback):
        def _on_step(self) -> bool:
            episodes.extend((step, total) for step, total, _ in adapter.episodes)
            return True

    episodes: list[tuple[int, float]] = []
    theirs = SB3DQNConfig.like(config)
    adapter = Adapter(make_envs(peers.played(theirs), theirs.num_envs), theirs.clip_rewards)
    model = peers.build(theirs, adapter, torch.device("cpu"))
    model.learn(theirs.total_steps, callback=Episodes(), log_interval=None)
    adapter.close()
    player: Any = peers.Player(model)
    curve = _agents.curve(np.array(episodes, float).reshape(-1, 2), config.total_steps)[1]
    return curve, float(evaluate(player, peers.played(theirs), games)["return"].mean())


def ratio(left: np.ndarray, right: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Ratio of the means of two samples of seeds, with its 95 % bootstrap interval."""
    random = np.random.default_rng(0)
    drawn = [each[random.integers(len(each), size=(2000, len(each)))].mean(axis=1) for each in (left, right)]
    low, high = np.quantile(drawn[0] / np.maximum(drawn[1], 1e-9), [0.025, 0.975])
    return float(left.mean() / max(right.mean(), 1e-9)), (float(low), float(high))


def parts(settings: Settings, trace: Trace) -> list[Finding]:
    """Does each line do what it says?"""

    def y(terminal: bool) -> float:
        ends = torch.tensor([terminal])
        return round(float(td_target(torch.tensor([1.0]), ends, torch.tensor([2.0]), 0.99)), 6)

    most, added = settings.capacity, int(2.5 * settings.capacity)
    synced = (np.arange(len(trace.stored)) + 1) % settings.period == 0
    memory = memory_of(most, added)
    oldest, end = memory.whole()  # of which states and next states are there
    left = np.sort(memory.rewards.numpy())
    drawn = memory.sample(2000 * most).reward.numpy().astype(int)  # which transitions
    counts = np.histogram(drawn, np.arange(oldest, end + 1))[0]
    return [
        check("y for r = 1, γ = .99, max Q̂ = 2", y(False), "== 2.98"),
        check("y for r = 1 where the episode ends", y(True), "== 1"),
        check(f"traced run: largest |D|, N = {most}", max(trace.stored), f"<= {most}"),
        check(f"D: newest of {added} stored that are in it, in order", float((left == np.arange(added)[-most:]).mean()),
              "== 1"),
        check("D: p of the χ² test that draws are uniform", float(chisquare(counts).pvalue), "> 0.01"),
        check("largest gradient at an output not chosen", max(trace.elsewhere), "== 0"),
        check("smallest gradient at the output chosen", min(trace.chosen), "> 0"),
        check("largest change of Q̂ between copies", float(np.array(trace.moved)[~synced].max()), "== 0"),
        check("largest difference of Q̂ and Q after a copy", float(np.array(trace.apart)[synced].max()), "== 0"),
    ]  # fmt: skip


def measure(settings: Settings) -> Outcome:
    steps = {"Catch": settings.catch_steps, "CartPole": settings.cartpole_steps}
    trace = algorithm1(settings.capacity, settings.period)
    findings = parts(settings, trace)
    curves: dict[tuple[str, str], np.ndarray] = {}
    with bar("Algorithm 1", len(TASKS) * len(SIDES) * settings.seeds, "trainings") as advance:
        for task, env in TASKS.items():
            finals: dict[str, np.ndarray] = {}
            for side in SIDES:
                runs = []
                for seed in range(settings.seeds):
                    config = _agents.settings(env, steps[task], seed)
                    runs.append((ours if side == "ours" else sb3)(config, GAMES[task]))
                    advance()
                curves[task, side] = np.array([run for run, _ in runs])
                finals[side] = np.array([final for _, final in runs])
                findings.append(report(f"{task}, {side}: return of the learned policy", finals[side].mean(),
                                       bootstrap(finals[side], np.mean), finals[side]))  # fmt: skip
            if task == "Catch":
                good = finals["ours"] >= 0.9
                findings.append(check(f"Catch: share of {settings.seeds} seeds that return at least .9", good.mean(),
                                      "== 1", values=good))  # fmt: skip
                finals = {side: (1 + final) / 2 for side, final in finals.items()}  # share of balls caught: above 0
            over, interval = ratio(finals["ours"], finals["SB3"])
            name = "balls caught" if task == "Catch" else "return"
            findings.append(control(check(f"{task}: {name}, ours over SB3's", over, "in 0.8 .. 1.2", interval)))
    budget = (
        f"{settings.seeds} seeds each of ours and Stable-Baselines3's: {steps['Catch']:,} agent steps on Catch and "
        f"{steps['CartPole']:,} on CartPole; a traced run of {len(trace.stored)} steps"
    )
    return Outcome(findings, picture(curves, steps, trace, settings), budget)


def picture(curves: dict[tuple[str, str], np.ndarray], steps: dict[str, int], trace: Trace, settings: Settings):
    """Learning curves on both tasks with ticks where Q̂ = Q, and how far Q gets from Q̂ in the traced run."""
    figure, axes = canvas(1, 3, width=15, height=4.8)
    for panel, (task, env) in zip(axes[0], TASKS.items(), strict=False):
        config = _agents.settings(env, steps[task], 0)
        every = config.target_every * config.train_every
        panel.eventplot(np.arange(config.learning_starts + every, steps[task], every), lineoffsets=0.015,
                        linelengths=0.03, colors=GREY, transform=panel.get_xaxis_transform(), linewidths=1)  # fmt: skip
        ends = {}
        for side, colour in SIDES.items():
            runs = curves[task, side]
            known = np.isfinite(runs).all(axis=0)
            at = np.linspace(0, steps[task], runs.shape[1] + 1)[1:][known]
            panel.fill_between(at, *band(runs[:, known]), color=colour, alpha=0.18, linewidth=0)
            panel.plot(at, runs[:, known].mean(axis=0), color=colour, linewidth=3, label=side)
            ends[side] = runs[:, -1].mean()
        title = f"{task}: {ends['ours']:.3g} ours, {ends['SB3']:.3g} SB3's"
        label(panel, title, "agent steps (ticks: Q̂ = Q)", "return, last 20 episodes of training")
        panel.set_title(title, loc="left", fontsize=16, fontweight="bold")
        panel.legend(loc="upper left", fontsize=14)
    last = axes[0, 2]
    for copy in range(settings.period, len(trace.apart) + 1, settings.period):
        last.axvline(copy, color=LIGHT_GREY, linewidth=1)
    last.plot(np.arange(len(trace.apart)) + 1, trace.apart, color=BLUE, linewidth=2.5)
    label(last, "", "agent steps of the traced run", "largest difference of a weight of Q and Q̂")
    last.set_title(f"Every {settings.period} steps Q̂ = Q", loc="left", fontsize=16, fontweight="bold")
    return figure
