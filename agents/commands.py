"""The commands that train agents and play with them."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from tyro.conf import Positional

from agents.config import DQNConfig, preset
from agents.peer_config import PeerConfig, SB3A2CConfig, SB3DQNConfig, SB3PPOConfig
from lab.command import Command


@dataclass
class TrainDQN(Command):
    """Train DQN on an environment; the defaults shown are those for the --env given."""

    config: DQNConfig = field(default_factory=DQNConfig)
    preset: str = ""
    """Settings of a paper or a purpose: nature, rainbow or fast, or a file: your own .toml, or a run's config.json, to
    make it again; options given beside it count."""
    resume: bool = False
    """Go on from the newest checkpoint of the run of this name, if there is one; with a larger --total-steps for longer
    (not with --anneal or --priority-alpha)."""

    @classmethod
    def default(cls, words: Sequence[str]) -> Self:
        """Options as they stand for the environment and the preset named among the words of the command line."""
        env, name = _option(words, "--env") or "", _option(words, "--preset") or ""
        return cls(config=preset(env, name), preset=name)

    def __call__(self) -> None:
        from agents.environments import check_playable
        from agents.train import METRICS, check, check_effect, ends_with_training, train
        from lab.errors import InputError
        from lab.jsonfile import read_json
        from lab.run import CONFIG, RESULT, Run, slug

        config = self.config
        check(config)
        check_playable(config, self.runs)  # what cannot work is said before a run is made
        check_effect(config, preset(config.env, self.preset))
        name = self.name or slug(f"dqn-{config.env.removeprefix('ALE/').lower()}")
        path = Run.find(self.runs, name, config) if self.resume else None
        longer = "" if (ends := ends_with_training(config)) else "total_steps"
        if self.resume and not path and ends and (shorter := Run.find(self.runs, name, config, "total_steps")):
            raise InputError(
                f"run {shorter} cannot go on for longer: {ends} by the end of its total_steps="
                f"{read_json(shorter / CONFIG)['total_steps']}; give another --name to begin again"
            )
        if path and (path / RESULT).exists():  # done already
            metrics = read_json(path / RESULT)["metrics"]
        else:
            with Run.open(self.runs, name, config, resume=self.resume, metrics=METRICS, longer=longer) as run:
                metrics, path = train(config, run), run.path
        if metrics is None:
            raise KeyboardInterrupt
        self.measures(f"DQN on {config.env}, {config.total_steps:,} agent steps", metrics)
        self.done({"env": config.env, "metrics": metrics}, path)


def _option(words: Sequence[str], option: str) -> str | None:
    """What is given for an option among the words of a command line, the last time."""
    named = [word.split("=", 1)[1] for word in words if word.startswith(f"{option}=")]
    named += [after for word, after in itertools.pairwise(words) if word == option]
    return named[-1] if named else None


@dataclass
class Evaluate(Command):
    """Score a trained agent: whole episodes, raw rewards, the protocol's epsilon."""

    run: Positional[Path]
    """Folder of the run that trained it."""
    episodes: int = 30
    """Whole episodes to play."""

    seed: int = 0
    """Another seed, other games."""

    def __call__(self) -> None:
        from agents.environments import first_seed, playing
        from agents.evaluate import evaluate, evaluation_epsilon, summarise
        from lab import device
        from lab.errors import InputError
        from lab.run import Run, slug

        if self.episodes < 1:
            raise InputError(f"--episodes must be at least 1, not {self.episodes}")
        _check_seed(self.seed)
        agent, config, step = _load(self.run)
        settings = {
            **_described(self.run, config, step), "episodes": self.episodes, "game_seed": self.seed,
            "epsilon": evaluation_epsilon(config),
        }  # fmt: skip
        name = self.name or slug(f"evaluate-{self.run.resolve().name}")
        with (
            device.threads(config.threads),
            playing(config),
            Run.open(self.runs, name, settings, metrics=["eval/return_mean"]) as run,
        ):
            scores = evaluate(agent, config, self.episodes, seed=first_seed(self.seed, 3_000_000))
            run.table("evaluation", scores)
            for episode, row in scores.iterrows():
                run.scalars({"eval/episode_return": row["return"], "eval/episode_length": row["length"]}, episode)
            summary = summarise(scores["return"].to_numpy(), config.env)
            known = {tag: value for tag, value in summary.items() if math.isfinite(value)}  # one episode: no interval
            run.scalars(known, self.episodes)
            run.finish(summary)
        title = f"{config.env} after {step:,} agent steps: {self.episodes} episodes, epsilon {settings['epsilon']}"
        self.measures(title, summary)
        self.done({"env": config.env, "episodes": self.episodes, "agent_step": step, **summary}, run.path)


def _peer(run: Path) -> str:
    """The algorithm of the run in folder `run` if it is a peer's, else nothing."""
    from lab.jsonfile import read_json
    from lab.run import CONFIG

    named = str(read_json(run / CONFIG).get("algorithm")) if (run / CONFIG).exists() else ""
    return named if named.startswith("sb3-") else ""


def _load(run: Path) -> tuple[Any, DQNConfig, int]:
    """The trained agent of a run, ours or a peer, its environment's config, and the agent step it was saved at."""
    if _peer(run):
        from agents import peers

        player, config, step = peers.load(run)
        return player, peers.played(config), step
    from agents.evaluate import load

    return load(run)


def _described(run: Path, config: DQNConfig, step: int) -> dict[str, Any]:
    """What the settings of a run about the policy of `run` say of it: all of its training's, under the names by which
    lab compare reads them, so that policies of several seeds are one group."""
    from lab.jsonfile import read_json
    from lab.run import CONFIG

    return {
        **read_json(run / CONFIG), "algorithm": _peer(run) or "dqn", "policy": str(run),
        "agent_step": min(step, config.total_steps),  # the last vector step may go beyond, by seed
    }  # fmt: skip


def _check_seed(seed: int) -> None:
    from lab.errors import InputError

    if not 0 <= seed <= 2**30:
        raise InputError(f"--seed must lie in 0 .. {2**30}, not {seed}")


@dataclass
class Watch(Command):
    """Film a trained agent at play: an mp4, and a moving picture in TensorBoard."""

    run: Positional[Path]
    """Folder of the run that trained it."""
    seed: int = 0
    """Another seed, another game."""

    def __call__(self) -> None:
        from agents.environments import first_seed, playing
        from agents.evaluate import film
        from lab import device
        from lab.run import Run, slug

        _check_seed(self.seed)
        agent, config, step = _load(self.run)
        settings = {**_described(self.run, config, step), "game_seed": self.seed}
        name = self.name or slug(f"watch-{self.run.resolve().name}")
        with device.threads(config.threads), playing(config):
            # no run is made of what draws no pictures
            frames, score = film(agent, config, first_seed(self.seed, 2_000_000))
        with Run.open(self.runs, name, settings, metrics=["eval/return"]) as run:
            path = run.video("eval/episode", frames, fps=15)
            run.finish({"eval/return": score}, steps=len(frames) - 1)
        played = {"return": score, "steps": len(frames) - 1}
        self.measures(f"{config.env}: one episode", played)
        self.done({"env": config.env, **played}, path)


@dataclass
class _TrainPeer(Command):
    """What training a peer is, whichever it is; subclasses say what `config` holds."""

    config: PeerConfig = field(default_factory=PeerConfig)

    @classmethod
    def default(cls, words: Sequence[str]) -> Self:
        """Options as they stand for the environment named among the words of the command line."""
        made = cls()
        made.config = type(made.config).preset(TrainDQN.default(words).config.env)
        return made

    def __call__(self) -> None:
        from agents.peers import check, settings, train
        from agents.train import METRICS
        from lab.run import Run, slug

        config = self.config
        check(config)  # what cannot work is said before a run is made
        described = settings(config)
        name = self.name or slug(f"{described['algorithm']}-{config.env.removeprefix('ALE/').lower()}")
        with Run.open(self.runs, name, described, metrics=METRICS) as run:
            metrics = train(config, run)
        if metrics is None:
            raise KeyboardInterrupt
        self.measures(f"{described['algorithm']} on {config.env}, {config.total_steps:,} agent steps", metrics)
        self.done({"env": config.env, "metrics": metrics}, run.path)


@dataclass
class TrainSB3DQN(_TrainPeer):
    """Train Stable-Baselines3's DQN by the protocol of `lab train dqn`, to compare; it cannot be resumed."""

    config: SB3DQNConfig = field(default_factory=SB3DQNConfig)


@dataclass
class TrainSB3A2C(_TrainPeer):
    """Train Stable-Baselines3's A2C by the protocol of `lab train dqn`, to compare; it cannot be resumed."""

    config: SB3A2CConfig = field(default_factory=SB3A2CConfig)


@dataclass
class TrainSB3PPO(_TrainPeer):
    """Train Stable-Baselines3's PPO by the protocol of `lab train dqn`, to compare; it cannot be resumed."""

    config: SB3PPOConfig = field(default_factory=SB3PPOConfig)


@dataclass
class Inspect(Command):
    """Show what a trained agent learned: value over time, a map of the last hidden layer, where it looks, a film."""

    run: Positional[Path]
    """Folder of the run that trained it."""
    episodes: int = 1
    """Whole episodes on the timeline and in the film, up to 3000 agent steps."""
    states: int = 1000
    """States on the map, 10 to 5000; the agent plays on until it has seen so many."""
    seed: int = 0
    """Another seed, other games."""

    def __call__(self) -> None:
        from lab.errors import InputError

        for name, value, least, most in (("episodes", self.episodes, 1, 1000), ("states", self.states, 10, 5000)):
            if not least <= value <= most:
                raise InputError(f"--{name} must lie in {least} .. {most}, not {value}")
        _check_seed(self.seed)

        from agents.environments import first_seed, playing
        from agents.evaluate import load
        from agents.inspect import METRICS, inspect, look
        from lab import device
        from lab.run import Run, slug

        if peer := _peer(self.run):
            raise InputError(f"{self.run} is a run of {peer}, and peers cannot be inspected; lab watch films them too")
        agent, config, step = load(self.run)
        settings = {
            **_described(self.run, config, step), "episodes": self.episodes, "states": self.states,
            "game_seed": self.seed,
        }  # fmt: skip
        name = self.name or slug(f"inspect-{self.run.resolve().name}")
        seed = first_seed(self.seed, 4_000_000)
        with device.threads(config.threads), playing(config):
            seen = look(agent, config, self.episodes, self.states, seed)  # no run is made of what cannot be pictured
            with Run.open(self.runs, name, settings, metrics=METRICS) as run:
                found, steps = inspect(agent, config, run, seen, self.episodes, self.states, seed)
                run.finish(found, steps=steps)
        self.measures(f"{config.env} after {step:,} agent steps: {steps:,} steps of play", found)
        self.done({"env": config.env, "agent_step": step, "steps": steps, **found}, run.path)


@dataclass
class SpeedAgents(Command):
    """Measure how fast DQN learns, ours and Stable-Baselines3's in turn, beside what this machine could do."""

    env: str = "ALE/Pong-v5"
    """Gymnasium id, as in `lab train dqn`."""
    protocol: Literal["classic", "sticky"] = "classic"
    """Atari rules: classic (Nature) or sticky (Machado et al., 2018)."""
    rounds: int = 3
    """Measurements of each side, in turn."""
    steps: int = 4_000
    """Agent steps that a measurement lasts, once learning goes on."""
    trial_steps: int = 500
    """Agent steps of each trial of threads and environments before the rounds; 0: no trials."""
    device: str = "auto"
    """auto, cpu or cuda."""
    precision: Literal["auto", "float32", "bfloat16"] | None = None
    """Arithmetic of our network, as in `lab train dqn`, whose default it has; Stable-Baselines3's is float32."""

    def __call__(self) -> None:
        from agents import speed
        from agents.environments import check_playable
        from agents.train import check
        from lab.errors import InputError
        from lab.run import Run, slug

        if min(self.rounds, self.steps) < 1 or self.trial_steps < 0:
            raise InputError("--rounds and --steps must be at least 1, --trial-steps at least 0")
        config = speed.settings(
            self.env, self.steps, protocol=self.protocol, device=self.device, precision=self.precision
        )
        check(config)
        check_playable(config)
        name = self.name or slug(f"speed-{self.env.removeprefix('ALE/').lower()}")
        described = {"rounds": self.rounds, "steps": self.steps, "trial_steps": self.trial_steps, **vars(config)}
        tags = [*(f"speed/{side}" for side in speed.SIDES), "speed/ratio/sb3", "speed/ratio/sb3-tuned"]
        with Run.open(self.runs, name, described, metrics=tags) as run:
            table, floor = speed.compare(config, self.rounds, self.steps, self.trial_steps)
            found = speed.summary(table, floor, config)
            speed.report(table, floor, found, config, run)
        sides = {"ours": found["ours"], **found["peers"]}
        self.show(
            f"DQN on {self.env}: playing and learning, median of {self.rounds} round{'s' * (self.rounds > 1)}",
            ["", "agent steps/s", "updates/s", "peak MiB", "replay, full, MiB", "share of floor", "how"],
            [
                [side, each["steps_per_second"], each["updates_per_second"], each["peak_bytes"] / 2**20,
                 each["replay_bytes"] / 2**20, each["share_of_floor"], speed.spoken(each)]
                for side, each in sides.items()
            ],
        )  # fmt: skip
        self.show(
            "Ours over the peer, each round by itself",
            ["", "median", "lowest", "highest"],
            [[f"ours / {side}", ratio, *found["ratio_range"][side]] for side, ratio in found["ratio"].items()],
        )
        rates = {f"matrix products, {kind}, GFLOP/s": rate / 1e9 for kind, rate in floor.flops_per_second.items()}
        self.measures(
            "The floor: what the work comes to, and what this machine can do",
            {
                "an update, GFLOP": floor.flops_per_update / 1e9, "an action, GFLOP": floor.flops_per_action / 1e9,
                "frames gathered for a batch, MB": floor.bytes_per_batch / 1e6,
                "emulator alone, agent steps/s": floor.emulator_steps_per_second, **rates,
            },
        )  # fmt: skip
        self.done({"env": self.env, **found}, run.path)
