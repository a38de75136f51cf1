"""Microseconds of one step of Riemannian HMC, beside a counted floor, LAPACK, and mici on the same target.

    pytest benchmarks/bench_riemannian.py

Floor of a step of the implicit leapfrog: its metric evaluations (counted by the kernel: `n_metric`) times one Hessian,
one eigen-decomposition and one product G^-1 p, plus the contractions of third derivatives (residuals in p, and two at
the end), each a product of three dim x dim matrices. Eigen-decompositions are timed alone, on Hessians of the same
target; a matrix product is counted at 2 dim^3 flops and 32 flops a nanosecond, two
vectors of eight a cycle (dim 11 padded to 16).

To reach, one core: 11-d funnel, SoftAbs alpha 1e6, step .15, 25 steps, tolerance 1e-9: 2000 samples/s with the
library's funnel, 1000 with the same funnel written in NumPy; 3-d Gaussian with the Hessian metric: 20,000 samples/s.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from timing import least_seconds

import micropolis as mp
from micropolis._hamiltonian import eigen
from micropolis.hamiltonian.riemannian import dsyevd

FUNNEL = mp.densities.Funnel(11)
DIMS = (2, 5, 11, 20, 32, 50, 100, 200)


def numpy_funnel(x):
    v = x[0]
    return -(v**2) / 18 + 5 * v - 0.5 * np.exp(v) * np.sum(x[1:] ** 2)


def sample(density, kernel, draws, start, seed=1):
    return mp.sample(density, kernel, draws=draws, warmup=0, chains=1, threads=1, init=start, seed=seed, progress=False)


def start_of(density):
    return density.sample_exact(np.random.default_rng(3), 1)[0]


def measure(density, kernel, draws, start, repeats=9):
    """(seconds of the fastest run, its statistics)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mp.errors.SamplingWarning)
        trace = sample(density, kernel, draws, start)
        return least_seconds(lambda: sample(density, kernel, draws, start), repeats), trace.stats


def eigen_seconds(matrix, lapack=0):
    """One decomposition, the wrapper's share subtracted by that of a 1 x 1 matrix."""
    matrix = np.ascontiguousarray(matrix)
    calls = max(3, 20_000 // matrix.shape[0] ** 2)

    def loop(a):
        return least_seconds(lambda: [eigen(a, lapack) for _ in range(calls)], 15) / calls

    return max(loop(matrix) - loop(np.ones((1, 1))), 1e-9)


@pytest.mark.parametrize("source", ["library", "numpy"])
@pytest.mark.parametrize("tolerance", [1e-9, 1e-6])
def test_funnel(benchmark, figure, source, tolerance):
    density = FUNNEL if source == "library" else mp.Density.from_numpy(numpy_funnel, 11)
    kernel = mp.RMHMC(0.15, 25, mp.SoftAbs(1e6), fixed_point_tol=tolerance)
    start = start_of(FUNNEL)
    seconds, stats = measure(density, kernel, 500, start)
    steps = stats["n_steps"].sum()
    label = f"funnel, {source}, tolerance {tolerance:g}"
    figure(f"{label}: per sample", 1e6 * seconds / 500, "us", 500.0 if source == "library" else 1000.0)
    figure(f"{label}: per step", 1e6 * seconds / steps, "us")
    figure(f"{label}: metric evaluations per step", stats["n_metric"].sum() / steps, "")
    figure(f"{label}: not converged", stats["not_converged"].mean(), "", 0.01)
    eig = eigen_seconds(-FUNNEL.hessian(start))
    contractions = (stats["fixed_point_iterations"].sum() - stats["n_metric"].sum()) / steps + 2
    floor = stats["n_metric"].sum() / steps * eig + contractions * 2 * 2 * 11 * 11 * 16 / 32e9
    figure(f"{label}: floor per step", 1e6 * floor, "us")
    figure(f"{label}: one eigen-decomposition", 1e6 * eig, "us")
    benchmark.pedantic(lambda: sample(density, kernel, 100, start), rounds=3)


@pytest.mark.parametrize("integrator", ["implicit", "midpoint", "explicit", "explicit_uncorrected"])
def test_gaussian(benchmark, figure, integrator):
    density = mp.densities.Gaussian([1.0, 2.0, 3.0], std=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", mp.errors.SamplingWarning)
        kernel = mp.RMHMC(0.3, 5, mp.Hessian(), integrator)
    seconds, _ = measure(density, kernel, 5000, np.array([1.0, 2.0, 3.0]))
    figure(f"3-d Gaussian, {integrator}: per sample", 1e6 * seconds / 5000, "us", 50.0)
    benchmark.pedantic(lambda: sample(density, kernel, 1000, np.ones(3)), rounds=3)


def exponent(x, y):
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


@pytest.mark.parametrize("target", ["funnel", "regression"])
def test_scaling(benchmark, figure, target):
    """Time of a step against the dimension, and what LAPACK takes for one eigen-decomposition of that size."""
    times, floors = {}, {}
    for dim in DIMS:
        rng = np.random.default_rng(dim)
        if target == "funnel":
            density, start = mp.densities.Funnel(dim), mp.densities.Funnel(dim).sample_exact(rng, 1)[0]
        else:
            x = rng.standard_normal((2 * dim, dim))
            density, start = mp.densities.LogisticRegression(x, rng.integers(0, 2, 2 * dim), 1.0), np.full(dim, 0.1)
        draws = max(1, min(300, 30_000 // dim**2))
        seconds, stats = measure(density, mp.RMHMC(0.1 / np.sqrt(dim), 5, mp.SoftAbs(1e3)), draws, start, 5)
        times[dim] = seconds / stats["n_steps"].sum()
        floors[dim] = (
            eigen_seconds(-density.hessian(start), dsyevd()) * stats["n_metric"].sum() / stats["n_steps"].sum()
        )
        figure(f"{target}, dim {dim}: per step", 1e6 * times[dim], "us")
        figure(f"{target}, dim {dim}: eigen-decompositions of a step by LAPACK or inlined", 1e6 * floors[dim], "us")
    for name, values in (("step", times), ("eigen-decompositions", floors)):
        small, large = [d for d in DIMS if d <= 20], [d for d in DIMS if d >= 50]
        for label, dims in (("to 20", small), ("from 50", large)):
            figure(f"{target}: exponent of the {name}, dim {label}", exponent(dims, [values[d] for d in dims]), "")
    benchmark.pedantic(lambda: None, rounds=1)


def test_mici(benchmark, figure):
    """mici's implicit leapfrog with a SoftAbs metric on the same funnel, derivatives by hand in NumPy.

    At alpha 1e6 it fails to converge on this target; it is measured at alpha 1 for as many steps as it makes.
    """
    mici = pytest.importorskip("mici")

    def hessian(q):
        return -FUNNEL.hessian(q)

    def mtp(q):
        product = lambda m: -FUNNEL.third_derivative_product(q, 0.5 * (m + m.T))  # noqa: E731
        return product

    system = mici.systems.SoftAbsRiemannianMetricSystem(
        neg_log_dens=lambda q: -FUNNEL(q),
        grad_neg_log_dens=lambda q: -FUNNEL.grad(q),
        hess_neg_log_dens=hessian,
        mtp_neg_log_dens=mtp,
        softabs_coeff=1.0,
    )
    integrator = mici.integrators.ImplicitLeapfrogIntegrator(system, step_size=0.15)
    rng, steps, failed = np.random.default_rng(4), 0, 0

    def run():
        nonlocal steps, failed
        for q in FUNNEL.sample_exact(rng, 4):
            state = mici.states.ChainState(pos=q, mom=None, dir=1)
            state.mom = system.sample_momentum(state, rng)
            try:
                for _ in range(25):
                    state = integrator.step(state)
                    steps += 1
            except mici.errors.Error:
                failed += 1

    seconds = least_seconds(run, 1)
    figure("mici, funnel, SoftAbs alpha 1: per step", 1e6 * seconds / max(steps, 1), "us")
    figure("mici, funnel, SoftAbs alpha 1: trajectories that failed", failed / 4, "")
    ours, stats = measure(FUNNEL, mp.RMHMC(0.15, 25, mp.SoftAbs(1.0)), 200, start_of(FUNNEL))
    figure("the same here: per step", 1e6 * ours / stats["n_steps"].sum(), "us")
    benchmark.pedantic(lambda: None, rounds=1)
