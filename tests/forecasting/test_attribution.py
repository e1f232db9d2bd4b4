"""Attributions add up, find what a known network uses, and the check by counterfactual points the same way."""

import json

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("captum", reason="captum is not installed (pip install 'rl-timeseries-lab[explain]')")

import torch

from forecasting import attributing, attribution
from forecasting.forecaster import CNNForecaster, LSTMForecaster, SeasonalNaiveForecaster, TransformerForecaster
from lab import cli
from lab.errors import InputError


def days(count: int, seed: int = 0) -> pd.Series:
    """Days of hours with noise, and a burst in the last week."""
    hours = np.arange(24 * count)
    values = 100 + 30 * np.sin(2 * np.pi * hours / 24) + np.random.default_rng(seed).normal(0, 3, len(hours))
    values[-40:-34] += 60
    return pd.Series(values, pd.date_range("2024-01-01", periods=len(hours), freq="h"), name="views")


@pytest.fixture(scope="module")
def fitted():
    made = {}
    for kind in (CNNForecaster, LSTMForecaster, TransformerForecaster):
        forecaster = kind(lookback=72, max_epochs=3, random_state=0, device="cpu")
        made[kind.__name__] = forecaster.fit(days(30), fh=np.arange(1, 13))
    return made


@pytest.mark.parametrize("name", ["CNNForecaster", "LSTMForecaster", "TransformerForecaster"])
def test_attributions_add_up_to_the_difference_of_the_forecasts(fitted, name):
    forecaster, values = fitted[name], days(30).to_numpy()
    found = attribution.attribute(forecaster, values, groups=12)
    assert found.forecast == pytest.approx(float(np.mean(forecaster.predict())), rel=1e-4)
    assert found.usual_forecast == pytest.approx(attribution.forecasts(forecaster, found.usual[None])[0], rel=1e-4)
    assert abs(found.forecast - found.usual_forecast) > 0.1
    assert found.additivity()["shapley"] < 1e-3 and found.additivity()["gradients"] < 0.05
    assert found.window.shape == found.shapley.shape == found.gradients.shape == (72,)
    assert (found.grad_cam is not None) == (name == "CNNForecaster")


class Sum(torch.nn.Module):
    """A network whose forecast is known: weights times the past."""

    def __init__(self, weights):
        super().__init__()
        self.weights = torch.nn.Parameter(torch.tensor(weights, dtype=torch.float32))
        self.core = torch.nn.Identity()

    def forward(self, x):
        return (x * self.weights[:, None]).sum(1, keepdim=True).expand(-1, 12, -1)


def test_of_a_linear_network_they_are_weight_times_difference(fitted):
    forecaster = fitted["CNNForecaster"].clone()
    forecaster.__dict__.update(fitted["CNNForecaster"].__dict__)
    weights = np.zeros(72)
    weights[10:12], weights[60] = [0.5, -0.25], 0.125
    forecaster.network_ = Sum(weights)
    values = days(30).to_numpy()
    found = attribution.attribute(forecaster, values, groups=72)
    expected = weights * (found.window - found.usual)
    assert found.shapley == pytest.approx(expected, abs=1e-3)
    assert found.gradients == pytest.approx(expected, abs=1e-3)
    place = int(np.abs(expected).argmax())
    assert found.strongest() == (place, place + 1)
    grouped = attribution.attribute(forecaster, values, groups=12)  # six steps each
    assert grouped.shapley[6:12].sum() == pytest.approx(expected[6:12].sum(), abs=1e-3)


def test_of_quantile_heads_the_median_is_explained(fitted):
    class Levels(torch.nn.Module):
        """Forecasts 0 for the lowest of the nine levels, 8 for the highest."""

        def forward(self, x):
            return torch.arange(9.0).repeat_interleave(12)[None, :, None].expand(len(x), -1, -1)

    forecaster = fitted["CNNForecaster"].clone()
    forecaster.__dict__.update(fitted["CNNForecaster"].__dict__)
    forecaster.network_, forecaster.intervals = Levels().requires_grad_(False), "quantile"
    target = attribution.Mean(forecaster)
    assert float(target(torch.zeros(1, 72))) == pytest.approx(4 * forecaster.scale_[0] + forecaster.mean_[0], rel=1e-6)


def test_the_strongest_stretch_may_lower_the_forecast():
    ones = np.ones(4)
    shapley, stretches = np.array([1.0, 1, -2, -2]), np.array([0, 0, 1, 1])
    found = attribution.Attribution(ones, ones, 0.0, 2.0, shapley, shapley, None, stretches)
    assert found.strongest() == (2, 4)
    assert found.additivity() == {"shapley": 0.0, "gradients": 0.0}


def test_two_forecasts_that_lie_close_are_told_apart():
    ones, past = np.ones(4), pd.date_range("2024-01-01", periods=4, freq="h")
    found = attribution.Attribution(ones, ones, 104.63, 100.0, ones, ones, None, np.array([0, 0, 1, 1]))
    said = attributing.says(found, past, 2.0, "load", 104.87)
    assert said.startswith("The forecast of load, 104.63 on average, is 4.63 higher")
    assert said.endswith("had that been normal, it would be 104.87.")
    assert attributing.says(found, past, 2.0, "load", None).startswith("The forecast of load, 105 on average, ")


def test_grad_cam_lies_on_the_steps_of_its_patches():
    """70 steps are three patches of 24, of which the first, at the old end, is filled up by two."""
    forecaster = CNNForecaster(lookback=70, patch=24, max_epochs=1, random_state=0, device="cpu")
    cam = attribution.attribute(forecaster.fit(days(20), fh=[1, 2]), days(20).to_numpy(), groups=7).grad_cam
    assert len(cam) == 70 and [len(set(part)) for part in (cam[:22], cam[22:46], cam[46:])] == [1, 1, 1]
    assert len(set(cam)) == 3


def test_the_usual_past_begins_at_the_same_time():
    values = np.tile([1.0, 2, 3, 4], 6)
    values[:4] += 10
    assert np.array_equal(attribution.usual_past(values[4:], 6, 4), [3, 4, 1, 2, 3, 4])
    with pytest.raises(InputError, match="hold no window of 22 a season of 4 earlier"):
        attribution.usual_past(values, 22, 4)


@pytest.mark.slow
def test_the_redrawn_stretch_is_normal_and_changes_the_forecast(fitted):
    forecaster, values = fitted["CNNForecaster"], days(30).to_numpy()
    found = attribution.attribute(forecaster, values, groups=12)
    start, end = found.strongest()
    assert 30 <= start <= 38 and end - start == 6  # the burst, 40 to 35 steps before the forecast
    fan = attributing.redrawn(values, forecaster, found, 5, 0, "cpu")
    assert fan.shape == (5, 72)
    assert np.array_equal(np.delete(fan, np.s_[start:end], 1)[0], np.delete(found.window, np.s_[start:end]))
    assert np.median(fan[:, start:end]) < found.window[start:end].mean() - 20
    worth = found.shapley[start:end].sum()
    change = found.forecast - np.median(attribution.forecasts(forecaster, fan))
    assert np.sign(change) == np.sign(worth)


def test_only_networks_are_explained():
    forecaster = SeasonalNaiveForecaster().fit(days(10), fh=[1, 2])
    with pytest.raises(TypeError, match="is no network"):
        attribution.attribute(forecaster, days(10).to_numpy())


def test_times_are_told_by_the_clocks_of_the_file(tmp_path, capsys):
    """And a series too short to validate on is explained all the same."""
    path = tmp_path / "views.csv"
    views = days(4)
    views.index = views.index.strftime("%d.%m.%Y %H:%M")
    views.to_csv(path, index_label="time")
    words = ["attribute", str(path), "--max-epochs", "1", "--samples", "0", "--lookback", "48", "--horizon", "40",
             "--time-format", "%d.%m.%Y %H:%M", "--timezone", "Europe/Berlin", "--runs", str(tmp_path)]  # fmt: skip
    assert cli.main([*words, "--json"]) == 0
    assert "(Europe/Berlin)" in json.loads(capsys.readouterr().out)["finding"]
    table = pd.read_csv(tmp_path / "attribute-views-cnn" / "attributions.csv")
    last = pd.to_datetime(views.index[-1], format="%d.%m.%Y %H:%M")
    assert table["time"].iloc[-1].startswith(f"{last:%Y-%m-%d %H:%M}:00+0")


@pytest.mark.slow
def test_the_command_writes_table_and_figure(tmp_path, capsys):
    path = tmp_path / "views.csv"
    days(30).to_csv(path, index_label="time")
    words = ["attribute", str(path), "--max-epochs", "2", "--samples", "3", "--lookback", "72", "--runs", str(tmp_path)]
    assert cli.main([*words, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (
        printed["finding"].startswith("The forecast of views, ") and "What counts most: between" in printed["finding"]
    )
    run = tmp_path / "attribute-views-cnn"
    table = pd.read_csv(run / "attributions.csv")
    difference = printed["metrics"]["forecast/mean"] - printed["metrics"]["forecast/usual"]
    assert len(table) == 72 and table["shapley"].sum() == pytest.approx(difference, rel=1e-3)
    assert (run / "figures" / "forecast-attribution.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--horizon", "0"], "--horizon is 0; give at least 1"), (["--groups", "1"], "--groups is 1; give at least 2"),
        (["--max-epochs", "0"], "--max-epochs is 0; give at least 1"), (["--seed", "-1"], "seed"),
        (["--lookback", "-3"], "--lookback is -3; give at least 1"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_line(words, says, capsys):
    assert cli.main(["attribute", "web-traffic", *words]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
