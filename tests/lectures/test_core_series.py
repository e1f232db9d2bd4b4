"""Core experiments on series and forecasting: what is exact is pinned, and every verdict can change."""

import numpy as np
import pytest
import torch

from lab.lectures import Verdict, judge, load
from tests.lectures.test_experiments import failed, run
from tests.lectures.test_foundations_slides import of

# --- three-steps-losses -----------------------------------------------------------------------------------------------


def test_three_steps_losses():
    _, outcome = run("three-steps-losses", seeds=1, steps=5)
    assert [finding.holds for finding in outcome.findings[:4]] == [True, True, True, None]  # one seed cannot tell
    assert of(outcome, "period of the lowest").measured == pytest.approx(7, abs=0.1)
    assert of(outcome, "gradient on a unit").measured == pytest.approx((1 + np.exp(10)) / 2, rel=1e-4)  # by hand


def test_the_loss_of_a_cycle_is_that_of_least_squares():
    module = load("three-steps-losses")
    y = module.daily_views(3, 5)
    t = 2 * np.pi * 4.3 * np.arange(35) / 35
    basis = np.stack([np.ones(35), np.cos(t), np.sin(t)], 1)
    rest = np.linalg.lstsq(basis, y.numpy(), rcond=None)[1][0]
    ours = module.cycle_loss(torch.tensor([4.3], dtype=y.dtype), y).item()
    assert ours == pytest.approx(rest / (35 * y.numpy().var()), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "broken", "finding"),
    [
        ("best_constant", lambda loss, y: float(y.mean()), "argmin of MAE"),
        ("best_constant", lambda loss, y: float(np.median(y)), "argmin of MSE"),
        ("cycle_loss", lambda cycles, y: (cycles / 10 - 1) ** 2, "different minima"),  # a bowl has one
    ],
)
def test_three_steps_that_are_broken_are_found_out(monkeypatch, name, broken, finding):
    monkeypatch.setattr(load("three-steps-losses"), name, broken)
    _, outcome = run("three-steps-losses", seeds=1, steps=1)
    assert [each.split(",")[0].startswith(finding) for each in failed(outcome)] == [True]


def test_a_loss_is_not_better_than_itself(monkeypatch):
    module = load("three-steps-losses")
    monkeypatch.setattr(module, "cross_entropy", module.squared)
    _, outcome = run("three-steps-losses", seeds=2, steps=3)
    assert of(outcome, "accuracy after equal steps").holds is False and judge(outcome.findings) is Verdict.MIXED


# --- traffic-model-ladder ---------------------------------------------------------------------------------------------


def test_traffic_model_ladder():
    _, outcome = run("traffic-model-ladder", seeds=2, steps=1)
    assert of(outcome, "weekly traffic").holds is True
    assert of(outcome, "weekly traffic").measured > 2 * of(outcome, "aperiodic").measured
    assert "sigmoids over linear, squared error on the year fitted: worst net" in " ".join(failed(outcome))  # one step
    assert len(of(outcome, "MAE of the next year, linear, 56").values) == 2


def test_seven_lags_gain_nothing_where_there_is_no_week(monkeypatch):
    module = load("traffic-model-ladder")
    whole = module.views
    monkeypatch.setattr(module, "views", lambda seed, kind: whole(seed, "walk"))
    _, outcome = run("traffic-model-ladder", seeds=2, steps=1)
    assert of(outcome, "weekly traffic").holds is False and of(outcome, "aperiodic").holds is not False


def test_the_ladder_sees_the_day_before_and_never_the_day_itself():
    module = load("traffic-model-ladder")
    series = np.arange(module.LAGS[-1] + 2 * module.YEAR)
    for lags in module.LAGS:
        x, y = module.rows(series, lags)
        assert x.shape == (2 * module.YEAR, lags) and y.shape == (2 * module.YEAR,)
        assert (x[:, -1] == y - 1).all() and y[0] == module.LAGS[-1]
        linear = module.linear(torch.tensor(x, dtype=torch.float64), torch.tensor(y, dtype=torch.float64))
        assert linear.numpy() == pytest.approx(y, abs=1e-5)  # tomorrow is today and one


def test_sigmoids_of_one_seed_do_not_depend_on_another():
    module = load("traffic-model-ladder")
    x, y = torch.randn(2, 2 * module.YEAR, 3).double(), torch.randn(2, 2 * module.YEAR).double()
    settings = module.Settings(steps=5)
    together, alone = module.sigmoids(x, y, 10, settings), module.sigmoids(x[:1], y[:1], 10, settings)
    torch.testing.assert_close(together[:1], alone, rtol=1e-4, atol=1e-4)
