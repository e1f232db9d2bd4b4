"""JSON and other text files of runs: written whole or not at all, read with errors in one line."""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.errors import InputError


def read_json(path: Path, *keys: str) -> dict[str, Any]:
    """The JSON object in `path`. Raises InputError, naming the file, if it is missing, damaged, or without one of
    `keys`."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read ({type(error).__name__}); the run is damaged, delete or redo it"
        ) from None
    if not isinstance(value, dict):
        raise InputError(f"{path} holds no JSON object; the run is damaged, delete or redo it")
    if missing := [key for key in keys if key not in value]:
        raise InputError(f"{path} says nothing of {missing[0]}; the run is damaged, delete or redo it")
    return value


def strict(value: Any, said: Callable[[float], Any] = lambda number: None) -> Any:
    """`value` for JSON that every reader takes: numbers that are not finite become null, or what is `said` of them."""
    if isinstance(value, dict):
        return {key: strict(item, said) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item, said) for item in value]
    return said(value) if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(strict(value), indent=2, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write `path` whole, in UTF-8, or leave it as it was: nothing half written stays, on a full disk say.

    A file's name may hold bytes that are no text; these become question marks.
    """
    temporary = path.with_suffix(".tmp")
    try:
        temporary.write_text(text, encoding="utf-8", errors="replace")
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
