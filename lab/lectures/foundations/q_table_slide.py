"""The slide's Q-table read as a policy: four states have a best action, one has none, and the final state is paid.

Lecture: L2, 15. Deep Learning
Slide: Data view: Learning Paradigm (table of actions)
Says: "Action ↑ \\ → ←; Start 0 0 1 0; Idle 0 0 0 0; Correct Path 0 50 22 0; Wrong Path 15 0 18 0; End 0 0 1 0"
Doubt: The slide draws no world. In the one made here for its names (Start leads right to the correct path, that leads
    diagonally to the end, for 50; the wrong path leads back) Q-learning finds the same actions at Start and on the
    correct path. The rest cannot be: no action follows the end, so its row stays 0, and Start is worth γ 50, not 1. In
    Idle all actions are worth the same: the table has no policy for it.
Kind: chance
"""

from dataclasses import dataclass

import numpy as np

from lab.lectures import Outcome, check, doubt, report, setting
from lab.plots import BLACK, BLUE, GREY, VERMILION, canvas
from lab.stats import proportion

STATES = ("Start", "Idle", "Correct Path", "Wrong Path", "End")
ACTIONS = ("↑", "\\", "→", "←")
START, IDLE, CORRECT, WRONG, END = range(5)
TABLE = np.array([[0, 0, 1, 0], [0, 0, 0, 0], [0, 50, 22, 0], [15, 0, 18, 0], [0, 0, 1, 0]], float)
"""The slide's values, (state, action)."""
NEXT = np.array([[IDLE, IDLE, CORRECT, IDLE], [IDLE] * 4, [IDLE, END, WRONG, IDLE],
                 [WRONG, IDLE, CORRECT, IDLE], [END] * 4])  # fmt: skip
"""The world of this experiment: where an action leads, (state, action)."""


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(20, 1, 200)
    """Random walks from which Q-learning learns."""
    episodes: int = setting(500, 1, 10000, quick=200)
    """Walks from Start to the end, or of 20 steps."""
    gamma: float = setting(0.9, 0.0, 0.99)
    """Discount per step."""
    rate: float = setting(0.2, 0.001, 1.0)
    """Learning rate."""
    reward: float = setting(50.0, -1000, 1000)
    """For reaching End."""
    ends: bool = setting(True)
    """Whether End ends an episode. If not, the walk goes on there, for a reward of 1 an action, as the slide's row."""


def learn(settings: Settings, seed: int) -> np.ndarray:
    """Tabular Q-learning (Watkins, 1989) from actions drawn at random: values (state, action)."""
    random, q = np.random.default_rng(seed), np.zeros((5, 4))
    for _ in range(settings.episodes):
        state = START
        for action in random.integers(4, size=20):
            after = NEXT[state, action]
            over = settings.ends and after == END
            reward = settings.reward * (after == END and state != END) + float(state == END)
            q[state, action] += settings.rate * (
                reward + settings.gamma * (0 if over else q[after].max()) - q[state, action]
            )
            if over:
                break
            state = after
    return q


def best(q: np.ndarray) -> list[set[int]]:
    """The best actions of every state; several where they are worth the same."""
    return [set(np.flatnonzero(row == row.max()).tolist()) for row in q]


def measure(settings: Settings) -> Outcome:
    slide = best(TABLE)
    learnt = np.array([learn(settings, seed) for seed in range(settings.seeds)])  # (seed, state, action)
    alike = np.array([[mine == theirs for mine, theirs in zip(best(q), slide, strict=True)] for q in learnt])
    ends = np.abs(learnt[:, END]).max(1)
    starts = learnt[:, START].max(1)
    fixed = TABLE[START].max() / TABLE[CORRECT].max()
    findings = [
        doubt(check("slide: states with one best action, of 5", sum(len(actions) == 1 for actions in slide), "< 5")),
        *(check(f"{STATES[state]}: share of walks whose Q-learning has the slide's best action",
                alike[:, state].mean(), "> 0.8", proportion(int(alike[:, state].sum()), len(alike)), alike[:, state])
          for state in (START, CORRECT)),
        check("End: largest value by Q-learning (slide: 1)", ends.mean(), "== 1", values=ends),
        report(f"Start: value of its best action by Q-learning at γ = {settings.gamma:g} (slide: 1)", starts.mean(),
               values=starts),
        report("largest γ at which the slide's Start row follows from its Correct Path row", fixed),
        *(report(f"{STATES[state]}: share of walks whose Q-learning has the slide's best action",
                 alike[:, state].mean()) for state in (IDLE, WRONG)),
    ]  # fmt: skip
    budget = f"{settings.seeds} times {settings.episodes} walks of at most 20 random actions in a world of 5 states"
    return Outcome(findings, picture(learnt.mean(0), settings), budget)


def picture(q: np.ndarray, settings: Settings):
    """The slide's table beside the one learnt; each row's best action in blue."""
    figure, axes = canvas(1, 2, width=12.5, height=5)
    for panel, values, title in zip(
        axes[0], (TABLE, q), ("On the slide: End is paid, Idle is open", "By Q-learning"), strict=True
    ):
        panel.axis("off")
        panel.set(xlim=(-2.1, 4), ylim=(5.2, -1))
        for column, action in enumerate(ACTIONS):
            panel.text(column + 0.5, -0.5, action, fontsize=20, ha="center", va="center")
        for row, (name, actions) in enumerate(zip(STATES, best(values), strict=True)):
            panel.text(-2.05, row + 0.25, name, fontsize=16, va="center")
            panel.plot([-2.1, 4], [row - 0.2] * 2, color=GREY, linewidth=0.8)
            for column, value in enumerate(values[row]):
                chosen = column in actions and len(actions) == 1
                wrong = row == END and value != 0
                panel.text(column + 0.5, row + 0.25, f"{value:.3g}", fontsize=17, ha="center", va="center",
                           color=VERMILION if wrong else BLUE if chosen else BLACK,
                           fontweight="bold" if chosen or wrong else "normal")  # fmt: skip
        panel.set_title(title, loc="left", fontsize=16, fontweight="bold")
    both = [best(q)[state] == best(TABLE)[state] for state in (START, CORRECT)]
    found = "agree" if all(both) else "do not agree"
    figure.suptitle(
        f"Slide and Q-learning {found} on Start and Correct Path (γ = {settings.gamma:g})", fontsize=18,
        fontweight="bold", x=0.01, ha="left",
    )  # fmt: skip
    return figure
