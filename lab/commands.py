"""The commands about the notebook itself: what runs there are, how they compare, the page of them, and TensorBoard."""

import math
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from lab import console
from lab.command import Command, Shared
from lab.digits import short
from lab.errors import InputError, Notice
from lab.jsonfile import read_json


@dataclass
class List(Shared):
    """List the runs under --runs: when they began, whether they finished, and what came out."""

    runs: Path = Path("results/runs")
    """Folder of the runs."""

    def __call__(self) -> None:
        from lab.run import CONFIG, METADATA, RESULT

        if not self.runs.is_dir():
            raise InputError(f"there is no folder {self.runs}; run something first, or name another with --runs")
        rows, data = [], []
        for config in sorted(self.runs.rglob(CONFIG)):
            path = config.parent
            done = path / RESULT
            try:
                started = str(read_json(path / METADATA, "started")["started"])
                saved = read_json(done, "metrics") if done.exists() else {"metrics": {}}
                metrics = saved["metrics"]
                figures = [(tag, float(value)) for tag, value in metrics.items() if value is not None]
            except InputError as error:
                warnings.warn(f"left out: {error}", Notice, stacklevel=2)
                continue
            except (AttributeError, TypeError, ValueError):
                warnings.warn(f"left out: {done} is damaged: its metrics are no numbers", Notice, stacklevel=2)
                continue
            name = str(path.relative_to(self.runs))
            claimed = f"verdict: {saved['verdict']}" if saved.get("verdict") else ""  # of a lecture's claim
            shown = claimed or ", ".join(f"{tag} {short(value)}" for tag, value in figures[:2])
            rows.append([name, started[:16], "finished" if done.exists() else "open", shown])
            data.append({"name": name, "started": started, "finished": done.exists(), "metrics": metrics})
        self.show(f"Runs under {self.runs}", ["run", "started", "state", "result"], rows)
        self.done({"runs": data}, self.runs)


@dataclass
class Compare(Command):
    """Compare runs: their mean curves with bands over seeds, and a table with 95 % intervals."""

    paths: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[RUN ...]")] = ()
    """Folders of runs, or of several runs each; none: all under --runs. The first one's group is the yardstick."""
    tag: str = "train/return_last_100"
    """The scalar to compare, or a final figure such as eval/return_mean."""
    by: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Group by this setting (or algorithm, env); may be given again. Else by all settings that differ, but the seed."""
    less_is_better: tyro.conf.FlagCreatePairsOff[bool] = False
    """As of a loss or an error."""
    reach: tyro.conf.UseAppendAction[tuple[float, ...]] = ()
    """Say when each run first comes to this value, in steps and in seconds; may be given again."""
    mean_of: int = 1
    """Take the mean of so many points for each: the last 20 episodes, with --tag train/episode_return --mean-of 20."""
    over: Literal["steps", "minutes"] = "steps"
    """Draw the curves over steps, or over wall clock."""

    def __call__(self) -> None:
        from lab.compare import Comparison
        from lab.curves import check_protocols, find, group
        from lab.run import Run, slug

        if wrong := [level for level in self.reach if not math.isfinite(level)]:
            raise InputError(f"--reach must be a finite number, not {wrong[0]}")
        if self.mean_of < 1:
            raise InputError(f"--mean-of must be at least 1, not {self.mean_of}")
        curves = find(self.paths or [self.runs], self.tag, self.mean_of)
        check_protocols(curves)
        groups = group(curves, self.by)
        comparison = Comparison(
            self.tag, groups, self.less_is_better, self.reach, self.over, self.mean_of, self.reference
        )
        for doubt in comparison.doubts():
            warnings.warn(doubt, Notice, stacklevel=2)
        table, metrics = comparison.table(), comparison.metrics()
        settings = {
            "runs": [str(curve.path) for curve in curves], "tag": self.tag, "by": self.by,
            "less_is_better": self.less_is_better, "reach": self.reach, "mean_of": self.mean_of, "over": self.over,
        }  # fmt: skip
        name = self.name or slug(f"compare-{self.tag}")
        with Run.open(self.runs, name, settings, metrics=list(metrics)) as run:
            run.table("compare", table)
            run.table("curves", comparison.values())
            if self.reach:
                run.table("reached", comparison.reached())
            run.figure("compare/curves", comparison.figure())
            run.text("note", f"{comparison.found()}. {comparison.note()}.")
            run.finish(metrics)
        self.show(f"{comparison.found()}\n{comparison.note()}", *comparison.printed())
        reached = {}
        if self.reach:
            reached["reached"] = comparison.reached().to_dict("records")
            self.show(
                "Steps and wall clock until a curve first comes to, median over runs", *comparison.printed_reached()
            )
        rows = table.to_dict("records")
        self.done({"tag": self.tag, "found": comparison.found(), "rows": rows, **reached}, run.path)

    def reference(self, env: str) -> tuple[float, float] | None:
        """Random and human score of a game, where they are known: lab.cli, which knows the agents, says."""
        return None


@dataclass
class Report(Shared):
    """Write one HTML page about the finished runs of a folder."""

    folder: tyro.conf.Positional[Path] = Path("results/runs")
    """Folder with runs; the page is FOLDER/report.html."""
    title: str = "Results"
    """Heading of the page."""
    lectures: Path | None = None
    """Where the page of lecture claims and its summary go, if there are runs of them; None: lectures beside FOLDER."""

    def __call__(self) -> None:
        from lab import report
        from lab.lectures import page as notebook

        runs = report.read(self.folder)
        written = report.write(self.folder, runs, self.title)
        beside = Path(os.path.normpath(self.folder / ".." / "lectures"))
        claims = notebook.write(self.folder, self.lectures or beside)
        if claims and not self.json:
            console.results.print(f"Lecture claims: {claims}", markup=False)
        self.done({"runs": len(runs), "lectures": str(claims or "")}, written)


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

            rebuilt, left_out = 0, []
            with bar("rebuild", len(records), "runs") as advance:
                for path in records:
                    try:
                        left_out += board.rebuild(path.parent)
                        rebuilt += 1
                    except InputError as error:
                        warnings.warn(f"left out: {error}", Notice, stacklevel=2)
                        left_out.append(path.parent)
                    advance()
            self.done({"rebuilt": rebuilt, "left_out": [str(path) for path in left_out]}, self.runs)
            return
        _check_port(self.port)
        import subprocess
        import sys

        command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(self.runs), "--port", str(self.port)]
        self.done({"command": " ".join(command)}, f"http://localhost:{self.port}")
        raise SystemExit(subprocess.run(command).returncode)


def _check_port(port: int) -> None:
    """Raises InputError for a port that nothing can listen on, or that something else listens on already."""
    import socket

    if not 1 <= port <= 65535:
        raise InputError(f"--port must lie in [1, 65535], not {port}")
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as TensorBoard does, just after another one ended
        try:
            trial.bind(("localhost", port))
        except OSError as error:
            raise InputError(f"port {port} cannot be had ({error.strerror}); give another --port") from None
