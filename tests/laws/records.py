"""A kernel that never runs, for tests of what is recorded about one."""

from __future__ import annotations

import dataclasses

import numpy as np

from micropolis.protocol import DIAGONAL, Kernel, Tuning, info_dtype


@dataclasses.dataclass(frozen=True)
class TraceTestKernel(Kernel):
    step_size: float | None = None
    max_depth: int = 10
    metric: str = "diag"
    jitter: bool = False
    target_accept: float = 0.8
    inverse_mass: np.ndarray | None = None

    name, family = "trace_test", "none"
    # ends in padding, as a C record does
    INFO = info_dtype(("energy", "f8"), ("step_size", "f8"), ("depth", "i4"))

    def tuning(self, dim):
        return Tuning(0.1, DIAGONAL, np.ones(dim))

    def tuned(self, tuning):
        return self
