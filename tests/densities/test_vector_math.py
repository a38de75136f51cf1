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
#include "common/vector_math_float.h"
#define APPLY(name, f) \\
  MP_CLONES void name(size_t n, const double *x, double *y) { \\
    for (size_t i = 0; i < n; i += 8) mp_store8(y + i, f(mp_load8(x + i))); \\
  }
APPLY(vector_exp, mp_exp8)
APPLY(vector_log1p, mp_log1p_unit8)
APPLY(vector_log, mp_log8)
APPLY(vector_exp_negative, mp_exp_negative8)
APPLY(vector_expm1_negative, mp_expm1_negative8)
APPLY(vector_tanh, mp_tanh8)
APPLY(vector_sigmoid, mp_sigmoid8)
#define APPLY_FLOAT(name, f) \\
  MP_CLONES void name(size_t n, const float *x, float *y) { \\
    for (size_t i = 0; i < n; i += 16) { \\
      mp_v16 v; \\
      memcpy(&v, x + i, sizeof v); \\
      v = f(v); \\
      memcpy(y + i, &v, sizeof v); \\
    } \\
  }
APPLY_FLOAT(float_exp, mp_exp16)
APPLY_FLOAT(float_log1p, mp_log1p_unit16)
APPLY_FLOAT(float_log, mp_log16)
APPLY_FLOAT(float_exp_negative, mp_exp_negative16)
APPLY_FLOAT(float_expm1_negative, mp_expm1_negative16)
APPLY_FLOAT(float_tanh, mp_tanh16)
APPLY_FLOAT(float_sigmoid, mp_sigmoid16)
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
    padded = np.concatenate([x, np.zeros(-len(x) % 16, dtype=x.dtype)])
    for library in libraries:
        y = np.empty_like(padded)
        pointers = ctypes.c_void_p(padded.ctypes.data), ctypes.c_void_p(y.ctypes.data)
        getattr(library, name)(ctypes.c_size_t(len(padded)), *pointers)
        results.append(y[: len(x)])
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])
    return results[0]


def ulps(got, truth):
    return np.max(np.abs(got.astype(np.longdouble) - truth) / np.spacing(np.abs(truth).astype(got.dtype)))


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


def log_uniform(low, high, n=100_000):
    return np.exp(np.random.default_rng(2).uniform(np.log(low), np.log(high), n))


TRUTHS = {
    "exp": np.exp,
    "exp_negative": np.exp,
    "expm1_negative": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}


@pytest.mark.parametrize(
    ("name", "bound", "x"),
    [
        ("vector_log", 1.8, log_uniform(1e-300, 1e300)),
        ("vector_log", 1.8, log_uniform(0.5, 2.0)),
        ("vector_exp_negative", 1.1, -log_uniform(1e-10, 708.0)),
        ("vector_expm1_negative", 2.0, -log_uniform(1e-300, 100.0)),
        ("vector_tanh", 3.0, log_uniform(1e-300, 100.0)),
        ("vector_tanh", 3.0, -log_uniform(0.01, 2.0)),
        ("vector_sigmoid", 3.0, log_uniform(1e-10, 100.0)),
        ("vector_sigmoid", 3.0, -log_uniform(1e-10, 700.0)),
        ("float_exp", 1.1, log_uniform(1e-6, 88.7)),
        ("float_exp", 1.1, -log_uniform(1e-6, 87.3)),
        ("float_log1p", 1.8, log_uniform(1e-30, 1.0)),
        ("float_log", 1.8, log_uniform(1e-37, 1e38)),
        ("float_log", 1.8, log_uniform(0.5, 2.0)),
        ("float_exp_negative", 1.1, -log_uniform(1e-6, 87.0)),
        ("float_expm1_negative", 2.0, -log_uniform(1e-30, 100.0)),
        ("float_tanh", 3.0, log_uniform(1e-30, 100.0)),
        ("float_tanh", 3.0, -log_uniform(0.01, 2.0)),
        ("float_sigmoid", 3.0, log_uniform(1e-6, 100.0)),
        ("float_sigmoid", 3.0, -log_uniform(1e-6, 80.0)),
    ],
)
def test_the_others(libraries, name, bound, x):
    kind, _, function = name.partition("_")
    x = x.astype(np.float32 if kind == "float" else np.float64)
    assert ulps(apply(libraries, name, x), TRUTHS[function](x.astype(np.longdouble))) < bound


@pytest.mark.parametrize(("kind", "dtype"), [("vector", np.float64), ("float", np.float32)])
def test_the_others_at_the_edges(libraries, kind, dtype):
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1000.0, -1000.0], dtype=dtype)
    with np.errstate(all="ignore"):
        for function in ("exp", "tanh", "sigmoid"):
            got, truth = apply(libraries, f"{kind}_{function}", x), TRUTHS[function](x)
            np.testing.assert_array_equal(got, truth)
            np.testing.assert_array_equal(np.signbit(got[:2]), np.signbit(truth[:2]))
    np.testing.assert_array_equal(
        apply(libraries, f"{kind}_log", np.array([1, np.inf, np.nan], dtype)), [0, np.inf, np.nan]
    )
    negative = np.array([0.0, -1000.0, -np.inf, np.nan], dtype)
    np.testing.assert_array_equal(apply(libraries, f"{kind}_expm1_negative", negative), [0, -1, -1, np.nan])
    got = apply(libraries, f"{kind}_exp_negative", negative)
    assert got[0] == 1
    assert np.isnan(got[3])
    assert np.all((got[1:3] > 0) & (got[1:3] < 4 * np.finfo(dtype).tiny))
