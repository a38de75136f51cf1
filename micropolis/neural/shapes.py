"""Shapes along a network, the layout of its parameters, and their initial values."""

from __future__ import annotations

import math
import mmap
import os
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .. import checks
from ..errors import InputError, InputTypeError
from .layers import Activation, Flatten, Layer, Linear, Shape

Array = NDArray[Any]


def real_dtype(value: DTypeLike) -> np.dtype[Any]:
    """float32 or float64."""
    try:
        dtype = np.dtype(value)
    except TypeError:
        dtype = np.dtype(object)
    if dtype not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise InputTypeError(f"dtype: expected 'float32' or 'float64', got {value!r}")
    return dtype


def cast(name: str, values: Array, dtype: np.dtype[Any]) -> Array:
    """`values` in `dtype`, finite; checked a block of rows at a time, since a memory map may be larger than memory."""
    with np.errstate(over="ignore"):
        result: Array = np.asarray(values, dtype=dtype)
    for start in range(0, len(result), 4096):
        finite = np.isfinite(result[start : start + 4096])
        if not np.all(finite):
            first, *others = (int(i) for i in np.argwhere(~finite)[0])
            where = (start + first, *others)
            at = where if others else where[0]
            raise InputError(f"{name}: expected finite numbers of {dtype.name}, got {values[where]:g} at index {at}")
    return result


def is_mapped(array: Any) -> bool:
    """Whether an array lies in a memory-mapped file, as NumPy's views of a memmap do without being one."""
    while array is not None and not isinstance(array, mmap.mmap):
        array = getattr(array, "base", None)
    return array is not None


def checked_shape(value: Any) -> Shape:
    """`value` as the shape of one row."""
    if not isinstance(value, tuple | list) or len(value) not in (1, 3):
        raise InputTypeError(f"input_shape: expected (n,) or (channels, height, width), got {value!r}")
    return tuple(checks.integer("input_shape", side, least=1, most=2**31 - 1) for side in value)


def layout(layers: tuple[Layer, ...]) -> dict[str, tuple[int, Shape]]:
    """Name -> (offset in the flat vector, shape) of every parameter tensor."""
    tensors: dict[str, tuple[int, Shape]] = {}
    offset = 0
    for number, layer in enumerate(layers):
        for name, shape in layer.parameter_shapes.items():
            tensors[f"{number}.{name}"] = offset, shape
            offset += math.prod(shape)
    return tensors


def check_memory(n_parameters: int) -> None:
    """Raise where not even the initial weights fit into the machine."""
    # asked of the machine, since Linux hands out more memory than there is and kills the process that uses it
    if n_parameters * 8 > os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"):
        raise InputError(f"layers: no memory for {n_parameters} parameters")


def implied_shape(layers: tuple[Layer, ...]) -> Shape | None:
    """Shape of a row where a Linear comes before anything that cares for images."""
    for layer in layers:
        if isinstance(layer, Linear):
            return (layer.in_features,)
        if not isinstance(layer, Activation | Flatten):
            return None
    return None


def shapes_behind(layers: tuple[Layer, ...], input_shape: Shape) -> list[Shape]:
    """Shape of a row behind every layer."""
    shapes: list[Shape] = []
    before, shape = f"input_shape {input_shape}", input_shape
    for number, layer in enumerate(layers):
        try:
            shape = layer.output_shape(shape)
        except InputError as error:
            raise InputError(f"layers: number {number} does not follow from {before}: {error}") from None
        before = f"number {number}, {layer}, with output of shape {shape}"
        shapes.append(shape)
    return shapes


def initial_parameters(layers: tuple[Layer, ...], seed: Any) -> NDArray[np.float64]:
    """N(0, 1) / sqrt(fan_in), tensor after tensor."""
    try:
        rng = np.random.default_rng(seed)
    except (TypeError, ValueError) as error:
        raise InputTypeError(f"seed: expected an integer >= 0, a Generator or None, got {seed!r}: {error}") from None
    parts = [
        rng.standard_normal(math.prod(shape)) / math.sqrt(layer.fan_in)
        for layer in layers
        for shape in layer.parameter_shapes.values()
    ]
    return np.concatenate(parts)
