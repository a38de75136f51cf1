"""The readable form of every compiled target is the same log density, interpreted and compiled by Numba."""

import numpy as np
import pytest
from laws.library import examples

EXAMPLES = examples()
# the same order of sums and the same libm: equal to the last bit
EXACT = ["gaussian std", "gaussian cov", "gaussian precision", "funnel", "rough well", "banana", "linear regression"]


def run(function, data, x):
    grads = np.full_like(x, np.nan)
    return np.array([function(row, grad, data) for row, grad in zip(x, grads, strict=True)]), grads


def points(density):
    return np.random.default_rng(3).standard_normal((10, density.dim)) * np.linspace(0.1, 3, 10)[:, None]


@pytest.mark.parametrize("name", EXAMPLES)
def test_readable_is_compiled(name):
    density = EXAMPLES[name]
    x = points(density)
    values, grads = run(*density.readable, x)
    expected = density.value_and_grad(x)
    np.testing.assert_allclose(values, expected[0], rtol=1e-12)
    np.testing.assert_allclose(grads, expected[1], rtol=0, atol=1e-12 * np.abs(expected[1]).max())


@pytest.mark.parametrize("name", EXACT)
def test_readable_has_the_same_bits(name):
    density = EXAMPLES[name]
    x = points(density)
    values, grads = run(*density.readable, x)
    np.testing.assert_array_equal(values, density(x))
    np.testing.assert_array_equal(grads, density.grad(x))


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("extreme", [1e300, -1e300, np.inf, -np.inf, np.nan])
def test_readable_rejects_extreme_points(name, extreme):
    density = EXAMPLES[name]
    rows = np.vstack([np.where(np.eye(density.dim, dtype=bool), extreme, 0.5), np.full(density.dim, extreme)])
    with np.errstate(all="ignore"):
        values, _ = run(*density.readable, rows)
    assert np.all(np.isnan(values) | (values == -np.inf))


@pytest.mark.parametrize("name", ["gaussian std", "gaussian mixture", "funnel", "rough well", "logistic regression"])
def test_readable_compiles_under_numba(name):
    numba = pytest.importorskip("numba")
    density = EXAMPLES[name]
    function, data = density.readable
    x = points(density)
    values, grads = run(numba.njit(function), data, x)
    expected = run(function, data, x)
    np.testing.assert_allclose(values, expected[0], rtol=1e-14)
    np.testing.assert_allclose(grads, expected[1], rtol=0, atol=1e-14 * np.abs(expected[1]).max())
