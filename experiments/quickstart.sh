#!/usr/bin/env bash
# From nothing to a report: installs what is missing, builds, exports MiniLM's halves, harvests layer 4 over WordNet,
# trains a dictionary, evaluates it beside its baselines, and writes runs/quickstart/report.html.
# What is there already is reused; delete runs/quickstart (or a part of it) to make it anew.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

run=runs/quickstart
model=runs/models/minilm-l4
python=.venv/bin/python
started=$SECONDS

say() { printf '\n== [%4d s] %s\n' "$((SECONDS - started))" "$*"; }
# step NAME FILE COMMAND…: run COMMAND unless FILE stands.
step() {
  local name=$1 file=$2
  shift 2
  if [[ -e $file ]]; then
    say "$name: reusing $file"
  else
    say "$name"
    "$@"
  fi
}

say "install what is missing"
bash cmake/setup.sh
say "build"
# No CUDA unless asked for: it doubles the build, and nothing below needs it.
if [[ -n ${ASSAY_CUDA:-} || ! -f build/CMakeCache.txt ]]; then
  cmake --preset default -DASSAY_TESTS=OFF -DASSAY_CUDA="${ASSAY_CUDA:-OFF}"
else
  cmake --preset default -DASSAY_TESTS=OFF
fi
cmake --build build --target assay
mkdir -p runs/models "$run"

step "export the model's halves (layer 4)" "$model/manifest.json" \
  "$python" data/python/export_halves.py --layer 4 --out "$model"
step "read WordNet's definitions and examples" "$run/corpus.jsonl" \
  "$python" data/python/wordnet.py --out "$run/corpus.jsonl"
step "tokenise" "$run/corpus.h5" \
  "$python" data/python/tokenise.py --texts "$run/corpus.jsonl" --out "$run/corpus.h5"
step "harvest activations" "$run/shards/index.yaml" \
  build/assay harvest --model "$model" --corpus "$run/corpus.h5" --out "$run/shards"
step "train" "$run/dictionary/cfg.json" \
  build/assay train experiments/quickstart.yaml --out "$run" --resume auto
step "evaluate" "$run/results.json" \
  build/assay eval "$run" --config experiments/quickstart.yaml --data "$run/shards" --model "$model" --out "$run"
say "report"
build/assay report "$run" --out "$run"
say "done: open $run/report.html"
