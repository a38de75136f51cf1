"""Values of the compiled targets against SciPy, over the sizes where loops have tails, and their normalisers."""

import numpy as np
import pytest
from laws.library import covariance, design
from scipy import special, stats

from micropolis import densities

SIZES = [1, 2, 7, 8, 9, 16, 31, 33, 64, 70]


def normals(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("dim", SIZES)
def test_gaussian_with_independent_coordinates(dim):
    mean, std, x = normals(0, dim), np.exp(normals(1, dim)), normals(2, 5, dim)
    density = densities.Gaussian(mean, std=std)
    np.testing.assert_allclose(density(x), stats.norm.logpdf(x, mean, std).sum(axis=1), rtol=1e-13)
    np.testing.assert_allclose(density.grad(x), (mean - x) / std**2, rtol=1e-14)


@pytest.mark.parametrize("dim", [*SIZES, 512])
def test_gaussian_with_a_covariance(dim):
    mean, cov, x = normals(0, dim), covariance(dim, 1), normals(2, 5, dim)
    truth = stats.multivariate_normal.logpdf(x, mean, cov)
    slope = np.linalg.solve(cov, (mean - x).T).T
    for density in (densities.Gaussian(mean, cov=cov), densities.Gaussian(mean, precision=np.linalg.inv(cov))):
        np.testing.assert_allclose(density(x), truth, rtol=1e-12)
        np.testing.assert_allclose(density.grad(x), slope, rtol=0, atol=1e-12 * np.abs(slope).max())
        np.testing.assert_allclose(density.cov(), cov, rtol=0, atol=1e-13)


def test_gaussian_with_one_standard_deviation():
    x = normals(3, 4)
    assert densities.Gaussian(np.zeros(4), std=2.0)(x) == densities.Gaussian(np.zeros(4), std=[2.0] * 4)(x)


@pytest.mark.parametrize("dim", [1, 2, 8, 9])
def test_gaussian_mixture(dim):
    means, covs, weights = normals(0, 3, dim), [covariance(dim, seed) for seed in (1, 2, 3)], [0.1, 0.2, 0.7]
    x = np.vstack([normals(4, 5, dim), 30 * normals(5, 5, dim)])
    density = densities.GaussianMixture(means, covs, weights)
    terms = [
        np.log(w) + stats.multivariate_normal.logpdf(x, m, c) for w, m, c in zip(weights, means, covs, strict=True)
    ]
    np.testing.assert_allclose(density(x), special.logsumexp(terms, axis=0), rtol=1e-12)


def test_mixture_of_one_is_a_gaussian():
    mean, cov, x = normals(0, 5), covariance(5, 1), normals(1, 4, 5)
    mixture, gaussian = densities.GaussianMixture([mean], [cov], [1.0]), densities.Gaussian(mean, cov=cov)
    np.testing.assert_allclose(mixture(x), gaussian(x), rtol=1e-14)
    np.testing.assert_allclose(mixture.hessian(x), gaussian.hessian(x), rtol=1e-14)


@pytest.mark.parametrize("dim", [2, 9, 10, 17])
def test_funnel(dim):
    x = normals(0, 5, dim) * 2
    truth = stats.norm.logpdf(x[:, 0], 0, 3) + stats.norm.logpdf(x[:, 1:], 0, np.exp(-0.5 * x[:, :1])).sum(axis=1)
    np.testing.assert_allclose(densities.Funnel(dim)(x), truth, rtol=1e-13)


def test_funnel_where_the_square_overflows_alone():
    # exp(v) underflows and x^2 overflows while their product is of order one
    v = -1000.0
    x = np.array([v, np.exp(-0.5 * v)])
    truth = stats.norm.logpdf(v, 0, 3) + 0.5 * v - 0.5 * np.log(2 * np.pi) - 0.5
    np.testing.assert_allclose(densities.Funnel(2)(x), truth, rtol=1e-13)


def test_exact_draws_of_the_funnel():
    x = densities.Funnel(4).sample_exact(np.random.default_rng(0), 5000)
    assert stats.kstest(x[:, 0] / 3, "norm").pvalue > 1e-4
    assert stats.kstest((x[:, 1:] * np.exp(0.5 * x[:, :1])).ravel(), "norm").pvalue > 1e-4


@pytest.mark.parametrize("eta", [0.01, 1.0, 5.0])
def test_rough_well(eta):
    x = normals(0, 6, 3)
    density = densities.RoughWell(3, eta)
    np.testing.assert_allclose(density(x), -np.sum(0.5 * x**2 + eta * np.cos(x / eta), axis=1), rtol=1e-13)
    np.testing.assert_allclose(density.grad(x), np.sin(x / eta) - x, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("eta", [0.05, 0.5, 1.9, 2.1, 40.0])
def test_exact_draws_of_the_rough_well(eta):
    grid = np.linspace(-12, 12, 200_001)
    mass = np.exp(-0.5 * grid**2 - eta * (np.cos(grid / eta) - 1))
    cdf = np.cumsum(mass) / mass.sum()
    density = densities.RoughWell(2, eta)
    x = density.sample_exact(np.random.default_rng(1), 4000).ravel()
    assert stats.kstest(x, lambda t: np.interp(t, grid, cdf)).pvalue > 1e-4
    np.testing.assert_allclose(density.cov()[0, 0], np.sum(mass * grid**2) / mass.sum(), rtol=1e-6)


def test_banana_is_normalised():
    x = np.linspace(-14, 14, 701)
    y = np.linspace(-30, 8, 951)
    grid = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1)
    # the trapezoidal rule is exact to rounding for a smooth density that vanishes at the edges
    mass = np.exp(densities.Banana(2, curvature=0.1, scale=1.5)(grid)).sum() * (x[1] - x[0]) * (y[1] - y[0])
    assert abs(mass - 1) < 1e-9


def test_banana_is_a_twisted_gaussian():
    x = normals(0, 5, 4)
    twisted = x.copy()
    twisted[:, 1] += 0.03 * (x[:, 0] ** 2 - 100)
    truth = stats.norm.logpdf(twisted, 0, [10, 1, 1, 1]).sum(axis=1)
    np.testing.assert_allclose(densities.Banana(4)(x), truth, rtol=1e-13)


@pytest.mark.parametrize(("rows", "dim"), [(1, 1), (31, 2), (32, 8), (33, 9), (100, 25), (1000, 3)])
@pytest.mark.parametrize("spread", [0.0, 1.0, 1e3, 1e6])
def test_logistic_regression(rows, dim, spread):
    x, labels, _ = design(rows, dim, 1)
    beta = spread * normals(2, dim)
    density = densities.LogisticRegression(x, labels, prior_scale=1.5)
    sign = 2 * labels - 1
    terms = special.log_expit(sign * (x @ beta))
    value, grad = density.value_and_grad(beta)
    np.testing.assert_allclose(value, terms.sum() + stats.norm.logpdf(beta, 0, 1.5).sum(), rtol=1e-13)
    slopes = (sign * special.expit(-sign * (x @ beta)))[:, None] * x
    size = np.abs(slopes).sum(axis=0) + np.abs(beta) / 1.5**2
    np.testing.assert_array_less(np.abs(grad - (slopes.sum(axis=0) - beta / 1.5**2)), 1e-12 * (1 + size))


def test_logistic_regression_of_separated_data():
    # every row is a foregone conclusion: the likelihood is -sum exp(-t), far below eps
    density = densities.LogisticRegression([[1.0], [2.0]], [1, 1], prior_scale=1e6)
    prior = stats.norm.logpdf(50.0, 0, 1e6)
    assert abs(density([50.0]) - prior) < 1e-14
    np.testing.assert_allclose(density.grad([50.0]), np.exp(-50) - 50e-12, rtol=1e-12)


@pytest.mark.parametrize(("rows", "dim"), [(1, 1), (3, 5), (100, 25)])
def test_linear_regression(rows, dim):
    x, _, response = design(rows, dim, 1)
    beta = normals(2, 4, dim)
    density = densities.LinearRegression(x, response, noise_scale=0.5, prior_scale=2.0)
    truth = stats.norm.logpdf(response, beta @ x.T, 0.5).sum(axis=1) + stats.norm.logpdf(beta, 0, 2).sum(axis=1)
    np.testing.assert_allclose(density(beta), truth, rtol=1e-12)
    slope = (response - beta @ x.T) @ x / 0.25 - beta / 4
    np.testing.assert_allclose(density.grad(beta), slope, rtol=0, atol=1e-12 * np.abs(slope).max())
    evidence = stats.multivariate_normal.logpdf(response, np.zeros(rows), 4 * x @ x.T + 0.25 * np.eye(rows))
    posterior = stats.multivariate_normal.logpdf(beta, density.mean(), density.cov())
    np.testing.assert_allclose(density(beta), evidence + posterior, rtol=1e-11)
