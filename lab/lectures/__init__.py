"""The lecture bench: every claim of the five lectures as an experiment that can come out false.

    from lab.lectures import reproduce
    reproduce("perceptron-xor").verdict          # also at the command line: lab reproduce perceptron-xor

One experiment is one file, found by its name: `perceptron-xor` is `foundations/perceptron_xor.py`. It holds

- a docstring whose fields (Lecture, Slide, Says, Doubt, Kind) are the claim;
- `Settings`, a frozen dataclass of `setting(default, low, high, quick=...)`;
- `measure(settings) -> Outcome`: the findings, each a number with a condition made by `check`, and the picture. The
  verdict is about the claim; a condition that is not the lecture's is marked `control(check(...))` or `doubt(...)`.

Importing this package imports no experiment and nothing heavy.
"""

from lab.lectures._claims import Claim, Finding, Outcome, Role, Verdict, check, control, doubt, judge, report
from lab.lectures._registry import LECTURES, SECTIONS, claim, ids, load, section_of
from lab.lectures._reproduce import Result, reproduce, reproduce_each
from lab.lectures._settings import setting

__all__ = [
    "LECTURES", "SECTIONS", "Claim", "Finding", "Outcome", "Result", "Role", "Verdict", "check", "claim", "control",
    "doubt", "ids", "judge", "load", "report", "reproduce", "reproduce_each", "section_of", "setting",
]  # fmt: skip
