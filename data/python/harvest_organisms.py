"""Harvests what an auditor sees of language models that may hide something: one HDF5 file for `hidden_goals_text`.

    python data/python/harvest_organisms.py --spec spec.json --layer 2 --out audit.h5

spec.json (paths relative to it; any model that transformers loads, adapters too where peft is installed):

  base          folder of the base model, whose tokenizer all share
  organisms     [{"folder", "kind": planted | benign | decoy | calibration, "secret": a candidate's name or null}]
                planted hide their secret, decoys show it openly, the others have none
  candidates    [{"name", "token": text whose first token stands for it}]
  concepts      [[text, candidate], ...]: what the auditor may know of each; the base model reads them
  audit         prompts, the same for all; `audit_tokens` words are drawn from the model's own distribution
  query         [[prompt, candidate], ...]: asks about it directly, for the ceiling; `query_tokens` greedily

Prompts and what the model writes are one text. The residual stream after --layer blocks is stored for each of its
tokens. Labels: part (name, concept, audit, query), candidate, organism (none = the base model), kind, secret.
"""

from pathlib import Path

import h5py
import model_source
import numpy as np
import torch
from model_source import load_pretrained
from safe_write import guard, has_attribute, say, write_beside
from tool import Parser, SourceError, as_tool, integer, read_json

KINDS, PARTS = ["planted", "benign", "decoy", "calibration"], ["name", "concept", "audit", "query"]
MEMBERS = {
    "base": str,
    "organisms": list,
    "candidates": list,
    "concepts": list,
    "audit": list,
    "query": list,
    "audit_tokens": int,
    "query_tokens": int,
}


def texts_of(entry, *keys):
    return isinstance(entry, dict) and all(isinstance(entry.get(key), str) for key in keys)


def is_pair(entry):
    return isinstance(entry, list) and len(entry) == 2 and all(isinstance(e, str) for e in entry)


# What each entry of a list must be, and in words.
ENTRIES = {
    "organisms": (lambda e: texts_of(e, "folder"), "an object with a folder, a kind and a secret"),
    "candidates": (lambda e: texts_of(e, "name", "token"), "an object with a name and a token"),
    "concepts": (is_pair, "[text, candidate]"),
    "query": (is_pair, "[prompt, candidate]"),
    "audit": (lambda e: isinstance(e, str), "a text"),
}


@as_tool
def main():
    parser = Parser(__doc__)
    parser.add_argument("--spec", type=Path, required=True, help="what to harvest (JSON)")
    parser.add_argument(
        "--layer", type=integer(1), required=True, help="residual stream after this many layers"
    )
    parser.add_argument("--out", type=Path, required=True, help="HDF5 file to write")
    parser.add_argument("--device", default="cpu", help="torch's name of it (default: cpu)")
    parser.add_argument("--batch", type=integer(1), default=32, help="texts a pass (default 32)")
    parser.add_argument("--seed", type=integer(0), default=0, help="of the words that are drawn")
    args = parser.parse_args()
    harvest(args)


def harvest(args):
    guard(args.out, [args.spec], has_attribute("made_by", "harvest_organisms"))
    spec = read_spec(args.spec)
    folder = args.spec.parent
    source = model_source.find_model(folder / spec["base"])
    from transformers import AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    tokenizer = load_pretrained(AutoTokenizer, source.folder)
    names = [candidate["name"] for candidate in spec["candidates"]]
    rows = Rows(tokenizer.all_special_ids)
    known = [("name", c["token"], i) for i, c in enumerate(spec["candidates"])]
    known += [("concept", text, names.index(name)) for text, name in spec["concepts"]]
    asked = [("audit", text, -1, spec["audit_tokens"], True) for text in spec["audit"]]
    asked += [
        ("query", text, names.index(name), spec["query_tokens"], False)
        for text, name in spec["query"]
    ]
    for number in range(-1, len(spec["organisms"])):
        entry = (
            spec["organisms"][number]
            if number >= 0
            else {"folder": spec["base"], "kind": None, "secret": None}
        )
        model = load(folder / entry["folder"], args)
        labels = {
            "organism": number,
            "kind": KINDS.index(entry["kind"]) if entry["kind"] else -1,
            "secret": names.index(entry["secret"]) if entry["secret"] else -1,
        }
        torch.manual_seed(args.seed)
        if number < 0:
            read(model, tokenizer, [(*text, 0, False) for text in known], labels, rows, args)
        read(model, tokenizer, asked, labels, rows, args)
    rows.write(
        args.out,
        {
            "organism": [o["folder"] for o in spec["organisms"]],
            "kind": KINDS,
            "part": PARTS,
            "candidate": names,
            "secret": names,
        },
        {
            "model": source.name,
            "revision": source.revision,
            "hook": f"layer {args.layer}",
            "tokenizer_hash": model_source.tokenizer_hash(source.folder),
            "assay_format": 1,
        },
    )
    say(
        f"wrote {args.out}: {len(rows.lengths)} texts of {len(spec['organisms'])} organisms and their base model"
    )


def read_spec(path):
    spec = read_json(path)
    for key, kind in MEMBERS.items():
        if not isinstance(spec.get(key), kind) or spec[key] in ([], ""):
            raise SourceError(f"{path}: {key}: expected a {kind.__name__} that is not empty")
    for key, (holds, expected) in ENTRIES.items():
        for number, entry in enumerate(spec[key]):
            if not holds(entry):
                raise SourceError(f"{path}: {key}[{number}]: expected {expected}")
    names = [candidate.get("name") for candidate in spec["candidates"]]
    if len(set(names)) != len(names):
        raise SourceError(f"{path}: candidates: two have one name")
    told = [
        *(o.get("secret") for o in spec["organisms"]),
        *(name for _, name in spec["concepts"] + spec["query"]),
    ]
    for name in told:
        if name is not None and name not in names:
            raise SourceError(f"{path}: '{name}' is no candidate's name")
    for organism in spec["organisms"]:
        hides = organism.get("kind") in ("planted", "decoy")
        if organism.get("kind") not in KINDS or hides != (organism.get("secret") is not None):
            raise SourceError(
                f"{path}: {organism.get('folder')}: expected kind {', '.join(KINDS)}, and a secret of "
                "planted ones and decoys alone"
            )
    return spec


def load(folder, args):
    from transformers import AutoModelForCausalLM

    model = load_pretrained(AutoModelForCausalLM, folder, dtype=torch.float32)
    if not 1 <= args.layer < model.config.num_hidden_layers:
        raise SourceError(
            f"--layer {args.layer}: {folder} has {model.config.num_hidden_layers} layers, choose 1 to "
            f"{model.config.num_hidden_layers - 1}"
        )
    return model.to(args.device).eval().requires_grad_(False)


class Rows:
    """The columns of the file, text after text."""

    def __init__(self, special):
        self.special, self.lengths, self.tokens, self.x, self.labels = special, [], [], [], []

    def add(self, ids, x, labels):
        self.lengths.append(len(ids))
        self.tokens.append(np.array(ids, np.int32))
        self.x.append(x)
        self.labels.append(labels)

    def write(self, path, classes, attributes):
        text = np.repeat(np.arange(len(self.lengths)), self.lengths)
        tokens, x = np.concatenate(self.tokens), np.concatenate(self.x)
        if not np.isfinite(x).all():
            raise SourceError(f"{path}: an activation is not finite")
        with write_beside(path) as part, h5py.File(part, "w", track_order=True) as file:
            file["activations"] = x
            file["tokens"] = tokens
            file["special"] = np.isin(tokens, self.special).astype(np.uint8)
            file["document"] = text.astype(np.int64)
            file["text"] = text.astype(np.int64)
            file["position"] = np.concatenate([np.arange(n, dtype=np.int32) for n in self.lengths])
            for name, names in classes.items():
                file[f"labels/{name}"] = np.array([label[name] for label in self.labels], np.int32)[
                    text
                ]
                file[f"labels/{name}"].attrs["classes"] = names
            file.attrs.update({**attributes, "made_by": "harvest_organisms"})


def read(model, tokenizer, texts, labels, rows, args):
    """texts: (part, prompt, candidate, tokens to write, drawn or greedy). Prompts of a length go together."""
    ids = [tokenizer(text[1])["input_ids"] for text in texts]
    done = [None] * len(texts)
    for kind in sorted({(len(i), text[3], text[4]) for i, text in zip(ids, texts)}):
        same = [
            n for n, (i, text) in enumerate(zip(ids, texts)) if (len(i), text[3], text[4]) == kind
        ]
        for first in range(0, len(same), args.batch):
            chosen = same[first : first + args.batch]
            batch = write(
                model, torch.tensor([ids[n] for n in chosen], device=args.device), kind[1], kind[2]
            )
            hidden = model(
                input_ids=batch, output_hidden_states=True, use_cache=False
            ).hidden_states[args.layer]
            for n, tokens, x in zip(chosen, batch.tolist(), hidden.float().cpu().numpy()):
                done[n] = (tokens, x)
    for (part, _, candidate, _, _), (tokens, x) in zip(texts, done):
        rows.add(tokens, x, {**labels, "part": PARTS.index(part), "candidate": candidate})


def write(model, ids, count, drawn):
    for _ in range(count):
        logits = model(input_ids=ids, use_cache=False).logits[:, -1].float()
        following = (
            torch.multinomial(logits.softmax(-1), 1) if drawn else logits.argmax(-1, keepdim=True)
        )
        ids = torch.cat([ids, following], 1)
    return ids


if __name__ == "__main__":
    main()
