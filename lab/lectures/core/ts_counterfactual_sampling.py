"""What would have been normal: the flagged window of a series drawn twenty times from p(window | surroundings).

Lecture: L0, Deep Learning in Wilderness
Slide: Counterfactual Sampling in Time Series Anomaly Detection
Says: "Counterfactual Sampling in Time Series Anomaly Detection" (the title; the slide's picture is lost)
Doubt: Drawing anew what is likely, given the rest, is conditional resampling, not causal reasoning: it tells what such
    a stretch usually looks like, not what would have happened without the fault. It is only as good as the model that
    draws, and the same model judges the draws; hence the comparisons with the true course and with the nearest
    windows of the training part, in which the model has no say. Whether the fan is wide enough is another matter.
Kind: chance
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from forecasting.anomaly import counterfactual
from forecasting.anomaly import counterfactual_measures as measures
from forecasting.anomaly.counterfactual import Explanation
from forecasting.anomaly.datasets import inject
from forecasting.anomaly.detectors import MaskedDetector
from forecasting.traffic import web_traffic
from lab import console
from lab.lectures import Finding, Outcome, check, report, setting
from lab.plots import BLACK, BLUE, COLOURS, LIGHT_GREY, canvas, label
from lab.stats import bootstrap

KINDS = {
    "outage": (8, "45 % of the views"), "surge": (8, "170 %"), "stuck": (2, "one value held"),
    "reversed": (3, "backwards"),
}  # fmt: skip
"""Kind of anomaly -> the hour at which it begins, and what it is; each lasts WIDTH hours."""
WIDTH = 12


@dataclass(frozen=True)
class Settings:
    seeds: int = setting(3, 1, 20, quick=1)
    """Generated series, each with four anomalies in turn, and first weights of the model."""
    samples: int = setting(20, 2, 200, quick=5)
    """Draws of each flagged window."""
    epochs: int = setting(20, 1, 200, quick=2)
    """Of the masked model, 25 updates each."""
    days: int = setting(84, 28, 365, quick=28)
    """Of generated hourly traffic; three quarters of it, without anomaly, to learn from."""


class Redrawn(NamedTuple):
    """One anomaly explained, with all it is judged by."""

    kind: str
    result: Explanation
    clean: np.ndarray
    """The series as it was before the anomaly was put in, (n,)."""
    start: int
    """Where the anomaly truly begins; it ends WIDTH hours later."""
    flagged: bool
    """Whether the detector found it above its threshold."""
    usual: Explanation
    """As many hours of the same series, redrawn a week before, where all is normal."""
    plausible: float
    """Distance of the draws to their nearest training window over the 95th percentile of normal windows, median."""


def nearest(windows: np.ndarray, bank: np.ndarray) -> np.ndarray:
    """Euclidean distance of each window (m, width) to the nearest of a bank (n, width): (m,)."""
    squares = (windows**2).sum(1)[:, None] + (bank**2).sum(1) - 2 * windows @ bank.T
    return np.sqrt(np.maximum(squares.min(1), 0))


def plausibility(paths: np.ndarray, train: np.ndarray) -> float:
    """See Redrawn: paths (K, width); the bank is the first 80 % of the training part (n,), normal is what follows."""
    cut, view = int(0.8 * len(train)), np.lib.stride_tricks.sliding_window_view
    bank = view(train[:cut], paths.shape[1])
    usual = np.quantile(nearest(view(train[cut:], paths.shape[1]), bank), 0.95)
    return float(np.median(nearest(paths, bank)) / usual)


def flagged(detector: MaskedDetector, values: np.ndarray, cut: int) -> tuple[int, int] | None:
    """The strongest interval above the threshold after the training part, if there is one."""
    scores = detector.transform_scores(values)["scores"].to_numpy()
    table = detector.intervals(scores, first=cut)
    return None if table.empty else (int(table["start"][0]), int(table["end"][0]))


def redraw(seed: int, settings: Settings, advance: Callable[..., None]) -> list[Redrawn]:
    """One series, one model, and the four anomalies in turn."""
    clean = web_traffic(settings.days, seed, bursts=0.0).to_numpy()
    cut = 24 * (settings.days * 3 // 4)
    detector = MaskedDetector(max_epochs=settings.epochs, random_state=seed, device="cpu", contamination=0.0)
    detector.fit(clean[:cut])
    advance(1, "model fitted")
    redrawn = []
    for number, (kind, (hour, _)) in enumerate(KINDS.items()):
        # a week is left before it, in which nothing is wrong, and the anomalies fall on different days
        start = cut + 24 * min(7 + number, settings.days - cut // 24 - 2) + hour
        values = inject(clean, start, start + WIDTH, kind)
        found = flagged(detector, values, cut)
        hit = found is not None and found[0] < start + WIDTH and found[1] > start
        # where it was not found, the true place is redrawn all the same, and the share found is reported
        interval = found if found is not None and hit else (start, start + WIDTH)
        result = counterfactual.explain(detector, values, interval, settings.samples, seed)
        before = interval[0] - 7 * 24, interval[1] - 7 * 24
        usual = counterfactual.explain(detector, values, before, settings.samples, seed)
        redrawn.append(Redrawn(kind, result, clean, start, hit, usual, plausibility(result.paths, clean[:cut])))
        advance(1, kind)
    return redrawn


def rmse(each: Redrawn, paths: np.ndarray) -> float:
    """Of paths (K, width) against the clean series in the redrawn part; mean over paths."""
    truth = each.clean[each.result.start : each.result.end]
    return float(np.mean([measures.rmse(path, truth) for path in paths]))


def change(result: Explanation) -> float:
    """Mean |path - series| in the redrawn part, in the series' unit."""
    return float(np.abs(result.paths - result.values[result.start : result.end]).mean())


def outside(each: Redrawn) -> float:
    """Largest change of any draw outside the redrawn part."""
    off = np.abs(each.result.whole() - each.result.values)
    off[:, each.result.start : each.result.end] = 0
    return float(off.max())


def measure(settings: Settings) -> Outcome:
    with console.bar("counterfactuals", settings.seeds * (1 + len(KINDS)), "steps") as advance:
        groups = [redraw(seed, settings, advance) for seed in range(settings.seeds)]

    def per_seed(measure_one: Callable[[Redrawn], float]) -> np.ndarray:
        return np.array([np.mean([measure_one(each) for each in group]) for group in groups])

    cases = [each for group in groups for each in group]
    valid = per_seed(lambda each: measures.validity(each.result.peaks, each.result.threshold))
    before = per_seed(lambda each: rmse(each, each.result.values[None, each.result.start : each.result.end]))
    after = per_seed(lambda each: rmse(each, each.result.paths))
    middle = per_seed(lambda each: rmse(each, each.result.median[None]))
    plausible = per_seed(lambda each: each.plausible)
    small = per_seed(lambda each: change(each.usual)) / per_seed(lambda each: change(each.result))

    def told(name: str, values, condition: str = "") -> Finding:
        mean, interval = float(np.mean(values)), bootstrap(values, np.mean)
        return check(name, mean, condition, interval, values) if condition else report(name, mean, interval, values)

    findings = [
        told("share of the draws that the detector calls normal", valid, ">= 0.9"),
        check("largest change outside the redrawn part", max(outside(each) for each in cases), "== 0"),
        told("RMSE to the clean series, a draw over the anomaly", after / before, "< 1"),
        told("distance to the nearest training window over the 95th percentile of normal ones", plausible, "<= 1"),
        told("change of a normal window over that of an anomalous one", small, "<= 0.5"),
        told("share of the anomalies that the detector flags", per_seed(lambda each: float(each.flagged))),
        told("RMSE to the clean series, views: what was there", before),
        told("RMSE to the clean series, views: a draw", after),
        told("RMSE to the clean series, views: median of the draws", middle),
        told("share of the clean samples within the draws' central 80 %", per_seed(
            lambda each: measures.coverage(each.result.paths, each.clean[each.result.start : each.result.end]))),
        *(told(f"{kind}: share of the draws called normal",
               [measures.validity(each.result.peaks, each.result.threshold)
                for each in cases if each.kind == kind])
          for kind in KINDS),
    ]  # fmt: skip
    budget = (
        f"{settings.seeds} generated series of {settings.days} days with four anomalies of {WIDTH} hours in turn; a "
        f"masked model each, {settings.epochs} epochs of 25 updates on {settings.days * 3 // 4} normal days; "
        f"{settings.samples} draws of each flagged window, and of as many hours a week before"
    )
    return Outcome(findings, picture(groups[0], findings), budget)


def picture(cases: list[Redrawn], findings: list[Finding]):
    """The four anomalies of the first series, each with its fan of what normal would have been."""
    figure, axes = canvas(1, len(cases), width=17, height=5.2, sharey=True)
    for panel, each in zip(axes[0], cases, strict=True):
        result = each.result
        start, end = result.start, result.end
        low, high = start - 30, min(end + 30, len(result.values))
        whole = result.whole()
        hours = np.arange(len(result.values)) - each.start
        panel.axvspan(hours[start] - 0.5, hours[end - 1] + 0.5, color=LIGHT_GREY, alpha=0.4, linewidth=0)
        fan = slice(start - 1, end + 1)
        panel.plot(hours[fan], whole[:, fan].T, color=COLOURS["counterfactual"], linewidth=0.9, alpha=0.6)
        panel.plot([], [], color=COLOURS["counterfactual"], label=f"{len(whole)} draws")
        panel.plot(hours[fan], np.median(whole, 0)[fan], color=BLUE, linewidth=2.5, label="their median")
        panel.plot(
            hours[low:high], each.clean[low:high], color=BLACK, linewidth=1.4, linestyle=":", label="true normal"
        )
        wrong = slice(each.start - 1, each.start + WIDTH + 1)
        panel.plot(hours[low:high], result.values[low:high], color=BLACK, linewidth=1.2)
        panel.plot(hours[wrong], result.values[wrong], color=COLOURS["anomaly"], linewidth=2.5, label="what was there")
        share = measures.validity(result.peaks, result.threshold)
        found = "" if each.flagged else ", not flagged"
        label(panel, f"{each.kind} ({KINDS[each.kind][1]}{found}):\n{share:.0%} of the draws are normal",
              "hours from its start", "views an hour" if panel is axes[0, 0] else "")  # fmt: skip
        panel.title.set_fontsize(14)
        if legend := panel.get_legend():
            legend.remove()
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False, fontsize=13)
    share, ratio = findings[0].measured, findings[2].measured
    figure.suptitle(f"{share:.0%} of the draws pass as normal; their error is {ratio:.0%} of the anomaly's", x=0.01,
                    ha="left", fontsize=18, fontweight="bold")  # fmt: skip
    return figure
