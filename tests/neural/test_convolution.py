"""Convolutions and pooling in the BLAS engine: NumPy, central differences, threads, row lists, memory maps."""

import numpy as np
import pytest

from micropolis.errors import InputError
from micropolis.neural import SELU, Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential, Sigmoid, Tanh, losses
from micropolis.neural.losses import as_loss

NETWORKS = {
    "conv": ((Conv2d(2, 3, 3), Flatten(), Linear(60, 4)), (2, 7, 6)),
    "conv, no flatten": ((Conv2d(2, 2, 5), Tanh()), (2, 5, 6)),
    "conv, activation, conv": ((Conv2d(1, 3, 2), SELU(), Conv2d(3, 2, 3), Tanh(), Flatten(), Linear(24, 3)), (1, 6, 7)),
    "pool before activation": ((Conv2d(1, 4, 3), MaxPool2d(2), ReLU(), Flatten(), Linear(36, 5)), (1, 8, 9)),
    "pool of 3, odd sides": ((Conv2d(3, 2, 2), Sigmoid(), MaxPool2d(3), Flatten(), Linear(8, 3)), (3, 9, 8)),
    "tiles that overhang": ((Conv2d(3, 7, 4), ReLU(), Conv2d(7, 4, 1), Flatten(), Linear(240, 3)), (3, 9, 13)),
    "activation first": ((Tanh(), Conv2d(2, 4, 2), MaxPool2d(2), Sigmoid(), Flatten(), Linear(16, 3)), (2, 5, 6)),
    "one pixel, then layers": (
        (Conv2d(1, 6, 4), Flatten(), Tanh(), Linear(6, 8), Sigmoid(), Linear(8, 3)),
        (1, 4, 4),
    ),
    "pool first": ((MaxPool2d(2), Flatten(), Linear(8, 3), Tanh(), Sigmoid(), Linear(3, 2)), (2, 5, 4)),
    "two of each": (
        (Conv2d(1, 3, 3), MaxPool2d(2), Tanh(), Conv2d(3, 5, 2), MaxPool2d(2), Tanh(), Flatten(), Linear(20, 7), Tanh(),
         Linear(7, 3)),
        (1, 12, 12),
    ),
    # gradients made of the winners of pooling alone (csrc/neural/winners.h)
    "winners, first layer": ((Conv2d(1, 3, 5), MaxPool2d(2), ReLU(), Flatten(), Linear(48, 3)), (1, 12, 12)),
    "winners, many channels": (
        (Conv2d(2, 9, 2), Tanh(), Conv2d(9, 5, 3), SELU(), MaxPool2d(2), Flatten(), Linear(45, 3)),
        (2, 10, 9),
    ),
    "winners, pool of 3": (
        (Conv2d(1, 3, 2), Conv2d(3, 4, 3), MaxPool2d(3), Sigmoid(), Flatten(), Linear(36, 2)),
        (1, 13, 14),
    ),
    "winners, twice": (
        (Conv2d(1, 4, 5), ReLU(), MaxPool2d(2), Conv2d(4, 3, 3), MaxPool2d(2), Flatten(), Linear(3, 2)),
        (1, 12, 12),
    ),
    "winners, but an activation on both sides": (
        (Conv2d(1, 3, 5), Tanh(), MaxPool2d(2), Tanh(), Flatten(), Linear(48, 3)),
        (1, 12, 12),
    ),
    "winners, lines that overlap": (
        (Conv2d(1, 1, 1), Conv2d(1, 2, 5), MaxPool2d(3), Flatten(), Linear(2, 3)),
        (1, 7, 7),
    ),
}  # fmt: skip


def build(name, dtype="float64", rows=5):
    layers, shape = NETWORKS[name]
    net = Sequential(*layers, seed=3, dtype=dtype, input_shape=shape)
    rng = np.random.default_rng(7)
    outputs = int(np.prod(net.output_shape))
    return net, rng.standard_normal((rows, *shape)).astype(dtype), rng.integers(0, outputs, rows)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("rows", [1, 4, 5, 12, 70])
def test_forward_is_that_of_numpy(name, dtype, rows):
    net, x, y = build(name, dtype, rows)
    outputs = net(x)
    np.testing.assert_allclose(outputs, net.reference(x), atol=1e-12 if dtype == "float64" else 1e-5)
    expected = losses.reference("multiclass", outputs.reshape(rows, -1).astype(float), y)[0]
    np.testing.assert_allclose(net.losses(x, y), expected, atol=1e-12 if dtype == "float64" else 1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_gradient_and_product_agree_with_differences(name):
    net, x, y = build(name)
    total, gradient = net.value_and_grad(x, y)
    assert total == pytest.approx(net.losses(x, y).sum(), rel=1e-12)
    theta, h = net.parameters.copy(), 1e-6
    vector = np.random.default_rng(1).standard_normal(net.n_parameters)
    for i in np.random.default_rng(2).choice(net.n_parameters, 40):
        slopes = []
        for sign in (1, -1):
            net.parameters = theta + sign * h * (np.arange(net.n_parameters) == i)
            slopes.append(net.losses(x, y).sum())
        assert gradient[i] == pytest.approx((slopes[0] - slopes[1]) / (2 * h), abs=2e-8)
    gradients = []
    for sign in (1, -1):
        net.parameters = theta + sign * h * vector
        gradients.append(net.value_and_grad(x, y)[1])
    net.parameters = theta
    np.testing.assert_allclose(net.hvp(x, y, vector), (gradients[0] - gradients[1]) / (2 * h), atol=2e-7)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("rows", [2, 3, 4, 7, 8, 11, 13])
def test_gradient_and_product_are_sums_over_rows(name, dtype, rows):
    # one row is half a group of images, and rows at the end are half a group or a whole one
    net, x, y = build(name, dtype, rows)
    vector = np.random.default_rng(1).standard_normal(net.n_parameters).astype(dtype)
    each = [net.value_and_grad(x[i : i + 1], y[i : i + 1])[1].astype(float) for i in range(rows)]
    products = [net.hvp(x[i : i + 1], y[i : i + 1], vector).astype(float) for i in range(rows)]
    for got, parts in ((net.value_and_grad(x, y)[1], each), (net.hvp(x, y, vector), products)):
        scale = np.abs(parts).sum(axis=0).max()
        np.testing.assert_allclose(
            got, np.sum(parts, axis=0), rtol=0, atol=scale * (1e-13 if dtype == "float64" else 1e-5)
        )


def test_sums_over_many_winners_round_little():
    # 900 places in 300 images: summed image by image they are wrong by 4e-7, by groups of eight images by 1e-6
    layers = (Conv2d(1, 4, 5), MaxPool2d(2), ReLU(), Flatten(), Linear(3600, 3))
    single, double = (Sequential(*layers, seed=1, dtype=d, input_shape=(1, 64, 64)) for d in ("float32", "float64"))
    double.parameters = single.parameters
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((300, 1, 64, 64)).astype("float32"), rng.integers(0, 3, 300)
    exact, single = (net.value_and_grad(x, y)[1][:104] for net in (double, single))
    assert np.sqrt(np.mean((single - exact) ** 2) / np.mean(exact**2)) < 7e-7


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_slope_that_is_nan_is_not_left_out(dtype):
    net, x, y = build("winners, twice", dtype)
    theta = net.parameters.copy()
    theta[-1] = np.nan  # a bias behind everything
    _, gradient = net.bind().loss_grad(as_loss("multiclass"), theta, net.data(x, y))
    assert np.isnan(gradient).all()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_any_number_of_threads_gives_the_same_up_to_rounding(dtype):
    """And the same number of threads the same bits."""
    net, x, y = build("two of each", dtype, 600)
    network, loss, data = net.bind(), as_loss("multiclass"), net.data(x, y)
    total, gradient = network.loss_grad(loss, net.parameters, data)
    for threads in (2, 3, 7):
        many = network.with_threads(threads)
        np.testing.assert_allclose(
            many.losses(loss, net.parameters, data), network.losses(loss, net.parameters, data), rtol=1e-5
        )
        found = many.loss_grad(loss, net.parameters, data)
        assert found[0] == pytest.approx(total, rel=1e-12 if dtype == "float64" else 1e-6)
        np.testing.assert_allclose(found[1], gradient, atol=(1e-11 if dtype == "float64" else 1e-3))
        again = many.loss_grad(loss, net.parameters, data)
        assert again[0] == found[0]
        np.testing.assert_array_equal(again[1], found[1])


def test_rows_may_be_listed():
    net, x, y = build("pool before activation", rows=300)
    network, loss, data = net.bind(), as_loss("multiclass"), net.data(x, y)
    rows = np.random.default_rng(3).permutation(300)[:77]
    total, gradient = network.loss_grad(loss, net.parameters, data, rows)
    expected = network.loss_grad(loss, net.parameters, net.data(x[rows], y[rows]))
    assert total == expected[0]
    np.testing.assert_array_equal(gradient, expected[1])


def test_a_memory_map_is_read_in_place(tmp_path):
    net, x, y = build("two of each", "float32", 40)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    data = net.data(mapped, y)
    assert np.shares_memory(data.inputs, mapped)
    assert net.bind().loss_sum(as_loss("multiclass"), net.parameters, data)[0] == pytest.approx(
        net.losses(x, y).sum(), rel=1e-6
    )


def test_a_sum_stops_at_its_threshold():
    net, x, y = build("conv", rows=3000)
    network, loss, data = net.bind(), as_loss("multiclass"), net.data(x, y)
    total, looked = network.loss_sum(loss, net.parameters, data)
    assert looked == 3000
    part, early = network.loss_sum(loss, net.parameters, data, threshold=total / 4)
    assert part >= total / 4
    assert early < 1500


@pytest.mark.parametrize(
    ("layers", "shape", "message"),
    [
        ((Conv2d(3, 4, 5), Flatten(), Linear(10, 2)), (1, 28, 28), "number 0"),
        ((Conv2d(1, 4, 5), Flatten(), Linear(10, 2)), (1, 28, 28), r"number 2 .* \(2304,\)"),
        ((Conv2d(1, 4, 5),), (1, 4, 4), "number 0"),
        ((Conv2d(1, 4, 3), MaxPool2d(7)), (1, 8, 8), "number 1"),
    ],
)
def test_a_layer_that_does_not_follow_is_named_with_shapes(layers, shape, message):
    with pytest.raises(InputError, match=message):
        Sequential(*layers, input_shape=shape)
