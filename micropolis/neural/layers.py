"""The layers of a network: their shapes, their parameters, and what they compute, in NumPy.

A layer sees one row as a vector of n features, shape (n,), or as an image, shape (channels, height, width).
"""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..errors import InputError

Array = NDArray[Any]
Shape = tuple[int, ...]

# Klambauer et al. 2017
SELU_SCALE = 1.0507009873554804934193349852946
SELU_ALPHA = 1.6732632423543772848170429916717


class Layer(abc.ABC):
    """Base of the layers, which are frozen dataclasses of their options."""

    @property
    def parameter_shapes(self) -> dict[str, Shape]:
        """Shape of every parameter tensor by name, in the order in which they lie in the flat vector."""
        return {}

    @property
    def fan_in(self) -> int:
        """How many inputs reach one output; 0 where there are no parameters."""
        return 0

    @abc.abstractmethod
    def output_shape(self, shape: Shape) -> Shape:
        """Shape of a row behind the layer for rows of `shape`; an InputError where it cannot take them."""

    @abc.abstractmethod
    def reference(self, parameters: Mapping[str, Array], x: Array) -> Array:
        """The layer in NumPy: rows (n, *shape) -> (n, *output_shape(shape))."""

    def _expect(self, fits: bool, expected: str, shape: Shape) -> None:
        if not fits:
            raise InputError(f"{self}: expected input of shape {expected}, got {shape}")


@dataclasses.dataclass(frozen=True)
class Linear(Layer):
    """Fully connected layer: y = x W' + b.

    Parameters
    ----------
    in_features, out_features : int
        At least 1.
    bias : bool, default True

    Raises
    ------
    InputError
        A number below 1.

    Examples
    --------
    >>> Linear(2, 10).parameter_shapes
    {'weight': (10, 2), 'bias': (10,)}
    """

    in_features: int
    out_features: int
    bias: bool = True

    def __post_init__(self) -> None:
        _integers(self, "in_features", "out_features")
        object.__setattr__(self, "bias", bool(self.bias))

    @property
    def parameter_shapes(self) -> dict[str, Shape]:
        shapes: dict[str, Shape] = {"weight": (self.out_features, self.in_features)}
        return {**shapes, "bias": (self.out_features,)} if self.bias else shapes

    @property
    def fan_in(self) -> int:
        return self.in_features

    def output_shape(self, shape: Shape) -> Shape:
        self._expect(shape == (self.in_features,), f"({self.in_features},)", shape)
        return (self.out_features,)

    def reference(self, parameters: Mapping[str, Array], x: Array) -> Array:
        y = x @ parameters["weight"].T
        return y + parameters["bias"] if self.bias else y


@dataclasses.dataclass(frozen=True)
class Conv2d(Layer):
    """Convolution (as a correlation) with a square window, stride 1, without padding, with a bias.

    Parameters
    ----------
    in_channels, out_channels, kernel_size : int
        At least 1.

    Raises
    ------
    InputError
        A number below 1.

    Examples
    --------
    >>> Conv2d(1, 20, 5).output_shape((1, 28, 28))
    (20, 24, 24)
    """

    in_channels: int
    out_channels: int
    kernel_size: int

    def __post_init__(self) -> None:
        _integers(self, "in_channels", "out_channels", "kernel_size")

    @property
    def parameter_shapes(self) -> dict[str, Shape]:
        window = (self.kernel_size, self.kernel_size)
        return {"weight": (self.out_channels, self.in_channels, *window), "bias": (self.out_channels,)}

    @property
    def fan_in(self) -> int:
        return self.in_channels * self.kernel_size**2

    def output_shape(self, shape: Shape) -> Shape:
        k = self.kernel_size
        fits = len(shape) == 3 and shape[0] == self.in_channels and min(shape[1:]) >= k
        self._expect(fits, f"({self.in_channels}, height >= {k}, width >= {k})", shape)
        return (self.out_channels, shape[1] - k + 1, shape[2] - k + 1)

    def reference(self, parameters: Mapping[str, Array], x: Array) -> Array:
        windows = np.lib.stride_tricks.sliding_window_view(x, (self.kernel_size, self.kernel_size), axis=(2, 3))
        y = np.einsum("nchwij,ocij->nohw", windows, parameters["weight"])
        return np.asarray(y + parameters["bias"][:, None, None])


@dataclasses.dataclass(frozen=True)
class MaxPool2d(Layer):
    """Largest value of every square window; the windows do not overlap, what is left over at the edges is dropped.

    Parameters
    ----------
    size : int
        Side of the window, at least 1.

    Raises
    ------
    InputError
        A size below 1.

    Examples
    --------
    >>> MaxPool2d(2).output_shape((20, 24, 24))
    (20, 12, 12)
    """

    size: int

    def __post_init__(self) -> None:
        _integers(self, "size")

    def output_shape(self, shape: Shape) -> Shape:
        fits = len(shape) == 3 and min(shape[1:]) >= self.size
        self._expect(fits, f"(channels, height >= {self.size}, width >= {self.size})", shape)
        return (shape[0], shape[1] // self.size, shape[2] // self.size)

    def reference(self, parameters: Mapping[str, Array], x: Array) -> Array:
        n, channels, height, width = x.shape
        s = self.size
        kept = x[:, :, : height // s * s, : width // s * s]
        return np.asarray(kept.reshape(n, channels, height // s, s, width // s, s).max(axis=(3, 5)))


@dataclasses.dataclass(frozen=True)
class Flatten(Layer):
    """An image (channels, height, width) as a vector, in that order.

    Examples
    --------
    >>> Flatten().output_shape((50, 4, 4))
    (800,)
    """

    def output_shape(self, shape: Shape) -> Shape:
        return (math.prod(shape),)

    def reference(self, parameters: Mapping[str, Array], x: Array) -> Array:
        return x.reshape(len(x), math.prod(x.shape[1:]))


class Activation(Layer):
    """Base of the layers that map every number by itself."""

    def output_shape(self, shape: Shape) -> Shape:
        return shape


@dataclasses.dataclass(frozen=True)
class ReLU(Activation):
    """max(x, 0), with derivative 0 at 0."""

    def reference(self, parameters: Mapping[str, Array], x: Array) -> Array:
        return np.maximum(x, 0)


@dataclasses.dataclass(frozen=True)
class Tanh(Activation):
    """Hyperbolic tangent."""

    def reference(self, parameters: Mapping[str, Array], x: Array) -> Array:
        return np.tanh(x)


@dataclasses.dataclass(frozen=True)
class SELU(Activation):
    """Scaled exponential linear unit: scale x above 0, scale alpha (exp(x) - 1) below (Klambauer et al. 2017)."""

    def reference(self, parameters: Mapping[str, Array], x: Array) -> Array:
        scale, alpha = x.dtype.type(SELU_SCALE), x.dtype.type(SELU_ALPHA)
        return np.asarray(scale * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))))


@dataclasses.dataclass(frozen=True)
class Sigmoid(Activation):
    """Logistic function 1 / (1 + exp(-x))."""

    def reference(self, parameters: Mapping[str, Array], x: Array) -> Array:
        e = np.exp(-np.abs(x))
        return np.asarray(np.where(x < 0, e, 1) / (1 + e))


LAYERS: dict[str, type[Layer]] = {
    cls.__name__: cls for cls in (Linear, Conv2d, MaxPool2d, Flatten, ReLU, Tanh, SELU, Sigmoid)
}


def _integers(layer: Layer, *names: str) -> None:
    for name in names:
        object.__setattr__(layer, name, checks.integer(name, getattr(layer, name), least=1, most=2**31 - 1))
