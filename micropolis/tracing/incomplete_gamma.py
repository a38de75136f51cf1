"""The incomplete gamma functions and their derivatives as functions of numbers, for emitted source and for constants.

    gammainc, gammaincc   P(a, x) and Q(a, x), as SciPy has them
    gammainc_slope        dP / da, for which there is no function in SciPy
    gammainc_density      dP / dx = x^(a - 1) exp(-x) / Gamma(a)

The readable twin of csrc/common/incomplete_gamma.h, which names the papers: a power series, a continued fraction, and
near x = a, from a = 20 on, Temme's uniform expansion, each with its derivative by a carried along. The exponent is a
double here, two there: in tails of exp(-700) relative errors reach 1e-13.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Functions = dict[str, Any]

LEAST_UNIFORM, NEAR = 20.0, 0.4
_COUNT = 24
_EPS = 2.0**-56


def _expansion(count: int) -> tuple[float, ...]:
    """eta / (lambda - 1) in powers of eta, where lambda - 1 - log(lambda) = eta^2 / 2; see make_incomplete_gamma.py."""
    ratio = [1.0]  # of (lambda - 1) / eta
    for n in range(2, count + 1):
        ratio.append((ratio[n - 2] - sum(j * ratio[j - 1] * ratio[n - j] for j in range(2, n))) / (n + 1))
    f = [1.0]
    for n in range(1, count):
        f.append(-sum(ratio[j] * f[n - j] for j in range(1, n + 1)))
    return tuple(f)


def _zeta_less_one(k: int) -> float:
    """2^-k + 3^-k + ... by Euler and Maclaurin's formula."""
    n, rest = 100.0, sum(float(i) ** -k for i in range(99, 1, -1))
    return (
        rest
        + n ** (1 - k) / (k - 1)
        + 0.5 * n**-k
        + k * n ** (-k - 1) / 12
        - k * (k + 1) * (k + 2) * n ** (-k - 3) / 720
    )


_UNIFORM = _expansion(_COUNT)
# log Gamma(2 + a) = a (c0 + c1 a + ...), Abramowitz & Stegun 6.1.33
_LOG_GAMMA = (1.0 - 0.5772156649015329, *((-1) ** k * _zeta_less_one(k) / k for k in range(2, 28)))


def exponents(made: Functions) -> Functions:
    """What others are made of: the logarithms of x^a exp(-x) a^-a exp(a) and of Gamma(1 + a)."""
    log, log1p, gammaln = made["log"], made["log1p"], made["gammaln"]

    def gamma_exponent(a, x):  # type: ignore[no-untyped-def]
        """a log(x / a) - (x - a), near x = a by a series: with s = mu / (2 + mu), log(1 + mu) = 2 atanh(s)."""
        mu = (x - a) / a
        if not -0.41 < mu < 0.41:
            return a * log(x / a) - (x - a)
        s = mu / (2.0 + mu)
        z, total = s * s, 0.0
        for k in range(14, -1, -1):
            total = total * z + 1.0 / (2.0 * k + 3.0)
        return a * (2.0 * s * z * total - mu * s)

    def gamma_log1p(a):  # type: ignore[no-untyped-def]
        """log Gamma(1 + a), with a small relative error near a = 0."""
        if a > 0.5:
            return gammaln(1.0 + a)
        total = 0.0
        for k in range(26, -1, -1):
            total = total * a + _LOG_GAMMA[k]
        return a * total - log1p(a)

    return {"gamma_exponent": gamma_exponent, "gamma_log1p": gamma_log1p}


def parts(made: Functions) -> Functions:
    """What the three ways share: D = x^a exp(-x) / Gamma(a + 1) and the derivative of log D by a."""
    exp, log, sqrt, psi = made["exp"], made["log"], made["sqrt"], made["polygamma0"]
    exponent, log_gamma = made["gamma_exponent"], made["gamma_log1p"]

    def gamma_front(a, x):  # type: ignore[no-untyped-def]
        """D, from a = 10 on by Stirling's formula."""
        if a < 10.0:
            return exp((a * log(x) - x) - log_gamma(a))
        w = 1.0 / a
        z = w * w
        rest = w * (1 / 12 - z * (1 / 360 - z * (1 / 1260 - z * (1 / 1680 - z * (1 / 1188 - z * 691 / 360360)))))
        return exp(exponent(a, x) - rest) / (2.5066282746310007 * sqrt(a))

    def gamma_tilt(a, x):  # type: ignore[no-untyped-def]
        """Logarithm of x less digamma(a + 1)."""
        if a < 10.0:
            return log(x) - psi(a + 1.0)
        w = 1.0 / a
        z = w * w
        tail = z * (1 / 12 - z * (1 / 120 - z * (1 / 252 - z * (1 / 240 - z * (5 / 660 - z * 691 / 32760)))))
        return log(x / a) - (0.5 * w - tail)

    return {"gamma_front": gamma_front, "gamma_tilt": gamma_tilt}


def ways(made: Functions) -> Functions:
    """The factors of D by which P and Q are computed, or for `slope` = 1 their derivatives by a."""
    exp, expm1, log, log1p, sqrt = (made[name] for name in ("exp", "expm1", "log", "log1p", "sqrt"))
    exponent, log_gamma = made["gamma_exponent"], made["gamma_log1p"]

    def gamma_series(a, x, slope):  # type: ignore[no-untyped-def]
        """P = D S, S = 1 + x / (a + 1) + x^2 / ((a + 1) (a + 2)) + ..."""
        term, move, total, moved, n = 1.0, 0.0, 1.0, 0.0, a + 1.0
        while term > _EPS * total or move < _EPS * moved:
            ratio = x / n
            move = ratio * (move - term / n)
            term = term * ratio
            total += term
            moved += move
            n += 1.0
        return moved if slope > 0.0 else total

    def gamma_fraction(a, x, slope):  # type: ignore[no-untyped-def]
        """Q = a D F, F = 1 / (x + 1 - a + (a - 1) / (x + 3 - a + 2 (a - 2) / ...)), by Steed's algorithm."""
        b, n = x + 1.0 - a, 1.0
        d, step = 1.0 / b, 1.0 / b
        moved_d = d * d
        move, total, moved = moved_d, d, moved_d
        while n < 1e5:
            c = n * (a - n)
            b += 2.0
            before, moved_before = d, moved_d
            d = 1.0 / (b + c * before)
            moved_d = -d * d * (n * before + c * moved_before - 1.0)
            f = c * before * d
            moved_f = n * before * d + c * (moved_before * d + before * moved_d)
            move = -(f * move + moved_f * step)
            step = -f * step
            total += step
            moved += move
            n += 1.0
            if abs(step) <= _EPS * total and abs(move) <= _EPS * abs(moved):
                break
        return moved if slope > 0.0 else total

    def gamma_uniform(a, x, slope):  # type: ignore[no-untyped-def]
        """S in Q = erfc(eta sqrt(a / 2)) / 2 + exp(-a eta^2 / 2) S / sqrt(2 pi a), or dQ / da over that factor of S.

        S (1 + b_1 / a) = sum of b_n eta^n, b_(n-1) = f_n + (n + 1) b_(n+1) / a.
        """
        eta, w = sqrt(-2.0 * exponent(a, x) / a), 1.0 / a
        eta = -eta if x < a else eta
        after, now, moved_after, moved_now = 0.0, 0.0, 0.0, 0.0
        t, by_a, by_eta = 0.0, 0.0, 0.0
        for n in range(_COUNT - 1, 0, -1):
            b = _UNIFORM[n] + (n + 1.0) * after * w
            moved = (n + 1.0) * (moved_after - after * w) * w
            by_eta = by_eta * eta + t
            t = t * eta + b
            by_a = by_a * eta + moved
            after, now = now, b
            moved_after, moved_now = moved_now, moved
        g, moved_g = 1.0 + after * w, (moved_after - after * w) * w
        value = t / g
        if slope == 0.0:
            return value
        log_ratio = log1p((x - a) / a)
        ratio = 1.0 if eta == 0.0 else log_ratio / eta
        along = -(ratio + 0.5 * eta) * w
        return ratio + (log_ratio - 0.5 * w) * value + (by_a - value * moved_g + by_eta * along) / g

    def gamma_small(a, x):  # type: ignore[no-untyped-def]
        """Q for x <= 1.1 and small a, where 1 - P would cancel."""
        power, term, total, part, n = a * log(x) - log_gamma(a), 1.0, 0.0, 1.0, 1.0
        while abs(part) > _EPS * abs(total):
            term = -term * x / n
            part = term / (a + n)
            total += part
            n += 1.0
        return -expm1(power) - a * exp(power) * total

    return {
        "gamma_series": gamma_series, "gamma_fraction": gamma_fraction, "gamma_uniform": gamma_uniform,
        "gamma_small": gamma_small,
    }  # fmt: skip


def functions(made: Functions) -> Functions:
    """P, Q, dP / da and dP / dx."""
    exp, log, sqrt, erfcx, log_gamma = (made[n] for n in ("exp", "log", "sqrt", "erfcx", "gamma_log1p"))
    exponent, front_of, tilt_of = made["gamma_exponent"], made["gamma_front"], made["gamma_tilt"]
    series, fraction, uniform = made["gamma_series"], made["gamma_fraction"], made["gamma_uniform"]
    small = made["gamma_small"]

    def make(upper: bool) -> Callable[..., Any]:
        at_zero, at_infinity = (1.0, 0.0) if upper else (0.0, 1.0)
        first = 1.1 if upper else 1.0

        def tail(a, x):  # type: ignore[no-untyped-def]
            if not (a >= 0.0 and x >= 0.0) or (a == 0.0 and x == 0.0) or (a == math.inf and x == math.inf):
                return math.nan
            if x == 0.0 or a == math.inf:
                return at_zero
            if a == 0.0 or x == math.inf:
                return at_infinity
            if a >= LEAST_UNIFORM and abs(x - a) <= NEAR * a:
                e, right = exponent(a, x), x >= a
                rest = uniform(a, x, 0.0) / (2.5066282746310007 * sqrt(a))
                value = exp(e) * (0.5 * erfcx(sqrt(-e)) + (rest if right else -rest))
            elif upper and x <= 1.1 and (-a * log(x) <= 0.4 if x <= 0.5 else a <= 1.1 * x):
                value, right = small(a, x), True
            else:
                front, right = front_of(a, x), x > a and x > first
                value = 0.0
                if front > 0.0:
                    value = a * front * fraction(a, x, 0.0) if right else front * series(a, x, 0.0)
            value = min(value, 1.0)
            return value if right == upper else 1.0 - value

        return tail

    def gammainc_slope(a, x):  # type: ignore[no-untyped-def]
        if not (a >= 0.0 and x >= 0.0) or (a == 0.0 and x == 0.0) or (a == math.inf and x == math.inf):
            return math.nan
        if x == 0.0 or a == math.inf or x == math.inf:
            return 0.0
        if a >= LEAST_UNIFORM and abs(x - a) <= NEAR * a:
            return -exp(exponent(a, x)) / (2.5066282746310007 * sqrt(a)) * uniform(a, x, 1.0)
        front, tilt = front_of(a, x), tilt_of(a, x)
        if front == 0.0:
            return 0.0
        if x <= a or x <= 1.5:
            return front * (tilt * series(a, x, 0.0) + series(a, x, 1.0))
        return -front * ((a * tilt + 1.0) * fraction(a, x, 0.0) + a * fraction(a, x, 1.0))

    def gammainc_density(a, x):  # type: ignore[no-untyped-def]
        if not (a >= 0.0 and x >= 0.0) or (a == math.inf and x == math.inf):
            return math.nan
        if a == 0.0 or a == math.inf or x == math.inf:
            return 0.0
        if x == 0.0:
            return 0.0 if a > 1.0 else (1.0 if a == 1.0 else math.inf)
        if a < 10.0:
            return a * exp(((a - 1.0) * log(x) - x) - log_gamma(a))
        front = front_of(a, x)
        return 0.0 if front == 0.0 else front * (a / x)

    return {
        "gammainc": make(False), "gammaincc": make(True), "gammainc_slope": gammainc_slope,
        "gammainc_density": gammainc_density,
    }  # fmt: skip


FAMILIES = (exponents, parts, ways, functions)


def of_arrays(name: str) -> Callable[..., Any]:
    """One of the functions, of arrays."""

    def call(a: Any, x: Any) -> Any:
        from .scalar_functions import make_scalars

        return np.vectorize(make_scalars(_unchanged, "python")[name], otypes=[np.float64])(a, x)

    return call


def _unchanged(function: Any) -> Any:
    return function
