"""Pictures and arrays of runs, read whole or refused in one line."""

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load_file

from lab.errors import InputError


def picture(path: Path) -> tuple[bytes, int, int]:
    """The bytes of a PNG or GIF that is there to its end, with its width and height in pixels.

    Raises InputError, naming the file, if it is missing or damaged.
    """
    try:
        content = path.read_bytes()
        with Image.open(BytesIO(content)) as found:
            found.verify()  # a PNG's checksums
        with Image.open(BytesIO(content)) as found:
            found.load()
            width, height = found.size
            if found.format == "GIF" and not content.endswith(b";"):  # of a film only the first picture was decoded
                raise EOFError("cut off")
    except Exception as error:  # decoders raise whatever they stumble over: SyntaxError, struct.error, ...
        raise _refusal(path, error) from None
    return content, width, height


def arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file by name. Raises InputError, naming the file, if it is missing or damaged."""
    try:
        return load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise _refusal(path, error) from None


def _refusal(path: Path, error: Exception) -> InputError:
    said = " ".join(str(error).split())
    what = "is missing" if isinstance(error, FileNotFoundError) else f"is damaged ({type(error).__name__}: {said})"
    return InputError(f"{path} {what}; redo the run to have it again")
