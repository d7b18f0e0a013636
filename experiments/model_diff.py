"""Diffs two real models by crosscoders: MiniLM, and a copy whose layers up to 4 were fine-tuned on noun categories.

    .venv/bin/python experiments/model_diff.py --corpus runs/quickstart/corpus.jsonl --out runs/model_diff

Fine-tunes the copy, harvests layer 4 of both over the same texts, puts the arrays side by side, trains an L1 and a
BatchTopK crosscoder a seed, and prints a Markdown table measured on held-out texts: FVU of either model's
activations, the share of firing latents that belong to one model alone by their decoder norms, and how many of these
latent scaling confirms. The same for the base model beside itself, rounded to bf16: whatever is exclusive there is an
artefact. Whatever stands in --out is reused.
"""

import argparse
import json
import os
import random
import shutil
import sys
from pathlib import Path
from statistics import median

import h5py
import numpy as np
import variant_table
from safetensors.numpy import load_file
from variant_table import call

TOOLS = Path(__file__).resolve().parents[1] / "data" / "python"
sys.path.insert(0, str(TOOLS))
import harvest_hooks  # noqa: E402
import model_source  # noqa: E402
from tokenise import read_records  # noqa: E402
from tool import Parser, SourceError, as_tool, make_folder  # noqa: E402

LAYERS = 4  # what is compared is the residual stream after this many
WEAK = 0.2  # exclusive: the weaker norm is at most this share of the stronger
CONFIRMED = {"error": 0.2, "reconstruction": 0.5}  # a confirmed latent's nu is below both


@as_tool
def main():
    parser = Parser(__doc__)
    parser.add_argument("--assay", default="build/assay")
    parser.add_argument(
        "--corpus", type=Path, required=True, help="WordNet's texts, as wordnet.py writes them"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--texts", type=int, default=4000, help="texts that crosscoders learn from (default: 4000)"
    )
    parser.add_argument(
        "--held-out",
        type=int,
        default=1000,
        help="texts of other words to measure on (default: 1000)",
    )
    parser.add_argument(
        "--tune-steps", type=int, default=120, help="steps of 16 other texts (default: 120)"
    )
    parser.add_argument("--n", type=int, default=1024)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument(
        "--lr", type=float, default=0.0008, help="of both variants (default: 0.0008)"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--tries", type=int, default=4, help="of the search for the penalty that gives L0 = k"
    )
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    make_folder(args.out)
    prepare(args)
    print(
        "| hooks | variant | L0 | FVU base, other | exclusive to base, other | of these confirmed | median nu |\n"
        "|---|---|---|---|---|---|---|",
        flush=True,
    )
    weight = None
    for pair in ("tuned", "rounding"):
        for name in ("crosscoder", "crosscoder_batch_topk"):
            learn = training(args, pair)
            if name == "crosscoder" and weight is None:
                weight = variant_table.search(name, learn)
            chosen = weight if name == "crosscoder" else 0
            print(row(pair, name, chosen, learn, args), flush=True)
    print(f"lambda of the L1 crosscoder: {weight:.4g}")


# --- two models over the same texts


def prepare(args):
    """The sets tuned/ and rounding/ (learnt from) and tuned-held-out/ and rounding-held-out/ (measured on)."""
    texts = args.out / "texts.jsonl"
    if not texts.exists():
        learn, measured, tune = choose(read_records(args.corpus), args.texts, args.held_out)
        for path, records in ((args.out / "tune.jsonl", tune), (texts, learn + measured)):
            path.write_text("".join(json.dumps(record) + "\n" for record in records))
    if not (args.out / "model" / "config.json").exists():
        tune_model(read_records(args.out / "tune.jsonl"), args)
    for name in ("base", "tuned"):
        harvest(name, read_records(texts), args)
    for pair in ("tuned", "rounding"):
        for part, suffix in enumerate(("", "-held-out")):
            target = args.out / (pair + suffix)
            if not (target / "index.yaml").exists():
                base, tuned = (
                    args.out / "harvest" / name / f"{part}.h5" for name in ("base", "tuned")
                )
                merge(base, tuned if pair == "tuned" else None, target)
                call([args.assay, "index", target / "pair.h5", "--out", target])


def choose(records, texts, held_out, seed=0):
    """Texts to learn from, to measure on and to fine-tune with, no document in two of them."""
    documents = {}
    for record in records:
        documents.setdefault(record["document"], []).append(record)
    names = sorted(documents)
    random.Random(seed).shuffle(names)
    parts, sizes = ([], [], []), (texts, held_out, len(records))
    for name in names:
        part = next(part for part, size in zip(parts, sizes, strict=True) if len(part) < size)
        part.extend(documents[name])
    learn, measured, tune = parts
    return learn[:texts], measured[:held_out], tune


def load(folder):
    """The model up to the layer that is compared, and its tokenizer."""
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model = AutoModel.from_pretrained(folder, num_hidden_layers=LAYERS, local_files_only=True)
    return model.eval(), AutoTokenizer.from_pretrained(
        folder, local_files_only=True
    )  # eval: no dropout


def harvest(name, records, args):
    """harvest/NAME: a file of the texts to learn from, another of those to measure on."""
    out = args.out / "harvest" / name
    source = model_source.find_model(
        model_source.DEFAULT_PACKAGE if name == "base" else str(args.out / "model")
    )
    options = argparse.Namespace(
        hooks=[f"encoder.layer.{LAYERS - 1}"], batch=64, context=512, dtype="f32"
    )
    facts = {
        "assay_format": 1,
        "model": source.name,
        "revision": source.revision,
        "hook": f"layer {LAYERS}",
    }
    model, tokenizer = None, None
    for part, numbers in enumerate((range(args.texts), range(args.texts, len(records)))):
        path = out / f"{part}.h5"
        if path.exists():
            continue
        if model is None:
            model, tokenizer = load(source.folder)
            model.requires_grad_(False)
        columns = harvest_hooks.run(model, tokenizer, records, list(numbers), options)
        harvest_hooks.write(path, columns, facts, options)


def tune_model(records, args):
    """The layers learn, through the mean of the last one, a noun's category; the embeddings stay."""
    import torch

    torch.manual_seed(0)
    model, tokenizer = load(model_source.find_model(model_source.DEFAULT_PACKAGE).folder)
    nouns = [r for r in records if r["labels"]["part_of_speech"] == "noun"]
    categories = sorted({r["labels"]["category"] for r in nouns})
    random.Random(0).shuffle(nouns)
    head = torch.nn.Linear(model.config.hidden_size, len(categories))
    model.embeddings.requires_grad_(False)
    optimiser = torch.optim.AdamW([*model.encoder.parameters(), *head.parameters()], lr=1e-4)
    losses = []
    for step in range(args.tune_steps):
        batch = [nouns[(16 * step + i) % len(nouns)] for i in range(16)]
        inputs = tokenizer(
            [r["text"] for r in batch],
            return_tensors="pt",
            padding=True,
            truncation=True,
            max_length=32,
        )
        hidden = model(**inputs).last_hidden_state
        mask = inputs["attention_mask"][:, :, None]
        target = torch.tensor([categories.index(r["labels"]["category"]) for r in batch])
        loss = torch.nn.functional.cross_entropy(head((hidden * mask).sum(1) / mask.sum(1)), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    edge = max(1, args.tune_steps // 10)
    print(
        f"fine-tuned on {len(categories)} categories: cross-entropy {np.mean(losses[:edge]):.3f} -> "
        f"{np.mean(losses[-edge:]):.3f} (first, last tenth of the steps)",
        file=sys.stderr,
    )
    model.save_pretrained(args.out / "model.part")
    tokenizer.save_pretrained(args.out / "model.part")
    os.replace(args.out / "model.part", args.out / "model")


def merge(base, other, target):
    """target/pair.h5: base's file with other's rows as /hooks/other; without other, base's own rounded to bf16."""
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy(base, target / "pair.h5")
    with h5py.File(target / "pair.h5", "a") as a:
        if other is None:
            rows = rounded(a["activations"][:])
        else:
            with h5py.File(other) as b:
                if any(
                    (a[column][:] != b[column][:]).any()
                    for column in ("tokens", "document", "position")
                ):
                    raise SourceError(f"{base} and {other} hold other texts")
                rows = b["activations"][:]
        a["hooks/other"] = rows
        a["hooks/other"].attrs["dtype"] = "f32"


def rounded(x):
    """float32 to the nearest bf16, ties to even, as float32."""
    bits = x.view(np.uint32)
    return ((bits + (0x7FFF + (bits >> 16 & 1))) & 0xFFFF0000).astype(np.uint32).view(np.float32)


# --- crosscoders


def training(args, pair):
    """What variant_table needs to know."""
    out = args.out / f"runs-{pair}"
    out.mkdir(exist_ok=True)
    return argparse.Namespace(
        assay=args.assay,
        shards=args.out / pair,
        held_out=None,
        out=out,
        hook="activations",
        target=None,
        more=["other"],
        n=args.n,
        k=args.k,
        steps=args.steps,
        batch=args.batch,
        lr=args.lr,
        threads=args.threads,
        tries=args.tries,
    )


def row(pair, name, weight, learn, args):
    results = []
    for seed in range(args.seeds):
        variant_table.measure(name, weight, seed, "validation", learn)
        run = variant_table.run_folder(name, weight, seed, learn)
        results.append(judge(run, args.out / f"{pair}-held-out" / "pair.h5", args))

    def span(value, digits):
        return variant_table.span([value(r) for r in results], digits)

    fvu = ", ".join(span(lambda r, h=h: r["fvu"][h], 3) for h in range(2))
    exclusive = ", ".join(span(lambda r, h=h: 100 * r["exclusive"][h], 1) + " %" for h in range(2))
    claimed, confirmed = (sum(r[key] for r in results) for key in ("claimed", "confirmed"))
    nus = {kind: [nu for r in results for nu in r["nu"][kind]] for kind in CONFIRMED}
    shown = ", ".join(f"{median(values):.2f}" if values else "–" for values in nus.values())
    return (
        f"| {pair} | `{name}` | {span(lambda r: r['l0'], 1)} | {fvu} | {exclusive} | {confirmed} of {claimed} "
        f"| {shown} |"
    )


def judge(run, pair, args):
    """What a crosscoder of two hooks makes of a file's ordinary rows."""
    codes = run / "judged.h5"
    call([args.assay, "encode", run, pair, "--out", codes, "--threads", args.threads])
    facts = json.loads((run / "dictionary" / "cfg.json").read_text())
    weights = load_file(run / "dictionary" / "dictionary.safetensors")
    with h5py.File(pair) as file, h5py.File(codes) as coded:
        keep = np.ones(len(file["activations"]), bool)
        for column in {"special", "sink"} & set(file):
            keep &= file[column][:] == 0
        hooks = [
            file["activations" if h["name"] == "activations" else f"hooks/{h['name']}"][:]
            for h in facts["hooks"]
        ]
        z = sparse(coded, facts["n"])[keep]
    codes.unlink()
    # At the training scale, where both models' activations weigh alike.
    ends = np.cumsum([h["d"] for h in facts["hooks"]])[:-1]
    decoders, biases = (
        np.split(weights[name].astype(np.float64), ends, axis=-1) for name in ("W_dec", "b_dec")
    )
    scales = [h["scale"] for h in facts["hooks"]]
    return diff(
        z,
        [x[keep] * s for x, s in zip(hooks, scales, strict=True)],
        [d * s for d, s in zip(decoders, scales, strict=True)],
        [b * s for b, s in zip(biases, scales, strict=True)],
    )


def sparse(coded, n):
    from scipy.sparse import csr_matrix

    offsets, indices, values = (coded[name][:] for name in ("row_offsets", "indices", "values"))
    return csr_matrix((values.astype(np.float64), indices, offsets), shape=(len(offsets) - 1, n))


def diff(z, hooks, decoders, biases):
    """z: sparse codes [rows, n]; of each model its activations [rows, d], decoder [n, d] and bias [d]."""
    fvu = [
        ((x - z @ d - b) ** 2).sum() / ((x - x.mean(0)) ** 2).sum()
        for x, d, b in zip(hooks, decoders, biases, strict=True)
    ]
    fires = np.asarray((z > 0).sum(0)).ravel() > 0
    relative = relative_norm(*decoders)
    classes = [(relative <= WEAK / (1 + WEAK)) & fires, (relative >= 1 / (1 + WEAK)) & fires]
    result = {
        "fvu": fvu,
        "l0": (z > 0).sum() / z.shape[0],
        "firing": int(fires.sum()),
        "exclusive": [chosen.sum() / fires.sum() for chosen in classes],
        "claimed": 0,
        "confirmed": 0,
        "nu": {kind: [] for kind in CONFIRMED},
    }
    for strong, chosen in enumerate(classes):
        nu = latent_scaling(z, hooks, decoders, biases, strong)
        for kind, values in nu.items():
            result["nu"][kind] += values[chosen].tolist()
        result["claimed"] += int(chosen.sum())
        below = [nu[kind][chosen] < limit for kind, limit in CONFIRMED.items()]
        result["confirmed"] += int(np.all(below, axis=0).sum())
    return result


def relative_norm(first, second):
    """|d_j of the second model| / (|d_j of the first| + |d_j of the second|), after Lindsey et al. 2024; 0 and 1 are
    latents of one model alone."""
    a, b = (np.linalg.norm(decoder, axis=1) for decoder in (first, second))
    return b / np.maximum(a + b, np.finfo(float).tiny)


def latent_scaling(z, hooks, decoders, biases, strong):
    """nu of every latent, were it the model's `strong` alone (Minder et al. 2025): beta of the weak model over beta of
    the strong one, where beta is the least-squares factor of z_j d_j (d_j: the strong decoder's) in a target y,
      beta_j = <d_j, sum_i z_ij y_i> / (|d_j|^2 sum_i z_ij^2).
    error: y is what the crosscoder without latent j leaves over of the model's activations; a large nu says that the
    latent is there, but the weak decoder shrank. reconstruction: y is the crosscoder's reconstruction of the model
    (here without its bias, which is no latent's); a large nu says that other latents stand for it in the weak model.
    """
    direction = decoders[strong]
    power = np.asarray(z.multiply(z).sum(0)).ravel()
    norm = np.maximum((direction**2).sum(1) * power, np.finfo(float).tiny)
    betas = {kind: [] for kind in CONFIRMED}
    for x, decoder, bias in zip(hooks, decoders, biases, strict=True):
        made = z @ decoder
        own = power * (direction * decoder).sum(1)
        betas["error"].append(((z.T @ (x - made - bias) * direction).sum(1) + own) / norm)
        betas["reconstruction"].append((z.T @ made * direction).sum(1) / norm)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {kind: of[1 - strong] / of[strong] for kind, of in betas.items()}


if __name__ == "__main__":
    main()
