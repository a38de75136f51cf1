#!/bin/sh
# The C kernels under valgrind: run_valgrind.sh [DRAWS [MOST_DIM]]. Without target clones: valgrind has no AVX-512.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$here/build_runner.sh" "$folder/runner"
valgrind --quiet --error-exitcode=9 --leak-check=full --track-origins=yes "$folder/runner" "${1:-60}" "${2:-512}"
echo "run_valgrind.sh: clean"
