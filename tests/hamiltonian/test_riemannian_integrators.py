"""Laws of the Riemannian integrators: reversible, volume preserving, of second order; the published form is not."""

import numpy as np
import pytest

import micropolis as mp
from micropolis.kernels import explicit_leapfrog, implicit_leapfrog, implicit_midpoint

INTEGRATORS = {"implicit": implicit_leapfrog, "midpoint": implicit_midpoint, "explicit": explicit_leapfrog}
RNG = np.random.default_rng(5)
LOGISTIC = mp.densities.LogisticRegression(RNG.standard_normal((30, 4)), RNG.integers(0, 2, 30), 1.5)
CASES = {
    "funnel": (mp.densities.Funnel(11), mp.SoftAbs(1e6)),
    "banana": (mp.densities.Banana(3, 0.3, 1.5), mp.SoftAbs(1.0)),
    "hessian": (LOGISTIC, mp.Hessian()),
    "diagonal": (LOGISTIC, mp.HessianDiag()),
    "gradient": (mp.densities.Banana(3, 0.3, 1.5), mp.GradientSquare(1.0)),
}


def phase_points(case, n):
    density, metric = CASES[case]
    rng = np.random.default_rng(7)
    q = 0.5 * rng.standard_normal((n, density.dim)) if density is LOGISTIC else density.sample_exact(rng, n)
    return q, np.array([metric.at(density, x).momentum(rng) for x in q])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", INTEGRATORS)
def test_reversible(name, case):
    density, metric = CASES[case]
    integrate = INTEGRATORS[name]
    q, p = phase_points(case, 20)
    q_end, p_end, energy = integrate(density, q, p, 0.1, 8, metric, fixed_point_tol=1e-13)
    assert np.all(np.isfinite(energy)) and np.min(np.max(np.abs(q_end - q), axis=1)) > 1e-3
    scale = max(1.0, np.abs(q).max(), np.abs(p).max())
    for sign in (1, -1):  # flip the momentum, or run time backward
        q_back, p_back, _ = integrate(density, q_end, -sign * p_end, sign * 0.1, 8, metric, fixed_point_tol=1e-13)
        np.testing.assert_allclose(q_back, q, rtol=0, atol=1e-10 * scale)
        np.testing.assert_allclose(-sign * p_back, p, rtol=0, atol=1e-10 * scale)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", INTEGRATORS)
def test_preserves_volume(name, case):
    """Determinant of the Jacobian of a step, by differences of sixth order."""
    density, metric = CASES[case]
    dim = density.dim
    q, p = phase_points(case, 4)

    def flow(z):
        return np.concatenate(
            INTEGRATORS[name](density, z[:, :dim], z[:, dim:], 0.1, 1, metric, fixed_point_tol=1e-14)[:2], axis=1
        )

    for z in np.concatenate([q, p], axis=1):
        h = 2e-3 * np.maximum(1.0, np.abs(z)) * (0.1 if case == "funnel" else 1.0)
        jacobian = np.zeros((2 * dim, 2 * dim))
        for distance, weight in ((1, 3 / 4), (2, -3 / 20), (3, 1 / 60)):
            shift = np.diag(distance * h)
            jacobian += weight * (flow(z + shift) - flow(z - shift)).T / h
        assert abs(np.linalg.det(jacobian) - 1) < 1e-8


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", INTEGRATORS)
def test_energy_error_of_second_order(name, case):
    density, metric = CASES[case]
    q, p = phase_points(case, 40)
    steps, errors = 0.04 / 2 ** np.arange(3), []
    start = implicit_leapfrog(density, q, p, 0.1, 0, metric)[2]
    for step in steps:
        end = INTEGRATORS[name](density, q, p, step, round(0.4 / step), metric, fixed_point_tol=1e-12)[2]
        errors.append(np.sqrt(np.nanmedian((end - start) ** 2)))
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert abs(slope - 2) < 0.15


def test_integrators_agree_with_each_other():
    """One Hamiltonian: as the step goes to zero all end in one place."""
    density, metric = CASES["funnel"]
    q, p = phase_points("funnel", 10)
    ends = [f(density, q, p, 0.002, 100, metric)[0] for f in INTEGRATORS.values()]
    ends.append(explicit_leapfrog(density, q, p, 0.002, 100, metric, corrected=False, binding=1.0)[0])
    for other in ends[1:]:
        np.testing.assert_allclose(other, ends[0], rtol=0, atol=1e-3 * max(1.0, np.abs(q).max()))


def test_the_published_form_does_not_return():
    """Restarting the copies equal, it is not reversible on (q, p): why it needs its projection."""
    density, metric = CASES["banana"]
    q, p = phase_points("banana", 10)
    with pytest.warns(mp.errors.SamplingWarning, match="nearly 1 pi"):
        explicit_leapfrog(density, q, p, 0.157, 1, metric, corrected=False)
    q_end, p_end, _ = explicit_leapfrog(density, q, p, 0.1, 5, metric, corrected=False)
    q_back, _, _ = explicit_leapfrog(density, q_end, -p_end, 0.1, 5, metric, corrected=False)
    assert np.max(np.abs(q_back - q)) > 1e-6


def test_arguments():
    density = CASES["funnel"][0]
    for bad in ({"metric": "softabs"}, {"fixed_point_tol": 0.0}, {"fixed_point_max_iter": 0}):
        with pytest.raises(mp.errors.MicropolisError, match=next(iter(bad))):
            implicit_leapfrog(density, np.ones(11), np.ones(11), 0.1, 1, **bad)
    with pytest.raises(mp.errors.InputError, match="step_size"):
        implicit_leapfrog(density, np.ones(11), np.ones(11), 0.0, 1)
    with pytest.raises(mp.errors.InputError, match="broadcast"):
        implicit_leapfrog(density, np.ones((2, 11)), np.ones((3, 11)), 0.1, 1)


@pytest.mark.parametrize("integrate", [implicit_leapfrog, implicit_midpoint, explicit_leapfrog])
@pytest.mark.parametrize("metric", [mp.SoftAbs(1.0), mp.Hessian(), mp.HessianDiag(), mp.GradientSquare(1.0)], ids=repr)
@pytest.mark.parametrize("bad", [np.inf, np.nan, 1e200, 1e308])
def test_a_row_that_overflows_leaves_the_others_alone(integrate, metric, bad):
    """Rows share their scratch: what one leaves there is not to reach the next."""
    density, q = mp.densities.Gaussian([0.0, 0.0, 0.0], std=0.5), np.tile([0.3, 0.5, -0.2], (3, 1))
    p = np.ones((3, 3))
    p[1] = bad
    results = integrate(density, q, p, 0.1, 3, metric=metric)
    for all_of_them, alone in zip(results, integrate(density, q[2], p[2], 0.1, 3, metric=metric), strict=True):
        np.testing.assert_array_equal(all_of_them[2], alone)
    assert np.isfinite(results[2][2])
