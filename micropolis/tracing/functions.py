"""NumPy functions of traced arrays that are no ufuncs and no reductions; importing this fills FUNCTIONS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import accumulations, products, reductions  # noqa: F401  fill the tables too
from .arrays import (
    BOOL,
    FUNCTIONS,
    NeedsArrays,
    Traced,
    Untraceable,
    concrete,
    function,
    graph_of,
    is_traced,
    lift,
    new_array,
    number,
    plain_key,
    spread,
)  # fmt: skip
from .ufuncs import sinc, trunc

# NumPy without its type stubs, which know nothing of traced arguments
_np: Any = np


# -- choices ---------------------------------------------------------------------------------------------------------


@function(np.where)
def _where(condition: Any, *branches: Any) -> Any:
    if len(branches) != 2:
        raise Untraceable("np.where with one argument finds positions, which depend on the parameters")
    graph = graph_of(condition, *branches)
    arrays = [lift(value, graph) for value in (condition, *branches)]
    types = [v if type(v) in (int, float) else a.dtype for v, a in zip(branches, arrays[1:], strict=True)]
    dtype = np.result_type(*types) if types[0] is not types[1] else types[0]
    shape = np.broadcast_shapes(*(array.shape for array in arrays))
    if 0 in shape:
        return Traced(graph.constant(np.empty(0)), shape, dtype)
    test, yes, no = [spread(array.flat, array.shape, shape) for array in arrays]
    return Traced(graph.where(test, yes, no), shape, dtype, scalar=False)


@function(np.clip)
def _clip(
    a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, *, min: Any = None, max: Any = None, **kwargs: Any
) -> Any:
    if out is not None or kwargs:
        raise Untraceable(f"the arguments {['out', *kwargs]} of np.clip cannot be traced")
    low, high = (a_min if min is None else min), (a_max if max is None else max)
    a = a if low is None else _np.maximum(a, low)
    return a if high is None else _np.minimum(a, high)


@function(np.nan_to_num)
def _nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    largest = float(np.finfo(np.float64).max)
    result = _np.where(_np.isnan(x), nan, x)
    result = _np.where(result == np.inf, largest if posinf is None else posinf, result)
    result = _np.where(result == -np.inf, -largest if neginf is None else neginf, result)
    if not copy and isinstance(x, Traced):
        x[...] = result
        return x
    return number(result) if not isinstance(x, Traced) or x._scalar else result


def _of_nodes(of: Callable[..., Any]) -> Callable[..., Any]:
    """A function of one array from an expression of nodes."""

    def implementation(x: Any) -> Any:
        x = lift(x, graph_of(x))
        return Traced(of(x.flat), x.shape)

    return implementation


FUNCTIONS[np.sinc] = _of_nodes(sinc)
FUNCTIONS[np.fix] = lambda x, out=None: _of_nodes(trunc)(x)
FUNCTIONS[np.i0] = _of_nodes(lambda x: x.graph.apply("exp", x.graph.apply("absolute", x)) * x.graph.apply("i0e", x))
FUNCTIONS[np.isposinf] = lambda x, out=None: x == np.inf
FUNCTIONS[np.isneginf] = lambda x, out=None: x == -np.inf
FUNCTIONS[np.real] = FUNCTIONS[np.real_if_close] = lambda a, tol=100: a
FUNCTIONS[np.imag] = lambda a: np.zeros(np.shape(a))
FUNCTIONS[np.isreal] = lambda a: np.ones(np.shape(a), dtype=bool)
FUNCTIONS[np.iscomplex] = lambda a: np.zeros(np.shape(a), dtype=bool)
FUNCTIONS[np.isrealobj] = lambda a: True
FUNCTIONS[np.iscomplexobj] = lambda a: False
FUNCTIONS[np.round] = FUNCTIONS[np.around] = lambda a, *args, **kwargs: _np.rint(a)


@function(np.isclose)
def _isclose(a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Any:
    near = (_np.abs(a - b) <= atol + rtol * _np.abs(b)) & _np.isfinite(b) | (_np.equal(a, b))
    return near | (_np.isnan(a) & _np.isnan(b)) if equal_nan else near


@function(np.diff)
def _diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = np._NoValue, append: Any = np._NoValue) -> Any:
    if n == 0:
        return a
    if n < 0:
        raise ValueError(f"order must be non-negative but got {n!r}")
    a = lift(a, graph_of(a, prepend, append))
    if a.ndim == 0:
        raise ValueError("diff requires input that is at least one dimensional")
    ends = [prepend, append]
    for i, end in enumerate(ends):
        if end is not np._NoValue and np.ndim(end) == 0:
            ends[i] = _np.broadcast_to(end, tuple(1 if j == axis % a.ndim else m for j, m in enumerate(a.shape)))
    before, after = ([] if end is np._NoValue else [end] for end in ends)
    if before or after:
        a = _np.concatenate([*before, a, *after], axis=axis)
    place: list[Any] = [slice(None)] * a.ndim
    for _ in range(n):
        high, low = place.copy(), place.copy()
        high[axis], low[axis] = slice(1, None), slice(None, -1)
        a = a[tuple(high)] != a[tuple(low)] if a.dtype == BOOL else a[tuple(high)] - a[tuple(low)]
    return a


FUNCTIONS[np.ediff1d] = lambda ary, to_end=None, to_begin=None: _np.concatenate(
    [
        *([] if to_begin is None else [_np.ravel(to_begin)]),
        _diff(_np.ravel(ary)),
        *([] if to_end is None else [_np.ravel(to_end)]),
    ]
)


# -- shapes and new arrays -------------------------------------------------------------------------------------------

FUNCTIONS[np.shape], FUNCTIONS[np.ndim], FUNCTIONS[np.size] = (
    lambda a: a.shape,
    lambda a: a.ndim,
    lambda a, axis=None: a.size if axis is None else a.shape[axis],
)


def _shape_like(a: Any, shape: Any) -> tuple[int, ...]:
    return np.shape(a) if shape is None else (int(shape),) if np.ndim(shape) == 0 else tuple(shape)


def _like(value: float) -> Callable[..., Any]:
    def maker(a: Any, dtype: Any = None, order: Any = "K", subok: bool = True, shape: Any = None, **kwargs: Any) -> Any:
        dtype = a.dtype if dtype is None else np.dtype(dtype)
        return new_array(np.full(_shape_like(a, shape), value, dtype=dtype), a.graph)

    return maker


FUNCTIONS.update({np.zeros_like: _like(0), np.empty_like: _like(0), np.ones_like: _like(1)})


@function(np.full_like)
def _full_like(
    a: Any, fill_value: Any, dtype: Any = None, order: Any = "K", subok: bool = True, shape: Any = None, **kwargs: Any
) -> Any:
    shape = _shape_like(a, shape)
    if not is_traced(fill_value):
        dtype = np.asarray(a).dtype if not isinstance(a, Traced) else a.dtype if dtype is None else np.dtype(dtype)
        return new_array(np.full(shape, fill_value, dtype=dtype), a.graph)
    fill = lift(fill_value, graph_of(fill_value))
    return Traced(spread(fill.flat, fill.shape, shape), shape, scalar=False)


# -- elements by place -----------------------------------------------------------------------------------------------


@function(np.compress)
def _compress(condition: Any, a: Any, axis: Any = None, out: Any = None) -> Any:
    kept = np.flatnonzero(plain_key(condition))
    return _np.take(_np.ravel(a), kept) if axis is None else _np.take(a, kept, axis=axis)


FUNCTIONS[np.extract] = lambda condition, arr: _compress(np.ravel(plain_key(condition)), _np.ravel(arr))


@function(np.insert)
def _insert(arr: Any, obj: Any, values: Any, axis: Any = None) -> Any:
    graph = graph_of(arr, values)
    arr, values = lift(arr, graph), lift(values, graph)
    old, new = np.arange(arr.size).reshape(arr.shape), arr.size + np.arange(values.size).reshape(values.shape)
    numbers = np.insert(old, plain_key(obj), new, axis)
    node = graph.gather(graph.concatenate([arr.full(), values.full()]), numbers)
    return Traced(node, numbers.shape, np.promote_types(arr.dtype, values.dtype), scalar=False)


# -- writing into arrays ---------------------------------------------------------------------------------------------


@function(np.fill_diagonal)
def _fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    if not isinstance(a, Traced):
        raise NeedsArrays("np.fill_diagonal writes into a NumPy array: make that one by np.array(a, like=x)")
    if wrap or a.ndim < 2 or (a.ndim > 2 and len(set(a.shape)) > 1):
        raise Untraceable("np.fill_diagonal is traced for matrices")
    at = np.arange(min(a.shape))
    a[(at,) * a.ndim] = val if np.ndim(val) == 0 else _np.resize(_np.ravel(val), at.size)


@function(np.copyto)
def _copyto(dst: Any, src: Any, casting: Any = "same_kind", where: Any = True) -> None:
    if not isinstance(dst, Traced):
        raise NeedsArrays("np.copyto writes into a NumPy array: make that one by np.zeros(shape, like=x)")
    dst[...] = src if where is True else _np.where(where, src, dst)


@function(np.put)
def _put(a: Any, ind: Any, v: Any, mode: str = "raise") -> None:
    if not isinstance(a, Traced) or mode != "raise":
        raise Untraceable("np.put is traced for arrays made by np.zeros(shape, like=x)")
    numbers = np.arange(a.size)[np.asarray(ind)].reshape(-1)
    place = np.unravel_index(numbers, a.shape)
    a[place] = v if np.ndim(v) == 0 else _np.resize(_np.ravel(v), numbers.size)


@function(np.putmask)
def _putmask(a: Any, mask: Any, values: Any) -> None:
    if not isinstance(a, Traced):
        raise Untraceable("np.putmask is traced for arrays made by np.zeros(shape, like=x)")
    a[...] = _np.where(mask, values if np.ndim(values) == 0 else _np.resize(_np.ravel(values), a.shape), a)


@function(np.place)
def _place(arr: Any, mask: Any, vals: Any) -> None:
    mask = concrete(mask)
    if not isinstance(arr, Traced) or isinstance(mask, Traced):
        raise Untraceable("np.place is traced for arrays made by np.zeros(shape, like=x) and fixed places")
    arr[np.asarray(mask, dtype=bool)] = _np.resize(_np.ravel(vals), int(np.sum(mask)))


# -- sums at places --------------------------------------------------------------------------------------------------


def _scatter(target: Any, place: Any, values: Any) -> Any:
    """Zeros in the target's shape, to which values are added at a place that may name elements repeatedly."""
    numbers = np.arange(target.size).reshape(target.shape)[place]
    values = lift(values, target.graph)
    node = target.graph.full(spread(values.flat, values.shape, numbers.shape), numbers.size)
    return Traced(target.graph.assemble([node], [numbers.reshape(-1)], target.size), target.shape)


def _at(sign: float) -> Callable[..., Any]:
    def at(a: Any, place: Any, values: Any) -> None:
        if not isinstance(a, Traced):
            raise NeedsArrays("np.add.at writes into a NumPy array: make that one by np.zeros(shape, like=x)")
        a[...] = a + sign * _scatter(a, place, values)

    return at


FUNCTIONS["at", "add"], FUNCTIONS["at", "subtract"] = _at(1.0), _at(-1.0)


@function(np.bincount)
def _bincount(x: Any, weights: Any = None, minlength: int = 0) -> Any:
    x = concrete(x)
    if isinstance(x, Traced):
        raise Untraceable("np.bincount counts values that depend on the parameters")
    x, weights = np.asarray(x), lift(weights, graph_of(weights))
    if x.ndim != 1 or weights.shape != x.shape:
        raise ValueError("The weights and list don't have the same length.")
    size = max(int(x.max()) + 1 if x.size else 0, minlength)
    graph = weights.graph
    if not x.size:
        return new_array(np.zeros(size), graph)
    return Traced(graph.assemble([weights.full()], [x.astype(np.int64)], size), (size,), scalar=False)
