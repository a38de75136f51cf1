"""The elementwise operations of the array program as functions of numbers, for emitted source.

`make_scalars` compiles them by a given compiler. What they are made of (exp, log, power, ...) comes in three ways:

    "python"  NumPy's functions, silently and always on NumPy's doubles, which divide by zero
    "cuda"    those of `math`, which CUDA has on the device
    "numba"   those of `math`; exp and log by polynomials, without branches or calls, so that loops become vectors

NaN, infinities, poles and ends of domains give what NumPy and SciPy give. Relative errors stay within 1e-14, in the
tails of the normal distribution within 1e-12.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import incomplete_gamma
from .scalar_special import Functions, bessel, gamma, normal

Jit = Callable[..., Any]

# Named by the operation, as text of operands: what Python writes by operators.
OPERATORS = {
    "add": "({0} + {1})",
    "subtract": "({0} - {1})",
    "multiply": "({0} * {1})",
    "divide": "({0} / {1})",
    "negative": "(-{0})",
    "square": "({0} * {0})",
    "reciprocal": "({one} / {0})",
    "absolute": "abs({0})",
}
_OF_MATH = {
    "sqrt": "sqrt", "expm1": "expm1", "sin": "sin", "cos": "cos", "tan": "tan", "arcsin": "asin", "arccos": "acos",
    "arctan": "atan", "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "arcsinh": "asinh", "arccosh": "acosh",
    "arctanh": "atanh", "arctan2": "atan2", "hypot": "hypot", "power": "pow", "fmod": "fmod", "copysign": "copysign",
    "exp": "exp", "log": "log", "log1p": "log1p",
}  # fmt: skip


def quiet(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of numbers whose arguments and value are NumPy's doubles, without warnings."""

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        with np.errstate(all="ignore"):
            return np.float64(function(*map(np.float64, args)))

    return call


@functools.lru_cache(maxsize=8)
def make_scalars(jit: Jit, mode: str) -> Functions:
    """The operations by name; `jit` compiles each, in the mode "python" as it is."""
    compiled = quiet if mode == "python" else jit
    made = _elementary(compiled, mode)
    for family in (_choices, _rounding, _sums_of_exponentials, gamma, normal, bessel, *incomplete_gamma.FAMILIES):
        made.update({name: compiled(f) for name, f in family(made).items()})
    return made


# -- elementary ------------------------------------------------------------------------------------------------------


def _elementary(jit: Jit, mode: str) -> Functions:
    if mode == "python":
        return {name: _of_numpy(name) for name in _OF_MATH}
    # under a function of its own each: compilers look up no attributes that are not there
    made = {name: _of_math(jit, of) for name, of in _OF_MATH.items()}
    if mode == "numba":
        made["exp"] = jit(_exp)
        made["log"] = jit(_log)
        log = made["log"]

        def log1p(x):  # type: ignore[no-untyped-def]
            u = 1.0 + x
            rounding = (x - (u - 1.0)) / u
            return log(u) + (rounding if 0.0 < u < math.inf else 0.0)

        made["log1p"] = jit(log1p)
        made["fmod"] = jit(lambda x, y: np.fmod(x, y))  # Numba has none of math
    return made


def _of_numpy(name: str) -> Any:
    function = getattr(np, name)
    return quiet(lambda *args: function(*[[a] for a in args])[0])  # some single numbers NumPy answers by other means


def _of_math(jit: Jit, name: str) -> Any:
    function = getattr(math, name)
    if name in ("atan2", "hypot", "pow", "fmod", "copysign"):
        return jit(lambda x, y: function(x, y))
    return jit(lambda x: function(x))


def _exp(x):  # type: ignore[no-untyped-def]
    """As mp_exp8 in csrc/common/vector_math.h: 2^n exp(r), |r| <= log(2) / 2, scaled in two halves."""
    x = -746.0 if x < -746.0 else x
    x = 710.0 if x > 710.0 else x
    shifted = x * 1.4426950408889634 + 6755399441055744.0
    n = shifted - 6755399441055744.0
    r = (x - n * 0.6931471803691238) - n * 1.9082149292705877e-10
    r2 = r * r
    r4 = r2 * r2
    q01 = 0.5000000000000001 + r * 0.16666666666666669
    q23 = 0.04166666666662413 + r * 0.008333333333330062
    q45 = 0.0013888888917213717 + r * 0.00019841269863053618
    q67 = 2.4801521295954376e-05 + r * 2.7557268459997064e-06
    q89 = 2.7620088445409746e-07 + r * 2.510038549551032e-08
    y = 1.0 + (r + r2 * ((q01 + r2 * q23) + r4 * ((q45 + r2 * q67) + r4 * q89)))
    exponent = np.float64(shifted).view(np.int64) - 4843621399236968448
    half = ((exponent + 4096) >> 1) - 2048
    return (
        y * np.int64((half + 1023) << 52).view(np.float64) * np.int64((exponent - half + 1023) << 52).view(np.float64)
    )


def _log(x):  # type: ignore[no-untyped-def]
    """As mp_log8: 2^k (1 + f), sqrt(1/2) <= 1 + f < sqrt(2); of every double."""
    tiny = x < 2.2250738585072014e-308
    bits = np.float64(x * 18014398509481984.0 if tiny else x).view(np.int64)
    k = (bits - 4604544271217802189) >> 52
    f = np.int64(bits - (k << 52)).view(np.float64) - 1.0
    s = f / (2.0 + f)
    z = s * s
    z2 = z * z
    low = (0.666666666666667 + z * 0.39999999999899444) + z2 * (0.2857142862600327 + z * 0.22222211130259878)
    high = (0.18182889455674947 + z * 0.15331710618210773) + z2 * 0.14616585424888623
    log_f = f - s * (f - z * (low + (z2 * z2) * high))
    n = np.int64(k + 4843621399236968448).view(np.float64) - (6755399441055798.0 if tiny else 6755399441055744.0)
    result = n * 0.6931471803691238 + (log_f + n * 1.9082149292705877e-10)
    result = result if x < math.inf else x
    return result if x > 0.0 else (-math.inf if x == 0.0 else math.nan)


# -- choices and roundings -------------------------------------------------------------------------------------------


def _choices(made: Functions) -> Functions:
    copysign = made["copysign"]
    return {
        "less": lambda x, y: 1.0 if x < y else 0.0,
        "less_equal": lambda x, y: 1.0 if x <= y else 0.0,
        "greater": lambda x, y: 1.0 if x > y else 0.0,
        "greater_equal": lambda x, y: 1.0 if x >= y else 0.0,
        "equal": lambda x, y: 1.0 if x == y else 0.0,
        "not_equal": lambda x, y: 1.0 if x != y else 0.0,
        "logical_and": lambda x, y: 1.0 if x != 0.0 and y != 0.0 else 0.0,
        "logical_or": lambda x, y: 1.0 if x != 0.0 or y != 0.0 else 0.0,
        "logical_xor": lambda x, y: 1.0 if (x != 0.0) != (y != 0.0) else 0.0,
        "logical_not": lambda x: 1.0 if x == 0.0 else 0.0,
        "isnan": lambda x: 1.0 if x != x else 0.0,
        "isfinite": lambda x: 1.0 if x - x == 0.0 else 0.0,
        "isinf": lambda x: 1.0 if abs(x) == math.inf else 0.0,
        "signbit": lambda x: 1.0 if copysign(1.0, x) < 0.0 else 0.0,
        "sign": lambda x: 1.0 if x > 0.0 else (-1.0 if x < 0.0 else (0.0 if x == 0.0 else x)),
        "where": lambda c, x, y: x if c != 0.0 else y,
        "guard": lambda d, x: 0.0 if d == 0.0 else x,
        "maximum": lambda x, y: x if x >= y or x != x else y,
        "minimum": lambda x, y: x if x <= y or x != x else y,
        "fmax": lambda x, y: x if x >= y or y != y else y,
        "fmin": lambda x, y: x if x <= y or y != y else y,
    }


def _rounding(made: Functions) -> Functions:
    copysign, fmod, power = made["copysign"], made["fmod"], made["power"]

    def floor(x):  # type: ignore[no-untyped-def]
        if not abs(x) < 4503599627370496.0:
            return x
        whole = float(int(x))
        return copysign(whole - 1.0 if whole > x else whole, x)

    def ceil(x):  # type: ignore[no-untyped-def]
        if not abs(x) < 4503599627370496.0:
            return x
        whole = float(int(x))
        return copysign(whole + 1.0 if whole < x else whole, x)

    def remainder(x, y):  # type: ignore[no-untyped-def]
        r = fmod(x, y)
        if r == 0.0:
            return copysign(0.0, y)
        return r + y if (r < 0.0) != (y < 0.0) else r

    def floor_divide(x, y):  # type: ignore[no-untyped-def]
        if y == 0.0:
            return x / y
        r = fmod(x, y)
        quotient = (x - r) / y
        quotient = quotient - 1.0 if r != 0.0 and (r < 0.0) != (y < 0.0) else quotient
        if not abs(quotient) < 4503599627370496.0:
            return quotient
        whole = float(int(quotient))
        whole = whole - 1.0 if whole > quotient else whole
        return whole + 1.0 if quotient - whole > 0.5 else whole

    def cbrt(x):  # type: ignore[no-untyped-def]
        a = abs(x)
        if a == 0.0 or not a < math.inf:
            return x
        y = power(a, 1.0 / 3.0)
        return copysign(y - (y - (a / y) / y) / 3.0, x)

    return {"floor": floor, "ceil": ceil, "remainder": remainder, "floor_divide": floor_divide, "cbrt": cbrt}


def _sums_of_exponentials(made: Functions) -> Functions:
    exp, log, log1p = made["exp"], made["log"], made["log1p"]

    def logaddexp(x, y):  # type: ignore[no-untyped-def]
        t = 0.0 if x == y else x - y
        return (x if t > 0.0 or x != x else y) + log1p(exp(-abs(t)))

    def softplus(x):  # type: ignore[no-untyped-def]
        return (x if x > 0.0 or x != x else 0.0) + log1p(exp(-abs(x)))

    def expit(x):  # type: ignore[no-untyped-def]
        e = exp(-abs(x))
        return (e if x < 0.0 else 1.0) / (1.0 + e)

    def share(x, y):  # type: ignore[no-untyped-def]
        t = 0.0 if x == y else x - y
        e = exp(-abs(t))
        return (e if t < 0.0 else 1.0) / (1.0 + e)

    def xlogy(x, y):  # type: ignore[no-untyped-def]
        return 0.0 if x == 0.0 and y == y else x * log(y)

    def xlog1py(x, y):  # type: ignore[no-untyped-def]
        return 0.0 if x == 0.0 and y == y else x * log1p(y)

    return {
        "logaddexp": logaddexp, "softplus": softplus, "expit": expit, "share": share, "xlogy": xlogy,
        "xlog1py": xlog1py,
    }  # fmt: skip
