"""A loss of one row, written in Python, compiled by Numba to the signature of mp_row_loss_fn."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np

from .. import checks
from ..errors import InputError, InputTypeError
from ..jit_density import _Captured, _captured, _short

EXPECTED = "a function of (output, target, gradient)"


def probe(loss: Callable[..., Any], n_outputs: int, needs_gradient: bool) -> None:
    """Try the plain Python function on one row of zeros: shapes that do not fit raise here, where indices are checked.

    Raises
    ------
    InputError
        The function raises, returns no number, or leaves part of the gradient unset that is needed.
    """
    plain = getattr(loss, "py_func", loss)
    _check_arguments(plain)
    output, target = np.zeros(n_outputs), np.zeros(n_outputs)
    gradient = np.full(n_outputs, np.nan if needs_gradient else 0.0)
    row = f"on one row of {n_outputs} outputs"
    try:
        with np.errstate(all="ignore"):
            value = plain(output, target, gradient)
    except Exception as error:
        raise InputError(f"loss: {row} it raised {type(error).__name__}: {error}".rstrip(": ")) from error
    if np.shape(value) != () or not isinstance(value, (int, float, np.number)):
        got = f"an array of shape {np.shape(value)}" if np.shape(value) else repr(value)
        raise InputError(f"loss: {row} expected it to return a float, got {got}")
    unset = np.flatnonzero(np.isnan(gradient))
    if needs_gradient and unset.size and math.isfinite(value):
        raise InputError(f"loss: {row} gradient[{unset[0]}] is not assigned, or NaN, at output = target = 0")


def compile_loss(loss: Callable[..., Any]) -> Any:
    """The cfunc of a loss; one for every function, while it is among the last 64.

    Raises
    ------
    InputTypeError
        The function has other arguments, or Numba cannot compile it.
    """
    checks.extra("numba", "numba", "a loss written in Python")
    _check_arguments(getattr(loss, "py_func", loss))
    # Numba freezes what a function takes from outside: the same function around other values is compiled anew
    return _compile(loss, _Captured(_captured(loss) if isinstance(loss, FunctionType) else ()))


def _check_arguments(plain: Callable[..., Any]) -> None:
    if not isinstance(plain, FunctionType):
        raise InputTypeError(f"loss: expected {EXPECTED}, made by def or lambda, got an object of {type(plain)}")
    try:
        signature = inspect.signature(plain)
        signature.bind(*range(3))
    except (TypeError, ValueError):
        got = getattr(plain, "__name__", type(plain).__name__)
        with_arguments = f"{got}{signature}" if "signature" in locals() else got
        raise InputTypeError(f"loss: expected {EXPECTED}, got {with_arguments}") from None


@functools.lru_cache(maxsize=64)
def _compile(loss: Any, captured: _Captured) -> Any:
    import numba
    from numba import types

    # an index that comes from the data may lie anywhere; the checks cost nothing that can be measured
    options = {"error_model": "numpy", "forceinline": True, "boundscheck": True}
    source = loss if numba.extending.is_jitted(loss) else numba.njit(**options)(loss)
    vector, pointer = types.Array(types.float64, 1, "C"), types.CPointer(types.float64)
    constant = types.Array(types.float64, 1, "C")
    try:
        source.compile((constant, constant, vector))
    except numba.errors.NumbaError as error:
        raise InputTypeError(f"loss: Numba cannot compile it: {_short(error)}") from error
    returned = source.overloads[(constant, constant, vector)].signature.return_type
    if not isinstance(returned, (types.Float, types.Integer)):
        raise InputTypeError(f"loss: expected it to return a float on every path, it returns {returned}")

    # An exception that is not caught would be printed, and 0 returned; a NaN is a rejection.
    def entry(n, output, target, gradient, context):  # type: ignore[no-untyped-def]
        try:
            return float(source(numba.carray(output, n), numba.carray(target, n), numba.carray(gradient, n)))
        except Exception:
            return np.nan

    signature = types.float64(types.uintp, pointer, pointer, pointer, types.voidptr)
    return numba.cfunc(signature)(entry)
