"""Readable position-dependent metrics, the same bits as csrc/hamiltonian/metric.c.

A point is an array of rows: what belongs to one position. The force there is
dH/dq_k = base_k + sum_ij W_ij d3 log p/dq_i dq_j dq_k with base = dU/dq + 1/2 tr(G^-1 dG/dq) and W quadratic in the
velocity.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from ..jit import Evaluate
from ..linalg import make_linalg
from ..protocol import (
    DENSITY_FATAL,
    DENSITY_REJECTED,
    METRIC_INDEFINITE,
    NON_FINITE,
    OK,
)
from .differences import NOT_FINITE, make_differences
from .eigen import make_eigen
from .metrics import GRADIENT_SQUARE, HESSIAN, HESSIAN_DIAGONAL, SOFTABS
from .softabs import make_softabs

# Rows of a point; behind them n rows V with G^-1 = V' diag(1 / scale) V, n rows of divided differences, and third
# derivatives by differences.
Q, GRADIENT, BASE, VALUES, SCALE, VALUE, POINT_HEAD = range(7)
# Rows of the scratch of a geometry; behind them three matrices, 3 rows for the eigensolver, 4 + n for differences.
PRODUCT, COMPONENTS, JITTER, N_GRAD, N_METRIC, ITERATIONS, AGE, AGE_Q, FRESH, GEOMETRY_HEAD = range(10)


def point_rows(n: int) -> int:
    """Rows of a point in n dimensions."""
    return POINT_HEAD + 2 * n + n * (n + 1) // 2


def geometry_rows(n: int) -> int:
    """Rows of the scratch of a geometry in n dimensions."""
    return GEOMETRY_HEAD + 3 * n + 3 + 4 + n


class Geometry(NamedTuple):
    """Compiled functions; `g` is the scratch, `point` one position."""

    metric: Callable[..., Any]  # (options, data, g, point) -> status: what velocity, log_det and momentum need
    base: Callable[..., Any]  # (options, data, g, point, known) -> status: and what force needs
    log_det: Callable[..., Any]  # (options, point)
    momentum: Callable[..., Any]  # (options, g, point, z, p): p = G^1/2 z
    velocity: Callable[..., Any]  # (options, g, point, p, v): v = G^-1 p
    force: Callable[..., Any]  # (options, data, g, point, p, v, out) -> code: out = dH/dq, v = G^-1 p


@functools.lru_cache(maxsize=16)
def code_status(jit: Callable[..., Any]) -> Any:
    """The status that a density's code stands for."""

    @jit
    def status(code):  # type: ignore[no-untyped-def]
        if code == 0:
            return OK
        if code == NOT_FINITE:
            return NON_FINITE
        return DENSITY_FATAL if code < 0 else DENSITY_REJECTED

    return status


@functools.lru_cache(maxsize=64)
def make_geometry(jit: Callable[..., Any], density: Evaluate) -> Geometry:
    """The functions under the compiler `jit`."""
    algebra, eigen, differences = make_linalg(jit), make_eigen(jit), make_differences(jit, density)
    dot, logp_grad = algebra.dot, density.logp_grad
    hessian, third, contract_third = differences.hessian, differences.third, differences.contract
    softabs, slope = make_softabs(jit)
    status_of = code_status(jit)

    @jit
    def rows_of(point):  # type: ignore[no-untyped-def]
        n = point.shape[1]
        return point[POINT_HEAD : POINT_HEAD + n]

    @jit
    def slopes_of(point):  # type: ignore[no-untyped-def]
        n = point.shape[1]
        return point[POINT_HEAD + n : POINT_HEAD + 2 * n]

    @jit
    def matrix(g, i):  # type: ignore[no-untyped-def]
        n = g.shape[1]
        return g[GEOMETRY_HEAD + i * n : GEOMETRY_HEAD + (i + 1) * n]

    @jit
    def scratch(g):  # type: ignore[no-untyped-def]
        n = g.shape[1]
        return g[GEOMETRY_HEAD + 3 * n : GEOMETRY_HEAD + 3 * n + 3]

    @jit
    def difference_scratch(g):  # type: ignore[no-untyped-def]
        return g[GEOMETRY_HEAD + 3 * g.shape[1] + 3 :]

    @jit
    def combine(rows, w, out):  # type: ignore[no-untyped-def]
        """Sum of w_m rows[m], into out."""
        for i in range(out.size):
            total = 0.0
            for m in range(out.size):
                total += w[m] * rows[m, i]
            out[i] = total

    @jit
    def sandwich(rows, m, half, out):  # type: ignore[no-untyped-def]
        """The product rows' m rows, into out."""
        n = rows.shape[1]
        for i in range(n):
            combine(rows, m[i], half[i])
        for i in range(n):
            for k in range(n):
                total = 0.0
                for j in range(n):
                    total += rows[j, i] * half[j, k]
                out[i, k] = total

    @jit
    def diagonal_sandwich(rows, w, out):  # type: ignore[no-untyped-def]
        n = rows.shape[1]
        for i in range(n):
            for k in range(n):
                total = 0.0
                for j in range(n):
                    total += (w[j] * rows[j, i]) * rows[j, k]
                out[i, k] = total

    @jit
    def has_third(data):  # type: ignore[no-untyped-def]
        return False

    @jit
    def contract(data, point, m, product):  # type: ignore[no-untyped-def]
        """Fill product_k = sum_ij m_ij d3 log p / dq_i dq_j dq_k."""
        contract_third(point[POINT_HEAD + 2 * point.shape[1] :], m, product)
        return 0

    if density.third_product is not None and density.available is not None:
        third_product, available, by_differences = density.third_product, density.available, contract

        @jit
        def has_third_of_either(data):  # type: ignore[no-untyped-def]
            return available(data) & 2 != 0

        @jit
        def contract_of_either(data, point, m, product):  # type: ignore[no-untyped-def]
            if available(data) & 2:
                return third_product(point[Q], m, product, data)
            return by_differences(data, point, m, product)

        has_third, contract = has_third_of_either, contract_of_either

    @jit
    def invert_factor(a, rows):  # type: ignore[no-untyped-def]
        """rows = L^-1 of a = L L', for all unit vectors at once; a status."""
        n = rows.shape[1]
        for i in range(n):
            for k in range(n):
                rows[i, k] = 1.0 if i == k else 0.0
        for j in range(n):
            pivot = a[j, j]
            if not math.isfinite(pivot):
                return NON_FINITE
            if not pivot > 0.0:
                return METRIC_INDEFINITE
            inverse = 1.0 / math.sqrt(pivot)
            for k in range(n):
                a[j, k] = inverse * a[j, k]
                rows[j, k] = inverse * rows[j, k]
            for i in range(j + 1, n):
                factor = a[j, i]
                for k in range(n):
                    a[i, k] = a[i, k] - factor * a[j, k]
                    rows[i, k] = rows[i, k] - factor * rows[j, k]
        return OK

    @jit
    def finite(x):  # type: ignore[no-untyped-def]
        all_of_them = True
        for i in range(x.size):
            all_of_them = all_of_them and math.isfinite(x[i])
        return all_of_them

    @jit
    def evaluate(data, g, point):  # type: ignore[no-untyped-def]
        g[N_GRAD, 0] += 1.0
        code, point[VALUE, 0] = logp_grad(point[Q], point[GRADIENT], data)
        return code

    @jit
    def metric(options, data, g, point):  # type: ignore[no-untyped-def]
        n, kind, scale = point.shape[1], options.kind, point[SCALE]
        g[N_METRIC, 0] += 1.0
        if kind == GRADIENT_SQUARE:
            code = evaluate(data, g, point)
            if code != 0:
                return status_of(code)
            for i in range(n):
                scale[i] = point[GRADIENT, i] * point[GRADIENT, i] + options.parameter
                if not math.isfinite(scale[i]):
                    return NON_FINITE
            return OK
        a, plain = matrix(g, 0), matrix(g, 2)
        code = hessian(point[Q], plain, data, difference_scratch(g), g[N_GRAD])
        if code != 0:
            return status_of(code)
        if kind == HESSIAN_DIAGONAL:
            for i in range(n):
                scale[i] = -plain[i, i]
                if not math.isfinite(scale[i]):
                    return NON_FINITE
                if not scale[i] > 0.0:
                    return METRIC_INDEFINITE
            return OK
        for i in range(n):
            for j in range(n):
                a[i, j] = -plain[i, j]
        if kind == HESSIAN:
            return invert_factor(a, rows_of(point))
        for i in range(n):
            a[i, i] += g[JITTER, i]
        if not eigen(a, point[VALUES], rows_of(point), scratch(g)):
            return NON_FINITE
        for i in range(n):
            scale[i] = softabs(options.parameter, point[VALUES, i])
        return OK

    @jit
    def base(options, data, g, point, known):  # type: ignore[no-untyped-def]
        n, kind, scale, w, product = point.shape[1], options.kind, point[SCALE], g[COMPONENTS], g[PRODUCT]
        rows, plain = rows_of(point), matrix(g, 2)
        if not known and kind != GRADIENT_SQUARE:
            code = evaluate(data, g, point)
            if code != 0:
                return status_of(code)
        if not math.isfinite(point[VALUE, 0]):
            return NON_FINITE
        if kind == GRADIENT_SQUARE:
            code = hessian(point[Q], plain, data, difference_scratch(g), g[N_GRAD])
            if code != 0:
                return status_of(code)
            for i in range(n):
                for j in range(n):
                    rows[i, j] = plain[i, j]
            for i in range(n):
                w[i] = point[GRADIENT, i] / scale[i]
            combine(rows, w, product)
            for i in range(n):
                point[BASE, i] = product[i] - point[GRADIENT, i]
            return OK if finite(point[BASE]) else NON_FINITE
        if not has_third(data):
            code = third(point[Q], point[GRADIENT], point[POINT_HEAD + 2 * n :], data, difference_scratch(g), g[N_GRAD])
            if code != 0:
                return status_of(code)
        if kind == HESSIAN_DIAGONAL:
            for i in range(n):
                for j in range(n):
                    plain[i, j] = 0.5 / scale[i] if i == j else 0.0
        else:
            for i in range(n):
                w[i] = 0.5
            if kind == SOFTABS:
                slopes, values = slopes_of(point), point[VALUES]
                for i in range(n):
                    for j in range(i + 1):
                        slopes[i, j] = slope(options.parameter, values[i], values[j], scale[i], scale[j])
                        slopes[j, i] = slopes[i, j]
                for i in range(n):
                    w[i] = 0.5 * (slopes[i, i] / scale[i])
            diagonal_sandwich(rows, w, plain)
        code = contract(data, point, plain, product)
        if code != 0:
            return status_of(code)
        for i in range(n):
            point[BASE, i] = -(point[GRADIENT, i] + product[i])
        return OK if finite(point[BASE]) else NON_FINITE

    @jit
    def log_det(options, point):  # type: ignore[no-untyped-def]
        rows, total = rows_of(point), 0.0
        for i in range(point.shape[1]):
            total += -2.0 * math.log(rows[i, i]) if options.kind == HESSIAN else math.log(point[SCALE, i])
        return total

    @jit
    def momentum(options, g, point, z, p):  # type: ignore[no-untyped-def]
        rows, scale, w = rows_of(point), point[SCALE], g[COMPONENTS]
        if options.kind == SOFTABS:
            # the symmetric root: the same whichever eigenvectors span a cluster, and of either sign
            for m in range(p.size):
                w[m] = math.sqrt(scale[m]) * dot(p.size, rows[m], z)
            combine(rows, w, p)
        elif options.kind == HESSIAN:
            for i in range(p.size):  # L z: solve L^-1 p = z
                total = z[i]
                for j in range(i):
                    total -= rows[i, j] * p[j]
                p[i] = total / rows[i, i]
        else:
            for i in range(p.size):
                p[i] = math.sqrt(scale[i]) * z[i]

    @jit
    def velocity(options, g, point, p, v):  # type: ignore[no-untyped-def]
        rows, scale, w, kind = rows_of(point), point[SCALE], g[COMPONENTS], options.kind
        if kind in (HESSIAN_DIAGONAL, GRADIENT_SQUARE):
            for i in range(p.size):
                v[i] = p[i] / scale[i]
            return
        for m in range(p.size):
            w[m] = dot(p.size, rows[m], p)
        if kind == SOFTABS:
            for m in range(p.size):
                w[m] = w[m] / scale[m]
        combine(rows, w, v)

    @jit
    def force(options, data, g, point, p, v, out):  # type: ignore[no-untyped-def]
        n, kind, w, rows, plain = p.size, options.kind, g[COMPONENTS], rows_of(point), matrix(g, 2)
        velocity(options, g, point, p, v)
        if kind == GRADIENT_SQUARE:
            for i in range(n):
                w[i] = (v[i] * v[i]) * point[GRADIENT, i]
            combine(rows, w, out)
            for i in range(n):
                out[i] = point[BASE, i] - out[i]
            return 0
        if kind == SOFTABS:
            inner, slopes = matrix(g, 0), slopes_of(point)
            for i in range(n):
                for j in range(n):
                    inner[i, j] = (0.5 * w[i]) * (slopes[i, j] * w[j])
            sandwich(rows, inner, matrix(g, 1), plain)
        else:
            for i in range(n):
                for j in range(n):
                    plain[i, j] = (0.5 * v[i]) * v[j] if kind == HESSIAN or i == j else 0.0
        code = contract(data, point, plain, out)
        for i in range(n):
            out[i] = point[BASE, i] + out[i]
        return code

    return Geometry(metric, base, log_det, momentum, velocity, force)
