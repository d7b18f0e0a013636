"""The arithmetic of experiments/model_diff.py: closed forms, least squares, assay's FVU, planted differences."""

import argparse
import os
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from tiny_data import assay, assay_json

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "experiments"))
import model_diff  # noqa: E402


def test_relative_norm_is_lindseys():
    first, second = np.array([[3.0, 4], [0, 0], [1, 0]]), np.array([[0.0, 0], [0, 2], [0, 3]])
    assert np.allclose(model_diff.relative_norm(first, second), [0, 1, 0.75])


def test_bf16_is_torchs():
    x = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    assert np.array_equal(model_diff.rounded(x), torch.from_numpy(x).bfloat16().float().numpy())


def test_latent_scaling_tells_the_artefacts_apart():
    """Orthogonal directions, so every nu is known: latent 0 is shared; 1 is the second model's alone; 2 is in both, 0.7
    as strong in the first, whose decoder shrank to nothing; 3 is in both, and 4 stands for it in the first."""
    rng = np.random.default_rng(0)
    z = (rng.random((500, 5)) < 0.3) * rng.random((500, 5))
    z[:, 4] = z[:, 3]
    e = np.eye(8)[:4]
    nothing, bias = np.zeros(8), rng.standard_normal((2, 8))
    first = np.array([0.5 * e[0], nothing, nothing, nothing, e[3]])
    second = np.array([e[0], 2 * e[1], e[2], e[3], nothing])
    hooks = [z @ first + 0.7 * z[:, 2:3] * e[2] + bias[0], z @ second + bias[1]]
    nu = model_diff.latent_scaling(csr_matrix(z), hooks, [first, second], bias, strong=1)
    assert np.allclose(nu["error"][:4], [0.5, 0, 0.7, 0])
    assert np.allclose(nu["reconstruction"][:4], [0.5, 0, 0, 1])
    judged = model_diff.diff(csr_matrix(z), hooks, [first, second], bias)
    assert judged["exclusive"] == [1 / 5, 3 / 5] and judged["claimed"] == 4
    assert judged["confirmed"] == 1  # latent 1; latent 4 is what 3 is, seen from the first model
    assert judged["fvu"][1] < 1e-20 < judged["fvu"][0]


@pytest.mark.parametrize("strong", [0, 1])
def test_latent_scaling_is_least_squares(strong):
    rng = np.random.default_rng(strong)
    z = (rng.random((300, 6)) < 0.4) * rng.random((300, 6))
    decoders, biases = rng.standard_normal((2, 6, 10)), rng.standard_normal((2, 10))
    hooks = rng.standard_normal((2, 300, 10))
    nu = model_diff.latent_scaling(csr_matrix(z), hooks, decoders, biases, strong)
    for j in range(6):
        column = np.outer(z[:, j], decoders[strong][j]).reshape(-1, 1)
        betas = {"error": [], "reconstruction": []}
        for x, decoder, bias in zip(hooks, decoders, biases, strict=True):
            without = np.delete(z, j, axis=1) @ np.delete(decoder, j, axis=0) + bias
            betas["error"].append(np.linalg.lstsq(column, (x - without).ravel(), rcond=None)[0][0])
            betas["reconstruction"].append(
                np.linalg.lstsq(column, (z @ decoder).ravel(), rcond=None)[0][0]
            )
        for kind, of in betas.items():
            assert nu[kind][j] == pytest.approx(of[1 - strong] / of[strong], rel=1e-6), (kind, j)


def test_texts_share_no_document():
    records = [{"text": str(i), "document": f"w{i // 3}"} for i in range(100)]
    learn, measured, tune = model_diff.choose(records, 40, 20)
    assert len(learn) == 40 and len(measured) == 20 and len(tune) >= 36
    documents = [{r["document"] for r in part} for part in (learn, measured, tune)]
    assert not (
        documents[0] & documents[1] or documents[0] & documents[2] or documents[1] & documents[2]
    )


def test_planted_differences_are_found(tmp_path):
    """Of 24 directions the models share 16; four belong to each alone. FVU and L0 are what assay says."""
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((2, 24, 32))
    directions[0, 16:20] = directions[1, 20:] = 0
    z = (rng.random((12_000, 24)) < 0.08) * (0.5 + rng.random((12_000, 24)))
    with h5py.File(tmp_path / "pair.h5", "w") as file:
        file["activations"], file["hooks/other"] = ((z @ d).astype(np.float32) for d in directions)
        file["document"] = np.arange(12_000)
    assay("index", tmp_path / "pair.h5", "--out", tmp_path / "set")
    config = tmp_path / "config.yaml"
    config.write_text(
        f"data: {{path: {tmp_path / 'set'}, more_hooks: [other], lanes: 4, validation: 0.1, test: 0}}\n"
        "model: {variant: crosscoder_batch_topk, n: 32, k: 2, threshold: calibrated}\n"
        "train: {steps: 1500, batch: 256, lr: 0.003}\n"
    )
    assay("train", config, "--out", tmp_path / "run")
    args = argparse.Namespace(assay=os.environ["ASSAY"], threads=1)
    judged = model_diff.judge(tmp_path / "run", tmp_path / "pair.h5", args)
    counts = [round(share * judged["firing"]) for share in judged["exclusive"]]
    assert all(3 <= count <= 6 for count in counts), judged
    assert judged["confirmed"] >= 0.8 * judged["claimed"], judged

    codes = tmp_path / "codes.h5"
    summary = assay_json(
        "encode", tmp_path / "run", tmp_path / "pair.h5", "--out", codes, "--fvu", "all"
    )
    assert summary["fvu_l0"] == pytest.approx(judged["l0"], rel=1e-4)
    x = [z @ d for d in directions]
    variances = [((h - h.mean(0)) ** 2).sum() for h in x]
    assert summary["fvu"] == pytest.approx(np.average(judged["fvu"], weights=variances), rel=1e-3)
