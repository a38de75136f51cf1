"""Functions of math, numpy.polynomial and others that take numbers alone, in NumPy functions that trace."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .arrays import Untraceable, elementwise, is_traced

# NumPy without its type stubs, which know nothing of traced arguments
_np: Any = np


def _log(x: Any, base: Any = None) -> Any:
    return _np.log(x) if base is None else _np.log(x) / _np.log(base)


def _operation(name: str) -> Callable[[Any], Any]:
    return lambda x: elementwise(name, x)


def _math_gamma(x: Any) -> Any:
    from scipy import special

    return special.gamma(x)


def _distance(p: Any, q: Any) -> Any:
    return _np.sqrt(sum((a - b) ** 2 for a, b in zip(p, q, strict=True)))


def _product(numbers: Any, *, start: Any = 1) -> Any:
    return functools.reduce(lambda total, v: total * v, numbers, start)


def _polygamma(n: Any, x: Any) -> Any:
    orders = np.asarray(n)
    if is_traced(n) or orders.ndim or int(orders) != orders or not 0 <= orders <= 4:
        raise Untraceable("special.polygamma is traced for one order of 0, ..., 4")
    return elementwise(f"polygamma{int(orders)}", x)


def _polynomial_value(x: Any, c: Any, tensor: bool = True) -> Any:
    coefficients = list(c)
    if any(np.ndim(v) for v in coefficients):
        raise Untraceable("polynomial.polyval is traced for one row of coefficients")
    return _np.polyval(_np.stack(coefficients[::-1]) if is_traced(coefficients) else np.array(coefficients[::-1]), x)


def _chebyshev_value(x: Any, c: Any, tensor: bool = True) -> Any:
    """Clenshaw's recurrence."""
    c = list(c)
    if any(np.ndim(v) for v in c):
        raise Untraceable("chebyshev.chebval is traced for one row of coefficients")
    after, next_one = 0.0, 0.0
    for v in c[:0:-1]:
        after, next_one = next_one, v + 2 * x * next_one - after
    return c[0] + x * next_one - after + 0.0 * x


_MATH: dict[str, Callable[..., Any]] = {
    "exp": np.exp, "expm1": np.expm1, "exp2": np.exp2, "log": _log, "log2": np.log2, "log10": np.log10,
    "log1p": np.log1p, "sqrt": np.sqrt, "cbrt": np.cbrt, "pow": np.power, "hypot": np.hypot, "fabs": np.fabs,
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan,
    "atan2": np.arctan2, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "asinh": np.arcsinh, "acosh": np.arccosh,
    "atanh": np.arctanh, "degrees": np.degrees, "radians": np.radians, "copysign": np.copysign, "fmod": np.fmod,
    "isnan": np.isnan, "isinf": np.isinf, "isfinite": np.isfinite, "erf": _operation("erf"),
    "erfc": _operation("erfc"), "lgamma": _operation("gammaln"), "gamma": _math_gamma, "fsum": sum, "prod": _product,
    "dist": _distance,
}  # fmt: skip
# (module, name) -> what stands in where an argument is traced.
PLAIN: dict[tuple[str, str], Callable[..., Any]] = {
    **{("math", name): f for name, f in _MATH.items() if hasattr(math, name)},
    ("scipy.special", "polygamma"): _polygamma,
    ("numpy.polynomial.polynomial", "polyval"): _polynomial_value,
    ("numpy.polynomial.chebyshev", "chebval"): _chebyshev_value,
}


# Methods of the frames and series of pandas.
FRAMES: dict[str, Callable[..., Any]] = {
    "__matmul__": lambda self, other: _np.matmul(np.asarray(self), other),
    "__rmatmul__": lambda self, other: _np.matmul(other, np.asarray(self)),
    "dot": lambda self, other: _np.matmul(np.asarray(self), other),
}


class Pieces:
    """np.r_ or np.c_, of pieces that are traced."""

    def __init__(self, original: Any, columns: bool) -> None:
        self._original, self._columns = original, columns

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)

    def __len__(self) -> int:
        return len(self._original)

    def __getitem__(self, key: Any) -> Any:
        pieces = key if isinstance(key, tuple) else (key,)
        if not any(map(is_traced, pieces)):
            return self._original[key]
        if any(isinstance(piece, str) for piece in pieces):
            raise Untraceable("np.r_ with a string cannot be traced: use np.concatenate or np.stack")
        parts = [np.r_[piece] if isinstance(piece, slice) else piece for piece in pieces]
        parts = [_np.stack(part) if isinstance(part, (list, tuple)) and is_traced(part) else part for part in parts]
        return _np.column_stack(parts) if self._columns else _np.concatenate([_np.atleast_1d(part) for part in parts])
