"""csrc/common/vector_math.h against NumPy in extended precision; all target clones give the bits of the baseline."""

import ctypes
import pathlib
import shutil
import subprocess

import numpy as np
import pytest

CSRC = pathlib.Path(__file__).parents[2] / "csrc"
SOURCE = """
#include "common/vector_math.h"
#define APPLY(name, f) \\
  MP_CLONES void name(size_t n, const double *x, double *y) { \\
    for (size_t i = 0; i < n; i += 8) mp_store8(y + i, f(mp_load8(x + i))); \\
  }
APPLY(vector_exp, mp_exp8)
APPLY(vector_log1p, mp_log1p_unit8)
"""


@pytest.fixture(scope="module")
def libraries(tmp_path_factory):
    """The same source twice: for the baseline alone, and with target clones where the compiler has them."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("vector_math")
    (folder / "vector_math.c").write_text(SOURCE)
    loaded = []
    for name, extra in (("baseline", []), ("clones", ["-DMP_HAVE_TARGET_CLONES"])):
        command = [compiler, "-O3", "-std=gnu11", "-ffp-contract=off", "-fPIC", "-shared", "-Wno-psabi", *extra]
        command += ["-I", str(CSRC), str(folder / "vector_math.c"), "-o", str(folder / f"{name}.so")]
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 0 or name == "clones", result.stderr
        if result.returncode == 0:
            loaded.append(ctypes.CDLL(str(folder / f"{name}.so")))
    return loaded


def apply(libraries, name, x):
    results = []
    padded = np.concatenate([x, np.zeros(-len(x) % 8)])
    for library in libraries:
        y = np.empty_like(padded)
        pointers = ctypes.c_void_p(padded.ctypes.data), ctypes.c_void_p(y.ctypes.data)
        getattr(library, name)(ctypes.c_size_t(len(padded)), *pointers)
        results.append(y[: len(x)])
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])
    return results[0]


def ulps(got, truth):
    return np.max(np.abs(got.astype(np.longdouble) - truth) / np.spacing(np.abs(truth).astype(np.float64)))


@pytest.mark.parametrize(("low", "high"), [(-745.0, 709.7), (-1.0, 1.0), (-1e-9, 1e-9), (-745.13, -708.0)])
def test_exp(libraries, low, high):
    x = np.random.default_rng(0).uniform(low, high, 200_000)
    assert ulps(apply(libraries, "vector_exp", x), np.exp(x.astype(np.longdouble))) < 1.1


def test_exp_at_the_edges(libraries):
    x = np.array(
        [0.0, -0.0, np.inf, -np.inf, np.nan, 709.782712893384, 709.7827128933841, -745.2, -1e300, 1e300, 5e-324]
    )
    with np.errstate(over="ignore"):
        truth = np.exp(x)
    np.testing.assert_array_equal(apply(libraries, "vector_exp", x), truth)


@pytest.mark.parametrize("spread", ["uniform", "every size"])
def test_log1p_of_the_unit_interval(libraries, spread):
    x = np.random.default_rng(1).random(200_000)
    x = x if spread == "uniform" else 10 ** (-320 * x)
    assert ulps(apply(libraries, "vector_log1p", x), np.log1p(x.astype(np.longdouble))) < 1.8


def test_log1p_at_the_edges(libraries):
    x = np.array([0.0, 1.0, 5e-324, np.nan])
    np.testing.assert_array_equal(apply(libraries, "vector_log1p", x), np.log1p(x))
