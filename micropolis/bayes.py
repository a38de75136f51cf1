"""Networks meet samplers: draws from the posterior of a network's weights, and what they predict."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import checks, workers
from .errors import InputError, InputTypeError
from .hamiltonian.hmc import HMC
from .hamiltonian.splitting import SplitHMC
from .neural import losses
from .neural.losses import Loss
from .neural.network import Sequential
from .neural.posterior import Posterior
from .protocol import Kernel
from .sampling import sample
from .trace import Trace

Array = NDArray[Any]

CHAINS = 4  # the default of `sample`
BLOCK = 16  # draws converted to the network's dtype at once


def sample_model(
    net: Sequential,
    x: ArrayLike | None,
    y: ArrayLike | None = None,
    *,
    kernel: Kernel | None = None,
    draws: int = 1000,
    loss: Loss = "multiclass",
    tau: float | Sequence[float] = 1.0,
    tau_out: float = 1.0,
    batches: int | None = None,
    init: ArrayLike | None = None,
    dtype: str | None = None,
    **sample_options: Any,
) -> Trace:
    """Draws from the posterior of a network's weights.

    Parameters
    ----------
    net : Sequential
    x, y : array_like or None
        Data; None samples the prior.
    kernel : Kernel, optional
        Default ``NUTS()``.
    draws : int
        Kept draws of each chain.
    loss, tau, tau_out
        The model, as in `micropolis.neural.Posterior`.
    batches : int, optional
        Split the data into so many blocks and take HMC steps that see one block at a time: an ``HMC`` kernel becomes
        ``SplitHMC`` of the same options; for another order of the blocks pass a ``SplitHMC``.
    init : array_like (dim,) or (chains, dim), optional
        Where chains begin; default, all of them at ``net.parameters``.
    dtype : "float64" or "float32", optional
        Of the stored draws; default the network's.
    **sample_options
        ``warmup``, ``chains``, ``seed``, ``threads``, ``thin``, ``progress``, ``store``, ``checkpoint`` of `sample`. A
        kernel of fixed step, as ``HMC`` without ``target_accept``, keeps it in warm-up, which is then burn-in alone.

    Returns
    -------
    Trace
        Draws (chains, draws, n_parameters). To go on, hand `resume` the trace and the `Posterior`,
        its ``threads`` the available processors divided by the chains for the same bits.

    Raises
    ------
    InputError
        As `micropolis.neural.Posterior` and `sample`.

    References
    ----------
    Neal (1996), "Bayesian Learning for Neural Networks".
    Cobb & Jalaian (2021), "Scaling Hamiltonian Monte Carlo inference for Bayesian neural networks with symmetric
    splitting".

    Examples
    --------
    >>> import micropolis as mp
    >>> net = mp.neural.Sequential(mp.neural.Linear(1, 2), seed=0)
    >>> trace = mp.sample_model(net, [[0.0], [1.0]], [0, 1], draws=50, warmup=50, chains=2, seed=1)
    >>> trace.draws.shape
    (2, 50, 4)
    """
    if batches is not None:
        if isinstance(kernel, HMC):
            kernel = SplitHMC(kernel.step_size, kernel.n_steps, inverse_mass=kernel.inverse_mass, jitter=kernel.jitter,
                              target_accept=kernel.target_accept)  # fmt: skip
        if not isinstance(kernel, SplitHMC):
            got = "the default NUTS" if kernel is None else type(kernel).__name__
            raise InputError(f"batches: expected None, or an HMC or SplitHMC kernel, got {batches} with {got}")
    # processors that the chains leave idle work inside the network
    chains = sample_options.get("chains", CHAINS)
    share = workers.available() // int(chains) if isinstance(chains, int | np.integer) and chains > 0 else 1
    density = Posterior(net, x, y, loss, tau, tau_out, batches, threads=max(1, min(share, 64)))
    start = net.parameters.astype(np.float64) if init is None else init
    stored = net.dtype.name if dtype is None else dtype
    return sample(density, kernel, draws=draws, init=start, dtype=stored, **sample_options)


def predict_model(
    net: Sequential,
    trace: Trace | ArrayLike,
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    loss: Loss | None = None,
    tau_out: float | None = None,
    threads: int | None = None,
) -> tuple[Array, NDArray[np.float64] | None]:
    """Outputs of the network for every draw of its weights.

    Parameters
    ----------
    net : Sequential
        Its own parameters are not used.
    trace : Trace or array_like (..., n_parameters)
        Draws; chains are laid one behind the other.
    x : array_like (N, *input_shape)
    y : array_like, optional
        Targets, for log probabilities.
    loss, tau_out : optional
        Of the model, as in `sample_model`; only for log probabilities. Default those that a trace was sampled with
        (but a function must be passed again), and for draws that do not tell "multiclass" and 1.
    threads : int, optional
        Draws evaluated at once; default one per available core.

    Returns
    -------
    predictions : ndarray (S, N, n_outputs)
        What the network puts out (logits, log rates, means), of its dtype, for S = chains * draws.
    log_probability : ndarray (S,) or None
        log p(y | x, theta_s), summed over the rows; None without y.

    Raises
    ------
    InputError
        Rows or draws that do not fit, or are not finite in the network's dtype; no loss where the trace had a function.

    Examples
    --------
    >>> import micropolis as mp
    >>> net = mp.neural.Sequential(mp.neural.Linear(1, 2))
    >>> predictions, logp = mp.predict_model(net, [[0.0] * 4, [1.0] * 4], [[1.0]], [0])
    >>> predictions.shape, logp
    ((2, 1, 2), array([-0.69314718, -0.69314718]))
    """
    if not isinstance(net, Sequential):
        raise InputTypeError(f"net: expected a Sequential, got {type(net).__name__}")
    draws = trace.draws if isinstance(trace, Trace) else trace
    if not (isinstance(draws, np.ndarray) and draws.dtype.kind == "f"):  # a memory map stays one
        draws = checks.numbers("trace", draws)
    if draws.ndim < 1 or draws.shape[-1] != net.n_parameters:
        raise InputError(f"trace: expected draws of {net.n_parameters} parameters, got shape {draws.shape}")
    draws = draws.reshape(-1, net.n_parameters)
    inputs = net._inputs(x, "x")
    loss, tau_out = _likelihood(trace, loss, tau_out, asked=y is not None)
    network, data = net.bind(), net.data(inputs, y, loss)
    threads = workers.available() if threads is None else checks.integer("threads", threads, least=1)
    predictions = np.empty((len(draws), len(inputs), network.n_outputs), dtype=net.dtype)
    log_probability = None if y is None else np.empty(len(draws))
    row_loss = losses.as_loss(loss, tau_out, network.n_outputs, gradient=False) if y is not None else None

    stopped = threading.Event()  # by Ctrl-C or an error: nobody waits for the other threads then
    answers: Any = data.labels if data.targets is None else data.targets

    def work(part: slice) -> None:
        """A block of draws at a time, so that a memory-mapped trace is not loaded whole."""
        for start in range(part.start, part.stop, BLOCK):
            if stopped.is_set():
                return
            some = slice(start, min(start + BLOCK, part.stop))
            with np.errstate(over="ignore"):
                block = np.ascontiguousarray(draws[some], dtype=net.dtype)
            finite = np.isfinite(block).all(axis=1)
            if not finite.all():
                number = start + int(np.argmin(finite))
                raise InputError(f"trace: expected finite numbers of {net.dtype.name}, draw {number} has others")
            network.predict(block, data, predictions[some])
            if log_probability is not None and row_loss is not None:
                for s, theta in zip(range(some.start, some.stop), block, strict=True):
                    if isinstance(loss, str):  # from the outputs, without another pass through the network
                        outputs = predictions[s].astype(np.float64)
                        log_probability[s] = -losses.reference(loss, outputs, answers, tau_out)[0].sum()
                    else:
                        log_probability[s] = -network.loss_sum(row_loss, theta, data)[0]

    edges = np.linspace(0, len(draws), min(threads, max(1, len(draws))) + 1).astype(int)
    parts = [slice(int(a), int(b)) for a, b in pairwise(edges)]
    if len(parts) == 1:
        work(parts[0])
    else:
        with workers.pool(len(parts)) as executor:
            try:
                list(executor.map(work, parts))
            except BaseException:
                stopped.set()
                raise
    return predictions, log_probability


def _likelihood(trace: Trace | ArrayLike, loss: Loss | None, tau_out: float | None, asked: bool) -> tuple[Loss, float]:
    """`loss` and `tau_out`, where they are not given those of the trace."""
    told = (trace.settings.get("likelihood") if isinstance(trace, Trace) else None) or {"loss": "multiclass"}
    if loss is None and told["loss"] is None and asked:
        raise InputError("loss: expected the function that the trace was sampled with, got None")
    loss = (told["loss"] or "multiclass") if loss is None else loss
    return loss, told.get("tau_out", 1.0) if tau_out is None else tau_out
