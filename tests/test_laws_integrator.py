"""Laws of leapfrog: reversible, volume preserving, symplectic, of second order; and HMC is made of it."""

import copy

import numpy as np
import pytest
from laws.derivatives import differences
from laws.kernels import run, spread
from laws.library import covariance

import micropolis as mp
from micropolis import densities
from micropolis.kernels import leapfrog

MASSES = {"unit": lambda dim: None, "diagonal": spread, "dense": lambda dim: covariance(dim, 8)}
SMOOTH = {
    "banana": densities.Banana(3, 0.3, 1.5),
    "mixture": densities.GaussianMixture([[-1.0, 0.0], [1.0, 0.5]], [covariance(2, 1), covariance(2, 2)], [0.4, 0.6]),
    "gaussian": densities.Gaussian(np.zeros(9), cov=covariance(9, 3)),
}


@pytest.mark.parametrize("mass", MASSES)
@pytest.mark.parametrize("target", SMOOTH)
def test_reversible(target, mass):
    density = SMOOTH[target]
    inverse_mass = MASSES[mass](density.dim)
    rng = np.random.default_rng(1)
    q, p = density.sample_exact(rng, 50), rng.standard_normal((50, density.dim))
    q_end, p_end, logp, grad = leapfrog(density, q, p, 0.1, 40, inverse_mass)
    assert np.min(np.max(np.abs(q_end - q), axis=1)) > 0.1
    np.testing.assert_array_equal(logp, density(q_end))
    np.testing.assert_array_equal(grad, density.grad(q_end))
    for sign in (1, -1):  # flip the momentum, or run time backward
        q_back, p_back, *_ = leapfrog(density, q_end, -sign * p_end, sign * 0.1, 40, inverse_mass)
        np.testing.assert_allclose(q_back, q, rtol=0, atol=1e-10)
        np.testing.assert_allclose(-sign * p_back, p, rtol=0, atol=1e-10)


@pytest.mark.parametrize("mass", MASSES)
@pytest.mark.parametrize("target", ["banana", "mixture"])
def test_preserves_volume_and_is_symplectic(target, mass):
    density = SMOOTH[target]
    dim, inverse_mass = density.dim, MASSES[mass](density.dim)
    rng = np.random.default_rng(2)
    form = np.kron([[0.0, 1.0], [-1.0, 0.0]], np.eye(dim))

    def flow(phase):
        return np.concatenate(leapfrog(density, phase[:, :dim], phase[:, dim:], 0.15, 12, inverse_mass)[:2], axis=1)

    for _ in range(5):
        jacobian, bound = differences(flow, rng.standard_normal(2 * dim), 1e-3, 64.0)
        # first order in the error of the differences; the factor 2 covers the second
        tolerance = 2 * np.sum(np.abs(np.linalg.inv(jacobian)).T * bound)
        assert tolerance < 1e-5
        assert abs(np.linalg.det(jacobian) - 1) < tolerance
        size = np.abs(jacobian).T @ np.abs(form) @ bound
        assert np.all(np.abs(jacobian.T @ form @ jacobian - form) <= 2 * (size + size.T))


def slope(steps, errors):
    return np.polyfit(np.log(steps), np.log(errors), 1)[0]


@pytest.mark.parametrize("mass", MASSES)
@pytest.mark.parametrize("target", SMOOTH)
def test_energy_error_of_second_order(target, mass):
    density = SMOOTH[target]
    dim, inverse_mass = density.dim, MASSES[mass](density.dim)
    matrix = np.eye(dim) if inverse_mass is None else np.diag(inverse_mass) if mass == "diagonal" else inverse_mass
    rng = np.random.default_rng(3)
    q, p = density.sample_exact(rng, 100), rng.standard_normal((100, dim))
    steps, errors = 0.08 / 2 ** np.arange(4), []
    for step in steps:
        _, p_end, logp, _ = leapfrog(density, q, p, step, round(0.8 / step), inverse_mass)
        kinetic = 0.5 * np.einsum("ni,ij,nj->n", p_end, matrix, p_end) - 0.5 * np.einsum("ni,ij,nj->n", p, matrix, p)
        errors.append(np.sqrt(np.mean((kinetic - logp + density(q)) ** 2)))
    # the next term is of fourth order: relative size step^2 and less
    assert abs(slope(steps, errors) - 2) < 0.05


@pytest.mark.parametrize("mass", MASSES)
@pytest.mark.parametrize("target", SMOOTH)
def test_energy_error_of_hmc(target, mass):
    """The same through the info record; stationary chains have E exp(-error) = 1 at any step size (Jarzynski)."""
    density = SMOOTH[target]
    steps, errors = 0.08 / 2 ** np.arange(3), []
    for step in steps:
        kernel = mp.HMC(step, round(0.8 / step), inverse_mass=MASSES[mass](density.dim))
        start = density.sample_exact(np.random.default_rng(4), 500)
        trace = run(density, kernel, draws=4, warmup=0, chains=500, init=start, seed=5)
        error = trace.stats["energy_error"]
        errors.append(np.sqrt(np.mean(error**2)))
        work = np.mean(np.exp(-error), axis=1)
        # 5.5 standard errors: 4e-8 a comparison, 27 of them
        assert abs(np.mean(work) - 1) < 5.5 * np.std(work, ddof=1) / np.sqrt(len(work))
    # the slope of a Monte Carlo average over the same starting points and momenta
    assert abs(slope(steps, errors) - 2) < 0.1


@pytest.mark.parametrize("mass", MASSES)
@pytest.mark.parametrize("target", SMOOTH)
def test_hmc_is_leapfrog_and_a_decision(target, mass):
    """One step of HMC from the same stream: whitened normals, `leapfrog` with plain momenta, one uniform."""
    density = SMOOTH[target]
    dim, inverse_mass = density.dim, MASSES[mass](density.dim)
    kernel = mp.HMC(0.6, 7, inverse_mass=inverse_mass)
    scale = np.eye(dim) if inverse_mass is None else np.diag(np.sqrt(inverse_mass)) if mass == "diagonal" else None
    scale = np.linalg.cholesky(inverse_mass) if scale is None else scale
    rng = np.random.default_rng(6)
    state = mp.init(density, density.sample_exact(rng, 1)[0])
    moved = 0
    for _ in range(200):
        twin = copy.deepcopy(rng)
        new, info = mp.step(kernel, density, rng, state)
        w = twin.standard_normal(dim)
        q, p, logp, _ = leapfrog(density, state.x, np.linalg.solve(scale.T, w), 0.6, 7, inverse_mass)
        error = 0.5 * np.sum((scale.T @ p) ** 2) - logp - 0.5 * w @ w + state.logp
        np.testing.assert_allclose(info["energy_error"], error, rtol=0, atol=1e-9)
        u = twin.random()
        assert abs(u - np.exp(-error)) > 1e-8, "change the seed: the decision hangs on rounding"
        assert info["accepted"] == (u < np.exp(-error))
        np.testing.assert_allclose(new.x, q if info["accepted"] else state.x, rtol=0, atol=1e-9)
        np.testing.assert_equal(rng.bit_generator.state, twin.bit_generator.state)
        state, moved = new, moved + info["accepted"]
    assert 20 < moved < 200 or target == "gaussian"
