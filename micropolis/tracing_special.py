"""The special functions of NumPy and scipy.special that CasADi has not, as expressions of its columns."""

from __future__ import annotations

import functools
import math
from typing import Any

import casadi as ca
import numpy as np

# The branches of these functions meet smoothly at 0. CasADi's fabs and fmax take the mean slope there, which would make
# derivatives at 0, where chains start, wrong; a sign that counts as constant does not.


def magnitude(x: Any) -> tuple[Any, Any]:
    """Whether x >= 0, and |x| with slope 1 at 0."""
    positive = x >= 0
    return positive, (2 * positive - 1) * x


def expit(x: Any) -> Any:
    positive, size = magnitude(x)
    small = ca.exp(-size)
    return ca.if_else(positive, 1.0, small, False) / (1 + small)


def _unless_nan(x: Any, y: Any, chosen: Any) -> Any:
    """CasADi's fmax and fmin pass a NaN over, and with it the end of the support: log(x) at x < 0, say."""
    return ca.if_else(ca.logic_or(x >= y, x <= y), chosen, x + y, False)


def maximum(x: Any, y: Any) -> Any:
    return _unless_nan(x, y, ca.fmax(x, y))


def minimum(x: Any, y: Any) -> Any:
    return _unless_nan(x, y, ca.fmin(x, y))


def _is_finite_constant(x: Any) -> bool:
    return bool(x.is_constant() and np.all(np.isfinite((ca.DM(x) if isinstance(x, ca.SX) else x.to_DM()).full())))


def logaddexp(x: Any, y: Any) -> Any:
    difference = x - y
    if not (_is_finite_constant(x) or _is_finite_constant(y)):
        # two impossible states of a chain, log 0 and log 0, are as far apart as none
        difference = ca.if_else(ca.logic_or(x != y, x > -np.inf), difference, 0.0, False)
    positive, size = magnitude(difference)
    return ca.if_else(positive, x, y, False) + ca.log1p(ca.exp(-size))


def isnan(x: Any) -> Any:
    return ca.logic_not(ca.fabs(x) <= np.inf)  # CasADi takes x != x for false


def gammaln(x: Any) -> Any:
    """log Gamma(x), x > 0: Stirling's series at x + 8, the recurrence back (Abramowitz and Stegun 6.1.15, 6.1.40)."""
    z, product = x + 8, functools.reduce(lambda p, k: p * (x + k), range(1, 8), x)
    r = 1 / (z * z)
    coefficients = (-3617 / 122400, 1 / 156, -691 / 360360, 1 / 1188, -1 / 1680, 1 / 1260, -1 / 360, 1 / 12)
    series = functools.reduce(lambda s, c: s * r + c, coefficients) / z
    return (z - 0.5) * ca.log(z) - z + 0.5 * math.log(2 * math.pi) + series - ca.log(product)


def log_erfc_tail(z: Any) -> Any:
    """log erfc(z) for z >= 2 by its continued fraction (Abramowitz and Stegun 7.1.14)."""
    fraction = z
    for k in range(60, 0, -1):
        fraction = z + 0.5 * k / fraction
    return -z * z - ca.log(fraction) - 0.5 * math.log(math.pi)


def erfc(x: Any) -> Any:
    tail = ca.exp(log_erfc_tail(ca.fmax(x, 2)))
    return ca.if_else(x > 2, tail, 1 - ca.erf(x), False)


def log_ndtr(x: Any) -> Any:
    z = -x * math.sqrt(0.5)
    center = ca.log(0.5 * (1 - ca.erf(ca.if_else(z > 2, 2.0, z, False))))  # unlike fmin, NaN stays
    return ca.if_else(z > 2, log_erfc_tail(ca.fmax(z, 2)) - math.log(2), center, False)


def xlogy(x: Any, y: Any) -> Any:
    return x * ca.log(ca.if_else(x == 0, 1.0, y, False))
