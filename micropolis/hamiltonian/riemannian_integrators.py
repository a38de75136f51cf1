"""Readable integrators for a position-dependent metric, the same bits as csrc/hamiltonian/riemannian_integrators.c."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from ..jit import Evaluate
from ..linalg import make_linalg
from ..protocol import NON_FINITE, NON_REVERSIBLE, NOT_CONVERGED, OK
from .geometry import (
    AGE,
    AGE_Q,
    FRESH,
    ITERATIONS,
    VALUE,
    Q,
    code_status,
    make_geometry,
)
from .solver import DONE, LOST, POSITION_ROUNDING, make_solver
from .work import (
    FORCE,
    HALF,
    KICK,
    MOMENTUM,
    P_BACK,
    P_COPY,
    P_FIRST,
    P_FROM,
    POSITION,
    Q_BACK,
    Q_COPY,
    Q_FIRST,
    Q_FROM,
    V_END,
    V,
    make_areas,
)  # fmt: skip

IMPLICIT, MIDPOINT, EXPLICIT = 0, 1, 2


class Integrators(NamedTuple):
    """Compiled functions; `t` is the work area of a trajectory, cut up by `areas`."""

    areas: Callable[..., Any]  # (work, two) -> t: (vectors, g, at, back, solver ...); `two` vectors of unknowns or one
    start: Callable[..., Any]  # (options, data, t, known) -> status: metric and base at the position
    step: Callable[..., Any]  # (options, data, t, eps) -> status
    energy: Callable[..., Any]  # (options, data, t) -> (status, energy)
    forget: Callable[..., Any]  # (options, t): the next step belongs to another trajectory
    two: Callable[..., Any]  # (options) -> whether the integrator solves for two vectors


@functools.lru_cache(maxsize=64)
def make_integrators(jit: Callable[..., Any], density: Evaluate) -> Integrators:
    """The functions under the compiler `jit`."""
    algebra, geometry, solver = make_linalg(jit), make_geometry(jit, density), make_solver(jit)
    copy, dot, status_of, areas = algebra.copy, algebra.dot, code_status(jit), make_areas(jit)
    metric, base, velocity, force = geometry.metric, geometry.base, geometry.velocity, geometry.force
    log_det = geometry.log_det
    reset, look, move, guess, push = solver.reset, solver.look, solver.move, solver.guess, solver.push

    @jit
    def two(options):  # type: ignore[no-untyped-def]
        return options.integrator == MIDPOINT or options.integrator == EXPLICIT

    # t: 0 vectors, 1 g, 2 at, 3 trial, 4 saved, 5..9 solver, 10 history, 11..15 solver for q, 16 its history
    @jit
    def solver_of(t):  # type: ignore[no-untyped-def]
        return t[5], t[6], t[7], t[8], t[9]

    @jit
    def solver_q_of(t):  # type: ignore[no-untyped-def]
        return t[11], t[12], t[13], t[14], t[15]

    @jit
    def copy_point(point, out):  # type: ignore[no-untyped-def]
        for i in range(point.shape[0]):
            copy(point[i], out[i])

    @jit
    def forget(options, t):  # type: ignore[no-untyped-def]
        reset(solver_of(t), 0.25 if options.integrator == EXPLICIT else 1.0)
        reset(solver_q_of(t), 1.0)
        t[1][AGE, 0] = 0.0
        t[1][AGE_Q, 0] = 0.0

    @jit
    def older(age):  # type: ignore[no-untyped-def]
        return min(age + 1.0, 3.0)

    @jit
    def start(options, data, t, known):  # type: ignore[no-untyped-def]
        vectors, g, at = t[0], t[1], t[2]
        copy(vectors[POSITION], at[Q])
        status = metric(options, data, g, at)
        if status == OK:
            status = base(options, data, g, at, known)
        g[FRESH, 0] = 1.0 if status == OK else 0.0
        return status

    @jit
    def energy(options, data, t):  # type: ignore[no-untyped-def]
        vectors, g, at = t[0], t[1], t[2]
        if g[FRESH, 0] == 0.0:
            status = start(options, data, t, False)
            if status != OK:
                return status, 0.0
        velocity(options, g, at, vectors[MOMENTUM], vectors[V])
        kinetic = 0.5 * dot(at.shape[1], vectors[MOMENTUM], vectors[V])
        return OK, (kinetic + 0.5 * log_det(options, at)) - at[VALUE, 0]

    @jit
    def iterate(options, g, s, iteration, start, end, position, x):  # type: ignore[no-untyped-def]
        """(status, done) on the way from `start` to `end`, whose residual is there; x moves on where it is not done."""
        g[ITERATIONS, 0] += 1.0
        state, size = look(s, options.tolerance, start, end, position)
        if state == DONE:
            return OK, True
        if state == LOST:
            return NON_FINITE, False
        if iteration + 1 >= options.max_iterations:
            return NOT_CONVERGED, False
        move(s, x, iteration > 0, size)
        return OK, False

    @jit
    def solve_half_kick(options, data, t, half):  # type: ignore[no-untyped-def]
        """Solve p_h = p - eps/2 H_q(q, p_h)."""
        vectors, g, at, s, history = t[0], t[1], t[2], solver_of(t), t[10]
        p, p_half, kick, residual = vectors[MOMENTUM], vectors[HALF], vectors[KICK], t[6]
        n, known, unknown = p.size, vectors[MOMENTUM : MOMENTUM + 1], vectors[HALF : HALF + 1]
        guess(history, g[AGE, 0], vectors[Q_COPY : Q_COPY + 1])
        for i in range(n):
            p_half[i] = p[i] + vectors[Q_COPY, i]
            if g[AGE, 0] > 0.0:
                p_half[i] = p_half[i] + kick[i]
        done, iteration = False, 0
        while not done:
            code = force(options, data, g, at, p_half, vectors[V], vectors[FORCE])
            if code != 0:
                return status_of(code)
            for i in range(n):
                residual[0, i] = (p_half[i] - p[i]) + half * vectors[FORCE, i]
            status, done = iterate(options, g, s, iteration, known, unknown, 1, unknown)
            if status != OK:
                return status
            iteration += 1
        push(history)
        g[AGE, 0] = older(g[AGE, 0])
        for i in range(n):
            history[0, i] = (p_half[i] - p[i]) - kick[i] if g[AGE_Q, 0] > 0.0 else 0.0
        return OK

    @jit
    def solve_drift(options, data, t, eps, half):  # type: ignore[no-untyped-def]
        """q' = q + eps/2 [H_p(q, p_h) + H_p(q', p_h)]; the point there is `trial`."""
        vectors, g, trial, s, history = t[0], t[1], t[3], solver_q_of(t), t[16]
        q, p_half, v, v_end, residual = vectors[POSITION], vectors[HALF], vectors[V], vectors[V_END], t[12]
        n, known, unknown = q.size, vectors[POSITION : POSITION + 1], trial[Q : Q + 1]
        guess(history, g[AGE_Q, 0], vectors[Q_COPY : Q_COPY + 1])
        for i in range(n):
            unknown[0, i] = (q[i] + eps * v[i]) + half * vectors[Q_COPY, i]
        done, iteration = False, 0
        while not done:
            status = metric(options, data, g, trial)
            if status != OK:
                return status
            velocity(options, g, trial, p_half, v_end)
            for i in range(n):
                residual[0, i] = (unknown[0, i] - q[i]) - half * (v[i] + v_end[i])
            status, done = iterate(options, g, s, iteration, known, unknown, 0, unknown)
            if status != OK:
                return status
            iteration += 1
        push(history)
        g[AGE_Q, 0] = older(g[AGE_Q, 0])
        for i in range(n):
            history[0, i] = v_end[i] + -1.0 * v[i]
        return OK

    @jit
    def implicit_leapfrog(options, data, t, eps):  # type: ignore[no-untyped-def]
        """The generalised leapfrog.

        Guesses: the two kicks at one q differ by their momenta, the two velocities at one p_h by their positions; both
        differences change slowly from step to step.
        """
        vectors, g, at, trial, half = t[0], t[1], t[2], t[3], 0.5 * eps
        status = solve_half_kick(options, data, t, half)
        if status == OK:
            status = solve_drift(options, data, t, eps, half)
        if status == OK:
            status = base(options, data, g, trial, False)
        if status != OK:
            return status
        code = force(options, data, g, trial, vectors[HALF], vectors[V_END], vectors[FORCE])
        if code != 0:
            return status_of(code)
        for i in range(at.shape[1]):
            vectors[KICK, i] = -half * vectors[FORCE, i]
            vectors[MOMENTUM, i] = vectors[HALF, i] + vectors[KICK, i]
        copy(trial[Q], vectors[POSITION])
        copy_point(trial, at)
        return OK

    @jit
    def gradients(options, data, t, q, p):  # type: ignore[no-untyped-def]
        """Metric, base, velocity and force at (q, p): all of dH at one place."""
        vectors, g, trial = t[0], t[1], t[3]
        copy(q, trial[Q])
        status = metric(options, data, g, trial)
        if status == OK:
            status = base(options, data, g, trial, False)
        if status != OK:
            return status
        return status_of(force(options, data, g, trial, p, vectors[V], vectors[FORCE]))

    @jit
    def implicit_midpoint(options, data, t, eps):  # type: ignore[no-untyped-def]
        """q_m = q + eps/2 H_p(q_m, p_m), p_m = p - eps/2 H_q(q_m, p_m); then as far again."""
        vectors, g, s, history, half = t[0], t[1], solver_of(t), t[10], 0.5 * eps
        q, p, middle, residual = vectors[POSITION], vectors[MOMENTUM], vectors[HALF : HALF + 2], t[6]
        n = q.size
        guess(history, g[AGE, 0], middle)
        for i in range(n):
            middle[0, i] = q[i] + middle[0, i]
            middle[1, i] = p[i] + middle[1, i]
        done, iteration = False, 0
        while not done:
            status = gradients(options, data, t, middle[0], middle[1])
            if status != OK:
                return status
            for i in range(n):
                residual[0, i] = (middle[0, i] - q[i]) - half * vectors[V, i]
                residual[1, i] = (middle[1, i] - p[i]) + half * vectors[FORCE, i]
            status, done = iterate(options, g, s, iteration, vectors[POSITION : POSITION + 2], middle, 0, middle)
            if status != OK:
                return status
            iteration += 1
        push(history)
        g[AGE, 0] = older(g[AGE, 0])
        for i in range(n):
            history[0, i] = middle[0, i] + -1.0 * q[i]
            history[1, i] = middle[1, i] + -1.0 * p[i]
            q[i] = middle[0, i] + history[0, i]
            p[i] = middle[1, i] + history[1, i]
        g[FRESH, 0] = 0.0
        return OK

    @jit
    def turn(options, data, t, h, q, p, q_copy, p_copy):  # type: ignore[no-untyped-def]
        """A: p -= h H_q(q, p~), q~ += h H_p(q, p~). B is the same with the copies exchanged."""
        vectors = t[0]
        status = gradients(options, data, t, q, p_copy)
        if status != OK:
            return status
        for i in range(p.size):
            p[i] -= h * vectors[FORCE, i]
            q_copy[i] += h * vectors[V, i]
        return OK

    @jit
    def explicit_projected(options, data, t, eps):  # type: ignore[no-untyped-def]
        """The copies start at (q + a, p + b) and (q - a, p - b), and (a, b) is such that they can be joined so too."""
        vectors, g, s, history = t[0], t[1], solver_of(t), t[10]
        position, momentum, shift, residual = vectors[POSITION], vectors[MOMENTUM], vectors[HALF : HALF + 2], t[6]
        q, p, q_copy, p_copy = vectors[Q_FIRST], vectors[P_FIRST], vectors[Q_COPY], vectors[P_COPY]
        n = q.size
        guess(history, g[AGE, 0], shift)
        done, iteration = False, 0
        while not done:
            for i in range(n):
                q[i] = position[i] + shift[0, i]
                q_copy[i] = position[i] + -1.0 * shift[0, i]
                p[i] = momentum[i] + shift[1, i]
                p_copy[i] = momentum[i] + -1.0 * shift[1, i]
            for part in range(3):  # A B A
                one, other = (q_copy, q) if part == 1 else (q, q_copy)
                one_p, other_p = (p_copy, p) if part == 1 else (p, p_copy)
                status = turn(options, data, t, eps if part == 1 else 0.5 * eps, one, one_p, other, other_p)
                if status != OK:
                    return status
            for i in range(n):
                residual[0, i] = (q[i] - q_copy[i]) + 2.0 * shift[0, i]
                residual[1, i] = (p[i] - p_copy[i]) + 2.0 * shift[1, i]
            status, done = iterate(
                options, g, s, iteration, vectors[POSITION : POSITION + 2], vectors[Q_FIRST : Q_FIRST + 2], 0, shift
            )
            if status != OK:
                return status
            iteration += 1
        push(history)
        g[AGE, 0] = older(g[AGE, 0])
        for i in range(n):
            history[0, i] = shift[0, i]
            history[1, i] = shift[1, i]
            position[i] = 0.5 * (q[i] + q_copy[i])
            momentum[i] = 0.5 * (p[i] + p_copy[i])
        g[FRESH, 0] = 0.0
        return OK

    @jit
    def bind(q, p, q_copy, p_copy, cosine, sine):  # type: ignore[no-untyped-def]
        """C: the copies' difference turned, their sum kept."""
        for i in range(q.size):
            q_sum, p_sum, dq, dp = q[i] + q_copy[i], p[i] + p_copy[i], q[i] - q_copy[i], p[i] - p_copy[i]
            turned = cosine * dq + sine * dp
            dp = cosine * dp - sine * dq
            q[i] = 0.5 * (q_sum + turned)
            q_copy[i] = 0.5 * (q_sum - turned)
            p[i] = 0.5 * (p_sum + dp)
            p_copy[i] = 0.5 * (p_sum - dp)

    @jit
    def explicit_bound(options, data, t, eps):  # type: ignore[no-untyped-def]
        """A B C B A, C the rotation of the copies' difference by 2 omega eps."""
        vectors, g = t[0], t[1]
        q, p, q_copy, p_copy = vectors[POSITION], vectors[MOMENTUM], vectors[Q_COPY], vectors[P_COPY]
        angle = 2.0 * options.binding * eps
        cosine, sine = math.cos(angle), math.sin(angle)
        if g[AGE, 0] == 0.0:
            copy(q, q_copy)
            copy(p, p_copy)
            g[AGE, 0] = 1.0
        for part in range(4):  # A B, C, B A
            first = part == 0 or part == 3
            one, other = (q, q_copy) if first else (q_copy, q)
            one_p, other_p = (p, p_copy) if first else (p_copy, p)
            status = turn(options, data, t, 0.5 * eps, one, one_p, other, other_p)
            if status != OK:
                return status
            if part == 1:
                bind(q, p, q_copy, p_copy, cosine, sine)
        g[FRESH, 0] = 0.0
        return OK

    @jit
    def one_way(options, data, t, eps):  # type: ignore[no-untyped-def]
        if options.integrator == IMPLICIT:
            return implicit_leapfrog(options, data, t, eps)
        if options.integrator == MIDPOINT:
            return implicit_midpoint(options, data, t, eps)
        if options.integrator == EXPLICIT:
            return explicit_projected(options, data, t, eps)
        return explicit_bound(options, data, t, eps)

    @jit
    def agree(x, end, y, position, tolerance):  # type: ignore[no-untyped-def]
        """Whether a step from x to `end` and back has come to y: within tolerance of the size that `look` takes."""
        size, largest = 0.0, 0.0
        for i in range(x.size):
            size = max(size, abs(end[i] - x[i]))
            largest = max(largest, max(abs(x[i]), abs(end[i])))
        limit, there = tolerance * (size if position else largest) + POSITION_ROUNDING * largest, True
        for i in range(x.size):
            there = there and abs(x[i] - y[i]) <= limit
        return there

    @jit
    def step(options, data, t, eps):  # type: ignore[no-untyped-def]
        """A step; on request taken back on its own, which must lead to where it came from."""
        vectors, g, at, saved = t[0], t[1], t[2], t[4]
        check = options.reversibility > 0.0
        if check:
            copy(vectors[POSITION], vectors[Q_FROM])
            copy(vectors[MOMENTUM], vectors[P_FROM])
        fresh, status = 0.0, OK
        for way in range(2 if check else 1):
            status = one_way(options, data, t, -eps if way == 1 else eps)
            if way == 0 and (status != OK or not check):
                return status
            if way == 0:  # to the end of the step, on the way back
                fresh = g[FRESH, 0]
                copy_point(at, saved)
                copy(vectors[POSITION], vectors[Q_BACK])
                copy(vectors[MOMENTUM], vectors[P_BACK])
                forget(options, t)
        q_there = agree(vectors[Q_FROM], vectors[Q_BACK], vectors[POSITION], True, options.reversibility)
        p_there = agree(vectors[P_FROM], vectors[P_BACK], vectors[MOMENTUM], False, options.reversibility)
        if status > 0 or (status == OK and not (q_there and p_there)):
            status = NON_REVERSIBLE
        forget(options, t)
        copy(vectors[Q_BACK], vectors[POSITION])
        copy(vectors[P_BACK], vectors[MOMENTUM])
        copy_point(saved, at)
        g[FRESH, 0] = fresh
        return status

    return Integrators(areas, start, step, energy, forget, two)
