"""TensorBoard's projector: vectors as points in space, each with its labels and its picture.

The projector reads no events but files of its own: CONFIG beside the event files names, for each embedding, its vectors
and labels (tab-separated) and one large picture of all the small ones. torch's `add_embedding` writes them too, but
remembers only what one process added, so a resumed run would lose what it had.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from google.protobuf import text_format
from PIL import Image
from tensorboard.plugins.projector.projector_config_pb2 import EmbeddingInfo, ProjectorConfig

from lab import intact
from lab.record import Entry

CONFIG, FOLDER = "projector_config.pbtxt", "projector"
MOST_PIXELS = 8192  # a side of the large picture: what the browser's graphics can be relied on to take


def write(entry: Entry, arrays: Path, into: Path) -> None:
    """Write the files of one embedding, recorded as `entry` with its `arrays`, under `into`/projector.

    Raises InputError if the arrays are missing or damaged.
    """
    found = intact.arrays(arrays)
    folder = into / _folder(entry)
    folder.mkdir(parents=True, exist_ok=True)
    np.savetxt(folder / "vectors.tsv", found["vectors"], fmt="%.6g", delimiter="\t")
    (folder / "labels.tsv").write_bytes(found["labels"].tobytes())
    if entry["picture"]:
        _sheet(found["images"]).save(folder / "pictures.png")


def configure(entries: Iterable[Entry], into: Path) -> None:
    """Name exactly the embeddings of these entries in the projector's CONFIG."""
    config = ProjectorConfig(embeddings=[_info(entry) for entry in entries])
    (into / CONFIG).write_text(text_format.MessageToString(config), encoding="utf-8")


def _folder(entry: Entry) -> str:
    return f"{FOLDER}/{Path(entry['file']).stem}"


def _info(entry: Entry) -> EmbeddingInfo:
    name = f"{entry['tag']}-{entry['step']}" if entry["step"] else entry["tag"]
    folder = _folder(entry)
    info = EmbeddingInfo(
        tensor_name=name, tensor_path=f"{folder}/vectors.tsv", metadata_path=f"{folder}/labels.tsv"
    )  # fmt: skip
    if entry["picture"]:
        height, width = _fitting(entry["picture"], entry["points"])
        info.sprite.image_path = f"{folder}/pictures.png"
        info.sprite.single_image_dim.extend([width, height])
    return info


def _sheet(images: np.ndarray) -> Image.Image:
    """Pictures (n, height, width[, 3]) uint8 row by row on one sheet, as many rows as columns."""
    height, width = _fitting(images.shape[1:3], len(images))
    columns = _columns(len(images))
    sheet = Image.new("RGB", (columns * width, columns * height))
    for place, image in enumerate(images):
        small = Image.fromarray(image).resize((width, height), Image.Resampling.BOX)
        sheet.paste(small, (place % columns * width, place // columns * height))
    return sheet


def _columns(points: int) -> int:
    return int(np.ceil(np.sqrt(points)))


def _fitting(size: Sequence[int], points: int) -> tuple[int, int]:
    """Height and width of a picture on the sheet: `size`, or less so that the sheet keeps to MOST_PIXELS a side."""
    shrink = min(1.0, MOST_PIXELS / (_columns(points) * max(size)))
    return max(1, int(size[0] * shrink)), max(1, int(size[1] * shrink))
