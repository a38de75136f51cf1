"""Special functions of numbers for emitted source: the gamma function, the normal distribution, Bessel functions.

Each family is made from the elementary functions of scalar_functions.py, which compiles what it gets.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

Functions = dict[str, Any]

_BERNOULLI = (
    1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330,
)  # fmt: skip


# -- the gamma function ----------------------------------------------------------------------------------------------


def gamma(made: Functions) -> Functions:
    log = made["log"]

    def gammaln(x):  # type: ignore[no-untyped-def]
        if x != x or abs(x) == math.inf:
            return x
        if x > 2.5e305 or (x <= 0.0 and (x < -4503599627370496.0 or float(int(x)) == x)):
            return math.inf
        return math.lgamma(x)

    def polygamma0(x):  # type: ignore[no-untyped-def]
        if x == 0.0:
            return -math.copysign(math.inf, x)
        y, extra = x, 0.0
        if x < 0.0:
            if x < -4503599627370496.0 or float(int(x)) == x:
                return math.nan
            y = 1.0 - x
            part = x - float(int(x))
            part = part + 1.0 if part < -0.5 else part
            extra = -math.pi * math.sin(math.pi * (0.5 - abs(part))) / math.sin(math.pi * part)
        while y < 10.0:
            extra -= 1.0 / y
            y += 1.0
        w = 1.0 / y
        z = w * w
        tail = z * (1 / 12 - z * (1 / 120 - z * (1 / 252 - z * (1 / 240 - z * (5 / 660 - z * (691 / 32760 - z / 12))))))
        return (log(y) - 0.5 * w - tail) + extra

    return {"gammaln": gammaln, "polygamma0": polygamma0, **{f"polygamma{m}": _polygamma(m) for m in range(1, 5)}}


def _polygamma(order: int) -> Callable[..., Any]:
    """Derivatives of digamma: steps of one up to 20, then the asymptotic series; below zero by reflection."""
    factorial, odd = float(math.factorial(order)), order % 2 == 1
    series = [b * math.factorial(2 * k + order - 1) / math.factorial(2 * k) for k, b in enumerate(_BERNOULLI, start=1)]
    b1, b2, b3, b4, b5, b6, b7, b8, b9, b10 = series
    first, pole, turn = factorial / order, math.inf if odd else -math.inf, 1.0 if odd else -1.0
    scale = turn * math.pi ** (order + 1)

    def polygamma(x):  # type: ignore[no-untyped-def]
        y, slope = x, 0.0
        if x <= 0.0:
            if x < -4503599627370496.0 or float(int(x)) == x:
                return pole
            y = 1.0 - x
            part = x - float(int(x))
            part = part + 1.0 if part < -0.5 else part
            sine = math.sin(math.pi * part)
            w = 1.0 / (sine * sine)
            c = math.sin(math.pi * (0.5 - abs(part))) / sine
            if order == 1:
                slope = w
            elif order == 2:
                slope = 2.0 * c * w
            elif order == 3:
                slope = 2.0 * w * (3.0 * c * c + 1.0)
            else:
                slope = 8.0 * c * w * (3.0 * c * c + 2.0)
            slope = scale * slope
        total = 0.0
        while y < 20.0:
            u = 1.0 / y
            power = u * u
            if order == 2:
                power = power * u
            elif order == 3:
                power = power * power
            elif order == 4:
                power = power * power * u
            total += power
            y += 1.0
        w = 1.0 / y
        z = w * w
        power = w if order == 1 else z if order == 2 else z * w if order == 3 else z * z
        tail = b5 + z * (b6 + z * (b7 + z * (b8 + z * (b9 + z * b10))))
        tail = b1 + z * (b2 + z * (b3 + z * (b4 + z * tail)))
        result = factorial * total + power * (first + w * (0.5 * factorial + w * tail))
        if x < 0.0:
            return slope - result
        return result if odd else -result

    return polygamma


# -- the normal distribution -----------------------------------------------------------------------------------------


def normal(made: Functions) -> Functions:
    exp, log, log1p = made["exp"], made["log"], made["log1p"]

    def erf(x):  # type: ignore[no-untyped-def]
        return math.erf(x)

    def erfc(x):  # type: ignore[no-untyped-def]
        return math.erfc(x)

    def erfcx(x):  # type: ignore[no-untyped-def]
        if x > 10.0:
            z = 1.0 / (x * x) if x < 1e150 else 0.0
            s = 1.0 - 8.5 * z * (1.0 - 9.5 * z)
            s = 1.0 - 5.5 * z * (1.0 - 6.5 * z * (1.0 - 7.5 * z * s))
            s = 1.0 - 2.5 * z * (1.0 - 3.5 * z * (1.0 - 4.5 * z * s))
            return 0.5641895835477563 / x * (1.0 - 0.5 * z * (1.0 - 1.5 * z * s))
        if x < -27.0:
            return math.inf
        if x != x:
            return x
        high = float(int(x * 1048576.0)) / 1048576.0  # its square is exact
        low = x - high
        return exp(high * high) * exp(low * (x + high)) * math.erfc(x)

    def ndtr(x):  # type: ignore[no-untyped-def]
        return 0.5 * math.erfc(-0.7071067811865476 * x)

    def log_ndtr(x):  # type: ignore[no-untyped-def]
        if x > -1.0:
            return log1p(-0.5 * math.erfc(0.7071067811865476 * x))
        if x > -14.0:
            return log(0.5 * math.erfc(-0.7071067811865476 * x))
        z = 1.0 / (x * x)
        s = 1.0 - 15.0 * z * (1.0 - 17.0 * z * (1.0 - 19.0 * z))
        s = 1.0 - 9.0 * z * (1.0 - 11.0 * z * (1.0 - 13.0 * z * s))
        s = 1.0 - z * (1.0 - 3.0 * z * (1.0 - 5.0 * z * (1.0 - 7.0 * z * s)))
        return -0.5 * x * x - log(-x) - 0.9189385332046728 + log(s)

    return {"erf": erf, "erfc": erfc, "erfcx": erfcx, "ndtr": ndtr, "log_ndtr": log_ndtr}


# -- Bessel functions of an imaginary argument, scaled by exp(-|x|) ---------------------------------------------------


def bessel(made: Functions) -> Functions:
    exp = made["exp"]

    def make(order: int) -> Callable[..., Any]:
        four = 4.0 * order * order

        def scaled(x):  # type: ignore[no-untyped-def]
            a = abs(x)
            if a != a:
                return x
            if a == math.inf:
                return 0.0
            total, term, k = 1.0, 1.0, 1.0
            if a < 25.0:  # the power series, of positive terms
                z = 0.25 * a * a
                while term > 1e-17 * total:
                    term *= z / (k * (k + order))
                    total += term
                    k += 1.0
                total *= exp(-a) * (0.5 * a if order == 1 else 1.0)
            else:  # the asymptotic one
                while abs(term) > 1e-17 and k < 30.0:
                    term *= ((2.0 * k - 1.0) * (2.0 * k - 1.0) - four) / (8.0 * a * k)
                    total += term
                    k += 1.0
                total /= math.sqrt(2.0 * math.pi * a)
            return -total if order == 1 and x < 0.0 else total

        return scaled

    return {"i0e": make(0), "i1e": make(1)}
