"""The models by which `Density.from_numpy` is measured: plain NumPy, and what a good user would write by hand in Numba.

Each is a NumPy log density on named, constrained parameters; a Numba function of the unconstrained coordinates, log
Jacobians included; in JAX the same Python code with jax.numpy in the place of NumPy (a scan where it loops over time);
and, where nutpie can be compared, a PyMC model with the same parameters in the same order.

Two of the Numba options are used. `compiled` divides as NumPy does, without a check. `summed` also frees the order of
additions, without which each of a sum would wait for the one before it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, reduce
from types import CellType, FunctionType, ModuleType
from typing import Any

import numba
import numpy as np
from models import dot, logistic_data
from scipy import linalg, special

import micropolis as mp
from micropolis.data import posteriordb

compiled = numba.njit(error_model="numpy")
summed = numba.njit(error_model="numpy", fastmath={"reassoc"})


@dataclass(frozen=True, eq=False)
class NumpyModel:
    """One log density in every form that is timed.

    Attributes
    ----------
    name, title : str
        Short name on the command line, heading in the table.
    log_density : callable
        Plain NumPy function of the named, constrained parameters.
    parameters : dict of str to Parameter
    logp_grad : Numba function
        ``logp_grad(x, grad, data) -> float`` of the unconstrained coordinates.
    data : dict
        Its third argument.
    pymc : callable or None
        ``pymc()`` returns the PyMC model, its variables those of `parameters` in their order.
    jax : callable or None
        ``jax()`` returns the log density on named parameters in JAX; None: `log_density` itself, by `in_jax`.
    """

    name: str
    title: str
    log_density: Callable[..., Any]
    parameters: dict[str, Any]
    logp_grad: Any
    data: Mapping[str, Any]
    pymc: Callable[[], Any] | None = None
    jax: Callable[[], Callable[..., Any]] | None = None

    @property
    def space(self) -> Any:
        """The parameters as one vector of coordinates."""
        return mp.parameters.ParameterSpace(self.parameters)

    @property
    def dim(self) -> int:
        """Number of unconstrained coordinates."""
        return self.space.dim

    def from_numpy(self) -> Any:
        """The density that is measured."""
        return mp.Density.from_numpy(self.log_density, self.parameters)

    def from_numba(self) -> Any:
        """The density that is written by hand."""
        return mp.Density.from_numba(self.logp_grad, self.dim, self.data)

    def value(self, x: Any) -> float:
        """What NumPy itself makes of the code at unconstrained x."""
        values, log_jacobian = self.space.constrain(x)
        return float(self.log_density(**values) + log_jacobian)

    def jax_logp(self) -> Callable[[Any], Any]:
        """The log density of unconstrained x in JAX."""
        log_density = in_jax(self.log_density) if self.jax is None else self.jax()
        slices = self.space.slices

        def logp(x: Any) -> Any:
            values, total = {}, 0.0
            for name, parameter in self.parameters.items():
                values[name], log_jacobian = in_jax(type(parameter).constrain)(parameter, x[slices[name]])
                total = total + log_jacobian
            return log_density(**values) + total

        return logp


def in_jax(function: Any) -> Any:
    """The same Python function with JAX's NumPy and SciPy in the place of those; in what it calls, too."""
    import jax
    import jax.scipy.linalg
    import jax.scipy.special

    def convert(value: Any) -> Any:
        if value is np:
            return jax.numpy
        if isinstance(value, ModuleType) and value.__name__.startswith("scipy."):
            return reduce(getattr, value.__name__.split(".")[1:], jax.scipy)
        return in_jax(value) if isinstance(value, FunctionType) else value

    names = {name: convert(value) for name, value in function.__globals__.items() if name in function.__code__.co_names}
    cells = tuple(CellType(convert(cell.cell_contents)) for cell in function.__closure__ or ())
    copy = FunctionType(
        function.__code__, {**function.__globals__, **names}, function.__name__, function.__defaults__, cells
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def points(model: NumpyModel) -> Any:
    """Three places where a model is checked."""
    return np.random.default_rng(20).normal(size=(3, model.dim))


def agree(model: NumpyModel, what: str, value_and_grad: Callable[[Any], Any], tolerance: float = 1e-9) -> None:
    """Raise unless a form of the model has the Numba function's gradients, and its values up to a constant."""
    hand, values, others = model.from_numba(), [], []
    for x in points(model):
        (value, grad), (other, other_grad) = hand.value_and_grad(x), value_and_grad(x)
        values.append(value)
        others.append(float(other))
        np.testing.assert_allclose(
            other_grad, grad, rtol=tolerance, atol=tolerance * np.abs(grad).max(), err_msg=f"{model.name}: {what}"
        )
    np.testing.assert_allclose(
        np.diff(others), np.diff(values), rtol=tolerance, err_msg=f"{model.name}: {what}, differences of values"
    )


def check(model: NumpyModel, density: Any) -> None:
    """Raise unless NumPy's own values, the hand-written function and the density from NumPy agree at three points."""
    x, hand = points(model), model.from_numba()
    np.testing.assert_allclose(
        np.diff([model.value(point) for point in x]),
        np.diff([hand(point) for point in x]),
        rtol=1e-9,
        err_msg=f"{model.name}: the Numba function is not the NumPy function",
    )
    agree(model, "from_numpy", density.value_and_grad)


# -- eight schools, non-centred ---------------------------------------------------------------------------------------


@compiled
def _schools(x, grad, data):
    n = data.y.size
    mu, log_tau = x[n], x[n + 1]
    tau = math.exp(log_tau)
    ratio = tau * tau / 25.0
    total = -mu * mu / 50.0 - math.log1p(ratio) + log_tau
    grad_mu, grad_tau = -mu / 25.0, 0.0
    for j in range(n):
        residual = (data.y[j] - mu - tau * x[j]) * data.inverse_error[j]
        slope = residual * data.inverse_error[j]
        total -= 0.5 * (residual * residual + x[j] * x[j])
        grad_mu += slope
        grad_tau += slope * x[j]
        grad[j] = slope * tau - x[j]
    grad[n], grad[n + 1] = grad_mu, grad_tau * tau + 1.0 - 2.0 * ratio / (1.0 + ratio)
    return total


@cache
def schools() -> NumpyModel:
    """Eight standardised effects, mu, tau (Rubin 1981)."""
    posterior = posteriordb("eight_schools-eight_schools_noncentered")
    y, error = np.array(posterior.data["y"], dtype=float), np.array(posterior.data["sigma"], dtype=float)

    def pymc():
        import pymc as pm

        with pm.Model() as model:
            theta_trans = pm.Normal("theta_trans", 0, 1, shape=len(y))
            mu = pm.Normal("mu", 0, 5)
            tau = pm.HalfCauchy("tau", 5)
            pm.Normal("y", mu + tau * theta_trans, error, observed=y)
        return model

    return NumpyModel(
        name="schools",
        title="eight schools, d 10",
        log_density=posterior.log_density,
        parameters=posterior.parameters,
        logp_grad=_schools,
        data={"y": y, "inverse_error": 1 / error},
        pymc=pymc,
    )


# -- linear regressions -----------------------------------------------------------------------------------------------


@summed
def normal_rows(X, y, x, grad):
    """Rows y ~ N(X x[:k], exp(x[k])): the log likelihood; the gradient is set, not added to."""
    n, k = X.shape
    total = 0.0
    for j in range(k):
        grad[j] = 0.0
    for i in range(n):
        residual = y[i]
        for j in range(k):
            residual -= X[i, j] * x[j]
        total += residual * residual
        for j in range(k):
            grad[j] += residual * X[i, j]
    precision = math.exp(-2.0 * x[k])
    for j in range(k):
        grad[j] *= precision
    grad[k] = total * precision - n
    return -0.5 * total * precision - n * x[k]


@compiled
def _linear_flat(x, grad, data):
    k = data.X.shape[1]
    total = normal_rows(data.X, data.y, x, grad)
    grad[k] += 1.0
    return total + x[k]


@compiled
def _kidiq(x, grad, data):
    k = data.X.shape[1]
    total = normal_rows(data.X, data.y, x, grad)
    ratio = math.exp(2.0 * x[k]) / 6.25
    grad[k] += 1.0 - 2.0 * ratio / (1.0 + ratio)
    return total + x[k] - math.log1p(ratio)


@compiled
def _autoregression(x, grad, data):
    k = data.X.shape[1]
    total = normal_rows(data.X, data.y, x, grad)
    for j in range(k):
        total -= 0.005 * x[j] * x[j]
        grad[j] -= 0.01 * x[j]
    ratio = math.exp(2.0 * x[k]) / 6.25
    grad[k] += 1.0 - 2.0 * ratio / (1.0 + ratio)
    return total + x[k] - math.log1p(ratio)


@compiled
def _blr(x, grad, data):
    k = data.X.shape[1]
    total = normal_rows(data.X, data.y, x, grad)
    for j in range(k):
        total -= 0.005 * x[j] * x[j]
        grad[j] -= 0.01 * x[j]
    square = math.exp(2.0 * x[k])
    grad[k] += 1.0 - 0.01 * square
    return total + x[k] - 0.005 * square


def _linear_pymc(X: Any, y: Any, beta_sd: float | None, sigma_prior: str) -> Callable[[], Any]:
    def pymc():
        import pymc as pm

        priors = {
            "flat": lambda: pm.HalfFlat("sigma"),
            "cauchy": lambda: pm.HalfCauchy("sigma", 2.5),
            "normal": lambda: pm.HalfNormal("sigma", 10),
        }
        k = X.shape[1]
        with pm.Model() as model:
            beta = pm.Flat("beta", shape=k) if beta_sd is None else pm.Normal("beta", 0, beta_sd, shape=k)
            sigma = priors[sigma_prior]()
            pm.Normal("y", pm.math.dot(X, beta), sigma, observed=y)
        return model

    return pymc


@cache
def kidiq() -> NumpyModel:
    """Test scores of children by their mothers' schooling and IQ: 434 x 4."""
    posterior = posteriordb("kidiq-kidscore_interaction")
    school, iq = (np.array(posterior.data[name], dtype=float) for name in ("mom_hs", "mom_iq"))
    X, y = np.column_stack([np.ones_like(iq), school, iq, school * iq]), np.array(posterior.data["kid_score"], float)
    return NumpyModel(
        name="kidiq",
        title="kidiq, 434 x 4",
        log_density=posterior.log_density,
        parameters=posterior.parameters,
        logp_grad=_kidiq,
        data={"X": X, "y": y},
        pymc=_linear_pymc(X, y, None, "cauchy"),
    )


@cache
def earnings() -> NumpyModel:
    """Log earnings by height and sex: 1192 x 4."""
    posterior = posteriordb("earnings-logearn_interaction")
    height, male = (np.array(posterior.data[name], dtype=float) for name in ("height", "male"))
    X, y = np.column_stack([np.ones_like(height), height, male, height * male]), np.log(posterior.data["earn"])
    return NumpyModel(
        name="earnings",
        title="earnings, 1192 x 4",
        log_density=posterior.log_density,
        parameters=posterior.parameters,
        logp_grad=_linear_flat,
        data={"X": X, "y": y},
        pymc=_linear_pymc(X, y, None, "flat"),
    )


@cache
def ark() -> NumpyModel:
    """An autoregression of order 5 on 200 values; alpha is the first column of the hand-written function."""
    posterior = posteriordb("arK-arK")
    series, order = np.array(posterior.data["y"], dtype=float), posterior.data["K"]
    past = np.column_stack([series[order - k : len(series) - k] for k in range(1, order + 1)])
    y = series[order:]

    def pymc():
        import pymc as pm

        with pm.Model() as model:
            alpha = pm.Normal("alpha", 0, 10)
            beta = pm.Normal("beta", 0, 10, shape=order)
            sigma = pm.HalfCauchy("sigma", 2.5)
            pm.Normal("y", alpha + pm.math.dot(past, beta), sigma, observed=y)
        return model

    return NumpyModel(
        name="ark",
        title=f"arK, {len(y)} x {order}",
        log_density=posterior.log_density,
        parameters=posterior.parameters,
        logp_grad=_autoregression,
        data={"X": np.column_stack([np.ones_like(y), past]), "y": y},
        pymc=pymc,
    )


@cache
def blr() -> NumpyModel:
    """Bayesian linear regression on synthetic data of posteriordb: 100 x 5."""
    posterior = posteriordb("sblri-blr")
    X, y = np.array(posterior.data["X"], dtype=float), np.array(posterior.data["y"], dtype=float)
    return NumpyModel(
        name="blr",
        title=f"sblri-blr, {X.shape[0]} x {X.shape[1]}",
        log_density=posterior.log_density,
        parameters=posterior.parameters,
        logp_grad=_blr,
        data={"X": X, "y": y},
        pymc=_linear_pymc(X, y, 10.0, "normal"),
    )


@cache
def linear(name: str, rows: int, columns: int) -> NumpyModel:
    """Linear regression with flat priors on synthetic data: an intercept and columns - 1 standard normals."""
    rng = np.random.default_rng(1972)
    X = np.column_stack([np.ones(rows), rng.normal(size=(rows, columns - 1))])
    y = X @ rng.normal(size=columns) + 1.5 * rng.normal(size=rows)

    def log_density(beta, sigma):
        residual = (y - X @ beta) / sigma
        return -0.5 * np.sum(residual**2) - len(y) * np.log(sigma)

    return NumpyModel(
        name=name,
        title=f"{name}, {rows} x {columns}",
        log_density=log_density,
        parameters={"beta": mp.Real(columns), "sigma": mp.Positive()},
        logp_grad=_linear_flat,
        data={"X": X, "y": y},
        pymc=_linear_pymc(X, y, None, "flat"),
    )


# -- generalised linear models ----------------------------------------------------------------------------------------


@compiled
def _logistic(x, grad, data):
    n, k = data.X.shape
    total = -0.5 * dot(x, x)
    for j in range(k):
        grad[j] = -x[j]
    for i in range(n):
        z = dot(data.X[i], x)
        tail = math.exp(-abs(z))  # one exponential serves the likelihood and its slope, without overflow
        total += data.y[i] * z - max(z, 0.0) - math.log1p(tail)
        slope = data.y[i] - (1.0 if z > 0 else tail) / (1.0 + tail)
        for j in range(k):
            grad[j] += slope * data.X[i, j]
    return total


@cache
def logistic(name: str, rows: int, columns: int) -> NumpyModel:
    """Logistic regression, coefficients N(0, 1)."""
    X, y = logistic_data(rows, columns)

    def log_density(beta):
        z = X @ beta
        return y @ z - np.sum(np.logaddexp(0, z)) - 0.5 * np.sum(beta**2)

    def pymc():
        import pymc as pm

        with pm.Model() as model:
            beta = pm.Normal("beta", 0, 1, shape=columns)
            pm.Bernoulli("y", logit_p=pm.math.dot(X, beta), observed=y.astype(int))
        return model

    return NumpyModel(
        name=name,
        title=f"logistic {rows:,} x {columns}",
        log_density=log_density,
        parameters={"beta": mp.Real(columns)},
        logp_grad=_logistic,
        data={"X": X, "y": y},
        pymc=pymc,
    )


@compiled
def _nes_logit(x, grad, data):
    alpha, beta = x[0], x[1]
    total, grad_alpha, grad_beta = 0.0, 0.0, 0.0
    for i in range(data.y.size):
        z = alpha + beta * data.income[i]
        tail = math.exp(-abs(z))
        total += data.y[i] * z - max(z, 0.0) - math.log1p(tail)
        slope = data.y[i] - (1.0 if z > 0 else tail) / (1.0 + tail)
        grad_alpha += slope
        grad_beta += slope * data.income[i]
    grad[0], grad[1] = grad_alpha, grad_beta
    return total


@cache
def nes_logit(rows: int = 1179) -> NumpyModel:
    """Votes by income, five classes; flat priors. Synthetic data of the shape of posteriordb's nes_logit_data."""
    rng = np.random.default_rng(1992)
    income = rng.integers(1, 6, size=rows).astype(float)
    y = (rng.uniform(size=rows) < 1 / (1 + np.exp(1.4 - 0.33 * income))).astype(float)

    def log_density(alpha, beta):
        z = alpha + beta * income
        return np.sum(y * z - np.logaddexp(0, z))

    def pymc():
        import pymc as pm

        with pm.Model() as model:
            alpha = pm.Flat("alpha")
            beta = pm.Flat("beta")
            pm.Bernoulli("y", logit_p=alpha + beta * income, observed=y.astype(int))
        return model

    return NumpyModel(
        name="nes_logit",
        title=f"nes logit, {rows} rows",
        log_density=log_density,
        parameters={"alpha": mp.Real(), "beta": mp.Real()},
        logp_grad=_nes_logit,
        data={"income": income, "y": y},
        pymc=pymc,
    )


@compiled
def _poisson(x, grad, data):
    n, k = data.X.shape
    total = -0.5 * dot(x, x)
    for j in range(k):
        grad[j] = -x[j]
    for i in range(n):
        z = dot(data.X[i], x)
        rate = math.exp(z)
        total += data.y[i] * z - rate
        slope = data.y[i] - rate
        for j in range(k):
            grad[j] += slope * data.X[i, j]
    return total


@cache
def poisson(rows: int = 500, columns: int = 10) -> NumpyModel:
    """Poisson regression with a log link, coefficients N(0, 1)."""
    rng = np.random.default_rng(1837)
    X = 0.5 * rng.normal(size=(rows, columns))
    y = rng.poisson(np.exp(X @ (0.5 * rng.normal(size=columns)))).astype(float)

    def log_density(beta):
        log_rate = X @ beta
        return np.sum(y * log_rate - np.exp(log_rate)) - 0.5 * np.sum(beta**2)

    def pymc():
        import pymc as pm

        with pm.Model() as model:
            beta = pm.Normal("beta", 0, 1, shape=columns)
            pm.Poisson("y", pm.math.exp(pm.math.dot(X, beta)), observed=y.astype(int))
        return model

    return NumpyModel(
        name="poisson",
        title=f"Poisson {rows} x {columns}",
        log_density=log_density,
        parameters={"beta": mp.Real(columns)},
        logp_grad=_poisson,
        data={"X": X, "y": y},
        pymc=pymc,
    )


@compiled
def digamma(x):
    """Logarithmic derivative of the gamma function, x > 0: by recurrence to x >= 10, then the asymptotic series."""
    value = 0.0
    while x < 10.0:
        value -= 1.0 / x
        x += 1.0
    w = 1.0 / (x * x)
    series = w * (1 / 12 - w * (1 / 120 - w * (1 / 252 - w * (1 / 240 - w * (1 / 132 - w * 691 / 32760)))))
    return value + math.log(x) - 0.5 / x - series


@compiled
def _robust(x, grad, data):
    n, k = data.X.shape
    sigma, nu = math.exp(x[k]), math.exp(x[k + 1])
    inverse, half = 1.0 / sigma, 0.5 * (nu + 1.0)
    ratio = sigma * sigma / 6.25
    total = n * (math.lgamma(half) - math.lgamma(0.5 * nu) - 0.5 * math.log(nu) - x[k])
    total += x[k] - math.log1p(ratio) + 2.0 * x[k + 1] - 0.1 * nu
    for j in range(k):
        total -= 0.005 * x[j] * x[j]
        grad[j] = -0.01 * x[j]
    logs, pull = 0.0, 0.0
    for i in range(n):
        z = (data.y[i] - dot(data.X[i], x[:k])) * inverse
        square = z * z / nu
        logs += math.log1p(square)
        weight = (nu + 1.0) / nu / (1.0 + square)
        pull += weight * z * z
        for j in range(k):
            grad[j] += weight * z * inverse * data.X[i, j]
    grad[k] = pull - n + 1.0 - 2.0 * ratio / (1.0 + ratio)
    slope = 0.5 * (n * (digamma(half) - digamma(0.5 * nu) - 1.0 / nu) - logs + pull / nu)
    grad[k + 1] = nu * slope + 2.0 - 0.1 * nu
    return total - half * logs


@cache
def robust(rows: int = 200, columns: int = 5) -> NumpyModel:
    """Student t regression: beta N(0, 10), sigma half-Cauchy(2.5), nu Gamma(2, 0.1)."""
    rng = np.random.default_rng(1908)
    X = np.column_stack([np.ones(rows), rng.normal(size=(rows, columns - 1))])
    y = X @ rng.normal(size=columns) + rng.standard_t(4, size=rows)

    def log_density(beta, sigma, nu):
        prior = -0.5 * np.sum((beta / 10) ** 2) - np.log1p((sigma / 2.5) ** 2) + np.log(nu) - 0.1 * nu
        z = (y - X @ beta) / sigma
        constant = special.gammaln((nu + 1) / 2) - special.gammaln(nu / 2) - 0.5 * np.log(nu) - np.log(sigma)
        return prior + np.sum(constant - (nu + 1) / 2 * np.log1p(z**2 / nu))

    def pymc():
        import pymc as pm

        with pm.Model() as model:
            beta = pm.Normal("beta", 0, 10, shape=columns)
            sigma = pm.HalfCauchy("sigma", 2.5)
            nu = pm.Gamma("nu", 2, 0.1)
            pm.StudentT("y", nu, mu=pm.math.dot(X, beta), sigma=sigma, observed=y)
        return model

    return NumpyModel(
        name="robust",
        title=f"Student t regression {rows} x {columns}",
        log_density=log_density,
        parameters={"beta": mp.Real(columns), "sigma": mp.Positive(), "nu": mp.Positive()},
        logp_grad=_robust,
        data={"X": X, "y": y},
        pymc=pymc,
    )


# -- groups -----------------------------------------------------------------------------------------------------------


@cache
def radon_data(rows: int = 919, groups: int = 85) -> tuple[Any, Any, Any]:
    """County of each row (no county without one, in no order), floor 0.0 or 1.0, log radon."""
    rng = np.random.default_rng(2006)
    sizes = rng.dirichlet(np.full(groups, 0.6))
    county = rng.permutation(np.concatenate([np.arange(groups), rng.choice(groups, rows - groups, p=sizes)]))
    basement = (rng.uniform(size=rows) < 0.17).astype(float)
    alpha, beta = 1.4 + 0.35 * rng.normal(size=groups), -0.65 + 0.3 * rng.normal(size=groups)
    return county, basement, alpha[county] + beta[county] * basement + 0.75 * rng.normal(size=rows)


@compiled
def _radon(x, grad, data):
    groups = data.groups
    mu, beta, log_spread, log_sigma = x[groups], x[groups + 1], x[groups + 2], x[groups + 3]
    precision, group_precision = math.exp(-2.0 * log_sigma), math.exp(-2.0 * log_spread)
    squares, grad_mu = 0.0, -0.01 * mu
    for j in range(groups):
        z = x[j] - mu
        squares += z * z
        grad[j] = -z * group_precision
        grad_mu += z * group_precision
    total = -0.5 * squares * group_precision - (groups - 1) * log_spread - 0.005 * (mu * mu + beta * beta)
    grad[groups + 2] = squares * group_precision - groups + 1.0
    squares, grad_beta = 0.0, 0.0
    for i in range(data.y.size):
        j = data.county[i]
        residual = data.y[i] - x[j] - beta * data.floor[i]
        squares += residual * residual
        grad[j] += residual * precision
        grad_beta += residual * data.floor[i]
    n = data.y.size
    total -= 0.5 * squares * precision + (n - 1) * log_sigma
    grad[groups + 3] = squares * precision - n + 1.0
    spread, sigma = math.exp(log_spread), math.exp(log_sigma)
    grad[groups], grad[groups + 1] = grad_mu, grad_beta * precision - 0.01 * beta
    grad[groups + 2] -= spread
    grad[groups + 3] -= sigma
    return total - spread - sigma


@cache
def radon() -> NumpyModel:
    """Varying intercepts, one slope; N(0, 10) and Exponential(1) priors."""
    county, floor, y = radon_data()
    groups = int(county.max()) + 1

    def log_density(alpha, mu, beta, spread, sigma):
        prior = -0.5 * (mu / 10) ** 2 - 0.5 * (beta / 10) ** 2 - spread - sigma
        prior = prior - 0.5 * np.sum(((alpha - mu) / spread) ** 2) - groups * np.log(spread)
        residual = (y - alpha[county] - beta * floor) / sigma
        return prior - 0.5 * np.sum(residual**2) - len(y) * np.log(sigma)

    def pymc():
        import pymc as pm

        with pm.Model() as model:
            # the groups come first among the coordinates, so their density is added by hand
            alpha = pm.Flat("alpha", shape=groups)
            mu = pm.Normal("mu", 0, 10)
            beta = pm.Normal("beta", 0, 10)
            spread = pm.Exponential("spread", 1)
            sigma = pm.Exponential("sigma", 1)
            pm.Potential("groups", pm.logp(pm.Normal.dist(mu, spread, shape=groups), alpha).sum())
            pm.Normal("y", alpha[county] + beta * floor, sigma, observed=y)
        return model

    return NumpyModel(
        name="radon",
        title=f"radon, {len(y)} rows, {groups} groups",
        log_density=log_density,
        parameters={
            "alpha": mp.Real(groups),
            "mu": mp.Real(),
            "beta": mp.Real(),
            "spread": mp.Positive(),
            "sigma": mp.Positive(),
        },
        logp_grad=_radon,
        data={"county": county, "floor": floor, "y": y, "groups": groups},
        pymc=pymc,
    )


@compiled
def _radon_slopes(x, grad, data):
    g = data.groups
    mu, log_spread, log_sigma = x[:2], x[2:4], x[4]
    total = -math.exp(log_sigma)
    precision = math.exp(-2.0 * log_sigma)
    for which in range(2):
        values, slopes = x[5 + which * g : 5 + (which + 1) * g], grad[5 + which * g : 5 + (which + 1) * g]
        spread = math.exp(log_spread[which])
        group_precision, squares, pull = 1.0 / (spread * spread), 0.0, 0.0
        for j in range(g):
            z = values[j] - mu[which]
            squares += z * z
            pull += z
            slopes[j] = -z * group_precision
        total -= 0.5 * squares * group_precision + (g - 1) * log_spread[which] + spread + 0.005 * mu[which] * mu[which]
        grad[which] = pull * group_precision - 0.01 * mu[which]
        grad[2 + which] = squares * group_precision - g + 1.0 - spread
    squares = 0.0
    for i in range(data.y.size):
        j = 5 + data.county[i]
        residual = data.y[i] - x[j] - x[j + g] * data.floor[i]
        squares += residual * residual
        grad[j] += residual * precision
        grad[j + g] += residual * precision * data.floor[i]
    n = data.y.size
    grad[4] = squares * precision - n + 1.0 - math.exp(log_sigma)
    return total - 0.5 * squares * precision - (n - 1) * log_sigma


@cache
def radon_slopes() -> NumpyModel:
    """Varying intercepts and slopes."""
    county, floor, y = radon_data()
    groups = int(county.max()) + 1

    def log_density(mu, spread, sigma, alpha, beta):
        prior = -0.5 * np.sum((mu / 10) ** 2) - np.sum(spread) - sigma
        prior = prior - 0.5 * np.sum(((alpha - mu[0]) / spread[0]) ** 2) - groups * np.log(spread[0])
        prior = prior - 0.5 * np.sum(((beta - mu[1]) / spread[1]) ** 2) - groups * np.log(spread[1])
        residual = (y - (alpha[county] + beta[county] * floor)) / sigma
        return prior - 0.5 * np.sum(residual**2) - len(y) * np.log(sigma)

    def pymc():
        import pymc as pm

        with pm.Model() as model:
            mu = pm.Normal("mu", 0, 10, shape=2)
            spread = pm.Exponential("spread", 1, shape=2)
            sigma = pm.Exponential("sigma", 1)
            alpha = pm.Normal("alpha", mu[0], spread[0], shape=groups)
            beta = pm.Normal("beta", mu[1], spread[1], shape=groups)
            pm.Normal("y", alpha[county] + beta[county] * floor, sigma, observed=y)
        return model

    return NumpyModel(
        name="radon_slopes",
        title=f"radon with slopes, {len(y)} rows, {groups} groups",
        log_density=log_density,
        parameters={
            "mu": mp.Real(2),
            "spread": mp.Positive(2),
            "sigma": mp.Positive(),
            "alpha": mp.Real(groups),
            "beta": mp.Real(groups),
        },
        logp_grad=_radon_slopes,
        data={"county": county, "floor": floor, "y": y, "groups": groups},
        pymc=pymc,
    )


@summed
def _groups(x, grad, data):
    n = data.y.size
    mu, log_tau = x[0], x[1]
    tau = math.exp(log_tau)
    precision, ratio = 1.0 / (tau * tau), tau * tau / 25.0
    squares, pull, misfit = 0.0, 0.0, 0.0
    for j in range(n):
        z = x[2 + j] - mu
        residual = data.y[j] - x[2 + j]
        squares += z * z
        pull += z
        misfit += residual * residual * data.precision[j]
        grad[2 + j] = residual * data.precision[j] - z * precision
    grad[0] = pull * precision - mu / 25.0
    grad[1] = squares * precision - n + 1.0 - 2.0 * ratio / (1.0 + ratio)
    return -0.5 * (misfit + squares * precision) - (n - 1) * log_tau - mu * mu / 50.0 - math.log1p(ratio)


@cache
def groups(n: int = 1000) -> NumpyModel:
    """Means of n groups around a mean of their own, one observation each with a known error."""
    rng = np.random.default_rng(1000)
    error = rng.uniform(0.5, 2.0, size=n)
    y = 1.0 + 2.0 * rng.normal(size=n) + error * rng.normal(size=n)

    def log_density(mu, tau, theta):
        prior = -0.5 * (mu / 5) ** 2 - np.log1p((tau / 5) ** 2)
        prior = prior - 0.5 * np.sum(((theta - mu) / tau) ** 2) - n * np.log(tau)
        return prior - 0.5 * np.sum(((y - theta) / error) ** 2)

    def pymc():
        import pymc as pm

        with pm.Model() as model:
            mu = pm.Normal("mu", 0, 5)
            tau = pm.HalfCauchy("tau", 5)
            theta = pm.Normal("theta", mu, tau, shape=n)
            pm.Normal("y", theta, error, observed=y)
        return model

    return NumpyModel(
        name="groups",
        title=f"{n} groups, d {n + 2}",
        log_density=log_density,
        parameters={"mu": mp.Real(), "tau": mp.Positive(), "theta": mp.Real(n)},
        logp_grad=_groups,
        data={"y": y, "precision": 1 / error**2},
        pymc=pymc,
    )


@compiled
def _election(x, grad, data):
    n, ages, schools, states = data.y.size, data.ages, data.schools, data.states
    z_age, z_school, z_state = 6, 6 + ages, 6 + ages + schools
    s_age, s_school, s_state = math.exp(x[3]), math.exp(x[4]), math.exp(x[5])
    total = x[3] + x[4] + x[5] - 0.5 * (s_age * s_age + s_school * s_school + s_state * s_state)
    for j in range(3):
        total -= 0.02 * x[j] * x[j]
        grad[j], grad[3 + j] = -0.04 * x[j], 0.0
    for j in range(6, x.size):
        total -= 0.5 * x[j] * x[j]
        grad[j] = 0.0
    for i in range(n):
        a, e, s = z_age + data.age[i], z_school + data.school[i], z_state + data.state[i]
        z = x[0] + x[1] * data.female[i] + x[2] * data.black[i] + s_age * x[a] + s_school * x[e] + s_state * x[s]
        tail = math.exp(-abs(z))
        total += data.y[i] * z - max(z, 0.0) - math.log1p(tail)
        slope = data.y[i] - (1.0 if z > 0 else tail) / (1.0 + tail)
        grad[0] += slope
        grad[1] += slope * data.female[i]
        grad[2] += slope * data.black[i]
        grad[a] += slope
        grad[e] += slope
        grad[s] += slope
    for j in range(z_age, z_school):
        grad[3] += grad[j] * x[j]
        grad[j] = s_age * grad[j] - x[j]
    for j in range(z_school, z_state):
        grad[4] += grad[j] * x[j]
        grad[j] = s_school * grad[j] - x[j]
    for j in range(z_state, z_state + states):
        grad[5] += grad[j] * x[j]
        grad[j] = s_state * grad[j] - x[j]
    grad[3] = s_age * grad[3] + 1.0 - s_age * s_age
    grad[4] = s_school * grad[4] + 1.0 - s_school * s_school
    grad[5] = s_state * grad[5] + 1.0 - s_state * s_state
    return total


@cache
def election(rows: int = 2000, ages: int = 4, schools: int = 4, states: int = 51) -> NumpyModel:
    """Votes by sex, race, age, schooling and state, the last three as non-centred groups (as election88 of ARM)."""
    rng = np.random.default_rng(1988)
    female, black = (rng.uniform(size=rows) < 0.55).astype(float), (rng.uniform(size=rows) < 0.1).astype(float)
    age, school = rng.integers(ages, size=rows), rng.integers(schools, size=rows)
    state = rng.permutation(np.concatenate([np.arange(states), rng.integers(states, size=rows - states)]))
    eta = 0.3 - 0.1 * female - 1.7 * black + (0.2 * rng.normal(size=ages))[age]
    eta = eta + (0.2 * rng.normal(size=schools))[school] + (0.5 * rng.normal(size=states))[state]
    y = (rng.uniform(size=rows) < 1 / (1 + np.exp(-eta))).astype(float)

    def log_density(beta, sigma, z_age, z_school, z_state):
        prior = -0.5 * np.sum((beta / 5) ** 2) - 0.5 * np.sum(sigma**2)
        prior = prior - 0.5 * (np.sum(z_age**2) + np.sum(z_school**2) + np.sum(z_state**2))
        eta = beta[0] + beta[1] * female + beta[2] * black
        eta = eta + sigma[0] * z_age[age] + sigma[1] * z_school[school] + sigma[2] * z_state[state]
        return prior + np.sum(y * eta - np.logaddexp(0, eta))

    def pymc():
        import pymc as pm

        with pm.Model() as model:
            beta = pm.Normal("beta", 0, 5, shape=3)
            sigma = pm.HalfNormal("sigma", 1, shape=3)
            z_age = pm.Normal("z_age", 0, 1, shape=ages)
            z_school = pm.Normal("z_school", 0, 1, shape=schools)
            z_state = pm.Normal("z_state", 0, 1, shape=states)
            eta = beta[0] + beta[1] * female + beta[2] * black
            eta = eta + sigma[0] * z_age[age] + sigma[1] * z_school[school] + sigma[2] * z_state[state]
            pm.Bernoulli("y", logit_p=eta, observed=y.astype(int))
        return model

    return NumpyModel(
        name="election",
        title=f"election, {rows} rows, groups of {ages}, {schools}, {states}",
        log_density=log_density,
        parameters={
            "beta": mp.Real(3),
            "sigma": mp.Positive(3),
            "z_age": mp.Real(ages),
            "z_school": mp.Real(schools),
            "z_state": mp.Real(states),
        },
        logp_grad=_election,
        data={
            "y": y,
            "female": female,
            "black": black,
            "age": age,
            "school": school,
            "state": state,
            "ages": ages,
            "schools": schools,
            "states": states,
        },
        pymc=pymc,
    )


# -- mixtures ---------------------------------------------------------------------------------------------------------


@compiled
def _mixture(x, grad, data):
    n = data.y.size
    step, s1, s2 = math.exp(x[1]), math.exp(x[2]), math.exp(x[3])
    m1, m2 = x[0], x[0] + step
    tail = math.exp(-abs(x[4]))
    theta = (1.0 if x[4] > 0 else tail) / (1.0 + tail)
    log_rest = -max(x[4], 0.0) - math.log1p(tail)  # log(1 - theta)
    log_theta = x[4] + log_rest
    i1, i2 = 1.0 / s1, 1.0 / s2
    c1, c2 = log_theta - x[2], log_rest - x[3]
    total = 5.0 * (log_theta + log_rest) - 0.125 * (m1 * m1 + m2 * m2 + s1 * s1 + s2 * s2) + x[1] + x[2] + x[3]
    first, g1, g2, q1, q2 = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(n):
        z1, z2 = (data.y[i] - m1) * i1, (data.y[i] - m2) * i2
        a, b = c1 - 0.5 * z1 * z1, c2 - 0.5 * z2 * z2
        t = math.exp(-abs(a - b))
        total += max(a, b) + math.log1p(t)
        r = (1.0 if a > b else t) / (1.0 + t)
        first += r
        g1 += r * z1
        q1 += r * z1 * z1
        g2 += (1.0 - r) * z2
        q2 += (1.0 - r) * z2 * z2
    d2 = g2 * i2 - 0.25 * m2
    grad[0] = g1 * i1 - 0.25 * m1 + d2
    grad[1] = d2 * step + 1.0
    grad[2] = q1 - first + 1.0 - 0.25 * s1 * s1
    grad[3] = q2 - (n - first) + 1.0 - 0.25 * s2 * s2
    grad[4] = first - n * theta + 5.0 * (1.0 - 2.0 * theta)
    return total


@cache
def mixture(spelling: str = "logaddexp", n: int = 1000) -> NumpyModel:
    """Two normals: low_dim_gauss_mix of posteriordb, on synthetic data; written by logaddexp or by logsumexp."""
    rng = np.random.default_rng(1894)
    y = np.where(rng.uniform(size=n) < 0.37, rng.normal(-2.75, 1.03, size=n), rng.normal(2.75, 1.02, size=n))

    def prior(mu, sigma, theta):
        return -0.5 * np.sum((mu / 2) ** 2 + (sigma / 2) ** 2) + 4 * np.log(theta) + 4 * np.log(1 - theta)

    def by_logaddexp(mu, sigma, theta):
        first = np.log(theta) - np.log(sigma[0]) - 0.5 * ((y - mu[0]) / sigma[0]) ** 2
        second = np.log(1 - theta) - np.log(sigma[1]) - 0.5 * ((y - mu[1]) / sigma[1]) ** 2
        return prior(mu, sigma, theta) + np.sum(np.logaddexp(first, second))

    def by_logsumexp(mu, sigma, theta):
        weights = np.stack([theta, 1 - theta])
        terms = np.log(weights) - np.log(sigma) - 0.5 * ((y[:, None] - mu) / sigma) ** 2
        return prior(mu, sigma, theta) + np.sum(special.logsumexp(terms, axis=1))

    def pymc():
        import pymc as pm

        with pm.Model() as model:
            mu = pm.Normal("mu", 0, 2, shape=2, transform=pm.distributions.transforms.ordered, initval=[-1, 1])
            sigma = pm.HalfNormal("sigma", 2, shape=2)
            theta = pm.Beta("theta", 5, 5)
            pm.NormalMixture("y", w=pm.math.stack([theta, 1 - theta]), mu=mu, sigma=sigma, observed=y)
        return model

    return NumpyModel(
        name="mixture" if spelling == "logaddexp" else f"mixture_{spelling}",
        title=f"mixture, n {n}, by {spelling}",
        log_density={"logaddexp": by_logaddexp, "logsumexp": by_logsumexp}[spelling],
        parameters={"mu": mp.Ordered(2), "sigma": mp.Positive(2), "theta": mp.Interval(0, 1)},
        logp_grad=_mixture,
        data={"y": y},
        pymc=pymc if spelling == "logaddexp" else None,
    )


@compiled
def _mixture3(x, grad, data):
    n = data.y.size
    # weights: x[6:8] times the basis of the simplex
    a, b = x[6] / math.sqrt(2.0), x[7] / math.sqrt(6.0)
    v1, v2, v3 = a + b, b - a, -2.0 * b
    top = max(v1, v2, v3)
    log_sum = top + math.log(math.exp(v1 - top) + math.exp(v2 - top) + math.exp(v3 - top))
    w1, w2, w3 = v1 - log_sum, v2 - log_sum, v3 - log_sum  # logs
    e1, e2 = math.exp(x[1]), math.exp(x[2])
    m1, m2, m3 = x[0], x[0] + e1, x[0] + e1 + e2
    s1, s2, s3 = math.exp(x[3]), math.exp(x[4]), math.exp(x[5])
    i1, i2, i3 = 1.0 / s1, 1.0 / s2, 1.0 / s3
    c1, c2, c3 = w1 - x[3], w2 - x[4], w3 - x[5]
    total = w1 + w2 + w3 + x[1] + x[2] + x[3] + x[4] + x[5]
    total -= 0.02 * (m1 * m1 + m2 * m2 + m3 * m3) + 0.125 * (s1 * s1 + s2 * s2 + s3 * s3)
    n1, n2, n3, g1, g2, g3, q1, q2, q3 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(n):
        z1, z2, z3 = (data.y[i] - m1) * i1, (data.y[i] - m2) * i2, (data.y[i] - m3) * i3
        t1, t2, t3 = c1 - 0.5 * z1 * z1, c2 - 0.5 * z2 * z2, c3 - 0.5 * z3 * z3
        top = max(t1, t2, t3)
        t1, t2, t3 = math.exp(t1 - top), math.exp(t2 - top), math.exp(t3 - top)
        share = t1 + t2 + t3
        total += top + math.log(share)
        share = 1.0 / share
        t1, t2, t3 = t1 * share, t2 * share, t3 * share
        n1 += t1
        n2 += t2
        n3 += t3
        g1 += t1 * z1
        g2 += t2 * z2
        g3 += t3 * z3
        q1 += t1 * z1 * z1
        q2 += t2 * z2 * z2
        q3 += t3 * z3 * z3
    d2, d3 = g2 * i2 - 0.04 * m2, g3 * i3 - 0.04 * m3
    grad[0] = g1 * i1 - 0.04 * m1 + d2 + d3
    grad[1] = (d2 + d3) * e1 + 1.0
    grad[2] = d3 * e2 + 1.0
    grad[3] = q1 - n1 + 1.0 - 0.25 * s1 * s1
    grad[4] = q2 - n2 + 1.0 - 0.25 * s2 * s2
    grad[5] = q3 - n3 + 1.0 - 0.25 * s3 * s3
    v1 = n1 + 1.0 - (n + 3.0) * math.exp(w1)
    v2 = n2 + 1.0 - (n + 3.0) * math.exp(w2)
    v3 = n3 + 1.0 - (n + 3.0) * math.exp(w3)
    grad[6] = (v1 - v2) / math.sqrt(2.0)
    grad[7] = (v1 + v2 - 2.0 * v3) / math.sqrt(6.0)
    return total


@cache
def mixture3(n: int = 1000) -> NumpyModel:
    """Three normals: Simplex weights, Ordered means."""
    rng = np.random.default_rng(1895)
    y = np.array([-4.0, 0.0, 3.0])[rng.choice(3, size=n, p=[0.2, 0.5, 0.3])] + rng.normal(size=n)

    def log_density(mu, sigma, weights):
        prior = -0.5 * np.sum((mu / 5) ** 2) - 0.5 * np.sum((sigma / 2) ** 2)
        terms = np.log(weights) - np.log(sigma) - 0.5 * ((y[:, None] - mu) / sigma) ** 2
        return prior + np.sum(special.logsumexp(terms, axis=1))

    return NumpyModel(
        name="mixture3",
        title=f"mixture of three, n {n}",
        log_density=log_density,
        parameters={"mu": mp.Ordered(3), "sigma": mp.Positive(3), "weights": mp.Simplex(3)},
        logp_grad=_mixture3,
        data={"y": y},
    )


# -- loops over time --------------------------------------------------------------------------------------------------


@compiled
def logit(u):
    """The standard logistic function at u, one minus it, and the log of their product."""
    tail = math.exp(-abs(u))
    larger, smaller = 1.0 / (1.0 + tail), tail / (1.0 + tail)
    log_product = -abs(u) - 2.0 * math.log1p(tail)
    return (larger, smaller, log_product) if u > 0 else (smaller, larger, log_product)


@compiled
def _garch(x, grad, data):
    mu, alpha0 = x[0], math.exp(x[1])
    alpha1, rest, jacobian1 = logit(x[2])
    share, rest_share, jacobian2 = logit(x[3])
    beta1 = rest * share
    total = x[1] + jacobian1 + jacobian2 + math.log(rest)
    h = data.first
    # derivatives of the variance by mu, alpha0, alpha1, beta1, carried along
    h_mu, h_0, h_1, h_b = 0.0, 0.0, 0.0, 0.0
    g_mu, g_0, g_1, g_b = 0.0, 0.0, 0.0, 0.0
    for t in range(data.y.size):
        e = data.y[t] - mu
        inverse = 1.0 / h
        square = e * e
        total -= 0.5 * (math.log(h) + square * inverse)
        slope = 0.5 * inverse * (square * inverse - 1.0)
        g_mu += e * inverse + slope * h_mu
        g_0 += slope * h_0
        g_1 += slope * h_1
        g_b += slope * h_b
        h_mu = beta1 * h_mu - 2.0 * alpha1 * e
        h_0 = beta1 * h_0 + 1.0
        h_1 = beta1 * h_1 + square
        h_b = beta1 * h_b + h
        h = alpha0 + alpha1 * square + beta1 * h
    grad[0], grad[1] = g_mu, alpha0 * g_0 + 1.0
    grad[2] = alpha1 * rest * (g_1 - share * g_b) + 1.0 - 3.0 * alpha1
    grad[3] = beta1 * rest_share * g_b + 1.0 - 2.0 * share
    return total


@cache
def garch(length: int = 200) -> NumpyModel:
    """GARCH(1, 1) as a Python loop: garch11 of posteriordb on synthetic data, beta1 = (1 - alpha1) share."""
    rng = np.random.default_rng(1986)
    h, values = 1.5, []
    for _ in range(length):
        values.append(5.0 + math.sqrt(h) * rng.normal())
        h = 1.5 + 0.3 * (values[-1] - 5.0) ** 2 + 0.4 * h
    y, first = np.array(values), 1.5

    def log_density(mu, alpha0, alpha1, share):
        beta1 = (1 - alpha1) * share
        total, h = np.log(1 - alpha1), first
        for t in range(length):
            total = total - 0.5 * np.log(h) - 0.5 * (y[t] - mu) ** 2 / h
            h = alpha0 + alpha1 * (y[t] - mu) ** 2 + beta1 * h
        return total

    def jax():
        import jax
        import jax.numpy as jnp

        def log_density(mu, alpha0, alpha1, share):
            def step(h, y):
                square = (y - mu) ** 2
                return alpha0 + alpha1 * square + (1 - alpha1) * share * h, -0.5 * jnp.log(h) - 0.5 * square / h

            return jnp.log(1 - alpha1) + jnp.sum(jax.lax.scan(step, jnp.asarray(first), y)[1])

        return log_density

    def pymc():
        import pymc as pm
        import pytensor
        import pytensor.tensor as pt

        with pm.Model() as model:
            mu = pm.Flat("mu")
            alpha0 = pm.HalfFlat("alpha0")
            alpha1 = pm.Uniform("alpha1", 0, 1)
            share = pm.Uniform("share", 0, 1)
            pm.Potential("jacobian", pt.log1p(-alpha1))
            squares = (y[:-1] - mu) ** 2
            h = pytensor.scan(
                lambda square, h, alpha0, alpha1, beta1: alpha0 + alpha1 * square + beta1 * h,
                sequences=[squares],
                outputs_info=[pt.constant(first, dtype="float64")],
                non_sequences=[alpha0, alpha1, (1 - alpha1) * share],
                strict=True,
                return_updates=False,
            )
            pm.Normal("y", mu, pt.sqrt(pt.concatenate([[first], h])), observed=y)
        return model

    return NumpyModel(
        name="garch",
        title=f"GARCH loop, T {length}",
        log_density=log_density,
        parameters={"mu": mp.Real(), "alpha0": mp.Positive(), "alpha1": mp.Interval(0, 1), "share": mp.Interval(0, 1)},
        logp_grad=_garch,
        data={"y": y, "first": first},
        pymc=pymc,
        jax=jax,
    )


@compiled
def _hmm(x, grad, data):
    n = data.y.size
    p1, q1, jacobian1 = logit(x[0])  # of staying in the first state, of leaving it
    p2, q2, jacobian2 = logit(x[1])
    step = math.exp(x[3])
    m1, m2 = x[2], x[2] + step
    total = jacobian1 + jacobian2 + x[3] - 0.5 * ((m1 - 3.0) ** 2 + (m2 - 10.0) ** 2)
    forward, weight, scale = np.empty((n, 2)), np.empty((n, 2)), np.empty(n)
    a1, a2 = 1.0, 1.0
    for t in range(n):
        z1, z2 = data.y[t] - m1, data.y[t] - m2
        l1, l2 = -0.5 * z1 * z1, -0.5 * z2 * z2
        top = max(l1, l2)
        weight[t, 0], weight[t, 1] = math.exp(l1 - top), math.exp(l2 - top)
        if t:
            a1, a2 = a1 * p1 + a2 * q2, a1 * q1 + a2 * p2
        a1, a2 = a1 * weight[t, 0], a2 * weight[t, 1]
        scale[t] = 1.0 / (a1 + a2)
        total += top - math.log(scale[t])
        a1, a2 = a1 * scale[t], a2 * scale[t]
        forward[t, 0], forward[t, 1] = a1, a2
    b1, b2 = 1.0, 1.0
    d1, d2, g1, g2 = 0.0, 0.0, 0.0, 0.0
    for t in range(n - 1, -1, -1):
        g1 += forward[t, 0] * b1 * (data.y[t] - m1)
        g2 += forward[t, 1] * b2 * (data.y[t] - m2)
        if t:
            w1, w2 = weight[t, 0] * b1 * scale[t], weight[t, 1] * b2 * scale[t]
            d1 += forward[t - 1, 0] * (w1 - w2)
            d2 += forward[t - 1, 1] * (w2 - w1)
            b1, b2 = p1 * w1 + q1 * w2, q2 * w1 + p2 * w2
    g2 -= m2 - 10.0
    grad[0] = d1 * p1 * q1 + q1 - p1
    grad[1] = d2 * p2 * q2 + q2 - p2
    grad[2] = g1 - (m1 - 3.0) + g2
    grad[3] = g2 * step + 1.0
    return total


@cache
def hmm(length: int = 50) -> NumpyModel:
    """Forward algorithm of two states as a Python loop; as hmm_example of posteriordb (T 100), on synthetic data."""
    rng = np.random.default_rng(1966)
    state, values = 0, []
    for _ in range(length):
        values.append(rng.normal((3.0, 9.0)[state]))
        state = state if rng.uniform() < (0.7, 0.8)[state] else 1 - state
    y = np.array(values)

    def log_density(stay, mu):
        prior = -0.5 * (mu[0] - 3) ** 2 - 0.5 * (mu[1] - 10) ** 2
        log_stay, log_leave = np.log(stay), np.log(1 - stay)
        first, second = -0.5 * (y[0] - mu[0]) ** 2, -0.5 * (y[0] - mu[1]) ** 2
        for t in range(1, length):
            into_first = np.logaddexp(first + log_stay[0], second + log_leave[1])
            into_second = np.logaddexp(first + log_leave[0], second + log_stay[1])
            first = into_first - 0.5 * (y[t] - mu[0]) ** 2
            second = into_second - 0.5 * (y[t] - mu[1]) ** 2
        return prior + np.logaddexp(first, second)

    def jax():
        import jax
        import jax.numpy as jnp

        def log_density(stay, mu):
            log_a = jnp.log(jnp.array([[stay[0], 1 - stay[0]], [1 - stay[1], stay[1]]]))
            emission = -0.5 * (y[:, None] - mu) ** 2

            def step(forward, e):
                return jax.scipy.special.logsumexp(forward[:, None] + log_a, axis=0) + e, None

            last, _ = jax.lax.scan(step, emission[0], emission[1:])
            prior = -0.5 * (mu[0] - 3) ** 2 - 0.5 * (mu[1] - 10) ** 2
            return prior + jax.scipy.special.logsumexp(last)

        return log_density

    def pymc():
        import pymc as pm
        import pytensor
        import pytensor.tensor as pt

        with pm.Model() as model:
            stay = pm.Uniform("stay", 0, 1, shape=2)
            mu = pm.Normal(
                "mu", [3, 10], 1, shape=2, transform=pm.distributions.transforms.ordered, initval=[3.0, 10.0]
            )
            emission = -0.5 * (y[:, None] - mu) ** 2

            def add(a, b):
                # pt.logaddexp relies on a rewrite that Numba's mode does not make inside a scan
                return pt.maximum(a, b) + pt.log1p(pt.exp(-pt.abs(a - b)))

            def step(e, first, second, log_stay, log_leave):
                into_first = add(first + log_stay[0], second + log_leave[1])
                into_second = add(first + log_leave[0], second + log_stay[1])
                return into_first + e[0], into_second + e[1]

            first, second = pytensor.scan(
                step,
                sequences=[emission[1:]],
                outputs_info=[emission[0, 0], emission[0, 1]],
                non_sequences=[pt.log(stay), pt.log(1 - stay)],
                strict=True,
                return_updates=False,
            )
            pm.Potential("y", add(first[-1], second[-1]))
        return model

    return NumpyModel(
        name="hmm" if length == 50 else f"hmm{length}",
        title=f"HMM forward loop, T {length}",
        log_density=log_density,
        parameters={"stay": mp.Interval(0, 1, 2), "mu": mp.Ordered(2)},
        logp_grad=_hmm,
        data={"y": y},
        pymc=pymc,
        jax=jax,
    )


# -- Gaussian processes -----------------------------------------------------------------------------------------------


@summed
def _gp(x, grad, data):
    n = data.y.size
    rho2, alpha2, sigma2 = math.exp(2.0 * x[0]), math.exp(2.0 * x[1]), math.exp(2.0 * x[2])
    kernel = np.empty((n, n))
    for i in range(n):
        for j in range(i):
            kernel[i, j] = alpha2 * math.exp(-0.5 * data.squared[i, j] / rho2)
            kernel[j, i] = kernel[i, j]
        kernel[i, i] = alpha2 + sigma2
    factor = np.linalg.cholesky(kernel)
    total = x[0] + x[1] + x[2] - 0.5 * (rho2 + alpha2 + sigma2)
    inverse = np.zeros((n, n))  # of the factor, row by row
    whitened, weights = np.empty(n), np.zeros(n)
    for i in range(n):
        for k in range(i):
            c = factor[i, k]
            for j in range(k + 1):
                inverse[i, j] -= c * inverse[k, j]
        scale = 1.0 / factor[i, i]
        inverse[i, i] = 1.0
        z = 0.0
        for j in range(i + 1):
            inverse[i, j] *= scale
            z += inverse[i, j] * data.y[j]
        for j in range(i + 1):
            weights[j] += inverse[i, j] * z
        whitened[i] = z
        total -= 0.5 * z * z + math.log(factor[i, i])
    precision = np.zeros((n, n))  # lower half of the inverse of the matrix
    for k in range(n):
        for i in range(k + 1):
            c = inverse[k, i]
            for j in range(i + 1):
                precision[i, j] += c * inverse[k, j]
    by_rho, by_alpha, by_sigma = 0.0, 0.0, 0.0
    for i in range(n):
        for j in range(i):
            pull = (weights[i] * weights[j] - precision[i, j]) * kernel[i, j]
            by_rho += pull * data.squared[i, j]
            by_alpha += pull
        pull = 0.5 * (weights[i] * weights[i] - precision[i, i])
        by_alpha += pull * alpha2
        by_sigma += pull
    grad[0] = by_rho / rho2 + 1.0 - rho2
    grad[1] = 2.0 * by_alpha + 1.0 - alpha2
    grad[2] = 2.0 * by_sigma * sigma2 + 1.0 - sigma2
    return total


@cache
def gp(n: int, spelling: str = "solve") -> NumpyModel:
    """Gaussian process regression with a squared exponential kernel: length rho, height alpha, noise sigma."""
    rng = np.random.default_rng(1951)
    t = np.linspace(0, 10, n)
    squared = (t[:, None] - t) ** 2
    y = np.sin(t) + 0.3 * rng.normal(size=n)

    def by_solve(rho, alpha, sigma):
        K = alpha**2 * np.exp(-0.5 * squared / rho**2) + sigma**2 * np.eye(n)
        L = np.linalg.cholesky(K)
        z = np.linalg.solve(L, y)
        return -0.5 * np.sum(z**2) - np.sum(np.log(np.diag(L))) - 0.5 * (rho**2 + alpha**2 + sigma**2)

    def by_triangular(rho, alpha, sigma):
        K = alpha**2 * np.exp(-0.5 * squared / rho**2) + sigma**2 * np.eye(n)
        L = np.linalg.cholesky(K)
        z = linalg.solve_triangular(L, y, lower=True)
        return -0.5 * np.sum(z**2) - np.sum(np.log(np.diag(L))) - 0.5 * (rho**2 + alpha**2 + sigma**2)

    def pymc():
        import pymc as pm
        import pytensor.tensor as pt

        with pm.Model() as model:
            rho = pm.HalfNormal("rho", 1)
            alpha = pm.HalfNormal("alpha", 1)
            sigma = pm.HalfNormal("sigma", 1)
            K = alpha**2 * pt.exp(-0.5 * squared / rho**2) + sigma**2 * np.eye(n)
            pm.MvNormal("y", np.zeros(n), cov=K, observed=y)
        return model

    return NumpyModel(
        name=f"gp{n}" if spelling == "solve" else f"gp{n}_{spelling}",
        title=f"GP n {n}, by {'np.linalg.solve' if spelling == 'solve' else 'solve_triangular'}",
        log_density={"solve": by_solve, "triangular": by_triangular}[spelling],
        parameters={"rho": mp.Positive(), "alpha": mp.Positive(), "sigma": mp.Positive()},
        logp_grad=_gp,
        data={"y": y, "squared": squared},
        pymc=pymc if spelling == "solve" else None,
    )


@compiled
def _gp_poisson(x, grad, data):
    n = data.y.size
    rho, alpha2 = math.exp(x[0]), math.exp(2.0 * x[1])
    rho2 = rho * rho
    total = 25.0 * x[0] - 4.0 * rho + x[1] - 0.125 * alpha2
    kernel, factor, adjoint = np.empty((n, n)), np.empty((n, n)), np.empty((n, n))
    for i in range(n):
        for j in range(i + 1):
            kernel[i, j] = alpha2 * math.exp(-0.5 * data.squared[i, j] / rho2)
            c = kernel[i, j] + (1e-10 if i == j else 0.0)
            for k in range(j):
                c -= factor[i, k] * factor[j, k]
            if i == j:
                if not c > 0.0:
                    return -np.inf
                factor[i, i] = math.sqrt(c)
            else:
                factor[i, j] = c / factor[j, j]
    for j in range(n):
        total -= 0.5 * x[2 + j] * x[2 + j]
        grad[2 + j] = -x[2 + j]
    for i in range(n):
        f = 0.0
        for j in range(i + 1):
            f += factor[i, j] * x[2 + j]
        rate = math.exp(f)
        total += data.y[i] * f - rate
        for j in range(i + 1):
            adjoint[i, j] = (data.y[i] - rate) * x[2 + j]
            grad[2 + j] += (data.y[i] - rate) * factor[i, j]
    # back through the factorisation (Smith 1995, Differentiation of the Cholesky algorithm)
    by_rho, by_alpha = 0.0, 0.0
    for k in range(n - 1, -1, -1):
        for j in range(k + 1, n):
            for i in range(j, n):
                adjoint[i, k] -= adjoint[i, j] * factor[j, k]
                adjoint[j, k] -= adjoint[i, j] * factor[i, k]
        for j in range(k + 1, n):
            adjoint[j, k] /= factor[k, k]
            adjoint[k, k] -= factor[j, k] * adjoint[j, k]
        adjoint[k, k] *= 0.5 / factor[k, k]
        for j in range(k, n):
            pull = adjoint[j, k] * kernel[j, k]
            by_rho += pull * data.squared[j, k]
            by_alpha += pull
    grad[0] = by_rho / rho2 + 25.0 - 4.0 * rho
    grad[1] = 2.0 * by_alpha + 1.0 - 0.25 * alpha2
    return total


@cache
def gp_poisson(n: int = 11) -> NumpyModel:
    """Counts with a Gaussian process as log rate: gp_pois_regr of posteriordb, on synthetic data."""
    rng = np.random.default_rng(1955)
    t = np.linspace(-10, 10, n)
    squared = (t[:, None] - t) ** 2
    factor = np.linalg.cholesky(4.0 * np.exp(-0.5 * squared / 6.0**2) + 1e-10 * np.eye(n))
    y = rng.poisson(np.exp(1.0 + 0.5 * factor @ rng.normal(size=n))).astype(float)

    def log_density(rho, alpha, f_tilde):
        prior = 24 * np.log(rho) - 4 * rho - 0.5 * (alpha / 2) ** 2 - 0.5 * np.sum(f_tilde**2)
        K = alpha**2 * np.exp(-0.5 * squared / rho**2) + 1e-10 * np.eye(n)
        f = np.linalg.cholesky(K) @ f_tilde
        return prior + np.sum(y * f - np.exp(f))

    def pymc():
        import pymc as pm
        import pytensor.tensor as pt

        with pm.Model() as model:
            rho = pm.Gamma("rho", 25, 4)
            alpha = pm.HalfNormal("alpha", 2)
            f_tilde = pm.Normal("f_tilde", 0, 1, shape=n)
            K = alpha**2 * pt.exp(-0.5 * squared / rho**2) + 1e-10 * np.eye(n)
            pm.Poisson("y", pt.exp(pt.linalg.cholesky(K) @ f_tilde), observed=y.astype(int))
        return model

    return NumpyModel(
        name="gp_poisson",
        title=f"GP Poisson, n {n}",
        log_density=log_density,
        parameters={"rho": mp.Positive(), "alpha": mp.Positive(), "f_tilde": mp.Real(n)},
        logp_grad=_gp_poisson,
        data={"y": y, "squared": squared},
        pymc=pymc,
    )


# -- other posteriors of posteriordb ----------------------------------------------------------------------------------


@compiled
def _dugongs(x, grad, data):
    n = data.y.size
    alpha, beta = x[0], x[1]
    s, rest, jacobian = logit(x[2])
    log_lam, tau = math.log(0.5 + 0.5 * s), math.exp(x[3])
    squares, sum_r, sum_rp, sum_arp = 0.0, 0.0, 0.0, 0.0
    for i in range(n):
        power = math.exp(data.age[i] * log_lam)
        residual = data.y[i] - alpha + beta * power
        squares += residual * residual
        sum_r += residual
        sum_rp += residual * power
        sum_arp += data.age[i] * residual * power
    grad[0] = tau * sum_r - 1e-6 * alpha
    grad[1] = -tau * sum_rp - 1e-6 * beta
    grad[2] = -tau * beta * sum_arp * s * rest / (1.0 + s) + rest - s
    grad[3] = 0.5 * n + 1e-4 - tau * (0.5 * squares + 1e-4)
    prior = -0.5e-6 * (alpha * alpha + beta * beta) + jacobian + 1e-4 * (x[3] - tau)
    return prior + 0.5 * n * x[3] - 0.5 * tau * squares


@cache
def dugongs(n: int = 27) -> NumpyModel:
    """Growth of sea cows, alpha - beta lambda^age: dugongs of posteriordb, on synthetic data."""
    rng = np.random.default_rng(1983)
    age = np.sort(rng.uniform(1.0, 31.5, size=n)).round(1)
    y = 2.65 - 0.97 * 0.87**age + 0.09 * rng.normal(size=n)

    def log_density(alpha, beta, lam, tau):
        prior = -0.5 * (alpha / 1000) ** 2 - 0.5 * (beta / 1000) ** 2 + (1e-4 - 1) * np.log(tau) - 1e-4 * tau
        residual = y - (alpha - beta * lam**age)
        return prior + 0.5 * n * np.log(tau) - 0.5 * tau * np.sum(residual**2)

    def pymc():
        import pymc as pm

        with pm.Model() as model:
            alpha = pm.Normal("alpha", 0, 1000)
            beta = pm.Normal("beta", 0, 1000)
            lam = pm.Uniform("lam", 0.5, 1)
            tau = pm.Gamma("tau", 1e-4, 1e-4, initval=1.0)
            pm.Normal("y", alpha - beta * lam**age, tau=tau, observed=y)
        return model

    return NumpyModel(
        name="dugongs",
        title=f"dugongs, n {n}",
        log_density=log_density,
        parameters={"alpha": mp.Real(), "beta": mp.Real(), "lam": mp.Interval(0.5, 1), "tau": mp.Positive()},
        logp_grad=_dugongs,
        data={"age": age, "y": y},
        pymc=pymc,
    )


@compiled
def _dogs(x, grad, data):
    a, rest_a, jacobian_a = logit(x[0])
    b, rest_b, jacobian_b = logit(x[1])
    log_a, log_b = math.log(a), math.log(b)
    total, by_a, by_b = jacobian_a + jacobian_b, 0.0, 0.0
    for i in range(data.shocked.shape[0]):
        for t in range(data.shocked.shape[1]):
            avoided, shocks = data.avoided[i, t], data.shocks[i, t]
            log_p = avoided * log_a + shocks * log_b
            if data.shocked[i, t]:
                total += log_p
                slope = 1.0
            else:
                p = math.exp(log_p)
                total += math.log1p(-p)
                slope = -p / (1.0 - p)
            by_a += slope * avoided
            by_b += slope * shocks
    grad[0] = rest_a * by_a + rest_a - a
    grad[1] = rest_b * by_b + rest_b - b
    return total


@cache
def dogs(n_dogs: int = 30, n_trials: int = 25) -> NumpyModel:
    """Dogs that learn to avoid a shock, p = a^avoided b^shocks: dogs_log of posteriordb, on synthetic data.

    The first trial of each dog, a shock for certain, is left out.
    """
    rng = np.random.default_rng(1953)
    shocked = np.ones((n_dogs, n_trials), dtype=bool)
    for t in range(1, n_trials):
        before = shocked[:, :t].sum(axis=1)
        shocked[:, t] = rng.uniform(size=n_dogs) < 0.79 ** (t - before) * 0.92**before
    shocks = (np.cumsum(shocked, axis=1) - shocked)[:, 1:].astype(float)
    avoided = np.arange(1, n_trials) - shocks
    shocked = shocked[:, 1:].copy()

    def log_density(a, b):
        log_p = avoided * np.log(a) + shocks * np.log(b)
        return np.sum(np.where(shocked, log_p, np.log1p(-np.exp(log_p))))

    def pymc():
        import pymc as pm

        with pm.Model() as model:
            a = pm.Uniform("a", 0, 1)
            b = pm.Uniform("b", 0, 1)
            p = pm.math.exp(avoided * pm.math.log(a) + shocks * pm.math.log(b))
            pm.Bernoulli("y", p=p, observed=shocked.astype(int))
        return model

    return NumpyModel(
        name="dogs",
        title=f"dogs, {n_dogs} x {n_trials - 1}",
        log_density=log_density,
        parameters={"a": mp.Interval(0, 1), "b": mp.Interval(0, 1)},
        logp_grad=_dogs,
        data={"shocked": shocked, "avoided": avoided, "shocks": shocks},
        pymc=pymc,
    )


MODELS: dict[str, Callable[[], NumpyModel]] = {
    "schools": schools,
    "kidiq": kidiq,
    "nes": lambda: linear("nes", 701, 9),
    "earnings": earnings,
    "logistic": lambda: logistic("logistic", 1000, 25),
    "logistic_large": lambda: logistic("logistic_large", 20_000, 50),
    "radon": radon,
    "groups": groups,
    "mixture": mixture,
    "garch": garch,
    "gp11": lambda: gp(11),
    "gp100": lambda: gp(100),
    "gp11_triangular": lambda: gp(11, "triangular"),
    "gp100_triangular": lambda: gp(100, "triangular"),
    "mixture_logsumexp": lambda: mixture("logsumexp"),
    "mixture3": mixture3,
    "radon_slopes": radon_slopes,
    "poisson": poisson,
    "robust": robust,
    "hmm": hmm,
    "hmm100": lambda: hmm(100),
    "ark": ark,
    "blr": blr,
    "mesquite": lambda: linear("mesquite", 46, 7),
    "nes_logit": nes_logit,
    "dugongs": dugongs,
    "dogs": dogs,
    "gp_poisson": gp_poisson,
    "election": election,
}
# The ten rows of shared/specs/array_program.md over which the geometric mean is taken: those the prototype ran.
TEN = ("schools", "kidiq", "nes", "earnings", "logistic", "logistic_large", "radon", "groups", "mixture", "garch")
# The posteriors of the comparison of whole NUTS runs: five of posteriordb, and eight of the same shapes.
THIRTEEN = (
    "ark", "earnings", "schools", "kidiq", "blr", "dugongs", "dogs", "mixture", "nes_logit", "garch", "hmm100",
    "gp_poisson", "election",
)  # fmt: skip
