"""Stable-Baselines3 behind our Run: its view of the environments, and what a training leaves."""

import contextlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from stable_baselines3.common.logger import Logger

from agents import peers
from agents.adapter import Adapter
from agents.algorithm import Training
from agents.config import preset
from agents.environments import make_envs
from agents.evaluate import evaluate
from agents.peer_config import SB3A2CConfig, SB3DQNConfig, SB3PPOConfig
from agents.peers import Player, Reporter, load, played, settings, train
from lab import checkpoint, record
from lab.cli import main
from lab.errors import InputError
from lab.run import Run

from .conftest import LENGTH, LIMIT, REWARD

CPU = torch.device("cpu")
SMALL = {"total_steps": 400, "num_envs": 3, "eval_episodes": 3, "log_every": 50}


def small(kind, env, **changes):
    own = {
        SB3DQNConfig: {"learning_starts": 50, "batch_size": 8, "epsilon_steps": 200, "replay_capacity": 600},
        SB3A2CConfig: {},
        SB3PPOConfig: {"rollout": 16, "batch_size": 24, "epochs": 2},
    }
    return replace(kind.preset(env), **SMALL | own[kind] | changes)


def game_by_game(config, steps, **options):
    """The same play twice: what the Adapter shows of one game after another, and our environment without it.

    Both are given the same actions; ours takes one more step at each end, which only resets and is left out. The lists
    hold (state before, reward, state after, terminated, truncated, life lost) by step; the Adapter's what it returned.
    """
    ours, beneath = (make_envs(config, 1, num_threads=1, **options) for _ in range(2))
    adapter = Adapter(beneath)
    random = np.random.default_rng(0)
    state, _ = ours.reset(seed=3)
    adapter.seed(3)
    seen = adapter.reset()
    assert (seen == state).all()
    plain, adapted = [], []
    for _ in range(steps):
        action = random.integers(ours.single_action_space.n, size=1)
        after, reward, terminated, truncated, info = ours.step(action)
        plain.append((state[0], reward[0], after[0], terminated[0], truncated[0], info["life_lost"][0]))
        adapted.append((seen[0].copy(), *adapter.step(action), list(adapter.episodes)))
        state, seen = after, adapted[-1][1]
        if terminated[0] or truncated[0]:
            state, *_ = ours.step(action)  # only resets
    return plain, adapted


@pytest.mark.parametrize(("protocol", "max_frames"), [("classic", 108_000), ("classic", 900), ("sticky", 108_000)])
def test_the_adapter_shows_our_games_with_the_reset_left_out(protocol, max_frames):
    config = replace(preset("ALE/SpaceInvaders-v5"), protocol=protocol)
    plain, adapted = game_by_game(config, 1_000, max_frames=max_frames)
    games, lives, limits, score, length = 0, 0, 0, 0.0, 0
    for (before, raw, after, terminated, truncated, life_lost), shown in zip(plain, adapted, strict=True):
        seen, state, reward, done, (info,), episodes = shown
        over = terminated or truncated
        score, length = score + raw, length + 1
        assert (seen == before).all() and reward.dtype == np.float32
        assert reward[0] == np.sign(raw) and done[0] == (over or life_lost)
        assert [(total, steps) for _, total, steps in episodes] == ([(score, length)] if over else [])
        if done[0]:  # the old game's last frames, never the new one's
            assert (info["terminal_observation"] == after).all()
            assert info["TimeLimit.truncated"] == (truncated and not terminated and not life_lost)
        assert (state[0] == after).all() != over
        if over:
            assert not state[0, :3].any() and state[0, 3].any()  # a new game: nothing before its first frame
            games, score, length = games + 1, 0.0, 0
        lives, limits = lives + life_lost, limits + truncated
    assert games >= 1 and (lives > 2 if protocol == "classic" else lives == 0) and (limits > 1) == (max_frames < 1_000)
    assert max(row[1] for row in plain) > 1  # there were rewards to clip


def test_environments_beside_an_ended_one_go_on_undisturbed():
    """Each of three games is the one that it is alone."""
    config = preset("ALE/Breakout-v5")
    together, alone = Adapter(make_envs(config, 3)), [Adapter(make_envs(config, 1, num_threads=1)) for _ in range(3)]
    together.seed(5)
    together.reset()
    for i, each in enumerate(alone):
        each.seed(5 + i)
        each.reset()
    random, ends = np.random.default_rng(0), 0
    for _ in range(250):
        action = random.integers(4, size=3)
        state, reward, done, _ = together.step(action)
        for i, each in enumerate(alone):
            state_i, reward_i, done_i, _ = each.step(action[i : i + 1])
            assert (state[i] == state_i[0]).all() and reward[i] == reward_i[0] and done[i] == done_i[0]
        ends += len(together.episodes)
    assert ends > 1


def test_every_agent_step_counts_once_and_ends_lie_at_steps_of_their_own():
    adapter = Adapter(make_envs(preset("lab/Catch-v0"), 3))
    adapter.reset()
    ends = []
    for _ in range(18):
        adapter.step(np.zeros(3, np.int64))
        ends += adapter.episodes
    assert adapter.step_count == 54
    assert [(at, length) for at, _, length in ends] == [(at, 9) for at in (25, 26, 27, 52, 53, 54)]


def test_an_end_or_a_lost_life_at_the_time_limit_is_no_time_limit(monkeypatch):
    adapter = Adapter(make_envs(preset("test/Line-v0"), 3))
    state = adapter.reset()
    terminated, truncated, life_lost = np.array([[1, 0, 0], [1, 1, 1], [0, 1, 0]], bool)
    outcome = (state, np.zeros(3), terminated, truncated, {"life_lost": life_lost})
    monkeypatch.setattr(adapter.games, "step", lambda actions: outcome)
    _, _, done, infos = adapter.step(np.zeros(3, np.int64))
    assert done.all() and [info["TimeLimit.truncated"] for info in infos] == [False, False, True]


@pytest.mark.parametrize(("env", "last", "is_end"), [("test/Line-v0", LENGTH, 1), ("test/LimitedLine-v0", LIMIT, 0)])
def test_its_replay_holds_no_step_into_the_next_game_and_bootstraps_at_a_time_limit(env, last, is_end):
    config = small(SB3DQNConfig, env)
    games = Adapter(make_envs(played(config), 3), config.clip_rewards)
    model = peers.build(config, games, CPU)
    model.learn(config.total_steps, log_interval=None)
    batch = model.replay_buffer.sample(2000)
    at, next_at = batch.observations[:, 0].argmax(1), batch.next_observations[:, 0].argmax(1)
    assert (next_at == at + 1).all() and set(next_at.tolist()) == set(range(1, last + 1))
    assert (batch.dones.squeeze(1) == is_end * (next_at == last)).all()
    assert set(batch.rewards.flatten().tolist()) == {REWARD}


@pytest.mark.parametrize("env", ["ALE/Pong-v5", "lab/Catch-v0", "CartPole-v1"])
def test_its_dqn_has_our_network(env):
    config = small(SB3DQNConfig, env)
    model = peers.build(config, Adapter(make_envs(played(config), 3)), CPU)
    ours = Training(replace(preset(env), replay_capacity=100, num_envs=1), CPU).agent.q

    def weights(network):
        return sorted(sorted(values.shape) for values in network.parameters())

    assert weights(model.q_net) == weights(ours)


def test_its_dqns_settings_mean_what_ours_do():
    config = small(SB3DQNConfig, "lab/Catch-v0", gamma=0.9, target_every=20, train_every=6, batch_size=7,
                   epsilon_start=0.8, epsilon_end=0.2, epsilon_steps=100, total_steps=400, n_step=3)  # fmt: skip
    model = peers.build(config, Adapter(make_envs(played(config), 3)), CPU)
    assert (model.gamma, model.batch_size, model.learning_starts, model.buffer_size) == (0.9, 7, 50, 600)
    assert model.lr_schedule(1.0) == model.lr_schedule(0.5) == config.learning_rate
    left = [1 - step / 400 for step in (0, 50, 100, 300)]  # of training, by which its schedules go
    assert [model.exploration_schedule(share) for share in left] == pytest.approx([0.8, 0.5, 0.2, 0.2])
    assert model.target_update_interval == 20 * 6  # agent steps
    assert (model.n_steps, model.replay_buffer.n_steps) == (3, 3)


def test_its_dqns_step_size_falls_as_ours_does():
    config = small(SB3DQNConfig, "lab/Catch-v0", learning_rate=0.01, anneal=True, anneal_share=0.25)
    model = peers.build(config, Adapter(make_envs(played(config), 3)), CPU)
    assert [model.lr_schedule(left) for left in (1.0, 0.25, 0.1, 0.0)] == pytest.approx([0.01, 0.01, 0.004, 0])
    ours = preset("CartPole-v1")
    theirs = SB3DQNConfig.preset("CartPole-v1")
    assert (theirs.n_step, theirs.anneal, theirs.learning_rate) == (ours.n_step, ours.anneal, ours.learning_rate)


@pytest.mark.parametrize("anneal", [False, True])
@pytest.mark.parametrize("kind", [SB3A2CConfig, SB3PPOConfig])
def test_the_actor_critics_settings_mean_what_ours_do(kind, anneal):
    config = small(kind, "lab/Catch-v0", gamma=0.9, gae_lambda=0.8, entropy=0.03, value=0.6, anneal=anneal)
    model = peers.build(config, Adapter(make_envs(played(config), 3)), CPU)
    assert (model.gamma, model.gae_lambda, model.ent_coef, model.vf_coef) == (0.9, 0.8, 0.03, 0.6)
    assert model.n_steps == config.rollout
    falls = [1.0, 0.5, 0.0] if anneal else [1.0] * 3
    schedules = {model.lr_schedule: config.learning_rate}
    if kind is SB3PPOConfig:
        schedules[model.clip_range if callable(model.clip_range) else lambda _: model.clip_range] = config.clip_range
    for schedule, first in schedules.items():
        assert [schedule(left) for left in (1.0, 0.5, 0.0)] == pytest.approx([first * each for each in falls])


def test_a_peer_is_scored_by_the_runs_protocol_and_stack_and_by_its_best_actions():
    config = replace(SB3A2CConfig.preset("ALE/Pong-v5"), protocol="sticky", seed=3)
    assert (played(config).protocol, played(config).seed) == ("sticky", 3)
    config = small(SB3A2CConfig, "CartPole-v1", stack=2)
    games = make_envs(played(config), 3)
    assert games.single_observation_space.shape == (2, 4)
    model = peers.build(config, Adapter(games), CPU)
    states = torch.randn(200, 2, 4, generator=torch.Generator().manual_seed(0))
    best = model.policy.get_distribution(states).distribution.probs.argmax(dim=1)
    assert Player(model).act(states.numpy(), 0.0, torch.Generator()).tolist() == best.tolist()


@pytest.mark.parametrize(("num_envs", "train_every"), [(1, 4), (8, 4), (3, 2), (4, 1)])
def test_its_dqn_updates_once_in_so_many_agent_steps(tmp_path, num_envs, train_every):
    config = small(SB3DQNConfig, "lab/Catch-v0", num_envs=num_envs, train_every=train_every, total_steps=240)
    with Run.open(tmp_path, "run", settings(config)) as run:
        train(config, run)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["steps"] >= 240
    assert abs(result["updates"] - (result["steps"] - config.learning_starts) / train_every) <= 8


@pytest.mark.parametrize(("algorithm", "options"), [
    ("sb3-dqn", "--learning-starts 50 --replay-capacity 600 --batch-size 8"),
    ("sb3-a2c", "--rollout 5"),
    ("sb3-ppo", "--rollout 16 --batch-size 24 --epochs 2"),
])  # fmt: skip
def test_the_command_leaves_what_ours_leaves(tmp_path, capsys, algorithm, options):
    words = f"train {algorithm} --env lab/Catch-v0 --total-steps 400 --num-envs 3 --log-every 50 --eval-episodes 5"
    assert main([*words.split(), *options.split(), "--runs", str(tmp_path), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    path = tmp_path / f"{algorithm}-lab-catch-v0"
    assert shown["result"] == str(path)
    assert set(shown["metrics"]) == {
        "eval/return_mean", "eval/return_std", "train/return_last_100", "time/steps_per_second",
    }  # fmt: skip
    assert json.loads((path / "result.json").read_text())["metrics"] == shown["metrics"]
    assert len((path / "evaluation.csv").read_text().splitlines()) == 6
    assert (path / "figures" / "train-learning_curve.png").exists() and list(path.glob("events.*"))
    scalars = [entry for entry in record.read(path / "metrics.jsonl") if entry["kind"] == "scalar"]
    points = [(entry["tag"], entry["step"]) for entry in scalars]
    assert len(points) == len(set(points))  # no step stands twice in a curve
    tags = {tag for tag, _ in points}
    assert tags >= {
        "train/episode_return", "train/episode_length", "train/return_last_100", "train/updates", "train/value",
        "time/steps_per_second", "train/value_loss" if algorithm == "sb3-a2c" else "train/loss",
    }  # fmt: skip
    assert {entry["value"] for entry in scalars if entry["tag"] == "train/episode_length"} == {9}
    assert main(["inspect", str(path), "--runs", str(tmp_path)]) == 2
    assert f"is a run of {algorithm}, and peers cannot be inspected" in capsys.readouterr().err
    player, config, step = load(path)  # the policy by itself: no zip, no code
    assert step >= 400 and not list(path.rglob("*.zip"))
    again = evaluate(player, played(config), 5)
    assert again["return"].mean() == shown["metrics"]["eval/return_mean"]


@pytest.mark.parametrize("kind", [SB3DQNConfig, SB3A2CConfig, SB3PPOConfig])
def test_clipped_rewards_are_learned_from_and_never_reported(tmp_path, kind):
    config = small(kind, "test/Line-v0", clip_rewards=True)
    with Run.open(tmp_path, "run", settings(config)) as run:
        assert train(config, run)["eval/return_mean"] == LENGTH * REWARD
        entries = record.read(run.path / "metrics.jsonl")
    assert {e["value"] for e in entries if e.get("tag") == "train/episode_return"} == {LENGTH * REWARD}


@pytest.mark.parametrize("kind", [SB3DQNConfig, SB3A2CConfig, SB3PPOConfig])
def test_the_value_logged_is_that_of_the_present_states(kind):
    config = small(kind, "CartPole-v1")
    games = Adapter(make_envs(played(config), 3))
    model = peers.build(config, games, CPU)
    reporter = Reporter(config, None, games, None, None)
    reporter.init_callback(model)
    states = np.array([[0.1, 0, 0, 0], [0, 0, -0.2, 1], [0, 1, 0, 0]], np.float32)
    reporter.update_locals({"new_obs": states})
    one_by_one = []
    for state in torch.from_numpy(states):
        if kind is SB3DQNConfig:
            one_by_one.append(max(model.q_net(state[None]).flatten().tolist()))
        else:
            one_by_one.append(model.policy(state[None])[1].item())  # an action, its value, its log-probability
    model.set_logger(Logger(folder=None, output_formats=[]))
    assert one_by_one[0] != one_by_one[1]
    assert reporter._curves()["train/value"] == pytest.approx(np.mean(one_by_one), rel=1e-5)


@pytest.mark.parametrize("kind", [SB3DQNConfig, SB3A2CConfig, SB3PPOConfig])
def test_same_seed_same_policy(tmp_path, kind):
    found = []
    for name, seed in (("first", 0), ("second", 0), ("other", 1)):
        config = small(kind, "CartPole-v1", seed=seed, total_steps=150)
        with Run.open(tmp_path, name, settings(config)) as run:
            train(config, run)
        _, saved = checkpoint.load_newest(tmp_path / name / "policy")
        found.append(torch.cat([values.flatten() for values in saved["policy"].values()]))
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_neighbouring_seeds_share_no_game(tmp_path, monkeypatch):
    """Those of a peer begin as those of lab train dqn do."""
    begun = []
    reset = Adapter.reset
    monkeypatch.setattr(Adapter, "reset", lambda games: begun.append(reset(games)) or begun[-1])
    for seed in (0, 1):
        config = small(SB3A2CConfig, "CartPole-v1", seed=seed, total_steps=100)
        with Run.open(tmp_path, f"run{seed}", settings(config)) as run:
            train(config, run)
        ours = Training(replace(preset("CartPole-v1"), num_envs=3, seed=seed), CPU).state
        assert (begun[-1] == ours).all()
    first, second = ({state.tobytes() for state in each} for each in begun)
    assert len(first) == 3 and not first & second


def test_stopped_it_keeps_the_policy_and_is_not_finished(tmp_path, monkeypatch, capsys):
    asked = iter([False] * 20)
    monkeypatch.setattr(peers, "stop_wanted", lambda: contextlib.nullcontext(lambda: next(asked, True)))
    config = small(SB3A2CConfig, "lab/Catch-v0")
    with Run.open(tmp_path, "run", settings(config)) as run:
        assert train(config, run) is None
    assert "stopped at agent step 63" in capsys.readouterr().err
    assert load(tmp_path / "run")[2] == 63 and not (tmp_path / "run" / "result.json").exists()


@pytest.mark.parametrize("kind", [SB3DQNConfig, SB3A2CConfig, SB3PPOConfig])
@pytest.mark.parametrize(("env", "what"), [
    ("test/OddRewards-v0", "environment test/OddRewards-v0 gives rewards that are not finite"),
    ("test/OddObservations-v0", "environment test/OddObservations-v0 gives observations that are not finite"),
    ("test/Line-v0", "so nothing more can be learned"),
])  # fmt: skip
@pytest.mark.parametrize("log_every", [50, 10_000])
def test_a_training_that_diverges_is_ended_in_one_line(tmp_path, kind, env, what, log_every):
    config = small(kind, env, learning_rate=1e30, log_every=log_every, clip_rewards=False)
    with Run.open(tmp_path, "run", settings(config)) as run, pytest.raises(InputError, match=what):
        train(config, run)
    assert not (run.path / "policy").exists()


def test_a_policy_without_finite_weights_is_refused(tmp_path):
    config = small(SB3A2CConfig, "lab/Catch-v0", total_steps=100)
    with Run.open(tmp_path, "run", settings(config)) as run:
        train(config, run)
    step, saved = checkpoint.load_newest(run.path / "policy")
    next(iter(saved["policy"].values())).view(-1)[0] = float("nan")
    checkpoint.save(run.path / "policy", step + 1, saved)
    with pytest.raises(InputError, match=f"at agent step {step + 1} has weights that are not finite"):
        load(run.path)


@pytest.mark.parametrize(("changed", "what"), [
    ({"env": "CartPole-v1"}, "does not fit CartPole-v1"), ({"algorithm": ["sb3-a2c"]}, "is no run of lab train sb3"),
])  # fmt: skip
def test_a_policy_that_its_config_does_not_describe_is_refused(tmp_path, changed, what):
    config = small(SB3A2CConfig, "lab/Catch-v0", total_steps=100)
    with Run.open(tmp_path, "run", settings(config)) as run:
        train(config, run)
    (run.path / "config.json").write_text(json.dumps({**settings(config), **changed}))
    with pytest.raises(InputError, match=what):
        load(run.path)


@pytest.mark.parametrize(
    ("words", "near"),
    [
        ("sb3-dqm", "did you mean sb3-dqn"),
        ("sb3-dqn --env ALE/Pongg-v5", "ALE/Pong-v5"),
        ("sb3-ppo --env Pendulum-v1", "Discrete"),
        ("sb3-a2c --env CartPole-v1 --resume", "--resume"),
        ("sb3-dqn --env CartPole-v1 --gamma 1.5", "gamma must lie in [0, 1], not 1.5"),
        ("sb3-dqn --replay-capacity 1000000000", "give at most"),
        ("sb3-dqn --env lab/Catch-v0 --anneal-share 0.5", "anneal_share=0.5 has no effect without --anneal"),
        ("sb3-a2c --env CartPole-v1 --rollout 0", "rollout must be above 0"),
        ("sb3-ppo --env CartPole-v1 --batch-size 100", "does not divide the 256 transitions"),
        ("sb3-ppo --env CartPole-v1 --batch-size 1", "batch_size must be at least 2"),
        ("sb3-ppo --env CartPole-v1 --rollout 100000000000", "rollout=100,000,000,000 takes"),
        ("sb3-a2c --env CartPole-v1 --learning-rate 1e38", "learning_rate must lie in 0 .. 1e+30"),
        ("sb3-a2c --env CartPole-v1 --rollout 100000000000", "give at most"),
        ("sb3-ppo --env ALE/Pong-v5 --stack 8", "leave stack=8 out"),
        ("sb3-a2c --env lab/Catch-v0 --stack 11", "stack=11 is more than the sides of a frame"),
        ("sb3-a2c --env CartPole-v1 --device cudda", "cudda"),
    ],
)
def test_wrong_words_get_one_line_and_no_run(capsys, tmp_path, monkeypatch, words, near):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *words.split()]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and len(shown.err.splitlines()) == 1
    assert near in shown.err and not list(tmp_path.iterdir())


def test_another_run_is_refused(tmp_path):
    with (
        Run.open(tmp_path, "run", {"env": "CartPole-v1"}),
        pytest.raises(InputError, match="is no run of lab train sb3"),
    ):
        load(tmp_path / "run")
