"""NumbaDensity: a Python function compiled by Numba as a log density; imports Numba when the first one is made."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import inspect
import re
from collections import namedtuple
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np

from . import checks
from ._density import CDensity
from .density import Array, Density
from .errors import InputError, InputTypeError
from .jit import uniform
from .trace_files import mapped

_CALL = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_size_t, *[ctypes.c_void_p] * 4)


class NumbaDensity(Density):
    """A function compiled by Numba as a density; see `Density.from_numba`.

    Attributes
    ----------
    readable : tuple
        ``(f, data)`` with a plain Python ``f(x, grad, data) -> float`` (compile it by `compile_readable`).
    numba_function : numba dispatcher
        ``f(x, grad, data) -> float`` for use inside other Numba code.
    data : object
        The third argument of both: None, a number, an array or a tuple of them.
    """

    def __init__(self, logp_grad: Any, dim: int, data: Any = None) -> None:
        super().__init__(dim)
        numba = checks.extra("numba", "numba", "Density.from_numba")
        jitted = numba.extending.is_jitted(logp_grad)
        if not jitted and not isinstance(logp_grad, FunctionType):
            got = type(logp_grad).__name__
            raise InputTypeError(f"logp_grad: expected a Python function or one under numba.njit, got {got}")
        plain: Any = logp_grad.py_func if jitted else logp_grad
        self._given, self.data = data, None if data is None else _plain_data("data", data)
        self.files = mapped(self.data)
        _check_arguments(plain, data is not None)
        try:
            data_type = numba.typeof(self.data)
        except (numba.errors.NumbaError, ValueError) as error:
            raise InputTypeError(f"data: Numba has no type for it: {_short(error)}") from error
        self._words = np.array(as_words(self.data) or [0], dtype=np.int64)
        self._compiled = _compile(logp_grad, data_type, _Captured(() if jitted else _captured(plain)))
        self.numba_function = self._compiled.function
        self.readable = (plain if data is not None else uniform(plain), self.data)
        self._probe()

    def _bind(self) -> CDensity:
        function, data = self.numba_function, self.data

        def explain(x: Array) -> Exception | None:
            try:
                function(x, np.empty_like(x), data)
            except Exception as error:
                return error
            return None

        return CDensity(
            self.dim,
            user_data=self._words.ctypes.data,
            keep_alive=(self._compiled, self._words, self.data),
            logp_grad=self._compiled.entry.address,
            explain=explain,
        )

    def __reduce__(self) -> Any:
        # A dispatcher pickles its source, so functions defined in a notebook or a closure go to process pools as well.
        return NumbaDensity, (self._compiled.source, self.dim, self._given)

    def _probe(self) -> None:
        """Two calls at x = 0 that differ only in what surrounds x and fills grad: NaN there must not come through."""
        margin, call = self.dim + 64, _CALL(self._compiled.entry.address)
        inside = slice(margin, margin + self.dim)
        results = []
        for fill in (np.nan, 0.0):
            x, grad, logp = np.full(self.dim + 2 * margin, fill), np.full(self.dim + 2 * margin, fill), np.array(np.nan)
            x[inside] = 0.0
            addresses = x[margin:].ctypes.data, grad[margin:].ctypes.data, logp.ctypes.data, self._words.ctypes.data
            if call(self.dim, *addresses) != 0:
                return
            results.append((float(logp), grad[inside].copy()))
            grad[inside] = fill
            if not np.array_equal(grad, np.full_like(grad, fill), equal_nan=True):
                raise InputError(f"logp_grad: writes grad outside its {self.dim} elements; is dim={self.dim} right?")
        (logp_nan, grad_nan), (logp_zero, grad_zero) = results
        if not np.isfinite(logp_zero):
            return
        if np.isnan(logp_nan):
            raise InputError(
                f"logp_grad: its value at x = 0 uses memory outside x[0..{self.dim - 1}], or what grad held before; "
                f"is dim={self.dim} right?"
            )
        unset = np.flatnonzero(np.isnan(grad_nan) & ~np.isnan(grad_zero))
        if unset.size:
            raise InputError(
                f"logp_grad: grad[{unset[0]}] is not assigned at x = 0 (grad comes uninitialised: set every element, "
                "do not add to what is there)"
            )


# -- data ------------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=256)
def _record(*names: str) -> Any:
    """One namedtuple class per set of names: Numba compiles anew for each class."""
    return namedtuple("data", names)


def _plain_data(name: str, value: Any) -> Any:
    """`value` as bool, int, float, array, or a (named) tuple of them."""
    if isinstance(value, Mapping):
        items = {str(key): _plain_data(f"{name}[{key!r}]", entry) for key, entry in value.items()}
        try:
            return _record(*items)(*items.values())
        except ValueError as error:
            raise InputError(f"{name}: keys must be names of attributes: {error}") from None
    if isinstance(value, tuple):
        entries = [_plain_data(f"{name}[{i}]", entry) for i, entry in enumerate(value)]
        return type(value)(*entries) if hasattr(value, "_fields") else tuple(entries)
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(f"{name}: expected an array of numbers: {error}") from None
    is_array = array.ndim > 0 or isinstance(value, np.ndarray)
    if isinstance(value, np.ma.MaskedArray) or array.dtype.kind not in ("biufc" if is_array else "biuf"):
        raise InputTypeError(
            f"{name}: expected a real number, an array of numbers, or a tuple or dict of them, got "
            f"{type(value).__name__} of dtype {array.dtype}"
        )
    if is_array:
        return array
    if array.dtype.kind in "iu":
        return checks.integer(name, int(array), least=-(2**63), most=2**63 - 1)
    return bool(array) if array.dtype.kind == "b" else float(array)


def as_words(value: Any) -> list[int]:
    """`value` in 8-byte words, in the order in which `load_words` reads them."""
    if value is None:
        return []
    if isinstance(value, tuple):
        return [word for entry in value for word in as_words(entry)]
    if isinstance(value, np.ndarray):
        return [value.ctypes.data, *value.shape, *value.strides]
    return [int(np.float64(value).view(np.int64))] if isinstance(value, float) else [int(value)]


def load_words(context: Any, builder: Any, kind: Any, pointer: Any, at: list[int]) -> Any:
    """The LLVM value of Numba type `kind` from the words behind pointer; at[0] counts them.

    Arrays get no meminfo, so Numba counts no references on them: their owner is the density.
    """
    from numba.core import types
    from numba.np import arrayobj

    integer = context.get_value_type(types.intp)

    def word(as_type: Any) -> Any:
        place = builder.gep(pointer, [context.get_constant(types.intp, at[0])])
        at[0] += 1
        return builder.load(builder.bitcast(place, as_type.as_pointer()))

    if isinstance(kind, types.Array):
        array = context.make_array(kind)(context, builder)
        data = word(array.data.type)
        shape, strides = ([word(integer) for _ in range(kind.ndim)] for _ in range(2))
        itemsize = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(kind.dtype)))
        arrayobj.populate_array(array, data=data, shape=shape, strides=strides, itemsize=itemsize, meminfo=None)
        return array._getvalue()
    if isinstance(kind, types.BaseTuple):
        parts = kind.types
        return context.make_tuple(builder, kind, [load_words(context, builder, part, pointer, at) for part in parts])
    if isinstance(kind, types.Boolean):
        return builder.trunc(word(integer), context.get_value_type(kind))
    return word(context.get_value_type(kind))


# -- compilation -----------------------------------------------------------------------------------------------------


class _Captured:
    """The globals and closure cells that a function uses, equal where they are the same objects.

    Arrays must have the same numbers too: Numba compiles those that it finds in them.
    """

    def __init__(self, values: tuple[Any, ...]) -> None:
        self.values = values  # kept: another object might get the id of one that is gone
        self.key = tuple((id(value), _contents(value)) for value in values)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Captured) and self.key == other.key


def _contents(value: Any) -> Any:
    """What tells an array, also in a tuple, from itself with other numbers; None for other objects."""
    if isinstance(value, tuple):
        return tuple(map(_contents, value))
    if not isinstance(value, np.ndarray) or value.dtype.hasobject:
        return None
    numbers = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
    return value.shape, value.dtype.str, hashlib.blake2b(numbers, digest_size=16).digest()


def _captured(function: FunctionType) -> tuple[Any, ...]:
    cells = tuple(cell.cell_contents for cell in function.__closure__ or ())
    return cells + tuple(function.__globals__.get(name) for name in function.__code__.co_names)


class _Compiled(NamedTuple):
    entry: Any  # the cfunc
    function: Any  # dispatcher (x, grad, data) -> float
    source: Any  # the user's function as a dispatcher


def _check_arguments(function: Callable[..., Any], with_data: bool) -> None:
    expected = "(x, grad, data)" if with_data else "(x, grad)"
    try:
        inspect.signature(function).bind(*range(3 if with_data else 2))
    except TypeError:
        given, got = "with" if with_data else "without", inspect.signature(function)
        raise InputTypeError(f"logp_grad: expected a function of {expected}, used {given} data, got {got}") from None


@functools.lru_cache(maxsize=64)
def _compile(logp_grad: Any, data_type: Any, captured: _Captured) -> _Compiled:
    """The cfunc of `logp_grad` for this type of data. Plain functions divide as NumPy does: 1 / 0 is inf."""
    import numba
    from numba import types

    with_data = data_type is not types.none
    # Inlined, the function sees that the arrays of the cfunc are not reference counted, and its counting disappears.
    compiler = numba.njit(error_model="numpy", forceinline=True)
    source: Any = logp_grad if numba.extending.is_jitted(logp_grad) else compiler(logp_grad)
    function: Any = compiler((lambda x, grad, data: source(x, grad, data)) if with_data else uniform(source))
    vector, pointer = types.Array(types.float64, 1, "C"), types.CPointer(types.float64)
    arguments = (vector, vector, data_type)
    try:
        if source is not logp_grad:
            source.compile(arguments if with_data else arguments[:2])  # first, for messages without a caller in them
        function.compile(arguments)
    except numba.errors.NumbaError as error:
        what = f" for data of type {data_type}" if with_data else ""
        raise InputTypeError(f"logp_grad: Numba cannot compile it{what}: {_short(error)}") from error
    returned = function.overloads[arguments].signature.return_type
    if not isinstance(returned, types.Float):
        raise InputTypeError(f"logp_grad: expected it to return a float on every path, it returns {returned}")

    @numba.extending.intrinsic
    def load(typing_context, user_data):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            words = builder.bitcast(arguments[0], context.get_value_type(types.intp).as_pointer())
            return load_words(context, builder, data_type, words, [0])

        return data_type(user_data), generate

    # An error of the user's stops the chain; one that is not caught would be printed, and 0 returned. The source is
    # called without the wrapper around it, which would not be inlined.
    def entry(dim, x, grad, logp, user_data):  # type: ignore[no-untyped-def]
        try:
            logp[0] = source(numba.carray(x, dim), numba.carray(grad, dim), load(user_data))
        except Exception:
            return -1
        return 0

    def entry_without_data(dim, x, grad, logp, user_data):  # type: ignore[no-untyped-def]
        try:
            logp[0] = source(numba.carray(x, dim), numba.carray(grad, dim))
        except Exception:
            return -1
        return 0

    signature = types.int32(types.uintp, pointer, pointer, pointer, types.voidptr)
    return _Compiled(numba.cfunc(signature)(entry if with_data else entry_without_data), function, source)


def _short(error: Exception) -> str:
    """The cause in a Numba error and the line of the user's code."""
    cause, _, place = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).partition('\nFile "')
    noise = ("Failed in nopython", "During:")
    lines = [line.strip() for line in cause.splitlines() if line.strip() and not line.startswith(noise)]
    where = f' (File "{place.splitlines()[0].rstrip(":")})' if place else ""
    return " ".join(lines)[:800] + where
