"""Array-level kernels for a NumPy workflow: arrays in, arrays out, batched over leading axes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _hamiltonian, _metropolis, checks
from .density import Density
from .errors import InputError, InputTypeError
from .hamiltonian.arrays import explicit_leapfrog, implicit_leapfrog, implicit_midpoint

__all__ = ["explicit_leapfrog", "implicit_leapfrog", "implicit_midpoint", "leapfrog", "metropolis_accept"]

Array = NDArray[np.float64]


def metropolis_accept(
    logp: ArrayLike,
    logp_proposed: ArrayLike,
    rng: np.random.Generator,
    log_q_ratio: ArrayLike = 0.0,
    temperature: ArrayLike = 1.0,
    out: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Metropolis-Hastings decisions: log u < (logp_proposed - logp) / T + log_q_ratio, one uniform per element.

    Parameters
    ----------
    logp, logp_proposed : array_like
        Log density at the current and the proposed points; broadcast against each other.
    rng : numpy.random.Generator
    log_q_ratio : array_like
        log q(x|x') - log q(x'|x) of an asymmetric proposal.
    temperature : array_like
        T > 0.
    out : bool array, optional
        Where to put the result.

    Returns
    -------
    ndarray of bool
        Of the broadcast shape. A proposal whose log density is not finite is never accepted.

    Raises
    ------
    InputError, InputTypeError
        If shapes do not broadcast, a temperature is not positive, or `rng` is not a Generator.

    References
    ----------
    Hastings (1970), "Monte Carlo sampling methods using Markov chains and their applications".

    Examples
    --------
    >>> import numpy as np
    >>> from micropolis.kernels import metropolis_accept
    >>> metropolis_accept([0.0, 0.0], [1.0, -np.inf], np.random.default_rng(0))
    array([ True, False])
    """
    if not isinstance(rng, np.random.Generator):
        raise InputTypeError(f"rng: expected a numpy.random.Generator, got {type(rng).__name__}")
    arrays = {
        "logp": checks.numbers("logp", logp),
        "logp_proposed": checks.numbers("logp_proposed", logp_proposed),
        "log_q_ratio": checks.numbers("log_q_ratio", log_q_ratio),
        "temperature": checks.numbers("temperature", temperature),
    }
    if not np.all(arrays["temperature"] > 0):
        raise InputError(f"temperature: expected positive numbers, got {temperature!r}")
    try:
        shape = np.broadcast_shapes(*(array.shape for array in arrays.values()))
    except ValueError:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise InputError(f"logp, logp_proposed: shapes do not broadcast: {shapes}") from None
    rows = [
        array.reshape(1) if array.size == 1 else np.ascontiguousarray(np.broadcast_to(array, shape)).reshape(-1)
        for array in arrays.values()
    ]
    if out is None:
        out = np.empty(shape, dtype=np.bool_)
    elif not (isinstance(out, np.ndarray) and out.dtype == np.bool_ and out.shape == shape):
        got = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise InputError(f"out: expected a bool array of shape {shape}, got {got}")
    result = out if out.flags.c_contiguous else np.empty(shape, dtype=np.bool_)
    _metropolis.accept(rng.bit_generator, rows[0], rows[1], rows[2], rows[3], result.reshape(-1).view(np.uint8))
    if result is not out:
        out[...] = result
    return out


def leapfrog(
    density: Density,
    q: ArrayLike,
    p: ArrayLike,
    step_size: float,
    n_steps: int,
    inverse_mass: ArrayLike | None = None,
    out: tuple[Array, Array, Array, Array] | None = None,
) -> tuple[Array, Array, Any, Array]:
    """`n_steps` leapfrog steps of dq/dt = M^-1 p, dp/dt = grad log density, for every row.

    Parameters
    ----------
    density : Density
    q, p : array_like (..., dim)
        Positions and momenta; broadcast against each other.
    step_size : float
        Finite and not 0; negative steps run backward.
    n_steps : int
        0 or more.
    inverse_mass : None, array (dim,) or array (dim, dim)
        M^-1: the identity, a variance per coordinate, or a symmetric matrix.
    out : tuple of arrays, optional
        (q, p, logp, grad) to write to, C-contiguous float64, of shapes (..., dim), (..., dim), (...), (..., dim).

    Returns
    -------
    q, p : ndarray (..., dim)
    logp : float or ndarray (...)
        Log density at the end; NaN where the density rejected a point on the way, which ends that row.
    grad : ndarray (..., dim)

    Raises
    ------
    InputError, InputTypeError
        If shapes or values do not fit.
    DensityError
        If the density fails.

    Examples
    --------
    >>> import micropolis as mp, numpy as np
    >>> from micropolis.kernels import leapfrog
    >>> q, p, logp, grad = leapfrog(mp.densities.Gaussian(np.zeros(2)), np.ones((5, 2)), np.zeros((5, 2)), 0.1, 3)
    >>> q.shape, logp.shape
    ((5, 2), (5,))
    """
    if not isinstance(density, Density):
        raise InputTypeError(f"density: expected a Density, got {type(density).__name__}")
    dim = density.dim
    positions, momenta, shape, eps, steps = checks.trajectory(dim, q, p, step_size, n_steps)
    mass = np.empty(0) if inverse_mass is None else checks.numbers("inverse_mass", inverse_mass)
    if inverse_mass is not None and mass.shape not in ((dim,), (dim, dim)):
        raise InputError(f"inverse_mass: expected shape ({dim},) or ({dim}, {dim}), got {mass.shape}")
    shapes = ((*shape, dim), (*shape, dim), shape, (*shape, dim))
    if out is None:
        out = tuple(np.empty(s) for s in shapes)  # type: ignore[assignment]
        assert out is not None
    elif len(out) != 4 or not all(
        isinstance(a, np.ndarray) and a.dtype == np.float64 and a.flags.c_contiguous and a.shape == s
        for a, s in zip(out, shapes, strict=True)
    ):
        raise InputError(f"out: expected four C-contiguous float64 arrays of shapes {shapes}")
    q_out, p_out, logp_out, grad_out = out
    q_out[...], p_out[...] = positions, momenta
    rows = (-1, dim)
    code, row = _hamiltonian.leapfrog(
        density._c, eps, steps, mass.reshape(-1), q_out.reshape(rows), p_out.reshape(rows), logp_out.reshape(-1),
        grad_out.reshape(rows),
    )  # fmt: skip
    if code < 0:
        raise density._c.failure(code, q_out.reshape(rows)[row])
    return q_out, p_out, float(logp_out) if logp_out.ndim == 0 else logp_out, grad_out
