"""What every command of the command line shares: where its run goes, and how it says what came out."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from lab import console


@dataclass(kw_only=True)
class Command:
    """Options that every command has."""

    runs: Path = Path("results/runs")
    """Folder under which the run is written."""
    name: str = ""
    """Name of the run; left empty, it is made from the command and what it works on."""
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
            print(json.dumps({**data, "result": str(where)}))
        else:
            console.results.print(f"Result: {where}")
