"""How the work area of a Riemannian trajectory is cut up, for the readable integrators."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from .geometry import GEOMETRY_HEAD, POINT_HEAD, geometry_rows, point_rows

# Rows of vectors at the head of the work area: where the trajectory is, the copies of the explicit integrators, the
# ends of a step that is taken back, velocities, force, and two rows of unknowns.
(
    POSITION, MOMENTUM, Q_FIRST, P_FIRST, Q_COPY, P_COPY, Q_FROM, P_FROM, Q_BACK, P_BACK, V, V_END, FORCE,
    HALF, KICK, HEAD,
) = range(16)  # fmt: skip
SOLVER_PAIR = 4 * 2 + 6  # residual, change, difference, product and a history of three, of two vectors each
SOLVER_SINGLE = 4 + 3


def work_rows(n: int) -> int:
    """Rows of the work area in n dimensions: vectors, geometry, three points, solvers of two and one vectors."""
    return HEAD + geometry_rows(n) + 3 * point_rows(n) + 4 * n + SOLVER_PAIR + n + SOLVER_SINGLE


@functools.lru_cache(maxsize=16)
def make_areas(jit: Callable[..., Any]) -> Any:
    """areas(work, pair) -> (vectors, geometry, at, trial, saved, solver ..., history, solver for q ..., its history).

    `pair`: the integrator solves for two vectors.
    """

    @jit
    def cut(work, first, parts):  # type: ignore[no-untyped-def]
        """Inverse, residual, change, difference, product, and history."""
        n = work.shape[1]
        after = first + n * parts * parts
        return (
            work[first:after], work[after : after + parts], work[after + parts : after + 2 * parts],
            work[after + 2 * parts : after + 3 * parts], work[after + 3 * parts : after + 4 * parts],
            work[after + 4 * parts : after + 7 * parts],
        )  # fmt: skip

    @jit
    def areas(work, pair):  # type: ignore[no-untyped-def]
        n = work.shape[1]
        pairs = n * (n + 1) // 2
        point = POINT_HEAD + 2 * n + pairs
        g = HEAD
        at = g + (GEOMETRY_HEAD + 4 * n + 7)
        s = at + 3 * point
        first = cut(work, s, 2 if pair else 1)
        second = cut(work, s + 4 * n + SOLVER_PAIR, 1)
        return (
            work[:HEAD], work[g:at], work[at : at + point], work[at + point : at + 2 * point],
            work[at + 2 * point : s],
            *first, *second,
        )  # fmt: skip

    return areas
