"""`lab benchmark forecasters --protocol ltsf`: every series, horizon and seed as a task; a task done is not done again.

Tasks run side by side in processes of one torch thread each, so that cores are never asked for twice. Where there are
more cores than tasks, these run one after the other and their members side by side.
"""

import multiprocessing
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from forecasting import families, ltsf
from lab import console, device
from lab.errors import InputError, unknown
from lab.jsonfile import read_json, write_json
from lab.run import Run

PUBLISHED = (
    ("DUET", 0.3568, "Qiu et al., KDD 2025, table 3"),
    ("PDF", 0.3652, "Dai et al., ICLR 2024; as in xPatch, table 15"),
    ("PatchTST/64", 0.3655, "Nie et al., ICLR 2023, table 3"),
    ("SegRNN", 0.3670, "Lin et al., IoT-J 2026, table II"),
    ("xPatch (CNN)", 0.3682, "Stitsyuk and Choi, AAAI 2025, table 15"),
    ("PatchTST, searched again", 0.3729, "xPatch, table 15"),
    ("iTransformer", 0.3899, "Liu et al., ICLR 2024; as in xPatch, table 15"),
    ("DLinear", 0.4037, "Zeng et al., AAAI 2023; as in PatchTST, table 3"),
    ("GRU, step by step", 1.6282, "SegRNN, table II"),
)
"""Model, mean MSE over the twelve tasks of ETTh1, ETTh2 and ETTm1 (horizons 96, 192, 336, 720), source."""

MODELS = tuple(families.FAMILIES)
DEFAULT = (*families.MAIN, "dlinear", "nlinear")


def check(models: Sequence[str], horizons: Sequence[int], seeds: int, lookbacks: Sequence[int]) -> None:
    """Raises InputError for a model there is none of, a horizon, lookback or number of seeds below 1."""
    for name in models:
        if name not in MODELS:
            raise unknown("model", name, MODELS, "(ridge and seasonal-naive always join)")
    if not horizons or min(horizons) < 1:
        raise InputError(f"horizons {tuple(horizons)} forecast nothing; give 96 192 336 720, say")
    if min(lookbacks) < 1:
        raise InputError(f"lookbacks {tuple(lookbacks)} see nothing; give 336 504 720 1440 2160, say")
    if seeds < 1:
        raise InputError(f"seeds is {seeds}; give at least 1")


def measure(
    data: Sequence[str], shares: ltsf.Share, horizons: Sequence[int], seeds: int, models: tuple[str, ...], run: Run,
    where: str, lookbacks: tuple[int, ...],
) -> pd.DataFrame:  # fmt: skip
    """One row for each series, horizon, seed and model; tasks that `run` already has with these models are kept, and
    what it has of others too.

    Columns: dataset, horizon, model, lookback, seed, validation_mse, mse, mae, seconds, device.
    """
    loaded = {each: ltsf.load(each, shares) for each in data}
    series: dict[str, str] = {}
    for path, each in loaded.items():
        if each.name in series:
            raise InputError(f"{series[each.name]} and {path} are both called {each.name!r}; rename one")
        series[each.name] = path
    values = {each.name: each.fingerprint for each in loaded.values()}
    rows = {each.name: len(each.values) for each in loaded.values()}
    folder = run.path / "tasks"
    folder.mkdir(exist_ok=True)
    tasks = [(name, horizon, seed) for seed in range(seeds) for name in series for horizon in horizons]
    files = {task: folder / "{}-{}-{}.json".format(*task) for task in tasks}
    todo = [task for task in tasks if not _done(files[task], models, values[task[0]])]
    todo.sort(key=lambda task: (task[2], -rows[task[0]], -task[1]))  # the longest of a seed first: no late straggler
    cores = 1 if device.choose(where).type == "cuda" else device.cores()
    with (
        console.bar("LTSF", len(tasks), "tasks", start=len(tasks) - len(todo)) as advance,
        _pool(cores) as pool,
    ):
        asked = [
            (_Of(series[name], shares, horizon, seed, where), files[name, horizon, seed])
            for name, horizon, seed in todo
        ]
        try:
            if len(todo) < cores:
                for of, file in asked:
                    task = families.Task(loaded[of.data], of.horizon, of.seed, device.choose(where))
                    with device.threads(1), _side_by_side(pool, of, task, cores, folder / "forecasts") as fits:
                        name = task_rows(task, models, file, lookbacks, fits, cores)
                        show(file, run)
                        advance(note=name)
            else:
                pending = {pool.submit(_whole_task, of, models, file, lookbacks): file for of, file in asked}
                for done in as_completed(pending):
                    name = done.result()
                    show(pending[done], run)
                    advance(note=name)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return pd.DataFrame([row for task in tasks for row in read_json(files[task])["rows"]])


def _done(path: Path, models: Sequence[str], values: str) -> bool:
    """Whether the file holds these models, measured on a series of that fingerprint."""
    task = _before(path, values)
    has = {row["model"] for row in task.get("rows", [])}
    # the mean of the three main families needs all of them measured in one go
    return (
        bool(task)
        and set(models) <= set(task["models"])
        and ("combined" in has or not set(families.MAIN) <= set(models))
    )


def _before(path: Path, values: str) -> dict[str, Any]:
    """What was measured in the file `path`, if it was of a series of that fingerprint; else empty."""
    task = read_json(path) if path.exists() else {}
    return task if task.get("values") == values else {}


def _one_thread() -> None:
    os.nice(5)  # whoever sits at this machine comes first
    torch.set_num_threads(1)


def _pool(workers: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")  # forking a process that has torch threads can hang
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread)


class _Of(NamedTuple):
    """What a task is of, for a process that has to make it."""

    data: str
    shares: ltsf.Share
    horizon: int
    seed: int
    device: str

    def task(self) -> families.Task:
        return families.Task(ltsf.load(self.data, self.shares), self.horizon, self.seed, device.choose(self.device))


_kept = lru_cache(maxsize=1)(_Of.task)  # a process loads a series once for all members that it is to make


def _ready(of: _Of) -> None:
    _kept(of)


def _whole_task(of: _Of, models: tuple[str, ...], path: Path, lookbacks: tuple[int, ...]) -> str:
    with device.threads(1):
        return task_rows(of.task(), models, path, lookbacks)


def task_rows(
    task: families.Task, models: tuple[str, ...], path: Path, lookbacks: tuple[int, ...],
    fits: families.Fits | None = None, threads: int = 1,
) -> str:  # fmt: skip
    """Fit and score one task and write its rows to `path`; returns its name. fits, threads: as `families.scores`."""
    base = {"dataset": task.series.name, "horizon": task.horizon, "seed": task.seed, "device": task.device.type}
    rows = [base | score._asdict() for score in families.scores(task, models, lookbacks, fits, threads)]
    order = ["dataset", "horizon", "model", "lookback", "seed", "validation_mse", "mse", "mae", "seconds", "device"]
    past, truth = task.example()
    before = _before(path, task.series.fingerprint)
    anew = {row["model"] for row in rows}
    rows = [row for row in before.get("rows", []) if row["model"] not in anew] + rows
    write_json(path, {
        "models": sorted({*before.get("models", []), *models}), "values": task.series.fingerprint,
        "rows": [{key: row[key] for key in order} for row in rows], "curves": before.get("curves", {}) | task.curves,
        "past": past, "truth": truth, "shown": before.get("shown", {}) | task.shown,
    })  # fmt: skip
    return f"{task.series.name} {task.horizon}, seed {task.seed}"


def show(path: Path, run: Run) -> None:
    """What a task in the file `path` wrote, as a run of its own beside it: TensorBoard then has a line of HParams for
    each task, with its errors, the losses and learning rates of its members, and what they forecast."""
    from lab import plots_ltsf

    task = read_json(path)
    of = {key: task["rows"][0][key] for key in ("dataset", "horizon", "seed")}
    errors = {f"mse/{row['model']}".replace(" ", "_"): row["mse"] for row in task["rows"] if "," not in row["model"]}
    with Run.open(path.parent, path.stem, of, resume=True, metrics=list(errors)) as board:
        for member, epochs in task["curves"].items():
            for epoch, entry in enumerate(epochs):
                board.scalars({f"{name}/{member}": value for name, value in entry.items()}, epoch + 1)
        title = f"{of['dataset']}, {of['horizon']} steps ahead, seed {of['seed']}: a window of the validation part"
        figure = plots_ltsf.forecasts(task["past"], task["truth"], task["shown"], title)
        board.figure("forecast/validation", figure)
        board.finish(errors)


@contextmanager
def _side_by_side(
    pool: ProcessPoolExecutor, of: _Of, task: families.Task, processes: int, folder: Path
) -> Iterator[families.Fits]:
    """What makes members, so many at once. Their forecasts come by way of `folder`: they may be gigabytes."""
    for _ in range(processes):
        pool.submit(_ready, of)  # a process takes seconds to begin; meanwhile the lookbacks are chosen
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    folder.mkdir()

    def fits(wanted: list[families.Wanted]) -> Iterator[families.Member]:
        jobs = {}
        order = list(reversed(wanted))  # the CNN, quickest of the main families, comes last among equals
        order.sort(key=_expected, reverse=True)
        for each in order:
            weights = task.skip(each.lookback).numpy() if each.skip else None
            path = folder / "{}-{}-{}.pt".format(*each)
            jobs[each] = pool.submit(_member, of, each, weights, path), path
        for each in wanted:
            job, path = jobs[each]
            seconds, history = job.result()
            validation, test = torch.load(path, mmap=True)
            path.unlink()  # the mapping keeps what it needs
            yield families.Member((each.lookback,), each.skip, validation, test, seconds, history)

    try:
        yield fits
    finally:
        shutil.rmtree(folder)


def _expected(wanted: families.Wanted) -> tuple[bool, int]:
    """Orders members by how long they take; begun longest first, none is left over at the end.

    With the skip, which is hard to better, training often stops early.
    """
    return not wanted.skip, wanted.lookback


def _member(
    of: _Of, wanted: families.Wanted, weights: np.ndarray | None, path: Path
) -> tuple[float, Sequence[dict[str, float]]]:  # fmt: skip
    """Fit one member and leave its forecasts in `path`; returns its seconds and history."""
    with device.threads(1):
        member = _kept(of).fit(wanted, None if weights is None else torch.from_numpy(weights))
    torch.save((member.validation, member.test), path)
    return member.seconds, member.history


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a model, least error first: means over tasks and seeds, and how far from the ridge, in percent.

    Columns: model, mse, mae, "seed deviation" (of the mean MSE, over seeds), "against ridge, %" (nan where the ridge
    has no error: a test part that does not change), seconds (a task).
    """
    tasks = rows.groupby(["dataset", "horizon", "seed"]).ngroups
    whole = rows.groupby("model").filter(lambda own: len(own.drop_duplicates(["dataset", "horizon", "seed"])) == tasks)
    whole = whole[~whole["model"].str.startswith("ridge, ")]
    floor = rows.loc[rows["model"] == "ridge", "mse"].mean()
    table: list[dict[str, Any]] = []
    for model, own in whole.groupby("model"):
        each = own.groupby(["seed", "dataset", "horizon"])[["mse", "mae", "seconds"]].mean()
        by_seed = each["mse"].groupby("seed").mean()
        table.append({
            "model": model, "mse": each["mse"].mean(), "mae": each["mae"].mean(),
            "seed deviation": by_seed.std() if len(by_seed) > 1 else float("nan"),
            "against ridge, %": 100 * (each["mse"].mean() / floor - 1) if floor else float("nan"),
            "seconds": each["seconds"].mean(),
        })  # fmt: skip
    return pd.DataFrame(table).sort_values("mse", ignore_index=True)


def is_published_set(rows: pd.DataFrame) -> bool:
    """Whether these are the twelve tasks that PUBLISHED is about."""
    found = set(zip(rows["dataset"], rows["horizon"], strict=True))
    return found == {(name, horizon) for name in ltsf.ETT for horizon in ltsf.HORIZONS}


def report(rows: pd.DataFrame, table: pd.DataFrame, run: Run) -> None:
    """Write ltsf.csv (all rows), summary.csv, two figures and the run's final figures."""
    from lab import plots_ltsf

    run.table("ltsf", rows)
    run.table("summary", table)
    shown = ["combined", *families.FAMILIES, "ridge"]
    run.figure("forecast/ltsf_against_ridge", plots_ltsf.against_ridge(rows, shown))
    published = PUBLISHED if is_published_set(rows) else ()
    run.figure("forecast/ltsf_mean", plots_ltsf.means(table, shown, published))
    scores = {f"forecast/mse/{m}".replace(" ", "_"): e for m, e in zip(table["model"], table["mse"], strict=True)
              if "," not in m}  # fmt: skip
    run.finish(scores, tasks=int(rows.groupby(["dataset", "horizon", "seed"]).ngroups))
