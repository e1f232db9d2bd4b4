"""TensorBoard's own server hands the projector what a run gave it."""

import json
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request

import numpy as np
import pytest

from lab.run import Run


@pytest.fixture
def server(tmp_path):
    """Serves the runs under `tmp_path`; asks the projector: ask("info", run="x")."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(tmp_path), "--port", "0", "--load_fast=false"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    address = next(found[1] for line in process.stderr if (found := re.search(r"(http://\S+?)/? ", line)))

    def ask(what: str, **options: str) -> bytes:
        url = f"{address}/data/plugin/projector/{what}?{urllib.parse.urlencode(options)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.read()

    yield ask
    process.terminate()
    process.wait()
    process.stderr.close()


@pytest.mark.slow
def test_projector_serves_vectors_labels_and_pictures(tmp_path, server):
    vectors = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    with Run.open(tmp_path, "run", {}) as run:
        labels = {"value": [1, 2, 3, 4, 5], "action": list("abcde")}
        run.embedding("inspect/hidden", vectors, labels, np.zeros((5, 6, 4), np.uint8))
    deadline = time.monotonic() + 60
    while json.loads(server("runs")) != ["run"] and time.monotonic() < deadline:
        time.sleep(0.5)  # the server looks for new runs every few seconds
    (shown,) = json.loads(server("info", run="run"))["embeddings"]
    assert shown["tensorName"] == "inspect/hidden" and shown["tensorShape"] == [5, 3]
    assert shown["sprite"]["singleImageDim"] == [4, 6]
    at = {"run": "run", "name": "inspect/hidden"}
    assert np.allclose(np.frombuffer(server("tensor", **at), np.float32).reshape(5, 3), vectors, rtol=1e-5)
    assert server("metadata", **at).decode().splitlines()[:2] == ["value\taction", "1\ta"]
    assert server("sprite_image", **at).startswith(b"\x89PNG")
