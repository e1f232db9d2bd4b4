"""`lab benchmark forecasters` and `lab speed forecasters`: everything heavy is imported inside the commands."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro

from lab.command import Command
from lab.errors import InputError


@dataclass(kw_only=True)
class BenchmarkForecasters(Command):
    """Measure CNN, LSTM and Transformer against linear, classic and naive models. Goes on where it was stopped."""

    protocol: Literal["ltsf", "rolling", "m4", "pems"] = "ltsf"
    """ltsf: long horizons on a standardised scale, errors over every window of the test part. rolling: one season ahead
    from several origins at the end of traffic, web and other series, MASE, with the classics beside the networks. m4:
    one pooled model for M4's 414 hourly series. pems: lane flow five minutes ahead, in the published split."""
    data: Annotated[tuple[str, ...], tyro.conf.arg(metavar="DATA ...")] = ()
    """ltsf: ETTh1, ETTh2, ETTm1 (all when left out), or CSVs with a column of times; every other column is a channel.
    rolling: named series or CSVs; nine when left out. m4, pems: the folder of their files, LAB_DATA's when left
    out."""
    borders: str = "0.7,0.1,0.2"
    """ltsf: shares of a CSV's rows to train, validate and test on; the three ETT files have their published borders."""
    horizons: tuple[int, ...] = ()
    """Steps to forecast; left out, ltsf takes 96 192 336 720, and rolling the season of each series."""
    lookbacks: tuple[int, ...] = ()
    """ltsf: steps that forecasts may look back; each task takes the two that validate best. 336 504 720 1440 2160
    when left out."""
    seeds: int = 3
    """Seeds 0, 1, ... of first weights and of the order of windows."""
    models: Annotated[tuple[str, ...], tyro.conf.arg(metavar="MODEL ...")] = ()
    """ltsf: out of cnn, lstm, transformer, dlinear, nlinear (these when left out), cnn-lstm, plain-lstm and
    plain-transformer. rolling: out of those of `lab forecast`."""
    device: str = "auto"
    """auto, cpu or cuda."""

    def __call__(self) -> None:
        if self.lookbacks and self.protocol != "ltsf":
            raise InputError(f"the {self.protocol} protocol takes no --lookbacks; leave them out")
        run = {"ltsf": self._ltsf, "rolling": self._rolling, "m4": self._split, "pems": self._split}[self.protocol]
        try:
            run()
        except InputError as error:
            if not any(option in str(error) for option in ("--fill", "--timezone", "--time-format")):
                raise
            raise InputError(f"{error} (options of `lab forecast`; a benchmark wants the file itself mended)") from None

    def _ltsf(self) -> None:
        from forecasting import families, ltsf, ltsf_benchmark
        from lab.run import Run

        models, horizons = self.models or ltsf_benchmark.DEFAULT, self.horizons or ltsf.HORIZONS
        lookbacks = tuple(sorted(set(self.lookbacks))) or families.LOOKBACKS
        ltsf_benchmark.check(models, horizons, self.seeds, lookbacks)
        try:
            first, second, third = (float(share) for share in self.borders.split(","))
        except ValueError:
            raise InputError(f"borders {self.borders!r} are no three shares; give 0.7,0.1,0.2 for example") from None
        # tasks may be added from call to call: the run is the same, and what it has is not measured again
        config = {
            "protocol": self.protocol, "borders": self.borders, "device": self.device, "lookbacks": list(lookbacks)
        }  # fmt: skip
        combined = ("combined",) if set(families.MAIN) <= set(models) else ()
        tags = [f"forecast/mse/{model}" for model in (*models, "ridge", *combined)]
        name = self.name or f"benchmark-forecasters-{self.protocol}"
        with Run.open(self.runs, name, config, resume=True, metrics=tags) as run:
            rows = ltsf_benchmark.measure(
                self.data or tuple(ltsf.ETT), (first, second, third), horizons, self.seeds, models, run, self.device,
                lookbacks,
            )  # fmt: skip
            table = ltsf_benchmark.summary(rows)
            ltsf_benchmark.report(rows, table, run)
        tasks = rows.groupby(["dataset", "horizon"]).ngroups
        title = f"LTSF, mean over {tasks} tasks, {_seeds(self.seeds)}, standardised scale"
        self.show(title, list(table.columns), table.to_numpy().tolist())
        if ltsf_benchmark.is_published_set(rows):
            self.show("Published, same tasks", ["model", "mse", "source"], [list(p) for p in ltsf_benchmark.PUBLISHED])
        self.done({"models": table.to_dict(orient="records"), "tasks": rows.to_dict(orient="records")}, run.path)

    def _rolling(self) -> None:
        from forecasting import models, rolling
        from lab.device import choose, threads
        from lab.run import Run

        if self.seeds < 1 or len(self.horizons) > 1 or any(horizon < 1 for horizon in self.horizons):
            raise InputError("rolling takes at least 1 seed and at most one horizon, of 1 step or more")
        if self.models:
            models.check_models(self.models)
        choose(self.device)
        todo = rolling.tasks(self.data, next(iter(self.horizons), None))
        config = {"protocol": self.protocol, "device": self.device}
        with threads(1), Run.open(
            self.runs, self.name or "benchmark-forecasters-rolling", config, resume=True,
            metrics=[f"forecast/MASE/{model}" for model in self.models or rolling.MODELS],
        ) as run:  # fmt: skip
            boards, errors = rolling.measure(todo, self.seeds, self.models, run, self.device)
            table = rolling.summary(boards)
            rolling.report(boards, errors, table, run)
        title = f"Rolling origin, mean over {len(todo)} task{'s' * (len(todo) > 1)}, {_seeds(boards['seed'].nunique())}"
        self.show(title, list(table.columns), table.to_numpy().tolist())
        self.done({"models": table.to_dict(orient="records"), "series": boards.to_dict(orient="records")}, run.path)

    def _split(self) -> None:
        """Benchmarks with a split of their own and published figures for it."""
        from pathlib import Path

        from forecasting import m4, pems
        from lab.device import choose
        from lab.run import Run

        bench: Any = {"m4": m4, "pems": pems}[self.protocol]
        if self.seeds < 1 or self.horizons or len(self.data) > 1:
            raise InputError(f"{self.protocol} takes at least 1 seed, no --horizons, and at most one folder as --data")
        names, folder = bench.check(self.models), Path(self.data[0]) if self.data else None
        choose(self.device)
        loaded = bench.load(folder)
        settings = {"protocol": self.protocol, "seeds": self.seeds, "models": names, "device": self.device}
        with Run.open(self.runs, self.name or f"benchmark-forecasters-{self.protocol}", settings) as run:
            arguments = (loaded,) if self.protocol == "m4" else loaded
            table = bench.measure(*arguments, names, self.seeds, self.device, run)
            means = bench.summary(table)
            run.table("summary", means)
            measure = "owa" if self.protocol == "m4" else "mae"
            run.finish({f"forecast/{measure}": float(means[measure].min())})
        self.show(f"{self.protocol}, {_seeds(self.seeds)}", list(means.columns), means.to_numpy().tolist())
        self.show("Published", ["model", measure, "source"], [list(row) for row in bench.PUBLISHED])
        self.done({"models": means.to_dict(orient="records")}, run.path)


def _seeds(count: int) -> str:
    return f"{count} seed{'s' * (count > 1)}"


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
