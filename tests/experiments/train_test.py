"""`assay train` as a user runs it: kills, signals, changed settings, damaged checkpoints. Data are made here."""

import json
import os
import random
import signal
import subprocess
import time

import h5py
import numpy as np
import pytest
from train_support import ASSAY, checkpoints, limited, metrics, run, weights

KILLS = int(os.environ.get("ASSAY_TEST_KILLS", "5"))  # 100 takes a few minutes


def test_learns_and_repeats_bit_for_bit(tmp_path, config):
    for name, threads in (("one", 1), ("two", 2)):
        result = run(
            "train",
            config(),
            "--out",
            tmp_path / name,
            "--set",
            f"train.threads={threads}",
            "--set",
            f"data.readers={threads}",
        )
        assert result.returncode == 0, result.stderr
    assert weights(tmp_path / "one") == weights(tmp_path / "two")
    log = metrics(tmp_path / "one")
    assert log == metrics(tmp_path / "two")
    assert log[-1]["fvu"] < 0.5 * log[0]["fvu"]
    assert log[-1]["step"] == 400 and log[-1]["tokens"] == 400 * 256


def test_killed_at_random_moments_ends_in_the_same_bits(tmp_path, config):
    file = config(
        steps=200 * KILLS, checkpoint_every=5, keep_every=70
    )  # many kills fall into a checkpoint
    assert run("train", file, "--out", tmp_path / "whole").returncode == 0
    moments = random.Random(1)
    command = [ASSAY, "train", str(file), "--out", str(tmp_path / "killed"), "--resume", "auto"]
    for _ in range(KILLS):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.05 + 0.4 * moments.random())
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "the run finished before its kill"
    result = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    assert weights(tmp_path / "whole") == weights(tmp_path / "killed")
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "killed")
    assert checkpoints(tmp_path / "whole") == checkpoints(tmp_path / "killed")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_checkpoints_and_asks_to_be_requeued(tmp_path, config, number):
    file = config(steps=200_000, checkpoint_every=100_000)
    command = [ASSAY, "train", str(file), "--out", str(tmp_path / "run"), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    metrics_file = tmp_path / "run" / "metrics.jsonl"
    deadline = time.time() + 60
    while (
        not (metrics_file.exists() and metrics_file.stat().st_size > 0) and time.time() < deadline
    ):
        time.sleep(0.02)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 75
    step = json.loads(out)["step"]
    assert (tmp_path / "run" / "checkpoints" / f"step-{step:010}").is_dir()


def test_resuming_names_what_differs(tmp_path, config):
    assert run("train", config(steps=30), "--out", tmp_path / "run").returncode == 0
    result = run(
        "train",
        config(steps=30),
        "--out",
        tmp_path / "run",
        "--resume",
        "auto",
        "--set",
        "model.k=7",
    )
    assert result.returncode == 2 and "model.k is 6 there, 7 now" in result.stderr
    result = run("train", config(steps=30), "--out", tmp_path / "run")
    assert result.returncode == 2 and "--resume auto" in result.stderr
    result = run(
        "train",
        config(steps=30),
        "--out",
        tmp_path / "run",
        "--resume",
        "auto",
        "--set",
        "train.threads=1",
    )
    assert result.returncode == 0 and "already finished" in result.stdout


def test_a_damaged_checkpoint_is_passed_over(tmp_path, config):
    assert run("train", config(steps=100), "--out", tmp_path / "whole").returncode == 0
    assert run("train", config(steps=100), "--out", tmp_path / "run").returncode == 0
    before = weights(tmp_path / "run")
    newest = sorted((tmp_path / "run" / "checkpoints").iterdir())[-1] / "state.safetensors"
    damaged = bytearray(newest.read_bytes())
    damaged[-5] ^= 1
    newest.write_bytes(damaged)
    for file in (tmp_path / "run" / "dictionary").iterdir():
        file.unlink()
    result = run("train", config(steps=100), "--out", tmp_path / "run", "--resume", "auto")
    assert (
        result.returncode == 0
        and "checksum" in result.stderr
        and "passing it over" in result.stderr
    )
    assert weights(tmp_path / "run") == before == weights(tmp_path / "whole")


def test_faults_are_one_clear_line(tmp_path, config, shards):
    cases = [
        (["--set", "model.k=1000"], 2, "model.k = 1000 is larger than model.n = 256"),
        (["--set", "model.kk=3"], 2, "nearest"),
        (["--set", "train.batch=100"], 2, "lanes"),
        (["--set", "data.path=/nowhere"], 1, "/nowhere"),
        (["--set", "data.hook=other"], 2, "activations"),
    ]
    for number, (arguments, status, text) in enumerate(cases):
        result = run("train", config(), "--out", tmp_path / str(number), *arguments)
        assert result.returncode == status, (arguments, result.stderr)
        assert text in result.stderr and len(result.stderr.strip().splitlines()) == 1, result.stderr


def test_not_finite_activations_are_named_and_unindexed_files_are_refused(tmp_path, config):
    x = np.random.default_rng(0).normal(size=(4000, 16)).astype(np.float32)
    x[1234, 5] = np.nan
    with h5py.File(tmp_path / "alone.h5", "w") as file:
        file["activations"] = x
    result = run("index", tmp_path / "alone.h5", "--out", tmp_path / "set")
    assert result.returncode == 1
    assert "alone.h5" in result.stderr and "1234" in result.stderr, result.stderr
    result = run(
        "train",
        config(),
        "--out",
        tmp_path / "run",
        "--set",
        f"data.path={tmp_path / 'alone.h5'}",
        "--set",
        "data.lanes=1",
    )
    assert result.returncode == 1 and "assay index" in result.stderr, result.stderr


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path, config):
    folder, file = tmp_path / "run", config(steps=50, keep_checkpoints=5)
    assert run("train", file, "--out", folder).returncode == 0
    before = weights(folder)
    for path in (folder / "dictionary").iterdir():
        path.unlink()
    result = limited(
        64, "train", file, "--out", folder, "--resume", "auto"
    )  # a matrix of the dictionary has 32 kB
    assert result.returncode == 1 and "dictionary" in result.stderr, result.stderr
    for path in (folder / "checkpoints" / "step-0000000050").iterdir():
        path.unlink()
    (folder / "checkpoints" / "step-0000000050").rmdir()
    state = folder / "checkpoints" / "step-0000000025" / "state.safetensors"
    saved = state.read_bytes()
    result = limited(64, "train", file, "--out", folder, "--resume", "auto")
    assert (
        result.returncode == 1
        and "step-0000000050" in result.stderr
        and "File too large" in result.stderr
    )
    assert checkpoints(folder) == ["step-0000000025"] and state.read_bytes() == saved
    assert run("train", file, "--out", folder, "--resume", "auto").returncode == 0
    assert weights(folder) == before
