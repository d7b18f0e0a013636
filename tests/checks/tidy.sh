#!/usr/bin/env bash
# clang-tidy over what changed since the branch left main (on main: in the last commit), and over one of twelve parts
# of all other sources, another one with each commit. --all: over every source.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

parts=12
layers=(kernels data sae eval experiments)
declare -A chosen=()

# choose FILE…: sources stand for themselves, a header for the first source that includes it.
choose() {
  local file
  for file in "$@"; do
    case $file in
      tests/*) ;;
      *.cpp) [[ -f $file ]] && chosen[$file]=1 ;;
      *.h)
        file=$(git grep -lF "#include \"$file\"" -- "${layers[@]/%//*.cpp}" | head -1 || true)
        [[ -n $file ]] && chosen[$file]=1
        ;;
    esac
  done
  return 0
}

mapfile -t sources < <(git ls-files "${layers[@]/%//*.cpp}")
if [[ ${1:-} == --all ]]; then
  choose "${sources[@]}"
  printf 'clang-tidy: all %d sources\n' "${#chosen[@]}"
else
  base=$(git merge-base HEAD origin/main 2>/dev/null || git merge-base HEAD main 2>/dev/null || git rev-parse HEAD)
  if [[ $base == $(git rev-parse HEAD) ]]; then base=$(git rev-parse -q --verify HEAD~1 || echo "$base"); fi
  mapfile -t changed < <(git diff --name-only "$base")
  choose "${changed[@]}"
  mine=${#chosen[@]}
  part=$(($(git rev-list --count HEAD) % parts))
  for ((i = part; i < ${#sources[@]}; i += parts)); do choose "${sources[i]}"; done
  printf 'clang-tidy: %d sources for what changed since %s, %d of part %d of %d\n' \
    "$mine" "${base:0:10}" "$((${#chosen[@]} - mine))" "$((part + 1))" "$parts"
fi

# A file is read as it stands, without the headers that the build precompiles (and clang could not read GCC's).
cmake --preset default -B build/tidy -DASSAY_TESTS=OFF -DASSAY_CUDA=OFF -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON >/dev/null
printf '%s\n' "${!chosen[@]}" | sort |
  xargs -P2 -n4 clang-tidy --quiet -p build/tidy --extra-arg=-Wno-unknown-warning-option 2>/dev/null
