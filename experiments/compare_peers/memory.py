"""Peak memory of a training step beyond parameters and optimiser state, against the number of latents.

    .venv-peers/bin/python experiments/compare_peers/memory.py [--arms ours sparsify-fp32]

Beyond = the process's peak resident bytes − its resident bytes before any parameter was made − parameters, both Adam
moments, silence counters and (ours) the bf16 copy of the encoder with its norms. A gradient counts as beyond.
"""

import json
import os
import time
from pathlib import Path

from arms import HERE, ROOT, Arm, ArmFailed, machine
from compare import PEERS
from problem import Problem, from_shards
from tool import Parser, as_tool, make_folder

LATENTS = [6144, 24576, 98304]
STEPS = 3


def measure(folder: Path, name: str, options) -> dict:
    try:
        with Arm(name, folder, options.threads, options.build) as arm:
            arm.run(0, STEPS)
            found = arm.ask("memory")
    except ArmFailed as failure:
        return {"failed": str(failure)}
    return found | {"beyond": found["peak"] - found["start"] - found["state"]}


@as_tool
def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument(
        "--arms", nargs="+", choices=["ours", *PEERS], default=["ours", "sparsify-fp32"]
    )
    parser.add_argument("--latents", nargs="+", type=int, default=LATENTS)
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--shards", type=Path, default=ROOT / "runs/quickstart/shards")
    parser.add_argument("--work", type=Path, default=ROOT / "runs/compare-peers")
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--out", type=Path, default=HERE / "results/memory.json")
    options = parser.parse_args()
    rows = []
    for n in options.latents:
        for dead in (0, 10):
            p = Problem(rows=options.rows, d=384, n=n, dead_percent=dead, batches=STEPS)
            folder = from_shards(p, options.shards, options.work)
            for name in options.arms:
                found = measure(folder, name, options)
                rows.append({"n": n, "dead_percent": dead, "arm": name} | found)
                print(json.dumps(rows[-1]), flush=True)
    content = {
        "rows": options.rows,
        "d": 384,
        "k": 32,
        "machine": machine(),
        "threads": options.threads,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "points": rows,
    }
    make_folder(options.out.parent)
    options.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
