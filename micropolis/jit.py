"""Compiling readable functions, and calling any compiled density from Numba code.

Numba is imported when something here is first used, not before.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from . import checks
from ._density import CDensity
from .errors import DensityError


def uniform(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of (x, grad) in the uniform form (x, grad, data); `two_argument` is the function inside."""

    def logp_grad(x, grad, data):  # type: ignore[no-untyped-def]
        return function(x, grad)

    logp_grad.two_argument = function  # type: ignore[attr-defined]
    return logp_grad


def compile_readable(function: Callable[..., Any], compiler: Callable[..., Any]) -> Any:
    """A readable log density (x, grad, data) under `compiler` (identity, numba.njit, numba.cuda.jit(device=True))."""
    inner = getattr(function, "two_argument", None)
    return compiler(function) if inner is None else compiler(uniform(compiler(inner)))


@functools.lru_cache(maxsize=1)
def _pointer_function() -> Any:
    import numba
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils

    @numba.extending.intrinsic
    def call(typing_context, address, user_data, x, grad):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            double, word, byte = ir.DoubleType(), ir.IntType(64), ir.IntType(8).as_pointer()
            vectors = [context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (2, 3)]
            logp = cgutils.alloca_once(builder, double)
            builder.store(ir.Constant(double, float("nan")), logp)
            pointers = [double.as_pointer()] * 3
            function = ir.FunctionType(ir.IntType(32), [word, *pointers, byte]).as_pointer()
            dim = builder.extract_value(vectors[0].shape, 0)
            status = builder.call(
                builder.inttoptr(arguments[0], function),
                [dim, vectors[0].data, vectors[1].data, logp, builder.inttoptr(arguments[1], byte)],
            )
            return context.make_tuple(builder, signature.return_type, [status, builder.load(logp)])

        vector = types.Array(types.float64, 1, "C")
        if x != vector or grad != vector:
            raise numba.errors.TypingError(f"x and grad must be contiguous float64 vectors, got {x} and {grad}")
        return types.Tuple((types.int32, types.float64))(types.int64, types.int64, x, grad), generate

    @numba.njit
    def logp_grad(x, grad, data):  # type: ignore[no-untyped-def]
        status, logp = call(data[0], data[1], x, grad)
        if status < 0:
            raise DensityError("the compiled log density returned a fatal code")
        return logp if status == 0 else np.nan

    return logp_grad


def pointer_logp_grad(density: CDensity) -> tuple[Any, tuple[int, int]]:
    """A compiled density for use inside Numba code.

    Parameters
    ----------
    density : CDensity
        Must stay alive while the result is used.

    Returns
    -------
    function : numba dispatcher
        ``f(x, grad, data) -> float``, one for all densities (compiled once): NaN for a rejected point, DensityError
        for a fatal code. x and grad are contiguous float64 vectors of the density's dimension.
    data : tuple of int
        Its third argument: the addresses of the function and of its user_data.
    """
    checks.extra("numba", "numba", "backend='numba'")
    functions = density.functions
    return _pointer_function(), (functions["logp_grad"], functions["user_data"])
