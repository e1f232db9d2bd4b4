"""Experiments on nets of the foundations: counts pinned, and every verdict can change."""

import numpy as np
import pytest
import torch

from lab.lectures import Verdict, judge, load
from tests.lectures.test_experiments import failed, run
from tests.lectures.test_foundations_slides import of

pytestmark = pytest.mark.slow  # each experiment runs for seconds


def test_mlp_13002():
    module = load("mlp-13002")
    assert module.parameters((784, 16, 16, 10)) == 784 * 16 + 16 + 16 * 16 + 16 + 16 * 10 + 10 == 13_002
    measured, outcome = run("mlp-13002", seeds=2, steps=1)
    assert list(measured.values())[:3] == [13_002, 13_002, 13_003]
    assert failed(outcome)[0] == "entries of the slide's list w_0 .. w_13,002"
    assert 0 < of(outcome, "smallest activation").measured < of(outcome, "largest activation, float64").measured < 1


def test_the_words_on_a_level_of_cost_are_where_no_curve_is():
    module = load("mlp-13002")
    panel = module.picture((784, 16, 16, 10), [96.0], [list(np.geomspace(1, 1e-3, 900))]).axes[1]
    (words,) = panel.texts
    assert words.get_position()[0] > 0.9 and words.get_ha() == "right"  # the curves fall


def test_mlp_13002_is_another_number_of_other_layers_and_reads_nothing_untrained():
    _, outcome = run("mlp-13002", seeds=2, steps=1, hidden=17)
    assert {"weights and biases by the formula", "weights and biases of the net in torch", "test digits right, %"} < {
        *failed(outcome)
    }


def test_the_digit_net_is_asked_of_digits_that_it_has_not_learnt(monkeypatch):
    module, learnt = load("mlp-13002"), []
    monkeypatch.setattr(module, "train", lambda net, x, y, *rest: learnt.append((x, y)) or [1.0])
    run("mlp-13002", seeds=1)
    x, y = module.digits()
    ((images, labels),) = learnt
    assert torch.equal(images, x[500:]) and torch.equal(labels, y[500:])  # the first 500 are the test


def test_the_cost_of_a_digit_is_summed_over_the_ten_outputs():
    module = load("mlp-13002")
    net, (x, y) = module.network((784, 16, 16, 10), 0), module.digits()
    expected = ((net(x[0]) - torch.eye(10)[y[0]]) ** 2).sum().item()
    costs = module.train(net, x[:1].repeat(30, 1), y[:1].repeat(30), module.Settings(steps=1), 0)
    assert costs == [pytest.approx(expected, rel=1e-5)]


def test_the_digit_net_holds_the_activations_that_it_computes():
    module = load("mlp-13002")
    net, x = module.network((784, 16, 16, 10), 3), module.digits()[0][:5]
    held = module.activations(net, x)
    assert [a.shape[1] for a in held] == [784, 16, 16, 10] and torch.equal(held[-1], net(x))


def test_a_sum_of_sigmoids_written_down():
    module = load("universal-approx-pieces")
    x, curve = np.linspace(0, 1, 501), module.draw(0)
    # a line is a sum of equal rises: what is left is the ripple of the sigmoids and the tail beyond the ends
    line = (np.array([0.0]), np.array([1.0]), np.array([0.0]))
    assert module.written(line, 20, x, 0.5) == pytest.approx(np.zeros(501), abs=1e-12)
    error = [np.abs(module.written(curve, k, x, 0.5) - module.value(curve, x)).max() for k in (110, 210)]
    assert error[0] / error[1] == pytest.approx(4, rel=0.05)  # 100 and 200 pieces within the interval


def test_the_curve_goes_on_as_its_tangent():
    module = load("universal-approx-pieces")
    curve = module.draw(1)
    at = module.value(curve, np.array([-0.2, -0.1, 0.0, 1e-7]))
    assert at[2] - at[1] == pytest.approx(at[1] - at[0]) and (at[3] - at[2]) / 1e-7 == pytest.approx(
        (at[2] - at[1]) / 0.1, rel=1e-4
    )


def test_universal_approx_pieces_and_a_staircase():
    _, outcome = run("universal-approx-pieces", seeds=4, steps=2)
    assert judge(outcome.findings) is Verdict.HOLDS
    assert len(outcome.findings[0].values) == 4
    _, staircase = run("universal-approx-pieces", seeds=4, steps=2, width=0.01)  # error as 1/K, not 1/K²
    assert failed(staircase) == ["written down: slope of log largest error in log K"]


def test_trained_sums_that_match_the_written_one_change_the_verdict(monkeypatch):
    module = load("universal-approx-pieces")
    exact = lambda curves, pieces, x, steps: np.stack([module.value(curve, x) for curve in curves])  # noqa: E731
    monkeypatch.setattr(module, "trained", exact)
    _, outcome = run("universal-approx-pieces", seeds=4)
    assert failed(outcome) == ["trained over written down: largest error at K = 128"]


def test_q_table_slide():
    measured, outcome = run("q-table-slide")
    assert measured["slide: states with one best action, of 5"] == 4
    assert measured["End: largest value by Q-learning (slide: 1)"] == 0
    assert measured["largest γ at which the slide's Start row follows from its Correct Path row"] == 0.02
    assert of(outcome, "Start: value of its best action").measured == pytest.approx(0.9 * 50, abs=0.5)
    assert [finding.holds for finding in outcome.findings[:4]] == [True, True, True, False]
    module = load("q-table-slide")
    assert module.best(module.TABLE) == [{2}, {0, 1, 2, 3}, {1}, {2}, {2}]


def test_without_a_future_start_has_no_best_action_and_an_end_that_goes_on_is_worth_something():
    _, outcome = run("q-table-slide", gamma=0)
    assert "Start: share of walks whose Q-learning has the slide's best action" in failed(outcome)
    _, outcome = run("q-table-slide", ends=False, gamma=0, seeds=5)
    assert of(outcome, "End: largest").measured == pytest.approx(1, abs=0.01)
