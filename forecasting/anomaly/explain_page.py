"""What a person reads of explained anomalies: explanation.html, one page that needs nothing but itself, and the same
content as explanation.json.
"""

import base64
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from forecasting import svg
from forecasting.anomaly import words
from forecasting.anomaly.bench import Detection, axis
from forecasting.anomaly.datasets import Case
from lab.jsonfile import strict, write_text

if TYPE_CHECKING:
    from forecasting.anomaly.explaining import Explained

BINS = 10_000  # of a longer series the lowest and the highest sample of each of so many stretches are in the page
BAND = (0.1, 0.9)  # quantiles of the draws that the fan is shaded between
SHOWN = 40  # draws at most


def write(folder: Path, case: Case, detection: Detection, explained: Sequence["Explained"], asked: bool) -> None:
    """Write both files into `folder`. asked: whether the interval was given, not found."""
    told = content(case, detection, explained, asked)
    write_text(folder / "explanation.json", json.dumps(strict(told), indent=1) + "\n")
    loader = Environment(loader=PackageLoader("forecasting.anomaly", "."), autoescape=True, trim_blocks=True)
    charts = [_fan(case, detection, each) for each in explained]
    shown = [each | chart for each, chart in zip(told["anomalies"], charts, strict=True)]
    columns = ("rank", "from", "to", "score_before", "percent", "sentence")
    table = "\n".join("\t".join(str(each.get(name) or "") for name in columns) for each in told["anomalies"])
    text = loader.get_template("explanation.html").render(
        told | {"anomalies": shown}, title=_title(told), left=_left(case, charts),
        data=_data(case, detection, explained),
        command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]), number=svg.number,
        tsv=base64.b64encode(("\t".join(columns) + "\n" + table).encode()).decode(),
    )  # fmt: skip
    write_text(folder / "explanation.html", text)


def content(case: Case, detection: Detection, explained: Sequence["Explained"], asked: bool) -> dict[str, Any]:
    """All that the page says, for JSON. asked: whether the interval was given, not found."""
    index, detector = case.series.index, detection.detector
    anomalies = []
    for rank, each in enumerate(explained, start=1):
        result = each.result
        start, end = result.start, result.end
        found = words.numbers(result.values[start:end], result.paths)
        low, high = np.quantile(result.paths, BAND, axis=0)
        anomalies.append({
            "rank": rank, "start": start, "end": end,
            "from": words.stamp(index, start), "to": words.stamp(index, end - 1),
            "sentence": each.sentence, "score_before": result.peak,
            **{name.removeprefix("anomaly/"): value for name, value in each.metrics.items()}, **found.to_json(),
            "time": [words.stamp(index, at) for at in range(start, end)], "value": svg.short(result.values[start:end]),
            "median": svg.short(result.median), "low": svg.short(low), "high": svg.short(high),
        })  # fmt: skip
    return {
        "series": case.name, "unit": str(case.series.name or "value"), "samples": len(case.series),
        "train_end": detection.train_end, "period": detector.period_, "threshold": detector.threshold_,
        "found": len(detection.table), "asked": asked, "band": list(BAND), "anomalies": anomalies,
    }  # fmt: skip


def _left(case: Case, charts: Sequence[dict[str, Any]]) -> float:
    """Room for the longest tick beside the charts; rem, of which a digit takes half."""
    values = case.series.to_numpy(float)
    ticks = [*svg.y_ticks(values.min(), values.max()), *(tick for chart in charts for tick in chart["y_ticks"])]
    return max(3.6, 1.2 + 0.5 * max((len(tick["text"]) for tick in ticks), default=0))


def _title(told: dict[str, Any]) -> str:
    count = told["found"]
    if told["asked"]:
        start, end = told["anomalies"][0]["start"], told["anomalies"][0]["end"]
        return f"{told['series']}: samples {start:,} to {end:,}, as asked for"
    if not count:
        return f"{told['series']}: nothing above the threshold; the strangest window"
    shown = len(told["anomalies"])
    more = "" if shown == count else f", {shown} explained"
    return f"{told['series']}: {count} {'anomalies' if count > 1 else 'anomaly'}{more}"


def _fan(case: Case, detection: Detection, each: "Explained") -> dict[str, Any]:
    """The chart of one anomaly: paths in a box of 1000 by 1000, and ticks."""
    result, length = each.result, len(case.series)
    start, end = result.start, result.end
    margin = min(max(2 * detection.detector.period_, end - start), 4 * (end - start) + 20)
    first, last = max(0, start - margin), min(length, end + margin)
    across = np.arange(last - first) / max(1, last - first - 1)
    around = slice(max(start - 1, first), min(end + 1, last))  # a sample more than the interval, where lines meet
    whole = result.whole()[:, around]
    band = np.quantile(whole, BAND, axis=0)
    values = result.values[first:last]
    drawn = whole[:SHOWN]
    low, high = min(values.min(), drawn.min(), band.min()), max(values.max(), drawn.max(), band.max())
    gap = 0.04 * (high - low or 1.0)
    low, high = low - gap, high + gap
    at = across[around.start - first : around.stop - first]

    def path(line: np.ndarray) -> str:
        return svg.line(at, line, low, high)

    lower = path(band[0])[1:].split("L")[::-1]
    index = axis(case.series)[first:last]
    return {
        "surroundings": [svg.line(across[: start - first + 1], values[: start - first + 1], low, high),
                         svg.line(across[end - first - 1 :], values[end - first - 1 :], low, high)],
        "there": path(result.values[around]), "fan": [path(line) for line in drawn],
        "middle": path(np.median(whole, axis=0)), "shade": path(band[1]) + "L" + "L".join(lower) + "Z",
        "x_ticks": svg.x_ticks(pd.Index(index)), "y_ticks": svg.y_ticks(low, high),
        "numbers": [
            _row("on average", *_means(each)),
            _row("highest", result.values[start:end].max(), result.median.max()),
            _row("lowest", result.values[start:end].min(), result.median.min()),
        ],
    }  # fmt: skip


def _row(name: str, there: float, usual: float) -> tuple[str, str, str]:
    return name, svg.number(there, abs(there - usual)), svg.number(usual, abs(there - usual))


def _means(each: "Explained") -> tuple[float, float]:
    return float(each.result.values[each.result.start : each.result.end].mean()), float(each.result.median.mean())


def _data(case: Case, detection: Detection, explained: Sequence["Explained"]) -> Markup:
    """What the page's script draws: the series, what hidden runs of each width say, and where the anomalies are."""
    values, detector = case.series.to_numpy(float), detection.detector
    by_width = detector.scores_by_width(values)
    kept = np.arange(len(values))
    if len(values) > 2 * BINS:
        edges = np.array_split(kept, BINS)
        kept = np.unique([at for part in edges for at in (
            part[0] + values[part].argmin(), part[0] + values[part].argmax(), part[0] + detection.scores[part].argmax()
        )])  # fmt: skip
    data = {
        "at": kept.tolist(), "length": len(values), "times": [words.stamp(case.series.index, int(at)) for at in kept],
        "values": svg.short(values[kept]), "threshold": detector.threshold_, "train_end": detection.train_end,
        "scores": [{"width": width, "values": svg.short(scores[kept])} for width, scores in by_width.items()],
        "marked": [[each.result.start, each.result.end] for each in explained] + [
            [start, end] for start, end in detection.intervals
            if all(end <= each.result.start or start >= each.result.end for each in explained)
        ],
    }  # fmt: skip
    return Markup(json.dumps(strict(data), separators=(",", ":")).replace("</", "<\\/"))  # "</" would end the script
