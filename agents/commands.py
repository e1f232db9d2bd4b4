"""The commands that train agents and play with them."""

import itertools
import re
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
        from agents.environments import make_envs
        from agents.train import METRICS, check, train
        from lab import device
        from lab.run import Run

        config = self.config
        check(config)
        make_envs(config, 1).close()  # a wrong id is said before a run is made
        name = self.name or "dqn-" + re.sub(r"[^\w.-]+", "-", config.env.removeprefix("ALE/").lower())
        with Run.open(self.runs, name, config, resume=self.resume, metrics=METRICS) as run:
            with device.threads(config.threads):
                metrics = run.finished or train(config, run)
            path = run.path
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

    def __call__(self) -> None:
        from agents.evaluate import evaluate, evaluation_epsilon, load, summarise
        from lab.errors import InputError
        from lab.run import Run

        if self.episodes < 1:
            raise InputError(f"--episodes must be at least 1, not {self.episodes}")
        agent, config = load(self.run)
        settings = {"run": str(self.run), "episodes": self.episodes, "epsilon": evaluation_epsilon(config)}
        with Run.open(
            self.runs, self.name or f"evaluate-{self.run.name}", settings, metrics=["eval/return_mean"]
        ) as run:
            scores = evaluate(agent, config, self.episodes)
            run.table("evaluation", scores)
            for episode, row in scores.iterrows():
                run.scalars({"eval/return": row["return"], "eval/length": row["length"]}, episode)
            summary = summarise(scores["return"].to_numpy(), config.env)
            run.finish(summary)
        title = f"{config.env}, {self.episodes} episodes, epsilon {settings['epsilon']}"
        self.measures(title, summary)
        self.done({"env": config.env, "episodes": self.episodes, **summary}, run.path)


@dataclass
class Watch(Command):
    """Film a trained agent at play: an mp4, and a moving picture in TensorBoard."""

    run: Positional[Path]
    """Folder of the run that trained it."""
    seed: int = 0
    """Another seed, another game."""

    def __call__(self) -> None:
        from agents.evaluate import film, load
        from lab.run import Run

        agent, config = load(self.run)
        with Run.open(
            self.runs, self.name or f"watch-{self.run.name}", {"run": str(self.run), "seed": self.seed}
        ) as run:
            frames, score = film(agent, config, 2_000_000 + self.seed)
            path = run.video("eval/episode", frames, fps=15)
            run.finish({"eval/return": score}, steps=len(frames) - 1)
        played = {"return": score, "steps": len(frames) - 1}
        self.measures(f"{config.env}: one episode", played)
        self.done({"env": config.env, **played}, path)
