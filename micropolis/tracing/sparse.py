"""Products of SciPy's sparse matrices of data with traced arrays: gathered, multiplied, added at their rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .arrays import Traced, Untraceable, graph_of, lift
from .derivatives import as_place

# NumPy without its type stubs, which know nothing of traced arguments
_np: Any = np


def is_sparse(value: Any) -> bool:
    return hasattr(value, "tocoo") and hasattr(value, "nnz")


def product(matrix: Any, right: Any) -> Any:
    """matrix @ right, of a vector or a matrix."""
    right = lift(right, graph_of(right))
    rows, columns = matrix.shape
    if right.ndim not in (1, 2) or right.shape[0] != columns:
        raise ValueError(f"matmul: shapes {matrix.shape} and {right.shape} do not match")
    entries, rest = matrix.tocoo(), right.shape[1:]
    width = rest[0] if rest else 1
    order = np.argsort(entries.row, kind="stable")
    row, column, data = (np.asarray(v)[order] for v in (entries.row, entries.col, entries.data))
    terms = _np.reshape(data, (-1, *(1 for _ in rest))) * _np.take(right, column, axis=0)
    if not terms.size:
        return Traced(right.graph.constant(np.zeros(rows * width)), (rows, *rest))
    places = (row.astype(np.int64)[:, None] * width + np.arange(width)).reshape(-1)
    return Traced(right.graph.assemble([terms.full()], [as_place(places)], rows * width), (rows, *rest), scalar=False)


def product_with(left: Any, matrix: Any) -> Any:
    """left @ matrix."""
    result = product(matrix.T, left.T)
    return result.T if left.ndim == 2 else result


def _elementwise(self: Any, other: Any) -> Any:
    """matrix * other: a product of matrices for SciPy's spmatrix, elementwise for its arrays."""
    import scipy.sparse

    if isinstance(self, scipy.sparse.spmatrix):
        return product(self, other)
    raise Untraceable("a sparse array times a value that depends on the parameters: use a dense one, or @")


# What stands in for methods of scipy.sparse's base class.
METHODS: dict[str, Callable[..., Any]] = {
    "__matmul__": product,
    "__rmatmul__": lambda self, other: product_with(other, self),
    "dot": product,
    "__mul__": _elementwise,
}
