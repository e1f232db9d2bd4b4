"""metrics.jsonl: the append-only record of a run, one checksummed JSON object a line.

The record is the truth and TensorBoard a view of it (lab.board). A line torn by a kill or changed on disk fails its
checksum and is left out when read. Resuming appends a `rewind` line, which makes void every line written after the
checkpoint it goes back to, so no step stands twice in a curve although nothing is ever rewritten.
"""

import fcntl
import json
import os
import warnings
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, Self

from lab.errors import InputError, Notice
from lab.jsonfile import strict

Entry = dict[str, Any]


def encode(entry: Entry) -> str:
    """One line of the record: the entry, led by the CRC-32 of its own JSON text.

    JSON has no number that is not finite: it is written as text, "nan", "inf" or "-inf".
    """
    body = json.dumps(strict(entry, str), separators=(",", ":"), allow_nan=False)
    return f'{{"crc":"{zlib.crc32(body.encode()):08x}",{body[1:]}\n'


def decode(line: bytes) -> Entry | None:
    """The entry of one line, or None where the checksum or the JSON does not hold."""
    if not line.startswith(b'{"crc":"') or line[16:18] != b'",':
        return None
    body = b"{" + line[18:]
    if line[8:16] != f"{zlib.crc32(body):08x}".encode():
        return None
    try:
        entry = json.loads(body)  # takes the bare NaN of older records too
    except ValueError:
        return None
    if entry.get("kind") == "scalar" and "value" in entry:
        return entry | {"value": _as_number(entry["value"])}
    if entry.get("kind") == "end":
        return entry | {"metrics": {tag: _as_number(value) for tag, value in entry["metrics"].items()}}
    return entry


def _as_number(value: Any) -> Any:
    return float(value) if isinstance(value, str) and value in ("nan", "inf", "-inf") else value


def hold(folder: Path) -> IO[str]:
    """Lock the run in `folder` for this process until the file returned is closed. Raises InputError if it is taken."""
    lock = (folder / ".lock").open("w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise InputError(f"run {folder} is being written by another process; wait for it or give --name") from None
    return lock


class Record:
    """Appends entries to `path`; the position (in lines) is what a checkpoint notes and `rewind` goes back to."""

    def __init__(self, path: Path):
        torn = path.exists() and path.stat().st_size > 0 and not path.read_bytes().endswith(b"\n")
        self.lines = path.read_bytes().count(b"\n") + torn if path.exists() else 0
        self._file = path.open("ab", buffering=0)  # unbuffered: a kill loses at most the line being written
        if torn:
            self._file.write(b"\n")

    def append(self, entry: Entry) -> None:
        self._file.write(encode(entry).encode())
        self.lines += 1

    def rewind(self, to: int, step: int) -> None:
        """Make void every line after the first `to`; the run goes on from `step`."""
        self.append({"kind": "rewind", "to": to, "step": step})

    def sync(self) -> None:
        """Force what was written to the disk; called before a checkpoint that relies on it."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read(path: Path) -> list[Entry]:
    """The valid entries of a record, rewinds applied. Warns about damaged lines, naming file and line.

    The first entry after a rewind has `resumed` true: the time before it is the pause, not the run's. Raises InputError
    for a file that cannot be read.
    """
    kept: list[Entry | None] = []
    damaged = []
    resumed = False
    try:
        lines = path.read_bytes().split(b"\n") if path.exists() else []  # as Record counts them: \r ends none
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); the run is damaged, mend or delete it") from None
    if lines and not lines[-1]:  # behind the last line's end
        del lines[-1]
    for number, line in enumerate(lines, start=1):
        entry = decode(line)
        if entry is None and number < len(lines):  # a torn last line is what a kill leaves: no news
            damaged.append(number)
        if entry is not None and entry["kind"] == "rewind":
            kept[entry["to"] :] = [None] * (len(kept) - entry["to"])
            resumed, entry = True, None
        elif entry is not None and resumed:
            resumed, entry = False, {**entry, "resumed": True}
        kept.append(entry)
    # A line torn by a kill stands before the rewind of the resume that followed: void in any case.
    if lost := [number for number in damaged if not _followed_by_rewind(lines, number)]:
        named = ", ".join(map(str, lost[:5])) + (f" and {len(lost) - 5:,} more" if len(lost) > 5 else "")
        warnings.warn(f"{path}: damaged line{'s' * (len(lost) > 1)} {named} left out", Notice, stacklevel=2)
    return [entry for entry in kept if entry is not None]


def clock(entries: Iterable[Entry]) -> list[float]:
    """Seconds since the run began at each entry; a pause, up to the next process's first entry, counts as nothing."""
    seconds, found, before = 0.0, [], None
    for entry in entries:
        if before is not None and not entry.get("resumed", False):
            seconds += entry["time"] - before
        before = entry["time"]
        found.append(seconds)
    return found


def _followed_by_rewind(lines: list[bytes], number: int) -> bool:
    entry = decode(lines[number])
    return entry is not None and entry["kind"] == "rewind"
