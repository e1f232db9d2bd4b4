"""The presets are files: each must give settings that work, and an unknown one must be named."""

from dataclasses import replace

import pytest

from agents.commands import TrainDQN
from agents.config import DQNConfig, preset
from agents.train import check, check_effect
from lab.errors import InputError
from lab.run import Run


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
    assert (config.num_envs, config.train_every, config.batch_size, config.learning_starts) == (1, 4, 32, 50_000)
    assert (config.epsilon_start, config.epsilon_steps, config.gamma, config.n_step) == (1.0, 1_000_000, 0.99, 1)
    assert (config.network, config.loss, config.clip_rewards, config.precision) == ("nature", "huber", True, "float32")


def test_rainbow_is_as_published():
    """Hessel et al. (2018), table 1, whose unit is the frame: 4 of them are an agent step."""
    config = preset("ALE/Pong-v5", "rainbow")
    assert 4 * config.learning_starts == 80_000 and config.train_every * config.target_every * 4 == 32_000
    assert (config.optimizer, config.learning_rate, config.replay_capacity) == ("adam", 0.0625e-3, 1_000_000)
    assert config.noisy and config.epsilon_start == config.epsilon_end == 0
    assert (config.priority_alpha, config.priority_beta, config.n_step) == (0.5, 0.4, 3)
    assert (config.distribution, config.atoms, config.v_max) == ("categorical", 51, 10)
    assert config.double and config.dueling and (config.num_envs, config.batch_size) == (1, 32)


def test_options_beside_a_preset_count_and_an_unknown_one_is_named(refused, lab_command):
    line = refused("train", "dqn", "--preset", "fats")
    assert "unknown preset 'fats'; did you mean fast?" in line
    line = refused("train", "dqn", "--preset", "rainbow", "--munchausen")
    assert "munchausen has a target of its own" in line


def test_a_preset_may_be_a_file_of_ones_own(tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text('env = "CartPole-v1"\ndueling = true\nlearning_rate = 1\nseed = 3\n')
    config = TrainDQN.default(["--preset", str(mine)]).config
    assert config == replace(preset("CartPole-v1"), dueling=True, learning_rate=1.0, seed=3)
    assert isinstance(config.learning_rate, float)
    assert TrainDQN.default(["--preset", str(mine), "--env", "lab/Catch-v0"]).config.env == "lab/Catch-v0"


def test_a_runs_config_is_a_preset_that_makes_it_again(tmp_path):
    config = replace(preset("lab/Catch-v0"), dueling=True, total_steps=777)
    with Run.open(tmp_path, "first", config):
        pass
    assert TrainDQN.default(["--preset", str(tmp_path / "first" / "config.json")]).config == config


@pytest.mark.parametrize(("text", "said"), [
    ("learning_rat = 1e-3", "unknown setting 'learning_rat'; did you mean learning_rate"),
    ("total_steps = 1e6", "total_steps must be a whole number, such as 1_000_000, not 1000000.0"),
    ("double = 1", "double must be true or false, not 1"), ('gamma = ".9"', "gamma must be a number, not '.9'"),
    ("loss = 'mse'", "loss must be huber or squared, not 'mse'"), ("env = 3", "env must be text, not 3"),
    ("n_step: 3", "cannot be read"), ("[dqn]\nn_step = 3", "unknown setting 'dqn'"),
])  # fmt: skip
def test_a_file_of_ones_own_that_holds_no_settings_is_refused_in_one_line(refused, tmp_path, text, said):
    mine = tmp_path / "mine.toml"
    mine.write_text(text)
    line = refused("train", "dqn", "--preset", str(mine))
    assert said in line and "mine.toml" in line


@pytest.mark.parametrize("name", ["missing.toml", "missing.json"])
def test_a_preset_that_is_not_there_is_refused_in_one_line(refused, name):
    assert f"{name} cannot be read: No such file" in refused("train", "dqn", "--preset", name)


@pytest.mark.parametrize("text", ["[1]", "3", "{", "null"])
def test_a_json_file_without_settings_is_refused_in_one_line(refused, tmp_path, text):
    (tmp_path / "mine.json").write_text(text)
    assert "mine.json cannot be read: " in refused("train", "dqn", "--preset", str(tmp_path / "mine.json"))


@pytest.mark.parametrize(
    ("share", "said"), [("0", "anneal_share must be above 0, not 0"), ("1.5", "anneal_share must lie in [0, 1]")]
)
def test_annealing_takes_a_share_of_training(refused, share, said):
    assert said in refused("train", "dqn", "--preset", "fast", "--anneal-share", share)


@pytest.mark.parametrize(("name", "env", "changes", "said"), [
    ("", "lab/Catch-v0", {"anneal_share": 0.5}, "anneal_share=0.5 has no effect without --anneal"),
    ("", "CartPole-v1", {"atoms": 7}, "atoms=7 has no effect without --distribution"),
    ("", "CartPole-v1", {"v_max": 3.0, "distribution": "quantile"}, "without --distribution categorical"),
    ("", "CartPole-v1", {"priority_beta": 0.5}, "priority_beta=0.5 has no effect without --priority-alpha"),
    ("", "CartPole-v1", {"centred": True}, "centred=True has no effect without frames of uint8 pixels"),
    ("", "CartPole-v1", {"protocol": "sticky"}, "protocol=sticky has no effect without an Atari game"),
    ("", "lab/Catch-v0", {"network": "nips"}, "network=nips has no effect without an Atari game"),
    ("fast", "ALE/Pong-v5", {"anneal": False, "anneal_share": 0.2}, "anneal_share=0.2 has no effect"),
])  # fmt: skip
def test_an_option_without_effect_is_refused(name, env, changes, said):
    usual = preset(env, name)
    with pytest.raises(InputError, match=said):
        check_effect(replace(usual, **changes), usual)


@pytest.mark.parametrize(("name", "env", "changes"), [
    ("fast", "CartPole-v1", {}), ("fast", "ALE/Pong-v5", {"anneal": False, "centred": False}),
    ("fast", "ALE/Pong-v5", {"anneal": False, "anneal_share": 1.0}),
    ("rainbow", "ALE/Pong-v5", {"distribution": "expected", "priority_alpha": 0.0}),
    ("", "ALE/Pong-v5", {"centred": True, "anneal": True, "anneal_share": 0.5}),
    ("", "CartPole-v1", {"distribution": "categorical", "atoms": 7, "v_max": 3.0}),
])  # fmt: skip
def test_what_a_preset_brings_may_be_idle(name, env, changes):
    usual = preset(env, name)
    check_effect(replace(usual, **changes), usual)


def test_the_command_refuses_an_option_without_effect(refused):
    assert "priority_beta=0.7 has no" in refused("train", "dqn", "--env", "CartPole-v1", "--priority-beta", "0.7")


def test_a_minibatch_larger_than_the_replay_is_refused():
    with pytest.raises(InputError, match="batch_size=700 is more than the replay holds, replay_capacity=600"):
        check(replace(preset("CartPole-v1"), batch_size=700, replay_capacity=600))
