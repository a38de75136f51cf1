"""Which elements of a node are surely zero: the triangles of the matrices that linear systems are made of."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from .graph import Graph, Node

Mask = NDArray[np.bool_]

# f(0) = 0
_KEEPS_ZERO = {
    "negative", "square", "sqrt", "cbrt", "absolute", "sign", "sin", "tan", "arcsin", "arctan", "sinh", "tanh",
    "arcsinh", "arctanh", "expm1", "log1p", "floor", "ceil", "erf",
}  # fmt: skip
_KNOWN = _KEEPS_ZERO | {
    "constant", "gather", "assemble", "expand", "multiply", "divide", "add", "subtract", "where", "guard", "maximum",
    "minimum", "fmax", "fmin", "cholesky", "triangular", "matmul",
}  # fmt: skip
# What was found, for each graph, by the numbers of its nodes; matrices beyond these rows are not multiplied.
_found: WeakKeyDictionary[Graph, dict[int, Mask | None]] = WeakKeyDictionary()
_MOST_ROWS = 1000


def known_zeros(node: Node) -> Mask | None:
    """A mask (size,) of elements that are zero for all parameters, or None if there are none."""
    found = _found.setdefault(node.graph, {})
    waiting = [node]
    while waiting:
        last = waiting[-1]
        if last.number not in found:
            below = [a for a in last.args if a.number not in found] if last.op in _KNOWN else []
            if below:
                waiting.extend(below)
                continue
            mask = _zeros(last, [found[a.number] for a in last.args]) if last.op in _KNOWN else None
            found[last.number] = None if mask is None or not np.any(mask) else mask
        waiting.pop()
    return found[node.number]


def _zeros(node: Node, masks: list[Mask | None]) -> Mask | None:
    op, data, none = node.op, node.data, all(mask is None for mask in masks)
    if op == "constant":
        return np.asarray(data == 0)
    if op == "cholesky":
        return np.triu(np.ones((data, data), dtype=bool), 1).reshape(-1)
    if op == "assemble":
        return _of_parts(node, masks)
    if op == "where":
        return _of_choice(node, masks)
    if none:
        return None
    full = [_full(mask, a.size) for mask, a in zip(masks, node.args, strict=True)]
    if op == "gather":
        return full[0][data]
    if op == "expand":
        a, r, b = data
        return np.repeat(full[0].reshape(a, 1, b), r, axis=1).reshape(-1)
    if op == "multiply":
        return np.broadcast_to(full[0] | full[1], (node.size,))
    if op == "divide":
        return np.broadcast_to(full[0], (node.size,))
    if op == "guard":
        return np.broadcast_to(full[1], (node.size,))
    if op == "triangular":
        return _of_substitution(node, full[1])
    if op == "matmul":
        return _of_product(node, full)
    if op in _KEEPS_ZERO:
        return full[0]
    return np.broadcast_to(full[0] & full[1], (node.size,))  # sums, maxima


def _full(mask: Mask | None, size: int) -> Mask:
    return np.zeros(size, dtype=bool) if mask is None else mask


def _of_parts(node: Node, masks: list[Mask | None]) -> Mask:
    zero = np.ones(node.size, dtype=bool)
    for part, place, mask in zip(node.args, node.data, masks, strict=True):
        numbers = np.arange(*place) if isinstance(place, tuple) else place
        some = np.broadcast_to(_full(mask, part.size), numbers.shape)
        zero[numbers[~some]] = False
    return zero


def _of_choice(node: Node, masks: list[Mask | None]) -> Mask | None:
    yes, no = (
        np.broadcast_to(_full(mask, a.size), (node.size,)) for mask, a in zip(masks[1:], node.args[1:], strict=True)
    )
    condition = node.args[0]
    return np.where(condition.data != 0, yes, no) if condition.is_constant else yes & no


def _of_substitution(node: Node, right: Mask) -> Mask:
    """Zeros of the right side stay until the first row, from where the substitution starts, that has another number."""
    n, m, lower, transposed, _ = node.data
    rows = right.reshape(n, m)
    if lower != transposed:
        return np.logical_and.accumulate(rows, axis=0).reshape(-1)
    return np.logical_and.accumulate(rows[::-1], axis=0)[::-1].reshape(-1)


def _of_product(node: Node, masks: list[Mask]) -> Mask | None:
    m, k, n, tx, ty = node.data
    if max(m, k, n) > _MOST_ROWS:
        return None
    x = masks[0].reshape(k, m).T if tx else masks[0].reshape(m, k)
    y = masks[1].reshape(n, k).T if ty else masks[1].reshape(k, n)
    return np.asarray(((~x).astype(np.float32) @ (~y).astype(np.float32)) == 0).reshape(-1)


def triangle_of(node: Node, n: int) -> Any:
    """The triangle outside of which a matrix is zero, "lower" or "upper", or "diagonal", or None."""
    mask = known_zeros(node)
    if mask is None:
        return None
    mask = np.broadcast_to(mask, (n * n,)).reshape(n, n)
    above, below = bool(np.all(mask[np.triu_indices(n, 1)])), bool(np.all(mask[np.tril_indices(n, -1)]))
    return "diagonal" if above and below else "lower" if above else "upper" if below else None
