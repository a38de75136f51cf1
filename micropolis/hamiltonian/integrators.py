"""The readable leapfrog step and U-turn criterion, the same bits as csrc/hamiltonian/integrators.h.

With inverse mass S S' a momentum p is kept whitened, w = S' p: it is N(0, I), its kinetic energy is w'w / 2, and the
velocity dotted with a momentum is w'w.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from ..linalg import make_linalg
from ..protocol import DENSITY_FATAL, DENSITY_REJECTED, ENERGY_ERROR, NON_FINITE, OK

MAX_ENERGY_ERROR = 1000.0  # a trajectory that errs by more has diverged, as in Stan


@functools.lru_cache(maxsize=64)
def make_leapfrog(jit: Callable[..., Any], logp_grad: Callable[..., Any]) -> Any:
    """One leapfrog step of (q, w, grad) in place -> (code, logp, kinetic energy)."""
    algebra = make_linalg(jit)
    dot, add_scaled, add_scaled_transpose = algebra.dot, algebra.add_scaled, algebra.add_scaled_transpose

    @jit
    def leapfrog(metric, scale, eps, q, w, grad, data, scratch):  # type: ignore[no-untyped-def]
        add_scaled_transpose(metric, 0.5 * eps, scale, grad, w, scratch)  # w += eps/2 S' grad
        add_scaled(metric, eps, scale, w, q, scratch)  # q += eps S w
        code, logp = logp_grad(q, grad, data)
        add_scaled_transpose(metric, 0.5 * eps, scale, grad, w, scratch)
        kinetic = 0.5 * dot(w.size, w, w) if code == 0 else math.nan
        return code, logp, kinetic

    return leapfrog


@functools.lru_cache(maxsize=16)
def trajectory_status(jit: Callable[..., Any]) -> Any:
    """What to make of an end point: OK, or why it is rejected. Non-finite gradients show in the kinetic energy."""

    @jit
    def status(code, energy, energy_start):  # type: ignore[no-untyped-def]
        if code < 0:
            return DENSITY_FATAL
        if code > 0:
            return DENSITY_REJECTED
        if not math.isfinite(energy):
            return NON_FINITE
        return OK if energy - energy_start <= MAX_ENERGY_ERROR else ENERGY_ERROR

    return status


@functools.lru_cache(maxsize=16)
def u_turn(jit: Callable[..., Any]) -> Any:
    """Whether the trajectory a + b turns, b following a: Betancourt (2017, appendix A.4.2).

    `first` and `last` are the whitened momenta at the ends of a subtree in the order of integration, `total` their sum
    over all its points. The criterion is applied to the whole and, as in Stan, to each half with the near end of the
    other.
    """
    dot_sum = make_linalg(jit).dot_sum

    @jit
    def turns(a_first, a_last, a_total, b_first, b_last, b_total):  # type: ignore[no-untyped-def]
        whole = dot_sum(a_first, a_total, b_total) > 0.0 and dot_sum(b_last, a_total, b_total) > 0.0
        left = dot_sum(a_first, a_total, b_first) > 0.0 and dot_sum(b_first, a_total, b_first) > 0.0
        right = dot_sum(a_last, b_total, a_last) > 0.0 and dot_sum(b_last, b_total, a_last) > 0.0
        return not (whole and left and right)

    return turns
