"""assay finetune through MiniLM's upper half, judged by assay eval's splice task on held-out texts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_data import assay, assay_json

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
        subprocess.run([sys.executable, TOOLS / tool, *map(str, arguments)], check=True, capture_output=True)

    python("wordnet.py", "--limit", 400, "--seed", 3, "--out", work / "texts.jsonl")
    python("tokenise.py", "--model", model, "--texts", work / "texts.jsonl", "--out", work / "corpus.h5")
    assay("harvest", "--model", model, "--corpus", work / "corpus.h5", "--out", work / "shards", "--dtype", "f32")
    config = work / "config.yaml"
    config.write_text(f"data: {{path: {work / 'shards'}, validation: 0.3, test: 0, lanes: 1}}\n"
                      "model: {n: 512, k: 8}\ntrain: {steps: 300, batch: 256, lr: 0.002, warmup_steps: 10}\n")
    assay("train", config, "--out", work / "run")
    return work, model


def splice_loss(work, model, run, out):
    results = assay_json("eval", run, "--data", work / "shards", "--config", work / "config.yaml", "--model", model,
                         "--tasks", "splice", "--null", "none", "--out", out)
    (task,) = (t for t in results["tasks"] if t["name"] == "splice")
    (number,) = (n for n in task["numbers"] if n["metric"] == "splice_cosine_loss" and n.get("dictionary"))
    return number["value"]


def test_held_out_texts_lose_less_and_threads_change_nothing(made, tmp_path):
    work, model = made
    summary = assay_json("finetune", work / "run", "--model", model, "--out", tmp_path / "one", *SHORT, "--threads", 1)
    assert summary["steps"] == 40 and summary["output_loss_after"] < summary["output_loss_before"]
    before = splice_loss(work, model, work / "run", tmp_path / "before")
    after = splice_loss(work, model, tmp_path / "one", tmp_path / "after")
    assert after < 0.97 * before, (before, after)
    lines = [json.loads(line) for line in (tmp_path / "one" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [10, 20, 30, 40] and lines[-1]["tokens"] == summary["tokens"]
    about = [json.loads((run / "dictionary" / "cfg.json").read_text()) for run in (work / "run", tmp_path / "one")]
    assert about[1]["tokens"] == about[0]["tokens"] + summary["tokens"]
    assert {**about[1], "tokens": 0} == {**about[0], "tokens": 0}

    assay("finetune", work / "run", "--model", model, "--out", tmp_path / "two", *SHORT, "--threads", 3)
    weights = [(tmp_path / name / "dictionary" / "dictionary.safetensors").read_bytes() for name in ("one", "two")]
    assert weights[0] == weights[1]


def test_wrong_uses_are_one_line(made, tmp_path):
    work, model = made
    out = tmp_path / "out"

    def fails(*arguments):
        return assay("finetune", *arguments, status=2)

    assert "not a finished run" in fails(tmp_path, "--model", model, "--out", out)
    assert "--model" in fails(work / "run", "--out", out)
    assert "unknown" in fails(work / "run", "--model", model, "--out", out, "--set", "step=3")
    assert "lower it" in fails(work / "run", "--model", model, "--out", out, "--set", "texts=5000")
    assert "already holds" in fails(work / "run", "--model", model, "--out", work / "run", *SHORT)
    assert not out.exists()
    assert "steps" in assay("finetune", "--reference")
