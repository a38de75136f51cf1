#!/bin/sh
# Compile the C kernels and the runner: build_runner.sh OUTPUT [FLAGS ...]. Without target clones unless a flag asks.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
output=$1
shift
numpy=$("${PYTHON:-python}" -c 'import numpy; print(numpy.get_include())')
exec "${CC:-gcc}" -std=gnu11 -g -O1 -ffp-contract=off -fno-omit-frame-pointer -Wall -Wextra -Wno-psabi "$@" \
  -I "$root/csrc/include" -I "$root/csrc" -I "$numpy" \
  "$root"/csrc/common/*.c "$root"/csrc/hamiltonian/*.c "$root"/csrc/metropolis/*.c "$root"/csrc/densities/*.c \
  "$root"/csrc/neural/*.c "$here/runner.c" "$here/runner_neural.c" "$here/runner_weights.c" -lm -o "$output"
