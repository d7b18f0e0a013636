"""Trains every variant on equal tokens and three seeds, and prints their held-out FVU at its L0 as a Markdown table.

    .venv/bin/python experiments/variant_table.py --shards runs/quickstart/shards --out runs/variants
    .venv/bin/python experiments/variant_table.py --shards runs/hooks/shards --out runs/hooks/variants \\
        --hook mlp_in --target mlp_out

The first form trains the autoencoders; with --target the transcoders are trained, with --more the crosscoders.
Where a penalty decides L0, its weight is searched on seed 0 by bisection until the validation split's L0 is near --k;
the numbers of the table are the test split's. The BatchTopK family publishes the threshold calibrated on validation.
Runs that stand are reused, so that a killed table goes on.
"""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "data" / "python"))
from tool import Parser, SourceError, as_tool, make_folder  # noqa: E402

AUTOENCODERS = [
    "topk",
    "multi_topk",
    "batch_topk",
    "matryoshka_topk",
    "matryoshka_batch_topk",
    "matching_pursuit",
    "switch",
    "jumprelu",
    "relu",
    "p_anneal",
    "gated",
]
# Where the bisection of the penalty's weight begins.
PENALTIES = {"relu": 0.3, "p_anneal": 0.1, "gated": 0.1, "jumprelu": 5, "crosscoder": 0.2}


@as_tool
def main():
    parser = Parser(__doc__)
    parser.add_argument("--assay", default="build/assay")
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument(
        "--held-out", type=Path, help="measure on this file or folder only (default: the shards)"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--hook", default="activations", help="the array that is read (default: activations)"
    )
    parser.add_argument("--target", help="the array that transcoders reconstruct")
    parser.add_argument(
        "--more", nargs="+", default=[], help="arrays that crosscoders read beside --hook"
    )
    parser.add_argument("--variants", nargs="+", help="only these")
    parser.add_argument("--n", type=int, default=3072)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument(
        "--lr", type=float, default=0, help="one rate for all (default: the variant's own)"
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tries", type=int, default=6, help="of the search for a penalty's weight")
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    names = args.variants or AUTOENCODERS
    if not args.variants and (args.target or args.more):
        names = (["transcoder", "skip_transcoder"] if args.target else []) + (
            ["crosscoder", "crosscoder_batch_topk"] if args.more else []
        )
    make_folder(args.out)
    print("| variant | penalty | L0 | FVU |\n|---|---|---|---|", flush=True)
    for name in names:
        print(row(name, args), flush=True)


def row(name, args):
    weight = search(name, args) if name in PENALTIES else 0
    runs = [measure(name, weight, seed, "test", args) for seed in range(args.seeds)]
    shown = f"{weight:.3g}" if weight else "–"
    return f"| `{name}` | {shown} | {span([r['fvu_l0'] for r in runs], 1)} | {span([r['fvu'] for r in runs], 3)} |"


def span(values, digits):
    low, high = (f"{value:.{digits}f}" for value in (min(values), max(values)))
    return low if low == high else f"{low} – {high}"


def search(name, args):
    """Of the weights tried, the one whose validation L0 is nearest to k: tripling, then bisection of the log."""
    tried, low, high, weight = {}, None, None, PENALTIES[name]
    for _ in range(args.tries):
        l0 = measure(name, weight, 0, "validation", args)["fvu_l0"]
        tried[weight] = abs(math.log(max(l0, 1e-3) / args.k))
        if tried[weight] < 0.05:
            break
        low, high = (weight, high) if l0 > args.k else (low, weight)
        weight = math.sqrt(low * high) if low and high else (3 * low if low else high / 3)
    return min(tried, key=tried.get)


def run_folder(name, weight, seed, args):
    return args.out / (f"{name}-{weight:.6g}-{seed}" if weight else f"{name}-{seed}")


def measure(name, weight, seed, split, args):
    run = run_folder(name, weight, seed, args)
    if not (run / "dictionary" / "cfg.json").exists():
        shutil.rmtree(run, ignore_errors=True)
        settings = {
            "data.path": args.shards,
            "data.validation": 0.15,
            "data.test": 0.15,
            "data.hook": args.hook,
            "model.variant": name,
            "model.n": args.n,
            "model.k": args.k,
            "model.sparsity": weight,
            "train.steps": args.steps,
            "train.batch": args.batch,
            "train.seed": seed,
            "train.lr": args.lr,
            "train.threads": args.threads,
            "train.tensorboard": "false",
            "train.checkpoint_every": args.steps,
        }
        if "batch_topk" in name:
            settings["model.threshold"] = "calibrated"
        if name.endswith("transcoder"):
            settings["data.target_hook"] = args.target
        if name.startswith("crosscoder"):
            settings["data.more_hooks"] = json.dumps(args.more)
        config = args.out / "config.yaml"
        config.write_text("data:\n  path: set below\n")
        call(
            [args.assay, "train", config, "--out", run]
            + [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
        )
    kept = run / f"{split}.json"
    if not kept.exists():
        codes = run / "codes.h5"
        line = call(
            [
                args.assay,
                "encode",
                run,
                args.held_out or args.shards,
                "--out",
                codes,
                "--fvu",
                split,
                *([] if name.startswith("crosscoder") else ["--hook", args.hook]),
                "--threads",
                args.threads,
                "--json",
            ]
        )
        codes.unlink()
        kept.write_text(line)
    return json.loads(kept.read_text())


def call(command):
    done = subprocess.run(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise SourceError(f"{command[0]} {command[1]} failed: {last}")
    return done.stdout


if __name__ == "__main__":
    main()
