"""Settings without use for the chosen variant, a k it cannot keep, and numbers out of bounds: refused by name."""

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from tiny_data import assay, rows, write_activations, write_dictionary

TOOLS = Path(__file__).resolve().parents[2] / "data" / "python"


@pytest.mark.parametrize(
    "variant, setting",
    [
        ("topk", "model.prefixes=[8, 64]"),
        ("topk", "model.threshold=calibrated"),
        ("batch_topk", "model.experts=4"),
        ("topk", "model.balance=0.2"),
        ("topk", "model.sparsity=0.1"),
        ("matryoshka_topk", "model.sparsity_warmup=0.5"),
        ("relu", "model.sparsity_loss=l0"),
        ("gated", "train.aux_k=5"),
    ],
)
@pytest.mark.parametrize("command", ["train", "plan", "bottleneck", "sweep"])
def test_a_setting_without_use_is_named(tmp_path, variant, setting, command):
    name, value = setting.split("=")
    file = tmp_path / "config.yaml"
    path = "" if command == "bottleneck" else "data: {path: none}\n"
    file.write_text(f"{path}model: {{variant: {variant}, n: 64, k: 4}}\n")
    line = assay(command, file, "--out", tmp_path / "out", "--set", setting, status=2)
    assert f"assay: {name}: the variant {variant} does not use it; {variant} takes model.n" in line
    assert not (tmp_path / "out").exists()


def test_a_sweep_takes_what_one_of_its_variants_uses(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(
        "data: {path: none}\nmodel: {n: 64, k: 4, sparsity: 0.1}\nsweep: {variant: [topk, relu]}\n"
    )
    line = assay("sweep", file, "--out", tmp_path / "out", status=1)
    assert "none" in line and "sparsity" not in line  # the shards are what is missing


def with_fractional_k(folder, variant):
    """Shards, and the arguments of `assay train` for a dictionary of the variant with k = 2.5."""
    write_activations(folder / "x.h5", rows(600))
    assay("index", folder / "x.h5", "--out", folder / "set")
    file = folder / "config.yaml"
    file.write_text(
        f"data: {{path: {folder / 'set'}}}\nmodel: {{variant: {variant}, n: 64, k: 2.5, prefixes: []}}\n"
        "train: {steps: 6, batch: 64}\n"
    )
    return ["train", file, "--out", folder / "run"]


@pytest.mark.parametrize("variant", ["topk", "switch", "matching_pursuit"])
def test_no_row_keeps_a_fraction_of_a_latent(tmp_path, variant):
    run = with_fractional_k(tmp_path, variant)
    line = assay(*run, "--set", "model.experts=16", status=2)
    assert f"model.k = 2.5: {variant} keeps a whole number" in line and "set k = 3" in line


@pytest.mark.parametrize("variant", ["batch_topk", "matryoshka_batch_topk"])
def test_a_fraction_of_a_latent_is_a_mean(tmp_path, variant):
    assay(*with_fractional_k(tmp_path, variant))
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["l0"] == 2.5  # 160 pairs of 64 rows
    cfg = json.loads((tmp_path / "run" / "dictionary" / "cfg.json").read_text())
    assert cfg["k"] == 3 and cfg["encoding"] == "threshold"


def test_k_of_a_penalised_variant_is_warned_of(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("model: {variant: relu, n: 64, k: 4}\n")
    done = subprocess.run(
        [os.environ["ASSAY"], "plan", file, "--dims", "8"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "model.k = 4 is not used: the L0 of relu follows from model.sparsity" in done.stderr


@pytest.mark.parametrize(
    "tool, arguments",
    [
        ("tokenise.py", ["--texts", "t.jsonl", "--out", "c.h5", "--max-length", "0"]),
        ("wordnet.py", ["--out", "c.jsonl", "--seed", "-1"]),
        ("wordnet.py", ["--out", "c.jsonl", "--limit", "-1"]),
        ("export_halves.py", ["--out", "m", "--layer", "0"]),
    ],
)
def test_tools_refuse_numbers_out_of_bounds(tmp_path, tool, arguments):
    done = subprocess.run(
        [sys.executable, TOOLS / tool, *arguments], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2
    option, value = arguments[-2:]
    assert f"argument {option}: '{value}': expected an integer from" in done.stderr
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ["eval", "d", "--data", "s", "--out", "o", "--seed", "-1"],
        ["eval", "d", "--data", "s", "--out", "o", "--threads", "-1"],
        ["index", "a.h5", "--out", "o", "--rows-per-shard", "0"],
        ["recover", "p", "d", "--rows", "1"],
        ["bench", "step", "--dead", "nan"],
        ["train", "c.yaml", "--out", "o", "--set", "train.lr=nan"],
        ["plan", "c.yaml", "--dims", "-3"],
    ],
)
def test_commands_refuse_numbers_out_of_bounds(tmp_path, arguments):
    (tmp_path / "c.yaml").write_text("data: {path: none}\n")
    done = subprocess.run(
        [os.environ["ASSAY"], *arguments], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    name = arguments[-2] if arguments[-2] != "--set" else "train.lr"
    assert name in done.stderr


def test_an_fvu_of_rows_that_do_not_vary_is_an_error(tmp_path):
    dictionary = write_dictionary(tmp_path / "d")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["activations"] = np.ones((50, 24), np.float32)
    line = assay(
        "encode",
        dictionary,
        tmp_path / "x.h5",
        "--out",
        tmp_path / "c.h5",
        "--fvu",
        "all",
        status=1,
    )
    assert "do not vary" in line
    assert not (tmp_path / "c.h5").exists()
