"""The comparison of counterfactuals: what the trials are, what is measured, and that the true normal wins."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest

from forecasting.anomaly import counterfactual_benchmark as benchmark
from forecasting.anomaly import plain
from forecasting.anomaly.counterfactual_benchmark import Trial
from lab import cli
from lab.errors import InputError

from .conftest import waves


def trial(series, kind="stuck"):
    clean = waves(1000)
    values = clean if kind == "normal" else series
    return Trial("waves", kind, 800, 820, values, clean, 600)


def test_traffic_trials_differ_from_the_clean_series_inside_the_interval_only():
    trials = list(benchmark.traffic([1]))
    assert len(trials) == 2 * (1 + len(benchmark.KINDS))
    for each in trials:
        different = np.flatnonzero(each.values != each.clean)
        assert each.start >= each.train_end and each.end - each.start == 12
        if each.kind == "normal":
            assert len(different) == 0
        else:
            assert len(different) >= 6 and each.start <= different.min() and different.max() < each.end


def test_merlions_trials_hold_one_corruption_each(tmp_path):
    random = np.random.default_rng(0)
    for name in benchmark.MERLION:
        clean = random.normal(size=4000)
        pd.DataFrame({"timestamp": range(4000), name: clean}).to_csv(tmp_path / f"{name}.csv.gz", index=False)
        for kind in benchmark.ENDS:
            spoiled = clean.copy()
            for start in (1990, 2600, 2800, 3100, 3950):  # the first and the last lie too near an end
                spoiled[start : start + 30] += 5
            table = pd.DataFrame({"timestamp": range(4000), name: spoiled, "anomaly": 0.0})
            table.to_csv(tmp_path / f"{name}_{kind}_anomaly.csv.gz", index=False)
    trials = list(benchmark.merlion(tmp_path, 2))
    assert len(trials) == 3 * (3 * 2 + 2)
    for each in trials:
        changed = np.flatnonzero(each.values != each.clean)
        assert each.start in (2600, 2800)
        assert changed.tolist() == ([] if each.kind == "normal" else list(range(each.start, each.start + 30)))


def test_a_folder_without_merlion_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"horizontal.csv.gz is missing; --data wants"):
        list(benchmark.merlion(tmp_path, 1))
    with gzip.open(tmp_path / "horizontal.csv.gz", "wt") as file:
        file.write("timestamp,horizontal\n0,1\n1,2\n")
    with pytest.raises(InputError, match=r"horizontal_dip_anomaly.csv.gz is missing"):
        list(benchmark.merlion(tmp_path, 1))


def test_the_true_normal_is_judged_perfect_and_a_straight_line_is_not(detector, series):
    true = benchmark.judge(trial(series), detector, waves(1000)[None, 800:820])
    line = benchmark.judge(trial(series), detector, plain.linear(series, 800, 820)[None])
    assert true["rmse"] == 0 and true["validity"] == 1 and true["edge_jump"] <= 1.1
    assert true["plausibility"] == pytest.approx(1, abs=0.3)
    assert line["rmse"] > 0.5 and line["validity"] == 0 and line["plausibility"] > 2 * true["plausibility"]
    assert benchmark.judge(trial(series, "normal"), detector, waves(1000)[None, 800:820])["moved"] == 0
    off, spread = plain.linear(series, 800, 820) - waves(1000)[800:820], waves(1000)[:600].std()
    assert line["rmse"] == pytest.approx(np.sqrt(np.mean(off**2)) / spread)  # the spread of the clean training part


@pytest.mark.slow
def test_every_method_fills_the_interval(detector, series):
    for name, way in benchmark.methods(detector, 3, 0).items():
        paths = way(trial(series))
        assert paths.shape == (3 if name == "resampled" else 1, 20), name
        assert np.isfinite(paths).all()


def test_summary_counts_the_season_for_the_cycle_where_they_are_one():
    rows = pd.DataFrame([
        {"source": source, "kind": kind, "start": 5, "method": method, "rmse": error, "moved": error}
        for source, method, error in (
            ("a", "resampled", 1.0), ("a", "last season", 4.0), ("a", "last cycle", 2.0),
            ("b", "resampled", 1.0), ("b", "last season", 6.0),
        ) for kind in ("spike", "normal")
    ]).assign(**dict.fromkeys([*(set(benchmark.MEASURES) - {"rmse"}), "seconds"], 1.0))  # fmt: skip
    table = benchmark.summary(rows).set_index("method")
    assert table["rmse"].to_dict() == {"resampled": 1.0, "last season": 5.0, "last cycle": 4.0}
    assert "75 % below the best plain guess (last cycle, 4.00)" in benchmark.finding(table.reset_index())


@pytest.mark.slow
def test_the_command_writes_its_tables(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("LAB_DATA", raising=False)
    monkeypatch.setattr(benchmark, "KINDS", ("dip",))
    words = ["benchmark", "counterfactuals", "--series", "1", "--samples", "3", "--runs", str(tmp_path), "--json"]
    assert cli.main(words) == 0
    printed = json.loads(capsys.readouterr().out)
    by = {row["method"]: row for row in printed["methods"]}
    assert set(by) == {*benchmark.OURS, *benchmark.PLAIN}
    assert by["resampled"]["rmse"] < by["linear"]["rmse"] and by["smallest change"]["proximity"] > 0
    table = pd.read_csv(tmp_path / "benchmark-counterfactuals" / "trials.csv")
    assert len(table) == 4 * 6


@pytest.mark.parametrize("option", ["series", "each", "samples"])
def test_wrong_numbers_are_refused(option, capsys):
    assert cli.main(["benchmark", "counterfactuals", f"--{option}", "0"]) == 2
    assert capsys.readouterr().err == f"lab: --{option} is 0; give at least 1\n"
