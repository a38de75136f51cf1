"""Hamiltonian Monte Carlo with a fixed or jittered number of leapfrog steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import checks
from ..adaptation.rule import step_size_rule
from ..errors import InputError
from ..jit import Evaluate, Random, head_writer
from ..linalg import make_linalg
from ..protocol import (
    GRAD,
    LOGP,
    OK,
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
from .integrators import make_leapfrog, trajectory_status
from .length import make_length


def make_step(jit: Callable[..., Any], density: Evaluate, random: Random) -> Callable[..., Any]:
    """HMC: a momentum from N(0, I) (whitened), leapfrog steps, accepted with probability min(1, exp(-energy error))."""
    algebra, leapfrog = make_linalg(jit), make_leapfrog(jit, density.logp_grad)
    copy, dot, normal, uniform = algebra.copy, algebra.dot, random.normal, random.uniform
    status_of, write_head, length = trajectory_status(jit), head_writer(jit), make_length(jit, random)

    @jit
    def step(options, scale, table, data, rng, state, work, info):  # type: ignore[no-untyped-def]
        x, logp, grad = state
        q, w, g, scratch = work[0], work[1], work[2], work[3]
        eps, metric = options.step_size, options.metric

        n_steps = length(options.n_steps, options.jitter, rng)
        for i in range(x.size):
            w[i] = normal(rng)
        energy_start = 0.5 * dot(x.size, w, w) - logp[0]
        copy(x, q)
        copy(grad, g)

        energy, logp_new, status, steps = energy_start, logp[0], OK, 0
        while steps < n_steps and status == OK:
            code, logp_new, kinetic = leapfrog(metric, scale, eps, q, w, g, data, scratch)
            energy = kinetic - logp_new
            status = status_of(code, energy, energy_start)
            steps += 1

        error = energy - energy_start
        accept_prob = 0.0
        if status == OK:
            accept_prob = 1.0 if error <= 0.0 else math.exp(-error)
        accepted = uniform(rng) < accept_prob
        if accepted:
            copy(q, x)
            copy(g, grad)
            logp[0] = logp_new

        write_head(info, logp[0], accept_prob, steps, accepted, status)
        info.energy = energy if accepted else energy_start
        info.energy_error = error
        info.step_size = eps
        return min(status, OK)

    return step


@register
@dataclass(frozen=True, eq=False)
class HMC(Kernel):
    """Hamiltonian Monte Carlo: `n_steps` leapfrog steps of `step_size`, then accept or reject.

    Parameters
    ----------
    step_size : float
        eps > 0.
    n_steps : int
        Leapfrog steps per draw, at least 1.
    inverse_mass : None, array (dim,) or array (dim, dim)
        Inverse mass matrix: None is the identity, a variance per coordinate, or a covariance matrix.
    target_accept : float or None
        None keeps `step_size` in warm-up; a number in (0, 1) adapts it to that acceptance by dual averaging.
    jitter : float
        In [0, 1). The number of steps is drawn uniformly from the integers in ``n_steps * (1 -+ jitter)`` for each
        trajectory, which breaks resonances between trajectory length and period.

    References
    ----------
    Duane, Kennedy, Pendleton & Roweth (1987), "Hybrid Monte Carlo".
    Neal (2011), "MCMC using Hamiltonian dynamics".

    Examples
    --------
    >>> import micropolis as mp
    >>> trace = mp.sample(mp.densities.Gaussian([0.0, 1.0]), mp.HMC(0.3, 5), draws=10, warmup=0, chains=2, seed=1)
    >>> int(trace.stats["n_grad"].max())
    5
    """

    step_size: float = 0.1
    n_steps: int = 10
    inverse_mass: ArrayLike | None = None
    target_accept: float | None = None
    jitter: float = 0.0

    name: ClassVar[str] = "hmc"
    family: ClassVar[str] = "hamiltonian"
    OPTIONS: ClassVar[np.dtype[Any]] = options_dtype(("n_steps", "i8"), ("jitter", "f8"))
    INFO: ClassVar[np.dtype[Any]] = info_dtype(("energy", "f8"), ("energy_error", "f8"), ("step_size", "f8"))
    BUFFERS: ClassVar[tuple[Buffer, ...]] = (X, LOGP, GRAD)
    make_step = staticmethod(make_step)

    def __post_init__(self) -> None:
        object.__setattr__(self, "step_size", checks.real("step_size", self.step_size, above=0.0))
        object.__setattr__(self, "n_steps", checks.integer("n_steps", self.n_steps, least=1, most=2**30))
        if self.target_accept is not None:
            checks.real("target_accept", self.target_accept, above=0.0, below=1.0)
        if checks.real("jitter", self.jitter, below=1.0) < 0.0:
            raise InputError(f"jitter: expected a number in [0, 1), got {self.jitter!r}")

    def tuning(self, dim: int) -> Tuning:
        return hamiltonian_tuning(self.step_size, self.inverse_mass, dim)

    def n_work(self) -> int:
        return 4

    def fill_options(self, options: np.void, dim: int) -> object:
        options["n_steps"], options["jitter"] = self.n_steps, self.jitter
        return None

    def adaptation(self, dim: int, n_warmup: int) -> NDArray[Any] | None:
        return step_size_rule(self.target_accept, n_warmup, dim, self.INFO, find_step=True)

    def tuned(self, tuning: Tuning) -> HMC:
        mass = None if self.inverse_mass is None else inverse_mass(tuning)
        return replace(self, step_size=tuning.step_size, inverse_mass=mass, target_accept=None)
