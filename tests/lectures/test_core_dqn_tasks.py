"""The DQN experiments that compare agents, tasks and games: each can come out false, and what they rest on is right."""

import numpy as np
import pytest
import torch

from agents.played import Play, following
from lab.errors import InputError
from lab.lectures import Verdict, judge, load
from lab.lectures.core import _agents, _recurrent
from tests.lectures.test_experiments import failed, run
from tests.lectures.test_foundations_slides import of

pytestmark = pytest.mark.slow  # each experiment runs for seconds


def test_no_memory_means_the_newest_transitions():
    memory = load("dqn-replay-target-ablation").Newest(100, 2, (1,), torch.float32, stack=1, seed=0)
    for number in range(80):
        reward, live = np.array([2.0 * number, 2.0 * number + 1]), np.array([True, number != 77])
        memory.add(np.zeros((2, 1)), np.zeros(2), reward, np.zeros(2, bool), live)
    # of row 79 the next state has not come yet, and 155 only reset the environment
    assert memory.sample(6).reward.tolist() == [151, 152, 153, 154, 156, 157]


@pytest.mark.parametrize("arm", ["full", "no target", "neither"])
def test_an_arm_lacks_what_its_name_says(arm):
    module = load("dqn-replay-target-ablation")
    seen = []
    without = module.newest if arm == "neither" else None
    target = {} if arm == "full" else {"target_every": 1}
    config = _agents.settings(module.CATCH, 300, 0, **target)
    learned = _agents.learn(config, without, lambda training: seen.append(type(training.replay).__name__))
    agent = learned.agent
    same = all(torch.equal(a, b) for a, b in zip(agent.q.parameters(), agent.target.parameters(), strict=True))
    assert same == (arm != "full") and set(seen) == {"Newest" if without else "Replay"}


@pytest.mark.parametrize(
    ("value", "largest", "verdict"),
    [
        ({"full": 1.0}, 200.0, Verdict.HOLDS),
        ({"no target": 1.0}, 200.0, Verdict.MIXED),
        ({"neither": 1.0, "no replay": 1.0, "no target": 1.0}, 0.5, Verdict.FAILS),
    ],
)
def test_the_ablation_is_judged_by_what_full_dqn_gains(monkeypatch, value, largest, verdict):
    module = load("dqn-replay-target-ablation")

    def train(task, arm, steps, seed):
        score = value.get(arm, 0.0) + seed / 100
        return np.full(40, score), score, largest

    monkeypatch.setattr(module, "train", train)
    _, outcome = run("dqn-replay-target-ablation", quick=True)
    assert judge(outcome.findings) is verdict


@pytest.mark.parametrize("net", ["conv", "MLP"])
def test_the_directions_asked_for_are_those_of_the_ball(net):
    module = load("dqn-motion-from-stack")
    states, velocity = module.random_play(module.NETS[net], 4, 64, 0)
    frames = states.reshape(len(states), 4, module.SIZE, module.SIZE)
    ball = np.array([[frame[:-1].max(axis=0).argmax() for frame in state[-2:]] for state in frames])
    moved = np.diff(ball, axis=1)[:, 0]
    clear = moved != 0  # else it is at a wall, and comes back
    assert clear.sum() > 150 and (np.sign(moved[clear]) == velocity[clear]).all()
    assert len(states) == 64 * (module.SIZE - 2) and abs(velocity.mean()) < 0.3
    assert frames[:, -1, :-1].any(axis=(1, 2)).all() and frames[:, -2].any(axis=(1, 2)).all()  # neither last nor first


def test_the_two_stacks_shown_end_alike_and_begin_otherwise():
    stacks = load("dqn-motion-from-stack").same_end()
    assert (stacks[0, -1] == stacks[1, -1]).all() and (stacks.sum(axis=(2, 3)) == 2).all()
    assert not any((stacks[0, t] == stacks[1, t]).all() for t in range(3))


@pytest.mark.parametrize(
    ("id", "train"),
    [
        ("dqn-epsilon-greedy", lambda module, seed: module.train(0.5, 2000, seed)),
        ("dqn-target-period", lambda module, seed: module.train("lab/Catch-v0", 10, 2000, seed, 1)),
        ("dqn-replay-target-ablation", lambda module, seed: module.train("Catch", "neither", 2000, seed)),
        ("dqn-motion-from-stack", lambda module, seed: module.train("conv", 1, module.Settings(episodes=32), seed)),
        ("dqn-memory-vs-exploration", lambda module, seed: module.maze(2, 2000, seed, recurrent=False)),
        ("dqn-memory-vs-exploration", lambda module, seed: module.maze(2, 2000, seed, recurrent=True)),
        ("dqn-memory-vs-exploration", lambda module, seed: module.chain(4, 2000, seed)),
    ],
)
def test_each_training_has_a_seed_of_its_own(monkeypatch, id, train):
    """Else several seeds are one, and their interval says nothing."""

    class Begun(Exception):
        pass

    def learn(config, *rest):
        raise Begun(config.seed)

    monkeypatch.setattr(_agents, "learn", learn)
    monkeypatch.setattr(_recurrent, "learn", learn)
    for seed in (0, 7):
        with pytest.raises(Begun, match=f"^{seed}$"):
            train(load(id), seed)


@pytest.mark.parametrize("known", [True, False])
def test_a_probe_reads_off_what_is_there_and_nothing_else(monkeypatch, known):
    module = load("dqn-motion-from-stack")
    random = np.random.default_rng(0)
    velocity = random.choice([-1, 1], 2000)
    inside = random.normal(size=(2000, 800)) + 0.3 * known * velocity[:, None]  # so many that noise is learnt by heart
    monkeypatch.setattr(module, "hidden", lambda agent, states: inside)
    assert (module.probe(None, np.zeros((2000, 1)), velocity) > 0.95) is known


@pytest.mark.parametrize(
    ("told", "verdict", "stack"), [({1: 0.5, 4: 0.99}, Verdict.HOLDS, True), ({1: 0.99, 4: 0.99}, Verdict.HOLDS, False),
                                   ({1: 0.99, 4: 0.5}, Verdict.FAILS, False)],
)  # fmt: skip
def test_motion_must_come_with_the_stack(monkeypatch, told, verdict, stack):
    module = load("dqn-motion-from-stack")
    monkeypatch.setattr(module, "train", lambda net, stack, settings, seed: (told[stack] - seed / 1000, 0.5, 0.0))
    _, outcome = run("dqn-motion-from-stack")
    assert judge(outcome.findings) is verdict and of(outcome, "conv, 1 frame: share").holds is stack


def policy(module, game, score):
    return module.Policy(game, 4_000_000, np.array([score, score + 1]))


def test_a_share_of_games_is_told_with_how_little_one_game_says(monkeypatch):
    module = load("dqn-atari-human-normalised")
    monkeypatch.setattr(module, "random_returns", lambda game, number: np.arange(number, dtype=float))
    games = ["Pong", "Breakout", "Boxing", "Freeway", "Seaquest", "Qbert"]
    for chosen, score, verdict in ((games[:1], 1e6, "not reached"), (games, 1e6, "holds"), (games, 0.0, "fails")):
        trained = [policy(module, game, score) for game in chosen]
        monkeypatch.setattr(module, "policies", lambda folder, number, play, trained=trained: trained)
        measured, outcome = run("dqn-atari-human-normalised", quick=True)
        assert judge(outcome.findings) == verdict and measured["games attempted"] == len(chosen)
        assert "4,000,000 frames" in outcome.budget


def test_human_and_random_scores_are_100_and_0_percent():
    module = load("dqn-atari-human-normalised")
    assert policy(module, "Pong", 14.6).percent(np.array([14.6, -20.7, -3.05])) == pytest.approx([100, 0, 50])


def test_random_pong_is_lost():
    scores = load("dqn-atari-human-normalised").random_returns("Pong", 2)
    assert len(scores) == 2 and ((scores >= -21) & (scores < -15)).all()


def test_where_nothing_was_trained_there_is_nothing_to_count(tmp_path):
    with pytest.raises(InputError, match="holds no policy trained on Atari by the classic rules"):
        run("dqn-atari-human-normalised", quick=True, runs=str(tmp_path))


def test_other_rules_and_other_environments_are_not_counted(tmp_path, monkeypatch):
    from agents.config import preset

    module = load("dqn-atari-human-normalised")
    found = {
        "a": ("ALE/Pong-v5", "classic", 10), "b": ("ALE/Pong-v5", "classic", 30), "c": ("ALE/Breakout-v5", "sticky", 5),
        "d": ("lab/Catch-v0", "classic", 5),
    }  # fmt: skip
    for name in found:
        (tmp_path / name / "policy").mkdir(parents=True)
        (tmp_path / name / "evaluation.csv").write_text("return,length\n1,2\n3,4\n")

    def loaded(path):
        env, protocol, step = found[path.name]
        config = preset(env)
        config.protocol = protocol
        return None, config, step

    monkeypatch.setattr(module.evaluate, "load", loaded)
    (pong,) = module.policies(tmp_path, 2, play=False)
    assert (pong.game, pong.frames, pong.returns.tolist()) == ("Pong", 120, [1, 3])


@pytest.fixture(scope="module")
def catcher():
    """A small agent in the place of the one trained on Pong: Catch is drawn too."""
    config = _agents.settings(_agents.CATCH, 300, 0)
    return _agents.learn(config).agent, config, 300


def test_a_map_of_noise_is_no_better_than_one_of_pixels(monkeypatch, catcher):
    module = load("dqn-tsne-hidden")
    monkeypatch.setattr(_agents, "trained", lambda: catcher)
    came = []

    def followed(seen, *rest):
        came.append(following(seen, *rest)[seen.taken])
        return following(seen, *rest)

    monkeypatch.setattr(module, "following", followed)
    for knows, verdict in ((True, True), (False, False)):

        def layer(agent, states, knows=knows):
            noise = np.random.default_rng(0).normal(size=(len(states), 2))
            return noise * 1e-3 + came[-1][: len(states), None] if knows and agent is catcher[0] else noise

        monkeypatch.setattr(module, "hidden", layer)
        monkeypatch.setattr(
            module, "tsne", lambda vectors, seed: vectors.reshape(len(vectors), -1)[:, -2:].astype(float)
        )
        _, outcome = run("dqn-tsne-hidden", quick=True)
        assert (
            of(outcome, "R² of the discounted reward from 10 neighbours: trained net over untrained net").holds is True
        ) is verdict


def test_tsne_keeps_neighbours():
    points = np.repeat(np.eye(3) * 100, 40, axis=0) + np.random.default_rng(0).normal(size=(120, 3))
    placed = load("dqn-tsne-hidden").tsne(points, 0)
    centres = placed.reshape(3, 40, 2).mean(axis=1)
    own = np.repeat(centres, 40, axis=0)
    nearest = np.linalg.norm(placed[:, None] - centres, axis=2).argmin(axis=1)
    assert placed.shape == own.shape and (nearest == np.repeat(np.arange(3), 40)).all()


def game(value, reward):
    n = len(value)
    action = np.zeros(n, int)
    action[-1] = -1
    q = np.column_stack([value, np.asarray(value) - 1])
    return Play(
        np.zeros((n, 1, 10, 10), np.uint8), None, q, action, np.asarray(reward, float), np.zeros(n, bool),
        np.zeros(n, int),
    )  # fmt: skip


def test_changes_of_value_around_a_reward_by_hand():
    module = load("dqn-value-vs-state")
    reward = np.zeros(100)
    reward[[10, 40, 50, 90]] = [1, 1, 1, -1]  # 10 is too early, 50 too soon after 40
    played = game(np.arange(100) ** 2 / 100, reward)
    assert module.changes(played, 1, 0) == pytest.approx([(40**2 - 20**2) / 100])
    assert module.changes(played, 1, 1) == pytest.approx([(41**2 - 20**2) / 100])
    assert module.changes(played, -1, 1) == pytest.approx([(91**2 - 70**2) / 100])


@pytest.mark.parametrize("sign", [1, -1])
def test_a_value_upside_down_is_found_out(monkeypatch, catcher, sign):
    module = load("dqn-value-vs-state")
    reward = np.zeros(300)
    reward[[60, 120, 180]], reward[[90, 150, 210]] = 1, -1
    came = following(game(np.zeros(300), reward), 0.9, clip=True)
    monkeypatch.setattr(_agents, "trained", lambda: catcher)
    monkeypatch.setattr(module, "play", lambda *_, seed: game(sign * came + 0.01 * (seed % 5), reward))
    _, outcome = run("dqn-value-vs-state")
    assert of(outcome, "rank correlation").holds is (sign > 0)
    assert of(outcome, "V just before a point won").holds is (sign > 0)


def test_a_game_without_a_miss_leaves_the_question_open(monkeypatch, catcher):
    module = load("dqn-value-vs-state")
    reward = np.zeros(300)
    reward[[60, 120]] = 1
    monkeypatch.setattr(_agents, "trained", lambda: catcher)
    monkeypatch.setattr(module, "play", lambda *_, seed: game(np.arange(300) + seed, reward))
    _, outcome = run("dqn-value-vs-state", seeds=2)
    assert of(outcome, "V after a point lost").holds is None


@pytest.mark.parametrize(
    ("stacked", "recurrent", "chains", "verdict"),
    [
        (0.5, 1.0, {4: 1, 8: 1, 16: 0, 32: 0}, Verdict.HOLDS),
        (1.0, 1.0, {4: 1, 8: 1, 16: 1, 32: 1}, Verdict.FAILS),
        (0.5, 0.5, {4: 0, 8: 0, 16: 0, 32: 0}, Verdict.MIXED),  # DQN fails, and so does the LSTM
    ],
)
def test_memory_and_exploration_are_judged_apart(monkeypatch, stacked, recurrent, chains, verdict):
    module = load("dqn-memory-vs-exploration")
    monkeypatch.setattr(module, "maze", lambda *_, recurrent: recurrent_score if recurrent else stacked)
    recurrent_score = recurrent
    monkeypatch.setattr(module, "chain", lambda length, steps, seed: float(chains[length]))
    monkeypatch.setattr(module, "montezuma", lambda steps: 0.0)
    _, outcome = run("dqn-memory-vs-exploration")
    assert judge(outcome.findings) is verdict
    asked = {each.name.split(" steps")[0] for each in outcome.findings if each.expected and "maze" in each.name}
    assert asked == {"T-maze, 6", "T-maze, 10"}, "where four frames do not show the cue"
    if chains[32]:
        assert {"chain: share of DQNs that 32 states cost", "chain, 32 states: any DQN that reaches the end"} < set(
            failed(outcome)
        )


def test_an_lstm_remembers_within_an_episode_and_forgets_between():
    config = _agents.settings(_agents.variant("lab/TMaze-v0", corridor=2), 1000, 0)
    q = _recurrent.RecurrentQ(4, 3)
    player = _recurrent.Player(q, config, 3, seed=0)
    episodes = [episode for _ in range(200) for episode in player.step(0.7)]
    assert len(episodes) > 30
    for episode in episodes:
        assert len(episode.seen) == len(episode.action) + 1 == len(episode.reward) + 1
        assert episode.seen[0].argmax() < 2  # the cue
        assert episode.terminal or len(episode.action) == 9  # the end, or time is up
    # what the player's LSTM holds after a part of an episode is what it holds after that part alone
    for env, part in enumerate(player.parts):
        if part and not player.ended[env]:
            alone = torch.from_numpy(np.stack([seen for seen, _, _ in part]))[None]
            assert torch.allclose(q(alone)[1][0][0, 0], player.memory[0][0, env], atol=1e-6)


def test_the_loss_of_whole_episodes_by_hand():
    """Q is 0 and 1 for the two actions, the target the next observation, γ a half; Huber's loss is |error| less a half.

    The first episode ends: y = 10 + 2/2 and 20, against 0 and 1. The second is cut by time: y = 1 + 7/2, against 0.
    """

    def episode(seen, action, reward, terminal):
        parts = np.array(seen, np.float32)[:, None], np.array(action), np.array(reward, np.float32)
        return _recurrent.Episode(*parts, terminal, 0)

    def q(states):
        return torch.tensor([0.0, 1.0]).expand(*states.shape[:2], 2), None

    def target(states):
        return states.expand(-1, -1, 2), None

    episodes = [episode([1, 2, 3], [0, 1], [10, 20], True), episode([5, 7], [0], [1], False)]
    assert _recurrent._loss(q, target, episodes, 0.5).item() == pytest.approx((10.5 + 18.5 + 4.0) / 3)


def test_an_lstm_learns_what_four_frames_cannot_show():
    config = _agents.settings(
        _agents.variant("lab/TMaze-v0", corridor=5), 2500, 0, gamma=0.9, train_every=8, learning_rate=5e-3,
        epsilon_steps=1500,
    )  # fmt: skip
    q, updates = _recurrent.learn(config)
    assert 0 <= updates - (2500 - config.learning_starts) // 8 <= 1  # eight steps are taken at once
    assert (_recurrent.returns(q, config, 40) > 0).mean() > 0.9


@pytest.mark.parametrize(("spread", "said"), [(0.0, "Catch: full DQN learns most"), (9.0, ", not for certain")])
def test_the_ablations_title_leaves_open_what_its_interval_does(spread, said):
    """Full DQN is one point ahead of each; over seeds that differ by much, that is chance."""
    module, seeds = load("dqn-replay-target-ablation"), np.arange(4)[:, None]
    curves = {(task, arm): np.ones((4, 6)) * (arm == "full") + spread * (seeds % 2 if arm == "no target" else 0)
              for task in module.TASKS for arm in module.ARMS}  # fmt: skip
    if spread:
        curves |= {(task, "full"): 1 + spread * (1 - seeds % 2) + np.zeros((4, 6)) for task in module.TASKS}
    figure = module.picture(curves, dict.fromkeys(module.TASKS, 600))
    assert figure.axes[0].get_title(loc="left").endswith(said)
