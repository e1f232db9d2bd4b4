"""The presets are files: each must give settings that work, and an unknown one must be named."""

import pytest

from agents.config import DQNConfig, preset
from agents.train import check


@pytest.mark.parametrize("name", ["nature", "rainbow", "fast"])
def test_every_preset_is_settings_that_work(name):
    config = preset("ALE/Breakout-v5", name)
    check(config)
    assert config.env == "ALE/Breakout-v5" and config != DQNConfig(env="ALE/Breakout-v5")


def test_nature_is_as_published():
    config = preset("ALE/Pong-v5", "nature")
    assert 4 * config.total_steps == 200_000_000 and config.replay_capacity == 1_000_000
    assert (config.epsilon_end, config.target_every, config.learning_rate) == (0.1, 10_000, 2.5e-4)
    assert config.optimizer == "rmsprop" and not config.double


def test_options_beside_a_preset_count_and_an_unknown_one_is_named(refused, lab_command):
    line = refused("train", "dqn", "--preset", "fats")
    assert "unknown preset 'fats'; did you mean fast?" in line
    line = refused("train", "dqn", "--preset", "rainbow", "--munchausen")
    assert "munchausen has a target of its own" in line


@pytest.mark.parametrize(
    ("share", "said"), [("0", "anneal_share must be above 0, not 0"), ("1.5", "anneal_share must lie in [0, 1]")]
)
def test_annealing_takes_a_share_of_training(refused, share, said):
    assert said in refused("train", "dqn", "--preset", "fast", "--anneal-share", share)
