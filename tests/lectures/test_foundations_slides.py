"""Experiments on the foundations, from the perceptron to the cost: exact rows pinned, and every verdict can change."""

import numpy as np
import pytest
import torch

from lab.lectures import Verdict, judge, load
from tests.lectures.test_experiments import failed, run

pytestmark = pytest.mark.slow  # each experiment runs for seconds


def of(outcome, name: str):
    """The finding whose name begins so."""
    return next(finding for finding in outcome.findings if finding.name.startswith(name))


def test_perceptron_boundary():
    measured, outcome = run("perceptron-boundary")
    assert list(measured.values()) == pytest.approx([1, 1, 0, 1, 1, 0.3125, 1.25, 10], abs=1e-12)
    assert judge(outcome.findings) is Verdict.HOLDS


def test_a_rule_that_counts_the_line_itself_is_another_rule(monkeypatch):
    module = load("perceptron-boundary")
    monkeypatch.setattr(module, "lecture1", lambda x, m, b: np.where(x @ m + b >= 0, 1, 0))
    _, outcome = run("perceptron-boundary", quick=True)
    assert failed(outcome) == ["L1 with b = -t against L4, share of points alike"]


def test_a_boundary_that_bends_fills_all_dimensions(monkeypatch):
    module = load("perceptron-boundary")
    monkeypatch.setattr(module, "lecture4", lambda x, w, t: np.where((x**2).sum(1) > x.shape[1], 1, -1))
    assert module.dimension(module.boundary(4)) == 4


def test_linear_collapse():
    _, outcome = run("linear-collapse", quick=True)
    assert of(outcome, "four-layer").holds and of(outcome, "9-8-8-2").measured < 1e-3
    gain = of(outcome, "moons, noise 0.1: what ReLU gains")
    assert len(gain.values) == 3 and gain.interval[0] <= gain.measured <= gain.interval[1]
    # the best of rank one: the residual of least squares plus the smaller singular value of its fit
    x, y = load("linear-collapse").diabetes()
    fitted = x @ torch.linalg.lstsq(x, y).solution
    lost = torch.linalg.svdvals(fitted)[1] ** 2 / ((fitted - y) ** 2).sum()
    assert of(outcome, "9-8-1-2").measured == pytest.approx(1 + lost.item(), rel=1e-4)


def test_linear_collapse_is_found_out_where_nothing_is_trained():
    _, outcome = run("linear-collapse", seeds=2, steps=1, iterations=1)
    assert judge(outcome.findings) is not Verdict.HOLDS
    assert "9-8-8-2 linear net: coefficients against least squares, relative" in failed(outcome)


def test_the_moons_are_asked_of_other_points_than_were_learnt(monkeypatch):
    """On the others all labels are the other way round, so who knows the rule is wrong on them."""
    module = load("linear-collapse")
    right = module.make_moons

    def turned(n, **rest):
        points, labels = right(n, **rest)
        return points, np.where(np.arange(n) < 500, labels, 1 - labels)

    monkeypatch.setattr(module, "make_moons", turned)
    _, accuracy = module.moons(0.1, 0, torch.nn.ReLU, 300)
    assert accuracy < 10


def test_what_relu_gains_is_its_accuracy_less_that_of_the_linear_net(monkeypatch):
    module = load("linear-collapse")
    told = {torch.nn.Identity: 88.0, torch.nn.ReLU: 99.0}
    monkeypatch.setattr(
        module, "moons", lambda noise, seed, between, steps: (module.network((2, 4, 1), seed, between), told[between])
    )
    _, outcome = run("linear-collapse", seeds=2, iterations=1)
    assert of(outcome, "moons, noise 0.1: what ReLU gains").values == (11, 11)


def test_a_net_with_relu_is_no_matrix():
    module = load("linear-collapse")
    net = module.network((9, 16, 16, 2), 0, torch.nn.ReLU)
    assert module.largest_difference(net, module.diabetes()[0]) > 0.1


def test_sigmoid_sign_and_relu():
    measured, outcome = run("sigmoid-sign-and-relu")
    assert list(measured.values())[:2] == pytest.approx([0.952574, 0.731059], abs=5e-7)
    assert [finding.holds for finding in outcome.findings[:4]] == [True, False, True, True]
    assert judge(outcome.findings) is Verdict.MIXED
    by_slide, by_sigmoid = of(outcome, "fitted b by the slide"), of(outcome, "fitted b by the sigmoid")
    assert by_slide.measured == pytest.approx(-by_sigmoid.measured, rel=1e-6)


def test_without_b_the_slides_sigmoid_is_right():
    _, outcome = run("sigmoid-sign-and-relu", b=0)
    assert judge(outcome.findings) is Verdict.HOLDS


def test_a_fit_agrees_with_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    module = load("sigmoid-sign-and-relu")
    random = np.random.default_rng(0)
    x = random.normal(size=300)
    y = (random.uniform(size=300) < module.sigmoid(x, 2, -1)).astype(float)
    theirs = linear_model.LogisticRegression(C=1e10, tol=1e-10).fit(x[:, None], y)
    ours = module.fit(module.sigmoid, x, y)
    assert ours == pytest.approx((theirs.coef_[0, 0], theirs.intercept_[0]), rel=1e-4)


def test_backprop_gradient_check():
    _, outcome = run("backprop-gradient-check")
    assert [finding.holds for finding in outcome.findings[:6]] == [True] * 5 + [False]
    assert judge(outcome.findings) is Verdict.MIXED
    assert outcome.findings[3].measured == pytest.approx(2, abs=1e-12)


@pytest.mark.parametrize("hidden", [1, 2, 9])
def test_backprop_is_right_for_nets_of_any_width(hidden):
    _, outcome = run("backprop-gradient-check", hidden=hidden)
    assert [finding.holds for finding in outcome.findings[:6]] == [True] * 5 + [False]


def test_a_forgotten_derivative_fails_the_gradient_check(monkeypatch):
    module = load("backprop-gradient-check")
    right = module.lecture4
    monkeypatch.setattr(module, "lecture4", lambda *net: -right(*net))
    _, outcome = run("backprop-gradient-check", step=0.1)
    assert failed(outcome)[:2] == [
        "L2's chain rule against central differences, relative error",
        "L4's deltas against half of autograd's descent, relative error",
    ]
