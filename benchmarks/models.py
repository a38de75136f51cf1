"""The posteriors that the comparison samples, each as a Numba function, a NumPy function and a JAX function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numba
import numpy as np
from numba import types

# int64 (uint64 dim, double *x, double *grad, double *logp, void *user_data): what nutpie compiles its own models to. A
# zero that is returned reads the same as the C int of micropolis and walnutpie.
SIGNATURE = types.int64(
    types.uint64,
    types.CPointer(types.float64),
    types.CPointer(types.float64),
    types.CPointer(types.float64),
    types.voidptr,
)


@dataclass(frozen=True, eq=False)
class Model:
    """One log density in every form a sampler asks for.

    Attributes
    ----------
    name, title : str
        Short name on the command line, heading in the report.
    dim : int
    logp_grad : Numba function
        ``logp_grad(x, grad) -> float``.
    logp : callable
        NumPy, batched: (..., dim) -> (...).
    value_and_grad : callable
        NumPy, one point: (dim,) -> float, (dim,).
    jax_logp : callable
        ``jax_logp(jnp)`` returns the log density of one point in ``jax.numpy``.
    builtin : callable or None
        ``builtin(mp)`` returns the density of micropolis' own library.
    wall, ess_per_second : float
        Figures to reach against the better of nutpie and walnutpie, same cfunc: ratio of wall times at most, of ESS/s
        at least.
    builtin_ess_per_second : float or None
        Figure to reach with the built-in density against nutpie's ESS/s.
    """

    name: str
    title: str
    dim: int
    logp_grad: Any
    logp: Callable[[Any], Any]
    value_and_grad: Callable[[Any], Any]
    jax_logp: Callable[[Any], Callable[[Any], Any]]
    builtin: Callable[[Any], Any] | None = None
    wall: float = 0.6
    ess_per_second: float = 1.5
    builtin_ess_per_second: float | None = None

    @property
    def cfunc(self) -> Any:
        """The Numba function as a C function; compiled once per process and kept alive here."""
        return compile_cfunc(self.logp_grad, self.dim)


@cache
def compile_cfunc(logp_grad: Any, dim: int) -> Any:
    """A Numba `logp_grad(x, grad)` as a cfunc of SIGNATURE, without user data."""

    @numba.cfunc(SIGNATURE)
    def call(_, x, grad, logp, __):
        logp[0] = logp_grad(numba.carray(x, (dim,)), numba.carray(grad, (dim,)))
        return 0

    return call


def check(model: Model) -> None:
    """Raise unless the forms of a model agree at three points (each up to its own constant)."""
    points = np.random.default_rng(20).normal(size=(3, model.dim))
    grad = np.empty(model.dim)
    value = [model.logp_grad(x, grad) for x in points]
    forms = [(model.logp(points), [model.value_and_grad(x)[1] for x in points])]
    try:
        import jax
    except ImportError:
        pass  # the sampler that needs it is skipped with a message
    else:
        jax.config.update("jax_enable_x64", True)
        logp = model.jax_logp(jax.numpy)
        forms.append(([logp(x) for x in points], [jax.grad(logp)(x) for x in points]))
    for values, grads in forms:
        np.testing.assert_allclose(np.diff(values), np.diff(value), rtol=1e-9, err_msg=model.name)
        for x, other in zip(points, grads, strict=True):
            model.logp_grad(x, grad)
            np.testing.assert_allclose(other, grad, rtol=1e-9, atol=1e-12, err_msg=model.name)


# Only the order of the sum is free: in source order each addition would wait for the one before it.
@numba.njit(fastmath={"reassoc"})
def dot(a, b):
    """Inner product of two vectors."""
    total = 0.0
    for i in range(a.size):
        total += a[i] * b[i]
    return total


# -- Gaussians --------------------------------------------------------------------------------------------------------


@cache
def standard_normal(dim: int = 100) -> Model:
    """N(0, I)."""

    @numba.njit
    def logp_grad(x, grad):
        for i in range(dim):
            grad[i] = -x[i]
        return -0.5 * dot(x, x)

    return Model(
        name="normal",
        title=f"N(0, I), d = {dim}",
        dim=dim,
        logp_grad=logp_grad,
        logp=lambda x: -0.5 * np.sum(x * x, axis=-1),
        value_and_grad=lambda x: (-0.5 * (x @ x), -x),
        jax_logp=lambda jnp: lambda x: -0.5 * jnp.sum(x * x),
    )


@cache
def diagonal_gaussian(dim: int = 50) -> Model:
    """Independent normals whose variances run from 1e-2 to 1e2."""
    precision = 1.0 / np.logspace(-2, 2, dim)

    @numba.njit
    def logp_grad(x, grad):
        for i in range(dim):
            grad[i] = -precision[i] * x[i]
        return 0.5 * dot(grad, x)

    return Model(
        name="diagonal",
        title=f"Gaussian, d = {dim}, variances 1e-2 .. 1e2",
        dim=dim,
        logp_grad=logp_grad,
        logp=lambda x: -0.5 * np.sum(precision * x * x, axis=-1),
        value_and_grad=lambda x: (-0.5 * (x @ (precision * x)), -precision * x),
        jax_logp=lambda jnp: lambda x: -0.5 * jnp.sum(precision * x * x),
    )


# -- eight schools (Rubin 1981), non-centred; priors as in posteriordb: mu ~ N(0, 5), tau ~ half-Cauchy(0, 5) ---------

EFFECT = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERROR = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


@numba.njit
def _eight_schools(x, grad):
    mu, log_tau = x[0], x[1]
    tau = np.exp(log_tau)
    ratio = tau * tau / 25.0
    total = -mu * mu / 50.0 - np.log1p(ratio) + log_tau
    grad_mu, grad_log_tau = -mu / 25.0, 1.0 - 2.0 * ratio / (1.0 + ratio)
    for j in range(8):
        eta = x[2 + j]
        residual = (EFFECT[j] - mu - tau * eta) / ERROR[j]
        slope = residual / ERROR[j]
        total -= 0.5 * (residual * residual + eta * eta)
        grad_mu += slope
        grad_log_tau += slope * tau * eta
        grad[2 + j] = slope * tau - eta
    grad[0], grad[1] = grad_mu, grad_log_tau
    return total


def _eight_schools_numpy(x):
    mu, log_tau, eta = x[..., 0], x[..., 1], x[..., 2:]
    tau = np.exp(log_tau)
    residual = (EFFECT - mu[..., None] - tau[..., None] * eta) / ERROR
    return (
        -(mu**2) / 50 - np.log1p(tau**2 / 25) + log_tau - 0.5 * np.sum(residual**2, axis=-1) - 0.5 * np.sum(eta**2, -1)
    )


def _eight_schools_numpy_grad(x):
    mu, tau, eta = x[0], np.exp(x[1]), x[2:]
    residual = (EFFECT - mu - tau * eta) / ERROR
    slope, ratio = residual / ERROR, tau**2 / 25
    value = -(mu**2) / 50 - np.log1p(ratio) + x[1] - 0.5 * (residual @ residual) - 0.5 * (eta @ eta)
    grad = np.empty(10)
    grad[0] = -mu / 25 + slope.sum()
    grad[1] = 1 - 2 * ratio / (1 + ratio) + tau * (slope @ eta)
    grad[2:] = slope * tau - eta
    return value, grad


def _eight_schools_jax(jnp):
    def logp(x):
        mu, log_tau, eta = x[0], x[1], x[2:]
        tau = jnp.exp(log_tau)
        residual = (EFFECT - mu - tau * eta) / ERROR
        prior = -(mu**2) / 50 - jnp.log1p(tau**2 / 25) + log_tau - 0.5 * jnp.sum(eta**2)
        return prior - 0.5 * jnp.sum(residual**2)

    return logp


@cache
def eight_schools() -> Model:
    """mu, log tau and eight standardised effects."""
    return Model(
        name="schools",
        title="eight schools, non-centred, d = 10",
        dim=10,
        logp_grad=_eight_schools,
        logp=_eight_schools_numpy,
        value_and_grad=_eight_schools_numpy_grad,
        jax_logp=_eight_schools_jax,
    )


# -- logistic regression ----------------------------------------------------------------------------------------------


@cache
def logistic_data(rows: int = 1000, dim: int = 25) -> tuple[Any, Any]:
    """Design matrix (rows, dim) of standard normals and labels 0.0 or 1.0 drawn from coefficients N(0, 1/4)."""
    rng = np.random.default_rng(2024)
    X = rng.normal(size=(rows, dim))
    coefficients = 0.5 * rng.normal(size=dim)
    y = (rng.uniform(size=rows) < 1 / (1 + np.exp(-X @ coefficients))).astype(np.float64)
    return X, y


@cache
def logistic_regression(rows: int = 1000, dim: int = 25) -> Model:
    """Bernoulli-logit likelihood, coefficients N(0, 1)."""
    X, y = logistic_data(rows, dim)

    @numba.njit
    def logp_grad(x, grad):
        total = 0.0
        for j in range(dim):
            total -= 0.5 * x[j] * x[j]
            grad[j] = -x[j]
        for i in range(rows):
            z = dot(X[i], x)
            tail = np.exp(-abs(z))  # one exponential serves the likelihood and its slope, without overflow
            total += y[i] * z - max(z, 0.0) - np.log1p(tail)
            slope = y[i] - (1.0 if z > 0 else tail) / (1.0 + tail)
            for j in range(dim):
                grad[j] += slope * X[i, j]
        return total

    def logp(x):
        z = x @ X.T
        return z @ y - np.sum(np.logaddexp(0, z), axis=-1) - 0.5 * np.sum(x * x, axis=-1)

    def value_and_grad(x):
        z = X @ x
        value = y @ z - np.sum(np.logaddexp(0, z)) - 0.5 * (x @ x)
        return value, X.T @ (y - 1 / (1 + np.exp(-z))) - x

    def jax_logp(jnp):
        def logp(x):
            z = jnp.dot(X, x)
            return jnp.dot(y, z) - jnp.sum(jnp.logaddexp(0.0, z)) - 0.5 * jnp.sum(x * x)

        return logp

    return Model(
        name="logistic",
        title=f"logistic regression, n = {rows}, d = {dim}",
        dim=dim,
        logp_grad=logp_grad,
        logp=logp,
        value_and_grad=value_and_grad,
        jax_logp=jax_logp,
        builtin=lambda mp: mp.densities.LogisticRegression(X, y, prior_scale=1.0),
        wall=1.0,
        ess_per_second=1.1,
        builtin_ess_per_second=2.0,
    )


MODELS: dict[str, Callable[[], Model]] = {
    "normal": standard_normal,
    "diagonal": diagonal_gaussian,
    "schools": eight_schools,
    "logistic": logistic_regression,
}
