"""The UCR rule by hand, VUS-PR against the implementation of aeon."""

import numpy as np
import pytest

from forecasting.anomaly import metrics

T = np.arange(400)
PROBLEMS = {
    "one anomaly": ([(150, 180)], np.sin(T * 0.37) + (np.abs(T - 170) < 9) * 1.5),
    "four, at both ends, slopes that meet": (
        [(0, 12), (200, 201), (215, 240), (390, 400)],
        np.cos(T * 0.11) + np.sin(T * 1.7),
    ),
    "ties": ([(60, 90), (95, 110)], np.round(np.sin(T * 0.05), 1)),
}
# range_pr_vus_score(labels, scores, buffer) of aeon 1.6.0 for buffers 0, 1 and 25
AEON = {
    "one anomaly": (0.4772982748289283, 0.4772982748289283, 0.44096711528825766),
    "four, at both ends, slopes that meet": (0.21644675179949271, 0.21644675179949271, 0.256270170501045),
    "ties": (0.07297343421101606, 0.07297343421101606, 0.08412899756896519),
}


def test_the_ucr_rule_by_hand():
    short, long = (1000, 1010), (1000, 1300)
    assert [metrics.ucr_hit(at, short) for at in (899, 900, 1005, 1109, 1110)] == [False, True, True, True, False]
    assert [metrics.ucr_hit(at, long) for at in (699, 700, 1599, 1600)] == [False, True, True, False]


@pytest.mark.parametrize("name", PROBLEMS)
def test_vus_pr_is_what_aeon_says(name):
    intervals, scores = PROBLEMS[name]
    labels = metrics.flags(intervals, len(scores))
    got = [metrics.vus_pr(labels, scores, most) for most in (0, 1, 25)]
    assert got == pytest.approx(AEON[name], abs=1e-12)


def test_vus_pr_against_aeon_itself_on_random_series():
    reason = (
        "aeon is not installed; its bound on numba excludes the numpy that is tested here, so: "
        "pip install --no-deps aeon Deprecated"
    )
    oracle = pytest.importorskip("aeon.benchmarking.metrics.anomaly_detection", reason=reason)
    random = np.random.default_rng(0)
    for _ in range(20):
        length = int(random.integers(60, 400))
        labels = np.zeros(length, bool)
        for _ in range(int(random.integers(1, 5))):
            start = int(random.integers(0, length - 1))
            labels[start : start + int(random.integers(1, 30))] = True
        scores = random.normal(size=length) + labels * random.uniform(0, 3)
        if random.random() < 0.3:
            scores = scores.round(1)
        most = int(random.integers(0, 40))
        assert metrics.vus_pr(labels, scores, most) == pytest.approx(
            oracle.range_pr_vus_score(labels.astype(int), scores, most), abs=1e-12
        )


def test_slopes_by_hand():
    labels = metrics.flags([(4, 6)], 10)
    slope = np.sqrt([1 - 2 / 5, 1 - 1 / 5])  # a buffer of 5: slopes of two samples before, of one after
    assert metrics.widened(labels, 5) == pytest.approx([0, 0, *slope, 1, 1, slope[1], 0, 0, 0])
    assert metrics.widened(labels, 1).tolist() == labels.tolist()


def test_a_perfect_score_is_one_and_a_constant_one_is_nothing():
    labels = metrics.flags([(500, 600)], 1000)
    assert metrics.vus_pr(labels, labels.astype(float), 0) == pytest.approx(1)
    assert metrics.vus_pr(labels, np.ones(1000), 50) == 0
    noise = np.random.default_rng(0).normal(size=1000)
    assert metrics.vus_pr(labels, noise, 0) == pytest.approx(0.1, abs=0.04)  # the share of labelled samples


def test_vus_pr_refuses_what_cannot_be_judged():
    with pytest.raises(ValueError, match="both kinds"):
        metrics.vus_pr(np.zeros(9, bool), np.arange(9.0), 2)
    with pytest.raises(ValueError, match="finite"):
        metrics.vus_pr(np.arange(9) > 5, np.full(9, np.nan), 2)
