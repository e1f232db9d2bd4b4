"""Numbers and ticks of the pages: as many digits as tell them apart."""

import numpy as np
import pandas as pd

from forecasting import svg


def test_digits_follow_what_is_to_be_told_apart():
    assert svg.short(np.array([1.23456789, np.nan, 0.5])) == [1.23457, None, 0.5]
    far = svg.short(1e9 + np.array([0.0, 0.25, 1.0]))
    assert np.ptp(far) == 1 and abs(far[1] - far[0] - 0.25) < 1e-4
    assert svg.short([5.0, 5.0]) == [5.0, 5.0]
    assert svg.number(1000.07, 0.13) == "1,000.07" and svg.number(1566.0, 122.0) == "1,566"
    assert svg.number(9999.7) == "10,000" and svg.number(2.5e9 + 0.5) == "2,500,000,000"  # no exponent


def test_samples_by_the_million_are_written_out():
    assert [tick["text"] for tick in svg.x_ticks(pd.RangeIndex(2_000_001))][-2:] == ["1,600,000", "2,000,000"]


def test_ticks_differ():
    for low, high in ((0.0, 7.0), (1e9, 1e9 + 2), (-1e-9, 1e-9), (999.9, 1000.1)):
        texts = [tick["text"] for tick in svg.y_ticks(low, high)]
        assert len(set(texts)) == len(texts) > 2


def test_every_range_of_dates_has_an_interval(recwarn):
    for hours in (30, 72, 80, 95, 120, 24 * 60, 24 * 89, 24 * 1000):
        assert len(svg.x_ticks(pd.date_range("2024-01-01", periods=hours, freq="h"))) >= 2
    assert not recwarn.list
