"""Readable Hessian and third derivatives by differences, the same bits as csrc/common/differences.c."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from ..jit import Evaluate

NOT_FINITE = 2**31 - 1  # the code where a log density on the way was not finite
HESSIAN_STEP, THIRD_STEP = 2.0**-10, 2.0**-9


class Differences(NamedTuple):
    """Compiled functions; `count` is an array whose first element counts gradients."""

    hessian: Callable[..., Any]  # (x, out, data, work, count) -> code
    third: Callable[..., Any]  # (x, grad, third, data, work, count) -> code
    contract: Callable[..., Any]  # (third, m, product)


@functools.lru_cache(maxsize=64)
def make_differences(jit: Callable[..., Any], density: Evaluate) -> Differences:
    """Central differences of fourth order; `work` is (4 + n, n)."""
    logp_grad = density.logp_grad

    @jit
    def unit(x):  # type: ignore[no-untyped-def]
        return max(abs(x), 1.0)

    @jit
    def offset(s):  # type: ignore[no-untyped-def]
        """1, -1, 2, -2."""
        return (1.0 if s < 2 else 2.0) * (1.0 if s % 2 == 0 else -1.0)

    @jit
    def first_weight(s):  # type: ignore[no-untyped-def]
        return 8.0 if s == 0 else -8.0 if s == 1 else -1.0 if s == 2 else 1.0

    @jit
    def gradient(x, grad, data, count):  # type: ignore[no-untyped-def]
        count[0] += 1.0
        code, logp = logp_grad(x, grad, data)
        return code if code != 0 else 0 if math.isfinite(logp) else NOT_FINITE

    @jit
    def hessian(x, out, data, work, count):  # type: ignore[no-untyped-def]
        n = x.size
        point, grad = work[0], work[1]
        for i in range(n):
            point[i] = x[i]
        for i in range(n):
            h = HESSIAN_STEP * unit(x[i])
            for k in range(n):
                out[i, k] = 0.0
            for s in range(4):
                point[i] = x[i] + offset(s) * h
                code = gradient(point, grad, data, count)
                if code != 0:
                    return code
                for k in range(n):
                    out[i, k] += first_weight(s) * grad[k]
            for k in range(n):
                out[i, k] /= 12.0 * h
            point[i] = x[i]
        for i in range(n):
            for k in range(i):
                out[i, k] = 0.5 * (out[i, k] + out[k, i])
                out[k, i] = out[i, k]
        return 0

    @jit
    def from_gradients(x, grad, third, data, work, count):  # type: ignore[no-untyped-def]
        """From second differences of the gradient along h_i e_i + h_j e_j, and those along each alone."""
        n = x.size
        point, slope = work[0], work[1]
        for i in range(n):
            point[i] = x[i]
        for i in range(n):
            for j in range(i + 1):
                hi, hj, pair = THIRD_STEP * unit(x[i]), THIRD_STEP * unit(x[j]), i * (i + 1) // 2 + j
                for k in range(n):
                    third[pair, k] = -30.0 * grad[k]
                for s in range(4):
                    point[i] = x[i] + offset(s) * hi
                    point[j] = x[j] + offset(s) * hj
                    code = gradient(point, slope, data, count)
                    if code != 0:
                        return code
                    for k in range(n):
                        third[pair, k] += (16.0 if s < 2 else -1.0) * slope[k]
                point[i] = x[i]
                point[j] = x[j]
        for i in range(n):
            for j in range(i):
                hi, hj, pair = THIRD_STEP * unit(x[i]), THIRD_STEP * unit(x[j]), i * (i + 1) // 2 + j
                ii, jj = i * (i + 1) // 2 + i, j * (j + 1) // 2 + j
                for k in range(n):
                    third[pair, k] = ((third[pair, k] - third[ii, k]) - third[jj, k]) / (24.0 * hi * hj)
        for i in range(n):
            h, pair = THIRD_STEP * unit(x[i]), i * (i + 1) // 2 + i
            for k in range(n):
                third[pair, k] /= 12.0 * h * h
        return 0

    @jit
    def contract(third, m, product):  # type: ignore[no-untyped-def]
        n = product.size
        for k in range(n):
            product[k] = 0.0
        for i in range(n):
            for j in range(i + 1):
                weight = m[i, i] if i == j else m[i, j] + m[j, i]
                pair = i * (i + 1) // 2 + j
                for k in range(n):
                    product[k] += weight * third[pair, k]

    if density.hessian is None or density.available is None:
        return Differences(hessian, from_gradients, contract)
    assert density.available is not None
    given, available = density.hessian, density.available

    @jit
    def from_hessians(x, third, data, work):  # type: ignore[no-untyped-def]
        n = x.size
        point, matrix = work[0], work[1 : 1 + n]
        for i in range(n):
            point[i] = x[i]
        for k in range(n):
            h = HESSIAN_STEP * unit(x[k])
            for pair in range(n * (n + 1) // 2):
                third[pair, k] = 0.0
            for s in range(4):
                point[k] = x[k] + offset(s) * h
                code = given(point, matrix, data)
                if code != 0:
                    return code
                for i in range(n):
                    for j in range(i + 1):
                        third[i * (i + 1) // 2 + j, k] += first_weight(s) * matrix[i, j]
            for pair in range(n * (n + 1) // 2):
                third[pair, k] /= 12.0 * h
            point[k] = x[k]
        return 0

    @jit
    def hessian_of_either(x, out, data, work, count):  # type: ignore[no-untyped-def]
        if available(data) & 1:
            return given(x, out, data)
        return hessian(x, out, data, work, count)

    @jit
    def third_of_either(x, grad, third, data, work, count):  # type: ignore[no-untyped-def]
        if available(data) & 1:
            return from_hessians(x, third, data, work)
        return from_gradients(x, grad, third, data, work, count)

    return Differences(hessian_of_either, third_of_either, contract)
