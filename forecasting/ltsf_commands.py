"""`lab benchmark forecasters` and `lab speed forecasters`: everything heavy is imported inside the commands."""

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from lab.command import Command


@dataclass(kw_only=True)
class BenchmarkForecasters(Command):
    """Measure CNN, LSTM and Transformer against ridge, DLinear and the naive floor. Goes on where it was stopped."""

    protocol: Literal["ltsf"] = "ltsf"
    """ltsf: long horizons on a standardised scale, errors over every window of the test part."""
    data: Annotated[tuple[str, ...], tyro.conf.arg(metavar="DATA ...")] = ("ETTh1", "ETTh2", "ETTm1")
    """ETTh1, ETTh2, ETTm1, or CSVs with a column of times; every other column is a channel."""
    borders: str = "0.7,0.1,0.2"
    """Shares of a CSV's rows to train, validate and test on; the three ETT files have their published borders."""
    horizons: tuple[int, ...] = (96, 192, 336, 720)
    """Steps to forecast."""
    seeds: int = 3
    """Seeds 0, 1, ... of first weights and of the order of windows."""
    models: Annotated[tuple[str, ...], tyro.conf.arg(metavar="MODEL ...")] = ()
    """Out of cnn, lstm, transformer, dlinear, nlinear (these when left out), cnn-lstm, plain-lstm and
    plain-transformer."""
    device: str = "auto"
    """auto, cpu or cuda."""

    def __call__(self) -> None:
        from forecasting import ltsf_benchmark
        from lab.errors import InputError
        from lab.run import Run

        models = self.models or ltsf_benchmark.DEFAULT
        ltsf_benchmark.check(models, self.horizons, self.seeds)
        try:
            first, second, third = (float(share) for share in self.borders.split(","))
        except ValueError:
            raise InputError(f"borders {self.borders!r} are no three shares; give 0.7,0.1,0.2 for example") from None
        # tasks may be added from call to call: the run is the same, and what it has is not measured again
        config = {"protocol": self.protocol, "borders": self.borders, "device": self.device}
        tags = [f"forecast/mse/{model}" for model in (*models, "ridge", "combined")]
        name = self.name or f"benchmark-forecasters-{self.protocol}"
        with Run.open(self.runs, name, config, resume=True, metrics=tags) as run:
            rows = ltsf_benchmark.measure(
                self.data, (first, second, third), self.horizons, self.seeds, models, run, self.device
            )
            table = ltsf_benchmark.summary(rows)
            ltsf_benchmark.report(rows, table, run)
        tasks = rows.groupby(["dataset", "horizon"]).ngroups
        title = f"LTSF, mean over {tasks} tasks and {self.seeds} seeds, standardised scale"
        self.show(title, list(table.columns), table.to_numpy().tolist())
        if ltsf_benchmark.is_published_set(rows):
            self.show("Published, same tasks", ["model", "mse", "source"], [list(p) for p in ltsf_benchmark.PUBLISHED])
        self.done({"models": table.to_dict(orient="records"), "tasks": rows.to_dict(orient="records")}, run.path)


@dataclass(kw_only=True)
class SpeedForecasters(Command):
    """Measure how fast our Transformer and DLinear learn, beside neuralforecast's and sktime's in turn."""

    rounds: int = 3
    """Measurements of each side, in turn."""
    steps: int = 100
    """Gradient steps (batch 128) that a measurement lasts."""
    race: int = 256
    """Gradient steps of the race to the lowest validation error."""
    threads: int = 1
    """CPU threads torch works with, on every side."""
    device: str = "cpu"
    """cpu or cuda."""

    def __call__(self) -> None:
        from dataclasses import asdict

        from forecasting import speed
        from lab.device import choose
        from lab.run import Run

        work = speed.Work(steps=self.steps, race=self.race, threads=self.threads, device=self.device)
        speed.check(work, self.rounds)
        choose(self.device)
        tags = [f"speed/ratio/{peer}" for peer in speed.PEERS]
        settings = asdict(work) | {"rounds": self.rounds}
        with Run.open(self.runs, self.name or "speed-forecasters", settings, metrics=tags) as run:
            table = speed.compare(work, self.rounds)
            found = speed.summary(table)
            speed.report(table, found, run)
        sides = {**found["ours"], **found["peers"]}
        self.show(
            f"Training, median of {self.rounds} round{'s' * (self.rounds > 1)}",
            ["", "windows/s", "seconds to the lowest validation error", "that error", "ours is faster by"],
            [
                [speed.SIDES[side].name, each["windows_per_second"], each["seconds_to_best"], each["best"],
                 found["ratio"].get(side, "")]
                for side, each in sides.items()
            ],
        )  # fmt: skip
        self.done(found, run.path)
