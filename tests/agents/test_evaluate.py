import math
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn

from agents.algorithm import Training
from agents.config import preset
from agents.dqn import DQN
from agents.evaluate import evaluate, film, load
from agents.train import train
from lab.curves import find
from lab.errors import InputError, Notice
from lab.run import Run

from .conftest import CPU, LENGTH, REWARD


def test_scores_are_measured_without_noise(small, tmp_path, monkeypatch):
    noted = []

    def noting(agent, *given):
        noted.append(any(layer.any() for layer in agent.q.buffers()))
        return evaluate(agent, *given)

    monkeypatch.setattr("agents.train.evaluate", noting)
    config = small("test/Line-v0", noisy=True, total_steps=120)
    with Run.open(tmp_path, "run", config) as run:
        train(config, run)
    assert noted == [False]


def test_evaluation_plays_whole_episodes_with_raw_rewards(small):
    config = small("test/Line-v0", clip_rewards=True)
    agent = Training(config, CPU).agent
    scores = evaluate(agent, config, 11)
    assert scores["return"].tolist() == [LENGTH * REWARD] * 11 and scores["length"].tolist() == [LENGTH] * 11


@pytest.mark.parametrize(("env", "protocol", "epsilon"), [
    ("ALE/Pong-v5", "classic", 0.05), ("ALE/Pong-v5", "sticky", 0.01), ("lab/Catch-v0", "classic", 0.0),
])  # fmt: skip
def test_scores_are_measured_at_the_protocols_epsilon_and_not_at_that_of_training(monkeypatch, env, protocol, epsilon):
    class Noting:
        def act(self, state, epsilon, random):
            given.add(epsilon)
            return np.zeros(len(state), int)

    given = set()
    monkeypatch.setattr("agents.evaluate.LONGEST", 5)
    config = replace(preset(env), protocol=protocol, epsilon_start=0.7, epsilon_end=0.3)
    with pytest.warns(Notice, match="2 of 2 episodes had not ended after 5 agent steps"):
        evaluate(Noting(), config, 2)
    assert given == {epsilon}


class Uneven(gymnasium.Env):
    """Episodes of 2 steps where the first seed was even, of 9 where it was odd."""

    observation_space, action_space = gymnasium.spaces.Box(0, 1, (2,)), gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if seed is not None:
            self.length = 9 if seed % 2 else 2
        self.steps = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.zeros(2, np.float32), 1.0, self.steps == self.length, False, {}


gymnasium.register("test/Uneven-v0", Uneven)


def test_short_episodes_are_not_preferred(small):
    """Each of the 8 environments plays 2 episodes, however long the others take."""
    config = small("test/Uneven-v0")
    scores = evaluate(DQN((1, 2), 2, config, CPU), config, 16)
    assert sorted(scores["length"]) == [2] * 8 + [9] * 8 and (scores["return"] == scores["length"]).all()


def test_an_episode_without_end_counts_as_it_stands(small, monkeypatch):
    monkeypatch.setattr("agents.evaluate.LONGEST", 30)
    config = small("test/EndlessLine-v0")
    agent = Training(config, CPU).agent
    with pytest.warns(Notice, match="test/EndlessLine-v0: 11 of 11 episodes had not ended after 30 agent steps"):
        scores = evaluate(agent, config, 11)
    assert scores["return"].tolist() == [30 * REWARD] * 11 and scores["length"].tolist() == [30] * 11


@pytest.mark.slow
def test_a_film_has_a_picture_for_every_step(small):
    for env_id, size in [("lab/Catch-v0", (160, 160, 3)), ("ALE/Pong-v5", (210, 160, 3))]:
        config = small(env_id)
        agent = Training(config, CPU).agent
        frames, score = film(agent, config)
        assert frames.shape[1:] == size and frames.dtype == np.uint8
        assert len(frames) == 10 if "Catch" in env_id else len(frames) > 500
        assert abs(score) in (1, *range(15, 22)) and len(np.unique(frames[:, ::8], axis=0)) > 5


def test_an_environment_without_pictures_is_named(small):
    config = small("test/Line-v0")
    with pytest.raises(InputError, match="test/Line-v0 draws no pictures"):
        film(Training(config, CPU).agent, config)


class Drawing(gymnasium.Env):
    """Draws pictures one after the other, the last one again and again."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    observation_space, action_space = gymnasium.spaces.Box(0, 1, (2,)), gymnasium.spaces.Discrete(2)

    def __init__(self, pictures=(), render_mode=None):
        self.pictures, self.render_mode = list(pictures), render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(2, np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.zeros(2, np.float32), 0.0, self.steps == 5, False, {}

    def render(self):
        return self.pictures.pop(0) if len(self.pictures) > 1 else self.pictures[0]


GOOD = np.zeros((20, 30, 3), np.uint8)


@pytest.mark.parametrize(("pictures", "what"), [
    ([None], "render\\(\\) gives None"), ([GOOD / 255], "float64"), ([GOOD[..., 0]], r"gives \(20, 30\) uint8"),
    ([GOOD[..., [0, 0, 0, 0]]], r"\(20, 30, 4\)"), ([GOOD[:1, :1]], "at least 2 x 2 pixels"),
    ([GOOD, GOOD, GOOD[1:]], "of several sizes"),
])  # fmt: skip
def test_pictures_that_make_no_film_are_refused(small, pictures, what):
    gymnasium.register("test/Drawing-v0", Drawing, kwargs={"pictures": pictures}, disable_env_checker=True)
    try:
        config = small("test/Drawing-v0")
        with pytest.raises(InputError, match=f"test/Drawing-v0 draws .*{what}"):
            film(DQN((1, 2), 2, config, CPU), config)
    finally:
        gymnasium.registry.pop("test/Drawing-v0")


class Wide(nn.Module):
    """A network of one's own."""

    def __init__(self, shape, actions):
        super().__init__()
        self.trunk = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 48), nn.ReLU())
        self.head = nn.Linear(48, actions)

    def forward(self, state):
        return self.head(self.trunk(state))[..., None]


class Mine(DQN):
    """It never explores."""

    def network(self, shape, actions):
        return Wide(shape, actions)

    @torch.no_grad()
    def explore(self, state, epsilon):
        return self.values(self.q, state).argmax(dim=1)


def test_an_agent_of_ones_own_is_trained_and_loaded_and_acts(small, tmp_path):
    config = small("lab/Catch-v0")
    with Run.open(tmp_path, "mine", {**vars(config), "algorithm": "wide"}) as run:
        train(config, run, Mine)
    agent, loaded, step = load(str(run.path), Mine)
    assert isinstance(agent.q, Wide) and loaded == config and step >= config.total_steps
    states = np.random.default_rng(0).integers(256, size=(5, 1, 10, 10), dtype=np.uint8)
    best = agent.values(agent.q, torch.from_numpy(states)).argmax(dim=1)
    assert agent.act(states).tolist() == best.tolist()
    with pytest.raises(InputError, match="or load it as the class that it was trained as"):
        load(run.path)
    (curve,) = find([str(run.path)], "train/return_last_100")
    assert curve.algorithm == "wide"
