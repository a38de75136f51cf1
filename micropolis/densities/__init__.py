"""Compiled target densities of the literature, with exact gradient, Hessian and third-derivative product.

Each has `sample_exact(rng, n)`, `mean()` and `cov()` where they are known, `recipe` for saved files, and `readable`,
the same log density as a plain Python function that Numba compiles for CPU and CUDA.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from ..errors import InputError
from .banana import Banana
from .funnel import Funnel
from .gaussian import Gaussian
from .mixture import GaussianMixture
from .regression import LinearRegression, LogisticRegression
from .rough_well import RoughWell
from .target import Target

__all__ = [
    "Banana",
    "Funnel",
    "Gaussian",
    "GaussianMixture",
    "LinearRegression",
    "LogisticRegression",
    "RoughWell",
    "from_recipe",
]

_CLASSES: dict[str, type[Target]] = {
    cls.__name__: cls
    for cls in (Banana, Funnel, Gaussian, GaussianMixture, LinearRegression, LogisticRegression, RoughWell)
}


def from_recipe(name: str, arguments: Mapping[str, Any]) -> Target:
    """The density that a `recipe` describes.

    Parameters
    ----------
    name : str
        Class name.
    arguments : mapping
        Constructor arguments by name.

    Returns
    -------
    Density

    Raises
    ------
    InputError
        An unknown name, or arguments that its class does not take.

    Examples
    --------
    >>> import micropolis.densities as densities
    >>> densities.from_recipe(*densities.Funnel(3).recipe)
    <Funnel: 3 dimensions>
    """
    if name not in _CLASSES:
        raise InputError(f"name: expected one of {', '.join(_CLASSES)}, got {name!r}")
    try:
        inspect.signature(_CLASSES[name]).bind(**arguments)
    except TypeError as error:
        raise InputError(f"arguments: {name} does not take {sorted(arguments)}: {error}") from None
    return _CLASSES[name](**arguments)
