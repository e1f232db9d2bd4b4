"""`lab speed forecasters`: what is measured, and how its figures come about."""

import json

import numpy as np
import pandas as pd
import pytest

from forecasting import speed
from lab.errors import InputError

TINY = {"lookback": 24, "horizon": 6, "batch": 8, "rows": 400, "channels": 2, "steps": 10, "race": 32}


def rows(rates, seconds=None):
    """One row a measurement; rates: side -> a rate a round."""
    return pd.DataFrame([
        {"round": number + 1, "side": side, "windows_per_second": rate,
         "seconds_to_best": (seconds or {}).get(side, np.nan), "best": 0.5}
        for side, each in rates.items() for number, rate in enumerate(each)
    ])  # fmt: skip


def test_the_ratio_is_the_median_of_the_rounds_ratios():
    table = rows({"ours-dlinear": [10.0, 40.0, 30.0], "sktime": [10.0, 10.0, 10.0]})
    found = speed.summary(table)
    assert found["ratio"] == {"sktime": 3.0} and found["ratio_range"] == {"sktime": [1.0, 4.0]}
    assert found["ours"]["ours-dlinear"]["windows_per_second"] == 30.0 and set(found["peers"]) == {"sktime"}


def test_who_gets_there_in_a_third_of_the_time_is_three_times_as_fast():
    both = ("ours-transformer", "neuralforecast")
    found = speed.summary(rows({side: [1.0] for side in both}, dict(zip(both, (2.0, 6.0), strict=True))))
    assert found["ratio_to_best"] == {"neuralforecast": 3.0}


def test_a_peer_that_is_not_installed_is_left_out_and_ours_with_it(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert speed.sides() == ["ours-dlinear", "sktime"]


def test_the_race_knows_when_the_lowest_error_came():
    race = speed.Race()
    race.seen = [(0.9, 1.0), (0.4, 2.0), (0.6, 3.0)]
    assert race.found() == {"seconds_to_best": 2.0, "best": 0.4}


@pytest.mark.parametrize("side", ["ours-transformer", "ours-dlinear", "sktime"])
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")  # sktime's own, of its DLinear
def test_every_side_learns(side, monkeypatch):
    monkeypatch.setattr(speed, "_PATCH", 6)
    found = speed.perform(side, TINY)
    assert found["windows_per_second"] > 0
    assert 0 < found["best"] < 1.2 and found["seconds_to_best"] > 0


def test_sktimes_steps_are_whole_epochs():
    work = speed.Work(**TINY | {"steps": 100})
    windows = 400 - 24 - 6 + 1  # 371, in batches of 8: 46 steps an epoch
    short, long = speed._steps("sktime", work)
    assert short == round(windows / 8) and long == round(3 * windows / 8)


@pytest.mark.parametrize(
    ("work", "rounds"),
    [(speed.Work(), 0), (speed.Work(steps=1), 1), (speed.Work(race=1), 1), (speed.Work(rows=900), 1)],
)
def test_settings_that_measure_nothing_are_refused(work, rounds):
    with pytest.raises(InputError, match="give"):
        speed.check(work, rounds)


@pytest.mark.slow
def test_the_command_prints_the_ratio(lab_command, tmp_path):
    words = ["speed", "forecasters", "--rounds", "1", "--steps", "10", "--race", "32", "--json"]
    done = lab_command(*words, "--runs", tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    ours, peer = found["ours"]["ours-dlinear"], found["peers"]["sktime"]
    assert found["ratio"]["sktime"] == pytest.approx(ours["windows_per_second"] / peer["windows_per_second"])
    assert (tmp_path / "speed-forecasters" / "speed.csv").exists()
