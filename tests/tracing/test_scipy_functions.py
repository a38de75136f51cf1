"""SciPy's functions in traced code: values against SciPy's own, gradients against differences, nothing left behind."""

import sys
import types

import numpy as np
import pytest
from scipy import linalg, special, stats
from scipy.linalg import solve_triangular
from scipy.special import logsumexp
from scipy.stats import norm

from micropolis import Density, Interval, Positive, Real
from micropolis.errors import DensityError
from micropolis.tracing.scipy_functions import COUNTS, CUMULATIVE, PLAIN, STANDARD, methods

DATA = np.array([-1.5, -0.2, 0.0, 0.3, 0.7, 1.0, 1.4, 2.0, 3.0])
ROWS = np.random.default_rng(0).normal(size=(6, 3))
# shape parameters by name: numbers at which the densities differ from their special cases
SHAPES = {
    "a": 2.3, "b": 1.7, "c": 1.4, "d": 1.2, "df": 3.5, "s": 0.8, "mu": 1.6, "p": 0.35, "n": 4, "K": 1.5, "kappa": 2.3,
    "beta": 1.7, "M": 20, "N": 12, "low": 0, "high": 5,
}  # fmt: skip
OWN_SHAPES = {
    "triang": [0.4],
    "truncnorm": [-1.5, 2.5],
    "genextreme": [0.2],
    "hypergeom": [20, 7, 12],
    "randint": [0, 6],
}


def standing():
    """What stands where a trace puts others: in modules, and in classes of distributions (None: inherited)."""
    functions = {place: getattr(sys.modules[place[0]], place[1]) for place in PLAIN}
    return functions | {place: vars(type(getattr(stats, place[0]))).get(place[1]) for place in methods()}


BEFORE = standing()


def check(f, parameters, scale=0.6):
    """The traced density is f, its gradient f's; whatever was put in its place is gone."""
    density = Density.from_numpy(f, parameters)
    for x in np.random.default_rng(2).normal(scale=scale, size=(3, density.dim)):
        values, log_jacobian = density.parameters.constrain(x)
        expected = f(**values) + log_jacobian
        value, gradient = density.value_and_grad(x)
        np.testing.assert_allclose(value, expected, rtol=1e-10)
        differences = [(density(x + h) - density(x - h)) / 2e-6 for h in 1e-6 * np.eye(density.dim)]
        np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-7 * max(1.0, abs(value)))
    assert standing() == BEFORE


def shapes_of(name):
    if name in OWN_SHAPES:
        return OWN_SHAPES[name]
    shapes = getattr(stats, name).shapes
    return [SHAPES[shape.strip()] for shape in shapes.split(",")] if shapes else []


@pytest.mark.parametrize("method", ["logpdf", "pdf"])
@pytest.mark.parametrize("name", STANDARD)
def test_densities_of_data(name, method):
    """Location, scale and every shape depend on the parameters; the data inside the support and outside of it."""
    distribution, shapes = getattr(stats, name), shapes_of(name)

    def f(loc, scale, factor):
        value = getattr(distribution, method)(DATA, *(shape * factor for shape in shapes), loc=loc, scale=scale)
        inside = np.abs(DATA - 0.9) < 0.5  # all of the supports for the parameters of the check
        return np.sum(value[inside]) + np.sum(np.exp(np.minimum(value, 50.0)))

    loc, scale = Interval(-0.1, 0.1), Interval(1.6, 2.0)
    if name == "pareto":  # z >= 1
        loc, scale = Interval(-2, -1.9), Interval(1.0, 1.2)
    check(f, {"loc": loc, "scale": scale, "factor": Interval(0.8, 1.2)})


@pytest.mark.parametrize("name", STANDARD)
def test_densities_of_parameters(name):
    """As priors: the argument depends on the parameters. Outside the support it is -inf, as in SciPy."""
    distribution, shapes = getattr(stats, name), shapes_of(name)
    low, high = (1.1, 3.0) if name == "pareto" else (0.1, 0.9)
    check(lambda x: distribution.logpdf(x, *shapes), {"x": Interval(low, high)})
    density = Density.from_numpy(lambda x: distribution.logpdf(x[0], *shapes), 1)
    for x in (-0.7, 0.4, 2.5):
        np.testing.assert_allclose(density([x]), distribution.logpdf(x, *shapes), rtol=1e-12)


@pytest.mark.parametrize("method", ["logpmf", "pmf"])
@pytest.mark.parametrize("name", sorted(set(COUNTS) - {"hypergeom", "randint"}))  # whose shapes are whole numbers
def test_masses(name, method):
    distribution, shapes = getattr(stats, name), shapes_of(name)
    counts = {"bernoulli": np.array([0, 1, 1, 0]), "geom": np.array([1, 2, 5])}.get(name, np.array([0, 1, 2, 4]))
    fixed = shapes[:-1]  # the number of trials; the last shape is a rate or a probability

    def f(last):
        return np.sum(getattr(distribution, method)(counts, *fixed, last))

    check(f, {"last": Interval(0.1, 0.9)})
    outside = np.array([-1, 0.5, 3, 5, 7])
    density = Density.from_numpy(lambda x: np.sum(np.exp(distribution.logpmf(outside, *fixed, special.expit(x[0])))), 1)
    np.testing.assert_allclose(density([0.3]), np.exp(distribution.logpmf(outside, *fixed, special.expit(0.3))).sum())


@pytest.mark.parametrize(("name", "method"), CUMULATIVE)
def test_distribution_functions(name, method):
    """Every shape depends on the parameters; the data inside the support and, of some distributions, outside of it."""
    distribution, shapes = getattr(stats, name), shapes_of(name)
    if name in COUNTS:
        counts = np.array([1, 2.5, 4]) if "log" in method else np.array([-1, 0, 1, 2.5, 4])
        check(lambda last: np.sum(getattr(distribution, method)(counts, last)), {"last": Interval(0.1, 0.9)})
        return
    data = DATA + {"pareto": 9.0}.get(name, 2.0) if "log" in method else DATA
    check(
        lambda m, s, f: np.sum(getattr(distribution, method)(data, *(shape * f for shape in shapes), loc=m, scale=s)),
        {
            "m": Interval(-0.5, 0.2),
            "s": Interval(4.0, 9.0) if name == "uniform" else Positive(),
            "f": Interval(0.7, 1.3),
        },
    )


def test_frozen_and_positional():
    def f(mu, s):
        return norm.logpdf(DATA, mu, s).sum() + stats.norm(mu, s).logpdf(DATA).sum() + stats.t(4, loc=mu).logpdf(0.3)

    check(f, {"mu": Real(), "s": Positive()})


def test_multivariate():
    def f(mu, s, r, p):
        covariance = np.array([[s**2, r * s], [r * s, 1.0]])
        rows = stats.multivariate_normal.logpdf(ROWS[:, :2], np.array([mu, 0.3]), covariance)
        one = stats.multivariate_normal.logpdf(np.array([mu, s]), cov=covariance)
        weights = np.array([p, 1 - p])
        return np.sum(rows) + one + stats.dirichlet.logpdf(weights, np.array([1.5, 2.5])) - s

    check(f, {"mu": Real(), "s": Positive(), "r": Interval(-1, 1), "p": Interval(0, 1)})


def test_special_functions_by_their_own_names():
    def f(w):
        eta = ROWS @ w.reshape(3, 2)
        total = logsumexp(eta) + np.sum(logsumexp(eta, axis=1)) + np.sum(logsumexp(eta, axis=0, keepdims=True) ** 2)
        total += logsumexp([w[0], 1.0, w[2]]) + logsumexp(w, b=np.arange(1.0, 7.0))
        return total + np.sum(special.softmax(eta, axis=1)[:, 0]) + special.log_softmax(w)[1] - w @ w

    check(f, {"w": Real(6)})


def test_linear_algebra():
    def f(a, s):
        k = (
            np.diag(np.exp(a))
            + s * linalg.toeplitz(np.array([1.0, 0.3, 0.1]))
            + s * linalg.toeplitz(0.1 * np.exp(-(a**2)))
            + 0.01 * (linalg.toeplitz(a, [1.0, 0.2, 0.3]) + linalg.toeplitz([1.0, 0.2, 0.3], a)).T @ np.eye(3)
        )
        lower, upper = linalg.cholesky(k, lower=True), linalg.cholesky(k)
        z = solve_triangular(lower, ROWS.T, lower=True)
        w = solve_triangular(upper, ROWS[0], trans="T") + solve_triangular(k, ROWS[1], lower=True, unit_diagonal=True)
        v = linalg.cho_solve(linalg.cho_factor(k), ROWS[2]) - linalg.cho_solve((lower, True), ROWS[3])
        rest = linalg.solve(k, ROWS[4], assume_a="pos") @ linalg.inv(k) @ ROWS[5] - np.log(linalg.det(k))
        return -0.5 * np.sum(z * z) + np.sum(w) + v @ v + rest - a @ a - s

    check(f, {"a": Real(3), "s": Positive()})


def test_helpers_in_other_modules(monkeypatch):
    """A function of another module, which imported SciPy's under its own name."""
    helper = types.ModuleType("a_helper_of_the_user")
    exec("from scipy.special import logsumexp as total\ndef mix(x): return total(x - x[0])", helper.__dict__)
    check(lambda x: helper.mix(x) - x @ x, {"x": Real(3)})
    assert helper.total is special.logsumexp is logsumexp


def test_what_stands_in_is_gone_after_an_error():
    with pytest.raises(DensityError, match="SciPy's logpdf takes numbers alone"):
        Density.from_numpy(lambda x: stats.nakagami.logpdf(x[0], 2.0) + norm.logpdf(x[0]), 1)
    assert standing() == BEFORE
    assert norm.logpdf(0.0) == -0.5 * np.log(2 * np.pi)


@pytest.mark.parametrize(
    ("f", "reason"),
    [
        (lambda x: special.logsumexp(x, return_sign=True)[0], "return_sign=True"),
        (lambda x: stats.multivariate_normal.logpdf(x, cov=np.exp(x)), "with a covariance matrix"),
    ],
)
def test_arguments_without_a_trace(f, reason):
    with pytest.raises(DensityError, match=reason):
        Density.from_numpy(f, 2)
