"""Harvests activations of any `transformers` model by forward hooks, several hooks in one pass, into Assay's shards.

    python data/python/harvest_hooks.py --model MODEL --texts texts.jsonl --hooks model.layers.12 model.layers.12.mlp \\
        --out shards/llm --dtype bf16 --device-map auto
    build/assay index shards/llm/*.h5 --out shards/llm

A hook is a module's name (--list-hooks prints them); its output, or the first part of it, must be [batch, tokens, d].
The first hook becomes /activations, each further one /hooks/NAME (dots become underscores), row by row of the same
tokens.
On several ranks (RANK and WORLD_SIZE, as torchrun sets them; or --rank and --ranks) each takes every R-th text and
writes files of its own, rank-RRRRR-PPPPP.h5, a part for every --texts-per-file of its texts. Started again after a
kill, a rank goes on behind its whole files.
"""

import os
from pathlib import Path

import h5py
import model_source
import numpy as np
import torch
from model_source import load_pretrained
from safe_write import say, write_beside
from tokenise import document_id, read_records
from tool import Parser, SourceError, as_tool, integer, open_h5

DTYPES = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}
CHUNK_BYTES = 8 << 20


@as_tool
def main():
    parser = Parser(__doc__)
    parser.add_argument("--model", required=True, help="a model folder or a hub name")
    parser.add_argument("--texts", type=Path, help=".jsonl or .csv, as tokenise.py reads them")
    parser.add_argument("--out", type=Path, help="folder for the files")
    parser.add_argument("--hooks", nargs="+", default=[], help="names of modules")
    parser.add_argument(
        "--list-hooks", action="store_true", help="print the modules' names and stop"
    )
    parser.add_argument(
        "--dtype", choices=DTYPES, default="bf16", help="stored type (default: bf16)"
    )
    parser.add_argument(
        "--model-dtype", choices=DTYPES, default="bf16", help="the model's own type (default: bf16)"
    )
    parser.add_argument(
        "--context", type=integer(1), default=512, help="tokens a text is cut to (default: 512)"
    )
    parser.add_argument("--batch", type=integer(1), default=16, help="texts a pass (default: 16)")
    parser.add_argument(
        "--texts-per-file",
        type=integer(1),
        default=4096,
        help="a kill loses at most these (default: 4096)",
    )
    parser.add_argument(
        "--device-map", help="as transformers takes it (auto, balanced, cuda:0; needs accelerate)"
    )
    parser.add_argument("--rank", type=integer(0), default=os.environ.get("RANK", "0"))
    parser.add_argument("--ranks", type=integer(1), default=os.environ.get("WORLD_SIZE", "1"))
    args = parser.parse_args()
    harvest(args)


def harvest(args):
    source = model_source.find_model(args.model)
    model, tokenizer = load(source.folder, args)
    if args.list_hooks:
        print("\n".join(name for name, _ in model.named_modules() if name))
        return
    check(args, model)
    records = read_records(args.texts)
    mine = list(range(args.rank, len(records), args.ranks))
    facts = {
        "assay_format": 1,
        "model": source.name,
        "revision": source.revision,
        "hook": args.hooks[0],
        "tokenizer_hash": model_source.tokenizer_hash(source.folder),
        "context_length": args.context,
        "source_hash": model_source.sha256_file(args.texts),
        "further_hooks": " ".join(args.hooks[1:]),
        "stored": args.dtype,
        "computed": args.model_dtype,
        "ranks": args.ranks,
        "texts_per_file": args.texts_per_file,
    }
    rows = 0
    for part, first in enumerate(range(0, len(mine), args.texts_per_file)):
        path = args.out / f"rank-{args.rank:05}-{part:05}.h5"
        if path.exists():
            require_same(path, facts)
            continue
        columns = run(model, tokenizer, records, mine[first : first + args.texts_per_file], args)
        write(path, columns, facts, args)
        rows += len(columns["tokens"])
    say(
        f"{args.out}: rank {args.rank} of {args.ranks} wrote {rows} rows; "
        f"when all have, run: assay index {args.out}/*.h5 --out {args.out}"
    )


def load(folder, args):
    from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    options = {"dtype": DTYPES[args.model_dtype]}
    if args.device_map:
        options["device_map"] = args.device_map
    try:
        model = load_pretrained(AutoModelForCausalLM, folder, **options)
    except SourceError as error:
        if "Unrecognized configuration class" not in str(error):
            raise
        model = load_pretrained(AutoModel, folder, **options)
    tokenizer = load_pretrained(AutoTokenizer, folder)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.pad_token is None:
        raise SourceError(f"{folder}: its tokenizer has neither a padding nor an end token")
    tokenizer.padding_side = "right"
    return model.eval().requires_grad_(False), tokenizer


def check(args, model):
    known = dict(model.named_modules())
    for hook in args.hooks:
        if hook not in known or not hook:
            raise SourceError(f"--hooks {hook}: no such module; --list-hooks prints them")
    if not args.hooks or len(set(args.hooks)) != len(args.hooks):
        raise SourceError("--hooks: name one or more different modules; --list-hooks prints them")
    if args.out is None or args.texts is None:
        raise SourceError("--texts and --out are required")
    if args.rank >= args.ranks:
        raise SourceError(f"--rank {args.rank}: expected 0 to {args.ranks - 1}")


def require_same(path, facts):
    with open_h5(path) as file:
        for key, value in facts.items():
            if file.attrs.get(key) != value:
                raise SourceError(
                    f"{path}: cannot go on: {key} was {file.attrs.get(key)} there and is {value} now; "
                    "use another folder or delete this one"
                )


class Hooks:
    """Keeps what the named modules gave in the last pass, on the CPU."""

    def __init__(self, model, names):
        self.last = {}
        modules = dict(model.named_modules())
        self.handles = [modules[name].register_forward_hook(self.keeper(name)) for name in names]

    def keeper(self, name):
        def keep(_module, _inputs, output):
            output = output[0] if isinstance(output, (tuple, list)) else output
            if not isinstance(output, torch.Tensor) or output.ndim != 3:
                raise SourceError(f"--hooks {name}: its output is no [batch, tokens, d] tensor")
            if name in self.last:
                raise SourceError(f"--hooks {name}: runs more than once a pass")
            self.last[name] = output.detach()

        return keep

    def take(self):
        last, self.last = self.last, {}
        return last

    def close(self):
        for handle in self.handles:
            handle.remove()


def run(model, tokenizer, records, numbers, args):
    """The rows of these texts, in their order: columns, and one array a hook."""
    hooks = Hooks(model, args.hooks)
    parts = {name: [] for name in (*args.hooks, "tokens", "document", "position", "special")}
    device = next(model.parameters()).device
    special_ids = torch.tensor(tokenizer.all_special_ids)
    try:
        for first in range(0, len(numbers), args.batch):
            chosen = numbers[first : first + args.batch]
            batch = tokenizer(
                [records[i]["text"] for i in chosen],
                return_tensors="pt",
                padding=True,
                truncation=True,
                max_length=args.context,
            )
            ids, mask = batch["input_ids"], batch["attention_mask"]
            model(input_ids=ids.to(device), attention_mask=mask.to(device))
            keep = mask.bool()
            for name, values in hooks.take().items():
                if values.shape[:2] != ids.shape:
                    raise SourceError(f"--hooks {name}: its output is no [batch, tokens, d] tensor")
                parts[name].append(cast(values[keep.to(values.device)].cpu(), args.dtype, name))
            parts["tokens"].append(ids[keep].to(torch.int32))
            parts["special"].append(torch.isin(ids[keep], special_ids).to(torch.uint8))
            parts["position"].append(
                torch.arange(ids.shape[1]).expand(ids.shape)[keep].to(torch.int32)
            )
            documents = torch.tensor([document_id(records[i].get("document"), i) for i in chosen])
            parts["document"].append(documents[:, None].expand(ids.shape)[keep])
    finally:
        hooks.close()
    silent = [name for name, values in parts.items() if not values]
    if silent:
        raise SourceError(f"--hooks {silent[0]}: did not run")
    return {name: torch.cat(values) for name, values in parts.items()}


def cast(values, dtype, name):
    values = values.to(DTYPES[dtype])
    bad = ~torch.isfinite(values).all(1)
    if bad.any():
        raise SourceError(
            f"--hooks {name}: row {int(bad.nonzero()[0])} of a batch is not finite as {dtype}; try bf16"
        )
    return values


def find_sinks(hooks, special, factor=10, block=4096):
    """1 for rows whose norm in any hook exceeds `factor` times the median of the file's ordinary rows.

    The definition is that of docs/data-format.md: of values as stored, zero vectors aside, the lower median.
    """
    sinks = np.zeros(len(special), np.uint8)
    for values in hooks:
        squares = np.concatenate(
            [(part.double() ** 2).sum(1).numpy() for part in values.split(block)]
        )
        ordinary = squares[(special.numpy() == 0) & (squares > 0)]
        if len(ordinary):
            middle = (len(ordinary) - 1) // 2
            sinks |= squares > factor**2 * np.partition(ordinary, middle)[middle]
    return sinks


def write(path, columns, facts, args):
    with write_beside(path) as part, h5py.File(part, "w", track_order=True) as file:
        for number, name in enumerate(args.hooks):
            place = "activations" if number == 0 else "hooks/" + name.replace(".", "_")
            values = columns[name]
            stored = values.view(torch.uint16).numpy() if args.dtype == "bf16" else values.numpy()
            chunk = max(1, min(len(stored), CHUNK_BYTES // (stored.shape[1] * stored.itemsize)))
            array = file.create_dataset(place, data=stored, chunks=(chunk, stored.shape[1]))
            array.attrs["dtype"] = args.dtype
        file["sink"] = find_sinks([columns[name] for name in args.hooks], columns["special"])
        for name in ("tokens", "document", "position", "special"):
            file[name] = (
                columns[name]
                .numpy()
                .astype({"document": np.int64, "special": np.uint8}.get(name, np.int32))
            )
        file.attrs.update(facts)


if __name__ == "__main__":
    main()
