"""Distribution functions of scipy.stats, of the standardised argument z = (x - loc) / scale."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from .scipy_densities import LOG_2, Function, log1mexp, positive, success, up_to_zero

# NumPy without its type stubs, which know nothing of traced arguments
_np: Any = np


@dataclass(frozen=True)
class Tails:
    """The probabilities left and right of z, and where z is left of or right of the whole support."""

    cdf: Function
    sf: Function
    logcdf: Function
    logsf: Function
    below: Function | None = None
    above: Function | None = None
    valid: Function = positive

    def method(self, name: str) -> Function:
        function, ends = getattr(self, name), (1.0, 0.0) if name.endswith("sf") else (0.0, 1.0)
        low, high = (0.0 if end else -np.inf for end in ends) if name.startswith("log") else ends

        def within_support(z: Any, *shapes: Any) -> Any:
            value = function(z, *shapes)
            if self.below is not None:
                value = _np.where(self.below(z), low, value)
            if self.above is not None:
                value = _np.where(self.above(z), high, value)
            return _np.where(self.valid(*shapes), value, np.nan) if shapes else value

        return within_support


def _log_of(one: Function, other: Function) -> Function:
    """The log of one of two probabilities that sum to 1."""

    def log_one(z: Any, *shapes: Any) -> Any:
        value = one(z, *shapes)
        return _np.where(value < 0.5, _np.log(value), _np.log1p(-other(z, *shapes)))

    return log_one


def _tails(cdf: Function, sf: Function, **support: Any) -> Tails:
    return Tails(cdf, sf, _log_of(cdf, sf), _log_of(sf, cdf), **support)


def _even(cdf: Function, logcdf: Function) -> Tails:
    """Those of a density that is symmetric about 0."""
    return Tails(cdf, lambda z: cdf(-z), logcdf, lambda z: logcdf(-z))


def _by_hazard(hazard: Function, **support: Any) -> Tails:
    """Those of the cumulative hazard, -log(1 - cdf)."""

    def risk(z: Any, *shapes: Any) -> Any:
        return -hazard(z, *shapes)

    return Tails(
        lambda *z: -_np.expm1(risk(*z)), lambda *z: _np.exp(risk(*z)), lambda *z: log1mexp(risk(*z)), risk, **support
    )


def _laplace_cdf(z: Any) -> Any:
    tail = 0.5 * _np.exp(-_np.abs(z))
    return _np.where(z > 0, 1 - tail, tail)


def _laplace_logcdf(z: Any) -> Any:
    return _np.where(z > 0, _np.log1p(-0.5 * _np.exp(-_np.abs(z))), z - LOG_2)


def _cauchy_cdf(z: Any) -> Any:
    return _np.arctan2(1.0, -z) / math.pi


def _cauchy_logcdf(z: Any) -> Any:
    return _np.where(z < 0, _np.log(_cauchy_cdf(z)), _np.log1p(-_cauchy_cdf(-z)))


def _halfnorm_cdf(z: Any) -> Any:
    return special.erf(z * math.sqrt(0.5))


def _halfnorm_sf(z: Any) -> Any:
    return special.erfc(z * math.sqrt(0.5))


def _reversed(tails: Tails) -> Tails:
    """Those of -z, from the tails of z."""

    def of(function: Function) -> Function:
        return lambda z: function(-z)

    return Tails(of(tails.sf), of(tails.cdf), of(tails.logsf), of(tails.logcdf))


TAILS: dict[str, Tails] = {
    "norm": _even(special.ndtr, special.log_ndtr),
    "logistic": _even(special.expit, special.log_expit),
    "cauchy": _even(_cauchy_cdf, _cauchy_logcdf),
    "laplace": _even(_laplace_cdf, _laplace_logcdf),
    "gumbel_r": _reversed(_by_hazard(_np.exp)),
    "uniform": Tails(
        lambda z: z, lambda z: 1 - z, _np.log, lambda z: _np.log1p(-z), below=up_to_zero, above=lambda z: z >= 1
    ),
    "expon": _by_hazard(lambda z: z, below=up_to_zero),
    "weibull_min": _by_hazard(_np.power, below=up_to_zero),
    "pareto": _by_hazard(lambda z, b: b * _np.log(z), below=lambda z: z <= 1),
    "halfnorm": Tails(
        _halfnorm_cdf,
        _halfnorm_sf,
        _log_of(_halfnorm_cdf, _halfnorm_sf),
        lambda z: special.log_ndtr(-z) + LOG_2,
        below=up_to_zero,
    ),
    "lognorm": Tails(
        lambda z, s: special.ndtr(_np.log(z) / s),
        lambda z, s: special.ndtr(-_np.log(z) / s),
        lambda z, s: special.log_ndtr(_np.log(z) / s),
        lambda z, s: special.log_ndtr(-_np.log(z) / s),
        below=up_to_zero,
    ),
    "gamma": _tails(lambda z, a: special.gammainc(a, z), lambda z, a: special.gammaincc(a, z), below=up_to_zero),
    "poisson": _tails(
        lambda k, mu: special.gammaincc(_np.floor(k) + 1, mu),
        lambda k, mu: special.gammainc(_np.floor(k) + 1, mu),
        below=lambda k: k < 0,
        valid=lambda mu: mu >= 0,
    ),
    "geom": _by_hazard(
        lambda k, p: -_np.floor(k) * _np.log1p(-p), below=lambda k: k < 1, valid=success
    ),
}  # fmt: skip
CUMULATIVE: dict[tuple[str, str], Function] = {
    (name, method): tails.method(method) for name, tails in TAILS.items() for method in ("cdf", "logcdf", "sf", "logsf")
}
