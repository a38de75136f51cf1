"""SGD and Adam: against their formulas in NumPy, and where they end."""

import numpy as np
import pytest

from micropolis.errors import InputError, InputTypeError
from micropolis.neural import SGD, Adam, Linear, Posterior, Sequential, Tanh

RNG = np.random.default_rng(12)
X = RNG.standard_normal((30, 3))
Y = X @ [1.0, -1.0, 0.5] + 0.3 + 0.1 * RNG.standard_normal(30)
LABELS = (X[:, 0] > 0).astype(int)


def network(dtype="float64"):
    return Sequential(Linear(3, 4), Tanh(), Linear(4, 2), seed=2, dtype=dtype)


def batches(seed, n, size, epochs):
    """The rows of every step: a new permutation for each epoch, cut into pieces."""
    rng = np.random.default_rng(seed)
    for _ in range(epochs):
        order = rng.permutation(n)
        yield [order[start : start + size] for start in range(0, n, size)]


def sgd(lr, momentum):
    """Polyak (1964)."""
    velocity = 0.0

    def step(theta, gradient):
        nonlocal velocity
        velocity = momentum * velocity + gradient
        return theta - lr * velocity

    return step


def adam(lr, one, two, eps):
    """Kingma & Ba (2015), algorithm 1, line by line."""
    t, m, v = 0, 0.0, 0.0

    def step(theta, gradient):
        nonlocal t, m, v
        t += 1
        m = one * m + (1 - one) * gradient
        v = two * v + (1 - two) * gradient**2
        return theta - lr * (m / (1 - one**t)) / (np.sqrt(v / (1 - two**t)) + eps)

    return step


@pytest.mark.parametrize(
    ("make", "formula"),
    [
        (lambda net: SGD(net, 0.1), lambda: sgd(0.1, 0.0)),
        (lambda net: SGD(net, 0.05, momentum=0.9), lambda: sgd(0.05, 0.9)),
        (lambda net: Adam(net, 0.02), lambda: adam(0.02, 0.9, 0.999, 1e-8)),
        (lambda net: Adam(net, 0.02, betas=(0.5, 0.7), eps=1e-3), lambda: adam(0.02, 0.5, 0.7, 1e-3)),
    ],
    ids=["sgd", "momentum", "adam", "adam options"],
)
@pytest.mark.parametrize("tau", [0.0, 2.0])
def test_steps_are_those_of_the_formulas(make, formula, tau):
    """30 rows in batches of 8: the last one of an epoch has 6, and counts for what it is."""
    net = network()
    theta, expected, step = net.parameters.copy(), [], formula()
    for epoch in batches(7, 30, 8, 3):
        total = 0.0
        for rows in epoch:
            other = net.copy()
            other.parameters = theta
            loss, gradient = other.value_and_grad(X[rows], LABELS[rows])
            total += loss
            theta = step(theta, gradient / len(rows) + tau / 30 * theta)
        expected.append(total / 30)
    history = make(net).run(X, LABELS, epochs=3, batch_size=8, tau=tau, seed=7)
    np.testing.assert_allclose(net.parameters, theta, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(history, expected, rtol=1e-10)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_run_goes_on_where_it_stopped(dtype):
    one, two = network(dtype), network(dtype)
    whole = Adam(one, 0.05).run(X, LABELS, epochs=10, seed=1)
    optimizer = Adam(two, 0.05)
    parts = [optimizer.run(X, LABELS, epochs=epochs, seed=1) for epochs in (4, 6)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(one.parameters, two.parameters)
    assert one.parameters.dtype == dtype


@pytest.mark.parametrize("make", [lambda net: SGD(net, 0.1, momentum=0.8), lambda net: Adam(net, 0.05)])
def test_the_minimum_is_the_posterior_mode(make):
    """Ridge regression, whose mode is a linear solve."""
    net = Sequential(Linear(3, 1), seed=0)
    make(net).run(X, Y, epochs=2000, loss="regression", scale=4.0, tau=3.0)
    design = np.column_stack([X, np.ones(30)])
    mode = np.linalg.solve(4.0 * design.T @ design + 3.0 * np.eye(4), 4.0 * design.T @ Y)
    np.testing.assert_allclose(net.parameters, mode, atol=1e-6)
    gradient = Posterior(net, X, Y, loss="regression", tau=3.0, tau_out=4.0).grad(net.parameters)
    assert np.abs(gradient).max() < 1e-3


def test_minibatches_learn():
    net = network("float32")
    history = Adam(net, 0.02).run(X, LABELS, epochs=100, batch_size=5, seed=0)
    assert history[-1] < 0.1 < history[0]
    assert np.mean(net(X).argmax(axis=1) == LABELS) == 1.0


def test_the_seed_orders_the_rows():
    runs = []
    for seed in (1, 1, 2):
        net = network()
        SGD(net, 0.1).run(X, LABELS, epochs=2, batch_size=7, seed=seed)
        runs.append(net.parameters)
    np.testing.assert_array_equal(runs[0], runs[1])
    assert np.abs(runs[0] - runs[2]).max() > 1e-6


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_descent_that_explodes_is_an_error(dtype):
    """Never a silent NaN: the network keeps its last finite parameters."""
    net = Sequential(Linear(3, 1), seed=0, dtype=dtype)
    with pytest.raises(InputError, match="lr: expected a learning rate at which descent stays finite"):
        SGD(net, 1e6).run(X, Y, epochs=1000, loss="regression")
    assert np.isfinite(net.parameters).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda net: Adam("net"), InputTypeError, "net: expected a Sequential, got str"),
        (lambda net: Adam(net, lr=0.0), InputError, "lr"),
        (lambda net: SGD(net, lr=0.1, momentum=1.0), InputError, "momentum"),
        (lambda net: SGD(net, lr=0.1, momentum=-0.1), InputError, "momentum"),
        (lambda net: Adam(net, betas=(0.9, 1.0)), InputError, "betas"),
        (lambda net: Adam(net, betas=(0.9,)), InputError, "betas"),
        (lambda net: Adam(net, betas=0.9), InputError, "betas"),
        (lambda net: Adam(net).run(X, None), InputTypeError, "y: expected the labels or targets"),
        (lambda net: Adam(net).run(X, LABELS, seed="a"), InputTypeError, "seed: expected an integer"),
        (lambda net: Adam(net, eps=0.0), InputError, "eps"),
        (lambda net: Adam(net).run(X, LABELS[:5]), InputError, r"y: expected shape \(30,\)"),
        (lambda net: Adam(net).run(X[:, :2], LABELS), InputError, "X: expected shape"),
        (lambda net: Adam(net).run(np.where(X > 1, np.nan, X), LABELS), InputError, "X: expected finite"),
        (lambda net: Adam(net).run(X, LABELS + 5), InputError, "labels in 0..1"),
        (lambda net: Adam(net).run(X[:0], LABELS[:0]), InputError, "at least one row"),
        (lambda net: Adam(net).run(X, LABELS, epochs=-1), InputError, "epochs"),
        (lambda net: Adam(net).run(X, LABELS, batch_size=31), InputError, "batch_size"),
        (lambda net: Adam(net).run(X, LABELS, tau=-1.0), InputError, "tau"),
    ],
)
def test_bad_input_is_named(call, error, message):
    net = network()
    before = net.parameters.copy()
    with pytest.raises(error, match=message):
        call(net)
    np.testing.assert_array_equal(net.parameters, before)


@pytest.mark.parametrize("make", [lambda net: SGD(net, 0.01, momentum=0.9), lambda net: Adam(net, 0.05)])
def test_a_step_that_is_not_made_leaves_no_trace(make):
    """Gradients that overflow must not stay in the moments, where Adam would never move again."""
    runs = []
    for spoil in (False, True):
        net = Sequential(Linear(3, 1), seed=0)
        optimizer = make(net)
        optimizer.run(X, Y, epochs=3, loss="regression")
        if spoil:
            kept = net.parameters.copy()
            net.parameters[:] = 1e200
            with pytest.raises(InputError, match="lr"):
                optimizer.run(X, Y, epochs=1, loss="regression")
            net.parameters = kept
        runs.append(optimizer.run(X, Y, epochs=3, loss="regression"))
    np.testing.assert_array_equal(*runs)


def test_gradients_whose_squares_overflow_float32():
    """1e22 squared is no float32; an infinite moment would stop Adam for good."""
    net = Sequential(Linear(3, 1), seed=0, dtype="float32")
    net.parameters[:] = 0.0
    history = Adam(net, 1.0).run(X, 1e18 * Y, epochs=3, loss="regression", scale=1e-10)
    assert history[2] <= history[0]
    net = Sequential(Linear(1, 1), seed=0, dtype="float32")
    net.parameters = [1.0, 0.0]
    Adam(net, 0.1).run([[1e12], [2e12]], [0.0, 0.0], epochs=5, loss="regression")
    assert abs(net.parameters[0] - 0.5) < 0.1


def test_ctrl_c_in_a_step_leaves_no_trace(monkeypatch):
    runs = []
    for press in (False, True):
        net = Sequential(Linear(3, 1), seed=0)
        optimizer = Adam(net, 0.05)
        optimizer.run(X, Y, epochs=3, loss="regression")
        if press:
            original = optimizer._direction

            def pressed(gradient, original=original):
                original(gradient)
                raise KeyboardInterrupt

            with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
                patch.setattr(optimizer, "_direction", pressed)
                optimizer.run(X, Y, epochs=1, loss="regression")
        runs.append(optimizer.run(X, Y, epochs=3, loss="regression"))
    np.testing.assert_array_equal(*runs)
