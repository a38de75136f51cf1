"""Hamiltonian Monte Carlo by symmetric splitting over blocks of data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import checks
from ..adaptation.rule import DUAL_AVERAGING, METRIC_FIXED, rule
from ..errors import InputError
from ..protocol import (
    LOGP,
    Buffer,
    Kernel,
    Tuning,
    X,
    hamiltonian_tuning,
    info_dtype,
    inverse_mass,
    options_dtype,
    register,
)

MOST_BLOCKS = 4096  # MP_MOST_BLOCKS


@register
@dataclass(frozen=True, eq=False)
class SplitHMC(Kernel):
    """HMC whose steps see one block of the data at a time, and whose acceptance sees all of them.

    A step kicks the momentum by half the gradient of each block in turn, with a short drift between two blocks, and
    then goes the same way back: reversible, volume preserving, of second order. It costs about two gradients of all
    data, as two leapfrog steps do, but follows the dynamics at M - 1 times as many points, and no more than one block
    is needed at a time. A density without blocks is one block, and the step leapfrog.

    Parameters
    ----------
    step_size : float
        eps > 0 of a whole step.
    n_steps : int
        Steps per draw, at least 1.
    inverse_mass : None, array (dim,) or array (dim, dim)
        Inverse mass matrix: None is the identity, a variance per coordinate, or a covariance matrix.
    target_accept : float or None
        None keeps `step_size` in warm-up; a number in (0, 1) adapts it to that acceptance by dual averaging.
    jitter : float
        In [0, 1). The number of steps is drawn uniformly from the integers in ``n_steps * (1 -+ jitter)``.
    order : "symmetric" or "randomised"
        Blocks in their own order, or in a new random order for every step.

    Notes
    -----
    "Kicks, drift, kicks", the leapfrog whose gradient is summed over the data piece by piece, is `HMC` itself: a
    `micropolis.neural.Posterior` reads a memory map row by row.

    It has no readable source: it runs on the C backend.

    References
    ----------
    Cobb & Jalaian (2021), "Scaling Hamiltonian Monte Carlo inference for Bayesian neural networks with symmetric
    splitting".

    Examples
    --------
    >>> import micropolis as mp
    >>> net = mp.neural.Sequential(mp.neural.Linear(1, 2), seed=0)
    >>> density = mp.neural.Posterior(net, [[-1.0], [0.0], [1.0], [2.0]], [0, 0, 1, 1], batches=2)
    >>> trace = mp.sample(density, mp.SplitHMC(0.3, 4), draws=10, warmup=0, chains=2, seed=1)
    >>> int(trace.stats["n_block_grad"].max())
    9
    """

    step_size: float = 0.1
    n_steps: int = 10
    inverse_mass: ArrayLike | None = None
    target_accept: float | None = None
    jitter: float = 0.0
    order: str = "symmetric"

    name: ClassVar[str] = "splitting"
    family: ClassVar[str] = "hamiltonian"
    OPTIONS: ClassVar[np.dtype[Any]] = options_dtype(("n_steps", "i8"), ("jitter", "f8"), ("shuffled", "i8"))
    INFO: ClassVar[np.dtype[Any]] = info_dtype(
        ("energy", "f8"), ("energy_error", "f8"), ("step_size", "f8"), ("n_block_grad", "i8")
    )
    BUFFERS: ClassVar[tuple[Buffer, ...]] = (X, LOGP)

    def __post_init__(self) -> None:
        object.__setattr__(self, "step_size", checks.real("step_size", self.step_size, above=0.0))
        object.__setattr__(self, "n_steps", checks.integer("n_steps", self.n_steps, least=1, most=2**24))
        if self.target_accept is not None:
            checks.real("target_accept", self.target_accept, above=0.0, below=1.0)
        if checks.real("jitter", self.jitter, below=1.0) < 0.0:
            raise InputError(f"jitter: expected a number in [0, 1), got {self.jitter!r}")
        checks.choice("order", self.order, ("symmetric", "randomised"))

    def tuning(self, dim: int) -> Tuning:
        return hamiltonian_tuning(self.step_size, self.inverse_mass, dim)

    def fill_options(self, options: np.void, dim: int) -> object:
        options["n_steps"], options["jitter"] = self.n_steps, self.jitter
        options["shuffled"] = self.order == "randomised"
        return None

    def adaptation(self, dim: int, n_warmup: int) -> NDArray[Any] | None:
        if self.target_accept is None or n_warmup == 0:
            return None
        return rule(
            step_rule=DUAL_AVERAGING,
            metric_rule=METRIC_FIXED,
            target=self.target_accept,
            n_warmup=n_warmup,
            dim=dim,
            info=self.INFO,
        )

    def tuned(self, tuning: Tuning) -> SplitHMC:
        mass = None if self.inverse_mass is None else inverse_mass(tuning)
        return replace(self, step_size=tuning.step_size, inverse_mass=mass, target_accept=None)
