"""Traced: an array that NumPy functions take for an ndarray while they build an array program.

A traced array is a flat node of its elements in C order, a shape and NumPy's dtype. Functions that only move elements
(reshape, stack, tile, tril, any index) are run by NumPy itself on element numbers, and the elements gathered after; so
their semantics are NumPy's, views included: what NumPy makes a view of the numbers is a view here, and writing through
it changes the array behind it. Dtypes are those that NumPy's ufuncs resolve to, so that booleans are booleans. What
cannot be traced raises Untraceable: a wrong program is never built quietly.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import DensityError
from .cells import Cell
from .derivatives import as_place
from .graph import Graph, Node

# NumPy without its type stubs, which know nothing of traced arguments
_np: Any = np

# Filled by functions.py and linalg.py, which need this class. Methods of ufuncs are in FUNCTIONS under (method, name).
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
    np.delete, np.atleast_1d, np.atleast_2d, np.atleast_3d, np.copy, np.linalg.matrix_transpose,
    np.matrix_transpose, np.resize, getattr(np, "unstack", np.split),
}  # fmt: skip
JOINS = {
    np.concatenate, np.stack, np.vstack, np.hstack, np.dstack, np.column_stack, np.append, np.block,
    np.broadcast_arrays, np.meshgrid,
}  # fmt: skip

# Longer arrays become arrays of objects only where a trace is repeated, with makers of traced ones.
MOST_OBJECTS = 16
FLOAT, BOOL, INT = np.dtype(np.float64), np.dtype(np.bool_), np.dtype(np.int64)


class Untraceable(DensityError):
    """The code does something that has no array program."""


class NeedsArrays(Untraceable):
    """An array of NumPy's where one that takes traced values is needed: trace again with makers of those."""


class Traced:
    """An array of nodes.

    Parameters
    ----------
    node : Node
        The elements in C order; one element stands for as many equal ones.
    shape : tuple of int
    dtype : numpy.dtype, default float64
    scalar : bool
        Whether NumPy would have a number here, not an array: nothing can be written into it.
    """

    __array_priority__ = 2000.0
    __pandas_priority__ = 5000  # above DataFrame: a column of data leaves arithmetic with parameters to Traced
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, node: Node, shape: tuple[int, ...], dtype: Any = FLOAT, scalar: bool = True) -> None:
        self.shape, self.dtype = shape, dtype
        self._cell: Cell | None = None
        self._node: Node | None = node
        self._numbers: Any = None
        self._scalar = scalar and shape == ()

    @classmethod
    def argument(cls, node: Node) -> Traced:
        """A vector that the traced function is given."""
        return cls.view(Cell(node, node.size, argument=True), None, (node.size,), FLOAT)

    @classmethod
    def view(cls, cell: Cell, numbers: Any, shape: tuple[int, ...], dtype: Any) -> Traced:
        self = cls.__new__(cls)
        self.shape, self.dtype, self._cell, self._node, self._numbers = shape, dtype, cell, None, numbers
        self._scalar = False
        return self

    @property
    def flat(self) -> Node:
        """The elements in C order; one element stands for as many equal ones."""
        if self._cell is None:
            assert self._node is not None
            return self._node
        return self._cell.node if self._numbers is None else self._cell.read(self._numbers)

    @property
    def graph(self) -> Graph:
        return self._cell.graph if self._cell is not None else self.flat.graph

    @property
    def cell(self) -> Cell:
        """The memory behind the array, from now on shared with its views."""
        if self._cell is None:
            self._cell, self._node = Cell(self.flat, self.size), None
        return self._cell

    @property
    def numbers(self) -> Any:
        """The numbers of the elements in the memory behind the array, in its shape."""
        if self._numbers is None:
            self._numbers = self.cell.numbers.reshape(self.shape)
        return self._numbers

    def full(self) -> Node:
        """The elements in C order, every one of them."""
        return self.graph.full(self.flat, self.size)

    # -- what NumPy asks ------------------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        name = ufunc.__name__
        out = kwargs.pop("out", None)
        if kwargs.get("dtype", FLOAT) is None or np.dtype(kwargs.get("dtype", FLOAT)) == FLOAT:
            kwargs.pop("dtype", None)
        mask = kwargs.pop("where", True) if method == "__call__" else True
        if mask is not True and (out is None or not isinstance(out[0], Traced)):
            raise NeedsArrays(f"np.{name} with where= is traced into an array out= made by np.zeros(shape, like=x)")
        if method == "at" and out is None:
            return FUNCTIONS["at", name](*inputs) if ("at", name) in FUNCTIONS else _no_method(name, method, kwargs)
        if method == "__call__" and not kwargs:
            if name in UFUNCS:
                result = apply(ufunc, inputs)
            elif not any(map(is_traced, plain := [concrete(v) for v in inputs])):
                return ufunc(*plain, out=out)
            else:
                raise Untraceable(f"the function {name} cannot be traced")
        elif method in ("reduce", "accumulate", "outer", "reduceat") and (method, name) in FUNCTIONS:
            result = FUNCTIONS[method, name](*inputs, **kwargs)
        else:
            return _no_method(name, method, kwargs)
        if out is None:
            return result
        target = out[0]
        if not isinstance(target, Traced) or len(out) > 1:
            raise NeedsArrays(
                f"np.{name} writes into a NumPy array (out=, or += on an array made by np.zeros): make a new "
                "array, or that one by np.zeros(shape, like=x), where x is a parameter"
            )
        if result.dtype != target.dtype and not np.can_cast(result.dtype, target.dtype, "same_kind"):
            raise TypeError(f"Cannot cast ufunc '{name}' output from {result.dtype} to {target.dtype}")
        target[...] = result if mask is True else _np.where(mask, result, target)
        return target

    def __array_function__(self, func: Callable[..., Any], types: Any, args: Any, kwargs: Any) -> Any:
        if func in CREATED:  # np.zeros(n, like=x)
            if func in (np.array, np.asarray) and is_traced(args[0]):
                return _np.copy(lift(args[0], self.graph)) if func is np.array else lift(args[0], self.graph)
            return new_array(CREATED[func](*args, **kwargs), self.graph)
        if func in FUNCTIONS:
            return FUNCTIONS[func](*args, **kwargs)
        if func in MOVES or func in JOINS:
            return move(func, args, kwargs)
        plain, named = [concrete(v) for v in args], {name: concrete(v) for name, v in kwargs.items()}
        if not any(map(is_traced, (*plain, *named.values()))):
            return func(*plain, **named)
        raise Untraceable(f"{getattr(func, '__module__', 'numpy')}.{func.__name__} cannot be traced")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """An object array of scalars, so that np.array([a, b]) works; NumPy's numbers there are none."""
        if dtype is not None and np.dtype(dtype) != object:
            if not isinstance(plain := concrete(self), Traced):
                return np.asarray(plain, dtype=dtype)
            raise NeedsArrays(
                f"an array of dtype {np.dtype(dtype)} was asked of a value that depends on the parameters (leave dtype "
                "out, and make a list of such values an array, np.array([...]), before a function takes it)"
            )
        if not isinstance(plain := concrete(self), Traced):
            return np.asarray(plain)
        by = sys._getframe(1).f_globals.get("__name__", "")
        if (self.size > MOST_OBJECTS or by.startswith("pandas.")) and not self.graph.takes_apart:
            raise NeedsArrays("NumPy takes a long array that depends on the parameters apart into objects")
        node, elements = self.flat, np.empty(self.size, dtype=object)
        for i in range(self.size):
            elements[i] = Traced(self.graph.gather(node, [i]), (), self.dtype)
        return elements.reshape(self.shape)

    # -- what Python asks -----------------------------------------------------------------------------------------

    def __bool__(self) -> bool:
        if not isinstance(plain := concrete(self), Traced):
            return bool(plain)
        raise Untraceable(
            "a decision (if, while, and, or, not, min, max, assert) on a value that depends on the parameters cannot "
            "be traced: write it with np.where, np.minimum or np.maximum"
        )

    def __float__(self) -> float:
        return float(self._number())

    def __int__(self) -> int:
        return int(self._number())

    def __complex__(self) -> complex:
        return complex(self._number())

    def _number(self) -> Any:
        if not isinstance(plain := concrete(self), Traced):
            return plain
        raise NeedsArrays(
            "a float was asked of a value that depends on the parameters (by math.*, float(), or by writing it into an "
            "array made by np.zeros): use np.* functions, and make the array by np.zeros(shape, like=x), where x is a "
            "parameter"
        )

    def __index__(self) -> int:
        if not isinstance(plain := concrete(self), Traced):
            return operator.index(plain)
        raise Untraceable("an index or a count that depends on the parameters cannot be traced")

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self) -> Iterator[Traced]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"<traced array of shape {self.shape}>"

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __divmod__(self, other: Any) -> Any:
        return _np.divmod(self, other)

    def __rdivmod__(self, other: Any) -> Any:
        return _np.divmod(other, self)

    def tolist(self) -> Any:
        return [part.tolist() for part in self] if self.shape else self[()]

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
    def mT(self) -> Any:
        return _np.matrix_transpose(self)

    @property
    def real(self) -> Traced:
        return self

    def __getitem__(self, key: Any) -> Traced:
        return self._moved(self.numbers[plain_key(key)])

    def _moved(self, numbers: Any) -> Traced:
        """The array of these numbers: a view where NumPy made one of its array of numbers."""
        if not isinstance(numbers, np.ndarray):
            return Traced(self.cell.read(numbers), (), self.dtype)
        if np.may_share_memory(numbers, self.cell.numbers):
            return Traced.view(self.cell, numbers, numbers.shape, self.dtype)
        return Traced(self.cell.read(numbers), numbers.shape, self.dtype, scalar=False)

    def __setitem__(self, key: Any, value: Any) -> None:
        if self._scalar:
            raise TypeError("'numpy.float64' object does not support item assignment")
        cell, numbers = self.cell, np.asarray(self.numbers[plain_key(key)])
        if cell.argument:
            raise Untraceable("the log density changes its arguments: write into a copy, y = np.copy(x)")
        new = lift(value, self.graph)
        if new.dtype.kind == "f" and self.dtype.kind != "f":
            raise Untraceable(f"a value is cut to {self.dtype} where it is written into an array of that dtype")
        shape = new.shape
        while len(shape) > numbers.ndim and shape[0] == 1:  # NumPy drops leading dimensions of 1 in an assignment
            shape = shape[1:]
        if np.broadcast_shapes(shape, numbers.shape) != numbers.shape:
            raise ValueError(f"could not broadcast input array from shape {new.shape} into shape {numbers.shape}")
        cell.write(numbers, spread(new.flat, shape, numbers.shape))

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> Traced:
        dtype = np.dtype(dtype)
        if dtype != FLOAT and not (dtype == self.dtype or (dtype == INT and self.dtype == BOOL)):
            raise Untraceable(f"astype({dtype}) of a value that depends on the parameters cannot be traced")
        return Traced(self.flat, self.shape, dtype, scalar=False)

    def reshape(self, *shape: Any, **kwargs: Any) -> Any:
        return _np.reshape(self, shape[0] if len(shape) == 1 else shape, **kwargs)

    def transpose(self, *axes: Any) -> Any:
        return _np.transpose(self, (axes[0] if len(axes) == 1 else axes) or None)

    def flatten(self, order: str = "C") -> Any:
        return _np.copy(_np.ravel(self, order=order))

    def fill(self, value: Any) -> None:
        self[...] = value

    def item(self, *index: Any) -> Any:
        return self.reshape(-1)[index[0] if index else 0] if self.shape else self


def _no_method(name: str, method: str, kwargs: Any) -> Any:
    raise Untraceable(f"np.{name}.{method} with {sorted(kwargs) or 'these arguments'} cannot be traced")


def _delegate(name: str, f: Callable[..., Any]) -> None:
    """Make method `name` the NumPy function f."""
    setattr(Traced, name, lambda self, *args, **kwargs: f(self, *args, **kwargs))


def _operator(name: str, ufunc: Any) -> None:
    """Make operators `__name__` and `__rname__` a ufunc, which NumPy itself would ask this class for."""
    setattr(Traced, f"__{name}__", lambda self, other: apply(ufunc, (self, other)))
    setattr(Traced, f"__r{name}__", lambda self, other: apply(ufunc, (other, self)))


def _refuse(name: str) -> None:
    """Make method `name` one for arrays that do not depend on the parameters."""

    def method(self: Traced, *args: Any, **kwargs: Any) -> Any:
        plain = concrete(self)
        if isinstance(plain, Traced) or name in ("sort", "partition", "resize"):
            raise Untraceable(f"{name} of a value that depends on the parameters cannot be traced")
        return getattr(plain, name)(*args, **kwargs)

    setattr(Traced, name, method)


def _in_place(name: str, ufunc: Any) -> None:
    """Make method `name` write into the array, or make a new number of a number."""
    setattr(Traced, name, lambda self, other: ufunc(self, other) if self._scalar else ufunc(self, other, out=(self,)))


for _name, _ufunc in {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.divide, "pow": np.power, "mod": np.remainder,
    "floordiv": np.floor_divide, "matmul": np.matmul, "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor,
}.items():  # fmt: skip
    _operator(_name, _ufunc)
    _in_place(f"__i{_name}__", _ufunc)
for _name, _ufunc in {
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
}.items():  # fmt: skip
    _operator(_name, _ufunc)
for _name, _ufunc in {
    "neg": np.negative, "pos": np.positive, "abs": np.absolute, "invert": np.invert,
}.items():  # fmt: skip
    _delegate(f"__{_name}__", _ufunc)
for _function in (
    np.sum, np.mean, np.prod, np.max, np.min, np.var, np.std, np.any, np.all, np.cumsum, np.cumprod, np.dot, np.clip,
    np.ravel, np.squeeze, np.swapaxes, np.repeat, np.take, np.diagonal, np.trace, np.round, np.copy, np.compress,
    # an object array of scalars calls these on its elements
    np.exp, np.expm1, np.log, np.log1p, np.log2, np.log10, np.sqrt, np.sin, np.cos, np.tan, np.sinh, np.cosh, np.tanh,
    np.arcsin, np.arccos, np.arctan, np.arcsinh, np.arccosh, np.arctanh, np.fabs,
):  # fmt: skip
    _delegate(_function.__name__, _function)
for _name in (
    "argmax", "argmin", "argsort", "sort", "nonzero", "searchsorted", "partition", "argpartition", "tobytes", "resize",
):  # fmt: skip
    _refuse(_name)
_delegate("conj", np.conjugate)
_delegate("conjugate", np.conjugate)


def plain_key(key: Any) -> Any:
    """An index that holds no traced value."""
    if isinstance(key, (int, slice)) or key is Ellipsis or isinstance(key, np.ndarray):
        return key
    if isinstance(key, tuple):
        return tuple([plain_key(part) for part in key])
    if is_traced(key) and is_traced(key := concrete(key)):
        raise Untraceable("an index that depends on the parameters cannot be traced: use np.where")
    return key


def number(value: Any) -> Any:
    """A traced array without axes as the number that NumPy's functions return; other values as they are."""
    if isinstance(value, Traced) and value.shape == () and not value._scalar:
        return Traced(value.flat, (), value.dtype)
    return value


def concrete(value: Any) -> Any:
    """The NumPy array or number behind a traced value that does not depend on the parameters; others as they are."""
    if isinstance(value, (list, tuple)) and is_traced(value):
        return type(value)([concrete(part) for part in value])
    if not isinstance(value, Traced) or not (node := value.flat).is_constant:
        return value
    elements = node.data if node.size == value.size else np.full(value.size, node.data[0])
    array = elements.reshape(value.shape).astype(value.dtype)
    return array[()] if value._scalar else array


# -- other values as traced ones -------------------------------------------------------------------------------------


def lift(value: Any, graph: Graph) -> Traced:
    """Any array or number, or an object array of traced scalars, as a Traced."""
    if isinstance(value, Traced):
        return value
    if isinstance(value, (float, int)):
        dtype = BOOL if isinstance(value, (bool, np.bool_)) else INT if isinstance(value, int) else FLOAT
        return Traced(graph.constant(float(value)), (), dtype)
    if isinstance(value, (list, tuple)) and is_traced(value):
        return join(np.stack, [lift(part, graph) for part in value])
    array = np.asarray(value)
    if array.dtype == object:
        for element in array.reshape(-1):
            if not isinstance(element, (Traced, float, int, np.number, np.bool_)):
                raise Untraceable(f"{type(element).__name__} objects in an array cannot be traced")
        parts = [lift(element, graph) for element in array.reshape(-1)]
        if any(part.shape != () for part in parts):
            raise Untraceable("an array whose elements are arrays that depend on the parameters: use np.stack")
        dtype = functools.reduce(np.promote_types, (part.dtype for part in parts))
        return Traced(graph.concatenate([part.flat for part in parts]), array.shape, dtype, scalar=False)
    if array.dtype.kind not in "fiub":
        raise Untraceable(f"an array of dtype {array.dtype} cannot be traced")
    return Traced(graph.constant(array), array.shape, array.dtype, scalar=not isinstance(value, np.ndarray))


def new_array(array: Any, graph: Graph) -> Traced:
    """A fresh array of numbers that traced values can be written into."""
    array = np.asarray(array)
    return Traced.view(Cell(graph.constant(array.astype(np.float64)), array.size), None, array.shape, array.dtype)


def is_traced(value: Any) -> bool:
    """Whether a value is traced, or an object array or a nested list that holds one that is."""
    if isinstance(value, Traced):
        return True
    if isinstance(value, np.ndarray):
        return value.dtype == object and any(isinstance(v, Traced) for v in value.reshape(-1))
    return isinstance(value, (list, tuple)) and any(map(is_traced, value))


def graph_of(*values: Any) -> Graph:
    """The graph of the traced values among `values`, nested in lists or object arrays."""
    for value in values:
        if isinstance(value, Traced):
            return value.graph
        if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.dtype == object):
            try:
                return graph_of(*(value.reshape(-1) if isinstance(value, np.ndarray) else value))
            except LookupError:
                continue
    raise LookupError("no traced value")


def spread(node: Node, shape: tuple[int, ...], to: tuple[int, ...]) -> Node:
    """The elements of an array of `shape` broadcast to `to`; one element stays one, which stands for all."""
    if node.size == 1 or shape == to:
        return node
    padded = [1] * (len(to) - len(shape)) + list(shape)
    axis = len(to) - 1
    while axis >= 0:  # runs of axes along which elements repeat, from the last
        if padded[axis] == to[axis]:
            axis -= 1
            continue
        first = axis
        while first > 0 and padded[first - 1] == 1:
            first -= 1
        times = math.prod(to[first : axis + 1])
        before, after = math.prod(padded[:first]), math.prod(padded[axis + 1 :])
        node = node.graph.expand(node, before, times, after)
        padded[first : axis + 1] = to[first : axis + 1]
        axis = first - 1
    return node


# -- elementwise -----------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=4096)
def result_dtype(ufunc: np.ufunc, types: tuple[Any, ...]) -> Any:
    """The dtype that NumPy computes in, or an error where that is not what doubles hold."""
    dtype = ufunc.resolve_dtypes((*types, *[None] * ufunc.nout))[-1]
    if dtype.kind == "f" and dtype.itemsize >= 8:
        return FLOAT
    if dtype in (BOOL, INT):
        return dtype
    chosen = ufunc in (np.multiply, np.maximum, np.minimum) and any(t == BOOL for t in types)
    if not chosen:
        raise Untraceable(
            f"np.{ufunc.__name__} computes in {dtype} here: convert the data, or the booleans, by astype(float)"
        )
    return dtype


def apply(ufunc: np.ufunc, inputs: Sequence[Any]) -> Any:
    """An elementwise ufunc of arrays of which at least one is traced."""
    implementation = UFUNCS[ufunc.__name__]
    if getattr(implementation, "whole", False):
        return implementation(*inputs)
    graph: Any = None
    for v in inputs:
        if v.__class__ is Traced:
            graph = v.graph
            break
    else:
        graph = graph_of(*inputs)
    arrays: list[Traced] = []
    dtypes: list[Any] = []
    types: list[Any] = []  # Python's own numbers are weak
    shape: Any = None
    for v in inputs:
        kind = v.__class__
        array = v if kind is Traced else lift(v, graph)
        arrays.append(array)
        dtypes.append(array.dtype)
        types.append(kind if kind is float or kind is int else array.dtype)
        if shape is None:
            shape = array.shape
        elif array.shape != shape:
            shape = np.broadcast_shapes(shape, array.shape) if array.shape and shape else shape or array.shape
    dtype = result_dtype(ufunc, tuple(types))
    if 0 in shape:
        return Traced(graph.constant(np.empty(0)), shape, dtype)
    nodes = [a.flat if a.shape == shape else spread(a.flat, a.shape, shape) for a in arrays]
    return Traced(implementation(graph, dtypes, *nodes), shape, dtype)


def elementwise(name: str, *values: Any, dtype: Any = FLOAT) -> Traced:
    """The program's own operation `name` of arrays, without NumPy's rules on dtypes."""
    graph = graph_of(*values)
    arrays = [lift(v, graph) for v in values]
    shape = np.broadcast_shapes(*[a.shape for a in arrays])
    if 0 in shape:
        return Traced(graph.constant(np.empty(0)), shape, dtype)
    return Traced(graph.apply(name, *[spread(a.flat, a.shape, shape) for a in arrays]), shape, dtype)


# -- moving elements -------------------------------------------------------------------------------------------------


def move(func: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Run a function that moves elements on element numbers."""
    if func in JOINS:
        return join(func, *args, **kwargs)
    first, rest = args[0] if args else next(iter(kwargs.values())), args[1:]
    if any(map(is_traced, (*rest, *(v for v in kwargs.values() if v is not first)))):
        raise Untraceable(f"np.{func.__name__} is traced in its first argument alone")
    array = first if isinstance(first, Traced) else lift(first, graph_of(first))
    if func in (np.tril, np.triu, np.diag, np.diagflat, np.pad) and not (func is np.diag and array.ndim == 2):
        return join(func, *args, **kwargs)  # zeros are filled in
    if args:
        result = func(array.numbers, *rest, **kwargs)
    else:
        result = func(**{k: array.numbers if v is first else v for k, v in kwargs.items()})

    def wrap(numbers: Any) -> Any:
        return type(numbers)(map(wrap, numbers)) if isinstance(numbers, (list, tuple)) else array._moved(numbers)

    return wrap(result)


def join(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Run a function that joins arrays on element numbers: number 0 is the constant zero that tril or diag fills in."""
    graph = graph_of(*args, *kwargs.values())
    pool, count = [graph.constant(0.0)], 1
    dtypes: list[Any] = []

    def number(value: Any) -> Any:
        nonlocal count
        if isinstance(value, (list, tuple)):
            return type(value)(map(number, value))
        array = lift(value, graph)
        numbers = np.arange(count, count + array.size).reshape(array.shape)
        pool.append(array.full())
        dtypes.append(array.dtype)
        count += array.size
        return numbers

    # all arguments of np.append(a, values), broadcast_arrays(a, b), meshgrid(a, b) are arrays; of the others the first
    arrays = args if func in (np.append, np.broadcast_arrays, np.meshgrid) else args[:1]
    if func is np.append and len(arrays) > 2:
        arrays = args[:2]
    rest = args[len(arrays) :]
    if any(map(is_traced, (*rest, *kwargs.values()))):
        raise Untraceable(f"np.{func.__name__} is traced in its first argument alone")
    result = func(*map(number, arrays), *rest, **kwargs)
    dtype = functools.reduce(np.promote_types, dtypes)
    dtype = FLOAT if dtype.kind == "f" else dtype
    whole = None

    def wrap(numbers: Any) -> Any:
        nonlocal whole
        if isinstance(numbers, (list, tuple)):
            return type(numbers)(map(wrap, numbers))
        numbers = np.asarray(numbers)
        flat = numbers.reshape(-1)
        if flat.size == 0:
            return Traced(graph.constant(np.empty(0)), numbers.shape, dtype, scalar=False)
        if len(pool) == 2 and flat.min() > 0:
            return Traced(graph.gather(pool[1], flat - 1), numbers.shape, dtype, scalar=False)
        if flat.min() > 0 and flat.size == count - 1 and np.array_equal(flat, np.arange(1, count)):
            return Traced(graph.concatenate(pool[1:]), numbers.shape, dtype, scalar=False)
        starts = np.cumsum([0, *[p.size for p in pool]])
        if flat.min() == 0 and np.array_equal(np.sort(flat[flat > 0]), np.arange(1, count)):
            # every element once, zeros between: parts at places
            where = np.argsort(flat, kind="stable")[flat.size - (count - 1) :]
            places = [as_place(where[a - 1 : b - 1]) for a, b in itertools.pairwise(starts[1:])]
            return Traced(graph.assemble(pool[1:], places, flat.size), numbers.shape, dtype, scalar=False)
        if whole is None:
            whole = graph.concatenate(pool)
        return Traced(graph.gather(whole, flat), numbers.shape, dtype, scalar=False)

    return wrap(result)


def axes_of(axis: Any, ndim: int) -> tuple[int, ...]:
    """`axis` of a reduction as a tuple of non-negative ints."""
    if axis is None:
        return tuple(range(ndim))
    axes = tuple(operator.index(a) for a in axis) if isinstance(axis, tuple) else (operator.index(axis),)
    for a in axes:
        if not -ndim <= a < ndim:
            raise np.exceptions.AxisError(a, ndim)
    return tuple(a % ndim for a in axes)


def blocks(a: Traced, axis: Any) -> tuple[Node, int, int, int, tuple[int, ...], tuple[int, ...]]:
    """The elements with the axes to be reduced as R of (A, R, B), the result's shape, and that of keepdims."""
    axes = axes_of(axis, a.ndim)
    kept = [i for i in range(a.ndim) if i not in axes]
    shape = tuple(a.shape[i] for i in kept)
    long = tuple(1 if i in axes else n for i, n in enumerate(a.shape))
    r = math.prod(a.shape[i] for i in axes)
    if axes and list(axes) == sorted(axes) and axes[-1] - axes[0] == len(axes) - 1:
        before = math.prod(a.shape[: axes[0]])
        return a.flat, before, r, math.prod(a.shape[axes[-1] + 1 :]), shape, long
    if not axes:
        return a.flat, a.size, 1, 1, shape, long
    order = np.arange(a.size).reshape(a.shape).transpose([*kept, *axes])
    return a.graph.gather(a.full(), order), math.prod(shape), r, 1, shape, long


def function(*names: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register an implementation for the NumPy functions `names`."""

    def register(implementation: Callable[..., Any]) -> Callable[..., Any]:
        FUNCTIONS.update(dict.fromkeys(names, implementation))
        return implementation

    return register
