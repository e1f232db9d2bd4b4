"""How fast our forecasters learn beside their peers': what `lab speed forecasters` measures.

Two pairs of the same size and batch on the same series: our Transformer beside neuralforecast's PatchTST (which it
follows: patches, channel independence, one linear head), and our DLinear beside sktime's own. Each measurement is a
process of its own, and the sides alternate. Windows a second are counted between a short and a long training, so that
neither side pays for imports and preparations; then each races to its lowest validation error (mean absolute, of the
last quarter), which is looked at every _CHECK steps, or, by sktime's, after every epoch.
"""

import importlib.util
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from lab import alone, device, plots
from lab.console import bar
from lab.errors import InputError
from lab.run import Run


@dataclass(frozen=True)
class Work:
    """What every side does."""

    lookback: int = 336
    horizon: int = 96
    batch: int = 128
    """Windows a gradient step, each of one channel."""
    rows: int = 4_000
    channels: int = 7
    steps: int = 100
    """Gradient steps between the short and the long training."""
    race: int = 256
    """Gradient steps of the race to the lowest validation error."""
    threads: int = 1
    device: str = "cpu"


class Side(NamedTuple):
    name: str
    needs: str | None = None


SIDES = {
    "ours-transformer": Side("our Transformer"),
    "neuralforecast": Side("neuralforecast's PatchTST", "neuralforecast"),
    "ours-dlinear": Side("our DLinear"),
    "sktime": Side("sktime's DLinear"),
}
PEERS = {"neuralforecast": "ours-transformer", "sktime": "ours-dlinear"}
_WIDTH, _DEPTH, _HEADS, _PATCH, _RATE, _DROPOUT = 32, 2, 4, 24, 1e-3, 0.2
_CHECK = 32  # gradient steps between two looks at the validation error


def sides() -> list[str]:
    """Those that can be measured here: a peer that is not installed is left out, and what it is held against."""
    missing = {name for name, side in SIDES.items() if side.needs and importlib.util.find_spec(side.needs) is None}
    return [name for name in SIDES if name not in missing and name not in {PEERS[each] for each in missing}]


def compare(work: Work, rounds: int) -> pd.DataFrame:
    """Every measurement, one a row: round, side, windows_per_second, seconds_to_best, best (validation MAE)."""
    names = sides()
    rows = []
    with bar("speed of forecasters", rounds * len(names), "runs") as advance:
        for number in range(1, rounds + 1):
            for name in names:
                found = alone.ask("forecasting.speed", {"side": name, "work": asdict(work)}, SIDES[name].name)
                rows.append({"round": number, "side": name, **found})
                advance(note=f"{SIDES[name].name}: {found['windows_per_second']:,.0f} windows/s")
    return pd.DataFrame(rows)


def summary(table: pd.DataFrame) -> dict[str, Any]:
    """Medians over the rounds, and of each peer the ratio of ours to it: its median and range over the rounds."""
    found: dict[str, Any] = {"ours": {}, "peers": {}, "ratio": {}, "ratio_range": {}, "ratio_to_best": {}}
    by_side = {side: rows.sort_values("round") for side, rows in table.groupby("side")}
    for name, rows in by_side.items():
        kind = "peers" if name in PEERS else "ours"
        found[kind][name] = {
            key: float(rows[key].median()) for key in ("windows_per_second", "seconds_to_best", "best")
        }
    for peer, ours in PEERS.items():
        if peer in by_side:
            ratio = by_side[ours]["windows_per_second"].to_numpy() / by_side[peer]["windows_per_second"].to_numpy()
            found["ratio"][peer] = float(np.median(ratio))
            found["ratio_range"][peer] = [float(ratio.min()), float(ratio.max())]
            sooner = by_side[peer]["seconds_to_best"].to_numpy() / by_side[ours]["seconds_to_best"].to_numpy()
            found["ratio_to_best"][peer] = float(np.median(sooner))
    return found


def report(table: pd.DataFrame, found: dict[str, Any], run: Run) -> None:
    """speed.csv, the figure and the run's final figures."""
    run.table("speed", table)
    rates = {SIDES[side].name: rows["windows_per_second"].tolist() for side, rows in table.groupby("side", sort=False)}
    said = " and ".join(f"{ratio:.2g} x {SIDES[peer].name}" for peer, ratio in found["ratio"].items())
    figure = plots.throughput(rates, {}, f"Ours trains {said}", "windows a second")
    run.figure("speed/forecasters", figure)
    run.finish({f"speed/ratio/{peer}": ratio for peer, ratio in found["ratio"].items()})


# --- in a process of its own ----------------------------------------------------------------------------------------


def series(work: Work) -> np.ndarray:
    """Daily and weekly waves with noise, (rows, channels) float32, standardised; the last quarter validates."""
    random, hours = np.random.default_rng(0), np.arange(work.rows)[:, None]
    phase = random.uniform(0, 2 * np.pi, (2, work.channels))
    waves = np.sin(hours * 2 * np.pi / 24 + phase[0]) + 0.5 * np.sin(hours * 2 * np.pi / 168 + phase[1])
    values = waves + 0.3 * random.normal(size=(work.rows, work.channels))
    return ((values - values.mean(axis=0)) / values.std(axis=0)).astype(np.float32)


class Race:
    """Validation errors by the clock: call it with each; `found` says when the lowest came, and how low it is."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.seen: list[tuple[float, float]] = []

    def __call__(self, error: float) -> None:
        self.seen.append((error, time.perf_counter() - self.began))

    def found(self) -> dict[str, float]:
        best, seconds = min(self.seen)
        return {"seconds_to_best": seconds, "best": best}


def ours(kind: str, work: Work, steps: int, race: Race | None) -> None:
    from forecasting import training
    from forecasting.networks.linear import DLinear
    from forecasting.networks.norm import Reversible
    from forecasting.networks.transformer import Transformer

    where = device.choose(work.device)
    values, loss = torch.from_numpy(series(work)).to(where), training.absolute
    torch.manual_seed(0)
    if kind == "transformer":
        core = Transformer(work.lookback, work.horizon, _PATCH, _WIDTH, _DEPTH, _HEADS, _DROPOUT)
        network: torch.nn.Module = Reversible(core)
    else:
        network = DLinear(work.lookback, work.horizon)
        values, loss = values[:, : 1 if race else None], training.squared  # as sktime's
    plan = training.Plan(
        max_epochs=steps // _CHECK if race else 1, steps_per_epoch=_CHECK if race else steps, patience=steps,
        batch=work.batch, learning_rate=_RATE, validation=0.25 if race else 0.0,
    )  # fmt: skip
    watch = (lambda epoch, losses: race(losses["validation_loss"])) if race else None
    training.fit(
        network.to(where), values, work.lookback, work.horizon, plan, torch.Generator().manual_seed(0), watch, loss=loss
    )


def neuralforecast(work: Work, steps: int, race: Race | None) -> None:
    import logging

    from neuralforecast import NeuralForecast
    from neuralforecast.losses.pytorch import MAE
    from neuralforecast.models import PatchTST
    from pytorch_lightning import Callback

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)

    class Watch(Callback):
        def on_validation_end(self, trainer: Any, module: Any) -> None:
            if race and not trainer.sanity_checking:
                race(float(trainer.callback_metrics["ptl/val_loss"]))

    model = PatchTST(
        h=work.horizon, input_size=work.lookback, patch_len=_PATCH, stride=_PATCH, hidden_size=_WIDTH, n_heads=_HEADS,
        encoder_layers=_DEPTH, linear_hidden_size=2 * _WIDTH, dropout=_DROPOUT, fc_dropout=_DROPOUT, revin=True,
        max_steps=steps, batch_size=work.channels, windows_batch_size=work.batch, learning_rate=_RATE, loss=MAE(),
        val_check_steps=_CHECK if race else 10 * steps, scaler_type="identity", random_seed=0,
        accelerator="gpu" if device.choose(work.device).type == "cuda" else "cpu", devices=1, logger=False,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, callbacks=[Watch()],
    )  # fmt: skip
    values = series(work)
    frame = pd.concat(
        pd.DataFrame({"unique_id": str(channel), "ds": np.arange(work.rows), "y": values[:, channel]})
        for channel in range(work.channels)
    )
    NeuralForecast(models=[model], freq=1).fit(frame, val_size=work.rows // 4 if race else 0)


def sktime(work: Work, steps: int, race: Race | None) -> None:
    """One channel (its batches hold whole rows), and whole epochs, since it knows no steps."""
    from sktime.forecasting.ltsf import LTSFDLinearForecaster

    from forecasting import training

    values = torch.from_numpy(series(work)[:, :1])
    view = training.windows(values, work.lookback, work.horizon)
    last, first = training.split(len(view), work.horizon, 0.25) if race else (len(view), len(view))
    rows = last + work.lookback + work.horizon - 1

    class Watched(LTSFDLinearForecaster):
        def _run_epoch(self, epoch: int, dataloader: Any) -> None:
            super()._run_epoch(epoch, dataloader)
            if race:
                race(training.error(self.network, view, work.lookback, torch.arange(first, len(view))))
                self.network.train()

    forecaster = Watched(
        work.lookback, work.horizon, num_epochs=max(1, round(steps * work.batch / last)), batch_size=work.batch,
        in_channels=1, lr=_RATE,
    )  # fmt: skip
    forecaster.fit(pd.Series(values[:rows, 0].numpy()), fh=list(range(1, work.horizon + 1)))


def perform(side: str, work: dict[str, Any]) -> dict[str, Any]:
    """Do in this process what `compare` asks for: windows a second, and the race."""
    given = Work(**work)
    runs: dict[str, Callable[[int, Race | None], None]] = {
        "ours-transformer": lambda steps, race: ours("transformer", given, steps, race),
        "ours-dlinear": lambda steps, race: ours("dlinear", given, steps, race),
        "neuralforecast": lambda steps, race: neuralforecast(given, steps, race),
        "sktime": lambda steps, race: sktime(given, steps, race),
    }
    train = runs[side]
    with device.threads(given.threads):
        short, long = _steps(side, given)
        train(short, None)  # what is loaded and allocated once
        seconds = [_timed(train, steps) for steps in (short, long)]
        found = {"windows_per_second": (long - short) * given.batch / (seconds[1] - seconds[0])}
        race = Race()
        train(given.race, race)
    return found | race.found()


def _steps(side: str, work: Work) -> tuple[int, int]:
    """Gradient steps of the short and of the long training; sktime's are whole epochs."""
    if side != "sktime":
        return 5, 5 + work.steps
    windows = work.rows - work.lookback - work.horizon + 1
    epochs = max(1, round(work.steps * work.batch / windows))
    return round(windows / work.batch), round((1 + epochs) * windows / work.batch)


def _timed(train: Callable[[int, Race | None], None], steps: int) -> float:
    began = time.perf_counter()
    train(steps, None)
    return time.perf_counter() - began


def check(work: Work, rounds: int) -> None:
    """Raises InputError for settings that measure nothing."""
    if rounds < 1 or work.steps < 10 or work.race < _CHECK:
        raise InputError(f"give --rounds of at least 1, --steps of at least 10 and --race of at least {_CHECK}")
    if work.rows // 4 < work.lookback + 2 * work.horizon:
        raise InputError(f"{work.rows} rows are too few; give at least {4 * (work.lookback + 2 * work.horizon)}")


if __name__ == "__main__":
    alone.answer(perform)
