"""Cholesky factors, linear systems and determinants of traced matrices, written out in scalar expressions."""

from __future__ import annotations

from typing import Any

import casadi as ca
import numpy as np

from .tracing import FUNCTIONS, NeedsScalars, Traced, Untraceable, function, is_traced, kind_of, lift
from .tracing_functions import to_column, to_matrix

# A dense factorisation of n rows becomes n^3 / 3 scalar operations; beyond this many rows the graph is too large.
MAX_ROWS = 160


def _square(name: str, a: Any) -> tuple[Any, int]:
    if np.ndim(a) != 2 or np.shape(a)[0] != np.shape(a)[1]:
        raise Untraceable(f"np.linalg.{name} is traced for one square matrix, got shape {np.shape(a)}")
    n = np.shape(a)[0]
    if n > MAX_ROWS:
        raise Untraceable(f"np.linalg.{name} of {n} rows is too large to trace (at most {MAX_ROWS})")
    return a, n


def _scalar_matrix(name: str, a: Any, *others: Any) -> tuple[Any, int]:
    a, n = _square(name, a)
    if kind_of(a, *others) is not ca.SX:
        raise NeedsScalars(f"np.linalg.{name} needs scalar expressions")
    return ca.SX(to_matrix(lift(a, ca.SX), n, n)), n


@function(np.linalg.cholesky)
def _cholesky(a: Any, *, upper: bool = False) -> Any:
    matrix, n = _scalar_matrix("cholesky", a)
    columns: list[Any] = []
    for j in range(n):
        below = matrix[j:, j]
        if j:
            done = ca.horzcat(*(column[j:] for column in columns))
            below = below - ca.mtimes(done, done[0, :].T)
        columns.append(ca.vertcat(ca.SX.zeros(j, 1), below / ca.sqrt(below[0])))
    factor = ca.horzcat(*columns)
    return Traced(to_column(ca.densify(factor.T if upper else factor)), (n, n))


def _substitute(matrix: Any, right: Any, lower: bool) -> Any:
    """Solve a triangular system, row by row."""
    n = matrix.shape[0]
    solution: list[Any] = []
    for i in range(n) if lower else range(n - 1, -1, -1):
        row = right[i, :]
        if solution:
            known = ca.vertcat(*solution) if lower else ca.vertcat(*reversed(solution))
            row = row - ca.mtimes(matrix[i, :i] if lower else matrix[i, i + 1 :], known)
        solution.append(row / matrix[i, i])
    return ca.vertcat(*solution) if lower else ca.vertcat(*reversed(solution))


def _is_zero(matrix: Any, upper: bool) -> bool:
    n = matrix.shape[0]
    strict = [matrix[i, j] if upper else matrix[j, i] for i in range(n) for j in range(i + 1, n)]
    return all(element.is_zero() for element in strict)


def _lu(matrix: Any) -> tuple[Any, Any]:
    """Unit lower and upper factor without pivoting: stable for positive definite matrices."""
    n = matrix.shape[0]
    work, lower = matrix, ca.SX.eye(n)
    upper = []
    for k in range(n):
        pivot = work[0, :]
        upper.append(ca.horzcat(ca.SX.zeros(1, k), pivot))
        if k + 1 < n:
            factor = work[1:, 0] / pivot[0]
            lower[k + 1 :, k] = factor
            work = work[1:, 1:] - ca.mtimes(factor, pivot[1:])
    return ca.densify(lower), ca.vertcat(*upper)


def _positive_definite(matrix: Any) -> bool:
    """Whether the matrix is symmetric positive definite at two random points, as covariance matrices are everywhere."""
    symbols = ca.symvar(matrix)
    evaluate = ca.Function("matrix", [ca.vertcat(*symbols)], [matrix])
    for point in np.random.default_rng(30).normal(scale=0.5, size=(2, len(symbols))):
        numbers = evaluate(point).full()
        if not np.allclose(numbers, numbers.T, rtol=1e-12, atol=0) or np.min(np.linalg.eigvalsh(numbers)) <= 0:
            return False
    return True


@function(np.linalg.solve)
def _solve(a: Any, b: Any) -> Any:
    if not is_traced(a) and not isinstance(a, (list, tuple)):
        return np.matmul(np.linalg.inv(a), b)
    matrix, n = _scalar_matrix("solve", a, b)
    shape = np.shape(b)
    if len(shape) not in (1, 2) or shape[0] != n:
        raise Untraceable(f"np.linalg.solve is traced for b of shape ({n},) or ({n}, k), got {shape}")
    right = ca.SX(to_matrix(lift(b, ca.SX), n, shape[1] if len(shape) == 2 else 1))
    if _is_zero(matrix, upper=True):
        solution = _substitute(matrix, right, lower=True)
    elif _is_zero(matrix, upper=False):
        solution = _substitute(matrix, right, lower=False)
    elif _positive_definite(matrix):
        lower, upper = _lu(matrix)
        solution = _substitute(upper, _substitute(lower, right, lower=True), lower=False)
    else:
        q, r = ca.qr(matrix)
        solution = _substitute(r, ca.mtimes(q.T, right), lower=False)
    return Traced(to_column(solution), shape)


@function(np.linalg.inv)
def _inv(a: Any) -> Any:
    return _solve(a, np.eye(len(a)))


def _pivots(name: str, a: Any) -> Any:
    """Numbers whose product is the determinant."""
    matrix, n = _scalar_matrix(name, a)
    if _is_zero(matrix, upper=True) or _is_zero(matrix, upper=False):
        return Traced(ca.diag(matrix), (n,))
    pivots = ca.diag(_lu(matrix)[1])
    if not _positive_definite(matrix):  # signs want no accuracy, sizes do
        pivots = ca.sign(pivots) * ca.fabs(ca.diag(ca.qr(matrix)[1]))
    return Traced(pivots, (n,))


@function(np.linalg.slogdet)
def _slogdet(a: Any) -> Any:
    pivots = _pivots("slogdet", a)
    return np.prod(np.sign(pivots)), np.sum(np.log(np.abs(pivots)))


FUNCTIONS[np.linalg.det] = lambda a: np.prod(_pivots("det", a))
