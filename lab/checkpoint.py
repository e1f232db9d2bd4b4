"""Checkpoints that survive a kill: atomic, checksummed and free of pickle.

A checkpoint is a folder `step-00050000` with `arrays.safetensors` (every tensor and array), `state.json` (everything
else) and `manifest.json` (their sha256, written last). It is written under a temporary name, flushed to the disk and
renamed, so a folder of that name is whole; and its checksums are verified before anything is read from it.
"""

import hashlib
import json
import os
import re
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from lab.errors import Notice

ARRAYS, STATE, MANIFEST = "arrays.safetensors", "state.json", "manifest.json"


class CorruptCheckpoint(Exception):
    """A checkpoint whose files are missing or do not match their checksums; the message names the file."""


def save(folder: Path, step: int, state: Any, keep: int = 2) -> Path:
    """Write `state` as the checkpoint of `step` under `folder` and drop all but the newest `keep` up to that step.

    state: nested dicts, lists and tuples of torch tensors, NumPy arrays, numbers, strings, booleans and None.
    Raises TypeError for anything else, with the path to it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f"step-{step:08d}"
    temporary = folder / f".writing-{step:08d}"
    for leftover in folder.glob(".*-*"):  # of a process killed while it wrote or deleted
        shutil.rmtree(leftover)
    temporary.mkdir()

    arrays: dict[str, torch.Tensor] = {}
    tree = _pack(state, "", arrays)
    save_file(arrays, temporary / ARRAYS)
    (temporary / STATE).write_text(json.dumps(tree))
    manifest = {"step": step, "sha256": {name: _sha256(temporary / name) for name in (ARRAYS, STATE)}}
    (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1))
    for name in (ARRAYS, STATE, MANIFEST):
        _flush(temporary / name)
    _flush(temporary)
    if final.exists():  # the same step again, after a resume: the new one replaces it
        os.rename(final, folder / f".old-{step:08d}")
        shutil.rmtree(folder / f".old-{step:08d}", ignore_errors=True)
    os.rename(temporary, final)
    _flush(folder)
    kept = [path for path in steps(folder) if int(path.name[5:]) <= step]  # later ones: a past that was gone back on
    for path in set(steps(folder)) - set(kept[-keep:]):
        shutil.rmtree(path)
    return final


def steps(folder: Path) -> list[Path]:
    """The checkpoint folders under `folder`, oldest first."""
    found = [path for path in folder.glob("step-*") if re.fullmatch(r"step-\d+", path.name)]
    return sorted(found, key=lambda path: int(path.name[5:]))


def load(path: Path) -> Any:
    """The state saved in the checkpoint folder `path`; arrays come back as CPU tensors.

    Raises CorruptCheckpoint if a file is missing or changed.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        for name, expected in manifest["sha256"].items():
            if _sha256(path / name) != expected:
                raise CorruptCheckpoint(f"{path / name} does not match its sha256")
    except (OSError, json.JSONDecodeError, KeyError, UnicodeDecodeError) as error:
        raise CorruptCheckpoint(f"{path} is not a whole checkpoint ({error})") from error
    return _unpack(json.loads((path / STATE).read_text()), load_file(path / ARRAYS))


def load_newest(folder: Path) -> tuple[int, Any] | None:
    """(step, state) of the newest intact checkpoint, or None. Warns by name about each damaged one it passes over."""
    for path in reversed(steps(folder)):
        try:
            return int(path.name[5:]), load(path)
        except CorruptCheckpoint as error:
            warnings.warn(f"checkpoint refused: {error}; trying the one before", Notice, stacklevel=2)
    return None


def _pack(value: Any, path: str, arrays: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        arrays[path] = _alone(value.detach().cpu().contiguous(), arrays)
        return {"$": "tensor", "at": path}
    if isinstance(value, np.ndarray):
        arrays[path] = _alone(torch.from_numpy(np.ascontiguousarray(value)), arrays)
        return {"$": "array", "at": path}
    if isinstance(value, dict):
        return {"$": "dict", "items": [[k, _pack(v, f"{path}/{k}", arrays)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        items = [_pack(item, f"{path}/{i}", arrays) for i, item in enumerate(value)]
        return {"$": "tuple", "items": items} if isinstance(value, tuple) else items
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a checkpoint cannot hold {type(value).__name__} (at {path or 'the top'})")


def _alone(tensor: torch.Tensor, arrays: dict[str, torch.Tensor]) -> torch.Tensor:
    """`tensor`, copied only if it shares its memory with one of `arrays`, which safetensors refuses."""
    memory = tensor.untyped_storage().data_ptr()
    shared = any(other.untyped_storage().data_ptr() == memory for other in arrays.values())
    return tensor.clone() if shared else tensor


def _unpack(value: Any, arrays: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, list):
        return [_unpack(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    match value["$"]:
        case "tensor":
            return arrays[value["at"]]
        case "array":
            return arrays[value["at"]].numpy()
        case "tuple":
            return tuple(_unpack(item, arrays) for item in value["items"])
        case _:
            return {key: _unpack(item, arrays) for key, item in value["items"]}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
