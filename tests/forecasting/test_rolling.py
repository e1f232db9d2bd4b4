"""The rolling-origin benchmark: what is compared with what, and that a series done is not done again."""

import json

import numpy as np
import pandas as pd
import pytest

from forecasting import coverage, rolling
from forecasting.datasets import web_traffic
from lab import cli
from lab.errors import InputError
from lab.jsonfile import read_json
from lab.run import Run


def boards(errors):
    """Leaderboards of one seed; errors: series -> model -> MASE."""
    return pd.DataFrame([
        {"series": series, "seed": 0, "model": model, "MASE": error, "pinball": error / 3, "sMAPE": 10 * error,
         "seconds": 1.0}
        for series, found in errors.items() for model, error in found.items()
    ])  # fmt: skip


def test_only_models_that_every_series_has_are_ranked():
    table = rolling.summary(boards({"a": {"cnn": 0.5, "naive": 1.0, "ets": 0.1}, "b": {"cnn": 0.9, "naive": 0.8}}))
    assert table["model"].tolist() == ["cnn", "naive"]
    assert table["MASE"].tolist() == pytest.approx([0.7, 0.9])
    assert table["mean rank"].tolist() == [1.5, 1.5] and table["best on"].tolist() == [1, 1]


def test_seeds_are_averaged_before_series():
    both = pd.concat([boards({"a": {"cnn": 1.0}}), boards({"a": {"cnn": 3.0}}), boards({"b": {"cnn": 5.0}})])
    assert rolling.summary(both)["MASE"].tolist() == pytest.approx([3.5])


def test_errors_of_an_origin_are_scaled_by_the_past_alone():
    series = web_traffic()[:200]
    times, truth = series.index[-48:].astype(str), series.to_numpy()[-48:]
    backtest = pd.DataFrame({
        "model": "m", "origin": np.repeat(["first", "second"], 24), "time": times, "truth": truth,
        "forecast": truth + 2, "lower": truth - 1, "upper": truth + 3,
    })  # fmt: skip
    past = series.to_numpy()[:152]
    scale = np.abs(past[24:] - past[:-24]).mean()
    expected = 2 / scale
    found = rolling._errors(backtest, series)
    by_hand = (0.05 * 1 + 0.5 * 2 + 0.05 * 3) / 3  # 1 above the lower end, 2 below the median, 3 below the upper end
    assert found["pinball"].tolist() == pytest.approx([by_hand / scale] * 2)
    assert rolling._errors(backtest.assign(lower=np.nan), series)["pinball"].isna().all()
    assert found["origin"].tolist() == ["first", "second"] and found["MASE"].tolist() == pytest.approx([expected] * 2)


def test_a_file_gets_its_season_as_horizon(tmp_path):
    path = str(tmp_path / "hours.csv")
    web_traffic()[:100].to_csv(path)
    assert rolling.tasks(["airline", path], None) == [rolling.Task("airline", 12), rolling.Task(path, 24)]
    assert rolling.tasks([], 5)[0].horizon == 5 and rolling.tasks([], None) == list(rolling.TASKS)


def test_the_benchmark_end_to_end_and_not_twice(tmp_path, monkeypatch):
    todo = [rolling.Task("airline", 12), rolling.Task("web-traffic", 24)]
    models = ("seasonal-naive", "linear")
    with Run.open(tmp_path, "rolling", {}) as run:
        table, errors = rolling.measure(todo, 1, models, run, "cpu")
        rolling.report(table, errors, rolling.summary(table), run)
        monkeypatch.setattr(rolling.benchmark, "compare", None)  # would fail if called
        again, _ = rolling.measure(todo, 1, models, run, "cpu")
    assert again.equals(table)
    found = read_json(run.path / "wins.json")
    assert found["linear"]["seasonal-naive"][0] == pytest.approx(1 - found["seasonal-naive"]["linear"][0])
    assert found["linear"]["seasonal-naive"][0] > 0.5  # it is better on both
    # the leaderboard's MASE is the mean of the origins', each scaled by its own past
    for name, own in errors.groupby("series"):
        board = table[table["series"] == name].set_index("model")["MASE"]
        assert own.groupby("model")["MASE"].mean().to_numpy() == pytest.approx(board.sort_index().to_numpy(), rel=0.1)
    assert {path.name for path in (run.path / "figures").iterdir()} == {"forecast-wins.png", "forecast-ranks.png"}


def test_a_file_that_changed_is_measured_anew(tmp_path, capsys):
    """And files of one name, in two folders, are two series."""
    paths = [tmp_path / name / "my.csv" for name in ("a", "b")]
    for seed, path in enumerate(paths):
        path.parent.mkdir()
        web_traffic(days=20, seed=seed).to_csv(path)
    words = ["benchmark", "forecasters", "--protocol", "rolling", "--seeds", "1", "--models", "linear", "--json",
             "--runs", str(tmp_path), "--data", *map(str, paths)]  # fmt: skip

    def measured():
        assert cli.main(words) == 0
        rows = json.loads(capsys.readouterr().out)["series"]
        return [row["MASE"] for row in rows if row["model"] == "linear"]

    one, two = measured()
    assert one != two and measured() == [one, two]
    paths[0].write_bytes(paths[1].read_bytes())
    assert measured() == [two, two]


def test_what_repeats_itself_exactly_is_refused(tmp_path):
    path = tmp_path / "flat.csv"
    (0 * web_traffic(days=20)).to_csv(path)
    with pytest.raises(InputError, match=r"flat\.csv' repeats itself exactly"):
        rolling.tasks([str(path)], None)
    with pytest.raises(InputError, match=r"flat\.csv' repeats itself exactly"):
        coverage.check([str(path)], ["linear"], 2, 1000)
    with pytest.raises(InputError, match="rows -5 are none"):
        coverage.check(["airline"], ["linear"], 2, -5)


def test_what_no_seed_changes_is_measured_once(tmp_path, monkeypatch):
    asked = []

    def compare(series, horizon, run, names, seed, **rest):
        asked.append((seed, tuple(names)))
        names = dict.fromkeys(("seasonal-naive", *names))
        run.table("leaderboard", pd.DataFrame({"model": list(names), "MASE": 1.0 + seed}))
        times = [f"{number}" for number in range(12)]
        run.table("backtest", pd.concat(
            pd.DataFrame({"model": name, "origin": 0, "time": times, "truth": 0.0, "forecast": 1.0,
                          "lower": 0.0, "upper": 1.0}) for name in names
        ))  # fmt: skip

    monkeypatch.setattr(rolling.benchmark, "compare", compare)
    with Run.open(tmp_path, "rolling", {}) as run:
        table, errors = rolling.measure([rolling.Task("airline", 12)], 2, ("linear", "cnn"), run, "cpu")
    assert asked == [(0, ("linear", "cnn")), (1, ("cnn",))]
    found = table.set_index(["seed", "model"])["MASE"]
    assert found.to_dict() == {
        (0, "seasonal-naive"): 1.0, (0, "linear"): 1.0, (0, "cnn"): 1.0,
        (1, "seasonal-naive"): 1.0, (1, "linear"): 1.0, (1, "cnn"): 2.0,
    }  # fmt: skip
    assert len(errors) == 6


def test_where_no_seed_changes_anything_one_is_measured(tmp_path):
    with Run.open(tmp_path, "rolling", {}) as run:
        table, _ = rolling.measure([rolling.Task("airline", 12)], 3, ("linear",), run, "cpu")
    assert table["model"].tolist() == ["seasonal-naive", "linear"] and set(table["seed"]) == {0}


def test_tasks_on_one_series_are_told_apart():
    both = rolling.tasks(["metro-traffic"], None)
    assert [task.label for task in both] == ["metro-traffic", "metro-traffic, weather"]
    assert [task.known is None for task in both] == [True, False]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seeds", "0"], "at least 1 seed"),
        (["--models", "x"], "unknown model 'x'"),
        (["--data", "nothing"], "unknown series 'nothing'"),
    ],
)
def test_bad_input_is_one_line(tmp_path, lab_command, words, said):
    done = lab_command("benchmark", "forecasters", "--protocol", "rolling", "--runs", tmp_path, *words)
    assert done.returncode == 2 and said in done.stderr.replace("\n", " ")
