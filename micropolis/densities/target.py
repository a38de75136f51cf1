"""What the compiled targets share: their C struct, their recipe for saved files, checks of matrices."""

from __future__ import annotations

import abc
import copy
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import checks
from .._density import CDensity, library
from ..density import Density
from ..errors import InputError

Array = NDArray[np.float64]

LANES = 8
LOG_TWO_PI = math.log(2 * math.pi)


class Target(Density, abc.ABC):
    """A density of the compiled library: its template in C and the arguments it was made from.

    A subclass names `template`, hands over its checked constructor arguments, sets `readable`, and implements
    `_fields`, the members of the C struct in order.
    """

    template: str

    def __init__(self, dim: int, arguments: dict[str, Any]) -> None:
        super().__init__(dim)
        self._arguments = arguments

    @property
    def recipe(self) -> tuple[str, dict[str, Any]]:
        """Class name and constructor arguments (arrays and numbers): what `from_recipe` rebuilds the density from."""
        return type(self).__name__, copy.deepcopy(self._arguments)

    @abc.abstractmethod
    def _fields(self) -> list[Array | int | float]:
        """Members of the C struct that the template's functions read."""

    def _bind(self) -> CDensity:
        fields = self._fields()
        struct = words(*fields)
        return CDensity(
            self.dim, user_data=struct.ctypes.data, keep_alive=(struct, fields), template=library()[self.template]
        )


def words(*fields: NDArray[Any] | int | float) -> NDArray[np.int64]:
    """A C struct of 8-byte members: the address of an array, an integer, or the bits of a float."""
    struct = np.empty(len(fields), dtype=np.int64)
    for i, field in enumerate(fields):
        if isinstance(field, np.ndarray):
            struct[i] = field.ctypes.data
        elif isinstance(field, float):
            struct[i : i + 1].view(np.float64)[0] = field
        else:
            struct[i] = field
    return struct


def aligned(shape: tuple[int, ...]) -> Array:
    """Zeros whose first element starts a cache line."""
    size = math.prod(shape)
    memory = np.zeros(size + LANES)
    start = -memory.ctypes.data % 64 // 8
    return memory[start : start + size].reshape(shape)


def stride(dim: int) -> int:
    """Length of a padded row: whole vectors, and never whole pages (as mp_stride in csrc/common/simd.h)."""
    length = -(-dim // LANES) * LANES
    return length + LANES if length % 512 == 0 else length


def padded(matrices: Array) -> Array:
    """Square matrices (..., dim, dim) with their rows padded by zeros to `stride(dim)`."""
    dim = matrices.shape[-1]
    rows = aligned((*matrices.shape[:-1], stride(dim)))
    rows[..., :dim] = matrices
    return rows


def own(array: ArrayLike) -> Array:
    """A contiguous copy: a density never changes after it was made."""
    return np.array(array, dtype=np.float64, order="C")


def finite(name: str, value: Any, shape: str, ndim: int) -> Array:
    """`value` as an array of its own, finite, of `ndim` axes, none of them empty; `shape` says what was expected."""
    array = checks.numbers(name, value)
    if array.ndim != ndim or array.size == 0:
        raise InputError(f"{name}: expected shape {shape}, got {array.shape}")
    if not np.all(np.isfinite(array)):
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InputError(f"{name}: expected finite numbers, got {array[where]} at index {where}")
    return own(array)


def positive_definite(name: str, matrix: Array) -> tuple[Array, Array]:
    """The exactly symmetric part of a positive definite matrix (dim, dim) and its lower Cholesky factor."""
    dim = matrix.shape[0]
    if matrix.shape != (dim, dim):
        raise InputError(f"{name}: expected a square matrix, got shape {matrix.shape}")
    scale = np.sqrt(np.abs(np.diag(matrix)))
    if np.any(np.abs(matrix - matrix.T) > 1e-8 * np.outer(scale, scale)):
        raise InputError(f"{name}: expected a symmetric matrix, got one that differs from its transpose")
    symmetric = 0.5 * (matrix + matrix.T)
    try:
        factor = np.linalg.cholesky(symmetric)
    except np.linalg.LinAlgError:
        raise InputError(
            f"{name}: expected a positive definite matrix, got smallest eigenvalue {np.linalg.eigvalsh(symmetric)[0]:g}"
        ) from None
    return symmetric, np.asarray(factor, dtype=np.float64)


def inverse_from_cholesky(name: str, factor: Array) -> Array:
    """Inverse of L L', exactly symmetric."""
    inverse_factor = np.linalg.inv(factor)
    inverse = inverse_factor.T @ inverse_factor
    if not np.all(np.isfinite(inverse)):
        raise InputError(f"{name}: expected an invertible matrix, got one whose inverse overflows")
    return np.asarray(0.5 * (inverse + inverse.T), dtype=np.float64)
