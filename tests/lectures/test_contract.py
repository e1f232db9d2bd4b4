"""What every experiment must keep, run over all of them."""

import dataclasses
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from lab.lectures import SECTIONS, Outcome, claim, ids, judge, load, section_of
from lab.lectures._claims import _FIELDS
from lab.lectures._settings import build


def test_contributing_names_what_the_docstring_must_have():
    told = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in told for name in _FIELDS)


@pytest.mark.parametrize("id", ids())
def test_the_docstring_is_the_claim(id):
    known = claim(id)
    assert known.id == id and section_of(id) in SECTIONS
    assert known.lecture[:2] in ("L0", "L1", "L2", "L3", "L4")
    assert known.says.count('"') >= 2, "what the lecture says is quoted"


@pytest.mark.parametrize("id", ids())
def test_settings_are_a_frozen_dataclass_with_defaults_in_bounds(id):
    kind = load(id).Settings
    assert kind.__dataclass_params__.frozen
    for quick in (False, True):
        values = dataclasses.asdict(build(kind, {}, quick))
        assert build(kind, values) == kind(**values)
    if claim(id).kind == "chance":
        assert "seeds" in {field.name for field in dataclasses.fields(kind)}


@pytest.mark.slow
@pytest.mark.parametrize("id", ids())
def test_quick_gives_judged_findings_under_distinct_tags_a_picture_and_a_budget(id):
    module = load(id)
    settings = build(module.Settings, {}, quick=True)
    outcome = module.measure(settings)
    assert isinstance(outcome, Outcome) and isinstance(outcome.figure, Figure) and outcome.budget
    assert judge(outcome.findings) in ("holds", "fails", "mixed", "not reached")
    assert any(finding.expected for finding in outcome.findings)
    slugs = [finding.slug for finding in outcome.findings]
    assert len(set(slugs)) == len(slugs)
    if claim(id).kind == "chance":
        assert any(finding.values for finding in outcome.findings)
        assert any(finding.interval for finding in outcome.findings)
