"""The law of invariance: every kernel with any options leaves its target exactly as it is.

Chains start from exact independent draws. If the kernel is right, every later draw has the target's distribution too
and the chains are independent, so that averages of chains and last draws of chains can be tested without any estimate
of autocorrelation. Each test raises a false alarm with probability 1e-6.
"""

import numpy as np
import pytest
from laws import statistics
from laws.kernels import BACKENDS, EXAMPLES, run
from laws.targets import TRUTHS

CHAINS = 1024


def check_invariance(truth, kernel, what, *, draws, chains=CHAINS, backend="c", seed=1):
    start = truth.density.sample_exact(np.random.default_rng(seed), chains)
    trace = run(truth.density, kernel, draws=draws, warmup=0, chains=chains, init=start, seed=seed + 1, backend=backend)
    z = truth.standardise(trace.draws)
    statistics.assert_standard_normal_chains(z, what)
    statistics.assert_standard_normal_points(z[:, -1], what)
    # chains that never move are invariant too
    assert np.mean(trace.stats["accepted"]) > 0.1
    return trace


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("target", TRUTHS)
@pytest.mark.parametrize("kernel", EXAMPLES)
def test_target_is_invariant(kernel, target, backend):
    truth = TRUTHS[target]
    draws = 20 if kernel.startswith("riemannian") else 60  # a step of theirs costs a hundred times as much
    check_invariance(truth, EXAMPLES[kernel](truth.dim), f"{kernel} on {target}", draws=draws, backend=backend)


@pytest.mark.slow
@pytest.mark.parametrize("target", TRUTHS)
@pytest.mark.parametrize("kernel", EXAMPLES)
def test_target_is_invariant_sharper(kernel, target):
    truth = TRUTHS[target]
    draws = 60 if kernel.startswith("riemannian") else 1000
    check_invariance(truth, EXAMPLES[kernel](truth.dim), f"{kernel} on {target}", draws=draws, chains=4096, seed=100)
