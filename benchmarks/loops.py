"""The samplers people write by hand: random walk and HMC as a NumPy loop and as a Numba loop.

Both tune one step size in warm-up by a Robbins-Monro recursion, to acceptance 0.234 (random walk) or to the target
given (HMC), and keep it afterwards. HMC draws its number of leapfrog steps uniformly from 5 .. 15; the metric is the
identity.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

LEAST_STEPS, MOST_STEPS = 5, 15
RANDOM_WALK_TARGET = 0.234


def numpy_random_walk(model: Any, warmup: int, draws: int, target: float, seed: int) -> tuple[Any, int]:
    """One chain of random-walk Metropolis: draws (draws, dim) and no gradient."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, model.dim)
    logp, scale = model.logp(x), 2.38 / math.sqrt(model.dim)
    out = np.empty((draws, model.dim))
    for step in range(warmup + draws):
        proposal = x + scale * rng.standard_normal(model.dim)
        proposed = model.logp(proposal)
        accept = min(1.0, math.exp(min(0.0, proposed - logp)))
        if rng.uniform() < accept:
            x, logp = proposal, proposed
        if step < warmup:
            scale *= math.exp((accept - RANDOM_WALK_TARGET) / (step + 1) ** 0.6)
        else:
            out[step - warmup] = x
    return out, 0


def numpy_hmc(model: Any, warmup: int, draws: int, target: float, seed: int) -> tuple[Any, int]:
    """One chain of HMC: draws (draws, dim) and the number of gradients."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, model.dim)
    (logp, grad), step_size, n_grad = model.value_and_grad(x), 0.1, 1
    out = np.empty((draws, model.dim))
    for step in range(warmup + draws):
        p = rng.standard_normal(model.dim)
        q, logp_new, grad_new, energy = x, logp, grad, 0.5 * (p @ p) - logp
        n_steps = int(rng.integers(LEAST_STEPS, MOST_STEPS + 1))
        n_grad += n_steps
        for _ in range(n_steps):
            p = p + 0.5 * step_size * grad_new
            q = q + step_size * p
            logp_new, grad_new = model.value_and_grad(q)
            p = p + 0.5 * step_size * grad_new
        error = 0.5 * (p @ p) - logp_new - energy
        accept = math.exp(min(0.0, -error)) if math.isfinite(error) else 0.0
        if rng.uniform() < accept:
            x, logp, grad = q, logp_new, grad_new
        if step < warmup:
            step_size *= math.exp((accept - target) / (step + 1) ** 0.6)
        else:
            out[step - warmup] = x
    return out, n_grad


def numba_random_walk(logp_grad: Any, dim: int) -> Callable[..., tuple[Any, int]]:
    """The same random walk compiled: chain(warmup, draws, target, seed)."""

    @numba.njit(nogil=True)
    def chain(warmup, draws, target, seed):
        np.random.seed(seed)
        x, proposal, grad = np.empty(dim), np.empty(dim), np.empty(dim)
        for i in range(dim):
            x[i] = np.random.uniform(-2.0, 2.0)
        logp, scale = logp_grad(x, grad), 2.38 / math.sqrt(dim)
        out = np.empty((draws, dim))
        for step in range(warmup + draws):
            for i in range(dim):
                proposal[i] = x[i] + scale * np.random.standard_normal()
            proposed = logp_grad(proposal, grad)
            accept = math.exp(min(0.0, proposed - logp))
            if np.random.random() < accept:
                x[:] = proposal
                logp = proposed
            if step < warmup:
                scale *= math.exp((accept - RANDOM_WALK_TARGET) / (step + 1) ** 0.6)
            else:
                out[step - warmup] = x
        return out, 0

    return chain


def numba_hmc(logp_grad: Any, dim: int) -> Callable[..., tuple[Any, int]]:
    """The same HMC compiled: chain(warmup, draws, target, seed)."""

    @numba.njit(nogil=True)
    def chain(warmup, draws, target, seed):
        np.random.seed(seed)
        x, q, p = np.empty(dim), np.empty(dim), np.empty(dim)
        grad, grad_new = np.empty(dim), np.empty(dim)
        for i in range(dim):
            x[i] = np.random.uniform(-2.0, 2.0)
        logp, step_size, n_grad = logp_grad(x, grad), 0.1, 1
        out = np.empty((draws, dim))
        for step in range(warmup + draws):
            energy = -logp
            for i in range(dim):
                p[i] = np.random.standard_normal()
                energy += 0.5 * p[i] * p[i]
                q[i], grad_new[i] = x[i], grad[i]
            logp_new = logp
            n_steps = np.random.randint(LEAST_STEPS, MOST_STEPS + 1)
            n_grad += n_steps
            for _ in range(n_steps):
                for i in range(dim):
                    p[i] += 0.5 * step_size * grad_new[i]
                    q[i] += step_size * p[i]
                logp_new = logp_grad(q, grad_new)
                for i in range(dim):
                    p[i] += 0.5 * step_size * grad_new[i]
            error = -logp_new - energy
            for i in range(dim):
                error += 0.5 * p[i] * p[i]
            accept = math.exp(min(0.0, -error)) if math.isfinite(error) else 0.0
            if np.random.random() < accept:
                x[:], grad[:] = q, grad_new
                logp = logp_new
            if step < warmup:
                step_size *= math.exp((accept - target) / (step + 1) ** 0.6)
            else:
                out[step - warmup] = x
        return out, n_grad

    return chain
