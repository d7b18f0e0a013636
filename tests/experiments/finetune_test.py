"""assay finetune through MiniLM's upper half, judged by assay eval's splice task on held-out texts."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_data import assay, assay_json
from train_support import await_that, checkpoints, files_of, weights

REPO = Path(__file__).resolve().parents[2]
TOOLS = REPO / "data" / "python"
sys.path.insert(0, str(REPO / "tests" / "sae"))
from model_half_cache import cached_model  # noqa: E402

SHORT = ["--set", "steps=40", "--set", "texts=32", "--set", "texts_at_once=8", "--set", "lr=0.0005"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Shards of 400 texts of WordNet and a small dictionary trained on them."""
    model, trust = cached_model()
    os.environ["ASSAY_TRUST_FILE"] = str(trust)
    work = tmp_path_factory.mktemp("finetune")

    def python(tool, *arguments):
        subprocess.run(
            [sys.executable, TOOLS / tool, *map(str, arguments)], check=True, capture_output=True
        )

    python("wordnet.py", "--limit", 400, "--seed", 3, "--out", work / "texts.jsonl")
    python(
        "tokenise.py",
        "--model",
        model,
        "--texts",
        work / "texts.jsonl",
        "--out",
        work / "corpus.h5",
    )
    assay(
        "harvest",
        "--model",
        model,
        "--corpus",
        work / "corpus.h5",
        "--out",
        work / "shards",
        "--dtype",
        "f32",
    )
    config = work / "config.yaml"
    config.write_text(
        f"data: {{path: {work / 'shards'}, validation: 0.3, test: 0, lanes: 1}}\n"
        "model: {n: 512, k: 8}\ntrain: {steps: 300, batch: 256, lr: 0.002, warmup_steps: 10}\n"
    )
    assay("train", config, "--out", work / "run")
    return work, model


def splice_loss(work, model, run, out):
    results = assay_json(
        "eval",
        run,
        "--data",
        work / "shards",
        "--config",
        work / "config.yaml",
        "--model",
        model,
        "--tasks",
        "splice",
        "--null",
        "none",
        "--out",
        out,
    )
    (task,) = (t for t in results["tasks"] if t["name"] == "splice")
    (number,) = (
        n for n in task["numbers"] if n["metric"] == "splice_cosine_loss" and n.get("dictionary")
    )
    return number["value"]


def test_held_out_texts_lose_less_and_threads_change_nothing(made, tmp_path):
    work, model = made
    summary = assay_json(
        "finetune",
        work / "run",
        "--model",
        model,
        "--out",
        tmp_path / "one",
        *SHORT,
        "--threads",
        1,
    )
    assert summary["steps"] == 40 and summary["output_loss_after"] < summary["output_loss_before"]
    before = splice_loss(work, model, work / "run", tmp_path / "before")
    after = splice_loss(work, model, tmp_path / "one", tmp_path / "after")
    assert after < 0.97 * before, (before, after)
    lines = [
        json.loads(line) for line in (tmp_path / "one" / "metrics.jsonl").read_text().splitlines()
    ]
    assert [line["step"] for line in lines] == [10, 20, 30, 40] and lines[-1]["tokens"] == summary[
        "tokens"
    ]
    about = [
        json.loads((run / "dictionary" / "cfg.json").read_text())
        for run in (work / "run", tmp_path / "one")
    ]
    assert about[1]["tokens"] == about[0]["tokens"] + summary["tokens"]
    assert about[1]["setting"] != about[0]["setting"], "it is no reseed of the one it came from"
    own = {"tokens": 0, "setting": ""}
    assert {**about[1], **own} == {**about[0], **own}

    assay(
        "finetune",
        work / "run",
        "--model",
        model,
        "--out",
        tmp_path / "two",
        *SHORT,
        "--threads",
        3,
    )
    assert weights(tmp_path / "one") == weights(tmp_path / "two")


def start(made, out, *arguments):
    work, model = made
    command = [
        os.environ["ASSAY"],
        "finetune",
        work / "run",
        "--model",
        model,
        "--out",
        out,
        "--resume",
        "auto",
        "--json",
        *SHORT,
        *arguments,
    ]
    return subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def await_newer_checkpoint(process, out, seen=""):
    await_that(
        lambda: (
            (out / "checkpoints").is_dir()
            and any(name > seen and "." not in name for name in checkpoints(out))
        ),
        f"a checkpoint beyond '{seen}'",
        process,
    )


def test_killed_and_damaged_it_ends_in_the_same_bits(made, tmp_path):
    """Kills at random moments behind a checkpoint of every second step, a damaged checkpoint, a signal."""
    out, moments, often = tmp_path / "killed", random.Random(1), ("--set", "checkpoint_every=2")
    done, _ = start(made, tmp_path / "whole").communicate()
    whole = json.loads(done)
    seen = ""
    for _ in range(3):
        process = start(made, out, *often)
        await_newer_checkpoint(process, out, seen)
        time.sleep(0.3 * moments.random())
        process.kill()
        assert process.wait() == -signal.SIGKILL, "the run finished before its kill"
        process.communicate()
        seen = max(checkpoints(out))[:15]
    newest = max(path for path in (out / "checkpoints").iterdir() if "." not in path.name)
    damaged = bytearray((newest / "state.safetensors").read_bytes())
    damaged[-3] ^= 1
    (newest / "state.safetensors").write_bytes(damaged)

    process = start(made, out, "--set", "checkpoint_every=1000", "--threads", 1)
    for line in process.stderr:
        if "resuming" in line:
            break
        if "has left its lease" not in line:  # the kill's
            assert "passing it over" in line and newest.name in line
    process.send_signal(signal.SIGTERM)
    done, _ = process.communicate()
    interrupted = json.loads(done)
    assert (
        process.returncode == 75
        and interrupted["outcome"] == "interrupted"
        and interrupted["steps"] < 40
    )
    assert (out / "checkpoints" / f"step-{interrupted['steps']:010}").is_dir() and not (
        out / "dictionary"
    ).exists()

    process = start(made, out, *often)
    done, errors = process.communicate()
    assert process.returncode == 0 and f"at step {interrupted['steps']}" in errors, errors
    assert weights(out) == weights(tmp_path / "whole")
    for name in ("metrics.jsonl", "checkpoints/step-0000000040/state.safetensors"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert {**json.loads(done), "run": "", "seconds": 0} == {**whole, "run": "", "seconds": 0}
    again = start(made, out)
    assert (
        json.loads(again.communicate()[0])["outcome"] == "already finished"
        and again.returncode == 0
    )


def test_resuming_names_what_differs(made, tmp_path):
    work, model = made
    short = [*SHORT, "--set", "steps=2", "--set", "checkpoint_every=1"]
    out = tmp_path / "out"
    assay("finetune", work / "run", "--model", model, "--out", out, *short)
    again = ("finetune", work / "run", "--out", out, "--resume", "auto")
    line = assay(
        *again, "--model", model, *short, "--set", "lr=0.1", "--set", "output=logits", status=2
    )
    assert "lr is 0.0005 there, 0.1 now" in line and "output is cosine there, logits now" in line
    assert "--resume auto" in assay(
        "finetune", work / "run", "--model", model, "--out", out, *short, status=2
    )
    shutil.rmtree(out / "dictionary")
    before = files_of(out)
    assert "lr is 0.0005" in assay(*again, "--model", model, *short, "--set", "lr=0.1", status=2)
    other = tmp_path / "other"
    shutil.copytree(model, other)
    manifest = other / "manifest.json"
    manifest.write_text(manifest.read_text() + " ")
    line = assay(*again, "--model", other, "--trust-model-code", *short, status=1)
    assert "the model's halves" in line
    copy = tmp_path / "copy"
    shutil.copytree(work / "run", copy)
    weights_file = copy / "dictionary" / "dictionary.safetensors"
    damaged = bytearray(weights_file.read_bytes())
    damaged[-3] ^= 1
    weights_file.write_bytes(damaged)
    line = assay(
        "finetune", copy, "--model", model, "--out", out, "--resume", "auto", *short, status=1
    )
    assert "the run's dictionary" in line
    assert files_of(out) == before
    assay(
        *again,
        "--model",
        model,
        *short,
        "--set",
        "checkpoint_every=7",
        "--set",
        "checkpoint_minutes=1",
    )
    assert json.loads((out / "dictionary" / "cfg.json").read_text())["n"] == 512


def test_wrong_uses_are_one_line(made, tmp_path):
    work, model = made
    out = tmp_path / "out"

    def fails(*arguments):
        return assay("finetune", *arguments, status=2)

    assert "not a finished run" in assay(
        "finetune", tmp_path, "--model", model, "--out", out, status=1
    )
    assert "--model" in fails(work / "run", "--out", out)
    assert "unknown" in fails(work / "run", "--model", model, "--out", out, "--set", "step=3")
    assert "lower it" in fails(work / "run", "--model", model, "--out", out, "--set", "texts=5000")
    assert "holds a run" in fails(work / "run", "--model", model, "--out", work / "run", *SHORT)
    assert not out.exists()
    assert "steps" in assay("finetune", "--reference")
