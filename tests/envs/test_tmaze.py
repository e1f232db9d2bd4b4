import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import envs
from envs.tmaze import BUMP, CORRIDOR, JUNCTION, ON, TMaze


def test_passes_gymnasiums_checks():
    check_env(gymnasium.make("lab/TMaze-v0").unwrapped, skip_render_check=True)


def walk(env, choose):
    """The places seen from the cue to the junction, and the return of choosing `choose(cue)` there."""
    state, _ = env.reset()
    cue, seen = state.argmax(), []
    while state.argmax() != JUNCTION:
        seen.append(int(state.argmax()))
        state, reward, over, truncated, _ = env.step(ON)
        assert not reward and not over and not truncated
    _, reward, over, truncated, _ = env.step(choose(cue))
    assert over and not truncated
    return seen, reward


@pytest.mark.parametrize("corridor", [1, 4])
def test_the_cue_is_seen_once_and_decides(corridor):
    env = TMaze(corridor)
    env.reset(seed=0)
    cues = set()
    for _ in range(20):
        seen, reward = walk(env, lambda cue: cue)
        assert seen[1:] == [CORRIDOR] * (corridor - 1) and reward == 1
        cues.add(seen[0])
        assert walk(env, lambda cue: 1 - cue)[1] == 0
    assert cues == {0, 1}


def test_who_always_goes_up_is_right_half_the_time():
    env = TMaze(2)
    env.reset(seed=0)
    assert np.mean([walk(env, lambda _: 0)[1] for _ in range(1000)]) == pytest.approx(0.5, abs=0.05)


def test_walls_stop_and_time_runs_out():
    env = TMaze(3)
    env.reset(seed=0)
    for step in range(12):
        state, reward, over, truncated, _ = env.step(step % 2)  # up and down at the start: walls
        assert state.argmax() < 2 and reward == BUMP and not over and truncated == (step == 11)
    env.reset()
    for _ in range(3):
        env.step(ON)
    state, reward, over, *_ = env.step(ON)  # the wall behind the junction
    assert state.argmax() == JUNCTION and reward == BUMP and not over


@pytest.mark.parametrize(("corridor", "shown"), [(3, True), (4, False)])
def test_a_stack_of_four_shows_the_cue_at_the_junction_of_a_short_corridor_only(corridor, shown):
    gymnasium.register(f"test/TMaze{corridor}-v0", "envs.tmaze:TMaze", kwargs={"corridor": corridor})
    games = envs.make(f"test/TMaze{corridor}-v0", 1, stack=4)
    state, _ = games.reset(seed=0)
    for _ in range(corridor):
        state, *_ = games.step(np.array([ON]))
    assert state[0, -1].argmax() == JUNCTION
    assert bool(state[0, :, :2].any()) is shown


def test_too_short_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        TMaze(0)
