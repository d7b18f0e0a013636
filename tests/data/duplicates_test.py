"""The same activations twice in one data set are refused; documents that nearly repeat another are counted."""

import os
import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "experiments"))
from tiny_data import assay, assay_json, rows, write_activations


@pytest.mark.parametrize("kind", ["h5", "npy"])
def test_a_file_is_named_once(tmp_path, kind):
    a = tmp_path / f"a.{kind}"
    if kind == "h5":
        write_activations(a, rows(50))
    else:
        np.save(a, rows(50))
    (tmp_path / "sub").mkdir()
    os.symlink(a, tmp_path / f"link.{kind}")
    os.link(a, tmp_path / f"hard.{kind}")
    others = [
        a,
        tmp_path / "sub" / ".." / a.name,
        tmp_path / f"link.{kind}",
        tmp_path / f"hard.{kind}",
    ]
    for other in others:
        line = assay("index", a, other, "--out", tmp_path / "set", status=2)
        assert "the same file" in line and a.name in line, line
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("kind", ["h5", "npy"])
def test_copies_are_told_by_their_content(tmp_path, kind):
    """Also where the copy is stored in other chunks."""
    a, b, c = (tmp_path / f"{name}.{kind}" for name in "abc")
    if kind == "h5":
        write_activations(a, rows(500))
        with h5py.File(b, "w") as f:
            f.create_dataset("activations", data=rows(500), chunks=(7, 24), compression="gzip")
        write_activations(c, rows(500, seed=2))
    else:
        np.save(a, rows(500))
        shutil.copy(a, b)
        np.save(c, rows(500, seed=2))
    line = assay("index", a, c, b, "--out", tmp_path / "set", status=1)
    assert f"b.{kind}" in line and f"a.{kind}" in line and "same activations" in line
    assert not (tmp_path / "set" / "index.yaml").exists()
    assert assay_json("index", a, c, "--out", tmp_path / "good")["rows"] == 1000


def similarity(a, b, run=5):
    sets = [
        {tuple(d[i : i + run]) for i in range(len(d) - run + 1)} if len(d) >= run else {tuple(d)}
        for d in (a, b)
    ]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def documents():
    """200 texts of their own; then exact copies, copies with one word changed, halves, and short ones."""
    rng = np.random.default_rng(8)
    own = [list(rng.integers(0, 5000, rng.integers(60, 120))) for _ in range(200)]
    exact = [list(d) for d in own[:20]]
    changed = [[*d[:30], 9999, *d[31:]] for d in own[20:40]]
    halves = [d[: len(d) // 2] for d in own[40:60]]
    short = [[1, 2], [1, 2], [2, 1], [1, 2, 3]]
    return own, exact, changed, halves, short


@pytest.mark.parametrize("tokens", [True, False])
def test_near_duplicates_are_counted(tmp_path, tokens):
    own, exact, changed, halves, short = documents()
    assert min(similarity(a, b) for a, b in zip(own[20:40], changed)) > 0.83
    assert max(similarity(a, b) for a, b in zip(own[40:60], halves)) < 0.6
    everything = own + exact + changed + halves + short
    ids = np.concatenate(everything).astype(np.int32)
    document = np.repeat(np.arange(len(everything)), [len(d) for d in everything])
    vectors = np.random.default_rng(1).standard_normal((10_000, 24)).astype(np.float32)
    columns = {"document": document, **({"tokens": ids} if tokens else {})}
    a = write_activations(tmp_path / "a.h5", vectors[ids], **columns)
    facts = assay_json("index", a, "--out", tmp_path / "set")
    found = facts["near_duplicate_documents"]
    assert 20 + 1 + 15 <= found <= 20 + 1 + 20  # what is just above the bound is found by estimate
    said = assay("index", a, "--out", tmp_path / "again")
    assert f"{found} of {len(everything)} documents nearly repeat another" in said


def test_rows_without_documents_are_not_compared(tmp_path):
    a = write_activations(tmp_path / "a.h5", rows(60))
    assert assay_json("index", a, "--out", tmp_path / "set")["near_duplicate_documents"] is None
