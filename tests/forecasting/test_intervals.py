"""Intervals: conformal ranks by hand and by coverage, quantile heads against oracles, dropout, scores."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import norm
from sklearn.metrics import mean_pinball_loss
from sktime.performance_metrics.forecasting.probabilistic import IntervalWidth, PinballLoss

from forecasting import coverage, intervals, saved
from forecasting.datasets import web_traffic
from forecasting.forecaster import (
    CNNForecaster,
    LSTMForecaster,
    RidgeForecaster,
    SeasonalNaiveForecaster,
    TransformerForecaster,
)  # fmt: skip
from forecasting.intervals import LEVELS, Conformal
from lab.errors import InputError
from lab.run import Run

QUICK = {"lookback": 48, "max_epochs": 2, "steps_per_epoch": 5, "random_state": 0, "device": "cpu"}
DAY = list(range(1, 25))


def conformal(errors: np.ndarray, stretches: float = 100) -> Conformal:
    """From errors (n, horizon), one channel, windows all alike (so that every spread is FLOOR) and no season."""
    windows = np.zeros((len(errors), 2, 1))
    return Conformal.fit(errors[:, :, None], windows, np.zeros(len(errors), int), 1, stretches)


def test_conformal_ranks_by_hand():
    """Of 39 errors the 2.5 % quantile is the smallest, rank 40 * .025 = 1, and the 97.5 % one the largest, rank 39."""
    errors = np.random.default_rng(0).permutation(np.arange(-19.0, 20))[:, None]
    offsets = conformal(errors).offsets([0.025, 0.05, 0.5, 0.95, 0.975], np.zeros((2, 1)), 0)[:, 0, 0]
    np.testing.assert_allclose(offsets, [-19, -18, 0, 18, 19])


def test_conformal_ranks_are_rounded_outwards():
    """Of 24 errors: 25 * .1 = 2.5 is rank 2, 25 * .9 = 22.5 rank 23; beyond the ends, 25 * .01, is the end."""
    errors = np.random.default_rng(0).permutation(np.arange(1.0, 25))[:, None]
    offsets = conformal(errors).offsets([0.01, 0.1, 0.9, 0.99], np.zeros((2, 1)), 0)[:, 0, 0]
    np.testing.assert_allclose(offsets, [1, 2, 23, 24])


def test_every_channel_has_a_spread_of_its_own():
    window = np.array([[1.0, 10.0], [3.0, 10.0]])
    np.testing.assert_allclose(intervals.spread(window[None]), [[1 + intervals.FLOOR, intervals.FLOOR]])


def test_few_stretches_make_symmetric_intervals():
    errors = np.abs(np.random.default_rng(0).normal(size=(60, 1)))
    low, high = conformal(errors, stretches=2).offsets([0.05, 0.95], np.zeros((2, 1)), 0)[:, 0, 0]
    assert low == -high < 0
    assert conformal(errors).offsets([0.05], np.zeros((2, 1)), 0)[0, 0, 0] > 0  # all errors were above


def test_few_errors_borrow_from_neighbouring_steps():
    errors = np.random.default_rng(0).normal(size=(13, 9))
    assert conformal(errors).scores.shape == (9, 1, 39)
    assert conformal(np.repeat(errors, 3, axis=0)).scores.shape == (9, 1, 39)


def test_intervals_are_as_wide_as_the_window_and_the_phase_want():
    """Errors twice as large from windows twice as wild, and three times as large at one phase of four."""
    random = np.random.default_rng(0)
    size, phases = random.choice([1.0, 2.0], 4000), random.integers(4, size=4000)
    windows = (size - intervals.FLOOR)[:, None, None] * np.array([-1.0, 1.0])[:, None]  # spread is `size`
    errors = (size * np.where(phases == 2, 3.0, 1.0) * random.normal(size=4000))[:, None, None]
    fitted = Conformal.fit(errors, windows, phases, 4, 1000)
    np.testing.assert_allclose(fitted.profile / fitted.profile[0], [1, 1, 3, 1], rtol=0.1)
    for scale, phase, expected in ((1, 0, 1), (2, 0, 2), (1, 2, 3), (2, 6, 6)):
        window = (scale - intervals.FLOOR) * np.array([[-1.0], [1.0]])
        offset = fitted.offsets([0.95], window, phase)[0, 0, 0]
        assert offset == pytest.approx(expected * norm.ppf(0.95), rel=0.1)


def test_every_step_ahead_has_a_phase_of_its_own():
    """Errors of 1 at even phases and of 3 at odd ones, all from forecasts that begin at an even one."""
    errors = np.tile([[1.0, 3.0], [-1.0, -3.0]], (2000, 1))[:, :, None]
    fitted = Conformal.fit(errors, np.zeros((4000, 2, 1)), np.zeros(4000, int), 2, 1000)
    for phase, expected in ((0, [1, 3]), (7, [3, 1])):
        offsets = fitted.offsets([0.9], np.zeros((2, 1)), phase)[0, :, 0]
        assert offsets == pytest.approx(expected, rel=0.01)


def test_intervals_take_note_of_errors_on_rows_that_update_shows():
    """Noise that grows fivefold after the fit: the weights stay, the intervals widen and hold again."""
    random = np.random.default_rng(3)
    size = np.where(np.arange(24 * 120) < 24 * 60, 1.0, 5.0)
    series = pd.Series(size * random.normal(size=len(size)), pd.date_range("2024-01-01", periods=len(size), freq="h"))
    fitted = RidgeForecaster(lookback=24).fit(series.iloc[: 24 * 60], fh=DAY)
    weights, inside = fitted.weights_.copy(), []
    for day in range(60, 120):
        truth = series.iloc[24 * day : 24 * day + 24]
        made = fitted.predict_interval(coverage=0.9).droplevel(0, axis=1)[0.9]
        inside.append(truth.between(made["lower"], made["upper"]).mean())
        fitted.update(truth, update_params=False)
    np.testing.assert_array_equal(weights, fitted.weights_)
    assert inside[0] < 0.4 and 0.85 < np.mean(inside[-20:]) < 0.95
    assert len(fitted.conformal_.errors) == intervals.WINDOWS


def test_a_day_at_once_or_hour_by_hour_teaches_the_same():
    series = web_traffic(days=20)
    one = RidgeForecaster(lookback=48).fit(series.iloc[:400], fh=DAY)
    two = RidgeForecaster(lookback=48).fit(series.iloc[:400], fh=DAY)
    one.update(series.iloc[400:412], update_params=False)
    for row in range(400, 412):
        two.update(series.iloc[row : row + 1], update_params=False)
    np.testing.assert_allclose(one.conformal_.errors, two.conformal_.errors, rtol=1e-9)
    np.testing.assert_array_equal(one.conformal_.phases, two.conformal_.phases)
    assert one.conformal_.stretches == pytest.approx(two.conformal_.stretches)


def test_a_saved_forecaster_takes_note_of_the_same_errors(tmp_path):
    series = web_traffic(days=20)
    fitted = RidgeForecaster(lookback=48).fit(series.iloc[:400], fh=DAY)
    saved.save(tmp_path, {"linear": fitted})
    again = saved.load(tmp_path)["linear"]
    for each in (fitted, again):
        each.update(series.iloc[400:403], update_params=False)
    np.testing.assert_allclose(again.conformal_.errors, fitted.conformal_.errors)
    np.testing.assert_array_equal(again.conformal_.phases, fitted.conformal_.phases)
    np.testing.assert_allclose(again.predict_interval(), fitted.predict_interval())


def test_errors_are_those_of_held_out_windows_each_with_its_phase():
    """480 hours hold 425 windows of 50 + 6 steps: the last 85 are held out. Three rows more bring three windows."""
    series = web_traffic(days=21)
    fitted = RidgeForecaster(lookback=50).fit(series.iloc[:480], fh=range(1, 7))
    values, first = ((series.to_numpy() - fitted.mean_) / fitted.scale_)[:, None], np.arange(340, 425)
    windows, truth = (np.stack([values[at + a : at + b] for at in first]) for a, b in ((0, 50), (50, 56)))
    missed = (truth - fitted._backcast(windows)) / (windows.std(axis=1) + intervals.FLOOR)[:, None]
    np.testing.assert_allclose(fitted.conformal_.errors, missed)
    assert fitted.conformal_.phases.tolist() == ((first + 50) % 24).tolist()
    assert fitted.conformal_.stretches == pytest.approx(85 / 6)
    fitted.update(series.iloc[480:483], update_params=False)
    assert fitted.conformal_.phases[-3:].tolist() == [475 % 24, 476 % 24, 477 % 24]
    assert fitted.conformal_.stretches == pytest.approx(88 / 6)


def test_perfect_forecasts_have_no_width():
    assert (conformal(np.zeros((50, 3))).offsets([0.05, 0.95], np.zeros((2, 1)), 0) == 0).all()


@pytest.mark.parametrize("forecaster", [RidgeForecaster, SeasonalNaiveForecaster])
def test_conformal_coverage_on_a_process_it_holds_for(forecaster):
    """A stationary series: over 40 fresh stretches of a day, 80 % intervals hold 80 % (binomial: +- 5 %)."""
    random = np.random.default_rng(1)
    noise = random.normal(size=24 * 160)
    values = 10 + 3 * np.sin(2 * np.pi * np.arange(len(noise)) / 24) + noise
    series = pd.Series(values, pd.date_range("2024-01-01", periods=len(values), freq="h"))
    fitted = forecaster(lookback=24).fit(series.iloc[: 24 * 120], fh=DAY)
    inside = []
    for day in range(120, 160):
        truth = series.iloc[24 * day : 24 * day + 24]
        made = fitted.predict_interval(coverage=0.8).droplevel(0, axis=1)[0.8]
        inside.append(truth.between(made["lower"], made["upper"]).mean())
        fitted.update(truth, update_params=False)
    assert 0.75 < np.mean(inside) < 0.85


@pytest.mark.parametrize(
    "forecaster",
    [
        SeasonalNaiveForecaster(), RidgeForecaster(lookback=48), CNNForecaster(**QUICK),
        LSTMForecaster(**QUICK, intervals="quantile"), TransformerForecaster(**QUICK, intervals="dropout", passes=20),
    ],
    ids=lambda forecaster: type(forecaster).__name__,
)  # fmt: skip
def test_quantiles_nest_in_every_column(forecaster):
    frame = pd.DataFrame({"a": web_traffic(days=20, seed=1), "b": web_traffic(days=20, seed=2) * 1e6})
    fitted = forecaster.fit(frame, fh=[1, 5, 24])
    quantiles = fitted.predict_quantiles(alpha=[0.9, 0.05, 0.5])
    assert list(quantiles.columns) == [(c, a) for c in "ab" for a in (0.9, 0.05, 0.5)] and len(quantiles) == 3
    bounds = fitted.predict_interval(coverage=[0.5, 0.9])
    for column in "ab":
        assert (quantiles[column, 0.05] <= quantiles[column, 0.5]).all()
        assert (bounds[column, 0.9, "lower"] <= bounds[column, 0.5, "lower"]).all()
        assert (bounds[column, 0.5, "upper"] <= bounds[column, 0.9, "upper"]).all()
        np.testing.assert_array_equal(quantiles[column, 0.05], bounds[column, 0.9, "lower"])
    assert bounds["b"].to_numpy().max() > 1e8  # in the column's own unit
    pd.testing.assert_frame_equal(bounds, fitted.predict_interval(coverage=[0.5, 0.9]))  # dropout draws the same again
    proba = fitted.predict_proba()
    assert proba.quantile([0.5]).shape == (3, 2)


def test_proba_has_the_quantiles():
    pytest.importorskip("skpro")
    fitted = RidgeForecaster(lookback=48).fit(web_traffic(days=20), fh=[1, 24])
    quantiles = fitted.predict_quantiles(alpha=[0.1, 0.9]).to_numpy()
    np.testing.assert_allclose(fitted.predict_proba().quantile([0.1, 0.9]).to_numpy(), quantiles, rtol=0.03)


def test_no_error_is_known_no_interval_is_promised():
    series = pd.Series([1.0, 2, 3], pd.period_range("2024-01", periods=3, freq="M"))
    bounds = SeasonalNaiveForecaster(lookback=3).fit(series, fh=[1]).predict_interval()
    assert bounds.to_numpy().tolist() == [[-np.inf, np.inf]]


# --- quantile heads -------------------------------------------------------------------------------------------------


def test_pinball_loss_is_sklearns():
    random = torch.Generator().manual_seed(0)
    forecast = torch.randn(6, len(LEVELS) * 3, 2, generator=random)
    truth = torch.randn(6, 3, 2, generator=random)
    expected = np.mean([
        mean_pinball_loss(truth.flatten(), forecast[:, 3 * i : 3 * i + 3].flatten(), alpha=level)
        for i, level in enumerate(LEVELS)
    ])  # fmt: skip
    assert intervals.pinball_loss(forecast, truth).item() == pytest.approx(2 * expected, rel=1e-5)


def test_interpolation_is_exact_for_a_gaussian():
    alpha = [0.001, 0.025, 0.3, 0.5, 0.62, 0.999]
    known = 5 + 2 * norm.ppf(LEVELS)
    np.testing.assert_allclose(intervals.interpolate(known[:, None], alpha)[:, 0], 5 + 2 * norm.ppf(alpha))
    np.testing.assert_allclose(
        intervals.interpolate(known[::-1, None], alpha)[:, 0], 5 + 2 * norm.ppf(alpha)
    )  # crossed


def test_quantile_heads_learn_the_noise():
    """White noise: of fresh values, the share of a level lies below its head; the point forecast is the median."""
    values = np.random.default_rng(0).normal(size=3000)
    series = pd.Series(values, pd.RangeIndex(3000))
    settings = {"lookback": 16, "patch": 4, "max_epochs": 8, "dropout": 0.0, "random_state": 0, "batch": 64}
    fitted = CNNForecaster(**settings, intervals="quantile").fit(series, fh=[1, 2])
    fresh = np.random.default_rng(1).normal(size=(2000, 18, 1))
    heads = fitted._outputs(fresh[:, :16]).reshape(2000, len(LEVELS), 2)  # all steps of a level come together
    below = (fresh[:, None, 16:, 0] < heads).mean(axis=(0, 2))
    np.testing.assert_allclose(below, LEVELS, atol=0.05)
    median = fitted.predict_quantiles(alpha=[0.5]).to_numpy()[:, 0]
    np.testing.assert_allclose(fitted.predict(), median, rtol=1e-6)


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("kind", [CNNForecaster, LSTMForecaster, TransformerForecaster])
def test_heads_that_learned_nothing_promise_no_certainty(kind, skip):
    """With a learning rate of nought they hold the quantiles of what came after the windows, not one value."""
    values = np.random.default_rng(0).normal(size=1500).cumsum()
    series = pd.Series(values, pd.RangeIndex(1500))
    options = {"lookback": 12, "patch": 4, "max_epochs": 1, "steps_per_epoch": 1, "learning_rate": 0.0, "skip": skip}
    fitted = kind(**options, intervals="quantile", random_state=0).fit(series, fh=[1, 2, 3])
    walks = np.random.default_rng(1).normal(size=(3000, 15, 1)).cumsum(axis=1)
    heads = fitted._outputs((walks[:, :12] - fitted.mean_) / fitted.scale_) * fitted.scale_ + fitted.mean_
    below = (walks[:, None, 12:, 0] < heads.reshape(3000, len(LEVELS), 3)).mean(axis=(0, 2))
    np.testing.assert_allclose(below, LEVELS, atol=0.06)


# --- dropout --------------------------------------------------------------------------------------------------------


def test_dropout_draws_differ_and_leave_the_network_as_it_was():
    series = web_traffic(days=20)
    for kind in (CNNForecaster, LSTMForecaster, TransformerForecaster):
        fitted = kind(**QUICK, intervals="dropout", passes=30).fit(series, fh=DAY)
        before, point = {k: v.clone() for k, v in fitted.network_.state_dict().items()}, fitted.predict()
        state = torch.get_rng_state()
        bounds = fitted.predict_interval().to_numpy()
        assert (bounds[:, 1] > bounds[:, 0]).all(), kind
        assert torch.equal(state, torch.get_rng_state())
        after = fitted.network_.state_dict()
        assert all(torch.equal(before[name], after[name]) for name in before)  # no running average moved
        pd.testing.assert_series_equal(point, fitted.predict(), check_exact=True)


def test_wrong_kind_of_intervals():
    series = web_traffic(days=20)
    with pytest.raises(InputError, match="unknown kind of intervals 'quantil'; did you mean quantile"):
        CNNForecaster(**QUICK, intervals="quantil").fit(series, fh=DAY)
    with pytest.raises(InputError, match=r"intervals by dropout need dropout, which is 0\.0"):
        CNNForecaster(**QUICK, dropout=0.0, intervals="dropout").fit(series, fh=DAY)


# --- scores ---------------------------------------------------------------------------------------------------------


def test_scores_by_hand_and_as_sktimes():
    truth = np.array([1.0, 5, 9])
    low, high = np.array([0.0, 6, 4]), np.array([2.0, 8, 8])
    assert intervals.coverage(truth, low, high) == pytest.approx(1 / 3)
    # widths 2, 2, 4; one below by 1, one above by 1; 2 / (1 - .8) = 10
    assert intervals.winkler(truth, low, high, 0.8) == pytest.approx((2 + 2 + 4 + 10 + 10) / 3)
    columns = pd.MultiIndex.from_product([["y"], [0.3]])
    expected = PinballLoss(alpha=0.3)(pd.DataFrame({"y": truth}), pd.DataFrame(low[:, None], columns=columns))
    assert intervals.pinball(truth, low, 0.3) == pytest.approx(float(expected))
    bounds = pd.DataFrame(
        np.stack([low, high], 1), columns=pd.MultiIndex.from_product([["y"], [0.8], ["lower", "upper"]])
    )
    assert float(IntervalWidth()(pd.DataFrame({"y": truth}), bounds)) == pytest.approx((high - low).mean())


def test_the_benchmark_scores_by_hand():
    """Of eight values one lies 4 above: 2 wide and, at 90 %, 20 * 4 / 8 = 10 more on average; all over a scale of 2."""
    bounds = np.tile([-1.0, 1.0], (2, 4, len(coverage.NOMINAL), 1))
    truth = np.zeros((2, 4))
    truth[1, 3] = 5.0
    what = {"series": "s", "model": "m", "intervals": "conformal"}
    row = next(row for row in coverage._rows(bounds, truth, 2.0, what) if row["nominal"] == 0.9)
    assert (row["coverage"], row["width"], row["score"]) == (7 / 8, 1.0, pytest.approx((2 + 10) / 2))
    assert (row["low"], row["high"]) == (0, 1)  # of two origins, 1 and 3/4, which tell next to nothing


def test_the_benchmark_scales_by_what_came_before_the_first_origin(tmp_path):
    series = web_traffic(days=12)
    series.attrs["name"] = "traffic"
    with Run.open(tmp_path, "coverage", {}) as run:
        table = coverage.measure([series], ["seasonal-naive", "cnn"], 3, run, device="cpu", max_epochs=1)
    values = series.to_numpy()
    day = np.abs(values[24:] - values[:-24])  # of each hour, from the day before
    naive, cnn = (table[table["model"] == name] for name in ("seasonal-naive", "cnn"))
    assert naive["mase"].tolist() == pytest.approx([day[-72:].mean() / day[:-72].mean()] * 4)
    assert set(naive["intervals"]) == {"conformal"} and cnn["coverage"].between(0, 1).all()
    errors = cnn.groupby("intervals")["mase"].agg(["nunique", "first"])
    assert errors["nunique"].tolist() == [1, 1, 1] and set(errors.index) == {"conformal", "dropout", "quantile"}
    first = errors["first"]
    assert first["conformal"] == first["dropout"] != first["quantile"]  # one network, and one of its own
