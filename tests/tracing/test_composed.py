"""NumPy functions written in others: traced values against NumPy's own, gradients against differences."""

import numpy as np
import pytest

from micropolis import Density
from micropolis.errors import DensityError

POINTS = np.array([-0.3, 0.0, 0.4, 1.1, 1.9, 2.0, 2.5])
GRID = np.array([0.0, 0.5, 1.0, 1.5, 1.75, 2.0])


def selected(x):
    return np.sum(np.select([np.abs(x) < 0.3, x < 1, GRID > 1.2], [x**2, np.sin(x), 3.0 * x], default=-x) * GRID)


def integrated(x):
    y = x.reshape(2, 3)
    by_axis = np.trapezoid(y, axis=0) @ np.ones(3) + np.trapezoid(y, GRID[:3]) @ np.array([1.0, 2.0])
    return np.trapezoid(x**2, GRID) + np.trapezoid(x, dx=0.3) + by_axis + np.trapezoid(GRID, np.exp(x))


def crossed(x):
    rows = x.reshape(2, 3)
    return np.sum(np.cross(rows, [1.0, 2.0, -1.0]) ** 2) + np.cross(rows[0], rows[1]) @ np.array([1.0, 2.0, 3.0])


def convolved(x):
    parts = [np.convolve(x, [1.0, -2.0, 0.5, 3.0], mode) for mode in ("full", "same", "valid")]
    parts += [np.convolve(GRID[:3], x, mode) for mode in ("full", "same", "valid")]
    return sum(np.sum(part * np.arange(1, len(part) + 1)) for part in parts) + np.sum(np.convolve(x, x) ** 2)


def interpolated(x):
    inner, outer = np.interp(POINTS, GRID, x), np.interp(POINTS, GRID, x, left=-1.0, right=0.5)
    return np.sum(inner**2 * np.arange(7)) + np.sum(outer * np.arange(7))


def padded(x):
    square = np.pad(x.reshape(2, 3), ((1, 0), (2, 1)))
    return np.sum(square**2 * np.arange(18).reshape(3, 6)) + np.pad(x, 2, mode="reflect") @ np.arange(10.0)


@pytest.mark.parametrize("f", [selected, integrated, crossed, convolved, interpolated, padded])
def test_values_and_gradients(f):
    density = Density.from_numpy(f, 6)
    for x in np.random.default_rng(1).normal(size=(4, 6)):
        value, gradient = density.value_and_grad(x)
        np.testing.assert_allclose(value, f(x), rtol=1e-12)
        differences = [(f(x + h) - f(x - h)) / 2e-6 for h in 1e-6 * np.eye(6)]
        np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-7 * max(1.0, abs(value)))


def interpolated_at_parameters(x):
    inside, outside = np.interp(x, GRID, GRID**2), np.interp(3 * x, GRID, np.sin(x), left=-1.0, right=x[0])
    return np.sum(inside * np.arange(6)) + np.sum(outside)


def padded_with_numbers(x):
    return np.pad(x, 2, constant_values=2.0) @ np.arange(10.0) ** 2 + np.sum(np.cross(x[:3], x[3:], axis=0) ** 2)


@pytest.mark.parametrize("f", [interpolated_at_parameters, padded_with_numbers])
def test_what_was_refused_once(f):
    test_values_and_gradients(f)


def test_arguments_without_a_trace():
    with pytest.raises(DensityError, match="np.pad is traced with"):
        Density.from_numpy(lambda x: np.sum(np.pad(x, 1, mode="mean")), 6)
