"""`assay eval` on data that do not fit: one clear line for each task that cannot run, and the others go on."""

import json

import h5py
import numpy as np
import pytest

from tests.eval.planted_eval import assay, write_dictionary

D, N, K, CLASSES = 12, 24, 4, 4
TASKS = [
    "core",
    "ood_probing",
    "spurious",
    "targeted_removal",
    "hidden_goals",
    "hidden_goals_diff",
    "probe_regimes",
    "saebench_probing",
]
CONFIG = """eval:
  seeds: 1
  ood_probing: {min_target: 5, train_per_class: 40, top_k: [1, 4], pca: 4, neighbours: 8}
  spurious: {min_texts: 8, train_per_class: 30, latents: [1, 4], inlp: [1, 4], neurons: [1, 4], ablate: [2],
             headline_ablate: 2}
  hidden_goals: {classes: 4, min_texts: 5, train_per_class: 20, audit_per_class: 10, concepts_per_class: 20, benign: 4,
                 calibration: 2, hidden: 4, epochs: 2, strengths: [40], latents: [2], class_latents: [2],
                 exemplar_texts: [10]}
  hidden_goals_diff: {classes: 4, min_texts: 5, train_per_class: 20, audit_per_class: 10, concepts_per_class: 20,
                      benign: 4, calibration: 2, strengths: [100], headline_strength: 100, latents: [2],
                      class_latents: [2], exemplar_texts: [10]}
data: {validation: 0.2, test: 0.05}
"""


def columns(documents=320, seed=0):
    """Rows of texts: a definition and an example a document, three ordinary tokens each."""
    rng = np.random.default_rng(seed)
    document = np.repeat(np.arange(documents), 6)
    fmt = np.tile(np.repeat([0, 1], 3), documents)
    category = np.repeat(rng.integers(CLASSES, size=documents), 6)
    x = rng.normal(size=(len(document), D)) + 1.5 * np.eye(D)[category] + 1.5 * np.eye(D)[8 + fmt]
    return {
        "x": x,
        "document": document,
        "text": np.repeat(np.arange(2 * documents), 3),
        "category": category,
        "format": fmt,
        "part_of_speech": (document % 4 == 3).astype(int),
    }


@pytest.fixture(scope="module")
def dictionary(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad") / "dict"
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(N, D)).astype(np.float32)
    weights = {
        "W_enc": rows,
        "W_dec": rows / np.linalg.norm(rows, axis=1, keepdims=True),
        "b_enc": np.zeros(N, np.float32),
        "b_dec": np.zeros(D, np.float32),
    }
    write_dictionary(folder, weights, k=K)
    return folder


def index(folder, data):
    """Shards of these columns, and the settings beside them."""
    with h5py.File(folder / "rows.h5", "w") as file:
        file["activations"] = data["x"].astype(np.float32)
        for name in ("document", "text"):
            file[name] = data[name].astype(np.int64)
        for name, classes in (
            ("category", [f"c{i}" for i in range(CLASSES)]),
            ("format", ["definition", "example"]),
            ("part_of_speech", ["noun", "verb"]),
        ):
            file[f"labels/{name}"] = data[name].astype(np.int32)
            file[f"labels/{name}"].attrs["classes"] = classes
    (folder / "eval.yaml").write_text(CONFIG)
    return assay("index", folder / "rows.h5", "--out", folder / "shards")


def evaluate(folder, dictionary, data):
    indexed = index(folder, data)
    if indexed.returncode:
        return indexed, {}
    run = assay(
        "eval",
        dictionary,
        "--data",
        folder / "shards",
        "--config",
        folder / "eval.yaml",
        "--out",
        folder / "out",
        "--tasks",
        ",".join(TASKS),
    )
    file = folder / "out" / "results.json"
    return run, {
        t["name"]: t for t in json.loads(file.read_text())["tasks"]
    } if file.exists() else {}


def check_lines(run, tasks):
    """Whatever failed says why in one line, in results.json and on stderr; nothing crashed."""
    failed = {name: task for name, task in tasks.items() if task["status"] == "failed"}
    assert run.returncode == (1 if failed else 0), run.stderr
    assert {name for name in tasks if name != "comparison"} == set(TASKS)
    for name, task in failed.items():
        assert task["reason"] and "\n" not in task["reason"] and "nan" not in task["reason"].lower()
        assert not task["numbers"] and not task["scores"], "a failed task has no numbers"
        assert task["reason"] in run.stderr.splitlines()[-1]
        assert (
            sum(line.startswith(f"eval: task {name}: failed") for line in run.stderr.splitlines())
            == 1
        )
    return {name: task["reason"] for name, task in failed.items()}


def evaluate_spoilt(folder, dictionary, **spoilt):
    run, tasks = evaluate(folder, dictionary, {**columns(), **spoilt})
    return check_lines(run, tasks), tasks


def test_good_data_fail_nothing(dictionary, tmp_path):
    failed, tasks = evaluate_spoilt(tmp_path, dictionary)
    assert failed == {} and "comparison" in tasks
    for name in TASKS:
        check_words(tasks[name])


def check_words(task):
    """Whatever a task reports it also says in words, and its scores are of baselines and a headline."""
    arms = {arm["name"]: arm for arm in task["arms"]}
    metrics = {metric["name"] for metric in task["metrics"]}
    unsaid = {(n["metric"], n["method"]) for n in task["numbers"]}
    unsaid = {(m, a) for m, a in unsaid if m not in metrics or (a and a not in arms)}
    assert not unsaid, f"{task['name']} declares neither metric nor arm of {unsaid}"
    for score in task["scores"]:
        role = arms[score["method"]]["role"]
        assert (role == "baseline") == (not score["dictionary"]), (task["name"], score["method"])
        assert (role == "headline") == score["headline"]
    assert task["figures"] and all(figure["caption"] for figure in task["figures"])
    for figure in task["figures"]:
        assert set(figure.get("arms", [])) <= set(arms), (task["name"], figure)
        parts = {n["part"] for n in task["numbers"] if n["metric"] in figure.get("metrics", [])}
        assert set(figure.get("parts", [])) & parts or not figure.get("parts"), figure


@pytest.mark.parametrize(
    "latents, says",
    [
        ([1, N], f"dictionary 'dict' has {N} latents, and to take {N} leaves nothing to read"),
        ([4, 1], "expected ascending numbers"),
    ],
)
def test_a_fix_that_leaves_nothing_to_read_exits_2(dictionary, tmp_path, latents, says):
    assert index(tmp_path, columns()).returncode == 0
    run = assay(
        *("eval", dictionary, "--data", tmp_path / "shards", "--config", tmp_path / "eval.yaml"),
        *("--set", f"eval.spurious.latents={latents}", "--out", tmp_path / "out"),
        *("--tasks", "core,spurious"),
    )
    assert run.returncode == 2
    assert run.stderr.count("\n") == 1
    assert f"eval.spurious.latents = {latents}: " in run.stderr and says in run.stderr
    assert not (tmp_path / "out").exists()


def test_constant_features(dictionary, tmp_path):
    failed, tasks = evaluate_spoilt(tmp_path, dictionary, x=np.ones_like(columns()["x"]))
    # An accuracy of a half is what there is to report, and organisms that learn nothing withhold their task.
    assert set(failed) == set(TASKS) - {"saebench_probing", "hidden_goals"}
    assert tasks["hidden_goals"]["status"] == "withheld"
    assert "do not vary" in failed["hidden_goals_diff"]
    assert "do not vary" in failed["core"] and "same mean" in failed["ood_probing"]


def test_one_constant_feature_is_no_matter(dictionary, tmp_path):
    x = columns()["x"]
    x[:, 5] = 3.25
    failed, _ = evaluate_spoilt(tmp_path, dictionary, x=x)
    assert failed == {}


@pytest.mark.parametrize(
    "category, says",
    [
        (lambda c: 0 * c["category"], "1 of 4 classes"),
        (lambda c: np.where(c["document"] < 3, 1, 0), "1 of 4 classes"),
        (lambda c: 0 * c["category"] - 1, "0 of 4 classes"),
    ],
)
def test_one_class_too_few_or_unlabelled(dictionary, tmp_path, category, says):
    failed, tasks = evaluate_spoilt(tmp_path, dictionary, category=category(columns()))
    assert set(failed) == set(TASKS) - {"core"} and tasks["core"]["status"] == "ok"
    for task, reason in failed.items():
        # A probe needs texts of other classes too, which a lone class has not.
        probes = "0 of 4 classes" if "prob" in task else says
        assert probes in reason and "category" in reason


def test_a_label_beyond_its_classes_is_no_index(dictionary, tmp_path):
    c = columns()
    run, tasks = evaluate(tmp_path, dictionary, {**c, "category": c["category"] + 2})
    assert run.returncode == 1 and not tasks
    assert "/labels/category: row " in run.stderr and "expected -1 to 3" in run.stderr


def test_a_class_with_too_few_examples_is_left_to_the_others(dictionary, tmp_path):
    c = columns()
    failed, tasks = evaluate_spoilt(
        tmp_path, dictionary, category=np.where(c["category"] == 3, 2, c["category"])
    )
    assert set(failed) == {"hidden_goals", "hidden_goals_diff"}
    assert all("3 of 4 classes" in reason for reason in failed.values())
    assert {row["class"] for row in tasks["ood_probing"]["details"]["per_class"]} == {
        "c0",
        "c1",
        "c2",
    }


def test_one_domain(dictionary, tmp_path):
    failed, _ = evaluate_spoilt(tmp_path, dictionary, format=0 * columns()["format"])
    assert set(failed) == set(TASKS) - {"core", "hidden_goals", "hidden_goals_diff"}
    assert all("example" in reason for reason in failed.values())


def test_labels_of_another_length(dictionary, tmp_path):
    c = columns()
    run, tasks = evaluate(tmp_path, dictionary, {**c, "category": c["category"][:-7]})
    assert run.returncode == 1 and run.stderr.count("\n") == 1 and tasks == {}
    assert "category" in run.stderr and str(len(c["text"])) in run.stderr
