"""Random programs of NumPy and SciPy calls: the traced value is the plain one, derivatives are its differences."""

import numpy as np
import pytest
from numpy import zeros
from scipy import special, stats

from micropolis import Density


def filled(a):
    out = zeros(a.shape)
    for i in range(a.shape[0]):
        out[i] = a[i] * (i + 1)
    return out


ONE = [
    lambda a: np.exp(-(a**2)),
    lambda a: np.tanh(a) + np.sin(a),
    lambda a: np.log1p(a**2) + np.sqrt(a**2 + 0.1),
    lambda a: np.maximum(a, 0.2) - np.clip(a, -1, 1),
    lambda a: np.where(a > 0.1, a, -0.5 * a),
    lambda a: special.expit(a) + special.log_ndtr(a),
    lambda a: np.cumsum(a, axis=-1),
    lambda a: np.diff(np.append(a, a[..., -1:], axis=-1), axis=-1),
    lambda a: np.roll(a, 1, axis=0)[::-1],
    lambda a: stats.norm.logpdf(a, 0.3, 1.2),
    lambda a: special.log_softmax(a, axis=-1),
    lambda a: np.array([row * 1.5 for row in a]),
    lambda a: np.flip(a, axis=-1) - a.mean(axis=-1, keepdims=True),
    lambda a: a / (1 + a.std()) + np.sort(np.arange(4.0))[1],
    lambda a: np.pad(a, [(0, 0)] * (a.ndim - 1) + [(0, 1)])[..., :-1],
    filled,
]
TWO = [
    lambda a, b: a + b,
    lambda a, b: a * b - b,
    lambda a, b: a / (2 + b**2),
    lambda a, b: np.logaddexp(a, b),
    lambda a, b: np.where(a > b, a, b**2),
    lambda a, b: np.hypot(a, b + 3),
    lambda a, b: stats.t.logpdf(a, 3.0, b, 1.1),
    lambda a, b: np.select([a > 1, b > 0], [a, b], 0.3),
]
REDUCE = [
    np.sum,
    lambda a: special.logsumexp(a),  # by name: one kept in a list would be SciPy's own
    lambda a: np.linalg.norm(a - 3.0),
    lambda a: np.max(a) - np.var(a),
    lambda a: np.prod(1 + 0.1 * a),
    lambda a: np.trapezoid(a, axis=-1).sum(),
    lambda a: a.ravel() @ np.arange(a.size) / 7,
]


def program(rng):
    """A random log density of 2, 4 or 6 coordinates, as a vector or as two rows."""
    rows = rng.random() < 0.5
    steps = []
    for k in range(int(rng.integers(2, 6))):
        calls = ONE if rng.random() < 0.6 else TWO
        steps.append((calls[rng.integers(len(calls))], rng.integers(0, k + 2, 1 if calls is ONE else 2)))
    ends = rng.integers(0, len(REDUCE), 2)

    def f(x):
        a = x.reshape(2, -1) if rows else x * 1.0
        values = [a, 2 * a - 0.3]
        for call, operands in steps:
            values.append(call(*(values[i] for i in operands)))
        return REDUCE[ends[0]](values[-1]) + REDUCE[ends[1]](values[-2]) - x @ x

    return f, 2 * int(rng.integers(1, 4))


@pytest.mark.parametrize("seed", range(80))
def test_program(seed, recwarn):
    rng = np.random.default_rng(seed)
    f, dim = program(rng)
    x = rng.normal(size=dim)
    density = Density.from_numpy(f, dim)
    assert not list(recwarn)
    value, gradient = density.value_and_grad(x)
    np.testing.assert_allclose(value, f(x), rtol=1e-11, atol=1e-11)
    # differences: rounding of the value over the step, and step^2 times third derivatives of order 100
    unit = np.eye(dim)
    differences = [(f(x + h) - f(x - h)) / 2e-6 for h in 1e-6 * unit]
    np.testing.assert_allclose(gradient, differences, rtol=1e-6, atol=1e-8 * max(1.0, abs(value)))
    second = [(density.grad(x + h) - density.grad(x - h)) / 2e-6 for h in 1e-6 * unit]
    hessian = density.hessian(x)
    np.testing.assert_allclose(hessian, second, rtol=1e-5, atol=1e-7 * max(1.0, np.max(np.abs(hessian))))
