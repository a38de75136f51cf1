"""NumPy functions of traced arrays that are written in others which trace; importing this fills FUNCTIONS."""

from __future__ import annotations

from typing import Any

import numpy as np

from .arrays import (
    FUNCTIONS,
    Traced,
    Untraceable,
    axes_of,
    concrete,
    function,
    graph_of,
    is_traced,
    join,
    lift,
    move,
    number,
)  # fmt: skip
from .splines import interp

# NumPy without its type stubs, which know nothing of traced arguments
_np: Any = np


# -- choices ---------------------------------------------------------------------------------------------------------


@function(np.select)
def _select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    choices = [v if is_traced(v) or type(v) in (int, float) else np.asarray(v) for v in (*choicelist, default)]
    if any(getattr(v, "dtype", None) == np.float64 for v in choices):  # all are, float32 beside numbers too
        choices = [v if is_traced(v) else np.asarray(v, dtype=np.float64) for v in choices]
    result = choices[-1]
    for condition, choice in reversed(list(zip(condlist, choices[:-1], strict=True))):
        result = _np.where(condition, choice, result)
    return result


@function(np.choose)
def _choose(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Any:
    a = concrete(a)
    if out is not None or mode != "raise" or is_traced(a):
        raise Untraceable("np.choose is traced for known choices: use np.where")
    return _select([np.asarray(a) == i for i in range(len(choices) - 1)], list(choices)[:-1], choices[-1])


@function(np.piecewise)
def _piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kwargs: Any) -> Any:
    """Every function of all elements; those of its condition are taken."""
    if not isinstance(condlist, (list, tuple)) or np.ndim(condlist[0]) < np.ndim(x):
        condlist = [condlist]
    functions = list(funclist)
    if len(functions) == len(condlist) + 1:
        default, functions = functions[-1], functions[:-1]
    else:
        default = 0
    if len(functions) != len(condlist):
        raise ValueError(
            f"with {len(condlist)} condition(s), either {len(condlist)} or one more functions are expected"
        )
    result = default(x, *args, **kwargs) if callable(default) else default
    for condition, choice in zip(condlist, functions, strict=True):
        result = _np.where(condition, choice(x, *args, **kwargs) if callable(choice) else choice, result)
    return result


# -- integrals, slopes, interpolation --------------------------------------------------------------------------------


@function(np.trapezoid)
def _trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    y = _np.moveaxis(lift(y, graph_of(y, x, dx)), axis, -1)
    if x is None:
        width = dx
    else:
        x = x if isinstance(x, Traced) else lift(x, y.graph) if is_traced(x) else np.asarray(x)
        width = _np.diff(x) if x.ndim == 1 else _np.moveaxis(_np.diff(x, axis=axis), axis, -1)
    return _np.sum(0.5 * width * (y[..., 1:] + y[..., :-1]), axis=-1)


@function(np.gradient)
def _gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    f = lift(f, graph_of(f, *varargs))
    axes = axes_of(axis, f.ndim)
    spacings = (
        list(varargs) if len(varargs) == len(axes) else list(varargs) * len(axes) if varargs else [1.0] * len(axes)
    )
    if len(spacings) != len(axes):
        raise TypeError("invalid number of arguments")
    slopes = [_slope(_np.moveaxis(f, i, -1), h, edge_order, i) for i, h in zip(axes, spacings, strict=True)]
    return slopes[0] if len(axes) == 1 else tuple(slopes)


def _slope(f: Any, spacing: Any, edge_order: int, axis: int) -> Any:
    """Differences along the last axis, which goes back to its place."""
    n = f.shape[-1]
    if n < edge_order + 1:
        raise ValueError("Shape of array too small to calculate a numerical gradient")
    h = _np.diff(spacing) if np.ndim(spacing) == 1 else spacing * np.ones(n - 1)
    rises = (f[..., 1:] - f[..., :-1]) / h
    before, after = h[:-1], h[1:]
    inner = (rises[..., :-1] * after + rises[..., 1:] * before) / (before + after)
    first, last = rises[..., :1], rises[..., -1:]
    if edge_order == 2:
        first = first + (first - rises[..., 1:2]) * (h[0] / (h[0] + h[1]))
        last = last + (last - rises[..., -2:-1]) * (h[-1] / (h[-1] + h[-2]))
    return _np.moveaxis(_np.concatenate([first, inner, last], axis=-1), -1, axis)


@function(np.interp)
def _interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    x, xp = concrete(x), concrete(xp)
    if is_traced(xp) or period is not None:
        raise Untraceable("np.interp is traced in its values and its arguments, between fixed points without a period")
    if is_traced(x):
        return number(interp(x, xp, fp, left, right))
    x, xp, fp = np.asarray(x, dtype=np.float64), np.asarray(xp, dtype=np.float64), lift(fp, graph_of(fp, left, right))
    if len(xp) == 1:
        result = fp[np.zeros(x.shape, dtype=int)]
    else:
        cell = np.clip(np.searchsorted(xp, x, side="right") - 1, 0, len(xp) - 2)
        part = np.clip((x - xp[cell]) / (xp[cell + 1] - xp[cell]), 0.0, 1.0)
        ends = _np.where(part < 1, fp[cell], 0.0), _np.where(part > 0, fp[cell + 1], 0.0)  # not 0 times infinity
        result = ends[0] * (1 - part) + ends[1] * part
    result = result if left is None else _np.where(x < xp[0], left, result)
    return number(result if right is None else _np.where(x > xp[-1], right, result))


# -- vectors and matrices --------------------------------------------------------------------------------------------


@function(np.cross)
def _cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: Any = None) -> Any:
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = _np.moveaxis(a, axisa, -1), _np.moveaxis(b, axisb, -1)
    if np.shape(a)[-1] != 3 or np.shape(b)[-1] != 3:
        raise Untraceable("np.cross is traced for vectors of 3")
    after, before = [1, 2, 0], [2, 0, 1]
    product = a[..., after] * b[..., before] - a[..., before] * b[..., after]
    return _np.moveaxis(product, -1, axisc) if product.ndim > 1 else product


FUNCTIONS[np.linalg.cross] = lambda x1, x2, /, *, axis=-1: _cross(x1, x2, axis=axis)


@function(np.convolve)
def _convolve(a: Any, v: Any, mode: str = "full") -> Any:
    graph = graph_of(a, v)
    a, v = _np.atleast_1d(lift(a, graph)), _np.atleast_1d(lift(v, graph))
    if len(v) > len(a):
        a, v = v, a
    n, m = len(a), len(v)
    first, length = {"full": (0, n + m - 1), "same": ((m - 1) // 2, n), "valid": (m - 1, n - m + 1)}[mode]
    place = np.subtract.outer(np.arange(first, first + length), np.arange(m))
    inside = (place >= 0) & (place < n)
    shifted, whole = a[np.clip(place, 0, n - 1)], np.flatnonzero(np.all(inside, axis=1))
    if not a.flat.is_constant or not whole.size:
        return _np.sum(_np.where(inside, shifted * v, 0.0), axis=1)
    low, high = int(whole[0]), int(whole[-1]) + 1  # rows of known numbers that are products with all of v
    ends = [_np.sum(_np.where(inside[rows], shifted[rows] * v, 0.0), axis=1) for rows in (np.s_[:low], np.s_[high:])]
    return _np.concatenate([ends[0], shifted[low:high] @ v, ends[1]])


@function(np.correlate)
def _correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    graph = graph_of(a, v)
    a, v = _np.atleast_1d(lift(a, graph)), _np.atleast_1d(lift(v, graph))
    if len(v) > len(a):
        return _correlate(v, a, mode)[::-1]
    return _convolve(a, v[::-1], mode)


@function(np.vander)
def _vander(x: Any, N: Any = None, increasing: bool = False) -> Any:
    x = lift(x, graph_of(x))
    powers = np.arange(len(x) if N is None else N)
    return x[:, None] ** (powers if increasing else powers[::-1])


@function(np.cov)
def _cov(m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: Any = None, **kwargs: Any) -> Any:
    if any(v is not None for v in kwargs.values()):
        raise Untraceable(f"np.cov with {sorted(kwargs)} cannot be traced")
    graph = graph_of(m, y)

    def rows(value: Any) -> Any:
        value = _np.atleast_2d(lift(value, graph))
        return value if rowvar or value.shape[0] == 1 else value.T

    x = rows(m) if y is None else _np.concatenate([rows(m), rows(y)])
    count = x.shape[1] - ((0 if bias else 1) if ddof is None else ddof)
    x = x - _np.mean(x, axis=1, keepdims=True)
    return _np.squeeze(x @ x.T / max(count, 0))


@function(np.corrcoef)
def _corrcoef(x: Any, y: Any = None, rowvar: bool = True, **kwargs: Any) -> Any:
    covariance = _cov(x, y, rowvar)
    if covariance.ndim == 0:
        return covariance / covariance
    scale = _np.sqrt(_np.diagonal(covariance))
    return _np.clip(covariance / scale[:, None] / scale[None, :], -1, 1)


# -- arrays of parts -------------------------------------------------------------------------------------------------


@function(np.pad)
def _pad(array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Any:
    if mode in ("edge", "reflect", "symmetric", "wrap"):
        return move(np.pad, (array, pad_width), {"mode": mode, **kwargs})
    if mode != "constant":
        raise Untraceable("np.pad is traced with constant values, or with elements of the array")
    values = kwargs.pop("constant_values", 0)
    if not is_traced(values) and np.all(np.asarray(values) == 0):
        return join(np.pad, array, pad_width)
    array = lift(array, graph_of(array, values))
    if isinstance(pad_width, dict):
        pad_width = [pad_width.get(i, pad_width.get(i - array.ndim, 0)) for i in range(array.ndim)]
        pad_width = [(w, w) if np.ndim(w) == 0 else w for w in pad_width]
    widths = np.broadcast_to(pad_width, (array.ndim, 2))
    fills = _np.broadcast_to(values if isinstance(values, Traced) else _stacked(values), (array.ndim, 2))
    for axis, (before, after) in enumerate(widths):
        parts = []
        for i, width in enumerate((int(before), int(after))):
            shape = tuple(width if j == axis else n for j, n in enumerate(array.shape))
            parts.append(_np.broadcast_to(fills[axis, i], shape))
        array = _np.concatenate([parts[0], array, parts[1]], axis=axis)
    return array


def _stacked(values: Any) -> Any:
    if isinstance(values, (list, tuple)) and is_traced(values):
        return _np.stack([_stacked(v) for v in values])
    return values if isinstance(values, Traced) else np.asarray(values)


@function(np.linspace)
def _linspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None, axis: int = 0
) -> Any:
    steps = num - 1 if endpoint else num
    width = (stop - start) / max(steps, 1)
    numbers = np.arange(num, dtype=np.float64).reshape((-1,) + (1,) * np.ndim(width))
    result = numbers * width + start
    if endpoint and num > 1:
        result = _np.concatenate([result[:-1], _np.reshape(stop + 0 * width, (1, *result.shape[1:]))])
    result = _np.moveaxis(result, 0, axis) if axis else result
    return (result, width) if retstep else result


@function(np.apply_along_axis)
def _apply_along_axis(func1d: Any, axis: int, arr: Any, *args: Any, **kwargs: Any) -> Any:
    arr = _np.moveaxis(lift(arr, graph_of(arr)), axis, -1)
    lead = arr.shape[:-1]
    rows = [func1d(arr[i], *args, **kwargs) for i in np.ndindex(*lead)]
    result = _np.stack(rows)
    result = _np.reshape(result, lead + result.shape[1:])
    extra = result.ndim - len(lead)
    at = axis % (len(lead) + 1)
    return _np.moveaxis(result, range(len(lead), len(lead) + extra), range(at, at + extra)) if extra else result
