"""What a lecture says, what was measured, and what follows: Claim, Finding, Verdict. Pure, and free of any library."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

from lab.digits import told

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("exact", "chance")
_FIELDS = ("Lecture", "Slide", "Says", "Doubt", "Kind")


@dataclass(frozen=True)
class Claim:
    """One statement of a lecture, as the docstring of its experiment gives it."""

    id: str
    title: str
    """The first line of the docstring: the experiment in one sentence."""
    lecture: str
    """L0 to L4, and the lecture's title."""
    slide: str
    says: str
    """The lecture's own words."""
    doubt: str
    """Where the lecture is wrong, weak or silent."""
    kind: str
    """"exact": a worked number, the same in every run; "chance": seeds and intervals play a part."""

    @property
    def lectures(self) -> list[str]:
        """Those of L0 to L4 that make the claim."""
        return sorted(set(re.findall(r"\bL[0-4]\b", self.lecture)))

    @classmethod
    def parse(cls, id: str, docstring: str) -> Self:
        """Read the fields `Name: text` from a docstring; a text goes on over indented or plain lines to the next field.

        Raises ValueError for a field that is missing or a kind that is unknown: such a file is not an experiment.
        """
        title, _, body = docstring.strip().partition("\n")
        block = body.strip().split("\n\n")[0]
        parts = re.split(rf"^({'|'.join(_FIELDS)}):", block, flags=re.MULTILINE)
        fields = {name: " ".join(text.split()) for name, text in zip(parts[1::2], parts[2::2], strict=True)}
        if missing := [name for name in _FIELDS if not fields.get(name)]:
            raise ValueError(f"the docstring of experiment {id} lacks {', '.join(missing)}")
        if fields["Kind"] not in KINDS:
            raise ValueError(f"experiment {id} is of kind {fields['Kind']!r}; known: {', '.join(KINDS)}")
        return cls(id, title.strip(), *(fields[name] for name in _FIELDS))


class Verdict(StrEnum):
    """What the findings say about the claim."""

    HOLDS = "holds"
    FAILS = "fails"
    MIXED = "mixed"
    NOT_REACHED = "not reached"


class Role(StrEnum):
    """Whose a condition is. The lecture's claim alone is judged."""

    CLAIM = "claim"
    """What the lecture says."""
    CONTROL = "control"
    """What must be so for the measurement to mean anything: the nets have learnt, theory and program agree."""
    DOUBT = "doubt"
    """What the experiment says against the lecture, or beyond it: told beside the verdict, no part of it."""


@dataclass(frozen=True)
class Finding:
    """One measured number and the condition it was held against. Make it by `check` or `report`."""

    name: str
    measured: float
    expected: str = ""
    """The condition, as text; empty for a number that is only reported."""
    holds: bool | None = None
    """None: reported only, or the interval lies across the bound, so that this budget cannot tell."""
    interval: tuple[float, float] | None = None
    """95 % interval, where chance plays a part."""
    values: tuple[float, ...] = ()
    """What was measured per seed."""
    role: Role = Role.CLAIM
    """Without meaning where nothing is expected."""

    def words(self, digits: int = 4) -> dict[str, str]:
        """As a row of a table: finding, measured, 95 % interval, about, expected, holds."""
        return {
            "finding": self.name,
            "measured": told(self.measured, digits),
            "95 % interval": " to ".join(told(end, min(digits, 4)) for end in self.interval or ()),
            "about": self.role if self.expected else "",
            "expected": self.expected or "(reported)",
            "holds": {True: "yes", False: "no", None: "cannot tell" if self.expected else ""}[self.holds],
        }

    @property
    def slug(self) -> str:
        """The name as a TensorBoard tag."""
        return re.sub(r"[^\w.+-]+", "-", self.name.lower()).strip("-")

    def to_json(self) -> dict[str, Any]:
        """As JSON has it, which knows neither infinity nor NaN: those become null."""
        return {
            "name": self.name,
            "measured": _finite(self.measured),
            "expected": self.expected,
            "role": self.role if self.expected else "",
            "holds": self.holds,
            "interval": [_finite(end) for end in self.interval] if self.interval else None,
            "values": [_finite(value) for value in self.values],
        }

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Self:
        ends = saved["interval"]
        return cls(
            saved["name"],
            _number(saved["measured"]),
            saved["expected"],
            saved["holds"],
            (_number(ends[0]), _number(ends[1])) if ends else None,
            tuple(_number(value) for value in saved["values"]),
            Role(saved["role"] or Role.CLAIM),
        )


@dataclass(frozen=True)
class Outcome:
    """What an experiment returns."""

    findings: Sequence[Finding]
    figure: "Figure"
    budget: str
    """What was spent, in words: nets, steps, points."""
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    """Further curves for TensorBoard, one value a step; the tag is claim/NAME."""


def check(
    name: str,
    measured: float,
    condition: str,
    interval: tuple[float, float] | None = None,
    values: Iterable[float] = (),
) -> Finding:
    """Hold a number against a condition: "== 5", "== 5 +- 0.1", "< 5", "<= 5", "> 5", ">= 5" or "in 4 .. 5".

    Without an interval the number decides. With one the whole interval must satisfy the condition, or miss it whole;
    an interval across the bound leaves the question open, and so does a number that is NaN: nothing was measured.
    """
    region = _Region.parse(condition)
    low, high = interval or (measured, measured)
    holds: bool | None = None
    if not any(math.isnan(number) for number in (measured, low, high)):
        holds = True if region.contains(low, high) else False if region.misses(low, high) else None
    return Finding(name, float(measured), condition, holds, interval, tuple(map(float, values)))


def report(
    name: str, measured: float, interval: tuple[float, float] | None = None, values: Iterable[float] = ()
) -> Finding:
    """A number told without a condition; it has no say in the verdict."""
    return Finding(name, float(measured), "", None, interval, tuple(map(float, values)))


def control(finding: Finding) -> Finding:
    """This condition must hold for anything to follow from the others."""
    return replace(finding, role=Role.CONTROL)


def doubt(finding: Finding) -> Finding:
    """This condition is the experiment's own: it holds if the doubt is right, and has no say in the verdict."""
    return replace(finding, role=Role.DOUBT)


def judged(findings: Iterable[Finding]) -> list[Finding]:
    """The conditions that the verdict rests on: those of the claim."""
    return [each for each in findings if each.expected and each.role is Role.CLAIM]


def judge(findings: Sequence[Finding]) -> Verdict:
    """What the conditions of the claim say, if every control holds; without that the claim is not reached.

    Holds or fails if all of them do, mixed if some hold and some fail, else not reached.
    """
    answers = [each.holds for each in judged(findings)]
    if any(each.expected and each.role is Role.CONTROL and not each.holds for each in findings):
        return Verdict.NOT_REACHED
    if True in answers and False in answers:
        return Verdict.MIXED
    if not answers or None in answers:
        return Verdict.NOT_REACHED
    return Verdict.HOLDS if answers[0] else Verdict.FAILS


@dataclass(frozen=True)
class _Region:
    """The numbers that satisfy a condition: an interval, with or without its ends."""

    low: float
    high: float
    closed: bool

    @classmethod
    def parse(cls, condition: str) -> Self:
        if match := re.fullmatch(r"in (\S+) \.\. (\S+)", condition):
            return cls(float(match[1]), float(match[2]), closed=True)
        match = re.fullmatch(r"(==|<=|>=|<|>) (\S+)(?: \+- (\S+))?", condition)
        if not match or (match[3] and match[1] != "=="):
            raise ValueError(
                f"condition {condition!r} cannot be read; write it as '>= 5', '== 5 +- 0.1' or 'in 4 .. 5'"
            )
        bound, within = float(match[2].replace(",", "")), float(match[3] or 0)
        if match[1] == "==":
            return cls(bound - within, bound + within, closed=True)
        if match[1].startswith("<"):
            return cls(-math.inf, bound, closed="=" in match[1])
        return cls(bound, math.inf, closed="=" in match[1])

    def contains(self, low: float, high: float) -> bool:
        if self.closed:
            return self.low <= low and high <= self.high
        # an open condition has one bound; its other end is infinite, and infinity satisfies it
        return high < self.high if self.low == -math.inf else self.low < low

    def misses(self, low: float, high: float) -> bool:
        return (high < self.low or low > self.high) if self.closed else (high <= self.low or low >= self.high)


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _number(saved: float | None) -> float:
    return math.nan if saved is None else float(saved)
