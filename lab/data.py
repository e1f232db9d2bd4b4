"""Where data lives: files by name with their public origin and sha256, found in LAB_DATA or downloaded once.

With the environment variable LAB_DATA naming a folder, a file is taken from there (plain or gzipped), and nothing is
downloaded; otherwise it is fetched from its origin into the user's cache (or LAB_CACHE). Both ways the sha256 of the
plain file must match.
"""

import gzip
import hashlib
import os
import urllib.error
import zlib
from dataclasses import dataclass
from pathlib import Path

from lab.errors import InputError

GITHUB = "https://raw.githubusercontent.com"


@dataclass(frozen=True)
class RemoteFile:
    """A file of known content: `path` under LAB_DATA and in the cache, `url` of origin, `sha256` of the plain file."""

    path: str
    url: str
    sha256: str
    licence: str


def locate(file: RemoteFile) -> Path:
    """A local copy of `file` (perhaps with .gz added), its content checked.

    Raises InputError if its checksum is wrong, or if it is neither in LAB_DATA nor to be downloaded.
    """
    if folder := os.environ.get("LAB_DATA"):
        for path in (Path(folder) / file.path, Path(folder) / f"{file.path}.gz"):
            if path.exists():
                _verify(path, file)
                return path
        raise InputError(f"{file.path} is not in LAB_DATA={folder}; put it there (from {file.url}) or unset LAB_DATA")
    return _download(file)


def place() -> Path:
    """The folder in which files are looked for: LAB_DATA, else the cache that downloads go to."""
    import pooch

    return Path(os.environ.get("LAB_DATA") or os.environ.get("LAB_CACHE") or pooch.os_cache("rl-timeseries-lab"))


def _verify(path: Path, file: RemoteFile) -> None:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as stream:
            digest = hashlib.sha256(stream.read()).hexdigest()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path} is a damaged gzip file ({error}); replace it from {file.url}") from None
    if digest != file.sha256:
        raise InputError(f"{path}: sha256 is {digest[:12]}..., not {file.sha256[:12]}...; replace it from {file.url}")


def _download(file: RemoteFile) -> Path:
    import pooch
    import requests

    cache = place()
    target = cache / file.path
    try:
        found = pooch.retrieve(
            file.url, known_hash=f"sha256:{file.sha256}", fname=target.name, path=target.parent, progressbar=False
        )
    except (requests.RequestException, urllib.error.URLError, ConnectionError, TimeoutError) as error:
        raise InputError(
            f"cannot download {file.url} ({type(error).__name__}); "
            f"fetch it by hand to FOLDER/{file.path} and set LAB_DATA=FOLDER"
        ) from None
    except OSError as error:  # after those above, which are kinds of it
        raise InputError(
            f"the cache folder {cache} cannot be written ({error.strerror or type(error).__name__}); "
            "name another with LAB_CACHE"
        ) from None
    except ValueError as error:  # pooch's word for a wrong checksum
        raise InputError(f"{file.url}: what came does not have sha256 {file.sha256[:12]}... ({error})") from None
    return Path(found)
