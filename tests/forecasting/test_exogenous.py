"""What is known ahead: effects against an oracle, switches, words, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from forecasting import exogenous
from forecasting.datasets import web_traffic
from forecasting.exogenous import Effect, calendar
from forecasting.forecaster import CNNForecaster, RidgeForecaster, SeasonalNaiveForecaster
from lab.errors import InputError

QUICK = {"lookback": 48, "max_epochs": 3, "steps_per_epoch": 10, "random_state": 0, "device": "cpu"}
DAY = list(range(1, 25))


def known(rows: int, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    index = pd.date_range("2024-01-01", periods=rows, freq="h", name="time")
    return pd.DataFrame({"sale": random.integers(2, size=rows), "heat": random.normal(20, 5, rows)}, index=index)


def test_effect_is_found():
    """A series that is an autoregression plus 3 in a sale and 2 for each degree: the effect comes out."""
    X, random = known(3000), np.random.default_rng(1)
    rest = np.zeros(3000)
    for step in range(1, 3000):
        rest[step] = 0.9 * rest[step - 1] + random.normal()
    truth = 3.0 * X["sale"] + 2.0 * (X["heat"] - 20) / 5
    values = (truth.to_numpy() + rest)[:, None]
    effect = Effect.fit(X, values, 24, 6, 24, 0.2)
    found = effect(X, np.arange(3000))[:, 0]
    assert np.corrcoef(found, truth)[0, 1] > 0.99
    assert np.std((found - found.mean()) - (truth - truth.mean())) < 0.2


def test_no_effect_is_found_where_there_is_none():
    values = np.random.default_rng(1).normal(size=(2000, 1)).cumsum(axis=0)
    effect = Effect.fit(known(2000), (values - values.mean()) / values.std(), 24, 6, 24, 0.2)
    assert effect is None or np.abs(effect(known(2000), np.arange(2000))).std() < 0.02


def test_an_effect_is_fitted_to_what_comes_before_the_windows_that_choose_its_penalty():
    """100 rows hold 95 windows of 4 + 2 steps: the last 19 choose; the one before them has a step of theirs ahead.

    Of squares, a forecaster of the last value misses (i + 4)^2 - (i + 3)^2 and (i + 5)^2 - (i + 3)^2 in window i.
    """
    squares = np.arange(100.0)[:, None] ** 2
    fitted, held_out = exogenous._errors(squares, np.zeros((2, 4)), 4, 2, 0.2)
    missed = np.array([[2 * i + 7, 4 * i + 16] for i in range(95)])
    assert fitted[:, 0].tolist() == missed[:75].ravel().tolist()
    assert held_out[:, 0].tolist() == missed[76:].ravel().tolist()


def test_an_effect_that_does_not_hold_later_is_none():
    """Where the columns go together and later against each other; with nothing to choose by, a penalty of a tenth."""
    together, against = np.ones((50, 2)), np.tile([1.0, -1.0], (20, 1))
    assert exogenous._weights(together, against, 1).tolist() == [[0.0]]
    assert exogenous._weights(together, against[:0], 1) == pytest.approx(1 / 1.1)


@pytest.mark.parametrize(
    "forecaster", [RidgeForecaster(lookback=168), CNNForecaster(**{**QUICK, "lookback": 168, "skip": True})]
)
def test_knowing_ahead_helps(forecaster):
    """Sales of which neither the season nor the past tells: with X the error falls below a half."""
    X = known(24 * 42)
    series = web_traffic(days=42, bursts=0, noise=0.02) + 400.0 * X["sale"].to_numpy()
    train, test = series.iloc[:-24], series.iloc[-24:]
    blind = forecaster.clone().fit(train, fh=DAY).predict()
    informed = forecaster.clone().fit(train, X=X, fh=DAY)
    assert np.abs(informed.predict(X=X) - test).mean() < 0.5 * np.abs(blind - test).mean()
    bounds = informed.predict_interval(X=X).to_numpy()
    assert ((bounds[:, 0] <= test) & (test <= bounds[:, 1])).mean() > 0.6


def test_a_switch_may_act_by_the_hour():
    """A holiday that costs the day, not the night."""
    index = pd.date_range("2024-01-01", periods=24 * 120, freq="h")
    day = np.clip(np.sin(2 * np.pi * (index.hour - 6) / 24), 0, None)
    holiday = (np.arange(len(index)) // 24) % 10 == 3
    X = pd.DataFrame({"holiday": np.where(holiday, "yes", "no")}, index)
    series = pd.Series(day * np.where(holiday, 0.2, 1.0), index)
    cut = 24 * 113  # day 113 is a holiday
    made = RidgeForecaster(lookback=48).fit(series.iloc[:cut], X=X, fh=DAY).predict(X=X)
    blind = RidgeForecaster(lookback=48).fit(series.iloc[:cut], fh=DAY).predict()
    truth = series.iloc[cut : cut + 24]
    assert np.abs(made - truth).mean() < 0.35 * np.abs(blind - truth).mean()


def test_words_rare_words_and_what_never_changes():
    words = pd.Series(["sun"] * 60 + ["rain"] * 38 + ["hail", "snow"])
    X = pd.DataFrame({"sky": words, "same": 1.0})
    effect = Effect.fit(X, np.random.default_rng(0).normal(size=(100, 1)), 2, 1, 1, 0.0)
    assert [column["name"] for column in effect.columns] == ["sky"]
    assert effect.columns[0]["levels"] == ["rain"] and effect.columns[0]["rare"]
    asked = pd.DataFrame({"sky": ["sun", "rain", "hail", "fog"]})
    assert effect.features(asked, np.arange(4)).tolist() == [[0, 0], [1, 0], [0, 1], [0, 1]]
    assert Effect.fit(X[["same"]], np.zeros((100, 1)), 2, 1, 1, 0.0) is None


def test_phase_of_switches_goes_on_after_update():
    X = known(24 * 30 + 24)
    series = web_traffic(days=30) + 400.0 * X["sale"].to_numpy()[: 24 * 30] * (X.index.hour < 12)[: 24 * 30]
    whole = RidgeForecaster(lookback=48).fit(series.iloc[: 24 * 20], X=X, fh=DAY)
    whole.update(series.iloc[24 * 20 : 24 * 20 + 7], X=X, update_params=False)
    position = 24 * 20 + 7
    effect = whole.effect_(X.iloc[position : position + 24], np.arange(position, position + 24)) * whole.scale_
    without = X.assign(sale=0).iloc[position : position + 24]
    none = whole.effect_(without, np.arange(position, position + 24)) * whole.scale_
    difference = whole.predict(X=X) - whole.predict(X=pd.concat([X.iloc[:position], without]))
    np.testing.assert_allclose(difference, (effect - none)[:, 0], atol=1e-9)


def test_the_effect_is_taken_off_the_window():
    """What the forecaster sees of the past, and the effect on it, make up the past."""
    X = known(24 * 20)
    series = web_traffic(days=20) + 400.0 * X["sale"].to_numpy()
    fitted = RidgeForecaster(lookback=48).fit(series.iloc[:-24], X=X, fh=[1])
    fitted.update(series.iloc[-24:], X=X, update_params=False)
    rows = np.arange(24 * 20 - 48, 24 * 20)
    seen = fitted._values(48) + fitted.effect_(X.iloc[rows], rows)
    np.testing.assert_allclose((seen * fitted.scale_ + fitted.mean_)[:, 0], series.iloc[rows])
    assert fitted.effect_(X.iloc[rows], rows).std() > 0.1


def test_what_is_missing_is_named():
    X = known(24 * 20 + 24)
    series = web_traffic(days=20) + 400.0 * X["sale"].to_numpy()[: 24 * 20]
    fitted = RidgeForecaster(lookback=48).fit(series, X=X, fh=[1, 3])
    with pytest.raises(InputError, match="predict needs X at the steps forecast"):
        fitted.predict()
    with pytest.raises(InputError, match="X has no row for 2024-01-21 02:00:00, which is forecast"):
        fitted.predict(X=X.iloc[: 24 * 20 + 1])
    with pytest.raises(InputError, match="unknown exogenous column 'heat'; did you mean hat"):
        fitted.predict(X=X.rename(columns={"heat": "hat"}))
    with pytest.raises(InputError, match="update needs X"):
        fitted.update(series.iloc[-1:], update_params=False)
    with pytest.raises(InputError, match="'heat' held numbers at fit"):
        fitted.predict(X=X.assign(heat="warm"))
    naive = SeasonalNaiveForecaster().fit(series, X=X, fh=[1])
    assert naive.predict().iloc[0] == series.iloc[-24]  # the floor looks at the past alone


def test_calendar():
    made = calendar(pd.date_range("2024-12-24 22:00", periods=4, freq="h", tz="Europe/Berlin"), ["2024-12-25"])
    assert made["weekday"].tolist() == ["Tuesday", "Tuesday", "Wednesday", "Wednesday"]
    assert made["holiday"].tolist() == [0, 0, 1, 1]
    aware = pd.Timestamp("2024-12-25 08:00", tz="Europe/Berlin")
    assert calendar(made.index, [aware])["holiday"].tolist() == [0, 0, 1, 1]
    weeks = pd.period_range("2024-04-22", periods=3, freq="W")
    assert calendar(weeks, ["2024-05-01", "2024-05-12"])["holiday"].tolist() == [0, 1, 1]
    assert calendar(weeks, ["2024-04-21", "2024-05-13"])["holiday"].tolist() == [0, 0, 0]
    assert calendar(pd.period_range("2024-01-01", periods=2, freq="D"))["weekday"].tolist() == ["Monday", "Tuesday"]
