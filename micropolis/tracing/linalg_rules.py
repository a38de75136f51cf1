"""Linear algebra in the array program: operations on whole matrices and their derivatives as nodes again.

Matrices are flat, in C order. The rules are those of Giles (2008), "Collected matrix derivative results for forward and
reverse mode algorithmic differentiation", and Murray (2016), "Differentiation of the Cholesky decomposition".

    cholesky           (A): lower factor of a matrix of which the lower triangle is read; NaN without one. data: n
    cholesky_adjoint   (L, adjoint of L): adjoint of the lower triangle. data: n
    triangular         (L, B): op(L)^-1 B, B (n, m). data: (n, m, lower, transposed, unit diagonal)
    lu                 (A): factors and row exchanges with partial pivoting, (n n + n,). data: n
    solve              (A, lu, B): op(A)^-1 B. data: (n, m, transposed)
    slogdet            (A, lu): sign and log |det|. data: n
    det, cofactor      (A, lu): determinant; its derivative, of singular matrices too. data: n
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .graph import Node

Moves = Sequence["Node | None"]


@dataclass(frozen=True)
class MatrixRule:
    """Derivatives of one operation.

    Attributes
    ----------
    adjoint : callable
        ``adjoint(node, adjoint of the node) -> one adjoint, or None, for each operand``.
    tangent : callable
        ``tangent(node, directions of the operands) -> direction of the node``.
    """

    adjoint: Callable[..., list[Node | None]]
    tangent: Callable[[Node, Moves], Node | None]


# -- pieces ----------------------------------------------------------------------------------------------------------


@cache
def _triangle(n: int, diagonal: float, off: float, lower: bool = True) -> NDArray[np.float64]:
    half = np.tril if lower else np.triu
    out: NDArray[np.float64] = half(np.full((n, n), off))
    np.fill_diagonal(out, diagonal)
    return out


def transpose(node: Node, rows: int, columns: int) -> Node:
    """(rows, columns) to (columns, rows)."""
    if 1 in (rows, columns):
        return node
    return node.graph.gather(node, np.arange(rows * columns).reshape(rows, columns).T)


def _within(node: Node, n: int, lower: bool = True, diagonal: float = 1.0) -> Node:
    """The triangle of a matrix, its diagonal times a factor."""
    return node * node.graph.constant(_triangle(n, diagonal, 1.0, lower))


def symmetric(node: Node, n: int) -> Node:
    """A matrix of which the lower triangle counts."""
    numbers = np.arange(n * n).reshape(n, n)
    return node.graph.gather(node, np.tril(numbers) + np.tril(numbers, -1).T)


def triangular(factor: Node, right: Node, n: int, m: int, lower: bool, transposed: bool, unit: bool = False) -> Node:
    graph = factor.graph if factor.depends else right.graph
    return graph.node("triangular", (factor, right), (n, m, bool(lower), bool(transposed), bool(unit)), n * m)


def factorised(a: Node, n: int) -> Node:
    if a.is_constant:
        return a.graph.constant(lu(a.data.reshape(n, n)))
    return a.graph.node("lu", (a,), n, n * n + n)


def lu(a: NDArray[np.float64]) -> NDArray[np.float64]:
    """Factors (n, n) of a matrix and its row exchanges (n,), one after the other as in LAPACK's getrf, from 0."""
    factors, n = a.copy(), len(a)
    exchanges = np.arange(n, dtype=np.float64)
    with np.errstate(all="ignore"):
        for k in range(n):
            j = k + int(np.argmax(np.abs(factors[k:, k])))
            exchanges[k] = j
            factors[[k, j]] = factors[[j, k]]
            if factors[k, k] != 0:
                factors[k + 1 :, k] /= factors[k, k]
                factors[k + 1 :, k + 1 :] -= np.multiply.outer(factors[k + 1 :, k], factors[k, k + 1 :])
    return np.concatenate([factors.reshape(-1), exchanges])


def solve(a: Node, right: Node, n: int, m: int, transposed: bool = False) -> Node:
    return a.graph.node("solve", (a, factorised(a, n), right), (n, m, bool(transposed)), n * m)


# -- Cholesky --------------------------------------------------------------------------------------------------------


def _cholesky_adjoint(node: Node, d: Node) -> list[Node | None]:
    return [node.graph.node("cholesky_adjoint", (node, d), node.data, node.size)]


def _cholesky_tangent(node: Node, moves: Moves) -> Node | None:
    """L phi(L^-1 dA L^-T), phi the lower triangle with half of the diagonal."""
    n, graph = node.data, node.graph
    assert moves[0] is not None
    inner = triangular(node, symmetric(moves[0], n), n, n, True, False)
    inner = triangular(node, transpose(inner, n, n), n, n, True, False)
    return graph.matmul(node, _within(inner, n, diagonal=0.5), n, n, n)


def written_out(node: Node) -> Node:
    """cholesky_adjoint in operations that have derivatives: L^-T phi(L' d) L^-1, for the lower triangle alone."""
    (factor, d), n, graph = node.args, node.data, node.graph
    inner = _within(graph.matmul(factor, d, n, n, n, True), n, diagonal=0.5)
    left = triangular(factor, inner, n, n, True, True)
    both = triangular(factor, transpose(left, n, n), n, n, True, True)  # its transpose
    return _within(both + transpose(both, n, n), n, diagonal=0.5)


def _written_adjoint(node: Node, d: Node) -> list[Node | None]:
    """By the adjoints of the operations that it is written out in."""
    from .derivatives import vector_product

    return vector_product(written_out(node), d, node.args)


def _written_tangent(node: Node, moves: Moves) -> Node | None:
    from .derivatives import tangent

    return tangent([written_out(node)], {a: m for a, m in zip(node.args, moves, strict=True) if m is not None})[0]


# -- linear systems --------------------------------------------------------------------------------------------------


def _triangular_adjoint(node: Node, d: Node) -> list[Node | None]:
    (factor, right), (n, m, lower, transposed, unit), graph = node.args, node.data, node.graph
    to_right = triangular(factor, d, n, m, lower, not transposed, unit)
    to_factor = None
    if factor.depends:
        pair = (node, to_right) if transposed else (to_right, node)
        outer = graph.matmul(*pair, n, m, n, False, True)
        to_factor = -_within(outer, n, lower, 0.0 if unit else 1.0)
    return [to_factor, to_right if right.depends else None]


def _triangular_tangent(node: Node, moves: Moves) -> Node | None:
    (factor, _), (n, m, lower, transposed, unit), graph = node.args, node.data, node.graph
    change = moves[1]
    if moves[0] is not None:
        moved = _within(graph.full(moves[0], n * n), n, lower, 0.0 if unit else 1.0)
        part = -graph.matmul(moved, node, n, n, m, transposed)
        change = part if change is None else change + part
    assert change is not None
    return triangular(factor, graph.full(change, n * m), n, m, lower, transposed, unit)


def _solve_adjoint(node: Node, d: Node) -> list[Node | None]:
    (a, _, right), (n, m, transposed), graph = node.args, node.data, node.graph
    to_right = solve(a, d, n, m, not transposed)
    to_a = None
    if a.depends:
        pair = (node, to_right) if transposed else (to_right, node)
        to_a = -graph.matmul(*pair, n, m, n, False, True)
    return [to_a, None, to_right if right.depends else None]


def _solve_tangent(node: Node, moves: Moves) -> Node | None:
    (a, _, _), (n, m, transposed), graph = node.args, node.data, node.graph
    change = moves[2]
    if moves[0] is not None:
        part = -graph.matmul(graph.full(moves[0], n * n), node, n, n, m, transposed)
        change = part if change is None else change + part
    assert change is not None
    return solve(a, graph.full(change, n * m), n, m, transposed)


def _none(node: Node, d: Any) -> list[Node | None]:
    return [None] * len(node.args)


def _still(node: Node, moves: Moves) -> None:
    return None


# -- determinants ----------------------------------------------------------------------------------------------------


def _inverse_transposed(a: Node, n: int) -> Node:
    return solve(a, a.graph.constant(np.eye(n)), n, n, True)


def _slogdet_adjoint(node: Node, d: Node) -> list[Node | None]:
    return [node.graph.gather(d, [1]) * _inverse_transposed(node.args[0], node.data), None]


def _slogdet_tangent(node: Node, moves: Moves) -> Node | None:
    graph, n = node.graph, node.data
    assert moves[0] is not None
    slope = graph.total(graph.full(moves[0], n * n) * _inverse_transposed(node.args[0], n))
    return graph.assemble([slope], [(1, 2)], 2)


def _cofactor(node: Node) -> Node:
    return node.graph.node("cofactor", node.args, node.data, node.data**2)


def _det_adjoint(node: Node, d: Node) -> list[Node | None]:
    return [d * _cofactor(node), None]


def _det_tangent(node: Node, moves: Moves) -> Node | None:
    assert moves[0] is not None
    return node.graph.total(node.graph.full(moves[0], node.data**2) * _cofactor(node))


def _cofactor_written(node: Node) -> Node:
    n = node.data
    return node.graph.node("det", node.args, n, 1) * _inverse_transposed(node.args[0], n)


def _cofactor_adjoint(node: Node, d: Node) -> list[Node | None]:
    from .derivatives import vector_product

    return vector_product(_cofactor_written(node), d, node.args)


def _cofactor_tangent(node: Node, moves: Moves) -> Node | None:
    from .derivatives import tangent

    assert moves[0] is not None
    return tangent([_cofactor_written(node)], {node.args[0]: moves[0]})[0]


LINALG: dict[str, MatrixRule] = {
    "cholesky": MatrixRule(_cholesky_adjoint, _cholesky_tangent),
    "cholesky_adjoint": MatrixRule(_written_adjoint, _written_tangent),
    "triangular": MatrixRule(_triangular_adjoint, _triangular_tangent),
    "lu": MatrixRule(_none, _still),
    "solve": MatrixRule(_solve_adjoint, _solve_tangent),
    "slogdet": MatrixRule(_slogdet_adjoint, _slogdet_tangent),
    "det": MatrixRule(_det_adjoint, _det_tangent),
    "cofactor": MatrixRule(_cofactor_adjoint, _cofactor_tangent),
}
