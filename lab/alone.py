"""Measurements in a process of their own: no memory, threads or caches of the one that asks."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

from lab.errors import InputError


def ask(module: str, request: Mapping[str, Any], what: str, environment: Mapping[str, str] | None = None) -> Any:
    """What `python -m MODULE REQUEST` answers, which must be written with `answer`; request: plain data.

    Raises InputError with the last line that the process said, if it fails; `what` names the measurement there.
    """
    done = subprocess.run(
        [sys.executable, "-P", "-m", module, json.dumps(request)], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **(environment or {})},
    )  # fmt: skip
    if done.returncode:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise InputError(f"{what} could not be measured: {said}")
    return json.loads(done.stdout.splitlines()[-1])


def answer(perform: Callable[..., dict[str, Any]]) -> None:
    """The other end of `ask`: perform(**request), printed as the last line."""
    print(json.dumps(perform(**json.loads(sys.argv[1]))))
