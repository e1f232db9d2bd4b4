"""The detector: sktime's contract, finds what is planted, the threshold knows the training part only."""

import numpy as np
import pandas as pd
import pytest

from forecasting.anomaly.detectors import MaskedDetector, blocks, runs, tail_quantile
from forecasting.anomaly.joins import JoinDetector
from lab.errors import InputError

from .conftest import PERIOD, Itself


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the training part seems to hold:lab.errors.Notice")  # some of sktime's noise does
def test_sktimes_contract():
    from sktime.utils.estimator_checks import check_estimator

    failed = {name: result for name, result in check_estimator(MaskedDetector).items() if result != "PASSED"}
    assert not failed


def test_finds_what_was_planted(detector, series):
    scores = detector.transform_scores(series)["scores"].to_numpy()
    found = detector.intervals(scores, first=600)
    start, end = found["start"][0], found["end"][0]
    assert detector.period_ == PERIOD
    assert 780 <= start <= 810 <= end <= 840
    assert found["peak"][0] == scores[600:].max()
    far = np.r_[600:780, 840:1000]
    assert (scores[far] > detector.threshold_).mean() < 0.02  # and neighbouring periods are not blamed


def test_predict_transform_and_scores_agree(detector, series):
    frame = pd.Series(series, index=pd.date_range("2024-01-01", periods=len(series), freq="h"))
    points = detector.predict(frame)["ilocs"].to_numpy()
    scores = detector.transform_scores(frame)
    assert scores.index.equals(frame.index)
    assert np.array_equal(points, np.flatnonzero(scores["scores"] > detector.threshold_))
    assert np.array_equal(np.flatnonzero(detector.transform(frame).to_numpy()), points)
    assert np.array_equal(detector.predict_scores(frame)["scores"], scores["scores"].to_numpy()[points])


@pytest.mark.slow
def test_same_seed_same_numbers_whatever_the_callers_random_state(series):
    import torch

    def fit(seed: int, outside: int) -> np.ndarray:
        torch.manual_seed(outside)
        fitted = MaskedDetector(max_epochs=1, random_state=seed, device="cpu").fit(series[:300])
        return fitted.transform_scores(series)["scores"].to_numpy()

    assert np.array_equal(fit(3, 0), fit(3, 1))
    assert not np.array_equal(fit(3, 0), fit(4, 0))


def test_the_threshold_comes_from_the_training_part_only(detector, series):
    before = detector.threshold_
    detector.predict(series * 100)
    assert detector.threshold_ == before
    own = detector._score(detector._steps(series[:600]))
    assert before == pytest.approx(max(3, tail_quantile(own[480:], 0.9999)), rel=1e-5)
    np.testing.assert_allclose(detector.normal_scores_[:100], own[480:580], atol=1e-4)  # what lies beyond is unknown


def test_the_last_fifth_sets_the_threshold_before_it_is_learned_from():
    values = np.random.default_rng(0).normal(size=500)
    fitted = Itself(period=20).fit(values)
    assert fitted.learned == [400, 500]
    held_out = (values[400:] - fitted.mean_) / fitted.scale_
    np.testing.assert_allclose(fitted.normal_scores_, held_out)
    assert fitted.threshold_ == pytest.approx(np.quantile(held_out, 0.9))


def test_every_sample_has_the_score_of_the_step_that_it_lies_in():
    """Also where the last step is half a one."""
    values = np.random.default_rng(0).normal(size=601)
    fitted = Itself(period=128).fit(values[:600])
    scores = fitted.transform_scores(values)["scores"].to_numpy()
    assert fitted.factor_ == 2 and len(scores) == 601
    means = np.append((values[:-1:2] + values[1::2]) / 2, values[-1])
    np.testing.assert_allclose(scores, (np.repeat(means, 2)[:601] - fitted.mean_) / fitted.scale_)


def test_one_stray_value_does_not_make_the_unit():
    values = np.tile([1.0, -1.0], 1000)
    values[77] = 1000.0
    assert Itself(period=20).fit(values).scale_ == pytest.approx(1, rel=0.01)


def test_a_part_scores_as_in_the_whole(detector, series):
    whole = detector._score_steps(detector._steps(series))
    part = detector._score_steps(detector._steps(series), 790, 830)
    assert part.shape == (40,)
    assert np.allclose(part, whole[790:830], atol=1e-4)


def test_a_peak_is_that_of_every_step_that_the_interval_touches(detector, series, monkeypatch):
    """Samples 13 to 24 touch the steps 2 to 4, which are six samples each."""
    asked = []
    monkeypatch.setattr(detector, "factor_", 6)
    monkeypatch.setattr(detector, "_score_steps", lambda steps, first, last: asked.append((first, last)) or np.ones(1))
    assert detector.peak(series, 13, 25) == 1 and asked == [(2, 5)]


def test_a_lone_surprise_has_a_peak_and_no_plateau(detector, monkeypatch):
    """Half a window of 12 steps is a triangle of 1, 2, 3, 2, 1 ninths; steps beyond the end count as usual ones."""
    import torch

    known = torch.zeros(40)
    known[20] = 9.0
    monkeypatch.setattr(detector, "window_", 12)
    monkeypatch.setattr(detector, "_surprises", lambda series, first, last, width, own: known[first:last])
    short = detector._smooth(torch.zeros(1, 40), 0, 40, 3, 0.0)
    np.testing.assert_allclose(short[17:24], [0, 1, 2, 3, 2, 1, 0], atol=1e-6)
    np.testing.assert_allclose(detector._smooth(torch.zeros(1, 40), 18, 21, 3, 0.0), [1, 2, 3], atol=1e-6)
    wide = detector._smooth(torch.zeros(1, 40), 0, 40, 12, 0.0)
    assert np.count_nonzero(wide.numpy() > 1e-6) == 11 and wide.argmax() == 20
    ends = detector._smooth(torch.zeros(1, 40), 38, 40, 3, 9.0)
    np.testing.assert_allclose(ends, [1, 3], atol=1e-6)
    np.testing.assert_allclose(detector._smooth(torch.zeros(1, 40), 38, 40, 3), [0, 0], atol=1e-6)  # their median


def test_tail_quantile_is_right_for_an_exponential_and_plain_within_the_sample():
    scores = np.random.default_rng(0).exponential(2.0, 20000)
    assert tail_quantile(scores, 0.9999) == pytest.approx(-2 * np.log(1e-4), rel=0.1)
    assert tail_quantile(scores, 0.9) == np.quantile(scores, 0.9)
    assert tail_quantile(np.ones(50), 0.9999) == 1.0


def test_blocks_and_runs_by_hand():
    assert np.allclose(blocks(np.array([1.0, 3, 5, 7, 9]), 2), [2, 6, 9])
    flags = np.array([1, 0, 0, 1, 1, 0, 1, 0], bool)
    assert runs(flags) == [(0, 1), (3, 5), (6, 7)]
    assert runs(flags, gap=1) == [(0, 1), (3, 7)]
    assert runs(np.zeros(3, bool)) == []


PEAK = np.array([0.1, 0.2, 0.6, 0.9, 1.0, 0.3, 0.7, 0.4, 0.2, 0.1])


def test_an_interval_keeps_the_upper_half_of_its_peak(series):
    join = JoinDetector(contamination=0).fit(series[:600])
    scores = np.full(300, join.threshold_ - 1)
    scores[100:110] = join.threshold_ + PEAK
    found = join.intervals(scores)
    assert found[["start", "end"]].to_numpy().tolist() == [[102, 107]]
    assert len(join.intervals(scores, first=200)) == 0


def test_an_interval_of_the_masked_one_reaches_half_way_down_to_what_is_usual(detector):
    usual, peak = np.median(detector.normal_scores_), 3 * detector.threshold_
    scores = np.full(600, usual)
    scores[90:120] = 0.6 * usual + 0.4 * peak
    scores[92:118] = 0.4 * usual + 0.6 * peak
    scores[102:107] = peak
    found = detector.intervals(scores)
    assert found[["start", "end", "peak"]].to_numpy().tolist() == [[92, 118, peak]]
    scores[120:140], scores[140] = 0.9 * detector.threshold_, detector.threshold_ + 1e-6  # a shoulder: nothing more
    assert detector.intervals(scores)[["start", "end"]].to_numpy().tolist() == [[92, 118]]
    scores[118:300] = 1.1 * detector.threshold_  # flagged all the way, but what follows is far away: one more
    scores[300:310] = 0.9 * peak
    assert detector.intervals(scores)[["start", "end"]].to_numpy()[:2].tolist() == [[92, 118], [300, 310]]
    scores[118:310], scores[125:130] = 1.1 * detector.threshold_, 0.9 * peak  # near and as high: the same anomaly
    assert detector.intervals(scores)[["start", "end"]].to_numpy().tolist() == [[92, 130]]
    scores[125:310] = 1.05 * detector.threshold_
    scores[125:130] = 0.6 * usual + 0.4 * peak  # near and lower: an echo
    assert detector.intervals(scores)[["start", "end"]].to_numpy().tolist() == [[92, 118]]
    scores[130:310] = usual
    scores[150:154] = scores[125]  # as low, and 32 steps off: one of its own, whole though it begins near an echo
    assert detector.intervals(scores)[["start", "end"]].to_numpy().tolist() == [[92, 118], [150, 155]]
    inside = detector.intervals(scores, first=105)  # judged from the middle of the hill on
    assert inside[["start", "end"]].to_numpy().tolist() == [[105, 118], [150, 155]]
    scores[92:400] = 0.95 * detector.threshold_  # high nearly without end: then the upper half of the peak
    scores[100:110] = detector.threshold_ + PEAK
    assert detector.intervals(scores)[["start", "end"]].to_numpy().tolist() == [[102, 107]]


@pytest.mark.parametrize(
    ("settings", "length", "says"),
    [
        ({}, 15, "15 samples; at least"), ({"period": 1}, 200, "period is 1"), ({"period": 150}, 200, "does not fit"),
        ({"window": 150}, 200, "does not fit"), ({"quantile": 1.0}, 200, "quantile is 1.0"),
        ({"max_epochs": 0}, 200, "max_epochs is 0"),
    ],
)  # fmt: skip
def test_wrong_settings_are_refused_in_one_line(settings, length, says):
    with pytest.raises(InputError, match=says):
        MaskedDetector(**settings).fit(np.sin(np.arange(length)))


def test_two_columns_and_missing_values_are_refused():
    with pytest.raises(InputError, match="2 columns"):
        MaskedDetector().fit(pd.DataFrame(np.ones((90, 2))))
    with pytest.raises(InputError, match="position 7"):
        MaskedDetector().fit(np.where(np.arange(90) == 7, np.nan, 1.0))


def test_a_series_shorter_than_a_window_has_scores_too(detector, series):
    for length in (1, 5, 19):
        scores = detector.transform_scores(series[600 : 600 + length])["scores"]
        assert len(scores) == length and np.isfinite(scores).all()


def test_neither_a_trend_nor_the_unit_hides_an_anomaly(series):
    rising = 1e-17 * (series + 2.0 * np.arange(1000))
    fitted = MaskedDetector(max_epochs=6, device="cpu", contamination=0).fit(rising[:600])
    found = fitted.intervals(fitted.transform_scores(rising)["scores"].to_numpy(), first=600)
    assert fitted.period_ == PERIOD
    assert found["peak"][0] > 2 * fitted.threshold_ and 780 <= found["start"][0] <= 810


def test_an_empty_series_is_refused(detector):
    with pytest.raises(InputError, match="the series is empty"):
        detector._scores(np.empty(0))
