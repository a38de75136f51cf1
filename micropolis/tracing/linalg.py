"""Cholesky factors, linear systems and determinants of traced matrices, as nodes; importing this fills FUNCTIONS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import linalg_rules as rules
from . import matrix_functions
from .arrays import FUNCTIONS, Traced, concrete, function, graph_of, is_traced, lift, move
from .graph import Node
from .products import untransposed
from .zeros import known_zeros, triangle_of

# NumPy without its type stubs, which know nothing of traced arguments
_np: Any = np
_SlogdetResult: Any = type(np.linalg.slogdet(np.eye(1)))
_EighResult: Any = type(np.linalg.eigh(np.eye(1)))


def _square(name: str, a: Traced) -> int:
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise np.linalg.LinAlgError(f"np.linalg.{name}: expected square matrices, got an array of shape {a.shape}")
    return a.shape[-1]


def _known(of: Callable[..., Any], *values: Any, **kwargs: Any) -> Any:
    """NumPy's own result where nothing depends on the parameters, or None."""
    plain = [concrete(v) for v in values]
    return None if any(map(is_traced, plain)) else of(*plain, **kwargs)


def _each(of: Callable[[Traced], Any], a: Traced) -> Any:
    """A function of one matrix for every matrix of a stack."""
    if a.ndim == 2:
        return of(a)
    lead = a.shape[:-2]
    results = [of(a[i]) for i in np.ndindex(*lead)]
    if isinstance(results[0], tuple):
        return tuple(_np.reshape(_np.stack(parts), lead) for parts in zip(*results, strict=True))
    stack = _np.stack(results)
    return _np.reshape(stack, lead + stack.shape[1:])


# -- triangles -------------------------------------------------------------------------------------------------------


def _half(func: Any, upper: bool) -> Callable[..., Any]:
    """np.tril or np.triu: a matrix that has zeros there already is what it is."""

    def implementation(m: Any, k: int = 0) -> Any:
        array = lift(m, graph_of(m))
        mask = known_zeros(array.flat) if array.ndim == 2 else None
        if mask is not None:
            rows, columns = np.indices(array.shape)
            gone = columns - rows < k if upper else columns - rows > k
            if np.all(np.broadcast_to(mask, (array.size,)).reshape(array.shape)[gone]):
                return Traced(array.flat, array.shape, array.dtype)
        return move(func, (array, k), {})

    return implementation


FUNCTIONS[np.tril], FUNCTIONS[np.triu] = _half(np.tril, False), _half(np.triu, True)


@function(np.linalg.cholesky)
def _cholesky(a: Any, /, *, upper: bool = False) -> Any:
    if (known := _known(np.linalg.cholesky, a, upper=upper)) is not None:
        return known
    a = lift(a, graph_of(a))
    n = _square("cholesky", a)

    def one(matrix: Traced) -> Any:
        node = matrix.full()
        if upper:  # the upper triangle is read
            node = rules.transpose(node, n, n)
        factor = Traced(node.graph.node("cholesky", (node,), n, n * n), (n, n))
        return factor.T if upper else factor

    return _each(one, a)


# -- linear systems --------------------------------------------------------------------------------------------------


def solution(a: Node, right: Node, n: int, m: int) -> Node:
    """a^-1 right, by substitution where a is triangular."""
    shape = triangle_of(a, n)
    if shape is not None:
        lower = shape != "upper"
        base, transposed = untransposed(a, n, n)
        return rules.triangular(base, right, n, m, lower != transposed, transposed)
    return rules.solve(a, right, n, m)


@function(np.linalg.solve)
def _solve(a: Any, b: Any) -> Any:
    if (known := _known(np.linalg.solve, a, b)) is not None:
        return known
    graph = graph_of(a, b)
    a, b = lift(a, graph), lift(b, graph)
    n = _square("solve", a)
    vector = b.ndim == 1
    rows = b.shape[0] if vector else b.shape[-2] if b.ndim else 0
    if rows != n:
        raise ValueError(f"np.linalg.solve: matrices of {n} rows, right sides of shape {b.shape}")
    if a.ndim == 2 and b.ndim <= 2:
        m = 1 if vector else b.shape[1]
        if 0 in (n, m):
            return Traced(graph.constant(np.empty(0)), b.shape)
        return Traced(solution(a.full(), b.full(), n, m), b.shape)
    if vector:
        b = _np.reshape(b, (n, 1))
    if a.ndim == 2:  # one factorisation for all right sides
        lead, m = b.shape[:-2], b.shape[-1]
        wide = _np.reshape(_np.moveaxis(b, -2, 0), (n, -1))
        result = _np.moveaxis(_np.reshape(_solve(a, wide), (n, *lead, m)), 0, -2)
    else:
        lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        a, b = (_np.broadcast_to(v, (*lead, *v.shape[-2:])) for v in (a, b))
        result = _np.reshape(_np.stack([_solve(a[i], b[i]) for i in np.ndindex(*lead)]), b.shape)
    return result[..., 0] if vector else result


@function(np.linalg.inv)
def _inv(a: Any) -> Any:
    if (known := _known(np.linalg.inv, a)) is not None:
        return known
    a = lift(a, graph_of(a))
    n = _square("inv", a)
    return _each(lambda matrix: _solve(matrix, np.eye(n)), a)


# -- determinants ----------------------------------------------------------------------------------------------------


def _diagonal(node: Node, n: int) -> Traced | None:
    """The diagonal of a triangular matrix."""
    return Traced(node.graph.gather(node, np.arange(n) * (n + 1)), (n,)) if triangle_of(node, n) else None


def _expanded(a: Any) -> Any:
    """The determinant of a matrix of 1, 2 or 3 rows by its first row."""
    if len(a) == 1:
        return a[0, 0]
    if len(a) == 2:
        return a[0, 0] * a[1, 1] - a[0, 1] * a[1, 0]
    return _np.dot(a[0], _np.cross(a[1], a[2]))


@function(np.linalg.slogdet)
def _slogdet(a: Any) -> Any:
    if (known := _known(np.linalg.slogdet, a)) is not None:
        return known
    a = lift(a, graph_of(a))
    n = _square("slogdet", a)

    def one(matrix: Traced) -> Any:
        node = matrix.full()
        if (diagonal := _diagonal(node, n)) is not None:
            return _np.prod(_np.sign(diagonal)), _np.sum(_np.log(_np.abs(diagonal)))
        both = node.graph.node("slogdet", (node, rules.factorised(node, n)), n, 2)
        return Traced(node.graph.gather(both, [0]), ()), Traced(node.graph.gather(both, [1]), ())

    return _SlogdetResult(*_each(one, a))


@function(np.linalg.det)
def _det(a: Any) -> Any:
    if (known := _known(np.linalg.det, a)) is not None:
        return known
    a = lift(a, graph_of(a))
    n = _square("det", a)

    def one(matrix: Traced) -> Any:
        node = matrix.full()
        if (diagonal := _diagonal(node, n)) is not None:
            return _np.prod(diagonal)
        if n <= 3:  # derivatives of every order, of singular matrices too
            return _expanded(matrix)
        return Traced(node.graph.node("det", (node, rules.factorised(node, n)), n, 1), ())

    return _each(one, a)


# -- eigenvalues and functions of matrices ---------------------------------------------------------------------------


def _eigen(a: Any, upper: bool) -> tuple[Any, Any]:
    """Eigenvalues (..., n) and eigenvectors (..., n, n) of symmetric matrices of which one triangle is read."""
    n = _square("eigh", a)
    values, vectors = [], []
    for i in np.ndindex(*a.shape[:-2]):
        node = a[i].full()
        if upper:
            node = rules.transpose(node, n, n)
        both = node.graph.node("eigh", (node,), n, n + n * n)
        of_values, of_vectors = matrix_functions.parts(both, n)
        values.append(Traced(of_values, (n,)))
        vectors.append(Traced(of_vectors, (n, n)))
    if a.ndim == 2:
        return values[0], vectors[0]
    return _np.reshape(_np.stack(values), a.shape[:-1]), _np.reshape(_np.stack(vectors), a.shape)


def _triangle_read(name: str, a: Any, triangle: str) -> tuple[Any, bool]:
    if (letter := triangle.upper()) not in ("L", "U"):
        raise ValueError(f"np.linalg.{name}: UPLO must be 'L' or 'U', got {triangle!r}")
    return lift(a, graph_of(a)), letter == "U"


@function(np.linalg.eigh)
def _eigh(a: Any, UPLO: str = "L") -> Any:
    if (known := _known(np.linalg.eigh, a, UPLO=UPLO)) is not None:
        return known
    return _EighResult(*_eigen(*_triangle_read("eigh", a, UPLO)))


@function(np.linalg.eigvalsh)
def _eigvalsh(a: Any, UPLO: str = "L") -> Any:
    if (known := _known(np.linalg.eigvalsh, a, UPLO=UPLO)) is not None:
        return known
    return _eigen(*_triangle_read("eigvalsh", a, UPLO))[0]


def expm(a: Any) -> Any:
    """The exponential of each matrix."""
    a = lift(a, graph_of(a))
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ValueError(f"scipy.linalg.expm: expected square matrices, got an array of shape {a.shape}")
    n = a.shape[-1]
    return _each(lambda matrix: Traced(matrix_functions.exponential(matrix.full(), n), (n, n)), a)
