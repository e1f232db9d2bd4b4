"""Peers of other libraries: they forecast, do not look ahead, and go on from newer rows."""

import numpy as np
import pandas as pd
import pytest

from forecasting import nixtla
from forecasting.datasets import load, web_traffic
from forecasting.models import MODELS, Setting, check_models
from lab.errors import InputError

_SKIP = "{} is not installed (pip install 'rl-timeseries-lab[nixtla]')"


@pytest.mark.parametrize("name", ["nhits", "patchtst", "autoarima"])
def test_a_peer_that_is_not_installed_names_its_extra(name, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)
    with pytest.raises(InputError, match=r"rl-timeseries-lab\[nixtla\]"):
        check_models([name])


@pytest.mark.parametrize("index", [
    pd.date_range("2024-01-01", periods=30, freq="h"), pd.date_range("2024-01-01", periods=30, freq="B"),
    pd.period_range("2020-01", periods=30, freq="M"), pd.RangeIndex(0, 60, 2),
], ids=["hours", "business days", "months", "count"])  # fmt: skip
def test_forecasts_lie_where_the_series_goes_on(index):
    """Also after an update, which loses pandas' frequency."""

    class Last(nixtla.Peer):
        def _fit(self, values, known):
            pass

        def _predict(self, values, known):
            return np.repeat(values[-1], self.horizon)

    series = pd.Series(np.arange(30.0), index)
    peer = Last().fit(series[:10], None, [1, 2, 3])
    assert peer.predict(None).index.equals(index[10:13])
    peer.update(series[10:20], None, update_params=False)
    made = peer.predict(None)
    assert made.index.equals(index[20:23]) and made.tolist() == [19.0] * 3
    peer.update(series[19:21] + 1, None, update_params=False)  # row 19 comes again, and the newer word counts
    assert peer.series.tolist() == [*range(19), 20, 21] and peer.predict(None).index.equals(index[21:24])


def test_known_columns_reach_a_peer_in_units_of_the_rows_fitted():
    """A column that never changed has none, and what comes later moves no unit."""

    class Looks(nixtla.Peer):
        takes_known = True

        def _fit(self, values, known):
            self.seen = known

        def _predict(self, values, known):
            self.given = known
            return values[-self.horizon :]

    index = pd.date_range("2024-01-01", periods=6, freq="h")
    known = pd.DataFrame({"warm": [1.0, 3.0, 1.0, 3.0, 99.0, 2.0], "still": 1.0, "day": list("ababba")}, index)
    peer = Looks().fit(pd.Series(np.arange(4.0), index[:4]), known, [1, 2])
    peer.predict(known)
    unit = np.std([1, 3, 1, 3], ddof=1)
    assert peer.seen.shape == (4, 2) and peer.given.shape == (6, 2)
    assert peer.given[:, 0] == pytest.approx((known["warm"].to_numpy() - 2) / unit)
    assert np.array_equal(peer.given[:4], peer.seen)


@pytest.mark.parametrize("name", ["nhits", "autoarima"])
def test_a_known_column_is_made_use_of(name, monkeypatch):
    """Noise plus what is known ahead, which nothing else can forecast."""
    pytest.importorskip(MODELS[name].needs, reason=_SKIP.format(MODELS[name].needs))
    monkeypatch.setattr(nixtla, "STEPS", 200)
    generator = np.random.default_rng(0)
    index = pd.date_range("2024-01-01", periods=412, freq="h")
    known = pd.DataFrame({"switch": generator.integers(0, 2, 412).astype(float)}, index)
    series = pd.Series(10 * known["switch"] + generator.normal(0, 1, 412), index)
    errors = []
    for given in (known, None):
        peer = MODELS[name].make(Setting(1, 24, 1, 0, "cpu"))
        made = peer.fit(series[:400], given, list(range(1, 13))).predict(given)
        errors.append(np.abs(made - series[400:]).mean())
    assert errors[0] < 0.5 * errors[1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["NHITS", "PatchTST"])
def test_networks_beat_yesterday_and_follow_the_newest_rows(kind, monkeypatch):
    pytest.importorskip("neuralforecast", reason=_SKIP.format("neuralforecast"))
    monkeypatch.setattr(nixtla, "STEPS", 100)
    series = web_traffic()
    peer = MODELS[kind.lower()].make(Setting(24, 168, 1, 0, "cpu"))
    peer.fit(series[:-48], None, list(range(1, 25)))
    first = peer.predict(None)
    assert first.index.equals(series.index[-48:-24])
    naive = np.abs(series[-48:-24].to_numpy() - series[-72:-48].to_numpy()).mean()
    assert np.abs(first - series[-48:-24]).mean() < naive
    peer.update(series[-48:-24], None, update_params=False)
    second = peer.predict(None)
    assert second.index.equals(series.index[-24:]) and not np.allclose(first, second)
    bounds = {share: peer.predict_interval(None, share) for share in (0.5, 0.9)}
    inside = {
        share: (each["lower"] <= series[-24:]) & (series[-24:] <= each["upper"]) for share, each in bounds.items()
    }
    assert inside[0.9].mean() > max(0.6, inside[0.5].mean())
    assert (bounds[0.9]["lower"] < second).all() and (second < bounds[0.9]["upper"]).all()


def test_autoarima_forecasts_months():
    pytest.importorskip("statsforecast", reason=_SKIP.format("statsforecast"))
    series = load("airline")
    peer = MODELS["autoarima"].make(Setting(12, None, 1, 0, "cpu"))
    made = peer.fit(series[:-12], None, list(range(1, 13))).predict(None)
    assert made.index.equals(series.index[-12:])
    assert np.abs(made - series[-12:]).mean() < np.abs(series[-12:].to_numpy() - series[-24:-12].to_numpy()).mean()
    wide, narrow = (peer.predict_interval(None, share) for share in (0.9, 0.5))
    assert (wide["lower"] < narrow["lower"]).all() and (narrow["lower"] < made).all() and (made < wide["upper"]).all()
