"""Checks of arguments: each raises an error that names the argument, what came and what was expected."""

from __future__ import annotations

import importlib
import operator
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError, InputTypeError, MissingExtraError


def integer(name: str, value: Any, least: int, most: int | None = None) -> int:
    """`value` as an int in least..most."""
    expected = f"an integer >= {least}" if most is None else f"an integer in {least}..{most}"
    try:
        number = operator.index(value)
    except TypeError:
        raise InputTypeError(f"{name}: expected {expected}, got {value!r}") from None
    if isinstance(value, bool):
        raise InputTypeError(f"{name}: expected {expected}, got {value!r}")
    if number < least or (most is not None and number > most):
        raise InputError(f"{name}: expected {expected}, got {number}")
    return number


def real(name: str, value: Any, above: float = -np.inf, below: float = np.inf) -> float:
    """`value` as a finite float strictly between `above` and `below`."""
    expected = "a finite number"
    if above > -np.inf:
        expected += f" > {above:g}"
    if below < np.inf:
        expected += f" and < {below:g}" if above > -np.inf else f" < {below:g}"
    try:
        if isinstance(value, str | bytes):  # float() would read them
            raise TypeError
        number = float(value)
    except (TypeError, ValueError):
        raise InputTypeError(f"{name}: expected {expected}, got {value!r}") from None
    if not (np.isfinite(number) and above < number < below):
        raise InputError(f"{name}: expected {expected}, got {value!r}")
    return number


def choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """`value`, one of the strings `choices`."""
    if not (isinstance(value, str) and value in choices):
        raise InputError(f"{name}: expected one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def numbers(name: str, value: Any) -> NDArray[np.float64]:
    """`value` as a C-contiguous float64 array of finite or non-finite real numbers."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(f"{name}: expected an array of real numbers, got {type(value).__name__}: {error}") from None
    if array.dtype.kind not in "fiub":
        raise InputTypeError(f"{name}: expected an array of real numbers, got dtype {array.dtype}")
    return np.asarray(array, dtype=np.float64, order="C")


def kind(value: Any) -> str:
    """What a value is, for a message: its type, or which class it is itself, where an instance was forgotten."""
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def points(name: str, value: Any, dim: int) -> NDArray[np.float64]:
    """`value` as a float64 array (..., dim)."""
    array = numbers(name, value)
    if array.ndim == 0 or array.shape[-1] != dim:
        raise InputError(f"{name}: expected shape (..., {dim}), got {array.shape}")
    return array


def trajectory(
    dim: int, q: Any, p: Any, step_size: Any, n_steps: Any
) -> tuple[NDArray[np.float64], NDArray[np.float64], tuple[int, ...], float, int]:
    """Positions and momenta (..., dim), the shape of the rows they make together, the step and the number of steps."""
    steps, eps = integer("n_steps", n_steps, least=0), real("step_size", step_size)
    if eps == 0.0:
        raise InputError("step_size: expected a number other than 0")
    positions, momenta = points("q", q, dim), points("p", p, dim)
    try:
        shape = np.broadcast_shapes(positions.shape, momenta.shape)[:-1]
    except ValueError:
        raise InputError(f"q, p: shapes do not broadcast: {positions.shape} and {momenta.shape}") from None
    return positions, momenta, shape, eps, steps


def extra(package: str, name: str, purpose: str) -> ModuleType:
    """The optional package, imported; without it an error with the pip command for the extra `name`."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        if error.name not in (package, package.split(".")[0]):
            raise
        raise MissingExtraError(
            f"{purpose} needs {package.split('.')[0]}, which is not installed: pip install 'micropolis[{name}]'"
        ) from None
