"""The page of all claims, its summary, and the notebook; experiments side by side; help for their settings."""

import json
import os
import re
import shutil
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lab import cli
from lab.errors import InputError, Notice
from lab.jsonfile import read_json
from lab.lectures import check, control, doubt, ids, page, reproduce, reproduce_each
from lab.lectures._claims import judged
from tests.browser.driven import needs_browser, seen

EXACT = ("node-minus-23", "power-1000", "traffic-500-plus-x1")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for id in EXACT:
        reproduce(id, runs=folder)
    reproduce("gradient-clipping-bug", {"threshold": 4}, runs=folder)
    return folder


@pytest.fixture(scope="module")
def written(runs, tmp_path_factory):
    return page.write(runs, tmp_path_factory.mktemp("lectures")).parent


def test_the_summary_has_every_claim_and_counts_only_runs_by_default(written):
    claims = {each["id"]: each for each in json.loads((written / "summary.json").read_text())["claims"]}
    assert list(claims) == ids()
    assert claims["node-minus-23"]["verdict"] == "holds" and claims["node-minus-23"]["findings"][0]["measured"] == -23
    assert claims["gradient-clipping-bug"]["verdict"] is None  # measured with another threshold only
    table = pd.read_csv(written / "summary.csv")
    assert table["id"].unique().tolist() == ids()
    first = table[table["id"] == "node-minus-23"].iloc[0]
    assert (first["measured"], first["expected"], str(first["holds"])) == (-23, "== -23", "True")
    chains = table[table["id"] == "power-1000"]
    assert {*zip(chains["conditions"], chains["held"], strict=True)} == {(6, 6)}  # six more are doubts and a control


def test_the_table_tells_what_decides_the_verdict():
    """A control that does not hold for certain, else the claim's condition that fails; never a doubt."""
    yes, no = check("yes", 1, "== 1"), check("no", 1, "== 2")
    for findings, told, held in (
        ([yes, no, doubt(no)], "no", 1), ([yes, doubt(no)], "yes", 1),
        ([no, control(check("broken", 1, "> 1"))], "broken", 0),
        ([no, control(check("open", 1, "> 1", (0, 2)))], "open", 0),
    ):  # fmt: skip
        shown = page._shown({"findings": [each.to_json() for each in findings]})
        assert (shown["told"]["finding"], shown["held"], shown["judged"]) == (told, held, len(judged(findings)))


def test_claims_that_are_not_measured_again_stay(written, runs, tmp_path):
    shutil.copytree(written, tmp_path / "lectures")
    only = tmp_path / "runs"
    reproduce("gradient-clipping-bug", runs=only)
    page.write(only, tmp_path / "lectures")
    claims = {each["id"]: each for each in json.loads((tmp_path / "lectures" / "summary.json").read_text())["claims"]}
    assert {id for id in claims if claims[id]["verdict"]} == {*EXACT, "gradient-clipping-bug"}
    assert page.write(tmp_path / "nothing", tmp_path / "none") is None and not (tmp_path / "none").exists()


def test_a_report_writes_the_claims_beside_its_runs_and_the_list_has_verdicts(tmp_path, monkeypatch, capsys):
    """A look at runs elsewhere must not replace the reference results of the folder one stands in."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    reproduce("node-minus-23", runs="../scratch/runs")
    assert cli.main(["report", "../scratch/runs"]) == 0
    assert (tmp_path / "scratch" / "lectures" / "index.html").exists()
    assert not list((tmp_path / "here").iterdir())
    assert cli.main(["list", "--runs", "../scratch/runs"]) == 0
    assert "verdict: holds" in capsys.readouterr().out


def test_a_damaged_run_takes_no_other_from_the_page(tmp_path):
    for id in ("node-minus-23", "power-1000"):
        reproduce(id, runs=tmp_path / "runs")
    (tmp_path / "runs" / "reproduce-power-1000" / "metadata.json").write_text("{}")
    with pytest.warns(Notice, match="left out: .*reproduce-power-1000 is damaged"):
        page.write(tmp_path / "runs", tmp_path / "page")
    claims = {each["id"]: each["verdict"] for each in read_json(tmp_path / "page" / "summary.json")["claims"]}
    assert claims["node-minus-23"] == "holds" and claims["power-1000"] is None
    (tmp_path / "page" / "summary.json").write_text("{}")
    with pytest.raises(InputError, match=r"summary\.json says nothing of claims"):
        page.write(tmp_path / "runs", tmp_path / "page")


def test_the_page_has_every_claim_and_needs_no_network(written):
    html = (written / "index.html").read_text()
    assert re.findall(r'<section id="([^"]+)"', html) == ids()
    sources = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert all(source.startswith("#") or (written / source).is_file() for source in sources)
    assert html.count("<img ") == len(EXACT) and all("alt=" in tag for tag in re.findall("<img [^>]*>", html))
    assert "<script src" not in html and "@import" not in html


def test_it_says_what_is_not_tested_and_writes_large_numbers_out(written):
    html = (written / "index.html").read_text()
    assert "in the sections architectures, generative, transfer, interpretability, evolution." in html
    assert "<td>20,525,631</td>" in html and "e+0" not in html  # 999 x 1.01^998


def test_a_picture_keeps_its_colours(tmp_path):
    """Green and blue lines, thin ones too: with few colours one must not become the other, nor a grey band pink."""
    from lab import plots

    figure, axes = plots.canvas()
    colours = (plots.BLUE, plots.ORANGE, plots.GREEN, plots.VERMILION, plots.SKY, plots.PURPLE)
    for place, colour in enumerate(colours):
        axes[0, 0].plot([0, 1], [place, place + 4], color=colour, linewidth=2, alpha=0.6)
        axes[0, 0].bar(place / 6, 1, 0.1, color=colour)
    axes[0, 0].axhspan(3, 5, color="#EEEEEE", zorder=0)
    axes[0, 0].imshow(np.linspace(0, 1, 60)[None], cmap="Blues", extent=(0, 1, 6, 8), aspect="auto")
    axes[0, 0].set_ylim(0, 10)
    plots.label(axes[0, 0], "Words in grey and black", "x", "y")
    figure.savefig(tmp_path / "figure.png", dpi=120)
    page._shrink(tmp_path / "figure.png", tmp_path / "small.png")
    with Image.open(tmp_path / "figure.png") as image:
        true = image.convert("RGB").resize((page.WIDTH, page.WIDTH // 2), Image.Resampling.LANCZOS)
    with Image.open(tmp_path / "small.png") as image:
        small = image.convert("RGB")
    assert small.size == true.size and small.getpixel((0, 0)) == (255, 255, 255)
    assert np.abs(np.asarray(small, dtype=int) - np.asarray(true, dtype=int)).max() < 20


@needs_browser
def test_it_filters_searches_and_sorts(written, tmp_path):
    script = """
      const shown = () => rows.filter(row => !row.hidden).map(row => row.querySelector("a").hash.slice(1)).join(" ");
      const set = (id, value) => {
        const each = document.getElementById(id);
        each.value = value; each.dispatchEvent(new Event("input"));
      };
      set("verdict", "holds"); seen.push(shown());
      set("section", "foundations"); seen.push(shown());
      set("verdict", ""); set("section", ""); set("search", "XOR perceptron"); seen.push(shown());
      set("search", ""); set("lecture", "L3"); seen.push(shown()); set("lecture", "");
      for (let twice = 0; twice < 2; twice++) document.querySelectorAll("#claims th button")[5].click();
      seen.push(rows[0].cells[5].textContent);
      document.activeElement.blur();
      document.dispatchEvent(new KeyboardEvent("keydown", {key: "/"})); seen.push(document.activeElement.id);
    """
    holds, foundations, found, third, slowest, focus = seen(written / "index.html", script, tmp_path)
    assert set(holds.split()) == set(EXACT)
    assert foundations == "node-minus-23"
    assert "perceptron-xor" in found.split() and len(found.split()) < 10
    assert third.split() == ids(lecture="L3")  # each is another lecture's as well, or that of L3 first
    claims = json.loads((written / "summary.json").read_text())["claims"]
    assert float(slowest) == pytest.approx(max(each["seconds"] or 0 for each in claims), abs=0.06)
    assert focus == "search"


@pytest.mark.slow
def test_side_by_side_they_find_the_same(tmp_path):
    before = dict(os.environ)
    alone = [reproduce(id, runs=tmp_path / "alone") for id in EXACT]
    together = list(reproduce_each(EXACT, runs=tmp_path / "together", jobs=3))
    assert {each.claim.id: each.findings for each in together} == {each.claim.id: each.findings for each in alone}
    assert dict(os.environ) == before  # the one thread is for the processes alone
    again = list(reproduce_each(EXACT, runs=tmp_path / "together", jobs=2))
    assert all(each.kept for each in again)


def killed(there, options):
    from lab.lectures import _reproduce

    while id := there.recv():
        if id == "power-1000":
            os._exit(9)
        there.send(_reproduce._attempt(id, options))


def stillborn(there, options):
    os._exit(7)


@pytest.mark.slow
def test_processes_that_end_before_they_have_read_what_to_do_are_told(tmp_path, monkeypatch):
    """As where memory is short: the connection is reset, for what was sent was never read."""
    from lab.lectures import _reproduce

    monkeypatch.setattr(_reproduce, "_work", stillborn)
    results = list(reproduce_each(EXACT, runs=tmp_path, jobs=2))
    assert {each.claim.id: each.error for each in results} == dict.fromkeys(EXACT, "its process ended with exit code 7")


@pytest.mark.slow
def test_one_that_is_killed_takes_no_other_with_it(tmp_path, monkeypatch):
    from lab.lectures import _reproduce

    monkeypatch.setattr(_reproduce, "_work", killed)
    results = {each.claim.id: each for each in reproduce_each(EXACT, runs=tmp_path, jobs=2)}
    assert results["power-1000"].error == "its process ended with exit code 9"
    assert [results[id].verdict for id in ("node-minus-23", "traffic-500-plus-x1")] == ["holds", "holds"]


def test_help_tells_the_settings_of_an_experiment(capsys):
    with pytest.raises(SystemExit):
        cli.main(["reproduce", "momentum-valley", "--help"])
    printed = capsys.readouterr().out
    assert "condition=100.0 (2 to 10000.0)" in printed and "κ of the valley" in printed
    for id in ids():
        from lab.lectures import _registry

        assert all(meaning for _, _, meaning in _registry.settings(id)), id


def test_the_notebook_runs(tmp_path, monkeypatch):
    """Its code, cell after cell, with experiments shortened; what it shows is made by each result itself."""
    cells = json.loads((Path(__file__).parents[2] / "docs" / "lectures.ipynb").read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    shown = re.findall(r'reproduce\("([\w-]+)"', "\n".join(code))
    assert len(set(shown)) == 5
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code[0], names)
    names["reproduce"] = lambda id, settings=None: reproduce(id, settings, quick=True)
    for cell in code[1:]:
        exec(cell, names)
    assert (tmp_path / "power-1000.pdf").stat().st_size > 5000
    result = reproduce("node-minus-23", runs=tmp_path)
    shown = result._repr_html_()
    assert shown.count("<tr>") == 1 + len(result.findings) and "data:image/png" in shown
    assert "<th>95 % interval</th>" in shown and f"Doubt: {escape(result.claim.doubt)}" in shown
