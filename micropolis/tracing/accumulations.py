"""NumPy's running sums, products and the like of traced arrays; importing this fills FUNCTIONS."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .arrays import BOOL, FLOAT, FUNCTIONS, INT, Traced, axes_of, blocks, function, plain_key
from .reductions import array_of, counted, given, no_arguments

# NumPy without its type stubs, which know nothing of traced arguments
_np: Any = np


def _line(a: Any, axis: Any, dtype: Any, out: Any) -> tuple[Traced, Any]:
    a = array_of(a)
    no_arguments(dtype, out, a)
    return (a.reshape(-1), 0) if axis is None else (a, axes_of(axis, a.ndim)[0])


@function(np.cumsum)
def _cumsum(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    a, axis = _line(a, axis, dtype, out)
    node, before, count, after, _, _ = blocks(a, axis)
    if a.size:
        node = a.graph.cumsum(a.graph.full(node, a.size), before, count, after)
    return Traced(node, a.shape, FLOAT if given(dtype) else counted(a), scalar=False)


def _accumulation(ufunc: np.ufunc) -> Callable[..., Any]:
    def accumulate(a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
        a, axis = _line(a, axis, dtype, out)
        if a.dtype == BOOL and ufunc is np.multiply:
            a = a.astype(INT)
        parts = [a[(slice(None),) * axis + (i,)] for i in range(a.shape[axis])]
        running = parts[:1]
        for part in parts[1:]:
            running.append(ufunc(running[-1], part))
        return _np.stack(running, axis=axis) if running else a

    return accumulate


def _from_the_first_axis(accumulate: Callable[..., Any]) -> Callable[..., Any]:
    """ufunc.accumulate, of which the first axis is the default."""
    return lambda a, axis=0, dtype=None, out=None: accumulate(a, axis, dtype, out)


FUNCTIONS[np.cumprod] = _accumulation(np.multiply)
FUNCTIONS[np.nancumsum] = lambda a, axis=None: _cumsum(_np.where(_np.isnan(a), 0.0, a), axis)
FUNCTIONS[np.nancumprod] = lambda a, axis=None: _np.cumprod(_np.where(_np.isnan(a), 1.0, a), axis)
FUNCTIONS["accumulate", "add"] = _from_the_first_axis(_cumsum)
for _ufunc in (np.multiply, np.maximum, np.minimum, np.logaddexp):
    FUNCTIONS["accumulate", _ufunc.__name__] = _from_the_first_axis(_accumulation(_ufunc))


def _reduceat(a: Any, indices: Any, axis: int = 0, dtype: Any = None, out: Any = None) -> Any:
    """np.add.reduceat: sums from each index to the next one, or one element where that is not larger."""
    a, axis = _line(a, axis, dtype, out)
    starts = np.asarray(plain_key(indices))
    stops = np.append(starts[1:], a.shape[axis])
    rows = [np.arange(first, max(last, first + 1)) for first, last in zip(starts, stops, strict=True)]
    sources, places = np.concatenate(rows), np.repeat(np.arange(len(rows)), [len(r) for r in rows])
    moved = _np.moveaxis(a, axis, 0)
    rest = moved.shape[1:]
    width = math.prod(rest)
    numbers = (places[:, None] * width + np.arange(width)).reshape(-1)
    node = a.graph.assemble([_np.take(moved, sources, axis=0).full()], [numbers], len(rows) * width)
    return _np.moveaxis(Traced(node, (len(rows), *rest), counted(a), scalar=False), 0, axis)


FUNCTIONS["reduceat", "add"] = _reduceat


def _cumulative(running: Callable[..., Any], first: float) -> Callable[..., Any]:
    def cumulative(
        x: Any, /, *, axis: Any = None, dtype: Any = None, out: Any = None, include_initial: bool = False
    ) -> Any:
        x = array_of(x)
        if axis is None and x.ndim > 1:
            raise ValueError("For arrays which have more than one dimension ``axis`` argument is required.")
        axis = axes_of(0 if axis is None else axis, x.ndim)[0]
        result = running(x, axis, dtype, out)
        if not include_initial:
            return result
        shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
        return _np.concatenate([np.full(shape, first, dtype=result.dtype), result], axis=axis)

    return cumulative


if hasattr(np, "cumulative_sum"):
    FUNCTIONS[_np.cumulative_sum] = _cumulative(_cumsum, 0)
    FUNCTIONS[_np.cumulative_prod] = _cumulative(FUNCTIONS[np.cumprod], 1)
