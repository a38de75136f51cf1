"""Eigenvalues and exponentials of matrices for emitted source: readable loops as in array_functions.py."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

Functions = dict[str, Any]

SCRATCH: dict[str, Callable[[Any], int]] = {
    "eigh": lambda n: 2 * n * n,
    "expm": lambda n: 8 * n * n + 2 * n,
}
# of the Pade approximant of degree 13, over the last
_PADE = (
    64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0, 129060195264000.0,
    10559470521600.0, 670442572800.0, 33522128640.0, 1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0, 1.0,
)  # fmt: skip


def make_matrix_functions(jit: Callable[..., Any], sqrt: Callable[..., Any]) -> Functions:
    return {"eigh": _eigh(jit, sqrt), "expm": _expm(jit, jit(_product), jit(_norm), jit(_eliminate))}


# -- eigenvalues -----------------------------------------------------------------------------------------------------


def _eigh(jit: Callable[..., Any], sqrt: Callable[..., Any]) -> Any:
    @jit
    def eigh(out, a, scratch, n):  # type: ignore[no-untyped-def]
        """Jacobi's rotations, row by row (Rutishauser 1966), then the order and the signs of matrix_functions.py."""
        work, vectors, size, finite = scratch[: n * n], scratch[n * n :], 0.0, True
        for i in range(n):
            for j in range(n):
                value = a[i * n + j] if j <= i else a[j * n + i]
                work[i * n + j] = value
                vectors[i * n + j] = 1.0 if i == j else 0.0
                size = max(size, abs(value))
                finite = finite and value - value == 0.0
        if not finite:
            for i in range(n + n * n):
                out[i] = math.nan
            return
        for _ in range(60):
            turned = False
            for p in range(n):
                for q in range(p + 1, n):
                    off = work[p * n + q]
                    if abs(off) > 1e-17 * size:
                        turned = True
                        theta = 0.5 * (work[q * n + q] - work[p * n + p]) / off
                        t = 1.0 / (abs(theta) + sqrt(theta * theta + 1.0))
                        t = -t if theta < 0.0 else t
                        c = 1.0 / sqrt(t * t + 1.0)
                        s = t * c
                        for k in range(n):
                            x, y = work[p * n + k], work[q * n + k]
                            work[p * n + k], work[q * n + k] = c * x - s * y, s * x + c * y
                            x, y = vectors[p * n + k], vectors[q * n + k]
                            vectors[p * n + k], vectors[q * n + k] = c * x - s * y, s * x + c * y
                        for k in range(n):
                            x, y = work[k * n + p], work[k * n + q]
                            work[k * n + p], work[k * n + q] = c * x - s * y, s * x + c * y
                        work[p * n + q] = 0.0
                        work[q * n + p] = 0.0
            if not turned:
                break
        for i in range(n):
            value, place, most, sign = work[i * n + i], 0, 0.0, 0.0
            for j in range(n):
                other = work[j * n + j]
                place += 1 if other < value or (other == value and j < i) else 0
                most = max(most, abs(vectors[i * n + j]))
            for j in range(n):
                component = vectors[i * n + j]
                if sign == 0.0 and abs(component) >= 0.6 * most:
                    sign = -1.0 if component < 0.0 else 1.0
            out[place] = value
            for j in range(n):
                out[n + j * n + place] = sign * vectors[i * n + j]

    return eigh


# -- exponentials ----------------------------------------------------------------------------------------------------


def _product(out, x, y, n):  # type: ignore[no-untyped-def]
    for i in range(n):
        for j in range(n):
            total = 0.0
            for k in range(n):
                total += x[i * n + k] * y[k * n + j]
            out[i * n + j] = total


def _norm(a, n):  # type: ignore[no-untyped-def]
    """The largest sum of sizes in a column."""
    most = 0.0
    for j in range(n):
        total = 0.0
        for i in range(n):
            total += abs(a[i * n + j])
        most = total if not total <= most else most
    return most


def _eliminate(rows, n):  # type: ignore[no-untyped-def]
    """Solves q x = p for the rows (q | p) of 2 n numbers; x in place of p."""
    width = 2 * n
    for k in range(n):
        best = k
        for i in range(k + 1, n):
            if abs(rows[i * width + k]) > abs(rows[best * width + k]):
                best = i
        for j in range(width):
            held = rows[k * width + j]
            rows[k * width + j] = rows[best * width + j]
            rows[best * width + j] = held
        for i in range(k + 1, n):
            factor = rows[i * width + k] / rows[k * width + k]
            for j in range(k, width):
                rows[i * width + j] -= factor * rows[k * width + j]
    for k in range(n - 1, -1, -1):
        for j in range(n, width):
            rows[k * width + j] /= rows[k * width + k]
        for i in range(k):
            factor = rows[i * width + k]
            for j in range(n, width):
                rows[i * width + j] -= factor * rows[k * width + j]


def _expm(jit: Callable[..., Any], product: Any, norm: Any, eliminate: Any) -> Any:
    b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11, b12, b13 = _PADE

    @jit
    def expm(out, a, scratch, n):  # type: ignore[no-untyped-def]
        """As mp_array_expm in csrc/densities/array_matrix_functions.c, which names the papers."""
        size = n * n
        a1, a2, a4, a6 = (
            scratch[:size],
            scratch[size : 2 * size],
            scratch[2 * size : 3 * size],
            scratch[3 * size : 4 * size],
        )
        u, v, rows = scratch[4 * size : 5 * size], scratch[5 * size : 6 * size], scratch[6 * size : 8 * size]
        total, after = scratch[8 * size : 8 * size + n], scratch[8 * size + n :]
        of_a = norm(a, n)
        if not of_a < math.inf:
            for i in range(size):
                out[i] = math.nan
            return
        unit = 1.0
        while unit < of_a:
            unit *= 2.0
        for i in range(size):
            a1[i] = a[i] / unit
        product(a2, a1, a1, n)
        product(a4, a2, a2, n)
        product(a6, a2, a4, n)
        product(u, a4, a4, n)
        product(v, a4, a6, n)
        n6, n8, n10 = norm(a6, n), norm(u, n), norm(v, n)
        for j in range(n):
            total[j] = 1.0
        for _ in range(27):  # column sums of |A|^27
            for j in range(n):
                after[j] = 0.0
                for i in range(n):
                    after[j] += total[i] * abs(a1[i * n + j])
            for j in range(n):
                total[j] = after[j]
        most = 0.0
        for j in range(n):
            most = max(most, total[j])
        first = most * unit / of_a * 9007199254740992.0 / 1.132507756060211e35 if of_a > 0.0 else 0.0
        f, squarings, enough = unit, 0, False  # A / unit times f is what the approximant is of
        while True:
            t2, left = 4.25 / f * (4.25 / f), first
            t4 = t2 * t2
            for _ in range(26):
                left = left * f if left > 0.0 else 0.0
            enough = n8 <= t4 * t4 and (n6 <= t2 * t4 or n10 <= t2 * t4 * t4)
            if enough and left <= 1.0 and f < 1e30:
                break
            f *= 0.5
            squarings += 1
        f2 = f * f
        for i in range(size):
            a1[i] *= f
            a2[i] *= f2
            a4[i] *= f2 * f2
            a6[i] *= f2 * f2 * f2
        for i in range(size):
            out[i] = b13 * a6[i] + b11 * a4[i] + b9 * a2[i]
        product(v, a6, out, n)
        for i in range(size):
            v[i] += b7 * a6[i] + b5 * a4[i] + b3 * a2[i] + (b1 if i % (n + 1) == 0 else 0.0)
        product(u, a1, v, n)
        for i in range(size):
            out[i] = b12 * a6[i] + b10 * a4[i] + b8 * a2[i]
        product(v, a6, out, n)
        for i in range(size):
            v[i] += b6 * a6[i] + b4 * a4[i] + b2 * a2[i] + (b0 if i % (n + 1) == 0 else 0.0)
        for i in range(n):
            for j in range(n):
                rows[2 * i * n + j] = v[i * n + j] - u[i * n + j]
                rows[(2 * i + 1) * n + j] = v[i * n + j] + u[i * n + j]
        eliminate(rows, n)
        for i in range(n):
            for j in range(n):
                out[i * n + j] = rows[(2 * i + 1) * n + j]
        for _ in range(squarings):
            for i in range(size):
                u[i] = out[i]
            product(out, u, u, n)

    return expm
