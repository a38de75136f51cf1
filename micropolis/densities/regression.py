"""Posteriors of generalised linear models: logistic and linear regression with a Gaussian prior."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from .. import checks
from ..errors import InputError
from ..trace_files import mapped
from .gaussian import dense_fields, gaussian_dense
from .target import LOG_TWO_PI, Array, Target, aligned, finite, inverse_from_cholesky, own

ROWS = 32  # rows of a block in csrc/densities/logistic_regression.c


class LogisticRegression(Target):
    """Posterior of logistic regression: y_i ~ Bernoulli(1 / (1 + exp(-X_i beta))), beta_j ~ N(0, prior_scale^2).

    The prior is normalised, so that the log density is log p(y | beta) + log p(beta). There is no intercept: give X a
    column of ones for one.

    Parameters
    ----------
    X : array_like (n, dim)
    y : array_like (n,)
        Labels 0 and 1 (or booleans).
    prior_scale : float, default 1
        Standard deviation of every coefficient, positive.

    Raises
    ------
    InputError
        A shape that does not fit, a number that is not finite, a label other than 0 and 1.

    Examples
    --------
    >>> import micropolis.densities as densities
    >>> d = densities.LogisticRegression([[1.0, 0.0], [0.0, 2.0]], [0, 1], prior_scale=2.0)
    >>> d.grad([0.0, 0.0])
    array([-0.5,  1. ])
    """

    template = "logistic_regression"
    _blocks: Array | None = None

    def __init__(self, X: ArrayLike, y: ArrayLike, prior_scale: float = 1.0) -> None:
        self.files = mapped(X, y)
        self._x, self._y = _data(X, y)
        if not np.all((self._y == 0) | (self._y == 1)):
            bad = self._y[(self._y != 0) & (self._y != 1)][0]
            raise InputError(f"y: expected labels 0 and 1, got {bad}")
        prior_scale, self._prior_precision = _scale("prior_scale", prior_scale)
        dim = self._x.shape[1]
        super().__init__(dim, {"X": self._x, "y": self._y, "prior_scale": prior_scale})
        self._log_norm = -dim * (math.log(prior_scale) + 0.5 * LOG_TWO_PI)
        self.readable = logistic_regression, (dim, self._x, self._y, self._prior_precision, self._log_norm)

    def __getstate__(self) -> dict[str, object]:
        return {**super().__getstate__(), "_blocks": None}

    def _fields(self) -> list[Array | int | float]:
        if self._blocks is None:
            self._blocks = _signed_blocks(self._x, self._y)
        work = [aligned((self.dim, 8)), aligned((len(self._blocks) * ROWS,))]
        return [len(self._y), self._blocks, self._prior_precision, self._log_norm, *work]


class LinearRegression(Target):
    """Posterior of linear regression with known noise: y_i ~ N(X_i beta, noise_scale^2), beta_j ~ N(0, prior_scale^2).

    Likelihood and prior are normalised: the log density is log p(y | beta) + log p(beta). That is quadratic in beta, so
    it is evaluated as log p(y) + log N(beta | mean(), cov()) in O(dim^2), however many rows there are.

    Parameters
    ----------
    X : array_like (n, dim)
    y : array_like (n,)
    noise_scale : float, default 1
        Standard deviation of the noise, positive.
    prior_scale : float, default 1
        Standard deviation of every coefficient, positive.

    Raises
    ------
    InputError
        A shape that does not fit, a number that is not finite.

    Examples
    --------
    >>> import micropolis.densities as densities
    >>> d = densities.LinearRegression([[1.0], [1.0]], [1.0, 2.0], noise_scale=1.0, prior_scale=1.0)
    >>> d.mean(), d.cov()
    (array([1.]), array([[0.33333333]]))
    """

    template = "gaussian_dense"

    def __init__(self, X: ArrayLike, y: ArrayLike, noise_scale: float = 1.0, prior_scale: float = 1.0) -> None:
        x, response = _data(X, y)
        noise_scale, noise_precision = _scale("noise_scale", noise_scale)
        prior_scale, prior_precision = _scale("prior_scale", prior_scale)
        n, dim = x.shape
        super().__init__(dim, {"X": x, "y": response, "noise_scale": noise_scale, "prior_scale": prior_scale})
        # the triangle of QR is a Cholesky factor of the posterior precision without squaring the condition of X first
        stacked = np.vstack([x / noise_scale, np.eye(dim) / prior_scale])
        orthogonal, triangle = np.linalg.qr(stacked)
        target = np.concatenate([response / noise_scale, np.zeros(dim)])
        self._mean = own(np.linalg.solve(triangle, orthogonal.T @ target))
        gram = x.T @ x * noise_precision
        gram[np.diag_indices(dim)] += prior_precision
        self._precision = own(0.5 * (gram + gram.T))
        self._triangle = triangle
        self._cov = own(inverse_from_cholesky("X", triangle.T))
        residual = target - stacked @ self._mean
        log_scales = n * math.log(noise_scale) + dim * math.log(prior_scale)
        self._log_norm = float(-0.5 * residual @ residual - log_scales - 0.5 * (n + dim) * LOG_TWO_PI)
        self.readable = gaussian_dense, (dim, self._mean, self._precision, self._log_norm)

    def _fields(self) -> list[Array | int | float]:
        return dense_fields(self._mean, self._precision, self._log_norm)

    def mean(self) -> Array:
        """Posterior mean (dim,)."""
        return self._mean.copy()

    def cov(self) -> Array:
        """Posterior covariance (dim, dim)."""
        return self._cov.copy()

    def sample_exact(self, rng: np.random.Generator, n: int) -> Array:
        """`n` independent draws (n, dim) from the posterior."""
        z = rng.standard_normal((self.dim, checks.integer("n", n, least=0)))
        return self._mean + np.linalg.solve(self._triangle, z).T


def _data(X: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    x = finite("X", X, "(n, dim)", 2)
    response = finite("y", y, "(n,)", 1)
    if len(response) != len(x):
        raise InputError(f"y: expected shape ({len(x)},) for X of shape {x.shape}, got {response.shape}")
    return x, response


def _scale(name: str, value: float) -> tuple[float, float]:
    """A standard deviation and its precision, both positive and finite."""
    scale = checks.real(name, value, above=0)
    square = scale * scale
    return scale, checks.real(f"1 / {name} ** 2", 1 / square if square > 0 else math.inf, above=0)


def _signed_blocks(x: Array, y: Array) -> Array:
    """Rows (2 y - 1) x in blocks [blocks][dim][ROWS], zeros behind the last row."""
    n, dim = x.shape
    blocks = aligned((-(-n // ROWS), dim, ROWS))
    signed = (2 * y - 1)[:, None] * x
    for b in range(len(blocks)):
        rows = signed[b * ROWS : (b + 1) * ROWS]
        blocks[b, :, : len(rows)] = rows.T
    return blocks


def logistic_regression(x: Array, grad: Array, data: tuple[int, Array, Array, float, float]) -> float:
    """Readable form, row by row."""
    dim, design, labels, prior_precision, log_norm = data
    total = 0.0
    square = 0.0
    for j in range(dim):
        square += x[j] * x[j]
        grad[j] = -prior_precision * x[j]
    for i in range(len(labels)):
        margin = 0.0
        sign = 2.0 * labels[i] - 1.0
        for j in range(dim):
            margin += design[i, j] * x[j]
        margin *= sign
        e = math.exp(-abs(margin))
        total += min(margin, 0.0) - math.log1p(e)
        slope = sign * (e if margin > 0.0 else 1.0) / (1.0 + e)
        for j in range(dim):
            grad[j] += slope * design[i, j]
    return log_norm + total - 0.5 * prior_precision * square
