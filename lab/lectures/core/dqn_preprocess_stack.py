"""Four frames make a state: each state shares three with the next, so a memory of frames is an eighth of one of states.

Lecture: L4, Machine learning lecture
Slide: DQN Overview
Says: "Input preprocessing φ(s_t): takes 4 video frames and stack up."
Doubt: The slide leaves out what comes before the stack: the larger of two successive screens at each pixel (sprites
    flicker), grey, 84 x 84, and that only every fourth screen is taken: a state spans 13 of them, not 4. Nor does it
    say that states overlap, without which a million transitions do not fit into the memory of an ordinary machine.
Kind: exact
"""

from dataclasses import dataclass

import numpy as np
import torch

from agents.config import preset
from agents.evaluate import filmed
from agents.networks import QNetwork
from agents.replay import Replay
from envs.atari import FRAME_SKIP
from lab.lectures import Outcome, check, control, doubt, report, setting
from lab.plots import DARK_GREY, canvas

ENV = "ALE/Pong-v5"  # classic protocol: 6 actions
SHAPE = (4, 84, 84)  # of a state


@dataclass(frozen=True)
class Settings:
    steps: int = setting(200, 20, 700)
    """Random agent steps of Pong; each is 4 frames of the emulator. No game is over before 750."""
    transitions: int = setting(1_000_000, 1000, 100_000_000)
    """Size of the replay memory that is reckoned with. The claim's figures are those of a million."""


def play(steps: int) -> tuple[np.ndarray, np.ndarray, Replay]:
    """Random play: states (steps + 1, *SHAPE), the screens behind them (steps + 1, 210, 160, 3), the memory of it."""
    game, camera = filmed(preset(ENV), seed=0)
    memory = Replay(steps + 1, 1, SHAPE[1:], torch.uint8, stack=4, seed=0)
    random = np.random.default_rng(0)
    state, _ = game.reset(seed=0)
    states, screens, running = [state[0].copy()], [camera(None)], np.array([True])
    for _ in range(steps):
        action = random.integers(game.single_action_space.n, size=1)
        before = state[:, -1].copy()
        state, reward, terminated, _, _ = game.step(action)
        screens.append(camera(action))
        memory.add(before, action, reward, terminated, running)
        states.append(state[0].copy())
    game.close()
    memory.add(state[:, -1], action, reward, terminated, running)  # the frame of the last state
    return np.stack(states), np.stack(screens), memory


def measure(settings: Settings) -> Outcome:
    states, screens, memory = play(settings.steps)
    overlap = (states[1:, :3] == states[:-1, 1:]).all(axis=(1, 2, 3))
    batch = memory.gather(torch.arange(settings.steps), torch.ones(settings.steps))
    kept = (batch.state.numpy() == states[:-1]).all(axis=(1, 2, 3)) & (batch.next_state.numpy() == states[1:]).all(
        axis=(1, 2, 3)
    )
    once = memory.frames[0].numel() * memory.frames.element_size()  # bytes of a transition
    stacked = (batch.state[0].numel() + batch.next_state[0].numel()) * batch.state.element_size()
    gigabytes = [settings.transitions * size / 1e9 for size in (once, stacked)]
    weights = sum(parameter.numel() for parameter in QNetwork(SHAPE, 6).parameters())
    name = f"{settings.transitions:,} transitions"
    findings = [
        check("share of steps at which φ(t+1)[:3] is φ(t)[1:]", overlap.mean(), "== 1"),
        check("share of transitions that a memory of single frames gives back whole", kept.mean(), "== 1"),
        control(check("parameters of the Nature network for 6 actions", weights, "== 1,687,206")),
        doubt(check(f"{name}, frames stored once, GB", gigabytes[0], "== 7.06 +- 0.005")),
        doubt(check(f"{name}, both stacks stored, GB", gigabytes[1], "== 56.4 +- 0.05")),
        report("both stacks over single frames", stacked / once),
        report("bytes of a screen in colour over those of a frame", screens[0].nbytes / once),
        report("screens from the first to the last frame of a state", 3 * FRAME_SKIP + 1),
    ]
    shown = moving(states)
    figure = picture(screens[shown], states[shown], once)
    return Outcome(findings, figure, f"{settings.steps} random agent steps of Pong")


def moving(states: np.ndarray) -> int:
    """The state in whose four frames most is seen between the paddles: the ball in all of them, if there is one."""
    field = states[:, :, 24:74, 14:68]  # without score, walls and paddles
    seen = (field != np.median(field)).any(axis=(2, 3)).sum(axis=1)  # frames of each state
    return int(seen.argmax())


def picture(screen: np.ndarray, state: np.ndarray, size: int):
    """The screen as a person sees it, and the four channels that the network gets of it and of the screens before."""
    figure, axes = canvas(1, 5, width=13, height=4.6)
    names = (f"screen: {screen.nbytes:,} B", "t − 3", "t − 2", "t − 1", f"t: {size:,} B")
    for panel, image, name in zip(axes[0], (screen, *state), names, strict=True):
        panel.imshow(image, cmap="gray", vmin=0, vmax=255, aspect="auto")
        panel.set(xticks=[], yticks=[])
        panel.set_title(name, loc="center", fontsize=15, fontweight="bold")
        panel.spines[:].set(visible=True, color=DARK_GREY)
    figure.suptitle(
        "φ stacks four frames, and the ball moves; the next state shares three of them", x=0.01, ha="left", fontsize=18
    )
    return figure
