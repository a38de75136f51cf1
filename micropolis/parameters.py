"""Named, constrained parameters laid out in one vector of unconstrained coordinates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import checks
from .constraints import CorrelationCholesky, Interval, Lower, Ordered, Parameter, Positive, Real, Simplex, Upper
from .errors import InputError, InputTypeError

__all__ = [
    "CorrelationCholesky",
    "Interval",
    "Lower",
    "Ordered",
    "Parameter",
    "ParameterSpace",
    "Positive",
    "Real",
    "Simplex",
    "Upper",
    "element_names",
]

Array = NDArray[np.float64]


class ParameterSpace:
    """Named parameters laid out one after another in a vector of unconstrained coordinates.

    Parameters
    ----------
    parameters : mapping of str to Parameter
        In the order of the coordinates; the names are Python identifiers, as the log density takes them as arguments.

    Attributes
    ----------
    parameters : dict
    dim : int
    names : tuple of str
        One per coordinate: ``mu``, ``theta[0]``, ``theta[1]``, ...
    slices : dict of str to slice

    Examples
    --------
    >>> import micropolis as mp, numpy as np
    >>> space = mp.parameters.ParameterSpace({"mu": mp.Real(), "tau": mp.Positive()})
    >>> space.constrain_draws(np.zeros((4, 100, 2)))["tau"].shape
    (4, 100)
    """

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        if not isinstance(parameters, Mapping) or not parameters:
            raise InputTypeError(f"parameters: expected a mapping such as {{'mu': Real()}}, got {parameters!r}")
        for name, parameter in parameters.items():
            if not isinstance(name, str) or not name.isidentifier():
                raise InputError(f"parameters: expected names that are Python identifiers, got {name!r}")
            if not isinstance(parameter, Parameter):
                raise InputTypeError(f"parameters[{name!r}]: expected Real(), Positive(), ..., got {parameter!r}")
        self.parameters = dict(parameters)
        self.slices: dict[str, slice] = {}
        names: list[str] = []
        for name, parameter in self.parameters.items():
            self.slices[name] = slice(len(names), len(names) + parameter.size)
            names += element_names(
                name, parameter.shape if parameter.size == math.prod(parameter.shape) else (parameter.size,)
            )
        self.names = tuple(names)
        self.dim = len(names)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ParameterSpace) and list(self.parameters.items()) == list(other.parameters.items())

    def __hash__(self) -> int:
        return hash(tuple(self.parameters.items()))

    def __repr__(self) -> str:
        return f"ParameterSpace({self.parameters!r})"

    def constrain(self, u: Any) -> tuple[dict[str, Any], Any]:
        """Values (..., *shape) by name and the total log Jacobian (...) at u (..., dim)."""
        values, total = {}, 0.0
        for name, parameter in self.parameters.items():
            values[name], log_jacobian = parameter.constrain(u[..., self.slices[name]])
            total = total + log_jacobian
        return values, total

    def constrain_draws(self, draws: ArrayLike) -> dict[str, Array]:
        """Values (..., *shape) by name of unconstrained draws (..., dim)."""
        return self.constrain(checks.points("draws", draws, self.dim))[0]

    def unconstrain(self, values: Mapping[str, ArrayLike]) -> Array:
        """Unconstrained coordinates (dim,) of {name: value}.

        Raises
        ------
        InputError
            If a name is missing or unknown, or a value is out of support.
        """
        if not isinstance(values, Mapping):
            raise InputTypeError(
                f"values: expected a mapping of parameter names to values, got {type(values).__name__}"
            )
        if set(values) != set(self.parameters):
            raise InputError(f"values: expected the names {sorted(self.parameters)}, got {sorted(map(str, values))}")
        parts = [parameter.unconstrain(values[name], name) for name, parameter in self.parameters.items()]
        shape = np.broadcast_shapes(*(part.shape[:-1] for part in parts))
        return np.concatenate([np.broadcast_to(part, (*shape, part.shape[-1])) for part in parts], axis=-1)

    def to_json(self) -> list[list[Any]]:
        """A description of plain JSON types that `from_json` reads; a list, to keep the order."""
        return [[name, parameter.to_json()] for name, parameter in self.parameters.items()]

    @staticmethod
    def from_json(description: Sequence[Sequence[Any]]) -> ParameterSpace:
        """The space that `to_json` described."""
        return ParameterSpace({name: Parameter.from_json(parameter) for name, parameter in description})


def element_names(name: str, shape: tuple[int, ...]) -> list[str]:
    """``name`` for a scalar; ``name[0]``, ``name[0,1]``, ... in C order for an array."""
    if shape == ():
        return [name]
    return [f"{name}[{','.join(map(str, index))}]" for index in np.ndindex(*shape)]
