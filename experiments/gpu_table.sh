#!/usr/bin/env bash
# On a machine with a GPU: gpu_table.sh [BUILD] [OUT]
# Runs the gpu-labelled tests of BUILD (default build-cuda, configured with ASSAY_CUDA=ON), compute-sanitizer over them
# where it is installed, `assay bench --device cuda` at every size, and sparsify's step with its Triton kernels where
# the peers are installed (experiments/compare_peers/setup.sh); writes OUT.md and OUT.json (default gpu_table).
# About ten minutes. Stops at the first failure: a table is only written for a build that passes its tests.
set -euo pipefail
build=${1:-build-cuda} out=${2:-gpu_table}
lines=$(mktemp) peer=$(mktemp)
trap 'rm -f "$lines" "$peer"' EXIT

"$build/test_gpu"
sanitized="not run: compute-sanitizer is not installed"
if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck synccheck; do
    compute-sanitizer --tool "$tool" --error-exitcode 1 "$build/test_gpu" >"$out.$tool.log" 2>&1 ||
      { echo "compute-sanitizer $tool found something: see $out.$tool.log" >&2; exit 1; }
  done
  sanitized="memcheck, racecheck, synccheck: clean"
fi

for size in "2048 384 6144" "2048 768 24576" "1024 2304 65536"; do
  read -r rows dims latents <<<"$size"
  sizes=(--rows "$rows" --dims "$dims" --latents "$latents" --k 32 --device cuda --json)
  for what in step topk encode_topk sparse_decode value_gradient backward_update; do
    "$build/assay" bench "$what" "${sizes[@]}" --repeats 50 >>"$lines"
  done
  "$build/assay" bench step "${sizes[@]}" --repeats 50 --dead 0.1 >>"$lines"
  if [[ -x .venv-peers/bin/python ]]; then
    .venv-peers/bin/python experiments/compare_peers/sparsify_on_device.py --rows "$rows" --dims "$dims" \
      --latents "$latents" --k 32 >>"$peer"
  fi
done

python3 - "$lines" "$peer" "$out" "$sanitized" <<'PYTHON'
import json
import sys

lines, peer, out, sanitized = sys.argv[1:]
runs = [json.loads(line) for line in open(lines)]
peers = [json.loads(line) for line in open(peer)]
device = runs[0]["device_name"]
everything = {"device": device, "tests": "passed", "sanitizers": sanitized, "runs": runs, "peers": peers}
json.dump(everything, open(out + ".json", "w"), indent=1)

operations = ["encode_topk", "sparse_decode", "value_gradient", "backward_update"]
table = [f"{device}; medians in ms; tests passed; compute-sanitizer: {sanitized}.", "",
         "| B, d, n, k | step | step / floor | sparsify / step | step, 10 % dead | bf16 product | Adam traffic | encode_topk | decode "
         "| value gradient | update | topk of [B, n] |",
         "|---" * 12 + "|"]
for size in dict.fromkeys((r["rows"], r["d"], r["n"], r["k"]) for r in runs):
    mine = [r for r in runs if (r["rows"], r["d"], r["n"], r["k"]) == size]
    of = {name: entry for r in mine if r["dead"] == 0 for name, entry in r["ms"].items()}
    step = next(r for r in mine if "step" in r["ms"] and r["dead"] == 0)
    dead = next(r for r in mine if "step" in r["ms"] and r["dead"] > 0)
    topk = of["topk"]
    against = "not measured: no .venv-peers"
    for p in peers:
        if (p["rows"], p["d"], p["n"], p["k"]) == size:
            best = min(p["ms"], key=lambda name: p["ms"][name]["median"])
            against = f"{p['ms'][best]['median'] / of['step']['median']:.2f} ({best}, Triton {'on' if p['triton'] else 'off'})"
    cells = [f"{of['step']['median']:.3f}", f"{step['step_over_floor']:.2f}", against, f"{dead['ms']['step']['median']:.3f}",
             f"{of['floor: bf16 product']['median']:.3f}", f"{of['floor: Adam streaming']['median']:.3f}",
             *(f"{of[o]['median']:.3f}" for o in operations),
             f"{topk['median']:.3f} ({topk['gb_per_s']:.0f} GB/s, {100 * topk['share_of_copied']:.0f} % of a copy's)"]
    table.append("| " + ", ".join(map(str, size)) + " | " + " | ".join(cells) + " |")
open(out + ".md", "w").write("\n".join(table) + "\n")
print("\n".join(table))
PYTHON
