"""Detectors side by side on labelled series: one answer a series, VUS-PR, seconds. A series done is not done again.

Every detector has one setting for all series (see `catalogue`). It is fitted to the part before `train_end`, scores
the whole series, and is judged on what comes after; no threshold is involved, and no point adjustment.
"""

import time
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from forecasting.anomaly import period
from forecasting.anomaly.archive import Labelled
from forecasting.anomaly.catalogue import DETECTORS
from forecasting.anomaly.metrics import flags, ucr_hit, vus_pr
from lab import console
from lab.errors import InputError
from lab.jsonfile import read_json, write_json
from lab.run import Run
from lab.source import checksum

_BUFFER = 100  # samples: the widest VUS buffer where no period shows, as wide as the UCR rule's slack
_LEE = "Lee et al. 2024, TimeVQVAE-AD, arXiv 2311.12550"
_LIU = "Liu and Paparrizos 2024, TSB-AD-U, its table of VUS-PR a series"

PUBLISHED = (
    ("TimeVQVAE-AD", 0.708, None, _LEE),
    ("matrix profile (stumpy)", 0.512, None, _LEE),
    ("isolation forest", 0.376, None, _LEE),
    ("convolutional autoencoder", 0.352, None, _LEE),
    ("LSTM-VAE", 0.198, None, _LEE),
    ("KMeansAD", None, 0.381, _LIU),
    ("Sub-KNN", None, 0.366, _LIU),
    ("matrix profile", None, 0.340, _LIU),
    ("Sub-PCA", None, 0.124, _LIU),
    ("autoencoder", None, 0.093, _LIU),
    ("CNN forecast", None, 0.049, _LIU),
)
"""Detector; share of hits over all 250 series; mean VUS-PR over the 70 UCR series of TSB-AD; source."""


def published() -> list[list[str]]:
    """PUBLISHED as rows of a table to print."""
    return [
        [name, "" if hits is None else f"{hits:.3f}", "" if vus is None else f"{vus:.3f}", source]
        for name, hits, vus, source in PUBLISHED
    ]


def measure(cases: Sequence[Labelled], names: Sequence[str], run: Run, seed: int, device: str) -> pd.DataFrame:
    """One row for each series and detector; rows that `run` already has from the same setting and code are kept.

    Columns: series, half, samples, train_end, period (estimated from the training part), detector, hit, position (of
    the highest score), vus_pr, seconds (to fit and to score), cpu_seconds (the same, whatever else the machine did),
    note (why a detector refused the series: counted as a miss and a VUS-PR of 0), setting.
    """
    folder = run.path / "series"
    folder.mkdir(exist_ok=True)
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    made = {name: _made(name, seed, device) for name in names}
    same = {
        name: {"setting": repr(each), "code": checksum(type(each).__module__, ("forecasting",))}
        for name, each in made.items()
    }
    of = {case.name: {"data": _fingerprint(case)} for case in cases}
    for case in cases:
        for name in names:
            path = folder / f"{name}--{case.name}.json"
            if path.exists() and (same[name] | of[case.name]).items() <= (row := read_json(path)).items():
                rows[case.name, name] = row
    total = len(cases) * len(names)
    for name in {name for case in cases for name in names if (case.name, name) not in rows}:
        warm_up(_made(name, seed, device))
    with console.bar("detectors on series", total, "series", start=len(rows)) as advance:
        for case in cases:
            values = None
            for name in names:
                if (case.name, name) in rows:
                    continue
                values = case.read() if values is None else values
                row = {
                    **judge(case, values, _made(name, seed, device)),
                    "detector": name,
                    **same[name],
                    **of[case.name],
                }
                write_json(folder / f"{name}--{case.name}.json", row)
                rows[case.name, name] = row
                advance(1, f"{name}, {case.name[:24]}")
    columns = [
        "series", "half", "samples", "train_end", "period", "detector", "hit", "position", "vus_pr", "seconds",
        "cpu_seconds", "note",
        "setting",
    ]  # fmt: skip
    return pd.DataFrame([rows[case.name, name] for case in cases for name in names], columns=columns)


def _made(name: str, seed: int, device: str) -> Any:
    """The detector, told that the training part is normal: the benchmarks vouch for it."""
    return DETECTORS[name].make(seed, device).set_params(contamination=0)


def _fingerprint(case: Labelled) -> str:
    """Of its values and labels: a row of other data is measured anew."""
    labels = repr((case.train_end, case.anomalies, case.half, case.slack)).encode()
    return f"{zlib.crc32(labels, zlib.crc32(case.read().tobytes())):08x}"


def warm_up(detector: Any) -> None:
    """Run once on next to nothing, so that imports and compilation (stumpy's, half a minute) are not in the seconds."""
    wave = np.sin(np.arange(400) / 4)
    detector.fit(wave).transform_scores(wave)


def judge(case: Labelled, values: np.ndarray, detector: Any) -> dict[str, Any]:
    """One row of `measure`, without the detector's name: fit, score, compare with the labels after `train_end`."""
    cut = case.train_end
    found = period.estimate(values[:cut])
    row = {
        "series": case.name, "half": case.half, "samples": len(values), "train_end": cut, "period": found or 0,
        "hit": False, "position": -1, "vus_pr": 0.0, "note": "",
    }  # fmt: skip
    began, used = time.perf_counter(), time.process_time()
    try:
        detector.fit(values[:cut])
        scores = detector.transform_scores(values)["scores"].to_numpy()
    except InputError as refusal:
        return row | {"note": str(refusal), **_spent(began, used)}
    row |= _spent(began, used)
    row["position"] = at = cut + int(scores[cut:].argmax())
    row["hit"] = any(ucr_hit(at, each) if case.slack else each[0] <= at < each[1] for each in case.anomalies)
    labels = flags(case.anomalies, len(values))[cut:]
    row["vus_pr"] = vus_pr(labels, scores[cut:], min(found or _BUFFER, len(labels) // 4))
    return row


def _spent(began: float, used: float) -> dict[str, float]:
    return {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - used}


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a detector, most hits first: hits and mean VUS-PR of each half and of all, CPU seconds a series."""
    table = []
    for name, own in rows.groupby("detector", sort=False):
        line: dict[str, Any] = {"detector": name}
        parts = {half: own[own["half"] == half] for half in ("chosen", "held out")}
        parts = {half: part for half, part in parts.items() if len(part)} | (
            {"all": own} if len(set(own["half"])) > 1 else {}
        )
        line |= {f"hits, {half}": f"{int(part['hit'].sum())}/{len(part)}" for half, part in parts.items()}
        line |= {f"VUS-PR, {half}": float(part["vus_pr"].mean()) for half, part in parts.items()}
        line |= {
            "CPU s, median": float(own["cpu_seconds"].median()),
            "CPU s, most": float(own["cpu_seconds"].max()),
        }
        table.append((int(own["hit"].sum()), float(own["vus_pr"].mean()), line))
    return pd.DataFrame([line for _, _, line in sorted(table, key=lambda each: each[:2], reverse=True)])


def title(rows: pd.DataFrame, which: str) -> str:
    """What the table of `summary` is about, in a line."""
    count = rows["series"].nunique()
    about = {"ucr": "the highest score must lie within max(length, 100) samples of the anomaly",
             "nab": "the highest score must lie in a label window"}[which]  # fmt: skip
    return f"{count} series, one fixed setting a detector; hit: {about}"


def report(rows: pd.DataFrame, table: pd.DataFrame, which: str, run: Run) -> None:
    """Write series.csv, detectors.csv, the figure of hits against time, and the run's final figures."""
    from lab import plots_anomaly

    run.table("series", rows)
    run.table("detectors", table)
    count = rows["series"].nunique()
    points = {
        str(name): (float(own["cpu_seconds"].median()), int(own["hit"].sum())) for name, own in rows.groupby("detector")
    }
    found = {f"anomaly/hits/{name}": float(hits) for name, (_, hits) in points.items()}
    best = max(points, key=lambda name: (points[name][1], -points[name][0]))
    heading = f"{best} finds {points[best][1]} of {count} in {points[best][0]:.2g} s a series; none finds more"
    run.figure("anomaly/hits_against_time", plots_anomaly.hits_against_time(points, count, heading))
    run.text("anomaly/benchmark", title(rows, which))
    run.finish(found, series=count, device=run.config["device"])
