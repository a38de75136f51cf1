"""Views and writes: views are NumPy's, copies are copies, numbers are numbers, arguments are the caller's."""

import numpy as np
import pytest
from tracing.harness import Program, check

from micropolis.tracing.arrays import Traced, Untraceable

W = np.linspace(0.3, 1.7, 6)
POINTS = np.random.default_rng(3).normal(scale=0.8, size=(3, 6))


def through_a_slice(x):
    y = x.copy()
    z = y[:2]
    z[0] = 3.0
    z *= 2
    return np.stack([y, y])


def in_place(x):
    a = x * 1.0
    b = a
    b += 1
    a *= x
    c = a[2:]
    c /= 2.0
    return b


def reshaped(x):
    y = np.copy(x)
    table = y.reshape(2, 3)
    table[0, 1] = 7.0
    table.T[2] = x[:2]
    row = table[1]
    row[...] = row[::-1].copy()
    y.T[5] += 1
    return y


def copied(x):
    y = x + 0.0
    y[[0, 1]][0] = 5.0  # a copy
    z = y[[3, 4]]
    z += 1
    y.flatten()[0] = 9.0
    y.ravel()[1] = 8.0  # a view
    w = y[y.shape[0] - 1]
    w += 1  # a number
    return np.concatenate([y, z, [w]])


def overlapping(x):
    y = np.array(x, like=x)
    y[1:] = y[:-1]
    y[::2] = y[::-2]
    y[:3] += y[3:]
    return y


def rows(x):
    y = np.zeros((3, 2), like=x)
    for i, row in enumerate(y):
        row[:] = x[2 * i : 2 * i + 2] * i
    a, b = y[:, 0], y[:, 1]
    a += b
    np.negative(b, out=b)
    y[y.shape[0] - 1, ...] -= a[:2]
    return y


def diagonals(x):
    y = np.outer(x, x)
    y.reshape(-1)[::7] = 1.0
    np.swapaxes(y, 0, 1)[0] = W
    np.squeeze(y[None])[2, 2] = x[0]
    np.expand_dims(y, 0)[0, 3] += 1
    parts = np.split(y, 2)
    parts[1][0, 0] = -1.0
    flipped = np.flip(y)
    flipped[0, 0] = 0.25
    return y


def repeated(x):
    y = np.zeros(4, like=x)
    y[[0, 0, 1]] = x[:3]  # the last one counts
    y[[2, 2]] += x[:2]  # once
    return y


@pytest.mark.parametrize("f", [through_a_slice, in_place, reshaped, copied, overlapping, rows, diagonals, repeated])
def test_views(f):
    check(f, POINTS, slopes=False)
    weights = np.cos(np.arange(36))
    check(lambda x: weights[: np.size(y := f(x))] @ np.ravel(y), POINTS)


def test_arguments_are_not_written_into():
    for f in (lambda x: x.__setitem__(0, 1.0), lambda x: x[:2].__iadd__(1.0), lambda x: x.reshape(2, 3).fill(0.0)):
        with pytest.raises(Untraceable, match="changes its arguments"):
            Program(lambda x, f=f: f(x) or x[0], 6)


def test_numbers_are_not_written_into():
    def f(x):
        y = x[0]
        y += 1
        return y * x[0]

    check(f, POINTS)
    for one in (
        np.linalg.norm,
        np.nanmax,
        lambda x: np.interp(x[0], [0.0, 1.0], [2.0, 3.0]),
        lambda x: np.einsum("i,i", x, x),
    ):

        def g(x, one=one):
            y = one(x)
            z = y
            z += 1
            return y * z

        check(g, POINTS)
    with pytest.raises(TypeError, match="item assignment"):
        Program(lambda x: np.sum(x).__setitem__(..., 1.0), 6)
    assert isinstance(Program(lambda x: x[0], 6).result, Traced)


def test_long_loops_are_as_long_as_they_are():
    """Two hundred steps that write into one array make a program of a few nodes for each."""

    def f(x):
        h = np.zeros(200, like=x)
        h[0] = x[0]
        for t in range(1, 200):
            h[t] = x[1] * h[t - 1] + W[t % 6]
        return np.sum(h)

    program = Program(f, 2)
    assert len(program.graph.nodes) < 10 * 200
    check(f, [[0.3, 0.7]])
