"""The sentence about an anomaly says what was put in, with the right numbers."""

import numpy as np
import pandas as pd
import pytest

from forecasting.anomaly.words import amounts, numbers, sentence

HOURS = pd.date_range("2024-05-01", periods=96, freq="h")
DAY = 1000 + 400 * np.sin(2 * np.pi * (np.arange(24) - 3) / 24)  # highest at 09:00
WEEK = np.tile(DAY, 4)


def said(change, start=51, end=64, index=HOURS, unit="views"):
    """What is said of [start, end), where `change` replaces WEEK; 3 May, 03:00 to 15:00 if left out."""
    usual = WEEK[start:end]
    noise = np.random.default_rng(0).normal(0, 20, (20, end - start))
    return sentence(index, start, change(usual.copy()), usual + noise, 300.0, unit)


def spiked(part):
    part[4] = 3000
    return part


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda part: 0.54 * part,
         "Between 03:00 and 15:00 on 3 May 2024: views 46 % below what is usual (6"),
        (lambda part: 0 * part + 700, "stays near 700 where"),
        (spiked, "Between 03:00 and 15:00 on 3 May 2024: a spike to 3,000 at 07:00, where 1,3"),
        (lambda part: np.minimum(part, 1080 + 30 * (np.arange(13) % 4)), "the usual morning peak (1,39"),
    ],
)  # fmt: skip
def test_the_sentence_names_what_was_changed(change, says):
    assert says in said(change)


def test_an_outage_also_misses_the_peak():
    assert "the usual morning peak (1," in said(lambda part: 0.3 * part)


def test_a_peak_on_another_level_is_not_missing():
    assert "missing" not in said(lambda part: 0.5 * part)
    assert "missing" not in said(lambda part: part - 600)


def test_other_clocks():
    daily = pd.period_range("2024-01-01", periods=96, freq="D")
    assert said(lambda part: 2 * part, 40, 44, daily).startswith(
        "From 10 February 2024 to 13 February 2024: views 99 % above"
    )
    seconds = pd.Index(np.arange(96) / 4, name="seconds")
    assert said(lambda part: 2 * part, 40, 44, seconds).startswith("Between 10 and 10.75 seconds: ")
    assert said(lambda part: 2 * part, 40, 44, pd.RangeIndex(96)).startswith("Between samples 40 and 43: ")
    assert said(lambda part: 2 * part, 44, 52).startswith("Between 20:00 on 2 May and 03:00 on 3 May 2024: ")


def test_no_percentage_where_what_was_there_is_below_zero():
    assert "views 1,999 below what is usual (-766 instead" in said(lambda part: part - 2000)


def test_no_percentage_of_what_may_be_zero():
    paths = np.array([[-1.0, 1.0, 0.5], [-1.1, 1.1, 0.4]])
    assert numbers(np.array([5.0, 6, 7]), paths).percent is None
    assert "volt 5.8" in sentence(pd.RangeIndex(3), 0, np.array([5.0, 6, 7]), paths, 1.0, "volt")


def test_numbers_by_hand():
    found = numbers(np.array([1.0, 9.0]), np.array([[1.0, 2.0], [3.0, 4.0], [2.0, 3.0]]))
    assert (found.mean, found.usual_mean, found.percent) == (5, 2.5, 100)
    assert (found.off, found.outside, found.most, found.most_usual) == (3.5, 0.5, 1, 3)


def test_what_lies_close_together_is_told_apart():
    assert amounts(1566.2, 1444.1) == ["1,566", "1,444"]
    assert amounts(1000.07, 999.94) == ["1,000.07", "999.94"]
    assert amounts(0.738, -0.561) == ["0.738", "-0.561"]
    assert amounts(1e9 + 0.74, 1e9 - 0.54) == ["1,000,000,000.7", "999,999,999.5"]
    assert amounts(12.31, 12.34) == ["12.310", "12.340"]
    assert amounts(5.0, 5.0) == ["5", "5"]


def test_moments_are_as_fine_as_the_steps_and_name_the_day_where_there_are_several():
    fine = pd.date_range("2024-05-01", periods=96, freq="s")
    assert said(lambda part: 2 * part, 40, 44, fine).startswith("Between 00:00:40 and 00:00:43 on 1 May 2024: ")
    finer = pd.date_range("2024-05-01", periods=96, freq="10ms")
    assert said(lambda part: 2 * part, 40, 44, finer).startswith("Between 00:00:00.400 and 00:00:00.430 on ")
    assert said(spiked, 40, 80).endswith("a spike to 3,000 at 20:00 on 2 May, where 619 is usual.")
    new_year = pd.date_range("2023-12-30", periods=96, freq="h")
    assert said(lambda part: 2 * part, 44, 52, new_year).startswith(
        "Between 20:00 on 31 December 2023 and 03:00 on 1 J"
    )


def test_months_are_told_as_months_and_one_sample_as_one():
    months = pd.period_range("2016-01", periods=96, freq="M")
    assert said(lambda part: 2 * part, 40, 44, months).startswith("From May 2019 to August 2019: ")
    assert said(lambda part: 2 * part, 40, 41, months).startswith("In May 2019: ")
    assert said(lambda part: 2 * part, 40, 41, pd.RangeIndex(96)).startswith("At sample 40: ")
    assert said(lambda part: 2 * part, 40, 41).startswith("At 16:00 on 2 May 2024: ")


def test_days_are_on_and_months_in():
    values, paths = np.full(12, 10.0), np.full((5, 12), 10.0) + np.linspace(-0.1, 0.1, 5)[:, None]
    values[7] = 60.0
    for index, says in (
        (pd.date_range("2024-05-01", periods=30, freq="D"), "a spike to 60 on 10 May 2024, where 10 is usual"),
        (pd.period_range("2024-01", periods=30, freq="M"), "a spike to 60 in October 2024, where 10 is usual"),
        (pd.date_range("2024-05-01", periods=30, freq="h"), "a spike to 60 at 09:00, where 10 is usual"),
    ):
        assert says in sentence(index, 2, values, paths, 5.0, "load")
