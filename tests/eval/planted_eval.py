"""Labelled activations and a dictionary that `assay eval` is tested on, and its splits in Python."""

import json
import os
import subprocess

import h5py
import numpy as np
from safetensors.numpy import save_file

ASSAY = os.environ.get("ASSAY", "build/assay")
D, CLASSES, DOCUMENTS, N, K = 16, 3, 240, 64, 6
MASK = (1 << 64) - 1


def assay(*arguments):
    """The command's end, whatever its status."""
    return subprocess.run(
        [ASSAY, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def mix64(z):
    """One step of splitmix64, as kernels/base/mix64.h has it."""
    z = (z + 0x9E3779B97F4A7C15) & MASK
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def split_of(document, validation, test, seed):
    h = mix64(mix64(document & MASK) ^ mix64((seed + 0x5EED5EED5EED) & MASK))
    unit = (h >> 11) * 2.0**-53
    return "test" if unit < test else "validation" if unit < test + validation else "train"


def derive_seed(seed, *path):
    result = mix64(seed)
    for step in path:
        result = mix64(result ^ ((step * 0xD1342543DE82EF95 + 1) & MASK))
    return result


def make_planted(folder):
    """A data set written by h5py, its index by assay, and a dictionary written by safetensors."""
    rng = np.random.default_rng(0)
    rows = []
    text = 0
    for document in range(DOCUMENTS):
        category = int(rng.integers(CLASSES))
        for fmt in (0, 1):
            length = int(rng.integers(4, 9))
            for i in range(length):
                special = i in (0, length - 1)
                x = (
                    np.full(D, 500.0)
                    if special
                    else rng.normal(size=D) + (np.arange(D) == category) * 1.0
                )
                rows.append((x, document * 31 + 5, special, text, i, category, fmt))
            text += 1
    columns = [np.array(c) for c in zip(*rows)]
    data = dict(
        zip(["x", "document", "special", "text", "position", "category", "format"], columns)
    )
    data["x"] = data["x"].astype(np.float32)
    with h5py.File(folder / "planted.h5", "w") as f:
        f.create_dataset("activations", data=data["x"], chunks=(200, D))
        for name, dtype in [
            ("document", "i8"),
            ("special", "u1"),
            ("text", "i8"),
            ("position", "i4"),
        ]:
            f.create_dataset(name, data=data[name].astype(dtype))
        for name, classes in [("category", ["a", "b", "c"]), ("format", ["definition", "example"])]:
            label = f.create_dataset(f"labels/{name}", data=data[name].astype("i4"))
            label.attrs["classes"] = classes
    indexed = assay("index", folder / "planted.h5", "--out", folder / "shards")
    assert indexed.returncode == 0, indexed.stderr
    weights = {
        "W_enc": rng.normal(size=(N, D)),
        "W_dec": 0.2 * rng.normal(size=(N, D)),
        "b_enc": 0.1 * rng.normal(size=N),
        "b_dec": 0.3 * rng.normal(size=D),
    }
    weights = {name: value.astype(np.float32) for name, value in weights.items()}
    write_dictionary(folder / "dict", weights)
    (folder / "eval.yaml").write_text(
        "eval:\n  seeds: 1\n  ood_probing:\n    filter_label: ''\n    min_target: 5\n"
        "    top_k: [1, 4]\n    pca: 4\n    neighbours: 8\n"
        "data:\n  validation: 0.25\n  test: 0.1\n  split_seed: 4\n"
    )
    return data, weights


def write_dictionary(folder, weights, **facts):
    folder.mkdir(parents=True)
    save_file(weights, folder / "dictionary.safetensors")
    n, d = weights["W_enc"].shape
    (folder / "cfg.json").write_text(
        json.dumps(
            {
                "format": "assay-dictionary",
                "version": 1,
                "variant": "topk",
                "d": d,
                "n": n,
                "k": K,
                "model": "",
                "revision": "",
                "hook": "",
                "scale": 1.0,
                "data_hash": "",
                "split_rule": "",
                "tokens": 0,
                "seed": 0,
                "null_kind": "",
                **facts,
            }
        )
    )
