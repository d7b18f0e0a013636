"""A small world of good inputs: what every command takes, made once by the commands themselves."""

import json

import h5py
import numpy as np

from tests.experiments.tiny_data import assay, rows, write_activations, write_dictionary

CONFIG = """data: {{path: {shards}, lanes: 1, validation: 0.2}}
model: {{n: 32, k: 4}}
train: {{steps: 4, batch: 64, checkpoint_every: 2}}
"""


def make(folder):
    """Returns the paths of the good inputs by name."""
    shards = folder / "shards"
    shards.mkdir(parents=True)
    write_activations(shards / "x.h5", rows(600), document=np.arange(600) // 10)
    assay("index", shards / "x.h5", "--out", shards)
    (folder / "c.yaml").write_text(CONFIG.format(shards=shards))
    (folder / "sweep.yaml").write_text(CONFIG.format(shards=shards) + "sweep: {k: [2, 4]}\n")
    (folder / "outside.yaml").write_text("model: {n: 32, k: 4}\ntrain: {steps: 4}\n")
    (folder / "planted.yaml").write_text("{n: 16, d: 8, l0: 2, rows: 500}\n")
    (folder / "finetune.yaml").write_text("steps: 4\n")
    write_dictionary(folder / "dict", n=32, k=4)
    assay("export", folder / "dict", "--format", "saelens", "--out", folder / "foreign")
    assay("train", folder / "c.yaml", "--out", folder / "run")
    x = write_activations(folder / "x.h5", rows(50))
    assay("encode", folder / "dict", x, "--out", folder / "codes.h5")
    assay("synthesize", folder / "planted.yaml", "--out", folder / "planted")
    assay("eval", folder / "dict", "--data", shards, "--out", folder / "run", "--tasks", "core")
    with h5py.File(folder / "corpus.h5", "w") as file:
        file.attrs["format"] = "assay-corpus"
    write_manifest(folder / "model")
    names = "shards run dict foreign planted model x.h5 codes.h5 corpus.h5".split()
    files = "c.yaml sweep.yaml outside.yaml planted.yaml finetune.yaml".split()
    return {name.removesuffix(".h5"): folder / name for name in names} | {
        f: folder / f for f in files
    }


def write_manifest(folder, **change):
    """Exported halves as far as their manifest goes; none of the code that it names."""
    folder.mkdir(parents=True)
    parts = [f"{half}_{kind}" for half in ("lower", "upper") for kind in ("compiled", "script")]
    facts = {
        "format": "assay-model-halves",
        "format_version": 1,
        "model": "tiny",
        "revision": "r",
        "tokenizer_hash": "t",
        "torch_version": "2.11.0",
        "layers": 6,
        "layer": 1,
        "d": 24,
        "d_out": 24,
        "max_length": 64,
        "vocabulary": 100,
        "cpu_flags": [],
        "files": {part: {"name": part, "sha256": "0" * 64} for part in parts},
    }
    (folder / "manifest.json").write_text(json.dumps({**facts, **change}))
    return folder
