"""Emitted source (tracing/source.py) under its compilers: Python, Numba and CUDA.

Numba is imported when the first is compiled. What is compiled is cached by its text, for the life of the process:
densities of one structure share it, as their data are arguments.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import checks
from .errors import KernelError
from .jit_density import as_words, load_words
from .tracing.array_functions import make_arrays
from .tracing.graph import Node
from .tracing.scalar_functions import make_scalars
from .tracing.source import Source, emit

# Scalar operations that Numba compiles in a few seconds; the time grows faster than they do.
MOST_INSTRUCTIONS = 5000
# Doubles of work memory: on the stack of a chain's thread, from the heap above; local memory of a CUDA thread.
MOST_ON_STACK, MOST_LOCAL = 4096, 16384
# Short functions of scalar_functions.py become part of their callers, others are called.
_CALLED = frozenset(["cbrt", "remainder", "floor_divide"])
_INSIDE = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # of what compiled code alone calls


class TooLarge(KernelError):
    """A density has too many scalar operations, or too much memory, for a compiler."""


class Compiled:
    """A value with its gradient under Numba.

    Attributes
    ----------
    function : numba dispatcher
        ``f(x, grad, data) -> float``, for use inside other Numba code.
    data : tuple of array
        Its third argument.
    words : list of int
        The same for the cfunc.

    Raises
    ------
    MissingExtraError
    TooLarge
    """

    def __init__(self, value: Node, gradient: Node) -> None:
        checks.extra("numba", "numba", "Density.compile")
        source = emit(value, gradient)
        self.function, self._make_entry = _under_numba(source)
        self.data, self.words = source.data, as_words(source.data)

    def entry(self, offset: int) -> Any:
        """The cfunc, for a user_data with `words` at this offset."""
        return self._make_entry(offset)


def readable(value: Node, gradient: Node) -> tuple[Callable[..., float], Any]:
    """``(logp_grad, data)`` as `Density.readable` has it; ``logp_grad.under(compiler)`` is it for a compiler."""
    source = emit(value, gradient, python=True)
    run = _define(source.text, _python_names())

    def logp_grad(x, grad, data):  # type: ignore[no-untyped-def]
        with np.errstate(all="ignore"):
            return run(x, grad, data)

    @functools.cache
    def under(compiler: Callable[..., Any], device: bool = False) -> Any:
        if compiler(_unchanged) is _unchanged:
            return logp_grad
        return _on_device(compiler, value, gradient) if device else _under_numba(emit(value, gradient))[0]

    logp_grad.under = under  # type: ignore[attr-defined]
    return logp_grad, source.data


def _unchanged() -> None:
    """What a compiler that compiles does not return."""


def _define(text: str, names: dict[str, Any]) -> Any:
    namespace = dict(names)
    exec(compile(text, "<array program>", "exec"), namespace)
    return namespace["logp_grad"]


def _check(source: Source, what: str) -> None:
    if source.instructions > MOST_INSTRUCTIONS:
        raise TooLarge(
            f"{what}: the density has {source.instructions} scalar operations, and compiling more than "
            f"{MOST_INSTRUCTIONS} takes minutes; the C backend takes it as it is (backend='c')"
        )


@functools.cache
def _python_names() -> dict[str, Any]:
    scalars = make_scalars(_identity, "python")
    arrays = make_arrays(_identity, scalars["sqrt"], scalars["log"])
    return {**scalars, **arrays, "D": np.float64, "INF": np.inf, "NAN": np.nan, "make_memory": np.empty}


def _identity(function: Any) -> Any:
    return function


# -- Numba -----------------------------------------------------------------------------------------------------------


def _scalar_jit(function: Any) -> Any:
    import numba

    short = function.__module__ == make_scalars.__module__ and function.__name__ not in _CALLED
    return numba.njit(error_model="numpy", forceinline=short, **_INSIDE)(function)


def _sum_jit(function: Any) -> Any:
    """Free in the order of additions, without which each of a sum would wait for the one before it."""
    import numba

    return numba.njit(error_model="numpy", fastmath={"reassoc"}, **_INSIDE)(function)


def _under_numba(source: Source) -> tuple[Any, Any]:
    _check(source, "Density.compile")
    return _compile(source.text, source.memory)


@functools.lru_cache(maxsize=64)
def _compile(text: str, memory: int) -> tuple[Any, Any]:
    """The dispatcher, and what makes its cfunc."""
    import numba
    from numba import types

    scalars = make_scalars(_scalar_jit, "numba")
    arrays = make_arrays(_sum_jit, scalars["sqrt"], scalars["log"])
    make_memory = _stack_memory() if memory <= MOST_ON_STACK else _sum_jit(lambda size: np.empty(size))
    names = {**scalars, **arrays, "INF": math.inf, "NAN": math.nan, "make_memory": make_memory}
    function = numba.njit(error_model="numpy", nogil=True, fastmath={"reassoc"})(_define(text, names))
    vector, pointer = types.Array(types.float64, 1, "C"), types.CPointer(types.float64)
    data_type = types.Tuple((vector, types.Array(types.uint32, 1, "C")))
    function.compile((vector, vector, data_type))

    @functools.cache
    def make_entry(offset: int) -> Any:
        load = _loader(data_type, offset)

        def entry(dim, x, grad, logp, user_data):  # type: ignore[no-untyped-def]
            logp[0] = function(numba.carray(x, dim), numba.carray(grad, dim), load(user_data))
            return 0

        signature = types.int32(types.uintp, pointer, pointer, pointer, types.voidptr)
        return numba.cfunc(signature, error_model="numpy")(entry)

    return function, make_entry


@functools.cache
def _stack_memory() -> Any:
    """make_memory(size) of the size of a literal, on the stack."""
    import numba
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.np import arrayobj

    @numba.extending.intrinsic(prefer_literal=True)
    def make_memory(typing_context, size):  # type: ignore[no-untyped-def]
        kind = types.Array(types.float64, 1, "C")
        count = size.literal_value

        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            memory = cgutils.alloca_once(builder, ir.DoubleType(), size=count)
            memory.align = 64
            array = context.make_array(kind)(context, builder)
            word = context.get_constant(types.intp, 8)
            shape = [context.get_constant(types.intp, count)]
            arrayobj.populate_array(array, data=memory, shape=shape, strides=[word], itemsize=word, meminfo=None)
            return array._getvalue()

        return kind(size), generate

    return make_memory


def _loader(data_type: Any, offset: int) -> Any:
    import numba
    from numba import types

    @numba.extending.intrinsic
    def load(typing_context, user_data):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            words = builder.bitcast(arguments[0], context.get_value_type(types.intp).as_pointer())
            return load_words(context, builder, data_type, words, [offset])

        return data_type(user_data), generate

    return load


# -- CUDA ------------------------------------------------------------------------------------------------------------


def _on_device(jit: Callable[..., Any], value: Node, gradient: Node) -> Any:
    """The device function, its work memory a local array of the thread; in the simulator it runs as Python."""
    from numba import config, cuda

    simulated = bool(config.ENABLE_CUDASIM)
    source = emit(value, gradient, python=simulated)
    _check(source, "backend='cuda'")
    if source.memory > MOST_LOCAL:
        raise TooLarge(
            f"backend='cuda': the density needs {source.memory} numbers of work memory, a CUDA thread has "
            f"{MOST_LOCAL}; the C backend takes it as it is (backend='c')"
        )
    if simulated:
        names = _python_names()
    else:
        scalars = make_scalars(jit, "cuda")
        arrays = make_arrays(jit, scalars["sqrt"], scalars["log"])
        names = {**scalars, **arrays, "INF": math.inf, "NAN": math.nan}
    text = source.text.replace(f"make_memory({source.memory})", f"cuda.local.array({source.memory}, float64)")
    return jit(_define(text, {**names, "cuda": cuda, "float64": np.float64}))
