#!/usr/bin/env bash
# An environment of its own for SAEBench 0.6.0, whose pins are not ours: .venv-saebench.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python3 -m venv .venv-saebench
.venv-saebench/bin/pip install --quiet --disable-pip-version-check "sae-bench==0.6.0" "h5py" "safetensors"
.venv-saebench/bin/python -c 'import sae_bench.evals.sparse_probing.probe_training' && echo "ready: .venv-saebench"
