"""The commands about runs, on good runs and on damaged ones, as they are typed."""

import json
import shutil

import pytest

from lab import checkpoint, record
from lab.cli import main
from lab.run import Run


def strictly(text):
    """The one JSON object in `text`; NaN and Infinity, which are not JSON, are an error."""

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


TRAIN = "train dqn --env lab/Catch-v0 --total-steps 700 --learning-starts 100 --checkpoint-every 300 --eval-episodes 4"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("trained")
    assert main([*TRAIN.split(), "--runs", str(root), "--name", "catch"]) == 0
    return root


@pytest.fixture
def runs(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "runs")
    return tmp_path / "runs"


def refusal(capsys, *words):
    capsys.readouterr()
    assert main([str(word) for word in words]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and len(shown.err.splitlines()) == 1
    return shown.err


def test_evaluate_says_scores_and_where_they_lie(runs, capsys):
    assert main(["evaluate", str(runs / "catch"), "--episodes", "1", "--json", "--runs", str(runs)]) == 0
    shown = strictly(capsys.readouterr().out)
    assert shown["eval/return_mean"] in (-1, 1) and shown["agent_step"] >= 700
    assert shown["eval/return_mean_low"] is None  # one episode has no interval
    assert (runs / "evaluate-catch" / "evaluation.csv").exists()


def test_list_and_report_leave_a_damaged_run_out_and_name_it(runs, capsys):
    shutil.copytree(runs / "catch", runs / "broken")
    (runs / "broken" / "result.json").write_text("{")
    assert main(["list", "--runs", str(runs), "--json"]) == 0
    shown = capsys.readouterr()
    assert [run["name"] for run in strictly(shown.out)["runs"]] == ["catch"]
    assert "broken/result.json cannot be read" in shown.err
    assert main(["report", str(runs)]) == 0
    page = (runs / "report.html").read_text()
    assert 'id="catch"' in page and 'id="broken"' not in page
    assert capsys.readouterr().out.splitlines()[-1] == f"Result: {runs / 'report.html'}"


def test_board_rebuilds_without_losing_what_it_cannot_show(runs, capsys):
    (runs / "catch" / "figures" / "train-learning_curve.png").unlink()
    assert main(["board", "--rebuild", "--runs", str(runs)]) == 0
    assert "train-learning_curve.png is missing" in capsys.readouterr().err
    assert len(list((runs / "catch").glob("events.*"))) == 1
    with Run.open(runs, "open", {}):
        assert main(["board", "--rebuild", "--runs", str(runs)]) == 0
    assert "open is being written by another process" in capsys.readouterr().err


def test_resuming_a_finished_run_changes_nothing(runs, capsys):
    before = record.read(runs / "catch" / "metrics.jsonl")
    assert main([*TRAIN.split(), "--runs", str(runs), "--name", "catch", "--resume", "--json"]) == 0
    assert strictly(capsys.readouterr().out)["metrics"]["eval/return_mean"] is not None
    assert record.read(runs / "catch" / "metrics.jsonl") == before
    assert sorted(path.name for path in runs.iterdir()) == ["catch"]


def test_resuming_goes_on_with_the_run_that_was_left(runs):
    """A second run of the name lies in catch-2; left unfinished, it is the one to go on with."""
    shutil.copytree(runs / "catch", runs / "catch-2")
    (runs / "catch-2" / "result.json").unlink()
    assert main([*TRAIN.split(), "--runs", str(runs), "--name", "catch", "--resume"]) == 0
    assert (runs / "catch-2" / "result.json").exists() and not (runs / "catch-3").exists()


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def test_a_damaged_policy_is_named_and_the_one_before_is_used(runs, capsys):
    policies = checkpoint.steps(runs / "catch" / "policy")
    assert len(policies) == 2
    damage(policies[1] / "arrays.safetensors")
    assert main(["evaluate", str(runs / "catch"), "--episodes", "2", "--json", "--runs", str(runs)]) == 0
    shown = capsys.readouterr()
    assert policies[1].name in shown.err and strictly(shown.out)["agent_step"] == int(policies[0].name[5:])
    damage(policies[0] / "arrays.safetensors")
    assert main(["evaluate", str(runs / "catch"), "--episodes", "2", "--runs", str(runs)]) == 0  # from a checkpoint


@pytest.mark.parametrize(
    ("config", "what"),
    [("{", "cannot be read"), ("[]", "no JSON object"), ('{"series": "airline"}', "no run of lab train dqn")],
)
def test_a_foreign_or_damaged_run_is_refused(runs, capsys, config, what):
    (runs / "catch" / "config.json").write_text(config)
    assert what in refusal(capsys, "evaluate", runs / "catch", "--runs", runs)


def test_a_file_where_a_folder_belongs_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert "file" in refusal(capsys, *TRAIN.split(), "--runs", tmp_path / "file")


@pytest.mark.parametrize(
    ("options", "what"),
    [("--seed -1", "seed must lie in"), ("--threads -3", "threads must lie in"),
     ("--learning-rate nan", "learning_rate must be above 0, not nan"),
     ("--stack 300", "stack must lie in"), ("--replay-capacity 1000000000000000", "give at most"),
     ("--env CartPole-v1 --learning-starts 3", "learning_starts=3 is too few"), ("--name ../out", "run name '../out'")],
)  # fmt: skip
def test_settings_that_cannot_work_leave_no_run_behind(tmp_path, capsys, options, what):
    assert what in refusal(capsys, *TRAIN.split(), *options.split(), "--runs", tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_tour_replaces_only_a_tour(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert "not the folder of an earlier tour" in refusal(capsys, "demo", "--runs", tmp_path, "--name", "mine")
    assert "not the folder of an earlier tour" in refusal(capsys, "demo", "--runs", tmp_path / "x", "--name", "../mine")
    assert (tmp_path / "mine" / "thesis.txt").exists()
