"""What lets DQN see motion is the stack of frames: with one frame neither a convolution nor an MLP knows where to.

Lecture: L4, Machine learning lecture
Slide: DQN: Summary
Says: "Convolutional network part enables continous video input."
Doubt: It is the stack that gives motion, not the convolution: a net of fully connected layers reads it off four frames
    too. The probe asks after random play: while playing, a paddle that lags behind the ball betrays its direction even
    in one frame, so that a score alone shows less.
Kind: chance
"""

from dataclasses import dataclass

import gymnasium
import numpy as np
from gymnasium.wrappers import FlattenObservation

from agents.dqn import DQN
from agents.environments import make_envs
from agents.inspect import hidden
from envs.catch import Catch
from lab.console import bar
from lab.lectures import Outcome, check, doubt, report, setting
from lab.lectures.core import _agents
from lab.plots import BLACK, BLUE, GREY, ORANGE, canvas, label
from lab.stats import bootstrap

SIZE = 6  # pixels; in every row but the first the ball's column is as likely on its way left as on its way right
CONV = _agents.variant("lab/DiagonalCatch-v0", size=SIZE)
MLP = f"lab/FlatDiagonalCatch-{SIZE}-v0"
NETS = {"conv": CONV, "MLP": MLP}  # the bench has convolutions for images, fully connected layers for vectors
COLOURS = {"conv": BLUE, "MLP": ORANGE}
STACKS = (1, 4)

if MLP not in gymnasium.registry:
    gymnasium.register(MLP, lambda **options: FlattenObservation(Catch(SIZE, diagonal=True, **options)))


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(6, 2, 50, quick=2)
    """Trainings of each net with each stack."""
    steps: int = setting(6000, 400, 1_000_000, quick=400)
    """Agent steps of each training, one update in four."""
    episodes: int = setting(640, 32, 100_000, quick=160)
    """Games of random play whose states are probed; one half fits the probe, the other tests it."""


def random_play(env: str, stack: int, episodes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """States (n, stack, *frame) and the ball's velocity in them (n,), -1 or 1.

    Left out are the first of each game, in which nothing has moved yet, and the last, in which no agent ever acts.
    """
    config = _agents.settings(env, 1000, seed, stack=stack)
    number = 32
    games, random = make_envs(config, number), np.random.default_rng(seed)
    games.reset(seed=seed)
    states, velocities = [], []
    for step in range(-(-episodes // number) * SIZE):
        state, *_, info = games.step(random.integers(3, size=number))
        if step % SIZE < SIZE - 2:  # games are equally long: SIZE - 1 steps, and one that only resets them
            states.append(state)
            velocities.append(info["velocity"])
    games.close()
    return np.concatenate(states), np.concatenate(velocities)


def probe(agent: DQN, states: np.ndarray, velocity: np.ndarray) -> float:
    """How often a linear probe of the last hidden layer tells left from right, on the half it was not fitted to."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    inside, half = hidden(agent, states), len(states) // 2
    fitted = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)).fit(inside[:half], velocity[:half])
    return float(fitted.score(inside[half:], velocity[half:]))


def train(net: str, stack: int, settings: Settings, seed: int) -> tuple[float, float, float]:
    """The probe's accuracy in the trained net, in the net before it was trained, and the policy's mean return."""
    config = _agents.settings(NETS[net], settings.steps, seed, stack=stack)
    states, velocity = random_play(NETS[net], stack, settings.episodes, 1_000_000 + seed)
    learned = _agents.learn(config)
    agent = learned.agent
    fresh = DQN(states.shape[1:], agent.actions, config, agent.device)  # the same seed gives the same first weights
    score = float(_agents.games(agent, config, 100).returns.mean())
    return probe(agent, states, velocity), probe(fresh, states, velocity), score


def measure(settings: Settings) -> Outcome:
    found: dict[tuple[str, int], np.ndarray] = {}  # (seed, 3)
    with bar("motion", len(NETS) * len(STACKS) * settings.seeds, "trainings") as advance:
        for net in NETS:
            for stack in STACKS:
                runs = []
                for seed in range(settings.seeds):
                    runs.append(train(net, stack, settings, seed))
                    advance()
                found[net, stack] = np.array(runs)
    findings = []
    for (net, stack), each in found.items():
        told, before, score = each.T
        name, expected = f"{net}, {stack} frame{'s' if stack > 1 else ''}", "> 0.95" if stack > 1 else "in 0.45 .. 0.55"
        read = check(f"{name}: share of directions that a probe reads off", told.mean(), expected,
                     bootstrap(told, np.mean), told)  # fmt: skip
        findings += [
            read if (net, stack) == ("conv", STACKS[-1]) else doubt(read),
            report(f"{name}, untrained: the same", before.mean(), bootstrap(before, np.mean), before),
            report(f"{name}: return of the learned policy", score.mean(), bootstrap(score, np.mean), score),
        ]  # fmt: skip
    budget = (
        f"{len(found) * settings.seeds} trainings of {settings.steps:,} agent steps on diagonal Catch, {SIZE} x {SIZE} "
        f"pixels; probes on {settings.episodes * (SIZE - 2):,} states of random play"
    )
    return Outcome(findings, picture(found), budget)


def same_end() -> np.ndarray:
    """Two stacks of four frames whose last frames are alike, the ball on its way right and left: (2, 4, SIZE, SIZE)."""
    stacks = np.zeros((2, 4, SIZE, SIZE))
    stacks[:, :, -1, SIZE // 2] = 1  # the paddle
    for row, columns in enumerate(((0, 1, 2, 3), (5, 5, 4, 3))):  # from the left; from the wall on the right
        for t, column in enumerate(columns):
            stacks[row, t, 1 + t, column] = 1
    return stacks


def picture(found: dict[tuple[str, int], np.ndarray]):
    """Left: two stacks with the same last frame. Right: how often a probe tells the direction."""
    figure, axes = canvas(1, 2, width=13, height=5, width_ratios=[1.15, 1])
    left, right = axes[0]
    frames = np.pad(same_end(), ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=0.45)  # a rim around each
    left.imshow(np.block([list(row) for row in frames]), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    side = SIZE + 2
    left.set(xticks=[(t + 0.5) * side - 0.5 for t in range(4)], xticklabels=["t − 3", "t − 2", "t − 1", "t"])
    left.set(yticks=[0.5 * side - 0.5, 1.5 * side - 0.5], yticklabels=["right", "left"])
    left.tick_params(length=0, labelsize=15)
    left.spines[:].set_visible(False)
    left.set_title("The last frame is the same", loc="left", fontsize=17, fontweight="bold")
    for at, ((net, stack), runs) in enumerate(sorted(found.items(), key=lambda item: item[0][1])):
        place, told = at + 0.5 * (at > 1), runs[:, 0]
        right.bar(place, told.mean(), color=COLOURS[net], width=0.85, label=net if stack == 1 else None)
        right.plot(np.full(len(told), place), told, "o", color=BLACK, markersize=6)
        right.text(place, 0.03, f"{told.mean():.0%}", ha="center", color="white", fontsize=17, fontweight="bold")
    right.axhline(0.5, color=GREY, linewidth=1.5, linestyle="--")
    right.set(xticks=[0.5, 3.0], xticklabels=["1 frame", "4 frames"], ylim=(0, 1.18), yticks=[0, 0.25, 0.5, 0.75, 1])
    one, four = ([runs[:, 0].mean() for (_, stack), runs in found.items() if stack == size] for size in STACKS)
    seen = min(four) > 0.95 and max(one) < 0.6
    title = "The stack shows motion, to either net" if seen else "What the nets know of motion"
    label(right, title, "", "direction told, share of states")
    right.set_title(title, loc="left", fontsize=17, fontweight="bold")
    right.tick_params(labelsize=15)
    right.legend(loc="upper left", ncols=2, fontsize=14)
    return figure
