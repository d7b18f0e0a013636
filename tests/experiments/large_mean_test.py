"""A common mean of the activations, up to 300 times their spread, changes no result of any kind of training."""

import json
import os
import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from tiny_data import assay, assay_json

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "sae" / "python"))

D, OUT, N, K = 24, 10, 96, 4
DATA = {"transcoder": ", target_hook: out", "skip_transcoder": ", target_hook: out"}
DATA["crosscoder"] = DATA["crosscoder_batch_topk"] = ", more_hooks: [out]"
VARIANTS = ["topk", "batch_topk", "relu", "p_anneal", "gated", "jumprelu", "switch"]
VARIANTS += ["matching_pursuit", "matryoshka_topk", "matryoshka_batch_topk", "multi_topk", *DATA]
MODEL = {"switch": ", experts: 4", "relu": ", sparsity: 0.2"}


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """The same rows with means of 0, 299 and 2000 spreads, in one dimension of each hook."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((64, D + OUT))
    codes = (rng.random((8000, 64)) < 0.06) * (0.5 + rng.random((8000, 64)))
    rows = codes @ features
    rows -= rows.mean(0)
    spread = [np.sqrt((part**2).sum(1).mean()) for part in (rows[:, :D], rows[:, D:])]
    folders = {}
    for ratio in (0, 299, 2000):
        moved = rows.copy()
        moved[:, 0] += ratio * spread[0]
        moved[:, D] += ratio * spread[1]
        folder = folders[ratio] = tmp_path_factory.mktemp("mean")
        with h5py.File(folder / "set.h5", "w") as file:
            file["activations"] = moved[:, :D].astype(np.float32)
            file["hooks/out"] = moved[:, D:].astype(np.float32)
        assay("index", folder / "set.h5", "--out", folder / "set")
    return {ratio: folder / "set" for ratio, folder in folders.items()}


def config(folder, shards, variant, steps=150):
    path = folder / "config.yaml"
    path.write_text(
        f"data: {{path: {shards}, lanes: 4, validation: 0.2, test: 0{DATA.get(variant, '')}}}\n"
        f"model: {{variant: {variant}, n: {N}, k: {K}{MODEL.get(variant, '')}}}\n"
        f"train: {{steps: {steps}, batch: 128, lr: 0.003, warmup_steps: 1, tensorboard: false}}\n"
    )
    return path


def trained(folder, shards, variant):
    """Of the run, and of the published dictionary on raw held-out rows."""
    folder.mkdir()
    run = assay_json("train", config(folder, shards, variant), "--out", folder / "run")
    published = assay_json(
        "encode", folder / "run", shards, "--out", folder / "c.h5", "--fvu", "validation"
    )
    return run, published


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_trains_as_without_the_mean(tmp_path, shards, variant):
    run, published = trained(tmp_path / "none", shards[0], variant)
    moved, moved_published = trained(tmp_path / "large", shards[299], variant)
    assert moved["train_fvu"] == pytest.approx(run["train_fvu"], rel=0.1)
    assert moved["l0"] == pytest.approx(run["l0"], rel=0.1)
    # A crosscoder's or a transcoder's FVU is over what it reconstructs, the mean left out.
    assert moved_published["fvu"] == pytest.approx(published["fvu"], rel=0.1)
    assert moved_published["fvu_l0"] == pytest.approx(published["fvu_l0"], rel=0.1)
    assert not any("common mean" in line for line in moved["warnings"])


def test_resumed_it_ends_in_the_same_bits(tmp_path, shards):
    file = config(tmp_path, shards[299], "relu")
    small = ("--set", "train.checkpoint_every=40")
    assay("train", file, "--out", tmp_path / "whole", *small)
    assay("train", file, "--out", tmp_path / "run", *small)
    weights = (tmp_path / "whole" / "dictionary" / "dictionary.safetensors").read_bytes()
    for path in (tmp_path / "run" / "dictionary").iterdir():
        path.unlink()
    (tmp_path / "run" / "dictionary").rmdir()
    newest = max((tmp_path / "run" / "checkpoints").iterdir())
    for path in newest.iterdir():
        path.unlink()
    newest.rmdir()
    assay("train", file, "--out", tmp_path / "run", *small, "--resume", "auto")
    assert (tmp_path / "run/dictionary/dictionary.safetensors").read_bytes() == weights


@pytest.mark.parametrize("ratio", [0, 299])
def test_other_statistics_of_the_same_rows_are_refused(tmp_path, shards, ratio):
    folder = tmp_path / "shards"
    shutil.copytree(shards[ratio], folder)
    file = config(tmp_path, folder, "relu")
    small = ("--set", "train.checkpoint_every=40")
    assay("train", file, "--out", tmp_path / "run", *small)
    shutil.rmtree(tmp_path / "run" / "dictionary")
    index = yaml.safe_load((folder / "index.yaml").read_text())
    for hook in index["hooks"]:  # as if the rows were twice as long
        hook["mean"] = [2 * m for m in hook["mean"]]
        hook["variance"] *= 4
        hook["scale"] /= 2
    (folder / "index.yaml").write_text(yaml.safe_dump(index, sort_keys=False))
    line = assay("train", file, "--out", tmp_path / "run", *small, "--resume", "auto", status=1)
    assert "the activations' mean and scale" in line


def test_beyond_what_is_tested_it_warns_everywhere(tmp_path, shards):
    file = config(tmp_path, shards[2000], "topk", steps=40)
    out = tmp_path / "run"
    said = assay_json("train", file, "--out", out)["warnings"]
    assert len(said) == 1 and "common mean is 2000 times their spread" in said[0]
    last = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["warnings"] == said
    assert json.loads((out / "dictionary" / "cfg.json").read_text())["warnings"] == said
    assert assay_json("inspect", out / "dictionary")["warnings"] == said
    # Resumed after its last checkpoint, it says the same.
    for path in (out / "dictionary").iterdir():
        path.unlink()
    (out / "dictionary").rmdir()
    assert assay_json("train", file, "--out", out, "--resume", "auto")["warnings"] == said


def test_an_encoder_trained_from_outside_takes_raw_rows(tmp_path, shards):
    """assay bottleneck measures the mean on its first batch, and keeps it across a resume."""
    torch = pytest.importorskip("torch")
    from bottleneck import Bottleneck

    with h5py.File(shards[299].parent / "set.h5") as file:
        x = torch.from_numpy(file["activations"][:2048])
    file = tmp_path / "config.yaml"
    file.write_text(f"model: {{n: {N}, k: {K}}}\ntrain: {{steps: 60, lr: 0.003}}\n")

    def learn(out, until):
        encoder = Bottleneck(file, out, os.environ["ASSAY"], error_weight=1, resume="auto")
        while encoder.step < until:
            codes = encoder(x[encoder.step * 32 : encoder.step * 32 + 128])
            (0.0 * codes.values.sum()).backward()
        return encoder

    learn(tmp_path / "whole", 60).close()
    cut = learn(tmp_path / "cut", 30)
    cut.checkpoint()
    cut._process.kill()
    learn(tmp_path / "cut", 60).close()
    bits = [
        (tmp_path / name / "dictionary" / "dictionary.safetensors").read_bytes()
        for name in ("whole", "cut")
    ]
    assert bits[0] == bits[1]
    fvu = assay_json(
        "encode", tmp_path / "whole", shards[299], "--out", tmp_path / "c.h5", "--fvu", "all"
    )["fvu"]
    assert fvu < 0.9
