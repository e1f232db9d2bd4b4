import ale_py
import gymnasium
import numpy as np
import pytest

from agents import scores
from agents.evaluate import summarise
from lab.stats import human_normalised

gymnasium.register_envs(ale_py)


def test_the_57_games_are_ales():
    assert len(scores.DM57) == 57
    missing = {game for game in scores.DM57 if f"ALE/{game}-v5" not in gymnasium.registry}
    assert missing == set()
    assert all(human > random for random, human in scores.DM57.values())


@pytest.mark.parametrize(
    ("game", "random", "human"),
    [
        ("Pong", -20.7, 14.6),
        ("Breakout", 1.7, 30.5),
        ("MontezumaRevenge", 0.0, 4753.3),
        ("Skiing", -17098.1, -4336.9),
        ("Surround", -10.0, 6.5),
        ("VideoPinball", 16256.9, 17667.9),
    ],
)
def test_scores_as_printed(game, random, human):
    """As in Wang et al. (2016), read in three public copies of their table."""
    assert scores.of_game(f"ALE/{game}-v5") == (random, human)


def test_the_table_as_a_whole():
    """A slip in any number moves a sum: worked from another copy of the table than the one typed here."""
    assert sum(random for random, _ in scores.DM57.values()) == pytest.approx(50864.9, abs=0.05)
    assert sum(human for _, human in scores.DM57.values()) == pytest.approx(606494.2, abs=0.05)


def test_percent_of_human_by_hand():
    """DQN's 401.2 in Breakout (Mnih et al., 2015): (401.2 - 1.7) / (30.5 - 1.7)."""
    assert human_normalised(401.2, *scores.of_game("ALE/Breakout-v5")) == pytest.approx(1387.15, abs=0.01)


def test_a_summary_of_returns_by_hand():
    """Mean 8.9 in Breakout, whose random score is 1.7 and human 30.5: 100 (8.9 - 1.7) / (30.5 - 1.7) = 25 percent."""
    found = summarise(np.array([30.5, 1.7, 1.7, 1.7]), "ALE/Breakout-v5")
    assert found["eval/return_mean"] == pytest.approx(8.9)
    assert found["eval/human_normalised_percent"] == pytest.approx(25)
    assert found["eval/return_median"] == found["eval/return_iqm"] == found["eval/return_min"] == 1.7
    assert found["eval/return_max"] == 30.5 and found["eval/return_mean_low"] < 8.9 < found["eval/return_mean_high"]
    assert "eval/human_normalised_percent" not in summarise(np.ones(3), "lab/Catch-v0")


def test_other_environments_have_none():
    assert scores.of_game("CartPole-v1") is None
    assert scores.of_game("ALE/Adventure-v5") is None
    assert scores.of_game("Pong-v5") is None  # only ALE's ids
    assert scores.of_game("ale_py:ALE/Pong-v5") == (-20.7, 14.6)
