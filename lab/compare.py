"""`lab compare`: groups of runs side by side, with intervals over their seeds.

    curves = find([Path("results/runs")], "train/return_last_100")
    comparison = Comparison("train/return_last_100", group(curves))
    comparison.table(), comparison.values(), comparison.figure()

Everything is worked out from the runs' records (lab.curves), by the statistics of Agarwal et al. (2021) in lab.stats.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lab import plots, stats
from lab.curves import Curve, differing
from lab.digits import short
from lab.run import slug

GRID = 200  # points of a mean curve
LEVEL = 0.05  # of the test that a winner has to pass
AXES = {
    "train/return_last_100": "return, mean of the last 100 episodes", "train/episode_return": "return of an episode",
    "eval/return_mean": "return, mean of the evaluation", "train/loss": "loss",
}  # fmt: skip
SCORES = (  # tags that a game's random and human score may be set beside
    "train/episode_return", "train/return_last_100",
    "eval/return", "eval/return_mean", "eval/return_median", "eval/return_iqm",
)  # fmt: skip
COLUMNS = [
    "group", "task", "runs", "unfinished", "steps_least", "steps_most", "seconds", "mean", "mean_low", "mean_high",
    "human_percent", "iqm_percent", "iqm_low", "iqm_high", "better", "better_low", "better_high", "settings",
]  # fmt: skip

Reference = Callable[[str], tuple[float, float] | None]  # environment id -> (random, human) score, where known


@dataclass(frozen=True)
class Comparison:
    """Groups of curves of one tag. The first group is what the others are measured by."""

    tag: str
    groups: dict[str, list[Curve]]
    less_is_better: bool = False
    """As of a loss or an error."""
    levels: Sequence[float] = ()
    """What the table says of each: when a curve first reaches it."""
    over: Literal["steps", "minutes"] = "steps"
    """What the curves are drawn over."""
    mean_of: int = 1
    """Of how many points of the record each value is the mean."""
    reference: Reference = lambda env: None
    """The scores that those of games are given in percent of."""

    @cached_property
    def curves(self) -> list[Curve]:
        return [curve for members in self.groups.values() for curve in members]

    @cached_property
    def tasks(self) -> list[str]:
        return list(dict.fromkeys(curve.task for curve in self.curves))

    @cached_property
    def shared(self) -> list[str]:
        """The tasks that every group has: what an aggregate over tasks may be taken over."""
        return [task for task in self.tasks if all(len(self.finals(name, task)) for name in self.groups)]

    @cached_property
    def pooled(self) -> bool:
        """Whether there is an aggregate over tasks: runs of one group have no scale but a human's."""
        return len(self.shared) > 1 and (len(self.groups) > 1 or self.scale == "human scores")

    def of(self, name: str, task: str) -> list[Curve]:
        return [curve for curve in self.groups[name] if curve.task == task]

    def finals(self, name: str, task: str) -> np.ndarray:
        """The last values (runs,) of a group on a task."""
        return np.array([curve.final for curve in self.of(name, task)])

    # --- what is worked out -----------------------------------------------------------------------------------------

    def human(self, task: str) -> tuple[float, float] | None:
        """Random and human score of a game, if the tag is a score, of which more is better."""
        return self.reference(task) if self.tag in SCORES and not self.less_is_better else None

    @cached_property
    def scale(self) -> str:
        """What an aggregate over tasks is in percent of: human scores where all are known, else the runs' own range."""
        return "human scores" if all(self.human(task) for task in self.shared) else "the range from worst to best run"

    def percent(self, name: str, task: str) -> np.ndarray:
        """The last values (runs,) on the scale that all tasks share."""
        values, every = self.finals(name, task), np.concatenate([self.finals(each, task) for each in self.groups])
        worst, best = (every.max(), every.min()) if self.less_is_better else (every.min(), every.max())
        if self.scale == "human scores":
            worst, best = self.human(task) or (worst, best)
        return 100 * (values - worst) / (best - worst) if best != worst else np.full(len(values), 50.0)

    def better(self, name: str, than: str, tasks: Sequence[str]) -> stats.Estimate | None:
        """How probably a run of group `name` ends better than one of `than`; None if one of them lacks a task.

        The bootstrap's interval, which is too narrow for few runs (Agarwal et al., 2021, figure A.17), is nan where one
        of them has fewer than 5 on a task; (-inf, inf) where it has one.
        """
        ours, theirs = self._ends(name, tasks), self._ends(than, tasks)
        fewest = min(map(len, [*ours, *theirs]))
        if not fewest:
            return None
        found = stats.probability_of_improvement(ours, theirs)
        return found._replace(low=np.nan, high=np.nan) if 1 < fewest < stats.FEW else found

    def _ends(self, name: str, tasks: Sequence[str]) -> list[np.ndarray]:
        """The last values of a group, (runs,) for each task, so turned that more is better."""
        return [(-1 if self.less_is_better else 1) * self.finals(name, task) for task in tasks]

    def aggregate(self, name: str) -> stats.Estimate:
        """IQM over all runs and shared tasks, in percent of `scale`; not pooled, the mean on the first of them."""
        if self.pooled:
            return stats.aggregate([self.percent(name, task) for task in self.shared])
        return _mean(self.finals(name, self.shared[0]))

    # --- what is shown ----------------------------------------------------------------------------------------------

    def table(self) -> pd.DataFrame:
        """A row per group and task; with several tasks one more per group, over those that all groups have.

        steps: of the shortest and of the longest run; seconds: mean; better: than the first group.
        """
        rows = []
        for name in self.groups:
            rows += [self._row(name, [task], task) for task in self.tasks if self.of(name, task)]
            if self.pooled:
                rows.append(self._row(name, self.shared, f"all {len(self.shared)}"))
        return pd.DataFrame(rows).reindex(columns=COLUMNS).replace([np.inf, -np.inf], np.nan)

    def _row(self, name: str, tasks: list[str], shown: str) -> dict[str, Any]:
        runs = [curve for task in tasks for curve in self.of(name, task)]
        ends = [curve.steps[-1] for curve in runs]
        row: dict[str, Any] = {
            "group": name, "task": shown, "runs": len(runs), "unfinished": sum(not curve.finished for curve in runs),
            "steps_least": int(min(ends)), "steps_most": int(max(ends)),
            "seconds": float(np.mean([curve.seconds for curve in runs])),
        }  # fmt: skip
        if [shown] == tasks:
            finals = self.finals(name, shown)
            row |= _interval("mean", _mean(finals))
            if scores := self.human(shown):
                row["human_percent"] = stats.human_normalised(float(finals.mean()), *scores)
        else:
            row |= _interval("iqm", self.aggregate(name), "iqm_percent")
        first = next(iter(self.groups))
        if name != first and (better := self.better(name, first, tasks)):
            row |= _interval("better", better)
        said = {field: dict.fromkeys(curve.setting(field) for curve in runs) for field in differing(self.curves)}
        return row | {"settings": " ".join(f"{field}={'|'.join(values)}" for field, values in said.items())}

    def values(self) -> pd.DataFrame:
        """Every point of every run, for others to work with: group, task, run, seed, step, seconds, value."""
        frames = [
            pd.DataFrame({
                "group": name, "task": curve.task, "run": str(curve.path), "seed": curve.config.get("seed"),
                "step": curve.steps.astype(int), "seconds": curve.clock.round(3), "value": curve.values,
            })
            for name, members in self.groups.items() for curve in members
        ]  # fmt: skip
        return pd.concat(frames, ignore_index=True)

    def reached(self) -> pd.DataFrame:
        """When each run first comes to each level: group, task, run, seed, level, step, seconds; none: it never did."""
        rows = [
            (name, curve.task, str(curve.path), curve.config.get("seed"), level, *self._first(curve, level))
            for name, members in self.groups.items() for curve in members for level in self.levels
        ]  # fmt: skip
        columns = ["group", "task", "run", "seed", "level", "step", "seconds"]
        return pd.DataFrame(rows, columns=columns).replace(np.inf, np.nan)

    def _first(self, curve: Curve, level: float) -> tuple[float, float]:
        return curve.reaches(level, falling=self.less_is_better)

    def found(self) -> str:
        """The title: which group ends best, if that is more than chance.

        It is where the leading group's probability to end better than the next one, with its interval, lies above one
        half, and a permutation test of the two groups' runs has p < .05: the interval alone would find a winner of two
        equals (normal values) in 30 % of cases with two seeds each, and still in 8 % with five.
        """
        if not self.shared:
            return "No task that all groups have"
        if len(self.shared) > 1 and not self.pooled:
            return f"{next(iter(self.groups))} on {len(self.shared)} tasks"
        scores = {name: self.aggregate(name) for name in self.groups}
        unit, where = (" %", f" over {len(self.shared)} tasks") if self.pooled else ("", f" on {self.shared[0]}")
        sign = -1 if self.less_is_better and not self.pooled else 1
        best, *others = sorted(scores, key=lambda name: -sign * scores[name].value)
        if not others:
            return f"{best}{where}: {_spread(*scores[best], unit)}"
        one, two = (f"{name} ({short(scores[name].value, 3)}{unit})" for name in (best, others[0]))
        better = self.better(best, others[0], self.shared)
        if not better or np.isinf(better.low):
            return f"One seed tells no winner{where}: {one}, {two}"
        if np.nanmin([better.value, better.low]) <= 0.5:
            return f"No clear winner{where}: {one}, {two}"
        if stats.chance(self._ends(best, self.shared), self._ends(others[0], self.shared)) >= LEVEL:
            return f"Too few runs to tell a winner{where}: {one}, {two}"
        return f"Best{where}: {one}, then {two}"

    def metrics(self) -> dict[str, float]:
        """The table's means and IQMs by name, for result.json."""
        named, rows = {}, self.table().to_dict("records")
        groups, tasks = _slugs(row["group"] for row in rows), _slugs(row["task"] for row in rows)
        for row in rows:
            name = "/".join(["compare", groups[row["group"]], *([tasks[row["task"]]] if len(self.tasks) > 1 else [])])
            named[name] = float(row["mean"] if np.isnan(row["iqm_percent"]) else row["iqm_percent"])
        return named

    def figure(self) -> Figure:
        """The mean curve of each group on each task, with a band over seeds, and every run's last value."""
        panels = {
            task: {name: _band(self.of(name, task), self.over) for name in self.groups if self.of(name, task)}
            for task in self.tasks
        }  # fmt: skip
        y = AXES.get(self.tag, self.tag) + f", mean of {self.mean_of}" * (self.mean_of > 1)
        return plots.seed_curves(panels, self.found(), self._x(), y, self.note(), self.levels)

    def _x(self) -> str:
        if self.over == "minutes":
            return "minutes of wall clock"
        steps = "agent steps" if all("env" in curve.config for curve in self.curves) else "steps"
        return steps + " (frames = 4 x steps)" * any("ALE/" in task for task in self.tasks)

    def note(self) -> str:
        """What the picture shows: how many seeds, and what the band is."""
        counts = sorted({len(self.of(name, task)) for name in self.groups for task in self.tasks} - {0})
        if counts[-1] == 1:
            text = "one seed each, so no band"
        else:
            seeds = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else f"{counts[0]}"
            few, many = counts[0] < stats.FEW_FOR_MEAN, counts[-1] >= stats.FEW_FOR_MEAN
            kind = (
                "Student's of fewer than 20, else the bootstrap's"
                if few and many
                else "Student's"
                if few
                else "the bootstrap's"
            )
            distinct = len({curve.config.get("seed") for curve in self.curves}) >= counts[-1]
            text = f"mean of {seeds} {'seeds' if distinct else 'runs'} with 95 % interval over them, {kind}"
            text += "; none for one seed" if counts[0] == 1 else ""
        if self.pooled:
            text += f"\n%: interquartile mean over tasks and seeds, in percent of {self.scale}"
            text += "; its bootstrap interval is too narrow with so few seeds" if 1 < counts[0] < stats.FEW else ""
        return text

    def doubts(self) -> list[str]:
        """What a reader should know before believing the table, a line each."""
        open_ = [curve.path.name for curve in self.curves if not curve.finished]
        ends = {task: [c.steps[-1] for c in self.curves if c.task == task] for task in self.tasks}
        single = self.tag.rpartition("/")[2].startswith("episode_") and self.mean_of == 1
        uneven = [f"{_span(min(steps), max(steps))} on {task}" for task, steps in ends.items() if _apart(steps)]
        lines = [f"unfinished, and in the table as far as they went: {', '.join(open_)}"] if open_ else []
        lines += [f"{self.tag} is compared by the last episode of each run alone; give --mean-of 20 or so"] * single
        return lines + [f"runs end at different steps: {', '.join(uneven)}"] * bool(uneven)

    def printed(self) -> tuple[list[str], list[list[str]]]:
        """The table for people: columns that say something here, intervals beside their figures."""
        rows = [self._cells(row) for row in self.table().to_dict("records")]
        kept = [name for name in rows[0] if any(row[name] for row in rows) and (name != "task" or len(self.tasks) > 1)]
        return kept, [[row[name] for name in kept] for row in rows]

    def _cells(self, row: dict[Any, Any]) -> dict[str, str]:
        iqm = _spread(row["iqm_percent"], row["iqm_low"], row["iqm_high"], " %")
        better = _spread(row["better"], row["better_low"], row["better_high"])
        better += " (–)" if better and np.isnan(row["better_low"]) else ""  # too few runs for an interval
        return {
            "group": row["group"], "task": row["task"].removeprefix("ALE/"),
            "runs": f"{row['runs']}" + (f" ({row['unfinished']} open)" if row["unfinished"] else ""),
            "steps": _span(row["steps_least"], row["steps_most"]), "seconds": f"{row['seconds']:,.0f}",
            "mean (95 %)": f"IQM {iqm}" if iqm else _spread(row["mean"], row["mean_low"], row["mean_high"]),
            "% of human": _spread(row["human_percent"]),
            f"P(better than {next(iter(self.groups))})": better,
        }  # fmt: skip

    def printed_reached(self) -> tuple[list[str], list[list[str]]]:
        """The table of `levels` for people: the median over a group's runs, those that never come there last."""
        several = len(self.tasks) > 1
        rows = [
            [name, *[task.removeprefix("ALE/")] * several, *(self._when(self.of(name, task), x) for x in self.levels)]
            for name in self.groups for task in self.tasks if self.of(name, task)
        ]  # fmt: skip
        return ["group", *["task"] * several, *(f"{level:g}" for level in self.levels)], rows

    def _when(self, runs: list[Curve], level: float) -> str:
        firsts = np.array([self._first(curve, level) for curve in runs])
        there = int(np.isfinite(firsts[:, 0]).sum())
        step, seconds = np.median(firsts, axis=0)
        clock = f"{seconds:,.0f} s" if seconds < 600 else f"{seconds / 60:,.1f} min"
        of = f" ({there} of {len(runs)})" if 0 < there < len(runs) else ""
        return (f"{step:,.0f}, {clock}" if np.isfinite(step) else "never") + of


def _band(curves: list[Curve], over: Literal["steps", "minutes"] = "steps") -> plots.Band:
    """The mean curve of runs over the steps (or minutes) that all of them reached, each run interpolated linearly."""
    along = [curve.clock / 60 if over == "minutes" else curve.steps for curve in curves]
    start, stop = max(x[0] for x in along), min(x[-1] for x in along)
    grid = np.linspace(start, stop, GRID) if stop > start else np.empty(0)
    runs = np.array([np.interp(grid, x, curve.values) for x, curve in zip(along, curves, strict=True)])  # (runs, GRID)
    finals = np.array([curve.final for curve in curves])
    return plots.Band(grid, runs.mean(axis=0), *stats.band(runs), finals, _mean(finals))


def _mean(finals: np.ndarray) -> stats.Estimate:
    """The mean of runs (runs,) with its interval over them."""
    return stats.Estimate(float(finals.mean()), *stats.bootstrap(finals, np.mean))


def _slugs(names: Iterable[str]) -> dict[str, str]:
    """Names as parts of a tag, each another: where two would read alike (a b, a-b), the second ends in -2."""
    slugs: dict[str, str] = {}
    for name in dict.fromkeys(names):
        count, shown = 1, slug(name)
        while shown in slugs.values():
            count += 1
            shown = f"{slug(name)}-{count}"
        slugs[name] = shown
    return slugs


def _interval(name: str, estimate: stats.Estimate, value: str = "") -> dict[str, float]:
    return {value or name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _spread(value: float, low: float = np.nan, high: float = np.nan, unit: str = "") -> str:
    """A figure with its interval, where it has one."""
    if np.isnan(value):
        return ""
    return f"{short(value, 3)}{unit}" + (f" ({short(low, 3)} .. {short(high, 3)})" if np.isfinite(low) else "")


def _apart(steps: Sequence[float]) -> bool:
    """Whether runs end further apart than the environments' side by side explain."""
    return min(steps) < 0.95 * max(steps)


def _span(least: float, most: float) -> str:
    return f"{least:,.0f} .. {most:,.0f}" if _apart([least, most]) else f"{most:,.0f}"
