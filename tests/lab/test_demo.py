"""The tour, as `make demo` runs it."""

import json
import os
import re
import signal
import time

import imageio_ffmpeg
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lab import demo
from lab.cli import main
from lab.demo import PARTS
from lab.device import cores


@pytest.mark.slow
def test_tour_shows_every_bench_in_six_minutes(lab_command, tmp_path):
    started = time.monotonic()
    done = lab_command("demo", timeout=1200)
    seconds = time.monotonic() - started
    assert done.returncode == 0, done.stderr
    root = tmp_path / "results" / "runs" / "demo"
    assert done.stdout.splitlines()[-1] == "Result: results/runs/demo/report.html"
    assert "tensorboard --logdir results/runs/demo\n" in done.stderr
    assert all(f"{number}/7  {title}" in done.stderr for number, title in enumerate(PARTS, start=1))
    assert "Too short to mean anything" in done.stderr and re.search(
        r"at \d+ agent steps a second", done.stderr.replace("\n", " ")
    )

    def metrics(name):
        return json.loads((root / name / "result.json").read_text())["metrics"]

    assert metrics("catch")["eval/return_mean"] >= 0.9
    assert metrics("pong")["time/steps_per_second"] > 0
    assert metrics("watch-trained-pong")["eval/return"] > 10  # it wins
    verdicts = [json.loads(path.read_text())["verdict"] for path in root.glob("reproduce-*/result.json")]
    assert len(verdicts) == 5
    for name in ("watch-pong", "watch-catch", "watch-trained-pong"):
        assert imageio_ffmpeg.count_frames_and_secs(str(root / name / "videos" / "eval-episode.mp4"))[0] >= 10

    page = (root / "report.html").read_text()
    assert page.count("<section") == len(list(root.glob("*/result.json"))) == 14
    assert all(source.startswith(("data:", "#")) for source in re.findall(r'(?:src|href)="([^"]*)"', page))

    # TensorBoard, read back: scalars, figures and HParams of every bench
    for name in (
        "catch",
        "pong",
        "forecast-web-traffic",
        "forecast-airline",
        "explain-mitdb",
        "explain-web-traffic-anomaly",
        "reproduce-perceptron-xor",
    ):
        events = EventAccumulator(str(root / name)).Reload()
        assert events.Tags()["scalars"] and events.Tags()["images"], name
        assert {"_hparams_/experiment", "_hparams_/session_start_info", "_hparams_/session_end_info"} <= set(
            events.PluginTagToContent("hparams")
        ), name
    assert seconds < 360, f"the tour took {seconds:.0f} s on {cores()} cores at a load of {os.getloadavg()[0]:.1f}"


@pytest.fixture
def started(monkeypatch):
    """The commands started beside others, with their processes."""
    kept = {}
    start = demo._start
    monkeypatch.setattr(demo, "_start", lambda command, root: kept.setdefault(command, start(command, root)))
    return kept


def test_what_needs_nothing_of_the_tour_runs_beside_it(tmp_path, capfd, started):
    shown = f"list --runs {tmp_path}"
    demo._part(["reproduce power-1000", "reproduce node-minus-23", shown], tmp_path, main)
    assert list(started) == ["reproduce node-minus-23"]  # the list is of what was made before it
    printed = capfd.readouterr()
    assert re.findall(r"^\$ lab (\w+ \S+)", printed.err, re.M) == [
        "reproduce power-1000", "reproduce node-minus-23", "list --runs"]  # fmt: skip
    results = [line.rpartition("/")[2] for line in printed.out.splitlines() if line.startswith("Result: ")]
    assert results[:2] == ["reproduce-power-1000", "reproduce-node-minus-23"]
    with pytest.raises(SystemExit) as stopped:
        demo._part(["reproduce power-1000", "reproduce nothing"], tmp_path, main)
    assert stopped.value.code == 2 and "unknown experiment 'nothing'" in capfd.readouterr().err


def test_a_failure_leaves_no_process_behind(tmp_path, started):
    with pytest.raises(SystemExit):
        demo._part(["reproduce nothing", "train dqn --env lab/Catch-v0"], tmp_path, main)
    assert [process.returncode for process in started.values()] == [-signal.SIGKILL]


def test_overview_holds_four_pictures(tmp_path):
    paths = []
    for number, colour in enumerate(["red", "green", "blue", "black"]):
        paths.append(tmp_path / f"{number}.png")
        Image.new("RGB", (300, 200 + 100 * number), colour).save(paths[-1])
    sheet = demo.overview(paths, width=90, height=60)
    assert sheet.size == (180, 120)
    assert [sheet.getpixel(at) for at in [(45, 30), (135, 30), (45, 90), (135, 90)]] == [
        (255, 0, 0),
        (0, 128, 0),
        (0, 0, 255),
        (0, 0, 0),
    ]
