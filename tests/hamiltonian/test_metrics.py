"""Metrics against differences of their own determinant, inverse and energy; SoftAbs against exact arithmetic."""

from fractions import Fraction

import numpy as np
import pytest

import micropolis as mp
from micropolis.hamiltonian.softabs import make_softabs
from micropolis.kernels import implicit_leapfrog

RNG = np.random.default_rng(3)


def user_metric(q, g):
    for i in range(q.size):
        for j in range(q.size):
            g[i, j] = 0.1 * q[i] * q[j]
        g[i, i] += 1.0 + q[i] ** 2


def user_contraction(q, m, c):
    for k in range(q.size):
        c[k] = 2.0 * q[k] * m[k, k]
        for i in range(q.size):
            c[k] += 0.2 * m[k, i] * q[i]


METRICS = {
    "softabs": mp.SoftAbs(1e6),
    "softabs 1": mp.SoftAbs(1.0),
    "softabs .05": mp.SoftAbs(0.05),
    "hessian": mp.Hessian(),
    "diagonal": mp.HessianDiag(),
    "gradient": mp.GradientSquare(0.5),
    "user": mp.UserMetric(user_metric, user_contraction),
}
FUNNEL = mp.densities.Funnel(5)
CURVED = mp.densities.LogisticRegression(RNG.standard_normal((30, 4)), RNG.integers(0, 2, 30), 1.5)


def density_of(name):
    return CURVED if name in ("hessian", "diagonal", "user") else FUNNEL


@pytest.mark.parametrize("name", METRICS)
def test_force_is_the_gradient_of_the_energy(name):
    """The NumPy metric, the compiled integrator's energy, and differences of it: three ways to dH/dq."""
    metric, density = METRICS[name], density_of(name)
    dim = density.dim
    for _ in range(5):
        q, p = RNG.standard_normal(dim), RNG.standard_normal(dim)
        at = metric.at(density, q)

        def energy(points, p=p):
            return implicit_leapfrog(density, points, p, 1.0, 0, metric)[2]

        written_out = -density(q) + 0.5 * np.linalg.slogdet(at.matrix)[1] + 0.5 * p @ np.linalg.solve(at.matrix, p)
        np.testing.assert_allclose(energy(q), written_out, rtol=1e-12)
        np.testing.assert_allclose(at.log_det, np.linalg.slogdet(at.matrix)[1], rtol=0, atol=1e-10)
        h = 1e-4  # fourth order: h^4 and eps / h, times the size of fifth derivatives and values
        near = np.concatenate([np.eye(dim) * step for step in (h, -h, 2 * h, -2 * h)]) + q
        one, two, three, four = energy(near).reshape(4, dim)
        slope = (8 * (one - two) - (three - four)) / (12 * h)
        np.testing.assert_allclose(at.force(p), slope, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", METRICS)
def test_momentum_and_inverse(name):
    metric, density = METRICS[name], density_of(name)
    at = metric.at(density, RNG.standard_normal(density.dim))
    np.testing.assert_allclose(at.root @ at.root.T, at.matrix, rtol=1e-12, atol=1e-12 * np.abs(at.matrix).max())
    np.testing.assert_allclose(at.matrix @ at.inverse, np.eye(density.dim), rtol=0, atol=1e-8)
    w = at.contraction_matrix(at.velocity(at.momentum(RNG)))
    np.testing.assert_allclose(w, w.T, rtol=0, atol=1e-12 * np.abs(w).max())


def exact_coth(x):
    """coth of a Fraction, to 60 digits, from its exponential series."""
    term, total, n = Fraction(1), Fraction(1), 0
    while abs(term) > Fraction(1, 10**60):
        n += 1
        term = term * (2 * x) / n
        total += term
    return (total + 1) / (total - 1)


@pytest.mark.parametrize("alpha", [1.0, 3.0])
def test_divided_differences_are_exact_at_all_gaps(alpha):
    """Relative error 1e-12 from equal eigenvalues to distant ones, of either sign."""
    softabs, slope = make_softabs(lambda f: f)
    places = np.concatenate([np.geomspace(1e-3, 15, 12), [0.0399, 0.0401, 0.0799, 0.0801]])
    places = np.concatenate([places, -places]) / alpha
    gaps = np.concatenate([[0.0], 10.0 ** np.arange(-14, 1.5, 1.5)])
    for x in places:
        for gap in gaps:
            y = x * (1 + gap)
            if gap and y == x:
                continue
            a, b, scale = Fraction(float(x)), Fraction(float(y)), Fraction(alpha)
            if abs(y * alpha) > 19:
                continue
            if a == b:
                c = exact_coth(scale * a)
                exact = c - scale * a * (c * c - 1)
            else:
                exact = (a * exact_coth(scale * a) - b * exact_coth(scale * b)) / (a - b)
            got = slope(alpha, x, y, softabs(alpha, x), softabs(alpha, y))
            assert abs(got / float(exact) - 1) < 1e-12, (x, y)
            assert got == pytest.approx(slope(alpha, y, x, softabs(alpha, y), softabs(alpha, x)), rel=1e-12)


def test_limits_of_softabs():
    softabs, slope = make_softabs(lambda f: f)
    assert softabs(1e6, 0.0) == 1e-6 and slope(1e6, 0.0, 0.0, 1e-6, 1e-6) == 0.0
    assert softabs(1e6, -3.0) == 3.0
    assert slope(1e6, 2.0, 2.0, 2.0, 2.0) == 1.0 and slope(1e6, -2.0, -3.0, 2.0, 3.0) == -1.0
    assert slope(1e6, -1.0, 3.0, 1.0, 3.0) == 0.5  # (3 - 1) / (3 + 1)
    assert softabs(1.0, 1e300) == 1e300 and np.isfinite(slope(1.0, 1e300, 1e-300, 1e300, 1.0))


def test_indefinite_matrices_are_named():
    with pytest.raises(mp.errors.InputError, match="not positive definite"):
        mp.Hessian().at(FUNNEL, np.full(5, 2.0))
    with pytest.raises(mp.errors.InputError, match="ridge"):
        mp.GradientSquare(0.0)
    with pytest.raises(mp.errors.InputError, match="alpha"):
        mp.SoftAbs(-1.0)


@pytest.mark.parametrize("source", ["gradient", "hessian"])
def test_derivatives_by_differences(source):
    """A density without third derivatives, or without a Hessian: the same energy and force to the errors stated."""
    density = mp.densities.Banana(3, 0.3, 1.5)
    if source == "hessian":
        from micropolis._density import CDensity

        functions = density._c.functions
        bare = mp.Density.from_callable(lambda x: density.value_and_grad(x), 3)
        handle = CDensity(
            3, user_data=functions["user_data"], keep_alive=density._c, logp_grad=functions["logp_grad"],
            hessian=functions["hessian"],
        )  # fmt: skip
        bare._bind = lambda: handle
    else:
        bare = mp.Density.from_callable(lambda x: density.value_and_grad(x), 3)
    q, p = RNG.standard_normal((20, 3)), RNG.standard_normal((20, 3))
    for metric in (mp.SoftAbs(1.0), mp.GradientSquare(1.0)):
        exact = implicit_leapfrog(density, q, p, 0.1, 3, metric, fixed_point_tol=1e-12)
        got = implicit_leapfrog(bare, q, p, 0.1, 3, metric, fixed_point_tol=1e-9)
        for one, other in zip(exact, got, strict=True):
            np.testing.assert_allclose(other, one, rtol=0, atol=1e-7)
