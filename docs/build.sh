#!/usr/bin/env bash
# Builds the documentation's site: docs/build.sh [OUT], OUT/site/index.html (default build-docs). A dead link fails.
# Installs the pinned generator into .venv-docs once; nothing is fetched while building or reading.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=$(realpath -m "${1:-build-docs}")

stamp=.venv-docs/requirements.sha256
wanted=$(sha256sum docs/requirements.txt | cut -d' ' -f1)
if [[ ! -f $stamp || $(<"$stamp") != "$wanted" ]]; then
  printf 'docs: making the environment .venv-docs\n'
  python3 -m venv .venv-docs
  .venv-docs/bin/python -m pip install -q --disable-pip-version-check -r docs/requirements.txt
  printf '%s\n' "$wanted" >"$stamp"
fi

export NO_MKDOCS_2_WARNING=1
# The pages keep the repository's layout, so that a link works in the repository and on the site alike.
if [[ -n $(ls -A "$out" 2>/dev/null) && ! -L $out/pages/docs ]]; then
  printf 'docs: %s holds other things; choose another folder\n' "$out" >&2
  exit 2
fi
rm -rf "$out"
mkdir -p "$out/pages"
for page in README.md CONTRIBUTING.md CHANGELOG.md docs; do ln -s "$PWD/$page" "$out/pages/$page"; done
ASSAY_PAGES=$out/pages .venv-docs/bin/mkdocs build --strict --config-file docs/mkdocs.yml --site-dir "$out/site" 2>&1 |
  sed '/^INFO/d'
printf 'docs: open %s\n' "$out/site/index.html"
