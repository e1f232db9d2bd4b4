"""Runs side by side: made by hand, so that every figure of the table is known."""

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from lab import compare, curves
from lab.cli import main
from lab.compare import Comparison
from lab.errors import InputError, Notice
from lab.run import Run

TAG = "train/return_last_100"


@pytest.fixture
def make(tmp_path):
    """Writes a run of TAG's points {step: value} and of other settings, and returns its folder."""

    def run(name, points, finish=True, tag=TAG, **config):
        with Run.open(tmp_path, name, {"env": "lab/Catch-v0", "seed": 0, "double": False, "n_step": 1} | config) as run:
            for step, value in points.items():
                run.scalar(tag, value, step)
            if finish:
                run.finish({"eval/return_mean": 0.5})
        return run.path

    return run


@pytest.fixture
def two_by_three(make, tmp_path):
    """Plain ends at 1, 2, 3; double at 3, 4, 5."""
    for seed in range(3):
        make(f"dqn-lab-catch-v0-s{seed}", {0: 0, 100: seed + 1}, seed=seed)
        make(f"dqn-lab-catch-v0-t{seed}", {0: 0, 100: seed + 3}, seed=seed, double=True)
    return tmp_path


def compared(paths, tag=TAG, by=(), **options):
    return Comparison(tag, curves.group(curves.find(paths, tag), by), **options)


# --- grouping -------------------------------------------------------------------------------------------------------


def test_the_seed_alone_makes_no_group(two_by_three):
    found = compared([two_by_three])
    assert {name: len(runs) for name, runs in found.groups.items()} == {"dqn": 3, "dqn double": 3}


def test_labels_say_what_departs_from_the_first_run(make, tmp_path):
    make("dqn-lab-catch-v0-a", {1: 0})
    make("dqn-lab-catch-v0-b", {1: 0}, double=True)
    make("dqn-lab-catch-v0-c", {1: 0}, n_step=3)
    found = compared([tmp_path])
    assert list(found.groups) == ["dqn", "dqn double", "dqn n_step=3"]
    assert found.table()["settings"].tolist() == [
        "double=false n_step=1", "double=true n_step=1", "double=false n_step=3"
    ]  # fmt: skip


def test_one_setting_that_differs_is_always_said(make, tmp_path):
    make("dqn-lab-catch-v0-a", {1: 0}, learning_rate=1e-3)
    make("dqn-lab-catch-v0-b", {1: 0}, learning_rate=1e-4)
    assert list(compared([tmp_path]).groups) == ["dqn learning_rate=0.001", "dqn learning_rate=0.0001"]


def test_of_many_settings_a_label_has_the_first_few_if_they_tell_it_apart(make, tmp_path):
    switches = dict.fromkeys("abcde", True)
    make("dqn-lab-catch-v0-a", {1: 0}, **dict.fromkeys(switches, False))
    make("dqn-lab-catch-v0-b", {1: 0}, **switches)
    assert list(compared([tmp_path]).groups) == ["dqn", "dqn a b c +2"]
    make("dqn-lab-catch-v0-c", {1: 0}, **switches | {"e": False})
    make("dqn-lab-catch-v0-d", {1: 0}, **switches | {"d": False})
    assert list(compared([tmp_path]).groups) == ["dqn", "dqn a b c d e", "dqn a b c d", "dqn a b c e"]


def test_presets_of_tasks_and_algorithms_are_no_differences(make, tmp_path):
    for env, rate in (("lab/Catch-v0", 1.0), ("CartPole-v1", 2.0)):
        slug = env.replace("/", "-").lower()
        make(f"dqn-{slug}", {1: 0}, env=env, learning_rate=rate)
        make(f"sb3-ppo-{slug}", {1: 0}, env=env, learning_rate=rate + 5, rollout=32)
    found = compared([tmp_path])
    assert {name: [run.task for run in runs] for name, runs in found.groups.items()} == {
        "dqn": ["CartPole-v1", "lab/Catch-v0"],
        "sb3-ppo": ["CartPole-v1", "lab/Catch-v0"],
    }


def test_a_setting_of_one_algorithm_alone_is_not_said_of_another(make, tmp_path):
    for name, every in (("a", 5), ("b", 7)):
        make(f"dqn-lab-catch-v0-{name}", {1: 0}, checkpoint_every=every)
    make("sb3-dqn-lab-catch-v0", {1: 0})
    assert list(compared([tmp_path]).groups) == ["dqn checkpoint_every=5", "dqn checkpoint_every=7", "sb3-dqn"]


def test_a_tag_that_is_nearly_one_is_told_which(make, tmp_path):
    run = make("dqn-lab-catch-v0", {1: 0})
    with pytest.raises(InputError, match=r"eval/retun_mean; did you mean eval/return_mean\? --tag takes"):
        curves.find([run], "eval/retun_mean")
    with pytest.raises(InputError, match=r"did you mean eval/return_mean\? --tag takes"):
        curves.find([str(tmp_path)], "eval/return_meen")


def test_a_setting_that_an_older_run_lacks_makes_another_group(make, tmp_path):
    make("dqn-lab-catch-v0-a", {1: 0})
    make("dqn-lab-catch-v0-b", {1: 0}, dueling=False, n_step=3)
    make("dqn-lab-catch-v0-c", {1: 0}, dueling=True)
    labels = list(compared([tmp_path]).groups)
    assert labels == ["dqn dueling=unset", "dqn n_step=3", "dqn dueling"]


def test_grouping_by_a_setting_says_what_it_mixes(two_by_three, make):
    make("dqn-lab-catch-v0-u", {100: 9}, n_step=3)
    with pytest.warns(Notice, match="groups by n_step mix runs that differ in double"):
        groups = compared([two_by_three], by=["n_step"]).groups
    assert {name: len(runs) for name, runs in groups.items()} == {"n_step=1": 6, "n_step=3": 1}
    with pytest.raises(InputError, match="unknown setting 'n_steps'; did you mean n_step"):
        compared([two_by_three], by=["n_steps"])


def test_runs_of_one_seed_are_not_called_seeds(two_by_three):
    assert compared([two_by_three]).note().startswith("mean of 3 seeds")
    with pytest.warns(Notice, match="differ in double"):
        mixed = compared([two_by_three], by=["env"])
    assert mixed.note().startswith("mean of 6 runs")


def test_the_algorithm_is_told_by_config_name_or_command(make):
    def algorithm(path):
        return curves.find([path], TAG)[0].algorithm

    assert algorithm(make("sb3-dqn-pong-v5-2", {1: 0}, env="ALE/Pong-v5")) == "sb3-dqn"
    assert algorithm(make("mine", {1: 0}, algorithm="sb3-ppo")) == "sb3-ppo"
    path = make("thursday", {1: 0})
    commanded(path, "lab train sb3-a2c --env lab/Catch-v0")
    assert algorithm(path) == "sb3-a2c"


def commanded(path, command):
    metadata = json.loads((path / "metadata.json").read_text())
    (path / "metadata.json").write_text(json.dumps(metadata | {"command": command}))


def test_names_of_seeds_are_no_algorithms(make, tmp_path):
    for seed in range(2):
        commanded(make(f"seed{seed}-lab-catch-v0", {1: 0}, seed=seed), "lab train dqn --env lab/Catch-v0")
    assert {name: len(runs) for name, runs in compared([tmp_path]).groups.items()} == {"dqn": 2}


# --- figures by hand ------------------------------------------------------------------------------------------------


def test_the_table_by_hand(two_by_three):
    """Double wins 8 of 9 pairs and ties one: (8 + 1/2) / 9. 1, 2, 3 have a standard deviation of 1, and t is 4.303."""
    table = compared([two_by_three]).table()
    plain, double = table.to_dict("records")
    assert (plain["group"], plain["runs"], plain["steps_most"], plain["unfinished"]) == ("dqn", 3, 100, 0)
    half = pytest.approx(4.303 / 3**0.5, abs=1e-3)
    assert (plain["mean"], plain["mean"] - plain["mean_low"], plain["mean_high"] - plain["mean"]) == (2, half, half)
    assert (double["mean"], double["mean"] - double["mean_low"]) == (4, half)
    assert double["better"] == pytest.approx(8.5 / 9) and np.isnan(plain["better"])
    assert np.isnan([double["better_low"], double["better_high"]]).all()  # three runs are too few for an interval
    assert plain["settings"] == "double=false" and np.isnan(plain["iqm_percent"])


def test_the_table_as_printed(two_by_three, make):
    columns, rows = compared([two_by_three]).printed()
    assert columns == ["group", "runs", "steps", "seconds", "mean (95 %)", "P(better than dqn)"]
    assert rows[0] == ["dqn", "3", "100", "0", "2 (-0.484 .. 4.48)", ""]
    assert rows[1][-1] == "0.944 (–)"
    make("sb3-ppo-lab-catch-v0", {0: 0, 1200: 0.123456}, finish=False)
    assert compared([two_by_three]).printed()[1][-1] == ["sb3-ppo", "1 (1 open)", "1,200", "0", "0.123", "0 (–)"]


def test_the_mean_curve_is_interpolated_where_all_runs_are(make, tmp_path):
    """x and 2x by other steps: their mean is 1.5 x, from 10, where both have begun, to 40, where the shorter ends."""
    make("a", {0: 0, 40: 40}, seed=0)
    make("b", {10: 20, 20: 40, 50: 100}, seed=1)
    band = compare._band(curves.find([tmp_path], TAG))
    assert (band.steps[0], band.steps[-1]) == (10, 40)
    assert band.mean == pytest.approx(1.5 * band.steps)
    half = 12.706 * 0.5 * band.steps  # Student's of two, which lie half of x on either side of their mean
    assert band.high - band.mean == pytest.approx(half, rel=1e-4) and band.mean - band.low == pytest.approx(
        half, rel=1e-4
    )
    assert band.finals.tolist() == [40, 100]


def test_values_of_one_step_are_averaged(make):
    path = make("a", {})
    with Run.open(path.parent, "b", {"seed": 1}) as run:
        for value in (1, 3):
            run.scalar(TAG, value, 7)
        run.scalar(TAG, 5, 9)
    (found,) = curves.find([path.parent / "b"], TAG)
    assert found.steps.tolist() == [7, 9] and found.values.tolist() == [2, 5]


@pytest.fixture
def two_games(make, tmp_path):
    """Of a human's score (random 0, human 10 in Pong and 100 in Boxing): a 10 20 | 30 40 %, b 50 60 | 70 80 %."""
    for label, percent in {"a": (10, 20, 30, 40), "b": (50, 60, 70, 80)}.items():
        for seed, (pong, boxing) in enumerate(zip(percent[:2], percent[2:], strict=True)):
            make(f"{label}-pong-v5", {5: pong / 10}, env="ALE/Pong-v5", seed=seed, protocol="classic")
            make(f"{label}-boxing-v5", {5: boxing}, env="ALE/Boxing-v5", seed=seed, protocol="classic")
    return tmp_path


def test_over_games_the_iqm_is_in_percent_of_human(two_games):
    found = compared([two_games], reference=HUMAN.get)
    rows = {(row["group"], row["task"]): row for row in found.table().to_dict("records")}
    assert rows["a", "ALE/Pong-v5"]["human_percent"] == pytest.approx(15)
    assert rows["b", "ALE/Boxing-v5"]["human_percent"] == pytest.approx(75)
    assert rows["a", "all 2"]["iqm_percent"] == pytest.approx(25)  # of 20 and 30
    assert 15 <= rows["a", "all 2"]["iqm_low"] < 25 < rows["a", "all 2"]["iqm_high"] <= 35
    assert rows["b", "all 2"]["better"] == 1
    assert np.isnan(rows["a", "all 2"]["mean"])  # raw scores of several games have no mean that says anything
    assert found.found() == "Too few runs to tell a winner over 2 tasks: b (65 %), a (25 %)"  # of 36 ways 2: p = .056
    assert "in percent of human" in found.note() and "too narrow with so few seeds" in found.note()


HUMAN = {"ALE/Pong-v5": (0, 10), "ALE/Boxing-v5": (0, 100)}


@pytest.mark.parametrize("tag", ["eval/return_std", "train/return_noise"])
def test_only_scores_are_in_percent_of_human(make, tag):
    path = make("dqn-pong-v5", {5: 3}, tag=tag, env="ALE/Pong-v5", protocol="classic")
    assert compared([path], tag, reference=HUMAN.get).table()["human_percent"].isna().all()


def test_where_less_is_better_no_game_is_in_percent_of_human(two_games):
    """Else the worst of several games came first."""
    found = compared([two_games], less_is_better=True, reference=HUMAN.get)
    assert "winner over 2 tasks: a (90 %), b (10 %)" in found.found()
    assert found.table()["human_percent"].isna().all()


def test_tasks_without_human_scores_are_scaled_by_their_runs(two_games):
    """Pong goes from 1 (0 %) to 6 (100 %), Boxing from 30 to 80: a has 0 20 0 20, b 80 100 80 100."""
    found = compared([two_games])
    iqm = found.table().set_index(["group", "task"])["iqm_percent"]
    assert (iqm["a", "all 2"], iqm["b", "all 2"]) == (pytest.approx(10), pytest.approx(90))
    less = compared([two_games], less_is_better=True)
    assert less.table().set_index(["group", "task"])["iqm_percent"]["a", "all 2"] == pytest.approx(90)
    assert less.found().startswith("Too few runs to tell a winner over 2 tasks: a (90 %)")
    alone = compared([two_games], by=["protocol"])  # a range of one's own says nothing
    assert alone.found() == "protocol=classic on 2 tasks" and alone.table()["iqm_percent"].isna().all()


def test_a_task_that_one_group_lacks_is_in_no_aggregate(two_games, make):
    make("b-freeway-v5", {5: 1}, env="ALE/Freeway-v5", protocol="classic")
    found = compared([two_games])
    assert found.shared == ["ALE/Boxing-v5", "ALE/Pong-v5"]
    rows = found.table().to_dict("records")
    assert [row["runs"] for row in rows if row["task"] == "all 2"] == [4, 4]
    assert [row["better"] for row in rows if row["task"] == "ALE/Freeway-v5"] == [pytest.approx(np.nan, nan_ok=True)]


def test_a_final_figure_of_forecasts_where_less_is_better(tmp_path):
    for lookback, errors in {24: (0.9, 1.0), 48: (0.5, 0.6)}.items():
        for seed in range(4):
            with Run.open(tmp_path, f"f{lookback}", {"series": "airline", "lookback": lookback, "seed": seed}) as run:
                run.finish({"forecast/MASE/lstm": errors[seed % 2]})
    found = compared([tmp_path], "forecast/MASE/lstm", less_is_better=True)
    assert found.found() == "Best on airline: lookback=48 (0.55), then lookback=24 (0.95)"
    assert found.table()["better"].tolist()[1] == 1
    assert found.figure().axes[0].get_xlabel() == ""  # one point a run: no curve


@pytest.fixture
def ends():
    """Makes groups of curves that end at the values given: name -> {task: values}."""

    def groups(**named):
        return {
            name: [
                curves.Curve(
                    Path(f"{name}-{seed}"), {"env": task, "seed": seed}, "lab train dqn", np.array([9.0]),
                    np.array([float(value)]), np.array([1.0]), 1.0, True,
                )
                for task, values in tasks.items() for seed, value in enumerate(values)
            ]
            for name, tasks in named.items()
        }  # fmt: skip

    return groups


@pytest.mark.parametrize(
    ("ours", "theirs", "found"),
    [
        ([5, 6], [1, 2], "Too few runs to tell a winner"),
        ([5, 6, 7], [1, 2, 3], "Too few runs to tell a winner"),  # 2 of 20 ways: p = .1
        ([5, 6, 7, 8], [1, 2, 3, 4], "Best on E: a (6.5), then b (2.5)"),  # 2 of 70 ways: p = .029
        ([5, 6, 7, 8], [1, 2, 3, 5.5], "Too few runs to tell a winner"),
        ([5, 1, 7, 2, 3], [1, 6, 2, 3, 4], "No clear winner"),
        ([5, 6], [9], "One seed tells no winner"),
    ],
)
def test_the_best_is_named_only_where_it_is_more_than_chance(ends, ours, theirs, found):
    assert Comparison(TAG, ends(a={"E": ours}, b={"E": theirs})).found().startswith(found)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_of_equal_groups_none_is_best_but_by_chance(ends, seeds):
    """In less than 5 % of cases; the bootstrap's interval of P(better) alone says so in 30, 20 and 8 %."""
    random = np.random.default_rng(3)
    said = [
        Comparison(TAG, ends(a={"E": random.normal(size=seeds)}, b={"E": random.normal(size=seeds)})).found()
        for _ in range(150)
    ]
    assert sum(text.startswith("Best") for text in said) <= 0.07 * len(said) * (seeds > 3)


def test_the_seconds_of_a_group_are_the_mean_of_its_runs(ends):
    assert Comparison(TAG, ends(a={"E": [1, 2, 3]})).table()["seconds"].tolist() == [1]


def test_groups_that_read_alike_keep_both_their_means(ends):
    found = Comparison(TAG, ends(**{"a b": {"E": [1]}, "a-b": {"E": [2]}, "c": {"E": [3]}}))
    assert found.metrics() == {"compare/a-b": 1, "compare/a-b-2": 2, "compare/c": 3}


# --- when it gets there ---------------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    """The record's clock, stopped: seconds since the epoch are what the test says."""
    now = [0.0]
    monkeypatch.setattr("lab.run.time.time", lambda: now[0])
    return now


def test_the_clock_of_a_curve_leaves_out_the_pause_before_it_was_resumed(tmp_path, clock):
    def report(run, **points):
        for value, seconds in points.items():
            clock[0] = seconds
            run.scalar(TAG, len(value), len(value))

    clock[0] = 1_000
    with Run.open(tmp_path, "run", {"seed": 0}) as run:
        report(run, a=1_010, aa=1_020)
        run.checkpoint(2, {})
        report(run, aaa=1_030)  # made void
    clock[0] = 90_000
    with Run.open(tmp_path, "run", {"seed": 0}, resume=True) as run:
        report(run, aaa=90_004, aaaa=90_010, aaaaaa=90_030)
        clock[0] = 90_031
        run.finish({})
    (found,) = curves.find([tmp_path], TAG)
    assert found.steps.tolist() == [1, 2, 3, 4, 6]
    assert found.clock.tolist() == [10, 20, 20, 26, 46] and found.seconds == 47
    assert found.reaches(3) == (3, 20) and found.reaches(4.5) == (6, 46) and found.reaches(7) == (np.inf, np.inf)
    assert found.reaches(2, falling=True) == (1, 10) and found.reaches(0, falling=True) == (np.inf, np.inf)


def test_a_mean_of_points_by_hand(make):
    (found,) = curves.find([make("a", {1: 0, 2: 3, 4: 9, 8: 6})], TAG)
    mean = found.smoothed(3)
    assert mean.steps.tolist() == [4, 8] and mean.values.tolist() == pytest.approx([4, 6])
    timed = replace(found, clock=np.array([10.0, 20.0, 30.0, 40.0]))
    assert timed.smoothed(3).clock.tolist() == [30, 40]  # a mean is known when its last value is
    assert found.smoothed(1).values.tolist() == found.values.tolist()
    for points in (0, 5):
        with pytest.raises(InputError, match=f"a has 4 points, so that a mean of {points} cannot be had; give from 1"):
            found.smoothed(points)


def test_a_run_too_short_for_a_mean_is_left_out_unless_it_was_named(make, tmp_path):
    make("long", {1: 0, 2: 3, 3: 9})
    short = make("short", {1: 0, 2: 3})
    with pytest.warns(Notice, match="left out: run .*short has 2 points"):
        (found,) = curves.find([tmp_path], TAG, 3)
    assert found.path.name == "long" and found.values.tolist() == [4]
    with pytest.raises(InputError, match="short has 2 points"):
        curves.find([short], TAG, 3)
    with pytest.warns(Notice), pytest.raises(InputError, match=r"short has 2 points.* give from 1 to 2"):
        curves.find([tmp_path], TAG, 4)


def test_when_a_group_gets_there_is_the_median_of_its_runs(make, tmp_path, clock):
    for seed, end in enumerate((5, 15, 25)):  # at steps 100, 200, 300, ten times as many seconds, each rises by `end`
        clock[0] = 0
        with Run.open(tmp_path, f"dqn-lab-catch-v0-{seed}", {"env": "lab/Catch-v0", "seed": seed}) as run:
            for step in (100, 200, 300):
                clock[0] = 10 * step
                run.scalar(TAG, end * step / 100, step)
    found = compared([tmp_path], levels=(15, 30, 60, 80))
    assert found.printed_reached() == (
        ["group", "15", "30", "60", "80"],
        [["dqn", "100, 16.7 min", "200, 33.3 min (2 of 3)", "never (1 of 3)", "never"]],
    )
    table = found.reached()
    assert table.loc[table["run"].str.endswith("0"), "step"].fillna(-1).tolist() == [300, -1, -1, -1]
    assert table.loc[table["level"] == 30, "seconds"].fillna(-1).tolist() == [-1, 2_000, 2_000]
    assert compared([tmp_path], levels=(5,), less_is_better=True).reached()["step"].fillna(-1).tolist() == [100, -1, -1]
    figure = compared([tmp_path], levels=(30,), over="minutes").figure()
    assert figure.axes[0].get_xlabel() == "minutes of wall clock"
    curve, level = figure.axes[0].lines
    assert (curve.get_xdata()[0], curve.get_xdata()[-1]) == pytest.approx((1000 / 60, 3000 / 60))
    assert set(level.get_ydata()) == {30}


def test_the_command_says_when_a_score_is_reached(make, tmp_path, capsys):
    points = {step: step for step in range(1, 41)}
    run = make("dqn-pong-v5", points, tag="train/episode_return", env="ALE/Pong-v5", protocol="classic")
    words = ["compare", str(run), "--tag", "train/episode_return", "--mean-of", "20", "--over", "minutes"]
    words += ["--reach", "-1.5", "--reach", "20", "--reach", "99", "--runs", str(tmp_path / "out")]
    assert main([*words, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [(row["level"], row["step"]) for row in shown["reached"]] == [(-1.5, 20), (20, 30), (99, None)]
    csv = pd.read_csv(tmp_path / "out" / "compare-train-episode_return" / "reached.csv")
    assert csv["step"].tolist()[:2] == [20, 30] and np.isnan(csv["seconds"].tolist()[2])
    assert main(words) == 0
    assert "Steps and wall clock until a curve first comes to" in capsys.readouterr().out
    assert "give from 1 to 40" in refusal(capsys, *words, "--mean-of", "41")


# --- what a reader must know ----------------------------------------------------------------------------------------


def test_one_seed_has_no_band_and_the_note_says_so(make, tmp_path):
    make("dqn-lab-catch-v0", {0: 0, 9: 1})
    make("dqn-lab-catch-v0", {0: 0, 9: 2}, double=True)
    found = compared([tmp_path])
    assert found.note() == "one seed each, so no band"
    assert found.found().startswith("One seed tells no winner on lab/Catch-v0")
    assert found.figure().axes[0].collections[:] == []
    assert found.table()[["mean_low", "better_low"]].isna().all(axis=None)


def test_the_figure_has_a_line_and_a_band_for_each_group(two_by_three):
    found = compared([two_by_three])
    figure = found.figure()
    panel, ends = figure.axes
    assert (len(panel.lines), len(panel.collections)) == (2, 2)
    assert panel.get_xlabel() == "agent steps" and "last 100 episodes" in panel.get_ylabel()
    assert [sorted(dots.get_ydata()) for dots in ends.lines[::2]] == [[1, 2, 3], [3, 4, 5]]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["dqn", "dqn double"]
    assert legend.get_title().get_text().startswith("mean of 3 seeds with 95 % interval over them, Student's")


def test_long_names_stay_in_the_picture(make, tmp_path):
    for number in range(5):
        long = {"total_steps": 1_250_000 + number, "num_envs": 16 + number, "anneal_share": 0.34 + number / 100}
        make(f"dqn-lab-catch-v0-{number}", {0: 0, 9: number}, **long)
    figure = compared([tmp_path]).figure()
    FigureCanvasAgg(figure).draw()
    (legend,) = figure.legends
    assert len(legend.get_texts()[1].get_text()) > 40
    box, whole = legend.get_window_extent(), figure.bbox
    assert whole.x0 <= box.x0 and box.x1 <= whole.x1 and whole.y0 <= box.y0


def test_frames_are_mentioned_for_atari(make):
    path = make("dqn-pong-v5", {0: -21, 5: -20}, env="ALE/Pong-v5", protocol="classic")
    assert compared([path]).figure().axes[0].get_xlabel() == "agent steps (frames = 4 x steps)"


def test_an_unfinished_run_counts_and_is_named(two_by_three, make):
    make("dqn-lab-catch-v0-late", {0: 0, 50: 7}, seed=9, finish=False)
    found = compared([two_by_three])
    table = found.table()
    assert table["unfinished"].tolist() == [1, 0] and table["runs"].tolist() == [4, 3]
    assert table["steps_least"].tolist() == [50, 100] and table["steps_most"].tolist() == [100, 100]
    assert found.doubts() == [
        "unfinished, and in the table as far as they went: dqn-lab-catch-v0-late",
        "runs end at different steps: 50 .. 100 on lab/Catch-v0",
    ]


def test_the_same_seed_twice_is_no_second_seed(two_by_three, make):
    make("dqn-lab-catch-v0-s0", {0: 0, 100: 1})
    with pytest.warns(Notice, match=r"left out: .*s0, of the same settings and seed as .*s0-2"):
        assert len(compared([two_by_three]).groups["dqn"]) == 3


def test_of_the_same_seed_twice_the_finished_run_counts_and_of_finished_ones_the_longer(make, tmp_path):
    make("short", {0: 0, 100: 1})
    for name, end, finish in (("open", 300, False), ("long", 200, True)):
        make(name, {0: 0, end: 2}, finish=finish)
        with pytest.warns(Notice, match="of the same settings and seed"):
            (found,) = curves.find([tmp_path], TAG)
        assert found.path.name == ("long" if finish else "short")


def test_a_final_figure_is_of_the_last_step(make):
    (found,) = curves.find([make("a", {0: 0, 40: 1, 70: 2})], "eval/return_mean")
    assert found.steps.tolist() == [70] and found.values.tolist() == [0.5]


def test_a_run_given_twice_counts_once(two_by_three):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(curves.find([two_by_three, two_by_three / "dqn-lab-catch-v0-s1"], TAG)) == 6


def test_values_that_are_no_numbers_are_left_out_by_name(make, tmp_path):
    make("a", {0: 0, 1: float("nan"), 2: 4})
    with pytest.warns(Notice, match=f"1 of 3 values of {TAG} are not finite"):
        (found,) = curves.find([tmp_path], TAG)
    assert found.steps.tolist() == [0, 2]
    with pytest.raises(InputError, match="1 of 1 values"):
        curves.find([make("b", {1: float("inf")})], TAG)


def test_a_run_without_the_tag_is_told_what_it_has(two_by_three, make):
    other = make("other", {0: 1}, tag="train/loss")
    with pytest.raises(
        InputError, match="other has no train/return_last_100; --tag takes one of: eval/return_mean, tr"
    ):
        curves.find([other], TAG)
    with pytest.warns(Notice, match="left out, without train/return_last_100: other"):
        assert len(curves.find([two_by_three], TAG)) == 6
    with pytest.raises(
        InputError, match=r"no run under .* has x/y; --tag takes one of: .*train/loss, train/return_last"
    ):
        curves.find([two_by_three], "x/y")


@pytest.mark.parametrize("damaged", ["command", "record"])
def test_a_damaged_run_is_left_out_unless_it_was_named(two_by_three, damaged):
    path = two_by_three / "dqn-lab-catch-v0-s1"
    if damaged == "command":
        commanded(path, 7)
    else:
        (path / "metrics.jsonl").unlink()
        (path / "metrics.jsonl").mkdir()
    with pytest.warns(Notice, match="left out: .*catch-v0-s1"):
        assert len(curves.find([two_by_three], TAG)) == 5
    with pytest.raises(InputError, match=r"catch-v0-s1/\w+.jsonl? .*damaged"):
        curves.find([path], TAG)


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command_writes_and_says_the_same(two_by_three, capsys):
    assert main(["compare", str(two_by_three), "--runs", str(two_by_three / "out"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    where = two_by_three / "out" / "compare-train-return_last_100"
    assert shown["result"] == str(where) and [row["mean"] for row in shown["rows"]] == [2, 4]
    assert shown["rows"][0]["better"] is None
    table = pd.read_csv(where / "compare.csv")
    assert table["mean"].tolist() == [2, 4] and table["better"].tolist()[1] == shown["rows"][1]["better"]
    values = pd.read_csv(where / "curves.csv")
    assert values.groupby("run")["value"].last().tolist() == [1, 2, 3, 3, 4, 5]
    assert sorted(values.columns) == ["group", "run", "seconds", "seed", "step", "task", "value"]
    assert (where / "figures" / "compare-curves.png").stat().st_size > 10_000
    assert json.loads((where / "result.json").read_text())["metrics"] == {"compare/dqn": 2, "compare/dqn-double": 4}


def test_the_command_knows_human_scores(make, tmp_path, capsys):
    """Pong: 14.6 is human, -20.7 random."""
    make("dqn-pong-v5", {5: 14.6}, env="ALE/Pong-v5", protocol="sticky")
    assert main(["compare", "--runs", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["human_percent"] == pytest.approx(100)


def refusal(capsys, *words):
    assert main([str(word) for word in words]) == 2
    shown = capsys.readouterr()
    assert shown.out == "" and len(shown.err.splitlines()) == 1
    return shown.err


def test_atari_protocols_do_not_mix(make, tmp_path, capsys):
    make("a", {5: 1}, env="ALE/Pong-v5", protocol="classic")
    make("b", {5: 1}, env="ALE/Pong-v5", protocol="sticky")
    make("c", {5: 1}, protocol="other")
    said = refusal(capsys, "compare", tmp_path / "a", tmp_path / "c", tmp_path / "b", "--runs", tmp_path / "out")
    assert "a is classic" in said and "b is sticky" in said
    assert not (tmp_path / "out").exists()
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "c"), "--runs", str(tmp_path / "out")]) == 0


def test_what_is_no_run_is_refused(tmp_path, capsys):
    assert "is not the folder of a run" in refusal(capsys, "compare", tmp_path / "nothing")
    assert "is not the folder of a run" in refusal(capsys, "compare", "--runs", tmp_path)
