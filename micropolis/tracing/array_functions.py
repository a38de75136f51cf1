"""The operations of the array program on whole arrays, for emitted source: readable loops on flat float64 arrays.

The result comes first, then the operands, then scratch memory and sizes; `linalg_rules` says what each computes.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from . import array_matrix_functions

Functions = dict[str, Any]

# Doubles of scratch memory that an operation needs, from the n of its data.
SCRATCH: dict[str, Callable[[Any], int]] = {
    "solve": lambda data: data[0] * data[1],
    "cofactor": lambda n: 2 * n * n + n,
    **array_matrix_functions.SCRATCH,
}


@functools.lru_cache(maxsize=8)
def make_arrays(jit: Callable[..., Any], sqrt: Callable[..., Any], log: Callable[..., Any]) -> Functions:
    """The operations by name under the compiler `jit`; `sqrt` and `log` are compiled functions of numbers."""
    made = {
        "cumsum": jit(_cumsum),
        "matmul": jit(_matmul),
        "cholesky": _cholesky(jit, sqrt),
        "cholesky_adjoint": jit(_cholesky_adjoint),
        "triangular": jit(_triangular),
        "lu": jit(_lu),
        "linear_scan": jit(_linear_scan),
    }
    made["solve"], made["slogdet"] = _solve(jit, made["triangular"]), _slogdet(jit, log)
    made["determinant"] = jit(_determinant)
    made["cofactor"] = _cofactor(jit, made["lu"], made["determinant"], made["solve"])
    return made | array_matrix_functions.make_matrix_functions(jit, sqrt)


def _cumsum(out, x, a, r, b, backwards):  # type: ignore[no-untyped-def]
    step = -b if backwards else b
    for i in range(a):
        for j in range(b):
            total, at = 0.0, i * r * b + j + ((r - 1) * b if backwards else 0)
            for _ in range(r):
                total += x[at]
                out[at] = total
                at += step


def _matmul(out, x, y, m, k, n, tx, ty):  # type: ignore[no-untyped-def]
    """Rows of the second factor, or dot products where it lies transposed."""
    for i in range(m):
        if ty:
            for j in range(n):
                total = 0.0
                for p in range(k):
                    total += x[p * m + i if tx else i * k + p] * y[j * k + p]
                out[i * n + j] = total
        else:
            for j in range(n):
                out[i * n + j] = 0.0
            for p in range(k):
                factor = x[p * m + i if tx else i * k + p]
                for j in range(n):
                    out[i * n + j] += factor * y[p * n + j]


def _cholesky(jit: Callable[..., Any], sqrt: Callable[..., Any]) -> Any:
    @jit
    def cholesky(out, a, n):  # type: ignore[no-untyped-def]
        """NaN everywhere where there is no factor."""
        defined = True
        for i in range(n):
            for j in range(i + 1):
                total = 0.0
                for k in range(j):
                    total += out[i * n + k] * out[j * n + k]
                rest = a[i * n + j] - total
                if j < i:
                    out[i * n + j] = rest / out[j * n + j]
                else:
                    defined = defined and 0.0 < rest < math.inf
                    out[i * n + i] = sqrt(rest if defined else 1.0)
            for j in range(i + 1, n):
                out[i * n + j] = 0.0
        if not defined:
            for i in range(n * n):
                out[i] = math.nan

    return cholesky


def _cholesky_adjoint(out, factor, d, n):  # type: ignore[no-untyped-def]
    """The loop of `cholesky` backwards (Smith 1995, "Differentiation of the Cholesky algorithm")."""
    for i in range(n):
        for j in range(n):
            out[i * n + j] = d[i * n + j] if j <= i else 0.0
    for i in range(n - 1, -1, -1):
        out[i * n + i] = 0.5 * out[i * n + i] / factor[i * n + i]
        slope = 2.0 * out[i * n + i]
        for k in range(i):
            out[i * n + k] -= slope * factor[i * n + k]
        for j in range(i - 1, -1, -1):
            slope = out[i * n + j] / factor[j * n + j]
            out[i * n + j] = slope
            out[j * n + j] -= slope * factor[i * n + j]
            for k in range(j):
                out[i * n + k] -= slope * factor[j * n + k]
                out[j * n + k] -= slope * factor[i * n + k]


def _triangular(out, factor, right, n, m, lower, transposed, unit):  # type: ignore[no-untyped-def]
    forwards = lower != transposed
    for i in range(n * m):
        out[i] = right[i]
    for step in range(n):
        i = step if forwards else n - 1 - step
        if not unit:
            for j in range(m):
                out[i * m + j] /= factor[i * n + i]
        for rest in range(step + 1, n):  # what is known goes into what is not
            k = rest if forwards else n - 1 - rest
            f = factor[i * n + k if transposed else k * n + i]
            for j in range(m):
                out[k * m + j] -= f * out[i * m + j]


def _lu(out, a, n):  # type: ignore[no-untyped-def]
    """Partial pivoting; behind the factors for each row the one that it was exchanged with."""
    for i in range(n * n):
        out[i] = a[i]
    for k in range(n):
        best = k
        for i in range(k + 1, n):
            if abs(out[i * n + k]) > abs(out[best * n + k]):
                best = i
        out[n * n + k] = best
        if best != k:
            for j in range(n):
                held = out[k * n + j]
                out[k * n + j] = out[best * n + j]
                out[best * n + j] = held
        pivot = out[k * n + k]
        if pivot != 0.0:
            for i in range(k + 1, n):
                f = out[i * n + k] / pivot
                out[i * n + k] = f
                for j in range(k + 1, n):
                    out[i * n + j] -= f * out[k * n + j]


def _solve(jit: Callable[..., Any], triangular: Any) -> Any:
    @jit
    def solve(out, factors, right, scratch, n, m, transposed):  # type: ignore[no-untyped-def]
        if not transposed:
            for i in range(n * m):
                out[i] = right[i]
            for i in range(n):
                other = int(factors[n * n + i])
                for j in range(m):
                    held = out[i * m + j]
                    out[i * m + j] = out[other * m + j]
                    out[other * m + j] = held
            triangular(scratch, factors, out, n, m, True, False, True)
            triangular(out, factors, scratch, n, m, False, False, False)
        else:
            triangular(scratch, factors, right, n, m, False, True, False)
            triangular(out, factors, scratch, n, m, True, True, True)
            for step in range(n):
                i = n - 1 - step
                other = int(factors[n * n + i])
                for j in range(m):
                    held = out[i * m + j]
                    out[i * m + j] = out[other * m + j]
                    out[other * m + j] = held

    return solve


def _slogdet(jit: Callable[..., Any], log: Callable[..., Any]) -> Any:
    @jit
    def slogdet(out, factors, n):  # type: ignore[no-untyped-def]
        sign, total = 1.0, 0.0
        for i in range(n):
            pivot = factors[i * n + i]
            if factors[n * n + i] != i:
                sign = -sign
            sign = sign if pivot > 0.0 else (-sign if pivot < 0.0 else 0.0 * pivot)
            total += log(abs(pivot))
        out[0] = sign
        out[1] = total

    return slogdet


def _determinant(factors, n):  # type: ignore[no-untyped-def]
    product = 1.0
    for i in range(n):
        product *= -factors[i * n + i] if factors[n * n + i] != i else factors[i * n + i]
    return product


def _cofactor(jit: Callable[..., Any], lu: Any, determinant: Any, solve: Any) -> Any:
    @jit
    def cofactor(out, a, factors, scratch, n):  # type: ignore[no-untyped-def]
        """det(A) A^-T, or by minors where a pivot vanishes."""
        singular = False
        for i in range(n):
            singular = singular or factors[i * n + i] == 0.0
        first, second = scratch[: n * n], scratch[n * n :]
        if not singular:
            product = determinant(factors, n)
            for i in range(n * n):
                first[i] = 0.0
            for i in range(n):
                first[i * n + i] = product
            solve(out, factors, first, second, n, n, True)
            return
        for i in range(n):
            for j in range(n):
                at = 0
                for p in range(n):
                    for q in range(n):
                        if p != i and q != j:
                            first[at] = a[p * n + q]
                            at += 1
                lu(second, first, n - 1)
                minor = determinant(second, n - 1)
                out[i * n + j] = -minor if (i + j) % 2 == 1 else minor

    return cofactor


def _linear_scan(out, p, u, h, times, m, backwards):  # type: ignore[no-untyped-def]
    for step in range(times):
        t = times - 1 - step if backwards else step
        for i in range(m):
            total = u[t * m + i]
            if not backwards:
                for j in range(m):
                    total += p[(t * m + i) * m + j] * (out[(t - 1) * m + j] if step > 0 else h[j])
            elif step > 0:
                for j in range(m):
                    total += p[((t + 1) * m + j) * m + i] * out[(t + 1) * m + j]
            out[t * m + i] = total
