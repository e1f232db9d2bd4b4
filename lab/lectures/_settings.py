"""Settings of an experiment: fields with bounds, overridden by name, checked once."""

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from lab.errors import InputError, unknown

T = TypeVar("T", bool, int, float, str)

_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}


def setting(default: T, low: float = 0, high: float = 0, *, quick: T | None = None, choices: Sequence[str] = ()) -> T:
    """A field of an experiment's `Settings`: a number in [low, high], true or false, or one of `choices`.

    quick: its value under --quick, where that is another.
    """
    metadata = {"low": low, "high": high, "quick": default if quick is None else quick, "choices": tuple(choices)}
    return dataclasses.field(default=default, metadata=metadata)


def build(kind: type, overrides: Mapping[str, Any], quick: bool = False, seeds: int | None = None, of: str = "") -> Any:
    """An instance of the settings class `kind` of experiment `of`; values may be text, as the command line has them.

    seeds: the field of that name, where there is one; an experiment without chance has none and needs none.
    Raises InputError for a name that is unknown, a value of the wrong type or one out of range.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    values = {name: field.metadata["quick"] for name, field in fields.items()} if quick else {}
    if seeds is not None and "seeds" in fields:
        if "seeds" in overrides:
            raise InputError(
                f"seeds is given twice, as {seeds} and as {overrides['seeds']}; give one of --seeds and --set"
            )
        overrides = {"seeds": seeds, **overrides}
    for name, value in overrides.items():
        if name not in fields:
            raise (
                unknown("setting", name, fields, f"({of} has these)")
                if fields
                else InputError(f"unknown setting {name!r}; {of} has none")
            )
        values[name] = _value(name, value, hints[name], fields[name].metadata)
    return kind(**values)


def _value(name: str, given: Any, kind: type, bounds: Mapping[str, Any]) -> Any:
    """`given` as a `kind` within bounds."""
    if bounds["choices"]:
        if given not in bounds["choices"]:
            raise unknown(f"value of setting {name}:", str(given), bounds["choices"])
        return given
    allowed = _NAMES[kind] + (f" from {bounds['low']:g} to {bounds['high']:g}" if kind in (int, float) else "")
    try:
        value = _convert(given, kind)
    except (ValueError, KeyError, OverflowError):
        raise InputError(f"setting {name}={given} is not {_NAMES[kind]}; give {allowed}") from None
    if kind in (int, float) and not bounds["low"] <= value <= bounds["high"]:  # written so that NaN is out of range
        raise InputError(f"setting {name}={given} is out of range; give {allowed}")
    return value


def _convert(given: Any, kind: type) -> Any:
    if isinstance(given, str):
        return _WORDS[given.lower()] if kind is bool else kind(given)
    fits = isinstance(given, int | float) if kind is float else isinstance(given, kind)
    if not fits or (isinstance(given, bool) and kind is not bool):
        raise ValueError
    return kind(given)
