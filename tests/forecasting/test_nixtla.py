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
        def _fit(self, values):
            pass

        def _predict(self, values):
            return np.repeat(values[-1], self.horizon)

    series = pd.Series(np.arange(30.0), index)
    peer = Last().fit(series[:10], None, [1, 2, 3])
    assert peer.predict(None).index.equals(index[10:13])
    peer.update(series[10:20], None, update_params=False)
    made = peer.predict(None)
    assert made.index.equals(index[20:23]) and made.tolist() == [19.0] * 3


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


def test_autoarima_forecasts_months():
    pytest.importorskip("statsforecast", reason=_SKIP.format("statsforecast"))
    series = load("airline")
    peer = MODELS["autoarima"].make(Setting(12, None, 1, 0, "cpu"))
    made = peer.fit(series[:-12], None, list(range(1, 13))).predict(None)
    assert made.index.equals(series.index[-12:])
    assert np.abs(made - series[-12:]).mean() < np.abs(series[-12:].to_numpy() - series[-24:-12].to_numpy()).mean()
