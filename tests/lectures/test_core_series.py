"""Core experiments on series and forecasting: what is exact is pinned, and every verdict can change."""

import numpy as np
import pytest
import torch

from lab.lectures import Verdict, judge, load
from tests.lectures.test_experiments import failed, run
from tests.lectures.test_foundations_slides import of

pytestmark = pytest.mark.slow  # each experiment runs for seconds

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
    assert of(outcome, "accuracy after equal steps").holds is False and judge(outcome.findings) is Verdict.HOLDS


def test_the_rate_of_a_loss_is_the_one_that_validates_best(monkeypatch):
    """Here another one would be best on the test."""
    module, rates = load("three-steps-losses"), (1.0, 3.0, 8.0)
    alone = []
    for rate in rates:
        monkeypatch.setattr(module, "RATES", (rate,))
        alone.append(module.classify(module.cross_entropy, 0, 6))
    monkeypatch.setattr(module, "RATES", rates)
    validation, test = np.array(alone)[..., -1].T
    assert validation.argmax() != test.argmax()
    np.testing.assert_allclose(module.classify(module.cross_entropy, 0, 6), alone[validation.argmax()], atol=0.01)


def test_what_cross_entropy_gains_is_its_accuracy_less_that_of_squares(monkeypatch):
    module = load("three-steps-losses")
    monkeypatch.setattr(
        module, "classify", lambda loss, seed, steps: np.full((2, 3), 0.9 if loss is module.cross_entropy else 0.5)
    )
    _, outcome = run("three-steps-losses", seeds=2, weeks=4, starts=3, steps=1)
    assert of(outcome, "accuracy after equal steps").values == pytest.approx((0.4, 0.4))


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
    _, outcome = run("traffic-model-ladder", seeds=8, steps=1)
    assert of(outcome, "weekly traffic").holds is False and of(outcome, "aperiodic").holds is False


def test_the_ladder_sees_the_day_before_and_never_the_day_itself():
    module = load("traffic-model-ladder")
    series = np.arange(module.LAGS[-1] + 2 * module.YEAR)
    for lags in module.LAGS:
        x, y = module.rows(series, lags)
        assert x.shape == (2 * module.YEAR, lags) and y.shape == (2 * module.YEAR,)
        assert (x[:, -1] == y - 1).all() and y[0] == module.LAGS[-1]
        linear = module.linear(torch.tensor(x, dtype=torch.float64), torch.tensor(y, dtype=torch.float64))
        assert linear.numpy() == pytest.approx(y, abs=1e-5)  # tomorrow is today and one


def test_the_ladder_is_fitted_to_the_first_year_alone():
    module = load("traffic-model-ladder")
    series = module.views(0, "weekly")
    later = np.concatenate([series[: module.LAGS[-1] + module.YEAR], 2 * series[module.LAGS[-1] + module.YEAR :]])
    (x, y, spread), (other_x, other_y, other_spread) = (module.scaled(each, 7) for each in (series, later))
    first = slice(0, module.YEAR)
    assert torch.equal(x[first], other_x[first]) and torch.equal(y[first], other_y[first]) and spread == other_spread
    assert y[first].mean().item() == pytest.approx(0, abs=1e-9) and y[first].std(correction=0).item() == pytest.approx(
        1
    )
    settings = module.Settings(steps=3)
    for fit in (module.linear, lambda x, y: module.sigmoids(x[None], y[None], 4, settings)[0]):
        torch.testing.assert_close(fit(x, y)[first], fit(other_x, other_y)[first])


def test_errors_are_of_the_next_year_and_last_weeks_day_is_seven_days_ago(monkeypatch):
    """Views that repeat every week, but for noise of 1 a day."""
    module = load("traffic-model-ladder")
    week = np.array([500.0, 100, 900, 300, 700, 200, 1000])

    def views(seed, kind):
        days = module.LAGS[-1] + 2 * module.YEAR
        noise = np.random.default_rng(seed).normal(size=days)
        return np.resize(week, days) + noise * np.where(np.arange(days) < module.LAGS[-1] + module.YEAR, 1, 5)

    monkeypatch.setattr(module, "views", views)
    measured, outcome = run("traffic-model-ladder", seeds=1, steps=1)
    assert 4 < measured["MAE of the next year, the same weekday of last week, views a day"] < 8  # 5 sqrt(2) sqrt(2 / π)
    one, seven = (measured[f"MAE of the next year, linear, {lags} lags, views a day"] for lags in (1, 7))
    assert of(outcome, "weekly traffic, linear: what 7 lags cut").measured == pytest.approx(1 - seven / one)


def test_sigmoids_of_one_seed_do_not_depend_on_another():
    module = load("traffic-model-ladder")
    x, y = torch.randn(2, 2 * module.YEAR, 3).double(), torch.randn(2, 2 * module.YEAR).double()
    settings = module.Settings(steps=5)
    together, alone = module.sigmoids(x, y, 10, settings), module.sigmoids(x[:1], y[:1], 10, settings)
    torch.testing.assert_close(together[:1], alone, rtol=1e-4, atol=1e-4)


# --- cnn1d-for-series -------------------------------------------------------------------------------------------------


def test_conv1d_is_conv2d_of_one_row_and_another_padding_is_found_out(monkeypatch):
    module = load("cnn1d-for-series")
    assert module.difference(0) < 1e-6
    usual = torch.nn.Conv2d
    monkeypatch.setattr(module.nn, "Conv2d", lambda *given, **more: usual(*given, **more, padding_mode="circular"))
    assert module.difference(0) > 0.1


@pytest.mark.parametrize(("winner", "holds"), [("CNN", True), ("LSTM", False), ("1-NN", False)])
def test_the_ranks_tell_who_wins(monkeypatch, winner, holds):
    module = load("cnn1d-for-series")
    monkeypatch.setattr(module, "fitting", lambda kind, data: lambda: torch.nn.Linear(1, 1 + (kind == winner)))
    monkeypatch.setattr(module, "accuracy", lambda make, *rest: 0.5 + 0.1 * (make().out_features == 2))
    monkeypatch.setattr(module, "nearest", lambda data: 0.5 + 0.1 * (winner == "1-NN"))
    measured, outcome = run("cnn1d-for-series", seeds=2)
    assert outcome.findings[1].holds is holds
    assert measured[f"mean rank of {winner} of 5"] == 1
    assert {measured[f"mean rank of {name} of 5"] for name in ("CNN", "LSTM", "MLP", "1-NN")} <= {1, 3.5}


def test_classifiers_have_one_size_and_learn():
    module = load("cnn1d-for-series")
    data = module.load("ItalyPowerDemand")
    for kind in module.NETS:
        make = module.fitting(kind, data)
        assert 0.9 * module.WEIGHTS <= module.size(make()) <= 1.1 * module.WEIGHTS
        assert module.accuracy(make, *data[:4], 3e-3, 60, 0) > 0.85
    assert module.nearest(data) == pytest.approx(0.9553, abs=5e-5)  # as published for 1-NN with Euclidean distance


def test_the_rate_of_a_classifier_is_chosen_within_the_training_part(monkeypatch):
    module, seen = load("cnn1d-for-series"), []
    x, y = torch.arange(30.0)[:, None, None], torch.arange(30) % 2

    def accuracy(make, x, y, held, truth, rate, steps, seed):
        seen.append(sorted([*x.flatten().tolist(), *held.flatten().tolist()]))
        assert len(held) == 10
        return float(rate == module.RATES[2])

    monkeypatch.setattr(module, "accuracy", accuracy)
    data = module.Series(x, y, x + 100, y, 2)
    assert module.choose_rate(lambda: None, data, 1) == module.RATES[2] and len(seen) == len(module.RATES)
    assert all(each == [*range(30)] for each in seen)


def test_a_classifier_answers_with_the_normalisation_of_its_training():
    module, modes = load("cnn1d-for-series"), []

    class Watched(torch.nn.Linear):
        def forward(self, x):
            modes.append(self.training)
            return super().forward(x)

    x, y = torch.randn(6, 3), torch.arange(6) % 2
    module.accuracy(lambda: Watched(3, 2), x, y, x, y, 1e-3, 2, 0)
    assert modes == [True, True, False]


def test_patches_keep_the_newest_steps():
    module = load("cnn1d-for-series")
    cut = module.Patches(4)(torch.arange(22).reshape(1, 2, 11))
    assert cut.tolist() == [[[3, 4, 5, 6, 14, 15, 16, 17], [7, 8, 9, 10, 18, 19, 20, 21]]]


# --- rnn-vs-transformer-table -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "Transformer"])
def test_the_work_of_a_pass_is_counted_as_torch_counts_it(kind):
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    module, length, width = load("rnn-vs-transformer-table"), 24, 16
    net = module.NETS[kind](width)
    weights = 2 * length * sum(p.numel() for p in net.parameters() if p.ndim == 2)
    counted = weights  # of a recurrent layer, whose kernel the counter does not look into
    if kind == "Transformer":
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # it does not count fused kernels
            net(torch.randn(1, length, width))
        counted = counter.get_total_flops()
    assert module.work(kind, width, length) * length == pytest.approx(counted, rel=1e-9)


def test_the_gradient_to_the_first_input_is_the_product_of_jacobians():
    module = load("rnn-vs-transformer-table")

    def scalar(width: int):
        net = module.Recurrent(torch.nn.RNN, width)
        with torch.no_grad():
            for weight in net.parameters():
                weight.zero_()
            net.cell.weight_ih_l0 += 1e-4 * torch.eye(width)  # so small that tanh is linear
            net.cell.weight_hh_l0 += 0.5 * torch.eye(width)
        return net

    usual, module.NETS["RNN"] = module.NETS["RNN"], scalar
    try:
        assert module.reach("RNN", 11, 4, 0) == pytest.approx(10 * np.log10(0.5), abs=1e-3)
    finally:
        module.NETS["RNN"] = usual


def test_recall_is_learnt_where_it_can_be_and_chance_where_nothing_is_trained():
    module = load("rnn-vs-transformer-table")
    for kind in module.NETS:
        assert module.recall(kind, 3, 1e-2, module.Settings(steps=300), 0) > 0.95
    assert module.recall("RNN", 20, 1e-3, module.Settings(steps=1), 0) < 0.3


def test_a_table_of_nets_that_keep_everything_is_found_out(monkeypatch):
    module = load("rnn-vs-transformer-table")

    class Sum(torch.nn.Module):
        def __init__(self, width):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.ones(()))

        def forward(self, x):
            return self.scale * x.cumsum(1)

    monkeypatch.setitem(module.NETS, "RNN", Sum)
    monkeypatch.setattr(module, "seconds", lambda kind, length: length ** {"RNN": 0.0, "Transformer": 0.5}.get(kind, 1))
    monkeypatch.setattr(module, "recall", lambda kind, *rest: {"RNN": 1.0, "Transformer": 0.2}.get(kind, 0.5))
    _, outcome = run("rnn-vs-transformer-table", seeds=2)
    assert [finding.holds for finding in outcome.findings[:7]] == [False] * 3 + [True] + [False] * 3
    assert judge(outcome.findings) is Verdict.MIXED


# --- forecast-benchmark -----------------------------------------------------------------------------------------------


def test_the_nets_of_the_benchmark_are_of_one_size_on_every_series():
    module = load("forecast-benchmark")
    for name in module.SERIES:
        ratios = module.relative_sizes(module.series(name, 0, 60))
        assert ratios[-1] == 1 and all(0.9 <= ratio <= 1.1 for ratio in ratios)


def test_a_forecast_sees_nothing_of_what_it_forecasts():
    module = load("forecast-benchmark")
    values = module.series("airline", 0, 30)
    start, last = module.first_origin(len(values), 12), len(values) - 12
    assert module.origins(len(values), start, 12) == list(range(start, last + 1, 3))
    changed = values.copy()
    changed.iloc[last:] *= 9
    for name in ("linear", "seasonal naive", "CNN"):
        settings = module.Settings(epochs=1)
        made, again = (
            module.roll(module.forecasters(start, 12, 0, settings)[name], each, start) for each in (values, changed)
        )
        assert len(made) == 9
        np.testing.assert_array_equal(made, again)
        assert module.errors(values, made, start) != module.errors(changed, again, start)


def test_the_seasonal_naive_of_the_benchmark_by_hand():
    module = load("forecast-benchmark")
    values, array = (given := module.series("airline", 0, 30)), given.to_numpy()
    start = module.first_origin(len(values), 12)
    made = module.roll(module.SeasonalNaiveForecaster(lookback=12), values, start)
    by_hand = [np.abs(array[at : at + 12] - array[at - 12 : at]).mean() / np.abs(array[12:at] - array[: at - 12]).mean()
               for at in module.origins(len(values), start, 12)]  # fmt: skip
    assert module.errors(values, made, start)[1] == pytest.approx(np.mean(by_hand))


@pytest.mark.parametrize(
    ("good", "holds"),
    [("Transformer", [True, None, False]), ("LSTM", [False, False, None]), ("CNN", [None, True, True])],
)
def test_the_benchmark_tells_which_net_is_best(monkeypatch, good, holds):
    module = load("forecast-benchmark")

    def stand_ins(start, cycle, seed, settings):
        naive = {name: module.SeasonalNaiveForecaster(lookback=1) for name in (*module.RIVALS, *module.NETS)}
        return naive | {good: module.SeasonalNaiveForecaster(lookback=cycle)}

    monkeypatch.setattr(module, "forecasters", stand_ins)
    monkeypatch.setattr(module, "SERIES", ("airline", "seatbelts"))
    _, outcome = run("forecast-benchmark", seeds=2)
    told = {finding.name.split(": ")[-1]: finding.holds for finding in outcome.findings if finding.expected}
    pairs = ("Transformer less LSTM", "CNN less LSTM", "CNN less Transformer")
    for pair, expected in zip(pairs, holds, strict=True):
        assert told[pair] is (expected if expected is not None else pair != "Transformer less LSTM")
    assert told[f"{good} less linear"] is True and judge(outcome.findings) is Verdict.MIXED
