"""The commands about the notebook itself: what runs there are, the page of them, and TensorBoard."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import tyro

from lab.command import Shared
from lab.errors import InputError, Notice
from lab.jsonfile import read_json


@dataclass
class List(Shared):
    """List the runs under --runs: when they began, whether they finished, and what came out."""

    runs: Path = Path("results/runs")
    """Folder of the runs."""

    def __call__(self) -> None:
        rows, data = [], []
        for config in sorted(self.runs.rglob("config.json")):
            path = config.parent
            done = path / "result.json"
            try:
                metadata = read_json(path / "metadata.json")
                metrics = read_json(done)["metrics"] if done.exists() else {}
            except InputError as error:
                warnings.warn(f"left out: {error}", Notice, stacklevel=2)
                continue
            name = str(path.relative_to(self.runs))
            shown = ", ".join(f"{tag} {value:.4g}" for tag, value in list(metrics.items())[:2] if value is not None)
            rows.append([name, metadata["started"][:16], "finished" if done.exists() else "open", shown])
            data.append({"name": name, "started": metadata["started"], "finished": done.exists(), "metrics": metrics})
        self.show(f"Runs under {self.runs}", ["run", "started", "state", "result"], rows)
        self.done({"runs": data}, self.runs)


@dataclass
class Report(Shared):
    """Write one HTML page about the finished runs of a folder."""

    folder: tyro.conf.Positional[Path] = Path("results/runs")
    """Folder with runs; the page is FOLDER/report.html."""
    title: str = "Results"
    """Heading of the page."""

    def __call__(self) -> None:
        from lab import report

        page = report.write(self.folder, self.title)
        self.done({"runs": len(report.find(self.folder))}, page)


@dataclass
class Board(Shared):
    """Show the runs in TensorBoard, or rebuild TensorBoard's files from the runs' records."""

    runs: Path = Path("results/runs")
    """Folder of the runs."""

    rebuild: tyro.conf.FlagCreatePairsOff[bool] = False
    """Write every run's event files anew from its metrics.jsonl, and stop."""
    port: int = 6006
    """Port that TensorBoard listens on, on this machine only."""

    def __call__(self) -> None:
        records = sorted(self.runs.rglob("metrics.jsonl"))
        if not records:
            raise InputError(f"no run under {self.runs}; run something first, or name another folder with --runs")
        if self.rebuild:
            from lab import board
            from lab.console import bar

            with bar("rebuild", len(records), "runs") as advance:
                for path in records:
                    try:
                        board.rebuild(path.parent)
                    except InputError as error:
                        warnings.warn(f"left out: {error}", Notice, stacklevel=2)
                    advance()
            self.done({"rebuilt": len(records)}, self.runs)
            return
        import subprocess
        import sys

        command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(self.runs), "--port", str(self.port)]
        self.done({"command": " ".join(command)}, f"http://localhost:{self.port}")
        raise SystemExit(subprocess.run(command).returncode)
