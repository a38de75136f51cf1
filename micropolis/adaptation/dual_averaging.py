"""Readable step size adaptation: dual averaging, Robbins-Monro, and a first step found by doubling and halving.

Hoffman & Gelman (2014), "The No-U-Turn sampler", section 3.2 and algorithm 4. The same bits as
csrc/common/adaptation.c, whose memory this shares: one flat array of doubles that begins with the numbers named here.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from ..jit import Random
from ..linalg import make_linalg
from ..protocol import DENSITY_FATAL, OK
from .rule import DUAL_AVERAGING, ROBBINS_MONRO

LOG_STEP, LOG_STEP_MEAN, ERROR_MEAN, ANCHOR, N_STEPS = range(5)
WINDOW, METRIC_SET, N_FOREGROUND, N_BACKGROUND, USUAL_DEPTH = range(5, 10)
HEAD = 16

DELAY, GAMMA, KAPPA = 10.0, 0.05, 0.75  # t0, gamma and kappa of the paper


@functools.lru_cache(maxsize=16)
def make_step_rule(jit: Callable[..., Any]) -> tuple[Any, Any, Any]:
    """anchor_step(memory, step_size), learn_step(rule, accept, memory) from one more draw, forget_errors(memory)."""

    @jit
    def anchor_step(memory, step_size):  # type: ignore[no-untyped-def]
        memory[LOG_STEP] = math.log(step_size)
        memory[LOG_STEP_MEAN] = memory[LOG_STEP]
        memory[ANCHOR] = math.log(10.0 * step_size)
        memory[ERROR_MEAN] = 0.0
        memory[N_STEPS] = 0.0

    @jit
    def learn_step(rule, accept, memory):  # type: ignore[no-untyped-def]
        memory[N_STEPS] += 1.0
        n = memory[N_STEPS]
        if rule.step_rule == DUAL_AVERAGING:
            eta = 1.0 / (n + DELAY)
            memory[ERROR_MEAN] = (1.0 - eta) * memory[ERROR_MEAN] + eta * (rule.target - accept)
            memory[LOG_STEP] = memory[ANCHOR] - memory[ERROR_MEAN] * math.sqrt(n) / GAMMA
            fade = math.exp(-KAPPA * math.log(n))
            memory[LOG_STEP_MEAN] = fade * memory[LOG_STEP] + (1.0 - fade) * memory[LOG_STEP_MEAN]
        elif rule.step_rule == ROBBINS_MONRO:
            memory[LOG_STEP] += math.exp(-0.6 * math.log(n)) * (accept - rule.target)
            memory[LOG_STEP_MEAN] = memory[LOG_STEP]

    @jit
    def forget_errors(memory):  # type: ignore[no-untyped-def]
        """Go on from the step in use as if nothing had been seen."""
        memory[ANCHOR] = memory[LOG_STEP]
        memory[LOG_STEP_MEAN] = memory[LOG_STEP]
        memory[ERROR_MEAN] = 0.0
        memory[N_STEPS] = 0.0

    return anchor_step, learn_step, forget_errors


def make_find_step(jit: Callable[..., Any], leapfrog: Callable[..., Any], random: Random) -> Any:
    """find_step: double or halve the step size until the acceptance of one leapfrog step crosses the target."""
    algebra, normal = make_linalg(jit), random.normal
    copy, dot = algebra.copy, algebra.dot

    @jit
    def find_step(rule, options, scale, data, rng, state, work):  # type: ignore[no-untyped-def]
        x, logp, grad = state
        dim = x.size
        q, w, g, scratch = work[:dim], work[dim : 2 * dim], work[2 * dim : 3 * dim], work[3 * dim : 4 * dim]
        direction = 0
        for _ in range(100):  # 2^100 covers every scale that a double can mean
            for i in range(dim):
                w[i] = normal(rng)
            energy_start = 0.5 * dot(dim, w, w) - logp[0]
            copy(x, q)
            copy(grad, g)
            code, logp_new, kinetic = leapfrog(options.metric, scale, options.step_size, q, w, g, data, scratch)
            if code < 0:
                return DENSITY_FATAL
            error = kinetic - logp_new - energy_start
            # the symmetric acceptance: far out a step that loses much energy is as wrong as one that gains it
            ratio = math.exp(error if error < 0.0 else -error)
            accepted = code == 0 and math.isfinite(error) and 2.0 * ratio / (1.0 + ratio) > rule.target
            now = 1 if accepted else -1
            if direction == 0:
                direction = now
            if now != direction:
                if direction > 0:
                    options.step_size *= 0.5  # the last one that was good
                break
            options.step_size *= 2.0 if direction > 0 else 0.5
        return OK

    return find_step
