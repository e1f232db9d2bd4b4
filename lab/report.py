"""One static HTML page of a results folder: every finished run with its numbers, figures, tables and command.

The page is a single file that needs no network: pictures are inside it, tables sort and filter, it follows the
reader's light or dark setting, and every picture has an alternative text.
"""

import base64
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader

from lab import intact, record
from lab.board import RECORD
from lab.digits import told
from lab.errors import InputError, Notice
from lab.jsonfile import read_json, write_text
from lab.run import METADATA, RESULT

SAID = ("note", "claim", "anomaly/finding", "anomaly/explained")  # texts of a run that are shown above its pictures
FULL_TABLE, HEAD = 40, 8  # a table of more rows than FULL_TABLE is shown by its first HEAD
DAMAGED = (AttributeError, KeyError, OSError, TypeError, ValueError)  # what reading a run raises that was tampered with
COLUMNS = 12  # and one of more columns by its first COLUMNS


Table = tuple[str, list[str], list[list[Any]]]  # caption, columns, rows


@dataclass(frozen=True)
class Shown:
    """One run as the page shows it."""

    name: str
    command: str
    hardware: str
    seconds: float
    verdict: str
    notes: list[str]
    metrics: dict[str, float | None]
    pictures: list[tuple[str, str]]
    """(data URL, alternative text) each."""
    tables: list[Table]


def read(folder: Path, notes: Mapping[str, str] | None = None) -> list[Shown]:
    """The finished runs under `folder` as a page shows them, the earliest first; damaged ones left out, with a warning.

    notes: what a reader must know about a run, by its name. Raises InputError if there is none to show.
    """
    runs = []
    for path in sorted(find(folder), key=lambda path: str(read_json(path / METADATA)["started"])):
        try:
            runs.append(_read(path, folder, (notes or {}).get(str(path.relative_to(folder)), "")))
        except DAMAGED as error:
            _left_out(path, error)
    if not runs:
        raise InputError(
            f"no finished run under {folder} that can be read; run something first, or name another folder"
        )
    return runs


def write(folder: Path, runs: list[Shown], title: str = "Results") -> Path:
    """Write FOLDER/report.html about `runs`; returns the file."""
    template = Environment(loader=PackageLoader("lab", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template.filters["number"] = number
    page = template.get_template("report.html").render(title=title, runs=runs)
    write_text(folder / "report.html", page)
    return folder / "report.html"


def number(value: Any) -> Any:
    """A number with four significant digits, a whole one with all of its, in threes from five digits on; "–" for none.

    What is no number stays as it is.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        return value
    return told(value)


def find(folder: Path) -> list[Path]:
    """The folders of the finished runs under `folder`, by name; damaged ones are left out, with a warning."""
    found = []
    for result in sorted(folder.rglob(RESULT)):
        try:
            read_json(result, "metrics", "seconds")
            read_json(result.parent / METADATA, "started", "command", "hardware")
            found.append(result.parent)
        except InputError as error:
            _left_out(result, error)
    return found


def _read(path: Path, root: Path, note: str) -> Shown:
    result, metadata = read_json(path / RESULT), read_json(path / METADATA)
    entries = record.read(path / RECORD)
    texts = {entry["tag"]: entry["text"] for entry in entries if entry["kind"] == "text"}
    images: dict[str, str] = {e["file"]: str(e.get("alt", e["tag"])) for e in entries if e["kind"] == "image"}
    machine = metadata["hardware"]
    return Shown(
        name=str(path.relative_to(root)),
        command=metadata["command"],
        hardware=f"{machine['cores']} cores, {machine['gpu'] or 'no GPU'}",
        seconds=float(result["seconds"]),
        verdict=result.get("verdict", ""),
        notes=[text for text in (note, *(texts.get(tag) for tag in SAID)) if text],
        metrics={tag: None if value is None else float(value) for tag, value in result["metrics"].items()},
        pictures=[(url, alt) for file, alt in images.items() if (url := _data_url(path / file))],
        tables=[table for file in sorted(path.glob("*.csv")) if (table := _table(file))],
    )


def _data_url(path: Path) -> str:
    """The picture itself as an address; empty, with a warning, if it is missing or damaged."""
    try:
        content, _, _ = intact.picture(path)
    except InputError as error:
        _left_out(path, error)
        return ""
    kind = "gif" if path.suffix == ".gif" else "png"
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _left_out(path: Path, error: Exception) -> None:
    said = " ".join(str(error).split())
    text = said if isinstance(error, InputError) else f"{path} is damaged ({type(error).__name__}: {said})"
    warnings.warn(f"left out: {text}", Notice, stacklevel=3)


def _table(path: Path) -> Table | None:
    """The file's, cut to what a page holds; None, with a warning, if it is damaged."""
    try:
        frame = pd.read_csv(path, keep_default_na=False, na_values=[""])  # a group may be called None, or nan
    except pd.errors.EmptyDataError:
        frame = pd.DataFrame()
    except ValueError as error:  # ragged rows, or no UTF-8
        _left_out(path, error)
        return None
    shown = (frame if len(frame) <= FULL_TABLE else frame.head(HEAD)).iloc[:, :COLUMNS]
    rows = [[number(cell) for cell in row] for row in shown.astype(object).to_numpy().tolist()]  # integers stay so
    cut = [f"first {count} of {total} {what}" for count, total, what in
           zip(shown.shape, frame.shape, ("rows", "columns"), strict=True) if count < total]  # fmt: skip
    return f"{path.name}{' (' + ', '.join(cut) + ')' if cut else ''}", list(shown.columns), rows
