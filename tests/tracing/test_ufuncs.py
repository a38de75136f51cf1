"""Every ufunc that is traced: values to the last digits, dtypes, slopes, over the whole range of its arguments."""

import numpy as np
import pytest
from scipy import special
from tracing.harness import Program, check

from micropolis.tracing.arrays import UFUNCS
from micropolis.tracing.derivatives import gradient
from micropolis.tracing.graph import Graph

REAL = np.array([-7.3, -2.0, -1.4, -0.6, -0.03, 0.02, 0.3, 0.8, 1.7, 2.5, 6.1, 30.5])
UNIT = np.array([-0.97, -0.5, -1e-4, 1e-5, 0.3, 0.9])
POSITIVE = np.array([1e-8, 0.03, 0.4, 0.99, 1.02, 2.7, 9.8, 10.3, 55.0, 1e4])
PROBABILITY = np.array([1e-9, 0.02, 0.31, 0.51, 0.9, 0.99])
DOMAINS = {
    **dict.fromkeys(["arcsin", "arccos", "arctanh"], UNIT),
    **dict.fromkeys(["sqrt", "log", "log2", "log10", "cbrt", "reciprocal", "loggamma"], POSITIVE),
    **dict.fromkeys(["logit", "entr"], PROBABILITY),
    "log1p": np.append(POSITIVE, [-0.9, -1e-9]),
    "arccosh": 1 + POSITIVE[1:],
    "gamma": np.append(POSITIVE[:8], [-0.5, -1.3, -2.7]),
    "rgamma": np.append(POSITIVE[:8], [-0.5, -1.3, -2.7]),
    "gammaln": np.append(POSITIVE, [-0.5, -1.3, -2.7, 1e10]),
    "psi": np.append(POSITIVE, [-0.5, -1.3, -2.7]),
    "i0": REAL[:-1],
    "i1": REAL[:-1],
    "sinh": REAL[:-1],
    "cosh": REAL[:-1],
    "erfcx": REAL[1:],
    "sinc": REAL,
    "tan": REAL[REAL < 20],
}
NO_SLOPE = {"sign", "floor", "ceil", "trunc", "signbit", "isnan", "isinf", "isfinite", "gammasgn"}
OF_BOOLEANS = {"logical_not", "invert"}
REFUSED = {"rint", "round"}


def ufunc_named(name):
    return getattr(np, name, None) or getattr(special, name)


def names(nin):
    found = [n for n in UFUNCS if getattr(ufunc_named(n), "nin", 0) == nin and ufunc_named(n).nout == 1]
    return sorted(set(found) - {"matmul", "vecdot", "matvec", "vecmat"} - OF_BOOLEANS - REFUSED)


@pytest.mark.parametrize("name", names(1))
def test_of_one_argument(name):
    ufunc, points = ufunc_named(name), DOMAINS.get(name, REAL)
    check(ufunc, points, slopes=False, rtol=2e-13)
    slopes = [] if name in NO_SLOPE else points
    for x in slopes:
        graph = Graph()
        node = graph.input("x", 1)
        slope = Program(lambda v: ufunc(v[0]), 1).grad([x])
        h = 1e-6 * min(abs(x), 1.0 if name in ("sin", "cos", "tan", "sinc") else abs(x))
        difference = (ufunc(x + h) - ufunc(x - h)) / ((x + h) - (x - h))
        noise = 1e-9 * abs(ufunc(x)) / h * 1e-6 + 1e-9
        np.testing.assert_allclose(slope, difference, rtol=2e-7, atol=noise)
        assert node.size == 1


FIRST, SECOND = np.meshgrid([-2.3, -0.7, 0.4, 1.9, 13.7], [-1.6, -0.27, 0.91, 3.3, 12.2])
NO_CURVATURE = {"gammainc", "gammaincc"}  # by the first
PAIRS = {
    **dict.fromkeys(["power", "float_power"], (np.abs(FIRST), SECOND)),
    **dict.fromkeys(["xlogy", "rel_entr", "kl_div", "beta", "betaln", *NO_CURVATURE], (np.abs(FIRST), np.abs(SECOND))),
    "xlog1py": (FIRST, np.abs(SECOND) - 0.1),
    "huber": (np.abs(FIRST), SECOND),
    "pseudo_huber": (np.abs(FIRST), SECOND),
    "boxcox": (np.abs(FIRST), SECOND / 9),
    "boxcox1p": (np.abs(FIRST), SECOND / 9),
    "inv_boxcox": (np.abs(FIRST), np.abs(SECOND) / 3),
    "inv_boxcox1p": (np.abs(FIRST), np.abs(SECOND) / 3),
}
LOGICAL = {"logical_and", "logical_or", "logical_xor", "bitwise_and", "bitwise_or", "bitwise_xor"}
STEPS = {"less", "less_equal", "greater", "greater_equal", "equal", "not_equal", "floor_divide", "ldexp", "heaviside"}


@pytest.mark.parametrize("name", sorted(set(names(2)) - LOGICAL - {"ldexp"}))
def test_of_two_arguments(name):
    """Both traced, the first, the second; slopes by both."""
    ufunc, (a, b) = ufunc_named(name), (v.reshape(-1) for v in PAIRS.get(name, (FIRST, SECOND)))
    n = a.size
    check(lambda x: ufunc(x[:n], x[n:]), np.append(a, b), slopes=False, rtol=2e-13)
    check(lambda x: ufunc(x, b), a, slopes=False, rtol=2e-13)
    check(lambda x: ufunc(a, x), b, slopes=False, rtol=2e-13)
    if name not in STEPS:
        weights = np.linspace(0.5, 1.5, n)
        second = name not in NO_CURVATURE
        check(lambda x: np.sum(weights * np.tanh(ufunc(x[:n], x[n:]) / 10)), np.append(a, b), second=second, rtol=1e-11)


@pytest.mark.parametrize("name", sorted(LOGICAL))
def test_of_booleans(name):
    ufunc = ufunc_named(name)
    check(lambda x: ufunc(x > 0, x[::-1] > 1), REAL, slopes=False)
    check(lambda x: ufunc(x > 0, REAL < 1), REAL, slopes=False)
    if name.startswith("logical"):
        check(lambda x: ufunc(x, np.floor(x[::-1])), REAL, slopes=False)


def test_remaining():
    check(lambda x: np.ldexp(x, np.arange(12)), REAL, slopes=False)
    check(lambda x: np.stack(np.divmod(x, 0.7)), REAL, slopes=False)
    check(lambda x: np.stack(np.modf(x)), REAL, slopes=False)
    check(lambda x: ~(x > 0), REAL, slopes=False)
    check(lambda x: np.logical_not(x), REAL, slopes=False)
    check(lambda x: np.stack([np.fix(x), np.sinc(x), np.nan_to_num(x / 0.0)]), REAL, slopes=False)
    check(lambda x: np.sum(np.sinc(x) + special.exprel(x)), REAL / 30)
    check(lambda x: np.i0(x), REAL, slopes=False)
    check(lambda x: np.add.outer(x[:2], x) * np.hypot.outer(x[:2], REAL), REAL, slopes=False)
    check(lambda x: np.stack([np.isposinf(x / 0), np.isneginf(x / 0), np.isclose(x, REAL + 1e-9)]), REAL, slopes=False)


@pytest.mark.parametrize(
    "ufunc", [special.exprel, np.sinc, special.entr, special.i0, special.i1, special.i0e, special.i1e]
)
def test_slopes_where_formulas_change(ufunc):
    for x in (0.0, 9.99e-4, 1e-3, 0.05 / np.pi, 1e-5):
        if ufunc is special.entr and x < 1e-4:
            continue
        program = Program(lambda v: ufunc(v[0]), 1)
        np.testing.assert_allclose(program.grad([x]), (ufunc(x + 1e-7) - ufunc(x - 1e-7)) / 2e-7, rtol=1e-6, atol=1e-8)
        second = (program.grad([x + 1e-6]) - program.grad([x - 1e-6])) / 2e-6
        if ufunc not in (special.i0e, special.i1e) or x:
            np.testing.assert_allclose(program.hvp([x], [1.0]), second, rtol=1e-4, atol=1e-6)


def test_gammaln_and_betaln_over_their_whole_range():
    x = np.concatenate([10.0 ** np.arange(-300, 301, 20), [-0.5, -3.7, -100.3]])
    check(special.gammaln, x, slopes=False)
    a, b = np.meshgrid(10.0 ** np.arange(-8, 290, 7), 10.0 ** np.arange(-8, 290, 7))
    program = Program(lambda x: special.betaln(x[: a.size], x[a.size :]), 2 * a.size)
    value = program.value(np.append(a, b))
    low, high = np.minimum(a, b), np.maximum(a, b)
    # where one is far larger: log Gamma(low) - low log(high), to relative order low / high
    with np.errstate(over="ignore"):
        far = high > 1e18 * np.maximum(low, 1.0) ** 2
    expected = special.gammaln(low) - low * np.log(high)
    np.testing.assert_allclose(value.reshape(a.shape)[far], expected[far], rtol=1e-12)
    same = a == b  # Stirling: 2 log Gamma(a) - log Gamma(2 a)
    large, digits = a[same][a[same] > 1e10], value.reshape(a.shape)[same][a[same] > 1e10]
    expected = (0.5 - 2 * large) * np.log(2) + 0.5 * np.log(4 * np.pi / large) - 0.5 * np.log(2)
    np.testing.assert_allclose(digits, expected, rtol=1e-12)
    slope = Program(lambda x: special.betaln(x[0], 1e10), 1).grad([2.0])
    np.testing.assert_allclose(slope, special.psi(2.0) - np.log(1e10), rtol=1e-9)
    np.testing.assert_allclose(Program(lambda x: special.betaln(1.0, x[0]), 1).grad([1e12]), -1e-12, rtol=1e-12)


def test_hypot_and_copysign():
    check(lambda x: np.hypot(x[0], x[1]), [[3e200, 4e200], [3e-200, 4e-200]], slopes=False)
    grad = Program(lambda x: np.hypot(x[0], x[1]), 2).grad([3e200, 4e200])
    np.testing.assert_allclose(grad, [0.6, 0.8], rtol=1e-15)
    assert np.all(Program(lambda x: np.hypot(x[0], x[1]), 2).grad([0.0, 0.0]) == 0)
    check(lambda x: np.copysign(x[0], x[1]) * 3 + np.copysign(2.0, x[0]), [[2.0, -1.0], [-2.0, 3.0], [-1.5, -0.1]])


def test_gradient_of_nothing_taken():
    graph = Graph()
    node = graph.input("x", 2)
    assert all(d.is_value(0.0) for d in gradient(graph.constant(1.0), [node]))
