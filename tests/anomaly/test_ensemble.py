"""The gate by hand, the training part that is not all normal."""

import re

import numpy as np
import pytest

from forecasting.anomaly import contamination, ensemble
from forecasting.anomaly.base import spread
from forecasting.anomaly.classical import InterpolationDetector, PCADetector
from forecasting.anomaly.joins import JoinDetector, regularised
from lab.errors import Notice

from .conftest import PERIOD, waves


def test_contrast_by_hand():
    scores = np.ones(100)
    scores[30], scores[33], scores[70] = 5, 4.5, 3
    assert contamination.contrast(scores, 2) == pytest.approx((5 - 1) / (3 - 1))  # 33 is part of the peak at 30
    assert contamination.contrast(scores, 1) == pytest.approx((5 - 1) / (4.5 - 1))


def test_rarity_is_minus_log_of_the_tail():
    normal = np.random.default_rng(0).pareto(1.0, 100_000)  # P(s > x) = 1 / (1 + x): the shape that is assumed
    got = ensemble.rarity(np.array([0.0, 1.0, 3.0, 19.0]), normal)
    assert got == pytest.approx([0, np.log(2), np.log(4), np.log(20)], abs=0.02)
    # of 0 .. 99 the 95 % quantile is 94.05; what lies beyond is 2.95 above it in the mean, where half of 5 % is left
    assert ensemble.rarity(np.array([94.0, 97.0]), np.arange(100.0)) == pytest.approx([-np.log(0.06), -np.log(0.025)])
    beyond = ensemble.rarity(np.array([1e2, 1e3, 1e6]), np.arange(100.0))
    assert (np.diff(beyond) > 0).all() and np.isfinite(ensemble.rarity(np.array([2.0]), np.ones(50))).all()


def test_the_sure_member_decides_alone_and_else_the_voters_do():
    random = np.random.default_rng(0)
    normal = [random.random(1000) for _ in range(3)]
    scores = [random.random(200) for _ in range(3)]
    scores[0][[50, 120]], scores[1][[120, 160]] = 4.0, 4.0  # neither is sure; both have one at 120
    voted = ensemble.gate(scores, normal, 5, 2, 0)
    assert voted == pytest.approx((ensemble.rarity(scores[0], normal[0]) + ensemble.rarity(scores[1], normal[1])) / 2)
    assert voted.argmax() == 120
    scores[2][90] = 4.0  # the third is sure, though it does not vote
    assert np.array_equal(ensemble.gate(scores, normal, 5, 2, 0), ensemble.rarity(scores[2], normal[2]))
    # of what comes after 100 the first is sure too, and so before the third
    assert np.array_equal(ensemble.gate(scores, normal, 5, 2, 100), ensemble.rarity(scores[0], normal[0]))


def test_the_ensemble_takes_any_members(series):
    members = [PCADetector(), JoinDetector(), InterpolationDetector()]
    detector = ensemble.EnsembleDetector(members=members, quantile=0.99).fit(series[:600])
    assert detector.threshold_ == pytest.approx(np.log((1 + np.log(5)) / 0.05))  # exponential: .05 e^-x = .01
    assert 780 <= detector.transform_scores(series)["scores"].to_numpy().argmax() < 840
    assert not members[0].is_fitted


def test_the_contrast_is_that_of_what_comes_after_the_training_part(series, monkeypatch):
    detector = ensemble.EnsembleDetector(members=[PCADetector(), InterpolationDetector()]).fit(series[:600])
    asked = []
    monkeypatch.setattr(ensemble, "gate", lambda scores, *given: asked.append(given[-1]) or scores[0])
    for values in (series, series[600:], series[:600], series + 1):  # the first alone goes on from what was learned
        detector.transform_scores(values)
    assert asked == [600, 0, 0, 0]


def spoiled():
    values = waves(1000)
    values[500:520] = 10.0
    return values


def test_a_training_part_is_compared_with_the_rest_of_itself():
    """Every window with all that do not overlap it, every sample by the windows that hold it."""
    steps = spoiled()[400:700]
    windows = regularised((steps - steps.mean()) / steps.std(), PERIOD)
    distances, at = np.linalg.norm(windows[:, None] - windows[None], axis=2), np.arange(len(windows))
    distances[np.abs(at[:, None] - at) < PERIOD] = np.inf
    expected = spread(distances.min(1), PERIOD, 1, len(steps))
    assert contamination.self_scores(steps, PERIOD) == pytest.approx(expected, abs=1e-2)


def test_a_training_part_that_holds_an_anomaly_warns_and_can_be_purged(series):
    with pytest.warns(Notice, match=r"seems to hold an anomaly near sample 5\d\d"):
        blind = JoinDetector().fit(spoiled())
    assert blind.transform_scores(series)["scores"][780:840].max() < 1.0  # it has learned to call that normal
    cured = JoinDetector(contamination=0.06).fit(spoiled())
    scores = cured.transform_scores(series)["scores"].to_numpy()
    assert 780 <= 600 + scores[600:].argmax() < 840 and scores.max() > 2.0


@pytest.mark.parametrize("samples", [610, 730, 1000, 1110])
def test_what_the_warning_advises_cuts_a_period(samples):
    values = spoiled()[:samples]
    with pytest.warns(Notice, match="contamination=") as told:
        JoinDetector(period=PERIOD).fit(values)
    advised = float(re.search(r"contamination=([\d.]+)", str(told[0].message))[1])
    assert len(values) - len(contamination.purge(values, PERIOD, advised)) == PERIOD


def test_a_long_anomaly_is_cut_as_far_as_the_share_goes():
    """Period by period, each beside the one before."""
    values, length = waves(4000), 5 * PERIOD
    for number, start in enumerate((1003, 2507)):
        values[start : start + length] = -5 + np.random.default_rng(number).normal(size=length)
    kept = contamination.purge(values, PERIOD, 0.15)
    assert 0.1 * len(values) < len(values) - len(kept) <= 0.15 * len(values)
    # what is left beside the cuts is shorter than a period each
    assert (kept < 0).sum() < 0.3 * (values < 0).sum() == 0.3 * 2 * length


def test_a_clean_training_part_does_not_warn():
    for seed in range(5):
        JoinDetector().fit(waves(1000, seed))  # warnings are errors here
    JoinDetector(contamination=0).fit(spoiled())  # and 0 is silent


def test_purging_cuts_whole_periods_out_of_the_strangest_place():
    values = spoiled()
    kept = contamination.purge(values, PERIOD, 0.05)
    assert len(values) - len(kept) in (20, 40)
    assert np.abs(np.diff(kept)).max() < 2 * np.abs(np.diff(waves(1000))).max()  # goes on in phase
    runs = np.abs(np.diff(kept)) < 1e-9
    assert runs.sum() < 10  # hardly anything of the flat stretch is left
    assert np.array_equal(contamination.purge(values, PERIOD, 0.001), values)
