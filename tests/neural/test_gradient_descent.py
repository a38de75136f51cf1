"""SGD and Adam: the minimum of a convex problem, one step by hand, and what they refuse."""

import numpy as np
import pytest

from micropolis.errors import InputError
from micropolis.neural import SGD, Adam, Linear, ReLU, Sequential

RNG = np.random.default_rng(5)
X = RNG.standard_normal((60, 3))
Y = X @ [1.0, -2.0, 0.5] + 0.7 + 0.1 * RNG.standard_normal(60)


def mode(tau):
    """Least squares with a Gaussian prior of precision tau, noise of precision 1."""
    design = np.column_stack([X, np.ones(60)])
    return np.linalg.solve(design.T @ design + tau * np.eye(4), design.T @ Y)


@pytest.mark.parametrize("tau", [0.0, 3.0])
@pytest.mark.parametrize(
    "make", [lambda net: SGD(net, 0.2, momentum=0.5), lambda net: Adam(net, 0.05)], ids=["sgd", "adam"]
)
def test_the_minimum_is_the_posterior_mode(make, tau):
    net = Sequential(Linear(3, 1), seed=0)
    history = make(net).run(X, Y, epochs=3000, loss="regression", tau=tau)
    np.testing.assert_allclose(net.parameters, mode(tau), atol=1e-6)
    assert history.shape == (3000,)
    assert history[-1] == pytest.approx(net.losses(X, Y, "regression").mean(), rel=1e-9)


def test_first_steps_are_those_of_the_papers():
    """SGD moves by lr times the mean gradient; Adam's first step is lr in every coordinate."""
    start = Sequential(Linear(3, 1), seed=1)
    gradient = start.value_and_grad(X, Y, "regression")[1] / 60
    for optimizer, expected in ((SGD, 0.1 * gradient), (Adam, 0.1 * np.sign(gradient))):
        net = start.copy()
        optimizer(net, 0.1).run(X, Y, epochs=1, loss="regression")
        np.testing.assert_allclose(start.parameters - net.parameters, expected, rtol=1e-6)


def test_minibatches_see_every_row_once_and_repeat_with_their_seed():
    runs = []
    for _ in range(2):
        net = Sequential(Linear(3, 8), ReLU(), Linear(8, 1), seed=2, dtype="float32")
        history = Adam(net, 0.01).run(X, Y, epochs=40, batch_size=7, loss="regression", seed=3)
        runs.append((history, net.parameters.copy()))
    np.testing.assert_array_equal(runs[0][0], runs[1][0])
    np.testing.assert_array_equal(runs[0][1], runs[1][1])
    frozen = Sequential(Linear(3, 1), seed=0)
    seen = SGD(frozen, 1e-300).run(X, Y, epochs=1, batch_size=7, loss="regression", seed=1)
    assert seen[0] == pytest.approx(frozen.losses(X, Y, "regression").mean(), rel=1e-12)


def test_a_run_goes_on_where_it_stopped():
    whole, parts = (Sequential(Linear(3, 1), seed=0) for _ in range(2))
    Adam(whole, 0.05).run(X, Y, epochs=30, loss="regression")
    optimizer = Adam(parts, 0.05)
    optimizer.run(X, Y, epochs=10, loss="regression")
    optimizer.run(X, Y, epochs=20, loss="regression")
    np.testing.assert_array_equal(whole.parameters, parts.parameters)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net: SGD(net, 0.0), "lr"),
        (lambda net: SGD(net, 0.1, momentum=1.0), "momentum"),
        (lambda net: Adam(net, betas=(0.9,)), "betas"),
        (lambda net: Adam(net).run(X, Y, batch_size=61, loss="regression"), "batch_size"),
        (lambda net: Adam(net).run(X, Y, tau=-1.0, loss="regression"), "tau"),
        (lambda net: Adam(net).run(X[:0], Y[:0], loss="regression"), "X: expected at least one row"),
        (lambda net: Adam(net).run(X, Y[:5], loss="regression"), "y: expected shape"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call(Sequential(Linear(3, 1)))
