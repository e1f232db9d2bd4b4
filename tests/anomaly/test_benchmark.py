"""`lab benchmark detectors`: the two kinds of folder, the two halves, what is done is not done again."""

import json
import os
import re

import numpy as np
import pandas as pd
import pytest

from forecasting import nab
from forecasting.anomaly import archive, benchmark, catalogue
from forecasting.anomaly.metrics import vus_pr
from lab import cli
from lab.errors import InputError
from lab.run import Run

from .conftest import waves


def planted(seed, at):
    values = waves(900, seed)
    values[at : at + 20] = 10.0
    return values


@pytest.fixture
def original(tmp_path):
    """Three files as in the archive: one value a line, or all on one."""
    folder = tmp_path / "archive"
    folder.mkdir()
    for number, at in ((1, 600), (2, 700), (10, 650)):
        text = ("\n" if number != 2 else "  ").join(f"{value:.6e}" for value in planted(number, at))
        (folder / f"{number:03d}_UCR_Anomaly_wave{number}_500_{at}_{at + 20}.txt").write_text(text)
    (folder / "README.txt").write_text("not a series")
    return folder


@pytest.fixture
def indexed(tmp_path):
    folder = tmp_path / "indexed"
    folder.mkdir()
    rows = []
    for number, at in ((1, 600), (2, 700)):
        name = f"{number:03d}_UCR_Anomaly_wave{number}"
        pd.DataFrame({"value": planted(number, at)}).to_csv(folder / f"{name}.test.csv.gz", index=False)
        rows.append({"name": name, "train_end": 500, "anomaly_start0": at, "anomaly_end0_incl": at + 19})
    pd.DataFrame(rows).to_csv(folder / "INDEX.csv", index=False)
    return folder


def test_both_kinds_of_folder_say_the_same(original, indexed):
    one, other = archive.ucr(original), archive.ucr(indexed)
    assert [case.name for case in one] == [
        "001_UCR_Anomaly_wave1", "002_UCR_Anomaly_wave2", "010_UCR_Anomaly_wave10",
    ]  # fmt: skip
    assert [case.half for case in one] == ["chosen", "held out", "chosen"]
    for mine, theirs in zip(one, other, strict=False):
        assert (mine.name, mine.train_end, mine.anomalies) == (theirs.name, theirs.train_end, theirs.anomalies)
        assert mine.read() == pytest.approx(theirs.read(), abs=1e-4)
    assert [case.name for case in archive.cases("ucr", original, 900)] == [case.name for case in one]
    with pytest.raises(InputError, match="no series has at most 899 samples; the shortest has 900"):
        archive.cases("ucr", original, 899)


def test_folders_that_cannot_be_used_are_refused_in_one_line(tmp_path, indexed, original, monkeypatch):
    monkeypatch.delenv("LAB_DATA", raising=False)
    for folder, says in ((None, "--data"), (tmp_path / "no", "is no folder"), (tmp_path, "has no INDEX.csv")):
        with pytest.raises(InputError, match=says):
            archive.ucr(folder)
    (indexed / "001_UCR_Anomaly_wave1.test.csv.gz").unlink()
    with pytest.raises(InputError, match="line 2: there is no file 001_UCR_Anomaly_wave1"):
        archive.ucr(indexed)
    for text, says in (
        ("name,start\na,3\n", "no column train_end"), ("", "INDEX.csv cannot be read"),
        ("name,train_end,anomaly_start0,anomaly_end0_incl\n", "no INDEX.csv with rows"),
        ("name,train_end,anomaly_start0,anomaly_end0_incl\n002_UCR,x,3,4\n", "line 2: .*write whole numbers there"),
    ):  # fmt: skip
        (indexed / "INDEX.csv").write_text(text)
        with pytest.raises(InputError, match=says):
            archive.ucr(indexed)
    for place in ("900_910_920", "500_890_910"):
        (tmp_path / place).mkdir()
        (tmp_path / place / f"003_C_{place}.txt").write_text("\n".join(map(str, planted(1, 600))))
        with pytest.raises(InputError, match=r"series 003_C has 900 samples, .* mend its name"):
            archive.cases("ucr", tmp_path / place, 1000)
    spoiled = original / "001_UCR_Anomaly_wave1_500_600_620.txt"
    spoiled.write_text("1.0\nx\n")
    with pytest.raises(InputError, match="cannot be read"):
        archive.ucr(original)[0].read()


def test_nab_windows_are_inside_and_after_the_training_part():
    if "LAB_DATA" not in os.environ:
        pytest.skip("LAB_DATA names no folder with NAB's files")
    cases = archive.nab()
    assert len(cases) == 52  # 58 less the six without an anomaly
    for case in cases:
        assert all(case.train_end <= start < end <= len(case.read()) for start, end in case.anomalies)


def test_a_nab_window_ends_with_the_sample_that_it_names(tmp_path, monkeypatch):
    times = pd.date_range("2024-01-01", periods=100, freq="h")
    pd.DataFrame({"timestamp": times, "value": 1.0}).to_csv(tmp_path / "series.csv")
    windows = {"realKnownCause/nyc_taxi.csv": [["2024-01-02 00:00:00.000000", "2024-01-02 05:00:00.000000"]]}
    (tmp_path / "windows.json").write_text(json.dumps(windows))
    monkeypatch.setattr(nab, "FILES", {"nyc_taxi": nab.FILES["nyc_taxi"]})
    names = {nab.WINDOWS: "windows.json", nab.FILES["nyc_taxi"]: "series.csv"}
    monkeypatch.setattr("lab.data.locate", lambda file: tmp_path / names[file])
    (case,) = archive.nab()
    assert case.anomalies == ((24, 30),) and case.train_end == 15 and len(case.read()) == 100 and not case.slack


def case_of(values, anomaly, **settings):
    return archive.Labelled("x", 500, (anomaly,), "chosen", lambda: values, **settings)


def test_judge_looks_only_behind_the_training_part():
    values = planted(0, 700)
    values[100] = 30.0  # far stranger, but in the training part
    row = benchmark.judge(case_of(values, (700, 720)), values, catalogue.DETECTORS["join"].make(0, "cpu").set_params(contamination=0))  # fmt: skip # noqa: E501
    assert row["hit"] and 680 <= row["position"] < 740 and 0.3 < row["vus_pr"] <= 1
    missed = benchmark.judge(case_of(values, (550, 560)), values, catalogue.DETECTORS["join"].make(0, "cpu").set_params(contamination=0))  # fmt: skip # noqa: E501
    assert not missed["hit"] and missed["vus_pr"] < 0.2


class Known:
    """A detector whose scores are known."""

    def __init__(self, scores):
        self.scores = scores

    def fit(self, values):
        return self

    def transform_scores(self, values):
        return pd.DataFrame({"scores": self.scores})


def test_an_answer_near_the_anomaly_counts_where_labels_are_narrow_and_nowhere_else():
    values, scores = planted(0, 700), np.random.default_rng(0).random(900)
    scores[[100, 725]] = 9.0, 2.0  # the first lies in the training part
    near = benchmark.judge(case_of(values, (700, 720)), values, Known(scores))
    wide = benchmark.judge(case_of(values, (700, 720), slack=False), values, Known(scores))
    inside = benchmark.judge(case_of(values, (700, 726), slack=False), values, Known(scores))
    assert [row["hit"] for row in (near, wide, inside)] == [True, False, True] and near["position"] == 725
    labels = np.zeros(400, bool)
    labels[200:220] = True
    assert near["vus_pr"] == vus_pr(labels, scores[500:], near["period"]) and near["period"] == 20


def test_a_refusal_is_a_miss_with_its_reason():
    values = np.concatenate([np.full(500, 2.0), planted(0, 100)[:400]])
    row = benchmark.judge(case_of(values, (600, 620)), values, catalogue.DETECTORS["pca"].make(0, "cpu"))
    assert not row["hit"] and row["vus_pr"] == 0 and "flat" in row["note"]


def test_the_command_writes_its_tables_and_goes_on_where_it_stopped(original, tmp_path, capsys, monkeypatch):
    words = ["benchmark", "detectors", "--data", str(original), "--runs", str(tmp_path / "runs"), "--detectors"]
    judged = []
    real = benchmark.judge

    def judge(case, values, detector):
        if len(judged) == 4:
            raise KeyboardInterrupt
        judged.append((case.name, type(detector).__name__))
        return real(case, values, detector)

    monkeypatch.setattr(benchmark, "judge", judge)
    assert cli.main([*words, "pca", "join"]) == 130
    monkeypatch.setattr(benchmark, "judge", lambda *given: judged.append(given[0].name) or real(*given))
    capsys.readouterr()
    assert cli.main([*words, "pca", "join", "--json"]) == 0
    assert len(judged) == 6  # four before, two after
    printed = json.loads(capsys.readouterr().out)
    run = tmp_path / "runs/benchmark-detectors-ucr"
    assert printed["result"] == str(run)
    rows = pd.read_csv(run / "series.csv")
    assert len(rows) == 6 and set(rows["detector"]) == {"pca", "join"}
    table = pd.read_csv(run / "detectors.csv").set_index("detector")
    assert table.loc["join", "hits, all"] == "3/3" and table.loc["join", "hits, held out"] == "1/1"
    assert (run / "figures/anomaly-hits_against_time.png").stat().st_size > 10_000
    assert json.loads((run / "result.json").read_text())["metrics"]["anomaly/hits/join"] == 3
    assert cli.main([*words, "pca", "join", "zscore"]) == 0  # one more detector: only that is measured
    assert len(judged) == 9
    shown = capsys.readouterr().out
    assert "TimeVQVAE-AD" in shown and re.search(r"Result: .*benchmark-detectors-ucr", shown)


def test_other_code_is_measured_anew(original, tmp_path, monkeypatch):
    judged = []
    monkeypatch.setattr(benchmark, "judge", lambda *given: judged.append(given[0].name) or {"hit": True})
    codes = iter(["old", "old", "new"])
    monkeypatch.setattr(benchmark, "checksum", lambda *given: next(codes))
    cases = archive.ucr(original)[:1]
    counts = []
    with Run.open(tmp_path, "x", {"device": "cpu"}) as run:
        for _ in range(3):
            benchmark.measure(cases, ["pca"], run, 0, "cpu")
            counts.append(len(judged))
    assert counts == [1, 1, 2]


def test_other_data_of_the_same_name_are_measured_anew(original, tmp_path):
    def positions():
        with Run.open(tmp_path, "x", {"device": "cpu"}, resume=True) as run:
            return benchmark.measure(archive.ucr(original), ["zscore"], run, 0, "cpu")["position"].tolist()

    before = positions()
    assert positions() == before
    (original / "001_UCR_Anomaly_wave1_500_600_620.txt").write_text("\n".join(map(str, planted(1, 800))))
    assert positions()[0] != before[0] and positions()[1:] == before[1:]


def test_another_setting_is_measured_anew(original, tmp_path, monkeypatch):
    from forecasting.anomaly.classical import PCADetector

    cases = archive.ucr(original)[:1]
    with Run.open(tmp_path, "x", {"device": "cpu"}) as run:
        first = benchmark.measure(cases, ["pca"], run, 0, "cpu")
        entry = catalogue.Entry(lambda seed, device: PCADetector(explained=0.5), "")
        monkeypatch.setitem(catalogue.DETECTORS, "pca", entry)
        second = benchmark.measure(cases, ["pca"], run, 0, "cpu")
    assert first["setting"][0] != second["setting"][0] and first["vus_pr"][0] != second["vus_pr"][0]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--detectors", "matrixprofile"], "did you mean matrix-profile"), (["--longest", "0"], "--longest is 0"),
        (["--set", "nab", "--data", "x"], "leave out --set"), (["--data", "nowhere"], "nowhere is no folder"),
        (["--device", "abacus"], "device 'abacus'"),
    ],
)  # fmt: skip
def test_wrong_words_are_one_line_and_leave_no_run(words, says, tmp_path, capsys):
    assert cli.main(["benchmark", "detectors", *words, "--runs", str(tmp_path / "runs")]) == 2
    complaint = capsys.readouterr().err
    assert says in complaint and complaint.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_the_figure_names_every_detector_once_and_joins_the_best():
    from lab.plots_anomaly import hits_against_time

    points = {"join": (0.5, 40), "patches": (2.0, 40), "zscore": (0.01, 11), "ensemble": (3.0, 41), "pca": (0.6, 11)}
    figure = hits_against_time(points, 42, "ensemble finds most")
    panel = figure.axes[0]
    assert sorted(text.get_text().split()[1] for text in panel.texts) == sorted(points)
    heights = sorted(text.get_position()[1] for text in panel.texts)
    assert np.diff(heights).min() > 1.0  # no name on another
    joined = panel.lines[0]
    assert list(zip(joined.get_xdata(), joined.get_ydata(), strict=True)) == [(0.01, 11), (0.5, 40), (3.0, 41)]
