"""Sums, triangular products and Cholesky factor of the readable kernels, rounded exactly as in csrc/common/linalg.c.

Every function here is made by a factory that takes the compiler: identity, `numba.njit` or
`numba.cuda.jit(device=True)`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from .protocol import DIAGONAL


class Linalg(NamedTuple):
    """Compiled functions; vectors are 1-d float64 arrays, matrices row-major and flat, S the scale of a kernel."""

    copy: Callable[..., Any]  # (x, out): out = x
    dot: Callable[..., Any]  # (n, a, b): sum of the first n products
    dot_sum: Callable[..., Any]  # (a, b, c): a . (b + c)
    lower_product: Callable[..., Any]  # (lower, x, out): out = L x
    lower_transpose_product: Callable[..., Any]  # (lower, x, out): out = L' x
    add_scaled: Callable[..., Any]  # (metric, factor, scale, x, out, scratch): out += factor S x
    add_scaled_transpose: Callable[..., Any]  # the same with S'
    cholesky: Callable[..., Any]  # (dim, matrix): its lower factor in place; False if not positive definite


@functools.lru_cache(maxsize=16)
def make_linalg(jit: Callable[..., Any]) -> Linalg:
    """The functions under the compiler `jit`."""

    @jit
    def copy(x, out):  # type: ignore[no-untyped-def]
        for i in range(out.size):
            out[i] = x[i]

    # Sums run over eight stripes, element i in stripe i mod 8, added in pairs: the lanes of a vector register in C.
    @jit
    def fold(s0, s1, s2, s3, s4, s5, s6, s7):  # type: ignore[no-untyped-def]
        return ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))

    @jit
    def stripe(lane, n, a, b):  # type: ignore[no-untyped-def]
        total = 0.0
        for i in range(lane, n, 8):
            total += a[i] * b[i]
        return total

    @jit
    def dot(n, a, b):  # type: ignore[no-untyped-def]
        return fold(
            stripe(0, n, a, b), stripe(1, n, a, b), stripe(2, n, a, b), stripe(3, n, a, b),
            stripe(4, n, a, b), stripe(5, n, a, b), stripe(6, n, a, b), stripe(7, n, a, b),
        )  # fmt: skip

    @jit
    def stripe_sum(lane, a, b, c):  # type: ignore[no-untyped-def]
        total = 0.0
        for i in range(lane, a.size, 8):
            total += a[i] * (b[i] + c[i])
        return total

    @jit
    def dot_sum(a, b, c):  # type: ignore[no-untyped-def]
        return fold(
            stripe_sum(0, a, b, c), stripe_sum(1, a, b, c), stripe_sum(2, a, b, c), stripe_sum(3, a, b, c),
            stripe_sum(4, a, b, c), stripe_sum(5, a, b, c), stripe_sum(6, a, b, c), stripe_sum(7, a, b, c),
        )  # fmt: skip

    @jit
    def lower_product(lower, x, out):  # type: ignore[no-untyped-def]
        dim = out.size
        for i in range(dim):
            out[i] = dot(i + 1, lower[i * dim : (i + 1) * dim], x)

    @jit
    def lower_transpose_product(lower, x, out):  # type: ignore[no-untyped-def]
        dim = out.size
        for i in range(dim):
            out[i] = 0.0
            for j in range(i + 1):
                out[j] += lower[i * dim + j] * x[i]

    @jit
    def add_scaled(metric, factor, scale, x, out, scratch):  # type: ignore[no-untyped-def]
        if metric == DIAGONAL:
            for i in range(out.size):
                out[i] += factor * (scale[i] * x[i])
        else:
            lower_product(scale, x, scratch)
            for i in range(out.size):
                out[i] += factor * scratch[i]

    @jit
    def add_scaled_transpose(metric, factor, scale, x, out, scratch):  # type: ignore[no-untyped-def]
        if metric == DIAGONAL:
            for i in range(out.size):
                out[i] += factor * (scale[i] * x[i])
        else:
            lower_transpose_product(scale, x, scratch)
            for i in range(out.size):
                out[i] += factor * scratch[i]

    @jit
    def cholesky(dim, a):  # type: ignore[no-untyped-def]
        for i in range(dim):
            row = a[i * dim : (i + 1) * dim]
            for j in range(i):
                row[j] = (row[j] - dot(j, row, a[j * dim : (j + 1) * dim])) / a[j * dim + j]
            pivot = row[i] - dot(i, row, row)
            if not pivot > 0.0:
                return False
            row[i] = math.sqrt(pivot)
            for j in range(i + 1, dim):
                row[j] = 0.0
        return True

    return Linalg(
        copy, dot, dot_sum, lower_product, lower_transpose_product, add_scaled, add_scaled_transpose, cholesky
    )
