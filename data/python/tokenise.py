"""Turns texts into a corpus of tokens with the model's own tokenizer: what `assay harvest` reads.

    python data/python/tokenise.py --model models/minilm-l4 --texts corpus/wordnet.jsonl --out corpus/wordnet.h5

Texts come as JSONL, one {"text": ..., "document": ..., "labels": {NAME: value}} a line, or as CSV or TSV with a column
`text`; `document` is optional (each text is its own document), and every other column is a label. Strings become
classes, sorted by name; JSONL integers are kept as numbers without classes. A missing label is -1.
"""

import hashlib
import os
from pathlib import Path

import h5py
import model_source
import numpy as np
from model_source import load_pretrained
from safe_write import guard, has_attribute, say, write_beside
from table import TableError, read_table
from tool import Parser, SourceError, as_tool, integer, parse_json, read_json

FORMAT_VERSION = 1
MAX_CLASSES = 4000  # an HDF5 attribute holds 64 KiB
BLOCK = 4096


@as_tool
def main():
    parser = Parser(__doc__)
    parser.add_argument(
        "--model",
        default=model_source.DEFAULT_PACKAGE,
        help="exported halves, a model folder or a hub name: whose tokenizer is used",
    )
    parser.add_argument("--texts", type=Path, required=True, help=".jsonl, .csv or .tsv")
    parser.add_argument("--out", type=Path, required=True, help="corpus to write (.h5)")
    parser.add_argument(
        "--max-length",
        type=integer(1),
        help="tokens a text is cut to, special ones included (default: the model's)",
    )
    args = parser.parse_args()
    tokenise(args)


def tokenise(args):
    guard(args.out, [args.texts], has_attribute("format", "assay-corpus"))
    records = read_records(args.texts)
    model = describe_model(args.model)
    limit = args.max_length or model["max_length"]
    if not 1 <= limit <= model["max_length"]:
        raise SourceError(
            f"--max-length {limit}: the model takes 1 to {model['max_length']} tokens"
        )
    lengths, tokens, special, prepend_bos = encode(
        [r["text"] for r in records], model["folder"], limit
    )
    texts = [r["text"].encode() for r in records]
    with write_beside(args.out) as path, h5py.File(path, "w", track_order=True) as file:
        file["tokens"] = tokens
        file["special"] = special
        file["offsets"] = starts(lengths)
        file["document"] = np.array(
            [document_id(r.get("document"), i) for i, r in enumerate(records)], np.int64
        )
        file["text_bytes"] = np.frombuffer(b"".join(texts), np.uint8)
        file["text_offsets"] = starts([len(t) for t in texts])
        labels = file.create_group("labels")
        for name in sorted({name for r in records for name in r["labels"]}):
            write_label(labels, name, [r["labels"].get(name) for r in records])
        file.attrs.update(
            {
                "format": "assay-corpus",
                "format_version": FORMAT_VERSION,
                "model": model["model"],
                "tokenizer_hash": model["tokenizer_hash"],
                "max_length": limit,
                "prepend_bos": int(prepend_bos),
                "source_hash": model_source.sha256_file(args.texts),
            }
        )
    say(
        f"wrote {args.out}: {len(records)} texts, {len(tokens)} tokens ({int(special.sum())} special)"
    )


def read_records(path):
    if not path.is_file():
        raise SourceError(
            f"{path}: {'is a folder, name a file' if path.is_dir() else 'no such file'}"
        )
    records = []
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            read = read_csv if is_table(path) else read_jsonl
            for number, record in read(file, path):
                text = record.get("text") if isinstance(record, dict) else None
                if not isinstance(text, str) or not text:
                    raise SourceError(
                        f"{path}:{number}: expected a record with a non-empty string `text`"
                    )
                check_document(record.get("document"), f"{path}:{number}")
                record.setdefault("labels", {})
                if not isinstance(record["labels"], dict) or any(
                    type(v) not in (str, int, type(None)) for v in record["labels"].values()
                ):
                    raise SourceError(
                        f"{path}:{number}: `labels` must map names to strings or integers"
                    )
                if any(
                    isinstance(t, str) and "\0" in t for p in record["labels"].items() for t in p
                ):
                    raise SourceError(
                        f"{path}:{number}: a label holds a NUL, where names end; remove it"
                    )
                records.append(record)
    except TableError as error:
        raise SourceError(f"{path}:{error}") from error
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{path}: not UTF-8 (byte {error.start} of a block); save it as UTF-8"
        ) from error
    if not records:
        raise SourceError(f"{path}: holds no texts; expected one a line")
    return records


def read_jsonl(file, path):
    for number, line in enumerate(file, 1):
        if line.strip():
            yield number, parse_json(line, f"{path}:{number}")


def is_table(path):
    return path.suffix.lower() in (".csv", ".tsv")


def read_csv(file, path):
    for number, row in read_table(file, path.suffix.lower()):
        labels = {k: v for k, v in row.items() if k not in ("text", "document") and v}
        yield (
            number,
            {"text": row["text"], "document": row.get("document") or None, "labels": labels},
        )


def describe_model(model):
    folder = Path(model)
    manifest = read_json(folder / "manifest.json", default={})
    if manifest:
        name, limit = manifest.get("model"), manifest.get("max_length")
        if not isinstance(name, str) or type(limit) is not int or limit < 1:
            raise SourceError(
                f"{folder / 'manifest.json'}: expected a name `model` and a number `max_length`; "
                "export the model again"
            )
    else:
        source = model_source.find_model(model)
        folder, name, limit = source.folder, source.name, model_source.max_length(source.folder)
    return {
        "folder": folder,
        "model": name,
        "max_length": limit,
        "tokenizer_hash": model_source.tokenizer_hash(folder),
    }


def encode(texts, folder, limit):
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("USE_TORCH", "0")
    from transformers import AutoTokenizer

    tokenizer = load_pretrained(AutoTokenizer, folder)
    lengths, tokens, special = [], [], []
    for first in range(0, len(texts), BLOCK):
        out = tokenizer(
            texts[first : first + BLOCK],
            truncation=True,
            max_length=limit,
            return_special_tokens_mask=True,
        )
        for ids, marks in zip(out["input_ids"], out["special_tokens_mask"]):
            if not ids:
                raise SourceError(f"text {len(lengths)} has no tokens: remove it")
            lengths.append(len(ids))
            tokens.extend(ids)
            special.extend(marks)
    begins = tokenizer.bos_token_id is not None and tokens[0] == tokenizer.bos_token_id
    return lengths, np.array(tokens, np.int32), np.array(special, np.uint8), begins


def starts(lengths):
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def check_document(document, where):
    if document is None or isinstance(document, str):
        return
    if type(document) is not int or not -(2**63) <= document < 2**63:
        raise SourceError(
            f"{where}: `document` must be a string, or an integer of at most 63 bits; write it as a string"
        )


def document_id(document, text_number):
    """Integers stay; a name becomes the first 8 bytes of its SHA-256 (big-endian, sign bit cleared)."""
    if document is None:
        return text_number
    if isinstance(document, int):
        return document
    return int.from_bytes(hashlib.sha256(str(document).encode()).digest()[:8], "big") & (2**63 - 1)


def write_label(group, name, values):
    known = {type(v) for v in values if v is not None}
    if "/" in name or not name:
        raise SourceError(f"label name {name!r}: must be non-empty and without '/'")
    if len(known) > 1:
        raise SourceError(f"label {name}: has both strings and integers")
    if known == {int}:
        if any(v is not None and not 0 <= v < 2**31 for v in values):
            raise SourceError(f"label {name}: integers must lie in 0 .. 2147483647")
        group[name] = np.array([-1 if v is None else v for v in values], np.int32)
        return
    classes = sorted({v for v in values if v is not None})
    if len(classes) > MAX_CLASSES:
        raise SourceError(
            f"label {name}: {len(classes)} classes, at most {MAX_CLASSES}; give integers instead"
        )
    index = {c: i for i, c in enumerate(classes)}
    data = group.create_dataset(name, data=np.array([index.get(v, -1) for v in values], np.int32))
    data.attrs.create("classes", classes, dtype=h5py.string_dtype("utf-8"))


if __name__ == "__main__":
    main()
