"""Finding what is not normal in a series, written into a run; `explaining` shows what would have been."""

import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from forecasting.anomaly import insight
from forecasting.anomaly import period as periods
from forecasting.anomaly.base import ScoreDetector
from forecasting.anomaly.datasets import Case
from lab import plots
from lab.errors import InputError, Notice
from lab.run import Run


@dataclass(frozen=True)
class Detection:
    """What `detect` found: the fitted detector, a score for every sample (n,), and the intervals, strongest first."""

    detector: Any
    """A fitted ScoreDetector; what is explained needs a MaskedDetector."""
    scores: np.ndarray
    table: pd.DataFrame
    """Columns start, end (positions, [start, end)), from, to (times of the first and last sample), peak."""
    train_end: int
    metrics: dict[str, float]

    @property
    def intervals(self) -> list[tuple[int, int]]:
        return [(int(start), int(end)) for start, end in zip(self.table["start"], self.table["end"], strict=True)]


def position(case: Case, given: float | str, option: str, last: bool = False) -> float:
    """`given` itself, or the position of a time: of the first sample that is not before it; last: after the one at it.

    A time without an offset is one on the clocks that the series is told on. Raises InputError for a time that cannot
    be read, outside the series or of a series without times.
    """
    if not isinstance(given, str):
        return given
    index = case.series.index
    if isinstance(index, pd.PeriodIndex):
        index = index.to_timestamp()
    if not isinstance(index, pd.DatetimeIndex):
        raise InputError(f"{option} {given} is no position, and {case.name} has no times; count its samples from 0")
    try:
        stamp = pd.Timestamp(given)
        if (stamp.tz is None) != (index.tz is None):
            stamp = stamp.tz_localize(index.tz, ambiguous=True, nonexistent="shift_forward")
    except (ValueError, TypeError):
        raise InputError(
            f"{option} {given!r} is neither a position nor a time of {case.name}; write it as {index[0]}"
        ) from None
    if not index[0] <= stamp <= index[-1]:
        raise InputError(f"{option} {given} is not inside {case.name}, which lasts from {index[0]} to {index[-1]}")
    return int(index.searchsorted(stamp, side="right" if last else "left"))


def split(case: Case, train_end: float | str | None = None) -> int:
    """Where the training part ends, as a position: the case's own unless given: a position, a share below 1 or a time.

    Raises InputError where it leaves nothing to train on or nothing to look at.
    """
    length = len(case.series)
    if train_end is None:
        return case.train_end if case.train_end is not None else length // 2
    train_end = position(case, train_end, "--train-end")
    place = int(train_end * length) if 0 < train_end < 1 else train_end
    if not 0 < place < length or place != int(place):  # NaN is not above 0
        raise InputError(
            f"--train-end {train_end:g} does not split the series of {length} samples; "
            f"give a position from 1 to {length - 1} or a share such as 0.5"
        )
    return int(place)


def detect(case: Case, run: Run, detector: ScoreDetector, train_end: float | str | None = None) -> Detection:
    """Fit `detector` on the part before `train_end`, score the whole series and list what is anomalous after it.

    Writes anomalies.csv, the figure anomaly/scores, scalars and text, and what the detector itself has to show
    (`insight`); with labels also a precision-recall curve over the samples after `train_end` (no point adjustment) and
    `anomaly/hit`: 1 if the strongest interval overlaps a labelled one widened by a quarter of a window.
    """
    values, cut = case.series.to_numpy(float), split(case, train_end)
    began = time.monotonic()
    detector.fit(values[:cut])
    fitted = time.monotonic()
    if detector.period is None and periods.estimate(values[:cut]) is None:
        warnings.warn(
            f"no period of up to {periods.HIGHEST:,} samples shows in the training part; windows of "
            f"{detector.period_} are taken. Give --period if you know one",
            Notice,
            stacklevel=2,
        )
    scores = detector.transform_scores(values)["scores"].to_numpy()
    table = detector.intervals(scores, first=cut)
    index = case.series.index
    # as text: of times that are all midnights pandas would write the dates alone
    moments = index.map(str) if isinstance(index, pd.DatetimeIndex) else index
    table.insert(2, "from", [moments[start] for start in table["start"]])
    table.insert(3, "to", [moments[end - 1] for end in table["end"]])
    metrics = {
        "anomaly/intervals": len(table),
        "anomaly/threshold": detector.threshold_,
        "anomaly/top_score": float(scores[cut:].max()),
        "anomaly/period": detector.period_,
        "time/fit_seconds": fitted - began,
        "time/score_seconds": time.monotonic() - fitted,
    }
    if case.labels:
        metrics |= _judge(case, run, scores, table, cut, detector.window_ * detector.factor_ // 4)
    metrics |= insight.write(run, detector, values, cut)
    run.table("anomalies", table)
    run.scalars(metrics, 0)
    found = [(int(start), int(end)) for start, end in zip(table["start"], table["end"], strict=True)]
    title = _finding(case, table, metrics)
    figure = plots.anomaly_scores(
        axis(case.series), values, scores, detector.threshold_, found, cut, title, time_name(case.series),
        str(case.series.name or "value"), case.labels, getattr(detector, "unit", "score"),
    )  # fmt: skip
    run.figure("anomaly/scores", figure)
    about = f"Period {detector.period_} samples, {detector.factor_} samples a model step."
    run.text("anomaly/finding", f"{title}. {about}")
    return Detection(detector, scores, table, cut, metrics)


def _judge(case: Case, run: Run, scores: np.ndarray, table: pd.DataFrame, cut: int, tolerance: int) -> dict[str, float]:
    """What the labels after `cut` say."""
    from sklearn.metrics import average_precision_score

    labels = np.zeros(len(scores), bool)
    for start, end in case.labels:
        labels[start:end] = True
    if not labels[cut:].any():
        return {}
    rank = scores[cut:].argsort().argsort() / max(1, len(scores) - cut - 1)  # the curve wants scores in [0, 1]
    run.pr_curve("anomaly/precision_recall", labels[cut:], rank)
    return {
        "anomaly/hit": float(len(table) > 0 and hit((table["start"][0], table["end"][0]), case.labels, tolerance)),
        "anomaly/average_precision": float(average_precision_score(labels[cut:], scores[cut:])),
    }


def hit(interval: tuple[int, int], labels: list[tuple[int, int]], tolerance: int) -> bool:
    """Whether [start, end) overlaps one of `labels` widened by `tolerance` samples on both sides."""
    return any(interval[0] < end + tolerance and interval[1] > start - tolerance for start, end in labels)


def _finding(case: Case, table: pd.DataFrame, metrics: dict[str, float]) -> str:
    if len(table) == 0:
        return "Nothing above the threshold"
    several = f"{len(table)} anomalies" if len(table) > 1 else "One anomaly"
    if "anomaly/hit" not in metrics:
        return f"{several}, the strongest at {_when(table['from'][0])}"
    return f"{several}; the strongest {'is' if metrics['anomaly/hit'] else 'is not'} the labelled one"


def _when(moment: object) -> str:
    return f"{moment:.4g}" if isinstance(moment, float) else str(moment)


def axis(series: pd.Series) -> np.ndarray:
    """For drawing: times with a zone as the clocks there show them."""
    index = series.index
    if isinstance(index, pd.DatetimeIndex):
        index = index.tz_localize(None)
    return index.to_timestamp().to_numpy() if isinstance(index, pd.PeriodIndex) else index.to_numpy()


def time_name(series: pd.Series) -> str:
    zone = getattr(series.index, "tz", None)
    return str(series.index.name or "position (samples)") + (f" ({zone})" if zone else "")
