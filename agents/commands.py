"""The commands that train agents and play with them."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tyro.conf import Positional

from agents.config import DQNConfig, preset
from lab.command import Command


@dataclass
class TrainDQN(Command):
    """Train DQN on an environment; the defaults shown are those for the --env given."""

    config: DQNConfig = field(default_factory=DQNConfig)
    resume: bool = False
    """Go on from the newest checkpoint of the run of this name, if there is one."""

    @classmethod
    def default(cls, words: Sequence[str]) -> Self:
        """Options as they stand for the environment named among the words of the command line."""
        named = [word.split("=", 1)[1] for word in words if word.startswith("--env=")]
        named += [after for word, after in itertools.pairwise(words) if word == "--env"]
        return cls(config=preset(named[-1]) if named else DQNConfig())

    def __call__(self) -> None:
        from agents.environments import check_playable
        from agents.train import METRICS, check, train
        from lab.jsonfile import read_json
        from lab.run import RESULT, Run, slug

        config = self.config
        check(config)
        check_playable(config)  # what cannot work is said before a run is made
        name = self.name or slug(f"dqn-{config.env.removeprefix('ALE/').lower()}")
        path = Run.find(self.runs, name, config) if self.resume else None
        if path and (path / RESULT).exists():  # done already
            metrics = read_json(path / RESULT)["metrics"]
        else:
            with Run.open(self.runs, name, config, resume=self.resume, metrics=METRICS) as run:
                metrics, path = train(config, run), run.path
        if metrics is None:
            raise KeyboardInterrupt
        self.measures(f"DQN on {config.env}, {config.total_steps:,} agent steps", metrics)
        self.done({"env": config.env, "metrics": metrics}, path)


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
        from agents.evaluate import evaluate, evaluation_epsilon, load, summarise
        from lab import device
        from lab.errors import InputError
        from lab.run import Run, slug

        if self.episodes < 1:
            raise InputError(f"--episodes must be at least 1, not {self.episodes}")
        _check_seed(self.seed)
        agent, config, step = load(self.run)
        settings = {
            "run": str(self.run), "agent_step": step, "episodes": self.episodes, "seed": self.seed,
            "epsilon": evaluation_epsilon(config),
        }  # fmt: skip
        name = self.name or slug(f"evaluate-{self.run.resolve().name}")
        with device.threads(config.threads), Run.open(self.runs, name, settings, metrics=["eval/return_mean"]) as run:
            scores = evaluate(agent, config, self.episodes, seed=3_000_000 + self.seed)
            run.table("evaluation", scores)
            for episode, row in scores.iterrows():
                run.scalars({"eval/return": row["return"], "eval/length": row["length"]}, episode)
            summary = summarise(scores["return"].to_numpy(), config.env)
            run.finish(summary)
        title = f"{config.env} after {step:,} agent steps: {self.episodes} episodes, epsilon {settings['epsilon']}"
        self.measures(title, summary)
        self.done({"env": config.env, "episodes": self.episodes, "agent_step": step, **summary}, run.path)


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
        from agents.evaluate import film, load
        from lab import device
        from lab.run import Run, slug

        _check_seed(self.seed)
        agent, config, step = load(self.run)
        settings = {"run": str(self.run), "agent_step": step, "seed": self.seed}
        name = self.name or slug(f"watch-{self.run.resolve().name}")
        with device.threads(config.threads), Run.open(self.runs, name, settings, metrics=["eval/return"]) as run:
            frames, score = film(agent, config, 2_000_000 + self.seed)
            path = run.video("eval/episode", frames, fps=15)
            run.finish({"eval/return": score}, steps=len(frames) - 1)
        played = {"return": score, "steps": len(frames) - 1}
        self.measures(f"{config.env}: one episode", played)
        self.done({"env": config.env, **played}, path)


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

        from agents.evaluate import load
        from agents.inspect import METRICS, inspect
        from lab import device
        from lab.run import Run, slug

        agent, config, step = load(self.run)
        settings = {
            "run": str(self.run), "agent_step": step, "episodes": self.episodes, "states": self.states,
            "seed": self.seed,
        }  # fmt: skip
        name = self.name or slug(f"inspect-{self.run.resolve().name}")
        with device.threads(config.threads), Run.open(self.runs, name, settings, metrics=METRICS) as run:
            found, steps = inspect(agent, config, run, self.episodes, self.states, 4_000_000 + self.seed)
            run.finish(found, steps=steps)
        self.measures(f"{config.env} after {step:,} agent steps: {steps:,} steps of play", found)
        self.done({"env": config.env, "agent_step": step, "steps": steps, **found}, run.path)
