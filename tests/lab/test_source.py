"""Whose code a result is: checksums of a module and of what it imports."""

import pytest

from lab import source
from lab.lectures import _registry

DEEP = {"one": "def f():\n    from own.two import g", "two": "import os\nfrom own import three", "three": "x = 1"}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write modules of the package `own`; returns the checksum of one of them."""
    monkeypatch.setattr(source, "ROOT", tmp_path)
    (tmp_path / "own").mkdir()

    def written(module, **texts):
        for name, text in texts.items():
            (tmp_path / "own" / f"{name}.py").write_text(text)
        return source.checksum(f"own.{module}", ["own"])

    return written


def test_a_checksum_is_of_all_that_a_module_imports(write):
    first = {name: write(name, **DEEP) for name in DEEP}
    assert first == {name: write(name, **DEEP) for name in DEEP} and len(set(first.values())) == 3
    second = {name: write(name, **DEEP | {"three": "x = 2"}) for name in DEEP}
    assert all(first[name] != second[name] for name in DEEP)
    third = {name: write(name, **DEEP | {"one": "import own.two as g"}) for name in DEEP}
    assert third["two"] == first["two"] and third["one"] != write("one", **DEEP | {"two": ""}) != first["one"]


def test_what_a_package_gives_counts_where_it_comes_from(write):
    texts = {"__init__": "from own.two import g\nfrom own.three import h\ny = 1", "two": "g = 1", "three": "h = 1"}
    for one in ("from own import g", "import own"):
        before = write("one", one=one, **texts)
        assert write("one", two="g = 2") != before
        assert (write("one", two="g = 1", three="h = 2") != before) == (one == "import own")
        assert (write("one", three="h = 1", __init__=texts["__init__"] + "1") != before) == (one == "import own")


def test_what_lies_outside_the_parts_does_not_count(write):
    write("one", **DEEP)
    (source.ROOT / "own" / "other.py").write_text("x = 1")
    before = source.checksum("own.one", ["own.two"])
    write("three", three="x = 2")
    assert source.checksum("own.one", ["own.two"]) == before
    assert source.checksum("own.one", ["own.three"]) == source.checksum("own.one", [])  # only by way of own.two


@pytest.mark.parametrize(
    ("id", "part"),
    [("dqn-preprocess-stack", "agents"), ("dqn-preprocess-stack", "envs"), ("forecast-benchmark", "forecasting"),
     ("forecast-benchmark", "lab.stats")],
)  # fmt: skip
def test_an_experiments_code_is_also_that_of_what_it_measures_and_measures_by(monkeypatch, id, part):
    before, apart = _registry.code(id), _registry.code("node-minus-23")
    monkeypatch.setattr(_registry, "USED", tuple(each for each in _registry.USED if each != part))
    assert _registry.code(id) != before and _registry.code("node-minus-23") == apart


def test_every_experiments_code_is_also_that_of_what_judges_it(monkeypatch):
    ids = ("dqn-epsilon-greedy", "node-minus-23")
    before = [_registry.code(id) for id in ids]
    monkeypatch.setattr(_registry, "USED", tuple(each for each in _registry.USED if each != "lab.lectures"))
    assert not set(before) & {_registry.code(id) for id in ids}
