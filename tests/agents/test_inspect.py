"""Looking into an agent whose values are known by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from agents import gauges, played, saliency
from agents.inspect import agreement, hidden, inspect, look, moments, spread_out
from agents.played import Play, action_names, following, play
from agents.train import train
from lab import plots_agents, record
from lab.cli import main
from lab.plots import GREY, ORANGE
from lab.run import Run

from .conftest import LENGTH, LIMIT, REWARD


class ByHand(nn.Module):
    """Q(s, a) = the states' numbers, weighted: (inputs, actions); the last hidden layer is the state itself."""

    def __init__(self, weights):
        super().__init__()
        self.trunk = nn.Flatten()
        self.head = nn.Linear(*weights.shape, bias=False)
        self.head.weight.data = torch.as_tensor(weights, dtype=torch.float32).T

    def forward(self, state):
        return self.head(self.trunk(state))


class Agent:
    """What looking into an agent needs of one."""

    device = torch.device("cpu")

    def __init__(self, weights):
        self.q = ByHand(np.asarray(weights))

    def values(self, network, state):
        return network(state.float() / 255 if state.dtype == torch.uint8 else state.float())


@pytest.fixture
def walker():
    """On the line: Q(at, 0) = at and Q(at, 1) = 5 - at."""
    return Agent(np.stack([np.arange(8), 5 - np.arange(8)], axis=1))


def looks_at(pixel, side=12, stack=3, frame=2, actions=2):
    """An agent whose V is one pixel of one frame of its stack, and that thinks less of every other action."""
    weights = np.zeros((stack, side, side, actions))
    weights[(frame, *pixel, 0)] = 1.0
    weights[(frame, *pixel, 1)] = 0.5
    return Agent(weights.reshape(-1, actions))


def test_play_holds_every_state_with_its_values(walker, small, capsys):
    seen = play(walker, small("test/Line-v0"), 1, 10, seed=0)
    at = seen.states[:, 0].argmax(1)
    assert at.tolist() == [*range(LENGTH + 1), 0, 1, 2, 3]  # a whole episode, and on until there were ten steps
    assert (seen.q == np.stack([at, 5 - at], axis=1)).all()
    assert (seen.value == np.maximum(at, 5 - at)).all()
    assert seen.action.tolist() == [1, 1, 1, 0, 0, 0, 0, -1, 1, 1, 1, -1]
    assert seen.reward.tolist() == [REWARD] * LENGTH + [0] + [REWARD] * 3 + [0]
    assert np.flatnonzero(seen.terminal).tolist() == [LENGTH - 1]
    assert seen.episode.tolist() == [0] * (LENGTH + 1) + [1] * 4
    message = capsys.readouterr().err
    assert seen.pictures is None and "test/Line-v0 draws no pictures" in message and message.count("; no film") == 1


def test_play_is_by_the_protocols_share_of_random_actions(walker, small, monkeypatch):
    """Not by that of training."""
    monkeypatch.setattr(played, "evaluation_epsilon", lambda config: 1.0)
    seen = play(walker, small("test/Line-v0", epsilon_end=0.0), 1, 60, seed=0)
    greedy = (seen.action == seen.q.argmax(axis=1))[seen.taken]
    assert 15 < greedy.sum() < 45


def test_what_followed_stops_where_the_game_does_and_bootstraps_at_a_time_limit(walker, small):
    seen = play(walker, small("test/Line-v0"), 1, LENGTH, seed=0)
    returns = following(seen, 0.5, clip=False)[:LENGTH]
    assert returns == pytest.approx([2 * REWARD * (1 - 0.5 ** (LENGTH - at)) for at in range(LENGTH)])
    seen = play(walker, small("test/LimitedLine-v0"), 1, LIMIT, seed=0)
    returns = following(seen, 0.5, clip=True)[:LIMIT]  # V(5) = 5 in place of what would have come
    assert returns == pytest.approx([2 * (1 - 0.5 ** (LIMIT - at)) + 5 * 0.5 ** (LIMIT - at) for at in range(LIMIT)])


def test_hidden_layer_is_that_of_each_state(walker):
    states = np.random.default_rng(0).random((5, 1, 8)).astype(np.float32)
    assert np.allclose(hidden(walker, states, batch=2), states[:, 0])
    assert not walker.q.trunk._forward_hooks


def test_peaks_and_troughs_of_a_curve():
    curve = np.zeros(120)
    curve[[20, 60, 100]] = 5, 9, 3
    curve[[40, 80, 110]] = -4, -8, -6
    curve[[22, 61]] = 4.5, 8.5  # near to greater peaks
    assert moments(curve, most=6) == [20, 40, 60, 80, 100, 110]
    assert moments(curve, most=2) == [60, 110]  # 80 is too near to 60
    assert moments(np.arange(30.0), most=4) == [0, 29]  # the ends count
    assert moments(np.zeros(30), most=4) == [14]


def test_bars_of_the_timeline_are_the_action_values():
    q = np.random.default_rng(0).normal(size=(50, 3))
    figure = plots_agents.value_timeline(
        q.max(1), q.max(1), np.zeros(50), q, ["NOOP", "LEFT", "RIGHT"], [7, 30], None, "One", "return"
    )  # fmt: skip
    drawn = [panel for panel in figure.axes if len(panel.patches) == 3]
    assert len(drawn) == 2
    for panel, step in zip(drawn, [7, 30], strict=True):
        assert [bar.get_width() for bar in panel.patches] == pytest.approx(q[step, ::-1])  # from below
        assert [text.get_text() for text in panel.get_yticklabels()] == ["RIGHT", "LEFT", "NOOP"]


def test_of_many_actions_the_best_are_shown():
    q = np.arange(18.0)[None].repeat(5, 0)
    names = [f"action {index}" for index in range(18)]
    figure = plots_agents.value_timeline(q.max(1), q.max(1), np.zeros(5), q, names, [2], None, "One", "return")
    shown = [
        text.get_text() for panel in figure.axes for text in panel.get_yticklabels() if "action" in text.get_text()
    ]
    assert shown == [f"action {index}" for index in range(17, 11, -1)]


@pytest.mark.parametrize("frame", [0, 2])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_saliency_of_a_network_that_looks_at_one_pixel_is_that_pixel(frame, dtype):
    agent = looks_at((3, 8), frame=frame)
    states = (np.random.default_rng(0).random((2, 3, 12, 12)) * (255 if dtype == np.uint8 else 1)).astype(dtype)
    states[:, frame, 3, 8] = 255 if dtype == np.uint8 else 1
    slope = saliency.gradient(agent, states)
    assert slope.shape == (2, 12, 12)
    for found in (slope, saliency.occlusion(agent, states)):
        assert [np.unravel_index(each.argmax(), each.shape) for each in found] == [(3, 8)] * 2
        assert found[:, 6:, :5].max() < 1e-3 * found.max()  # nothing far away
    assert np.allclose(slope.sum((1, 2)), 1, atol=1e-3)  # smoothing spreads the slope of 1 and takes nothing away


def test_occlusion_by_hand():
    """A white pixel on black in the middle of a spot, where its mask is 1: nothing is left but the blurred pixel."""
    agent = looks_at((5, 5), side=12, stack=2, frame=0)
    states = np.zeros((1, 2, 12, 12), np.float32)
    states[0, 0, 5, 5] = 1
    taps = np.exp(-(np.arange(-4, 5) ** 2) / 2)
    left = (1 / taps.sum()) ** 2  # of the pixel, once blurred with a sigma of 1 pixel
    assert saliency.occlusion(agent, states)[0, 5, 5] == pytest.approx((1 - left) ** 2 / 2, rel=1e-4)


def test_saliency_of_a_vector_is_its_weights(walker):
    slope = saliency.gradient(walker, np.eye(8, dtype=np.float32)[[7], None])  # there Q(s, 0) is V
    assert slope[0] == pytest.approx(np.arange(8))


def test_concentration_is_the_share_of_the_picture_with_half_of_the_map():
    assert saliency.concentration(np.ones((2, 10, 10))) == 0.5
    one = np.zeros((1, 10, 10))
    one[0, 3, 4] = 1
    assert saliency.concentration(one) == 0.01


def test_neighbours_agree_about_a_value_that_lies_on_the_map():
    points = np.random.default_rng(0).random((400, 2))
    step = np.arange(400)
    assert agreement(points, points[:, 0], step) > 0.95
    assert agreement(points, np.random.default_rng(1).random(400), step) < 0.1
    along = np.stack([np.linspace(0, 40, 400)] * 2, axis=1)  # a path: near on the map only where near in time
    wave = np.sin(step / 3)
    assert agreement(along, wave, step, apart=0) > 0.8 and agreement(along, wave, step) < 0


def test_chosen_points_lie_far_apart():
    points = np.concatenate([[[0, 0], [10, 0], [0, 10], [10, 10]], np.random.default_rng(0).normal(5, 0.1, (50, 2))])
    assert set(spread_out(points, 4)) == {0, 1, 2, 3}
    assert len(spread_out(points[:3], 8)) == 3


def colour(frame, name):
    """Pixels of a frame that have a colour."""
    return (frame == np.array([int(name[i : i + 2], 16) for i in (1, 3, 5)], np.uint8)).all(-1)


def test_film_draws_bars_as_long_as_the_values():
    q = np.array([[1.0, 3.0], [4.0, 2.0], [9.0, 9.0]])
    pictures = np.zeros((3, 20, 20, 3), np.uint8)
    first, second, last = gauges.frames(pictures, q, np.array([1, 1, -1]), np.array([0.0, 1.0, 0.0]), ["left", "right"])
    assert first.shape == (gauges.HEIGHT, gauges.WIDTH, 3) and first.dtype == np.uint8

    def length(frame, name):
        return colour(frame, name).sum(1).max()

    assert length(first, ORANGE) == pytest.approx(length(first, GREY) * 3, rel=0.05)
    assert length(second, ORANGE) == pytest.approx(length(second, GREY) / 2, rel=0.05)
    assert length(last, ORANGE) == 0 and length(last, GREY) < 5  # the episode is over: no values


def test_every_state_has_its_own_picture(small):
    agent = Agent(np.random.default_rng(0).normal(size=(100, 3)))
    seen = play(agent, small("lab/Catch-v0"), 2, 30, seed=0)
    drawn = (seen.pictures[:, 8::16, 8::16] != 24).any(-1)  # (n, 10, 10): where ball and paddle are
    assert (drawn == (seen.states[:, -1] > 0)).all() and len(seen.states) > 30
    assert set(seen.reward[seen.terminal]) <= {-1.0, 1.0} and seen.terminal.sum() == 3


def test_colour_twin_shows_the_agents_game(small, monkeypatch):
    monkeypatch.setattr(played, "MAX_FILM", 60)
    config = small("ALE/Breakout-v5")
    agent = Agent(np.random.default_rng(0).normal(size=(4 * 84 * 84, 4)))
    seen = play(agent, config, 1, 60, seed=3)
    assert seen.pictures.shape == (len(seen.states), 210, 160, 3)
    grey = seen.pictures.mean(-1)[:, 1::5, 1::4]  # (n, 42, 40)
    frames = seen.states[:, -1, ::2, ::2][:, :, :40]
    alike = [np.corrcoef(a.mean(1), b.mean(1))[0, 1] for a, b in zip(grey, frames, strict=True)]
    assert min(alike) > 0.9
    assert action_names(config, 4) == ["NOOP", "FIRE", "RIGHT", "LEFT"]
    assert len(action_names(replace(config, protocol="sticky"), 18)) == 18


def test_everything_is_written_for_vectors_without_pictures(walker, small, tmp_path, capsys):
    config = small("test/Line-v0")
    with Run.open(tmp_path, "run", config) as run:
        metrics, steps = inspect(walker, config, run, look(walker, config, 3, 40, 0), 3, 40, 0)
    assert steps == 3 * LENGTH and metrics["inspect/return_mean"] == LENGTH * REWARD
    value = np.array([5, 4, 3, 3, 4, 5, 6])
    came = [REWARD * (1 - config.gamma ** (LENGTH - at)) / (1 - config.gamma) for at in range(LENGTH)]
    assert metrics["inspect/value_mean"] == pytest.approx(value.mean())
    assert metrics["inspect/value_bias"] == pytest.approx((value - came).mean())  # below 0: V expects too little
    assert metrics["inspect/value_correlation"] == pytest.approx(np.corrcoef(value, came)[0, 1])
    table = pd.read_csv(run.path / "values.csv")
    assert list(table) == ["step", "episode", "action", "reward", "value", "Q 0", "Q 1"] and len(table) == steps
    assert (table["value"] == table[["Q 0", "Q 1"]].max(axis=1)).all()
    at = table["step"] % LENGTH
    assert (table["Q 0"] == at).all() and (table["Q 1"] == 5 - at).all() and (table["reward"] == REWARD).all()
    assert {file.name for file in (run.path / "figures").iterdir()} == {
        "inspect-timeline.png", "inspect-saliency.png", "inspect-map.png",
    }  # fmt: skip
    assert not (run.path / "videos").exists() and "draws no pictures" in capsys.readouterr().err
    entries = record.read(run.path / "metrics.jsonl")
    curve = [entry["value"] for entry in entries if entry["kind"] == "scalar" and entry["tag"] == "inspect/value"]
    assert curve == table["value"].tolist()


@pytest.mark.slow
def test_command_leaves_figures_film_table_and_map(small, tmp_path, capsys):
    config = small("lab/Catch-v0")
    with Run.open(tmp_path, "catch", config) as run:
        train(config, run)
    assert main(["inspect", str(run.path), "--states=60", "--episodes=2", "--json", f"--runs={tmp_path}"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["env"] == "lab/Catch-v0" and said["steps"] == 18 and said["agent_step"] >= 400
    path = Path(said["result"])
    assert path.name == "inspect-catch"
    expected = [
        "figures/inspect-timeline.png", "figures/inspect-map.png", "figures/inspect-saliency.png", "values.csv",
        "videos/inspect-play.mp4", "videos/inspect-play.gif", "projector_config.pbtxt", "result.json",
    ]  # fmt: skip
    assert [name for name in expected if not (path / name).is_file()] == []
    table = pd.read_csv(path / "values.csv")
    assert len(table) == 18 and table["episode"].tolist() == [0] * 9 + [1] * 9
    labels = pd.read_csv(path / "projector/inspect-last_hidden_layer/labels.tsv", sep="\t")
    assert 10 < len(labels) <= 60
    assert not list(path.glob("tmp*"))  # the film's working file is gone


def test_wrong_input_is_refused_in_one_line(refused, tmp_path):
    assert "nowhere is not the folder of a run" in refused("inspect", "nowhere")
    assert "--states must lie in 10 .. 5000, not 9" in refused("inspect", "nowhere", "--states", "9")
    assert "--episodes must lie in 1 .. 1000, not 0" in refused("inspect", "nowhere", "--episodes", "0")
    assert not (tmp_path / "results").exists()


def test_rows_of_play():
    some = Play(*(np.arange(4),) * 7).of(np.array([1, 3]))
    assert some.q.tolist() == [1, 3] and Play(np.arange(4), None, *(np.arange(4),) * 5).of(slice(2)).pictures is None
