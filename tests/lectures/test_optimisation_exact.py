"""Experiments on the rules of optimisation whose figures are exact: pinned, held against oracles, and able to fail."""

import numpy as np
import pytest
import torch

from lab.lectures import Verdict, judge, load
from tests.lectures.test_experiments import failed, run
from tests.lectures.test_foundations_slides import of

pytestmark = pytest.mark.slow  # each experiment runs for seconds


def test_gradient_clipping_bug():
    measured, outcome = run("gradient-clipping-bug")
    assert list(measured.values())[:4] == [1, 0.1, 0.1, 0.4]  # [3, 4] -> 1.0 and [30, 40] -> 0.1, not 5
    assert measured["formula: norm left of [0.003, 0.004], η = 5"] == 5
    assert measured["clipping as meant: norm left of [30, 40]"] == 5
    assert judge(outcome.findings) is Verdict.FAILS and len(failed(outcome)) == 5


def test_with_the_root_the_code_clips_and_only_the_formula_fails():
    _, outcome = run("gradient-clipping-bug", missing_root=False)
    assert failed(outcome) == ["formula: norm left of [0.003, 0.004], η = 5"]
    module, grad = load("gradient-clipping-bug"), np.array([30.0, 40.0])
    parameter = torch.zeros(2, requires_grad=True)
    parameter.grad = torch.tensor(grad, dtype=torch.float32)
    torch.nn.utils.clip_grad_norm_([parameter], 5.0)
    assert module.slide(grad, 5.0, missing_root=False) == pytest.approx(parameter.grad.numpy(), rel=1e-5)
    assert module.clip(grad, 5.0) == pytest.approx([3, 4])


def test_adam_formula():
    _, outcome = run("adam-formula", quick=True)
    assert judge(outcome.findings) is Verdict.HOLDS
    # (1 - β1) / sqrt(1 - β2), and torch's Adam
    assert of(outcome, "first step without").measured == pytest.approx(0.1 / 0.001**0.5, rel=1e-6)
    assert of(outcome, "without corrections, longest step").measured == pytest.approx(6.6, abs=0.1)


def test_adam_without_corrections_is_not_torchs(monkeypatch):
    module = load("adam-formula")
    right = module.adam
    monkeypatch.setattr(module, "adam", lambda gradients, settings, corrected: right(gradients, settings, False))
    _, outcome = run("adam-formula", steps=200)
    assert failed(outcome)[:2] == [
        "with corrections, largest distance from torch's Adam, in η", "first step with corrections, in η",
    ]  # fmt: skip


def test_adagrad_rmsprop():
    _, outcome = run("adagrad-rmsprop")
    assert judge(outcome.findings) is Verdict.HOLDS
    assert of(outcome, "AdaGrad, g = 1: last step").measured == pytest.approx(1000**-0.5, rel=1e-6)
    assert of(outcome, "RMSProp, g = 1: first step").measured == pytest.approx(0.1**-0.5, rel=1e-6)
    # sqrt(1e-10 + 1e-8) over sqrt(1e-10) + 1e-8
    assert of(outcome, "RMSProp, gradients of 1e-5").measured == pytest.approx(10.04, abs=0.02)


def test_an_epsilon_that_is_not_small_is_no_rmsprop():
    _, outcome = run("adagrad-rmsprop", epsilon=0.01)
    assert "RMSProp, g = 1: last step, in η" in failed(outcome)
    assert "AdaGrad as printed, gradients near 1: relative difference from torch" in failed(outcome)
    assert not any("outside" in name for name in failed(outcome))


def test_bptt_sum_of_terms():
    _, outcome = run("bptt-sum-of-terms", seeds=3, steps=200)
    assert [finding.holds for finding in outcome.findings[:4]] == [True, False, True, True]
    assert judge(outcome.findings) is Verdict.MIXED and len(outcome.findings[0].values) == 3


def test_so_many_youngest_terms_are_the_gradient_to_a_thousandth(monkeypatch):
    """Each term is a quarter of the next younger one: without the youngest k, 4^-k of the sum is left."""
    module = load("bptt-sum-of-terms")
    each = 0.25 ** torch.arange(99, -1, -1, dtype=torch.float64)[:, None, None]
    monkeypatch.setattr(module, "terms", lambda *net: each)
    monkeypatch.setattr(module, "by_autograd", lambda *net: each.sum(0))
    _, outcome = run("bptt-sum-of-terms", seeds=2, steps=100)
    assert of(outcome, "youngest terms").values == (5, 5)
    assert of(outcome, "L4: oldest term over youngest").values == pytest.approx((0.25**99,) * 2)


def test_one_term_too_few_is_found_out_and_a_wide_net_does_not_forget(monkeypatch):
    module = load("bptt-sum-of-terms")
    right = module.terms
    monkeypatch.setattr(module, "terms", lambda *net: right(*net) * (torch.arange(150) != 147)[:, None, None])
    _, outcome = run("bptt-sum-of-terms", seeds=2, steps=150)
    assert failed(outcome)[0].startswith("L0: sum of all terms")
    monkeypatch.setattr(module, "terms", right)
    _, outcome = run("bptt-sum-of-terms", seeds=3, steps=150, radius=3.0)
    assert of(outcome, "L4: oldest term over youngest").holds is not True


def test_batch_sgd_minibatch():
    _, outcome = run("batch-sgd-minibatch", seeds=4, draws=400)
    exact, chance, drawn, slices = outcome.findings[:4]
    assert exact.holds and chance.holds and drawn.measured == pytest.approx(-1, abs=0.05) and slices.holds
    assert len(drawn.values) == 4 and of(outcome, "without replacement by theory").measured == 441 / 568


def test_without_replacement_the_variance_is_that_of_theory():
    module = load("batch-sgd-minibatch")
    found = module.variances(module.gradients(0), "without", 1500, 0)
    theory = (569 - module.SIZES) / 568 / module.SIZES
    assert found / found[0] == pytest.approx(theory, rel=0.2)


def test_a_gradient_that_leaves_the_hard_examples_out_is_biased(monkeypatch):
    module = load("batch-sgd-minibatch")

    def biased(each, draws, seed):
        picks = np.random.default_rng(seed).integers(len(each) // 2, size=(draws, 8))  # one class more than the other
        mean = each[picks].mean(1).mean(0)
        return float(((mean - each.mean(0)) ** 2).sum() / (each.var(0).sum() / 8 / draws))

    monkeypatch.setattr(module, "unbiased", biased)
    _, outcome = run("batch-sgd-minibatch", seeds=3, draws=200)
    assert "squared error of the mean of random mini-batches over chance's" in failed(outcome)


def test_ridge_j():
    _, outcome = run("ridge-J", quick=True)
    assert judge(outcome.findings) is Verdict.HOLDS
    x, y = load("ridge-J").line()
    slope = np.cov(x, y, bias=True)[0, 1] / (x.var() + 1)
    assert of(outcome, "β1").measured == pytest.approx(slope, rel=1e-12)
    assert of(outcome, "β1 by scikit-learn").measured > slope  # as if λ were 2m times smaller


def test_the_draws_that_choose_a_penalty_do_not_judge_it(monkeypatch):
    """Even draws are best at place 3 among the λ, odd ones at place 7, where they err 5 less than at 3."""
    module = load("ridge-J")
    errors = np.full((4, 1 + len(module.LAMBDAS)), 60.0)
    errors[::2, 1 + 3], errors[1::2, 1 + 3], errors[1::2, 1 + 7] = 40.0, 50.0, 45.0
    monkeypatch.setattr(module, "test_errors", lambda settings: errors)
    measured, outcome = run("ridge-J", seeds=4)
    assert measured["place of the best λ among those tried"] == 3
    assert measured["test error at the chosen λ"] == 50
    assert of(outcome, "test error at λ = 0 less").values == (10, 10)


def test_test_errors_are_those_of_the_least_j_on_columns_scaled_by_the_training_patients():
    module = load("ridge-J")
    x, y = pytest.importorskip("sklearn.datasets").load_diabetes(return_X_y=True)
    order, lam = np.random.default_rng(0).permutation(len(y)), module.LAMBDAS[8]
    fit, rest = order[:20], order[20:]
    a, b = ((x[rows] - x[fit].mean(0)) / x[fit].std(0) for rows in (fit, rest))
    beta = np.linalg.solve(a.T @ a / 20 + 2 * lam * np.eye(10), a.T @ (y[fit] - y[fit].mean()) / 20)
    error = np.sqrt(((y[fit].mean() + b @ beta - y[rest]) ** 2).mean())
    assert module.test_errors(module.Settings(seeds=4, train=20))[0, 1 + 8] == pytest.approx(error, rel=1e-6)


def test_ridge_with_a_penalty_on_the_intercept_is_another_one(monkeypatch):
    module = load("ridge-J")

    def shrunk(x, y, lam):
        design = np.column_stack([np.ones_like(x), x])
        return np.linalg.solve(design.T @ design / len(x) + 2 * lam * np.eye(2), design.T @ y / len(x))

    monkeypatch.setattr(module, "closed_form", shrunk)
    _, outcome = run("ridge-J", seeds=4)
    assert failed(outcome)[:2] == [
        "descent on J against cov / (var + 2λ), largest difference",
        "scikit-learn's Ridge at alpha = 2mλ against it, largest difference",
    ]


def test_residual_gradient():
    _, outcome = run("residual-gradient", quick=True)
    assert [finding.holds for finding in outcome.findings[:6]] == [True] * 6


def test_without_the_addition_a_residual_net_is_a_plain_one():
    _, outcome = run("residual-gradient", quick=True, skip=False)
    assert "da_L/da_(L-2) against 1 + dH/da, largest difference" in failed(outcome)
    assert of(outcome, "residual: gradient").measured == of(outcome, "plain: gradient").measured < 1e-6


def test_relu_remedy():
    _, outcome = run("relu-remedy", quick=True)
    bound, sigmoid, he, default = outcome.findings[:4]
    assert bound.measured == pytest.approx(0.25**10) and sigmoid.holds and he.holds and default.holds


def test_another_depth_has_another_bound_and_sigmoids_for_relus_vanish(monkeypatch):
    _, outcome = run("relu-remedy", quick=True, depth=9, seeds=2, steps=1)
    assert failed(outcome)[0] == "largest product of 9 slopes of a sigmoid"
    module = load("relu-remedy")
    right = module.layers
    monkeypatch.setattr(module, "layers", lambda name, *rest: right("sigmoid", *rest))
    _, outcome = run("relu-remedy", quick=True, steps=1)
    assert "ReLU, He: gradient at the inputs over layer 10" in failed(outcome)


def test_a_unit_that_no_image_turns_on_is_dead():
    module = load("relu-remedy")
    x = torch.rand(20, 4)
    first = torch.cat([torch.ones(4, 1), -torch.ones(4, 3)], 1)  # one unit on, three off for all inputs
    assert module.dead([first, torch.ones(4, 10)], x) == 0.75
