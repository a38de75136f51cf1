"""The banana: a Gaussian twisted into a crescent."""

from __future__ import annotations

import math

import numpy as np

from .. import checks
from .target import LOG_TWO_PI, Array, Target


class Banana(Target):
    """Twisted Gaussian of Haario et al., normalised.

    With y = (x[0], x[1] + curvature (x[0]^2 - scale^2), x[2], ...) the coordinates of y are independent:
    y[0] ~ N(0, scale^2), all others N(0, 1). The twist keeps volume.

    Parameters
    ----------
    dim : int, default 2
        At least 2.
    curvature : float, default 0.03
        0.03 is the moderately twisted banana of the paper, 0.1 the strongly twisted one.
    scale : float, default 10
        Standard deviation of x[0], positive.

    References
    ----------
    Haario, Saksman, Tamminen (1999), Adaptive proposal distribution for random walk Metropolis algorithm.

    Examples
    --------
    >>> import micropolis.densities as densities
    >>> densities.Banana().grad([0.0, 4.0])
    array([-0., -1.])
    """

    template = "banana"

    def __init__(self, dim: int = 2, curvature: float = 0.03, scale: float = 10.0) -> None:
        dim = checks.integer("dim", dim, least=2)
        self._curvature = checks.real("curvature", curvature)
        self._variance = checks.real("scale", scale, above=0) ** 2
        super().__init__(dim, {"dim": dim, "curvature": self._curvature, "scale": float(scale)})
        self._log_norm = -0.5 * dim * LOG_TWO_PI - 0.5 * math.log(checks.real("scale ** 2", self._variance, above=0))
        self.readable = banana, (dim, self._curvature, self._variance, self._log_norm)

    def _fields(self) -> list[Array | int | float]:
        return [self._curvature, self._variance, self._log_norm]

    def mean(self) -> Array:
        """Mean (dim,): zero."""
        return np.zeros(self.dim)

    def cov(self) -> Array:
        """Covariance (dim, dim): scale^2, 1 + 2 curvature^2 scale^4, 1, ...; uncorrelated."""
        variances = np.ones(self.dim)
        variances[0] = self._variance
        variances[1] += 2 * (self._curvature * self._variance) ** 2
        return np.diag(variances)

    def sample_exact(self, rng: np.random.Generator, n: int) -> Array:
        """`n` independent draws (n, dim)."""
        x = rng.standard_normal((checks.integer("n", n, least=0), self.dim))
        x[:, 0] *= math.sqrt(self._variance)
        x[:, 1] -= self._curvature * (x[:, 0] ** 2 - self._variance)
        return x


def banana(x: Array, grad: Array, data: tuple[int, float, float, float]) -> float:
    """Readable form."""
    dim, curvature, variance, log_norm = data
    t = x[1] + curvature * (x[0] * x[0] - variance)
    energy = x[0] * x[0] / variance + t * t
    grad[0] = -x[0] / variance - 2 * curvature * x[0] * t
    grad[1] = -t
    for i in range(2, dim):
        energy += x[i] * x[i]
        grad[i] = -x[i]
    return log_norm - 0.5 * energy
