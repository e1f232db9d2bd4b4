"""M4's hourly series and PeMS lane flow: the yardsticks are the published ones, the protocols are as described."""

import gzip
import json
import os

import numpy as np
import pandas as pd
import pytest

from forecasting import m4, pems
from lab import cli
from lab.errors import InputError
from lab.run import Run

DATA = os.environ.get("LAB_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="needs the files of M4 and PeMS (LAB_DATA)")


def panel(count: int = 6, hours: int = 500) -> m4.Panel:
    random, names, train, test = np.random.default_rng(0), [], [], []
    for number in range(count):
        level = 10.0 ** (1 + number % 3)
        values = level * (2 + np.sin(2 * np.pi * (np.arange(hours + 48) + number) / 24))
        values += 0.05 * level * random.normal(size=hours + 48)
        names.append(f"H{number}")
        train.append(values[:hours])
        test.append(values[hours:])
    return m4.Panel(names, train, np.stack(test))


@needs_data
def test_naive_2_has_the_published_errors():
    """sMAPE 18.383 and MASE 2.395 (Makridakis et al. 2020); the seasonal naive 13.912 and 1.193."""
    found = m4.load()
    assert len(found.names) == 414
    errors = m4.score(found, np.stack([m4.naive2(history) for history in found.train]))
    assert errors == (pytest.approx(18.383, abs=5e-4), pytest.approx(2.395, abs=5e-4))
    repeated = m4.score(found, np.stack([np.tile(history[-24:], 2) for history in found.train]))
    assert repeated == (pytest.approx(13.912, abs=5e-4), pytest.approx(1.193, abs=5e-4))


def test_the_seasonal_test_and_the_indices():
    hours = np.arange(240)
    factors = 1 + 0.5 * np.sin(2 * np.pi * hours / 24)
    assert m4.is_seasonal(100 * factors) and not m4.is_seasonal(np.random.default_rng(1).normal(10, 1, 240))
    assert m4.indices((100 + hours) * factors) == pytest.approx(factors[:24], abs=0.02)
    assert m4.naive2(100 * factors) == pytest.approx(100 * np.tile(factors[:24], 2), rel=1e-6)
    flat = np.random.default_rng(1).normal(10, 1, 240)
    assert np.array_equal(m4.naive2(flat), np.full(48, flat[-1]))


def test_owa_of_naive_2_is_1_and_every_model_has_a_row(tmp_path, monkeypatch):
    monkeypatch.setitem(m4.TRAINING, "steps_per_epoch", 10)
    monkeypatch.setattr(m4, "EPOCHS", 2)
    monkeypatch.setitem(m4.TRAINING, "max_epochs", 2)
    monkeypatch.setattr(m4, "LOOKBACKS", (72,))
    with Run.open(tmp_path, "m4", {}) as run:
        table = m4.measure(panel(), ["cnn", "lstm", "linear"], 2, "cpu", run)
    assert table.groupby("model").size().to_dict() == {
        "naive 2": 1, "seasonal-naive": 1, "linear": 1, "cnn": 2, "lstm": 2, "combined": 2,
    }  # fmt: skip
    owa = m4.summary(table).set_index("model")["owa"]
    assert owa["naive 2"] == 1
    assert owa["combined"] < 1.2 and owa["seasonal-naive"] < 1.5
    assert set(owa.index) == {"naive 2", "seasonal-naive", "cnn", "lstm", "linear", "combined"}


def test_owa_is_the_mean_of_both_errors_over_those_of_naive_2():
    assert m4._row("m", 0, (10.0, 2.0), (20.0, 1.0), 0.0)["owa"] == (10 / 20 + 2 / 1) / 2


@pytest.mark.parametrize("kind", ["cnn", "linear"])
def test_pooled_forecasts_are_in_each_series_own_unit(monkeypatch, kind):
    monkeypatch.setitem(m4.TRAINING, "steps_per_epoch", 10)
    monkeypatch.setitem(m4.TRAINING, "max_epochs", 2)
    found = panel()
    ahead = m4.pooled(found, kind, 72, 0, "cpu")
    assert ahead.shape == (6, 48)
    for forecast, truth in zip(ahead, found.test, strict=True):
        assert np.abs(forecast - truth).mean() < 0.2 * truth.mean()


def lanes(folder, rows: int = 700):
    values = 50 + 30 * np.sin(2 * np.pi * np.arange(2 * rows) / 288) + np.random.default_rng(0).normal(0, 3, 2 * rows)
    for name, part in zip(pems.FILES, (values[:rows], values[rows:]), strict=True):
        pd.DataFrame({"5 Minutes": range(rows), pems.COLUMN: part.round(), "x": 1}).to_csv(folder / name, index=False)


def test_pems_forecasts_every_row_but_the_first_hour_from_true_values_before(tmp_path):
    lanes(tmp_path)
    train, test = pems.load(tmp_path)
    ahead = pems.forecast("linear", 12, train, test, 0, "cpu")
    assert ahead.shape == (len(test) - 12,)
    changed = test.copy()
    changed[400:] += 1000
    again = pems.forecast("linear", 12, train, changed, 0, "cpu")
    assert np.array_equal(again[: 401 - 12], ahead[: 401 - 12]) and not np.allclose(
        again[401 - 12 :], ahead[401 - 12 :]
    )
    assert np.abs(ahead - test[12:]).mean() < np.abs(test[11:-1] - test[12:]).mean()


def test_pems_measures_one_step_ahead(tmp_path, monkeypatch):
    """A ramp of one vehicle a row: the last value is always 1 off, a linear model not at all."""
    monkeypatch.setattr(pems, "DAY", 24)
    ramp = np.arange(1000.0)
    with Run.open(tmp_path, "pems", {}) as run:
        table = pems.measure(ramp[:700], ramp[700:], ["linear"], 1, "cpu", run)
    errors = table.set_index(["model", "lookback"])[["mae", "rmse"]]
    assert errors.loc[("last value", 1)].tolist() == [1, 1]
    assert errors.loc[("linear", 12)].tolist() == pytest.approx([0, 0], abs=0.01)
    assert errors.loc[("linear", 24)].tolist() == pytest.approx([0, 0], abs=0.01)
    row = pems._row("m", 1, 0, np.zeros(2), np.array([3.0, -4.0]), 0.0)
    assert (row["mae"], row["rmse"]) == (3.5, pytest.approx(np.sqrt(12.5)))


@needs_data
def test_the_published_split():
    train, test = pems.load()
    assert (len(train), len(test)) == (7776, 4320)


def test_the_command(tmp_path, capsys, monkeypatch):
    lanes(tmp_path)
    words = [
        "benchmark",
        "forecasters",
        "--protocol",
        "pems",
        "--data",
        str(tmp_path),
        "--models",
        "linear",
        "--seeds",
        "1",
    ]
    assert cli.main([*words, "--runs", str(tmp_path / "runs"), "--json"]) == 0
    rows = {(row["model"], row["lookback"]): row for row in json.loads(capsys.readouterr().out)["models"]}
    assert set(rows) == {("last value", 1), ("linear", 12), ("linear", 288)}
    assert rows["linear", 12]["mae"] < rows["last value", 1]["mae"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["m4", "--data", "nowhere"], "Hourly-train.csv is missing"), (["pems", "--data", "nowhere"], "is missing"),
        (["m4", "--models", "theta"], "unknown model 'theta'"), (["pems", "--models", "cn"], "did you mean cnn"),
        (["m4", "--horizons", "5"], "no --horizons"), (["pems", "--seeds", "0"], "at least 1 seed"),
    ],
)  # fmt: skip
def test_wrong_input_is_one_line(words, says, capsys):
    assert cli.main(["benchmark", "forecasters", "--protocol", *words]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_packed_and_plain_files_are_read(tmp_path, monkeypatch):
    table = pd.DataFrame(np.ones((2, 600)), index=["H1", "H2"])
    table.iloc[1, 550:] = np.nan
    with gzip.open(tmp_path / "Hourly-train.csv.gz", "wt") as file:
        table.to_csv(file)
    ahead = pd.DataFrame({"V1": [20.0, 10.0]}, index=["H2", "H1"]).reindex(columns=["V1", *range(47)], fill_value=1.0)
    ahead.to_csv(tmp_path / "Hourly-test.csv")
    found = m4.load(tmp_path)
    assert found.test.shape == (2, 48) and found.test[:, 0].tolist() == [10, 20]  # each beside its own history
    assert found.names == ["H1", "H2"] and [len(history) for history in found.train] == [600, 550]
    monkeypatch.delenv("LAB_DATA", raising=False)
    for load in (m4.load, pems.load):
        with pytest.raises(InputError, match="LAB_DATA"):
            load()


def test_a_value_without_a_logarithm_and_a_short_series_are_refused(tmp_path):
    hours = [f"V{hour}" for hour in range(1, 601)]
    frame = pd.DataFrame(np.ones((2, 600)), index=pd.Index(["H1", "H2"], name="V0"), columns=hours)
    frame.to_csv(tmp_path / "Hourly-test.csv")
    frame.loc["H2", "V7"] = 0.0
    frame.to_csv(tmp_path / "Hourly-train.csv")
    with pytest.raises(InputError, match=r"series H2 has the value 0; M4's values are all above 0"):
        m4.load(tmp_path)
    frame.loc["H2", "V504":] = np.nan
    frame.to_csv(tmp_path / "Hourly-train.csv")
    with pytest.raises(InputError, match=r"series H2 has 503 hours; a forecast looks back 504"):
        m4.load(tmp_path)


def test_pooled_forecasts_are_made_of_logarithms():
    """Squares have twice the logarithms, so that their forecasts are the squares of the forecasts."""
    found = panel()
    squares = m4.Panel(found.names, [history**2 for history in found.train], found.test**2)
    ahead = m4.pooled(found, "linear", 72, 0, "cpu")
    np.testing.assert_allclose(m4.pooled(squares, "linear", 72, 0, "cpu"), ahead**2, rtol=1e-6)
