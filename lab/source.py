"""Checksums of the project's own source: whether a result that lies there was made by the code that is here now."""

import ast
import zlib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]


def checksum(module: str, parts: Sequence[str]) -> str:
    """Of the source of `module` and of all modules within `parts` (packages or modules) that it imports, however
    deeply."""
    sources: dict[str, bytes] = {}
    todo = [module]
    while todo:
        name = todo.pop()
        path = ROOT.joinpath(*name.split(".")).with_suffix(".py")
        inside = name == module or any(name == part or name.startswith(f"{part}.") for part in parts)
        if name in sources or not inside or not path.exists():
            continue
        sources[name] = path.read_bytes()
        for each in ast.walk(ast.parse(sources[name])):
            if isinstance(each, ast.ImportFrom) and each.module:  # names may be modules themselves
                todo += [each.module, *(f"{each.module}.{one.name}" for one in each.names)]
            elif isinstance(each, ast.Import):
                todo += [one.name for one in each.names]
    return f"{zlib.crc32(b''.join(sources[name] for name in sorted(sources))):08x}"
