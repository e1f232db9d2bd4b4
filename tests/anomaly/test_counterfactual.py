"""A counterfactual changes its window and nothing else, joins without a jump, and its measures are the formulas."""

import numpy as np
import pytest

from forecasting.anomaly import counterfactual, plain
from forecasting.anomaly import counterfactual_measures as measures
from forecasting.anomaly.detectors import MaskedDetector, blocks
from lab.errors import InputError

from .conftest import waves


@pytest.mark.parametrize("interval", [(800, 820), (0, 15), (985, 1000), (500, 501), (700, 790)])
def test_nothing_outside_the_window_changes(detector, series, interval):
    before = series.copy()
    result = counterfactual.explain(detector, series, interval, k=4)
    whole, (start, end) = result.whole(), interval
    assert whole.shape == (4, len(series))
    assert np.array_equal(series, before)
    assert np.array_equal(
        np.delete(whole, np.s_[start:end], axis=1), np.tile(np.delete(before, np.s_[start:end]), (4, 1))
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


def test_native_resolution_joins_without_a_jump():
    smooth = waves(2000, period=400)
    smooth += 4 * np.exp(-(((np.arange(2000) % 400) - 200.0) ** 2) / 200)  # a spike a period
    detector = MaskedDetector(period=400, max_epochs=2, device="cpu").fit(smooth[:1600])
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


def test_measures_by_hand():
    paths = np.array([[1.0, 2.0], [3.0, 6.0], [1.0, 2.0]])
    assert measures.validity(np.array([0.1, 2.0, 0.5]), 0.5) == pytest.approx(2 / 3)
    assert measures.proximity(paths, np.array([1.0, 1.0]), 2.0) == pytest.approx((0 + 1 + 2 + 5 + 0 + 1) / 6 / 2)
    assert measures.diversity(paths, 2.0) == pytest.approx((3 + 0 + 3) / 3 / 2)  # pair means 3, 0, 3
    assert measures.diversity(paths[:1], 2.0) == 0
    assert measures.coverage(np.arange(11.0)[:, None].repeat(2, 1), np.array([5.0, 9.5])) == 0.5
    assert measures.rmse(np.array([3.0, 0.0]), np.array([0.0, 4.0])) == pytest.approx(np.sqrt(12.5))


def test_the_plain_guesses_by_hand():
    x = np.array([0.0, 1, 2, 3, 100, 100, 6, 7])
    assert np.allclose(plain.linear(x, 4, 6), [4, 5])
    assert np.allclose(plain.last_season(x, 4, 6, 3), [1, 2])
    assert np.allclose(plain.last_season(x, 4, 6, 1), [3, 3])
    assert np.allclose(plain.last_season(x, 0, 2, 3), [3, 100])
