"""The products of the tile engine with the vectors of every instruction set that this machine has, against NumPy."""

import ctypes
import itertools
import pathlib
import shutil
import subprocess

import numpy as np
import pytest

CSRC = pathlib.Path(__file__).parents[2] / "csrc"
TILE = 64
SOURCE = """
#include "neural/tile_kernels.h"
#ifdef MP_HAVE_TARGET_CLONES
#define EACH(name, ...) \\
  switch (bytes) { \\
  case 16: name##_16(__VA_ARGS__); return 1; \\
  case 32: if (!__builtin_cpu_supports("x86-64-v3")) return 0; name##_32(__VA_ARGS__); return 1; \\
  default: if (!__builtin_cpu_supports("x86-64-v4")) return 0; name##_64(__VA_ARGS__); return 1; \\
  }
#else
#define EACH(name, ...) if (bytes == 16) name##_16(__VA_ARGS__); return bytes == 16;
#endif
int linear(int bytes, int64_t places, int64_t n_out, int64_t n_in, const real *w, const real *bias, const real *x,
           real *out, int accumulate, int relu) {
  EACH(linear_tile, places, n_out, n_in, w, bias, x, out, accumulate, relu)
}
int transposed(int bytes, int64_t places, int64_t n_out, int64_t n_in, const real *w, const real *delta,
               real *out, int accumulate) {
  EACH(transposed_tile, places, n_out, n_in, w, delta, out, accumulate)
}
int outer(int bytes, int64_t places, int64_t n_out, int64_t n_in, const real *delta, const real *x, real *sums) {
  EACH(outer_tile, places, n_out, n_in, delta, x, sums)
}
"""


@pytest.fixture(scope="module")
def libraries(tmp_path_factory):
    """dtype -> the kernels compiled for it."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("tile_products")
    (folder / "products.c").write_text(SOURCE)
    loaded = {}
    for dtype, single in ((np.float64, []), (np.float32, ["-DMP_SINGLE"])):
        for clones in (["-DMP_HAVE_TARGET_CLONES"], []):
            command = [compiler, "-O2", "-std=gnu11", "-ffp-contract=fast", "-fPIC", "-shared", "-w", *single, *clones]
            target = folder / f"{np.dtype(dtype).name}.so"
            command += ["-I", str(CSRC), str(folder / "products.c"), "-o", str(target)]
            result = subprocess.run(command, capture_output=True, text=True)
            if result.returncode == 0:
                break
        assert result.returncode == 0, result.stderr
        loaded[dtype] = ctypes.CDLL(str(target))
    return loaded


def call(library, name, bytes_, *arguments):
    converted = [
        ctypes.c_void_p(a.ctypes.data) if isinstance(a, np.ndarray) else None if a is None else ctypes.c_int64(a)
        for a in arguments
    ]
    if not getattr(library, name)(ctypes.c_int(bytes_), *converted):
        pytest.skip(f"no vectors of {bytes_} bytes")


@pytest.mark.parametrize("bytes_", [16, 32, 64])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_products(libraries, dtype, bytes_):
    rng = np.random.default_rng(0)
    tolerance = 200 * np.finfo(dtype).eps  # sums of at most 13 products of size below 10
    lanes = 64 // np.dtype(dtype).itemsize
    for case, (n_out, n_in) in enumerate(itertools.product((1, 2, 3, 4, 5, 6, 7, 12, 13), repeat=2)):
        places = TILE - case % (TILE // lanes) * lanes  # whole vectors, the rest is left alone
        w, bias = rng.normal(size=(n_out, n_in)).astype(dtype), rng.normal(size=n_out).astype(dtype)
        x, delta = (rng.normal(size=(n, TILE)).astype(dtype) for n in (n_in, n_out))
        x[0, 5] = np.nan  # in one row alone, and there through the ReLU
        for with_bias, accumulate, relu in itertools.product((0, 1), repeat=3):
            start = rng.normal(size=(n_out, TILE)).astype(dtype)
            out = start.copy()
            call(
                libraries[dtype],
                "linear",
                bytes_,
                places,
                n_out,
                n_in,
                w,
                bias if with_bias else None,
                x,
                out,
                accumulate,
                relu,
            )
            truth = w @ x + (start if accumulate else bias[:, None] * with_bias)
            truth = np.maximum(truth, 0) if relu else truth
            truth[:, places:] = start[:, places:]
            np.testing.assert_allclose(out, truth, rtol=tolerance, atol=tolerance)
        for accumulate in (0, 1):
            start = rng.normal(size=(n_in, TILE)).astype(dtype)
            out = start.copy()
            call(libraries[dtype], "transposed", bytes_, places, n_out, n_in, w, delta, out, accumulate)
            truth = w.T @ delta + start * accumulate
            truth[:, places:] = start[:, places:]
            np.testing.assert_allclose(out, truth, rtol=tolerance, atol=tolerance)
        start = rng.normal(size=(n_out, n_in, lanes)).astype(dtype)
        sums = start.copy()
        call(libraries[dtype], "outer", bytes_, places, n_out, n_in, delta, x, sums)
        stripes = (delta[:, :places].reshape(n_out, 1, -1, lanes)) * x[:, :places].reshape(1, n_in, -1, lanes)
        np.testing.assert_allclose(sums, start + stripes.sum(axis=2), rtol=tolerance, atol=tolerance)
