"""Compiling readable functions, and calling any compiled density from Numba code.

Numba is imported when something here is first used, not before.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from . import checks
from ._density import CDensity
from .errors import DensityError
from .protocol import DENSITY_FATAL, DENSITY_REJECTED, NON_FINITE, OK


class Evaluate(NamedTuple):
    """A density as the readable kernels call it; `code` 0: ok, > 0: point rejected, < 0: the chain stops."""

    logp_grad: Callable[..., Any]  # (x, grad, data) -> (code, logp), fills grad
    value: Callable[..., Any]  # (x, scratch, data) -> (code, logp)
    # only where the density may have them: available(data) is 1 for a Hessian, plus 2 for third derivatives
    hessian: Callable[..., Any] | None = None  # (x, out, data) -> code, out (dim, dim)
    third_product: Callable[..., Any] | None = None  # (x, m, product, data) -> code, m (dim, dim)
    available: Callable[..., Any] | None = None
    # only where the density may be a sum of blocks
    block: Callable[..., Any] | None = None  # (x, number, grad, data) -> (code, logp), fills grad
    n_blocks: Callable[..., Any] | None = None  # data -> how many, 0 for none


class Random(NamedTuple):
    """Random numbers as the readable kernels draw them: each takes the stream."""

    normal: Callable[..., Any]
    uniform: Callable[..., Any]


@functools.lru_cache(maxsize=16)
def point_status(jit: Callable[..., Any]) -> Any:
    """What to make of a proposed point: OK, or why it is rejected."""

    @jit
    def status(code, value):  # type: ignore[no-untyped-def]
        if code < 0:
            return DENSITY_FATAL
        if code > 0:
            return DENSITY_REJECTED
        return OK if math.isfinite(value) else NON_FINITE

    return status


@functools.lru_cache(maxsize=16)
def head_writer(jit: Callable[..., Any]) -> Any:
    """Fills the common head of an info record."""

    @jit
    def write(info, logp, accept_prob, n_grad, accepted, status):  # type: ignore[no-untyped-def]
        info.logp = logp
        info.accept_prob = accept_prob
        info.n_grad = n_grad
        info.accepted = accepted
        info.divergent = status != OK
        info.status = status

    return write


def uniform(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of (x, grad) in the uniform form (x, grad, data); `two_argument` is the function inside."""

    def logp_grad(x, grad, data):  # type: ignore[no-untyped-def]
        return function(x, grad)

    logp_grad.two_argument = function  # type: ignore[attr-defined]
    return logp_grad


def compile_readable(function: Callable[..., Any], compiler: Callable[..., Any], device: bool = False) -> Any:
    """A readable log density (x, grad, data) under `compiler` (identity, numba.njit, numba.cuda.jit(device=True)).

    Source that was emitted for one compiler (`jit_source`) says by `under` what it is for another.
    """
    if hasattr(function, "under"):
        return function.under(compiler, device)
    inner = getattr(function, "two_argument", None)
    return compiler(function) if inner is None else compiler(uniform(compiler(inner)))


@functools.lru_cache(maxsize=1)
def pointer_calls() -> Evaluate:
    """Calls of compiled densities for use inside Numba code, the same functions for every density.

    ``data`` is `pointer_data`; x and grad are contiguous float64 vectors of the density's dimension.
    """
    import numba
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils

    def intrinsic(with_grad: bool) -> Any:
        def call(typing_context, address, user_data, x, grad):  # type: ignore[no-untyped-def]
            def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
                double, word, byte = ir.DoubleType(), ir.IntType(64), ir.IntType(8).as_pointer()
                vectors = [context.make_array(signature.args[i])(context, builder, arguments[i]) for i in (2, 3)]
                logp = cgutils.alloca_once(builder, double)
                builder.store(ir.Constant(double, float("nan")), logp)
                pointers = [vector.data for vector in vectors[: 1 + with_grad]] + [logp]
                kinds = [word, *[double.as_pointer()] * len(pointers), byte]
                function = ir.FunctionType(ir.IntType(32), kinds).as_pointer()
                dim = builder.extract_value(vectors[0].shape, 0)
                code = builder.call(
                    builder.inttoptr(arguments[0], function), [dim, *pointers, builder.inttoptr(arguments[1], byte)]
                )
                return context.make_tuple(builder, signature.return_type, [code, builder.load(logp)])

            vector = types.Array(types.float64, 1, "C")
            if x != vector or grad != vector:
                raise numba.errors.TypingError(f"x and grad must be contiguous float64 vectors, got {x} and {grad}")
            return types.Tuple((types.int32, types.float64))(types.int64, types.int64, x, grad), generate

        return numba.extending.intrinsic(call)

    call_logp_grad, call_value = intrinsic(True), intrinsic(False)

    def derivative(n_arrays: int) -> Any:
        """A call (address, user_data, arrays ...) -> code."""

        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            double, word, byte = ir.DoubleType(), ir.IntType(64), ir.IntType(8).as_pointer()
            arrays = [
                context.make_array(signature.args[i])(context, builder, arguments[i]) for i in range(2, 2 + n_arrays)
            ]
            function = ir.FunctionType(ir.IntType(32), [word, *[double.as_pointer()] * n_arrays, byte]).as_pointer()
            dim = builder.extract_value(arrays[0].shape, 0)
            pointers = [array.data for array in arrays]
            return builder.call(
                builder.inttoptr(arguments[0], function), [dim, *pointers, builder.inttoptr(arguments[1], byte)]
            )

        def check(*arrays: Any) -> None:
            if any(array.layout != "C" or array.dtype != types.float64 for array in arrays):
                raise numba.errors.TypingError(f"expected contiguous float64 arrays, got {arrays}")

        if n_arrays == 2:

            def two(typing_context, address, user_data, x, out):  # type: ignore[no-untyped-def]
                check(x, out)
                return types.int32(types.int64, types.int64, x, out), generate

            return numba.extending.intrinsic(two)

        def three(typing_context, address, user_data, x, m, out):  # type: ignore[no-untyped-def]
            check(x, m, out)
            return types.int32(types.int64, types.int64, x, m, out), generate

        return numba.extending.intrinsic(three)

    call_hessian, call_third_product = derivative(2), derivative(3)

    @numba.extending.intrinsic
    def call_block(typing_context, address, user_data, x, number, grad):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            double, word, byte = ir.DoubleType(), ir.IntType(64), ir.IntType(8).as_pointer()
            at, slope = (context.make_array(vector)(context, builder, arguments[i]) for i in (2, 4))
            logp = cgutils.alloca_once(builder, double)
            builder.store(ir.Constant(double, float("nan")), logp)
            kinds = [word, double.as_pointer(), word, double.as_pointer(), double.as_pointer(), byte]
            code = builder.call(
                builder.inttoptr(arguments[0], ir.FunctionType(ir.IntType(32), kinds).as_pointer()),
                [
                    builder.extract_value(at.shape, 0), at.data, arguments[3], slope.data, logp,
                    builder.inttoptr(arguments[1], byte),
                ],
            )  # fmt: skip
            return context.make_tuple(builder, signature.return_type, [code, builder.load(logp)])

        vector = types.Array(types.float64, 1, "C")
        if x != vector or grad != vector:
            raise numba.errors.TypingError(f"x and grad must be contiguous float64 vectors, got {x} and {grad}")
        result = types.Tuple((types.int32, types.float64))
        return result(types.int64, types.int64, vector, types.int64, vector), generate

    @numba.njit
    def logp_grad(x, grad, data):  # type: ignore[no-untyped-def]
        return call_logp_grad(data[0], data[1], x, grad)

    @numba.njit
    def value(x, scratch, data):  # type: ignore[no-untyped-def]
        if data[2] != 0:
            return call_value(data[2], data[1], x, scratch)
        return call_logp_grad(data[0], data[1], x, scratch)

    @numba.njit
    def hessian(x, out, data):  # type: ignore[no-untyped-def]
        return call_hessian(data[3], data[1], x, out)

    @numba.njit
    def third_product(x, m, product, data):  # type: ignore[no-untyped-def]
        return call_third_product(data[4], data[1], x, m, product)

    @numba.njit
    def available(data):  # type: ignore[no-untyped-def]
        return (1 if data[3] != 0 else 0) + (2 if data[4] != 0 else 0)

    @numba.njit
    def block(x, number, grad, data):  # type: ignore[no-untyped-def]
        return call_block(data[-2], data[1], x, number, grad)

    @numba.njit
    def n_blocks(data):  # type: ignore[no-untyped-def]
        return data[-1]

    return Evaluate(logp_grad, value, hessian, third_product, available, block, n_blocks)


def pointer_data(density: CDensity) -> tuple[int, ...]:
    """The `data` of `pointer_calls` for this density, which must stay alive while they are used.

    The addresses of logp_grad and user_data, of value, hessian, third_product and block (or 0); the number of blocks.
    """
    functions = density.functions
    return (
        *(functions[name] for name in ("logp_grad", "user_data", "value", "hessian", "third_product", "block")),
        density.n_blocks,
    )


@functools.lru_cache(maxsize=1)
def _pointer_function() -> Any:
    import numba

    call = pointer_calls().logp_grad

    @numba.njit
    def logp_grad(x, grad, data):  # type: ignore[no-untyped-def]
        code, logp = call(x, grad, data)
        if code < 0:
            raise DensityError("the compiled log density returned a fatal code")
        return logp if code == 0 else np.nan

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
