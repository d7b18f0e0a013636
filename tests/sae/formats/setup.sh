#!/usr/bin/env bash
# Installs the peers whose file formats are tested into .venv-formats at the repository's root (under a minute), apart
# from the project's own environment, whose packages it sees. Does nothing where it is up to date.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."

requirements=tests/sae/formats/requirements.txt
stamp=.venv-formats/requirements.sha256
wanted=$(sha256sum "$requirements" | cut -d' ' -f1)
if [[ -f $stamp && $(<"$stamp") == "$wanted" ]]; then
  echo "formats: .venv-formats is up to date"
  exit 0
fi
if [[ ! -x .venv/bin/python ]]; then
  echo "formats: there is no .venv to build on; first run: bash cmake/setup.sh --tests" >&2
  exit 1
fi
echo "formats: installing into .venv-formats"
.venv/bin/python -m venv --clear .venv-formats
# torch is gigabytes: .venv's is used, by a path relative to this environment's own packages.
packages=$(cd .venv-formats/lib/python3*/site-packages && pwd)
echo "../../../../.venv/lib/$(basename "$(dirname "$packages")")/site-packages" >"$packages/venv.pth"
.venv-formats/bin/python -m pip install -q --disable-pip-version-check --no-deps -r "$requirements"
.venv-formats/bin/python -c 'import sae_lens, sparsify, circuit_tracer'
printf '%s\n' "$wanted" >"$stamp"
