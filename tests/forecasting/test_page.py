"""The forecast's page: alone, complete, and in a real browser its slider, switches and tables at phone width."""

import base64
import html as markup
import io
import json
import re

import numpy as np
import pandas as pd
import pytest

from forecasting import benchmark, page
from forecasting.clocks import stamps
from forecasting.datasets import load, web_traffic
from lab import plots
from lab.run import Run
from tests.browser.driven import dumped, needs_browser


def test_times_are_written_alike():
    halves = pd.date_range("2024-01-01", periods=3, freq="500ms")
    texts = stamps(halves, {})
    assert texts == ["2024-01-01 00:00:00.000000", "2024-01-01 00:00:00.500000", "2024-01-01 00:00:01.000000"]
    assert list(pd.to_datetime(texts)) == list(halves)
    assert stamps(halves[::2], {}) == ["2024-01-01 00:00:00", "2024-01-01 00:00:01"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    series = web_traffic(days=21).rename("views </script> & more")
    with Run.open(tmp_path_factory.mktemp("runs"), "run", {}) as run:
        benchmark.compare(series, 24, run, ("linear",), lookback=48, origins=3)
    return run.path


def test_page_needs_nothing_but_itself(run):
    html = (run / "forecast.html").read_text()
    sources = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert sources and all(source.startswith(("data:", "#")) for source in sources)
    assert "@import" not in html and "url(" not in html and "http" not in html
    assert html.count("</script>") == 1  # a series' name ends no script
    assert "views &lt;/script&gt; &amp; more" in html and "color-scheme: light dark" in html
    assert len(re.search(r"<script>(.*)</script>", html, re.DOTALL).group(1).split("const at")[1]) < 2500


def test_the_csv_in_the_page_is_the_csv(run):
    html = (run / "forecast.html").read_text()
    packed = re.search(r'download="forecast.csv" href="data:text/csv;base64,([^"]*)"', html).group(1)
    inside = pd.read_csv(io.BytesIO(base64.b64decode(packed)))
    pd.testing.assert_frame_equal(inside, pd.read_csv(run / "forecast.csv"))


DRIVER = """<body><iframe src="%s" style="width:390px;height:900px"></iframe><script>
  const frame = document.querySelector("iframe");
  frame.onload = () => {
    const page = frame.contentDocument, seen = {}, get = id => page.getElementById(id);
    const texts = row => [...row.cells].map(cell => cell.textContent);
    const values = () => [...page.querySelectorAll("#values tbody tr")].map(texts);
    seen.wide = page.documentElement.scrollWidth <= 390;
    seen.end = values();
    const move = to => { get("at").value = to; get("at").dispatchEvent(new Event("input")); };
    move(+get("at").max - 24); seen.last = values(); seen.when = get("when").textContent;
    move(0); seen.first = values();
    const naive = [...page.querySelectorAll("fieldset label")].findIndex(l => l.textContent.trim() == "seasonal-naive");
    const box = get("show-m" + naive);
    const line = page.querySelector(".of-m" + naive);
    seen.drawn = getComputedStyle(line).display;
    box.click(); seen.hidden = frame.contentWindow.getComputedStyle(line).display;
    move(+get("at").max); seen.without = values();
    const chart = get("chart").getBoundingClientRect();
    get("chart").dispatchEvent(new PointerEvent("pointermove", {clientX: chart.left + chart.width / 2, bubbles: true}));
    seen.middle = +get("at").value / +get("at").max;
    const head = page.querySelectorAll("th button")[1], body = head.closest("table").tBodies[0];
    const column = () => [...body.rows].map(row => parseFloat(row.cells[1].textContent));
    head.click(); seen.up = column(); head.click(); seen.down = column();
    const out = document.createElement("pre");
    out.id = "seen"; out.textContent = JSON.stringify(seen); document.body.append(out);
  };
</script></body>"""


@needs_browser
def test_slider_switches_and_tables_on_a_phone(run, tmp_path):
    driver = tmp_path / "driver.html"
    driver.write_text(DRIVER % (run / "forecast.html").as_uri())
    shown = dumped(driver, tmp_path, "--allow-file-access-from-files")  # the page is in a frame of the driver's
    seen = json.loads(markup.unescape(re.search(r'<pre id="seen">([^<]*)<', shown).group(1)))
    made = pd.read_csv(run / "forecast.csv").set_index("model")
    assert seen["wide"]  # nothing sticks out to the side
    number = float(seen["end"][0][1].replace(",", ""))
    assert seen["end"][0][0] == made.index[0] and number == pytest.approx(made["forecast"].iloc[23], rel=1e-3)
    low, high = (float(part.replace(",", "")) for part in seen["end"][0][2].split(" to "))
    assert [low, high] == pytest.approx(made[["lower", "upper"]].iloc[23].tolist(), rel=1e-3)
    assert seen["when"] == "2024-01-21 23:00:00" and seen["last"][0][0] == "truth" and len(seen["last"]) == 3
    assert [row[0] for row in seen["first"]] == ["truth"]  # before anything was forecast
    assert seen["drawn"] != "none" and seen["hidden"] == "none"
    assert [row[0] for row in seen["without"]] == ["linear"]
    assert seen["middle"] == pytest.approx(0.5, abs=0.02)
    assert seen["up"] == sorted(seen["up"]) and seen["down"] == seen["up"][::-1]


def test_what_is_drawn_is_the_data(run):
    """The truth's path, read back from the page's coordinates, is the series."""
    html = (run / "forecast.html").read_text()
    points = re.search(r'class="truth" d="M([^"]*)"', html).group(1).split("L")
    heights = np.array([float(point.split()[1]) for point in points])
    series = web_traffic(days=21).to_numpy()[-len(heights) :]
    fit = np.polyfit(heights, series, 1)
    assert fit[0] < 0 and np.abs(np.polyval(fit, heights) - series).max() < 0.002 * np.ptp(series)


def test_units_are_said_and_a_naive_model_is_grey(tmp_path):
    """Vermilion is the anomalies'."""
    with Run.open(tmp_path, "run", {}) as run:
        benchmark.compare(web_traffic(days=35), 24, run, ("weekly-naive", "linear"), lookback=48, origins=3)
    html = (run.path / "forecast.html").read_text()
    assert "views: the next 24 hours, by " in html and "sMAPE is in percent and MAE in the unit of views;" in html
    assert "better counts at how many of the 3 a model is closer than " in html
    assert plots.VERMILION not in html and plots.LIGHT_GREY in html


@pytest.mark.parametrize("series", ["airline", "mitdb"])
def test_pages_of_months_and_of_counts(series, tmp_path):
    data = load(series).iloc[-300:]
    with Run.open(tmp_path, "run", {}) as run:
        benchmark.compare(data, 6, run, ("linear",), lookback=12, origins=2)
    assert 'class="tick x"' in (run.path / "forecast.html").read_text()


def test_limits_keep_a_wild_interval_from_flattening_the_chart():
    rows = pd.DataFrame({"forecast": [1.0], "lower": [-1e9], "upper": [1e9], "truth": [np.nan], "row": [2]})
    low, high = page._limits(np.array([0.0, 1.0]), rows, 0)
    assert -1.2 < low < 0 and 1 < high < 2.2
    low, high = page._limits(np.full(2, 5.0), rows.assign(forecast=5.0, lower=np.nan, upper=np.nan), 0)
    assert low < 5 < high
