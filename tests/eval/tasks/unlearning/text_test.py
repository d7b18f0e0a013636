"""A causal language model from its training to the report: halves, losses, and a corpus forgotten. The model is tiny
and trained here; transformers' own loss is the reference."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[4]
ASSAY = os.environ["ASSAY"]
CONFIG = ROOT / "experiments/own_data/two_corpora.yaml"


def run(*arguments, status=0):
    done = subprocess.run([str(a) for a in arguments], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == status, done.stderr[-2000:]
    return done


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two-corpora")
    os.environ["ASSAY_TRUST_FILE"] = str(folder / "trusted")
    run(sys.executable, ROOT / "experiments/own_data/two_corpora.py", "--out", folder)
    run(
        sys.executable,
        ROOT / "data/python/export_halves.py",
        "--model",
        folder / "model",
        "--layer",
        "2",
        "--out",
        folder / "halves",
    )
    run(
        sys.executable,
        ROOT / "data/python/tokenise.py",
        "--model",
        folder / "halves",
        "--texts",
        folder / "texts.jsonl",
        "--out",
        folder / "corpus.h5",
    )
    run(
        ASSAY,
        "harvest",
        "--model",
        folder / "halves",
        "--corpus",
        folder / "corpus.h5",
        "--out",
        folder / "shards",
    )
    run(ASSAY, "train", CONFIG, "--out", folder / "run", "--set", f"data.path={folder / 'shards'}")
    return folder


def evaluate(made, *arguments, status=0):
    return run(
        ASSAY,
        "eval",
        made / "run",
        "--config",
        CONFIG,
        "--data",
        made / "shards",
        "--model",
        made / "halves",
        *arguments,
        status=status,
    )


@pytest.fixture(scope="module")
def result(made):
    done = evaluate(made, "--out", made / "out", "--tasks", "unlearning_text")
    (task,) = [
        t
        for t in json.loads((made / "out/results.json").read_text())["tasks"]
        if t["name"] == "unlearning_text"
    ]
    assert task["status"] == "ok", task["reason"]
    assert "unlearning_text: ok" in done.stderr
    return task


def number(task, metric, method, part, dictionary=""):
    (found,) = [
        n
        for n in task["numbers"]
        if (n["metric"], n["method"], n["part"], n["dictionary"])
        == (metric, method, part, dictionary)
    ]
    return found


def test_the_plan_has_the_documents_that_are_scored(made, result):
    (row,) = json.loads(evaluate(made, "--plan", "--json", "--tasks", "unlearning_text").stdout)
    documents = {cell[0] for cell in result["scores"][0]["cells"]}
    assert (row["units"], row["unit"], row["runs"]) == (len(documents), "documents", 1)


def test_untouched_losses_are_transformers_own(made, result):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(made / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(made / "model")
    records = [json.loads(line) for line in open(made / "texts.jsonl")]
    for corpus in ("forget", "keep_a", "keep_b"):
        texts = [r["text"] for r in records if r["labels"]["corpus"] == corpus]
        ids = tokenizer(texts, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            log_p = model(input_ids=ids).logits[:, :-1].log_softmax(-1)
        each = -log_p.gather(-1, ids[:, 1:, None])[:, :, 0].mean(1).numpy()
        own = number(result, "token_loss", "untouched", corpus)
        # The task's 200 texts are a sample of these 1000.
        assert abs(own["value"] - each.mean()) < 4 * each.std() / np.sqrt(own["n"])
        assert own["unit"] == "nats" and own["n"] == 200
        assert own["value"] < 2, "the model learnt the corpus"
        assert number(result, "token_loss", "mean_ablation", corpus)["value"] > own["value"] + 0.5


def test_numbers_follow_from_the_losses(result):
    for method, dictionary in (
        ("leace", ""),
        ("gated_steering", ""),
        ("latents", "run"),
        ("latents", "run:random"),
    ):
        losses = {
            (arm, corpus): number(
                result, "token_loss", arm, corpus, dictionary if arm == method else ""
            )["value"]
            for arm in ("untouched", "mean_ablation", method)
            for corpus in ("forget", "keep_a", "keep_b")
        }
        # Texts are of one length: a ratio of sums is a ratio of means.
        for corpora, metric, factor in (
            (["forget"], "forget_drop", 1),
            (["keep_a", "keep_b"], "retain_damage", 100),
        ):
            mean = {
                arm: np.mean([losses[arm, c] for c in corpora])
                for arm in ("untouched", "mean_ablation", method)
            }
            share = (mean[method] - mean["untouched"]) / (mean["mean_ablation"] - mean["untouched"])
            own = number(result, metric, method, "test", dictionary)["value"]
            assert own == pytest.approx(factor * share, abs=1e-4)


def test_what_the_untouched_model_writes_is_transformers_own(made, result):
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(made / "model").eval()
    details = result["details"]["continuation"]
    written = {(w["method"], w["dictionary"]): np.array(w["tokens"]) for w in details["written"]}
    prompts = torch.tensor(details["prompts"])
    own = model.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        max_new_tokens=12,
        do_sample=False,
        pad_token_id=64,
    )
    assert (written["untouched", ""] == own[:, 8:].numpy()).all()
    texts = {json.loads(line)["text"] for line in open(made / "texts.jsonl")}
    for prompt, rest in zip(details["prompts"], written["true_text", ""]):
        assert " ".join(f"w{word}" for word in [*prompt, *rest]) in texts
    assert (written["latents_gated", "run"] != written["untouched", ""]).any()


def test_continuations_are_judged(result):
    share = {
        (method, part): number(result, "written_as_forgotten", method, part, dictionary)["value"]
        for method, dictionary in (("untouched", ""), ("true_text", ""), ("latents_gated", "run"))
        for part in ("forget", "retained")
    }
    assert number(result, "judge_auroc", "true_text", "test")["value"] > 0.9
    assert share["true_text", "forget"] > 0.7 > 0.3 > share["true_text", "retained"]
    assert share["untouched", "forget"] > 0.7, "the model knows the corpus"
    assert share["latents_gated", "forget"] < share["untouched", "forget"]
    assert number(result, "written_overlap", "true_text", "forget")["value"] == 1
    assert number(result, "written_repetition", "true_text", "retained")["value"] < 0.2


def test_relearning_is_torchs_own_training(made, result):
    import h5py
    import torch

    details = result["details"]["relearning"]
    (attack,) = [a for a in details["attacks"] if a["method"] == "untouched" and a["texts"] == 16]
    with h5py.File(made / "shards/shard-00000.h5") as file:
        rows = {text: np.flatnonzero(file["text"][:] == text) for text in details["texts"][:16]}
        x = torch.tensor(
            np.stack([file["activations"][rows[t][0] : rows[t][-1] + 1] for t in rows]).astype(
                np.float32
            )
        )
        ids = torch.tensor(
            np.stack([file["tokens"][rows[t][0] : rows[t][-1] + 1] for t in rows]).astype(np.int64)
        )
    half = torch.jit.load(str(made / "halves/upper.ts.pt"))
    weights = [w.requires_grad_(True) for w in half.parameters()]
    adam = torch.optim.Adam(weights, lr=attack["rate"])
    for step in range(24):
        own = [(8 * step + i) % 16 for i in range(8)]
        loss = half(x[own], ids[own], torch.ones_like(ids[own]))[:, 1:].mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    with torch.no_grad():
        trained = half(x, ids, torch.ones_like(ids))[:, 1:].mean().item()
    assert attack["own_loss"] == pytest.approx(trained, rel=2e-3)


def test_relearning_brings_back_what_was_forgotten(result):
    for method, dictionary in (
        ("gated_steering", ""),
        ("latents_gated", "run"),
        ("mean_ablation", ""),
    ):
        drops = [
            number(result, "relearned_drop", method, part, dictionary)["value"]
            for part in ("texts_4", "texts_16", "texts_64")
        ]
        before = (
            1
            if method == "mean_ablation"
            else number(result, "forget_drop", method, "test", dictionary)["value"]
        )
        assert min(drops) < before
        assert number(result, "relearned_drop", "untouched", "texts_64")["value"] < drops[-1]


def test_clamping_chosen_latents_forgets_more_than_others_of_their_rate(result):
    def drop(method):
        return number(result, "forget_drop", method, "test", "run")["value"]

    assert drop("latents") > drop("random_latents")
    assert number(result, "retain_damage", "latents", "test", "run")["value"] < 5, (
        "the budget is 1 on tuning texts"
    )
    assert result["details"]["residual_norm"] > 0
    points = {p["budget"] for p in result["details"]["operating_points"]}
    assert points == {1, 2, 5}


def test_the_same_bits_again(made, result):
    evaluate(made, "--out", made / "again", "--tasks", "unlearning_text")
    (again,) = [
        t
        for t in json.loads((made / "again/results.json").read_text())["tasks"]
        if t["name"] == result["name"]
    ]
    assert [n["value"] for n in again["numbers"]] == [n["value"] for n in result["numbers"]]


def test_tasks_that_need_an_embedding_say_so(made):
    done = evaluate(made, "--out", made / "none", "--tasks", "splice", status=2)
    assert (
        "task 'splice' needs the halves of a sentence encoder" in done.stderr
        and done.stderr.count("\n") == 1
    )
    done = evaluate(made, "--out", made / "some", "--tasks", "core,unlearning", status=2)
    assert "task 'unlearning' needs the halves of a sentence encoder" in done.stderr


def test_the_report_has_its_section(made, result):
    run(ASSAY, "report", made / "out", "--out", made / "page")
    page = (made / "page/report.html").read_text()
    assert "Unlearning a corpus" in page and "Loss per token (nats) by corpus" in page


def test_a_manifest_of_another_output_is_refused(made, tmp_path):
    (tmp_path / "halves").mkdir()
    for file in (made / "halves").iterdir():
        (tmp_path / "halves" / file.name).symlink_to(file)
    manifest = json.loads((made / "halves/manifest.json").read_text())
    (tmp_path / "halves/manifest.json").unlink()
    (tmp_path / "halves/manifest.json").write_text(json.dumps({**manifest, "output": "words"}))
    done = run(
        ASSAY,
        "eval",
        made / "run",
        "--config",
        CONFIG,
        "--data",
        made / "shards",
        "--model",
        tmp_path / "halves",
        "--trust-model-code",
        "--out",
        tmp_path / "out",
        "--tasks",
        "unlearning_text",
        status=1,
    )
    assert "output: expected embedding or token_loss" in done.stderr
