"""Named series: the generator's parts, season lengths, downloads from a real server."""

import gzip
import hashlib
import json
import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest

from forecasting import datasets, nab
from forecasting.commands import DataFetch, DataList, Forecast
from forecasting.datasets import SERIES, Entry, load, season, web_traffic, web_traffic_parts
from lab.data import RemoteFile
from lab.errors import InputError


def test_web_traffic_is_the_product_of_its_parts():
    parts = web_traffic_parts(days=400, seed=3)
    normal = 1000 * parts[["trend", "yearly", "weekly", "daily", "holiday"]].prod(axis=1)
    np.testing.assert_allclose(parts["normal"], normal)
    np.testing.assert_array_equal(parts["views"], (normal * (1 + parts["burst"]) * parts["noise"]).round())
    assert parts["views"].min() > 0 and len(parts) == 400 * 24
    assert parts["trend"].iloc[365 * 24 + 6] == pytest.approx(1.3)  # a year of 365.25 days later: growth 0.3
    assert parts.loc["2024-12-25", "holiday"].eq(0.65).all() and parts.loc["2024-12-23", "holiday"].eq(1).all()
    assert parts["daily"].loc["2024-01-03"].idxmin().hour == 3  # a Wednesday is quietest at 03:00
    assert np.log(parts["noise"]).std() == pytest.approx(0.06, rel=0.1)
    assert np.log(parts["noise"]).autocorr(1) == pytest.approx(0.6, abs=0.05)


def test_web_traffic_seed_moves_bursts_and_noise_only():
    one, two, again = web_traffic_parts(seed=1), web_traffic_parts(seed=2), web_traffic_parts(seed=1)
    pd.testing.assert_frame_equal(one, again)
    np.testing.assert_array_equal(one["normal"], two["normal"])
    assert (one["views"] != two["views"]).mean() > 0.9
    plain = web_traffic_parts(bursts=0, noise=0)
    np.testing.assert_array_equal(plain["views"], plain["normal"].round())


@pytest.mark.parametrize(
    ("frequency", "steps"),
    [("h", 24), ("30min", 48), ("15min", 96), ("5min", 288), ("min", 1440), ("s", 3600), ("6h", 4),
     ("D", 7), ("24h", 7), ("B", 5),
     ("W-SUN", 52), ("7D", 52), ("MS", 12), ("ME", 12), ("QS", 4), ("YS", 1), ("2D", 1), ("7h", 1)],
)  # fmt: skip
def test_season(frequency, steps):
    assert season(pd.Series(0.0, pd.date_range("2024-01-01", periods=9, freq=frequency))) == steps


def test_season_of_periods_and_counts():
    assert season(pd.Series(0.0, pd.period_range("2024-01", periods=9, freq="M"))) == 12
    assert season(pd.Series(0.0, pd.period_range("2024-01-01", periods=9, freq="h"))) == 24
    assert season(pd.Series([1.0, 2.0])) == 1


def test_embedded():
    airline = load("airline")
    assert len(airline) == 144 and airline.iloc[0] == 112 and season(airline) == 12
    assert load("web-traffic").equals(web_traffic()) and load("web-traffic").index.freqstr == "h"
    with pytest.raises(InputError, match="unknown column 'x'"):
        load("airline", target="x")


def test_registry():
    assert sum(name.startswith("nab-") for name in SERIES) == 58 == len(nab.FILES)
    for name, entry in SERIES.items():
        assert entry.description and entry.frequency and entry.licence
        if entry.file is not None:
            assert len(entry.file.sha256) == 64 and entry.file.url.startswith("https://raw.githubusercontent.com/"), (
                name
            )
    with pytest.raises(InputError, match="airline is a series with times of its own; leave --timezone out"):
        datasets.load("airline", timezone="Europe/Berlin")
    with pytest.raises(InputError, match=r"unknown series 'airlin'; did you mean airline"):
        load("airlin")
    with pytest.raises(InputError, match=r"no/such\.csv does not exist"):
        load("no/such.csv")


@pytest.mark.skipif("LAB_DATA" not in os.environ, reason="needs the data files: set LAB_DATA to their folder")
@pytest.mark.parametrize("name", [name for name, entry in SERIES.items() if not entry.embedded])
def test_real_files_load(name):
    """Each file's checksum is right and its step is the one the registry tells."""
    series = load(name, fill="interpolate")
    step = pd.Timedelta(SERIES[name].frequency)
    assert series.index[1] - series.index[0] == step and series.index.freq is not None
    assert series.notna().all() and season(series) > 1


@pytest.mark.skipif("LAB_DATA" not in os.environ, reason="needs the data files: set LAB_DATA to their folder")
def test_gaps_of_real_files_are_refused():
    with pytest.raises(InputError, match=r"row 54, column 'ds': the time 2008-01-31 .* is missing \(and 58 more\)"):
        load("wikipedia-peyton-manning")


# --- downloads ------------------------------------------------------------------------------------------------------

CONTENT = b"date,users\n1/7/20,10\n2/7/20,11\n3/7/20,12\n"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A real server of tmp_path/origin on this machine; downloads go to tmp_path/cache."""
    monkeypatch.delenv("LAB_DATA", raising=False)
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "origin").mkdir()
    (tmp_path / "origin" / "visits.csv").write_bytes(CONTENT)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "origin"))) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


def register(monkeypatch, url: str, content: bytes = CONTENT) -> None:
    file = RemoteFile("web/visits.csv", url, hashlib.sha256(content).hexdigest(), "MIT")
    monkeypatch.setitem(SERIES, "visits", Entry("visits", "1 day", "MIT", file, time_format="%d/%m/%y"))


def test_fetch_once_then_offline(server, tmp_path, monkeypatch, capsys):
    register(monkeypatch, f"{server}/visits.csv")
    DataFetch(series="visits", json=True)()
    assert '"result"' in capsys.readouterr().out
    assert (tmp_path / "cache/web/visits.csv").read_bytes() == CONTENT
    (tmp_path / "origin/visits.csv").unlink()  # a second request would now fail
    assert load("visits").tolist() == [10.0, 11.0, 12.0]


def test_wrong_checksum_leaves_nothing(server, tmp_path, monkeypatch):
    register(monkeypatch, f"{server}/visits.csv", b"other")
    with pytest.raises(InputError, match="does not have sha256"):
        DataFetch(series="visits")()
    assert not (tmp_path / "cache/web/visits.csv").exists()


def test_no_such_file_on_the_server(server, monkeypatch):
    register(monkeypatch, f"{server}/gone.csv")
    with pytest.raises(InputError, match=r"cannot download .*LAB_DATA"):
        load("visits")


def test_lab_data_comes_first_and_is_checked(tmp_path, monkeypatch):
    register(monkeypatch, "http://127.0.0.1:9/never")
    monkeypatch.setenv("LAB_DATA", str(tmp_path))
    with pytest.raises(InputError, match="is not in LAB_DATA"):
        load("visits")
    (tmp_path / "web").mkdir()
    (tmp_path / "web/visits.csv").write_bytes(CONTENT)
    assert len(load("visits")) == 3
    (tmp_path / "web/visits.csv").write_bytes(CONTENT + b"4/7/20,13\n")
    with pytest.raises(InputError, match="sha256 is"):
        load("visits")


def test_damaged_gzip_in_lab_data_is_one_line(tmp_path, monkeypatch):
    register(monkeypatch, "http://127.0.0.1:9/never")
    monkeypatch.setenv("LAB_DATA", str(tmp_path))
    (tmp_path / "web").mkdir()
    packed = bytearray(gzip.compress(CONTENT))
    for flipped in (0, 12, len(packed) - 6):  # the magic number, the deflated text, the checksum
        spoilt = packed.copy()
        spoilt[flipped] ^= 0xFF
        (tmp_path / "web/visits.csv.gz").write_bytes(spoilt)
        with pytest.raises(InputError, match=r"web/visits\.csv\.gz is a damaged gzip file .*replace it from"):
            load("visits")


def test_a_cache_that_cannot_be_written_is_not_a_failed_download(server, tmp_path, monkeypatch):
    register(monkeypatch, f"{server}/visits.csv")
    (tmp_path / "file").write_text("")
    for cache in (tmp_path / "file", tmp_path / "file" / "below"):
        monkeypatch.setenv("LAB_CACHE", str(cache))
        with pytest.raises(InputError, match=r"the cache folder .*file.* cannot be written .*LAB_CACHE"):
            load("visits")


def test_fetch_of_what_comes_along():
    with pytest.raises(InputError, match="mitdb comes with the lab"):
        DataFetch(series="mitdb")()
    with pytest.raises(InputError, match="nothing to fetch"):
        DataFetch(series="airline")()
    with pytest.raises(InputError, match="unknown series"):
        DataFetch(series="nab-taxi")()


def test_list(tmp_path, monkeypatch, capsys):
    from forecasting.anomaly.datasets import NAMED

    monkeypatch.setenv("LAB_DATA", str(tmp_path))
    DataList(json=True)()
    listed = json.loads(capsys.readouterr().out)
    assert {each["name"] for each in listed["series"]} == {*SERIES, *NAMED} and listed["result"] == str(tmp_path)
    assert all("lab detect and explain" in entry.description for entry in NAMED.values())
    monkeypatch.delenv("LAB_DATA")
    monkeypatch.setenv("LAB_CACHE", str(tmp_path / "cache"))
    DataList()()
    assert capsys.readouterr().out.splitlines()[-1] == f"Result: {tmp_path / 'cache'}"
    assert not hasattr(DataList(), "runs")  # it writes no run
    assert datasets.entry("airline").embedded and Forecast(series="airline").horizon is None
