"""One or more option sets of every registered kernel, for the laws that hold for all of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from laws.library import covariance

import micropolis as mp
from micropolis.errors import SamplingWarning
from micropolis.protocol import KERNELS, Kernel

for _name in mp._PUBLIC:  # kernels register themselves when their modules load
    getattr(mp, _name)

# What the statistical tests run on, the one place to add a backend. Twin tests tie the others to the compiled one bit
# for bit, so it carries the laws.
BACKENDS = ("c",)


def spread(dim: int) -> np.ndarray:
    """Variances that fit no target exactly."""
    return np.linspace(0.5, 1.5, dim)


def factor(dim: int) -> np.ndarray:
    """A lower Cholesky factor."""
    return np.linalg.cholesky(covariance(dim, 8))


# Fixed options (nothing to adapt), on the scale of targets of order one; functions of the dimension.
_OPTIONS: dict[str, dict[str, Callable[[int], Kernel]]] = {
    "random_walk": {
        "scalar": lambda dim: mp.RandomWalk(scale=1.4 / np.sqrt(dim), target_accept=None),
        "diagonal": lambda dim: mp.RandomWalk(scale=1.2 / np.sqrt(dim) * spread(dim), target_accept=None),
        "dense": lambda dim: mp.RandomWalk(scale=1.2 / np.sqrt(dim) * factor(dim), target_accept=None),
    },
    "langevin": {
        "unit": lambda dim: mp.MALA(step_size=0.6),
        "diagonal": lambda dim: mp.MALA(step_size=0.7, inverse_mass=spread(dim)),
        "dense": lambda dim: mp.MALA(step_size=0.8, inverse_mass=covariance(dim, 8)),
    },
    "hmc": {
        "unit": lambda dim: mp.HMC(0.35, 5),
        "one step": lambda dim: mp.HMC(0.7, 1),
        "jitter, diagonal": lambda dim: mp.HMC(0.25, 6, inverse_mass=spread(dim), jitter=0.9),
        "dense": lambda dim: mp.HMC(0.3, 5, inverse_mass=covariance(dim, 8)),
    },
    "splitting": {
        "one block, unit": lambda dim: mp.SplitHMC(0.35, 5),
        "one block, dense": lambda dim: mp.SplitHMC(0.3, 5, inverse_mass=covariance(dim, 8), jitter=0.5),
    },
    "nuts": {
        "unit": lambda dim: mp.NUTS(step_size=0.4),
        "diagonal": lambda dim: mp.NUTS(step_size=0.5, inverse_mass=spread(dim)),
        "dense": lambda dim: mp.NUTS(step_size=0.5, inverse_mass=covariance(dim, 8)),
        "long steps": lambda dim: mp.NUTS(step_size=1.1),
        "short steps": lambda dim: mp.NUTS(step_size=0.02, max_depth=7),
        "depth 1": lambda dim: mp.NUTS(step_size=0.7, max_depth=1),
        "depth 2": lambda dim: mp.NUTS(step_size=0.6, max_depth=2),
    },
    # every step is taken back: where an implicit step has several solutions a chain without is biased (the rough well)
    "riemannian": {
        "softabs": lambda dim: mp.RMHMC(0.3, 4, metric=mp.SoftAbs(1.0), jitter=0.5, reversibility_tol=1e-6),
        "jitter": lambda dim: mp.RMHMC(
            0.4, 2, metric=mp.SoftAbs(0.5, jitter=0.5), fixed_point_tol=1e-6, reversibility_tol=1e-4
        ),
        "gradient": lambda dim: mp.RMHMC(0.4, 3, metric=mp.GradientSquare(1.0), reversibility_tol=1e-6),
        "midpoint": lambda dim: mp.RMHMC(
            0.6, 1, mp.SoftAbs(1.0), "midpoint", fixed_point_tol=1e-7, reversibility_tol=1e-5
        ),
        "explicit": lambda dim: mp.RMHMC(
            0.5, 1, mp.SoftAbs(1.0), "explicit", fixed_point_tol=1e-7, reversibility_tol=1e-5
        ),
    },
    "riemannian_nuts": {
        "softabs": lambda dim: mp.RMNUTS(0.5, 4, mp.SoftAbs(1.0), reversibility_tol=1e-6),
        "midpoint": lambda dim: mp.RMNUTS(
            0.7, 2, mp.SoftAbs(0.5), "midpoint", fixed_point_tol=1e-6, reversibility_tol=1e-4
        ),
    },
}

# label -> kernel of a dimension; a kernel without an entry above is there with its defaults
EXAMPLES: dict[str, Callable[[int], Kernel]] = {
    f"{name} {label}": make
    for name, cls in KERNELS.items()
    for label, make in _OPTIONS.get(name, {"default": lambda dim, cls=cls: cls()}).items()
}
# the first option set of every kernel
ONE_EACH = {name: next(make for label, make in EXAMPLES.items() if label.startswith(f"{name} ")) for name in KERNELS}
# kernels whose `accepted` is one decision of probability `accept_prob`
METROPOLIS = tuple(name for name in ("random_walk", "langevin", "hmc", "splitting", "riemannian") if name in KERNELS)
WITH_GRADIENT = tuple(name for name, cls in KERNELS.items() if any(b.name == "grad" for b in cls.BUFFERS))


def run(density: Any, kernel: Kernel, **options: Any) -> mp.Trace:
    """`mp.sample` without progress and without advice about the chain: laws look at short and bad chains on purpose."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SamplingWarning)
        return mp.sample(density, kernel, progress=False, **options)


def resume(trace: mp.Trace, draws: int | None = None, density: Any = None, **options: Any) -> mp.Trace:
    """`mp.resume` in the same silence."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SamplingWarning)
        return mp.resume(trace, draws, density, progress=False, **options)


def transition(density: Any, kernel: Kernel, rng: np.random.Generator, x: np.ndarray, backend: str) -> np.ndarray:
    """Where one step of a kernel leads from x."""
    if backend == "c":
        return mp.step(kernel, density, rng, mp.init(density, x))[0].x
    return run(density, kernel, draws=1, warmup=0, chains=1, init=x, seed=rng, backend=backend).draws[0, 0]


def assert_same_run(one: mp.Trace, other: mp.Trace, first: slice = slice(None), second: slice = slice(None)) -> None:
    """The same draws and records, bit for bit; `first` and `second` pick the draws that are compared."""
    np.testing.assert_array_equal(one.draws[:, first], other.draws[:, second])
    for field in one.stats.dtype.names:
        np.testing.assert_array_equal(one.stats[field][:, first], other.stats[field][:, second], err_msg=field)


def assert_same_end(one: mp.Trace, other: mp.Trace) -> None:
    """The same final states, random streams and tuned kernels, bit for bit."""
    for mine, yours in zip(one.states, other.states, strict=True):
        for name in mine:
            np.testing.assert_array_equal(mine[name], yours[name], err_msg=name)
    for mine, yours in zip(one.rng_states, other.rng_states, strict=True):
        np.testing.assert_equal(mine, yours)
    for mine, yours in zip(one.adaptation, other.adaptation, strict=True):
        np.testing.assert_equal(mine["step_size"], yours["step_size"])
        np.testing.assert_array_equal(mine["scale"], yours["scale"])
