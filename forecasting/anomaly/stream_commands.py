"""`lab speed stream`: everything heavy is imported inside the command."""

from dataclasses import dataclass

from lab.command import Command
from lab.errors import InputError


@dataclass(kw_only=True)
class SpeedStream(Command):
    """Measure how long a detector takes to score a sample as it comes in, for several periods; one CPU thread."""

    detector: str = "masked"
    """Which detector; see lab benchmark detectors."""
    periods: tuple[int, ...] = (24, 64, 127, 256)
    """Samples in a window."""
    training: int = 10_000
    """Samples that the detector has learnt from."""
    samples: int = 100
    """Samples a round."""
    rounds: int = 3
    """Rounds, in each of which every period has its turn."""

    def __call__(self) -> None:
        for name in ("samples", "rounds"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name} is {getattr(self, name)}; give at least 1")
        for period in self.periods:
            if not 4 <= period <= self.training // 10:
                raise InputError(f"--periods has {period}; give 4 to {self.training // 10}, a tenth of --training")
        from forecasting.anomaly import catalogue, stream, streaming_speed
        from lab.run import Run

        catalogue.check([self.detector])
        stream.check(catalogue.DETECTORS[self.detector].make(0, "cpu"))
        settings = {name: getattr(self, name) for name in ("detector", "periods", "training", "samples", "rounds")}
        with Run.open(self.runs, self.name or "speed-stream", settings) as run:
            samples = streaming_speed.measure(**settings)
            table = streaming_speed.summary(samples)
            run.table("samples", samples)
            run.table("stream", table)
            medians = table.set_index("period")["median"]
            run.finish({f"speed/stream/{period}": float(ms) for period, ms in medians.items()})
        self.show(
            f"Milliseconds a sample, {self.detector}; at most {streaming_speed.LIMIT:g} wanted",
            list(table.columns),
            table.round(2).to_numpy().tolist(),
        )
        self.done({"detector": self.detector, "periods": table.to_dict(orient="records")}, run.path)
