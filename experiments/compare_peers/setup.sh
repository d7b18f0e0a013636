#!/usr/bin/env bash
# Installs the peers into .venv-peers at the repository's root (several GB, a few minutes), apart from the project's own
# environment. Does nothing where it is up to date.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

requirements=experiments/compare_peers/requirements.txt
stamp=.venv-peers/requirements.sha256
wanted=$(sha256sum "$requirements" | cut -d' ' -f1)
if [[ -f $stamp && $(<"$stamp") == "$wanted" ]]; then
  echo "peers: .venv-peers is up to date"
  exit 0
fi
echo "peers: installing into .venv-peers"
python3 -m venv .venv-peers
.venv-peers/bin/python -m pip install -q --disable-pip-version-check -r "$requirements"
printf '%s\n' "$wanted" >"$stamp"
