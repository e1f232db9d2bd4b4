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
