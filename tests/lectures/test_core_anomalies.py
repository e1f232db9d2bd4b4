"""Core experiments on anomalies and counterfactuals: what is exact is pinned, and every verdict can change."""

from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from lab.lectures import Verdict, judge, load
from tests.lectures.test_experiments import run
from tests.lectures.test_foundations_slides import of

pytestmark = pytest.mark.slow  # each experiment runs for seconds

# --- ts-anomaly-detection ---------------------------------------------------------------------------------------------


def test_a_hit_is_within_one_anomalys_length():
    module = load("ts-anomaly-detection")
    case = module.Case("x", pd.Series(np.zeros(100)), 50, [(70, 75)])
    for top, hit in ((64, 0), (65, 1), (72, 1), (79, 1), (80, 0), (20, 0)):
        scores = np.arange(100) / 1000
        scores[top] = 9
        assert module.judge(case, scores)[2] == hit
    assert module.judge(case, (np.arange(100) // 5 == 14).astype(float)) == [1, 1, 1]
    assert module.judge(case, np.zeros(100))[:2] == [0.5, 5 / 50]  # a score that says nothing


def test_the_three_anomalies_share_a_clean_training_part():
    module = load("ts-anomaly-detection")
    for seed in range(5):
        cases = module.traffic(seed, 42)
        cut = next(iter(cases.values())).train_end
        values = np.array([case.series.to_numpy() for case in cases.values()])
        assert (values[:, :cut] == values[0, :cut]).all()
        for case, (_, _, width) in zip(cases.values(), module.KINDS.values(), strict=True):
            ((start, end),) = case.labels
            assert cut <= start < end <= values.shape[1] and end - start == width
    real = module.yahoo()
    assert len(real.labels) == 7 and real.labels[0] == (431, 432) and real.train_end <= 431


class Oracle:
    """Scores that know, or do not know, where something was put in."""

    learnt: ClassVar[list[int]] = []

    def __init__(self, knows: bool, clean: list[np.ndarray]):
        self.knows, self.clean = knows, clean

    def fit(self, values):
        self.learnt.append(len(values))
        return self

    def transform_scores(self, values):
        scores = np.random.default_rng(0).random(len(values))
        known = next((each for each in self.clean if len(each) == len(values)), values)
        return pd.DataFrame({"scores": scores + 5 * self.knows * (np.abs(values - known) > 1e-9)})


@pytest.mark.parametrize("knowing", ["masked", "zscore"])
def test_the_detector_that_knows_wins(monkeypatch, knowing):
    module = load("ts-anomaly-detection")
    real = module.mitdb(), module.yahoo()
    clean = [case.series.to_numpy().copy() for case in real] + [module.web_traffic(28, 0, bursts=0.0).to_numpy()]
    for case, values in zip(real, clean, strict=False):
        for start, end in case.labels:
            values[start:end] += 1
    monkeypatch.setattr(module, "web_traffic", lambda days, seed, bursts: pd.Series(
        clean[2], pd.date_range("2024-01-01", periods=len(clean[2]), freq="h")))  # fmt: skip
    monkeypatch.setattr(module, "detector", lambda name, seed, epochs: Oracle(name == knowing, clean))
    _, outcome = run("ts-anomaly-detection", seeds=2, days=28)
    assert judge(outcome.findings) is (Verdict.HOLDS if knowing == "masked" else Verdict.FAILS)
    ends = {24 * 21, *(case.train_end for case in real)}  # of 28 days three quarters
    assert {*Oracle.learnt} == ends, "no detector learns what it is asked of"
    title = {"masked": "masked likelihood", "zscore": "rolling z-score"}[knowing]
    assert of(outcome, f"AP, mean of 5 series: {title}").measured > 0.9  # reversed, some samples stay


# --- ts-counterfactual-sampling ---------------------------------------------------------------------------------------


def test_the_nearest_window_is_the_nearest():
    module, random = load("ts-counterfactual-sampling"), np.random.default_rng(0)
    bank, windows = random.normal(size=(40, 6)), random.normal(size=(9, 6))
    by_hand = np.linalg.norm(windows[:, None] - bank, axis=2).min(1)
    np.testing.assert_allclose(module.nearest(windows, bank), by_hand)
    assert module.nearest(bank[:3] * 1000, bank * 1000) == pytest.approx(0, abs=1e-2)


def test_windows_of_the_series_itself_are_plausible_and_a_spike_is_not():
    module = load("ts-counterfactual-sampling")
    train = module.web_traffic(42, 0, bursts=0.0).to_numpy()
    own = train[-200:-100].reshape(-1, 10)
    assert module.plausibility(own, train) < 1 < module.plausibility(own + 1000 * (np.arange(10) == 5), train)


def stand_in(module, draw):
    """`redraw` with the true course known: draw(clean part) gives the paths; the detector calls them normal."""

    def redraw(seed, settings, advance):
        clean = module.web_traffic(42, seed, bursts=0.0).to_numpy()
        redrawn = []
        for kind in module.KINDS:
            start, end = 800, 812
            values = module.inject(clean, start, end, kind)
            results = [
                module.Explanation(
                    start, end, series, draw(series[start:end], clean[start:end]), np.zeros(5), 2.0, 1.0, 1.0
                )
                for series in (values, clean)
            ]
            plausible = module.plausibility(results[0].paths, clean[:700])
            redrawn.append(module.Redrawn(kind, results[0], clean, start, True, results[1], plausible))
        return redrawn

    return redraw


@pytest.mark.parametrize(
    ("draw", "expected"),
    [
        (lambda was, clean: np.repeat(clean[None], 5, 0), [True] * 5),  # perfect draws
        (lambda was, clean: was + 0.01 * (was - clean) * np.ones((5, 1)), [True, True, False, False, True]),  # worse
        (lambda was, clean: clean + 3000 * np.ones((5, 1)), [True, True, False, False, False]),  # wild draws
    ],
)
def test_draws_are_judged_by_the_true_course(monkeypatch, draw, expected):
    module = load("ts-counterfactual-sampling")
    monkeypatch.setattr(module, "redraw", stand_in(module, draw))
    _, outcome = run("ts-counterfactual-sampling", seeds=6)
    assert [finding.holds for finding in outcome.findings[:5]] == expected


def test_a_change_outside_is_found_out():
    module = load("ts-counterfactual-sampling")

    class Leaking(module.Explanation):
        def whole(self):
            return super().whole() + 1e-12 * np.arange(len(self.values))

    result = Leaking(5, 8, np.zeros(20), np.ones((3, 3)), np.zeros(3), 1.0, 1.0, 1.0)
    each = module.Redrawn("outage", result, np.zeros(20), 5, True, result, 1.0)
    assert module.outside(each) == pytest.approx(19e-12)
    usual = module.Explanation(5, 8, np.zeros(20), np.ones((3, 3)), np.zeros(3), 1.0, 1.0, 1.0)
    assert module.outside(each._replace(result=usual)) == 0


def test_a_model_hardly_trained_redraws_what_was_flagged(monkeypatch):
    module = load("ts-counterfactual-sampling")
    monkeypatch.setattr(module, "KINDS", {"surge": module.KINDS["surge"]})
    settings = module.Settings(seeds=1, samples=3, epochs=1, days=28)
    redrawn = module.redraw(0, settings, lambda *note: None)
    assert [each.kind for each in redrawn] == list(module.KINDS)
    for each in redrawn:
        assert each.result.paths.shape == (3, each.result.end - each.result.start)
        assert each.result.start < each.start + module.WIDTH and each.result.end > each.start
        assert module.outside(each) == 0
        np.testing.assert_array_equal(each.usual.values, each.result.values)
        assert each.usual.start == each.result.start - 7 * 24  # a week before, where nothing was put in
