"""Experiments on how much data and how many units it takes: shapes, oracles, and verdicts that change."""

import numpy as np
import pytest
import torch

from lab.lectures import Verdict, judge, load
from tests.lectures.test_experiments import failed, run
from tests.lectures.test_foundations_slides import of

pytestmark = pytest.mark.slow  # each experiment runs for seconds

COST = "cost-3.37-and-gradient-sizes"


def test_the_gradient_of_the_cost_is_torchs():
    module = load(COST)
    layers, (x, wanted) = module.draw(0, 1.0), module.digits()
    x, wanted = x[:20], wanted[:20]
    tensors = [torch.tensor(part, requires_grad=True) for layer in layers for part in layer]
    a = torch.tensor(x)
    for w, b in zip(tensors[::2], tensors[1::2], strict=True):
        a = torch.sigmoid(a @ w + b)
    cost = ((a - torch.tensor(wanted)) ** 2).sum(1).mean()
    assert module.cost(module.forward(layers, x)[-1], wanted) == pytest.approx(cost.item(), rel=1e-12)
    theirs = torch.autograd.grad(cost, tensors[::2])
    for ours, oracle in zip(module.gradient(layers, x, wanted), theirs, strict=True):
        assert ours == pytest.approx(oracle.numpy(), rel=1e-9, abs=1e-15)


def test_the_effect_of_a_weight_is_that_of_changing_it():
    module = load(COST)
    layers, (x, wanted) = module.draw(1, 1.0), module.digits()
    x, wanted = x[:20], wanted[:20]
    before = module.cost(module.forward(layers, x)[-1], wanted)
    for pick in ((0, 400, 3), (1, 2, 5), (2, 15, 9)):
        (change,) = module.effects(layers, x, wanted, [pick], 0.7)
        layers[pick[0]][0][pick[1:]] += 0.7
        assert change == pytest.approx(abs(module.cost(module.forward(layers, x)[-1], wanted) - before))
        layers[pick[0]][0][pick[1:]] -= 0.7


def test_cost_3_37():
    _, outcome = run(COST, quick=True, weights=50, seeds=3)
    low, high, small, large = outcome.findings[:4]
    assert low.holds and high.holds and small.holds and len(large.values) == 3
    assert small.measured > large.measured


def test_nets_drawn_small_all_cost_ten_halves_squared():
    measured, outcome = run(COST, quick=True, spread=0.001, weights=20, seeds=2)
    assert measured["untrained nets: mean cost"] == pytest.approx(2.5, rel=0.01)  # ten outputs of 1/2
    assert failed(outcome) == ["untrained nets: highest cost"]


def test_curse_of_dimensionality():
    _, outcome = run("curse-of-dimensionality", quick=True, seeds=6)
    assert judge(outcome.findings) is Verdict.HOLDS
    assert all(len(finding.values) == 6 for finding in outcome.findings[:3])


def test_what_fills_many_dimensions_is_cursed_and_who_knows_the_form_is_not(monkeypatch):
    _, outcome = run("curse-of-dimensionality", quick=True, sheet=False)
    assert failed(outcome) == ["sheet of 2 dimensions: n in 64 inputs over n in 8"]
    module = load("curse-of-dimensionality")
    monkeypatch.setattr(module, "nearest", module.additive)
    _, outcome = run("curse-of-dimensionality", quick=True)
    assert "filled cube: n for one dimension more, times" in failed(outcome)


def test_n_is_found_between_too_few_and_enough():
    module = load("curse-of-dimensionality")
    x = np.random.default_rng(0).normal(size=(4500, 1))
    y = x[:, 0] / x[:, 0].std()

    def learner(x, y, at):  # errs by exactly 1 / sqrt(n), in standard deviations
        sign = np.tile([1, -1], len(at) // 2)
        return truth + sign * truth_std / len(x) ** 0.5

    truth, truth_std = y[-500:], y[:-500].std()
    assert module.needed(x, y, learner, goal=0.1) == pytest.approx(100, rel=1e-6)
    assert module.needed(x, y, learner, goal=0.001) == 8000


def test_the_bent_sheet_has_two_dimensions_and_is_as_large_in_any_number_of_inputs():
    module = load("curse-of-dimensionality")
    u = np.random.default_rng(0).uniform(size=(300, 2))
    for inputs in module.SHEETS:
        x = module.bend(u, inputs, 0)
        steps = (module.bend(np.add(u, [1e-6, 0]), inputs, 0) - x) / 1e-6
        assert x.shape == (300, inputs) and np.linalg.norm(steps, axis=1).mean() == pytest.approx(1.9, abs=0.4)


def test_playground_draws_what_the_page_draws():
    module = load("playground")
    random = np.random.default_rng(0)
    points = {name: draw(400, random) for name, draw in module.SETS.items()}
    radius = {name: np.hypot(*each.T) for name, each in points.items()}
    assert radius["circle"][:400].max() <= 2.5 < 3.5 <= radius["circle"][400:].min()
    quadrants = np.sign(points["xor"][:, 0] * points["xor"][:, 1])
    assert (quadrants[:400] == 1).all() and (quadrants[400:] == -1).all() and np.abs(points["xor"]).min() >= 0.3
    assert points["gauss"][:400].mean(0) == pytest.approx([2, 2], abs=0.2)
    # half a turn takes one arm of the spiral to the other
    turn = np.arctan2(points["spiral"][:, 0], points["spiral"][:, 1]) - 1.75 * 2 * np.pi * radius["spiral"] / 5
    assert np.cos(turn[:400]) == pytest.approx(1, abs=1e-9) and np.cos(turn[400:]) == pytest.approx(-1, abs=1e-9)


def test_playground_with_few_steps_with_one_and_with_another_heap(monkeypatch):
    measured, _ = run("playground", seeds=2, steps=60)
    assert measured["gauss: smallest layer"] == 1 and measured["xor: smallest layer"] >= 2
    module = load("playground")
    monkeypatch.setitem(module.SETS, "xor", module.gauss)
    monkeypatch.setitem(module.SETS, "gauss", module.circle)
    _, outcome = run("playground", seeds=2, steps=60)
    assert {"gauss: smallest layer", "xor: smallest layer"} <= {*failed(outcome)}
    _, untrained = run("playground", seeds=2, steps=1)
    assert "sets other than gauss solved by some layer" in failed(untrained)


def test_the_smallest_layer_is_that_of_the_best_start():
    module = load("playground")
    right = np.full((len(module.WIDTHS), 2), 50.0)
    assert module.smallest(right, 95) == np.inf
    right[2, 1] = 96
    assert module.smallest(right, 95) == module.WIDTHS[2]


def test_a_power_law_is_read_off():
    module = load("scaling-law")
    sizes = np.array([32, 64, 128, 256])
    assert module.law(sizes, 3 * sizes**-0.7) == pytest.approx((-0.7, 3, 1))
    assert np.isnan(module.law(sizes[:2], sizes[:2])).all()


def test_what_the_law_foretells_is_read_off_above_the_noise(monkeypatch):
    """Errors of 3.84 / n up to 128 examples; of 256 the law says .015, and .018 is less than twice the noise of .01."""
    module = load("scaling-law")
    error = {32: 0.12, 64: 0.06, 128: 0.03, 256: 0.018}
    monkeypatch.setattr(module, "students", lambda x, *rest: np.full(2, error[x.shape[1] - module.TESTED]))
    measured, outcome = run("scaling-law", seeds=2, most=256)
    assert of(outcome, "examples: power").values == pytest.approx((-1, -1))
    assert of(outcome, "error at 256 examples over what the law foretells").values == pytest.approx((1.2, 1.2))
    assert measured["noise, as a mean squared error"] == pytest.approx(0.01)


def test_the_step_at_which_training_stops_is_chosen_without_the_test():
    """The test's targets t, -t and 0 find the same net f: squares of f - t and of f + t are twice those of f and t."""
    module = load("scaling-law")
    x, y = module.teacher(0, 64 + module.TESTED, 0.3)
    t = torch.sign(y[64:])

    def told(target):
        return module.students(x[None], torch.cat([y[:64], target])[None], 8, module.Settings(steps=300))[0]

    assert told(t) + told(-t) == pytest.approx(2 * told(0 * t) + 2, rel=1e-4)


def test_scaling_law_with_labels_that_say_nothing(monkeypatch):
    module = load("scaling-law")
    _, outcome = run("scaling-law", quick=True, seeds=2)
    assert len(outcome.findings[0].values) == 2 and of(outcome, "examples: power").measured < -0.1
    right = module.teacher

    def dumb(seed, n, noise):
        x, y = right(seed, n, noise)
        return x, y[torch.randperm(n, generator=torch.Generator().manual_seed(0))]

    monkeypatch.setattr(module, "teacher", dumb)
    _, outcome = run("scaling-law", quick=True, seeds=2, steps=50)
    assert of(outcome, "examples: R²").holds is not True


def test_expert_is_gone_and_an_expert_who_sees_nothing(monkeypatch):
    _, outcome = run("expert-is-gone", seeds=3, steps=30)
    assert len(outcome.findings[0].values) == 3 and of(outcome, "by hand: right at n = 1400").measured > 85
    module = load("expert-is-gone")
    monkeypatch.setattr(module, "by_hand", lambda images, directions: np.random.default_rng(0).normal(size=(1797, 9)))
    _, outcome = run("expert-is-gone", seeds=3, steps=30)
    assert failed(outcome)[0] == "lead of the hand at n = 20, points"
    assert of(outcome, "lead of pixels").holds and of(outcome, "n*").measured <= 50


def test_features_are_scaled_by_the_digits_learnt_alone():
    module, x = load("expert-is-gone"), np.random.default_rng(0).normal(3, 2, (9, 4))
    scaled = module.standard(x, np.arange(5))
    assert scaled == pytest.approx((x - x[:5].mean(0)) / x[:5].std())
    assert (module.standard(np.vstack([x[:5], 9 * x[5:]]), np.arange(5))[:5] == scaled[:5]).all()


def test_features_by_hand_tell_in_which_direction_an_edge_runs():
    module = load("expert-is-gone")
    image = np.zeros((3, 8, 8))
    image[0, :, 4:] = 1  # brighter to the right
    image[1, 4:] = 1  # brighter downwards
    image[2] = image[0] * 3
    told = module.by_hand(image, 8).reshape(3, 9, 8).sum(1)
    assert told[:2].argmax(1).tolist() == [0, 2]
    assert told[2] == pytest.approx(told[0])  # contrast does not count
