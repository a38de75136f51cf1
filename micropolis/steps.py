"""init() and step(): one step of a kernel at a time, for loops of the user's own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import checks, protocol
from .chains import compiled_chain
from .density import Density
from .errors import DensityError, InputError, InputTypeError
from .protocol import Kernel


@dataclass(frozen=True)
class State:
    """Where a chain is: a plain record.

    Attributes
    ----------
    x : ndarray (dim,)
    logp : float
    grad : ndarray (dim,)
    count : int
        Steps made, which a temperature schedule looks at.
    """

    x: NDArray[np.float64]
    logp: float
    grad: NDArray[np.float64]
    count: int = 0


def init(density: Density, x: ArrayLike) -> State:
    """State of a chain at x (dim,).

    Raises
    ------
    InputError
        If the log density or its gradient is not finite there.

    Examples
    --------
    >>> import micropolis as mp
    >>> mp.init(mp.densities.Gaussian([0.0]), [0.0]).grad
    array([0.])
    """
    _check_density(density)
    point = checks.points("x", x, density.dim)
    if point.ndim != 1:
        raise InputError(f"x: expected shape ({density.dim},), got {point.shape}")
    logp, grad = density.value_and_grad(point)
    if not (np.isfinite(logp) and np.all(np.isfinite(grad))):
        slope, place = (np.array2string(vector, threshold=10) for vector in (grad, point))
        raise InputError(f"x: the log density is {logp} and its gradient {slope} at {place}; both must be finite")
    return State(point.copy(), logp, grad)


def _check_density(density: object) -> None:
    if not isinstance(density, Density):
        raise InputTypeError(f"density: expected a Density, got {type(density).__name__}")


def step(kernel: Kernel, density: Density, rng: np.random.Generator, state: State) -> tuple[State, np.void]:
    """One step of a kernel.

    Parameters
    ----------
    kernel : Kernel
        With a step size: a kernel whose step size is None starts from 0.1, since nothing adapts here.
    density : Density
    rng : numpy.random.Generator
    state : State

    Returns
    -------
    state : State
    info : numpy.void
        The kernel's info record: logp, accept_prob, n_grad, accepted, divergent, status and its own fields.

    Examples
    --------
    >>> import micropolis as mp, numpy as np
    >>> d, rng = mp.densities.Gaussian([0.0, 0.0]), np.random.default_rng(1)
    >>> state = mp.init(d, [1.0, 1.0])
    >>> state, info = mp.step(mp.HMC(step_size=0.3, n_steps=5), d, rng, state)
    >>> int(info["n_grad"])
    5
    """
    if not isinstance(rng, np.random.Generator):
        raise InputTypeError(f"rng: expected a numpy.random.Generator, got {type(rng).__name__}")
    if not isinstance(kernel, Kernel):
        raise InputTypeError(f"kernel: expected a kernel such as HMC(), got {checks.kind(kernel)}")
    _check_density(density)
    if not isinstance(state, State):
        raise InputTypeError(f"state: expected a State, made by init, got {type(state).__name__}")
    if np.shape(state.x) != (density.dim,) or np.shape(state.grad) != (density.dim,):
        raise InputError(
            f"state: expected x and grad of shape ({density.dim},), got {np.shape(state.x)} and {np.shape(state.grad)}"
        )
    kernel.prepare(density)
    tuning = kernel.tuning(density.dim)
    scale = np.ascontiguousarray(tuning.scale, dtype=np.float64)
    options = np.zeros(1, dtype=kernel.OPTIONS)
    options[0]["step_size"], options[0]["metric"] = tuning.step_size, tuning.metric
    options[0]["scale"] = scale.ctypes.data
    keep_alive = kernel.fill_options(options[0], density.dim)
    buffers = {
        buffer.name: np.array(getattr(state, buffer.name), dtype=buffer.dtype).reshape(buffer.shape(density.dim))
        for buffer in kernel.BUFFERS
    }
    info = np.zeros(1, dtype=kernel.INFO)
    handle, recording = density._c, density._c.recording()
    chain = compiled_chain(kernel, options, recording, rng.bit_generator, list(buffers.values()), None, None)
    with rng.bit_generator.lock:
        status = chain.run_block(0, 1, None, info, np.zeros(1, dtype=np.int32), np.zeros(2, dtype=np.int64))
    del keep_alive, scale
    if status == protocol.DENSITY_FATAL:
        cause = handle.failure(status, recording.where)
        if isinstance(cause, KeyboardInterrupt):
            raise cause
        raise DensityError(f"the log density failed: {type(cause).__name__}: {cause}") from cause
    return (
        State(
            buffers["x"],
            float(buffers["logp"][0]),
            buffers.get("grad", state.grad),
            int(buffers["count"][0]) if "count" in buffers else state.count,
        ),
        info[0],
    )
