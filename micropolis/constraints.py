"""Constrained parameters: the maps from unconstrained coordinates, their log Jacobians, and their inverses.

The maps are those of the Stan reference manual ("Constraint transforms"): log, scaled logit, ordered, isometric log
ratio for the simplex, canonical partial correlations for the Cholesky factor of a correlation matrix (Lewandowski,
Kurowicka and Joe 2009). `constrain` is plain NumPy over the last axis, so one code maps batches of draws and is traced.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import checks
from .errors import InputError

Array = NDArray[np.float64]


def _shape(value: Any) -> tuple[int, ...]:
    """A shape argument, an int or a sequence of ints, as a tuple of positive ints."""
    entries = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return tuple(checks.integer("shape", entry, least=1) for entry in entries)


def _bound(name: str, value: Any) -> float:
    return checks.real(name, value)


class Parameter(abc.ABC):
    """What the parameters share; a subclass sets `shape` and, where it is not the number of elements, `size`."""

    shape: tuple[int, ...]
    support: ClassVar[str]  # in words, for messages

    @property
    def size(self) -> int:
        """Number of unconstrained coordinates."""
        return math.prod(self.shape)

    @abc.abstractmethod
    def constrain(self, u: Any) -> tuple[Any, Any]:
        """Value (..., *shape) and log Jacobian determinant (...) at unconstrained u (..., size)."""

    @abc.abstractmethod
    def _inverse(self, value: Array) -> Array:
        """Unconstrained coordinates (..., size) of a value (..., *shape) inside the support."""

    def _inside(self, value: Array) -> bool:
        return bool(np.all(np.isfinite(value)))

    def unconstrain(self, value: ArrayLike, name: str = "value") -> Array:
        """Unconstrained coordinates (..., size) of `value` (..., *shape).

        Raises
        ------
        InputError
            If the value has another shape or lies outside the support; the message names `name` and the value.
        """
        array = checks.numbers(name, value)
        rank = len(self.shape)
        if array.shape[array.ndim - rank :] != self.shape or array.ndim < rank:
            raise InputError(f"{name}: expected shape (..., {', '.join(map(str, self.shape))}), got {array.shape}")
        if not self._inside(array):
            raise InputError(
                f"{name}: expected {self.support.format(**self.__dict__)}, got {np.array2string(array, threshold=20)}"
            )
        return self._inverse(array)

    def to_json(self) -> dict[str, Any]:
        """A description of plain JSON types that `Parameter.from_json` reads."""
        described = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        return {"type": type(self).__name__} | {k: list(v) if isinstance(v, tuple) else v for k, v in described.items()}

    @staticmethod
    def from_json(description: Mapping[str, Any]) -> Parameter:
        """The parameter that `to_json` described."""
        arguments = dict(description)
        kind = arguments.pop("type", None)
        if kind not in KINDS:
            raise InputError(f"type: expected one of {', '.join(KINDS)}, got {kind!r}")
        parameter: Parameter = KINDS[kind](**arguments)
        return parameter


class Elementwise(Parameter):
    """A parameter of any shape, each element mapped by itself."""

    def _normalise(self) -> None:
        object.__setattr__(self, "shape", _shape(self.shape))

    def _arrange(self, u: Any) -> Any:
        return u.reshape((*u.shape[:-1], *self.shape))

    def _flatten(self, value: Array) -> Array:
        return value.reshape((*value.shape[: value.ndim - len(self.shape)], self.size))


@dataclass(frozen=True)
class Real(Elementwise):
    """Any real number, or an array of them.

    Parameters
    ----------
    shape : int or tuple of int, default ()
        Shape of the parameter; () is a scalar.

    Examples
    --------
    >>> import micropolis as mp
    >>> mp.Real(8).shape
    (8,)
    """

    shape: Any = ()
    support: ClassVar[str] = "finite numbers"

    def __post_init__(self) -> None:
        self._normalise()

    def constrain(self, u: Any) -> tuple[Any, Any]:
        return self._arrange(u), np.zeros(u.shape[:-1])

    def _inverse(self, value: Array) -> Array:
        return self._flatten(value)


@dataclass(frozen=True)
class Positive(Elementwise):
    """A number > 0, or an array of them: exp(u).

    Parameters
    ----------
    shape : int or tuple of int, default ()
    """

    shape: Any = ()
    support: ClassVar[str] = "numbers > 0"

    def __post_init__(self) -> None:
        self._normalise()

    def constrain(self, u: Any) -> tuple[Any, Any]:
        return self._arrange(np.exp(u)), np.sum(u, axis=-1)

    def _inside(self, value: Array) -> bool:
        return super()._inside(value) and bool(np.all(value > 0))

    def _inverse(self, value: Array) -> Array:
        return self._flatten(np.log(value))


@dataclass(frozen=True)
class Lower(Elementwise):
    """A number > bound, or an array of them: bound + exp(u).

    Parameters
    ----------
    bound : float
    shape : int or tuple of int, default ()
    """

    bound: float
    shape: Any = ()
    support: ClassVar[str] = "numbers > {bound:g}"

    def __post_init__(self) -> None:
        self._normalise()
        object.__setattr__(self, "bound", _bound("bound", self.bound))

    def constrain(self, u: Any) -> tuple[Any, Any]:
        return self._arrange(self.bound + np.exp(u)), np.sum(u, axis=-1)

    def _inside(self, value: Array) -> bool:
        return super()._inside(value) and bool(np.all(value > self.bound))

    def _inverse(self, value: Array) -> Array:
        return self._flatten(np.log(value - self.bound))


@dataclass(frozen=True)
class Upper(Elementwise):
    """A number < bound, or an array of them: bound - exp(u).

    Parameters
    ----------
    bound : float
    shape : int or tuple of int, default ()
    """

    bound: float
    shape: Any = ()
    support: ClassVar[str] = "numbers < {bound:g}"

    def __post_init__(self) -> None:
        self._normalise()
        object.__setattr__(self, "bound", _bound("bound", self.bound))

    def constrain(self, u: Any) -> tuple[Any, Any]:
        return self._arrange(self.bound - np.exp(u)), np.sum(u, axis=-1)

    def _inside(self, value: Array) -> bool:
        return super()._inside(value) and bool(np.all(value < self.bound))

    def _inverse(self, value: Array) -> Array:
        return self._flatten(np.log(self.bound - value))


@dataclass(frozen=True)
class Interval(Elementwise):
    """A number strictly between two bounds, or an array of them: lo + (hi - lo) / (1 + exp(-u)).

    Parameters
    ----------
    lo, hi : float
        Bounds, lo < hi.
    shape : int or tuple of int, default ()
    """

    lo: float
    hi: float
    shape: Any = ()
    support: ClassVar[str] = "numbers between {lo:g} and {hi:g}, bounds excluded"

    def __post_init__(self) -> None:
        self._normalise()
        object.__setattr__(self, "lo", _bound("lo", self.lo))
        object.__setattr__(self, "hi", _bound("hi", self.hi))
        if not self.lo < self.hi:
            raise InputError(f"lo, hi: expected lo < hi, got lo={self.lo:g} and hi={self.hi:g}")

    def constrain(self, u: Any) -> tuple[Any, Any]:
        log_p, log_q = -np.logaddexp(0.0, -u), -np.logaddexp(0.0, u)
        width = self.hi - self.lo
        return self._arrange(self.lo + width * np.exp(log_p)), np.sum(math.log(width) + log_p + log_q, axis=-1)

    def _inside(self, value: Array) -> bool:
        return super()._inside(value) and bool(np.all((value > self.lo) & (value < self.hi)))

    def _inverse(self, value: Array) -> Array:
        return self._flatten(np.log(value - self.lo) - np.log(self.hi - value))


class Vector(Parameter):
    """A vector of n elements that are constrained together."""

    n: int

    def _normalise(self, least: int) -> None:
        object.__setattr__(self, "n", checks.integer("n", self.n, least=least))

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return (self.n,)


@dataclass(frozen=True)
class Ordered(Vector):
    """An increasing vector: x_0 = u_0, x_k = x_{k-1} + exp(u_k).

    Parameters
    ----------
    n : int
    """

    n: int
    support: ClassVar[str] = "strictly increasing numbers"

    def __post_init__(self) -> None:
        self._normalise(least=1)

    def constrain(self, u: Any) -> tuple[Any, Any]:
        steps = np.concatenate([u[..., :1], np.exp(u[..., 1:])], axis=-1)
        return np.cumsum(steps, axis=-1), np.sum(u[..., 1:], axis=-1)

    def _inside(self, value: Array) -> bool:
        return super()._inside(value) and bool(np.all(np.diff(value, axis=-1) > 0))

    def _inverse(self, value: Array) -> Array:
        return np.concatenate([value[..., :1], np.log(np.diff(value, axis=-1))], axis=-1)


@dataclass(frozen=True)
class Simplex(Vector):
    """Positive numbers that sum to 1: the softmax of a vector of sum zero (isometric log ratio; n - 1 coordinates).

    The density is with respect to the first n - 1 elements, as Dirichlet densities are written.

    Parameters
    ----------
    n : int
        At least 2.
    """

    n: int
    support: ClassVar[str] = "positive numbers that sum to 1"

    def __post_init__(self) -> None:
        self._normalise(least=2)

    @property
    def size(self) -> int:
        return self.n - 1

    @cached_property
    def _basis(self) -> Array:
        """Helmert's orthonormal basis (n - 1, n) of the vectors that sum to zero."""
        basis = np.zeros((self.n - 1, self.n))
        for k in range(1, self.n):
            basis[k - 1, :k] = 1 / math.sqrt(k * (k + 1))
            basis[k - 1, k] = -math.sqrt(k / (k + 1))
        return basis

    def constrain(self, u: Any) -> tuple[Any, Any]:
        scores = u @ self._basis
        total = np.logaddexp.reduce(scores, axis=-1, keepdims=True)
        log_x = scores - total
        return np.exp(log_x), np.sum(log_x, axis=-1) + 0.5 * math.log(self.n)

    def _inside(self, value: Array) -> bool:
        return super()._inside(value) and bool(np.all(value > 0) and np.all(np.abs(np.sum(value, axis=-1) - 1) < 1e-8))

    def _inverse(self, value: Array) -> Array:
        return np.log(value) @ self._basis.T


@dataclass(frozen=True)
class CorrelationCholesky(Parameter):
    """Lower Cholesky factor (n, n) of a correlation matrix, by canonical partial correlations tanh(u).

    The density is with respect to the elements below the diagonal.

    Parameters
    ----------
    n : int
        At least 2.
    """

    n: int
    support: ClassVar[str] = "a lower triangular matrix with rows of length 1 and a positive diagonal"

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", checks.integer("n", self.n, least=2))

    @property
    def shape(self) -> tuple[int, ...]:  # type: ignore[override]
        return (self.n, self.n)

    @property
    def size(self) -> int:
        return self.n * (self.n - 1) // 2

    def constrain(self, u: Any) -> tuple[Any, Any]:
        z = np.tanh(u)
        log_rest = 2 * (math.log(2) - np.logaddexp(u, -u))  # log(1 - z^2)
        lead = u.shape[:-1]
        rows = [np.broadcast_to(np.eye(self.n)[0], (*lead, self.n))]
        log_jacobian = np.zeros(lead)
        for i in range(1, self.n):
            row = slice(i * (i - 1) // 2, i * (i + 1) // 2)
            # log of the squared length that the first k elements of the row leave
            left = np.concatenate([np.zeros((*lead, 1)), np.cumsum(log_rest[..., row], axis=-1)], axis=-1)
            below = z[..., row] * np.exp(0.5 * left[..., :-1])
            rows.append(
                np.concatenate([below, np.exp(0.5 * left[..., -1:]), np.zeros((*lead, self.n - 1 - i))], axis=-1)
            )
            log_jacobian = log_jacobian + np.sum(log_rest[..., row] + 0.5 * left[..., :-1], axis=-1)
        return np.stack(rows, axis=-2), log_jacobian

    def _inside(self, value: Array) -> bool:
        lengths = np.sum(value * value, axis=-1)
        diagonal = np.diagonal(value, axis1=-2, axis2=-1)
        return (
            super()._inside(value)
            and bool(np.all(np.triu(value, 1) == 0) and np.all(diagonal > 0))
            and bool(np.all(np.abs(lengths - 1) < 1e-8))
        )

    def _inverse(self, value: Array) -> Array:
        squares = np.cumsum(value * value, axis=-1)
        parts = []
        for i in range(1, self.n):
            for j in range(i):
                left = 1.0 - (squares[..., i, j - 1] if j else 0.0)
                parts.append(np.arctanh(value[..., i, j] / np.sqrt(left)))
        return np.stack(parts, axis=-1)


KINDS: dict[str, Any] = {
    kind.__name__: kind for kind in (Real, Positive, Lower, Upper, Interval, Ordered, Simplex, CorrelationCholesky)
}
