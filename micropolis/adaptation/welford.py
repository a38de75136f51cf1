"""Readable estimators of a metric: running moments (Welford 1962), and the scale that follows from them.

Diagonal: the inverse mass sqrt(var(draws) / var(grads)) of nutpie (Seyboldt, Carlson & Carpenter 2026), or variances
of the draws; dense: the covariance, shrunk towards its diagonal. The same bits as csrc/common/adaptation.c.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from ..linalg import make_linalg
from .rule import METRIC_COVARIANCE, METRIC_DENSE, METRIC_GRADIENT


@functools.lru_cache(maxsize=16)
def make_estimator(jit: Callable[..., Any]) -> tuple[Any, Any, Any, Any, Any]:
    """(uses_gradients, becomes_dense, add_draw, set_diagonal, set_dense).

    An estimator is a flat array: mean and sum of squares of the draws (dim each), the same of the gradients, and the
    cross products of the draws (dim * dim) where a dense metric wants them.
    """
    algebra = make_linalg(jit)
    copy, cholesky = algebra.copy, algebra.cholesky

    @jit
    def uses_gradients(rule):  # type: ignore[no-untyped-def]
        return rule.metric_rule == METRIC_GRADIENT or rule.metric_rule == METRIC_DENSE

    @jit
    def becomes_dense(rule):  # type: ignore[no-untyped-def]
        return rule.metric_rule == METRIC_DENSE or rule.metric_rule == METRIC_COVARIANCE

    @jit
    def welford(count, x, mean, squares):  # type: ignore[no-untyped-def]
        for i in range(x.size):
            delta = x[i] - mean[i]
            mean[i] += delta / count
            squares[i] += delta * (x[i] - mean[i])

    @jit
    def welford_products(count, x, mean, products):  # type: ignore[no-untyped-def]
        dim = x.size
        # with the new mean, x - old mean = (x - mean) * count / (count - 1)
        factor = count / (count - 1.0) if count > 1.0 else 0.0
        for i in range(dim):
            delta = factor * (x[i] - mean[i])
            for j in range(i + 1):
                products[i * dim + j] += delta * (x[j] - mean[j])

    @jit
    def add_draw(rule, count, state, estimator):  # type: ignore[no-untyped-def]
        x = state[0]
        dim = x.size
        mean = estimator[:dim]
        welford(count, x, mean, estimator[dim : 2 * dim])
        if uses_gradients(rule):
            welford(count, state[2], estimator[2 * dim : 3 * dim], estimator[3 * dim : 4 * dim])
        if becomes_dense(rule):
            welford_products(count, x, mean, estimator[4 * dim :])

    @jit
    def set_diagonal(dim, gradients, count, estimator, scale):  # type: ignore[no-untyped-def]
        shrink, floor = count / (count + 5.0), 1e-3 * (5.0 / (count + 5.0))
        for i in range(dim):
            square, grad_square = estimator[dim + i], estimator[3 * dim + i]
            if not gradients:
                variance = (shrink + floor) * (square / (count - 1.0))
            elif grad_square > 0.0:
                variance = math.sqrt(square / grad_square)
            else:
                variance = math.inf
            if 1e-20 < variance < 1e20:  # a coordinate without a usable estimate keeps what it has
                scale[i] = math.sqrt(variance)

    @jit
    def set_dense(dim, count, products, scale, work):  # type: ignore[no-untyped-def]
        """Whether the estimate is positive definite and taken; otherwise nothing changes."""
        shrink, floor = count / (count + 5.0), 1e-3 * (5.0 / (count + 5.0))
        factor = work[: dim * dim]
        for i in range(dim):
            for j in range(i + 1):
                factor[i * dim + j] = shrink * (products[i * dim + j] / (count - 1.0))
            factor[i * dim + i] += floor * (products[i * dim + i] / (count - 1.0))
        if not cholesky(dim, factor):
            return False
        copy(factor, scale[: dim * dim])
        return True

    return uses_gradients, becomes_dense, add_draw, set_diagonal, set_dense
