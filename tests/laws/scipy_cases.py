"""Where the distributions of scipy.stats are tried: inside, at the edges of and outside their domains and supports."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

NAN, INF = float("nan"), float("inf")

# Shapes: interior, edges where a formula degenerates, outside of the domain
RATE = (2.3, 0.7, 1.0, 1e-3, 60.0, 0.0, -1.0, NAN)
PROBABILITY = (0.35, 0.0, 1.0, 1e-9, -0.1, 1.1, NAN)
TRIALS = (4, 0, 1, 50, 3.5, -1, NAN)
SHAPES: dict[str, tuple[tuple[float, ...], ...]] = {
    "norm": (),
    "cauchy": (),
    "laplace": (),
    "logistic": (),
    "gumbel_r": (),
    "gumbel_l": (),
    "halfnorm": (),
    "halfcauchy": (),
    "halflogistic": (),
    "expon": (),
    "rayleigh": (),
    "maxwell": (),
    "levy": (),
    "wald": (),
    "uniform": (),
    "gamma": (RATE,),
    "chi2": ((*RATE, 2.0),),
    "chi": (RATE,),
    "invgamma": (RATE,),
    "invgauss": (RATE,),
    "lognorm": (RATE,),
    "weibull_min": (RATE,),
    "pareto": (RATE,),
    "lomax": (RATE,),
    "fisk": (RATE,),
    "burr": (RATE, RATE),
    "powerlaw": (RATE,),
    "beta": (RATE, RATE),
    "triang": (PROBABILITY,),
    "loggamma": (RATE,),
    "gennorm": ((*RATE, 2.0),),
    "t": ((3.5, 1.0, 0.02, 19.0, 21.0, 1e8, 1e12, 1e15, 1e300, INF, 0.0, -1.0, NAN),),
    "exponnorm": ((2.3, 0.7, 1.0, 0.05, 0.0, -1.0, NAN),),
    "vonmises": ((2.3, 0.0, 1e-6, 700.0, -1.0, NAN),),
    "truncnorm": ((-INF, -1.5, 0.0, 0.5, 9.0, NAN), (INF, 2.0, 0.0, -0.5, 0.6, 9.1, NAN)),
    "skewnorm": ((0.0, 2.0, -2.0, 1e3, INF, NAN),),
    "genextreme": ((0.0, 1e-12, -1e-5, 0.2, -0.2, 1.0, 2.0, -1.0, INF, NAN),),
    "poisson": ((1.6, 0.0, 1e-6, 300.0, -1.0, NAN),),
    "bernoulli": (PROBABILITY,),
    "geom": (PROBABILITY,),
    "binom": (TRIALS, PROBABILITY),
    "nbinom": (RATE, PROBABILITY),
    "betabinom": (TRIALS, (2.3, 1.0, 0.0, NAN), (0.7, 1.0, -1.0, NAN)),
    "hypergeom": ((20, 7, 0, 3.5, NAN), (7, 0, -1), (12, 0, 5, 2.5)),
    "randint": ((-3, 0, 0.5, NAN), (5, -3, 2.5, NAN)),
}
CONTINUOUS = tuple(SHAPES)[: tuple(SHAPES).index("poisson")]
DISCRETE = tuple(SHAPES)[len(CONTINUOUS) :]

LINE = (-1e200, -1e8, -1e3, -60.0, -3.0, -0.7, 0.0, 1e-9, 0.7, 1.0, 3.0, 60.0, 1e3, 1e8, 1e200, -INF, INF, NAN)
HALF_LINE = (-1.0, -1e-300, 0.0, 1e-8, 0.3, 1.0, 2.5, 40.0, 1e3, 1e200, INF, NAN)
UNIT = (-0.1, 0.0, 1e-12, 0.3, 0.35, 0.9, 1.0, 1.1, INF, NAN)
COUNTS = (-1, 0, 1, 2, 4, 5, 17, 0.5, 3.999, -2.5, NAN)
# Powers of two, by which bounds are met exactly; locations and scales that are none.
PLACES = ((0.0, 1.0), (0.5, 2.0), (-3.0, 0.25), (0.0, 0.0), (0.0, -1.0), (0.0, NAN), (NAN, 1.0), (0.0, INF))
COUNT_PLACES = ((0.0, 1.0), (-2.0, 1.0), (NAN, 1.0))


def standardised(name: str) -> np.ndarray:
    """Arguments (x - loc) / scale inside the support of a distribution, at its bounds and outside."""
    if name in DISCRETE:
        return np.array(COUNTS)
    if name in ("uniform", "beta", "powerlaw", "triang"):
        return np.array(UNIT)
    whole_line = (
        "norm cauchy laplace logistic gumbel_r gumbel_l loggamma gennorm t exponnorm vonmises truncnorm skewnorm"
    )
    return np.array(LINE if name in (*whole_line.split(), "genextreme") else HALF_LINE)


@dataclass(frozen=True)
class Case:
    """A call of a method of a distribution of scipy.stats."""

    distribution: str
    shapes: tuple[float, ...]
    loc: float
    scale: float
    x: np.ndarray

    @property
    def arguments(self) -> tuple[float, ...]:
        """What comes after x."""
        return (*self.shapes, self.loc) if self.distribution in DISCRETE else (*self.shapes, self.loc, self.scale)


def cases(name: str) -> list[Case]:
    """Every combination of shapes, each with all arguments x at once; the first at every location and scale."""
    z, found = standardised(name), []
    places = COUNT_PLACES if name in DISCRETE else PLACES
    for number, shapes in enumerate(itertools.product(*SHAPES[name])):
        for loc, scale in places[: 2 if number else None]:
            usable = np.isfinite(loc) and np.isfinite(scale) and scale > 0
            found.append(Case(name, shapes, loc, scale, loc + scale * z if usable else z))
    return found


def valid_cases(name: str) -> list[Case]:
    """Those whose shapes, location and scale are in their domains: gradients are those of numbers."""
    from scipy import stats

    distribution = getattr(stats, name)
    density = distribution.pmf if name in DISCRETE else distribution.pdf
    with np.errstate(all="ignore"):
        return [c for c in cases(name) if np.isfinite(c.scale) and not np.isnan(density(1.0, *c.arguments))]
