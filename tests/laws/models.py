"""Models whose parameters and data can be drawn together, for calibration and joint-distribution tests."""

from __future__ import annotations

from typing import Protocol

import numpy as np

import micropolis as mp
from micropolis import densities


class Model(Protocol):
    """Parameters and data drawn from their joint distribution, and the posterior of the parameters."""

    dim: int

    def draw_parameters(self, rng: np.random.Generator) -> np.ndarray: ...

    def draw_data(self, rng: np.random.Generator, parameters: np.ndarray) -> np.ndarray: ...

    def posterior(self, data: np.ndarray) -> mp.Density: ...

    def standardise(self, parameters: np.ndarray, data: np.ndarray) -> np.ndarray:
        """Prior and noise as independent standard normals."""


class LinearModel:
    """Conjugate: y ~ N(X beta, 0.7^2), beta_j ~ N(0, 1.5^2); the posterior is a correlated Gaussian."""

    dim, noise, scale = 3, 0.7, 1.5
    design = np.random.default_rng(1).standard_normal((6, 3)) @ np.array([[1, 0.6, 0], [0, 1, 0.5], [0, 0, 1]])

    def draw_parameters(self, rng):
        return self.scale * rng.standard_normal(self.dim)

    def draw_data(self, rng, parameters):
        return self.design @ parameters + self.noise * rng.standard_normal(len(self.design))

    def posterior(self, data):
        return densities.LinearRegression(self.design, data, noise_scale=self.noise, prior_scale=self.scale)

    def standardise(self, parameters, data):
        return np.concatenate([parameters / self.scale, (data - self.design @ parameters) / self.noise])


def _normal_sample(x, grad, data):
    """Five observations of N(mu, exp(s)^2) with mu ~ N(0, 1), s ~ N(0, 0.4^2)."""
    mu, s = x[0], x[1]
    precision = np.exp(-2 * s)
    square = slope = 0.0
    for y in data:
        square += (y - mu) ** 2
        slope += y - mu
    grad[0] = precision * slope - mu
    grad[1] = precision * square - len(data) - s / 0.16
    return -0.5 * precision * square - len(data) * s - 0.5 * mu * mu - s * s / 0.32


class NormalSample:
    """Mean and log standard deviation of a small normal sample, compiled by Numba: a posterior that is no Gaussian."""

    dim, size = 2, 5

    def draw_parameters(self, rng):
        return np.array([1.0, 0.4]) * rng.standard_normal(2)

    def draw_data(self, rng, parameters):
        return parameters[0] + np.exp(parameters[1]) * rng.standard_normal(self.size)

    def posterior(self, data):
        return mp.Density.from_numba(_normal_sample, dim=2, data=data)

    def standardise(self, parameters, data):
        noise = (data - parameters[0]) / np.exp(parameters[1])
        return np.concatenate([parameters / np.array([1.0, 0.4]), noise])


MODELS: dict[str, Model] = {"linear": LinearModel(), "normal sample": NormalSample()}
