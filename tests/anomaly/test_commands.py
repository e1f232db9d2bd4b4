"""`lab detect` and `lab explain` end to end on a CSV: files, JSON, and one line for every wrong input."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from forecasting.anomaly import bench
from forecasting.anomaly.commands import Detect, Explain
from forecasting.anomaly.datasets import Case
from lab import cli
from lab.errors import InputError
from lab.run import Run

from .conftest import Itself, waves


def refuse(word):
    raise ValueError(f"{word} is not JSON")


@pytest.fixture
def lab(monkeypatch):
    monkeypatch.setitem(cli.COMMANDS, "detect", Detect)
    monkeypatch.setitem(cli.COMMANDS, "explain", Explain)
    return cli.main


@pytest.fixture
def csv(tmp_path):
    values = waves(600, period=24)
    values[480:500] = 10.0
    index = pd.date_range("2024-01-01", periods=600, freq="h", name="time")
    path = tmp_path / "views.csv"
    pd.Series(values, index, name="views").to_csv(path)
    return str(path)


def test_detect_writes_the_anomalies(lab, csv, tmp_path, capsys):
    assert lab(["detect", csv, "--epochs", "5", "--runs", str(tmp_path), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert not {"runs", "name", "json"} & json.loads((tmp_path / "detect-views/config.json").read_text()).keys()
    run = tmp_path / "detect-views"
    table = pd.read_csv(run / "anomalies.csv")
    assert list(table.columns) == ["start", "end", "from", "to", "peak"]
    assert 460 <= table["start"][0] < 500 and table["from"][0].startswith("2024-01-2")
    assert printed["anomalies"][0]["start"] == table["start"][0]
    assert printed["result"] == str(run)
    assert (run / "figures" / "anomaly-scores.png").stat().st_size > 10_000
    assert json.loads((run / "result.json").read_text())["metrics"] == printed["metrics"]


@pytest.mark.parametrize("name", ["autoencoder", "variational", "join"])
def test_detect_takes_any_detector(lab, csv, tmp_path, capsys, name):
    assert lab(["detect", csv, "--detector", name, "--runs", str(tmp_path), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert 455 <= printed["anomalies"][0]["start"] < 505
    pictures = {path.stem for path in (tmp_path / "detect-views" / "figures").glob("*.png")}
    assert ("anomaly-reconstructions" in pictures) == (name != "join")
    lines = (tmp_path / "detect-views" / "metrics.jsonl").read_text().splitlines()
    tags = {json.loads(line).get("tag") for line in lines}
    assert ("train/loss" in tags) == (name != "join")


@pytest.mark.parametrize("detector", ["join", "masked"])
def test_what_is_strange_in_the_normal_part_can_be_cut_out_as_the_warning_says(lab, tmp_path, capsys, detector):
    values = waves(1600, period=24)
    values[500:520] = values[1300:1320] = 10.0  # a like of what is to be found
    path = tmp_path / "views.csv"
    pd.DataFrame({"views": values}).to_csv(path, index=False)
    words = ["detect", str(path), "--detector", detector, "--period", "24", "--runs", str(tmp_path), "--json"]
    words += ["--epochs", "5"] * (detector == "masked")
    assert lab(words) == 0
    told = capsys.readouterr().err
    assert "seems to hold an anomaly near sample 5" in told
    advice = told.split("--contamination ")[1].split(")")[0]
    assert lab([*words, "--contamination", advice]) == 0
    shown = capsys.readouterr()
    assert "seems to hold" not in shown.err
    first = json.loads(shown.out)["anomalies"][0]
    assert first["start"] < 1320 and first["end"] > 1300
    assert lab([*words, "--contamination", "0.5"]) == 2
    assert "contamination is 0.5; give a share from 0 to 0.2" in capsys.readouterr().err


def test_detect_keeps_the_detector_and_tells_its_use_of_the_mixture(lab, csv, tmp_path, capsys):
    from forecasting.anomaly import saved

    assert lab(["detect", csv, "--epochs", "2", "--runs", str(tmp_path), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert 1 <= printed["metrics"]["anomaly/component_perplexity"] <= 5
    detector = saved.load(str(tmp_path / "detect-views" / "model"), "cpu")
    saved.save(str(tmp_path / "again"), detector)
    assert detector.threshold_ == printed["metrics"]["anomaly/threshold"]


def test_explain_redraws_the_given_interval_only(lab, csv, tmp_path, capsys):
    words = [
        "explain",
        csv,
        "--epochs",
        "2",
        "--start",
        "478",
        "--end",
        "502",
        "--samples",
        "3",
        "--runs",
        str(tmp_path),
    ]
    assert lab(words) == 0
    assert capsys.readouterr().out.rstrip().splitlines()[-1] == f"Result: {tmp_path / 'explain-views'}"
    table = pd.read_csv(tmp_path / "explain-views" / "counterfactuals.csv")
    assert table["position"].tolist() == list(range(478, 502))
    assert [c for c in table.columns if c.startswith("draw_")] == ["draw_0", "draw_1", "draw_2"]
    draws = table[["draw_0", "draw_1", "draw_2"]].to_numpy()
    assert np.allclose(np.median(draws, 1), table["median"])
    assert (tmp_path / "explain-views" / "figures" / "anomaly-counterfactual.png").exists()
    page = (tmp_path / "explain-views" / "explanation.html").read_text()
    assert "samples 478 to 502, as asked for</h1>" in page and '"marked":[[478,502]' in page


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["detect", "mitbd"], "did you mean mitdb"),
        (["detect", "mitdb", "--train-end", "9000"], "--train-end 9000 does not split"),
        (["detect", "mitdb", "--train-end", "15"], "the training part has 15 samples"),
        (["detect", "mitdb", "--top", "0"], "--top is 0"),
        (["detect", "nowhere.csv"], "nowhere.csv"),
        (["explain", "mitdb", "--start", "5"], "--start and --end go together"),
        (["explain", "mitdb", "--start", "7000", "--end", "8000"], "not inside the series of 7500 samples"),
        (["explain", "mitdb", "--start", "0", "--end", "7500"], "less than one period"),
        (["explain", "mitdb", "--start", "0", "--end", "7400"], "leaves 100 samples around it, less than one period"),
        (["explain", "mitdb", "--samples", "0"], "--samples is 0"),
        (["explain", "mitdb", "--samples", "1000000000"], "--samples is 1000000000"),
        (["detect", "mitdb", "--detector", "joint"], "did you mean join"),
        (["detect", "mitdb", "--detector", "join", "--window", "9"], "--window is a setting of the masked detector"),
        (["detect", "mitdb", "--detector", "join", "--epochs", "9"], "--epochs is a setting of the masked detector"),
        (["explain", "mitdb", "--top", "0"], "--top is 0"),
        (["detect", "mitdb", "--epochs", "0"], "max_epochs is 0; give at least 1"),
        (["detect", "mitdb", "--quantile", "1"], "quantile is 1.0; give one from 0.5 to below 1"),
        (["detect", "mitdb", "--quantile", "nan"], "quantile is nan"),
        (["detect", "mitdb", "--period", "0"], "period is 0; give at least 2"),
        (["detect", "mitdb", "--window", "-3"], "window is -3; give at least 2"),
        (["detect", "mitdb", "--train-end", "nan"], "--train-end nan does not split"),
        (["detect", "mitdb", "--train-end", "inf"], "--train-end inf does not split"),
        (["detect", "mitdb", "--device", "abacus"], "device 'abacus'"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_no_run(lab, words, says, tmp_path, capsys):
    assert lab([*words, "--runs", str(tmp_path / "runs")]) == 2
    complaint = capsys.readouterr().err
    assert says in complaint and complaint.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_file_name_with_spaces_names_a_run(lab, csv, tmp_path):
    spaced = tmp_path / "my views.csv"
    spaced.write_text(Path(csv).read_text())
    assert lab(["detect", str(spaced), "--epochs", "1", "--runs", str(tmp_path)]) == 0
    assert (tmp_path / "detect-my-views" / "result.json").exists()


def test_the_split():
    case = bench.Case("x", pd.Series(np.arange(200.0)))
    assert bench.split(case) == 100
    assert bench.split(case, 0.7) == 140
    assert bench.split(case, 50) == 50
    for wrong in (0, -3, 200, 50.5):
        with pytest.raises(InputError):
            bench.split(case, wrong)


def test_hit_by_hand():
    assert bench.hit((5, 10), [(9, 20)], 0)
    assert not bench.hit((5, 9), [(9, 20)], 0)
    assert bench.hit((5, 9), [(10, 20)], 2)
    assert not bench.hit((25, 30), [(10, 20)], 5)


def test_the_top_score_is_one_of_those_that_are_judged(tmp_path):
    values = np.random.default_rng(0).normal(size=400)
    values[10], values[350] = 50.0, 9.0
    with Run.open(tmp_path, "x", {}) as run:
        found = bench.detect(bench.Case("x", pd.Series(values)), run, Itself(period=20), 300)
    assert found.metrics["anomaly/top_score"] == found.scores[350] == found.table["peak"][0] < found.scores[10]


def test_labels_judge_what_comes_after_the_training_part():
    class Board:
        def pr_curve(self, tag, labels, ranks):
            self.drawn = labels.tolist(), ranks.tolist()

    case, board = bench.Case("x", pd.Series(np.arange(10.0)), labels=[(8, 10)]), Board()
    scores = np.array([9.0, 9, 0, 0, 0, 1, 2, 3, 5, 4])
    table = pd.DataFrame({"start": [8], "end": [9]})
    judged = bench._judge(case, board, scores, table, 5, 0)
    assert judged == {"anomaly/hit": 1.0, "anomaly/average_precision": 1.0}
    assert board.drawn == ([False, False, False, True, True], [0, 0.25, 0.5, 1, 0.75])
    assert bench._judge(case, board, scores, table[:0], 5, 0)["anomaly/hit"] == 0.0
    assert bench._judge(bench.Case("x", case.series, labels=[(1, 3)]), board, scores, table, 5, 0) == {}


def test_a_csv_without_times_is_counted_by_its_rows(lab, csv, tmp_path, capsys):
    column = tmp_path / "column.csv"
    pd.read_csv(csv)[["views"]].to_csv(column, index=False)
    assert lab(["detect", str(column), "--epochs", "5", "--runs", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["anomalies"][0]
    assert 460 <= found["start"] < 500 and found["from"] == str(found["start"])
    column.write_text("views\n1\n\n2\n,\n")
    for text, says in (
        ("views\n1\nnan\n2\n", "row 3, column 'views': no value; give --fill"),
        ("a,b\n1,2\n3,4\n", "2 columns of numbers; name one with --target: a, b"),
        ("0.3\n0.4\n", "row 1 has numbers where it should name the columns"),
    ):
        column.write_text(text)
        assert lab(["detect", str(column), "--runs", str(tmp_path)]) == 2
        assert says in capsys.readouterr().err


def test_times_may_be_described(lab, csv, tmp_path, capsys):
    other = pd.read_csv(csv, parse_dates=["time"])
    other["time"] = other["time"].dt.strftime("%d/%m/%Y %H:%M")
    other.to_csv(tmp_path / "other.csv", index=False)
    words = ["detect", str(tmp_path / "other.csv"), "--epochs", "1", "--runs", str(tmp_path), "--json"]
    assert lab([*words, "--time-format", "%d/%m/%Y %H:%M"]) == 0
    assert lab([*words, "--time-format", "%m/%d/%Y %H:%M"]) == 2
    assert "is not a time" in capsys.readouterr().err


def test_where_nothing_is_found_it_says_so_and_where_no_period_shows(lab, tmp_path, capsys):
    noise = pd.Series(np.random.default_rng(0).normal(size=2000), name="views")
    noise.to_csv(tmp_path / "noise.csv", index=False)
    words = ["explain", str(tmp_path / "noise.csv"), "--epochs", "2", "--samples", "2", "--runs", str(tmp_path)]
    assert lab(words) == 0
    told = capsys.readouterr()
    assert "nothing above the threshold; the strangest window" in told.out
    assert "no period of up to 1,000 samples shows" in told.err


def test_what_may_be_times_is_not_passed_over(lab, csv, tmp_path, capsys):
    table = pd.read_csv(csv).rename(columns={"time": "when"})[["views", "when"]]
    table.to_csv(tmp_path / "last.csv", index=False)
    words = ["detect", str(tmp_path / "last.csv"), "--epochs", "1", "--runs", str(tmp_path)]
    assert lab(words) == 2
    assert "names no column of times; say which with --time: views, when" in capsys.readouterr().err
    table[["views"]].to_csv(tmp_path / "last.csv", index=False)
    assert lab([*words, "--timezone", "Europe/Berlin"]) == 2
    assert "names no column of times" in capsys.readouterr().err


def test_times_are_told_on_the_clocks_of_the_zone(lab, csv, tmp_path, capsys):
    """The change of clocks lies before the anomaly: in UTC it would be told an hour early."""
    utc = pd.date_range("2024-03-18 23:00", periods=600, freq="h", tz="UTC")
    local = utc.tz_convert("Europe/Berlin")
    table = pd.read_csv(csv).assign(time=local.tz_localize(None))
    table.to_csv(tmp_path / "local.csv", index=False)
    words = ["explain", str(tmp_path / "local.csv"), "--timezone", "Europe/Berlin", "--epochs", "1", "--samples", "2"]
    words += ["--start", "2024-04-08 01:00", "--end", "2024-04-08 20:00", "--train-end", "2024-04-04"]  # 480 to 499
    words += ["--runs", str(tmp_path), "--json"]
    assert lab(words) == 0
    told = json.loads(capsys.readouterr().out)["sentences"][0]
    assert told.startswith("Between 01:00 and 20:00 on 8 April 2024 (Europe/Berlin): ")
    run = tmp_path / "explain-local"
    assert pd.read_csv(run / "counterfactuals.csv")["time"][0] == str(local[480]) == "2024-04-08 01:00:00+02:00"
    page = json.loads((run / "explanation.json").read_text())
    assert page["anomalies"][0]["from"] == str(local[480]) and page["anomalies"][0]["to"] == str(local[499])
    found = pd.read_csv(run / "anomalies.csv")
    assert [str(local[start]) for start in found["start"]] == found["from"].tolist()


@pytest.mark.parametrize(
    ("index", "given", "first", "last"),
    [
        (pd.date_range("2024-01-01", periods=100, freq="h"), "2024-01-02 02:00", 26, 27),
        (pd.date_range("2024-01-01", periods=100, freq="h"), "2024-01-02 02:30", 27, 27),
        (pd.date_range("2024-01-01", periods=100, freq="h", tz="Europe/Berlin"), "2024-01-02 02:00", 26, 27),
        (pd.date_range("2024-01-01", periods=100, freq="h", tz="Europe/Berlin"), "2024-01-02 02:00Z", 27, 28),
        (pd.date_range("2024-03-31", periods=100, freq="h", tz="Europe/Berlin"), "2024-03-31 02:30", 2, 3),  # skipped
        (pd.date_range("2024-10-27", periods=100, freq="h", tz="Europe/Berlin"), "2024-10-27 02:00", 2, 3),  # twice
        (pd.period_range("2015-01", periods=100, freq="M"), "2016-03", 14, 15),
        (pd.RangeIndex(100), 7, 7, 7),
    ],
)
def test_positions_may_be_given_as_times(index, given, first, last):
    case = Case("load", pd.Series(np.arange(100.0), index))
    assert bench.position(case, given, "--start") == first
    assert bench.position(case, given, "--end", last=True) == last
    assert bench.split(case, given) == first


@pytest.mark.parametrize(
    ("index", "given", "says"),
    [
        (pd.date_range("2024-01-01", periods=100, freq="h"), "soon", "neither a position nor a time of load; write"),
        (pd.date_range("2024-01-01", periods=100, freq="h"), "2025-01-01", "is not inside load, which lasts from 2024"),
        (pd.RangeIndex(100), "2025-01-01", "is no position, and load has no times"),
    ],
)
def test_what_is_no_time_of_the_series_is_refused(index, given, says):
    with pytest.raises(InputError, match=f"--train-end .*{says}"):
        bench.split(Case("load", pd.Series(np.arange(100.0), index)), given)
