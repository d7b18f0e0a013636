"""The step's time against n, k, B and d, each beside its floor, and the step's parts at the sizes of the comparison.

    .venv-peers/bin/python experiments/compare_peers/curves.py [--quick]

Random batches through `assay bench`; no peer and no data is needed. Writes results/curves.json; render.py draws it.
"""

import json
import os
import time
from pathlib import Path

from arms import HERE, ROOT, bench, machine
from compare import SIZES
from tool import Parser, as_tool, make_folder

BASE = dict(rows=2048, dims=384, latents=16384, k=32)
SWEEPS = {
    "latents": [4096, 8192, 16384, 32768, 65536, 131072],
    "k": [8, 16, 32, 64, 128, 256],
    "rows": [256, 512, 1024, 2048, 4096, 8192],
    "dims": [128, 256, 384, 768, 1536, 2304],
}
PARTS = ["encode_topk", "sparse_decode", "value_gradient", "backward_update"]


def medians(what: str, size: dict, options) -> dict[str, float]:
    """Milliseconds by name."""
    answer = bench(options.build, what, size, 3 if options.quick else 9, options.threads)
    return {name: t["median"] for name, t in answer["ms"].items()}


def parts(size: str, options) -> dict[str, float]:
    s, found = SIZES[size], {}
    for what in ["step", *PARTS]:
        found |= medians(what, dict(rows=s["rows"], dims=s["d"], latents=s["n"], k=32), options)
    print(size, json.dumps(found), flush=True)
    return found


def point(name: str, value: int, options) -> dict[str, float]:
    ms = medians("step", BASE | {name: value}, options)
    found = {
        name: value,
        "step": ms["step"],
        "floor": sum(t for part, t in ms.items() if part.startswith("floor")),
    }
    print(json.dumps(found), flush=True)
    return found


@as_tool
def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="3 repeats instead of 9")
    parser.add_argument("--only", nargs="+", choices=[*SWEEPS, "parts"], default=[*SWEEPS, "parts"])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--out", type=Path, default=HERE / "results/curves.json")
    options = parser.parse_args()

    content = (
        json.loads(options.out.read_text()) if options.out.exists() else {"curves": {}, "parts": {}}
    )
    content |= {"base": BASE, "machine": machine(), "threads": options.threads}
    make_folder(options.out.parent)
    for name in options.only:
        if name == "parts":
            content["parts"] = {size: parts(size, options) for size in SIZES}
        else:
            content["curves"][name] = [point(name, value, options) for value in SWEEPS[name]]
        content["date"] = time.strftime("%Y-%m-%d", time.gmtime())
        options.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
