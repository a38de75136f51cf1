"""NumPy's meaning to the letter in compiled densities: what test_meaning.py asks of the trace, asked of the C program.

Values are compared in kind, NaN where NumPy is NaN and infinite where NumPy is; gradients with central differences of
the function itself; sizes lie on both sides of a vector (8), of a tile (256) and of what is stored (1000).
"""

import numpy as np
import pytest
from scipy import special, stats

from micropolis import Density
from micropolis.errors import DensityError

SIZES = [3, 7, 8, 9, 255, 256, 257, 999, 1000, 1001]
RNG = np.random.default_rng(11)
BIG = RNG.normal(size=1001)
ROWS = RNG.normal(size=(1001, 3))


def plain(f, x):
    with np.errstate(all="ignore"):
        try:
            return float(f(np.array(x)))
        except np.linalg.LinAlgError:
            return np.nan


def differences(f, x, step=1e-4):
    """Richardson's extrapolation of central differences: an error of order step^4."""
    h = step * np.diag(np.maximum(1.0, np.abs(x)))
    slopes = [
        np.array([(plain(f, x + part * row) - plain(f, x - part * row)) / (2 * part * np.sum(row)) for row in h])
        for part in (1.0, 0.5)
    ]
    return (4 * slopes[1] - slopes[0]) / 3


def law(f, points, slopes=True, rtol=1e-11, atol=1e-12):
    """The density of f has its values at the points, alone and all at once, and its slopes if these are asked for."""
    points = np.atleast_2d(np.asarray(points, dtype=float))
    density = Density.from_numpy(f, points.shape[1])
    expected = np.array([plain(f, x) for x in points])
    for got in ([density(x) for x in points], density(points), density.value_and_grad(points)[0]):
        np.testing.assert_allclose(got, expected, rtol=rtol, atol=atol)
    for x, value in zip(points, expected, strict=True):
        if slopes and np.isfinite(value):
            truth = differences(f, x)
            known = np.isfinite(truth)
            scale = max(1.0, abs(value), np.max(np.abs(truth[known]), initial=0.0))
            np.testing.assert_allclose(density.grad(x)[known], truth[known], rtol=1e-7, atol=1e-8 * scale)
    return density


# -- supports ---------------------------------------------------------------------------------------------------------


def zeros_in(n):
    w = np.ones(n)
    w[: n // 2 + 1] = 0.0
    return w


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(
    "f",
    [
        lambda x, n: (1.0 - 1) * np.log(x[0]) - 2 * x[0],
        lambda x, n: 0 * np.sum(np.log(x)),
        lambda x, n: np.sum(0.0 * np.log(x)),
        lambda x, n: np.sum(np.log(x) - np.log(x)),
        lambda x, n: np.sum(np.sqrt(x) ** 2),
        lambda x, n: np.sum(np.log(x) / np.log(x)),
        lambda x, n: zeros_in(n) @ np.log(x),
        lambda x, n: np.sum(zeros_in(n) * np.log(x)),
        lambda x, n: np.sum(np.zeros((2, n)) @ np.log(x)),
        lambda x, n: np.sum(np.log(x) @ np.zeros((n, 2))),
        lambda x, n: np.einsum("i,i", zeros_in(n), np.log(x)),
        lambda x, n: np.einsum("ij,j->", np.zeros((2, n)), np.log(x)),
        lambda x, n: np.max(np.maximum(np.log(x), 5.0)),
        lambda x, n: np.sum(np.clip(np.log(x), -1, 1)),
        lambda x, n: np.sum(np.exp(np.log(x))),
        lambda x, n: np.sum((np.log(x) > 0) + 0 * np.log(x)),
        lambda x, n: np.sum(np.polyval([0.0, 0.0, 1.0], np.log(x))),
        lambda x, n: np.logaddexp.reduce(np.log(x)),
        lambda x, n: special.logsumexp(np.log(x), b=np.ones(n)),
        lambda x, n: np.cumsum(0 * np.log(x))[-1],
        lambda x, n: np.sum(np.sign(np.log(x)) ** 2),
        lambda x, n: np.sum(0 ** np.log(x) * 0),
    ],
)
def test_the_support_is_kept(f, n):
    inside = np.linspace(0.3, 1.9, n)
    outside = inside.copy()
    outside[:1] = -0.7
    here = lambda x: f(x, n)  # noqa: E731
    density = Density.from_numpy(here, n)
    for x in (inside, outside, -inside):
        np.testing.assert_allclose(density(x), plain(here, x), rtol=1e-12, atol=1e-12)
    assert np.isnan(density(outside)) or np.isinf(plain(here, outside))
    np.testing.assert_allclose(
        density(np.array([inside, outside, -inside])),
        [plain(here, x) for x in (inside, outside, -inside)],
        rtol=1e-12,
        atol=1e-12,
    )


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.log(x[0]) - 0.5 * x @ x,
        lambda x: np.where(x[0] > 0, 0.0, -np.inf) - x @ x,
        lambda x: np.log(x[0] > 0.0) - x[0] if False else np.log(1.0 * (x[0] > 0)) - x[0],
        lambda x: np.log(np.maximum(x[0], 0)) - x[0],
        lambda x: x[0] / 0.0,
        lambda x: 0.0 / x[0],
        lambda x: -1 / (x[0] - x[0]),
        lambda x: np.inf * x[0],
        lambda x: np.exp(1000 * x[0]) - np.exp(1000 * x[0]),
        lambda x: np.log(x[0]) ** 0 - x[0],
        lambda x: np.fmax(np.log(x[0]), -3.0),
        lambda x: np.sqrt(x[0]) * np.sqrt(x[0]) - x[0],
        lambda x: np.sum(np.array([np.inf, 1.0]) * x),
        lambda x: np.sum(np.array([np.nan, 1.0]) * x),
        lambda x: np.sum(x + np.array([np.inf, -np.inf])),
        lambda x: np.min(np.log(x)),
        lambda x: special.logsumexp(np.log(x)),
        lambda x: np.prod(np.log(x)),
        lambda x: np.arccosh(x[0]) + np.arctanh(x[1]),
        lambda x: special.gammaln(x[0]) + special.xlogy(x[0], x[0]),
        lambda x: np.power(x[0], 1.5) + np.power(-x[1], x[0]),
        lambda x: x[0] // 0.0 + x[1] % 0.0,
    ],
)
def test_kinds_of_values(f):
    law(f, [[0.7, 1.4], [-0.7, 0.3], [0.3, -0.2], [-0.5, -1.5], [0.0, 0.0], [0.0, 1.0], [1.0, 0.0]], slopes=False)


# -- adjoints are selected --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", SIZES)
def test_missing_data(n):
    """The missing-data idioms, through np.where, masks, nansum and multiplication by indicators of what is known."""
    data, design = BIG[:n].copy(), ROWS[:n]
    data[::3] = np.nan
    known = ~np.isnan(data)
    points = RNG.normal(size=(2, 3))
    for f in (
        lambda b: -np.sum(np.where(np.isnan(data), 0.0, (data - design @ b) ** 2)),
        lambda b: -np.sum(((data - design @ b) ** 2)[known]),
        lambda b: -np.sum((data[known] - (design @ b)[known]) ** 2),
        lambda b: -np.nansum((data - design @ b) ** 2),
        lambda b: -np.sum(np.where(known, stats.norm.logpdf(data, design @ b, np.exp(b[0])), 0.0)),
        lambda b: -np.sum((data - design @ b) ** 2, where=known),
        lambda b: np.nanmean((data - design @ b) ** 2) + np.nanmax(np.abs(data - design @ b)),
        lambda b: -np.sum(np.nan_to_num((data - design @ b) ** 2)),
    ):
        density = law(f, points)
        assert np.all(np.isfinite(density.hessian(points[0])))


@pytest.mark.parametrize("n", SIZES)
def test_branches_that_are_not_taken(n):
    index = np.arange(n) % 3
    w = np.where(BIG[:n] > 0, 3.0, -3.0) + 0.1 * BIG[:n]  # no branch changes near the points

    def logs(x):
        y = x[index] + w
        return np.sum(np.where(y > 0, np.log(y), y))

    def roots(x):
        y = x[index] + w
        return np.sum(np.where(y > 0, np.sqrt(y), 0.0)) + np.sum(np.where(y > 0, y**1.5, -y))

    def divided(x):
        y = x[index] * np.where(w > 0, 0.0, w)  # zeros at any x
        return np.sum(np.where(y == 0, 1.0, np.sin(y) / y))

    def masked(x):
        y = x[index] + w
        return np.sum(np.where(np.isnan(np.log(y)), -1.0, y * np.log(y)))

    def picked(x):
        y = np.log(x[index] + np.where(w > 0, 3.0, -9.0))
        return np.sum(y[w > 0])

    def overflowing(x):
        y = x[index] * np.where(w > 0, 1.0, 1000.0)
        return np.sum(np.where(w > 0, np.exp(y), 0.0)) + np.sum(np.where(w > 0, 1 / np.exp(-y), y))

    points = np.array([[0.4, -0.3, 0.9], [-0.7, 1.2, 0.2]])
    for f in (logs, roots, divided, masked, picked, overflowing):
        density = law(f, points)
        for x in points:
            assert np.all(np.isfinite(density.grad(x)))
            assert np.all(np.isfinite(density.hessian(x)))
            assert np.all(np.isfinite(density.value_and_grad(np.tile(x, (9, 1)))[1]))


def test_gradients_at_zeros():
    """xlogy's derivative by its factor is log y; lengths are flat at 0; powers with whole exponents are polynomials."""
    grad = Density.from_numpy(lambda x: np.sum(special.xlogy(x[:2], x[2:])), 4).grad([0.0, 2.0, 0.3, 0.7])
    np.testing.assert_allclose(grad, [np.log(0.3), np.log(0.7), 0.0, 2 / 0.7], rtol=1e-14)
    counts = np.array([0, 3, 0, 5, 0, 0, 0, 2, 0, 1])
    density = Density.from_numpy(lambda x: np.sum(special.xlogy(counts, x)), 10)
    x = np.full(10, 0.2)
    x[0] = 0.0
    assert density(x) == plain(lambda x: np.sum(special.xlogy(counts, x)), x)
    np.testing.assert_allclose(density.grad(x), counts / 0.2 * (x > 0), rtol=1e-14)
    np.testing.assert_array_equal(Density.from_numpy(lambda x: np.linalg.norm(x), 3).grad(np.zeros(3)), np.zeros(3))
    np.testing.assert_array_equal(Density.from_numpy(lambda x: np.hypot(x[0], x[1]), 2).grad(np.zeros(2)), np.zeros(2))
    density = Density.from_numpy(lambda x: np.sum(x[:, None] ** np.arange(4)), 3)
    np.testing.assert_array_equal(density.grad([0.0, 1.0, -2.0]), [1.0, 6.0, 9.0])
    density = Density.from_numpy(lambda x: np.sum(np.abs(x)) + np.sum(np.maximum(x, 0)) + np.max(x), 3)
    np.testing.assert_allclose(density.grad(np.zeros(3)), np.full(3, 0.5 + 1 / 3), atol=0.2)


@pytest.mark.parametrize("n", [1, 2, 5, 9, 300])
def test_spreads_of_equal_numbers_are_flat(n):
    """A standard deviation of 0, of one number too, has slope 0, the mean of both sides."""
    density = Density.from_numpy(lambda x: np.std(x[:1] * np.ones(n)) ** 2 + np.std(np.exp(x[:1])) - x @ x, 2)
    np.testing.assert_allclose(density.grad([0.3, 0.2]), [-0.6, -0.4], atol=1e-12)


# -- SciPy's domains --------------------------------------------------------------------------------------------------

SCIPY = {
    "poisson": (lambda x: stats.poisson.logpmf(0, x[0]), [-2.0, 0.0, 0.5, 1e8, 1e-300]),
    "poisson of counts": (lambda x: np.sum(stats.poisson.logpmf([0, 1, 7, -1], x[0])), [-2.0, 0.0, 0.5, 3.0]),
    "poisson of zeros": (lambda x: np.sum(stats.poisson.logpmf(np.zeros(300, dtype=int), x[0])), [-2.0, 0.0, 2.5]),
    "poisson not whole": (lambda x: stats.poisson.logpmf(1.5, x[0]), [-2.0, 0.5]),
    "binom": (lambda x: stats.binom.logpmf(3, 7, x[0]), [-0.1, 0.0, 0.3, 1.0, 1.1]),
    "binom nothing": (lambda x: stats.binom.logpmf(0, 7, x[0]), [-0.1, 0.0, 0.3, 1.0, 1.1]),
    "binom all": (lambda x: stats.binom.logpmf(7, 7, x[0]), [-0.1, 0.0, 0.3, 1.0, 1.1]),
    "binom of none": (lambda x: stats.binom.logpmf(0, 0, x[0]), [-0.1, 0.3, 1.1]),
    "bernoulli": (lambda x: np.sum(stats.bernoulli.logpmf([0, 1, 1], x[0])), [-0.1, 0.0, 0.3, 1.0, 1.1]),
    "nbinom": (lambda x: stats.nbinom.logpmf(0, 2.5, x[0]), [-0.1, 0.0, 0.3, 1.0, 1.1]),
    "nbinom size": (lambda x: stats.nbinom.logpmf(3, x[0], 0.4), [-0.1, 0.0, 0.3, 1e8]),
    "geom": (lambda x: stats.geom.logpmf(1, x[0]), [-0.1, 0.0, 0.3, 1.0, 1.1]),
    "gamma": (lambda x: stats.gamma.logpdf(1.3, x[0]), [-1.0, 0.0, 0.4, 1.0, 1e8]),
    "gamma x": (lambda x: stats.gamma.logpdf(x[0], 1.0), [-1.0, 0.0, 0.4]),
    "gamma x 2": (lambda x: stats.gamma.logpdf(x[0], 2.0), [-1.0, 0.0, 0.4]),
    "gamma x half": (lambda x: stats.gamma.logpdf(x[0], 0.5), [-1.0, 0.0, 0.4]),
    "gamma scale": (lambda x: stats.gamma.logpdf(1.3, 2.0, scale=x[0]), [-1.0, 0.0, 0.4]),
    "beta": (lambda x: stats.beta.logpdf(0.3, x[0], 2.0), [-1.0, 0.0, 1.0, 1e8]),
    "beta x": (lambda x: stats.beta.logpdf(x[0], 1.0, 1.0), [-1.0, 0.0, 0.4, 1.0, 1.1]),
    "beta x one": (lambda x: stats.beta.logpdf(x[0], 1.0, 2.0), [-1.0, 0.0, 0.4, 1.0, 1.1]),
    "beta x two": (lambda x: stats.beta.logpdf(x[0], 2.5, 1.0), [-1.0, 0.0, 0.4, 1.0, 1.1]),
    "beta scaled": (lambda x: stats.beta.logpdf(x[0], 2.5, 1.0, 0.0, 49.0), [-1.0, 0.0, 0.4, 49.0, 50.0]),
    "chi2": (lambda x: stats.chi2.logpdf(1.3, x[0]), [-1.0, 0.0, 2.0, 1e8]),
    "chi2 x": (lambda x: stats.chi2.logpdf(x[0], 2.0), [-1.0, 0.0, 0.3]),
    "invgamma": (lambda x: stats.invgamma.logpdf(1.3, x[0]), [-1.0, 0.0, 1.0, 1e8]),
    "invgamma x": (lambda x: stats.invgamma.logpdf(x[0], 1.0), [-1.0, 0.0, 0.4]),
    "t": (lambda x: stats.t.logpdf(1.3, x[0]), [-1.0, 0.0, 1.0, 30.0, 1e8, 1e12, 1e15]),
    "t data": (lambda x: np.sum(stats.t.logpdf(BIG[:300], x[0], x[1], 1.3)), [1.0, 1e8, 1e15]),
    "norm": (lambda x: stats.norm.logpdf(1.3, 0.2, x[0]), [-1.0, 0.0, 1.0]),
    "halfnorm": (lambda x: stats.halfnorm.logpdf(x[0]), [-1.0, 0.0, 1.0]),
    "expon": (lambda x: stats.expon.logpdf(x[0], scale=x[1]), [-1.0, 0.0, 1.0]),
    "expon scale": (lambda x: stats.expon.logpdf(1.0, scale=x[0]), [-1.0, 0.0, 1.0]),
    "lognorm": (lambda x: stats.lognorm.logpdf(x[0], 0.7), [-1.0, 0.0, 1.0]),
    "lognorm shape": (lambda x: stats.lognorm.logpdf(1.2, x[0]), [-1.0, 0.0, 1.0]),
    "uniform": (lambda x: stats.uniform.logpdf(x[0], 0.0, 49.0), [-1.0, 0.0, 1.0, 49.0, 49.1]),
    "uniform width": (lambda x: stats.uniform.logpdf(0.5, 0.0, x[0]), [-1.0, 0.0, 0.3, 0.5, 0.7]),
    "pareto": (lambda x: stats.pareto.logpdf(x[0], 2.0), [-1.0, 0.5, 1.0, 1.5]),
    "weibull": (lambda x: stats.weibull_min.logpdf(x[0], 1.0), [-1.0, 0.0, 0.5]),
    "weibull shape": (lambda x: stats.weibull_min.logpdf(0.7, x[0]), [-1.0, 0.0, 1.0]),
    "truncnorm": (lambda x: stats.truncnorm.logpdf(x[0], -1.0, 2.0), [-1.1, -1.0, 0.3, 2.0, 2.1]),
    "dirichlet": (lambda x: stats.dirichlet.logpdf([0.2, 0.3, 0.5], np.exp(x[0]) * np.ones(3)), [0.0, 1.0]),
    "wald": (lambda x: stats.invgauss.logpdf(x[0], 0.7), [-1.0, 0.0, 0.4]),
}  # fmt: skip


@pytest.mark.parametrize("name", SCIPY)
def test_domains(name):
    f, first = SCIPY[name]
    points = [[value, 0.7] for value in first]
    law(f, points, slopes=False, rtol=1e-10)
    density = Density.from_numpy(f, 2)
    for x in points:
        truth = differences(f, np.array(x), 1e-3)
        known = np.isfinite(truth) & (np.abs(x) < 1e6)
        scale = np.max(np.abs(truth[known]), initial=1.0)
        np.testing.assert_allclose(density.grad(x)[known], truth[known], rtol=1e-5, atol=1e-6 * scale)


# -- booleans, integers, dtypes ---------------------------------------------------------------------------------------

F32 = np.linspace(-1, 1, 6, dtype=np.float32)
CASES = {
    "booleans": lambda x: (
        1.0 * np.sum((x > 0) + (x < 1)) + 10 * np.sum((x > 0) * (x < 1)) + 100.0 * np.sum((x > 0) ^ (x < 1))
    ),
    "bits": lambda x: np.sum(x * ((x > 0) & (x < 1))) + np.sum(((x > 0) | (x < -1)) * 0.5) + np.sum(~(x > 0)) * 0.1,
    "booleans in sums": lambda x: (x[0] > 0) + (x[1] > 0) + 0.5 * x[0],
    "sum of booleans": lambda x: sum(v > 0 for v in x) * 1.0,
    "mean": lambda x: np.mean(x > 0) + np.var(x > 0) + np.std(x > -9),
    "counts": lambda x: (
        np.sum(x > 0) // 2 + np.sum(x > 0) % 3 * 0.5 + np.sum(x > 0) ** 2 + 2 ** np.sum(x > 0) + np.sum(x > 0) / 2
    ),
    "counts over zero": lambda x: np.sum(x > 0) // np.sum(x > 99) + np.sum(x > 0) % np.sum(x > 99) + 0.5,
    "negative": lambda x: -np.sum(x > 0) // 2 + -np.sum(x > 0) % 4 + (0 - np.sum(x > 0)) / 3,
    "all zeros": lambda x: np.all(x) + np.any(x) * 2 + np.count_nonzero(x) * 4 + np.prod(x > -9) * 8.0,
    "maximum": lambda x: np.sum(np.maximum(x > 0, x < 1)) + np.max(x > 0) + np.min(x > 0) * 0.5,
    "where": lambda x: np.sum(np.where(x > 0, 1, 2)) + np.sum(np.where(x > 0, True, x > -1)) * 0.1,
    "whole means": lambda x: np.floor(np.mean(x > -99)) + np.where(np.mean(x > -99) == 1, 10.0, 0.0),
    "select": lambda x: np.sum(np.select([x > 1, F32 > 0], [x, F32], 0.3) ** 2),
    "scales in float32": lambda x: np.sum(stats.norm.logpdf(x, 0.3, np.exp(F32))),
    "int data": lambda x: np.sum(np.arange(6) * x) + np.arange(6) // 2 @ x + np.sum(np.arange(6) ** 2 * x),
    "uint8 data": lambda x: (
        np.sum(np.arange(6, dtype=np.uint8) * x) - np.sum(np.arange(250, 256, dtype=np.uint8) + 0 * x)
    ),
    "float32 data": lambda x: np.sum(np.linspace(0, 1, 6, dtype=np.float32) * x) + np.float32(0.1) * x[0],
    "bool data": lambda x: np.sum(np.array([True, False, True, True, False, True]) * x) + x[0] * True,
    "floor": lambda x: np.sum(x // 0.3) + np.sum(x % 0.3) + np.sum(np.floor(x)) + np.sum(x // -0.7) + np.sum(x % -0.7),
    "diff": lambda x: np.sum(np.diff(x > 0)) * 1.0 + np.sum(np.diff(np.cumsum(x > 0)) ** 2),
    "astype": lambda x: np.sum((x > 0).astype(int) - (x < 1).astype(int)) * 1.0 + (x > 0).astype(float) @ x,
    "signs": lambda x: (
        np.sum(np.sign(x)) + np.sum(np.signbit(x)) + np.sum(np.copysign(2.0, x)) + np.sum(np.heaviside(x, 0.5))
    ),
    "inverted": lambda x: (
        np.sum(np.where(~(x > 0) & ~(x < -1), x, 0.0))
        + np.sum(np.logical_not(x > 0))
        + np.sum(np.logical_xor(x > 0, x))
    ),
    "shapes are integers": lambda x: x.size // 4 * x[0] + len(x) % 4 * x[1] + x.shape[0] ** 2 * x[2],
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_dtypes(name):
    law(CASES[name], [*RNG.normal(size=(4, 6)), np.full(6, 0.35), np.full(6, -0.35)])
    law(CASES[name], [np.zeros(6), np.ones(6), -np.ones(6)], slopes=False)


@pytest.mark.parametrize("n", [2, 3, 7, 9, 49, 98, 103, 107, 255, 257, 1000])
def test_quotients_of_counts_are_exact(n):
    """What all of n are is 1, not nearly, so that comparisons and floors of quotients are NumPy's."""
    for f in (
        lambda x: np.floor(np.mean(x[0] + np.arange(n) > -99)),
        lambda x: np.where(np.sum(x[0] + np.arange(n) > -99) / n == 1, 1.0, 2.0),
        lambda x: np.where(np.mean(x[0] + np.arange(n) > -99) < 1, 1.0, 2.0),
        lambda x: np.sum(x[0] + np.arange(n) > -99) / n // 1,
    ):
        assert Density.from_numpy(f, 1)([0.3]) == f(np.array([0.3]))


# -- views ------------------------------------------------------------------------------------------------------------


def through(view):
    def f(x):
        a = np.outer(x, x) + np.arange(36.0).reshape(6, 6)
        b = view(a)
        b += x[0]
        b *= 2.0
        b[..., :1] = x[1]
        return np.sum(a * np.cos(np.arange(36.0).reshape(6, 6))) + np.sum(b**2) / 9

    return f


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a,
        lambda a: a.T,
        lambda a: a.reshape(4, 9),
        lambda a: a.T.reshape(4, 9),
        lambda a: a[::2],
        lambda a: a[::-1, ::-2],
        lambda a: a[1:5:3, 2:],
        lambda a: a.ravel(),
        lambda a: a.T.ravel(),
        lambda a: a.ravel(order="F"),
        lambda a: a.flatten(),
        lambda a: a[[0, 1, 2]],
        lambda a: a[a.shape[0] - 1],
        lambda a: a[np.arange(6) > 2],
        lambda a: a[:, 1],
        lambda a: a[:, [1, 1, 3]],
        lambda a: a.reshape(-1)[::7],
        lambda a: np.swapaxes(a, 0, 1),
        lambda a: np.moveaxis(a, 0, 1)[1:],
        lambda a: a[None, ..., None][0],
        lambda a: np.squeeze(a[:, :1]),
        lambda a: np.split(a, 2)[1],
        lambda a: np.flip(a, 0),
        lambda a: np.rot90(a),
        lambda a: a.copy(),
        lambda a: np.array(a),
        lambda a: np.asarray(a),
        lambda a: a * 1.0,
        lambda a: np.atleast_3d(a),
        lambda a: a[2:4][:, 1::2].T,
        lambda a: list(a)[2],
        lambda a: np.tile(a, 1),
        lambda a: np.hsplit(a, 3)[1].reshape(-1),
    ],
)
def test_writes_through_views(view):
    law(through(view), RNG.normal(size=(2, 6)))


def swapped(x):
    a = x * 2.0
    a[0], a[1] = a[1], a[0]
    a[:3], a[3:] = a[3:], a[:3]
    return a @ np.arange(6.0)


def overlapping(x):
    a = x * 1.0
    a[1:] = a[:-1]
    a[::-1] += a
    a[2:] -= a[:-2]
    a[:] = a[::-1]
    return a @ np.arange(6.0)


def shared(x):
    a = x * 1.0
    b = a
    c = a[2:]
    b += 1
    c *= b[2:]
    a = a + 1  # another array from here on
    a += 5
    return np.sum(a * b) + np.sum(c**2)


def numbers(x):
    a = x * 1.0
    b = a[0]
    b += 10  # a number, not a view
    return b + a @ a


def repeated(x):
    a = x * 1.0
    a[[0, 0, 2]] = x[3:]
    a[[1, 1]] += 1
    np.add.at(a, [1, 1, -1], x[:3])
    np.subtract.at(a, [0, 0], 3.0)
    return a @ np.arange(1.0, 7.0)


def kept(x):
    """What an array was before it was written into."""
    a = x * 1.0
    before, head = a.copy(), a[:2] * 1
    a[:] = 0
    return before @ np.arange(6.0) + np.sum(head) + np.sum(a)


@pytest.mark.parametrize("f", [swapped, overlapping, shared, numbers, repeated, kept])
def test_assignments(f):
    law(f, RNG.normal(size=(3, 6)))


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("sizes", [(1, 1), (5, 3), (3, 5), (300, 4)])
def test_convolutions_take_what_they_touch(sizes, mode):
    """An element that is NaN is in the sums that have it, and in no other; numbers count as arrays of one."""
    a, b = BIG[: sizes[0]], BIG[: sizes[1]]

    def f(x):
        gap = np.where(np.arange(a.size) == 2, np.log(x[1]), a * x[0])
        return (
            np.nansum(np.convolve(gap, b, mode)) + np.sum(np.convolve(a, b * x[0], mode)) + np.sum(np.convolve(x, x[0]))
        )

    law(f, [[0.7, 1.3], [0.7, -1.3]], slopes=False)


def test_floors_of_numbers_over_infinity():
    law(lambda x: x[0] // np.inf + 10 * (x[1] // -np.inf), [[1.0, 1.0], [-1.0, -1.0], [0.0, 2.0]], slopes=False)


def test_arguments_are_not_changed():
    for f in (
        lambda x: x.__iadd__(1.0)[0],
        lambda x: x.T[1:].__imul__(2.0)[0],
        lambda x: x.reshape(2, 3).__setitem__(0, 1.0) or x[0],
    ):
        with pytest.raises(DensityError, match="changes its arguments"):
            Density.from_numpy(f, 6)


# -- special functions over their range -------------------------------------------------------------------------------

RANGES = {
    "gammaln": (lambda x: special.gammaln(x[0]), [1e-300, 1e-8, 0.5, 1.0, 2.0, 30.0, 1e5, 1e15, 1e100, 1e300]),
    "gammaln below zero": (lambda x: special.gammaln(x[0]), [-0.5, -1.0, -2.7, -30.5, -150.3, 0.0]),
    "betaln": (lambda x: special.betaln(x[0], 2.5), [1e-10, 1.0, 1e3, 1e8, 1e12, 1e15, 1e100]),
    "betaln both": (lambda x: special.betaln(x[0], x[0] * 2), [1e-10, 1.0, 1e3, 1e8, 1e12]),
    "psi": (lambda x: special.psi(x[0]), [1e-8, 1.0, 1e8, -0.5, -3.7]),
    "t": (lambda x: stats.t.logpdf(2.0, x[0]), [0.1, 1.0, 1e5, 1e8, 1e10, 1e15]),
    "hypot": (lambda x: np.hypot(x[0], 3.0), [0.0, 1e-200, 1e200, 1e300, -1e300]),
    "hypot both": (lambda x: np.hypot(x[0], x[0]), [0.0, 1e-200, 1e200, 1e300, -1e300]),
    "log1p": (lambda x: np.log1p(x[0]), [1e-20, -1e-20, -1.0, -2.0, 1e300]),
    "expm1": (lambda x: np.expm1(x[0]), [1e-20, -1e-20, -800.0, 700.0, 800.0]),
    "logaddexp": (lambda x: np.logaddexp(x[0], 0.0), [-1e300, -800.0, 0.0, 800.0, 1e300]),
    "expit": (lambda x: special.log_expit(x[0]), [-1e300, -800.0, 0.0, 40.0, 800.0, 1e300]),
    "log_ndtr": (lambda x: special.log_ndtr(x[0]), [-1e100, -1e5, -40.0, -5.0, 0.0, 5.0, 40.0]),
    "erfc": (lambda x: special.erfc(x[0]), [-30.0, 0.0, 5.0, 20.0, 30.0]),
    "xlogy": (lambda x: special.xlogy(x[0], 2.0), [0.0, 1e300, -1.0]),
    "powers": (lambda x: x[0] ** 3 + x[0] ** -2 + x[0] ** 0.5, [1e-100, 1e90, 2.0, 1e-3]),
    "logsumexp": (lambda x: special.logsumexp([x[0], x[0] - 1, -np.inf]), [-1e300, -800.0, 0.0, 800.0, 1e300]),
    "softmax": (lambda x: special.log_softmax(np.array([x[0], 0.0, -x[0]]))[0], [-1e300, -800.0, 0.0, 800.0]),
    "sinc": (lambda x: np.sinc(x[0]), [0.0, 1e-200, 1e-9, 0.5, 10.0]),
    "arctan2": (lambda x: np.arctan2(x[0], -1.0), [0.0, -0.0, 1e300, -1e-300]),
    "trigonometric": (lambda x: np.sin(x[0]) + np.cos(x[0]), [0.0, 1e5, 1e10, 1e15]),
    "sqrt": (lambda x: np.sqrt(x[0]), [0.0, 1e-300, 1e300, -1e-300]),
    "exp": (lambda x: np.exp(x[0]), [-745.0, -750.0, 709.7, 710.0, 0.0]),
    "tanh": (lambda x: np.tanh(x[0]) + np.arcsinh(x[0]), [-1e300, -30.0, 1e-300, 30.0]),
}  # fmt: skip


@pytest.mark.parametrize("name", RANGES)
def test_ranges(name):
    """The whole range, as one number in scalar code and as eight points in a vector."""
    f, values = RANGES[name]
    points = np.array(values)[:, None]
    expected = np.array([plain(f, x) for x in points])
    density = Density.from_numpy(f, 1)
    np.testing.assert_allclose([density(x) for x in points], expected, rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(density(points), expected, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(
    "ufunc", [special.gammaln, special.psi, np.exp, np.log, np.log1p, np.tanh, special.expit, special.log_ndtr, np.sin]
)
def test_ranges_in_arrays(ufunc, n):
    values = np.concatenate(
        [[0.0, -1.0, -0.5, 1e-300, 1e300, 40.0, -40.0, 710.0, -750.0, 1e-9, -1e-9, 171.0], RNG.normal(size=n) * 3]
    )[:n]
    if ufunc is np.sin:  # of which differences tell nothing there
        values = np.where(np.abs(values) > 1e3, 1e3, values)
    weights = np.cos(np.arange(n))
    density = Density.from_numpy(
        lambda x: np.where(np.isfinite(ufunc(values * x[0])), ufunc(values * x[0]), 3.0) @ weights, 1
    )
    f = lambda x: np.where(np.isfinite(ufunc(values * x[0])), ufunc(values * x[0]), 3.0) @ weights  # noqa: E731
    np.testing.assert_allclose(density([1.0]), plain(f, [1.0]), rtol=1e-12)


def test_copysign_and_kin():
    law(
        lambda x: np.copysign(x[0], x[1]) + np.copysign(x[2], -1.0) + np.copysign(2.0, x[3]),
        [[1.0, -2, 3, -4], [-1.0, 2, -3, 4], [0.5, 0.1, 2, 3]],
    )
    law(
        lambda x: np.hypot(x[0], x[1]) + np.arctan2(x[2], x[3]),
        [[1.0, -2, 3, -4], [3e200, -4e200, 1, 1], [1e-200, 1e-200, 1, 1]],
        slopes=False,
    )
    gradient = Density.from_numpy(lambda x: np.hypot(x[0], x[1]), 2).grad([3e200, -4e200])
    np.testing.assert_allclose(gradient, [0.6, -0.8], rtol=1e-14)


# -- linear algebra ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 3, 8, 12])
def test_singular_matrices(n):
    """A column that does not depend on the others only at 0: det has a slope where the matrix has none to invert."""
    base = RNG.normal(size=(n, n))
    base[:, 0] = 0.0

    def matrix(x):
        a = base.copy() + 0 * x[0]
        a[:, 0] = x[0] * np.arange(1.0, n + 1)
        return a

    law(lambda x: np.linalg.det(matrix(x)), [[0.0], [1.3]], atol=1e-9)
    density = Density.from_numpy(lambda x: np.linalg.slogdet(matrix(x))[1], 1)
    assert density([0.0]) == -np.inf
    np.testing.assert_allclose(density([1.3]), plain(lambda x: np.linalg.slogdet(matrix(x))[1], [1.3]), rtol=1e-10)
    sign = Density.from_numpy(lambda x: np.linalg.slogdet(matrix(x))[0], 1)
    assert [sign([v]) for v in (0.0, 1.3, -1.3)] == [
        plain(lambda x: np.linalg.slogdet(matrix(x))[0], [v]) for v in (0.0, 1.3, -1.3)
    ]


@pytest.mark.parametrize("n", [1, 2, 3, 8, 12])
def test_matrices_that_are_not_definite(n):
    """Where NumPy raises an error, the density is NaN."""
    shift = RNG.normal(size=(n, n))
    shift = shift @ shift.T
    f = lambda x: np.sum(np.log(np.diag(np.linalg.cholesky(shift + x[0] * np.eye(n)))))  # noqa: E731
    density = Density.from_numpy(f, 1)
    np.testing.assert_allclose(density([2.0]), plain(f, [2.0]), rtol=1e-11)
    assert np.all(np.isnan(density([[-1e3], [np.nan]])))
    assert np.isnan(density([-1e3])) and np.isnan(density([np.nan]))


# -- functions that NumPy accepts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.einsum("i,ij,j->", np.arange(6.0), np.eye(6), x) + np.einsum("i->", np.ones(3)) * x[0],
        lambda x: (
            np.einsum("ij,jk->", np.ones((2, 3)), np.ones((3, 2))) * x[0] + np.einsum("ij,j", np.zeros((2, 6)), x)[0]
        ),
        lambda x: np.polyval([2.0], x).sum() + np.polyval([2.0], x[0]) + np.polyval([x[0]], 3.0) + x @ x,
        lambda x: np.sum(np.zeros((6, 6)) @ x) + np.sum(np.zeros((3, 2)) @ x.reshape(2, 3)) + x[0],
        lambda x: np.sum(x.reshape(2, 3) @ np.zeros((3, 4))) + np.sum(np.outer(np.zeros(3), x)) + x @ x,
        lambda x: np.sum(x[:0]) + np.prod(x[:0]) + x[0],
        lambda x: np.sum(np.zeros((0, 3)) @ x[:3]) + np.sum(x[:0] @ np.zeros((0, 3))) + x[1],
        lambda x: np.concatenate([x[:0], x]).sum() + np.sum(x[:0] * 2 + 1) + np.sum(x[x.shape[0] :]),
        lambda x: np.array(3.0),
        lambda x: 2,
        lambda x: True,
        lambda x: np.float32(1.5),
        lambda x: x[:1],
        lambda x: x[:1].reshape(1, 1, 1),
        lambda x: np.sum(x, keepdims=True),
        lambda x: x[0] > 0,
        lambda x: np.sum(x > 0),
        lambda x: x[0] * 0 + np.inf - np.inf,
        lambda x: sum(v * v for v in x) - max([1.0, 2.0]) * min(3, 4) + abs(x[0]),
        lambda x: np.dot(3.0, x[0]) + np.multiply.reduce(x) + np.linalg.norm(x.reshape(2, 3)),
        lambda x: (
            np.broadcast_to(x[0], (1000, 3)).sum() + np.full((300,), x[1]).sum() + np.ones(257) @ np.repeat(x[2], 257)
        ),
        lambda x: np.sum(x[np.zeros(1000, dtype=int)]) + np.sum(x[[-1] * 257]) + np.sum(x[np.array([], dtype=int)]),
    ],
)
def test_ordinary_functions(f):
    with np.errstate(all="ignore"):
        g = lambda x: np.asarray(f(x)).reshape(-1)[0]  # noqa: E731
        points = RNG.normal(size=(3, 6))
        density = Density.from_numpy(f, 6)
        for x in points:
            np.testing.assert_allclose(density(x), float(g(x)), rtol=1e-12)
            if np.isfinite(g(x)):
                np.testing.assert_allclose(
                    density.grad(x), differences(g, x), rtol=1e-6, atol=1e-7 * max(1.0, abs(g(x)))
                )
        np.testing.assert_allclose(density(points), [float(g(x)) for x in points], rtol=1e-12)


# -- data, state and chance -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 300, 5000])
def test_data_are_copied(n):
    """What the function refers to may change after it was traced."""
    data, design, index = np.ones(n), np.ones((n, 2)), np.zeros(n, dtype=int)
    density = Density.from_numpy(lambda x: np.sum(data * x[0]) + np.sum(design @ x[:2]) + np.sum(x[index]), 2)
    before, slope = density([1.0, 2.0]), density.grad([1.0, 2.0])
    data[:], design[:], index[:] = 7.0, 7.0, 1
    assert density([1.0, 2.0]) == before == n * (1 + 3 + 1)
    np.testing.assert_array_equal(density.grad([1.0, 2.0]), slope)
    density.prepare("hessian", "batch")
    np.testing.assert_array_equal(density.hessian([1.0, 2.0]), np.zeros((2, 2)))
    np.testing.assert_array_equal(density([[1.0, 2.0]] * 9), np.full(9, before))


def test_chance_and_state_are_refused():
    rng, calls, table = np.random.default_rng(0), [], np.zeros(3)

    def counted(x):
        calls.append(1)
        return len(calls) * x[0]

    def remembered(x):
        table[0] += 1.0
        return np.sum(table * x[:3])

    for f in (lambda x: x[0] + rng.normal(), counted, remembered, lambda x: x @ rng.permutation(x.size) * 1.0):
        with pytest.raises(DensityError, match="random"):
            Density.from_numpy(f, 6)


def test_long_loops_of_any_kind():
    """More than 100,000 scalar operations, found as loops and not."""

    def unrolled(x):
        total, state = x[0], x[1]
        for i in range(3000):
            state = np.sin(state) + (x[i % 3] if i % 7 in (0, 3) else -x[2]) * 0.1
            total = total + state * x[(i * i) % 5] if i % 11 else total - state
        return total

    density = Density.from_numpy(unrolled, 6)
    x = np.linspace(-0.5, 0.5, 6)
    np.testing.assert_allclose(density(x), unrolled(x), rtol=1e-10)
    np.testing.assert_allclose(density.grad(x), differences(unrolled, x), rtol=1e-6, atol=1e-6)


# -- loops ------------------------------------------------------------------------------------------------------------

DATA = np.random.default_rng(5).normal(size=40)
GAPS = np.where(np.arange(40) % 3 == 1, np.nan, DATA)


def left_to_right(x, steps):
    """A hidden Markov chain, state by state, that begins in its first state: -inf times log shares that are 0."""
    half, a = np.log(0.5), [0.0, -np.inf, -np.inf]
    for y in DATA[:steps]:
        e = [-((y - v) ** 2) for v in x[:3]]
        last = np.logaddexp(a[1] + half, a[2]) + e[2]
        a = [a[0] + half + e[0], np.logaddexp(a[0] + half, a[1] + half) + e[1], last]
    return np.logaddexp(np.logaddexp(a[0], a[1]), a[2])


def one_of_two(x, steps):
    """Two numbers that are the same one from the first step on."""
    a, b, total = x[0], x[1], 0.0
    for y in DATA[:steps]:
        new = np.tanh(a * b + y) + x[2]
        a = new
        b = new
        total = total + new * y
    return total


def gaps(x, steps):
    h, total = x[0], 0.0
    for y in GAPS[:steps]:
        error = y - h
        total = total - np.where(np.isnan(error), 0.0, 0.5 * error**2)
        h = np.where(np.isnan(error), h, 0.5 * h + x[1] * error)
    return total


def leaves_the_support(x, steps):
    """From some step on, every state is NaN, and none of these is looked at."""
    h, states = x[0] + 2.0, []
    for _ in range(steps):
        h = np.sqrt(h - 0.4)
        states.append(h)
    states = np.array(states)
    return np.sum(np.where(np.isnan(states), 0.0, states))


def infinite_from_here(x, steps):
    h, total = x[0], 0.0
    for t in range(steps):
        h = 0.5 * h * (np.inf if t == 6 else DATA[t]) + x[1]
        total = total + np.where(np.isfinite(h), h * h, 0.0)
    return total


def lags(x, steps):
    h = [x[0], x[1], x[2]]
    for t in range(steps):
        h.append(0.3 * h[-1] - 0.2 * h[-2] + np.sin(h[-3]) - -x[2] * DATA[t])
    return sum(v * v for v in h)


def filtered(x, steps):
    m, p, total = [x[0], x[1]], [[1.0, 0.1], [0.1, 1.0]], 0.0
    for y in DATA[:steps]:
        s, r = p[0][0] + np.exp(x[2]), y - m[0]
        k = [p[0][0] / s, p[1][0] / s]
        total = total - 0.5 * (np.log(s) + r * r / s)
        m = [m[0] + k[0] * r, m[1] + k[1] * r]
        p = [[p[i][j] - k[i] * p[0][j] + 0.1 * (i == j) for j in range(2)] for i in range(2)]
    return total


def every_other(x, steps):
    h, total = x[0], 0.0
    for t in range(steps):
        h = 0.5 * h + (x[1] if t % 2 else -x[2] * DATA[t])
        if t % 3 == 0:
            continue
        total += (-1) ** t * h * h
    return total


def written(x, steps):
    z = np.zeros(steps + 2)
    z[0], z[1] = x[0], x[1]
    for t in range(2, steps + 2):
        z[t] = 0.5 * z[t - 1] - 0.3 * z[t - 2] + -(x[2] ** 2) * DATA[t - 2]
    return np.sum(z[::-1] * np.arange(steps + 2))


def restarted(x, steps):
    total = 0.0
    for i in range(4):
        h = x[i % 3]
        for y in DATA[:steps]:
            h = np.sin(h) - (y - x[1]) ** 2 * 0.1
        total = total + h * DATA[i]
    return total


@pytest.mark.parametrize("steps", [3, 7, 8, 9, 10, 17, 40])
@pytest.mark.parametrize(
    "f",
    [
        left_to_right, one_of_two, gaps, leaves_the_support, infinite_from_here, lags, filtered, every_other, written,
        restarted,
    ],
)  # fmt: skip
def test_loops(f, steps):
    points = np.random.default_rng(steps).normal(scale=0.5, size=(2, 3))
    g = lambda x: f(x, steps)  # noqa: E731
    density = law(g, points)
    x = points[0]
    h = 1e-5 * np.eye(3)
    curvature = np.array([(density.grad(x + row) - density.grad(x - row)) / 2e-5 for row in h])
    np.testing.assert_allclose(
        density.hessian(x), curvature, rtol=1e-5, atol=1e-6 * max(1.0, np.max(np.abs(curvature)))
    )


@pytest.mark.parametrize("n", SIZES)
def test_rows_of_missing_covariates(n):
    design, y = ROWS[:n].copy(), BIG[:n]
    design[::3, 1] = np.nan
    design[1::5, 2] = np.inf

    def vector(b):
        error = y - design @ b
        return -np.sum(np.where(np.isfinite(error), error**2, 1.0))

    def matrix(b):
        error = np.outer(b, [1.0, -0.5]).T @ design.T
        return -np.sum(np.where(np.isfinite(error), error**2, 1.0))

    def weighted(b):
        error = (design * b[0]) @ np.outer(b, b)
        return -np.sum(np.where(np.isfinite(error), error**2, 1.0))

    for f in (vector, matrix, weighted):
        density = law(f, RNG.normal(size=(2, 3)))
        assert np.all(np.isfinite(density.hessian([0.3, -0.2, 0.5])))
