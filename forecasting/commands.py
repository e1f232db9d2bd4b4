"""`lab forecast` and `lab data`. Nothing heavy is imported before a command runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from lab.command import Command


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
    """Out of seasonal-naive, weekly-naive, linear, cnn, lstm, transformer; with statsmodels theta, ets."""
    origins: int | None = None
    """Horizons at the end held out, one after the other; up to seven when left out."""
    max_epochs: int = 30
    """Most epochs a network trains; it stops earlier when its validation error rises."""
    seed: int = 0
    device: str = "auto"
    """auto, cpu or cuda."""

    def __call__(self) -> None:
        from forecasting import benchmark
        from forecasting.datasets import load
        from lab.device import choose
        from lab.run import Run

        benchmark.check_models(self.models or benchmark.DEFAULT)
        choose(self.device)
        series = load(
            self.series, self.target or None, self.time or None, self.fill, time_format=self.time_format or None
        )
        name = self.name or f"forecast-{Path(self.series).name.split('.')[0]}"
        settings = benchmark.settle(
            series, self.horizon, self.models or None, self.lookback, self.max_epochs, self.origins
        )  # before the run's folder is made
        with Run.open(self.runs, name, self, metrics=[f"forecast/MASE/{model}" for model in settings.models]) as run:
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
class DataList(Command):
    """List the named series: what they are, how often they are sampled, under which licence."""

    def __call__(self) -> None:
        from forecasting.datasets import SERIES

        rows = [
            [name, entry.frequency, "embedded" if entry.embedded else "download", entry.licence, entry.description]
            for name, entry in SERIES.items()
        ]
        columns = ["name", "step", "where", "licence", "what"]
        self.show("Named series", columns, rows)
        if self.json:
            import json

            print(json.dumps({"series": [dict(zip(columns, row, strict=True)) for row in rows]}))


@dataclass(kw_only=True)
class DataFetch(Command):
    """Fetch a named series' file, once, checking its sha256; LAB_DATA names a folder to take it from instead."""

    series: tyro.conf.Positional[str]
    """A name from `lab data list`."""

    def __call__(self) -> None:
        from forecasting.datasets import entry
        from lab.data import locate
        from lab.errors import InputError

        found = entry(self.series)
        if found.file is None:
            raise InputError(f"{self.series} comes with the lab; there is nothing to fetch")
        path = locate(found.file)
        self.done({"series": self.series, "licence": found.licence, "url": found.file.url}, path)
