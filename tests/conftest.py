"""What all tests share."""

import os
import subprocess
import sys

import pytest

import lab  # noqa: F401  (before torch: it says how threads wait)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that the workers, a file each, are done at about the same time."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture
def lab_command(tmp_path):
    """Runs the `lab` command line in a folder of its own, as a person would; returns the finished process."""

    def call(*words: str, timeout: float = 300, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "lab.cli", *words],
            capture_output=True, text=True, timeout=timeout, cwd=tmp_path, env={**os.environ, **environment},
        )  # fmt: skip

    return call


@pytest.fixture
def refused(lab_command):
    """Runs a command that must be refused: exit code 2 and one line on standard error, which it returns."""

    def call(*words: str, **environment: str) -> str:
        done = lab_command(*words, **environment)
        assert done.returncode == 2, done.stderr
        assert done.stdout == ""
        lines = done.stderr.splitlines()
        assert len(lines) == 1 and lines[0].startswith("lab: "), done.stderr
        return lines[0]

    return call


@pytest.fixture(autouse=True)
def one_thread():
    """Networks in tests are small: a second thread only costs."""
    from lab import device

    with device.threads(1):
        yield
