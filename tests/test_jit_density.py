"""Densities compiled by Numba: values against NumPy, gradients against differences, data of every layout, errors."""

import ctypes
import pickle
import platform
import subprocess
import sys
import threading
from collections import namedtuple

import numpy as np
import pytest

numba = pytest.importorskip("numba")

from micropolis.density import Density  # noqa: E402
from micropolis.errors import DensityError, InputError, InputTypeError, MissingExtraError  # noqa: E402

SCALE = 1.0


def coupled(x, grad):
    """-sum (x_i - x_{i+1}^2)^2 / 2 - sum x_i^2 / 8, its gradient by hand."""
    logp = 0.0
    for i in range(x.size):
        grad[i] = -0.25 * x[i]
        logp -= 0.125 * x[i] * x[i]
    for i in range(x.size - 1):
        r = x[i] - x[i + 1] ** 2
        logp -= 0.5 * r * r
        grad[i] -= r
        grad[i + 1] += 2.0 * r * x[i + 1]
    return logp


def coupled_numpy(x):
    return -0.5 * np.sum((x[:-1] - x[1:] ** 2) ** 2) - 0.125 * np.sum(x**2)


def regression(x, grad, data):
    """Linear regression with noise sd data.sigma; raises far away."""
    if abs(x[0]) > 1e6:
        raise ValueError("too far")
    logp = 0.0
    for k in range(x.size):
        grad[k] = 0.0
    for i in range(data.y.size):
        r = data.y[i]
        for k in range(x.size):
            r -= data.X[i, k] * x[k]
        logp -= 0.5 * (r / data.sigma) ** 2
        for k in range(x.size):
            grad[k] += r * data.X[i, k] / data.sigma**2
    return logp


def regression_data(n=20, seed=1):
    rng = np.random.default_rng(seed)
    return {"X": rng.normal(size=(n, 3)), "y": rng.normal(size=n), "sigma": 0.7}


def regression_numpy(x, data):
    r = data["y"] - data["X"] @ x
    return -0.5 * np.sum(r**2) / data["sigma"] ** 2, data["X"].T @ r / data["sigma"] ** 2


def check_gradient(d, x):
    """Central differences: error about eps^(2/3) relative to the values involved."""
    h = 6e-6
    difference = [(d(x + h * e) - d(x - h * e)) / (2 * h) for e in np.eye(d.dim)]
    np.testing.assert_allclose(d.grad(x), difference, rtol=1e-7, atol=1e-8 * max(1.0, abs(d(x))))


@pytest.mark.parametrize("compiler", [lambda f: f, numba.njit, numba.njit("float64(float64[:], float64[:])")])
def test_function_without_data(compiler):
    d = Density.from_numba(compiler(coupled), 5)
    points = np.random.default_rng(0).normal(size=(4, 5))
    np.testing.assert_allclose(d(points), [coupled_numpy(x) for x in points], rtol=1e-14)
    check_gradient(d, points[0])


def test_data_by_name():
    data = regression_data()
    d = Density.from_numba(regression, 3, data)
    x = np.array([0.3, -1.0, 2.0])
    value, grad = regression_numpy(x, data)
    np.testing.assert_allclose(d(x), value, rtol=1e-13)
    np.testing.assert_allclose(d.grad(x), grad, rtol=1e-12)
    check_gradient(d, x)


def test_same_types_compile_once_and_data_are_not_frozen():
    one, two = regression_data(seed=1), regression_data(n=7, seed=2)
    first, second = Density.from_numba(regression, 3, one), Density.from_numba(regression, 3, two)
    assert first._bind().functions["logp_grad"] == second._bind().functions["logp_grad"]
    assert first._bind().functions["user_data"] != second._bind().functions["user_data"]
    x = np.ones(3)
    np.testing.assert_allclose([first(x), second(x)], [regression_numpy(x, d)[0] for d in (one, two)], rtol=1e-13)


def test_changed_global_is_seen():
    def scaled(x, grad):
        grad[0] = -SCALE * x[0]
        return -0.5 * SCALE * x[0] ** 2

    global SCALE
    before = Density.from_numba(scaled, 1)
    SCALE = 3.0
    try:
        assert (before([1.0]), Density.from_numba(scaled, 1)([1.0])) == (-0.5, -1.5)
    finally:
        SCALE = 1.0


def weighted(x, grad, data):
    """x[0] times sum over i of (i + 1) data[i], so that order and strides show."""
    total = 0.0
    for i, entry in enumerate(data.flat):
        total += (i + 1) * entry
    grad[0] = total + data.ndim
    return x[0] * total


ARRAYS = {
    **{dtype: np.arange(1, 8).astype(dtype) for dtype in ("float64", "int64", "float32", "int32", "uint8")},
    "bool": np.array([True, False, True, True]),
    "C": np.arange(12.0).reshape(3, 4),
    "F": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "3-d int": np.arange(24).reshape(2, 3, 4),
    "strided": np.arange(20.0)[::3],
    "reversed": np.arange(5.0)[::-1],
    "transposed view": np.arange(24.0).reshape(2, 3, 4)[:, ::2].T,
    "unaligned": np.frombuffer(b"\0" + np.arange(4.0).tobytes(), dtype=np.float64, offset=1),
    "empty": np.empty(0),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_array_layouts(name):
    array = ARRAYS[name]
    d = Density.from_numba(weighted, 1, array)
    expected = float(np.sum(np.arange(1, array.size + 1) * array.ravel().astype(float)))
    assert (d([2.0]), d.grad([2.0])[0]) == (2 * expected, expected + array.ndim)


def test_read_only_array():
    array = np.arange(4.0)
    array.flags.writeable = False
    assert Density.from_numba(weighted, 1, array)([1.0]) == 0 + 2 + 6 + 12


def nested(x, grad, data):
    flag, (count, (y, z)), scale = data
    grad[0] = 0.0
    logp = scale * count + y[1] * x[0] + z[1, 0]
    if flag:
        grad[0] = y[1]
    return logp


def test_nested_tuples_and_scalars():
    y, z = np.array([1, 5]), np.asfortranarray([[1.0, 2.0], [3.0, 4.0]])
    for flag in (True, np.bool_(False)):
        d = Density.from_numba(nested, 1, (flag, (-3, (y, z)), np.float32(0.5)))
        assert (d([2.0]), d.grad([2.0])[0]) == (0.5 * -3 + 10 + 3, 5.0 if flag else 0.0)


def test_namedtuple_list_and_scalar_data():
    Point = namedtuple("Point", "a b")

    def linear(x, grad, data):
        grad[0] = data.a[1] * data.b
        return grad[0] * x[0]

    def slope(x, grad, data):
        grad[0] = data
        return data * x[0]

    assert Density.from_numba(linear, 1, Point([1.0, 2.0], 4))([3.0]) == 24.0
    assert [Density.from_numba(slope, 1, value)([3.0]) for value in (2, 2.5, True)] == [6.0, 7.5, 3.0]


def test_data_outlive_the_caller():
    d = Density.from_numba(weighted, 1, np.full(100_000, 2.0))
    handle = d._bind()
    del d
    np.full(100_000, 9.0)
    assert handle.value(np.ones((1, 1)))[0] == 100_000 * 100_001.0


@pytest.mark.parametrize("wrap", [lambda f: f, numba.njit])
def test_exception_names_cause_and_point(wrap, capfd):
    d = Density.from_numba(wrap(regression), 3, regression_data())
    with pytest.raises(DensityError, match=r"ValueError: too far, at x = \[2\.e\+06 1\.e\+00 1\.e\+00\]") as caught:
        d([2e6, 1.0, 1.0])
    assert isinstance(caught.value.__cause__, ValueError)
    with pytest.raises(DensityError, match="too far"):
        d.value_and_grad(np.array([[1.0, 1.0, 1.0], [2e6, 1.0, 1.0]]))
    assert d([1.0, 1.0, 1.0]) < 0  # still usable
    assert capfd.readouterr().err == ""  # Numba's own wrapper would print and return 0


def test_exception_without_the_interpreter_lock():
    """ctypes lets go of the lock: throwing from two threads at once gives the fatal code each time."""
    handle = Density.from_numba(regression, 3, regression_data())._bind()
    functions = handle.functions
    call = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_size_t, *[ctypes.c_void_p] * 4)(functions["logp_grad"])
    codes = []

    def work():
        x, grad, logp = np.full(3, 1e9), np.empty(3), np.empty(1)
        mine = {call(3, x.ctypes.data, grad.ctypes.data, logp.ctypes.data, functions["user_data"]) for _ in range(2000)}
        codes.append(mine)

    run_in_threads(work)
    assert codes == [{-1}, {-1}]


def run_in_threads(work):
    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_two_threads():
    """One density, a handle per thread, called without the interpreter lock, as chains do."""
    data = regression_data(n=500)
    d = Density.from_numba(regression, 3, data)
    wrong = []

    def work():
        handle = d._bind()
        functions, rng = handle.functions, np.random.default_rng(threading.get_ident())
        call = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_size_t, *[ctypes.c_void_p] * 4)(functions["logp_grad"])
        for _ in range(200):
            x, grad, logp = rng.normal(size=3), np.empty(3), np.empty(1)
            call(3, x.ctypes.data, grad.ctypes.data, logp.ctypes.data, functions["user_data"])
            value, slope = regression_numpy(x, data)
            if not (np.allclose(logp, value, rtol=1e-12) and np.allclose(grad, slope, rtol=1e-9, atol=1e-9)):
                wrong.append(x)

    run_in_threads(work)
    assert wrong == []


@pytest.mark.skipif(platform.machine() != "x86_64", reason="reads x86 assembly")
def test_hot_path_counts_no_references():
    """Arrays of the data are nobody's to count: no call of Numba's counting is left in the machine code."""
    code = Density.from_numba(regression, 3, regression_data())._compiled.entry._library.get_asm_str()
    assert [line for line in code.splitlines() if "$NRT_incref" in line or "$NRT_decref" in line] == []


def test_nan_and_raising_at_zero_do_not_fail_construction():
    def log_of(x, grad):
        grad[0] = 1.0 / x[0]
        return np.log(x[0])

    def half_line(x, grad):
        if x[0] <= 0:
            return -np.inf
        grad[0] = -1.0
        return -x[0]

    def refuses(x, grad):
        if x[0] == 0:
            raise ValueError
        grad[0] = np.nan
        return np.nan

    assert Density.from_numba(log_of, 1)([1.0]) == 0.0
    assert Density.from_numba(log_of, 1)([0.0]) == -np.inf  # NumPy's division
    assert Density.from_numba(half_line, 1)([2.0]) == -2.0
    assert np.isnan(Density.from_numba(refuses, 1)([1.0]))


def unset(x, grad):
    grad[0] = -x[0]
    return -0.5 * (x[0] ** 2 + x[1] ** 2)


def adds(x, grad):
    for i in range(x.size):
        grad[i] -= x[i]
    return -0.5 * np.sum(x * x)


def reads_beyond(x, grad):
    for i in range(x.size):
        grad[i] = -x[i]
    return -0.5 * (x[0] ** 2 + x[2] ** 2)


def writes_beyond(x, grad):
    for i in range(4):
        grad[i] = -1.0
    return -np.sum(x)


def returns_array(x, grad):
    return x


def returns_nothing(x, grad):
    grad[0] = 0.0


def sometimes(x, grad):
    grad[0] = 0.0
    if x[0] > 0:
        return -x[0]


def untyped(x, grad):
    return x.no_such_method()


@pytest.mark.parametrize(
    ("function", "dim", "data", "error", "message"),
    [
        (unset, 2, None, InputError, r"grad\[1\] is not assigned"),
        (adds, 2, None, InputError, r"grad\[0\] is not assigned"),
        (reads_beyond, 2, None, InputError, "dim=2 right"),
        (writes_beyond, 2, None, InputError, "outside its 2 elements"),
        (returns_array, 1, None, InputTypeError, "return a float on every path, it returns array"),
        (returns_nothing, 1, None, InputTypeError, "it returns none"),
        (sometimes, 1, None, InputTypeError, r"it returns OptionalType\(float64\)"),
        (untyped, 1, None, InputTypeError, r"no_such_method.*test_jit_density.py"),
        (coupled, 1, 1.0, InputTypeError, r"function of \(x, grad, data\), used with data, got \(x, grad\)"),
        (regression, 3, None, InputTypeError, r"function of \(x, grad\), used without data"),
        (regression, 3, {"y": np.ones(3)}, InputTypeError, "attribute 'X'"),
        (regression, 3, {"y": "text"}, InputTypeError, r"data\['y'\].*got str"),
        (regression, 3, {"y": np.ma.ones(3)}, InputTypeError, "MaskedArray"),
        (regression, 3, {"y": [[1.0], [1.0, 2.0]]}, InputError, r"data\['y'\]: expected an array"),
        (regression, 3, {"y": np.ones(3, ">f8")}, InputTypeError, ">f8"),
        (regression, 3, {"y": 2**63}, InputError, r"data\['y'\]"),
        (regression, 3, {"not a name": 1.0}, InputError, "names of attributes"),
        (print, 1, None, InputTypeError, "expected a Python function"),
        (coupled, 0, None, InputError, "dim"),
    ],
)
def test_bad_input(function, dim, data, error, message):
    with pytest.raises(error, match=message):
        Density.from_numba(function, dim, data)


def test_pickle():
    data = regression_data()
    d, x = Density.from_numba(regression, 3, data), np.array([0.1, 0.2, 0.3])
    assert pickle.loads(pickle.dumps(d))(x) == d(x)
    offset = 2.0
    local = Density.from_numba(lambda x, grad: coupled_njit(x, grad) + offset, 3)
    assert pickle.loads(pickle.dumps(local))(x) == local(x) == coupled_numpy(x) + offset


coupled_njit = numba.njit(coupled)


def test_numba_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(MissingExtraError, match=r"from_numba needs numba.*micropolis\[numba\]"):
        Density.from_numba(coupled, 2)


def test_numba_is_imported_when_used():
    code = "import sys, micropolis.density, micropolis.jit; sys.exit('numba' in sys.modules or 'scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0
