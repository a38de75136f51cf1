"""Tests of significance for Monte Carlo output; each takes all its comparisons together at the level 1e-6."""

from __future__ import annotations

import numpy as np
from scipy import stats

# Chance that a correct sampler fails one test. Seeds are fixed, so a test that passes keeps passing; the level says how
# likely a new seed, or a change of the random stream, is to raise a false alarm.
LEVEL = 1e-6


def assert_level(p_values: np.ndarray, what: str) -> None:
    """The smallest of many p-values is above LEVEL after Bonferroni's correction."""
    p_values = np.atleast_1d(p_values)
    assert np.all(np.isfinite(p_values)), f"{what}: p-values {p_values}"
    assert p_values.min() * p_values.size > LEVEL, f"{what}: p = {p_values.min():.3g}, comparison {p_values.argmin()}"


def mean_p_values(samples: np.ndarray, truth: np.ndarray | float = 0.0) -> np.ndarray:
    """Two-sided p-values of Student's test for the mean of independent rows (n, k) against `truth` (k,)."""
    n = len(samples)
    error = samples.std(axis=0, ddof=1) / np.sqrt(n)
    return 2 * stats.t.sf(np.abs(samples.mean(axis=0) - truth) / error, n - 1)


def normal_statistics(z: np.ndarray) -> np.ndarray:
    """Functions (..., k) of z (..., dim) that have mean zero under N(0, I).

    Means, products, and bounded waves that see the shape: E cos(2 z) = exp(-2).
    """
    i, j = np.triu_indices(z.shape[-1])
    products = z[..., i] * z[..., j] - (i == j)
    return np.concatenate([z, products, np.sin(2 * z), np.cos(2 * z) - np.exp(-2)], axis=-1)


def assert_standard_normal_chains(z: np.ndarray, what: str) -> None:
    """Independent chains (chains, draws, dim), each stationary from its first draw, have the moments of N(0, I).

    The chains' averages are independent and their expectation is exact, whatever the autocorrelation.
    """
    assert_level(mean_p_values(normal_statistics(z).mean(axis=1)), f"{what}: moments")


def assert_standard_normal_points(z: np.ndarray, what: str) -> None:
    """Independent points (n, dim) are N(0, I): every coordinate and the squared length by Kolmogorov-Smirnov."""
    p_values = [stats.kstest(column, "norm").pvalue for column in z.T]
    p_values.append(stats.kstest(np.sum(z * z, axis=1), stats.chi2(z.shape[1]).cdf).pvalue)
    assert_level(np.array(p_values), f"{what}: distribution")


def assert_uniform_ranks(ranks: np.ndarray, n_values: int, bins: int, what: str) -> None:
    """Ranks (n, k) in 0 .. n_values - 1 are uniform, by chi-square in `bins` equal bins (which divide n_values)."""
    assert n_values % bins == 0
    p_values = [
        stats.chisquare(np.bincount(column * bins // n_values, minlength=bins)).pvalue for column in np.asarray(ranks).T
    ]
    assert_level(np.array(p_values), f"{what}: ranks")
