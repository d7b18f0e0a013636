"""Names and text numbers that would merge or fall apart on the way are errors that name file and place."""

import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "experiments"))
from tiny_data import assay, assay_json, rows, write_activations

N = 60


def with_classes(path, classes, dtype):
    write_activations(path, rows(N), labels__kind=np.zeros(N, np.int32))
    with h5py.File(path, "a") as f:
        f["labels/kind"].attrs.create("classes", classes, dtype=dtype)
    return path


@pytest.mark.parametrize(
    "classes,dtype,text",
    [
        ([b"caf\xe9", b"caf\xe8"], "S4", "name 0 is not UTF-8"),
        ([b"noun", b"\xed\xa0\x80"], "S4", "name 1 is not UTF-8"),
        ([b"noun", b"noun"], "S4", "name 1 stands there twice"),
        ([b"a\0b", b"a\0c"], "S3", "name 0 holds a NUL"),
        (["noun", "verb", "noun"], h5py.string_dtype(), "name 2 stands there twice"),
    ],
)
def test_class_names(tmp_path, classes, dtype, text):
    path = with_classes(tmp_path / "a.h5", classes, dtype)
    line = assay("index", path, "--out", tmp_path / "set", status=1)
    assert "a.h5" in line and "classes" in line and text in line, line


@pytest.mark.parametrize(
    "classes,dtype",
    [
        ([b"a", b"abc"], "S8"),  # padded
        ([b"", b"caf\xc3\xa9"], "S5"),
        (["東京", "naïve", "😀"], h5py.string_dtype()),
    ],
)
def test_good_class_names(tmp_path, classes, dtype):
    path = with_classes(tmp_path / "a.h5", classes, dtype)
    facts = assay_json("index", path, "--out", tmp_path / "set")
    assert facts["rows"] == N
    [label] = assay_json("inspect", tmp_path / "set")["labels"]
    assert label == {"name": "kind", "classes": len(classes)}


def test_texts_that_are_interleaved(tmp_path):
    text = np.repeat(np.arange(N // 3), 3)
    text[30:36] = [10, 11, 10, 11, 10, 11]
    columns = {"document": np.arange(N) // 3, "labels__kind": np.zeros(N, np.int32)}
    path = write_activations(tmp_path / "a.h5", rows(N), text=text, **columns)
    line = assay("index", path, "--out", tmp_path / "set", status=1)
    assert "a.h5" in line and "row 32: text 10" in line and "sort" in line, line
    again = write_activations(tmp_path / "b.h5", rows(N), text=np.sort(text), **columns)
    assert assay_json("index", again, "--out", tmp_path / "b")["rows"] == N
