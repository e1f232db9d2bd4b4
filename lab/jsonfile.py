"""JSON files of runs: written whole or not at all, read with errors in one line."""

import json
import math
import os
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


def strict(value: Any) -> Any:
    """`value` for JSON that every reader takes: numbers that are not finite become null."""
    if isinstance(value, dict):
        return {key: strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, value: Any) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(strict(value), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(temporary, path)
