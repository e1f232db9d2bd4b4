"""What a person sees: progress bars and messages on standard error, results on standard output."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from lab.digits import short

messages = Console(stderr=True, highlight=False)
results = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)
LOGGED_EVERY = 60.0  # seconds between two lines about a task in a log
_shown: list[Progress] = []  # bars opened inside a bar join its display


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        rate = task.finished_speed or task.speed
        return Text(f"{short(rate, 3)} {task.fields['unit']}/s" if rate else "")


def hush() -> None:
    """No bars from here on: for a process that works for another one, which shows its own."""
    messages.quiet = True


@contextmanager
def bar(label: str, total: int, unit: str = "steps", start: int = 0) -> Iterator[Callable[..., None]]:
    """A progress bar with rate and time left; yields `advance(n=1, note="")`.

    On a terminal it moves; in a log it leaves a line when done, and at most one a minute until then. `start` is
    where a resumed task stands.
    """
    if _shown:
        with _task(_shown[-1], label, total, unit, start) as advance:
            yield advance
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), _Rate(), TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )  # fmt: skip
    with Progress(*columns, console=messages) as progress:
        _shown.append(progress)
        try:
            with _task(progress, label, total, unit, start) as advance:
                yield advance
        finally:
            _shown.pop()


@contextmanager
def _task(progress: Progress, label: str, total: int, unit: str, start: int) -> Iterator[Callable[..., None]]:
    task = progress.add_task(label, total=total, completed=start, unit=unit, note="")
    done, said = start, time.monotonic()

    def advance(n: int = 1, note: str = "") -> None:
        nonlocal done, said
        done += n
        progress.advance(task, n)
        if note:
            progress.update(task, note=note)
        if not messages.is_terminal and time.monotonic() - said >= LOGGED_EVERY:
            said = time.monotonic()
            messages.print(Text(f"{label}: {done:,} of {total:,} {unit}  {note}".rstrip()), soft_wrap=True)

    try:
        yield advance
    finally:
        progress.stop_task(task)
        if len(_shown) > 1 or progress.tasks[0].id != task:  # an inner bar leaves when it is done
            progress.remove_task(task)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table on standard output; floats with four significant digits, numbers to the right.

    Text is printed as it is: brackets in a user's names are no markup.
    """
    shown = Table(title=Text(title), title_justify="left")
    for index, name in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], int | float) for row in rows)
        shown.add_column(Text(name), justify="right" if numeric else "left")
    for row in rows:
        shown.add_row(*(Text(short(cell) if isinstance(cell, float) else str(cell)) for cell in row))
    results.print(shown)
