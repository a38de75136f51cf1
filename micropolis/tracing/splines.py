"""Piecewise functions of traced arguments between fixed points: np.interp and SciPy's splines.

The piece of each argument is a mask over all pieces, by which its numbers are selected; a mask has no derivative.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .arrays import Untraceable, graph_of, is_traced, lift

# NumPy without its type stubs, which know nothing of traced arguments
_np: Any = np


def _pieces(x: Any, starts: Any) -> Any:
    """A mask (*x.shape, n): the last of the n starts that is not above x, the first one for all below."""
    above = _np.expand_dims(x, -1) >= starts[1:]
    lead = np.shape(x)
    below = _np.concatenate([np.ones((*lead, 1), dtype=bool), above], axis=-1)
    after = _np.concatenate([above, np.zeros((*lead, 1), dtype=bool)], axis=-1)
    return below & ~after


def _selected(mask: Any, values: Any) -> Any:
    """Of values (n,), that of the piece: a sum of one of them and zeros."""
    return _np.sum(_np.where(mask, values, 0.0), axis=-1)


def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None) -> Any:
    """np.interp between fixed points, at traced x."""
    xp, fp = np.asarray(xp, dtype=np.float64), fp if is_traced(fp) else np.asarray(fp, dtype=np.float64)
    x = lift(x, graph_of(x, fp, left, right))
    if len(xp) == 1:
        inside = fp[0] + 0.0 * x
    else:
        mask = _pieces(x, xp[:-1])
        with np.errstate(invalid="ignore"):
            slopes = _np.diff(fp) / np.diff(xp)
        step, slope = x - _selected(mask, xp[:-1]), _selected(mask, slopes)
        rise = slope * step
        if is_traced(fp) or not np.all(np.isfinite(fp)):
            rise = _np.where((step == 0) & ~_np.isfinite(slope), 0.0, rise)
        inside = rise + _selected(mask, fp[:-1])
    result = _np.where(x < xp[0], fp[0] if left is None else left, inside)
    return _np.where(x > xp[-1], fp[-1] if right is None else right, result)


# -- SciPy's piecewise polynomials -----------------------------------------------------------------------------------


def _polynomial(self: Any, x: Any, nu: int = 0, extrapolate: Any = None) -> Any:
    """PPoly.__call__, also of the splines that are made of it."""
    if nu:
        return _polynomial(self.derivative(nu) if nu > 0 else self.antiderivative(-nu), x, 0, extrapolate)
    extrapolate = self.extrapolate if extrapolate is None else extrapolate
    ends, coefficients = np.asarray(self.x), np.asarray(self.c)
    axis = getattr(self, "axis", 0)
    return _evaluated(x, ends, coefficients, extrapolate, axis)


def _evaluated(x: Any, ends: Any, coefficients: Any, extrapolate: Any, axis: int = 0) -> Any:
    if np.iscomplexobj(coefficients) or ends[0] > ends[-1]:
        raise Untraceable("a spline with complex coefficients, or falling knots, cannot be traced")
    x = lift(x, graph_of(x))
    if extrapolate == "periodic":
        x = ends[0] + (x - ends[0]) % (ends[-1] - ends[0])
    order, count = coefficients.shape[:2]
    rest = coefficients.shape[2:]
    flat = coefficients.reshape(order, count, -1)
    mask = _pieces(x, ends[:-1])
    step = x - _selected(mask, ends[:-1])
    columns = []
    for j in range(math.prod(rest)):
        value = _selected(mask, flat[0, :, j])
        for k in range(1, order):
            value = value * step + _selected(mask, flat[k, :, j])
        if not extrapolate:
            value = _np.where((x < ends[0]) | (x > ends[-1]), np.nan, value)
        columns.append(value if order > 1 else value + 0.0 * x)
    if not rest:
        return columns[0]
    result = _np.reshape(_np.stack(columns, axis=-1), (*x.shape, *rest))
    return _np.moveaxis(result, range(x.ndim), range(axis, axis + x.ndim)) if axis else result


def _b_spline(self: Any, x: Any, nu: int = 0, extrapolate: Any = None) -> Any:
    """BSpline.__call__, by the polynomials of its base interval; outside of that the first and the last go on."""
    extrapolate = self.extrapolate if extrapolate is None else extrapolate
    plain = type(self).construct_fast(self.t, self.c, self.k, True, 0)
    ends = np.unique(self.t[self.k : len(self.t) - self.k])
    orders = range(self.k, nu - 1, -1)
    if not orders:
        orders = range(nu, nu - 1, -1)
    coefficients = np.stack([plain(ends[:-1], nu=m) / math.factorial(m - nu) for m in orders])
    return _evaluated(x, ends, coefficients, extrapolate, getattr(self, "axis", 0))


def _univariate(self: Any, x: Any, nu: int = 0, ext: Any = None) -> Any:
    """UnivariateSpline.__call__."""
    from scipy.interpolate import BSpline

    knots, coefficients, degree = self._eval_args
    ext = self.ext if ext is None else ext
    if ext not in (0, "extrapolate"):
        raise Untraceable("UnivariateSpline is traced with ext=0, where it extrapolates")
    return _b_spline(BSpline(knots, coefficients[: len(knots) - degree - 1], degree), x, nu, True)


def _interp1d(self: Any, x: Any) -> Any:
    """interp1d.__call__ of kind "linear" or of splines; NaN where SciPy raises an error."""
    ends, values = np.asarray(self.x), np.asarray(self.y, dtype=np.float64)
    if values.ndim != 1 or self._kind not in ("linear", "spline"):
        raise Untraceable("interp1d is traced for one row of values, with kind='linear' or a spline")
    if self._kind == "spline":
        inside = _np.reshape(_b_spline(self._spline, x, 0, True), np.shape(x))
    else:
        inside = _evaluated(x, ends, np.stack([np.diff(values) / np.diff(ends), values[:-1]]), True)
    if self._extrapolate:
        return inside
    low, high = (float(np.ravel(v)[0]) for v in (self._fill_value_below, self._fill_value_above))
    return _np.where(x < ends[0], low, _np.where(x > ends[-1], high, inside))


CALLS: dict[str, Callable[..., Any]] = {
    "PPoly": _polynomial,
    "BSpline": _b_spline,
    "UnivariateSpline": _univariate,
    "interp1d": _interp1d,
}
