"""Metro traffic: the published file's traps, each mended as said."""

import os

import numpy as np
import pandas as pd
import pytest

from forecasting import datasets, metro

pytestmark = pytest.mark.skipif(
    "LAB_DATA" not in os.environ, reason="needs the data files: set LAB_DATA to their folder"
)


@pytest.fixture(scope="module")
def series():
    return datasets.load("metro-traffic", fill="interpolate")


@pytest.fixture(scope="module")
def raw():
    table = pd.read_csv(metro.locate(metro.FILE), parse_dates=["date_time"], keep_default_na=False)
    return table[table["date_time"] >= metro.SINCE]


def test_every_hour_once_and_as_in_the_file(series, raw):
    assert len(series) == 25_584 and datasets.season(series) == 24
    once = raw.drop_duplicates("date_time").set_index("date_time")["traffic_volume"]
    assert (series[once.index] == once).all()
    gaps = once.index.to_series().diff().max()
    assert gaps <= pd.Timedelta(hours=10)


def test_weather_is_the_files_and_holidays_last_all_day(series, raw):
    known = metro.known(series, 24)
    assert len(known) == len(series) + 24 and not known.isna().any().any()
    assert known.index[-1] - series.index[-1] == pd.Timedelta(days=1)
    reported = raw.groupby("date_time")[list(metro.WEATHER)].mean()
    for name in metro.WEATHER:
        own = reported[name][(reported["temp"] > 0) & (reported["rain_1h"] < metro.MOST_RAIN)]
        assert np.allclose(known.loc[own.index, name], own)
    christmas = known.loc["2017-12-25", "holiday"]
    assert len(christmas) == 24 and (christmas == 1).all() and (known.loc["2017-12-26", "holiday"] == 0).all()


def test_readings_that_cannot_be_are_left_out():
    hours = pd.Series(0.0, pd.date_range("2016-07-11", periods=24, freq="h"))
    assert metro.known(hours, 1)["rain_1h"].max() < metro.MOST_RAIN  # 9,831 mm in the file
    early = pd.Series(0.0, pd.date_range("2014-01-31", periods=72, freq="h"))
    assert metro.known(early, 1)["temp"].min() > 200  # 0 K in the file
