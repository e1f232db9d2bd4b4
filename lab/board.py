"""TensorBoard as a view of a run's record: each entry becomes an event, at any time again by `rebuild`."""

import math
import shutil
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import FileWriter, summary

from lab import intact, projector, record
from lab.errors import InputError, Notice
from lab.record import Entry, hold

RECORD = "metrics.jsonl"
EVENTS = "events.out.tfevents.*"


class Board:
    """Writes entries of the record as TensorBoard events into the run's own folder."""

    def __init__(self, folder: Path, purge_step: int | None = None, into: Path | None = None):
        """folder: the run's; into: where the event files go, if not there.

        purge_step: on resume, the first step TensorBoard is to forget from the event files before this one.
        """
        self._folder, self._into = folder, into or folder
        if purge_step is not None:
            _wait_for_a_later_name(folder)
        self._writer = FileWriter(str(self._into))
        self._embeddings: dict[str, Entry] = {}  # by file: what the projector shows, all of it named in one place
        if purge_step is not None:
            if (folder / projector.CONFIG).exists():
                kept = [entry for entry in record.read(folder / RECORD) if entry["kind"] == "embedding"]
                self._embeddings = {entry["file"]: entry for entry in kept}
                projector.configure(kept, folder)
            self._writer.add_event(Event(step=purge_step, file_version="brain.Event:2"))
            self._writer.add_event(Event(step=purge_step, session_log=SessionLog(status=SessionLog.START)))

    def write(self, entry: Entry) -> None:
        step, when = entry.get("step", 0), entry["time"]
        if entry["kind"] == "embedding":
            projector.write(entry, self._folder / entry["file"], self._into)
            self._embeddings[entry["file"]] = entry
            projector.configure(self._embeddings.values(), self._into)
        for event in _summaries(entry, self._folder):
            self._writer.add_summary(event, step, when)

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


def _wait_for_a_later_name(folder: Path) -> None:
    """Wait until the second in which the newest event file was made is over, at most for a second.

    TensorBoard reads them in the order of their names, which begin with that second; those of one are in the order of
    numbers as text, 10 before 9.
    """
    made = (file.name.split(".")[3] for file in folder.glob(EVENTS))
    newest = max((int(second) for second in made if second.isdecimal()), default=0)
    time.sleep(min(1.0, max(0.0, newest + 1 - time.time())))


def rebuild(folder: Path) -> list[Path]:
    """Write the event files of the run in `folder` anew from its record; returns the files that could not be shown.

    Pictures and arrays that are missing or damaged are left out, with a warning. Raises InputError while the run is
    being written.
    """
    with hold(folder):
        return rewrite(folder)


def rewrite(folder: Path) -> list[Path]:
    """As rebuild, for the process that holds the run. Of a run that went on for longer the last settings count, as
    TensorBoard takes the first that it is told."""
    left_out = []
    entries = record.read(folder / RECORD)
    starts = [entry for entry in entries if entry["kind"] == "start"]
    with tempfile.TemporaryDirectory(dir=folder) as fresh:
        board = Board(folder, into=Path(fresh))
        for entry in [*starts[-1:], *(entry for entry in entries if entry["kind"] != "start")]:
            try:
                board.write(entry)
            except (KeyError, TypeError, ValueError) as error:  # ValueError: InputError, or arrays that do not fit
                if "file" not in entry:
                    raise
                left_out.append(folder / entry["file"])
                said = error if isinstance(error, InputError) else f"{left_out[-1]} is damaged ({error})"
                warnings.warn(f"left out of TensorBoard: {said}", Notice, stacklevel=2)
        board.close()
        for old in folder.glob(EVENTS):
            old.unlink()
        (folder / projector.CONFIG).unlink(missing_ok=True)
        shutil.rmtree(folder / projector.FOLDER, ignore_errors=True)
        for file in Path(fresh).iterdir():
            file.rename(folder / file.name)
    return left_out


def _summaries(entry: Entry, folder: Path) -> list[Summary]:
    """The TensorBoard summaries that show one entry; files it names are read from the run's `folder`."""
    match entry["kind"]:
        case "scalar":
            return [summary.scalar(entry["tag"], entry["value"])]
        case "text":
            return [summary.text(entry["tag"], entry["text"])]
        case "image":
            return [_image(entry["tag"], folder / entry["file"])]
        case "pr_curve":
            arrays = intact.arrays(folder / entry["file"])
            return [summary.pr_curve(entry["tag"], arrays["labels"], arrays["scores"])]
        case "start":  # HParams: the settings and the metrics' names at the start, the metrics at the end
            experiment, session, _ = summary.hparams(flat(entry["config"]), dict.fromkeys(entry["metrics"], 0.0))
            return [experiment, session]
        case "end":
            _, _, session_end = summary.hparams({}, {})
            return [*(summary.scalar(tag, value) for tag, value in entry["metrics"].items()), session_end]
    return []


def _image(tag: str, path: Path) -> Summary:
    """A PNG, or a GIF that TensorBoard plays: its own video summary needs moviepy, which breaks with each release."""
    content, width, height = intact.picture(path)
    image = Summary.Image(height=height, width=width, colorspace=3, encoded_image_string=content)
    return Summary(value=[Summary.Value(tag=tag, image=image)])


def flat(config: dict[str, Any], prefix: str = "") -> dict[str, bool | int | float | str]:
    """A nested config as HParams: dotted names, and only the types TensorBoard takes; what is not finite as text."""
    result: dict[str, bool | int | float | str] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            result |= flat(value, f"{prefix}{key}.")
        else:
            taken = isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))
            result[prefix + key] = value if taken else str(value)
    return result


def gif(frames: np.ndarray, path: Path, fps: int) -> None:
    """Write frames (time, height, width[, 3]) uint8 as an animated GIF."""
    pictures = [Image.fromarray(frame) for frame in frames]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=1000 // fps, loop=0)
