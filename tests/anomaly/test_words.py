"""The sentence about an anomaly says what was put in, with the right numbers."""

import numpy as np
import pandas as pd
import pytest

from forecasting.anomaly.words import numbers, sentence

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
    assert "the usual morning peak (1," in said(lambda part: 0.4 * part)


def test_other_clocks():
    daily = pd.period_range("2024-01-01", periods=96, freq="D")
    assert said(lambda part: 2 * part, 40, 44, daily).startswith(
        "From 10 February 2024 to 13 February 2024: views 99 % above"
    )
    seconds = pd.Index(np.arange(96) / 4, name="seconds")
    assert said(lambda part: 2 * part, 40, 44, seconds).startswith("Between 10 and 10.75 seconds: ")
    assert said(lambda part: 2 * part, 40, 44, pd.RangeIndex(96)).startswith("Between samples 40 and 43: ")
    assert said(lambda part: 2 * part, 44, 52).startswith("Between 20:00 on 2 May and 03:00 on 3 May 2024: ")


def test_no_percentage_of_what_may_be_zero():
    paths = np.array([[-1.0, 1.0, 0.5], [-1.1, 1.1, 0.4]])
    assert numbers(np.array([5.0, 6, 7]), paths).percent is None
    assert "volt 5.8" in sentence(pd.RangeIndex(3), 0, np.array([5.0, 6, 7]), paths, 1.0, "volt")


def test_numbers_by_hand():
    found = numbers(np.array([1.0, 9.0]), np.array([[1.0, 2.0], [3.0, 4.0], [2.0, 3.0]]))
    assert (found.mean, found.usual_mean, found.percent) == (5, 2.5, 100)
    assert (found.off, found.outside, found.most, found.most_usual) == (3.5, 0.5, 1, 3)
