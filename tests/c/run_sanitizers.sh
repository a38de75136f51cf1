#!/bin/sh
# The C kernels under AddressSanitizer and UBSan: run_sanitizers.sh [DRAWS [MOST_DIM]]. QUICK=1: only without
# target clones, which take most of the time to compile.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for clones in OFF ${QUICK:-ON}; do
  case $clones in ON) flags=-DMP_HAVE_TARGET_CLONES ;; OFF) flags= ;; *) continue ;; esac
  "$here/build_runner.sh" "$folder/runner" -fsanitize=address,undefined -fno-sanitize-recover=all $flags
  ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1 "$folder/runner" "$@"
done
echo "run_sanitizers.sh: clean"
