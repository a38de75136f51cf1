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
        """Covariance (dim, dim), by the trapezoidal rule; the identity to the last bit for eta < 0.1."""
        if self._eta < 0.1:
            return np.eye(self.dim)
        x = np.linspace(-40.0, 40.0, 2 * round(40 * max(100.0, 40 / self._eta)) + 1)
        energy = 0.5 * x * x + self._eta * (np.cos(x / self._eta) - 1)
        mass = np.exp(energy.min() - energy)
        return np.eye(self.dim) * (np.sum(mass * x * x) / np.sum(mass))

    def sample_exact(self, rng: np.random.Generator, n: int) -> Array:
        """`n` independent draws (n, dim), by rejection from a Gaussian.

        With t = x / eta the ripple -eta cos t is at most eta, which serves short waves, and at most
        eta (t^2 / 2 - 1), which serves long ones.
        """
        eta, long_waves = self._eta, self._eta > 2
        scale = math.sqrt(eta / (eta - 1)) if long_waves else 1.0
        draws = np.empty(checks.integer("n", n, least=0) * self.dim)
        kept = 0
        while kept < len(draws):
            x = scale * rng.standard_normal(len(draws) - kept)
            t = x / eta
            log_accept = -eta * (np.cos(t) + (0.5 * t * t - 1 if long_waves else 1.0))
            x = x[np.log1p(-rng.random(len(x))) < log_accept]
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
