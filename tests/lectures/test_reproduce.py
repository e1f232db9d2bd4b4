"""What reproducing leaves behind, what is not done twice, and what the command prints."""

import json
import os

import pytest

from lab import cli, record
from lab.errors import InputError
from lab.lectures import LECTURES, Verdict, _registry, _reproduce, ids, reproduce, reproduce_each
from lab.lectures.commands import Reproduce

BROKEN = '''"""Broken.

Lecture: L0
Slide: none
Says: "nothing"
Doubt: all
Kind: exact
"""
from dataclasses import dataclass

@dataclass(frozen=True)
class Settings: ...

def measure(settings):
    raise RuntimeError("no such luck")
'''


def refuse(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


def test_the_run_holds_result_figure_and_tensorboard_entries(tmp_path):
    result = reproduce("node-minus-23", runs=tmp_path)
    assert result.verdict is Verdict.HOLDS and result.path == tmp_path / "reproduce-node-minus-23"
    saved = json.loads((result.path / "result.json").read_text())
    assert saved["id"] == "node-minus-23" and saved["verdict"] == "holds"
    assert saved["claim"]["says"] == '"8 × -4 + 3 × -1 + 6 × 2 = -23"'
    assert saved["findings"][0] == {
        "name": "weighted sum", "measured": -23.0, "expected": "== -23", "role": "claim", "holds": True,
        "interval": None, "values": [],
    }  # fmt: skip
    assert saved["metrics"]["claim/verdict"] == 1 and saved["metrics"]["claim/conditions_held"] == 1
    assert (result.path / "figures" / "claim-picture.png").stat().st_size > 10_000
    assert list(result.path.glob("events.out.tfevents.*"))
    entries = record.read(result.path / "metrics.jsonl")
    assert {"claim/weighted-sum", "claim/after-relu"} <= {entry.get("tag") for entry in entries}
    assert entries[-1]["kind"] == "end" and set(entries[-1]["metrics"]) == set(entries[0]["metrics"])


def test_a_result_whose_setting_names_a_folder_is_measured_again(tmp_path, monkeypatch):
    module, folder = _registry.load("dqn-atari-human-normalised"), str(tmp_path / "policies")
    outcome = _registry.load("node-minus-23").measure(_registry.load("node-minus-23").Settings())
    monkeypatch.setattr(module, "measure", lambda settings: outcome)
    options = {"settings": {"runs": folder}, "runs": tmp_path / "runs"}
    first, again = (reproduce("dqn-atari-human-normalised", **options) for _ in range(2))
    assert again.kept, "there is no such folder, and none has changed"
    os.mkdir(folder)
    third = reproduce("dqn-atari-human-normalised", **options)
    assert not third.kept and third.path == first.path


def test_a_finished_experiment_is_kept_until_forced_changed_or_interrupted(tmp_path, monkeypatch):
    first = reproduce("node-minus-23", runs=tmp_path)
    again = reproduce("node-minus-23", runs=tmp_path)
    assert not first.kept and again.kept
    assert (again.findings, again.verdict, again.path) == (first.findings, first.verdict, first.path)
    forced = reproduce("node-minus-23", runs=tmp_path, force=True)
    assert not forced.kept and forced.path.name == "reproduce-node-minus-23-2"
    assert (first.path / "result.json").exists()  # what is finished stays
    other = reproduce("node-minus-23", {"bias": "1"}, runs=tmp_path)
    assert other.verdict is Verdict.FAILS and other.path.name == "reproduce-node-minus-23-bias-1.0"
    assert not reproduce("node-minus-23", runs=tmp_path, quick=True).kept
    (forced.path / "result.json").unlink()  # as an interrupted run leaves it
    assert not reproduce("node-minus-23", runs=tmp_path).kept
    monkeypatch.setattr(_registry, "code", lambda id: "changed")
    assert not reproduce("node-minus-23", runs=tmp_path).kept
    assert len(list(tmp_path.iterdir())) == 4
    damaged = json.loads((forced.path / "result.json").read_text())
    del damaged["findings"]
    (forced.path / "result.json").write_text(json.dumps(damaged))
    assert not reproduce("node-minus-23", runs=tmp_path).kept


def test_an_interrupted_force_loses_nothing(tmp_path, monkeypatch):
    first = reproduce("node-minus-23", runs=tmp_path)
    monkeypatch.setattr(_registry.load("node-minus-23"), "measure", lambda values: refuse("Ctrl-C"))
    with pytest.raises(ValueError, match="Ctrl-C"):
        reproduce("node-minus-23", runs=tmp_path, force=True)
    assert _reproduce.newest_run("node-minus-23", tmp_path) == first.path


def test_a_run_of_other_settings_is_not_the_experiment_whatever_it_is_called(tmp_path):
    reproduce("node-minus-23", {"bias": 5}, runs=tmp_path, name="reproduce-node-minus-23")
    assert _reproduce.newest_run("node-minus-23", tmp_path) is None
    assert reproduce("node-minus-23", runs=tmp_path).path == _reproduce.newest_run("node-minus-23", tmp_path)


def test_a_file_that_is_no_experiment_is_named(tmp_path, broken, capsys):
    file = _registry._files()["broken"]
    _registry._files()["unreadable"].write_text(BROKEN)
    file.write_text(BROKEN.replace("Kind: exact", "Kind: guess"))
    assert cli.main(["reproduce", "--runs", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and f"{file} is no experiment: " in said and "kind 'guess'" in said


def test_seeds_are_given_once(tmp_path):
    with pytest.raises(InputError, match="seeds is given twice, as 5 and as 3; give one of --seeds and --set"):
        reproduce("sin-x-four-nets", {"seeds": 3}, seeds=5, runs=tmp_path)


def test_a_name_already_taken_by_other_settings_gets_a_number(tmp_path):
    reproduce("node-minus-23", {"bias": 1}, runs=tmp_path, name="mine")
    assert reproduce("node-minus-23", {"bias": 2}, runs=tmp_path, name="mine").path == tmp_path / "mine-2"
    assert reproduce("node-minus-23", {"bias": 2}, runs=tmp_path, name="mine").kept


def test_a_result_is_the_same_again_and_leaves_the_callers_random_state_alone(tmp_path):
    import torch

    torch.manual_seed(7)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    settings = {"seeds": 2, "iterations": 5, "points": 20}
    first = reproduce("sin-x-four-nets", settings, runs=tmp_path)
    again = reproduce("sin-x-four-nets", settings, runs=tmp_path, force=True)
    assert first.findings == again.findings
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == threads


def test_a_result_does_not_hang_on_the_callers_random_state(tmp_path, monkeypatch):
    import torch

    module, drawn = _registry.load("node-minus-23"), []
    right = module.measure
    monkeypatch.setattr(module, "measure", lambda values: drawn.append(torch.rand(1).item()) or right(values))
    for seed in (1, 2):
        torch.manual_seed(seed)
        reproduce("node-minus-23", runs=tmp_path, force=True)
    assert len(drawn) == 2 and drawn[0] == drawn[1]


@pytest.mark.parametrize(
    ("id", "settings", "expected"),
    [("power-1000", {"steps": 500}, (0.5, 6, 2)), ("node-minus-23", {"bias": 1}, (0, 1, 0)),
     ("gradient-clipping-bug", {"missing_root": False}, (0.5, 5, 4))],
)  # fmt: skip
def test_verdict_and_conditions_are_figures_of_the_run(tmp_path, id, settings, expected):
    saved = json.loads((reproduce(id, settings, runs=tmp_path).path / "result.json").read_text())["metrics"]
    told = tuple(saved[f"claim/{name}"] for name in ("verdict", "conditions", "conditions_held"))
    assert told == expected


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """One experiment that breaks down, one whose file cannot be imported, one that works."""
    folder = tmp_path / "source" / "core"
    folder.mkdir(parents=True)
    (folder / "broken.py").write_text(BROKEN)
    (folder / "unreadable.py").write_text("import nothing_of_that_name\n")
    files = {path.stem: path for path in folder.iterdir()} | _registry._files()
    monkeypatch.setattr(_registry, "_files", lambda: files)
    monkeypatch.setattr("lab.lectures.core.__path__", [str(folder)])
    return ["unreadable", "broken", "node-minus-23"]


def test_one_failing_experiment_stops_no_other(tmp_path, broken, capsys, monkeypatch):
    results = list(reproduce_each(broken, runs=tmp_path / "runs"))
    assert [result.verdict for result in results] == [None, None, Verdict.HOLDS]
    assert results[0].error == "ModuleNotFoundError: No module named 'nothing_of_that_name'"
    assert results[1].error == "RuntimeError: no such luck"
    assert not (tmp_path / "runs" / "reproduce-broken" / "result.json").exists()
    monkeypatch.setattr("lab.lectures.ids", lambda *chosen: broken)
    with pytest.raises(SystemExit) as stop:
        Reproduce(all=True, json=True, runs=tmp_path / "runs")()
    assert stop.value.code == 1
    printed = json.loads(capsys.readouterr().out, parse_constant=refuse)["experiments"]
    assert [each["verdict"] for each in printed] == [None, None, "holds"] and printed[2]["kept"]


def test_settings_are_checked_before_anything_is_run(tmp_path):
    with pytest.raises(InputError, match="unknown setting 'bias'"):
        list(reproduce_each(["node-minus-23", "power-1000"], {"bias": "1"}, runs=tmp_path))
    assert not list(tmp_path.iterdir())


def test_the_command_prints_claim_figures_doubt_verdict_and_place(tmp_path, capsys):
    Reproduce(ids=("node-minus-23",), runs=tmp_path)()
    out = capsys.readouterr().out
    for text in ("L1", "right-most node", '"8 × -4 + 3 × -1 + 6 × 2 = -23"', "-23", "yes", "Doubt", "Budget"):
        assert text in out
    assert "Verdict: holds" in out
    assert out.splitlines()[-1] == f"Result: {tmp_path / 'reproduce-node-minus-23'}"


def test_the_command_prints_one_json_object(tmp_path, capsys):
    Reproduce(ids=("node-minus-23",), settings=("bias=1",), runs=tmp_path, json=True)()
    one = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert (one["id"], one["verdict"], one["measured"]["weighted sum +1"]) == ("node-minus-23", "fails", -22)
    assert one["seconds"] >= 0 and one["result"].startswith(str(tmp_path))
    Reproduce(ids=("power-1000", "gradient-clipping-bug"), runs=tmp_path, json=True, jobs=1)()
    several = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert "power-1000" in [each["id"] for each in several["experiments"]]
    Reproduce(runs=tmp_path, json=True)()
    found = json.loads(capsys.readouterr().out, parse_constant=refuse)["experiments"]
    listed = {each["id"]: each["verdict"] for each in found}
    assert {each["id"] for each in found if "L3" in each["lectures"]} == set(ids(lecture="L3"))
    # what was measured with other settings is not the verdict
    assert listed["power-1000"] == "holds" and listed["node-minus-23"] is None


def test_a_lecture_has_its_own_claims_and_those_it_shares_with_others():
    assert ids("optimisation", "L0") == ["bptt-sum-of-terms", "jacobian-threshold"]
    assert "playground" in ids(lecture="L1") and "playground" in ids(lecture="L4")
    assert set().union(*(ids(lecture=each) for each in LECTURES)) == set(ids())


@pytest.mark.slow
def test_a_section_at_once(tmp_path, capsys):
    assert cli.main(["reproduce", "--section", "foundations", "--quick", "--runs", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=refuse)["experiments"]
    assert [each["id"] for each in found] == ids("foundations")
    assert all(each["verdict"] in [*Verdict] and each["seconds"] < 60 for each in found)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ids": ("node-minus-32",)}, "unknown experiment 'node-minus-32'; did you mean node-minus-23"),
        ({"section": "cor"}, "unknown section 'cor'; did you mean core"),
        ({"ids": ("node-minus-23",), "all": True}, "give one of"),
        ({"section": "core", "lecture": "L2"}, "give one of"),
        ({"lecture": "L5"}, "unknown lecture 'L5'; did you mean L4"),
        ({"section": "generative"}, "there is no experiment of section generative yet"),
        ({"ids": ("node-minus-23",), "seeds": 20}, "--seeds means nothing to node-minus-23"),
        ({"all": True, "name": "x"}, "--name names one run"),
        ({"ids": ("node-minus-23", "power-1000"), "name": "x"}, "--name names one run"),
        ({"ids": ("node-minus-23",), "settings": ("bias",)}, "--set bias is not NAME=VALUE"),
        (
            {"ids": ("node-minus-23",), "settings": ("bias=x",)},
            "setting bias=x is not a number; give a number from -1000 to",
        ),
    ],
)
def test_wrong_input_is_one_line(options, message, tmp_path):
    with pytest.raises(InputError, match=message):
        Reproduce(runs=tmp_path, **options)()


def test_the_newest_verdict_is_told_where_defaults_have_changed(tmp_path):
    for number, verdict in (("", "holds"), ("-2", "fails"), ("-quick", "mixed")):
        folder = tmp_path / f"reproduce-power-1000{number}"
        folder.mkdir()
        (folder / "result.json").write_text(f'{{"verdict": "{verdict}"}}')
    os.utime(tmp_path / "reproduce-power-1000" / "result.json", (1, 1))
    assert _reproduce.newest("power-1000", tmp_path) is Verdict.FAILS
    assert _reproduce.newest("node-minus-23", tmp_path) is None


def test_every_verdict_has_a_score():
    assert set(_reproduce.SCORES) == set(Verdict)


def test_tensorboard_knows_the_metrics_from_the_start(tmp_path, broken):
    """An experiment that breaks down never reports them; HParams lists them all the same."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    list(reproduce_each(["broken"], runs=tmp_path / "runs"))
    events = EventAccumulator(str(tmp_path / "runs" / "reproduce-broken")).Reload()
    content = events.SummaryMetadata(metadata.EXPERIMENT_TAG).plugin_data.content
    infos = metadata.parse_experiment_plugin_data(content).metric_infos
    assert {info.name.tag for info in infos} == set(_reproduce.METRICS)


def test_a_damaged_result_is_measured_again(tmp_path):
    first = reproduce("node-minus-23", runs=tmp_path)
    for damage in ("{", "[]", "{}"):
        (first.path / "result.json").write_text(damage)
        assert _reproduce.newest("node-minus-23", tmp_path) is None
        again = reproduce("node-minus-23", runs=tmp_path)
        assert (again.kept, again.path, again.verdict) == (False, first.path, Verdict.HOLDS)
    (first.path / "config.json").write_text("{")
    assert reproduce("node-minus-23", runs=tmp_path).path == tmp_path / "reproduce-node-minus-23-2"


def test_the_place_told_is_the_place_written_to(tmp_path):
    """A folder of that name with nothing in it, as a run leaves that was killed at once."""
    (tmp_path / "reproduce-node-minus-23").mkdir(parents=True)
    first = reproduce("node-minus-23", runs=tmp_path)
    assert json.loads((first.path / "result.json").read_text())["verdict"] == "holds"
    assert reproduce("node-minus-23", runs=tmp_path).kept
    (tmp_path / "mine").write_text("a file")
    assert reproduce("node-minus-23", runs=tmp_path, name="mine").path == tmp_path / "mine-2"


@pytest.mark.slow
def test_several_experiments_are_run_with_one_table(tmp_path, capsys):
    Reproduce(ids=("power-1000", "node-minus-23", "power-1000"), runs=tmp_path)()
    out = capsys.readouterr().out
    assert "power-1000" in out and "node-minus-23" in out and "Says:" not in out
    assert out.splitlines()[-1] == f"Result: {tmp_path}"
    Reproduce(ids=("power-1000", "node-minus-23"), runs=tmp_path, json=True)()
    told = json.loads(capsys.readouterr().out, parse_constant=refuse)["experiments"]
    assert [(each["id"], each["kept"]) for each in told] == [("power-1000", True), ("node-minus-23", True)]
    with pytest.raises(InputError, match="unknown experiment 'nod'"):
        Reproduce(ids=("power-1000", "nod"), runs=tmp_path / "other")()
    assert not (tmp_path / "other").exists()


@pytest.mark.slow
def test_the_command_line_takes_several_ids(tmp_path, lab_command):
    done = lab_command("reproduce", "power-1000", "node-minus-23", "--runs", "runs")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [
        "reproduce-node-minus-23", "reproduce-power-1000",
    ]  # fmt: skip
