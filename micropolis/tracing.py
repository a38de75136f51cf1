"""Traced: an array that NumPy functions take for an ndarray while they build a CasADi expression.

A traced array is a CasADi column of its elements in C order and a shape of any rank. Functions that only move elements
(reshape, stack, tile, tril, any index) are run by NumPy itself on element numbers, and the elements gathered after; so
their semantics are NumPy's. What cannot be traced raises Untraceable: a wrong expression is never built quietly.
CasADi's own NumPy mode (3.8) is called experimental, is switched on for a whole process, and does not index arrays of
rank above 2; this needs CasADi's public operations alone.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .errors import DensityError

# NumPy without its type stubs, which know nothing of traced arguments
_np: Any = np

# Filled by tracing_functions.py and tracing_linalg.py, which need this class. Methods of ufuncs are in FUNCTIONS under
# (method, name).
UFUNCS: dict[str, Callable[..., Any]] = {}
FUNCTIONS: dict[Any, Callable[..., Any]] = {}
# Makers of new arrays, for `like=`; the unset elements of np.empty are zeros.
CREATED: dict[Any, Callable[..., Any]] = {
    np.zeros: np.zeros, np.ones: np.ones, np.full: np.full, np.empty: np.zeros, np.eye: np.eye, np.arange: np.arange,
    np.array: np.array, np.asarray: np.asarray, np.identity: np.identity,
}  # fmt: skip
# NumPy functions that move the elements of their traced arguments, and those that join several arrays.
MOVES = {
    np.reshape, np.ravel, np.transpose, np.swapaxes, np.moveaxis, np.rollaxis, np.squeeze, np.expand_dims,
    np.broadcast_to, np.tile, np.repeat, np.roll, np.flip, np.fliplr, np.flipud, np.rot90, np.split, np.array_split,
    np.hsplit, np.vsplit, np.dsplit, np.diag, np.diagonal, np.diagflat, np.tril, np.triu, np.take, np.take_along_axis,
    np.delete, np.atleast_1d, np.atleast_2d, np.atleast_3d, np.copy, np.compress,
}  # fmt: skip
JOINS = {
    np.concatenate, np.stack, np.vstack, np.hstack, np.dstack, np.column_stack, np.append, np.block,
    np.broadcast_arrays, np.meshgrid,
}  # fmt: skip


class Untraceable(DensityError):
    """The code does something that has no expression."""


class NeedsScalars(Untraceable):
    """An operation that exists for scalar expressions (SX) alone: trace again with those."""


class NeedsArrays(Untraceable):
    """An array of NumPy's where one that takes expressions is needed: trace again with makers of those."""


class Traced:
    """An array of CasADi expressions.

    Parameters
    ----------
    flat : casadi.SX or casadi.MX
        Column (size, 1) of the elements in C order.
    shape : tuple of int

    Once elements are assigned to, they are kept one by one: a loop over time steps that writes each in its place makes
    an expression as long as the loop, not as its square.
    """

    __array_priority__ = 2000.0
    __pandas_priority__ = 5000  # above DataFrame: a column of data leaves arithmetic with parameters to Traced
    __hash__ = None  # type: ignore[assignment]
    dtype = np.dtype(np.float64)

    def __init__(self, flat: Any, shape: tuple[int, ...]) -> None:
        self._column, self.shape = flat, shape
        self._elements: list[Any] | None = None  # of an array that was assigned to

    @property
    def flat(self) -> Any:
        if self._column is None:
            import casadi

            self._column = casadi.vertcat(*(self._elements or ()))
        return self._column

    # -- what NumPy asks ------------------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        name = ufunc.__name__
        if kwargs.pop("out", None) is not None:
            raise NeedsArrays(
                f"np.{name} writes into a NumPy array (out=, or += on an array made by np.zeros): make a new "
                "array, or that one by np.zeros(shape, like=x), where x is a parameter"
            )
        kwargs = {key: value for key, value in kwargs.items() if key != "dtype"}
        if method == "__call__" and not kwargs:
            if name in UFUNCS:
                return UFUNCS[name](*inputs)
            raise Untraceable(f"the function {name} cannot be traced")
        if method in ("reduce", "accumulate", "outer") and (method, name) in FUNCTIONS:
            return FUNCTIONS[method, name](*inputs, **kwargs)
        raise Untraceable(f"np.{name}.{method} with {sorted(kwargs) or 'these arguments'} cannot be traced")

    def __array_function__(self, func: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        if func in CREATED:  # np.zeros(n, like=x)
            return lift(CREATED[func](*args, **kwargs), kind_of(self))
        if func in FUNCTIONS:
            return FUNCTIONS[func](*args, **kwargs)
        if func in MOVES or func in JOINS:
            return move(func, args, kwargs)
        raise Untraceable(f"{getattr(func, '__module__', 'numpy')}.{func.__name__} cannot be traced")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """An object array of scalars, so that np.array([a, b]) works; NumPy's numbers there are none."""
        if dtype is not None and np.dtype(dtype) != object:
            raise NeedsArrays(
                f"an array of dtype {np.dtype(dtype)} was asked of a value that depends on the parameters (leave dtype "
                "out, and make a list of such values an array, np.array([...]), before a function takes it)"
            )
        elements = np.empty(self.size, dtype=object)
        for i in range(self.size):
            elements[i] = Traced(self.flat[i], ())
        return elements.reshape(self.shape)

    # -- what Python asks -----------------------------------------------------------------------------------------

    def __bool__(self) -> bool:
        raise Untraceable(
            "a decision (if, while, and, or, not, min, max, assert) on a value that depends on the parameters cannot "
            "be traced: write it with np.where, np.minimum or np.maximum"
        )

    def __float__(self) -> float:
        raise Untraceable(
            "a float was asked of a value that depends on the parameters (by math.*, float(), or by writing it into an "
            "array made by np.zeros): use np.* functions, and make the array by np.zeros(shape, like=x), where x is a "
            "parameter"
        )

    __int__ = __complex__ = __float__

    def __index__(self) -> int:
        raise Untraceable("an index or a count that depends on the parameters cannot be traced")

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self) -> Iterator[Traced]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"<traced array of shape {self.shape}>"

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def T(self) -> Any:
        return self.transpose()

    @property
    def real(self) -> Traced:
        return self

    def __getitem__(self, key: Any) -> Traced:
        index = numbering(self)[plain_key(key)]
        if self._column is None and self._elements is not None:
            import casadi

            return Traced(casadi.vertcat(*(self._elements[i] for i in np.reshape(index, -1))), np.shape(index))
        return Traced(gather(self.flat, index), np.shape(index))

    def __setitem__(self, key: Any, value: Any) -> None:
        import casadi

        index = np.atleast_1d(numbering(self)[plain_key(key)])
        if self._elements is None:
            self._elements = casadi.vertsplit(self._column) if self.size > 1 else [self._column]
        new = broadcast([lift(value, type(self._elements[0]))], index.shape, full=True)[0]
        for i, element in zip(index.reshape(-1), casadi.vertsplit(new) if index.size > 1 else [new], strict=False):
            self._elements[i] = element
        self._column = None

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> Traced:
        if np.dtype(dtype).kind != "f":
            raise Untraceable(f"astype({np.dtype(dtype)}) of a value that depends on the parameters cannot be traced")
        return self

    def reshape(self, *shape: Any, **kwargs: Any) -> Any:
        return _np.reshape(self, shape[0] if len(shape) == 1 else shape, **kwargs)

    def transpose(self, *axes: Any) -> Any:
        return _np.transpose(self, (axes[0] if len(axes) == 1 else axes) or None)

    def item(self) -> Any:
        return self.reshape(())


def _delegate(name: str, f: Callable[..., Any], swap: bool = False) -> None:
    """Make method `name` the NumPy function f, with its two operands swapped if so asked."""
    if swap:
        setattr(Traced, name, lambda self, other: f(other, self))
    else:
        setattr(Traced, name, lambda self, *args, **kwargs: f(self, *args, **kwargs))


for _name, _ufunc in {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide, "pow": np.power, "mod": np.remainder,
    "floordiv": np.floor_divide, "matmul": np.matmul, "and": np.logical_and, "or": np.logical_or,
}.items():  # fmt: skip
    _delegate(f"__{_name}__", _ufunc)
    _delegate(f"__r{_name}__", _ufunc, swap=True)
for _name, _ufunc in {
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
    "neg": np.negative, "pos": np.positive, "abs": np.absolute, "invert": np.logical_not,
}.items():  # fmt: skip
    _delegate(f"__{_name}__", _ufunc)
for _function in (
    np.sum, np.mean, np.prod, np.max, np.min, np.var, np.std, np.any, np.all, np.cumsum, np.cumprod, np.dot, np.clip,
    np.ravel, np.squeeze, np.swapaxes, np.repeat, np.take, np.diagonal, np.trace, np.round, np.copy,
    # an object array of scalars calls these on its elements
    np.exp, np.expm1, np.log, np.log1p, np.log2, np.log10, np.sqrt, np.sin, np.cos, np.tan, np.sinh, np.cosh, np.tanh,
    np.arcsin, np.arccos, np.arctan, np.arcsinh, np.arccosh, np.arctanh, np.fabs,
):  # fmt: skip
    _delegate(_function.__name__, _function)
_delegate("flatten", np.ravel)


def numbering(x: Traced) -> Any:
    """The element numbers of x in its shape."""
    return np.arange(x.size).reshape(x.shape)


def plain_key(key: Any) -> Any:
    """An index that holds no traced value."""
    for part in key if isinstance(key, tuple) else (key,):
        if isinstance(part, Traced):
            raise Untraceable("an index that depends on the parameters cannot be traced: use np.where")
    return key


def gather(flat: Any, index: Any) -> Any:
    """The elements of the column `flat` at `index`, as a column."""
    numbers = np.asarray(index).reshape(-1)
    count = flat.shape[0]
    if numbers.size == count and np.array_equal(numbers, np.arange(count)):
        return flat
    if numbers.size == 0:
        return type(flat)(0, 1)
    if numbers.size > 1 and np.all(np.diff(numbers) == 1):
        return flat[int(numbers[0]) : int(numbers[-1]) + 1]
    import casadi

    return casadi.reshape(flat[numbers.tolist()], numbers.size, 1)


def lift(value: Any, kind: type) -> Traced:
    """Any array or number, or an object array of traced scalars, as a Traced of `kind`."""
    if isinstance(value, Traced):
        return value
    if isinstance(value, (float, int)):
        return Traced(kind(float(value)), ())
    import casadi

    array = np.asarray(value)
    if array.dtype == object:
        parts = [lift(element, kind) for element in array.reshape(-1)]
        if any(part.shape != () for part in parts):
            raise Untraceable("an array whose elements are arrays that depend on the parameters: use np.stack")
        return Traced(casadi.vertcat(*(part.flat for part in parts)), array.shape)
    if array.dtype.kind not in "fiub":
        raise Untraceable(f"an array of dtype {array.dtype} cannot be traced")
    return Traced(kind(casadi.DM(array.astype(np.float64).reshape(-1, 1))), array.shape)


def is_traced(value: Any) -> bool:
    return isinstance(value, Traced) or (isinstance(value, np.ndarray) and value.dtype == object)


def kind_of(*values: Any) -> type:
    """SX or MX, whichever the traced values among `values` (nested in lists or object arrays) are made of."""
    for value in values:
        if isinstance(value, Traced):
            return type(value.flat)
        if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.dtype == object):
            try:
                return kind_of(*(value.reshape(-1) if isinstance(value, np.ndarray) else value))
            except LookupError:
                continue
    raise LookupError("no traced value")


def broadcast(arrays: list[Traced], shape: tuple[int, ...], full: bool = False) -> list[Any]:
    """Columns of the arrays broadcast to `shape`; one element stays one, which CasADi broadcasts, unless `full`."""
    size = math.prod(shape)
    columns = []
    for array in arrays:
        if array.size == size or (array.size == 1 and not full):
            columns.append(array.flat)
        else:
            columns.append(gather(array.flat, np.broadcast_to(numbering(array), shape)))
    return columns


def move(func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Run `func` on element numbers and gather: number 0 is the constant zero that tril or diag fills in."""
    import casadi

    kind = kind_of(*args, *kwargs.values())
    pool, count = [kind(0.0)], 1

    def number(value: Any, every: bool) -> Any:
        nonlocal count
        if isinstance(value, (list, tuple)):
            return type(value)(number(part, every) for part in value)
        if not (every or is_traced(value)):
            return value
        array = lift(value, kind)
        numbers = count + numbering(array)
        pool.append(array.flat)
        count += array.size
        return numbers

    joins = func in JOINS
    # all arguments of np.append(a, values), broadcast_arrays(a, b), meshgrid(a, b) are arrays; of the others the first
    arrays = args if func in (np.append, np.broadcast_arrays, np.meshgrid) else args[:1]
    rest = args[len(arrays) :]
    if any(map(is_traced, (*rest, *kwargs.values()))):
        raise Untraceable(f"np.{func.__name__} is traced in its first argument alone")
    result = func(*(number(value, joins) for value in arrays), *rest, **kwargs)
    flat = casadi.vertcat(*pool)

    def wrap(numbers: Any) -> Any:
        if isinstance(numbers, (list, tuple)):
            return type(numbers)(wrap(part) for part in numbers)
        numbers = np.asarray(numbers)
        if len(pool) == 2 and numbers.size and numbers.min() > 0:
            return Traced(gather(pool[1], numbers - 1), numbers.shape)
        return Traced(gather(flat, numbers), numbers.shape)

    return wrap(result)


def elementwise(op: Callable[..., Any]) -> Callable[..., Traced]:
    """A function of arrays from an operation on CasADi columns."""

    def apply(*values: Any) -> Traced:
        kind = kind_of(*values)
        arrays = [lift(value, kind) for value in values]
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
        columns = broadcast(arrays, shape)
        result = op(*columns)
        if result.shape[0] != (size := math.prod(shape)):  # all single elements, or an empty shape
            result = gather(result, np.zeros(size, dtype=int))
        return Traced(result, shape)

    return apply


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """`axis` of a reduction as a tuple of non-negative ints."""
    if axis is None:
        return tuple(range(ndim))
    axes = tuple(operator.index(a) for a in axis) if isinstance(axis, tuple) else (operator.index(axis),)
    for a in axes:
        if not -ndim <= a < ndim:
            raise np.exceptions.AxisError(a, ndim)
    return tuple(a % ndim for a in axes)


def function(*names: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register an implementation for the NumPy functions `names`."""

    def register(implementation: Callable[..., Any]) -> Callable[..., Any]:
        FUNCTIONS.update(dict.fromkeys(names, implementation))
        return implementation

    return register
