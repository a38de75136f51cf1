"""Code that makes arrays by np.array and np.zeros and fills them with expressions, against values and differences."""

import threading

import numpy as np
import pytest
from numpy import zeros
from scipy import special

from micropolis import Density, Interval, Positive, Real
from micropolis.errors import DensityError
from micropolis.tracing.makers import GIVEN, NEW

Y = np.random.default_rng(3).normal(size=(12, 2))
MAKERS = {name: getattr(np, name) for name in (*NEW, *GIVEN)}


def bivariate(mu, s, r):
    """A covariance matrix written out, as in every text."""
    cov = np.array([[s**2, r * s], [r * s, 1.0]])
    z = np.linalg.solve(np.linalg.cholesky(cov), (Y - mu).T)
    return -0.5 * np.sum(z**2) - 0.5 * len(Y) * np.linalg.slogdet(cov)[1] - s


def volatility(mu, s, r):
    variance = np.zeros(len(Y))
    variance[0] = s
    for t in range(1, len(Y)):
        variance[t] = 0.1 + 0.5 * (1 + r) * variance[t - 1] + s * (Y[t - 1, 0] - mu) ** 2
    return -0.5 * np.sum(np.log(variance) + (Y[:, 0] - mu) ** 2 / variance)


def accumulated(mu, s, r):
    eta = np.zeros(len(Y))
    eta += mu
    eta += r * Y[:, 1]
    other = np.zeros_like(eta)
    other[::2] = s
    return -0.5 * np.sum((Y[:, 0] - eta) ** 2) - np.sum(other)


def filtered(mu, s, r):
    """The forward algorithm with probabilities, from lists of numbers and of expressions."""
    state, move, total = np.array([1.0, 0.0]), np.array([[0.9, 0.1], [0.5 - 0.4 * r, 0.5 + 0.4 * r]]), 0.0
    for y in Y[:, 0]:
        state = (state @ move) * np.array([np.exp(-0.5 * (y - mu) ** 2), np.exp(-0.5 * (y + mu) ** 2)])
        total += np.log(state.sum())
        state /= state.sum()
    table = np.empty((2, 3))
    table[0], table[1, 0] = mu, s
    table[1, 1:] = [r, 2.0]
    return total - np.sum(table**2)


def correlated(mu, s, r):
    corr = np.eye(3)
    corr[0, 1] = corr[1, 0] = 0.5 * r
    return -np.sum(np.linalg.inv(corr)) - np.linalg.det(corr) - mu**2 - s


def by_its_own_name(mu, s, r):
    levels = zeros(len(Y))
    for i in range(1, len(Y)):
        levels[i] = r * levels[i - 1] + mu * Y[i, 0]
    levels += s
    return -0.5 * np.sum((Y[:, 1] - levels) ** 2) - s - mu**2


def converted(mu, s, r):
    x = np.asarray([mu, s, r], dtype=float)
    rows = np.array([Y[:, 0] * x[0], Y[:, 1] * x[1]])
    levels, place = np.array([x[0], x[2]], float), np.zeros(len(Y), dtype=int)
    place[3:] = 1
    return (
        np.sum(np.logaddexp.reduce(rows, axis=0) + np.max(rows, axis=0) + levels[place])
        - np.sum(special.gammaln(np.array([1 + s, 2.0])))
        - np.asarray(x, dtype=float) @ x
        + np.array([x], ndmin=3).shape[0]
    )


@pytest.mark.parametrize("f", [bivariate, volatility, accumulated, filtered, correlated, by_its_own_name, converted])
def test_arrays_that_the_code_makes(f):
    density = Density.from_numpy(f, {"mu": Real(), "s": Positive(), "r": Interval(-1, 1)})
    for x in np.random.default_rng(4).normal(scale=0.7, size=(3, 3)):
        values, log_jacobian = density.parameters.constrain(x)
        value, gradient = density.value_and_grad(x)
        np.testing.assert_allclose(value, f(**values) + log_jacobian, rtol=1e-11)
        differences = [(density(x + h) - density(x - h)) / 2e-6 for h in 1e-6 * np.eye(3)]
        np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-7 * max(1.0, abs(value)))
    assert all(getattr(np, name) is make for name, make in MAKERS.items())


def test_other_threads_and_libraries_keep_their_arrays():
    found = {}

    def elsewhere():
        found["thread"] = type(np.zeros(2)), np.array(object=[1.0]).shape

    def f(x):
        out = np.zeros(2)
        worker = threading.Thread(target=elsewhere)
        worker.start()
        worker.join()
        found["library"] = np.vander([1.0, 2.0]), np.linspace(0, 1, 3)
        out[0] = x[0]
        return np.sum(out**2)

    assert Density.from_numpy(f, 1)([3.0]) == 9.0
    assert found["thread"] == (np.ndarray, (1,))
    assert all(type(array) is np.ndarray for array in found["library"])


def test_a_maker_bound_while_tracing_is_numpys_own_ever_after():
    bound = []

    def f(x):
        from numpy import array, zeros  # as a module imported here for the first time would

        bound.append((zeros, array))
        return np.sum(np.asarray(np.stack([x, x]), dtype=float))

    Density.from_numpy(f, 2)
    strangers = [(zeros, array) for zeros, array in bound if zeros is not np.zeros]
    assert strangers
    assert all(type(zeros(2)) is type(array([1.0, 2.0])) is np.ndarray for zeros, array in strangers)


@pytest.mark.parametrize(
    ("f", "reason"),
    [
        (lambda x: np.sum(np.sort([2.0, 1.0]) * x) if x[0] > 0 else np.sort(np.array([2.0, 1.0]))[0], "decision"),
        (lambda x: np.sum(np.sort(np.array([x[0], x[1]]))), "sort cannot be traced"),
        (lambda x: np.sum(np.array([x[0], x[1]], dtype=np.float32)), "array of float32"),
        (lambda x: np.logaddexp.reduce([x[0], x[1]]), "make a list of values"),
    ],
)
def test_what_still_cannot_be_traced(f, reason):
    with pytest.raises(DensityError, match=reason):
        Density.from_numpy(f, 2)
    assert all(getattr(np, name) is make for name, make in MAKERS.items())


def test_views_of_arrays_that_the_code_makes():
    def f(x):
        out = np.zeros((2, 2))
        row, column = out[0], out[:, 1]
        row[:] = x
        column += 2.0
        return np.sum(out**2)

    density = Density.from_numpy(f, 2)
    np.testing.assert_allclose(density([0.3, 0.7]), 0.3**2 + 2.7**2 + 4.0, rtol=1e-14)
    np.testing.assert_allclose(density.grad([0.3, 0.7]), [0.6, 5.4], rtol=1e-14)
