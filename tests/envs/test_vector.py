import json
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

import agents.train
import envs
from agents import peers
from agents.config import preset
from agents.environments import check_playable
from agents.peer_config import SB3PPOConfig
from lab.errors import InputError
from lab.run import Run
from tests.agents.conftest import Line


@pytest.mark.parametrize(("env_id", "stack"), [("lab/Catch-v0", 1), ("lab/Catch-v0", 3), ("CartPole-v1", 1)])
def test_snapshot_puts_environments_back_bit_for_bit(env_id, stack):
    def step(games, random):
        return games.step(random.integers(2, size=3))

    games = envs.make(env_id, 3, stack=stack)
    games.reset(seed=4)
    random = np.random.default_rng(0)
    for moment in range(40):  # snapshots in mid-episode, at an end, after a reset
        state = step(games, random)[0]
        snapshot = json.loads(json.dumps(games.snapshot()))
        other = envs.make(env_id, 3, stack=stack)
        assert (other.restore(snapshot) == state).all()
        if moment % 10 == 0:
            ours, theirs = np.random.default_rng(moment), np.random.default_rng(moment)
            for _ in range(60):
                for left, right in zip(step(games, ours)[:4], step(other, theirs)[:4], strict=True):
                    assert (left == right).all()


def test_states_have_a_stack_axis_padded_with_zeros():
    games = envs.make("lab/Catch-v0", 2, stack=3)
    state, _ = games.reset(seed=0)
    assert state.shape == (2, 3, 10, 10) and not state[:, :2].any() and state[:, 2].any()
    later, *_, info = games.step(np.array([1, 1]))
    assert (later[:, 1] == state[:, 2]).all() and not info["life_lost"].any()


@pytest.mark.parametrize(
    ("env_id", "what"), [("Pendulum-v1", "Discrete"), ("test/Graph-v0", "Box"), ("PongNoFrameskip-v4", "ALE/Pong-v5")]
)
def test_what_dqn_cannot_play_is_refused(env_id, what):
    with pytest.raises(ValueError, match=what):
        envs.make(env_id)


def test_numbers_dicts_and_tuples_are_flattened_to_a_vector():
    games = envs.make("FrozenLake-v1", 2, stack=2)
    state, _ = games.reset(seed=0)
    assert state.shape == (2, 2, 16)
    assert state[:, 1].tolist() == [np.eye(16)[0].tolist()] * 2  # one-hot, the newest last
    assert envs.make("test/Mixed-v0").single_observation_space.shape == (1, 3 + 2 + 2 + 5)
    with pytest.raises(ValueError, match=r"has observations Dict\(.*the agents need a Box \(arrays\), or"):
        envs.make("test/Seen-v0")


@pytest.mark.parametrize("env_id", ["ALE/Breakout-v5", "lab/Catch-v0", "CartPole-v1"])
def test_an_observation_is_not_overwritten_by_the_next_step(env_id):
    """Training stores the frame of a state after the step that follows it."""
    games = envs.make(env_id, 2)
    state, _ = games.reset(seed=0)
    for _ in range(20):
        before = state.copy()
        following, *_ = games.step(np.array([1, 1]))
        assert (state == before).all()
        state = following


def test_a_users_module_registers_its_environment(tmp_path, monkeypatch):
    (tmp_path / "mygame.py").write_text(
        "import gymnasium, envs.catch\ngymnasium.register('mine/Catch-v0', envs.catch.Catch, kwargs={'size': 6})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert envs.make("mygame:mine/Catch-v0", 2).single_observation_space.shape == (1, 6, 6)


def test_a_module_that_is_not_found_is_refused_with_where_to_say_its_folder():
    with pytest.raises(InputError, match=r"No module named 'nogame'; put PYTHONPATH=FOLDER before"):
        check_playable(preset("nogame:Mine-v0"))


class Odd(gymnasium.Env):
    """Spaces of any kind; never played."""

    def __init__(self, actions, frames):
        self.action_space, self.observation_space = actions, frames


TWO, VECTOR = spaces.Discrete(2), spaces.Box(0, 1, (4,))
MIXED = spaces.Dict(at=spaces.Discrete(3), speed=spaces.Box(0, 1, (2,)), hand=spaces.MultiBinary(2))
SEEN = spaces.Dict(at=TWO, seen=spaces.Box(0, 255, (9, 9), np.uint8))
gymnasium.register("test/Graph-v0", lambda: Odd(TWO, spaces.Graph(VECTOR, None)))
gymnasium.register("test/Mixed-v0", lambda: Odd(TWO, spaces.Tuple([MIXED, spaces.MultiDiscrete([2, 3])])))
gymnasium.register("test/Seen-v0", lambda: Odd(TWO, SEEN))


@pytest.mark.parametrize(
    ("actions", "frames", "what"),
    [
        (spaces.Discrete(300), VECTOR, "up to 256"),
        (spaces.Discrete(3, start=1), VECTOR, "need 0, 1"),
        (TWO, spaces.Box(0, 255, (64, 64), np.uint8), r"\(64, 64\)"),
        (TWO, spaces.Box(0, 255, (10, 10, 3), np.uint8), r"\(10, 10, 3\)"),
        (TWO, spaces.Box(0, 9, (4,), np.uint16), "uint16"),
        (TWO, spaces.Box(0, 1, ()), r"\(\)"),
        (TWO, spaces.Box(0, 1, (0,)), r"its observations, of shape \(0,\), hold nothing"),
    ],
)
def test_environments_that_would_be_learned_wrongly_are_refused(actions, frames, what):
    gymnasium.register("test/Odd-v0", lambda: Odd(actions, frames))
    try:
        with pytest.raises(InputError, match=what):
            check_playable(preset("test/Odd-v0"))
    finally:
        gymnasium.registry.pop("test/Odd-v0")


def test_a_module_prefix_changes_nothing_about_an_atari_game():
    assert envs.is_atari("ale_py:ALE/Pong-v5")
    assert preset("ale_py:ALE/Pong-v5").clip_rewards and preset("ale_py:ALE/Pong-v5").num_envs == 8
    assert envs.make("ale_py:ALE/Pong-v5").single_observation_space.shape == (4, 84, 84)


class Broken(Line):
    """A line with one thing wrong, as in a person's own environment."""

    def __init__(self, wrong):
        super().__init__()
        self.wrong = wrong

    def _seen(self):
        return np.zeros(3, np.float32) if self.wrong == "shape" else super()._seen()

    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed)
        return observation if self.wrong == "reset" else (observation, info)

    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        if self.wrong == "old":
            return observation, reward, terminated, info
        if self.wrong == "later" and self.at == 3:
            raise KeyError("wheel\nis lost")
        return observation, None if self.wrong == "none" else reward, terminated, truncated, info


@pytest.fixture
def broken():
    def call(wrong):
        gymnasium.register("test/Broken-v0", Broken, kwargs={"wrong": wrong}, disable_env_checker=True)
        return replace(preset("test/Broken-v0"), total_steps=200, learning_starts=50)

    yield call
    gymnasium.registry.pop("test/Broken-v0")


@pytest.mark.parametrize(("wrong", "what"), [
    ("shape", "failed at play: ValueError: .*check_env says more"), ("reset", "failed at play: ValueError"),
    ("old", r"failed at play: ValueError: not enough values to unpack \(expected 5, got 4\)"),
    ("none", "gives rewards that are not finite"),
])  # fmt: skip
def test_an_environment_that_fails_in_its_first_step_is_refused(broken, wrong, what):
    with pytest.raises(InputError, match=what):
        check_playable(broken(wrong))


@pytest.mark.parametrize("peer", [False, True])
def test_what_an_environment_raises_later_is_said_in_one_line_with_its_place(broken, tmp_path, peer):
    config = broken("later")
    if peer:
        config = SB3PPOConfig(env=config.env, num_envs=2, stack=1, rollout=32, batch_size=32)
    settings, train = (peers.settings(config), peers.train) if peer else (config, agents.train.train)
    place = r"\(test_vector.py, line \d+\)"
    with (
        pytest.raises(InputError, match=f"Broken-v0 failed at play: KeyError: .* {place}; mend it"),
        Run.open(tmp_path, "run", settings) as run,
    ):
        train(config, run)
