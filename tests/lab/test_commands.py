"""The commands about runs, on good runs and on damaged ones, as they are typed."""

import contextlib
import itertools
import json
import shutil
import socket

import numpy as np
import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents import evaluate, inspect
from envs.catch import Catch
from lab import checkpoint, record, report
from lab.cli import main
from lab.jsonfile import read_json, write_json
from lab.plots import canvas
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


def test_scores_of_several_seeds_are_one_group_and_those_of_other_settings_another(runs, capsys):
    config = read_json(runs / "catch" / "config.json")
    for name, changes in (("catch", {}), ("catch-2", {"seed": 1}), ("catch-3", {"anneal": True})):
        if changes:
            shutil.copytree(runs / "catch", runs / name)
            write_json(runs / name / "config.json", config | changes)
        assert main(["evaluate", str(runs / name), "--episodes", "3", "--runs", str(runs / "scores")]) == 0
    capsys.readouterr()
    words = ["compare", str(runs / "scores"), "--tag", "eval/return_mean", "--json", "--runs", str(runs)]
    assert main(words) == 0
    rows = strictly(capsys.readouterr().out)["rows"]
    assert [(row["group"], row["runs"]) for row in rows] == [("dqn", 2), ("dqn anneal", 1)]


def test_another_seed_plays_other_games(runs, monkeypatch, capsys):
    """So far apart that no environment of one begins where one of the other does."""
    given = []
    for name, of in (("evaluate", evaluate), ("film", evaluate), ("inspect", inspect)):
        result = {"evaluate": pd.DataFrame({"return": [1.0], "length": [1]}), "film": None, "inspect": None}[name]
        monkeypatch.setattr(of, name, lambda *a, result=result, **k: given.append(k.get("seed", a[-1])) or result)
    for command in ("evaluate", "watch", "inspect"):
        for seed in ("0", "1"):
            with contextlib.suppress(TypeError):  # there is no film and no finding
                main([command, str(runs / "catch"), "--seed", seed, "--runs", str(runs)])
    assert np.diff(given)[::2].tolist() == [4096] * 3
    assert given[::2] == [3_000_000, 2_000_000, 4_000_000]


@pytest.mark.parametrize("command", ["watch", "inspect"])
def test_pictures_that_change_their_size_leave_no_run(runs, monkeypatch, capsys, command):
    sizes = itertools.count(20)
    monkeypatch.setattr(Catch, "render", lambda _: np.zeros((next(sizes), 20, 3), np.uint8))
    said = refusal(capsys, command, runs / "catch", "--runs", runs)
    assert "lab/Catch-v0 draws pictures of several sizes" in said
    assert sorted(path.name for path in runs.iterdir()) == ["catch"]


def test_what_is_said_of_a_policy_can_be_compared(runs, capsys):
    """The settings name the task and how it was trained; a score is that of all episodes, not the last one's."""
    for command in ("evaluate", "watch"):
        words = [command, str(runs / "catch"), "--seed", "5", "--runs", str(runs)]
        assert main(words + ["--episodes", "7"] * (command == "evaluate")) == 0
        config = json.loads((runs / f"{command}-catch" / "config.json").read_text())
        assert {name: config[name] for name in ("algorithm", "env", "protocol", "seed", "game_seed")} == {
            "algorithm": "dqn", "env": "lab/Catch-v0", "protocol": "classic", "seed": 0, "game_seed": 5,
        }  # fmt: skip
    result = json.loads((runs / "evaluate-catch" / "result.json").read_text())["metrics"]
    capsys.readouterr()
    words = ["compare", str(runs / "evaluate-catch"), "--runs", str(runs), "--json"]
    assert main([*words, "--tag", "eval/return_mean"]) == 0
    (row,) = strictly(capsys.readouterr().out)["rows"]
    assert (row["group"], row["task"], row["mean"]) == ("dqn", "lab/Catch-v0", result["eval/return_mean"])
    assert "eval/return_mean" in refusal(capsys, *words, "--tag", "eval/return")
    assert main([*words, "--tag", "eval/episode_return"]) == 0
    assert "by the last episode of each run alone" in capsys.readouterr().err


def test_list_and_report_leave_a_damaged_run_out_and_name_it(runs, capsys):
    shutil.copytree(runs / "catch", runs / "broken")
    (runs / "broken" / "result.json").write_text("{")
    shutil.copytree(runs / "catch", runs / "empty")
    (runs / "empty" / "metadata.json").write_text("{}")
    assert main(["list", "--runs", str(runs), "--json"]) == 0
    shown = capsys.readouterr()
    assert [run["name"] for run in strictly(shown.out)["runs"]] == ["catch"]
    assert "broken/result.json cannot be read" in shown.err
    assert "empty/metadata.json says nothing of started" in shown.err
    assert "says nothing of command" in refusal(capsys, "compare", runs / "empty", "--runs", runs)
    assert main(["report", str(runs)]) == 0
    page = (runs / "report.html").read_text()
    assert 'id="catch"' in page and 'id="broken"' not in page and 'id="empty"' not in page
    assert capsys.readouterr().out.splitlines()[-1] == f"Result: {runs / 'report.html'}"


@pytest.mark.parametrize(
    ("file", "content", "of"),
    [
        ("metadata.json", '{"started": 5, "command": "x", "hardware": {}}', ["report"]),
        ("result.json", '{"metrics": "many", "seconds": 1}', ["list", "report"]),
        ("result.json", '{"metrics": {"loss": "small"}, "seconds": 1}', ["list", "report"]),
        ("result.json", '{"metrics": {"loss": 1}, "seconds": null}', ["report"]),
        ("ragged.csv", "a,b\n1,2\n1,2,3\n", ["report"]),
        ("latin.csv", "caf\xe9\n1\n", ["report"]),
    ],
)
def test_list_and_report_pass_over_what_is_no_run(tmp_path, capsys, file, content, of):
    for name in ("sound", "tampered"):
        with Run.open(tmp_path, name, {}) as run:
            run.finish({"loss": 0.25})
    (tmp_path / "tampered" / file).write_text(content, encoding="latin-1")
    for command in (["list", "--runs", str(tmp_path)], ["report", str(tmp_path)]):
        assert main(command) == 0
        printed = capsys.readouterr()
        assert (f"lab: warning: left out: {tmp_path / 'tampered'}" in printed.err) == (command[0] in of)
        assert printed.err.count("\n") == (command[0] in of)
    page = (tmp_path / "report.html").read_text()
    assert "sound" in page and ("tampered" in page) == file.endswith(".csv")


def test_report_counts_what_it_shows_and_says_once_what_not(tmp_path, capsys):
    for name in ("sound", "tampered", "broken"):
        with Run.open(tmp_path, name, {}) as run:
            run.figure("whole", canvas(1, 1)[0])
            run.figure("cut", canvas(1, 1)[0])
            run.figure("gone", canvas(1, 1)[0])
            run.finish({"loss": 0.25})
    (tmp_path / "tampered" / "result.json").write_text('{"metrics": {"loss": 1}, "seconds": null}')
    (tmp_path / "broken" / "result.json").write_text("{")
    (tmp_path / "sound" / "figures" / "gone.png").unlink()
    damage(tmp_path / "sound" / "figures" / "cut.png")
    assert main(["report", str(tmp_path), "--json"]) == 0
    shown = capsys.readouterr()
    assert strictly(shown.out)["runs"] == 1
    told = sorted(line.split("left out: ")[1].split(";")[0].split(" (")[0] for line in shown.err.splitlines())
    figures = tmp_path / "sound" / "figures"
    assert told == [
        f"{tmp_path / 'broken' / 'result.json'} cannot be read", f"{figures / 'cut.png'} is damaged",
        f"{figures / 'gone.png'} is missing", f"{tmp_path / 'tampered'} is damaged",
    ]  # fmt: skip
    assert (tmp_path / "report.html").read_text().count("<img") == 1


def test_list_tells_what_is_finished_and_report_shows_that_alone_the_earliest_first(tmp_path, capsys):
    for name, started in (("late", "2026-01-02"), ("open", "2026-01-03"), ("zero", "2026-01-01")):
        with Run.open(tmp_path, name, {}) as run:
            if name != "open":
                run.finish({"loss": 0.25})
        metadata = json.loads((tmp_path / name / "metadata.json").read_text())
        (tmp_path / name / "metadata.json").write_text(json.dumps(metadata | {"started": started}))
    assert [shown.name for shown in report.read(tmp_path)] == ["zero", "late"]
    assert main(["list", "--runs", str(tmp_path), "--json"]) == 0
    listed = strictly(capsys.readouterr().out)["runs"]
    assert {run["name"]: (run["finished"], run["metrics"]) for run in listed} == {
        "late": (True, {"loss": 0.25}), "open": (False, {}), "zero": (True, {"loss": 0.25}),
    }  # fmt: skip
    assert main(["list", "--runs", str(tmp_path)]) == 0
    states = [line.split("│")[3].strip() for line in capsys.readouterr().out.splitlines() if "2026-01" in line]
    assert states == ["finished", "open", "finished"]


def test_no_page_is_written_about_nothing(tmp_path, capsys):
    with Run.open(tmp_path, "tampered", {}) as run:
        run.finish({"loss": 0.25})
    (tmp_path / "tampered" / "result.json").write_text('{"metrics": {"loss": 1}, "seconds": null}')
    assert main(["report", str(tmp_path)]) == 2
    assert f"no finished run under {tmp_path} that can be read" in capsys.readouterr().err
    assert not (tmp_path / "report.html").exists()


def test_report_shows_numbers_and_names_as_they_are(tmp_path):
    frame = pd.DataFrame({
        "group": ["None", "nan", "x"], "steps": [123456.0, 2013.0, 0.123456], "runs": [1234567, 3, 4],
        "mean": [1.5, None, 2.0],
    })  # fmt: skip
    with Run.open(tmp_path, "run", {}) as run:
        run.table("table", frame)
        run.finish({"frames": 2_000_000, "loss": float("nan"), "error": 0.123456})
    (shown,) = report.read(tmp_path)
    assert shown.tables[0][2] == [
        ["None", "123,456", "1,234,567", "1.5"],
        ["nan", "2013", "3", "–"],
        ["x", "0.1235", "4", "2"],
    ]
    page = report.write(tmp_path, [shown]).read_text()
    assert "<td>2,000,000</td>" in page and "<td>0.1235</td>" in page and "<td>–</td>" in page


@pytest.mark.parametrize("level", ["nan", "inf", "-inf"])
def test_a_level_that_is_no_number_is_refused(tmp_path, capsys, level):
    said = refusal(capsys, "compare", tmp_path, "--reach", level, "--runs", tmp_path)
    assert f"--reach must be a finite number, not {level}" in said


def test_board_rebuilds_without_losing_what_it_cannot_show(runs, capsys):
    (runs / "catch" / "figures" / "train-learning_curve.png").unlink()
    assert main(["board", "--rebuild", "--runs", str(runs)]) == 0
    assert "train-learning_curve.png is missing" in capsys.readouterr().err
    assert len(list((runs / "catch").glob("events.*"))) == 1
    with Run.open(runs, "open", {}):
        assert main(["board", "--rebuild", "--runs", str(runs)]) == 0
    assert "open is being written by another process" in capsys.readouterr().err


def cut(path):
    path.write_bytes(path.read_bytes()[:40])


def test_board_leaves_damaged_pictures_and_arrays_out_by_name(tmp_path, capsys):
    for name in ("first", "second"):
        with Run.open(tmp_path, name, {}) as run:
            run.figure("picture", canvas(1, 1)[0])
            run.video("film", np.zeros((3, 16, 16, 3), np.uint8))
            run.pr_curve("curve", np.array([True, False]), np.array([0.9, 0.1]))
            run.embedding("points", np.eye(3), list("abc"))
            run.scalar("loss", 1, 1)
    names = ["figures/picture.png", "videos/film.gif", "arrays/curve.safetensors", "arrays/points.safetensors"]
    damaged = [tmp_path / "first" / name for name in names]
    for path in damaged:
        cut(path)
    with Run.open(tmp_path, "third", {}):
        assert main(["board", "--rebuild", "--runs", str(tmp_path), "--json"]) == 0
    shown = capsys.readouterr()
    found = strictly(shown.out)
    assert found["rebuilt"] == 2 and found["left_out"] == [str(path) for path in [*damaged, tmp_path / "third"]]
    assert all(f"left out of TensorBoard: {path} is damaged" in shown.err for path in damaged)
    assert EventAccumulator(str(tmp_path / "first")).Reload().Tags()["scalars"] == ["loss"]
    assert (tmp_path / "second" / "projector" / "points" / "vectors.tsv").exists()


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_that_cannot_be_is_refused(tmp_path, capsys, port):
    with Run.open(tmp_path, "run", {}):
        pass
    assert f"--port must lie in [1, 65535], not {port}" in refusal(capsys, "board", "--runs", tmp_path, "--port", port)


def test_a_port_that_is_taken_is_refused(tmp_path, capsys):
    with Run.open(tmp_path, "run", {}):
        pass
    with socket.create_server(("localhost", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port {port} cannot be had" in refusal(capsys, "board", "--runs", tmp_path, "--port", port)


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


def test_a_policy_that_diverged_is_refused(runs, capsys):
    q = checkpoint.load_newest(runs / "catch" / "policy")[1]["q"]
    next(iter(q.values())).view(-1)[3] = float("nan")
    checkpoint.save(runs / "catch" / "policy", 701, {"q": q})
    for command in ("evaluate", "watch", "inspect"):
        assert "at agent step 701 has weights that are not finite" in refusal(
            capsys, command, runs / "catch", "--runs", runs
        )
    assert sorted(path.name for path in runs.iterdir()) == ["catch"]


def test_a_list_of_no_folder_is_refused(tmp_path, capsys):
    assert f"there is no folder {tmp_path / 'none'}" in refusal(capsys, "list", "--runs", tmp_path / "none")


def test_resuming_says_where_it_goes_on(runs, capsys):
    (runs / "catch" / "result.json").unlink()
    capsys.readouterr()
    assert main([*TRAIN.split(), "--runs", str(runs), "--name", "catch", "--resume", "--json"]) == 0
    shown = capsys.readouterr()
    assert f"going on with {runs / 'catch'} from agent step 70" in shown.err.replace("\n", " ")
    assert "time/steps_per_second" not in strictly(shown.out)["metrics"]  # only the evaluation was left to do


def test_resuming_without_an_intact_checkpoint_changes_nothing(runs, capsys):
    path = runs / "catch"
    (path / "result.json").unlink()
    for piece in (path / "checkpoints" / "pieces").iterdir():
        damage(piece)
    before = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    assert main([*TRAIN.split(), "--runs", str(runs), "--name", "catch", "--resume"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [("checkpoint refused" in line, "trying the one before" in line) for line in lines] == [
        (True, True), (True, False), (False, False)]  # fmt: skip
    assert f"no checkpoint of run {path} is intact, and nothing there was changed" in lines[-1]
    assert {file: file.read_bytes() for file in path.rglob("*") if file.is_file()} == before
    (path / "config.json").unlink()  # whatever its settings were, these may be others
    assert "config.json cannot be read" in refusal(
        capsys, *TRAIN.split(), "--runs", runs, "--name", "catch", "--resume"
    )


def test_a_training_that_diverges_is_ended_in_one_line(tmp_path, capsys):
    words = [*TRAIN.split(), "--learning-rate", "1e30", "--log-every", "100", "--runs", tmp_path]
    assert main([str(word) for word in words]) == 2
    assert "so nothing more can be learned" in capsys.readouterr().err.splitlines()[-1]


def test_a_training_without_an_update_says_so(tmp_path, capsys):
    words = "train dqn --env CartPole-v1 --total-steps 40 --learning-starts 40 --eval-episodes 1"
    assert main([*words.split(), "--runs", str(tmp_path)]) == 0
    assert "nothing will be learned: learning_starts=40 is not below total_steps=40" in capsys.readouterr().err


def test_watching_what_draws_no_pictures_leaves_no_run_behind(tmp_path, capsys):
    words = "train dqn --env lab/Chain-v0 --total-steps 200 --learning-starts 100 --eval-episodes 1 --name chain"
    assert main([*words.split(), "--runs", str(tmp_path)]) == 0
    assert "draws no pictures" in refusal(capsys, "watch", tmp_path / "chain", "--runs", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["chain"]


def test_a_file_where_a_folder_belongs_is_named(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert "file" in refusal(capsys, *TRAIN.split(), "--runs", tmp_path / "file")


@pytest.mark.parametrize(
    ("options", "what"),
    [("--seed -1", "seed must lie in"), ("--threads -3", "threads must lie in"),
     ("--learning-rate nan", "learning_rate must be above 0, not nan"),
     ("--stack 300", "stack must lie in"), ("--replay-capacity 1000000000000000", "give at most"),
     ("--env CartPole-v1 --learning-starts 3", "learning_starts=3 is too few"),
     ("--replay-capacity 1000000000000 --memory-map", "free on the disk of"), ("--device meta", "cannot be used"),
     ("--batch-size 1000000000000", "batch_size must lie in"), ("--env ALE/Pong-v5 --stack 8", "leave stack=8 out"),
     ("--distribution quantile --loss squared", "a loss of its own"), ("--name ../out", "run name '../out'")],
)  # fmt: skip
def test_settings_that_cannot_work_leave_no_run_behind(tmp_path, capsys, options, what):
    assert what in refusal(capsys, *TRAIN.split(), *options.split(), "--runs", tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_tour_replaces_only_a_tour(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert "not the folder of an earlier tour" in refusal(capsys, "demo", "--runs", tmp_path, "--name", "mine")
    for name in ("../mine", "a/b", ".hidden"):
        said = refusal(capsys, "demo", "--runs", tmp_path / "x", "--name", name)
        assert f"--name {name!r} makes no folder name" in said
    assert not (tmp_path / "x").exists()
    assert (tmp_path / "mine" / "thesis.txt").exists()
