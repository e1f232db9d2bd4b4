import numpy as np
import pytest

from lab.plots_ranks import critical_difference_diagram, win_matrix
from lab.ranks import critical_difference, groups, mean_ranks, wins


def test_mean_ranks_by_hand():
    errors = np.array([[1.0, 2.0, 3.0], [5.0, 5.0, 9.0]])  # the second task's first two share ranks 1 and 2
    assert mean_ranks(errors).tolist() == [1.25, 1.75, 3.0]


def test_the_critical_difference_is_that_of_the_published_table():
    # Demsar (2006), table 5: q_0.05 is 2.569 for four contenders; his example has 14 data sets: CD 1.25
    assert critical_difference(4, 14) == pytest.approx(2.569 * np.sqrt(4 * 5 / (6 * 14)), abs=1e-3)
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.01)


@pytest.mark.parametrize(
    ("ranks", "found"),
    [
        ([1.0, 2.0, 3.0], [(0, 1), (1, 2)]),
        ([1.0, 1.5, 2.0], [(0, 2)]),
        ([1.0, 3.0, 5.0], []),
        ([5.0, 1.0, 1.2], [(0, 1)]),
    ],
)
def test_groups_are_the_longest_stretches(ranks, found):
    assert groups(np.array(ranks), 1.0) == found


def test_wins_count_tasks_once_and_ties_half():
    many = np.tile([[1.0, 2.0]], (9, 1))  # the first wins nine trials of one task
    one = np.array([[2.0, 1.0]])
    tie = np.array([[1.0, 1.0]])
    table = wins([many, one, tie])
    assert table[0][1].value == pytest.approx((1 + 0 + 0.5) / 3)
    assert table[1][0].value == pytest.approx(1 - table[0][1].value)
    assert table[0][1].low < table[0][1].value < table[0][1].high
    assert wins([many])[0][1] == (1.0, -np.inf, np.inf)


def test_the_interval_of_wins_is_over_tasks_and_of_95_percent():
    """Of 40 tasks 20 are won; of 40 drawn anew with replacement 14 to 26, by the binomial distribution."""
    errors = [np.array([[1.0, 2.0]])] * 20 + [np.array([[2.0, 1.0]])] * 20
    assert wins(errors, draws=20_000)[0][1] == pytest.approx((0.5, 14 / 40, 26 / 40))


def test_the_figures_say_who_is_ahead_and_whether_it_is_real():
    ranks = dict(zip(("cnn", "lstm", "naive"), (1.1, 2.0, 2.9), strict=True))
    apart = critical_difference_diagram(ranks, 1.5, 10).axes[0].get_title(loc="left")
    close = critical_difference_diagram(ranks, 3.0, 10).axes[0].get_title(loc="left")
    assert apart == "cnn leads; the difference to naive is real" and close == "cnn leads, but no difference is real"
    names = ["cnn", "lstm"]
    matrix = win_matrix(names, wins([np.array([[1.0, 2.0]]), np.array([[1.0, 2.0]])])).axes[0]
    assert matrix.get_title(loc="left") == "cnn wins most often"
    assert "100" in {text.get_text().split("\n")[0] for text in matrix.texts}
