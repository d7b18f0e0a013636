"""Standard streams that are closed, full or left by their reader: progress is dropped, results are a failure."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_data import rows, write_activations, write_dictionary
from train_support import ASSAY, run, weights


def shell(redirection, *arguments):
    """The command under a shell's redirection; its exit status is the command's own, not a pipe's."""
    script = f'set -o pipefail; "$@" {redirection}'
    return subprocess.run(
        ["bash", "-c", script, "bash", ASSAY, *map(str, arguments)],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


LOST = ["2>&-", "2>/dev/full", "2> >(head -c 1 >/dev/null)"]


@pytest.mark.parametrize("redirection", LOST)
def test_training_ends_in_the_same_bits_whoever_reads_its_progress(tmp_path, config, redirection):
    settings = config(steps=40, log_every=1, checkpoint_every=10)
    assert run("train", settings, "--out", tmp_path / "heard").returncode == 0
    done = shell(redirection, "train", settings, "--out", tmp_path / "unheard")
    assert done.returncode == 0
    assert "finished at step 40" in done.stdout
    assert weights(tmp_path / "unheard") == weights(tmp_path / "heard")
    files = {p.relative_to(tmp_path / "heard") for p in (tmp_path / "heard").rglob("*")}
    assert files == {p.relative_to(tmp_path / "unheard") for p in (tmp_path / "unheard").rglob("*")}


def test_progress_never_goes_into_a_file_of_the_run(tmp_path, config):
    """A closed stderr frees its number, which the next file that is opened would get."""
    done = shell("<&- 2>&-", "train", config(steps=20, log_every=1), "--out", tmp_path / "run")
    assert done.returncode == 0
    for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines():
        json.loads(line)
    assert run("inspect", tmp_path / "run").returncode == 0


@pytest.mark.parametrize("redirection", LOST)
def test_other_commands_do_their_work_unheard(tmp_path, shards, redirection):
    write_dictionary(tmp_path / "d", d=32)
    write_activations(tmp_path / "x.h5", rows(50, d=32))
    for arguments in (
        ("encode", tmp_path / "d", tmp_path / "x.h5", "--out", tmp_path / "c.h5"),
        ("synthesize", "--set", "rows=100", "--out", tmp_path / "p"),
        ("eval", tmp_path / "d", "--data", shards, "--out", tmp_path / "e", "--tasks", "core", "--quick"),
    ):  # fmt: skip
        assert shell(redirection, *arguments).returncode == 0, arguments
    assert (tmp_path / "e" / "results.json").exists()


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
@pytest.mark.parametrize(
    "arguments", [("config",), ("eval", "--list"), ("--help",), ("bench", "--help")]
)
def test_results_that_cannot_be_written_are_a_failure(redirection, arguments):
    done = shell(redirection, *arguments)
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("assay: standard output cannot be written: "), done.stderr


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
def test_json_that_cannot_be_written_is_a_failure_after_the_work(tmp_path, config, redirection):
    out = tmp_path / "run"
    done = shell(redirection, "train", config(steps=20), "--out", out, "--json")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("assay: standard output")
    assert (out / "dictionary" / "cfg.json").exists()


def test_a_reader_that_has_gone_is_one_line():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([ASSAY, "config"], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == [
        "assay: standard output cannot be written: Broken pipe; what was printed is not whole"
    ]


def test_a_python_tool_does_its_work_unheard(tmp_path):
    tools = Path(__file__).parents[2] / "data" / "python"
    words = tmp_path / "words"
    words.mkdir()
    entry = '00001740 03 n 01 entity 0 000 | that which is; "an example of it"  \n'
    (words / "data.noun").write_text(entry)
    for part in ("verb", "adj", "adv"):
        (words / f"data.{part}").touch()
    reader, writer = os.pipe()
    os.close(reader)
    for number, stream in enumerate((writer, open("/dev/full", "w"))):
        out = tmp_path / f"{number}.jsonl"
        command = [sys.executable, tools / "wordnet.py", "--wordnet", words, "--out", out]
        done = subprocess.run(command, stdout=stream, stderr=subprocess.PIPE, text=True)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        assert out.stat().st_size > 0
