"""Riemannian manifold Hamiltonian Monte Carlo."""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .. import checks
from ..adaptation.rule import DUAL_AVERAGING, METRIC_FIXED, rule
from ..density import Density
from ..errors import InputError, InputTypeError, KernelError
from ..protocol import (
    DIAGONAL,
    GRAD,
    LOGP,
    Buffer,
    Kernel,
    Tuning,
    X,
    info_dtype,
    options_dtype,
    register,
)
from .metrics import USER_METRIC, Metric, SoftAbs, from_tree

INTEGRATORS = ("implicit", "midpoint", "explicit", "explicit_uncorrected")
INLINED = 32  # MP_EIGEN_INLINED of csrc/common/eigen.h


INTEGRATOR_FIELDS = (
    ("integrator", "i8"), ("tolerance", "f8"), ("max_iterations", "i8"), ("reversibility", "f8"), ("binding", "f8"),
    ("kind", "i8"), ("parameter", "f8"), ("metric_jitter", "f8"),
    ("user_metric", "u8"), ("user_contraction", "u8"), ("user_data", "u8"), ("lapack", "u8"),
)  # fmt: skip


@register
@dataclass(frozen=True, eq=False)
class RMHMC(Kernel):
    step_size: float = 0.15
    n_steps: int = 25
    metric: Metric = field(default_factory=SoftAbs)
    integrator: str = "implicit"
    fixed_point_tol: float = 1e-9
    fixed_point_max_iter: int = 100
    jitter: float = 0.0
    target_accept: float | None = None
    reversibility_tol: float | None = None
    binding: float = 10.0

    name: ClassVar[str] = "rmhmc"
    family: ClassVar[str] = "hamiltonian"
    OPTIONS: ClassVar[np.dtype[Any]] = options_dtype(
        ("n_steps", "i8"), ("jitter", "f8"),
        *INTEGRATOR_FIELDS,
    )  # fmt: skip
    INFO: ClassVar[np.dtype[Any]] = info_dtype(
        ("energy", "f8"), ("energy_error", "f8"), ("step_size", "f8"),
        ("n_steps", "i8"), ("fixed_point_iterations", "i8"), ("n_metric", "i8"),
        ("not_converged", "?"), ("non_reversible", "?"),
    )  # fmt: skip
    BUFFERS: ClassVar[tuple[Buffer, ...]] = (X, LOGP, GRAD)

    def __post_init__(self) -> None:
        object.__setattr__(self, "step_size", checks.real("step_size", self.step_size, above=0.0))

    def tuning(self, dim: int) -> Tuning:
        return Tuning(self.step_size, DIAGONAL, np.ones(dim))

    def prepare(self, density: Density) -> None:
        density.prepare(*self.metric.derivatives)

    def fill_options(self, options: np.void, dim: int) -> object:
        options["n_steps"], options["jitter"] = self.n_steps, self.jitter
        options["integrator"] = INTEGRATORS.index(self.integrator)
        options["tolerance"], options["max_iterations"] = self.fixed_point_tol, self.fixed_point_max_iter
        options["reversibility"] = 0.0 if self.reversibility_tol is None else self.reversibility_tol
        options["binding"] = self.binding
        options["kind"], options["parameter"] = self.metric.kind, self.metric.parameter
        options["metric_jitter"] = self.metric.jitter
        options["user_metric"], options["user_contraction"], options["user_data"] = self.metric.addresses()
        options["lapack"] = 0 #dsyevd() if dim > INLINED else 0
        return self.metric

    def tuned(self, tuning: Tuning) -> RMHMC:
        return replace(self, step_size=tuning.step_size, target_accept=None)
