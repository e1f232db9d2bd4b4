"""The cells of a CSV, with the rows and columns they stand in, and its columns of times and numbers."""

import contextlib
import csv
import gzip
import io
import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lab.errors import InputError, unknown

MISSING = {"", "nan", "na", "n/a", "#n/a", "null", "none", "-"}
TIME_NAMES = {"time", "timestamp", "date", "datetime", "ds", "ts", "day", "month", "hour", "week"}
COMMA = re.compile(r"[+-]?(\d+,\d+)([eE][+-]?\d+)?")  # 1234,5, as spreadsheets of much of Europe write it
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")  # 1,234 may be either
HUGE = 1e150  # the squares of larger values, and so their standard deviation, are beyond float64


@dataclass
class Table:
    """The text of a CSV: column names, rows of cells, and the line of the file each row ends on (the header is 1)."""

    path: Path
    columns: list[str]
    rows: list[list[str]]
    lines: list[int]
    delimiter: str = ","

    def at(self, row: int, column: str) -> str:
        return f"{self.path} row {self.lines[row]}, column {column!r}"


def read_table(path: Path) -> Table:
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a CSV file")
    if not path.exists():
        raise InputError(f"{path} does not exist; check the path (lab data list shows the named series)")
    try:
        with _open(path) as stream:
            text = stream.read()
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text in UTF-8; save it as a CSV in UTF-8") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path} is a damaged gzip file ({error}); pack or fetch it again") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}); check its permissions") from None
    if not text.strip():
        raise InputError(f"{path} is empty; it needs a header line, a column of times and a column of numbers")
    header = text.lstrip().split("\n", 1)[0]
    delimiter = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    columns: list[str] = []
    rows, lines = [], []
    try:
        before = 0  # the line that the row before ended with
        for row in reader:
            begins, before = before + 1, reader.line_num
            if not any(cell.strip() for cell in row):
                continue  # a blank line
            if not columns:
                columns = [cell.strip() for cell in row]
                continue
            if begins < before and (len(row) != len(columns) or text.count('"') % 2):
                raise InputError(f'{path} row {begins} opens a quote (") that it does not close; mend that row')
            if len(row) != len(columns):
                raise InputError(
                    f"{path} row {reader.line_num} has {len(row)} columns, the header {len(columns)}; mend that row"
                )
            rows.append([cell.strip() for cell in row])
            lines.append(reader.line_num)
    except csv.Error as error:
        raise InputError(f"{path} row {reader.line_num} is not CSV ({error}); mend that row") from None
    if not rows:
        raise InputError(f"{path} has a header but no rows; add rows below it")
    if any(map(is_number, columns)) and any(map(looks_like_time, columns)):
        raise InputError(
            f"{path} row 1 has a time and a number where it should name the columns; put a header line above"
        )
    repeated = next((name for name in columns if columns.count(name) > 1), None)
    if repeated is not None:
        raise InputError(f"{path} row 1 names column {repeated!r} twice; give every column its own name")
    return Table(path, columns, rows, lines, delimiter)


@contextlib.contextmanager
def _open(path: Path) -> Iterator[io.TextIOBase]:
    with (
        gzip.open(path, "rt", encoding="utf-8-sig", newline="")
        if path.suffix == ".gz"
        else path.open(encoding="utf-8-sig", newline="") as stream
    ):
        yield stream


def has_times(table: Table) -> bool:
    """Whether a column is called time, date, ... or the first one holds times."""
    return _time_column(table) is not None


def looks_like_time(text: str) -> bool:
    """Whether a cell that is no number has digits on both sides of a mark, as times have, however they are written."""
    return not is_number(text) and re.search(r"\d[-/.:]\d", text) is not None


def _time_column(table: Table) -> str | None:
    named = [column for column in table.columns if column.lower() in TIME_NAMES]
    if named:
        return named[0]
    return table.columns[0] if looks_like_time(table.rows[0][0]) else None


def time_column(table: Table, time: str | None) -> str:
    if time is not None:
        if time not in table.columns:
            raise unknown("time column", time, table.columns, f"({table.path} row 1)")
        return time
    found = _time_column(table)
    if found is not None:
        return found
    raise InputError(f"{table.path} row 1 names no column of times; say which with --time: {', '.join(table.columns)}")


def target_column(table: Table, target: str | None, time: str) -> str:
    others = [column for column in table.columns if column != time]
    if target is None:
        if len(others) == 1:
            return others[0]
        if not others:
            raise InputError(f"{table.path} has no column beside the times in {time!r}; add a column of numbers")
        which = f"beside {time!r}" if time else "of numbers"
        raise InputError(f"{table.path} has {len(others)} columns {which}; name one with --target: {', '.join(others)}")
    if target == time:
        raise InputError(
            f"{table.path}: column {target!r} holds the times; name another with --target: {', '.join(others)}"
        )
    if target not in table.columns:
        raise unknown("column", target, others, f"({table.path} row 1)")
    return target


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text  # Python reads 1_000, no spreadsheet does


def decimal_commas(table: Table, column: str) -> bool:
    """Whether a column's numbers have a comma before their decimals, and none a point: where commas part no cells, and
    one of the numbers at least cannot be 1,234 with a mark of thousands.
    """
    place = table.columns.index(column)
    texts = [cells[place] for cells in table.rows]
    commas = [text for text in texts if COMMA.fullmatch(text)]
    sure = any(not THOUSANDS.fullmatch(text) for text in commas)
    return table.delimiter != "," and sure and not any("." in text for text in texts if is_number(text))


def numbers(table: Table, column: str) -> np.ndarray:
    """The column as float64, NaN where it is empty."""
    place = table.columns.index(column)
    commas = decimal_commas(table, column)
    values = np.empty(len(table.rows))
    for row, cells in enumerate(table.rows):
        text = cells[place]
        if commas and COMMA.fullmatch(text):
            text = text.replace(",", ".")
        if text.lower() in MISSING:
            values[row] = np.nan
            continue
        if not is_number(text):
            hint = (
                "write decimals with a point and no thousands marks"
                if any(c.isdigit() for c in text)
                else ("write a number, or leave the cell empty and give --fill")
            )
            raise InputError(f"{table.at(row, column)}: {text[:40]!r} is not a number; {hint}")
        values[row] = float(text)
        if math.isinf(values[row]):
            raise InputError(
                f"{table.at(row, column)}: {text!r} is not finite; write a number, or leave it empty and give --fill"
            )
        if abs(values[row]) > HUGE:
            raise InputError(f"{table.at(row, column)}: {text!r} is too large to square; give it in a larger unit")
    if np.isnan(values).all():
        raise InputError(f"{table.at(0, column)}: the column holds no number at all; name another with --target")
    return values
