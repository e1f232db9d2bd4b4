"""`lab reproduce`: test what the lectures claim. Everything heavy is imported when an experiment is run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from lab import console
from lab.command import Command
from lab.errors import InputError
from lab.lectures._claims import judged

if TYPE_CHECKING:
    from lab.lectures import Result


@dataclass(kw_only=True)
class Reproduce(Command):
    """Test a lecture's claim, several, or all of a section or a lecture; without an ID, list them.

    lab reproduce ID --help shows the settings of an experiment.
    """

    ids: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[ID ...]")] = ()
    """The experiments, such as perceptron-xor."""
    section: str = ""
    """All experiments of a section: core, foundations, optimisation, ..."""
    lecture: str = ""
    """All experiments on what a lecture says: L0 to L4."""
    all: tyro.conf.FlagCreatePairsOff[bool] = False
    """All experiments."""
    settings: Annotated[
        tyro.conf.UseAppendAction[tuple[str, ...]], tyro.conf.arg(name="set", metavar="NAME=VALUE")
    ] = ()
    """Override a setting of the experiment; may be given again."""
    seeds: int | None = None
    """How many random starts, for experiments in which chance plays a part."""
    quick: tyro.conf.FlagCreatePairsOff[bool] = False
    """Shortened settings, a few seconds each; a look, not a result."""
    force: tyro.conf.FlagCreatePairsOff[bool] = False
    """Measure again what has been measured already, into a folder beside it."""
    jobs: int = 0
    """Experiments at a time, where there are several; 0: as many as there are cores."""

    @staticmethod
    def more_help(words: Sequence[str]) -> str:
        """The settings of the experiments named in `words`, for --help."""
        from lab.lectures import _registry

        parts = []
        for id in (word for word in words if word in _registry.ids()):
            lines = [f"  {name}={default}\n      {meaning}" for name, default, meaning in _registry.settings(id)]
            parts.append("\n".join([f"Settings of {id}, for --set NAME=VALUE:", *(lines or ["  none"])]))
        return "\n\n".join(parts)

    def __call__(self) -> None:
        from lab.lectures import ids, reproduce

        if sum([bool(self.ids), bool(self.section), bool(self.lecture), self.all]) > 1:
            raise InputError("give one of: IDs of experiments, --section, --lecture, --all")
        several = self.section or self.lecture or self.all
        chosen = list(dict.fromkeys(self.ids)) or (ids(self.section, self.lecture) if several else [])
        if several and not chosen:
            raise InputError(f"there is no experiment of section {self.section} yet; lab reproduce lists what there is")
        if chosen and self.seeds is not None and not any(map(_by_chance, chosen)):
            raise InputError(
                f"--seeds means nothing to {', '.join(chosen)}: no chance plays a part there; leave it out"
            )
        if self.name and len(self.ids) != 1:
            raise InputError("--name names one run; give it with one experiment")
        if self.jobs < 0:
            raise InputError(f"--jobs is {self.jobs}; give at least 0")
        overrides = dict(map(_pair, self.settings))
        if not chosen:
            self._list()
        elif len(self.ids) == 1:
            result = reproduce(
                chosen[0], overrides, quick=self.quick, seeds=self.seeds, runs=self.runs, name=self.name,
                force=self.force,
            )  # fmt: skip
            self._tell(result)
        else:
            self._several(chosen, overrides)

    def _tell(self, result: "Result") -> None:
        """The claim, what was measured, and the verdict."""
        claim = result.claim
        assert result.path is not None and result.verdict is not None  # only a broken experiment has none
        if not self.json:
            console.results.print(f"[bold]{claim.id}[/bold]  {claim.lecture}, slide “{claim.slide}”")
            console.results.print(f"Says: {claim.says}", markup=False)
        rows = [each.words(6) for each in result.findings]
        self.show("", list(rows[0]), [list(row.values()) for row in rows])
        if not self.json:
            console.results.print(f"Budget: {result.budget}", markup=False)
            console.results.print(f"Doubt: {claim.doubt}", markup=False)
            when = "measured before; --force measures again" if result.kept else "measured now"
            console.results.print(f"Verdict: [bold]{result.verdict}[/bold]  ({result.seconds:.1f} s, {when})")
        self.done(result.to_json(), result.path)

    def _several(self, chosen: list[str], overrides: dict[str, str]) -> None:
        """Several at a time, then a table of verdicts; exit code 1 if one broke down."""
        from lab.lectures import reproduce_each

        results: list[Result] = []
        with console.bar("lab reproduce", len(chosen), "experiments") as advance:
            for result in reproduce_each(
                chosen, overrides, quick=self.quick, seeds=self.seeds, runs=self.runs, force=self.force, jobs=self.jobs
            ):
                results.append(result)
                advance(1, result.claim.id)
        rows = [[each.claim.id, each.error or each.verdict, each.seconds, _note(each)] for each in results]
        results.sort(key=lambda each: chosen.index(each.claim.id))
        self.show("What the lectures claim", ["experiment", "verdict", "seconds", "its conditions held"], rows)
        self.done({"experiments": [each.to_json() for each in results]}, self.runs)
        if any(each.error for each in results):
            raise SystemExit(1)

    def _list(self) -> None:
        """All experiments with their claims, and the verdicts found so far under --runs."""
        from lab.lectures import claim, ids, section_of
        from lab.lectures._reproduce import newest

        listed: list[dict[str, Any]] = [
            {"id": id, "section": section_of(id), "lectures": claim(id).lectures, "verdict": newest(id, self.runs),
             "title": claim(id).title}
            for id in ids()
        ]  # fmt: skip
        rows = [[each["id"], each["section"], " ".join(each["lectures"]), each["verdict"] or "", each["title"]]
                for each in listed]  # fmt: skip
        self.show("Experiments", ["id", "section", "lecture", "verdict so far", "what is shown"], rows)
        self.done({"experiments": listed}, self.runs)


def _by_chance(id: str) -> bool:
    from lab.lectures import _registry

    return "seeds" in [name for name, _, _ in _registry.settings(id)]


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise InputError(f"--set {text} is not NAME=VALUE; write it as --set seeds=5")
    return name.strip(), value.strip()


def _note(result: "Result") -> str:
    answers = [finding.holds for finding in judged(result.findings)]
    return f"{answers.count(True)} of {len(answers)}{', measured before' if result.kept else ''}" if answers else ""
