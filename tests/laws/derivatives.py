"""The law of derivatives: gradient, Hessian, Hessian-vector and third-derivative product match central differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

EPS = np.finfo(np.float64).eps


def differences(f: Callable, x: np.ndarray, step: float, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives of f along each coordinate, and a bound on their error.

    Central differences at h, h/2 and h/4 give two Richardson extrapolations with errors of order h^4; the second is the
    answer and its distance from the first bounds the truncation. Rounding: values of size F carry an error of `noise`
    eps F, which the smallest step divides by h/4 and the extrapolation multiplies by 5/3.

    Parameters
    ----------
    f : callable
        (n, dim) -> (n, ...), batched.
    x : (dim,)
    step : float
        h, relative to max(1, |x_i|); well below the length on which f varies.
    noise : float
        Relative rounding error of f in units of eps.

    Returns
    -------
    derivative, bound : (..., dim)
    """
    h = step * np.maximum(1.0, np.abs(x))
    slopes, largest = [], 0.0
    for part in (1.0, 0.5, 0.25):
        shift = np.diag(part * h)
        ahead, behind = f(x + shift), f(x - shift)
        largest = np.maximum(largest, np.maximum(np.abs(ahead), np.abs(behind)))
        slopes.append(np.moveaxis(ahead - behind, 0, -1) / (2 * part * h))
    coarse, fine = (4 * slopes[1] - slopes[0]) / 3, (4 * slopes[2] - slopes[1]) / 3
    # x + h is rounded as well: an error of eps |x| in a place where f has slope `fine`
    rounding = noise * EPS * (1 + largest.max() + np.abs(x) * np.abs(fine)) * (5 / 3) / (0.25 * h)
    return fine, np.abs(fine - coarse) + rounding


def assert_within(what: str, got: np.ndarray, truth: np.ndarray, bound: np.ndarray, x: np.ndarray) -> None:
    """Every element of got within its bound of truth."""
    assert got.shape == truth.shape, f"{what}: shape {got.shape}, expected {truth.shape}"
    excess = np.abs(got - truth) / bound
    assert np.all(excess <= 1), f"{what} at x = {x}: {got} against {truth}, {np.max(excess):.3g} times the bound"


def check_derivatives(density, x, *, step: float = 1e-3, noise: float = 64.0, seed: int = 0) -> None:
    """Assert that every derivative of `density` at x (dim,) agrees with central differences of the one below it.

    The Hessian is compared with differences of the gradient, the third-derivative product with differences of the
    Hessian, so each is tested as sharply as rounding allows; the gradient stands on the values alone.
    """
    x = np.asarray(x, dtype=np.float64)
    rng = np.random.default_rng(seed)
    v, m = rng.standard_normal(density.dim), rng.standard_normal((density.dim, density.dim))
    hessian = density.hessian(x)

    slope, bound = differences(density, x, step, noise)
    assert_within("gradient", density.grad(x), slope, bound, x)
    slope, bound = differences(density.grad, x, step, noise)
    assert_within("Hessian", hessian, slope, bound, x)
    np.testing.assert_array_equal(hessian, hessian.T)
    scale = noise * EPS * (1 + np.abs(hessian) @ np.abs(v))
    assert_within("Hessian-vector product", density.hvp(x, v), hessian @ v, scale, x)
    slope, bound = differences(density.hessian, x, step, noise)
    truth, bound = np.einsum("ij,ijk->k", m, slope), np.einsum("ij,ijk->k", np.abs(m), bound)
    assert_within("third-derivative product", density.third_derivative_product(x, m), truth, bound, x)
