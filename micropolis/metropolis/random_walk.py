"""Random-walk Metropolis with a Gaussian proposal, a temperature or a schedule of temperatures."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import checks
from ..adaptation.rule import METRIC_COVARIANCE, METRIC_DRAWS, METRIC_FIXED, ROBBINS_MONRO, rule
from ..errors import InputError
from ..jit import Evaluate, Random, head_writer, point_status
from ..linalg import make_linalg
from ..protocol import DENSE, DIAGONAL, LOGP, OK, Buffer, Kernel, Tuning, X, info_dtype, options_dtype, register


def make_step(jit: Callable[..., Any], density: Evaluate, random: Random) -> Callable[..., Any]:
    """Random-walk Metropolis: x' = x + step_size S z, accepted with probability min(1, exp(delta log f / T))."""
    algebra, value, status_of, write_head = make_linalg(jit), density.value, point_status(jit), head_writer(jit)
    copy, add_scaled, normal, uniform = algebra.copy, algebra.add_scaled, random.normal, random.uniform

    @jit
    def step(options, scale, table, data, rng, state, work, info):  # type: ignore[no-untyped-def]
        x, logp, count = state
        proposal, noise, scratch = work[0], work[1], work[2]
        temperature = table[min(count[0], options.n_temperatures - 1)]
        count[0] += 1

        for i in range(x.size):
            noise[i] = normal(rng)
        copy(x, proposal)
        add_scaled(options.metric, options.step_size, scale, noise, proposal, scratch)
        code, logp_new = value(proposal, scratch, data)

        status = status_of(code, logp_new)
        accept_prob = 0.0
        if status == OK:
            log_ratio = (logp_new - logp[0]) / temperature
            accept_prob = 1.0 if log_ratio >= 0.0 else math.exp(log_ratio)
        accepted = uniform(rng) < accept_prob
        if accepted:
            copy(proposal, x)
            logp[0] = logp_new

        write_head(info, logp[0], accept_prob, 1, accepted, status)
        info.step_size = options.step_size
        if status < 0:
            count[0] -= 1  # the step was not made
        return min(status, OK)

    return step


@register
@dataclass(frozen=True, eq=False)
class RandomWalk(Kernel):
    """Random-walk Metropolis: x' = x + scale * N(0, I), accepted with probability min(1, (f(x') / f(x))^(1/T)).

    Parameters
    ----------
    scale : float, array (dim,) or array (dim, dim)
        Standard deviation of the proposal, one for all coordinates or one each, or the lower Cholesky factor of its
        covariance matrix. Warm-up starts from it.
    temperature : float, array or callable
        T > 0: 1 samples the density, T -> 0 optimises. An array gives the temperature of each step from the start of
        warm-up (the last one stays), a callable is ``T(step) -> float`` for steps 0 .. `schedule_steps` - 1.
    target_accept : "auto", float or None
        Acceptance that warm-up steers the scale to; "auto" is 0.44 in one dimension and 0.234 in more, None keeps
        `scale`.
    covariance : "unit", "diag" or "dense"
        What warm-up learns of the proposal's shape: nothing, variances, or the covariance matrix.
    schedule_steps : int
        How many steps of a callable schedule are tabulated.

    References
    ----------
    Metropolis et al. (1953), "Equation of state calculations by fast computing machines".
    Roberts, Gelman & Gilks (1997), "Weak convergence and optimal scaling of random walk Metropolis algorithms".

    Examples
    --------
    >>> import micropolis as mp
    >>> mp.sample(mp.densities.Gaussian([0.0, 1.0]), mp.RandomWalk(), draws=10, chains=2, seed=1).draws.shape
    (2, 10, 2)
    """

    scale: float | NDArray[np.float64] = 1.0
    temperature: float | ArrayLike | Callable[[int], float] = 1.0
    target_accept: str | float | None = "auto"
    covariance: str = "unit"
    schedule_steps: int = 10_000

    name: ClassVar[str] = "random_walk"
    family: ClassVar[str] = "metropolis"
    OPTIONS: ClassVar[np.dtype[Any]] = options_dtype(("temperatures", "u8"), ("n_temperatures", "i8"))
    INFO: ClassVar[np.dtype[Any]] = info_dtype(("step_size", "f8"))
    BUFFERS: ClassVar[tuple[Buffer, ...]] = (X, LOGP, Buffer("count", "i8", lambda dim: (1,)))
    make_step = staticmethod(make_step)

    def __post_init__(self) -> None:
        scale = checks.numbers("scale", self.scale)
        object.__setattr__(self, "scale", float(scale) if scale.ndim == 0 else scale)
        if scale.ndim < 2 and not (np.all(np.isfinite(scale)) and np.all(scale > 0)):
            raise InputError(f"scale: expected positive finite numbers, got {self.scale!r}")
        if scale.ndim == 2 and not (
            scale.shape[0] == scale.shape[1]
            and np.all(np.isfinite(scale))
            and np.all(np.triu(scale, 1) == 0)
            and np.all(np.diag(scale) > 0)
        ):
            raise InputError("scale: expected a finite lower triangular matrix with a positive diagonal")
        if scale.ndim > 2:
            raise InputError(f"scale: expected a number, (dim,) or (dim, dim), got shape {scale.shape}")
        if self.target_accept not in ("auto", None):
            checks.real("target_accept", self.target_accept, above=0.0, below=1.0)
        checks.choice("covariance", self.covariance, ("unit", "diag", "dense"))
        steps = checks.integer("schedule_steps", self.schedule_steps, least=1)
        temperature = self.temperature
        if callable(temperature):
            temperature = np.array([temperature(step) for step in range(steps)])
        values = checks.numbers("temperature", temperature)
        if values.ndim > 1 or values.size == 0 or not (np.all(np.isfinite(values)) and np.all(values > 0)):
            raise InputError(f"temperature: expected positive finite numbers, got {self.temperature!r}")
        object.__setattr__(self, "temperature", float(values) if values.ndim == 0 else values)

    def tuning(self, dim: int) -> Tuning:
        scale = np.asarray(self.scale)
        if scale.ndim == 0:
            return Tuning(float(scale), DIAGONAL, np.ones(dim))
        if scale.shape[0] != dim:
            raise InputError(f"scale: expected a number, ({dim},) or ({dim}, {dim}), got shape {scale.shape}")
        return Tuning(1.0, DENSE if scale.ndim == 2 else DIAGONAL, scale)

    def n_work(self) -> int:
        return 3

    def table(self) -> NDArray[np.float64]:
        return np.atleast_1d(np.asarray(self.temperature, dtype=np.float64))

    def fill_options(self, options: np.void, dim: int) -> object:
        temperatures = self.table()
        options["temperatures"], options["n_temperatures"] = temperatures.ctypes.data, temperatures.size
        return temperatures

    def adaptation(self, dim: int, n_warmup: int) -> NDArray[Any] | None:
        if self.target_accept is None:
            return None
        target = (0.44 if dim == 1 else 0.234) if self.target_accept == "auto" else float(self.target_accept)
        metric = {"unit": METRIC_FIXED, "diag": METRIC_DRAWS, "dense": METRIC_COVARIANCE}[self.covariance]
        return rule(
            step_rule=ROBBINS_MONRO, metric_rule=metric, target=target, n_warmup=n_warmup, dim=dim, info=self.INFO
        )

    def tuned(self, tuning: Tuning) -> RandomWalk:
        scale: Any = tuning.step_size * tuning.scale
        if tuning.metric == DIAGONAL and np.ndim(self.scale) == 0 and np.all(tuning.scale == 1.0):
            scale = tuning.step_size
        return replace(self, scale=scale)
