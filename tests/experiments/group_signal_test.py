"""Stop signals to the whole process group, as schedulers and terminals send them, while foreign data are read."""

import os
import signal
import subprocess
import time

import h5py
import numpy as np
import pytest
from train_support import ASSAY, checkpoints, run


@pytest.fixture
def compressed(tmp_path):
    """Filtered chunks: the stream is read by child processes, for which training waits most of the time."""
    folder = tmp_path / "gzip"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for part in range(8):
        with h5py.File(folder / f"{part}.h5", "w") as file:
            x = rng.standard_normal((2000, 256)).astype(np.float32)
            file.create_dataset("activations", data=x, chunks=(500, 256), compression="gzip")
            file["document"] = np.arange(2000) // 20 + 100 * part
    assert run("index", *sorted(folder.glob("*.h5")), "--out", folder).returncode == 0
    return folder


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_group_is_a_checkpoint(tmp_path, compressed, number):
    settings = tmp_path / "c.yaml"
    settings.write_text(
        f"data: {{path: {compressed}, lanes: 8, window_chunks: 2}}\nmodel: {{n: 16, k: 2}}\n"
        "train: {steps: 1000000, batch: 64, log_every: 100, checkpoint_every: 1000000}\n"
    )
    for attempt in range(int(os.environ.get("ASSAY_TEST_SIGNALS", 1))):
        out = tmp_path / f"run-{attempt}"
        process = subprocess.Popen(
            [ASSAY, "train", settings, "--out", out],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        while not (out / "metrics.jsonl").exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(0.2 + 0.03 * attempt)
        os.killpg(process.pid, number)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 75, said
        assert len(checkpoints(out)) == 1


def test_no_process_outlives_the_run(tmp_path, compressed):
    settings = tmp_path / "c.yaml"
    settings.write_text(
        f"data: {{path: {compressed}, lanes: 8, window_chunks: 2}}\nmodel: {{n: 16, k: 2}}\n"
        "train: {steps: 1000000, batch: 64}\n"
    )
    process = subprocess.Popen(
        [ASSAY, "train", settings, "--out", tmp_path / "run"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    while not (tmp_path / "run" / "metrics.jsonl").exists():
        time.sleep(0.01)
    process.kill()
    process.wait()
    deadline = time.time() + 10
    while time.time() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    members = subprocess.run(
        ["ps", "-o", "pid,stat,args", "-s", str(process.pid)], capture_output=True, text=True
    )
    states = [line.split()[1] for line in members.stdout.splitlines()[1:]]
    assert all(state.startswith("Z") for state in states), members.stdout
