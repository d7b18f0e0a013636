"""Files of torch.save are read as torch reads them; what could run code is refused."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from tensor_support import dump, expect, many_tensors, refusal, with_entry

ERROR = "could run code: nothing was run; save the tensors as safetensors"


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
