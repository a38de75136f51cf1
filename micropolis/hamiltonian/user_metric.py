"""A metric of the user's: two functions that Numba compiles, tried before a run; and metrics from saved traces."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import checks
from ..density import Density
from ..errors import InputError, InputTypeError
from .metrics import (
    USER_METRIC,
    GradientSquare,
    Hessian,
    HessianDiag,
    Metric,
    MetricAt,
    SoftAbs,
    _from_matrix,
    _point,
)

Array = NDArray[np.float64]

ARGUMENTS = {"metric": ("q", "G"), "contraction": ("q", "m", "c")}


@dataclass(frozen=True, eq=False)
class UserMetric(Metric):
    """A metric of the user's: two functions that Numba compiles.

    Parameters
    ----------
    metric : function
        ``metric(q, G)`` fills G (dim, dim), symmetric; where it is not positive definite the trajectory is rejected.
    contraction : function
        ``contraction(q, m, c)`` fills c (dim,): c_k = sum_ij m_ij dG_ij/dq_k for symmetric m (dim, dim).

    Notes
    -----
    Both are tried once before a run. Where one raises, at an index out of range too, the trajectory is rejected
    (functions that come compiled by Numba check their indices if they were told to).

    Runs with ``backend="c"``. A file keeps no functions: a trace made with a metric of the user's is saved without it
    and resumed from memory only.

    Examples
    --------
    >>> import micropolis as mp
    >>> def metric(q, G):
    ...     G[0, 0] = 1.0 + q[0] ** 2
    >>> def contraction(q, m, c):
    ...     c[0] = m[0, 0] * 2.0 * q[0]
    >>> kernel = mp.RMHMC(0.3, 5, metric=mp.UserMetric(metric, contraction))
    >>> trace = mp.sample(mp.densities.Gaussian([0.0]), kernel, draws=10, warmup=0, chains=1, seed=1)
    >>> trace.draws.shape
    (1, 10, 1)
    """

    metric: Callable[..., Any]
    contraction: Callable[..., Any]

    kind: ClassVar[int] = USER_METRIC
    derivatives: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for name in ("metric", "contraction"):
            function = getattr(self, name)
            if not callable(function):
                raise InputTypeError(f"{name}: expected a function, got {type(function).__name__}")
            try:
                inspect.signature(_plain(function)).bind(*ARGUMENTS[name])
            except (TypeError, ValueError):
                expected = f"a function of ({', '.join(ARGUMENTS[name])})"
                raise InputTypeError(f"{name}: expected {expected}, got {function!r:.100}") from None

    def compiled(self) -> tuple[Any, ...]:
        return _compile(self.metric, True), _compile(self.contraction, False)

    def check(self, dim: int) -> None:
        _try(self.metric, self.contraction, dim)

    def at(self, density: Density, q: ArrayLike) -> MetricAt:
        q = _point(density, q)
        g, metric, contraction = np.zeros((density.dim, density.dim)), self.metric, self.contraction
        metric(q, g)

        def contract(m: Array) -> Array:
            c = np.zeros(density.dim)
            contraction(q, m, c)
            return c

        return _from_matrix(g, density.grad(q), contract, "the metric")


@dataclass(frozen=True, eq=False)
class LostMetric(Metric):
    """What a saved trace has in place of a metric of the user's: a file keeps no functions."""

    kind: ClassVar[int] = USER_METRIC
    derivatives: ClassVar[tuple[str, ...]] = ()

    def compiled(self) -> tuple[Any, ...]:
        raise InputError(
            "metric: a file keeps no functions; a run with a metric of the user's is resumed from memory only"
        )

    def at(self, density: Density, q: ArrayLike) -> MetricAt:
        raise InputError("metric: a file keeps no functions")

    def to_tree(self) -> dict[str, Any]:
        return {"metric": "UserMetric"}


def _plain(function: Any) -> Any:
    """What Numba has compiled, or is to."""
    return getattr(function, "py_func", function)


@functools.lru_cache(maxsize=32)  # single steps would try them again and again
def _try(metric: Callable[..., Any], contraction: Callable[..., Any], dim: int) -> None:
    """Evaluate the plain Python functions once: raise for an index out of range and for half a matrix."""
    q, g, c = 0.3 + 0.1 * np.arange(dim) / dim, np.zeros((dim, dim)), np.zeros(dim)
    for name, function, arguments in (("metric", metric, (q, g)), ("contraction", contraction, (q, np.eye(dim), c))):
        try:
            with np.errstate(all="ignore"):
                _plain(function)(*arguments)
        except IndexError as error:
            raise InputError(f"{name}: in {dim} dimensions it raised IndexError: {error}") from error
        except Exception:  # a point that it has no value for; in a run that is a rejection
            return
    if np.all(np.isfinite(g)):
        size = np.sqrt(np.abs(np.diag(g)))
        uneven = np.argwhere(np.abs(g - g.T) > 1e-8 * np.outer(size, size))
        if len(uneven):
            i, j = (int(k) for k in uneven[0])
            raise InputError(
                f"metric: expected G to be symmetric, got G[{i},{j}] = {g[i, j]:g} and G[{j},{i}] = {g[j, i]:g}"
            )


@functools.lru_cache(maxsize=32)
def _compile(function: Callable[..., Any], is_metric: bool) -> Any:
    """The cfunc of a user's function; an exception in it rejects the point."""
    numba = checks.extra("numba", "numba", "UserMetric")
    types = numba.types
    # an index may depend on the point; beyond an array it would be written to memory of others
    options = {"error_model": "numpy", "boundscheck": True}
    source: Any = function if numba.extending.is_jitted(function) else numba.njit(**options)(function)
    pointer = types.CPointer(types.float64)
    vector, square = types.Array(types.float64, 1, "C"), types.Array(types.float64, 2, "C")
    try:
        source.compile((vector, square) if is_metric else (vector, square, vector))
    except numba.errors.NumbaError as error:
        what = "metric" if is_metric else "contraction"
        raise InputTypeError(f"{what}: Numba cannot compile it: {str(error)[:500]}") from error

    def metric(dim, q, out, user_data):  # type: ignore[no-untyped-def]
        try:
            source(numba.carray(q, dim), numba.carray(out, (dim, dim)))
        except Exception:
            return 1
        return 0

    def contraction(dim, q, m, out, user_data):  # type: ignore[no-untyped-def]
        try:
            source(numba.carray(q, dim), numba.carray(m, (dim, dim)), numba.carray(out, dim))
        except Exception:
            return 1
        return 0

    n_pointers = 2 if is_metric else 3
    signature = types.int32(types.uintp, *[pointer] * n_pointers, types.voidptr)
    return numba.cfunc(signature)(metric if is_metric else contraction)


def from_tree(tree: dict[str, Any]) -> Metric:
    """The metric that `Metric.to_tree` described."""
    options = dict(tree)
    classes: dict[str, Callable[..., Metric]] = {
        **{cls.__name__: cls for cls in (SoftAbs, Hessian, HessianDiag, GradientSquare)}, "UserMetric": LostMetric
    }  # fmt: skip
    name = options.pop("metric", None)
    if not isinstance(name, str) or name not in classes:
        raise InputError(f"metric: unknown metric {name!r}")
    try:
        return classes[name](**options)
    except TypeError as error:
        raise InputError(f"metric: {error}") from None
