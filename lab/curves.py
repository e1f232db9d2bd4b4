"""One tag of several runs, read from their records, and grouped by what the runs have in common.

A *group* is what differs in nothing but the seed and the task; a *task* is an environment, or a forecaster's series.
"""

import difflib
import json
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lab import record
from lab.board import RECORD
from lab.errors import InputError, Notice, unknown
from lab.jsonfile import read_json
from lab.record import Entry
from lab.run import CONFIG, METADATA, RESULT, slug


@dataclass(frozen=True)
class Curve:
    """One tag of one run: values (points,) at rising steps (points,)."""

    path: Path
    config: dict[str, Any]
    command: str
    steps: np.ndarray
    values: np.ndarray
    clock: np.ndarray
    """(points,) seconds of wall clock since the run began, without the pauses before it was resumed."""
    seconds: float
    """The same at the record's end."""
    finished: bool

    @property
    def task(self) -> str:
        return str(self.config.get("env") or self.config.get("series") or "")

    @cached_property
    def algorithm(self) -> str:
        """As the config says, or the run's command (lab train dqn), or its name (dqn-pong-v5); else empty.

        The name comes last: it is anybody's choice, and seed0-pong-v5 and seed1-pong-v5 are no two algorithms.
        """
        if named := self.config.get("algorithm"):
            return str(named)
        if trained := re.search(r"\btrain ([\w-]+)", self.command):
            return trained[1]
        name, task = self.path.resolve().name.lower(), slug(self.task.removeprefix("ALE/").lower())
        before, found, _ = name.partition(f"-{task}")
        return before if found else ""

    @property
    def final(self) -> float:
        return float(self.values[-1])

    def smoothed(self, points: int) -> "Curve":
        """Each value the mean of itself and the `points` - 1 before it; what has not so many before it is left out.

        Raises InputError for fewer values than that.
        """
        if not 1 <= points <= len(self.values):
            raise InputError(
                f"run {self.path} has {len(self.values)} points, so that a mean of {points} cannot be had; "
                f"give from 1 to {len(self.values)}, or leave the run out"
            )
        means = np.convolve(self.values, np.full(points, 1 / points), "valid")
        return replace(self, steps=self.steps[points - 1 :], values=means, clock=self.clock[points - 1 :])

    def reaches(self, level: float, falling: bool = False) -> tuple[float, float]:
        """Step and clock of the first value that is at least (falling: at most) `level`; infinite if none is."""
        there = np.flatnonzero(self.values <= level if falling else self.values >= level)
        return (float(self.steps[there[0]]), float(self.clock[there[0]])) if len(there) else (np.inf, np.inf)

    def setting(self, field: str) -> str:
        """A setting as text; unset where an older run did not have it yet."""
        if field == "algorithm":
            return self.algorithm
        value = self.config.get(field, "unset")
        return value if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else json.dumps(value)


# --- reading --------------------------------------------------------------------------------------------------------


def find(paths: Sequence[str | Path], tag: str, mean_of: int = 1) -> list[Curve]:
    """The curves of `tag` in the runs given, each value a mean of so many; a folder that is no run stands for the runs
    below it.

    Raises InputError if a run that was named itself has no such tag or too few values, or if all are so. Of the runs
    below a folder, those and damaged ones are left out with a Notice, and so are copies: of the same settings and seed.
    """
    curves: dict[Path, Curve] = {}
    without: list[str] = []
    refused: InputError | None = None
    tags: set[str] = set()
    for path, named in _expand(list(map(Path, paths))):
        try:
            entries = record.read(path / RECORD)
            found = _curve(path, entries, tag)
            if found:
                curves[path.resolve()] = found.smoothed(mean_of)
        except InputError as error:
            if named:
                raise
            warnings.warn(f"left out: {error}", Notice, stacklevel=2)
            refused = error
            continue
        if not found:
            if named:
                raise InputError(f"run {path} has no {tag}; {_offered(tag, _tags(entries))}")
            tags |= _tags(entries)
            without.append(path.name)
    if refused and not curves and not without:
        raise refused
    if not curves:
        where = ", ".join(map(str, paths))
        raise InputError(f"no run under {where} has {tag}; {_offered(tag, tags)}")
    if without:
        warnings.warn(f"left out, without {tag}: {_listed(without, most=5)}", Notice, stacklevel=2)
    return _distinct(list(curves.values()))


def _expand(paths: Sequence[Path]) -> Iterable[tuple[Path, bool]]:
    """The folders of runs, and whether each was named itself."""
    for path in paths:
        if (path / CONFIG).exists():
            yield path, True
        elif below := sorted(config.parent for config in path.rglob(CONFIG)):
            yield from ((run, False) for run in below)
        else:
            raise InputError(f"{path} is not the folder of a run, nor of several; lab list shows those there are")


def _curve(path: Path, entries: list[Entry], tag: str) -> Curve | None:
    """A scalar's curve; failing that, the final figure of this name at the run's last step; None without either."""
    config, command = read_json(path / CONFIG), read_json(path / METADATA, "command")["command"]
    if not isinstance(command, str):
        raise InputError(f"{path / METADATA} has a command that is no text; the run is damaged, delete or redo it")
    timed = list(zip(entries, record.clock(entries), strict=True))
    scalars = [(entry, clock) for entry, clock in timed if entry["kind"] == "scalar"]
    points = [(entry["step"], entry["value"], clock) for entry, clock in scalars if entry["tag"] == tag]
    if not points:
        last = max((entry["step"] for entry, _ in scalars), default=0)
        points = [(last, e["metrics"][tag], clock) for e, clock in timed if e["kind"] == "end" and tag in e["metrics"]]
    if not points:
        return None
    finite = np.array([point for point in points if np.isfinite(point[1])], float).reshape(-1, 3)
    if len(finite) < len(points):
        lost = f"{len(points) - len(finite)} of {len(points)} values of {tag} are not finite"
        if not len(finite):
            raise InputError(f"run {path}: {lost}; choose another tag or leave the run out")
        warnings.warn(f"{path}: {lost}, and left out", Notice, stacklevel=3)
    steps, at = np.unique(finite[:, 0], return_inverse=True)
    values = np.bincount(at, weights=finite[:, 1]) / np.bincount(at)  # episodes that end at one step: their mean
    clock = np.zeros(len(steps))
    np.maximum.at(clock, at, finite[:, 2])
    finished = (path / RESULT).exists()
    return Curve(path, config, command, steps, values, clock, float(timed[-1][1]), finished)


def _tags(entries: list[Entry]) -> set[str]:
    final = {tag for entry in entries if entry["kind"] == "end" for tag in entry["metrics"]}
    return final | {entry["tag"] for entry in entries if entry["kind"] == "scalar"}


def _offered(tag: str, tags: set[str]) -> str:
    near = difflib.get_close_matches(tag, sorted(tags), n=3, cutoff=0.7)
    return (f"did you mean {', '.join(near)}? " if near else "") + f"--tag takes one of: {_listed(tags)}"


def _distinct(curves: list[Curve]) -> list[Curve]:
    """The curves without copies, for the same seed twice is no second seed: of two, the finished, longer, later one."""
    kept: dict[Any, Curve] = {}
    for curve in curves:
        key: Any = (curve.algorithm, json.dumps(curve.config)) if "seed" in curve.config else curve.path
        if key in kept:
            least, most = sorted((kept[key], curve), key=lambda each: (each.finished, each.steps[-1]))
            warnings.warn(f"left out: {least.path}, of the same settings and seed as {most.path}", Notice, stacklevel=3)
        kept[key] = most if key in kept else curve
    return list(kept.values())


def _listed(names: Iterable[str], most: int = 12) -> str:
    ordered = sorted(set(names))
    more = f", and {len(ordered) - most} more" if len(ordered) > most else ""
    return (", ".join(ordered[:most]) or "none") + more


# --- grouping -------------------------------------------------------------------------------------------------------


def check_protocols(curves: Sequence[Curve]) -> None:
    """Raises InputError if Atari runs follow different protocols: their scores do not mean the same."""
    protocols = {curve.setting("protocol"): curve.path for curve in curves if "ALE/" in curve.task}
    if len(protocols) > 1:
        (one, first), (other, second) = list(protocols.items())[:2]
        raise InputError(
            f"Atari protocols do not mix in one table: {first} is {one}, {second} is {other}; compare runs of one"
        )


def group(curves: Sequence[Curve], by: Sequence[str] = ()) -> dict[str, list[Curve]]:
    """The curves by label, in order of appearance.

    by: settings (or algorithm, env) that make the label; what else differs within a group is said in a Notice. Without,
    the label is the algorithm and the settings that `differing` finds: a switch that is on by its name, another setting
    where it is not what the first run has; of many words the first few and how many follow, if these tell the groups
    apart. Raises InputError for a setting that no run has.
    """
    known = {"algorithm", *(field for curve in curves for field in curve.config)}
    if strange := [field for field in by if field not in known]:
        raise unknown("setting", strange[0], known)
    fields = differing(curves)
    has = {(curve.algorithm, field) for curve in curves for field in curve.config}
    groups: dict[tuple[str, ...], list[Curve]] = {}
    for curve in curves:
        if by:
            words = [_word(field, curve.setting(field)) for field in by]
        else:
            first = {field: curves[0].setting(field) for field in fields} if len(fields) > 1 else {}
            plain = {field: value for field, value in first.items() if value != "unset"}  # which is not "false"
            own = [field for field in fields if (curve.algorithm, field) in has]  # another algorithm's goes unsaid
            settings = [_word(field, curve.setting(field), "false", plain.get(field)) for field in own]
            words = [curve.algorithm, *settings]
        groups.setdefault(tuple(filter(None, words)), []).append(curve)
    mixed = [field for field in fields if any(field in differing(members) for members in groups.values())]
    if mixed:
        warnings.warn(f"groups by {', '.join(by)} mix runs that differ in {_listed(mixed)}", Notice, stacklevel=2)
    short = {words: " ".join(words[:4]) + (f" +{len(words) - 4}" if len(words) > 4 else "") for words in groups}
    told_apart = len(set(short.values())) == len(short)
    return {(short[words] if told_apart else " ".join(words)) or "runs": members for words, members in groups.items()}


def differing(curves: Sequence[Curve]) -> list[str]:
    """The settings, but for the seed and the policy played, that differ between runs of one algorithm on one task.

    What differs only from task to task, or from algorithm to algorithm, is a part of these: their presets.
    """
    cells: dict[tuple[str, str], list[Curve]] = {}
    for curve in curves:
        cells.setdefault((curve.algorithm, curve.task), []).append(curve)
    fields = dict.fromkeys(field for curve in curves for field in curve.config)
    return [
        field for field in fields if field not in ("seed", "algorithm", "policy")
        and any(len({curve.setting(field) for curve in cell}) > 1 for cell in cells.values())
    ]  # fmt: skip


def _word(field: str, value: str, *silent: str | None) -> str:
    """A setting as a label's word; nothing for a value that goes without saying."""
    if value in silent:
        return ""
    return field if value == "true" else value if field in ("algorithm", "env", "series") else f"{field}={value}"
