"""Do the sparse path's bf16 screening and fused update reach the loss of dense fp32? Trains ours and a dense fp32 torch
reference (peer_arm.Reference) on the same batches from the same initial weights, and compares FVU on held-out rows.

    .venv-peers/bin/python experiments/compare_peers/same_loss.py [--steps 2000] [--rows 2048]
"""

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from arms import HERE, ROOT, Arm, machine
from problem import Problem, from_shards, held_out_fvu
from tool import Parser, as_tool, make_folder

LIMIT = 0.005  # relative


def train_both(
    folder: Path, steps: int, every: int, threads: int, build: Path, python: Path, say=print
) -> list[dict]:
    """FVU of both on the held-out rows after every `every` steps, with the median time of a step."""
    points = []
    with (
        Arm("ours", folder, threads, build) as ours,
        Arm("reference", folder, threads, python=python) as reference,
        tempfile.TemporaryDirectory(dir=folder) as weights,
    ):
        for first in range(0, steps, every):
            point = {"step": min(first + every, steps)}
            for arm in (ours, reference):
                answer = arm.run(first, point["step"] - first)
                fvu, l0 = held_out_fvu(folder, arm.weights(Path(weights)))
                point[arm.name] = {
                    "fvu": fvu,
                    "l0": l0,
                    "dead": answer["dead"],
                    "ms": statistics.median(answer["ms"]),
                }
            point["difference"] = point["ours"]["fvu"] / point["reference"]["fvu"] - 1
            say(json.dumps(point))
            points.append(point)
    return points


@as_tool
def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--every", type=int, default=100, help="steps between two comparisons")
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--latents", type=int, default=6144)
    parser.add_argument(
        "--batches", type=int, default=300, help="distinct batches; they are cycled through"
    )
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--shards", type=Path, default=ROOT / "runs/quickstart/shards")
    parser.add_argument("--work", type=Path, default=ROOT / "runs/compare-peers")
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--out", type=Path, default=HERE / "results/same_loss.json")
    options = parser.parse_args()

    p = Problem(rows=options.rows, d=384, n=options.latents, batches=options.batches)
    folder = from_shards(p, options.shards, options.work)
    points = train_both(
        folder, options.steps, options.every, options.threads, options.build, Path(sys.executable),
        lambda line: print(line, flush=True),
    )  # fmt: skip
    content = {
        "problem": json.loads((folder / "problem.json").read_text()),
        "machine": machine(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "points": points,
    }
    make_folder(options.out.parent)
    options.out.write_text(json.dumps(content, indent=1) + "\n")
    last = abs(points[-1]["difference"])
    print(
        f"FVU differs by {100 * last:.3f} % after {points[-1]['step']} steps (limit {100 * LIMIT} %)"
    )
    sys.exit(last > LIMIT)


if __name__ == "__main__":
    main()
