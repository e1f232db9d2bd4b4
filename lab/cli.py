"""The command line: one dataclass per command, everything heavy imported inside the command.

A dataclass is the command's options, its help and its documentation. Each bench keeps its own in `commands.py`; naming
it in COMMANDS adds the command. Wrong input raises InputError, which becomes one line and exit code 2.
"""

import contextlib
import io
import os
import re
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from agents.commands import Evaluate, Inspect, SpeedAgents, TrainDQN, TrainSB3A2C, TrainSB3DQN, TrainSB3PPO, Watch
from forecasting.anomaly.commands import BenchmarkDetectors, Detect, Explain
from forecasting.anomaly.counterfactual_commands import BenchmarkCounterfactuals
from forecasting.anomaly.stream_commands import SpeedStream
from forecasting.attribution_commands import Attribute
from forecasting.commands import BenchmarkIntervals, DataFetch, DataList, Forecast
from forecasting.ltsf_commands import BenchmarkForecasters, SpeedForecasters
from lab.command import Command
from lab.commands import Board, Compare, List, Report
from lab.errors import InputError, Notice, unknown
from lab.lectures.commands import Reproduce


@dataclass
class Demo(Command):
    """The tour: every bench at work in some minutes, and one page of what came out."""

    def __call__(self) -> None:
        from lab.demo import tour

        with contextlib.redirect_stdout(sys.stderr) if self.json else contextlib.nullcontext():
            page = tour(self.runs, self.name or "demo", main)
        self.done({}, page)


@dataclass
class CompareRuns(Compare):
    """Compare runs: their mean curves with bands over seeds, and a table with 95 % intervals."""

    def reference(self, env: str) -> tuple[float, float] | None:
        from agents import scores

        return scores.of_game(env)


COMMANDS: dict[str, Any] = {
    "demo": Demo,
    "train": {"dqn": TrainDQN, "sb3-dqn": TrainSB3DQN, "sb3-a2c": TrainSB3A2C, "sb3-ppo": TrainSB3PPO},
    "evaluate": Evaluate,
    "watch": Watch,
    "inspect": Inspect,
    "forecast": Forecast,
    "attribute": Attribute,
    "detect": Detect,
    "explain": Explain,
    "reproduce": Reproduce,
    "list": List,
    "compare": CompareRuns,
    "report": Report,
    "board": Board,
    "benchmark": {
        "counterfactuals": BenchmarkCounterfactuals,
        "detectors": BenchmarkDetectors,
        "forecasters": BenchmarkForecasters,
        "intervals": BenchmarkIntervals,
    },
    "speed": {"agents": SpeedAgents, "forecasters": SpeedForecasters, "stream": SpeedStream},
    "data": {"list": DataList, "fetch": DataFetch},
}


def parse(words: Sequence[str]) -> Any:
    """The command that `words` ask for, as an instance of its dataclass. Raises InputError for what makes no sense."""
    import tyro

    commands, path = COMMANDS, ["lab"]
    rest = list(words)
    while isinstance(commands, dict):
        if not rest or rest[0] in ("-h", "--help"):
            print(overview(commands, path))
            raise SystemExit(0)
        word = rest.pop(0)
        if word not in commands:
            raise unknown("command", word, commands, f"(see {' '.join(path)} --help)")
        commands = commands[word]
        path.append(word)
    complaint = io.StringIO()
    markers = (tyro.conf.OmitArgPrefixes, tyro.conf.PositionalMetavarFromFieldName)
    try:
        with contextlib.redirect_stderr(complaint):
            default = {"default": commands.default(rest)} if hasattr(commands, "default") else {}
            return tyro.cli(commands, prog=" ".join(path), args=rest, config=markers, **default)
    except SystemExit as stop:
        if stop.code == 0:  # --help
            if hasattr(commands, "more_help") and (more := commands.more_help(rest)):
                print(more)
            raise
        raise InputError(_one_line(complaint.getvalue(), " ".join(path))) from None


_IN_WORDS = {  # what Python says of a number that is none
    r"invalid literal for int\(\) with base 10: ('.*?')": r"\1 is no whole number; write all of its digits, 100000",
    r"could not convert string to float: ('.*?')": r"\1 is no number",
}


def _one_line(complaint: str, command: str) -> str:
    """tyro's boxed complaint as one line: what is wrong, and the options it holds for near.

    The box has a title, in its frame or, where the terminal has ASCII only, above a rule; then what is wrong, perhaps
    over several lines; then, behind rules, hints.
    """
    blocks: list[list[str]] = [[]]
    for line in complaint.splitlines():
        text = line.strip(" │")
        if line.startswith(("╭", "╰")) or set(text) <= {"─", "-"}:
            blocks.append([])
        else:
            blocks[-1].append(text)
    blocks = [block for block in blocks if block]
    body, *hints = blocks if "╭" in complaint else blocks[1:]
    what = " ".join(" ".join(body).split())
    for theirs, ours in _IN_WORDS.items():
        what = re.sub(theirs, ours, what)
    near = [line.split()[0] for block in hints for line in block if re.match(r"--[\w-]+", line)]
    hint = f"did you mean {', '.join(dict.fromkeys(near))}? " if what.startswith("Unrecognized") and near else ""
    return f"{what[:1].lower()}{what[1:].rstrip('.')}; {hint}see {command} --help"


def overview(commands: dict[str, Any], path: Sequence[str]) -> str:
    """The list of commands with the first line of each one's documentation."""
    lines = [f"usage: {' '.join(path)} COMMAND [OPTIONS]", ""]
    for name, command in commands.items():
        summary = f"{' | '.join(command)}" if isinstance(command, dict) else (command.__doc__ or "").splitlines()[0]
        lines.append(f"  {name:<12} {summary}")
    return "\n".join([*lines, "", f"{' '.join(path)} COMMAND --help shows a command's options."])


def _check_text(words: Sequence[str]) -> None:
    """Raises InputError for a word with bytes that are no text, as of a file named in another encoding: no file that a
    run writes could hold it."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise InputError(
                f"{word!a} is no text in this locale's encoding; rename it, or set a UTF-8 locale"
            ) from None


def _plain(message: object) -> str:
    """A warning without the colours that Gymnasium gives it, which a log would show as codes."""
    return re.sub(r"\x1b\[[\d;]*m", "", str(message))


@contextlib.contextmanager
def _said_once() -> Iterator[None]:
    """What ends TensorBoard's writing thread is not printed there: its next call raises it in the main thread too."""
    before = threading.excepthook
    threading.excepthook = lambda args: None if type(args.thread).__name__ == "_AsyncWriterThread" else before(args)
    try:
        yield
    finally:
        threading.excepthook = before


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 2 for wrong input, 130 after Ctrl-C."""
    command = None
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that cannot show a character shows a question mark
            stream.reconfigure(errors="replace")
    try:
        with warnings.catch_warnings(), _said_once():
            warnings.filterwarnings("always", category=Notice)
            warnings.showwarning = lambda message, *_, **__: print(f"lab: warning: {_plain(message)}", file=sys.stderr)
            words = sys.argv[1:] if words is None else words
            _check_text(words)
            command = parse(words)
            command()
    except InputError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        # the system names the file that it could not open, not the one that it could not write to
        place = error.filename or getattr(command, "runs", getattr(command, "folder", "."))
        print(f"lab: {place}: {error.strerror or error}; name another place or mend this one", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("lab: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
