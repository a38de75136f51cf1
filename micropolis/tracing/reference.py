"""The readable interpreter of a graph, a line of NumPy for each operation: the twin of the one in C."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .elementwise import ELEMENTWISE
from .graph import Node, reachable
from .linalg_rules import lu
from .matrix_functions import eigh, expm

Array = NDArray[np.float64]


def evaluate(outputs: Sequence[Node], inputs: Mapping[str, ArrayLike]) -> list[Array]:
    """The elements of the outputs, each (size,), where the inputs have these values."""
    values: dict[int, Array] = {}
    with np.errstate(all="ignore"):
        for node in reachable(outputs):
            if node.op == "input":
                value: Any = np.asarray(inputs[node.data], dtype=np.float64)
            elif node.op == "constant":
                value = node.data
            elif node.op in ELEMENTWISE:
                value = ELEMENTWISE[node.op].numpy(*[values[a.number] for a in node.args])
            else:
                value = _OPERATIONS[node.op](node, *[values[a.number] for a in node.args])
            values[node.number] = np.asarray(value, dtype=np.float64).reshape(-1)
            if values[node.number].size != node.size:
                raise AssertionError(f"{node!r} has {values[node.number].size} elements")
    return [values[node.number] for node in outputs]


# -- moving elements and reductions ----------------------------------------------------------------------------------


def _assemble(node: Node, *parts: Array) -> Array:
    total = np.zeros(node.size)
    for part, place in zip(parts, node.data, strict=True):
        np.add.at(total, np.arange(*place) if isinstance(place, tuple) else place, part)
    return total


def _logsumexp(x: Array) -> Array:
    """Over the middle axis."""
    top = np.max(x, axis=1, keepdims=True)
    shift = np.where(np.isfinite(top), top, 0.0)
    result: Array = np.log(np.sum(np.exp(x - shift), axis=1)) + shift[:, 0]
    return result


def _cumsum(x: Array, backwards: bool) -> Array:
    total: Array = np.cumsum(x[:, ::-1] if backwards else x, axis=1)
    return total[:, ::-1] if backwards else total


def _matmul(x: Array, y: Array, m: int, k: int, n: int, tx: bool, ty: bool) -> Array:
    left = x.reshape(k, m).T if tx else x.reshape(m, k)
    right = y.reshape(n, k).T if ty else y.reshape(k, n)
    return left @ right


# -- linear algebra --------------------------------------------------------------------------------------------------


def _cholesky(a: Array) -> Array:
    n = len(a)
    try:
        return np.array(np.linalg.cholesky(a)) if np.all(np.isfinite(np.tril(a))) else np.tril(np.full((n, n), np.nan))
    except np.linalg.LinAlgError:
        return np.tril(np.full((n, n), np.nan))


def _cholesky_adjoint(factor: Array, d: Array) -> Array:
    """L^-T phi(L' d) L^-1 for the lower triangle, phi the lower triangle with half of the diagonal."""
    inner = _half(factor.T @ d)
    left = _triangular(factor, inner, True, True, False)
    both = _triangular(factor, left.T, True, True, False).T
    return _half(both + both.T)


def _half(a: Array) -> Array:
    return np.tril(a) - 0.5 * np.diag(np.diag(a))


def _triangular(factor: Array, right: Array, lower: bool, transposed: bool, unit: bool) -> Array:
    from scipy.linalg import solve_triangular

    factor = np.array(np.tril(factor) if lower else np.triu(factor))
    if not np.all(np.isfinite(factor)) or (not unit and np.any(np.diag(factor) == 0)):
        return np.full(right.shape, np.nan)
    result: Array = solve_triangular(
        factor, right, trans=int(transposed), lower=lower, unit_diagonal=unit, check_finite=False
    )
    return result


def _solve(factorised: Array, right: Array, n: int, transposed: bool) -> Array:
    from scipy.linalg import lu_solve

    factors = factorised[: n * n].reshape(n, n)
    if not np.all(np.isfinite(factors)) or np.any(np.diag(factors) == 0):
        return np.full(right.shape, np.nan)
    exchanges = factorised[n * n :].astype(np.int32)
    result: Array = lu_solve((factors, exchanges), right, trans=int(transposed), check_finite=False)
    return result


def _cofactor(a: Array) -> Array:
    """The transposed adjugate, by singular values: det(U) det(V) U cof(S) V'."""
    if not np.all(np.isfinite(a)):
        return np.full(a.shape, np.nan)
    u, s, v = np.linalg.svd(a)
    others = np.array([np.prod(np.delete(s, i)) for i in range(len(s))])
    result: Array = np.linalg.det(u) * np.linalg.det(v) * (u * others) @ v
    return result


def _square(x: Array, n: int) -> Array:
    return x.reshape(n, n)


def _linear_scan(p: Array, u: Array, h: Array, times: int, m: int, backwards: bool) -> Array:
    out = np.empty((times, m))
    for t in range(times)[:: -1 if backwards else 1]:
        if backwards:
            # an adjoint of 0 stays one, whatever it is multiplied with
            out[t] = u[t] if t == times - 1 else p[t + 1, out[t + 1] != 0].T @ out[t + 1, out[t + 1] != 0] + u[t]
        else:
            out[t] = h = p[t] @ h + u[t]
    return out


def _scan(node: Node, h: Array, *streams: Array) -> Array:
    times, m, body, outputs = node.data
    out = np.empty((times, m))
    for t in range(times):
        made: list[Any] = []
        of: dict[str, Any] = {"h": h, "s": [s[t if s.size > 1 else 0] for s in streams], "b": made}
        for op, operands in body:
            made.append(ELEMENTWISE[op].numpy(*[of[kind][i] for kind, i in operands]))
        out[t] = h = np.array([made[i] for i in outputs])
    return out


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "gather": lambda node, x: x[node.data],
    "assemble": _assemble,
    "sum": lambda node, x: x.reshape(node.data).sum(axis=1),
    "expand": lambda node, x: np.repeat(x.reshape(node.data[0], 1, node.data[2]), node.data[1], axis=1),
    "greatest": lambda node, x: x.reshape(node.data).max(axis=1),
    "logsumexp": lambda node, x: _logsumexp(x.reshape(node.data)),
    "cumsum": lambda node, x: _cumsum(x.reshape(node.data[:3]), node.data[3]),
    "matvec": lambda node, x, y: x.reshape(node.data) @ y,
    "matvec_t": lambda node, x, y: x.reshape(node.data).T @ y,
    "matmul": lambda node, x, y: _matmul(x, y, *node.data),
    "cholesky": lambda node, a: _cholesky(_square(a, node.data)),
    "cholesky_adjoint": lambda node, f, d: _cholesky_adjoint(_square(f, node.data), _square(d, node.data)),
    "triangular": lambda node, f, b: _triangular(_square(f, node.data[0]), b.reshape(node.data[:2]), *node.data[2:]),
    "lu": lambda node, a: lu(_square(a, node.data)),
    "solve": lambda node, a, f, b: _solve(f, b.reshape(node.data[:2]), node.data[0], node.data[2]),
    "slogdet": lambda node, a, f: np.array(np.linalg.slogdet(_square(a, node.data))),
    "det": lambda node, a, f: np.linalg.det(_square(a, node.data)),
    "cofactor": lambda node, a, f: _cofactor(_square(a, node.data)),
    "eigh": lambda node, a: eigh(_square(a, node.data)),
    "expm": lambda node, a: expm(_square(a, node.data)),
    "linear_scan": lambda node, p, u, h: _linear_scan(
        p.reshape(-1, node.data[1], node.data[1]), u.reshape(-1, node.data[1]), h, *node.data
    ),
    "scan": _scan,
    "mark": lambda node, x: x,
}
