"""Experiments on training in which chance plays a part: the shape of their results, and verdicts that change."""

import numpy as np
import pytest
import torch

from lab.lectures import Verdict, judge, load
from tests.lectures.test_experiments import failed, run
from tests.lectures.test_foundations_slides import of

pytestmark = pytest.mark.slow  # each experiment runs for seconds


def test_jacobian_threshold():
    _, outcome = run("jacobian-threshold", quick=True)
    assert [finding.holds for finding in outcome.findings[:3]] == [True, False, False]
    # the product of 1 - 1/(i+1)² telescopes to (n + 2) / (2 (n + 1))
    assert of(outcome, "product of 1").measured == pytest.approx(152 / (2 * 151))


def test_for_symmetric_matrices_the_slide_is_right_of_linear_nets():
    _, outcome = run("jacobian-threshold", quick=True, symmetric=True)
    assert [finding.holds for finding in outcome.findings[:3]] == [True, True, False]


def test_a_jacobian_is_multiplied_up_as_autograd_does():
    module = load("jacobian-threshold")
    settings = module.Settings(hidden=5)
    w = module.matrix(settings, 0.9, 0)
    random = np.random.default_rng(3 + 1_000_000)
    inputs = [torch.tensor(random.normal(size=5)) for _ in range(4)]

    def through(state):
        for x in inputs:
            state = torch.tanh(torch.tensor(w) @ state + x)
        return state

    jacobian = torch.autograd.functional.jacobian(through, torch.zeros(5, dtype=torch.float64))
    assert module.norms(w, 4, True, 3)[-1] == pytest.approx(np.linalg.norm(jacobian.numpy(), 2), rel=1e-9)


def test_momentum_valley():
    _, outcome = run("momentum-valley", quick=True)
    assert of(outcome, "iterations, plain descent, foretold").measured == pytest.approx(691, abs=1)
    assert of(outcome, "iterations, momentum, foretold").measured == pytest.approx(69, abs=0.5)
    assert [finding.holds for finding in outcome.findings[:4]] == [True] * 4


def test_without_momentum_nothing_is_gained():
    _, outcome = run("momentum-valley", quick=True, beta=0.0, seeds=50, steps=200)
    same = "share that escapes, momentum less plain, same η"
    assert same in failed(outcome) and of(outcome, same).measured == 0


def test_every_rule_has_the_same_starts_and_noise_and_the_longer_step_is_that_of_momentum(monkeypatch):
    module, used = load("momentum-valley"), []
    right = np.random.default_rng
    monkeypatch.setattr(module.np.random, "default_rng", lambda seed: used.append(seed) or right(seed))
    module.escapes(module.Settings(seeds=10, steps=10), 0.02, 0.0)
    module.escapes(module.Settings(seeds=10, steps=10), 0.2, 0.9)
    assert len(used) == 2 and used[0] == used[1] >= 100  # 0 to 99 chose the settings
    monkeypatch.undo()
    _, outcome = run("momentum-valley", seeds=10, steps=10, rate=0.004, beta=0.8)
    assert of(outcome, "share that escapes, momentum less plain at").name.endswith("= 0.02")  # of .004 / (1 - .8)


def test_momentum_is_torchs():
    module = load("momentum-valley")
    w = torch.ones(2, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.SGD([w], lr=0.01, momentum=0.7)
    path = module.valley(50.0, 0.01, 0.7)
    for step in range(1, 20):
        optimiser.zero_grad()
        ((w * torch.tensor([1.0, 50.0])) @ w / 2).backward()
        optimiser.step()
        assert path[step] == pytest.approx(w.detach().numpy())


def test_overfit_balance_double_descent():
    _, outcome = run("overfit-balance-double-descent", quick=True)
    rise, start, peak_up, place, fall = outcome.findings[:5]
    assert rise.holds and start.holds and peak_up.holds and place.holds and fall.holds is False
    assert len(start.values) == 6 and judge(outcome.findings) is Verdict.MIXED


def test_the_shares_of_a_double_descent_by_hand(monkeypatch):
    """Test errors of 4 at p = 5, 1 at 30, 100 at p = n and .1 at 2000, in powers of ten."""
    module = load("overfit-balance-double-descent")
    test = np.full(len(module.PARAMETERS), 10.0)
    for p, error in {5: 4.0, 30: 1.0, 100: 100.0, 2000: 0.1}.items():
        test[p == module.PARAMETERS] = error
    monkeypatch.setattr(module, "errors", lambda settings, seed: (np.linspace(1, 0, len(test)), test))
    _, outcome = run("overfit-balance-double-descent", seeds=2)
    assert [each.measured for each in outcome.findings[1:6]] == pytest.approx([np.log10(4), 2, 1, -3, -1])
    assert [each.measured for each in outcome.findings[6:]] == [30, 1, 100, 0.1]


def test_with_a_penalty_there_is_no_peak(monkeypatch):
    module = load("overfit-balance-double-descent")

    def ridge(a, y, rcond=None):
        return (a.T @ np.linalg.solve(a @ a.T + 10 * np.eye(len(a)), y),)

    monkeypatch.setattr(module.np.linalg, "lstsq", ridge)
    _, outcome = run("overfit-balance-double-descent", seeds=3)
    assert of(outcome, "test error at p = n over").measured < 0.2
    assert "p of the largest test error, over n" in failed(outcome)


def test_seven_initialisations():
    _, outcome = run("seven-initialisations", quick=True, seeds=5)
    names = [finding.name for finding in outcome.findings if finding.holds is False]
    assert (
        "zero, tanh: largest weight after 200 steps" in names and "zero, ReLU: largest weight after 200 steps" in names
    )
    assert "He as printed, ReLU: size after the last layer" in names
    assert of(outcome, "He, var 2/n, ReLU: size").measured == pytest.approx(1, abs=0.6)
    assert of(outcome, "zero, sigmoid: largest difference").measured == 0


def test_the_schemes_have_the_variances_they_say():
    module = load("seven-initialisations")
    random, n = torch.Generator().manual_seed(0), 400
    for scheme, variance in (("Xavier as printed", n**-0.5), ("Xavier, var 1/n", 1 / n), ("He, var 2/n", 2 / n)):
        assert module.draw(scheme, n, random).var().item() == pytest.approx(variance, rel=0.03)
    square = module.draw("orthogonal", n, random)
    assert torch.allclose(square @ square.T, torch.eye(n), atol=1e-5)


def test_he_as_printed_is_fine_once_its_variance_is(monkeypatch):
    module = load("seven-initialisations")
    right = module.draw
    monkeypatch.setattr(
        module, "draw", lambda scheme, n, random: right(scheme.replace("He as printed", "He, var 2/n"), n, random)
    )
    _, outcome = run("seven-initialisations", quick=True)
    assert "He as printed, ReLU: size after the last layer" not in failed(outcome)


def test_vanish_explode_table():
    _, outcome = run("vanish-explode-table", seeds=2, steps=20)
    cells = outcome.findings[:8]
    assert [finding.name[:2] for finding in cells] == ["V1", "V2", "V3", "V4", "E1", "E2", "E3", "E4"]
    assert cells[0].measured == pytest.approx(1, abs=0.1), "weights stay where they were drawn"
    assert cells[1].measured > 1e3, "ten sigmoids divide the first layer's gradient by as much"
    assert all(len(finding.values) == 2 for finding in cells)


def test_the_falls_of_the_loss_by_hand(monkeypatch):
    """A healthy net falls by 2; the vanishing one by .2 in the first half and by .02 in the second."""
    module = load("vanish-explode-table")
    losses = {"healthy": [2.5, 1.0, 0.5], "vanishing": [2.5, 2.3, 2.28], "exploding": [2.5, 50.0, 5.0]}

    def train(kind, *rest):
        return module.Run(np.array(losses[kind]).repeat([5, 1, 5]), 0.1, 1.0, 1.0, 1.0, kind == "exploding")

    monkeypatch.setattr(module, "train", train)
    _, outcome = run("vanish-explode-table", seeds=2, steps=10)
    assert of(outcome, "V3").values == pytest.approx((0.11, 0.11))
    assert of(outcome, "V4").values == pytest.approx((0.01, 0.01))
    assert of(outcome, "E3").values == (20, 20)


def test_a_net_that_does_not_explode_changes_the_table():
    _, outcome = run("vanish-explode-table", seeds=3, steps=20, gain=0.5)
    assert {"E1 share of nets with NaN or infinite weights", "E2 weights explode: largest |w| over start's"} <= {
        *failed(outcome)
    }


def test_a_net_of_two_layers_does_not_vanish():
    _, outcome = run("vanish-explode-table", seeds=3, steps=60, depth=2)
    assert "V2 last hidden layer's relative update over first's" in failed(outcome)


def test_batchnorm_ics(monkeypatch):
    module = load("batchnorm-ics")
    monkeypatch.setattr(module, "RATES", (1.0,))
    _, outcome = run("batchnorm-ics", seeds=2, steps=60, hidden=2)
    assert all(len(finding.values) == 2 for finding in outcome.findings[:3])
    right = module.forward
    monkeypatch.setattr(module, "forward", lambda kind, *rest: right("plain", *rest))
    _, outcome = run("batchnorm-ics", seeds=3, steps=60, hidden=2, shift=0)
    ratio = outcome.findings[0]
    assert ratio.values == (1, 1, 1) and ratio.holds is False  # nothing normalised, nothing gained


def test_rates_are_chosen_on_other_images_and_starts_than_are_judged(monkeypatch):
    module, looks = load("batchnorm-ics"), []

    def train(kind, settings, rate, seed, x, y, look):
        looks.append((seed < 100, look))
        return module.Run({"plain": 100.0, "BN": 50.0, "BN + shift": 200.0}[kind] + rate, [0.5], 0.1)

    monkeypatch.setattr(module, "train", train)
    _, outcome = run("batchnorm-ics", seeds=2)
    assert {(first, look.start, look.stop) for first, look in looks} == {(True, 1000, 1200), (False, 1200, None)}
    assert of(outcome, "steps to 90 %, BN over plain").values == pytest.approx((50.1 / 100.1,) * 2)
    assert of(outcome, "steps to 90 %, BN with shift").values == pytest.approx((200.1 / 100.1,) * 2)


def test_a_gradient_fades_on_its_way_back_through_sigmoids():
    module = load("batchnorm-ics")
    x, y = torch.randn(1000, 64), torch.arange(1000) % 10
    assert module.arriving("plain", module.Settings(hidden=6), 0, x, y) < 0.1


def test_the_sums_are_normalised_by_the_first_rows_alone():
    module = load("batchnorm-ics")
    settings = module.Settings(hidden=2)
    parameters, x = module.draw(settings, 0), torch.randn(50, 64)
    first, *_ = module.forward("BN", parameters, x, 30)
    assert first[:30].mean(0).abs().max().item() < 1e-5
    assert first[:30].var(0, unbiased=False).mean().item() == pytest.approx(1, abs=1e-3)
    assert first[30:].mean(0).abs().max().item() > 0.01
