"""An output never replaces what is read, a part of something, or another kind of thing; nothing changes on refusal."""

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from tiny_data import assay, rows, write_activations, write_dictionary
from train_support import files_of

ROOT = Path(__file__).parents[2]


@pytest.fixture
def world(tmp_path):
    """A dictionary R, shards S of two files, codes C.h5, and a configuration to train with."""
    write_dictionary(tmp_path / "R")
    (tmp_path / "S").mkdir()
    for part in range(2):
        x = rows(600, seed=part)
        document = np.arange(600) // 20 + 30 * part
        write_activations(tmp_path / "S" / f"shard-{part:05}.h5", x, document=document)
    assay("index", *sorted((tmp_path / "S").glob("*.h5")), "--out", tmp_path / "S")
    assay("encode", tmp_path / "R", tmp_path / "S", "--out", tmp_path / "C.h5")
    (tmp_path / "train.yaml").write_text(
        f"data: {{path: {tmp_path / 'S'}, lanes: 1, window_chunks: 1}}\nmodel: {{n: 32, k: 4}}\n"
        "train: {steps: 4, batch: 64}\n"
    )
    return tmp_path


def refused(world, *arguments, status=2, says="--out"):
    """One line that names what is in the way; no file of the world has changed."""
    before = files_of(world)
    line = assay(*arguments, status=status)
    assert says in line, line
    assert files_of(world) == before, line
    return line


def link(world, how, target):
    path = world / "elsewhere.h5"
    (os.symlink if how == "symbolic" else os.link)(target, path)
    return path


@pytest.mark.parametrize("out", ["S/shard-00000.h5", "R/dictionary.safetensors", "R/cfg.json"])
def test_codes_replace_no_activations_and_no_dictionary(world, out):
    line = refused(world, "encode", world / "R", world / "S", "--out", world / out)
    assert out in line


@pytest.mark.parametrize("how", ["symbolic", "hard"])
def test_links_to_an_input_are_that_input(world, how):
    shard = link(world, how, world / "S" / "shard-00001.h5")
    refused(world, "encode", world / "R", shard, "--out", world / "S" / "shard-00001.h5")
    refused(world, "encode", world / "R", world / "S" / "shard-00001.h5", "--out", shard)
    shard.unlink()
    codes = link(world, how, world / "C.h5")
    refused(world, "decode", world / "R", codes, "--out", world / "C.h5")


def test_codes_replace_codes_and_decoded_activations_their_like(world):
    assay("encode", world / "R", world / "S", "--out", world / "C.h5")
    for _ in range(2):
        assay("decode", world / "R", world / "C.h5", "--out", world / "X.h5")
    refused(world, "encode", world / "R", world / "S", "--out", world / "X.h5")
    (world / "empty.h5").touch()
    assay("encode", world / "R", world / "S", "--out", world / "empty.h5")


@pytest.mark.parametrize("out", ["S/shard-00000.h5", "C.h5", "R/cfg.json", "S"])
def test_decoded_activations_replace_nothing_else(world, out):
    refused(world, "decode", world / "R", world / "C.h5", "--out", world / out)


def test_a_device_is_no_file_to_write(world):
    refused(world, "encode", world / "R", world / "S", "--out", "/dev/null")
    assert Path("/dev/null").is_char_device()


def test_a_part_file_that_is_read_is_not_written_over(world):
    source = write_activations(world / "codes.h5.part", rows(10))
    refused(world, "encode", world / "R", source, "--out", world / "codes.h5")


@pytest.mark.parametrize("out", ["S", "R", "train.yaml"])
@pytest.mark.parametrize("command", ["train", "sweep", "bottleneck"])
def test_a_run_is_not_mixed_with_anything_else(world, command, out):
    config = world / "train.yaml"
    if command == "bottleneck":
        config = world / "other.yaml"
        config.write_text("model: {n: 32, k: 4}\n")
    for resume in ("never", "auto"):
        refused(world, command, config, "--out", world / out, "--resume", resume)


def test_a_run_lies_in_no_dictionary_and_among_no_checkpoints(world):
    assay("train", world / "train.yaml", "--out", world / "run")
    for inside in ("R/new", "run/dictionary/new", "run/checkpoints", "run/checkpoints/new"):
        refused(world, "train", world / "train.yaml", "--out", world / inside)
    refused(world, "encode", world / "R", world / "S", "--out", world / "run/dictionary/c.h5")


def test_data_go_into_no_run_and_no_dictionary(world):
    assay("train", world / "train.yaml", "--out", world / "run")
    np.save(world / "a.npy", rows(20))
    for out in ("run", "R"):
        refused(world, "decoder-shard", world / "R", "--out", world / out)
        refused(world, "synthesize", "--set", "rows=10", "--out", world / out)
        refused(world, "index", world / "a.npy", "--out", world / out)
        refused(world, "index", world / "S" / "shard-00000.h5", "--out", world / out, "--replace")


def test_an_index_replaces_no_other_file_of_that_name(world):
    (world / "T").mkdir()
    (world / "T" / "index.yaml").write_text("site_name: mine\n")
    shard = world / "S" / "shard-00000.h5"
    refused(world, "index", shard, "--out", world / "T", "--replace", status=1)


def test_a_run_keeps_the_configuration_that_somebody_wrote(world):
    (world / "mine").mkdir()
    own = world / "mine" / "config.yaml"
    own.write_text((world / "train.yaml").read_text() + "# a comment\n")
    refused(world, "train", own, "--set", "model.k=3", "--out", world / "mine", says="config.yaml")
    assay("train", own, "--out", world / "mine")
    assert own.read_text().endswith("# a comment\n")
    assay("train", world / "train.yaml", "--out", world / "run")
    assay("train", world / "run" / "config.yaml", "--out", world / "run", "--resume", "auto")


def test_planted_options_that_somebody_wrote_are_kept(world):
    (world / "P").mkdir()
    own = world / "P" / "planted.yaml"
    own.write_text("rows: 64\nd: 8\nn: 16\nl0: 2  # mine\n")
    assay("synthesize", own, "--out", world / "P")
    assert "# mine" in own.read_text()


def test_a_report_replaces_only_a_report(world):
    assay("train", world / "train.yaml", "--out", world / "run")
    for _ in range(2):
        assay("report", world / "run", "--out", world / "run")
    (world / "site").mkdir()
    (world / "site" / "report.html").write_text("<!doctype html><title>mine</title>")
    refused(world, "report", world / "run", "--out", world / "site")
    refused(world, "report", world / "run", "--out", world / "S")


def test_a_sweep_keeps_the_dictionaries_that_its_folder_has(world):
    config = world / "sweep.yaml"
    config.write_text((world / "train.yaml").read_text() + "sweep: {seed: [0, 1]}\n")
    out = ("--out", world / "W", "--resume", "auto")
    assay("sweep", config, *out)
    config.write_text((world / "train.yaml").read_text() + "sweep: {seed: [1, 2]}\n")
    refused(world, "sweep", config, *out, says="topk-n32-k4-s0")
    config.write_text((world / "train.yaml").read_text() + "sweep: {seed: [0, 1, 2]}\n")
    assay("sweep", config, *out)
    assert len(json.loads((world / "W" / "sweep.json").read_text())["dictionaries"]) == 3
    refused(world, "train", world / "train.yaml", "--out", world / "W")
    refused(world, "report", world / "W" / "topk-n32-k4-s0", "--out", world / "W")


def results(world):
    return json.loads((world / "E" / "results.json").read_text())


def evaluate(world, dictionary, *more, data="S", status=0):
    return assay(
        "eval", world / dictionary, "--data", world / data, "--out", world / "E", "--quick",
        "--tasks", "core", "--null", "none", *more, status=status,
    )  # fmt: skip


def test_a_second_evaluation_adds_to_the_first(world):
    write_dictionary(world / "Q", seed=5)
    evaluate(world, "R")
    first = results(world)
    evaluate(world, "Q")
    both = results(world)
    assert [d["name"] for d in both["dictionaries"]] == ["R", "Q"]
    core = {
        n["dictionary"]: n["value"] for n in both["tasks"][0]["numbers"] if n["metric"] == "fvu"
    }
    assert set(core) >= {"R", "Q"} and core["R"] != core["Q"]
    kept = [n for n in both["tasks"][0]["numbers"] if n["dictionary"] == "R"]
    assert kept == [n for n in first["tasks"][0]["numbers"] if n["dictionary"] == "R"]
    evaluate(world, "R")
    assert len(results(world)["dictionaries"]) == 2, "the same dictionary counts once"


def test_an_evaluation_of_another_kind_is_refused_before_the_work(world):
    evaluate(world, "R")
    before = files_of(world)
    assert "seed" in evaluate(world, "R", "--seed", "7", status=2)
    config = world / "eval.yaml"
    config.write_text("data: {split_seed: 9}\n")
    assert "splits" in evaluate(world, "R", "--config", config, status=2)
    config.unlink()
    (world / "T").mkdir()
    write_activations(world / "T" / "a.h5", rows(300, seed=8))
    assay("index", world / "T" / "a.h5", "--out", world / "T")
    assert "data" in evaluate(world, "R", data="T", status=2)
    for path in (world / "T").iterdir():
        path.unlink()
    assert files_of(world) == before


def test_results_that_somebody_else_wrote_are_kept(world):
    (world / "E").mkdir()
    (world / "E" / "results.json").write_text('{"mine": 1}')
    before = files_of(world)
    assert "results.json" in evaluate(world, "R", status=2)
    assert files_of(world) == before
    refused(world, "eval", world / "R", "--data", world / "S", "--out", world / "S")


def tool(name, *arguments):
    command = [sys.executable, ROOT / "data" / "python" / f"{name}.py", *arguments]
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.stderr


def test_the_python_tools_replace_only_what_they_wrote(tmp_path):
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"text": "a"}\n')
    model = tmp_path / "model"
    (tmp_path / "words").mkdir()
    (tmp_path / "words" / "data.noun").write_text("nothing\n")
    with h5py.File(tmp_path / "rows.h5", "w") as file:
        file["activations"] = rows(3)
    os.link(texts, tmp_path / "link.h5")
    before = files_of(tmp_path)
    for out in ("texts.jsonl", "link.h5", "rows.h5"):
        line = tool("tokenise", "--model", model, "--texts", texts, "--out", tmp_path / out)
        assert out in line
    for out in ("words/data.noun", "rows.h5"):
        tool("wordnet", "--wordnet", tmp_path / "words", "--out", tmp_path / out)
    spec = tmp_path / "spec.json"
    spec.write_text('{"base": "b"}')
    before[Path("spec.json")] = spec.read_bytes()
    assert files_of(tmp_path) == before
