"""Checksums of the project's own source: whether a result that lies there was made by the code that is here now."""

import ast
import zlib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]


def checksum(module: str, parts: Sequence[str]) -> str:
    """Of the source of `module` and of all modules within `parts` (packages or modules) that it imports, however
    deeply: of a package what it names, where that comes from, and all of it where it is imported as it is."""
    sources: dict[str, bytes] = {}
    todo = [module]
    while todo:
        name = todo.pop()
        path = _file(name)
        inside = name == module or any(name == part or name.startswith(f"{part}.") for part in parts)
        if name in sources or not inside or not path.exists():
            continue
        sources[name] = path.read_bytes()
        for each in ast.walk(ast.parse(sources[name])):
            if isinstance(each, ast.ImportFrom) and each.module:
                todo += _named(each)
            elif isinstance(each, ast.Import):
                todo += [one.name for one in each.names]
    return f"{zlib.crc32(b''.join(sources[name] for name in sorted(sources))):08x}"


def _file(name: str) -> Path:
    """Of a module, or what a package does when it is imported."""
    path = ROOT.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _named(statement: ast.ImportFrom) -> list[str]:
    """The modules that `from module import names` asks for: the module, names that are modules themselves, and where a
    package has the others from."""
    module, names = str(statement.module), {one.name for one in statement.names}
    within = [f"{module}.{name}" for name in names]
    path = _file(module)
    if path.name != "__init__.py" or not path.exists():
        return [module, *within]
    imports = [each for each in ast.parse(path.read_bytes()).body if isinstance(each, ast.ImportFrom) and each.module]
    given = [each.module for each in imports if names & {one.asname or one.name for one in each.names}]
    return [*within, *map(str, given)]
