"""What the estimators share: scikit-learn itself, networks from options, scales, labels, random streams."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..errors import InputError, InputTypeError
from ..neural.layers import SELU, Layer, Linear, ReLU, Sigmoid, Tanh
from ..neural.network import Sequential

Array = NDArray[Any]
Fit = TypeVar("Fit", bound=Callable[..., Any])

PURPOSE = "micropolis.estimators"
base: Any = checks.extra("sklearn.base", "sklearn", PURPOSE)
validation: Any = checks.extra("sklearn.utils.validation", "sklearn", PURPOSE)
multiclass: Any = checks.extra("sklearn.utils.multiclass", "sklearn", PURPOSE)

LEAST_SCALE = 1e-150  # of y, with its square above the least number
ACTIVATIONS: dict[str, type[Layer]] = {"relu": ReLU, "selu": SELU, "sigmoid": Sigmoid, "tanh": Tanh}


def whole(fit: Fit) -> Fit:
    """A fit that fails, or that Ctrl-C ends before it has a result, leaves the estimator as it was."""

    @functools.wraps(fit)
    def fit_or_not(self: Any, X: Any, y: Any) -> Any:
        before = self.__dict__.copy()
        try:
            return fit(self, X, y)
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    return cast(Fit, fit_or_not)


def build(
    n_inputs: int, hidden: Any, n_outputs: int, activation: Any, dtype: Any, rng: np.random.Generator
) -> Sequential:
    """The network n_inputs - hidden - n_outputs with initial weights from `rng`."""
    chosen = ACTIVATIONS[checks.choice("activation", activation, tuple(ACTIVATIONS))]
    if not isinstance(hidden, list | tuple | np.ndarray):
        raise InputTypeError(f"hidden: expected a sequence of widths such as (10, 10), got {hidden!r}")
    layers: list[Layer] = []
    for i, value in enumerate(hidden):
        width = checks.integer(f"hidden[{i}]", value, least=1)
        layers += [Linear(n_inputs, width), chosen()]
        n_inputs = width
    return Sequential(*layers, Linear(n_inputs, n_outputs), seed=rng, dtype=dtype)


def scales(values: Array) -> tuple[Any, Any]:
    """(mean, standard deviation) by column; constants have scale 1."""
    _, exponent = np.frexp(np.abs(values).max(axis=0))
    small = np.ldexp(values, -exponent)  # exact; squares of the numbers themselves might overflow or vanish
    mean, scale = np.ldexp(small.mean(axis=0), exponent), np.ldexp(small.std(axis=0), exponent)
    # what rounding leaves of a constant is no scale
    return mean, np.where(scale > 1e-14 * np.abs(values).max(axis=0), scale, 1.0)[()]


def check_scale(scale: float) -> None:
    """Raise where the square of y's standard deviation, or of its inverse, is not a number."""
    if not LEAST_SCALE < scale < 1 / LEAST_SCALE:
        raise InputError(
            f"y: expected a standard deviation between {LEAST_SCALE:g} and {1 / LEAST_SCALE:g}, whose square is a "
            f"number, got {scale:g}"
        )


def checked_rows(rows: Array, dtype: np.dtype[Any]) -> Array:
    """Standardised features; an error where some are too large for the network's `dtype`."""
    finite = np.abs(rows) <= np.finfo(dtype).max
    if not np.all(finite):
        row, column = np.argwhere(~finite)[0]
        where = f"row {row}, column {column}"
        raise InputError(f"X: expected features that standardised are numbers of {dtype}, {where} is not")
    return rows


def checked_outputs(outputs: Array) -> Array:
    """Outputs (..., rows, n_outputs) of a network; an error where some overflow, of which no prediction can be made."""
    if not np.all(np.isfinite(outputs)):
        raise InputError(f"X: expected rows for which the network's outputs are finite numbers of {outputs.dtype.name}")
    return outputs


def streams(random_state: Any, n: int) -> list[np.random.SeedSequence]:
    """Independent seeds from what scikit-learn takes as `random_state`."""
    seed = validation.check_random_state(random_state).randint(np.iinfo(np.int32).max)
    return np.random.SeedSequence(int(seed)).spawn(n)


def encode(y: Array) -> tuple[Array, NDArray[np.int64]]:
    """(classes in order, label 0 .. n_classes - 1 of every row)."""
    multiclass.check_classification_targets(y)
    classes, labels = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise InputError(f"y: expected at least two classes, got 1 class: {classes.tolist()[0]!r}")
    return classes, labels.astype(np.int64)
