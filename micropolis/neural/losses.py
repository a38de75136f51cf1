"""Losses of a row, negative log likelihoods: their names, their targets, and what they compute, in NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .. import checks
from .._neural import CLoss
from ..errors import InputError, InputTypeError

Array = NDArray[Any]
Loss = str | Callable[..., float]

NAMES = ("multiclass", "binary", "regression", "poisson")


def as_loss(loss: Any, scale: float = 1.0, n_outputs: int | None = None, gradient: bool = True) -> CLoss:
    """The compiled loss.

    Parameters
    ----------
    loss : "multiclass", "binary", "regression", "poisson" or callable
        A function ``loss(output, target, gradient) -> float`` of one row, three float64 arrays (n_outputs,), that
        writes the gradient by the outputs; Numba compiles it. Where it raises, or an index lies outside the arrays, the
        loss is NaN (a function that comes compiled by Numba checks its indices if it was told to).
    scale : float, default 1
        Precision of the noise, for "regression"; positive.
    n_outputs : int, optional
        Outputs of the network: a function is tried on one row of that width first.
    gradient : bool, default True
        Whether a function must then write its gradient.

    Returns
    -------
    CLoss

    Raises
    ------
    InputError
        An unknown name, or a function that does not fit `n_outputs`.
    InputTypeError
        Neither a name nor a function, a function of other arguments, or one that Numba cannot compile.

    Examples
    --------
    >>> as_loss("regression", 4.0).scale
    4.0
    """
    scale = checks.real("scale", scale, above=0)
    if isinstance(loss, str):
        return CLoss(checks.choice("loss", loss, NAMES), scale)
    if not callable(loss):
        expected = ", ".join(map(repr, NAMES))
        raise InputTypeError(f"loss: expected one of {expected} or a function, got {type(loss).__name__}")
    from .user_loss import compile_loss, probe

    if n_outputs is not None:
        probe(loss, n_outputs, gradient)
    entry = compile_loss(loss)
    return CLoss("user", scale, row=entry.address, keep_alive=entry)


def check_targets(
    loss: Loss, y: Any, n: int, n_outputs: int, dtype: DTypeLike = np.float64
) -> tuple[NDArray[np.int64] | None, Array | None]:
    """What the rows are compared with: (labels (n,), None) or (None, targets (n, n_outputs)).

    Parameters
    ----------
    loss : str or callable
    y : array_like
        Labels (n,) in 0..n_outputs - 1 for "multiclass"; else (n, n_outputs), or (n,) where there is one output: 0 or 1
        for "binary", counts for "poisson", any finite numbers otherwise.
    n, n_outputs : int
    dtype : dtype
        Of the network, in which losses that are not functions see the targets.

    Raises
    ------
    InputError
        Rows that do not match, a number that is not finite, or one that this loss does not take.

    Examples
    --------
    >>> check_targets("multiclass", [0, 2], 2, 3)
    (array([0, 2]), None)
    """
    values = checks.numbers("y", y)
    multiclass = isinstance(loss, str) and loss == "multiclass"
    if multiclass:
        if n_outputs == 1:  # whose probability is always 1
            raise InputError(
                'loss: "multiclass" has an output for each class, got 1 output; of one logit it is "binary"'
            )
        if values.shape != (n,):
            raise InputError(f"y: expected shape ({n},), one label for each row of X, got {values.shape}")
    elif values.shape != (n, n_outputs) and not (n_outputs == 1 and values.shape == (n,)):
        expected = f"({n}, {n_outputs})" + (f" or ({n},)" if n_outputs == 1 else "")
        raise InputError(
            f"y: expected shape {expected}, a target for each row of X and each output, got {values.shape}"
        )
    with np.errstate(over="ignore"):
        seen = values if callable(loss) else values.astype(dtype)
    valid, expected = np.isfinite(seen), f"finite numbers of {seen.dtype}"
    if multiclass:
        valid = valid & (values >= 0) & (values < n_outputs) & (values == np.floor(values))
        expected = f"integer labels in 0..{n_outputs - 1}, one for each output"
    elif isinstance(loss, str) and loss == "binary":
        valid, expected = (values == 0) | (values == 1), "labels 0 and 1"
    elif isinstance(loss, str) and loss == "poisson":
        valid, expected = valid & (values >= 0) & (values == np.floor(values)), "counts, integers >= 0"
    if not np.all(valid):
        where = tuple(int(i) for i in np.argwhere(~valid)[0])
        raise InputError(
            f"y: expected {expected}, got {values[where]:g} at index {where if len(where) > 1 else where[0]}"
        )
    if multiclass:
        return values.astype(np.int64), None
    return None, np.ascontiguousarray(values.reshape(n, n_outputs))


def reference(loss: str, outputs: Array, y: Array, scale: float = 1.0) -> tuple[Array, Array]:
    """The loss of every row and its gradient by the outputs, in NumPy.

    Parameters
    ----------
    loss : "multiclass", "binary", "regression" or "poisson"
    outputs : ndarray (n, n_outputs)
    y : ndarray
        Labels (n,) for "multiclass", else targets (n, n_outputs).
    scale : float

    Returns
    -------
    losses : ndarray (n,)
    gradient : ndarray (n, n_outputs)

    Examples
    --------
    >>> losses, gradient = reference("regression", np.array([[1.0]]), np.array([[3.0]]))
    >>> gradient
    array([[-2.]])
    """
    if loss == "multiclass":
        shifted = outputs - outputs.max(axis=1, keepdims=True)
        e = np.exp(shifted)
        total = e.sum(axis=1)
        one_hot = np.arange(outputs.shape[1]) == np.asarray(y)[:, None]
        own = np.sum(shifted, axis=1, where=one_hot)
        return np.maximum(np.log(total) - own, 0), e / total[:, None] - one_hot
    if loss == "binary":
        e = np.exp(-np.abs(outputs))
        losses = np.maximum(outputs, 0) - y * outputs + np.log1p(e)
        return losses.sum(axis=1), np.where(outputs < 0, e, 1) / (1 + e) - y
    if loss == "regression":
        residual = outputs - y
        constant = 0.5 * outputs.shape[1] * math.log(scale / (2 * math.pi))
        return 0.5 * scale * np.sum(residual**2, axis=1) - constant, scale * residual
    checks.choice("loss", loss, NAMES)
    from scipy.special import gammaln

    rate = np.exp(outputs)
    return np.sum(rate - y * outputs + gammaln(np.asarray(y) + 1.0), axis=1), rate - y
