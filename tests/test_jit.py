"""Readable functions under each compiler, and compiled densities called from Numba code."""

import numpy as np
import pytest

numba = pytest.importorskip("numba")

from micropolis.density import Density  # noqa: E402
from micropolis.errors import DensityError  # noqa: E402
from micropolis.jit import compile_readable, pointer_logp_grad  # noqa: E402


def normal(x, grad):
    logp = 0.0
    for i in range(x.size):
        logp -= 0.5 * x[i] * x[i]
        grad[i] = -x[i]
    return logp


def scaled(x, grad, data):
    if x[0] > 1e6:
        raise ValueError("too far")
    logp = 0.0
    for i in range(x.size):
        z = x[i] / data.sd
        logp -= 0.5 * z * z
        grad[i] = -z / data.sd
    return logp


@pytest.mark.parametrize(("function", "data"), [(normal, None), (scaled, {"sd": 0.5})])
def test_readable_and_numba_function_agree(function, data):
    d, x = Density.from_numba(function, 3, data), np.array([0.4, -0.2, 1.0])
    value, grad = d.value_and_grad(x)
    readable, plain_data = d.readable
    forms = [compile_readable(readable, numba.njit), compile_readable(readable, lambda f: f), d.numba_function]
    for form in forms:
        slope = np.full(3, np.nan)
        np.testing.assert_allclose(form(x, slope, plain_data), value, rtol=1e-14)
        np.testing.assert_allclose(slope, grad, rtol=1e-14)


def test_any_compiled_density_inside_numba():
    compiled, python = Density.from_numba(scaled, 3, {"sd": 0.5}), Density.from_callable(lambda x: (-x @ x, -2 * x), 3)

    @numba.njit
    def ascend(logp_grad, data, x, steps):
        grad, total = np.empty_like(x), 0.0
        for _ in range(steps):
            total += logp_grad(x, grad, data)
            x = x + 1e-3 * grad
        return total, x

    for d in (compiled, python):
        handle = d._bind()
        function, pointers = pointer_logp_grad(handle)
        total, x = ascend(function, pointers, np.ones(3), 20)
        expected, y = 0.0, np.ones(3)
        for _ in range(20):
            value, grad = d.value_and_grad(y)
            expected, y = expected + value, y + 1e-3 * grad
        assert total == expected
        np.testing.assert_array_equal(x, y)
    handle = compiled._bind()
    function, pointers = pointer_logp_grad(handle)
    with pytest.raises(DensityError, match="fatal"):
        function(np.full(3, 1e9), np.empty(3), pointers)
    with pytest.raises(numba.TypingError, match="contiguous float64"):
        function(np.ones(6)[::2], np.empty(3), pointers)
