"""The page about explained anomalies: it needs nothing but itself, and in a real browser it zooms."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from forecasting.anomaly import bench, explain_page, explaining
from forecasting.anomaly.counterfactual import Explanation
from forecasting.anomaly.datasets import Case
from forecasting.anomaly.detectors import MaskedDetector
from lab.run import Run
from tests.browser.driven import needs_browser, seen


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    hours = np.arange(900)
    values = 100 + 30 * np.sin(2 * np.pi * hours / 24) + np.random.default_rng(0).normal(0, 2, 900)
    values[700:712] = 40.0
    values[800:806] += 90.0
    index = pd.date_range("2024-01-01", periods=900, freq="h", name="time")
    case = Case("visits", pd.Series(values, index, name="<visits> & more"))
    with Run.open(tmp_path_factory.mktemp("runs"), "explain-visits", {}) as run:
        found = bench.detect(case, run, MaskedDetector(24, max_epochs=4, device="cpu", contamination=0), 0.6)
        explaining.explain(case, run, found, samples=4, top=2)
        run.finish(found.metrics)
    return run.path


def test_the_page_and_the_json_say_the_same(folder):
    told = json.loads((folder / "explanation.json").read_text())
    html = (folder / "explanation.html").read_text()
    assert len(told["anomalies"]) == 2
    for each in told["anomalies"]:
        assert each["sentence"].replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") in html
        assert len(each["time"]) == len(each["median"]) == each["end"] - each["start"]
        assert all(
            low <= middle <= high for low, middle, high in zip(each["low"], each["median"], each["high"], strict=True)
        )
    spans = sorted((each["start"], each["end"]) for each in told["anomalies"])
    assert spans[0][0] < 712 and spans[0][1] > 700 and spans[1][0] < 806 and spans[1][1] > 800
    table = pd.read_csv(folder / "counterfactuals.csv")
    assert table["anomaly"].unique().tolist() == [1, 2]


def test_the_page_needs_nothing_but_itself(folder):
    html = (folder / "explanation.html").read_text()
    sources = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert sources and all(source.startswith(("data:", "#")) for source in sources)
    assert "@import" not in html and "url(" not in html and "<visits>" not in html
    assert all("aria-label" in tag for tag in re.findall(r'<div[^>]*class="chart[^>]*>', html))


def test_every_draw_lies_within_its_chart():
    paths = np.zeros((20, 6))
    paths[3] = 9.0  # beyond the band, and beyond all that was there
    values = np.random.default_rng(0).normal(0, 1, 100)
    result = Explanation(40, 46, values, paths, np.zeros(20), 5.0, 1.0, 1.0)
    detection = SimpleNamespace(detector=SimpleNamespace(period_=8))
    chart = explain_page._fan(Case("", pd.Series(values)), detection, SimpleNamespace(result=result))
    heights = [float(point.split()[1]) for draw in chart["fan"] for point in draw[1:].split("L")]
    assert len(chart["fan"]) == 20 and min(heights) >= 0 and max(heights) <= 1000


@needs_browser
def test_it_zooms_by_button_and_by_key(folder, tmp_path):
    script = """
      const range = () => document.getElementById("range").textContent;
      seen.push(range());
      document.querySelector('#zoom [data-at]').click(); seen.push(range());
      document.querySelector('#zoom [data-do=out]').click(); seen.push(range());
      document.getElementById("series").dispatchEvent(new KeyboardEvent("keydown", {key: "Home"})); seen.push(range());
      for (const what of ["#series rect.mark", "#scores path.limit"]) seen.push(document.querySelectorAll(what).length);
    """
    whole, near, wider, again, marks, limits = seen(folder / "explanation.html", script, tmp_path)
    ends = "2024-01-01 00:00:00 to 2024-02-07 11:00:00"
    assert whole == again == ends and int(limits) == 1
    first = json.loads((folder / "explanation.json").read_text())["anomalies"][0]
    left, right = near.split(" to ")
    assert left < first["from"] and first["to"] < right and near != ends
    assert wider.split(" to ")[0] < left and right <= wider.split(" to ")[1]  # the series may end there
    assert int(marks) == json.loads((folder / "explanation.json").read_text())["found"]


@needs_browser
def test_every_axis_has_its_marks(folder, tmp_path):
    """Of 52 to 148 one round value alone was marked, whose digits could not be told, and nothing was drawn."""
    script = """
      let least = Infinity, most = 0;
      const counts = (low, high) => {
        const ticks = nice(low, high);
        least = Math.min(least, ticks.length); most = Math.max(most, ticks.length);
        return ticks.map(tick => text(tick || 0, ticks[1] - ticks[0], Math.max(...ticks.map(Math.abs)))).join(" ");
      };
      seen.push(counts(52, 148), counts(0, 1.1));
      for (let size = 1e-6; size < 1e9; size *= 1.3)
        for (let k = -20; k < 20; k++) counts(k * size / 7, k * size / 7 + size);
      seen.push(least, most);
    """
    odd, unit, least, most = seen(folder / "explanation.html", script, tmp_path)
    assert odd == "60 80 100 120 140" and unit == "0.0 0.5 1.0" and int(least) >= 3 and int(most) <= 7
