"""Sequential: a feed-forward network with one flat parameter vector, evaluated by the compiled engines."""

from __future__ import annotations

import copy
import dataclasses
import math
import os
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .. import checks, trace_files
from .._neural import KINDS, LAYER_DTYPE, CData, CNetwork, blas_addresses
from ..errors import InputError, InputTypeError, MicropolisError, TraceFileError
from .layers import LAYERS, Conv2d, Layer, MaxPool2d, Shape
from .losses import Loss, as_loss, check_targets
from .shapes import (
    cast,
    check_memory,
    checked_shape,
    implied_shape,
    initial_parameters,
    is_mapped,
    layout,
    real_dtype,
    shapes_behind,
)

Array = NDArray[Any]

ENGINES = ("auto", "tiles", "blas")
WIDE = 256  # up to this width a pass in tiles takes no longer than its matrix products alone by BLAS
FORMAT = "micropolis.neural.Sequential"


class Sequential:
    """Layers one behind the other; all weights in one flat vector.

    Parameters
    ----------
    *layers : Layer
        At least one of them with parameters.
    seed : int, Generator or None, default 0
        Of the initial weights, N(0, 1) / sqrt(fan_in) for weights and biases alike.
    dtype : "float64" or "float32"
        Of weights and arithmetic; losses and their sums are float64.
    input_shape : tuple of int, optional
        Shape of one row: (n,) or (channels, height, width). Where neither it nor the first layers tell it
        (convolutions), the first data that come settle it.
    engine : "auto", "tiles" or "blas", default "auto"
        "tiles" keeps rows in the vector lanes (small fully connected networks), "blas" multiplies matrices (wide ones,
        and all with Conv2d or MaxPool2d); "auto" chooses by width.

    Attributes
    ----------
    parameters : ndarray (n_parameters,)
        The flat vector, layer after layer, weight before bias; assigning to it copies into it.
    n_parameters : int
    input_shape, output_shape : tuple of int or None
        None while they are not known.

    Raises
    ------
    InputError
        A layer whose shape does not follow from the one before: both are named with their shapes.

    Examples
    --------
    >>> from micropolis.neural import Linear, ReLU
    >>> net = Sequential(Linear(2, 10), ReLU(), Linear(10, 2), seed=0)
    >>> net([[0.5, -1.0], [1.0, 2.0]]).shape, net.n_parameters
    ((2, 2), 52)
    """

    def __init__(
        self,
        *layers: Layer,
        seed: int | np.random.Generator | None = 0,
        dtype: DTypeLike = "float64",
        input_shape: tuple[int, ...] | None = None,
        engine: str = "auto",
    ) -> None:
        for number, layer in enumerate(layers):
            if type(layer) not in LAYERS.values():
                raise InputTypeError(f"layers: expected layers of micropolis.neural, number {number} is {layer!r}")
        self.layers = layers
        self.dtype = real_dtype(dtype)
        self.engine = checks.choice("engine", engine, ENGINES)
        self.layout = layout(layers)  # name -> (offset, shape)
        self.n_parameters = sum(math.prod(shape) for _, shape in self.layout.values())
        if self.n_parameters == 0:
            raise InputError("layers: expected at least one with parameters (Linear or Conv2d)")
        check_memory(self.n_parameters)
        self.input_shape: Shape | None = (
            checked_shape(input_shape) if input_shape is not None else implied_shape(layers)
        )
        self.output_shape: Shape | None = None
        self._bound: CNetwork | None = None
        if self.input_shape is not None:
            self._settle(self.input_shape)
        self._parameters = initial_parameters(layers, seed).astype(self.dtype)

    # -- parameters --------------------------------------------------------------------------------------------------

    @property
    def parameters(self) -> Array:
        return self._parameters

    @parameters.setter
    def parameters(self, value: ArrayLike) -> None:
        values = checks.numbers("parameters", value)
        if values.shape != (self.n_parameters,):
            raise InputError(f"parameters: expected shape ({self.n_parameters},), got {values.shape}")
        self._parameters[:] = cast("parameters", values, self.dtype)

    def named_parameters(self) -> dict[str, Array]:
        """Name -> view of the flat vector in the tensor's own shape, "0.weight", "0.bias", "2.weight", ...

        Returns
        -------
        dict of str to ndarray

        Examples
        --------
        >>> from micropolis.neural import Linear
        >>> {name: view.shape for name, view in Sequential(Linear(3, 2)).named_parameters().items()}
        {'0.weight': (2, 3), '0.bias': (2,)}
        """
        return {
            name: self._parameters[offset : offset + math.prod(shape)].reshape(shape)
            for name, (offset, shape) in self.layout.items()
        }

    def copy(self) -> Sequential:
        """The same network with parameters of its own."""
        other = object.__new__(Sequential)
        other.__setstate__({**self.__getstate__(), "_parameters": self._parameters.copy()})
        other._bound = self._bound
        return other

    # -- evaluation --------------------------------------------------------------------------------------------------

    def bind(self, input_shape: tuple[int, ...] | None = None) -> CNetwork:
        """The compiled network.

        Parameters
        ----------
        input_shape : tuple of int, optional
            Settles the shape of a row where the layers do not tell it.

        Returns
        -------
        CNetwork
            The same object every time.

        Raises
        ------
        InputError
            The shape is not known, or not the one known.
        """
        if input_shape is not None:
            shape = checked_shape(input_shape)
            if self.input_shape is None:
                self._settle(shape)
            elif shape != self.input_shape:
                raise InputError(f"input_shape: expected {self.input_shape}, got {shape}")
        if self.input_shape is None:
            raise InputError("input_shape: expected (channels, height, width), got None, and the layers do not tell it")
        if self._bound is None:
            self._bound = self._compile(self.input_shape)
        return self._bound

    def _settle(self, input_shape: Shape) -> None:
        self.output_shape = shapes_behind(self.layers, input_shape)[-1]
        self.input_shape = input_shape

    def _compile(self, input_shape: Shape) -> CNetwork:
        shapes = [input_shape, *shapes_behind(self.layers, input_shape)]
        records = np.zeros(len(self.layers), dtype=LAYER_DTYPE)
        for number, (record, layer) in enumerate(zip(records, self.layers, strict=True)):
            record["kind"] = KINDS[type(layer).__name__]
            record["kernel"] = getattr(layer, "kernel_size", getattr(layer, "size", 0))
            record["in"], record["out"] = (
                tuple(shapes[number + i]) + (1, 1, 1)[len(shapes[number + i]) :] for i in (0, 1)
            )
            record["weight"] = self.layout.get(f"{number}.weight", (-1,))[0]
            record["bias"] = self.layout.get(f"{number}.bias", (-1,))[0]
        engine = self.engine
        windows = any(isinstance(layer, Conv2d | MaxPool2d) for layer in self.layers)
        if engine == "auto":
            engine = "blas" if windows or max(math.prod(shape) for shape in shapes) > WIDE else "tiles"
        if engine == "tiles" and windows:
            raise InputError("engine: expected 'blas' or 'auto' for Conv2d and MaxPool2d, got 'tiles'")
        sizes = (self.n_parameters, math.prod(shapes[0]), math.prod(shapes[-1]))
        return CNetwork(records, *sizes, self.dtype, engine, blas_addresses(self.dtype) if engine == "blas" else None)

    def data(self, X: ArrayLike, y: Any = None, loss: Loss = "multiclass", pack: bool = True) -> CData:
        """Rows and what they are compared with, checked, for the compiled functions.

        Parameters
        ----------
        X : array_like (n, *input_shape) or (n, number of inputs)
            Finite. Stays in place (a memory map too) where it has the network's dtype and is C-contiguous.
        y : array_like, optional
            See `micropolis.neural.losses.check_targets`.
        loss : str or callable
        pack : bool, default True
            Whether the tile engine may keep a copy in its own order, which saves it a transposition in every pass. It
            never does of a memory map.

        Returns
        -------
        CData

        Raises
        ------
        InputError
            Rows that do not match, numbers that are not finite, labels out of range.
        """
        inputs = self._inputs(X)
        network = self.bind()
        pack = pack and not is_mapped(inputs)
        if y is None:
            return CData(network, inputs, pack=pack)
        if not callable(loss):
            as_loss(loss)
        labels, targets = check_targets(loss, y, len(inputs), network.n_outputs, self.dtype)
        return CData(network, inputs, labels, targets, pack=pack)

    def _answered(self, X: ArrayLike, y: Any, loss: Loss) -> CData:
        """`data` for a loss, which must have something to compare with."""
        if y is None:
            raise InputTypeError("y: expected the labels or targets of the rows of X, got None")
        return self.data(X, y, loss, pack=False)

    def _inputs(self, X: ArrayLike, name: str = "X") -> Array:
        """X, the argument `name`, as (n, number of inputs) of the network's dtype, finite."""
        array = X if isinstance(X, np.ndarray) and X.dtype == self.dtype else checks.numbers(name, X)
        shape = self.input_shape or ()
        if self.input_shape is None and array.ndim > 1:
            shape = checked_shape(array.shape[1:])
            shapes_behind(self.layers, shape)
        width = math.prod(shape)
        if array.ndim < 2 or array.shape[1:] not in (shape, (width,)):
            also = f" or (n, {width})" if len(shape) > 1 else ""
            raise InputError(f"{name}: expected shape (n, {', '.join(map(str, shape))}){also}, got {array.shape}")
        flat = np.ascontiguousarray(array).reshape(len(array), width)
        inputs = np.require(cast(name, flat, self.dtype), requirements="A")
        if self.input_shape is None:  # rows that were refused settle nothing
            self._settle(shape)
        return inputs

    def __call__(self, X: ArrayLike) -> Array:
        """Outputs (n, *output_shape) for rows X (n, *input_shape), of the network's dtype."""
        inputs = self._inputs(X)
        network = self.bind()
        outputs = network.forward(self._parameters, CData(network, inputs, pack=False))
        return outputs.reshape(len(inputs), *(self.output_shape or ()))

    def reference(self, X: ArrayLike) -> Array:
        """The same as calling the network, layer by layer in NumPy."""
        x = self._inputs(X)
        x = x.reshape(len(x), *(self.input_shape or ()))
        tensors = self.named_parameters()
        for number, layer in enumerate(self.layers):
            x = layer.reference({name: tensors[f"{number}.{name}"] for name in layer.parameter_shapes}, x)
        return x

    def losses(self, X: ArrayLike, y: ArrayLike, loss: Loss = "multiclass", scale: float = 1.0) -> NDArray[np.float64]:
        """Negative log likelihood of every row, float64 (n,).

        Parameters
        ----------
        X, y : array_like
            As for `data`.
        loss : "multiclass", "binary", "regression", "poisson" or callable
            As for `micropolis.neural.losses.as_loss`.
        scale : float, default 1
            Precision of the noise, for "regression".

        Examples
        --------
        >>> from micropolis.neural import Linear
        >>> net = Sequential(Linear(1, 2))
        >>> net.parameters = [0.0, 0.0, 0.0, 0.0]
        >>> net.losses([[3.0]], [1])
        array([0.69314718])
        """
        data = self._answered(X, y, loss)
        network = self.bind()
        return network.losses(as_loss(loss, scale, network.n_outputs, gradient=False), self._parameters, data)

    def value_and_grad(
        self, X: ArrayLike, y: ArrayLike, loss: Loss = "multiclass", scale: float = 1.0
    ) -> tuple[float, Array]:
        """Sum of the losses over the rows and its gradient (n_parameters,); arguments as for `losses`."""
        data = self._answered(X, y, loss)
        network = self.bind()
        return network.loss_grad(as_loss(loss, scale, network.n_outputs), self._parameters, data)

    def hvp(
        self, X: ArrayLike, y: ArrayLike, vector: ArrayLike, loss: Loss = "multiclass", scale: float = 1.0
    ) -> Array:
        """Hessian of the sum of the losses times `vector` (n_parameters,); arguments as `losses`, no user losses."""
        data = self._answered(X, y, loss)
        network = self.bind()
        direction = checks.numbers("vector", vector)
        if direction.shape != (self.n_parameters,):
            raise InputError(f"vector: expected shape ({self.n_parameters},), got {direction.shape}")
        direction = cast("vector", direction, self.dtype)
        return network.loss_hvp(as_loss(loss, scale, network.n_outputs), self._parameters, direction, data)

    # -- files -------------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write layers and parameters to an .npz file, exact to the bit, without pickle.

        Raises
        ------
        TraceWriteError
            The file cannot be written.

        Examples
        --------
        >>> from micropolis.neural import Linear
        >>> Sequential(Linear(2, 1)).save("net.npz")
        >>> Sequential.load("net.npz").layers
        (Linear(in_features=2, out_features=1, bias=True),)
        """
        described = [{"name": type(layer).__name__, **dataclasses.asdict(layer)} for layer in self.layers]  # type: ignore[call-overload]
        tree = {
            "format": FORMAT,
            "layers": described,
            "dtype": self.dtype.name,
            "engine": self.engine,
            "input_shape": self.input_shape,
            "parameters": self._parameters,
        }
        trace_files.write(path, tree)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Sequential:
        """The network in a file made by `save`.

        Raises
        ------
        InputError
            The file is missing, damaged, or not a saved network.
        """
        try:
            tree = trace_files.read(path)
        except TraceFileError as error:
            raise InputError(f"path: not a saved network: {error}") from error
        if tree.get("format") != FORMAT:
            raise InputError(f"path: {os.fspath(path)}: not a saved network but another file of micropolis")
        try:
            layers = [LAYERS[entry.pop("name")](**entry) for entry in tree["layers"]]
            net = cls(*layers, dtype=tree["dtype"], input_shape=tree["input_shape"], engine=tree["engine"])
            net.parameters = tree["parameters"]
        except (MicropolisError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"path: {os.fspath(path)}: not a saved network: {error}") from error
        return net

    def __copy__(self) -> Sequential:
        return copy.deepcopy(self)  # never two networks on the same parameters

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_bound": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)

    def __repr__(self) -> str:
        inside = ", ".join(map(repr, self.layers))
        return f"Sequential({inside}, dtype={self.dtype.name!r}): {self.n_parameters} parameters"
