"""Bring-your-own data, as the documentation says it: labelled activations in HDF5, a CSV of texts, trained controls."""

import csv
import json
import os
import pathlib
import subprocess
import sys

import h5py
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
ASSAY = os.environ["ASSAY"]


def run(*arguments, status=0):
    done = subprocess.run([str(a) for a in arguments], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == status, done.stderr[-2000:]
    return done


def script(name, *arguments, status=0):
    return run(sys.executable, ROOT / "experiments" / name, *arguments, status=status)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    script("own_data/digits.py", "--out", folder / "digits.h5")
    run(ASSAY, "index", folder / "digits.h5", "--out", folder / "shards")
    for seed in (0, 1):
        run(
            ASSAY,
            "train",
            ROOT / "experiments/own_data/digits.yaml",
            "--out",
            folder / f"run{seed}",
            "--set",
            f"data.path={folder / 'shards'}",
            "--set",
            f"train.seed={seed}",
            "--set",
            "train.steps=200",
        )
    return folder


def evaluate(folder, out, *arguments, status=0):
    done = run(
        ASSAY,
        "eval",
        *arguments,
        "--config",
        ROOT / "experiments/own_data/digits.yaml",
        "--data",
        folder / "shards",
        "--out",
        out,
        status=status,
    )
    return json.loads((out / "results.json").read_text()), done


def test_labelled_activations_of_anything(digits, tmp_path):
    results, done = evaluate(digits, tmp_path, digits / "run0", digits / "run1", "--quick")
    tasks = {t["name"]: t for t in results["tasks"]}
    assert {name for name, t in tasks.items() if t["status"] == "ok"} >= {
        "core",
        "ood_probing",
        "probe_regimes",
        "comparison",
    }
    assert (
        "probe_themes" not in tasks
        and "'probe_themes' is left out: it needs class 'noun'" in done.stderr
    )
    assert tasks["ood_probing"]["details"]["left_out"] == ["tfidf_lr: the data set has no texts"]
    # Clean digits are easy for any probe on a layer that was trained on them.
    dense = [
        n["value"]
        for n in tasks["ood_probing"]["numbers"]
        if n["metric"] == "auroc" and n["method"] == "dense_lr" and n["part"] == "id"
    ]
    assert dense[0] > 0.95
    pairs = tasks["comparison"]["details"]["dictionaries"]
    assert {(p["a"], p["b"]) for p in pairs} == {("run0", "run1")}
    assert not any(p["ranked"] for p in tasks["comparison"]["details"]["settings"])


def test_a_csv_of_texts_and_labels(tmp_path):
    script("own_data/docstrings.py", "--out", tmp_path / "d.csv")
    with open(tmp_path / "d.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len({r["text"] for r in rows}) == len(rows) > 1000
    for topic in {r["topic"] for r in rows}:
        for kind in ("function", "method"):
            assert sum(r["topic"] == topic and r["kind"] == kind for r in rows) >= 40


@pytest.mark.parametrize("kind", ["shuffled", "gaussian"])
def test_null_activations(tmp_path, kind):
    rng = np.random.default_rng(1)
    x = (rng.standard_normal((4000, 6)) @ rng.standard_normal((6, 6)) + 3).astype(np.float32)
    special = np.zeros(4000, np.uint8)
    special[::10] = 1
    (tmp_path / "shards").mkdir()
    with h5py.File(tmp_path / "shards" / "a.h5", "w") as file:
        file["activations"], file["special"], file["document"] = x, special, np.arange(4000) // 4
    script(
        "nulls/null_activations.py",
        tmp_path / "shards",
        "--kind",
        kind,
        "--out",
        tmp_path / "null.h5",
    )
    with h5py.File(tmp_path / "null.h5") as file:
        null, document = file["activations"][:], file["document"][:]
    x = x[special == 0]
    np.testing.assert_array_equal(document, (np.arange(4000) // 4)[special == 0])
    if kind == "shuffled":
        np.testing.assert_array_equal(np.sort(null, 0), np.sort(x, 0))
        off = np.corrcoef(null.T) - np.eye(6)
        assert np.abs(off).max() < 5 / np.sqrt(len(x))
    else:
        np.testing.assert_allclose(null.mean(0), x.mean(0), atol=0.25)
        np.testing.assert_allclose(
            np.cov(null.T), np.cov(x.T), atol=0.1 * np.abs(np.cov(x.T)).max()
        )


def test_a_control_that_is_passed_stands_against_every_dictionary_of_its_width(digits, tmp_path):
    run(
        *(ASSAY, "train", digits / "run0" / "config.yaml", "--out", tmp_path / "frozen"),
        *("--set", "model.frozen=decoder", "--set", "train.seed=5"),
    )
    results, _ = evaluate(
        digits,
        tmp_path / "out",
        *(digits / "run0", digits / "run1"),
        *("--tasks", "core,ood_probing", "--quick"),
        *("--null-dictionary", f"frozen_decoder={tmp_path / 'frozen'}"),
    )
    kinds = {d["name"]: (d["null_kind"], d["parent"]) for d in results["dictionaries"]}
    assert kinds["frozen:frozen_decoder"] == ("frozen_decoder", "")
    controls = {
        (c["a"], c["b"])
        for t in results["tasks"]
        if t["name"] == "comparison"
        for c in t["details"]["controls"]
    }
    assert controls == {
        *(("run0", "run0:random"), ("run0", "frozen:frozen_decoder")),
        *(("run1", "run1:random"), ("run1", "frozen:frozen_decoder")),
    }
    fvu = {
        n["dictionary"]: n["value"]
        for n in results["tasks"][0]["numbers"]
        if n["metric"] == "fvu" and n["part"] == "validation"
    }
    assert fvu["frozen:frozen_decoder"] < fvu["run0:random"], "the encoder learnt something"


@pytest.mark.parametrize(
    "text, says", [("frozen", "KIND=DICT"), ("Frozen=x", "KIND=DICT"), ("=x", "KIND=DICT")]
)
def test_controls_are_named(digits, tmp_path, text, says):
    done = run(
        ASSAY,
        "eval",
        digits / "run0",
        "--data",
        digits / "shards",
        "--out",
        tmp_path,
        "--null-dictionary",
        text,
        status=2,
    )
    assert says in done.stderr and done.stderr.count("\n") == 1


def test_scores_follow_the_planted_truth(tmp_path):
    script(
        "planted_truth.py",
        "--out",
        tmp_path,
        "--draws",
        "1",
        "--documents",
        "400",
        "--assay",
        ASSAY,
    )
    table = {
        row["score"]: row["spearman"] for row in json.loads((tmp_path / "truth.json").read_text())
    }
    assert table["core, 1 - FVU (a diagnostic)"] > 0.8
    assert table["ood_probing, ood auroc"] > 0.5
    assert {"probe_regimes, scarcity auroc", "probe_regimes, noise auroc"} <= set(table)
    tasks = json.loads((tmp_path / "results.json").read_text())["tasks"]
    assert {t["status"] for t in tasks} <= {"ok", "withheld"}
    cards = next(t for t in tasks if t["name"] == "comparison")["details"]["reliability"]
    assert len(cards) > 5
    unknown = {card["task"] for card in cards if "correlation_with_truth" not in card}
    assert not unknown, "eval/results/planted_truth.cpp lacks a score that the experiment measures"
