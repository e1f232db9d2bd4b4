"""Checkpoints that survive a kill: atomic, checksummed and free of pickle.

A checkpoint is a folder `step-00050000` with `arrays.safetensors` (every tensor and array), `state.json` (everything
else) and `manifest.json` (their sha256, written last). It is written under a temporary name, flushed to the disk and
renamed, so a folder of that name is whole; and its checksums are verified before anything is read from it.

What is large and changes little by little is saved as `Pieces`: each piece is a file in the folder `pieces`, which the
checkpoints beside it share, so that only those that changed are written.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import uuid
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from lab.errors import InputError, Notice

ARRAYS, STATE, MANIFEST, PIECES = "arrays.safetensors", "state.json", "manifest.json", "pieces"


Files = dict[int, tuple[int, str, str]]  # piece -> (version, file, sha256)


class CorruptCheckpoint(Exception):
    """A checkpoint whose files are missing or do not match their checksums; the message names the file."""


class Pieces:
    """A tensor saved in pieces along its first dimension.

    Its owner keeps `files`, which tells of every piece in which file it lies and which version of it that is, and gives
    it again at the next save: pieces whose version is the same are not written again.
    """

    def __init__(
        self, tensor: torch.Tensor, size: int, versions: Sequence[int], files: dict[int, tuple[int, str, str]]
    ):
        """tensor (n, ...); size: of a piece; versions: of the pieces, each a number that is another when it changed;
        files: where they lie, filled in by `save`.
        """
        self.tensor, self.size, self.versions, self.files = tensor, size, versions, files
        self.folder: Path | None = None

    @classmethod
    def saved(cls, folder: Path, size: int, files: Files) -> "Pieces":
        """Those that lie in files of `folder`, read only when they are asked for."""
        pieces = cls(torch.empty(0), size, [version for version, _, _ in files.values()], files)
        pieces.folder = folder
        return pieces

    def __iter__(self) -> Iterator[torch.Tensor]:
        if self.folder:
            for _, file, _ in self.files.values():
                yield load_file(self.folder / file)["piece"]
        else:
            yield from self.tensor.split(self.size)

    def into(self, target: torch.Tensor) -> None:
        """Copy all pieces to the beginning of `target`, one at a time. Raises InputError where they do not fit it."""
        for number, piece in enumerate(self):
            if piece.shape[1:] != target.shape[1:]:
                there, wanted = (" x ".join(map(str, each.shape[1:])) for each in (piece, target))
                raise InputError(
                    f"the checkpoint is an older version's, with rows of {there} rather than {wanted}; "
                    "give another --name"
                )
            target[number * self.size :][: len(piece)] = piece

    def write(self, folder: Path) -> None:
        """Write the pieces that changed; brings `files` up to date."""
        folder.mkdir(exist_ok=True)
        for number, (version, piece) in enumerate(zip(self.versions, self, strict=True)):
            old, file, _ = self.files.get(number, (None, "", ""))
            if old == version and (folder / file).exists():
                continue
            file = f"{number:05d}-{uuid.uuid4().hex}.safetensors"  # a name never used before: old ones stay as they are
            with writing(folder / file):
                save_file({"piece": piece.detach().cpu().contiguous()}, folder / file)
            _flush(folder / file)
            self.files[number] = (version, file, _sha256(folder / file))
        _flush(folder)


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
    pieces: list[Pieces] = []
    tree = _pack(state, "", arrays, pieces)
    for each in pieces:
        each.write(folder / PIECES)
    with writing(temporary / ARRAYS):
        save_file(arrays, temporary / ARRAYS)
    (temporary / STATE).write_text(json.dumps(tree, default=_files), encoding="utf-8")
    manifest = {
        "step": step,
        "sha256": {name: _sha256(temporary / name) for name in (ARRAYS, STATE)},
        PIECES: {file: sha256 for each in pieces for _, file, sha256 in each.files.values()},
    }
    (temporary / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
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
    _drop_pieces(folder)
    return final


def _drop_pieces(folder: Path) -> None:
    """Delete the pieces that no checkpoint under `folder` is made of."""
    used: set[str] = set()
    for path in steps(folder):
        # a damaged checkpoint keeps nothing: `load` will refuse it
        with contextlib.suppress(OSError, ValueError, AttributeError):
            used |= json.loads((path / MANIFEST).read_text(encoding="utf-8")).get(PIECES, {}).keys()
    for file in (folder / PIECES).glob("*"):
        if file.name not in used:
            file.unlink()


def steps(folder: Path) -> list[Path]:
    """The checkpoint folders under `folder`, oldest first."""
    found = [path for path in folder.glob("step-*") if re.fullmatch(r"step-\d+", path.name)]
    return sorted(found, key=lambda path: int(path.name[5:]))


def load(path: Path) -> Any:
    """The state saved in the checkpoint folder `path`; arrays come back as CPU tensors.

    Raises CorruptCheckpoint if a file is missing or changed.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        for name in (ARRAYS, STATE):
            if _sha256(path / name) != manifest["sha256"][name]:
                raise CorruptCheckpoint(f"{path / name} does not match its sha256")
        for name, expected in manifest.get(PIECES, {}).items():
            if _sha256(path.parent / PIECES / name) != expected:
                raise CorruptCheckpoint(f"{path.parent / PIECES / name} does not match its sha256")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:  # no JSON, or other JSON than ours
        raise CorruptCheckpoint(f"{path} is not a whole checkpoint ({error})") from error
    return _unpack(
        json.loads((path / STATE).read_text(encoding="utf-8")), load_file(path / ARRAYS), path.parent / PIECES
    )


def load_newest(folder: Path) -> tuple[int, Any] | None:
    """(step, state) of the newest intact checkpoint, or None. Warns by name about each damaged one it passes over."""
    found = steps(folder)
    for number, path in reversed(list(enumerate(found))):
        try:
            return int(path.name[5:]), load(path)
        except CorruptCheckpoint as error:
            then = "; trying the one before" if number else ""
            warnings.warn(f"checkpoint refused: {error}{then}", Notice, stacklevel=2)
    return None


def _pack(value: Any, path: str, arrays: dict[str, torch.Tensor], pieces: list[Pieces]) -> Any:
    if isinstance(value, torch.Tensor):
        arrays[path] = _alone(value.detach().cpu().contiguous(), arrays)
        return {"$": "tensor", "at": path}
    if isinstance(value, Pieces):
        pieces.append(value)
        return {"$": "pieces", "of": value}
    if isinstance(value, np.ndarray):
        arrays[path] = _alone(torch.from_numpy(np.ascontiguousarray(value)), arrays)
        return {"$": "array", "at": path}
    if isinstance(value, dict):
        return {"$": "dict", "items": [[k, _pack(v, f"{path}/{k}", arrays, pieces)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        items = [_pack(item, f"{path}/{i}", arrays, pieces) for i, item in enumerate(value)]
        return {"$": "tuple", "items": items} if isinstance(value, tuple) else items
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a checkpoint cannot hold {type(value).__name__} (at {path or 'the top'})")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Where safetensors cannot write `path` (a full disk), raises OSError as for any other file."""
    try:
        yield
    except SafetensorError as error:
        raise OSError(errno.EIO, str(error), str(path)) from error


def _alone(tensor: torch.Tensor, arrays: dict[str, torch.Tensor]) -> torch.Tensor:
    """`tensor`, copied only if it shares its memory with one of `arrays`, which safetensors refuses."""
    memory = tensor.untyped_storage().data_ptr()
    shared = any(other.untyped_storage().data_ptr() == memory for other in arrays.values())
    return tensor.clone() if shared else tensor


def _files(pieces: Any) -> Any:
    """Pieces as JSON, once they are written."""
    return {"size": pieces.size, "files": [[number, *where] for number, where in pieces.files.items()]}


def _unpack(value: Any, arrays: dict[str, torch.Tensor], folder: Path) -> Any:
    if isinstance(value, list):
        return [_unpack(item, arrays, folder) for item in value]
    if not isinstance(value, dict):
        return value
    match value["$"]:
        case "tensor":
            return arrays[value["at"]]
        case "pieces":
            files = {number: (version, file, sha256) for number, version, file, sha256 in value["of"]["files"]}
            return Pieces.saved(folder, value["of"]["size"], files)
        case "array":
            return arrays[value["at"]].numpy()
        case "tuple":
            return tuple(_unpack(item, arrays, folder) for item in value["items"])
        case _:
            return {key: _unpack(item, arrays, folder) for key, item in value["items"]}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
