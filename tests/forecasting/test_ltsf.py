"""The LTSF protocol: borders, scaling by the training part alone, no window dropped, nothing of the future used."""

import json
import os

import numpy as np
import pandas as pd
import pytest
import torch

from forecasting import families, ltsf, ltsf_benchmark, training
from lab import cli
from lab.errors import InputError
from lab.plots_ltsf import against_ridge, means

CPU = torch.device("cpu")


def table(rows=600, seed=0):
    random, hours = np.random.default_rng(seed), np.arange(rows)
    return pd.DataFrame({
        "date": pd.date_range("2024-01-01", periods=rows, freq="h"),
        "load": np.sin(hours * 2 * np.pi / 24) + 0.1 * random.normal(size=rows),
        "drift": random.normal(size=rows).cumsum(),
    })  # fmt: skip


@pytest.fixture
def series(tmp_path):
    def make(frame=None, shares=(0.7, 0.1, 0.2)):
        path = tmp_path / "series.csv"
        (table() if frame is None else frame).to_csv(path, index=False)
        return ltsf.load(str(path), shares)

    return make


@pytest.fixture
def quick(monkeypatch):
    """Small members: patches of 9, a handful of steps."""
    plan = training.Plan(max_epochs=2, steps_per_epoch=3, patience=2, batch=16, warm_up=0.3, averaging=0.9)
    monkeypatch.setattr(families, "_PLAN", plan)
    small = {
        name: families.Family(family.network, family.dropout, patches=(9, 9, 9), skips=family.skips)
        for name, family in families.FAMILIES.items()
    }
    monkeypatch.setattr(families, "FAMILIES", small)


def test_the_scaler_sees_the_training_part_alone(series):
    frame = table()
    before = series(frame)
    frame.loc[420:, ["load", "drift"]] *= 100  # all that comes after the training part
    after = series(frame)
    assert before.borders == (420, 480, 600)
    assert torch.equal(before.values[:420], after.values[:420])
    assert torch.allclose(before.values[:420].mean(0), torch.zeros(2), atol=1e-5)
    assert torch.allclose(before.values[:420].std(0, correction=0), torch.ones(2), atol=1e-5)


@pytest.mark.skipif("LAB_DATA" not in os.environ, reason="needs ETT's files (LAB_DATA)")
@pytest.mark.parametrize(("name", "day"), [("ETTh1", 24), ("ETTh2", 24), ("ETTm1", 96)])
def test_ett_has_the_published_borders(name, day):
    """Twelve, four and four months of thirty days; what comes after is not used."""
    loaded = ltsf.load(name)
    assert loaded.borders == (360 * day, 480 * day, 600 * day)
    assert loaded.season == day and loaded.values.shape == (600 * day, 7)


def test_every_forecast_lies_in_its_part_and_none_is_left_out(series):
    lookback, horizon = 30, 12
    windows = ltsf.windows(series(), lookback, horizon)
    for chosen, (first, end) in zip(windows[1:], ((lookback, 420), (420, 480), (480, 600)), strict=True):
        targets = chosen + lookback  # first step that a window forecasts
        assert targets[0] == first and targets[-1] + horizon == end
        assert len(chosen) == end - first - horizon + 1
    made = ltsf.predict(lambda x: x[:, -horizon:], windows, windows.test, lookback, batch=7)  # 109 = 15 * 7 + 4
    assert len(made) == len(windows.test) == 109


def test_the_last_incomplete_batch_counts():
    truth = torch.zeros(515, 2, 1)  # the errors are summed 512 windows at a time
    forecast = truth.clone()
    forecast[-1] = 3.0
    assert ltsf.errors([forecast], truth) == (pytest.approx(9 / 515), pytest.approx(3 / 515))


def test_what_comes_later_cannot_change_a_forecast(series, quick):
    frame, horizon = table(), 12
    last = {}
    for change in (0.0, 50.0):
        frame.loc[560:, ["load", "drift"]] += change
        task = families.Task(series(frame), horizon, seed=0, device=CPU)
        member = task.fit(families.Wanted("cnn", 24, True))
        known = 560 - 480 + 1  # forecasts whose lookback ends before row 560
        last[change] = member.test[:known]
        assert task.truth[-1].abs().max() > change  # the truth did change
    assert torch.equal(last[0.0], last[50.0])


def test_a_network_trains_and_stops_by_the_first_two_parts_alone(series, quick, monkeypatch):
    given, task = [], families.Task(series(), 12, seed=0, device=CPU)
    monkeypatch.setattr(families.training, "fit", lambda *_, **options: given.append(options["starts"]) or [])
    task.fit(families.Wanted("cnn", 24, False))
    trained, validated = given[0]
    assert trained.tolist() == list(range(420 - 24 - 12 + 1))
    assert validated.tolist() == list(range(420 - 24, 480 - 24 - 12 + 1))


def test_ridge_weights_are_the_normal_equations(series):
    task = families.Task(series(), 6, seed=0, device=CPU)
    weights = task._weights(12)
    windows = ltsf.windows(task.series, 12, 6)
    rows = windows.view[windows.training].transpose(1, 2).flatten(0, 1).double()
    rows = rows - rows[:, 11:12]
    x, y = rows[:, :12], rows[:, 12:]
    gram = x.T @ x
    fits = [
        torch.linalg.solve(gram + s * gram.diagonal().mean() * torch.eye(12, dtype=torch.float64), x.T @ y).T
        for s in families.STRENGTHS
    ]
    assert min((weights - fit).abs().max().item() for fit in fits) < 1e-4


@pytest.mark.slow
def test_a_family_is_the_mean_of_its_members(series, quick):
    task = families.Task(series(), 12, seed=0, device=CPU)
    rows = {}
    for row in families.scores(task, ("cnn", "lstm", "transformer", "plain-lstm"), (24, 36, 48)):
        rows.setdefault(row.model, []).append(row)
    assert {name: len(found) for name, found in rows.items()} == {
        "seasonal-naive": 1, "ridge, one lookback": 3, "ridge, two lookbacks": 3, "ridge": 1, "combined": 1,
        "combined + ridge": 1, "plain-lstm": 1, "plain-lstm, no skip": 2, "plain-lstm, chosen": 1,
        **{f"{family}{which}": count for family in families.MAIN
           for which, count in (("", 1), (", skip", 2), (", no skip", 2), (", chosen", 1))},
    }  # fmt: skip
    best = min(rows["ridge, two lookbacks"], key=lambda row: row.validation_mse)
    assert best.lookback == rows["ridge"][0].lookback == rows["cnn"][0].lookback == rows["combined"][0].lookback
    assert rows["ridge"][0].mse == best.mse
    chosen = rows["cnn, chosen"][0]
    single = [*rows["cnn, skip"], *rows["cnn, no skip"], *rows["cnn"]]
    assert chosen.validation_mse <= min(row.validation_mse for row in single)
    ones, threes = torch.ones(3, 12, 1), 3 * torch.ones(3, 12, 1)
    task.truth = task.held_out = torch.zeros(3, 12, 1)
    members = [families.Member((24,), True, ones, ones, 1.0), families.Member((48,), False, threes, threes, 2.0)]
    assert task.score("both", members) == ("both", "24+48", 4.0, 4.0, 2.0, 3.0)


def test_the_test_part_chooses_nothing(series, monkeypatch):
    """Validation says that error grows with the lookbacks, the test part that it falls: the shortest are taken."""
    task = families.Task(series(), 12, seed=0, device=CPU)

    def validation_error(members):
        return float(sum(lookback for member in members for lookback in member.lookbacks))

    def score(model, members):
        error = validation_error(members)
        return families.Score(model, "", error, -error, -error, 0.0)

    def fits(wanted):
        for each in wanted:
            yield families.Member((each.lookback,), each.skip, task.held_out, task.truth, 0.0)

    monkeypatch.setattr(task, "validation_error", validation_error)
    monkeypatch.setattr(task, "score", score)
    found = {row.model: row.validation_mse for row in families.scores(task, ("cnn",), (24, 36, 48), fits)}
    assert found["ridge"] == 24 + 36 and found["cnn"] == 2 * (24 + 36) and found["cnn, chosen"] == 24


def test_a_seasonal_series_is_forecast_by_its_season(series):
    frame = table()
    frame["load"] = frame["drift"] = np.arange(600) % 24.0
    task = families.Task(series(frame), 48, seed=0, device=CPU)
    assert task.score("naive", [task.naive()]).mse == 0


@pytest.mark.parametrize("name", families.FAMILIES)
def test_every_family_learns_and_is_the_same_again(series, quick, name):
    made = []
    for _ in range(2):
        task = families.Task(series(), 12, seed=3, device=CPU)
        made.append(task.fit(families.Wanted(name, 48, False)).test)
    assert torch.equal(*made) and made[0].isfinite().all()
    assert made[0].shape == task.truth.shape


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--data", "nowhere"], "no data 'nowhere'; give ETTh1"),
        (["--models", "cn"], "unknown model 'cn'; did you mean cnn"),
        (["--borders", "0.7,0.3"], "no three shares"),
        (["--borders", "0.7,0.3,0.3"], "add up to 1"),
        (["--horizons", "0"], "forecast nothing"),
        (["--seeds", "0"], "seeds is 0"),
        (["--lookbacks", "0", "336"], "lookbacks (0, 336) see nothing"),
        (["--protocol", "m4", "--lookbacks", "168"], "the m4 protocol takes no --lookbacks"),
        (["--horizons", "96"], "the longest horizon is 40"),
        (["--horizons", "12", "--lookbacks", "500"], "give --lookbacks of at most 268"),
    ],
)
def test_bad_input_is_one_line(tmp_path, lab_command, words, said):
    path = tmp_path / "series.csv"
    table(400).to_csv(path, index=False)
    words = words if "--data" in words else ["--data", str(path), *words]
    done = lab_command("benchmark", "forecasters", "--runs", tmp_path / "runs", *words)
    assert done.returncode == 2
    assert said in done.stderr.replace("\n", " ")


def test_a_benchmark_offers_no_option_of_another_command(tmp_path, lab_command):
    path = tmp_path / "gap.csv"
    table(400).drop(index=100).to_csv(path, index=False)
    done = lab_command("benchmark", "forecasters", "--runs", tmp_path / "runs", "--data", path)
    assert done.returncode == 2
    assert "(options of `lab forecast`; a benchmark wants the file itself mended)" in " ".join(done.stderr.split())


def test_a_series_that_stops_changing_has_a_table(bench):
    """The ridge has no error there, so nothing can be said against it."""
    frame = table()
    frame.loc[400:, ["load", "drift"]] = 5.0
    code, run = bench(1, [12], "--models", "nlinear", "--lookbacks", "24", frame=frame)
    assert code == 0
    assert pd.read_csv(run / "summary.csv")["against ridge, %"].isna().all()


def test_a_missing_value_is_named(tmp_path):
    frame = table()
    frame.loc[10, "drift"] = np.nan
    frame.to_csv(tmp_path / "holes.csv", index=False)
    with pytest.raises(InputError, match=r"row 12, column 'drift'"):
        ltsf.load(str(tmp_path / "holes.csv"))


def rows_of(errors):
    """Rows as `measure` returns them: errors[model] a task."""
    return pd.DataFrame([
        {"dataset": "A", "horizon": 96 * (task + 1), "seed": 0, "model": model, "lookback": "336", "mse": mse,
         "mae": mse, "seconds": 1.0, "validation_mse": mse, "device": "cpu"}
        for model, found in errors.items() for task, mse in enumerate(found)
    ])  # fmt: skip


def test_summary_and_figures_say_what_was_found():
    rows = rows_of({"ridge": [1.0, 2.0], "cnn": [0.9, 1.5], "lstm": [1.1, 4.0], "half": [0.1]})
    found = ltsf_benchmark.summary(rows)
    assert found["model"].tolist() == ["cnn", "ridge", "lstm"]  # "half" lacks a task
    assert found["against ridge, %"].tolist() == pytest.approx([-20, 0, 70])
    shown = ["cnn", "lstm", "ridge"]
    assert "cnn beats the closed-form ridge on 2 of 2" in against_ridge(rows, shown).axes[0].get_title(loc="left")
    assert "cnn has the least error" in means(found, shown, ()).axes[0].get_title(loc="left")


def test_a_task_done_is_not_done_again(series, tmp_path, quick):
    path = tmp_path / "task.json"
    ltsf_benchmark.task_rows(families.Task(series(), 12, 0, CPU), ("cnn",), path, (20, 36))
    values = series().fingerprint
    assert ltsf_benchmark._done(path, ("cnn",), values) and not ltsf_benchmark._done(path, ("cnn", "lstm"), values)
    assert not ltsf_benchmark._done(path, ("cnn",), "of another file")
    one = json.loads(path.read_text())
    ltsf_benchmark.task_rows(families.Task(series(), 12, 0, CPU), ("lstm",), path, (20, 36))
    both = json.loads(path.read_text())
    assert ltsf_benchmark._done(path, ("cnn", "lstm"), values)  # what was there of another model stays
    errors = [{row["model"]: row["mse"] for row in each["rows"]} for each in (one, both)]
    assert errors[1]["cnn"] == errors[0]["cnn"] and "lstm" in errors[1]
    assert len({(row["model"], row["lookback"]) for row in both["rows"]}) == len(both["rows"])
    assert set(one["curves"]) < set(both["curves"]) and {"cnn", "lstm"} <= set(both["shown"])
    ltsf_benchmark.task_rows(families.Task(series(), 12, 0, CPU), ("transformer",), path, (20, 36))
    assert not ltsf_benchmark._done(path, families.MAIN, values)  # their mean was not measured
    ltsf_benchmark.task_rows(families.Task(series(), 12, 0, CPU), families.MAIN, path, (20, 36))
    assert ltsf_benchmark._done(path, families.MAIN, values)
    path.unlink()
    ltsf_benchmark.task_rows(families.Task(series(), 12, 0, CPU), ("cnn",), path, (20, 36))
    rows = json.loads(path.read_text())["rows"]
    assert [row["model"] for row in rows][:2] == ["seasonal-naive", "ridge, one lookback"]
    assert {row["lookback"] for row in rows if row["model"] in ("ridge", "cnn")} == {"20+36"}
    assert all(row["dataset"] == "series" and row["horizon"] == 12 and row["seconds"] >= 0 for row in rows)


@pytest.mark.slow
def test_files_of_one_name_are_told_apart(tmp_path, capsys):
    paths = [tmp_path / name / "my.csv" for name in ("a", "b")]
    for factor, path in enumerate(paths, 1):
        path.parent.mkdir()
        frame = table()
        frame.assign(more=frame.iloc[:, 1] ** factor).to_csv(path, index=False)
    words = ["benchmark", "forecasters", "--seeds", "1", "--horizons", "12", "--lookbacks", "30", "36",
             "--device", "cpu", "--models", "nlinear", "--json", "--runs", str(tmp_path), "--data"]  # fmt: skip
    found = []
    for path in (*paths, paths[1]):
        assert cli.main([*words, str(path)]) == 0
        found.append(json.loads(capsys.readouterr().out)["tasks"])
    assert found[0] != found[1] == found[2]
    assert cli.main([*words, *map(str, paths)]) == 2
    assert "are both called 'my'; rename one" in capsys.readouterr().err


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """`lab benchmark forecasters` on a short series with so many cores; returns the exit code and the run's folder."""

    def run(cores, horizons, *options, frame=None):
        (table() if frame is None else frame).to_csv(tmp_path / "series.csv", index=False)
        monkeypatch.setattr(ltsf_benchmark.device, "cores", lambda: cores)
        words = ["benchmark", "forecasters", "--data", str(tmp_path / "series.csv"), "--seeds", "1", "--device", "cpu"]
        words += [
            "--runs",
            str(tmp_path / "runs"),
            "--name",
            f"of-{cores}",
            "--horizons",
            *map(str, horizons),
            *options,
        ]
        return cli.main(words), tmp_path / "runs" / f"of-{cores}"

    return run


@pytest.mark.slow
def test_members_made_side_by_side_are_the_same(bench, tmp_path):
    left = tmp_path / "runs" / "of-2" / "tasks" / "forecasts" / "of-a-run-that-was-killed.pt"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"gigabytes")
    found = []
    for cores in (1, 2):  # in one process; in two
        code, run = bench(cores, [12], "--models", "cnn", "nlinear", "--lookbacks", "30", "36")
        assert code == 0
        rows = json.loads((run / "tasks" / "series-12-0.json").read_text())["rows"]
        found.append([{**row, "seconds": 0} for row in rows])
        check_board(run / "tasks" / "series-12-0", found[-1])
    assert found[0] == found[1] and len(found[0]) > 10
    assert not left.parent.exists()


def check_board(folder, rows):
    """A task's own run: its members' curves, a figure, and its errors, as TensorBoard and `lab compare` read them."""
    entries = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    curves = {entry["tag"] for entry in entries if entry["kind"] == "scalar"}
    members = {"cnn-30", "cnn-30-skip", "cnn-36", "cnn-36-skip", "nlinear-30", "nlinear-36"}
    names = ("train_loss", "validation_loss", "learning_rate")
    assert curves == {f"{name}/{member}" for name in names for member in members}
    assert (folder / "figures" / "forecast-validation.png").exists()
    errors = {row["model"]: row["mse"] for row in rows}
    result = json.loads((folder / "result.json").read_text())["metrics"]
    assert {name: result[f"mse/{name}"] for name in ("cnn", "nlinear", "ridge")} == {
        name: errors[name] for name in ("cnn", "nlinear", "ridge")
    }


def test_the_example_is_what_the_middle_forecast_is_about(series):
    task = families.Task(series(), 12, seed=0, device=CPU)
    past, truth = task.example()
    windows = ltsf.windows(task.series, 30, 12)
    middle = families.spread(windows.validation)[len(task.held_out) // 2]
    assert truth == windows.view[middle, 30:, -1].tolist() == task.held_out[len(task.held_out) // 2, :, -1].tolist()
    assert past[-24:] == windows.view[middle, 6:30, -1].tolist()
    task.show("last season", [task.naive()])
    period = task.series.season
    assert task.shown["last season"][0] == (past + truth)[len(past) - period]


@pytest.mark.parametrize(("tasks", "first"), [(1, "_ready"), (5, "_ready"), (6, "_whole_task")])
def test_fewer_tasks_than_cores_are_done_one_by_one(bench, monkeypatch, capsys, tasks, first):
    """What the processes are asked first: to get ready for members of a task, or for a task of their own."""
    asked = []

    class Pool(ltsf_benchmark.ProcessPoolExecutor):
        def submit(self, work, *given):
            asked.append((self._max_workers, work.__name__))
            raise InputError("enough")

    monkeypatch.setattr(ltsf_benchmark, "ProcessPoolExecutor", Pool)
    assert bench(6, range(12, 12 + tasks))[0] == 2
    assert asked == [(6, first)] and "enough" in capsys.readouterr().err


def test_members_that_take_longest_are_begun_first():
    members = [
        families.Wanted(name, *each) for name in ("cnn", "lstm") for each in ((96, True), (96, False), (336, True))
    ]
    order = sorted(members, key=ltsf_benchmark._expected, reverse=True)
    assert [each[1:] for each in order] == 2 * [(96, False)] + 2 * [(336, True)] + 2 * [(96, True)]


def test_validation_sees_all_times_of_a_day():
    starts = torch.arange(100, 2884)
    chosen = families.spread(starts)
    assert chosen[0] == 100 and chosen[-1] == 2883 and len(chosen) == families.VALIDATED == len(chosen.unique())
    assert len((chosen % 24).unique()) == 24
    assert torch.equal(families.spread(starts[:7]), starts[:7])
