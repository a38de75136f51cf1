"""Compiled functions as densities: a C library through every kind of pointer, and a stand-in for BridgeStan."""

import ctypes
import pathlib
import pickle
import shutil
import subprocess
import sys
import threading
import types

import numpy as np
import pytest

from micropolis.density import Density
from micropolis.errors import DensityError, InputError, InputTypeError
from micropolis.pointers import check_signature

HEADERS = pathlib.Path(__file__).parents[1] / "csrc" / "include"
needs_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="compiles C")
DOUBLES = ctypes.POINTER(ctypes.c_double)
ARGUMENTS = [ctypes.c_size_t, DOUBLES, DOUBLES, DOUBLES, ctypes.c_void_p]

SOURCE = r"""
#include <math.h>
#include <micropolis/density.h>

/* a chain of springs of stiffness *user_data (1 without): rejects x[0] > 100, refuses x[0] < -100 */
int springs(size_t dim, const double *x, double *grad, double *logp, void *user_data) {
  double k = user_data ? *(const double *)user_data : 1.0, sum = 0.0;
  if (x[0] > 100) return 2;
  if (x[0] < -100) return -7;
  for (size_t i = 0; i < dim; i++) {
    double left = x[i] - (i ? x[i - 1] : 0.0), right = i + 1 < dim ? x[i + 1] - x[i] : 0.0;
    sum += left * left;
    grad[i] = k * (right - left);
  }
  *logp = -0.5 * k * sum;
  return 0;
}
/* assigning through the contract's own type makes the compiler check the signature */
mp_logp_grad_fn springs_pointer = springs;
double wrong(double x) { return x; }
"""

STAN = r"""
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

typedef struct { double mean, sd; } model;
static int freed;
model *new_model(double mean, double sd) {
  model *m = calloc(1, sizeof *m);
  m->mean = mean;
  m->sd = sd;
  return m;
}
int messages_freed(void) { return freed; }
/* normal in log scale: theta = log(y); a Jacobian term, and no constant under propto */
int bs_log_density_gradient(const model *m, bool propto, bool jacobian, const double *theta, double *value,
                            double *gradient, char **message) {
  if (theta[0] > 50) {
    *message = strdup("normal_lpdf: Location parameter is inf");
    return -1;
  }
  *value = propto ? 0.0 : 1e9;
  for (int i = 0; i < 2; i++) {
    double y = __builtin_exp(theta[i]), z = (y - m->mean) / m->sd;
    *value += -0.5 * z * z + (jacobian ? theta[i] : 0.0);
    gradient[i] = -z / m->sd * y + (jacobian ? 1.0 : 0.0);
  }
  return 0;
}
void bs_free_error_msg(char *message) {
  freed++;
  free(message);
}
"""


def compile_library(folder, name, source):
    (folder / f"{name}.c").write_text(source)
    target = folder / f"{name}.so"
    command = [
        "gcc",
        "-O1",
        "-Wall",
        "-Werror",
        "-shared",
        "-fPIC",
        f"-I{HEADERS}",
        "-o",
        target,
        folder / f"{name}.c",
        "-lm",
    ]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(target))


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return compile_library(tmp_path_factory.mktemp("c"), "springs", SOURCE)


def declared(library):
    function = library["springs"]  # a new object each time, unlike library.springs
    function.restype, function.argtypes = ctypes.c_int, ARGUMENTS
    return function


def springs_numpy(x, k=1.0):
    stretch = np.diff(x, prepend=0.0)
    return -0.5 * k * np.sum(stretch**2), k * (np.append(stretch[1:], 0.0) - stretch)


def raw_address(library):
    return ctypes.cast(library.springs, ctypes.c_void_p).value


def with_void_pointers(library):
    function = library["springs"]
    function.argtypes = [ctypes.c_ulong, *[ctypes.c_void_p] * 4]
    return function


def with_ndpointers(library):
    function, vector = library["springs"], np.ctypeslib.ndpointer(np.float64)
    function.argtypes = [ctypes.c_size_t, vector, vector, vector, ctypes.c_void_p]
    return function


def low_level(library):
    return pytest.importorskip("scipy").LowLevelCallable(declared(library))


def low_level_by_name(library):
    signature = "int (size_t, double const *, double *, double *, void *)"
    return pytest.importorskip("scipy").LowLevelCallable(declared(library), signature=signature)


@needs_compiler
@pytest.mark.parametrize(
    "way", [raw_address, declared, with_void_pointers, with_ndpointers, low_level, low_level_by_name]
)
def test_c_function(library, way):
    points = np.random.default_rng(3).normal(size=(5, 4))
    d = Density.from_pointer(way(library), 4)
    values, grads = d.value_and_grad(points)
    for x, value, grad in zip(points, values, grads, strict=True):
        expected, slope = springs_numpy(x)
        np.testing.assert_allclose(value, expected, rtol=1e-14)
        np.testing.assert_allclose(grad, slope, rtol=1e-14, atol=1e-15)
    np.testing.assert_array_equal(d(points), values)


@needs_compiler
@pytest.mark.parametrize("kind", ["address", "array", "pointer", "void pointer", "structure"])
def test_user_data(library, kind):
    stiffness = np.array([2.5])

    class Options(ctypes.Structure):
        _fields_ = [("k", ctypes.c_double)]

    user_data = {
        "address": stiffness.ctypes.data,
        "array": np.array([2.5]),
        "pointer": ctypes.pointer(ctypes.c_double(2.5)),
        "void pointer": ctypes.c_void_p(stiffness.ctypes.data),
        "structure": Options(2.5),
    }[kind]
    d, x = Density.from_pointer(declared(library), 3, user_data), np.array([1.0, -1.0, 0.5])
    user_data = None  # the density keeps it
    np.testing.assert_allclose(d(x), springs_numpy(x, 2.5)[0], rtol=1e-14)


@needs_compiler
def test_user_data_of_low_level_callable(library):
    scipy = pytest.importorskip("scipy")
    stiffness = np.array([4.0])
    callable_ = scipy.LowLevelCallable(declared(library), ctypes.c_void_p(stiffness.ctypes.data))
    x = np.array([1.0, 3.0])
    np.testing.assert_allclose(Density.from_pointer(callable_, 2)(x), springs_numpy(x, 4.0)[0], rtol=1e-14)
    with pytest.raises(InputError, match="carries its own"):
        Density.from_pointer(callable_, 2, user_data=stiffness)


@needs_compiler
def test_return_codes(library):
    d = Density.from_pointer(declared(library), 2)
    value, grad = d.value_and_grad([200.0, 0.0])
    assert value == -np.inf and np.isnan(grad).all()
    with pytest.raises(DensityError, match=r"fatal code -7, at x = \[-200\.    1\.\]"):
        d([[0.0, 0.0], [-200.0, 1.0]])


@needs_compiler
def test_two_threads(library):
    d, wrong = Density.from_pointer(declared(library), 6, np.array([1.5])), []

    def work(seed):
        rng = np.random.default_rng(seed)
        handle = d._bind()
        for _ in range(300):
            x = rng.normal(size=6)
            for values in (handle.value(x[None]), d(x)):
                if not np.allclose(values, springs_numpy(x, 1.5)[0], rtol=1e-13):
                    wrong.append(x)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_ctypes_callback():
    @ctypes.CFUNCTYPE(ctypes.c_int, *ARGUMENTS)
    def normal(dim, x, grad, logp, user_data):
        logp[0] = -0.5 * sum(x[i] ** 2 for i in range(dim))
        for i in range(dim):
            grad[i] = -x[i]
        return 0

    d = Density.from_pointer(normal, 2)
    del normal
    assert d([1.0, 2.0]) == -2.5 and d.grad([1.0, 2.0]).tolist() == [-1.0, -2.0]


def numba_cfunc(signature, function):
    return pytest.importorskip("numba").cfunc(signature)(function)


def test_numba_cfunc(monkeypatch):
    def entry(dim, x, grad, logp, user_data):
        if x[0] == 7.0:
            raise ValueError("seven")
        logp[0] = 0.0
        for i in range(dim):
            grad[i] = -x[i]
            logp[0] -= 0.5 * x[i] * x[i]
        return 0

    pointer = "CPointer(float64)"
    for size in ("uintp", "intp"):
        d = Density.from_pointer(numba_cfunc(f"int32({size}, {pointer}, {pointer}, {pointer}, voidptr)", entry), 3)
        assert d([1.0, 2.0, 3.0]) == -7.0 and d.grad([1.0, 2.0, 3.0]).tolist() == [-1.0, -2.0, -3.0]
    ignored = []
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    assert np.isnan(d([7.0, 0.0, 0.0]))  # Numba swallows the exception: not a number, never garbage
    assert isinstance(ignored[0].exc_value, ValueError)
    for wrong in (f"float64(uintp, {pointer}, {pointer}, {pointer}, voidptr)", "int32(uintp, CPointer(float32))"):
        function = (lambda n, x, g, p, u: 0.0) if "voidptr" in wrong else (lambda n, x: 0)
        with pytest.raises(InputTypeError, match=r"got a Numba cfunc of '(float64|int32) \(uint64"):
            Density.from_pointer(numba_cfunc(wrong, function), 3)


@pytest.mark.parametrize(
    "signature",
    [
        "int (size_t, const double *, double *, double *, void *)",
        "int(unsigned long, double const*, double*, double*, void*)",
        "int32_t (uint64_t, double *, double *, double *, void *)",
        "  int (Py_ssize_t, double  *, double * restrict, double *,void*) noexcept nogil",
    ],
)
def test_equivalent_signatures(signature):
    check_signature(signature, "function")


@pytest.mark.parametrize(
    "signature",
    [
        "double (size_t, const double *, double *, double *, void *)",
        "void (size_t, const double *, double *, double *, void *)",
        "long (size_t, const double *, double *, double *, void *)",
        "int (int, const double *, double *, double *, void *)",
        "int (size_t, const float *, double *, double *, void *)",
        "int (size_t, double, double *, double *, void *)",
        "int (size_t, const double *, double *, double **, void *)",
        "int (size_t, const double *, double *, double *)",
        "int (size_t, const double *, double *, double *, void *, int)",
        "double (double)",
        "nonsense",
    ],
)
def test_other_signatures(signature):
    with pytest.raises(InputTypeError) as caught:
        check_signature(signature, "function")
    assert "int (size_t, const double *, double *, double *, void *)" in str(caught.value)
    assert signature in str(caught.value)


@needs_compiler
def test_wrong_declarations(library):
    scipy = pytest.importorskip("scipy")
    undeclared, short, other, wrong = library["springs"], declared(library), declared(library), library["wrong"]
    with pytest.raises(InputTypeError, match=r"no argtypes.*f\.argtypes = \[ctypes\.c_size_t"):
        Density.from_pointer(undeclared, 2)
    short.argtypes = ARGUMENTS[:4]
    with pytest.raises(
        InputTypeError, match=r"got a ctypes function of 'int \(ulong, double \*, double \*, double \*\)'"
    ):
        Density.from_pointer(short, 2)
    other.restype = ctypes.c_double
    with pytest.raises(InputTypeError, match=r"'double \(ulong"):
        Density.from_pointer(other, 2)
    wrong.restype, wrong.argtypes = ctypes.c_double, [ctypes.c_double]
    with pytest.raises(InputTypeError, match=r"got a LowLevelCallable of 'double \(double\)'"):
        Density.from_pointer(scipy.LowLevelCallable(wrong), 2)
    with pytest.raises(InputTypeError, match="interpreter lock"):
        Density.from_pointer(ctypes.PYFUNCTYPE(ctypes.c_int, *ARGUMENTS)(lambda *a: 0), 2)


@pytest.mark.parametrize(
    ("address", "dim", "user_data", "error", "message"),
    [
        (0, 2, 0, InputError, "address"),
        (-8, 2, 0, InputError, "address.*got -8"),
        (2**64, 2, 0, InputError, "address"),
        (1.5, 2, 0, InputTypeError, "address.*got float"),
        (True, 2, 0, InputTypeError, "address.*got bool"),
        (None, 2, 0, InputTypeError, "address.*got NoneType"),
        (print, 2, 0, InputTypeError, "address.*got builtin"),
        (ctypes.CFUNCTYPE(ctypes.c_int, *ARGUMENTS)(), 2, 0, InputError, "address.*got 0"),
        (4096, None, 0, InputTypeError, "dim"),
        (4096, 0, 0, InputError, "dim"),
        (4096, 2, -1, InputError, "user_data"),
        (4096, 2, "data", InputTypeError, "user_data.*got str"),
        (4096, 2, np.arange(6.0)[::2], InputError, "user_data.*strides"),
        (4096, 2, np.array([None]), InputError, "user_data.*object"),
    ],
)
def test_bad_input(address, dim, user_data, error, message):
    with pytest.raises(error, match=message):
        Density.from_pointer(address, dim, user_data)


def test_no_pickle():
    with pytest.raises(InputTypeError, match="pickled"):
        pickle.dumps(Density.from_pointer(4096, 2))


# -- BridgeStan: the C interface of version 2.9 in a stand-in library -------------------------------------------------


def stan_model(library, info="Stan version: 2.36\n\tSTAN_THREADS=true\n"):
    library.new_model.restype, library.new_model.argtypes = ctypes.c_void_p, [ctypes.c_double, ctypes.c_double]
    members = {
        "param_unc_num": lambda self: 2,
        "param_unc_names": lambda self: ["sigma", "y.1"],
        "model_info": lambda self: info,
    }
    model = type("StanModel", (), {"__module__": "bridgestan.model", **members})()
    model.stanlib, model.model = library, library.new_model(2.0, 0.5)
    return model


@needs_compiler
def test_bridgestan_stand_in(tmp_path):
    library = compile_library(tmp_path, "stan", STAN)
    model = stan_model(library)
    for d in (Density.from_pointer(model, 2), Density.from_pointer(model)):
        assert (d.dim, d.names, d.holds_gil) == (2, ("sigma", "y.1"), False)
        x = np.array([0.3, -0.4])
        z = (np.exp(x) - 2.0) / 0.5
        np.testing.assert_allclose(d(x), np.sum(-0.5 * z**2 + x), rtol=1e-14)
        np.testing.assert_allclose(d.grad(x), -z / 0.5 * np.exp(x) + 1, rtol=1e-13)
    assert d([60.0, 0.0]) == -np.inf and library.messages_freed() == 1
    assert Density.from_pointer(stan_model(library, "\tSTAN_THREADS=false\n")).holds_gil
    with pytest.raises(InputError, match="2 unconstrained parameters, got 3"):
        Density.from_pointer(model, 3)
    with pytest.raises(InputError, match="user_data"):
        Density.from_pointer(model, 2, user_data=8)


def test_class_of_the_same_name_is_no_model():
    with pytest.raises(InputTypeError, match="got StanModel"):
        Density.from_pointer(types.new_class("StanModel")(), 2)
