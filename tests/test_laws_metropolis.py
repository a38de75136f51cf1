"""Laws of accept and reject: exact decisions, detailed balance, honest records, and proposals that must never be taken.

Statistical tests raise a false alarm with probability 1e-6 each.
"""

import copy

import numpy as np
import pytest
from laws import statistics
from laws.contract import LOGP_GRAD
from laws.kernels import EXAMPLES, METROPOLIS, ONE_EACH, WITH_GRADIENT, resume, run
from laws.targets import TRUTHS
from scipy import stats

import micropolis as mp
from micropolis import densities, protocol
from micropolis.kernels import metropolis_accept

# a discrete target and a proposal that is far from symmetric
LOG_P = np.log([0.05, 0.3, 0.1, 0.4, 0.15])
PROPOSAL = np.random.default_rng(0).dirichlet(np.ones(5), size=5)


def log_q_ratio(here, there):
    return np.log(PROPOSAL[there, here] / PROPOSAL[here, there])


@pytest.mark.parametrize("temperature", [1.0, 0.5, 3.0])
def test_decisions_are_exact(temperature):
    rng = np.random.default_rng(1)
    twin = copy.deepcopy(rng)
    here, there = np.indices((5, 5)).reshape(2, 25, 1).repeat(2000, axis=2)
    accept = metropolis_accept(LOG_P[here], LOG_P[there], rng, log_q_ratio(here, there), temperature)
    ratio = np.exp((LOG_P[there] - LOG_P[here]) / temperature + log_q_ratio(here, there))
    np.testing.assert_array_equal(accept, twin.random(here.shape) < ratio)
    # and the flow from i to j, p_i^(1/T) q_ij a_ij, is the flow back
    flow = (np.exp(LOG_P[here] / temperature) * PROPOSAL[here, there] * np.minimum(1, ratio))[:, 0].reshape(5, 5)
    np.testing.assert_allclose(flow, flow.T, rtol=1e-13)


@pytest.mark.parametrize("temperature", [1.0, 0.5, 3.0])
def test_chain_on_a_discrete_target(temperature):
    """Many chains from one state forget it and end on p^(1/T), with as many steps from i to j as from j to i."""
    rng, chains = np.random.default_rng(2), 40_000
    p = np.exp(LOG_P / temperature) / np.sum(np.exp(LOG_P / temperature))
    cumulative = np.cumsum(PROPOSAL, axis=1)
    state = np.zeros(chains, dtype=int)
    for _ in range(300):
        before = state
        there = np.minimum((cumulative[state] < rng.random((chains, 1))).sum(axis=1), 4)
        accept = metropolis_accept(LOG_P[state], LOG_P[there], rng, log_q_ratio(state, there), temperature)
        state = np.where(accept, there, state)
    statistics.assert_level(stats.chisquare(np.bincount(state, minlength=5), chains * p).pvalue, "stationary")
    flow = np.bincount(5 * before + state, minlength=25).reshape(5, 5)
    i, j = np.triu_indices(5, 1)
    p_values = [
        stats.binomtest(int(flow[a, b]), int(flow[a, b] + flow[b, a])).pvalue for a, b in zip(i, j, strict=True)
    ]
    statistics.assert_level(np.array(p_values), "detailed balance")


def test_temperature_per_element():
    rng = np.random.default_rng(3)
    accept = metropolis_accept(0.0, -1.0, rng, temperature=np.repeat([[0.2], [1.0], [5.0]], 20_000, axis=1))
    for row, temperature in zip(accept, (0.2, 1.0, 5.0), strict=True):
        statistics.assert_level(stats.binomtest(int(row.sum()), row.size, np.exp(-1 / temperature)).pvalue, "frequency")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("ratio", [0.0, np.inf, 1e300])
def test_non_finite_proposals_are_not_accepted(bad, ratio):
    assert not metropolis_accept(np.zeros(100), bad, np.random.default_rng(4), log_q_ratio=ratio).any()


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.split()[0] in METROPOLIS])
@pytest.mark.parametrize("target", ["gaussian", "banana", "mixture"])
def test_records_of_decisions(example, target):
    """Acceptance is Bernoulli(accept_prob); a rejected step repeats the point to the bit, an accepted one moves."""
    truth = TRUTHS[target]
    trace = run(truth.density, EXAMPLES[example](truth.dim), draws=400, warmup=0, chains=32, seed=5)
    stats_, draws = trace.stats, trace.draws
    accepted, prob = stats_["accepted"], stats_["accept_prob"]
    assert np.all((prob >= 0) & (prob <= 1))
    assert np.all(accepted[prob == 1]) and not np.any(accepted[prob == 0])
    # a martingale with the sum of p (1 - p) as its variance
    z = np.sum(accepted - prob) / np.sqrt(np.sum(prob * (1 - prob)))
    statistics.assert_level(2 * stats.norm.sf(abs(z)), "acceptance")
    moved = np.any(draws[:, 1:] != draws[:, :-1], axis=2)
    np.testing.assert_array_equal(moved, accepted[:, 1:])
    np.testing.assert_array_equal(stats_["logp"][:, 1:][~moved], stats_["logp"][:, :-1][~moved])
    # integrators that conserve the energy of a Gaussian to rounding are never rejected
    assert (np.count_nonzero(~moved) > 0 or np.all(prob > 0.999)) and np.count_nonzero(moved) > 0


# Ways in which a density can fail beyond |x| = 1: (log density, gradient) there.
FAILURES = {
    "nan": (np.nan, -1.0),
    "minus infinity": (-np.inf, 0.0),
    "plus infinity": (np.inf, 0.0),
    "nan gradient": (0.0, np.nan),
    "infinite gradient": (0.0, np.inf),
}


def truncated(bad):
    """A standard normal on [-1, 1] with a failure outside."""

    def logp_and_grad(x):
        if abs(x[0]) > 1:
            return bad[0], np.full(1, bad[1])
        return -0.5 * x[0] * x[0], -x

    return mp.Density.from_callable(logp_and_grad, dim=1)


def one_dimensional(name):
    return {
        "random_walk": mp.RandomWalk(scale=0.7, target_accept=None),
        "langevin": mp.MALA(step_size=0.7),
        "hmc": mp.HMC(0.4, 2),
        "nuts": mp.NUTS(step_size=0.3),
    }.get(name) or ONE_EACH[name](1)


def check_truncated(density, name, status):
    chains = 1500
    law = stats.truncnorm(-1, 1)
    start = law.rvs((chains, 1), random_state=np.random.default_rng(6))
    trace = run(density, one_dimensional(name), draws=8, warmup=0, chains=chains, init=start, seed=7)
    divergent = trace.stats["divergent"]
    assert np.all(np.abs(trace.draws) <= 1)
    assert 0.02 < np.mean(divergent) < 0.98
    assert set(trace.stats["status"][divergent]) == {status}
    assert set(trace.stats["status"][~divergent]) == {protocol.OK}
    assert np.all(np.isfinite(trace.stats["logp"]))
    if name in METROPOLIS:
        assert not np.any(trace.stats["accepted"][divergent])
        assert np.all(trace.stats["accept_prob"][divergent] == 0)
    statistics.assert_level(stats.kstest(trace.draws[:, -1, 0], law.cdf).pvalue, "distribution")


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("name", protocol.KERNELS)
def test_failing_proposals_are_rejected(name, failure):
    """Never taken, counted as divergent with their status, and the target inside stays exact."""
    if "gradient" in failure and name not in WITH_GRADIENT:
        pytest.skip("does not look at gradients")
    check_truncated(truncated(FAILURES[failure]), name, protocol.NON_FINITE)


@pytest.mark.parametrize("name", protocol.KERNELS)
def test_points_that_the_density_rejects(name):
    @LOGP_GRAD
    def density(dim, x, grad, logp, user_data):
        logp[0], grad[0] = -0.5 * x[0] ** 2, -x[0]
        return 1 if abs(x[0]) > 1 else 0

    check_truncated(mp.Density.from_pointer(density, dim=1), name, protocol.DENSITY_REJECTED)


@pytest.mark.parametrize("name", protocol.KERNELS)
def test_a_start_without_a_value_accepts_nothing(name):
    """A state of the user's making whose log density is NaN: no comparison with it is true."""
    density, rng = TRUTHS["gaussian"].density, np.random.default_rng(14)
    state = mp.State(np.zeros(5), np.nan, density.grad(np.zeros(5)))
    for _ in range(20):
        new, info = mp.step(ONE_EACH[name](5), density, rng, state)
        assert not info["accepted"]
        np.testing.assert_array_equal(new.x, state.x)


@pytest.mark.parametrize("name", [n for n in ("hmc", "nuts") if n in protocol.KERNELS])
def test_energy_error_is_a_divergence(name):
    """A step far beyond stability: the energy error passes 1000 and the chain stays where it is."""
    density = densities.Gaussian([0.0], std=1e-3)
    kernel = {"hmc": mp.HMC(1.0, 1), "nuts": mp.NUTS(step_size=1.0)}[name]
    trace = run(density, kernel, draws=100, warmup=0, chains=2, init=[5e-4], seed=8)
    assert np.all(trace.stats["status"] == protocol.ENERGY_ERROR)
    assert np.all(trace.stats["divergent"]) and not np.any(trace.stats["accepted"])
    assert np.all(trace.draws == 5e-4)


@pytest.mark.parametrize("temperature", [0.25, 4.0])
@pytest.mark.parametrize("scale", ["scalar", "dense"])
def test_random_walk_at_a_temperature(temperature, scale):
    """At temperature T the target is f^(1/T): for a Gaussian the covariance is T times as large."""
    truth = TRUTHS["gaussian"]
    example = EXAMPLES[f"random_walk {scale}"](truth.dim)
    kernel = mp.RandomWalk(np.sqrt(temperature) * np.asarray(example.scale), temperature, target_accept=None)
    mean, rng = truth.density.mean(), np.random.default_rng(9)
    start = mean + np.sqrt(temperature) * (truth.density.sample_exact(rng, 1024) - mean)
    trace = run(truth.density, kernel, draws=100, warmup=0, chains=1024, init=start, seed=10)
    z = truth.standardise(mean + (trace.draws - mean) / np.sqrt(temperature))
    statistics.assert_standard_normal_chains(z, f"temperature {temperature}")
    statistics.assert_standard_normal_points(z[:, -1], f"temperature {temperature}")


def test_schedules_of_temperature_are_the_same_however_they_are_given():
    density, table = TRUTHS["banana"].density, np.geomspace(10.0, 0.1, 50)
    options = {"draws": 80, "warmup": 0, "chains": 2, "init": np.zeros(3), "seed": 11}
    array = run(density, mp.RandomWalk(0.5, table, target_accept=None), **options)
    function = run(
        density, mp.RandomWalk(0.5, lambda step: table[min(step, 49)], target_accept=None, schedule_steps=50), **options
    )
    np.testing.assert_array_equal(array.draws, function.draws)
    # step by step with a constant each, from the same stream
    rng = np.random.Generator(np.random.SFC64(np.random.SeedSequence(11).spawn(1)[0]))
    state = mp.init(density, np.zeros(3))
    for k in range(80):
        state, info = mp.step(mp.RandomWalk(0.5, table[min(k, 49)], target_accept=None), density, rng, state)
        np.testing.assert_array_equal(state.x, array.draws[0, k])
        assert info["accept_prob"] == array.stats["accept_prob"][0, k]


def test_schedule_goes_on_from_warm_up_and_through_resume():
    density, table = TRUTHS["banana"].density, np.geomspace(10.0, 0.1, 60)
    kernel = mp.RandomWalk(0.5, table, target_accept=None)
    options = {"chains": 2, "init": np.zeros(3), "seed": 12}
    whole = run(density, kernel, draws=90, warmup=0, **options)
    split = run(density, kernel, draws=20, warmup=30, **options)
    np.testing.assert_array_equal(split.draws, whole.draws[:, 30:50])
    np.testing.assert_array_equal(resume(split, 40).draws, whole.draws[:, 50:])


def test_annealing_finds_the_higher_mode():
    """Cooling from a hot start: chains that began in the low mode end at the top of the high one."""
    density = densities.GaussianMixture([[-1.5], [1.5]], [[[0.25]], [[0.25]]], [0.1, 0.9])
    kernel = mp.RandomWalk(1.0, np.geomspace(20.0, 1e-3, 3000), target_accept=None)
    trace = run(density, kernel, draws=3000, warmup=0, chains=64, init=[-1.5], seed=13)
    at_top = np.abs(trace.draws[:, -1, 0] - 1.5) < 0.1
    # the draws without cooling are there with probability 0.9 * 0.16
    assert np.mean(at_top) > 0.8
