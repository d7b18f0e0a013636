"""Names that are not UTF-8, as any file system may hold them: every command takes them, and --json stays JSON."""

import json
import os
import subprocess

import h5py
import numpy as np
from tiny_data import rows, write_activations

ASSAY = os.fsencode(os.environ["ASSAY"])
CONFIG = b"data: {path: %s, mix_documents: 1}\nmodel: {n: 32, k: 4}\ntrain: {steps: 4, batch: 64}\n"


def run(*arguments):
    done = subprocess.run([ASSAY, *arguments], capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_command_takes_them(tmp_path):
    place = os.fsencode(tmp_path)
    shard, cache, first, second = (
        os.path.join(place, name) for name in (b"x\xfe.h5", b"set\xff", b"r\xfd", b"r\xfe")
    )
    write_activations(shard, rows(600), document=np.arange(600) // 10)
    with h5py.File(shard, "a") as file:
        file.attrs["model"] = np.bytes_(b"m\xff")
    summary = json.loads(run(b"index", shard, b"--out", cache, b"--json"))
    assert summary["rows"] == 600 and summary["path"].endswith("set\N{REPLACEMENT CHARACTER}")
    assert b'path_hex: "' + shard.hex().encode() + b'"' in open(cache + b"/index.yaml", "rb").read()
    config = os.path.join(place, b"c\xfd.yaml")
    with open(config, "wb") as file:
        file.write(CONFIG % cache)
    for out in (first, second):
        assert json.loads(run(b"train", config, b"--out", out, b"--json"))["step"] == 4
        assert b"already finished" in run(b"train", config, b"--out", out, b"--resume", b"auto")
    scores = os.path.join(place, b"scores\xfc")
    run(b"eval", first, second, b"--data", cache, b"--out", scores, b"--tasks", b"core")
    results = json.load(open(scores + b"/results.json", "rb"))
    names = [entry["name"] for entry in results["dictionaries"] if not entry["null_kind"]]
    assert names == ["r\N{REPLACEMENT CHARACTER}", "r\N{REPLACEMENT CHARACTER}-2"]
    run(b"report", scores, first, b"--out", scores)
    for path in (cache, first):
        assert json.loads(run(b"inspect", path, b"--json"))
    codes = os.path.join(place, b"c\xfb.h5")
    assert json.loads(run(b"encode", first, cache, b"--out", codes, b"--json"))["rows"] == 600
    run(b"decode", first, codes, b"--out", os.path.join(place, b"x\xfa.h5"), b"--json")
