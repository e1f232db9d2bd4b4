import numpy as np
import pytest
from scipy.stats import trim_mean

from lab import stats


def test_iqm_is_scipys_quarter_trimmed_mean():
    values = np.random.default_rng(0).normal(size=(7, 22))
    assert stats.iqm(values) == pytest.approx(trim_mean(values, 0.25, axis=1))
    assert stats.iqm(np.array([0, 1, 2, 100])) == 1.5


def test_human_normalised_pong():
    assert stats.human_normalised(-20.7, -20.7, 14.6) == 0
    assert stats.human_normalised(18.9, -20.7, 14.6) == pytest.approx(112.18, abs=0.01)


def test_bootstrap_covers_the_mean_about_as_often_as_it_says():
    random = np.random.default_rng(1)
    intervals = [stats.bootstrap(random.normal(size=30), np.mean, draws=500) for _ in range(300)]
    covered = np.mean([low <= 0 <= high for low, high in intervals])
    assert 0.90 < covered < 0.98
    assert stats.bootstrap([1.0]) == (-np.inf, np.inf)


def test_proportion_interval_by_the_table():
    assert stats.proportion(5, 10) == pytest.approx((0.1871, 0.8129), abs=1e-4)  # Clopper and Pearson (1934)
    assert stats.proportion(10, 10)[1] == 1
