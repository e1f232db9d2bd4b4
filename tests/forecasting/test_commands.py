"""`lab forecast` as a person uses it: what it writes, what it warns of, forecasting again with what was saved."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from forecasting import benchmark, saved
from forecasting.again import _moved
from forecasting.commands import Forecast
from forecasting.datasets import web_traffic
from forecasting.linear import RidgeForecaster
from lab.errors import InputError, Notice

OPTIONS = {"horizon": 12, "models": ("linear",), "backtest": 2, "json": True}


def write(path: Path, series: pd.Series, **columns: object) -> Path:
    series.to_frame("views").assign(**columns).to_csv(path, index_label="time")
    return path


def shown(capsys) -> dict:
    return json.loads(capsys.readouterr().out)


def forecast_of(path: Path, runs: Path, capsys, **options: object) -> pd.DataFrame:
    """forecast.csv of 24 steps after the CSV `path`."""
    Forecast(series=str(path), runs=runs, **{**OPTIONS, "horizon": 24, **options})()
    return pd.read_csv(Path(shown(capsys)["result"]) / "forecast.csv", float_precision="round_trip")


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


@pytest.mark.slow
def test_a_person_with_a_csv(tmp_path, runs, lab_command):
    """The command of the documentation, whole: leaderboard with the floor first, files, the page, the last line."""
    write(tmp_path / "my.csv", web_traffic(days=28))
    done = lab_command(
        "forecast", "my.csv", "--target", "views", "--horizon", "24", "--time", "time", "--models", "cnn", "lstm",
        "transformer", "linear", "--backtest", "5", "--max-epochs", "1", "--runs", "runs",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("│")]
    assert lines[0].split()[1] == "seasonal-naive" and len(lines) == 5
    assert done.stdout.splitlines()[-1] == "Result: runs/forecast-my"
    run = runs / "forecast-my"
    board = pd.read_csv(run / "leaderboard.csv")
    assert list(board.columns) == [
        "model", "MASE", "sMAPE", "MAE", "better", "coverage", "seconds", "epochs", "parameters", "origins",
    ]  # fmt: skip
    assert set(board["origins"]) == {5}
    made = pd.read_csv(run / "forecast.csv")
    assert len(made) == 5 * 24 and list(made.columns) == ["time", "model", "forecast", "lower", "upper"]
    assert made["model"].iloc[0] == board.sort_values("MASE")["model"].iloc[0]  # best first
    assert (run / "forecast.html").stat().st_size > 10_000 and (run / "figures/forecast-ahead.png").exists()


def test_no_model_beats_the_floor_and_that_is_said(tmp_path, runs, capsys):
    """A walk from day to day: yesterday's same hour is the best there is, and one value of lookback is far worse."""
    days = np.random.default_rng(0).normal(size=(40, 24)).cumsum(axis=0).ravel()
    path = write(tmp_path / "walk.csv", pd.Series(days, pd.date_range("2024-01-01", periods=960, freq="h")))
    with pytest.warns(Notice, match="no model beats seasonal-naive on the held-out end"):
        Forecast(series=str(path), runs=runs, lookback=1, **OPTIONS)()
    assert shown(capsys)["best"] == "seasonal-naive"
    assert "No model beats seasonal-naive" in (runs / "forecast-walk/forecast.html").read_text()


def test_floor_logic():
    def table(**scores: float) -> pd.DataFrame:
        return pd.DataFrame({"model": list(scores), "MASE": list(scores.values()), "MAE": 1.0})

    assert benchmark.beats_naive(table(naive=2, cnn=1)) and not benchmark.beats_naive(table(naive=1, cnn=2))
    assert not benchmark.beats_naive(table(naive=3, naive_weekly=1, cnn=2))
    assert benchmark.beats_naive(table(naive=1))  # nothing was set against it
    ranked = benchmark._ranked(table(cnn=1, weekly_naive=3, lstm=0.5, naive=2))
    assert list(ranked["model"]) == ["naive", "weekly_naive", "lstm", "cnn"]


# --- again ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def fitted(tmp_path, runs, capsys):
    """A run of two models on 27 of 28 days."""
    path = write(tmp_path / "first.csv", web_traffic(days=28).iloc[: 24 * 27])
    options = {**OPTIONS, "models": ("linear", "lstm"), "max_epochs": 1}
    Forecast(series=str(path), runs=runs, **options)()
    capsys.readouterr()
    return runs / "forecast-first"


def again(path: Path, load: Path, runs: Path, capsys, **options: object) -> pd.DataFrame:
    Forecast(series=str(path), load=load, runs=runs, json=True, **options)()
    return pd.DataFrame(shown(capsys)["forecasts"])


def test_again_on_the_same_rows_is_the_same_forecast(tmp_path, fitted, runs, capsys):
    made = again(tmp_path / "first.csv", fitted, runs, capsys)
    before = pd.read_csv(fitted / "forecast.csv")
    assert list(made["model"].unique()) == list(before["model"].unique())
    pd.testing.assert_frame_equal(made, before)
    narrow = again(tmp_path / "first.csv", fitted, runs, capsys, coverage=0.5)
    assert (narrow["upper"] - narrow["lower"] < made["upper"] - made["lower"]).all()
    assert {"forecast.csv", "forecast.html", "figures"} <= {f.name for f in (runs / "forecast-first-again").iterdir()}


def test_again_on_new_rows_is_the_update_of_the_model(tmp_path, fitted, runs, capsys):
    """All rows, the new rows alone, and a part that overlaps: one forecast, that of the saved model moved on."""
    series = web_traffic(days=28)
    whole, tail, part = (
        again(write(tmp_path / f"{number}.csv", rows), fitted, runs, capsys, models=("lstm",))
        for number, rows in enumerate((series, series.iloc[24 * 27 :], series.iloc[24 * 20 :]))
    )
    assert whole["time"].iloc[0] == "2024-01-29 00:00:00" and len(whole) == 12
    pd.testing.assert_frame_equal(whole, tail)
    pd.testing.assert_frame_equal(whole, part)
    model = saved.load(fitted / "models")["lstm"]
    model.update(series.iloc[24 * 27 :], update_params=False)
    np.testing.assert_array_equal(whole["forecast"], model.predict())
    np.testing.assert_array_equal(whole[["lower", "upper"]], model.predict_interval())


def test_again_elsewhere(tmp_path, fitted, runs, capsys):
    """Rows that do not follow are forecast from by themselves, if there are enough of them."""
    later = web_traffic(days=60).iloc[24 * 40 :]
    made = again(write(tmp_path / "later.csv", later), fitted, runs, capsys, models=("linear",))
    assert made["time"].iloc[0] == "2024-03-01 00:00:00"
    with pytest.raises(InputError, match=r"few\.csv: 30 rows are fewer than the \d+ that the model looks back, and do "
                       "not follow"):  # fmt: skip
        again(write(tmp_path / "few.csv", later.iloc[:30]), fitted, runs, capsys)


@pytest.mark.parametrize("start", [100, 965])
def test_rows_from_elsewhere_keep_their_place_in_the_season(tmp_path, start):
    """Counted from the first row that was fitted to, of which the saved forecaster holds the last ones only."""
    series = web_traffic(days=60)
    saved.save(tmp_path, {"linear": RidgeForecaster(lookback=48).fit(series.iloc[:400], fh=[1])})
    moved = _moved(saved.load(tmp_path)["linear"], series.iloc[start : start + 90], None, "here")
    assert moved.first_ == start and len(moved.history_) == 90


def test_again_refused(tmp_path, fitted, runs, capsys):
    half = write(tmp_path / "half.csv", web_traffic(days=28).iloc[::2])
    with pytest.raises(InputError, match=r"half\.csv has a step of 2h, the models of .*forecast-first one of h"):
        again(half, fitted, runs, capsys)
    with pytest.raises(InputError, match="unknown saved model 'cnn'"):
        again(tmp_path / "first.csv", fitted, runs, capsys, models=("cnn",))
    with pytest.raises(InputError, match="is no run of lab forecast with saved models"):
        again(tmp_path / "first.csv", tmp_path, runs, capsys)
    with pytest.raises(InputError, match="forecast-first forecast 12 steps, not 24; leave --horizon out"):
        again(tmp_path / "first.csv", fitted, runs, capsys, horizon=24)
    with pytest.raises(InputError, match="coverage 90 is no share"):
        again(tmp_path / "first.csv", fitted, runs, capsys, coverage=90)
    assert [path.name for path in runs.iterdir()] == ["forecast-first"]  # nothing half-made stays


# --- known ahead, clocks, named series ------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:no model beats:lab.errors.Notice")
def test_known_columns_of_a_csv(tmp_path, runs, capsys):
    chosen = {1, 4, 5, 9, 13, 14, 20, 22, 28}  # days, without a rhythm; one of them held out
    sale = np.isin(np.arange(24 * 30) // 24, list(chosen))
    series = web_traffic(days=30, bursts=0) * np.where(sale, 2.0, 1.0)
    rows = series.where(np.arange(len(series)) < 24 * 29)
    path = write(tmp_path / "sales.csv", rows, sale=sale.astype(int))
    with pytest.raises(InputError, match=r"row 698, .*or name what is known of these last rows with --known"):
        Forecast(series=str(path), target="views", runs=runs, **OPTIONS)()
    past = write(tmp_path / "past.csv", rows.iloc[: 24 * 29])
    Forecast(series=str(past), runs=runs, **{**OPTIONS, "horizon": 24})()
    blind = shown(capsys)["models"][1]["MASE"]
    Forecast(series=str(path), target="views", known=("sale",), runs=runs, **{**OPTIONS, "horizon": 24})()
    said = shown(capsys)
    assert said["models"][1]["MASE"] < 0.7 * blind
    made = again(path, Path(said["result"]), runs, capsys)
    pd.testing.assert_frame_equal(made, pd.read_csv(Path(said["result"]) / "forecast.csv"))
    with pytest.raises(InputError, match="X has no row for 2024-01-30 07:00:00, which is forecast"):
        ends = write(tmp_path / "ends.csv", rows.iloc[: 24 * 29 + 7], sale=sale[: 24 * 29 + 7].astype(int))
        again(ends, Path(said["result"]), runs, capsys)
    short = write(tmp_path / "short.csv", rows.iloc[: 24 * 29 + 7], sale=sale[: 24 * 29 + 7].astype(int))
    with pytest.raises(InputError, match=r"'sale' must be known for 24 rows after the last value, and 7 are there; add "
                       r"rows with 'views' left empty, or give --horizon 7 or less"):  # fmt: skip
        Forecast(series=str(short), target="views", known=("sale",), runs=runs, **{**OPTIONS, "horizon": 24})()
    with pytest.raises(InputError, match="airline is a named series"):
        Forecast(series="airline", known=("sale",), runs=runs, **OPTIONS)()


def test_a_time_zone_does_not_shift_the_forecast(tmp_path, runs, capsys):
    """One series, its times with offsets of other places: the same numbers for the same instants."""
    utc = web_traffic(days=28, start="2024-03-10")
    frames = []
    for zone in ("UTC", "Europe/Berlin", "America/New_York"):
        times = [time.isoformat() for time in utc.index.tz_localize("UTC").tz_convert(zone)]
        path = tmp_path / f"{zone[:3]}.csv"
        pd.DataFrame({"time": times, "views": utc.to_numpy()}).to_csv(path, index=False)
        frames.append(forecast_of(path, runs, capsys))
    for other in frames[1:]:
        pd.testing.assert_frame_equal(frames[0], other)


@pytest.mark.filterwarnings("ignore:no model beats:lab.errors.Notice")
@pytest.mark.parametrize("start", ["2024-03-06", "2024-10-02"])
@pytest.mark.parametrize("known", [(), ("sale",)])
def test_a_change_of_clocks_does_not_shift_the_forecast(start, known, tmp_path, runs, capsys):
    """Days that people in Berlin make begin by their clocks; the file ends 13 hours before these change."""
    zone, end = "Europe/Berlin", 24 * 24 + 13  # rows of the file
    instants = pd.date_range(start, periods=27 * 24, freq="h", tz=zone)
    assert instants[end - 1].utcoffset() != instants[-1].utcoffset()
    sale = (instants.dayofyear % 4 == 0).astype(int)
    daily = 100 + 50 * np.sin(2 * np.pi * np.arange(24) / 24) + 20 * (np.arange(24) == 8)
    noise = np.random.default_rng(0).normal(scale=0.1, size=len(instants))
    plain = daily[instants.hour] + noise
    views = plain + 30 * sale if known else plain
    times = {"offset": [time.isoformat() for time in instants], "clock": [f"{t:%Y-%m-%d %H:%M}" for t in instants]}
    frames = []
    for name, texts in times.items():
        frame = pd.DataFrame({"time": texts, "views": np.where(np.arange(len(views)) < end, views, np.nan)})
        frame = frame.assign(sale=sale) if known else frame[:end]
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
        frames.append(forecast_of(tmp_path / f"{name}.csv", runs, capsys, target="views", timezone=zone, known=known))
    pd.testing.assert_frame_equal(*frames)
    for model, made in frames[0].groupby("model"):
        ahead = pd.to_datetime(made["time"], utc=True).dt.tz_convert(zone)
        assert list(ahead) == list(instants[end : end + 24])  # every instant once
        if known and model != "linear":
            continue
        np.testing.assert_allclose(made["forecast"], views[end : end + 24], atol=2.0)
    loaded = again(tmp_path / "clock.csv", sorted(runs.iterdir())[0], runs, capsys)
    pd.testing.assert_frame_equal(loaded, frames[0])


@pytest.mark.filterwarnings("ignore:no model beats:lab.errors.Notice")
def test_saved_models_keep_their_clocks(tmp_path, runs, capsys):
    """Fitted before any change of clocks, and asked for the day of one; other clocks than theirs are refused."""
    zone = "Europe/Berlin"
    instants = pd.date_range("2024-02-01", "2024-04-02", freq="h", tz=zone)
    noise = np.random.default_rng(0).normal(scale=0.1, size=len(instants))
    views = pd.Series(100.0 + 50 * ((instants.hour >= 7) & (instants.hour < 19)) + noise, instants)

    def file(name: str, rows: pd.Series, offset: bool = False) -> Path:
        texts = [time.isoformat() if offset else f"{time:%Y-%m-%d %H:%M}" for time in rows.index]
        return write(tmp_path / f"{name}.csv", rows.set_axis(texts))

    early, late = file("early", views[:"2024-03-20"]), views[:"2024-03-30 09:00"]
    Forecast(series=str(early), timezone=zone, runs=runs, **{**OPTIONS, "horizon": 24})()
    run = Path(shown(capsys)["result"])
    made = again(file("late", late), run, runs, capsys)
    for _, ahead in made.groupby("model"):
        times = pd.to_datetime(ahead["time"], utc=True).dt.tz_convert(zone)
        assert list(times) == list(instants[len(late) : len(late) + 24])  # the skipped hour lies within
        np.testing.assert_allclose(ahead["forecast"], views[times], atol=1.0)
    points = ["time", "model", "forecast"]
    one = file("one", views[:"2024-03-20"][-1:], offset=True)  # the last hour that they were fitted to, and no more
    assert again(one, run, runs, capsys)["time"].iloc[0] == "2024-03-21 00:00:00+01:00"
    for other in (file("new", late[-200:]), file("offset", late, offset=True)):
        found = again(other, run, runs, capsys)
        pd.testing.assert_frame_equal(made[points], found[points], rtol=1e-5)
    # fitted up to the hour before the skipped one: the rows behind it go on there, though the clocks show a gap
    Forecast(series=str(file("eve", views[:"2024-03-31 01:00"])), timezone=zone, runs=runs, name="eve", **OPTIONS)()
    capsys.readouterr()
    upto = views[:"2024-03-31 07:00"]
    whole, behind = file("whole", upto), file("behind", upto["2024-03-31 03:00":])
    after, few = again(whole, runs / "eve", runs, capsys), again(behind, runs / "eve", runs, capsys)
    pd.testing.assert_frame_equal(after[points], few[points], rtol=1e-5)
    with pytest.raises(InputError, match="3 rows are fewer than the"):  # an hour is missing that was there
        again(file("gap", upto["2024-03-31 05:00":]), runs / "eve", runs, capsys)
    with pytest.raises(InputError, match="see the clocks of Europe/Berlin; give --timezone Europe/Berlin"):
        again(file("other", late[-200:], offset=True), run, runs, capsys, timezone="America/New_York")
    days = pd.Series(views.to_numpy(), pd.date_range("2024-02-01", periods=len(views), freq="h"))
    plain = write(tmp_path / "plain.csv", days)
    Forecast(series=str(plain), runs=runs, name="plain", **OPTIONS)()
    capsys.readouterr()
    with pytest.raises(InputError, match=r"the times have an offset or a --timezone, unlike those that the models of"):
        again(file("zoned", late, offset=True), runs / "plain", runs, capsys)


@pytest.mark.filterwarnings("ignore:no model beats:lab.errors.Notice")
def test_business_days_have_no_weekends(tmp_path, runs, capsys):
    """Fitted, saved, and forecast again from rows that go on and from rows that begin anew; theta too."""
    pytest.importorskip("statsmodels")
    days = pd.date_range("2022-01-03", periods=130, freq="B")
    week = np.array([5.0, 9.0, 7.0, 3.0, 1.0])
    prices = pd.Series(100 + week[days.dayofweek] + np.random.default_rng(0).normal(scale=0.01, size=130), days)
    path = write(tmp_path / "prices.csv", prices[:120])
    made = forecast_of(path, runs, capsys, horizon=10, models=("linear", "theta"))
    for model, ahead in made.groupby("model"):
        assert list(ahead["time"]) == [f"{day:%Y-%m-%d}" for day in days[120:]]
        np.testing.assert_allclose(ahead["forecast"], prices[120:], atol=0.1, err_msg=str(model))
    (run,) = runs.iterdir()
    later = [again(write(tmp_path / f"from-{first}.csv", prices[first:]), run, runs, capsys) for first in (0, 60)]
    later.append(
        again(write(tmp_path / "new.csv", prices[120:123]), run, runs, capsys)
    )  # too few to tell what they are
    for ahead, end in zip(later, (130, 130, 123), strict=True):
        assert ahead["time"].iloc[0] == f"{days[end - 1] + pd.offsets.BDay():%Y-%m-%d}"
    pd.testing.assert_frame_equal(*later[:2], rtol=1e-6)


@pytest.mark.filterwarnings("ignore:no model beats:lab.errors.Notice")
@pytest.mark.parametrize(("name", "first"), [("mitdb", "7500"), ("web-traffic-anomaly", "2024-03-25 00:00:00")])
def test_series_that_the_list_names_can_be_forecast(name, first, runs, capsys):
    Forecast(series=name, runs=runs, **OPTIONS)()
    result = Path(shown(capsys)["result"])
    assert str(pd.read_csv(result / "forecast.csv")["time"].iloc[0]) == first
    assert (result / "forecast.html").exists()


def test_threads_are_those_of_small_networks(runs, capsys, monkeypatch):
    """However many threads torch has been given, a forecast works with one, and gives them back."""
    seen = []
    inner = benchmark.compare
    monkeypatch.setattr(benchmark, "compare", lambda *a, **k: seen.append(torch.get_num_threads()) or inner(*a, **k))
    torch.set_num_threads(2)
    Forecast(series="airline", runs=runs, **OPTIONS)()
    assert seen == [1] and torch.get_num_threads() == 2
