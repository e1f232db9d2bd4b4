"""The report page in a real browser: it opens from disk, alone, and its tables sort and filter."""

import re

import numpy as np
import pandas as pd
import pytest

from lab import plots, report
from lab.run import Run
from tests.browser.driven import needs_browser, seen


@pytest.fixture
def page(tmp_path):
    for name, score in [("slow", 10.0), ("fast", 9.0)]:
        with Run.open(tmp_path / "runs", name, {"seed": 0}) as run:
            run.table("scores", pd.DataFrame({"model": ["a", "b", "c"], "MASE": [score, 0.5, 30.0]}))
            run.figure("eval/bars", plots.learning_curve([0, 1], [0, score], f"{name} <wins> & more", "MASE"))
            run.video("eval/film", np.zeros((3, 16, 16, 3), np.uint8))
            run.text("note", "Too short to mean **anything**.")
            run.finish({"eval/score": score})
    return report.write(tmp_path / "runs", report.read(tmp_path / "runs"), "A test")


def test_page_needs_nothing_but_itself(page):
    html = page.read_text()
    sources = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert sources and all(source.startswith(("data:", "#")) for source in sources)
    assert "@import" not in html and "url(" not in html
    assert all(re.search(r'alt="[^"]+"', tag) for tag in re.findall(r"<img[^>]*>", html))
    assert "slow &lt;wins&gt; &amp; more" in html


def test_unfinished_runs_are_left_out(page):
    with Run.open(page.parent, "unfinished", {}):
        pass
    assert "unfinished" not in report.write(page.parent, report.read(page.parent)).read_text()


@needs_browser
def test_tables_sort_and_filter(page, tmp_path):
    script = """
      const table = document.querySelector("#fast table:last-of-type").closest("section").querySelectorAll("table")[1];
      const column = () => [...table.tBodies[0].rows].map(row => row.cells[1].textContent).join(" ");
      seen.push(column());
      const head = table.tHead.rows[0].cells[1].querySelector("button");
      head.click(); seen.push(column()); head.click(); seen.push(column());
      const filter = document.getElementById("filter");
      filter.value = "FAST"; filter.dispatchEvent(new Event("input"));
      seen.push([...document.querySelectorAll("section")].filter(s => !s.hidden).map(s => s.id).join(" "));
    """
    assert seen(page, script, tmp_path) == ["9 0.5 30", "0.5 9 30", "30 9 0.5", "fast"]
