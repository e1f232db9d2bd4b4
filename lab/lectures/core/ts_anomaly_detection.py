"""Is a stretch of a series normal, given what lies around it? A masked model beside three simpler detectors.

Lecture: L0, Deep Learning in Wilderness
Slide: Counterfactual Sampling in Time Series Anomaly Detection
Says: "Counterfactual Sampling in Time Series Anomaly Detection" (the title; the slide's picture is lost)
Doubt: The slide takes for granted that the anomaly has been found. Whether a model of p(window | surroundings) finds it
    better than a running mean and deviation is measured here, per sample and without point adjustment (which gives
    even random scores high marks). Three kinds of injected anomaly and two labelled series are few.
Kind: chance
"""

from dataclasses import dataclass
from importlib.resources import files

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from forecasting.anomaly.base import ScoreDetector
from forecasting.anomaly.catalogue import DETECTORS
from forecasting.anomaly.datasets import Case, inject, mitdb
from forecasting.anomaly.detectors import MaskedDetector
from forecasting.anomaly.metrics import flags, runs
from forecasting.traffic import web_traffic
from lab import console
from lab.lectures import Finding, Outcome, check, report, setting
from lab.plots import BLACK, BLUE, COLOURS, GREY, ORANGE, PURPLE, canvas, label
from lab.stats import bootstrap

NAMES = {"zscore": "rolling z-score", "forecast": "forecast residual", "autoencoder": "reconstruction",
         "masked": "masked likelihood"}  # fmt: skip
COLOUR = {"zscore": GREY, "forecast": BLUE, "autoencoder": ORANGE, "masked": COLOURS["anomaly"]}
KINDS = {"spike": ("surge", 12, 2), "shift": ("outage", 8, 12), "shape": ("reversed", 3, 12)}
"""Injected anomaly -> what `inject` calls it, the hour at which it begins, and for how many hours it lasts."""
METRICS = ("AUROC", "AP", "top-1 hit")


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(3, 1, 20, quick=1)
    """Generated series with three anomalies each, and first weights of the detectors."""
    epochs: int = setting(12, 1, 200, quick=1)
    """Of the masked model, 25 updates each, and of the autoencoder, 50; the others have their usual settings."""
    days: int = setting(84, 28, 365, quick=28)
    """Of generated hourly traffic; three quarters of it, without anomaly, to learn from."""


def traffic(seed: int, days: int) -> dict[str, Case]:
    """Three copies of a generated series with one anomaly each, on a day that the seed chooses."""
    series = web_traffic(days, seed, bursts=0.0)
    cut = 24 * (days * 3 // 4)
    day = cut // 24 + 1 + int(np.random.default_rng(seed).integers(days - cut // 24 - 3))
    cases = {}
    for name, (kind, hour, width) in KINDS.items():
        start = 24 * day + hour
        spoiled = pd.Series(inject(series.to_numpy(), start, start + width, kind), series.index, name="views")
        cases[name] = Case(name, spoiled, cut, [(start, start + width)])
    return cases


def yahoo() -> Case:
    """1,000 samples with seven single strange ones, from sktime's own files; the first 400 are normal."""
    table = pd.read_csv(str(files("sktime").joinpath("datasets/data/yahoo/yahoo.csv")))
    return Case("yahoo", table["data"].astype(float), 400, runs(table["label"].to_numpy() > 0))


def detector(name: str, seed: int, epochs: int) -> ScoreDetector:
    """With the bench's own setting, told that the training part is normal."""
    if name == "masked":
        return MaskedDetector(max_epochs=epochs, random_state=seed, device="cpu", contamination=0.0)
    made = DETECTORS[name].make(seed, "cpu").set_params(contamination=0.0)
    return made.set_params(updates=50 * epochs) if name == "autoencoder" else made  # 600, its own, by default


def judge(case: Case, scores: np.ndarray) -> list[float]:
    """METRICS of scores (n,) on the samples after the training part.

    A hit: the highest score lies in a labelled interval, or no farther from it than the interval is long.
    """
    assert case.train_end is not None
    labels = flags(case.labels, len(scores))[case.train_end :]
    tested = scores[case.train_end :]
    top = case.train_end + int(tested.argmax())
    hit = any(2 * start - end <= top < 2 * end - start for start, end in case.labels)
    return [float(roc_auc_score(labels, tested)), float(average_precision_score(labels, tested)), float(hit)]


def measure(settings: Settings) -> Outcome:
    real = {"ECG": mitdb(), "yahoo": yahoo()}
    cases = [*KINDS, *real]
    found = np.zeros((len(NAMES), len(cases), len(METRICS), settings.seeds))
    shown: dict[str, tuple[Case, dict[str, np.ndarray]]] = {name: (case, {}) for name, case in real.items()}
    with console.bar("anomaly detectors", 3 * len(NAMES) * settings.seeds, "fits") as advance:
        for seed in range(settings.seeds):
            generated = traffic(seed, settings.days)
            if seed == 0:
                shown = {name: (case, {}) for name, case in generated.items()} | shown
            for row, name in enumerate(NAMES):
                for group in (generated, *({name: case} for name, case in real.items())):
                    first = next(iter(group.values()))  # one fit for the three copies: they share the training part
                    fitted = detector(name, seed, settings.epochs).fit(first.series.to_numpy()[: first.train_end])
                    for title, case in group.items():
                        scores = fitted.transform_scores(case.series.to_numpy())["scores"].to_numpy()
                        found[row, cases.index(title), :, seed] = judge(case, scores)
                        if seed == 0:
                            shown[title][1][name] = scores
                    advance(1, NAMES[name])
    mean = found.mean(1)  # over the five cases: (detector, metric, seed)
    rows = list(NAMES)
    gain = mean[rows.index("masked")] - mean[rows.index("zscore")]  # (metric, seed)

    def told(name: str, values: np.ndarray) -> Finding:
        return report(name, float(values.mean()), bootstrap(values, np.mean), values)

    findings = [
        *(check(f"{metric}, mean of {len(cases)} series: masked likelihood less rolling z-score", each.mean(), "> 0",
                bootstrap(each, np.mean), each) for metric, each in zip(METRICS, gain, strict=True)),
        *(told(f"{metric}, mean of {len(cases)} series: {NAMES[name]}", mean[row, place])
          for place, metric in enumerate(METRICS) for row, name in enumerate(rows)),
        *(told(f"AP on {case}: {NAMES[name]}", found[row, column, 1])
          for column, case in enumerate(cases) for row, name in enumerate(rows)),
        *(told(f"hits on {case}: masked likelihood", found[rows.index("masked"), column, 2])
          for column, case in enumerate(cases)),
    ]  # fmt: skip
    budget = (
        f"{settings.seeds} generated series of {settings.days} days, with three anomalies in turn each, and two "
        f"labelled series from sktime with {settings.seeds} starts; masked model: {settings.epochs} epochs of 25 "
        "updates; scores of single samples after the training part, no point adjustment"
    )
    return Outcome(findings, picture(shown, found, mean, findings), budget)


def picture(shown, found: np.ndarray, mean: np.ndarray, findings: list[Finding]):
    """Each series over the scores of the four detectors (scaled to their range), and the average precision."""
    names = list(shown)
    figure, axes = canvas(2, len(names) + 1, width=19, height=6.2, height_ratios=[1, 1.25],
                          width_ratios=[1] * len(names) + [1.25])  # fmt: skip
    for column, (name, (case, scores)) in enumerate(shown.items()):
        top, bottom = axes[:, column]
        start = case.labels[0][0]
        around = 24 * 4 if name in KINDS else len(case.series)
        low, high = max(case.train_end, start - around), min(len(case.series), start + around)
        at = np.arange(low, high) - start
        top.plot(at, case.series.to_numpy()[low:high], color=BLACK, linewidth=1)
        for level, key in enumerate(reversed(NAMES)):
            part = scores[key][low:high]
            scaled = (part - part.min()) / max(float(np.ptp(part)), 1e-12)
            bottom.plot(at, 0.9 * scaled + level, color=COLOUR[key], linewidth=1.3)
        for panel in (top, bottom):
            for first, last in case.labels:
                if first < high:
                    panel.axvspan(first - start - 0.5, last - start - 0.5, color=PURPLE, alpha=0.3, linewidth=0)
            panel.set_yticks([])
            panel.set_xlim(at[0], at[-1])
        hits = found[list(NAMES).index("masked"), column, 2]
        label(top, f"{name}: masked hits {int(hits.sum())} of {len(hits)}")
        unit = "hours" if name in KINDS else "samples"
        label(bottom, "", f"{unit} from the label's start")
        top.title.set_fontsize(14)
    axes[1, 0].set_yticks(np.arange(len(NAMES)) + 0.4, list(NAMES.values())[::-1])
    axes[0, 0].set_ylabel("series")
    for panel, place in zip(axes[:, -1], (1, 0), strict=True):
        for row, key in enumerate(NAMES):
            values = mean[row, place]
            panel.barh(-row, values.mean(), color=COLOUR[key], height=0.7)
            panel.plot(values, np.full(len(values), -row), "o", color=BLACK, markersize=4)
            panel.text(
                0.02, -row, NAMES[key], va="center", fontsize=11, color="white" if values.mean() > 0.3 else BLACK
            )
        panel.set(xlim=(0, 1), yticks=[])
        label(panel, f"{METRICS[place]}, mean of the five", "dots: seeds" if place == 0 else "")
    held = sum(bool(each.holds) for each in findings[:3])
    best = max(NAMES, key=lambda key: mean[list(NAMES).index(key), 1].mean())
    figure.suptitle(
        f"Masked likelihood beats the z-score on {held} of 3 measures; best average precision: {NAMES[best]}",
        x=0.01, ha="left", fontsize=17, fontweight="bold",
    )  # fmt: skip
    return figure
