"""Products of vectors, matrices and stacks of them; importing this fills UFUNCS and FUNCTIONS."""

from __future__ import annotations

import functools
import math
import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from .arrays import FLOAT, FUNCTIONS, INT, UFUNCS, Traced, Untraceable, function, graph_of, is_traced, lift, number
from .graph import Graph, Node
from .sparse import is_sparse, product_with

# NumPy without its type stubs, which know nothing of traced arguments
_np: Any = np

# Stacks of products with fewer multiplications than this each are multiplied elementwise and summed.
SMALL_PRODUCT = 512


# -- matrices --------------------------------------------------------------------------------------------------------


def untransposed(node: Node, rows: int, columns: int) -> tuple[Node, bool]:
    """A matrix (rows, columns), or the one that it is the transpose of and True."""
    if node.op == "gather" and 1 not in (rows, columns) and node.args[0].size == rows * columns:
        order = node.data.reshape(rows, columns)
        if order[0, 0] == 0 and order[0, 1] == rows and np.array_equal(order, _transposition(rows, columns)):
            return node.args[0], True
    return node, False


@functools.lru_cache(maxsize=64)
def _transposition(rows: int, columns: int) -> Any:
    return np.arange(rows * columns).reshape(columns, rows).T


def _matrix(value: Any, graph: Graph, rows: int, columns: int) -> tuple[Node, bool]:
    """The elements of a matrix, and whether they lie transposed; known matrices lie with their longer side first."""
    if isinstance(value, Traced) and not value.flat.is_constant:
        return untransposed(value.full(), rows, columns)
    array = value.full().data.reshape(rows, columns) if isinstance(value, Traced) else value
    if rows < columns and rows > 1:
        return graph.constant(array.T), True
    return graph.constant(array), False


def multiply(a: Any, b: Any, graph: Graph, m: int, k: int, n: int) -> Node:
    """(m, k) times (k, n), traced or plain."""
    (x, tx), (y, ty) = _matrix(a, graph, m, k), _matrix(b, graph, k, n)
    return graph.matmul(x, y, m, k, n, tx, ty)


def _operand(value: Any, graph: Graph) -> Any:
    """A traced array, or a plain one of numbers."""
    if isinstance(value, Traced):
        return value
    if is_traced(value):
        return lift(value, graph)
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise Untraceable(f"an array of dtype {array.dtype} cannot be traced")
    return array


def _dtype(*operands: Any) -> Any:
    kinds = [operand.dtype.kind for operand in operands]
    if "f" in kinds:
        return FLOAT
    if all(kind == "b" for kind in kinds):
        raise Untraceable("a matrix product of booleans: convert them by astype(float)")
    return INT


def _matmul(a: Any, b: Any) -> Any:
    if is_sparse(b):
        return product_with(a, b)
    graph = graph_of(a, b)
    a, b = _operand(a, graph), _operand(b, graph)
    left, right = a.shape, b.shape
    if not left or not right:
        raise ValueError("matmul: an operand is a scalar")
    k, other = left[-1], right[-2] if len(right) > 1 else right[0]
    if k != other:
        raise ValueError(f"matmul: shapes {left} and {right} do not match")
    dtype = _dtype(a, b)
    if len(left) <= 2 and len(right) <= 2:
        m, n = left[0] if len(left) == 2 else 1, right[1] if len(right) == 2 else 1
        shape = (*left[:-1], *right[1:])
        if 0 in (m, k, n):
            return Traced(graph.constant(np.zeros(m * n)), shape, dtype)
        return Traced(multiply(a, b, graph, m, k, n), shape, dtype)
    if len(left) == 1:
        return _np.squeeze(_matmul(_np.reshape(a, (1, k)), b), axis=-2)
    if len(right) == 1:
        return _np.squeeze(_matmul(a, _np.reshape(b, (k, 1))), axis=-1)
    return _stacked(a, b, graph)


def _stacked(a: Any, b: Any, graph: Graph) -> Any:
    """Products of stacks (..., m, k) and (..., k, n)."""
    (m, k), n = a.shape[-2:], b.shape[-1]
    if b.ndim == 2:  # one matrix product with all rows
        return _np.reshape(_matmul(_np.reshape(a, (-1, k)), b), (*a.shape[:-1], n))
    if a.ndim == 2:
        product = _matmul(a, _np.reshape(_np.moveaxis(b, -2, 0), (k, -1)))
        return _np.moveaxis(_np.reshape(product, (m, *b.shape[:-2], n)), 0, -2)
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    if m * k * n < SMALL_PRODUCT or 0 in (*batch, m, k, n):
        return _np.sum(a[..., :, :, None] * b[..., None, :, :], axis=-2)
    a, b = (_np.broadcast_to(v, (*batch, *v.shape[-2:])) for v in (a, b))
    return _np.reshape(_np.stack([_matmul(a[i], b[i]) for i in np.ndindex(*batch)]), (*batch, m, n))


def _whole(implementation: Any) -> Any:
    implementation.whole = True
    return implementation


UFUNCS["matmul"] = _whole(_matmul)
UFUNCS["vecdot"] = _whole(lambda a, b: _np.sum(_np.multiply(a, b), axis=-1))
UFUNCS["matvec"] = _whole(lambda a, b: _matmul(a, _np.expand_dims(b, -1))[..., 0])
UFUNCS["vecmat"] = _whole(lambda a, b: _matmul(_np.expand_dims(a, -2), b)[..., 0, :])
FUNCTIONS[np.linalg.matmul], FUNCTIONS[np.linalg.vecdot] = _matmul, UFUNCS["vecdot"]


# -- NumPy's other products ------------------------------------------------------------------------------------------


@function(np.tensordot, np.linalg.tensordot)
def _tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    graph = graph_of(a, b)
    a, b = _operand(a, graph), _operand(b, graph)
    if np.ndim(axes) == 0:
        axes_a, axes_b = tuple(range(a.ndim - axes, a.ndim)), tuple(range(axes))
    else:
        axes_a, axes_b = (tuple(v) if np.ndim(v) else (v,) for v in axes)
    axes_a, axes_b = tuple(i % a.ndim for i in axes_a), tuple(i % b.ndim for i in axes_b)
    if [a.shape[i] for i in axes_a] != [b.shape[i] for i in axes_b]:
        raise ValueError("shape-mismatch for sum")
    rest_a, rest_b = ([i for i in range(v.ndim) if i not in used] for v, used in ((a, axes_a), (b, axes_b)))
    k = math.prod(a.shape[i] for i in axes_a)
    left = _np.reshape(_np.transpose(a, (*rest_a, *axes_a)), (-1, k) if k else (0, 0))
    right = _np.reshape(_np.transpose(b, (*axes_b, *rest_b)), (k, -1) if k else (0, 0))
    shape = (*(a.shape[i] for i in rest_a), *(b.shape[i] for i in rest_b))
    result = _np.reshape(_matmul(left, right), shape)
    return number(result)


@function(np.dot)
def _dot(a: Any, b: Any, out: Any = None) -> Any:
    if out is not None:
        raise Untraceable("the argument out of np.dot cannot be traced")
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return _np.multiply(a, b)
    return _matmul(a, b) if np.ndim(b) <= 2 and np.ndim(a) <= 2 else _tensordot(a, b, ((-1,), (-2,)))


@function(np.inner)
def _inner(a: Any, b: Any) -> Any:
    return _np.multiply(a, b) if np.ndim(a) == 0 or np.ndim(b) == 0 else _tensordot(a, b, ((-1,), (-1,)))


@function(np.kron)
def _kron(a: Any, b: Any) -> Any:
    graph = graph_of(a, b)
    a, b = _operand(a, graph), _operand(b, graph)
    ndim = max(a.ndim, b.ndim)
    left, right = ((1,) * (ndim - v.ndim) + v.shape for v in (a, b))
    wide = _np.reshape(a, [n for size in left for n in (size, 1)]) * _np.reshape(
        b, [n for size in right for n in (1, size)]
    )
    return _np.reshape(wide, [i * j for i, j in zip(left, right, strict=True)])


@function(np.outer, np.linalg.outer)
def _outer(a: Any, b: Any, out: Any = None) -> Any:
    graph = graph_of(a, b)
    return _np.ravel(_operand(a, graph))[:, None] * _np.ravel(_operand(b, graph))[None, :]


FUNCTIONS[np.vdot] = lambda a, b: _matmul(_np.ravel(a), _np.ravel(b))
FUNCTIONS[np.trace] = lambda a, offset=0, axis1=0, axis2=1, dtype=None, out=None: _np.sum(
    _np.diagonal(a, offset, axis1, axis2), axis=-1
)
FUNCTIONS[np.linalg.trace] = lambda x, offset=0, dtype=None: _np.trace(x, offset, -2, -1)
FUNCTIONS[np.linalg.diagonal] = lambda x, offset=0: _np.diagonal(x, offset, -2, -1)


@function(np.linalg.multi_dot)
def _multi_dot(arrays: Sequence[Any], *, out: Any = None) -> Any:
    arrays = list(arrays)
    if np.ndim(arrays[-1]) == 1:
        return functools.reduce(lambda right, left: _np.dot(left, right), arrays[::-1])
    return functools.reduce(_np.dot, arrays)


@function(np.linalg.matrix_power)
def _matrix_power(a: Any, n: int) -> Any:
    if n < 0:
        a, n = _np.linalg.inv(a), -n
    if n == 0:
        return a * 0 + np.eye(a.shape[-1])
    result = None
    while n:
        if n % 2:
            result = a if result is None else _np.matmul(result, a)
        a, n = (_np.matmul(a, a) if n > 1 else a), n // 2
    return result


@function(np.polyval)
def _polyval(p: Any, x: Any) -> Any:
    graph = graph_of(p, x)
    p, x = _operand(p, graph), _operand(x, graph)
    if p.shape[0] < 2:
        return p[0] + 0.0 * x if p.shape[0] else 0.0 * x
    return functools.reduce(lambda total, c: total * x + c, [p[i] for i in range(p.shape[0])])


# -- einsum ----------------------------------------------------------------------------------------------------------


def _letters(subscripts: str, operands: Sequence[Any]) -> tuple[list[str], str]:
    """Labels of the operands and of the result; an ellipsis is written out in letters that are not used."""
    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    labels = inputs.split(",")
    if len(labels) != len(operands):
        raise ValueError("einsum: the subscripts name another number of operands")
    free = [c for c in string.ascii_letters if c not in subscripts]
    wide = ""
    for i, (text, operand) in enumerate(zip(labels, operands, strict=True)):
        if "..." in text:
            count = operand.ndim - len(text) + 3
            letters = "".join(free[:count][::-1])
            labels[i] = text.replace("...", letters)
            wide = max(wide, letters, key=len)
        if len(labels[i]) != operand.ndim:
            raise ValueError(f"einsum: {text!r} does not name the axes of an operand of shape {operand.shape}")
    everything = "".join(labels)
    if not arrow:
        output = wide + "".join(sorted(c for c in set(everything) if everything.count(c) == 1 and c not in wide))
    output = output.replace("...", wide)
    if not set(output) <= set(everything) or len(set(output)) < len(output):
        raise ValueError(f"einsum: the output {output!r} does not fit the subscripts")
    return labels, output


def _diagonals(operand: Any, text: str, sizes: dict[str, int]) -> tuple[Any, str]:
    """An operand with every label once, without axes along which it has one element and others have more."""
    once = "".join(dict.fromkeys(text))
    if len(once) < len(text):
        grid = dict(zip(once, np.ix_(*(np.arange(operand.shape[text.index(c)]) for c in once)), strict=True))
        operand = operand[tuple(grid[c] for c in text)]
    narrow = tuple(i for i, c in enumerate(once) if operand.shape[i] == 1 and sizes[c] > 1)
    if narrow:
        operand = _np.squeeze(operand, axis=narrow)
        once = "".join(c for i, c in enumerate(once) if i not in narrow)
    return operand, once


def _pair(a: Any, left: str, b: Any, right: str, keep: set[str]) -> tuple[Any, str]:
    """The product of two operands, summed over the labels that are not kept."""
    a, left = _summed(a, left, keep | set(right))
    b, right = _summed(b, right, keep | set(left))
    batch = [c for c in left if c in right and c in keep]
    summed = [c for c in left if c in right and c not in keep]
    rows, columns = [c for c in left if c not in right], [c for c in right if c not in left]
    if not summed:  # elementwise
        every = left + "".join(columns)
        return _spread(a, left, every) * _spread(b, right, every), every
    sizes = dict(zip(left + right, a.shape + b.shape, strict=True))
    x = _np.transpose(a, [left.index(c) for c in (*batch, *rows, *summed)])
    y = _np.transpose(b, [right.index(c) for c in (*batch, *summed, *columns)])
    lead, k = [sizes[c] for c in batch], math.prod(sizes[c] for c in summed)
    x = _np.reshape(x, (*lead, math.prod(sizes[c] for c in rows), k))
    y = _np.reshape(y, (*lead, k, math.prod(sizes[c] for c in columns)))
    every = "".join([*batch, *rows, *columns])
    return _np.reshape(_np.matmul(x, y), [sizes[c] for c in every]), every


def _summed(a: Any, labels: str, keep: set[str]) -> tuple[Any, str]:
    axes = tuple(i for i, c in enumerate(labels) if c not in keep)
    return (_np.sum(a, axis=axes), "".join(c for c in labels if c in keep)) if axes else (a, labels)


def _spread(a: Any, labels: str, every: str) -> Any:
    """An operand with axes of one element for the labels that it has not."""
    order = sorted(range(len(labels)), key=lambda i: every.index(labels[i]))
    shape = [a.shape[labels.index(c)] if c in labels else 1 for c in every]
    return _np.reshape(_np.transpose(a, order) if order != list(range(len(order))) else a, shape)


@function(np.einsum)
def _einsum(subscripts: Any, *operands: Any, out: Any = None, optimize: Any = False, **kwargs: Any) -> Any:
    """Operands are multiplied from the left, pairwise, as matrix products where labels are summed."""
    if not isinstance(subscripts, str) or out is not None or kwargs:
        raise Untraceable("np.einsum is traced with letters alone, as in 'ij,j->i'")
    graph = graph_of(*operands)
    arrays = [_operand(v, graph) for v in operands]
    labels, output = _letters(subscripts, arrays)
    sizes: dict[str, int] = {}
    for text, array in zip(labels, arrays, strict=True):
        for c, n in zip(text, array.shape, strict=True):
            if sizes.setdefault(c, n) not in (1, n) and n != 1:
                raise ValueError(f"einsum: axes {c!r} of {sizes[c]} and {n} elements")
            sizes[c] = max(sizes[c], n)
    pairs = [_diagonals(array, text, sizes) for array, text in zip(arrays, labels, strict=True)]
    total, text = pairs[0]
    for i, (array, other) in enumerate(pairs[1:], 1):
        keep = set(output).union(*(rest for _, rest in pairs[i + 1 :]))
        total, text = _pair(total, text, array, other, keep)
    total, text = _summed(total, text, set(output))
    result = _spread(total, text, output)
    return _np.broadcast_to(result, [sizes[c] for c in output]) if result.shape != () else number(result)


# -- norms -----------------------------------------------------------------------------------------------------------


def _length(x: Any, axis: Any, keepdims: bool) -> Any:
    """The Euclidean length, of slope 0 at 0."""
    total = _np.sum(_np.square(x), axis=axis, keepdims=keepdims)
    return number(_np.where(total > 0, _np.sqrt(total), total))


@function(np.linalg.norm)
def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    x = lift(x, graph_of(x))
    axes = tuple(range(x.ndim)) if axis is None else (axis,) if np.ndim(axis) == 0 else tuple(axis)
    if ord is None:
        return _length(x, axes, keepdims)
    if len(axes) == 1:
        return _vector_norm(x, ord, axes[0], keepdims)
    if len(axes) == 2:
        rows, columns = (i % x.ndim for i in axes)
        if ord == "fro":
            return _length(x, axes, keepdims)
        if ord in (1, -1, np.inf, -np.inf):
            first, second = (rows, columns) if abs(ord) == 1 else (columns, rows)
            sums = _np.sum(_np.abs(x), axis=first, keepdims=True)
            result = (_np.max if ord > 0 else _np.min)(sums, axis=second, keepdims=True)
            return result if keepdims else number(_np.squeeze(result, axis=axes))
    raise Untraceable(f"np.linalg.norm with ord={ord!r} cannot be traced")


def _vector_norm(x: Any, ord: Any, axis: Any, keepdims: bool) -> Any:
    if ord == 2:
        return _length(x, axis, keepdims)
    if ord in (np.inf, -np.inf):
        return (_np.max if ord > 0 else _np.min)(_np.abs(x), axis=axis, keepdims=keepdims)
    if ord == 0:
        return 1.0 * _np.count_nonzero(x, axis=axis, keepdims=keepdims)
    if isinstance(ord, str):
        raise ValueError(f"Invalid norm order '{ord}' for vectors")
    sums = _np.sum(_np.abs(x) ** ord, axis=axis, keepdims=keepdims)
    return sums if ord == 1 else sums ** (1 / ord)


if hasattr(np.linalg, "vector_norm"):
    FUNCTIONS[np.linalg.vector_norm] = lambda x, /, *, axis=None, keepdims=False, ord=2: _norm(
        _np.ravel(x) if axis is None and not keepdims else x, None if ord == 2 else ord, axis, keepdims
    )
    FUNCTIONS[np.linalg.matrix_norm] = lambda x, /, *, keepdims=False, ord="fro": _norm(x, ord, (-2, -1), keepdims)
