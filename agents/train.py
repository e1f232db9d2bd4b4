"""Training as a run: what `agents.algorithm` does, with progress, curves, checkpoints, resume and a final score."""

import math
import time

import numpy as np
import torch
from matplotlib.figure import Figure

from agents.algorithm import Tick, Training
from agents.config import DQNConfig
from agents.dqn import DQN
from agents.environments import check_playable, has_pixels, playing
from agents.evaluate import evaluate
from agents.finite import diverged, finite, gives_none
from agents.networks import no_noise
from agents.prioritised import PrioritisedReplay
from envs import is_atari
from lab import checkpoint, device, plots, record
from lab.board import RECORD
from lab.console import bar, messages
from lab.digits import short
from lab.errors import InputError
from lab.interrupt import stop_wanted
from lab.run import Run

METRICS = ("eval/return_mean", "eval/return_std", "train/return_last_100")
_SILENT = (
    "a whole layer of Q is 0, so all states look alike to it; if it stays so nothing more is learned. "
    "Begin again with a smaller --learning-rate, or on pixels with --centred"
)
_SATURATED = (
    "Q is near the end of its categories, v_max={}; if discounted returns go beyond, begin again with a larger --v-max"
)
SATURATED = 0.9  # of v_max
_AT_MOST = {
    "seed": 2**30, "threads": 1024, "stack": 255, "n_step": 1000, "num_envs": 4096, "atoms": 1000,
    "max_gradient_norm": 1e6, "epsilon_spread": 100, "batch_size": 2**20,
}  # fmt: skip


def check(config: DQNConfig) -> None:
    """Raises InputError for a setting that cannot work."""
    positive = (
        "total_steps", "num_envs", "stack", "n_step", "replay_capacity", "batch_size", "learning_rate", "train_every",
        "target_every", "epsilon_steps", "eval_episodes", "log_every", "checkpoint_every", "v_max",
        "anneal_share",
    )  # fmt: skip
    for name in positive:
        if not 0 < getattr(config, name) < math.inf:
            raise InputError(f"{name} must be above 0, not {getattr(config, name)}")
    for name in ("gamma", "epsilon_start", "epsilon_end", "priority_alpha", "priority_beta", "anneal_share"):
        if not 0 <= getattr(config, name) <= 1:
            raise InputError(f"{name} must lie in [0, 1], not {getattr(config, name)}")
    for name, most in _AT_MOST.items():
        if not 0 <= getattr(config, name) <= most:
            raise InputError(f"{name} must lie in 0 .. {most}, not {getattr(config, name)}")
    if config.distribution != "expected" and config.loss != DQNConfig.loss:
        raise InputError(f"distribution={config.distribution} has a loss of its own; leave loss={config.loss} out")
    if config.munchausen and (config.double or config.distribution != "expected"):
        other = "double" if config.double else f"distribution={config.distribution}"
        raise InputError(f"munchausen has a target of its own, which {other} would change; leave one of them out")
    if config.memory_map and device.choose(config.device).type == "cuda":
        raise InputError("memory_map is for main memory, and the GPU has its own; leave it out or give --device cpu")
    if config.atoms == 1:
        raise InputError("atoms=1 describes no distribution; give at least 2, or 0 for the usual number")
    if config.batch_size > config.replay_capacity:
        raise InputError(
            f"batch_size={config.batch_size} is more than the replay holds, replay_capacity={config.replay_capacity}; "
            "give a smaller one"
        )
    least = (config.n_step + 4) * config.num_envs  # by then there is a whole transition, even behind a reset
    if config.learning_starts < least:
        raise InputError(
            f"learning_starts={config.learning_starts} is too few for {config.num_envs} environments; "
            f"give at least {least}"
        )
    least = config.num_envs * (max(config.stack, 4) + config.n_step + 1)
    if config.replay_capacity < least:
        raise InputError(
            f"replay_capacity={config.replay_capacity} is too small for {config.num_envs} environments; "
            f"give at least {least}"
        )
    device.choose(config.device)


def check_effect(config: DQNConfig, usual: DQNConfig) -> None:
    """Raises InputError for a setting that was given, and so is not the `usual` one, and has no effect beside the rest.

    usual: the settings of the preset. It may have such a one, which another option has made idle.
    """
    atari = is_atari(config.env), "an Atari game"
    needed = {
        "protocol": atari,
        "network": atari,
        "anneal_share": (config.anneal, "--anneal"),
        "atoms": (config.distribution != "expected", "--distribution"),
        "v_max": (config.distribution == "categorical", "--distribution categorical"),
        "priority_beta": (config.priority_alpha > 0, "--priority-alpha"),
        "centred": (has_pixels(config), "frames of uint8 pixels"),
    }
    for name, (works, what) in needed.items():
        value = getattr(config, name)
        if not works and value not in (getattr(usual, name), getattr(DQNConfig, name)):
            raise InputError(f"{name}={value} has no effect without {what}; leave it out")


def ends_with_training(config: DQNConfig) -> str:
    """What changes over `total_steps`, so that a run that goes on for longer is not one of so many; or nothing."""
    if config.anneal:
        return "its step size falls (--anneal)"
    return "its importance weights grow (--priority-alpha)" if config.priority_alpha else ""


def train(config: DQNConfig, run: Run, kind: type[DQN] = DQN) -> dict[str, float] | None:
    """Train by `config`, reporting to `run` and resuming what it restored; returns the metrics that it finished with.

    None when Ctrl-C stopped it, after a checkpoint. kind: of the agent, DQN or a class of your own over it.
    """
    check(config)
    check_playable(config, run.path)
    with device.threads(config.threads), playing(config, "; --resume then goes on from the newest checkpoint"):
        return _train(config, run, kind)


def _train(config: DQNConfig, run: Run, kind: type[DQN]) -> dict[str, float] | None:
    training = Training(config, device.choose(config.device), run.path, kind)
    recent: list[float] = []  # returns of the last 100 episodes
    if run.restored:
        _, saved = run.restored
        training.load_state_dict(saved["training"])
        recent = saved["recent"]
        messages.print(f"going on with {run.path} from agent step {training.step:,}", soft_wrap=True)
    if config.learning_starts >= config.total_steps:
        messages.print(
            f"nothing will be learned: learning_starts={config.learning_starts:,} is not below "
            f"total_steps={config.total_steps:,}",
            soft_wrap=True,
        )

    began, first_step = time.perf_counter(), training.step
    with bar(config.env, config.total_steps, "steps", start=first_step) as advance, stop_wanted() as stopping:
        before, saved_at = training.step, -1
        said: set[str] = set()
        for tick in training:
            step = training.step
            for at, episode_return, length in tick.episodes:
                run.scalars({"train/episode_return": episode_return, "train/episode_length": length}, at)
                recent = [*recent[-99:], episode_return]
            if step // config.log_every > before // config.log_every:
                curves = _curves(training, tick, recent)
                run.scalars(curves, step)
                _check_finite(training)
                for hint in _hints(config, curves):
                    if hint not in said:
                        messages.print(f"agent step {step:,}: {hint}", soft_wrap=True)
                        said.add(hint)
                run.scalar("time/steps_per_second", (step - first_step) / (time.perf_counter() - began), step)
            if step // config.checkpoint_every > before // config.checkpoint_every or stopping():
                _save(run, training, recent)
                saved_at = step
            if stopping():
                messages.print(
                    f"stopped at agent step {step:,}; the same command with --resume goes on from there",
                    soft_wrap=True,
                )
                return None
            advance(step - before, note=f"return {np.mean(recent):.2f}" if recent else "")
            before = step
    rate = (training.step - first_step) / (time.perf_counter() - began)
    if saved_at != training.step:
        _save(run, training, recent)

    no_noise(training.agent.q)
    scores = evaluate(training.agent, config, config.eval_episodes)
    run.table("evaluation", scores)
    returns = scores["return"].to_numpy()
    metrics = {
        "eval/return_mean": returns.mean(),
        "eval/return_std": returns.std(),
        "train/return_last_100": np.mean(recent) if recent else np.nan,
    }
    if training.step > first_step:  # not where only the evaluation was left to do
        metrics["time/steps_per_second"] = rate
    run.figure("train/learning_curve", _figure(run, config, metrics["eval/return_mean"]))
    run.finish(metrics, steps=training.step, updates=training.updates, episodes=config.eval_episodes)
    return metrics


def _check_finite(training: Training) -> None:
    """Raises InputError if the loss, a weight or a priority is not finite: nothing more can be learned then.

    An infinite error may leave loss and weights alone, as Huber's gradient is 1 there, and yet its transition is all
    that a prioritised replay draws from then on.
    """
    agent, replay = training.agent, training.replay
    loss = float(training.loss) if training.updates else 0.0
    if not math.isfinite(loss):
        what = f"the loss is {loss}"
    elif isinstance(replay, PrioritisedReplay) and not finite([replay.highest]):
        what = "a priority is not finite"
    elif not finite(agent.q.state_dict().values()):
        what = "weights are not finite"
    else:
        return
    for name, kept in (("rewards", replay.rewards), ("observations", replay.frames)):
        if kept.is_floating_point() and not finite([kept[: len(replay)]]):
            raise gives_none(training.config.env, name)
    raise diverged(training.step, what, ", or with --max-gradient-norm 10")


def _hints(config: DQNConfig, curves: dict[str, float]) -> list[str]:
    """What the newest point of the curves shows that a person should know of."""
    hints = [_SILENT] if curves["train/dormant_units"] == 1 else []
    if config.distribution == "categorical" and abs(curves["train/value"]) > SATURATED * config.v_max:
        hints.append(_SATURATED.format(config.v_max))
    return hints


def _save(run: Run, training: Training, recent: list[float]) -> None:
    """A checkpoint to resume from, and beside it, small and by itself, the policy to evaluate and watch.

    Raises InputError rather than save what is not finite.
    """
    _check_finite(training)
    began, started = time.perf_counter(), time.time()
    path = run.checkpoint(training.step, {"training": training.state_dict(), "recent": recent})
    seconds = time.perf_counter() - began
    files = [file.stat() for file in path.parent.rglob("*") if file.is_file()]
    megabytes = sum(file.st_size for file in files if file.st_mtime >= started) / 1e6
    run.scalars({"time/checkpoint_seconds": seconds, "time/checkpoint_megabytes": megabytes}, training.step)
    messages.print(
        f"checkpoint at agent step {training.step:,}: {megabytes:,.1f} MB written in {seconds:.1f} s", soft_wrap=True
    )
    checkpoint.save(run.path / "policy", training.step, {"q": _policy(training.agent)})


def _policy(agent: DQN) -> dict[str, torch.Tensor]:
    """Q's weights as it computes with them: where that is bfloat16, the trunk's, half as large and just as good."""
    weights = agent.q.state_dict()
    if not agent.bfloat16:
        return weights
    return {name: value.bfloat16() if name.startswith("trunk") else value for name, value in weights.items()}


def _figure(run: Run, config: DQNConfig, score: float) -> Figure:
    """The learning curve, with the target network's syncs where they are few enough to be seen."""
    points = [e for e in record.read(run.path / RECORD) if e.get("tag") == "train/return_last_100"]
    last = config.learning_starts + config.train_every * config.target_every * 100
    period = config.train_every * config.target_every
    syncs = range(config.learning_starts + period, config.total_steps, period) if config.total_steps < last else ()
    title = f"DQN on {config.env}: return {short(score, 3)} after {config.total_steps:,} agent steps"
    steps, values = [e["step"] for e in points], [e["value"] for e in points]
    y = "return, mean of the last 100 episodes"
    return plots.learning_curve(steps, values, title, y, list(syncs), "the target network is copied")


@torch.no_grad()
def _curves(training: Training, tick: Tick, recent: list[float]) -> dict[str, float]:
    agent, state = training.agent, torch.as_tensor(training.state, device=training.agent.device)
    values = {
        "train/epsilon": tick.epsilon,
        "train/learning_rate": agent.step_size,
        "train/updates": training.updates,
        "train/value": float(agent.values(agent.q, state).amax(dim=1).mean()),
        "train/dormant_units": max(agent.dormant(state)),
    }
    if training.updates:
        values["train/loss"] = float(training.loss)
    if recent:
        values["train/return_last_100"] = float(np.mean(recent))
    return values
