"""One or more examples of every compiled target, for the laws that hold for all of them."""

from __future__ import annotations

import numpy as np

from micropolis import densities


def covariance(dim: int, seed: int) -> np.ndarray:
    """A random covariance with eigenvalues in 0.2 .. 2."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    return turn @ np.diag(np.linspace(0.2, 2.0, dim)) @ turn.T


def design(rows: int, dim: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Covariates, labels of a logistic model, responses of a linear one."""
    rng = np.random.default_rng(seed)
    x, beta = rng.standard_normal((rows, dim)), rng.standard_normal(dim)
    labels = (rng.random(rows) < 1 / (1 + np.exp(-x @ beta))).astype(np.int64)
    return x, labels, x @ beta + 0.5 * rng.standard_normal(rows)


def examples() -> dict[str, densities.target.Target]:
    """Densities by name; dimensions and row counts on both sides of whole vectors."""
    rng = np.random.default_rng(1)
    x, labels, response = design(45, 5, 3)
    return {
        "gaussian std": densities.Gaussian(rng.standard_normal(11), std=np.linspace(0.3, 2.0, 11)),
        "gaussian cov": densities.Gaussian(rng.standard_normal(9), cov=covariance(9, 2)),
        "gaussian precision": densities.Gaussian(rng.standard_normal(3), precision=covariance(3, 4)),
        "gaussian mixture": densities.GaussianMixture(
            rng.standard_normal((3, 4)), [covariance(4, seed) for seed in (5, 6, 7)], [0.2, 0.3, 0.5]
        ),
        "funnel": densities.Funnel(11),
        "rough well": densities.RoughWell(3, eta=0.3),
        "banana": densities.Banana(4, curvature=0.1, scale=2.0),
        "logistic regression": densities.LogisticRegression(x, labels, prior_scale=1.5),
        "linear regression": densities.LinearRegression(x, response, noise_scale=0.5, prior_scale=2.0),
    }
