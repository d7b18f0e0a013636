"""`assay plan` against what a run then really takes."""

import json
import os
import subprocess

import pytest
from train_support import ASSAY, run

SETTINGS = [
    "--set",
    "train.steps=12",
    "--set",
    "train.batch=2048",
    "--set",
    "train.checkpoint_every=4",
    "--set",
    "train.keep_checkpoints=2",
    "--set",
    "data.validation=0",
    "--set",
    "data.test=0",
]


def plan(*arguments):
    result = run("plan", *arguments, "--json")
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def peak_of(*arguments):
    """The largest resident memory of a command, in bytes."""
    process = subprocess.Popen(
        [ASSAY, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss * 1024


def most_of(memory):
    """With the copy that a checkpoint is written from, which is there when no other passing thing is."""
    passing = max(memory["one_at_a_time"].values())
    return memory["peak"] - passing + max(passing, *memory["if_there_is_room"].values())


def size_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_memory_and_disk_are_what_a_run_takes(tmp_path, config):
    file = config()
    peaks, plans = {}, {}
    for n in (256, 131_072):
        arguments = [*SETTINGS, "--set", f"model.n={n}"]
        plans[n] = plan(file, *arguments)
        peaks[n] = peak_of("train", file, "--out", tmp_path / str(n), *arguments)
    planned = {n: most_of(plans[n]["memory"]) for n in plans}
    for n in peaks:
        assert planned[n] == pytest.approx(peaks[n], rel=0.25)
    grown = planned[131_072] - planned[256]
    assert grown == pytest.approx(peaks[131_072] - peaks[256], rel=0.25)
    folder, parts = tmp_path / "131072", plans[131_072]["disk"]["parts"]
    kept = size_of(folder / "checkpoints")
    assert parts["checkpoints kept, and one being written"] == pytest.approx(kept * 3 / 2, rel=0.01)
    assert parts["dictionary"] == pytest.approx(size_of(folder / "dictionary"), rel=0.01)
    assert plans[131_072]["parameters"] == 2 * 131_072 * 32 + 131_072 + 32


# Every kind of parameter beside the four, and many more pairs than k a row.
@pytest.mark.parametrize("variant", ["switch", "jumprelu", "gated", "matryoshka_topk"])
def test_other_variants_take_what_is_planned(tmp_path, config, variant):
    settings = [
        config(),
        *SETTINGS,
        "--set",
        f"model.variant={variant}",
        "--set",
        "model.n=4096",
        "--set",
        "train.keep_checkpoints=1",
        "--set",
        "train.steps=2",
    ]
    facts = plan(*settings)
    peak = peak_of("train", *settings[:1], "--out", tmp_path / "run", *settings[1:])
    assert facts["memory"]["peak"] == pytest.approx(peak, rel=0.25)
    kept = size_of(tmp_path / "run" / "checkpoints")
    assert facts["disk"]["parts"]["checkpoints kept, and one being written"] == pytest.approx(
        kept * 2, rel=0.01
    )


@pytest.mark.parametrize("moments", ["bf16", "8bit"])
def test_narrow_moments_are_counted_as_they_are_stored(tmp_path, config, moments):
    file = config()
    sizes = [*SETTINGS, "--set", "model.n=40000", "--set", "train.keep_checkpoints=1"]
    facts = {
        kind: plan(file, *sizes, "--set", f"train.optimizer_state={kind}")
        for kind in ("fp32", moments)
    }
    assert (
        run(
            "train",
            file,
            "--out",
            tmp_path / "run",
            *sizes,
            "--set",
            f"train.optimizer_state={moments}",
        ).returncode
        == 0
    )
    kept = facts[moments]["disk"]["parts"]["checkpoints kept, and one being written"]
    assert kept == pytest.approx(size_of(tmp_path / "run" / "checkpoints") * 2, rel=0.01)
    matrices = 2 * 40_000 * 32
    saved = {"bf16": 4 * matrices, "8bit": 6 * matrices - 2 * 40_000 * 8}[
        moments
    ]  # a row of 32 is one block
    always = {
        kind: plan["memory"]["always"]["parameters and Adam's moments"]
        for kind, plan in facts.items()
    }
    assert always["fp32"] - always[moments] == saved


def test_steps_tokens_and_a_time_that_says_where_it_comes_from(tmp_path, config):
    arguments = [config(), *SETTINGS, "--set", "train.accumulate=3"]
    before = sorted(os.listdir(tmp_path))
    facts = plan(*arguments)
    assert sorted(os.listdir(tmp_path)) == before
    assert facts["tokens"] == 12 * 2048 * 3 and facts["epochs"] == pytest.approx(
        12 * 2048 * 3 / 24_000
    )
    assert facts["time"]["how"].startswith("calibrated") and facts["time"]["seconds_a_step"] > 0
    assert facts["time"]["seconds"] == pytest.approx(12 * facts["time"]["seconds_a_step"])
    text = run("plan", *arguments).stdout
    assert "73728 tokens" in text and "calibrated: median" in text


def test_a_device_is_modelled_and_what_does_not_fit_is_said(config):
    big = [
        "--dims",
        "4096",
        "--set",
        "model.n=1048576",
        "--set",
        "model.k=64",
        "--set",
        "train.batch=8192",
    ]
    facts = plan(config(), *big, "--gpu", "h100", "--ranks", "8")
    n, d, rows = 1_048_576 // 8, 4096, 8192
    seconds = 2 * rows * d * n / (0.5 * 989e12) + (48 * n * d + 16 * rows * 64 * d) / (
        0.8 * 3.35e12
    )
    assert facts["time"]["seconds_a_step"] == pytest.approx(seconds, rel=1e-9)
    assert "not a measurement" in facts["time"]["how"] and facts["epochs"] is None
    assert facts["received_a_rank_and_step"] == 8 * rows * 64 * 7 + 8 * rows * d * 7 // 8
    assert facts["warnings"] == [w for w in facts["warnings"] if w.startswith("disk")]
    alone = plan(config(), *big, "--gpu", "h100")
    assert any(w.startswith("memory") and "80.0 GB" in w for w in alone["warnings"])
    assert alone["memory"]["always"]["parameters and Adam's moments"] == 12 * (
        2 * 2**20 * d + 2**20 + d
    )
    assert run("plan", config(), "--gpu", "abacus").returncode == 2
    missing = run("plan", config(), "--set", "data.path=/nowhere")
    assert missing.returncode == 1 and "/nowhere" in missing.stderr
