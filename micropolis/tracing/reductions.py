"""NumPy's reductions and cumulative operations of traced arrays; importing this fills FUNCTIONS."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .arrays import (
    BOOL,
    FLOAT,
    FUNCTIONS,
    INT,
    Traced,
    Untraceable,
    axes_of,
    blocks,
    function,
    graph_of,
    lift,
    number,
)
from .graph import Graph, Node

# NumPy without its type stubs, which know nothing of traced arguments
_np: Any = np
_NONE: Any = np._NoValue

Fold = Callable[[Graph, Node, int, int, int], Node]


def array_of(value: Any, *others: Any) -> Traced:
    return value if isinstance(value, Traced) else lift(value, graph_of(value, *others))


def given(value: Any) -> bool:
    return value is not _NONE and value is not None


def _reduce(a: Traced, axis: Any, keepdims: Any, fold: Fold, dtype: Any, identity: float | None = None) -> Traced:
    """Reduce the blocks of `axis` by `fold`; of nothing at all it is `identity`."""
    node, before, count, after, shape, long = blocks(a, axis)
    final = long if keepdims is not _NONE and keepdims else shape
    if before * after == 0:
        return Traced(a.graph.constant(np.empty(0)), final, dtype)
    if count == 0:
        if identity is None:
            raise ValueError("zero-size array to reduction operation which has no identity")
        return Traced(a.graph.constant(identity), final, dtype)
    return Traced(fold(a.graph, node, before, count, after), final, dtype)


def no_arguments(dtype: Any, out: Any, a: Traced | None = None) -> None:
    if out is not None and out is not _NONE:
        raise Untraceable("the argument out of a reduction cannot be traced")
    if given(dtype) and np.dtype(dtype) not in (FLOAT, a.dtype if a is not None else FLOAT):
        raise Untraceable(f"a reduction in dtype {np.dtype(dtype)} cannot be traced")


def counted(a: Traced) -> Any:
    """The dtype of a sum: booleans are counted."""
    if a.dtype.kind == "f" and a.dtype != FLOAT:
        raise Untraceable(f"a sum in {a.dtype} cannot be traced: convert the data by astype(float)")
    return FLOAT if a.dtype.kind == "f" else INT


# -- sums and products -----------------------------------------------------------------------------------------------


def _fold_sum(g: Graph, x: Node, a: int, r: int, b: int) -> Node:
    return g.sum(x, a, r, b)


@function(np.sum)
def _sum(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = _NONE,
    initial: Any = _NONE,
    where: Any = _NONE,
) -> Any:
    a = array_of(a, initial, where)
    no_arguments(dtype, out, a)
    if where is not _NONE and where is not True:
        a = _np.where(where, a, 0)
    result = _reduce(a, axis, keepdims, _fold_sum, FLOAT if given(dtype) else counted(a), 0.0)
    return result + initial if given(initial) else result


def halves(g: Graph, x: Node, a: int, r: int, b: int, name: str, twice: bool) -> Node:
    """Fold the middle axis by an operation in a tree; where counting one twice does no harm, odd halves overlap."""
    x, rest = g.full(x, a * r * b), []
    while r > 1:
        rows = np.arange(a * r * b).reshape(a, r, b)
        half = (r + 1) // 2 if twice else r // 2
        if not twice and r % 2:
            rest.append(g.gather(x, rows[:, r - 1]))
        second = rows[:, r - half :] if twice else rows[:, half : 2 * half]
        x, r = g.apply(name, g.gather(x, rows[:, :half]), g.gather(x, second)), half
    for row in rest:
        x = g.apply(name, x, row)
    return x


@function(np.prod)
def _prod(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = _NONE,
    initial: Any = _NONE,
    where: Any = _NONE,
) -> Any:
    a = array_of(a, initial, where)
    no_arguments(dtype, out, a)
    if where is not _NONE and where is not True:
        a = _np.where(where, a, 1)
    fold = functools.partial(halves, name="multiply", twice=False)
    result = _reduce(a, axis, keepdims, fold, FLOAT if given(dtype) else counted(a), 1.0)
    return result * initial if given(initial) else result


# -- extremes --------------------------------------------------------------------------------------------------------


def _extreme(name: str, worst: float) -> Callable[..., Any]:
    """np.max or np.min, by a tree of maxima, whose slope is shared where several elements are the greatest."""

    def fold(g: Graph, x: Node, a: int, r: int, b: int) -> Node:
        return halves(g, x, a, r, b, name, True)

    def without_slope(g: Graph, x: Node, a: int, r: int, b: int) -> Node:
        x = g.full(x, a * r * b)
        return g.greatest(x, a, r, b) if name == "maximum" else -g.greatest(-x, a, r, b)

    def reduce(
        a: Any, axis: Any = None, out: Any = None, keepdims: Any = _NONE, initial: Any = _NONE, where: Any = _NONE
    ) -> Any:
        a = array_of(a, initial, where)
        no_arguments(None, out)
        if where is not _NONE and where is not True:
            a = _np.where(where, a, worst)
        identity = worst if given(initial) else None
        result = _reduce(a, axis, keepdims, fold if a.dtype.kind == "f" else without_slope, a.dtype, identity)
        return getattr(_np, name)(result, initial) if given(initial) else result

    return reduce


_max, _min = _extreme("maximum", -np.inf), _extreme("minimum", np.inf)
FUNCTIONS.update({np.max: _max, np.min: _min, np.amax: _max, np.amin: _min})
FUNCTIONS[np.ptp] = lambda a, axis=None, out=None, keepdims=_NONE: (
    _max(a, axis, out, keepdims) - _min(a, axis, out, keepdims)
)


# -- truth -----------------------------------------------------------------------------------------------------------


def _truth(a: Any, *others: Any) -> Traced:
    a = array_of(a, *others)
    return a if a.dtype == BOOL else a != 0


def _fold_any(g: Graph, x: Node, a: int, r: int, b: int) -> Node:
    return g.apply("greater", g.sum(x, a, r, b), 0.0)


def _fold_all(g: Graph, x: Node, a: int, r: int, b: int) -> Node:
    return g.apply("equal", g.sum(g.apply("equal", x, 0.0), a, r, b), 0.0)


@function(np.any)
def _any(a: Any, axis: Any = None, out: Any = None, keepdims: Any = _NONE, *, where: Any = _NONE) -> Any:
    no_arguments(None, out)
    truth = _truth(a, where)
    return _reduce(truth if where is _NONE else _np.logical_and(truth, where), axis, keepdims, _fold_any, BOOL, 0.0)


@function(np.all)
def _all(a: Any, axis: Any = None, out: Any = None, keepdims: Any = _NONE, *, where: Any = _NONE) -> Any:
    no_arguments(None, out)
    truth = _truth(a, where)
    return _reduce(
        truth if where is _NONE else _np.logical_or(truth, _np.logical_not(where)), axis, keepdims, _fold_all, BOOL, 1.0
    )


@function(np.count_nonzero)
def _count_nonzero(a: Any, axis: Any = None, *, keepdims: bool = False) -> Any:
    return _reduce(_truth(a), axis, keepdims, _fold_sum, INT, 0.0)


# -- logarithms of sums ----------------------------------------------------------------------------------------------


def _fold_logsumexp(g: Graph, x: Node, a: int, r: int, b: int) -> Node:
    return g.logsumexp(g.full(x, a * r * b), a, r, b)


def _logsumexp(a: Any, axis: Any = 0, keepdims: Any = _NONE, initial: Any = _NONE, where: Any = _NONE) -> Any:
    a = array_of(a, initial, where)
    if where is not _NONE and where is not True:
        a = _np.where(where, a, -np.inf)
    result = _reduce(a, axis, keepdims, _fold_logsumexp, FLOAT, -np.inf)
    return _np.logaddexp(result, initial) if given(initial) else result


def _logsumexp2(a: Any, axis: Any = 0, keepdims: Any = _NONE) -> Any:
    return _logsumexp(array_of(a) * np.log(2), axis, keepdims) / np.log(2)


def _ufunc_reduce(whole: Callable[..., Any]) -> Callable[..., Any]:
    """A reduction of a ufunc, of which the first axis is the default."""
    return lambda a, axis=0, *args, **kwargs: whole(a, axis, *args, **kwargs)


def _of_extreme(whole: Callable[..., Any]) -> Callable[..., Any]:
    def reduce(a: Any, axis: Any = 0, dtype: Any = None, out: Any = None, *args: Any, **kwargs: Any) -> Any:
        return whole(a, axis, out, *args, **kwargs)

    return reduce


for _name, _whole in {"add": _sum, "multiply": _prod}.items():
    FUNCTIONS["reduce", _name] = _ufunc_reduce(_whole)
for _name, _whole in {
    "maximum": _max, "minimum": _min, "logical_or": _any, "logical_and": _all, "bitwise_or": _any, "bitwise_and": _all,
}.items():  # fmt: skip
    FUNCTIONS["reduce", _name] = _of_extreme(_whole)
FUNCTIONS["reduce", "logaddexp"], FUNCTIONS["reduce", "logaddexp2"] = _logsumexp, _logsumexp2


# -- moments ---------------------------------------------------------------------------------------------------------


def _number(a: Traced, axis: Any, keepdims: Any, where: Any) -> Any:
    """How many elements each result is made of."""
    if where is _NONE or where is True:
        return int(np.prod([a.shape[i] for i in axes_of(axis, a.ndim)], dtype=int))
    return np.sum(np.broadcast_to(where, a.shape), axis=axis, keepdims=keepdims is not _NONE and bool(keepdims))


@function(np.mean)
def _mean(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = _NONE, *, where: Any = _NONE
) -> Any:
    a = array_of(a, where)
    return _sum(a, axis, dtype, out, keepdims, where=where) / _number(a, axis, keepdims, where)


@function(np.var)
def _var(
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    ddof: Any = 0,
    keepdims: Any = _NONE,
    *,
    where: Any = _NONE,
    mean: Any = _NONE,
    correction: Any = _NONE,
) -> Any:
    a = array_of(a, mean, where)
    ddof = correction if given(correction) else ddof
    middle = mean if given(mean) else _mean(a, axis, dtype, keepdims=True, where=where)
    total = _sum(_np.square(a - middle), axis, dtype, out, keepdims, where=where)
    return total / np.maximum(_number(a, axis, keepdims, where) - ddof, 0)


def _root(variance: Any) -> Any:
    """The standard deviation of a variance: flat at 0, where differences on both sides are 0."""
    if not isinstance(variance, Traced):
        return np.sqrt(variance)
    return number(_np.where(_np.equal(variance, 0.0), 0.0, _np.sqrt(variance)))


FUNCTIONS[np.std] = lambda *args, **kwargs: _root(_var(*args, **kwargs))


@function(np.average)
def _average(a: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: Any = _NONE) -> Any:
    a = array_of(a, weights)
    if weights is None:
        result = _mean(a, axis, keepdims=keepdims)
        scale: Any = a.size / max(result.size, 1)
    else:
        weights = weights if isinstance(weights, Traced) else np.asarray(weights)
        if weights.shape != a.shape:
            if axis is None:
                raise TypeError("Axis must be specified when shapes of a and weights differ.")
            axes = axes_of(axis, a.ndim)
            if weights.shape != tuple(a.shape[i] for i in axes):
                raise ValueError("Shape of weights must be consistent with shape of a along specified axis.")
            order = sorted(range(len(axes)), key=axes.__getitem__)
            full = tuple(n if i in axes else 1 for i, n in enumerate(a.shape))
            weights = _np.broadcast_to(_np.reshape(_np.transpose(weights, order), full), a.shape)
        long = keepdims is not _NONE and bool(keepdims)
        scale = _np.sum(weights, axis=axis, keepdims=long)
        result = _np.sum(a * weights, axis=axis, keepdims=long) / scale
    return (result, _np.broadcast_to(scale, np.shape(result))) if returned else result


# -- without NaN -----------------------------------------------------------------------------------------------------


def _without_nan(reduction: Callable[..., Any], neutral: float) -> Callable[..., Any]:
    def reduce(a: Any, axis: Any = None, *args: Any, **kwargs: Any) -> Any:
        a = array_of(a)
        return reduction(_np.where(_np.isnan(a), neutral, a), axis, *args, **kwargs)

    return reduce


def _extreme_without_nan(reduction: Callable[..., Any], worst: float) -> Callable[..., Any]:
    def reduce(a: Any, axis: Any = None, out: Any = None, keepdims: Any = _NONE) -> Any:
        a = array_of(a)
        known = ~_np.isnan(a)
        result = reduction(_np.where(known, a, worst), axis, out, keepdims)
        return number(_np.where(_any(known, axis, None, keepdims), result, np.nan))

    return reduce


@function(np.nanmean)
def _nanmean(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = _NONE) -> Any:
    a = array_of(a)
    known = ~_np.isnan(a)
    return _sum(_np.where(known, a, 0.0), axis, dtype, out, keepdims) / _sum(known, axis, keepdims=keepdims)


@function(np.nanvar)
def _nanvar(a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: int = 0, keepdims: Any = _NONE) -> Any:
    a = array_of(a)
    known = ~_np.isnan(a)
    squares = _np.where(known, _np.square(a - _nanmean(a, axis, dtype, keepdims=True)), 0.0)
    count = _sum(known, axis, keepdims=keepdims)
    return _sum(squares, axis, dtype, out, keepdims) / _np.where(count > ddof, count - ddof, np.nan)


FUNCTIONS.update(
    {
        np.nansum: _without_nan(_sum, 0.0),
        np.nanprod: _without_nan(_prod, 1.0),
        np.nanmax: _extreme_without_nan(_max, -np.inf),
        np.nanmin: _extreme_without_nan(_min, np.inf),
        np.nanstd: lambda *args, **kwargs: _root(_nanvar(*args, **kwargs)),
    }
)
