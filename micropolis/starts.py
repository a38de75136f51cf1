"""Where chains begin: their random streams and points, and the error of a log density that fails or is another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import checks, protocol
from .chains import ChainJob
from .density import Density
from .errors import DensityError, InputError, InputTypeError


def streams(seed: Any, chains: int) -> list[np.random.BitGenerator]:
    """One SFC64 stream per chain: the fastest of NumPy's generators, and one that CUDA threads can run."""
    try:
        if isinstance(seed, np.random.Generator):
            seed = seed.bit_generator
        sequence: Any = seed.seed_seq if isinstance(seed, np.random.BitGenerator) else seed
        if sequence is None and seed is not None:
            raise TypeError("a generator without a seed sequence")
        if not isinstance(sequence, np.random.SeedSequence):
            sequence = np.random.SeedSequence(sequence)
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"seed: expected None, a non-negative integer or a NumPy generator, got {seed!r}") from error
    return [np.random.SFC64(child) for child in sequence.spawn(chains)]


def initial_points(density: Density, chains: int, init: Any) -> NDArray[np.float64] | None:
    """`init` as unconstrained points (chains, dim); None stays None."""
    if init is None:
        return None
    if isinstance(init, Mapping):
        if density.parameters is None:
            raise InputTypeError("init: a mapping needs a density with named parameters")
        try:
            points = np.asarray(density.parameters.unconstrain(init))
        except InputError as error:
            raise InputError(f"init: {str(error).removeprefix('values: ')}") from None
    else:
        points = checks.points("init", init, density.dim)
    if points.ndim > 2 or (points.ndim == 2 and len(points) != chains):
        raise InputError(f"init: expected shape ({density.dim},) or ({chains}, {density.dim}), got {points.shape}")
    points = np.broadcast_to(points, (chains, density.dim))
    for i, point in enumerate(points):
        if not np.all(np.isfinite(point)):
            raise InputError(f"init: expected finite numbers, got {_short(point)} for chain {i}")
    return points


def start(job: ChainJob, points: NDArray[np.float64] | None) -> None:
    """Put a chain at its initial point, or say why it cannot start."""
    status = job.random_start() if points is None else job.evaluate_start(points[job.index])
    if status == protocol.DENSITY_FATAL:
        cause = job.failure()
        if isinstance(cause, KeyboardInterrupt):  # Ctrl-C while the function ran in the main thread
            raise cause
        raise density_error(job, cause, "at its initial point") from cause
    if status == protocol.BAD_START:
        where, logp = _short(job.buffers["x"]), float(job.buffers["logp"][0])
        if points is None:
            raise InputError(
                f"init: no point with a finite log density and gradient found for chain {job.index} in 100 tries "
                f"on (-2, 2); the last was {where}, where the log density is {logp}. Pass init="
            )
        problem = "its gradient is not finite" if np.isfinite(logp) else "it must be finite"
        if logp == -np.inf:
            problem = "outside the support"
        raise InputError(f"init: chain {job.index} cannot start at {where}, where the log density is {logp}: {problem}")


def check_fingerprint(density: Density, state: dict[str, NDArray[Any]], chain: int) -> None:
    """The density must give the value that the trace recorded; another machine's libm may differ in the last bits."""
    recorded, now = float(state["logp"][0]), float(density(state["x"]))
    if not np.isclose(recorded, now, rtol=1e-9, atol=1e-9):
        raise InputError(
            f"density: not the one the trace was made with: at the last point of chain {chain} it is {now!r}, "
            f"the trace has {recorded!r}"
        )


def density_error(job: ChainJob, cause: BaseException, where: str) -> DensityError:
    """The error to raise from what a log density raised, naming chain, draw and point."""
    at = "" if job.where is None else f" at x = {_short(job.where)}"
    return DensityError(f"the log density failed in chain {job.index} {where}{at}: {type(cause).__name__}: {cause}")


def _short(point: NDArray[np.float64]) -> str:
    return np.array2string(point, threshold=10)
