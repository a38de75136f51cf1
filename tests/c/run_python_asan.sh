#!/bin/sh
# A Python subset of the tests under AddressSanitizer: run_python_asan.sh [PYTEST ARGUMENTS ...]. Builds the package of
# its own in build/asan. What Numba compiles is left out: it carries no checks and takes minutes under them.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$root/build/asan
cd "$root"
[ -f "$build/build.ninja" ] || meson setup "$build" "$root" -Db_sanitize=address -Db_lundef=false
meson compile -C "$build"
rm -rf "$build/package"
mkdir "$build/package"
cp -r micropolis "$build/package/"
cp "$build"/*.so "$build/package/micropolis/"
if [ $# -eq 0 ]; then
  set -- tests/densities tests/tracing/test_program.py tests/tracing/test_fuzz.py tests/test_faults.py tests/test_sample_arguments.py tests/test_interruption.py \
    tests/test_pointers.py tests/test_diagnostics.py tests/test_trace_files.py \
    -k "not cfunc and not numba and not killed and not sigint and not compiled_chains"
fi
# libstdc++ beside libasan: without it the first C++ exception of a library aborts
export LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libstdc++.so)"
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 PYTHONMALLOC=malloc PYTHONPATH="$build/package"
exec python -P -m pytest -q -p no:cacheprovider "$@"
