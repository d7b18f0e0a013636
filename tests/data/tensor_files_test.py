"""Files of torch.save, numpy.savez and safetensors are read as these libraries read them, and they read what is
written. tests/support/tensor_dump.cpp is the driver."""

import json
import os
import struct
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

DUMP = Path(os.environ["ASSAY"]).parent / "tensor_dump"
ERROR = "could run code: nothing was run; save the tensors as safetensors"


def dump(path):
    shown = subprocess.run([DUMP, path], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    return json.loads(shown.stdout)


def refusal(path):
    """The one line that says why a file is not read, without the folder."""
    shown = subprocess.run([DUMP, path], capture_output=True, text=True)
    assert shown.returncode == 1, shown
    assert shown.stderr.count("\n") == 1
    assert shown.stderr.startswith(f"{path}: ")
    return shown.stderr.removeprefix(f"{path}: ").strip()


def rewrite(path, out):
    shown = subprocess.run([DUMP, path, out], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr


def expect(shown, tensors):
    """What was dumped holds exactly these tensors."""
    assert sorted(shown["tensors"]) == sorted(tensors)
    for name, tensor in tensors.items():
        read = shown["tensors"][name]
        assert read["shape"] == list(tensor.shape), name
        if read["values"] is not None:
            wanted = tensor.detach().to(torch.float64).flatten().tolist()
            assert read["values"] == pytest.approx(wanted, rel=1e-7, abs=0), name
        if "transposed" in read:
            assert read["transposed"] == pytest.approx(
                tensor.detach().T.to(torch.float64).flatten().tolist(), rel=1e-7, abs=0
            ), name


def many_tensors():
    """Every dtype, and every way a tensor can lie in its storage."""
    torch.manual_seed(3)
    x = torch.randn(4, 6)
    y = torch.arange(24).reshape(2, 3, 4)
    return {
        "rows": x,
        "columns": x.T,
        "part": x[1:3, 2:5],
        "part_of_columns": x.T[2:, 1:3],
        "every_other": x[::2, ::3],
        "row": x[2],
        "column": x[:, 1],
        "one_column": x[:, 3:4],
        "half": x.half(),
        "bfloat": x.bfloat16(),
        "bfloat_columns": x.bfloat16().T,
        "double": x.double(),
        "long": y,
        "long_view": y.permute(2, 0, 1),
        "int": y.int()[0],
        "short": torch.tensor([-1, 300]).short(),
        "char": torch.tensor([-1, 100]).to(torch.int8),
        "byte": torch.tensor([1, 255]).to(torch.uint8),
        "bool": torch.tensor([True, False]),
        "cube": x.reshape(2, 3, 4).permute(1, 2, 0),
        "scalar": torch.tensor(2.5),
        "count": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "empty_too": torch.zeros(3, 0),
        "weight": torch.nn.Parameter(torch.ones(2, 2)),
        "frozen": torch.nn.Parameter(torch.ones(2), requires_grad=False),
    }


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_torch_tensors(tmp_path, protocol):
    tensors = many_tensors()
    torch.save(tensors, tmp_path / "a.pt", pickle_protocol=protocol)
    expect(dump(tmp_path / "a.pt"), tensors)


def test_torch_state_dict_of_a_module(tmp_path):
    torch.manual_seed(1)
    module = torch.nn.Sequential(
        torch.nn.Linear(3, 5), torch.nn.BatchNorm1d(5), torch.nn.Linear(5, 3)
    )
    module[2].weight = torch.nn.Parameter(module[0].weight.T)
    torch.save(module.state_dict(), tmp_path / "any name.bin")
    expect(dump(tmp_path / "any name.bin"), module.state_dict())


def test_torch_nested_and_plain_values(tmp_path):
    x = torch.randn(2, 3)
    torch.save(
        {
            "state_dict": {"encoder": {"weight": x}, "k": 32, "threshold": 0.25},
            "layers": [{"w": x.T}, {"w": x[0]}],
            "activation": "TopK",
            "normalize": False,
            "seed": None,
            "sizes": [3, -4],
            "betas": (0.9, 0.999),
            "names": ["a", "\u00e9"],
            "shape": torch.Size([2, 3]),
            "device": torch.device("cpu"),
            "other_device": torch.device("cuda", 1),
            "steps": 2**40,
            "least": -(2**63),
            "nothing": {},
            "by_number": {0: {"exp_avg": x}, 1: 5},
        },
        tmp_path / "a.pt",
    )
    shown = dump(tmp_path / "a.pt")
    expect(
        shown,
        {
            "state_dict.encoder.weight": x,
            "layers.0.w": x.T,
            "layers.1.w": x[0],
            "by_number.0.exp_avg": x,
        },
    )
    assert shown["metadata"] == {
        "state_dict.k": "32",
        "state_dict.threshold": "0.25",
        "activation": "TopK",
        "normalize": "false",
        "seed": "null",
        "sizes": "[3,-4]",
        "betas": "[0.9,0.999]",
        "names": '["a","\u00e9"]',
        "shape": "[2,3]",
        "device": "cpu",
        "other_device": "cuda:1",
        "steps": "1099511627776",
        "least": "-9223372036854775808",
        "by_number.1": "5",
    }


def test_torch_optimizer(tmp_path):
    """A training checkpoint: numbered states and groups of parameters."""
    module = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    torch.save(
        {"model": module.state_dict(), "optimizer": optimizer.state_dict(), "step": 1},
        tmp_path / "a.pt",
    )
    shown = dump(tmp_path / "a.pt")
    assert shown["tensors"]["optimizer.state.0.exp_avg"]["shape"] == [2, 3]
    assert shown["metadata"]["optimizer.param_groups.0.lr"] == "0.001"
    assert shown["metadata"]["optimizer.param_groups.0.params"] == "[0,1]"


def test_torch_large_archive(tmp_path):
    """Hundreds of storages and more bytes than the end of the archive that is searched."""
    tensors = {f"block.{i}.weight": torch.full((50, 20), float(i)) for i in range(300)}
    torch.save(tensors, tmp_path / "a.pt")
    expect(dump(tmp_path / "a.pt"), tensors)


class Harmful:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.system, (f"touch {self.path}",))


@pytest.mark.parametrize("protocol", [2, 4])
def test_torch_code_is_refused(tmp_path, protocol):
    torch.save({"a": Harmful(tmp_path / "harm")}, tmp_path / "a.pt", pickle_protocol=protocol)
    opcode = {2: "GLOBAL", 4: "STACK_GLOBAL"}[protocol]
    line = refusal(tmp_path / "a.pt")
    assert line.startswith(
        f"its pickle asks for {os.system.__module__}.system (opcode {opcode} at byte "
    )
    assert line.endswith(ERROR)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("value", "asked"),
    [
        (torch.float32, "torch.float32"),
        (torch.eye(2).to_sparse(), "torch._utils._rebuild_sparse_tensor"),
        (torch.zeros(2, dtype=torch.complex64), "torch.ComplexFloatStorage"),
        (torch.zeros(2, dtype=torch.uint16), "torch._utils._rebuild_tensor_v3"),
        (np.float32(1), f"{np.float32.__reduce__(np.float32(1))[0].__module__}.scalar"),
        (torch.nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
        (Path("a"), "pathlib"),
    ],
)
def test_torch_other_objects_are_refused(tmp_path, value, asked):
    torch.save({"a": value}, tmp_path / "a.pt")
    line = refusal(tmp_path / "a.pt")
    assert line.startswith(f"its pickle asks for {asked}")
    assert line.endswith(ERROR)


def test_torch_other_forms_are_refused(tmp_path):
    x = torch.ones(2)
    torch.save({"a": x}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert "torch before 1.6" in refusal(tmp_path / "old.pt")
    torch.save(x, tmp_path / "one.pt")
    assert "expected a dict of tensors" in refusal(tmp_path / "one.pt")
    torch.save({"a": x.expand(3, 2)}, tmp_path / "expanded.pt")
    assert "an expanded view; save a contiguous copy" in refusal(tmp_path / "expanded.pt")
    torch.save({"a.b": x, "a": {"b": x}}, tmp_path / "twice.pt")
    assert "'a.b' is there twice" in refusal(tmp_path / "twice.pt")
    torch.save({"a": {1, 2}}, tmp_path / "set.pt")
    assert "asks for builtins.set" in refusal(tmp_path / "set.pt") or "__builtin__.set" in refusal(
        tmp_path / "set.pt"
    )
    torch.save({"a": {(1, 2): x}}, tmp_path / "key.pt")
    assert "'a' has a tuple as a key, expected a str or an int" in refusal(tmp_path / "key.pt")
    cycle = {"x": x}
    cycle["self"] = cycle
    torch.save(cycle, tmp_path / "cycle.pt")
    assert "nested deeper than 64 levels" in refusal(tmp_path / "cycle.pt")


def test_torch_script_is_refused(tmp_path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(tmp_path / "script.pt")
    assert "a TorchScript archive" in refusal(tmp_path / "script.pt")


def with_entry(path, name, content, out):
    """A copy of a zip archive with the content of one entry replaced, or an entry added."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for info in old.infolist():
            if info.filename != name:
                new.writestr(info.filename, old.read(info.filename))
        new.writestr(name, content)


def test_torch_archives_that_do_not_hold_what_they_say(tmp_path):
    torch.save({"a": torch.ones(4)}, tmp_path / "a.pt")
    bad = tmp_path / "b.pt"
    with_entry(tmp_path / "a.pt", "a/byteorder", "big", bad)
    assert "bytes in order 'big', expected 'little'" in refusal(bad)
    with_entry(tmp_path / "a.pt", "a/data/0", b"\0" * 12, bad)
    assert "'a' is in storage '0' of 4 elements of 4 bytes, which has 12 bytes" in refusal(bad)
    with_entry(tmp_path / "a.pt", "b/data.pkl", b"", bad)
    assert "it has 'a/data.pkl' and 'b/data.pkl'" in refusal(bad)
    with_entry(tmp_path / "a.pt", "../a", b"", bad)
    assert "an entry has the name '../a'" in refusal(bad)
    with zipfile.ZipFile(tmp_path / "a.pt") as old, zipfile.ZipFile(bad, "w") as new:
        for info in old.infolist():
            if "data/0" not in info.filename:
                new.writestr(info.filename, old.read(info.filename))
    assert "'a' is in storage '0', which is not in the file" in refusal(bad)


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
