"""`lab detect`, `lab explain`, `lab benchmark detectors`: everything heavy is imported inside the command."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from forecasting.commands import check_seed, settings_of
from lab.command import Command
from lab.digits import short
from lab.errors import InputError

if TYPE_CHECKING:
    from forecasting.anomaly.bench import Detection
    from forecasting.anomaly.datasets import Case
    from lab.run import Run

METRICS = (
    "anomaly/intervals", "anomaly/top_score", "anomaly/threshold", "anomaly/hit", "anomaly/average_precision",
    "anomaly/validity",
)  # fmt: skip
SAMPLES = 1000  # most draws: each is kept, scored and written


@dataclass(kw_only=True)
class _Anomaly(Command):
    series: Annotated[str, tyro.conf.Positional]
    """A named series (mitdb, web-traffic-anomaly, or any that `lab forecast` knows) or the path of a CSV."""
    target: str | None = None
    """Column to look at."""
    time: str | None = None
    """Column that holds the time; a CSV without times is counted by its rows."""
    time_format: str | None = None
    """How the times are written, where not as 2024-01-31 23:00; strptime's, such as %d/%m/%Y; unix: seconds since 1970,
    unix-ms: milliseconds."""
    timezone: str | None = None
    """Whose clock the times are read from, where they carry no offset, and told on, such as Europe/Berlin."""
    fill: Literal["none", "ffill", "interpolate", "zero"] = "none"
    """What to do about gaps and missing values."""
    train_end: float | str | None = None
    """Where the normal part to learn from ends: a position, a share below 1, or a time, the first that is not part of
    it. Default: the series' own, else 0.5."""
    period: int | None = None
    """Samples in one repetition; estimated when left out."""
    window: int | None = None
    """Samples in a window, that surprise is averaged over at most; one period when left out."""
    quantile: float = 0.9999
    """The threshold is this quantile of the normal scores (of the training part)."""
    contamination: float | None = None
    """Share of the normal part that may itself be abnormal: its strangest stretches, up to that, are cut out before
    learning. None takes it as it is and warns where it seems to hold an anomaly; 0 takes it and says nothing."""
    epochs: int | None = None
    """Training epochs of 25 updates; 30 when left out."""
    seed: int = 0
    """Seed of training, of sampling, and of a generated series."""
    device: str = "auto"
    """auto, cpu or cuda."""

    def _interval(self, case: "Case") -> tuple[int, int] | None:
        """What is asked for, as positions."""
        return None

    def _open(self, command: str) -> "tuple[Case, Run]":
        """The series, checked, and a run to write to; wrong input leaves no run behind."""
        check_seed(self.seed)
        from forecasting.anomaly import bench, counterfactual, datasets
        from lab.device import choose
        from lab.run import Run, slug

        case = datasets.load(
            self.series, self.target, self.time, self.fill, time_format=self.time_format, timezone=self.timezone,
            seed=self.seed,
        )  # fmt: skip
        self._detector().check(bench.split(case, self.train_end))
        choose(self.device)
        if interval := self._interval(case):
            known = case.series.to_numpy(float)[: bench.split(case, self.train_end)]
            counterfactual.check(len(case.series), *interval, 1, self._detector()._period_of(known))
        name = self.name or slug(f"{command}-{Path(case.name).name}")
        return case, Run.open(self.runs, name, settings_of(self), metrics=METRICS)

    def _detector(self) -> Any:
        from forecasting.anomaly.detectors import MaskedDetector

        epochs = {} if self.epochs is None else {"max_epochs": self.epochs}
        return MaskedDetector(
            self.period,
            self.window,
            self.quantile,
            **epochs,
            contamination=self.contamination,
            random_state=self.seed,
            device=self.device,
            progress=not self.json,
        )


@dataclass(kw_only=True)
class Detect(_Anomaly):
    """Find what is not normal in a series: train on its first part, score the rest."""

    detector: str = "masked"
    """Which detector: masked, join, patches, ensemble, forecast, autoencoder, variational, pca, kmeans, interpolation,
    matrix-profile or zscore; --window and --epochs are settings of masked alone."""
    top: int = 10
    """Anomalies to print; anomalies.csv has all."""

    def __call__(self) -> None:
        from forecasting.anomaly import bench

        if self.top < 1:
            raise InputError(f"--top is {self.top}; give at least 1")
        case, run = self._open("detect")
        with run:
            found = bench.detect(case, run, self._detector(), self.train_end)
            run.finish(found.metrics)
        shown = found.table.head(self.top)
        rows = [[int(row.start), int(row.end), str(row[3]), str(row[4]), float(row.peak)] for row in shown.itertuples()]
        count, threshold = len(found.table), found.detector.threshold_
        title = f"{case.name}: {count} above the threshold of {short(threshold, 3)} after sample {found.train_end}"
        self.show(title, ["start", "end", "from", "to", "peak score"], rows)
        if "anomaly/hit" in found.metrics:
            self.show("Against the labels", ["measure", "value"], [
                ["strongest overlaps a label", "yes" if found.metrics["anomaly/hit"] else "no"],
                ["average precision (samples)", found.metrics["anomaly/average_precision"]],
            ])  # fmt: skip
        self.done({"metrics": found.metrics, "anomalies": _plain(found)}, run.path)

    def _detector(self) -> Any:
        if self.detector == "masked":
            return super()._detector()
        from forecasting.anomaly import catalogue

        (name,) = catalogue.check([self.detector])
        for option in ("window", "epochs"):
            if getattr(self, option) is not None:
                raise InputError(f"--{option} is a setting of the masked detector; leave it out, or --detector")
        detector = catalogue.DETECTORS[name].make(self.seed, self.device)
        return detector.set_params(period=self.period, quantile=self.quantile, contamination=self.contamination)


@dataclass(kw_only=True)
class Explain(_Anomaly):
    """Show what would have been normal: redraw an anomaly many times, given its surroundings."""

    start: int | str | None = None
    """First position of the interval to explain, or its time; default: the strongest anomalies, --top of them."""
    end: int | str | None = None
    """The position after its last, or the time of its last."""
    samples: int = 20
    """How often it is redrawn."""
    top: int = 3
    """How many of the anomalies found are explained, strongest first."""

    def __call__(self) -> None:
        from forecasting.anomaly import bench, explaining

        if (self.start is None) != (self.end is None):
            raise InputError("--start and --end go together; give both, or neither for the strongest anomalies")
        if not 1 <= self.samples <= SAMPLES:
            raise InputError(f"--samples is {self.samples}; give at least 1 and at most {SAMPLES}")
        if self.top < 1:
            raise InputError(f"--top is {self.top}; give at least 1")
        case, run = self._open("explain")
        interval = self._interval(case)
        with run:
            found = bench.detect(case, run, self._detector(), self.train_end)
            explained = explaining.explain(case, run, found, interval, self.samples, self.seed, self.top)
            strongest = explained[0].result
            run.finish(found.metrics, interval=[strongest.start, strongest.end])
        rows = [[number, each.sentence] for number, each in enumerate(explained, start=1)]
        about = "what is strange" if len(found.table) else "nothing above the threshold; the strangest window"
        self.show(f"{case.name}: {'as asked for' if interval else about}", ["", "what"], rows)
        measures = ("validity", "accepted", "proximity", "diversity", "score_before", "score_after")
        rows = [[measure.replace("_", " "), found.metrics[f"anomaly/{measure}"]] for measure in measures]
        which = "" if interval else "The strongest, "
        title = f"{which}samples {strongest.start} to {strongest.end}: {self.samples} counterfactuals".capitalize()
        self.show(title, ["measure", "value"], rows)
        if len(table := explained[0].recovery):
            self.show("Recovery of the true normal", ["method", "RMSE"], table.to_numpy().tolist())
        told = {
            "metrics": found.metrics,
            "found": len(found.table),
            "interval": [strongest.start, strongest.end],
            "sentences": [each.sentence for each in explained],
        }
        self.done(told, run.path)

    def _interval(self, case: "Case") -> tuple[int, int] | None:
        from forecasting.anomaly import bench

        if self.start is None or self.end is None:
            return None
        return (
            int(bench.position(case, self.start, "--start")), int(bench.position(case, self.end, "--end", last=True)),
        )  # fmt: skip


@dataclass(kw_only=True)
class BenchmarkDetectors(Command):
    """Measure anomaly detectors on labelled series: hits, VUS-PR and seconds a series. Goes on where it was stopped."""

    set: Literal["ucr", "nab"] = "ucr"
    """UCR Anomaly Archive (one anomaly a series, one answer a series) or Numenta Anomaly Benchmark."""
    data: Path | None = None
    """Folder of UCR series, with INDEX.csv or files NAME_trainend_start_end.txt; default LAB_DATA/ucr_anomaly."""
    detectors: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = ()
    """Detectors to measure; all when left out."""
    longest: int = 100_000
    """Series of more samples are left out."""
    seed: int = 0
    device: str = "cpu"
    """cpu, cuda or auto."""

    def __call__(self) -> None:
        check_seed(self.seed)
        from forecasting.anomaly import archive, benchmark, catalogue
        from lab.device import choose
        from lab.run import Run

        if self.longest < 1:
            raise InputError(f"--longest is {self.longest}; give at least 1")
        if self.data is not None and self.set != "ucr":
            raise InputError("--data names a folder of UCR series; leave out --set, or --data")
        choose(self.device)
        names = catalogue.check(self.detectors)
        cases = archive.cases(self.set, self.data, self.longest)
        # what is measured may grow from call to call: the run is the same, and what it has is not measured again
        config = {"set": self.set, "data": str(self.data or ""), "seed": self.seed, "device": self.device}
        tags = [f"anomaly/hits/{name}" for name in names]
        name = self.name or f"benchmark-detectors-{self.set}"
        with Run.open(self.runs, name, config, resume=True, metrics=tags) as run:
            rows = benchmark.measure(cases, names, run, self.seed, self.device)
            table = benchmark.summary(rows)
            benchmark.report(rows, table, self.set, run)
        self.show(benchmark.title(rows, self.set), list(table.columns), table.to_numpy().tolist())
        if self.set == "ucr":
            self.show(
                "Published, on other parts of the archive",
                ["detector", "hits, 250 series", "VUS-PR, 70 series", "source"],
                benchmark.published(),
            )
        self.done({"detectors": table.to_dict(orient="records"), "series": rows.to_dict(orient="records")}, run.path)


def _plain(found: "Detection") -> list[dict[str, Any]]:
    """anomalies.csv for JSON."""
    return [
        {"start": int(start), "end": int(end), "from": str(first), "to": str(last), "peak": float(peak)}
        for start, end, first, last, peak in found.table.itertuples(index=False)
    ]
