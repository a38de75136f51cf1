"""Laws of warm-up: acceptance ends at its target, metrics end at the truth, and what was learned samples exactly.

Tolerances are stated where they stand; statistical tests raise a false alarm with probability 1e-6.
"""

import numpy as np
import pytest
from laws import statistics
from laws.kernels import KERNELS, ONE_EACH, run
from laws.library import covariance
from laws.targets import TRUTHS

import micropolis as mp
from micropolis import densities
from micropolis.protocol import inverse_mass

SCALES = np.geomspace(1e-3, 1e3, 10)


def acceptance(trace, field="accept_prob"):
    return trace.stats[field].mean()


# kernel, the record's field that warm-up steers, target, how far the average over 4 chains may end from it. The step is
# an average of log steps, whose acceptance differs from the average acceptance where that is curved: most for HMC,
# whose acceptance falls off a cliff at the limit of stability.
STEERED = {
    "random walk": (mp.RandomWalk(), "accept_prob", 0.234, 0.08),
    "random walk 0.4": (mp.RandomWalk(target_accept=0.4), "accept_prob", 0.4, 0.08),
    "random walk diag": (mp.RandomWalk(covariance="diag"), "accept_prob", 0.234, 0.08),
    "random walk dense": (mp.RandomWalk(covariance="dense"), "accept_prob", 0.234, 0.08),
    "langevin": (mp.MALA(), "accept_prob", 0.574, 0.08),
    "langevin 0.8": (mp.MALA(step_size=1.0, target_accept=0.8), "accept_prob", 0.8, 0.08),
    "hmc": (mp.HMC(1e-3, 4, target_accept=0.7, jitter=0.5), "accept_prob", 0.7, 0.15),
    "hmc from a long step": (mp.HMC(50.0, 4, target_accept=0.9, jitter=0.5), "accept_prob", 0.9, 0.1),
    "nuts": (mp.NUTS(), "accept_prob_symmetric", 0.8, 0.08),
    "nuts 0.95": (mp.NUTS(target_accept=0.95), "accept_prob_symmetric", 0.95, 0.05),
    "nuts dense": (mp.NUTS(metric="dense"), "accept_prob_symmetric", 0.8, 0.08),
    "nuts unit": (mp.NUTS(metric="unit"), "accept_prob_symmetric", 0.8, 0.08),
}


@pytest.mark.parametrize("target", ["gaussian", "banana", "rough well", "mixture"])
@pytest.mark.parametrize("label", STEERED)
def test_acceptance_ends_at_its_target(label, target):
    kernel, field, wanted, tolerance = STEERED[label]
    if label == "random walk" and target == "mixture":
        wanted = 0.44  # one dimension
    elif label.startswith("random walk ") and target == "mixture" and kernel.target_accept == "auto":
        wanted = 0.44
    trace = run(TRUTHS[target].density, kernel, draws=1000, warmup=1000, chains=4, seed=1)
    assert abs(acceptance(trace, field) - wanted) < tolerance
    # the step is frozen after warm-up, and it is the tuned kernel's
    assert np.all(trace.stats["step_size"] == trace.stats["step_size"][:, :1])


@pytest.mark.parametrize("seed", range(3))
def test_variances_over_six_orders_of_magnitude(seed):
    """nuts and langevin: sqrt(var(x) / var(grad)) is the variance of a Gaussian coordinate up to noise that cancels."""
    density = densities.Gaussian(np.linspace(-1, 1, 10) * SCALES, std=SCALES)
    for kernel, tolerance in ((mp.NUTS(), 1e-6), (mp.MALA(), 1e-6)):
        trace = run(density, kernel, draws=10, warmup=500, chains=2, seed=seed)
        for tuned in trace.kernels:
            # x and its gradient are proportional, so their variances are too, whatever the draws
            np.testing.assert_allclose(tuned.inverse_mass, SCALES**2, rtol=tolerance)


@pytest.mark.parametrize("seed", range(3))
def test_variances_of_a_correlated_target(seed):
    """The gradient's variance is the precision: the estimate is sqrt(cov_ii / precision_ii), within its noise."""
    cov = covariance(8, 5)
    scales = np.geomspace(1e-3, 1e3, 8)
    density = densities.Gaussian(np.zeros(8), cov=cov * np.outer(scales, scales))
    truth = scales**2 * np.sqrt(np.diag(cov) / np.diag(np.linalg.inv(cov)))
    trace = run(density, mp.NUTS(), draws=10, warmup=1000, chains=2, seed=seed)
    for tuned in trace.kernels:
        # relative error of each variance about sqrt(2 / 300); the root of their ratio halves both
        np.testing.assert_allclose(np.log(tuned.inverse_mass / truth), 0.0, atol=0.5)


@pytest.mark.parametrize("kernel", [mp.NUTS(metric="dense"), mp.RandomWalk(covariance="dense")], ids=["nuts", "walk"])
def test_dense_covariance(kernel):
    """Generalised eigenvalues of the learned against the true covariance; 1 is exact.

    At 1000 draws and more sampling noise and shrinkage change them by less than a fifth. A random walk cannot find six
    orders of magnitude by itself.
    """
    scales = np.geomspace(1e-3, 1e3, 6) if isinstance(kernel, mp.NUTS) else np.geomspace(0.3, 30.0, 6)
    cov = covariance(6, 6) * np.outer(scales, scales)
    density = densities.Gaussian(np.arange(6.0) * scales, cov=cov)
    warmup = 3000 if isinstance(kernel, mp.NUTS) else 20_000
    trace = run(density, kernel, draws=10, warmup=warmup, chains=2, seed=2)
    for tuned in trace.kernels:
        learned = inverse_mass(tuned.tuning(6))
        ratios = np.linalg.eigvals(np.linalg.solve(cov, learned)).real
        if isinstance(kernel, mp.RandomWalk):  # the shape alone: the size is in the step
            ratios /= np.exp(np.mean(np.log(ratios)))
        assert np.all((ratios > 0.55) & (ratios < 1.8)), ratios


def test_variances_of_a_random_walk():
    scales = np.geomspace(0.1, 100.0, 6)
    density = densities.Gaussian(np.zeros(6), std=scales)
    trace = run(density, mp.RandomWalk(covariance="diag"), draws=10, warmup=20_000, chains=2, seed=3)
    for tuned in trace.kernels:
        ratio = np.log(np.asarray(tuned.scale) / scales)
        assert np.max(np.abs(ratio - ratio.mean())) < 0.5


@pytest.mark.parametrize("name", KERNELS)
def test_no_warm_up_at_all(name):
    """Defaults without warm-up run, with a usable step where none was given."""
    cls = KERNELS[name]
    truth = TRUTHS["gaussian"]
    trace = run(truth.density, cls(), draws=200, warmup=0, chains=4, seed=4)
    assert trace.warmup_stats.shape == (4, 0)
    # without a given step: the one at which the search crossed the target, at most a factor 2 beyond stability
    assert np.all((trace.stats["step_size"] > 0.05) & (trace.stats["step_size"] < 2.0))
    assert np.mean(trace.stats["accepted"]) > 0.01


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("warmup", [1, 2, 3, 7, 20])
def test_hardly_any_warm_up(name, warmup):
    trace = run(TRUTHS["gaussian"].density, KERNELS[name](), draws=50, warmup=warmup, chains=3, seed=5)
    assert np.all(np.isfinite(trace.draws)) and trace.warmup_stats.shape == (3, warmup)
    assert np.all(trace.stats["step_size"] > 0)


@pytest.mark.parametrize("name", KERNELS)
def test_a_given_step_is_kept(name):
    make = ONE_EACH[name]
    trace = run(TRUTHS["gaussian"].density, make(5), draws=10, warmup=100, chains=2, seed=6)
    assert np.unique(np.concatenate([trace.stats["step_size"], trace.warmup_stats["step_size"]], axis=1)).size == 1


def test_a_given_mass_is_kept():
    mass, dense = np.linspace(1.0, 2.0, 5), covariance(5, 8)
    for given in (mass, dense):
        for kernel in (mp.NUTS(inverse_mass=given), mp.MALA(inverse_mass=given), mp.HMC(0.1, 5, given, 0.8)):
            trace = run(TRUTHS["gaussian"].density, kernel, draws=10, warmup=100, chains=1, seed=7)
            np.testing.assert_allclose(trace.kernels[0].inverse_mass, given, rtol=1e-13)


def test_tuned_kernels_differ_from_chain_to_chain_and_are_used():
    """Sampling with a tuned kernel from where warm-up ended gives the chain's law, not another step size."""
    trace = run(TRUTHS["gaussian"].density, mp.NUTS(), draws=50, warmup=200, chains=3, seed=8)
    steps = [kernel.step_size for kernel in trace.kernels]
    assert len(set(steps)) == 3
    np.testing.assert_array_equal(trace.stats["step_size"][:, 0], steps)


# default kernels with all that they learn, from random starting points
DEFAULTS = {
    "random walk": mp.RandomWalk(),
    "random walk diag": mp.RandomWalk(covariance="diag"),
    "random walk dense": mp.RandomWalk(covariance="dense"),
    "langevin": mp.MALA(),
    "hmc": mp.HMC(0.1, 5, target_accept=0.8, jitter=0.5),
    "nuts": mp.NUTS(),
    "nuts dense": mp.NUTS(metric="dense"),
    "nuts unit": mp.NUTS(metric="unit"),
}


@pytest.mark.parametrize("target", ["gaussian", "independent", "mixture", "banana", "rough well"])
@pytest.mark.parametrize("label", DEFAULTS)
def test_default_runs_are_exact(label, target):
    """From uniform starts through warm-up to the target: averages of 128 chains, one Student test each."""
    truth = TRUTHS[target]
    thin = 20 if label.startswith("random walk") else 5 if label == "langevin" else 1
    trace = run(truth.density, DEFAULTS[label], draws=150, warmup=1000, chains=128, seed=9, thin=thin)
    z = truth.standardise(trace.draws)
    statistics.assert_standard_normal_chains(z, f"{label} on {target}")
    statistics.assert_standard_normal_points(z[:, ::50].reshape(-1, truth.dim)[:384], f"{label} on {target}")
