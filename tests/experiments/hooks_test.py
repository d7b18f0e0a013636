"""Variants of several hooks through the command line: training, resuming, metadata, FVU against numpy, refusals."""

import json
import shutil

import h5py
import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.experiments.tiny_data import assay, assay_json

D, OUT, OTHER, N, K = 12, 8, 10, 48, 4


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """/activations from sparse features; /hooks/out a linear map and a ReLU of them, /hooks/other another mixture."""
    folder = tmp_path_factory.mktemp("hooks")
    rng = np.random.default_rng(0)
    features = rng.standard_normal((30, D + OUT + OTHER)).astype(np.float32)
    codes = (rng.random((6000, 30)) < 0.1) * rng.random((6000, 30)).astype(np.float32)
    everything = (codes @ features).astype(np.float32)
    x, mix, other = np.split(everything, [D, D + OUT], axis=1)
    with h5py.File(folder / "set.h5", "w") as file:
        file["activations"] = x
        file["hooks/out"] = np.maximum(mix, 0) + 3
        file["hooks/other"] = 5 * other
        file["document"] = np.arange(6000) // 10
        file["special"] = (np.arange(6000) % 10 == 0).astype(np.uint8)
    assay("index", folder / "set.h5", "--out", folder / "set")
    return folder / "set"


def config(folder, shards, variant, data="", model="", steps=60):
    path = folder / f"{variant}.yaml"
    path.write_text(
        f"data: {{path: {shards}, lanes: 4, validation: 0.2, test: 0{data}}}\n"
        f"model: {{variant: {variant}, n: {N}, k: {K}{model}}}\n"
        f"train: {{steps: {steps}, batch: 128, lr: 0.003, warmup_steps: 1, checkpoint_every: 20, "
        "keep_checkpoints: 9}\n"
    )
    return path


VARIANTS = {
    "transcoder": ", target_hook: out",
    "skip_transcoder": ", target_hook: out",
    "crosscoder": ", more_hooks: [other, out]",
    "crosscoder_batch_topk": ", more_hooks: [other, out]",
    "matching_pursuit": "",
}


def decode(run, x, codes):
    """By numpy alone, from the published weights."""
    w = load_file(run / "dictionary" / "dictionary.safetensors")
    z = np.zeros((len(x), N))
    offsets, indices, values = (codes[name][:] for name in ("row_offsets", "indices", "values"))
    for i in range(len(x)):
        z[i, indices[offsets[i] : offsets[i + 1]]] = values[offsets[i] : offsets[i + 1]]
    y = z @ w["W_dec"] + w["b_dec"]
    return z, y + x @ w["W_skip"].T if "W_skip" in w else y


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_plan_knows_all_hooks(tmp_path, shards, variant):
    path = config(tmp_path, shards, variant, VARIANTS[variant], steps=2)
    large = ["--set", "model.n=8192", "--set", "train.keep_checkpoints=1"]
    facts = assay_json("plan", path, *large)
    d_in, d_out = {"t": (D, OUT), "s": (D, OUT), "c": (D + OTHER + OUT,) * 2, "m": (D, D)}[
        variant[0]
    ]
    assert (facts["d"], facts["d_out"]) == (d_in, d_out)
    skip = d_in * d_out if variant == "skip_transcoder" else 0
    assert facts["parameters"] == 8192 * (d_in + d_out + 1) + d_out + skip
    assay("train", path, *large, "--out", tmp_path / "run")
    kept = sum(
        file.stat().st_size
        for file in (tmp_path / "run" / "checkpoints").rglob("*")
        if file.is_file()
    )
    assert facts["disk"]["parts"]["checkpoints kept, and one being written"] == pytest.approx(
        2 * kept, rel=0.01
    )
    assert facts["time"]["seconds_a_step"] > 0
    # Without shards every hook has the dimensions given.
    wide = assay_json("plan", path, "--dims", 40, *large)
    hooks = 3 if variant.startswith("crosscoder") else 1
    assert (wide["d"], wide["d_out"]) == (40 * hooks, 40 * hooks)


@pytest.mark.parametrize("variant", VARIANTS)
def test_train_resume_encode_and_measure(tmp_path, shards, variant):
    model = ", sparsity: 0.02" if variant == "crosscoder" else ""
    path = config(tmp_path, shards, variant, VARIANTS[variant], model, steps=300)
    run = tmp_path / "run"
    assay("train", path, "--out", run)
    whole = (run / "dictionary" / "dictionary.safetensors").read_bytes()
    shutil.rmtree(run / "dictionary")
    for step in (280, 300):
        shutil.rmtree(run / "checkpoints" / f"step-{step:010}")
    assay("train", path, "--out", run, "--resume", "auto")
    assert (run / "dictionary" / "dictionary.safetensors").read_bytes() == whole

    facts = assay_json("inspect", run / "dictionary")
    several = variant.startswith("crosscoder")
    assert facts["variant"] == variant and facts["d"] == (D + OTHER + OUT if several else D)
    assert facts.get("target") == ("out" if variant.endswith("transcoder") else None)
    assert [hook["name"] for hook in facts.get("hooks") or []] == (
        ["activations", "other", "out"] if several else []
    )

    report = assay_json("encode", run, shards, "--out", tmp_path / "codes.h5", "--fvu", "all")
    with h5py.File(shards.parent / "set.h5") as data, h5py.File(tmp_path / "codes.h5") as codes:
        arrays = {
            "activations": data["activations"][:],
            "out": data["hooks/out"][:],
            "other": data["hooks/other"][:],
        }
        x = (
            np.concatenate([arrays[name] for name in ("activations", "other", "out")], 1)
            if several
            else (arrays["activations"])
        )
        z, found = decode(run, x.astype(np.float64), codes)
        plain = data["special"][:] == 0
    y = (arrays["out"] if variant.endswith("transcoder") else x)[plain].astype(np.float64)
    fvu = ((y - found[plain]) ** 2).sum() / ((y - y.mean(0)) ** 2).sum()
    assert report["fvu"] == pytest.approx(fvu, rel=1e-4) and report["fvu_rows"] == plain.sum()
    assert report["fvu_l0"] == pytest.approx((z[plain] > 0).sum(1).mean())
    assert fvu < 0.6 and (variant == "crosscoder" or z.astype(bool).sum(1).mean() < 2 * K)
    held_out = assay_json(
        "encode", run, shards, "--out", tmp_path / "codes.h5", "--fvu", "validation"
    )
    assert 0.1 * plain.sum() < held_out["fvu_rows"] < 0.3 * plain.sum()


def test_the_skip_alone_is_least_squares_where_no_latent_helps(tmp_path, shards):
    """A linear target: with one latent W_skip has to find the map."""
    with (
        h5py.File(shards.parent / "set.h5") as data,
        h5py.File(tmp_path / "linear.h5", "w") as file,
    ):
        x = data["activations"][:]
        file["activations"] = x
        file["hooks/out"] = x @ np.random.default_rng(1).standard_normal((D, OUT)).astype(
            np.float32
        )
    assay("index", tmp_path / "linear.h5", "--out", tmp_path / "linear")
    path = config(tmp_path, tmp_path / "linear", "skip_transcoder", ", target_hook: out", steps=800)
    path.write_text(path.read_text().replace(f"n: {N}, k: {K}", "n: 1, k: 1"))
    assay("train", path, "--out", tmp_path / "run")
    report = assay_json(
        "encode", tmp_path / "run", tmp_path / "linear", "--out", tmp_path / "c.h5", "--fvu", "all"
    )
    assert report["fvu"] < 0.01


@pytest.mark.parametrize(
    "variant, data, says",
    [
        ("transcoder", "", "data.target_hook"),
        ("topk", ", target_hook: out", "data.target_hook"),
        ("crosscoder", "", "data.more_hooks"),
        ("transcoder", ", target_hook: out, more_hooks: [other]", "data.more_hooks"),
        ("crosscoder", ", more_hooks: [activations]", "twice"),
        ("transcoder", ", target_hook: missing", "missing"),
    ],
)
def test_hooks_that_do_not_fit_the_variant_are_named(tmp_path, shards, variant, data, says):
    path = config(tmp_path, shards, variant, data)
    assert says in assay("train", path, "--out", tmp_path / "run", status=2)


def test_what_needs_the_input_or_another_hook_says_so(tmp_path, shards):
    path = config(tmp_path, shards, "skip_transcoder", ", target_hook: out")
    run = tmp_path / "run"
    assay("train", path, "--out", run)
    assay("encode", run, shards, "--out", tmp_path / "codes.h5")
    line = assay("decode", run, tmp_path / "codes.h5", "--out", tmp_path / "y.h5", status=2)
    assert "codes alone cannot be decoded" in line
    line = assay(
        "eval", run, "--data", shards, "--tasks", "core", "--out", tmp_path / "eval", status=2
    )
    assert "reconstructs another hook (out)" in line
    cfg = run / "dictionary" / "cfg.json"
    facts = json.loads(cfg.read_text())
    facts["hooks"] = [
        {"name": "activations", "d": D, "scale": 1},
        {"name": "out", "d": 2**62, "scale": 1},
    ]
    cfg.write_text(json.dumps(facts))
    assert "do not add up" in assay("inspect", run / "dictionary", status=1)
