"""Constrained parameters: Jacobians against numerical determinants, round trips, support, descriptions."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micropolis.errors import InputError, InputTypeError
from micropolis.parameters import (
    CorrelationCholesky,
    Interval,
    Lower,
    Ordered,
    Parameter,
    ParameterSpace,
    Positive,
    Real,
    Simplex,
    Upper,
)

EVERY = [
    Real(),
    Real(3),
    Real((2, 3)),
    Positive(),
    Positive(4),
    Lower(-2.5),
    Lower(1.5, (2, 2)),
    Upper(3.0),
    Upper(-1.0, 3),
    Interval(-1, 4),
    Interval(0, 1, 3),
    Ordered(1),
    Ordered(5),
    Simplex(2),
    Simplex(6),
    CorrelationCholesky(2),
    CorrelationCholesky(4),
]


def free_elements(parameter, value):
    """The elements with respect to which a density of this parameter is written."""
    if isinstance(parameter, Simplex):
        return value[..., :-1]
    if isinstance(parameter, CorrelationCholesky):
        return value[np.tril_indices(parameter.n, -1)]
    return value.reshape(-1)


@pytest.mark.parametrize("parameter", EVERY, ids=repr)
def test_log_jacobian_is_the_determinant(parameter):
    u, h = np.random.default_rng(3).normal(size=parameter.size), 1e-5
    columns = []
    for step in h * np.eye(parameter.size):
        ahead, behind = (free_elements(parameter, parameter.constrain(v)[0]) for v in (u + step, u - step))
        columns.append((ahead - behind) / (2 * h))
    expected = np.linalg.slogdet(np.array(columns).T)[1]
    # the difference is off by h^2 f''' / 6 and eps / h, a few times 1e-10 in each entry
    np.testing.assert_allclose(parameter.constrain(u)[1], expected, atol=1e-7)


@pytest.mark.parametrize("parameter", EVERY, ids=repr)
def test_batches_equal_single_draws(parameter):
    draws = np.random.default_rng(4).normal(size=(2, 3, parameter.size))
    values, log_jacobians = parameter.constrain(draws)
    assert values.shape == (2, 3, *parameter.shape)
    assert np.shape(log_jacobians) == (2, 3)
    for i in np.ndindex(2, 3):
        value, log_jacobian = parameter.constrain(draws[i])
        np.testing.assert_allclose(values[i], value, rtol=1e-14)
        np.testing.assert_allclose(log_jacobians[i], log_jacobian, rtol=1e-13, atol=1e-13)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("parameter", EVERY, ids=repr)
def test_round_trip(parameter, data):
    # beyond |u| = 5 the value of a correlation or an interval keeps too few digits of u to come back to 1e-6
    coordinates = st.floats(-5, 5, allow_subnormal=False)
    u = np.array(data.draw(st.lists(coordinates, min_size=parameter.size, max_size=parameter.size)))
    if isinstance(parameter, CorrelationCholesky):
        u = u / 2.5
    value, log_jacobian = parameter.constrain(u)
    assert np.isfinite(log_jacobian)
    np.testing.assert_allclose(parameter.unconstrain(value), u, atol=1e-6)


def test_values_lie_in_their_support():
    u = np.random.default_rng(5).normal(scale=3, size=(500, 30))
    simplex = Simplex(6).constrain(u[:, :5])[0]
    assert np.all(simplex > 0)
    np.testing.assert_allclose(simplex.sum(axis=-1), 1, rtol=1e-14)
    factor = CorrelationCholesky(5).constrain(u[:, :10])[0]
    np.testing.assert_allclose(np.einsum("nij,nij->ni", factor, factor), 1, rtol=1e-13)
    assert np.all(np.triu(factor, 1) == 0)
    assert np.all(np.diff(Ordered(30).constrain(u)[0]) > 0)


def test_extreme_coordinates_stay_finite():
    for parameter in (Interval(0, 1), Simplex(3), CorrelationCholesky(3)):
        for sign in (-1, 1):
            u = np.full(parameter.size, sign * 800.0)
            u[1:] *= -1
            value, log_jacobian = parameter.constrain(u)
            assert np.all(np.isfinite(value))
            assert np.isfinite(log_jacobian)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        (Positive(), 0.0),
        (Positive(), -1.0),
        (Lower(2), 2.0),
        (Upper(2), 3.0),
        (Interval(0, 1), 1.0),
        (Real(2), [0, np.nan]),
        (Ordered(3), [1, 3, 2]),
        (Simplex(3), [0.5, 0.5, 0.5]),
        (Simplex(3), [0.5, 0.6, -0.1]),
        (CorrelationCholesky(2), [[1, 0], [0.5, 0.5]]),
        (CorrelationCholesky(2), [[1, 0.1], [0.6, 0.8]]),
    ],
    ids=repr,
)
def test_out_of_support_names_the_parameter_and_the_value(parameter, value):
    with pytest.raises(InputError, match="tau: expected .* got") as raised:
        parameter.unconstrain(value, "tau")
    assert str(np.asarray(value, dtype=float).reshape(-1)[-1]).rstrip("0") in str(raised.value)


def test_wrong_arguments():
    with pytest.raises(InputError, match=r"expected shape \(\.\.\., 3\), got \(2,\)"):
        Real(3).unconstrain([1, 2], "theta")
    with pytest.raises(InputError, match="shape: expected an integer >= 1, got 0"):
        Real(0)
    with pytest.raises(InputError, match="lo < hi"):
        Interval(1, 1)
    with pytest.raises(InputError, match="bound: expected a finite number"):
        Lower(-math.inf)
    with pytest.raises(InputError, match="n: expected an integer >= 2"):
        Simplex(1)
    with pytest.raises(InputTypeError, match=r"parameters\['mu'\]"):
        ParameterSpace({"mu": 3})
    with pytest.raises(InputError, match="identifiers"):
        ParameterSpace({"my mu": Real()})
    with pytest.raises(InputTypeError, match="mapping"):
        ParameterSpace({})


SPACE = ParameterSpace(
    {"mu": Real(), "tau": Positive(), "theta": Real(3), "w": Simplex(3), "b": Real((2, 2)), "L": CorrelationCholesky(3)}
)


def test_space_layout():
    assert SPACE.dim == 1 + 1 + 3 + 2 + 4 + 3
    assert SPACE.names[:9] == ("mu", "tau", "theta[0]", "theta[1]", "theta[2]", "w[0]", "w[1]", "b[0,0]", "b[0,1]")
    assert SPACE.slices["w"] == slice(5, 7)
    draws = np.random.default_rng(6).normal(size=(4, 10, SPACE.dim))
    values = SPACE.constrain_draws(draws)
    assert {name: value.shape[2:] for name, value in values.items()} == {
        "mu": (),
        "tau": (),
        "theta": (3,),
        "w": (3,),
        "b": (2, 2),
        "L": (3, 3),
    }
    np.testing.assert_array_equal(values["tau"], np.exp(draws[..., 1]))
    np.testing.assert_array_equal(values["b"][..., 1, 0], draws[..., 9])
    np.testing.assert_allclose(SPACE.unconstrain(values), draws, atol=1e-9)
    assert SPACE.unconstrain({name: value[0, 0] for name, value in values.items()}).shape == (SPACE.dim,)


def test_space_names_what_is_missing():
    with pytest.raises(InputError, match="expected the names .*'tau'.* got .'mu'."):
        SPACE.unconstrain({"mu": 1.0})


def test_json_rebuilds_every_parameter():
    for parameter in EVERY:
        assert Parameter.from_json(json.loads(json.dumps(parameter.to_json()))) == parameter
    again = ParameterSpace.from_json(json.loads(json.dumps(SPACE.to_json())))
    assert again == SPACE
    assert list(again.parameters) == list(SPACE.parameters)
    with pytest.raises(InputError, match="expected one of Real"):
        Parameter.from_json({"type": "Sphere"})
