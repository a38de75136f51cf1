"""Density.from_blocks: sums of log densities, their derivatives and their blocks."""

import pickle

import numpy as np
import pytest
from laws.kernels import run
from laws.library import covariance

import micropolis as mp
from micropolis.densities.blocks import BlockDensity
from micropolis.errors import DensityError, InputError, InputTypeError

GAUSSIAN = mp.densities.Gaussian([0.5, -1.0, 2.0], cov=covariance(3, 4))
FUNNEL = mp.densities.Funnel(3)
POINTS = np.random.default_rng(1).standard_normal((5, 3))


def python():
    return mp.Density.from_callable(lambda x: (-np.sum(x**4), -4 * x**3), 3)


@pytest.mark.parametrize("terms", [(GAUSSIAN,), (GAUSSIAN, FUNNEL, GAUSSIAN), (FUNNEL, python())])
def test_everything_is_a_sum(terms):
    """The terms are library densities with exact derivatives, and one by differences: then the sum has them so too."""
    density = mp.Density.from_blocks(terms)
    rng = np.random.default_rng(2)
    v, m = rng.standard_normal(3), rng.standard_normal((3, 3))
    tolerance = {"rtol": 1e-12, "atol": 1e-12} if len(terms) != 2 else {"rtol": 1e-5, "atol": 1e-5}
    np.testing.assert_allclose(density(POINTS), sum(t(POINTS) for t in terms), rtol=1e-13)
    np.testing.assert_allclose(density.grad(POINTS), sum(t.grad(POINTS) for t in terms), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(density.hessian(POINTS), sum(t.hessian(POINTS) for t in terms), **tolerance)
    np.testing.assert_allclose(density.hvp(POINTS, v), sum(t.hvp(POINTS, v) for t in terms), **tolerance)
    np.testing.assert_allclose(
        density.third_derivative_product(POINTS[0], m),
        sum(t.third_derivative_product(POINTS[0], m) for t in terms),
        rtol=1e-3,
        atol=1e-3,
    )
    assert density._c.n_blocks == len(terms)
    for number, term in enumerate(terms):
        logp, grad = density._c.block(POINTS[0], number)
        assert logp == term.value_and_grad(POINTS[0])[0]
        np.testing.assert_array_equal(grad, term.grad(POINTS[0]))
    with pytest.raises(IndexError):
        density._c.block(POINTS[0], len(terms))


def test_every_kernel_runs_on_it():
    density = mp.Density.from_blocks([GAUSSIAN, FUNNEL])
    for kernel in (mp.NUTS(), mp.HMC(0.1, 3), mp.RandomWalk(), mp.SplitHMC(0.1, 3)):
        one, other = (run(density, kernel, draws=20, warmup=20, chains=3, seed=1, threads=n) for n in (1, 3))
        np.testing.assert_array_equal(one.draws, other.draws)


@pytest.mark.parametrize("order", ["symmetric", "randomised", "full"])
def test_a_product_of_gaussians_is_sampled_exactly(order):
    """Their precisions add. Means and second moments within 6 standard errors by batch means: 27 numbers, 5e-8."""
    means, covs = np.random.default_rng(3).standard_normal((4, 3)), [covariance(3, k) for k in range(4)]
    precisions = [np.linalg.inv(cov) for cov in covs]
    cov = np.linalg.inv(sum(precisions))
    mean = cov @ sum(p @ m for p, m in zip(precisions, means, strict=True))
    density = mp.Density.from_blocks([mp.densities.Gaussian(m, cov=c) for m, c in zip(means, covs, strict=True)])
    kernel = mp.SplitHMC(0.5, 4, inverse_mass=cov, jitter=0.5, order=order)
    trace = run(density, kernel, draws=6000, warmup=50, chains=4, seed=4)
    deviation = trace.draws.reshape(-1, 3) - mean
    for i in range(3):
        for values, truth in (
            (deviation[:, i], 0.0),
            *((deviation[:, i] * deviation[:, j], cov[i, j]) for j in range(i + 1)),
        ):
            batches = values.reshape(60, -1).mean(axis=1)
            assert abs(batches.mean() - truth) < 6 * batches.std(ddof=1) / np.sqrt(60)


def test_it_pickles_and_takes_names_from_its_terms():
    density = mp.Density.from_blocks([GAUSSIAN, FUNNEL])
    again = pickle.loads(pickle.dumps(density))
    np.testing.assert_array_equal(again.grad(POINTS), density.grad(POINTS))
    assert density.names == GAUSSIAN.names
    assert "2 terms" in repr(density)
    named = mp.Density.from_numpy(lambda sd: -(sd**2), {"sd": mp.Positive()})
    plain = mp.densities.Gaussian([0.0])
    trace = run(mp.Density.from_blocks([plain, named]), mp.NUTS(), draws=10, warmup=10, chains=1, seed=1)
    np.testing.assert_array_equal(trace["sd"], np.exp(trace.draws[..., 0]))


def test_errors_of_a_term_come_through():
    def fail(x):
        raise ValueError("no such place")

    density = mp.Density.from_blocks([GAUSSIAN, mp.Density.from_callable(fail, 3)])
    assert density.holds_gil
    for call in (density, density.grad, lambda x: density._c.block(x, 1)):
        with pytest.raises(DensityError, match="no such place"):
            call(POINTS[0])
    np.testing.assert_array_equal(density._c.block(POINTS[0], 0)[1], GAUSSIAN.grad(POINTS[0]))


def test_ctrl_c_in_a_term_is_no_error_of_the_density():
    def interrupted(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mp.Density.from_blocks([GAUSSIAN, mp.Density.from_callable(interrupted, 3)])(POINTS[0])


@pytest.mark.parametrize(
    ("terms", "error", "message"),
    [
        ([], InputError, "expected 1 to 4096 densities, got 0"),
        ([GAUSSIAN, mp.densities.Funnel(4)], InputError, r"one dimension, got \[3, 4\]"),
        ([GAUSSIAN] * 4097, InputError, "got 4097"),
        (GAUSSIAN, InputTypeError, "expected a sequence of densities, got Gaussian"),
        ([GAUSSIAN, len], InputTypeError, "expected a sequence of densities"),
    ],
)
def test_bad_terms_are_named(terms, error, message):
    with pytest.raises(error, match=message):
        mp.Density.from_blocks(terms)


def test_jacobians_are_not_counted_twice():
    named = mp.Density.from_numpy(lambda sd: -(sd**2), {"sd": mp.Positive()})
    with pytest.raises(InputError, match="at most one with constrained parameters"):
        BlockDensity([named, named])
