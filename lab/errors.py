"""Wrong input from a person, said in one line."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Input that cannot be used. The message is one line: what is wrong, where, and how to mend it.

    The command line prints it and exits with code 2; from Python it is an ordinary ValueError.
    """


class Notice(UserWarning):
    """Something damaged that was passed over, by name. The command line prints it in one line and goes on."""


def unknown(kind: str, name: str, known: Iterable[str], hint: str = "") -> InputError:
    """The error for a name that is not among `known`, with the near matches or, failing those, the whole list."""
    options = sorted(known)
    lowered = {option.lower(): option for option in reversed(options)}
    near = [lowered[match] for match in difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.5)]
    tail = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(options[:20])}"
    return InputError(f"unknown {kind} {name!r}; {tail}{' ' + hint if hint else ''}")
