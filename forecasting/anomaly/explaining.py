"""Showing what would have been normal, written into a run: fans, tables, a sentence for each anomaly, and one page."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from forecasting.anomaly import counterfactual, plain, words
from forecasting.anomaly import counterfactual_measures as measures
from forecasting.anomaly.bench import Detection, axis, time_name
from forecasting.anomaly.counterfactual import Explanation
from forecasting.anomaly.datasets import Case
from forecasting.anomaly.detectors import MaskedDetector
from lab import plots
from lab.run import Run

WIDER = 4  # times that an interval is made wider until a draw of it is normal


@dataclass(frozen=True)
class Explained:
    """One anomaly: what would have been normal, how good that is, and what it says."""

    result: Explanation
    sentence: str
    metrics: dict[str, float]
    recovery: pd.DataFrame
    """Columns method, rmse; empty where the clean series is unknown."""


def explain(
    case: Case,
    run: Run,
    detection: Detection,
    interval: tuple[int, int] | None = None,
    samples: int = 20,
    random_state: int = 0,
    top: int = 1,
) -> list[Explained]:
    """Redraw `interval`, or the `top` strongest that were found, and write fans, tables, sentences and the page.

    An interval that was found may be too short, as it is read off the score: where what lies beside it keeps every draw
    from being normal, that is redrawn too (`_settled`). Where nothing was found, the window with the highest score is
    explained, and the title says that it is below the threshold. The strongest comes first; its figures go to
    `detection.metrics`.
    """
    from forecasting.anomaly import explain_page

    explained: list[Explained] = []
    for each in [interval] if interval else detection.intervals or [_highest_window(detection)]:
        if any(each[0] < done.result.end and done.result.start < each[1] for done in explained):
            continue  # a wider one took it in
        result = counterfactual.explain(detection.detector, case.series, each, samples, random_state)
        if interval is None and detection.intervals:
            free = (
                max([done.result.end for done in explained if done.result.end <= each[0]], default=detection.train_end),
                min(
                    [done.result.start for done in explained if done.result.start >= each[1]], default=len(case.series)
                ),
            )
            result = _settled(detection, result, samples, random_state, free)
        explained.append(_write(case, run, detection, result, len(explained) + 1))
        if len(explained) == top:
            break
    run.table("counterfactuals", pd.concat([_paths(case, each.result, i + 1) for i, each in enumerate(explained)]))
    tables = [each.recovery.assign(anomaly=i + 1) for i, each in enumerate(explained) if len(each.recovery)]
    if tables:
        run.table("recovery", pd.concat(tables)[["anomaly", "method", "rmse"]])
    run.scalars(explained[0].metrics, 0)
    detection.metrics.update(explained[0].metrics)
    explain_page.write(run.path, case, detection, explained, asked=interval is not None)
    return explained


def _settled(
    detection: Detection, result: Explanation, samples: int, random_state: int, free: tuple[int, int]
) -> Explanation:
    """`result` as it is if a draw of it is normal; else of an interval that takes in what is still strange beside it.

    With the median in place of the interval, flagged samples next to it are what it left out. It grows by a window to
    either side at most, and by a quarter at least, up to `WIDER` times, but not out of `free`.
    """
    detector, values = detection.detector, result.values
    window = detector.window_ * detector.factor_
    for _ in range(WIDER):
        if (result.peaks <= result.threshold).any():
            break
        start, end = result.start, result.end
        low, high = max(free[0], start - window), min(free[1], end + window)
        redrawn = np.concatenate([values[:start], result.median, values[end:]])
        scores = detector._score_steps(detector._steps(redrawn), low // detector.factor_, -(-high // detector.factor_))
        first = low // detector.factor_ * detector.factor_
        strange = first + np.flatnonzero(np.repeat(scores, detector.factor_) > result.threshold)
        if len(strange) == 0:
            break
        wider = (
            max(low, min(int(strange[0]), start - window // 4)), min(high, max(int(strange[-1]) + 1, end + window // 4))
        )  # fmt: skip
        if wider == (start, end) or len(values) - (wider[1] - wider[0]) < detector.period_:
            break
        result = counterfactual.explain(detector, values, wider, samples, random_state)
    return result


def _write(case: Case, run: Run, detection: Detection, result: Explanation, number: int) -> Explained:
    """Measure one explanation, and write its figure and its sentence; the first has no number in its tags."""
    detector, values = detection.detector, case.series.to_numpy(float)
    start, end, scale, samples = result.start, result.end, detector.scale_, len(result.paths)
    unit = str(case.series.name or "value")
    metrics = {
        "anomaly/validity": measures.validity(result.peaks, result.threshold),
        "anomaly/accepted": result.accepted,
        "anomaly/proximity": measures.proximity(result.paths, values[start:end], scale),
        "anomaly/diversity": measures.diversity(result.paths, scale),
        "anomaly/score_before": result.peak,
        "anomaly/score_after": float(np.median(result.peaks)),
    }
    table = recovery(case, detector, result)
    for method, error in zip(table["method"], table["rmse"], strict=True):
        metrics[f"anomaly/rmse_{method.replace(' ', '_')}"] = error
    if case.clean is not None:
        metrics["anomaly/coverage_80"] = measures.coverage(result.paths, case.clean[start:end])
    sentence = words.sentence(case.series.index, start, values[start:end], result.paths, scale, unit)
    if not metrics["anomaly/validity"]:
        sentence += " None of the draws behind what is usual passes for normal itself."
    flagged = "" if result.peak > result.threshold else " (not flagged)"
    valid = int((result.peaks <= result.threshold).sum())
    after = float(np.median(result.peaks))
    title = f"Redrawn, score {result.peak:.1f}{flagged} becomes {after:.1f}; {valid} of {samples} below the threshold"
    suffix = "" if number == 1 else f"-{number}"
    figure = plots.counterfactual_fan(
        axis(case.series), values, start, end, result.paths, title, time_name(case.series), unit,
        max(2 * detector.period_, end - start), case.clean,
    )  # fmt: skip
    run.figure(f"anomaly/counterfactual{suffix}", figure)
    about = f"Samples {start} to {end} of {case.name}; threshold {result.threshold:.2f} normal spreads."
    run.text(f"anomaly/explained{suffix}", f"{sentence} {title}. {about}")
    return Explained(result, sentence, metrics, table)


def _paths(case: Case, result: Explanation, number: int) -> pd.DataFrame:
    """What was there, the draws and their median, one row a sample."""
    start, end = result.start, result.end
    columns: dict[str, Any] = {
        "anomaly": number,
        "position": np.arange(start, end),
        "time": case.series.index[start:end],
        "value": result.values[start:end],
        "median": result.median,
    }
    return pd.DataFrame(columns | {f"draw_{draw}": path for draw, path in enumerate(result.paths)})


def recovery(case: Case, detector: MaskedDetector, result: Explanation) -> pd.DataFrame:
    """RMSE against the clean series within the interval, in the series' unit: columns method, rmse; or empty."""
    start, end, values = result.start, result.end, result.values
    if case.clean is None:
        return pd.DataFrame({"method": [], "rmse": []})
    guesses = {
        "counterfactual": result.median,
        "linear": plain.linear(values, start, end),
        "last season": plain.last_season(values, start, end, detector.period_),
    }
    if detector.cycle_ != detector.period_:
        guesses["last cycle"] = plain.last_season(values, start, end, detector.cycle_)
    errors = [measures.rmse(guess, case.clean[start:end]) for guess in guesses.values()]
    return pd.DataFrame({"method": list(guesses), "rmse": errors})


def _highest_window(detection: Detection) -> tuple[int, int]:
    """One window around the highest score after the training part."""
    length, width = len(detection.scores), detection.detector.window_ * detection.detector.factor_
    peak = detection.train_end + int(detection.scores[detection.train_end :].argmax())
    start = min(max(0, peak - width // 2), max(0, length - width))
    return start, min(length, start + width)
