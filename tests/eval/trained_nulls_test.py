"""Controls that are trained by one command: what is frozen, what is the same, what is kept, and what is refused."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors.numpy import load_file

ASSAY = os.environ.get("ASSAY", "build/assay")
KINDS = {
    "frozen_decoder": "decoder",
    "soft_frozen_decoder": "soft_decoder",
    "frozen_encoder": "encoder",
}
STEPS = 300


def assay(*arguments, status=0):
    done = subprocess.run([ASSAY, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == status, done.stderr[-2000:]
    return done


def state_of(run, step=STEPS):
    return load_file(run / "checkpoints" / f"step-{step:010}" / "state.safetensors")


def tree(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Shards of sparse sums, and a run on them."""
    folder = tmp_path_factory.mktemp("nulls")
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(90, 24))
    codes = (rng.random((6000, 90)) < 0.05) * (0.5 + rng.random((6000, 90)))
    with h5py.File(folder / "x.h5", "w") as file:
        file.create_dataset(
            "activations", data=(codes @ directions).astype(np.float32), chunks=(250, 24)
        )
        file["document"] = np.arange(6000) // 10
    assay("index", folder / "x.h5", "--out", folder / "shards")
    (folder / "config.yaml").write_text(
        f"data: {{path: {folder / 'shards'}, lanes: 4, window_chunks: 2, validation: 0.2}}\n"
        "model: {n: 128, k: 5}\n"
        f"train: {{steps: {STEPS}, batch: 128, seed: 7, lr: 0.02, checkpoint_every: 20, keep_checkpoints: 2}}\n"
    )
    assay("train", folder / "config.yaml", "--out", folder / "run")
    return folder


def evaluate(world, out, *arguments, dictionary="run", status=0):
    return assay(
        *("eval", world / dictionary, "--data", world / "shards", "--tasks", "core"),
        *("--out", out, *arguments),
        status=status,
    )


@pytest.fixture(scope="module")
def controls(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "eval"
    return out, evaluate(world, out, "--null", "random," + ",".join(KINDS))


def test_one_command_trains_them_and_evaluates_them_as_controls(controls):
    out, done = controls
    results = json.loads((out / "results.json").read_text())
    entries = {d["name"]: d for d in results["dictionaries"]}
    assert set(entries) == {"run", "run:random", *(f"run:{kind}" for kind in KINDS)}
    for kind in KINDS:
        entry = entries[f"run:{kind}"]
        assert (entry["null_kind"], entry["parent"]) == (kind, "run")
        assert entry["same_data"] and entry["tokens"] == STEPS * 128 and entry["seed"] == 7
        assert done.stderr.count(f"control run:{kind}: trained, {STEPS} steps") == 1
    fvu = {
        n["dictionary"]: n["value"]
        for n in results["tasks"][0]["numbers"]
        if n["metric"] == "fvu" and n["part"] == "validation"
    }
    assert fvu["run"] < fvu["run:soft_frozen_decoder"] < fvu["run:frozen_decoder"]
    assert max(fvu[f"run:{kind}"] for kind in KINDS) < fvu["run:random"]


def test_what_is_frozen_is_the_start_bit_for_bit_and_the_soft_bound_binds(controls):
    states = {kind: state_of(controls[0] / "nulls" / f"run-{kind}") for kind in KINDS}
    start = states["frozen_decoder"]["W_dec"]  # an encoder starts as its decoder
    np.testing.assert_allclose(np.linalg.norm(start, axis=1), 1, atol=1e-6)
    assert (states["frozen_encoder"]["W_enc"] == start).all()
    assert (states["frozen_encoder"]["b_enc"] == 0).all()
    assert (states["frozen_decoder"]["W_enc"] != start).any(1).all()
    soft = states["soft_frozen_decoder"]["W_dec"].astype(np.float64)
    cosine = (soft * start).sum(1) / np.linalg.norm(soft, axis=1) / np.linalg.norm(start, axis=1)
    assert cosine.min() > 0.8 - 1e-6 and (cosine < 0.8 + 1e-5).mean() > 0.1
    free = states["frozen_encoder"]["W_dec"]
    assert (free * start).sum(1).min() < 0.7


def test_they_differ_from_the_run_in_what_is_frozen_alone(world, controls):
    before = (world / "run" / "config.yaml").read_text().splitlines()
    for kind, frozen in KINDS.items():
        run = controls[0] / "nulls" / f"run-{kind}"
        cfg = json.loads((run / "dictionary" / "cfg.json").read_text())
        assert cfg["null_kind"] == kind
        own = (run / "config.yaml").read_text().splitlines()
        changed = [line for line in own if line not in before]
        assert changed == [f"  frozen: {frozen}"], changed


def test_a_second_command_takes_what_is_there(world, controls, tmp_path):
    out = tmp_path / "again"
    shutil.copytree(controls[0] / "nulls", out / "nulls")
    kept = tree(out / "nulls")
    done = evaluate(world, out, "--null", ",".join(KINDS))
    assert done.stderr.count(": is there") == len(KINDS) and "trained," not in done.stderr
    assert tree(out / "nulls") == kept


def test_killed_it_goes_on_to_the_same_bits(world, controls, tmp_path):
    kind = "soft_frozen_decoder"
    run = tmp_path / "out" / "nulls" / f"run-{kind}"
    command = [ASSAY, "eval", world / "run", "--data", world / "shards", "--tasks", "core"]
    command += ["--out", tmp_path / "out", "--null", kind]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.time() + 60
    while not list(run.glob("checkpoints/step-*[0-9]")) and time.time() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "finished before its kill"
    assert not (run / "dictionary").exists()
    evaluate(world, tmp_path / "out", "--null", kind)
    whole = controls[0] / "nulls" / f"run-{kind}"
    for name in ("dictionary/dictionary.safetensors", "dictionary/cfg.json"):
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name


def test_an_average_of_the_weights_leaves_what_is_frozen(world, tmp_path):
    options = ["--set", "train.steps=40", "--set", "train.ema=0.9"]
    for frozen in ("decoder", "soft_decoder", "none"):
        arguments = [world / "config.yaml", "--out", tmp_path / frozen, *options]
        assay("train", *arguments, "--set", f"model.frozen={frozen}")
    weights = {
        frozen: load_file(tmp_path / frozen / "dictionary" / "dictionary.safetensors")
        for frozen in ("decoder", "soft_decoder")
    }
    state = state_of(tmp_path / "decoder", 40)
    assert "W_dec.ema" not in state and "W_enc.ema" in state
    scale = np.float32(json.loads((tmp_path / "decoder" / "dictionary" / "cfg.json").read_text())["scale"])  # fmt: skip
    np.testing.assert_allclose(weights["decoder"]["W_dec"], state["W_dec"] / scale, rtol=1e-6)
    soft, start = weights["soft_decoder"]["W_dec"], weights["decoder"]["W_dec"]
    cosine = (soft * start).sum(1) / np.linalg.norm(soft, axis=1) / np.linalg.norm(start, axis=1)
    assert 0.8 - 1e-5 < cosine.min() < 0.999


def test_what_cannot_be_trained_like_it_is_one_line(world, tmp_path):
    shutil.copytree(world / "run" / "dictionary", tmp_path / "bare")
    shutil.copytree(world / "run", tmp_path / "moved")
    config = (tmp_path / "moved" / "config.yaml").read_text()
    (tmp_path / "moved" / "config.yaml").write_text(
        config.replace("variant: topk", "variant: gated")
    )
    cases = [
        (tmp_path / "bare", "frozen_encoder", ("does not say how it was trained", "--null-dictionary")),
        (tmp_path / "moved", "frozen_decoder", ("gated", "cannot be frozen", "topk")),
        (world / "run", "frozen", ("frozen_decoder", "permuted_encoder")),
    ]  # fmt: skip
    for dictionary, kind, words in cases:
        out = tmp_path / "out"
        done = evaluate(world, out, "--null", kind, dictionary=dictionary, status=2)
        line = done.stderr.strip().splitlines()[-1]
        assert line.startswith("assay: ") and all(word in line for word in words), line
        assert not (out / "nulls").exists() and not (out / "results.json").exists()


def test_other_data_than_its_own_are_found_or_refused(world, tmp_path):
    """Evaluated on other shards, controls are trained on the dictionary's own."""
    with h5py.File(world / "x.h5") as file, h5py.File(tmp_path / "y.h5", "w") as other:
        other.create_dataset("activations", data=file["activations"][:3000] + 1, chunks=(250, 24))
        other["document"] = file["document"][:3000]
    assay("index", tmp_path / "y.h5", "--out", tmp_path / "other")
    command = ["eval", world / "run", "--data", tmp_path / "other", "--tasks", "core"]
    assay(*command, "--out", tmp_path / "out", "--null", "frozen_decoder")
    runs = (world / "run", tmp_path / "out" / "nulls" / "run-frozen_decoder")
    cfg = [json.loads((run / "dictionary" / "cfg.json").read_text()) for run in runs]
    assert cfg[0]["data_hash"] == cfg[1]["data_hash"]
    lost = tmp_path / "lost"
    shutil.copytree(world / "run", lost)
    text = (lost / "config.yaml").read_text().replace(str(world / "shards"), "/nowhere")
    (lost / "config.yaml").write_text(text)
    command[1] = lost
    done = assay(*command, "--out", tmp_path / "none", "--null", "frozen_decoder", status=2)
    assert "/nowhere" in done.stderr.splitlines()[-1]


def test_another_configuration_in_the_folder_is_named(world, controls, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(controls[0] / "nulls", out / "nulls")
    other = tmp_path / "run"
    shutil.copytree(world / "run", other)
    file = other / "config.yaml"
    file.write_text(file.read_text().replace("seed: 7", "seed: 8"))
    done = evaluate(world, out, "--null", "frozen_decoder", dictionary=other, status=2)
    assert "train.seed is 7 there, 8 now" in done.stderr.splitlines()[-1]


def test_a_configuration_of_another_version_is_read_for_what_counts(world, tmp_path):
    """Sections that do not say how it was trained may be another version's."""
    shutil.copytree(world / "run", tmp_path / "old")
    file = tmp_path / "old" / "config.yaml"
    text = file.read_text()
    assert "\neval:\n" in text
    file.write_text(text.replace("\neval:\n", "\neval:\n  gone: 3\n") + "extra: {a: 1}\n")
    out = tmp_path / "out"
    evaluate(world, out, "--null", "frozen_encoder", dictionary=tmp_path / "old")
    file.write_text(file.read_text().replace("\ntrain:\n", "\ntrain:\n  gone: 3\n"))
    out = tmp_path / "other"
    done = evaluate(world, out, "--null", "frozen_encoder", dictionary=tmp_path / "old", status=2)
    assert "train.gone" in done.stderr.splitlines()[-1]


def test_train_names_what_cannot_be_frozen(world, tmp_path):
    for options, words in [
        (["model.variant=gated", "model.frozen=decoder"], ("gated", "topk")),
        (["train.resample_every=10", "model.frozen=decoder", "train.aux_coefficient=0"], ("resample_every",)),
        (["train.device=cuda", "model.frozen=encoder"], ("device",)),
        (["model.frozen=dekoder"], ("decoder", "nearest")),
    ]:  # fmt: skip
        arguments = [a for option in options for a in ("--set", option)]
        done = assay(
            "train", world / "config.yaml", "--out", tmp_path / "out", *arguments, status=2
        )
        line = done.stderr.strip().splitlines()[-1]
        assert all(word in line for word in words), line
    assert not (Path(tmp_path) / "out" / "dictionary").exists()
