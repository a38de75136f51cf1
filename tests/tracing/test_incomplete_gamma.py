"""gammainc and gammaincc in traced code: values, the slope by the shape, densities of gamma and Poisson tails."""

import numpy as np
import pytest
from scipy import special, stats

from micropolis import Density, Positive
from micropolis.errors import DensityError
from micropolis.tracing.derivatives import gradient, tangent
from micropolis.tracing.elementwise import ELEMENTWISE
from micropolis.tracing.graph import Graph
from micropolis.tracing.program import Program, run
from micropolis.tracing.reference import evaluate

NAMES = ["gammainc", "gammaincc", "gammainc_slope", "gammainc_density"]
EDGES = [0.0, -0.0, -1.0, 0.5, 1.0, 2.0, 19.9, 20.0, 700.0, 1e4, 1e17, 1e300, 1e-17, 1e-300, np.inf, -np.inf, np.nan]


def compiled(a, x):
    """The four operations by the C interpreter."""
    a, x = np.broadcast_arrays(np.asarray(a, dtype=float), x)
    graph = Graph()
    of_a, of_x = graph.input("a", a.size), graph.input("x", a.size)
    program = Program([graph.apply(name, of_a, of_x) for name in NAMES], {"a": a.size, "x": a.size})
    return run(program, [{"a": a.ravel(), "x": np.ravel(x)}])[0]


def grid():
    """Shapes up to 1e6, arguments from one tail to the other."""
    a = np.exp(np.linspace(np.log(1e-3), np.log(1e6), 40))
    deviations = np.linspace(-6.0, 8.0, 29)
    x = a[:, None] * np.exp(deviations / np.sqrt(np.maximum(a[:, None], 0.3)))
    return np.broadcast_to(a[:, None], x.shape).ravel(), x.ravel()


def test_values_as_in_scipy():
    """Up to 1e4: SciPy's own errors grow with the shape, to 4e-6 in the tails at 1e6."""
    a, x = grid()
    lower, upper, _, _ = compiled(a, x)
    for got, expected in ((lower, special.gammainc(a, x)), (upper, special.gammaincc(a, x))):
        some = (expected > 1e-290) & (a < 1e4)
        np.testing.assert_allclose(got[some], expected[some], rtol=3e-12)
        np.testing.assert_allclose(got[expected > 1e-290], expected[expected > 1e-290], rtol=1e-5)
    np.testing.assert_allclose(lower + upper, 1.0, rtol=1e-15)


def test_edges_of_the_domain():
    a, x = map(np.ravel, np.meshgrid(EDGES, EDGES))
    got = compiled(a, x)
    with np.errstate(all="ignore"):
        for value, of in zip(got, (special.gammainc, special.gammaincc), strict=False):
            expected = of(a, x)
            seen = ~((expected > 0) & (expected < 1e-290))
            np.testing.assert_allclose(value[seen], expected[seen], rtol=1e-11, atol=1e-290)
    outside = np.isnan(got[0])
    np.testing.assert_array_equal(np.isnan(got[2]), outside)
    np.testing.assert_array_equal(np.isnan(got[3]) | ((a == 0) & (x == 0)), outside)
    assert np.all(got[2][~outside] <= 0)


def by_series(a, x, digits=120):
    """P, Q, dP / da and dP / dx from the power series with many digits."""
    mpmath = pytest.importorskip("mpmath")
    with mpmath.workdps(digits):
        a, x = mpmath.mpf(a), mpmath.mpf(x)
        term = total = mpmath.mpf(1)
        slope = moved = mpmath.mpf(0)
        n = a + 1
        while term > total * mpmath.mpf(10) ** -digits:
            slope, term = x / n * (slope - term / n), term * x / n
            total, moved, n = total + term, moved + slope, n + 1
        front = mpmath.exp(a * mpmath.log(x) - x) / mpmath.gamma(a + 1)
        p = front * total
        by_shape = front * ((mpmath.log(x) - mpmath.digamma(a + 1)) * total + moved)
        return float(p), float(1 - p), float(by_shape), float(front * a / x)


def test_accuracy_in_both_tails():
    rng = np.random.default_rng(3)
    a = np.exp(rng.uniform(np.log(1e-5), np.log(1e3), 150))
    x = np.where(rng.random(150) < 0.5, a * np.exp(rng.normal(size=150) * 0.4), np.exp(rng.uniform(-20, 5.0, 150)))
    a, x = (
        np.append(a, [1e4, 1e4, 1e6, 1e6, 20.0, 19.999, 28.0]),
        np.append(x, [9.7e3, 1.03e4, 9.94e5, 1.006e6, 28.0, 20.0, 20.0]),
    )
    expected = np.transpose([by_series(*pair) for pair in zip(a, x, strict=True)])
    for name, got, truth in zip(NAMES, compiled(a, x), expected, strict=True):
        some = np.abs(truth) > 1e-100
        np.testing.assert_allclose(got[some], truth[some], rtol=3e-14, err_msg=name)


def test_the_readable_twin():
    a, x = grid()
    some = slice(None, None, 7)
    for name, got in zip(NAMES, compiled(a[some], x[some]), strict=True):
        expected = ELEMENTWISE[name].numpy(a[some], x[some])
        seen = np.abs(expected) > 1e-200
        np.testing.assert_allclose(got[seen], expected[seen], rtol=1e-9 if name == "gammainc_density" else 1e-10)


@pytest.mark.parametrize("a", [1e8, 1e12, 1e300])
def test_large_shapes(a):
    """Near x = a the normal distribution of sqrt(a) (x / a - 1), with its first correction; far from it 0 and 1."""
    z = np.linspace(-3.0, 3.0, 7)
    x = a + np.sqrt(a) * z
    z = (x - a) / np.sqrt(a)
    lower, upper, slope, density = compiled(np.full(7, a), x)
    phi = np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
    np.testing.assert_allclose(
        lower, special.ndtr(z) - phi * (z**2 - 1) / (3 * np.sqrt(a)), rtol=10 / a, atol=10 / a + 1e-15
    )
    np.testing.assert_allclose(upper, 1 - lower, rtol=1e-12)
    np.testing.assert_allclose(-slope * np.sqrt(a), phi, rtol=10 / np.sqrt(a) + 1e-14)
    np.testing.assert_allclose(density * np.sqrt(a), phi, rtol=10 / np.sqrt(a) + 1e-14)
    assert [list(v) for v in compiled([a, a], [a * 0.5, a * 2.0])[:2]] == [[0, 1], [1, 0]]


def differences(f, x, h=1e-5):
    return np.array([(f(x + e) - f(x - e)) / (2 * h) for e in h * np.eye(len(x))])


def test_densities():
    """Both arguments depend on the parameters; the slope by the shape is exact."""
    t = np.array([0.2, 1.0, 3.0, 9.0, 30.0])

    def f(x):
        a = np.exp(x[0]) * np.array([0.1, 1.0, 2.5, 8.0, 40.0])
        return np.sum(np.log(special.gammainc(a, t * np.exp(x[1]))) + np.log(special.gammaincc(a, t * np.exp(x[1]))))

    density = Density.from_numpy(f, 2)
    points = np.random.default_rng(1).normal(scale=0.4, size=(9, 2))
    np.testing.assert_allclose(density(points), [f(x) for x in points], rtol=1e-12)
    for x in points:
        value, grad = density.value_and_grad(x)
        np.testing.assert_allclose(value, f(x), rtol=1e-12)
        np.testing.assert_allclose(grad, differences(f, x), rtol=1e-7, atol=1e-7)


def test_second_derivatives():
    """By the argument they are exact; by the shape there are none, and that is said."""
    t = np.array([0.2, 1.0, 3.0, 9.0, 30.0])

    def f(x):
        return np.sum(np.log(special.gammainc(t, t * np.exp(x[0])))) - np.log(special.gammaincc(2.0, np.exp(x[1]))) ** 2

    density = Density.from_numpy(f, 2)
    for x in np.random.default_rng(2).normal(scale=0.5, size=(4, 2)):
        slopes = differences(lambda y: density.value_and_grad(y)[1], x)
        np.testing.assert_allclose(density.hessian(x), slopes, rtol=1e-6, atol=1e-7)
    of_shape = Density.from_numpy(lambda x: special.gammainc(np.exp(x[0]), 1.5 + x[1] ** 2), 2)
    assert np.all(np.isfinite(of_shape.value_and_grad([0.1, 0.2])[1]))
    with pytest.raises(DensityError, match="second derivative of gammainc and gammaincc by their first argument"):
        of_shape.hessian([0.1, 0.2])


def test_mixed_second_derivatives():
    """Those by the argument, of the slope by the shape and of the density; at the end of the support too."""
    graph = Graph()
    a, x = graph.input("a", 1), graph.input("x", 1)
    one, density = graph.constant(1.0), ELEMENTWISE["gammainc_density"].numpy
    for name, sign in (("gammainc", 1), ("gammaincc", -1)):
        by_shape, by_argument = gradient(graph.apply(name, a, x), [a, x])
        mixed = [*tangent([by_shape, by_argument], {a: None, x: one}), *tangent([by_argument], {a: one, x: None})]
        for shape, argument in ((0.7, 0.4), (3.0, 2.0), (30.0, 33.0), (0.0, 2.0)):
            values = [v[0] for v in evaluate(mixed, {"a": shape, "x": argument})]
            second = (density(shape, argument + 1e-6) - density(shape, argument - 1e-6)) / 2e-6
            below = max(shape - 1e-6, 0.0)
            cross = (density(shape + 1e-6, argument) - density(below, argument)) / (shape + 1e-6 - below)
            np.testing.assert_allclose(values, sign * np.array([cross, second, cross]), rtol=1e-5, atol=1e-8)
        at_zero = [evaluate([mixed[1]], {"a": shape, "x": 0.0})[0][0] for shape in (1.0, 2.0, 3.0)]
        np.testing.assert_array_equal(at_zero, [-sign, sign, 0.0])


def test_known_slopes_are_folded():
    """Of constants the slope is a constant, by the readable twin."""
    graph = Graph()
    node = graph.apply("gammainc_slope", 2.5, np.array([1.0, 3.0]))
    assert node.is_constant
    np.testing.assert_allclose(node.data, compiled([2.5, 2.5], [1.0, 3.0])[2], rtol=1e-14)


@pytest.mark.parametrize("method", ["cdf", "logcdf", "sf", "logsf"])
def test_censored_counts_and_times(method):
    """What they are for: survival times and counts known up to an interval."""
    times, counts = np.array([0.5, 1.0, 4.0, 12.0]), np.array([0, 1, 3, 8])

    def f(shape, scale, rate):
        of_times = getattr(stats.gamma, method)(times, shape, scale=scale)
        return np.sum(of_times) + np.sum(getattr(stats.poisson, method)(counts, rate))

    density = Density.from_numpy(f, {"shape": Positive(), "scale": Positive(), "rate": Positive()})
    for x in np.random.default_rng(5).normal(scale=0.6, size=(4, 3)):
        values, log_jacobian = density.parameters.constrain(x)
        value, grad = density.value_and_grad(x)
        np.testing.assert_allclose(value, f(**values) + log_jacobian, rtol=1e-12)
        np.testing.assert_allclose(grad, differences(density, x), rtol=1e-6, atol=1e-7)
