"""Gaussian density: independent coordinates, or any covariance."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .. import checks
from ..errors import InputError
from .target import (
    LOG_TWO_PI,
    Array,
    Target,
    aligned,
    finite,
    inverse_from_cholesky,
    own,
    padded,
    positive_definite,
    stride,
)


class Gaussian(Target):
    """Gaussian N(mean, cov), normalised.

    Parameters
    ----------
    mean : array_like (dim,)
    std : array_like () or (dim,), optional
        Standard deviations of independent coordinates, positive; 1 where no scale is given.
    cov : array_like (dim, dim), optional
        Covariance, symmetric positive definite.
    precision : array_like (dim, dim), optional
        Inverse of the covariance, symmetric positive definite. At most one of `std`, `cov`, `precision` is given.

    Raises
    ------
    InputError
        A shape that does not fit, a number that is not finite, a matrix that is not positive definite.

    Examples
    --------
    >>> import micropolis.densities as densities
    >>> d = densities.Gaussian([1.0, 2.0], cov=[[2.0, 1.0], [1.0, 2.0]])
    >>> d.grad([0.0, 2.0])
    array([ 0.66666667, -0.33333333])
    >>> d.cov()
    array([[2., 1.],
           [1., 2.]])
    """

    def __init__(
        self,
        mean: ArrayLike,
        *,
        std: ArrayLike | None = None,
        cov: ArrayLike | None = None,
        precision: ArrayLike | None = None,
    ) -> None:
        given = {"std": std, "cov": cov, "precision": precision}
        given = {name: value for name, value in given.items() if value is not None}
        if len(given) > 1:
            raise InputError(f"std, cov, precision: expected at most one of them, got {', '.join(given)}")
        self._mean = finite("mean", mean, "(dim,)", 1)
        dim = len(self._mean)
        if not given or std is not None:
            self._init_diagonal(dim, 1.0 if std is None else std)
        else:
            name, value = next(iter(given.items()))
            self._init_dense(dim, name, value)
        super().__init__(dim, self._arguments)

    def _init_diagonal(self, dim: int, std: ArrayLike) -> None:
        deviations = checks.numbers("std", std)
        if deviations.shape not in ((), (dim,)):
            raise InputError(f"std: expected shape () or ({dim},), got {deviations.shape}")
        deviations = finite("std", np.broadcast_to(deviations, (dim,)), f"({dim},)", 1)
        with np.errstate(over="ignore", divide="ignore"):
            precision = own(1 / deviations**2)
        if not np.all((deviations > 0) & (precision > 0) & np.isfinite(precision)):
            raise InputError(f"std: expected numbers > 0 whose squares neither underflow nor overflow, got {std!r}")
        log_norm = -float(np.sum(np.log(deviations))) - 0.5 * dim * LOG_TWO_PI
        self.template = "gaussian"
        self._std: Array | None = deviations
        self._precision, self._log_norm = precision, log_norm
        self._arguments = {"mean": self._mean, "std": deviations}
        self.readable = gaussian, (dim, self._mean, precision, log_norm)

    def _init_dense(self, dim: int, name: str, value: Any) -> None:
        matrix = finite(name, value, f"({dim}, {dim})", 2)
        if matrix.shape != (dim, dim):
            raise InputError(f"{name}: expected shape ({dim}, {dim}), got {matrix.shape}")
        symmetric, factor = positive_definite(name, matrix)
        half_log_det = float(np.sum(np.log(np.diag(factor))))
        inverse = inverse_from_cholesky(name, factor)
        precision, cov = (inverse, symmetric) if name == "cov" else (symmetric, inverse)
        self.template = "gaussian_dense"
        self._std = None
        self._precision, self._cov = own(precision), own(cov)
        self._factor = factor
        self._log_norm = (-half_log_det if name == "cov" else half_log_det) - 0.5 * dim * LOG_TWO_PI
        self._arguments = {"mean": self._mean, name: matrix}
        self.readable = gaussian_dense, (dim, self._mean, self._precision, self._log_norm)

    def _fields(self) -> list[Array | int | float]:
        if self._std is not None:
            return [self._mean, self._precision, self._log_norm]
        return dense_fields(self._mean, self._precision, self._log_norm)

    def mean(self) -> Array:
        """Mean (dim,)."""
        return self._mean.copy()

    def cov(self) -> Array:
        """Covariance (dim, dim)."""
        return np.diag(self._std**2) if self._std is not None else self._cov.copy()

    def sample_exact(self, rng: np.random.Generator, n: int) -> Array:
        """`n` independent draws (n, dim)."""
        z = rng.standard_normal((checks.integer("n", n, least=0), self.dim))
        if self._std is not None:
            return self._mean + self._std * z
        if "cov" in self._arguments:
            return self._mean + z @ self._factor.T
        return self._mean + np.linalg.solve(self._factor.T, z.T).T


def dense_fields(mean: Array, precision: Array, log_norm: float) -> list[Array | int | float]:
    """Members of the C struct gaussian_dense."""
    length = stride(len(mean))
    return [mean, length, padded(precision), log_norm, aligned((length,)), aligned((length,))]


def gaussian(x: Array, grad: Array, data: tuple[int, Array, Array, float]) -> float:
    """Readable form of independent coordinates; the sum is striped as in C (eight partial sums, folded in pairs)."""
    dim, mean, precision, log_norm = data
    total = half = pair = 0.0
    for lane in range(8):
        stripe = 0.0
        for i in range(lane, dim, 8):
            delta = mean[i] - x[i]
            grad[i] = precision[i] * delta
            stripe += grad[i] * delta
        pair = stripe if lane % 2 == 0 else pair + stripe
        if lane % 4 == 1:
            half = pair
        elif lane % 4 == 3:
            half = half + pair
            total = half if lane == 3 else total + half
    return log_norm - 0.5 * total


def gaussian_dense(x: Array, grad: Array, data: tuple[int, Array, Array, float]) -> float:
    """Readable form with a dense precision matrix; sums in the order of the C source."""
    dim, mean, precision, log_norm = data
    total = half = pair = 0.0
    for lane in range(8):
        stripe = 0.0
        for i in range(lane, dim, 8):
            slope = 0.0
            for j in range(dim):
                slope += precision[j, i] * (mean[j] - x[j])
            grad[i] = slope
            stripe += slope * (mean[i] - x[i])
        pair = stripe if lane % 2 == 0 else pair + stripe
        if lane % 4 == 1:
            half = pair
        elif lane % 4 == 3:
            half = half + pair
            total = half if lane == 3 else total + half
    return log_norm - 0.5 * total
