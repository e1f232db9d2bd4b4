"""What the commands of the command line share: where a run goes, and how a command says what came out."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from lab import console
from lab.jsonfile import strict


@dataclass(kw_only=True)
class Shared:
    """What every command has."""

    json: tyro.conf.FlagCreatePairsOff[bool] = False
    """Print one JSON object on standard output and nothing else."""

    def show(self, title: str, columns: list[str], rows: list[list[Any]]) -> None:
        """Print a table, unless JSON was asked for."""
        if not self.json:
            console.table(title, columns, rows)

    def measures(self, title: str, values: Mapping[str, float]) -> None:
        """Print named values, one a row."""
        self.show(title, ["measure", "value"], [[name, value] for name, value in values.items()])

    def done(self, data: dict[str, Any], where: Path | str) -> None:
        """The last line of a command: where the result lies. With --json the only line: `data` and that place."""
        if self.json:
            print(json.dumps(strict({**data, "result": str(where)}), allow_nan=False))
        else:
            console.results.print(f"Result: {where}", markup=False)


@dataclass(kw_only=True)
class Command(Shared):
    """What every command has that writes a run or looks at runs."""

    runs: Path = Path("results/runs")
    """Folder of the runs."""
    name: str = ""
    """Name of the run; left empty, it is made from the command and what it works on."""
