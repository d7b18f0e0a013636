"""sparsify's whole step on a GPU, with its Triton kernels, timed as `assay bench step --device cuda` times ours.

    .venv-peers/bin/python experiments/compare_peers/sparsify_on_device.py --rows B --dims D --latents N [--dead 10]

Random batches travel from pinned memory; each step is timed from the end of the one before by the device's events.
Prints JSON: the medians in fp32 (TF32 products, as its Trainer sets) and in bf16 autocast, the version, and whether
its Triton decoder was in use.
"""

import json
import os
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import peer_arm
import problem
import torch
from tool import Parser, as_tool

BATCHES = 4
WARM_UP = 3


def times(arm, batches: list[torch.Tensor], device: str, repeats: int) -> list[float]:
    """Milliseconds of each step after the warm-up."""
    events, clock = [], []
    for t in range(WARM_UP + repeats):
        arm.step(batches[t % BATCHES].to(device, non_blocking=True))
        if device == "cuda":
            events.append(torch.cuda.Event(enable_timing=True))
            events[-1].record()
        clock.append(time.perf_counter() * 1e3)
    if device == "cuda":
        torch.cuda.synchronize()
        return [a.elapsed_time(b) for a, b in zip(events[WARM_UP - 1 :], events[WARM_UP:])]
    return [b - a for a, b in zip(clock[WARM_UP - 1 :], clock[WARM_UP:])]


@as_tool
def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--dims", type=int, default=384)
    parser.add_argument("--latents", type=int, default=6144)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--dead", type=int, default=0, help="percent of latents that start dead")
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    o = parser.parse_args()
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    wanted = problem.Problem(o.rows, o.dims, o.latents, o.k, o.dead, BATCHES)
    count = BATCHES * o.rows + problem.TEST_ROWS
    rows = np.random.default_rng(0).standard_normal((count, o.dims), dtype=np.float32)
    result = {"rows": o.rows, "d": o.dims, "n": o.latents, "k": o.k, "dead": o.dead / 100, "ms": {}}
    with tempfile.TemporaryDirectory() as folder:
        p = peer_arm.Problem(problem.make(wanted, rows, Path(folder)), o.device)
        batches = [p.batch(t) for t in range(BATCHES)]
        if o.device == "cuda":
            batches = [b.pin_memory() for b in batches]
        for name, bf16 in (("fp32", False), ("bf16", True)):
            arm = peer_arm.Sparsify(p, bf16)
            ms = times(arm, batches, o.device, o.repeats)
            result["ms"][f"sparsify-{name}"] = {
                "median": statistics.median(ms),
                "min": min(ms),
                "max": max(ms),
            }
            del arm
    from sparsify import sparse_coder

    result["triton"] = sparse_coder.decoder_impl.__name__ == "triton_decode"
    result["sparsify"] = version("eai-sparsify")
    print(json.dumps(result), file=answer, flush=True)


if __name__ == "__main__":
    main()
