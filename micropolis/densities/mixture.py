"""Mixture of Gaussians."""

from __future__ import annotations

import math

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


class GaussianMixture(Target):
    """Mixture of Gaussians, sum_k w_k N(mean_k, cov_k), normalised.

    Parameters
    ----------
    means : array_like (components, dim)
    covs : array_like (components, dim, dim)
        Covariances, symmetric positive definite.
    weights : array_like (components,)
        Positive numbers with sum 1 (within 1e-8; the rest is normalised away).

    Raises
    ------
    InputError
        A shape that does not fit, a number that is not finite, a matrix that is not positive definite, a bad weight.

    Examples
    --------
    >>> import numpy as np, micropolis.densities as densities
    >>> d = densities.GaussianMixture([[-2.0, 0.0], [2.0, 0.0]], [0.1 * np.eye(2)] * 2, [0.5, 0.5])
    >>> d.grad([0.0, 1.0])
    array([  0., -10.])
    """

    template = "gaussian_mixture"

    def __init__(self, means: ArrayLike, covs: ArrayLike, weights: ArrayLike) -> None:
        self._means = finite("means", means, "(components, dim)", 2)
        components, dim = self._means.shape
        self._covs = finite("covs", covs, f"({components}, {dim}, {dim})", 3)
        if self._covs.shape != (components, dim, dim):
            raise InputError(f"covs: expected shape ({components}, {dim}, {dim}), got {self._covs.shape}")
        shares = finite("weights", weights, f"({components},)", 1)
        if shares.shape != (components,):
            raise InputError(f"weights: expected shape ({components},), got {shares.shape}")
        if not (np.all(shares > 0) and abs(shares.sum() - 1) <= 1e-8):
            raise InputError(f"weights: expected positive numbers with sum 1, got {shares} with sum {shares.sum()}")
        self._weights = own(shares / shares.sum())
        factors = [positive_definite(f"covs[{k}]", self._covs[k])[1] for k in range(components)]
        self._factors = np.array(factors)
        self._precisions = own([inverse_from_cholesky(f"covs[{k}]", factors[k]) for k in range(components)])
        half_log_dets = np.log(np.diagonal(self._factors, axis1=1, axis2=2)).sum(axis=1)
        self._log_weights = own(np.log(self._weights) - half_log_dets - 0.5 * dim * LOG_TWO_PI)
        super().__init__(dim, {"means": self._means, "covs": self._covs, "weights": shares})
        self.readable = gaussian_mixture, (dim, components, self._means, self._precisions, self._log_weights)

    def _fields(self) -> list[Array | int | float]:
        components, length = len(self._weights), stride(self.dim)
        work = [aligned((components,)), aligned((components, length)), aligned((length,)), aligned((2, length))]
        return [components, length, self._means, padded(self._precisions), self._log_weights, *work]

    def mean(self) -> Array:
        """Mean (dim,)."""
        return self._weights @ self._means

    def cov(self) -> Array:
        """Covariance (dim, dim): within the components and between their means."""
        offsets = self._means - self.mean()
        return np.einsum("k,kij->ij", self._weights, self._covs + offsets[:, :, None] * offsets[:, None, :])

    def sample_exact(self, rng: np.random.Generator, n: int) -> Array:
        """`n` independent draws (n, dim)."""
        which = rng.choice(len(self._weights), size=checks.integer("n", n, least=0), p=self._weights)
        z = rng.standard_normal((len(which), self.dim))
        return self._means[which] + np.einsum("nij,nj->ni", self._factors[which], z)


def gaussian_mixture(x: Array, grad: Array, data: tuple[int, int, Array, Array, Array]) -> float:
    """Readable form: one pass for the log-sum-exp, one for the gradient, no work area."""
    dim, components, means, precisions, log_weights = data
    highest = -math.inf
    total = 0.0
    for k in range(components):
        square = 0.0
        for i in range(dim):
            slope = 0.0
            for j in range(dim):
                slope += precisions[k, j, i] * (means[k, j] - x[j])
            square += slope * (means[k, i] - x[i])
        log_term = log_weights[k] - 0.5 * square
        if log_term > highest:
            # exp(-inf) of the first term is 0
            total = total * math.exp(highest - log_term) + 1.0
            highest = log_term
        elif log_term > -math.inf:
            total += math.exp(log_term - highest)
        elif math.isnan(log_term):
            total = math.nan
    for i in range(dim):
        grad[i] = 0.0 if total > 0.0 else math.nan
    if not total > 0.0:
        return -math.inf if total == 0.0 else math.nan
    logp = highest + math.log(total)
    for k in range(components):
        square = 0.0
        for i in range(dim):
            slope = 0.0
            for j in range(dim):
                slope += precisions[k, j, i] * (means[k, j] - x[j])
            square += slope * (means[k, i] - x[i])
        responsibility = math.exp(log_weights[k] - 0.5 * square - logp)
        for i in range(dim):
            slope = 0.0
            for j in range(dim):
                slope += precisions[k, j, i] * (means[k, j] - x[j])
            grad[i] += responsibility * slope
    return logp
