"""npz and safetensors files, and what tells containers apart; the libraries read what is written."""

import os
import struct
import subprocess
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch
from tensor_support import DUMP, dump, expect, many_tensors, refusal, rewrite, with_entry


def test_checksums(tmp_path):
    x = torch.arange(100000.0)
    torch.save({"a": x}, tmp_path / "a.pt")
    np.savez_compressed(tmp_path / "a.npz", a=x)
    for name in ["a.pt", "a.npz"]:
        content = bytearray((tmp_path / name).read_bytes())
        content[len(content) // 2] ^= 1
        (tmp_path / name).write_bytes(content)
        line = refusal(tmp_path / name)
        assert "cannot be read" in line
        assert "copy or download the file anew" in line
    assert "do not match their checksum" in refusal(tmp_path / "a.pt")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path, save):
    tensors = {
        name: tensor.detach()
        for name, tensor in many_tensors().items()
        if tensor.dtype != torch.bfloat16 and tensor.dtype != torch.float64
    }
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    save(tmp_path / "a.npz", **arrays)
    expect(dump(tmp_path / "a.npz"), tensors)


def test_npz_fortran_and_doubles(tmp_path):
    x = torch.randn(3, 5, dtype=torch.float64)
    cube = torch.randn(2, 3, 4)
    np.savez(
        tmp_path / "a.npz",
        x=np.asfortranarray(x.numpy()),
        cube=np.asfortranarray(cube.numpy()),
        unsigned=np.ones(3, np.uint32),
    )
    expect(
        dump(tmp_path / "a.npz"),
        {"x": x.float(), "cube": cube, "unsigned": torch.ones(3)},
    )


def test_npz_header_versions(tmp_path):
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as out:
        for version in [(1, 0), (2, 0), (3, 0)]:
            with out.open(f"v{version[0]}.npy", "w") as entry:
                np.lib.format.write_array(entry, x, version=version)
    expect(dump(tmp_path / "a.npz"), {f"v{i}": torch.from_numpy(x) for i in (1, 2, 3)})


@pytest.mark.parametrize(
    ("array", "why"),
    [
        (np.array([{}]), "holds objects, which are pickles and could run code"),
        (np.array(["text"]), "element type '<U4', expected little-endian numbers"),
        (np.ones(2, ">f4"), "element type '>f4', expected little-endian numbers"),
        (np.ones(2, "c8"), "element type '<c8', expected little-endian numbers"),
        (np.ones(2, [("x", "f4")]), "expected little-endian numbers"),
    ],
)
def test_npz_other_types_are_refused(tmp_path, array, why):
    np.savez(tmp_path / "a.npz", x=np.ones(2), bad=array)
    line = refusal(tmp_path / "a.npz")
    assert line.startswith("entry 'bad.npy': ")
    assert why in line


def test_npz_other_faults(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as out:
        out.writestr("x.npy", b"\x93NUMPY\1\0\x76\0{'descr'")
    assert "truncated .npy header" in refusal(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", x=np.ones(2))
    with_entry(tmp_path / "b.npz", "note.txt", b"hello", tmp_path / "c.npz")
    assert "entry 'note.txt': not a .npy array" in refusal(tmp_path / "c.npz")
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as out:
        out.writestr("note.txt", b"hello")
    assert "without data.pkl (torch.save) and without .npy arrays" in refusal(tmp_path / "d.zip")


def test_zip_faults(tmp_path):
    bomb = tmp_path / "bomb.npz"
    np.savez_compressed(bomb, x=np.zeros(10_000_000, np.float32))
    content = bytearray(bomb.read_bytes())
    at = content.rindex(b"PK\1\2")
    content[at + 24 : at + 28] = struct.pack("<I", 0xFFFF0000)  # the size in the directory alone
    (tmp_path / "bomb2.npz").write_bytes(content)
    assert "Zip archive inconsistent" in refusal(tmp_path / "bomb2.npz")
    with zipfile.ZipFile(tmp_path / "lzma.npz", "w", zipfile.ZIP_LZMA) as out:
        out.writestr("x.npy", b"a" * 1000)
    assert "entry 'x.npy' is packed by method 14" in refusal(tmp_path / "lzma.npz")
    with zipfile.ZipFile(tmp_path / "twice.npz", "w") as out, pytest.warns(UserWarning):
        out.writestr("x.npy", b"a")
        out.writestr("x.npy", b"b")
    assert "two entries have one name" in refusal(tmp_path / "twice.npz")
    whole = bomb.read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:-10])
    assert "no end record: truncated" in refusal(tmp_path / "cut.npz")
    (tmp_path / "more.npz").write_bytes(whole + b"more")
    assert "no end record: truncated" in refusal(tmp_path / "more.npz")


def test_memory_is_asked_for_before_inflating(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(10_000_000, np.float32))
    shown = subprocess.run(
        [DUMP, tmp_path / "a.npz"],
        capture_output=True,
        text=True,
        env=os.environ | {"ASSAY_MEMORY_LIMIT": "10000000"},
    )
    assert shown.returncode == 1
    assert "entry 'x.npy', inflated, needs 0.04 GB of memory" in shown.stderr


def test_what_is_no_tensor_file(tmp_path):
    bad = tmp_path / "a"
    for content, why in [
        (b"", "it is empty"),
        (b"hello", "neither safetensors nor a zip archive"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"\x80\x04N.", "a pickle, which could run code"),
        (b"<!DOCTYPE html>", "a web page"),
    ]:
        bad.write_bytes(content)
        assert why in refusal(bad)
    np.save(tmp_path / "x.npy", np.ones(2))
    assert "one array without a name" in refusal(tmp_path / "x.npy")
    assert "cannot open the file" in refusal(tmp_path / "none")
    assert "cannot open the file" in refusal(tmp_path)


def test_safetensors_by_its_first_bytes(tmp_path):
    tensors = {"x": torch.randn(2, 3), "y": torch.arange(3)}
    safetensors.torch.save_file(tensors, tmp_path / "a.bin", metadata={"k": "3"})
    shown = dump(tmp_path / "a.bin")
    expect(shown, tensors)
    assert shown["metadata"] == {"k": "3"}


def writable():
    """What is rewritten: floats become F32, integers I64."""
    tensors = many_tensors()
    return {n: t.detach() for n, t in tensors.items() if t.dtype not in (torch.uint8, torch.bool)}


@pytest.mark.parametrize("weights_only", [True, False])
@pytest.mark.parametrize("mmap", [True, False])
def test_torch_loads_what_is_written(tmp_path, weights_only, mmap):
    tensors = writable()
    torch.save(tensors, tmp_path / "a.pt")
    rewrite(tmp_path / "a.pt", tmp_path / "b.pt")
    loaded = torch.load(tmp_path / "b.pt", weights_only=weights_only, mmap=mmap)
    assert loaded.pop("rewritten") == 1
    assert sorted(loaded) == sorted(tensors)
    for name, tensor in tensors.items():
        assert loaded[name].shape == tensor.shape
        assert loaded[name].is_contiguous()
        assert loaded[name].dtype == (torch.float32 if tensor.is_floating_point() else torch.int64)
        assert torch.equal(loaded[name], tensor.to(loaded[name].dtype))
    module_like = {n: loaded[n] for n in ["weight", "frozen"]}
    assert all(not t.requires_grad for t in module_like.values())


def test_numpy_loads_what_is_written(tmp_path):
    tensors = writable()
    torch.save(tensors, tmp_path / "a.pt")
    rewrite(tmp_path / "a.pt", tmp_path / "b.npz")
    loaded = np.load(tmp_path / "b.npz", allow_pickle=False)
    assert sorted(loaded.files) == sorted(tensors)
    for name, tensor in tensors.items():
        wanted = tensor.float() if tensor.is_floating_point() else tensor.long()
        assert loaded[name].dtype == wanted.numpy().dtype
        np.testing.assert_array_equal(loaded[name], wanted.numpy())


def test_every_container_holds_the_same(tmp_path):
    torch.save(writable(), tmp_path / "a.pt")
    files = [tmp_path / f"b{suffix}" for suffix in [".pt", ".npz", ".safetensors"]]
    for file in files:
        rewrite(tmp_path / "a.pt", file)
    first, *others = [dump(file)["tensors"] for file in files]
    assert all(other == first for other in others)
    for file in files:  # equal content, equal bytes
        again = file.with_stem("c")
        rewrite(files[1], again)
        assert again.read_bytes() == file.read_bytes()


@pytest.mark.parametrize("suffix", [".pt", ".npz"])
def test_archives_as_python_sees_them(tmp_path, suffix):
    torch.save(writable(), tmp_path / "a.pt")
    rewrite(tmp_path / "a.pt", tmp_path / f"b{suffix}")
    content = (tmp_path / f"b{suffix}").read_bytes()
    with zipfile.ZipFile(tmp_path / f"b{suffix}") as archive:
        assert archive.testzip() is None
        for info in archive.infolist():
            assert info.compress_type == zipfile.ZIP_STORED
            assert info.date_time == (1980, 1, 1, 0, 0, 0)
            name, extra = struct.unpack_from("<HH", content, info.header_offset + 26)
            assert (info.header_offset + 30 + name + extra) % 64 == 0
