"""Integers beyond what a column holds are errors that name file, row and value: nothing saturates in between."""

import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "experiments"))
from tiny_data import assay, assay_json, rows, write_activations, write_dictionary

N = 40


def refused(path, *parts):
    line = assay("index", path, "--out", path.parent / "set", status=1)
    assert all(part in line for part in (path.name, *parts)), line


BEYOND = [
    ("tokens", "i8", 2**40),
    ("tokens", "u4", 2**31),
    ("tokens", "u8", 2**63 + 5),
    ("tokens", "i8", -(2**31) - 1),
    ("position", "i8", 2**31),
    ("position", "f4", 1.0),
    ("special", "i4", 256),
    ("special", "i1", -1),
    ("sink", "u2", 300),
    ("document", "u8", 2**64 - 1),
    ("text", "u8", 2**63),
    ("labels__kind", "i8", 2**32 + 1),
    ("labels__kind", "u8", 2**64 - 1),
]


@pytest.mark.parametrize("column,dtype,value", BEYOND)
def test_columns_of_shards(tmp_path, column, dtype, value):
    values = np.ones(N, dtype)
    values[17] = value
    path = write_activations(tmp_path / "a.h5", rows(N), **{column: values})
    name = "/" + column.replace("__", "/")
    if dtype == "f4":
        refused(path, name, "must hold integers")
    else:
        refused(path, name, "row 17", str(value))


FITTING = [
    ("tokens", "u8", 2**31 - 1),
    ("tokens", ">i8", 2**31 - 1),
    ("tokens", "u4", 7),
    ("special", "?", True),
    ("special", "u8", 1),
    ("document", "u8", 2**63 - 1),
    ("document", "i8", -(2**63)),
    ("labels__kind", ">i2", -1),
]


@pytest.mark.parametrize("column,dtype,value", FITTING)
def test_any_type_whose_values_fit(tmp_path, column, dtype, value):
    values = np.zeros(N, dtype)
    values[17] = value
    path = write_activations(tmp_path / "a.h5", rows(N), **{column: values})
    assert assay_json("index", path, "--out", tmp_path / "set")["rows"] == N


def test_wider_than_64_bits(tmp_path):
    wide = h5py.h5t.STD_I64LE.copy()
    wide.set_size(16)
    wide.set_precision(128)
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f["activations"] = rows(N)
        data = h5py.h5d.create(f.id, b"tokens", wide, h5py.h5s.create_simple((N,)))
        data.write(h5py.h5s.ALL, h5py.h5s.ALL, np.arange(N))
    refused(tmp_path / "a.h5", "/tokens", "128 bits")


@pytest.mark.parametrize(
    "part,dtype,value,named",
    [
        ("indices", "i8", 2**31, "index 2147483648 "),
        ("indices", "i8", 2**32 + 3, "index 4294967299 "),
        ("indices", "u8", 2**64 - 1, "18446744073709551615"),
        ("indices", "i8", -(2**40), "index -1099511627776 "),
        ("row_offsets", "u8", 2**64 - 2, "18446744073709551614"),
    ],
)
def test_codes(tmp_path, part, dtype, value, named):
    """Row 2 has the pair 3, whose offset is element 2."""
    parts = {
        "row_offsets": np.array([0, 2, 2, 4], np.int64),
        "indices": np.array([3, 95, 0, 7], np.int64),
        "values": np.ones(4, np.float32),
    }
    parts[part] = parts[part].astype(dtype)
    parts[part][3 if part == "indices" else 2] = value
    with h5py.File(tmp_path / "codes.h5", "w") as f:
        for name, values in parts.items():
            f[name] = values
        f.attrs["n"] = 96
    dictionary = write_dictionary(tmp_path / "d")
    line = assay("decode", dictionary, tmp_path / "codes.h5", "--out", tmp_path / "x.h5", status=1)
    assert "codes.h5" in line and named in line, line
    assert any(place in line for place in ("row 2", "pair 3", "element 2")), line
