"""The notebook of the lectures: every claim with what was measured, as JSON, CSV and an HTML page.

The page needs no network, only the pictures in figures/ beside it; its table filters and sorts, and it follows the
reader's light or dark setting. Without scripts all but filtering and sorting still works.
"""

import csv
import io
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from lab.errors import Notice
from lab.jsonfile import read_json, strict, write_text
from lab.lectures import LECTURES, SECTIONS, Finding, Role, claim, ids, section_of
from lab.lectures._claims import judged
from lab.lectures._reproduce import _line, newest_run

SUMMARY = "summary.json"
FIGURES = "figures"
WIDTH = 800  # pixels of a picture on the page
COLOURS = 256  # in a picture; figures have few, and this makes them a third of the size
COLUMNS = ("id", "section", "lecture", "slide", "verdict", "conditions", "held", "seconds", "finding", "measured",
           "low", "high", "role", "expected", "holds")  # fmt: skip


def write(runs: Path, folder: Path) -> Path | None:
    """Bring FOLDER (summary.json, summary.csv, index.html, figures/) up to what was measured under `runs`.

    Claims that `runs` says nothing of stay as the summary has them. Runs with changed or shortened settings do not
    count. Returns the page; None, and nothing is written, if there is no run of an experiment under `runs`.
    """
    measured = {id: path for id in ids() if (path := newest_run(id, runs))}
    if not measured:
        return None
    (folder / FIGURES).mkdir(parents=True, exist_ok=True)
    before = read_json(folder / SUMMARY, "claims")["claims"] if (folder / SUMMARY).exists() else []
    for each in (finding for entry in before for finding in entry["findings"]):
        each.setdefault("role", Role.CLAIM if each["expected"] else "")  # of a summary that knew no roles
    known = {entry["id"]: entry for entry in before}
    entries = []
    for id in ids():
        entry = known.get(id) or _unmeasured(id)
        if id in measured:
            try:
                entry = _entry(id, measured[id], folder)
            except (KeyError, OSError, TypeError, ValueError) as error:
                warnings.warn(f"left out: {measured[id]} is damaged ({_line(error)})", Notice, stacklevel=2)
        entries.append(entry)
    write_text(folder / SUMMARY, json.dumps({"claims": [strict(entry) for entry in entries]}, indent=1) + "\n")
    write_text(folder / "summary.csv", _table(entries))
    write_text(folder / "index.html", render(entries))
    return folder / "index.html"


def render(entries: list[dict[str, Any]]) -> str:
    """The page about these claims."""
    loader = PackageLoader("lab.lectures", ".")
    template = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    sections = list(dict.fromkeys(entry["section"] for entry in entries))
    verdicts = [entry["verdict"] or "not measured yet" for entry in entries]
    tally = {verdict: verdicts.count(verdict) for verdict in dict.fromkeys(sorted(verdicts, key=_rank))}
    return template.get_template("page.html").render(
        claims=[_shown(entry) | {"lectures": claim(entry["id"]).lectures} for entry in entries], tally=tally,
        lectures=LECTURES, sections=sections, silent=[each for each in SECTIONS if each not in sections],
    )  # fmt: skip


def _rank(verdict: str) -> int:
    return ["holds", "mixed", "fails", "not reached", "not measured yet"].index(verdict)


def _entry(id: str, run: Path, folder: Path) -> dict[str, Any]:
    """All that is told of a measured claim; its picture goes to FOLDER/figures."""
    result, metadata = read_json(run / "result.json"), read_json(run / "metadata.json")
    hardware, picture = metadata["hardware"], f"{FIGURES}/{id}.png"
    _shrink(run / "figures" / "claim-picture.png", folder / picture)
    return {
        **_unmeasured(id), "verdict": result["verdict"], "findings": result["findings"], "budget": result["budget"],
        "seconds": result["metrics"]["time/seconds"],
        "measured_on": f"{hardware['cores']} cores, {hardware['gpu'] or 'no GPU'}",
        "picture": picture,
    }  # fmt: skip


def _unmeasured(id: str) -> dict[str, Any]:
    about = claim(id)
    return {
        "id": id, "section": section_of(id), "title": about.title, "lecture": about.lecture, "slide": about.slide,
        "says": about.says, "doubt": about.doubt, "command": f"lab reproduce {id}", "verdict": None, "findings": [],
        "budget": "", "seconds": None, "picture": "",
    }  # fmt: skip


def _shrink(source: Path, target: Path) -> None:
    """A figure at modest size."""
    from PIL import Image

    with Image.open(source) as image:
        picture = image.convert("RGB")
    if picture.width > WIDTH:
        picture = picture.resize((WIDTH, round(picture.height * WIDTH / picture.width)), Image.Resampling.LANCZOS)
    # the median cut spends its colours on shades of white, and makes one of green and blue
    few = picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
    few.save(target, optimize=True)


def _shown(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry with its findings as words."""
    findings = [Finding.from_json(each) for each in entry["findings"]]
    told = judged(findings)
    # what decides the verdict first: a control that fails, then a condition that does, or that stays open
    failed = [each for each in findings if each.expected and each.role is Role.CONTROL and not each.holds]
    first = [*failed, *sorted(told, key=lambda each: (False, None, True).index(each.holds))][:1]
    return {**entry, "findings": [each.words() for each in findings], "judged": len(told),
            "told": first[0].words() if first else None,
            "held": sum(each.holds is True for each in told)}  # fmt: skip


def _table(entries: list[dict[str, Any]]) -> str:
    """One row a finding, and one for each claim without."""
    file = io.StringIO()
    rows = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    rows.writeheader()
    for entry in entries:
        judged = [each["holds"] for each in entry["findings"] if each["role"] == Role.CLAIM]
        about = {name: entry[name] for name in ("id", "section", "lecture", "slide", "verdict", "seconds")}
        about |= {"conditions": len(judged), "held": judged.count(True)}
        for each in entry["findings"] or [{}]:
            low, high = each.get("interval") or (None, None)
            found = {"finding": each.get("name"), "low": low, "high": high}
            rows.writerow(about | found | {name: each.get(name) for name in ("measured", "role", "expected", "holds")})
    return file.getvalue()
