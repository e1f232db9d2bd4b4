"""Ways to say what would have been normal, side by side, where the true normal is known.

Two sources: generated web traffic with anomalies of six kinds put in, and the pairs of clean and corrupted series of
Merlion (Bhatnagar et al. 2021, data/synthetic_anomaly), of which the corruptions that end (dip, shock, spike) are
taken. The detector learns from the clean first part; every method then gets the same series and the same interval.
Windows where nothing is wrong are explained too: what is normal should come back nearly as it was.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from forecasting.anomaly import counterfactual, plain
from forecasting.anomaly import counterfactual_measures as measures
from forecasting.anomaly.datasets import inject, web_traffic_anomaly
from forecasting.anomaly.detectors import MaskedDetector
from forecasting.anomaly.metrics import runs
from forecasting.anomaly.smallest_change import smallest_change
from lab import console
from lab.errors import InputError
from lab.run import Run

KINDS = ("spike", "dip", "shift", "stuck", "reversed", "frequency")
MERLION = ("horizontal", "seasonal", "upward_downward")
ENDS = ("dip", "shock", "spike")  # Merlion's level and trend changes stay: there is no normal to come back to
LONGEST = 200  # samples of a Merlion interval: its own longest
MARGIN = 500  # samples that lie around each of them at least, after the training part
PLAIN = ("linear", "last season", "last cycle", "nearest normal")
OURS = ("resampled", "smallest change")


@dataclass(frozen=True)
class Trial:
    """One interval to explain; positions count samples from 0."""

    source: str
    """Trials of one source share the clean series, so one detector does for all of them."""
    kind: str
    """"normal" where nothing is wrong."""
    start: int
    end: int
    values: np.ndarray
    """The series with the anomaly, (n,)."""
    clean: np.ndarray
    """The series without, (n,)."""
    train_end: int


def traffic(seeds: Sequence[int]) -> Iterator[Trial]:
    """Generated web traffic, twelve weeks each: half a day of each kind on a working day and at a weekend."""
    for seed in seeds:
        case = web_traffic_anomaly(seed)
        assert case.clean is not None and case.train_end is not None
        clean, cut = case.clean, case.train_end
        for day, hour in ((2, 8), (5, 10)):
            start = 24 * (7 * (cut // (7 * 24) + 1) + day) + hour
            for kind in ("normal", *KINDS):
                values = clean if kind == "normal" else inject(clean, start, start + 12, kind)
                yield Trial(f"traffic-{seed}", kind, start, start + 12, values, clean, cut)


def merlion(folder: Path, each: int) -> Iterator[Trial]:
    """The first `each` intervals after the middle of every corrupted series, and as many normal ones between them.

    One interval at a time is corrupted, the rest is as in the clean series. Raises InputError for a folder without.
    """
    for name in MERLION:
        clean = _column(folder, name, name)
        cut = len(clean) // 2
        for number, kind in enumerate(ENDS):
            spoiled = _column(folder, f"{name}_{kind}_anomaly", name)
            inside = (cut + MARGIN, len(clean) - MARGIN)
            wrong = [
                (a, b) for a, b in runs(spoiled != clean) if inside[0] <= a and b <= inside[1] and b - a <= LONGEST
            ]
            for start, end in wrong[:each]:
                values = clean.copy()
                values[start:end] = spoiled[start:end]
                yield Trial(f"merlion-{name}", kind, start, end, values, clean, cut)
                if number == 0:
                    yield Trial(f"merlion-{name}", "normal", start, end, clean, clean, cut)


def _column(folder: Path, file: str, name: str) -> np.ndarray:
    path = folder / f"{file}.csv.gz"
    if not path.is_file():
        raise InputError(f"{path} is missing; --data wants a folder with Merlion's synthetic anomalies, each *.csv.gz")
    return pd.read_csv(path)[name].to_numpy(float)


def trials(seeds: Sequence[int], folder: Path | None, each: int) -> list[Trial]:
    """All trials; without `folder`, Merlion's are taken from LAB_DATA if that is set, else left out."""
    if folder is None and "LAB_DATA" in os.environ:
        folder = Path(os.environ["LAB_DATA"]) / "merlion_synthetic_anomaly"
    return [*traffic(seeds), *(merlion(folder, each) if folder else ())]


def methods(detector: MaskedDetector, samples: int, seed: int) -> dict[str, Callable[[Trial], np.ndarray]]:
    """Each way to fill an interval in: name -> paths (K, width), K = `samples` for the one that draws, else 1."""
    context = detector.period_

    def one(guess: np.ndarray) -> np.ndarray:
        return guess[None]

    ways: dict[str, Callable[[Trial], np.ndarray]] = {
        "resampled": lambda t: counterfactual.explain(detector, t.values, (t.start, t.end), samples, seed).paths,
        "smallest change": lambda t: one(smallest_change(detector, t.values, (t.start, t.end))),
        "linear": lambda t: one(plain.linear(t.values, t.start, t.end)),
        "last season": lambda t: one(_season(t, detector.period_)),
        "last cycle": lambda t: one(_season(t, detector.cycle_)),
        "nearest normal": lambda t: one(
            plain.nearest_normal(t.values, t.start, t.end, t.values[: t.train_end], context)
        ),
    }
    return ways


def _season(trial: Trial, season: int) -> np.ndarray:
    return plain.last_season(trial.values, trial.start, trial.end, season)


def judge(trial: Trial, detector: MaskedDetector, paths: np.ndarray) -> dict[str, float]:
    """Every measure of `paths` (K, width). `moved` and `rmse` are of their median, in spreads of the training part."""
    start, end, original = trial.start, trial.end, trial.values[trial.start : trial.end]
    whole = np.repeat(trial.values[None], len(paths), axis=0)
    whole[:, start:end] = paths
    scale, factor = float(trial.clean[: trial.train_end].std()), detector.factor_  # no detector's own unit
    margin = max(1, detector.period_ // 4)
    low, high = max(0, start - margin) // factor, -(-min(len(trial.values), end + margin) // factor)
    steps = np.stack([detector._steps(row)[low:high] for row in whole])
    middle = np.median(paths, axis=0)
    return {
        "validity": measures.validity(np.array([detector.peak(row, start, end) for row in whole]), detector.threshold_),
        "proximity": measures.proximity(paths, original, scale),
        "sparsity": measures.sparsity(paths, original, scale),
        "contiguity": measures.contiguity(paths, original, scale),
        "plausibility": measures.plausibility(steps, detector.train_),
        "diversity": measures.diversity(paths, scale),
        "edge_jump": measures.edge_jump(whole, start, end, trial.clean[: trial.train_end]),
        "moved": measures.rmse(middle, original) / scale,
        "rmse": measures.rmse(middle, trial.clean[start:end]) / scale,
    }


def measure(found: Sequence[Trial], samples: int, seed: int, device: str, run: Run) -> pd.DataFrame:
    """One row for each trial and method, written to `run` as trials.csv."""
    rows: list[dict[str, object]] = []
    sources = list(dict.fromkeys(trial.source for trial in found))
    with console.bar("explaining", len(found), "intervals") as advance:
        for source in sources:
            here = [trial for trial in found if trial.source == source]
            detector = MaskedDetector(random_state=seed, device=device).fit(here[0].clean[: here[0].train_end])
            for trial in here:
                flagged = detector.peak(trial.values, trial.start, trial.end) > detector.threshold_
                for name, way in methods(detector, samples, seed).items():
                    if name == "last cycle" and detector.cycle_ == detector.period_:
                        continue  # the same as last season
                    began = time.monotonic()
                    paths = way(trial)
                    seconds = time.monotonic() - began
                    rows.append({
                        "source": source, "kind": trial.kind, "start": trial.start, "end": trial.end,
                        "flagged": flagged, "method": name, **judge(trial, detector, paths), "seconds": seconds,
                    })  # fmt: skip
                advance(1, f"{source} {trial.kind}")
    table = pd.DataFrame(rows)
    run.table("trials", table)
    return table


MEASURES = ("validity", "proximity", "sparsity", "contiguity", "plausibility", "diversity", "edge_jump", "rmse")


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a method: means over the abnormal trials; `normal moved`: how far it moves a window that is normal.

    Where the last cycle is the last season, its figure counts for both, so that all methods have the same trials.
    """
    keys = ["source", "kind", "start"]
    season = rows[rows["method"] == "last season"]
    without = season.merge(rows[rows["method"] == "last cycle"][keys], on=keys, how="left", indicator=True)
    copies = without[without["_merge"] == "left_only"].drop(columns="_merge").assign(method="last cycle")
    rows = pd.concat([rows, copies])
    wrong, normal = rows[rows["kind"] != "normal"], rows[rows["kind"] == "normal"]
    table = wrong.groupby("method")[[*MEASURES, "moved", "seconds"]].mean()
    table.insert(len(MEASURES), "normal moved", normal.groupby("method")["moved"].mean())
    order = [name for name in (*OURS, *PLAIN) if name in table.index]
    return table.loc[order].reset_index()


def finding(table: pd.DataFrame) -> str:
    """What the table says of the three aims, in one line."""
    by = table.set_index("method")
    best = by.loc[[name for name in PLAIN if name in by.index], "rmse"]
    ours = by.loc["resampled"]
    below = 100 * (1 - ours["rmse"] / best.min())
    return (
        f"Resampled: {100 * ours['validity']:.0f} % valid; error {ours['rmse']:.2f} spreads, {below:.0f} % below the "
        f"best plain guess ({best.idxmin()}, {best.min():.2f}); "
        f"moves normal windows {ours['normal moved'] / ours['moved']:.2f} times as far as abnormal ones"
    )
