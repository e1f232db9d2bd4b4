"""The period against series whose period is known, autocorrelation against its definition."""

import numpy as np
import pytest

from forecasting.anomaly import period


def test_autocorrelation_is_the_unbiased_sum():
    x = np.array([1.0, 4.0, -2.0, 3.0, 0.5])
    c = x - x.mean()
    want = [np.dot(c[: 5 - lag], c[lag:]) / (5 - lag) for lag in range(4)]
    assert np.allclose(period.autocorrelation(x, 3), np.array(want) / want[0])


def test_moving_average_by_hand():
    assert np.allclose(period.moving_average(np.array([1.0, 2, 3, 4, 9]), 3), [1.5, 2, 3, 16 / 3, 6.5])


@pytest.mark.parametrize("length", [7, 24, 50, 150])
def test_finds_the_period_under_noise_and_trend(length):
    t = np.arange(12 * length)
    noise = np.random.default_rng(1).normal(0, 0.3, len(t))
    found = period.estimate(np.sin(2 * np.pi * t / length) + noise + 0.5 * t / len(t))
    assert found is not None
    assert abs(found - length) <= max(1, 0.03 * length)


def test_noise_and_constants_have_no_period():
    assert period.estimate(np.full(300, 5.0)) is None
    assert period.estimate(np.random.default_rng(0).normal(size=2000)) is None
    assert period.estimate(np.arange(5.0)) is None


@pytest.mark.parametrize(
    ("unit", "level", "slope"), [(1e-9, 0, 0), (1e-9, 5, 0), (1, 1e9, 0), (1, 100, 0.5), (1e6, 0, 3)]
)
def test_the_unit_the_level_and_a_trend_do_not_matter(unit, level, slope):
    t = np.arange(1400)
    noise = np.random.default_rng(0).normal(0, 0.1, len(t))
    assert period.estimate(unit * (level + slope * t + np.sin(2 * np.pi * t / 24) + noise)) == 24


def test_cycle_is_the_week_above_the_day():
    hours = np.arange(24 * 70)
    day = np.sin(2 * np.pi * hours / 24)
    assert period.cycle(day * np.where(hours // 24 % 7 >= 5, 0.3, 1.0), 24) == 168
    assert period.cycle(day, 24) == 24
