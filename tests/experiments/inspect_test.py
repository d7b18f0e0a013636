"""assay inspect: recognises each kind of path and tells its facts, compared with h5py, safetensors and json."""

import hashlib
import json

import h5py
import numpy as np
import pytest
from tiny_data import assay, assay_json, rows, write_activations, write_dictionary

CONFIG = """
data: {path: PATH, lanes: 1}
model: {n: 64, k: 4}
train: {steps: 20, batch: 64, log_every: 10, checkpoint_every: 10, warmup_steps: 2, threads: 1}
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One of each kind, made by the binary itself."""
    folder = tmp_path_factory.mktemp("files")
    lang = np.zeros(3000, np.int32)
    source = write_activations(
        folder / "x.h5", rows(3000), labels__lang=lang, hooks__mlp=rows(3000, d=8)
    )
    with h5py.File(source, "a") as f:
        f["labels/lang"].attrs["classes"] = ["english", "french", "none of these"]
        f.attrs["model"] = "tiny"
    assay("index", source, "--out", folder / "shards")
    (folder / "c.yaml").write_text(CONFIG.replace("PATH", str(folder / "shards")))
    assay("train", folder / "c.yaml", "--out", folder / "run")
    assay("encode", folder / "run", folder / "shards", "--out", folder / "codes.h5")
    return folder


def test_dictionary(tmp_path):
    folder = write_dictionary(tmp_path / "dictionary")
    facts = assay_json("inspect", folder)
    cfg = json.loads((folder / "cfg.json").read_text())
    assert facts["kind"] == "dictionary" and facts["training_tokens"] == cfg["tokens"]
    for key in ("variant", "d", "n", "k", "model", "revision", "hook", "scale", "seed"):
        assert facts[key] == cfg[key]
    assert facts["tensors"]["W_enc"] == {"dtype": "F32", "shape": [96, 24]}
    assert len(facts["hash"]) == 64
    other = assay_json("inspect", write_dictionary(tmp_path / "other", seed=1))
    assert other["hash"] != facts["hash"]


@pytest.mark.parametrize("name,kind", [("x.h5", "activations"), ("shards", "shards")])
def test_activations(files, name, kind):
    facts = assay_json("inspect", files / name)
    assert (facts["kind"], facts["rows"], facts["files"], facts["model"]) == (kind, 3000, 1, "tiny")
    assert facts["bytes"] == (files / "x.h5").stat().st_size
    assert facts["labels"] == [{"name": "lang", "classes": 3}]
    main, mlp = facts["hooks"]
    assert (main["name"], main["shape"], main["dtype"]) == ("activations", [3000, 24], "f32")
    assert (mlp["name"], mlp["shape"]) == ("mlp", [3000, 8])
    if kind == "activations":  # h5py left neither statistics nor checksums
        assert main["variance"] is None and main["scale"] is None and main["checksums"] == "none"
        assert facts["content_hash"] == ""
        return
    with h5py.File(files / "x.h5") as f:
        x = f["activations"][:].astype(np.float64)
    assert main["checksums"] == "crc32c" and len(facts["content_hash"]) == 64
    assert main["variance"] == pytest.approx(x.var(axis=0).sum(), rel=1e-9)
    assert main["scale"] == pytest.approx(1 / np.sqrt((x**2).sum(axis=1).mean()), rel=1e-9)


def test_codes(files):
    facts = assay_json("inspect", files / "codes.h5")
    assert (facts["kind"], facts["rows"], facts["pairs"], facts["n"], facts["d"], facts["k"]) == (
        "codes",
        3000,
        12000,
        64,
        24,
        4,
    )
    assert facts["dictionary_hash"] == assay_json("inspect", files / "run" / "dictionary")["hash"]
    assert facts["source_hash"] == assay_json("inspect", files / "shards")["content_hash"]


def test_run_and_checkpoint(files):
    facts = assay_json("inspect", files / "run")
    lines = (files / "run" / "metrics.jsonl").read_text().splitlines()
    assert facts["kind"] == "run" and facts["finished"]
    assert facts["last_metrics"] == json.loads(lines[-1]) and facts["last_metrics"]["step"] == 20
    assert facts["dictionary"]["training_tokens"] == 20 * 64
    newest = files / "run" / "checkpoints" / facts["checkpoints"][-1]
    checkpoint = assay_json("inspect", newest)
    assert {**facts["checkpoint"], "path": ""} == {**checkpoint, "path": ""}
    assert (checkpoint["kind"], checkpoint["step"]) == ("checkpoint", 20)
    assert (
        checkpoint["state_sha256"]
        == hashlib.sha256((newest / "state.safetensors").read_bytes()).hexdigest()
    )
    assert checkpoint["tensors"]["W_enc.m"]["shape"] == [64, 24]


def test_text_says_the_same(files):
    text = assay("inspect", files / "shards")
    assert "shards" in text.splitlines()[0]
    assert any(line.split() == ["rows", "3000"] for line in text.splitlines())
    assert '{"name":"lang","classes":3}' in text


def test_unknown_paths_are_told_what_was_looked_for(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    with h5py.File(tmp_path / "other.h5", "w") as f:
        f["something"] = [1, 2]
    for name in ("notes.txt", "empty", "other.h5"):
        line = assay("inspect", tmp_path / name, status=1)
        assert name in line and "index.yaml" in line and "/row_offsets" in line
    assert "no such file or folder" in assay("inspect", tmp_path / "nowhere", status=1)


def test_damaged_checkpoint_is_named(files, tmp_path):
    source = sorted((files / "run" / "checkpoints").iterdir())[0]
    copy = tmp_path / "step-1"
    copy.mkdir()
    for file in source.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    damaged = bytearray((copy / "state.safetensors").read_bytes())
    damaged[-1] ^= 1
    (copy / "state.safetensors").write_bytes(damaged)
    assert "state.safetensors: does not have the checksum" in assay("inspect", copy, status=1)
