import json
import math
import zlib

import pytest

from lab import record
from lab.record import Record


def steps(path):
    return [entry["step"] for entry in record.read(path)]


def written(path, numbers):
    with Record(path) as log:
        for number in numbers:
            log.append({"kind": "scalar", "tag": "loss", "step": number, "value": number / 3})


def test_entries_come_back_exactly(tmp_path):
    path = tmp_path / "metrics.jsonl"
    entry = {"kind": "text", "tag": "täg", "text": 'a "quote"\n', "step": 1, "value": 0.1 + 0.2}
    with Record(path) as log:
        log.append(entry)
    assert record.read(path) == [entry]


def test_changed_byte_drops_that_line_only_and_is_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    written(path, range(5))
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"step":2', b'"step":7')
    path.write_bytes(b"".join(lines))
    with pytest.warns(UserWarning, match="damaged line 3"):
        assert steps(path) == [0, 1, 3, 4]


def test_numbers_that_are_not_finite_are_strict_json_and_come_back(tmp_path):
    path = tmp_path / "metrics.jsonl"
    odd = {"a": math.inf, "b": -math.inf, "c": 1.5}
    entries = [
        {"kind": "scalar", "tag": "loss", "step": 1, "value": -math.inf}, {"kind": "end", "metrics": odd},
        {"kind": "text", "tag": "note", "text": "nan"},
    ]  # fmt: skip
    with Record(path) as log:
        for entry in [*entries, {"kind": "scalar", "tag": "loss", "step": 2, "value": math.nan}]:
            log.append(entry)
        log.append({"kind": "start", "config": {"clip": math.inf, "rates": [math.nan], "range": (0, -math.inf)}})
    for line in path.read_text().splitlines():
        json.loads(line, parse_constant=pytest.fail)
    *first, last, start = record.read(path)
    assert first == entries and math.isnan(last["value"])
    assert start["config"] == {"clip": "inf", "rates": ["nan"], "range": [0, "-inf"]}


def test_the_bare_nan_of_older_records_is_read(tmp_path):
    body = b'{"kind":"scalar","tag":"loss","step":1,"value":NaN}'
    (tmp_path / "metrics.jsonl").write_bytes(b'{"crc":"%08x",' % zlib.crc32(body) + body[1:] + b"\n")
    (found,) = record.read(tmp_path / "metrics.jsonl")
    assert math.isnan(found["value"])


def test_lines_are_counted_alike_by_who_writes_and_who_reads(tmp_path):
    """A damaged line with a carriage return is one line: a rewind behind it takes away what it should."""
    path = tmp_path / "metrics.jsonl"
    written(path, range(2))
    path.write_bytes(path.read_bytes() + b"dam\raged\r\x0b\n")
    with Record(path) as log:
        assert log.lines == 3
        log.append({"kind": "scalar", "step": 2})
        log.append({"kind": "scalar", "step": 3})
        log.rewind(4, step=2)
    with pytest.warns(UserWarning, match=r"damaged line 3 left out"):
        assert steps(path) == [0, 1, 2]


def test_of_many_damaged_lines_the_first_are_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b"damaged\n" * 1_010)
    with pytest.warns(UserWarning, match=r"damaged lines 1, 2, 3, 4, 5 and 1,004 more left out"):
        assert steps(path) == []  # the last one may have been torn by a kill


@pytest.mark.parametrize("cut", [2, 10, 40])
def test_line_torn_by_a_kill_is_left_out_and_the_next_run_starts_on_a_new_line(tmp_path, cut):
    path = tmp_path / "metrics.jsonl"
    written(path, range(3))
    path.write_bytes(path.read_bytes()[:-cut])
    assert steps(path) == [0, 1]
    with Record(path) as log:
        log.rewind(2, step=1)
        log.append({"kind": "scalar", "step": 2})
    assert steps(path) == [0, 1, 2]


def test_the_first_entry_after_a_rewind_says_that_the_run_was_resumed(tmp_path):
    path = tmp_path / "metrics.jsonl"
    written(path, range(3))
    for to in (2, 2, 8):  # resumed twice from one checkpoint, and then from one of the second process
        with Record(path) as log:
            log.rewind(to, step=1)
            log.append({"kind": "scalar", "step": to})
            log.append({"kind": "scalar", "step": 9})
    assert [entry["step"] for entry in record.read(path) if entry.get("resumed")] == [2, 8]
    assert steps(path) == [0, 1, 2, 8, 9]


def test_rewind_makes_void_what_came_after_and_nothing_else(tmp_path):
    path = tmp_path / "metrics.jsonl"
    written(path, range(6))
    with Record(path) as log:
        log.rewind(3, step=2)
        assert log.lines == 7
        log.append({"kind": "scalar", "step": 3})
        log.rewind(8, step=3)
        log.append({"kind": "scalar", "step": 4})
        assert steps(path) == [0, 1, 2, 3, 4]
        log.rewind(0, step=0)
    assert steps(path) == []
