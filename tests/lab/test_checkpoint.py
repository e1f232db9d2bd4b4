import math
import resource

import numpy as np
import pytest
import torch

from lab import checkpoint
from lab.errors import Notice


def state(value=1.0):
    return {
        "weights": {"w": torch.full((3, 2), value), "flags": np.array([True, False])},
        "optimizer": {"state": {0: {"step": torch.tensor(4.0)}}, "betas": (0.9, 0.999)},
        "random": {"bit_generator": "PCG64", "state": {"state": 2**100 + 1, "inc": 3}},
        "recent": [1, -math.inf, None, "text", True],
    }


def test_state_comes_back_bit_for_bit_with_its_types(tmp_path):
    found = checkpoint.load(checkpoint.save(tmp_path, 7, state(0.1)))
    assert torch.equal(found["weights"]["w"], torch.full((3, 2), 0.1))
    assert found["weights"]["flags"].dtype == bool
    assert found["optimizer"]["state"][0]["step"] == 4 and found["optimizer"]["betas"] == (0.9, 0.999)
    assert found["random"] == state()["random"] and found["recent"] == state()["recent"]


def test_shared_memory_is_saved_too(tmp_path):
    whole = torch.arange(6.0)
    found = checkpoint.load(checkpoint.save(tmp_path, 1, {"a": whole[:3], "b": whole}))
    assert found["a"].tolist() == [0, 1, 2] and found["b"].tolist() == [0, 1, 2, 3, 4, 5]


def test_only_the_newest_are_kept(tmp_path):
    for step in (1, 2, 10):
        checkpoint.save(tmp_path, step, state(), keep=2)
    assert [path.name for path in checkpoint.steps(tmp_path)] == ["step-00000002", "step-00000010"]


def test_the_newest_is_that_of_most_steps_however_many_digits_they_have(tmp_path):
    for step in (99_999_999, 100_000_000):
        checkpoint.save(tmp_path, step, state(step))
    step, found = checkpoint.load_newest(tmp_path)
    assert step == found["weights"]["w"][0, 0] == 100_000_000


def test_what_is_saved_stays_and_a_later_past_goes(tmp_path):
    """After falling back over a damaged checkpoint, the steps beyond belong to a past that was gone back on."""
    for step in (50, 100):
        checkpoint.save(tmp_path, step, state())
    assert checkpoint.save(tmp_path, 90, state(), keep=1).exists()
    assert [path.name for path in checkpoint.steps(tmp_path)] == ["step-00000090"]


def test_saving_copies_nothing_that_needs_no_copy(tmp_path, monkeypatch):
    def no_copy(*_):
        raise AssertionError("a tensor was copied")

    big = torch.zeros(8, 100)
    monkeypatch.setattr(torch.Tensor, "clone", no_copy)
    found = checkpoint.load(checkpoint.save(tmp_path, 1, {"filled": big[:5], "other": torch.ones(2)}))
    assert found["filled"].shape == (5, 100)


@pytest.mark.parametrize("name", ["arrays.safetensors", "state.json", "manifest.json"])
def test_flipped_byte_is_refused_by_name_and_the_previous_one_used(tmp_path, name):
    checkpoint.save(tmp_path, 1, state(1.0))
    newest = checkpoint.save(tmp_path, 2, state(2.0))
    content = bytearray((newest / name).read_bytes())
    content[len(content) // 2] ^= 0xFF
    (newest / name).write_bytes(content)
    with pytest.raises(checkpoint.CorruptCheckpoint, match="step-00000002"):
        checkpoint.load(newest)
    with pytest.warns(UserWarning, match="step-00000002"):
        step, found = checkpoint.load_newest(tmp_path)
    assert step == 1 and found["weights"]["w"][0, 0] == 1


@pytest.mark.parametrize("content", ["[]", "1", '{"sha256": []}', '{"sha256": {}}', '{"sha256": {}, "pieces": []}'])
def test_a_manifest_that_is_other_json_is_refused_by_name_and_the_previous_one_used(tmp_path, content):
    checkpoint.save(tmp_path, 1, state(1.0))
    (checkpoint.save(tmp_path, 2, state(2.0)) / "manifest.json").write_text(content)
    with pytest.warns(UserWarning, match="step-00000002 is not a whole checkpoint"):
        assert checkpoint.load_newest(tmp_path)[0] == 1
    checkpoint.save(tmp_path, 3, state(3.0), keep=3)


def test_half_written_folder_of_a_killed_process_is_never_read(tmp_path):
    checkpoint.save(tmp_path, 1, state())
    (tmp_path / ".writing-00000002").mkdir()
    (tmp_path / ".writing-00000002" / "arrays.safetensors").write_bytes(b"half")
    assert checkpoint.load_newest(tmp_path)[0] == 1
    checkpoint.save(tmp_path, 2, state())
    assert not list(tmp_path.glob(".*"))


def test_a_full_disk_is_an_error_of_the_system_and_what_was_there_stays(tmp_path):
    """As for any other file; a limit on the size of files stands for the disk."""
    checkpoint.save(tmp_path, 1, state())
    least, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    for large in ({"array": torch.zeros(9000)}, {"pieces": checkpoint.Pieces(torch.zeros(9000), 5000, [1, 1], {})}):
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, most))
        try:
            with pytest.raises(OSError, match="File too large") as full:
                checkpoint.save(tmp_path, 2, large)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (least, most))
        assert str(full.value.filename).startswith(str(tmp_path))
        assert checkpoint.load_newest(tmp_path)[0] == 1
    checkpoint.save(tmp_path, 2, large)
    assert checkpoint.load_newest(tmp_path)[0] == 2


def test_what_is_no_data_is_refused_with_its_place(tmp_path):
    with pytest.raises(TypeError, match=r"object.*at /a/1"):
        checkpoint.save(tmp_path, 1, {"a": [1, object()]})


def test_no_checkpoint_is_none(tmp_path):
    assert checkpoint.load_newest(tmp_path / "none") is None


def growing(files, count):
    """Ten numbers in pieces of three, the first `count` of which are new."""
    values = torch.arange(10)
    values[:count] += 100 * count
    return checkpoint.Pieces(values, 3, [count if 3 * piece < count else 0 for piece in range(4)], files)


def pieces(folder):
    return {file.name for file in (folder / "pieces").iterdir()}


def test_only_pieces_that_changed_are_written_and_unused_ones_deleted(tmp_path):
    files = {}
    checkpoint.save(tmp_path, 1, {"deep": [growing(files, 0)]})
    first = pieces(tmp_path)
    checkpoint.save(tmp_path, 2, {"deep": [growing(files, 4)]})
    second = pieces(tmp_path)
    assert len(first) == 4 and len(second - first) == 2 and first < second
    checkpoint.save(tmp_path, 3, {"deep": [growing(files, 4)]})  # the first checkpoint goes: keep is 2
    assert pieces(tmp_path) == {file for _, file, _ in files.values()} and len(files) == 4
    for step, count in ((2, 4), (3, 4)):
        saved = checkpoint.load(tmp_path / f"step-{step:08d}")["deep"][0]
        into = torch.zeros(12, dtype=torch.int64)
        saved.into(into)
        assert into[:10].tolist() == growing({}, count).tensor.tolist() and saved.files == files


def test_a_checkpoint_with_a_damaged_piece_is_refused_by_name(tmp_path):
    files = {}
    checkpoint.save(tmp_path, 1, growing(files, 0))
    checkpoint.save(tmp_path, 2, growing(files, 1))
    damaged = tmp_path / "pieces" / files[0][1]
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    with pytest.warns(Notice, match=damaged.name):
        step, saved = checkpoint.load_newest(tmp_path)
    assert step == 1 and torch.cat(list(saved)).tolist() == list(range(10))
    damaged.unlink()
    checkpoint.save(tmp_path, 3, growing(files, 1))  # it is missing: written again
    assert torch.cat(list(checkpoint.load(tmp_path / "step-00000003"))).tolist() == growing({}, 1).tensor.tolist()


def test_pieces_of_a_process_killed_while_it_wrote_are_deleted(tmp_path):
    files = {}
    checkpoint.save(tmp_path, 1, growing(files, 0))
    growing(dict(files), 9).write(tmp_path / "pieces")  # and no checkpoint of them
    assert len(pieces(tmp_path)) == 7
    checkpoint.save(tmp_path, 2, growing(files, 2))
    assert len(pieces(tmp_path)) == 5
