"""`lab forecast` and `lab data`. Nothing heavy is imported before a command runs."""

import warnings
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from lab.command import Command, Shared
from lab.errors import InputError, Notice

if TYPE_CHECKING:
    import pandas as pd


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
    """How times are written, where not as 2024-01-31 23:00; as strptime's %d/%m/%Y %H:%M; unix: seconds since 1970,
    unix-ms: milliseconds."""
    timezone: str = ""
    """Whose clocks the series follows, such as Europe/Berlin: times without an offset are read from them, and the days
    of people, whose beginning shifts in UTC when clocks change, stay whole for the models."""
    known: Annotated[tuple[str, ...], tyro.conf.arg(metavar="COLUMN ...")] = ()
    """Columns known ahead (holidays, weather forecasts, prices); the file has rows for the horizon, target empty."""
    horizon: int | None = None
    """Steps to forecast; 24 when left out."""
    lookback: int | None = None
    """Steps that a forecast looks back; chosen from the season and the length when left out."""
    fill: Literal["none", "ffill", "interpolate", "zero"] = "none"
    """What to do about gaps and missing values; none refuses them."""
    models: Annotated[tuple[str, ...], tyro.conf.arg(metavar="MODEL ...")] = ()
    """Out of weekly-naive, linear, cnn, lstm, transformer, with statsmodels theta, ets, with the extra nixtla
    autoarima, nhits, patchtst; seasonal-naive always joins."""
    backtest: int | None = None
    """Horizons at the end held out, one after the other; up to seven when left out."""
    coverage: float | None = None
    """Share of the values that the intervals are to cover; 0.9 when left out."""
    intervals: Literal["conformal", "quantile", "dropout"] = "conformal"
    """Where the networks' intervals come from: errors on held-out windows, quantile heads, or Monte Carlo dropout."""
    load: Path | None = None
    """The run of an earlier forecast: its models forecast what follows this series, and none is trained."""
    max_epochs: int = 30
    """Most epochs a network trains; it stops earlier when its validation error rises."""
    seed: int = 0
    device: str = "auto"
    """auto, cpu or cuda."""

    def __call__(self) -> None:
        check_seed(self.seed)
        from lab.device import threads

        with threads(1):  # the networks are small: see `threads`
            if self.load is not None:
                self._again(self.load)
            else:
                self._compare()

    def _compare(self) -> None:
        from forecasting import benchmark, clocks
        from lab.device import choose
        from lab.run import Run, slug

        benchmark.check_models(self.models or benchmark.DEFAULT)
        choose(self.device)
        self.horizon = 24 if self.horizon is None else self.horizon
        self.coverage = 0.9 if self.coverage is None else self.coverage
        series, known = self._read()
        name = self.name or slug(f"forecast-{Path(self.series).name.split('.')[0]}")
        settings = benchmark.settle(
            series, self.horizon, self.models or None, self.lookback, self.max_epochs, self.backtest, known,
            self.coverage,
        )  # fmt: skip  # before the run's folder is made
        tags = [f"forecast/MASE/{model}" for model in settings.models]
        with Run.open(self.runs, name, settings_of(self), metrics=tags) as run:
            table = benchmark.compare(
                series, self.horizon, run, self.models or None, self.lookback, self.max_epochs, self.seed, self.device,
                self.backtest, known, self.intervals, self.coverage,
            )  # fmt: skip
            run.finish(
                {f"forecast/MASE/{model}": score for model, score in zip(table["model"], table["MASE"], strict=True)}
            )
        steps, origins = clocks.spoken(series.index, self.horizon), settings.origins
        protocol = f"{steps} ahead, {origins} origin{'s' * (origins > 1)}, lookback {settings.lookback}"
        shown = table.drop(columns="origins")  # said in the title
        title = f"{self.series}: {series.name}, {protocol}; better: origins where it is closer than "
        title += f"{table['model'][0]}; coverage of {100 * self.coverage:g} % intervals"
        self.show(title, list(shown.columns), shown.to_numpy().tolist())
        best = str(benchmark.best(table)["model"])
        if not benchmark.beats_naive(table):
            warnings.warn(
                f"no model beats {best} on the held-out end of {self.series}; take its forecast, or give more data",
                Notice, stacklevel=2,
            )  # fmt: skip
        self.done({"models": table.to_dict(orient="records"), "best": best}, run.path)

    def _again(self, path: Path) -> None:
        """Forecast with the models of the run `path`."""
        from forecasting import again, clocks

        source = again.open_run(path)
        for option in ("target", "time", "time_format", "timezone"):
            setattr(self, option, getattr(self, option) or source.settings.get(option, ""))
        self.known = tuple(source.series["known"])
        steps = source.series["horizon"]
        if self.horizon not in (None, steps):
            raise InputError(f"the models of {path} forecast {steps} steps, not {self.horizon}; leave --horizon out")
        if self.coverage is not None and not 0 < self.coverage < 1:
            raise InputError(f"coverage {self.coverage} is no share of the values; give one between 0 and 1")
        series, known = self._read(source.series["frequency"])
        view = again.forecast(source, series, known, self.models, self.coverage, self.device)
        from lab.run import Run

        with Run.open(self.runs, self.name or f"{path.name}-again", settings_of(self)) as run:
            table = again.write(run, view)
            run.finish({})
        best = view.models[0]
        shown = table[table["model"] == best]
        title = f"{self.series}: {series.name}, {clocks.spoken(series.index, steps)} by {best} of {path}"
        self.show(title, list(shown.columns), shown.to_numpy().tolist())
        self.done({"forecasts": table.to_dict(orient="records"), "best": best}, run.path)

    def _read(self, frequency: str | None = None) -> "tuple[pd.Series, pd.DataFrame | None]":
        """The series, and what is known ahead; frequency: of the series that models were fitted to."""
        from forecasting import datasets

        time, zone, form = self.time or None, self.timezone or None, self.time_format or None
        series = datasets.load(
            self.series, self.target or None, time, self.fill, time_format=form, timezone=zone, ahead=bool(self.known),
            frequency=frequency,
        )  # fmt: skip
        if not self.known:
            return series, None
        if not datasets.is_file(self.series):
            raise InputError(f"--known names columns of a CSV, and {self.series} is a named series; give its file")
        return series, datasets.read_known(
            self.series, self.known, series, time, self.fill, time_format=form, timezone=zone
        )


@dataclass(kw_only=True)
class BenchmarkIntervals(Command):
    """Measure whether prediction intervals cover what they promise, on the held-out end of real series."""

    series: Annotated[tuple[str, ...], tyro.conf.arg(metavar="SERIES ...")] = ()
    """Named series or CSVs; seven real ones when left out. Gaps are interpolated."""
    models: Annotated[tuple[str, ...], tyro.conf.arg(metavar="MODEL ...")] = ()
    """Out of seasonal-naive, linear, cnn, lstm, transformer; all when left out."""
    origins: int = 40
    """Horizons at the end held out, of at most half the series."""
    rows: int = 4000
    """Rows of each series that are used, the last ones."""
    max_epochs: int = 30
    """Most epochs a network trains."""
    seed: int = 0
    device: str = "auto"
    """auto, cpu or cuda."""

    def __call__(self) -> None:
        check_seed(self.seed)
        from forecasting import coverage
        from lab.device import choose, threads
        from lab.run import Run

        choose(self.device)
        models = self.models or coverage.DEFAULT_MODELS
        series = coverage.check(self.series or coverage.DEFAULT_SERIES, models, self.origins, self.rows)
        with threads(1), Run.open(self.runs, self.name or "benchmark-intervals", settings_of(self)) as run:
            table = coverage.measure(series, models, self.origins, run, self.seed, self.device, self.max_epochs)
            means = coverage.summary(table)
            column = f"{coverage.SCORED:.0%}"
            run.finish({f"forecast/coverage/{row['model']}-{row['intervals']}": row[column]
                        for row in means.to_dict(orient="records")})  # fmt: skip
        title = f"Coverage, mean over {len(series)} series; width and interval score at {coverage.SCORED:.0%}"
        self.show(title, list(means.columns), means.to_numpy().tolist())
        self.done({"models": means.to_dict(orient="records"), "rows": table.to_dict(orient="records")}, run.path)


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
