"""Log densities and log masses of scipy.stats, of the standardised argument z = (x - loc) / scale.

They have SciPy's domains: NaN for shape parameters outside of them, -inf outside the support. Formulas are those of
SciPy's documentation, so that their derivatives are finite where a shape makes a term of them vanish.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

# NumPy without its type stubs, which know nothing of traced arguments
_np: Any = np

Function = Callable[..., Any]

LOG_2, LOG_PI, LOG_2PI = math.log(2), math.log(math.pi), math.log(2 * math.pi)


# -- domains and supports --------------------------------------------------------------------------------------------
# A NaN lies in no domain and in no "outside": a shape that is NaN is invalid, a z that is NaN goes through the formula.


def positive(*shapes: Any) -> Any:
    return functools.reduce(operator.and_, [shape > 0 for shape in shapes])


def _integral(value: Any) -> Any:
    return value == _np.floor(value)


def _trials(n: Any) -> Any:
    return (n >= 0) & _integral(n)


def _probability(p: Any) -> Any:
    return (p >= 0) & (p <= 1)


def _below_zero(z: Any, *shapes: Any) -> Any:
    return z < 0


def success(p: Any) -> Any:
    return (p > 0) & (p <= 1)


def up_to_zero(z: Any, *shapes: Any) -> Any:
    return z <= 0


def _negative_or_infinite(z: Any, *shapes: Any) -> Any:
    return (z < 0) | (z == np.inf)


def _zero_or_infinite(z: Any, *shapes: Any) -> Any:
    return (z <= 0) | (z == np.inf)


def beyond_unit(z: Any, *shapes: Any) -> Any:
    return (z < 0) | (z > 1)


def no_count(k: Any, *shapes: Any) -> Any:
    return (k < 0) | (k > _np.floor(k))


def _no_count_of(k: Any, n: Any, *shapes: Any) -> Any:
    return no_count(k) | (k > n)


@dataclass(frozen=True)
class LogDensity:
    """A log density or log mass.

    Attributes
    ----------
    kernel, size : callable
        The log density is ``kernel(z, *shapes) - size(*shapes)``.
    valid : callable
        The domain of the shapes.
    outside : callable or None
        ``outside(z, *shapes)`` is where the log density is -inf.
    """

    kernel: Function
    size: Function
    outside: Function | None = None
    valid: Function = positive

    def __call__(self, z: Any, *shapes: Any, scale: Any = None) -> Any:
        """The log density of z, or with a scale of loc + scale * z."""
        value, size = self.kernel(z, *shapes), self.size(*shapes)
        if self.outside is not None:
            value = _np.where(self.outside(z, *shapes), -np.inf, value)
        if scale is not None:
            width = _np.log(scale)  # of data in float32 SciPy's is one in float32, but no sum with it
            size = size + (width.astype(np.float64) if isinstance(width, (np.ndarray, np.floating)) else width)
        if shapes:
            size = _np.where(self.valid(*shapes), size, np.nan)
        return value - size


# -- densities -------------------------------------------------------------------------------------------------------


def log_gamma_ratio(x: Any, d: Any) -> Any:
    """log Gamma(x + d) - log Gamma(x) - d log x, which goes to 0: by Stirling's series (DLMF 5.11.1) for large x."""
    series = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360)

    def rest(x: Any) -> Any:
        r = 1 / (x * x)
        return functools.reduce(lambda total, c: total * r + c, series[::-1]) / x

    large = (x + d - 0.5) * _np.log1p(d / x) - d + rest(x + d) - rest(x)
    return _np.where(x > 10, large, special.gammaln(x + d) - special.gammaln(x) - d * _np.log(x))


def log1mexp(d: Any) -> Any:
    """log(1 - exp(d)) for d <= 0."""
    return _np.where(d > -LOG_2, _np.log(-_np.expm1(d)), _np.log1p(-_np.exp(d)))


def _gauss(z: Any, *shapes: Any) -> Any:
    return -0.5 * z * z


def finite_freedom(df: Any) -> Any:
    """Infinitely many degrees of freedom, the normal distribution, are 1e300."""
    return _np.minimum(df, 1e300)


def _student(z: Any, df: Any) -> Any:
    df = finite_freedom(df)
    return -0.5 * (df + 1) * _np.log1p(z * z / df)


def _student_size(df: Any) -> Any:
    return 0.5 * LOG_2PI - log_gamma_ratio(0.5 * finite_freedom(df), 0.5)


def _cauchy(z: Any) -> Any:
    """-log(1 + z^2), beyond 1e16 as -2 log |z|, which does not overflow."""
    far = _np.abs(z) > 1e16
    return _np.where(far, -2.0, -1.0) * _np.log1p(_np.where(far, _np.abs(z), z * z))


def _logistic(z: Any) -> Any:
    down = _np.where(z > 0, -z, z)  # -|z|, but smooth derivatives at 0
    return down - 2 * _np.log1p(_np.exp(down))


def _weibull(z: Any, c: Any) -> Any:
    return special.xlogy(c - 1, z) - _np.power(z, c)


def _inverse_gauss(z: Any, mu: Any) -> Any:
    return -1.5 * _np.log(z) - (z / mu - 1) ** 2 / (2 * z)


def _log_normal(z: Any, s: Any) -> Any:
    log_z = _np.log(z)
    return _gauss(log_z / s) - log_z


def _von_mises(z: Any, kappa: Any) -> Any:
    half = _np.sin(0.5 * z)
    return -2 * kappa * half * half


def _log_mass_between(a: Any, b: Any) -> Any:
    """log of the standard normal mass between a and b, by that on the other side of 0 where a > 0."""
    low, high = _np.where(a > 0, -b, a), _np.where(a > 0, -a, b)
    top = special.log_ndtr(high)
    tail = top + log1mexp(special.log_ndtr(low) - top)
    return _np.where(high > 0, _np.log1p(-special.ndtr(low) - special.ndtr(-high)), tail)


def _skewed_normal(z: Any, a: Any) -> Any:
    return _gauss(z) + special.log_ndtr(a * z)


def _exponential_normal(z: Any, k: Any) -> Any:
    """rate (rate / 2 - z) + log Phi(z - rate); left of the rate by erfcx, where these two cancel."""
    rate = 1 / k
    far = (z - rate) * -math.sqrt(0.5)
    left = far > 0
    factor = _np.where(left, _gauss(z), rate * (0.5 * rate - z))
    return factor + _np.log(_np.where(left, special.erfcx(far), special.erfc(far)))


def _extreme(z: Any, c: Any) -> Any:
    """(c - 1) t - exp(-t) with t = -log(1 - c z) / c, which is z at c = 0: by its series near there."""
    u = c * z
    small = _np.abs(u) < 1e-3
    v = _np.where(small, u, 0.0)
    series = functools.reduce(lambda total, n: total * v + 1 / n, range(5, 0, -1), 1 / 6)
    t = _np.where(small, z * series, -_np.log1p(-u) / c)
    return _np.where((u == 1) & (c == 1), 0.0, (c - 1) * t) - _np.exp(-t)


def _beyond_extreme(z: Any, c: Any) -> Any:
    u = c * z
    return (u > 1) | ((u == 1) & (c != 1)) | _np.isinf(z)


def _general_normal(z: Any, beta: Any) -> Any:
    return -_np.where(z == 0, 0.0, _np.abs(z) ** beta)  # at a cusp, beta < 1, the slope is the mean of both sides'


def _burr(z: Any, c: Any, d: Any = 1.0) -> Any:
    """With log(1 + z^c) as c log z + log(1 + z^-c) where that is smaller."""
    low = z < 1
    log_power = _np.where(low, 0.0, c * _np.log(z)) + _np.log1p(_np.power(z, _np.where(low, c, -c)))
    return special.xlogy(c * d - 1, z) - (d + 1) * log_power


def _triangle(z: Any, c: Any) -> Any:
    return _np.log(_np.where((z < c) | (c == 1), z / c, (1 - z) / (1 - c)))


_NORMAL = LogDensity(_gauss, lambda: 0.5 * LOG_2PI)
_INVERSE_GAUSS = LogDensity(_inverse_gauss, lambda mu: 0.5 * LOG_2PI, _zero_or_infinite)
STANDARD: dict[str, Function] = {
    "norm": _NORMAL,
    "halfnorm": LogDensity(_gauss, lambda: 0.5 * math.log(math.pi / 2), _below_zero),
    "t": LogDensity(_student, _student_size),
    "cauchy": LogDensity(_cauchy, lambda: LOG_PI),
    "halfcauchy": LogDensity(lambda z: -_np.log1p(z * z), lambda: math.log(math.pi / 2), _below_zero),
    "laplace": LogDensity(lambda z: -_np.abs(z), lambda: LOG_2),
    "logistic": LogDensity(_logistic, lambda: 0.0),
    "halflogistic": LogDensity(lambda z: -z - 2 * _np.log1p(_np.exp(-z)), lambda: -LOG_2, _below_zero),
    "gumbel_r": LogDensity(lambda z: -z - _np.exp(-z), lambda: 0.0),
    "gumbel_l": LogDensity(lambda z: z - _np.exp(z), lambda: 0.0),
    "uniform": LogDensity(lambda z: 0.0 * z, lambda: 0.0, beyond_unit),
    "expon": LogDensity(lambda z: -z, lambda: 0.0, _below_zero),
    "gamma": LogDensity(lambda z, a: special.xlogy(a - 1, z) - z, special.gammaln, _below_zero),
    "chi2": LogDensity(
        lambda z, df: special.xlogy(0.5 * df - 1, z) - 0.5 * z,
        lambda df: special.gammaln(0.5 * df) + 0.5 * LOG_2 * df,
        _below_zero,
    ),
    "chi": LogDensity(
        lambda z, df: special.xlogy(df - 1, z) + _gauss(z),
        lambda df: special.gammaln(0.5 * df) + LOG_2 * (0.5 * df - 1),
        _below_zero,
    ),
    "invgamma": LogDensity(lambda z, a: -(a + 1) * _np.log(z) - 1 / z, special.gammaln, up_to_zero),
    "loggamma": LogDensity(lambda z, c: c * z - _np.exp(z), special.gammaln),
    "invgauss": _INVERSE_GAUSS,
    "wald": lambda z, scale=None: _INVERSE_GAUSS(z, 1.0, scale=scale),
    "levy": LogDensity(lambda z: -1.5 * _np.log(z) - 0.5 / z, lambda: 0.5 * LOG_2PI, up_to_zero),
    "beta": LogDensity(
        lambda z, a, b: special.xlogy(a - 1, z) + special.xlog1py(b - 1, -z), special.betaln, beyond_unit
    ),
    "powerlaw": LogDensity(
        lambda z, a: special.xlogy(a - 1, z),
        lambda a: -_np.log(a),
        lambda z, a: beyond_unit(z) | ((z == 0) & (a < 1)),
    ),
    "triang": LogDensity(_triangle, lambda c: -LOG_2, beyond_unit, _probability),
    "lognorm": LogDensity(_log_normal, lambda s: _np.log(s) + 0.5 * LOG_2PI, up_to_zero),
    "weibull_min": LogDensity(_weibull, lambda c: -_np.log(c), _below_zero),
    "rayleigh": LogDensity(lambda z: _np.log(z) + _gauss(z), lambda: 0.0, _zero_or_infinite),
    "maxwell": LogDensity(lambda z: 2 * _np.log(z) + _gauss(z), lambda: 0.5 * math.log(math.pi / 2), _below_zero),
    "pareto": LogDensity(lambda z, b: -(b + 1) * _np.log(z), lambda b: -_np.log(b), lambda z, b: z < 1),
    "lomax": LogDensity(lambda z, c: -(c + 1) * _np.log1p(z), lambda c: -_np.log(c), _below_zero),
    "burr": LogDensity(_burr, lambda c, d: -_np.log(c) - _np.log(d), _negative_or_infinite),
    "fisk": LogDensity(_burr, lambda c: -_np.log(c), _negative_or_infinite),
    "vonmises": LogDensity(
        _von_mises, lambda kappa: LOG_2PI + _np.log(special.i0e(kappa)), valid=lambda kappa: kappa >= 0
    ),
    "truncnorm": LogDensity(
        _gauss,
        lambda a, b: 0.5 * LOG_2PI + _log_mass_between(a, b),
        lambda z, a, b: (z < a) | (z > b),
        lambda a, b: a < b,
    ),
    "skewnorm": LogDensity(
        _skewed_normal, lambda a: 0.5 * LOG_2PI - LOG_2, lambda z, a: _np.isinf(z), _np.isfinite
    ),
    "exponnorm": LogDensity(_exponential_normal, lambda k: LOG_2 + _np.log(k)),
    "genextreme": LogDensity(_extreme, lambda c: 0.0, _beyond_extreme, _np.isfinite),
    "gennorm": LogDensity(_general_normal, lambda beta: special.gammaln(1 / beta) - _np.log(0.5 * beta)),
}  # fmt: skip


# -- masses ----------------------------------------------------------------------------------------------------------


def _binomial(k: Any, n: Any, p: Any) -> Any:
    choose = special.gammaln(n + 1) - (special.gammaln(k + 1) + special.gammaln(n - k + 1))
    return choose + special.xlogy(k, p) + special.xlog1py(n - k, -p)


def _hypergeometric(k: Any, total: Any, good: Any, drawn: Any) -> Any:
    bad = total - good
    return -special.betaln(k + 1, good - k + 1) - special.betaln(drawn - k + 1, bad - drawn + k + 1)


def _hypergeometric_size(total: Any, good: Any, drawn: Any) -> Any:
    most = special.betaln(good + 1, 1) + special.betaln(total - good + 1, 1) - special.betaln(total + 1, 1)
    return -most - special.betaln(total - drawn + 1, drawn + 1)


COUNTS: dict[str, Function] = {
    "poisson": LogDensity(
        lambda k, mu: special.xlogy(k, mu) - special.gammaln(k + 1), lambda mu: mu, no_count, lambda mu: mu >= 0
    ),
    "bernoulli": LogDensity(
        lambda k, p: special.xlogy(k, p) + special.xlog1py(1 - k, -p),
        lambda p: 0.0,
        lambda k, p: _no_count_of(k, 1),
        _probability,
    ),
    "binom": LogDensity(_binomial, lambda n, p: 0.0, _no_count_of, lambda n, p: _trials(n) & _probability(p)),
    "betabinom": LogDensity(
        lambda k, n, a, b: special.betaln(k + a, n - k + b) - special.betaln(n - k + 1, k + 1),
        lambda n, a, b: special.betaln(a, b) + _np.log(n + 1),
        _no_count_of,
        lambda n, a, b: _trials(n) & positive(a, b),
    ),
    "nbinom": LogDensity(
        lambda k, n, p: special.gammaln(n + k) - special.gammaln(k + 1) + special.xlog1py(k, -p),
        lambda n, p: special.gammaln(n) - n * _np.log(p),
        no_count,
        lambda n, p: positive(n) & success(p),
    ),
    "geom": LogDensity(
        lambda k, p: special.xlog1py(k - 1, -p),
        lambda p: -_np.log(p),
        lambda k, p: no_count(k - 1),
        success,
    ),
    "hypergeom": LogDensity(
        _hypergeometric,
        _hypergeometric_size,
        lambda k, total, good, drawn: _no_count_of(k, good) | (k > drawn) | (k < drawn - (total - good)),
        lambda total, good, drawn: positive(total) & _trials(good) & _trials(drawn) & _integral(total)
        & (good <= total) & (drawn <= total),
    ),
    "randint": LogDensity(
        lambda k, low, high: 0.0 * k,
        lambda low, high: _np.log(high - low),
        lambda k, low, high: no_count(k - low) | (k >= high),
        lambda low, high: (high > low) & _integral(low) & _integral(high),
    ),
}  # fmt: skip
