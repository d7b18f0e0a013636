"""h5py and Assay read each other's files; foreign files of every kind become data sets or one clear line."""

import json
import os
import re
import subprocess
import zlib

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file

ASSAY = os.environ["ASSAY"]


def run(*arguments, status=0):
    done = subprocess.run(
        [ASSAY, *map(str, arguments)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    return done


def index(*arguments):
    return json.loads(run("index", *arguments, "--json").stdout)


def refused(*arguments, status=1):
    """The one line on stderr."""
    lines = run("index", *arguments, status=status).stderr.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def crc32c(data):
    """Bit by bit over a table, from the polynomial."""
    table = []
    for i in range(256):
        for _ in range(8):
            i = (i >> 1) ^ (0x82F63B78 if i & 1 else 0)
        table.append(i)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 255] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


@pytest.fixture
def rows():
    return np.random.default_rng(3).normal(0.3, 2.0, (5000, 24)).astype(np.float32)


def expected_statistics(x):
    x = x.astype(np.float64)
    return ((x - x.mean(0)) ** 2).sum(1).mean(), 1 / np.sqrt((x**2).sum(1).mean())


def check_statistics(info, x):
    variance, scale = expected_statistics(x)
    assert info["rows"] == len(x) and info["d"] == x.shape[1]
    assert info["variance"] == pytest.approx(variance, rel=1e-9)
    assert info["scale"] == pytest.approx(scale, rel=1e-9)


def test_four_lines_of_h5py_make_a_data_set(tmp_path, rows):
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f["activations"] = rows
        f["special"] = np.arange(len(rows)) % 5 == 0  # numpy's booleans
    info = index(tmp_path / "a.h5", "--out", tmp_path / "set")
    ordinary = rows[np.arange(len(rows)) % 5 != 0]
    variance, scale = expected_statistics(ordinary)
    assert info["rows"] == 5000 and info["dtype"] == "f32"
    assert info["variance"] == pytest.approx(variance, rel=1e-9)
    assert info["scale"] == pytest.approx(scale, rel=1e-9)
    text = (tmp_path / "set" / "index.yaml").read_text()
    assert str(tmp_path / "a.h5") in text
    checksums = re.search(r'"activations": "([0-9a-f]+)"', text).group(1)
    chunk = len(rows) // 64  # a small file is cut in 64, so that lanes have chunks to share
    assert checksums == "".join(
        f"{crc32c(rows[at : at + chunk].tobytes()):08x}" for at in range(0, len(rows), chunk)
    )


def test_h5py_reads_our_shards(tmp_path, rows):
    np.save(tmp_path / "x.npy", rows)
    index(tmp_path / "x.npy", "--out", tmp_path / "set", "--dtype", "f16", "--rows-per-shard", 2000)
    read = []
    for path in sorted((tmp_path / "set").glob("shard-*.h5")):
        with h5py.File(path) as f:
            assert f["activations"].dtype == np.float16 and f.attrs["dtype"] == "f16"
            read.append(f["activations"][:])
            mean = f["activations"].attrs["mean"]
            np.testing.assert_allclose(mean, read[-1].astype(np.float64).mean(0), rtol=1e-9)
    assert [len(r) for r in read] == [2000, 2000, 1000]
    np.testing.assert_array_equal(np.concatenate(read), rows.astype(np.float16))


STORAGE = {
    "contiguous": {},
    "guessed chunks": {"chunks": True},
    "whole-row chunks": {"chunks": (300, 24)},
    "gzip": {"chunks": (512, 24), "compression": "gzip"},
    "gzip and shuffle": {"chunks": (100, 7), "compression": "gzip", "shuffle": True},
    "fletcher32": {"chunks": (512, 24), "fletcher32": True},
    "growable": {"chunks": (64, 24), "maxshape": (None, 24)},
}


@pytest.mark.parametrize("kind", STORAGE)
@pytest.mark.parametrize("dtype", ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"])
def test_any_storage_has_the_same_statistics(tmp_path, rows, kind, dtype):
    stored = rows.astype(dtype)
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f.create_dataset("activations", data=stored, **STORAGE[kind])
    read = stored.astype(np.float32) if dtype[1:] == "f8" else stored
    check_statistics(index(tmp_path / "a.h5", "--out", tmp_path / "set"), read)


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_file_versions(tmp_path, rows, libver):
    with h5py.File(tmp_path / "a.h5", "w", libver=libver) as f:
        f.create_dataset("activations", data=rows, chunks=(500, 24))
    check_statistics(index(tmp_path / "a.h5", "--out", tmp_path / "set"), rows)


def test_what_was_never_written_does_not_count_as_zeros(tmp_path, rows):
    a = tmp_path / "a.h5"

    def refused_with(text, **parts):
        with h5py.File(a, "w") as f:
            for name, make in parts.items():
                make(f, name)
        line = refused(a, "--out", tmp_path / "set")
        assert text in line and "never written" in line, line

    def partly(f, name):
        f.create_dataset(name, (5000, 24), "f4", chunks=(500, 24))[:1500] = rows[:1500]

    def whole(f, name):
        f[name] = rows

    def nothing(f, name, shape=(5000, 24)):
        f.create_dataset(name, shape, "f4" if len(shape) > 1 else "i4")

    def half(f, name):
        f.create_dataset(name, (5000,), "u1", chunks=(100,))[:2500] = 1

    refused_with("/activations: 7 of 10 chunks", activations=partly)
    refused_with("/activations", activations=nothing)
    refused_with("/special: 25 of 50", activations=whole, special=half)
    refused_with("/tokens", activations=whole, tokens=lambda f, n: nothing(f, n, (5000,)))
    with h5py.File(a, "w") as f:
        f.create_dataset("activations", data=rows, chunks=(512, 24), compression="gzip")
        f.create_dataset("special", data=np.zeros(5000, "u1"), chunks=(100,), compression="gzip")
    check_statistics(index(a, "--out", tmp_path / "set"), rows)


def test_missing_filter_is_named(tmp_path, rows):
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f.create_dataset(
            "activations", data=rows, compression="lzf"
        )  # h5py's own; not part of HDF5
    assert "filter 32000 (lzf)" in refused(tmp_path / "a.h5", "--out", tmp_path / "set")


def test_user_block(tmp_path, rows):
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=512) as f:
        f["activations"] = rows
    check_statistics(index(tmp_path / "a.h5", "--out", tmp_path / "set"), rows)


def test_bfloat16_bits_need_their_attribute(tmp_path, rows):
    bits = (rows.view(np.uint32) >> 16).astype(np.uint16)
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f["activations"] = bits
    assert "bf16" in refused(tmp_path / "a.h5", "--out", tmp_path / "set")
    for i, name in enumerate(["bf16", "BF16", "bfloat16", "torch.bfloat16"]):
        with h5py.File(tmp_path / "a.h5", "a") as f:
            f["activations"].attrs["dtype"] = name
        info = index(tmp_path / "a.h5", "--out", tmp_path / f"set{i}")
        assert info["dtype"] == "bf16"
        check_statistics(info, (bits.astype(np.uint32) << 16).view(np.float32))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("storage", [{}, {"chunks": (512, 24), "compression": "gzip"}])
def test_bfloat16_of_either_order_and_of_its_own_type(tmp_path, rows, order, native, storage):
    bits = (rows.view(np.uint32) >> 16).astype(np.uint16)
    stored = h5py.h5t.py_create(np.dtype(order + "u2"))
    if native:
        stored = (h5py.h5t.IEEE_F32LE if order == "<" else h5py.h5t.IEEE_F32BE).copy()
        stored.set_fields(15, 7, 8, 0, 7)
        stored.set_size(2)
        stored.set_ebias(127)
    with h5py.File(tmp_path / "a.h5", "w") as f:
        space = h5py.h5s.create_simple(bits.shape)
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        if storage:
            properties.set_chunk(storage["chunks"])
            properties.set_deflate(4)
        data = h5py.h5d.create(f.id, b"activations", stored, space, properties)
        same = np.ascontiguousarray(bits.astype(order + "u2"))
        data.write(h5py.h5s.ALL, h5py.h5s.ALL, same, mtype=stored)  # bits, not converted
        f["activations"].attrs["dtype"] = "bf16"
    info = index(tmp_path / "a.h5", "--out", tmp_path / "set")
    assert info["dtype"] == "bf16"
    check_statistics(info, (bits.astype(np.uint32) << 16).view(np.float32))


def test_safetensors_and_npy(tmp_path, rows):
    save_file({"layer": rows, "bias": rows[0]}, tmp_path / "a.safetensors")
    check_statistics(index(tmp_path / "a.safetensors", "--out", tmp_path / "one"), rows)
    save_file({"a": rows, "b": rows[:7]}, tmp_path / "b.safetensors")
    line = refused(tmp_path / "b.safetensors", "--out", tmp_path / "two", status=2)
    assert "--tensor" in line and "a, b" in line
    info = index(tmp_path / "b.safetensors", "--out", tmp_path / "two", "--tensor", "b")
    check_statistics(info, rows[:7])
    np.save(tmp_path / "c.npy", rows.astype(np.float64))
    np.save(tmp_path / "d.npy", rows[:100])
    both = index(tmp_path / "c.npy", tmp_path / "d.npy", "--out", tmp_path / "three")
    check_statistics(both, np.concatenate([rows, rows[:100]]))


def test_three_dimensions_and_float64(tmp_path, rows):
    cube = rows.astype(np.float64).reshape(500, 10, 24)
    np.save(tmp_path / "a.npy", cube)
    save_file({"a": cube}, tmp_path / "a.safetensors")
    for name in ("a.npy", "a.safetensors"):
        line = refused(tmp_path / name, "--out", tmp_path / "set", status=2)
        assert name in line and "[500, 10, 24]" in line and "--reshape" in line
        out = tmp_path / (name + ".set")
        check_statistics(index(tmp_path / name, "--out", out, "--reshape"), rows)
        with h5py.File(out / "shard-00000.h5") as f:
            np.testing.assert_array_equal(f["document"][:], np.repeat(np.arange(500), 10))
            np.testing.assert_array_equal(f["position"][:], np.tile(np.arange(10), 500))
    a = write(tmp_path / "a.h5", activations=cube)
    assert "x.reshape(-1, 24)" in refused(a, "--out", tmp_path / "set")
    assert "--reshape" in refused(a, "--out", tmp_path / "set", "--reshape", status=2)


def test_bad_npy(tmp_path, rows):
    def line(array=None, raw=None, **_):
        path = tmp_path / "x.npy"
        np.save(path, array) if raw is None else path.write_bytes(raw)
        return refused(path, "--out", tmp_path / "set")

    assert "Fortran" in line(np.asfortranarray(rows))
    assert "dimensions" in line(rows[0])
    assert "'<i4'" in line(rows.astype(np.int32))
    assert "'>f4'" in line(rows.astype(">f4"))
    assert "not a .npy" in line(raw=b"hello")
    np.save(tmp_path / "x.npy", rows)
    whole = (tmp_path / "x.npy").read_bytes()
    assert "do not hold" in line(raw=whole[:-1])
    assert "header" in line(raw=whole[:60])
    assert "do not hold" in line(raw=whole.replace(b"(5000, 24)", b"(9999999999999, 24)"))
    rows[17, 3] = np.inf
    assert "row 17" in line(rows)


def write(path, **datasets):
    with h5py.File(path, "w") as f:
        for name, value in datasets.items():
            f[name] = value
    return path


def test_bad_files_get_one_clear_line(tmp_path, rows):
    out = tmp_path / "set"
    a = tmp_path / "a.h5"
    assert "no such file" in refused(a, "--out", out)
    a.write_text("not at all")
    assert "not an HDF5 file" in refused(a, "--out", out)
    assert "/activations" in refused(write(a, other=rows), "--out", out)
    assert "dimensions" in refused(write(a, activations=rows[0]), "--out", out)
    assert "float of 128 bits" in refused(write(a, activations=rows.astype("f16")), "--out", out)
    assert "integer of 32 bits" in refused(write(a, activations=rows.astype("i4")), "--out", out)
    assert "/tokens" in refused(write(a, activations=rows, tokens=np.arange(7)), "--out", out)
    write(a, activations=rows)
    whole = a.read_bytes()
    a.write_bytes(whole[: len(whole) // 2])
    assert "a.h5" in refused(a, "--out", out)
    nan = rows.copy()
    nan[4321, 5] = np.nan
    line = refused(write(a, activations=nan), "--out", out)
    assert "row 4321" in line and "column 5" in line
    write(a, activations=rows)
    b = write(tmp_path / "b.h5", activations=rows[:, :20])
    line = refused(a, b, "--out", out)
    assert "b.h5" in line and "d = 20" in line and "d = 24" in line
    assert not (out / "index.yaml").exists()


def test_links_and_external_storage_are_not_followed(tmp_path, rows):
    write(tmp_path / "secret.h5", activations=rows)
    (tmp_path / "raw.bin").write_bytes(rows.tobytes())
    with h5py.File(tmp_path / "link.h5", "w") as f:
        f["activations"] = h5py.ExternalLink("secret.h5", "/activations")
    with h5py.File(tmp_path / "external.h5", "w") as f:
        f.create_dataset(
            "activations", rows.shape, "f4", external=[("raw.bin", 0, h5py.h5f.UNLIMITED)]
        )
    with h5py.File(tmp_path / "virtual.h5", "w") as f:
        layout = h5py.VirtualLayout(shape=rows.shape, dtype="f4")
        layout[:] = h5py.VirtualSource(tmp_path / "secret.h5", "activations", shape=rows.shape)
        f.create_virtual_dataset("activations", layout)
    assert "/activations" in refused(tmp_path / "link.h5", "--out", tmp_path / "set")
    assert "other files" in refused(tmp_path / "external.h5", "--out", tmp_path / "set")
    assert "other files" in refused(tmp_path / "virtual.h5", "--out", tmp_path / "set")


def test_existing_index_is_replaced_only_on_request(tmp_path, rows):
    a = write(tmp_path / "a.h5", activations=rows)
    first = index(a, "--out", tmp_path / "set")
    assert "--replace" in refused(a, "--out", tmp_path / "set", status=2)
    rows[0, 0] += 1
    write(a, activations=rows)
    second = index(a, "--out", tmp_path / "set", "--replace")
    assert first["content_hash"] != second["content_hash"]


def test_damaged_metadata_never_crashes_us(tmp_path, rows):
    """Seeded flips all over a small file: success or one line, never a signal or a hang."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as f:
        f.create_dataset("activations", data=rows[:50], chunks=(10, 24), compression="gzip")
        f["labels/kind"] = np.zeros(50, np.int32)
        f["labels/kind"].attrs["classes"] = ["noun", "verb"]
    whole = path.read_bytes()
    random = np.random.default_rng(zlib.crc32(b"flips"))
    for i in range(60):
        data = bytearray(whole)
        for at in random.integers(0, len(data), 1 + i % 8):
            data[at] = random.integers(0, 256)
        path.write_bytes(data)
        done = subprocess.run(
            [ASSAY, "index", path, "--out", tmp_path / "set", "--replace"],
            capture_output=True,
            text=True,
            timeout=150,
        )
        assert done.returncode in (0, 1), (i, done.returncode, done.stderr)
        assert done.returncode == 0 or len(done.stderr.strip().splitlines()) == 1, done.stderr
