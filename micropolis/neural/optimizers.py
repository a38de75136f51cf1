"""Gradient descent for a starting point: SGD with momentum, and Adam."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import checks
from ..errors import InputError, InputTypeError
from .losses import Loss, as_loss
from .network import Sequential

Array = NDArray[Any]


class Optimizer(abc.ABC):
    """Minimises the mean loss of a network by minibatch gradients, in place.

    A subclass implements `_direction`: what a gradient makes of the parameters.
    """

    def __init__(self, net: Sequential, lr: float) -> None:
        if not isinstance(net, Sequential):
            raise InputTypeError(f"net: expected a Sequential, got {type(net).__name__}")
        self.net, self.lr = net, checks.real("lr", lr, above=0)

    @abc.abstractmethod
    def _direction(self, gradient: Array) -> Array:
        """What to take off the parameters, times the learning rate."""

    def run(
        self,
        X: ArrayLike,
        y: ArrayLike,
        epochs: int = 10,
        batch_size: int | None = None,
        loss: Loss = "multiclass",
        tau: float = 0.0,
        scale: float = 1.0,
        seed: Any = None,
    ) -> NDArray[np.float64]:
        """Passes over the data in random order; may be called again and goes on.

        Parameters
        ----------
        X, y : array_like
        epochs : int
        batch_size : int, optional
            Rows of a step; default all of them.
        loss : str or callable
            As for `micropolis.neural.losses.as_loss`; `scale` is the noise precision of "regression".
        tau : float, default 0
            Precision of a Gaussian prior on every parameter; with n rows the mean loss gets tau / (2 n) |theta|^2, so
            that the minimum is the posterior mode.
        seed : int, Generator or None
            Of the order of the rows.

        Returns
        -------
        ndarray (epochs,)
            Mean loss of the rows seen in each pass, without the prior.

        Raises
        ------
        InputError
            Bad data or options; or a step to where loss, gradient or parameters are not finite, which is not made.
        """
        if y is None:
            raise InputTypeError("y: expected the labels or targets of the rows of X, got None")
        data = self.net.data(X, y, loss)
        network = self.net.bind()
        row_loss = as_loss(loss, scale, network.n_outputs)
        n = int(data.n)
        if n == 0:
            raise InputError("X: expected at least one row, got none")
        epochs = checks.integer("epochs", epochs, least=0)
        size = n if batch_size is None else checks.integer("batch_size", batch_size, least=1, most=n)
        if checks.real("tau", tau) < 0:
            raise InputError(f"tau: expected a number >= 0, got {tau!r}")
        try:
            rng = np.random.default_rng(seed)
        except (TypeError, ValueError) as error:
            raise InputTypeError(f"seed: expected an integer >= 0, a Generator or None, got {seed!r}") from error
        history = np.zeros(epochs)
        parameters = self.net.parameters
        for epoch in range(epochs):
            order = rng.permutation(n)
            for start in range(0, n, size):
                rows = None if size == n else np.ascontiguousarray(order[start : start + size])
                count = n if rows is None else len(rows)
                total, gradient = network.loss_grad(row_loss, parameters, data, rows)
                before = self.__dict__.copy()
                try:
                    with np.errstate(over="ignore", invalid="ignore"):
                        slope = gradient.astype(np.float64) / count + tau / n * parameters  # squares overflow float32
                        step = self.lr * self._direction(slope)
                        moved = (parameters - step).astype(parameters.dtype)
                    if not (np.isfinite(total) and np.all(np.isfinite(moved))):
                        raise InputError(
                            f"lr: expected a learning rate at which descent stays finite, got {self.lr!r}; the loss of "
                            f"the rows is {total:g} in epoch {epoch}, and the network keeps its parameters from there"
                        )
                    parameters[:] = moved
                except BaseException:  # a step that is not made leaves no trace in the moments
                    self.__dict__.update(before)
                    raise
                history[epoch] += total / n
        return history


class SGD(Optimizer):
    """Stochastic gradient descent with momentum.

    Parameters
    ----------
    net : Sequential
        Its parameters move in place.
    lr : float
        Learning rate, positive.
    momentum : float, default 0
        In [0, 1).

    References
    ----------
    Polyak (1964), "Some methods of speeding up the convergence of iteration methods".

    Examples
    --------
    >>> from micropolis.neural import Linear, Sequential
    >>> net = Sequential(Linear(1, 1), seed=0)
    >>> history = SGD(net, lr=0.2, momentum=0.5).run([[0.0], [1.0]], [1.0, 3.0], epochs=200, loss="regression")
    >>> net.parameters.round(3)
    array([2., 1.])
    """

    def __init__(self, net: Sequential, lr: float, momentum: float = 0.0) -> None:
        super().__init__(net, lr)
        self.momentum = checks.real("momentum", momentum, below=1)
        if self.momentum < 0:
            raise InputError(f"momentum: expected a number in [0, 1), got {momentum!r}")
        self._velocity = np.zeros(net.n_parameters)

    def _direction(self, gradient: Array) -> Array:
        self._velocity = self.momentum * self._velocity + gradient
        return self._velocity


class Adam(Optimizer):
    """Adam: steps scaled by running moments of the gradient.

    Parameters
    ----------
    net : Sequential
        Its parameters move in place.
    lr : float, default 1e-3
        Learning rate, positive.
    betas : tuple of float, default (0.9, 0.999)
        Decay of the first and second moment.
    eps : float, default 1e-8

    References
    ----------
    Kingma & Ba (2015), "Adam: a method for stochastic optimization", algorithm 1.

    Examples
    --------
    >>> from micropolis.neural import Linear, Sequential
    >>> net = Sequential(Linear(1, 1), seed=0)
    >>> history = Adam(net, lr=0.1).run([[0.0], [1.0]], [1.0, 3.0], epochs=500, loss="regression")
    >>> net.parameters.round(2)
    array([2., 1.])
    """

    def __init__(
        self, net: Sequential, lr: float = 1e-3, betas: Sequence[float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        super().__init__(net, lr)
        if np.shape(betas) != (2,):
            raise InputError(f"betas: expected two numbers in [0, 1), got {betas!r}")
        self.betas = tuple(checks.real("betas", beta, below=1) for beta in betas)
        if min(self.betas) < 0:
            raise InputError(f"betas: expected two numbers in [0, 1), got {betas!r}")
        self.eps = checks.real("eps", eps, above=0)
        self._first, self._second, self._count = np.zeros(net.n_parameters), np.zeros(net.n_parameters), 0

    def _direction(self, gradient: Array) -> Array:
        one, two = self.betas
        self._count += 1
        self._first = one * self._first + (1 - one) * gradient
        self._second = two * self._second + (1 - two) * gradient**2
        first = self._first / (1 - one**self._count)
        second = self._second / (1 - two**self._count)
        return first / (np.sqrt(second) + self.eps)
