"""A page in a real, headless browser: run a script in it and read what the script saw."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--virtual-time-budget=3000",
)  # fmt: skip
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome on the PATH")


def seen(page: Path, script: str, folder: Path) -> list[str]:
    """What `script`, run at the end of `page`, pushed to the array `seen`, as text; `folder` is for the browser."""
    tail = """<script>{
      const seen = [];
      %s
      const out = document.createElement("pre");
      out.id = "seen"; out.textContent = seen.join("|"); document.body.append(out);
    }</script></body>"""
    driven = folder / "driven.html"
    driven.write_text(page.read_text().replace("</body>", tail % script))
    found = re.search(r'<pre id="seen">([^<]*)<', dumped(driven, folder))
    assert found, "the script did not come to its end"
    return found[1].split("|")


def dumped(page: Path, folder: Path, *flags: str) -> str:
    """The document as it is once the scripts of `page` have run."""
    command = [str(CHROMIUM), *FLAGS, *flags, f"--user-data-dir={folder / 'profile'}", "--dump-dom", page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
