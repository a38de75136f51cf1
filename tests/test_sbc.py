"""Simulation-based calibration (Talts et al. 2018): ranks of the truth among posterior draws are uniform.

Parameters come from the prior, data from the parameters, a chain with its usual warm-up from the posterior: the rank
of the parameters (and of their log density) among thinned draws is uniform if sampler and density are right.
Chi-square over 16 bins, all quantities of a test together at the level 1e-6. The full suite is `pytest -m slow`.
"""

import numpy as np
import pytest
from laws import statistics
from laws.kernels import BACKENDS, KERNELS, run
from laws.models import MODELS

import micropolis as mp

DRAWS, BINS = 63, 16
# kernel as a user would run it, and the steps between draws that leave hardly any correlation
SPECIFIED = ("random_walk", "langevin", "hmc", "nuts", "splitting", "riemannian", "riemannian_nuts")
CONFIGURATIONS = {
    "random_walk": (mp.RandomWalk(covariance="dense"), 60),
    "langevin": (mp.MALA(), 12),
    "hmc": (mp.HMC(0.1, 6, target_accept=0.8, jitter=0.5), 4),
    "splitting": (mp.SplitHMC(0.1, 6, target_accept=0.8, jitter=0.5), 4),
    "nuts": (mp.NUTS(), 2),
    "nuts dense": (mp.NUTS(metric="dense"), 2),
    "nuts unit": (mp.NUTS(metric="unit"), 2),
    "riemannian_nuts": (mp.RMNUTS(0.5, 4, mp.SoftAbs(1.0)), 2),
    "riemannian": (mp.RMHMC(0.3, 4, metric=mp.SoftAbs(1.0), jitter=0.5), 3),
    **{name: (cls(), 10) for name, cls in KERNELS.items() if name not in SPECIFIED},
}


def check_calibration(model, label, backend, repetitions, seed):
    if model == "normal sample":
        pytest.importorskip("numba")
    kernel, thin = CONFIGURATIONS[label]
    problem, rng = MODELS[model], np.random.default_rng(seed)
    ranks = np.empty((repetitions, problem.dim + 1), dtype=np.int64)
    for i in range(repetitions):
        truth = problem.draw_parameters(rng)
        density = problem.posterior(problem.draw_data(rng, truth))
        trace = run(
            density, kernel, draws=DRAWS, warmup=300, chains=1, thin=thin, seed=(seed, i), threads=1, backend=backend
        )
        ranks[i, :-1] = np.sum(trace.draws[0] < truth, axis=0)
        ranks[i, -1] = np.sum(trace.stats["logp"][0] < density(truth))
    statistics.assert_uniform_ranks(ranks, DRAWS + 1, BINS, f"{label}, {model}")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("label", CONFIGURATIONS)
def test_ranks_are_uniform(label, model, backend):
    check_calibration(model, label, backend, 256, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("label", CONFIGURATIONS)
def test_ranks_are_uniform_sharper(label, model, backend):
    check_calibration(model, label, backend, 8192, seed=2)
