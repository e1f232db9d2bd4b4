"""Running experiments and keeping what they found: one run folder each, finished ones not run again."""

import base64
import dataclasses
import json
import multiprocessing
import multiprocessing.connection
import os
import re
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from lab.errors import InputError
from lab.lectures import _registry
from lab.lectures._claims import Claim, Finding, Outcome, Verdict, judge, judged
from lab.lectures._settings import build

METRICS = ("claim/verdict", "claim/conditions", "claim/conditions_held", "time/seconds")
# the verdict as a number, for TensorBoard's HParams
SCORES = {Verdict.HOLDS: 1.0, Verdict.MIXED: 0.5, Verdict.FAILS: 0.0, Verdict.NOT_REACHED: -1.0}


@dataclass(frozen=True)
class Result:
    """What came of one experiment."""

    claim: Claim
    findings: tuple[Finding, ...]
    verdict: Verdict | None
    """None only if the experiment broke down; then `error` says how."""
    seconds: float
    budget: str = ""
    path: Path | None = None
    """The run's folder: result.json, the figure, TensorBoard events."""
    kept: bool = False
    """True if this was measured before and not run again."""
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        """One object per experiment, as `lab reproduce --json` prints it."""
        return {
            "id": self.claim.id,
            "verdict": self.verdict,
            "measured": {finding["name"]: finding["measured"] for finding in map(Finding.to_json, self.findings)},
            "findings": [finding.to_json() for finding in self.findings],
            "seconds": self.seconds,
            "budget": self.budget,
            "kept": self.kept,
            **({"error": self.error} if self.error else {}),
        }

    def _repr_html_(self) -> str:
        """What a notebook shows: the claim, the picture, the findings and the verdict."""
        rows = [each.words() for each in self.findings]
        table = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row.values())}</tr>" for row in rows)
        head = f"<tr>{''.join(f'<th>{name}</th>' for name in rows[0])}</tr>" if rows else ""
        picture = self.path / "figures" / "claim-picture.png" if self.path else None
        shown = ""
        if picture and picture.exists():
            data = base64.b64encode(picture.read_bytes()).decode()
            shown = f'<img style="max-width: 100%" alt="{escape(self.claim.title)}" src="data:image/png;base64,{data}">'
        return (
            f"<p><b>{escape(self.claim.title)}</b> {escape(self.claim.lecture)}, {escape(self.claim.slide)} says "
            f"{escape(self.claim.says)}</p>{shown}<table>{head}{table}</table><p>Doubt: {escape(self.claim.doubt)}</p>"
            f"<p>Verdict: <b>{escape(self.error or str(self.verdict))}</b></p>"
        )


def reproduce(
    id: str,
    settings: Mapping[str, Any] | None = None,
    *,
    quick: bool = False,
    seeds: int | None = None,
    runs: str | Path = "results/runs",
    name: str = "",
    force: bool = False,
) -> Result:
    """Test the claim `id`, and leave result.json, figure and TensorBoard entries in RUNS/NAME.

    settings: overrides of the experiment's settings by name.
    quick: its shortened settings.
    seeds: how many random starts, where chance plays a part.
    name: the run's folder; reproduce-ID if empty.
    force: measure again what is there already, into a folder of its own: RUNS/NAME-2 and so on.
    A result of the same settings and the same source is not measured twice. Raises InputError for an unknown experiment
    and for a setting that is unknown, of the wrong type or out of range.
    """
    values = prepare(id, settings, quick, seeds)
    claim, module, code = _registry.claim(id), _registry.load(id), _registry.code(id)
    config = {"experiment": id, "quick": quick, **_plain(values)}
    root, folder = Path(runs), _folder(Path(runs), name or _name(id, values, quick), config)
    named = [value for value in dataclasses.asdict(values).values() if isinstance(value, str) and value]
    # what a setting names on the disk may have changed since
    if not any(Path(value).exists() for value in named) and (kept := _kept(root / folder, claim, code)):
        if not force:
            return kept
        folder = _folders(root, name or _name(id, values, quick))[-1]  # what is finished stays until this is

    from lab.run import RESULT, Run  # imports torch and TensorBoard

    with Run.open(root, folder, config, resume=True, metrics=METRICS) as run:
        (run.path / RESULT).unlink(missing_ok=True)  # from here to the end this run is not finished
        started = time.perf_counter()
        with _calm():
            outcome: Outcome = module.measure(values)
        seconds = round(time.perf_counter() - started, 3)
        findings, verdict = tuple(outcome.findings), judge(outcome.findings)
        for finding in findings:
            run.scalar(f"claim/{finding.slug}", finding.measured, 0)
            for seed, value in enumerate(finding.values):
                run.scalar(f"claim/{finding.slug}/by_seed", value, seed)
        for tag, curve in outcome.curves.items():
            for step, value in enumerate(curve):
                run.scalar(f"claim/{tag}", value, step)
        run.figure("claim/picture", outcome.figure)
        run.text("claim", f"**{claim.lecture}, “{claim.slide}”** says {claim.says}\n\nVerdict: **{verdict}**")
        answers = [finding.holds for finding in judged(findings)]
        metrics = dict(zip(METRICS, (SCORES[verdict], len(answers), answers.count(True), seconds), strict=True))
        run.finish(
            metrics,
            id=id,
            verdict=verdict,
            claim=dataclasses.asdict(claim),
            findings=[finding.to_json() for finding in findings],
            budget=outcome.budget,
            code=code,
            usual=values == prepare(id, None, False, None),
        )
        return Result(claim, findings, verdict, seconds, outcome.budget, run.path)


def reproduce_each(
    ids: Sequence[str],
    settings: Mapping[str, Any] | None = None,
    *,
    quick: bool = False,
    seeds: int | None = None,
    runs: str | Path = "results/runs",
    force: bool = False,
    jobs: int = 1,
) -> Iterator[Result]:
    """Reproduce several experiments; one that breaks down gives a Result with `error` and stops no other.

    jobs: how many at a time, in as many processes with one thread each (0: as many as there are cores); with 1, one
    after the other in this process. With more, results come in the order in which they are done.
    Settings are checked for all of them before the first is run. Raises InputError as `reproduce` does.
    """
    broken: dict[str, str] = {}
    for id in ids:
        try:
            prepare(id, settings, quick, seeds)
        except InputError:
            raise
        except Exception as error:  # a file that cannot even be imported is one failed experiment
            broken[id] = _line(error)
    for id, words in broken.items():
        yield _broken(id, words, 0.0)
    sound = [id for id in ids if id not in broken]
    options = {"settings": settings, "quick": quick, "seeds": seeds, "runs": runs, "force": force}
    if jobs == 1:
        for id in sound:
            yield _attempt(id, options)
    else:
        yield from _parallel(sound, options, jobs)


def _attempt(id: str, options: Mapping[str, Any]) -> Result:
    started = time.perf_counter()
    try:
        return reproduce(id, **options)
    except Exception as error:
        return _broken(id, _line(error), round(time.perf_counter() - started, 3))


def _parallel(ids: Sequence[str], options: Mapping[str, Any], jobs: int) -> Iterator[Result]:
    """Several processes with one experiment at a time each; one that is killed takes no other with it."""
    from lab.device import cores

    context = multiprocessing.get_context("spawn")
    waiting, busy = list(ids), dict[Any, tuple[Any, str, float]]()  # by connection: process, experiment, since when

    def start() -> None:
        here, there = context.Pipe()
        process = context.Process(target=_work, args=(there, options))
        process.start()
        there.close()
        give(here, process)

    def give(here: Any, process: Any) -> None:
        """The next experiment, or the word that there is none left."""
        id = waiting.pop(0) if waiting else None
        if id:
            busy[here] = (process, id, time.perf_counter())
        with suppress(BrokenPipeError):  # killed meanwhile: it will be seen when its result is read
            here.send(id)
        if not id:
            process.join()

    with _one_thread():
        try:
            while waiting or busy:
                while waiting and len(busy) < (jobs or cores()):
                    start()
                ready: list[Any] = multiprocessing.connection.wait(busy)
                for here in ready:
                    process, id, started = busy.pop(here)
                    try:
                        result = here.recv()
                        give(here, process)
                    except (EOFError, ConnectionResetError):  # a reset: it did not even read what to do
                        process.join()
                        words = f"its process ended with exit code {process.exitcode}"
                        result = _broken(id, words, round(time.perf_counter() - started, 3))
                    yield result
        finally:
            for process, _, _ in busy.values():
                process.terminate()
                process.join()


def _work(there: Any, options: Mapping[str, Any]) -> None:
    """What a process of `_parallel` does: one experiment after the other, until told that there is none left."""
    from lab import console

    console.hush()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends this process
    while id := there.recv():
        there.send(_attempt(id, options))


@contextmanager
def _one_thread() -> Iterator[None]:
    """NumPy's and torch's thread pools have one thread in the processes that are started inside."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def prepare(id: str, settings: Mapping[str, Any] | None, quick: bool, seeds: int | None) -> Any:
    """The checked settings of an experiment, as an instance of its `Settings`."""
    return build(_registry.load(id).Settings, settings or {}, quick, seeds, of=id)


def newest_run(id: str, runs: Path) -> Path | None:
    """The last finished run under `runs` of an experiment as it is by default, if there is one.

    Where its defaults have changed since, the later runs lie in reproduce-ID-2 and so on.
    """
    folders = (path for path in runs.glob(f"reproduce-{id}*") if re.fullmatch(rf"reproduce-{id}(-\d+)?", path.name))
    results = {path: _read(path / "result.json") for path in folders}
    # a folder's name may be a user's choice, with other settings
    found = [path for path, saved in results.items() if saved.get("verdict") in [*Verdict] and saved.get("usual", True)]
    return max(found, key=lambda path: (path / "result.json").stat().st_mtime_ns, default=None)


def newest(id: str, runs: Path) -> Verdict | None:
    """The verdict of that run."""
    path = newest_run(id, runs)
    return Verdict(_read(path / "result.json")["verdict"]) if path else None


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _broken(id: str, error: str, seconds: float) -> Result:
    try:
        claim = _registry.claim(id)
    except InputError:
        claim = Claim(id, "", "", "", "", "", "")
    return Result(claim, (), None, seconds, error=error)


def _name(id: str, settings: Any, quick: bool) -> str:
    """reproduce-ID, with what is not as the experiment has it: reproduce-ID-quick, reproduce-ID-seeds-20."""
    usual = dataclasses.asdict(build(type(settings), {}, quick))
    changed = [f"{name}-{value}" for name, value in dataclasses.asdict(settings).items() if value != usual[name]]
    return re.sub(r"[^\w.+-]+", "-", "-".join([f"reproduce-{id}", *(["quick"] if quick else []), *changed]))


def _folder(root: Path, name: str, config: Mapping[str, Any]) -> str:
    """The run's folder out of NAME, NAME-2, ...: that of the same settings if there is one, else one that a run left
    before it wrote any, else the first that is free.
    """
    *taken, free = _folders(root, name)
    same = [each for each in taken if _read(root / each / "config.json") == config]
    unused = [each for each in taken if (root / each).is_dir() and not (root / each / "config.json").exists()]
    return [free, *unused, *same][-1]


def _folders(root: Path, name: str) -> list[str]:
    """NAME, NAME-2, ... as far as there are such, and the first that is free."""
    found = [name]
    while (root / found[-1]).exists():
        found.append(f"{name}-{len(found) + 1}")
    return found


def _kept(path: Path, claim: Claim, code: str) -> Result | None:
    """The finished result in `path`, if the same source measured it."""
    saved = _read(path / "result.json")
    if saved.get("code") != code:
        return None
    try:
        findings = tuple(map(Finding.from_json, saved["findings"]))
        seconds, verdict, budget = saved["metrics"]["time/seconds"], Verdict(saved["verdict"]), saved["budget"]
    except (KeyError, TypeError, ValueError):  # damaged: measured again
        return None
    return Result(claim, findings, verdict, seconds, budget, path, kept=True)


def _read(path: Path) -> dict[str, Any]:
    """The JSON object in `path`; empty where there is none or it is damaged: then nothing was finished there."""
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return saved if isinstance(saved, dict) else {}


def _plain(settings: Any) -> dict[str, Any]:
    """Settings as they will read from config.json."""
    return json.loads(json.dumps(dataclasses.asdict(settings)))


@contextmanager
def _calm() -> Iterator[None]:
    """One thread, and a global random state that is fixed inside and untouched outside.

    The nets are small: a second thread costs more than it brings (ten times on busy cores), and the order in which
    threads add would make the figures depend on the machine.
    """
    import torch

    from lab import device

    with device.threads(1), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
