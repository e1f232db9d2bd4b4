"""A stream scores what it has seen so far and nothing else, quickly, and goes on where it was saved."""

import json
import time

import numpy as np
import pandas as pd
import pytest

from forecasting.anomaly import catalogue, masked, saved, streaming_speed
from forecasting.anomaly.detectors import MaskedDetector
from forecasting.anomaly.joins import JoinDetector
from forecasting.anomaly.residual import ForecastResidualDetector
from forecasting.anomaly.stream import Stream
from forecasting.linear import SeasonalNaiveForecaster
from lab import cli
from lab.errors import InputError

from .conftest import Itself, waves


@pytest.fixture
def stream(detector):
    return Stream(detector)


def test_the_planted_part_scores_highest_and_passes_the_threshold(stream, series):
    scores = stream.update(series[600:900])
    assert scores.shape == (300,) and stream.samples == 300
    assert 200 <= scores.argmax() < 230
    assert scores.max() > stream.threshold_ > np.quantile(scores[:190], 0.98)


def test_what_comes_later_changes_nothing_and_one_by_one_is_the_same(detector, series):
    together = Stream(detector).update(series[600:660])
    apart, changed = Stream(detector), series[600:660].copy()
    changed[40:] += 50
    assert np.array_equal(np.concatenate([apart.update(value) for value in series[600:660]]), together)
    assert np.array_equal(Stream(detector).update(changed)[:40], together[:40])
    assert not np.allclose(Stream(detector).update(changed)[40:], together[40:])


@pytest.mark.parametrize("name", ["masked", "pca"])
def test_the_score_of_a_step_knows_none_after_it(detector, series, name):
    """Also where later ones are there: the threshold is taken from the training part, which is known to its end."""
    fitted = detector if name == "masked" else catalogue.DETECTORS[name].make(0, "cpu").fit(series[:600])
    steps, ends = fitted._steps(series), np.array([650, 655])
    changed = steps.copy()
    changed[655:] += 5
    assert np.array_equal(fitted._latest(changed, ends), fitted._latest(steps, ends))


def test_steps_of_several_samples_are_taken_in_as_they_grow(tmp_path):
    smooth = waves(3000, period=400)
    detector = MaskedDetector(period=400, max_epochs=1, device="cpu", contamination=0).fit(smooth[:2400])
    assert detector.factor_ == 6
    stream = Stream(detector)
    scores = stream.update(smooth[2400:2460])
    steps = detector._steps(smooth[:2460])  # 2,400 is a multiple of 6: the same blocks
    last = detector._latest(steps, np.array([len(steps)]))[0]
    assert scores[-1] == pytest.approx(last, abs=1e-4)
    assert len(stream._steps) == stream.memory and stream._count == 0
    stream.update(smooth[2460:2463])  # half a step
    stream.save(str(tmp_path))  # as text too
    assert np.array_equal(
        Stream.load(str(tmp_path), detector).update(smooth[2463:2470]), stream.update(smooth[2463:2470])
    )


@pytest.mark.parametrize(
    "name", ["join", "patches", "pca", "zscore", "interpolation", "autoencoder", "forecast", "kmeans"]
)
def test_every_detector_streams(series, name):
    detector = catalogue.DETECTORS[name].make(0, "cpu").fit(series[:600])
    scores = Stream(detector).update(series[600:850])
    assert np.isfinite(scores).all()
    assert 195 <= scores.argmax() < 220 + detector.window_ * detector.factor_


@pytest.mark.parametrize("name", ["join", "patches", "pca", "zscore", "interpolation", "kmeans", "forecast"])
def test_hardly_a_normal_sample_is_above_the_threshold(name):
    """Of a detector that learns its held-out samples afterwards too: they are as if never seen for its threshold."""
    time = np.arange(2400)
    wave = np.sin(2 * np.pi * time / 48) + 0.1 * np.random.default_rng(0).normal(size=time.size)
    stream = Stream(catalogue.DETECTORS[name].make(0, "cpu").fit(wave[:2000]))
    assert (stream.update(wave[2000:]) > stream.threshold_).mean() < 0.01


def test_the_threshold_is_of_samples_whose_whole_window_is_held_out():
    """Of 500 rising samples the last 100 are held out; a window of 20 fits in front of the last 80 of them."""
    rising = np.arange(500.0)
    fitted = Itself(period=20, quantile=0.5).fit(rising)
    assert Stream(fitted).threshold_ * fitted.scale_ + fitted.mean_ == pytest.approx(np.median(rising[420:]))


@pytest.mark.parametrize("name", ["pca", "kmeans"])
def test_a_step_that_is_not_whole_gives_no_false_alarm(name):
    """The mean of one sample is noisier than that of the eight that the detector's steps are."""
    time = np.arange(9000)
    wave = np.sin(2 * np.pi * time / 512) + 0.5 * np.random.default_rng(0).normal(size=time.size)
    detector = catalogue.DETECTORS[name].make(0, "cpu").set_params(period=512).fit(wave[:8000])
    stream, apart, factor = Stream(detector), Stream(detector), detector.factor_
    scores = stream.update(wave[8000:])
    assert factor == 8 and (scores > stream.threshold_).mean() < 0.01
    ends = np.concatenate([apart.update(wave[at : at + factor])[-1:] for at in range(8000, 9000, factor)])
    assert np.array_equal(scores[factor - 1 :: factor], ends)
    assert all(len(set(scores[at : at + factor])) == 1 for at in range(factor - 1, len(scores) - factor, factor))


def test_a_stream_is_forecast_from_its_own_past():
    """The week before, of a level that rises after the training part, which ends in the middle of a day."""
    time = np.arange(24 * 40)
    values = np.sin(2 * np.pi * time / 24) + (time // 168) ** 2 + 0.01 * np.random.default_rng(0).normal(size=len(time))
    week = ForecastResidualDetector(24, contamination=0, forecaster=SeasonalNaiveForecaster(lookback=168), horizon=1)
    stream = Stream(week.fit(values[: 24 * 20 + 7]))
    scores = stream.update(values[24 * 20 + 7 :])
    expected = np.abs(values[168:] - values[:-168])[24 * 13 + 7 :] / week.scale_
    np.testing.assert_allclose(scores, expected)


def test_sktimes_update_learns_nothing_anew(detector, series):
    fitted = MaskedDetector(max_epochs=1, device="cpu", contamination=0).fit(pd.DataFrame({"x": series[:600]}))
    before = fitted.threshold_, fitted.network_
    fitted.update(pd.DataFrame({"x": series[600:650]}, range(600, 650)))
    assert fitted.latest_scores_.shape == (50,)
    assert (fitted.threshold_, fitted.network_) == before
    wants = Stream(fitted).update(series[600:650])
    np.testing.assert_allclose(fitted.latest_scores_, wants)


def test_update_takes_arrays_and_series_and_a_detector_that_was_saved(detector, series, tmp_path):
    saved.save(tmp_path, detector)
    again = saved.load(tmp_path, "cpu")
    again.update(series[600:620])
    again.update(pd.Series(series[620:640], index=pd.date_range("2024-01-01", periods=20, freq="h")))
    np.testing.assert_allclose(again.latest_scores_, Stream(detector).update(series[600:640])[20:])


def test_only_the_masked_detector_is_saved(tmp_path):
    with pytest.raises(InputError, match="JoinDetector cannot be saved"):
        saved.save(tmp_path, JoinDetector())


def test_a_stream_goes_on_where_it_was_saved(detector, series, tmp_path):
    one = Stream(detector)
    one.update(series[600:637])
    one.save(tmp_path / "stream")
    saved.save(tmp_path / "model", detector)
    two = Stream.load(tmp_path / "stream", saved.load(tmp_path / "model", "cpu"))
    assert (two.samples, two.threshold_) == (37, one.threshold_)
    other = JoinDetector(period=40).fit(series[:600])
    with pytest.raises(InputError, match=r"holds the stream of a MaskedDetector with .*, not of a JoinDetector with"):
        Stream.load(tmp_path / "stream", other)
    assert np.array_equal(two.update(series[637:700]), one.update(series[637:700]))
    (file,) = (tmp_path / "stream").glob("step-*/*.safetensors")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InputError, match="the saved stream is damaged"):
        Stream.load(tmp_path / "stream", detector)


def test_a_saved_detector_scores_as_before(detector, series, tmp_path, monkeypatch):
    saved.save(tmp_path, detector)
    again = saved.load(tmp_path, "cpu")
    assert again.get_params() == detector.get_params()
    assert np.array_equal(again.transform_scores(series), detector.transform_scores(series))
    with monkeypatch.context() as older:
        older.setattr(saved, "LEARNED", saved.LEARNED[:-1])
        with pytest.raises(InputError, match="another version"):
            saved.load(tmp_path)
    with monkeypatch.context() as older:
        older.setattr(masked.MaskedNetwork, "state_dict", lambda network: {"blocks.0.weight": network.head.weight})
        with pytest.raises(InputError, match="another version"):
            saved.load(tmp_path)
    (damaged,) = tmp_path.glob("step-*/*.safetensors")
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(InputError, match="damaged"):
        saved.load(tmp_path)


def test_wrong_input_is_refused_in_one_line(stream, tmp_path, detector):
    with pytest.raises(InputError, match="missing or infinite value at position 1"):
        stream.update([1.0, np.nan])
    assert stream.samples == 0
    for load in (lambda: Stream.load(tmp_path, detector), lambda: saved.load(tmp_path)):
        with pytest.raises(InputError, match="holds no saved"):
            load()


@pytest.mark.slow
@pytest.mark.parametrize("period", [24, 64, 127, 256])
def test_a_sample_takes_a_few_milliseconds(period):
    """The aim is 5 ms on one core of an idle machine; the bound leaves room for busy ones."""
    wave = waves(12 * period, period=period)
    detector = MaskedDetector(period=period, max_epochs=1, device="cpu", contamination=0).fit(wave[: 10 * period])
    stream, seconds = Stream(detector), []
    for value in wave[10 * period : 10 * period + 60]:
        began = time.perf_counter()
        stream.update(value)
        seconds.append(time.perf_counter() - began)
    assert np.median(seconds) < 0.025


def test_what_judges_a_series_as_a_whole_does_not_stream(series):
    fitted = catalogue.DETECTORS["ensemble"].make(0, "cpu").fit(pd.DataFrame({"x": series[:600]}))
    with pytest.raises(InputError, match="as a whole"):
        fitted.update(pd.DataFrame({"x": series[600:610]}, range(600, 610)))


def test_the_command_times_every_sample_of_every_period(tmp_path, capsys):
    words = ["speed", "stream", "--periods", "8", "20", "--training", "300", "--samples", "5", "--rounds", "2"]
    assert cli.main([*words, "--runs", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["period"] for each in found["periods"]] == [8, 20]
    samples = pd.read_csv(tmp_path / "speed-stream" / "samples.csv")
    assert samples.groupby(["round", "period"]).size().tolist() == [5] * 4
    assert samples["milliseconds"].gt(0).all()


def test_a_round_that_was_slow_shows_in_the_summary():
    table = pd.DataFrame({"round": [1, 1, 1, 2, 2, 2], "period": 24, "milliseconds": [1.0, 2, 3, 4, 5, 60]})
    (row,) = streaming_speed.summary(table).to_dict(orient="records")
    assert (row["median"], row["fastest round"], row["slowest round"]) == (3.5, 2, 5)
    assert row["95 %"] == pytest.approx(np.quantile([1, 2, 3, 4, 5, 60], 0.95))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--periods", "2"], "--periods has 2"), (["--samples", "0"], "--samples is 0"),
        (["--detector", "maskd"], "masked"), (["--detector", "ensemble"], "judges a series as a whole"),
    ],
)  # fmt: skip
def test_speed_of_what_makes_no_sense_is_refused_in_a_line(words, says, tmp_path, capsys):
    assert cli.main(["speed", "stream", *words, "--runs", str(tmp_path)]) == 2
    assert says in capsys.readouterr().err and not any(tmp_path.iterdir())


def test_a_new_fit_begins_a_new_stream(series):
    fitted = JoinDetector(contamination=0).fit(series[:300])
    fitted.update(series[300:400])
    fitted.fit(series[:600]).update(series[600:640])
    fresh = JoinDetector(contamination=0).fit(series[:600]).update(series[600:640])
    assert np.array_equal(fitted.latest_scores_, fresh.latest_scores_)
    assert fitted.update(np.empty(0)).latest_scores_.shape == (0,)  # nothing new is no mistake
    with pytest.raises(InputError, match="2 columns"):
        fitted.update(np.ones((5, 2)))
    with pytest.raises(InputError, match="not all numbers"):
        Stream(fitted).update(["a"])
