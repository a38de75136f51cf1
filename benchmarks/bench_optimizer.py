"""Microseconds of one step of MH on the moons and of MH and MMH on the digits, against NumPy loops.

    pytest benchmarks/bench_optimizer.py

The NumPy loop of the moons draws the same random numbers and makes the same decisions; both make the same 2000 steps.

Floor. A 2-10-10-2 network takes 20 + 100 + 20 = 140 multiply-adds a row, 70,000 for 500 rows: 8750 cycles at eight
doubles a cycle (two vectors of AVX2, one of AVX-512), 2.4 us at 3.7 GHz. The softmax of two adds an exponential and
a logarithm a row, some 40 flops: 0.4 us. 162 normals at 2.6 ns are 0.4 us. So a step that looks at all rows takes
3.2 us at the least. Early rejection looks at a third of the rows: 1.3 us. To reach: 25 times the speed of the NumPy
loop.

The digits' 64-32-32-10 network takes 3392 multiply-adds a row, and a step 3466 normals, 9 us. A minibatch is evaluated
at two models: 64 rows are 434,000 multiply-adds, 15 us in double by the same count, and two rows still fill one tile
of 64.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from timing import least_seconds

import micropolis as mp
from micropolis.neural import Linear, ReLU, Sequential

datasets = pytest.importorskip("sklearn.datasets")

STEPS, LR, T, SEED = 2000, 0.1, 3 / 500, 7
SPEEDUP = 25.0


def moons_network(seed=0, dtype="float64"):
    return Sequential(Linear(2, 10), ReLU(), Linear(10, 10), ReLU(), Linear(10, 2), seed=seed, dtype=dtype)


def moons():
    return datasets.make_moons(n_samples=500, noise=0.1, random_state=0)


def numpy_loop(X, y, theta, steps):
    """Full-batch Metropolis-Hastings as it is written by hand: accepted, loss after each step, weights at the end."""
    rng = np.random.Generator(np.random.SFC64(SEED))
    everyone = np.arange(len(X))

    def mean_loss(theta):
        h = np.maximum(X @ theta[:20].reshape(10, 2).T + theta[20:30], 0)
        h = np.maximum(h @ theta[30:130].reshape(10, 10).T + theta[130:140], 0)
        f = h @ theta[140:160].reshape(2, 10).T + theta[160:]
        f -= f.max(axis=1, keepdims=True)
        return (np.log(np.exp(f).sum(axis=1)) - f[everyone, y]).mean()

    loss, accepted, losses = mean_loss(theta), np.empty(steps, bool), np.empty(steps)
    for step in range(steps):
        u = rng.random()
        proposal = theta + LR * rng.standard_normal(theta.size)
        proposed = mean_loss(proposal)
        accepted[step] = math.log(u) < (loss - proposed) / T
        if accepted[step]:
            theta, loss = proposal, proposed
        losses[step] = loss
    return accepted, losses, theta


def compiled(X, y, dtype="float64", **options):
    net = moons_network(dtype=dtype)
    return mp.MH(net, lr=LR, T=T, seed=SEED, **options).run(X, y, STEPS), net


def test_same_decisions():
    X, y = moons()
    accepted, losses, theta = numpy_loop(X, y, moons_network().parameters, STEPS)
    history, net = compiled(X, y)
    np.testing.assert_array_equal(history.accept, accepted)
    np.testing.assert_allclose(history.sample_nll, losses, rtol=1e-11)
    np.testing.assert_array_equal(net.parameters, theta)


def test_moons(benchmark, figure):
    """Alternating, so that a change of the clock rate meets both."""
    X, y = moons()
    start, slow, fast = moons_network().parameters, [], []
    benchmark.pedantic(compiled, args=(X, y), rounds=5, warmup_rounds=1)
    for _ in range(5):
        slow.append(least_seconds(lambda: numpy_loop(X, y, start, STEPS), repeats=1))
        fast.append(least_seconds(lambda: compiled(X, y)))
    figure("moons, MH step, NumPy loop", 1e6 * min(slow) / STEPS, "us")
    limit = 1e6 * min(slow) / STEPS / SPEEDUP
    figure("moons, MH step, micropolis", 1e6 * min(fast) / STEPS, "us", limit)
    figure("moons, times faster than the NumPy loop", min(slow) / min(fast), "")
    for name, options in (("float32", {"dtype": "float32"}), ("all rows", {"early_rejection": False})):
        seconds = least_seconds(lambda options=options: compiled(X, y, **options))
        figure(f"moons, MH step, micropolis, {name}", 1e6 * seconds / STEPS, "us")
    history, _ = compiled(X, y)
    figure("moons, rows looked at by a step, of 500", history.rows_used.mean(), "rows")


def test_moons_accuracy(benchmark, figure):
    """Training accuracy of the best model of 2000 steps, 20 data sets and networks."""

    def accuracy(seed):
        X, y = datasets.make_moons(n_samples=500, noise=0.1, random_state=seed)
        opt = mp.MH(moons_network(seed), lr=LR, T=T, seed=1000 + seed)
        return float((opt.run(X, y, STEPS).best_model(X).argmax(axis=1) == y).mean())

    found = np.sort([accuracy(seed) for seed in range(20)])
    benchmark.pedantic(accuracy, args=(0,), rounds=1)
    figure("moons, error of the best model, median of 20 seeds", 1 - float(np.median(found)), "", 0.01)
    figure("moons, error of the best model, worst of 20 seeds", 1 - found[0], "")


# name: test, batch size, lr, T; None: full batch
DIGITS = {
    "full": (None, None, 3e-3, 7e-4),
    "naive 2": ("naive", 2, 1e-3, 1e-5),
    "naive 64": ("naive", 64, 1e-3, 5e-5),
    "barker 2": ("barker", 2, 1e-3, 0.0),
    "barker 64": ("barker", 64, 1e-3, 0.0),
    "exact 2": ("exact", 2, 3e-4, 3e-3),
    "exact 64": ("exact", 64, 1e-3, 3e-3),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("setting", list(DIGITS))
def test_digits(benchmark, figure, setting, dtype):
    """From a network that has been trained for 2000 steps of this setting."""
    X, y = datasets.load_digits(return_X_y=True)
    X, y = X[:1257], y[:1257]
    test, batch_size, lr, temperature = DIGITS[setting]
    net = Sequential(Linear(64, 32), ReLU(), Linear(32, 32), ReLU(), Linear(32, 10), seed=0, dtype=dtype)
    if test is None:
        opt, options = mp.MH(net, lr, temperature, seed=1), {}
    else:
        opt, options = mp.MMH(net, lr, temperature, test, seed=1), {"batch_size": batch_size}
    opt.run(X, y, 2000, **options)
    history = benchmark.pedantic(opt.run, args=(X, y, 1000), kwargs=options, rounds=5)
    if benchmark.stats is not None:
        figure(f"digits, {setting}, {dtype}, step", 1e6 * benchmark.stats.stats.min / 1000, "us")
        figure(f"digits, {setting}, {dtype}, rows of a step", history.rows_used.mean(), "rows")
