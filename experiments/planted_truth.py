"""Does a metric follow the truth? Dictionaries of known worth on planted data, and the rank correlation of every score.

    python experiments/planted_truth.py --out runs/planted-truth [--draws 3] [--check]

Tokens are sums of a few of 96 unit features in 64 dimensions; each of six classes has three features of its own. Texts
come in two domains that differ in how often the other features fire; every fourth document is of another kind, from
which tasks about formats learn what those look like. A dictionary of worth q holds a share q of the true features and
random directions for the rest, so its worth is known. `assay eval` scores them all; printed is Spearman's correlation
of each headline score with q, over draws as well, with a bootstrap interval over dictionaries.
eval/results/planted_truth.cpp keeps what the defaults give, for the reliability cards; --check fails where it keeps
another figure.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
from safetensors.numpy import save_file
from scipy.stats import spearmanr

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "data" / "python"))
from tool import Parser, SourceError, as_tool, make_folder  # noqa: E402

D, FEATURES, CLASSES, OWN, K = 64, 96, 6, 3, 8
WORTHS = (0, 0.2, 0.4, 0.6, 0.8, 1)
TASKS = "core,ood_probing,probe_regimes,saebench_probing,spurious,targeted_removal,hidden_goals"
FURTHER = {
    ("spurious", "both_auroc", "edit", "share 1.00"),
    ("hidden_goals", "mrr", "latents_exemplar", "strength 1.00"),
    *(("targeted_removal", "scr", "latents", f"n {n}") for n in (2, 5, 10)),
}
CONFIG = """eval:
  nulls: []
  spurious: {classes: 6, min_texts: 10, train_per_class: 60, latents: [1, 4, 8, 16, 32], inlp: [1, 4, 16]}
  hidden_goals: {classes: 6, min_texts: 5, train_per_class: 60, latents: [2, 8], class_latents: [2, 4],
                 exemplar_texts: [10, 40]}
  ood_probing: {filter_label: '', classes: 6, train_per_class: 100, top_k: [1, 4, 16], pca: 16}
data: {validation: 0.2, test: 0.05}
"""


@as_tool
def main():
    parser = Parser(__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--assay", default=os.environ.get("ASSAY", "build/assay"))
    parser.add_argument("--draws", type=int, default=3, help="dictionaries of each worth")
    parser.add_argument("--documents", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--check", action="store_true", help="fail where the reliability cards say something else"
    )
    args = parser.parse_args()
    make_folder(args.out)
    rng = np.random.default_rng(args.seed)
    features = unit(rng.standard_normal((FEATURES, D)))
    write_texts(args.out / "planted.h5", features, args.documents, rng)
    run(args.assay, "index", args.out / "planted.h5", "--out", args.out / "shards")
    worth = {}
    for q in WORTHS:
        for draw in range(args.draws):
            name = f"q{round(100 * q):03d}-{draw}"
            rows = features.copy()
            lost = rng.permutation(FEATURES)[: round((1 - q) * FEATURES)]
            rows[lost] = unit(rng.standard_normal((len(lost), D)))
            write_dictionary(args.out / name, rows, draw)
            worth[name] = q
    (args.out / "eval.yaml").write_text(CONFIG)
    run(
        args.assay,
        "eval",
        *(args.out / name for name in worth),
        "--data",
        args.out / "shards",
        "--config",
        args.out / "eval.yaml",
        "--out",
        args.out,
        "--tasks",
        TASKS,
    )
    results = json.loads((args.out / "results.json").read_text())
    table = [
        {"score": name, **correlate(values, worth, rng)} for name, values in scores(results).items()
    ]
    (args.out / "truth.json").write_text(json.dumps(table, indent=1) + "\n")
    for row in table:
        print(
            f"{row['score']:<44} Spearman {row['spearman']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
        )
    if args.check:
        check(results, {row["score"]: row for row in table})


def check(results, measured):
    cards = next(task for task in results["tasks"] if task["name"] == "comparison")["details"][
        "reliability"
    ]
    for card in cards:
        score = f"{card['task']}, {card['part']} {card['metric']}"
        for kept, own in (
            ("correlation_with_truth", "spearman"),
            ("correlation_low", "low"),
            ("correlation_high", "high"),
        ):
            if abs(card.get(kept, 9) - measured[score][own]) > 6e-4:
                raise SourceError(
                    f"{score}: eval/results/planted_truth.cpp keeps {kept} {card.get(kept)}, measured "
                    f"{measured[score][own]:.3f}"
                )


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise SourceError(f"{command[0]} {command[1]} failed: {last}")


def write_texts(path, features, documents, rng):
    background = np.full((2, FEATURES), 0.04)
    background[1] *= rng.lognormal(0, 1, FEATURES)  # the shifted domain
    columns = {"x": [], "document": [], "text": [], "topic": [], "domain": [], "kind": []}
    text = 0
    for document in range(documents):
        topic = int(rng.integers(CLASSES))
        own = np.zeros(FEATURES, bool)
        own[topic * OWN : (topic + 1) * OWN] = True
        for domain in (0, 1):
            length = int(rng.integers(6, 11))
            rate = np.where(own, 0.35, background[domain])
            active = rng.random((length, FEATURES)) < np.minimum(rate, 0.5)
            strength = active * rng.lognormal(0, 0.25, (length, FEATURES))
            columns["x"].append(strength @ features + 0.05 * rng.standard_normal((length, D)))
            for key, value in (
                ("document", document),
                ("text", text),
                ("topic", topic),
                ("domain", domain),
                ("kind", document % 4 == 3),
            ):
                columns[key].append(np.full(length, value))
            text += 1
    with h5py.File(path, "w") as file:
        file["activations"] = np.concatenate(columns["x"]).astype(np.float32)
        file["document"], file["text"] = (
            np.concatenate(columns[c]).astype(np.int64) for c in ("document", "text")
        )
        names = {
            "category": ("topic", [f"topic{c}" for c in range(CLASSES)]),
            "format": ("domain", ["definition", "example"]),
            "part_of_speech": ("kind", ["noun", "verb"]),
        }
        for label, (column, classes) in names.items():
            file[f"labels/{label}"] = np.concatenate(columns[column]).astype(np.int32)
            file[f"labels/{label}"].attrs["classes"] = classes


def write_dictionary(folder, rows, seed):
    folder.mkdir(exist_ok=True)
    rows = rows.astype(np.float32)
    save_file(
        {
            "W_enc": rows,
            "W_dec": rows.copy(),
            "b_enc": np.zeros(FEATURES, np.float32),
            "b_dec": np.zeros(D, np.float32),
        },
        folder / "dictionary.safetensors",
    )
    (folder / "cfg.json").write_text(
        json.dumps(
            {
                "format": "assay-dictionary",
                "version": 1,
                "variant": "topk",
                "d": D,
                "n": FEATURES,
                "k": K,
                "model": "planted",
                "revision": "",
                "hook": "",
                "scale": 1.0,
                "data_hash": "",
                "split_rule": "",
                "tokens": 0,
                "seed": seed,
                "null_kind": "",
            }
        )
    )


def scores(results):
    """Headline values by score, the diagnostics of core, then other arms that docs/evaluation.md mentions, as
    {score: {dictionary: value}}; higher is better."""
    found, further = {}, {}
    for task in results["tasks"]:
        for score in task["scores"]:
            if score["headline"]:
                sign = 1 if score["higher_is_better"] else -1
                name = f"{task['name']}, {score['part']} {score['metric']}"
                found.setdefault(name, {})[score["dictionary"]] = sign * np.mean(
                    [c[2] for c in score["cells"]]
                )
        for number in task["numbers"]:
            if (
                task["name"],
                number["metric"],
                number["method"],
                number["part"],
            ) in FURTHER and number["dictionary"]:
                name = f"{task['name']}, {number['part']} {number['metric']} {number['method']}"
                further.setdefault(name, {})[number["dictionary"]] = number["value"]
            if (
                task["name"] == "core"
                and number["metric"] == "fvu"
                and number["part"] == "validation"
            ):
                found.setdefault("core, 1 - FVU (a diagnostic)", {})[number["dictionary"]] = (
                    1 - number["value"]
                )
            if (
                task["name"] == "saebench_probing"
                and number["dictionary"]
                and number["method"] == "latents_top1"
            ):
                found.setdefault("SAEBench sparse probing, top 1", {})[number["dictionary"]] = (
                    number["value"]
                )
    return found | further


def correlate(values, worth, rng):
    names = sorted(worth)
    x, y = np.array([worth[n] for n in names]), np.array([values[n] for n in names])
    draws = []
    while len(draws) < 1000:
        pick = rng.integers(len(names), size=len(names))
        if len(set(x[pick])) > 1 and len(set(y[pick])) > 1:
            draws.append(spearmanr(x[pick], y[pick])[0])
    low, high = np.quantile(draws, [0.025, 0.975])
    return {
        "spearman": float(spearmanr(x, y)[0]),
        "low": float(low),
        "high": float(high),
        "dictionaries": len(names),
    }


if __name__ == "__main__":
    main()
