"""Targets of order one, each with the map that turns it into independent standard normals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from laws.library import covariance
from scipy import stats

from micropolis import densities


@dataclass(frozen=True)
class Truth:
    """A density and `standardise`, (..., dim) -> (..., dim), under which its draws are N(0, I)."""

    density: densities.target.Target
    standardise: Callable[[np.ndarray], np.ndarray]

    @property
    def dim(self) -> int:
        return self.density.dim


def gaussian(mean: np.ndarray, cov: np.ndarray) -> Truth:
    inverse_factor = np.linalg.inv(np.linalg.cholesky(cov))
    return Truth(densities.Gaussian(mean, cov=cov), lambda x: (x - mean) @ inverse_factor.T)


def independent(mean: np.ndarray, std: np.ndarray) -> Truth:
    return Truth(densities.Gaussian(mean, std=std), lambda x: (x - mean) / std)


def mixture() -> Truth:
    means, std, weights = np.array([-1.5, 1.0]), np.array([0.5, 1.0]), np.array([0.35, 0.65])

    def standardise(x: np.ndarray) -> np.ndarray:
        z = (x - means) / std
        below, above = stats.norm.cdf(z) @ weights, stats.norm.sf(z) @ weights
        return np.where(below < 0.5, stats.norm.ppf(below), stats.norm.isf(above))[..., None]

    return Truth(densities.GaussianMixture(means[:, None], (std**2)[:, None, None], weights), standardise)


def banana() -> Truth:
    curvature, scale = 0.3, 1.5

    def standardise(x: np.ndarray) -> np.ndarray:
        z = x.copy()
        z[..., 0] /= scale
        z[..., 1] += curvature * (x[..., 0] ** 2 - scale**2)
        return z

    return Truth(densities.Banana(3, curvature, scale), standardise)


def funnel() -> Truth:
    def standardise(x: np.ndarray) -> np.ndarray:
        z = x * np.exp(0.5 * x[..., :1])
        z[..., 0] = x[..., 0] / 3
        return z

    return Truth(densities.Funnel(3), standardise)


def rough_well(eta: float) -> Truth:
    grid = np.linspace(-9.0, 9.0, 400_001)
    mass = np.exp(-0.5 * grid**2 - eta * (np.cos(grid / eta) - 1))
    below = np.concatenate([[0.0], np.cumsum(0.5 * (mass[1:] + mass[:-1]))])
    below /= below[-1]

    def standardise(x: np.ndarray) -> np.ndarray:
        # by symmetry the smaller tail has the accuracy
        return -np.sign(x) * stats.norm.ppf(np.interp(-np.abs(x), grid, below))

    return Truth(densities.RoughWell(2, eta), standardise)


TRUTHS: dict[str, Truth] = {
    "gaussian": gaussian(np.linspace(-1, 1, 5), covariance(5, 2)),
    "independent": independent(np.linspace(-1, 1, 9), np.linspace(0.4, 1.5, 9)),
    "mixture": mixture(),
    "banana": banana(),
    "funnel": funnel(),
    "rough well": rough_well(0.3),
}
