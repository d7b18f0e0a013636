"""assay decoder-shard, and a meta-SAE trained on what it writes: planted meta-latents are found."""

import json

import h5py
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tiny_data import assay, assay_json, read_weights, write_dictionary


def directions_of(folder):
    with h5py.File(next(folder.glob("*.h5"))) as f:
        about = {name: f.attrs[name] for name in ("model", "hook", "source_hash")}
        return f["activations"][:].astype(np.float64), about


def test_rows_are_the_decoders_directions(tmp_path):
    dictionary = write_dictionary(tmp_path / "dictionary")
    summary = assay_json("decoder-shard", dictionary, "--out", tmp_path / "set")
    w = read_weights(dictionary)["W_dec"]
    rows, about = directions_of(tmp_path / "set")
    assert np.allclose(rows, w / np.linalg.norm(w, axis=1, keepdims=True), rtol=1e-6, atol=1e-7)
    assert about == {
        "model": "tiny",
        "hook": "decoder of layer 1",
        "source_hash": summary["dictionary_hash"],
    }
    assert summary["dictionary_hash"] == assay_json("inspect", dictionary)["hash"]
    assert summary["variance"] == pytest.approx(1 - (rows.mean(0) ** 2).sum(), abs=1e-5)
    assert "already" in assay("decoder-shard", dictionary, "--out", tmp_path / "set", status=1)


def test_a_row_without_direction_is_named(tmp_path):
    dictionary = write_dictionary(tmp_path / "dictionary")
    weights = load_file(dictionary / "dictionary.safetensors")
    weights["W_dec"][17] = 0
    save_file(weights, dictionary / "dictionary.safetensors")
    assert "latent 17" in assay("decoder-shard", dictionary, "--out", tmp_path / "set", status=1)


def test_a_meta_sae_explains_latents_by_few_meta_latents(tmp_path):
    """Every latent's direction is a positive sum of 2 of 16 orthonormal directions."""
    rng = np.random.default_rng(0)
    d, n, truths = 24, 4096, 16
    truth = np.linalg.qr(rng.standard_normal((d, d)))[0][:truths]
    parts = np.zeros((n, truths))
    for row in parts:
        row[rng.choice(truths, 2, replace=False)] = rng.uniform(0.5, 1, 2)
    dictionary = write_dictionary(tmp_path / "dictionary", d=d, n=n)
    weights = load_file(dictionary / "dictionary.safetensors")
    weights["W_dec"] = (3 * parts @ truth).astype(np.float32)
    save_file(weights, dictionary / "dictionary.safetensors")
    assay("decoder-shard", dictionary, "--out", tmp_path / "set")
    config = tmp_path / "config.yaml"
    config.write_text(
        f"data: {{path: {tmp_path / 'set'}, validation: 0, test: 0}}\n"
        "model: {variant: batch_topk, n: 64, k: 2}\n"
        "train: {steps: 600, batch: 512, lr: 0.003, warmup_steps: 10}\n"
    )
    assay("train", config, "--out", tmp_path / "run")
    about = json.loads((tmp_path / "run" / "dictionary" / "cfg.json").read_text())
    assert about["hook"] == "decoder of layer 1" and about["model"] == "tiny"

    assay("encode", tmp_path / "run", tmp_path / "set", "--out", tmp_path / "codes.h5")
    with h5py.File(tmp_path / "codes.h5") as f:
        dense = np.zeros((n, 64))
        dense[np.repeat(np.arange(n), np.diff(f["row_offsets"][:])), f["indices"][:]] = f["values"][
            :
        ]
    assert (dense > 0).sum(1).mean() < 3
    x, meta = directions_of(tmp_path / "set")[0], read_weights(tmp_path / "run" / "dictionary")
    total = ((x - x.mean(0)) ** 2).sum()
    fvu = ((x - dense @ meta["W_dec"] - meta["b_dec"]) ** 2).sum() / total
    principal = (np.linalg.svd(x - x.mean(0), compute_uv=False) ** 2)[:2].sum() / total
    assert fvu < 0.5 < 1 - principal, (fvu, principal)
