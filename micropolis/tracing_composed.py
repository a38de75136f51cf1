"""NumPy functions of traced arrays that are written in others which trace."""

from __future__ import annotations

from typing import Any

import numpy as np

from .tracing import Untraceable, function, is_traced, move

# NumPy without its type stubs, which know nothing of traced arguments
_np: Any = np


@function(np.select)
def _select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    result = default
    for condition, choice in reversed(list(zip(condlist, choicelist, strict=True))):
        result = _np.where(condition, choice, result)
    return result


@function(np.trapezoid)
def _trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Any:
    y = _np.moveaxis(y, axis, -1)
    width = dx if x is None else _np.diff(x) if np.ndim(x) == 1 else _np.moveaxis(_np.diff(x, axis=axis), axis, -1)
    return _np.sum(0.5 * width * (y[..., 1:] + y[..., :-1]), axis=-1)


@function(np.cross)
def _cross(a: Any, b: Any, *args: Any, **kwargs: Any) -> Any:
    if args or kwargs or np.shape(a)[-1] != 3 or np.shape(b)[-1] != 3:
        raise Untraceable("np.cross is traced for vectors of 3 along the last axis")
    after, before = [1, 2, 0], [2, 0, 1]
    return _np.take(a, after, axis=-1) * _np.take(b, before, axis=-1) - _np.take(a, before, axis=-1) * _np.take(
        b, after, axis=-1
    )


@function(np.convolve)
def _convolve(a: Any, v: Any, mode: str = "full") -> Any:
    if len(v) > len(a):
        a, v = v, a
    n, m = len(a), len(v)
    place = np.subtract.outer(np.arange(n + m - 1), np.arange(n))
    shifted = _np.concatenate([_np.ravel(v), np.zeros(1)])[np.where((place >= 0) & (place < m), place, m)]
    full = shifted @ _np.ravel(a)
    first, length = {"full": (0, n + m - 1), "same": ((m - 1) // 2, n), "valid": (m - 1, n - m + 1)}[mode]
    return full[first : first + length]


@function(np.interp)
def _interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    if is_traced(x) or is_traced(xp) or period is not None:
        raise Untraceable("np.interp is traced in its values alone, between fixed points")
    x, xp = np.asarray(x, dtype=np.float64), np.asarray(xp, dtype=np.float64)
    cell = np.clip(np.searchsorted(xp, x, side="right") - 1, 0, len(xp) - 2)
    part = np.clip((x - xp[cell]) / (xp[cell + 1] - xp[cell]), 0.0, 1.0)
    result = fp[cell] * (1 - part) + fp[cell + 1] * part
    result = result if left is None else _np.where(x < xp[0], left, result)
    return result if right is None else _np.where(x > xp[-1], right, result)


@function(np.pad)
def _pad(array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Any:
    if mode not in ("constant", "edge", "reflect", "symmetric", "wrap") or kwargs.pop("constant_values", 0) != 0:
        raise Untraceable("np.pad is traced with zeros, or with elements of the array")
    return move(np.pad, (array, pad_width), {"mode": mode, **kwargs})
