"""Densities traced from NumPy code: real models against NumPy values and differences, threads, lifetime."""

import ctypes
import gc
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
from laws.contract import DOUBLES, LOGP_GRAD
from scipy import special

from micropolis.density import Density
from micropolis.parameters import CorrelationCholesky, Interval, Lower, Ordered, Positive, Real, Simplex, Upper

RNG = np.random.default_rng(11)


# -- models, as a user would write them ------------------------------------------------------------------------------


def autoregression():
    y = np.cumsum(RNG.normal(size=200)) * 0.3

    def log_density(mu, phi, sigma):
        total = -0.5 * mu**2 - np.log1p(sigma**2)
        previous = mu
        for t in range(200):
            expected = mu + phi * (previous - mu)
            total = total - np.log(sigma) - 0.5 * ((y[t] - expected) / sigma) ** 2
            previous = y[t]
        return total

    return log_density, {"mu": Real(), "phi": Interval(-1, 1), "sigma": Positive()}


def gaussian_process():
    t = np.sort(RNG.uniform(0, 5, size=20))
    y = np.sin(t) + 0.1 * RNG.normal(size=20)

    def log_density(length, amplitude, noise):
        squared = (t[:, None] - t[None, :]) ** 2
        covariance = amplitude**2 * np.exp(-0.5 * squared / length**2) + noise**2 * np.eye(20)
        factor = np.linalg.cholesky(covariance)
        white = np.linalg.solve(factor, y)
        return -0.5 * white @ white - np.sum(np.log(np.diag(factor))) - length - amplitude - noise

    return log_density, {"length": Positive(), "amplitude": Positive(), "noise": Lower(0.05)}


def mixture():
    y = np.concatenate([RNG.normal(-2, 1, size=60), RNG.normal(2, 0.5, size=40)])

    def log_density(weights, means, scales):
        parts = np.log(weights) - np.log(scales) - 0.5 * ((y[:, None] - means) / scales) ** 2
        return np.sum(np.logaddexp(parts[:, 0], parts[:, 1])) - 0.5 * np.sum(means**2) - np.sum(scales)

    return log_density, {"weights": Simplex(2), "means": Ordered(2), "scales": Positive(2)}


def logistic_regression():
    x = RNG.normal(size=(300, 4))
    y = (RNG.uniform(size=300) < special.expit(x @ np.array([1.0, -1, 0.5, 0]))).astype(float)

    def log_density(beta):
        eta = x @ beta
        return np.sum(y * eta - np.logaddexp(0.0, eta)) - 0.5 * np.sum(beta**2)

    return log_density, {"beta": Real(4)}


def eight_schools():
    y = np.array([28.0, 8, -3, 7, -1, 1, 18, 12])
    sigma = np.array([15.0, 10, 16, 11, 9, 11, 10, 18])

    def log_density(mu, tau, theta):
        prior = -0.5 * (mu / 5) ** 2 - np.log1p((tau / 5) ** 2) - 0.5 * np.sum(theta**2)
        return prior - 0.5 * np.sum(((y - (mu + tau * theta)) / sigma) ** 2)

    return log_density, {"mu": Real(), "tau": Positive(), "theta": Real(8)}


def poisson_regression():
    x = RNG.normal(size=(80, 3))
    y = RNG.poisson(np.exp(x @ np.array([0.3, -0.2, 0.1])))

    def log_density(beta, intercept):
        rate = intercept + x @ beta
        return np.sum(y * rate - np.exp(rate) - special.gammaln(y + 1)) - 0.5 * beta @ beta - 0.5 * intercept**2

    return log_density, {"beta": Real(3), "intercept": Real()}


def robust_regression():
    x, y = RNG.normal(size=(50, 2)), RNG.standard_t(3, size=50)

    def log_density(beta, scale, nu):
        z = (y - x @ beta) / scale
        constant = special.gammaln((nu + 1) / 2) - special.gammaln(nu / 2) - 0.5 * np.log(nu * np.pi) - np.log(scale)
        return np.sum(constant - (nu + 1) / 2 * np.log1p(z**2 / nu)) - 0.1 * nu - scale - 0.5 * np.sum(beta**2)

    return log_density, {"beta": Real(2), "scale": Positive(), "nu": Lower(1.0)}


def state_space():
    """A local level model, its states integrated out by the Kalman filter."""
    y = np.cumsum(RNG.normal(size=60)) + RNG.normal(size=60)

    def log_density(level, noise):
        mean, variance, total = y[0], 10.0, -level - noise
        for value in y:
            variance = variance + level**2
            spread = variance + noise**2
            total += -0.5 * np.log(spread) - 0.5 * (value - mean) ** 2 / spread
            gain = variance / spread
            mean, variance = mean + gain * (value - mean), (1 - gain) * variance
        return total

    return log_density, {"level": Positive(), "noise": Positive()}


def correlated_effects():
    y = RNG.normal(size=(12, 3)) @ np.array([[1, 0, 0], [0.5, 1, 0], [0, 0, 1.0]])

    def log_density(scales, factor, top):
        chol = scales[:, None] * factor
        white = np.linalg.solve(chol, y.T)
        lkj = np.sum(np.arange(3, 0, -1) * np.log(np.diag(factor)))
        return -0.5 * np.sum(white**2) - 12 * np.sum(np.log(np.diag(chol))) + lkj - np.sum(scales) + top

    return log_density, {"scales": Positive(3), "factor": CorrelationCholesky(3), "top": Upper(2.0)}


MODELS = [
    autoregression,
    gaussian_process,
    mixture,
    logistic_regression,
    eight_schools,
    poisson_regression,
    robust_regression,
    state_space,
    correlated_effects,
]


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.__name__)
def test_models(model):
    f, parameters = model()
    d = Density.from_numpy(f, parameters)
    assert list(d.parameters.parameters) == list(parameters)

    def plain(u):
        values, log_jacobian = d.parameters.constrain(u)
        return f(**values) + log_jacobian

    rng = np.random.default_rng(1)
    for x in 0.4 * rng.normal(size=(2, d.dim)):
        value, gradient = d.value_and_grad(x)
        np.testing.assert_allclose([value, d(x)], plain(x), rtol=1e-11)
        steps = 1e-5 * np.eye(d.dim)
        # a central difference is off by h^2 f''' / 6 and eps |f| / h
        tolerance = 1e-6 * (1 + np.max(np.abs(gradient)))
        np.testing.assert_allclose(
            gradient, [(plain(x + h) - plain(x - h)) / 2e-5 for h in steps], rtol=1e-6, atol=tolerance
        )
        hessian = d.hessian(x)
        scale = 1e-6 * (1 + np.max(np.abs(hessian)))
        np.testing.assert_allclose(
            hessian, [(d.grad(x + h) - d.grad(x - h)) / 2e-5 for h in steps], rtol=1e-6, atol=scale
        )
        v, m = rng.normal(size=d.dim), rng.normal(size=(d.dim, d.dim))
        np.testing.assert_allclose(d.hvp(x, v), hessian @ v, rtol=1e-9, atol=1e-3 * scale)
        third = [np.sum(m * (d.hessian(x + h) - d.hessian(x - h))) / 2e-5 for h in steps]
        np.testing.assert_allclose(
            d.third_derivative_product(x, m), third, rtol=1e-5, atol=1e-5 * (1 + np.max(np.abs(third)))
        )


def funnel(x):
    return -0.5 * x[0] ** 2 / 9 - 0.5 * np.sum(x[1:] ** 2) * np.exp(x[0]) + 0.5 * (x.size - 1) * x[0]


def test_flat_coordinates():
    d = Density.from_numpy(funnel, 11)
    x = np.linspace(-1, 1, 33).reshape(3, 11)
    np.testing.assert_allclose(d(x), [funnel(row) for row in x], rtol=1e-14)
    assert d.names[:2] == ("x[0]", "x[1]")
    assert d.third_derivative_product(x, np.eye(11)).shape == (3, 11)


def test_vectorised_data_stay_arrays():
    data = np.random.default_rng(2).normal(size=20_000)
    d = Density.from_numpy(
        lambda mu, sigma: np.sum(-0.5 * ((data - mu) / sigma) ** 2 - np.log(sigma)), {"mu": Real(), "sigma": Positive()}
    )
    z = (data - 0.3) / np.exp(0.2)
    np.testing.assert_allclose(d.grad([0.3, 0.2]), [np.sum(z) / np.exp(0.2), np.sum(z**2 - 1) + 1], rtol=1e-11)
    np.testing.assert_allclose(d.hessian([0.3, 0.2])[1, 1], -2 * np.sum(z**2), rtol=1e-11)


def test_programs_repeat():
    """Chains repeat from process to process only if the same program is made each time."""
    first, second = (Density.from_numpy(*mixture_with(3)) for _ in range(2))
    x = np.random.default_rng(3).normal(size=(20, first.dim))
    np.testing.assert_array_equal(first.grad(x), second.grad(x))


def mixture_with(seed):
    y = np.random.default_rng(seed).normal(size=150)
    return lambda x: np.sum(np.logaddexp(-0.5 * (y - x[0]) ** 2, -0.5 * (y - x[1]) ** 2)), 2


def test_derivatives_are_built_on_first_use():
    d = Density.from_numpy(funnel, 5)
    assert d._bind().functions["hessian"] == 0
    d.hessian(np.zeros(5))
    assert d._bind().functions["hessian"] != 0
    assert d._bind().functions["third_product"] == 0


def test_a_coordinate_that_plays_no_part_has_gradient_zero():
    d = Density.from_numpy(lambda x: -(x[1] ** 2), 3)
    np.testing.assert_array_equal(d.grad([1.0, 2.0, 3.0]), [0, -4, 0])
    np.testing.assert_array_equal(d.hessian([1.0, 2.0, 3.0]), np.diag([0, -2.0, 0]))
    assert Density.from_numpy(lambda a: 0.0, {"a": Positive()}).value_and_grad([0.7]) == (0.7, np.array([1.0]))


def test_outside_its_domain_a_density_is_nan():
    d = Density.from_numpy(lambda x: np.log(x[0]), 1)
    with np.errstate(invalid="ignore"):
        assert np.isnan(d([-1.0]))
    assert d([0.0]) == -np.inf
    f, parameters = gaussian_process()
    assert np.isnan(Density.from_numpy(f, parameters)([710.0, 400.0, 0.0]))


def test_pickle_of_an_unpicklable_function():
    for model in (eight_schools, gaussian_process):
        d = Density.from_numpy(*model())
        x = 0.3 * np.random.default_rng(4).normal(size=(5, d.dim))
        d.hessian(x)
        again = pickle.loads(pickle.dumps(d))
        for name in ("grad", "hessian", "__call__"):
            np.testing.assert_array_equal(getattr(again, name)(x), getattr(d, name)(x))
        assert again.parameters == d.parameters
        assert again.names == d.names


def call_without_gil(handle, points):
    """Values and gradients (n, dim + 1) through the C pointer; ctypes lets go of the GIL for each call."""
    functions = handle.functions
    logp_grad = LOGP_GRAD(functions["logp_grad"])
    out = np.empty((len(points), points.shape[1] + 1))
    for x, row in zip(points, out, strict=True):
        address = row.ctypes.data
        arguments = [ctypes.cast(where, DOUBLES) for where in (x.ctypes.data, address + 8, address)]
        assert logp_grad(x.size, *arguments, functions["user_data"]) == 0
    return out


def test_threads_evaluate_at_once():
    d = Density.from_numpy(*state_space())
    x = 0.5 * np.random.default_rng(5).normal(size=(2, 500, d.dim))
    expected = [call_without_gil(d._bind(), points) for points in x]
    np.testing.assert_allclose(expected[0][:, 0], d(x[0]), rtol=1e-13)  # many points at once sum in another order
    results = [[], []]

    def evaluate(i):
        for _ in range(10):
            results[i].append(call_without_gil(d._bind(), x[i]))

    workers = [threading.Thread(target=evaluate, args=(i,)) for i in range(2)]
    for worker in workers:
        worker.start()
    # meanwhile other densities, and other handles of this one, come and go
    for seed in range(20):
        Density.from_numpy(*mixture_with(seed))([0.1, 0.2])
        d._bind()
    for worker in workers:
        worker.join()
    for i in range(2):
        assert len(results[i]) == 10
        for result in results[i]:
            np.testing.assert_array_equal(result, expected[i])


def resident_kilobytes():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_densities_come_and_go_without_a_leak():
    def cycle(count):
        for i in range(count):
            d = Density.from_numpy(funnel, 5 + i % 3)
            handles = [d._bind() for _ in range(3)]
            x = np.zeros((1, d.dim))
            del d
            assert all(handle.value(x)[0] == 0 for handle in handles)  # a handle outlives its density
        gc.collect()

    cycle(50)
    before = resident_kilobytes()
    cycle(200)
    assert resident_kilobytes() - before < 4000


def test_first_density_is_fast_and_needs_nothing():
    """Import and build together stay far below half a second, and load no extra and none of SciPy's modules."""
    code = """
import time; start = time.process_time()
import numpy as np
from micropolis.density import Density
Density.from_numpy(lambda x: -0.5 * np.sum(x**2), 3).grad(np.zeros(3))
import sys
assert not {"numba", "casadi", "scipy", "scipy.special", "scipy.stats"} & set(sys.modules)
print(time.process_time() - start)
"""
    run = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 5  # a loaded machine; 0.2 s on a quiet one


def test_a_constant_matrix_whose_rows_are_exchanged():
    """Its factors are computed when the density is made, by LAPACK; those of others in C."""
    matrix = np.roll(np.array([[4.0, 1, 0.5], [1, 3, 0.2], [0.5, 0.2, 2]]), 1, axis=0)
    density = Density.from_numpy(lambda x: np.sum(np.linalg.solve(matrix, x) ** 2), 3)
    inverse = np.linalg.inv(matrix)
    x = np.array([0.3, -1, 2])
    np.testing.assert_allclose(density(x), np.sum((inverse @ x) ** 2), rtol=1e-13)
    np.testing.assert_allclose(density.grad(x), 2 * inverse.T @ inverse @ x, rtol=1e-13)
