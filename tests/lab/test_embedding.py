"""What a run shows in TensorBoard's projector."""

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from lab import board, projector
from lab.run import Run

VECTORS = np.random.default_rng(0).normal(size=(5, 3))
PICTURES = np.random.default_rng(1).integers(0, 256, (5, 6, 4, 3), np.uint8)


def files(path):
    """All that the projector is given, comparable."""
    found = [path / projector.CONFIG, *(path / projector.FOLDER).rglob("*.*")]
    return {str(file.relative_to(path)): file.read_bytes() for file in found}


def config(path):
    return text_format.Parse((path / projector.CONFIG).read_text(), ProjectorConfig()).embeddings


def filled(root):
    with Run.open(root, "run", {}) as run:
        run.embedding("a/hidden", VECTORS, {"value": [1, 2, 3, 4, 5], "what": ["x", "a\tb\nc", "", "ü", "z"]}, PICTURES)
        run.embedding("a/plain", VECTORS[:, :2], list("vwxyz"), step=7)
        run.embedding("a/grey", VECTORS, list("vwxyz"), PICTURES[..., 0])
        return run.path


def test_vectors_labels_and_pictures_arrive(tmp_path):
    path = filled(tmp_path)
    coloured, plain, grey = config(path)
    assert [info.tensor_name for info in (coloured, plain, grey)] == ["a/hidden", "a/plain-7", "a/grey"]
    assert np.allclose(np.loadtxt(path / coloured.tensor_path), VECTORS, rtol=1e-5)
    lines = (path / coloured.metadata_path).read_text().splitlines()
    assert lines == ["value\twhat", "1\tx", "2\ta b c", "3\t-", "4\tü", "5\tz"]
    assert (path / plain.metadata_path).read_text().splitlines() == list("vwxyz")  # one column has no title line
    assert not plain.sprite.image_path
    assert list(coloured.sprite.single_image_dim) == [4, 6]  # width, height
    sheet = np.asarray(Image.open(path / coloured.sprite.image_path))
    assert sheet.shape == (3 * 6, 3 * 4, 3)  # three columns for five pictures, and as many rows
    for point, picture in enumerate(PICTURES):
        row, column = divmod(point, 3)
        assert (sheet[row * 6 : row * 6 + 6, column * 4 : column * 4 + 4] == picture).all()
    sheet = np.asarray(Image.open(path / grey.sprite.image_path))
    assert (sheet[:6, :4] == PICTURES[0, ..., :1]).all()


def test_view_is_rebuilt_the_same(tmp_path):
    path = filled(tmp_path)
    before = files(path)
    assert len(before) == 1 + 3 + 2 + 3
    (path / projector.CONFIG).write_text("broken")
    (path / projector.FOLDER / "a-grey" / "stale.tsv").write_text("1")
    board.rebuild(path)
    assert files(path) == before


def test_after_a_resume_exactly_what_the_record_holds_is_shown(tmp_path):
    with Run.open(tmp_path, "run", {}) as run:
        run.embedding("kept", VECTORS, list("vwxyz"), step=1)
        run.checkpoint(1, {})
        run.embedding("void", VECTORS, list("vwxyz"), step=2)
    with Run.open(tmp_path, "run", {}, resume=True) as run:
        path = run.path
        assert [info.tensor_name for info in config(path)] == ["kept-1"]
        run.embedding("new", VECTORS, list("vwxyz"), step=2)
    assert [info.tensor_name for info in config(path)] == ["kept-1", "new-2"]


def test_a_sheet_keeps_to_what_a_browser_can_show(tmp_path, monkeypatch):
    monkeypatch.setattr(projector, "MOST_PIXELS", 12)  # three columns of pictures 6 x 4: 18 x 12 pixels
    path = filled(tmp_path)
    assert list(config(path)[0].sprite.single_image_dim) == [2, 4]
    with Image.open(path / config(path)[0].sprite.image_path) as sheet:
        assert sheet.size == (6, 12)


@pytest.mark.parametrize(
    "wrong",
    [
        {"vectors": VECTORS[0]}, {"vectors": VECTORS[:0]}, {"vectors": VECTORS * np.inf}, {"labels": ["too", "few"]},
        {"labels": {}}, {"images": PICTURES[:4]}, {"images": PICTURES.astype(float)},
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused(tmp_path, wrong):
    right = {"vectors": VECTORS, "labels": list("vwxyz"), "images": PICTURES}
    with Run.open(tmp_path, "run", {}) as run, pytest.raises(ValueError, match=r"vectors|embedding"):
        run.embedding("tag", **right | wrong)
    assert not (run.path / projector.CONFIG).exists()
