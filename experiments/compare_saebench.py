"""Our numbers beside SAEBench 0.6.0's own functions, on the same activations and the same dictionary.

    bash experiments/saebench_setup.sh
    build/assay eval RUN --data SHARDS --tasks core,saebench_probing --null none --out OUT
    .venv-saebench/bin/python experiments/compare_saebench.py OUT/results.json --data SHARDS --dictionary RUN

Calls the package's get_sparsity_and_variance_metrics (core) and its top-k selection and probe training (sparse probing)
on texts sampled as `assay eval` samples them, prints both columns, and fails where two that share a definition differ
by more than 1e-3. Explained variance does not share one: it is printed for the record.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
import yaml
from safetensors.numpy import load_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "data" / "python"))
from tool import Parser, SourceError, as_tool, open_h5, read_json, shard_files  # noqa: E402

MASK = (1 << 64) - 1
TOLERANCE = 1e-3
ROWS = 2048


def mix64(z):
    z = (z + 0x9E3779B97F4A7C15) & MASK
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def split_of(document, validation, test, seed):
    unit = (
        mix64(mix64(int(document) & MASK) ^ mix64((seed + 0x5EED5EED5EED) & MASK)) >> 11
    ) * 2.0**-53
    return "test" if unit < test else "validation" if unit < test + validation else "train"


def derive_seed(seed, *path):
    result = mix64(seed)
    for step in path:
        result = mix64(result ^ ((int(step) * 0xD1342543DE82EF95 + 1) & MASK))
    return result


@as_tool
def main():
    parser = Parser(__doc__)
    parser.add_argument(
        "results", type=Path, help="results.json of assay eval with tasks core and saebench_probing"
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="the shards that were evaluated on"
    )
    parser.add_argument(
        "--dictionary", type=Path, required=True, help="the dictionary that was evaluated"
    )
    parser.add_argument("--json", type=Path, help="also write the table here")
    args = parser.parse_args()
    results = read_json(args.results)
    data = load_shards(args.data)
    dictionary = Dictionary(args.dictionary)
    table = compare_core(results, data, dictionary) + compare_probing(results, data, dictionary)
    print(f"{'metric':<36}{'assay':>12}{'SAEBench':>12}{'difference':>13}")
    for row in table:
        note = "" if row["same_definition"] else "   another definition"
        print(
            f"{row['metric']:<36}{row['assay']:>12.6f}{row['saebench']:>12.6f}"
            f"{row['assay'] - row['saebench']:>+13.6f}{note}"
        )
    if args.json:
        args.json.write_text(json.dumps(table, indent=1) + "\n")
    apart = [
        r["metric"]
        for r in table
        if r["same_definition"] and abs(r["assay"] - r["saebench"]) > TOLERANCE
    ]
    if apart:
        raise SourceError(f"differ by more than {TOLERANCE}: {', '.join(apart)}")


def load_shards(folder):
    parts, classes = [], {}
    for path in shard_files(folder):
        with open_h5(path, "activations", "document", "special", "text") as file:
            x = file["activations"][:]
            if x.dtype == np.uint16:
                x = (x.astype(np.uint32) << 16).view(np.float32)
            part = {
                "x": x,
                "document": file["document"][:],
                "special": file["special"][:] | (file["sink"][:] if "sink" in file else 0),
                "text": file["text"][:],
            }
            for name in file.get("labels", ()):
                part["label " + name] = file["labels"][name][:]
                classes[name] = [str(c) for c in file["labels"][name].attrs["classes"]]
            parts.append(part)
    data = {key: np.concatenate([p[key] for p in parts]) for key in parts[0]}
    data["classes"] = classes
    return data


class Dictionary:
    """A TopK dictionary of ours behind the interface that the package expects of an SAE."""

    def __init__(self, path):
        folder = path / "dictionary" if (path / "dictionary").is_dir() else path
        info = read_json(folder / "cfg.json")
        if info.get("encoding", "topk") != "topk":
            raise SourceError(f"{path} encodes by {info['encoding']}; this script knows topk")
        weights = load_file(folder / "dictionary.safetensors")
        self.w = {k: torch.from_numpy(v) for k, v in weights.items()}
        self.k, self.device = info["k"], "cpu"
        self.cfg = SimpleNamespace(
            hook_name="hook", hook_head_index=None, hook_layer=0, d_sae=info["n"]
        )

    def encode(self, x):
        pre = (x - self.w["b_dec"]) @ self.w["W_enc"].T + self.w["b_enc"]
        values, indices = torch.topk(pre, self.k, dim=-1)
        return torch.zeros_like(pre).scatter(-1, indices, values.relu())

    def decode(self, z):
        return z @ self.w["W_dec"] + self.w["b_dec"]


def number(results, task, metric, method="", part=None):
    for t in results.get("tasks", ()):
        for n in t["numbers"] if t["name"] == task else []:
            if n["metric"] == metric and n["method"] == method and part in (None, n["part"]):
                return n["value"]
    raise SourceError(
        f"the results have no {metric} of task {task}: evaluate with "
        "--tasks core,saebench_probing --null none"
    )


def compare_core(results, data, dictionary):
    from sae_bench.evals.core.main import get_sparsity_and_variance_metrics

    rule = dict(item.split("=") for item in results["split_rule"].split(","))
    documents = {
        d
        for d in np.unique(data["document"])
        if split_of(d, float(rule["validation"]), float(rule["test"]), int(rule["seed"]))
        == "validation"
    }
    rows = np.isin(data["document"], list(documents)) & (data["special"] == 0)
    x = torch.from_numpy(data["x"][rows].astype(np.float32))
    blocks = list(torch.split(x, ROWS))
    queue = iter(range(len(blocks)))

    def run_with_cache(tokens, **_):
        return None, {"hook": blocks[int(tokens[0, 0])].unsqueeze(1)}

    def get_batch_tokens(_):
        i = next(queue)
        return torch.full((len(blocks[i]), 1), i)

    store = SimpleNamespace(get_batch_tokens=get_batch_tokens)
    with torch.no_grad():
        theirs, _ = get_sparsity_and_variance_metrics(
            dictionary,
            SimpleNamespace(run_with_cache=run_with_cache),
            store,
            len(blocks),
            True,
            True,
            True,
            False,
            ROWS,
            {},
        )
    ours = {
        m: number(results, "core", m, part="validation")
        for m in ("l0", "cosine", "l2_ratio", "fvu")
    }
    return [
        row("L0", ours["l0"], theirs["l0"]),
        row("cosine", ours["cosine"], theirs["cossim"]),
        row("norm ratio", ours["l2_ratio"], theirs["l2_ratio"]),
        row("explained variance (1 - FVU)", 1 - ours["fvu"], theirs["explained_variance"], False),
        row(
            "explained variance, their legacy",
            1 - ours["fvu"],
            theirs["explained_variance_legacy"],
            False,
        ),
    ]


def row(metric, assay, saebench, same_definition=True):
    return {
        "metric": metric,
        "assay": assay,
        "saebench": saebench,
        "same_definition": same_definition,
    }


def compare_probing(results, data, dictionary):
    from sae_bench.evals.sparse_probing import probe_training as theirs

    settings = next(
        t["details"]["settings"] for t in results["tasks"] if t["name"] == "saebench_probing"
    )
    config = yaml.safe_load(settings)
    texts = text_table(data)
    cells = plan(texts, data["classes"], config, results["seed"])
    wanted = np.unique(
        np.concatenate([np.concatenate([train[0], test[0]]) for train, test in cells])
    )
    pooled = pool(data, texts, wanted, dictionary)
    scores = {}
    for (train, y), (test, truth) in cells:
        for method, features in pooled.items():
            x, held = (
                torch.from_numpy(features[np.searchsorted(wanted, part)]) for part in (train, test)
            )
            labels = torch.from_numpy(y.astype(np.int32))
            ks = [None] if method == "dense" else [1, 2, 5]
            for k in ks:
                a, b = x, held
                if k:
                    mask = theirs.get_top_k_mean_diff_mask(x, labels, k)
                    a, b = (theirs.apply_topk_mask_reduce_dim(v, mask) for v in (x, held))
                _, accuracy = theirs.train_sklearn_probe(
                    a, labels, b, torch.from_numpy(truth.astype(np.int32))
                )
                scores.setdefault(f"latents_top{k}" if k else "dense", []).append(accuracy)
    return [
        row(
            f"sparse probing, {m}",
            number(results, "saebench_probing", "saebench_accuracy", m),
            float(np.mean(v)),
        )
        for m, v in scores.items()
    ]


def text_table(data):
    first = np.flatnonzero(np.r_[True, data["text"][1:] != data["text"][:-1]])
    ordinary = data["special"] == 0
    counts = np.add.reduceat(ordinary.astype(np.int64), first)
    table = {
        "first": first,
        "rows": np.diff(np.r_[first, len(data["text"])]),
        "ordinary": counts,
        "number": data["text"][first],
        "document": data["document"][first],
    }
    inside = first + np.array(
        [int(np.argmax(ordinary[f : f + r])) for f, r in zip(first, table["rows"])]
    )
    for key in data:
        if key.startswith("label "):
            table[key] = data[key][inside]
    return table


def plan(texts, classes, config, seed):
    """The cells of eval/tasks/probing/sample.cpp, the ID test cut to as many negatives as positives."""
    ood = config["eval"]["ood_probing"] if "eval" in config else config["ood_probing"]
    seeds = config["eval"]["seeds"] if "eval" in config else config["seeds"]
    category, domain = texts["label " + ood["class_label"]], texts["label " + ood["domain_label"]]
    keep = (category >= 0) & (texts["ordinary"] > 0)
    if ood["filter_label"]:
        keep &= texts["label " + ood["filter_label"]] == classes[ood["filter_label"]].index(
            ood["filter_class"]
        )
    source, target = (
        keep & (domain == classes[ood["domain_label"]].index(ood[side]))
        for side in ("source", "target")
    )
    plan_seed, runs = derive_seed(seed, ord("p")), []
    for run in range(2 * seeds):
        half_seed = derive_seed(plan_seed, 0, run // 2)
        wanted = "train" if run % 2 else "validation"
        sides = {d: split_of(d, 0.5, 0, half_seed) == wanted for d in np.unique(texts["document"])}
        tested = np.array([sides[d] for d in texts["document"]])
        keys = np.array([derive_seed(half_seed, 1, n) for n in texts["number"]], dtype=np.uint64)
        order = np.argsort(keys, kind="stable")
        runs.append(
            [
                order[(mask & side)[order]]
                for mask, side in ((source, ~tested), (source, tested), (target, tested))
            ]
        )
    count = len(classes[ood["class_label"]])
    tallies = [[np.bincount(category[part], minlength=count) for part in run] for run in runs]
    enough = [
        c
        for c in range(count)
        if all(t[0][c] >= 10 and t[1][c] >= 1 and t[2][c] >= ood["min_target"] for t in tallies)
    ]
    total = np.bincount(category[target], minlength=count)
    chosen = sorted(enough, key=lambda c: -total[c])[: ood["classes"]]
    cells = []
    for c in chosen:
        for train, test, _ in runs:
            positive = [part[category[part] == c] for part in (train, test)]
            negative = [part[category[part] != c] for part in (train, test)]
            each = [
                min(len(positive[0]), ood["train_per_class"]),
                min(len(positive[1]), ood["test_positives"]),
            ]
            each[1] = min(each[1], len(negative[1]), ood["test_negatives"])
            cells.append(
                [
                    (
                        np.r_[positive[i][: each[i]], negative[i][: each[i]]],
                        np.repeat([1, 0], [each[i], min(each[i], len(negative[i]))]),
                    )
                    for i in (0, 1)
                ]
            )
    return cells


def pool(data, texts, wanted, dictionary):
    """Means over ordinary tokens: of activations and of codes."""
    dense = np.empty((len(wanted), data["x"].shape[1]), np.float32)
    codes = np.empty((len(wanted), dictionary.cfg.d_sae), np.float32)
    for at in range(0, len(wanted), 256):
        block = wanted[at : at + 256]
        rows = [np.arange(texts["first"][t], texts["first"][t] + texts["rows"][t]) for t in block]
        rows = [r[data["special"][r] == 0] for r in rows]
        x = torch.from_numpy(data["x"][np.concatenate(rows)].astype(np.float32))
        z = dictionary.encode(x).numpy()
        start = np.cumsum([0] + [len(r) for r in rows])[:-1]
        lengths = np.array([[len(r)] for r in rows])
        dense[at : at + 256] = np.add.reduceat(x.numpy().astype(np.float64), start) / lengths
        codes[at : at + 256] = np.add.reduceat(z.astype(np.float64), start) / lengths
    return {"dense": dense, "latents": codes}


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
