"""NumPy's meaning to the letter: supports, slopes at zeros, booleans, integers, views, branches that are not taken."""

import numpy as np
import pytest
from scipy import special
from tracing.harness import Program, check

from micropolis.tracing.arrays import Untraceable

W = np.linspace(0.3, 1.7, 6)
HOLES = np.where(W > 1, np.nan, W)
POINTS = np.random.default_rng(3).normal(scale=0.8, size=(3, 6))
ZERO = np.zeros((2, 2))


# -- supports --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "f",
    [
        lambda x: (1.0 - 1) * np.log(x[0]) - 2 * x[0],
        lambda x: 0 * np.log(x[0]),
        lambda x: 0.0 * np.sqrt(x).sum(),
        lambda x: np.log(x[0]) - np.log(x[0]),
        lambda x: np.sqrt(x[0]) ** 2,
        lambda x: np.log(x[0]) / np.log(x[0]),
        lambda x: np.sum(np.array([0.0, 1, 1, 1, 1, 1]) * np.log(x)),
        lambda x: np.sum(ZERO @ np.log(x[:2])),
        lambda x: np.sum(ZERO @ np.log(x[:4]).reshape(2, 2)),
        lambda x: np.sum((np.log(x) - np.log(x)) * W),
        lambda x: np.einsum("i,i", np.zeros(6), np.log(x)),
        lambda x: np.maximum(np.log(x[0]), 3.0),
        lambda x: np.minimum(3.0, np.log(x[0])),
        lambda x: np.max(np.log(x)),
        lambda x: np.clip(np.log(x[0]), -1, 1),
        lambda x: np.log(x[0]) ** 1,
        lambda x: np.exp(np.log(x[0])),
        lambda x: np.logaddexp(np.log(x[0]), 0.0),
        lambda x: np.log(x[0]) * 0 + x[1],
        lambda x: np.polyval([0.0, 0.0, 1.0], np.log(x[0])),
        lambda x: special.xlogy(0.0, np.log(x[0])),
        lambda x: np.sum(np.tril(np.log(x).reshape(2, 3)) * 0),
        lambda x: (np.log(x[0]) > 0) + 0 * np.log(x[0]),
        lambda x: np.prod(np.log(x)),
        lambda x: np.sign(np.log(x[0])),
        lambda x: np.heaviside(np.log(x[0]), 0.5),
        lambda x: np.interp(np.log(x[0]), [0.0, 1.0], [2.0, 3.0]),
    ],
)
def test_the_support_is_kept(f):
    inside, outside = np.array([0.7, 1.4, 0.6, 2.0, 0.5, 0.4]), np.array([-0.7, -1.4, -0.6, -2.0, -0.5, -0.4])
    with np.errstate(all="ignore"):
        assert np.isnan(f(outside))
        check(f, [inside, outside], slopes=False)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.log(x[0]) ** 0,
        lambda x: np.fmax(np.log(x[0]), 3.0),
        lambda x: np.logaddexp(np.log(x[0] * 0), 1.0),
        lambda x: np.where(x[0] > 0, np.log(x[0]), -np.inf),
        lambda x: np.nanmax(np.log(x)),
        lambda x: 1.0 * np.isnan(np.log(x)).sum(),
        lambda x: x[0] / 0.0,
        lambda x: 0.0 / x[0],
        lambda x: np.exp(1000 * x[0]) - np.exp(1000 * x[0]),
        lambda x: np.sum(np.exp(1000 * np.abs(x)) * np.array([0.0, 1, 1, 1, 1, 1])),
        lambda x: special.xlogy(0.0, x[0]),
    ],
)
def test_where_numpy_has_a_number_there_is_one(f):
    with np.errstate(all="ignore"):
        check(f, [W, -W], slopes=False)


# -- slopes where formulas degenerate --------------------------------------------------------------------------------


def missing(x):
    return np.sum(np.where(np.isnan(HOLES), 0.0, (HOLES - x) ** 2))


def selected(x):
    return np.sum(((HOLES - x[0]) ** 2)[~np.isnan(HOLES)])


def roots(x):
    return np.sum(np.where(x > 0, np.sqrt(x), -x)) + np.sum(np.where(x > 0, np.log(x) * x**3, x**2))


def divided(x):
    return np.sum(np.where(x == 0, 1.0, np.sin(x) / x)) + np.sum(np.where(x[::-1] < 0, 0.0, x[::-1] ** 2.5))


@pytest.mark.parametrize("f", [missing, selected, roots, divided])
def test_branches_that_are_not_taken_have_no_say(f):
    x = np.array([-0.5, 0.0, 0.3, -2.0, 0.0, 1.5])
    program = Program(f, 6)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(program.value(x), f(x), rtol=1e-14)
    assert np.all(np.isfinite(program.grad(x)))
    assert np.all(np.isfinite(program.hessian(x)))
    y = x + 0.01
    with np.errstate(all="ignore"):
        check(f, y)


def test_missing_data_at_any_size():
    rng = np.random.default_rng(0)
    data, design = rng.normal(size=1000), rng.normal(size=(1000, 3))
    data[::7] = np.nan
    for f in (
        lambda b: -np.sum(np.where(np.isnan(data), 0.0, (data - design @ b) ** 2)),
        lambda b: -np.sum(((data - design @ b) ** 2)[~np.isnan(data)]),
        lambda b: -np.nansum((data - design @ b) ** 2),
    ):
        check(f, rng.normal(size=(2, 3)))


def test_xlogy_at_zero_counts():
    grad = Program(lambda x: np.sum(special.xlogy(x[:2], x[2:])), 4).grad([0.0, 2.0, 0.3, 0.0])
    np.testing.assert_allclose(grad[:3], [np.log(0.3), -np.inf, 0.0])
    grad = Program(lambda x: special.xlogy(0.0, x[0]) + special.xlog1py(0.0, x[1]), 2).grad([0.0, -1.0])
    np.testing.assert_array_equal(grad, [0.0, 0.0])


def test_powers_at_zero():
    program = Program(lambda x: np.sum(x[:, None] ** np.arange(4)), 3)
    np.testing.assert_array_equal(program.grad([0.0, 1.0, -2.0]), [1.0, 6.0, 9.0])
    np.testing.assert_array_equal(program.hvp([0.0, 1.0, -2.0], np.ones(3)), [2.0, 8.0, -10.0])
    assert Program(lambda x: x[0] ** 0, 1).grad([0.0]) == 0
    assert Program(lambda x: x[0] ** x[1], 2).grad([0.0, 2.0])[0] == 0


@pytest.mark.parametrize("length", [np.linalg.norm, lambda x: np.hypot(x[0], x[1])])
def test_lengths_of_nothing_are_flat(length):
    np.testing.assert_array_equal(Program(length, 2).grad([0.0, 0.0]), [0.0, 0.0])


def test_smooth_functions_are_smooth_where_their_branches_meet():
    """At x = y a branch changes in logaddexp, at 0 in expit; chains start at 0, so both derivatives must hold there."""
    for f, slope, curvature in [
        (lambda x: np.logaddexp(x[0], 0.0), 0.5, 0.25),
        (lambda x: np.logaddexp.reduce(np.stack([x[0], 0.0])), 0.5, 0.25),
        (lambda x: np.logaddexp.reduce(np.stack([x[0], 0.0, -np.inf])), 0.5, 0.25),
        (lambda x: special.expit(x[0]), 0.25, 0.0),
        (lambda x: special.log_expit(x[0]), 0.5, -0.25),
        (lambda x: special.betaln(1 + x[0], 1.0), -1.0, 1.0),
        (lambda x: special.betaln(11 + x[0], 11.0), special.psi(11) - special.psi(22), None),
    ]:
        program = Program(f, 1)
        np.testing.assert_allclose(program.grad([0.0]), [slope], rtol=1e-11)
        if curvature is not None:
            np.testing.assert_allclose(program.hvp([0.0], [1.0]), [curvature], rtol=1e-11, atol=1e-15)
    for x in (-2000.0, 2000.0):
        assert np.all(np.isfinite(Program(lambda x: np.logaddexp(x[0], 0.0), 1).grad([x])))


# -- booleans and integers -------------------------------------------------------------------------------------------

TYPED = {
    "or and and": lambda x: (
        (x > 0) + (x < 1),
        (x > 0) * (x < 1),
        (x > 0) | (x < -1),
        (x > 0) & (W > 1),
        (x > 0) ^ (W > 1),
    ),
    "counts": lambda x: (np.sum(x > 0), np.mean(x > 0), (x > 0).sum() // 2, np.sum(x > 0) / 2, np.cumsum(x > 0)),
    "any": lambda x: (np.any(x > 0), np.all(x > -9), np.prod(x > 0), np.max(x > 0), np.min(x > 0), np.var(x > 0)),
    "integers": lambda x: (
        np.sum(x > 0) // 4,
        np.sum(x > 0) % 4,
        np.sum(x > 0) // 0,
        np.sum(x > 0) % 0,
        np.sum(x > 0) ** 2,
        -np.sum(x > 0),
    ),
    "mixed": lambda x: (
        np.sum(x > 0) * 2.0,
        (x > 0) * x,
        (x > 0) * 3,
        (x > 0) + 1.0,
        1 - (x > 0),
        2 ** np.cumsum(x > 0),
    ),
    "maxima": lambda x: (
        np.maximum(x > 0, x < 1),
        np.minimum(np.sum(x > 0), 3),
        np.abs(np.sum(x > 0)),
        np.sign(np.sum(x > 0)),
    ),
    "where": lambda x: (
        np.where(x > 0, 1, 0),
        np.where(x > 0, True, x < -1),
        np.where(x > 0, 1, 0.5),
        np.where(np.sum(x > 0), x, 1),
    ),
    "comparisons": lambda x: ((x > 0) == (x < 1), (x > 0) != True, np.isnan(x), (x > 0) > 0.5, ~(x > 0)),  # noqa: E712
    "floats": lambda x: (
        x // 0.7,
        x % 0.7,
        x // 0.0,
        -x // 0.0,
        np.fmod(x, 0.7),
        x % -0.7,
        np.floor(x),
        np.ceil(x),
        np.trunc(x),
    ),
    "zeros and ones": lambda x: (
        np.logical_not(x),
        np.logical_and(x, 1),
        np.logical_xor(x, x > 0),
        np.count_nonzero(x > 0),
    ),
    "diff": lambda x: (
        np.diff(x > 0),
        np.diff(np.cumsum(x > 0)),
        np.concatenate([x > 0, [1, 2]]),
        np.concatenate([x > 0, x]),
    ),
    "astype": lambda x: ((x > 0).astype(int), (x > 0).astype(float), (x > 0).astype(bool), np.float64(2) * (x > 0)),
}


@pytest.mark.parametrize("name", TYPED)
def test_dtypes(name):
    for x in (*POINTS, np.zeros(6)):
        with np.errstate(all="ignore"):
            plain = TYPED[name](x)
        for i, expected in enumerate(plain):
            program = Program(lambda v, i=i: TYPED[name](v)[i], 6)
            with np.errstate(all="ignore"):
                np.testing.assert_array_equal(program.value(x), expected)
            assert program.result.dtype == np.asarray(expected).dtype, (name, i)


@pytest.mark.parametrize(
    ("f", "error", "reason"),
    [
        (lambda x: -(x > 0), TypeError, "boolean negative"),
        (lambda x: (x > 0) - (x < 1), TypeError, "boolean subtract"),
        (lambda x: np.sum(x > 0) ** -1, ValueError, "negative integer powers"),
        (lambda x: np.exp(x > 0), Untraceable, "float16"),
        (lambda x: np.sum(x > 0) & 3, Untraceable, "bits of integers"),
        (lambda x: np.sum(x > 0) << 1, TypeError, "unsupported"),
        (lambda x: np.rint(x), Untraceable, "rounding"),
        (lambda x: x.argmax(), Untraceable, "argmax of a value"),
        (lambda x: x == None, Untraceable, "NoneType objects"),  # noqa: E711
        (lambda x: np.round(x, 2), Untraceable, "rounding"),
        (lambda x: x.astype(int), Untraceable, "astype"),
        (lambda x: x[x > 0], Untraceable, "an index that depends"),
        (lambda x: x[np.sum(x > 0)], Untraceable, "an index that depends"),
        (lambda x: np.where(x > 0), Untraceable, "finds positions"),
        (lambda x: np.sort(x), Untraceable, "numpy.sort cannot be traced"),
        (lambda x: np.linalg.qr(np.outer(x, x))[1], Untraceable, "qr cannot be traced"),
        (lambda x: special.jv(0, x), Untraceable, "the function jv cannot be traced"),
        (lambda x: 1 if x[0] > 0 else 2, Untraceable, "decision"),
        (lambda x: float(x[0]), Untraceable, "float was asked"),
        (lambda x: np.zeros(3).__iadd__(x[:3]), Untraceable, "writes into a NumPy array"),
    ],
)
def test_refused(f, error, reason):
    with pytest.raises(error, match=reason):
        Program(f, 6)


def test_what_does_not_depend_on_the_parameters_is_known():
    def f(x):
        table = np.zeros(4, like=x)
        table[1:3] = [2.0, -1.0]
        if table[1] > 1 and float(table[2]) == -1.0:
            return (
                np.sum(x[:4][table > 0]) + np.sort(table)[0] * x[1] + x[int(table[1])] + np.sum(np.unique(table)) * x[0]
            )
        return 0.0

    check(f, POINTS)
