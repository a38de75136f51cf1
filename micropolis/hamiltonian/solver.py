"""Readable Broyden's method and extrapolation for the implicit equations of a step, as csrc/hamiltonian/solver.h."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from ..linalg import make_linalg

# Differences of residuals smaller than this are rounding: they teach nothing. Of unknowns below 1, relative to them.
SMALLEST_LESSON = 1e-10
POSITION_ROUNDING = 4.0 * 2.0**-52  # roundings of a position that no residual can do without
ON, DONE, LOST = 0, 1, 2


class Solver(NamedTuple):
    """Compiled functions. A solver `s` is (inverse, residual, change, difference, product).

    Unknowns are arrays (parts, n) of one or two vectors; row ((part n + i) parts + other) of `inverse` is the piece of
    row (part, i) of the inverse Jacobian that meets vector `other`.
    """

    reset: Callable[..., Any]  # (s, start): inverse = start * I
    look: Callable[..., Any]  # (s, tolerance, start, end, position) -> (ON, DONE or LOST, size of the unknowns)
    move: Callable[..., Any]  # (s, x, moved, size): x -= inverse residual, after learning from the last move
    guess: Callable[..., Any]  # (history, age, out): the next of a sequence, by the polynomial through its last three
    push: Callable[..., Any]  # (history): room for a new last in history[0]


@functools.lru_cache(maxsize=16)
def make_solver(jit: Callable[..., Any]) -> Solver:
    """The functions under the compiler `jit`."""
    dot = make_linalg(jit).dot

    @jit
    def dot_of_parts(x, y):  # type: ignore[no-untyped-def]
        total = 0.0
        for part in range(x.shape[0]):
            total += dot(x.shape[1], x[part], y[part])
        return total

    @jit
    def row(inverse, parts, k):  # type: ignore[no-untyped-def]
        return inverse[k * parts : (k + 1) * parts]

    @jit
    def reset(s, start):  # type: ignore[no-untyped-def]
        inverse, parts, n = s[0], s[1].shape[0], s[1].shape[1]
        for k in range(parts * n):
            for part in range(parts):
                for i in range(n):
                    inverse[k * parts + part, i] = start if k == part * n + i else 0.0

    @jit
    def look(s, tolerance, start, end, position):  # type: ignore[no-untyped-def]
        """The state of the iteration on the way from `start` to `end`, of which part `position` is a position.

        Nothing but these says what is small: a momentum is measured by itself, a position, whose origin is anywhere, by
        how far it has come.
        """
        residual, done, least = s[1], True, 1.0
        for part in range(start.shape[0]):
            size, largest = 0.0, 0.0
            for i in range(start.shape[1]):
                size = max(size, abs(end[part, i] - start[part, i]))
                largest = max(largest, max(abs(start[part, i]), abs(end[part, i])))
            if part != position:
                size = largest
            limit = tolerance * size + POSITION_ROUNDING * largest
            least = min(size, least)
            for i in range(start.shape[1]):
                if not math.isfinite(residual[part, i]):
                    return LOST, least
                if not abs(residual[part, i]) <= limit:
                    done = False
        return DONE if done else ON, least

    @jit
    def learn(s, size):  # type: ignore[no-untyped-def]
        """The inverse takes in that `change` changed the residual by `difference`: Broyden (1965), the good update."""
        inverse, change, difference, product = s[0], s[2], s[3], s[4]
        parts, n, largest = change.shape[0], change.shape[1], 0.0
        for part in range(parts):
            for i in range(n):
                difference[part, i] = s[1][part, i] - difference[part, i]
                largest = max(abs(difference[part, i]), largest)
        for part in range(parts):
            for i in range(n):
                product[part, i] = dot_of_parts(row(inverse, parts, part * n + i), difference)
        along, square = dot_of_parts(change, product), dot_of_parts(change, change)
        if not (largest > SMALLEST_LESSON * size and abs(along) > 0.05 * square):
            return
        for other in range(parts):
            for k in range(n):
                total = 0.0
                for part in range(parts):
                    for j in range(n):
                        total += change[part, j] * inverse[(part * n + j) * parts + other, k]
                difference[other, k] = total
        for part in range(parts):
            for i in range(n):
                factor = (change[part, i] - product[part, i]) / along
                for other in range(parts):
                    for k in range(n):
                        inverse[(part * n + i) * parts + other, k] += factor * difference[other, k]

    @jit
    def move(s, x, moved, size):  # type: ignore[no-untyped-def]
        inverse, residual, change, difference = s[0], s[1], s[2], s[3]
        parts, n = x.shape[0], x.shape[1]
        if moved:
            learn(s, size)
        for part in range(parts):
            for i in range(n):
                change[part, i] = -dot_of_parts(row(inverse, parts, part * n + i), residual)
        for part in range(parts):
            for i in range(n):
                difference[part, i] = residual[part, i]
                x[part, i] = x[part, i] + change[part, i]

    @jit
    def guess(history, age, out):  # type: ignore[no-untyped-def]
        parts = out.shape[0]
        for part in range(parts):
            for i in range(out.shape[1]):
                last, before = history[part, i], history[parts + part, i]
                oldest = history[2 * parts + part, i]
                if age == 0:
                    out[part, i] = 0.0
                elif age == 1:
                    out[part, i] = last
                elif age == 2:
                    out[part, i] = 2.0 * last - before
                else:
                    out[part, i] = (3.0 * last - 3.0 * before) + oldest

    @jit
    def push(history):  # type: ignore[no-untyped-def]
        parts = history.shape[0] // 3
        for row in range(3 * parts - 1, parts - 1, -1):
            for i in range(history.shape[1]):
                history[row, i] = history[row - parts, i]

    return Solver(reset, look, move, guess, push)
