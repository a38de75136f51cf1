"""The warm-up rule of a chain: which step and metric estimators run, and in which windows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

STEP_FIXED, DUAL_AVERAGING, ROBBINS_MONRO = 0, 1, 2
METRIC_FIXED, METRIC_GRADIENT, METRIC_DENSE, METRIC_DRAWS, METRIC_COVARIANCE = 0, 1, 2, 3, 4

# mp_adaptation of csrc/common/adaptation.h
ADAPTATION = np.dtype(
    [
        ("step_rule", "i8"),
        ("metric_rule", "i8"),
        ("find_step", "i8"),
        ("target", "f8"),
        ("accept_offset", "i8"),
        ("n_warmup", "i8"),
        ("early_end", "i8"),
        ("final_start", "i8"),
        ("early_window", "i8"),
        ("late_window", "i8"),
        ("growth", "f8"),
        ("depth_offset", "i8"),
        ("limit_offset", "i8"),
        ("max_depth", "i8"),
    ],
    align=True,
)


def rule(
    *,
    step_rule: int,
    metric_rule: int,
    target: float,
    n_warmup: int,
    dim: int,
    info: np.dtype[Any],
    accept: str = "accept_prob",
    find_step: bool = False,
    limit_offset: int = 0,
    max_depth: int = 0,
) -> NDArray[Any]:
    """An ADAPTATION record (1,): windows of 10 draws in the first 30 %, of 80 growing by 1.5 up to the last 15 %.

    A dense metric's windows hold at least 2 draws per coordinate. With `max_depth`, a kernel whose options hold a depth
    limit at byte `limit_offset` makes shorter trajectories between the early and the final phase.
    """
    record = np.zeros(1, dtype=ADAPTATION)
    dense = metric_rule in (METRIC_DENSE, METRIC_COVARIANCE)
    record[0] = (
        step_rule,
        metric_rule,
        find_step,
        target,
        info.fields[accept][1],  # type: ignore[index]
        n_warmup,
        int(0.3 * n_warmup),
        int(0.85 * n_warmup),
        10,
        max(80, 2 * dim) if dense else 80,
        1.5,
        info.fields["depth"][1] if max_depth else 0,  # type: ignore[index]
        limit_offset,
        max_depth,
    )
    return record


def step_size_rule(
    target: float | None,
    n_warmup: int,
    dim: int,
    info: np.dtype[Any],
    *,
    accept: str = "accept_prob",
    find_step: bool = False,
) -> NDArray[Any] | None:
    """The rule that adapts the step size alone, by dual averaging; None without a target or a warm-up."""
    if target is None or n_warmup == 0:
        return None
    return rule(
        step_rule=DUAL_AVERAGING,
        metric_rule=METRIC_FIXED,
        target=target,
        n_warmup=n_warmup,
        dim=dim,
        info=info,
        accept=accept,
        find_step=find_step,
    )
