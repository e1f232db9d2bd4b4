import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import envs  # noqa: F401  (registers the environments)
from envs.chain import Chain


@pytest.mark.parametrize("env_id", ["lab/Chain-v0", "lab/DeceptiveChain-v0"])
def test_passes_gymnasiums_checks(env_id):
    check_env(gymnasium.make(env_id).unwrapped, skip_render_check=True)


def play(env, policy):
    """(return, steps) of one episode."""
    state, _ = env.reset()
    total, steps, over = 0.0, 0, False
    while not over:
        state, reward, over, truncated, _ = env.step(policy(state))
        total, steps = total + reward, steps + 1
        assert not truncated
    return total, steps


@pytest.mark.parametrize("length", [1, 5, 16])
def test_the_way_on_leads_to_the_goal_and_the_other_action_out(length):
    env = Chain(length)
    assert play(env, lambda state: env.onward[state.argmax()]) == (1, length)
    assert play(env, lambda state: 1 - env.onward[state.argmax()]) == (0, 1)
    state, _ = env.reset()
    for place in range(length):
        assert state.tolist() == [float(place == at) for at in range(length)]
        state, *_ = env.step(env.onward[place])


def test_no_one_action_is_the_way_on_everywhere():
    env = Chain(8)
    assert 0 < env.onward.sum() < 8
    assert play(env, lambda _: 0)[0] == play(env, lambda _: 1)[0] == 0
    assert (Chain(8).onward == env.onward).all()


def test_the_lure_pays_at_once_and_less_than_the_goal():
    env = gymnasium.make("lab/DeceptiveChain-v0").unwrapped
    assert play(env, lambda state: 1 - env.onward[state.argmax()]) == (0.1, 1)
    assert play(env, lambda state: env.onward[state.argmax()]) == (1, 6)


def test_random_play_seldom_arrives():
    env, random = Chain(4), np.random.default_rng(0)
    arrived = np.mean([play(env, lambda _: random.integers(2))[0] for _ in range(4000)])
    assert arrived == pytest.approx(2**-4, abs=0.015)


def test_too_short_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        Chain(0)
