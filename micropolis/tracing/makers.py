"""What stands in, while code is traced, for functions that NumPy and SciPy let nobody else answer.

Nobody is asked when an array is made, so in plain code a list of traced numbers becomes an array of objects, of which
linear algebra knows nothing, and an array made by np.zeros takes numbers alone; SciPy's functions that are no ufuncs,
and those of math, take numbers alone too. Only where a trace fails is it repeated with others in their place: for the
thread that traces, not for calls that libraries make, and never after.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import numpy as np

from .arrays import FLOAT, Traced, Untraceable, is_traced, lift, new_array, number, spread
from .fillable import ORIGINAL, Fillable, fillable, filling
from .graph import Graph
from .others import Pieces

__all__ = ["GIVEN", "NEW", "fillable", "namespaces_of", "stand_ins"]

# Makers of arrays that code goes on to fill; the unset elements of np.empty are zeros. Makers of what is given.
NEW = (
    "zeros", "ones", "empty", "full", "eye", "identity", "zeros_like", "ones_like", "empty_like", "full_like",
)  # fmt: skip
GIVEN = ("array", "asarray", "asanyarray", "ascontiguousarray")
LIBRARIES = {"micropolis", "numpy", "scipy"}
_one_at_a_time = threading.RLock()

Place = tuple[Any, str, Any, bool]  # object or namespace, name, what stood there, whether it was its own
Either = Callable[[Callable[..., Any], Callable[..., Any]], Callable[..., Any]]


def namespaces_of(trace: TracebackType | None) -> list[dict[str, Any]]:
    """The global names of the modules that a traceback runs through, libraries left out."""
    found: dict[int, dict[str, Any]] = {}
    while trace is not None:
        if is_traced_code(names := trace.tb_frame.f_globals):
            names = names.get(ORIGINAL, names)
            found[id(names)] = names
        trace = trace.tb_next
    return list(found.values())


def is_traced_code(names: dict[str, Any]) -> bool:
    """Whether these are the global names of code that is no library."""
    module = names.get("__name__") or ""
    return module.partition(".")[0] not in LIBRARIES or module.startswith("micropolis.data")


@contextlib.contextmanager
def stand_ins(graph: Graph, namespaces: list[dict[str, Any]]) -> Iterator[None]:
    """Let the code that this thread runs make arrays of nodes of `graph`, and call SciPy and math on them.

    `namespaces` are those where functions may stand under names of their own, as after ``from numpy import zeros``.
    """
    thread, tracing = threading.get_ident(), True

    def serves() -> bool:
        """Whether the caller is the traced code, not a library's nor one that bound the name meanwhile."""
        return tracing and threading.get_ident() == thread and is_traced_code(sys._getframe(2).f_globals)

    def new(make: Callable[..., Any], blank: bool) -> Callable[..., Any]:
        @functools.wraps(make)
        def maker(*args: Any, **kwargs: Any) -> Any:
            if make.__name__.startswith("full") and is_traced((*args, *kwargs.values())) and serves():
                return _filled(make, graph, *args, **kwargs)
            array = make(*args, **kwargs)
            if not serves() or isinstance(array, Traced) or array.dtype != FLOAT:
                return array
            return new_array(np.zeros(array.shape) if blank else array, graph)

        return maker

    def given(make: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(make)
        def maker(*args: Any, **kwargs: Any) -> Any:
            if not (args and serves()):
                return make(*args, **kwargs)
            if not is_traced(args[0]):
                array = make(*args, **kwargs)
                fresh = isinstance(args[0], (list, tuple)) or (isinstance(args[0], Fillable) and make is np_array)
                return new_array(array, graph) if fresh and array.dtype == FLOAT else array
            return _given(make, graph, *args, **kwargs)

        return maker

    def either(original: Callable[..., Any], traced: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def function(*args: Any, **kwargs: Any) -> Any:
            ours = tracing and threading.get_ident() == thread and is_traced((*args, *kwargs.values()))
            return number(traced(*args, **kwargs)) if ours else original(*args, **kwargs)

        return function

    with _one_at_a_time, filling(graph):
        places: list[Place] = []
        np_array, graph.takes_apart = np.array, True
        try:
            _put(places, np, {name: new(getattr(np, name), name.startswith("empty")) for name in NEW})
            _put(places, np, {name: given(getattr(np, name)) for name in GIVEN})
            _put(
                places,
                np,
                {name: Pieces(getattr(np, name), columns) for name, columns in (("r_", False), ("c_", True))},
            )
            _put_others(places, either)
            replaced = {id(old): getattr(holder, name) for holder, name, old, _ in places}
            for names in namespaces:
                _put(places, names, {name: replaced[id(old)] for name, old in names.items() if id(old) in replaced})
            yield
        finally:
            tracing = False
            for holder, name, old, own in reversed(places):
                if isinstance(holder, dict):
                    holder[name] = old
                elif own:
                    setattr(holder, name, old)
                else:
                    delattr(holder, name)


def _filled(make: Callable[..., Any], graph: Graph, first: Any, fill_value: Any, *args: Any, **kwargs: Any) -> Any:
    """np.full or np.full_like of a traced value."""
    if isinstance(first, Traced):
        return make(first, fill_value, *args, **kwargs)
    fill, shape = lift(fill_value, graph), make(first, 0.0, *args, **kwargs).shape
    return Traced(spread(fill.flat, fill.shape, shape), shape, fill.dtype, scalar=False)


def _given(make: Callable[..., Any], graph: Graph, *args: Any, **kwargs: Any) -> Any:
    """np.array and its kin of something that holds traced values."""
    dtype = args[1] if len(args) > 1 else kwargs.get("dtype")
    if dtype is not None and np.dtype(dtype) not in (np.float64, object):
        raise Untraceable(f"an array of {np.dtype(dtype)} was asked of values that depend on the parameters")
    if isinstance(args[0], Traced) and make.__name__ != "array":  # not a copy
        array = args[0]
        return array.astype(FLOAT) if dtype is not None and array.dtype != FLOAT else array
    array = _joined(args[0], graph)
    shape = make(np.empty(array.shape), *args[1:], **kwargs).shape
    return Traced(array.flat, shape, FLOAT if dtype is not None else array.dtype, scalar=False)


def _joined(value: Any, graph: Graph) -> Traced:
    """An array out of nested lists whose elements may be arrays."""
    if isinstance(value, (list, tuple)) and is_traced(value):
        parts: Any = [_joined(part, graph) for part in value]
        joined: Traced = lift(np.stack(parts), graph)
        return joined
    return lift(value, graph)


def _put(places: list[Place], holder: Any, functions: dict[str, Any]) -> None:
    """Set `functions` in a module, class or namespace, and note in `places` what stood there."""
    for name, function in functions.items():
        if isinstance(holder, dict):
            places.append((holder, name, holder[name], True))
            holder[name] = function
        else:
            places.append((holder, name, getattr(holder, name), name in vars(holder)))
            setattr(holder, name, function)


def _put_others(places: list[Place], either: Either) -> None:
    """In the modules of SciPy and in others that are loaded; those that are not have not been called."""
    from . import others, sparse, splines

    for (module, name), function in others.PLAIN.items():
        if (loaded := sys.modules.get(module)) and hasattr(loaded, name):
            _put(places, loaded, {name: either(getattr(loaded, name), function)})
    if interpolate := sys.modules.get("scipy.interpolate"):
        for name, call in splines.CALLS.items():
            if holder := getattr(interpolate, name, None):
                _put(places, holder, {"__call__": either(holder.__call__, call)})
    if matrices := sys.modules.get("scipy.sparse._base"):
        for holder in (matrices._spbase, sys.modules["scipy.sparse"].spmatrix):
            own = {name: f for name, f in sparse.METHODS.items() if name in vars(holder)}
            _put(places, holder, {name: either(getattr(holder, name), f) for name, f in own.items()})
    if pandas := sys.modules.get("pandas"):
        for holder in (pandas.DataFrame, pandas.Series):
            _put(places, holder, {name: either(getattr(holder, name), f) for name, f in others.FRAMES.items()})
    if not any(name in sys.modules for name in ("scipy.special", "scipy.linalg", "scipy.stats")):
        return
    from .scipy_functions import PLAIN, methods

    for (module, name), function in PLAIN.items():
        if loaded := sys.modules.get(module):
            _put(places, loaded, {name: either(getattr(loaded, name), function)})
    if stats := sys.modules.get("scipy.stats"):
        for (distribution, name), function in methods().items():
            holder = type(getattr(stats, distribution))  # frozen distributions make another of the class
            _put(places, holder, {name: either(getattr(holder, name), function)})
