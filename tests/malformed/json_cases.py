"""What a dictionary, a run and exported halves say of themselves, which is JSON: malformed, or untrue."""

import json
import os
import shutil

import numpy as np
from form import DEEP, FAILURE, USAGE, Case, as_bytes
from world import write_manifest

from tests.experiments.tiny_data import write_dictionary

JSON = {
    "nothing": ("", ()),
    "an open brace": ('{"format": "F"', ()),
    "a list": ("[1]", ()),
    "null": ("null", ()),
    "text behind it": ('{"format": "F"} and more', ()),
    "100,000 brackets": ('{"format": ' + "[" * DEEP, ()),
    "bytes that are not UTF-8": (b'{"format": "\xff\xfe"}', ()),
    "a lone surrogate": ('{"format": "\\ud800"}', ()),
    "a NUL": (b'{"format": "a\x00b"}', ()),
    "another format": ('{"format": "other"}', ()),
    "nothing but the format": ('{"format": "F"}', ()),
    "NaN": ('{"format": NaN}', ()),
}


def json_files(folder, name, facts):
    """Folders that differ in their `name`: (what, folder, parts of the line)."""
    for what, (content, says) in JSON.items():
        place = folder / f"{name}-{len(list(folder.iterdir()))}"
        place.mkdir()
        content = as_bytes(content).replace(b'"F"', facts["format"])
        (place / name).write_bytes(content + b"\n" * name.endswith(".jsonl"))
        yield what, place, (name, *says)


def twice(facts, key):
    """The JSON of `facts` where `key` stands again, with another value."""
    return json.dumps(facts)[:-1] + f', "{key}": 99}}'


CFG = {
    "n in words": ({"n": "many"}, ("n",)),
    "no n": ({"n": None}, ("n",)),
    "negative n": ({"n": -3}, ("n", "-3")),
    "n beyond 64 bits": ({"n": 1e30}, ("n",)),
    "a k that is a real": ({"k": 4.5}, ("k", "4.5")),
    "k beyond n": ({"k": 33}, ("k = 33", "n = 32")),
    "scale 0": ({"scale": 0}, ("scale",)),
    "hooks in words": ({"hooks": "mlp"}, ("hooks",)),
    "another version": ({"version": 99}, ("version", "99")),
    "an unknown variant": ({"variant": "soup"}, ("soup",)),
    "seed -1": ({"seed": -1}, ("seed",)),
    "a number for the setting": ({"setting": 3}, ("setting", "3")),
}


def dictionary_cases(folder, world):
    use = lambda place: [place, world["x"], "--out", "OUT"]  # noqa: E731
    for number, (what, place, says) in enumerate(
        json_files(folder, "cfg.json", {"format": b'"assay-dictionary"'})
    ):
        shutil.copy(world["dict"] / "dictionary.safetensors", place)
        yield "encode", Case(f"cfg.json: {what}", use(place), FAILURE, says)
        command = ["decoder-shard", "inspect", "recover", "eval", "decode"][number % 5]
        arguments = {
            "decoder-shard": [place, "--out", "OUT"],
            "inspect": [place],
            "recover": [place, "--planted", world["planted"]],
            "eval": [place, "--data", world["shards"], "--out", "OUT"],
            "decode": [place, world["codes"], "--out", "OUT"],
        }[command]
        yield command, Case(f"cfg.json: {what}", arguments, FAILURE, says)
    for what, (change, says) in CFG.items():
        place = write_dictionary(folder / f"cfg {what}", **{"n": 32, "k": 4})
        facts = json.loads((place / "cfg.json").read_text()) | change
        (place / "cfg.json").write_text(json.dumps(facts))
        yield "encode", Case(f"cfg.json: {what}", use(place), FAILURE, ("cfg.json", *says))
    place = write_dictionary(folder / "cfg twice", n=32, k=4)
    facts = json.loads((place / "cfg.json").read_text())
    (place / "cfg.json").write_text(twice(facts, "k"))
    says = ("cfg.json", "'k'", "twice")
    yield "encode", Case("cfg.json: a key twice", use(place), FAILURE, says)
    good = (world["dict"] / "dictionary.safetensors").read_bytes()
    length = int.from_bytes(good[:8], "little")
    weights = {
        "nothing": b"",
        "7 bytes": good[:7],
        "a cut header": good[:60],
        "cut weights": good[:-4],
        "more than the weights": good + b"1234",
        "a header of 2^60 bytes": (2**60).to_bytes(8, "little") + good[8:],
        "a header in prose": good[:8] + b"x" * length + good[8 + length :],
        "a renamed tensor": good.replace(b'"W_enc"', b'"W_abc"'),
        "a transposed tensor": good.replace(b"[32,24]", b"[24,32]"),
        "another dtype": good.replace(b'"F32"', b'"I32"'),
        "a weight that is not finite": good[:-4] + np.float32(np.nan).tobytes(),
        "100,000 brackets": DEEP.to_bytes(8, "little") + b"[" * DEEP,
    }
    for what, content in weights.items():
        place = write_dictionary(folder / f"weights {what}", n=32, k=4)
        (place / "dictionary.safetensors").write_bytes(content)
        yield "encode", Case(f"weights: {what}", use(place), FAILURE, ("dictionary.safetensors",))


def run_cases(folder, world):
    damaged = {"results.json": {"schema": 1}, "metrics.jsonl": {}}
    for name in damaged:
        for what, place, says in json_files(folder, name, {"format": b'"x"'}):
            yield "report", Case(f"{name}: {what}", [place, "--out", "OUT"], FAILURE, says)
    place = folder / "results twice"
    place.mkdir()
    (place / "results.json").write_text(
        twice(json.loads((world["run"] / "results.json").read_text()), "seed")
    )
    says = ("results.json", "'seed'", "twice")
    yield "report", Case("a key twice", [place, "--out", "OUT"], FAILURE, says)
    step = next((world["run"] / "checkpoints").iterdir())
    for what, place, says in json_files(folder, "trainer.json", {"format": b'"x"'}):
        shutil.copy(step / "state.safetensors", place)
        yield "inspect", Case(f"trainer.json: {what}", [place], FAILURE, says)
    for name in ("checkpoints", "config.yaml", "dictionary"):
        place = folder / f"run without {name}"
        shutil.copytree(world["run"], place)
        (shutil.rmtree if (place / name).is_dir() else os.remove)(place / name)
        arguments = [place, "--model", world["model"], "--out", "OUT", "--trust-model-code"]
        yield "finetune", Case(f"a run without {name}", arguments, FAILURE, (place.name,))
    arguments = [world["c.yaml"], "--out", world["run"]]
    yield "train", Case("the same again", arguments, USAGE, ("run", "--resume"))
    place = folder / "planted"
    shutil.copytree(world["planted"], place)
    (place / "planted.yaml").write_text("d: [\n")
    arguments = [world["dict"], "--planted", place]
    yield "recover", Case("its planted.yaml", arguments, USAGE, ("planted.yaml:",))
    arguments = [world["dict"], "--planted", world["planted"]]
    yield "recover", Case("another width", arguments, USAGE, ("24", "8"))


def manifest_cases(folder, world):
    bad = {
        "d in words": dict(d="many"),
        "no files": dict(files=None),
        "a file that leads outside": dict(files={"lower_compiled": {"name": "../x", "sha256": ""}}),
        "a newer format": dict(format_version=9),
        "cpu_flags in words": dict(cpu_flags="avx"),
    }
    places = list(json_files(folder, "manifest.json", {"format": b'"assay-model-halves"'}))
    for what, change in bad.items():
        places.append((what, write_manifest(folder / f"manifest {what}", **change), ("manifest",)))
    place = write_manifest(folder / "manifest twice")
    facts = json.loads((place / "manifest.json").read_text())
    (place / "manifest.json").write_text(twice(facts, "layer"))
    places.append(("a key twice", place, ("manifest.json", "'layer'", "twice")))
    for what, place, says in places:
        arguments = ["--model", place, "--corpus", world["corpus"], "--out", "OUT"]
        yield "harvest", Case(f"manifest.json: {what}", arguments, FAILURE, says)
