"""A counterfactual changes its window and nothing else, joins without a jump, and its measures are the formulas."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from forecasting.anomaly import counterfactual, explaining, plain
from forecasting.anomaly import counterfactual_measures as measures
from forecasting.anomaly.bench import Detection
from forecasting.anomaly.datasets import Case
from forecasting.anomaly.detectors import MaskedDetector, blocks
from forecasting.anomaly.joins import JoinDetector
from forecasting.anomaly.smallest_change import smallest_change
from lab.errors import InputError
from lab.run import Run

from .conftest import waves


@pytest.mark.slow
@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.integers(0, 999), width=st.integers(1, 60))
@example(0, 15)
@example(985, 15)
@example(500, 1)
def test_nothing_outside_the_window_changes(detector, series, start, width):
    before, interval = series.copy(), (start, min(1000, start + width))
    result = counterfactual.explain(detector, series, interval, k=3, tries=1)
    whole, (start, end) = result.whole(), interval
    assert whole.shape == (3, len(series))
    assert np.array_equal(series, before)
    assert np.array_equal(
        np.delete(whole, np.s_[start:end], axis=1), np.tile(np.delete(before, np.s_[start:end]), (3, 1))
    )
    assert np.isfinite(whole).all()
    assert len(np.unique(whole[:, start])) > 1


def test_what_is_in_the_window_has_no_influence(detector, series):
    other = series.copy()
    other[800:820] = -40.0
    one = counterfactual.explain(detector, series, (800, 820), k=3, random_state=5)
    two = counterfactual.explain(detector, other, (800, 820), k=3, random_state=5)
    assert np.array_equal(one.paths, two.paths)
    assert not np.array_equal(one.paths, counterfactual.explain(detector, series, (800, 820), 3, random_state=6).paths)


def test_the_flat_part_becomes_a_wave_that_the_detector_calls_normal(detector, series):
    result = counterfactual.explain(detector, series, (800, 820), k=10)
    assert result.peak > result.threshold
    assert measures.validity(result.peaks, result.threshold) >= 0.9
    true = waves(1000)[800:820]
    straight = measures.rmse(plain.linear(series, 800, 820), true)
    assert measures.rmse(result.median, true) < 0.4 * straight


def test_peaks_are_those_of_the_whole_series_scored(detector, series):
    result = counterfactual.explain(detector, series, (800, 820), k=2)
    scores = detector.transform_scores(result.whole()[1])["scores"].to_numpy()
    assert np.isclose(result.peaks[1], scores[800:820].max(), atol=1e-4)


def test_a_draw_that_does_not_join_is_drawn_again(detector, series, monkeypatch):
    true = detector._steps(waves(1000))[800:820]
    torn = true.copy()
    torn[-1] += 2 * np.abs(np.diff(detector.train_)).max()
    drawn = [torn[None], true[None]]
    monkeypatch.setattr("forecasting.anomaly.masked.sample", lambda *_: drawn.pop(0))
    monkeypatch.setattr(detector, "peak", lambda *_: 0.0)  # a score alone would call both normal
    result = counterfactual.explain(detector, series, (800, 820), k=1)
    np.testing.assert_allclose(result.paths[0], waves(1000)[800:820], atol=1e-6)
    assert result.accepted == 0.5


@pytest.mark.parametrize(("share", "accepted"), [(1.0, 1.0), (1.001, 0.0)])
def test_a_draw_is_normal_up_to_the_threshold(detector, series, monkeypatch, share, accepted):
    true = detector._steps(waves(1000))[800:820]
    monkeypatch.setattr("forecasting.anomaly.masked.sample", lambda *_: true[None])
    monkeypatch.setattr(detector, "peak", lambda *_: share * detector.threshold_)
    assert counterfactual.explain(detector, series, (800, 820), k=1, tries=1).accepted == accepted


def test_how_steep_an_edge_may_be_is_said_of_samples(detector, series, monkeypatch):
    """The steepest step of the training part over two samples is half as steep a sample."""
    steepest = np.abs(np.diff(detector.train_)).max() * detector.scale_
    monkeypatch.setattr(detector, "factor_", 2)
    monkeypatch.setattr(detector, "peak", lambda *_: 0.0)
    monkeypatch.setattr("forecasting.anomaly.masked.sample", lambda *_: np.zeros((1, 10)))
    for share, accepted in ((0.4, 1.0), (0.6, 0.0)):
        monkeypatch.setattr(counterfactual, "jumps", lambda *_, jump=share * steepest: np.array([jump]))
        assert counterfactual.explain(detector, series, (800, 820), k=1).accepted == accepted


@pytest.mark.slow
def test_native_resolution_joins_without_a_jump():
    smooth = waves(2000, period=400)
    smooth += 4 * np.exp(-(((np.arange(2000) % 400) - 200.0) ** 2) / 200)  # a spike a period
    detector = MaskedDetector(period=400, max_epochs=4, device="cpu").fit(smooth[:1600])
    assert detector.factor_ == 6
    ordinary = np.abs(np.diff(smooth)).max()
    for start, end in ((1503, 1760), (1201, 1205), (4, 300)):
        whole = counterfactual.explain(detector, smooth, (start, end), k=5).whole()
        jumps = np.abs(np.diff(whole, axis=1))[:, [start - 1, end - 1]]
        assert jumps.max() < 2 * ordinary
        assert np.array_equal(whole[:, :start], np.tile(smooth[:start], (5, 1)))
        assert np.array_equal(whole[:, end:], np.tile(smooth[end:], (5, 1)))


def test_native_keeps_the_means_of_the_blocks():
    values = np.sin(np.arange(400) / 20)
    path = np.array([0.0, 3.0, -1.0, 0.5, 0.2, 1.0, 0.3, 0.1])  # blocks 10 .. 17
    curve = counterfactual.native(values, path, 10, 100, 180, 10)
    assert np.allclose(blocks(curve, 10)[1:-1], path[1:-1], atol=0.12)  # the first and last are bent to the edges


@pytest.mark.parametrize(
    ("interval", "k", "says"),
    [
        ((5, 5), 3, "not inside"), ((-1, 4), 3, "not inside"), ((990, 1001), 3, "not inside"),
        ((9, 5), 3, "not inside"),
        ((0, 995), 3, "less than one period"), ((0, 1000), 3, "less than one period"), ((5, 9), 0, "at least 1"),
    ],
)  # fmt: skip
def test_wrong_intervals_are_refused_in_one_line(detector, series, interval, k, says):
    with pytest.raises(InputError, match=says) as error:
        counterfactual.explain(detector, series, interval, k)
    assert "\n" not in str(error.value)


def test_draws_that_are_not_normal_are_drawn_again(detector, series):
    spared = detector.clone()
    spared.__dict__.update(detector.__dict__)
    strict = counterfactual.explain(detector, series, (800, 820), k=6, tries=1)
    spared.threshold_ = float(np.median(strict.peaks))  # half of the draws pass
    result = counterfactual.explain(spared, series, (800, 820), k=6, tries=4)
    assert len(result.paths) == 6 and 0.2 < result.accepted < 0.8
    assert (result.peaks <= spared.threshold_).all()
    spared.threshold_ = -9.0  # none passes: the lowest scores of all draws
    result = counterfactual.explain(spared, series, (800, 820), k=6, tries=2)
    assert result.accepted == 0 and result.peaks.max() < strict.peaks.max()
    assert np.array_equal(result.peaks, np.sort(result.peaks))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["flat", "high"])
def test_the_smallest_change_is_valid_and_small(detector, series, kind):
    values = series.copy()
    if kind == "high":
        values = waves(1000)
        values[805:808] += 6.0
    path = smallest_change(detector, values, (800, 820))
    changed = np.concatenate([values[:800], path, values[820:]])
    assert detector.peak(values, 800, 820) > detector.threshold_ >= detector.peak(changed, 800, 820)
    drawn = counterfactual.explain(detector, values, (800, 820), k=5)
    moved = measures.proximity(path[None], values[800:820], 1.0)
    assert moved < 0.9 * measures.proximity(drawn.paths, values[800:820], 1.0)
    if kind == "high":  # what need not change stays as it is
        assert measures.sparsity(path[None], values[800:820], detector.scale_) > 0.4


def test_what_is_normal_needs_no_change(detector, series):
    assert np.array_equal(smallest_change(detector, series, (700, 720)), series[700:720])


@pytest.mark.slow
def test_a_step_that_is_several_samples_changes_without_a_jump():
    smooth = waves(2000, period=400)
    smooth[1600:1680] += 4.0
    detector = MaskedDetector(period=400, max_epochs=2, device="cpu", contamination=0).fit(smooth[:1500])
    path = smallest_change(detector, smooth, (1600, 1680), rounds=30)
    change = path - smooth[1600:1680]
    assert np.abs(change).max() > 0.5
    assert np.abs(np.diff(change, prepend=0.0, append=0.0)).max() < np.abs(change).max() / 2


def test_measures_by_hand():
    paths = np.array([[1.0, 2.0], [3.0, 6.0], [1.0, 2.0]])
    assert measures.validity(np.array([0.1, 2.0, 0.5]), 0.5) == pytest.approx(2 / 3)
    assert measures.proximity(paths, np.array([1.0, 1.0]), 2.0) == pytest.approx((0 + 1 + 2 + 5 + 0 + 1) / 6 / 2)
    assert measures.diversity(paths, 2.0) == pytest.approx((3 + 0 + 3) / 3 / 2)  # pair means 3, 0, 3
    assert measures.diversity(paths[:1], 2.0) == 0
    was, scale = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0]), 2.0  # a change of more than .1 counts
    two = np.array([[1.0, 2, 3, 1, 5, 1.05], [1, 1, 1, 1, 1, 1]])
    assert measures.sparsity(two, was, scale) == pytest.approx((3 + 6) / 12)
    assert measures.contiguity(two, was, scale) == pytest.approx((2 / 3 + 1) / 2)
    assert measures.coverage(np.arange(11.0)[:, None].repeat(2, 1), np.array([1.5, 9.5])) == 0.5  # 1 to 9
    assert measures.rmse(np.array([3.0, 0.0]), np.array([0.0, 4.0])) == pytest.approx(np.sqrt(12.5))


def test_plausibility_by_hand():
    ramp = np.array([0.0, 1, 3, 6, 10, 15])  # windows of 2, less their mean: +-.5, 1, 1.5, 2, 2.5
    own = np.sqrt(2) * 1.0  # each is that far from the nearest that does not overlap it, two windows on
    assert measures.plausibility(np.array([[0.0, 9.0]]), ramp) == pytest.approx(np.sqrt(2) * (4.5 - 2.5) / own)
    assert measures.plausibility(np.array([[7.0, 8.0]]), ramp) == 0


def test_edge_jump_by_hand():
    whole = np.array([[0.0, 4, 4, 1, 1], [0, 0, 0, 2, 1]])
    assert measures.edge_jump(whole, 1, 3, np.array([0.0, 2, 1])) == pytest.approx((4 + 2) / 2 / 2)
    assert measures.edge_jump(whole, 0, 5, np.array([0.0, 2])) == 0


def test_the_nearest_normal_window_is_the_one_with_like_surroundings():
    normal = np.tile([0.0, 1, 2, 3], 10)
    values = np.concatenate([normal, [0, 1, 9, 9, 0, 1]]) + 5
    assert np.allclose(plain.nearest_normal(values, 42, 44, normal, 2), [7, 8])
    # moved by a straight line, so that it goes on from what lies around
    assert np.allclose(
        plain.joined(np.array([1.0, 1]), np.array([1.0]), np.array([1.0]), values, 42, 44), [6 - 1 / 3, 5 + 1 / 3]
    )
    assert np.allclose(plain.joined(np.array([1.0, 1]), np.array([]), np.array([1.0]), values, 42, 44), [5, 5])


def test_the_plain_guesses_by_hand():
    x = np.array([0.0, 1, 2, 3, 100, 100, 6, 7])
    assert np.allclose(plain.linear(x, 4, 6), [4, 5])
    assert np.allclose(plain.last_season(x, 4, 6, 3), [1, 2])
    assert np.allclose(plain.last_season(x, 4, 6, 1), [3, 3])
    assert np.allclose(plain.last_season(x, 0, 2, 3), [3, 100])


def test_plain_guesses_are_held_against_the_clean_series():
    """A cycle of 4 and a period of 2, of 0, 1, 2, 3: the last season is 2, 3, 2, 3, the last cycle as it was."""
    clean = np.tile([0.0, 1, 2, 3], 10)
    values = clean.copy()
    values[20:24] = 9
    result = counterfactual.Explanation(20, 24, values, clean[None, 20:24] + 1, np.zeros(1), 9.0, 1.0, 1.0)
    case, both = Case("x", pd.Series(values), clean=clean), SimpleNamespace(period_=2, cycle_=4)
    found = explaining.recovery(case, both, result).set_index("method")["rmse"].to_dict()
    line = np.sqrt(np.mean((np.array([2.4, 1.8, 1.2, 0.6]) - [0, 1, 2, 3]) ** 2))
    assert found == pytest.approx(
        {"counterfactual": 1, "linear": line, "last season": np.sqrt(2), "last cycle": 0}, abs=1e-12
    )
    one = explaining.recovery(case, SimpleNamespace(period_=4, cycle_=4), result)
    assert one["method"].tolist() == ["counterfactual", "linear", "last season"] and one["rmse"].iloc[-1] == 0


def test_a_long_interval_comes_to_the_level_that_follows(detector, series):
    """Of 120 steps, six periods, after which all lies 3 higher: the level rises along the way, not at its end."""
    higher = series.copy()
    higher[420:] += 3
    paths = counterfactual.explain(detector, higher, (300, 420), k=10, tries=1).paths
    levels = paths.mean(0).reshape(6, 20).mean(1) - waves(20000).mean()
    assert abs(levels[0]) < 0.8 and levels[3] > 1 and 2 < levels[5] < 3.5


@pytest.mark.parametrize("offset", [1e7, 1e9])
def test_a_series_far_from_zero_is_explained_as_well(series, offset):
    far = MaskedDetector(max_epochs=3, device="cpu", contamination=0).fit(series[:600] + offset)
    near = MaskedDetector(max_epochs=3, device="cpu", contamination=0).fit(series[:600])
    found = [counterfactual.explain(each, series + at, (800, 820), k=4) for each, at in ((near, 0), (far, offset))]
    np.testing.assert_allclose(found[1].median - offset, found[0].median, atol=0.3)


def test_only_what_can_be_explained_is(detector, series):
    gap = np.where(np.arange(1000) == 12, np.nan, series)
    with pytest.raises(InputError, match="at position 12"):
        counterfactual.explain(detector, gap, (800, 820))
    with pytest.raises(InputError, match="at position 12"):
        smallest_change(detector, gap, (800, 820))
    with pytest.raises(InputError, match="JoinDetector is no model to draw from"):
        counterfactual.explain(JoinDetector(), series, (800, 820))
    for interval in ((10, 10), (-5, 5), (990, 1001), (820, 800)):
        with pytest.raises(InputError, match="not inside the series"):
            smallest_change(detector, series, interval)


def test_an_interval_that_is_too_short_takes_in_what_is_strange_beside_it(detector, series, tmp_path):
    """Flat from 800 to 819; given the first six of them, every draw has thirteen flat ones for a neighbour."""
    scores = detector.transform_scores(series)["scores"].to_numpy()
    table = pd.DataFrame({"start": [800], "end": [806], "from": [800], "to": [805], "peak": [9.0]})
    detection = Detection(detector, scores, table, 600, {})
    short = counterfactual.explain(detector, series, (800, 806), k=5)
    assert (short.peaks > short.threshold).all()
    whole = explaining._settled(detection, short, 5, 0, (600, 1000))
    assert whole.start <= 800 and 818 <= whole.end <= 840
    assert (whole.peaks <= whole.threshold).any()
    assert explaining._settled(detection, whole, 5, 0, (600, 1000)) is whole
    held = explaining._settled(detection, short, 5, 0, (600, 810))
    assert held.end == 810  # another's begins there
    rows = {"start": [800, 812, 900], "end": [806, 818, 905], "peak": [9.0, 8.0, 7.0]}
    detection = Detection(detector, scores, pd.DataFrame(rows), 600, {})
    with Run.open(tmp_path, "explained", {}) as run:
        found = explaining.explain(Case("waves", pd.Series(series)), run, detection, samples=5, top=2)
        run.finish({})
    assert found[0].result.end >= 818 and (found[1].result.start, found[1].result.end) == (900, 905)


def test_measures_where_what_is_normal_repeats_or_stands_still():
    repeats = np.tile([0.0, 1.0, 0.0, -1.0], 10)
    assert measures.plausibility(np.array([[0.0, 1.0, 0.0, -1.0]]), repeats) == 1
    assert measures.plausibility(np.array([[0.0, 2.0, 0.0, -1.0]]), repeats) == np.inf
    assert measures.edge_jump(np.zeros((2, 9)), 3, 6, np.zeros(9)) == 0
    assert measures.edge_jump(np.eye(2, 9, 3), 3, 6, np.zeros(9)) == np.inf
