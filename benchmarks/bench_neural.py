"""Networks: value and gradient, HMC on a convolutional network, prediction; against floors, NumPy and PyTorch.

    pytest benchmarks/bench_neural.py

Floors. 2-10-10-2 takes 140 multiply-adds a row forward and about three times that with the gradient: 420,000 for 1000
rows, 14 us at eight doubles a cycle and 3.7 GHz; tanh, exp and log come on top. 784-100-10 is nothing but its matrix
products: they are timed by themselves, as SciPy's sgemm, in the same process. The convolutional network (conv 20@5x5,
pool 2, ReLU, conv 50@5x5, pool 2, ReLU, 800-500, ReLU, 500-10: 431,080 parameters, 28 x 28 images) takes 2.29 million
multiply-adds an image forward and 6.59 million with the gradient: 1.318 GFLOP for 100 images. All of its matrix
products are timed by themselves too, with the shapes that blocks of rows give them. Pooling leaves a slope at one
output of a convolution in four, so that 3.97 million suffice, .60 of them (csrc/neural/winners.h; fewer where ReLU is
at zero); laying out windows, pooling and the 431,080 normals of a draw come on top.

Two threads share the gradient; the rest of a sample, about 2.4 ms, is one thread's. What the machine's two cores are
worth when both are busy is measured beside it.

PyTorch, where it is installed, runs on one thread: the same network, loss and gradient.
"""

from __future__ import annotations

import contextlib
import os
import time
import warnings

import numpy as np
import pytest
from timing import least_seconds, worth_of_two_cores

import micropolis as mp
from micropolis.neural import Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential
from micropolis.neural.losses import as_loss

RNG = np.random.default_rng(0)
CORES = len(os.sched_getaffinity(0))


def evaluation(net, X, y):
    """Value and gradient as a function without arguments."""
    network, loss, data, theta = net.bind(), as_loss("multiclass"), net.data(X, y), net.parameters
    return lambda: network.loss_grad(loss, theta, data)


def numpy_gradient(net, X, y):
    """The same by NumPy, for Linear and ReLU."""
    tensors = list(net.named_parameters().values())
    everyone = np.arange(len(X))

    def evaluate():
        values = [X]
        for i in range(0, len(tensors), 2):
            h = values[-1] @ tensors[i].T + tensors[i + 1]
            values.append(np.maximum(h, 0) if i + 2 < len(tensors) else h)
        f = values[-1] - values[-1].max(axis=1, keepdims=True)
        e = np.exp(f)
        total = e.sum(axis=1, keepdims=True)
        loss = (np.log(total[:, 0]) - f[everyone, y]).sum()
        delta = e / total
        delta[everyone, y] -= 1
        parts = []
        for i in range(len(tensors) - 2, -1, -2):
            parts = [(delta.T @ values[i // 2]).ravel(), delta.sum(axis=0), *parts]
            if i:
                delta = (delta @ tensors[i]) * (values[i // 2] > 0)
        return loss, np.concatenate(parts)

    return evaluate


def torch_gradient(net, X, y):
    """The same by PyTorch on one thread; None without it."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(1)
    layers = []
    for layer in net.layers:
        if isinstance(layer, Linear):
            layers.append(torch.nn.Linear(layer.in_features, layer.out_features))
        elif isinstance(layer, Conv2d):
            layers.append(torch.nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size))
        else:
            layers.append(
                {ReLU: torch.nn.ReLU(), MaxPool2d: torch.nn.MaxPool2d(2), Flatten: torch.nn.Flatten()}[type(layer)]
            )
    model = torch.nn.Sequential(*layers).to({"float32": torch.float32, "float64": torch.float64}[net.dtype.name])
    with torch.no_grad():
        for parameter, view in zip(model.parameters(), net.named_parameters().values(), strict=True):
            parameter.copy_(torch.from_numpy(view.copy()))
    inputs, labels = torch.from_numpy(X), torch.from_numpy(y)

    def evaluate():
        model.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(inputs), labels, reduction="sum")
        loss.backward()
        return loss.item(), np.concatenate([p.grad.numpy().ravel() for p in model.parameters()])

    return evaluate


def paired(*functions, repeats=40):
    """Least seconds of each, called in turn."""
    least = [np.inf] * len(functions)
    for _ in range(repeats):
        for i, function in enumerate(functions):
            least[i] = min(least[i], least_seconds(function, 1))
    return least


@contextlib.contextmanager
def one_blas_thread():
    """SciPy's and NumPy's BLAS on one thread, where threadpoolctl is there to say so."""
    try:
        import threadpoolctl
    except ImportError:
        yield
        return
    with threadpoolctl.threadpool_limits(1):
        yield


def products(shapes):
    """SciPy's sgemm on (m, n, k, transposed a, transposed b), one call each."""
    from scipy.linalg.blas import sgemm

    def prepare(m, n, k, ta, tb):
        a = np.asfortranarray(RNG.standard_normal((k, m) if ta else (m, k)), dtype=np.float32)
        b = np.asfortranarray(RNG.standard_normal((n, k) if tb else (k, n)), dtype=np.float32)
        c = np.zeros((m, n), np.float32, order="F")
        return lambda: sgemm(1.0, a, b, 0.0, c, trans_a=ta, trans_b=tb, overwrite_c=1)

    return [prepare(*shape) for shape in shapes]


def test_small_network(benchmark, figure):
    net = Sequential(Linear(2, 10), ReLU(), Linear(10, 10), ReLU(), Linear(10, 2), seed=0)
    X, y = RNG.standard_normal((1000, 2)), RNG.integers(0, 2, 1000)
    functions = [evaluation(net, X, y), numpy_gradient(net, X, y), torch_gradient(net, X, y)]
    results = [function() for function in functions if function]
    for result in results:
        np.testing.assert_allclose(result[1], results[0][1], atol=1e-9)
    with one_blas_thread():
        seconds = benchmark.pedantic(paired, args=[f for f in functions if f], kwargs={"repeats": 500}, rounds=1)
    figure("value and gradient, 2-10-10-2, 1000 rows, float64", 1e6 * seconds[0], "us", 60)
    for name, value in zip(("NumPy", "PyTorch"), seconds[1:], strict=False):
        figure(f"the same, {name}", 1e6 * value, "us")


def test_wide_network(benchmark, figure):
    net = Sequential(Linear(784, 100), ReLU(), Linear(100, 10), seed=0, dtype="float32")
    X, y = RNG.standard_normal((500, 784)).astype(np.float32), RNG.integers(0, 10, 500)
    ours, torch = evaluation(net, X, y), torch_gradient(net, X, y)
    gemms = products(
        [(100, 500, 784, 1, 0), (10, 500, 100, 1, 0), (100, 10, 500, 0, 1), (100, 500, 10, 0, 0), (784, 100, 500, 0, 1)]
    )
    with one_blas_thread():
        functions = [ours, *gemms, *([torch] if torch else [])]
        seconds = benchmark.pedantic(paired, args=functions, kwargs={"repeats": 200}, rounds=1)
    floor = sum(seconds[1 : 1 + len(gemms)])
    figure("value and gradient, 784-100-10, 500 rows, float32", 1e6 * seconds[0], "us")
    figure("the same over its matrix products alone", seconds[0] / floor, "x", 1.05)
    if torch:
        figure("the same, PyTorch", 1e6 * seconds[-1], "us")


def convolutional_network():
    return Sequential(
        Conv2d(1, 20, 5), MaxPool2d(2), ReLU(), Conv2d(20, 50, 5), MaxPool2d(2), ReLU(), Flatten(), Linear(800, 500),
        ReLU(), Linear(500, 10), seed=0, dtype="float32", input_shape=(1, 28, 28),
    )  # fmt: skip


def images(n):
    return RNG.standard_normal((n, 1, 28, 28)).astype(np.float32), RNG.integers(0, 10, n)


def test_gradient_of_the_convolutional_network(benchmark, figure):
    net, (X, y) = convolutional_network(), images(100)
    assert net.n_parameters == 431_080
    ours, torch = evaluation(net, X, y), torch_gradient(net, X, y)
    block = 25
    gemms = products([
        (block * 576, 20, 25, 0, 0), (25, 20, block * 576, 1, 0),
        (block * 64, 50, 500, 0, 0), (500, 50, block * 64, 1, 0),
        (block * 64, 500, 50, 0, 1), (500, block, 800, 1, 0), (800, 500, block, 0, 1), (800, block, 500, 0, 0),
    ])  # fmt: skip
    with one_blas_thread():
        functions = [ours, *gemms, *([torch] if torch else [])]
        seconds = benchmark.pedantic(paired, args=functions, kwargs={"repeats": 60}, rounds=1)
    floor = sum(seconds[1 : 1 + len(gemms)]) * 100 / block
    figure("value and gradient, 431,080 parameters, 100 images", 1e3 * seconds[0], "ms")
    figure("the same over its matrix products alone", seconds[0] / floor, "x")
    if torch:
        figure("the same, PyTorch", 1e3 * seconds[-1], "ms")


@pytest.mark.parametrize("threads", [1, 2])
def test_hmc_on_the_convolutional_network(benchmark, figure, threads):
    """Time per sample, from the difference of a long and a short run."""
    if threads > CORES:
        pytest.skip("needs two cores")
    net, (X, y) = convolutional_network(), images(100)
    density = mp.neural.Posterior(net, X, y, threads=threads)

    def run(draws):
        begin = time.perf_counter()
        mp.sample(density, mp.HMC(0.003, 1), draws=draws, warmup=0, chains=1, init=net.parameters, seed=1,
                  dtype="float32", progress=False)  # fmt: skip
        return time.perf_counter() - begin

    def measure():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run(5)
            return min(run(105) - run(5) for _ in range(5)) / 100

    seconds = benchmark.pedantic(measure, rounds=1)
    limit = {1: 1 / 50, 2: 1 / 85}[threads]
    figure(
        f"sample of HMC, L = 1, 431,080 parameters, 100 images, {threads} thread(s)", 1e3 * seconds, "ms", 1e3 * limit
    )
    if threads == 2:
        with one_blas_thread():
            figure("gradients by two threads at once over those by one", worth_of_two_cores(evaluation(net, X, y)), "x")


@pytest.mark.parametrize("threads", [1, 2])
def test_prediction_of_the_convolutional_network(benchmark, figure, threads):
    if threads > CORES:
        pytest.skip("needs two cores")
    net, (X, _) = convolutional_network(), images(1000)
    draws = np.tile(net.parameters, (8, 1))
    seconds = benchmark.pedantic(
        lambda: least_seconds(lambda: mp.predict_model(net, draws, X, threads=threads), 5) / 8,
        rounds=1,
        warmup_rounds=1,
    )
    limit = {1: 60, 2: 35}[threads]
    figure(f"prediction of 1000 images, a sample, {threads} thread(s)", 1e3 * seconds, "ms", limit)
