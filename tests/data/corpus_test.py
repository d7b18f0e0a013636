"""Corpora: what tokenise.py makes of odd texts, and what `assay harvest` says of broken files."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

REPO = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPO / "tests" / "sae")]
from model_half_cache import cached_model  # noqa: E402


@pytest.fixture(scope="session")
def model():
    folder, trust = cached_model()
    os.environ["ASSAY_TRUST_FILE"] = str(trust)
    return folder


def tokenise(model, texts, out, *more):
    tool = REPO / "data/python/tokenise.py"
    return subprocess.run(
        [sys.executable, tool, "--model", model, "--texts", texts, "--out", out, *more],
        capture_output=True,
        text=True,
    )


def harvest(model, corpus, out):
    return subprocess.run(
        [os.environ["ASSAY"], "harvest", "--model", model, "--corpus", corpus, "--out", out],
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="session")
def good(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    lines = [
        "text,document,mood",
        '"a ""quoted"" text",x,glad',
        "naïve café — 東京,x,sad",
        "plain,y,",
    ]
    (folder / "t.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = tokenise(model, folder / "t.csv", folder / "c.h5", "--max-length", "5")
    assert done.returncode == 0, done.stderr
    return folder / "c.h5"


def test_csv_becomes_tokens_and_classes(model, good):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(5)
    texts = ['a "quoted" text', "naïve café — 東京", "plain"]
    with h5py.File(good) as file:
        assert file["tokens"][:].tolist() == [i for t in texts for i in tokenizer.encode(t).ids]
        assert np.diff(file["offsets"][:]).tolist() == [5, 5, 3]
        assert file["text_bytes"][:].tobytes().decode() == "".join(texts)
        assert file["labels/mood"].attrs["classes"].tolist() == ["glad", "sad"]
        assert file["labels/mood"][:].tolist() == [0, 1, -1]
        assert file["document"][0] == file["document"][1] != file["document"][2]


@pytest.mark.parametrize(
    "content,expected",
    [
        ('{"text": "a"}\n{"text": 3}\n', "t.jsonl:2"),
        ('{"text": "a"}\nnot json\n', "t.jsonl:2"),
        ("", "holds no texts"),
        ('{"text": "a", "labels": {"x": 1.5}}\n', "strings or integers"),
        (
            '{"text": "a", "labels": {"x": 1}}\n{"text": "a", "labels": {"x": "b"}}\n',
            "both strings and integers",
        ),
        ('{"text": "a", "labels": {"x": -4}}\n', "0 .. 2147483647"),
    ],
)
def test_bad_texts_are_one_line(model, tmp_path, content, expected):
    (tmp_path / "t.jsonl").write_text(content)
    done = tokenise(model, tmp_path / "t.jsonl", tmp_path / "c.h5")
    assert done.returncode == 1 and expected in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.glob("c.h5*"))


def put(name, index, value):
    def change(file):
        file[name][index] = value

    return change


def shorten(name):
    def change(file):
        values, attributes = file[name][:-1], dict(file[name].attrs)
        del file[name]
        file[name] = values
        file[name].attrs.update(attributes)

    return change


def remove(name):
    def change(file):
        del file[name]

    return change


def set_attribute(name, value):
    def change(file):
        file.attrs[name] = value

    return change


def huge(file):
    del file["tokens"]
    file.create_dataset("tokens", shape=(2**45,), dtype="i4", chunks=(1024,))


def elsewhere(file):
    del file["tokens"]
    file["tokens"] = h5py.ExternalLink("/etc/passwd", "/tokens")


@pytest.mark.parametrize(
    "change,expected",
    [
        (put("offsets", 1, -(2**63)), "/offsets: text 0"),
        (put("offsets", 1, 2**63 - 1), "/offsets: text 0"),
        (put("offsets", 1, 0), "/offsets: text 0"),
        (put("offsets", 3, 12), "/offsets must go from 0"),
        (set_attribute("max_length", 4), "a text has 1 to 4"),
        (put("tokens", 2, -1), "/tokens[2] = -1"),
        (put("tokens", 2, 2**31 - 1), "vocabulary"),
        (put("special", 2, 7), "/special[2] = 7"),
        (shorten("special"), "/special has"),
        (shorten("document"), "/document has"),
        (put("text_offsets", 1, 2**40), "/text_offsets: text 0"),
        (put("labels/mood", 0, 2), "/labels/mood[0] = 2"),
        (shorten("labels/mood"), "/labels/mood has"),
        (remove("tokens"), "no data set /tokens"),
        (set_attribute("format", "x"), "not a corpus"),
        (set_attribute("format_version", 9), "format 9"),
        (set_attribute("tokenizer_hash", "other"), "tokenise.py"),
        (huge, "/tokens"),
        (elsewhere, "/tokens"),
    ],
)
def test_broken_corpora_are_one_line(model, good, tmp_path, change, expected):
    path = tmp_path / "c.h5"
    path.write_bytes(good.read_bytes())
    with h5py.File(path, "r+") as file:
        change(file)
    done = harvest(model, path, tmp_path / "o")
    lines = [line for line in done.stderr.splitlines() if line.startswith("assay: ")]
    assert done.returncode in (1, 2) and len(lines) == 1 and expected in lines[0], done.stderr


def test_cut_file(model, good, tmp_path):
    (tmp_path / "c.h5").write_bytes(good.read_bytes()[:4000])
    done = harvest(model, tmp_path / "c.h5", tmp_path / "o")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "c.h5" in done.stderr
