"""Layers: shapes, faults, and their NumPy references against sums written out."""

import dataclasses

import numpy as np
import pytest

from micropolis.errors import InputError, InputTypeError
from micropolis.neural import SELU, Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sigmoid, Tanh


def test_linear():
    rng = np.random.default_rng(0)
    x, weight, bias = rng.normal(size=(4, 3)), rng.normal(size=(2, 3)), rng.normal(size=2)
    truth = [[sum(weight[o, i] * row[i] for i in range(3)) + bias[o] for o in range(2)] for row in x]
    np.testing.assert_allclose(Linear(3, 2).reference({"weight": weight, "bias": bias}, x), truth)
    np.testing.assert_allclose(Linear(3, 2, bias=False).reference({"weight": weight}, x), truth - bias)
    assert Linear(3, 2).parameter_shapes == {"weight": (2, 3), "bias": (2,)}
    assert Linear(3, 2, bias=False).parameter_shapes == {"weight": (2, 3)}


def test_conv2d():
    rng = np.random.default_rng(0)
    layer = Conv2d(2, 3, 2)
    x, weight, bias = rng.normal(size=(2, 2, 4, 5)), rng.normal(size=(3, 2, 2, 2)), rng.normal(size=3)
    got = layer.reference({"weight": weight, "bias": bias}, x)
    assert got.shape == (2, *layer.output_shape((2, 4, 5))) == (2, 3, 3, 4)
    for n, o, h, w in np.ndindex(got.shape):
        truth = bias[o] + np.sum(weight[o] * x[n, :, h : h + 2, w : w + 2])
        assert got[n, o, h, w] == pytest.approx(truth, rel=1e-12)
    assert layer.fan_in == 8


def test_max_pool_drops_the_rest():
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 7))
    got = MaxPool2d(2).reference({}, x)
    assert got.shape == (2, *MaxPool2d(2).output_shape((3, 5, 7))) == (2, 3, 2, 3)
    for n, c, h, w in np.ndindex(got.shape):
        assert got[n, c, h, w] == x[n, c, 2 * h : 2 * h + 2, 2 * w : 2 * w + 2].max()


def test_flatten_keeps_the_order():
    x = np.arange(24.0).reshape(2, 3, 2, 2)
    np.testing.assert_array_equal(Flatten().reference({}, x), np.arange(24.0).reshape(2, 12))


def test_activations():
    x = np.array([[-700.0, -1.0, -1e-12, 0.0, 1e-12, 2.0, 700.0]])
    np.testing.assert_array_equal(ReLU().reference({}, x), [[0, 0, 0, 0, 1e-12, 2, 700]])
    np.testing.assert_array_equal(Tanh().reference({}, x), np.tanh(x))
    np.testing.assert_allclose(Sigmoid().reference({}, x), 1 / (1 + np.exp(-x.astype(np.longdouble))), rtol=1e-15)
    # fixed point of SELU (Klambauer et al. 2017): standard normal inputs keep mean 0 and variance 1
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    weights = weights / weights.sum()
    y = SELU().reference({}, nodes)
    assert weights @ y == pytest.approx(0, abs=2e-3)  # the kink at 0 costs the quadrature its accuracy
    assert weights @ y**2 == pytest.approx(1, abs=2e-2)
    assert SELU().reference({}, np.float32([-2.0, 3.0])).dtype == np.float32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Linear(0, 2), "in_features: expected an integer in 1..*, got 0"),
        (lambda: Linear(2, -1), "out_features: expected"),
        (lambda: Conv2d(1, 1, 0), "kernel_size: expected"),
        (lambda: MaxPool2d(0), "size: expected"),
        (lambda: Linear(3, 2).output_shape((4,)), r"Linear\(in_features=3.*expected input of shape \(3,\), got \(4,\)"),
        (lambda: Linear(3, 2).output_shape((3, 1, 1)), r"expected input of shape \(3,\), got \(3, 1, 1\)"),
        (lambda: Conv2d(1, 2, 5).output_shape((1, 4, 9)), r"expected input of shape \(1, height >= 5, width >= 5\)"),
        (lambda: Conv2d(1, 2, 5).output_shape((3, 9, 9)), r"got \(3, 9, 9\)"),
        (lambda: MaxPool2d(2).output_shape((8,)), r"expected input of shape \(channels, height >= 2"),
    ],
)
def test_faults(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_types_and_freezing():
    with pytest.raises(InputTypeError, match="in_features: expected an integer"):
        Linear(2.5, 1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Linear(2, 1).in_features = 3
    assert Linear(np.int64(2), 1) == Linear(2, 1)
    assert type(Linear(np.int64(2), 1).in_features) is int
