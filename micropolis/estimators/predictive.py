"""Regression with unknown noise: the precision integrated out and drawn again, quantiles of mixtures of normals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..bayes import predict_model
from ..errors import InputError
from ..neural.network import Sequential
from ..neural.posterior import Posterior

Array = NDArray[np.float64]


class UnknownNoise(Posterior):
    """log p(theta | y), up to a constant, the noise precision t integrated out under t ~ Gamma(shape, rate).

    With S the residual sum of squares, the likelihood t^(n/2) exp(-t S / 2) and the prior of t give
    log p(y | theta) = -(shape + n/2) log(rate + S/2) + const, and t | theta, y ~ Gamma(shape + n/2, rate + S/2).

    Parameters
    ----------
    net : Sequential
        One output.
    x : ndarray (n, n_inputs)
    y : ndarray (n,)
    tau : float or sequence of float
        Prior precision of the weights, as in `micropolis.neural.Posterior`.
    prior : tuple of float
        (shape, rate), positive.
    """

    def __init__(self, net: Sequential, x: Array, y: Array, tau: Any, prior: Any) -> None:
        numbers = checks.numbers("noise_prior", prior)
        if numbers.shape != (2,) or not np.all(np.isfinite(numbers) & (numbers > 0)):
            raise InputError(f"noise_prior: expected two positive numbers (shape, rate), got {prior!r}")
        super().__init__(net, x, y, loss="regression", tau=tau)
        self.x, self.y = x, y
        # the losses of precision 1 are S / 2 and this
        self._noise = float(numbers[0]) + 0.5 * len(y), float(numbers[1]), 0.5 * len(y) * math.log(2 * math.pi)

    def draw(self, draws: NDArray[Any], rng: np.random.Generator) -> Array:
        """A noise precision for every draw (chains, draws, dim) of the weights."""
        _, logp = predict_model(self.net, draws, self.x, self.y, loss="regression")
        assert logp is not None
        shape, rate, constant = self._noise
        return rng.gamma(shape, 1 / (rate - logp - constant))


def mixture_quantiles(means: Array, sds: Array, levels: Array) -> Array:
    """Quantiles of equal mixtures of normals, to rounding.

    Parameters
    ----------
    means : ndarray (S, n)
    sds : ndarray (S,)
        Of the component normals, positive.
    levels : ndarray (k,)
        In (0, 1).

    Returns
    -------
    ndarray (n, k)

    Notes
    -----
    Newton's method within a bracket that shrinks; a step out of it is replaced by bisection. The quantile lies between
    the least and the greatest of the components' own.

    Examples
    --------
    >>> mixture_quantiles(np.array([[-1.0], [1.0]]), np.ones(2), np.array([0.5])).round(12) + 0.0
    array([[0.]])
    """
    from scipy.special import ndtr, ndtri

    result = np.empty((means.shape[1], len(levels)))
    for k, level in enumerate(levels):
        own = means + (sds * ndtri(level))[:, None]
        low, high = own.min(axis=0), own.max(axis=0)
        x = 0.5 * (low + high)
        for _ in range(100):
            z = (x - means) / sds[:, None]
            excess = ndtr(z).mean(axis=0) - level
            low, high = np.where(excess > 0, low, x), np.where(excess > 0, x, high)
            slope = (np.exp(-0.5 * z**2) / (math.sqrt(2 * math.pi) * sds[:, None])).mean(axis=0)
            with np.errstate(divide="ignore", invalid="ignore"):
                proposed = x - excess / slope
            proposed = np.where((proposed >= low) & (proposed <= high), proposed, 0.5 * (low + high))
            done = np.abs(proposed - x) <= 1e-12 * (np.abs(x) + sds.min())
            x = proposed
            if done.all():
                break
        result[:, k] = x
    return result
