"""Times whole optimiser steps of ours and of each peer alternately, on the same data from the same initial weights.

    .venv-peers/bin/python experiments/compare_peers/compare.py [--quick] [--sizes small …] [--dead 0 10] [--arms …]

For each peer both arms are started, warmed up, and run bursts of the same steps in turn; the ratio is taken burst by
burst. Results are merged into results/step.json (each cell with its date and versions); render.py makes the tables.
"""

import json
import os
import statistics
import tempfile
import time
from pathlib import Path

from arms import BUSY, HERE, ROOT, Arm, ArmFailed, Others, available_bytes, bench, machine, versions
from problem import Problem, from_shards, held_out_fvu
from tool import Parser, as_tool

SIZES = {
    "small": dict(rows=2048, d=384, n=6144),
    "middle": dict(rows=2048, d=768, n=24576),
    "large": dict(rows=1024, d=2304, n=65536),
}
PEERS = [
    "sparsify-fp32",
    "sparsify-bf16",
    "dictionary_learning-fp32",
    "dictionary_learning-bf16",
    "saelens-fp32",
    "saelens-sparse",
    "saelens-bf16",
]
WARM_UP = 2  # steps
MIN_BURSTS = 4  # undisturbed ones
BURST_MS = 1000  # a peer's burst lasts about this long, or one step
LONGEST_BURST = 4  # steps
BATCHES = 80  # at least the steps of the longest run, so that every batch is fresh
FVU_TOLERANCE = 0.02  # relative


def interval(values: list[float]) -> dict:
    """Median, and a distribution-free interval for it: the order statistics that cover it with at least 95 % where
    there are six values or more, else the least and the most."""
    values, n = sorted(values), len(values)
    skip, tail = 0, 0.5**n
    while skip + 1 < n / 2 and 2 * (tail + binomial(n, skip + 1)) <= 0.05:
        skip += 1
        tail += binomial(n, skip)
    return {
        "median": statistics.median(values),
        "low": values[skip],
        "high": values[n - 1 - skip],
        "bursts": n,
    }


def binomial(n: int, k: int) -> float:
    value = 0.5**n
    for i in range(k):
        value = value * (n - i) / (i + 1)
    return value


def bytes_needed(p: Problem) -> int:
    """Both arms: parameters, gradients and moments; dense activations and their gradients in the peer."""
    return 2 * p.n * p.d * (14 + 16) + 8 * p.rows * p.n * 4 + 2**30


def alternate(ours: Arm, peer: Arm, rounds: int) -> dict:
    steps = WARM_UP
    first = peer.run(0, WARM_UP)["ms"][-1]
    ours.run(0, WARM_UP)
    burst = max(1, min(LONGEST_BURST, round(BURST_MS / first)))
    ms, dead, disturbed = {"ours": [], "peer": []}, {}, 0
    order = [("ours", ours), ("peer", peer)]
    while len(ms["ours"]) < rounds and disturbed < rounds:
        others = Others([arm.process.pid for _, arm in order])
        answers = {side: arm.run(steps, burst) for side, arm in order}
        order.reverse()
        steps += burst
        dead = {side: answer["dead"] for side, answer in answers.items()}
        if others.share() > BUSY:
            disturbed += 1
            continue
        for side, answer in answers.items():
            ms[side].append(statistics.median(answer["ms"]))
    if len(ms["ours"]) < min(rounds, MIN_BURSTS):
        raise ArmFailed(
            f"the machine is busy: others used more than {BUSY:.0%} of it in {disturbed} bursts; try again"
        )
    return {
        "steps": steps,
        "burst": burst,
        "disturbed": disturbed,
        "dead": dead,
        "ours_ms": interval(ms["ours"]),
        "peer_ms": interval(ms["peer"]),
        "ratio": interval([p / o for p, o in zip(ms["peer"], ms["ours"])]),
    }


def fvu_of(folder: Path, arms: dict[str, Arm]) -> dict:
    found = {}
    with tempfile.TemporaryDirectory(dir=folder) as weights:
        for side, arm in arms.items():
            fvu, l0 = held_out_fvu(folder, arm.weights(Path(weights)))
            found[side] = {"fvu": fvu, "l0": l0}
    return found


def same_problem(start: dict, end: dict, k: int) -> list[str]:
    """What shows that the two arms did not solve the same problem."""
    faults = []
    for when, tolerance, both in (("start", 1e-5, start), ("end", FVU_TOLERANCE, end)):
        ours, peer = both["ours"], both["peer"]
        if abs(peer["fvu"] / ours["fvu"] - 1) > tolerance:
            faults.append(
                f"FVU at the {when}: ours {ours['fvu']:.5f}, the peer's {peer['fvu']:.5f}"
            )
        for side, found in both.items():
            if found["l0"] > k + 1e-9 or found["l0"] < 0.9 * k:
                faults.append(f"{side}: {found['l0']:.2f} latents a row at the {when}, k = {k}")
    return faults


def measure(p: Problem, folder: Path, name: str, options) -> dict:
    needed = bytes_needed(p)
    if needed > available_bytes():
        return {
            "failed": f"needs about {needed / 2**30:.0f} GiB, {available_bytes() / 2**30:.0f} are free"
        }
    rounds = 4 if options.quick else 9
    try:
        with (
            Arm("ours", folder, options.threads, options.build) as ours,
            Arm(name, folder, options.threads) as peer,
        ):
            arms = {"ours": ours, "peer": peer}
            start = fvu_of(folder, arms)
            cell = alternate(ours, peer, rounds)
            end = fvu_of(folder, arms)
    except ArmFailed as failure:
        return {"failed": str(failure)}
    return cell | {"start": start, "end": end, "faults": same_problem(start, end, p.k)}


def floor(p: Problem, options) -> dict:
    """The whole step on random batches beside its floor, from `assay bench`."""
    size = dict(rows=p.rows, dims=p.d, latents=p.n, k=p.k)
    try:
        return bench(options.build, "step", size, 5 if options.quick else 11, options.threads)
    except ArmFailed as failure:
        return {"failed": str(failure)}


def merge(path: Path, key: str, cell: dict) -> None:
    content = json.loads(path.read_text()) if path.exists() else {"cells": {}}
    content["machine"] = machine()
    content["cells"][key] = cell
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".new").write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    path.with_suffix(".new").replace(path)


def parse():
    parser = Parser(__doc__)
    parser.add_argument("--quick", action="store_true", help="4 bursts an arm instead of 9")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument(
        "--dead",
        nargs="+",
        type=int,
        choices=[0, 10],
        default=[0, 10],
        help="per cent dead at first",
    )
    parser.add_argument("--arms", nargs="+", choices=[*PEERS, "floor"], default=["floor", *PEERS])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--shards", type=Path, default=ROOT / "runs/quickstart/shards")
    parser.add_argument(
        "--work", type=Path, default=ROOT / "runs/compare-peers", help="where problems are made"
    )
    parser.add_argument(
        "--build", type=Path, default=ROOT / "build", help="where assay and compare_arm are"
    )
    parser.add_argument("--out", type=Path, default=HERE / "results/step.json")
    return parser.parse_args()


@as_tool
def main() -> None:
    options = parse()
    for dead in options.dead:
        for size in options.sizes:
            p = Problem(**SIZES[size], dead_percent=dead, batches=BATCHES)
            folder = from_shards(p, options.shards, options.work)
            for name in options.arms:
                if name == "floor" and dead:
                    continue
                begin = time.monotonic()
                cell = floor(p, options) if name == "floor" else measure(p, folder, name, options)
                key = f"{size}/floor" if name == "floor" else f"{size}/dead{dead}/{name}"
                stamp = {
                    "date": time.strftime("%Y-%m-%d", time.gmtime()),
                    "threads": options.threads,
                }
                if "busy" not in cell.get("failed", ""):  # an earlier measurement stands
                    merge(options.out, key, cell | stamp | {"versions": versions(options.build)})
                said = cell.get("failed") or cell.get("ratio") or cell.get("step_over_floor")
                print(
                    f"{key}: {said} ({time.monotonic() - begin:.0f} s) {cell.get('faults') or ''}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
