"""Array-level Riemannian integrators: rows of (q, p) in, rows out; see micropolis.kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _hamiltonian, checks
from ..density import Density
from ..errors import InputTypeError
from ..protocol import DENSITY_FATAL
from .metrics import Metric, SoftAbs
from .riemannian import RMHMC, check_integrator, fill_integrator

Array = NDArray[np.float64]


def _integrate(
    density: Density, q: ArrayLike, p: ArrayLike, step_size: float, n_steps: int, metric: Metric | None,
    integrator: str, tolerance: float, max_iterations: int, binding: float = 10.0,
) -> tuple[Array, Array, Any]:  # fmt: skip
    if not isinstance(density, Density):
        raise InputTypeError(f"density: expected a Density, got {type(density).__name__}")
    dim, metric = density.dim, SoftAbs() if metric is None else metric
    positions, momenta, shape, eps, steps = checks.trajectory(dim, q, p, step_size, n_steps)
    check_integrator(abs(eps), metric, integrator, tolerance, max_iterations, None, binding)
    metric.check(dim)
    density.prepare(*metric.derivatives)
    q_out, p_out = np.empty((*shape, dim)), np.empty((*shape, dim))
    q_out[...], p_out[...] = positions, momenta
    rows, n = (-1, dim), int(np.prod(shape))
    options = np.zeros(1, dtype=RMHMC.OPTIONS)
    keep_alive = fill_integrator(options[0], dim, metric, integrator, tolerance, max_iterations, None, binding)
    energy, force = np.full(n, np.nan), np.empty((n, dim))
    status, iterations = np.zeros(n, dtype=np.int32), np.zeros(n, dtype=np.int64)
    failed = _hamiltonian.riemannian(
        density._c, options, eps, steps, q_out.reshape(rows), p_out.reshape(rows), energy, force, status, iterations
    )
    del keep_alive
    if failed >= 0:
        raise density._c.failure(DENSITY_FATAL, q_out.reshape(rows)[failed])
    return q_out, p_out, float(energy[0]) if shape == () else energy.reshape(shape)


def implicit_leapfrog(
    density: Density, q: ArrayLike, p: ArrayLike, step_size: float, n_steps: int, metric: Metric | None = None,
    fixed_point_tol: float = 1e-9, fixed_point_max_iter: int = 100,
) -> tuple[Array, Array, Any]:  # fmt: skip
    """`n_steps` generalised leapfrog steps under a position-dependent metric, for every row.

    Parameters
    ----------
    density : Density
    q, p : array_like (..., dim)
        Positions and momenta; broadcast against each other.
    step_size : float
        Finite and not 0; negative steps run backward.
    n_steps : int
        0 or more.
    metric : Metric, optional
        Default ``SoftAbs()``.
    fixed_point_tol, fixed_point_max_iter : float, int
        As in `micropolis.RMHMC`.

    Returns
    -------
    q, p : ndarray (..., dim)
    energy : float or ndarray (...)
        H = U + log det G / 2 + p' G^-1 p / 2 at the end; NaN where a step could not be made, which ends that row.

    Raises
    ------
    InputError, InputTypeError
        If shapes or values do not fit.
    DensityError
        If the density fails.

    Examples
    --------
    >>> import micropolis as mp, numpy as np
    >>> from micropolis.kernels import implicit_leapfrog
    >>> q, p, energy = implicit_leapfrog(mp.densities.Funnel(3), np.ones((5, 3)), np.ones(3), 0.1, 4)
    >>> q.shape, energy.shape
    ((5, 3), (5,))
    """
    return _integrate(density, q, p, step_size, n_steps, metric, "implicit", fixed_point_tol, fixed_point_max_iter)


def implicit_midpoint(
    density: Density, q: ArrayLike, p: ArrayLike, step_size: float, n_steps: int, metric: Metric | None = None,
    fixed_point_tol: float = 1e-9, fixed_point_max_iter: int = 100,
) -> tuple[Array, Array, Any]:  # fmt: skip
    """`n_steps` implicit midpoint steps under a position-dependent metric; arguments as in `implicit_leapfrog`."""
    return _integrate(density, q, p, step_size, n_steps, metric, "midpoint", fixed_point_tol, fixed_point_max_iter)


def explicit_leapfrog(
    density: Density, q: ArrayLike, p: ArrayLike, step_size: float, n_steps: int, metric: Metric | None = None,
    fixed_point_tol: float = 1e-9, fixed_point_max_iter: int = 100, corrected: bool = True, binding: float = 10.0,
) -> tuple[Array, Array, Any]:  # fmt: skip
    """`n_steps` steps on two copies of phase space; arguments as in `implicit_leapfrog`, and these.

    Parameters
    ----------
    corrected : bool
        True: the copies are joined by a symmetric projection after each step, which makes it reversible and
        symplectic. False: as published (Cobb et al. 2019), bound by `binding` and never joined; reversible on the
        doubled phase space only.
    binding : float
        omega, where not corrected.
    """
    integrator = "explicit" if corrected else "explicit_uncorrected"
    return _integrate(
        density, q, p, step_size, n_steps, metric, integrator, fixed_point_tol, fixed_point_max_iter, binding
    )
