"""ALE's traps, on real ROMs: each test fails if the one it names is stepped into."""

import json
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import envs
from agents.evaluate import LONGEST
from envs.atari import FRAME_SKIP, MAX_FRAMES, PROTOCOLS, Protocol


def rollout(games, steps, seed=0):
    """Random play: per step (state, reward, terminated, truncated, info), after the reset's (state, info)."""
    random = np.random.default_rng(seed)
    actions = games.single_action_space.n
    start = games.reset(seed=seed)
    return start, [games.step(random.integers(actions, size=games.num_envs)) for _ in range(steps)]


def test_rewards_are_raw():
    _, steps = rollout(envs.make("ALE/SpaceInvaders-v5", 4), 300)
    rewards = np.stack([step[1] for step in steps])
    assert set(np.unique(rewards)) >= {0, 5, 10}


@pytest.mark.parametrize("game", ["ALE/Breakout-v5", "ALE/SpaceInvaders-v5", "ALE/Pong-v5", "ALE/Freeway-v5"])
def test_a_lost_life_is_no_game_over_and_the_step_after_an_end_is_the_reset(game):
    games = envs.make(game, 4)
    assert games.autoreset_mode == AutoresetMode.NEXT_STEP
    (_, info), steps = rollout(games, 1200)
    before, ended, lost = info["episode_frame_number"], np.zeros(4, bool), 0
    for state, reward, terminated, truncated, info in steps:
        reset = info["episode_frame_number"] < before  # the game's own clock started again
        assert (reset == ended).all()
        assert not reward[reset].any()
        assert not state[reset, :3].any()  # zero-padded stack
        assert not (info["life_lost"] & terminated).any()
        lost += info["life_lost"].sum()
        before, ended = info["episode_frame_number"].copy(), terminated | truncated
    assert (lost > 0) == (game in ("ALE/Breakout-v5", "ALE/SpaceInvaders-v5"))


def test_the_protocols_are_those_of_the_papers():
    """Mnih et al. (2015), extended data table 1 and methods; Machado et al. (2018), section 5 and table 5."""
    assert PROTOCOLS["classic"] == Protocol(0.0, False, 30, True, 0.05)
    assert PROTOCOLS["sticky"] == Protocol(0.25, True, 0, False, 0.01)
    assert MAX_FRAMES == 30 * 60 * 60 and LONGEST == MAX_FRAMES / FRAME_SKIP


def test_a_classic_game_begins_with_up_to_30_no_ops_and_a_step_is_4_frames():
    for protocol, begins in (("classic", True), ("sticky", False)):
        games = envs.make("ALE/Breakout-v5", 4, protocol=protocol)
        _, info = games.reset(seed=0)
        frames = info["episode_frame_number"].copy()
        assert (len(np.unique(frames)) > 1) == begins and frames.max() <= 30 * begins
        for _ in range(3):
            *_, info = games.step(np.zeros(4, int))
        assert (info["episode_frame_number"] == frames + 3 * 4).all()


def test_fire_is_not_pressed_by_itself():
    """Nothing moves in Breakout until the ball is asked for."""
    games = envs.make("ALE/Breakout-v5", 1)
    games.reset(seed=0)
    assert games.ale.get_action_set()[1].name == "FIRE"
    screens = [games.step(np.array([0]))[0][0, -1].copy() for _ in range(20)]
    screens += [games.step(np.array([1]))[0][0, -1].copy() for _ in range(5)]
    assert (screens[5] == screens[19]).all() and (screens[19] != screens[24]).any()


def test_sticky_protocol_has_all_actions_and_no_life_loss():
    sticky, classic = envs.make("ALE/Breakout-v5", 2, protocol="sticky"), envs.make("ALE/Breakout-v5", 2)
    assert (sticky.single_action_space.n, classic.single_action_space.n) == (18, 4)
    _, steps = rollout(sticky, 400)
    assert not any(info["life_lost"].any() for *_, info in steps)


@pytest.mark.parametrize("sticky", [0.25, 0.0])
def test_only_sticky_actions_tell_two_games_with_the_same_actions_apart(monkeypatch, sticky):
    rules = replace(PROTOCOLS["sticky"], sticky=sticky)  # no no-ops at the start: no other chance
    monkeypatch.setitem(PROTOCOLS, "sticky", rules)
    games = envs.make("ALE/Breakout-v5", 2, protocol="sticky")
    games.reset(seed=np.array([3, 4]))
    states = [games.step(np.array([action, action]))[0] for action in [3, 3, 4, 4] * 20]
    assert any((state[0] != state[1]).any() for state in states) == (sticky > 0)


def test_same_seed_same_game():
    first, second = (rollout(envs.make("ALE/Pong-v5", 2), 200)[1] for _ in range(2))
    for left, right in zip(first, second, strict=True):
        assert (left[0] == right[0]).all() and (left[1] == right[1]).all()


def test_time_limit_truncates_and_does_not_terminate():
    games = envs.make("ALE/Pong-v5", 1, max_frames=400)
    _, steps = rollout(games, 150)
    ends = [(terminated[0], truncated[0]) for _, _, terminated, truncated, _ in steps if terminated[0] or truncated[0]]
    assert ends == [(False, True)]


def test_colour_twin_shows_the_same_game():
    """The film's twin in colour, given the same seed and actions, is in the same state as the game played."""
    game, twin = envs.make("ALE/Pong-v5", 1), envs.make("ALE/Pong-v5", 1, colour=True)
    game.reset(seed=5)
    twin.reset(seed=5)
    random = np.random.default_rng(0)
    for _ in range(300):
        action = random.integers(6, size=1)
        _, reward, *_, info = game.step(action)
        screen, twin_reward, *_, twin_info = twin.step(action)
        assert reward == twin_reward and info["frame_number"] == twin_info["frame_number"]
    assert screen.shape == (1, 4, 210, 160, 3)


def test_unknown_game_is_named():
    with pytest.raises(gymnasium.error.UnregisteredEnv):
        envs.make("ALE/Pongg-v5")


@pytest.mark.slow
@pytest.mark.parametrize("game", ["Pong", "Breakout", "SpaceInvaders", "MsPacman"])
def test_restored_games_go_on_the_same_in_every_bit(game):
    """Snapshots in the middle of games and right at an end, where the next step only resets."""
    random = np.random.default_rng(0)
    played, restored = (envs.make(f"ALE/{game}-v5", 3, num_threads=1, max_frames=1200) for _ in range(2))
    played.reset(seed=5)
    snapshots = {}
    for step in range(700):
        *_, terminated, truncated, _ = played.step(random.integers(played.single_action_space.n, size=3))
        if step in (0, 400) or ((terminated | truncated).any() and len(snapshots) < 4):
            snapshots[step] = played.snapshot()
    assert any(any(snapshot["ended"]) for snapshot in snapshots.values())
    assert max(max(snapshot["resets"]) for snapshot in snapshots.values()) > 0
    for snapshot in snapshots.values():
        left, right = played.restore(snapshot), restored.restore(json.loads(json.dumps(snapshot)))
        assert (left == right).all()
        random = np.random.default_rng(1)
        for _ in range(150):
            action = random.integers(played.single_action_space.n, size=3)
            for mine, other in zip(played.step(action)[:4], restored.step(action)[:4], strict=True):
                assert (mine == other).all()
        assert played.snapshot() == restored.snapshot()


def test_a_snapshot_is_of_the_game_as_it_was_played():
    """The screen at the snapshot, and those that followed it in the game that was never put back."""
    random = np.random.default_rng(0)
    games = envs.make("ALE/Breakout-v5", 2, num_threads=1)
    games.reset(seed=3)
    actions = random.integers(4, size=(600, 2))
    screens = [games.step(action)[0].copy() for action in actions[:450]]
    snapshot = games.snapshot()
    screens += [games.step(action)[0].copy() for action in actions[450:]]
    assert (games.restore(snapshot) == screens[449]).all()
    for action, screen in zip(actions[450:], screens[450:], strict=True):
        assert (games.step(action)[0] == screen).all()


def test_games_reset_by_hand_are_put_back_too():
    games, restored = (envs.make("ALE/Breakout-v5", 2, num_threads=1) for _ in range(2))
    games.reset(seed=3)
    for step in range(60):
        seen, *_ = games.step(np.full(2, 1 + step % 3))
        if step == 20:
            games.reset(options={"reset_mask": np.array([False, True])})
        if step == 40:
            games.reset(seed=np.array([9]), options={"reset_mask": np.array([True, False])})
    assert (restored.restore(games.snapshot()) == seen).all()


def test_sticky_games_cannot_be_put_back():
    assert envs.make("ALE/Pong-v5", 1, protocol="sticky").snapshot() is None
