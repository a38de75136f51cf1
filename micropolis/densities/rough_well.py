"""The rough well: a standard Gaussian under a fine cosine ripple."""

from __future__ import annotations

import math

import numpy as np

from .. import checks
from .target import Array, Target


class RoughWell(Target):
    """Rough well, unnormalised: log p(x) = -sum_i (x_i^2 / 2 + eta cos(x_i / eta)).

    The ripple of height eta hardly changes the distribution and makes the gradient -x + sin(x / eta) misleading.

    Parameters
    ----------
    dim : int
    eta : float
        Height and wavelength / (2 pi) of the ripple, positive.

    References
    ----------
    Sohl-Dickstein, Mudigonda, DeWeese (2014), Hamiltonian Monte Carlo without detailed balance.
    Levy, Hoffman, Sohl-Dickstein (2018), Generalizing Hamiltonian Monte Carlo with neural networks (eta = 0.01, dim 2).

    Examples
    --------
    >>> import micropolis.densities as densities
    >>> densities.RoughWell(2, eta=0.01)([0.0, 0.0])
    -0.02
    """

    template = "rough_well"

    def __init__(self, dim: int, eta: float = 0.01) -> None:
        dim = checks.integer("dim", dim, least=1)
        self._eta = checks.real("eta", eta, above=0)
        super().__init__(dim, {"dim": dim, "eta": self._eta})
        self.readable = rough_well, (dim, self._eta)

    def _fields(self) -> list[Array | int | float]:
        return [self._eta]

    def mean(self) -> Array:
        """Mean (dim,): zero."""
        return np.zeros(self.dim)

    def cov(self) -> Array:
        """Covariance (dim, dim), from exp(-eta cos t) = I_0(eta) + 2 sum_k (-1)^k I_k(eta) cos(k t)."""
        from scipy.special import ive

        k = np.arange(1, 2 + int(40 * self._eta))
        terms = (-1.0) ** k * ive(k, self._eta) * np.exp(-0.5 * (k / self._eta) ** 2)
        mass = ive(0, self._eta) + 2 * terms.sum()
        second = ive(0, self._eta) + 2 * np.sum(terms * (1 - (k / self._eta) ** 2))
        return np.eye(self.dim) * second / mass

    def sample_exact(self, rng: np.random.Generator, n: int) -> Array:
        """`n` independent draws (n, dim), by rejection from a standard Gaussian (a share of 1 / sqrt(2 pi eta) or more)."""
        n = checks.integer("n", n, least=0)
        draws = np.empty(n * self.dim)
        kept = 0
        while kept < len(draws):
            x = rng.standard_normal(max(len(draws) - kept, 100))
            ripple = -self._eta * (1 + np.cos(x / self._eta))
            x = x[np.log1p(-rng.random(len(x))) < ripple][: len(draws) - kept]
            draws[kept : kept + len(x)] = x
            kept += len(x)
        return draws.reshape(n, self.dim)


def rough_well(x: Array, grad: Array, data: tuple[int, float]) -> float:
    """Readable form."""
    dim, eta = data
    energy = 0.0
    for i in range(dim):
        angle = x[i] / eta
        if not math.isfinite(angle):
            # math.cos raises where C returns NaN
            angle = math.nan
        energy += 0.5 * x[i] * x[i] + eta * math.cos(angle)
        grad[i] = math.sin(angle) - x[i]
    return -energy
