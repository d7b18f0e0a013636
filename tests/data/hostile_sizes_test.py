"""Small files that ask for much: refused in one line that names them, in seconds and with little memory."""

import json
import os
import resource
import struct
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent.parent / "experiments"))
from tiny_data import assay, assay_json, rows, write_activations

GIB = 1 << 30
SECONDS = 60  # on a machine that does much else


def refused(*arguments, parts, status=(1, 2)):
    """One line on stderr, within 3 GiB of address space and a minute."""

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (3 * GIB, 3 * GIB))

    begun = time.monotonic()
    done = subprocess.run(
        [os.environ["ASSAY"], *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=3 * SECONDS,
        preexec_fn=limit,
    )
    assert done.returncode in status, (done.returncode, done.stderr[-500:])
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and all(part in lines[0] for part in parts), done.stderr[-500:]
    assert time.monotonic() - begun < SECONDS


def safetensors(path, header, data):
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def test_overlapping_tensors(tmp_path):
    size = 16 << 20
    entry = {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}
    path = safetensors(
        tmp_path / "x.safetensors", {f"t{i}": entry for i in range(300)}, bytes(size)
    )
    refused("index", path, "--out", tmp_path / "set", parts=["x.safetensors", "overlap"])


def test_hundreds_of_thousands_of_empty_tensors(tmp_path):
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    path = safetensors(tmp_path / "x.safetensors", {f"t{i}": entry for i in range(300_000)}, b"")
    refused("index", path, "--out", tmp_path / "set", parts=["x.safetensors", "tensors"])


@pytest.mark.parametrize("count", [2**31, 2**40])
def test_declared_rows(tmp_path, count):
    """Chunks of gigabytes would be read, if they were there."""
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f.create_dataset("activations", (count, 24), "f4", chunks=(1000, 24))
        f.create_dataset("special", (count,), "u1", chunks=(1000,))
    assert (tmp_path / "a.h5").stat().st_size < 10_000
    for arguments in (
        ["index", tmp_path / "a.h5", "--out", tmp_path / "set"],
        ["inspect", tmp_path / "a.h5"],
    ):
        refused(*arguments, parts=["a.h5", "never written"])


def test_a_column_that_was_never_written(tmp_path):
    with h5py.File(tmp_path / "codes.h5", "w") as f:
        f.create_dataset("row_offsets", (2**40,), "i8", chunks=(1000,))
        f.create_dataset("indices", (2**40,), "i4", chunks=(1000,))
        f.create_dataset("values", (2**40,), "f4", chunks=(1000,))
        f.attrs["n"] = 96
    refused("inspect", tmp_path / "codes.h5", parts=["codes.h5", "never written"])


def test_gzip_bomb(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f.create_dataset(
            "activations", data=np.zeros((1 << 20, 24), "f4"), chunks=(1 << 16, 24), compression=9
        )
    parts = ["a.h5", "declares 1048576 rows", "less compressed"]
    refused("index", tmp_path / "a.h5", "--out", tmp_path / "set", parts=parts)


@pytest.fixture
def folder(tmp_path):
    path = write_activations(tmp_path / "a.h5", rows(400))
    assay("index", path, "--out", tmp_path / "set")
    return tmp_path / "set"


def test_an_index_of_long_lists(folder):
    text = (folder / "index.yaml").read_text()
    (folder / "index.yaml").write_text(text.replace("mean: [", "mean: [" + "0," * (4 << 20)))
    refused("inspect", folder, parts=["index.yaml", "entries"])
    (folder / "index.yaml").write_text("[" * 100_000)
    refused("inspect", folder, parts=["index.yaml"])
    (folder / "index.yaml").write_text("a: &x [1]\nb: *x\n")
    refused("inspect", folder, parts=["index.yaml", "alias"])


def test_an_empty_checksum_does_not_switch_checking_off(folder):
    index = yaml.safe_load((folder / "index.yaml").read_text())
    index["files"][0]["crc32c"]["activations"] = ""
    index["content_hash"] = ""
    (folder / "index.yaml").write_text(yaml.safe_dump(index))
    refused("inspect", folder, parts=["index.yaml", "checksums"])


def test_loading_names_the_file_where_memory_ends(tmp_path):
    """An honest dictionary, larger than the process may have."""
    path, n, d = tmp_path / "big.safetensors", GIB // 64, 24
    shapes = {"encoder_linear.weight": [n, d], "decoder_linear.weight": [d, n]}
    shapes |= {"encoder_linear.bias": [n], "decoder_linear.bias": [d]}
    header, end = {}, 0
    for name, shape in shapes.items():
        begin, end = end, end + 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text.encode())
        file.truncate(8 + len(text) + end)  # sparse
    refused("import", path, "--out", tmp_path / "set", parts=["big.safetensors", "memory"])


def test_official_files_with_odd_tensors_are_read(tmp_path):
    """What the official writer allows: empty tensors anywhere, types we do not look into, metadata."""
    x = rows(50)
    data = x.tobytes()
    end = len(data)
    header = {
        "__metadata__": {"step": "3"},
        "a_empty": {"dtype": "F32", "shape": [0, 24], "data_offsets": [0, 0]},
        "x": {"dtype": "F32", "shape": [50, 24], "data_offsets": [0, end]},
        "y_float8": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [end, end + 4]},
        "z_empty": {"dtype": "F16", "shape": [0], "data_offsets": [end + 4, end + 4]},
    }
    path = safetensors(tmp_path / "x.safetensors", header, data + bytes(4))
    assert assay_json("index", path, "--out", tmp_path / "set")["rows"] == 50
    header["__metadata__"] = {"step": 3, "loss": 0.5}
    path = safetensors(tmp_path / "x.safetensors", header, data + bytes(4))
    assert assay_json("index", path, "--out", tmp_path / "numeric")["rows"] == 50
    header["x"]["data_offsets"] = [4, end + 4]
    path = safetensors(tmp_path / "x.safetensors", header, data + bytes(4))
    line = assay("index", path, "--out", tmp_path / "gap", status=1)
    assert "x.safetensors" in line and "gaps" in line
