"""`lab benchmark forecasters --protocol ltsf`: every series, horizon and seed as a task; a task done is not done again.

Tasks run side by side in processes of one torch thread each, so that cores are never asked for twice. Where there are
more cores than tasks, the members of a task do.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

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
    """One row for each series, horizon, seed and model; tasks that `run` already has with these models are kept.

    Columns: dataset, horizon, model, lookback, seed, validation_mse, mse, mae, seconds, device.
    """
    loaded = {each: ltsf.load(each, shares) for each in data}
    series = {each.name: path for path, each in loaded.items()}
    rows = {each.name: len(each.values) for each in loaded.values()}
    folder = run.path / "tasks"
    folder.mkdir(exist_ok=True)
    tasks = [(name, horizon, seed) for seed in range(seeds) for name in series for horizon in horizons]
    files = {task: folder / "{}-{}-{}.json".format(*task) for task in tasks}
    todo = [task for task in tasks if not _done(files[task], models)]
    todo.sort(key=lambda task: (task[2], -rows[task[0]], -task[1]))  # the longest of a seed first: no late straggler
    kind = device.choose(where).type
    cores = 1 if kind == "cuda" else device.cores()
    workers = min(cores, max(1, len(todo)))
    with (
        console.bar("LTSF", len(tasks), "tasks", start=len(tasks) - len(todo)) as advance,
        _pool(workers) as pool,
    ):
        pending = [
            pool.submit(
                task_rows, series[name], shares, horizon, seed, models, where, file, lookbacks, cores // workers
            )
            for name, horizon, seed, file in ((*task, files[task]) for task in todo)
        ]
        try:
            for done in as_completed(pending):
                advance(note=done.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return pd.DataFrame([row for task in tasks for row in read_json(files[task])["rows"]])


def _done(path: Path, models: Sequence[str]) -> bool:
    return path.exists() and set(models) <= set(read_json(path)["models"])


def _one_thread() -> None:
    os.nice(5)  # whoever sits at this machine comes first
    torch.set_num_threads(1)


def _pool(workers: int) -> ProcessPoolExecutor:
    context = multiprocessing.get_context("spawn")  # forking a process that has torch threads can hang
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread)


def task_rows(
    data: str, shares: ltsf.Share, horizon: int, seed: int, models: tuple[str, ...], where: str, path: Path,
    lookbacks: tuple[int, ...], processes: int = 1,
) -> str:  # fmt: skip
    """Fit and score one task, its members in so many processes; write its rows to `path`; returns its name."""
    with device.threads(1):
        series = ltsf.load(data, shares)
        chosen = device.choose(where)
        task = families.Task(series, horizon, seed, chosen)
        together = _side_by_side(processes, task, data, shares, where, path.parent) if processes > 1 else nullcontext()
        with together as fits:
            scores = list(families.scores(task, models, lookbacks, fits))
        base = {"dataset": series.name, "horizon": horizon, "seed": seed, "device": chosen.type}
        rows = [base | score._asdict() for score in scores]
    order = ["dataset", "horizon", "model", "lookback", "seed", "validation_mse", "mse", "mae", "seconds", "device"]
    write_json(path, {"models": list(models), "rows": [{key: row[key] for key in order} for row in rows]})
    return f"{series.name} {horizon}, seed {seed}"


@contextmanager
def _side_by_side(
    processes: int, task: families.Task, data: str, shares: ltsf.Share, where: str, folder: Path
) -> Iterator[Callable[[list[families.Wanted]], Iterator[families.Member]]]:
    """What makes members, so many at once. Their forecasts come by way of `folder`: they may be gigabytes."""
    pool = _pool(processes)
    for _ in range(processes):
        pool.submit(os.getpid)  # a process takes seconds to begin; meanwhile the lookbacks are chosen
    scratch = TemporaryDirectory(dir=folder, ignore_cleanup_errors=True)

    def fits(wanted: list[families.Wanted]) -> Iterator[families.Member]:
        of = (data, shares, task.horizon, task.seed, where)
        jobs = {}
        for each in sorted(wanted, key=lambda each: -each.lookback):  # the longest first: no late straggler
            weights = task.skip(each.lookback).numpy() if each.skip else None
            path = Path(scratch.name) / "{}-{}-{}.pt".format(*each)
            jobs[each] = pool.submit(_member, of, each, weights, path), path
        for each in wanted:
            job, path = jobs[each]
            seconds = job.result()
            validation, test = torch.load(path, mmap=True)
            yield families.Member((each.lookback,), each.skip, validation, test, seconds)

    try:
        yield fits
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        scratch.cleanup()


def _member(
    of: tuple[str, ltsf.Share, int, int, str], wanted: families.Wanted, weights: np.ndarray | None, path: Path
) -> float:
    """Fit one member and leave its forecasts in `path`; returns its seconds.

    of: data, shares, horizon, seed, device.
    """
    data, shares, horizon, seed, where = of
    with device.threads(1):
        task = families.Task(ltsf.load(data, shares), horizon, seed, device.choose(where))
        member = task.fit(wanted, None if weights is None else torch.from_numpy(weights))
    torch.save((member.validation, member.test), path)
    return member.seconds


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a model, least error first: means over tasks and seeds, and how far from the ridge, in percent.

    Columns: model, mse, mae, "seed deviation" (of the mean MSE, over seeds), "against ridge, %", seconds (a task).
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
            "against ridge, %": 100 * (each["mse"].mean() / floor - 1), "seconds": each["seconds"].mean(),
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
