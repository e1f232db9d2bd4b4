"""`lab benchmark forecasters --protocol rolling`: the comparison of `lab forecast` over many series, and what it shows.

Each series and seed is a run of its own inside the benchmark's; one that is finished is not measured again.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from forecasting import benchmark, datasets, metro
from forecasting.intervals import pinball
from forecasting.measures import mae, mase
from forecasting.models import is_installed
from lab import console
from lab.errors import InputError
from lab.jsonfile import write_json
from lab.ranks import critical_difference, mean_ranks, wins
from lab.run import RESULT, Run, slug

LONGEST_ARIMA = 24  # steps in a season: an origin takes minutes beyond
QUANTILES = (("lower", 0.05), ("forecast", 0.5), ("upper", 0.95))  # of a backtest with intervals of 90 %


class Task(NamedTuple):
    """A series with the horizon that its users ask for, and what to do about its gaps."""

    series: str
    horizon: int
    fill: str = "none"
    known: Callable[[pd.Series, int], pd.DataFrame] | None = None
    """What is known ahead of it, if that is given to the models."""
    name: str = ""
    """In tables, where another task has the same series."""

    @property
    def label(self) -> str:
        return self.name or self.series


TASKS = (
    Task("sf-traffic", 24), Task("isp-traffic", 24), Task("web-traffic", 24), Task("nyc-taxi", 48),
    Task("website-visits", 7), Task("wikipedia-peyton-manning", 7, "interpolate"),
    Task("wikipedia-r", 7, "interpolate"), Task("airline", 12),
    Task(metro.NAME, 24, "interpolate"), Task(metro.NAME, 24, "interpolate", metro.known, f"{metro.NAME}, weather"),
)  # fmt: skip
MODELS = (*benchmark.DEFAULT, "theta", "ets")
PEERS = ("nhits", "patchtst")


def tasks(data: Sequence[str], horizon: int | None) -> list[Task]:
    """What to measure: `data` (or TASKS) at `horizon`, or at the series' own: one season, 24 steps without one."""
    found = []
    for name in data or dict.fromkeys(task.series for task in TASKS):
        same = [task for task in TASKS if task.series == name]
        if not same:
            series = datasets.load(name)
            cycle, values = datasets.season(series), series.to_numpy()
            if (values[cycle:] == values[:-cycle]).all():
                raise InputError(f"series {name!r} repeats itself exactly, so nothing can be scaled by; leave it out")
            same = [Task(name, cycle if cycle > 1 else 24)]
        found += [task._replace(horizon=horizon or task.horizon) for task in same]
    return found


def models(series: pd.Series, wanted: Sequence[str]) -> tuple[str, ...]:
    """`wanted`, or MODELS, what is installed of PEERS, and autoarima where it is quick."""
    if wanted:
        return tuple(wanted)
    names = [*MODELS, *(name for name in PEERS if is_installed(name))]
    if datasets.season(series) <= LONGEST_ARIMA and is_installed("autoarima"):
        names.append("autoarima")
    return tuple(names)


def measure(
    todo: Sequence[Task], seeds: int, wanted: Sequence[str], run: Run, device: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Leaderboards (series, horizon, seed, pinball, then as `benchmark.compare`), and errors a forecast.

    The second has series, seed, origin, model, and MASE and pinball of that origin alone.
    """
    boards, errors = [], []
    if wanted and not any(benchmark.MODELS[name].seeded for name in wanted):
        seeds = 1  # no seed changes anything
    with console.bar("rolling origin", len(todo) * seeds, "series") as advance:
        for task in todo:
            series = datasets.load(task.series, fill=task.fill)
            known = task.known(series, task.horizon) if task.known else None
            names = models(series, wanted)
            seeded = [name for name in names if benchmark.MODELS[name].seeded]
            for seed in range(seeds):
                # what no seed changes is measured with the first one
                folder = _measured(task, series, known, seed, names if seed == 0 else seeded, run, device)
                board, backtest = (pd.read_csv(folder / f"{name}.csv") for name in ("leaderboard", "backtest"))
                if seed == 0:
                    fixed = [part[~part["model"].isin(seeded)] for part in (board, backtest)]
                else:
                    board, backtest = (
                        pd.concat([part[part["model"].isin(seeded)], kept])
                        for part, kept in zip((board, backtest), fixed, strict=True)
                    )
                labels = {"series": task.label, "horizon": task.horizon, "seed": seed}
                found = _errors(backtest, series)
                boards.append(_with_pinball(board, found).assign(**labels))
                errors.append(found.assign(**labels))
                advance(note=task.label)
    return pd.concat(boards, ignore_index=True), pd.concat(errors, ignore_index=True)


def _measured(
    task: Task, series: pd.Series, known: pd.DataFrame | None, seed: int, names: Sequence[str], run: Run, device: str
) -> Path:
    """The folder of the finished comparison, made now unless it is there."""
    stem = task.label.rsplit("/", 1)[-1].split(".")[0]
    config = {"series": task.label, "horizon": task.horizon, "seed": seed, "models": list(names)}
    config["values"] = _fingerprint(series, known)  # a file that has changed is measured anew
    name = slug(f"{stem}-h{task.horizon}-seed{seed}")
    found = Run.find(run.path / "series", name, config)
    if found is not None and (found / RESULT).exists():
        return found
    with Run.open(run.path / "series", name, config, resume=found is not None) as own:
        benchmark.compare(series, task.horizon, own, names, seed=seed, device=device, known=known)
        own.finish({})
    return own.path


def _fingerprint(series: pd.Series, known: pd.DataFrame | None) -> str:
    """Of times and values, and of what is known ahead."""
    parts = [pd.util.hash_pandas_object(each).to_numpy() for each in (series, known) if each is not None]
    return sha256(np.concatenate(parts).tobytes()).hexdigest()[:16]


def _errors(backtest: pd.DataFrame, series: pd.Series) -> pd.DataFrame:
    """MASE and pinball of every model at every origin: scaled by the seasonal naive's error before the first origin.

    Pinball is the mean loss of three quantiles, the ends of the 90 % interval and the forecast as the median, scaled as
    M5 does (Makridakis et al. 2022, scaled pinball loss, there by the naive without a season); NaN without intervals.
    """
    first = len(series) - backtest["time"].nunique()
    history, cycle = series.to_numpy()[:first], datasets.season(series)
    cycle = cycle if first > cycle else 1
    scale = mae(history[cycle:], history[:-cycle])
    rows = []
    for (model, origin), own in backtest.groupby(["model", "origin"], sort=False):
        truth = own["truth"].to_numpy()
        losses = [pinball(truth, own[name].to_numpy(), level) for name, level in QUANTILES]
        rows.append({
            "model": model, "origin": origin, "MASE": mase(truth, own["forecast"].to_numpy(), history, cycle),
            "pinball": float(np.mean(losses)) / scale if scale > 0 else float("nan"),
        })  # fmt: skip
    return pd.DataFrame(rows)


def _with_pinball(board: pd.DataFrame, errors: pd.DataFrame) -> pd.DataFrame:
    """The leaderboard with the mean over origins, beside MASE."""
    means = board["model"].map(errors.groupby("model")["pinball"].mean())
    board = board.copy()
    board.insert(board.columns.get_loc("MASE") + 1, "pinball", means)
    return board


def common(boards: pd.DataFrame) -> list[str]:
    """The models that every series has: only those can be ranked against each other."""
    count = boards["series"].nunique()
    return [name for name, own in boards.groupby("model", sort=False) if own["series"].nunique() == count]


def summary(boards: pd.DataFrame) -> pd.DataFrame:
    """One row a model that every series has, least mean MASE first.

    Columns: model, MASE, pinball, sMAPE, mean rank, best on, seconds: means over series of means over seeds; "best on"
    counts the series with the least mean MASE.
    """
    names = common(boards)
    mean = (
        boards[boards["model"].isin(names)].groupby(["series", "model"])[["MASE", "pinball", "sMAPE", "seconds"]].mean()
    )
    table = mean["MASE"].unstack()[names]
    best = table.idxmin(axis=1)
    found = pd.DataFrame({
        "model": names, "MASE": table.mean().to_numpy(),
        "pinball": mean["pinball"].unstack()[names].mean(skipna=False).to_numpy(),
        "sMAPE": mean["sMAPE"].unstack()[names].mean().to_numpy(), "mean rank": mean_ranks(table.to_numpy()),
        "best on": [int((best == name).sum()) for name in names],
        "seconds": mean["seconds"].unstack()[names].mean().to_numpy(),
    })  # fmt: skip
    return found.sort_values("MASE", ignore_index=True)


def report(boards: pd.DataFrame, errors: pd.DataFrame, table: pd.DataFrame, run: Run) -> None:
    """Write rolling.csv, forecasts.csv, summary.csv, wins.json, two figures and the run's final figures."""
    from lab import plots_ranks

    run.table("rolling", boards)
    run.table("forecasts", errors)
    run.table("summary", table)
    names = table["model"].tolist()
    trials = [
        own.pivot_table(index=["seed", "origin"], columns="model", values="MASE")[names].to_numpy()
        for _, own in errors[errors["model"].isin(names)].groupby("series")
    ]
    shares = wins(trials)
    write_json(run.path / "wins.json", {
        row: {column: [float(x) if np.isfinite(x) else None for x in shares[i][j]] for j, column in enumerate(names)}
        for i, row in enumerate(names)
    })  # fmt: skip
    run.figure("forecast/wins", plots_ranks.win_matrix(names, shares))
    ranks = dict(zip(names, table["mean rank"], strict=True))
    count = boards["series"].nunique()
    if count > 1 and len(names) > 1:
        difference = critical_difference(len(names), count)
        run.figure("forecast/ranks", plots_ranks.critical_difference_diagram(ranks, difference, count))
    run.finish({f"forecast/MASE/{m}": float(e) for m, e in zip(names, table["MASE"], strict=True)}, series=count)
