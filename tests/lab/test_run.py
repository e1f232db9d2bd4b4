import json
import time
from dataclasses import dataclass

import imageio_ffmpeg
import numpy as np
import pandas as pd
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from lab import board, intact, plots, record
from lab.errors import InputError
from lab.run import Run


@dataclass
class Settings:
    lr: float = 0.1
    seed: int = 3


def events(folder):
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    return accumulator.Reload()


def curve(folder, tag="train/loss"):
    return [(event.step, event.value) for event in events(folder).Scalars(tag)]


def filled(root, name="run"):
    with Run.open(root, name, Settings(), metrics=["eval/score"]) as run:
        for step in range(4):
            run.scalar("train/loss", 1 / (step + 1), step)
        run.text("note", "**short**")
        run.table("scores", pd.DataFrame({"model": ["a"], "MASE": [0.5]}))
        run.figure("eval/curve", plots.learning_curve([0, 1], [0, 1], "One", "return"))
        run.video("eval/film", np.arange(12 * 32 * 32 * 3, dtype=np.uint32).astype(np.uint8).reshape(12, 32, 32, 3), 3)
        run.pr_curve("eval/pr", np.array([0, 1, 1]), np.array([0.1, 0.8, 0.6]))
        run.finish({"eval/score": 0.75})
        return run.path


def shown(folder):
    """Everything TensorBoard shows of a run, comparable."""
    found = events(folder)
    tags = found.Tags()
    images = {tag: [e.encoded_image_string for e in found.Images(tag)] for tag in tags["images"]}
    tensors = {tag: [e.tensor_proto.SerializeToString() for e in found.Tensors(tag)] for tag in tags["tensors"]}
    return (
        {tag: [(e.step, e.value, e.wall_time) for e in found.Scalars(tag)] for tag in tags["scalars"]},
        images,
        tensors,
    )


def test_folder_holds_the_whole_story(tmp_path):
    path = filled(tmp_path)
    assert json.loads((path / "config.json").read_text()) == {"lr": 0.1, "seed": 3}
    metadata = json.loads((path / "metadata.json").read_text())
    assert metadata["seed"] == 3 and metadata["versions"]["torch"] and metadata["hardware"]["cores"] >= 1
    assert json.loads((path / "result.json").read_text())["metrics"] == {"eval/score": 0.75}
    assert pd.read_csv(path / "scores.csv").to_dict("list") == {"model": ["a"], "MASE": [0.5]}
    assert (path / "figures" / "eval-curve.png").read_bytes().startswith(b"\x89PNG")


def test_a_learning_curve_says_what_its_lines_mark():
    assert plots.learning_curve([0], [0], "", "").axes[0].get_xlabel() == "agent steps"
    marked = plots.learning_curve([0], [0], "", "", [1.0], "a sync").axes[0]
    assert marked.get_xlabel() == "agent steps (grey lines: a sync)"


def test_film_has_every_frame(tmp_path):
    path = filled(tmp_path)
    frames, _seconds = imageio_ffmpeg.count_frames_and_secs(str(path / "videos" / "eval-film-3.mp4"))
    assert frames == 12


def test_a_film_that_breaks_off_is_damaged_though_its_first_picture_is_whole(tmp_path):
    film = filled(tmp_path) / "videos" / "eval-film-3.gif"
    content, width, height = intact.picture(film)
    assert (width, height) == (32, 32)
    for length in (len(content) // 2, len(content) - 1):
        film.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"eval-film-3\.gif is damaged"):
            intact.picture(film)


def test_empty_film_is_refused(tmp_path):
    with Run.open(tmp_path, "run", {}) as run, pytest.raises(ValueError, match="frames"):
        run.video("film", np.zeros((0, 8, 8, 3), np.uint8))


@pytest.mark.parametrize("shape", [(3, 8, 8, 4), (3, 8, 8, 1), (3, 1, 8, 3), (3, 8, 1, 3)])
def test_what_makes_no_film_is_refused(tmp_path, shape):
    with Run.open(tmp_path, "run", {}) as run, pytest.raises(ValueError, match="a video needs frames"):
        run.video("film", np.zeros(shape, np.uint8))
    assert not (run.path / "videos").exists()


def test_a_film_that_ffmpeg_cannot_write_is_an_error(tmp_path):
    with Run.open(tmp_path, "run", {}) as run:
        (run.path / "videos" / "film.mp4").mkdir(parents=True)
        with pytest.raises(OSError, match="ffmpeg cannot write the film"):
            run.video("film", np.zeros((300, 64, 64, 3), np.uint8))


def test_tensorboard_shows_scalars_figures_films_text_and_hparams(tmp_path):
    path = filled(tmp_path)
    assert curve(path) == [(step, pytest.approx(1 / (step + 1))) for step in range(4)]
    found = events(path)
    assert set(found.Tags()["images"]) == {"eval/curve", "eval/film"}
    assert found.Images("eval/film")[0].encoded_image_string.startswith(b"GIF8")
    assert found.Scalars("eval/score")[0].value == 0.75
    assert {"note/text_summary", "config/text_summary", "eval/pr"} <= set(found.Tags()["tensors"])
    plugin = found.PluginTagToContent("hparams")
    start = plugin_data_pb2.HParamsPluginData.FromString(plugin["_hparams_/session_start_info"])
    assert start.session_start_info.hparams["lr"].number_value == 0.1
    experiment = plugin_data_pb2.HParamsPluginData.FromString(plugin["_hparams_/experiment"]).experiment
    assert [info.name.tag for info in experiment.metric_infos] == ["eval/score"]
    assert "_hparams_/session_end_info" in plugin


def test_settings_that_are_not_finite_are_text_in_tensorboard_as_in_the_record():
    assert board.flat({"net": {"clip": float("inf"), "rate": 0.5}}) == {"net.clip": "inf", "net.rate": 0.5}


def test_view_is_rebuilt_from_the_record_the_same(tmp_path):
    path = filled(tmp_path)
    before = shown(path)
    for file in path.glob("events.*"):
        file.write_bytes(b"broken")
    assert board.rebuild(path) == []
    assert shown(path) == before


def test_resumed_run_has_no_doubled_step(tmp_path):
    with Run.open(tmp_path, "run", Settings()) as run:
        for step in range(10):
            run.scalar("train/loss", step, step)
            if step == 5:
                run.checkpoint(step, {"step": step})
    with Run.open(tmp_path, "run", Settings(), resume=True) as run:
        step, state = run.restored
        assert step == state["step"] == 5
        for step in range(6, 12):
            run.scalar("train/loss", 100 + step, step)
        path = run.path
    expected = [(step, step if step < 6 else 100 + step) for step in range(12)]
    entries = record.read(path / "metrics.jsonl")
    assert [(e["step"], e["value"]) for e in entries if e["kind"] == "scalar"] == expected
    assert curve(path) == expected


def test_the_seconds_of_a_resumed_run_are_those_of_all_its_processes(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("lab.run.time.time", lambda: 1e9 + now[0])
    monkeypatch.setattr("lab.run.time.monotonic", lambda: now[0])

    def scalar(at, step):
        now[0] = at
        run.scalar("train/loss", 1, step)

    with Run.open(tmp_path, "run", Settings()) as run:
        scalar(10, 1)
        run.checkpoint(1, {})
        scalar(15, 2)  # made void
    for begin in (1_000, 5_000):  # 20 and 30 seconds
        now[0] = begin
        with Run.open(tmp_path, "run", Settings(), resume=True) as run:
            scalar(begin, 2)
            scalar(begin + 20, 3)
            run.checkpoint(3, {})
            now[0] = begin + 30
            run.finish({})
    assert json.loads((run.path / "result.json").read_text())["seconds"] == pytest.approx(10 + 20 + 30)


def test_run_killed_before_its_first_checkpoint_starts_over(tmp_path):
    with Run.open(tmp_path, "run", Settings(), metrics=["eval/score"]) as run:
        run.scalar("train/loss", 9, 0)
    with Run.open(tmp_path, "run", Settings(), resume=True, metrics=["eval/score"]) as run:
        assert run.restored is None
        run.scalar("train/loss", 1, 0)
        path = run.path
    assert curve(path) == [(0, 1)]
    assert [entry["kind"] for entry in record.read(path / "metrics.jsonl")] == ["start", "text", "scalar"]


def test_a_run_that_goes_on_is_not_finished(tmp_path):
    path = filled(tmp_path)
    with Run.open(tmp_path, "run", Settings(), resume=True) as run:
        assert run.path == path and not (path / "result.json").exists()
        run.finish({"eval/score": 0.5})
    assert json.loads((path / "result.json").read_text())["metrics"] == {"eval/score": 0.5}


def test_a_resumed_run_has_event_files_in_the_order_that_tensorboard_reads_them(tmp_path):
    path = filled(tmp_path)
    (first,) = path.glob(board.EVENTS)
    (path / "events.out.tfevents.old").touch()  # somebody's own
    now = time.time()
    first = first.rename(path / f"events.out.tfevents.{int(now):010d}.~.9.9")  # behind all others of this second
    Run.open(tmp_path, "run", Settings(), resume=True).close()
    (second,) = set(path.glob(board.EVENTS)) - {first, path / "events.out.tfevents.old"}
    assert second.name > first.name
    assert time.time() < now + 1.5


def test_a_name_taken_gets_a_number_and_nothing_is_overwritten(tmp_path):
    assert [filled(tmp_path).name for _ in range(2)] == ["run", "run-2"]


def test_runs_that_start_together_get_folders_of_their_own(tmp_path, monkeypatch):
    """Each has seen that there is none yet."""
    monkeypatch.setattr("lab.run._taken", lambda root, name: [])
    with Run.open(tmp_path, "run", {"seed": 0}) as first, Run.open(tmp_path, "run", {"seed": 1}) as second:
        assert [first.path.name, second.path.name] == ["run", "run-2"]


def test_only_a_run_of_fewer_steps_can_go_on_for_longer(tmp_path):
    runs = {"few": {"steps": 5, "lr": 1}, "many": {"steps": 9, "lr": 1}, "other": {"steps": 5}, "older": {"lr": 1}}
    for name, config in runs.items():
        with Run.open(tmp_path, name, config):
            pass
    wanted = {"steps": 7, "lr": 1}
    found = [Run.find(tmp_path, name, wanted, "steps") for name in runs]
    assert found == [tmp_path / "few", None, None, None]
    assert Run.find(tmp_path, "few", wanted) is None


def test_other_settings_are_no_resume(tmp_path):
    filled(tmp_path)
    with pytest.raises(InputError, match=r"lr=0\.1, not 0\.2"):
        Run.open(tmp_path, "run", Settings(lr=0.2), resume=True)


def test_a_run_being_written_is_not_opened_twice(tmp_path):
    with Run.open(tmp_path, "run", {}), pytest.raises(InputError, match="another process"):
        Run.open(tmp_path, "run", {}, resume=True)


def test_a_name_cannot_leave_the_folder(tmp_path):
    for name in ("", "/etc/x", "a b", "a//b"):
        with pytest.raises(InputError, match="run name"):
            Run.open(tmp_path, name, {})
