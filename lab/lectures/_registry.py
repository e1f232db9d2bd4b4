"""Which experiments there are: read from file names and docstrings, without importing any of them."""

import ast
import importlib
from functools import cache
from pathlib import Path
from types import ModuleType

from lab.errors import InputError, unknown
from lab.lectures._claims import Claim
from lab.source import checksum

SECTIONS = (
    "core", "foundations", "optimisation", "architectures", "generative", "transfer", "interpretability", "evolution",
)  # fmt: skip
LECTURES = {
    "L0": "Deep Learning in Wilderness", "L1": "Deep learning review", "L2": "15. Deep Learning", "L3": "KDDM2",
    "L4": "Machine learning lecture",
}  # fmt: skip
USED = ("agents", "envs", "forecasting", "lab.lectures", "lab.stats")
_HERE = Path(__file__).parent


@cache
def _files() -> dict[str, Path]:
    """id -> file, by section and then by name; a double underscore stands for a dot (3__37 is 3.37)."""
    files = [path for section in SECTIONS for path in sorted((_HERE / section).glob("[a-z]*.py"))]
    return {path.stem.replace("__", ".").replace("_", "-"): path for path in files}


def ids(section: str = "", lecture: str = "") -> list[str]:
    """The experiments of one section, of what one lecture says (L0 to L4), or all.

    Raises InputError for a section or a lecture that is unknown.
    """
    if section and section not in SECTIONS:
        raise unknown("section", section, SECTIONS)
    if lecture and lecture not in LECTURES:
        raise unknown("lecture", lecture, LECTURES)
    found = [id for id, path in _files().items() if section in ("", path.parent.name)]
    return [id for id in found if lecture in claim(id).lectures] if lecture else found


def _file(id: str) -> Path:
    if id not in _files():
        raise unknown("experiment", id, _files(), "(lab reproduce lists them)")
    return _files()[id]


def section_of(id: str) -> str:
    return _file(id).parent.name


def claim(id: str) -> Claim:
    """The claim that an experiment tests, from its docstring.

    Raises InputError for an unknown experiment, and for a file that is none.
    """
    path = _file(id)
    try:
        return Claim.parse(id, ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "")
    except (SyntaxError, ValueError) as error:
        raise InputError(f"{path} is no experiment: {error}; mend it, or take it out of the folder") from None


def settings(id: str) -> list[tuple[str, str, str]]:
    """(name, default and bounds, meaning) of each setting of an experiment, from its source."""
    body = ast.parse(_file(id).read_text(encoding="utf-8")).body
    lines = next((each.body for each in body if isinstance(each, ast.ClassDef) and each.name == "Settings"), [])
    found = []
    for line, after in zip(lines, [*lines[1:], None], strict=True):
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and isinstance(line.value, ast.Call):
            said = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            meaning = " ".join(str(after.value.value).split()) if said else ""  # type: ignore[union-attr]
            default, *bounds = (ast.unparse(each).strip("'") for each in line.value.args)
            found.append((line.target.id, default + (f" ({' to '.join(bounds)})" if bounds else ""), meaning))
    return found


def load(id: str) -> ModuleType:
    """The experiment's module, with `Settings` and `measure`. Raises InputError for an unknown experiment."""
    path = _file(id)
    return importlib.import_module(f"{__package__}.{path.parent.name}.{path.stem}")


def code(id: str) -> str:
    """A checksum of the experiment's source, and of all that it imports of what it measures and measures by.

    What was measured by another version is measured again.
    """
    return checksum(f"{__package__}.{section_of(id)}.{_file(id).stem}", USED)
