import copy
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from agents.algorithm import Training
from agents.config import preset
from agents.environments import check_playable, first_seed
from agents.train import METRICS, train
from lab import checkpoint, record
from lab.cli import main
from lab.errors import InputError, Notice
from lab.jsonfile import read_json
from lab.run import Run

from .conftest import CPU, assert_equal, finished, weights


def test_an_older_versions_checkpoint_is_refused_in_one_line(small):
    training = Training(small("lab/Catch-v0"), CPU)
    saved = training.state_dict()
    del saved["agent"]["hidden_optimizer"]
    with pytest.raises(InputError, match=r"older version's, without hidden_optimizer; give another --name"):
        training.load_state_dict(saved)


def test_a_checkpoint_from_a_gpu_is_refused_in_one_line(small):
    training = Training(small("lab/Catch-v0"), CPU)
    saved = copy.deepcopy(training.state_dict())
    before = copy.deepcopy(saved)
    saved["agent"]["random"] = torch.zeros(16, dtype=torch.uint8)  # as long as a CUDA generator's
    saved["agent"]["q"] = {name: value + 1 for name, value in saved["agent"]["q"].items()}
    with pytest.raises(InputError, match="from a GPU, and this is a CPU; go on there, or give another --name"):
        training.load_state_dict(saved)
    assert_equal(training.agent.state_dict(), before["agent"])


def test_a_replay_that_a_gpu_has_no_room_for_is_refused_in_one_line(small, monkeypatch):
    monkeypatch.setattr("lab.device.choose", lambda name: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda where: (10_800, 10**12))
    config = small("lab/Catch-v0", replay_capacity=100)
    check_playable(config)
    with pytest.raises(InputError, match=r"0\.0 GiB are free on the GPU; give at most 100$"):
        check_playable(replace(config, replay_capacity=101))


def test_a_replay_that_kept_its_frames_otherwise_is_refused_in_one_line(small):
    training = Training(small("lab/Catch-v0"), CPU)
    next(iter(training))
    saved = training.state_dict()
    saved["replay"]["frames"].tensor = saved["replay"]["frames"].tensor[:, :, :5]
    with pytest.raises(InputError, match=r"older version's, with rows of 10 x 5 rather than 10 x 10; give another"):
        training.load_state_dict(saved)


class Killed(Exception):
    pass


def comparable(path):
    """All a run recorded but the time it took."""
    curves = [entry for entry in record.read(path / "metrics.jsonl") if entry["kind"] == "scalar"]
    return [(e["tag"], e["step"], e["value"]) for e in curves if not e["tag"].startswith("time/")]


@pytest.mark.parametrize(
    ("env_id", "killed_after"), [("lab/Catch-v0", 230), ("CartPole-v1", 160), ("CartPole-v1", 333)]
)
def test_a_resumed_run_equals_an_uninterrupted_one_in_every_bit(small, tmp_path, monkeypatch, env_id, killed_after):
    config = small(env_id)
    with Run.open(tmp_path, "whole", config) as run:
        whole = train(config, run)
        whole_path = run.path

    def kill(*_):
        raise Killed

    with pytest.raises(Killed), Run.open(tmp_path, "cut", config) as run:
        log = run.scalar
        monkeypatch.setattr(
            run, "scalar", lambda tag, value, step: kill() if step > killed_after else log(tag, value, step)
        )
        train(config, run)
    with Run.open(tmp_path, "cut", config, resume=True) as run:
        assert run.restored[0] > 0
        resumed = train(config, run)
        cut_path = run.path
    _, left = checkpoint.load_newest(whole_path / "checkpoints")
    _, right = checkpoint.load_newest(cut_path / "checkpoints")
    assert_equal(left["state"], right["state"])
    assert comparable(whole_path) == comparable(cut_path)
    assert {k: v for k, v in whole.items() if "time" not in k} == {k: v for k, v in resumed.items() if "time" not in k}


def test_a_run_that_goes_on_for_longer_is_one_of_so_many_steps_in_every_bit(small, tmp_path):
    short, long = small("lab/Catch-v0", total_steps=230), small("lab/Catch-v0")
    with Run.open(tmp_path, "whole", long) as whole:
        train(long, whole)
    with Run.open(tmp_path, "grown", short, metrics=METRICS) as run:
        train(short, run)
    assert not Run.find(tmp_path, "grown", long)
    assert Run.find(tmp_path, "grown", long, "total_steps") == run.path
    with Run.open(tmp_path, "grown", long, resume=True, metrics=METRICS, longer="total_steps") as run:
        assert 230 <= run.restored[0] < 233
        train(long, run)
    left, right = (checkpoint.load_newest(each.path / "checkpoints")[1] for each in (whole, run))
    assert_equal(left["state"], right["state"])
    assert comparable(whole.path) == comparable(run.path)
    assert read_json(run.path / "config.json") == read_json(whole.path / "config.json")
    assert read_json(run.path / "metadata.json")["began_with"]
    assert not Run.find(tmp_path, "grown", short, "total_steps")  # nor back
    events = EventAccumulator(str(run.path)).Reload()
    session = HParamsPluginData.FromString(events.PluginTagToContent("hparams")["_hparams_/session_start_info"])
    told = session.session_start_info.hparams
    assert told["total_steps"].number_value == long.total_steps
    steps = [point.step for point in events.Scalars("train/epsilon")]
    assert steps == [step for tag, step, _ in comparable(whole.path) if tag == "train/epsilon"]


@pytest.mark.parametrize(("option", "changes", "what"), [
    ("--anneal", {"anneal": True}, "its step size falls (--anneal)"),
    ("--priority-alpha=.5", {"priority_alpha": 0.5}, "its importance weights grow"),
])  # fmt: skip
def test_what_ends_with_training_does_not_go_on_for_longer(refused, tmp_path, option, changes, what):
    with Run.open(
        tmp_path / "runs", "dqn-lab-chain-v0", replace(preset("lab/Chain-v0"), total_steps=20_000, **changes)
    ):
        pass
    line = refused("train", "dqn", "--env", "lab/Chain-v0", option, "--runs", "runs", "--resume")
    assert f"cannot go on for longer: {what}" in line and "total_steps=20000; give another --name" in line


def test_restored_at_any_moment_of_an_episode_it_goes_on_the_same(small):
    """Also right at an end, where the next step only resets."""
    config = small("lab/Catch-v0", total_steps=150)
    training = Training(config, CPU)
    saved = [copy.deepcopy(training.state_dict()) for _ in training if 60 <= training.step <= 100]
    assert any(state["ended"].any() for state in saved)
    for state in saved:
        restored = Training(config, CPU)
        restored.load_state_dict(copy.deepcopy(state))
        assert_equal(restored.state_dict(), state)  # nothing is forgotten that the next update would hide
        assert_equal(finished(restored).state_dict(), training.state_dict())


def command(folder, words):
    """A `lab` command as a process of its own does it; forked from one that has imported everything, to be quick."""
    os.chdir(folder)
    sys.exit(main(words))


@pytest.mark.slow
def test_killed_twenty_times_a_run_ends_with_the_weights_of_an_unbroken_one(tmp_path):
    """`kill -9` after ever other times, in whatever it was doing, and --resume."""
    words = ["train", "dqn", "--env", "lab/Catch-v0", "--total-steps", "5000", "--checkpoint-every", "100",
             "--eval-episodes", "5", "--runs", "runs", "--resume", "--json", "--name"]  # fmt: skip
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["agents.train", "tests.agents.test_dqn"])
    policies = tmp_path / "runs" / "cut" / "policy"
    random, kills, before, code = np.random.default_rng(0), 0, -1, None
    while code is None or code == -signal.SIGKILL:
        process = processes.Process(target=command, args=(tmp_path, [*words, "cut"]))
        process.start()
        while kills < 20 and process.is_alive():  # killed only once it got further than the last time
            time.sleep(0.005)
            if (steps := checkpoint.steps(policies)) and int(steps[-1].name[5:]) > before:
                before = int(steps[-1].name[5:])
                time.sleep(random.uniform(0, 0.2))
                process.kill()
                kills += 1
                break
        process.join()
        code = process.exitcode
    assert code == 0 and kills == 20, "it was done before it could be killed twenty times"
    whole = processes.Process(target=command, args=(tmp_path, [*words, "whole"]))
    whole.start()
    whole.join()
    left, right = (checkpoint.load_newest(tmp_path / "runs" / name / "policy") for name in ("whole", "cut"))
    assert_equal(left, right)
    assert comparable(tmp_path / "runs" / "cut") == comparable(tmp_path / "runs" / "whole")


@pytest.mark.slow
def test_ctrl_c_leaves_a_checkpoint_and_says_so(tmp_path):
    command = [
        sys.executable,
        "-m",
        "lab.cli",
        "train",
        "dqn",
        "--env",
        "lab/Catch-v0",
        "--checkpoint-every",
        "1000000",
    ]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    path = tmp_path / "results" / "runs" / "dqn-lab-catch-v0"
    deadline = time.monotonic() + 60
    while (
        time.monotonic() < deadline and "time/steps" not in (path / "metrics.jsonl").read_text()
        if path.exists()
        else True
    ):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped at agent step" in messages and "Traceback" not in messages
    assert checkpoint.load_newest(path / "checkpoints") is not None


def test_atari_resumes_in_every_bit(small):
    config = small("ALE/Breakout-v5", total_steps=300, num_envs=2, network="nips", threads=1)
    training = Training(config, CPU)
    saved = [copy.deepcopy(training.state_dict()) for _ in training if training.step == 180]
    restored = Training(config, CPU)
    restored.load_state_dict(saved[0])
    assert_equal(finished(restored).state_dict(), training.state_dict())


def test_sticky_atari_resumes_with_new_games_and_no_transition_into_them(small):
    config = small("ALE/Breakout-v5", protocol="sticky", total_steps=200, num_envs=2, learning_starts=60, threads=1)
    first = Training(config, CPU)
    for _ in first:
        if first.step >= 120:
            break
    second = Training(config, CPU)
    with pytest.warns(Notice, match="sticky actions .* new games begin"):
        second.load_state_dict(first.state_dict())
    assert second.step == first.step and torch.equal(weights(second.agent.q), weights(first.agent.q))
    assert not second.replay.live[second.replay.row(second.replay.count - 1)].any()
    finished(second)
    assert second.updates == (200 - 60) // config.train_every


class Drifting(gymnasium.Env):
    """Its chance is its own; refuses: a step after the end, which comes by chance too, is an error."""

    def __init__(self, refuses: bool = False):
        self.observation_space, self.action_space = gymnasium.spaces.Box(-9, 9, (2,)), gymnasium.spaces.Discrete(2)
        self.random, self.over, self.refuses = np.random.default_rng(), True, refuses

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.over = False
        return self.random.normal(size=2).clip(-9, 9).astype(np.float32), {}

    def step(self, action):
        if self.over and self.refuses:
            raise RuntimeError("the episode\nis over")
        self.over = self.random.random() < (0.3 if self.refuses else 0.02)
        return self.random.normal(size=2).clip(-9, 9).astype(np.float32), 1.0, self.over, False, {}


gymnasium.register("test/Drifting-v0", Drifting)


gymnasium.register("test/Refusing-v0", Drifting, kwargs={"refuses": True})


@pytest.mark.parametrize(("env", "why"), [
    ("test/Drifting-v0", "led elsewhere"), ("test/Refusing-v0", "failed: the episode is over"),
])  # fmt: skip
def test_what_cannot_be_played_again_resumes_with_new_games_and_no_transition_into_them(small, monkeypatch, env, why):
    config = small(env, num_envs=40, learning_starts=300, total_steps=1000)
    first = Training(config, CPU)
    for _ in first:
        if first.step >= 500:
            break
    saved, second = first.state_dict(), Training(config, CPU)
    seeds, begun, reset = [], [first_seed(config.seed) + i for i in range(40)], second.envs.reset
    monkeypatch.setattr(second.envs, "reset", lambda *, seed=None: (seeds.append(seed), reset(seed=seed))[1])
    with pytest.warns(Notice, match=f"{env} cannot be put back .*{why}.*: new games begin"):
        second.load_state_dict(saved)
    assert not second.replay.live[second.replay.row(second.replay.count - 1)].any()
    assert not second.ended.any() and not second.episode_length.any()
    assert seeds[-1] not in (None, *begun)  # and these are others than the run began with
    finished(second)


def test_a_checkpoint_from_before_its_observations_were_kept_is_resumed(small):
    config = small("lab/Catch-v0", total_steps=200)
    training = Training(config, CPU)
    (saved,) = [copy.deepcopy(training.state_dict()) for _ in training if training.step == 120]
    del saved["envs"]["seen"]
    restored = Training(config, CPU)
    restored.load_state_dict(saved)
    assert_equal(finished(restored).state_dict(), training.state_dict())
