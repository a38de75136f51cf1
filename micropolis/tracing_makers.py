"""np.array, np.zeros and their like for code that is traced: what they make may hold expressions.

NumPy asks no one when an array is made, so in plain code a list of expressions becomes an array of objects, of which
linear algebra knows nothing, and an array made by np.zeros takes numbers alone. Only where a trace fails is it repeated
with these makers in their place: for the thread that traces, and not for calls that libraries make.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Callable, Iterator
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


@contextlib.contextmanager
def makers_of(kind: type) -> Iterator[None]:
    """Let the code that this thread runs make arrays of `kind`, casadi.SX or casadi.MX."""
    thread, tracing = threading.get_ident(), True

    def serves() -> bool:
        """Whether the caller of a maker is the traced code, not a library's nor one that bound its name meanwhile."""
        name = sys._getframe(2).f_globals.get("__name__", "")
        ours = name.partition(".")[0] not in LIBRARIES or name.startswith("micropolis.data")
        return tracing and ours and threading.get_ident() == thread

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

    with _one_at_a_time:
        originals = {name: getattr(np, name) for name in (*NEW, *GIVEN)}
        try:
            for name, make in originals.items():
                setattr(np, name, given(make) if name in GIVEN else new(make, name.startswith("empty")))
            yield
        finally:
            tracing = False
            for name, make in originals.items():
                setattr(np, name, make)


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
