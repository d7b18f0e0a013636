"""Tables of texts: every dialect people save, and one line with its number for those that do not hold together."""

import csv
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "data" / "python"))
import tokenise  # noqa: E402

ROWS = [
    {"text": "one, two; three", "kind": "a", "document": "x"},
    {"text": 'says "hello"\nand\tgoes', "kind": "b", "document": "x"},
    {"text": "naïve", "kind": "", "document": ""},
]


def read(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return tokenise.read_records(path)


def refused(path, content):
    with pytest.raises(tokenise.SourceError) as error:
        read(path, content)
    assert "\n" not in str(error.value)
    return str(error.value)


def plain(records):
    return [
        {"text": r["text"], "kind": r["labels"].get("kind", ""), "document": r["document"] or ""}
        for r in records
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize(
    "name,delimiter", [("t.csv", ","), ("t.csv", ";"), ("t.csv", "\t"), ("t.tsv", "\t")]
)
def test_dialects(tmp_path, name, delimiter, bom, end):
    with open(tmp_path / "written", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ROWS[0], delimiter=delimiter, lineterminator=end)
        writer.writeheader()
        writer.writerows(ROWS)
        file.write(end)  # a blank line is no row
    records = read(tmp_path / name, bom + (tmp_path / "written").read_bytes())
    assert plain(records) == ROWS


def test_long_fields_bom_in_jsonl_and_a_saved_index(tmp_path):
    long = "word " * 100_000
    [record] = read(tmp_path / "t.csv", f",text,kind\n0,{long},a\n")
    assert record["text"] == long and record["labels"] == {"kind": "a"}
    [record] = read(tmp_path / "t.jsonl", b"\xef\xbb\xbf" + json.dumps({"text": "a"}).encode())
    assert record["text"] == "a"


@pytest.mark.parametrize(
    "content,parts",
    [
        ("text,kind\na,b\nc,d,e\n", ["t.csv:3:", "3 fields", "header has 2"]),
        ("text,kind\na,b\nc\n", ["t.csv:3:", "1 fields"]),
        ('text,kind\n"a\nb",x\nc,d,e\n', ["t.csv:4:", "3 fields"]),
        ("text,kind,kind\na,b,c\n", ["t.csv:1:", "'kind' appears twice"]),
        ("text,text\na,b\n", ["t.csv:1:", "'text' appears twice"]),
        ('text,kind\na,b\n"c,d\ne,f\n', ["t.csv:3:", "never closed"]),
        ('text,kind\na,b\n"c"d,e\n', ["t.csv:3:", "quote"]),
        ("texts,kind\na,b\n", ["t.csv:1:", "no column `text`", "texts, kind"]),
        ("text,kind\na,b\n,c\n", ["t.csv:3", "non-empty"]),
        ("text,kind\na,b\0c\n", ["t.csv:2", "NUL"]),
        ("text,ki\0nd\na,b\n", ["t.csv:2", "NUL"]),
        ("", ["t.csv:1:", "no column `text`"]),
    ],
)
def test_what_does_not_fit_is_named_with_its_line(tmp_path, content, parts):
    line = refused(tmp_path / "t.csv", content)
    assert all(part in line for part in parts), line


def test_nul_in_the_labels_of_jsonl(tmp_path):
    text = json.dumps({"text": "a", "labels": {"kind": "x\0y"}})
    assert "t.jsonl:1" in refused(tmp_path / "t.jsonl", text + "\n")
