"""`assay eval` against numpy and scikit-learn: FVU and one AUROC from the definitions, and what it refuses."""

import json
import re

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from tests.eval.planted_eval import (
    CLASSES,
    D,
    K,
    N,
    assay,
    derive_seed,
    make_planted,
    split_of,
    write_dictionary,
)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("eval")
    return folder, *make_planted(folder)


@pytest.fixture(scope="module")
def results(planted):
    folder, _, _ = planted
    run = assay(
        "eval",
        folder / "dict",
        "--data",
        folder / "shards",
        "--config",
        folder / "eval.yaml",
        "--out",
        folder / "out",
        "--seed",
        "3",
        "--tasks",
        "core,ood_probing,saebench_probing",
    )
    assert run.returncode == 0, run.stderr
    return json.loads((folder / "out" / "results.json").read_text())


def number(results, task, **match):
    found = [
        n
        for t in results["tasks"]
        if t["name"] == task
        for n in t["numbers"]
        if all(n.get(k, "") == v for k, v in match.items())
    ]
    assert len(found) == 1, (match, found)
    return found[0]


def test_fvu_is_numpys(planted, results):
    _, data, w = planted
    ordinary = data["special"] == 0
    validation = (
        np.array([split_of(int(d), 0.25, 0.1, 4) == "validation" for d in data["document"]])
        & ordinary
    )
    x = data["x"][validation].astype(np.float64)
    pre = (x - w["b_dec"]) @ w["W_enc"].T.astype(np.float64) + w["b_enc"]
    z = np.zeros_like(pre)
    top = np.argsort(-pre, axis=1, kind="stable")[:, :K]
    np.put_along_axis(z, top, np.maximum(np.take_along_axis(pre, top, 1), 0), 1)
    decoded = z @ w["W_dec"].astype(np.float64) + w["b_dec"]
    fvu = ((x - decoded) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
    row = number(results, "core", metric="fvu", dictionary="dict", part="validation")
    assert row["n"] == len(x)
    assert row["value"] == pytest.approx(fvu, rel=1e-6)
    l0 = number(results, "core", metric="l0", dictionary="dict", part="validation")
    assert l0["value"] == pytest.approx((z > 0).sum() / len(x), rel=1e-12)


def mean_difference_auroc(data, unseen=None):
    """AUROC by part, from the definitions. `unseen`: which documents may be tested on; None: all."""
    texts = int(data["text"].max()) + 1
    keep = data["special"] == 0
    pooled = np.stack(
        [data["x"][keep & (data["text"] == t)].astype(np.float64).mean(0) for t in range(texts)]
    )
    first = [int(np.argmax(data["text"] == t)) for t in range(texts)]
    document, category, fmt = (data[name][first] for name in ("document", "category", "format"))
    seed = derive_seed(derive_seed(3, ord("p")), 0, 0)
    half = np.array([split_of(int(d), 0.5, 0, seed) == "validation" for d in document])
    may = np.array([unseen is None or unseen(int(d)) for d in document])
    order = np.array(sorted(range(texts), key=lambda t: derive_seed(seed, 1, t)))
    scores = {"id": [], "ood": []}
    for label in range(CLASSES):
        for test in (half, ~half):
            train = [t for t in order if fmt[t] == 0 and not test[t]]
            positive = [t for t in train if category[t] == label]
            negative = [t for t in train if category[t] != label][: len(positive)]
            direction = pooled[positive].mean(0) - pooled[negative].mean(0)
            for part, wanted in (("id", 0), ("ood", 1)):
                chosen = np.flatnonzero(test & may & (fmt == wanted))
                scores[part].append(
                    roc_auc_score(category[chosen] == label, pooled[chosen] @ direction)
                )
    return {part: np.mean(values) for part, values in scores.items()}


def test_auroc_of_the_mean_difference_is_sklearns(planted, results):
    for part, value in mean_difference_auroc(planted[1]).items():
        row = number(results, "ood_probing", metric="auroc", method="diff_means", part=part)
        assert row["value"] == pytest.approx(value, abs=1e-6)


def test_test_texts_come_from_unseen_documents(planted, tmp_path):
    """The split rule of the dictionary, written anew here, says which documents trained it."""
    folder, data, weights = planted
    index = (folder / "shards" / "index.yaml").read_text()
    rule = dict(validation=0.25, test=0.15, seed=9)
    write_dictionary(
        tmp_path / "known",
        weights,
        data_hash=re.search('content_hash: "([0-9a-f]+)"', index)[1],
        split_rule=",".join(f"{k}={v}" for k, v in rule.items()),
    )
    values = {
        "unseen": mean_difference_auroc(data, lambda d: split_of(d, **rule) != "train"),
        "all": mean_difference_auroc(data),
    }
    assert abs(values["unseen"]["ood"] - values["all"]["ood"]) > 1e-4
    for documents, same in (("auto", "unseen"), ("unseen", "unseen"), ("all", "all")):
        out = tmp_path / documents
        run = assay(
            *("eval", tmp_path / "known", "--data", folder / "shards", "--out", out, "--seed", "3"),
            *("--config", folder / "eval.yaml", "--set", f"eval.documents={documents}"),
            *("--tasks", "ood_probing"),
        )
        assert run.returncode == 0, run.stderr
        assert f"task ood_probing: documents: {same}: " in run.stderr
        results = json.loads((out / "results.json").read_text())
        for part, value in values[same].items():
            row = number(results, "ood_probing", metric="auroc", method="diff_means", part=part)
            assert row["value"] == pytest.approx(value, abs=1e-6), documents
        seen = {
            n["test_seen_in_training"]
            for n in results["tasks"][0]["numbers"]
            if n["dictionary"] == "known" and n["metric"] == "auroc"
        }
        assert seen == {same == "all"}


def test_saebench_probing_is_sklearns(planted, results):
    """Its definition from the start: mean difference, plain logistic regression, balanced accuracy."""
    _, data, w = planted
    texts = int(data["text"].max()) + 1
    keep = data["special"] == 0
    pre = (data["x"].astype(np.float64) - w["b_dec"]) @ w["W_enc"].T.astype(np.float64) + w["b_enc"]
    z = np.zeros_like(pre)
    top = np.argsort(-pre, axis=1, kind="stable")[:, :K]
    np.put_along_axis(z, top, np.maximum(np.take_along_axis(pre, top, 1), 0), 1)
    features = {"dense": data["x"].astype(np.float64), "latents_top2": z}
    pooled = {
        m: np.stack([v[keep & (data["text"] == t)].mean(0) for t in range(texts)])
        for m, v in features.items()
    }
    first = [int(np.argmax(data["text"] == t)) for t in range(texts)]
    document, category, fmt = (data[name][first] for name in ("document", "category", "format"))
    seed = derive_seed(derive_seed(3, ord("p")), 0, 0)
    half = np.array([split_of(int(d), 0.5, 0, seed) == "validation" for d in document])
    order = np.array(sorted(range(texts), key=lambda t: derive_seed(seed, 1, t)))
    scores = {m: [] for m in features}
    for label in range(CLASSES):
        for test in (half, ~half):
            parts = []
            for inside in (~test, test):
                side = [t for t in order if fmt[t] == 0 and inside[t]]
                positive = [t for t in side if category[t] == label]
                negative = [t for t in side if category[t] != label][: len(positive)]
                parts.append(
                    (positive + negative, np.repeat([1, 0], [len(positive), len(negative)]))
                )
            (train, y), (tests, truth) = parts
            for method, x in pooled.items():
                columns = np.arange(x.shape[1])
                if method != "dense":
                    difference = np.abs(x[train][y == 1].mean(0) - x[train][y == 0].mean(0))
                    columns = np.argsort(-difference, kind="stable")[:2]
                probe = LogisticRegression(C=1.0, max_iter=1000, tol=1e-8).fit(
                    x[np.ix_(train, columns)], y
                )
                scores[method].append(probe.score(x[np.ix_(tests, columns)], truth))
    for method, values in scores.items():
        row = number(
            results,
            "saebench_probing",
            metric="saebench_accuracy",
            method=method,
            dictionary="" if method == "dense" else "dict",
        )
        assert row["value"] == pytest.approx(np.mean(values), abs=1e-9)


def test_a_failing_task_leaves_the_others(planted, tmp_path):
    folder, _, _ = planted
    config = tmp_path / "c.yaml"
    config.write_text("eval:\n  ood_probing:\n    filter_label: ''\n    source: gloss\n")
    run = assay(
        "eval",
        folder / "dict",
        "--data",
        folder / "shards",
        "--config",
        config,
        "--out",
        tmp_path / "out",
        "--tasks",
        "core,ood_probing",
    )
    assert run.returncode == 1
    assert "definition, example" in run.stderr
    tasks = {
        t["name"]: t["status"]
        for t in json.loads((tmp_path / "out" / "results.json").read_text())["tasks"]
    }
    assert tasks == {"core": "ok", "ood_probing": "failed"}


def test_json_is_alone_on_stdout(planted, tmp_path):
    folder, _, _ = planted
    run = assay(
        "eval",
        folder / "dict",
        "--data",
        folder / "shards",
        "--out",
        tmp_path,
        "--tasks",
        "core",
        "--json",
        "--null",
        "random,permuted_encoder",
    )
    assert run.returncode == 0, run.stderr
    names = [d["name"] for d in json.loads(run.stdout)["dictionaries"]]
    assert names == ["dict", "dict:random", "dict:permuted_encoder"]


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["--tasks", "cor"], "nearest: core"),
        (["--tasks", "splice"], "--model"),
        (["--null", "magic"], "random, rate_matched, permuted_encoder"),
        (["--set", "eval.seeds=2"], "--config"),
    ],
)
def test_usage_errors_exit_2(planted, tmp_path, arguments, says):
    folder, _, _ = planted
    run = assay("eval", folder / "dict", "--data", folder / "shards", "--out", tmp_path, *arguments)
    assert run.returncode == 2
    assert says in run.stderr and run.stderr.count("\n") == 1


def test_a_dictionary_of_another_width_exits_2(planted, tmp_path):
    folder, _, w = planted
    wide = {
        name: np.ascontiguousarray(
            np.resize(v, (N, D + 1) if v.ndim == 2 else (N if name == "b_enc" else D + 1))
        )
        for name, v in w.items()
    }
    write_dictionary(tmp_path / "wide", wide)
    run = assay(
        "eval",
        tmp_path / "wide",
        "--data",
        folder / "shards",
        "--out",
        tmp_path / "out",
        "--tasks",
        "core",
    )
    assert run.returncode == 2
    assert "d = 17" in run.stderr and "d = 16" in run.stderr


def test_a_dictionary_of_another_width_leaves_the_others(planted, tmp_path):
    folder, _, w = planted
    wide = {
        name: np.ascontiguousarray(
            np.resize(v, (N, D + 1) if v.ndim == 2 else (N if name == "b_enc" else D + 1))
        )
        for name, v in w.items()
    }
    write_dictionary(tmp_path / "wide", wide)
    write_dictionary(tmp_path / "null" / "wide", wide)
    arguments = [
        "--data",
        folder / "shards",
        "--config",
        folder / "eval.yaml",
        "--tasks",
        "core,ood_probing",
    ]
    run = assay(
        "eval",
        tmp_path / "wide",
        folder / "dict",
        "--null-dictionary",
        f"shuffled={tmp_path / 'null' / 'wide'}",
        *arguments,
        "--out",
        tmp_path / "out",
    )
    assert run.returncode == 1
    says = [line for line in run.stderr.splitlines() if "'wide' is left out" in line]
    assert len(says) == 1 and "d = 17" in says[0] and "d = 16" in says[0]
    assert (
        "'wide' was left out" in run.stderr.splitlines()[-1] and "'wide' was left out" in run.stdout
    )
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [left["name"] for left in found["left_out"]] == ["wide", "wide:shuffled"]
    assert [d["name"] for d in found["dictionaries"]] == ["dict", "dict:random"]
    assert [t["name"] for t in found["tasks"]] == ["core", "ood_probing", "comparison"]
    assert all(t["status"] != "failed" for t in found["tasks"])
    alone = assay("eval", folder / "dict", *arguments, "--out", tmp_path / "alone")
    assert alone.returncode == 0, alone.stderr
    assert (
        json.loads((tmp_path / "alone" / "results.json").read_text())["tasks"][0]["numbers"]
        == found["tasks"][0]["numbers"]
    )
    drawn = assay("report", tmp_path / "out", "--out", tmp_path / "page")
    assert drawn.returncode == 0, drawn.stderr
    assert "was left out: it has d = 17" in (tmp_path / "page" / "report.html").read_text()


def test_list_names_the_tasks():
    run = assay("eval", "--list")
    assert run.returncode == 0
    for name in (
        "core",
        "ood_probing",
        "probe_themes",
        "probe_regimes",
        "seed_stability",
        "saebench_probing",
        "splice",
    ):
        assert name in run.stdout
