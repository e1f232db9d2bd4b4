"""Pretraining on a panel: what it teaches, what fit keeps of it, what it refuses."""

import numpy as np
import pandas as pd
import pytest
import torch

from forecasting import training
from forecasting.datasets import web_traffic
from forecasting.forecaster import CNNForecaster, LSTMForecaster, TransformerForecaster
from forecasting.pooled import Pool, pool
from lab.errors import InputError

SETTINGS = {"lookback": 24, "max_epochs": 8, "random_state": 0, "device": "cpu", "dropout": 0.0}
QUICK = {**SETTINGS, "max_epochs": 1, "steps_per_epoch": 2}
STEPS = list(range(1, 13))


def panel(count: int = 6, days: int = 8) -> pd.DataFrame:
    """Series of one shape at scales from 1 to 1e5."""
    frames = {f"s{i}": web_traffic(days=days, seed=i).to_frame() * 10.0**i for i in range(count)}
    return pd.concat(frames, names=["series"])


@pytest.mark.parametrize("forecaster", [CNNForecaster, LSTMForecaster, TransformerForecaster])
def test_a_pretrained_network_forecasts_a_series_too_short_to_learn_from(forecaster):
    """30 hours hold no window to train on, yet the day of the panel is known: half the naive error at least goes."""
    fitted = forecaster(**SETTINGS).pretrain(panel(), fh=STEPS)
    series = web_traffic(days=3, seed=99) * 7
    errors, naive = [], []
    for end in range(30, 58, 4):
        fitted.fit(series.iloc[end - 30 : end], fh=STEPS)
        assert fitted.losses_ == [] and fitted.lookback_ == 24
        truth = series.iloc[end : end + 12]
        errors.append(np.abs(fitted.predict() - truth).mean())
        naive.append(np.abs(series.iloc[end - 1] - truth).mean())
        bounds = fitted.predict_interval()
        assert (bounds.iloc[:, 0] < bounds.iloc[:, 1]).all()  # from the panel's errors
    assert np.mean(errors) < 0.6 * np.mean(naive)


@pytest.mark.slow
def test_fit_goes_on_from_the_pretrained_weights_and_never_changes_them():
    fitted = CNNForecaster(**{**SETTINGS, "max_epochs": 2, "learning_rate": 1e-2}).pretrain(panel(2), fh=STEPS)
    before = {name: value.clone() for name, value in fitted.pretrained_network_.state_dict().items()}
    fitted.fit(web_traffic(days=10, seed=7), fh=[1, 2])
    assert len(fitted.losses_) == 2 and len(fitted.predict()) == 2
    after = fitted.pretrained_network_.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    frozen = CNNForecaster(**SETTINGS, fine_tune=False).pretrain(panel(2), fh=STEPS)
    frozen.fit(web_traffic(days=10, seed=7), fh=[1, 2])
    weights = frozen.network_.state_dict()
    assert all(torch.equal(weights[name], value) for name, value in frozen.pretrained_network_.state_dict().items())
    again = CNNForecaster(**SETTINGS, fine_tune=False).pretrain(panel(2), fh=STEPS)
    assert all(torch.equal(weights[name], value) for name, value in again.pretrained_network_.state_dict().items())


def test_pretraining_twice_goes_on():
    fitted = CNNForecaster(**QUICK).pretrain(panel(2), fh=STEPS)
    first = fitted.pretrained_network_.core.stem.weight.detach().clone()
    fitted.pretrain(panel(3))
    assert not torch.equal(first, fitted.pretrained_network_.core.stem.weight)
    with pytest.raises(InputError, match="pretrained for 12 steps, not 3; take a new forecaster"):
        fitted.pretrain(panel(2), fh=[1, 2, 3])


def test_intervals_come_from_the_panel_while_the_series_holds_out_fewer_than_20_windows():
    """130 rows hold 95 windows of 24 + 12 steps, 19 of them held out; 135 rows hold 100, and 20."""
    fitted = CNNForecaster(**QUICK, fine_tune=False).pretrain(panel(2), fh=STEPS)
    series = web_traffic(days=6, seed=5)
    assert fitted.fit(series.iloc[:130], fh=STEPS).conformal_.cycle == 1  # the panel's errors have no phase
    assert len(fitted.conformal_.errors) == len(fitted.pretrained_errors_[1]) > 20
    assert fitted.fit(series.iloc[:135], fh=STEPS).conformal_.cycle == 24
    assert len(fitted.conformal_.errors) == 20


def test_a_skip_and_quantile_heads_pretrain_too():
    fitted = LSTMForecaster(**QUICK, skip=True, intervals="quantile").pretrain(panel(2), fh=STEPS)
    fitted.fit(web_traffic(days=2, seed=5), fh=[1, 12])
    assert fitted.predict_quantiles(alpha=[0.1, 0.9]).shape == (2, 2)
    assert fitted.network_.skip.abs().sum() > 0


def test_no_window_lies_across_two_series():
    frame = panel(3, days=3)
    short = web_traffic(days=1, seed=9).to_frame()  # too short for a window: left out
    made = pool(pd.concat([frame, pd.concat({"short": short}, names=["series"])]), 12, 24, 0.2)
    assert made.values.shape == (3 * 72, 1)
    starts = torch.cat(made.starts)
    assert (starts // 72 == (starts + 35) // 72).all() and len(starts) == len(set(starts.tolist()))
    np.testing.assert_allclose(made.values.reshape(3, 72).mean(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(made.values.reshape(3, 72).std(axis=1), 1)
    last, first = training.split(72 - 35, 12, 0.2)
    assert made.starts[0].tolist() == [72 * s + i for s in range(3) for i in range(last)]
    assert made.starts[1].tolist() == [72 * s + i for s in range(3) for i in range(first, 37)]


def test_the_lookback_of_a_panel_suits_a_series_of_median_length():
    """A third of three days, which the long series alone would make a week."""
    long = pd.concat({"long": web_traffic(days=40).to_frame()}, names=["series"])
    assert pool(pd.concat([panel(2, days=3), long]), 12, None, 0.2).lookback == 24


def test_the_pooled_ridge_has_the_penalty_that_is_best_on_windows_it_was_not_fitted_to():
    """Of a random walk nothing can be forecast: that is the largest; on the windows fitted to, it is the smallest."""
    walk = np.random.default_rng(0).normal(size=(400, 1)).cumsum(axis=0)
    made = Pool(walk, (torch.arange(150), torch.arange(200, 370)), 20, 1).linear(6)
    x, y = training.pairs(training.windows(torch.from_numpy(walk), 20, 6)[:150].numpy(), 20)
    np.testing.assert_allclose(made, training.ridge(x, y, training.STRENGTHS[-1] * (x * x).sum() / 20))


def test_what_pretraining_refuses():
    with pytest.raises(InputError, match="pretrain needs fh"):
        CNNForecaster(**QUICK).pretrain(panel(2))
    with pytest.raises(TypeError, match="does not support automatic vectorization"):  # sktime's own word
        CNNForecaster(**QUICK).pretrain(panel(2), X=panel(2), fh=STEPS)
    with pytest.raises(
        InputError, match=r"48 rows are fewer than lookback 24 \+ horizon 30; .*a lookback of 18 or less"
    ):
        CNNForecaster(**QUICK).pretrain(panel(2, days=2), fh=range(1, 31))
    fitted = CNNForecaster(**QUICK).pretrain(panel(2), fh=STEPS)
    with pytest.raises(InputError, match="pretrained for 12 steps and cannot forecast 13"):
        fitted.clone().fit(web_traffic(days=5), fh=[13])
    with pytest.raises(InputError, match="20 rows are fewer than the 24 that the pretrained network looks back"):
        fitted.clone().fit(web_traffic(days=5).iloc[:20], fh=[1])
