"""Laws of every compiled target: derivatives, batches, pickles, recipes, extreme points, exact draws."""

import io
import pickle

import cloudpickle
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from laws.derivatives import check_derivatives
from laws.library import examples

from micropolis import densities, errors

EXAMPLES = examples()
every = pytest.mark.parametrize("name", EXAMPLES)


def points(density, n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, density.dim))


@every
@settings(max_examples=15, deadline=None, derandomize=True)
@given(data=st.data())
def test_derivatives_match_central_differences(name, data):
    density = EXAMPLES[name]
    coordinate = st.floats(-3, 3, allow_subnormal=False)
    x = np.array(data.draw(st.lists(coordinate, min_size=density.dim, max_size=density.dim)))
    check_derivatives(density, x)


@every
def test_each_derivative_is_compiled(name):
    functions = EXAMPLES[name]._c.functions
    assert all(functions[key] for key in ("logp_grad", "value", "hessian", "hvp", "third_product"))


@every
def test_value_alone_is_the_value_with_gradient(name):
    density = EXAMPLES[name]
    x = points(density, 20)
    np.testing.assert_array_equal(density(x), density.value_and_grad(x)[0])


@pytest.mark.parametrize("dim", range(1, 19))
def test_few_coordinates_of_a_gaussian_sum_as_many_do(dim):
    """Up to 16 coordinates each have a function of their own, which adds in the order of the vector lanes."""
    rng = np.random.default_rng(dim)
    density = densities.Gaussian(rng.standard_normal(dim), std=np.exp(rng.standard_normal(dim)))
    x = points(density, 50)
    np.testing.assert_array_equal(density(x), density.value_and_grad(x)[0])


@every
def test_batches_are_rows(name):
    density = EXAMPLES[name]
    x, v = points(density, 6).reshape(2, 3, -1), points(density, 6, seed=1).reshape(2, 3, -1)
    m = np.random.default_rng(2).standard_normal((2, 3, density.dim, density.dim))
    whole = [density(x), density.grad(x), density.hessian(x), density.hvp(x, v), density.third_derivative_product(x, m)]
    for i in np.ndindex(2, 3):
        rows = [density(x[i]), density.grad(x[i]), density.hessian(x[i]), density.hvp(x[i], v[i])]
        rows.append(density.third_derivative_product(x[i], m[i]))
        for batch, row in zip(whole, rows, strict=True):
            np.testing.assert_array_equal(batch[i], row)


@every
def test_bindings_share_no_memory(name):
    density = EXAMPLES[name]
    first, second = density._bind(), density._bind()
    assert first.functions["user_data"] != second.functions["user_data"]
    x = points(density, 2)
    expected = density.value_and_grad(x)
    values, grads = first.value_and_grad(x[:1])
    second.value_and_grad(x[1:])
    np.testing.assert_array_equal(values, expected[0][:1])
    np.testing.assert_array_equal(grads, expected[1][:1])


@every
@pytest.mark.parametrize("module", [pickle, cloudpickle])
def test_pickle_keeps_every_bit(name, module):
    density = EXAMPLES[name]
    x = points(density, 3)
    expected = density.value_and_grad(x)
    copy = pickle.loads(module.dumps(density))
    for got, want in zip(copy.value_and_grad(x), expected, strict=True):
        np.testing.assert_array_equal(got, want)
    assert copy.recipe[0] == density.recipe[0]


@every
def test_recipe_rebuilds_from_a_file(name):
    density = EXAMPLES[name]
    file = io.BytesIO()
    cls, arguments = density.recipe
    np.savez(file, **arguments)
    file.seek(0)
    with np.load(file, allow_pickle=False) as stored:
        copy = densities.from_recipe(cls, dict(stored))
    x = points(density, 3)
    assert type(copy) is type(density)
    np.testing.assert_array_equal(copy(x), density(x))


def test_unknown_recipes():
    with pytest.raises(errors.InputError, match=r"name: expected one of .*, got 'system'"):
        densities.from_recipe("system", {})
    with pytest.raises(errors.InputError, match="arguments: Funnel does not take"):
        densities.from_recipe("Funnel", {"dim": 3, "depth": 1})


@every
@pytest.mark.parametrize("extreme", [1e300, -1e300, np.inf, -np.inf, np.nan])
def test_extreme_points_are_never_finite(name, extreme):
    density = EXAMPLES[name]
    rows = np.vstack([np.where(np.eye(density.dim, dtype=bool), extreme, 0.5), np.full(density.dim, extreme)])
    values, _ = density.value_and_grad(rows)
    # the true log density is below the range of doubles; NaN is a rejection too, +inf never is
    assert np.all(np.isnan(values) | (values == -np.inf))
    np.testing.assert_array_equal(density(rows), values)
    v, m = np.ones(density.dim), np.ones((density.dim, density.dim))
    assert density.hessian(rows).shape == (*rows.shape, density.dim)
    assert density.hvp(rows, v).shape == density.third_derivative_product(rows, m).shape == rows.shape
    # nothing of it stays behind in the work areas
    np.testing.assert_array_equal(
        density.grad(points(density, 2)), density._bind().value_and_grad(points(density, 2))[1]
    )


@pytest.mark.parametrize("name", [name for name, density in EXAMPLES.items() if hasattr(density, "sample_exact")])
def test_exact_draws_satisfy_the_stein_identities(name):
    """E grad = 0 and E x_i grad_j = -delta_ij hold for the density that the draws come from and for no other."""
    density = EXAMPLES[name]
    n = 20_000
    x = density.sample_exact(np.random.default_rng(11), n)
    assert x.shape == (n, density.dim)
    grad = density.grad(x)
    terms = np.column_stack([grad, (x[:, :, None] * grad[:, None, :] + np.eye(density.dim)).reshape(n, -1)])
    error = terms.std(axis=0) / np.sqrt(n)
    assert np.max(np.abs(terms.mean(axis=0)) / error) < 5  # 132 terms at most: a chance of 1e-4


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in ("funnel", "logistic regression")])
def test_exact_draws_have_the_exact_moments(name):
    density = EXAMPLES[name]
    n = 20_000
    x = density.sample_exact(np.random.default_rng(12), n) - density.mean()
    products = x[:, :, None] * x[:, None, :]
    assert np.max(np.abs(x.mean(axis=0)) / (x.std(axis=0) / np.sqrt(n))) < 5
    assert np.max(np.abs(products.mean(axis=0) - density.cov()) / (products.std(axis=0) / np.sqrt(n))) < 5


@pytest.mark.parametrize("name", [name for name, density in EXAMPLES.items() if hasattr(density, "sample_exact")])
def test_exact_draws_follow_the_generator(name):
    density = EXAMPLES[name]
    first, second = (density.sample_exact(np.random.default_rng(5), 7) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert density.sample_exact(np.random.default_rng(5), 0).shape == (0, density.dim)
    with pytest.raises(errors.InputError, match="n: expected an integer >= 0"):
        density.sample_exact(np.random.default_rng(5), -1)
