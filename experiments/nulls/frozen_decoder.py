"""A TopK dictionary whose decoder hardly learns: a control after Korznikov et al., "Sanity checks for SAEs".

    python experiments/nulls/frozen_decoder.py SHARDS --like RUN --out DICT            (decoder stays random)
    python experiments/nulls/frozen_decoder.py SHARDS --like RUN --out DICT --cosine .8  (soft-frozen)

Takes n and k from RUN's dictionary. The decoder starts at random unit rows. Without --cosine it stays there; with it,
each row moves but keeps at least that cosine with its start. The encoder, both biases and Adam are those of
`assay train`; there is no auxiliary loss. Pass the result to
`assay eval --null-dictionary frozen_decoder=DICT` (or soft_frozen_decoder=DICT).
"""

import json
import math
from pathlib import Path

import numpy as np
import torch
from null_activations import read
from safetensors.numpy import save_file
from tool import Parser, SourceError, UsageError, as_tool, make_folder, read_json, shard_files


@as_tool
def main():
    parser = Parser(__doc__)
    parser.add_argument("shards", type=Path, help="folder of HDF5 shards")
    parser.add_argument(
        "--like", type=Path, required=True, help="the trained dictionary or run it is a control of"
    )
    parser.add_argument("--out", type=Path, required=True, help="dictionary folder to write")
    parser.add_argument(
        "--cosine", type=float, help="least cosine of a decoder row with its start; absent: frozen"
    )
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--lr", type=float, help="default: 2e-4 / sqrt(n / 2^14)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    if args.cosine is not None and not 0 < args.cosine < 1:
        raise UsageError(f"--cosine {args.cosine} must lie between 0 and 1")
    folder = args.like / "dictionary" if (args.like / "dictionary").is_dir() else args.like
    like = read_json(folder / "cfg.json")
    for key in ("d", "n", "k"):
        if type(like.get(key)) is not int or like[key] < 1:
            raise SourceError(f"{folder / 'cfg.json'}: {key}: expected a positive integer")
    x, _ = read(shard_files(args.shards))
    if x.shape[1] != like["d"]:
        raise SourceError(
            f"{args.shards} has d = {x.shape[1]}, {args.like} has d = {like['d']}; "
            "name the shards that it was trained on"
        )
    weights = train(x, like["n"], like["k"], args)
    make_folder(args.out)
    save_file(weights, args.out / "dictionary.safetensors")
    kind = "frozen_decoder" if args.cosine is None else "soft_frozen_decoder"
    # It trained on every document, so it says nothing about splits: `test_seen_in_training` is unknown.
    like |= {
        "null_kind": kind,
        "seed": args.seed,
        "tokens": args.steps * args.batch,
        "variant": "topk",
        "split_rule": "",
        "data_hash": "",
    }
    (args.out / "cfg.json").write_text(json.dumps(like, indent=1) + "\n")
    print(f"wrote {args.out}: {kind}")


def train(x, n, k, args):
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    scale = 1 / math.sqrt(float(np.mean(np.einsum("ij,ij->i", x, x, dtype=np.float64))))
    start = torch.nn.functional.normalize(torch.randn(n, x.shape[1]), dim=1)
    w_dec, w_enc = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
    b_enc = torch.nn.Parameter(torch.zeros(n))
    b_dec = torch.nn.Parameter(torch.from_numpy(np.median(x[:32768], axis=0)) * scale)
    w_dec.requires_grad_(args.cosine is not None)
    parameters = [p for p in (w_enc, b_enc, b_dec, w_dec) if p.requires_grad]
    optimiser = torch.optim.Adam(
        parameters, lr=args.lr or 2e-4 / math.sqrt(n / 2**14), eps=6.25e-10, fused=True
    )
    for step in range(args.steps):
        batch = torch.from_numpy(x[rng.integers(len(x), size=args.batch)]) * scale
        values, indices = torch.topk((batch - b_dec) @ w_enc.T + b_enc, k, dim=1)
        z = torch.zeros(args.batch, n).scatter(1, indices, values.relu())
        loss = ((z @ w_dec + b_dec - batch) ** 2).sum(1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if args.cosine is not None:
            with torch.no_grad():
                w_dec.copy_(hold(w_dec, start, args.cosine))
        if (step + 1) % 100 == 0:
            print(f"step {step + 1}/{args.steps} loss {loss.item():.4f}", flush=True)
    tensors = {
        "W_enc": w_enc * scale,
        "W_dec": w_dec / scale,
        "b_enc": b_enc,
        "b_dec": b_dec / scale,
    }
    return {
        name: np.ascontiguousarray(t.detach().numpy(), dtype=np.float32)
        for name, t in tensors.items()
    }


def hold(w, start, cosine):
    """Unit rows at no less than `cosine` from their start: those beyond go to the cone's edge, on their own side."""
    w = torch.nn.functional.normalize(w, dim=1)
    along = (w * start).sum(1, keepdim=True)
    side = torch.nn.functional.normalize(w - along * start, dim=1)
    edge = cosine * start + math.sqrt(1 - cosine**2) * side
    return torch.where(along < cosine, edge, w)


if __name__ == "__main__":
    main()
