"""Inside sktime: pipelines, grid search, evaluate, benchmarks, panels, pickles, saving; other clocks, other units."""

import pickle

import numpy as np
import pandas as pd
import pytest
from sktime.base import load as sktime_load
from sktime.benchmarking.forecasting import ForecastingBenchmark
from sktime.forecasting.compose import TransformedTargetForecaster
from sktime.forecasting.model_evaluation import evaluate
from sktime.forecasting.model_selection import ForecastingGridSearchCV
from sktime.performance_metrics.forecasting import MeanAbsoluteError
from sktime.performance_metrics.forecasting.probabilistic import PinballLoss
from sktime.split import ExpandingWindowSplitter
from sktime.transformations.series.detrend import Detrender

from forecasting import saved
from forecasting.datasets import load, web_traffic
from forecasting.forecaster import (
    CNNForecaster,
    LSTMForecaster,
    RidgeForecaster,
    SeasonalNaiveForecaster,
    TransformerForecaster,
)  # fmt: skip
from lab.errors import InputError

QUICK = {"lookback": 24, "max_epochs": 1, "steps_per_epoch": 3, "random_state": 0, "device": "cpu"}
ALL = [
    SeasonalNaiveForecaster(), RidgeForecaster(lookback=24), CNNForecaster(**QUICK, skip=True),
    LSTMForecaster(**QUICK, intervals="quantile"), TransformerForecaster(**QUICK, intervals="dropout", passes=10),
]  # fmt: skip
NETWORKS = [CNNForecaster(**QUICK), LSTMForecaster(**QUICK), TransformerForecaster(**QUICK)]
STEPS = list(range(1, 13))


def name(value) -> str:
    return type(value).__name__


# sktime's own classes announce a default that is to change, and sort as pandas 3 will not
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*remember_data:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Sorting by default when concatenating"),
]


@pytest.mark.parametrize("forecaster", ALL, ids=name)
def test_pipeline_is_the_forecaster_of_what_is_left(forecaster):
    series = load("airline")
    detrender = Detrender()
    rest = detrender.fit_transform(series)
    alone = detrender.inverse_transform(forecaster.clone().fit(rest, fh=STEPS).predict())
    made = TransformedTargetForecaster([("trend", Detrender()), ("model", forecaster.clone())]).fit(series, fh=STEPS)
    np.testing.assert_allclose(made.predict(), alone, rtol=1e-6)
    assert made.predict_interval().shape == (12, 2)


@pytest.mark.slow
def test_grid_search_finds_the_season():
    """A daily cycle: of lookbacks 5, 24 and 7 only the second repeats it."""
    series = web_traffic(days=12, noise=0, bursts=0)
    cv = ExpandingWindowSplitter(initial_window=200, fh=STEPS, step_length=24)
    search = ForecastingGridSearchCV(
        SeasonalNaiveForecaster(), cv, {"lookback": [5, 24, 7]}, scoring=MeanAbsoluteError()
    )
    assert search.fit(series, fh=STEPS).best_params_ == {"lookback": 24}
    grid = {"patch": [6, 12], "intervals": ["conformal", "quantile"]}
    few = ExpandingWindowSplitter(initial_window=240, fh=STEPS, step_length=80)
    found = ForecastingGridSearchCV(CNNForecaster(**QUICK), few, grid, scoring=MeanAbsoluteError())
    assert found.fit(series, fh=STEPS).best_params_["patch"] in (6, 12) and len(found.predict()) == 12


@pytest.mark.slow
@pytest.mark.parametrize("forecaster", [RidgeForecaster(lookback=24), CNNForecaster(**QUICK)], ids=name)
@pytest.mark.parametrize(
    "backend", [{"backend": "loky", "backend_params": {"n_jobs": 2}}, {"backend": "ray"}], ids=lambda b: b["backend"]
)
def test_evaluate_in_other_processes_gives_the_same_numbers(forecaster, backend):
    if backend["backend"] == "ray":
        pytest.importorskip("ray", reason="ray is not installed (pip install 'rl-timeseries-lab[cluster]')")
    series = load("airline")
    cv = ExpandingWindowSplitter(initial_window=120, fh=STEPS, step_length=6)
    scoring = [MeanAbsoluteError(), PinballLoss()]
    options = {"forecaster": forecaster, "cv": cv, "y": series, "scoring": scoring}
    here = evaluate(**options)
    there = evaluate(**options, **backend)
    columns = ["test_MeanAbsoluteError", "test_PinballLoss"]
    assert len(here) == 3
    pd.testing.assert_frame_equal(here[columns], there[columns], check_exact=True)
    moved = evaluate(**options, strategy="no-update_params")
    assert moved["test_MeanAbsoluteError"].iloc[0] == here["test_MeanAbsoluteError"].iloc[0]


def test_benchmark(tmp_path):
    benchmark = ForecastingBenchmark()
    for forecaster in (SeasonalNaiveForecaster(), RidgeForecaster(lookback=24), LSTMForecaster(**QUICK)):
        benchmark.add_estimator(forecaster)
    cv = ExpandingWindowSplitter(initial_window=120, fh=STEPS, step_length=12)
    benchmark.add_task(lambda: load("airline"), cv, [MeanAbsoluteError()])
    table = benchmark.run(str(tmp_path / "results.csv"))
    assert len(table) == 3 and table.filter(like="MeanAbsoluteError_mean").notna().all(axis=None)


@pytest.mark.parametrize("forecaster", ALL, ids=name)
def test_panel_is_one_fit_per_series(forecaster):
    one, two = web_traffic(days=8, seed=1), web_traffic(days=8, seed=2)
    panel = pd.concat({"one": one.to_frame(), "two": two.to_frame()}, names=["site"])
    made = forecaster.clone().fit(panel, fh=[1, 5])
    alone = forecaster.clone().fit(two, fh=[1, 5])
    np.testing.assert_array_equal(made.predict().loc["two", "views"], alone.predict())
    bounds = made.predict_interval().loc["two"]
    np.testing.assert_array_equal(bounds, alone.predict_interval())


@pytest.mark.parametrize("forecaster", ALL, ids=name)
def test_pickled_and_saved_forecasters_forecast_the_same(forecaster, tmp_path):
    """By pickle, by sktime's own save, and as safetensors and JSON; each bit for bit, and after newer rows too."""
    series = web_traffic(days=12)
    X = pd.DataFrame({"sale": np.arange(24 * 12 + 24) % 7 < 2, "sky": ["sun", "rain", "sun"] * (8 * 13)})
    X.index = pd.date_range(series.index[0], periods=len(X), freq="h")
    fitted = forecaster.clone().fit(series.iloc[:-24] + 300 * X["sale"].iloc[: 24 * 11], X=X, fh=[1, 5, 24])
    fitted.save(tmp_path / "sktime")
    saved.save(str(tmp_path / "models"), {"mine": fitted})
    copies = [
        pickle.loads(pickle.dumps(fitted)), sktime_load(str(tmp_path / "sktime")),
        saved.load(str(tmp_path / "models"))["mine"],
    ]  # fmt: skip
    for each in (fitted, *copies):
        each.update(series.iloc[-24:], X=X, update_params=False)
    for copy in copies:
        pd.testing.assert_series_equal(copy.predict(X=X), fitted.predict(X=X), check_exact=True)
        pd.testing.assert_frame_equal(copy.predict_interval(X=X), fitted.predict_interval(X=X), check_exact=True)


@pytest.mark.parametrize("setting", ["lookback", "max_epochs"])
def test_a_setting_that_makes_no_sense_is_refused(setting):
    with pytest.raises(InputError, match=f"{setting} is 0; give at least 1"):
        CNNForecaster(**{setting: 0}).fit(load("airline"), fh=[1])


def test_a_damaged_model_is_refused(tmp_path):
    saved.save(tmp_path, {"mine": RidgeForecaster(lookback=12).fit(load("airline"), fh=[1])})
    file = next(tmp_path.rglob("arrays.safetensors"))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"saved model is damaged: .*arrays\.safetensors does not match its sha256"):
        saved.load(tmp_path)
    with pytest.raises(InputError, match="holds no saved model"):
        saved.load(tmp_path / "nothing")
    assert not list(tmp_path.rglob("*.p*kl*")) and {f.suffix for f in tmp_path.rglob("*.*") if f.is_file()} == {
        ".json", ".safetensors",
    }  # fmt: skip


@pytest.mark.parametrize("index", ["month", "day", "count", "zone"])
def test_saved_with_any_index(index, tmp_path):
    times = {
        "month": pd.period_range("2020-01", periods=60, freq="M"), "count": pd.RangeIndex(5, 65),
        "day": pd.date_range("2020-01-01", periods=60, freq="D"),
        "zone": pd.date_range("2024-03-30", periods=60, freq="h", tz="Europe/Berlin"),
    }[index]  # fmt: skip
    series = pd.Series(np.random.default_rng(0).normal(size=60).cumsum(), times, name="y")
    fitted = RidgeForecaster(lookback=6).fit(series, fh=[1, 2])
    saved.save(tmp_path, {"mine": fitted})
    pd.testing.assert_series_equal(saved.load(tmp_path)["mine"].predict(), fitted.predict(), check_freq=False)


@pytest.mark.parametrize("kind", ["one column", "no name", "two columns, mixed"])
def test_saved_in_the_form_it_was_fitted_in(kind, tmp_path):
    """Forecasts of a table are a table, of a nameless series nameless, and a network that mixes channels has them."""
    series = web_traffic(days=6)
    y = {"one column": series.to_frame(), "no name": series.rename(None),
         "two columns, mixed": pd.DataFrame({"a": series, "b": series**2})}[kind]  # fmt: skip
    made = (
        RidgeForecaster(lookback=24)
        if kind != "two columns, mixed"
        else CNNForecaster(lookback=24, max_epochs=1, mix=True, random_state=0)
    )
    fitted = made.fit(y, fh=[1, 3])
    saved.save(tmp_path, {"mine": fitted})
    copy, wanted = saved.load(tmp_path)["mine"].predict(), fitted.predict()
    assert type(copy) is type(wanted) and copy.equals(wanted)
    assert kind != "no name" or copy.name is None


def test_a_panel_is_not_saved(tmp_path):
    two = pd.concat({name: web_traffic(days=6, seed=n).to_frame() for n, name in enumerate(("one", "two"))})
    with pytest.raises(InputError, match="a forecaster of a panel holds one for each series"):
        saved.save(tmp_path, {"mine": RidgeForecaster(lookback=24).fit(two, fh=[1])})


# --- robustness -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("forecaster", [SeasonalNaiveForecaster(), RidgeForecaster(lookback=24), *NETWORKS], ids=name)
@pytest.mark.parametrize("intervals", ["conformal", "quantile"])
def test_constant_huge_and_tiny_series_train_without_nan(forecaster, intervals):
    if intervals == "quantile":
        if not hasattr(forecaster, "intervals"):
            pytest.skip("it has no quantile heads")
        forecaster = forecaster.clone().set_params(intervals=intervals)
    series = web_traffic(days=10)
    plain = forecaster.clone().fit(series, fh=STEPS)
    for scale in (1e12, 1e-12):
        made = forecaster.clone().fit(series * scale, fh=STEPS)
        np.testing.assert_allclose(made.predict() / scale, plain.predict(), rtol=1e-5)
        np.testing.assert_allclose(made.predict_interval() / scale, plain.predict_interval(), rtol=1e-4)
    for level in (0.0, 7.0, -1e12, 1e-12):
        flat = forecaster.clone().fit(series * 0 + level, fh=STEPS)
        np.testing.assert_allclose(flat.predict(), level, rtol=1e-9)
        np.testing.assert_allclose(flat.predict_interval(), level, rtol=1e-9)
        assert all(np.isfinite(list(epoch.values())).all() for epoch in getattr(flat, "losses_", []))


@pytest.mark.parametrize("forecaster", [RidgeForecaster(lookback=24), NETWORKS[1]], ids=name)
def test_a_time_zone_does_not_shift_the_forecast(forecaster):
    """Ten days around the night in which clocks in Berlin go forward: the same rows, the same forecast, at the same
    instants."""
    utc = web_traffic(days=10, start="2024-03-26").tz_localize("UTC")
    berlin = utc.tz_convert("Europe/Berlin")
    assert berlin.index.freqstr == "h" and berlin.index[0].hour == 1 and berlin.index[-1].hour == 1
    made = [forecaster.clone().fit(series, fh=STEPS) for series in (utc.tz_localize(None), utc, berlin)]
    forecasts = [each.predict() for each in made]
    bounds = [each.predict_interval() for each in made]
    for other in (1, 2):
        np.testing.assert_array_equal(forecasts[0], forecasts[other])
        np.testing.assert_array_equal(bounds[0], bounds[other])
    assert list(forecasts[2].index.tz_convert("UTC").tz_localize(None)) == list(forecasts[0].index)


def test_members_over_lookbacks_are_averaged():
    """As the documentation has it, with and without the linear skip."""
    from sktime.forecasting.compose import EnsembleForecaster

    series = web_traffic(days=10)
    settings = {"max_epochs": 1, "steps_per_epoch": 2, "random_state": 0, "device": "cpu"}
    kinds = [(24, False), (24, True), (48, False), (48, True)]
    members = [LSTMForecaster(lookback=lookback, skip=skip, **settings) for lookback, skip in kinds]
    ensemble = EnsembleForecaster([(str(number), member) for number, member in enumerate(members)])
    made = ensemble.fit(series, fh=STEPS).predict()
    alone = [member.clone().fit(series, fh=STEPS).predict() for member in members]
    np.testing.assert_allclose(made, np.mean(alone, axis=0), rtol=1e-6)


def test_columns_of_update_are_those_of_fit():
    frame = pd.DataFrame({"a": web_traffic(days=8, seed=1), "b": web_traffic(days=8, seed=2)})
    fitted = RidgeForecaster(lookback=24).fit(frame.iloc[:-5], fh=[1])
    swapped = fitted.clone().fit(frame.iloc[:-5], fh=[1])
    fitted.update(frame.iloc[-5:], update_params=False)
    swapped.update(frame.iloc[-5:][["b", "a"]], update_params=False)
    pd.testing.assert_frame_equal(fitted.predict(), swapped.predict()[["a", "b"]])
    with pytest.raises(InputError, match=r"update has columns \['a', 'c'\], fit had \['a', 'b'\]"):
        fitted.update(frame.rename(columns={"b": "c"}), update_params=False)


def test_irregular_times_are_named():
    series = web_traffic(days=3)
    with pytest.raises(InputError, match=r"row 10 of the series, 2024-01-01 10:10:00, comes 0 days 01:10:00 after"):
        moved = series.rename({series.index[10]: series.index[10] + pd.Timedelta(minutes=10)})
        RidgeForecaster(lookback=4).fit(moved, fh=[1])


def test_a_gap_before_the_rows_of_update_is_named():
    for series in (load("airline"), web_traffic(days=6)):
        fitted = RidgeForecaster(lookback=12).fit(series.iloc[:120], fh=[1])
        with pytest.raises(InputError, match=f"row 120 of the series, {series.index[121]}"):
            fitted.update(series.iloc[121:], update_params=False)


@pytest.mark.parametrize("update_params", [False, True])
def test_forecasts_follow_the_rows_of_update_even_where_later_ones_were_seen(update_params):
    series = pd.Series(np.arange(210.0), pd.date_range("2024-01-01", periods=210, freq="D"))
    fitted = RidgeForecaster(lookback=14).fit(series.iloc[:200], fh=[1, 2])
    fitted.update(series.iloc[150:160], update_params=update_params)
    made = fitted.predict()
    assert made.tolist() == pytest.approx([160, 161]) and made.index[0] == series.index[160]
    fitted.update(series.iloc[160:210], update_params=False)
    assert fitted.predict().iloc[0] == pytest.approx(210)
    with pytest.raises(InputError, match=r"holds 10 rows up to there, fewer than its lookback 14"):
        fitted.update(series.iloc[:10], update_params=False)


def test_an_update_that_is_refused_changes_nothing():
    series = web_traffic(days=9)
    fitted = RidgeForecaster(lookback=48).fit(series.iloc[:200], fh=[1])
    before = fitted.predict()
    with pytest.raises(InputError, match="row 200 of the series"):
        fitted.update(series.iloc[205:210], update_params=False)
    pd.testing.assert_series_equal(fitted.predict(), before)
    fitted.update(series.iloc[200:210], update_params=False)
    assert fitted.predict().index[0] == series.index[210]


def test_rows_are_numbered_by_steps_of_one():
    values = np.arange(40.0) % 7
    fitted = SeasonalNaiveForecaster(lookback=7).fit(pd.Series(values[:30]), fh=[1])
    with pytest.raises(InputError, match="row 30 of the series has number 33 after 29"):
        fitted.update(pd.Series(values[33:], range(33, 40)), update_params=False)
    with pytest.raises(InputError, match="number rows by steps of 1"):
        fitted.clone().fit(pd.Series(values, range(0, 80, 2)), fh=[1])


def test_a_saved_forecaster_is_not_fitted_anew_to_its_last_rows(tmp_path):
    saved.save(tmp_path, {"mine": RidgeForecaster(lookback=12).fit(load("airline").iloc[:-9], fh=[1])})
    with pytest.raises(InputError, match="holds only its last rows and cannot be fitted anew"):
        saved.load(tmp_path)["mine"].update(load("airline").iloc[-9:])


def test_too_short_names_what_would_work():
    series = load("airline")
    with pytest.raises(InputError, match=r"144 rows are fewer than lookback 140 \+ horizon 6; give 146 rows, or a look"
                       "back of 138 or less"):  # fmt: skip
        RidgeForecaster(lookback=140).fit(series, fh=[6])
    RidgeForecaster(lookback=138).fit(series, fh=[6])
    with pytest.raises(InputError, match="or lookback 1 and a horizon of 143 or less"):
        RidgeForecaster().fit(series, fh=[150])
    RidgeForecaster(lookback=1).fit(series, fh=[143])


# --- leakage --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("forecaster", ALL, ids=name)
def test_the_future_changes_nothing(forecaster):
    """The test part perturbed, in y and (before it is asked about) in X: scaler, weights and outputs bit-identical."""
    series = web_traffic(days=12)
    X = pd.DataFrame({"heat": np.random.default_rng(0).normal(size=len(series))}, series.index)
    train = series.iloc[:-48] + 200 * X["heat"].iloc[:-48]
    later = X.copy()
    later.iloc[-24:] = 1e6  # beyond what is forecast
    made = [forecaster.clone().fit(train, X=known, fh=STEPS) for known in (X, later)]
    np.testing.assert_array_equal(made[0].mean_, train.mean())  # of the training part alone
    np.testing.assert_array_equal(made[0].scale_, train.std(ddof=0))
    for what in ("predict", "predict_interval"):
        one, two = getattr(made[0], what)(X=X), getattr(made[1], what)(X=later)
        np.testing.assert_array_equal(one, two)
    # rows that come later move no weight, when they are only shown
    before = {key: np.copy(value) for key, value in vars(made[0]).items() if isinstance(value, np.ndarray)}
    made[0].update(series.iloc[-48:-24] * 1e3, X=X, update_params=False)
    for key, value in before.items():
        np.testing.assert_array_equal(value, getattr(made[0], key))
