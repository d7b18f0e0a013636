#!/usr/bin/env bash
# Builds and runs every test. Options:
#   --long   also the whole suite under the sanitizers, and long fuzz and fault runs
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
  budget+=("$(printf '%-28s %4d s' "$name" "$((SECONDS - mark))")")
  mark=$SECONDS
}

formatting() {
  git ls-files '*.cpp' '*.h' '*.cu' '*.cuh' | xargs clang-format --dry-run --Werror
  git ls-files '*.sh' .ci/run | xargs shellcheck
  .venv/bin/ruff check --quiet .
}
# tidy FOLDER…: clang-tidy over their sources (it parses each file anew: minutes for all of them).
tidy() {
  git ls-files "${@/%//*.cpp}" | xargs -P2 -n4 clang-tidy --quiet -p build --extra-arg=-Wno-unknown-warning-option 2>/dev/null
}
build() {
  cmake --preset "$1" -DASSAY_TESTS=ON
  cmake --build --preset "$1"
}
# The kernels' own tests, and the step on an emulated device.
sanitized_kernels() {
  cmake --preset asan
  cmake --build --preset asan --target test_kernels test_sae
  build-asan/test_kernels --gtest_brief=1
  build-asan/test_sae --gtest_brief=1 --gtest_filter='*Cuda*'
}
sanitized() {
  cmake --preset "$1"
  cmake --build --preset "$1" --target test_kernels test_data test_sae
  for program in kernels data sae; do
    ASAN_OPTIONS=detect_leaks=1 "build-$1/test_$program" --gtest_brief=1
  done
}

phase "install" bash cmake/setup.sh --tests
phase "formatters and linters" formatting
phase "build" build default
phase "clang-tidy, kernels and sae" tidy kernels sae
phase "tests" ctest --test-dir build --output-on-failure --no-tests=error
phase "kernels under ASan and UBSan" sanitized_kernels
if ((long)); then
  phase "clang-tidy, the rest" tidy data eval experiments
  phase "all under ASan and UBSan" sanitized asan
  phase "all under TSan" sanitized tsan
fi
printf '\n== time\n'
printf '%s\n' "${budget[@]}"
