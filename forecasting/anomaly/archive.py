"""Labelled series to measure detectors on: the UCR Anomaly Archive, in a folder, and the Numenta Anomaly Benchmark."""

import gzip
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from forecasting.anomaly.metrics import Interval
from lab.errors import InputError

PROBATION = 0.15  # of a NAB series, up to 5,000 samples of it, is for training (Lavin and Ahmad 2015, section II)
_ORIGINAL = re.compile(r"(?P<name>.+)_(?P<train_end>\d+)_(?P<start>\d+)_(?P<end>\d+)\.txt(\.gz)?")
_COLUMNS = ("name", "train_end", "anomaly_start0", "anomaly_end0_incl")


@dataclass(frozen=True)
class Labelled:
    """One series of a benchmark; positions count samples from 0, intervals are [start, end)."""

    name: str
    train_end: int
    """The part before it holds no anomaly."""
    anomalies: tuple[Interval, ...]
    half: str
    """"chosen" if settings may be chosen on this series, "held out" if not."""
    read: Callable[[], np.ndarray]
    """Reads the values, (n,). Raises InputError for a file that cannot be used."""
    slack: bool = True
    """Whether an answer near the anomaly counts (UCR); NAB's windows are wide already."""


def cases(which: str, folder: Path | None, longest: int) -> list[Labelled]:
    """The series of "ucr" (from `folder` or LAB_DATA) or "nab" that have at most `longest` samples."""
    found = nab() if which == "nab" else ucr(folder)
    lengths = [len(case.read()) for case in found]
    for case, length in zip(found, lengths, strict=True):
        if not all(0 < case.train_end < length and start < end <= length for start, end in case.anomalies):
            raise InputError(
                f"series {case.name} has {length} samples, a training part to {case.train_end} and an anomaly at "
                f"{case.anomalies}; these must lie within it, mend its name or its line in INDEX.csv"
            )
    kept = [case for case, length in zip(found, lengths, strict=True) if length <= longest]
    if not kept:
        raise InputError(f"no series has at most {longest} samples; the shortest has {min(lengths)}, give --longest")
    return kept


def ucr(folder: Path | None = None) -> list[Labelled]:
    """The series of the UCR Anomaly Archive (Wu and Keogh 2021) in `folder`, by name, which begins with their number.

    The folder has an INDEX.csv (columns name, train_end, anomaly_start0, anomaly_end0_incl; a CSV NAME*.csv[.gz] with a
    column `value` for each row) or the archive's own files NAME_trainend_start_end.txt. Every second series, from the
    first, is one that settings may be chosen on. Raises InputError for a folder with neither.
    """
    if folder is None:
        if "LAB_DATA" not in os.environ:
            raise InputError(
                "the UCR Anomaly Archive has to be fetched by hand; name its folder with --data, or one that holds "
                "ucr_anomaly/ with LAB_DATA"
            )
        folder = Path(os.environ["LAB_DATA"]) / "ucr_anomaly"
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; give the one that holds the UCR series")
    found = _indexed(folder) if (folder / "INDEX.csv").exists() else _original(folder)
    if not found:
        raise InputError(
            f"{folder} has no INDEX.csv with rows and no files NAME_trainend_start_end.txt; give another folder"
        )
    rows = sorted(found)
    return [
        Labelled(name, cut, (anomaly,), "held out" if number % 2 else "chosen", read)
        for number, (name, cut, anomaly, read) in enumerate(rows)
    ]


_Row = tuple[str, int, Interval, Callable[[], np.ndarray]]


def _indexed(folder: Path) -> list[_Row]:
    try:
        index = pd.read_csv(folder / "INDEX.csv")
    except ValueError as error:
        raise _unreadable(folder / "INDEX.csv", error) from None
    if lacking := [column for column in _COLUMNS if column not in index]:
        raise InputError(f"{folder / 'INDEX.csv'} has no column {lacking[0]}; it needs {', '.join(_COLUMNS)}")
    rows = []
    for line, row in enumerate(index.itertuples(index=False), 2):
        files = sorted(folder.glob(f"{row.name}*.csv*"))
        if not files:
            raise InputError(f"{folder / 'INDEX.csv'}, line {line}: there is no file {row.name}*.csv[.gz] beside it")
        try:
            cut, first, last = (int(each) for each in (row.train_end, row.anomaly_start0, row.anomaly_end0_incl))
        except ValueError as error:
            raise InputError(f"{folder / 'INDEX.csv'}, line {line}: {error}; write whole numbers there") from None
        rows.append((str(row.name), cut, (first, last + 1), _column(files[0])))
    return rows


def _original(folder: Path) -> list[_Row]:
    rows = []
    for path in folder.iterdir():
        if found := _ORIGINAL.fullmatch(path.name):
            cut, start, end = (int(found[key]) for key in ("train_end", "start", "end"))
            rows.append((found["name"], cut, (start, max(end, start + 1)), _numbers(path)))
    return rows


def _column(path: Path) -> Callable[[], np.ndarray]:
    """Reads the column `value` of a CSV."""

    def read() -> np.ndarray:
        try:
            return _finite(pd.read_csv(path)["value"].to_numpy(float), path)
        except (KeyError, ValueError, OSError, EOFError) as error:
            raise _unreadable(path, error) from None

    return read


def _numbers(path: Path) -> Callable[[], np.ndarray]:
    """Reads a text of numbers, whether one a line or (as some of the archive's files are) all on one."""

    def read() -> np.ndarray:
        try:
            with gzip.open(path, "rt") if path.suffix == ".gz" else open(path) as stream:
                return _finite(np.array(stream.read().split(), float), path)
        except (ValueError, OSError, EOFError) as error:
            raise _unreadable(path, error) from None

    return read


def _finite(values: np.ndarray, path: Path) -> np.ndarray:
    if len(values) == 0 or not np.isfinite(values).all():
        raise InputError(f"{path} is empty or has a missing value; leave it out or mend it")
    return values


def _unreadable(path: Path, error: Exception) -> InputError:
    return error if isinstance(error, InputError) else InputError(f"{path} cannot be read ({error}); replace it")


def nab() -> list[Labelled]:
    """The labelled series of the Numenta Anomaly Benchmark, by path; their anomalies are its label windows."""
    from forecasting import nab as files
    from lab.data import locate

    windows = json.loads(_text(locate(files.WINDOWS)))
    found = []
    for stem, file in sorted(files.FILES.items(), key=lambda item: item[1].path):
        marked = windows[file.path.removeprefix("nab/")]
        if not marked:
            continue  # without an anomaly there is nothing to find
        path = locate(file)
        times = pd.to_datetime(pd.read_csv(path)["timestamp"])
        # a window names its first and last sample
        spans = tuple(
            (int(times.searchsorted(pd.Timestamp(first))), int(times.searchsorted(pd.Timestamp(last), side="right")))
            for first, last in marked
        )
        found.append(
            Labelled(stem, int(PROBATION * min(len(times), 5_000)), spans, "held out", _column(path), slack=False)
        )
    return found


def _text(path: Path) -> str:
    return gzip.open(path, "rt", encoding="utf-8").read() if path.suffix == ".gz" else path.read_text(encoding="utf-8")
