"""The NumPy and scipy.special functions that Traced knows, as expressions; importing this fills Traced's tables."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import casadi as ca
import numpy as np

from . import tracing_special as special
from .tracing import (
    FUNCTIONS,
    UFUNCS,
    Traced,
    Untraceable,
    axes_of,
    broadcast,
    elementwise,
    function,
    gather,
    kind_of,
    lift,
    numbering,
)


def _round(x: Any) -> Any:
    raise Untraceable("rounding a value that depends on the parameters has no derivative")


_UNARY: dict[str, Callable[[Any], Any]] = {
    "negative": lambda x: -x, "positive": lambda x: x, "conjugate": lambda x: x, "absolute": ca.fabs, "fabs": ca.fabs,
    "sign": ca.sign, "square": lambda x: x * x, "reciprocal": lambda x: 1 / x, "sqrt": ca.sqrt,
    "cbrt": lambda x: ca.sign(x) * ca.power(ca.fabs(x), 1 / 3),
    "exp": ca.exp, "expm1": ca.expm1, "exp2": lambda x: ca.exp(x * math.log(2)), "log": ca.log, "log1p": ca.log1p,
    "log2": lambda x: ca.log(x) / math.log(2), "log10": ca.log10,
    "sin": ca.sin, "cos": ca.cos, "tan": ca.tan, "arcsin": ca.asin, "arccos": ca.acos, "arctan": ca.atan,
    "sinh": ca.sinh, "cosh": ca.cosh, "tanh": ca.tanh, "arcsinh": ca.asinh, "arccosh": ca.acosh, "arctanh": ca.atanh,
    "deg2rad": lambda x: x * (math.pi / 180), "radians": lambda x: x * (math.pi / 180),
    "logical_not": ca.logic_not, "floor": ca.floor, "ceil": ca.ceil, "rint": _round,
    "isnan": special.isnan, "isinf": lambda x: ca.fabs(x) == np.inf, "isfinite": lambda x: ca.fabs(x) < np.inf,
    # scipy.special
    "expit": special.expit, "log_expit": lambda x: -special.logaddexp(-x, type(x)(0)),
    "logit": lambda x: ca.log(x) - ca.log1p(-x), "gammaln": special.gammaln, "erf": ca.erf, "erfc": special.erfc,
    "ndtr": lambda x: ca.exp(special.log_ndtr(x)), "log_ndtr": special.log_ndtr,
}  # fmt: skip
_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda x, y: x + y, "subtract": lambda x, y: x - y, "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / y, "power": lambda x, y: x**y, "float_power": lambda x, y: x**y,
    "floor_divide": lambda x, y: ca.floor(x / y), "remainder": lambda x, y: x - y * ca.floor(x / y), "fmod": ca.fmod,
    "minimum": special.minimum, "fmin": ca.fmin, "maximum": special.maximum, "fmax": ca.fmax,
    "arctan2": ca.atan2, "hypot": lambda x, y: ca.sqrt(x * x + y * y), "copysign": ca.copysign,
    "less": lambda x, y: x < y, "less_equal": lambda x, y: x <= y, "greater": lambda x, y: x > y,
    "greater_equal": lambda x, y: x >= y, "equal": lambda x, y: x == y, "not_equal": lambda x, y: x != y,
    "logical_and": ca.logic_and, "logical_or": ca.logic_or, "bitwise_and": ca.logic_and, "bitwise_or": ca.logic_or,
    "logaddexp": special.logaddexp,
    "logaddexp2": lambda x, y: special.logaddexp(x * math.log(2), y * math.log(2)) / math.log(2),
    # scipy.special
    "xlogy": special.xlogy, "xlog1py": lambda x, y: x * ca.log1p(ca.if_else(x == 0, 0.0, y, False)),
    "betaln": lambda x, y: special.gammaln(x) + special.gammaln(y) - special.gammaln(x + y),
}  # fmt: skip
UFUNCS.update({name: elementwise(op) for name, op in (_UNARY | _BINARY).items()})


# -- reductions ------------------------------------------------------------------------------------------------------


def _reduce(a: Any, axis: Any, keepdims: bool, fold: Callable[[Any], Any]) -> Traced:
    """Reduce by `fold`, which takes a matrix (reduced, kept) to a row (1, kept)."""
    a = lift(a, kind_of(a))
    axes = axes_of(axis, a.ndim)
    kept = [i for i in range(a.ndim) if i not in axes]
    shape = tuple(a.shape[i] for i in kept)
    count = math.prod(shape)
    order = numbering(a).transpose(kept + list(axes)) if axes else numbering(a)
    matrix = ca.reshape(gather(a.flat, order), a.size // count if count else 0, count)
    final = tuple(1 if i in axes else n for i, n in enumerate(a.shape)) if keepdims else shape
    return Traced(ca.reshape(fold(matrix), count, 1), final)


def _halves(op: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    """Fold the rows of a matrix by an associative operation, in a tree of logarithmic depth."""

    def fold(matrix: Any) -> Any:
        while (rows := matrix.shape[0]) > 1:
            half = rows // 2
            top = op(matrix[:half, :], matrix[half : 2 * half, :])
            matrix = ca.vertcat(top, matrix[2 * half :, :]) if rows % 2 else top
        if rows == 0:
            raise ValueError("zero-size array to reduction operation which has no identity")
        return matrix

    return fold


def _fold_sum(matrix: Any) -> Any:
    return ca.sum1(matrix)


def _reduction(fold: Callable[[Any], Any]) -> Callable[..., Any]:
    def reduce(
        a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False, **kwargs: Any
    ) -> Any:
        if out is not None or any(value is not np._NoValue for value in kwargs.values()):
            raise Untraceable(f"the arguments {['out', *kwargs]} of a reduction cannot be traced")
        return _reduce(a, axis, bool(keepdims), fold)

    return reduce


_sum, _prod = _reduction(_fold_sum), _reduction(_halves(lambda x, y: x * y))
_max, _min = _reduction(_halves(special.maximum)), _reduction(_halves(special.minimum))
_largest_number = _reduction(_halves(ca.fmax))
_any, _all = _reduction(_halves(ca.logic_or)), _reduction(_halves(ca.logic_and))
FUNCTIONS.update(
    {np.sum: _sum, np.prod: _prod, np.max: _max, np.min: _min, np.amax: _max, np.amin: _min, np.any: _any, np.all: _all}
)


def _logsumexp(a: Any, axis: Any = 0, keepdims: bool = False) -> Any:
    top = _largest_number(a, axis, keepdims=True)
    shift = np.where(top == -np.inf, 0.0, top)
    terms = _sum(np.exp(lift(a, kind_of(a)) - shift), axis, keepdims=True)
    impossible = terms == 0  # log 0 everywhere, of value log 0 and gradient 0
    total = shift + np.log(np.where(impossible, 1.0, terms)) + np.where(impossible, -np.inf, 0.0)
    return total if keepdims else total.reshape(_max(a, axis).shape)


def _ufunc_reduce(whole: Callable[..., Any]) -> Callable[..., Any]:
    return lambda a, axis=0, keepdims=False: whole(a, axis=axis, keepdims=keepdims)


for _name, _whole in {
    "add": _sum, "multiply": _prod, "maximum": _max, "minimum": _min, "logical_or": _any, "logical_and": _all,
    "logaddexp": _logsumexp,
}.items():  # fmt: skip
    FUNCTIONS["reduce", _name] = _ufunc_reduce(_whole)


@function(np.mean)
def _mean(a: Any, axis: Any = None, **kwargs: Any) -> Any:
    total = _sum(a, axis, **kwargs)
    return total * (total.size / np.size(a))


@function(np.var)
def _var(
    a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: int = 0, keepdims: bool = False, **kwargs: Any
) -> Any:
    a = lift(a, kind_of(a))
    total = _sum(np.square(a - _mean(a, axis, keepdims=True)), axis, keepdims=keepdims, **kwargs)
    return total / (a.size // total.size - ddof)


FUNCTIONS[np.std] = lambda *args, **kwargs: np.sqrt(_var(*args, **kwargs))
FUNCTIONS[np.ptp] = lambda a, axis=None, **kwargs: _max(a, axis, **kwargs) - _min(a, axis, **kwargs)


def _accumulation(ufunc: np.ufunc) -> Callable[..., Any]:
    def accumulate(a: Any, axis: Any = None, **kwargs: Any) -> Any:
        if any(value is not None for value in kwargs.values()):
            raise Untraceable(f"the arguments {sorted(kwargs)} of a cumulative operation cannot be traced")
        a = lift(a, kind_of(a))
        if axis is None:
            a, axis = a.reshape(-1), 0
        parts = [np.take(a, i, axis=axis) for i in range(a.shape[axis])]
        running = parts[:1]
        for part in parts[1:]:
            running.append(ufunc(running[-1], part))
        return np.stack(running, axis=axis)

    return accumulate


FUNCTIONS[np.cumsum], FUNCTIONS[np.cumprod] = _accumulation(np.add), _accumulation(np.multiply)
for _ufunc in (np.add, np.multiply, np.maximum, np.minimum, np.logaddexp):
    FUNCTIONS["accumulate", _ufunc.__name__] = functools.partial(_accumulation(_ufunc), axis=0)


# -- elementwise functions that are no ufuncs ------------------------------------------------------------------------


@function(np.where)
def _where(condition: Any, *branches: Any) -> Any:
    if len(branches) != 2:
        raise Untraceable("np.where with one argument finds positions, which depend on the parameters")
    kind = kind_of(condition, *branches)
    arrays = [lift(value, kind) for value in (condition, *branches)]
    shape = np.broadcast_shapes(*(array.shape for array in arrays))
    if not isinstance(condition, Traced):  # known now: pick elements
        yes, no = broadcast(arrays[1:], shape, full=True)
        size = math.prod(shape)
        pick = np.where(np.broadcast_to(condition, shape).reshape(-1), np.arange(size), size + np.arange(size))
        return Traced(gather(ca.vertcat(yes, no), pick), shape)
    test, yes, no = broadcast(arrays, shape, full=True)
    return Traced(ca.if_else(test, yes, no, False), shape)


@function(np.clip)
def _clip(a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, *, min: Any = None, max: Any = None) -> Any:
    low, high = (a_min if min is None else min), (a_max if max is None else max)
    a = a if low is None else np.maximum(a, low)
    return a if high is None else np.minimum(a, high)


@function(np.diff)
def _diff(a: Any, n: int = 1, axis: int = -1) -> Any:
    for _ in range(n):
        a = np.take(a, range(1, a.shape[axis]), axis=axis) - np.take(a, range(a.shape[axis] - 1), axis=axis)
    return a


FUNCTIONS[np.real] = lambda a: a


@function(np.nan_to_num)
def _nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    largest = np.finfo(np.float64).max
    x = np.where(np.isnan(x), nan, x)
    x = np.where(x == np.inf, largest if posinf is None else posinf, x)
    return np.where(x == -np.inf, -largest if neginf is None else neginf, x)


FUNCTIONS[np.round] = lambda a, *args, **kwargs: np.rint(a)
FUNCTIONS[np.shape], FUNCTIONS[np.ndim], FUNCTIONS[np.size] = (
    lambda a: a.shape,
    lambda a: a.ndim,
    lambda a, axis=None: a.size if axis is None else a.shape[axis],
)
for _maker, _value in {np.zeros_like: 0.0, np.empty_like: 0.0, np.ones_like: 1.0}.items():
    FUNCTIONS[_maker] = lambda a, *args, shape=None, value=_value, **kwargs: np.full_like(a, value, shape=shape)


@function(np.full_like)
def _full_like(a: Any, fill_value: Any, *args: Any, shape: Any = None, **kwargs: Any) -> Any:
    """A new array, which may be assigned to."""
    shape = np.shape(a) if shape is None else (shape,) if isinstance(shape, int) else tuple(shape)
    kind = kind_of(a, fill_value)
    return Traced(broadcast([lift(fill_value, kind)], shape, full=True)[0], shape)


for _name, _op in {"add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide}.items():
    FUNCTIONS["outer", _name] = lambda a, b, op=_op: op(np.reshape(a, np.shape(a) + (1,) * np.ndim(b)), b)


# -- products --------------------------------------------------------------------------------------------------------


def to_matrix(a: Any, rows: int, columns: int) -> Any:
    """The elements of a, Traced or ndarray, as a CasADi matrix."""
    if not isinstance(a, Traced):
        return ca.DM(np.asarray(a, dtype=np.float64).reshape(rows, columns))
    return ca.reshape(a.flat, rows, columns) if 1 in (rows, columns) else ca.reshape(a.flat, columns, rows).T


def to_column(matrix: Any) -> Any:
    """The elements of a CasADi matrix in C order."""
    rows, columns = matrix.shape
    return ca.densify(ca.reshape(matrix if 1 in (rows, columns) else matrix.T, rows * columns, 1))


@function(np.matmul)
def _matmul(a: Any, b: Any) -> Any:
    kind = kind_of(a, b)
    a, b = (lift(v, kind) if isinstance(v, (list, tuple)) or np.asarray(v).dtype == object else v for v in (a, b))
    left, right = np.shape(a), np.shape(b)
    if not left or not right:
        raise ValueError("matmul: an operand is a scalar")
    m, n = left[-1], right[-2] if len(right) > 1 else right[0]
    if m != n:
        raise ValueError(f"matmul: shapes {left} and {right} do not match")
    if len(left) > 2 or len(right) > 2:
        wide: list[Any] = [v if isinstance(v, Traced) else np.asarray(v) for v in (a, b)]
        wide = [
            wide[0].reshape((-1, m)) if wide[0].ndim == 1 else wide[0],
            wide[1].reshape((n, -1)) if wide[1].ndim == 1 else wide[1],
        ]
        batch = np.broadcast_shapes(wide[0].shape[:-2], wide[1].shape[:-2])
        wide = [np.broadcast_to(v, (*batch, *v.shape[-2:])) for v in wide]
        product = np.stack([_matmul_one(wide[0][i], wide[1][i], kind) for i in np.ndindex(*batch)])
        shape = (*batch, *(left[-2:-1] if len(left) > 1 else ()), *(right[-1:] if len(right) > 1 else ()))
        return product.reshape(shape)
    return _matmul_one(a, b, kind)


def _matmul_one(a: Any, b: Any, kind: type) -> Traced:
    left, right = np.shape(a), np.shape(b)
    rows, columns = left[0] if len(left) == 2 else 1, right[1] if len(right) == 2 else 1
    product = ca.mtimes(to_matrix(a, rows, left[-1]), to_matrix(b, right[0], columns))
    return Traced(to_column(kind(product)), (*left[:-1], *right[1:]))


UFUNCS["matmul"] = _matmul


@function(np.dot)
def _dot(a: Any, b: Any) -> Any:
    if np.ndim(a) == 0 or np.ndim(b) == 0:
        return a * b
    if np.ndim(b) > 2 or np.ndim(a) > 2:
        raise Untraceable("np.dot of arrays of rank > 2: use np.matmul or np.einsum")
    return _matmul(a, b)


FUNCTIONS[np.inner] = lambda a, b: _dot(a, np.transpose(b))
FUNCTIONS[np.vdot] = lambda a, b: _dot(np.ravel(a), np.ravel(b))
FUNCTIONS[np.outer] = lambda a, b: np.ravel(a)[:, None] * np.ravel(b)[None, :]
FUNCTIONS[np.kron] = lambda a, b: (
    np.reshape(np.outer(a, b), -1)
    if max(np.ndim(a), np.ndim(b)) == 1
    else np.concatenate([np.concatenate([element * b for element in row], axis=1) for row in a], axis=0)
)
FUNCTIONS[np.polyval] = lambda p, x: functools.reduce(lambda total, c: total * x + c, p)
FUNCTIONS[np.trace] = lambda a, *args: np.sum(np.diagonal(a, *args), axis=-1)
FUNCTIONS[np.average] = lambda a, axis=None, weights=None: (
    np.mean(a, axis) if weights is None else np.sum(a * weights, axis) / np.sum(weights + 0 * a, axis)
)
UFUNCS["vecdot"] = lambda a, b: np.sum(a * b, axis=-1)


@function(np.einsum)
def _einsum(subscripts: Any, *operands: Any, **kwargs: Any) -> Any:
    """Every operand spread over all labels, multiplied, summed."""
    if not isinstance(subscripts, str) or "." in subscripts:
        raise Untraceable("np.einsum is traced with letters alone, as in 'ij,j->i'")
    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    labels = inputs.split(",")
    if not arrow:
        letters = inputs.replace(",", "")
        output = "".join(sorted(c for c in set(letters) if letters.count(c) == 1))
    sizes = {
        c: n
        for text, operand in zip(labels, operands, strict=True)
        for c, n in zip(text, np.shape(operand), strict=True)
    }
    every = output + "".join(c for c in sizes if c not in output)
    total: Any = 1.0
    for text, operand in zip(labels, operands, strict=True):
        grid = np.ix_(*(np.arange(sizes[c]) for c in every)) if every else ()
        total = total * (operand[tuple(grid[every.index(c)] for c in text)] if text else operand)
    full = total + np.zeros([sizes[c] for c in every])
    return np.sum(full, axis=tuple(range(len(output), len(every)))) if len(every) > len(output) else full


@function(np.linalg.norm)
def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    if ord not in (None, 2, "fro") or (ord == 2 and axis is None and np.ndim(x) > 1):
        raise Untraceable(f"np.linalg.norm with ord={ord!r} cannot be traced")
    return np.sqrt(np.sum(np.square(x), axis=axis, keepdims=keepdims))
