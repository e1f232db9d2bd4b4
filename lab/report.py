"""One static HTML page of a results folder: every finished run with its numbers, figures, tables and command.

The page is a single file that needs no network: pictures are inside it, tables sort and filter, it follows the
reader's light or dark setting, and every picture has an alternative text.
"""

import base64
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader

from lab import record
from lab.board import RECORD
from lab.errors import InputError, Notice
from lab.jsonfile import read_json
from lab.run import METADATA, RESULT

SAID = ("note", "claim", "anomaly/finding", "anomaly/explained")  # texts of a run that are shown above its pictures
FULL_TABLE, HEAD = 40, 8  # a table of more rows than FULL_TABLE is shown by its first HEAD
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


def write(folder: Path, title: str = "Results", notes: Mapping[str, str] | None = None) -> Path:
    """Write FOLDER/report.html about the finished runs under `folder`; returns the file.

    notes: what a reader must know about a run, by its name. Raises InputError if there is none.
    """
    found = sorted(find(folder), key=lambda path: read_json(path / METADATA)["started"])
    if not found:
        raise InputError(f"no finished run under {folder}; run something first, or name another folder")
    runs = [_read(path, folder, (notes or {}).get(str(path.relative_to(folder)), "")) for path in found]
    template = Environment(loader=PackageLoader("lab", "."), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page = template.get_template("report.html").render(title=title, runs=runs)
    target = folder / "report.html"
    target.with_suffix(".tmp").write_text(page)
    os.replace(target.with_suffix(".tmp"), target)
    return target


def find(folder: Path) -> list[Path]:
    """The folders of the finished runs under `folder`, by name; damaged ones are left out, with a warning."""
    found = []
    for result in sorted(folder.rglob(RESULT)):
        try:
            read_json(result, "metrics", "seconds")
            read_json(result.parent / METADATA, "started", "command", "hardware")
            found.append(result.parent)
        except InputError as error:
            warnings.warn(f"left out: {error}", Notice, stacklevel=2)
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
        seconds=result["seconds"],
        verdict=result.get("verdict", ""),
        notes=[text for text in (note, *(texts.get(tag) for tag in SAID)) if text],
        metrics=result["metrics"],
        pictures=[(_data_url(path / file), alt) for file, alt in images.items() if (path / file).exists()],
        tables=[_table(file) for file in sorted(path.glob("*.csv"))],
    )


def _data_url(path: Path) -> str:
    kind = "gif" if path.suffix == ".gif" else "png"
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _table(path: Path) -> Table:
    try:
        frame = pd.read_csv(path)
    except pd.errors.EmptyDataError:
        frame = pd.DataFrame()
    shown = (frame if len(frame) <= FULL_TABLE else frame.head(HEAD)).iloc[:, :COLUMNS]
    rows = [[f"{cell:.4g}" if isinstance(cell, float) else cell for cell in row] for row in shown.to_numpy().tolist()]
    cut = [f"first {count} of {total} {what}" for count, total, what in
           zip(shown.shape, frame.shape, ("rows", "columns"), strict=True) if count < total]  # fmt: skip
    return f"{path.name}{' (' + ', '.join(cut) + ')' if cut else ''}", list(shown.columns), rows
