"""Claims, findings, verdicts, settings and the registry: pure parts of the lecture bench."""

import math
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest

from lab.errors import InputError
from lab.lectures import Claim, Finding, Role, Verdict, check, control, doubt, ids, judge, report, setting
from lab.lectures._settings import build
from lab.stats import bootstrap, proportion

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("measured", "condition", "interval", "holds"),
    [
        (5, "== 5", None, True),
        (5.2, "== 5 +- 0.1", None, False),
        (20959.15, "== 20,959.2 +- 0.1", None, True),
        (5, "< 5", None, False),
        (5, "<= 5", None, True),
        (5, "> 5", None, False),
        (5, ">= 5", None, True),
        (INF, "> 5", None, True),
        (4.5, "in 4 .. 5", None, True),
        (NAN, ">= 0", None, None),
        (1, ">= 0", (NAN, NAN), None),
        (6, "> 5", (5.5, 7), True),
        (6, "> 5", (4, 7), None),
        (6, "> 5", (5, 7), None),
        (4, "> 5", (3, 5), False),
        (4, "> 5", (-INF, INF), None),
        (5, "== 5 +- 1", (3, 7), None),
        (9, "== 5 +- 1", (8, 10), False),
    ],
)
def test_a_condition_holds_fails_or_is_left_open_by_the_interval(measured, condition, interval, holds):
    assert check("x", measured, condition, interval).holds is holds


@pytest.mark.parametrize("condition", ["", "5", "~ 5", "> 5 +- 1", "== five"])
def test_a_condition_that_cannot_be_read_is_an_error(condition):
    with pytest.raises(ValueError, match=r"cannot be read|could not convert"):
        check("x", 5, condition)


def test_the_verdict_is_a_function_of_the_conditions_alone():
    yes, no, told = check("a", 1, "== 1"), check("b", 1, "== 2"), report("c", 7)
    unclear = check("d", 1, "> 1", (0, 2))
    assert judge([yes, told]) is Verdict.HOLDS
    assert judge([no, told]) is Verdict.FAILS
    assert judge([yes, no]) is Verdict.MIXED
    assert judge([yes, no, unclear]) is Verdict.MIXED
    assert judge([yes, unclear]) is Verdict.NOT_REACHED
    assert judge([no, unclear]) is Verdict.NOT_REACHED
    assert judge([told]) is judge([]) is Verdict.NOT_REACHED
    assert [str(verdict) for verdict in Verdict] == ["holds", "fails", "mixed", "not reached"]


def test_the_verdict_is_about_the_claim_alone():
    yes, no, open_ = check("a", 1, "== 1"), check("b", 1, "== 2"), check("c", 1, "> 1", (0, 2))
    for aside in (yes, no, open_):  # whether the doubt is right or not
        assert judge([yes, doubt(aside)]) is Verdict.HOLDS and judge([no, doubt(aside)]) is Verdict.FAILS
        assert judge([doubt(aside)]) is Verdict.NOT_REACHED
    assert judge([yes, control(yes)]) is Verdict.HOLDS and judge([no, control(yes)]) is Verdict.FAILS
    for broken in (no, open_):
        assert judge([yes, control(broken)]) is judge([yes, no, control(broken)]) is Verdict.NOT_REACHED
    assert (yes.role, control(yes).role, doubt(yes).role) == (Role.CLAIM, Role.CONTROL, Role.DOUBT)


def test_a_finding_survives_json_and_nan_becomes_null():
    finding = check("a", 1.5, "> 1", (1.2, 1.9), (1.2, 1.9))
    for each in (finding, doubt(finding), control(finding), report("b", 1.0)):
        assert Finding.from_json(each.to_json()) == each
    assert report("b", INF).to_json()["measured"] is None


def test_a_finding_in_words_says_where_it_cannot_tell():
    """The same at the command line, on the page and in a notebook."""
    open_ = check("gain", 20525631.3, "> 0", (-0.5, 4.2e7))
    assert list(open_.words().values()) == [
        "gain", "20,525,631", "-0.5 to 42,000,000", "claim", "> 0", "cannot tell"
    ]  # fmt: skip
    assert list(report("size", float("nan")).words().values()) == ["size", "–", "", "", "(reported)", ""]


def test_a_claim_is_read_from_a_docstring():
    text = "Title.\n\nLecture: L1\nSlide: S\nSays: two\n    lines\nDoubt: some\nKind: exact\n\nSays: this is prose."
    assert Claim.parse("x", text) == Claim("x", "Title.", "L1", "S", "two lines", "some", "exact")
    with pytest.raises(ValueError, match="lacks Doubt"):
        Claim.parse("x", text.replace("Doubt: some\n", ""))
    with pytest.raises(ValueError, match="kind 'maybe'"):
        Claim.parse("x", text.replace("exact", "maybe"))


@dataclass(frozen=True)
class Example:
    seeds: int = setting(5, 1, 10, quick=2)
    rate: float = setting(0.1, 0.0, 1.0)
    bias: bool = setting(True)
    rule: str = setting("adam", choices=("adam", "sgd"))


def test_settings_come_from_text_and_from_python():
    assert build(Example, {}) == Example(5, 0.1, True, "adam")
    assert build(Example, {"seeds": "3", "rate": "1e-2", "bias": "no", "rule": "sgd"}) == Example(3, 0.01, False, "sgd")
    assert build(Example, {"seeds": 3, "rate": 1}) == Example(3, 1.0, True, "adam")
    assert build(Example, {}, quick=True).seeds == 2
    assert build(Example, {}, quick=True, seeds=7).seeds == 7


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("seeds", "abc", "setting seeds=abc is not a whole number; give a whole number from 1 to 10"),
        ("seeds", "2.5", "not a whole number"),
        ("seeds", 2.5, "not a whole number"),
        ("seeds", True, "not a whole number"),
        ("seeds", "11", "setting seeds=11 is out of range; give a whole number from 1 to 10"),
        ("rate", "nan", "out of range; give a number from 0 to 1"),
        ("rate", None, "not a number"),
        ("bias", "maybe", "setting bias=maybe is not true or false"),
        ("rule", "adan", "did you mean adam"),
        ("sedes", "3", "unknown setting 'sedes'; did you mean seeds"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it_and_its_bounds(name, value, message):
    with pytest.raises(InputError, match=message) as error:
        build(Example, {name: value})
    assert "\n" not in str(error.value)


def test_intervals():
    low, high = proportion(27, 50)  # Clopper and Pearson: 27 of 50 is .393 to .682
    assert (round(low, 3), round(high, 3)) == (0.393, 0.682)
    assert bootstrap([3.0]) == (-INF, INF)
    low, high = bootstrap(np.arange(101.0), np.mean)
    assert 43 < low < 46 < 54 < high < 57
    assert bootstrap([1.0, 2.0, 5.0]) == bootstrap([1.0, 2.0, 5.0])


def test_the_registry_imports_no_experiment_and_nothing_heavy():
    code = (
        "import sys, lab.lectures, lab.lectures.commands; lab.lectures.ids(); lab.lectures.claim('perceptron-xor');"
        "heavy = {'torch', 'numpy', 'matplotlib', 'sktime', 'lab.run', 'lab.lectures.foundations.perceptron_xor'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_unknown_experiment_and_section_name_the_near_matches():
    from lab.lectures import claim

    with pytest.raises(InputError, match=r"unknown experiment 'perceptron_xor'; did you mean perceptron-xor"):
        claim("perceptron_xor")
    with pytest.raises(InputError, match=r"unknown section 'foundation'; did you mean foundations"):
        ids("foundation")
