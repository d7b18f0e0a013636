"""Dictionaries of other libraries that look right from outside, and pickles that would run code."""

import json
import pickle
import shutil
import zipfile

import numpy as np
from form import FAILURE, USAGE, Case
from safetensors.numpy import load_file, save_file

CODE = "touch"  # what a hostile pickle would run


class Hostile:
    """Unpickled by Python, it runs a command."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        import os

        return os.system, (f"{CODE} {self.marker}",)


def write_torch(path, value):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(value, protocol=2))
        archive.writestr("archive/version", "3\n")


def configurations():
    """(what, change of cfg.json, exit status, what the line says)"""
    return [
        ("an architecture of the future", {"architecture": "hypernet"}, FAILURE, ("hypernet",)),
        ("another d_sae", {"d_sae": 31}, FAILURE, ("d_sae", "31", "32")),
        ("d_sae in words", {"d_sae": "many"}, FAILURE, ("d_sae", "many")),
        ("k in words", {"k": "many"}, FAILURE, ("k", "many")),
        ("k = 0", {"k": 0}, FAILURE, ("k = 0", "n = 32")),
        ("more k than latents", {"k": 33}, FAILURE, ("k = 33",)),
        ("another normalisation", {"normalize_activations": "zca"}, FAILURE, ("zca",)),
        ("a flag that is none", {"apply_b_dec_to_input": "yes"}, FAILURE, ("yes",)),
        ("no threshold", {"architecture": "jumprelu"}, FAILURE, ("threshold",)),
    ]


def tensor_changes(tensors):
    """(what, the tensors instead, what the line says)"""
    poisoned = tensors["W_enc"].copy()
    poisoned[1, 2] = np.nan
    cut = tensors["b_dec"][:-1]
    return [
        ("no W_dec", {k: v for k, v in tensors.items() if k != "W_dec"}, ("W_dec",)),
        ("a NaN", {**tensors, "W_enc": poisoned}, ("W_enc", "not finite")),
        ("a short b_dec", {**tensors, "b_dec": cut}, ("b_dec",)),
        ("integers", {**tensors, "b_enc": tensors["b_enc"].astype(np.int32)}, ("b_enc", "I32")),
        ("a vector W_enc", {**tensors, "W_enc": tensors["W_enc"].ravel()}, ("W_enc",)),
    ]


def format_cases(folder, world):
    def case(what, source, status, says, *options):
        return "import", Case(what, [source, "--out", "OUT", *options], status, says)

    good = world["foreign"]
    cfg = json.loads((good / "cfg.json").read_text())
    tensors = load_file(good / "sae_weights.safetensors")
    for number, (what, change, status, says) in enumerate(configurations()):
        place = shutil.copytree(good, folder / f"configuration{number}")
        (place / "cfg.json").write_text(json.dumps({**cfg, **change}))
        yield case(
            what, place, status, ("cfg.json" if says != ("threshold",) else "sae_weights", *says)
        )
    for number, (what, change, says) in enumerate(tensor_changes(tensors)):
        place = shutil.copytree(good, folder / f"tensors{number}")
        save_file(change, place / "sae_weights.safetensors")
        yield case(what, place, FAILURE, ("sae_weights.safetensors", *says))
    yield case(
        "a format that is none", good, USAGE, ("safelens", "saelens"), "--format", "safelens"
    )
    yield case("another format", good, FAILURE, ("encoder.weight",), "--format", "sparsify")
    yield from pickles(folder, case)
    two = shutil.copytree(good, folder / "two")
    (two / "sae_weights.safetensors").rename(two / "one.safetensors")
    shutil.copy(two / "one.safetensors", two / "two.safetensors")
    yield case("two files to choose from", two, USAGE, ("one.safetensors", "2 files"))
    yield (
        "export",
        Case(
            "another format",
            [world["dict"], "--format", "gemma_scope", "--out", "OUT"],
            FAILURE,
            ("gemma_scope", "topk"),
        ),
    )
    yield (
        "export",
        Case(
            "a folder that is there",
            [world["dict"], "--format", "saelens", "--out", world["shards"]],
            USAGE,
            ("shards",),
        ),
    )


def pickles(folder, case):
    marker = folder / "executed"
    hostile, unknown, other = (folder / name for name in ("hostile.pt", "names.pt", "text.pt"))
    write_torch(hostile, {"W_enc": Hostile(marker)})
    yield case("a pickle that runs a command", hostile, FAILURE, ("hostile.pt", "system"))
    write_torch(unknown, {"W_enc": 3, "steps": [1, 2]})
    yield case("a pickle without tensors", unknown, FAILURE, ("names.pt",))
    other.write_text("These are no tensors.\n" * 20)
    yield case("prose", other, FAILURE, ("text.pt",))
    with zipfile.ZipFile(folder / "params.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("W_enc.npy", b"\x93NUMPY\x01\x00" + b"\x00" * 50_000_000)
    yield case("a bomb", folder / "params.npz", FAILURE, ("params.npz",))
