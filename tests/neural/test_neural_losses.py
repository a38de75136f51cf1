"""Losses: NumPy references against SciPy's distributions, compiled user losses, targets that do not fit."""

from functools import partial

import numpy as np
import pytest
from scipy import special, stats

from micropolis.errors import InputError, InputTypeError
from micropolis.neural import Linear, Sequential, Tanh
from micropolis.neural.losses import NAMES, as_loss, check_targets, reference


def outputs(n=50, k=3, spread=3.0):
    return spread * np.random.default_rng(0).normal(size=(n, k))


def test_references_are_likelihoods():
    f, rng = outputs(), np.random.default_rng(1)
    labels, bits = rng.integers(0, 3, 50), rng.integers(0, 2, (50, 3))
    real, counts = rng.normal(size=(50, 3)), rng.poisson(2, (50, 3))
    truth = {
        "multiclass": -special.log_softmax(f, axis=1)[np.arange(50), labels],
        "binary": -stats.bernoulli.logpmf(bits, special.expit(f)).sum(axis=1),
        "regression": -stats.norm.logpdf(real, f, 0.5).sum(axis=1),
        "poisson": -stats.poisson.logpmf(counts, np.exp(f)).sum(axis=1),
    }
    for loss, y in zip(NAMES, (labels, bits, real, counts), strict=True):
        got, gradient = reference(loss, f, y, scale=4.0)
        np.testing.assert_allclose(got, truth[loss], rtol=1e-11)
        for k in range(3):
            step = 1e-6 * (np.arange(3) == k)
            ends = [reference(loss, f + sign * step, y, scale=4.0)[0] for sign in (1, -1)]
            np.testing.assert_allclose(gradient[:, k], (ends[0] - ends[1]) / 2e-6, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("dtype", "large"), [("float32", 3e38), ("float64", 1.7e308)])
@pytest.mark.parametrize("classes", [2, 3])
def test_logits_whose_difference_overflows(classes, dtype, large):
    net = Sequential(Linear(1, classes), dtype=dtype)
    net.parameters = np.concatenate([[-large, large, 0.0][:classes], np.zeros(classes)])
    assert net.losses([[1.0]], [1])[0] == pytest.approx(0, abs=1e-30)
    assert net.losses([[1.0]], [0])[0] == np.inf
    np.testing.assert_allclose(net.value_and_grad([[1.0]], [1])[1], 0, atol=1e-30)


@pytest.mark.parametrize(
    ("loss", "y", "n_outputs", "message"),
    [
        ("multiclass", [0, 3], 3, r"y: expected integer labels in 0\.\.2.*got 3 at index 1"),
        ("multiclass", [0, -1], 3, "got -1 at index 1"),
        ("multiclass", [0, 0.5], 3, "got 0.5 at index 1"),
        ("multiclass", [0, np.nan], 3, "got nan at index 1"),
        ("multiclass", [0, 0], 1, 'an output for each class, got 1 output; of one logit it is "binary"'),
        ("multiclass", [0, 1, 1], 3, r"y: expected shape \(2,\), one label for each row of X, got \(3,\)"),
        ("multiclass", [[0], [1]], 3, r"got \(2, 1\)"),
        ("binary", [[0.0], [2.0]], 1, r"y: expected labels 0 and 1, got 2 at index \(1, 0\)"),
        ("binary", [0, 1, 1], 1, r"y: expected shape \(2, 1\) or \(2,\), a target for each row of X and each output"),
        ("regression", [0.0, 1.0], 2, r"y: expected shape \(2, 2\), a target"),
        (
            "regression",
            [[0.0, np.inf], [1.0, 1.0]],
            2,
            r"y: expected finite numbers of float64, got inf at index",
        ),
        ("poisson", [[1.5], [2.0]], 1, "y: expected counts, integers >= 0, got 1.5"),
        ("poisson", [[-1.0], [2.0]], 1, "y: expected counts"),
    ],
)
def test_targets_that_do_not_fit(loss, y, n_outputs, message):
    with pytest.raises(InputError, match=message):
        check_targets(loss, y, 2, n_outputs)


def test_targets_of_wrong_type():
    with pytest.raises(InputTypeError, match="y: expected an array of real numbers"):
        check_targets("multiclass", ["a", "b"], 2, 2)


def test_targets_come_as_the_engines_read_them():
    labels, targets = check_targets("multiclass", np.array([1.0, 0.0]), 2, 2)
    assert targets is None
    assert labels.dtype == np.int64
    labels, targets = check_targets("regression", np.float32([1, 2]), 2, 1)
    assert labels is None
    assert targets.dtype == np.float64
    assert targets.shape == (2, 1)


@pytest.mark.parametrize("loss", ["regression", "poisson"])
def test_targets_beyond_float32(loss):
    """Infinite residuals would make a silent NaN of the gradient; user losses get float64."""
    net = Sequential(Linear(2, 1), dtype="float32")
    with pytest.raises(InputError, match="y: expected (finite numbers of float32|counts, integers >= 0), got 1e\\+300"):
        net.value_and_grad([[0.0, 1.0]], [1e300], loss)
    assert check_targets(half_square, [1e300], 1, 1, "float32")[1][0, 0] == 1e300


# -- user losses -----------------------------------------------------------------------------------------------------


def student_t(output, target, gradient):
    total = 0.0
    for k in range(output.shape[0]):
        residual = output[k] - target[k]
        total += 2.5 * np.log1p(residual**2 / 4.0)
        gradient[k] = 5.0 * residual / (4.0 + residual**2)
    return total


def half_square(output, target, gradient):
    gradient[:] = output - target
    return 0.5 * np.sum((output - target) ** 2)


def test_a_user_loss():
    pytest.importorskip("numba")
    rng = np.random.default_rng(0)
    net = Sequential(Linear(2, 5), Tanh(), Linear(5, 3))
    X, y = rng.normal(size=(70, 2)), rng.normal(size=(70, 3))
    np.testing.assert_allclose(
        net.losses(X, y, student_t), 2.5 * np.log1p((net(X) - y) ** 2 / 4).sum(axis=1), rtol=1e-13
    )
    shared, truth = net.value_and_grad(X, y, half_square), net.value_and_grad(X, y, "regression", scale=1.0)
    assert shared[0] == pytest.approx(truth[0] + 70 * 1.5 * np.log(1 / (2 * np.pi)), rel=1e-12)
    np.testing.assert_allclose(shared[1], truth[1], rtol=1e-10, atol=1e-12)
    with pytest.raises(InputError, match="a user loss has no second derivative"):
        net.hvp(X, y, np.zeros(net.n_parameters), student_t)
    assert as_loss(student_t, n_outputs=3).kind == "user"


def test_a_user_loss_follows_what_it_captures():
    pytest.importorskip("numba")
    weight, weights, pair = 1.0, np.ones(2), (np.ones(1), 0)

    def weighted(output, target, gradient):
        gradient[:] = weight * weights[1] * pair[0][0]
        return weight * weights[1] * pair[0][0]

    net = Sequential(Linear(1, 1))
    assert net.losses([[0.0]], [0.0], weighted) == 1.0
    weight = 2.0
    assert net.losses([[0.0]], [0.0], weighted) == 2.0
    weights[1] = 5.0  # in the array that was compiled in
    assert net.losses([[0.0]], [0.0], weighted) == 10.0
    pair[0][0] = 3.0
    assert net.losses([[0.0]], [0.0], weighted) == 30.0


def test_a_user_loss_that_raises_is_nan():
    pytest.importorskip("numba")

    def picky(output, target, gradient):
        gradient[:] = 0.0
        if target[0] > 0.5:
            raise ValueError
        return 1.0

    net = Sequential(Linear(1, 1))
    np.testing.assert_array_equal(net.losses([[0.0], [0.0]], [0.0, 1.0], picky), [1.0, np.nan])


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        (lambda output, target: 0.0, InputTypeError, r"loss: expected a function of \(output, target, gradient\), got"),
        (lambda o, t, g: o - t, InputError, r"expected it to return a float, got an array of shape \(2,\)"),
        (lambda o, t, g: None, InputError, "expected it to return a float, got None"),
        (lambda o, t, g: o[5], InputError, "on one row of 2 outputs it raised IndexError"),
        (lambda o, t, g: 1.0, InputError, r"gradient\[0\] is not assigned"),
        (partial(lambda output, target, gradient: 0.0), InputTypeError, "loss: expected a function of .*partial"),
        (3, InputTypeError, "loss: expected one of .* or a function, got int"),
        ("hinge", InputError, "loss: expected one of"),
    ],
)
def test_user_losses_that_do_not_fit(loss, error, message):
    pytest.importorskip("numba")
    with pytest.raises(error, match=message):
        as_loss(loss, n_outputs=2)


def test_a_loss_that_numba_cannot_compile():
    pytest.importorskip("numba")

    def opens(output, target, gradient):
        gradient[:] = 0.0
        return float(len(dict(a=object())))

    with pytest.raises(InputTypeError, match="loss: Numba cannot compile it"):
        as_loss(opens, n_outputs=1)


def test_an_index_out_of_range_is_a_nan():
    """Unchecked it reads and writes whatever lies there; one far away ends the interpreter."""
    pytest.importorskip("numba")

    def by_label(output, target, gradient):
        gradient[:] = 0.0
        gradient[int(target[0])] = -1.0
        return -output[int(target[0])]

    losses = Sequential(Linear(2, 3)).losses(np.zeros((4, 2)), np.array([[0], [2], [4], [10**9]]) * [1, 0, 0], by_label)
    assert np.isfinite(losses[:2]).all()
    assert np.isnan(losses[2:]).all()
