"""`lab forecast` and `lab data`. Nothing heavy is imported before a command runs."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from lab.command import Command, Shared
from lab.errors import InputError


def settings_of(command: Command) -> dict[str, Any]:
    """The options of `command` that decide what comes out: not where its run goes, nor how it is printed."""
    shared = {field.name for field in fields(Command)}
    return {name: value for name, value in vars(command).items() if name not in shared}


def check_seed(seed: int) -> None:
    """Raise InputError for a seed that numpy's generators do not take."""
    if not 0 <= seed < 2**32:
        raise InputError(f"--seed is {seed}; give a whole number from 0 to {2**32 - 1}")


@dataclass(kw_only=True)
class Forecast(Command):
    """Forecast a series with CNN, LSTM, Transformer, linear and naive models, and compare them on its end."""

    series: tyro.conf.Positional[str]
    """A named series (`lab data list`) or the path of a CSV."""
    target: str = ""
    """The column to forecast; may be left out where there is only one."""
    time: str = ""
    """The column of times; found by itself where it is called time, date, ... or comes first."""
    time_format: str = ""
    """How times are written, where not as 2024-01-31 23:00; as strptime's %d/%m/%Y %H:%M."""
    horizon: int = 24
    """Steps to forecast."""
    lookback: int | None = None
    """Steps that a forecast looks back; chosen from the season and the length when left out."""
    fill: Literal["none", "ffill", "interpolate", "zero"] = "none"
    """What to do about gaps and missing values; none refuses them."""
    models: Annotated[tuple[str, ...], tyro.conf.arg(metavar="MODEL ...")] = ()
    """Out of weekly-naive, linear, cnn, lstm, transformer, with statsmodels theta, ets; seasonal-naive always joins."""
    origins: int | None = None
    """Horizons at the end held out, one after the other; up to seven when left out."""
    max_epochs: int = 30
    """Most epochs a network trains; it stops earlier when its validation error rises."""
    seed: int = 0
    device: str = "auto"
    """auto, cpu or cuda."""

    def __call__(self) -> None:
        check_seed(self.seed)
        from forecasting import benchmark
        from forecasting.datasets import load
        from lab.device import choose
        from lab.run import Run, slug

        benchmark.check_models(self.models or benchmark.DEFAULT)
        choose(self.device)
        series = load(
            self.series, self.target or None, self.time or None, self.fill, time_format=self.time_format or None
        )
        name = self.name or slug(f"forecast-{Path(self.series).name.split('.')[0]}")
        settings = benchmark.settle(
            series, self.horizon, self.models or None, self.lookback, self.max_epochs, self.origins
        )  # before the run's folder is made
        tags = [f"forecast/MASE/{model}" for model in settings.models]
        with Run.open(self.runs, name, settings_of(self), metrics=tags) as run:
            table = benchmark.compare(
                series, self.horizon, run, self.models or None, self.lookback, self.max_epochs, self.seed, self.device,
                self.origins,
            )  # fmt: skip
            run.finish(
                {f"forecast/MASE/{model}": score for model, score in zip(table["model"], table["MASE"], strict=True)}
            )
        protocol = f"{self.horizon} steps ahead, {settings.origins} origins, lookback {settings.lookback}"
        shown = table.drop(columns="origins")  # said in the title
        self.show(f"{self.series}: {series.name}, {protocol}", list(shown.columns), shown.to_numpy().tolist())
        self.done({"models": table.to_dict(orient="records")}, run.path)


@dataclass(kw_only=True)
class DataList(Shared):
    """List the named series: what they are, how often they are sampled, under which licence."""

    def __call__(self) -> None:
        from forecasting.anomaly.datasets import NAMED
        from forecasting.datasets import SERIES
        from lab.data import place

        rows = [
            [name, entry.frequency, "embedded" if entry.embedded else "download", entry.licence, entry.description]
            for name, entry in (SERIES | NAMED).items()
        ]
        columns = ["name", "step", "where", "licence", "what"]
        self.show("Named series", columns, rows)
        self.done({"series": [dict(zip(columns, row, strict=True)) for row in rows]}, place())


@dataclass(kw_only=True)
class DataFetch(Shared):
    """Fetch a named series' file, once, checking its sha256; LAB_DATA names a folder to take it from instead."""

    series: tyro.conf.Positional[str]
    """A name from `lab data list`."""

    def __call__(self) -> None:
        from forecasting.anomaly.datasets import NAMED
        from forecasting.datasets import entry
        from lab.data import locate

        found = NAMED.get(self.series) or entry(self.series)
        if found.file is None:
            raise InputError(f"{self.series} comes with the lab; there is nothing to fetch")
        path = locate(found.file)
        self.done({"series": self.series, "licence": found.licence, "url": found.file.url}, path)
