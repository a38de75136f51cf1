"""Neal's funnel."""

from __future__ import annotations

import math

import numpy as np

from .. import checks
from .target import LOG_TWO_PI, Array, Target


class Funnel(Target):
    """Neal's funnel, normalised: v = x[0] ~ N(0, 3^2), x[i] | v ~ N(0, exp(-v)) (variance), i = 1 .. dim - 1.

    Parameters
    ----------
    dim : int
        At least 2.

    References
    ----------
    Neal, R. M. (2003), Slice sampling, Annals of Statistics 31.

    Examples
    --------
    >>> import micropolis.densities as densities
    >>> densities.Funnel(3).grad([0.0, 1.0, -1.0])
    array([ 0., -1.,  1.])
    """

    template = "funnel"

    def __init__(self, dim: int) -> None:
        dim = checks.integer("dim", dim, least=2)
        super().__init__(dim, {"dim": dim})
        self._log_norm = -0.5 * dim * LOG_TWO_PI - math.log(3)
        self.readable = funnel, (dim, self._log_norm)

    def _fields(self) -> list[Array | int | float]:
        return [self._log_norm]

    def mean(self) -> Array:
        """Mean (dim,): zero."""
        return np.zeros(self.dim)

    def cov(self) -> Array:
        """Covariance (dim, dim): 9 for v and E exp(-v) = exp(9 / 2) for the others, uncorrelated."""
        return np.diag([9.0] + [math.exp(4.5)] * (self.dim - 1))

    def sample_exact(self, rng: np.random.Generator, n: int) -> Array:
        """`n` independent draws (n, dim)."""
        x = rng.standard_normal((checks.integer("n", n, least=0), self.dim))
        x[:, 0] *= 3
        x[:, 1:] *= np.exp(-0.5 * x[:, :1])
        return x


def funnel(x: Array, grad: Array, data: tuple[int, float]) -> float:
    """Readable form; the sum is striped as in C (eight partial sums, folded in pairs)."""
    dim, log_norm = data
    v = x[0]
    # math.exp raises where C returns infinity
    scale = math.exp(0.5 * v) if not v > 1419.0 else math.inf
    total = half = pair = 0.0
    for lane in range(8):
        stripe = 0.0
        for i in range(lane + 1, dim, 8):
            z = x[i] * scale
            grad[i] = -scale * z
            stripe += z * z
        pair = stripe if lane % 2 == 0 else pair + stripe
        if lane % 4 == 1:
            half = pair
        elif lane % 4 == 3:
            half = half + pair
            total = half if lane == 3 else total + half
    grad[0] = 0.5 * ((dim - 1) - total) - v / 9
    return log_norm + (0.5 * ((dim - 1) * v - total) - v * v / 18)
