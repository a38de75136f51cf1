"""What Density.from_numpy says to functions that it cannot take."""

import numpy as np
import pytest
from scipy import linalg, special

from micropolis.density import Density
from micropolis.errors import DensityError, InputError, InputTypeError
from micropolis.parameters import Real


def raises(f, match, dim=3):
    with pytest.raises(DensityError, match=match) as raised:
        Density.from_numpy(f, dim)
    return str(raised.value)


def test_no_real_scalar():
    raises(lambda x: x, r"shape \(3,\).*expected one real number")
    raises(lambda x: None, "returned None")
    raises(lambda x: 1j * np.sum(x), "complex128")
    assert Density.from_numpy(lambda x: np.sum(x, keepdims=True), 3)(np.ones(3)) == 3
    assert Density.from_numpy(lambda x: np.array([np.sum(x)]), 3)(np.ones(3)) == 3


def test_an_error_of_the_function_itself():
    message = raises(lambda x: {}["missing"], "failed on NumPy numbers")
    assert "test_from_numpy_faults.py:" in message
    assert "missing" in message


def branching(x):
    total = np.sum(x)
    if total > 0:
        return -total
    return total


def test_control_flow_names_file_line_and_code():
    message = raises(branching, "cannot be traced")
    line = branching.__code__.co_firstlineno + 2
    assert f"test_from_numpy_faults.py:{line} `if total > 0:`" in message
    assert "np.where" in message
    assert "Density.from_callable" in message


def test_scipy_functions_without_a_trace_are_named():
    raises(
        lambda x: linalg.sqrtm(np.eye(3) + np.outer(x, x)).sum(), "SciPy's sqrtm takes numbers alone, write it with np"
    )
    raises(lambda x: special.jv(0, x).sum(), "the function jv cannot be traced")


def test_the_error_is_what_no_stand_in_mends():
    def f(x):
        total = special.logsumexp(x)
        return total + np.sort(x)[0]

    assert "np.sort(x)[0]`" in raises(f, "numpy.sort cannot be traced")


def test_a_trace_that_disagrees_is_refused():
    rng = np.random.default_rng(0)
    raises(lambda x: np.sum(x) + rng.normal(), "the traced log density is .* where the function gives")

    def through_a_view(x):
        y = x[:2]
        y[0] = 3.0
        return np.sum(x**2)

    raises(through_a_view, "changes its arguments")


def test_wrong_arguments():
    with pytest.raises(InputTypeError, match="f: expected a callable"):
        Density.from_numpy(3, 2)
    with pytest.raises(InputError, match="dim: expected an integer >= 1, got 0"):
        Density.from_numpy(np.sum, 0)
    with pytest.raises(InputTypeError, match="dim: expected an integer"):
        Density.from_numpy(np.sum, 2.5)
    with pytest.raises(InputTypeError, match=r"parameters\['mu'\]"):
        Density.from_numpy(np.sum, {"mu": "real"})
    with pytest.raises(InputTypeError, match=r"f: .* takes \(mu\), the parameters are named nu, tau: .*argument"):
        Density.from_numpy(lambda mu: mu, {"nu": Real(), "tau": Real()})
    with pytest.raises(InputTypeError, match=r"f: .* takes \(a, b\), it is called with one vector x: missing"):
        Density.from_numpy(lambda a, b: a + b, 2)
    for f in (lambda mu, **others: -(mu**2), lambda mu, nu=1.0: -(mu**2)):
        assert repr(Density.from_numpy(f, {"mu": Real()})) == "<TracedDensity of mu: 1 dimension>"
