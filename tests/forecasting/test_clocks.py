"""Series on the clocks of a place (forecasting.clocks), around the nights in which these change."""

import numpy as np
import pandas as pd
import pytest

from forecasting import benchmark
from forecasting.clocks import Clocks, extended, shown, spoken
from lab.errors import InputError
from lab.run import Run

ZONE = "Europe/Berlin"


def series_around(start: str, step: str = "h", days: int = 6) -> pd.Series:
    index = pd.date_range(start, periods=days * 24 * (4 if step == "15min" else 1), freq=step)
    series = pd.Series(np.arange(len(index), dtype=float), index, name="views")
    series.attrs["zone"] = ZONE
    return series


@pytest.mark.parametrize(
    ("index", "steps", "said"),
    [
        (pd.date_range("2024-01-01", periods=9, freq="h"), 24, "24 hours"),
        (pd.date_range("2024-01-01", periods=9, freq="h"), 1, "1 hour"),
        (pd.date_range("2024-01-01", periods=9, freq="15min"), 96, "96 steps of 15 minutes"),
        (pd.date_range("2024-01-01", periods=9, freq="15min"), 1, "1 step of 15 minutes"),
        (pd.date_range("2024-01-01", periods=9, freq="500ms"), 5, "5 steps"),
        (pd.bdate_range("2024-01-01", periods=9), 5, "5 business days"),
        (pd.date_range("2024-01-01", periods=9, freq="W-MON"), 2, "2 weeks"),
        (pd.period_range("2024-01", periods=9, freq="M"), 12, "12 months"),
        (pd.period_range("2024", periods=9, freq="Y"), 3, "3 years"),
        (pd.RangeIndex(9), 6, "6 steps"),
    ],
)
def test_steps_in_words(index, steps, said):
    assert spoken(index, steps) == said


@pytest.mark.parametrize("start", ["2024-03-29", "2024-10-25"])
@pytest.mark.parametrize("step", ["h", "15min"])
def test_every_step_ahead_is_the_time_that_clocks_show(start, step):
    series = series_around(start, step)
    horizon = 12
    clock = Clocks.of(series)
    index = extended(series.index, horizon)
    for end in range(20, len(series) + 1):
        seen = clock.seen(series[:end])
        assert seen.index.freqstr == step and not seen.isna().any()
        ahead = index[end : end + horizon]
        steps = clock.steps(index[:end], ahead)
        found = extended(seen.index, int(steps.max()))[len(seen) - 1 + steps]
        beyond = shown(ahead, ZONE) > seen.index[-1]  # not so in the hour that comes twice
        assert list(found[beyond]) == list(shown(ahead, ZONE)[beyond])
        assert (steps[~beyond] == 1).all()


@pytest.mark.parametrize(("start", "steps"), [("2024-03-29", [0.5, 0.5]), ("2024-10-25", [1.5, 1.5])])
def test_the_hour_twice_is_the_mean_and_the_one_skipped_lies_between(start, steps):
    series = series_around(start)
    seen = Clocks(ZONE).seen(series)
    hour = seen.index.get_loc(pd.Timestamp(start).normalize() + pd.Timedelta(days=2, hours=2))
    assert seen.iloc[hour - 1 : hour + 2].diff().dropna().tolist() == steps
    words = pd.DataFrame({"day": ["mon"] * len(series), "rain": series}, series.index)
    seen = Clocks(ZONE).seen(words, extra=2)
    assert (seen["day"] == "mon").all() and seen["rain"].iloc[-3:].nunique() == 1


def test_times_that_the_clocks_skipped_lie_on_the_line_between():
    """Between 01:45, where 10 was, and 03:00, where 20 is: 12, 14, 16 and 18. What was there is not skipped."""
    night = pd.Timestamp("2024-03-31")
    later = pd.Series([20.0, 21.0], pd.date_range(night + pd.Timedelta(hours=3), periods=2, freq="15min"), name="views")
    whole = Clocks(ZONE, 4).joined(10.0, night + pd.Timedelta(hours=1, minutes=45), later)
    assert whole.tolist() == [12, 14, 16, 18, 20, 21] and whole.index[0] == night + pd.Timedelta(hours=2)
    assert whole.index.freqstr == "15min" and whole.name == "views"
    shifted = later.set_axis(later.index + pd.Timedelta(days=1))
    assert Clocks(ZONE, 4).joined(10.0, night + pd.Timedelta(days=1, hours=1, minutes=45), shifted) is shifted


def test_a_step_that_a_change_of_clocks_would_break_stays_in_utc():
    series = pd.Series(1.0, pd.date_range("2024-03-29", periods=20, freq="6h"))
    series.attrs["zone"] = ZONE
    assert Clocks.of(series) == Clocks()
    assert Clocks().seen(series) is series


@pytest.mark.parametrize("start", ["2024-03-25", "2024-10-21"])
def test_origins_on_either_side_of_a_change_see_the_same_clock(start, tmp_path):
    """Hour by hour over the night: yesterday's same hour, by the clock, whether shown row by row or fitted at once."""
    index = pd.date_range(start, periods=24 * 8, freq="h", tz=ZONE)
    values = 100.0 * index.dayofyear + index.hour
    series = pd.Series(values.to_numpy(float), index.tz_convert("UTC").tz_localize(None), name="views")
    series.attrs["zone"] = ZONE
    with Run.open(tmp_path, "clocks", {}) as run:
        benchmark.compare(series, 1, run, ["seasonal-naive"], origins=60)
        made = pd.read_csv(run.path / "backtest.csv")
    there = pd.to_datetime(made["time"], utc=True).dt.tz_convert(ZONE)
    yesterday = 100.0 * (there.dt.dayofyear - 1) + there.dt.hour
    # the hours that are a mean or lie between, and whatever has one of them for its yesterday
    odd = ((there.dt.hour == 2) | ((there.dt.hour == 3) & (there.dt.day == 27))) & there.dt.day.isin([27, 28, 31, 1])
    assert odd.sum() < 6 and len(made) == 60
    np.testing.assert_array_equal(made["forecast"][~odd], yesterday[~odd])


@pytest.mark.filterwarnings("ignore:no model beats:lab.errors.Notice")
@pytest.mark.parametrize("start", ["2024-03-30", "2024-10-26"])
def test_what_is_said_to_be_enough_rows_is_enough(start, tmp_path):
    """Also where the change of clocks lies within them."""
    series = series_around(start, days=3)[:50]
    series += np.random.default_rng(0).normal(size=50)
    with pytest.raises(InputError, match=r"held out \+ 2 for a change of clocks = 96; give more rows, or") as error:
        benchmark.settle(series, 10, ["linear"], 64, origins=2)
    assert "--backtest 1 --lookback 28, which" in str(error.value)
    with Run.open(tmp_path, "clocks", {}) as run:
        table = benchmark.compare(series, 10, run, ["linear"], 28, origins=1)
    assert len(table) == 2 and len(pd.read_csv(run.path / "forecast.csv")) == 20
