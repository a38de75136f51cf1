"""What stands in, while code is traced, for functions that NumPy and SciPy let nobody else answer.

Nobody is asked when an array is made, so in plain code a list of expressions becomes an array of objects, of which
linear algebra knows nothing, and an array made by np.zeros takes numbers alone; SciPy's functions that are no ufuncs
take numbers alone too. Only where a trace fails is it repeated with others in their place: for the thread that traces,
not for calls that libraries make, and never after.
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

from .tracing import Traced, Untraceable, kind_of, lift

# Makers of arrays that code goes on to fill; the unset elements of np.empty are zeros. Makers of what is given.
NEW = (
    "zeros", "ones", "empty", "full", "eye", "identity", "zeros_like", "ones_like", "empty_like", "full_like",
)  # fmt: skip
GIVEN = ("array", "asarray", "asanyarray", "ascontiguousarray")
LIBRARIES = {"micropolis", "numpy", "scipy", "casadi"}
_one_at_a_time = threading.RLock()

Place = tuple[Any, str, Any, bool]  # object or namespace, name, what stood there, whether it was its own


def namespaces_of(trace: TracebackType | None) -> list[dict[str, Any]]:
    """The global names of the modules that a traceback runs through, libraries left out."""
    found: dict[int, dict[str, Any]] = {}
    while trace is not None:
        if _is_traced_code(names := trace.tb_frame.f_globals):
            found[id(names)] = names
        trace = trace.tb_next
    return list(found.values())


def _is_traced_code(names: dict[str, Any]) -> bool:
    module = names.get("__name__", "")
    return module.partition(".")[0] not in LIBRARIES or module.startswith("micropolis.data")


@contextlib.contextmanager
def stand_ins(kind: type, namespaces: list[dict[str, Any]]) -> Iterator[None]:
    """Let the code that this thread runs make arrays of `kind`, casadi.SX or casadi.MX, and call SciPy on them.

    `namespaces` are those where functions may stand under names of their own, as after ``from numpy import zeros``.
    """
    thread, tracing = threading.get_ident(), True

    def serves() -> bool:
        """Whether the caller is the traced code, not a library's nor one that bound the name meanwhile."""
        return tracing and threading.get_ident() == thread and _is_traced_code(sys._getframe(2).f_globals)

    def new(make: Callable[..., Any], blank: bool) -> Callable[..., Any]:
        @functools.wraps(make)
        def maker(*args: Any, **kwargs: Any) -> Any:
            array = make(*args, **kwargs)
            if not serves() or isinstance(array, Traced) or array.dtype != np.float64:
                return array
            return lift(np.zeros(array.shape) if blank else array, kind)

        return maker

    def given(make: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(make)
        def maker(*args: Any, **kwargs: Any) -> Any:
            if not (args and serves()):
                return make(*args, **kwargs)
            if not _holds_traced(args[0]):
                array = make(*args, **kwargs)
                literal = isinstance(args[0], (list, tuple)) and array.dtype == np.float64
                return lift(array, kind) if literal else array
            dtype = args[1] if len(args) > 1 else kwargs.get("dtype")
            if dtype is not None and np.dtype(dtype) not in (np.float64, object):
                raise Untraceable(f"an array of {np.dtype(dtype)} was asked of values that depend on the parameters")
            array = _joined(args[0], kind)
            return Traced(array.flat, make(np.empty(array.shape), *args[1:], **kwargs).shape)

        return maker

    def either(original: Callable[..., Any], traced: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def function(*args: Any, **kwargs: Any) -> Any:
            ours = tracing and threading.get_ident() == thread and _holds_traced((*args, *kwargs.values()))
            return (traced if ours else original)(*args, **kwargs)

        return function

    with _one_at_a_time:
        places: list[Place] = []
        try:
            _put(places, np, {name: new(getattr(np, name), name.startswith("empty")) for name in NEW})
            _put(places, np, {name: given(getattr(np, name)) for name in GIVEN})
            _put_scipy(places, either)
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


def _put(places: list[Place], holder: Any, functions: dict[str, Any]) -> None:
    """Set `functions` in a module, class or namespace, and note in `places` what stood there."""
    for name, function in functions.items():
        if isinstance(holder, dict):
            places.append((holder, name, holder[name], True))
            holder[name] = function
        else:
            places.append((holder, name, getattr(holder, name), name in vars(holder)))
            setattr(holder, name, function)


def _put_scipy(places: list[Place], either: Callable[..., Any]) -> None:
    """In the modules of SciPy that are loaded; others have not been called."""
    from .tracing_scipy import PLAIN, methods

    for (module, name), function in PLAIN.items():
        if loaded := sys.modules.get(module):
            _put(places, loaded, {name: either(getattr(loaded, name), function)})
    if stats := sys.modules.get("scipy.stats"):
        for (distribution, name), function in methods().items():
            holder = type(getattr(stats, distribution))  # frozen distributions make another of the class
            _put(places, holder, {name: either(getattr(holder, name), function)})


def _holds_traced(value: Any) -> bool:
    try:
        kind_of(value)
    except LookupError:
        return False
    return True


def _joined(value: Any, kind: type) -> Traced:
    """An array out of nested lists whose elements may be arrays."""
    if isinstance(value, (list, tuple)) and _holds_traced(value):
        return lift(np.stack([_joined(part, kind) for part in value]), kind)
    return lift(value, kind)
