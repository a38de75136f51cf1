"""RMHMC: the funnel's marginal, Gaussians by every integrator, failures that are rejections, files."""

import numpy as np
import pytest
from laws.kernels import resume, run
from laws.statistics import assert_standard_normal_chains, assert_standard_normal_points
from scipy import stats

import micropolis as mp
from micropolis import kernels, protocol
from micropolis.hamiltonian import user_metric

FUNNEL = mp.densities.Funnel(11)


def numpy_funnel(x):
    v = x[0]
    return -(v**2) / 18 + 5 * v - 0.5 * np.exp(v) * np.sum(x[1:] ** 2)


def batch_error(x, batches=40):
    """Standard error of the mean of a chain, by batches."""
    means = x[: len(x) // batches * batches].reshape(batches, -1).mean(axis=1)
    return means.std(ddof=1) / np.sqrt(batches)


def kl_to_normal(v, sd=3.0, bins=40):
    """KL divergence of a histogram of draws from N(0, sd^2), bins of equal probability."""
    edges = stats.norm.ppf(np.linspace(0, 1, bins + 1), scale=sd)
    share = np.histogram(v, edges)[0] / len(v)
    return float(np.sum(share[share > 0] * np.log(share[share > 0] * bins)))


@pytest.mark.parametrize("source", ["library", "numpy"])
def test_marginal_of_the_funnel(source):
    """20,000 draws: mean 0 and sd 3 within 4 standard errors, Kolmogorov-Smirnov, KL, hardly anything unconverged."""
    density = FUNNEL if source == "library" else mp.Density.from_numpy(numpy_funnel, 11)
    kernel = mp.RMHMC(step_size=0.15, n_steps=25, metric=mp.SoftAbs(alpha=1e6), fixed_point_tol=1e-9)
    start = FUNNEL.sample_exact(np.random.default_rng(1), 4)
    trace = run(density, kernel, draws=5000, warmup=0, chains=4, init=start, seed=2)
    v = trace.draws[..., 0]
    error = np.sqrt(np.sum([batch_error(c) ** 2 for c in v])) / 4
    square_error = np.sqrt(np.sum([batch_error(c**2) ** 2 for c in v])) / 4
    assert abs(v.mean()) < 4 * error
    assert abs(np.mean(v**2) - 9) < 4 * square_error
    assert stats.kstest(v[:, ::20].ravel() / 3, "norm").pvalue > 1e-3
    assert kl_to_normal(v.ravel()) < 0.01
    assert np.mean(trace.stats["not_converged"]) < 0.01
    assert 0.95 < trace.stats["accept_prob"].mean() < 1.0


@pytest.mark.parametrize("integrator", ["implicit", "midpoint", "explicit", "explicit_uncorrected"])
def test_gaussian_by_every_integrator(integrator):
    """sd 0.5 within 4 standard errors; the published explicit form gives 0.458 at acceptance 1."""
    density = mp.densities.Gaussian([1.0, 2.0, 3.0], std=0.5)
    kernel = mp.RMHMC(0.3, 5, metric=mp.Hessian(), integrator=integrator)
    trace = run(density, kernel, draws=5000, warmup=0, chains=2, init=np.array([1.0, 2.0, 3.0]), seed=3)
    x = trace.draws
    for i in range(3):
        square = (x[..., i] - (i + 1)) ** 2
        error = np.sqrt(np.sum([batch_error(c) ** 2 for c in square])) / 2
        if integrator == "explicit_uncorrected":
            assert abs(np.sqrt(square.mean()) - 0.458) < 0.01
            assert trace.stats["accept_prob"].mean() > 0.999
        else:
            assert abs(square.mean() - 0.25) < 4 * error


@pytest.mark.parametrize("metric", [mp.Hessian(), mp.HessianDiag()])
def test_hessian_metrics_leave_the_target_invariant(metric):
    cov = np.array([[1.0, 0.6, 0.0], [0.6, 1.0, 0.3], [0.0, 0.3, 2.0]])
    density = mp.densities.Gaussian(np.zeros(3), cov=cov)
    start = density.sample_exact(np.random.default_rng(4), 1000)
    trace = run(density, mp.RMHMC(0.8, 3, metric=metric), draws=40, warmup=0, chains=1000, init=start, seed=5)
    z = trace.draws @ np.linalg.inv(np.linalg.cholesky(cov)).T
    assert_standard_normal_chains(z, "moments")
    assert_standard_normal_points(z[:, -1], "last draws")


USER_FUNCTIONS = ("user_metric", "user_contraction")


def metric_of_the_user(q, g):
    g[0, 0] = 1.0 + 0.5 * q[0] ** 2


def contraction_of_the_user(q, m, c):
    c[0] = m[0, 0] * q[0]


def test_a_metric_of_the_users(tmp_path):
    pytest.importorskip("numba")
    density = mp.densities.Gaussian([0.0], std=1.0)
    kernel = mp.RMHMC(0.5, 3, metric=mp.UserMetric(metric_of_the_user, contraction_of_the_user))
    start = density.sample_exact(np.random.default_rng(6), 1000)
    trace = run(density, kernel, draws=40, warmup=0, chains=1000, init=start, seed=7)
    assert_standard_normal_chains(trace.draws, "moments")
    assert_standard_normal_points(trace.draws[:, -1], "last draws")
    with pytest.raises(mp.errors.KernelError, match="backend='c'"):
        run(density, kernel, draws=1, warmup=0, chains=1, init=[0.0], backend="python")
    assert resume(trace, 3).draws.shape == (1000, 3, 1)
    trace.save(tmp_path / "trace.npz")
    loaded = mp.Trace.load(tmp_path / "trace.npz")
    np.testing.assert_array_equal(loaded.draws, trace.draws)
    with pytest.raises(mp.errors.InputError, match="keeps no functions"):
        resume(loaded, 3)


def diagonal_of_the_user(q, g):
    g[0, 0], g[1, 1] = 1.0 + 0.5 * q[0] ** 2, 2.0


def contraction_of_the_diagonal(q, m, c):
    c[0] += m[0, 0] * q[0]


@pytest.mark.parametrize("make", [mp.RMHMC, mp.RMNUTS])
def test_a_metric_of_the_users_is_filled_into_zeros(make):
    """Not into what the last evaluation left there."""
    pytest.importorskip("numba")
    density = mp.densities.Gaussian([0.0, 0.0])
    kernel = make(0.3, 4, metric=mp.UserMetric(diagonal_of_the_user, contraction_of_the_diagonal))
    trace = run(density, kernel, draws=200, warmup=0, chains=2, init=np.zeros(2), seed=7)
    assert not trace.stats["divergent"].any() and trace.stats["accept_prob"].mean() > 0.9


def lower_triangle(q, g):
    for i in range(2):
        for j in range(i + 1):
            g[i, j] = 2.0 if i == j else 0.5


def beyond(q, g):
    g[5, 5] = 1.0


def beyond_from_one_on(q, g):
    g[0, 0] = g[1, 1] = 1.0
    g[0, 0 if q[0] < 1.0 else 1_000_000_000] = 1.0


@pytest.mark.parametrize("make", [mp.RMHMC, mp.RMNUTS])
def test_a_metric_of_the_users_is_tried_before_a_run(make):
    """Half a matrix was a metric with the wrong force, and an index out of range was written to."""
    pytest.importorskip("numba")
    density, plan = mp.densities.Gaussian([0.0, 0.0]), {"draws": 50, "warmup": 0, "chains": 1, "seed": 1}
    for metric, message in (
        (lower_triangle, r"symmetric, got G\[0,1\] = 0 and G\[1,0\] = 0.5"),
        (beyond, "IndexError"),
    ):
        kernel = make(0.3, 4, metric=mp.UserMetric(metric, contraction_of_the_diagonal))
        with pytest.raises(mp.errors.InputError, match=f"metric: .*{message}"):
            run(density, kernel, init=np.zeros(2), **plan)
        with pytest.raises(mp.errors.InputError, match=f"metric: .*{message}"):
            kernels.implicit_leapfrog(density, np.zeros(2), np.ones(2), 0.1, 1, metric=kernel.metric)
    # where it depends on the point
    kernel = make(0.3, 4, metric=mp.UserMetric(beyond_from_one_on, contraction_of_the_diagonal))
    trace = run(density, kernel, init=np.zeros(2), **plan)
    assert np.all(trace.draws[..., 0] < 1.0) and trace.stats["divergent"].any() and trace.stats["accepted"].any()
    for functions, name in (((lambda q: q, contraction_of_the_diagonal), "metric"), ((beyond, lambda q: q), "contrac")):
        with pytest.raises(mp.errors.InputTypeError, match=f"{name}.*: expected a function of"):
            mp.UserMetric(*functions)


def test_a_kernel_keeps_the_functions_of_its_metric():
    """However many others are compiled while a chain runs, and whatever the cache of them lets go."""
    pytest.importorskip("numba")
    kernel = mp.RMHMC(0.5, 3, metric=mp.UserMetric(metric_of_the_user, contraction_of_the_user))
    options = np.zeros(1, kernel.OPTIONS)
    alive = kernel.fill_options(options[0], 1)
    user_metric._compile.cache_clear()
    assert {function.address for function in alive} == {int(options[name][0]) for name in USER_FUNCTIONS}


def test_trajectories_of_rmnuts_have_the_length_they_need():
    """NUTS by name and by nature: lengths vary, a tree of depth d has 2^d - 1 steps, the funnel's marginal is right."""
    start = FUNNEL.sample_exact(np.random.default_rng(20), 4)
    trace = run(FUNNEL, mp.RMNUTS(0.15), draws=1500, warmup=0, chains=4, init=start, seed=21)
    stats_, v = trace.stats, trace.draws[..., 0]
    assert np.unique(stats_["n_steps"]).size > 7
    kept = 2 ** stats_["depth"] - 1
    assert np.all((stats_["n_steps"] >= kept) & (stats_["n_steps"] <= 2 * kept + 1))
    error = np.sqrt(np.sum([batch_error(c) ** 2 for c in v])) / 4
    square_error = np.sqrt(np.sum([batch_error(c**2) ** 2 for c in v])) / 4
    assert abs(v.mean()) < 4 * error
    assert abs(np.mean(v**2) - 9) < 4 * square_error
    assert np.mean(stats_["not_converged"]) < 0.01
    # half the step, twice the steps to a turn
    shorter = run(FUNNEL, mp.RMNUTS(0.075, 9), draws=200, warmup=0, chains=4, init=start, seed=22)
    assert 1.6 < shorter.stats["n_steps"].mean() / stats_["n_steps"].mean() < 2.5


# -- eigenvalues that are zero or equal, steps that do not return; the rest is in test_peer_faults.py ------------------


def test_zero_eigenvalues():
    """SoftAbs of a Hessian that is zero, at the mode of -x^4 / 4, and everywhere along a direction."""

    def quartic(x):
        return -0.25 * x[0] ** 4 - 0.5 * x[1] ** 2, np.array([-(x[0] ** 3), -x[1]])

    density = mp.Density.from_callable(quartic, 2)
    at = mp.SoftAbs(10.0).at(density, [0.0, 0.0])
    assert np.isclose(np.linalg.eigvalsh(at.matrix)[0], 0.1)
    trace = run(
        density, mp.RMHMC(0.15, 6, metric=mp.SoftAbs(2.0)), draws=2000, warmup=0, chains=1, init=[0.0, 0.0], seed=9
    )
    square = trace.draws[0, :, 0] ** 2
    truth = stats.gennorm(4, scale=4**0.25).var()
    assert abs(square.mean() - truth) < 5 * batch_error(square)
    assert np.mean(trace.stats["divergent"]) < 0.02


def test_nine_equal_eigenvalues_need_no_jitter():
    at = mp.SoftAbs(1e6).at(FUNNEL, FUNNEL.sample_exact(np.random.default_rng(10), 1)[0])
    assert np.all(np.isfinite(at.force(at.momentum(np.random.default_rng(11)))))


def test_steps_that_do_not_return_are_counted():
    """Asked for more than a tolerance of 1e-3 can give, the check rejects; of an exact solve it lets all through."""
    start = FUNNEL.sample_exact(np.random.default_rng(14), 1)[0]
    loose = mp.RMHMC(0.15, 5, fixed_point_tol=1e-3, reversibility_tol=1e-9)
    bad = run(FUNNEL, loose, draws=200, warmup=0, chains=1, init=start, seed=15).stats
    assert np.mean(bad["non_reversible"]) > 0.5
    assert np.all(bad["status"][bad["non_reversible"]] == protocol.NON_REVERSIBLE)
    assert not np.any(bad["accepted"][bad["non_reversible"]])
    tight = mp.RMHMC(0.15, 5, fixed_point_tol=1e-12, reversibility_tol=1e-8)
    good = run(FUNNEL, tight, draws=200, warmup=0, chains=1, init=start, seed=15)
    assert np.mean(good.stats["non_reversible"]) < 0.01
    unchecked = mp.RMHMC(0.15, 5, fixed_point_tol=1e-12)
    same = run(FUNNEL, unchecked, draws=200, warmup=0, chains=1, init=start, seed=15)
    assert np.mean(good.stats["n_metric"]) > 1.5 * np.mean(same.stats["n_metric"])


# -- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("integrator", "tolerance"), [("implicit", 1e-6), ("midpoint", 1e-5), ("explicit", 1e-5)])
def test_values_alone_are_enough(integrator, tolerance):
    """Gradients by differences, third derivatives by differences of those: the trajectories of exact derivatives."""

    def quartic(x):
        return -np.sum(x**4) / 4 - 0.5 * x @ x

    kernel = mp.RMHMC(0.2, 4, metric=mp.SoftAbs(1.0), integrator=integrator, fixed_point_tol=tolerance)
    plan = {"draws": 5, "warmup": 0, "chains": 1, "init": np.array([0.3, 0.2]), "seed": 1}
    trace = run(mp.Density.from_callable(quartic, 2), kernel, **plan)
    exact = run(mp.Density.from_numpy(quartic, dim=2), kernel, **plan)
    assert not trace.stats["not_converged"].any()
    np.testing.assert_allclose(trace.draws, exact.draws, atol=100 * tolerance)


def test_steps_that_are_not_solved_are_said():
    kernel = mp.RMHMC(0.15, 5, fixed_point_max_iter=2)
    plan = {"draws": 20, "warmup": 0, "chains": 1, "init": np.full(11, 0.5), "seed": 1, "progress": False}
    with pytest.warns(mp.errors.SamplingWarning) as said:
        trace = mp.sample(FUNNEL, kernel, **plan)
    told = [str(one.message) for one in said if "not solved" in str(one.message)]
    assert len(told) == 1 and told[0].startswith(f"{trace.stats['not_converged'].sum()} of 20 draws")


def test_step_size_is_adapted():
    kernel = mp.RMHMC(0.02, 5, target_accept=0.9, metric=mp.SoftAbs(1.0))
    trace = run(mp.densities.Banana(3, 0.3, 1.5), kernel, draws=500, warmup=400, chains=2, seed=17)
    assert abs(trace.stats["accept_prob"].mean() - 0.9) < 0.05
    assert all(tuned.step_size > 0.05 and tuned.target_accept is None for tuned in trace.kernels)


def test_lapack_takes_over_in_many_dimensions():
    """40 dimensions: LAPACK and the inlined solver lead the same way, to rounding."""
    rng = np.random.default_rng(18)
    density = mp.densities.LogisticRegression(rng.standard_normal((60, 40)), rng.integers(0, 2, 60), 1.0)
    kernel = mp.RMHMC(0.2, 3, metric=mp.SoftAbs(1.0))
    options = np.zeros(1, kernel.OPTIONS)
    kernel.fill_options(options[0], 32)
    assert options["lapack"][0] == 0
    kernel.fill_options(options[0], 40)
    assert options["lapack"][0] != 0
    c = run(density, kernel, draws=3, warmup=0, chains=1, init=np.zeros(40), seed=19)
    python = run(density, kernel, draws=1, warmup=0, chains=1, init=np.zeros(40), seed=19, backend="python")
    np.testing.assert_allclose(python.draws[:, 0], c.draws[:, 0], rtol=0, atol=1e-7)


def test_saved_kernels_have_their_metric(tmp_path):
    for metric in (mp.SoftAbs(3.0, jitter=0.1), mp.Hessian(), mp.HessianDiag(), mp.GradientSquare(0.5)):
        trace = run(mp.densities.Gaussian([0.0, 0.0]), mp.RMHMC(0.3, 2, metric=metric), draws=3, chains=1, seed=1)
        trace.save(tmp_path / "trace.npz")
        assert mp.Trace.load(tmp_path / "trace.npz").kernels[0].metric == metric


def test_arguments():
    for name, bad in (
        ("step_size", -1.0), ("n_steps", 0), ("metric", "softabs"), ("integrator", "leapfrog"), ("jitter", 1.0),
        ("fixed_point_tol", 0.0), ("fixed_point_max_iter", 0), ("target_accept", 1.5), ("reversibility_tol", -1.0),
    ):  # fmt: skip
        with pytest.raises(mp.errors.MicropolisError, match=name):
            mp.RMHMC(**{name: bad})
    for name, bad in (
        ("max_depth", 21), ("metric", "softabs"), ("integrator", "explicit_uncorrected"), ("integrator", np.zeros(2)),
        ("metric", {"metric": []}), ("metric", {"metric": "SoftAbs", "beta": 1.0}),
        ("metric", {"metric": "GradientSquare"}),
    ):  # fmt: skip
        with pytest.raises(mp.errors.MicropolisError, match=name):
            mp.RMNUTS(**{name: bad})
    with pytest.raises(mp.errors.InputError, match="reversibility_tol"):
        mp.RMHMC(0.1, integrator="explicit_uncorrected", reversibility_tol=1e-6)
    with pytest.warns(mp.errors.SamplingWarning, match="nearly 1 pi"):
        mp.RMHMC(0.15, integrator="explicit_uncorrected", binding=10.0)
