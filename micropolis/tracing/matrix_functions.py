"""Eigenvalues of symmetric matrices and exponentials of matrices in the array program, with their derivatives.

    eigh   (A): n eigenvalues ascending, then the eigenvectors in the columns of (n, n); of A the lower triangle is
           read. data: n
    expm   (A): the matrix exponential. data: n

An eigenvector has a sign of its own in every library. Here its first component of at least 0.6 of the largest is
positive; a density that depends on the sign is not NumPy's, and the comparison with NumPy says so. Adjoints of
eigenvectors have the factors 1 / (w_j - w_i) (Giles 2008, "Collected matrix derivative results"), taken as 0 where
eigenvalues are equal: first derivatives of functions of the eigenvalues alone are right there, other derivatives lack
the terms of equal pairs.

The derivative of the exponential at A along E is a block of the exponential of ((A, E), (0, A)) (Van Loan 1978,
"Computing integrals involving the matrix exponential"), its adjoint the same with A transposed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .linalg_rules import MatrixRule, Moves, symmetric, transpose

if TYPE_CHECKING:
    from .graph import Graph, Node

Array = NDArray[np.float64]


# -- eigenvalues -----------------------------------------------------------------------------------------------------


def eigh(a: Array) -> Array:
    """NumPy's eigenvalues and eigenvectors with the signs of here, of a matrix whose lower triangle is read."""
    n = len(a)
    try:
        values, vectors = (
            np.linalg.eigh(a) if np.all(np.isfinite(np.tril(a))) else (np.full(n, np.nan), np.full((n, n), np.nan))
        )
    except np.linalg.LinAlgError:
        values, vectors = np.full(n, np.nan), np.full((n, n), np.nan)
    return np.concatenate([values, (vectors * signs(vectors)).reshape(-1)])


def signs(vectors: Array) -> Array:
    """The factor of each column by which its first component of at least 0.6 of the largest becomes positive."""
    size = np.abs(vectors)
    first = np.argmax(size >= 0.6 * np.max(size, axis=0), axis=0)
    return np.where(vectors[first, np.arange(len(vectors))] < 0, -1.0, 1.0)


def parts(node: Node, n: int) -> tuple[Node, Node]:
    """Of eigenvalues and eigenvectors, or their adjoints."""
    graph = node.graph
    return graph.gather(node, np.arange(n)), graph.gather(node, np.arange(n, n + n * n))


def _gaps(values: Node, n: int) -> Node:
    """1 / (w_j - w_i), 0 where both are equal."""
    graph = values.graph
    gap = graph.expand(values, 1, n, n) - graph.expand(values, n, n, 1)
    same = graph.apply("equal", gap, 0.0)
    return graph.where(same, 0.0, graph.apply("reciprocal", graph.where(same, 1.0, gap)))


def _eigh_adjoint(node: Node, d: Node) -> list[Node | None]:
    """V (diag(dw) + F * (V' dV)) V' for the lower triangle, F_ij = 1 / (w_j - w_i)."""
    from .zeros import known_zeros

    n, graph = node.data, node.graph
    values, vectors = parts(node, n)
    by_values, by_vectors = parts(d, n)
    inner = graph.assemble([by_values], [np.arange(n) * (n + 1)], n * n)
    zero = known_zeros(d)
    if zero is None or not np.all(np.broadcast_to(zero, (d.size,))[n:]):
        inner = inner + _gaps(values, n) * graph.matmul(vectors, by_vectors, n, n, n, True)
    whole = graph.matmul(graph.matmul(vectors, inner, n, n, n), vectors, n, n, n, False, True)
    both = whole + transpose(whole, n, n)
    return [both * graph.constant(np.tril(np.ones((n, n)), -1) + 0.5 * np.eye(n))]


def _eigh_tangent(node: Node, moves: Moves) -> Node | None:
    """dw = diag(V' dA V), dV = V (F * (V' dA V))."""
    assert moves[0] is not None
    n, graph = node.data, node.graph
    values, vectors = parts(node, n)
    moved = symmetric(graph.full(moves[0], n * n), n)
    inner = graph.matmul(vectors, graph.matmul(moved, vectors, n, n, n), n, n, n, True)
    of_vectors = graph.matmul(vectors, _gaps(values, n) * inner, n, n, n)
    return graph.concatenate([graph.gather(inner, np.arange(n) * (n + 1)), of_vectors])


# -- exponentials ----------------------------------------------------------------------------------------------------


def expm(a: Array) -> Array:
    """SciPy's exponential, NaN of a matrix that is not finite."""
    from scipy.linalg import expm as of

    result: Array = np.array(of(a)) if np.all(np.isfinite(a)) else np.full(a.shape, np.nan)
    return result


def exponential(a: Node, n: int) -> Node:
    graph: Graph = a.graph
    return graph.apply("exp", a) if n == 1 else graph.node("expm", (graph.full(a, n * n),), n, n * n)


def _along(a: Node, e: Node, n: int) -> Node:
    """The derivative of the exponential at `a` along `e`: the upper right block of that of ((a, e), (0, a))."""
    graph = e.graph
    numbers = np.arange(4 * n * n).reshape(2 * n, 2 * n)
    flat = [np.ravel(place) for place in (numbers[:n, :n], numbers[:n, n:], numbers[n:, n:])]
    block = graph.assemble([a, graph.full(e, n * n), a], flat, 4 * n * n)
    return graph.gather(exponential(block, 2 * n), flat[1])


def _expm_adjoint(node: Node, d: Node) -> list[Node | None]:
    n = node.data
    return [_along(transpose(node.args[0], n, n), d, n)]


def _expm_tangent(node: Node, moves: Moves) -> Node | None:
    assert moves[0] is not None
    return _along(node.args[0], moves[0], node.data)


MATRIX_FUNCTIONS: dict[str, MatrixRule] = {
    "eigh": MatrixRule(_eigh_adjoint, _eigh_tangent),
    "expm": MatrixRule(_expm_adjoint, _expm_tangent),
}
