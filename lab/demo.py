"""The tour that `make demo` runs: every bench at work on real ROMs and series, and one page of what came out.

Each part is a command that anybody can type; the tour only puts them one after the other, and side by side
within a part where none needs what another has made.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from lab import report
from lab.console import messages
from lab.errors import InputError
from lab.run import slug

PARTS = {
    "Pong: DQN on the real Atari ROM": [
        "train dqn --env ALE/Pong-v5 --num-envs 4 --total-steps 6000 --learning-starts 1500 --replay-capacity 6000 "
        "--epsilon-steps 4500 --target-every 500 --log-every 250 --eval-episodes 2 --name pong",
        "watch {root}/pong",
    ],
    "Pong, played by a trained DQN": ["watch {trained}/pong --name watch-trained-pong"],
    "Catch: DQN learns a game of pixels": [
        "train dqn --env lab/Catch-v0 --total-steps 12000 --name catch",
        "watch {root}/catch",
    ],
    "Web traffic: CNN, LSTM and Transformer against simple models": ["forecast web-traffic --horizon 24"],
    "Airline passengers: the same on 144 months": ["forecast airline --horizon 12"],
    "ECG and web traffic: anomalies, and what would have been normal": [
        "explain mitdb",
        "explain web-traffic-anomaly",
    ],
    "Lectures: five claims tested": [
        "reproduce node-minus-23 power-1000 perceptron-xor sin-x-four-nets traffic-500-plus-x1"
    ],
}
TRAINED = Path(__file__).parents[1] / "results" / "atari"  # in a checkout: policies that took their time
MARK = ".tour"  # in the folder of a tour, which the next tour may replace
TOO_SHORT = (
    "Too short to mean anything: {steps:,} agent steps are {percent:.2f} % of the 50 million behind the published "
    "score. What this shows is that the real game is played and learned from, at {rate:.0f} agent steps a second."
)
OVERVIEW = (
    "catch/figures/train-learning_curve.png",
    "forecast-web-traffic/figures/forecast-comparison.png",
    "explain-web-traffic-anomaly/figures/anomaly-counterfactual.png",
    "reproduce-perceptron-xor/figures/claim-picture.png",
)


def tour(runs: Path, name: str, lab: Callable[[list[str]], int]) -> Path:
    """Run every part under RUNS/NAME, where an earlier tour is replaced; returns the page about them.

    lab: the command line, from words to exit code. Raises InputError for a bad name, or if something else is there
    already.
    """
    root = runs / name
    if slug(name) != name:
        raise InputError(f"--name {name!r} makes no folder name; use letters, digits, . _ - + (no dot first)")
    if root.exists() and not (root / MARK).exists():
        raise InputError(f"{root} is not the folder of an earlier tour; give another --name")
    if root.exists():
        shutil.rmtree(root)
    root.mkdir(parents=True)
    (root / MARK).touch()
    began = time.monotonic()
    notes = {}
    parts = {title: commands for title, commands in PARTS.items() if TRAINED.exists() or "{trained}" not in commands[0]}
    trained = TRAINED.relative_to(Path.cwd()) if TRAINED.is_relative_to(Path.cwd()) else TRAINED
    for number, (title, commands) in enumerate(parts.items(), start=1):
        messages.rule(f"[bold]{number}/{len(parts)}  {title}", align="left")
        started = time.monotonic()
        _part([command.format(root=root, trained=trained) for command in commands], root, lab)
        if title.startswith("Pong:"):
            result = json.loads((root / "pong" / "result.json").read_text(encoding="utf-8"))
            rate = result["metrics"]["time/steps_per_second"]
            note = TOO_SHORT.format(steps=result["steps"], percent=result["steps"] / 500_000, rate=rate)
            notes["pong"] = notes["watch-pong"] = note
            messages.print(f"[bold]{note}")
        messages.print(f"({time.monotonic() - started:.0f} s)\n")
    page = report.write(root, report.read(root, notes), "The lab in one tour")
    overview([root / name for name in OVERVIEW]).save(root / "overview.png")
    messages.print(f"The tour took {time.monotonic() - began:.0f} s. Curves, figures and films:")
    tensorboard = Path(sys.executable).with_name("tensorboard")
    shown = tensorboard.relative_to(Path.cwd()) if tensorboard.is_relative_to(Path.cwd()) else tensorboard
    messages.print(f"  {shown} --logdir {root}", soft_wrap=True, markup=False)
    return page


def _part(commands: list[str], root: Path, lab: Callable[[list[str]], int]) -> None:
    """Run a part's commands; those after the first that work on nothing in the tour's folder do so beside it."""
    beside = {command: _start(command, root) for command in commands[1:] if str(root) not in command}
    try:
        for command in commands:
            if command in beside:
                _finish(beside[command])
            else:
                _run(command, root, lab)
    finally:
        for process in beside.values():  # still there after a failure only
            with process:
                process.kill()


def _start(command: str, root: Path) -> subprocess.Popen[str]:
    """The command in a process of its own, which keeps what it prints."""
    code = "import sys, pathlib, lab.cli, lab.demo as d; d._run(sys.argv[1], pathlib.Path(sys.argv[2]), lab.cli.main)"
    return subprocess.Popen(
        [sys.executable, "-c", code, command, str(root)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": str(messages.width)},
    )  # fmt: skip


def _finish(process: subprocess.Popen[str]) -> None:
    """Wait for it, and print what it has printed."""
    output, told = process.communicate()
    messages.print(told, end="", markup=False, highlight=False, soft_wrap=True)
    print(output, end="", flush=True)
    if process.returncode:
        raise SystemExit(process.returncode)


def _run(command: str, root: Path, lab: Callable[[list[str]], int]) -> None:
    """One command, as if it had been typed: its runs note it as theirs."""
    messages.print(f"$ lab {command}", style="bold", soft_wrap=True)
    words = shlex.split(command)
    typed, sys.argv = sys.argv, ["lab", *words]
    try:
        code = lab([*words, "--runs", str(root)])
    finally:
        sys.argv = typed
    if code:
        raise SystemExit(code)


def overview(pictures: list[Path], width: int = 900, height: int = 480) -> Image.Image:
    """Four figures on one sheet, two by two, each fitted into width x height pixels."""
    sheet = Image.new("RGB", (2 * width, 2 * height), "white")
    for place, path in enumerate(pictures):
        with Image.open(path) as picture:
            scale = min((width - 20) / picture.width, (height - 20) / picture.height)
            small = picture.convert("RGB").resize((int(picture.width * scale), int(picture.height * scale)))
        sheet.paste(small, (place % 2 * width + (width - small.width) // 2,
                            place // 2 * height + (height - small.height) // 2))  # fmt: skip
    return sheet
