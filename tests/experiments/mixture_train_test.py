"""assay train on a mixture and on damaged data: settings, messages, and resuming to the same bits."""

import os
import signal
import subprocess
import time

import h5py
import numpy as np
import pytest

from tests.experiments.tiny_data import assay, assay_json, rows


def data_set(folder, seed, count=4000):
    np.save(folder / f"{seed}.npy", rows(count, seed=seed))
    assay("index", folder / f"{seed}.npy", "--out", folder / f"set{seed}")
    return folder / f"set{seed}"


def config(folder, data, steps=60):
    path = folder / "config.yaml"
    path.write_text(
        f"data: {{{data}, lanes: 4, validation: 0, test: 0}}\nmodel: {{n: 64, k: 4}}\n"
        f"train: {{steps: {steps}, batch: 64, warmup_steps: 1, checkpoint_every: 5}}\n"
    )
    return path


def weights(run):
    return (run / "dictionary" / "dictionary.safetensors").read_bytes()


def test_a_killed_run_on_a_mixture_resumes_to_the_same_bits(tmp_path):
    sets = [data_set(tmp_path, 1), data_set(tmp_path, 2, 9000)]
    mixture = "mixture: [" + ", ".join(f'"{w} {s}"' for w, s in zip((0.8, 0.2), sets)) + "]"
    path = config(tmp_path, mixture, steps=600)
    assay("train", path, "--out", tmp_path / "whole")
    command = [
        os.environ["ASSAY"],
        "train",
        str(path),
        "--out",
        str(tmp_path / "cut"),
        "--resume",
        "auto",
    ]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while (
        not list((tmp_path / "cut" / "checkpoints").glob("step-*"))
        if (tmp_path / "cut").exists()
        else True
    ):
        assert child.poll() is None
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not (tmp_path / "cut" / "dictionary").exists()
    assay("train", path, "--out", tmp_path / "cut", "--resume", "auto", "--set", "data.readers=3")
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    assay(
        "train",
        path,
        "--out",
        tmp_path / "other",
        "--set",
        f'data.mixture=["0.2 {sets[0]}", "0.8 {sets[1]}"]',
    )
    assert weights(tmp_path / "other") != weights(tmp_path / "whole")


def test_path_and_mixture_exclude_each_other(tmp_path):
    one = data_set(tmp_path, 1)
    path = config(tmp_path, f'path: {one}, mixture: ["1 {one}"]')
    assert "not both" in assay("train", path, "--out", tmp_path / "run", status=2)
    path = config(tmp_path, f'mixture: ["{one}"]')
    assert "WEIGHT PATH" in assay("train", path, "--out", tmp_path / "run", status=2)


@pytest.mark.parametrize("skip", [False, True])
def test_a_corrupt_chunk_stops_the_run_or_is_left_out(tmp_path, skip):
    one = data_set(tmp_path, 1)
    (shard,) = one.glob("*.h5")
    with h5py.File(shard) as f:
        place = f["activations"].id.get_chunk_info(3).byte_offset
    with open(shard, "r+b") as f:
        f.seek(place + 5)
        byte = f.read(1)[0]
        f.seek(place + 5)
        f.write(bytes([byte ^ 1]))
    path = config(tmp_path, f"path: {one}, skip_corrupt: {str(skip).lower()}")
    arguments = ["train", path, "--out", tmp_path / "run"]
    if not skip:
        assert "corrupt chunk 3" in assay(*arguments, status=1)
        return
    done = subprocess.run(
        [os.environ["ASSAY"], *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert (
        "left out:" in done.stderr
        and "corrupt chunk 3" in done.stderr
        and "1 corrupt chunk(s)" in done.stderr
    )
    facts = assay_json("inspect", tmp_path / "run" / "dictionary")
    assert facts["data_hash"] != assay_json("inspect", one)["content_hash"]
