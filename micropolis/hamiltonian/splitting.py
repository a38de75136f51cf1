"""Hamiltonian Monte Carlo by symmetric splitting over blocks of data."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import checks
from ..adaptation.rule import step_size_rule
from ..densities.blocks import MOST_BLOCKS
from ..errors import InputError
from ..jit import Evaluate, Random, head_writer
from ..linalg import make_linalg
from ..protocol import (
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
from .integrators import trajectory_status
from .length import make_length

ORDERS = ("symmetric", "randomised", "full")  # mp_block_order
SYMMETRIC, RANDOMISED, FULL = range(3)


def make_step(jit: Callable[..., Any], density: Evaluate, random: Random) -> Callable[..., Any]:
    """Symmetric splitting: kicks by one block at a time, forwards and back; accepted on the energy of all of them."""
    algebra, logp_grad, value = make_linalg(jit), density.logp_grad, density.value
    copy, dot, normal, uniform = algebra.copy, algebra.dot, random.normal, random.uniform
    drift, kick = algebra.add_scaled, algebra.add_scaled_transpose
    status_of, write_head = trajectory_status(jit), head_writer(jit)
    length = make_length(jit, random)

    @jit
    def no_block(x, number, grad, data):  # type: ignore[no-untyped-def]
        return logp_grad(x, grad, data)

    @jit
    def none(data):  # type: ignore[no-untyped-def]
        return 0

    block = no_block if density.block is None else density.block
    blocks_of = none if density.n_blocks is None else density.n_blocks

    @jit
    def shuffle(n, order, rng):  # type: ignore[no-untyped-def]
        """Fisher & Yates."""
        for i in range(n - 1, 0, -1):
            j = int(uniform(rng) * (i + 1))
            order[i], order[j] = order[j], order[i]

    @jit
    def leapfrog(metric, scale, eps, q, w, grad, data, scratch):  # type: ignore[no-untyped-def]
        """From the gradient at q; the value at the end."""
        kick(metric, 0.5 * eps, scale, grad, w, scratch)
        drift(metric, eps, scale, w, q, scratch)
        code, logp = logp_grad(q, grad, data)
        kick(metric, 0.5 * eps, scale, grad, w, scratch)
        return code, logp

    @jit
    def there_and_back(n, order, known, metric, scale, eps, q, w, grad, data, scratch):  # type: ignore[no-untyped-def]
        """`known`: whether the gradient of block order[0] stands in grad.

        -> (code, value of the last block, gradients evaluated). A trajectory that meets a point where a block is not
        finite ends there, as its reverse does: the gradient may be anything.
        """
        along, code, part, evaluated = 0.5 * eps / (n - 1), 0, 0.0, 0
        for j in range(n):
            if code == 0 and math.isfinite(part):
                if not (j == 0 and known):
                    code, part = block(q, int(order[j]), grad, data)
                    evaluated += 1
                kick(metric, 0.5 * eps if j + 1 < n else eps, scale, grad, w, scratch)
                if j + 1 < n:
                    drift(metric, along, scale, w, q, scratch)
        for j in range(n - 2, -1, -1):
            if code == 0 and math.isfinite(part):
                drift(metric, along, scale, w, q, scratch)
                code, part = block(q, int(order[j]), grad, data)
                evaluated += 1
                kick(metric, 0.5 * eps, scale, grad, w, scratch)
        return code, part, evaluated

    @jit
    def step(options, scale, table, data, rng, state, work, info):  # type: ignore[no-untyped-def]
        x, logp = state
        q, w, grad, scratch = work[0], work[1], work[2], work[3]
        eps, metric, order = options.step_size, options.metric, table
        n_blocks = max(1, blocks_of(data))
        together = n_blocks == 1 or options.order == FULL

        n_steps = length(options.n_steps, options.jitter, rng)
        for m in range(n_blocks):
            order[m] = m
        for i in range(x.size):
            w[i] = normal(rng)
        copy(x, q)
        energy_start = 0.5 * dot(x.size, w, w) - logp[0]

        code, part, evaluated, known, steps = 0, 0.0, 0, -1, 0
        if together:
            code, part = logp_grad(q, grad, data)
            evaluated = n_blocks
        while steps < n_steps and code == 0 and math.isfinite(part):
            if together:
                code, part = leapfrog(metric, scale, eps, q, w, grad, data, scratch)
                evaluated += n_blocks
            else:
                if options.order == RANDOMISED:
                    shuffle(n_blocks, order, rng)
                code, part, count = there_and_back(
                    n_blocks, order, order[0] == known, metric, scale, eps, q, w, grad, data, scratch
                )
                evaluated += count
                known = order[0]
            steps += 1
        logp_new = math.nan
        if code == 0 and math.isfinite(part):
            code, logp_new = value(q, grad, data)
        energy = 0.5 * dot(x.size, w, w) - logp_new if code == 0 else math.nan
        status = status_of(code, energy, energy_start)

        error = energy - energy_start
        accept_prob = 0.0
        if status == OK:
            accept_prob = 1.0 if error <= 0.0 else math.exp(-error)
        accepted = uniform(rng) < accept_prob
        if accepted:
            copy(q, x)
            logp[0] = logp_new

        passes = (evaluated + n_blocks - 1) // n_blocks + 1
        write_head(info, logp[0], accept_prob, passes, accepted, status)
        info.energy = energy if accepted else energy_start
        info.energy_error = error
        info.step_size = eps
        info.n_block_grad = evaluated
        return min(status, OK)

    return step


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
    order : "symmetric", "randomised" or "full"
        Blocks in their own order; in a new random order for every step; or "kicks, drift, kicks": leapfrog, whose
        gradient is the sum over the blocks at one place.

    Notes
    -----
    "full" follows the trajectories of `HMC`, which keeps value and gradient between draws and so costs less. Either
    reads a memory map piece by piece.

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
    OPTIONS: ClassVar[np.dtype[Any]] = options_dtype(("n_steps", "i8"), ("jitter", "f8"), ("order", "i8"))
    INFO: ClassVar[np.dtype[Any]] = info_dtype(
        ("energy", "f8"), ("energy_error", "f8"), ("step_size", "f8"), ("n_block_grad", "i8")
    )
    BUFFERS: ClassVar[tuple[Buffer, ...]] = (X, LOGP)
    make_step = staticmethod(make_step)

    def __post_init__(self) -> None:
        object.__setattr__(self, "step_size", checks.real("step_size", self.step_size, above=0.0))
        object.__setattr__(self, "n_steps", checks.integer("n_steps", self.n_steps, least=1, most=2**24))
        if self.target_accept is not None:
            checks.real("target_accept", self.target_accept, above=0.0, below=1.0)
        if checks.real("jitter", self.jitter, below=1.0) < 0.0:
            raise InputError(f"jitter: expected a number in [0, 1), got {self.jitter!r}")
        checks.choice("order", self.order, ORDERS)

    def tuning(self, dim: int) -> Tuning:
        return hamiltonian_tuning(self.step_size, self.inverse_mass, dim)

    def n_work(self) -> int:
        return 4

    def table(self) -> NDArray[np.float64]:
        """Room for the order of the blocks: the readable step's work area has rows of the dimension only."""
        return np.zeros(MOST_BLOCKS)

    def fill_options(self, options: np.void, dim: int) -> object:
        options["n_steps"], options["jitter"] = self.n_steps, self.jitter
        options["order"] = ORDERS.index(self.order)
        return None

    def adaptation(self, dim: int, n_warmup: int) -> NDArray[Any] | None:
        return step_size_rule(self.target_accept, n_warmup, dim, self.INFO)

    def tuned(self, tuning: Tuning) -> SplitHMC:
        mass = None if self.inverse_mass is None else inverse_mass(tuning)
        return replace(self, step_size=tuning.step_size, inverse_mass=mass, target_accept=None)
