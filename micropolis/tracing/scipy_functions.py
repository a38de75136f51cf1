"""SciPy functions that are no ufuncs, in NumPy functions that trace; stand-ins put them in SciPy's place."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import numpy as np
from scipy import special

from .arrays import Untraceable, graph_of, is_traced, lift
from .linalg import expm
from .scipy_densities import (
    COUNTS,
    LOG_2,
    LOG_2PI,
    LOG_PI,
    STANDARD,
    Function,
    beyond_unit,
    finite_freedom,
    log_gamma_ratio,
    no_count,
)
from .scipy_tails import CUMULATIVE

__all__ = ["COUNTS", "CUMULATIVE", "PLAIN", "SEVERAL", "STANDARD", "methods"]

# NumPy without its type stubs, which know nothing of traced arguments
_np: Any = np


def _operand(value: Any) -> Any:
    """What np.asarray makes of numbers, lists and series; of lists that hold traced numbers too."""
    if is_traced(value):
        return lift(value, graph_of(value))
    return value if hasattr(value, "flat") else np.asarray(value)


# -- scipy.special ---------------------------------------------------------------------------------------------------


def _logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False, return_sign: bool = False) -> Any:
    if return_sign:
        raise Untraceable("logsumexp(return_sign=True) cannot be traced")
    if b is None:
        return _np.logaddexp.reduce(_operand(a), axis=axis, keepdims=keepdims)
    a, b = _operand(a), _operand(b)
    largest = _np.max(_np.where(b == 0, -np.inf, a), axis=axis, keepdims=True)
    largest = _np.where(_np.isfinite(largest), largest, 0.0)
    a = _np.where((b == 0) & ~(a - largest < 700), -np.inf, a - largest)  # a factor of 0 outweighs NaN and infinity
    total = _np.log(_np.sum(b * _np.exp(a), axis=axis, keepdims=True)) + largest
    return total if keepdims else _np.squeeze(total, axis=axis)


def _log_softmax(x: Any, axis: Any = None) -> Any:
    x = _operand(x)
    return x - _logsumexp(x, axis, keepdims=True)


def _softmax(x: Any, axis: Any = None) -> Any:
    return _np.exp(_log_softmax(x, axis))


def _multigammaln(a: Any, d: Any) -> Any:
    a = _operand(a)
    total = 0.25 * d * (d - 1) * LOG_PI + sum(special.gammaln(a - 0.5 * j) for j in range(d))
    return _np.where(a > 0.5 * (d - 1), total, np.nan)


# -- scipy.linalg ----------------------------------------------------------------------------------------------------


def _transposed(a: Any) -> Any:
    return _np.swapaxes(a, -1, -2)


def _symmetric(a: Any, lower: bool) -> Any:
    """The symmetric matrix of which SciPy reads one triangle."""
    half = _np.tril(a) if lower else _np.triu(a)
    return half + _transposed(_np.tril(a, -1) if lower else _np.triu(a, 1))


def _cholesky(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    a = _operand(a)
    return _np.linalg.cholesky(a) if lower else _transposed(_np.linalg.cholesky(_transposed(a)))


def _solve_triangular(
    a: Any,
    b: Any,
    trans: Any = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Any:
    a, half = _operand(a), _np.tril if lower else _np.triu
    a = half(a, -1 if lower else 1) + np.eye(np.shape(a)[-1]) if unit_diagonal else half(a)
    return _np.linalg.solve(a if trans in (0, "N") else _transposed(a), _operand(b))


def _cho_factor(a: Any, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    return _cholesky(a, lower), lower


def _cho_solve(c_and_lower: Any, b: Any, overwrite_b: bool = False, check_finite: bool = True) -> Any:
    c, lower = c_and_lower
    half = _solve_triangular(c, b, 0 if lower else 1, lower)
    return _solve_triangular(c, half, 1 if lower else 0, lower)


def _solve(
    a: Any,
    b: Any,
    lower: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
    assume_a: str | None = None,
    transposed: bool = False,
) -> Any:
    a, structure = _operand(a), assume_a or "general"
    if structure in ("pos", "positive definite", "sym", "symmetric", "her", "hermitian"):
        a = _symmetric(a, lower)
    elif structure in ("upper triangular", "lower triangular"):
        return _solve_triangular(a, b, int(transposed), structure == "lower triangular")
    elif structure not in ("gen", "general"):
        raise Untraceable(f"scipy.linalg.solve(assume_a={assume_a!r}) cannot be traced")
    return _np.linalg.solve(_transposed(a) if transposed else a, _operand(b))


def _inv(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    return _np.linalg.inv(_operand(a))


def _det(a: Any, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    return _np.linalg.det(_operand(a))


def _eigh(
    a: Any,
    b: Any = None,
    *,
    lower: bool = True,
    eigvals_only: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    type: int = 1,
    check_finite: bool = True,
    subset_by_index: Any = None,
    subset_by_value: Any = None,
    driver: str | None = None,
) -> Any:
    if b is not None:
        raise Untraceable("scipy.linalg.eigh of two matrices, the generalised problem, cannot be traced")
    if subset_by_index is not None or subset_by_value is not None:
        raise Untraceable("scipy.linalg.eigh is traced with all eigenvalues: take some of them after it")
    values, vectors = _np.linalg.eigh(_operand(a), UPLO="L" if lower else "U")
    return values if eigvals_only else (values, vectors)


def _eigvalsh(a: Any, b: Any = None, *, lower: bool = True, **options: Any) -> Any:
    return _eigh(a, b, lower=lower, eigvals_only=True, **options)


def _toeplitz(c: Any, r: Any = None) -> Any:
    c = _np.ravel(_operand(c))
    r = c if r is None else _np.ravel(_operand(r))
    below = np.subtract.outer(np.arange(len(c)), np.arange(len(r)))
    return _np.where(below >= 0, c[np.maximum(below, 0)], r[np.maximum(-below, 0)])


def _block_diag(*blocks: Any) -> Any:
    blocks = tuple(_np.atleast_2d(_operand(block)) for block in blocks)
    if any(np.ndim(block) > 2 for block in blocks):
        raise Untraceable("block_diag is traced with matrices, not with stacks of them")
    width, before, rows = sum(np.shape(block)[1] for block in blocks), 0, []
    for block in blocks:
        height, own = np.shape(block)
        rows.append(
            _np.concatenate([np.zeros((height, before)), block, np.zeros((height, width - before - own))], axis=1)
        )
        before += own
    return _np.concatenate(rows, axis=0)


PLAIN: dict[tuple[str, str], Function] = {
    ("scipy.special", "logsumexp"): _logsumexp,
    ("scipy.special", "log_softmax"): _log_softmax,
    ("scipy.special", "softmax"): _softmax,
    ("scipy.special", "multigammaln"): _multigammaln,
    ("scipy.linalg", "cholesky"): _cholesky,
    ("scipy.linalg", "solve_triangular"): _solve_triangular,
    ("scipy.linalg", "cho_factor"): _cho_factor,
    ("scipy.linalg", "cho_solve"): _cho_solve,
    ("scipy.linalg", "solve"): _solve,
    ("scipy.linalg", "inv"): _inv,
    ("scipy.linalg", "det"): _det,
    ("scipy.linalg", "eigh"): _eigh,
    ("scipy.linalg", "eigvalsh"): _eigvalsh,
    ("scipy.linalg", "expm"): expm,
    ("scipy.linalg", "toeplitz"): _toeplitz,
    ("scipy.linalg", "block_diag"): _block_diag,
}


# -- several variables -----------------------------------------------------------------------------------------------


def _squared_lengths(deviations: Any, factor: Any) -> Any:
    """d' (L L')^-1 d of the last axis."""
    dim = np.shape(factor)[0]
    z = _solve_triangular(factor, _np.reshape(deviations, (-1, dim)).T, lower=True)
    return _np.reshape(_np.sum(z * z, axis=0), np.shape(deviations)[:-1])


def _half_log_det(factor: Any) -> Any:
    return _np.sum(_np.log(_np.diagonal(factor)))


def _deviations(x: Any, mean: Any, dim: int) -> Any:
    x = _operand(x)
    if np.ndim(x) < 2:
        x = _np.reshape(x, (-1, 1) if dim == 1 and np.ndim(x) == 1 else (1, -1))
    return x if mean is None else x - _operand(mean)


def _matrix(distribution: str, name: str, value: Any) -> Any:
    value = _operand(value)
    if np.ndim(value) != 2:
        raise Untraceable(f"{distribution} is traced with {name}")
    return value


def _multivariate_normal(self: Any, x: Any, mean: Any = None, cov: Any = 1, allow_singular: bool = False) -> Any:
    cov = _matrix("multivariate_normal", "a covariance matrix", cov)
    if allow_singular:
        raise Untraceable("multivariate_normal(allow_singular=True) cannot be traced")
    factor, dim = _np.linalg.cholesky(cov), np.shape(cov)[0]
    lengths = _squared_lengths(_deviations(x, mean, dim), factor)
    return _np.squeeze(-0.5 * lengths - (_half_log_det(factor) + 0.5 * dim * LOG_2PI))


def _multivariate_t(self: Any, x: Any, loc: Any = None, shape: Any = 1, df: Any = 1) -> Any:
    shape = _matrix("multivariate_t", "a shape matrix", shape)
    factor, dim, finite = _np.linalg.cholesky(shape), np.shape(shape)[0], finite_freedom(df)
    lengths = _squared_lengths(_deviations(x, loc, dim), factor)
    size = _half_log_det(factor) + 0.5 * dim * LOG_2PI - log_gamma_ratio(0.5 * finite, 0.5 * dim)
    return _np.squeeze(-0.5 * (finite + dim) * _np.log1p(lengths / finite) - _np.where(df > 0, size, np.nan))


def _wishart(self: Any, x: Any, df: Any, scale: Any) -> Any:
    x, scale = _matrix("wishart", "one matrix", x), _matrix("wishart", "a scale matrix", scale)
    dim, factor, of_scale = np.shape(scale)[0], _np.linalg.cholesky(x), _np.linalg.cholesky(scale)
    whitened = _solve_triangular(of_scale, factor, lower=True)
    size = 0.5 * df * dim * LOG_2 + df * _half_log_det(of_scale) + _multigammaln(0.5 * df, dim)
    return (df - dim - 1) * _half_log_det(factor) - 0.5 * _np.sum(whitened * whitened) - size


def _inverse_wishart(self: Any, x: Any, df: Any, scale: Any) -> Any:
    x, scale = _matrix("invwishart", "one matrix", x), _matrix("invwishart", "a scale matrix", scale)
    dim, factor, of_scale = np.shape(scale)[0], _np.linalg.cholesky(x), _np.linalg.cholesky(scale)
    whitened = _solve_triangular(factor, of_scale, lower=True)
    size = 0.5 * df * dim * LOG_2 - df * _half_log_det(of_scale) + _multigammaln(0.5 * df, dim)
    return -(df + dim + 1) * _half_log_det(factor) - 0.5 * _np.sum(whitened * whitened) - size


def _dirichlet(self: Any, x: Any, alpha: Any) -> Any:
    """Components lie along the first axis, of which the last may be left out; NaN where SciPy raises an error."""
    x, alpha = _operand(x), _operand(alpha)
    if np.shape(x)[0] != np.shape(alpha)[0]:
        x = _np.concatenate([x, 1 - _np.sum(x, axis=0, keepdims=True)])
    size = _np.sum(special.gammaln(alpha)) - special.gammaln(_np.sum(alpha))
    size = _np.where(_np.sum(~(alpha > 0)) == 0, size, np.nan)
    alpha = _np.reshape(alpha, (-1,) + (1,) * (np.ndim(x) - 1))
    off = _np.sum(beyond_unit(x) | ((x == 0) & (alpha < 1)), axis=0) > 0
    off = off | (_np.abs(_np.sum(x, axis=0) - 1) > 1e-9)
    return _np.squeeze(_np.where(off, np.nan, _np.sum(special.xlogy(alpha - 1, x), axis=0)) - size)


def _multinomial(self: Any, x: Any, n: Any, p: Any) -> Any:
    """The last probability is the others' complement where they do not sum to 1."""
    x, n, p = _operand(x), _operand(n), _operand(p)
    first = p[..., :-1]
    complement = 1 - _np.sum(first, axis=-1, keepdims=True)
    exact = ~(_np.abs(1 - _np.sum(p, axis=-1, keepdims=True)) > 10 * np.finfo(np.float64).eps)
    p = _np.concatenate([first, _np.where(exact, p[..., -1:], complement)], axis=-1)
    value = special.gammaln(n + 1) + _np.sum(special.xlogy(x, p) - special.gammaln(x + 1), axis=-1)
    outside = (_np.sum(no_count(x), axis=-1) > 0) | (_np.sum(x, axis=-1) != n)
    invalid = (_np.sum(beyond_unit(p), axis=-1) > 0) | (n < 0)
    return _np.where(invalid, np.nan, _np.where(outside, -np.inf, value))


SEVERAL: dict[str, Function] = {
    "multivariate_normal": _multivariate_normal,
    "multivariate_t": _multivariate_t,
    "wishart": _wishart,
    "invwishart": _inverse_wishart,
    "dirichlet": _dirichlet,
}


# -- methods ---------------------------------------------------------------------------------------------------------


@functools.cache
def _signature(discrete: bool, shapes: str | None) -> inspect.Signature:
    """How a method of scipy.stats is called."""
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    names = ["k" if discrete else "x", *(shapes.replace(",", " ").split() if shapes else ())]
    defaults = {"loc": 0} if discrete else {"loc": 0, "scale": 1}
    parameters = [inspect.Parameter(name, kind) for name in names]
    return inspect.Signature(
        parameters + [inspect.Parameter(name, kind, default=value) for name, value in defaults.items()]
    )


def _exponential(log_density: Function) -> Function:
    @functools.wraps(log_density)
    def density(*args: Any, **kwargs: Any) -> Any:
        return _np.exp(log_density(*args, **kwargs))

    return density


def _continuous(standard: Function, jacobian: bool) -> Function:
    """A method of a continuous distribution from a function of the standardised argument and the shapes."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        bound = _signature(False, self.shapes).bind(*args, **kwargs)
        bound.apply_defaults()
        x, *shapes, loc, scale = map(_operand, bound.args)
        scale = _np.where(scale > 0, scale, np.nan)
        z = (x - loc) / scale
        return standard(z, *shapes, scale=scale) if jacobian else standard(z, *shapes)

    return method


def _discrete(standard: Function) -> Function:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        bound = _signature(True, self.shapes).bind(*args, **kwargs)
        bound.apply_defaults()
        k, *shapes, loc = map(_operand, bound.args)
        return standard(k - loc, *shapes)

    return method


def methods() -> dict[tuple[str, str], Function]:
    """(distribution, method) -> what stands in for the method of its class."""
    found: dict[tuple[str, str], Function] = {}
    for name, standard in STANDARD.items():
        found[name, "logpdf"] = _continuous(standard, jacobian=True)
    for name, standard in COUNTS.items():
        found[name, "logpmf"] = _discrete(standard)
    for (name, method), function in CUMULATIVE.items():
        found[name, method] = _discrete(function) if name in COUNTS else _continuous(function, jacobian=False)
    for name, function in SEVERAL.items():
        found[name, "logpdf"] = function
    found["multinomial", "logpmf"] = _multinomial
    for (name, method), function in list(found.items()):
        if method in ("logpdf", "logpmf"):
            found[name, method.removeprefix("log")] = _exponential(function)
    return found
