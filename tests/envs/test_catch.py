import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import envs  # noqa: F401  (registers the environment)
from envs.catch import Catch


def test_passes_gymnasiums_checks():
    check_env(gymnasium.make("lab/Catch-v0", render_mode="rgb_array").unwrapped)


def play(env, policy, episodes):
    returns = []
    for _ in range(episodes):
        pixels, _ = env.reset()
        total, over, steps = 0.0, False, 0
        while not over:
            pixels, reward, over, truncated, _ = env.step(policy(pixels))
            total += reward
            steps += 1
            assert not truncated
        assert steps == 9
        returns.append(total)
    return np.mean(returns)


def chase(pixels):
    """Move towards the ball's column."""
    ball = np.flatnonzero(pixels[:-1].max(axis=0))
    paddle = np.flatnonzero(pixels[-1])
    return 1 if len(ball) == 0 else 1 + int(np.sign(ball[0] - paddle[0]))


def test_every_ball_can_be_caught_and_standing_still_mostly_misses():
    env = Catch()
    env.reset(seed=0)
    assert play(env, chase, 200) == 1
    assert play(env, lambda _: 1, 1000) == pytest.approx(-0.8, abs=0.06)  # one column in ten


def test_observation_is_two_bright_pixels():
    pixels, _ = Catch().reset(seed=1)
    assert pixels.shape == (10, 10) and pixels.dtype == np.uint8
    assert sorted(pixels.flatten())[-3:] == [0, 255, 255]
    assert pixels[0].max() == pixels[-1, 5] == 255


def test_too_small_is_refused():
    with pytest.raises(ValueError, match="at least 3"):
        Catch(size=2)


def test_diagonal_passes_gymnasiums_checks():
    check_env(gymnasium.make("lab/DiagonalCatch-v0", render_mode="rgb_array").unwrapped)


def test_one_picture_of_a_diagonal_ball_does_not_tell_where_it_goes_and_two_do():
    env = Catch(size=6, diagonal=True)
    env.reset(seed=0)
    seen: dict[tuple, list[int]] = {}
    for _ in range(4000):
        before, info = env.reset()
        column = before[0].argmax()
        for row in range(1, 4):
            pixels, *_, info = env.step(1)
            seen.setdefault((row, int(pixels[row].argmax())), []).append(info["velocity"])
            moved, column = int(pixels[row].argmax()) - int(column), pixels[row].argmax()
            at_wall = 1 if column == 0 else -1  # it stayed there for a step and comes back
            assert info["velocity"] == (moved or at_wall)
    assert len(seen) == 3 * 6
    assert max(abs(np.mean(velocities)) for velocities in seen.values()) < 0.13  # 667 each: 3.4 standard errors


def test_every_diagonal_ball_can_be_caught():
    env = Catch(diagonal=True)
    for phase in range(20):
        env.reset()
        env._phase = phase
        lands = (phase + 9) % 20
        target = lands if lands < 10 else 19 - lands
        for _ in range(9):
            *_, reward, _, _, _ = env.step(1 + int(np.sign(target - env._paddle)))
        assert reward == 1
