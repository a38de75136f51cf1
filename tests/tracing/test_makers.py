"""What stands in while a trace is repeated: makers of arrays, math, splines, copies of data that code fills."""

import math
import types

import numpy as np
import pytest
from scipy import interpolate, sparse, special
from tracing.harness import Program, check

from micropolis.tracing.arrays import NeedsArrays, Traced
from micropolis.tracing.fillable import Fillable, fillable
from micropolis.tracing.graph import Graph
from micropolis.tracing.makers import namespaces_of, stand_ins

Y = np.array([0.5, np.nan, 1.5, np.nan, -0.4, 2.0])
MISSING = np.isnan(Y)
SCALE = np.full(2, 2.0)
POINTS = np.random.default_rng(3).normal(scale=0.8, size=(2, 6))
DATA = {"y": Y, "n": 6}
KNOTS = np.array([-2.0, -1.0, -0.3, 0.4, 1.2, 2.5])


# -- data that are filled --------------------------------------------------------------------------------------------


def imputed(x):
    full = Y.copy()
    full[MISSING] = x[:2]
    return -np.sum((full - x[2]) ** 2) + Y[0] * x[0]


def by_astype(x):
    full = Y.astype(float)
    full[1], full[3] = x[0], x[1]
    return np.sum(full**2)


def by_np_copy(x):
    full = np.copy(Y)
    full[[1, 3]] = x[:2]
    other = np.array(Y)
    other[MISSING] = 0.0
    other[0] = x[4]
    return np.sum(full * other) + np.nansum(Y * x)


def by_product(x):
    full, more = Y * 1.0, Y + 0
    full[MISSING] = x[:2]
    more[MISSING] = np.exp(x[2:4])
    return np.sum(full * more)


def from_a_dictionary(x):
    full = DATA["y"].copy()
    full[np.isnan(full)] = x[: int(np.isnan(full).sum())]
    return np.sum(full) * DATA["n"]


def helper(values):
    full = Y[:4].copy()
    full[np.isnan(full)] = values
    return full


def by_a_helper(x):
    return np.sum(helper(x[:2]) ** 2) + recursive(x, 2)


def recursive(x, depth):
    return recursive(x, depth - 1) * 2 if depth else Y.copy()[0] * x[0]


def in_a_closure():
    y, weights = Y.copy(), np.arange(6.0)

    def f(x, scale=SCALE):
        full = y.copy()
        full[MISSING] = x[:2]
        factors = scale.copy()
        factors[0] = x[2]
        return weights @ full + factors @ x[:2]

    return f


class Model:
    def __init__(self):
        self.y = Y.copy()

    def density(self, x):
        full = self.y.copy()
        full[MISSING] = x[1:3]
        return np.sum(full * x)

    __call__ = density


@pytest.mark.parametrize(
    "f",
    [
        imputed,
        by_astype,
        by_np_copy,
        by_product,
        from_a_dictionary,
        by_a_helper,
        in_a_closure(),
        Model().density,
        Model(),
    ],
    ids=lambda f: getattr(f, "__name__", type(f).__name__),
)
def test_data_are_filled(f):
    before = Y.copy()
    with pytest.raises((NeedsArrays, ValueError)):  # NumPy wraps what it meets in an assignment
        Program(f, 6)

    def names(x):
        return f(x)

    check(names, POINTS, again=True)
    np.testing.assert_array_equal(Y, before)
    assert type(Y) is np.ndarray
    assert type(globals()["Y"]) is np.ndarray


def test_fillable_arrays_are_plain_otherwise():
    y = np.arange(6.0).reshape(2, 3).view(Fillable)
    for result in (
        y + 1,
        y @ y.T,
        np.exp(y),
        y.sum(axis=0),
        np.sort(y),
        np.concatenate([y, y]),
        y.mean(axis=1),
        y.copy(),
    ):
        assert type(result) is np.ndarray
    assert type(y.sum()) is np.float64
    assert type(special.expit(y)) is np.ndarray
    out = np.zeros((2, 3))
    np.add(y, y, out=out)
    y += 1
    np.testing.assert_array_equal(out + 2, 2 * np.asarray(y))

    graph = Graph()
    with stand_ins(graph, []):
        assert isinstance(y.copy(), Traced)
        assert isinstance(y[0].copy(), Traced)
        assert isinstance(y * 1.0, Traced)
        assert type(y * 2.0) is type(y.astype(int)) is np.ndarray
        assert type(np.unique(y)) is np.ndarray
        assert type(special.logsumexp(y, axis=0)) is np.ndarray
    assert type(y.copy()) is np.ndarray


def test_copies_of_functions():
    """What is not the user's, or holds no arrays, is left alone; what was copied runs in the same module."""
    assert fillable(len) is len
    f = in_a_closure()
    copy = fillable(f)
    assert copy is not f
    assert copy.__code__ is f.__code__
    assert f.__closure__[0].cell_contents is not copy.__closure__[0].cell_contents
    assert copy.__globals__["__name__"] == __name__
    with pytest.raises(TypeError) as raised:
        copy(None)
    assert any(names is globals() for names in namespaces_of(raised.tb))


# -- makers ----------------------------------------------------------------------------------------------------------


def made(x):
    out, ones = np.zeros((2, 3)), np.ones_like(Y)
    out[0], out[1, 1] = x[:3], 4.0
    ones[2] = x[5]
    full, like = np.full(2, x[0]), np.full_like(Y, x[1])
    full[1] = like[0]
    eye = np.eye(2)
    eye[0, 1] = x[3]
    return np.sum(out) * ones[2] + full @ eye @ full + np.sum(like)


def joined(x):
    rows = np.array([[x[0], 2.0], [np.sum(x), x[1]]])
    stacked = np.array([x[:3], x[3:], [1.0, 2.0, 3.0]])
    pieces = np.r_[x[:2], 1.0, x[0], 0:2] @ np.r_[Y[[0, 2]], 1.0, 1.0, 1.0, 1.0]
    table = np.c_[x, Y[::-1] * 0 + 1, np.arange(6)][[0, 1, 3]]
    same = np.asarray(x) @ np.asarray(x, dtype=float)
    return np.linalg.det(rows) + np.linalg.slogdet(np.eye(3) * 9 + stacked)[1] + pieces + np.nansum(table) + same


def known(x):
    """Arrays that the code makes of numbers serve as indices, masks, conditions and decisions."""
    table = np.array([2.0, -1.0, 0.5])
    if table[0] > 1 and np.any(table < 0):
        out = x[:3][table > 0].sum() + np.sum(x[np.argsort(table)]) + x[int(table[0])]
    return out + np.searchsorted(np.sort(table), 0.7) * x[0] + np.sum(np.where(table > 0, x[3:], 0.0))


def by_math(x):
    total = math.exp(x[0]) + math.log(2 + x[1] ** 2) + math.log(3 + x[0] ** 2, 2) + math.sqrt(1 + x[2] ** 2)
    total += math.lgamma(2.5 + math.tanh(x[3])) + math.erf(x[4]) + math.pow(2, x[5]) + math.atan2(x[0], 2.0)
    total += math.gamma(2.5 + math.tanh(x[3])) + math.fsum([x[0], 1.0, x[1]]) + math.hypot(x[0], x[1]) + math.pi
    return total + math.dist([x[0], 1.0], [0.0, x[1]]) + math.prod([x[0], x[1], 2.0])


def by_numpys_polynomials(x):
    series = np.polynomial.polynomial.polyval(x[0], [1.0, x[1], x[2]])
    return (
        series + np.polynomial.chebyshev.chebval(x[3], [1.0, x[4], 0.5, x[5]]) + np.sum(special.polygamma(2, np.exp(x)))
    )


@pytest.mark.parametrize("f", [made, joined, known, by_math, by_numpys_polynomials])
def test_code_that_makes_arrays(f):
    check(f, POINTS, again=True)


def test_vectorize():
    check(lambda x: np.sum(np.vectorize(lambda v, w: v**2 + w)(x, 2.0)), POINTS)
    long = np.random.default_rng(0).normal(size=40)
    check(lambda x: np.sum(np.vectorize(lambda v: v**2 + 1)(x)), long, again=True)
    with pytest.raises(NeedsArrays):
        Program(lambda x: np.sum(np.vectorize(lambda v: v**2 + 1)(x)), 40)


# -- splines ---------------------------------------------------------------------------------------------------------

VALUES = np.sin(2 * KNOTS)
SPLINES = {
    "cubic": interpolate.CubicSpline(KNOTS, VALUES),
    "natural": interpolate.CubicSpline(KNOTS, VALUES, bc_type="natural", extrapolate=False),
    "periodic": interpolate.CubicSpline(KNOTS, np.append(VALUES[:-1], VALUES[0]), bc_type="periodic"),
    "pchip": interpolate.PchipInterpolator(KNOTS, VALUES),
    "akima": interpolate.Akima1DInterpolator(KNOTS, VALUES),
    "b-spline": interpolate.make_interp_spline(KNOTS, VALUES, k=3),
    "b-spline without extrapolation": interpolate.BSpline(
        np.arange(-5.0, 7), np.cos(np.arange(8.0)), 3, extrapolate=False
    ),
    "linear b-spline": interpolate.make_interp_spline(KNOTS, VALUES, k=1),
    "repeated knots": interpolate.BSpline(np.array([-3.0] * 4 + [0.0, 0.0] + [3.0] * 4), np.cos(np.arange(6.0)), 3),
    "univariate": interpolate.InterpolatedUnivariateSpline(KNOTS, VALUES),
    "interp1d": interpolate.interp1d(KNOTS, VALUES, bounds_error=False, fill_value=(1.0, 2.0)),
    "interp1d cubic": interpolate.interp1d(KNOTS, VALUES, kind="cubic", fill_value="extrapolate"),
    "two columns": interpolate.CubicSpline(KNOTS, np.stack([VALUES, VALUES**2], axis=1)),
    "two rows": interpolate.PchipInterpolator(KNOTS, np.stack([VALUES, VALUES**2]), axis=1),
    "two b-splines": interpolate.make_interp_spline(KNOTS, np.stack([VALUES, VALUES**2], axis=1)),
}
HOLDER = {}


@pytest.mark.parametrize("name", SPLINES)
def test_splines(name):
    HOLDER["spline"] = SPLINES[name]

    def f(x):
        return HOLDER["spline"](x)

    points = np.array(
        [[-1.7, -0.31, 0.1, 0.39, 1.25, 2.3], [-2.0, -1.0, -0.3, 0.4, 1.2, 2.5], [-2.6, 0.0, 0.0, 3.1, 4.0, 1.0]]
    )
    check(f, points[:2], again=True, slopes=False, rtol=1e-11)
    with np.errstate(all="ignore"):
        check(f, points[2:], again=True, slopes=False, rtol=1e-10)
    check(lambda x: np.sum(np.cos(np.arange(np.size(y := f(x)))) * np.ravel(y)), points[:1], again=True, rtol=1e-10)
    assert f(0.3) == SPLINES[name](0.3) if np.ndim(f(0.3)) == 0 else True


def test_derivatives_of_splines():
    def f(x):
        return (
            np.sum(SPLINES["cubic"](x, 1))
            + np.sum(SPLINES["b-spline"](x, nu=2))
            + SPLINES["cubic"].integrate(0, 1) * x[0]
        )

    check(f, [[-1.7, -0.31, 0.1, 0.39, 1.25, 2.3]], again=True, rtol=1e-10)


# -- sparse matrices -------------------------------------------------------------------------------------------------

DENSE = np.where(np.random.default_rng(0).random((5, 6)) < 0.4, np.random.default_rng(1).normal(size=(5, 6)), 0.0)
GROUPS = sparse.csr_array(np.eye(3)[[0, 1, 1, 2, 0, 2]])


@pytest.mark.parametrize("make", [sparse.csr_array, sparse.csc_matrix, sparse.coo_array])
def test_sparse_matrices(make):
    matrix = make(DENSE)

    def f(x):
        rows = matrix @ np.outer(x, x[:2])
        return (
            np.sum((matrix @ x) ** 2) + np.sum(rows**3) + np.sum((x[:5] @ matrix) ** 2) + np.sum(matrix.dot(x) * x[:5])
        )

    check(f, POINTS, again=True)
    check(lambda x: np.sum(np.exp(GROUPS @ x[:3]) * x), POINTS, again=True)
    check(lambda x: np.sum((sparse.csr_matrix(DENSE) * x) ** 2), POINTS, again=True)


def test_frames():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": np.arange(5.0), "b": np.cos(np.arange(5.0)), "c": 1.0})

    def f(x):
        eta = frame @ x[:3] + frame["a"] * x[3] + frame["b"].values * x[4]
        eta = eta + frame[["a", "b"]].dot(x[:2]) + (frame.to_numpy() @ x[3:])
        known = frame["a"] > 1
        return np.sum(eta**2) + np.sum(eta[known]) + frame["a"] @ eta + np.sum(x[:5] @ frame)

    with pytest.raises(NeedsArrays):  # no objects: as many scalars as there are rows
        Program(f, 6)
    check(f, POINTS, again=True)


# -- nothing is left behind ------------------------------------------------------------------------------------------


def test_everything_is_put_back():
    module = types.ModuleType("a_module_of_the_user")
    exec("from numpy import zeros, array\nfrom math import exp", module.__dict__)
    before = dict(module.__dict__), {name: getattr(np, name) for name in dir(np)}, dict(vars(math))
    calls = interpolate.PPoly.__call__, "__call__" in vars(interpolate.PPoly)
    with stand_ins(Graph(), [module.__dict__]):
        assert module.zeros is not before[1]["zeros"]
        assert module.exp is not before[2]["exp"]
        assert math.exp(1.0) == before[2]["exp"](1.0)
    assert module.__dict__ == before[0]
    assert all(getattr(np, name) is value for name, value in before[1].items())
    assert dict(vars(math)) == before[2]
    assert (interpolate.PPoly.__call__, "__call__" in vars(interpolate.PPoly)) == calls
