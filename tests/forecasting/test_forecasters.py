"""The forecasters: sktime's contract, oracles, determinism, early stopping that sees no test data."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import Ridge
from sktime.forecasting.naive import NaiveForecaster
from sktime.utils.estimator_checks import check_estimator

from forecasting import training
from forecasting.datasets import load, web_traffic
from forecasting.forecaster import (
    CNNForecaster,
    LSTMForecaster,
    RidgeForecaster,
    SeasonalNaiveForecaster,
    TransformerForecaster,
    default_lookback,
    default_patch,
)  # fmt: skip
from forecasting.networks.mixed import Mixed
from forecasting.networks.norm import Anchored, Reversible, patches
from lab.errors import InputError

NETWORKS = [CNNForecaster, LSTMForecaster, TransformerForecaster]
ALL = [SeasonalNaiveForecaster, RidgeForecaster, *NETWORKS]
QUICK = {"lookback": 48, "max_epochs": 2, "steps_per_epoch": 5, "random_state": 0, "device": "cpu"}
HORIZON = [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
@pytest.mark.parametrize("forecaster", ALL)
# sktime's own forecasters, which its checks build, announce a default to change; it registers no marks for its checks
@pytest.mark.filterwarnings("ignore:.*remember_data:FutureWarning")
@pytest.mark.filterwarnings("ignore:Sorting by default when concatenating:DeprecationWarning")  # sktime with pandas 3
def test_contract(forecaster):
    """Every one of sktime's checks."""
    results = check_estimator(forecaster, raise_exceptions=False, verbose=False)
    failed = {name: result for name, result in results.items() if result != "PASSED"}
    assert len(results) > 100 and not failed


@pytest.mark.parametrize("forecaster", NETWORKS)
def test_same_seed_same_numbers(forecaster):
    series = web_traffic(days=20)
    one, two = (forecaster(**QUICK).fit(series, fh=HORIZON).predict() for _ in range(2))
    torch.rand(7)  # the caller's random stream is neither used nor moved
    state = torch.get_rng_state()
    three = forecaster(**QUICK).fit(series, fh=HORIZON).predict()
    pd.testing.assert_series_equal(one, two)
    pd.testing.assert_series_equal(one, three)
    assert torch.equal(state, torch.get_rng_state())
    other = forecaster(**{**QUICK, "random_state": 1}).fit(series, fh=HORIZON).predict()
    assert not np.allclose(one, other)


@pytest.mark.parametrize("forecaster", [RidgeForecaster, *NETWORKS])
def test_level_and_size_do_not_matter(forecaster):
    """Instance normalisation and scaling: a series in other units gives the same forecast in those units."""
    settings = {"lookback": 48} if forecaster is RidgeForecaster else QUICK
    series = web_traffic(days=20)
    plain = forecaster(**settings).fit(series, fh=HORIZON).predict()
    moved = forecaster(**settings).fit(series * 100 + 5e4, fh=HORIZON).predict()
    np.testing.assert_allclose(moved, plain * 100 + 5e4, rtol=1e-3)


@pytest.mark.parametrize("forecaster", NETWORKS)
def test_networks_learn_a_sine(forecaster):
    time = np.arange(600)
    series = pd.Series(np.sin(2 * np.pi * time / 24), pd.date_range("2024-01-01", periods=600, freq="h"))
    settings = {
        "lookback": 48,
        "max_epochs": 12,
        "steps_per_epoch": 30,
        "dropout": 0.0,
        "random_state": 0,
        "device": "cpu",
    }
    made = forecaster(**settings).fit(series.iloc[:576], fh=list(range(1, 25))).predict()
    assert np.abs(made - series.iloc[576:]).mean() < 0.1  # the last value again has 0.64


@pytest.mark.parametrize("forecaster", ALL)
def test_update_moves_on_without_new_weights(forecaster):
    """After update(update_params=False) the forecast is that of the same weights from the newer window."""
    series = web_traffic(days=20)
    settings = {} if forecaster in ALL[:2] else {**QUICK, "lookback": 24}
    fitted = forecaster(**settings).fit(series.iloc[:400], fh=HORIZON)
    fitted.update(series.iloc[400:430], update_params=False)
    made = fitted.predict()
    assert made.index[0] == series.index[430]
    window = series.to_numpy()[430 - fitted.lookback_ : 430, None]
    again = fitted._forecast((window - fitted.mean_) / fitted.scale_) * fitted.scale_ + fitted.mean_
    np.testing.assert_allclose(made, again[:, 0])


def test_a_row_that_an_update_says_again_counts_as_said_last():
    series = web_traffic(days=20)
    fitted = SeasonalNaiveForecaster(lookback=2).fit(series.iloc[:400], fh=[1, 2])
    corrected = series.iloc[399:401] + 500
    assert fitted.update(corrected, update_params=False).predict().tolist() == corrected.tolist()


def test_channels_are_independent():
    """Two columns give the forecasts that the shared weights give for each."""
    frame = pd.DataFrame({"a": web_traffic(days=20, seed=1), "b": web_traffic(days=20, seed=2) * 3})
    for forecaster in (CNNForecaster(**QUICK), LSTMForecaster(**QUICK), TransformerForecaster(**QUICK)):
        forecaster.fit(frame, fh=[2, 5])
        made = forecaster.predict()
        assert made.shape == (2, 2) and list(made.columns) == ["a", "b"]
        window = torch.from_numpy(((frame.to_numpy() - forecaster.mean_) / forecaster.scale_)[-48:]).float()
        alone = forecaster.network_(window[None, :, 1:])[0, [1, 4], 0].detach().numpy()
        np.testing.assert_allclose(made["b"], alone * forecaster.scale_[1] + forecaster.mean_[1], rtol=1e-4)


def test_too_short_and_in_sample():
    series = load("airline")
    with pytest.raises(InputError, match=r"144 rows are fewer than lookback 140 \+ horizon 6"):
        RidgeForecaster(lookback=140).fit(series, fh=HORIZON)
    with pytest.raises(InputError, match="device 'tpu9' cannot be used"):
        CNNForecaster(device="tpu9").fit(series, fh=HORIZON)


def test_seasonal_naive_is_sktimes():
    series = load("airline")
    with pytest.warns(FutureWarning, match="remember_data"):  # sktime's own, of a default to change
        expected = NaiveForecaster(sp=12).fit(series, fh=range(1, 31)).predict()
    pd.testing.assert_series_equal(SeasonalNaiveForecaster().fit(series, fh=range(1, 31)).predict(), expected)


# --- linear ---------------------------------------------------------------------------------------------------------


def test_ridge_is_sklearns():
    random = np.random.default_rng(0)
    inputs, targets = random.normal(size=(90, 12)), random.normal(size=(90, 5))
    expected = Ridge(alpha=3.0, fit_intercept=False).fit(inputs, targets).coef_
    np.testing.assert_allclose(training.ridge(inputs, targets, 3.0), expected, atol=1e-10)


@pytest.mark.parametrize(("lookback", "horizon"), [(1, 1), (5, 3), (12, 30)])
def test_moments_are_those_of_the_windows(lookback, horizon):
    walks = np.random.default_rng(0).normal(size=(80, 2)).cumsum(0)
    values = torch.from_numpy(walks + np.array([1e4, -3.0]))
    count = 80 - lookback - horizon + 1 - 4  # the last windows are not among them
    x, y = training.pairs(training.windows(values, lookback, horizon)[:count].numpy(), lookback)
    gram, cross = training.moments(values, count, lookback, horizon)
    np.testing.assert_allclose(gram, x.T @ x, atol=1e-8)
    np.testing.assert_allclose(cross, x.T @ y, atol=1e-8)
    np.testing.assert_allclose(
        training.solve(gram, cross, 0.5), training.ridge(x, y, 0.5 * max(np.trace(x.T @ x) / lookback, 1e-8)), atol=1e-8
    )


def test_linear_finds_a_linear_rule():
    """A straight line and a sine obey linear recurrences: the forecast is exact, up to the penalty."""
    time = np.arange(300.0)
    series = pd.Series(
        0.5 * time + 9 * np.sin(2 * np.pi * time / 12), pd.period_range("2000-01", periods=300, freq="M")
    )
    made = RidgeForecaster(lookback=24).fit(series.iloc[:288], fh=range(1, 13)).predict()
    np.testing.assert_allclose(made, series.iloc[288:], atol=1.0)


# --- windows and training -------------------------------------------------------------------------------------------


def test_windows_are_views():
    values = torch.arange(20.0).reshape(10, 2)
    view = training.windows(values, 3, 2)
    assert view.shape == (6, 5, 2) and view.untyped_storage().data_ptr() == values.untyped_storage().data_ptr()
    assert view[4, :, 1].tolist() == [9, 11, 13, 15, 17]


@pytest.mark.parametrize(("count", "horizon"), [(50, 1), (50, 6), (500, 24)])
def test_training_never_sees_a_validation_target(count, horizon):
    last, first = training.split(count, horizon, 0.2)
    targets = [set(range(start, start + horizon)) for start in range(count)]  # lookback shifts both alike
    trained, validated = set().union(*targets[:last]), set().union(*targets[first:])
    assert not trained & validated and count - first == round(0.2 * count)
    assert max(trained) + 1 == min(validated)  # and nothing is wasted


def test_too_few_windows_leave_nothing_to_validate_on():
    assert training.split(8, 6, 0.2) == (8, 8) and training.split(100, 6, 0.0) == (100, 100)


def test_networks_train_on_no_window_that_shares_a_target_with_those_held_out(monkeypatch):
    """60 rows hold 49 windows of 8 + 4 steps: the last 10 are held out, and the 3 before them are left out of both."""
    given = []
    monkeypatch.setattr(training, "fit", lambda *arguments: given.append(arguments[8]) or [])
    CNNForecaster(**{**QUICK, "lookback": 8}).fit(pd.Series(np.sin(np.arange(60.0))), fh=[1, 2, 3, 4])
    trained, held_out = given[0]
    assert trained.tolist() == list(range(36)) and held_out.tolist() == list(range(39, 49))


def test_weights_that_held_out_windows_judge_have_not_seen_them():
    """480 hours hold 427 windows of 48 + 6 steps: the last 85 are held out, so the first 337 share no target with them.

    Conformal errors and the skip come from the weights of those; the forecast from those of all windows.
    """
    series = web_traffic(days=20)
    ridge = RidgeForecaster(lookback=48).fit(series, fh=HORIZON)
    values = (series.to_numpy()[:, None] - ridge.mean_) / ridge.scale_
    view = training.windows(torch.from_numpy(values), 48, 6).numpy()
    early, late = (
        training.ridge(x, y, ridge.strength_ * np.trace(x.T @ x) / 48)
        for x, y in (training.pairs(view[:337], 48), training.pairs(view, 48))
    )
    window = values[-48:]
    judged, made = ((weights @ (window - window[-1]) + window[-1]) for weights in (early, late))
    assert np.abs(judged - made).max() > 1e-3
    np.testing.assert_allclose(ridge._backcast(window[None])[0], judged, atol=1e-6)
    np.testing.assert_allclose(ridge._forecast(window), made, atol=1e-6)
    skipping = CNNForecaster(**QUICK, skip=True).fit(series, fh=HORIZON)
    np.testing.assert_allclose(skipping.network_.skip, early, atol=1e-5)


class Constant(torch.nn.Module):
    """Forecasts one learned number."""

    def __init__(self, value: float):
        super().__init__()
        self.value = torch.nn.Parameter(torch.tensor(value))

    def forward(self, x):
        return self.value.expand(len(x), 1, 1)


@pytest.mark.parametrize("averaging", [0.0, 0.8])
def test_early_stopping_restores_the_best_weights(averaging):
    """Training data pull towards 1, validation data want 0.2: the best is passed on the way, and comes back.

    Of a running mean it is the mean that is validated and kept.
    """
    values = torch.ones(100, 1)
    values[79:] = 0.2
    network = Constant(0.0)
    plan = training.Plan(max_epochs=50, steps_per_epoch=5, patience=4, learning_rate=0.02, averaging=averaging)
    history = training.fit(network, values, 1, 1, plan, torch.Generator().manual_seed(0))
    errors = [entry["validation_loss"] for entry in history]
    assert len(history) == int(np.argmin(errors)) + 1 + 4 < 50
    assert abs(float(network.value.detach()) - 0.2) == pytest.approx(min(errors), abs=1e-6)
    assert not network.training


def test_where_training_does_not_help_the_untrained_network_stays():
    """Training data pull towards 1, validation data want the 0 that was there."""
    values = torch.ones(100, 1)
    values[79:] = 0.0
    network = Constant(0.0)
    plan = training.Plan(max_epochs=50, steps_per_epoch=5, patience=4, learning_rate=0.02)
    history = training.fit(network, values, 1, 1, plan, torch.Generator().manual_seed(0))
    assert float(network.value.detach()) == 0 and len(history) == 4


def test_a_loss_of_its_own_is_trained_on_and_the_measure_validates():
    plan = training.Plan(max_epochs=1, steps_per_epoch=1, learning_rate=0.0)
    draws, threes = torch.Generator().manual_seed(0), torch.full((100, 1), 3.0)
    (entry,) = training.fit(Constant(0.0), threes, 1, 1, plan, draws, loss=training.squared)
    assert (entry["train_loss"], entry["validation_loss"]) == (9, 3)


def test_a_running_mean_forgets_and_takes_statistics_along():
    network = torch.nn.BatchNorm1d(1)
    mean = training._RunningMean(network, decay=0.2)
    values = [1.0, 5.0, 2.0, 8.0]
    for value in values:
        network.weight.data.fill_(value)
        network.running_mean.fill_(-value)
        mean.update()
    expected = values[0]  # the first is taken over; then young means forget faster: 2/11 < .2
    for value, decay in zip(values[1:], (2 / 11, 0.2, 0.2), strict=True):
        expected = decay * expected + (1 - decay) * value
    assert float(mean.network.weight.detach()) == pytest.approx(expected, rel=1e-6)
    assert float(mean.network.running_mean) == pytest.approx(-expected, rel=1e-6)
    assert float(network.weight.detach()) == 8.0


def test_error_counts_every_window():
    network, view = Constant(0.0), torch.arange(7.0).reshape(7, 1, 1).expand(7, 2, 1)
    assert training.error(network, view, 1, batch=3) == pytest.approx(3.0)


# --- networks -------------------------------------------------------------------------------------------------------


def test_patches_keep_the_newest_whole():
    assert patches(torch.arange(1.0, 6.0)[None], 2).tolist() == [[[1, 1], [2, 3], [4, 5]]]


@pytest.mark.parametrize("forecaster", NETWORKS)
@pytest.mark.parametrize("kind", [Reversible, Anchored])
@pytest.mark.parametrize(("lookback", "horizon", "patch"), [(48, 24, 12), (7, 3, 2), (5, 13, 5), (1, 1, 1)])
def test_shapes(forecaster, kind, lookback, horizon, patch):
    network = kind(forecaster.network(lookback, horizon, patch))
    x = torch.randn(4, lookback, 3)
    y = network(x)
    assert y.shape == (4, horizon, 3)
    # untrained it forecasts the last value: the head starts at zero
    torch.testing.assert_close(y, x[:, -1:].expand(-1, horizon, -1))


@pytest.mark.parametrize("kind", [Reversible, Anchored])
def test_skip_is_the_linear_forecast(kind):
    weights = torch.randn(3, 8)
    x = torch.randn(5, 8, 2)
    network = kind(CNNForecaster.network(8, 3, 2), weights).eval()
    last = x[:, -1:]
    expected = torch.einsum("hl,blc->bhc", weights, x - last) + last
    torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-4)
    assert "skip" not in dict(network.named_parameters())  # frozen


@pytest.mark.parametrize("forecaster", NETWORKS)
def test_without_reversible_normalisation_the_level_tells(forecaster):
    """The logistic map: the next value follows from this one alone, whose level a window in its own units has lost."""
    values = [0.3]
    for _ in range(800):
        values.append(3.9 * values[-1] * (1 - values[-1]))
    series = pd.Series(values)
    errors = {}
    for reversible in (True, False):
        fitted = forecaster(
            lookback=1, patch=1, reversible=reversible, dropout=0.0, max_epochs=8, random_state=0, device="cpu"
        ).fit(series[:600], fh=[1])
        windows = (series[600:800].to_numpy() - fitted.mean_[0]) / fitted.scale_[0]
        made = fitted._backcast(windows[:, None, None])[:, 0, 0] * fitted.scale_[0] + fitted.mean_[0]
        errors[reversible] = np.abs(made - series[601:801].to_numpy()).mean()
    assert errors[False] < 0.2 * errors[True]


@pytest.mark.parametrize("forecaster", NETWORKS)
def test_mixing_lets_one_channel_forecast_another(forecaster):
    """What the first channel does now, which is noise, the second does a step later: only mixed can that be seen."""
    noise = np.random.default_rng(0).normal(size=601)
    frame = pd.DataFrame({"leads": noise[1:], "follows": noise[:-1]})
    settings = {"lookback": 4, "patch": 1, "max_epochs": 12, "learning_rate": 1e-2, "dropout": 0.05, "random_state": 0}
    errors = {}
    for mix in (False, True):
        fitted = forecaster(**settings, mix=mix).fit(frame[:500], fh=[1])
        made = []
        for row in range(500, 600):
            made.append(fitted.predict()["follows"].iloc[0])
            fitted.update(frame[row : row + 1], update_params=False)
        errors[mix] = np.abs(np.array(made) - frame["follows"][500:]).mean()
    assert errors[True] < 0.5 * errors[False]


def test_mixed_starts_as_the_architecture_alone_and_sees_one_step_at_a_time():
    core = CNNForecaster.network(8, 3, 2).eval()
    mixed = Mixed(core, 2).eval()
    x = torch.randn(5, 8, 2)
    torch.testing.assert_close(mixed(x), core(x))
    torch.nn.init.normal_(mixed.mix[-1].weight)
    other = x.clone()
    other[:, 3, 1] += 1
    moved = ((x + mixed.mix(x)) != (other + mixed.mix(other))).any(dim=(0, 2))
    assert moved.tolist() == [step == 3 for step in range(8)]


def test_windows_to_mix_have_all_their_channels():
    view = training.windows(torch.arange(40.0).reshape(20, 2), 4, 1)
    plan = training.Plan(steps_per_epoch=3, batch=8, joint=True)
    drawn = list(training._batches(view, torch.tensor([2, 5]), plan, torch.Generator().manual_seed(0)))
    assert [rows.shape for rows in drawn] == [(4, 5, 2)] * 3
    assert {int(rows[i, 0, 0]) for rows in drawn for i in range(4)} == {4, 10}  # first value of windows 2 and 5
    assert all(torch.equal(rows[..., 1] - rows[..., 0], torch.ones(4, 5)) for rows in drawn)


def test_windows_of_one_channel_come_from_every_channel():
    view = training.windows(torch.arange(40.0).reshape(20, 2), 4, 1)
    plan = training.Plan(steps_per_epoch=3, batch=16)
    drawn = torch.cat(list(training._batches(view, torch.tensor([2, 5]), plan, torch.Generator().manual_seed(0))))
    assert drawn.shape == (48, 5, 1) and (drawn.diff(dim=1) == 2).all()  # a channel has every second number
    assert set(drawn[:, 0, 0].tolist()) == {4, 5, 10, 11}  # first values of windows 2 and 5


@pytest.mark.parametrize("intervals", ["conformal", "quantile", "dropout"])
def test_mixing_goes_with_every_kind_of_interval_and_survives_a_pickle(intervals):
    frame = pd.DataFrame({"a": np.sin(np.arange(120.0)), "b": np.cos(np.arange(120.0))})
    settings = {**QUICK, "lookback": 12, "passes": 3, "dropout": 0.3}
    fitted = CNNForecaster(**settings, intervals=intervals, mix=True).fit(frame, fh=HORIZON)
    bounds = fitted.predict_interval(coverage=0.8)
    assert bounds.shape == (6, 4) and (bounds["a", 0.8, "upper"] >= bounds["a", 0.8, "lower"]).all()
    pd.testing.assert_frame_equal(pickle.loads(pickle.dumps(fitted)).predict(), fitted.predict())
    assert type(fitted).create_test_instance().clone().set_params(mix=True).get_params()["mix"]


def test_pretraining_refuses_to_mix():
    frame = pd.DataFrame({"a": np.arange(60.0), "b": np.arange(60.0)})
    with pytest.raises(InputError, match="mix=False"):
        panel = pd.concat({"one": frame, "two": frame}, names=["series", "time"])
        CNNForecaster(**QUICK, mix=True).pretrain(panel, fh=HORIZON)


def test_default_sizes():
    assert default_lookback(1344, 24, 24) == 168 and default_patch(168, 24) == 24
    assert default_lookback(96, 12, 12) == 24 and default_patch(24, 12) == 12
    assert default_lookback(9000, 288, 288) == 576 and default_lookback(10, 3, 24) == 3


@pytest.mark.parametrize(
    ("rows", "given", "steps"), [(300, None, 40), (12_000, None, 74), (40_000, None, 160), (40_000, 7, 7)]
)
def test_a_long_series_gets_more_steps_an_epoch(monkeypatch, rows, given, steps):
    """A quarter of the windows: (.8 * (12,000 - 51) - 3) / 128 = 74."""
    plans = []
    monkeypatch.setattr(training, "fit", lambda *arguments: plans.append(arguments[4]) or [])
    series = pd.Series(np.sin(np.arange(rows)), pd.date_range("2024", periods=rows, freq="h"))
    CNNForecaster(**{**QUICK, "steps_per_epoch": given}).fit(series, fh=[1, 2, 3, 4])
    assert plans[0].steps_per_epoch == steps
