"""assay synthesize and assay recover against numpy and scipy, and across a kill."""

import json
import os
import signal
import subprocess
import time

import h5py
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from scipy.optimize import linear_sum_assignment

from tests.experiments.tiny_data import assay, assay_json, dense_codes, read_weights

SMALL = ["--kind", "zipf", "--set", "d=24", "--set", "n=16", "--set", "l0=3"]


def activations(folder):
    return np.concatenate([h5py.File(f)["activations"][:] for f in sorted(folder.glob("*.h5"))])


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted") / "set"
    assay("synthesize", *SMALL, "--set", "rows=2000", "--out", folder)
    return folder


def test_the_old_name_of_synthesize_writes_the_same(planted, tmp_path):
    assay("plant", *SMALL, "--set", "rows=2000", "--out", tmp_path / "old")
    files = {path.relative_to(planted): path for path in planted.rglob("*") if path.is_file()}
    assert len(files) > 3
    for name, path in files.items():
        assert (tmp_path / "old" / name).read_bytes() == path.read_bytes(), name


def noisy_dictionary(planted, folder, n=12, seed=0):
    """Some true features under noise, others random, of all lengths."""
    rng = np.random.default_rng(seed)
    truth = read_weights(planted / "truth")["W_dec"]
    w = rng.standard_normal((n, truth.shape[1]))
    kept = truth[rng.permutation(len(truth))[: n - 3]]
    w[: len(kept)] = kept + 0.12 * rng.standard_normal(kept.shape)
    weights = {
        "W_dec": w * rng.uniform(0.5, 2, (n, 1)),
        "W_enc": w,
        "b_enc": np.full(n, -0.1),
        "b_dec": 0.01 * w[0],
    }
    cfg = json.loads((planted / "truth" / "cfg.json").read_text())
    folder.mkdir()
    save_file(
        {k: v.astype(np.float32) for k, v in weights.items()}, folder / "dictionary.safetensors"
    )
    (folder / "cfg.json").write_text(json.dumps({**cfg, "n": n}))
    return folder


def test_the_true_dictionary_scores_one(planted):
    (found,) = assay_json("recover", planted / "truth", "--planted", planted, "--rows", 500)
    assert found["mcc"] == pytest.approx(1, abs=1e-6)
    assert found["recovered"] == found["uniqueness"] == 1
    facts = load_file(planted / "truth" / "planted.safetensors")
    assert facts["probabilities"].sum() == pytest.approx(3, rel=1e-5)
    assert (facts["parents"] == -1).all()


@pytest.mark.parametrize("n", [12, 16, 40])
def test_recovery_agrees_with_scipy(planted, tmp_path, n):
    dictionary = noisy_dictionary(planted, tmp_path / "d", n=n)
    (found,) = assay_json("recover", dictionary, "--planted", planted, "--rows", 3000)
    weights, truth = read_weights(dictionary), read_weights(planted / "truth")["W_dec"]
    decoder = weights["W_dec"]
    cosine = (
        decoder @ truth.T / np.linalg.norm(decoder, axis=1)[:, None] / np.linalg.norm(truth, axis=1)
    )
    rows, columns = linear_sum_assignment(-np.abs(cosine))
    assert found["mcc"] == pytest.approx(np.abs(cosine)[rows, columns].mean(), abs=1e-6)
    assert found["recovered"] == pytest.approx((cosine.max(0) > 0.8).mean())
    nearest = np.abs(cosine).argmax(1)
    assert found["uniqueness"] == pytest.approx(len(set(nearest)) / n)

    # Fresh rows are those a longer planting would have written next.
    longer = tmp_path / "longer"
    assay("synthesize", *SMALL, "--set", "rows=5000", "--out", longer)
    every = activations(longer)
    assert np.array_equal(every[:2000], activations(planted))
    x = every[2000:].astype(np.float64)
    k = json.loads((dictionary / "cfg.json").read_text())["k"]
    index, value = dense_codes(weights, x, k)
    codes = np.zeros((len(x), n))
    np.put_along_axis(codes, index, value, axis=1)
    error = ((x - codes @ decoder - weights["b_dec"]) ** 2).sum()
    assert found["ev"] == pytest.approx(
        1 - error / ((x - x.mean(0)) ** 2).sum(), rel=1e-5, abs=1e-5
    )
    assert found["l0"] == pytest.approx((codes > 0).sum(1).mean(), abs=1e-3)
    true = (
        x @ np.linalg.pinv(truth) > 1e-3
    )  # fewer features than dimensions: the codes follow from x
    assert found["true_l0"] == pytest.approx(true.sum(1).mean())
    fires = codes > 0
    both = (fires & true[:, nearest]).sum(0)
    either = fires.sum(0) + true[:, nearest].sum(0)
    assert found["f1"] == pytest.approx((2 * both / either).mean(), abs=2e-3)


def test_a_killed_planting_continues_to_the_same_bytes(tmp_path):
    arguments = [
        "synthesize",
        "--kind",
        "independent",
        "--set",
        "rows=800000",
        "--set",
        "d=4",
        "--set",
        "n=8",
        "--set",
        "l0=2",
    ]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assay(*arguments, "--out", whole)
    child = subprocess.Popen(
        [os.environ["ASSAY"], *arguments, "--out", str(cut)], stdout=subprocess.DEVNULL
    )
    while not (cut / "shard-00001.h5").exists():
        assert child.poll() is None
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not (cut / "index.yaml").exists()
    assert "other options" in assay(*arguments, "--set", "seed=1", "--out", cut, status=2)
    assay(*arguments, "--out", cut)
    names = [p.relative_to(whole) for p in sorted(whole.rglob("*")) if p.is_file()]
    assert [p.relative_to(cut) for p in sorted(cut.rglob("*")) if p.is_file()] == names
    for name in names:
        assert (cut / name).read_bytes() == (whole / name).read_bytes(), name


def test_wrong_uses_are_one_line(planted, tmp_path):
    assert "no planted.yaml" in assay("recover", planted / "truth", "--planted", tmp_path, status=1)
    assert "lower l0" in assay(
        "synthesize", *SMALL, "--set", "l0=17", "--out", tmp_path / "x", status=2
    )
    assert "unknown" in assay(
        "synthesize", *SMALL, "--set", "nn=17", "--out", tmp_path / "x", status=2
    )
    other = tmp_path / "other"
    assay("synthesize", "--kind", "toy", "--set", "rows=100", "--out", other)
    assert "d = 24" in assay("recover", planted / "truth", "--planted", other, status=2)


def test_a_trained_dictionary_finds_few_features_among_many(tmp_path):
    """A dictionary of a few independent features is found by training; the numbers come back in the table too."""
    data = tmp_path / "set"
    assay(
        "synthesize",
        "--kind",
        "independent",
        "--set",
        "d=32",
        "--set",
        "n=32",
        "--set",
        "l0=2",
        "--set",
        "rows=65536",
        "--out",
        data,
    )
    config = tmp_path / "config.yaml"
    config.write_text(
        f"data: {{path: {data}, validation: 0, test: 0}}\nmodel: {{n: 32, k: 2}}\n"
        "train: {steps: 600, batch: 512, lr: 0.003, warmup_steps: 10}\n"
    )
    assay("train", config, "--out", tmp_path / "run")
    (found,) = assay_json("recover", tmp_path / "run", "--planted", data, "--rows", 2000)
    assert found["mcc"] > 0.8 and found["recovered"] > 0.7 and found["f1"] > 0.6, found
    assert "MCC" in assay("recover", tmp_path / "run", "--planted", data, "--rows", 2000)
