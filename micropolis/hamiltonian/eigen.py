"""The readable eigensolver for a few dimensions, the same bits as csrc/common/eigen.c."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from ..linalg import make_linalg

EPSILON = 2.0**-52
SWEEPS = 60  # per eigenvalue; a handful is usual


@functools.lru_cache(maxsize=16)
def make_eigen(jit: Callable[..., Any]) -> Any:
    """eigen(a, values, vectors, scratch) -> whether it worked; `a` (n, n) is destroyed, scratch is (3, n).

    Householder reduction to tridiagonal form and QL with implicit shifts (Bowdler, Martin, Reinsch & Wilkinson 1968;
    Dubrulle 1970). Row m of `vectors` is the eigenvector of ``values[m]``, in no particular order. A column that is
    zero to rounding is not reflected: the arrowhead Hessians of hierarchical models take one reflection.
    """
    dot = make_linalg(jit).dot

    @jit
    def size_of(n, a):  # type: ignore[no-untyped-def]
        """Largest |a_ij|, NaN where an element is not finite."""
        most = 0.0
        for i in range(n):
            for j in range(n):
                if not math.isfinite(a[i, j]):
                    return math.nan
                most = max(most, abs(a[i, j]))
        return most

    @jit
    def reflect(n, k, a, floor, d, e, vectors, u, w):  # type: ignore[no-untyped-def]
        """Make column k of `a` tridiagonal."""
        alpha = a[k, k + 1]
        d[k] = a[k, k]
        for i in range(n):
            u[i] = a[k, i] if i > k + 1 else 0.0
        rest = dot(n, u, u)
        if rest <= floor * floor:
            e[k] = alpha
            return
        norm = math.sqrt(alpha * alpha + rest)
        beta = 1.0 / (norm * (norm + abs(alpha)))
        e[k] = -norm if alpha > 0.0 else norm
        u[k + 1] = alpha - e[k]
        for i in range(n):
            total, turned = 0.0, 0.0
            for j in range(k + 1, n):
                total += u[j] * a[j, i]
                turned += u[j] * vectors[j, i]
            w[i] = beta * total
            for j in range(k + 1, n):
                vectors[j, i] = vectors[j, i] - (beta * u[j]) * turned
        half = 0.5 * beta * dot(n, u, w)
        for i in range(n):
            w[i] = w[i] - half * u[i]
        for i in range(k + 1, n):
            for j in range(n):
                a[i, j] = a[i, j] - (u[i] * w[j] + w[i] * u[j])

    @jit
    def ql(n, floor, d, e, vectors):  # type: ignore[no-untyped-def]
        for first in range(n):
            sweep = 0
            while True:
                last = first
                while last + 1 < n and abs(e[last]) > EPSILON * (abs(d[last]) + abs(d[last + 1])) + floor:
                    last += 1
                if last == first:
                    break
                if sweep == SWEEPS:
                    return False
                sweep += 1
                g = (d[first + 1] - d[first]) / (2.0 * e[first])
                r = math.sqrt(g * g + 1.0)
                g = d[last] - d[first] + e[first] / (g + (-r if g < 0.0 else r))
                s, c, p = 1.0, 1.0, 0.0
                i = last
                while i > first:
                    f, b = s * e[i - 1], c * e[i - 1]
                    r = math.sqrt(f * f + g * g)
                    e[i] = r
                    if r == 0.0:
                        d[i] -= p
                        e[last] = 0.0
                        break
                    s, c = f / r, g / r
                    g = d[i] - p
                    r = (d[i - 1] - g) * s + 2.0 * c * b
                    p = s * r
                    d[i] = g + p
                    g = c * r - b
                    for k in range(n):
                        x, y = vectors[i - 1, k], vectors[i, k]
                        vectors[i, k] = s * x + c * y
                        vectors[i - 1, k] = c * x - s * y
                    i -= 1
                if i > first:
                    continue
                d[first] -= p
                e[first] = g
                e[last] = 0.0
        return True

    @jit
    def eigen(a, values, vectors, scratch):  # type: ignore[no-untyped-def]
        n = values.size
        e, u, w = scratch[0], scratch[1], scratch[2]
        size, scale = size_of(n, a), 1.0
        if not math.isfinite(size):
            return False
        for i in range(n):
            for j in range(n):
                vectors[i, j] = 1.0 if i == j else 0.0
        if size > 1e100 or size < 1e-100:  # squares would leave the range
            scale = size if size > 1e-300 else 1e-300
            for i in range(n):
                for j in range(n):
                    a[i, j] = a[i, j] / scale
            size = size / scale
        floor = EPSILON * size
        for k in range(n - 2):
            reflect(n, k, a, floor, values, e, vectors, u, w)
        if n > 1:
            values[n - 2] = a[n - 2, n - 2]
            e[n - 2] = a[n - 2, n - 1]
        values[n - 1] = a[n - 1, n - 1]
        worked = ql(n, 0.125 * floor, values, e, vectors)
        if scale != 1.0:
            for i in range(n):
                values[i] *= scale
        return worked

    return eigen
