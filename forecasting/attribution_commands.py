"""`lab attribute`: everything heavy is imported inside the command."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import tyro

from forecasting.commands import check_seed, settings_of
from lab.command import Command
from lab.errors import InputError


@dataclass(kw_only=True)
class Attribute(Command):
    """Which past hours made the forecast high: Shapley values, integrated gradients, Grad-CAM, and a counterfactual."""

    series: Annotated[str, tyro.conf.Positional]
    """A named series or the path of a CSV, as for lab forecast."""
    target: str | None = None
    """Column to forecast."""
    time: str | None = None
    """Column that holds the time."""
    fill: Literal["none", "ffill", "interpolate", "zero"] = "none"
    """What to do about gaps and missing values."""
    time_format: str | None = None
    """strptime's, for times that are not ISO 8601; unix: seconds since 1970, unix-ms: milliseconds."""
    timezone: str | None = None
    """Whose clocks the times are read from, such as Europe/Berlin, where they carry no offset."""
    model: Literal["cnn", "lstm", "transformer"] = "cnn"
    """The network that forecasts."""
    horizon: int = 24
    """Steps to forecast; their mean is explained."""
    lookback: int | None = None
    """Steps that the forecast looks back; the network's own choice when left out."""
    groups: int = 28
    """Stretches of the past that Shapley values are told for."""
    samples: int = 20
    """How often the stretch that counts most is redrawn as it would normally be; 0: not at all."""
    max_epochs: int = 30
    """Most epochs the network trains."""
    seed: int = 0
    device: str = "auto"
    """auto, cpu or cuda."""

    def __call__(self) -> None:
        check_seed(self.seed)
        for name, least in (("horizon", 1), ("lookback", 1), ("groups", 2), ("samples", 0), ("max_epochs", 1)):
            if getattr(self, name) is not None and getattr(self, name) < least:
                raise InputError(f"--{name.replace('_', '-')} is {getattr(self, name)}; give at least {least}")
        if not find_spec("captum"):
            raise InputError("lab attribute needs captum; install it with pip install 'rl-timeseries-lab[explain]'")
        from forecasting import attributing, datasets
        from lab.device import choose
        from lab.run import Run, slug

        series = datasets.load(
            self.series, self.target, self.time, self.fill, time_format=self.time_format, timezone=self.timezone
        )
        choose(self.device)
        name = self.name or slug(f"attribute-{Path(self.series).name.split('.')[0]}-{self.model}")
        with Run.open(self.runs, name, settings_of(self), metrics=attributing.METRICS) as run:
            told = attributing.attribute(series, self.model, self.horizon, self.lookback, self.groups, self.samples,
                                         self.max_epochs, self.seed, self.device, run)  # fmt: skip
            run.finish(told.metrics)
        self.show(told.finding, ["measure", "value"], [[name, value] for name, value in told.metrics.items()])
        self.done({"metrics": told.metrics, "finding": told.finding}, run.path)
