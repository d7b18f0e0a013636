#!/usr/bin/env bash
# Builds and runs every test. Options:
#   --long   also clang-tidy over every source, all layers under the sanitizers, and more kills and
#            signals (ASSAY_TEST_KILLS, ASSAY_TEST_SIGNALS) in the tests of resuming
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

long=0
for argument in "$@"; do
  case $argument in
    --long) long=1 ;;
    *) printf 'tests/run.sh: unknown option %s (known: --long)\n' "$argument" >&2; exit 2 ;;
  esac
done

budget=()
mark=$SECONDS
# phase NAME COMMAND…: run it and note how long it took.
phase() {
  local name=$1
  shift
  printf '\n== %s\n' "$name"
  "$@"
  budget+=("$(printf '%-32s %4d s' "$name" "$((SECONDS - mark))")")
  mark=$SECONDS
}

install() {
  bash cmake/setup.sh --tests
  bash tests/sae/formats/setup.sh
}
formatting() {
  git ls-files '*.cpp' '*.h' '*.cu' '*.cuh' | xargs clang-format --dry-run --Werror
  git ls-files '*.sh' .ci/run | xargs shellcheck
  .venv/bin/ruff check --quiet .
  .venv/bin/ruff format --quiet --check .
  .venv/bin/python tests/checks/layout.py
  .venv/bin/python tests/checks/odr.py
}
build() {
  cmake --preset "$1" -DASSAY_TESTS=ON
  cmake --build --preset "$1"
}
# sanitized PRESET LAYER…: their tests under it.
sanitized() {
  local preset=$1 layer
  shift
  cmake --preset "$preset"
  cmake --build --preset "$preset" --target "${@/#/test_}"
  for layer in "$@"; do
    ASAN_OPTIONS=detect_leaks=1 "build-$preset/test_$layer" --gtest_brief=1
  done
}
# The kernels' own tests, and the step on an emulated device.
sanitized_kernels() {
  sanitized asan kernels
  cmake --build --preset asan --target test_sae
  build-asan/test_sae --gtest_brief=1 --gtest_filter='*Cuda*'
}

phase "install" install
phase "formatters and linters" formatting
phase "build" build default
if ((long)); then
  phase "clang-tidy, every source" bash tests/checks/tidy.sh --all
else
  phase "clang-tidy, changes and a part" bash tests/checks/tidy.sh
fi
if ((long)); then export ASSAY_TEST_KILLS=100 ASSAY_TEST_SIGNALS=4; fi
phase "tests, two at a time" ctest --test-dir build -j2 --output-on-failure --no-tests=error
if ((long)); then
  phase "all under ASan and UBSan" sanitized asan kernels data sae eval
  phase "all under TSan" sanitized tsan kernels data sae eval
else
  phase "kernels under ASan and UBSan" sanitized_kernels
fi
printf '\n== time\n'
printf '%s\n' "${budget[@]}"
printf '%-32s %4d s of 1500 s\n' "in all" "$SECONDS"
