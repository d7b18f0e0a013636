"""`assay eval` on data without labels, texts, documents or tokens: what needs them is left out with a line, exit 0."""

import json
import os
import subprocess

import h5py
import numpy as np
import pytest

from tests.experiments.tiny_data import assay, rows, write_activations, write_dictionary

ROWS = 900
TEXT = np.arange(ROWS) // 5
DOCUMENT = TEXT // 2
CLASSES = {"category": ["a", "b"], "format": ["definition", "example"]}


def labelled(**columns):
    labels = {f"labels__{name}": (TEXT % 2).astype(np.int32) for name in CLASSES}
    return {**labels, "labels__part_of_speech": np.zeros(ROWS, np.int32), **columns}


DATA = {
    "activations alone": {},
    "documents": {"document": DOCUMENT},
    "documents and texts": {"document": DOCUMENT, "text": TEXT},
    "texts in no document": {"text": TEXT},
    "tokens in no text": {"document": DOCUMENT, "tokens": (TEXT % 50).astype(np.int32)},
    "labels of rows in no text": labelled(document=DOCUMENT),
}


def evaluate(folder, columns, *more):
    """The exit status, the lines on stderr, and the status of each task that ran."""
    file = write_activations(folder / "x.h5", rows(ROWS), **columns)
    with h5py.File(file, "a") as f:
        for name in f.get("labels", ()):
            f[f"labels/{name}"].attrs["classes"] = CLASSES.get(name, ["noun"])
    assay("index", file, "--out", folder / "shards")
    dictionary = write_dictionary(folder / "dictionary", n=32, k=4)
    done = subprocess.run(
        [os.environ["ASSAY"], "eval", dictionary, "--data", folder / "shards"]
        + ["--out", folder / "out", "--null", "none", *more],
        capture_output=True,
        text=True,
    )
    results = folder / "out" / "results.json"
    tasks = json.loads(results.read_text())["tasks"] if results.exists() else []
    return done.returncode, done.stderr.splitlines(), {t["name"]: t["status"] for t in tasks}


def listed():
    names = assay("eval", "--list").splitlines()
    return {line.split()[0] for line in names if line[0] != " "}


@pytest.mark.parametrize("columns", DATA.values(), ids=DATA)
def test_tasks_without_their_labels_are_left_out(tmp_path, columns):
    status, lines, ran = evaluate(tmp_path, columns)
    assert status == 0, lines
    assert ran["core"] == "ok" and "failed" not in ran.values()
    for task in listed() - set(ran):
        said = [line for line in lines if line.startswith(f"eval: task '{task}' is left out: ")]
        assert len(said) == 1, (task, lines)
    assert {"ood_probing", "probe_regimes", "saebench_probing"}.isdisjoint(ran)


def test_a_task_that_is_asked_for_is_refused(tmp_path):
    status, lines, ran = evaluate(tmp_path, {}, "--tasks", "ood_probing")
    assert status == 2 and not ran
    assert lines == ["assay: task 'ood_probing' needs label 'category' (ood_probing.class_label)"]


def test_one_document_has_no_part_to_measure_on(tmp_path):
    status, lines, ran = evaluate(tmp_path, {"document": np.zeros(ROWS, np.int64), "text": TEXT})
    assert status == 1 and ran == {"core": "failed"}
    assert "1 of 1 tasks failed: core" in lines[-1] and "validation" in lines[-1]
