#!/usr/bin/env bash
# Installs what a build needs and nothing else: Debian packages and the Python environment .venv at the repository's
# root. Reuses what is there, and says so. Needs root or sudo only where a package is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'setup: %s\n' "$*"; }

# What the build, the quickstart and the tests use.
packages=(g++ cmake ninja-build ccache python3 python3-venv libhdf5-dev libyaml-cpp-dev libcli11-dev nlohmann-json3-dev
  libfmt-dev libeigen3-dev libssl-dev libzip-dev libgtest-dev libgmock-dev libbenchmark-dev wordnet-base)
# The tests also look at pages in a real browser, and at the code with the formatter and the linters.
if [[ "${1:-}" == --tests ]]; then packages+=(chromium clang-format clang-tidy shellcheck); fi

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  say "Debian packages: all ${#packages[@]} are installed"
else
  as_root=()
  if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
      say "these Debian packages are missing and there is neither root nor sudo to install them: ${missing[*]}" >&2
      say "ask an administrator to run: apt-get install ${missing[*]}" >&2
      exit 1
    fi
    as_root=(sudo)
  fi
  say "installing Debian packages: ${missing[*]}"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# current FILE STAMP: whether the stamp says that the requirements in FILE are installed.
current() { [[ -f $2 && $(<"$2") == "$(sha256sum "$1" | cut -d' ' -f1)" ]]; }
# install FILE STAMP: installs them beside what the build needs, and says so in the stamp.
install() {
  .venv/bin/python -m pip install -q --disable-pip-version-check -c data/python/requirements.txt -r "$1"
  sha256sum "$1" | cut -d' ' -f1 >"$2"
}

stamp=.venv/requirements.sha256
if current data/python/requirements.txt $stamp; then
  say "Python environment: .venv is up to date"
else
  say "making the Python environment .venv (torch is large: a few minutes to download)"
  python3 -m venv .venv
  install data/python/requirements.txt $stamp
fi
stamp=.venv/test-requirements.sha256
if [[ "${1:-}" == --tests ]] && ! current tests/requirements.txt $stamp; then
  say "adding what only the tests use"
  install tests/requirements.txt $stamp
fi
