"""Array kernels: results in the caller's arrays, rows of a batch, bad input; their laws are in test_laws_*.py."""

import numpy as np
import pytest

import micropolis as mp
from micropolis.errors import DensityError, InputError, InputTypeError
from micropolis.kernels import leapfrog, metropolis_accept

DIM = 3
DENSITY = mp.densities.Gaussian(np.arange(DIM), std=[0.5, 1.0, 2.0])
Q, P = np.random.default_rng(5).normal(size=(2, 4, 6, DIM))


def test_decisions_go_where_they_are_asked():
    logp, proposed = np.zeros((5, 8)), np.random.default_rng(6).normal(size=8)
    expected = metropolis_accept(logp, proposed, np.random.default_rng(7))
    assert 0 < np.count_nonzero(expected) < expected.size
    for out in (np.zeros((5, 8), dtype=bool), np.zeros((5, 16), dtype=bool)[:, ::2]):
        assert metropolis_accept(logp, proposed, np.random.default_rng(7), out=out) is out
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("mass", [None, np.array([0.5, 2.0, 1.0]), np.diag([0.5, 2.0, 1.0]) + 0.2])
def test_leapfrog_is_the_loop_of_its_definition(mass):
    velocity = np.eye(DIM) if mass is None else np.diag(mass) if mass.ndim == 1 else mass
    q, p = Q.copy(), P.copy()
    for _ in range(9):
        p = p + 0.05 * DENSITY.grad(q)
        q = q + 0.1 * p @ velocity
        p = p + 0.05 * DENSITY.grad(q)
    before = Q.copy(), P.copy()
    got = leapfrog(DENSITY, Q, P, 0.1, 9, inverse_mass=mass)
    for array, expected in zip(got, (q, p, DENSITY(q), DENSITY.grad(q)), strict=True):
        np.testing.assert_allclose(array, expected, rtol=1e-11, atol=1e-13)
    np.testing.assert_array_equal((Q, P), before)
    row = leapfrog(DENSITY, Q[1, 2], P[1, 2], 0.1, 9, inverse_mass=mass)
    assert all(np.array_equal(whole[1, 2], one) for whole, one in zip(got, row, strict=True))


@pytest.mark.parametrize("order", ["apart", "in place", "swapped"])
def test_leapfrog_into_arrays(order):
    """As with NumPy's own out=, results do not depend on whether the arrays are those of the input."""
    expected = leapfrog(DENSITY, Q, P, 0.1, 9)
    q, p = Q.copy(), P.copy()
    places = {"apart": (np.empty_like(q), np.empty_like(p)), "in place": (q, p), "swapped": (p, q)}[order]
    out = (*places, np.empty(Q.shape[:-1]), np.empty_like(q))
    got = leapfrog(DENSITY, q, p, 0.1, 9, out=out)
    for array, place, value in zip(got, out, expected, strict=True):
        assert array is place
        np.testing.assert_array_equal(array, value)


def results(**changes):
    arrays = {"q": np.empty(DIM), "p": np.empty(DIM), "logp": np.empty(()), "grad": np.empty(DIM)} | changes
    return tuple(arrays.values())


def read_only(array):
    array.setflags(write=False)
    return array


ONE = np.empty(DIM)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"out": results(p=np.empty(2))}, r"out: expected four writable .* got float64 \(3,\), float64 \(2,\)"),
        ({"out": results(q=np.empty(DIM, dtype="f4"))}, r"out: .* got float32 \(3,\)"),
        ({"out": results(q=np.empty(2 * DIM)[::2])}, "out: expected four writable C-contiguous"),
        ({"out": results(grad=read_only(np.empty(DIM)))}, "read-only"),
        ({"out": results(q=ONE, grad=ONE)}, "out: expected four arrays, got one twice"),
        ({"out": np.empty(DIM)}, "out: expected four"),
        ({"inverse_mass": [1.0, 1.0]}, r"inverse_mass: expected shape \(3,\) or \(3, 3\), got \(2,\)"),
        ({"inverse_mass": [1.0, -1.0, 1.0]}, "inverse_mass: expected positive"),
        ({"inverse_mass": np.triu(np.ones((3, 3)))}, "inverse_mass: expected a symmetric positive definite"),
        ({"p": np.zeros((2, 3)), "q": np.zeros((4, 3))}, "q, p: shapes do not broadcast"),
        ({"step_size": 0.0}, "step_size: expected a number other than 0"),
        ({"n_steps": -1}, "n_steps: expected an integer >= 0"),
    ],
)
def test_leapfrog_says_what_is_wrong(options, message):
    arguments = {"q": np.zeros(DIM), "p": np.ones(DIM), "step_size": 0.1, "n_steps": 2} | options
    with pytest.raises(InputError, match=message):
        leapfrog(DENSITY, **arguments)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"out": np.zeros(3, dtype=np.uint8)}, InputError, r"out: .* got uint8 \(3,\)"),
        ({"out": np.zeros(4, dtype=bool)}, InputError, r"out: expected a writable bool array of shape \(3,\)"),
        ({"out": read_only(np.zeros(3, dtype=bool))}, InputError, "read-only"),
        ({"temperature": 0.0}, InputError, "temperature: expected positive"),
        ({"temperature": np.nan}, InputError, "temperature: expected positive"),
        ({"logp_proposed": np.zeros(2)}, InputError, "shapes do not broadcast"),
        ({"logp_proposed": "a"}, InputTypeError, "logp_proposed: expected an array of real numbers"),
        ({"rng": np.random.RandomState(0)}, InputTypeError, "rng: expected a numpy.random.Generator"),
    ],
)
def test_metropolis_accept_says_what_is_wrong(options, error, message):
    arguments = {"logp": np.zeros(3), "logp_proposed": np.zeros(3), "rng": np.random.default_rng(0)} | options
    with pytest.raises(error, match=message):
        metropolis_accept(**arguments)


def test_what_a_function_raises_is_a_density_error_of_leapfrog():
    density = mp.Density.from_callable(lambda x: 1 / 0, DIM)
    with pytest.raises(DensityError, match="the log density failed: ZeroDivisionError") as caught:
        leapfrog(density, Q, P, 0.1, 2)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_mass_that_is_symmetric_but_for_rounding():
    """The inverse of a covariance has zeros off its three diagonals; np.linalg.inv gives 1e-15, not the same twice."""
    place = np.arange(10)
    precision = np.linalg.inv(0.9 ** np.abs(place[:, None] - place))
    assert not np.allclose(precision, precision.T, rtol=1e-10, atol=0)
    density = mp.densities.Gaussian(np.zeros(10))
    trace = mp.sample(density, mp.HMC(inverse_mass=precision), draws=2, warmup=0, chains=1, seed=1, progress=False)
    assert trace.n_draws == 2
    crooked = precision + np.eye(10, k=3) * 1e-6
    with pytest.raises(InputError, match="symmetric positive definite"):
        mp.sample(density, mp.HMC(inverse_mass=crooked), draws=2, warmup=0, chains=1, seed=1, progress=False)
