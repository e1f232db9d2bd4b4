"""The speed benchmark: its arithmetic against hand-worked figures, and the command with tiny windows."""

import contextlib
import json
import math

import pandas as pd
import pytest
import torch

from agents import speed
from agents.speed import Floor, Way, Window
from lab.cli import main
from lab.errors import InputError

CPU = torch.device("cpu")
FLOOR = Floor(1_000_000, 50_000, 1_000, 500.0, {"float32": 1e8, "bfloat16": 4e8})


@pytest.fixture
def in_this_process(monkeypatch):
    """Measurements without a process each, which takes seconds to start; returns the ways measured."""
    measured = []

    def measure(config, steps, way=None):
        measured.append(way)
        task = json.loads(json.dumps({"config": vars(config), "steps": steps, "way": way and vars(way)}))
        return speed.perform(**task)

    monkeypatch.setattr(speed, "measure", measure)
    return measured


def test_operations_of_the_nature_network_by_hand():
    """Multiply-adds of a state: 20 x 20 x 32 of 4 x 8 x 8, 9 x 9 x 64 of 32 x 4 x 4, 7 x 7 x 64 of 64 x 3 x 3, ..."""
    first = 20 * 20 * 32 * 4 * 8 * 8
    rest = 9 * 9 * 64 * 32 * 4 * 4 + 7 * 7 * 64 * 64 * 3 * 3 + 64 * 7 * 7 * 512 + 512 * 6
    config = speed.settings("ALE/Pong-v5", 10, replay_capacity=100)
    floor = speed.measure_floor(config, CPU, 20)
    assert floor.flops_per_action == 2 * (first + rest)
    # backward, each layer's weights and, but for the first, its inputs cost as much as forward
    assert floor.flops_per_update == 2 * 32 * (2 * (first + rest) + first + 2 * rest)
    assert floor.bytes_per_batch == 32 * 2 * 4 * 84 * 84
    assert floor.emulator_steps_per_second > 100 and floor.flops_per_second["float32"] > 1e9


def test_floor_adds_up_on_a_cpu_and_takes_the_longer_beside_a_gpu(monkeypatch):
    config = speed.settings("CartPole-v1", 100, train_every=4, device="cpu")  # 0.3 MFLOP an agent step
    assert FLOOR.steps_per_second(config, "float32") == pytest.approx(1 / (0.003 + 0.002))
    assert FLOOR.steps_per_second(config, "bfloat16") == pytest.approx(1 / (0.00075 + 0.002))
    monkeypatch.setattr(speed.device, "choose", lambda name: torch.device("cuda"))
    assert FLOOR.steps_per_second(config, "float32") == pytest.approx(1 / 0.003)
    assert FLOOR.steps_per_second(config, "bfloat16") == pytest.approx(1 / 0.002)


def test_the_window_leaves_out_what_comes_before_it(monkeypatch):
    clock = iter([10.0, 30.0])
    monkeypatch.setattr(speed.time, "perf_counter", lambda: next(clock))
    window = Window(100, 200, CPU)
    ended = next(step for step in range(8, 400, 8) if window(step, step // 4))
    assert ended == 304  # from 104, the first at or after 100
    found = window.speed(torch.nn.Module())
    assert found.steps_per_second == 10 and found.updates_per_second == 2.5


def test_summary_is_the_median_of_paired_rounds_without_the_trials():
    def row(number, side, rate):
        way = {"num_envs": 8, "threads": 1, "wrappers": False, "arithmetic": "float32"}
        sizes = {"peak_bytes": number, "replay_bytes": 7, "gpu_bytes": 0}
        return {
            "round": number, "side": side, **way, "steps_per_second": rate, "updates_per_second": rate / 4, **sizes,
        }  # fmt: skip

    rates = {"ours": (30.0, 80.0, 44.0), "sb3": (10.0, 20.0, 22.0), "sb3-tuned": (30.0, 20.0, 22.0)}
    rows = [row(0, side, 999.0) for side in rates]
    rows += [row(number, side, rates[side][number - 1]) for number in (1, 2, 3) for side in rates]
    found = speed.summary(pd.DataFrame(rows), FLOOR, speed.settings("CartPole-v1", 100, train_every=4, device="cpu"))
    assert found["ratio"] == {"sb3": 3.0, "sb3-tuned": 2.0}
    assert found["ratio_range"] == {"sb3": [2.0, 4.0], "sb3-tuned": [1.0, 4.0]}
    assert found["ours"]["steps_per_second"] == 44 and found["peers"]["sb3"]["steps_per_second"] == 20
    assert found["ours"]["share_of_floor"] == pytest.approx(44 * 0.005) and found["ours"]["peak_bytes"] == 3


def test_both_sides_do_the_same_work():
    """Updates a step, and a replay that remembers as much, whichever number of environments."""
    config = vars(speed.settings("lab/Catch-v0", 200, device="cpu"))
    for way in (Way("ours", 4, 1), Way("sb3", 8, 1), Way("sb3-tuned", 1, 1)):
        found = speed.perform(config, 200, vars(way))
        assert found.updates_per_second / found.steps_per_second == pytest.approx(1 / config["train_every"], rel=0.05)
        states = found.replay_bytes / config["replay_capacity"] / 100  # of 10 x 10 pixels
        assert (1 if way.side == "ours" else 2) < states < (1.3 if way.side == "ours" else 2.5)
        assert found.peak_bytes > 100 * 2**20


def test_the_peer_is_measured_as_it_comes_and_once_more_with_our_settings(monkeypatch):
    ours = []
    monkeypatch.setattr(speed.device, "threads", lambda number: ours.append(number) or contextlib.nullcontext())
    monkeypatch.setattr(speed, "speed_of_sb3", lambda config, window, wrappers: (config.num_envs, wrappers))
    config = vars(speed.settings("CartPole-v1", 20, device="cpu"))
    assert speed.perform(config, 20, vars(Way("sb3", 3, 1, True))) == (3, True) and ours == []
    assert speed.perform(config, 20, vars(Way("sb3-tuned", 8, 2))) == (8, False) and ours == [2]


@pytest.mark.slow
def test_memory_is_the_process_s_own():
    """Not its parent's, whose peak ru_maxrss would begin with."""
    burden = bytearray(600 * 2**20)
    burden[::4096] = b"x" * len(burden[::4096])
    found = speed.measure(speed.settings("CartPole-v1", 20, device="cpu"), 20, Way("ours", 4, 1))
    assert speed.peak_memory() - found.peak_bytes > 300 * 2**20


def test_trials_come_first_then_rounds_in_turn_with_the_best(in_this_process, monkeypatch):
    options = {side: [Way(side, 8, 1), Way(side, 2, 1)] for side in speed.SIDES}
    monkeypatch.setattr(speed, "ways", lambda config: options)
    table, _ = speed.compare(speed.settings("CartPole-v1", 40, device="cpu"), 2, 40, 20)
    assert table["round"].tolist() == [0] * 12 + [1] * 3 + [2] * 3
    assert table["side"].tolist() == 2 * [side for side in speed.SIDES for _ in range(2)] + 2 * list(speed.SIDES)
    for side in options:
        rows = table[table["side"] == side]
        trials, rounds = rows[rows["round"] == 0], rows[rows["round"] > 0]
        assert set(rounds["num_envs"]) == {trials.loc[trials["steps_per_second"].idxmax(), "num_envs"]}


def test_the_command_says_ours_peers_and_ratio(in_this_process, tmp_path, capsys):
    words = "speed agents --env lab/Catch-v0 --rounds 2 --steps 60 --trial-steps 0 --device cpu --json"
    assert main([*words.split(), "--runs", str(tmp_path)]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert list(shown["peers"]) == ["sb3", "sb3-tuned"] and in_this_process[0] is None and len(in_this_process) == 7
    figures = [shown["ratio"]["sb3"], *shown["ratio_range"]["sb3-tuned"]]
    for side in (shown["ours"], *shown["peers"].values()):
        figures += [side[name] for name in ("steps_per_second", "updates_per_second", "share_of_floor", "peak_bytes")]
    assert all(0 < figure < math.inf for figure in figures)
    path = tmp_path / "speed-lab-catch-v0"
    assert len((path / "speed.csv").read_text().splitlines()) == 7
    assert (path / "figures" / "speed-agents.png").exists()
    metrics = json.loads((path / "result.json").read_text())["metrics"]
    assert metrics["speed/ratio/sb3"] == shown["ratio"]["sb3"]


@pytest.mark.slow
def test_the_command_on_a_real_game_in_processes_of_their_own(lab_command, tmp_path):
    words = "speed agents --rounds 1 --steps 40 --trial-steps 0 --device cpu"
    done = lab_command(*words.split())
    assert done.returncode == 0, done.stderr
    assert "share of floor" in done.stdout and "emulator alone" in done.stdout
    assert done.stdout.splitlines()[-1] == "Result: results/runs/speed-pong-v5"


def test_a_measurement_that_fails_is_said_in_one_line():
    with pytest.raises(InputError, match=r"could not be measured: .*no-such-device"):
        speed.measure(speed.settings("CartPole-v1", 20, device="no-such-device"), 20)


@pytest.mark.parametrize(
    ("words", "near"),
    [
        ("--env ALE/Pongg-v5", "ALE/Pong-v5"),
        ("--env Pendulum-v1", "Discrete"),
        ("--rounds 0", "--rounds"),
        ("--steps -5", "--steps"),
        ("--device cudda", "cudda"),
    ],
)
def test_wrong_words_get_one_line_and_no_run(capsys, tmp_path, monkeypatch, words, near):
    monkeypatch.chdir(tmp_path)
    assert main(["speed", "agents", *words.split()]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and len(shown.err.splitlines()) == 1
    assert near in shown.err and not list(tmp_path.iterdir())
