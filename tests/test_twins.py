"""The readable source of every kernel, interpreted and compiled, gives the chain of the C source bit for bit."""

import math
import warnings

import numpy as np
import pytest
from laws.contract import LOGP_GRAD

import micropolis as mp
from micropolis import protocol
from micropolis._metropolis import standard_normal
from micropolis.chains import PAUSE, ChainJob
from micropolis.errors import DensityError, SamplingWarning
from micropolis.protocol import CANCEL, KERNELS

BACKENDS = ("python", "numba")
RNG = np.random.default_rng(7)


def funnel(x, grad, data):
    """v = x[0] ~ N(0, 9), x[i] | v ~ N(0, exp(-neck v)); nothing beyond v = edge."""
    v, n = x[0], x.size - 1
    if v > data.edge:
        return -math.inf
    scale = math.exp(data.neck * v)
    total = 0.0
    for i in range(1, x.size):
        grad[i] = -scale * x[i]
        total += x[i] * x[i]
    grad[0] = -v / 9.0 + 0.5 * data.neck * (n - scale * total)
    return -v * v / 18.0 + 0.5 * (data.neck * n * v - scale * total)


def density(dim, neck=1.0, edge=5.0):
    pytest.importorskip("numba")
    return mp.Density.from_numba(funnel, dim, {"neck": neck, "edge": edge})


def lower(dim):
    return np.tril(0.3 * RNG.standard_normal((dim, dim)), -1) + np.diag(0.5 + RNG.random(dim))


def spd(dim):
    factor = lower(dim)
    return factor @ factor.T


# name -> (dims, kernel of dim)
CASES = {
    "random walk": ([1, 2, 7, 8, 9, 20], lambda dim: mp.RandomWalk(0.7)),
    "random walk fixed": ([9], lambda dim: mp.RandomWalk(0.5, target_accept=None)),
    "random walk diagonal": ([8], lambda dim: mp.RandomWalk(np.linspace(0.2, 1.0, dim))),
    "random walk factor": ([2, 20], lambda dim: mp.RandomWalk(lower(dim))),
    "random walk cooled": ([7], lambda dim: mp.RandomWalk(temperature=np.geomspace(5.0, 0.1, 100))),
    "random walk variances": ([1, 9], lambda dim: mp.RandomWalk(covariance="diag")),
    "random walk covariance": ([2, 9], lambda dim: mp.RandomWalk(covariance="dense")),
    "langevin": ([1, 2, 7, 8, 9, 20], lambda dim: mp.MALA()),
    "langevin fixed": ([7], lambda dim: mp.MALA(0.4)),
    "langevin diagonal": ([9], lambda dim: mp.MALA(0.4, np.linspace(0.2, 1.0, dim), target_accept=0.6)),
    "langevin dense": ([1, 20], lambda dim: mp.MALA(inverse_mass=spd(dim))),
    "hmc": ([1, 2, 7, 8, 9, 20], lambda dim: mp.HMC(0.3, 5)),
    "hmc diverging": ([2], lambda dim: mp.HMC(1.5, 5)),
    "hmc jitter": ([8], lambda dim: mp.HMC(0.2, 6, jitter=0.5, target_accept=0.8)),
    "hmc diagonal": ([9], lambda dim: mp.HMC(0.3, 4, np.linspace(0.2, 1.0, dim), jitter=0.9)),
    "hmc dense": ([2, 9], lambda dim: mp.HMC(0.3, 4, spd(dim), target_accept=0.7)),
    "splitting": ([1, 2, 9], lambda dim: mp.SplitHMC(0.3, 5)),
    "splitting jitter": ([8], lambda dim: mp.SplitHMC(0.2, 6, jitter=0.5, target_accept=0.8)),
    "splitting diverging": ([2], lambda dim: mp.SplitHMC(1.5, 5)),
    "splitting dense": ([9], lambda dim: mp.SplitHMC(0.3, 4, spd(dim))),
    "nuts": ([1, 2, 7, 8, 9, 20], lambda dim: mp.NUTS(max_depth=5)),
    "nuts dense warm-up": ([2, 9], lambda dim: mp.NUTS(metric="dense", max_depth=5)),
    "nuts unit": ([7], lambda dim: mp.NUTS(metric="unit", max_depth=5)),
    "nuts diagonal": ([9], lambda dim: mp.NUTS(inverse_mass=np.linspace(0.2, 1.0, dim), max_depth=5)),
    "nuts dense": ([8], lambda dim: mp.NUTS(0.3, inverse_mass=spd(dim), max_depth=5)),
    "nuts step kept": ([2], lambda dim: mp.NUTS(0.4, max_depth=3)),
    "nuts long": ([2], lambda dim: mp.NUTS(0.15, max_depth=7)),  # long enough for warm-up to shorten trajectories
    "nuts one leaf": ([2], lambda dim: mp.NUTS(0.4, max_depth=1)),
    "riemannian": ([1, 2, 8, 9], lambda dim: mp.RMHMC(0.2, 3)),
    "riemannian coarse": ([3], lambda dim: mp.RMHMC(1.5, 3, fixed_point_max_iter=8)),
    "riemannian soft": ([3], lambda dim: mp.RMHMC(0.3, 4, metric=mp.SoftAbs(0.5, jitter=0.1), jitter=0.5)),
    "riemannian checked": ([3], lambda dim: mp.RMHMC(0.4, 3, reversibility_tol=1e-7, target_accept=0.8)),
    "riemannian hessian": ([3], lambda dim: mp.RMHMC(0.2, 3, metric=mp.Hessian())),
    "riemannian diagonal": ([3], lambda dim: mp.RMHMC(0.2, 3, metric=mp.HessianDiag())),
    "riemannian gradient": ([9], lambda dim: mp.RMHMC(0.2, 3, metric=mp.GradientSquare(1.0))),
    "riemannian midpoint": ([1, 3], lambda dim: mp.RMHMC(0.3, 3, integrator="midpoint")),
    "riemannian explicit": ([1, 3], lambda dim: mp.RMHMC(0.2, 3, integrator="explicit")),
    "riemannian uncorrected": ([3], lambda dim: mp.RMHMC(0.05, 3, integrator="explicit_uncorrected")),
    "riemannian nuts": ([1, 3], lambda dim: mp.RMNUTS(0.25, max_depth=3)),
    "riemannian nuts soft": ([2], lambda dim: mp.RMNUTS(0.3, 4, mp.SoftAbs(0.5, jitter=0.1), "midpoint")),
    "nuts diverging": ([9], lambda dim: mp.NUTS(1.2, metric="unit")),
}
RUNS = [(name, dim) for name, (dims, _) in CASES.items() for dim in dims]


def sample(target, kernel, backend, **options):
    options = {"draws": 25, "warmup": 150, "chains": 1, "seed": 11, **options}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SamplingWarning)
        return mp.sample(target, kernel, backend=backend, **options)


def assert_same_records(a, b):
    for field in a.dtype.names:
        np.testing.assert_array_equal(a[field], b[field], err_msg=field)  # NaN equals NaN
        if a[field].dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(a[field][a[field] == 0]), np.signbit(b[field][a[field] == 0]))


def assert_same_chain(a, b):
    assert a.draws.tobytes() == b.draws.tobytes()
    assert_same_records(a.stats, b.stats)
    assert_same_records(a.warmup_stats, b.warmup_stats)
    for one, other in zip(a.states, b.states, strict=True):
        assert all(one[name].tobytes() == other[name].tobytes() for name in one)
    for one, other in zip(a.adaptation, b.adaptation, strict=True):
        assert one["step_size"] == other["step_size"]
        assert one["scale"].tobytes() == other["scale"].tobytes()
    assert repr(a.rng_states) == repr(b.rng_states)


def test_every_readable_kernel_has_a_twin():
    twins = {make(2).name for _, make in CASES.values()}  # first: kernels register when they are imported
    readable = {name for name, cls in KERNELS.items() if cls.make_step is not None}
    assert twins == readable == set(KERNELS)


@pytest.mark.parametrize(("name", "dim"), RUNS)
def test_readable_chain_is_the_compiled_chain(name, dim):
    kernel, target = CASES[name][1](dim), density(dim)
    options = {"draws": 4, "warmup": 8} if name.startswith("riemannian") else {}  # interpreted, a draw takes a second
    expected = sample(target, kernel, "c", **options)
    for backend in BACKENDS:
        assert_same_chain(sample(target, kernel, backend, **options), expected)
    if "diverging" in name:
        assert expected.stats["divergent"].any()


@pytest.mark.parametrize("dim", [1 << 14, (1 << 14) + 3])
def test_long_vectors_of_hmc_are_exchanged_and_not_copied(dim):
    # the state moves about in the chain's memory while a run lasts: rejections, warm-up, two runs
    target, kernel = density(dim, neck=0.0), mp.HMC(0.25, 3, target_accept=0.6, jitter=0.7)
    first, second = (sample(target, kernel, backend, warmup=20, draws=15) for backend in ("c", "numba"))
    assert_same_chain(first, second)
    assert 0 < first.stats["accepted"].sum() < 15
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SamplingWarning)
        assert_same_chain(mp.resume(first, 5, density=target), mp.resume(second, 5, density=target))


@pytest.mark.parametrize("order", ["symmetric", "randomised", "full"])
@pytest.mark.parametrize("mass", [None, "diagonal", "dense"])
def test_blocks_of_a_density(order, mass):
    """More blocks than coordinates; some points are beyond the edge of one block, which leaves its gradient unset."""
    dim = 3
    inverse_mass = {"diagonal": np.linspace(0.2, 1.0, dim), "dense": spd(dim)}.get(mass)
    target = mp.Density.from_blocks([density(dim, 0.3 * k, 4.0 + k) for k in range(5)])
    kernel = mp.SplitHMC(0.3, 3, inverse_mass, target_accept=0.5, jitter=0.5, order=order)
    expected = sample(target, kernel, "c", draws=60)
    for backend in BACKENDS:
        assert_same_chain(sample(target, kernel, backend, draws=60), expected)
    assert expected.warmup_stats["divergent"].any()


@pytest.mark.parametrize("kernel", [mp.RandomWalk(0.7), mp.MALA(), mp.HMC(0.3, 3), mp.NUTS(max_depth=4)])
@pytest.mark.parametrize("options", [{"thin": 3}, {"warmup": 0}, {"draws": 0}, {"chains": 3}])
def test_options_of_a_run(kernel, options):
    target = density(3, neck=0.5)
    expected = sample(target, kernel, "c", **options)
    for backend in BACKENDS:
        assert_same_chain(sample(target, kernel, backend, **options), expected)


def test_draws_in_single_precision():
    """The loop that keeps draws is one for all kernels."""
    target, kernel = density(3), mp.RandomWalk(0.7)
    expected = sample(target, kernel, "c", dtype="float32")
    for backend in BACKENDS:
        assert_same_chain(sample(target, kernel, backend, dtype="float32"), expected)


def test_densities_in_c_are_called_by_their_pointers():
    """The log density alone where there is such a function, as in C."""
    kernel = mp.RandomWalk(0.5, target_accept=None)
    for target in (mp.densities.Funnel(9), mp.densities.Gaussian(np.zeros(2), cov=[[1.0, 0.8], [0.8, 1.0]])):
        expected = sample(target, kernel, "c", warmup=0, draws=200)
        for backend in BACKENDS:
            assert_same_chain(sample(target, kernel, backend, warmup=0, draws=200), expected)


@LOGP_GRAD
def half_normal(dim, x, grad, logp, user_data):
    logp[0], grad[0] = -0.5 * x[0] ** 2, -x[0]
    return 1 if x[0] < 0 else 0


def test_a_code_of_the_density_reaches_the_record():
    target, kernel = mp.Density.from_pointer(half_normal, 1), mp.RandomWalk(target_accept=None)
    expected = sample(target, kernel, "c", init=[1.0], warmup=0)
    assert (expected.stats["status"] == protocol.DENSITY_REJECTED).any()
    for backend in BACKENDS:
        assert_same_chain(sample(target, kernel, backend, init=[1.0], warmup=0), expected)


@pytest.mark.parametrize("kernel", [mp.RandomWalk(covariance="dense"), mp.NUTS(metric="dense", max_depth=4)])
def test_warm_up_memory_is_shared_by_the_backends(kernel):
    """A warm-up begun by one backend and finished by another is the warm-up of either."""
    target, results = density(3), []
    for backends in (["c"] * 4, ["c", "numba", "python", "numba"], ["python", "c", "numba", "c"]):
        job = ChainJob(0, kernel, target, np.random.SFC64(3), 100, "c")
        assert job.evaluate_start(np.full(3, 0.5)) == protocol.OK
        stats = np.zeros(100, kernel.INFO)
        for block, backend in enumerate(backends):
            job.backend = backend
            chain = job._chain(job.rule, job.memory)
            job.memory = chain.memory
            if block == 0:
                assert chain.start_adaptation() == protocol.OK
            start, stop = 25 * block, 25 * (block + 1)
            assert chain.run_block(start, stop, None, stats, job.control, job.progress) == protocol.OK
        results.append((stats, job.memory, job.scale, job.options["step_size"], job.options["metric"]))
    for other in results[1:]:
        assert_same_records(other[0], results[0][0])
        assert all(a.tobytes() == b.tobytes() for a, b in zip(other[1:], results[0][1:], strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_statuses(backend):
    job = ChainJob(0, mp.HMC(0.3, 3), density(2, edge=1.0), np.random.SFC64(3), 0, backend)
    assert job.evaluate_start(np.array([2.0, 0.0])) == protocol.BAD_START
    assert job.evaluate_start(np.array([0.5, 0.0])) == protocol.OK
    job.control[0] = CANCEL
    chain, stats = job._chain(None, None), np.zeros(5, job.kernel.INFO)
    assert chain.run_block(0, 5, None, stats, job.control, job.progress) == protocol.CANCELLED
    assert job.progress[0] == 0


@pytest.mark.parametrize("backend", ["c", *BACKENDS])
@pytest.mark.parametrize(("kernel", "a_step"), [(mp.RandomWalk(0.5), 1), (mp.HMC(0.3, 2), 2)])
@pytest.mark.parametrize("request_", [CANCEL, PAUSE])
def test_a_cancelled_chain_breaks_off_a_thinned_draw(kernel, a_step, request_, backend):
    """At the next step, with nothing of that draw kept; any other request waits for its end."""
    calls, at = [], 1 + 14 * a_step  # after the start, the fourth step of ten of the second draw

    def normal(x):
        calls.append(x)
        if len(calls) == at:
            job.control[0] = request_
        return -0.5 * (x @ x), -x

    job = ChainJob(0, kernel, mp.Density.from_callable(normal, 2), np.random.SFC64(3), 0, backend)
    assert job.evaluate_start(np.zeros(2)) == protocol.OK
    stats = np.zeros(5, kernel.INFO)
    status = job._chain(None, None).run_block(0, 5, None, stats, job.control, job.progress, 10)
    if request_ == CANCEL:
        assert (status, job.progress[0], len(calls)) == (protocol.BROKEN_OFF, 1, at)
    else:
        assert (status, job.progress[0], len(calls)) == (protocol.CANCELLED, 2, 1 + 20 * a_step)


def tired(x, grad):
    if x[0] > 1.0:
        raise ValueError("too far")
    grad[0] = 0.0
    return 0.0


@pytest.mark.parametrize("backend", ["c", *BACKENDS])
def test_an_error_of_the_density_keeps_the_draws(backend):
    pytest.importorskip("numba")
    target = mp.Density.from_numba(tired, 1)
    with pytest.raises(DensityError, match=r"too far") as caught:
        sample(target, mp.RandomWalk(0.2, target_accept=None), backend, warmup=0, draws=10_000, init=[0.0])
    trace = caught.value.trace
    assert 0 < trace.draws.shape[1] < 10_000
    assert trace.draws.max() <= 1.0


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_error_of_a_python_density(backend):
    def fail(x):
        if x[0] > 1.0:
            raise ValueError("too far")
        return 0.0, np.zeros(1)

    with pytest.raises(DensityError, match="too far"):
        sample(
            mp.Density.from_callable(fail, 1),
            mp.RandomWalk(target_accept=None),
            backend,
            warmup=0,
            draws=500,
            init=[0.0],
        )


def test_a_density_of_the_same_function_compiles_nothing():
    from micropolis.readable import _numba_chain

    sample(density(3, edge=4.0), mp.RandomWalk(), "numba")
    misses = _numba_chain.cache_info().misses
    chain = _numba_chain(mp.RandomWalk, density(4).numba_function)
    signatures = [len(function.signatures) for function in chain]
    sample(density(5, edge=3.0), mp.RandomWalk(0.5), "numba")
    assert _numba_chain.cache_info().misses == misses
    assert [len(function.signatures) for function in chain] == signatures


@pytest.mark.parametrize("generator", [np.random.SFC64, np.random.PCG64, np.random.Philox, np.random.MT19937])
def test_normals_are_those_of_numpy(generator):
    ours, theirs = generator(5), generator(5)
    out = np.empty(1_000_000)
    standard_normal(ours, out)
    np.testing.assert_array_equal(out, np.random.Generator(theirs).standard_normal(out.size))
    assert ours.random_raw() == theirs.random_raw()
