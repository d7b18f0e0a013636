"""Fixtures of the tests of `assay train`."""

import h5py
import numpy as np
import pytest
from train_support import run


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    """Sparse sums of planted directions in 40 documents, indexed by `assay index`."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(120, 32))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    codes = (rng.random((24_000, 120)) < 0.04) * (0.5 + rng.random((24_000, 120)))
    x, document = (codes @ directions + 0.3).astype(np.float32), np.repeat(np.arange(40), 600)
    files = [
        folder / f"{part}.h5" for part in range(8)
    ]  # a chunk or more each, so that eight lanes have rows
    for part, path in enumerate(files):
        with h5py.File(path, "w") as file:
            file["activations"] = x[part * 3000 : (part + 1) * 3000]
            file["document"] = document[part * 3000 : (part + 1) * 3000]
    result = run("index", *files, "--out", folder)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture
def config(tmp_path, shards):
    def write(**train):
        settings = {
            "steps": 400,
            "batch": 256,
            "log_every": 7,
            "checkpoint_every": 25,
            "seed": 3,
            **train,
        }
        file = tmp_path / "config.yaml"
        file.write_text(
            f"data: {{path: {shards}, lanes: 8, window_chunks: 2}}\nmodel: {{n: 256, k: 6}}\ntrain:\n"
            + "".join(f"  {key}: {value}\n" for key, value in settings.items())
        )
        return file

    return write
