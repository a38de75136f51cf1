"""Threads, forks, spawned processes and process pools: the draws are those of one process doing one thing at a time."""

from __future__ import annotations

import functools
import multiprocessing
import os
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from laws.functions import logp_grad

import micropolis as mp

pytestmark = [
    pytest.mark.filterwarnings("ignore::micropolis.errors.SamplingWarning"),
    pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning"),
]

KERNEL = mp.NUTS()
PLAN = {"draws": 200, "warmup": 100, "chains": 2, "threads": 2, "progress": False}


def densities():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(50, 3))
    yield "gaussian", mp.densities.Gaussian(np.zeros(3), std=[1.0, 2.0, 3.0])
    # these keep scratch memory behind their pointers
    yield "dense", mp.densities.Gaussian(np.zeros(20), cov=0.5 * np.eye(20) + 0.5)
    yield "mixture", mp.densities.GaussianMixture([[-2.0, 0.0], [2.0, 0.0]], [np.eye(2)] * 2, [0.5, 0.5])
    yield "logistic", mp.densities.LogisticRegression(x, (x[:, 0] > 0).astype(float), 2.0)


def traced():
    return mp.Density.from_numpy(lambda x: -0.5 * np.sum((x - 1.0) ** 2) + np.sin(x[0]), dim=4)


def compiled():
    pytest.importorskip("numba")
    return mp.Density.from_numba(logp_grad, 3, data=np.array([1.0, 2.0, 3.0]))


EVERY = [pytest.param(lambda d=d: d, id=name) for name, d in densities()] + [
    pytest.param(traced, id="traced"),
    pytest.param(compiled, id="compiled"),
]


def sample(density, seed):
    return mp.sample(density, KERNEL, seed=seed, **PLAN).draws


@pytest.mark.parametrize("make", EVERY)
def test_samplers_in_threads_share_a_density(make):
    density = make()
    serial = [sample(density, seed) for seed in range(6)]
    with ThreadPoolExecutor(3) as pool:
        threaded = list(pool.map(functools.partial(sample, density), range(6)))
    for one, other in zip(serial, threaded, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("make", EVERY)
def test_steps_in_threads_share_a_density(make):
    """Steps run without the interpreter lock, on a C density that may hold scratch memory."""
    density = make()

    def steps(seed):
        rng, state, points = np.random.default_rng(seed), mp.init(density, np.zeros(density.dim)), []
        for _ in range(20):
            state, _ = mp.step(mp.HMC(0.01, 2000), density, rng, state)  # long enough to meet the other threads
            points.append(state.x)
        return np.array(points), density(np.array(points))

    serial = [steps(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(steps, range(4)))
    for one, other in zip(serial, threaded, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


def test_a_function_that_holds_the_interpreter_lock_with_threads():
    density = mp.Density.from_callable(lambda x: (-0.5 * x @ x, -x), dim=2)
    one, four = (mp.sample(density, mp.HMC(0.5, 3), draws=50, warmup=20, chains=4, threads=n, seed=1) for n in (1, 4))
    np.testing.assert_array_equal(one.draws, four.draws)


def test_a_density_that_samples():
    """A run inside the log density of another: neither knows of the other."""
    inner = mp.densities.Gaussian([0.0])

    def f(x):
        scale = mp.sample(inner, mp.HMC(0.5, 2), draws=2, warmup=0, chains=2, seed=1, progress=False).draws[0, 0, 0]
        return -0.5 * x @ x + 0.0 * scale, -x

    trace = mp.sample(mp.Density.from_callable(f, 2), mp.HMC(0.5, 2), draws=10, warmup=0, chains=2, seed=1)
    plain = mp.sample(
        mp.Density.from_callable(lambda x: (-0.5 * x @ x, -x), 2), mp.HMC(0.5, 2), draws=10, warmup=0, chains=2, seed=1
    )
    np.testing.assert_array_equal(trace.draws, plain.draws)


@pytest.mark.parametrize("make", EVERY)
def test_fork(make):
    """After import, after a run and while other threads of the parent sample."""
    density = make()
    expected = sample(density, 1)
    with ThreadPoolExecutor(1) as pool:
        busy = pool.submit(sample, density, 2)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if np.array_equal(sample(density, 1), expected) else 2
            finally:
                os.write(writer, bytes([code]))
                os._exit(code)
        assert os.read(reader, 1) == b"\0"
        assert os.waitpid(child, 0)[1] == 0
        busy.result()
    os.close(reader), os.close(writer)


def job(density, kernel=KERNEL):
    """What a process pool runs; made of names that any process can import."""
    return functools.partial(mp.sample, density, kernel, seed=1, **PLAN)


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_multiprocessing(method):
    targets = [density for _, density in densities()]
    with multiprocessing.get_context(method).Pool(2) as pool:
        results = [pool.apply_async(job(density)) for density in targets]
        traces = [result.get(60) for result in results]
    for trace, density in zip(traces, targets, strict=True):
        np.testing.assert_array_equal(trace.draws, sample(density, 1))
        np.testing.assert_array_equal(mp.resume(trace, 5).draws.shape, (2, 5, density.dim))


def test_process_pool_executor():
    targets = [traced(), compiled(), mp.densities.Funnel(3)]
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        traces = [pool.submit(job(density)) for density in targets]
        for future, density in zip(traces, targets, strict=True):
            np.testing.assert_array_equal(future.result(60).draws, sample(density, 1))


def test_joblib():
    joblib = pytest.importorskip("joblib")
    density = mp.densities.Gaussian(np.zeros(3))
    kernels = (mp.NUTS(), mp.RandomWalk())
    traces = joblib.Parallel(n_jobs=2)(joblib.delayed(job(density, kernel))() for kernel in kernels)
    for trace, kernel in zip(traces, kernels, strict=True):
        np.testing.assert_array_equal(trace.draws, mp.sample(density, kernel, seed=1, **PLAN).draws)


def test_errors_cross_processes():
    """An error of ours pickles, with its message."""
    error = pickle.loads(pickle.dumps(mp.errors.InputError("draws: expected")))
    assert isinstance(error, mp.errors.InputError) and str(error) == "draws: expected"
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        future = pool.submit(mp.sample, mp.densities.Gaussian([0.0]), draws=-1)
        with pytest.raises(mp.errors.InputError, match="draws: expected an integer >= 0, got -1"):
            future.result(60)
