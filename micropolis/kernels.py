"""Array-level kernels for a NumPy workflow: arrays in, arrays out, batched over leading axes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _hamiltonian, _metropolis, checks
from .density import Density
from .errors import DensityError, InputError, InputTypeError
from .hamiltonian.arrays import explicit_leapfrog, implicit_leapfrog, implicit_midpoint
from .protocol import hamiltonian_tuning

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
    elif not (isinstance(out, np.ndarray) and out.dtype == np.bool_ and out.shape == shape and out.flags.writeable):
        raise InputError(f"out: expected a writable bool array of shape {shape}, got {_described(out)}")
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
        (q, p, logp, grad) to write to, C-contiguous float64, of shapes (..., dim), (..., dim), (...), (..., dim);
        `q` and `p` themselves may be among them.

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
    if inverse_mass is not None:
        hamiltonian_tuning(None, mass, dim)  # raises where it is none
    shapes = ((*shape, dim), (*shape, dim), shape, (*shape, dim))
    if out is None:
        out = tuple(np.empty(s) for s in shapes)  # type: ignore[assignment]
        assert out is not None
    else:
        _check_results(out, shapes)
    q_out, p_out, logp_out, grad_out = out
    if np.may_share_memory(q_out, momenta):  # as a loop that hands the arrays back in another order does
        momenta = momenta.copy()
    q_out[...], p_out[...] = positions, momenta
    rows = (-1, dim)
    code, row = _hamiltonian.leapfrog(
        density._c, eps, steps, mass.reshape(-1), q_out.reshape(rows), p_out.reshape(rows), logp_out.reshape(-1),
        grad_out.reshape(rows),
    )  # fmt: skip
    if code < 0:
        cause = density._c.failure(code, q_out.reshape(rows)[row])
        if isinstance(cause, DensityError) or not isinstance(cause, Exception):  # Ctrl-C stays what it is
            raise cause
        raise DensityError(f"the log density failed: {type(cause).__name__}: {cause}") from cause
    return q_out, p_out, float(logp_out) if logp_out.ndim == 0 else logp_out, grad_out


def _check_results(out: Any, shapes: tuple[tuple[int, ...], ...]) -> None:
    """Raise unless `out` has an array of its own for each result."""
    arrays = out if isinstance(out, (tuple, list)) else (out,)
    if len(arrays) != len(shapes) or not all(
        isinstance(a, np.ndarray)
        and (a.dtype == np.float64 and a.shape == s and a.flags.c_contiguous and a.flags.writeable)
        for a, s in zip(arrays, shapes, strict=True)
    ):
        got = ", ".join(map(_described, arrays))
        raise InputError(f"out: expected four writable C-contiguous float64 arrays of shapes {shapes}, got {got}")
    if any(np.may_share_memory(a, b) for a, b in itertools.combinations(arrays, 2)):
        raise InputError("out: expected four arrays, got one twice or parts that overlap")


def _described(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return type(value).__name__
    return f"{value.dtype} {value.shape}" + ("" if value.flags.writeable else ", read-only")
