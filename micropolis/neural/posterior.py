"""The posterior of a network's weights as a density: likelihood of the data times Gaussian priors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import checks, trace_files
from .._density import CDensity
from .._neural import CData, posterior_templates
from ..densities.blocks import MOST_BLOCKS
from ..densities.target import LOG_TWO_PI, words
from ..density import Density
from ..errors import InputError, InputTypeError
from .losses import Loss, as_loss, check_targets
from .network import Sequential
from .shapes import is_mapped


class Posterior(Density):
    """log p(y | x, theta) + log p(theta) over the flat parameters theta of a network.

    The likelihood is the sum over the rows (not their mean), the prior N(0, 1 / tau) for every parameter, both
    normalised.

    Parameters
    ----------
    net : Sequential
        Its layers, dtype and engine; its parameters are not touched. float32 networks compute in float32 behind a
        float64 interface; derivatives that take differences (third ones, as in `RMHMC`; second ones of functions as
        `loss`) want float64.
    x : array_like (n, *input_shape) or None
        None, with y None: the prior alone. Arrays and memory maps of the network's dtype are read in place, pass by
        pass, and must not change.
    y : array_like
        Labels (n,) for "multiclass", else targets (n, n_outputs) or, for one output, (n,).
    loss : "multiclass", "binary", "regression", "poisson" or callable
        "multiclass" and "binary" take logits, "poisson" log rates, "regression" is Gaussian noise of precision
        `tau_out`; a function ``loss(output, target, gradient) -> float`` of one row is compiled by Numba (see
        `micropolis.neural.losses.as_loss`).
    tau : float or sequence of float
        Prior precision, one for all parameters or one for each tensor in the order of ``net.named_parameters()``.
    tau_out : float
        Noise precision, for "regression".
    batches : int, optional
        Offer the rows in so many blocks of consecutive rows to `SplitHMC`, 4096 at most.
    threads : int, default 1
        Of one evaluation, for wide networks and convolutions; chains have threads of their own. Sums round differently
        for each number.

    Raises
    ------
    InputError
        Rows that do not match, numbers that are not finite, labels out of range, precisions that are not positive.

    Examples
    --------
    >>> from micropolis.neural import Linear, Sequential
    >>> net = Sequential(Linear(1, 1), seed=0)
    >>> p = Posterior(net, [[0.0], [1.0]], [1.0, 3.0], loss="regression", tau=0.1, tau_out=4.0)
    >>> p.names, p.grad([2.0, 1.0])
    (('0.weight[0,0]', '0.bias[0]'), array([-0.2, -0.1]))
    """

    def __init__(
        self,
        net: Sequential,
        x: ArrayLike | None,
        y: ArrayLike | None = None,
        loss: Loss = "multiclass",
        tau: float | Sequence[float] = 1.0,
        tau_out: float = 1.0,
        batches: int | None = None,
        threads: int = 1,
    ) -> None:
        if not isinstance(net, Sequential):
            raise InputTypeError(f"net: expected a Sequential, got {type(net).__name__}")
        if (x is None) != (y is None):
            raise InputError(f"{'x' if x is None else 'y'}: expected both x and y or neither, got None")
        self.net = net.copy()
        self.loss, self.tau_out = loss, checks.real("tau_out", tau_out, above=0)
        self.precisions = _precisions(tau, list(net.layout))
        given = np.zeros((0, *(net.input_shape or (1,)))) if x is None else x
        if x is None and net.input_shape is None:
            raise InputError("net: expected one that knows its input_shape, for a prior without data")
        self._inputs = self.net._inputs(given, "x")
        self.files = trace_files.mapped(x, y)
        network = self.net.bind()
        as_loss(loss, self.tau_out, network.n_outputs)
        self._answers: tuple[Any, Any] = (None, np.zeros((0, network.n_outputs)))
        if y is not None:
            self._answers = check_targets(loss, y, len(self._inputs), network.n_outputs, net.dtype)
        self.batches = 1 if batches is None else checks.integer("batches", batches, least=1)
        rows = len(self._inputs)
        if self.batches > max(1, min(rows, MOST_BLOCKS)):
            raise InputError(
                f"batches: expected at most {MOST_BLOCKS}, and one for each of {rows} rows, got {self.batches}"
            )
        self.threads = checks.integer("threads", threads, least=1, most=64)
        super().__init__(net.n_parameters, tuple(_names(net)))

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_shared": None}

    _shared: Any = None
    # (shape, rate) of a noise precision that is integrated out, and what of the losses is not residuals; shape 0: none
    _noise: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def _likelihood(self) -> dict[str, Any] | None:
        """What a trace keeps for `predict_model`: no function, and no noise that is integrated out."""
        named = isinstance(self.loss, str)
        return None if self._noise[0] else {"loss": self.loss if named else None, "tau_out": self.tau_out}

    def _compiled(self) -> Any:
        """What all chains share: network, loss, data, and the arrays of the struct."""
        if self._shared is None:
            network = self.net.bind().with_threads(self.threads)
            loss = as_loss(self.loss, self.tau_out, network.n_outputs)
            # a packed copy of a memory map would defeat its purpose
            data = CData(network, self._inputs, *self._answers, pack=not is_mapped(self._inputs))
            ends = np.cumsum([math.prod(shape) for _, shape in self.net.layout.values()], dtype=np.int64)
            sizes = np.diff(ends, prepend=0)
            log_norm = 0.5 * float(sizes @ (np.log(self.precisions) - LOG_TWO_PI))
            edges = np.linspace(0, len(self._inputs), self.batches + 1).astype(np.int64)
            self._shared = network, loss, data, ends, log_norm, edges
        return self._shared

    def _bind(self) -> CDensity:
        network, loss, data, ends, log_norm, edges = self._compiled()
        # what one thread writes: the network's reals twice over, a unit vector, the engine's work area
        reals = [np.empty(self.dim, dtype=self.net.dtype) for _ in range(3)]
        unit, work = np.empty(self.dim), network.work(data.n)
        struct = words(
            network.address, loss.address, data.address, len(ends), ends, self.precisions, log_norm, *self._noise,
            len(edges) - 1, edges, *reals, unit, work,
        )  # fmt: skip
        return CDensity(
            self.dim,
            user_data=struct.ctypes.data,
            keep_alive=(struct, self._shared, self.precisions, reals, unit, work),
            template=posterior_templates()[0 if loss.kind == "user" or self._noise[0] else 1],
            n_blocks=self.batches,
        )

    def prepare(self, *names: str) -> None:
        """Refuse derivatives that would be differences of float32 numbers: rounding is most of what those are."""
        exact = ("hessian", "hvp") if self._c.functions["hessian"] else ()
        if self.net.dtype == np.float32 and not set(names) <= set(exact):
            raise InputError(
                f"net: expected dtype float64 for derivatives that are differences ({', '.join(names)}), got float32"
            )

    def third_derivative_product(self, x: ArrayLike, m: ArrayLike) -> NDArray[np.float64]:
        self.prepare("third_product")
        return super().third_derivative_product(x, m)

    def _grad_difference(self, rows: NDArray[Any], direction: NDArray[Any]) -> NDArray[Any]:
        self.prepare("hessian")
        return super()._grad_difference(rows, direction)

    def log_likelihood(self, theta: ArrayLike) -> Any:
        """Log likelihood of the data at theta (..., dim): a float for one point, an array (...) for many."""
        points = checks.points("theta", theta, self.dim)
        prior = sum(
            0.5 * (end - start) * (math.log(tau) - LOG_TWO_PI)
            - 0.5 * tau * np.sum(points[..., start:end] ** 2, axis=-1)
            for start, end, tau in self._tensors()
        )
        return self(points) - prior

    def _tensors(self) -> Iterator[tuple[int, int, float]]:
        """(first parameter, end, precision) of every tensor."""
        for (offset, shape), tau in zip(self.net.layout.values(), self.precisions, strict=True):
            yield offset, offset + math.prod(shape), float(tau)

    def __repr__(self) -> str:
        return f"<Posterior: {self.dim} parameters, {len(self._inputs)} rows>"


def _precisions(tau: Any, tensors: list[str]) -> NDArray[np.float64]:
    values = checks.numbers("tau", tau)
    if values.ndim > 1 or (values.ndim == 1 and len(values) != len(tensors)):
        raise InputError(
            f"tau: expected a number or {len(tensors)} of them, for {', '.join(tensors)}; got shape {values.shape}"
        )
    if not np.all(np.isfinite(values) & (values > 0)):
        raise InputError(f"tau: expected positive finite numbers, got {tau!r}")
    return np.array(np.broadcast_to(values, len(tensors)), dtype=np.float64)


def _names(net: Sequential) -> Iterator[str]:
    for name, (_, shape) in net.layout.items():
        for index in np.ndindex(*shape):
            yield f"{name}[{','.join(map(str, index))}]"
