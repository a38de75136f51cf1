"""SciPy functions that are no ufuncs, in NumPy functions that trace; tracing_makers.py puts them in.

Log densities of scipy.stats are those of SciPy's documentation, for the standardised argument z = (x - loc) / scale;
outside the support they are -inf.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import special

from .tracing import Untraceable, kind_of, lift

# NumPy without its type stubs, which know nothing of traced arguments
_np: Any = np


# -- scipy.special and scipy.linalg ----------------------------------------------------------------------------------


def _logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False) -> Any:
    if return_sign:
        raise Untraceable("logsumexp(return_sign=True) cannot be traced")
    a = lift(a, kind_of(a, b)) if b is None else a + _np.log(b)
    return _np.logaddexp.reduce(a, axis=axis, keepdims=keepdims)


def _log_softmax(x: Any, axis: Any = None) -> Any:
    return x - _logsumexp(x, axis, keepdims=True)


def _cholesky(a: Any, lower: bool = False, *args: Any, **kwargs: Any) -> Any:
    factor = _np.linalg.cholesky(a)
    return factor if lower else factor.T


def _solve_triangular(
    a: Any, b: Any, trans: Any = 0, lower: bool = False, unit_diagonal: bool = False, *args: Any, **kwargs: Any
) -> Any:
    half = _np.tril if lower else _np.triu
    a = half(a, -1 if lower else 1) + np.eye(len(a)) if unit_diagonal else half(a)
    return _np.linalg.solve(a if trans in (0, "N") else a.T, b)


def _cho_factor(a: Any, lower: bool = False, *args: Any, **kwargs: Any) -> Any:
    return _cholesky(a, lower), lower


def _cho_solve(c_and_lower: Any, b: Any, *args: Any, **kwargs: Any) -> Any:
    c, lower = c_and_lower
    return _solve_triangular(c, _solve_triangular(c, b, 0 if lower else 1, lower), 1 if lower else 0, lower)


def _toeplitz(c: Any, r: Any = None) -> Any:
    c = _np.ravel(c)
    r = c if r is None else _np.ravel(r)
    below = np.subtract.outer(np.arange(len(c)), np.arange(len(r)))
    return _np.where(below >= 0, c[np.maximum(below, 0)], r[np.maximum(-below, 0)])


PLAIN: dict[tuple[str, str], Callable[..., Any]] = {
    ("scipy.special", "logsumexp"): _logsumexp,
    ("scipy.special", "log_softmax"): _log_softmax,
    ("scipy.special", "softmax"): lambda x, axis=None: _np.exp(_log_softmax(x, axis)),
    ("scipy.linalg", "cholesky"): _cholesky,
    ("scipy.linalg", "solve_triangular"): _solve_triangular,
    ("scipy.linalg", "cho_factor"): _cho_factor,
    ("scipy.linalg", "cho_solve"): _cho_solve,
    ("scipy.linalg", "solve"): lambda a, b, *args, **kwargs: _np.linalg.solve(a, b),
    ("scipy.linalg", "inv"): lambda a, *args, **kwargs: _np.linalg.inv(a),
    ("scipy.linalg", "det"): lambda a, *args, **kwargs: _np.linalg.det(a),
    ("scipy.linalg", "toeplitz"): _toeplitz,
}


# -- scipy.stats -----------------------------------------------------------------------------------------------------


def _at_least(bound: float, log_density: Callable[..., Any]) -> Callable[..., Any]:
    """The log density for z >= bound, -inf below; z there is replaced, so that no NaN arises on the way."""

    def inside(z: Any, *shapes: Any) -> Any:
        held = z >= bound
        return _np.where(held, log_density(_np.where(held, z, bound + 1.0), *shapes), -np.inf)

    return inside


def _within_unit(log_density: Callable[..., Any]) -> Callable[..., Any]:
    def inside(z: Any, *shapes: Any) -> Any:
        held = (z >= 0) & (z <= 1)
        return _np.where(held, log_density(_np.where(held, z, 0.5), *shapes), -np.inf)

    return inside


def _count(log_mass: Callable[..., Any], most: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """The log mass of k = 0, 1, ... (up to `most` of the shapes), -inf elsewhere."""

    def inside(k: Any, *shapes: Any) -> Any:
        held = (k >= 0) & (_np.floor(k) == k)
        if most is not None:
            held = held & (k <= most(*shapes))
        return _np.where(held, log_mass(_np.where(held, k, 0.0), *shapes), -np.inf)

    return inside


def _log_normal(z: Any) -> Any:
    return -0.5 * z * z - 0.5 * math.log(2 * math.pi)


def _student(z: Any, df: Any) -> Any:
    size = special.gammaln(0.5 * (df + 1)) - special.gammaln(0.5 * df) - 0.5 * _np.log(math.pi * df)
    return size - 0.5 * (df + 1) * _np.log1p(z * z / df)


def _log_choose(n: Any, k: Any) -> Any:
    return special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)


def _log_geometric(failures: Any, p: Any) -> Any:
    return special.xlog1py(failures, -p) + _np.log(p)


def _gamma(z: Any, a: Any) -> Any:
    return special.xlogy(a - 1, z) - z - special.gammaln(a)


STANDARD: dict[str, Callable[..., Any]] = {
    "norm": _log_normal,
    "halfnorm": _at_least(0, lambda z: _log_normal(z) + math.log(2)),
    "t": _student,
    "cauchy": lambda z: -_np.log1p(z * z) - math.log(math.pi),
    "halfcauchy": _at_least(0, lambda z: math.log(2 / math.pi) - _np.log1p(z * z)),
    "laplace": lambda z: -_np.abs(z) - math.log(2),
    "logistic": lambda z: -z - 2 * _np.logaddexp(0, -z),
    "gumbel_r": lambda z: -z - _np.exp(-z),
    "uniform": _within_unit(lambda z: 0 * z),
    "expon": _at_least(0, lambda z: -z),
    "gamma": _at_least(0, _gamma),
    "chi2": _at_least(0, lambda z, df: _gamma(0.5 * z, 0.5 * df) - math.log(2)),
    "invgamma": _at_least(0, lambda z, a: -(a + 1) * _np.log(z) - special.gammaln(a) - 1 / z),
    "beta": _within_unit(lambda z, a, b: special.xlogy(a - 1, z) + special.xlog1py(b - 1, -z) - special.betaln(a, b)),
    "lognorm": _at_least(0, lambda z, s: _log_normal(_np.log(z) / s) - _np.log(s * z)),
    "weibull_min": _at_least(0, lambda z, c: _np.log(c) + special.xlogy(c - 1, z) - z**c),
    "pareto": _at_least(1, lambda z, b: _np.log(b) - (b + 1) * _np.log(z)),
}
COUNTS: dict[str, Callable[..., Any]] = {
    "poisson": _count(lambda k, mu: special.xlogy(k, mu) - special.gammaln(k + 1) - mu),
    "bernoulli": _count(lambda k, p: special.xlogy(k, p) + special.xlog1py(1 - k, -p), lambda p: 1),
    "binom": _count(
        lambda k, n, p: _log_choose(n, k) + special.xlogy(k, p) + special.xlog1py(n - k, -p), lambda n, p: n
    ),
    "nbinom": _count(
        lambda k, n, p: special.gammaln(n + k) - special.gammaln(k + 1) - special.gammaln(n)
        + n * _np.log(p) + special.xlog1py(k, -p)
    ),
    "geom": lambda k, p: _count(_log_geometric)(k - 1, p),
}  # fmt: skip
CUMULATIVE: dict[tuple[str, str], Callable[..., Any]] = {
    ("norm", "cdf"): special.ndtr,
    ("norm", "logcdf"): special.log_ndtr,
    ("norm", "sf"): lambda z: special.ndtr(-z),
    ("norm", "logsf"): lambda z: special.log_ndtr(-z),
    ("logistic", "cdf"): special.expit,
    ("logistic", "logcdf"): special.log_expit,
    ("expon", "logsf"): lambda z: -_np.maximum(z, 0),
}


def _method(standard: Callable[..., Any], jacobian: bool, exponential: bool) -> Callable[..., Any]:
    """A method of a distribution from a function of the standardised argument and the shapes."""

    def method(self: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        shapes = [name.strip() for name in self.shapes.split(",")] if self.shapes else []
        values = {"loc": 0, "scale": 1} | dict(zip((*shapes, "loc", "scale"), args, strict=False)) | kwargs
        x, scale = (v if np.ndim(v) == 0 or hasattr(v, "flat") else np.asarray(v) for v in (x, values["scale"]))
        result = standard((x - values["loc"]) / scale, *(values[name] for name in shapes))
        if jacobian:
            result = result - _np.log(scale)
        return _np.exp(result) if exponential else result

    return method


def _multivariate_normal(self: Any, x: Any, mean: Any = None, cov: Any = 1, allow_singular: bool = False) -> Any:
    if np.ndim(cov) != 2:
        raise Untraceable("multivariate_normal is traced with a covariance matrix")
    factor, dim = _np.linalg.cholesky(cov), np.shape(cov)[0]
    deviations = _np.reshape(x - (np.zeros(dim) if mean is None else mean), (-1, dim))
    z = _np.linalg.solve(factor, deviations.T)
    size = _np.sum(_np.log(_np.diagonal(factor))) + 0.5 * dim * math.log(2 * math.pi)
    return (-0.5 * _np.sum(z * z, axis=0) - size).reshape(np.shape(x - 0)[:-1])


def _dirichlet(self: Any, x: Any, alpha: Any) -> Any:
    size = special.gammaln(_np.sum(alpha)) - _np.sum(special.gammaln(alpha))
    return size + _np.sum(special.xlogy(alpha - 1, x), axis=-1)


def methods() -> dict[tuple[str, str], Callable[..., Any]]:
    """(distribution, method) -> what stands in for the method of its class."""
    found: dict[tuple[str, str], Callable[..., Any]] = {}
    for name, log_density in STANDARD.items():
        found[name, "logpdf"] = _method(log_density, jacobian=True, exponential=False)
        found[name, "pdf"] = _method(log_density, jacobian=True, exponential=True)
    for name, log_mass in COUNTS.items():
        found[name, "logpmf"] = _method(log_mass, jacobian=False, exponential=False)
        found[name, "pmf"] = _method(log_mass, jacobian=False, exponential=True)
    for (name, method), function in CUMULATIVE.items():
        found[name, method] = _method(function, jacobian=False, exponential=False)
    found["multivariate_normal", "logpdf"] = _multivariate_normal
    found["dirichlet", "logpdf"] = _dirichlet
    return found
