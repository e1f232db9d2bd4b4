"""The report page in a real browser: it opens from disk, alone, and its tables sort and filter."""

import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from lab import plots, report
from lab.run import Run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --virtual-time-budget=3000"
)


@pytest.fixture
def page(tmp_path):
    for name, score in [("slow", 10.0), ("fast", 9.0)]:
        with Run.open(tmp_path / "runs", name, {"seed": 0}) as run:
            run.table("scores", pd.DataFrame({"model": ["a", "b", "c"], "MASE": [score, 0.5, 30.0]}))
            run.figure("eval/bars", plots.learning_curve([0, 1], [0, score], f"{name} <wins> & more", "MASE"))
            run.video("eval/film", np.zeros((3, 16, 16, 3), np.uint8))
            run.text("note", "Too short to mean **anything**.")
            run.finish({"eval/score": score})
    return report.write(tmp_path / "runs", "A test")


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
    assert "unfinished" not in report.write(page.parent).read_text()


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome on the PATH")
def test_tables_sort_and_filter(page, tmp_path):
    script = """<script>
      const table = document.querySelector("#fast table:last-of-type").closest("section").querySelectorAll("table")[1];
      const column = () => [...table.tBodies[0].rows].map(row => row.cells[1].textContent).join(" ");
      const seen = [column()];
      const head = table.tHead.rows[0].cells[1].querySelector("button");
      head.click(); seen.push(column()); head.click(); seen.push(column());
      const filter = document.getElementById("filter");
      filter.value = "FAST"; filter.dispatchEvent(new Event("input"));
      seen.push([...document.querySelectorAll("section")].filter(s => !s.hidden).map(s => s.id).join(" "));
      const out = document.createElement("pre");
      out.id = "seen"; out.textContent = seen.join("|"); document.body.append(out);
    </script></body>"""
    driven = tmp_path / "driven.html"
    driven.write_text(page.read_text().replace("</body>", script))
    command = [CHROMIUM, *FLAGS.split(), f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", driven.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert re.search(r'<pre id="seen">([^<]*)<', shown).group(1) == "9 0.5 30|0.5 9 30|30 9 0.5|fast"
