"""The ten faults seen in peers (specification of the Hamiltonian samplers, section 5), one test each: none is here."""

from __future__ import annotations

import math
import re
import warnings

import numpy as np
import pytest
from laws.kernels import run

import micropolis as mp
from micropolis import protocol
from micropolis.neural import Linear, Posterior, Sequential, Tanh

FUNNEL = mp.densities.Funnel(11)
# Fixed options, nothing to adapt in warm-up.
FIXED = {
    "HMC": mp.HMC(0.4, 4, jitter=0.5),
    "SplitHMC": mp.SplitHMC(0.4, 4),
    "NUTS": mp.NUTS(step_size=0.4, metric="unit"),
    "RMHMC": mp.RMHMC(0.3, 4, metric=mp.SoftAbs(1.0)),
    "RMNUTS": mp.RMNUTS(0.3, metric=mp.SoftAbs(1.0)),
}
every_sampler = pytest.mark.parametrize("name", FIXED)


def normal(x):
    return -0.5 * (x @ x), -x


@pytest.mark.parametrize("backend", ["c", "python"])
@pytest.mark.parametrize("warmup", [0, 20])
@pytest.mark.parametrize("failure", ["rejection", "divergence"])
@every_sampler
def test_01_a_rejection_on_the_first_kept_draw_stays_where_the_chain_is(name, failure, warmup, backend):
    """Fault 1: thrown back to the initial point.

    The density falls by 500, or out of its support, once warm-up is over: every kept draw is a rejection.
    """
    calls, last = [], [np.inf]

    def falls(x):
        calls.append(1)
        logp, grad = normal(x)
        if len(calls) <= last[0]:
            return logp, grad
        return (logp - 500.0, grad) if failure == "rejection" else (-np.inf, grad)

    plan = {"warmup": warmup, "chains": 1, "init": np.full(2, 1.5), "seed": 1, "backend": backend}
    if backend == "python":
        plan["threads"] = 1
    density = mp.Density.from_callable(falls, 2)
    before = run(density, FIXED[name], draws=0, **plan).states[0]
    last[0], calls[:] = len(calls), []
    trace = run(density, FIXED[name], draws=5, **plan)
    assert not trace.stats["accepted"].any() and np.all(trace.stats["divergent"] == (failure == "divergence"))
    np.testing.assert_array_equal(trace.draws[0], np.tile(before["x"], (5, 1)))
    np.testing.assert_array_equal(trace.stats["logp"][0], np.full(5, before["logp"]))
    assert np.all(before["x"] == 1.5) == (warmup == 0)


@pytest.mark.parametrize("slope", [np.nan, np.inf])
@every_sampler
def test_02_a_gradient_that_is_not_finite_is_a_rejection(name, slope):
    """Fault 2: a NaN gradient accepted since the value is finite, and here the best there is."""

    def f(x):
        return normal(x) if x[0] < 1.0 else (0.0, np.array([slope, 0.0]))

    trace = run(mp.Density.from_callable(f, 2), FIXED[name], draws=200, warmup=0, chains=2, init=np.zeros(2), seed=2)
    bad = trace.stats["divergent"]
    assert np.all(trace.draws[..., 0] < 1.0) and bad.any() and trace.stats["accepted"].any()
    assert np.all(trace.stats["status"][bad] == protocol.NON_FINITE)


def wells():
    """A mixture whose Hessian is indefinite between its modes."""
    return mp.densities.GaussianMixture([[-2.0, 0.0], [2.0, 0.0]], [np.eye(2), np.eye(2)], [0.5, 0.5])


def flat():
    """-x^4 / 4 along the first axis, constant along the third: eigenvalues that are exactly zero."""
    return mp.Density.from_callable(
        lambda x: (-0.25 * x[0] ** 4 - 0.5 * x[1] ** 2, np.array([-(x[0] ** 3), -x[1], 0.0])), 3
    )


@pytest.mark.parametrize("make", [mp.RMHMC, mp.RMNUTS])
def test_03_an_indefinite_metric_and_a_zero_eigenvalue_are_rejections(make):
    """Fault 3: either kills the run, and the draws are lost."""
    # met on the way: rejected with a status of its own, the chain stays where the Hessian is positive definite
    start, density = np.array([2.0, 0.1]), wells()
    for metric in (mp.Hessian(), mp.HessianDiag()):
        trace = run(density, make(0.4, 4, metric=metric), draws=300, warmup=0, chains=2, init=start, seed=3)
        stats, hessian = trace.stats, -density.hessian(trace.draws)
        assert trace.draws.shape == (2, 300, 2) and stats["accepted"].any()
        indefinite = stats["status"] == protocol.METRIC_INDEFINITE
        assert indefinite.any() and np.all(stats["divergent"][indefinite])
        assert make is mp.RMNUTS or not stats["accepted"][indefinite].any()  # a tree keeps what it had before
        least = np.linalg.eigvalsh(hessian)[..., 0] if metric == mp.Hessian() else hessian[..., [0, 1], [0, 1]]
        assert np.all(least > 0.0)
    # the start itself indefinite, or singular: all rejected, all draws there
    for density, at in ((FUNNEL, np.full(11, 1.0)), (flat(), np.array([1.0, 0.5, 0.0])), (flat(), np.zeros(3))):
        trace = run(density, make(0.3, 4, metric=mp.Hessian()), draws=20, warmup=5, chains=1, init=at, seed=3)
        assert np.all(trace.stats["status"] == protocol.METRIC_INDEFINITE)
        np.testing.assert_array_equal(trace.draws[0], np.tile(at, (20, 1)))
    # what is not a number is not called indefinite
    bent = mp.Density.from_callable(lambda x: (normal(x)[0], -x if x[0] < 1.0 else np.full(2, np.nan)), 2)
    for metric in (mp.Hessian(), mp.HessianDiag(), mp.SoftAbs(1.0), mp.GradientSquare(1.0)):
        for backend in ("c", "python"):
            kernel, plan = make(0.3, 4, metric=metric), {"draws": 60, "warmup": 0, "chains": 1, "seed": 3}
            status = run(bent, kernel, init=np.array([0.9, 0.0]), backend=backend, **plan).stats["status"]
            assert set(status.ravel()) == {protocol.OK, protocol.NON_FINITE}
    # SoftAbs has no such points: it starts at a zero eigenvalue and moves on
    for at in (np.zeros(3), np.array([1.0, 0.5, 0.0])):
        trace = run(flat(), make(0.15, 4, metric=mp.SoftAbs(2.0)), draws=100, warmup=0, chains=1, init=at, seed=3)
        assert np.all(np.isfinite(trace.draws)) and trace.stats["accepted"].mean() > 0.9


@every_sampler
def test_04_each_chain_has_a_stream_of_its_own(name):
    """Fault 4: chains in threads share one global generator.

    Four chains in four threads are four loops of steps, each from its own child of the seed; NumPy's global generator
    is neither read nor moved.
    """
    density, kernel, start = mp.densities.Gaussian([0.0, 1.0]), FIXED[name], np.zeros(2)
    np.random.seed(1)
    trace = run(density, kernel, draws=30, warmup=0, chains=4, threads=4, init=start, seed=4)
    assert np.random.random() == np.random.RandomState(1).random_sample()
    for chain, child in enumerate(np.random.SeedSequence(4).spawn(4)):
        rng, state = np.random.Generator(np.random.SFC64(child)), mp.init(density, start)
        for x in trace.draws[chain]:
            state, _ = mp.step(kernel, density, rng, state)
            np.testing.assert_array_equal(state.x, x)
    assert len(np.unique(trace.draws[:, -1], axis=0)) == 4


@pytest.mark.parametrize("batches", [None, 3])
@pytest.mark.parametrize("loss", ["regression", "multiclass", "binary", "poisson"])
def test_05_the_likelihood_is_a_sum(loss, batches):
    """Fault 5: the mean over rows where the sum belongs. Each row twice doubles the likelihood and its gradient."""
    rng = np.random.default_rng(5)
    x, outputs = rng.standard_normal((6, 2)), 3 if loss == "multiclass" else 1
    y = rng.integers(0, 2, 6).astype(float if loss == "regression" else int)
    net = Sequential(Linear(2, 3), Tanh(), Linear(3, outputs), seed=5)
    point = rng.standard_normal(net.n_parameters)

    def likelihood(repeats):
        """Value and gradient without the prior, of which there is one however many rows there are."""
        rows = np.tile(x, (repeats, 1)), np.tile(y, repeats)
        posterior = Posterior(net, *rows, loss=loss, tau=0.5, batches=batches)
        value, grad = posterior.value_and_grad(point)
        prior = 0.5 * net.n_parameters * np.log(0.5 / (2 * np.pi)) - 0.25 * point @ point
        return value - prior, grad + 0.5 * point

    (one, slope), (two, double) = likelihood(1), likelihood(2)
    assert abs(one) > 0.1
    np.testing.assert_allclose(two, 2 * one, rtol=1e-12)
    np.testing.assert_allclose(double, 2 * slope, rtol=1e-10, atol=1e-12)


@every_sampler
def test_06_warm_up_is_not_counted(name):
    """Fault 6: acceptance rates that include the burn-in; here from a far point, where hardly anything is accepted."""
    density = mp.densities.Gaussian(np.zeros(2), std=[1.0, 0.2])
    plan = {"chains": 2, "init": np.array([0.0, 6.0]), "seed": 6}
    whole = run(density, FIXED[name], draws=50, warmup=0, **plan)
    split = run(density, FIXED[name], draws=40, warmup=10, **plan)
    assert split.stats.shape == split.draws.shape[:2] == (2, 40)
    np.testing.assert_array_equal(split.stats, whole.stats[:, 10:])
    np.testing.assert_array_equal(split.warmup_stats, whole.stats[:, :10])
    assert split.stats["accept_prob"].mean() != whole.stats["accept_prob"].mean()


@pytest.mark.parametrize("integrator", ["implicit", "midpoint", "explicit"])
def test_07_an_unconverged_solve_is_rejected_and_counted(integrator):
    """Fault 7: the last iterate used as if it were the solution."""
    start = FUNNEL.sample_exact(np.random.default_rng(12), 1)[0]
    options = {"draws": 200, "warmup": 0, "chains": 1, "init": start, "seed": 13}
    kernel = mp.RMHMC(0.15, 5, integrator=integrator, fixed_point_max_iter=2)
    trace = run(FUNNEL, kernel, **options)
    stats, lost = trace.stats, trace.stats["not_converged"]
    assert np.all(lost == (stats["status"] == protocol.NOT_CONVERGED)) and lost.mean() > 0.5
    assert not stats["accepted"][lost].any() and np.all(stats["divergent"][lost])
    assert np.all(stats["accept_prob"][lost] == 0)
    from_here = np.concatenate([start[None], trace.draws[0, :-1]])
    np.testing.assert_array_equal(trace.draws[0, lost[0]], from_here[lost[0]])
    # nor are those of the steps between kept draws lost
    for backend in ("c", "python"):
        groups = trace.stats[0, :50].reshape(10, 5)
        thin = run(FUNNEL, kernel, **options | {"draws": 10}, thin=5, backend=backend).stats[0]
        np.testing.assert_array_equal(thin["not_converged"], groups["not_converged"].any(axis=1))
    # where no equation can be solved no tree has a leaf
    kernel = mp.RMNUTS(0.15, integrator=integrator, fixed_point_max_iter=1, fixed_point_tol=1e-14)
    trace = run(FUNNEL, kernel, **options)
    assert np.all(trace.stats["not_converged"]) and np.all(trace.stats["divergent"])
    assert np.all(trace.stats["n_steps"] == 1) and np.all(trace.stats["depth"] == 0)
    assert not trace.stats["accepted"].any() and np.all(trace.draws == start)


@pytest.mark.parametrize("name", ["NUTS", "RMNUTS"])
def test_08_trajectories_of_nuts_end_where_they_turn(name):
    """Fault 8: fixed-length HMC by the name of NUTS.

    With the inverse mass of a normal density, or its Hessian, every trajectory in many dimensions is nearly a circle of
    period 2 pi, and turns when it has gone round half of it: the doubling that passes that is the last. Momenta against
    momenta, not velocities, would see but the narrowest coordinates.
    """
    sd, period = np.geomspace(0.01, 100.0, 50), 2 * np.pi
    density = mp.densities.Gaussian(np.zeros(50), std=sd)
    start = density.sample_exact(np.random.default_rng(8), 2)
    for a_period in (12, 25, 50, 100, 200):
        step = period / a_period
        euclidean = mp.NUTS(step_size=step, inverse_mass=sd**2)
        kernel = euclidean if name == "NUTS" else mp.RMNUTS(step, metric=mp.HessianDiag())
        stats = run(density, kernel, draws=50, warmup=0, chains=2, init=start, seed=8).stats
        depth = math.ceil(math.log2(a_period / 2 + 1))
        assert np.all(stats["depth"] == depth)
        assert np.all(stats["n_grad" if name == "NUTS" else "n_steps"] == 2**depth - 1)
    # where the way to a turn differs from place to place, so does the length
    stats = run(FUNNEL, FIXED[name], draws=300, warmup=0, chains=2, init=np.full(11, 0.5), seed=8).stats
    made, kept = stats["n_grad" if name == "NUTS" else "n_steps"], 2 ** stats["depth"] - 1
    assert np.unique(made).size > 3
    assert np.all((made >= kept) & (made <= 2 * kept + 1))


@pytest.mark.parametrize("order", ["symmetric", "randomised", "full"])
@pytest.mark.parametrize("batches", [2, 5])
def test_09_splitting_with_a_blocked_mass_matrix_moves(batches, order):
    """Fault 9: a chain that never leaves its start. Blocks of the mass by tensor, blocks of the data by rows."""
    rng = np.random.default_rng(9)
    x, net = rng.standard_normal((20, 2)), Sequential(Linear(2, 3), Tanh(), Linear(3, 1), seed=9)
    posterior = Posterior(net, x, x[:, 0] - x[:, 1], loss="regression", tau_out=4.0, batches=batches)
    mass, first = np.zeros((net.n_parameters,) * 2), 0
    for tensor in net.named_parameters().values():
        mass[first : first + tensor.size, first : first + tensor.size] = 0.5 * np.eye(tensor.size) + 0.5
        first += tensor.size
    assert first == net.n_parameters
    kernel = mp.SplitHMC(0.05, 5, inverse_mass=mass, order=order)
    trace = run(posterior, kernel, draws=60, warmup=0, chains=1, init=np.zeros(net.n_parameters), seed=9)
    assert trace.stats["accepted"].mean() > 0.5
    assert np.all(np.ptp(trace.draws[0], axis=0) > 0.05)


@every_sampler
def test_10_progress_is_a_line_and_nothing_else_is_printed(name, capfd):
    """Fault 10: verbose output with whole parameter vectors."""
    pytest.importorskip("tqdm")
    density, start = mp.densities.Gaussian(np.zeros(40)), np.full(40, 0.123456789)
    plan = {"draws": 20, "warmup": 10, "chains": 2, "init": start, "seed": 10}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        trace = mp.sample(density, FIXED[name], progress=True, **plan)
        out, err = capfd.readouterr()
        lines = [line for line in re.split(r"[\r\n]+", err) if line]
        assert out == "" and lines and all("micropolis" in line and len(line) < 120 for line in lines)
        mp.sample(density, FIXED[name], progress=False, **plan)
        assert capfd.readouterr() == ("", "")
        # nor in what is said of failures: the point is abridged
        with pytest.raises(mp.errors.DensityError) as caught:
            mp.sample(mp.Density.from_callable(lambda x: 1 / 0, 40), FIXED[name], progress=False, **plan)
    assert len(str(caught.value)) < 300 and "..." in str(caught.value)
    assert len(repr(trace)) < 400 and all(len(str(one.message)) < 300 for one in said)
