"""Experiments on what nets, perceptrons and neurons do: exact ones pinned, the others by shape; verdicts change."""

import numpy as np
import pytest
import torch

from lab.lectures import Verdict, judge, load
from tests.lectures.test_experiments import failed, run
from tests.lectures.test_foundations_slides import of

pytestmark = pytest.mark.slow  # each experiment runs for seconds


def test_gradient_descent_rules():
    _, outcome = run("gradient-descent-rules", quadratics=5, points=100)
    assert judge(outcome.findings) is Verdict.HOLDS
    assert of(outcome, "largest rate that converges over 2/lambda_max, lowest").values == pytest.approx(
        [1] * 5, abs=1e-4
    )


def test_the_bound_is_of_the_largest_curvature_and_the_gradient_is_the_slope():
    module = load("gradient-descent-rules")
    assert module.largest_rate(np.diag([1.0, 4.0]), np.ones(2), 500) == pytest.approx(0.5, rel=1e-3)
    place, step = np.array([[1.3, -2.1]]), 1e-6
    numeric = [(module.hills(place + d) - module.hills(place - d))[0] / (2 * step) for d in np.eye(2) * step]
    assert module.slope(place)[0] == pytest.approx(numeric, rel=1e-5)
    assert module.hills(module.MINIMA) == pytest.approx(0, abs=1e-8)


def test_uphill_is_not_downhill(monkeypatch):
    module = load("gradient-descent-rules")
    right = module.slope
    monkeypatch.setattr(module, "slope", lambda w: -right(w))
    _, outcome = run("gradient-descent-rules", quadratics=1, points=20)
    assert failed(outcome) == ["best of 360 directions, step 1e-6: largest angle from -gradient, degrees"]


def test_fruit_table():
    measured, outcome = run("fruit-table")
    assert list(measured.values())[:4] == [4, 4, -1, 9]
    assert measured["perceptron on grams, most updates"] == 9361
    assert judge(outcome.findings) is Verdict.HOLDS
    module = load("fruit-table")
    for inputs in (module.FRUITS, module.scale(module.FRUITS)):
        for order in module.ORDERS:
            weights, _ = module.learn(inputs, order, 10_000)
            assert ((inputs @ weights[:2] + weights[2]) * module.ORANGES > 0).all()


def test_another_limit_of_weight_gets_a_fruit_wrong_and_agrees_on_the_unknown_one():
    _, outcome = run("fruit-table", grams=155)
    assert failed(outcome) == [
        "fruits right by weight, above 155 g",
        "150 g and smooth: answer by weight times answer by texture (1 orange, -1 apple)",
    ]


def test_spiking_neuron():
    measured, outcome = run("spiking-neuron", quick=True)
    assert [finding.holds for finding in outcome.findings[:7]] == [True, True, True, False, True, True, False]
    assert measured["going on: change of spike height from 10 to 20 uA/cm², %"] == pytest.approx(5.5, abs=0.3)
    assert measured["height of the first spike at 10 uA/cm², mV above rest"] == pytest.approx(105.5, abs=0.5)


def test_the_rate_formula_by_hand_and_a_neuron_without_rest_that_breaks_it(monkeypatch):
    module = load("spiking-neuron")
    # 2 nA through 10 MOhm: 1 / (2 ms + 10 ms ln(20 / 5))
    assert module.rate(np.array([1.4, 2.0])) == pytest.approx([0, 1000 / (2 + 10 * np.log(4))])
    right = module.integrate_and_fire
    monkeypatch.setattr(module, "integrate_and_fire", lambda current, dt: right(current, dt) * 1.1)
    _, outcome = run("spiking-neuron", quick=True)
    assert "integrate-and-fire: largest error of the rate formula, %" in failed(outcome)


def test_at_rest_the_hodgkin_huxley_neuron_rests():
    module = load("spiking-neuron")
    path = module.hodgkin_huxley(lambda t: np.zeros(1), 0.025, 30)
    assert np.abs(path - module.REST).max() < 0.1 and len(module.peaks(path[:, 0])) == 0


def test_depth_vs_width():
    module = load("depth-vs-width")
    assert (module.weights(module.WIDE), module.weights(module.DEEP)) == (601, 593)
    x = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])
    assert module.tent(x, 1).tolist() == [0, 0.5, 1, 0.5, 0] and module.tent(x, 2).tolist() == [0, 1, 0, 1, 0]
    assert module.composed(x, 2).tolist() == [0, 1, 0, 1, 0]
    _, outcome = run("depth-vs-width", seeds=2, steps=30)
    assert outcome.findings[0].measured == 0 and outcome.findings[1].holds and outcome.findings[5].holds
    assert all(len(finding.values) == 2 for finding in (outcome.findings[2], outcome.findings[4]))


def test_two_equal_nets_have_no_advantage_and_a_composition_misprinted_is_found(monkeypatch):
    module = load("depth-vs-width")
    monkeypatch.setattr(module, "DEEP", module.WIDE)
    monkeypatch.setattr(module, "composed", lambda x, folds: module.tent(x, folds - 1))
    _, outcome = run("depth-vs-width", seeds=2, steps=10)
    assert failed(outcome)[0].startswith("a net of 2 units")
    assert "weights of the trained deep net over the wide" in failed(outcome)
    assert of(outcome, "trained, triangle wave: error of wide over deep").values == (1, 1)


def test_depth_is_ahead_where_its_nets_err_less(monkeypatch):
    """Wide starts are off by .4 and .8, deep ones by .1 and .2: their squares are 16 times as large, the best also."""
    module = load("depth-vs-width")
    off = {module.WIDE: [0.4, 0.8], module.DEEP: [0.1, 0.2]}
    monkeypatch.setattr(module, "train", lambda sizes, x, y, *rest: y + torch.tensor(off[sizes])[:, None])
    _, outcome = run("depth-vs-width", seeds=2)
    for name in ("trained, triangle wave: error of wide over deep", "trained, sine: error of wide over deep"):
        assert of(outcome, name).values == pytest.approx((16, 16), rel=1e-3)
    best = of(outcome, "trained, triangle wave: error of the best wide start over the best deep")
    assert best.measured == pytest.approx(16, rel=1e-3) and of(outcome, "trained, sine").holds is False


def test_nets_side_by_side_are_independent():
    module = load("depth-vs-width")
    one, three = module.Nets(1, (4, 4)), module.Nets(3, (4, 4))
    x = torch.linspace(-1, 1, 7)[:, None]
    assert torch.allclose(one(x)[0], three(x)[0]) and not torch.allclose(three(x)[0], three(x)[1])


def test_fit_everything_random_labels():
    _, outcome = run("fit-everything-random-labels", seeds=5, train=100, hidden=256, epochs=150)
    fitted, test, slower = outcome.findings[:3]
    assert fitted.holds and slower.holds and 0 <= test.measured <= 20 and len(slower.values) == 5


def test_a_net_of_one_unit_fits_no_random_labels():
    _, outcome = run("fit-everything-random-labels", seeds=2, train=100, hidden=1, epochs=10)
    assert failed(outcome)[0] == "shuffled labels: training digits right, %"


def test_epochs_are_counted_from_one_and_one_more_than_there_were_if_never(monkeypatch):
    """True labels are fitted in the second epoch; shuffled ones in the sixth, or in none of seven."""
    module, calls = load("fit-everything-random-labels"), []

    def fit(x, *rest):
        calls.append(x)
        first = (2, 6, 2, 8)[len(calls) - 1]  # true and shuffled labels of one seed, then of the other
        return np.where(np.arange(1, 8)[:, None] >= first, 100.0, 10.0).repeat(2, 1)

    monkeypatch.setattr(module, "fit", fit)
    _, outcome = run("fit-everything-random-labels", seeds=2, epochs=7)
    assert of(outcome, "epochs to 99 %, shuffled labels over true").values == (3, 4)


def test_labels_that_are_not_shuffled_after_all_tell_of_new_digits(monkeypatch):
    module = load("fit-everything-random-labels")
    kept: list[torch.Tensor] = []
    right = module.fit

    def unshuffled(x, y, *rest):  # true labels come first, then the same shuffled
        labels = kept.pop() if kept else y
        if labels is y:
            kept.append(y)
        return right(x, labels, *rest)

    monkeypatch.setattr(module, "fit", unshuffled)
    _, outcome = run("fit-everything-random-labels", seeds=2, train=100, hidden=128, epochs=30)
    assert {"shuffled labels: test digits right, %", "epochs to 99 %, shuffled labels over true"} <= {*failed(outcome)}


def test_hidden_units_we_hope():
    _, outcome = run("hidden-units-we-hope", quick=True)
    right, share, chance = outcome.findings[:3]
    assert share.holds is False and all(len(finding.values) == 3 for finding in (right, share, chance))


def test_units_that_are_taught_loops_and_lines_have_them():
    _, outcome = run("hidden-units-we-hope", seeds=3, steps=400, taught=True)
    assert of(outcome, "share of units").holds


def test_random_groups_have_as_many_digits_as_the_subcomponents(monkeypatch):
    module, drawn = load("hidden-units-we-hope"), []
    right = module.members
    monkeypatch.setattr(module, "members", lambda groups, y: drawn.append(groups) or right(groups, y))
    run("hidden-units-we-hope", seeds=1, steps=1)
    assert len(drawn) >= 20 and len({*map(tuple, drawn)}) >= 20
    assert all([len({*group}) for group in groups] == [*map(len, module.PARTS.values())] for groups in drawn)


def test_groups_of_digits_and_their_correlations():
    module = load("hidden-units-we-hope")
    y = np.array([0, 6, 8, 9, 1])
    groups = module.members(["0689", "8"], y)
    assert groups.T.tolist() == [[1, 1, 1, 1, 0], [0, 0, 1, 0, 0]]
    r = module.correlations(np.column_stack([groups[:, 1], -groups[:, 0], np.ones(5)]), groups)
    assert r[0, 1] == pytest.approx(1) and r[1, 0] == pytest.approx(1) and r[2] == pytest.approx([0, 0])


def test_nn_vs_svm(monkeypatch):
    module = load("nn-vs-svm")
    monkeypatch.setattr(module, "SIZES", (50, 100, 1400))
    _, outcome = run("nn-vs-svm", seeds=5, steps=10, longest=2000, repeats=2)
    assert [finding.name for finding in outcome.findings[:2]] == [
        "lead of the machine at n = 50, points", "lead of the machine at n = 100, points",
    ]  # fmt: skip
    assert outcome.findings[2].holds is False, "a net of ten steps is behind"
    assert [len(finding.values) for finding in outcome.findings[:4]] == [5, 5, 5, 2]


def test_net_and_machine_are_asked_of_digits_that_they_have_not_learnt(monkeypatch):
    """Names given at random can be learnt by heart, and tell nothing of other digits."""
    module, x = load("nn-vs-svm"), np.random.default_rng(0).uniform(0, 16, (1797, 64))
    names = np.random.default_rng(1).integers(10, size=1797)
    monkeypatch.setattr("sklearn.datasets.load_digits", lambda return_X_y: (x, names))
    monkeypatch.setattr(module, "SIZES", (50,))
    net, machine = module.accuracies(module.Settings(seeds=2, steps=100), lambda: None)
    assert net.max() < 25 and machine.max() < 25


def test_a_machine_that_guesses_is_behind_and_one_that_takes_no_time_has_no_law(monkeypatch):
    module = load("nn-vs-svm")
    monkeypatch.setattr(module, "SIZES", (50, 100, 1400))
    guess = lambda settings, advance: (np.full((3, 3), 90.0) + np.arange(3), np.full((3, 3), 10.0) + np.arange(3))  # noqa: E731
    times = lambda settings, advance: (np.array([500, 1000, 2000]), np.array([[5.0, 10, 20], [6, 12, 24]]))  # noqa: E731
    monkeypatch.setattr(module, "accuracies", guess)
    monkeypatch.setattr(module, "training_times", times)
    _, outcome = run("nn-vs-svm", quick=True)
    assert failed(outcome) == [
        "lead of the machine at n = 50, points", "lead of the machine at n = 100, points",
        "training time of the machine grows with n to the power",
    ]  # fmt: skip
    assert outcome.findings[3].measured == pytest.approx(1)
