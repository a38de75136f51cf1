"""Copies of the user's arrays that traced values can be written into: ``full = y.copy(); full[missing] = x``.

NumPy's arrays answer for their own methods. Where a trace is repeated, the function runs as a copy of itself, in which
the arrays of its closure and its globals are of a subclass whose copies are traced arrays.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import sys
import threading
from collections.abc import Callable, Iterator
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from .arrays import FLOAT, new_array
from .graph import Graph

# Containers of more values are left alone.
MOST = 1000
# The name under which a copy of global names keeps the original.
ORIGINAL = "__micropolis_original__"
_IMMUTABLE = frozenset([int, float, bool, str, bytes, complex, type(None), type, ModuleType])
_current = threading.local()  # .graph: that which this thread traces


@contextlib.contextmanager
def filling(graph: Graph) -> Iterator[None]:
    """While this lasts, copies of `Fillable` arrays that this thread makes are traced arrays of `graph`."""
    before = getattr(_current, "graph", None)
    _current.graph = graph
    try:
        yield
    finally:
        _current.graph = before


class Fillable(np.ndarray):
    """A plain array of doubles, but for its copies."""

    def __array_finalize__(self, other: Any) -> None:
        pass

    def _fresh(self, array: Any) -> Any:
        """A fresh copy, traced where the code asks for it that is traced, not a library that it calls."""
        from .makers import is_traced_code

        graph = getattr(_current, "graph", None)
        if graph is None or array.dtype != FLOAT or not is_traced_code(sys._getframe(2).f_globals):
            return array
        return new_array(array, graph)

    def copy(self, order: Any = "C") -> Any:
        return self._fresh(_plain(self).copy(order))

    def __copy__(self) -> Any:
        return _plain(self).copy()

    def __deepcopy__(self, memo: Any) -> Any:
        return _plain(self).copy()

    def flatten(self, order: Any = "C") -> Any:
        return self._fresh(_plain(self).flatten(order))

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> Any:
        return self._fresh(_plain(self).astype(dtype, *args, **kwargs))

    def __reduce__(self) -> Any:
        return _plain(self).__reduce__()

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
        if out is not None:
            kwargs["out"] = tuple(_plain(v) for v in out)
        plain = [_plain(v) for v in inputs]
        result = getattr(ufunc, method)(*plain, **kwargs)
        if out is not None:
            return out[0] if len(out) == 1 else out
        same = method == "__call__" and not kwargs and _changes_nothing(ufunc, plain)
        return self._fresh(result) if same and type(result) is np.ndarray else result

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        result = func(*_all_plain(args), **_all_plain(kwargs))
        return self._fresh(result) if func is np.copy and type(result) is np.ndarray else result


def _plain(value: Any) -> Any:
    return value.view(np.ndarray) if isinstance(value, Fillable) else value


def _all_plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _all_plain(v) for key, v in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_all_plain(v) for v in value)
    return _plain(value)


def _changes_nothing(ufunc: np.ufunc, inputs: list[Any]) -> bool:
    """y * 1.0 and the like, which are written to copy."""
    neutral = {np.multiply: (1, True), np.divide: (1, False), np.add: (0, True), np.subtract: (0, False)}
    if ufunc is np.positive:
        return True
    if ufunc not in neutral or len(inputs) != 2:
        return False
    number, commutes = neutral[ufunc]
    numbers = inputs if commutes else inputs[1:]
    return any(isinstance(v, (int, float)) and v == number for v in numbers)


# -- functions -------------------------------------------------------------------------------------------------------


def fillable(f: Callable[..., Any]) -> Callable[..., Any]:
    """A copy of a function, and of those that it calls, with `Fillable` arrays for arrays of doubles."""
    return _Copies()(f, root=True)


class _Copies:
    """What stands for the values that the functions refer to, by identity: every one is replaced once."""

    def __init__(self) -> None:
        self._made: dict[int, Any] = {}
        self._held: list[Any] = []  # the originals, so that their identity stays theirs
        self._globals: dict[int, dict[str, Any]] = {}

    def __call__(self, value: Any, root: bool = False) -> Any:
        if type(value) in _IMMUTABLE:
            return value
        if id(value) not in self._made:
            self._held.append(value)
            self._made[id(value)] = value  # for what refers to itself
            self._made[id(value)] = self._copy(value, root)
        return self._made[id(value)]

    def _copy(self, value: Any, root: bool) -> Any:
        kind = type(value)
        if kind is np.ndarray:
            return value.view(Fillable) if value.dtype == FLOAT else value
        if kind is dict and len(value) <= MOST:
            return self._container(value, {key: self(v) for key, v in value.items()}, value.values())
        if kind in (list, tuple) and len(value) <= MOST:
            return self._container(value, kind(map(self, value)), value)
        if kind is FunctionType:
            return self._function(value) if root or _is_users(value) else value
        if kind is MethodType and type(value.__func__) is FunctionType:
            return MethodType(self(value.__func__), self._object(value.__self__))
        if kind is functools.partial:
            named = {key: self(v) for key, v in value.keywords.items()}
            return functools.partial(self(value.func), *map(self, value.args), **named)
        call = getattr(kind, "__call__", None)  # noqa: B004  the function itself
        if type(call) is FunctionType and _is_users(call):
            return functools.partial(self(call), self._object(value))
        return value

    def _container(self, value: Any, made: Any, parts: Any) -> Any:
        """The copy of a container, or itself if nothing in it was replaced."""
        return made if any(self(v) is not v for v in parts) else value

    def _object(self, value: Any) -> Any:
        """A shallow copy of an object that has arrays for attributes."""
        if not isinstance(getattr(value, "__dict__", None), dict) or isinstance(value, type):
            return value
        changed = {key: new for key, v in vars(value).items() if (new := self(v)) is not v}
        if not changed:
            return value
        made = copy.copy(value)
        made.__dict__.update(changed)
        return made

    def _function(self, f: FunctionType) -> Any:
        names = self._globals.setdefault(id(f.__globals__), {**f.__globals__, ORIGINAL: f.__globals__})
        cells = tuple(CellType() for _ in f.__closure__ or ())
        made = FunctionType(f.__code__, names, f.__name__, f.__defaults__, cells)
        made.__kwdefaults__, made.__dict__ = f.__kwdefaults__, dict(f.__dict__)
        made.__qualname__, made.__module__ = f.__qualname__, f.__module__
        self._made[id(f)] = made
        for cell, old in zip(cells, f.__closure__ or (), strict=True):
            with contextlib.suppress(ValueError):  # not set yet
                cell.cell_contents = self(old.cell_contents)
        if f.__defaults__:
            made.__defaults__ = tuple(map(self, f.__defaults__))
        if f.__kwdefaults__:
            made.__kwdefaults__ = {key: self(v) for key, v in f.__kwdefaults__.items()}
        for name in _names_in(f.__code__):
            if name in f.__globals__:
                names[name] = self(f.__globals__[name])
        return made


def _is_users(f: Any) -> bool:
    from .makers import is_traced_code

    return is_traced_code(f.__globals__)


def _names_in(code: CodeType) -> set[str]:
    """Names of globals that code refers to, functions that it makes included."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _names_in(constant)
    return names
