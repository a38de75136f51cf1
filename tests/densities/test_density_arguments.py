"""Bad arguments of the compiled targets: each raises an error that names the argument, before anything is built."""

import re

import numpy as np
import pytest

from micropolis import densities, errors

EYE = np.eye(2)
CASES = {
    "two scales": (
        lambda: densities.Gaussian([0.0], std=1.0, cov=[[1.0]]),
        "expected at most one of them, got std, cov",
    ),
    "mean shape": (lambda: densities.Gaussian([[0.0]], std=1.0), "mean: expected shape (dim,), got (1, 1)"),
    "empty mean": (lambda: densities.Gaussian([], std=1.0), "mean: expected shape (dim,), got (0,)"),
    "infinite mean": (
        lambda: densities.Gaussian([0.0, np.inf], std=1.0),
        "mean: expected finite numbers, got inf at index (1,)",
    ),
    "std shape": (lambda: densities.Gaussian([0.0, 0.0], std=[1.0] * 3), "std: expected shape () or (2,), got (3,)"),
    "std zero": (lambda: densities.Gaussian([0.0, 0.0], std=[1.0, 0.0]), "std: expected numbers > 0"),
    "std negative": (lambda: densities.Gaussian([0.0], std=-1.0), "std: expected numbers > 0"),
    "std underflow": (lambda: densities.Gaussian([0.0], std=1e-200), "std: expected numbers > 0"),
    "cov shape": (lambda: densities.Gaussian([0.0, 0.0], cov=np.eye(3)), "cov: expected shape (2, 2), got (3, 3)"),
    "cov vector": (lambda: densities.Gaussian([0.0, 0.0], cov=[1.0, 1.0]), "cov: expected shape (2, 2), got (2,)"),
    "cov indefinite": (
        lambda: densities.Gaussian([0.0, 0.0], cov=[[1, 2], [2, 1]]),
        "cov: expected a positive definite",
    ),
    "cov asymmetric": (
        lambda: densities.Gaussian([0.0, 0.0], cov=[[1, 0.5], [0, 1]]),
        "cov: expected a symmetric matrix",
    ),
    "precision": (lambda: densities.Gaussian([0.0], precision=[[-1.0]]), "precision: expected a positive definite"),
    "means shape": (lambda: densities.GaussianMixture([0.0], [EYE], [1.0]), "means: expected shape (components, dim)"),
    "covs shape": (
        lambda: densities.GaussianMixture([[0.0, 0.0]], [EYE, EYE], [1.0]),
        "covs: expected shape (1, 2, 2)",
    ),
    "covs definite": (
        lambda: densities.GaussianMixture([[0.0, 0.0]], [-EYE], [1.0]),
        "covs[0]: expected a positive definite",
    ),
    "weights shape": (
        lambda: densities.GaussianMixture([[0.0, 0.0]], [EYE], [0.5, 0.5]),
        "weights: expected shape (1,)",
    ),
    "weights sum": (
        lambda: densities.GaussianMixture([[0.0, 0.0]], [EYE], [0.9]),
        "weights: expected positive numbers with sum 1",
    ),
    "weights zero": (
        lambda: densities.GaussianMixture([[0.0, 0.0]] * 2, [EYE] * 2, [1.0, 0.0]),
        "weights: expected positive numbers with sum 1",
    ),
    "funnel dim": (lambda: densities.Funnel(1), "dim: expected an integer >= 2, got 1"),
    "eta": (lambda: densities.RoughWell(2, eta=0), "eta: expected a finite number > 0"),
    "banana scale": (lambda: densities.Banana(scale=-1), "scale: expected a finite number > 0"),
    "banana curvature": (lambda: densities.Banana(curvature=np.nan), "curvature: expected a finite number"),
    "X shape": (lambda: densities.LogisticRegression([1.0], [1]), "X: expected shape (n, dim), got (1,)"),
    "X not finite": (
        lambda: densities.LogisticRegression([[np.nan]], [1]),
        "X: expected finite numbers, got nan at index (0, 0)",
    ),
    "y length": (
        lambda: densities.LogisticRegression([[1.0]], [1, 0]),
        "y: expected shape (1,) for X of shape (1, 1), got (2,)",
    ),
    "y labels": (lambda: densities.LogisticRegression([[1.0]], [-1]), "y: expected labels 0 and 1, got -1.0"),
    "prior scale": (
        lambda: densities.LogisticRegression([[1.0]], [1], prior_scale=0),
        "prior_scale: expected a finite number > 0",
    ),
    "tiny prior": (
        lambda: densities.LogisticRegression([[1.0]], [1], 1e-200),
        "1 / prior_scale ** 2: expected a finite",
    ),
    "noise scale": (
        lambda: densities.LinearRegression([[1.0]], [1], noise_scale=-1),
        "noise_scale: expected a finite number > 0",
    ),
}
TYPES = {
    "complex": (
        lambda: densities.Gaussian([1j], std=1.0),
        "mean: expected an array of real numbers, got dtype complex128",
    ),
    "words": (
        lambda: densities.LogisticRegression([[1.0]], ["yes"]),
        "y: expected an array of real numbers, got dtype <U3",
    ),
    "dim": (lambda: densities.Funnel(2.5), "dim: expected an integer >= 2, got 2.5"),
}


@pytest.mark.parametrize("case", CASES)
def test_values(case):
    make, message = CASES[case]
    with pytest.raises(errors.InputError, match=re.escape(message)):
        make()


@pytest.mark.parametrize("case", TYPES)
def test_types(case):
    make, message = TYPES[case]
    with pytest.raises(errors.InputTypeError, match=re.escape(message)):
        make()


def test_a_density_keeps_its_own_copy():
    mean, x = np.zeros(3), np.ones(3)
    density = densities.Gaussian(mean, std=1.0)
    before = density(x)
    for array in (mean, density.recipe[1]["mean"], density.mean()):
        array[:] = 5.0
    assert density(x) == before == density._bind().value(x[None])[0]


def test_weights_are_normalised():
    density = densities.GaussianMixture([[0.0], [0.0]], [[[1.0]]] * 2, [0.5, 0.5 + 5e-9])
    assert abs(density([0.0]) - densities.Gaussian([0.0], std=1.0)([0.0])) < 1e-15


def test_labels_may_be_booleans():
    x = np.arange(6.0).reshape(3, 2)
    boolean, integer = (densities.LogisticRegression(x, y) for y in (np.array([True, False, True]), [1, 0, 1]))
    assert boolean([0.1, 0.2]) == integer([0.1, 0.2])
