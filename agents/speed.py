"""How fast our DQN learns beside Stable-Baselines3's: what `lab speed agents` measures.

Both play the same game by the same protocol with the same network, batch, replay capacity, target period and one update
per `train_every` agent steps. Each measurement is a process of its own, over a window that begins after learning has,
and the sides alternate, so that a machine that slows down slows both. Before that each side finds, in short trials, its
best way to run on this machine: torch's threads, and for the peer 1 or 8 environments, stepped by our Adapter over
ALE's vector environment or, where OpenCV is installed, by its own make_atari_env. Not tried: its optimize_memory_usage,
which halves its memory and takes a time limit for an end. It is measured as its users run it ("sb3") and with the
settings for freed memory and waiting threads that our process has ("sb3-tuned"; see lab.device and lab/__init__.py).

The floor is what cannot be saved: the network's arithmetic at the rate at which this machine multiplies large matrices,
and the emulator's own time. On a CPU the two share the cores and add up; beside a GPU the longer of them counts.
"""

import importlib.util
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

import envs
from agents.adapter import Adapter
from agents.algorithm import Training, has_second_thread
from agents.config import DQNConfig, preset
from agents.environments import make_envs
from agents.peer_config import SB3DQNConfig
from lab import alone, device, plots
from lab.console import bar
from lab.run import Run

SIDES = {"ours": "ours", "sb3": "SB3", "sb3-tuned": "SB3, our process settings"}
SPIN = "300000"  # GOMP_SPINCOUNT as GNU's OpenMP has it by itself; a process of the lab has a shorter one
TRIALS = 2  # of each way, the better one counts: what else the machine does may have slowed the other
AHEAD = 1_000  # agent steps of random play before learning begins, and of learning before the window does, at most


@dataclass(frozen=True)
class Way:
    """A way to run one of SIDES."""

    side: str
    num_envs: int
    threads: int
    wrappers: bool = False
    """The peer's own environments (make_atari_env) instead of ALE's vector environment."""


@dataclass(frozen=True)
class Speed:
    """What one measurement found."""

    steps_per_second: float
    """Agent steps, over all environments, playing and learning."""
    updates_per_second: float
    peak_bytes: int
    """Most main memory the process held."""
    replay_bytes: int
    """What the replay takes once it is full; until then memory is only promised."""
    gpu_bytes: int = 0
    """Most memory torch held on a GPU."""


@dataclass(frozen=True)
class Floor:
    """How much work it is, and what this machine can do."""

    flops_per_update: int
    """Floating-point operations of an update: Q forward and backward, the target network forward, over a batch."""
    flops_per_action: int
    """To value the actions of one state."""
    bytes_per_batch: int
    """Frames gathered for a batch: both states of each transition."""
    emulator_steps_per_second: float
    """Agent steps with random actions and no learning."""
    flops_per_second: dict[str, float]
    """Of multiplying large matrices on all cores, or the GPU, by the arithmetic's name."""

    def steps_per_second(self, config: DQNConfig, arithmetic: str) -> float:
        """The most agent steps a second that this work can be done at on this machine."""
        network = (self.flops_per_update / config.train_every + self.flops_per_action) / (
            self.flops_per_second[arithmetic]
        )
        emulator = 1 / self.emulator_steps_per_second
        beside = device.choose(config.device).type != "cpu"
        return 1 / (max(network, emulator) if beside else network + emulator)


def settings(env: str, steps: int, **changes: Any) -> DQNConfig:
    """Those that `lab train dqn` has for `env`, but learning soon and hardly ever playing at random, for the window.

    changes: of what is left None the default stands.
    """
    config = replace(preset(env), **{name: value for name, value in changes.items() if value is not None})
    ahead = max(min(AHEAD, steps), 8 * max(config.num_envs, 8))
    return replace(config, learning_starts=ahead, epsilon_steps=ahead, total_steps=2 * ahead + steps + 1_000)


def arithmetic(side: str, config: DQNConfig) -> str:
    """What a side's network computes in."""
    half = side == "ours" and device.bfloat16(config.precision, device.choose(config.device))
    return "bfloat16" if half else "float32"


def ways(config: DQNConfig) -> dict[str, list[Way]]:
    """What to try for each side, the likeliest first."""
    threads = [1, 2][: device.cores()]
    wrappers = [False, True] if envs.is_atari(config.env) and importlib.util.find_spec("cv2") else [False]
    peer = [Way("sb3", number, each, own) for own in wrappers for number in (8, 1) for each in threads]
    return {
        "ours": [Way("ours", config.num_envs, each) for each in threads],
        "sb3": peer,
        "sb3-tuned": [replace(way, side="sb3-tuned") for way in peer],
    }


def compare(config: DQNConfig, rounds: int, steps: int, trial_steps: int) -> tuple[pd.DataFrame, Floor]:
    """Every measurement, one a row and in the order made, and the floor.

    steps, trial_steps: agent steps of a round's window and of a trial's; no trials where that is 0.
    """
    options = ways(config)
    trials = [way for tried in options.values() for way in tried] * TRIALS if trial_steps else []
    rows: list[dict[str, Any]] = []
    with bar(f"speed on {config.env}", 1 + len(trials) + rounds * len(options), "runs") as advance:

        def rate(way: Way, number: int, window: int) -> float:
            speed: Speed = measure(config, window, way)
            kind = arithmetic(way.side, config)
            rows.append({"round": number, **asdict(way), "arithmetic": kind, **asdict(speed)})
            advance(1, note=f"{way.side} {speed.steps_per_second:.0f} steps/s")
            return speed.steps_per_second

        floor: Floor = measure(config, steps)
        advance(1)
        reached = dict.fromkeys(trials, 0.0)
        for way in trials:
            reached[way] = max(reached[way], rate(way, 0, trial_steps))
        best = {side: max(tried, key=lambda way: reached.get(way, 0.0)) for side, tried in options.items()}
        for number in range(1, rounds + 1):
            for way in best.values():
                rate(way, number, steps)
    return pd.DataFrame(rows), floor


def summary(table: pd.DataFrame, floor: Floor, config: DQNConfig) -> dict[str, Any]:
    """What `compare` found, over its rounds: medians, the ratio's median and range, the shares of the floor."""
    rounds = table[table["round"] > 0]
    sides = {side: rounds[rounds["side"] == side] for side in SIDES}
    rates = {side: rows["steps_per_second"].to_numpy() for side, rows in sides.items()}
    ratios = {side: rates["ours"] / rate for side, rate in rates.items() if side != "ours"}
    return {
        "ours": _side(sides["ours"], floor, config),
        "peers": {side: _side(sides[side], floor, config) for side in ratios},
        "ratio": {side: float(np.median(ratio)) for side, ratio in ratios.items()},
        "ratio_range": {side: [float(ratio.min()), float(ratio.max())] for side, ratio in ratios.items()},
        "floor": asdict(floor),
    }


def _side(rows: pd.DataFrame, floor: Floor, config: DQNConfig) -> dict[str, Any]:
    rate = float(rows["steps_per_second"].median())
    first = rows.iloc[0]
    return {
        "steps_per_second": rate,
        "updates_per_second": float(rows["updates_per_second"].median()),
        "share_of_floor": rate / floor.steps_per_second(config, first["arithmetic"]),
        "peak_bytes": int(rows["peak_bytes"].max()),
        "replay_bytes": int(rows["replay_bytes"].max()),
        "gpu_bytes": int(rows["gpu_bytes"].max()),
        "num_envs": int(first["num_envs"]),
        "threads": int(first["threads"]),
        "ahead": first["side"] == "ours"
        and has_second_thread(config, device.choose(config.device), int(first["threads"])),
        "wrappers": bool(first["wrappers"]),
        "arithmetic": str(first["arithmetic"]),
    }


def spoken(side: dict[str, Any]) -> str:
    """How a side of `summary` was run, in words."""
    counts = [
        f"{side[key]} {what}{'s' * (side[key] != 1)}" for key, what in (("num_envs", "game"), ("threads", "thread"))
    ]
    counts[1] += " and one ahead" * side["ahead"]
    return ", ".join([*counts, side["arithmetic"], *(["its own wrappers"] if side["wrappers"] else [])])


def report(table: pd.DataFrame, floor: Floor, found: dict[str, Any], config: DQNConfig, run: Run) -> None:
    """Write what `compare` and `summary` found into the run: speed.csv, curves over rounds, the figure, the result."""
    run.table("speed", table)
    sides = {"ours": found["ours"], **found["peers"]}
    rates: dict[str, list[float]] = {}
    limits = {}
    for side, each in sides.items():
        rows = table[(table["round"] > 0) & (table["side"] == side)]
        for number, rate in zip(rows["round"], rows["steps_per_second"], strict=True):
            run.scalar(f"speed/{side}_steps_per_second", rate, number)
        name = f"{SIDES[side]}\n{spoken(each)}"
        rates[name] = rows["steps_per_second"].tolist()
        limits[name] = floor.steps_per_second(config, each["arithmetic"])
    ratio = found["ratio"]["sb3"]
    title = f"DQN on {config.env.removeprefix('ALE/')}: ours is {ratio:.3g} x as fast as Stable-Baselines3"
    run.figure("speed/agents", plots.throughput(rates, limits, title, "agent steps a second, playing and learning"))
    metrics = {f"speed/{side}": each["steps_per_second"] for side, each in sides.items()}
    run.finish({**metrics, **{f"speed/ratio/{side}": ratio for side, ratio in found["ratio"].items()}})


# --- in a process of its own ----------------------------------------------------------------------------------------


def measure(config: DQNConfig, steps: int, way: Way | None = None) -> Any:
    """The Speed of a way over `steps` agent steps, or without one the Floor, measured by a process of its own.

    It has no memory, threads or caches of this one. Raises InputError with its last line if it fails.
    """
    spin = {"GOMP_SPINCOUNT": SPIN} if way and way.side == "sb3" else {}
    request = {"config": asdict(config), "steps": steps, "way": way and asdict(way)}
    found = alone.ask("agents.speed", request, f"{way or 'floor'} on {config.env}", spin)
    return Speed(**found) if way else Floor(**found)


class Window:
    """A stretch of training, by the clock: call it with the agent steps and updates so far; True once it is over."""

    def __init__(self, start: int, steps: int, where: torch.device):
        self.start, self.steps, self.where = start, steps, where
        self.marks: list[tuple[float, int, int]] = []  # (second, step, updates) at either end

    def __call__(self, step: int, updates: int) -> bool:
        if step >= (self.marks[0][1] + self.steps if self.marks else self.start):
            if self.where.type == "cuda":
                torch.cuda.synchronize(self.where)
            self.marks.append((time.perf_counter(), step, updates))
        return len(self.marks) == 2

    def speed(self, replay: object) -> Speed:
        (began, first_step, first), (ended, step, updates) = self.marks
        return Speed(
            steps_per_second=(step - first_step) / (ended - began),
            updates_per_second=(updates - first) / (ended - began),
            peak_bytes=peak_memory(),
            replay_bytes=sum(getattr(array, "nbytes", 0) for array in vars(replay).values()),
            gpu_bytes=torch.cuda.max_memory_allocated(self.where) if self.where.type == "cuda" else 0,
        )


def speed_of_ours(config: DQNConfig, window: Window) -> Speed:
    training = Training(config, window.where)
    for _ in training:
        if window(training.step, training.updates):
            break
    return window.speed(training.replay)


def speed_of_sb3(config: DQNConfig, window: Window, wrappers: bool) -> Speed:
    """wrappers: its own environments rather than our Adapter."""
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.logger import Logger

    from agents import peers

    class Watch(BaseCallback):
        def _on_step(self) -> bool:
            return not window(self.num_timesteps, self.model._n_updates)

    games = _own_envs(config) if wrappers else Adapter(make_envs(config, config.num_envs), config.clip_rewards)
    model = peers.build(SB3DQNConfig.like(config), games, window.where)
    model.set_logger(Logger(folder=None, output_formats=[]))
    model.learn(config.total_steps, callback=Watch(), log_interval=None)
    return window.speed(model.replay_buffer)


def _own_envs(config: DQNConfig) -> Any:
    """Stable-Baselines3's environments by the config's protocol (its wrappers also press FIRE at a start)."""
    from stable_baselines3.common.env_util import make_atari_env
    from stable_baselines3.common.vec_env import VecFrameStack

    rules = envs.atari.PROTOCOLS[config.protocol]
    games = make_atari_env(
        envs.bare(config.env), config.num_envs, seed=config.seed,
        env_kwargs={
            "frameskip": 1, "repeat_action_probability": rules.sticky, "full_action_space": rules.all_actions,
        },
        wrapper_kwargs={"noop_max": rules.noop_max, "terminal_on_life_loss": rules.life_loss},
    )  # fmt: skip
    return VecFrameStack(games, 4)


def measure_floor(config: DQNConfig, where: torch.device, steps: int) -> Floor:
    """steps: agent steps to measure the emulator over."""
    from agents import peers

    games = make_envs(config, config.num_envs)
    model = peers.build(SB3DQNConfig.like(replace(config, replay_capacity=1)), Adapter(games), where)
    shape, size = games.single_observation_space.shape, games.single_observation_space.dtype.itemsize
    forward, backward = network_flops(model.q_net, torch.zeros(config.batch_size, *shape, device=where))
    return Floor(
        flops_per_update=2 * forward + backward,
        flops_per_action=forward // config.batch_size,
        bytes_per_batch=2 * config.batch_size * int(np.prod(shape)) * size,
        emulator_steps_per_second=_emulator(games, 2 * steps),
        flops_per_second={
            name: _matrix_rate(getattr(torch, name), where) for name in sorted({"float32", arithmetic("ours", config)})
        },
    )


def network_flops(network: torch.nn.Module, states: torch.Tensor) -> tuple[int, int]:
    """Floating-point operations (2 a multiply-add) of `network` on `states`: forward, backward to all its weights."""
    with FlopCounterMode(display=False) as forward:
        values = network(states)
    with FlopCounterMode(display=False) as backward:
        values.sum().backward()
    return forward.get_total_flops(), backward.get_total_flops()


def _emulator(games: Any, steps: int) -> float:
    """Agent steps a second of random play."""
    random = np.random.default_rng(0)
    games.reset(seed=0)
    ended, count = np.zeros(games.num_envs, bool), 0
    began = time.perf_counter()
    while count < steps:
        _, _, terminated, truncated, _ = games.step(random.integers(games.single_action_space.n, size=games.num_envs))
        count += int((~ended).sum())
        ended = terminated | truncated
    return count / (time.perf_counter() - began)


def _matrix_rate(kind: torch.dtype, where: torch.device) -> float:
    """Floating-point operations a second of multiplying large matrices, the best of some."""
    side = 8192 if where.type == "cuda" else 2048
    left, right = (torch.ones(side, side, dtype=kind, device=where) for _ in range(2))

    def once() -> float:
        began = time.perf_counter()
        product = left @ right
        product[0, 0].item()  # waits for a GPU
        return time.perf_counter() - began

    return 2 * side**3 / min(once() for _ in range(6))


def peak_memory() -> int:
    """Most main memory that this process held, in bytes.

    On Linux not ru_maxrss, which outlives exec: a child's would begin with the peak of the parent that started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def perform(config: dict[str, Any], steps: int, way: dict[str, Any] | None) -> Speed | Floor:
    """Do in this process what `measure` asks for; its arguments as JSON has them."""
    given = DQNConfig(**config)
    where = device.choose(given.device)
    if way is None:
        with device.threads(device.cores()):
            return measure_floor(given, where, steps)
    taken = Way(**way)
    window = Window(2 * given.learning_starts, steps, where)
    given = replace(given, num_envs=taken.num_envs)
    if taken.side == "sb3":  # as it comes: lab.device.threads also tells the process how to keep memory
        torch.set_num_threads(taken.threads)
        return speed_of_sb3(given, window, taken.wrappers)
    with device.threads(taken.threads):
        return speed_of_ours(given, window) if taken.side == "ours" else speed_of_sb3(given, window, taken.wrappers)


if __name__ == "__main__":
    alone.answer(lambda **request: asdict(perform(**request)))
