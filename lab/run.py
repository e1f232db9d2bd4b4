"""Run: one folder in which a bench writes everything it does. The same on disk and in TensorBoard for every bench.

    with Run.open("results/runs", "dqn-catch", config) as run:
        run.scalar("train/loss", loss, step)
        run.checkpoint(step, state)
        run.finish({"eval/return_mean": 0.97})

On disk: config.json, metadata.json, metrics.jsonl (the record, see lab.record), TensorBoard events (its view),
checkpoints/, figures/, videos/, arrays/, tables as CSV, and result.json once finished.
"""

import contextlib
import dataclasses
import errno
import importlib.metadata
import json
import platform
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from lab import board, checkpoint, record
from lab.board import RECORD, Board, gif
from lab.errors import InputError
from lab.jsonfile import read_json, write_json, write_text
from lab.record import Entry, Record, hold

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

CONFIG, METADATA, RESULT = "config.json", "metadata.json", "result.json"
PACKAGES = ("torch", "numpy", "gymnasium", "ale-py", "stable-baselines3", "sktime", "pandas", "tensorboard")


class Run:
    """An open run. Use `Run.open`; leave by `with`, which closes the files and notes how it ended."""

    def __init__(self, path: Path, config: dict[str, Any], metrics: Sequence[str], resume: bool):
        self.path = path
        self.config = config
        self.started = time.monotonic()
        self._before = 0.0  # seconds of the processes before this one
        path.mkdir(parents=True, exist_ok=True)
        self._lock = hold(path)
        found = checkpoint.load_newest(path / "checkpoints") if resume else None
        if resume and not found and checkpoint.steps(path / "checkpoints"):
            self._lock.close()
            raise InputError(
                f"no checkpoint of run {path} is intact, and nothing there was changed; what it learned may still be "
                "in its policy (lab evaluate); give another --name to begin again"
            )
        (path / RESULT).unlink(missing_ok=True)  # a run that goes on is not finished
        self._record = Record(path / RECORD)
        # (step, state) to go on from, or None at a fresh start
        self.restored: tuple[int, Any] | None = None
        if found:  # go back to it: make void what was recorded after it
            step, saved = found
            self.restored = step, saved["state"]
            self._record.rewind(saved["record_lines"], step)
            self._before = max(record.clock(record.read(path / RECORD)), default=0.0)
            if grown := config != read_json(path / CONFIG):  # it goes on for longer
                write_json(path / CONFIG, config)
                told = read_json(path / METADATA)
                write_json(path / METADATA, told | {"command": command(), "began_with": told.get("command")})
                self._record.append(
                    {"time": round(time.time(), 3), "kind": "start", "config": config, "metrics": list(metrics)}
                )
                board.rewrite(path)
            self._board = Board(path, purge_step=step + 1)
            if grown:
                self._tell(config, step)
            return
        write_json(path / CONFIG, config)
        write_json(path / METADATA, metadata(config.get("seed")))
        if resume:
            self._record.rewind(0, 0)
        self._board = Board(path, purge_step=0 if resume else None)
        self._write({"kind": "start", "config": config, "metrics": list(metrics)})
        self._tell(config)

    @classmethod
    def open(
        cls, root: str | Path, name: str, config: Any, *, resume: bool = False, metrics: Sequence[str] = (),
        longer: str = "",
    ) -> Self:  # fmt: skip
        """Open the run `name` under `root`.

        config: a dataclass or a mapping; saved as config.json and as TensorBoard's HParams.
        resume: go on with the run that `find` finds, from its newest intact checkpoint (from the start without one);
            without it, a name already taken gets -2, -3, ...
        metrics: the tags that `finish` will report; HParams must know them from the start.
        longer: a setting, of how long it runs, that may be larger than that of the run to go on with.
        Raises InputError for a bad name, or if the run to resume had other settings, is being written, or has no
        checkpoint that is intact.
        """
        settings = _plain(config)
        if not all(re.fullmatch(r"[\w+-][\w.+-]*", part) for part in name.split("/")):
            raise InputError(f"run name {name!r} makes no folder name; use letters, digits, . _ - + (no dot first)")
        taken = _taken(Path(root), name)
        if not resume:
            return cls(_take(Path(root), name, len(taken)), settings, metrics, resume=False)
        if found := _same(taken, settings, longer):
            return cls(found, settings, metrics, resume=True)
        if taken:  # where config.json is damaged, or lost beside checkpoints, this says so
            before = read_json(taken[-1] / CONFIG)
            key = sorted(k for k in settings.keys() | before.keys() if settings.get(k) != before.get(k))[0]
            raise InputError(
                f"run {taken[-1]} was started with {key}={before.get(key)!r}, not {settings.get(key)!r}; "
                "resume with the same settings or give another --name"
            )
        return cls(Path(root) / name, settings, metrics, resume=False)

    @staticmethod
    def find(root: str | Path, name: str, config: Any, longer: str = "") -> Path | None:
        """The newest run of this name (NAME, NAME-2, ...) with the same settings: what resuming goes on with."""
        return _same(_taken(Path(root), name), _plain(config), longer)

    # --- what a bench reports ---------------------------------------------------------------------------------------

    def scalar(self, tag: str, value: float, step: int) -> None:
        self._write({"kind": "scalar", "tag": tag, "step": int(step), "value": float(value)})

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        for tag, value in values.items():
            self.scalar(tag, value, step)

    def text(self, tag: str, text: str, step: int = 0) -> None:
        """Text in Markdown."""
        self._write({"kind": "text", "tag": tag, "step": step, "text": text})

    def figure(self, tag: str, figure: "Figure", step: int = 0) -> Path:
        """Save a matplotlib figure as figures/TAG.png and show it in TensorBoard; returns the file."""
        path = self._file("figures", tag, step, ".png")
        figure.savefig(path)
        shows = " | ".join(filter(None, (axes.get_title(loc="left") or axes.get_title() for axes in figure.axes)))
        self._write({"kind": "image", "tag": tag, "step": step, "file": str(path.relative_to(self.path)), "alt": shows})
        return path

    def video(self, tag: str, frames: np.ndarray, step: int = 0, fps: int = 15) -> Path:
        """Save frames (time, height, width, 3) uint8 as videos/TAG.mp4, and as a GIF for TensorBoard; returns the mp4.

        Raises ValueError if there is no frame (an empty film is never written) or one with a side of one pixel, and
        OSError if the film cannot be written.
        """
        if frames.ndim != 4 or not len(frames) or frames.shape[3] != 3 or frames.dtype != np.uint8:
            raise ValueError(f"a video needs frames (time, height, width, 3) uint8, not {frames.shape} {frames.dtype}")
        if min(frames.shape[1:3]) < 2:
            raise ValueError(
                f"a video needs frames of at least 2 x 2 pixels, not {frames.shape[1]} x {frames.shape[2]}"
            )
        path = self._file("videos", tag, step, ".mp4")
        _mp4(frames, path, fps)
        animation = path.with_suffix(".gif")
        gif(frames[:: max(1, len(frames) // 200)], animation, fps)  # TensorBoard keeps it in memory: 200 frames at most
        entry = {"kind": "image", "tag": tag, "step": step, "file": str(animation.relative_to(self.path))}
        self._write({**entry, "alt": f"{tag}, {len(frames)} frames"})
        return path

    def pr_curve(self, tag: str, labels: np.ndarray, scores: np.ndarray, step: int = 0) -> None:
        """Precision and recall of `scores` in [0, 1] against boolean `labels`, both (n,)."""
        from safetensors.numpy import save_file

        path = self._file("arrays", tag, step, ".safetensors")
        with checkpoint.writing(path):
            save_file({"labels": np.asarray(labels, np.uint8), "scores": np.asarray(scores, np.float32)}, path)
        self._write({"kind": "pr_curve", "tag": tag, "step": step, "file": str(path.relative_to(self.path))})

    def embedding(
        self, tag: str, vectors: np.ndarray, labels: Sequence[str] | Mapping[str, Sequence[object]],
        images: np.ndarray | None = None, step: int = 0,
    ) -> None:  # fmt: skip
        """Show vectors (n, dimensions) as points in TensorBoard's projector, which maps them by PCA, t-SNE or UMAP.

        labels: (n,) names, or several columns of them, title -> (n,) values; the projector colours by a column.
        images: a small picture of each point, (n, height, width) or (n, height, width, 3) uint8.
        Raises ValueError if these do not fit together.
        """
        from safetensors.numpy import save_file

        points, columns = len(vectors), dict(labels) if isinstance(labels, Mapping) else {"label": labels}
        if vectors.ndim != 2 or not vectors.size or not np.isfinite(vectors).all():
            raise ValueError(f"an embedding needs finite vectors (n, dimensions), not {vectors.shape}")
        if not columns or any(len(column) != points for column in columns.values()):
            raise ValueError(f"an embedding of {points} vectors needs labels, each with {points} values")
        if images is not None and (images.dtype != np.uint8 or images.ndim not in (3, 4) or len(images) != points):
            raise ValueError(f"{points} vectors need images (n, height, width[, 3]) uint8, not {images.shape}")
        path = self._file("arrays", tag, step, ".safetensors")
        arrays = {"vectors": np.ascontiguousarray(vectors, np.float32), "labels": _tsv(columns)}
        with checkpoint.writing(path):
            save_file(arrays if images is None else arrays | {"images": np.ascontiguousarray(images)}, path)
        entry = {"kind": "embedding", "tag": tag, "step": step, "file": str(path.relative_to(self.path))}
        self._write({**entry, "points": points, "picture": None if images is None else list(images.shape[1:3])})

    def table(self, name: str, frame: "pd.DataFrame") -> Path:
        """Save a table as NAME.csv in the run's folder and show it (its first 50 rows) in TensorBoard."""
        path = self.path / f"{name}.csv"
        write_text(path, frame.to_csv(index=False))
        shown = frame.head(50)
        rows = [list(shown.columns), ["---"] * shown.shape[1], *shown.astype(str).to_numpy().tolist()]
        self.text(f"table/{name}", "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows))
        return path

    def checkpoint(self, step: int, state: Any, keep: int = 2) -> Path:
        """Save `state` (see lab.checkpoint) so that the run can be resumed from `step`."""
        self._record.sync()
        self._board.flush()
        saved = {"record_lines": self._record.lines, "state": state}
        return checkpoint.save(self.path / "checkpoints", step, saved, keep)

    def finish(self, metrics: Mapping[str, float], **details: Any) -> None:
        """Write result.json: the metrics, the seconds that the run took, and any JSON `details`. The run is done.

        Of a resumed run: by its record, over all its processes, without what was made void and the pauses between.
        """
        values = {tag: float(value) for tag, value in metrics.items()}
        self._write({"kind": "end", "metrics": values})
        self._record.sync()
        seconds = round(self._before + time.monotonic() - self.started, 3)
        write_json(self.path / RESULT, {"metrics": values, "seconds": seconds, **details})

    # --- inside -----------------------------------------------------------------------------------------------------

    def _tell(self, config: dict[str, Any], step: int = 0) -> None:
        self.text("config", "\n".join(f"    {line}" for line in json.dumps(config, indent=2).splitlines()), step)

    def _write(self, entry: Entry) -> None:
        entry = {"time": round(time.time(), 3), **entry}
        self._record.append(entry)
        self._board.write(entry)

    def _file(self, folder: str, tag: str, step: int, suffix: str) -> Path:
        (self.path / folder).mkdir(exist_ok=True)
        return self.path / folder / f"{tag.replace('/', '-')}{f'-{step}' if step else ''}{suffix}"

    def close(self) -> None:
        self._record.close()
        self._board.close()
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if kind is not None:
            self.text("stopped", f"{kind.__name__}: {error}")
        self.close()


def metadata(seed: Any) -> dict[str, Any]:
    """What is needed to make the run again: versions, hardware, git commit, command, seed."""
    from lab.device import hardware

    return {
        "command": command(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "seed": seed,
        "git": _git_commit(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "hardware": hardware(),
    }


def command() -> str:
    """The command line of this process."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def _git_commit() -> str | None:
    """The commit of the source this runs from, marked + where it was changed; None outside a checkout."""
    command = [
        "git",
        "-C",
        str(Path(__file__).parent),
        "describe",
        "--always",
        "--abbrev=40",
        "--dirty=+",
        "--exclude=*",
    ]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _plain(config: Any) -> dict[str, Any]:
    """A config as it will read from JSON."""
    values = dataclasses.asdict(config) if dataclasses.is_dataclass(config) else dict(config)  # type: ignore[arg-type]
    return json.loads(json.dumps(values, default=str))


def _taken(root: Path, name: str) -> list[Path]:
    """The folders NAME, NAME-2, NAME-3, ... that there are, as far as they follow one another."""
    taken: list[Path] = []
    while (path := root / (f"{name}-{len(taken) + 1}" if taken else name)).exists():
        taken.append(path)
    return taken


def _take(root: Path, name: str, taken: int) -> Path:
    """Make the first of the folders NAME, NAME-2, ... behind the `taken` ones that no other process makes first, as
    those of a loop over seeds do that start together."""
    path = root / (f"{name}-{taken + 1}" if taken else name)
    try:
        path.mkdir(parents=True)
    except FileExistsError:
        return _take(root, name, taken + 1)
    return path


def _same(taken: list[Path], settings: dict[str, Any], longer: str = "") -> Path | None:
    """The last of `taken` with these settings, or that was killed before it could write any; else, the last that has
    less of the setting `longer` and is the same otherwise."""
    before = {path: _settings(path) for path in taken}
    same = [path for path, found in before.items() if found in (None, settings)]
    shorter = [
        path for path, found in before.items()
        if found and longer in found and found[longer] < settings[longer]
        and found | {longer: settings[longer]} == settings
    ]  # fmt: skip
    either = same or shorter
    return either[-1] if either else None


def _settings(path: Path) -> dict[str, Any] | None:
    """A run's, or None if it was killed before it could write them."""
    killed = not (path / CONFIG).exists() and not checkpoint.steps(path / "checkpoints")
    return None if killed else read_json(path / CONFIG)


def _tsv(columns: Mapping[str, Sequence[object]]) -> np.ndarray:
    """Columns as tab-separated UTF-8 text, in an array of bytes.

    The projector takes the first line for titles only if there are several columns, and passes empty lines over.
    """
    rows = [tuple(columns)] if len(columns) > 1 else []
    rows += zip(*columns.values(), strict=True)
    lines = ["\t".join(" ".join(str(cell).split()) or "-" for cell in row) for row in rows]
    return np.frombuffer("".join(f"{line}\n" for line in lines).encode(), np.uint8)


def slug(text: str) -> str:
    """`text` as a run's name: what makes no folder name becomes a dash."""
    return re.sub(r"[^\w.+-]+", "-", text).strip("-.") or "run"


def _mp4(frames: np.ndarray, path: Path, fps: int) -> None:
    """Raises OSError, with what ffmpeg says, if it cannot write the film."""
    import imageio_ffmpeg

    height, width = frames.shape[1] & ~1, frames.shape[2] & ~1  # H.264 wants even sides
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error",
        "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-",
        "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "25", str(path.resolve()),
    ]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as ffmpeg:
        assert ffmpeg.stdin
        with contextlib.suppress(BrokenPipeError):  # it ended early: why, it says
            for frame in frames:
                ffmpeg.stdin.write(np.ascontiguousarray(frame[:height, :width]).data)
        _, said = ffmpeg.communicate()
    if ffmpeg.returncode:
        reason = (said.decode(errors="replace").strip().splitlines() or [f"exit code {ffmpeg.returncode}"])[-1]
        raise OSError(errno.EIO, f"ffmpeg cannot write the film: {reason}", str(path))
