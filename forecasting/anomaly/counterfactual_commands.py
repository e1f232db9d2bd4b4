"""`lab benchmark counterfactuals`: everything heavy is imported inside the command."""

from dataclasses import dataclass
from pathlib import Path

from forecasting.commands import check_seed
from lab.command import Command
from lab.errors import InputError


@dataclass(kw_only=True)
class BenchmarkCounterfactuals(Command):
    """Measure ways to say what would have been normal, on series whose true normal is known: one row a method."""

    data: Path | None = None
    """Folder of Merlion's synthetic anomalies; default LAB_DATA/merlion_synthetic_anomaly, left out if that is not
    set."""
    series: int = 3
    """Generated traffic series, each with six kinds of anomaly at two places."""
    each: int = 2
    """Intervals of each of Merlion's nine corrupted series."""
    samples: int = 20
    """How often each interval is redrawn."""
    seed: int = 0
    """Seed of training and sampling; generated series count from 100 (seed + 1) on."""
    device: str = "cpu"
    """cpu, cuda or auto."""

    def __call__(self) -> None:
        check_seed(self.seed)
        for name, least in (("series", 1), ("each", 1), ("samples", 1)):
            if getattr(self, name) < least:
                raise InputError(f"--{name} is {getattr(self, name)}; give at least {least}")
        from forecasting.anomaly import counterfactual_benchmark as benchmark
        from lab.device import choose
        from lab.run import Run

        choose(self.device)
        first = 100 * (self.seed + 1)
        found = benchmark.trials(range(first, first + self.series), self.data, self.each)
        config = {name: getattr(self, name) for name in ("series", "each", "samples", "seed", "device")}
        with Run.open(self.runs, self.name or "benchmark-counterfactuals", config) as run:
            rows = benchmark.measure(found, self.samples, self.seed, self.device, run)
            table = benchmark.summary(rows)
            run.table("counterfactuals", table)
            says = benchmark.finding(table)
            run.text("anomaly/finding", says)
            by = table.set_index("method")
            run.finish({f"anomaly/{name}": float(by.loc["resampled", name]) for name in ("validity", "rmse")})
        count = len(found)
        self.show(f"{count} intervals. {says}", list(table.columns), table.to_numpy().tolist())
        self.done({"finding": says, "methods": table.to_dict(orient="records")}, run.path)
