"""Metropolis-adjusted Langevin algorithm (MALA)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import checks
from ..adaptation.rule import DUAL_AVERAGING, METRIC_FIXED, METRIC_GRADIENT, rule
from ..jit import Evaluate, Random, head_writer, point_status
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


def make_step(jit: Callable[..., Any], density: Evaluate, random: Random) -> Callable[..., Any]:
    """MALA: x' = x + eps S u with u = z + eps/2 S' grad(x); the way back needs the noise -(u + eps/2 S' grad(x')).

    log q(x|x') - log q(x'|x) is half the difference of the squared lengths of the two noises.
    """
    algebra, logp_grad, status_of, write_head = make_linalg(jit), density.logp_grad, point_status(jit), head_writer(jit)
    copy, dot, normal, uniform = algebra.copy, algebra.dot, random.normal, random.uniform
    add_scaled, add_scaled_transpose = algebra.add_scaled, algebra.add_scaled_transpose

    @jit
    def step(options, scale, table, data, rng, state, work, info):  # type: ignore[no-untyped-def]
        x, logp, grad = state
        proposal, grad_new, noise, scratch = work[0], work[1], work[2], work[3]
        eps, metric, dim = options.step_size, options.metric, x.size

        for i in range(dim):
            noise[i] = normal(rng)
        forward = dot(dim, noise, noise)
        add_scaled_transpose(metric, 0.5 * eps, scale, grad, noise, scratch)
        copy(x, proposal)
        add_scaled(metric, eps, scale, noise, proposal, scratch)
        code, logp_new = logp_grad(proposal, grad_new, data)
        add_scaled_transpose(metric, 0.5 * eps, scale, grad_new, noise, scratch)
        log_ratio = logp_new - logp[0] + 0.5 * (forward - dot(dim, noise, noise))

        status = status_of(code, log_ratio if math.isfinite(logp_new) else logp_new)
        accept_prob = 0.0
        if status == OK:
            accept_prob = 1.0 if log_ratio >= 0.0 else math.exp(log_ratio)
        accepted = uniform(rng) < accept_prob
        if accepted:
            copy(proposal, x)
            copy(grad_new, grad)
            logp[0] = logp_new

        write_head(info, logp[0], accept_prob, 1, accepted, status)
        info.step_size = options.step_size
        return min(status, OK)

    return step


@register
@dataclass(frozen=True, eq=False)
class MALA(Kernel):
    """Metropolis-adjusted Langevin: x' = x + eps^2/2 M^-1 grad + eps N(0, M^-1), accepted by Metropolis-Hastings.

    Parameters
    ----------
    step_size : float or None
        eps > 0. None: found in warm-up, which then steers acceptance to `target_accept`, and learns variances where
        `inverse_mass` is None.
    inverse_mass : None, array (dim,) or array (dim, dim)
        Preconditioner M^-1, a variance per coordinate or a covariance matrix.
    target_accept : float or None
        Acceptance aimed at in warm-up. None: 0.574 with ``step_size=None``, and a given step is kept.

    References
    ----------
    Roberts & Tweedie (1996), "Exponential convergence of Langevin distributions and their discrete approximations".

    Examples
    --------
    >>> import micropolis as mp
    >>> mp.sample(mp.densities.Gaussian([0.0, 1.0]), mp.MALA(), draws=10, chains=2, seed=1).draws.shape
    (2, 10, 2)
    """

    step_size: float | None = None
    inverse_mass: ArrayLike | None = None
    target_accept: float | None = None

    name: ClassVar[str] = "langevin"
    family: ClassVar[str] = "metropolis"
    OPTIONS: ClassVar[np.dtype[Any]] = options_dtype()
    INFO: ClassVar[np.dtype[Any]] = info_dtype(("step_size", "f8"))
    BUFFERS: ClassVar[tuple[Buffer, ...]] = (X, LOGP, GRAD)
    make_step = staticmethod(make_step)

    def __post_init__(self) -> None:
        if self.step_size is not None:
            object.__setattr__(self, "step_size", checks.real("step_size", self.step_size, above=0.0))
        if self.target_accept is not None:
            checks.real("target_accept", self.target_accept, above=0.0, below=1.0)

    def tuning(self, dim: int) -> Tuning:
        return hamiltonian_tuning(self.step_size, self.inverse_mass, dim)

    def n_work(self) -> int:
        return 4

    def adaptation(self, dim: int, n_warmup: int) -> NDArray[Any] | None:
        if self.step_size is not None and self.target_accept is None:
            return None
        free = self.step_size is None and self.inverse_mass is None and n_warmup > 0
        return rule(
            step_rule=DUAL_AVERAGING,
            metric_rule=METRIC_GRADIENT if free else METRIC_FIXED,
            target=0.574 if self.target_accept is None else self.target_accept,
            n_warmup=n_warmup,
            dim=dim,
            info=self.INFO,
            find_step=self.step_size is None,
        )

    def tuned(self, tuning: Tuning) -> MALA:
        return replace(self, step_size=tuning.step_size, inverse_mass=inverse_mass(tuning))
