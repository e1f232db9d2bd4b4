import itertools

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, permutation_test, trim_mean, ttest_1samp

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


@pytest.mark.parametrize(("count", "statistic"), [(2, np.mean), (3, np.mean), (8, np.mean), (3, np.median)])
def test_of_few_values_noise_is_told_from_zero_as_seldom_as_it_should_be(count, statistic):
    """In 5 % of cases; by the bootstrap alone in 50, 25 and 11 % of means, and 25 % of medians."""
    random = np.random.default_rng(0)
    intervals = np.array([stats.bootstrap(random.normal(size=count), statistic) for _ in range(1000)])
    assert 0.03 < ((intervals[:, 0] > 0) | (intervals[:, 1] < 0)).mean() < 0.07


def test_the_interval_of_few_values_is_scipys():
    values = np.array([1.0, 2.0, 5.0, 7.0])
    low, high = ttest_1samp(values, 0).confidence_interval()
    assert stats.bootstrap(values, np.mean) == pytest.approx((low, high))


@pytest.mark.parametrize(
    ("count", "statistic", "students"),
    [(19, np.mean, True), (20, np.mean, False), (4, np.median, True), (5, np.median, False)],
)
def test_values_are_few_below_20_for_a_mean_and_below_5_for_a_median(count, statistic, students):
    values = np.random.default_rng(2).exponential(size=count)
    (low, high), few = stats.bootstrap(values, statistic), ttest_1samp(values, 0).confidence_interval()
    assert (high - low == pytest.approx(few.high - few.low)) == students


def test_proportion_interval_by_the_table():
    assert stats.proportion(5, 10) == pytest.approx((0.1871, 0.8129), abs=1e-4)  # Clopper and Pearson (1934)
    assert stats.proportion(10, 10)[1] == 1


# --- over the seeds of several tasks --------------------------------------------------------------------------------


def test_aggregates_by_hand():
    """Task means 1, 10, 6; of 0 2 4 6 8 10 the IQM drops one at either end."""
    tasks = [[0, 2], [10], [4, 6, 8]]
    assert stats.aggregate(tasks, "mean").value == pytest.approx(17 / 3)
    assert stats.aggregate(tasks, "median").value == 6
    assert stats.aggregate(tasks, "iqm").value == 5


def test_iqm_of_a_matrix_is_scipys_over_all_runs_and_tasks():
    matrix = np.random.default_rng(3).normal(size=(5, 8))  # (runs, tasks)
    assert stats.aggregate(matrix.T).value == pytest.approx(trim_mean(matrix, 0.25, axis=None))


def every_resample(task):
    return [np.array(each, float) for each in itertools.product(task, repeat=len(task))]


def assert_is_interval_of(found, values):
    """`found` are the 2.5 % and 97.5 % points of equally likely values, but for the chance of 40,000 draws."""
    least, most = np.quantile(values, [[0.022, 0.972], [0.028, 0.978]], method="inverted_cdf")
    assert (least - 1e-9 <= found).all() and (found <= most + 1e-9).all()


@pytest.mark.parametrize("by", ["mean", "median", "iqm"])
def test_stratified_bootstrap_against_every_resample_there_is(by):
    tasks = [[0, 1, 5, 9], [20, 26, 23]]
    reduce = {
        "mean": lambda a, b: (a.mean() + b.mean()) / 2,
        "median": lambda a, b: np.median([a.mean(), b.mean()]),
        "iqm": lambda a, b: trim_mean(np.concatenate([a, b]), 0.25),
    }[by]
    exact = [reduce(a, b) for a in every_resample(tasks[0]) for b in every_resample(tasks[1])]  # 256 x 27
    assert_is_interval_of(stats.aggregate(tasks, by, draws=40_000)[1:], exact)


def test_tasks_are_strata():
    """Runs that agree leave no chance, however far their tasks lie apart; runs never change tasks."""
    assert stats.aggregate([[1, 1, 1], [50, 50], [90, 90]], "mean") == (47, 47, 47)


def test_one_run_of_a_task_has_no_spread_to_tell():
    assert stats.aggregate([[1, 2, 3], [4]])[1:] == (-np.inf, np.inf)
    assert stats.probability_of_improvement([[1, 2]], [[0]]) == (1, -np.inf, np.inf)
    low, high = stats.band(np.ones((1, 4)))
    assert low.tolist() == [-np.inf] * 4 and high.tolist() == [np.inf] * 4


@pytest.mark.parametrize("scores", [[], [[1], []], [[[1, 2]]]])
def test_scores_that_are_no_runs_of_tasks_are_refused(scores):
    with pytest.raises(ValueError, match="one array of runs per task"):
        stats.aggregate(scores)


def test_stratified_interval_covers_the_mean_about_as_often_as_it_says():
    random = np.random.default_rng(5)
    truth = np.array([0.0, 10.0, 40.0])
    intervals = [stats.aggregate(random.normal(truth, size=(12, 3)).T, "mean", draws=400) for _ in range(300)]
    covered = np.mean([each.low <= truth.mean() <= each.high for each in intervals])
    assert 0.88 < covered < 0.98


def test_probability_of_improvement_by_hand():
    """1 against 2, 3 loses twice; each 3 wins once and ties once: 3 of 6. On the second task all is won: mean 3/4."""
    assert stats.probability_of_improvement([[1, 3, 3]], [[2, 3]]).value == 0.5
    assert stats.probability_of_improvement([[1, 3, 3], [5, 6]], [[2, 3], [1, 2, 3]]).value == 0.75
    assert stats.probability_of_improvement([[5, 6]], [[1, 2]]) == (1, 1, 1)


def test_probability_of_improvement_is_mann_whitneys_u():
    random = np.random.default_rng(6)
    ours, theirs = random.integers(0, 9, 13), random.integers(0, 8, 11)
    expected = mannwhitneyu(ours, theirs).statistic / (13 * 11)
    assert stats.probability_of_improvement([ours], [theirs]).value == pytest.approx(expected)


def test_interval_of_improvement_against_every_resample_there_is():
    ours, theirs = [[1, 4, 6], [2, 3]], [[0, 3, 5], [1, 9]]
    share = [
        [(np.subtract.outer(a, b) > 0).mean() for a in every_resample(x) for b in every_resample(y)]
        for x, y in zip(ours, theirs, strict=True)
    ]
    exact = [(first + second) / 2 for first in share[0] for second in share[1]]  # no ties in these
    assert_is_interval_of(stats.probability_of_improvement(ours, theirs, draws=40_000)[1:], exact)


def test_chance_is_mann_whitneys_exact_test():
    random = np.random.default_rng(7)
    for ours, theirs in ((3, 3), (4, 4), (5, 7)):
        a, b = random.normal(size=ours), random.normal(0.8, size=theirs)
        assert stats.chance([a], [b]) == pytest.approx(mannwhitneyu(a, b, method="exact").pvalue)
    assert stats.chance([[1, 2, 3]], [[4, 5, 6]]) == pytest.approx(2 / 20)
    assert stats.chance([[4, 5, 6, 7]], [[0, 1, 2, 3]]) == pytest.approx(2 / 70)
    assert stats.chance([[1, 1, 1]], [[1, 1]]) == 1


def test_chance_never_shares_runs_out_over_tasks():
    """Two against two on each of three tasks: 6 x 6 x 6 ways, of which the one found and its mirror lie so far."""
    tasks = np.array([[0.0, 1.0], [50.0, 51.0], [90.0, 91.0]])
    assert stats.chance(tasks + 2, tasks) == pytest.approx(2 / 216)
    assert stats.chance([[3, 4], [1, 2]], [[1, 2], [3, 4]]) == 1  # as far ahead on one as behind on the other


def test_chance_of_many_runs_is_drawn_and_near_scipys():
    random = np.random.default_rng(8)
    ours, theirs = random.integers(0, 9, 14), random.integers(2, 12, 13)  # with ties

    def share(a, b):
        return np.sign(np.subtract.outer(a, b)).mean()

    expected = permutation_test((ours, theirs), share, n_resamples=5_000, rng=random)
    assert stats.chance([ours], [theirs]) == pytest.approx(expected.pvalue, abs=0.02)
    assert stats.chance([ours], [theirs]) == stats.chance([ours], [theirs])


def test_chance_is_never_nought():
    """Twelve above twelve: 2 of 2.7 million ways, and none of those drawn. What was found is one of the ways itself."""
    assert stats.chance([np.arange(12.0) + 20], [np.arange(12.0)]) == pytest.approx(1 / 20_001)


def test_ways_that_are_drawn_count_every_task_as_all_ways_do():
    """On 1 task the p is .34, on both .49: of all 70 x 70 ways, and of 4,000 drawn."""
    random = np.random.default_rng(3)
    ours, theirs = random.normal(0.5, size=(2, 4)), random.normal(size=(2, 4))
    assert stats.chance(ours[1:], theirs[1:]) == pytest.approx(0.34, abs=0.01)
    assert stats.chance(ours, theirs) == pytest.approx(0.486, abs=0.001)
    assert stats.chance(ours, theirs, draws=4_000) == pytest.approx(0.486, abs=0.03)


def test_band_is_the_interval_of_each_point():
    curves = np.random.default_rng(0).normal([0.0, 30.0], [1.0, 9.0], size=(30, 2))
    low, high = stats.band(curves, draws=40_000)
    for point in range(2):
        expected = stats.bootstrap(curves[:, point], np.mean, draws=40_000)
        assert (low[point], high[point]) == pytest.approx(expected, abs=0.1)


def test_a_band_over_few_runs_is_students():
    curves = np.array([[0.0, 10.0], [1.0, 30.0], [5.0, 20.0]])
    low, high = stats.band(curves)
    expected = ttest_1samp(curves, 0).confidence_interval()
    assert low == pytest.approx(expected.low) and high == pytest.approx(expected.high)
