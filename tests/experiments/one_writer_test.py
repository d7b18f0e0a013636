"""One process at a time writes into a folder; file systems that cannot sync folders; lost logs; SIGHUP."""

import json
import os
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
from tiny_data import rows, write_dictionary
from train_support import ASSAY, await_that, checkpoints, files_of, metrics, run, weights

LONG = dict(steps=100_000, log_every=1, checkpoint_every=50)


def begin(*arguments, **options):
    return subprocess.Popen(
        [ASSAY, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        **options,
    )  # fmt: skip


def stop(process, number=signal.SIGTERM):
    process.send_signal(number)
    return process.wait(timeout=60)


def test_a_second_process_is_refused_and_names_the_first(tmp_path, config, shards):
    out = tmp_path / "run"
    first = begin("train", config(**LONG), "--out", out)
    await_that((out / "checkpoints").is_dir, out / "checkpoints", first)
    for command in ("train", "bottleneck", "eval"):
        settings = config(**LONG)
        arguments = ["train", settings, "--resume", "auto"]
        if command == "bottleneck":
            settings = tmp_path / "b.yaml"
            settings.write_text("model: {n: 32, k: 4}\n")
            arguments = ["bottleneck", settings, "--resume", "auto"]
        if command == "eval":
            write_dictionary(tmp_path / "d", d=32)
            arguments = ["eval", tmp_path / "d", "--data", shards, "--tasks", "core", "--quick"]
        second = run(*arguments, "--out", out)
        line = second.stderr.strip().splitlines()[-1]
        assert second.returncode == 1, line
        assert f"process {first.pid} on " in line and str(out) in line
    assert stop(first) == 75
    assert not list(tmp_path.rglob("*.lease"))
    assert checkpoints(out)


def test_a_killed_process_leaves_a_lease_that_is_taken_over(tmp_path, config):
    out = tmp_path / "run"
    settings = config(steps=60, log_every=1, checkpoint_every=5)
    first = begin("train", settings, "--out", out)
    await_that((out / "checkpoints").is_dir, out / "checkpoints", first)
    first.kill()
    first.wait()
    done = run("train", settings, "--out", out, "--resume", "auto")
    assert done.returncode == 0, done.stderr
    assert f"process {first.pid} on " in done.stderr or "finished" in done.stdout
    assert run("train", settings, "--out", tmp_path / "whole").returncode == 0
    assert weights(out) == weights(tmp_path / "whole")


def test_two_conversions_do_not_write_one_data_set(tmp_path):
    np.save(tmp_path / "a.npy", rows(20))
    out = tmp_path / "data"
    out.mkdir()
    (out / "assay.lease").write_text(json.dumps({"host": "node7", "boot": "x", "pid": 7}))
    second = run("index", tmp_path / "a.npy", "--out", out)
    assert second.returncode == 1 and "process 7 on node7" in second.stderr
    assert list(out.iterdir()) == [out / "assay.lease"]
    old = time.time() - 3600
    os.utime(out / "assay.lease", (old, old))
    second = run("index", tmp_path / "a.npy", "--out", out)
    assert second.returncode == 0 and "taking it over" in second.stderr


SHIM = r"""
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
int fsync(int fd) {
  struct stat info;
  fstat(fd, &info);
  if (S_ISDIR(info.st_mode)) { errno = atoi(getenv("FOLDER_SYNC")); return -1; }
  return (int)syscall(SYS_fsync, fd);
}
"""


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
def test_file_systems_that_cannot_sync_folders_are_told_from_broken_ones(tmp_path, config):
    (tmp_path / "shim.c").write_text(SHIM)
    shim = tmp_path / "shim.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, tmp_path / "shim.c"], check=True)
    settings = config(steps=10, checkpoint_every=5)
    for number, name in ((22, "einval"), (95, "enotsup"), (5, "eio")):
        environment = {**os.environ, "LD_PRELOAD": str(shim), "FOLDER_SYNC": str(number)}
        done = run("train", settings, "--out", tmp_path / name, env=environment)
        if name == "eio":
            assert done.returncode == 1
            assert "Input/output error" in done.stderr.strip().splitlines()[-1]
        else:
            assert done.returncode == 0, done.stderr
            assert done.stderr.count("cannot sync folders") == 1


def test_a_hang_up_is_a_checkpoint_unless_it_is_ignored(tmp_path, config):
    out = tmp_path / "run"
    process = begin("train", config(**LONG), "--out", out)
    await_that((out / "checkpoints").is_dir, out / "checkpoints", process)
    assert stop(process, signal.SIGHUP) == 75
    last = checkpoints(out)[-1]
    ignoring = subprocess.Popen(
        ["nohup", ASSAY, "train", config(**LONG), "--out", out, "--resume", "auto"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.time() + 60
    while checkpoints(out)[-1] <= last and time.time() < deadline:
        time.sleep(0.05)
    ignoring.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert ignoring.poll() is None
    assert stop(ignoring) == 75


def half_a_run(tmp_path, config, **settings):
    """A run that stopped at step 200 of 400, and one that did not."""
    chosen = config(checkpoint_every=200, **settings)
    assert run("train", chosen, "--out", tmp_path / "whole").returncode == 0
    shutil.copytree(tmp_path / "whole", tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "dictionary")
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-0000000400")
    return chosen


def go_on(tmp_path, config):
    done = run("train", config, "--out", tmp_path / "run", "--resume", "auto")
    assert done.returncode == 0, done.stderr
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    return done.stderr


def test_a_lost_or_damaged_log_is_begun_anew_or_repaired(tmp_path, config):
    settings = half_a_run(tmp_path, config)
    log = tmp_path / "run" / "metrics.jsonl"
    whole = metrics(tmp_path / "whole")
    before = files_of(tmp_path / "run")

    def restore():
        shutil.rmtree(tmp_path / "run")
        for path, content in before.items():
            (tmp_path / "run" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "run" / path).write_bytes(content)

    assert "lost or damaged" not in go_on(tmp_path, settings)
    assert metrics(tmp_path / "run") == whole
    restore()
    log.unlink()
    assert "metrics.jsonl: " in go_on(tmp_path, settings)
    assert metrics(tmp_path / "run") == [line for line in whole if line["step"] > 200]
    restore()
    log.write_bytes(log.read_bytes()[:1000])  # cut within a line
    assert "lost or damaged" in go_on(tmp_path, settings)
    steps = [line["step"] for line in metrics(tmp_path / "run")]
    assert steps == sorted(set(steps)) and steps[0] == 7 and steps[-1] == whole[-1]["step"]
    assert len(steps) < len(whole)
    restore()
    damaged = bytearray(log.read_bytes())
    damaged[300:320] = bytes(20)  # as a power cut leaves it
    log.write_bytes(damaged)
    assert "lost or damaged" in go_on(tmp_path, settings)
    assert 0 < len(whole) - len(metrics(tmp_path / "run")) <= 2


def events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return [event.step for event in accumulator.Scalars("train/loss")]


def test_tensorboard_off_and_on_again_keeps_earlier_events(tmp_path, config):
    pytest.importorskip("tensorboard")
    on = dict(log_every=10, checkpoint_every=100)
    out = tmp_path / "run"

    def train(steps, **settings):
        """To that step: what lies beyond is taken away, as if the run had been stopped there."""
        done = run("train", config(**on, **settings), "--out", out, "--resume", "auto")
        assert done.returncode == 0, done.stderr
        shutil.rmtree(out / "dictionary")
        for name in checkpoints(out):
            if int(name[5:]) > steps:
                shutil.rmtree(out / "checkpoints" / name)
        return done.stderr

    train(100, keep_checkpoints=9)
    train(200, keep_checkpoints=9, tensorboard="false")
    train(400, keep_checkpoints=9)
    steps = events(out / "tensorboard")
    assert steps == list(range(10, 101, 10)) + list(range(210, 401, 10))
    file = next((out / "tensorboard").iterdir())
    file.write_bytes(file.read_bytes()[:-30])  # what a checkpoint saw is cut
    shutil.rmtree(out / "checkpoints" / "step-0000000400")
    file.write_bytes(file.read_bytes()[:500])
    assert "lost or damaged" in train(400, keep_checkpoints=9)
    assert events(out / "tensorboard")[:1] == [10]
