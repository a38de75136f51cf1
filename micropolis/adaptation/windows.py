"""Readable warm-up of step size and metric, between draws: the same bits as csrc/common/adaptation.c.

A foreground estimator is in use while a background one collects; at the end of a window the background becomes the
foreground, so that early draws are forgotten.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from ..jit import Random
from ..protocol import DENSE, OK
from .dual_averaging import (
    HEAD,
    LOG_STEP,
    LOG_STEP_MEAN,
    METRIC_SET,
    N_BACKGROUND,
    N_FOREGROUND,
    WINDOW,
    make_find_step,
    make_step_rule,
)
from .rule import DUAL_AVERAGING, METRIC_COVARIANCE, METRIC_DENSE, METRIC_FIXED, ROBBINS_MONRO, STEP_FIXED
from .welford import make_estimator

UNCHANGED, CHANGED, SWITCHED = 0, 1, 2  # the metric after a draw
LARGEST_LOG_STEP = 200.0  # a flat density accepts everything


class Warmup(NamedTuple):
    """The two functions of warm-up; `state` is the tuple of a chain's buffers."""

    start: Callable[..., Any]  # (rule, options, scale, data, rng, state, memory, work) -> status, before the first draw
    update: Callable[..., Any]  # (rule, k, accept, info, options, ..., work) -> status, after draw k


def memory_size(metric_rule: int, dim: int) -> int:
    """Doubles that warm-up remembers."""
    return HEAD + 2 * (4 * dim + (dim * dim if metric_rule in (METRIC_DENSE, METRIC_COVARIANCE) else 0))


def work_size(dim: int) -> int:
    """Doubles of scratch that warm-up takes."""
    return max(4 * dim, dim * dim)


def make_warmup(
    jit: Callable[..., Any], leapfrog: Callable[..., Any], random: Random, limit: Callable[..., Any]
) -> Warmup:
    """Warm-up under the compiler `jit`, with the leapfrog step by which a first step size is found.

    ``limit(rule, k, info, options, memory)`` sets what else a kernel changes between draws of warm-up.
    """
    anchor_step, learn_step, forget_errors = make_step_rule(jit)
    find_step = make_find_step(jit, leapfrog, random)
    uses_gradients, becomes_dense, add_draw, set_diagonal, set_dense = make_estimator(jit)

    @jit
    def start(rule, options, scale, data, rng, state, memory, work):  # type: ignore[no-untyped-def]
        for i in range(memory.size):
            memory[i] = 0.0
        memory[WINDOW] = rule.late_window
        if uses_gradients(rule):
            grad = state[2]
            for i in range(grad.size):
                slope = abs(grad[i])
                scale[i] = math.sqrt(1.0 / min(max(slope, 1e-10), 1e10)) if slope > 0.0 else 1.0
        status = OK
        if rule.find_step:
            status = find_step(rule, options, scale, data, rng, state, work)
        anchor_step(memory, options.step_size)
        return status

    @jit
    def update_metric(rule, k, info, options, scale, state, memory, work):  # type: ignore[no-untyped-def]
        """UNCHANGED, CHANGED within a window, or SWITCHED at its end."""
        dim, gradients, dense = state[0].size, uses_gradients(rule), becomes_dense(rule)
        size = (memory.size - HEAD) // 2
        foreground, background = memory[HEAD : HEAD + size], memory[HEAD + size :]
        # a gradient estimator is misled by points that stayed or that a divergence cut short; a covariance needs
        # repeats
        if not gradients or (info.accepted and not (info.divergent and info.n_grad < 4)):
            memory[N_FOREGROUND] += 1.0
            add_draw(rule, memory[N_FOREGROUND], state, foreground)
            memory[N_BACKGROUND] += 1.0
            add_draw(rule, memory[N_BACKGROUND], state, background)

        # ten draws of a gradient kernel already tell scales apart; those of a random walk are one place
        early, last, switched = k < rule.early_end and gradients, k + 1 == rule.final_start, False
        window = memory[WINDOW]
        if early:
            window = float(rule.early_window)
        if memory[N_BACKGROUND] >= window and k + window <= rule.final_start:
            for i in range(size):
                foreground[i] = background[i]
                background[i] = 0.0
            memory[N_FOREGROUND] = memory[N_BACKGROUND]
            memory[N_BACKGROUND] = 0.0
            if not early:
                memory[WINDOW] = math.floor(window * rule.growth)
            switched = True

        count = memory[N_FOREGROUND]
        if dense and not early:
            if count < 10.0 or not (switched or last):
                return UNCHANGED
            if set_dense(dim, count, foreground[4 * dim :], scale, work):
                options.metric = DENSE
            return SWITCHED
        if (gradients and count < 3.0) or (not gradients and not switched and not (last and count >= 10.0)):
            return UNCHANGED
        set_diagonal(dim, gradients, count, foreground, scale)
        return SWITCHED if switched or last else CHANGED

    @jit
    def update(rule, k, accept, info, options, scale, data, rng, state, memory, work):  # type: ignore[no-untyped-def]
        status = OK
        learn_step(rule, accept, memory)
        metric = UNCHANGED
        if rule.metric_rule != METRIC_FIXED and k < rule.final_start:
            metric = update_metric(rule, k, info, options, scale, state, memory, work)
        early = k < rule.early_end
        if rule.step_rule == ROBBINS_MONRO:
            if metric == SWITCHED:
                anchor_step(memory, 2.38 / math.sqrt(state[0].size))  # Roberts, Gelman & Gilks (1997)
        elif (
            rule.find_step
            and metric != UNCHANGED
            and (memory[METRIC_SET] == 0.0 or (becomes_dense(rule) and not early))
        ):
            # the step belonged to a metric that was a guess, or to a diagonal or an older dense one
            memory[METRIC_SET] = 1.0
            status = find_step(rule, options, scale, data, rng, state, work)
            anchor_step(memory, options.step_size)
        elif metric == SWITCHED and early and rule.step_rule == DUAL_AVERAGING:
            # the errors of the way in would leave a chain still on its way with the small steps of its start
            forget_errors(memory)
        limit(rule, k, info, options, memory)
        if rule.step_rule != STEP_FIXED:
            log_step = memory[LOG_STEP_MEAN if k + 1 == rule.n_warmup else LOG_STEP]
            options.step_size = math.exp(log_step if log_step < LARGEST_LOG_STEP else LARGEST_LOG_STEP)
        return status

    return Warmup(start, update)
