"""What does not fit into memory is refused before anything is made, with what would fit."""

import os
import re
import subprocess

import pytest
from tiny_data import assay_json, write_dictionary
from train_support import ASSAY, run


def limited(megabytes, *arguments):
    environment = {**os.environ, "ASSAY_MEMORY_LIMIT": str(int(megabytes * 1e6))}
    return run(*arguments, env=environment)


def refusal(done, out):
    assert done.returncode == 2, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and "GB of memory" in lines[0], done.stderr
    assert not out.exists()
    return lines[0]


def need(*arguments):
    """Megabytes beyond the program's own, by assay plan."""
    memory = assay_json("plan", *arguments)["memory"]
    return (memory["peak"] - memory["always"]["the program and its libraries"]) / 1e6


@pytest.fixture
def large(config):
    return config(steps=3, batch=512)


def test_a_run_that_does_not_fit_is_refused_with_what_would(tmp_path, large):
    out = tmp_path / "run"
    wide = ("--set", "model.n=32768")  # more than the stream's windows take
    whole = need(large, *wide)
    line = refusal(limited(whole / 2, "train", large, *wide, "--out", out), out)
    assert "ASSAY_MEMORY_LIMIT" in line
    smaller = re.search(r"model\.n = (\d+)", line).group(1)
    assert 32 <= int(smaller) < 32768
    done = limited(whole / 2, "train", large, "--set", f"model.n={smaller}", "--out", out)
    assert done.returncode == 0, done.stderr
    done = limited(whole * 1.1, "train", large, *wide, "--out", tmp_path / "wide")
    assert done.returncode == 0, done.stderr


def test_a_sweep_counts_all_its_dictionaries(tmp_path, large):
    room = 1.5 * need(large, "--set", "model.n=2048")
    done = limited(room, "train", large, "--set", "model.n=2048", "--out", tmp_path / "one")
    assert done.returncode == 0, done.stderr
    text = large.read_text().replace("n: 256", "n: 2048")
    large.write_text(
        text + "sweep: {seed: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]}\n"
    )
    assert "this sweep" in refusal(
        limited(room, "sweep", large, "--out", tmp_path / "s"), tmp_path / "s"
    )


def test_the_address_space_counts(tmp_path, large):
    out = tmp_path / "run"
    script = 'ulimit -v 3000000; exec "$@"'
    command = ["bash", "-c", script, "bash", ASSAY, "train", large, "--set", "model.n=4000000"]
    done = subprocess.run([*command, "--out", out], capture_output=True, text=True, timeout=120)
    assert "ulimit -v" in refusal(done, out)


def test_a_dictionary_that_does_not_fit_is_not_loaded(tmp_path, shards):
    write_dictionary(tmp_path / "d", d=32, n=4096)
    out = tmp_path / "c.h5"
    line = refusal(limited(1, "encode", tmp_path / "d", shards, "--out", out), out)
    assert "dictionary.safetensors" in line
    line = refusal(
        limited(1, "eval", tmp_path / "d", "--data", shards, "--out", tmp_path / "e"), out
    )


def test_a_limit_that_is_no_number_is_refused(tmp_path, large):
    done = run(
        "train", large, "--out", tmp_path / "r", env={**os.environ, "ASSAY_MEMORY_LIMIT": "8GB"}
    )
    assert done.returncode == 2 and "ASSAY_MEMORY_LIMIT=8GB" in done.stderr
