"""The driver of the tests of tensor files, tests/support/tensor_dump.cpp, and tensors of every kind."""

import json
import os
import subprocess
import zipfile
from pathlib import Path

import pytest
import torch

DUMP = Path(os.environ["ASSAY"]).parent / "tensor_dump"


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


def with_entry(path, name, content, out):
    """A copy of a zip archive with the content of one entry replaced, or an entry added."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for info in old.infolist():
            if info.filename != name:
                new.writestr(info.filename, old.read(info.filename))
        new.writestr(name, content)
