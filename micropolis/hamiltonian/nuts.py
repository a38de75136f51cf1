"""The No-U-Turn sampler."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import checks
from ..adaptation.rule import (
    DUAL_AVERAGING,
    METRIC_DENSE,
    METRIC_FIXED,
    METRIC_GRADIENT,
    STEP_FIXED,
    rule,
)
from ..protocol import (
    GRAD,
    LOGP,
    Buffer,
    Kernel,
    Tuning,
    X,
    hamiltonian_tuning,
    info_dtype,
    inverse_mass,
    options_dtype,
    register,
)


@register
@dataclass(frozen=True, eq=False)
class NUTS(Kernel):
    """The No-U-Turn sampler: multinomial draws from a trajectory that doubles until it turns.

    Parameters
    ----------
    step_size : float or None
        eps > 0, kept as given. None: found in warm-up by dual averaging.
    target_accept : float
        Acceptance that warm-up aims at, in (0, 1). Larger values take smaller steps and diverge less.
    max_depth : int
        At most 2**max_depth - 1 leapfrog steps a draw, in 1..20.
    metric : "diag", "dense" or "unit"
        Inverse mass learned in warm-up: variances from draws and gradients, a covariance matrix, or nothing.
    inverse_mass : None, array (dim,) or array (dim, dim)
        A fixed inverse mass; warm-up then keeps it.

    References
    ----------
    Hoffman & Gelman (2014), "The No-U-Turn sampler". Betancourt (2017), "A conceptual introduction to Hamiltonian
    Monte Carlo", appendix A.

    Examples
    --------
    >>> import micropolis as mp
    >>> trace = mp.sample(mp.densities.Gaussian([0.0, 1.0]), mp.NUTS(), draws=20, warmup=50, chains=2, seed=1)
    >>> trace.draws.shape, bool(trace.stats["divergent"].any())
    ((2, 20, 2), False)
    """

    step_size: float | None = None
    target_accept: float = 0.8
    max_depth: int = 10
    metric: str = "diag"
    inverse_mass: ArrayLike | None = None

    name: ClassVar[str] = "nuts"
    family: ClassVar[str] = "hamiltonian"
    OPTIONS: ClassVar[np.dtype[Any]] = options_dtype(("max_depth", "i8"))
    INFO: ClassVar[np.dtype[Any]] = info_dtype(
        ("energy", "f8"), ("energy_error", "f8"), ("accept_prob_symmetric", "f8"), ("step_size", "f8"), ("depth", "i8")
    )
    BUFFERS: ClassVar[tuple[Buffer, ...]] = (X, LOGP, GRAD)

    def __post_init__(self) -> None:
        if self.step_size is not None:
            object.__setattr__(self, "step_size", checks.real("step_size", self.step_size, above=0.0))
        checks.real("target_accept", self.target_accept, above=0.0, below=1.0)
        object.__setattr__(self, "max_depth", checks.integer("max_depth", self.max_depth, least=1, most=20))
        checks.choice("metric", self.metric, ("diag", "dense", "unit"))

    def tuning(self, dim: int) -> Tuning:
        return hamiltonian_tuning(self.step_size, self.inverse_mass, dim)

    def fill_options(self, options: np.void, dim: int) -> object:
        options["max_depth"] = self.max_depth
        return None

    def adaptation(self, dim: int, n_warmup: int) -> NDArray[Any] | None:
        metric = {"diag": METRIC_GRADIENT, "dense": METRIC_DENSE, "unit": METRIC_FIXED}[self.metric]
        if self.inverse_mass is not None or n_warmup == 0:
            metric = METRIC_FIXED
        if self.step_size is not None and metric == METRIC_FIXED:
            return None
        return rule(
            step_rule=STEP_FIXED if self.step_size is not None else DUAL_AVERAGING,
            metric_rule=metric,
            target=self.target_accept,
            n_warmup=n_warmup,
            dim=dim,
            info=self.INFO,
            accept="accept_prob_symmetric",
            find_step=self.step_size is None,
            limit_offset=self.OPTIONS.fields["max_depth"][1],  # type: ignore[index]
            max_depth=self.max_depth,
        )

    def tuned(self, tuning: Tuning) -> NUTS:
        return replace(self, step_size=tuning.step_size, inverse_mass=inverse_mass(tuning))
