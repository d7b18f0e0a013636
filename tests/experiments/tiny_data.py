"""Tiny dictionaries, activations and runs of the built binary for the command line's tests."""

import json
import os
import subprocess

import h5py
import numpy as np
from safetensors.numpy import load_file, save_file


def assay(*arguments, status=0, **options):
    """Runs $ASSAY. Returns stdout where status is 0, else the one line it must have left on stderr."""
    done = subprocess.run(
        [os.environ["ASSAY"], *map(str, arguments)], capture_output=True, text=True, **options
    )
    assert done.returncode == status, f"exit {done.returncode}: {done.stderr}"
    if status == 0:
        return done.stdout
    assert done.stdout == "" or arguments[0] == "eval"  # which prints what did work
    lines = done.stderr.strip().splitlines()
    assert lines and lines[-1].startswith("assay: "), done.stderr
    return lines[-1]


def assay_json(*arguments):
    return json.loads(assay(*arguments, "--json"))


def write_dictionary(folder, d=24, n=96, k=5, seed=0, **cfg):
    """A dictionary with weights of no structure and biases that matter."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    weights = {
        "W_enc": rng.standard_normal((n, d)),
        "W_dec": rng.standard_normal((n, d)),
        "b_enc": 0.5 * rng.standard_normal(n),
        "b_dec": rng.standard_normal(d),
    }
    save_file(
        {name: w.astype(np.float32) for name, w in weights.items()},
        folder / "dictionary.safetensors",
    )
    facts = dict(
        format="assay-dictionary",
        version=1,
        variant="topk",
        d=d,
        n=n,
        k=k,
        model="tiny",
        revision="r1",
        hook="layer 1",
        scale=0.5,
        data_hash="",
        split_rule="",
        tokens=1234,
        seed=seed,
        null_kind="",
    )
    (folder / "cfg.json").write_text(json.dumps({**facts, **cfg}))
    return folder


def read_weights(folder):
    return {
        name: w.astype(np.float64)
        for name, w in load_file(folder / "dictionary.safetensors").items()
    }


def rows(count, d=24, seed=1):
    return np.random.default_rng(seed).standard_normal((count, d)).astype(np.float32)


def write_activations(path, x, **extra):
    with h5py.File(path, "w") as f:
        f["activations"] = x
        for name, values in extra.items():
            f[name.replace("__", "/")] = values
    return path


def dense_codes(weights, x, k):
    """Top-k of W_enc (x − b_dec) + b_enc in float64, ReLU'd: indices and values by descending pre-activation."""
    pre = (x.astype(np.float64) - weights["b_dec"]) @ weights["W_enc"].T + weights["b_enc"]
    order = np.argsort(-pre, axis=1, kind="stable")[:, :k]
    return order, np.maximum(np.take_along_axis(pre, order, axis=1), 0)
